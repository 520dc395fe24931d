"""`link-peer close --between` and `reopen --between`: two ends refuse each other, at once and for good."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from aliyun_local.api import Group

from tests.functional.command import CallerActions, Cli
from tests.functional.lab import HOME, PEER, Lab

pytestmark = [pytest.mark.usefixtures("accesses", "peer_profile"), pytest.mark.knobs(request_tags=True)]

KEY = "link-refuse.close"


def refusals(lab: Lab, *groups: Group) -> list[dict[str, str]]:
    return [{key: value for key, value in lab.tags(group).items() if "refuse" in key} for group in groups]


def linked(lab: Lab, *ports: str, peer: str = HOME) -> tuple[Group, Group]:
    app, db = lab.group(f"*@{peer}"), lab.group(f"*@{HOME}", account=peer)
    assert lab.cross_account(lab.request(app, db, *ports)) == {"applied": 1}
    return app, db


@pytest.mark.parametrize("ports", [("tcp/1",), ()])
def test_a_pair_is_closed_at_once_and_stays_closed(lab: Lab, cli: Cli, ports: tuple[str, ...]) -> None:
    """And nothing else of the two groups. Whoever consents, a request is refused from then on."""
    app, db = linked(lab, *ports)
    other_group = lab.group("*")
    for number, (source, target) in enumerate(((app, other_group), (other_group, db))):
        lab.cross_account(lab.request(source, target, "tcp/9", request_id=f"chg-{number + 7}"))
    lab.policy(allow=[{"from": f"*@{HOME}", "to": f"*@{HOME}"}])
    assert cli("close", "--between", app.id, db.id, "--yes") == 0, cli.err
    assert (lab.rules(app), lab.rules(db), lab.rules(other_group)) == (
        [],
        [f"{other_group.id} tcp/9"],
        [f"{app.id} tcp/9"],
    )
    assert refusals(lab, app, db, other_group) == [{KEY: db.id}, {KEY: app.id}, {}]
    record = next(record for record in lab.records(outcome="removed"))
    assert (record["function"], record["reason"]) == ("close", "refused")
    assert f"To take it back:\nlink-peer reopen --between {app.id}@{HOME} {db.id}@{HOME}\n" in cli.out
    lab.sweep()
    assert lab.cross_account(lab.request(app, db, *ports, request_id="chg-2")) == {"denied": 1}
    assert lab.outcome()["reason"] == "refused"


def test_reopening_takes_these_entries_off_and_no_other(lab: Lab, cli: Cli) -> None:
    """A person's refusal stays, and that of another pair. Both commands record the tags with their old values."""
    app, db = linked(lab, "tcp/1")
    cache = lab.group()
    lab.tag(db, link_refuse="sg-stranger")
    for peer in (app, cache):
        assert cli("close", "--between", peer.id, db.id, "--yes") == 0, cli.err
    assert refusals(lab, db) == [{"link-refuse": "sg-stranger", KEY: app.id, f"{KEY}.2": cache.id}]
    assert cli("reopen", "--between", db.id, app.id, "--dry-run") == 0, cli.err
    assert len(refusals(lab, db)[0]) == 3
    assert cli("reopen", "--between", db.id, app.id) == 0, cli.err
    assert refusals(lab, app, db) == [{}, {"link-refuse": "sg-stranger", f"{KEY}.2": cache.id}]
    closed, opened = (lab.records("observed", to=db.id, function=name)[0] for name in ("close", "reopen"))
    assert (json.loads(closed["event_tags"]), json.loads(closed["old_tags"])) == ({KEY: app.id}, {KEY: None})
    assert (json.loads(opened["event_tags"]), json.loads(opened["old_tags"])) == ({KEY: None}, {KEY: app.id})
    assert lab.cross_account(lab.request(app, db, "tcp/1", request_id="chg-2")) == {"applied": 1}
    lab.tag(db, **{f"{KEY}.2".replace("-", "_"): f"{cache.id} sg-by-hand"})
    assert cli("reopen", "--between", db.id, cache.id) == 0, cli.err
    assert refusals(lab, db) == [{"link-refuse": "sg-stranger", f"{KEY}.2": "sg-by-hand"}]


