"""Accounts, access keys and roles: who may sign, and as whom."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from link_peer_local.sts.policy import Policy


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed a request: an account's administrator, or an assumed role of that account."""

    account: str
    arn: str  # acs:ram::<uid>:root | acs:ram::<uid>:role/<name> | acs:ram::<uid>:assumed-role/<name>/<session>
    role: str | None = None  # the role's name, when assumed
    policy: Policy | None = None  # what the session was narrowed to, when it was


@dataclass(frozen=True, slots=True)
class Key:
    """An access key. `token` and `expires` (epoch seconds) only for keys that STS handed out."""

    access_key_id: str
    secret: str
    caller: Caller
    token: str | None = None
    expires: float | None = None


@dataclass(slots=True)
class Role:
    """A RAM role: who may assume it (ARNs of accounts `acs:ram::<uid>:root`, roles, or a service) and with which ExternalId."""

    account: str
    name: str
    trusted: list[str] = field(default_factory=list)
    external_id: str | None = None
    max_session_seconds: int = 3600
    allowed_actions: list[str] | None = None  # None: everything; else e.g. ["ecs:Describe*"]; ECS and STS ask for them

    def __post_init__(self) -> None:
        """ValueError for a text where a list of texts is wanted: a text's letters would be read as its items."""
        for name in ("trusted", "allowed_actions"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
                raise ValueError(f"role {self.name}: {name} is a list of texts")

    @property
    def arn(self) -> str:
        return f"acs:ram::{self.account}:role/{self.name}"


@dataclass(slots=True)
class Account:
    """One Alibaba Cloud account: uid as a string of 15-20 digits."""

    uid: str
    name: str
    access_key_id: str
    access_key_secret: str


class Nonces:
    """What each key has signed with of late: a nonce counts once while the time stamp beside it can still be good."""

    SECONDS = 2 * 15 * 60  # from a quarter of an hour ahead of the clock to a quarter behind it

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def use(self, access_key_id: str, nonce: str, now: float) -> bool:
        """False when it was used before."""
        with self._lock:
            while self._seen and next(iter(self._seen.values())) < now - self.SECONDS:
                self._seen.popitem(last=False)
            known = (access_key_id, nonce) in self._seen
            self._seen.setdefault((access_key_id, nonce), now)
            return not known


class Identity:
    """The directory of accounts, keys and roles of one local cloud."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.keys: dict[str, Key] = {}
        self.roles: dict[str, Role] = {}  # by ARN
        self.nonces = Nonces()

    def add_account(self, uid: str, name: str) -> Account:
        account = Account(uid, name, f"LTAI5t{secrets.token_hex(9)}", secrets.token_hex(15))
        self.accounts[uid] = account
        caller = Caller(uid, f"acs:ram::{uid}:root")
        self.keys[account.access_key_id] = Key(account.access_key_id, account.access_key_secret, caller)
        return account

    def add_role(self, role: Role) -> Role:
        self.roles[role.arn] = role
        return role

    def issue(self, role: Role, session: str, expires: float, policy: Policy | None = None) -> Key:
        """Temporary keys of an assumed role, as STS hands them out."""
        arn = f"acs:ram::{role.account}:assumed-role/{role.name}/{session}"
        caller = Caller(role.account, arn, role.name, policy)
        key = Key(
            f"STS.{secrets.token_hex(12)}", secrets.token_hex(16), caller, "CAIS" + secrets.token_hex(48), expires
        )
        self.keys[key.access_key_id] = key
        return key
