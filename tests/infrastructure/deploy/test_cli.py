"""s.yaml with the real Serverless Devs CLI and a stub in place of the component fc3: `make test-deploy`.

The CLI finds the stub where it keeps the components that it has downloaded, in a home folder of the test, so nothing is
fetched. A preloaded module (offline.js) refuses and records whatever would reach the network all the same.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from link_peer_deploy.manifest import REQUEST_TRIGGERS, request_triggers, resolved
from msgspec import Struct

from tests.infrastructure import fc3_props

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CLI = ROOT / "build" / "serverless-devs" / "node_modules" / ".bin" / "s"
HOME, OTHER = "1000000000000001", "1000000000000003"
QUEUE = "link-peer-requests-1000000000000002"
FUNCTIONS = ("auto_link", "cross_account", "sweep")
STAMP = re.compile(r" ?\(deployed \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z, package [0-9a-f]{12}\)")

pytestmark = pytest.mark.skipif("LINK_PEER_TEST_DEPLOY" not in os.environ, reason="needs npm: `make test-deploy`")


class Call(Struct):
    """What the component was given."""

    command: str
    args: list[str]
    account: str
    resource: str
    props: dict[str, Any]


def run(line: str, folder: Path, home: Path, **env: str) -> tuple[int, str]:
    """The exit code and output of `s …` in a folder."""
    given = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "NODE_ENV": "test",  # without its background processes, for reports and updates
        "NODE_OPTIONS": f"--require {HERE / 'offline.js'}",
        "OFFLINE_RECORD": str(folder / "network"),
        "STUB_RECORD": str(folder / "calls"),
        "STUB_STATE": str(folder / "state"),
    }
    command = [CLI, *line.split()]  # the CLI of the lock file
    done = subprocess.run(  # noqa: S603
        command,
        cwd=folder,
        env={**given, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


class Project:
    """A folder after `link-peer package`, on a machine whose CLI knows the keys `default` and `other`."""

    def __init__(self, folder: Path, keys: Path) -> None:
        self.folder, self._home = folder / "project", folder / "home"
        (self.folder / "build").mkdir(parents=True)
        (self.folder / "deploy").mkdir()
        shutil.copy(ROOT / "s.yaml", self.folder)
        shutil.copy(ROOT / "deploy" / "stamp.js", self.folder / "deploy")
        self.zip.write_bytes(b"the package")
        (self.folder / REQUEST_TRIGGERS).write_text(json.dumps(request_triggers([QUEUE])), encoding="utf-8")
        component = self._home / ".s" / "components" / "devsapp.cn" / "v3" / "fc3@0.1.22"
        shutil.copytree(HERE / "stub", component)
        (component / "schema.json").write_text(json.dumps(fc3_props.schema()), encoding="utf-8")
        (component / ".s.lock").write_text(json.dumps({"version": "0.1.22", "lastUpdateCheck": 0}), encoding="utf-8")
        shutil.copy(keys, self._home / ".s")

    @property
    def zip(self) -> Path:
        return self.folder / "build" / "package.zip"

    def run(self, line: str, **env: str) -> tuple[int, str]:
        """The exit code and output of `s …`."""
        code, text = run(line, self.folder, self._home, **env)
        network = self.folder / "network"
        assert not network.exists(), network.read_text(encoding="utf-8")
        return code, text

    def done(self, line: str, **env: str) -> list[Call]:
        """What the component was given by a command that succeeds."""
        code, text = self.run(line, **env)
        assert code == 0, text
        path = self.folder / "calls"
        calls = [Call(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
        path.unlink()
        return calls

    def edit(self, old: str, new: str) -> None:
        """Replace a text in s.yaml."""
        path = self.folder / "s.yaml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def functions(self) -> dict[str, Any]:
        """What is deployed, by name."""
        state: dict[str, Any] = json.loads((self.folder / "state").read_text(encoding="utf-8"))
        return state

    def live(self) -> dict[str, Any]:
        """The alias of each function."""
        return {name: function["aliases"]["live"] for name, function in self.functions().items()}


@pytest.fixture(name="keys", scope="session")
def _keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CLI's own file of keys. `s config add` asks STS whether they are valid, and keeps them if there is no answer."""
    folder = tmp_path_factory.mktemp("keys")
    for name, account in (("default", HOME), ("other", OTHER)):
        keys = f"--AccountID {account} --AccessKeyID test-access-key --AccessKeySecret test-secret-key"
        code, text = run(f"config add -a {name} {keys} -f", folder, folder)
        assert code == 0, text
    return folder / ".s" / "access.yaml"