@pytest.mark.knobs(request_tags=True, trail_resources="referencedResources")
def test_the_evidence_has_what_was_refused_and_reopened(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """Locks are in it, too, whatever their value."""
    app, db = linked(lab, "tcp/1")
    lab.tag(db, link_lock="")
    event = lab.group_event(db)
    event["data"]["requestParameters"] |= {"Tag.1.Key": "link-lock", "Tag.1.Value": ""}
    lab.auto_link(event)
    for command in ("close", "reopen"):
        assert cli(command, "--between", app.id, db.id, *(["--yes"] if command == "close" else [])) == 0, cli.err
    cli("audit", "--from", lab.iso(-3600), "--evidence", str(tmp_path / "e.csv"))
    rows = csv.DictReader((tmp_path / "e.csv").read_text("utf-8").splitlines())
    facts = [(row["section"], row["to"], row["detail"]) for row in rows if row["section"] in ("forbidden", "released")]
    assert sorted(facts) == sorted(
        [
            ("forbidden", db.id, "link-lock="),
            *(
                (section, source.id, f"{KEY}={target.id}")
                for section in ("forbidden", "released")
                for source, target in ((app, db), (db, app))
            ),
        ]
    )


def test_no_call_sets_two_keys_and_home_is_tagged_as_the_operator(accesses: CallerActions, lab: Lab, cli: Cli) -> None:
    app, db = linked(lab, "tcp/1")
    accesses.clear()
    assert cli("close", "--between", app.id, db.id, "--yes") == 0
    assert cli("reopen", "--between", app.id, db.id) == 0
    callers = [caller.role for caller, action in accesses if action in ("ecs:TagResources", "ecs:UntagResources")]
    assert set(callers) == {"link-peer-operator"}
    changes = [json.loads(record["event_tags"]) for record in lab.records("observed")]
    assert all(len(tags) == 1 for tags in changes)


def test_again_writes_nothing_and_a_dry_run_neither(lab: Lab, cli: Cli) -> None:
    app, db = linked(lab, "tcp/1")
    assert cli("close", "--between", app.id, db.id, "--dry-run", "--json") == 0, cli.err
    answer = json.loads(cli.out)
    assert (lab.rules(db), refusals(lab, app, db)) == ([f"{app.id} tcp/1"], [{}, {}])
    assert [call["command"].split()[2] for call in answer["commands"]] == [*["TagResources"] * 2, "RevokeSecurityGroup"]
    assert [f"--Tag.1.Key {KEY} --Tag.1.Value" in call["command"] for call in answer["commands"][:2]] == [True, True]
    assert cli("close", "--between", app.id, db.id, "--yes") == 0
    tags = refusals(lab, app, db)
    assert cli("close", "--between", db.id, app.id, "--yes", "--json") == 0
    assert (refusals(lab, app, db), json.loads(cli.out)["refusing"].keys()) == (
        tags,
        {f"{g.id}@{HOME}" for g in (app, db)},
    )


def test_two_accounts_refuse_each_other_on_the_groups_that_hold_rules(lab: Lab, cli: Cli) -> None:
    """With an entry for the whole account; the never lines cover all others. Both ends are entered."""
    app, db = linked(lab, peer=PEER)
    bystander = lab.group("*")
    assert cli("close", "--between", HOME, PEER, "--yes") == 0, cli.err
    assert (lab.rules(app), lab.rules(db)) == ([], [])
    assert refusals(lab, app, db, bystander) == [{KEY: f"*@{PEER}"}, {KEY: f"*@{HOME}"}, {}]
    assert f'- {{from: "*@{HOME}", to: "*@{PEER}"}}' in cli.out
    assert cli("reopen", "--between", PEER, HOME) == 0, cli.err
    assert refusals(lab, app, db) == [{}, {}]


def test_instances_are_refused_by_all_of_their_groups(lab: Lab, cli: Cli) -> None:
    """It says first which other instances that is about, and which other rule it closes."""
    app, db, extra = lab.group("*"), lab.group("*"), lab.group("*")
    source, neighbour = lab.instance(app), lab.instance(app)
    target = lab.instance(db, extra)
    for number, instance in enumerate((source, neighbour)):
        lab.cross_account(lab.request(instance, target, "tcp/1", request_id=f"chg-{number}"))
    assert len(lab.rules(db)) == 2
    assert cli("close", "--between", source.id, target.id, "--dry-run", "--json") == 0, cli.err
    beside = json.loads(cli.out)["beside"]
    assert any(f"{neighbour.id}@{HOME} to {target.id}@{HOME}" in text for text in beside)
    assert any(text.startswith(f"{app.id}@{HOME} refuses") and neighbour.id in text for text in beside)
    assert cli("close", "--between", source.id, target.id, "--yes") == 0, cli.err
    assert refusals(lab, app, db, extra) == [{KEY: target.id}, {KEY: source.id}, {KEY: source.id}]
    assert lab.rules(db) == []


def test_what_still_lets_packets_pass_is_named(lab: Lab, cli: Cli) -> None:
    """A person's rule, and exit code 1."""
    app, db = linked(lab, "tcp/1")
    lab.instance(app)
    lab.instance(db)
    rule = lab.authorize(db, SourceCidrIp="10.0.0.0/8", IpProtocol="TCP", PortRange="443/443")
    assert cli("close", "--between", app.id, db.id, "--yes", "--json") == 1
    (passing,) = json.loads(cli.out)["passing"]
    assert passing.startswith(f"{rule} on {db.id}@{HOME} lets {app.id}@{HOME} reach {db.id}@{HOME} on tcp/443")
    assert lab.rules(db) != []


@pytest.mark.parametrize("inner_access", ["Accept", "Drop"])
@pytest.mark.parametrize("ends", ["instances", "a group and its member"])
def test_members_that_reach_each_other_without_a_rule_are_named(
    lab: Lab, cli: Cli, ends: str, inner_access: str
) -> None:
    """No refusal keeps members of one basic group apart: its InnerAccessPolicy does."""
    app = lab.group(inner_access=inner_access)
    first, second = lab.instance(app), lab.instance(app)
    end = first if ends == "instances" else app
    code = cli("close", "--between", end.id, second.id, "--yes")
    causes = [line for line in cli.err.splitlines() if f"InnerAccessPolicy of {app.id}@{HOME} lets" in line]
    assert (code, len(causes)) == ((1, 2) if inner_access == "Accept" else (0, 0)), cli.err


def test_a_group_without_a_free_key_is_said(lab: Lab, cli: Cli) -> None:
    """What the other end refuses is closed all the same, and its owner gets the command."""
    app, db = linked(lab, "tcp/1")
    for key in ("", ".2", ".3"):
        lab.tag(db, **{f"link_refuse.close{key}": f"sg-x{key[1:]}"})
    assert cli("close", "--between", app.id, db.id, "--yes") == 1
    assert "no key of link-refuse.close, link-refuse.close.2, link-refuse.close.3 is free" in cli.err
    assert f"--Tag.1.Key link-refuse.more --Tag.1.Value {app.id}" in cli.err
    assert (lab.rules(db), refusals(lab, app)) == ([], [{KEY: db.id}])


def test_the_advice_of_a_refusal_by_close_opens_the_pair_again(lab: Lab, cli: Cli) -> None:
    app, db = linked(lab, "tcp/1")
    assert cli("close", "--between", app.id, db.id, "--yes") == 0
    lab.cross_account(lab.request(app, db, "tcp/1", request_id="chg-2"))
    command = lab.outcome()["advice"].partition(": ")[2]
    assert command.startswith("link-peer reopen --between ")
    assert cli(*command.split()[1:]) == 0, cli.err
    assert lab.cross_account(lab.request(app, db, "tcp/1", request_id="chg-3")) == {"applied": 1}


@pytest.mark.parametrize("names", [["sg-1"], ["sg-1", "sg-1"], ["sg-1", "sg-2", "sg-3"], [], ["sg-1", "no such"]])
def test_two_different_ends_must_be_named(lab: Lab, cli: Cli, names: list[str]) -> None:
    for command in ("close", "reopen"):
        assert cli(command, "--between", *names, "--dry-run") in (1, 2)
        assert cli.err
    assert lab.changes() == 0
