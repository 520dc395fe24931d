"""Resources in a fixed order: what paging reads."""

from __future__ import annotations

from itertools import islice

from link_peer_local.ecs.history import Ordered


def numbers(*values: int) -> Ordered[int]:
    """Values by name, in numeric order."""
    ordered = Ordered[int](lambda value: value)
    for value in values:
        ordered[f"n{value}"] = value
    return ordered


def test_values_come_in_order_from_a_position() -> None:
    """The position itself is included, and need not exist any more."""
    ordered = numbers(30, 10, 20)
    assert list(ordered.ascending()) == [10, 20, 30]
    assert list(ordered.descending()) == [30, 20, 10]
    assert list(ordered.ascending(20)) == [20, 30]
    assert list(ordered.descending(20)) == [20, 10]
    assert list(ordered.ascending(15)) == [20, 30]
    assert list(ordered.descending(15)) == [10]


def test_replaced_and_removed_values_are_not_listed() -> None:
    """A replaced value moves to its new position."""
    ordered = numbers(1, 2, 3)
    ordered["n1"] = 9
    del ordered["n2"]
    assert list(ordered.ascending()) == [3, 9]
    assert ordered.pop("n2", None) is None
    assert dict(ordered) == {"n3": 3, "n1": 9}


def test_a_page_reads_only_its_own_values() -> None:
    """Whatever the position, and however many values there are."""
    ordered = numbers(*range(1000))
    read: list[int] = []
    page = islice((read.append(value) or value for value in ordered.descending(500)), 10)
    assert list(page) == read == list(range(500, 490, -1))
