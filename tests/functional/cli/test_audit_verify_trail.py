"""`link-peer audit --verify` where ActionTrail is late, long, or cannot be read."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from aliyun_local.api import Caller
from link_peer_cli.audit import trail

from tests.functional.cli.test_audit_verify import DAY, as_role, findings, later, rule
from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab


@pytest.mark.usefixtures("terminal")
def test_what_is_not_visible_yet_is_no_failure(lab: Lab, cli: Cli) -> None:
    """ActionTrail shows a call ten minutes later. Once it should, its absence is a finding."""
    lab.cloud.trail.visible_after = 600
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/1"))
    later(lab, 5)
    code, [finding] = findings(cli)
    assert (code, finding["finding"], finding["pending"]) == (0, "no-change", True)
    assert cli("audit", "--verify") == 0
    assert "0 findings" in cli.out
    assert "not yet visible: 1" in cli.out
    later(lab, 11)
    assert findings(cli) == (0, [])
    lab.cloud.trail.visible_after = 86_400
    assert [(row["finding"], row["pending"]) for row in findings(cli)[1]] == [("no-change", False)]


def test_a_trail_of_many_pages_is_read_whole(lab: Lab, cli: Cli) -> None:
    """120 changes by people, 50 a page, and then one of ours; a throttled page is asked for again after a second."""
    app, db = lab.group(), lab.group("*")
    lab.cloud.ecs.quotas.group_source_rules = 200
    for port in range(120):
        lab.call(
            HOME, "AuthorizeSecurityGroup", {"SecurityGroupId": db.id, **rule(app, PortRange=f"{port + 1}/{port + 1}")}
        )
    as_role(lab, HOME, "link-peer-fc", "RevokeSecurityGroup", {"SecurityGroupId": db.id, **rule(app, PortRange="7/7")})
    request = as_role(lab, HOME, "link-peer-fc", "AuthorizeSecurityGroup", {"SecurityGroupId": db.id, **rule(app)})
    later(lab)
    lab.fault(service="actiontrail", action="LookupEvents", kind="throttle", skip=2, times=3)
    before, started = lab.cloud.faults.count("actiontrail"), lab.cloud.clock.now()
    code, rows = findings(cli)
    assert (code, int(lab.cloud.clock.now() - started)) == (1, 3)
    assert request in [finding["request_id"] for finding in rows]
    assert len(rows) == 2
    assert lab.cloud.faults.count("actiontrail") - before == 24 + 2 + 3


def test_a_long_time_is_read_in_parts_of_thirty_days(lab: Lab, cli: Cli) -> None:
    """ActionTrail answers no longer ones, and keeps ninety days; a command that has taken some seconds means no more by
    them."""
    app, db = lab.group(), lab.group("*")
    as_role(lab, HOME, "link-peer-fc", "AuthorizeSecurityGroup", {"SecurityGroupId": db.id, **rule(app)})
    lab.cloud.clock.advance(85 * DAY)
    assert findings(cli) == (0, [])
    as_role(lab, HOME, "link-peer-fc", "RevokeSecurityGroup", {"SecurityGroupId": db.id, **rule(app)})
    later(lab)
    mismatches = findings(cli, "--since", lab.iso(-90 * DAY - 5))[1]
    assert [mismatch["what"].split()[0] for mismatch in mismatches] == ["AuthorizeSecurityGroup", "RevokeSecurityGroup"]


def test_an_account_whose_trail_is_refused_is_a_failure(lab: Lab, cli: Cli) -> None:
    """The others are compared. What the log says of groups there is not doubted."""
    app, db = lab.pair()
    lab.cross_account(lab.request(app, db))
    later(lab)
    lab.cloud.identity.allow_only(f"acs:ram::{PEER}:role/link-peer-reader", ["ecs:Describe*"])
    code, [finding] = findings(cli)
    assert (code, finding["finding"], finding["account"]) == (3, "unproven", PEER)
    assert finding["advice"].startswith(
        f"allow actiontrail:LookupEvents to the role link-peer-reader of account {PEER}"
    )
    lab.policy_account(PEER, external_id="wrong")
    assert [row["finding"] for row in findings(cli)[1]] == ["unproven"]


def test_what_began_before_the_time_in_question_is_read_too(lab: Lab, cli: Cli) -> None:
    """The intent of a change is older than the change."""
    app, db = lab.group(), lab.group("*")
    lab.meanwhile("AuthorizeSecurityGroup", lambda: lab.cloud.clock.advance(30))
    lab.cross_account(lab.request(app, db, "tcp/1"))
    between = lab.iso(-15)
    later(lab)
    assert findings(cli, "--since", between) == (0, [])


def test_a_trail_without_an_end_is_a_failure(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner may fill the trail of an account: it is not read forever, and the others are read."""
    monkeypatch.setattr(trail, "MOST_PAGES", 3)
    tokens = itertools.count(1)
    real = lab.cloud.trail.call

    def call(caller: Caller, *arguments: Any) -> Any:
        if caller.account != PEER:
            return real(caller, *arguments)
        return {"Events": [], "StartTime": lab.iso(), "EndTime": lab.iso(), "NextToken": str(next(tokens))}

    lab.cloud.trail.call = call  # type: ignore[method-assign]
    code, rows = findings(cli)
    assert (code, [(finding["finding"], finding["account"]) for finding in rows]) == (3, [("unproven", PEER)])
    assert "give a shorter --since" in rows[0]["detail"]


CHANGE = {"eventTime": "2026-11-25T00:00:00Z", "eventName": "RevokeSecurityGroup"}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"StartTime": None}, "has no StartTime"),
        ({"NextToken": "1"}, "repeats a page"),
        ({"Events": ["text"]}, ""),
        ({"Events": [{**CHANGE, "requestParameters": "{}"}]}, "names no group"),
        ({"Events": [CHANGE]}, "names no group"),
    ],
)
def test_an_answer_of_another_shape_is_a_failure(lab: Lab, cli: Cli, answer: dict[str, Any], message: str) -> None:
    """It does not count as an empty trail, nor is a page read forever. A change that cannot be read does not pass for
    none."""
    page = {"Events": [], "StartTime": lab.iso(), "EndTime": lab.iso(), **answer}
    page = {name: value for name, value in page.items() if value is not None}
    lab.cloud.trail.call = lambda *_: page  # type: ignore[method-assign]
    code, rows = findings(cli)
    assert (code, {finding["finding"] for finding in rows}) == (3, {"unproven"})
    assert message in rows[0]["detail"]
