"""Builds build/package: one flat folder for all three functions, as Function Compute unpacks it into /code.

The package is built for the runtime that s.yaml names (python3.10: Debian 10, glibc 2.28), whatever Python this runs
on. pip installs for another Python from wheels only, and some of the pinned packages are published as source only.
Those are pure Python, so wheels are built from them first.

Modules are compiled by Python 3.10 if there is one (`python3.10`, or the one that RUNTIME_PYTHON names). The byte code
is not checked against the sources when it is loaded: the upload changes file times, so checked byte code would look
stale and be compiled again at each cold start.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
VERSION = "3.10"
SOURCE_ONLY = frozenset(
    {
        "alibabacloud-endpoint-util",
        "alibabacloud-fc-open20210406",
        "alibabacloud-gateway-fc-util",
        "alibabacloud-tea",
        "aliyun-log-python-sdk",
    }
)
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
UNUSED = ("bin", "*/tests")  # scripts, and the tests of the dependencies
LOADED = "import auto_link, cross_account, sweep, link_peer.alicloud.ecs, link_peer.alicloud.sls, link_peer.alicloud.sts, mns.account"


def main() -> None:
    """Replace build/package, and print its size."""
    package = ROOT / "build" / "package"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    dependencies(package)
    own_code(package)
    compiled = compile_modules(package)
    size = sum(file.stat().st_size for file in package.rglob("*") if file.is_file())
    print(f"build/package: {size / 1e6:.0f} MB for Python {VERSION}, {compiled}")


def own_code(package: Path) -> None:
    """Copy the handlers, link_peer/ and the policy file into the package folder."""
    for source in (ROOT / "functions").glob("*.py"):
        shutil.copy(source, package)
    shutil.copytree(ROOT / "shared" / "link_peer", package / "link_peer", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "policy.yaml", package)


def dependencies(package: Path) -> None:
    """Install what requirements.txt pins, without resolving further dependencies."""
    wanted = pins((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    sources = [pin for pin in wanted if pin.partition("==")[0] in SOURCE_ONLY]
    with tempfile.TemporaryDirectory() as wheels:
        _pip("wheel", "--no-deps", "--wheel-dir", wheels, *sources)
        target = ["--implementation", "cp", "--python-version", VERSION, "--only-binary", ":all:"]
        for platform in PLATFORMS:
            target += ["--platform", platform]
        target += ["--target", str(package)]
        _pip("install", "--no-deps", "--no-compile", "--find-links", wheels, *target, *wanted)
    for pattern in UNUSED:
        for folder in package.glob(pattern):
            shutil.rmtree(folder)


def pins(requirements: str) -> list[str]:
    """The pinned requirements, `name==version`, that apply to the runtime's Python on Linux.

    pip evaluates markers for the Python it runs on, even when it installs for another.
    """
    environment = {"python_version": VERSION, "sys_platform": "linux"}
    lines = (line.partition("#")[0].strip() for line in requirements.splitlines())
    read = [Requirement(line) for line in lines if line]
    return [f"{r.name}{r.specifier}" for r in read if r.marker is None or r.marker.evaluate(environment)]


def compile_modules(package: Path) -> str:
    """Compile with the runtime's Python and import the functions with it; return a short report.

    Exits if RUNTIME_PYTHON is another version. Without a Python 3.10 nothing is compiled.
    """
    python = os.environ.get("RUNTIME_PYTHON") or f"python{VERSION}"
    try:
        found = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return f"not compiled: no {python} here (set RUNTIME_PYTHON), so each cold start takes a second or two longer"
    if not found.startswith(f"Python {VERSION}."):
        sys.exit(f"package: {python} is {found.strip()}, the functions run on {VERSION}")
    files = ["-s", str(package), "-p", "/code"]  # /code is what tracebacks show
    subprocess.run(
        [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", *files, package], check=True
    )
    loaded = f"import sys; sys.path[:0] = [{str(package)!r}]; {LOADED}"
    subprocess.run([python, "-I", "-S", "-c", loaded], check=True)
    return "compiled, and its functions load"


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)


if __name__ == "__main__":
    main()
