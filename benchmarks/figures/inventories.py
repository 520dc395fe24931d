"""What inventories take of `--groups` groups in five accounts, and the audit log of 100,000 records; with `--before
REF`, in the same run as at another commit. On two busy cores, three rounds beside another commit take six minutes with
300 groups; one takes ten with 3,000."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import yaml
from link_peer_cli.demo.local_cloud import environment

from benchmarks import company, ref, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.company import Company
from benchmarks.figures.people import REFUSING, run
from benchmarks.runner import ROOT, Bench, Row, cell_text

RECORDS = 100_000
COMMANDS = (
    ["links", "--json"],
    ["doctor", "--json"],
    ["plan", "--policy", "new.yaml", "--json"],
    ["map", "--out", "map.json"],
    ["sweep", "--dry-run", "--json"],
    ["audit"],
)


def measure(bench: Bench) -> list[Row]:
    """Two rows for each command: CPU seconds, and calls."""
    new_company = Company(bench.groups // len(company.ACCOUNTS))
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "world.yaml").write_text(yaml.safe_dump(new_company.world(), sort_keys=False), encoding="utf-8")
        policy = {**new_company.policy(), "deny": {"ports": ["tcp/6379"]}}
        (scratch / "new.yaml").write_text(json.dumps(policy), encoding="utf-8")
        sources = {"now": ref.environment(ROOT)}
        if bench.before:
            ref.checkout(bench.before, scratch / "before")
            sources["before"] = ref.environment(scratch / "before")
        with CloudProcess(str(scratch / "world.yaml")) as cloud:
            described = cloud(company.settings)
            env = {"PATH": os.environ.get("PATH", ""), "HOME": folder, **environment(described)}
            run(["sweep"], env, scratch)
            cloud(company.open_requested, new_company.requested_pairs())
            cloud(company.record, new_company.requested_pairs(), 0)
            rows = []
            for command in COMMANDS:
                if command == ["audit"]:  # the local cloud sorts the whole log for each page
                    cloud(company.record, new_company.requested_pairs(), RECORDS)
                samples: dict[str, list[tuple[float, float]]] = {name: [] for name in sources}
                for _ in range(bench.rounds):
                    for name, source in sources.items():
                        samples[name].append(_sample(cloud, command, {**env, **source}, scratch))
                rows += _rows(command, len(new_company.groups), samples)
            return rows


def _sample(cloud: CloudProcess, command: Sequence[str], env: dict[str, str], scratch: Path) -> tuple[float, float]:
    """CPU seconds and calls of one run."""
    cloud(worlds.calls)
    result = run(command, env, scratch)
    if result.code not in REFUSING:
        raise RuntimeError(f"{command} exits with {result.code}: {result.output[-400:]}")
    return result.cpu, float(len(cloud(worlds.calls)))


def _rows(command: Sequence[str], groups: int, samples: dict[str, list[tuple[float, float]]]) -> list[Row]:
    rows = []
    for place, unit in enumerate(("s of CPU", "calls")):
        now, before = ([sample[place] for sample in samples.get(name, ())] for name in ("now", "before"))
        count = f"{groups:,} groups" if command != ["audit"] else f"{RECORDS:,} records"
        words = f"`{' '.join(command)}` of {count}"
        row = Row(words, unit, now, before=cell_text(before) if before else "–")
        if before and unit == "s of CPU" and command != ["audit"]:
            limit = median(before) / 2
            row = Row(words, unit, now, f"≤ {limit:.1f}", median(now) <= limit, before=cell_text(before))
        rows.append(row)
    return rows
