"""The first event of an instance of the function: CPU, instructions, memory, and time on 0.35 of a CPU; and what events
cost on instances of several sizes: seconds, and what Function Compute asks for them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from benchmarks import events, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.process import Answer, Code, Worker, can_count, counted, counting
from benchmarks.runner import LATENCY, SHARE, Bench, Cell, Row, at_most

TIMEOUT, PATIENCE = 120, 1200  # seconds that a function may take, as it is, and while its instructions are counted
SLOW_ROUNDS = 3  # of the runs with a share of a CPU, which take seconds
COST_ROUNDS = 5
SIZES = ((0.1, 128), (0.25, 256), (0.35, 384), (0.5, 512))
"""vCPU and MB: at least 1 GB and at most 4 GB for each vCPU, in steps of 0.05 and of 64 [doc instance
specifications]."""

# [doc "Pay-as-you-go", help page of Function Compute, updated 2025-01-24]
USD_PER_CU = 0.000020
CU_PER_CALL, CU_PER_VCPU_SECOND, CU_PER_GB_SECOND, CU_PER_DISK_SECOND = 75 / 10_000, 1.0, 0.15, 0.05
DISK_GB = 0.5


def measure(bench: Bench) -> list[Row]:
    """Four variants, one after the other in each round. Every process makes a link of its own."""
    variants = {
        "floor": ("floor", bench.floor()),
        "plain": ("plain_handler", bench.plain(bytecode=False)),
        "bytecode": ("plain_handler", bench.plain(bytecode=True)),
        "ours": ("auto_link", bench.ours),
    }
    whole: dict[str, list[Answer]] = {name: [] for name in variants}
    shared: dict[str, list[Answer]] = {name: [] for name in variants}
    with CloudProcess() as cloud:
        for number in range(-1, bench.rounds):
            for name, (module, code) in variants.items():
                answer = first_link(bench, cloud, module, code)
                if number >= 0:  # the first round only reads the files into memory
                    whole[name].append(answer)
                if 0 <= number < min(SLOW_ROUNDS, bench.rounds):
                    shared[name].append(first_link(bench, cloud, module, code, SHARE))
        counts = {name: _counted(bench, cloud, module, code) for name, (module, code) in variants.items()}
    cpu = {name: [answer.cpu * 1000 for answer in answers] for name, answers in whole.items()}
    peak = {name: [answer.peak for answer in answers] for name, answers in whole.items()}
    wall = {name: [answer.wall for answer in answers] for name, answers in shared.items()}
    ratios = median(cpu["plain"]) / median(cpu["ours"]), median(cpu["bytecode"]) / median(cpu["ours"])
    met = ratios[0] >= 14 and ratios[1] >= 3.5
    return [
        _row("cold first link, CPU", "ms", cpu, "349", {"target": "≤ 1/14 and ≤ 1/3.5 of plain", "met": met}),
        _row("… instructions (cachegrind, if it is here)", "millions", counts, "–", {}),
        _row("… peak memory", "MB", peak, "62", at_most(peak["ours"], 36)),
        _row(f"… wall at {SHARE} vCPU", "s", wall, "1.06", at_most(wall["ours"], 0.6)),
    ]


def first_link(
    bench: Bench,
    cloud: CloudProcess,
    module: str,
    code: Code,
    share: float | None = None,
    count: Path | None = None,
) -> Answer:
    """Start a process, give it the event of a new instance that asks for a link, and check that the rule stands. Its
    instructions are counted into the file `count`."""
    (asker,) = cloud(worlds.askers, 1, 1)
    before = counting(count) if count else ()
    env = cloud.env if code is bench.ours else cloud.peer_env
    with Worker(code, {**env, **bench.env}, share, before) as worker:
        answer = worker.call(module, events.launched(asker.instance), timeout=PATIENCE if count else TIMEOUT)
        if count:
            worker.end()
    assert answer.error is None, answer.error
    assert module == "floor" or cloud(worlds.standing, [asker.group]) == 1, answer.result
    return answer


def count(bench: Bench, cloud: CloudProcess, module: str, code: Code) -> float:
    """The instructions of a first link, in millions; valgrind must be here."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "count"
        first_link(bench, cloud, module, code, count=file)
        return counted(file) / 1e6


def _counted(bench: Bench, cloud: CloudProcess, module: str, code: Code) -> Cell:
    return [count(bench, cloud, module, code)] if can_count() else "–"


def _row(figure: str, unit: str, samples: Mapping[str, Cell], before: str, target: dict[str, str | bool]) -> Row:
    return Row(
        figure,
        unit,
        samples["ours"],
        floor=samples["floor"],
        plain=samples["plain"],
        plain_bytecode=samples["bytecode"],
        before=before,
        **target,  # type: ignore[arg-type]
    )


def usd(seconds: float, vcpu: float, mb: int) -> float:
    """The price of one call."""
    per_second = vcpu * CU_PER_VCPU_SECOND + mb / 1024 * CU_PER_GB_SECOND + DISK_GB * CU_PER_DISK_SECOND
    return (CU_PER_CALL + seconds * per_second) * USD_PER_CU


def cost(bench: Bench) -> list[Row]:
    """An event that makes a link, in a new process and in a warm one, and one of an instance that asks for nothing."""
    rows = []
    with CloudProcess() as cloud:
        cloud(worlds.slow, LATENCY)
        for vcpu, mb in SIZES:
            cold, warm, untagged = _seconds(bench, cloud, vcpu)
            size = f"{vcpu} vCPU, {mb} MB"
            rows += [
                Row(f"first link, cold, {size}", "s", cold),
                Row(f"first link, warm, {size}", "s", warm),
                Row(f"untagged instance, warm, {size}", "s", untagged),
            ]
            prices = [f"{1e6 * usd(median(samples), vcpu, mb):.2f}" for samples in (cold, warm, untagged)]
            rows.append(Row("… a million of each", "USD", " / ".join(prices)))
    return rows


def _seconds(bench: Bench, cloud: CloudProcess, share: float) -> tuple[list[float], list[float], list[float]]:
    cold, warm, untagged = [], [], []
    for _ in range(min(COST_ROUNDS, bench.rounds)):
        first, second = cloud(worlds.askers, 2, 2)
        (third,) = cloud(worlds.askers, 1, 1, asking=False)
        with Worker(bench.ours, {**cloud.env, **bench.env}, share) as worker:
            cold.append(worker.call("auto_link", events.launched(first.instance)).wall)
            warm.append(worker.call("auto_link", events.launched(second.instance)).wall)
            untagged.append(worker.call("auto_link", events.launched(third.instance)).wall)
        assert cloud(worlds.standing, [first.group, second.group]) == 2
    return cold, warm, untagged
