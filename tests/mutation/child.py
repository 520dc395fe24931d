"""A process of its own for a piece of work, with a folder for its files and without output."""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

WORKERS = len(os.sched_getaffinity(0))
BROKEN = 125
"""The exit code where the work itself failed."""


class Child:
    """Starts `work(folder)`, whose result is the exit code."""

    def __init__(self, work: Callable[[Path], int]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mutant-"))
        self.pid = os.fork()
        if self.pid == 0:
            self._run(work)

    def wait(self) -> tuple[int, float]:
        """The exit code, or the negative number of a signal; and the CPU seconds."""
        _, status, usage = os.wait4(self.pid, 0)
        return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime

    def error(self) -> str:
        """Where the work itself failed: the traceback."""
        path = self.folder / "error"
        return path.read_text() if path.exists() else ""

    def remove(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, work: Callable[[Path], int]) -> None:
        code = BROKEN
        try:
            devnull = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(devnull, stream)
            os.environ["TMPDIR"] = os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.tempdir = str(self.folder)
            code = work(self.folder)
        except BaseException:
            (self.folder / "error").write_text(traceback.format_exc())
        finally:
            os._exit(code)
