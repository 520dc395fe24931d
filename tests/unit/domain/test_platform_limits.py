"""What documents say of the platform's limits, where they disagree."""

from __future__ import annotations

import pytest
from link_peer.domain.platform_limits import PlatformLimit

DOUBTFUL = PlatformLimit(10, 50, ("one page", "another page"))


@pytest.mark.parametrize(
    ("count", "in_doubt", "exceeded"), [(10, False, False), (11, True, False), (50, True, False), (51, False, True)]
)
def test_between_both_numbers_a_count_is_in_doubt_and_above_them_exceeded(
    count: int, in_doubt: bool, exceeded: bool
) -> None:
    assert (DOUBTFUL.is_in_doubt(count), DOUBTFUL.is_exceeded(count)) == (in_doubt, exceeded)


def test_both_numbers_are_named_where_they_differ() -> None:
    assert str(DOUBTFUL) == "10 by one document, 50 by another"
    assert str(PlatformLimit(20, 20, ("one page",))) == "20"
