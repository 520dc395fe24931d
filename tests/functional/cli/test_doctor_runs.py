"""`link-peer doctor` goes by what runs: the last run that was due, as the functions' own role, and the package of the
functions."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from aliyun_local.api import LocalCloud, Triggers, VirtualClock, mount
from link_peer.alicloud.sts import CACHE
from link_peer.app import compose
from link_peer_cli.access.environment import load_environment
from link_peer_cli.checks.runs import Runs, not_due
from link_peer_cli.demo import world
from link_peer_cli.demo.functions import deploy
from link_peer_cli.demo.local_cloud import describe, environment
from msgspec.structs import replace
from pytest_mock import MockerFixture

from tests.functional.command import Cli, write_profiles
from tests.functional.lab import HOME, PEER, REGION, Lab

ROLE = f"acs:ram::{PEER}:role/link-peer"


@pytest.fixture(name="cli")
def _cli(lab: Lab, living_lab: Lab, triggers: Triggers, capsys: pytest.CaptureFixture[str]) -> Cli:
    """A whole deployment, as the three commands make it, after its first run."""
    cli = Cli(capsys)
    assert cli("setup", "--yes", "--region", REGION, "--notify", "ops@example.com") == 0
    run(lab, triggers)
    assert wrong(cli) == []
    return cli


def run(lab: Lab, triggers: Triggers) -> None:
    """The timer's next run, when the sessions of the roles that the functions have are over."""
    lab.cloud.clock.sleep(1200 - lab.cloud.clock.now() % 600)
    triggers.fire_timer("every-10m")
    triggers.drain()


def wrong(cli: Cli, *options: str) -> list[tuple[str, str, str, str]]:
    """(state, account, what, detail) of what a doctor finds of the platform that is not ok."""
    code, findings = cli.json("doctor", *options, *(() if options else ("--platform",)))
    platform = [finding for finding in findings if finding["part"] == "platform"]
    lacking = [(f["state"], f["where"], f["what"], f["detail"]) for f in platform if f["state"] != "ok"]
    assert code == int(any(state != "warning" for state, *_ in lacking))
    return lacking


def reached(cli: Cli) -> dict[str, tuple[bool, str, str]]:
    """Of each account, whether the functions entered it, as which role, and why not."""
    _, rows = cli.json("account", "list")
    return {row["uid"]: (row["reached"], row["as"], row["problem"]) for row in rows}


# the way into an account


def without_role(lab: Lab) -> None:
    del lab.cloud.identity.roles[ROLE]


def with_another_trust(lab: Lab) -> None:
    role = lab.cloud.identity.roles[ROLE]
    role.trust = role.trust.replace("link-peer-fc", "somebody-else")


@pytest.mark.parametrize(
    ("break_it", "code"), [(without_role, "EntityNotExist.Role"), (with_another_trust, "NoPermission")]
)
def test_an_account_is_ok_only_where_the_functions_entered_it(
    lab: Lab,
    cli: Cli,
    triggers: Triggers,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    break_it: Any,
    code: str,
) -> None:
    """The reader's own role in the account is whole, and says nothing of that: the code of the refusal, and the command
    that mends it, which the next run shows."""
    entered = {HOME: (True, "own role", ""), PEER: (True, ROLE, "")}
    assert reached(cli) == entered
    break_it(lab)
    run(lab, triggers)
    missing = ("missing", PEER, "access")
    for options in ((), (PEER,)):
        [finding] = wrong(cli, *options)
        assert finding[:3] == missing
        assert finding[3].startswith(
            f"the functions could not enter it 0 minutes ago: {code}; 1 instance, 0 groups with our rules, "
        )
    assert cli("doctor", PEER) == 1
    command = f"link-peer account add {PEER} --profile PROFILE"
    assert command in cli.out
    assert reached(cli)[PEER] == (False, "", f"the functions could not enter it 0 minutes ago: {code}")
    write_profiles(lab, monkeypatch, tmp_path, {"peer": PEER})
    assert cli(*command.removeprefix("link-peer ").replace("PROFILE", "peer").split()) == 0, cli.err
    run(lab, triggers)
    assert (wrong(cli), reached(cli)) == ([], entered)


