"""Run the whole simulation on all cores: `make prove`, or `python -m tests.simulation.prove [random runs] [first
seed]`.

Tries every history of every scenario, with every fault those of the smaller ones and a sample of the others, every
schedule of every race, thousands of random runs, and every mutant. Without a first seed, samples and random runs differ
from call to call. Prints what was tried, what was checked, and how long it took. Exits with 1, and prints the history,
if an invariant broke.
"""

from __future__ import annotations

import gc
import multiprocessing
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import Phase

from tests.simulation import invariants, random_run
from tests.simulation.explore import explore
from tests.simulation.interleave import race
from tests.simulation.invariants import Broken
from tests.simulation.mutants import MUTANTS, hunt
from tests.simulation.races import RACES
from tests.simulation.random_inputs import FAULTS
from tests.simulation.scenarios import SCENARIOS

RUNS = 4_000
RUNS_PER_JOB = 500
STEPS = 30  # at most, per random run
SWITCHES = 3
SAMPLE = 20  # worlds after each step
HEAVY = (  # with every fault these take up to hours, so that a sample of their histories is tried
    "link and unlink",
    "consent withdrawn",
    "a request expires",
    "lifecycle, group port",
    "lifecycle, whole group",
    "lifecycle, instance",
    "two instances, ports",
    "two instances, whole group",
    "two instances, instance",
    "empty reads, sg-db:tcp/3306",
    "empty reads, i-store",
    "a lock",
    "a refusal",
    "consent ends",
    "forged markers",
    "a request id used twice",
    "a bound queue",
    "stripped tags",
    "equal messages",
    "tags by address",
    "joining by address",
    "leaving by address",
    "consent by address",
    "claims on one address",
    "a limit by address",
    "moved, address",
    "moved, target",
    "moved, group port",
    "moved, whole group",
    "a guardrail",
    "sg-app refuses",
    "two instances, other account",
    "lifecycle, other account",
    "a listing, lock",
    "a listing, withdraw",
    "a listing, release",
    "a listing under way, and a turn",
    "forged cursors",
    "both ends",
    "both ends, two accounts",
    "both ends by tag",
    "both ends of instances",
    "a target joins",
    "a target moves",
    "a target leaves",
    "a target has an address of nobody's",
    "egress consent ends",
    "ingress consent ends at both ends",
    "the source of both ends is locked",
    "the source of both ends refuses",
    "let out by a person",
    "kept, egress consent ends",
    "kept, refused",
    "full for more, basic groups",
    "full for more, advanced groups",
    "full for more, instances",
)
OWN_FAULTS = (  # those whose end is exact, or that say what happens while a call takes long
    "a look, left out",
    "consent withdrawn during a delivery",
    "a change during a delivery",
    "expiry during a delivery",
    "closed at any call",
    "half closed at any call",
    "closed during an event",
    "closed and killed",
    # an unlink that the side it can reach refuses is acknowledged, and has to be posted again
    "a hidden peer",
    "a throttled peer",
    "a read-only side",
)
LONGEST = [("histories", "empty reads, i-store"), ("histories", "trouble during events")] + [
    ("faults", name)
    for name in (
        "trouble during events",
        "borrowed addresses",
        "two requests, one link",
        "tag and request",
        "ports and mutual",
        "overlapping ports",
    )
]


class Job(msgspec.Struct, frozen=True):
    """One piece of work: `kind` is histories, faults, sampled, races, random or mutants."""

    kind: str
    name: str
    number: int = 0


class Tried(msgspec.Struct):
    """The result of a job. `deliveries` counts the steps of random runs; `broken` is the history if an invariant
    broke."""

    job: Job
    tried: int = 0
    deliveries: int = 0
    ends: int = 0
    lost_claims: int = 0
    checked: dict[str, int] = {}
    seconds: float = 0.0
    broken: str = ""


def work(job: Job) -> Tried:
    """Does one job. Called in a worker process."""
    tried = Tried(job)
    before = Counter(invariants.checked)
    start = time.perf_counter()
    try:
        _DO[job.kind](job, tried)
    except (Broken, AssertionError) as broken:  # random runs raise AssertionError
        tried.broken = "\n".join([str(broken), *getattr(broken, "__notes__", ())])
    tried.seconds = time.perf_counter() - start
    tried.checked = dict(invariants.checked - before)
    return tried


EXPLORED: dict[str, Callable[[Job], dict[str, Any]]] = {
    "histories": lambda _: {},
    "faults": lambda _: {"kinds": FAULTS},
    "sampled": lambda job: {"kinds": FAULTS, "most": SAMPLE, "seed": job.number},
}
"""The histories with the scenario's own faults (by default, a kill before or after any call), with any one fault at any
call of each delivery, and with such faults after some of the worlds that the steps before lead to."""


