"""`init`, `check`, `package` and `--version`: what a team needs before it has an account, a checkout or keys."""

from __future__ import annotations

import json
import re
import subprocess
from importlib.metadata import PathDistribution, version
from pathlib import Path
from typing import Any

import pytest
import yaml
from link_peer.inbound import policy_file
from link_peer_cli.commands.init import DENIAL, PINS, WORKFLOW
from link_peer_deploy import archives, packaging
from link_peer_deploy.documents import owners_denial
from link_peer_deploy.manifest import load
from link_peer_deploy.project import ROOT

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab

UID = "1234567890123456"
POLICY = f"""deployment: prod
accounts:
  "{HOME}": {{}}
  "{PEER}": {{role: "acs:ram::{PEER}:role/link-peer", external_id: secret}}
"""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is empty, without any setting."""
    for name in ("POLICY", "REGION", "PREFIX", "CLOUD", "TAG_PREFIX"):
        monkeypatch.delenv(f"LINK_PEER_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(name="offline")
def _offline(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def test_init_writes_a_deployment_that_can_be_checked_and_deployed(folder: Path, offline: Cli) -> None:
    """One account, the region and prefix that were given: in the policy, and as defaults of s.yaml."""
    assert offline("--region", "cn-hangzhou", "init", "--home", UID, "--prefix", "acme", "--deployment", "shop") == 0
    assert {path.name for path in folder.iterdir()} == {"policy.yaml", "s.yaml", "README.md", ".gitignore", DENIAL}
    policy = policy_file.load(folder / "policy.yaml")
    assert (policy.home, policy.deployment, list(policy.accounts)) == (UID, "shop", [UID])
    manifest = load(folder / "s.yaml", env={}, account=UID)
    assert manifest.region == "cn-hangzhou"
    assert {function.name for function in manifest.functions} == {"acme-auto-link", "acme-cross-account", "acme-sweep"}
    assert offline("check") == 0
    assert offline.out == "policy.yaml: valid, 1 account, 0 tests hold\n"


def test_a_new_terminal_deploys_for_the_runtime_that_init_was_given(
    folder: Path, offline: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a region that does not offer the usual one: in s.yaml, and in what is to be exported for the other
    commands."""
    monkeypatch.setenv("LINK_PEER_RUNTIME", "python3.10")
    assert offline("--region", "ap-southeast-1", "init", "--home", UID) == 0
    assert "LINK_PEER_TAG_PREFIX=link LINK_PEER_RUNTIME=python3.10; link-peer setup" in offline.out
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "TAG_PREFIX=link LINK_PEER_RUNTIME=python3.10\n" in readme
    assert "Node.js, Python 3.10, keys" in readme  # with which `link-peer package` compiles
    assert {text.runtime for text in load(folder / "s.yaml", env={}, account=UID).functions} == {"python3.10"}


def test_init_leaves_nothing_to_fill_in(folder: Path, offline: Cli) -> None:
    """No placeholder is left in any file but s.yaml, whose variables Serverless Devs replaces."""
    assert offline("--region", "cn-hangzhou", "init", "--out", "made", "--home", UID, "--workflow") == 0
    files = [path for path in (folder / "made").rglob("*") if path.is_file() and path.name != "s.yaml"]
    assert len(files) == 6
    assert not [path.name for path in files if re.search(r"\$\{(?!\{)|\$[a-z]", path.read_text(encoding="utf-8"))]
    assert yaml.safe_load((folder / "made/.github/workflows/link-peer.yml").read_text(encoding="utf-8"))["jobs"]
    assert yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["runs"]


def test_init_never_replaces_a_file(folder: Path, offline: Cli) -> None:
    """A README of a repository stays; beside another policy or s.yaml, nothing is written."""
    (folder / "README.md").write_text("mine", encoding="utf-8")
    assert offline("--region", "cn-hangzhou", "init", "--home", UID) == 0
    assert (folder / "README.md").read_text(encoding="utf-8") == "mine"
    assert "= README.md" in offline.out.splitlines()
    (folder / "policy.yaml").write_text("mine", encoding="utf-8")
    (folder / ".gitignore").unlink()
    assert offline("--region", "cn-hangzhou", "init", "--home", UID) == 1
    assert offline.err == f"policy.yaml and s.yaml exist in {folder}: choose another folder\n"
    (folder / "s.yaml").unlink()
    assert offline("--region", "cn-hangzhou", "init", "--home", UID) == 1
    assert offline.err == f"policy.yaml exists in {folder}: choose another folder\n"
    assert (folder / "policy.yaml").read_text(encoding="utf-8") == "mine"
    assert not (folder / ".gitignore").exists()


