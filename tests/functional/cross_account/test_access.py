"""cross_account enters other accounts only with the roles in the policy file, and no more often than needed."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from link_peer.alicloud.sts import CACHE
from link_peer.domain.errors import Transient
from link_peer_local.core.faults import Call
from link_peer_local.core.principals import trust_text

from tests.functional.lab import HOME, PEER, Lab

ROLE = f"acs:ram::{PEER}:role/link-peer"


def assumed(lab: Lab) -> list[Call]:
    """The AssumeRole calls so far."""
    return [call for call in lab.cloud.faults.calls if call.action == "AssumeRole"]


def forbid(lab: Lab, *allowed: str) -> None:
    """Restricts the peer's role to these actions."""
    lab.cloud.identity.allow_only(ROLE, allowed)


READS = ("ecs:Describe*",)


def test_the_role_is_assumed_with_external_id_and_a_session_name_of_the_request(lab: Lab) -> None:
    """The session name lets the other account's ActionTrail identify the request."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b, request_id="chg_1.042"))
    (call,) = assumed(lab)
    assert call.params["RoleArn"] == ROLE
    assert call.params["ExternalId"] == "link-peer-local-example"
    assert call.params["RoleSessionName"] == "link-peer-chg_1.042"
    assert call.params["DurationSeconds"] == "900"


def test_keys_in_a_damaged_sts_response_stay_out_of_records_and_tracebacks(lab: Lab) -> None:
    """The SDK's own error quotes the whole AssumeRole response, including the keys. The request cannot be put back
    either, so that the function raises."""
    a, b = lab.pair()
    lab.fault(service="sts", kind="truncated-after", times=None)
    lab.fault(service="mns", times=None)
    with pytest.raises(Transient) as raised:
        lab.cross_account(lab.request(a, b))
    text = "".join(traceback.format_exception(raised.value)) + str(lab.records("intent", "attempt", "outcome"))
    assert "AccessKeyId" not in text
    assert "STS." not in text
    assert "no readable answer" in lab.records("attempt")[-1]["detail"]


def test_a_session_is_reused_until_five_minutes_before_it_expires(lab: Lab) -> None:
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b), lab.request(a, b, "tcp/1", request_id="chg-2"))
    lab.cloud.clock.advance(590)
    lab.cross_account(lab.request(a, b))
    assert len(assumed(lab)) == 1
    lab.cloud.clock.advance(11)
    assert lab.cross_account(lab.request(a, b)) == {"applied": 1}
    assert len(assumed(lab)) == 2


def test_keys_that_expire_during_a_delivery_are_replaced_once(lab: Lab) -> None:
    """A session may be revoked early; the delivery continues with a new one."""
    a, b = lab.pair()
    lab.fault(
        service="ecs",
        action="AuthorizeSecurityGroup",
        account=PEER,
        code="InvalidSecurityToken.Expired",
        status=403,
    )
    assert lab.cross_account(lab.request(a, b)) == {"applied": 1}
    assert len(assumed(lab)) == 2
    assert lab.rules(b) == [f"{a.id} all"]


def test_keys_that_are_always_rejected_end_in_no_access(lab: Lab) -> None:
    """They are replaced once, not again and again."""
    a, b = lab.pair()
    code = "InvalidSecurityToken.Expired"
    lab.fault(service="ecs", action="*", account=PEER, code=code, status=403, times=None)
    assert lab.cross_account(lab.request(a, b)) == {"denied": 1}
    assert lab.outcome()["reason"] == "no-access"
    assert len(assumed(lab)) == 2
    assert lab.changes() == 0


def test_expired_keys_in_the_cache_of_a_warm_instance_are_replaced(lab: Lab) -> None:
    """The other account's administrator revoked the cached session."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    (session,) = CACHE.sessions.values()
    key = lab.cloud.identity.keys[session.credentials.access_key_id]
    lab.cloud.identity.keys[key.access_key_id] = type(key)(
        key.access_key_id, key.secret, key.caller, key.token, lab.cloud.clock.now() - 1
    )
    assert lab.cross_account(lab.request(a, b, "tcp/1", request_id="chg-2")) == {"applied": 1}


# no access


def _no_role(lab: Lab) -> None:
    del lab.cloud.identity.roles[ROLE]


def _no_trust(lab: Lab) -> None:
    lab.cloud.identity.roles[ROLE].trust = trust_text([f"acs:ram::{PEER}:root"], "link-peer-local-example")


def _other_external_id(lab: Lab) -> None:
    lab.cloud.identity.roles[ROLE].trust = trust_text([f"acs:ram::{HOME}:role/link-peer-fc"], "another")


@pytest.mark.parametrize("lock", [_no_role, _no_trust, _other_external_id])
@pytest.mark.parametrize("action", ["link", "unlink", "sync"])
def test_an_account_that_cannot_be_entered_is_denied_and_nothing_is_written(lab: Lab, lock: Any, action: str) -> None:
    """`no-access`, acknowledged: post it again once the role is corrected."""
    a, b = lab.pair()
    lock(lab)
    assert lab.cross_account(lab.request(a, b, action=action)) == {"denied": 1}
    record = lab.outcome()
    assert record["reason"] == "no-access"
    assert PEER in record["detail"]
    for word in ("role", "trust policy", "external id"):
        assert word in record["advice"]
    assert lab.changes() == 0
    assert "link-peer-local-example" not in str(lab.records("outcome", "attempt", "intent"))


