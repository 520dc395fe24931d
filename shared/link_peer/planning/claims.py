"""What the tags of instances, and requests, ask for: each is a desired link with the claim that stands behind it. Pure.

Which of an instance's groups stands for it in a link, consent chooses:

    its groups that qualify, in the API's order ─▶ the link of each ─▶ the first that is granted

| the links                                       | what stands for the instance                                                  |
|-------------------------------------------------|-------------------------------------------------------------------------------|
| one is granted                                  | the first such; the record says why those before it are passed over           |
| one cannot be judged, none before it is granted | that one; a rule that stands for those after it is kept                       |
| all are denied, one for what no owner resolves  | the first such, whose own denial says why: its address, for example           |
| all others are denied, one for lack of consent  | none: one denial names them all, and advises the group with fewest instances  |
| all are locked                                  | the first, whose own denial says why                                          |

Nothing is remembered, so that the choice follows from tags and the policy alone. Where another group is to stand for
the instance, what was written for the former is no longer asked for.
"""  # noqa: W505

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Sequence, Set

import msgspec

from link_peer.domain import denials
from link_peer.domain import marker as markers
from link_peer.domain.denials import Denial
from link_peer.domain.errors import BadInput
from link_peer.domain.model import TAG, Claim, Group, Instance, Link, Party, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import Peer, iso, link_until, peers
from link_peer.planning.actual import link_of_rule, moved_end, owned_links
from link_peer.planning.authority import DAY
from link_peer.planning.decision import DesiredLink, Verdict
from link_peer.planning.verdict.single_link import no_group_accepted, permitted
from link_peer.planning.writing import (
    by_reference,
    is_by_address,
    is_otherwise,
    is_ours,
    missing_outlets,
    outlets,
    part,
)

FOLLOWING = 2_000
"""Instances that are looked at for the rules of one group, so that forged rules there cost other accounts little."""

Judge = Callable[[Link], Verdict]
"""Whether a link may exist, and why not."""


class Choice(msgspec.Struct, frozen=True):
    """The link that stands for an instance."""

    link: Link
    passed: tuple[Verdict, ...] = ()  # verdicts on the links before it
    denied: tuple[Verdict, ...] = ()  # verdicts on all, where none is granted and some lack consent
    possible_links: tuple[Link, ...] = ()  # links that may turn out to be the right one: they open nothing


def links_from_tags(snapshot: Snapshot, instance: Instance, now: float, policy: Policy) -> list[DesiredLink]:
    """The links that an instance's tags ask for, in the order of tag keys and positions. Links beyond
    `limits.max_peers` of the policy are denied; peers for which rules stand count first."""
    keys, max_peers = policy.keys, policy.limits.max_peers
    until = link_until(instance.tags, keys)
    ended: Denial | None = None
    if isinstance(until, BadInput):
        ended = denials.bad_until(until, instance.party, keys.until)
    elif until is not None and until <= now:
        ended = denials.tag_expired(instance.party, keys.until)
    elif (days := policy.limits.max_days_tags) and (until is None or until > now + days * DAY):
        ended = denials.tag_end_not_allowed(instance.party, keys.until, days, iso(now + days * DAY))
    desired_links = []
    named_peers = _named_peers(snapshot, policy, instance)
    beyond = _beyond(snapshot, policy, instance, [peer for _, peer in named_peers])
    for number, (tag, peer) in enumerate(named_peers):
        if isinstance(peer, BadInput):
            desired_links.append(_unreadable(snapshot, instance, tag, peer))
            continue
        chosen, *passed_over = _desired(snapshot, policy, instance, tag, peer, now)
        if number in beyond and not chosen.same_group:
            chosen = msgspec.structs.replace(chosen, denial=denials.too_many_peers(max_peers), has_pair=False)
        if ended and not chosen.same_group:
            chosen = msgspec.structs.replace(chosen, denial=ended)
        desired_links += [chosen, *(passed_over if chosen.denial is None else ())]
    return desired_links