def test_what_the_role_may_not_do_there_is_missing_too(lab: Lab, cli: Cli, triggers: Triggers) -> None:
    """It was entered, and refused a call."""
    lab.cloud.identity.allow_only(ROLE, ["ecs:DescribeInstances"])
    run(lab, triggers)
    [(state, account, subject, detail)] = wrong(cli)
    assert (state, account, subject) == ("missing", PEER, "access")
    assert detail.startswith(f"entered as {ROLE}, and refused 0 minutes ago: ")


def test_an_account_that_met_a_transient_error_is_unknown(lab: Lab, cli: Cli, triggers: Triggers) -> None:
    """It was not refused, and not read: the next run tries again."""
    lab.fault(service="sts", action="AssumeRole", kind="error", status=503, code="ServiceUnavailable", times=40)
    run(lab, triggers)
    lab.cloud.faults.clear()
    [(state, account, subject, detail)] = wrong(cli)
    assert (state, account, subject) == ("unknown", PEER, "access")
    assert detail.startswith("could not be read 0 minutes ago: ")
    assert "ServiceUnavailable" in detail
    run(lab, triggers)
    assert wrong(cli) == []


def test_what_only_the_reader_may_not_read_is_no_finding_of_the_functions(lab: Lab, cli: Cli) -> None:
    """The functions entered the account; the doctor could not read it."""
    for name in ("link-peer-reader", "link-peer"):
        role = lab.cloud.identity.roles[f"acs:ram::{PEER}:role/{name}"]
        role.trust = role.trust.replace("link-peer-reader", "somebody-else").replace("link-peer-operator", "nobody")
    CACHE.clear()
    [(state, account, subject, detail)] = wrong(cli)
    assert (state, account, subject) == ("unknown", PEER, "contents")
    assert "NoPermission" in detail
    assert reached(cli)[PEER][0]


