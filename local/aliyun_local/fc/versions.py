"""The published versions of a function, and the aliases that point to them.

Sources: [src fc20230330 4.8.3 Version, Alias], [doc functioncompute/fc
use-versions-and-aliases-to-implement-canary-release].
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from msgspec import Struct, field
from msgspec.structs import replace

from aliyun_local.core.errors import ApiError
from aliyun_local.fc.values import Function

LATEST = "LATEST"
_ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}", re.ASCII)


class Version(Struct, frozen=True):
    """A function as it was published; `created` in epoch seconds."""

    id: str
    function: Function
    description: str
    created: float


class Alias(Struct, frozen=True):
    """A name for a version. `weights` sends the given share of the calls (0 to 1) to other versions."""

    name: str
    version: str
    created: float
    modified: float
    description: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)


class Published:
    """The versions and aliases of one function. Callers hold the lock."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._random = random.Random(0)  # noqa: S311 - which version of a canary release a call takes
        self.versions: dict[str, Version] = {}
        self.aliases: dict[str, Alias] = {}
        self._last_number = 0

    def changed(self, function: Function) -> bool:
        """Whether the function differs from the last version."""
        last = next(reversed(self.versions.values()), None)
        return last is None or last.function != function

    def publish(self, function: Function, description: str, now: float) -> Version:
        """Publish the function as it is. VersionPublishError if it is the last version's."""
        if not self.changed(function):
            message = f"can not publish version for function '{self._name}', detail: 'No changes were made since last publish'"
            raise ApiError("VersionPublishError", 400, message)
        self._last_number += 1  # numbers are not used again
        version = Version(str(self._last_number), function, description, now)
        self.versions[version.id] = version
        return version

    def create_alias(
        self, name: str, version: str, description: str, weights: Mapping[str, float], now: float
    ) -> Alias:
        """A new alias. 409 if there is one of the name."""
        if not _ALIAS.fullmatch(name) or name == LATEST:
            raise ApiError("InvalidArgument", 400, f"alias name '{name}' is invalid")
        if name in self.aliases:
            raise ApiError("AliasAlreadyExists", 409, f"alias '{name}' already exists in function '{self._name}'")
        self._check(version, weights)
        alias = self.aliases[name] = Alias(name, version, now, now, description, dict(weights))
        return alias

    def update_alias(
        self, name: str, version: str | None, description: str | None, weights: Mapping[str, float] | None, now: float
    ) -> Alias:
        """Change what is given of an alias. It is refused if nothing changes [run: fc3; the code is assumed]."""
        old = self.alias(name)
        new = replace(
            old,
            version=old.version if version is None else version,
            description=old.description if description is None else description,
            weights=old.weights if weights is None else dict(weights),
        )
        if new == old:
            raise ApiError("InvalidArgument", 400, "Can not update alias without any change")
        self._check(new.version, new.weights)
        new = replace(new, modified=now)
        self.aliases[name] = new
        return new

    def point(self, name: str, version: str, now: float) -> None:
        """Create an alias, or point it at another version."""
        if name in self.aliases:
            self.update_alias(name, version, None, {}, now)
        else:
            self.create_alias(name, version, "", {}, now)

    def delete_alias(self, name: str) -> None:
        """Delete an alias; AliasNotFound."""
        self.alias(name)
        del self.aliases[name]

    def delete_version(self, number: str) -> None:
        """Delete a version; VersionNotFound. One that an alias sends calls to is kept."""
        self.version(number)
        if used := [alias.name for alias in self.aliases.values() if number in (alias.version, *alias.weights)]:
            message = f"version '{number}' is used by alias '{used[0]}'"  # assumed: no page shows this refusal
            raise ApiError("InvalidArgument", 400, message)
        del self.versions[number]

    def alias(self, name: str) -> Alias:
        """One alias; AliasNotFound."""
        if name not in self.aliases:
            raise ApiError("AliasNotFound", 404, f"alias '{name}' does not exist in function '{self._name}'")
        return self.aliases[name]

    def version(self, number: str) -> Version:
        """One version; VersionNotFound."""
        if number not in self.versions:
            raise ApiError("VersionNotFound", 404, f"version '{number}' does not exist in function '{self._name}'")
        return self.versions[number]

    def resolve(self, qualifier: str) -> Version:
        """The version that a call of this version or alias runs."""
        if qualifier.isdigit():
            return self.version(qualifier)
        alias = self.alias(qualifier)
        drawn = self._random.random() if alias.weights else 1.0
        for number, share in alias.weights.items():
            drawn -= share
            if drawn < 0:
                return self.version(number)
        return self.version(alias.version)

    def _check(self, version: str, weights: Mapping[str, float]) -> None:
        self.version(version)
        for number, share in weights.items():
            self.version(number)
            if number == version or not 0 <= share <= 1:
                raise ApiError("InvalidArgument", 400, f"the weight {share} of version '{number}' is invalid")
