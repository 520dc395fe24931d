"""With which identity a person's command acts: in the home account, and in each of the others."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import msgspec
from link_peer.alicloud.sts import MARGIN_SECONDS, Accounts, Session
from link_peer.domain.errors import KeysExpired, LinkPeerError, NoAccess, Transient
from link_peer.domain.policy import Policy
from link_peer.runtime.clock import Clock
from link_peer.runtime.ports import Ecs
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials, Settings

from link_peer_cli.access import identity
from link_peer_cli.access.identity import AccountKeys
from link_peer_cli.access.noted import NotedEcs

HOME_SECONDS = 3600  # the maximum of a role, unless its owner raises it [doc AssumeRole]; as long as a command may run
PATIENCE_SECONDS = 15.0  # how long STS may be in trouble before the keys act themselves


def reader_of(role: str) -> str:
    """The ARN of the role that may only read, beside the role (an ARN) of the policy file."""
    return f"{role}-reader"


def closer_of(role: str) -> str:
    """The ARN of the role by which people close there, beside the role (an ARN) of the policy file."""
    return f"{role}-closer"


def as_closer(
    settings: Settings, policy: Policy, clock: Clock, account: str, identities: Sequence[AccountKeys]
) -> AccountKeys:
    """Keys of an account's closer role, for an hour, with the first of these identities that may assume it. Raises
    NoAccess where none may, or Transient."""
    entry = policy.accounts[account]
    role, external_id = closer_of(entry.role or ""), entry.external_id or ""
    for last, keys in enumerate(identities, 1 - len(identities)):
        retry = Retry(clock, clock.now() + PATIENCE_SECONDS)
        accounts = Accounts(msgspec.structs.replace(settings, credentials=keys()), policy, clock, retry, "close")
        try:
            session = accounts.assume(role, external_id, waits=(), seconds=HOME_SECONDS)
            return AccountKeys(account, role, functools.partial(getattr, session, "credentials"))
        except NoAccess as error:
            if not last:
                text = identity.peer_refused(policy, account, role, keys, error)
                raise NoAccess(error.code, text, error.request_id) from None
    raise AssertionError("unreachable: there are identities")


def acting(person_keys: AccountKeys, settings: Settings, policy: Policy, clock: Clock, role: str) -> AccountKeys:
    """The keys of a command: those of a role in the home account (its name) for what it does, where the person may
    assume it.

    Where the role is refused or does not exist, or STS gives no answer, the person's own keys act, and say why; they
    may be of another account. Those of that very role act themselves. `settings` are those of the command, with any
    keys.
    """
    arn = f"acs:ram::{policy.home}:role/{role}"
    if identity.principal_of(person_keys.arn).lower() == arn.lower():
        return person_keys
    session = _RoleSession(person_keys, settings, policy, clock, arn)
    try:
        session()
    except LinkPeerError as error:
        return msgspec.structs.replace(person_keys, refusal=identity.role_refused(arn, person_keys.arn, error))
    return AccountKeys(policy.home, arn, session)


class _RoleSession:
    """Credentials of a role, by its ARN, renewed before they expire. Raises LinkPeerError where it cannot be
    assumed."""

    def __init__(self, person_keys: AccountKeys, settings: Settings, policy: Policy, clock: Clock, role: str) -> None:
        self._person_keys = person_keys
        self._settings = settings
        self._policy = policy
        self._clock = clock
        self._role = role
        self._session: Session | None = None

    def __call__(self) -> Credentials:
        """Keys that are valid for some minutes."""
        if self._session is None or self._session.expires - MARGIN_SECONDS <= self._clock.now():
            settings = msgspec.structs.replace(self._settings, credentials=self._person_keys())
            retry = Retry(self._clock, self._clock.now() + PATIENCE_SECONDS)
            accounts = Accounts(settings, self._policy, self._clock, retry, "command")
            try:
                self._session = accounts.assume(self._role, "", waits=(), seconds=HOME_SECONDS)
            except Transient:
                if self._session is None or self._session.expires <= self._clock.now():
                    raise
        return self._session.credentials


class PersonsAccounts(Accounts):
    """`Accounts` for a command, each entered with keys that are known to belong to it: those that the person has, else
    those of the account's roles, which home's keys assume. A command that only reads enters an account through its
    reader role, and through the role of the policy file where that one is refused. An account that refuses both is not
    asked again."""

    def __init__(
        self,
        settings: Settings,
        policy: Policy,
        clock: Clock,
        retry: Retry,
        session_name: str,
        acting_keys: AccountKeys,
        *,
        reading: bool,
        person_keys: Mapping[str, AccountKeys] | None = None,
    ) -> None:
        """`acting_keys` are those of the command, which assume the roles of other accounts; `person_keys` are the
        person's, by account, and come first there."""
        keys = {acting_keys.account: acting_keys, **(person_keys or {})}
        self._home = acting_keys if acting_keys.account == policy.home else keys.get(policy.home)
        self._acting = acting_keys
        credentials = self._home() if self._home else identity.NO_KEYS
        super().__init__(msgspec.structs.replace(settings, credentials=credentials), policy, clock, retry, session_name)
        self._reading = reading
        self._keys = keys
        self._readers: PersonsAccounts | None = None
        self._without_reader: dict[str, NoAccess] = {}
        self._refusals: dict[str, NoAccess] = {}

    def reading_through(self, readers: PersonsAccounts) -> PersonsAccounts:
        """These accounts; `readers` enter, to read, what is refused here."""
        self._readers = readers
        return self

    def ecs(self, account: str) -> Ecs:
        """As `Accounts.ecs`; changes are noted."""
        if account not in self._clients:
            keys = functools.partial(self._credentials, account)
            self._clients[account] = NotedEcs(self._settings, account, keys, self._retry, self.calls)
        return self._clients[account]

    def keys(self, account: str) -> Credentials:
        """The account's keys for another service than ECS, as they are now. Raises NoAccess if it cannot be entered."""
        return self._credentials(account, renew=False)

    def _credentials(self, account: str, renew: bool) -> Credentials:
        if account in self._keys:
            if renew and account == self._policy.home:
                raise KeysExpired("the keys of this process are refused, and it has no others")
            return self._keys[account]()
        if account in self._refusals:
            raise self._refusals[account]
        try:
            return self._entered(account, renew)
        except NoAccess as error:
            self._refusals[account] = error
            raise

    def _entered(self, account: str, renew: bool) -> Credentials:
        """Keys of a role of an account of which there are none. Raises NoAccess that says what would mend it."""
        role = self._policy.accounts[account].role
        if self._home is None or role is None:
            raise NoAccess("NoKeys", identity.needs_home(self._acting, self._policy))
        if self._reading and account not in self._without_reader:
            try:
                return self._through(account, reader_of(role), renew, waits=())
            except NoAccess as error:
                self._without_reader[account] = error
        try:
            return super()._credentials(account, renew)
        except NoAccess as error:
            if self._readers:
                return self._readers.keys(account)
            # the reader's own refusal says what is wrong with what a command that reads should have had
            first = self._without_reader.get(account, error)
            entered = reader_of(role) if first is not error else role
            text = identity.peer_refused(self._policy, account, entered, self._home, first)
            raise NoAccess(first.code, text, first.request_id) from None
