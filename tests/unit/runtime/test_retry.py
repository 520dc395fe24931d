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
    """Raises these errors in turn, then returns `done`; `made` counts the calls."""

    def __init__(self, *errors: Exception) -> None:
        self.errors: Iterator[Exception] = iter(errors)
        self.made = 0

    def __call__(self) -> str:
        self.made += 1
        for error in self.errors:
            raise error
        return "done"


def retry(seconds: float = 600, at: float = NOW) -> tuple[Retry, FakeClock]:
    clock = FakeClock(at)
    return Retry(clock, at + seconds), clock


def test_a_call_that_succeeds_is_made_once() -> None:
    """Without a wait."""
    again, clock = retry()
    call = Call()
    assert (again(call), call.made, clock.waits) == ("done", 1, [])


@pytest.mark.parametrize("error", [Transient("503"), Ambiguous("reset")])
def test_a_transient_error_is_tried_again(error: Transient) -> None:
    """The waits double, with jitter of up to a half."""
    again, clock = retry()
    call = Call(*[error] * (ATTEMPTS - 1))
    assert (again(call), call.made) == ("done", ATTEMPTS)
    for number, wait in enumerate(clock.waits):
        assert FIRST_WAIT * 2**number / 2 <= wait <= FIRST_WAIT * 2**number


def test_the_last_trouble_is_raised_when_attempts_are_used_up() -> None:
    """No wait follows the last attempt."""
    again, clock = retry()
    errors = [Transient(str(number)) for number in range(1, ATTEMPTS + 1)]
    call = Call(*errors)
    with pytest.raises(Transient) as raised:
        again(call)
    assert (raised.value, call.made, len(clock.waits)) == (errors[-1], ATTEMPTS, ATTEMPTS - 1)


@pytest.mark.parametrize("error", [CloudError("InvalidParameter", "no"), NoAccess("Forbidden.RAM", "no"), ValueError()])
def test_other_errors_are_raised_at_once(error: Any) -> None:
    """The cloud would refuse the call again; a bug is a bug."""
    again, clock = retry()
    call = Call(error)
    with pytest.raises(type(error)):
        again(call)
    assert (call.made, clock.waits) == (1, [])


@pytest.mark.parametrize("second", [0, 1, 30, 54])
def test_a_throttled_call_is_given_up_at_once(second: int) -> None:
    """The API refuses calls until the next minute: a handler that sleeps through it holds up everything behind it."""
    again, clock = retry(at=NOW + second)
    call = Call(Throttled("wait"))
    with pytest.raises(Throttled):
        again(call)
    assert (call.made, clock.waits) == (1, [])


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


def test_a_call_is_not_awaited_beyond_the_deadline() -> None:
    """The delivery goes back to the platform at once."""
    again, clock = retry(seconds=0.1)
    call = Call(Transient("503"))
    with pytest.raises(Transient):
        again(call)
    assert (call.made, clock.waits) == (1, [])


def test_a_call_is_made_once_after_the_deadline() -> None:
    """An outcome is written although time is nearly over."""
    again, clock = retry(seconds=0)
    assert again(Call()) == "done"
    with pytest.raises(Transient):
        again(Call(Transient("503")))
    assert clock.waits == []


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


def test_an_attempt_keeps_no_other_error() -> None:
    """It passes through."""
    again, _ = retry()
    attempt = next(again.attempts())
    with pytest.raises(ValueError, match="bug"), attempt:
        raise ValueError("bug")
    assert attempt.failure is None


def test_refused_access_is_tried_again_after_each_of_the_waits() -> None:
    """A role that was edited a moment ago."""
    again, clock = retry()
    no = NoAccess("NoPermission", "no")
    call = Call(no, no)
    assert (again.refused(call, [1, 5]), call.made, clock.waits) == ("done", 3, [1, 5])


def test_access_that_stays_refused_is_raised() -> None:
    again, clock = retry()
    no = NoAccess("NoPermission", "no")
    with pytest.raises(NoAccess):
        again.refused(Call(no, no, no), [1, 5])
    assert clock.waits == [1, 5]


def test_polling_ends_with_the_first_read_that_shows_the_change() -> None:
    """Each wait comes before a read, and is twice as long as the last."""
    again, clock = retry()
    shown = iter([False, True])
    assert again.poll(lambda: next(shown))
    assert clock.waits == [FIRST_POLL, FIRST_POLL * 2]


def test_polling_gives_up_after_some_reads() -> None:
    again, clock = retry()
    assert not again.poll(lambda: False)
    assert len(clock.waits) == POLLS
