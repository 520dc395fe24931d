"""The links that would carry what wide rules of people carried, and what no link can carry, with the reason.

flows that only wide rules admit ─▶ known at both ends, answered, on one port ─▶ by group, where all of its running instances were
seen; else by instance ─▶ judged as a request would be, and with its rule in place ─▶ a link, or what is left
"""  # noqa: W505

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec
from link_peer.domain.denials import about
from link_peer.domain.grouped import grouped
from link_peer.domain.model import PRIORITY, Link, Party, Port, Rule
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.consent import entry_for
from link_peer.planning.decision import Context, Verdict
from link_peer.planning.effect import admissions
from link_peer.planning.guardrails import forbidden
from link_peer.planning.writing import is_by_address, part

from link_peer_cli.consent.entries import advised
from link_peer_cli.inventory.period import Flow, Period
from link_peer_cli.inventory.reading import SavedView, View, verdict_if_asked
from link_peer_cli.usage.rules import Carried, Rules, RuleUse

_OPENED = ("tcp", "udp", "icmp")
"""The protocols of links."""
Pair = tuple[Party, Party]


class Consent(msgspec.Struct, frozen=True):
    """An entry that a group needs in its tags, and whether it has it; `is_egress`: for whom it may reach."""

    group: Party
    entry: str
    is_egress: bool = False
    is_there: bool = False


class ProposedLink(msgspec.Struct, frozen=True):
    """A link, what it would carry, and who has to consent. `unseen` are instances that it would admit beside those that
    were seen."""

    link: Link
    carried: tuple[Carried, ...]
    consents: tuple[Consent, ...]
    unseen: tuple[Party, ...] = ()


class Leftover(msgspec.Struct, frozen=True):
    """What no link carries, and why: from a party, or from an address of which nobody knows who had it."""

    source: Party | str
    target: Party
    port: Port
    reason: str
    carried: tuple[Carried, ...]


class Proposal(msgspec.Struct, frozen=True):
    """Links, and what they leave."""

    links: tuple[ProposedLink, ...]
    leftovers: tuple[Leftover, ...]


