"""ECS of an account as a command changes it: each change is noted while it is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from link_peer.alicloud.ecs import SdkEcs
from link_peer.domain.model import Party, Rule, RuleKey

from link_peer_cli.ui.changes import CHANGES


def of_rule(verb: str, key: RuleKey) -> str:
    """`add tcp/3306 from sg-app@<uid> on sg-db@<uid>`."""
    return f"{verb} {key.traffic_text} on {key.group}"


def of_tags(verb: str, keys: Iterable[str], group: Party) -> str:
    """`put tag link-lock on sg-db@<uid>`."""
    return f"{verb} tag {' '.join(keys)} on {group}"


class NotedEcs(SdkEcs):
    """As `SdkEcs`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._rules_by_id: dict[str, Rule] = {}  # by id, as read last

    def rules(self, group: str) -> list[Rule]:
        """As `Ecs.rules`."""
        rules = super().rules(group)
        self._rules_by_id.update({rule.id: rule for rule in rules})
        return rules

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]], *, advanced: bool = False) -> str:
        """As `Ecs.authorize`."""
        with CHANGES.making(*(of_rule("add", key) for key, _ in rules)):
            return super().authorize(group, rules, advanced=advanced)

    def modify(self, group: str, rule_id: str, description: str, *, egress: bool = False) -> str:
        """As `Ecs.modify`."""
        with CHANGES.making(self._text("change", group, rule_id)):
            return super().modify(group, rule_id, description, egress=egress)

    def revoke(self, group: str, rule_ids: Sequence[str], *, egress: bool = False) -> str:
        """As `Ecs.revoke`."""
        with CHANGES.making(*(self._text("remove", group, rule_id) for rule_id in rule_ids)):
            return super().revoke(group, rule_ids, egress=egress)

    def tag(self, groups: Sequence[str], keys: Sequence[str]) -> str:
        """As `Ecs.tag`."""
        with CHANGES.making(*(of_tags("put", keys, Party(self.account, group)) for group in groups)):
            return super().tag(groups, keys)

    def untag(self, group: str, keys: Sequence[str]) -> str:
        """As `Ecs.untag`."""
        with CHANGES.making(of_tags("take off", keys, Party(self.account, group))):
            return super().untag(group, keys)

    def _text(self, verb: str, group: str, rule_id: str) -> str:
        key = self._rules_by_id[rule_id].key if rule_id in self._rules_by_id else None
        return of_rule(verb, key) if key else f"{verb} rule {rule_id} on {Party(self.account, group)}"
