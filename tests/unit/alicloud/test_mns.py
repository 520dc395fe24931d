"""What a look at a queue tells."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from link_peer.alicloud.mns import PEEKED, Backlog


def messages(count: int) -> list[SimpleNamespace]:
    return [SimpleNamespace(enqueue_time=1000 * (7 + number)) for number in range(count)]


@pytest.mark.parametrize(
    ("visible", "counted", "text"),
    [
        (0, 0, "0"),
        (3, 0, "3"),
        (3, 3, "3"),
        (PEEKED, 0, "16 or more"),
        (PEEKED, PEEKED, "16 or more"),
        (PEEKED, 20, "20"),
    ],
)
def test_a_look_counts_where_the_platform_does_not(visible: int, counted: int, text: str) -> None:
    """A full look may not show all: only a higher count of the platform says how many there are."""
    assert Backlog(messages(visible), counted).text == text


def test_the_oldest_message_tells_how_long_something_waits() -> None:
    assert Backlog(messages(2), 0).oldest == 7.0
    assert Backlog([], 0).oldest is None
