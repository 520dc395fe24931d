"""A few random runs, the same ones every time; `make prove` tries thousands."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.simulation.random_run import RandomRun


def test_no_random_run_breaks_an_invariant() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        RandomRun,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
