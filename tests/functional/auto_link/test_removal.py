"""auto_link removes the rules that no claim holds any more, and no others."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

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
