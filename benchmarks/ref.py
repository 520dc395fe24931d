"""The same figure with the sources of another commit, for a column beside it in one run."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.runner import ROOT

FOLDERS = ("functions", "shared", "cli", "deploy", "local")


def checkout(ref: str, folder: Path) -> None:
    """Puts the files of a commit into a folder. Raises CalledProcessError."""
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", ref], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")


def environment(folder: Path) -> dict[str, str]:
    """The variable with which a process imports the sources in a folder."""
    return {"PYTHONPATH": os.pathsep.join(str(folder / name) for name in FOLDERS)}


def output(ref: str, module: str, arguments: Sequence[str]) -> str:
    """What `python -m <module>` of these benchmarks prints with the sources of a commit. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory(prefix="link-peer-") as folder:
        checkout(ref, Path(folder))
        env = {**os.environ, **environment(Path(folder))}
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, capture_output=True, check=True, text=True, env=env, cwd=ROOT).stdout
