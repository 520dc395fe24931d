"""Retries: how often, how long between them, and when to give up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from link_peer.domain.errors import Ambiguous, CloudError, NoAccess, Throttled, Transient
from link_peer.runtime.retry import ATTEMPTS, FIRST_POLL, FIRST_WAIT, MINUTE, POLLS, Retry

from tests.unit.fakes import FakeClock
from tests.unit.small_world import NOW  # a full minute


class Call:
    """Raises these errors in turn, then returns `done`; `call_count` counts the calls."""

    def __init__(self, *errors: Exception) -> None:
        self.errors: Iterator[Exception] = iter(errors)
        self.call_count = 0

    def __call__(self) -> str:
        self.call_count += 1
        for error in self.errors:
            raise error
        return "done"


def retry(seconds: float = 600, at: float = NOW) -> tuple[Retry, FakeClock]:
    clock = FakeClock(at)
    return Retry(clock, at + seconds), clock


@pytest.mark.parametrize("error", [Transient("503"), Ambiguous("reset")])
def test_a_transient_error_is_tried_again(error: Transient) -> None:
    """The waits double, with jitter of up to a half."""
    again, clock = retry()
    call = Call(*[error] * (ATTEMPTS - 1))
    assert (again(call), call.call_count) == ("done", ATTEMPTS)
    for number, wait in enumerate(clock.waits):
        assert FIRST_WAIT * 2**number / 2 <= wait <= FIRST_WAIT * 2**number


def test_the_last_trouble_is_raised_when_attempts_are_used_up() -> None:
    """No wait follows the last attempt."""
    again, clock = retry()
    errors = [Transient(str(number)) for number in range(1, ATTEMPTS + 1)]
    call = Call(*errors)
    with pytest.raises(Transient) as raised:
        again(call)
    assert (raised.value, call.call_count, len(clock.waits)) == (errors[-1], ATTEMPTS, ATTEMPTS - 1)


@pytest.mark.parametrize(
    ("error", "at", "seconds"),
    [
        (CloudError("InvalidParameter", "no"), 0, 600),
        (NoAccess("Forbidden.RAM", "no"), 0, 600),
        (ValueError(), 0, 600),
        (Throttled("wait"), 0, 600),
        (Throttled("wait"), 54, 600),
        (Transient("503"), 0, 0.1),
        (Transient("503"), 0, 0),
    ],
    ids=["refused", "no access", "a bug", "throttled", "throttled late", "no time to wait", "after the deadline"],
)
def test_an_error_that_waiting_does_not_help_is_raised_at_once(error: Any, at: float, seconds: float) -> None:
    """The cloud would refuse the call again; an API refuses calls until the next minute, and a handler that sleeps
    through it holds up everything behind it; without time the delivery goes back to the platform. After the deadline,
    too, a call is made once: an outcome is written although time is nearly over."""
    again, clock = retry(seconds, NOW + at)
    call = Call(error)
    with pytest.raises(type(error)):
        again(call)
    assert (call.call_count, clock.waits) == (1, [])
    assert (again(call), clock.waits) == ("done", [])


def test_a_throttled_call_waits_for_a_minute_that_is_nearly_over() -> None:
    """And up to three seconds more, so that not everyone calls at once."""
    again, clock = retry(at=NOW + 59)
    assert again(Call(Throttled("wait"))) == "done"
    assert 1 <= clock.waits[0] <= 4
    assert clock.now() % MINUTE <= 3


def test_a_command_may_wait_for_the_next_minute() -> None:
    """A person waits for it, and nothing is behind it."""
    clock = FakeClock(NOW + 1)
    again = Retry(clock, NOW + 600, longest_wait=70)
    assert again(Call(Throttled("wait"))) == "done"
    assert 59 <= clock.waits[0] <= 62


def test_a_wait_as_long_as_the_longest_is_waited() -> None:
    """Only a longer one is not. The jitter of the first wait is always the same."""
    clock = FakeClock(NOW + 30)
    assert Retry(clock, NOW + 600, MINUTE)(Call(Throttled("wait"))) == "done"
    (wait,) = clock.waits
    clock = FakeClock(NOW + 30)
    assert Retry(clock, NOW + 600, wait)(Call(Throttled("wait"))) == "done"
    assert clock.waits == [wait]


def test_each_attempt_keeps_its_failure() -> None:
    """A caller that reads back between attempts sees which one failed."""
    again, _ = retry()
    failures = []
    for number, attempt in enumerate(again.attempts()):
        with attempt:
            if number == 0:
                raise Transient("503")
        failures.append(str(attempt.failure))
    assert failures == ["503", "None"]


@pytest.mark.parametrize("refusals", [2, 3])
def test_refused_access_is_tried_again_after_each_of_the_waits(refusals: int) -> None:
    """A role that was edited a moment ago. Access that stays refused is raised."""
    again, clock = retry()
    call = Call(*[NoAccess("NoPermission", "no")] * refusals)
    if refusals == 3:
        with pytest.raises(NoAccess):
            again.refused(call, [1, 5])
    else:
        assert again.refused(call, [1, 5]) == "done"
    assert (call.call_count, clock.waits) == (3, [1, 5])


@pytest.mark.parametrize("read_number", [2, POLLS + 1])
def test_polling_ends_with_the_first_read_that_shows_the_change(read_number: int) -> None:
    """Each wait comes before a read, and is twice as long as the last. After some reads it gives up."""
    again, clock = retry()
    reads = iter(number == read_number for number in range(1, 99))
    assert again.poll(lambda: next(reads)) is (read_number <= POLLS)
    assert clock.waits == [FIRST_POLL * 2**number for number in range(min(read_number, POLLS))]
