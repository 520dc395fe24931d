"""Whether a link was used, judged from lines of a flow log as the local log service answers the query."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from aliyun_local.api import INDEX, Flow, LogRecord, analysis, index, lines
from link_peer.domain.model import ALL, Party, Port
from link_peer.domain.tags import parse_ports
from link_peer.views.spans import joined, of_ports
from link_peer.views.standing import Standing
from link_peer_cli.inventory.flow_log import DAY, Flows, flows_of, statement
from link_peer_cli.inventory.interfaces import Interface
from link_peer_cli.inventory.use import Period, use_of

from tests.unit.snapshots import HOME

SINCE, DAYS, WINDOW = 1_795_564_800, 7, 7_200
GROUPS = [Party(HOME, f"sg-{name}") for name in "abcde"]
PORTS = ("tcp/1", "tcp/1-3", "tcp/3+udp/3", "icmp", "")
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1}


def interface(number: int, *groups: Party, **fields: Any) -> Interface:
    values = {"addresses": (f"10.0.0.{number}",), "vpc": "vpc-1", **fields}
    return Interface(HOME, f"eni-{number}", frozenset(groups), Party(HOME, f"i-{number}"), True, True, **values)


def link(source: Party, target: Party, ports: str, since: float = SINCE - 1) -> Standing:
    return Standing(source, target, parse_ports(ports) if ports else (ALL,), (), (), since=since)


def asked(links: list[Standing], records: list[Any]) -> Flows:
    """What the log service answers of these lines."""
    spans = joined(span for link in links if not link.mutual for span in of_ports(link.ports))
    _, sql = analysis.split(statement(spans, SINCE, every_port=any(link.mutual for link in links)))
    logs = [{"__time__": str(record.time), **record.contents} for record in records]
    return flows_of(analysis.select(sql, {"log": (index.parse(INDEX), logs)}, (SINCE, SINCE + DAYS * DAY)))


def shown(interfaces: list[Interface]) -> list[dict[str, Any]]:
    return [
        {
            "NetworkInterfaceId": interface.id,
            "InstanceId": interface.instance and interface.instance.id,
            "VpcId": interface.vpc,
            "OwnerId": HOME,
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


def test_no_used_link_is_called_unused_and_idle_ones_are_found() -> None:
    """In random weeks, with refused packets, answers of other sources, instances that are gone, days without lines and windows
    that were skipped."""
    idle = idle_found = 0
    for seed in range(200):
        chance = random.Random(seed)
        enis = [interface(n, *chance.sample(GROUPS, chance.randint(1, 2))) for n in range(chance.randint(4, 8))]
        gone_interface = interface(99, *chance.sample(GROUPS, 2))
        links = [link(*chance.sample(GROUPS, 2), chance.choice(PORTS)) for _ in range(6)]
        sources = [*enis, *([gone_interface] if chance.random() < 0.2 else [])]
        flows = []
        for _ in range(chance.randint(0, 12)):
            source, target = chance.choice(sources), chance.choice(enis)
            protocol, at = chance.choice(list(PROTOCOLS.values())), SINCE + chance.randrange(DAYS * DAY)
            noise = {
                "action": chance.choice(["ACCEPT", "ACCEPT", "REJECT"]),
                "direction": chance.choice(["in", "in", "out"]),
            }
            port = 0 if protocol == 1 else chance.randint(1, 4)
            flows.append(Flow(at, target.id, source.addresses[0], target.addresses[0], port, protocol, **noise))
        records = lines(shown(enis), flows, (SINCE, SINCE + DAYS * DAY), WINDOW)
        hurt = chance.choice([*enis, *[None] * 4])
        records = [*damaged(records, hurt, chance)] if hurt else records
        period = Period(SINCE, DAYS, {HOME: asked(links, records)}, {HOME: enis})
        sides = {key: source.groups for source in sources for key in (source.addresses[0], source.id)}
        for standing in links:
            ends = {(standing.source, standing.target)} | (
                {(standing.target, standing.source)} if standing.mutual else set()
            )
            packets = [
                flow
                for flow in flows
                if (flow.action, flow.direction) == ("ACCEPT", "in")
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
    assert idle > 200, idle
    assert idle_found >= 0.95 * idle, (idle_found, idle)


A, B, C = GROUPS[:3]
QUIET = Flows({}, {"eni-2": frozenset(range(DAYS))})


def judged(flows: Flows, ports: str = "tcp/1-3", since: float = SINCE - 1, target: Party = B, **fields: Any) -> Any:
    interfaces = [interface(1, A, ipv6=("fd00::1",)), interface(2, B, **fields), interface(3, C)]
    return use_of(link(A, target, ports, since), Period(SINCE, DAYS, {HOME: flows}, {HOME: interfaces}))


def test_what_is_missing_makes_an_idle_link_unknown() -> None:
    """It says what. A packet that was let in is one whatever is missing, but nothing is proposed then."""
    assert (judged(QUIET).word, judged(QUIET).detail) == ("unused", "no packet was let in for 7 days")
    flows = Flows({"eni-2": {("10.0.0.3", 2): SINCE}}, QUIET.days)  # of another group
    assert judged(flows).word == "unused"
    for use, cause in (
        (judged(Flows(problem="refused")), "refused"),
        (judged(Flows({}, {"eni-2": frozenset({0, 1, 2, 3, 5, 6})})), "no line of eni-2 on 1 of 7 days"),
        (judged(Flows({}, QUIET.days, frozenset({"eni-2"}))), "lines of eni-2 were skipped"),
        (judged(Flows({"eni-2": {("10.0.0.9", 2): SINCE}}, QUIET.days)), "10.0.0.9 sent packets to eni-2"),
        (judged(QUIET, ipv6=("fd00::2",)), "both sides have IPv6"),
        (judged(QUIET, since=SINCE + 1), "has not existed for 7 days"),
        (judged(QUIET, target=GROUPS[4]), "no network interface of sg-e"),
        (use_of(link(A, B, "icmp"), Period(SINCE, DAYS, {}, {HOME: "no access"})), "were not read: no access"),
        (use_of(link(A, B, "icmp"), Period(SINCE, DAYS, {}, {HOME: [interface(2, B)]})), "has no accounts"),
    ):
        assert (use.word, use.last, cause in use.detail) == ("unknown", None, True), use
    times_seen = {("10.0.0.1", 1): SINCE + 5, ("10.0.0.1", 3): SINCE + 9, ("10.0.0.9", 7): SINCE}
    use = judged(Flows({"eni-2": times_seen}, QUIET.days))
    assert (use.word, use.last, use.narrow) == ("used", SINCE + 9, "tcp/1+tcp/3")
    assert judged(Flows({"eni-2": times_seen}, {})).narrow == ""
    assert judged(Flows({"eni-2": {("10.0.0.1", -1): SINCE}}, QUIET.days), "").word == "used"
    many = {("10.0.0.1", base + port): SINCE for port in range(2, 50, 2) for base in (0, 100_000)}
    assert judged(Flows({"eni-2": many}, QUIET.days), "tcp/1-60+udp/1-60").narrow == "tcp/2-48+udp/2-48"
    whole = judged(Flows({"eni-2": {("10.0.0.1", 200_000): SINCE}}, QUIET.days), "icmp+tcp/7")
    assert whole.narrow == "icmp"
