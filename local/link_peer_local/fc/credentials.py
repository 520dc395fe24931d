"""Keys of a function's role, as Function Compute gets them: by assuming it as the service `fc.aliyuncs.com`."""

from __future__ import annotations

from collections.abc import Callable

from link_peer_deploy.manifest import Function

from link_peer_local.core.clock import Clock
from link_peer_local.core.errors import ApiError
from link_peer_local.core.identity import Identity, Key

SESSION_SECONDS = 36 * 3600  # validity of a function's keys [doc FC context]

Keys = Callable[[str, Function], Key]  # account, function


def role_keys(identity: Identity, clock: Clock) -> Keys:
    """A function that issues keys of a function's role. ApiError when the role does not trust Function Compute."""

    def keys(account: str, function: Function) -> Key:
        role = identity.roles.get(function.role)
        if role is None or role.account != account or not role.trusts(frozenset({"fc.aliyuncs.com"})):
            raise ApiError("AccessDenied", 403, f"the service fc.aliyuncs.com cannot assume the role '{function.role}'")
        return identity.issue(role, function.name, clock.now() + SESSION_SECONDS)

    return keys
