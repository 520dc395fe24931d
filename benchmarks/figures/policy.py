"""How much CPU the policy reader takes for the largest file, whoever wrote it."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Mapping

from link_peer.domain.errors import PolicyError
from link_peer.inbound import policy_file

from benchmarks.runner import Bench, Row
from benchmarks.worlds import HOME

SECONDS = 5.0
HEAD = f'deployment: prod\naccounts:\n  "{HOME}": {{}}\n'
PARTS = {
    "brackets": ("deny: ", "["),
    "braces": ("deny: ", "{"),
    "spaces": ("mutual: allow", " "),
    "lists in a line": ("deny: ", "[x], "),
    "ports": ("deny: {ports: [", "tcp/1, "),
    "entries": ("allow:\n", f'  - {{from: "sg-a@{HOME}", to: "sg-b@{HOME}"}}\n'),
}
"""What hostile and honest files consist of: how the text begins, and what is repeated."""


def texts(size: int = policy_file.MAX_BYTES) -> Mapping[str, str]:
    """Policy files of this size; most are refused."""
    return {
        name: HEAD + start + part * ((size - len(HEAD + start)) // len(part)) for name, (start, part) in PARTS.items()
    }


def measure(bench: Bench, size: int = policy_file.MAX_BYTES) -> list[Row]:
    """Each kind of text at the size at which it is not refused for its length."""
    rows = []
    for name, text in texts(size).items():
        samples = []
        for _ in range(bench.rounds):
            start = time.process_time()
            policy_file.parse.cache_clear()
            with contextlib.suppress(PolicyError):
                policy_file.parse(text)
            samples.append(time.process_time() - start)
        title = f"read a policy file of {size // 1024} KB: {name}"
        rows.append(Row(title, "CPU s", samples, f"≤ {SECONDS:g}", statistics.median(samples) <= SECONDS))
    return rows
