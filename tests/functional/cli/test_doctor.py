"""`link-peer doctor` finds what is missing for the links that are asked for."""

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
    """(account, what, detail) of what keeps the doctor from being content."""
    code, found = cli.json("doctor", *options)
    worst = [(f["where"], f["what"], f["detail"]) for f in found if f["state"] == "missing"]
    assert code == (1 if worst else 0)
    return worst


def test_a_healthy_deployment_has_nothing_missing(lab: Lab, cli: Cli) -> None:
    """Queue, log and both accounts are in order; nothing is changed, and nothing written to the log."""
    code, found = cli.json("doctor")
    assert (code, {f["state"] for f in found}) == (0, {"ok"})
    assert {f["where"] for f in found} == {"", HOME, PEER}
    assert (lab.changes(), lab.records()) == (0, [])


def test_each_account_is_read_as_somebody(lab: Lab, cli: Cli) -> None:
    """Home with the keys at hand, the other by its role."""
    _, found = cli.json("doctor")
    read_as = {f["where"]: f["detail"].split("read as ")[1] for f in found if f["what"] == "access"}
    assert read_as[HOME] == f"acs:ram::{HOME}:root"
    assert read_as[PEER].startswith(f"acs:ram::{PEER}:assumed-role/link-peer/")


def test_keys_of_another_account_than_home(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """With them everything at home would seem gone."""
    keys = lab.cloud.identity.accounts[PEER]
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", keys.access_key_id)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", keys.access_key_secret)
    assert (HOME, "access", f"the keys are of account {PEER}: acs:ram::{PEER}:root") in missing(cli)


def test_what_links_lack_is_told_with_its_advice(lab: Lab, cli: Cli) -> None:
    """Consent, group types and VPCs, each under the account that must act."""
    app, db = lab.group(), lab.group()
    advanced, elsewhere = lab.group("*", type="enterprise"), lab.group("*", vpc=lab.a)
    peers = [f"{group.id}:tcp/1" for group in (db, advanced, elsewhere)]
    lab.instance(app, tags={f"link-peer.{n}": peer for n, peer in enumerate(peers)})
    reasons = {what.split()[-1]: detail.split(":")[0] for _, what, detail in missing(cli)}
    assert reasons == {db.id: "no-consent", advanced.id: "advanced-group", elsewhere.id: "different-vpc"}
    assert cli("doctor") == 1
    assert f"link-accept={app.id}:tcp/1" in cli.out
    assert missing(cli, PEER) == []


def test_an_account_that_cannot_be_entered(lab: Lab, cli: Cli) -> None:
    """By its uid."""
    lab.fault(service="sts", action="AssumeRole", code="NoPermission", status=403, times=None)
    [(where, what, detail)] = missing(cli, PEER)
    assert (where, what) == (PEER, "access")
    assert detail.startswith("no-access: ")


def test_an_account_that_fails_to_answer(lab: Lab, cli: Cli) -> None:
    """With what the service said, not as an account that is well."""
    lab.fault(service="ecs", action="DescribeInstances", account=PEER, kind="error", times=None)
    [(where, what, detail)] = missing(cli)
    assert (where, what, "InternalError" in detail) == (PEER, "access", True)


def test_an_account_without_instances_is_a_warning(lab: Lab, cli: Cli) -> None:
    """Since nothing there is taken for gone."""
    for instance in list(lab.cloud.ecs.accounts[PEER].instances):
        lab.call(PEER, "DeleteInstance", {"InstanceId": instance, "Force": "true"})
    code, found = cli.json("doctor", PEER)
    assert (code, [f["state"] for f in found if f["where"] == PEER]) == (0, ["warning"])


def test_a_group_that_is_full_or_nearly(lab: Lab, cli: Cli) -> None:
    """The quota of rules that name a group, before a link runs into it."""
    app, full, nearly = lab.group(), lab.group("*"), lab.group("*")
    for group, count in ((full, 20), (nearly, 17)):
        for number in range(count):
            lab.authorize(group, IpProtocol="TCP", PortRange=f"{number + 1}/{number + 1}", SourceGroupId=app.id)
        lab.instance(group)
    assert missing(cli) == [(HOME, f"quota of {full.id}", "20 of 20 rules that name a group")]
    _, found = cli.json("doctor")
    assert [f["what"] for f in found if f["state"] == "warning"] == [f"quota of {nearly.id}"]


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("LINK_PEER_QUEUE", "nowhere", "queue nowhere"),
        ("LINK_PEER_QUEUE", "", "queue"),
        ("LINK_PEER_AUDIT_LOGSTORE", "nowhere", "log link-peer-audit/nowhere"),
        ("LINK_PEER_AUDIT_LOGSTORE", "", "log link-peer-audit/"),
    ],
)
def test_names_that_lead_nowhere(cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str, value: str, what: str) -> None:
    """A queue or a log that is not there, or not set."""
    monkeypatch.setenv(name, value)
    [(where, found, _)] = missing(cli)
    assert (where, found) == ("", what)


def test_a_log_that_cannot_be_searched(lab: Lab, cli: Cli) -> None:
    """An index without the fields that the commands search by."""
    world = lab.cloud.world
    lab.cloud.sls.update_index(HOME, world.audit_project, world.audit_logstore, {"line": {"token": [" "]}, "keys": {}})
    [(_, what, detail)] = missing(cli)
    assert what == "log link-peer-audit/decisions"
    assert "request_id" in detail


def test_an_account_that_is_not_in_the_policy(cli: Cli) -> None:
    """A usage error."""
    assert cli("doctor", "1000000000000009") == 2
