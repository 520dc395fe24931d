"""The links that stand, as a person asks about them: who may reach whom, since when, until when, why, and who asked.

What a link is now is one word that every view shows, the first that holds:

| word        | meaning                                                                                              |
|-------------|------------------------------------------------------------------------------------------------------|
| `closing`   | its rules go at the next sweep, or the next full one: locked, consent ended, nobody asks any more, …  |
| `half-open` | one of the two rules of a mutual link is missing                                                     |
| `open`      | packets pass, in each direction that the link opens and on each of its ports                         |
| `partly`    | some packets pass, others do not                                                                     |
| `blocked`   | no packet passes                                                                                     |
| `unknown`   | something that decides about packets was not read                                                    |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from link_peer.domain import marker as markers
from link_peer.domain.grouped import grouped
from link_peer.domain.model import ALL, Claim, Instance, Link, Marker, Party, Port, Rule, ports_text
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_instant
from link_peer.planning.actual import OwnedRule, link_of, link_of_rule, owned_rules
from link_peer.planning.claims import claims_end, links_from_tags
from link_peer.planning.covering import consent_end, covering_entries, current_entries
from link_peer.planning.decision import Plan
from link_peer.planning.effect import rules_of
from link_peer.planning.rota import runs_between
from link_peer.planning.verdict.answers import wish_denial
from link_peer.planning.writing import is_admitted_by_people, missing_outlets
from link_peer.views.reach import Reach, Scene, both_ways, reach


class Standing(msgspec.Struct, frozen=True):
    """One link that stands, with its rules. Instants are epoch seconds."""

    source: Party
    target: Party
    ports: tuple[Port, ...]
    claims: tuple[Claim, ...]
    rules: tuple[Rule, ...]
    half: Party | None = None  # of a mutual link, the party that lacks its rule
    since: float | None = None
    # when the first of its rules ends, or has ended, by its claims or by consent; None where none ends
    until: int | None = None
    askers: tuple[Party, ...] = ()  # the instances whose tags ask for it
    consent: tuple[str, ...] = ()  # the entries that cover it now
    closing: str = ""  # why its rules go at the next sweep; empty if they stay

    @property
    def mutual(self) -> bool:
        """Whether each party may reach the other on everything."""
        return ALL in self.ports

    @property
    def ports_text(self) -> str:
        """The ports as tags and records have them; `mutual` for everything."""
        return ports_text(() if self.mutual else self.ports)

    @property
    def requests(self) -> tuple[str, ...]:
        """The ids of the requests that claim it."""
        return tuple(claim.request for claim in self.claims if claim.request)

    @property
    def deployment(self) -> str:
        """The deployment that its rules name."""
        marker = markers.parse(self.rules[0].description)
        return marker.deployment if marker else ""

    @property
    def members(self) -> tuple[Party, ...]:
        """The instances that a link by address admits; none of another link."""
        rule_markers = (marker for rule in self.rules if (marker := markers.parse(rule.description)))
        ends = [marker.ends for marker in rule_markers if marker.ends and not marker.is_egress]
        return tuple(sorted({end[0] for end in ends if end[1].is_group}))

    @property
    def written(self) -> str:
        """How its rules name who is admitted: `by reference` to a group, `by address`, or `between instances`."""
        if not self.source.is_group:
            return "between instances"
        return "by address" if self.members else "by reference"

    def between(self, ends: tuple[frozenset[Party], frozenset[Party]]) -> bool:
        """Whether it links a party of one set with one of the other, in either direction."""
        first, second = ends
        return (self.source in first and self.target in second) or (self.source in second and self.target in first)


_Key = tuple[Party, Party, tuple[Claim, ...], bool, str, bool]
Going = Mapping[tuple[Party, str], str]
"""Why rules go at the next sweep, by group and id."""
_FULL = "; gone at the account's next full sweep"


def removal_reasons(plan: Plan, policy: Policy) -> Going:
    """Why a plan of the next sweep removes rules. A short sweep removes what is locked, has ended or has lost its
    consent or permission; what nobody asks for any more, only a full one. Where tools took the managed tag off a group,
    the sweep that reads it comes within a day."""
    later = _FULL if runs_between(len(policy.accounts)) > 1 else ""
    return {
        (edit.rule.group, edit.rule.id): decision.denial.detail + (later if decision.by_absence else "")
        for decision in plan.decisions
        for edit in decision.edits
        if edit.rule and edit.kind == "remove"
    }


def sweep_of(reason: str) -> str:
    """Which sweep removes what is closing for this reason."""
    return "next full sweep" if reason.endswith(_FULL) else "next sweep"


def standing(
    snapshot: Snapshot,
    policy: Policy,
    region: str,
    now: float,
    rules: Iterable[OwnedRule] | None = None,
    going: Going | None = None,
) -> list[Standing]:
    """The links whose rules were read, sorted. Rules between the same parties with the same claims are one link, and so
    are the two rules of a mutual one; those that are `going` are one by themselves. `rules` are those of other
    deployments, in place of ours."""
    going = going or {}
    by_link: dict[_Key, list[tuple[Rule, Marker]]] = {}
    # Accounts are read side by side: without an order, which rule of a mutual link comes first would be chance.
    owned = owned_rules(snapshot, policy, region) if rules is None else rules
    ordered = sorted(owned, key=lambda pair: (pair[0].is_egress, pair[0].group, pair[0].id))
    for rule, marker in ordered:
        link = link_of_rule(rule, marker)
        claims = () if link.mutual else tuple(sorted(marker.claims))
        goes = (rule.group, rule.id) in going
        key = (*link.pair, claims, link.mutual, marker.deployment, goes)
        sharing = _sharing(snapshot, by_link, link, marker) if link.is_egress and not link.target.is_group else []
        for sharing_key in sharing or [key]:
            by_link.setdefault(sharing_key, []).append((rule, marker))
    if not by_link:
        return []
    wishes = Wishes(snapshot, policy, now)
    return [
        _standing_link(snapshot, policy, now, key, rules_of_link, wishes, going)
        for key, rules_of_link in sorted(by_link.items(), key=lambda i: i[0])
    ]


def _sharing(snapshot: Snapshot, keys: Iterable[_Key], link: Link, marker: Marker) -> list[_Key]:
    """The links between instances that have an egress rule of a group."""
    return [
        key
        for key in keys
        if key[1] == link.target and not key[0].is_group and {*key[2]} & {*marker.claims}
        if link.source in snapshot.groups_with(key[0]) or key[0] not in snapshot.instances
    ]


def admitted(scene: Scene, link: Standing) -> int | None:
    """How many instances the link's rules admit as sources; None where they were not read."""
    if members := link.members:
        return len(members)
    sources = [link.source, link.target] if link.mutual else [link.source]
    if not all(scene.complete(party) for party in sources):
        return None
    return sum(len(scene.members(party)) for party in sources)


