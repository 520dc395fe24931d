"""Room for all the rules of a link, or for none. A group's rules may name 20 groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import pytest
from link_peer.domain import marker as markers
from link_peer.domain import reasons
from link_peer.domain.denials import Denial, Waits
from link_peer.domain.model import ALL, TAG, Claim, Link, Party, Rule, RuleKey
from link_peer.domain.platform_limits import GROUP_SOURCES
from link_peer.planning.decision import Context, Edit, RulesOf
from link_peer.planning.room import after_edits, in_doubt, no_room, room_in
from link_peer.planning.verdict.holders import evaluate

from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, POLICY, REGION, A, B
from tests.unit.snapshots import group, key, ours, theirs, view

ADDED = frozenset({TAG})


def source(number: int) -> Party:
    return Party(HOME, f"sg-{number}")


def naming(count: int, target: Party = DB) -> list[Rule]:
    """Rules of `target` that name so many groups."""
    return [theirs(key(target, source(number), "tcp/1")) for number in range(count)]


CONTEXT = Context(POLICY, REGION, NOW)


def lacking(rules: Iterable[Rule], *links: Sequence[Edit], freed: Iterable[RuleKey] = ()) -> Denial | None:
    """Why the last of these links has no room, once the others have theirs."""
    room = dict(room_in(view([group(DB), group(APP)], rules=rules), (DB, APP), set(freed)))
    for edits in links[:-1]:
        assert no_room(room, edits, CONTEXT) is None
        room |= after_edits(room, edits)
    return no_room(room, links[-1], CONTEXT)


def adds(target: Party, source: Party, *ports: str) -> list[Edit]:
    """New rules that carry the tag's claim."""
    return [Edit(key(target, source, port), ADDED, claims=(TAG,)) for port in ports]


FULL = naming(GROUP_SOURCES.high)
SECOND = theirs(key(DB, source(0), "tcp/2"))
NEW = adds(DB, APP, "tcp/1")


