"""The links that are proposed, against a judge that saw every packet, in the random estates of `test_tighten_oracle`.

The judge has the contract alone. A flow needs a link if wide rules alone admit it. A link is by group where all running
instances of both groups were seen on that port, else by instance; of several groups the one with the fewest instances.
What nobody answered, whose sender is not there any more, and what is forbidden is not seen so; what a drop would stop
is, but no link carries it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TypeAlias

import pytest
from link_peer.domain.model import ALL, Party, Port, Rule
from link_peer.planning.decision import Context
from link_peer_cli.inventory.reading import SavedView
from link_peer_cli.usage.proposal import Proposal, Proposer
from link_peer_cli.usage.rules import Rules
from msgspec.structs import replace

from tests.sample import sample
from tests.unit.snapshots import HOME, REGION
from tests.unit.test_tighten_oracle import DENIED, UNTIL, Estate, Machine, Packet

Links: TypeAlias = dict[tuple[Party, Party], tuple[set[Port], set[Party]]]
"""By their ends: the ports, and the instances that each would admit beside those that were seen."""


class Judge:
    """Which links an estate needs."""

    def __init__(self, estate: Estate, *, by_group: bool) -> None:
        self.estate = estate
        self.by_group = by_group
        self.members: dict[Party, set[Party]] = {group: set() for group in estate.groups}
        for machine in estate.current():
            for group in machine.interface.groups:
                self.members[group].add(instance(machine))

    def links(self) -> Links:
        """The smallest set of links."""
        candidates = [packet for packet in self.estate.packets if self.may_be_opened(packet)]
        packets_by_ends: dict[tuple[Party, Party], list[Packet]] = defaultdict(list)
        for packet in candidates:
            alike = [sibling for sibling in candidates if sibling.port == packet.port]
            pairs = [pair for pair in self.pairs(packet) if self.by_group or self.was_seen_whole(pair, alike)]
            packets_by_ends[pairs[0] if pairs else (instance(packet.source), instance(packet.target))].append(packet)
        links: Links = {}
        for ends, packets in packets_by_ends.items():
            ports = {packet.port for packet in packets if not self.is_dropped(packet)}
            senders = {instance(packet.source) for packet in packets if packet.port in ports}
            if ports:
                links[ends] = (ports, self.members.get(ends[0], set()) - senders)
        return links

    def may_be_opened(self, packet: Packet) -> bool:
        """Whether a packet needs a link, and one may be opened for it."""
        return (
            {packet.source, packet.target} <= {*self.estate.current()}
            and self.needs_link(packet)
            and self.was_answered(packet)
            and not self.is_forbidden(packet)
        )

    def needs_link(self, packet: Packet) -> bool:
        """Whether wide rules, and no others, let it pass."""
        admitting = [rule for rules in self.estate.rules.values() for rule in rules if self.estate.admits(rule, packet)]
        return not self.estate.is_inside(packet) and bool(admitting) and all(map(is_wide, admitting))

    def was_answered(self, packet: Packet) -> bool:
        """Whether the target sent something back to that address from that port."""
        return any(
            sibling.is_answered
            for sibling in self.estate.packets
            if (sibling.target, sibling.port, sibling.source.address)
            == (packet.target, packet.port, packet.source.address)
        )

    def is_forbidden(self, packet: Packet) -> bool:
        """Whether the policy, or a group of either end, forbids every link that would carry it."""
        sources, targets = packet.source.interface.groups, packet.target.interface.groups
        refusing = [
            (group, peer) for group, peer, port in self.estate.refusals if Port("tcp", port, port) == packet.port
        ]
        return (
            (self.estate.denies and packet.port.low == DENIED)
            or any(source in sources and target in targets for source, target in self.estate.barred)
            or any((group in sources and peer in targets) or (group in targets and peer in sources) for group, peer in refusing)
        )  # fmt: skip

    def is_dropped(self, packet: Packet) -> bool:
        """Whether a drop comes before the rules of link-peer, as every drop here does."""
        return any(rule.policy == "drop" for rule in self.estate.matching(packet))

    def pairs(self, packet: Packet) -> Iterator[tuple[Party, Party]]:
        """The groups of both ends, those with the fewest instances first; of as many, those that hold wide rules."""
        for source in sorted(packet.source.interface.groups, key=self.order):
            for target in sorted(packet.target.interface.groups, key=self.order):
                yield source, target

    def order(self, group: Party) -> tuple[int, bool, Party]:
        """The place of a group among those of an instance."""
        has_wide_rules = any(rule.policy == "accept" and is_wide(rule) for rule in self.estate.rules[group])
        return len(self.members[group]), not has_wide_rules, group

    def was_seen_whole(self, pair: tuple[Party, Party], packets: list[Packet]) -> bool:
        """Whether every instance of the one group sent such packets to the other, of which every one got some."""
        between = [
            packet
            for packet in packets
            if pair[0] in packet.source.interface.groups and pair[1] in packet.target.interface.groups
        ]
        return self.members[pair[0]] <= {instance(packet.source) for packet in between} and self.members[pair[1]] <= {
            instance(packet.target) for packet in between
        }


def instance(machine: Machine) -> Party:
    """The instance that has an interface."""
    assert machine.interface.instance is not None
    return machine.interface.instance


def is_wide(rule: Rule) -> bool:
    """Whether it admits more than one group, or one address, on one port."""
    traffic = rule.unmanaged_traffic
    assert traffic is not None
    assert traffic.port is not None
    is_single = "@" in traffic.peer or traffic.peer.endswith("/32")
    return not is_single or traffic.port == ALL or traffic.port.low != traffic.port.high


def proposal_of(estate: Estate, *, by_group: bool, knows_running: bool = True, primary: str = "") -> Proposal:
    """What is proposed for an estate; with the primary address that instances of home have now, if it is another
    one."""
    snapshot, policy = estate.snapshot(), estate.policy()
    instances = {
        party: replace(each, ip=primary) if primary and party.account == HOME else each
        for party, each in snapshot.instances.items()
    }
    snapshot = replace(snapshot, instances=instances)
    rules = Rules(snapshot, policy, REGION, estate.period())
    uses = [rules.use(rule) for rule in rules.wide(estate.groups)]
    running = {instance(machine) for machine in estate.current()}
    context = Context(policy, REGION, UNTIL)
    proposer = Proposer(SavedView(snapshot), context, rules, running if knows_running else None)
    return proposer.propose(uses, by_group=by_group)


def proposed(proposal: Proposal) -> Links:
    """Its links."""
    return {(link.link.source, link.link.target): ({*link.link.ports}, {*link.unseen}) for link in proposal.links}


@pytest.mark.exhaustive
@pytest.mark.parametrize("by_group", [False, True])
@pytest.mark.parametrize("seed", sample(range(0, 300, 2), 6))
def test_what_is_proposed_is_the_smallest_set_of_links_that_carries_what_was_seen(seed: int, by_group: bool) -> None:
    """Where nothing is missing: the links, their ports, and who else each would admit."""
    estate = Estate(seed)
    for knows_running in (True, False):  # if not, all count: here, all run
        proposal = proposal_of(estate, by_group=by_group, knows_running=knows_running)
        assert proposed(proposal) == Judge(estate, by_group=by_group).links()


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", sample(range(1, 300, 2), 5))
def test_nothing_is_proposed_that_was_not_seen(seed: int) -> None:
    """Where lines are missing, or no log names a sender: every link by instance stands for packets of these two, which
    were answered; a link by group for one of each instance of both groups. Each flow is in one link, or left."""
    estate = Estate(seed)
    judge = Judge(estate, by_group=False)
    packets = {
        (instance(packet.source), instance(packet.target), packet.port)
        for packet in estate.packets
        if not packet.source.is_outside and judge.may_be_opened(packet)
    }
    proposal = proposal_of(estate, by_group=False)
    for (source, target), (ports, unseen) in proposed(proposal).items():
        assert unseen == set()
        for port in ports:
            pairs = [(start, end) for start, end, packet_port in packets if packet_port == port]
            for start in judge.members.get(source, {source}):
                assert any(start == sender and end in judge.members.get(target, {target}) for sender, end in pairs)
            for end in judge.members.get(target, {target}):
                assert any(
                    end == receiver and start in judge.members.get(source, {source}) for start, receiver in pairs
                )
    counts = Counter(part for subject in (*proposal.links, *proposal.leftovers) for part in subject.carried)
    assert set(counts.values()) <= {1}


def test_packets_to_or_from_another_address_than_the_primary_one_are_in_no_link_by_instance() -> None:
    """Its rules name that address, and no drop is blamed for it."""
    is_tried = False
    for seed in range(0, 12, 2):
        proposal, changed = (proposal_of(Estate(seed), by_group=False, primary=ip) for ip in ("", "10.9.9.9"))
        gone_parts = {
            part
            for link in proposal.links
            if not link.link.source.is_group and HOME in (link.link.source.account, link.link.target.account)
            for part in link.carried
        }
        reason_by_part = {part: leftover.reason for leftover in changed.leftovers for part in leftover.carried}
        assert all("not the instance's primary one" in reason_by_part[part] for part in gone_parts)
        is_tried |= bool(gone_parts)
    assert is_tried


def test_estates_have_links_by_group_and_by_instance_and_what_none_carries() -> None:
    """So the tests above say something."""
    kinds: Counter[str] = Counter()
    for seed in range(0, 60, 2):
        proposal = proposal_of(Estate(seed), by_group=False)
        kinds.update("group" if link.link.source.is_group else "instance" for link in proposal.links)
        kinds.update(leftover.reason.partition(":")[0] for leftover in proposal.leftovers)
    assert {"group", "instance", "unproven"} <= kinds.keys(), kinds
    assert any("drop" in kind for kind in kinds), kinds
