"""Builds the package of the functions: one flat folder for all three, as Function Compute unpacks it into /code; and
its zip.

`link-peer package` calls `build`, from a checkout or an installed wheel: the same policy gives the same bytes. The
package is built for one runtime of Function Compute, whatever Python this runs on, from the archives that archives.py
fetches.

What the SDKs bring along and no call of ours uses is left out: link_peer/alicloud/leave_out.py says what, and stands in
for it. The SDKs' clients are cut to the methods that we call: cut.py. A plain package has the modules that stay as they
were published.

Modules are compiled by the runtime's Python, which runtime_python.py finds. Without it, a cold start takes four times
as long, so there is no package, unless one without byte code is asked for. The byte code is not checked against the
sources when it is loaded: the upload changes file times, so checked byte code would look stale and be compiled again at
each cold start. It is in one file: bundle.py.

The package holds the policy: one that is invalid, or contradicts its own `tests`, stops the build. Beside the zip, the
output folder gets what s.yaml reads besides: `request-triggers.json`, a trigger for each queue of the policy;
`stamp.js`; and `package.json`, which says for which account, region and runtime the package is, so that stamp.js can
refuse another. And `package.cdx.json`, for scanners: what the package is made of.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
import zipfile
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path

import link_peer
import msgspec
from link_peer.alicloud.leave_out import LEFT_OUT
from link_peer.domain.policy import Policy
from link_peer.inbound import policy_file
from link_peer.views import policy_tests

from link_peer_deploy import archives, authorities, builds, bundle, cut, runtime_python
from link_peer_deploy.archives import NO_SPACE, RUN, PackageError
from link_peer_deploy.instance import FUNCTIONS, FunctionInstance, HandlerError
from link_peer_deploy.manifest import request_triggers
from link_peer_deploy.names import VERSION_FILE
from link_peer_deploy.project import ROOT
from link_peer_deploy.runtime_python import DEFAULT_RUNTIME

GLIBC = {"python3.10": (2, 28), "python3.12": (2, 31)}
"""The runtimes that the package can be built for, each with the glibc of its system: Debian 10 and Debian 11 [doc FC
runtimes]."""
UNUSED = (
    "bin",  # scripts
    "*/tests",
    "wrapt-stubs",
    "aliyun/__init__.py",  # these import what is not used; without them, the folders are namespace packages
    "aliyun/log/__init__.py",
    "urllib3/http2/__init__.py",
    "aliyun/log/_proto_py2",
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


class Target(msgspec.Struct, frozen=True):
    """What a package is built for: the runtime, and the region and prefix of the deployment as far as they are known.
    In a `plain` one, the SDKs' modules are as they were published: for an upgrade of an SDK to which the cuts do not
    apply."""

    runtime: str = DEFAULT_RUNTIME
    region: str = ""
    prefix: str = ""
    plain: bool = False

    def __post_init__(self) -> None:
        """Raises PackageError for a runtime that there is no package for."""
        if self.runtime not in GLIBC:
            raise PackageError(f"LINK_PEER_RUNTIME is {self.runtime}, and can be {' or '.join(GLIBC)}")


class Built(msgspec.Struct, frozen=True):
    """A package that was built: its folder, its zip, the zip's SHA-256 and the size of the folder in bytes."""

    folder: Path
    archive: Path
    digest: str
    size: int


def build(
    policy: Path,
    out: Path,
    target: Target,
    *,
    compiled: bool = True,
    digest: str = "",
    placing: AbstractContextManager[None] | None = None,
) -> Built:
    """Build the package with a policy file into a folder, which then holds it and nothing older of it. `digest` is that
    of the policy which was reviewed: the build stops if the file has changed since, at the latest when it is copied.
    `placing` is entered while the package is put in place, in one step.

    Raises PolicyError for the policy, PackageError for everything else. A build that fails or is stopped leaves the
    package that was there, whole.
    """
    python = _runtime_python(target.runtime) if compiled else None
    checked = checked_policy(policy)
    digest = digest or checked.digest
    try:
        with builds.replacing(out, OUTPUT) as (work, put):
            digest, size = _fill(work, policy, checked, digest, target, python)
            with placing or nullcontext():
                put()
        return Built(out / "package", out / "package.zip", digest, size)
    except OSError as error:
        raise PackageError(f"{error.filename or out} cannot be written: {error.strerror}") from None


