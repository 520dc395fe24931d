"""Ports and addresses as sets of whole numbers, to be added and subtracted exactly. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from link_peer.domain.model import Ports

Span = tuple[int, int]
"""From the first to the last. TCP ports are their numbers, UDP ports 100,000 more."""
Spans = Sequence[Span]

_UDP = 100_000
_ICMP: Span = (200_000, 200_000)
MUTUAL: Span = (300_000, 300_000)
"""Every protocol in both directions, which only a link without ports has."""
PORTS: Spans = ((1, 65_535), (_UDP + 1, _UDP + 65_535), _ICMP)
ALL_SPANS: Spans = (*PORTS, MUTUAL)


def of_ports(ports: Ports) -> Spans:
    """Ports as the policy lists them; everything if there are none."""
    base = {"tcp": 0, "udp": _UDP}
    numbers = (_ICMP if p.protocol == "icmp" else (p.low + base[p.protocol], p.high + base[p.protocol]) for p in ports)
    return joined(numbers) if ports else ALL_SPANS


def of_networks(networks: Iterable[str]) -> Spans:
    """The addresses of IPv4 networks."""
    return joined((int(net[0]), int(net[-1])) for net in map(ipaddress.IPv4Network, networks))


def joined(spans: Iterable[Span]) -> Spans:
    """The same numbers, in order and without overlap."""
    spans_joined: list[Span] = []
    for low, high in sorted(spans):
        if spans_joined and low <= spans_joined[-1][1] + 1:
            spans_joined[-1] = (spans_joined[-1][0], max(high, spans_joined[-1][1]))
        else:
            spans_joined.append((low, high))
    return tuple(spans_joined)


def common(first: Spans, second: Spans) -> Spans:
    """The numbers that are in both."""
    return joined((max(a, c), min(b, d)) for a, b in first for c, d in second if a <= d and c <= b)


def minus(spans: Spans, removed: Spans) -> Spans:
    """The numbers in `spans` that are not in `removed`."""
    remaining = list(spans)
    for low, high in removed:
        remaining = [
            part for a, b in remaining for part in ((a, min(b, low - 1)), (max(a, high + 1), b)) if part[0] <= part[1]
        ]
    return joined(remaining)


def size(spans: Spans) -> int:
    """How many numbers there are."""
    return sum(high - low + 1 for low, high in joined(spans))


def ports_text(spans: Spans) -> str:
    """Ports as people write them."""
    if not minus(PORTS, spans):
        return "all ports"
    texts = []
    for low, high in joined(spans):
        protocol, base = ("udp", _UDP) if high // _UDP else ("tcp", 0)
        ports = f"{low - base}" if low == high else f"{low - base}-{high - base}"
        texts.append("icmp" if (low, high) == _ICMP else f"{protocol}/{ports}")
    return ", ".join(texts)
