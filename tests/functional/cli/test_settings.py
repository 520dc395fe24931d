"""Settings are judged where they are read: what cannot be meant ends a command before anything is read, posted or
built."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.functional.command import Cli
from tests.functional.lab import Lab

REQUEST = "request link --from sg-a --to sg-b --port tcp/3306 --wait"
COMMANDS = ("links", "doctor", "audit", "setup --dry-run", "account list", "package --first", REQUEST)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_misspelt_region_ends_every_command_with_the_one_that_was_meant(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    """Exit code 2. Nothing is asked of the cloud, nothing is posted, and no package is built."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINK_PEER_REGION", "cn-hangzou")
    calls = len(lab.cloud.faults.calls)
    assert cli(*command.split()) == 2
    assert (
        "LINK_PEER_REGION: 'cn-hangzou' is not a region that this version knows: did you mean cn-hangzhou?" in cli.err
    )
    assert len(lab.cloud.faults.calls) == calls
    assert not (tmp_path / "build").exists()


def test_the_region_of_a_profile_is_judged_too(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The message says where the region stands."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LINK_PEER_REGION")
    (tmp_path / ".aliyun").mkdir()
    config = tmp_path / ".aliyun" / "config.json"
    config.write_text('{"current": "a", "profiles": [{"name": "a", "region_id": "cn-shenzen"}]}')
    assert cli("links") == 2
    assert cli.err.startswith(f"the profile of {config}: 'cn-shenzen' is not a region")
    assert "did you mean cn-shenzhen?" in cli.err


def test_a_region_that_is_newer_than_the_list_is_named_by_a_setting(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then ECS is asked, which says whether there is one. The setting lets no other region pass."""
    monkeypatch.setenv("LINK_PEER_REGION", "cn-atlantis")
    assert cli("links") == 2
    assert cli.err.endswith("If it is a newer one: export LINK_PEER_NEW_REGION=cn-atlantis\n")
    monkeypatch.setenv("LINK_PEER_NEW_REGION", "cn-atlantis")
    assert cli("links") == 1
    assert "InvalidRegionId.NotFound" in cli.err
    monkeypatch.setenv("LINK_PEER_NEW_REGION", "cn-lemuria")
    assert cli("links") == 2


WRONG = {
    "LINK_PEER_REGION": "cn-hangzou",
    "LINK_PEER_PREFIX": "Link Peer",
    "LINK_PEER_TAG_PREFIX": "link-",
    "LINK_PEER_RUNTIME": "python3.9",
    "LINK_PEER_QUEUE": "requests/2",
    "LINK_PEER_SWEEP_QUEUE": "sweeps?",
    "LINK_PEER_AUDIT_PROJECT": "Audit",
    "LINK_PEER_AUDIT_LOGSTORE": "de cisions",
    "LINK_PEER_OPERATOR_LOGSTORE": "../decisions",
    "LINK_PEER_CALLS_PER_MINUTE": "many",
    "LINK_PEER_QUOTA_POLICIES": "0",
    "LINK_PEER_QUOTA_QUEUES": "-1",
    "LINK_PEER_CLOUD": "ftp://127.0.0.1",
    "LINK_PEER_ECS_ENDPOINT": "https://ecs.cn-hangzhou.aliyuncs.com/path",
    "LINK_PEER_STS_ENDPOINT": "http://127.0.0.1:99999",
    "LINK_PEER_SLS_ENDPOINT": "http://[::1",
}


@pytest.mark.parametrize("command", ["links", "package --first", "init --home 1000000000000001"])
def test_all_settings_that_are_wrong_are_named_at_once(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    """With what each must be; no more than one run is needed to see them."""
    monkeypatch.chdir(tmp_path)
    for name, value in WRONG.items():
        monkeypatch.setenv(name, value)
    assert cli(*command.split()) == 2
    lines = cli.err.splitlines()
    assert [line.partition(":")[0] for line in lines] == [*sorted(WRONG, key=[*WRONG].index)]
    assert all(" must be " in line for line in lines[1:])


@pytest.mark.parametrize(
    "command",
    [
        "links",
        "links --json",
        "links -o csv",
        "map",
        "map --json",
        "audit reason=quota",
        "audit reason=quota --json",
        "audit reason=quota -o csv",
        "failed",
        "sweep --dry-run",
    ],
)
@pytest.mark.usefixtures("triggers")
def test_an_answer_of_none_says_where_it_looked(
    living_lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """On stderr, so that programs read nothing where there is none. A region that exists and is the wrong one is in
    it."""
    living_lab.linked()
    living_lab.instance(living_lab.group())
    if command != "failed":  # the functions are in the right one
        monkeypatch.setenv("LINK_PEER_REGION", "cn-beijing")
    assert cli(*command.split()) in (0, 1)
    region = "cn-qingdao" if command == "failed" else "cn-beijing"
    accounts = "1000000000000001 (a@aliyun.com), 1000000000000002 (b@aliyun.com)"
    assert f"Looked at: region {region}; accounts {accounts}" in cli.err
    if command.startswith("audit"):
        assert re.search(r"; \S+T\S+Z to \S+T\S+Z\.\n", cli.err)
    if command.endswith("--json"):
        assert cli.out == ""


def test_an_answer_of_none_names_what_could_not_be_read(living_lab: Lab, cli: Cli) -> None:
    """That account was not looked at."""
    living_lab.fault(service="sts", action="AssumeRole", code="NoPermission", status=403, times=None)
    assert cli("links") == 1
    assert "; could not read 1000000000000002." in cli.err


def test_a_party_that_does_not_exist_is_told_with_where_it_was_looked_for(
    living_lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most often the region is another one."""
    _, _, db = living_lab.linked()
    monkeypatch.setenv("LINK_PEER_REGION", "cn-beijing")
    assert cli("who", db.id) == 2
    assert "Looked at: region cn-beijing; accounts 1000000000000001 (a@aliyun.com)" in cli.err
