"""auto_link removes the rules that no claim holds any more, and no others."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from link_peer.engine.scopes.instances import FEW_OTHERS

from tests.functional.lab import Lab


def test_an_instance_past_the_first_page_still_counts(lab: Lab) -> None:
    """A group with more than a hundred members is read completely before any removal."""
    app, db = lab.group(), lab.group("*")
    oldest = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    for _ in range(105):
        lab.instance(app)
    newest = lab.started(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    assert lab.retag(newest, link_peer=None) == {}
    assert lab.rules(db) == [f"{app.id} tcp/3306"]
    lab.retag(oldest, link_peer=None)
    assert lab.rules(db) == []


@pytest.mark.knobs(request_tags=True)
def test_the_rules_to_the_address_of_a_deleted_instance_are_removed(lab: Lab) -> None:
    """Otherwise the next instance with that address could be reached. The target's event suffices."""
    app, db = lab.group("*"), lab.group("*")
    target = lab.instance(db)
    lab.started(app, tags={"link-peer": target.id})
    lab.release(target)
    lab.auto_link(lab.event(target, "Deleted"))
    assert lab.rules(db) == lab.rules(app) == []


@pytest.mark.knobs(request_tags=True)
def test_an_old_event_of_an_instance_that_is_no_longer_shown_removes_the_rules_to_its_address(lab: Lab) -> None:
    """Whatever state it says. The event of the release may have been lost, and another process remembers nothing."""
    app, db = lab.group(), lab.group("*")
    lab.instance(app)
    two = lab.instance(db)
    one = lab.instance(app, tags={"link-peer": f"{two.id}:tcp/1"})
    event = lab.event(one)
    lab.auto_link(event)
    assert lab.rules(db) != []
    lab.release(one)
    lab.forget()
    lab.cloud.clock.advance(300)
    assert lab.auto_link(event) == {"denied": 1, "removed": 1}
    assert lab.rules(db) == []


def test_a_deleted_event_does_not_remove_a_requests_link_of_an_existing_instance(lab: Lab) -> None:
    """A rule of its own address, for which no tag asks."""
    app, db = lab.group(), lab.group("*")
    instance, target = lab.instance(app), lab.instance(db)
    lab.cross_account(lab.request(instance, target, "tcp/3306"))
    before = lab.raw_rules(db)
    assert len(before) == 1
    for released in (instance, target):
        lab.auto_link(lab.event(released, "Deleted"))
        assert lab.raw_rules(db) == before


@pytest.mark.parametrize("run", ["event", "sweep"])
def test_nothing_is_removed_where_the_read_after_one_that_omits_an_instance_fails(
    make_lab: Callable[[], Lab], run: str
) -> None:
    """Whichever read of instances omits it, and from whichever on they fail. Without the failure, the link stays too."""
    for passed in itertools.count():
        lab = make_lab()
        app, db = lab.group(), lab.group("*")
        tags = {"link-peer": f"{db.id}:tcp/1"}
        instance, second = lab.instance(app, tags=tags), lab.instance(app, tags=tags)
        lab.auto_link(lab.event(instance))
        lab.tag(instance, link_peer=None)
        lab.leave_out(second)
        before = lab.cloud.faults.count("ecs", "DescribeInstances")
        lab.fault(service="ecs", action="DescribeInstances", kind="error", skip=passed, times=None)
        if run == "event":
            lab.auto_link(lab.tag_event(instance))
        else:
            lab.sweep()
        assert lab.rules(db) == [f"{app.id} tcp/1"]
        if lab.cloud.faults.count("ecs", "DescribeInstances") - before <= passed:
            break
    assert passed >= 2


# which other groups an event reads: those whose rules name the groups of its instance


def reads(lab: Lab) -> int:
    return lab.cloud.faults.count("ecs", "DescribeSecurityGroupAttribute")


@pytest.mark.parametrize(("more", "state", "removed"), [(0, True, False), (0, False, True), (1, False, True)])
def test_a_lost_event_is_made_up_for_by_the_next_one(lab: Lab, more: int, state: bool, removed: bool) -> None:
    """The next change of tags, also where the group has rules in very many others. A state change leaves it to the sweep."""
    app = lab.group()
    groups = [lab.group("*") for _ in range(FEW_OTHERS + more)]
    lost = lab.instance(app, tags={f"link-peer.{n:02}": f"{db.id}:tcp/1" for n, db in enumerate(groups[:10])})
    others = [lab.instance(app, tags={f"link-peer.{n:02}": f"{db.id}:tcp/1" for n, db in enumerate(groups[10:])})]
    lab.auto_link(lab.event(lost), *(lab.event(other) for other in others))
    lab.tag(lost, **{f"link-peer.{n:02}": None for n in range(10)})
    before = reads(lab)
    lab.auto_link(lab.event(lost) if state else lab.tag_event(lost))
    assert (lab.rules(groups[0]) == []) is removed
    assert (reads(lab) > before) is removed
    assert lab.rules(groups[-1]) == [f"{app.id} tcp/1"]
