"""s.yaml with the real Serverless Devs CLI, whose component deploys to the local cloud, and the program in Node.js of
docs/api.md: `make test-deploy`."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aliyun_local.api import Caller, FunctionState, Key, LocalCloud, Role, serve, trust_text
from link_peer.inbound.requests import decode
from link_peer_cli.demo import world
from link_peer_deploy.manifest import REQUEST_TRIGGERS, request_triggers, resolved

from tests.infrastructure import fc3_props
from tests.infrastructure.deploy.serverless import ROOT, Serverless

HOME, OTHER = "1000000000000001", "1000000000000003"
KEYS = {"default": (HOME, "test-key", "test-secret"), "other": (OTHER, "other-key", "other-secret")}
QUEUE = "link-peer-requests-1000000000000002"
FUNCTIONS = ("auto_link", "cross_account", "sweep")
STAMP = re.compile(r" ?\(deployed \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z, package ([0-9a-f]{12}), deployment shop\)")

pytestmark = pytest.mark.skipif("LINK_PEER_TEST_DEPLOY" not in os.environ, reason="needs npm: `make test-deploy`")


class Project(Serverless):
    """A folder after `link-peer package`, on a machine whose CLI knows the keys `default` and `other`."""

    def __init__(self, folder: Path, cloud: LocalCloud) -> None:
        super().__init__(folder / "project", folder / "home", cloud.endpoint, KEYS)
        self._cloud = cloud
        (self.folder / "build").mkdir()
        shutil.copy(ROOT / "s.yaml", self.folder)
        shutil.copy(ROOT / "deploy" / "stamp.js", self.folder / "build")
        (self.folder / REQUEST_TRIGGERS).write_text(json.dumps(request_triggers([QUEUE])), encoding="utf-8")
        self.package("first")

    def package(self, content: str, **built: str) -> None:
        """Write a package and what package.json says of it; nothing is known of what is not given."""
        path = self.folder / "build" / "package.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("content", content)
        about = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "deployment": "shop", **built}
        (path.parent / "package.json").write_text(json.dumps(about), encoding="utf-8")

    def edit(self, old: str, new: str) -> None:
        """Replace a text in s.yaml."""
        path = self.folder / "s.yaml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def functions(self) -> dict[str, FunctionState]:
        """What is deployed in the home account, by name."""
        return {name: function for (account, name), function in self._cloud.fc._functions.items() if account == HOME}

    def live(self) -> list[tuple[str, dict[str, float]]]:
        """The version and the weights of the alias of each function."""
        aliases = [function.published.aliases["live"] for function in self.functions().values()]
        return [(alias.version, dict(alias.weights)) for alias in aliases]

    def triggers(self, name: str) -> list[str]:
        """The triggers of a function."""
        return list(self.functions()[name].triggers)


@pytest.fixture(name="cloud")
def _cloud() -> Iterator[LocalCloud]:
    """A served cloud with the roles and logs that `setup` makes for two deployments."""
    cloud = LocalCloud()
    for account, key, secret in KEYS.values():
        cloud.identity.add_account(account, f"{account}@example.com")
        cloud.identity.keys[key] = Key(key, secret, Caller(account, f"acs:ram::{account}:root"))
        for prefix in ("link-peer", "second"):
            cloud.identity.add_role(Role(account, f"{prefix}-fc", trust_text(["fc.aliyuncs.com"])))
            for region in ("cn-qingdao", "cn-hangzhou"):  # of s.yaml; the component enters the cloud by one endpoint
                project = f"{prefix}-{account}-{region}"
                cloud.sls.create_project(account, project)
                cloud.sls.create_logstore(account, project, "functions")
    with serve(cloud):
        yield cloud


@pytest.fixture(name="project")
def _project(tmp_path: Path, cloud: LocalCloud) -> Project:
    return Project(tmp_path, cloud)


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
        ("triggerEnable: true", "triggerEnabled: true"),
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
    calls = project.calls_of("deploy -y")
    steps = [
        ("deploy", ["--function", "-y"]),
        ("version", ["publish"]),
        ("alias", ["publish", "--alias-name", "live", "--version-id", "latest", "--vw", "{}"]),
        ("deploy", ["-y"]),
    ]
    assert [(call.resource, call.command, call.args) for call in calls] == [
        (name, *step) for name in FUNCTIONS for step in steps
    ]
    assert project.live() == [("1", {})] * 3
    assert {name: sorted(project.triggers(name)) for name in project.functions()} == {
        "link-peer-auto-link": ["instance-state", "instance-tags"],
        "link-peer-cross-account": ["requests", f"requests-{QUEUE}"],
        "link-peer-sweep": ["accounts", "every-10m"],
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
    calls = project.calls_of("deploy -y" + options, **env)
    read = resolved(ROOT / "s.yaml", env=env, account=account, queues=[QUEUE])["resources"]
    for call in calls:
        assert call.account == account
        assert unstamped(call.props) == read[call.resource]["props"]
        assert fc3_props.props(call.props).functionName.startswith(env.get("LINK_PEER_PREFIX", "link-peer") + "-")


def test_every_description_names_the_package(project: Project) -> None:
    """Of the function and of each trigger, so that the versions of a function can be told apart."""
    before = {call.resource: call.props for call in project.calls_of("deploy -y")}
    project.package("another")
    after = {call.resource: call.props for call in project.calls_of("deploy -y")}
    for name in FUNCTIONS:
        for old, new in zip(
            [before[name], *before[name]["triggers"]], [after[name], *after[name]["triggers"]], strict=True
        ):
            stamps = [STAMP.search(described["description"]) for described in (old, new)]
            assert len({stamp[1] for stamp in stamps if stamp}) == 2


def test_a_deploy_that_died_between_two_triggers_is_completed_by_the_next(project: Project) -> None:
    """Although fc3 skips what comes after an unchanged trigger."""
    code, text = project.run("deploy -y", STUB_DIES_AT="instance-tags")
    assert (code, "died" in text) == (101, True), text
    assert project.triggers("link-peer-auto-link") == ["instance-state"]
    project.calls_of("deploy -y")
    assert project.triggers("link-peer-auto-link") == ["instance-state", "instance-tags"]


def test_without_a_package_nothing_is_deployed(project: Project) -> None:
    """The error says what to run."""
    (project.folder / "build" / "package.zip").unlink()
    code, text = project.run("deploy -y")
    assert (code, "there is no ./build/package.zip: run `link-peer package`" in text) == (101, True), text
    assert project.calls() == []


@pytest.mark.parametrize(
    ("built", "message"),
    [
        ({"home": OTHER}, f"the package is for the home account {OTHER}, and would be deployed to {HOME}"),
        ({"region": "cn-hangzhou"}, "the package is for the region cn-hangzhou, and would be deployed to cn-qingdao"),
        ({"tag_prefix": "acme"}, "the package is for the tag prefix acme, and would be deployed to link"),
        ({"runtime": "python3.10"}, "the package is for the runtime python3.10, and would be deployed to python3.12"),
        ({"prefix": "link"}, "the package is for the prefix link, and the function is link-peer-auto-link"),
        ({"prefix": "second"}, "the package is for the prefix second, and the function is link-peer-auto-link"),
        ({"sha256": "0" * 64}, "is not the package that package.json describes"),
    ],
)
def test_a_package_for_something_else_is_not_deployed(project: Project, built: dict[str, str], message: str) -> None:
    """It names both, before anything is changed."""
    project.package("first", **built)
    code, text = project.run("deploy -y")
    assert (code, message in text) == (101, True), text
    assert project.functions() == {}


def test_the_deployed_function_is_asked_for_where_s_yaml_says(project: Project, cloud: LocalCloud) -> None:
    """The plugin is given its option, and goes through the proxy: here, the local cloud itself."""
    env = {"LINK_PEER_FC_ENDPOINT": "http://fc.example.com", "HTTP_PROXY": cloud.endpoint, "NO_PROXY": "127.0.0.1"}
    code, text = project.run("deploy -y", **env)
    assert (code, "names http://fc.example.com, to which no keys are sent" in text) == (101, True), text
    assert project.functions() == {}
    project.edit("- plugin: ./build/stamp.js", "- plugin: ./build/stamp.js\n          args: {fc_host: fc.example.com}")
    project.calls_of("deploy -y", **env)
    assert len(project.functions()) == 3


def test_another_deployment_is_not_replaced(project: Project) -> None:
    """Of the same prefix: nobody would recognize its rules any more."""
    project.calls_of("deploy -y")
    project.package("first", deployment="lab")
    code, text = project.run("deploy -y")
    assert (code, "runs the deployment shop, and the package is for lab" in text) == (101, True), text


def test_two_deployments_stand_side_by_side(project: Project, cloud: LocalCloud) -> None:
    """And one is removed without the other."""
    project.calls_of("deploy -y")
    project.calls_of("deploy -y", LINK_PEER_PREFIX="second")
    assert len(project.functions()) == 6
    project.calls_of("remove -y")
    assert list(project.functions()) == ["second-auto-link", "second-cross-account", "second-sweep"]
    assert [timer.function for timer in cloud.triggers.timers] == ["second-sweep"]


# the commands of docs/deploy.md


def test_a_canary_gets_a_share_of_the_calls_until_it_is_finished(project: Project) -> None:
    """Publish without moving the alias, then give the new version a weight, then all calls. A deploy ends it, too, also
    of the same package; and a rollback of all functions is one command."""
    project.calls_of("deploy -y")
    project.package("another")
    project.calls_of("deploy --function -y --skip-actions")
    project.calls_of("version publish")
    project.calls_of('alias publish --alias-name live --version-id 1 --vw {"2":0.1}')
    assert project.live() == [("1", {"2": 0.1})] * 3
    project.calls_of("alias publish --alias-name live --version-id 2 --vw {}")
    assert project.live() == [("2", {})] * 3
    project.calls_of("deploy -y")
    assert project.live() == [("3", {})] * 3
    project.calls_of("alias publish --alias-name live --version-id 1 --vw {}")
    assert project.live() == [("1", {})] * 3


# a program of docs/api.md


def test_the_program_posts_a_request(tmp_path: Path) -> None:
    """With the SDK of the queue for Node.js alone."""
    [program] = re.findall(r"```js\n(.*?)```", (ROOT / "docs/api.md").read_text("utf-8"), re.S)
    cloud = LocalCloud()
    world.load(cloud)
    keys = cloud.identity.accounts[cloud.world.home]
    with serve(cloud):
        env = {
            "PATH": os.environ["PATH"],
            "NODE_PATH": str(ROOT / "build/serverless-devs/node_modules"),
            "ALIBABA_CLOUD_ACCOUNT_ID": cloud.world.home,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": keys.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": keys.access_key_secret,
            "MNS_ENDPOINT": cloud.endpoint,
        }
        subprocess.run(["node", "-e", program], env=env, cwd=tmp_path, check=True, timeout=120)  # noqa: S603, S607
    [message] = cloud.mns.receive(cloud.world.home, cloud.world.queue)
    request = decode(base64.b64decode(message.body), region="cn-hangzhou", now=cloud.clock.now())
    assert request.request_id == "chg-1044"
