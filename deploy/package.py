"""Builds build/package: one flat folder for all three functions, as Function Compute unpacks it into /code; and its zip.

Run as `python -m deploy.package`. The package is built for one runtime of Function Compute, `python3.12` unless LINK_PEER_RUNTIME
names another, whatever Python this runs on. pip installs for another Python from wheels only, and some of the pinned packages
are published as source only. Those are pure Python, so wheels are built from them first.

What the SDKs bring along and no call of ours uses is left out: link_peer/alicloud/leave_out.py says what, and stands in for it.

Modules are compiled by the runtime's Python, which deploy/runtime_python.py finds. Without it, a cold start takes four times as
long, so there is no package, unless `--uncompiled` asks for one. The byte code is not checked against the
sources when it is loaded: the upload changes file times, so checked byte code would look stale and be compiled again at each
cold start.

The package holds the policy: one that is invalid, or contradicts its own `tests`, stops the build. The queues that it gives
accounts become triggers, in build/request-triggers.json, which s.yaml includes.

Two builds from the same sources are equal, byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from link_peer.alicloud.leave_out import LEFT_OUT
from link_peer.domain.errors import PolicyError
from link_peer.domain.policy import Policy
from link_peer.inbound import policy_file
from link_peer.planning import policy_tests
from link_peer_local.fc.manifest import REQUEST_TRIGGERS, request_triggers
from packaging.requirements import Requirement

from deploy import runtime_python

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = os.environ.get("LINK_PEER_RUNTIME") or "python3.12"
GLIBC = {"python3.10": (2, 28), "python3.12": (2, 31)}
"""The runtimes that the package can be built for, each with the glibc of its system: Debian 10 and Debian 11 [doc FC runtimes]."""
SOURCE_ONLY = frozenset({"alibabacloud-tea", "aliyun-log-python-sdk"})
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
UNUSED = (
    "bin",  # scripts
    "*/tests",
    "wrapt-stubs",
    "aliyun/__init__.py",  # these import what is not used; without them, the folders are namespace packages
    "aliyun/log/__init__.py",
    "urllib3/http2/__init__.py",
    "aliyun/log/_proto_py2",
    "google/protobuf/compiler",
    "google/protobuf/testdata",
    "google/protobuf/util",
    "_yaml",  # libyaml, without which PyYAML does the same
    "yaml/_yaml.*",
    "*.dist-info/INSTALLER",
    "*.dist-info/RECORD",
    "*.dist-info/REQUESTED",
    "*.dist-info/WHEEL",
    "*.dist-info/direct_url.json",
    "*.dist-info/entry_points.txt",
    "*.dist-info/top_level.txt",
)
"""Files that nothing asks for."""
MAX_ZIP, MAX_UNPACKED = 10_000_000, 40_000_000
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can hold


def main() -> None:
    """Replace build/package and build/package.zip, and print what they contain."""
    parser = argparse.ArgumentParser(description="Build the package that s.yaml deploys.")
    parser.add_argument(
        "--uncompiled", action="store_true", help="build without the runtime's Python, for a test of it"
    )
    options = parser.parse_args()
    if RUNTIME not in GLIBC:
        sys.exit(f"package: LINK_PEER_RUNTIME is {RUNTIME}, and can be {' or '.join(GLIBC)}")
    try:
        python = None if options.uncompiled else runtime_python.find(RUNTIME)
    except runtime_python.NotFound as missing:
        sys.exit(f"package: {missing}: install it, set RUNTIME_PYTHON, or pass --uncompiled")
    package = ROOT / "build" / "package"
    shutil.rmtree(package, ignore_errors=True)
    package.with_suffix(".zip").unlink(missing_ok=True)  # `s deploy` must not find an older one if this build fails
    policy = checked_policy()
    package.mkdir(parents=True)
    write_triggers(policy, ROOT / REQUEST_TRIGGERS)
    dependencies(package)
    leave_out(package)
    own_code(package)
    check_glibc(package)
    if python:
        compile_modules(package, python)
    archive = pack(package)
    size = sum(file.stat().st_size for file in package.rglob("*") if file.is_file())
    print(
        f"build/package: {size / 1e6:.1f} MB for {RUNTIME}, {'compiled' if python else 'NOT COMPILED'}\n"
        f"build/package.zip: {archive.stat().st_size / 1e6:.1f} MB, SHA-256 {hashlib.sha256(archive.read_bytes()).hexdigest()}"
    )
    if size > MAX_UNPACKED or archive.stat().st_size > MAX_ZIP:
        sys.exit(f"package: more than {MAX_UNPACKED / 1e6:.0f} MB, or {MAX_ZIP / 1e6:.0f} MB as a zip")
    if python:
        tried = subprocess.run(
            [sys.executable, "-m", "deploy.try_package", str(package), python], check=False, cwd=ROOT
        )
        if tried.returncode:
            archive.unlink()
            sys.exit("package: it does not work, as the lines above say: there is no build/package.zip")


def version() -> str:
    """The runtime's version of Python, such as `3.10`."""
    return RUNTIME.removeprefix("python")


