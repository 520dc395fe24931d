"""`link-peer audit --evidence` and `--verify` of a time that ActionTrail has in part: it keeps events for 90 days."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from link_peer.domain.model import Party
from msgspec.structs import replace

from tests.functional.cli.test_audit_attacks import OPERATOR, Thief
from tests.functional.cli.test_audit_verify import DAY, as_role, later, rule
from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab
from tests.sample import sample

AGES = (-7200, -3720, -3601, -3599, -120, -70, -50, 0, 50, 70, 120, 3599, 3601, 3720, 7200)
"""How many seconds older than 90 days what was done is."""
UNPROVEN = "is not compared, so it is unproven: ActionTrail keeps events for 90 days"


def exceptions(path: Path) -> list[tuple[str, str]]:
    """The reason and the account of each exception in the evidence."""
    rows = csv.DictReader(path.read_text("utf-8").splitlines())
    return [(row["reason"], row["from_account"]) for row in rows if row["section"] == "exception"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("age", sample(AGES, 3))
def test_a_period_across_the_border_is_verified_as_far_as_there_are_events(
    lab: Lab, cli: Cli, tmp_path: Path, age: int
) -> None:
    """What is older is said to be unproven. What link-peer did is no exception, whichever side of the border it is on;
    what a thief did since then is one."""
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/1"))
    lab.cloud.clock.advance(90 * DAY - 10 * DAY + age)
    request = as_role(lab, HOME, "link-peer-fc", "AuthorizeSecurityGroup", {"SecurityGroupId": db.id, **rule(app)})
    lab.cloud.clock.advance(10 * DAY)
    path = tmp_path / "evidence.csv"
    for begin, end in (("92d", ""), ("92d", "2d"), ("91d", "9d")):
        until = ("--to", end) if end else ()
        assert cli("audit", "--from", begin, *until, "--evidence", str(path)) == 1, cli.err
        assert exceptions(path) == [("unproven", HOME), ("no-intent", HOME)]
        assert UNPROVEN in path.read_text("utf-8")
        assert request in path.read_text("utf-8")
    assert cli("audit", "--from", "60d", "--evidence", str(path)) == 1, cli.err
    assert exceptions(path) == [("no-intent", HOME)]


@pytest.mark.exhaustive
@pytest.mark.parametrize("age", sample(AGES, 3))
def test_ninety_days_are_verified_whole(lab: Lab, cli: Cli, tmp_path: Path, age: int) -> None:
    """What link-peer did at their beginning, a consent and a change of what it had opened among it, is no finding. A
    thief's call is one, and a record that no call explains, unless ActionTrail may have dropped its call."""
    app, db = lab.group(), lab.group()
    assert cli("accept", db.id, f"{app.id}:tcp/1", "--yes") == 0, cli.err
    lab.cross_account(lab.request(app, db, "tcp/1"))
    lab.cross_account(lab.request(app, db, "tcp/1", action="unlink", request_id="chg-2"))
    request = as_role(lab, HOME, "link-peer-fc", "AuthorizeSecurityGroup", {"SecurityGroupId": db.id, **rule(app)})
    lab.cloud.clock.advance(90 * DAY + age)
    path = tmp_path / "evidence.csv"
    visible = age <= -60
    _, differences = cli.json("audit", "--verify", "--since", "90d")
    assert [each["request_id"] for each in differences] == [request] * visible
    assert cli("audit", "--from", "90d", "--evidence", str(path)) == int(visible), cli.err
    assert exceptions(path) == [("no-intent", HOME)] * visible


@pytest.mark.parametrize(("age", "reasons"), [(-3650, []), (-3670, ["no-change"])])
def test_a_record_that_no_call_explains_is_doubted_from_the_second_hour_on(
    lab: Lab, cli: Cli, age: int, reasons: list[str]
) -> None:
    """In the first, its call may be one that ActionTrail has dropped."""
    lab.cross_account(lab.request(lab.group(), lab.group("*"), "tcp/1"))
    lab.cloud.trail.visible_after = 365 * DAY
    lab.cloud.clock.advance(90 * DAY + age)
    assert [each["finding"] for each in cli.json("audit", "--verify", "--since", "90d")[1]] == reasons


def test_the_evidence_of_a_past_month_names_an_account_whose_trail_is_refused(
    lab: Lab, cli: Cli, tmp_path: Path
) -> None:
    """Its changes were not compared, in that month as in any other."""
    lab.cloud.identity.allow_only(f"acs:ram::{PEER}:role/link-peer-reader", ["ecs:Describe*"])
    lab.cloud.clock.advance(40 * DAY)
    path = tmp_path / "evidence.csv"
    assert cli("audit", "--from", "40d", "--to", "10d", "--evidence", str(path)) == 3
    assert exceptions(path) == [("unproven", PEER)]


def test_a_call_after_the_period_is_no_exception_of_it_though_it_is_unproven(
    lab: Lab, cli: Cli, tmp_path: Path
) -> None:
    """The evidence of a quarter is the same whatever happened in the next one."""
    thief = Thief(lab, OPERATOR)
    thief.db = lab.group()
    thief.key = replace(thief.key, group=Party(HOME, thief.db.id))
    lab.cloud.clock.advance(10 * DAY)
    thief.recorded()
    later(lab)
    assert cli("accept", thief.db.id, lab.group().id, "--yes") == 0, cli.err
    later(lab)
    path = tmp_path / "evidence.csv"
    assert cli("audit", "--from", "30d", "--evidence", str(path)) == 3
    assert exceptions(path) == [("unproven", HOME)]
    assert cli("audit", "--from", "30d", "--to", "5d", "--evidence", str(path)) == 0, cli.err
    assert exceptions(path) == []
