"""What a sweep by account remembers of the groups that it was shown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain.model import Claim, Group, Instance, Party, Rule, RuleKey
from link_peer.domain.policy import Allow
from link_peer.domain.tags import Who, compact, iso
from link_peer.planning.cursor import (
    Bucket,
    Cursor,
    as_value,
    bucket_of,
    digests,
    due,
    ends,
    read,
    read_cursor,
    suspected,
)

from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, POLICY, REGION, A, B
from tests.unit.snapshots import group, instance, key, managed, ours, view

SETS = msgspec.structs.replace(POLICY.keys, sets=("env",))
AT, OLD, NEW = int(NOW), "0" * 12, "1" * 12


def test_digests_change_with_the_tags_of_a_set_and_with_refusals_on_any_group() -> None:
    """Rules of the listed group may depend on them; other tags of another group tell nothing of it."""

    def shown(**tags: str) -> dict[int, str]:
        changed_group: Group = msgspec.structs.replace(managed(APP), tags=tags)
        return digests([managed(DB)], [changed_group], SETS)

    shown_tags: list[dict[str, str]] = [
        {"env": "prod"},
        {"env": "test"},
        {"link-refuse.x": ""},
        {"link-refuse.x": "*"},
        {},
    ]
    assert len({tuple(shown(**tags).items()) for tags in shown_tags}) == 5
    assert shown(env="prod", owner="a") == shown(env="prod")
    assert shown(owner="a") == digests([managed(DB)], [], SETS)


def test_digests_change_with_what_a_listing_shows_of_a_group() -> None:
    """In whatever order it shows them. Only the group's own bucket changes."""
    changed: list[dict[str, Any]] = [{}, {"tags": {"k": "v"}}, {"vpc": "vpc-2"}, {"rule_count": 2}]
    digests_of_changes = [
        digests([msgspec.structs.replace(group(DB), **fields), group(APP)], [], POLICY.keys) for fields in changed
    ]
    assert len({digest[bucket_of(DB)] for digest in digests_of_changes}) == 4
    assert len({digest[bucket_of(APP)] for digest in digests_of_changes}) == 1
    names = [Party(HOME, f"sg-{n}") for n in range(3_000)]
    assert {bucket_of(name) for name in names} == set(range(256))
    groups = [msgspec.structs.replace(group(name), tags={"b": "1", "a": "2"}) for name in names]
    turned = [
        msgspec.structs.replace(group_shown, tags=dict(reversed(group_shown.tags.items())))
        for group_shown in groups[::-1]
    ]
    assert digests(groups, groups, SETS) == digests(turned, turned, SETS)
    assert len(digests(groups[:1], [], SETS)[bucket_of(names[0])]) == 12


@pytest.mark.parametrize(
    ("bucket", "policy", "due_buckets"),
    [
        ((), "p", {1}),
        ((Bucket(1, OLD),), "p", set()),
        ((Bucket(1, NEW),), "p", {1}),
        ((Bucket(1, OLD, AT + 1),), "p", set()),
        ((Bucket(1, OLD, AT),), "p", {1}),
        ((Bucket(1, OLD, 1),), "p", {1}),
        ((Bucket(1, OLD),), "q", {1}),
    ],
)
def test_a_bucket_is_due_unless_it_was_read_as_it_is(
    bucket: tuple[Bucket, ...], policy: str, due_buckets: set[int]
) -> None:
    """Under this policy, and nothing on it has ended since."""
    assert due(Cursor(AT, policy, bucket), {1: OLD}, "p", NOW) == due_buckets


def test_the_cursor_notes_what_was_read() -> None:
    """In order; what another policy read, and buckets without groups, it forgets."""
    before = Cursor(AT, "p", (Bucket(1, OLD, 5), Bucket(2, OLD), Bucket(3, OLD)), pages=7)
    after = read(before, {0: NEW, 1: OLD, 2: NEW}, "p", {2: 9, 0: 0, 4: 0})
    assert after == Cursor(AT, "p", (Bucket(0, NEW), Bucket(1, OLD, 5), Bucket(2, NEW, 9)), pages=7)
    assert read(before, {1: OLD, 2: NEW}, "q", {2: 9}).buckets == (Bucket(2, NEW, 9),)


def test_suspects_are_kept_up_to_one_more_than_are_judged() -> None:
    """That one says that there are too many."""
    assert suspected(Cursor(AT, suspects=("sg-x", "sg-app")), [DB, APP]).suspects == ("sg-app", "sg-db", "sg-x")
    assert len(suspected(Cursor(AT), [Party(HOME, f"sg-{n:03}") for n in range(300)]).suspects) == 201