def test_an_account_whose_sweep_is_late_is_a_warning(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer runs, and the messages of one account are not carried out, which wait on the queue."""
    monkeypatch.setenv("LINK_PEER_SWEEP_QUEUE", "link-peer-sweeps")
    for _ in range(3):
        lab.cloud.clock.sleep(600)
        lab.sweep()
        lab.sweep_account(HOME)
    [waiting, late] = wrong(cli)
    assert waiting[:3] == ("warning", "", "accounts to sweep")
    assert late[:3] == ("warning", PEER, "access")
    assert late[3].startswith(f"the last sweep of it is late: entered as {ROLE} ")


def test_before_the_first_run_nothing_is_missing(
    lab: Lab, living_lab: Lab, triggers: Triggers, capsys: pytest.CaptureFixture[str]
) -> None:
    """No run was due since the functions were deployed, which is ok; twenty minutes later one was, and nothing is known
    of the accounts."""
    cli = Cli(capsys)
    assert cli("setup", "--yes", "--region", REGION, "--notify", "ops@example.com") == 0
    assert wrong(cli) == []
    _, findings = cli.json("doctor", "--platform")
    undue = [(f["where"], f["what"]) for f in findings if f["detail"].startswith("no run was due yet: ")]
    assert undue == [("", "last sweep"), (HOME, "access"), (PEER, "access")]
    lab.cloud.clock.sleep(1200)
    states = [("missing", "", "last sweep"), ("unknown", HOME, "access"), ("unknown", PEER, "access")]
    assert [finding[:3] for finding in wrong(cli)] == states


def test_before_anything_is_deployed_the_advice_is_to_deploy_it(
    lab: Lab, living_lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log has no run, and a function that does not exist has no errors to look at."""
    cli = Cli(capsys)
    assert cli("setup", "--yes", "--region", REGION, "--notify", "ops@example.com") == 0
    _, findings = cli.json("doctor", "--platform")
    advice = {(f["where"], f["what"]): f["advice"] for f in findings if f["what"] in ("last sweep", "access")}
    deploy = "link-peer package (the first time, with --first); s deploy -y"
    assert advice == dict.fromkeys([("", "last sweep"), (HOME, "access"), (PEER, "access")], deploy)


def test_the_first_turn_of_one_of_many_accounts_is_due_later(lab: Lab) -> None:
    """A hundred accounts have their turns with three runs of the timer; what the timer itself owes does not wait for
    that."""
    env = load_environment(reading=True)
    accounts = {f"{1000000000000001 + n}": env.policy.accounts[HOME] for n in range(100)}
    env = replace(env, policy=replace(env.policy, accounts=accounts))
    for minutes, timer_is_due, account_is_due in (
        (19, False, False),
        (21, True, False),
        (39, True, False),
        (41, True, True),
    ):
        runs = Runs(deployed=env.now - minutes * 60)
        assert (not_due(env, runs, "", "last sweep") is None) == timer_is_due
        assert (not_due(env, runs, HOME, "access") is None) == account_is_due


# the package that runs


@pytest.mark.parametrize(
    ("running", "advice"),
    [("0.0.9", "link-peer package; s deploy -y"), ("9.0.0", "install 9.0.0 here, then: link-peer --version")],
)
def test_the_version_of_the_package_is_compared_with_that_of_the_command(
    lab: Lab, cli: Cli, running: str, advice: str
) -> None:
    """It says which of the two is newer, and what to type."""
    installed = metadata.version("link-peer")
    lab.publish(version=running)
    code, findings = cli.json("doctor", "--platform")
    [finding] = [f for f in findings if f["what"] == "version"]
    assert (code, finding["state"], finding["advice"]) == (0, "warning", advice)
    newer = (
        f"{installed}, which is here, is newer" if running < installed else f"is newer than {installed}, which is here"
    )
    assert newer in finding["detail"]
    lab.publish()
    assert wrong(cli) == []


@pytest.mark.parametrize("version", ["9" * 5_000, "0.1.0\nok", "\u202e1.0", ""])
def test_a_package_may_not_say_just_anything_of_its_version(lab: Lab, cli: Cli, version: str) -> None:
    """What is no version counts as none."""
    lab.publish(version=version or " ")
    [(state, _, subject, detail)] = wrong(cli)
    assert (state, subject) == ("warning", "version")
    assert "does not say its version" in detail


def test_on_fc_2_the_package_is_read_through_its_service(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """Where FC 3.0 has no function of the deployment. What cannot be read there is no reason to build what is wider."""
    lab.publish()
    wider = tmp_path / "wider.yaml"
    wider.write_bytes(lab.policy_path.read_bytes())
    lab.policy(deny={"ports": ["tcp/22"]})
    lab.publish()
    lab.fault(service="fc", action="GetAlias", code="FunctionNotFound", status=404, times=None)  # of FC 3.0 alone
    code, [plan] = cli.json("plan", "--policy", str(wider))
    assert plan["problems"] == []
    assert (code, plan["against"], [change["kind"] for change in plan["permissions"]]) == (
        0,
        "what is deployed",
        ["wider"],
    )
    assert cli("package", "--policy", str(wider), "--out", str(tmp_path / "build")) == 1
    assert "more could open" in cli.err
    lab.fault(service="fc", action="GetFunctionCode", code="AccessDenied", status=403, times=None)
    assert cli("package", "--policy", str(wider), "--out", str(tmp_path / "build")) == 1
    assert "AccessDenied" in cli.err
    assert "(on FC 2.0): give --against FILE" in cli.err
    assert not (tmp_path / "build").exists()


# every world


@pytest.mark.parametrize("name", ["two-accounts", "shop", "cross-account", "two-vpcs", "by-hand", "company"])
def test_after_a_run_on_a_healthy_deployment_all_is_ok(
    mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """On every world of the local cloud, once the timer's run and what it posted are carried out."""
    cloud = LocalCloud(VirtualClock())
    world.load(cloud, name)
    mount(mocker, cloud)
    cloud.endpoint = "http://127.0.0.1:1"
    for variable, value in environment(describe(cloud)).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("LINK_PEER_CLOUD", "http://192.0.2.1:1")
    monkeypatch.setattr(compose, "clock_for_functions", lambda: cloud.clock)
    CACHE.clear()
    triggers, cli = deploy(cloud, in_process=True), Cli(capsys)
    assert cli("setup", "--yes", "--region", cloud.region, "--notify", "ops@example.com") == 0, cli.err
    triggers.fire_timer("every-10m")
    triggers.drain(within=60)  # short sweeps are later
    assert wrong(cli) == []
    assert json.loads(cli.out.splitlines()[-1])["what"] == "access"