def _named_peers(snapshot: Snapshot, policy: Policy, instance: Instance) -> list[tuple[str, Peer | BadInput]]:
    """The peers in an instance's tags, which an earlier snapshot may remember for the same instance."""
    memory, question = snapshot.lasting_memory(policy), ("peers", instance.party)
    if question not in memory or memory[question][0] is not instance:
        memory[question] = instance, peers(instance.tags, instance.party.account, policy.keys)
    named_peers: list[tuple[str, Peer | BadInput]] = memory[question][1]
    return named_peers


def _beyond(snapshot: Snapshot, policy: Policy, instance: Instance, named_peers: Sequence[Peer | BadInput]) -> set[int]:
    """The numbers of the peers beyond the limit, in the order of the tags; peers for which rules stand count first."""
    numbers, limit = range(len(named_peers)), policy.limits.max_peers
    if len(numbers) <= limit:
        return set()
    return {
        *sorted(numbers, key=lambda number: not _is_linked(snapshot, policy, instance, named_peers[number]))[limit:]
    }


def _is_linked(snapshot: Snapshot, policy: Policy, instance: Instance, peer: Peer | BadInput) -> bool:
    """Whether a rule stands by which a tag of the instance, or of another one of its groups, opened a peer."""
    if isinstance(peer, BadInput):
        return False
    rules = (rule for group in snapshot.groups_with(peer.party) for rule in snapshot.rules.get(group, ()) if rule.key)
    marked_rules = ((rule, markers.parse(rule.description)) for rule in rules if is_ours(rule, policy))
    links = (link_of_rule(rule, marker) for rule, marker in marked_rules if marker and TAG in marker.claims)
    return any(
        link.target == peer.party and link.asker in (instance.party, link.source)
        for link in links
        if link.source in (instance.party, *instance.own_groups)
    )


def wanted_by_all(
    snapshot: Snapshot, policy: Policy, region: str, now: float, claimed: Iterable[tuple[Link, Claim]] = ()
) -> list[DesiredLink]:
    """What the tags of all instances that were read ask for, and the instances that join what requests asked for.
    `claimed` is as in `followed`."""
    memory, question = snapshot.memory(policy), ("tags", now)
    if question not in memory:
        tagged = (instance for instance in snapshot.instances.values() if instance.tags)
        memory[question] = [desired for i in tagged for desired in links_from_tags(snapshot, i, now, policy)]
    return [*memory[question], *followed(snapshot, policy, region, claimed)]


def choice_note(snapshot: Snapshot, desired: DesiredLink) -> str:
    """Which group stands for the instance that asks, and why, where that is not simply its first; or that none does."""
    if desired.denied:
        return no_group_accepted(snapshot, desired).detail
    details = [candidate.denial.detail for candidate in desired.passed if candidate.denial]
    return f"{desired.link.source} stands for {desired.instance}, since {'; '.join(details)}" if details else ""


def followed(
    snapshot: Snapshot,
    policy: Policy,
    region: str,
    claimed: Iterable[tuple[Link, Claim]] = (),
) -> list[DesiredLink]:
    """What requests for links by address asked for, as the claims on their rules show. Such a link follows its groups:
    where a rule of one end stands, or stood until this delivery removed its claim (`claimed`), that end is opened for
    every instance that was read of the group, up to FOLLOWING in one group. A link of which only half stands asks for
    nothing."""
    links = [
        (link, marker)
        for link, _, marker in owned_links(snapshot, policy, region)
        if link.member and link.target.is_group and not is_otherwise(snapshot, link)
    ]
    requested = {pair for pair in claimed if not (pair[1].is_tag or is_otherwise(snapshot, pair[0]))}
    requested |= {(link.side, claim) for link, marker in links for claim in marker.claims if not claim.is_tag}
    carried = {(link.whole, claim) for link, marker in links if not link.is_egress for claim in marker.claims}
    carried |= {(side.whole, claim) for side, claim in requested if not side.is_egress}

    def is_half(side: Link, claim: Claim) -> bool:
        if side.is_egress:
            return side.target in snapshot.rules and (side.whole, claim) not in carried
        return bool(missing_outlets(snapshot, policy, side))

    sides = [pair for pair in requested if not is_half(*pair)]
    joins: dict[tuple[Link, Claim], None] = {}
    for _group, pairs in itertools.groupby(
        sorted(sides, key=lambda pair: (pair[0].holder, *pair)),
        key=lambda pair: pair[0].holder,
    ):
        every = ((follower, claim) for side, claim in pairs for follower in _followers(snapshot, policy, side))
        joins |= dict.fromkeys(itertools.islice(every, FOLLOWING))
    return [*(DesiredLink(link, claim) for link, claim in joins), *moved_links(snapshot, policy, region)]


