"""How many instructions a process executes: nearly the same in each run, whatever else the machine does."""

from __future__ import annotations

import shutil
from pathlib import Path


def can_count() -> bool:
    """Whether valgrind is here."""
    return shutil.which("valgrind") is not None


def counting(file: Path) -> list[str]:
    """What comes before a command whose instructions are to be counted into a file."""
    return ["valgrind", "-q", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={file}"]


def counted(file: Path) -> int:
    """The instructions of a command that has ended."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("summary:"))
