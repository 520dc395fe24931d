"""How many instructions a process executes: nearly the same in each run, whatever else the machine does."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path


@cache
def counter() -> str:
    """What counts here: `cachegrind`, `perf`, or nothing. Virtual machines often have no counters for perf."""
    if shutil.which("valgrind"):
        return "cachegrind"
    if shutil.which("perf"):
        tried = subprocess.run([*_perf(Path("/dev/stdout")), "true"], capture_output=True, text=True, check=False)
        if any(line[:1].isdecimal() for line in tried.stdout.splitlines()):
            return "perf"
    return ""


def counting(file: Path) -> list[str]:
    """What comes before a command whose instructions are to be counted into a file."""
    if counter() == "perf":
        return _perf(file)
    return ["valgrind", "-q", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={file}"]


def counted(file: Path) -> int:
    """The instructions of a command that has ended."""
    lines = file.read_text(encoding="utf-8").splitlines()
    if counter() == "perf":
        return next(int(line.partition(",")[0]) for line in lines if line[:1].isdecimal())
    return next(int(line.split()[1]) for line in lines if line.startswith("summary:"))


def _perf(file: Path) -> list[str]:
    return ["perf", "stat", "-x,", "-e", "instructions:u", "-o", str(file)]
