"""How many calls an event costs. None of it depends on the number of groups in the account."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from link_peer_local.ecs.state import Group

from tests.functional.lab import MANAGED, Lab

INSTANCES = f"{MANAGED}.instances"


def calls(lab: Lab, *events: str) -> Counter[str]:
    """The calls that auto_link makes for these events, by action."""
    start = len(lab.cloud.faults.calls)
    lab.auto_link(*events)
    return Counter(call.action for call in list(lab.cloud.faults.calls)[start:])


@pytest.fixture(name="crowd", params=[0, 60], ids="{} groups".format)
def _crowd(lab: Lab, request: pytest.FixtureRequest) -> list[Group]:
    """Other groups that hold rules of ours."""
    groups = [lab.group("*") for _ in range(request.param)]
    for one, other in itertools.pairwise(groups):
        lab.auto_link(lab.event(lab.instance(one, tags={"link-peer": f"{other.id}:tcp/1"})))
    return groups


@pytest.mark.usefixtures("crowd")
def test_an_instance_that_asks_for_nothing_costs_three_calls(lab: Lab) -> None:
    """The instance, its groups, and the groups whose rules name these. Nothing is recorded."""
    assert calls(lab, lab.event(lab.instance(lab.group()))) == {
        "DescribeInstances": 1,
        "DescribeSecurityGroups": 1,
        "DescribeSecurityGroupReferences": 1,
    }


@pytest.mark.knobs(request_tags=True)
@pytest.mark.usefixtures("crowd")
def test_a_link_costs_few_calls_and_less_the_second_time(lab: Lab) -> None:
    """Eleven for the first, of which two write records, and one counts whom it admits; then four, and one record."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    reads = {
        "DescribeInstances": 1,
        "DescribeSecurityGroups": 1,
        "DescribeSecurityGroupReferences": 1,
        "DescribeSecurityGroupAttribute": 1,
    }
    first = calls(lab, lab.event(instance))
    writes = {"TagResources": 1, "AuthorizeSecurityGroup": 1, "PutLogs": 2}
    read_back = {"DescribeSecurityGroupAttribute": 1, "DescribeSecurityGroups": 1, "DescribeInstances": 1}
    assert first == Counter(reads) + Counter(writes) + Counter(read_back)
    assert calls(lab, lab.event(instance)) == {**reads, "PutLogs": 1}


@pytest.mark.usefixtures("crowd")
def test_a_removal_costs_at_most_fourteen_calls(lab: Lab) -> None:
    app, db = lab.group(), lab.group("*")
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.tag(instance, link_peer=None)
    assert calls(lab, lab.tag_event(instance)).total() <= 14
    assert lab.rules(db) == []


@pytest.mark.knobs(request_tags=True)
@pytest.mark.usefixtures("crowd")
def test_the_end_of_an_instance_link_reads_only_groups_that_hold_such_rules(lab: Lab) -> None:
    """They have a tag of their own."""
    app, db = lab.group(), lab.group("*")
    target = lab.instance(db)
    instance = lab.started(app, tags={"link-peer": f"{target.id}:tcp/3306"})
    assert lab.tags(db)[INSTANCES] == lab.tags(db)[MANAGED] == "true"
    lab.release(instance)
    deleted = calls(lab, lab.event(instance, "Deleted"))
    assert lab.rules(db) == []
    assert deleted.total() <= 14


def test_the_rules_of_a_group_whose_instance_is_gone_are_found_where_it_was_seen_before(lab: Lab) -> None:
    """The cloud does not tell which groups a released instance was in. Another process leaves it to the sweep."""
    app, db = lab.group(), lab.group("*")
    lab.instance(lab.group())
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.release(instance)
    lab.forget()
    assert lab.auto_link(lab.event(instance, "Deleted")) == {}
    assert lab.rules(db) == [f"{app.id} tcp/3306"]
    lab.sweep()
    assert lab.rules(db) == []