@pytest.fixture(name="project")
def _project(tmp_path: Path, keys: Path) -> Project:
    return Project(tmp_path, keys)


def unstamped(node: Any) -> Any:
    """Without what deploy/stamp.js adds."""
    if isinstance(node, dict):
        plain = {key: unstamped(value) for key, value in node.items()}
        return {key: value for key, value in plain.items() if (key, value) != ("description", "")}
    if isinstance(node, list):
        return [unstamped(value) for value in node]
    return STAMP.sub("", node) if isinstance(node, str) else node


# verify


def test_s_verify_accepts_the_file(project: Project) -> None:
    code, text = project.run("verify")
    assert (code, "passed" in text) == (0, True), text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("timeout: 120", "timout: 120"),
        ("errorsTolerance: ALL", "errorTolerance: ALL"),
        ("@every 10m", "@evry 10m"),
        ("qualifier: live", "qualifier: LATEST"),
    ],
)
def test_s_verify_refuses_what_the_closed_types_do_not_know(project: Project, old: str, new: str) -> None:
    """With their schema; fc3's own accepts all of these."""
    project.edit(old, new)
    code, text = project.run("verify")
    assert (code, "must" in text) == (1, True), text


@pytest.mark.parametrize("command", ["verify", "deploy -y"])
def test_a_variable_as_the_credentials_alias_fails(project: Project, command: str) -> None:
    """The CLI looks up the alias before it reads variables, finds no keys, and so no account."""
    project.edit("access: default", "access: ${env('LINK_PEER_ACCESS', 'default')}")
    code, text = project.run(command)
    assert (code, "config('AccountID') not found" in text) == (1, True), text


# deploy


def test_a_first_deploy_makes_the_alias_before_the_triggers(project: Project) -> None:
    """For each function in turn: update it, publish, move the alias, then everything."""
    calls = project.done("deploy -y")
    steps = [
        ("deploy", ["--function", "-y"]),
        ("version", ["publish"]),
        ("alias", ["publish", "--alias-name", "live", "--version-id", "latest", "--vw", "{}"]),
        ("deploy", ["-y"]),
    ]
    assert [(call.resource, call.command, call.args) for call in calls] == [
        (name, *step) for name in FUNCTIONS for step in steps
    ]
    assert list(project.live().values()) == [{"version": 1, "weights": {}}] * 3
    triggers = {name: sorted(function["triggers"]) for name, function in project.functions().items()}
    assert triggers == {
        "link-peer-auto-link": ["instance-state", "instance-tags"],
        "link-peer-cross-account": ["requests", f"requests-{QUEUE}"],
        "link-peer-sweep": ["every-10m"],
    }


@pytest.mark.parametrize(
    ("options", "account", "env"),
    [
        ("", HOME, {}),
        (" -a other", OTHER, {"LINK_PEER_PREFIX": "second", "LINK_PEER_REGION": "cn-hangzhou"}),
        ("", HOME, {"LINK_PEER_RUNTIME": "python3.10", "LINK_PEER_CALLS_PER_MINUTE": "500", "LINK_PEER_REGION": ""}),
    ],
    ids=["defaults", "second", "python3.10"],
)
def test_the_component_is_given_what_the_local_cloud_reads(
    project: Project, options: str, account: str, env: dict[str, str]
) -> None:
    """The props, with the account of the keys; they match the closed types, and each name has the prefix."""
    calls = project.done("deploy -y" + options, **env)
    read = resolved(ROOT / "s.yaml", env=env, account=account, queues=[QUEUE])["resources"]
    for call in calls:
        assert call.account == account
        assert unstamped(call.props) == read[call.resource]["props"]
        assert fc3_props.props(call.props).functionName.startswith(env.get("LINK_PEER_PREFIX", "link-peer") + "-")


