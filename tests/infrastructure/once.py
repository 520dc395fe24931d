"""Folders that take long to make, and that no test changes: made once for all processes and runs of the tests, until
what they are made of changes."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "tests"


def made_once(name: str, inputs: Iterable[Path], make: Callable[[Path], object]) -> Path:
    """A folder that `make` has filled from these files and folders, with this Python."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = FOLDER / f"{name}-{digest(inputs)}"
        if not folder.exists():
            for former_folder in FOLDER.glob(f"{name}-*"):
                shutil.rmtree(former_folder)
            new_folder = FOLDER / f"{name}-new"
            new_folder.mkdir()
            make(new_folder)
            new_folder.rename(folder)
    return folder


def digest(inputs: Iterable[Path]) -> str:
    """What tells whether any file is another, was renamed, or whether this Python is."""
    total = hashlib.sha256(f"{sys.executable} {sys.version}".encode())
    for path in sorted(path for place in inputs for path in _files(place)):
        total.update(f"\0{path}\0".encode() + path.read_bytes())
    return total.hexdigest()[:16]


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for path in place.rglob("*"):
        if (
            path.is_file()
            and "__pycache__" not in path.parts
            and not any(part.endswith(".egg-info") for part in path.parts)
        ):
            yield path