def test_a_refused_assume_role_is_retried_twice(lab: Lab) -> None:
    """An edited trust policy takes a moment to propagate, so only the third refusal counts."""
    a, b = lab.pair()
    lab.fault(service="sts", action="AssumeRole", code="NoPermission", status=403, times=2)
    assert lab.cross_account(lab.request(a, b)) == {"applied": 1}
    CACHE.sessions.clear()
    lab.fault(service="sts", action="AssumeRole", code="NoPermission", status=403, times=3)
    assert lab.cross_account(lab.request(a, b)) == {"denied": 1}


@pytest.mark.parametrize("side", ["from", "to"])
@pytest.mark.parametrize("kind", ["throttle", "error", "html", "reset", "no-answer", "truncated"])
def test_a_request_that_meets_lasting_sts_errors_is_put_back(lab: Lab, kind: str, side: str) -> None:
    """With an attempt and no outcome on record; nothing is changed on the other side."""
    a, b = lab.pair()
    request = lab.request(a, b) if side == "to" else lab.request(b, a)
    lab.fault(service="sts", action="AssumeRole", kind=kind, times=None)
    assert lab.cross_account(request) == {}
    assert lab.changes() == 0
    assert lab.records() == []
    (attempt,) = lab.records("attempt")
    assert attempt["request_id"] == "chg-1"
    lab.cloud.faults.clear()
    assert lab.queued() == []
    (again,) = lab.queued(after=10)
    assert again == {**request, "attempt": 1}
    assert lab.cross_account(again) == {"applied": 1}


def test_a_throttled_assume_role_is_not_awaited(lab: Lab) -> None:
    """The API refuses until the next minute: the request is put back, and no other waits for it."""
    a, b = lab.pair()
    lab.cloud.clock.sleep(5 - lab.cloud.clock.now() % 60)
    before = lab.cloud.clock.now()
    lab.fault(service="sts", action="AssumeRole", kind="throttle")
    assert lab.cross_account(lab.request(a, b)) == {}
    assert len(assumed(lab)) == 1
    assert lab.cloud.clock.now() - before < 5
    assert lab.drain(60) == {"applied": 1}


@pytest.mark.parametrize(
    "allowed",
    [(), ("ecs:DescribeSecurityGroups",), ("ecs:DescribeInstances",)],
    ids=["nothing", "no rules", "no groups"],
)
def test_a_role_without_read_permission_gives_no_access(lab: Lab, allowed: tuple[str, ...]) -> None:
    """Whichever read is refused."""
    a, b = lab.pair()
    forbid(lab, *allowed)
    assert lab.cross_account(lab.request(a, b)) == {"denied": 1}
    assert lab.outcome()["reason"] == "no-access"
    assert lab.changes() == 0


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("allowed", [(), ("ecs:TagResources",)], ids=["no tag", "no rule"])
def test_a_role_without_write_permission_leaves_no_rule_on_the_other_side(
    lab: Lab, allowed: tuple[str, ...], turned: bool
) -> None:
    """Whichever side is written first: both or neither, and one outcome, `no-access`."""
    a, b = lab.pair()
    forbid(lab, *READS, *allowed)
    request = lab.request(b, a) if turned else lab.request(a, b)
    assert lab.cross_account(request)["denied"] == 1
    (record,) = lab.records(outcome="denied")
    assert record["reason"] == "no-access"
    assert (lab.rules(a), lab.rules(b)) == ([], [])


def test_an_unlink_without_write_permission_is_denied(lab: Lab) -> None:
    """The rule still exists, so a person must act, and the record says so."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b, "tcp/1"))
    forbid(lab, *READS)
    assert lab.cross_account(lab.request(a, b, "tcp/1", action="unlink")) == {"denied": 1}
    assert lab.outcome()["reason"] == "no-access"
    assert len(lab.rules(b)) == 1


def test_no_secret_is_ever_recorded(lab: Lab) -> None:
    """No key, token or external id, even if calls fail; none is put on the queue either."""
    a, b = lab.pair()
    for kind in ("error", "html", "reset", "truncated"):
        lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind=kind, times=4)
        assert lab.cross_account(lab.request(a, b, "tcp/1")) == {}
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", code="SignatureDoesNotMatch", status=400)
    lab.cross_account(lab.request(a, b, "tcp/1"))
    put_back = lab.queued(after=600)
    assert len(put_back) >= 4
    text = str(lab.records("outcome", "attempt", "intent", "summary")) + str(put_back)
    for key in lab.cloud.identity.keys.values():
        assert key.secret not in text
        assert key.access_key_id not in text
        assert not key.token or key.token not in text
    assert "link-peer-local-example" not in text
