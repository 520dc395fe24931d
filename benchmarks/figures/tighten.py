"""What `tighten --all` takes of an estate: queries of its flow logs through the client of the log service, calls, CPU
and memory.

`python -m benchmarks tighten` measures 300 groups with 1,000 interfaces; `python -m benchmarks.figures.tighten 3000
10000` prints the same table for other sizes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml
from link_peer_cli.demo.local_cloud import describe, environment
from msgspec import Struct

from benchmarks import estate, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.estate import Estate
from benchmarks.figures.people import REFUSING, Run, run
from benchmarks.runner import Bench, Row, table

SIZE = Estate(300, 1000)
FILE = "links.yaml"
COMMANDS = (["tighten", "--all", "--json"], ["tighten", "--all", "--propose", FILE, "--json"])


class Measured(Struct, frozen=True):
    """A command, with its process, its calls by API, and what it said of rules."""

    command: Sequence[str]
    took: Run
    calls: Counter[str]
    rules: list[dict[str, object]]

    def rows(self, size: Estate) -> list[Row]:
        """Calls, and what the process took."""
        words = f"`{' '.join(self.command)}` of {size.groups:,} groups, {size.interfaces:,} interfaces"
        calls = ", ".join(f"{count:,} {name}" for name, count in sorted(self.calls.items()))
        return [
            Row(f"{words}, calls", "", calls),
            Row(f"{words}, CPU", "s", [self.took.cpu]),
            Row(f"{words}, wall", "s", [self.took.wall]),
            Row(f"{words}, peak memory", "MB", [self.took.peak]),
        ]


class Measurement(Struct, frozen=True):
    """An estate: how many lines its flow logs have, how many links are proposed, and the commands."""

    size: Estate
    lines: int
    links: int
    commands: list[Measured]

    def rows(self) -> list[Row]:
        """All of it."""
        rules = self.commands[0].rules
        uses = Counter(str(rule["use"]) for rule in rules)
        words = ", ".join(f"{count:,} {use}" for use, count in sorted(uses.items()))
        summary = f"{self.lines:,} lines; {len(rules):,} wide rules: {words}; {self.links:,} links"
        head = Row(f"an estate of {self.size.groups:,} groups, {self.size.interfaces:,} interfaces", "", summary)
        return [head, *(row for command in self.commands for row in command.rows(self.size))]


def measure(_bench: Bench) -> list[Row]:
    """Each command, once."""
    return measured(SIZE).rows()


def measured(size: Estate) -> Measurement:
    """Every command on an estate of a size; one that fails is an error."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        (scratch / "world.yaml").write_text(yaml.safe_dump(size.world(), sort_keys=False), encoding="utf-8")
        with CloudProcess(str(scratch / "world.yaml")) as cloud:
            env = {"PATH": os.environ.get("PATH", ""), "HOME": folder, **environment(cloud(describe))}
            lines = cloud(estate.capture, size)
            commands = [_measured(cloud, command, env, scratch) for command in COMMANDS]
        links = yaml.safe_load((scratch / FILE).read_text(encoding="utf-8"))["links"]
        return Measurement(size, lines, len(links), commands)


def _measured(cloud: CloudProcess, command: Sequence[str], env: dict[str, str], scratch: Path) -> Measured:
    cloud(worlds.calls)
    took = run(command, env, scratch)
    if took.code not in REFUSING:
        raise RuntimeError(f"{command} exits with {took.code}: {took.output[-400:]}")
    calls = Counter(f"{call.service}.{call.action}" for call in cloud(worlds.calls))
    documents = [json.loads(line) for line in took.output.splitlines() if line.startswith("{")]
    return Measured(command, took, calls, documents)


if __name__ == "__main__":
    print(table(measured(Estate(*map(int, sys.argv[1:]))).rows()))
