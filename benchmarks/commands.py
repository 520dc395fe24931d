"""Runs a command as a person does, in a process of its own, and measures the process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct, to_builtins

RESULT = Path(__file__).resolve().parents[1] / "build" / "bench-people.json"
COMMAND = [sys.executable, "-m", "link_peer_cli"]
LAUNCHER = Path(__file__).with_name("launch.py")


class Run(Struct, frozen=True):
    """What one process took: `wall` and `cpu` (user and system) in seconds, `peak` in MB; its exit code and output."""

    wall: float
    cpu: float
    peak: float
    code: int
    output: str


class Measured(Struct, frozen=True):
    """A command with its runs, the API calls of each, and the CPU seconds that the cloud took to answer them; `expected` are
    its exit codes."""

    name: str
    runs: Sequence[Run]
    calls: Sequence[int]
    cloud: Sequence[float]
    target: float | None
    expected: frozenset[int] = frozenset({0})

    @property
    def met(self) -> bool | None:
        """Whether the fastest run kept to the target; None without one. A command that failed never does."""
        if any(run.code not in self.expected for run in self.runs):
            return False
        return None if self.target is None else min(run.wall for run in self.runs) <= self.target


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


def table(measured: Sequence[Measured]) -> str:
    """All commands as one table in Markdown: medians, and the fastest run."""
    lines = [
        "| command | wall, s: median (fastest) | CPU, s | CPU of the cloud, s | API calls | peak, MB | target, s | met |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in measured:
        wall = [run.wall for run in one.runs]
        cpu, peak = (
            statistics.median(values) for values in zip(*((run.cpu, run.peak) for run in one.runs), strict=True)
        )
        calls = f"{min(one.calls)}" + (f"..{max(one.calls)}" if min(one.calls) != max(one.calls) else "")
        met = {None: "", True: "yes", False: "**no**"}[one.met]
        target = "" if one.target is None else f"≤ {one.target:g}"
        cells = (
            f"`{one.name}`",
            f"{statistics.median(wall):.2f} ({min(wall):.2f})",
            f"{cpu:.2f}",
            f"{statistics.median(one.cloud):.2f}",
            calls,
            f"{peak:.0f}",
            target,
            met,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(machine: str, commit: str, measured: Sequence[Measured], path: Path = RESULT) -> None:
    """Write every sample, without the commands' output."""
    rows = [to_builtins(one) for one in measured]
    for row in rows:
        for one in row["runs"]:
            del one["output"]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": machine, "commit": commit, "commands": rows}, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
