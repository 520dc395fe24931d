"""The Python of a runtime of Function Compute on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path


class NotFound(Exception):
    """There is no such Python here. The text says where it was looked for."""


def find(runtime: str) -> str:
    """The path of a runtime's Python: a function's instance may have no PATH.

    It is RUNTIME_PYTHON if that is set and of the version, else the first that runs of: the runtime's name on PATH,
    what pyenv installed, and what uv installed. Raises NotFound.
    """
    version = runtime.removeprefix("python")
    for python in _candidates(runtime, version):
        if _version(python).startswith(f"Python {version}."):
            return python
    raise NotFound(f"there is no {runtime} here, neither in RUNTIME_PYTHON nor on PATH, in pyenv or uv")


def _candidates(runtime: str, version: str) -> Iterator[str]:
    for name in filter(None, (os.environ.get("RUNTIME_PYTHON"), runtime)):
        yield shutil.which(name) or name
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = (path for path in (pyenv / "versions").glob(f"{version}.*") if path.name.rpartition(".")[2].isdecimal())
    for folder in sorted(installed, key=lambda path: int(path.name.rpartition(".")[2]), reverse=True):
        yield str(folder / "bin" / runtime)
    if uv := shutil.which("uv"):
        command = [uv, "python", "find", "--no-project", version]
        process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if process.returncode == 0:
            yield process.stdout.strip()


def _version(python: str) -> str:
    """What `python -VV` says; empty if it does not run. A shim of pyenv is found on PATH also where it has nothing to
    run."""
    try:
        return subprocess.run([python, "-VV"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
