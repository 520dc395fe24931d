"""Worker processes, and the share of a CPU that they get."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from msgspec import Struct

WORKER = Path(__file__).with_name("worker.py")
PERIOD, POLL = 0.02, 0.001  # seconds


class Answer(Struct, frozen=True):
    """What a worker measured in itself; `wall` is the time between command and answer, seen from outside.

    For the first command, `wall` counts from the start of the process.
    """

    cpu: float
    seconds: float
    peak: float
    error: str | None
    result: str
    wall: float = 0.0


class Code(Struct, frozen=True):
    """What a worker runs: a Python, and the folders from which it imports."""

    python: str
    folders: Sequence[str]


class Worker:
    """One process, in which handlers run. `share` is the part of one CPU that it may use; None for all of it."""

    def __init__(
        self, code: Code, env: Mapping[str, str], share: float | None = None, before: Sequence[str] = ()
    ) -> None:
        """`before` are words that come before the command, such as those of a program that counts."""
        command = [*before, code.python, "-I", "-S", "-B", str(WORKER), *code.folders]
        self._began: float | None = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=dict(env), text=True
        )
        if share is not None:
            threading.Thread(target=_hold_back, args=(self._process, share), daemon=True).start()

    def call(self, module: str, event: bytes | str, timeout: float = 120) -> Answer:
        """Run one handler. RuntimeError if the process ended."""
        start, self._began = self._began or time.perf_counter(), None
        text = event.decode() if isinstance(event, bytes) else event
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"module": module, "event": text, "timeout": timeout}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker of {module} ended with {self._process.wait()}")
        return Answer(**json.loads(line), wall=time.perf_counter() - start)

    def end(self) -> None:
        """Let the process end by itself."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used, user and system [clock_getcpuclockid(3), as glibc makes the id]."""
    return time.clock_gettime((~pid << 3) | 2)


def _hold_back(process: subprocess.Popen[str], share: float) -> None:
    """Stop a process while it has used more than its share, as the kernel's bandwidth control does.

    A process that waits saves up at most one period's share; one that used too much waits until that is made up for.
    """
    allowance, used, then, stopped = share * PERIOD, 0.0, time.perf_counter(), False
    while process.poll() is None:
        try:
            now, cpu = time.perf_counter(), cpu_seconds(process.pid)
        except OSError:
            return
        allowance = min(allowance + share * (now - then), share * PERIOD) - (cpu - used)
        used, then = cpu, now
        if (allowance <= 0) != stopped:
            stopped = allowance <= 0
            os.kill(process.pid, signal.SIGSTOP if stopped else signal.SIGCONT)
        time.sleep(POLL)


def run_json(python: str, code: str) -> Any:
    """What a short program prints, read as JSON."""
    process = subprocess.run([python, "-I", "-c", code], capture_output=True, check=True, text=True)
    return json.loads(process.stdout)


def python_version(python: str = sys.executable) -> str:
    """Such as `3.10.13`."""
    return str(run_json(python, "import json, platform; print(json.dumps(platform.python_version()))"))


def can_count() -> bool:
    """Whether valgrind is here."""
    return shutil.which("valgrind") is not None


def counting(file: Path) -> list[str]:
    """What comes before a command whose instructions are to be counted into a file: nearly the same in each run,
    whatever else the machine does."""
    return ["valgrind", "-q", "--tool=cachegrind", "--cache-sim=no", f"--cachegrind-out-file={file}"]


def counted(file: Path) -> int:
    """The instructions of a command that has ended."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("summary:"))