def _fill(
    work: Path, policy: Path, checked: Policy, reviewed: str, target: Target, python: str | None
) -> tuple[str, int]:
    """Make the files of OUTPUT in a folder. Returns the SHA-256 of the zip, and the size of what it holds."""
    from link_peer_deploy.bill import materials  # here, because its import takes a fifth of a second

    package = work / "package"
    package.mkdir()
    digests = archives.install(package, target.runtime)
    own_code(package, policy)
    if {checked.digest, policy_file.from_bytes((package / policy_file.NAME).read_bytes()).digest} != {reviewed}:
        raise PackageError(f"{policy} was changed since it was compared: build it again")
    leave_out(package)
    certificates(package)
    if not target.plain:
        cut.cut(package)
    check_glibc(package, target.runtime)
    if python:
        compile_modules(package, python)
        check_imports(package, python)
    archive = pack(package)
    size = sum(file.stat().st_size for file in package.rglob("*") if file.is_file())
    if size > MAX_UNPACKED or archive.stat().st_size > MAX_ZIP:
        raise PackageError(f"more than {MAX_UNPACKED / 1e6:.0f} MB, or {MAX_ZIP / 1e6:.0f} MB as a zip")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    write_json(work / "request-triggers.json", request_triggers(checked.bound_queues))
    write_json(work / "package.json", described(checked, target, digest))
    write_json(work / "package.cdx.json", materials(package, digests, digest))
    shutil.copyfile(ROOT / "deploy" / "stamp.js", work / "stamp.js")
    return digest, size


OUTPUT = ("package", "request-triggers.json", "package.json", "package.cdx.json", "stamp.js", "package.zip")
"""What a build makes."""


def described(policy: Policy, target: Target, digest: str) -> dict[str, str]:
    """What package.json says. An empty value is not known and is not compared."""
    return {
        "home": policy.home,
        "deployment": policy.deployment,
        "region": target.region,
        "prefix": target.prefix,
        "tag_prefix": policy.tag_prefix,
        "runtime": target.runtime,
        "sha256": digest,
    }


def write_json(path: Path, value: object) -> None:
    """Write a JSON file for s.yaml or stamp.js."""
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _runtime_python(runtime: str) -> str:
    try:
        return runtime_python.find(runtime)
    except runtime_python.NotFound as missing:
        raise PackageError(f"{missing}: install it, set RUNTIME_PYTHON, or pass --uncompiled") from None


def own_code(package: Path, policy: Path) -> None:
    """Copy the handlers, link_peer/ without its views, and the policy file into the package folder, say which version
    this is, and compile the policy."""
    for source in (ROOT / "functions").glob("*.py"):
        shutil.copyfile(source, package / source.name)
    library = Path(link_peer.__file__).parent
    if stray := next(library.rglob(policy_file.COMPILED), None):
        raise PackageError(f"{stray}: only a package has a compiled policy, made from the text: delete it")
    shutil.copytree(library, package / "link_peer", ignore=shutil.ignore_patterns("__pycache__", "views"))
    shutil.copyfile(policy, package / "policy.yaml")
    (package / VERSION_FILE).write_text(f"{version('link-peer')}\n", encoding="utf-8")
    compile_policy(package)


def compile_policy(package: Path) -> None:
    """Compile the policy that a package folder holds, from its text, and read both back."""
    policy, compiled = package / policy_file.NAME, package / policy_file.COMPILED
    compiled.write_bytes(policy_file.compiled_form(policy.read_bytes()))
    if not policy_file.agree(policy.read_bytes(), compiled.read_bytes()):
        raise PackageError("the compiled policy is not the policy: this is a bug of link-peer")


