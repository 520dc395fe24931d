"""cross_account checks before it writes: a failure that can be detected causes no write on either side."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.lab import HOME, PEER, POLICY, Lab


def refused(lab: Lab, request: dict[str, Any], outcome: str = "denied") -> dict[str, str]:
    """The record of a request that ends without a changing call in either account."""
    assert lab.cross_account(request) == {outcome: 1}
    assert lab.changes() == 0
    assert lab.records("intent") == []
    return lab.outcome()


class Missing:
    """A party that does not exist."""

    def __init__(self, account: str, name: str) -> None:
        self.account, self.id = account, name


@pytest.mark.parametrize("account", [HOME, PEER])
@pytest.mark.parametrize("turned", [False, True])
def test_a_missing_group_is_denied(lab: Lab, account: str, turned: bool) -> None:
    """On either side, in either direction."""
    there = lab.group(f"*@{HOME} *@{PEER}", account=PEER if account == HOME else HOME)
    gone = Missing(account, "sg-bp1gone")
    record = refused(lab, lab.request(there, gone) if turned else lab.request(gone, there))
    assert record["reason"] == "peer-not-found"
    assert f"sg-bp1gone@{account}" in record["detail"]


def test_a_group_named_with_the_wrong_account_is_denied(lab: Lab) -> None:
    """It exists, but in the other account."""
    a, b = lab.pair()
    record = refused(lab, lab.request(a, Missing(HOME, b.id)))
    assert record["reason"] == "peer-not-found"


@pytest.mark.parametrize("account", [HOME, PEER])
def test_a_missing_instance_is_denied(lab: Lab, account: str) -> None:
    there = lab.instance(lab.group(f"*@{HOME} *@{PEER}", account=PEER if account == HOME else HOME))
    assert refused(lab, lab.request(Missing(account, "i-bp1gone"), there, "tcp/1"))["reason"] == "instance-gone"


def test_an_instance_without_an_address_is_denied(lab: Lab) -> None:
    """A request has no event time to wait by, so it is denied at once; post it again."""
    a, b = lab.pair()
    one, two = lab.instance(a), lab.instance(b)
    two.ip_visible_from = lab.cloud.clock.now() + 3600
    record = refused(lab, lab.request(one, two, "tcp/1"))
    assert record["reason"] == "no-private-ip"
    assert two.id in record["detail"]


def test_a_persons_equal_rule_needs_no_room(lab: Lab) -> None:
    """If a full group already admits the peer, the link is made."""
    a, b = lab.pair()
    owner = {"SourceGroupId": b.id, "SourceGroupOwnerId": PEER}
    lab.authorize(a, IpProtocol="ALL", PortRange="-1/-1", **owner)
    lab.fill(a, 19)
    assert lab.cross_account(lab.request(a, b)) == {"applied": 1}
    assert len(lab.rules(b)) == 1


def test_a_claim_that_does_not_fit_the_description_fails(lab: Lab) -> None:
    """512 characters at most: the existing claims stay, on both sides."""
    a, b = lab.pair()
    for number in range(9):
        assert lab.cross_account(lab.request(a, b, request_id=f"{number}" + "x" * 47)) in (
            {"applied": 1},
            {"failed": 1},
        )
    assert {(r["outcome"], r["reason"]) for r in lab.records(outcome="failed")} == {("failed", "quota")}
    assert lab.reasons(a) == lab.reasons(b)
    before = lab.reasons(a)
    assert lab.cross_account(lab.request(a, b, request_id="y" * 48)) == {"failed": 1}
    assert lab.reasons(a) == lab.reasons(b) == before
    assert len(before[0].split(",")) == 8


# what the policy forbids


@pytest.mark.parametrize("side", ["from", "to"])
def test_an_account_that_the_policy_does_not_list_is_denied(lab: Lab, side: str) -> None:
    """No role is assumed and no call is made."""
    a, b = lab.pair()
    lab.policy(accounts={HOME: POLICY["accounts"][HOME]})
    request = lab.request(a, b) if side == "to" else lab.request(b, a)
    record = refused(lab, request)
    assert record["reason"] == "unknown-account"
    assert PEER in record["advice"]
    assert lab.cloud.faults.count("sts") == 0
    assert lab.cloud.faults.count("ecs") == 0


@pytest.mark.parametrize("action", ["link", "unlink"])
def test_while_paused_nothing_is_changed(lab: Lab, action: str) -> None:
    a, b = lab.pair()
    if action == "unlink":
        lab.cross_account(lab.request(a, b, "tcp/1"))
    lab.policy(paused=True)
    before, rules = lab.changes(), lab.rules(b)
    ports = ("tcp/1",) if action == "link" else ()
    assert lab.cross_account(lab.request(a, b, *ports, action=action)) == {"denied": 1}
    assert lab.outcome()["reason"] == "paused"
    assert lab.changes() == before
    assert lab.rules(b) == rules


def test_a_request_denied_while_paused_is_applied_when_posted_again(lab: Lab) -> None:
    a, b = lab.pair()
    lab.policy(paused=True)
    request = lab.request(a, b)
    lab.cross_account(request)
    lab.policy()
    assert lab.cross_account(request) == {"applied": 1}
