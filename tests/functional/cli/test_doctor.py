"""`link-peer doctor` finds what the requested links lack."""

from __future__ import annotations

import pytest

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab


@pytest.fixture(name="cli")
def _cli(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Cli:
    lab.instance(lab.group(account=PEER))
    lab.instance(lab.group())
    return Cli(capsys)


def missing(cli: Cli, *options: str) -> list[tuple[str, str, str]]:
    """Run the doctor; return (account, what, detail) of each check with the state `missing`."""
    code, found = cli.json("doctor", *options)
    lacking = [(f["where"], f["what"], f["detail"]) for f in found if f["state"] == "missing"]
    assert code == (1 if lacking else 0)
    return lacking


def test_a_healthy_deployment_has_nothing_missing(lab: Lab, cli: Cli) -> None:
    """Queue, log and both accounts are ok. The doctor changes nothing and records nothing."""
    code, found = cli.json("doctor")
    assert (code, {f["state"] for f in found}) == (0, {"ok"})
    assert {f["where"] for f in found} == {"", HOME, PEER}
    assert (lab.changes(), lab.records()) == (0, [])


def test_the_doctor_shows_the_identity_that_reads_each_account(lab: Lab, cli: Cli) -> None:
    """Each account is read with its role for readers."""
    _, found = cli.json("doctor")
    read_as = {f["where"]: f["detail"].split("read as ")[1] for f in found if f["what"] == "access"}
    for account in (HOME, PEER):
        assert read_as[account].startswith(f"acs:ram::{account}:assumed-role/link-peer-reader/")


def test_keys_that_do_not_belong_to_the_home_account_are_reported(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With such keys, everything in the home account would look deleted."""
    keys = lab.cloud.identity.accounts[PEER]
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", keys.access_key_id)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", keys.access_key_secret)
    assert (HOME, "access", f"the keys belong to account {PEER}: acs:ram::{PEER}:root") in missing(cli)


def test_denied_links_are_listed_with_advice(lab: Lab, cli: Cli) -> None:
    """No consent, an advanced group, a different VPC: each under the account that must act."""
    app, db = lab.group(), lab.group()
    advanced, elsewhere = lab.group("*", type="enterprise"), lab.group("*", vpc=lab.a)
    peers = [f"{group.id}:tcp/1" for group in (db, advanced, elsewhere)]
    lab.instance(app, tags={f"link-peer.{n}": peer for n, peer in enumerate(peers)})
    reasons = {what.split()[-1]: detail.split(":")[0] for _, what, detail in missing(cli)}
    assert reasons == {db.id: "no-consent", advanced.id: "advanced-group", elsewhere.id: "different-vpc"}
    assert cli("doctor") == 1
    assert f"link-accept={app.id}:tcp/1" in cli.out
    assert missing(cli, PEER) == []


def test_an_account_that_cannot_be_entered_is_reported(lab: Lab, cli: Cli) -> None:
    """With its uid and the reason code."""
    lab.fault(service="sts", action="AssumeRole", code="NoPermission", status=403, times=None)
    [(where, what, detail)] = missing(cli, PEER)
    assert (where, what) == (PEER, "access")
    assert detail.startswith("no-access: ")


def test_an_account_whose_reads_fail_is_reported(lab: Lab, cli: Cli) -> None:
    """With the error of the service."""
    lab.fault(service="ecs", action="DescribeInstances", account=PEER, kind="error", times=None)
    [(where, what, detail)] = missing(cli)
    assert (where, what, "InternalError" in detail) == (PEER, "access", True)


def test_an_account_that_shows_no_instances_is_a_warning(lab: Lab, cli: Cli) -> None:
    """The sweep makes no removals there, which the advice explains."""
    for instance in list(lab.cloud.ecs.accounts[PEER].instances):
        lab.call(PEER, "DeleteInstance", {"InstanceId": instance, "Force": "true"})
    code, found = cli.json("doctor", PEER)
    [warning] = [f for f in found if f["where"] == PEER]
    assert (code, warning["state"]) == (0, "warning")
    assert f"no removals are made in account {PEER} because it shows no instances" in warning["advice"]


def test_a_group_that_is_full_or_nearly_full_is_reported(lab: Lab, cli: Cli) -> None:
    """The quota of rules with a group as source: missing when it is used up, a warning shortly before."""
    app, full, nearly = lab.group(), lab.group("*"), lab.group("*")
    for group, count in ((full, 20), (nearly, 17)):
        for number in range(count):
            lab.authorize(group, IpProtocol="TCP", PortRange=f"{number + 1}/{number + 1}", SourceGroupId=app.id)
        lab.instance(group)
    assert missing(cli) == [(HOME, f"quota of {full.id}", "20 of 20 rules with a group as source")]
    _, found = cli.json("doctor")
    assert [f["what"] for f in found if f["state"] == "warning"] == [f"quota of {nearly.id}"]


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("LINK_PEER_QUEUE", "nowhere", "queue nowhere"),
        ("LINK_PEER_PREFIX", "staging", "queue staging-requests"),
        ("LINK_PEER_AUDIT_LOGSTORE", "nowhere", f"log link-peer-{HOME}/nowhere"),
        ("LINK_PEER_AUDIT_PROJECT", "nowhere", "log nowhere/decisions"),
    ],
)
def test_a_missing_queue_or_log_is_reported(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str, value: str, what: str
) -> None:
    """Without a setting, the name is made of the prefix."""
    if name == "LINK_PEER_PREFIX":
        monkeypatch.delenv("LINK_PEER_QUEUE")
    monkeypatch.setenv(name, value)
    assert ("", what) in [(where, found) for where, found, _ in missing(cli)]


def test_a_log_without_the_needed_index_is_reported(lab: Lab, cli: Cli) -> None:
    """With the fields that `link-peer audit` searches and the index lacks."""
    world = lab.cloud.world
    lab.cloud.sls.update_index(HOME, world.audit_project, world.audit_logstore, {"line": {"token": [" "]}, "keys": {}})
    [(_, what, detail)] = missing(cli)
    assert what == f"log link-peer-{HOME}/decisions"
    assert "request_id" in detail


def test_an_account_that_is_not_in_the_policy_is_a_usage_error(cli: Cli) -> None:
    """Exit code 2."""
    assert cli("doctor", "1000000000000009") == 2
