"""The values of a plan: what a link comes to, and what each rule of it gains and loses. Pure.

A rule of ours belongs to a link and stands for reasons; both are read from the rule itself.
"""

from __future__ import annotations

import msgspec

from link_peer.domain import marker as markers
from link_peer.domain.model import ALL, Link, Marker, Party, Reason, Rule, RuleKey
from link_peer.engine.reader import View
from link_peer.inbound.policy_file import Policy
from link_peer.planning.evaluate import Denial, Verdict


class Edit(msgspec.Struct, frozen=True):
    """What one rule gains and loses in reasons. A rule with its first reason is written, one without its last is removed."""

    key: RuleKey
    gain: frozenset[Reason] = frozenset()
    lose: frozenset[Reason] = frozenset()
    ends: tuple[Party, Party] | None = None
    rule: Rule | None = None  # ours, as it stands
    left: tuple[Reason, ...] = ()  # the reasons it will carry

    @property
    def kind(self) -> str:
        """`add`, `mark` or `remove`."""
        if self.rule is None:
            return "add"
        return "mark" if self.left else "remove"


class Decision(msgspec.Struct, frozen=True):
    """What one link comes to. `outcome` is what the record will say once the changes are made."""

    link: Link
    action: str  # link | unlink | sync | expire | repair
    outcome: str  # applied | unchanged | removed | denied | failed
    reason: str = ""
    detail: str = ""
    advice: str = ""
    edits: tuple[Edit, ...] = ()
    untagged: tuple[Party, ...] = ()  # groups with rules of ours, or soon, that lack the tag a sweep finds them by
    counted: bool = False
    removes_first: bool = False
    verdict: Verdict | None = None
    instance: Party | None = None
    raw: str = ""
    rules: tuple[Rule, ...] = ()  # those that stand already

    @property
    def removes(self) -> int:
        """How many rules go."""
        return sum(edit.kind == "remove" for edit in self.edits)


class Refusal(msgspec.Struct, frozen=True):
    """A link that could not be written. `begun` are the reasons that this delivery has put on rules for its sake."""

    denial: Denial
    begun: frozenset[tuple[RuleKey, Reason]] = frozenset()


def owned_rules(view: View, policy: Policy, region: str) -> list[tuple[Rule, Marker]]:
    """Every rule of ours in the view, with its marker."""
    found = []
    for rules in view.rules.values():
        for rule in rules:
            if marker := markers.owned(rule, policy.deployment, region, policy.home):
                found.append((rule, marker))
    return found


def link_of(key: RuleKey, marker: Marker) -> Link:
    """The link that a rule of ours belongs to, as far as the rule alone tells: its one port, or mutual."""
    ports = () if key.port == ALL else (key.port,)
    if marker.ends:
        return Link(marker.ends[0], marker.ends[1], ports)
    source, _, account = key.source.partition("@")
    return Link(Party(account, source), key.group, ports)


def marker_of(edit: Edit, policy: Policy, region: str) -> Marker:
    """The marker that a rule shall carry."""
    return Marker(policy.deployment, edit.key.id(policy.deployment, region), edit.left, edit.ends)


def one_each(reasons: set[Reason]) -> set[Reason]:
    """One reason a request. Two ends of one request are left by a delivery that died in the middle: the nearer holds."""
    found: dict[str, Reason] = {}
    for reason in sorted(reasons, key=lambda r: (r.request, r.until is None, r.until or 0)):
        found.setdefault(reason.request, reason)
    return set(found.values())
