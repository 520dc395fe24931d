"""The first event of an instance of the function: CPU, memory, and time on 0.35 of a CPU."""

from __future__ import annotations

from statistics import median

from benchmarks import events, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.process import Answer, Code, Worker
from benchmarks.runner import SHARE, Bench, Row, at_most

SLOW_ROUNDS = 3  # of the runs with a share of a CPU, which take seconds


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
    cpu = {name: [answer.cpu * 1000 for answer in answers] for name, answers in whole.items()}
    peak = {name: [answer.peak for answer in answers] for name, answers in whole.items()}
    wall = {name: [answer.wall for answer in answers] for name, answers in shared.items()}
    ratios = median(cpu["plain"]) / median(cpu["ours"]), median(cpu["bytecode"]) / median(cpu["ours"])
    met = ratios[0] >= 10 and ratios[1] >= 2.6
    return [
        _row("cold first link, CPU", "ms", cpu, "349", {"target": "≤ 1/10 and ≤ 1/2.6 of plain", "met": met}),
        _row("… peak memory", "MB", peak, "62", at_most(peak["ours"], 42)),
        _row(f"… wall at {SHARE} vCPU", "s", wall, "1.06", at_most(wall["ours"], 0.6)),
    ]


def first_link(bench: Bench, cloud: CloudProcess, module: str, code: Code, share: float | None = None) -> Answer:
    """Start a process, give it the event of a new instance that asks for a link, and check that the rule stands."""
    (asker,) = cloud(worlds.askers, 1, 1)
    with Worker(code, {**cloud.env, **bench.env}, share) as worker:
        answer = worker.call(module, events.launched(asker.instance))
    assert answer.error is None, answer.error
    assert module == "floor" or cloud(worlds.standing, [asker.group]) == 1, answer.result
    return answer


def _row(figure: str, unit: str, samples: dict[str, list[float]], before: str, target: dict[str, str | bool]) -> Row:
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
