"""What is said of the use of rules, against a judge that saw every packet, in random estates.

They have rules with priorities and drops, groups of both kinds and isolated ones, instances that moved, were released,
or took over an address, senders that no log names, days without lines, answers, and refused packets; groups that refuse
others, and a policy that denies a port and never lets one group reach another.
"""

from __future__ import annotations

import ipaddress
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec
import pytest
from aliyun_local.api import Capture, Flow, Ports, analysis, conversation, flow_logs, index
from link_peer.domain.model import ALL, Group, Instance, Party, Port, Rule, Traffic
from link_peer.domain.policy import Never, Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_who
from link_peer_cli.inventory.flow_log import DAY, flows_of, statement
from link_peer_cli.inventory.interfaces import Interface
from link_peer_cli.inventory.period import Period
from link_peer_cli.usage.rules import Rules, RuleUse

from tests.sample import sample
from tests.unit.snapshots import HOME, PEER, REGION, policy

SINCE, DAYS = 1_795_564_800, 6
UNTIL = SINCE + DAYS * DAY
WINDOW = 3 * 3600
"""Longer than a real one, for fewer lines: all logs have the same windows."""
PORTS = (22, 80, 443, 3306)
DENIED = 22
"""The port that policies deny."""


class Machine(msgspec.Struct, frozen=True):
    """An interface: which address it had, between which instants; the groups that it is in now, or None if it was
    released. Machines outside ECS have no line in any log."""

    interface: Interface
    since: int
    until: int
    is_outside: bool = False

    @property
    def address(self) -> str:
        return self.interface.addresses[0]


class Packet(msgspec.Struct, frozen=True):
    """One that was let in."""

    at: int
    source: Machine
    target: Machine
    port: Port
    is_answered: bool


