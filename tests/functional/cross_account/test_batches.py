"""A batch whose messages touch different groups is carried out side by side; every one is decided as if it came
alone."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from aliyun_local.api import Group
from link_peer.app import dispatch
from link_peer.engine.scopes.pair import reconcile_pair

from tests.functional.lab import Lab

SIZE = 16


def disjoint(lab: Lab) -> tuple[list[tuple[Group, Group]], list[dict[str, Any]]]:
    """Pairs of groups, and a request for each."""
    pairs = [lab.pair() for _ in range(SIZE)]
    return pairs, [lab.request(a, b, "tcp/1", request_id=f"chg-{n}") for n, (a, b) in enumerate(pairs)]


@pytest.fixture(name="together")
def _together(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """`together(n)`: no message of a batch is carried out before n of them have begun."""

    def hold(count: int) -> None:
        meeting = threading.Barrier(count)

        def meet(*args: Any) -> None:
            meeting.wait(60)
            reconcile_pair(*args)

        monkeypatch.setattr(dispatch, "reconcile_pair", meet)

    return hold


def test_requests_for_different_groups_are_carried_out_side_by_side(lab: Lab, together: Callable[[int], None]) -> None:
    """Each has its rule, the managed tag and records of its own."""
    together(SIZE)
    pairs, requests = disjoint(lab)
    assert lab.cross_account(*requests) == {"applied": SIZE}
    assert [lab.rules(b) for _, b in pairs] == [[f"{a.id} tcp/1"] for a, _ in pairs]
    assert sorted(r["request_id"] for r in lab.records()) == sorted(r["request_id"] for r in requests)
    intents = {record["request_id"]: record["to"] for record in lab.records("intent")}
    assert intents == {request["request_id"]: b.id for request, (_, b) in zip(requests, pairs, strict=True)}


def test_a_batch_enters_an_account_once_and_reads_and_changes_no_group_twice(lab: Lab) -> None:
    """Rules of both sides, and those of the target once more after the change. One record says that managed tags are
    refused, which are not tried again after that."""
    _, requests = disjoint(lab)
    lab.cloud.faults.calls.clear()
    lab.cross_account(*requests)
    call_counts = Counter(call.action for call in lab.cloud.faults.calls)
    assert call_counts["AssumeRole"] == 1
    assert (call_counts["AuthorizeSecurityGroup"], 1 <= call_counts["TagResources"] <= SIZE) == (SIZE, True)
    assert sum("managed tags of " in record["detail"] for record in lab.records()) == 1
    assert call_counts["DescribeSecurityGroupAttribute"] == 3 * SIZE
    # as many as if each came alone: how many share a read depends on the threads
    assert call_counts["DescribeSecurityGroups"] <= 4 * SIZE
    assert call_counts["PutLogs"] <= 2 * SIZE


def test_requests_for_one_link_never_run_side_by_side(lab: Lab) -> None:
    """The API has no compare-and-set, so one of two claims that are added at the same time would be lost."""
    a, b = lab.pair()
    requests = [lab.request(a, b, "tcp/1", request_id=f"chg-{n}") for n in range(8)]
    assert lab.cross_account(*requests) == {"applied": 8}
    (rule,) = lab.raw_rules(b)
    assert all(f"req:chg-{n}" in rule["Description"] for n in range(8))


def test_requests_that_share_a_group_are_carried_out_in_their_order(lab: Lab) -> None:
    """Among others that share none."""
    a, b = lab.pair()
    _, other_requests = disjoint(lab)
    link, unlink = lab.request(a, b, "tcp/1", request_id="chg-x"), lab.request(a, b, action="unlink", request_id="end")
    outcomes = lab.cross_account(link, *other_requests[:4], unlink, *other_requests[4:])
    assert outcomes == {"applied": SIZE + 1, "removed": 1}
    assert lab.rules(b) == []
    assert lab.cross_account(unlink, link) == {"unchanged": 1, "applied": 1}
    assert lab.rules(b) == [f"{a.id} tcp/1"]
