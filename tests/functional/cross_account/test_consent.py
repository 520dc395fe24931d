"""cross_account and consent: read in each account from the group's own tags, or from the policy's allow list."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.lab import HOME, PEER, POLICY, Lab

ROLE = POLICY["accounts"][PEER]


def denied(lab: Lab, request: dict[str, Any]) -> dict[str, str]:
    """The record of a denial, after which nothing was written in either account."""
    before = lab.changes()
    assert lab.cross_account(request) == {"denied": 1}
    assert lab.changes() == before == 0
    return lab.outcome()


# what the policy forbids


@pytest.mark.parametrize("side", ["from", "to"])
def test_an_account_that_the_policy_does_not_list_is_denied(lab: Lab, side: str) -> None:
    """No role is assumed and no call is made."""
    a, b = lab.pair()
    lab.policy(accounts={HOME: POLICY["accounts"][HOME]})
    request = lab.request(a, b) if side == "to" else lab.request(b, a)
    record = denied(lab, request)
    assert record["reason"] == "unknown-account"
    assert PEER in record["advice"]
    assert lab.cloud.faults.count("sts") == 0
    assert lab.cloud.faults.count("ecs") == 0


@pytest.mark.parametrize("action", ["link", "unlink", "sync"])
def test_while_paused_nothing_is_changed(lab: Lab, action: str) -> None:
    a, b = lab.pair()
    lab.instance(a, tags={"link-peer": f"{b.id}@{PEER}:tcp/1"})
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
