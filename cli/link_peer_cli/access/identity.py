"""To which account keys belong, asked of STS once a command; and what is said where they are not the keys that a
command needs.

Whatever reads an account is opened with `AccountKeys` of it, which only this folder makes: from what STS answers about
keys, or from a role of that account that they could assume.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
from link_peer.alicloud.sdk import call, client_config
from link_peer.domain.errors import BadInput, CloudError, LinkPeerError, NoAccess, Transient
from link_peer.domain.policy import Policy
from link_peer.runtime.settings import Credentials, Settings

from link_peer_cli.ui import aliyun, looked
from link_peer_cli.ui.remedies import ours

NO_KEYS = Credentials("", "")
"""The credentials of a command that found none, and may do without."""


class AccountKeys(msgspec.Struct, frozen=True):
    """Keys that are known to belong to an account (its uid), and the ARN that STS gives them. A call returns them as
    they are now: some expire and are renewed. `refusal` says why they act in place of the role of link-peer, if they
    do."""

    account: str
    arn: str
    current: Callable[[], Credentials]
    refusal: str = ""

    def __call__(self) -> Credentials:
        """The keys, valid for some minutes."""
        return self.current()


NOBODY = AccountKeys("", "", lambda: NO_KEYS)
"""Without keys."""

_IDENTITIES: dict[str, tuple[str, str]] = {}
"""(account uid, ARN) by access key id, of the command that runs."""


def forget() -> None:
    """Another command begins."""
    _IDENTITIES.clear()


def identified(settings: Settings, current: Callable[[], Credentials] | None = None) -> AccountKeys:
    """The keys that `current` returns, by default those of the settings, with the account to which they belong [doc
    GetCallerIdentity, which needs no right].

    Raises CloudError if STS refuses them, Transient if it gives no answer.
    """
    from alibabacloud_sts20150401.client import Client  # an SDK: when it is asked, since help needs none

    current = current or (lambda: settings.credentials)
    credentials = current()
    if credentials.access_key_id not in _IDENTITIES:
        config = client_config(settings, "sts", credentials)
        config.endpoint = config.endpoint or f"sts.{settings.region}.aliyuncs.com"
        body = call(Client(config).get_caller_identity).body
        if not (body.account_id and body.arn):
            raise LinkPeerError("STS does not say whose the keys are")
        if not _IDENTITIES:  # those of the person come first
            looked.FACTS["person"] = str(body.arn)
        _IDENTITIES[credentials.access_key_id] = str(body.account_id), str(body.arn)
    return AccountKeys(*_IDENTITIES[credentials.access_key_id], current)


class OtherAccount(BadInput):
    """The keys belong to an account with which the command cannot do its work."""

    def __init__(self, problem: str) -> None:
        super().__init__("keys", problem)


def require_home(keys: AccountKeys, policy: Policy) -> None:
    """Raise OtherAccount unless the keys belong to the policy's home account."""
    looked.FACTS["home"] = policy.home
    if keys.account != policy.home:
        raise OtherAccount(not_of_home(keys, policy))


def require_listed(keys: AccountKeys, policy: Policy) -> None:
    """Raise OtherAccount unless the policy lists the account of the keys."""
    if keys.account not in policy.accounts:
        raise OtherAccount(not_of_home(keys, policy))


# what is said: rows of `remedies.TABLE`


def called(policy: Policy, account: str) -> str:
    """`1000000000000001 (shop)`."""
    name = policy.accounts[account].name if account in policy.accounts else ""
    return f"{account} ({name})" if name and name != account else account


def not_of_home(keys: AccountKeys, policy: Policy) -> str:
    """The keys belong to another account, and what reads with them would take it for home."""
    situation = "keys-of-another-account" if keys.account in policy.accounts else "keys-of-an-unlisted-account"
    return ours(situation, arn=keys.arn, owner=called(policy, keys.account), home=called(policy, policy.home))


def needs_home(keys: AccountKeys, policy: Policy) -> str:
    """Why an account is not entered with keys of another one."""
    return ours("keys-enter-no-account", owner=called(policy, keys.account), home=called(policy, policy.home))


_SESSION = re.compile(r"(acs:ram::[0-9]+):assumed-role/([^/]+)/.*")


def principal_of(arn: str) -> str:
    """What a trust policy names for an ARN of STS: the role of a session, else the same."""
    return _SESSION.sub(r"\1:role/\2", arn)


def role_refused(role: str, arn: str, error: LinkPeerError) -> str:
    """Home's role for what a command does (its ARN) could not be assumed, so that the person's own keys act."""
    name, principal = role.partition(":role/")[2], principal_of(arn)
    facts = {"arn": arn, "role": name, "code": error.code}
    if isinstance(error, Transient):
        return ours("role-unanswered", **facts, problem=str(error))
    if name.endswith("-operator"):
        lacking = f"the role {name} does not exist" if _is_missing(error) else f"the role {name} refuses it"
        return ours("not-an-operator", **facts, lacking=lacking, operator=principal.replace(":root", ":user/NAME"))
    if _is_missing(error):
        return ours("no-home-role", **facts)
    if principal.endswith(":root"):
        return ours("not-a-reader-as-account", **facts)
    return ours("not-a-reader", **facts, may_assume=aliyun.may_assume(principal, role))


def peer_refused(policy: Policy, account: str, role: str, acting: AccountKeys, error: NoAccess) -> str:
    """A role of another account (its ARN) could not be assumed: why, and what mends it."""
    facts = {"role": role, "account": account, "name": called(policy, account), "arn": acting.arn}
    if _is_missing(error):
        return ours("no-role-there", **facts)
    if acting.refusal:
        return f"the role {role} trusts home's roles alone, and {acting.refusal}"
    lacking = "another external id, or a sign-in with MFA" if role.endswith("-closer") else "another external id"
    return ours("no-trust-there", **facts, lacking=lacking)


def _is_missing(error: LinkPeerError) -> bool:
    return isinstance(error, CloudError) and error.code.startswith("EntityNotExist")
