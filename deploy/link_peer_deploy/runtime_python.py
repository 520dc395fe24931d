"""The runtime of Function Compute that the functions run on, and its Python on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

DEFAULT_RUNTIME = "python3.12"


def runtime_in_use() -> str:
    """The runtime that LINK_PEER_RUNTIME names, else python3.12: s.yaml chooses it in the same way."""
    return os.environ.get("LINK_PEER_RUNTIME") or DEFAULT_RUNTIME


class NotFound(Exception):
    """There is no such Python here. The text says where it was looked for."""


def find(runtime: str) -> str:
    """The path of the runtime's Python: what starts it may have no PATH, as a function's instance.

    It is RUNTIME_PYTHON if that is set, else the first that runs of: the runtime's name on PATH, what pyenv installed,
    and what uv installed. Raises NotFound; also for a RUNTIME_PYTHON of another version.
    """
    version = runtime.removeprefix("python")
    if override := os.environ.get("RUNTIME_PYTHON"):
        override = shutil.which(override) or override
        actual_version = _version(override)
        if not actual_version:
            raise NotFound(f"there is no {override} here")
        if not actual_version.startswith(f"Python {version}."):
            raise NotFound(f"{override} is {actual_version}, and the functions run on {runtime}")
        return override
    for python in _candidates(runtime, version):
        if _version(python).startswith(f"Python {version}."):
            return python
    raise NotFound(f"there is no {runtime} here, neither on PATH nor in pyenv or uv")


def _candidates(runtime: str, version: str) -> Iterator[str]:
    yield shutil.which(runtime) or runtime
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = (path for path in (pyenv / "versions").glob(f"{version}.*") if path.name.rpartition(".")[2].isdecimal())
    for folder in sorted(installed, key=lambda path: int(path.name.rpartition(".")[2]), reverse=True):
        yield str(folder / "bin" / runtime)
    if uv := shutil.which("uv"):
        process = subprocess.run([uv, "python", "find", "--no-project", version], capture_output=True, check=False)
        if process.returncode == 0:
            yield os.fsdecode(process.stdout.strip())


def _version(python: str) -> str:
    """What `python -VV` says; empty if it does not run. A shim of pyenv is found on PATH also where it has nothing to
    run."""
    try:
        return os.fsdecode(subprocess.run([python, "-VV"], capture_output=True, check=True).stdout.strip())
    except (OSError, subprocess.CalledProcessError):
        return ""