@pytest.mark.parametrize(
    ("fields", "listed"),
    [
        ({"token": None}, True),
        ({"token": ""}, False),
        ({"token": None, "unread_groups": 1}, False),
        ({"token": None, "waiting": ("i-a",)}, False),
        ({"token": None, "suspects": ("sg-a",)}, False),
    ],
)
def test_all_is_listed_once_nothing_is_left(fields: dict[str, Any], listed: bool) -> None:
    """And it is read back from a message as it was; one of the future is none of ours."""
    cursor = Cursor(AT, buckets=(Bucket(1, OLD, 5),), **fields)
    assert cursor.listed is listed
    assert [read_cursor(as_value(cursor), now) for now in (NOW, NOW - 1)] == [cursor, None]


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("left", [0, 10**12], [-1, 10**12 + 1]),
        ("token", ["!~" * 2_048], ["x" * 4_097, "a b"]),
        ("waiting", [["i-a"] * 500], [["i-a"] * 501, ["sg-a"]]),
        ("suspects", [["sg-a"] * 201], [["sg-a"] * 202, ["i-a"]]),
        ("buckets", [[[255, OLD, 0]], [[0, OLD]]], [[[256, OLD, 0]], [[-1, OLD, 0]], [[1, OLD[1:], 0]]]),
    ],
)
def test_a_cursor_that_link_peer_would_not_write_is_none(field: str, good: list[object], bad: list[object]) -> None:
    """Each field has its bounds."""
    readable = [read_cursor({"began": AT, field: value}, NOW) is not None for value in (*good, *bad)]
    assert readable == [True] * len(good) + [False] * len(bad)


SQL, BACK = key(DB, APP, "tcp/1"), key(APP, DB)
BETWEEN, BY_ADDRESS = (RuleKey(DB, "10.0.0.1/32", dest, SQL.port) for dest in ("10.0.0.2/32", ""))
PAST, LATER = iso(AT - 1), iso(AT + 60)


def asking(party: Party, *groups: Party, until: str) -> Instance:
    return instance(party, *groups, link_until=until)


@pytest.mark.parametrize(
    ("rules", "instances", "accept", "coming"),
    [
        ([], [], "", None),
        ([], [], f"*~{compact(AT + 60)} *~{compact(AT)} *", 60),
        ([ours(SQL, Claim("a", AT + 60), Claim("b", AT), Claim("c"))], [], "", 60),
        ([ours(SQL, Claim("a", AT + 60))], [], f"*~{compact(AT + 30)}", 30),
        # the members of the group that asks; of a mutual link, both sides'
        ([ours(SQL)], [asking(A, APP, until=LATER), asking(B, APP, until=PAST)], "", 60),
        ([ours(SQL)], [asking(A, APP, until="soon")], "", None),
        ([ours(SQL)], [asking(B, DB, until=LATER)], "", None),
        ([ours(key(DB, APP))], [asking(B, DB, until=LATER)], "", 60),
        # an instance, alone or for its group, shown or not
        ([ours(BETWEEN, ends=(A, B))], [asking(A, CACHE, until=LATER)], "", 60),
        ([ours(BETWEEN, ends=(A, B))], [asking(B, CACHE, until=LATER)], "", None),
        ([ours(BY_ADDRESS, ends=(A, APP))], [asking(A, APP, until=LATER)], "", 60),
        ([ours(BY_ADDRESS, ends=(A, APP))], [asking(B, APP, until=LATER)], "", None),
        # half of a mutual link is removed when it is half an hour old
        ([ours(key(DB, APP), age=1_000)], [], "", 800),
        ([msgspec.structs.replace(ours(key(DB, APP)), created="2026-11-25T00:00:00.500Z")], [], "", 1_801),
        ([ours(SQL, age=1_000)], [], "", None),
        # the rules of other groups, and those of people, end nothing here
        ([ours(BACK, Claim("a", AT + 60))], [], "", None),
        ([ours(BACK, Claim("a", AT + 60)), ours(SQL, Claim("b", AT + 90))], [], "", 90),
        ([Rule(DB, "sgr-1", SQL, "accept", 1, "by hand", iso(AT - 9))], [], "", None),
    ],
)
def test_a_bucket_ends_with_the_first_of_what_is_to_come(
    rules: list[Rule], instances: list[Instance], accept: str, coming: int | None
) -> None:
    """Consent, claims, and what instances ask for."""
    snapshot = view([managed(APP), managed(DB, accept)], instances, rules)
    end_by_bucket = ends(snapshot, POLICY, REGION, {DB}, NOW)
    assert end_by_bucket == ({} if coming is None else {bucket_of(DB): AT + coming})


def test_an_entry_of_the_policy_ends_something_on_every_group() -> None:
    """Of a group that is not shown any more, too."""
    allow = tuple(Allow(Who(HOME, "*"), Who(HOME, "*"), (), "", until) for until in (AT, AT + 60, None, AT + 90))
    policy = msgspec.structs.replace(POLICY, allow=allow)
    assert ends(view([managed(DB)]), policy, REGION, {DB, APP}, NOW) == {
        bucket_of(DB): AT + 60,
        bucket_of(APP): AT + 60,
    }
