"""`link-peer audit --evidence` and `--verify` of a time that ActionTrail has in part: it keeps events for 90 days."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.functional.cli.test_audit_verify import DAY, as_role, rule
from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab

UNPROVEN = "is not compared, so it is unproven: ActionTrail keeps events for 90 days"


def exceptions(path: Path) -> list[tuple[str, str]]:
    """The reason and the account of each exception in the evidence."""
    rows = csv.DictReader(path.read_text("utf-8").splitlines())
    return [(row["reason"], row["from_account"]) for row in rows if row["section"] == "exception"]


@pytest.mark.parametrize("age", [-7200, -3720, -3600, -120, -61, -59, 0, 59, 61, 120, 3599, 3601, 3720, 7200])
def test_a_period_across_the_border_is_verified_as_far_as_there_are_events(
    lab: Lab, cli: Cli, tmp_path: Path, age: int
) -> None:
    """What is older is said to be unproven. What link-peer did is no exception, whichever side of the border it is on; what a
    thief did since then is one."""
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/1"))
    lab.cloud.clock.advance(90 * DAY - 10 * DAY + age)
    request = as_role(lab, HOME, "link-peer-fc", "AuthorizeSecurityGroup", {"SecurityGroupId": db.id, **rule(app)})
    lab.cloud.clock.advance(10 * DAY)
    path = tmp_path / "evidence.csv"
    for begin, end in (("92d", ""), ("92d", "2d"), ("91d", "9d")):
        until = ("--to", end) if end else ()
        assert cli("audit", "--from", begin, *until, "--evidence", str(path)) == 1, cli.err
        assert exceptions(path) == [("unreadable", HOME), ("no-intent", HOME)]
        assert UNPROVEN in path.read_text("utf-8")
        assert request in path.read_text("utf-8")
    assert cli("audit", "--from", "60d", "--evidence", str(path)) == 1, cli.err
    assert exceptions(path) == [("no-intent", HOME)]


@pytest.mark.parametrize("begin", ["90d", "89d"])
def test_a_verification_says_of_which_time_there_are_no_events(lab: Lab, cli: Cli, begin: str) -> None:
    """A record may be an hour younger than the call that it is about."""
    lab.cross_account(lab.request(lab.group(), lab.group("*"), "tcp/1"))
    lab.cloud.clock.advance(90 * DAY - 61)
    assert cli("audit", "--verify", "--since", begin) == 0, cli.out
    assert (UNPROVEN in cli.err) == (begin == "90d")


def test_the_evidence_of_a_past_month_names_an_account_whose_trail_is_refused(
    lab: Lab, cli: Cli, tmp_path: Path
) -> None:
    """Its changes were not compared, in that month as in any other."""
    lab.cloud.identity.allow_only(f"acs:ram::{PEER}:role/link-peer-reader", ["ecs:Describe*"])
    lab.cloud.clock.advance(40 * DAY)
    path = tmp_path / "evidence.csv"
    assert cli("audit", "--from", "40d", "--to", "10d", "--evidence", str(path)) == 1
    assert exceptions(path) == [("unreadable", PEER)]
