"""`python -m benchmarks [figures …] [--rounds N]`: measures build/bench/package, prints one table, writes
build/bench.json.

Needs the Python of the runtime that the package is for (LINK_PEER_RUNTIME), found as `make package` finds it. The
figures `people`, `inventories`, `fleet`, `growth` and `tighten` are of the commands and the library, on this Python:
they need neither.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable

from link_peer_deploy import runtime_python
from link_peer_deploy.runtime_python import runtime_in_use

from benchmarks import growth, runner
from benchmarks.figures import (
    cold_start,
    entries,
    events,
    fleet,
    inventories,
    launches,
    people,
    policy,
    reach,
    scale,
    sweep,
    tighten,
)
from benchmarks.process import Code
from benchmarks.runner import Bench, Row

FIGURES: dict[str, Callable[[Bench], list[Row]]] = {
    "cold": cold_start.measure,
    "events": events.measure,
    "scale": scale.measure,
    "fleet": fleet.measure,
    "growth": growth.measure,
    "launches": launches.measure,
    "queue": launches.batches,
    "beside": sweep.beside,
    "policy": policy.measure,
    "entries": entries.measure,
    "reach": reach.measure,
    "cost": cold_start.cost,
    "people": people.measure,
    "inventories": inventories.measure,
    "tighten": tighten.measure,
}

WITHOUT_PACKAGE = frozenset({"people", "inventories", "fleet", "growth", "tighten"})


def main() -> None:
    """Measure the figures that were named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="figure", help=", ".join(FIGURES))
    parser.add_argument("--rounds", type=int, default=7, help="how often what takes seconds is measured (default 7)")
    parser.add_argument(
        "--before", default="", metavar="REF", help="a commit beside which the fleet and the inventories are measured"
    )
    parser.add_argument("--groups", type=int, default=300, help="of which the inventories are measured (default 300)")
    arguments = parser.parse_args()
    unknown = set(arguments.figures) - FIGURES.keys()
    if unknown:
        parser.error(f"no such figure: {', '.join(sorted(unknown))}")
    figures = arguments.figures or list(FIGURES)
    package, python = runner.ROOT / "build" / "bench" / "package", sys.executable
    if not WITHOUT_PACKAGE.issuperset(figures):
        if not package.is_dir():
            parser.error("build/bench/package is missing: run `make bench`")
        try:
            python = runtime_python.find(runtime_in_use())
        except runtime_python.NotFound as missing:
            parser.error(f"{missing}: install it, or set RUNTIME_PYTHON")
    bench = Bench(Code(python, [str(package)]), arguments.rounds, before=arguments.before, groups=arguments.groups)
    machine = runner.machine(bench.ours.python)
    rows: list[Row] = []
    for name in figures:
        start = time.perf_counter()
        try:
            rows += FIGURES[name](bench)
        except Exception as problem:
            traceback.print_exc()
            rows.append(Row(name, "", f"fails: {type(problem).__name__}", met=False))
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    runner.write(machine, rows)
    print(f"{machine}; commit {runner.commit()}; medians (smallest..largest)\n")
    print(runner.table(rows))


if __name__ == "__main__":
    main()
