"""cross_account enters other accounts only with the roles in the policy file, and no more often than needed."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from aliyun_local.api import trust_text
from link_peer.domain.errors import Transient

from tests.functional.lab import HOME, PEER, Lab

ROLE = f"acs:ram::{PEER}:role/link-peer"


def assumed(lab: Lab) -> int:
    """How often a role was assumed so far."""
    return lab.cloud.faults.count("sts", "AssumeRole")


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
    assert assumed(lab) == 1
    lab.cloud.clock.advance(11)
    assert lab.cross_account(lab.request(a, b)) == {"applied": 1}
    assert assumed(lab) == 2


def test_keys_that_expire_during_a_delivery_are_replaced_once(lab: Lab) -> None:
    """A session may be revoked early; the delivery continues with a new one."""
    a, b = lab.pair()
    expired = {"code": "InvalidSecurityToken.Expired", "status": 403}
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", account=PEER, **expired)
    assert lab.cross_account(lab.request(a, b)) == {"applied": 1}
    assert assumed(lab) == 2
    assert lab.rules(b) == [f"{a.id} all"]


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
    assert record["advice"] == f"the doctor says why, and what mends it: link-peer doctor {PEER}"
    assert lab.changes() == 0
    assert "link-peer-local-example" not in str(lab.records("outcome", "attempt", "intent"))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("allowed", [(), ("ecs:TagResources",)], ids=["no tag", "no rule"])
def test_a_role_without_write_permission_leaves_no_rule_on_the_other_side(
    lab: Lab, allowed: tuple[str, ...], turned: bool
) -> None:
    """Whichever side is written first: both or neither, and one outcome, `no-access`."""
    a, b = lab.pair()
    lab.cloud.identity.allow_only(ROLE, ["ecs:Describe*", *allowed])
    request = lab.request(b, a) if turned else lab.request(a, b)
    assert lab.cross_account(request)["denied"] == 1
    (record,) = lab.records(outcome="denied")
    assert record["reason"] == "no-access"
    assert (lab.rules(a), lab.rules(b)) == ([], [])
