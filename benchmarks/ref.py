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


def output(ref: str, module: str, arguments: Sequence[str]) -> str:
    """What `python -m <module>` of these benchmarks prints with the sources of a commit. Raises CalledProcessError."""
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", ref], capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory(prefix="link-peer-") as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(str(Path(folder, name)) for name in FOLDERS)}
        command = [sys.executable, "-m", module, *arguments]
        return subprocess.run(command, capture_output=True, check=True, text=True, env=env, cwd=ROOT).stdout
