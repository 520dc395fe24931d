"""Accounts, access keys and roles: who may sign a request, and on whose behalf."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict

from msgspec import Struct, field

from link_peer_local.core.policy import Policy, matches


class Caller(Struct, frozen=True):
    """Who signed a request: an account's administrator, or an assumed role of that account."""

    account: str
    arn: str  # acs:ram::<uid>:root | acs:ram::<uid>:role/<name> | acs:ram::<uid>:assumed-role/<name>/<session>
    role: str | None = None  # the role's name, when assumed
    policy: Policy | None = None  # the session's own policy, when it has one


class Key(Struct, frozen=True):
    """An access key. `token` and `expires` (epoch seconds) are set only on keys that STS issued."""

    access_key_id: str
    secret: str
    caller: Caller
    token: str | None = None
    expires: float | None = None


class Role(Struct):
    """A RAM role: who may assume it, with which ExternalId, and what it may do.

    `trusted` lists ARNs of accounts (`acs:ram::<uid>:root`), ARNs of roles, or service names. `allowed_actions` is
    None for everything, else patterns like `ecs:Describe*`; ECS and STS check them.
    """

    account: str
    name: str
    trusted: list[str] = field(default_factory=list)
    external_id: str | None = None
    max_session_seconds: int = 3600
    allowed_actions: list[str] | None = None

    def __post_init__(self) -> None:
        """ValueError for a string where a list of strings is expected: it would be read letter by letter."""
        for name in ("trusted", "allowed_actions"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
                raise ValueError(f"role {self.name}: {name} must be a list of strings")

    @property
    def arn(self) -> str:
        """`acs:ram::<uid>:role/<name>`."""
        return f"acs:ram::{self.account}:role/{self.name}"


class Account(Struct):
    """One Alibaba Cloud account: `uid` is a string of 15 to 20 digits."""

    uid: str
    name: str
    access_key_id: str
    access_key_secret: str


class Nonces:
    """Recently used signature nonces of each key: a nonce is accepted once while its time stamp can still be valid."""

    SECONDS = 2 * 15 * 60  # a time stamp may be 15 minutes ahead of the clock or behind it

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def use(self, access_key_id: str, nonce: str, now: float) -> bool:
        """Record a nonce; False when this key has used it before."""
        with self._lock:
            while self._seen and next(iter(self._seen.values())) < now - self.SECONDS:
                self._seen.popitem(last=False)
            known = (access_key_id, nonce) in self._seen
            self._seen.setdefault((access_key_id, nonce), now)
            return not known


class Identity:
    """The directory of accounts (by uid), keys (by id) and roles (by ARN) of one local cloud."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.keys: dict[str, Key] = {}
        self.roles: dict[str, Role] = {}
        self.nonces = Nonces()

    def add_account(self, uid: str, name: str) -> Account:
        """Create an account with a new access key."""
        account = Account(uid, name, f"LTAI5t{secrets.token_hex(9)}", secrets.token_hex(15))
        self.accounts[uid] = account
        caller = Caller(uid, f"acs:ram::{uid}:root")
        self.keys[account.access_key_id] = Key(account.access_key_id, account.access_key_secret, caller)
        return account

    def add_role(self, role: Role) -> Role:
        """Create a role, or replace the one with the same ARN."""
        self.roles[role.arn] = role
        return role

    def issue(self, role: Role, session: str, expires: float, policy: Policy | None = None) -> Key:
        """Issue temporary keys of an assumed role, as STS does."""
        arn = f"acs:ram::{role.account}:assumed-role/{role.name}/{session}"
        caller = Caller(role.account, arn, role.name, policy)
        key = Key(
            f"STS.{secrets.token_hex(12)}", secrets.token_hex(16), caller, "CAIS" + secrets.token_hex(48), expires
        )
        self.keys[key.access_key_id] = key
        return key

    def permitted(self, caller: Caller, action: str) -> bool:
        """Whether the caller may do `ecs:DescribeInstances` and the like. Only roles and sessions have limits."""
        if caller.role is None:
            return True
        if caller.policy is not None and not caller.policy.allows(action):
            return False
        role = self.roles.get(f"acs:ram::{caller.account}:role/{caller.role}")
        if role is None or role.allowed_actions is None:
            return role is not None
        return matches(action, role.allowed_actions)
