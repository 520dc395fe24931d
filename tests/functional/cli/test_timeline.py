"""`audit --story`: the timeline of a link, each line with how it is known."""

from __future__ import annotations

import re

import pytest
from aliyun_local.api import Group

from tests.functional.cli.test_audit_verify import write
from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab

pytestmark = [pytest.mark.usefixtures("accesses"), pytest.mark.knobs(request_tags=True)]


def timeline_rows(cli: Cli, name: str) -> list[tuple[str, str]]:
    """What the timeline of a request has: what it is, and how it is known; consent as the tag that was set."""
    code, records = cli.json("audit", "--story", name)
    assert code == 0, cli.err
    lines = [(record.get("outcome") or record["record"], record["evidence"]) for record in records]
    return [line for line in lines if line[0] != "intent"]


def linked(lab: Lab, cli: Cli) -> tuple[Group, Group]:
    """A link by a request, after the consent that a person gave with `accept`."""
    app, db = lab.group(), lab.group()
    assert cli("accept", db.id, f"{app.id}:tcp/1") == 0, cli.err
    assert lab.cross_account(lab.request(app, db, "tcp/1")) == {"applied": 1}
    return app, db


@pytest.mark.parametrize("by_id", [True, False])
def test_consent_and_who_deleted_a_rule_by_hand_are_on_the_timeline(lab: Lab, cli: Cli, *, by_id: bool) -> None:
    """ActionTrail proves both, as soon as it has them, whether the call named the rule by its id or by its fields; and
    the repair that the same message made is there."""
    app, db = linked(lab, cli)
    lab.cloud.clock.advance(60)
    [rule] = lab.raw_rules(db)
    fields = {"IpProtocol": "tcp", "PortRange": "1/1", "SourceGroupId": app.id, "Priority": "100"}
    parameters = {"SecurityGroupRuleId.1": rule["SecurityGroupRuleId"]} if by_id else fields
    lab.call(HOME, "RevokeSecurityGroup", {"SecurityGroupId": db.id, **parameters})
    lab.cloud.clock.advance(60)
    assert lab.cross_account(lab.request(app, db, "tcp/1")) == {"applied": 1}
    lab.cloud.clock.advance(3600)
    assert timeline_rows(cli, "chg-1") == [
        ("observed", "proven"),
        ("applied", "recorded"),
        ("trail", "proven"),
        ("applied", "recorded"),
    ]
    _, records = cli.json("audit", "--story", "chg-1")
    [deleted] = [record for record in records if record["record"] == "trail"]
    name = rule["SecurityGroupRuleId"] if by_id else f"tcp/1 from {app.id}@{HOME}"
    assert (deleted["link"], f"rule {name} on " in deleted["detail"]) == (records[-1]["link"], True)
    assert "was deleted by hand" in deleted["detail"]


def test_explain_names_the_story_of_a_link_that_is_gone(lab: Lab, cli: Cli) -> None:
    """It has who deleted the rule."""
    app, db = linked(lab, cli)
    lab.cloud.clock.advance(60)
    [rule] = lab.raw_rules(db)
    lab.call(
        HOME, "RevokeSecurityGroup", {"SecurityGroupId": db.id, "SecurityGroupRuleId.1": rule["SecurityGroupRuleId"]}
    )
    lab.cloud.clock.advance(3600)
    assert cli("explain", app.id, db.id, "tcp/1") == 1
    [link] = re.findall(r"What became of one: link-peer audit --story (\w+)", cli.out)
    assert [kind for kind, _ in timeline_rows(cli, link)] == ["observed", "applied", "trail"]


def test_a_link_that_a_tag_asks_for_has_a_timeline_by_its_id(lab: Lab, cli: Cli) -> None:
    """`links` and `explain` have the id, now as of an earlier time; so does a link that the log alone knows."""
    app, db = lab.group(), lab.group()
    assert cli("accept", db.id, f"{app.id}:tcp/1") == 0, cli.err
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.sweep()
    lab.cloud.clock.advance(60)
    [link] = cli.json("links")[1]
    assert timeline_rows(cli, link["link"]) == [("observed", "proven"), ("applied", "recorded")]
    assert [listed["link"] for listed in cli.json("links", "--at", "30s")[1]] == [link["link"]]
    assert cli("explain", app.id, db.id, "tcp/1") == 0
    assert link["link"] in cli.out


