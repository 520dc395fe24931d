"""The output folder of `package` shows one build, whole: stopped at any operation on files, by a signal or a crash."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from link_peer_cli.ui import exits
from link_peer_deploy import archives, builds, packaging
from link_peer_deploy.packaging import OUTPUT, Target, described
from link_peer_deploy.project import ROOT

from tests.functional.command import Cli
from tests.functional.lab import HOME
from tests.unit.small_world import POLICY, REGION

OPERATIONS = {
    "open", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir", "os.symlink",
    "shutil.copyfile", "shutil.copytree", "shutil.rmtree",
}  # fmt: skip
"""Audit events: Python raises each before it does what the name says."""


class Stopped(BaseException):
    """The process ended."""


class Stop:
    """Raises an exception at the n-th operation on files of this thread; `crash` also at each later one, since a
    process that has ended cleans nothing up."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.remaining = 0
        self.raised: type[BaseException] | None = None
        self.crash = False

    def __call__(self, event: str, _args: tuple[Any, ...]) -> None:
        if self.raised is None or event not in OPERATIONS or threading.get_ident() != self.thread:
            return
        self.remaining -= 1
        if self.remaining == 0 or (self.remaining < 0 and self.crash):
            raise self.raised

    def run(self, work: Callable[[], None], number: int, *, crash: bool) -> bool:
        """Do some work until its operation of this number. Whether it was stopped."""
        self.remaining, self.crash, self.raised = number, crash, Stopped if crash else KeyboardInterrupt
        try:
            work()
        except (Stopped, KeyboardInterrupt):
            return True
        finally:
            self.raised = None
        return False


@pytest.fixture(name="stop", scope="module")
def _stop() -> Stop:
    hook = Stop()
    sys.addaudithook(hook)
    return hook