def test_every_description_names_the_package(project: Project) -> None:
    """Of the function and of each trigger, so that the versions of a function can be told apart."""
    before = {call.resource: call.props for call in project.done("deploy -y")}
    project.zip.write_bytes(b"another package")
    after = {call.resource: call.props for call in project.done("deploy -y")}
    for name in FUNCTIONS:
        for old, new in zip(
            [before[name], *before[name]["triggers"]], [after[name], *after[name]["triggers"]], strict=True
        ):
            assert STAMP.search(old["description"])
            assert old["description"][-13:] != new["description"][-13:]


def test_the_same_package_can_be_deployed_again(project: Project) -> None:
    """Each deploy publishes a version; nothing is refused for being unchanged."""
    project.done("deploy -y")
    project.done("deploy -y")
    assert {alias["version"] for alias in project.live().values()} == {2}


def test_a_deploy_that_died_between_two_triggers_is_completed_by_the_next(project: Project) -> None:
    """Although fc3 skips what comes after an unchanged trigger."""
    code, text = project.run("deploy -y", STUB_DIES_AT="instance-tags")
    assert (code, "died" in text) == (101, True), text
    assert list(project.functions()["link-peer-auto-link"]["triggers"]) == ["instance-state"]
    project.done("deploy -y")
    assert list(project.functions()["link-peer-auto-link"]["triggers"]) == ["instance-state", "instance-tags"]


def test_without_a_package_nothing_is_deployed(project: Project) -> None:
    """The error says what to run."""
    project.zip.unlink()
    code, text = project.run("deploy -y")
    assert (code, "there is no ./build/package.zip: run `link-peer package`" in text) == (101, True), text
    assert not (project.folder / "calls").exists()


def test_two_deployments_stand_side_by_side(project: Project) -> None:
    """And one is removed without the other."""
    project.done("deploy -y")
    project.done("deploy -y", LINK_PEER_PREFIX="second")
    assert len(project.functions()) == 6
    project.done("remove -y")
    assert list(project.functions()) == ["second-auto-link", "second-cross-account", "second-sweep"]


# the commands of docs/deploy.md


def test_a_rollback_is_one_command(project: Project) -> None:
    """For all three functions."""
    project.done("deploy -y")
    project.zip.write_bytes(b"another package")
    project.done("deploy -y")
    calls = project.done("alias publish --alias-name live --version-id 1 --vw {}")
    assert [(call.resource, call.command) for call in calls] == [(name, "alias") for name in FUNCTIONS]
    assert list(project.live().values()) == [{"version": 1, "weights": {}}] * 3


def test_a_canary_gets_a_share_of_the_calls_until_it_is_finished(project: Project) -> None:
    """Publish without moving the alias, then give the new version a weight, then all calls. A deploy ends it, too."""
    project.done("deploy -y")
    project.zip.write_bytes(b"another package")
    project.done("deploy --function -y --skip-actions")
    project.done("version publish")
    project.done('alias publish --alias-name live --version-id 1 --vw {"2":0.1}')
    assert list(project.live().values()) == [{"version": 1, "weights": {"2": 0.1}}] * 3
    project.done("alias publish --alias-name live --version-id 2 --vw {}")
    assert list(project.live().values()) == [{"version": 2, "weights": {}}] * 3
    project.done("deploy -y")
    assert list(project.live().values()) == [{"version": 3, "weights": {}}] * 3
