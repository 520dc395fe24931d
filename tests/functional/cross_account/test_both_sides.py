"""cross_account opens both sides or neither: if the second side fails for good, the first is rolled back."""

from __future__ import annotations

import json

import cross_account
import pytest
from link_peer_local.core.faults import Killed
from link_peer_local.ecs.state import Group

from tests.functional.lab import Lab


def run(lab: Lab, event: bytes) -> dict[str, int]:
    """One delivery of exactly this event."""
    answer: dict[str, int] = json.loads(lab.run(cross_account.handler, event))["outcomes"]
    return answer


def posted(lab: Lab, a: Group, b: Group) -> bytes:
    """The event with the request of a mutual link."""
    return json.dumps([lab.message(lab.request(a, b))]).encode()


def block(lab: Lab, group: Group, code: str, status: int) -> None:
    """From now on, this group's account refuses new rules with this code."""
    fault = {"code": code, "status": status, "times": None}
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", account=group.account, **fault)


def test_a_rollback_keeps_a_rule_that_another_request_holds(lab: Lab) -> None:
    """The first side belongs to the other request too, so only this request's claim is removed."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    lab.revoke(a)
    block(lab, a, "AuthorizationLimitExceed", 400)
    assert lab.cross_account(lab.request(a, b, request_id="chg-2"))["failed"] == 1
    assert lab.reasons(b) == ["req:chg-1"]
    assert lab.rules(a) == []


def test_a_rollback_keeps_a_persons_rule(lab: Lab) -> None:
    """A person had added the rule of the first side before."""
    a, b = lab.pair()
    fields = {"SourceGroupId": a.id, "SourceGroupOwnerId": a.account, "Description": "by hand"}
    lab.authorize(b, IpProtocol="ALL", PortRange="-1/-1", **fields)
    before = lab.raw_rules(b)
    block(lab, a, "AuthorizationLimitExceed", 400)
    assert lab.cross_account(lab.request(a, b)) == {"failed": 1}
    assert lab.raw_rules(b) == before


@pytest.mark.knobs(group_sources="rules")
def test_a_group_that_fills_up_between_deliveries_rolls_back_the_first_side(lab: Lab) -> None:
    """The first delivery dies half-way; the redelivery finds the second side full."""
    a, b = lab.pair()
    event = posted(lab, a, b)
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="kill", skip=1)
    with pytest.raises(Killed):
        run(lab, event)
    assert len(lab.rules(b)) == 1
    source = lab.group()
    for port in range(1, 21):
        lab.authorize(a, IpProtocol="UDP", PortRange=f"{port}/{port}", SourceGroupId=source.id)
    assert run(lab, event)["failed"] == 1
    assert lab.rules(b) == []
    assert lab.records(outcome="failed")[0]["reason"] == "quota"


def test_a_rollback_that_fails_is_made_later(lab: Lab) -> None:
    """The rule still exists, so the request is put back without an outcome; its next delivery ends with neither side."""
    a, b = lab.pair()
    block(lab, a, "AuthorizationLimitExceed", 400)
    lab.fault(service="ecs", action="RevokeSecurityGroup", kind="error", times=4)
    assert lab.cross_account(lab.request(a, b)) == {}
    assert len(lab.rules(b)) == 1
    assert lab.records("attempt")
    assert lab.drain(60) == {"failed": 1}
    assert lab.rules(b) == []


@pytest.mark.parametrize("consents", [True, False])
def test_the_sweep_removes_a_link_that_an_expired_request_left_half_open(lab: Lab, consents: bool) -> None:
    """The other account fails until the request expires. The sweep opens nothing for a request: the half is removed once
    it is older than 30 minutes, and at once if a group consents no more."""
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


def test_consent_withdrawn_while_a_request_waits_on_the_queue_is_noticed(lab: Lab) -> None:
    """The first side is written and the second is throttled, so the request is put back. Its next delivery finds no
    consent and rolls back the first side."""
    a, b = lab.pair()
    lab.cloud.clock.sleep(5 - lab.cloud.clock.now() % 60)  # the next minute, when the API answers again, is far
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="throttle", skip=1)
    assert lab.cross_account(lab.request(a, b)) == {}
    assert (lab.rules(a), len(lab.rules(b))) == ([], 1)
    lab.tag(a, link_accept=None)
    lab.drain(60)
    assert (lab.rules(a), lab.rules(b)) == ([], [])
    (denied,) = lab.records(outcome="denied")
    assert denied["reason"] == "no-consent"
    assert "link-accept" in denied["advice"]


def test_a_rolled_back_link_has_one_record(lab: Lab) -> None:
    """It names the rules that existed for a moment, and every call."""
    a, b = lab.pair()
    block(lab, a, "AuthorizationLimitExceed", 400)
    assert lab.cross_account(lab.request(a, b)) == {"failed": 1}
    record = lab.outcome()
    assert [rule["group"] for rule in json.loads(record["rules"])] == [b.id]
    assert len(record["api_requests"].split(",")) == 5  # tag, authorize; tag, refused; revoke
