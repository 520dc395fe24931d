"""With which identity a person's command acts: in the home account, and in each of the others."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec
from link_peer.alicloud.sts import MARGIN_SECONDS, Accounts, Session
from link_peer.domain.errors import LinkPeerError, NoAccess
from link_peer.domain.policy import Policy
from link_peer.runtime.clock import Clock
from link_peer.runtime.ports import Ecs
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials, Settings

from link_peer_cli.access.noted import NotedEcs

HOME_SECONDS = 3600  # the maximum of a role, unless its owner raises it [doc AssumeRole]; as long as a command may run
KEYS_REFUSED = re.compile("AccessKeyId|Signature|SecurityToken|TimeStamp")
"""Of codes with which STS refuses the keys themselves, and not what they ask for: then every service does."""
PATIENCE_SECONDS = 15.0  # how long STS may be in trouble before the keys act themselves


def reader_of(role: str) -> str:
    """The ARN of the role that may only read, beside the role (an ARN) of the policy file."""
    return f"{role}-reader"


def closer_of(role: str) -> str:
    """The ARN of the role by which people close there, beside the role (an ARN) of the policy file."""
    return f"{role}-closer"


def as_closer(
    settings: Settings, policy: Policy, clock: Clock, account: str, identities: Sequence[Callable[[], Credentials]]
) -> Credentials:
    """Keys of an account's closer role, for an hour, with the first of these identities that may assume it. Raises NoAccess
    where none may, or Transient."""
    entry = policy.accounts[account]
    for last, keys in enumerate(identities, 1 - len(identities)):
        retry = Retry(clock, clock.now() + PATIENCE_SECONDS)
        accounts = Accounts(msgspec.structs.replace(settings, credentials=keys()), policy, clock, retry, "close")
        try:
            role, external_id = closer_of(entry.role or ""), entry.external_id or ""
            return accounts.assume(role, external_id, waits=(), seconds=HOME_SECONDS).credentials
        except NoAccess:
            if not last:
                raise
    raise AssertionError("unreachable: there are identities")


class HomeKeys:
    """The keys of a command in the home account: those of the role for what it does, where the person may assume it.

    Where the role is refused or does not exist, or STS gives no answer, the person's own keys act. They may be those of a
    role themselves.
    """

    def __init__(
        self, own: Callable[[], Credentials], settings: Settings, policy: Policy, clock: Clock, role: str
    ) -> None:
        """`own` returns the person's keys as they are now; `settings` are those of the command, with any keys; `role` is
        the name of a role in the home account."""
        self._own = own
        self._settings = settings
        self._policy = policy
        self._clock = clock
        self._role = f"acs:ram::{policy.home}:role/{role}"
        self._session: Session | None = None
        self._refused = False

    def __call__(self) -> Credentials:
        """Return keys that are valid for some minutes."""
        if self._refused:
            return self._own()
        if self._session is None or self._session.expires - MARGIN_SECONDS <= self._clock.now():
            settings = msgspec.structs.replace(self._settings, credentials=self._own())
            retry = Retry(self._clock, self._clock.now() + PATIENCE_SECONDS)
            accounts = Accounts(settings, self._policy, self._clock, retry, "command")
            try:
                self._session = accounts.assume(self._role, "", waits=(), seconds=HOME_SECONDS)
            except LinkPeerError as error:
                if KEYS_REFUSED.search(error.code):
                    raise
                self._refused = True
                return self._own()
        return self._session.credentials


class PersonsAccounts(Accounts):
    """`Accounts` for a command. One that only reads enters an account through its reader role, and through the role of the
    policy file where that one is refused. An account that refuses both is not asked again. An account of which the person has
    keys (`own`, by uid) is entered with these."""

    def __init__(
        self,
        settings: Settings,
        policy: Policy,
        clock: Clock,
        retry: Retry,
        session_name: str,
        *,
        reading: bool,
        own: Mapping[str, Credentials] | None = None,
    ) -> None:
        super().__init__(settings, policy, clock, retry, session_name)
        self._reading = reading
        self._own = own or {}
        self._without_reader: set[str] = set()
        self._refusals: dict[str, NoAccess] = {}

    def ecs(self, account: str) -> Ecs:
        """As `Accounts.ecs`; changes are noted."""
        if account not in self._made:
            keys = functools.partial(self._credentials, account)
            self._made[account] = NotedEcs(self._settings, account, keys, self._retry, self.calls)
        return self._made[account]

    def keys(self, account: str) -> Credentials:
        """The account's keys for another service than ECS, as they are now. Raises NoAccess if it cannot be entered."""
        return self._credentials(account, renew=False)

    def _credentials(self, account: str, renew: bool) -> Credentials:
        if account in self._own:
            return self._own[account]
        if account in self._refusals:
            raise self._refusals[account]
        role = self._policy.accounts[account].role
        if role is not None and self._reading and account not in self._without_reader:
            try:
                return self._through(account, reader_of(role), renew, waits=())
            except NoAccess:
                self._without_reader.add(account)
        try:
            return super()._credentials(account, renew)
        except NoAccess as error:
            self._refusals[account] = error
            raise