class Proposer:
    """Proposes links for the flows of a period. `running` are the instances that run; None where that was not read, so
    that all count."""

    def __init__(
        self, view: View | SavedView, context: Context, rules: Rules, running: Collection[Party] | None
    ) -> None:
        self._view = view
        self._context = context
        self._rules = rules
        self._period = rules.period
        self._running = running
        self._verdicts: dict[Link, Verdict] = {}

    def propose(self, uses: Sequence[RuleUse], *, by_group: bool) -> Proposal:
        """The links for what these rules carried and no narrow rule does."""
        needed = [
            part for part in dict.fromkeys(part for use in uses for part in use.carried) if self._needs_link(part)
        ]
        reasons = {part: reason for part in needed if (reason := _left_reason(part))}
        self._read([part for part in needed if part not in reasons])
        snapshot = self._read_view.scene.snapshot
        reasons |= {
            part: reason
            for part in needed
            if part not in reasons and (reason := _forbidden_reason(snapshot, self._context.policy, part))
        }
        provable = [part for part in needed if part not in reasons]
        wide_groups = {use.rule.group for use in uses}
        parts_by_link = _Choice(snapshot, self._period, self._running, wide_groups).links(provable, by_group=by_group)
        judged = [self._judged(link, parts) for link, parts in sorted(parts_by_link.items())]
        leftovers = [
            *_leftovers(reasons),
            *(each for _, reasons_by_part in judged for each in _leftovers(reasons_by_part)),
        ]
        links = [proposed for links, _ in judged for proposed in links]
        return Proposal(tuple(links), tuple(sorted(leftovers, key=_order)))

    def _needs_link(self, part: Carried) -> bool:
        return not part.inner and all(map(self._rules.is_wide, part.rules))

    def _read(self, parts: Sequence[Carried]) -> None:
        """Reads what is asked of both ends."""
        groups = {group for carried in parts for end in carried.flow.ends for group in end.groups}
        instances = {instance for carried in parts for instance in _instances(carried.flow)}
        scene = self._view.scene  # where all was listed, no group is read again: a call each
        self._view.around(instances.union(group for group in groups if not scene.complete(group)))
        # a view copies all that it read at each look: thousands of links are judged
        self._read_view = SavedView(self._view.scene.snapshot)

    def _judged(self, link: Link, parts: Sequence[Carried]) -> tuple[list[ProposedLink], dict[Carried, str]]:
        """The link on the ports on which it can be made, with the reasons why it cannot be on the others."""
        reasons: dict[Carried, str] = {}
        for port in link.ports:
            of_port = [carried for carried in parts if carried.packet == port]
            one_port = Link(link.source, link.target, (port,))
            reasons |= {carried: reason for carried in of_port if (reason := self._reason(one_port, carried))}
        carried_parts = tuple(carried for carried in parts if carried not in reasons)
        ports = tuple(sorted({carried.packet for carried in carried_parts}))
        if not ports:
            return [], reasons
        whole = Link(link.source, link.target, ports)
        verdict = self._verdict(whole, carried_parts[0].flow)
        if verdict.denial and not verdict.denial.lacks_consent:
            return [], reasons | dict.fromkeys(carried_parts, str(verdict.denial))
        consents = tuple(self._consents(whole, verdict))
        seen_parts = [carried for carried in parts if carried.packet in ports]
        return [ProposedLink(whole, carried_parts, consents, self._unseen(whole, seen_parts))], reasons

    def _verdict(self, link: Link, flow: Flow) -> Verdict:
        """Whether a request for a link would be granted; of one by address, its part for the instance that sent a
        flow."""
        sender, _ = _instances(flow)
        judged = part(link, sender) if is_by_address(self._read_view.scene.snapshot, link) else link
        if judged not in self._verdicts:
            verdict = verdict_if_asked(self._read_view, self._context, judged)
            if verdict.open_questions:
                verdict = verdict_if_asked(self._view, self._context, judged)
                self._read_view = SavedView(self._view.scene.snapshot)
            self._verdicts[judged] = verdict
        return self._verdicts[judged]

    def _reason(self, link: Link, carried: Carried) -> str:
        """Why a link on one port does not carry packets; empty if it does."""
        verdict = self._verdict(link, carried.flow)
        if verdict.denial and not verdict.denial.lacks_consent:
            return str(verdict.denial)
        snapshot = self._read_view.scene.snapshot
        added = [Rule(need.key.group, "", need.key, "accept", PRIORITY) for need in verdict.needs]
        peer, holder = carried.flow.ends
        rules = {group: (*snapshot.rules.get(group, ()), *_on(added, group)) for group in holder.groups}
        after = msgspec.structs.replace(snapshot, rules=rules)
        admitting = [rule for step in admissions(after, "ingress", holder, peer, carried.packet) for rule in step.rules]
        if any(rule in admitting for rule in added):
            return ""
        primary = "the packets came from, or went to, an address that is not the instance's primary one"
        drop = f"a drop rule comes before those of link-peer, which have priority {PRIORITY}"
        return drop if self._addresses_fit(link, carried.flow) else primary

    def _addresses_fit(self, link: Link, flow: Flow) -> bool:
        """Whether a rule of the link would name these addresses."""
        snapshot, (sender, receiver) = self._read_view.scene.snapshot, _instances(flow)
        named_ends = (
            [(sender, flow.address)] if link.source.is_group else [(sender, flow.address), (receiver, flow.reached)]
        )
        by_reference = link.source.is_group and not is_by_address(snapshot, link)
        return by_reference or all(
            (instance := snapshot.instances.get(end)) is not None and instance.ip == address
            for end, address in named_ends
        )

    def _consents(self, link: Link, verdict: Verdict) -> Iterator[Consent]:
        """The entries that the link needs, as the denial for lack of them advises; without one, that by which it has
        consent."""
        if verdict.denial:
            advice = about(verdict.denial, "link", link, self._context.region).advice
            yield from (Consent(*entry) for entry in advised(advice, self._context.policy.home))
            return
        group = next((need.key.group for need in verdict.needs if not need.key.is_egress), link.target)
        target = self._read_view.scene.snapshot.groups[group]
        yield Consent(group, entry_for(target, link.source, link.ports), is_there=True)

    def _unseen(self, link: Link, parts: Iterable[Carried]) -> tuple[Party, ...]:
        """The running instances that the link admits although they sent nothing."""
        if not link.source.is_group:
            return ()
        members = _members(self._period, self._running, link.source)
        return tuple(sorted(members - {carried.flow.party for carried in parts}))


