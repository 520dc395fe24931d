"""What Function Compute keeps of one function, and the keys of its role: those of the service `fc.aliyuncs.com`, which
assumes it."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct, field
from msgspec.structs import replace

from aliyun_local.core.clock import Clock
from aliyun_local.core.errors import ApiError
from aliyun_local.core.identity import Identity, Key
from aliyun_local.fc.values import Function, Trigger
from aliyun_local.fc.versions import Published


class AsyncConfig(Struct, frozen=True):
    """How asynchronous calls of a version or alias are treated; `modified` in epoch seconds."""

    async_task: bool = False
    max_retries: int = 3
    max_age: int = 86_400
    on_failure: str | None = None
    modified: float = 0.0

    def of(self, function: Function) -> Function:
        """The function with this configuration."""
        return replace(
            function,
            async_task=self.async_task,
            max_retries=self.max_retries,
            max_age=self.max_age,
            on_failure=self.on_failure,
        )


class Placed(Struct, frozen=True):
    """A trigger, with its times in epoch seconds."""

    trigger: Trigger
    created: float
    modified: float


class FunctionState(Struct):
    """A function as it was last updated, its versions and aliases, triggers by name, and asynchronous settings by
    qualifier."""

    function: Function
    created: float
    modified: float
    published: Published
    triggers: dict[str, Placed] = field(default_factory=dict)
    async_configs: dict[str, AsyncConfig] = field(default_factory=dict)

    def trigger(self, name: str) -> Placed:
        """One trigger; TriggerNotFound."""
        if name not in self.triggers:
            message = f"trigger '{name}' does not exist in function '{self.function.name}'"
            raise ApiError("TriggerNotFound", 404, message)
        return self.triggers[name]


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
