"""How long the commands of people take: 300 groups in five accounts, 1 ms a call, each command a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import yaml
from link_peer_cli.demo.local_cloud import environment
from msgspec import Struct

from benchmarks import company, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.company import Company, request_id
from benchmarks.runner import Bench, Row

COMMAND = [sys.executable, "-m", "link_peer_cli"]
LAUNCHER = Path(__file__).parents[1] / "launch.py"
SIZE = 60  # groups of each account
LATENCY = 0.001  # seconds
TARGET = 2.0  # seconds
RECORDS = 2000
_ID = re.compile(r"\b(sg|i)-bp1[0-9]+(@[0-9]+)?")
REFUSING = frozenset({0, 1})  # part of what such a command does needs the keys of others, or is found missing
IDLE_TARGET = 0.3  # seconds of a command that asks nothing


class Run(Struct, frozen=True):
    """What one process took: `wall` and `cpu` (user and system) in seconds, `peak` in MB; its exit code and output."""

    wall: float
    cpu: float
    peak: float
    code: int
    output: str


def run(args: Sequence[str], env: Mapping[str, str], scratch: Path) -> Run:
    """Run `link-peer` with these arguments in a folder, in which its output is kept meanwhile."""
    reading, writing = os.pipe()
    with (scratch / "output").open("w+b") as output, open(reading, "rb") as took:
        try:
            subprocess.run(
                [sys.executable, "-I", "-S", str(LAUNCHER), str(writing), *COMMAND, *args],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=scratch,
                env=dict(env),
                pass_fds=[writing],
                check=True,
            )
        finally:
            os.close(writing)
        output.seek(0)
        return Run(**json.loads(took.read()), output=output.read().decode("utf-8", "replace"))


class MeasuredCommand(Struct, frozen=True):
    """A command to measure: its arguments, the exit codes that are right, and what undoes it before the next run."""

    args: Sequence[str]
    codes: frozenset[int] = frozenset({0})
    undo: Sequence[str] = ()
    target: float | None = TARGET
    label: str = ""

    @property
    def line(self) -> str:
        """The command, without the numbers of the world."""
        return self.label or _ID.sub(lambda match: f"{match[1]}-…" + ("@…" if match[2] else ""), " ".join(self.args))


class Measured(Struct, frozen=True):
    """A command with its runs, the API calls of each, and the CPU seconds that the cloud took to answer them."""

    command: MeasuredCommand
    runs: Sequence[Run]
    calls: Sequence[int]
    cloud: Sequence[float]

    def row(self) -> Row:
        """What a person waits, whose fastest run must keep to the target; a command that failed never does."""
        wall, target = [run.wall for run in self.runs], self.command.target
        failed = next((run for run in self.runs if run.code not in self.command.codes), None)
        took = f"{median(run.cpu for run in self.runs):.2f} s of CPU, {median(self.cloud):.2f} s of the cloud's"
        words = (
            f"`{self.command.line}`: {took}, {min(self.calls)} calls, {median(run.peak for run in self.runs):.0f} MB"
        )
        if failed:
            return Row(words, "s", f"exits with {failed.code}: {failed.output[-400:]}", met=False)
        if target is None:
            return Row(words, "s", wall)
        return Row(words, "s", wall, f"≤ {target:g}", min(wall) <= target)


def measure(bench: Bench) -> list[Row]:
    """A row for every command, on this Python."""
    return [measurement.row() for measurement in measured(bench.rounds)]


def measured(rounds: int, size: int = SIZE, only: str = "") -> list[Measured]:
    """Every command, `rounds` times; those whose line begins with `only`."""
    new_company = Company(size)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "world.yaml").write_text(yaml.safe_dump(new_company.world(), sort_keys=False), encoding="utf-8")
        with CloudProcess(str(scratch / "world.yaml")) as cloud:
            described = cloud(company.settings)
            env = {"PATH": os.environ.get("PATH", ""), "HOME": folder, **environment(described)}
            runner = _Runner(cloud, env, scratch)
            cloud(worlds.slow, LATENCY)
            measurements = [runner.measure(command, rounds) for command in _opening() if command.line.startswith(only)]
            measurements.append(runner.measure(MeasuredCommand(["sweep"], target=None), 1))
            cloud(company.open_requested, new_company.requested_pairs())
            cloud(company.record, new_company.requested_pairs(), RECORDS)
            return measurements + [
                runner.measure(command, rounds)
                for command in _standing(new_company, scratch)
                if command.line.startswith(only)
            ]


class _Runner(Struct, frozen=True):
    """Runs commands and counts their calls."""

    cloud: CloudProcess
    env: dict[str, str]
    scratch: Path

    def measure(self, command: MeasuredCommand, rounds: int) -> Measured:
        runs: list[Run] = []
        calls: list[int] = []
        cloud: list[float] = []
        for _ in range(rounds):
            self.cloud(worlds.calls)
            before = self.cloud(worlds.cpu)
            runs.append(run(command.args, self.env, self.scratch))
            cloud.append(self.cloud(worlds.cpu) - before)
            calls.append(len(self.cloud(worlds.calls)))
            if command.undo:
                run(command.undo, self.env, self.scratch)
        return Measured(command, runs, calls, cloud)


def _opening() -> list[MeasuredCommand]:
    return [
        MeasuredCommand(["--help"], target=IDLE_TARGET),
        MeasuredCommand(["--version"], target=IDLE_TARGET),
        MeasuredCommand(["sweep", "--dry-run"], label="sweep --dry-run  # opens all rules"),
    ]


def _standing(company: Company, scratch: Path) -> list[MeasuredCommand]:
    source, target, third_group = company.group(0, 8), company.group(0, 9), company.group(0, 11)
    in_another = company.group(1, 10)
    tagged, peer = company.instances(company.group(0, 3))[0], company.instances(company.group(0, 4))[0]
    entry = f"{third_group}:tcp/9000"
    policy = scratch / "new.yaml"
    policy.write_text(
        json.dumps({**company.policy(), "deny": {"ports": ["tcp/6379"]}}), encoding="utf-8"
    )  # JSON is YAML
    request = scratch / "request.json"
    request.write_text(json.dumps(_request(company)), encoding="utf-8")
    return [
        MeasuredCommand(["explain", source.id, target.id]),
        MeasuredCommand(["explain", tagged, peer, "tcp/3306"]),
        MeasuredCommand(["explain", str(company.group(0, 10)), str(in_another), "tcp/8080"]),
        MeasuredCommand(["explain", "team-1-db-0", "team-1-cache-0", "--json"]),
        MeasuredCommand(["who", target.id]),
        MeasuredCommand(["links"]),
        MeasuredCommand(["links", "--json"]),
        MeasuredCommand(["links", "-o", "csv"]),
        MeasuredCommand(["links", "--state", "blocked"]),
        MeasuredCommand(["links", "--expiring", "7d"]),
        MeasuredCommand(["links", "--party", source.id]),
        MeasuredCommand(["accept", target.id, entry], undo=["withdraw", target.id, entry]),
        MeasuredCommand(["accept", target.id, entry, "--dry-run"]),
        MeasuredCommand(["withdraw", third_group.id, f"{company.group(0, 10)}:tcp/3306", "--dry-run"]),
        MeasuredCommand(["close", target.id, "--dry-run"]),
        MeasuredCommand(["close", target.id, "--yes"], undo=["reopen", target.id]),
        MeasuredCommand(["close", "--all", "--dry-run"], codes=REFUSING),
        MeasuredCommand(["reopen", target.id, "--dry-run"]),
        MeasuredCommand(["plan", tagged]),
        MeasuredCommand(["plan", "request.json"]),
        MeasuredCommand(["plan", "--policy", "new.yaml"]),
        MeasuredCommand(["sweep", "--dry-run"], label="sweep --dry-run  # nothing to do"),
        MeasuredCommand(["check", "--live"]),
        MeasuredCommand(["audit"]),
        MeasuredCommand(["audit", "--all", "--limit", "0"]),
        MeasuredCommand(["audit", "--story", request_id(3)]),
        MeasuredCommand(["audit", "--all", "-o", "csv"]),
        *(MeasuredCommand(["map", "--out", f"map.{suffix}"]) for suffix in ("html", "svg", "mmd", "json")),
        MeasuredCommand(["doctor"], codes=REFUSING),
        MeasuredCommand(["verify", "--from", tagged, "--to", peer, "--port", "tcp/3306"], codes=REFUSING),
        MeasuredCommand(_post(company)),
    ]


def _request(new_company: Company) -> dict[str, object]:
    source, target = new_company.requested_pairs()[0]
    ends = {name: {"account": end.account, "party": end.id} for name, end in (("from", source), ("to", target))}
    times = {name: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + s)) for name, s in _AHEAD.items()}
    common = {"version": 1, "request_id": "chg-1", "action": "link", "region": "cn-qingdao"}
    return {**common, **ends, "ports": [str(company.ASKED)], **times}


_AHEAD = {"expires_at": 3600, "until": 86_400}


def _post(new_company: Company) -> list[str]:
    source, target = new_company.requested_pairs()[0]
    return ["request", "link", "--from", str(source), "--to", str(target), "--port", str(company.ASKED)]
