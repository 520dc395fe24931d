"""The quota ledger: room for all the rules of a link, or for none."""

from __future__ import annotations

from collections.abc import Iterable

from link_peer.domain.denial import ReasonCode
from link_peer.domain.model import ALL, TAG, Claim, Group, Party, RuleKey
from link_peer.planning.decision import Context, Edit
from link_peer.planning.quota import GROUP_RULES, QuotaLedger

from tests.unit.views import APP, DB, NOW, POLICY, REGION, A, B, group, key, ours, view

ADDED = frozenset({TAG})


def ledger(*groups: Group, freed: Iterable[Party] = ()) -> QuotaLedger:
    return QuotaLedger(view(groups), Context(POLICY, REGION, NOW), freed)


def with_room(party: Party, left: int) -> Group:
    """A group that may take so many more rules that name a group."""
    return group(party, group_rules=GROUP_RULES - left)


def adds(target: Party, source: Party, *ports: str) -> list[Edit]:
    """New rules that carry the tag's claim."""
    return [Edit(key(target, source, port), ADDED, claims=(TAG,)) for port in ports]


def test_all_edits_are_reserved_where_they_fit() -> None:
    """Exactly as many as there is room for."""
    found = ledger(with_room(DB, 2)).reserve(adds(DB, APP, "tcp/1", "tcp/2"))
    assert (found.denial, found.group_full, found.removes_first) == (None, False, False)


def test_none_is_reserved_where_one_does_not_fit() -> None:
    """The denial is `quota` and names the group; the room is still there for a smaller link."""
    room = ledger(with_room(DB, 2))
    refused = room.reserve(adds(DB, APP, "tcp/1", "tcp/2", "tcp/3"))
    assert refused.denial is not None
    assert (refused.denial.code, refused.group_full) == (ReasonCode.QUOTA, True)
    assert f"{DB} has room for 2 of 3" in refused.denial.detail
    assert room.reserve(adds(DB, APP, "tcp/1", "tcp/2")).denial is None


def test_one_full_side_refuses_both_sides_of_a_mutual_link() -> None:
    """Nothing is reserved in the other side's group."""
    room = ledger(with_room(DB, 1), with_room(APP, 0))
    assert room.reserve([*adds(DB, APP, "all"), *adds(APP, DB, "all")]).group_full
    assert room.reserve(adds(DB, APP, "tcp/1")).denial is None


def test_room_is_reserved_once() -> None:
    """A second link finds what the first has left."""
    room = ledger(with_room(DB, 1))
    assert room.reserve(adds(DB, APP, "tcp/1")).denial is None
    assert room.reserve(adds(DB, APP, "tcp/2")).group_full


def test_a_rule_that_two_links_need_takes_room_once() -> None:
    room = ledger(with_room(DB, 1))
    assert room.reserve(adds(DB, APP, "tcp/1")).denial is None
    assert room.reserve(adds(DB, APP, "tcp/1")).denial is None


def test_a_rule_that_will_be_removed_makes_room_and_must_be_removed_first() -> None:
    """Only where the room is needed."""
    full = ledger(with_room(DB, 0), freed=[DB]).reserve(adds(DB, APP, "tcp/1"))
    assert (full.denial, full.removes_first) == (None, True)
    empty = ledger(with_room(DB, 1), freed=[DB]).reserve(adds(DB, APP, "tcp/1"))
    assert (empty.denial, empty.removes_first) == (None, False)


def test_freed_room_is_given_out_once() -> None:
    room = ledger(with_room(DB, 0), freed=[DB])
    assert room.reserve(adds(DB, APP, "tcp/1")).denial is None
    assert room.reserve(adds(DB, APP, "tcp/2")).group_full


def test_a_rule_freed_in_one_group_makes_no_room_in_another() -> None:
    assert ledger(with_room(DB, 0), freed=[APP]).reserve(adds(DB, APP, "tcp/1")).group_full


def test_a_group_over_its_quota_has_no_room_and_no_less_than_none() -> None:
    """The denial says 0, not -5."""
    found = ledger(with_room(DB, -5)).reserve(adds(DB, APP, "tcp/1"))
    assert found.denial is not None
    assert "room for 0 of 1" in found.denial.detail


def test_a_group_that_was_not_read_is_taken_to_be_empty() -> None:
    """The cloud decides when the rule is written."""
    assert ledger().reserve(adds(DB, APP, "tcp/1")).denial is None


def test_instance_rules_and_changed_markers_take_no_room() -> None:
    """The quota counts rules that name a group."""
    addresses = Edit(RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", ALL), ADDED, ends=(A, B), claims=(TAG,))
    k1 = key(DB, APP, "tcp/1")
    mark = Edit(k1, frozenset({Claim("chg-1")}), rule=ours(k1), claims=(TAG, Claim("chg-1")))
    assert ledger(with_room(DB, 0)).reserve([addresses, mark]).denial is None


def test_a_description_that_cannot_hold_the_claims_is_full() -> None:
    """512 characters; it is not the group that is full, so no other rule need be removed."""
    claims = tuple(Claim(f"chg-{number:044}") for number in range(10))
    k1 = key(DB, APP, "tcp/1")
    room = ledger(with_room(DB, 2))
    found = room.reserve([*adds(DB, APP, "tcp/2", "tcp/3"), Edit(k1, frozenset(claims), rule=ours(k1), claims=claims)])
    assert found.denial is not None
    assert (found.denial.code, found.group_full) == (ReasonCode.QUOTA, False)
    assert "description" in found.denial.detail
    assert room.reserve(adds(DB, APP, "tcp/2", "tcp/3")).denial is None
