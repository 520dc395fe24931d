"""Actual state: the rules that exist, ours and other people's, as the snapshot shows them."""

from __future__ import annotations

from collections.abc import Set

from link_peer.domain import marker as markers
from link_peer.domain.model import ALL, PRIORITY, Claim, Link, Marker, Party, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot

OwnedRule = tuple[Rule, Marker]


def owned_rules(snapshot: Snapshot, policy: Policy, region: str) -> list[OwnedRule]:
    """Every rule of ours in the snapshot, with its marker."""
    found = []
    for rules in snapshot.rules.values():
        for rule in rules:
            if marker := markers.owned(rule, policy.deployment, region, policy.home):
                found.append((rule, marker))
    return found


def damaged_rules(snapshot: Snapshot, policy: Policy, region: str) -> list[Rule]:
    """Every rule whose description names this deployment and home, but is not the marker of that rule."""
    ours = (policy.deployment, region, policy.home)
    return [rule for rules in snapshot.rules.values() for rule in rules if markers.damaged(rule, *ours)]


def link_of(key: RuleKey, marker: Marker) -> Link:
    """The link that a rule of ours belongs to, as far as the rule alone tells: its one port, or mutual."""
    ports = () if key.port == ALL else (key.port,)
    if marker.ends:
        return Link(marker.ends[0], marker.ends[1], ports)
    source, _, account = key.source.partition("@")
    return Link(Party(account, source), key.group, ports)


class ActualState:
    """The rules of a snapshot by their identity.

    `owned` are ours: of two copies of one rule, the one at our priority. `duplicated` are those of which someone made a
    copy with another priority. `equal` are other people's accept rules. `displaced` are rules of ours with another priority
    beside an equal rule of a person at our priority, which ECS does not let ours have again: the person's counts.
    """

    def __init__(self, snapshot: Snapshot, policy: Policy, region: str) -> None:
        self.owned: dict[RuleKey, OwnedRule] = {}
        self.duplicated: set[RuleKey] = set()
        ours = set()
        for rule, marker in owned_rules(snapshot, policy, region):
            ours.add(rule.id)
            if rule.key is None:
                continue
            if rule.key in self.owned:
                self.duplicated.add(rule.key)
            if rule.key not in self.owned or rule.priority == PRIORITY:
                self.owned[rule.key] = (rule, marker)
        others = [
            rule
            for rules in snapshot.rules.values()
            for rule in rules
            if rule.key and rule.policy == "accept" and rule.id not in ours
        ]
        taken = {rule.key for rule in others if rule.priority == PRIORITY}
        lost = [key for key, (rule, _) in self.owned.items() if rule.priority != PRIORITY and key in taken]
        self.displaced = {key: self.owned.pop(key) for key in lost}
        self.equal = {rule.key: rule for rule in others if rule.key and rule.key not in self.owned}

    def claims(self, key: RuleKey) -> Set[Claim]:
        """The claims that a rule of ours carries; none where there is no such rule."""
        return set(self.owned[key][1].claims) if key in self.owned else frozenset()

    def __contains__(self, key: RuleKey) -> bool:
        return key in self.owned or key in self.equal

    def tampered(self, key: RuleKey) -> bool:
        """Whether someone changed the priority of a rule of ours, or copied it. An accept of ours must not beat an
        operator's drop."""
        return self.owned[key][0].priority != PRIORITY or key in self.duplicated
