"""A cold first link executes no more instructions than benchmarks/budget.json allows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from link_peer_deploy.runtime_python import runtime_in_use

from benchmarks import instructions, runner
from benchmarks.cloud import CloudProcess
from benchmarks.figures import cold_start
from benchmarks.process import Code
from benchmarks.runner import Bench
from tests.infrastructure.package.conftest import PYTHON

pytestmark = [
    pytest.mark.http,
    pytest.mark.skipif(not os.environ.get("LINK_PEER_PACKAGE"), reason="only a compiled package is measured"),
    pytest.mark.skipif(not instructions.counter(), reason="there is no valgrind here, nor counters for perf"),
]

MARGIN = 1.05  # of the budget: calls side by side open three connections or four
BUDGET = json.loads(Path(runner.__file__).with_name("budget.json").read_text(encoding="utf-8"))


def test_a_cold_first_link_keeps_to_its_budget(package: Path) -> None:
    """In millions, over TLS. Builds of Python differ, so the budget is that of a Python whose floor is the one in the file."""
    budget = BUDGET[runtime_in_use()]
    bench = Bench(Code(PYTHON, [str(package)]))
    with CloudProcess() as cloud:
        floor = cold_start.count(bench, cloud, "floor", bench.floor())
        allowed = MARGIN * budget["cold first link"] * floor / budget["floor"]
        counts = [cold_start.count(bench, cloud, "auto_link", bench.ours)]
        if counts[0] > allowed:
            counts.append(cold_start.count(bench, cloud, "auto_link", bench.ours))
    print(f"cold first link: {counts} million instructions, floor {floor:.0f}")
    assert min(counts) <= allowed, (
        f"{counts} beside a floor of {floor:.0f}: if it is worth that, {budget} in budget.json"
    )
