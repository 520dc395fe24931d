"""What a sweep by account remembers of the groups that it was shown."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import Claim, Group, Instance, Party, Rule, RuleKey
from link_peer.domain.policy import Allow, Policy
from link_peer.domain.request import SweepAccount
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import Grantee, compact, iso
from link_peer.inbound.message_body import MAX_BYTES
from link_peer.inbound.requests import encode
from link_peer.planning.cursor import (
    BUCKETS,
    MOST_PARTIES,
    MOST_SHOWING_LESS,
    MOST_SUSPECTS,
    MOST_WAITING,
    Bucket,
    Cursor,
    RuleParty,
    absent,
    as_value,
    bucket_of,
    changed,
    digest_of,
    digests,
    due,
    ends,
    read,
    read_cursor,
    suspected,
    with_parties,
)

from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, POLICY, REGION, A, B
from tests.unit.snapshots import group, instance, key, managed, ours, view

SETS = msgspec.structs.replace(POLICY.keys, sets=("env",))
AT, OLD, NEW = int(NOW), "0" * 12, "1" * 12


def test_digests_change_with_the_tags_of_a_set_and_with_refusals_on_any_group() -> None:
    """Rules of the listed group may depend on them; other tags of another group tell nothing of it."""

    def tag_digests(**tags: str) -> dict[int, str]:
        changed_group: Group = msgspec.structs.replace(managed(APP), tags=tags)
        return digests([managed(DB)], [changed_group], SETS)

    shown_tags: list[dict[str, str]] = [
        {"env": "prod"},
        {"env": "test"},
        {"link-refuse.x": ""},
        {"link-refuse.x": "*"},
        {},
    ]
    assert len({tuple(tag_digests(**tags).items()) for tags in shown_tags}) == 5
    assert tag_digests(env="prod", owner="a") == tag_digests(env="prod")
    assert tag_digests(owner="a") == digests([managed(DB)], [], SETS)


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
        (
            "parties",
            [[[PEER, "i-a", "", [0]], [HOME, "sg-a", OLD, [0, 255]]]],
            [[[PEER, "i-a", "", []]], [["1", "i-a", "", [1]]]],
        ),
        ("parties", [[[PEER, "i-a", OLD, [1]]] * 250], [[[PEER, "i-a", OLD, [1]]] * 251, [[PEER, "x-a", OLD, [1]]]]),
        ("parties", [], [[[PEER, "i-a", OLD, [256]]], [[PEER, "i-a", OLD[1:], [1]]]]),
        ("crowded", [[0, 255]], [[256], [0] * 257]),
        ("removals", [{PEER: 7}], [{PEER: -1}, {"x": 1}, {f"{n:015}": 1 for n in range(101)}]),
        ("buckets", [[[255, OLD, 0]], [[0, OLD]]], [[[256, OLD, 0]], [[-1, OLD, 0]], [[1, OLD[1:], 0]]]),
    ],
)
def test_a_cursor_that_link_peer_would_not_write_is_none(field: str, good: list[object], bad: list[object]) -> None:
    """Each field has its bounds."""
    readable = [read_cursor({"began": AT, field: value}, NOW) is not None for value in (*good, *bad)]
    assert readable == [True] * len(good) + [False] * len(bad)


FOREIGN, FAR = Party(PEER, "sg-x"), Party(PEER, "i-x")
FROM_PEER, ADDRESSED = key(DB, FOREIGN, "tcp/1"), RuleKey(DB, "10.0.0.9/32", "", key(DB, APP, "tcp/1").port)
STANDS = [ours(FROM_PEER), ours(ADDRESSED, ends=(FAR, FOREIGN)), ours(key(DB, APP, "tcp/2"))]
NUMBER = bucket_of(DB)


def peers(
    *tags: tuple[str, str], ip: str = "10.0.0.9", groups: tuple[Party, ...] = (FOREIGN,), **fields: Any
) -> Snapshot:
    """A group of the peer, and an instance in it, as a read of them shows them."""
    shown_groups = [msgspec.structs.replace(group(party), tags=dict(tags)) for party in groups]
    snapshot = view([managed(DB), *shown_groups], [instance(FAR, *groups, ip=ip)], STANDS)
    return msgspec.structs.replace(snapshot, requested=frozenset({FAR, FOREIGN}), **fields)


def with_all(snapshot: Snapshot, policy: Policy = POLICY) -> Cursor:
    """The cursor after the rules of sg-db were read."""
    cursor = read(Cursor(AT), {NUMBER: NEW}, policy.digest, {NUMBER: 0})
    return with_parties(cursor, snapshot, policy, REGION, {DB}, {NUMBER})


def test_the_cursor_has_the_parties_that_rules_name_but_groups_of_their_own_account() -> None:
    """Those are listed each time."""
    cursor = with_all(peers())
    digest_by_party = {party: digest_of(peers(), party, POLICY.keys) for party in (FAR, FOREIGN)}
    assert cursor.parties == tuple(
        RuleParty(PEER, party.id, digest, (NUMBER,)) for party, digest in sorted(digest_by_party.items())
    )
    assert with_parties(cursor, peers(), POLICY, REGION, {DB}, {NUMBER}) == cursor
    assert with_parties(read(cursor, {}, POLICY.digest, {}), peers(), POLICY, REGION, set(), set()).parties == ()


REFUSED = NoAccess("Forbidden.RAM", "", "r-1")


@pytest.mark.parametrize(
    ("snapshot", "is_due"),
    [
        (peers(), False),
        (peers(("owner", "x")), False),
        (peers(("link-refuse.x", "")), True),
        (peers(("link-accept", "*")), True),
        (peers(("link-egress.2", "*")), True),
        (peers(("LINK-LOCK", "")), True),
        (peers(("env", "prod")), True),
        (peers(ip="10.0.0.8"), True),
        (peers(groups=(FOREIGN, Party(PEER, "sg-y"))), True),
        (msgspec.structs.replace(peers(), instances={}), True),
        (msgspec.structs.replace(peers(), groups={}), True),
        (msgspec.structs.replace(peers(), instances={}, requested=frozenset()), False),
        (peers(instances={}, refused_accounts={PEER: REFUSED}), False),
        (peers(instances={}, failed_accounts={PEER: "throttled"}), False),
    ],
)
def test_rules_are_due_once_a_party_that_they_name_shows_something_else(snapshot: Snapshot, is_due: bool) -> None:
    """By which they may be closed. What was not read, or could not be, tells nothing."""
    assert changed(with_all(peers()), snapshot, SETS) == ({NUMBER} if is_due else set())


def test_parties_that_are_not_shown_are_counted_and_their_rules_judged_again_each_time() -> None:
    """While they stand. An account that could not be read shows nothing less."""
    hidden = msgspec.structs.replace(peers(), instances={}, groups={DB: managed(DB)})
    cursor = with_all(hidden)
    assert {entry.digest for entry in cursor.parties} == {""}
    assert (changed(cursor, hidden, POLICY.keys), absent(cursor, hidden)) == ({NUMBER}, {PEER: 2})
    assert absent(cursor, peers()) == absent(cursor, msgspec.structs.replace(hidden, requested=frozenset())) == {}
    assert absent(cursor, msgspec.structs.replace(hidden, failed_accounts={PEER: "throttled"})) == {}


def test_a_party_stays_changed_for_the_rules_that_were_not_read_since() -> None:
    """Those of two groups name it, and there was time for one."""
    further_number = bucket_of(CACHE)
    snapshot = peers()
    snapshot = msgspec.structs.replace(snapshot, rules={**snapshot.rules, CACHE: (ours(key(CACHE, FOREIGN)),)})
    cursor = read(Cursor(AT), {NUMBER: NEW, further_number: NEW}, POLICY.digest, {NUMBER: 0, further_number: 0})
    cursor = with_parties(cursor, snapshot, POLICY, REGION, {DB, CACHE}, {NUMBER, further_number})
    now = peers(("link-refuse", "*"))
    assert changed(cursor, now, POLICY.keys) == {NUMBER, further_number}
    later = with_parties(cursor, now, POLICY, REGION, {DB}, {NUMBER})
    assert changed(later, now, POLICY.keys) == {NUMBER, further_number}
    assert [set(entry.buckets) for entry in later.parties if entry.id == FOREIGN.id] == [{NUMBER, further_number}]


def test_buckets_whose_rules_name_too_many_parties_are_crowded_until_they_fit() -> None:
    """The cursor says which."""
    stands = [ours(key(DB, Party(PEER, f"sg-{number:03}"))) for number in range(MOST_PARTIES + 1)]
    cursor = with_all(view([managed(DB)], [], stands))
    assert (cursor.parties, cursor.crowded) == ((), (NUMBER,))
    assert with_parties(cursor, view([], []), POLICY, REGION, set(), set()).crowded == (NUMBER,)
    fitting = with_all(view([managed(DB)], [], stands[1:]))
    assert (len(fitting.parties), fitting.crowded) == (MOST_PARTIES, ())
    assert with_parties(cursor, peers(), POLICY, REGION, {DB}, {NUMBER}).crowded == ()


def test_the_largest_cursor_fits_into_a_message() -> None:
    """Which the queue has in base64. Ids have at most 23 characters, as the platform writes them, and a token 400."""
    number = BUCKETS - 1
    cursor = Cursor(
        AT,
        "0" * 16,
        (Bucket(number, OLD, AT),) * BUCKETS,
        "x" * 400,
        10**6,
        10**8,
        10**4,
        ("i-" + "x" * 20,) * MOST_WAITING,
        ("sg-" + "x" * 20,) * (MOST_SUSPECTS + 1),
        True,
        (RuleParty(PEER, "sg-" + "x" * 20, OLD, (number,)),) * MOST_PARTIES,
        tuple(range(BUCKETS)),
        {f"{10**15 + account}": 1_000 for account in range(MOST_SHOWING_LESS)},
    )
    assert len(encode(SweepAccount(REGION, HOME, NOW, as_value(cursor)))) * 4 / 3 < MAX_BYTES


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
    allow = tuple(
        Allow(Grantee(HOME, "*"), Grantee(HOME, "*"), (), "", until) for until in (AT, AT + 60, None, AT + 90)
    )
    policy = msgspec.structs.replace(POLICY, allow=allow)
    assert ends(view([managed(DB)]), policy, REGION, {DB, APP}, NOW) == {
        bucket_of(DB): AT + 60,
        bucket_of(APP): AT + 60,
    }
