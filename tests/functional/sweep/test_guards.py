"""The sweep's guards: it fails closed on unreliable reads, touches only its own rules, and reports what it cannot
do."""

from __future__ import annotations

import pytest

from tests.functional.lab import HOME, PEER, Lab

pytestmark = pytest.mark.usefixtures("living_lab", "by_account")

ROLE = f"acs:ram::{PEER}:role/link-peer"


def test_an_account_that_may_not_be_read_is_told_from_an_empty_one(lab: Lab) -> None:
    """A role without permission to describe instances gets an empty list and no error: a dry run tells."""
    _, _, db = lab.linked(PEER)
    actions = ["ecs:DescribeSecurityGroup*", "ecs:RevokeSecurityGroup", "ecs:UntagResources"]
    lab.cloud.identity.allow_only(ROLE, actions)
    lab.sweep()
    assert len(lab.rules(db)) == 1
    assert f"{PEER}: no access" in lab.summary()["detail"]


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("cause", ["no role", "sts down"])
def test_an_account_that_cannot_be_entered_is_recorded_and_the_others_are_swept(lab: Lab, cause: str) -> None:
    instance, _, db = lab.linked(PEER)
    home_instance, _, home_db = lab.linked()
    lab.tag(instance, link_peer=None)
    lab.tag(home_instance, link_peer=None)
    lab.cloud.clock.advance(3600)
    if cause == "no role":
        del lab.cloud.identity.roles[ROLE]
    else:
        lab.fault(service="sts", kind="error", times=None)
    lab.sweep()
    assert lab.rules(home_db) == []
    assert len(lab.rules(db)) == 1
    assert PEER in lab.summary()["detail"]
    if cause == "sts down":  # an outage is not lost access: no advice about the role
        (attempt,) = lab.records("attempt")
        assert (PEER in attempt["detail"], lab.records(reason="no-access")) == (True, [])
    else:
        (denied,) = lab.records(reason="no-access")
        assert (denied["outcome"], PEER in denied["detail"], f"link-peer doctor {PEER}" in denied["advice"]) == (
            "denied",
            True,
            True,
        )


@pytest.mark.parametrize("by_account", ["one delivery"], indirect=True)  # its summary is that of all accounts
def test_removals_over_the_cap_are_held_and_reported(lab: Lab) -> None:
    """None of them is made: the account does not show the instances that asked. Explicit removals, those of another
    account, and additions are made."""
    first_instance, _, first = lab.linked()
    two, _, second = lab.linked()
    peer_instance, _, elsewhere = lab.linked(PEER)
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b, "tcp/9", until=lab.iso(60)))
    lab.cloud.clock.advance(60)
    for instance in (first_instance, two, peer_instance):
        lab.release(instance)
    app, db = lab.group(), lab.group("*")
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.policy(limits={"removals_per_run": 1})
    before = len(lab.records("summary"))
    lab.sweep()
    assert (len(lab.rules(first)), len(lab.rules(second))) == (1, 1)
    assert lab.rules(b) == []
    assert lab.rules(elsewhere) == []
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    summaries = [summary for summary in lab.records("summary")[before:] if summary["scope"] == "account"]
    assert sorted(summary["account"] for summary in summaries) == [HOME, PEER]
    (record,) = [summary for summary in summaries if summary["outcome"] == "failed"]
    assert (record["outcome"], record["reason"], record["held"]) == ("failed", "removals-held", "2")
    assert HOME in record["detail"]
    assert PEER not in record["detail"]
    assert "2 rules" in record["detail"]
    assert "removals_per_run" in record["detail"] + record["advice"]
    assert "link-peer sweep --dry-run" in record["advice"]


def test_the_cap_never_holds_one_side_of_a_mutual_link_alone(lab: Lab) -> None:
    """Its rules are in two accounts, and more removals are due in one of them than in the other."""
    a, b = lab.pair()
    asking = lab.instance(a, tags={"link-peer": f"{b.id}@{PEER}"})
    lab.instance(b, tags={"team": "ledger"})
    second_instance, _, db = lab.linked()
    assert len(lab.rules(a)) == len(lab.rules(b)) == 1
    for instance in (asking, second_instance):
        lab.release(instance)
    lab.policy(limits={"removals_per_run": 1})
    lab.sweep()
    assert lab.summary()["reason"] == "removals-held"
    assert lab.rules(db) == []  # counted apart
    assert len(lab.rules(a)) == len(lab.rules(b))
