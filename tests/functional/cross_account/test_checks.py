"""cross_account checks before it writes: a failure that can be detected causes no write on either side."""

from __future__ import annotations

import pytest

from tests.functional.lab import PEER, Lab


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
