"""The policy file changes while a delivery reads: what it forbids is closed before anything is opened."""

from __future__ import annotations

import functools

import pytest
from link_peer.domain.model import Group, Instance

from tests.functional.lab import HOME, MANAGED, PEER, POLICY, Lab

pytestmark = [pytest.mark.usefixtures("living_lab"), pytest.mark.knobs(request_tags=True)]


def deliver(lab: Lab, by: str, instance: Instance, source: Group, target: Group) -> None:
    """What brings the link about: the instance's event, a request from its group, or a sweep, of one account or of
    all."""
    if by == "event":
        lab.auto_link(lab.event(instance))
    elif by == "request":
        lab.cross_account(lab.request(source, target, "tcp/1"))
    elif by == "sweep":
        lab.sweep()
    else:
        lab.sweep_account(HOME if by == "sweep of home" else PEER)


@pytest.mark.parametrize("by", ["event", "request", "sweep"])
def test_what_the_new_policy_forbids_is_closed_before_anything_is_opened(lab: Lab, by: str) -> None:
    """On the group whose rules the delivery changes."""
    standing, joining, db = lab.group(), lab.group(), lab.group("*")
    lab.instance(standing, tags={"link-peer": f"{db.id}:tcp/22"})
    lab.sweep()
    assert lab.rules(db) == [f"{standing.id} tcp/22"]
    tags = {} if by == "request" else {"link-peer": f"{db.id}:tcp/1"}
    instance = lab.instance(joining, tags=tags)
    never = [{"from": f"{standing.id}@{HOME}", "to": f"{db.id}@{HOME}"}]
    lab.meanwhile("DescribeSecurityGroupAttribute", lambda: lab.policy(never=never))
    start = lab.calls()
    deliver(lab, by, instance, joining, db)
    assert lab.rules(db) == [f"{joining.id} tcp/1"]
    actions = [call.action for call in list(lab.cloud.faults.calls)[start:]]
    changes = [action for action in actions if action in ("RevokeSecurityGroup", "AuthorizeSecurityGroup")]
    assert changes == ["RevokeSecurityGroup", "AuthorizeSecurityGroup"]


@pytest.mark.parametrize("by", ["event", "request", "sweep of home", "sweep of the peer"])
def test_an_account_that_leaves_the_policy_meanwhile_costs_no_delivery(lab: Lab, by: str) -> None:
    """Nothing opens with it."""
    far, app, db = lab.group(account=PEER), lab.group(), lab.group("*", f"*@{PEER}")
    lab.instance(far, tags={"link-peer": f"{db.id}@{HOME}:tcp/22"})
    joining = lab.group(account=PEER) if by == "request" else app
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.meanwhile("DescribeSecurityGroupAttribute", lambda: lab.policy(accounts={HOME: POLICY["accounts"][HOME]}))
    deliver(lab, by, instance, joining, db)
    own_rules = [f"{app.id} tcp/1"]
    assert lab.rules(db) == ([] if by in ("request", "sweep of the peer") else own_rules)


@pytest.mark.parametrize("by", ["event", "request", "sweep"])
def test_a_policy_that_pauses_meanwhile_changes_nothing_more(lab: Lab, by: str) -> None:
    """Nor does one that was paused when the delivery began, whatever the file says then."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    for before, after in ((False, True), (True, False)):
        lab.policy(paused=before)
        lab.meanwhile("DescribeSecurityGroups", functools.partial(lab.policy, paused=after))
        deliver(lab, by, instance, app, db)
        assert (lab.rules(db), lab.tags(db).keys() & {MANAGED}) == ([], set())
