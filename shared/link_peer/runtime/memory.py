"""What one instance of a function remembers from one delivery to the next: hints where to look, never facts."""

from __future__ import annotations

from link_peer.domain.model import Instance, Party

REMEMBERED = 10_000  # instances


class Memory:
    """The groups in which instances were last seen.

    The cloud no longer tells which groups a released instance was in. Where this process saw it before, the rules of those
    groups are looked at at once; otherwise the sweep finds what nobody asks for any more.
    """

    def __init__(self) -> None:
        self._groups: dict[Party, tuple[str, ...]] = {}

    def note(self, instance: Instance) -> None:
        """Remembers the instance's groups. Of too many, the one noted first is forgotten."""
        self._groups.pop(instance.party, None)
        self._groups[instance.party] = instance.groups
        if len(self._groups) > REMEMBERED:
            del self._groups[next(iter(self._groups))]

    def groups(self, instance: Party) -> set[Party]:
        """The groups in which the instance was last seen; none if it was not."""
        return {Party(instance.account, group) for group in self._groups.get(instance, ())}
