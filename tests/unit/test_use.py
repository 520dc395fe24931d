"""Whether a link was used, judged from lines of a flow log as the local log service answers the query."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from aliyun_local.api import INDEX, Flow, LogRecord, Ports, analysis, conversation, index, lines
from link_peer.domain.model import ALL, Party, Port
from link_peer.domain.tags import parse_ports
from link_peer.views.standing import Standing
from link_peer_cli.inventory.flow_log import DAY, UDP, FlowRow, Flows, flows_of, statement
from link_peer_cli.inventory.interfaces import Interface
from link_peer_cli.inventory.period import Period
from link_peer_cli.inventory.use import use_of
from msgspec.structs import replace

from tests.sample import sample
from tests.unit.snapshots import HOME, key, ours

SINCE, DAYS, WINDOW = 1_795_564_800, 7, 7_200
GROUPS = [Party(HOME, f"sg-{name}") for name in "abcde"]
PORTS = ("tcp/1", "tcp/1-3", "tcp/3+udp/3", "icmp", "")
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1}


def interface(number: int, *groups: Party, **fields: Any) -> Interface:
    values = {"addresses": (f"10.0.0.{number}",), "vpc": "vpc-1", **fields}
    return Interface(HOME, f"eni-{number}", frozenset(groups), Party(HOME, f"i-{number}"), True, True, **values)


def link(source: Party, target: Party, ports: str, since: float = SINCE - 1) -> Standing:
    return Standing(source, target, parse_ports(ports) if ports else (ALL,), (), (), since=since)


def flows_in(records: list[Any]) -> Flows:
    """What the log service answers of these lines."""
    _, sql = analysis.split(statement(SINCE, SINCE + DAYS * DAY, ()))
    logs = [{"__time__": str(record.time), **record.contents} for record in records]
    return flows_of(analysis.select(sql, {"log": (index.parse(INDEX), logs)}, (SINCE, SINCE + DAYS * DAY)))


def rows_of(interfaces: list[Interface]) -> list[dict[str, Any]]:
    return [
        {
            "NetworkInterfaceId": interface.id,
            "InstanceId": interface.instance and interface.instance.id,
            "VpcId": interface.vpc,
            "OwnerId": HOME,
            "PrivateIpAddress": interface.addresses[0],
        }
        for interface in interfaces
    ]


def admits(port: Port, flow: Flow) -> bool:
    """Whether a packet is one on a port."""
    return PROTOCOLS[port.protocol] == flow.protocol and (flow.protocol == 1 or port.low <= flow.port <= port.high)


def damaged(records: list[LogRecord], hurt: Interface, chance: random.Random) -> Iterator[LogRecord]:
    """The lines as they are where those of an interface are lost, or skipped, on one day."""
    day, skip = chance.randrange(DAYS), {"log-status": "SKIPDATA", "action": "-"} if chance.random() < 0.5 else {}
    for record in records:
        if (
            record.contents["eni-id"] != hurt.id
            or (record.time - SINCE) // DAY != day
            or (skip and chance.random() < 0.3)
        ):
            yield record
        elif skip:
            yield LogRecord(record.time, 0, {**record.contents, **skip})


@pytest.mark.exhaustive
def test_no_used_link_is_called_unused_and_idle_ones_are_found() -> None:
    """In random weeks, with refused packets, answers of other sources, instances that are gone, days without lines and
    windows that were skipped."""
    idle = idle_found = 0
    seeds = sample(range(200), 3)
    for seed in seeds:
        chance = random.Random(seed)
        enis = [interface(n, *chance.sample(GROUPS, chance.randint(1, 2))) for n in range(chance.randint(4, 8))]
        gone_interface = interface(99, *chance.sample(GROUPS, 2))
        links = [link(*chance.sample(GROUPS, 2), chance.choice(PORTS)) for _ in range(6)]
        sources = [*enis, *([gone_interface] if chance.random() < 0.2 else [])]
        connections, flows = [], []
        for _ in range(chance.randint(0, 12)):
            source, target = chance.choice(sources), chance.choice(enis)
            protocol, at = chance.choice(list(PROTOCOLS.values())), SINCE + chance.randrange(DAYS * DAY)
            is_accepted = chance.random() < 0.7
            ports = Ports(0 if protocol == 1 else chance.randint(1, 4), protocol)
            sender = source.addresses[0] if source is gone_interface else rows_of([source])[0]
            sent = conversation(at, sender, rows_of([target])[0], ports, accepted=is_accepted)
            # of ICMP, no line says which of two sent first
            heard = [flow for flow in sent if flow.direction == "in" and (flow.interface == target.id or protocol == 1)]
            connections += heard
            flows += sent
        records = lines(rows_of(enis), flows, (SINCE, SINCE + DAYS * DAY), WINDOW)
        hurt = chance.choice([*enis, *[None] * 4])
        records = [*damaged(records, hurt, chance)] if hurt else records
        period = Period(SINCE, SINCE + DAYS * DAY, {HOME: flows_in(records)}, {HOME: enis})
        sides = {key: source.groups for source in sources for key in (source.addresses[0], source.id)}
        for standing in links:
            ends = {(standing.source, standing.target)} | (
                {(standing.target, standing.source)} if standing.mutual else set()
            )
            packets = [
                flow
                for flow in connections
                if flow.action == "ACCEPT"
                and any(a in sides[flow.source] and b in sides[flow.interface] for a, b in ends)
                and (standing.mutual or any(admits(port, flow) for port in standing.ports))
            ]
            use = use_of(standing, period)
            assert not (packets and use.word == "unused"), (seed, standing, use)
            assert use.word != "used" or packets, (seed, standing, use)
            whole = (
                gone_interface not in sources
                and not hurt
                and all(period.of(end) for end in (standing.source, standing.target))
            )
            if whole and not packets:
                idle, idle_found = idle + 1, idle_found + (use.word == "unused")
    assert idle > len(seeds), idle
    assert idle_found >= 0.95 * idle, (idle_found, idle)


A, B, C = GROUPS[:3]
ALL_HOURS = (1 << 24 * DAYS) - 1
QUIET = Flows(days={"eni-2": ALL_HOURS})
NAMES = {("vpc-1", f"10.0.0.{n}"): {(f"i-{n}", f"eni-{n}"): ALL_HOURS} for n in (1, 2, 3)}


def let_in(*packets: tuple[str, int, int], base: Flows = QUIET) -> Flows:
    """A log that has packets to eni-2, each from an address, to a port, at an instant, and who had the addresses in all
    hours."""
    rows = [FlowRow("in", "eni-2", "10.0.0.2", address, port, 1, 1, at, False) for address, port, at in packets]
    return Flows({"in": rows}, NAMES, base.days, base.skipped)


def judged(flows: Flows, ports: str = "tcp/1-3", since: float = SINCE - 1, target: Party = B, **fields: Any) -> Any:
    interfaces = [interface(1, A, ipv6=("fd00::1",)), interface(2, B, **fields), interface(3, C)]
    return use_of(link(A, target, ports, since), period(flows, interfaces))


def period(flows: Flows | None, interfaces: Any) -> Period:
    return Period(SINCE, SINCE + DAYS * DAY, {HOME: flows} if flows else {}, {HOME: interfaces})


def test_what_is_missing_makes_an_idle_link_unknown() -> None:
    """It says what. A packet that was let in is one whatever is missing, but nothing is proposed then."""
    assert (judged(QUIET).word, judged(QUIET).detail) == ("unused", "no packet was let in for 7 days")
    assert judged(let_in(("10.0.0.3", 2, SINCE))).word == "unused"  # of another group
    one_day = ((1 << 24) - 1) << 4 * 24
    for use, cause in (
        (judged(Flows(problem="refused")), "refused"),
        (judged(Flows(days={"eni-2": ALL_HOURS ^ one_day})), "no line of eni-2 on 1 of 7 days"),
        (judged(Flows(days=QUIET.days, skipped={"eni-2": 1})), "lines of eni-2 were skipped"),
        (judged(let_in(("10.0.0.9", 2, SINCE))), "10.0.0.9 sent packets to eni-2: no line"),
        (judged(let_in(("10.0.0.1", 0, SINCE)), "tcp/40000"), "on a port that connections come from"),
        (judged(QUIET, ipv6=("fd00::2",)), "both sides have IPv6"),
        (judged(QUIET, since=SINCE + 1), "has not existed for 7 days"),
        (judged(QUIET, target=GROUPS[4]), "no network interface of sg-e"),
        (use_of(link(A, B, "icmp"), period(None, "no access")), "were not read: no access"),
        (use_of(link(A, B, "icmp"), period(None, [interface(2, B)])), "has no accounts"),
        (use_of(link(A, B, "tcp/2"), period(let_in(("10.0.0.1", 2, SINCE)), [interface(2, B)])), "no such interface"),
    ):
        assert (use.word, use.last, cause in use.detail) == ("unknown", None, True), use
    times = (("10.0.0.1", 1, SINCE + 5), ("10.0.0.1", 3, SINCE + 9), ("10.0.0.9", 7, SINCE))
    use = judged(let_in(*times))
    assert (use.word, use.last, use.narrow) == ("used", SINCE + 9, "tcp/1+tcp/3")
    assert judged(let_in(*times, base=Flows())).narrow == ""
    assert judged(let_in(("10.0.0.1", 0, SINCE)), "").word == "used"
    assert judged(let_in(*times), "tcp/1+tcp/2+tcp/3").narrow == "tcp/1+tcp/3"
    assert judged(let_in(("10.0.0.1", 1, SINCE), ("10.0.0.1", 2, SINCE)), "tcp/1+tcp/2").narrow == ""
    many = [("10.0.0.1", base + port, SINCE) for port in range(1, 49, 2) for base in (0, UDP)]
    assert judged(let_in(*many), "tcp/1-60+udp/1-60").narrow == "tcp/1-47+udp/1-47"
    assert judged(let_in(("10.0.0.1", 200_000, SINCE)), "icmp+tcp/7").narrow == "icmp"


def test_the_holder_of_an_address_is_who_a_line_of_that_hour_names() -> None:
    """Never who has it now: an address changes hands, and nobody knows who sent what in an hour with two holders."""
    interfaces = [interface(1, A, addresses=()), interface(2, B), interface(3, C, addresses=("10.0.0.1",))]
    hours = {"sent by the first": 1 << 3, "by both": 1 << 5, "by the second": 1 << 9, "by nobody": 1 << 20}
    first, second = hours["sent by the first"] | hours["by both"], hours["by both"] | hours["by the second"]
    names = {("vpc-1", "10.0.0.1"): {("i-1", "eni-1"): first, ("i-3", "eni-3"): second}}
    for moment, words in (
        ("sent by the first", ("used", "unused")),
        ("by both", ("unknown", "unknown")),
        ("by the second", ("unused", "used")),
        ("by nobody", ("unknown", "unknown")),
    ):
        row = FlowRow("in", "eni-2", "10.0.0.2", "10.0.0.1", 2, hours[moment], 1, SINCE, False)
        flows = Flows({"in": [row]}, names, QUIET.days)
        uses = [use_of(link(source, B, "tcp/2"), period(flows, interfaces)).word for source in (A, C)]
        assert (*uses,) == words, moment


def test_in_another_vpc_the_senders_own_log_has_to_have_the_packets() -> None:
    """An address of one VPC may be one on premises in another."""
    interfaces = [interface(1, A, vpc="vpc-2"), interface(2, B)]
    names = {("vpc-2", "10.0.0.1"): {("i-1", "eni-1"): ALL_HOURS}}
    row = FlowRow("in", "eni-2", "10.0.0.2", "10.0.0.1", 2, 1 << 4, 1, SINCE, False)
    for sent, word in (
        ((), "unknown"),
        ((FlowRow("out", "eni-1", "10.0.0.1", "10.0.0.2", 2, 1 << 4, 1, SINCE, False),), "used"),
    ):
        flows = Flows({"in": [row], "out": list(sent)}, names, QUIET.days)
        assert use_of(link(A, B, "tcp/2"), period(flows, interfaces)).word == word


@pytest.mark.parametrize(
    ("members", "word"), [((), "used"), ((Party(HOME, "i-1"),), "unused"), ((Party(HOME, "i-3"),), "used")]
)
def test_packets_of_an_instance_that_a_link_by_address_does_not_name_are_no_use_of_it(
    members: tuple[Party, ...], word: str
) -> None:
    """Although it is in the group."""
    interfaces = [interface(1, A), interface(2, B), interface(3, A)]
    rules = tuple(ours(key(B, member), ends=(member, A)) for member in members)
    standing = replace(link(A, B, "tcp/2"), rules=rules)
    assert use_of(standing, period(let_in(("10.0.0.3", 2, SINCE)), interfaces)).word == word


def test_a_first_or_last_day_counts_of_which_two_hours_are_in_the_period() -> None:
    """Each day with its hours; one of which less is there is left out."""
    whole_day = (1 << 24) - 1
    assert Period(SINCE - 2 * 3600, SINCE + DAY + 3600, {}, {}).days == {"2026-11-24": 3, "2026-11-25": whole_day << 2}
    assert Period(SINCE - 3600, SINCE + DAY + 3601, {}, {}).days == {
        "2026-11-25": whole_day << 1,
        "2026-11-26": 3 << 25,
    }