def moved_links(snapshot: Snapshot, policy: Policy, region: str) -> list[DesiredLink]:
    """What requests for links between instances, or by address, asked for, where their rules have a former address:
    these are written anew with the same claims. Of a mutual link, only if both halves have the claim, since anyone may
    write a marker."""
    moved: dict[tuple[Link, Claim], None] = {}
    for link, rule, marker in owned_links(snapshot, policy, region):
        is_outlet_to_instance = link.is_egress and not link.target.is_group  # its ingress rule asks for it
        if rule.key is None or is_outlet_to_instance or (link.member and is_otherwise(snapshot, link)):
            continue
        if moved_end(snapshot, rule.key, link):
            moved |= {(link, claim): None for claim in marker.claims if not claim.is_tag}
    return [
        DesiredLink(link, claim)
        for link, claim in moved
        if not link.mutual or (link.source < link.target and (Link(link.target, link.source), claim) in moved)
    ]


def _followers(snapshot: Snapshot, policy: Policy, side: Link) -> list[Link]:
    """The parts of one end of a link, for all instances that were read of the group that it follows."""
    if not side.is_egress:
        return [part(side, member) for member in snapshot.members.get(side.source, ())]
    senders = [snapshot.instances[member] for member in snapshot.members.get(side.source, ())]
    return outlets(snapshot, policy, side.whole, senders or [None]) if side.source in snapshot.groups else []


def ended_meanwhile(
    snapshot: Snapshot,
    policy: Policy,
    region: str,
    put: Set[tuple[RuleKey, Claim]],
    claimed: Iterable[tuple[Link, Claim]],
) -> frozenset[tuple[RuleKey, Claim]]:
    """Of the claims of requests that a delivery has `put` on rules by address, those for which no other rule of the
    link stands, nor stood until this delivery removed its claim (`claimed`): the instance joined a link that had ended
    meanwhile."""
    stands = set(claimed)
    joined: dict[tuple[RuleKey | None, Claim], Link] = {}  # one end of each link
    for link, rule, marker in owned_links(snapshot, policy, region):
        for claim in marker.claims if link.member and link.target.is_group else ():
            if (rule.key, claim) in put:
                joined[rule.key, claim] = link.side
            else:
                stands.add((link.side, claim))
    ended = {pair for pair, link in joined.items() if (link, pair[1]) not in stands}
    return frozenset(pair for pair in put if pair in ended and not pair[1].is_tag)


def sources_of(snapshot: Snapshot, wishes: Iterable[DesiredLink], pair: Link) -> frozenset[Party]:
    """The groups that a look at a pair is about: its own source, and every group of that group's instances which ask
    for the target, since any of them may stand for them. Of a pair of instances, the one that asks."""
    sources = {pair.source}
    for wish in wishes:
        asker = snapshot.instances.get(wish.instance) if wish.instance else None
        if asker and wish.link.target == pair.target:
            sources |= {*asker.own_groups} if pair.source in asker.own_groups else set()
    return frozenset(sources)


def candidates(snapshot: Snapshot, instance: Instance, peer: Group | None) -> list[Party]:
    """The groups that may stand for an instance as a group source, in the API's order, except groups that a product
    manages. Where a rule can name some of them, only those; else the link is written by address."""
    able = [g for g in snapshot.groups_of(instance) if g.vpc and not g.managed]
    nearest = [group for group in able if peer is None or by_reference(group, peer)]
    return [group.party for group in nearest or able]


def _unreadable(snapshot: Snapshot, instance: Instance, tag: str, problem: BadInput) -> DesiredLink:
    source = next(iter(candidates(snapshot, instance, None)), instance.party)
    link = Link(source, Party(instance.party.account, ""))
    written = tag.partition("=")[2]
    return DesiredLink(link, TAG, instance.party, tag, denials.bad_tag(problem, written, instance.ip), raw=written)