class _Choice:
    """Which links carry the packets between instances."""

    def __init__(
        self, snapshot: Snapshot, period: Period, running: Collection[Party] | None, wide_groups: Collection[Party]
    ) -> None:
        self._snapshot = snapshot
        self._period = period
        self._running = running
        self._wide_groups = wide_groups

    def links(self, parts: Sequence[Carried], *, by_group: bool) -> Mapping[Link, Sequence[Carried]]:
        """The packets by the links that carry them. Of two ends, the ports are together."""
        by_ends: dict[Pair, list[Carried]] = defaultdict(list)
        for of_port in grouped((carried.packet, carried) for carried in parts).values():
            senders, receivers = self._by_groups(of_port)
            for carried in of_port:
                groups = (
                    pair
                    for pair in self._group_pairs(carried.flow)
                    if by_group or (self._has_all(pair[0], senders[pair]) and self._has_all(pair[1], receivers[pair]))
                )
                by_ends[next(groups, _instances(carried.flow))].append(carried)
        return {
            Link(*ends, tuple(sorted({carried.packet for carried in end_parts}))): end_parts
            for ends, end_parts in by_ends.items()
        }

    def _by_groups(self, of_port: Sequence[Carried]) -> tuple[dict[Pair, set[Party]], dict[Pair, set[Party]]]:
        """By two groups, who sent packets from the one to the other on a port, and who got them."""
        senders: dict[Pair, set[Party]] = defaultdict(set)
        receivers: dict[Pair, set[Party]] = defaultdict(set)
        for carried in of_port:
            sender, receiver = _instances(carried.flow)
            for pair in self._group_pairs(carried.flow):
                senders[pair].add(sender)
                receivers[pair].add(receiver)
        return senders, receivers

    def _has_all(self, group: Party, instances: Collection[Party]) -> bool:
        """Whether a group has running instances, and every one is among these."""
        members = _members(self._period, self._running, group)
        return bool(members) and members <= {*instances}

    def _group_pairs(self, flow: Flow) -> list[Pair]:
        """The groups of the two ends, those with the fewest instances first."""
        assert flow.source is not None  # noqa: S101  # it is provable
        starts, ends = self._qualifying(flow.source.groups), self._qualifying(flow.target.groups)
        return [(start, end) for start in starts for end in ends]

    def _qualifying(self, groups: Iterable[Party]) -> list[Party]:
        """The groups that a link may name, those with the fewest instances first."""
        unmanaged = [group for group in groups if (read := self._snapshot.groups.get(group)) and not read.managed]
        return sorted(unmanaged, key=lambda group: (len(self._period.of(group)), group not in self._wide_groups, group))


def _instances(flow: Flow) -> Pair:
    """The two ends of a flow of which both are known."""
    assert flow.party is not None  # noqa: S101  # else no link can carry it
    assert flow.target.instance is not None  # noqa: S101  # likewise
    return flow.party, flow.target.instance


def _members(period: Period, running: Collection[Party] | None, group: Party) -> set[Party]:
    """The running instances that have an interface in a group."""
    return {end.instance for end in period.of(group) if end.instance and (running is None or end.instance in running)}


def _left_reason(part: Carried) -> str:
    """Why no link can carry it, whatever the policy says; empty if one may."""
    flow, packet = part.flow, part.packet
    if flow.party is None:
        return f"unknown: {flow.doubt}"
    if flow.source is None:
        return f"{flow.party} has no such interface any more"
    if flow.target.instance is None:
        return f"{flow.target.id} belongs to no ECS instance"
    if packet.protocol not in _OPENED:
        return "a link opens TCP, UDP or ICMP"
    if packet.low != packet.high:
        return "unproven: connections come from such ports, and the log does not say that one went there"
    return "" if flow.answered else "unproven: the log of the account has no answer to it"


def _forbidden_reason(snapshot: Snapshot, policy: Policy, part: Carried) -> str:
    """Why no link may carry it between these instances, whoever consents. A link by group reference is judged by its
    groups alone, so it is asked of the instances, which may be in other groups, too."""
    source, target = map(snapshot.instances.get, _instances(part.flow))
    denial = source and target and forbidden(snapshot, policy, source, target, (part.packet,))
    return str(denial) if denial else ""


def _leftovers(reasons: Mapping[Carried, str]) -> Iterator[Leftover]:
    """What is left, by its ends, its port and the reason."""
    parts: dict[tuple[Party | str, Party, Port, str], list[Carried]] = defaultdict(list)
    for carried, reason in reasons.items():
        flow = carried.flow
        target = flow.target.instance or Party(flow.target.account, flow.target.id)
        parts[flow.party or flow.address, target, carried.packet, reason].append(carried)
    yield from (Leftover(*subject, tuple(of_subject)) for subject, of_subject in parts.items())


def _order(leftover: Leftover) -> tuple[str, Party, Port, str]:
    return str(leftover.source), leftover.target, leftover.port, leftover.reason


def _on(rules: Iterable[Rule], group: Party) -> list[Rule]:
    return [rule for rule in rules if rule.group == group]
