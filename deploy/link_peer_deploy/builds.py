"""Replaces all files of a build in one step, so that whoever reads them has those of one build, whatever is stopped
when.

As a volume of Kubernetes does (AtomicWriter), with symbolic links:

    build/package.zip            ─▶ package.builds/current/package.zip, and so each file of a build
    build/package.builds/current ─▶ 3f9a…, the folder of the build that is in place

What stops before `current` is replaced leaves the former build, whole, and what stops after it the new one. A build
locks its folder [doc flock(2)], and the system unlocks it when the process ends, however it ends: the next build
removes what is neither locked nor in place.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

BUILDS, CURRENT = "package.builds", "current"
_BUILD_NAME = re.compile(r"[0-9a-f]{16}")


@contextlib.contextmanager
def replacing(out: Path, names: Sequence[str]) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Yield a new folder for the files of these names, and what puts all of them into `out`, in place of the former
    ones.

    If that is not called, `out` shows what it did. Two builds of one folder do not touch each other: the last one
    stays. Raises OSError.
    """
    builds = out / BUILDS
    builds.mkdir(parents=True, exist_ok=True)
    with _locked(builds):
        _clean(builds)
        work = _new(builds)
        work.mkdir()
        lock = _lock(work)

    def put() -> None:
        with _locked(builds):
            if not all(_is_link(out, name) for name in names):
                _link(out, names)
            _point(builds, builds / CURRENT, work.name)

    try:
        yield work, put
    finally:
        os.close(lock)
        with _locked(builds):
            _clean(builds)


def _link(out: Path, names: Sequence[str]) -> None:
    """Make links of these names that show what is there now, files of another origin or nothing."""
    builds = out / BUILDS
    former = _new(builds)
    former.mkdir()
    for name in names:
        if (out / name).is_dir():
            shutil.copytree(out / name, former / name)
        elif (out / name).exists():
            shutil.copyfile(out / name, former / name)
    _point(builds, builds / CURRENT, former.name)
    for name in names:
        _point(builds, out / name, _target(name))


def _point(builds: Path, link: Path, target: str) -> None:
    """Make or replace a symbolic link, in one step; in two where there is a folder, which no link can replace in
    one."""
    beside, aside = _new(builds), _new(builds)
    beside.symlink_to(target)
    try:
        if link.is_dir() and not link.is_symlink():
            link.replace(aside)
        beside.replace(link)
    except BaseException:
        with contextlib.suppress(OSError):  # it was not moved aside, or the link is in its place
            aside.replace(link)
        raise


def _target(name: str) -> str:
    return f"{BUILDS}/{CURRENT}/{name}"


def _is_link(out: Path, name: str) -> bool:
    return (out / name).is_symlink() and os.readlink(out / name) == _target(name)


def _new(builds: Path) -> Path:
    return builds / secrets.token_hex(8)


def _clean(builds: Path) -> None:
    """Remove what no build works in, and `current` does not name."""
    current = builds / CURRENT
    in_place = os.readlink(current) if current.is_symlink() else ""
    for path in builds.iterdir():
        if path.name == in_place or not _BUILD_NAME.fullmatch(path.name):
            continue
        if path.is_symlink():
            path.unlink()
            continue
        with contextlib.suppress(BlockingIOError), _locked(path, fcntl.LOCK_NB):
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path, options: int = 0) -> Iterator[None]:
    lock = _lock(folder, options)
    try:
        yield
    finally:
        os.close(lock)


def _lock(folder: Path, options: int = 0) -> int:
    """Lock a folder until the descriptor is closed. Raises BlockingIOError with LOCK_NB where it is locked."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | options)
    except BaseException:
        os.close(lock)
        raise
    return lock
