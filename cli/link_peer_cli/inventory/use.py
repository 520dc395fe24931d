"""Whether a link was used, as the flow logs of its targets' accounts tell. It informs, and closes nothing.

| a link is | if, in the period                                                                                            |
|-----------|--------------------------------------------------------------------------------------------------------------|
| `used`    | an interface of the target let in a packet, on a port of the link, from an address of an interface of the source |
| `unused`  | none did, nothing below is missing, and the link stood all the time                                          |
| `unknown` | otherwise: no flow log, a day without a line of an interface, lines that were skipped, interfaces that were not  |
|           | read or do not exist, IPv6 on both sides, a packet on such a port whose source no interface has              |

Interfaces are those of now: an instance that moved between groups counts where it is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Party, Port, ports_text
from link_peer.domain.tags import iso
from link_peer.views.spans import Span, Spans, common, joined, of_ports
from link_peer.views.standing import Standing

from link_peer_cli.access.environment import Environment
from link_peer_cli.answers.links import LinkAnswer
from link_peer_cli.audit.log import sdk
from link_peer_cli.inventory.flow_log import DAY, Flows, read_flows
from link_peer_cli.inventory.interfaces import Interface, read_interfaces

PERIOD = 30 * DAY
THREADS = 8
MOST_PORTS = 16
"""Ports of a proposal; where more were used, one range has them all."""


class Use(msgspec.Struct, frozen=True):
    """The word, when a packet was last let in (epoch seconds, to ten minutes; None if none was), what decides, and the ports that
    would do where others of the link were not used."""

    word: str
    last: int | None = None
    detail: str = ""
    narrow: str = ""


class Period(msgspec.Struct, frozen=True, dict=True):  # a dict, so that what is found by may be worked out once
    """What was read of a period that begins at `since` (epoch seconds): the flows of accounts, and their interfaces or why these
    are not known."""

    since: int
    days: int
    flows: Mapping[str, Flows]
    interfaces: Mapping[str, list[Interface] | str]

    def of(self, party: Party) -> list[Interface]:
        """The interfaces in use of an instance, or those that are in a group."""
        return self._by_party.get(party, [])

    @functools.cached_property
    def addresses(self) -> set[tuple[str, str]]:
        """The addresses that interfaces of the accounts that were read have, each with its VPC."""
        return {(interface.vpc, address) for interface in self._all() for address in interface.addresses}

    @functools.cached_property
    def _by_party(self) -> dict[Party, list[Interface]]:
        used = [interface for interface in self._all() if interface.in_use]
        return grouped(
            (party, interface) for interface in used for party in (*interface.groups, interface.instance) if party
        )

    def _all(self) -> Iterator[Interface]:
        return (
            interface
            for interfaces in self.interfaces.values()
            if not isinstance(interfaces, str)
            for interface in interfaces
        )


def use_of(link: Standing, period: Period) -> Use:
    """Whether a link was used."""
    ends = [(link.source, link.target)]
    last_used: dict[int, int] = {}  # when each port was used last, by its number
    doubts: list[str] = []
    for source, target in [*ends, (link.target, link.source)] if link.mutual else ends:
        sources = [interface for party in link.members or (source,) for interface in period.of(party)]
        spans = of_ports(() if link.mutual else link.ports)
        doubts += _unread(period, source, target)
        for interface in period.of(target):
            doubts += _gaps(period, interface, sources)
            for port, last, doubt in _packets(period, interface, sources, None if link.mutual else spans):
                doubts += [doubt] * bool(doubt)
                if not doubt:
                    last_used[port] = max(last, last_used.get(port, 0))
    if link.since is None or link.since > period.since:
        doubts.append(f"it has not existed for {period.days} days yet")
    if last_used:
        return Use("used", max(last_used.values()), "", "" if doubts else _narrower(link, last_used))
    if doubts:
        return Use("unknown", None, doubts[0])
    return Use("unused", None, f"no packet was let in for {period.days} days")


def _unread(period: Period, source: Party, target: Party) -> Iterator[str]:
    """Why nothing, or not all, is known of these two."""
    for account in (source.account, target.account):
        interfaces = period.interfaces.get(account, "")
        if isinstance(interfaces, str):
            yield f"the interfaces of {account} were not read{interfaces and ': '}{interfaces}"
    flows = period.flows.get(target.account)
    if flows is None:
        yield f"the policy file has no accounts.{target.account}.flowlog"
    elif flows.problem:
        yield flows.problem
    if not period.of(target):
        yield f"no network interface of {target} is in use"


def _gaps(period: Period, interface: Interface, sources: Sequence[Interface]) -> Iterator[str]:
    """What the flow log does not tell of an interface."""
    flows = period.flows.get(interface.account, Flows())
    if missing := period.days - len(flows.days.get(interface.id, frozenset()) & set(range(period.days))):
        yield f"the flow log has no line of {interface.id} on {missing} of {period.days} days"
    if interface.id in flows.skipped:
        yield f"lines of {interface.id} were skipped"
    if interface.ipv6 and any(source.ipv6 for source in sources):
        yield "both sides have IPv6, which flow logs do not have"


def _packets(
    period: Period, interface: Interface, sources: Sequence[Interface], spans: Spans | None
) -> Iterator[tuple[int, int, str]]:
    """The packets from these sources on these ports (None: any), by port, with when it was last; and for one from an address that
    no interface has, which may have been a source, that."""
    ours = {address for source in sources for address in source.addresses}
    for (address, port), last in period.flows.get(interface.account, Flows()).accepted.get(interface.id, {}).items():
        if spans is not None and not common(((port, port),), spans):
            continue
        if address in ours:
            yield port, last, ""
        elif (interface.vpc, address) not in period.addresses:
            yield port, last, f"{address} sent packets to {interface.id}, and no interface that was read has it now"


def _narrower(link: Standing, last_used: Mapping[int, int]) -> str:
    """The ports that were used, where the link has others; empty if all were, or the link has none."""
    if link.mutual or len(last_used) == sum(high - low + 1 for low, high in of_ports(link.ports)):
        return ""
    used = joined((port, port) for port in last_used)
    if len(used) > MOST_PORTS:
        used = joined(
            (parts[0][0], parts[-1][1]) for span in ((1, 65_535), (100_001, 165_535)) if (parts := common(used, [span]))
        )
    used_ports = ports_text(map(_port, used))
    return "" if used_ports == link.ports_text else used_ports


def _port(span: Span) -> Port:
    low, high = span
    if low >= 200_000:
        return Port("icmp")
    return Port("udp", low - 100_000, high - 100_000) if low > 100_000 else Port("tcp", low, high)


def with_use(
    env: Environment, links: Sequence[Standing], answers: Sequence[LinkAnswer], seconds: int = PERIOD
) -> list[LinkAnswer]:
    """The answers, each with whether its link was used in the last so many seconds, as whole days. As they are if no account of the
    policy has a flow log."""
    if not any(account.flowlog for account in env.policy.accounts.values()):
        return list(answers)
    period = _read(env, links, max(1, seconds // DAY))
    answers_with_use = []
    for link, answer in zip(links, answers, strict=True):
        use = use_of(link, period)
        last = iso(use.last) if use.last is not None else ""
        answers_with_use.append(
            msgspec.structs.replace(answer, use=use.word, last_used=last, use_detail=use.detail, narrow=use.narrow)
        )
    return answers_with_use


def _read(env: Environment, links: Sequence[Standing], days: int) -> Period:
    """One query of each flow log that tells of a target, and the interfaces of the accounts of these links."""
    until = int(env.now)
    since = until - days * DAY
    links_by_account = grouped(
        (target.account, link)
        for link in links
        for target in ((link.source, link.target) if link.mutual else (link.target,))
    )
    logged = [uid for uid in links_by_account if env.policy.accounts.get(uid) and env.policy.accounts[uid].flowlog]
    involved = sorted(
        {end.account for uid in logged for link in links_by_account[uid] for end in (link.source, link.target)}
    )
    accounts = env.accounts("links", env.patient_retry())

    def flows(uid: str) -> Flows:
        spans = joined(span for link in links_by_account[uid] if not link.mutual for span in of_ports(link.ports))
        return read_flows(env, uid, spans, since, until, every_port=any(link.mutual for link in links_by_account[uid]))

    def interfaces(uid: str) -> list[Interface] | str:
        try:
            return read_interfaces(
                env.settings, uid, lambda: accounts.keys(uid), env.clock, env.patient_retry(), accounts.calls
            )
        except LinkPeerError as error:
            return str(error)

    sdk()  # so that no thread imports it: see late_parts
    with ThreadPoolExecutor(THREADS) as pool:
        all_flows, all_interfaces = pool.map(flows, logged), pool.map(interfaces, involved)
        return Period(
            since, days, dict(zip(logged, all_flows, strict=True)), dict(zip(involved, all_interfaces, strict=True))
        )
