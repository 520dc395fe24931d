"""Fixtures of the package's tests: the package folder, and function instances that have nothing else.

With LINK_PEER_PACKAGE, as `make test-package` sets it, the package is that folder, and the runtime's Python runs it.
Without, as in `make test`, it is put together from the distributions that are installed here, and this Python runs it:
no network is needed.
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import auto_link
import cross_account
import pytest
import sweep
from aliyun_local.api import VARIABLES, Authority, LocalCloud, Server, serve
from link_peer.alicloud import sdk
from link_peer.domain.errors import Transient
from link_peer_cli.commands.package import package
from link_peer_cli.demo import world
from link_peer_deploy import archives, cut, runtime_python
from link_peer_deploy import packaging as build
from link_peer_deploy.bill import materials
from link_peer_deploy.documents import CLOSER, READER
from link_peer_deploy.instance import FunctionInstance, HandlerError
from link_peer_deploy.runtime_python import runtime_in_use

from benchmarks import worlds
from tests.functional.wire_lab import CloudClock, WireLab
from tests.infrastructure.once import ROOT, made_once
from tests.infrastructure.package.deliveries import deliver, is_cut

PYTHON = runtime_python.find(runtime_in_use()) if os.environ.get("LINK_PEER_PACKAGE") else sys.executable


MOVE = """
import os
from link_peer.app import compose
os.environ.update({environment})
compose._memory = type(compose._memory)()
answer = None
"""
"""Run in an instance: it works in another world from now on, of which it remembers nothing."""

POLICY = ROOT / "benchmarks" / "policy.yaml"
INPUTS = [POLICY, *(ROOT / name for name in ("requirements.txt", "deploy", "functions", "shared"))]
"""What a package is made of, beside the distributions that requirements.txt pins."""


def environment(cloud: LocalCloud) -> dict[str, str]:
    """The environment of a function on a local cloud that is served."""
    return {**worlds.settings(cloud), "LANG": "C.UTF-8"}


def with_policy(package: Path, folder: Path, policy: Mapping[str, Any]) -> Path:
    """A copy of a package, in a new folder, with another policy, compiled as the packaged one is."""
    shutil.copytree(package, folder)
    (folder / "policy.yaml").write_text(json.dumps(policy), encoding="utf-8")  # JSON is YAML
    build.compile_policy(folder)
    return folder


def local_policy(cloud: LocalCloud) -> dict[str, Any]:
    """The policy for the accounts of a local world."""
    entered = {
        role.account: {"role": role.arn, "external_id": role.external_id}
        for role in cloud.identity.roles.values()
        if role.account != cloud.world.home and not role.name.endswith((READER, CLOSER))
    }
    return {"deployment": "prod", "accounts": {cloud.world.home: {}, **entered}}


def pinned() -> list[archives.Pin]:
    """What requirements.txt pins for the runtime."""
    return archives.pins((build.ROOT / "requirements.txt").read_text(encoding="utf-8"), runtime_in_use())


def installed(folder: Path) -> Path:
    """The distributions that requirements.txt pins, copied from this environment as pip would install them."""
    for pin in pinned():
        for file in distribution(pin.name).files or []:
            if ".." not in file.parts and file.suffix != ".pyc":
                target = folder / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.locate(), target)
    return folder


def make(folder: Path) -> None:
    """The package, but for its policy. Its instances write no byte code: without this one, each would compile every
    module."""
    build.leave_out(installed(folder))
    build.certificates(folder)
    cut.cut(folder)
    build.own_code(folder, POLICY)
    compileall.compile_dir(folder, quiet=1)


def make_plain(folder: Path) -> None:
    """What `link-peer package --plain` makes of the distributions that are installed here."""

    def install(package: Path, _runtime: str) -> dict[str, str]:
        installed(package)
        return {pin.name: pin.digests[0] for pin in pinned()}

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as out:
        patch.setattr(archives, "install", install)
        package(policy=str(POLICY), out=out, uncompiled=True, allow_wider=True, plain=True)
        shutil.copytree(Path(out, "package"), folder, dirs_exist_ok=True)


@pytest.fixture(name="built", scope="session")
def _built() -> Path:
    """The package's folder as it was built."""
    archive = os.environ.get("LINK_PEER_PACKAGE")
    return Path(archive).resolve() if archive else made_once("package", INPUTS, make)


