"""The sweep's guards: it fails closed on unreliable reads, touches only its own rules, and reports what it cannot
do."""

from __future__ import annotations

import pytest
from link_peer.domain.model import RuleKey
from link_peer.domain.tags import parse_port

from tests.functional.lab import HOME, MANAGED, PEER, REGION, Lab, party

pytestmark = pytest.mark.usefixtures("living_lab", "by_account")

ROLE = f"acs:ram::{PEER}:role/link-peer"
READS = ["ecs:Describe*"]


# unreliable reads


INSTANCES, GROUPS, RULES = "DescribeInstances", "DescribeSecurityGroups", "DescribeSecurityGroupAttribute"


@pytest.mark.parametrize(
    ("account", "action", "kind"),
    [
        (HOME if (row + column) % 2 else PEER, action, kind)
        for row, kind in enumerate(["throttle", "error", "html", "reset", "truncated"])
        for column, action in enumerate([INSTANCES, GROUPS, RULES])
    ],
)
def test_a_failed_read_removes_nothing_in_that_account(lab: Lab, account: str, action: str, kind: str) -> None:
    """The other account is swept as usual."""
    other = PEER if account == HOME else HOME
    instance, _, db = lab.linked(account)
    elsewhere, _, other_db = lab.linked(other)
    before = lab.raw_rules(db)
    lab.tag(instance, link_peer=None)
    lab.tag(elsewhere, link_peer=None)
    lab.fault(service="ecs", action=action, account=account, kind=kind, times=None)
    lab.sweep()
    assert lab.raw_rules(db) == before
    assert lab.rules(other_db) == []
    assert account in lab.summary()["detail"]
    lab.cloud.faults.clear()
    lab.sweep()
    assert lab.rules(db) == []


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
    own, _, home_db = lab.linked()
    lab.tag(instance, link_peer=None)
    lab.tag(own, link_peer=None)
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
        assert (denied["outcome"], PEER in denied["detail"], "role" in denied["advice"]) == ("denied", True, True)


# the removal cap


@pytest.mark.parametrize("by_account", ["one delivery"], indirect=True)  # its summary is that of all accounts
def test_removals_over_the_cap_are_held_and_reported(lab: Lab) -> None:
    """None of them is made: the account does not show the instances that asked. Explicit removals, those of another
    account, and additions are made."""
    one, _, first = lab.linked()
    two, _, second = lab.linked()
    other, _, elsewhere = lab.linked(PEER)
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b, "tcp/9", until=lab.iso(60)))
    lab.cloud.clock.advance(60)
    for instance in (one, two, other):
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
    (record,) = lab.records("summary")[before:]  # two would have one key, and counting keys would lose one
    assert (record["outcome"], record["reason"], record["held"]) == ("failed", "removals-held", "2")
    assert HOME in record["detail"]
    assert PEER not in record["detail"]
    assert "2 rules" in record["detail"]
    assert "removals_per_run" in record["detail"] + record["advice"]
    assert "stale" in record["advice"]


def test_the_cap_never_holds_one_side_of_a_mutual_link_alone(lab: Lab) -> None:
    """Its rules are in two accounts, and more removals are due in one of them than in the other."""
    a, b = lab.pair()
    asking = lab.instance(a, tags={"link-peer": f"{b.id}@{PEER}"})
    lab.instance(b, tags={"team": "ledger"})
    another, _, db = lab.linked()
    assert len(lab.rules(a)) == len(lab.rules(b)) == 1
    for instance in (asking, another):
        lab.release(instance)
    lab.policy(limits={"removals_per_run": 1})
    lab.sweep()
    assert lab.summary()["reason"] == "removals-held"
    assert lab.rules(db) == []  # counted apart
    assert len(lab.rules(a)) == len(lab.rules(b))


# other people's rules


@pytest.mark.parametrize("lacking", ["everything", "rules"])
def test_a_group_without_write_permission_is_reported_without_retries(lab: Lab, lacking: str) -> None:
    """One `no-access` per run, no redelivery; the other links are made."""
    app, db = lab.group(account=PEER), lab.group("*", account=PEER)
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    home_app, home_db = lab.group(), lab.group("*")
    lab.instance(home_app, tags={"link-peer": f"{home_db.id}:tcp/1"})
    allowed = {"everything": [], "rules": ["ecs:TagResources"]}
    lab.cloud.identity.allow_only(ROLE, [*READS, *allowed[lacking]])
    outcomes = lab.sweep()
    assert outcomes == {"applied": 1, "denied": 1}
    (record,) = lab.records(outcome="denied")
    assert (record["reason"], record["to"]) == ("no-access", db.id)
    assert lab.rules(home_db) == [f"{home_app.id} tcp/1"]
    assert lab.rules(db) == []
    refused = sum(lab.cloud.faults.count("ecs", action) for action in ("TagResources", "AuthorizeSecurityGroup"))
    assert refused <= 2 + 3


def test_rules_without_read_permission_are_reported(lab: Lab) -> None:
    """The account shows its instances and groups, but not its rules: one `no-access` record."""
    lab.linked(PEER)
    lab.cloud.identity.allow_only(ROLE, ["ecs:DescribeInstances", "ecs:DescribeSecurityGroups"])
    lab.sweep()
    (record,) = lab.records(reason="no-access")
    assert record["from_account"] == PEER


def test_a_rule_for_a_wide_range_is_never_ours(lab: Lab) -> None:
    """Whatever its description says: link-peer writes only single addresses."""
    group = lab.group(tags={MANAGED: "true"})
    key = RuleKey(party(group), "10.0.0.0/8", "", parse_port("tcp/22"))
    marker = f"link-peer/2 dep=prod home=1000000000000001 id={key.id(HOME, 'prod', REGION)} by=tag from=i-a to=i-b"
    lab.authorize(
        group, IpProtocol="TCP", PortRange="22/22", SourceCidrIp="10.0.0.0/8", Priority="100", Description=marker
    )
    before = lab.raw_rules(group)
    lab.sweep()
    assert lab.raw_rules(group) == before