class Wishes:
    """Which instances ask for which links by tag."""

    def __init__(self, snapshot: Snapshot, policy: Policy, now: float) -> None:
        wishes = [
            (
                (desired.link.source, desired.link.target),
                (desired.link, instance),
                wish_denial(snapshot, policy, desired),
            )
            for instance in snapshot.instances.values()
            for desired in links_from_tags(snapshot, instance, now, policy)
        ]
        self._wishes = grouped((pair, wish) for pair, wish, denial in wishes if denial is None)
        self._ended = grouped((pair, wish) for pair, wish, denial in wishes if denial and denial.ended)

    def for_link(self, source: Party, target: Party, ports: Sequence[Port], *, ended: bool = False) -> list[Instance]:
        """The instances whose tags ask for a link, or for a part of it; of wishes that have `ended`, those that asked
        until then."""
        wishes = self._ended if ended else self._wishes
        askers = [asker for link, asker in wishes.get((source, target), []) if set(link.ports or (ALL,)) & set(ports)]
        if ALL in ports:
            askers += [asker for link, asker in wishes.get((target, source), []) if link.mutual]
        return list({instance.party: instance for instance in askers}.values())


def _standing_link(
    snapshot: Snapshot,
    policy: Policy,
    now: float,
    key: _Key,
    owned: Sequence[tuple[Rule, Marker]],
    wishes: Wishes,
    going: Going,
) -> Standing:
    source, target, own_claims, mutual, _, _ = key
    rules = tuple(rule for rule, _ in owned)
    ports = tuple(sorted({rule.key.port for rule in rules if rule.key}, key=str))
    claims = own_claims or tuple(sorted({claim for _, marker in owned for claim in marker.claims}))
    askers = wishes.for_link(source, target, ports) if any(claim.is_tag for claim in claims) else []
    created = [parse_instant(rule.created) for rule in rules if rule.created]
    entries: dict[str, None] = {}
    untils: list[int | None] = []
    for rule, marker in owned:
        consents = covering_entries(snapshot, policy, rule, marker)
        entries |= dict.fromkeys(current_entries(consents, now))
        untils += [_claims_end(policy, rule, marker, wishes), consent_end(consents, now)]
    lacking = {source, target} - {rule_target(rule, marker) for rule, marker in owned} if mutual else set()
    lacking = {party for party in lacking if _rules_read(snapshot, party)}
    lacking = lacking or _lacking_end(snapshot, policy, Link(source, target, ports), rules)
    return Standing(
        source,
        target,
        ports,
        claims,
        rules,
        next(iter(lacking), None),
        min(created, default=None),
        min((until for until in untils if until is not None), default=None),
        tuple(sorted(instance.party for instance in askers)),
        tuple(entries),
        going.get((rules[0].group, rules[0].id), ""),
    )