@pytest.mark.parametrize(
    ("rules", "edits", "freed", "has_room"),
    [
        (FULL[1:], NEW, [], True),
        (FULL, NEW, [], False),
        # whether 20 counts rules or groups is not known, so the cloud is asked: also in a group that is over the limit
        (naming(25), adds(DB, source(0), "tcp/2", "udp/3", "icmp"), [], True),
        (FULL, [*adds(DB, source(0), "tcp/2"), *NEW], [], False),
        ([*FULL[1:], *naming(GROUP_SOURCES.high, APP)], [*adds(DB, APP, "all"), *adds(APP, DB, "all")], [], False),
        # closing comes first: the group whose last rule is removed makes room, in the rule's own group
        (FULL, NEW, FULL[:1], True),
        (FULL, NEW, naming(1, APP), False),
        ([*FULL, SECOND], NEW, [SECOND], False),
        # rules between addresses, of forms that we never write, and changed markers take no room
        ([*FULL[1:], Rule(DB, "sgr-prefix-list", None, "accept", 1)], NEW, [], True),
        ([*FULL[1:], ours(RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", ALL), ends=(A, B))], NEW, [], True),
        (FULL, [Edit(RuleKey(DB, "10.0.0.3/32", "10.0.0.2/32", ALL), ADDED, ends=(A, B), claims=(TAG,))], [], True),
        (FULL, [Edit(NEW[0].key, ADDED, rule=ours(NEW[0].key), claims=(TAG,))], [], True),
    ],
    ids=[
        *("the 20th", "the 21st", "named already", "named and new", "one full side of two"),
        *("removed", "removed elsewhere", "named twice", "prefix list", "address rule", "new address rule", "marker"),
    ],
)
def test_the_rules_of_a_group_name_20_groups(
    rules: list[Rule], edits: list[Edit], freed: list[Rule], has_room: bool
) -> None:
    """Where the documents agree. The denial is `quota`, names the group and says how many it has."""
    room_denial = lacking(rules, edits, freed=[rule.key for rule in freed if rule.key])
    assert (GROUP_SOURCES.high, room_denial is None) == (20, has_room)
    if room_denial:
        assert room_denial.reason is reasons.QUOTA
        assert "name 20 groups already" in room_denial.detail


@pytest.mark.parametrize(("rules", "ports", "has_room"), [(999, 1, True), (999, 2, False), (1000, 1, False)])
def test_a_group_has_1000_rules(rules: int, ports: int, has_room: bool) -> None:
    """Of any kind and both directions. What is removed first makes room."""
    standing = [Rule(DB, f"sgr-{n}", None, "drop", 1) for n in range(rules - 1)] + [theirs(key(DB, CACHE, "tcp/1"))]
    edits = adds(DB, APP, *(f"tcp/{n}" for n in range(1, ports + 1)))
    room_denial = lacking(standing, edits)
    assert (room_denial is None) is has_room
    assert room_denial is None or f"has {rules} rules already (the limit is 1000)" in room_denial.detail
    assert lacking(standing, edits, freed=[key(DB, CACHE, "tcp/1")]) is None


@pytest.mark.parametrize(
    ("rules", "naming", "room", "doubts"),
    [(200, 20, (0, 0), 0), (201, 20, (0, 0), 1), (0, 21, (0, 0), 1), (201, 21, (0, 0), 2), (190, 15, (11, 6), 2)],
)
def test_what_one_of_two_documents_refuses_is_in_doubt(
    rules: int, naming: int, room: tuple[int, int], doubts: int
) -> None:
    assert len(in_doubt(rules, naming, room)) == doubts


def requests_that_fill() -> tuple[Claim, ...]:
    """As many request claims as fit into the description of a rule on sg-db, with room for the tag."""
    claims: tuple[Claim, ...] = ()
    while markers.fits(edit_of((*claims, Claim(f"chg-{len(claims):044}"))).marker(POLICY, REGION)):
        claims = (*claims, Claim(f"chg-{len(claims):044}"))
    return claims


def edit_of(claims: tuple[Claim, ...]) -> Edit:
    k1 = key(DB, APP, "tcp/1")
    return Edit(k1, frozenset(claims), rule=ours(k1), claims=claims)


def test_a_claim_leaves_a_description_that_is_too_long() -> None:
    """Losing a claim needs no room."""
    claims = (*requests_that_fill(), Claim("c" * 48))
    edit = msgspec.structs.replace(edit_of(claims), gain=frozenset(), lose=frozenset({TAG}))
    assert lacking([], [edit]) is None


# the verdict on one link

LINK = Link(APP, DB, (NEW[0].key.port,))
NEW_REQUEST = frozenset({Claim("c" * 48)})


@pytest.mark.parametrize(
    ("rules", "claims", "detail"),
    [
        (FULL[1:], ADDED, ""),
        (FULL, ADDED, "the rules of sg-db"),
        ([*FULL, ours(NEW[0].key)], NEW_REQUEST, ""),
        ([*FULL, theirs(NEW[0].key)], NEW_REQUEST, ""),
        ([ours(NEW[0].key, *requests_that_fill())], ADDED, ""),
        ([ours(NEW[0].key, *requests_that_fill())], NEW_REQUEST, "the rule's description has no room"),
        ([ours(NEW[0].key, *NEW_REQUEST, *requests_that_fill()[:-1])], NEW_REQUEST, ""),
    ],
    ids=["room", "full", "stands", "a person's stands", "a tag", "one request too many", "carried already"],
)
def test_the_verdict_on_a_link_tells_whether_it_has_room(
    rules: list[Rule], claims: frozenset[Claim], detail: str
) -> None:
    """Beside the rules that stand: one that is there already needs none."""
    verdict = evaluate(view([group(APP), group(DB, "*")], rules=rules), CONTEXT, LINK, claims)
    assert (verdict.denial is None) == (not detail)
    if verdict.denial:
        assert (verdict.denial.reason, detail in verdict.denial.detail) == (reasons.QUOTA, True)


@pytest.mark.parametrize(("rule_count", "asks"), [(0, False), (3, True), (-1, True)])
def test_room_in_a_group_whose_rules_were_not_read_is_a_question(rule_count: int, asks: bool) -> None:
    """Until they are, the link is neither granted nor denied for good. A group without rules needs no look."""
    snapshot = view([group(APP), group(DB, "*", rule_count=rule_count)])
    verdict = evaluate(msgspec.structs.replace(snapshot, rules={}), CONTEXT, LINK)
    assert verdict.open_questions == ((RulesOf(DB),) if asks else ())
    assert (verdict.denial and verdict.denial.waits) == (Waits.FOR_A_READ if asks else None)
    assert (verdict.denial and verdict.denial.detail) == (
        f"account {HOME} could not be read: the rules of {DB.id}" if asks else None
    )
