"""A sweep concurrent with an unlink: a closed link stays closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from link_peer_local.ecs.state import Group, Instance

from tests.functional.lab import PEER, Lab

LAST = 80
Crossing = tuple[Lab, Group, Group, dict[str, Any]]


def linked(lab: Lab, kind: str) -> Crossing:
    """A link opened by a request, between groups or instances of both accounts; and the request that closes it."""
    a, b = lab.pair()
    ends: list[Group | Instance] = [lab.instance(a), lab.instance(b)]
    if kind == "groups":
        ends = [a, b]
    lab.cross_account(lab.request(*ends))
    assert lab.reasons(a) == lab.reasons(b) == ["req:chg-1"]
    return lab, a, b, lab.request(*ends, action="unlink", request_id="chg-2")


@pytest.mark.parametrize("kind", ["groups", "instances"])
@pytest.mark.parametrize("first", ["sweep", "unlink"])
def test_a_concurrent_unlink_and_sweep_leave_no_rule(make_lab: Callable[[], Lab], kind: str, first: str) -> None:
    """One runs completely at each call of the other: a half that the sweep has read does not restore the link."""
    for k in range(LAST):
        lab, a, b, request = linked(make_lab(), kind)
        runs: list[Callable[[], object]] = [lab.sweep, lambda lab=lab, request=request: lab.cross_account(request)]  # type: ignore[misc]
        if first == "unlink":
            runs.reverse()
        reached = lab.interrupt(k, runs[1])
        runs[0]()
        if not reached():
            break
        assert (lab.rules(a), lab.rules(b)) == ([], []), f"at call {k}"
        lab.sweep()
        assert (lab.rules(a), lab.rules(b)) == ([], []), f"at call {k}, after another sweep"
    assert 6 < k < LAST - 1


def test_an_unlink_closes_the_half_that_a_sweep_leaves(make_lab: Callable[[], Lab]) -> None:
    """The sweep completes nothing for a request, so there is nothing that it could bring back."""
    lab, a, b, request = linked(make_lab(), "groups")
    lab.revoke(b)
    lab.sweep()
    assert (lab.reasons(a), lab.rules(b)) == (["req:chg-1"], [])
    assert lab.cross_account(request) == {"removed": 1}
    lab.sweep()
    assert (lab.rules(a), lab.rules(b)) == ([], [])


def test_a_tag_keeps_a_completed_link_during_an_unlink(make_lab: Callable[[], Lab]) -> None:
    """Only the request's claim is removed from the completed side: the tag still asks for the link."""
    lab, a, b, request = linked(make_lab(), "groups")
    lab.instance(a, tags={"link-peer": f"{b.id}@{PEER}"})
    lab.cross_account(lab.request(a, b, action="sync", request_id="tag-1"))
    lab.revoke(b)
    lab.meanwhile("AuthorizeSecurityGroup", lambda: lab.cross_account(request))
    lab.sweep()
    assert lab.reasons(a) == lab.reasons(b) == ["tag"]