def _lacking_end(snapshot: Snapshot, policy: Policy, link: Link, rules: Sequence[Rule]) -> set[Party]:
    """The end of a link from an advanced group that has no rule, so that nothing passes."""
    is_egress = {rule.is_egress for rule in rules}
    if is_egress == {True} and _rules_read(snapshot, link.target):
        by_people = (is_admitted_by_people(snapshot, policy, *link.pair, port) for port in link.ports)
        return set() if all(by_people) else {link.target}
    lacks_egress = is_egress == {False} and link.target.is_group and missing_outlets(snapshot, policy, link)
    return {link.source} if lacks_egress else set()


def rule_target(rule: Rule, marker: Marker) -> Party:
    """The party that a rule of ours opens."""
    return marker.ends[1] if marker.ends and not marker.ends[1].is_group else rule.group


def _rules_read(snapshot: Snapshot, party: Party) -> bool:
    """Whether the rules of a party's groups were read, of an instance all of them."""
    groups = snapshot.groups_with(party)
    return bool(groups) and all(rules_of(snapshot, group_party) is not None for group_party in groups)


def _claims_end(policy: Policy, rule: Rule, marker: Marker, wishes: Wishes) -> int | None:
    """When the last claim of a rule ends, or has ended."""
    assert rule.key is not None  # noqa: S101  # a rule of a link
    link = link_of(rule.key, marker)
    askers, former_askers = (
        [
            asker
            for asker in wishes.for_link(link.source, link.target, (rule.key.port,), ended=ended)
            if not link.member or link.is_egress or asker.party == link.asker
        ]
        for ended in (False, True)
    )
    return claims_end(policy, marker.claims, askers or former_askers)


def state_of(scene: Scene, link: Standing) -> tuple[str, str]:
    """The word, the first that holds, and what closes the link, which half is missing, or what decides about packets.
    Of packets, it is known as far as the rules of all groups of its instances were read."""
    if link.closing:
        return "closing", link.closing
    if link.half is not None:
        return "half-open", f"{link.half} has no rule"
    reach = link_reach(scene, link)
    return reach.word, reach.detail


def link_reach(scene: Scene, link: Standing) -> Reach:
    """What becomes of a link's packets: of one by address, those of every instance of the group where a request asks
    for it."""
    if not link.mutual:
        return reach(scene, link.source, link.target, link.ports, () if link.requests else link.members)
    return both_ways(reach(scene, link.source, link.target, (ALL,)), reach(scene, link.target, link.source, (ALL,)))
