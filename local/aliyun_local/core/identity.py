"""Accounts and their keys, users, roles and policies: who may sign a request, on whose behalf, and what they may do."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from aliyun_local.core.policy import MFA, Access, Policy, allowed
from aliyun_local.core.principals import SYSTEM, ManagedPolicy, Role, User, Version, policy_text

ADMINISTRATOR = "admin"
"""The name in trust policies of the RAM user for whom an account's own keys stand."""


class Caller(Struct, frozen=True):
    """Who signed a request: an account's administrator, a user of it, or an assumed role of it."""

    account: str
    arn: str  # acs:ram::<uid>:root | …:user/<name> | …:role/<name> | …:assumed-role/<name>/<session>
    role: str | None = None  # the role's name, when assumed
    policy: Policy | None = None  # the session's own policy, when it has one
    user: str | None = None  # the user's name, when one
    mfa: bool = False  # whether the caller signed in with a second factor: a user's access key alone never has

    @property
    def principals(self) -> frozenset[str]:
        """What a trust policy may call the caller: trusting `…:root` admits all of an account [doc trust policies]. An
        account's own keys are those of its administrator."""
        account = f"acs:ram::{self.account}:"
        principal = f"role/{self.role}" if self.role else f"user/{self.user or ADMINISTRATOR}"
        return frozenset({f"{account}root", f"{account}{principal}"})


class Key(Struct, frozen=True):
    """An access key. `token` and `expires` (epoch seconds) are set only on keys that STS issued."""

    access_key_id: str
    secret: str
    caller: Caller
    token: str | None = None
    expires: float | None = None


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
        self._nonces: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def use(self, access_key_id: str, nonce: str, now: float) -> bool:
        """Record a nonce; False when this key has used it before."""
        with self._lock:
            while self._nonces and next(iter(self._nonces.values())) < now - self.SECONDS:
                self._nonces.popitem(last=False)
            is_used = (access_key_id, nonce) in self._nonces
            self._nonces.setdefault((access_key_id, nonce), now)
            return not is_used


class Identity:
    """The directory of one local cloud: accounts (by uid), keys (by id), roles and users (by ARN), and policies.

    A custom policy is found by its account and name, a system policy by its name.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.keys: dict[str, Key] = {}
        self.roles: dict[str, Role] = {}
        self.users: dict[str, User] = {}
        self.policies: dict[tuple[str, str], ManagedPolicy] = {}
        self.system = {
            name: ManagedPolicy(name, {"v1": Version(policy_text([statement]), 0)}, type="System")
            for name, statement in SYSTEM.items()
        }
        self.nonces = Nonces()

    def add_account(self, uid: str, name: str) -> Account:
        """Create an account with a new access key."""
        account = Account(uid, name, *_new_key())
        self.accounts[uid] = account
        caller = Caller(uid, f"acs:ram::{uid}:root", mfa=True)  # it stands for an administrator who signed in
        self.keys[account.access_key_id] = Key(account.access_key_id, account.access_key_secret, caller)
        return account

    def add_role(self, role: Role, policies: Mapping[str, str] | None = None) -> Role:
        """Create a role, or replace the one with the same ARN, with these custom policies (documents by name)."""
        self.roles[role.arn] = role
        for name, document in (policies or {}).items():
            self.policies[role.account, name] = ManagedPolicy(name, {"v1": Version(document, role.created)})
            role.attached["Custom", name] = role.created
        return role

    def allow_only(self, role_arn: str, actions: Sequence[str]) -> None:
        """Let a role do these actions (`ecs:Describe*`) on all resources and nothing else, in place of its policies."""
        role = self.roles[role_arn]
        role.attached.clear()
        statements = [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}] if actions else []
        self.add_role(role, {f"{role.name}-only": policy_text(statements)} if statements else {})

    def issue(
        self, role: Role, session: str, expires: float, policy: Policy | None = None, *, mfa: bool = False
    ) -> Key:
        """Issue temporary keys of an assumed role, as STS does."""
        arn = f"acs:ram::{role.account}:assumed-role/{role.name}/{session}"
        caller = Caller(role.account, arn, role.name, policy, mfa=mfa)
        key = Key(
            f"STS.{secrets.token_hex(12)}", secrets.token_hex(16), caller, "CAIS" + secrets.token_hex(48), expires
        )
        self.keys[key.access_key_id] = key
        return key

    def add_key(self, user: User) -> Key:
        """Add a user, with a new access key."""
        self.users[user.arn] = user
        key = Key(*_new_key(), Caller(user.account, user.arn, user=user.name))
        self.keys[key.access_key_id] = key
        return key

    def policy(self, account: str, kind: str, name: str) -> ManagedPolicy | None:
        """A policy that an account may attach; `kind` is Custom or System."""
        return self.system.get(name) if kind == "System" else self.policies.get((account, name))

    def permitted(self, caller: Caller, access: Access) -> bool:
        """Whether a caller may do this. An account's administrator may do everything in it."""
        if caller.role is None and caller.user is None:
            return True
        access = replace(access, context={**access.context, MFA: [str(caller.mfa).lower()]})
        if caller.policy is not None and not caller.policy.allows(access):
            return False
        holder = (
            self.roles.get(f"acs:ram::{caller.account}:role/{caller.role}")
            if caller.role
            else self.users.get(f"acs:ram::{caller.account}:user/{caller.user}")
        )
        attached = [self.policy(caller.account, *attachment) for attachment in list(holder.attached)] if holder else []
        return allowed([managed.policy for managed in attached if managed], access)


def _new_key() -> tuple[str, str]:
    return f"LTAI5t{secrets.token_hex(9)}", secrets.token_hex(15)
