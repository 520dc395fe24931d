"""What events cost on instances of several sizes: seconds, and what Function Compute asks for them."""

from __future__ import annotations

from statistics import median

from benchmarks import events, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.process import Worker
from benchmarks.runner import LATENCY, Bench, Row

SIZES = ((0.1, 128), (0.25, 256), (0.35, 384), (0.5, 512))
"""vCPU and MB: at least 1 GB and at most 4 GB for each vCPU, in steps of 0.05 and of 64 [doc instance specifications]."""
ROUNDS = 5

# [doc "Pay-as-you-go", help page of Function Compute, updated 2025-01-24]
USD_PER_CU = 0.000020
CU_PER_CALL, CU_PER_VCPU_SECOND, CU_PER_GB_SECOND, CU_PER_DISK_SECOND = 75 / 10_000, 1.0, 0.15, 0.05
DISK_GB = 0.5


def usd(seconds: float, vcpu: float, mb: int) -> float:
    """The price of one call."""
    per_second = vcpu * CU_PER_VCPU_SECOND + mb / 1024 * CU_PER_GB_SECOND + DISK_GB * CU_PER_DISK_SECOND
    return (CU_PER_CALL + seconds * per_second) * USD_PER_CU


def measure(bench: Bench) -> list[Row]:
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
    for _ in range(min(ROUNDS, bench.rounds)):
        first, second = cloud(worlds.askers, 2, 2)
        (third,) = cloud(worlds.askers, 1, 1, asking=False)
        with Worker(bench.ours, {**cloud.env, **bench.env}, share) as worker:
            cold.append(worker.call("auto_link", events.launched(first.instance)).wall)
            warm.append(worker.call("auto_link", events.launched(second.instance)).wall)
            untagged.append(worker.call("auto_link", events.launched(third.instance)).wall)
        assert cloud(worlds.standing, [first.group, second.group]) == 2
    return cold, warm, untagged
