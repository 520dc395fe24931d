"""No account holds up the removals of another, nothing that someone withdrew waits for the removal guard, and a read
that fails removes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tests.functional.lab import HOME, MANAGED, PEER, Lab

MANY = 56  # more removals than limits.removals_per_run


@pytest.mark.parametrize("account", [PEER, HOME])
def test_forged_markers_of_one_account_do_not_hold_removals_of_another(lab: Lab, account: str) -> None:
    """Attack 1: an account fills its own groups with rules that look unwanted; the other accounts' removals go on. The
    sources of these rules are its own groups, or the victim's empty ones."""
    instance, app, db = lab.linked()
    lab.instance(app)
    sources = [lab.group(account=account) for _ in range(MANY // 4)]
    targets = [lab.group(f"*@{account}", account=PEER, tags={MANAGED: "true"}) for _ in range(4)]
    for target in targets:
        for source in sources:
            lab.forge(target, source, "tag", "tcp/1")
    lab.instance(lab.group(account=PEER), tags={"name": "alive"})
    lab.tag(instance, link_peer=None)
    lab.sweep()
    assert lab.rules(db) == []
    assert lab.summary()["reason"] == "removals-held"
    assert account in lab.summary()["detail"]
    assert all(len(lab.rules(target)) == MANY // 4 for target in targets)


def test_an_untagged_instance_that_is_shown_is_never_held(lab: Lab) -> None:
    """Attack 1: 56 links of tags that were removed are removed at once, since the instances are shown without them."""
    app = lab.group()
    peers = [lab.group("*") for _ in range(4)]
    ports = "+".join(f"tcp/{n}" for n in range(1, 15))
    instance = lab.instance(app, tags={f"link-peer.{n}": f"{peer.id}:{ports}" for n, peer in enumerate(peers)})
    lab.instance(app, tags={"name": "other"})
    lab.sweep()
    assert sum(len(lab.rules(peer)) for peer in peers) == MANY
    lab.tag(instance, **{f"link-peer.{n}": None for n in range(4)})
    lab.sweep()
    assert [lab.rules(peer) for peer in peers] == [[]] * 4


@pytest.mark.knobs(request_tags=True)
def test_a_deleted_event_is_never_held(lab: Lab) -> None:
    """Attack 1: the address of a released instance goes to a stranger, so its rules are removed whatever else is
    due."""
    lab.policy(limits={"removals_per_run": 1})
    app, db = lab.group(), lab.group("*")
    other_instance = lab.instance(db)
    instance = lab.instance(app, tags={"link-peer": f"{other_instance.id}:tcp/1+tcp/2+tcp/3"})
    lab.instance(app, tags={"name": "alive"})
    lab.auto_link(lab.event(instance))
    assert len(lab.rules(db)) == 3
    lab.release(instance)
    lab.auto_link(lab.event(instance.id, "Deleted"))
    assert lab.rules(db) == []


def test_removals_over_the_cap_are_held_across_messages(lab: Lab) -> None:
    """Counted over all messages of a delivery: none is made, and one summary says so, and a record of each message."""
    a, b = lab.pair()
    c = lab.group(f"*@{PEER}")
    first, second = (lab.instance(group, tags={"link-peer": f"{b.id}@{PEER}:tcp/1"}) for group in (a, c))
    lab.instance(b)
    syncs = [lab.request(source, b, action="sync", request_id=f"tag-{source.id}") for source in (a, c)]
    lab.cross_account(*syncs)
    lab.policy(limits={"removals_per_run": 1})
    lab.tag(first, link_peer=None)
    lab.tag(second, link_peer=None)
    lab.cross_account(*syncs)
    assert len(lab.rules(b)) == 2
    (summary,) = lab.records("summary")
    assert (summary["outcome"], summary["reason"]) == ("failed", "removals-held")
    assert summary["function"] == "cross_account"
    records = lab.records("outcome", reason="removals-held")
    assert sorted(record["request_id"] for record in records) == sorted(sync["request_id"] for sync in syncs)
    lab.policy(limits={"removals_per_run": 2})
    lab.cross_account(*syncs)
    assert lab.rules(b) == []


@pytest.mark.parametrize("run", ["event", "sweep"])
def test_nothing_is_removed_where_the_read_after_one_that_omits_an_instance_fails(
    make_lab: Callable[[], Lab], run: str
) -> None:
    """Whichever read of instances omits it, and from whichever on they fail. Without the failure, the link stays
    too."""
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
