"""The cloud of a dry run: later reads show what was changed, and nothing reaches the real one."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from link_peer.domain.model import PRIORITY, Group, Party, Rule
from link_peer.runtime.ports import Ecs
from link_peer_cli.access.roles import PersonsAccounts
from link_peer_cli.review.cloud import NEW, ShownRules, WhatIf
from link_peer_cli.review.edits import GroupChange, RuleEdit
from link_peer_cli.review.writes import Write, place_of

from tests.unit.fakes import FakeCloud, FakeEcs
from tests.unit.small_world import APP, CACHE, DB, HOME, MANAGED, REGION
from tests.unit.snapshots import key, theirs

FIRST, ADDED = key(DB, APP, "tcp/1"), key(DB, CACHE, "tcp/2")
PERSONS = [theirs(FIRST, "old"), Rule(DB, "sgr-ipv6", None, "accept", 1)]
RULE = PERSONS[0].id


@pytest.fixture(name="real")
def _real() -> FakeEcs:
    groups = [Group(DB, "vpc-1", tags={MANAGED: "true", "owner": "x"}), Group(APP, "vpc-1"), Group(CACHE, "vpc-1")]
    return FakeEcs(groups, rules=PERSONS)


@pytest.fixture(name="cloud")
def _cloud(real: FakeEcs) -> WhatIf:
    return WhatIf(cast(PersonsAccounts, FakeCloud(real)), REGION)


def add(ecs: Ecs) -> None:
    ecs.authorize(DB.id, [(ADDED, "new")])


def rules_shown(ecs: Ecs) -> list[tuple[str, str, int]]:
    return [(rule.id.partition("0")[0], rule.description, rule.priority) for rule in ecs.rules(DB.id) if rule.key]


@pytest.mark.parametrize(
    ("change", "rules", "edits", "write"),
    [
        (add, [(RULE, "old", 1), (NEW, "new", PRIORITY)], [RuleEdit("+", ADDED)], Write("authorize", HOME, DB.id, "", place_of(ADDED), "", "new")),
        (
            lambda ecs: ecs.modify(DB.id, RULE, "ours"),
            [(RULE, "ours", PRIORITY)], [RuleEdit("~", FIRST)], Write("modify", HOME, DB.id, RULE, place_of(FIRST), "old", "ours"),
        ),
        (lambda ecs: ecs.revoke(DB.id, [RULE]), [], [RuleEdit("-", FIRST)], Write("revoke", HOME, DB.id, RULE, place_of(FIRST), "old")),
    ],
)  # fmt: skip
def test_a_change_of_rules_is_shown_by_later_reads_and_listed(
    cloud: WhatIf,
    real: FakeEcs,
    change: Callable[[Ecs], object],
    rules: list[tuple[str, str, int]],
    edits: list[RuleEdit],
    write: Write,
) -> None:
    """Beside what the group had: what is compared, and what the plan lists, is the difference alone."""
    ecs = cloud.ecs(HOME)
    change(ecs)
    assert rules_shown(ecs) == rules
    assert cloud.changed_groups() == [GroupChange(DB, tuple(edits))]
    assert (cloud.writes, [call.account for call in cloud.changes]) == ([write], [HOME])
    assert (cloud.rules(before=True), cloud.rules()[DB]) == ({DB: tuple(PERSONS)}, tuple(ecs.rules(DB.id)))
    assert real.changes() == []


def test_a_rule_that_is_added_and_removed_again_is_no_change(cloud: WhatIf) -> None:
    ecs = cloud.ecs(HOME)
    add(ecs)
    ecs.revoke(DB.id, [next(rule.id for rule in ecs.rules(DB.id) if rule.key == ADDED)])
    assert cloud.changed_groups() == []
    assert [(write.action, write.rule) for write in cloud.writes] == [("authorize", ""), ("revoke", "")]


def test_a_group_that_a_new_rule_names_is_referred_to(cloud: WhatIf) -> None:
    """By rules that exist, too; each holder once."""
    ecs = cloud.ecs(HOME)
    add(ecs)
    references: dict[Party, list[Party]] = {party: ecs.references([party.id]) for party in (APP, CACHE, DB)}
    assert references == {APP: [DB], CACHE: [DB], DB: []}


def test_tags_are_shown_as_they_would_be(cloud: WhatIf, real: FakeEcs) -> None:
    """Of groups that are read one by one, all together, or by a tag."""
    ecs = cloud.ecs(HOME)
    assert [group.party for group in ecs.tagged_groups(MANAGED)] == [DB]
    ecs.tag([CACHE.id, APP.id], [MANAGED])
    ecs.untag(DB.id, [MANAGED])
    tags = {DB: {"owner": "x"}, APP: {MANAGED: "true"}, CACHE: {MANAGED: "true"}}
    assert {group.party: group.tags for group in ecs.groups([DB.id, CACHE.id, APP.id])} == tags
    assert {group.party: group.tags for group in ecs.all_groups()} == tags
    assert {group.party for group in ecs.tagged_groups(MANAGED)} == {CACHE, APP}
    signs = {change.group: change.tags for change in cloud.changed_groups()}
    assert signs == {DB: (("-", MANAGED),), APP: (("+", MANAGED),), CACHE: (("+", MANAGED),)}
    assert [write.action for write in cloud.writes] == ["tag", "tag", "untag"]
    assert real.changes() == []


def test_what_two_dry_runs_suppose_is_of_one_read(real: FakeEcs) -> None:
    """The rules, the tags and the pages of instances, as the first one was shown them."""
    caches: dict[str, ShownRules] = {}
    for _ in range(2):
        ecs = WhatIf(cast(PersonsAccounts, FakeCloud(real)), REGION, caches).ecs(HOME)
        ecs.rules(DB.id), ecs.groups([DB.id]), ecs.instance_page()
        add(ecs)
    assert real.calls == ["rules sg-db", "groups sg-db", "instance_page"]