@pytest.fixture(name="plain", scope="session")
def _plain() -> Path:
    """A package that is not cut."""
    return made_once("plain-package", INPUTS, make_plain)


@pytest.fixture(name="cut_package")
def _cut_package(package: Path) -> Path:
    """The package, of which the cuts are tested: LINK_PEER_PACKAGE may name a plain one."""
    if not is_cut(package):
        pytest.skip("the package is plain: nothing is cut")
    return package


@pytest.fixture(name="bill", scope="session")
def _bill(built: Path) -> dict[str, Any]:
    """Its bill of materials."""
    if os.environ.get("LINK_PEER_PACKAGE"):
        document: dict[str, Any] = json.loads(built.with_name("package.cdx.json").read_text(encoding="utf-8"))
        return document
    return materials(built, {pin.name: pin.digests[0] for pin in pinned()}, "0" * 64)


@pytest.fixture(name="package", scope="session")
def _package(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, with the policy of the default world."""
    cloud = LocalCloud(CloudClock())
    world.load(cloud)
    return with_policy(built, tmp_path_factory.mktemp("package") / "code", local_policy(cloud))


@pytest.fixture(name="start")
def _start(package: Path) -> Iterator[Callable[..., FunctionInstance]]:
    """`start(cloud)` starts an instance, which ends with the test; names in capitals are added to its environment."""
    running: list[FunctionInstance] = []

    def start(cloud: LocalCloud, **env: str) -> FunctionInstance:
        running.append(FunctionInstance(package, PYTHON, {**environment(cloud), **env}))
        return running[-1]

    yield start
    for instance in running:
        instance.close()


@pytest.fixture(name="authority", scope="session")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The one that instances trust."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(name="warm", scope="session")
def _warm(package: Path, authority: Authority) -> Iterator[FunctionInstance]:
    """One instance for all tests that do not look at what it has imported, or change its modules."""
    trusted = dict.fromkeys(VARIABLES, str(authority.file))
    with FunctionInstance(package, PYTHON, {"LANG": "C.UTF-8", **trusted}) as instance:
        yield instance


class PackageLab(WireLab):
    """The lab over TLS whose handlers are those of the package: `process` runs them, an instance that may have worked
    in other worlds before. A test may put one of its own there."""

    process: FunctionInstance
    server: Server


@pytest.fixture(name="wire_lab")
def _wire_lab(
    warm: FunctionInstance, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[PackageLab]:
    """In place of the fixture of the functional tests, so that those tests run here too."""
    clock = CloudClock()
    cloud = LocalCloud(clock)
    world.load(cloud)
    with serve(cloud, authority=authority) as server:
        lab = PackageLab(server, clock, monkeypatch, tmp_path)
        lab.process, lab.server = warm, server
        warm.run(MOVE.format(environment=environment(cloud)))
        for function in (auto_link, cross_account, sweep):
            monkeypatch.setattr(function, "handler", _delegate(function.__name__, lab, clock))
        yield lab


def _delegate(name: str, lab: PackageLab, clock: CloudClock) -> Callable[[bytes, Any], str]:
    def handler(event: bytes, _context: Any) -> str:
        ahead = clock.now() - CloudClock().now()
        try:
            outcomes = deliver(lab.process, name, event.decode(), ahead=ahead, patience=sdk.READ_TIMEOUT_MS / 1000)
        except HandlerError as error:
            if "Transient" in error.kinds:
                raise Transient(str(error)) from error
            raise
        return json.dumps({"outcomes": outcomes})

    return handler
