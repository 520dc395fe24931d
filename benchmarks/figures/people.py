"""How long the commands of people take: 300 groups in five accounts, 1 ms a call, each command a process of its own."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from link_peer_cli.demo.local_cloud import environment
from msgspec import Struct

from benchmarks import company, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.commands import Measured, Run, run
from benchmarks.company import Company, request_id

SIZE = 60  # groups of each account
LATENCY = 0.001  # seconds
TARGET = 2.0  # seconds
RECORDS = 2000
_ID = re.compile(r"\b(sg|i)-bp1[0-9]+(@[0-9]+)?")
REFUSING = frozenset({0, 1})  # part of what such a command does needs the keys of others, or is found missing
IDLE_TARGET = 0.3  # seconds of a command that asks nothing


class Asked(Struct, frozen=True):
    """A command to measure: its arguments, the exit codes that are right, and what undoes it before the next run."""

    args: Sequence[str]
    codes: frozenset[int] = frozenset({0})
    undo: Sequence[str] = ()
    target: float | None = TARGET
    shown: str = ""


def measure(rounds: int, size: int = SIZE, only: str = "") -> list[Measured]:
    """Every command, `rounds` times; those whose line begins with `only`."""
    made = Company(size)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        company.write_world(made, scratch / "world.yaml")
        with CloudProcess(str(scratch / "world.yaml")) as cloud:
            described = cloud(company.settings)
            env = {"PATH": os.environ.get("PATH", ""), "HOME": folder, **environment(described)}
            bench = _Bench(cloud, env, scratch, rounds, only)
            cloud(worlds.slow, LATENCY)
            found = list(bench.all(_opening()))
            found.append(bench.one(Asked(["sweep"], target=None), 1))
            cloud(company.open_requested, made.asked())
            cloud(company.record, made.asked(), RECORDS)
            found += bench.all(_standing(made, scratch))
        return found


class _Bench(Struct, frozen=True):
    """Runs commands and counts their calls."""

    cloud: CloudProcess
    env: dict[str, str]
    scratch: Path
    rounds: int
    only: str

    def all(self, asked: Sequence[Asked]) -> Iterator[Measured]:
        for one in asked:
            if " ".join(one.args).startswith(self.only):
                yield self.one(one, self.rounds)

    def one(self, asked: Asked, rounds: int) -> Measured:
        runs: list[Run] = []
        calls: list[int] = []
        cloud: list[float] = []
        for _ in range(rounds):
            self.cloud(worlds.calls)
            before = self.cloud(worlds.cpu)
            runs.append(run(asked.args, self.env, self.scratch))
            cloud.append(self.cloud(worlds.cpu) - before)
            calls.append(len(self.cloud(worlds.calls)))
            if asked.undo:
                run(asked.undo, self.env, self.scratch)
        name = asked.shown or _ID.sub(lambda found: f"{found[1]}-…" + ("@…" if found[2] else ""), " ".join(asked.args))
        wrong = next((one for one in runs if one.code not in asked.codes), None)
        fastest = min(one.wall for one in runs)
        print(f"{fastest:6.2f} s  {calls[0]:5} calls  link-peer {name}", file=sys.stderr, flush=True)
        if wrong:
            print(f"exits with {wrong.code}: {wrong.output[-400:]}", file=sys.stderr, flush=True)
        return Measured(name, runs, calls, cloud, asked.target, asked.codes)


def _opening() -> list[Asked]:
    return [
        Asked(["--help"], target=IDLE_TARGET),
        Asked(["--version"], target=IDLE_TARGET),
        Asked(["sweep", "--dry-run"], shown="sweep --dry-run  # opens all rules"),
    ]


def _standing(made: Company, scratch: Path) -> list[Asked]:
    source, target, other = made.group(0, 8), made.group(0, 9), made.group(0, 11)
    in_another = made.group(1, 10)
    tagged, peer = made.instances(made.group(0, 3))[0], made.instances(made.group(0, 4))[0]
    entry = f"{other}:tcp/9000"
    policy = scratch / "new.yaml"
    policy.write_text(json.dumps({**made.policy(), "deny": {"ports": ["tcp/6379"]}}), encoding="utf-8")  # JSON is YAML
    request = scratch / "request.json"
    request.write_text(json.dumps(_request(made)), encoding="utf-8")
    return [
        Asked(["explain", source.id, target.id]),
        Asked(["explain", tagged, peer, "tcp/3306"]),
        Asked(["explain", str(made.group(0, 10)), str(in_another), "tcp/8080"]),
        Asked(["explain", "team-1-db-0", "team-1-cache-0", "--json"]),
        Asked(["who", target.id]),
        Asked(["links"]),
        Asked(["links", "--json"]),
        Asked(["links", "--csv"]),
        Asked(["links", "--state", "blocked"]),
        Asked(["links", "--expiring", "7d"]),
        Asked(["links", "--party", source.id]),
        Asked(["accept", target.id, entry], undo=["withdraw", target.id, entry]),
        Asked(["accept", target.id, entry, "--dry-run"]),
        Asked(["withdraw", other.id, f"{made.group(0, 10)}:tcp/3306", "--dry-run"]),
        Asked(["close", target.id, "--dry-run"]),
        Asked(["close", target.id, "--yes"], undo=["reopen", target.id]),
        Asked(["close", "--all", "--dry-run"], codes=REFUSING),
        Asked(["reopen", target.id, "--dry-run"]),
        Asked(["plan", tagged]),
        Asked(["plan", "request.json"]),
        Asked(["plan", "--policy", "new.yaml"]),
        Asked(["sweep", "--dry-run"], shown="sweep --dry-run  # nothing to do"),
        Asked(["stale"]),
        Asked(["test"]),
        Asked(["audit"]),
        Asked(["audit", "--all", "--limit", "0"]),
        Asked(["audit", "--story", request_id(3)]),
        Asked(["audit", "--all", "--csv"]),
        *(Asked(["map", "--out", f"map.{suffix}"]) for suffix in ("html", "svg", "mmd", "json")),
        Asked(["doctor"], codes=REFUSING),
        Asked(["verify", "--from", tagged, "--to", peer, "--port", "tcp/3306"], codes=REFUSING),
        Asked(_post(made)),
    ]


def _request(made: Company) -> dict[str, object]:
    source, target = made.asked()[0]
    ends = {name: {"account": end.account, "party": end.id} for name, end in (("from", source), ("to", target))}
    times = {name: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + s)) for name, s in _AHEAD.items()}
    common = {"version": 1, "request_id": "chg-1", "action": "link", "region": "cn-qingdao"}
    return {**common, **ends, "ports": [str(company.ASKED)], **times}


_AHEAD = {"expires_at": 3600, "until": 86_400}


def _post(made: Company) -> list[str]:
    source, target = made.asked()[0]
    return ["request", "link", "--from", str(source), "--to", str(target), "--port", str(company.ASKED)]
