"""Whether a link was used, as the flow logs of its targets' accounts tell. It informs, and closes nothing.

| a link is | if, in the period                                                                                                |
|-----------|------------------------------------------------------------------------------------------------------------------|
| `used`    | an interface of the target let in a packet, on a port of the link, from an instance of the source, which a log   |
|           | named with the address in that hour                                                                              |
| `unused`  | none did, nothing below is missing, and the link stood all the time                                              |
| `unknown` | otherwise: no flow log, a day without a line of an interface, lines that were skipped, interfaces that were not  |
|           | read or do not exist, IPv6 on both sides, a packet on such a port of which no log names the sender               |

Groups are those of now: an instance that moved between them counts where it is.
"""  # noqa: W505

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set

import msgspec
from link_peer.domain.model import Party, Port, ports_text
from link_peer.domain.tags import iso
from link_peer.views.spans import Span, common, joined, of_ports
from link_peer.views.standing import Standing

from link_peer_cli.access.environment import Environment
from link_peer_cli.answers.links import LinkAnswer
from link_peer_cli.inventory.flow_log import DAY
from link_peer_cli.inventory.interfaces import Interface
from link_peer_cli.inventory.period import Flow, Period, read_period

PERIOD = 30 * DAY
MOST_PORTS = 16
"""Ports of a proposal; where more were used, one range has them all."""


class Use(msgspec.Struct, frozen=True):
    """The word, when a packet was last let in (epoch seconds, to ten minutes; None if none was), what decides, and the
    ports that would do where others of the link were not used."""

    word: str
    last: int | None = None
    detail: str = ""
    narrow: str = ""


def use_of(link: Standing, period: Period) -> Use:
    """Whether a link was used."""
    ends = [(link.source, link.target)]
    last_used: dict[int, int] = {}  # when each port was used last, by its number
    doubts: list[str] = []
    for source, target in [*ends, (link.target, link.source)] if link.mutual else ends:
        senders = {*(link.members or (source,))}
        sources = [interface for party in sorted(senders) for interface in period.of(party)]
        doubts += _gaps(period, source, target, sources)
        flows = [flow for interface in period.of(target) for flow in period.flows_to(interface)]
        for flow in flows:
            if link.mutual or any(port.overlaps(flow.port) for port in link.ports):
                doubt = _doubt(flow, senders, sources, mutual=link.mutual)
                if doubt:
                    doubts.append(doubt)
                elif doubt is not None:
                    number = 0 if link.mutual else of_ports((flow.port,))[0][0]
                    last_used[number] = max(flow.last, last_used.get(number, 0))
    if link.since is None or link.since > period.since:
        doubts.append(f"it has not existed for {len(period.days)} days yet")
    if last_used:
        return Use("used", max(last_used.values()), "", "" if doubts else _narrower(link, last_used))
    if doubts:
        return Use("unknown", None, doubts[0])
    return Use("unused", None, f"no packet was let in for {len(period.days)} days")


def _gaps(period: Period, source: Party, target: Party, sources: Sequence[Interface]) -> Iterator[str]:
    """Why a packet from one to the other may have no line."""
    yield from period.unread_interfaces(source.account)
    yield from period.account_doubts(target.account)
    if not period.of(target):
        yield f"no network interface of {target} is in use"
    for interface in period.of(target):
        yield from period.gaps(interface)
        if interface.ipv6 and any(sender.ipv6 for sender in sources):
            yield "both sides have IPv6, which flow logs do not have"


def _doubt(flow: Flow, senders: Set[Party], sources: Sequence[Interface], *, mutual: bool) -> str | None:
    """Why it is not known whether a flow is the link's; empty if it is, None if it is not."""
    is_sender = flow.source in sources or flow.party in senders
    if is_sender and (mutual or flow.port.low == flow.port.high):
        return ""
    if is_sender:
        return f"{flow.address} sent packets to {flow.target.id}, on a port that connections come from"
    if flow.party is None:
        return f"{flow.address} sent packets to {flow.target.id}: {flow.doubt}"
    released = f"{flow.party} sent packets to {flow.target.id}, and has no such interface any more"
    return None if flow.source else released


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
    """The answers, each with whether its link was used in the last so many seconds, as whole days. As they are if no
    account of the policy has a flow log."""
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
    """The flow logs that tell of these links: of their targets, and of their sources, which name who sent the
    packets."""
    ends = {end.account for link in links for end in (link.source, link.target)}
    until = int(env.now)
    return read_period(env, ends & env.policy.accounts.keys(), until - days * DAY, until)
