"""What every group of figures uses: where the code is, rows with their samples, the table and the JSON file."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import asdict

from benchmarks.peers import packages
from benchmarks.process import Code, python_version

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "build" / "bench.json"
SHARE = 0.35
"""The smallest part of a CPU that s.yaml gives a function."""
LATENCY = 0.02
"""Seconds that each call takes at least, where a figure says so."""

Cell = list[float] | str
"""Samples, or what is known without measuring."""


class Row(Struct, frozen=True):
    """One figure: what was measured of the functions, beside the plain handler and the floor.

    `before` is what was measured of the functions on 2026-11-26, before they were made fast.
    """

    figure: str
    unit: str
    ours: Cell
    target: str = ""
    met: bool | None = None
    plain: Cell = "–"
    plain_bytecode: Cell = "–"
    floor: Cell = "–"
    before: str = "–"


class Bench(Struct, frozen=True):
    """Where the code is that is measured, and how often. `env` adds to the environment of the functions; `before` is a
    commit with whose sources some figures are measured, too; `groups` is how many the inventories are of."""

    ours: Code
    rounds: int = 7
    env: dict[str, str] = field(default_factory=dict)
    before: str = ""
    groups: int = 300

    def plain(self, *, bytecode: bool) -> Code:
        """The plain handler, on the same Python."""
        return Code(self.ours.python, [packages.plain(self.ours.python, bytecode=bytecode)])

    def floor(self) -> Code:
        """The floor, on the same Python."""
        return Code(self.ours.python, [packages.floor()])


def at_most(samples: Sequence[float], limit: float) -> dict[str, str | bool]:
    """Target and verdict of a row whose median must not be larger."""
    return {"target": f"≤ {limit:g}", "met": statistics.median(samples) <= limit}


def at_least(samples: Sequence[float], limit: float) -> dict[str, str | bool]:
    """Target and verdict of a row whose median must not be smaller."""
    return {"target": f"≥ {limit:g}", "met": statistics.median(samples) >= limit}


def cell_text(cell: Cell) -> str:
    """The median, with the smallest and the largest sample where they differ."""
    if isinstance(cell, str):
        return cell
    middle, low, high = (_number(value) for value in (statistics.median(cell), min(cell), max(cell)))
    return middle if low == high else f"{middle} ({low}..{high})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2g}" if value < 1 else f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """All rows as one table in Markdown."""
    head = ["figure", "floor", "plain handler", "… with bytecode", "before", "now", "target", "met"]
    lines = [head, ["---", *["---:"] * 5, "---", "---"]]
    for row in rows:
        met = "" if row.met is None else "yes" if row.met else "**no**"
        cells = [cell_text(cell) for cell in (row.floor, row.plain, row.plain_bytecode, row.before, row.ours)]
        lines.append([f"{row.figure}, {row.unit}" if row.unit else row.figure, *cells, row.target, met])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(python: str) -> str:
    """Where the figures were measured, in words, and how many processes competed for the CPUs at that moment."""
    load = f"load {os.getloadavg()[0]:.1f}"
    return f"Python {python_version(python)}, {os.cpu_count()} CPUs, {_cpu()}, {platform.system()}, {load}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit() -> str:
    """What was measured: the commit, and whether files differ from it."""
    git = ["git", "-C", str(ROOT)]
    try:
        name = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, check=True, text=True).stdout
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.strip() + (" with changes" if changed.strip() else "")


def write(machine: str, rows: Sequence[Row], path: Path = RESULT) -> None:
    """Write every sample."""
    result = {"machine": machine, "commit": commit(), "rows": [asdict(row) for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
