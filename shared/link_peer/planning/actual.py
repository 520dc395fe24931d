"""Actual state: the rules that exist, ours and other people's, as the snapshot shows them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence, Set

import msgspec

from link_peer.domain import marker as markers
from link_peer.domain.errors import BadInput
from link_peer.domain.grouped import grouped
from link_peer.domain.model import ALL, PRIORITY, Claim, Instance, Link, Marker, Party, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_instant

OwnedRule = tuple[Rule, Marker]
OwnedLink = tuple[Link, Rule, Marker]

HALF_OPEN_SECONDS = 1800
"""How old a half-open rule of a request must be before a sweep removes it: a delivery may still be writing the other
half."""


def owned_rules(snapshot: Snapshot, policy: Policy, region: str) -> list[OwnedRule]:
    """Every rule of ours in the snapshot, with its marker."""
    return [(rule, marker) for _, rule, marker in owned_links(snapshot, policy, region)]


def owned_links(snapshot: Snapshot, policy: Policy, region: str) -> Sequence[OwnedLink]:
    """Every rule of ours in the snapshot, with its link and its marker. The snapshot remembers them: all steps of a
    plan ask."""
    memory, question = snapshot.memory(policy), ("owned", region)
    if question not in memory:
        of_groups = (_owned_of_group(snapshot, policy, region, group) for group in snapshot.rules)
        memory[question] = [owned for of_group in of_groups for owned in of_group]
    links: Sequence[OwnedLink] = memory[question]
    return links


def _owned_of_group(snapshot: Snapshot, policy: Policy, region: str, group: Party) -> Sequence[OwnedLink]:
    """Those of one group, which an earlier snapshot may remember for the same rules."""
    memory, question, rules = snapshot.lasting_memory(policy), ("owned", region, group), snapshot.rules[group]
    if question not in memory or memory[question][0] is not rules:
        owned = ((rule, markers.owned(rule, policy.deployment, region, policy.home)) for rule in rules)
        memory[question] = rules, [(link_of_rule(rule, marker), rule, marker) for rule, marker in owned if marker]
    links: Sequence[OwnedLink] = memory[question][1]
    return links


class MarkedRule(msgspec.Struct, frozen=True):
    """A rule whose description names this home. `deployment` is what it names, which anyone may have written; `marker`
    is None where it is not the marker of this very rule, which no deployment then removes."""

    rule: Rule
    deployment: str
    marker: Marker | None


def marked_rules(snapshot: Snapshot, home: str, region: str) -> list[MarkedRule]:
    """Every rule whose description names this home, of whichever deployment."""
    marked = (
        (rule, markers.deployment_named(rule.description, home)) for rules in snapshot.rules.values() for rule in rules
    )
    return [
        MarkedRule(rule, name, markers.owned(rule, name, region, home)) for rule, name in marked if name is not None
    ]


def renamed_rules(snapshot: Snapshot, policy: Policy, region: str) -> list[OwnedRule]:
    """Every rule of this home under another deployment's name, with its marker: a deployment that was renamed left it,
    or one that is still there has it."""
    marked = marked_rules(snapshot, policy.home, region)
    return [(rule.rule, rule.marker) for rule in marked if rule.marker and rule.deployment != policy.deployment]


def damaged_rules(snapshot: Snapshot, policy: Policy, region: str) -> list[Rule]:
    """Every rule whose description names this deployment and home, but is not the marker of that rule."""
    marked = marked_rules(snapshot, policy.home, region)
    return [rule.rule for rule in marked if rule.deployment == policy.deployment and not rule.marker]


def link_of(key: RuleKey, marker: Marker) -> Link:
    """The link that a rule of ours belongs to, as far as the rule alone tells: its one port, or mutual."""
    ports = () if key.port == ALL else (key.port,)
    if marker.ends:
        first, second = marker.ends
        if key.is_egress:
            return Link(key.group, second, ports, first.id, is_egress=True)
        return Link(second, key.group, ports, first.id) if second.is_group else Link(first, second, ports)
    source, _, account = key.source.partition("@")
    return Link(Party(account, source), key.group, ports)


def moved_end(snapshot: Snapshot, key: RuleKey, link: Link) -> Instance | None:
    """The instance of a rule by address that is shown with another address than the rule has."""
    if not key.by_address:
        return None
    addresses = {link.asker: key.source, link.reached: key.dest}
    for party, address in addresses.items():
        instance = snapshot.instances.get(party)
        if instance and instance.ip and address and address != f"{instance.ip}/32":
            return instance
    return None


def link_of_rule(rule: Rule, marker: Marker) -> Link:
    """The link of a rule whose marker this is."""
    assert rule.key is not None  # noqa: S101  # no other rule has one
    return link_of(rule.key, marker)


def created(rule: Rule) -> float:
    """When the rule was made (epoch seconds); long ago where the cloud does not say."""
    try:
        return parse_instant(rule.created)
    except BadInput:
        return 0.0


class Actual(msgspec.Struct, frozen=True, dict=True):
    """The rules of a snapshot by their identity."""

    # ours; of two copies of a rule, the one at our priority, with the claims of both
    owned: Mapping[RuleKey, OwnedRule]
    duplicated: frozenset[RuleKey]  # those of ours of which someone made a copy with another priority
    equal: Mapping[RuleKey, Rule]  # other people's accept rules
    # ours at another priority beside an equal rule of a person at our priority, which counts: ECS refuses ours there
    displaced: Mapping[RuleKey, OwnedRule]

    @functools.cached_property
    def owned_by_target(self) -> Mapping[Party, list[tuple[RuleKey, Link, Marker]]]:
        """The rules of ours, each with its link and its marker, by the targets of their links."""
        links = [(key, link_of(key, marker), marker) for key, (_, marker) in self.owned.items()]
        return grouped((link.target, (key, link, marker)) for key, link, marker in links)

    def claims(self, key: RuleKey) -> Set[Claim]:
        """The claims that a rule of ours carries; none where there is no such rule."""
        return set(self.owned[key][1].claims) if key in self.owned else frozenset()

    def __contains__(self, key: RuleKey) -> bool:
        return key in self.owned or key in self.equal

    def tampered(self, key: RuleKey) -> bool:
        """Whether someone changed the priority of a rule of ours, or copied it. An accept of ours must not beat an
        operator's drop."""
        return self.owned[key][0].priority != PRIORITY or key in self.duplicated