class Estate:
    """A random estate, what happened there, and what its flow logs have."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.is_whole = seed % 2 == 0  # every packet has its lines, and every sender is named
        self.groups = {
            Party(account, f"sg-{account[-1]}{number}"): chance.choice(["open", "open", "isolated", "advanced"])
            for account in (HOME, PEER)
            for number in range(3)
        }
        self.machines = list(self._machines())
        self.rules = {group: tuple(self._rules(group)) for group in self.groups}
        self.refusals = [
            (*chance.sample(sorted(self.groups), 2), chance.choice(PORTS)) for _ in range(chance.randint(0, 2))
        ]
        self.barred = [tuple(chance.sample(sorted(self.groups), 2)) for _ in range(chance.randint(0, 2))]
        self.denies = chance.random() < 0.5
        self.has_flags = chance.random() < 0.5
        self.packets: list[Packet] = []
        self.flows: list[Flow] = []
        for _ in range(chance.randint(5, 40)):
            self._send()
        self.hole = None if self.is_whole else chance.choice([None, *self.current()])

    def current(self) -> list[Machine]:
        """Those that are there now."""
        return [machine for machine in self.machines if machine.until == UNTIL and not machine.is_outside]

    def _machines(self) -> Iterator[Machine]:
        chance = self.chance
        for number in range(chance.randint(4, 9)):
            account = chance.choice([HOME, PEER])
            own_groups = [group for group in self.groups if group.account == account]
            kinds = [group for group in own_groups if (self.groups[group] == "advanced") == (number % 4 == 0)]
            joined = frozenset(
                chance.sample(kinds or own_groups, 1) + chance.sample(kinds, min(len(kinds), number % 2))
            )
            interface = Interface(
                account, f"eni-{number}", joined, Party(account, f"i-{number}"), True, True, (), (f"10.0.{number % 3}.{number}",), "vpc"
            )  # fmt: skip
            until = SINCE + chance.randrange(1, DAYS) * DAY if chance.random() < 0.2 else UNTIL
            yield Machine(interface, SINCE, until)
            if until < UNTIL and chance.random() < 0.7:  # another one takes over the address
                heir = msgspec.structs.replace(interface, id=f"eni-{number}b", instance=Party(account, f"i-{number}b"))
                yield Machine(heir, until, UNTIL)
        if not self.is_whole:
            outside = Interface("", "", frozenset(), None, True, True, (), ("10.0.9.9",), "vpc")
            yield Machine(outside, SINCE, UNTIL, is_outside=True)

    def _rules(self, group: Party) -> Iterator[Rule]:
        chance = self.chance
        for number in range(chance.randint(0, 4)):
            peers = ["10.0.0.0/8", "10.0.0.0/16", "10.0.1.0/24", f"10.0.{number}.{number}/32", *map(str, self.groups)]
            low = chance.choice(PORTS)
            ports = [ALL, Port("tcp", 1, 65_535), Port("tcp", low, low), Port("tcp", low, low + 400)]
            policy = "drop" if chance.random() < 0.2 else "accept"
            traffic = Traffic("ingress", chance.choice(peers), "", chance.choice(ports))
            name = f"sgr-{group.id[3:]}{number}"
            yield Rule(group, name, None, policy, chance.randint(1, 3), unmanaged_traffic=traffic)

    def _send(self) -> None:
        chance = self.chance
        at = SINCE + chance.randrange(DAYS * DAY)
        present = [machine for machine in self.machines if machine.since <= at < machine.until]
        source, target = chance.choice(present), chance.choice([each for each in present if not each.is_outside])
        if source is target:
            return
        port, is_accepted, is_answered = chance.choice(PORTS), chance.random() < 0.85, chance.random() < 0.8
        ends = [source.address if source.is_outside else row(source), row(target)]
        self.flows += conversation(at, *ends, Ports(port), accepted=is_accepted, answered=is_answered)
        if is_accepted:
            self.packets.append(Packet(at, source, target, Port("tcp", port, port), is_answered))

    def period(self) -> Period:
        """What is read of it."""
        day = SINCE + self.chance.randrange(DAYS) * DAY
        holes = ((self.hole.interface.id, day, day + DAY),) if self.hole else ()
        capture = Capture(WINDOW, gaps=holes, optional=("tcp-flags",) if self.has_flags else ())
        if self.hole:
            self.flows = [
                flow
                for flow in self.flows
                if flow.interface != self.hole.interface.id or not day <= flow.time < day + DAY
            ]
        logs = {}
        for account in (HOME, PEER):
            lines = [
                line
                for machine in self.machines
                if machine.interface.account == account
                for line in flow_logs.lines([row(machine)], self.flows, (machine.since, machine.until), capture=capture)
            ]
            rows = [{"__time__": str(line.time), **line.contents} for line in lines]
            _, sql = analysis.split(statement(SINCE, UNTIL, capture.optional))
            logs[account] = flows_of(
                analysis.select(sql, {"log": (index.parse(capture.index()), rows)}, (SINCE, UNTIL))
            )
        interfaces: dict[str, list[Interface] | str] = {
            account: [machine.interface for machine in self.current() if machine.interface.account == account]
            for account in (HOME, PEER)
        }
        return Period(SINCE, UNTIL, logs, interfaces)

    def snapshot(self) -> Snapshot:
        """The groups, the instances and the rules of now."""
        tags: dict[Party, dict[str, str]] = {group: {} for group in self.groups}
        for number, (group, peer, port) in enumerate(self.refusals):
            tags[group][f"link-refuse.{number}"] = f"{peer}:tcp/{port}"
        instances = {
            party: Instance(party, "vpc", tuple(sorted(group.id for group in interface.groups)), interface.addresses[0])
            for interface in (machine.interface for machine in self.current())
            if (party := interface.instance)
        }
        return Snapshot(
            groups={
                group: Group(group, "vpc", tags=tags[group], advanced=kind == "advanced")
                for group, kind in self.groups.items()
            },
            instances=instances,
            rules=self.rules,
            inner_access={group: kind == "open" for group, kind in self.groups.items()},
            requested={*self.groups, *instances},
            whole_accounts={HOME, PEER},
            live_accounts={HOME, PEER},
        )

    def policy(self) -> Policy:
        """The policy of the estate."""
        never = [
            Never(parse_who(str(source), HOME), parse_who(str(target), HOME), (), "never")
            for source, target in self.barred
        ]
        return policy(deny=(Port("tcp", DENIED, DENIED),) if self.denies else (), never=tuple(never))

    # the judge

    def sender_groups(self, packet: Packet) -> frozenset[Party]:
        """The groups of who sent a packet, as they are now; none if it is gone."""
        return packet.source.interface.groups if packet.source in self.current() else frozenset()

    def is_inside(self, packet: Packet) -> bool:
        """Whether both ends are in a group whose members reach each other."""
        common = self.sender_groups(packet) & packet.target.interface.groups
        return any(self.groups[group] == "open" for group in common)

    def passes(self, packet: Packet, removed: Sequence[Rule] = ()) -> bool:
        """Whether a packet would pass now, without these rules."""
        matching = [rule for rule in self.matching(packet) if rule not in removed]
        first = min(matching, key=lambda rule: (rule.priority, rule.policy != "drop"), default=None)
        return self.is_inside(packet) or (first is not None and first.policy == "accept")

    def admits(self, rule: Rule, packet: Packet) -> bool:
        """Whether a rule alone would let a packet pass."""
        drops = [other_rule for other_rule in self.matching(packet) if other_rule.policy == "drop"]
        is_own = rule.group in self.sender_groups(packet) and self.groups[rule.group] == "open"
        is_dropped = any(drop.priority <= rule.priority for drop in drops)
        return rule in self.matching(packet) and rule.policy == "accept" and not is_dropped and not is_own

    def matching(self, packet: Packet) -> list[Rule]:
        """The rules of its target that name who sent it, and its port."""
        peers = {str(group) for group in self.sender_groups(packet)}
        address = ipaddress.ip_address(packet.source.address)
        return [
            rule
            for group in sorted(packet.target.interface.groups)
            for rule in self.rules[group]
            if (traffic := rule.unmanaged_traffic) and traffic.port
            if (
                traffic.peer in peers
                if "@" in traffic.peer
                else address in ipaddress.ip_network(traffic.peer, strict=False)
            )
            if traffic.port == ALL or traffic.port.low <= packet.port.low <= traffic.port.high
        ]


def row(machine: Machine) -> dict[str, str]:
    """The interface as DescribeNetworkInterfaces shows it."""
    interface = machine.interface
    assert interface.instance is not None
    return {
        "NetworkInterfaceId": interface.id,
        "InstanceId": interface.instance.id,
        "VpcId": interface.vpc,
        "OwnerId": interface.account,
        "PrivateIpAddress": machine.address,
    }


@lru_cache(maxsize=1)
def judged(seed: int) -> tuple[Estate, list[RuleUse], dict[Rule, list[object]]]:
    """An estate, what is said of its wide rules, and what their removal would cut off."""
    estate = Estate(seed)
    rules = Rules(estate.snapshot(), estate.policy(), REGION, estate.period())
    uses = [rules.use(rule) for rule in rules.wide(estate.groups)]
    return estate, uses, dict(rules.removable(uses))


WORDS: Counter[str] = Counter()


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", sample(range(300), 6))
def test_what_is_said_of_rules_is_what_a_judge_says_that_saw_every_packet(seed: int) -> None:
    """No rule that admits a packet is unused; where nothing is missing, use and what only a rule admits are equal. Once
    the rules are removed of which nothing is unknown and nothing would be cut off, every packet that would pass now
    still passes."""
    estate, uses, cut = judged(seed)
    received = [packet for packet in estate.packets if packet.target in estate.current()]
    for use in uses:
        admitted = [packet for packet in received if estate.admits(use.rule, packet)]
        assert not (admitted and use.word == "unused"), use.rule
        if estate.is_whole:
            assert use.word == ("used" if admitted else "unknown" if use.unknown else "unused"), (use.rule, use.unknown)
            alone = {
                (packet.source.address, packet.target.interface.id, packet.port)
                for packet in admitted
                if not estate.passes(packet, [use.rule])
            }
            assert {(part.flow.address, part.flow.target.id, part.packet) for part in use.only} == alone, use.rule
    removed = [use.rule for use in uses if not cut[use.rule] and not use.unknown]
    assert [packet for packet in received if estate.passes(packet) and not estate.passes(packet, removed)] == []
