"""What commands and records say of a link by address: one link with its instances, how it is written, and who is left
out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aliyun_local.api import Group, Instance

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab
from tests.functional.test_by_address import advanced, tagged, two_vpcs

WRITTEN = "by address, since their VPCs differ"


Linked = tuple[Group, Group, list[Instance]]


@pytest.fixture(name="linked")
def _linked(lab: Lab) -> Linked:
    """Two instances whose tags admit them, and one without a tag."""
    app, db = two_vpcs(lab)
    lab.instance(db)
    instances = [tagged(lab, app, db), tagged(lab, app, db), lab.instance(app)]
    lab.sweep()
    return app, db, instances


def test_links_shows_it_as_one_link_with_its_instances(cli: Cli, linked: Linked) -> None:
    """Its state is that of those whom it admits."""
    _, (link,) = cli.json("links")
    assert (link["written"], link["written_detail"], link["instances"]) == ("by address", WRITTEN, 2)
    admitted = sorted(f"{instance.id}@{instance.account}" for instance in linked[2][:2])
    assert (link["by_address"], link["state"]) == (admitted, "open")
    cli("links")
    assert (len(cli.out.splitlines()), cli.out.count("by address")) == (2, 1)
    assert all(instance.id in cli.out for instance in linked[2][:2])


def test_links_of_an_instance_are_those_that_admit_it(lab: Lab, cli: Cli, linked: Linked) -> None:
    """Or lead to it. Another member of the source's group has none."""
    app, db, (tagged_instance, _, plain_instance) = linked
    for party, link_count in ((app, 1), (db, 1), (tagged_instance, 1), (plain_instance, 0), (lab.instance(db), 1)):
        assert len(cli.json("links", "--party", party.id)[1]) == link_count


def test_explain_advises_for_the_instance_that_is_stopped(lab: Lab, cli: Cli, linked: Linked) -> None:
    """It needs a tag; one that has it, or whose group a request is for, needs the sweep only."""
    app, db, (tagged_instance, two, plain_instance) = linked

    def advice(source: Group | Instance, port: str = "tcp/1") -> tuple[str, dict[str, str], dict[str, Any]]:
        _, (explanation,) = cli.json("explain", source.id, db.id, port)
        return explanation["state"], explanation["do"][0], explanation

    verdict, first, explained = advice(tagged_instance)
    assert (verdict, explained["links"][0]["written_detail"]) == ("open", WRITTEN)
    for source in (plain_instance, app):
        verdict, first, explained = advice(source)
        assert (verdict, WRITTEN in first["why"], plain_instance.id in first["why"]) == (
            "blocked" if source is plain_instance else "partly",
            True,
            True,
        )
        assert f"--ResourceId.1 {plain_instance.id}" in first["command"]
        assert f"link-peer --Tag.1.Value {db.id}@{PEER}:tcp/1" in first["command"]
    assert explained["passing"] == 2
    lab.tag(plain_instance, link_peer=f"{db.id}@{PEER}:tcp/1")
    for source in (plain_instance, app):
        assert advice(source)[1]["command"] == "link-peer sweep"
    assert advice(two, "tcp/2")[1]["command"].startswith("link-peer request link")
    lab.cross_account(lab.request(app, db, "tcp/2"))
    late = lab.instance(app)
    assert advice(late, "tcp/2")[1] == {
        "why": f"chg-1 is for all of {app.id}: this admits it now",
        "command": "link-peer sweep",
    }
    assert advice(late, "tcp/3")[1]["command"].startswith("link-peer request link")


def test_a_plan_names_the_instance_of_each_rule_and_how_the_link_is_written(lab: Lab, cli: Cli) -> None:
    app, db = two_vpcs(lab)
    instances = [tagged(lab, app, db), tagged(lab, app, db)]
    cli("plan", instances[0].id)
    for instance in instances:
        assert f"from {instance.private_ip}/32 ({instance.id})  its tag  {WRITTEN}  consent: {db.id}" in cli.out


@pytest.mark.parametrize(
    ("members", "policy", "ranges"),
    [
        (0, {}, "10.0.0.0/16"),
        (2, {}, "10.0.0.0/16"),
        (2, {}, "10.0.0.1/32"),
        (2, {}, "10.9.0.0/16"),
        (2, {}, ""),
        (3, {"limits": {"max_members": 2}}, "10.0.0.0/16"),
    ],
    ids=["none", "all", "one left out", "all left out", "no ranges", "too many"],
)
@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("ports", [["tcp/1"], []], ids=["ports", "mutual"])
def test_a_dry_run_answers_as_the_request_does(
    lab: Lab, cli: Cli, members: int, policy: dict[str, Any], ranges: str, ports: list[str]
) -> None:
    """The same outcome, reason, detail, advice and rules."""
    app, db = two_vpcs(lab)
    for _ in range(members):
        lab.instance(app)
    lab.policy(**policy)
    if ranges:
        lab.policy_account(HOME, ranges=[ranges])
    words = [word for port in ports for word in ("--port", port)]
    _, (dry_run,) = cli.json(
        "request", "link", "--from", app.id, "--to", f"{db.id}@{PEER}", *words, "--request-id", "chg-1", "--dry-run"
    )
    lab.cross_account(lab.request(app, db, *ports))
    record = lab.outcome()
    (planned,) = dry_run["decisions"]
    fields = ("outcome", "reason", "detail", "advice", "reachability")
    assert {name: planned[name] for name in fields} == {name: record[name] for name in fields}
    assert len(lab.rules(db)) == dry_run["counts"]["add"]


@pytest.mark.parametrize("make", [two_vpcs, advanced])
def test_one_instance_too_many_is_told_so(lab: Lab, cli: Cli, make: Callable[[Lab], tuple[Group, Group]]) -> None:
    """By a plan of it, and by explain, with the number."""
    lab.policy(limits={"max_members": 1})
    app, db = make(lab)
    lab.instance(db)
    tagged(lab, app, db)
    lab.sweep()
    late = tagged(lab, app, db)
    reason = "a link by address has at most 1 instances here, and this one would have 2"
    cli("plan", late.id)
    assert reason in cli.out
    if make is two_vpcs:  # an advanced group needs an egress rule first
        _, (explanation,) = cli.json("explain", late.id, db.id, "tcp/1")
        assert reason in explanation["do"][0]["why"]
        assert "link-peer sweep" not in [advice_line["command"] for advice_line in explanation["do"]]
