"""How the package is built: our part as a folder that runs by itself, the pins, and what stops a build.

That its handlers work is tried in tests/infrastructure/package.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from deploy import package

ROOT = Path(__file__).resolve().parents[2]
LOAD = """
import json, sys
sys.path[:0] = [{folder!r}]
import auto_link, cross_account, sweep
import link_peer.alicloud.sts, link_peer.alicloud.ecs, link_peer.alicloud.sls
from link_peer.inbound import policy_file as policy
from link_peer.runtime import settings
keys = dict.fromkeys(("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"), "k")
given = settings.load(env={{"LINK_PEER_REGION": "r", **keys}})
policy.load(given.policy_path)
assert "yaml" not in sys.modules, "the packaged policy was parsed"
names = {{"auto_link", "cross_account", "sweep", "link_peer", "link_peer_local", "link_peer_cli"}}
ours = [module for name, module in sys.modules.items() if name.partition(".")[0] in names]
print(json.dumps([given.policy_path, sorted({{module.__file__ for module in ours}})]))
"""


def test_our_part_runs_from_one_flat_folder(tmp_path: Path) -> None:
    """Handlers at the top, the policy beside them, and neither the commands nor the local cloud."""
    folder = tmp_path / "code"
    folder.mkdir()
    package.own_code(folder)
    assert {path.name for path in folder.iterdir()} == {
        "auto_link.py",
        "cross_account.py",
        "sweep.py",
        "link_peer",
        "policy.yaml",
    }
    # -I: neither this folder nor PYTHONPATH, only what is installed
    command = [sys.executable, "-I", "-B", "-c", LOAD.format(folder=str(folder))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    policy, files = json.loads(done.stdout)
    assert policy == str(folder / "policy.yaml")
    assert files
    assert all(Path(file).is_relative_to(folder) for file in files)


def test_it_is_built_for_the_runtime_of_every_function() -> None:
    """The one of s.yaml, unless LINK_PEER_RUNTIME names another."""
    document = yaml.safe_load((ROOT / "s.yaml").read_text(encoding="utf-8"))
    runtimes = {resource["props"]["runtime"] for resource in document["resources"].values()}
    assert runtimes == {"python3.10"}
    assert runtimes < set(package.GLIBC)
    if "LINK_PEER_RUNTIME" not in os.environ:
        assert runtimes == {package.RUNTIME}


def test_pins_are_those_of_the_runtime_not_of_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip evaluates markers for the Python that it runs on."""
    lines = 'a==1\n# note\nb==2; python_version < "3.11"  # why\nc==3; python_version >= "3.11"\nd==4; sys_platform == "win32"\n'
    monkeypatch.setattr(package, "RUNTIME", "python3.10")
    assert package.pins(lines) == ["a==1", "b==2"]
    monkeypatch.setattr(package, "RUNTIME", "python3.12")
    assert package.pins(lines) == ["a==1", "c==3"]


def test_everything_that_is_deployed_is_pinned() -> None:
    pins = package.pins((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin) for pin in pins)
    assert {pin.partition("==")[0] for pin in pins} >= package.SOURCE_ONLY


# what stops a build


def built(*options: str, **env: str) -> subprocess.CompletedProcess[str]:
    """What `python deploy/package.py` says. Only for builds that stop before they download anything."""
    command = [sys.executable, str(ROOT / "deploy" / "package.py"), *options]
    return subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)  # noqa: S603


def test_without_the_runtimes_python_there_is_no_package() -> None:
    """An uncompiled package takes four times as long to start; one that nobody asked for would go unnoticed."""
    done = built(RUNTIME_PYTHON="no-such-python")
    assert done.returncode == 1
    assert "no no-such-python here" in done.stderr
    assert "--uncompiled" in done.stderr


def test_another_version_of_python_does_not_compile(tmp_path: Path) -> None:
    """The runtime would not load its byte code, and compile at each cold start."""
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho Python 3.9.1 '(main)'\n")
    other.chmod(0o755)
    done = built(RUNTIME_PYTHON=str(other))
    assert done.returncode == 1
    assert f"is Python 3.9.1 (main), and the functions run on {package.RUNTIME}" in done.stderr


def test_an_unknown_runtime_has_no_package() -> None:
    done = built(LINK_PEER_RUNTIME="python3.9")
    assert done.returncode == 1
    assert "LINK_PEER_RUNTIME is python3.9, and can be python3.10 or python3.12" in done.stderr


def test_an_invalid_policy_has_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the line; nothing invalid is deployed."""
    for name in ("functions", "shared"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "policy.yaml").write_text("deployment: prod\naccounts: none\n")
    monkeypatch.setattr(package, "ROOT", tmp_path)
    folder = tmp_path / "code"
    folder.mkdir()
    with pytest.raises(SystemExit, match=r"^package: policy\.yaml:2: accounts"):
        package.own_code(folder)


def test_a_module_for_a_newer_system_stops_the_build(tmp_path: Path) -> None:
    """It would fail to load in the runtime, and only there."""
    path = tmp_path / "native.so"
    path.write_bytes(b"\x7fELF GLIBC_2.2.5 GLIBC_2.17 GLIBC_PRIVATE")
    package.check_glibc(tmp_path)
    path.write_bytes(b"\x7fELF GLIBC_2.17 GLIBC_2.38")
    with pytest.raises(SystemExit, match=r"native\.so needs glibc 2\.38"):
        package.check_glibc(tmp_path)


# the same bytes each time


def test_two_builds_of_the_same_sources_are_equal(tmp_path: Path) -> None:
    """Although files have other times, and sets another order."""
    archives = []
    for number in range(2):
        folder = tmp_path / str(number) / "code"
        folder.mkdir(parents=True)
        package.own_code(folder)
        package.compile_modules(folder, sys.executable)
        os.utime(folder / "sweep.py", (number, number))
        archives.append(package.pack(folder).read_bytes())
    assert archives[0] == archives[1]


def test_the_zip_holds_every_file_in_order(tmp_path: Path) -> None:
    """Readable for the runtime, whatever the umask of the machine that builds it."""
    folder = tmp_path / "code"
    (folder / "a").mkdir(parents=True)
    for name in ("b.py", "a/c.py"):
        (folder / name).write_text("x = 1\n")
        (folder / name).chmod(0o600)
    with zipfile.ZipFile(package.pack(folder)) as archive:
        assert archive.namelist() == ["a/c.py", "b.py"]
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}
