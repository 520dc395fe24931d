"""With which keys and roles a command acts, and what it says where they are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alibabacloud_credentials.utils import auth_constant, auth_util
from aliyun_local.api import trust_text

from tests.functional.command import Cli, write_profiles
from tests.functional.lab import HOME, PEER, REGION, Lab

pytestmark = pytest.mark.usefixtures("living_lab")
KEYS = ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET")


@pytest.fixture(name="home")
def _home(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:  # after its variables
    """An empty home folder, on a machine that is no ECS instance. The SDK reads both when it is imported."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(auth_constant, "HOME", str(home))
    monkeypatch.setattr(auth_util, "environment_ecs_metadata_disabled", "true")
    for name in (*KEYS, "LINK_PEER_REGION", "LINK_PEER_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(home)
    return home


@pytest.fixture(name="configured")
def _configured(lab: Lab, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a policy file and two profiles of the `aliyun` CLI, of which that of the home account is
    current."""
    (home / "policy.yaml").write_bytes(lab.policy_path.read_bytes())
    write_profiles(lab, monkeypatch, home, {"prod": HOME, "other": PEER})
    return home


def read_as(findings: list[dict[str, str]]) -> dict[str, str]:
    """The ARN that read each account, from the lines of the doctor."""
    return {f["where"]: f["detail"].split("read here as ")[1] for f in findings if f["what"] == "access"}


@pytest.mark.parametrize("refusal", ["NoPermission", "EntityNotExist.Role", "ServiceUnavailable"])
def test_where_the_role_is_refused_the_keys_act_themselves(lab: Lab, cli: Cli, refusal: str) -> None:
    """They may be allowed more, or be those of a role already. Then only a peer role that trusts them opens."""
    status = 503 if refusal == "ServiceUnavailable" else 403
    lab.fault(service="sts", action="AssumeRole", code=refusal, status=status, times=None)
    _, findings = cli.json("doctor", HOME)
    assert read_as(findings) == {HOME: f"acs:ram::{HOME}:root"}
    assert cli("doctor", PEER) == 1


def test_an_account_without_a_readers_role_is_read_through_the_role(lab: Lab, cli: Cli) -> None:
    """Where that one trusts who reads, and they may assume it."""
    del lab.cloud.identity.roles[f"acs:ram::{PEER}:role/link-peer-reader"]
    reader = f"acs:ram::{HOME}:role/link-peer-reader"
    lab.cloud.identity.roles[f"acs:ram::{PEER}:role/link-peer"].trust = trust_text([reader], "link-peer-local-example")
    lab.cloud.identity.allow_only(reader, ["sts:AssumeRole"])
    _, findings = cli.json("doctor", PEER)
    assert read_as(findings)[PEER].startswith(f"acs:ram::{PEER}:assumed-role/link-peer/")


NO_ENTRY = {"service": "sts", "action": "AssumeRole", "code": "NoPermission", "status": 403}
UNREADABLE: dict[str, dict[str, Any]] = {
    "cannot be entered": NO_ENTRY,
    "shows no instances": {"service": "ecs", "action": "DescribeInstances", "account": PEER, "kind": "error"},
    "shows no groups": {"service": "ecs", "action": "DescribeSecurityGroups", "account": PEER, "kind": "error"},
}


@pytest.mark.parametrize("fault", UNREADABLE)
def test_an_account_that_cannot_be_read_fails_the_command(lab: Lab, cli: Cli, fault: str) -> None:
    """Exit code 1, and the account's uid and the error; what the other account holds is shown all the same."""
    _, _, db = lab.linked()
    lab.fault(**UNREADABLE[fault], times=None)
    for command in ("links", "map", "doctor", "sweep", "sweep --dry-run"):
        assert cli(*command.split()) == 1, command
        output = cli.out + cli.err
        assert PEER in output, command
        assert ("NoPermission" if fault == "cannot be entered" else "InternalError") in output, command
        assert db.id in output or command not in ("links", "map")


@pytest.mark.usefixtures("peer_keys")
@pytest.mark.parametrize("command", ["verify --from i-1 --to 10.0.0.1"])
def test_keys_of_another_account_are_refused(cli: Cli, command: str) -> None:
    """With such keys, everything in the home account would look deleted, and that account's instances like home's."""
    assert cli(*command.split()) == 2
    assert cli.out == ""
    assert f"keys: acs:ram::{PEER}:root belongs to account {PEER} (b@aliyun.com); " in cli.err
    assert f"this command needs keys of the home account, {HOME} (a@aliyun.com): link-peer --profile NAME" in cli.err


def test_the_session_of_a_long_command_is_renewed(lab: Lab) -> None:
    """`audit --follow` reads for as long as it runs; a session ends after an hour."""
    from link_peer_cli.access.environment import load_environment

    env = load_environment(reading=True)
    first = env.keys()
    lab.cloud.clock.sleep(3000)
    assert env.keys() == first
    lab.cloud.clock.sleep(500)
    assert env.keys() != first
    assert lab.cloud.faults.count("sts", "AssumeRole") == 2


@pytest.mark.usefixtures("configured")
def test_keys_and_region_come_from_the_profile_of_the_aliyun_cli(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current one, or that of `--profile`, which beats the keys of the environment. The policy file is the one in
    the current folder."""
    with monkeypatch.context() as patch:
        place = {"LINK_PEER_REGION": REGION, "LINK_PEER_POLICY": str(lab.policy_path)}
        for name, value in {**lab.function_keys(), **place}.items():
            patch.setenv(name, value)
        lab.sweep()
    code, findings = cli.json("doctor", HOME)
    assert (code, read_as(findings)[HOME].split("/")[0]) == (0, f"acs:ram::{HOME}:assumed-role")
    for profile, code in (("other", 2), ("prod", 0)):
        assert cli("--profile", profile, "links") == code
        assert cli("links", "--profile", profile) == code  # as people type it
    for name in KEYS:
        monkeypatch.setenv(name, "wrong")
    assert [cli("links"), cli("links", "--profile", "prod")] == [1, 0]


def test_a_profile_that_does_not_exist_is_named(cli: Cli, configured: Path) -> None:
    """The message says which file has no such profile."""
    assert cli("--profile", "absent", "doctor") == 1
    assert f"profile absent of {configured}/.aliyun/config.json" in cli.err


def test_the_region_is_given_before_or_after_the_command(lab: Lab, cli: Cli) -> None:
    """It beats LINK_PEER_REGION. A command with its own `--region` or `--profile` keeps that."""
    lab.linked()
    for args in (["--region", "cn-atlantis", "links"], ["links", "--region", "cn-atlantis"]):
        assert cli(*args, "--json") == 2
        assert "--region: 'cn-atlantis' is not a region" in cli.err
    assert cli("--region", "cn-beijing", "links", "--region", "cn-qingdao", "--json") == 0
    assert cli.out
    assert cli("links", "--json") == 0  # the next command starts anew
    assert cli.out