@pytest.mark.parametrize("manifest", ["mine", ""])
def test_init_adds_the_workflow_to_a_folder_that_has_a_policy(folder: Path, offline: Cli, manifest: str) -> None:
    """With the hashes of what it installs, and nothing else; it needs no keys, account or region for that. A workflow
    that is there stays."""
    files = {"policy.yaml": "mine", **({"s.yaml": manifest} if manifest else {})}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    assert offline("init", "--workflow") == 0
    assert offline.out.splitlines()[:2] == [f"+ {PINS}", f"+ {WORKFLOW}"]
    written = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert written.keys() == {*files, WORKFLOW, PINS}
    assert {name: written[name].read_text(encoding="utf-8") for name in files} == files
    written[WORKFLOW].write_text("mine", encoding="utf-8")
    assert offline("init", "--workflow") == 0
    assert offline.out == f"= {PINS}\n= {WORKFLOW}\n"
    assert written[WORKFLOW].read_text(encoding="utf-8") == "mine"


def test_an_s_yaml_without_a_policy_is_not_overwritten(folder: Path, offline: Cli) -> None:
    """With `--workflow`, too."""
    (folder / "s.yaml").write_text("mine", encoding="utf-8")
    assert offline("--region", "cn-hangzhou", "init", "--home", UID, "--workflow") == 1
    assert offline.err == f"s.yaml exists in {folder}: choose another folder\n"
    assert [path.name for path in folder.iterdir()] == ["s.yaml"]


GIT = {"vcs": "git", "commit_id": "c" * 40}
WHEEL = "https://git.example/link_peer-1-py3-none-any.whl"


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        (
            {"url": "https://git.example/link-peer.git", "vcs_info": GIT},
            f"git+https://git.example/link-peer.git@{'c' * 40}",
        ),
        ({"url": WHEEL, "archive_info": {"hashes": {"sha256": "d" * 64}}}, f"{WHEEL}#sha256={'d' * 64}"),
        ({"url": WHEEL, "archive_info": {}}, ""),
        ({"url": "ssh://git@git.example/link-peer.git", "vcs_info": GIT}, ""),
        ({"url": "file:///home/ann/link-peer", "dir_info": {}}, ""),
        ({}, ""),
    ],
)
def test_the_workflow_installs_the_link_peer_that_wrote_it(
    folder: Path, offline: Cli, monkeypatch: pytest.MonkeyPatch, origin: dict[str, Any], source: str
) -> None:
    """Where pip knows it; else `init` says what is to be written there, and the step fails until then."""
    monkeypatch.setattr(PathDistribution, "read_text", lambda *_: json.dumps(origin) if origin else None)
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    assert offline("init", "--workflow") == 0
    [step] = [step for step in steps(folder) if step.get("name") == "install link-peer"]
    assert step["env"]["SOURCE"] == source
    assert ("as SOURCE" in offline.out) == (not source)
    pins = archives.pins((folder / PINS).read_text(encoding="utf-8"), "python3.12")
    assert {"setuptools", "pyyaml", "typer"} <= {pin.name for pin in pins if pin.digests}
    pip = 'pip() { echo pip "$@"; }\n'
    command = ["bash", "-e", "-c", pip + step["run"]]
    finished = subprocess.run(command, env=step["env"], capture_output=True, text=True, check=False)  # noqa: S603
    installed = [
        f"pip install --quiet --no-deps --require-hashes --only-binary :all: --requirement {PINS}",
        f"pip install --quiet --no-deps --no-build-isolation {source}",
    ]
    assert finished.returncode == (not source)
    assert [line for line in finished.stdout.splitlines() if line.startswith("pip ")] == (installed if source else [])


def steps(folder: Path) -> list[dict[str, Any]]:
    """Those of the workflow in a folder."""
    workflow = yaml.safe_load((folder / WORKFLOW).read_text(encoding="utf-8"))
    listed: list[dict[str, Any]] = workflow["jobs"]["check"]["steps"]
    return listed


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("init", "--home", "12"), "--home: '12' is not an account uid"),
        (("init", "--home", UID), "--region: say where the functions and the instances are"),
        (("init", "--home", UID, "--deployment", "A"), "--deployment: 1 to 32 of a-z"),
    ],
)
def test_init_says_what_it_needs(
    folder: Path, offline: Cli, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], problem: str
) -> None:
    monkeypatch.setenv("HOME", str(folder))  # no profile of the aliyun CLI
    assert offline(*arguments) == 2
    assert offline.err.startswith(problem)
    assert list(folder.iterdir()) == []


