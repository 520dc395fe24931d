"""cross_account opens both sides or neither: if the second side fails for good, the first is rolled back. It closes
both, but no rule of a person."""

from __future__ import annotations

import pytest
from aliyun_local.api import Group

from tests.functional.lab import Lab


def block(lab: Lab, group: Group) -> None:
    """From now on, this group's account refuses new rules."""
    fault = {"code": "AuthorizationLimitExceed", "status": 400, "times": None}
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", account=group.account, **fault)


def by_hand(lab: Lab, group: Group, source: Group) -> None:
    """Adds the rule of a mutual link as a person."""
    fields = {"SourceGroupId": source.id, "SourceGroupOwnerId": source.account, "Description": "by hand"}
    lab.authorize(group, IpProtocol="ALL", PortRange="-1/-1", **fields)


def test_a_rollback_keeps_a_rule_that_another_request_holds(lab: Lab) -> None:
    """The first side belongs to the other request too, so only this request's claim is removed."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    lab.revoke(a)
    block(lab, a)
    assert lab.cross_account(lab.request(a, b, request_id="chg-2"))["failed"] == 1
    assert lab.reasons(b) == ["req:chg-1"]
    assert lab.rules(a) == []


def test_a_rollback_keeps_a_persons_rule(lab: Lab) -> None:
    """A person had added the rule of the first side before."""
    a, b = lab.pair()
    by_hand(lab, b, a)
    before = lab.raw_rules(b)
    block(lab, a)
    assert lab.cross_account(lab.request(a, b)) == {"failed": 1}
    assert lab.raw_rules(b) == before


@pytest.mark.parametrize("consents", [True, False])
def test_the_sweep_removes_a_link_that_an_expired_request_left_half_open(lab: Lab, consents: bool) -> None:
    """The other account fails until the request expires. The sweep opens nothing for a request: the half is removed
    once it is older than 30 minutes, and at once if a group consents no more."""
    a, b = lab.pair()
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", account=a.account, kind="error", times=None)
    lab.cross_account(lab.request(a, b, expires_at=lab.iso(60)))
    assert lab.drain(900) == {"denied": 1}
    assert lab.outcome()["reason"] == "expired"
    assert (lab.rules(a), len(lab.rules(b))) == ([], 1)
    lab.cloud.faults.clear()
    if not consents:
        lab.tag(a, link_accept=None)
    lab.sweep()
    assert (lab.rules(a), len(lab.rules(b))) == ([], int(consents))
    lab.cloud.clock.advance(1800)
    lab.sweep()
    assert (lab.rules(a), lab.rules(b)) == ([], [])
    (removed,) = lab.records(outcome="removed")
    assert removed["reason"] == ("half-open" if consents else "no-consent")


@pytest.mark.parametrize("on", ["a", "b"])
def test_a_persons_half_of_a_mutual_link_stays_when_ours_is_removed(lab: Lab, on: str) -> None:
    a, b = lab.pair()
    group, other_group = (a, b) if on == "a" else (b, a)
    by_hand(lab, group, other_group)
    before = lab.raw_rules(group)
    assert lab.cross_account(lab.request(a, b)) == {"applied": 1}
    assert len(lab.raw_rules(other_group)) == 1
    assert lab.cross_account(lab.request(a, b, action="unlink")) == {"removed": 1}
    assert lab.raw_rules(group) == before
    assert lab.raw_rules(other_group) == []


def test_an_unlink_needs_no_consent(lab: Lab) -> None:
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    lab.tag(a, link_accept=None)
    lab.tag(b, link_accept=None)
    assert lab.cross_account(lab.request(a, b, action="unlink")) == {"removed": 1}
    assert (lab.rules(a), lab.rules(b)) == ([], [])
