"""Fetches what requirements.txt pins, each archive by its hash, and installs it for a runtime of Function Compute.

pip installs for another Python from wheels only, and some of the pinned packages are published as source only. Those
are pure Python, so wheels are built from them first, by the builder that requirements-build.txt pins, which nothing
else is added to: a build in isolation would fetch whatever version is the newest.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec
from link_peer.domain.errors import LinkPeerError
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from link_peer_deploy.project import ROOT

SOURCE_ONLY = frozenset({"alibabacloud-tea", "aliyun-log-python-sdk"})
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
NO_SPACE = os.strerror(errno.ENOSPC)
HASHED = ("--require-hashes", "--no-deps")
RUN = (
    "-c",
    "import sys; sys.path[:] = filter(None, sys.path); import runpy; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)",
)
"""Options of Python that run a module. -m would take it, and all that it imports, from the folder that this is run in
first: a checkout that is built for review."""

_REPLACED = re.compile(r"^ +(\S+==\S+) from ", re.MULTILINE)  # in what pip says of a file that has none of the hashes


class PackageError(LinkPeerError):
    """There is no package. The text says why and what to do."""


class Pin(msgspec.Struct, frozen=True):
    """A pinned distribution: `name==version`, and the SHA-256 of each archive that it is published as."""

    requirement: str
    digests: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name, as the index spells it in addresses."""
        return canonicalize_name(self.requirement.partition("==")[0])

    def __str__(self) -> str:
        """The line of a requirements file."""
        return " ".join([self.requirement, *(f"--hash=sha256:{digest}" for digest in self.digests)])


def pins(requirements: str, runtime: str) -> list[Pin]:
    """The pins of a requirements file that apply to the runtime's Python on Linux. Its options, such as `-r`, are
    passed over.

    pip evaluates markers for the Python it runs on, even when it installs for another.
    """
    environment = {"python_version": runtime.removeprefix("python"), "sys_platform": "linux"}
    applicable_pins = []
    for line in requirements.replace("\\\n", " ").splitlines():
        pinned, *digests = line.partition("#")[0].strip().split("--hash=sha256:")
        if pinned and not pinned.startswith("-"):
            read = Requirement(pinned.strip())
            if read.marker is None or read.marker.evaluate(environment):
                applicable_pins.append(Pin(f"{read.name}{read.specifier}", tuple(digest.strip() for digest in digests)))
    return applicable_pins


def install(package: Path, runtime: str) -> dict[str, str]:
    """Install what requirements.txt pins into the package folder, without resolving further dependencies.

    Returns the SHA-256 of the archive that was fetched for each distribution, by the distribution's canonical name.
    Raises PackageError; also for an archive that has none of the hashes that requirements.txt gives for it.
    """
    all_pins = pins((ROOT / "requirements.txt").read_text(encoding="utf-8"), runtime)
    sources = [pin for pin in all_pins if pin.name in SOURCE_ONLY]
    target = ["--only-binary", ":all:", "--implementation", "cp", "--python-version", runtime.removeprefix("python")]
    for platform in PLATFORMS:
        target += ["--platform", platform]
    with tempfile.TemporaryDirectory() as folder:
        fetched, built, builder = (Path(folder, name) for name in ("fetched", "built", "builder"))
        listed = _listed(Path(folder, "wheels.txt"), (pin for pin in all_pins if pin.name not in SOURCE_ONLY))
        _pip("download", *HASHED, *target, "--dest", str(fetched), "--requirement", listed)
        if sources:
            build_with = str(ROOT / "requirements-build.txt")
            _pip("install", *HASHED, "--only-binary", ":all:", "--target", str(builder), "--requirement", build_with)
            # a wheel in the cache may be of another builder
            options = ["--no-cache-dir", "--no-build-isolation", "--use-pep517", "--wheel-dir", str(built)]
            listed = _listed(Path(folder, "sources.txt"), sources)
            _pip("wheel", *HASHED, *options, "--requirement", listed, path=str(builder))
        wheels = [*sorted(fetched.glob("*.whl")), *sorted(built.glob("*.whl"))]
        into = ["--no-index", "--no-deps", "--no-compile", *target, "--target", str(package)]
        _pip("install", *into, *map(str, wheels))
        digests = {
            str(parse_wheel_filename(wheel.name)[0]): hashlib.sha256(wheel.read_bytes()).hexdigest()
            for wheel in fetched.glob("*.whl")
        }
    return digests | {pin.name: pin.digests[0] for pin in sources}


def _listed(path: Path, pinned: Iterable[Pin]) -> str:
    path.write_text("".join(f"{pin}\n" for pin in pinned), encoding="utf-8")
    return str(path)


def _pip(*arguments: str, path: str = "") -> None:
    """Run pip, with a folder on Python's path. Raises PackageError with what it says last: an index that is not
    reached, a version that is gone, a full disk."""
    command = [sys.executable, *RUN, "pip", "--quiet", "--disable-pip-version-check", *arguments]
    env = {**os.environ, "PYTHONPATH": path} if path else None
    process = subprocess.run(command, check=False, capture_output=True, encoding="utf-8", errors="replace", env=env)
    if process.returncode:
        if NO_SPACE in process.stderr:
            raise PackageError(f"pip could not install the SDKs: {NO_SPACE}")
        if replaced := _REPLACED.search(process.stderr):
            raise PackageError(
                f"the package index gave a file for {replaced[1]} that has none of the hashes of requirements.txt:"
                " it is not the one that was tested"
            )
        lines = [line for line in process.stderr.splitlines() if line.strip()] or ["it says nothing"]
        error_lines = [line for line in lines if line.startswith("ERROR: ") and line != "ERROR: Exception:"]
        problem = (error_lines or lines)[-1].removeprefix("ERROR: ")
        raise PackageError(f"pip could not fetch the SDKs (is its package index reached?): {problem.strip()}")
