"""Builds build/package: one flat folder for all three functions, as Function Compute unpacks it into /code.

It is built for the runtime that s.yaml names (python3.10: Debian 10, glibc 2.28), whatever Python this runs on. Some of
the pins come as sources only and are pure Python: they are made into wheels first, since pip installs for another
Python from wheels alone. Modules are compiled by that Python if it is at hand (`python3.10`, or what RUNTIME_PYTHON
names), unchecked: the upload gives every file another time, and byte code that looks stale would be compiled again at
each cold start.
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
UNUSED = ("bin", "*/tests")  # scripts, and the libraries' own tests
LOADED = "import auto_link, cross_account, sweep, link_peer.alicloud.ecs, link_peer.alicloud.sls, link_peer.alicloud.sts, mns.account"


def main() -> None:
    package = ROOT / "build" / "package"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    dependencies(package)
    own_code(package)
    compiled = compile_modules(package)
    size = sum(file.stat().st_size for file in package.rglob("*") if file.is_file())
    print(f"build/package: {size / 1e6:.0f} MB for Python {VERSION}, {compiled}")


def own_code(package: Path) -> None:
    """The functions, link_peer/ and the policy."""
    for source in (ROOT / "functions").glob("*.py"):
        shutil.copy(source, package)
    shutil.copytree(ROOT / "shared" / "link_peer", package / "link_peer", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "policy.yaml", package)


def dependencies(package: Path) -> None:
    """requirements.txt, every line of it and nothing else."""
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
    """The lines that hold for a Python on Linux. pip itself would judge them by the Python that it runs on."""
    environment = {"python_version": VERSION, "sys_platform": "linux"}
    lines = (line.partition("#")[0].strip() for line in requirements.splitlines())
    read = [Requirement(line) for line in lines if line]
    return [f"{r.name}{r.specifier}" for r in read if r.marker is None or r.marker.evaluate(environment)]


def compile_modules(package: Path) -> str:
    """Byte code by the runtime's Python, which also loads the functions; what came of it, in words."""
    python = os.environ.get("RUNTIME_PYTHON") or f"python{VERSION}"
    try:
        found = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return f"not compiled: no {python} here (set RUNTIME_PYTHON), so each cold start takes a second or two longer"
    if not found.startswith(f"Python {VERSION}."):
        sys.exit(f"package: {python} is {found.strip()}, the functions run on {VERSION}")
    files = ["-s", str(package), "-p", "/code"]  # in tracebacks: the path that it has there
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
