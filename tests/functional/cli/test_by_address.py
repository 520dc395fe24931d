"""What commands and records say of a link by address: one link with its instances, how it is written, and who is left out."""

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
    found = [tagged(lab, app, db), tagged(lab, app, db), lab.instance(app)]
    lab.sweep()
    return app, db, found


def test_links_shows_it_as_one_link_with_its_instances(cli: Cli, linked: Linked) -> None:
    """Its state is that of those whom it admits."""
    _, (found,) = cli.json("links")
    assert (found["written"], found["written_detail"], found["instances"]) == ("by address", WRITTEN, 2)
    admitted = sorted(f"{one.id}@{one.account}" for one in linked[2][:2])
    assert (found["by_address"], found["state"]) == (admitted, "open")
    cli("links")
    assert (len(cli.out.splitlines()), cli.out.count("by address")) == (2, 1)
    assert all(one.id in cli.out for one in linked[2][:2])


def test_links_of_an_instance_are_those_that_admit_it(lab: Lab, cli: Cli, linked: Linked) -> None:
    """Or lead to it. Another member of the source's group has none."""
    app, db, (one, _, other) = linked
    for party, shown in ((app, 1), (db, 1), (one, 1), (other, 0), (lab.instance(db), 1)):
        assert len(cli.json("links", "--party", party.id)[1]) == shown


def test_explain_advises_for_the_instance_that_is_stopped(lab: Lab, cli: Cli, linked: Linked) -> None:
    """It needs a tag; one that has it, or whose group a request is for, needs the sweep only."""
    app, db, (one, two, other) = linked

    def advice(source: Group | Instance, port: str = "tcp/1") -> tuple[str, dict[str, str], dict[str, Any]]:
        _, (found,) = cli.json("explain", source.id, db.id, port)
        return found["state"], found["do"][0], found

    verdict, first, found = advice(one)
    assert (verdict, found["links"][0]["written_detail"]) == ("open", WRITTEN)
    for source in (other, app):
        verdict, first, found = advice(source)
        assert (verdict, WRITTEN in first["why"], other.id in first["why"]) == (
            "blocked" if source is other else "partly",
            True,
            True,
        )
        assert f"--ResourceId.1 {other.id}" in first["command"]
        assert f"link-peer --Tag.1.Value {db.id}@{PEER}:tcp/1" in first["command"]
    assert found["passing"] == 2
    lab.tag(other, link_peer=f"{db.id}@{PEER}:tcp/1")
    for source in (other, app):
        assert advice(source)[1]["command"] == "link-peer sweep"
    assert advice(two, "tcp/2")[1]["command"].startswith("link-peer request link")
    lab.cross_account(lab.request(app, db, "tcp/2"))
    late = lab.instance(app)
    assert advice(late, "tcp/2")[1] == {
        "why": f"chg-1 is for all of {app.id}: this admits it now",
        "command": "link-peer sweep",
    }


def test_a_plan_names_the_instance_of_each_rule_and_how_the_link_is_written(lab: Lab, cli: Cli) -> None:
    app, db = two_vpcs(lab)
    found = [tagged(lab, app, db), tagged(lab, app, db)]
    cli("plan", found[0].id)
    for one in found:
        assert f"from {one.private_ip}/32 ({one.id})  its tag  {WRITTEN}  consent: {db.id}" in cli.out


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
    _, (said,) = cli.json(
        "request", "link", "--from", app.id, "--to", f"{db.id}@{PEER}", *words, "--request-id", "chg-1", "--dry-run"
    )
    lab.cross_account(lab.request(app, db, *ports))
    record = lab.outcome()
    (planned,) = said["decisions"]
    same = ("outcome", "reason", "detail", "advice", "reachability")
    assert {name: planned[name] for name in same} == {name: record[name] for name in same}
    assert len(lab.rules(db)) == said["counts"]["add"]


@pytest.mark.parametrize("make", [two_vpcs, advanced])
def test_one_instance_too_many_is_told_so(lab: Lab, cli: Cli, make: Callable[[Lab], tuple[Group, Group]]) -> None:
    """By a plan of it, and by explain, with the number."""
    lab.policy(limits={"max_members": 1})
    app, db = make(lab)
    lab.instance(db)
    tagged(lab, app, db)
    lab.sweep()
    late = tagged(lab, app, db)
    why = "a link by address has at most 1 instances here, and this one would have 2"
    cli("plan", late.id)
    assert why in cli.out
    if make is two_vpcs:  # an advanced group needs an egress rule first
        _, (found,) = cli.json("explain", late.id, db.id, "tcp/1")
        assert why in found["do"][0]["why"]
        assert "link-peer sweep" not in [one["command"] for one in found["do"]]
