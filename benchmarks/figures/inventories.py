"""What inventories take of 3,000 groups in five accounts, and the audit log of 100,000 records; with `--before REF`, in the same run as at
another commit."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import yaml
from link_peer_cli.demo.local_cloud import environment

from benchmarks import company, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.company import Company
from benchmarks.figures.people import REFUSING, run
from benchmarks.runner import ROOT, Bench, Row, shown

SIZE = 600  # groups of each account
RECORDS = 100_000
PATHS = ("shared", "cli", "deploy", "local")
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
    new_company = Company(SIZE)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "world.yaml").write_text(yaml.safe_dump(new_company.world(), sort_keys=False), encoding="utf-8")
        policy = {**new_company.policy(), "deny": {"ports": ["tcp/6379"]}}
        (scratch / "new.yaml").write_text(json.dumps(policy), encoding="utf-8")
        sources = {"now": ROOT} | ({"before": _checkout(bench.before, scratch)} if bench.before else {})
        with CloudProcess(str(scratch / "world.yaml")) as cloud:
            described = cloud(company.settings)
            env = {"PATH": os.environ.get("PATH", ""), "HOME": folder, **environment(described)}
            run(["sweep"], env, scratch)
            cloud(company.open_requested, new_company.requested_pairs())
            cloud(company.record, new_company.requested_pairs(), RECORDS)
            rows = []
            for command in COMMANDS:
                samples: dict[str, list[tuple[float, float]]] = {name: [] for name in sources}
                for _ in range(bench.rounds):
                    for name, source in sources.items():
                        samples[name].append(_sample(cloud, command, _with_code(env, source), scratch))
                rows += _rows(command, samples)
            return rows


def _checkout(ref: str, scratch: Path) -> Path:
    """The files of a commit."""
    archive = subprocess.run(["git", "archive", ref, *PATHS], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(scratch / "before", filter="data")
    return scratch / "before"


def _with_code(env: dict[str, str], source: Path) -> dict[str, str]:
    return {**env, "PYTHONPATH": os.pathsep.join(str(source / path) for path in PATHS)}


def _sample(cloud: CloudProcess, command: Sequence[str], env: dict[str, str], scratch: Path) -> tuple[float, float]:
    """CPU seconds and calls of one run."""
    cloud(worlds.calls)
    result = run(command, env, scratch)
    if result.code not in REFUSING:
        raise RuntimeError(f"{command} exits with {result.code}: {result.output[-400:]}")
    return result.cpu, float(len(cloud(worlds.calls)))


def _rows(command: Sequence[str], samples: dict[str, list[tuple[float, float]]]) -> list[Row]:
    rows = []
    for place, unit in enumerate(("s of CPU", "calls")):
        now, before = ([sample[place] for sample in samples.get(name, ())] for name in ("now", "before"))
        words = f"`{' '.join(command)}` of 3,000 groups" if command != ["audit"] else "`audit` of 100,000 records"
        row = Row(words, unit, now, before=shown(before) if before else "–")
        if before and unit == "s of CPU" and command != ["audit"]:
            limit = median(before) / 2
            row = Row(words, unit, now, f"≤ {limit:.1f}", median(now) <= limit, before=shown(before))
        rows.append(row)
    return rows
