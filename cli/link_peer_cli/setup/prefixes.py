"""Tag prefixes of other deployments in an account. RAM lets further keys of a call ride along with one that a role may
write, so the roles are denied by name each key by which those deployments consent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from link_peer.domain.errors import LinkPeerError
from link_peer.runtime.retry import Retry
from link_peer_deploy.documents import REQUEST_TAG, home_roles

from link_peer_cli.access.identity import AccountKeys, identified
from link_peer_cli.access.roles import PersonsAccounts
from link_peer_cli.answers.deployment import Caution
from link_peer_cli.consent.prefixes import consenting, on_groups, prefixes_of
from link_peer_cli.deployed.functions import deployments
from link_peer_cli.setup.resource import SetupTarget
from link_peer_cli.setup.roles import Ram, RamPolicy

MOST = 4
"""How many are denied: the statements about each take a third of a policy, and RAM attaches five to a role. Who may tag
groups can make up any number, so those of deployed functions come first, then those on the most groups."""
SECONDS = 60.0
ACCEPTED = "another deployment's consent may go along with a tag that link-peer's roles write"


class OtherPrefixes(msgspec.Struct, frozen=True):
    """Those in an account: which are denied to its roles, which of them the standing policies do not deny yet, which
    are one too many and so accepted; and why tags or functions could not be read."""

    denied: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def cautions(self, account: str) -> Iterator[Caution]:
        """What is not denied, and what was not read."""
        if self.accepted:
            remedy = "remove the tags if no deployment uses them, or deny link-peer's roles their keys by a policy of your own"
            yield Caution(
                f"account {account}",
                f"the tag prefixes {', '.join(self.accepted)} are not denied, since {MOST} are: {ACCEPTED}",
                remedy,
            )
        for problem in self.problems:
            remedy = "give the keys permission (docs/permissions.md#setup), and run this again"
            yield Caution(f"account {account}", f"not every tag prefix in it is known ({problem}): {ACCEPTED}", remedy)


def of_home(deployment: SetupTarget) -> OtherPrefixes:
    """Those in the account of the functions. Only reads. Raises as `of_account` does."""
    home = deployment.policy.home
    neighbours, *problems = _read(lambda: deployments(deployment.settings, home), [])
    functions = [neighbour.tag_prefix for neighbour in neighbours]
    prefixes = of_account(deployment, home, home_roles(deployment.names.prefix)[0].name, functions)
    return msgspec.structs.replace(prefixes, problems=(*problems, *prefixes.problems))


def of_account(
    deployment: SetupTarget,
    account: str,
    policy: str,
    functions: Sequence[str] = (),
    keys: AccountKeys | None = None,
) -> OtherPrefixes:
    """Those on the groups of an account in the region, beside those of `functions`. What its standing policy of this
    name, if one is given, denies already stays denied: the roles are the same in all regions. Only reads, with `keys`,
    else those of `deployment`. Raises LinkPeerError if that policy cannot be read."""
    counts, *tag_problems = _read(lambda: _of_account(deployment, account, keys), Counter[str]())
    standing = RamPolicy(Ram(deployment), policy, ()).read() if policy else None
    denied_before = _denied(standing["document"] if standing else ())
    by_groups = sorted(counts, key=lambda prefix: (-counts[prefix], prefix))
    prefixes = [
        prefix
        for prefix in dict.fromkeys([*functions, *by_groups, *sorted(denied_before)])
        if prefix != deployment.settings.tag_prefix
    ]
    denied = tuple(sorted(prefixes[:MOST]))
    missing = tuple(prefix for prefix in denied if prefix not in denied_before)
    return OtherPrefixes(denied, missing, tuple(prefixes[MOST:]), tuple(tag_problems))


def _read(read: Callable[[], Any], otherwise: Any) -> tuple[Any, ...]:
    """What a call reads; or what stands for it, and why it failed."""
    try:
        return (read(),)
    except LinkPeerError as error:
        return otherwise, str(error)


def _of_account(deployment: SetupTarget, account: str, keys: AccountKeys | None) -> Counter[str]:
    """How many groups have a tag of each prefix."""
    settings, clock = deployment.settings, deployment.clock
    retry = Retry(clock, clock.now() + SECONDS)
    cloud = PersonsAccounts(
        settings, deployment.policy, clock, retry, "prefixes", keys or identified(settings), reading=True
    )
    return on_groups(cloud.ecs(account).all_groups())


def _denied(documents: Iterable[Any]) -> set[str]:
    """The prefixes of which a policy denies every key that consents."""
    statements = [statement for document in documents for statement in document["Statement"]]
    denied_keys = {
        key.removeprefix(REQUEST_TAG)
        for statement in statements
        if statement["Effect"] == "Deny"
        for condition in statement.get("Condition", {}).values()
        for key in condition
    }
    return {prefix for prefix in prefixes_of(denied_keys) if denied_keys.issuperset(consenting([prefix]))}