def test_init_takes_the_account_of_the_keys(lab: Lab, offline: Cli, tmp_path: Path) -> None:
    assert offline("init", "--out", str(tmp_path / "new")) == 0
    assert policy_file.load(tmp_path / "new" / "policy.yaml").home == HOME


def test_check_compares_the_tag_prefix_where_the_setting_is_there(
    folder: Path, offline: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the functions do, which would not start; without the setting, the file's own holds."""
    (folder / "policy.yaml").write_text(f"tag_prefix: acme\n{POLICY}")
    assert offline("check") == 0
    monkeypatch.setenv("LINK_PEER_TAG_PREFIX", "acme")
    assert offline("check") == 0
    monkeypatch.setenv("LINK_PEER_TAG_PREFIX", "link")
    assert offline("check") == 1
    assert "tag_prefix is acme, but LINK_PEER_TAG_PREFIX is link" in offline.out
    monkeypatch.setenv("LINK_PEER_TAG_PREFIX", "Acme-")
    assert offline("check") == 1
    assert "LINK_PEER_TAG_PREFIX is 'Acme-'" in offline.err


def test_the_workflow_keeps_no_credentials_and_finds_the_policy_of_the_base(folder: Path, offline: Cli) -> None:
    """The steps after the checkout have no token in .git to take; what it fetched has the base branch, before the
    merge."""
    assert offline("--region", "cn-hangzhou", "init", "--home", UID, "--workflow") == 0
    workflow = yaml.safe_load((folder / WORKFLOW).read_text(encoding="utf-8"))
    checkout, *later_steps = workflow["jobs"]["check"]["steps"]
    assert checkout["with"]["persist-credentials"] is False
    assert not [step for step in later_steps if "git fetch" in step.get("run", "")]

    def git(*words: str, place: str = "remote") -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
        command = ["git", "-C", str(folder / place), *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603

    (folder / "remote").mkdir()
    git("init", "-q", "-b", "main")
    for text in ("base: 1", "change: 1"):
        git("checkout", "-q", "-B", text.partition(":")[0])
        (folder / "remote" / "policy.yaml").write_text(text)
        git("add", ".")
        git("commit", "-q", "-m", text)
    git("checkout", "-q", "base")
    git("merge", "-q", "--no-ff", "-m", "as GitHub merges it", "change")
    depth = str(checkout["with"]["fetch-depth"])
    git("clone", "-q", "--depth", depth, f"file://{folder / 'remote'}", "clone", place=".")
    assert (git("show", "HEAD^1:policy.yaml", place="clone"), git("show", "HEAD:policy.yaml", place="clone")) == (
        "base: 1",
        "change: 1",
    )
    assert any("HEAD^1:policy.yaml" in step.get("run", "") for step in later_steps)


def test_check_names_each_fault_with_its_line(folder: Path, offline: Cli) -> None:
    """Of every file that is given, as a pre-commit hook does."""
    (folder / "good.yaml").write_text(POLICY, encoding="utf-8")
    (folder / "bad.yaml").write_text("deployment: prod\naccounts: none\n", encoding="utf-8")
    assert offline("check", "good.yaml", "bad.yaml", "gone.yaml") == 2
    assert offline.out.splitlines()[0] == "good.yaml: valid, 2 accounts, 0 tests hold"
    assert offline.out.splitlines()[1].startswith("bad.yaml:2:11: accounts")
    assert offline.out.splitlines()[2] == "gone.yaml: cannot be read (No such file or directory)"
    code, checked_files = offline.json("check", "good.yaml", "bad.yaml")
    assert (code, [len(checked_file["problems"]) for checked_file in checked_files]) == (1, [0, 1])


@pytest.mark.parametrize("ending", ["requests", "sweeps", "dead-letters"])
def test_a_queue_of_the_deployment_cannot_be_an_account_s(
    folder: Path, offline: Cli, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """Others than the account post to it: `check` refuses it under the deployment's prefix alone."""
    monkeypatch.setenv("LINK_PEER_PREFIX", "acme")
    policy = POLICY.replace("external_id: secret", f"external_id: secret, queue: acme-{ending}")
    (folder / "policy.yaml").write_text(policy, encoding="utf-8")
    assert offline("check") == 1
    assert offline.out == (
        f"policy.yaml: accounts.{PEER}.queue: is acme-{ending}, a queue of the deployment itself, so it cannot prove that "
        f"{PEER} asks: name another, such as acme-requests-{PEER}\n"
    )
    monkeypatch.setenv("LINK_PEER_PREFIX", "link-peer")
    assert offline("check") == 0


def test_owners_of_groups_are_denied_the_keys_of_the_sets(folder: Path, offline: Cli) -> None:
    """Rendered from the policy file, for whoever may tag their own groups. Without sets there is nothing to deny."""
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    assert offline("check", "--deny-sets", "deny.json") == 2
    assert "the policy file has no sets" in offline.err
    sets = f'sets: {{prod: {{account: "{HOME}", tags: {{env: prod, tier: db}}}}}}\n'
    (folder / "policy.yaml").write_text(POLICY + sets, encoding="utf-8")
    assert offline("check", "--deny-sets", "deny.json") == 0
    denial = json.loads((folder / "deny.json").read_text(encoding="utf-8"))
    assert denial == owners_denial(["env", "tier"])
    assert offline("check", "policy.yaml", "policy.yaml", "--deny-sets", "deny.json") == 2


def many_accounts(own_queues: int, *, names: bool = False, count: int = 1000) -> str:
    """A policy of many accounts beside home."""
    uids = range(1000000000000002, 1000000000000002 + count)
    lines = (
        f'  "{uid}": {{role: "acs:ram::{uid}:role/link-peer{f"-{uid}" * names}", external_id: secret'
        + (f", queue: link-peer-requests-{uid}" if at < own_queues else "")
        + "}"
        for at, uid in enumerate(uids)
    )
    return "\n".join([f'deployment: prod\naccounts:\n  "{HOME}": {{}}', *lines, ""])


def test_what_one_document_of_the_platform_refuses_is_said_and_passes(folder: Path, offline: Cli) -> None:
    """RAM's error code has five policies of a role, its page of limits ten."""
    (folder / "policy.yaml").write_text(many_accounts(0, names=True, count=200), encoding="utf-8")
    assert offline("check") == 0
    message = "role link-peer-operator: it would have 7 custom policies, and RAM attaches 5 by one document, 10 by another: if it"
    assert message in offline.err


@pytest.mark.parametrize(
    ("text", "message", "quota"),
    [
        (many_accounts(0), "", ""),
        (many_accounts(997), "", ""),
        (
            many_accounts(1000),
            "queues: the policy needs 1003, and SMQ allows 1000 a region: take `queue` from 3",
            "QUEUES",
        ),
        (
            many_accounts(0, names=True),
            "role link-peer-operator: it would have 27 custom policies, and RAM attaches 10",
            "POLICIES",
        ),
    ],
    ids=["one role name", "queues", "more queues", "many role names"],
)
def test_a_limit_of_the_platform_is_named_before_anything_is_made(
    folder: Path, offline: Cli, monkeypatch: pytest.MonkeyPatch, text: str, message: str, quota: str
) -> None:
    """A thousand accounts are no problem, but for more queues than SMQ allows by default, and a role name of each
    account's own: by `check` and `package`, until the quota is raised."""
    (folder / "policy.yaml").write_text(text, encoding="utf-8")
    assert offline("check") == bool(message)
    assert message in offline.out
    if quota:
        assert offline("package", "--first") == 1
        assert message in offline.err
        monkeypatch.setenv(f"LINK_PEER_QUOTA_{quota}", "2000")
        assert offline("check") == 0
        monkeypatch.setenv(f"LINK_PEER_QUOTA_{quota}", "many")
        assert offline("check") == 2


def test_check_judges_the_tests(folder: Path, offline: Cli) -> None:
    """One that the policy decides alone is judged; one that depends on tags is counted."""
    path = folder / "policy.yaml"
    accept = f'tests: [{{from: "sg-app@{HOME}", accept: ["sg-db@{PEER}:tcp/443"]}}]\n'
    path.write_text(POLICY + accept, encoding="utf-8")
    assert offline("check") == 0
    assert offline.out == (
        "policy.yaml: valid, 2 accounts, 0 tests hold, 1 depend on tags and are not judged: give --live or --snapshot\n"
    )
    path.write_text(f"{POLICY}deny: {{ports: [tcp/443]}}\n{accept}", encoding="utf-8")
    assert offline("check") == 1
    assert "tests[0].accept[0]" in offline.out


def test_check_judges_on_a_snapshot_what_it_judged_on_the_cloud(lab: Lab, offline: Cli, tmp_path: Path) -> None:
    """The file that `check --live --out` writes needs no keys to be judged, and holds no external id."""
    app, db = lab.group(), lab.group("*:tcp/443")
    for group in (app, db):
        lab.instance(group)

    def tests(accept: str) -> None:
        links = {"accept": [f"{db.id}@{HOME}:{accept}"], "deny": [f"{db.id}@{HOME}:tcp/22"]}
        lab.policy(tests=[{"from": f"{app.id}@{HOME}", **links}])

    tests("tcp/443")
    saved = str(tmp_path / "snapshot.json")
    assert offline("check", str(lab.policy_path), "--live", "--out", saved) == 0
    calls = len(lab.cloud.faults.calls)
    assert offline("check", str(lab.policy_path), "--snapshot", saved) == 0
    assert offline.out.endswith(": valid, 2 accounts, 2 tests hold\n")
    tests("tcp/444")
    assert offline("check", str(lab.policy_path), "--snapshot", saved) == 1
    assert "no-consent" in offline.out
    assert len(lab.cloud.faults.calls) == calls
    assert "local-example" not in Path(saved).read_text(encoding="utf-8")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"link_peer_snapshot": 2}', "\xff"])
def test_check_refuses_what_is_no_snapshot(folder: Path, offline: Cli, content: str) -> None:
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    (folder / "snapshot.json").write_bytes(content.encode("latin-1"))
    assert offline("check", "--snapshot", "snapshot.json") == 2
    assert "--snapshot: snapshot.json is not a snapshot" in offline.err


@pytest.mark.parametrize("source", ["option", "setting", "folder"])
def test_package_builds_with_the_policy_in_use(
    offline: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """`--policy`, else LINK_PEER_POLICY, else policy.yaml of the current folder; into `--out`, for the region and
    prefix in use."""
    builds: list[object] = []

    def build(policy: Path, out: Path, target: packaging.Target, *, compiled: bool, **_: object) -> packaging.Built:
        builds.extend((policy.resolve(), out, target, compiled))
        archive = tmp_path / "package.zip"
        archive.write_bytes(b"zip")
        return packaging.Built(out / "package", archive, "d1", 3)

    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    monkeypatch.setattr(packaging, "build", build)
    monkeypatch.chdir(tmp_path if source == "folder" else "/")
    monkeypatch.setenv("LINK_PEER_POLICY", str(policy) if source == "setting" else "")
    monkeypatch.setenv("LINK_PEER_REGION", "cn-hangzhou")
    monkeypatch.setenv("LINK_PEER_PREFIX", "acme")
    monkeypatch.delenv("LINK_PEER_RUNTIME", raising=False)
    command = ("package", "--first", "--out", "made", *(["--policy", str(policy)] if source == "option" else []))
    assert offline(*command) == 0
    assert builds == [policy, Path("made"), packaging.Target("python3.12", "cn-hangzhou", "acme"), True]
    assert "SHA-256 d1" in offline.out
    code, [built] = offline.json(*command)
    assert (code, built["sha256"], built["bytes"], built["unpacked_bytes"]) == (0, "d1", 3, 3)


def test_package_refuses_a_wider_policy(folder: Path, offline: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it builds anything; without keys, it names the three ways to go on."""
    built = folder / "package.zip"
    built.touch()
    monkeypatch.setattr(packaging, "build", lambda *_, **__: packaging.Built(folder, built, "d1", 3))
    for name, text in (("policy.yaml", POLICY), ("old.yaml", f"{POLICY}deny: {{ports: [tcp/22]}}\n")):
        (folder / name).write_text(text, encoding="utf-8")
    assert offline("package", "--against", "old.yaml") == 1
    assert "deny.ports: tcp/22 may open" in offline.err
    assert offline("package", "--against", "old.yaml", "--allow-wider") == 0
    assert offline("package", "--policy", "old.yaml", "--against", "policy.yaml") == 0
    assert offline("package", "--against", "./policy.yaml") == 2
    assert offline("package") == 1
    assert all(option in offline.err for option in ("--against FILE", "--allow-wider", "--first"))
    assert offline("package", "--allow-wider") == 0
    assert "not compared" in offline.err
    assert offline("package", "--first", "--allow-wider") == 2


@pytest.mark.usefixtures("folder")
def test_package_without_a_policy_says_how_to_make_one(offline: Cli) -> None:
    assert offline("package") == 1
    assert "there is no policy file policy.yaml" in offline.err
    assert "link-peer init" in offline.err


def test_version_names_what_is_installed(offline: Cli) -> None:
    """link-peer, Python and the SDKs."""
    assert offline("--version") == 0
    assert f"link-peer {version('link-peer')}" in offline.out.splitlines()
    code, [installed] = offline.json("--version")
    assert (code, installed["alibabacloud-ecs20140526"]) == (0, version("alibabacloud-ecs20140526"))