def actual_state(snapshot: Snapshot, policy: Policy, region: str) -> Actual:
    """The rules of a snapshot, in whichever order the cloud shows them. The snapshot remembers them, too."""
    memory, question = snapshot.memory(policy), ("actual", region)
    if question not in memory:
        memory[question] = _actual_state(snapshot, owned_rules(snapshot, policy, region))
    actual: Actual = memory[question]
    return actual


def _actual_state(snapshot: Snapshot, owned_by_us: Sequence[OwnedRule]) -> Actual:
    ours = sorted(owned_by_us, key=lambda pair: _rank(pair[0]))
    copies = Counter(rule.key for rule, _ in ours)
    owned: dict[RuleKey, OwnedRule] = {}
    for rule, marker in ours:
        if rule.key:
            first_rule, first = owned.setdefault(rule.key, (rule, marker))
            owned[rule.key] = first_rule, markers.joined(first, marker)
    accepts = [rule for rules in snapshot.rules.values() for rule in rules if rule.policy == "accept"]
    keys_at_priority = {rule.key for rule in accepts if rule.priority == PRIORITY}
    overridden = [key for key, (rule, _) in owned.items() if rule.priority != PRIORITY and key in keys_at_priority]
    displaced = {key: owned.pop(key) for key in overridden}
    equal: dict[RuleKey, Rule] = {}
    for rule in sorted(accepts, key=_rank):
        if rule.key and rule.key not in owned:
            equal.setdefault(rule.key, rule)
    return Actual(owned, frozenset(key for key, count in copies.items() if key and count > 1), equal, displaced)


def _rank(rule: Rule) -> tuple[bool, int, str]:
    """Of several copies of a rule, the one at our priority counts; else the strongest."""
    return rule.priority != PRIORITY, rule.priority, rule.id