def _histories(job: Job, tried: Tried) -> None:
    result = explore(SCENARIOS[job.name], **EXPLORED[job.kind](job))
    tried.tried, tried.deliveries, tried.ends = result.histories, result.deliveries, result.ends


def _races(job: Job, tried: Tried) -> None:
    outcome = race(RACES[job.name], SWITCHES)
    tried.tried, tried.deliveries = outcome.schedules, 2 * outcome.schedules
    tried.ends, tried.lost_claims = outcome.ends, outcome.lost_claims


def _random(job: Job, tried: Tried) -> None:
    before = sum(random_run.steps.values())
    # shrinking takes many minutes; the seed reproduces the run
    random_run.try_runs(RUNS_PER_JOB, STEPS, job.number, phases=[Phase.generate])
    tried.tried = RUNS_PER_JOB
    tried.deliveries = sum(random_run.steps.values()) - before


def _mutants(job: Job, tried: Tried) -> None:
    """A wrong design must break an invariant."""
    mutant = MUTANTS[job.number]
    tried.tried = 1
    with pytest.MonkeyPatch.context() as patch:
        mutant.change(patch)
        try:
            hunt(mutant.hunt, mutant.kinds)
        except Broken as broken:
            if not broken.invariant.startswith("I"):
                raise
        else:
            raise Broken("mutant", f"{mutant.name} survives {mutant.hunt}")


_DO: dict[str, Callable[[Job, Tried], None]] = {
    **dict.fromkeys(EXPLORED, _histories),
    "races": _races,
    "random": _random,
    "mutants": _mutants,
}


def main(arguments: Sequence[str]) -> int:
    runs = int(arguments[0]) if arguments else RUNS
    first = int(arguments[1]) if len(arguments) > 1 else secrets.randbelow(1_000_000)
    # the longest jobs first, so that no core is idle at the end
    jobs = [Job("histories", name) for name in SCENARIOS]
    jobs += [Job("faults", name) for name in SCENARIOS if name not in {*HEAVY, *OWN_FAULTS}]
    jobs += [Job("sampled", name, first) for name in HEAVY]
    jobs += [Job("random", f"seed {number}", number) for number in range(first, first + runs // RUNS_PER_JOB)]
    jobs += [Job("races", name) for name in RACES]
    jobs += [Job("mutants", mutant.name, number) for number, mutant in enumerate(MUTANTS)]
    jobs.sort(key=lambda job: (job.kind, job.name) not in LONGEST)
    print(f"seeds from {first}")
    start = time.perf_counter()
    totals: dict[str, Tried] = {}
    failures = []
    print(f"{'kind':10} {'name':42} {'tried':>16} {'steps':>10} {'ends':>6} {'s':>6}")
    # thousands of worlds are kept, and each look at them for garbage takes time
    with multiprocessing.Pool(initializer=gc.set_threshold, initargs=(100_000, 50, 50)) as pool:
        for tried in pool.imap_unordered(work, jobs):
            job = tried.job
            lost_text = f"  {tried.lost_claims} of them lose a claim (a known limit)" if tried.lost_claims else ""
            print(
                f"{job.kind:10} {job.name:42} {tried.tried:16,} {tried.deliveries:10,} {tried.ends:6,} "
                f"{tried.seconds:6.1f}{lost_text}{'  BROKEN' if tried.broken else ''}",
                flush=True,
            )
            total = totals.setdefault(job.kind, Tried(job))
            total.tried += tried.tried
            total.deliveries += tried.deliveries
            total.lost_claims += tried.lost_claims
            total.checked = dict(Counter(total.checked) + Counter(tried.checked))
            if tried.broken:
                failures.append(f"{job.kind}, {job.name}: {tried.broken}")
    checked: Counter[str] = Counter()
    for total in totals.values():
        checked.update(total.checked)
    print()
    for kind, total in totals.items():
        lost_text = f", {total.lost_claims:,} lose a claim (a known limit)" if total.lost_claims else ""
        print(f"{kind}: {total.tried:,} tried in {total.deliveries:,} steps{lost_text}")
    print("checks by invariant: " + ", ".join(f"{name} {count:,}" for name, count in sorted(checked.items())))
    print(f"{time.perf_counter() - start:.0f} s on {multiprocessing.cpu_count()} cores; {len(failures)} broken")
    for failure in failures:
        print(f"\nBROKEN {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
