"""What one instance of a function remembers from one delivery to the next: hints where to look, never facts."""

from __future__ import annotations

from collections.abc import Mapping

from link_peer.domain.model import Instance, Party, Rule

REMEMBERED = 10_000  # instances
RULES_SECONDS = 60.0
GROUPS_WITH_RULES = 1_000


class Memory:
    """The groups in which instances were last seen, and the rules that groups had less than a minute ago.

    The cloud no longer tells which groups a released instance was in. Where this process saw it before, the rules of those
    groups are looked at at once; otherwise the sweep finds what nobody asks for any more.

    When a thousand instances with the same tags are launched, each asks for rules that exist already. Remembered rules may
    show that there is nothing to do; no change is ever made by them.
    """

    def __init__(self) -> None:
        self._groups: dict[Party, tuple[str, ...]] = {}
        self._rules: dict[Party, tuple[float, tuple[Rule, ...]]] = {}

    def note(self, instance: Instance) -> None:
        """Remembers the instance's groups. Of too many, the one noted first is forgotten."""
        self._groups.pop(instance.party, None)
        self._groups[instance.party] = instance.groups
        if len(self._groups) > REMEMBERED:
            del self._groups[next(iter(self._groups))]

    def groups(self, instance: Party) -> set[Party]:
        """The groups in which the instance was last seen; none if it was not."""
        return {Party(instance.account, group) for group in self._groups.get(instance, ())}

    def note_rules(self, rules: Mapping[Party, tuple[Rule, ...]], read_at: float) -> None:
        """Remembers what groups' rules were at a time (epoch seconds). Of too many, those noted first are forgotten."""
        for group, found in rules.items():
            self._rules.pop(group, None)
            self._rules[group] = (read_at, found)
        for group in list(self._rules)[: max(0, len(self._rules) - GROUPS_WITH_RULES)]:
            del self._rules[group]

    def rules(self, group: Party, now: float) -> tuple[Rule, ...] | None:
        """What the group's rules were less than a minute ago; None where that is not known."""
        read_at, found = self._rules.get(group, (0.0, ()))
        return found if now - read_at < RULES_SECONDS else None
