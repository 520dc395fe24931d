"""Ports and addresses as sets of numbers: against Python's own sets."""

from __future__ import annotations

import random

import pytest
from link_peer.domain.tags import parse_ports
from link_peer.views.spans import (
    ALL_SPANS,
    MUTUAL,
    Spans,
    common,
    joined,
    minus,
    of_networks,
    of_ports,
    ports_text,
    size,
)

UDP, ICMP = 100_000, (200_000, 200_000)


def test_spans_are_added_and_subtracted_as_sets_are() -> None:
    """Each result is in order, and as few spans as possible."""
    pick = random.Random(1)
    for _ in range(300):
        first_spans, second_spans = (
            [(low, low + pick.randrange(4)) for low in pick.choices(range(12), k=pick.randrange(4))] for _ in range(2)
        )
        first_numbers, second_numbers = (
            {n for low, high in spans for n in range(low, high + 1)} for spans in (first_spans, second_spans)
        )
        for spans_found, numbers in (
            (joined([*first_spans, *second_spans]), first_numbers | second_numbers),
            (common(first_spans, second_spans), first_numbers & second_numbers),
            (minus(first_spans, second_spans), first_numbers - second_numbers),
        ):
            lows, highs = ([n for n in sorted(numbers) if n + step not in numbers] for step in (-1, 1))
            assert spans_found == tuple(zip(lows, highs, strict=True))
        assert size(first_spans) == len(first_numbers)


def test_networks_are_the_addresses_in_them() -> None:
    assert of_networks(["0.0.0.8/30", "0.0.1.0/24", "0.0.0.12/32"]) == ((8, 12), (256, 511))


@pytest.mark.parametrize(
    ("ports", "spans", "text"),
    [
        ("tcp/1", ((1, 1),), "tcp/1"),
        ("tcp/65535+udp/1", ((65_535, 65_535), (UDP + 1, UDP + 1)), "tcp/65535, udp/1"),
        ("udp/53-54+tcp/22-23+icmp", ((22, 23), (UDP + 53, UDP + 54), ICMP), "tcp/22-23, udp/53-54, icmp"),
        ("tcp/1-65535+udp/1-65535", ((1, 65_535), (UDP + 1, UDP + 65_535)), "tcp/1-65535, udp/1-65535"),
        ("tcp/1-65535+udp/1-65535+icmp", ALL_SPANS[:-1], "all ports"),
        ("", ALL_SPANS, "all ports"),
    ],
)
def test_ports_are_numbers_and_are_written_as_people_do(ports: str, spans: Spans, text: str) -> None:
    """Without ports, everything: also what only a mutual link has."""
    port_spans = of_ports(parse_ports(ports) if ports else ())
    assert (port_spans, ports_text(port_spans)) == (spans, text)
    assert (MUTUAL in port_spans) is (ports == "")
