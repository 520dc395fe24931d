"""The quota ledger: room for all the rules of a link, or for none. A group's rules may name 20 groups."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from link_peer.domain import marker as markers
from link_peer.domain import reasons
from link_peer.domain.model import ALL, TAG, Claim, Party, Rule, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.decision import Context, Edit
from link_peer.planning.quota import GROUP_SOURCES, QuotaLedger

from tests.unit.views import APP, CACHE, DB, HOME, NOW, POLICY, REGION, A, B, group, key, ours, theirs, view

ADDED = frozenset({TAG})


def source(number: int) -> Party:
    return Party(HOME, f"sg-{number}")


def naming(count: int, target: Party = DB) -> list[Rule]:
    """Rules of `target` that name so many groups."""
    return [theirs(key(target, source(number), "tcp/1")) for number in range(count)]


def ledger(*rules: Rule, freed: Iterable[RuleKey] = ()) -> QuotaLedger:
    return QuotaLedger(view([group(DB), group(APP)], rules=rules), Context(POLICY, REGION, NOW), freed)


def adds(target: Party, source: Party, *ports: str) -> list[Edit]:
    """New rules that carry the tag's claim."""
    return [Edit(key(target, source, port), ADDED, claims=(TAG,)) for port in ports]


def test_the_twentieth_source_group_has_room_and_the_twenty_first_has_none() -> None:
    """Where the documents agree. The denial is `quota`, names the group and says how many it has."""
    assert ledger(*naming(GROUP_SOURCES - 1)).reserve(adds(DB, APP, "tcp/1")) is None
    found = ledger(*naming(GROUP_SOURCES)).reserve(adds(DB, APP, "tcp/1"))
    assert found is not None
    assert (GROUP_SOURCES, found.reason) == (20, reasons.QUOTA)
    assert f"the rules of {DB} name 20 groups already" in found.detail


def test_more_rules_for_a_group_that_is_named_already_have_room() -> None:
    """Whether 20 counts rules or groups is not known, so the cloud is asked: also in a group that is over the limit."""
    many = naming(GROUP_SOURCES + 5)
    assert ledger(*many).reserve(adds(DB, source(0), "tcp/2", "udp/3", "icmp")) is None


def test_rules_for_named_and_new_groups_have_room_together_or_not_at_all() -> None:
    """A new group makes one too many."""
    full = ledger(*naming(GROUP_SOURCES))
    assert full.reserve([*adds(DB, source(0), "tcp/2"), *adds(DB, APP, "tcp/2")]) is not None


def test_one_full_side_refuses_both_sides_of_a_mutual_link() -> None:
    """Nothing is reserved in the other side's group, whose last room is still there."""
    room = ledger(*naming(GROUP_SOURCES - 1), *naming(GROUP_SOURCES, APP))
    assert room.reserve([*adds(DB, APP, "all"), *adds(APP, DB, "all")]) is not None
    assert room.reserve(adds(DB, CACHE, "tcp/1")) is None


def test_room_is_reserved_once() -> None:
    """A second link, with another source, finds what the first has left. The same source needs no more room."""
    room = ledger(*naming(GROUP_SOURCES - 1))
    assert room.reserve(adds(DB, APP, "tcp/1")) is None
    assert room.reserve(adds(DB, CACHE, "tcp/1")) is not None
    assert room.reserve(adds(DB, APP, "tcp/2")) is None


def test_a_group_whose_last_rule_is_removed_makes_room() -> None:
    """Closing comes first. It is given out once, and only in the rule's own group."""
    full = naming(GROUP_SOURCES)
    freed = [rule.key for rule in full[:1] if rule.key]
    room = ledger(*full, freed=freed)
    assert room.reserve(adds(DB, APP, "tcp/1")) is None
    assert room.reserve(adds(DB, CACHE, "tcp/1")) is not None
    other = ledger(*full, freed=[msgspec.structs.replace(one, group=APP) for one in freed])
    assert other.reserve(adds(DB, APP, "tcp/1")) is not None


def test_a_group_that_another_rule_still_names_makes_no_room() -> None:
    """One of its two rules is removed."""
    second = theirs(key(DB, source(0), "tcp/2"))
    full = [*naming(GROUP_SOURCES), second]
    assert second.key is not None
    assert ledger(*full, freed=[second.key]).reserve(adds(DB, APP, "tcp/1")) is not None


def test_a_group_that_was_not_read_is_taken_to_be_empty() -> None:
    """The cloud decides when the rule is written."""
    unread = QuotaLedger(Snapshot(), Context(POLICY, REGION, NOW), [])
    assert unread.reserve(adds(DB, APP, "tcp/1")) is None


def test_rules_between_addresses_and_changed_markers_take_no_room() -> None:
    """Nor do rules that exist with a source of another kind."""
    addresses = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", ALL)
    new = Edit(msgspec.structs.replace(addresses, source="10.0.0.3/32"), ADDED, ends=(A, B), claims=(TAG,))
    k1 = key(DB, APP, "tcp/1")
    mark = Edit(k1, frozenset({Claim("chg-1")}), rule=ours(k1), claims=(TAG, Claim("chg-1")))
    full = naming(GROUP_SOURCES)
    assert ledger(*full).reserve([new, mark]) is None
    others = [ours(addresses, ends=(A, B)), Rule(DB, "sgr-prefix-list", None, "accept", 1)]
    assert ledger(*full[1:], *others).reserve(adds(DB, APP, "tcp/1")) is None


def requests_that_fill() -> tuple[Claim, ...]:
    """As many request claims as fit into the description of a rule on sg-db, with room for the tag."""
    claims: tuple[Claim, ...] = ()
    while markers.fits(edit_of((*claims, Claim(f"chg-{len(claims):044}"))).marker(POLICY, REGION)):
        claims = (*claims, Claim(f"chg-{len(claims):044}"))
    return claims


def edit_of(claims: tuple[Claim, ...]) -> Edit:
    k1 = key(DB, APP, "tcp/1")
    return Edit(k1, frozenset(claims), rule=ours(k1), claims=claims)


def test_a_description_that_cannot_hold_the_claims_is_full() -> None:
    """512 characters. Nothing is reserved."""
    claims = requests_that_fill()
    room = ledger(*naming(GROUP_SOURCES - 1))
    found = room.reserve([*adds(DB, APP, "tcp/2"), edit_of((*claims, Claim("c" * 48)))])
    assert found is not None
    assert found.reason is reasons.QUOTA
    assert "description" in found.detail
    assert room.reserve(adds(DB, CACHE, "tcp/2")) is None


def test_the_tag_always_has_room_in_a_description() -> None:
    """However many requests a sender has posted."""
    claims = requests_that_fill()
    assert ledger().reserve([edit_of(claims)]) is None
    assert ledger().reserve([edit_of((TAG, *claims))]) is None


def test_a_claim_leaves_a_description_that_is_too_long() -> None:
    """Losing a claim needs no room."""
    claims = (*requests_that_fill(), Claim("c" * 48))
    edit = msgspec.structs.replace(edit_of(claims), gain=frozenset(), lose=frozenset({TAG}))
    assert ledger().reserve([edit]) is None