def checked_policy(path: Path) -> Policy:
    """The policy of a file. Raises PolicyError if it is invalid, PackageError if it contradicts one of its tests.

    A test that depends on the tags of groups is not judged here, where nothing is read from the cloud.
    """
    policy = policy_file.load(path)
    if failed := [finding for finding in policy_tests.judge(policy, time.time()) if finding.failed]:
        raise PackageError("\n".join(f"{path.name}: {finding}" for finding in failed))
    return policy


def leave_out(package: Path) -> None:
    """Remove what nothing asks for, and the modules of the SDKs that have stand-ins: most import distributions that are
    not shipped."""
    modules = [name.replace(".", "/") for name in LEFT_OUT if "." in name]
    for pattern in (*UNUSED, *modules, *(f"{module}.py" for module in modules)):
        for path in package.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def certificates(package: Path) -> None:
    """Write certifi's certificates as a folder, too, which link_peer.alicloud.tls looks for: none is read before it is
    needed."""
    authorities.write(package / "certifi" / "cacert.pem", package / "certifi" / "authorities")


def check_glibc(package: Path, runtime: str) -> None:
    """Raise PackageError if a compiled module needs a newer glibc than the runtime's: it would fail to load there, and
    only there."""
    for path in package.rglob("*.so"):
        needed = [(int(major), int(minor)) for major, minor in re.findall(rb"GLIBC_(\d+)\.(\d+)", path.read_bytes())]
        if needed and max(needed) > GLIBC[runtime]:
            needs, has = ("{}.{}".format(*pair) for pair in (max(needed), GLIBC[runtime]))
            raise PackageError(f"{path.relative_to(package)} needs glibc {needs}, and {runtime} has {has}")


def compile_modules(package: Path, python: str) -> None:
    """Compile with the runtime's Python, and put the byte code in one file."""
    library = package / "link_peer"
    shutil.copyfile(bundle.__file__, library / "__init__.py")
    files = ["-s", str(package), "-p", "/code"]  # /code is what tracebacks show
    process = subprocess.run(
        [python, *RUN, "compileall", "-q", "--invalidation-mode", "unchecked-hash", *files, package],
        check=False,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONHASHSEED": "0"},  # it decides the order of the constants in sets
    )
    if process.returncode:
        problem = (
            NO_SPACE if NO_SPACE in process.stdout else (process.stdout + process.stderr).strip().rpartition("\n")[2]
        )
        raise PackageError(f"{python} cannot compile the modules: {problem}")
    bundle.write(package)


def check_imports(package: Path, python: str) -> None:
    """Raise PackageError unless the runtime's Python imports each handler, the SDKs and the policy from the package
    alone.

    Nothing is called and no local cloud is needed; `make test-package` makes deliveries.
    """
    for function in FUNCTIONS:
        with FunctionInstance(package, python, {"LANG": "C.UTF-8"}) as instance:
            try:
                instance.run(f"from link_peer.app import compose\nimport {function}\ncompose.start()\nanswer = None")
                instance.run(
                    "from link_peer.inbound import policy_file\nanswer = policy_file.load('policy.yaml').deployment"
                )
                if instance.run("import sys\nanswer = 'yaml' in sys.modules"):
                    raise PackageError("the policy was parsed again instead of loaded: this is a bug of link-peer")
            except HandlerError as error:
                raise PackageError(f"{function} does not start in {python}: {error}") from None


def pack(package: Path) -> Path:
    """Write the package as a zip: files in order, all with the same time and mode."""
    archive = package.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as zip_file:
        for path in sorted(path for path in package.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(str(path.relative_to(package)), EPOCH)
            entry.external_attr = 0o100644 << 16
            zip_file.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    return archive
