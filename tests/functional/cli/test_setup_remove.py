"""`link-peer setup --remove` in a deployment that has worked: what is in the way, and that its advice takes it out."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from tests.functional.command import Cli, Linked, write_profiles
from tests.functional.lab import HOME, MANAGED, PEER, Lab


@pytest.fixture(name="cli")
def _cli(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """A deployment in two accounts, with a profile of the `aliyun` CLI for each."""
    write_profiles(lab, monkeypatch, tmp_path, {"home": HOME, "peer": PEER})
    cli = Cli(capsys)
    assert cli("setup") == 0
    return cli


def forget(lab: Lab, uid: str) -> None:
    """Deletes an account from the policy file, as the advice says."""
    policy = yaml.safe_load(lab.policy_path.read_text())
    del policy["accounts"][uid]
    lab.policy_path.write_text(yaml.safe_dump(policy))


def home_roles(lab: Lab) -> set[str]:
    """The roles of link-peer in the home account."""
    names = {role.name for role in lab.cloud.identity.roles.values() if role.account == HOME}
    return {name for name in names if name.startswith("link-peer")}


@pytest.mark.knobs(request_tags=True)  # else nobody may lock with the operator's role
def test_after_close_all_the_tags_that_are_left_are_taken_off(lab: Lab, links: Linked, cli: Cli) -> None:
    """They are no rules; --dry-run leaves them."""
    assert cli("close", "--all", "--yes", "--profile", "peer") == 0, cli.err
    tagged = [group for group in links.groups if MANAGED in lab.tags(group)]
    assert tagged
    assert cli("setup", "--remove", "--dry-run") == 0
    assert "in the way" not in cli.out
    assert cli("setup", "--remove", "--yes") == 0, cli.err
    for group in tagged:
        assert f"{group.id}@{group.account}: removed its managed tag" in cli.out or MANAGED not in lab.tags(group)
        assert not [key for key in lab.tags(group) if key.startswith("link-managed")]
    assert home_roles(lab) == set()


def test_a_rule_without_the_tag_is_found(lab: Lab, cli: Cli) -> None:
    """Somebody took the tag off; the marker says whose rule it is."""
    _, _, db = lab.linked()
    lab.call(HOME, "UntagResources", {"ResourceType": "securitygroup", "ResourceId.1": db.id, "TagKey.1": MANAGED})
    assert cli("setup", "--remove", "--yes") == 1
    assert f"account {HOME}: rules of link-peer are left on {db.id}" in cli.err
    assert home_roles(lab) != set()
    assert cli("setup", "--remove", "--yes", "--force") == 0
    assert home_roles(lab) == set()


@pytest.mark.knobs(request_tags=True)
def test_the_advice_can_be_pasted(lab: Lab, links: Linked, cli: Cli) -> None:
    """Each command in it, as it stands, and each deletion from the policy file; then nothing is in the way."""
    assert cli("setup", "--remove", "--yes") == 1
    advice = cli.err
    commands = [shlex.split(command) for command in re.findall(r"`link-peer ([^`]+)`", advice)]
    assert len(commands) == 2
    for command in commands:
        assert cli(*command) == 0, cli.err
    for uid in re.findall(r'delete "(\d+)"', advice):
        forget(lab, uid)
    assert cli("setup", "--remove", "--yes") == 0, cli.err
    assert links.counts() == [0, 0, 0, 0]
    assert home_roles(lab) == set()


@pytest.mark.knobs(request_tags=True)
def test_an_account_that_was_removed_is_in_the_way_until_the_policy_file_forgets_it(
    lab: Lab, links: Linked, cli: Cli
) -> None:
    """It cannot be entered any more, so nobody knows what is left there but the person who removed it."""
    assert cli("account", "remove", PEER, "--profile", "peer", "--yes") == 0
    assert cli("close", links.cache.id, "--yes") == 0, cli.err
    assert cli("setup", "--remove", "--yes") == 1
    assert f"account {PEER}: cannot be read" in cli.err
    assert f"`link-peer account remove {PEER} --yes --profile PROFILE`" in cli.err
    assert home_roles(lab) != set()
    forget(lab, PEER)
    assert cli("setup", "--remove", "--yes") == 0, cli.err
    assert "Accounts that are not in the policy file were not looked at." in cli.out
    assert home_roles(lab) == set()


@pytest.mark.parametrize("fault", [{"kind": "empty"}, {"code": "Forbidden.RAM", "status": 403}])
@pytest.mark.parametrize("options", [(), ("--force",)])
def test_roles_stay_where_the_regions_in_use_are_not_known_unless_forced(
    lab: Lab, cli: Cli, fault: dict[str, object], options: tuple[str, ...]
) -> None:
    """Another region may use them."""
    lab.fault(service="ecs", action="DescribeRegions", times=None, **fault)
    assert cli("setup", "--remove", "--yes", *options) == 0, cli.err
    message = "= role link-peer-fc: kept: which other regions have it is not known ("
    assert (message in cli.out, home_roles(lab) == set()) == (not options, bool(options))


def test_a_tag_that_may_not_be_taken_off_does_not_stop_the_removal(lab: Lab, cli: Cli) -> None:
    """It is named."""
    group = lab.group(tags={MANAGED: "true"})
    lab.fault(service="ecs", action="UntagResources", code="Forbidden.RAM", status=403, times=None)
    assert cli("setup", "--remove", "--yes") == 0, cli.err
    assert f"{group.id}@{HOME}: its managed tag stays (Forbidden.RAM" in cli.out