def fill(folder: Path, content: str) -> None:
    """The files of a build, all with the same content."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in OUTPUT:
        path = folder / name
        if name == "package":
            path.mkdir()
            path = path / "sweep.py"
        path.write_text(content, encoding="utf-8")


def build(out: Path, content: str) -> None:
    with builds.replacing(out, OUTPUT) as (work, put):
        fill(work, content)
        put()


def contents_by_name(out: Path) -> dict[str, str]:
    """What a reader finds in the output folder, by name."""
    paths = {name: out / name / "sweep.py" if name == "package" else out / name for name in OUTPUT}
    return {name: path.read_text(encoding="utf-8") for name, path in paths.items() if path.exists()}


def whole(content: str) -> dict[str, str]:
    return dict.fromkeys(OUTPUT, content)


def folders(out: Path) -> int:
    """How many builds there are, finished or not."""
    return len([path for path in (out / builds.BUILDS).iterdir() if path.name != builds.CURRENT])


def empty(_out: Path) -> dict[str, str]:
    return {}


def a_build(out: Path) -> dict[str, str]:
    build(out, "former")
    return whole("former")


def plain_files(out: Path) -> dict[str, str]:
    """As a copy of the folder has them that follows links."""
    fill(out, "former")
    return whole("former")


def one_plain_file(out: Path) -> dict[str, str]:
    """Which somebody put into the place of that of a build."""
    build(out, "former")
    (out / "stamp.js").unlink()
    (out / "stamp.js").write_text("mine", encoding="utf-8")
    return {**whole("former"), "stamp.js": "mine"}


@pytest.mark.parametrize("crash", [False, True], ids=["signal", "crash"])
@pytest.mark.parametrize("before", [empty, a_build, plain_files, one_plain_file])
def test_stopped_at_any_operation_the_former_build_or_the_new_one_is_there(
    tmp_path: Path, stop: Stop, before: Callable[[Path], dict[str, str]], crash: bool
) -> None:
    """Whole; the former one before `current` is replaced, and the new one after it. The next build removes what a crash
    left.

    Only a folder that is no link, of which no part of s.yaml reads, cannot be replaced in one step: a crash may lose
    it.
    """
    states = []
    for number in range(1, 1000):
        out = tmp_path / str(number)
        former = before(out)
        stopped = stop.run(lambda out=out: build(out, "new"), number, crash=crash)  # type: ignore[misc]
        state = contents_by_name(out)
        if crash and before is plain_files and state.keys() ^ former.keys() == {"package"}:
            state["package"] = "former"
        states.append(state)
        build(out, "next")
        assert (contents_by_name(out), folders(out)) == (whole("next"), 1)
        if not stopped:
            break
    assert len(states) > 20
    replaced = states.index(whole("new"))
    assert states == [former] * replaced + [whole("new")] * (len(states) - replaced)
    assert replaced < len(states) - 1  # it is stopped after that, too


def test_two_builds_at_once_do_not_touch_each_other(tmp_path: Path) -> None:
    """Neither while they are made nor when one of them is not put in place; the last one that is put in place stays."""
    build(tmp_path, "former")
    with builds.replacing(tmp_path, OUTPUT) as (first, put_first):
        fill(first, "first")
        with builds.replacing(tmp_path, OUTPUT) as (failing, _):
            fill(failing, "failing")
        assert not failing.exists()
        with builds.replacing(tmp_path, OUTPUT) as (second, put_second):
            fill(second, "second")
            assert contents_by_name(tmp_path) == whole("former")
            put_second()
        assert contents_by_name(tmp_path) == whole("second")
        put_first()
    assert contents_by_name(tmp_path) == whole("first")
    assert folders(tmp_path) == 1


def test_what_is_not_of_a_build_stays(tmp_path: Path) -> None:
    """The output folder of a checkout has other things in it."""
    for path in (tmp_path / "bench.json", tmp_path / builds.BUILDS / "notes"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine", encoding="utf-8")
    build(tmp_path, "new")
    build(tmp_path, "newer")
    assert (tmp_path / "bench.json").exists()
    assert (tmp_path / builds.BUILDS / "notes").exists()


# the command


@pytest.fixture(name="cli")
def _cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """In a folder with a policy."""
    for name in ("POLICY", "PREFIX", "CLOUD"):
        monkeypatch.delenv(f"LINK_PEER_{name}", raising=False)
    monkeypatch.setenv("LINK_PEER_REGION", "cn-hangzhou")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("policy.yaml").write_text(f'deployment: prod\naccounts: {{"{HOME}": {{}}}}\n', encoding="utf-8")
    return Cli(capsys)


PACKAGE = ("package", "--first", "--uncompiled")


@pytest.mark.parametrize("out", ["build", "elsewhere/package"])
@pytest.mark.parametrize(("signal", "code"), [(KeyboardInterrupt, 130), (exits.Terminated, 143)])
def test_a_stopped_package_changes_nothing(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, out: str, signal: type[KeyboardInterrupt], code: int
) -> None:
    """It says so, and the package that was there is there."""
    build(Path(out), "former")

    def stopped(*_: object) -> None:
        raise signal

    monkeypatch.setattr(archives, "install", stopped)
    assert cli(*PACKAGE, "--out", out) == code
    assert cli.err.endswith(": nothing was changed\n")
    assert contents_by_name(Path(out)) == whole("former")


def test_stopped_when_the_new_package_is_in_place_it_says_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new one is whole."""
    build(Path("build"), "former")

    def filled(work: Path, *_: object) -> tuple[str, int]:
        fill(work, "new")
        monkeypatch.setattr(builds, "_clean", stopped)
        return "d1", 3

    def stopped(_builds: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(packaging, "_fill", filled)
    assert cli(*PACKAGE) == 130
    assert cli.err.splitlines()[:2] == ["stopped by Ctrl-C", "done: put the new package into build"]
    assert contents_by_name(Path("build")) == whole("new")


def test_a_package_that_cannot_be_built_leaves_the_former_one(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """`package && s deploy` deploys nothing; a deployment of the former package can be repeated."""
    build(Path("build"), "former")

    def failing(*_: object) -> None:
        raise archives.PackageError("no network")

    monkeypatch.setattr(packaging, "_fill", failing)
    assert cli(*PACKAGE) == 1
    assert cli.err == "no network\n"
    assert contents_by_name(Path("build")) == whole("former")


@pytest.mark.parametrize("tag_prefix", ["acme", ""])
def test_package_json_says_what_the_package_is_for(tag_prefix: str) -> None:
    """stamp.js compares each value that is known with where the package would be deployed to."""
    policy = msgspec.structs.replace(POLICY, tag_prefix=tag_prefix)
    assert described(policy, Target("python3.12", REGION, "shop"), "0" * 64) == {
        "home": HOME,
        "deployment": "prod",
        "region": REGION,
        "prefix": "shop",
        "tag_prefix": tag_prefix,
        "runtime": "python3.12",
        "sha256": "0" * 64,
    }


STAMP = """
const inputs = JSON.parse(process.argv[2]);
inputs.getCredential = async () => ({ AccountID: inputs.account });
require(process.argv[1])(inputs).then(() => console.log("deployed"), (error) => console.log(error.message));
"""


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
@pytest.mark.parametrize(
    ("built", "text"),
    [
        ({"home": "1"}, f"the package is for the home account 1, and would be deployed to {HOME}"),
        ({"region": "cn-a"}, f"the package is for the region cn-a, and would be deployed to {REGION}"),
        ({"tag_prefix": "acme"}, "the package is for the tag prefix acme, and would be deployed to link"),
        ({"runtime": "python3.10"}, "the package is for the runtime python3.10, and would be deployed to python3.12"),
        ({"prefix": "shop"}, "the package is for the prefix shop, and the function is link-peer-sweep"),
    ],
)
def test_a_package_is_deployed_only_to_what_it_was_built_for(tmp_path: Path, built: dict[str, str], text: str) -> None:
    """The plugin of Serverless Devs refuses it before it reads anything from the cloud."""
    (tmp_path / "package.zip").write_bytes(b"")
    about = {"sha256": hashlib.sha256(b"").hexdigest(), **built}
    (tmp_path / "package.json").write_text(json.dumps(about), encoding="utf-8")
    props = {
        "code": "package.zip",
        "region": REGION,
        "runtime": "python3.12",
        "functionName": "link-peer-sweep",
        "environmentVariables": {"LINK_PEER_TAG_PREFIX": "link"},
        "triggers": [],
    }
    inputs = {"yaml": {"path": str(tmp_path / "s.yaml")}, "props": props, "account": HOME}
    command = ["node", "-e", STAMP, str(ROOT / "deploy" / "stamp.js"), json.dumps(inputs)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    assert answer.stdout.startswith(text)
