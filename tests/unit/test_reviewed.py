"""`review/reviewed`: a plan's changes, and the way back, are let through; no other change is."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from link_peer.domain.denials import LinkDenied
from link_peer.domain.errors import CloudError
from link_peer.domain.model import Group, Party, Port, Rule, RuleKey
from link_peer.runtime.ports import Ecs
from link_peer_cli.review.reviewed import Reviewed
from link_peer_cli.review.writes import Action, Write, differences, last_of, place_of, undone

from tests.unit.fakes import FakeCloud, FakeEcs
from tests.unit.small_world import HOME

DB = Party(HOME, "sg-db")
TAG = f"link-managed.prod.{HOME}"


def key(port: int) -> RuleKey:
    return RuleKey(DB, f"sg-app@{HOME}", "", Port("tcp", port, port))


def rule(port: int, description: str) -> Rule:
    return Rule(DB, f"sgr-{port}", key(port), "accept", 100, description)


STANDING = [rule(2, "two"), rule(3, "three"), rule(4, "four")]
PLAN = [
    Write("authorize", HOME, DB.id, "", place_of(key(1)), "", "one"),
    Write("modify", HOME, DB.id, "", place_of(key(1)), "one", "one+"),
    Write("modify", HOME, DB.id, "sgr-2", place_of(key(2)), "two", "two+"),
    Write("revoke", HOME, DB.id, "sgr-3", place_of(key(3)), "three"),
    Write("untag", HOME, "sg-old", tags=(TAG,)),
]


@pytest.fixture(name="real")
def _real() -> FakeEcs:
    groups = [Group(Party(HOME, name), "vpc-1", tags={TAG: "true"}) for name in ("sg-db", "sg-old", "sg-other")]
    return FakeEcs(groups, rules=STANDING)


@pytest.fixture(name="ecs")
def _ecs(real: FakeEcs) -> Ecs:
    reviewed_ecs = Reviewed(FakeCloud(real), PLAN, (TAG, f"{TAG}.instances"), lambda: None).ecs(HOME)
    reviewed_ecs.rules(DB.id)
    return reviewed_ecs


def new_id(ecs: Ecs, port: int) -> str:
    return next(rule.id for rule in ecs.rules(DB.id) if rule.key == key(port))


def test_each_step_of_the_plan_and_the_way_back_are_made(ecs: Ecs, real: FakeEcs) -> None:
    """A rule that was added may get its next description, and be removed; a changed one may get back what it had."""
    ecs.authorize(DB.id, [(key(1), "one")])
    ecs.modify(DB.id, new_id(ecs, 1), "one+")
    ecs.modify(DB.id, "sgr-2", "two+")
    ecs.revoke(DB.id, ["sgr-3"])
    assert sorted(real.descriptions()) == ["four", "one+", "two+"]
    ecs.rules(DB.id)
    ecs.modify(DB.id, "sgr-2", "two")
    ecs.revoke(DB.id, [new_id(ecs, 1)])
    assert sorted(real.descriptions()) == ["four", "two"]


@pytest.mark.parametrize(
    "change",
    [
        lambda ecs: ecs.authorize(DB.id, [(key(1), "other")]),
        lambda ecs: ecs.authorize(DB.id, [(key(1), "one"), (key(9), "one")]),
        lambda ecs: ecs.authorize(DB.id, [(key(2), "two+")]),
        lambda ecs: ecs.authorize("sg-other", [(key(1), "one")]),
        lambda ecs: ecs.modify(DB.id, "sgr-2", "other"),
        lambda ecs: ecs.modify(DB.id, "sgr-3", "three"),
        lambda ecs: ecs.modify(DB.id, "sgr-4", "two+"),
        lambda ecs: ecs.modify(DB.id, "sgr-unknown", "two+"),
        lambda ecs: ecs.revoke(DB.id, ["sgr-2"]),
        lambda ecs: ecs.revoke(DB.id, ["sgr-4"]),
        lambda ecs: ecs.revoke(DB.id, ["sgr-3", "sgr-4"]),
        lambda ecs: ecs.revoke("sg-other", ["sgr-3"]),
    ],
)
def test_no_other_change_of_a_rule_is_made(ecs: Ecs, real: FakeEcs, change: Callable[[Ecs], object]) -> None:
    """Nor a call that has one such change among reviewed ones. What is refused never reaches the cloud."""
    with pytest.raises(LinkDenied, match="the reviewed plan has no such change"):
        change(ecs)
    assert (real.existing, [call for call in real.calls if not call.startswith("rules")]) == (STANDING, [])


def test_a_new_rule_gets_no_description_of_another_new_one(real: FakeEcs) -> None:
    """The plan changes the one on port 1 only, though both begin with the same description."""
    plan = [*PLAN, Write("authorize", HOME, DB.id, "", place_of(key(5)), "", "one")]
    ecs = Reviewed(FakeCloud(real), plan, (TAG,), lambda: None).ecs(HOME)
    ecs.authorize(DB.id, [(key(1), "one"), (key(5), "one")])
    with pytest.raises(LinkDenied):
        ecs.modify(DB.id, new_id(ecs, 5), "one+")
    ecs.modify(DB.id, new_id(ecs, 1), "one+")
    assert sorted(real.descriptions()) == ["four", "one", "one+", "three", "two"]


@pytest.mark.parametrize("rule_id", ["sgr-2", "sgr-3"])
def test_a_rule_that_became_another_is_not_touched(ecs: Ecs, real: FakeEcs, rule_id: str) -> None:
    """Its description is neither the one that was reviewed nor the one that it was to get."""
    real.modify(DB.id, rule_id, "claimed by another request")
    ecs.rules(DB.id)
    with pytest.raises(LinkDenied):
        ecs.modify(DB.id, rule_id, "two+")
    with pytest.raises(LinkDenied):
        ecs.revoke(DB.id, [rule_id])


def test_a_rule_that_was_there_already_is_not_removed_as_a_new_one(ecs: Ecs, real: FakeEcs) -> None:
    """Someone else added it: only what was added here may be taken back. Nor is one that is like a reviewed one, by
    another id."""
    real.existing += [rule(1, "one"), msgspec.structs.replace(rule(3, "three"), id="sgr-9")]
    ecs.rules(DB.id)
    for rule_id in ("sgr-1", "sgr-9"):
        with pytest.raises(LinkDenied):
            ecs.revoke(DB.id, [rule_id])


def test_only_our_tags_are_written_and_only_on_reviewed_groups(ecs: Ecs, real: FakeEcs) -> None:
    """A tag that was put on a group may be taken off it again; of others, the reviewed ones."""
    for groups, keys in ((["sg-other"], [TAG]), ([DB.id, "sg-other"], [TAG]), ([DB.id], ["link-accept"])):
        with pytest.raises(CloudError, match="NotReviewed"):
            ecs.tag(groups, keys)
    for group, keys in ((DB.id, [TAG]), ("sg-old", [TAG, "link-accept"]), ("sg-other", [TAG])):
        with pytest.raises(CloudError, match="NotReviewed"):
            ecs.untag(group, keys)
    assert not [call for call in real.calls if "tag" in call]
    ecs.untag("sg-old", [TAG])
    ecs.tag(["sg-old", DB.id], [TAG, f"{TAG}.instances"])
    ecs.untag(DB.id, [TAG, f"{TAG}.instances"])
    assert [call for call in real.calls if "tag" in call] == ["untag sg-old", "tag sg-old sg-db", "untag sg-db"]


def test_what_is_done_is_read_from_the_cloud(ecs: Ecs, real: FakeEcs) -> None:
    """The last change of each rule counts. Of a group that is gone, nothing is shown."""
    cloud = FakeCloud(real)
    assert undone(cloud, PLAN) == PLAN[1:]
    ecs.authorize(DB.id, [(key(1), "one")])
    assert undone(cloud, PLAN) == PLAN[1:]
    ecs.modify(DB.id, new_id(ecs, 1), "one+")
    ecs.modify(DB.id, "sgr-2", "two+")
    ecs.revoke(DB.id, ["sgr-3"])
    ecs.untag("sg-old", [TAG])
    assert undone(cloud, PLAN) == []
    real.group_by_id["sg-other"].tags[TAG] = "false"  # someone else wrote it
    gone_writes = [Write("tag", HOME, group, tags=(TAG,)) for group in ("sg-gone", "sg-other")]
    gone_writes.append(Write("revoke", HOME, "sg-gone", "sgr-9", place_of(key(9))))
    assert undone(cloud, gone_writes) == gone_writes


@pytest.mark.parametrize(
    ("rule_id", "before", "is_done"),
    [
        ("sgr-4", "four", False),
        ("sgr-4", "changed meanwhile", False),  # it is still there
        ("sgr-9", "four", True),
        ("", "four", False),
        ("", "changed meanwhile", True),  # a rule that the plan was to add, and to remove again, has no id
    ],
)
def test_a_removal_is_done_once_its_rule_is_not_shown(real: FakeEcs, rule_id: str, before: str, is_done: bool) -> None:
    """It is known by its id; without one, by its description."""
    removal = Write("revoke", HOME, DB.id, rule_id, place_of(key(4)), before)
    assert (undone(FakeCloud(real), [removal]) == []) is is_done


@pytest.mark.parametrize(
    ("action", "rule_id", "sign"),
    [
        ("authorize", "", "+"),
        ("modify", "", "+"),  # part of adding it
        ("modify", "sgr-2", "~"),
        ("revoke", "", "-"),
        ("revoke", "sgr-2", "-"),
        ("tag", "", "+"),
        ("untag", "", "-"),
    ],
)
def test_a_change_is_counted_by_what_it_makes_of_its_rule(action: Action, rule_id: str, sign: str) -> None:
    assert Write(action, HOME, DB.id, rule_id).sign == sign


def test_the_last_change_of_each_rule_counts() -> None:
    """Of two equal rules on a group, each is one; a new rule is known by its place, and tags by their keys."""
    twin = msgspec.structs.replace(PLAN[2], rule="sgr-9")
    assert last_of([*PLAN, twin]) == [*PLAN[1:], twin]


def test_differences_do_not_depend_on_the_order() -> None:
    """A change of the same rule into something else is one difference; copies are counted."""
    assert differences(PLAN, reversed(PLAN)) == []
    other_write = Write("modify", HOME, DB.id, "sgr-2", place_of(key(2)), "two", "two++")
    changes = differences(PLAN[2:], [PLAN[3], PLAN[3], other_write])
    assert sorted((change.sign, str(change.write)) for change in changes) == [
        ("+", f"tcp/3 from sg-app@{HOME}"),
        ("-", f"tag {TAG}"),
        ("~", f"tcp/2 from sg-app@{HOME}"),
    ]
