"""An organisation under the platform's limits: when a missed link opens, and when all that must close is closed."""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from link_peer.inbound import policy_file
from link_peer_deploy import manifest

from benchmarks import events, organisation, virtual, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.process import Answer, Code, Worker
from benchmarks.runner import ROOT, Bench, Row, at_most
from benchmarks.worlds import SWEEPS

PER_MINUTE, LATENCY = 200, 0.05
INSTANCES, GROUPS = 100_000, 1_000  # of the one account
RUNS, RUNS_TRIED = 3, 4
ACCOUNTS, GROUPS_EACH, INSTANCES_EACH = 1_000, 10, 100
CLOSED_WITHIN = 600.0  # seconds
LIMIT = 1_200.0  # seconds after which the rest counts as never closed
TIMEOUT, EVERY = 300, 600.0  # of the sweep and its timer in s.yaml
STREAM = "accounts"  # its trigger on the queue of sweeps


def measure(bench: Bench) -> list[Row]:
    """Once each: they take minutes."""
    return [*missed_link(), *closing(bench)]


def missed_link(instances: int = INSTANCES, groups: int = GROUPS) -> list[Row]:
    """On a virtual clock: in which run a link opens whose event was missed, and how far each run says that it is."""
    details: list[str] = []
    with virtual.deployed() as deployment:
        cloud = deployment.cloud
        (missed,) = worlds.askers(cloud, 1, 1)  # the newest instance is listed first, so that this one comes last
        worlds.ring(cloud, groups, instances, groups)
        worlds.slow(cloud, LATENCY, PER_MINUTE)
        while len(details) < RUNS_TRIED and not worlds.standing(cloud, [missed.group]):
            deployment.run()
            details.append(deployment.records(record="summary", account=worlds.HOME)[-1]["progress"])
        opened = worlds.standing(cloud, [missed.group])
    name = f"a missed link among {instances:,} instances of one account, {PER_MINUTE} calls a minute per API"
    runs = [float(len(details))] if opened else f"not in {RUNS_TRIED} runs"
    return [
        Row(name, "runs until it opens", runs, target=f"≤ {RUNS}", met=bool(opened) and len(details) <= RUNS),
        *(Row(f"… run {number}", "", text) for number, text in enumerate(details, start=1)),
    ]


def closing(bench: Bench, accounts: int = ACCOUNTS) -> list[Row]:
    """In real processes, once each account has been swept: a group is locked, a consent is withdrawn, and one ends."""
    with tempfile.TemporaryDirectory() as folder, CloudProcess(organisation.written(Path(folder), accounts)) as cloud:
        code = _packaged(bench.ours, Path(folder), cloud(organisation.policy))
        cloud(organisation.settle, accounts, GROUPS_EACH, INSTANCES_EACH)
        cloud(worlds.slow, LATENCY, PER_MINUTE)
        fleet = _Fleet(code, cloud, bench.env)
        first_sweeps = _swept(fleet, cloud, accounts)
        first, due = list(fleet.answers), cloud(organisation.end)
        fleet.timer()
        start = time.perf_counter()
        while (standing_rules := cloud(organisation.standing, due)) and time.perf_counter() - start < LIMIT:
            time.sleep(1)
        took = time.perf_counter() - start
        fleet.end()
        calls = Counter(call.action for call in cloud(worlds.calls))
    looks = fleet.answers[len(first) :]
    errors = Counter(answer.error for answer in fleet.answers if answer.error)
    peak = [max(answer.peak for answer in fleet.answers)]
    name = f"{accounts:,} accounts, {accounts * INSTANCES_EACH:,} instances, {accounts * GROUPS_EACH:,} groups"
    late = Row(
        f"{name}: all that must close is closed",
        "s",
        f"{standing_rules} of {len(due)} left after {took:.0f} s",
        met=False,
    )
    closed = Row(late.figure, "s", [took], **at_most([took], CLOSED_WITHIN))  # type: ignore[arg-type]
    return [
        late if standing_rules else closed,
        Row("… peak memory of a worker", "MB", peak, **at_most(peak, 100)),  # type: ignore[arg-type]
        Row("… every account swept once by the fleet", "s", [first_sweeps]),
        Row("… one account's sweep", "s", [answer.seconds for answer in first]),
        Row("… one account's look that closes three", "s", [answer.seconds for answer in looks]),
        Row("… calls", "", str(dict(calls.most_common()))),
        Row("… errors", "", str(dict(errors)) if errors else "none", "none", not errors),
    ]


def _swept(fleet: _Fleet, cloud: CloudProcess, accounts: int) -> float:
    """Has every account swept once, as its turn comes within four hours, and returns how long that took."""
    start = time.perf_counter()
    cloud(organisation.post_sweeps, accounts)
    while len(fleet.answers) < accounts and time.perf_counter() - start < LIMIT:
        time.sleep(0.5)
    return time.perf_counter() - start


def _tasks() -> int:
    """How many accounts the deployed stream has swept at a time."""
    functions = manifest.load(ROOT / "s.yaml", env={}, account=worlds.HOME).functions
    (stream,) = (trigger for function in functions for trigger in function.triggers if trigger.name == STREAM)
    return int(stream.config["runOptions"]["maximumTasks"])


def _packaged(ours: Code, folder: Path, policy: bytes) -> Code:
    """The package, with another policy."""
    package = folder / "package"
    package.mkdir()
    for part in Path(ours.folders[0]).resolve().iterdir():
        if part.name not in (policy_file.NAME, policy_file.COMPILED):
            (package / part.name).symlink_to(part)
    (package / policy_file.NAME).write_bytes(policy)
    (package / policy_file.COMPILED).write_bytes(policy_file.compiled_form(policy))
    return Code(ours.python, [str(package)])


class _Fleet:
    """The timer every ten minutes, and as many workers as the stream has tasks, each of which takes one message after
    the other. `answers` are what the workers measured, oldest first."""

    def __init__(self, code: Code, cloud: CloudProcess, env: dict[str, str]) -> None:
        self.answers: list[Answer] = []
        self._code, self._cloud = code, cloud
        self._env = {**cloud.env, **env, "LINK_PEER_SWEEP_QUEUE": SWEEPS}
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._stream, daemon=True) for _ in range(_tasks())]
        for thread in self._threads:
            thread.start()

    def timer(self) -> None:
        """Fires the timer now, and every ten minutes."""
        self._threads.append(threading.Thread(target=self._fire, daemon=True))
        self._threads[-1].start()

    def end(self) -> None:
        """Lets each worker finish what it does."""
        self._ended.set()
        for thread in self._threads:
            thread.join(TIMEOUT)

    def _fire(self) -> None:
        with Worker(self._code, self._env) as worker:
            while not self._ended.is_set():
                worker.call("sweep", events.timer(), TIMEOUT)
                self._ended.wait(EVERY)

    def _stream(self) -> None:
        with Worker(self._code, self._env) as worker:
            while not self._ended.is_set():
                bodies = self._cloud(worlds.received, SWEEPS, 1)
                if bodies:
                    self.answers.append(worker.call("sweep", events.messages(bodies, SWEEPS), TIMEOUT))
                else:
                    self._ended.wait(0.5)