def test_a_lock_is_on_the_timeline_and_consent_to_others_is_not(lab: Lab, cli: Cli) -> None:
    app, db = linked(lab, cli)
    lab.cloud.clock.advance(60)
    assert cli("accept", db.id, f"{lab.group().id}:tcp/1") == 0
    assert cli("close", db.id, "--yes") == 0, cli.err
    assert [outcome for outcome, _ in timeline_rows(cli, "chg-1")] == ["observed", "applied", "removed", "observed"]
    _, records = cli.json("audit", "--story", "chg-1")
    assert records[0]["undo"] == f"link-peer withdraw {db.id}@{HOME} {app.id}:tcp/1"
    assert records[-1]["undo"].splitlines() == [
        f"link-peer reopen {db.id}@{HOME}",
        f"link-peer request link --from {app.id}@{HOME} --to {db.id}@{HOME} --port tcp/1 --request-id chg-1",
    ]


def test_a_request_that_has_ended_is_not_asked_for_again(lab: Lab, cli: Cli) -> None:
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/1", until=lab.iso(600)))
    assert cli("close", db.id, "--yes") == 0, cli.err
    for is_over in (False, True):
        undo = cli.json("audit", "--story", "chg-1")[1][-1]["undo"]
        assert ("request link" in undo, "reopen" in undo) == (not is_over, True)
        lab.cloud.clock.advance(600)


def test_a_change_of_another_accounts_group_is_not_on_the_timeline(lab: Lab, cli: Cli) -> None:
    """An id in another account is another group."""
    app, db = linked(lab, cli)
    lock = {"record": "observed", "deployment": "prod", "to": db.id, "event_tags": '{"link-lock": "x"}'}
    for account in (PEER, HOME):
        write(lab, {**lock, "to_account": account, "time": lab.iso_millis()})
    _, records = cli.json("audit", "--story", "chg-1")
    locks = [record["to_account"] for record in records if "link-lock" in record.get("event_tags", "")]
    assert (locks, app.account) == ([HOME], HOME)


def test_a_tag_that_link_peer_writes_itself_is_no_change_of_consent(lab: Lab, cli: Cli) -> None:
    """`audit` shows it with --all, or where that kind of record is asked for."""
    _, db = linked(lab, cli)
    event = lab.group_event(db, "UntagResources")
    event["data"] |= {"requestParameters": {"TagKey.1": f"link-managed.prod.{HOME}"}}
    lab.auto_link(event)
    for *args, count in (["--all", 1], ["record=observed", 1], [0], ["--story", "chg-1", 0]):
        records = cli.json("audit", *map(str, args))[1]
        assert sum("link-managed" in record.get("event_tags", "") for record in records) == count, args


def test_without_actiontrail_the_story_says_what_is_not_known(lab: Lab, cli: Cli) -> None:
    linked(lab, cli)
    lab.fault(service="actiontrail", action="LookupEvents", code="NoPermission", status=403, times=None)
    assert cli("audit", "--story", "chg-1") == 0
    assert "who changed its rules by hand is not known" in cli.err
    assert timeline_rows(cli, "chg-1") == [("observed", "recorded"), ("applied", "recorded")]


# `audit`


def test_changes_of_consent_are_among_what_audit_shows(lab: Lab, cli: Cli) -> None:
    """One line a change, though the command and the event both tell of it; with the value before."""
    app, db = linked(lab, cli)
    lab.auto_link(lab.group_event(db))
    assert cli("withdraw", db.id, f"{app.id}:tcp/1", "--yes") == 0, cli.err
    kinds = [(record["record"], record["function"]) for record in cli.json("audit")[1]]
    assert [kind for kind in kinds if kind[0] == "observed"][::2] == [("observed", "accept"), ("observed", "withdraw")]
    assert cli("audit") == 0
    assert f"link-accept={app.id}:tcp/1" in cli.out
    assert f"link-accept is off (before: {app.id}:tcp/1)" in cli.out


@pytest.mark.parametrize(
    ("span", "count"),
    [
        (("--quarter", "2026Q4"), 1),
        (("--quarter", "2026Q3"), 0),
        (("--quarter", "2027Q1"), 0),
        (("--from", "2026-11-25"), 1),
        (("--from", "2026-11-26"), 0),
        (("--from", "2026-11-01", "--to", "2026-11-25"), 1),
        (("--from", "2026-11-01", "--to", "2026-11-24"), 0),
    ],
)
def test_a_period_is_given_by_dates_or_as_a_quarter(lab: Lab, cli: Cli, span: tuple[str, ...], count: int) -> None:
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/1"))
    assert lab.outcome()["time"].startswith("2026-11-25T")
    assert len(cli.json("audit", *span)[1]) == count