def _with_outlets(snapshot: Snapshot, policy: Policy, desired: DesiredLink, instance: Instance) -> list[DesiredLink]:
    """What an instance asks for; of a link by address also those parts of it by which its group lets it out."""
    link = desired.link
    let_out = outlets(snapshot, policy, link.whole, [instance]) if link.member and not link.is_egress else []
    return [desired, *(msgspec.structs.replace(desired, link=outlet) for outlet in let_out)]


def _desired(
    snapshot: Snapshot, policy: Policy, instance: Instance, tag: str, peer: Peer, now: float
) -> list[DesiredLink]:
    """What one peer asks for, first who is to be admitted. Where it cannot be known yet which group stands for the
    instance, what to keep, too."""
    if not peer.party.is_group:
        link = Link(instance.party, peer.party, peer.ports)
        return [DesiredLink(link, TAG, instance.party, tag, same_group=peer.party == instance.party)]
    if peer.party.account == instance.party.account and peer.party.id in instance.groups:
        return [DesiredLink(Link(peer.party, peer.party, peer.ports), TAG, instance.party, tag, same_group=True)]
    if sources := candidates(snapshot, instance, snapshot.groups.get(peer.party)):
        links = [Link(source, peer.party, peer.ports) for source in sources]
        chosen = choose(
            [
                part(candidate, instance.party) if is_by_address(snapshot, candidate) else candidate
                for candidate in links
            ],
            functools.partial(permitted, snapshot, policy, now=now),
        )
        desired = DesiredLink(chosen.link, TAG, instance.party, tag, passed=chosen.passed, denied=chosen.denied)
        standing_link = msgspec.structs.replace(desired, has_pair=False, opens=False, in_scope=False)
        further_links = [
            *_with_outlets(snapshot, policy, desired, instance)[1:],
            *(msgspec.structs.replace(standing_link, link=link) for link in chosen.possible_links),
        ]
        return [desired, *(w for link in further_links for w in _with_outlets(snapshot, policy, link, instance))]
    groups = snapshot.groups_of(instance)
    first = groups[0].party if groups else instance.party
    denial = _no_representative(instance, groups)
    return [DesiredLink(Link(first, peer.party, peer.ports), TAG, instance.party, tag, denial, has_pair=False)]


def _no_representative(instance: Instance, groups: list[Group]) -> Denial:
    ids = ", ".join(instance.groups) or "none"
    if instance.classic or any(not group.vpc for group in groups):
        return denials.classic_instance(instance.party.id)
    if groups:
        return denials.only_managed_groups(ids)
    return denials.own_groups_not_found(instance.party.id, ids)


def claims_end(policy: Policy, claims: Iterable[Claim], askers: Sequence[Instance]) -> int | None:
    """When the last claim ends; None where one need not end. A tag's claim ends with the last instance that asks."""
    untils: list[int | None] = []
    for claim in claims:
        if not claim.is_tag:
            untils.append(claim.until)
            continue
        tags = [link_until(instance.tags, policy.keys) for instance in askers] or [None]
        untils += [None if isinstance(until, BadInput) else until for until in tags]
    return last_end(untils)


def last_end(untils: Collection[int | None]) -> int | None:
    """The last of these ends; None where one need not end, or there is none."""
    ends = [until for until in untils if until is not None]
    return max(ends) if ends and len(ends) == len(untils) else None


# which group stands for an instance


def choose(links: Sequence[Link], judge: Judge) -> Choice:
    """Chooses among the links that an instance's groups would have, in the API's order: at least one."""
    if len(links) == 1:
        return Choice(links[0])
    passed: list[Verdict] = []
    refusals: list[Denial] = []
    for number, link in enumerate(links, start=1):
        verdict = judge(link)
        if verdict.denial is None:
            return Choice(link, tuple(passed))
        if verdict.denial.undecided:
            return Choice(link, tuple(passed), possible_links=tuple(links[number:]))
        passed.append(verdict)
        refusals.append(verdict.denial)
    final = next((link for link, denial in zip(links, refusals, strict=True) if not denial.owners), None)
    lacking = any(denial.lacks_consent for denial in refusals)
    return Choice(final or links[0], denied=tuple(passed) if lacking and final is None else ())
