"""Events of groups with many instances: what they read of them, and what they leave to the sweep.

A page has a hundred instances, the newest first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.functional.lab import HOME, Lab
from tests.functional.test_both_ends import Ends

READS_ALL = "the account's next full sweep reads all of them, and decides"
PAST_THREE_PAGES = 299  # instances that are newer than an older one, and older than the newest


def reads_of(lab: Lab, deliver: Callable[[], object]) -> int:
    """How often a delivery reads instances."""
    before = lab.cloud.faults.count("ecs", "DescribeInstances")
    deliver()
    return lab.cloud.faults.count("ecs", "DescribeInstances") - before


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("ports", ["", ":tcp/1"], ids=["mutual", "tcp/1"])
@pytest.mark.parametrize(("between", "reads"), [(0, 2), (150, 3), (250, 4), (PAST_THREE_PAGES, 4), (None, 4)])
def test_another_instance_that_asks_ends_the_read_of_a_group(
    lab: Lab, between: int | None, reads: int, ports: str
) -> None:
    """On whichever of three pages it is, so many instances after the one that asks no more. Where none on these asks,
    the event takes nothing away, whoever else there may be, and its record says so: the sweep reads all of them, and
    decides."""
    app, db = lab.group("*"), lab.group("*")
    wish = {"link-peer": f"{db.id}{ports}"}
    lab.instance(app, tags=wish if between is not None else {})
    for _ in range(310 if between is None else between):
        lab.instance(app)
    instance = lab.started(app, tags=wish)
    rules = lab.rules(app), lab.rules(db)
    lab.tag(instance, link_peer=None)
    recorded, calls = len(lab.records()), lab.calls()
    other_side = int(not ports and between != 0)  # whose instances may ask for a mutual link
    assert reads_of(lab, lambda: lab.auto_link(lab.tag_event(instance))) == reads + other_side
    assert lab.calls() - calls <= 10 + other_side
    assert (lab.rules(app), lab.rules(db)) == rules
    undecided = between in (PAST_THREE_PAGES, None)
    assert [(record["outcome"], record["detail"]) for record in lab.records()[recorded:]] == [
        ("unchanged", f"no instance of {app.id}@{HOME} that was read asks for it: {READS_ALL}")
    ] * undecided
    lab.sweep()
    assert (lab.rules(app), lab.rules(db)) == (([], []) if between is None else rules)


@pytest.mark.knobs(request_tags=True)
def test_a_group_of_two_pages_in_which_nobody_asks_is_closed_by_the_event(lab: Lab) -> None:
    """Once all of it was read, and read again: an instance that one read leaves out keeps what it asks for."""
    app, db = lab.group(), lab.group("*")
    omitted = lab.instance(app)
    for _ in range(110):
        lab.instance(app)
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.tag(omitted, link_peer=f"{db.id}:tcp/1")
    lab.tag(instance, link_peer=None)
    lab.leave_out(omitted)
    lab.auto_link(lab.tag_event(instance))
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    lab.retag(omitted, link_peer=None)
    assert lab.rules(db) == []


@pytest.mark.knobs(request_tags=True)
def test_each_release_of_a_fleet_that_shrinks_reads_instances_twice(lab: Lab) -> None:
    """The instance, and the first page of its group: who asks is on it. The last one closes the link: one read shows
    that the account shows instances, and one confirms that nobody asks."""
    app, db = lab.group(), lab.group("*")
    lab.instance(db)
    fleet = [lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}) for _ in range(120)]
    for instance in fleet:
        lab.auto_link(lab.event(instance))
    reads = []
    for instance in fleet:
        lab.release(instance)
        reads.append(reads_of(lab, lambda name=instance.id: lab.auto_link(lab.event(name, "Deleted"))))  # type: ignore[misc]
        assert len(lab.rules(db)) == (instance is not fleet[-1])
    assert (set(reads[:-1]), reads[-1]) == ({2}, 4)


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("end", ["senders", "targets"])
def test_a_released_instance_of_a_large_group_loses_its_address_at_its_event(lab: Lab, end: str) -> None:
    """Of a link by address, at the end where the rule is for it: nothing else may get that address before. The other
    instances keep theirs."""
    ends = Ends(lab)
    for _ in range(310):
        lab.instance(ends.app)
    ends.tag()
    assert ends.are_open()
    instance = getattr(ends, end)[0]
    lab.release(instance)
    reads = reads_of(lab, lambda: lab.auto_link(lab.event(instance.id, "Deleted")))
    assert sorted(map(len, ends.rules)) == [1, 2]
    assert not any(rule.startswith(f"{instance.private_ip}/32") for rules in ends.rules for rule in rules)
    assert reads <= 6


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("event", ["event", "tag_event"])
@pytest.mark.parametrize(
    ("members", "instances"), [(99, "99"), (100, "100"), (101, "100 or more"), (251, "100 or more")]
)
def test_the_record_of_a_link_of_a_large_group_costs_it_one_page(
    lab: Lab, event: str, members: int, instances: str
) -> None:
    """With more instances than that it says how many there are at least, and names none."""
    app, db = lab.group(), lab.group("*")
    for _ in range(members - 1):
        lab.instance(app)
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    calls = lab.calls()
    lab.auto_link(getattr(lab, event)(instance))
    assert lab.calls() - calls <= 13
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    assert (lab.outcome()["instances"], bool(lab.outcome()["instance_ids"])) == (instances, members <= 100)


# releases that meet the rate limit


def throttled_releases(lab: Lab, ends: Ends, count: int) -> list[dict[str, Any]]:
    """Releases so many instances of the source group, whose events are throttled; the messages that these post, in 160
    s."""
    instances = [lab.instance(ends.app, tags={"link-peer": f"{ends.db.id}:tcp/1"}) for _ in range(count)]
    for instance in instances:
        lab.auto_link(lab.event(instance))
    assert len(lab.rules(ends.db)) == count
    lab.fault(service="ecs", action="DescribeInstances", kind="throttle", times=count)
    for instance in instances:
        lab.release(instance)
        lab.auto_link(lab.event(instance.id, "Deleted"))
    assert len(lab.rules(ends.db)) == count
    assert lab.queued(after=150) == []  # who opens goes first
    return lab.queued(after=10)


@pytest.mark.knobs(request_tags=True)
def test_looks_at_released_instances_are_carried_out_together(lab: Lab) -> None:
    """What may have been theirs is read once, and their addresses go. A released instance is not awaited."""
    ends = Ends(lab, source=False, target=False, where="other vpc")
    looks = throttled_releases(lab, ends, 12)
    assert len(looks) == 12
    calls = lab.calls()
    reads = reads_of(lab, lambda: lab.cross_account(*looks, looks[0]))
    assert (lab.rules(ends.db), lab.queued(after=600)) == ([], [])
    assert reads <= 5
    assert lab.calls() - calls <= 15


@pytest.mark.knobs(request_tags=True)
def test_looks_that_are_throttled_together_are_put_back_each_by_itself(lab: Lab) -> None:
    """With one record for each, in one call; one that has expired by then is denied."""
    looks = throttled_releases(lab, Ends(lab, source=False, target=False, where="other vpc"), 3)
    looks[0]["expires_at"] = lab.iso(-1)
    lab.fault(service="ecs", action="DescribeInstances", kind="throttle", times=8)
    attempts, calls = len(lab.records("attempt")), lab.calls()
    lab.cross_account(*looks)
    assert len(lab.records("attempt")) - attempts == 3
    assert [record["from"] for record in lab.records(outcome="denied")] == [looks[0]["party"]["party"]]
    again = lab.queued(after=160)
    assert sorted(look["party"]["party"] for look in again) == sorted(look["party"]["party"] for look in looks[1:])
    assert {look["attempt"] for look in again} == {5}
    assert lab.calls() - calls <= 10


@pytest.mark.knobs(request_tags=True)
def test_looks_at_what_is_shown_late_are_awaited_together(lab: Lab) -> None:
    """New instances that are not shown yet are put back, and linked once they are."""
    app, db = lab.group(), lab.group("*")
    lab.cloud.ecs.read_lag.instances = 40
    instances = [lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}) for _ in range(3)]
    lab.auto_link(*(lab.event(instance) for instance in instances))
    looks = lab.queued(after=10)
    assert len(looks) == 3
    lab.cross_account(*looks)
    assert lab.rules(db) == []
    again = lab.queued(after=30)
    assert len(again) == 3
    lab.cross_account(*again)
    assert lab.rules(db) == [f"{app.id} tcp/1"]