def own_code(package: Path) -> None:
    """Copy the handlers, link_peer/ and the policy file into the package folder, and compile the policy."""
    for source in (ROOT / "functions").glob("*.py"):
        shutil.copy(source, package)
    shutil.copytree(ROOT / "shared" / "link_peer", package / "link_peer", ignore=shutil.ignore_patterns("__pycache__"))
    policy = ROOT / "policy.yaml"
    shutil.copy(policy, package)
    compiled = policy_file.compile_for_package(policy)
    (package / "link_peer" / "inbound" / policy_file.COMPILED.name).write_bytes(compiled)


def checked_policy() -> Policy:
    """The policy. Exits if it is invalid, or if it contradicts one of its tests.

    A test that depends on the tags of groups is not judged here, where nothing is read from the cloud.
    """
    try:
        policy = policy_file.load(ROOT / "policy.yaml")
    except PolicyError as error:
        sys.exit(f"package: {error}")
    findings = policy_tests.judge(policy, time.time())
    if failed := [finding for finding in findings if finding.failed]:
        sys.exit("\n".join(f"package: policy.yaml: {finding}" for finding in failed))
    if findings:
        opened = sum(finding.verdict is policy_tests.Verdict.OPEN for finding in findings)
        print(f"policy.yaml: {len(findings) - opened} tests hold, {opened} depend on tags and are not judged")
    return policy


def write_triggers(policy: Policy, path: Path) -> None:
    """Write the triggers of cross_account: on the shared queue, and on each queue that the policy gives an account."""
    path.write_text(json.dumps(request_triggers(policy.bound_queues), indent=1) + "\n", encoding="utf-8")


def dependencies(package: Path) -> None:
    """Install what requirements.txt pins, without resolving further dependencies."""
    wanted = pins((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    sources = [pin for pin in wanted if pin.partition("==")[0] in SOURCE_ONLY]
    with tempfile.TemporaryDirectory() as wheels:
        _pip("wheel", "--no-deps", "--wheel-dir", wheels, *sources)
        target = ["--implementation", "cp", "--python-version", version(), "--only-binary", ":all:"]
        for platform in PLATFORMS:
            target += ["--platform", platform]
        target += ["--target", str(package)]
        _pip("install", "--no-deps", "--no-compile", "--find-links", wheels, *target, *wanted)


def pins(requirements: str) -> list[str]:
    """The pinned requirements, `name==version`, that apply to the runtime's Python on Linux.

    pip evaluates markers for the Python it runs on, even when it installs for another.
    """
    environment = {"python_version": version(), "sys_platform": "linux"}
    lines = (line.partition("#")[0].strip() for line in requirements.splitlines())
    read = [Requirement(line) for line in lines if line]
    return [f"{r.name}{r.specifier}" for r in read if r.marker is None or r.marker.evaluate(environment)]


def leave_out(package: Path) -> None:
    """Remove what nothing asks for, and the modules of the SDKs that have stand-ins."""
    modules = [name.replace(".", "/") for name in LEFT_OUT if "." in name]
    for pattern in (*UNUSED, *modules, *(f"{module}.py" for module in modules)):
        for path in package.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def check_glibc(package: Path) -> None:
    """Exit if a compiled module needs a newer glibc than the runtime's: it would fail to load there, and only there."""
    for path in package.rglob("*.so"):
        needed = [(int(major), int(minor)) for major, minor in re.findall(rb"GLIBC_(\d+)\.(\d+)", path.read_bytes())]
        if needed and max(needed) > GLIBC[RUNTIME]:
            needs, has = ("{}.{}".format(*pair) for pair in (max(needed), GLIBC[RUNTIME]))
            sys.exit(f"package: {path.relative_to(package)} needs glibc {needs}, and {RUNTIME} has {has}")


def compile_modules(package: Path, python: str) -> None:
    """Compile with the runtime's Python."""
    files = ["-s", str(package), "-p", "/code"]  # /code is what tracebacks show
    subprocess.run(
        [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", *files, package],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},  # it decides the order of the constants in sets
    )


def pack(package: Path) -> Path:
    """Write the package as a zip: files in order, all with the same time and mode."""
    archive = package.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for path in sorted(path for path in package.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(str(path.relative_to(package)), EPOCH)
            entry.external_attr = 0o100644 << 16
            made.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    return archive


def _pip(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], check=True)


if __name__ == "__main__":
    main()
