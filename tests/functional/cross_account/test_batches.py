"""A batch whose messages touch different groups is carried out side by side; every one is decided as if it came alone."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from link_peer.app import dispatch
from link_peer.engine.scopes.pair import reconcile_pair
from link_peer_local.ecs.state import Group

from tests.functional.lab import PEER, Lab

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
    made = Counter(call.action for call in lab.cloud.faults.calls)
    assert made["AssumeRole"] == 1
    assert (made["AuthorizeSecurityGroup"], 1 <= made["TagResources"] <= SIZE) == (SIZE, True)
    assert sum("managed tags of " in record["detail"] for record in lab.records()) == 1
    assert made["DescribeSecurityGroupAttribute"] == 3 * SIZE
    assert made["DescribeSecurityGroups"] <= 3 * SIZE
    assert made["PutLogs"] <= 2 * SIZE


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
    _, others = disjoint(lab)
    link, unlink = lab.request(a, b, "tcp/1", request_id="chg-x"), lab.request(a, b, action="unlink", request_id="end")
    outcomes = lab.cross_account(link, *others[:4], unlink, *others[4:])
    assert outcomes == {"applied": SIZE + 1, "removed": 1}
    assert lab.rules(b) == []
    assert lab.cross_account(unlink, link) == {"unchanged": 1, "applied": 1}
    assert lab.rules(b) == [f"{a.id} tcp/1"]


def test_trouble_with_one_account_holds_up_no_other(lab: Lab) -> None:
    """Its messages are put back, each with an attempt of its own."""
    _, requests = disjoint(lab)
    a, b = lab.group("*"), lab.group("*")
    lab.fault(service="ecs", kind="error", account=PEER, times=None)
    assert lab.cross_account(*requests, lab.request(a, b, "tcp/1", request_id="chg-home")) == {"applied": 1}
    assert lab.rules(b) == [f"{a.id} tcp/1"]
    assert sorted(r["request_id"] for r in lab.records("attempt")) == sorted(r["request_id"] for r in requests)
    lab.cloud.faults.clear()
    assert lab.drain(900) == {"applied": SIZE}


def test_groups_that_do_not_exist_cost_neither_the_others_nor_a_read_of_the_whole_account(lab: Lab) -> None:
    """Anyone who may post requests could name them."""
    pairs, requests = disjoint(lab)
    for number, request in enumerate(requests[:-1]):
        request["to"]["party"] = f"sg-none{number}"
    lab.cloud.faults.calls.clear()
    assert lab.cross_account(*requests) == {"applied": 1, "denied": SIZE - 1}
    assert lab.rules(pairs[-1][1]) == [f"{pairs[-1][0].id} tcp/1"]
    asked = [call.params for call in lab.cloud.faults.calls if call.action == "DescribeSecurityGroups"]
    assert all("SecurityGroupIds" in params for params in asked)


def apart(lab: Lab, a: Group, b: Group, number: int) -> dict[str, Any]:
    """A request for a link between two new instances of these groups."""
    return lab.request(lab.instance(a), lab.instance(b), "tcp/1", request_id=f"chg-{number}")


def test_instances_of_different_groups_are_linked_side_by_side(lab: Lab, together: Callable[[int], None]) -> None:
    """Their groups are read once for the whole batch."""
    together(4)
    pairs = [lab.pair() for _ in range(4)]
    assert lab.cross_account(*(apart(lab, a, b, n) for n, (a, b) in enumerate(pairs))) == {"applied": 4}
    assert [len(lab.rules(b)) for _, b in pairs] == [1] * 4


def test_instances_of_one_group_are_linked_one_after_the_other(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of their requests."""
    order: list[str] = []

    def noted(delivery: Any, request: Any, *more: Any) -> None:
        order.append(request.request_id)
        reconcile_pair(delivery, request, *more)
        order.append(request.request_id)

    monkeypatch.setattr(dispatch, "reconcile_pair", noted)
    shared = lab.group(f"*@{PEER}")
    requests = [apart(lab, shared, lab.pair()[1], number) for number in range(4)]
    assert lab.cross_account(*requests) == {"applied": 4}
    assert order == [f"chg-{number}" for number in range(4) for _ in range(2)]
