"""The removal guard of messages that are handled side by side: together they remove no more than one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from link_peer.engine.write.shared_guard import SharedGuard

from tests.unit.planning.test_removal_guard import AT_HOME, AT_PEER, removal


@pytest.fixture(name="other")
def _other() -> Iterator[ThreadPoolExecutor]:
    """Another thread."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_what_another_thread_plans_counts(other: ThreadPoolExecutor) -> None:
    """For the accounts that it concerns."""
    guard = SharedGuard(3)
    assert other.submit(guard.held, {AT_HOME: 2}).result() == set()
    assert guard.held({AT_HOME: 1, AT_PEER: 3}) == set()
    assert guard.held({AT_HOME: 2, AT_PEER: 3}) == {AT_HOME}


def test_planning_again_replaces_the_plan() -> None:
    guard = SharedGuard(3)
    assert guard.held({AT_HOME: 2}) == guard.held({AT_HOME: 3}) == set()


def test_what_was_made_counts_once(other: ThreadPoolExecutor) -> None:
    """Two of three were made: one is left."""
    guard = SharedGuard(3)
    other.submit(guard.held, {AT_HOME: 2}).result()
    other.submit(guard.made, removal(1, 2)).result()
    assert guard.held({AT_HOME: 1}) == set()
    assert guard.held({AT_HOME: 2}) == {AT_HOME}


def test_what_is_made_in_part_counts_in_full_until_the_message_is_done(other: ThreadPoolExecutor) -> None:
    guard = SharedGuard(3)
    other.submit(guard.held, {AT_HOME: 2}).result()
    other.submit(guard.made, removal(1)).result()
    assert guard.held({AT_HOME: 2}) == {AT_HOME}
    other.submit(guard.done).result()
    assert guard.held({AT_HOME: 2}) == set()
    assert guard.held({AT_HOME: 3}) == {AT_HOME}


def test_a_message_that_planned_nothing_may_be_done() -> None:
    guard = SharedGuard(0)
    guard.done()
    guard.made(removal(1, unseen=()))
    assert guard.held({AT_HOME: 0}) == set()


def test_what_a_batch_is_due_to_remove_is_expected_as_before() -> None:
    guard = SharedGuard(2)
    guard.expect({AT_HOME: 3})
    assert guard.held({AT_HOME: 1, AT_PEER: 1}) == {AT_HOME}
