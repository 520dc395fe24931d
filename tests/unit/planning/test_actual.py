"""Actual state: which rules of a snapshot are ours, and which of those someone changed."""

from __future__ import annotations

import msgspec
import pytest
from link_peer.domain.model import ALL, TAG, Claim, Link, Marker, Party, Port, Rule, RuleKey
from link_peer.domain.policy import AccountPolicy
from link_peer.planning.actual import Actual, actual_state, damaged_rules, link_of, owned_rules, renamed_rules

from tests.unit.views import APP, DB, HOME, PEER, POLICY, REGION, A, B, group, key, ours, policy, theirs, view

K1, K2 = key(DB, APP, "tcp/1"), key(DB, APP, "tcp/2")


def actual(*rules: Rule) -> Actual:
    return actual_state(view([group(APP), group(DB)], rules=rules), POLICY, REGION)


def test_a_rule_with_a_marker_of_this_deployment_is_ours() -> None:
    """Its marker gives its claims."""
    found = actual(ours(K1, TAG, Claim("chg-1")))
    rule, marker = found.owned[K1]
    assert (rule.key, marker.claims) == (K1, (TAG, Claim("chg-1")))
    assert K1 in found
    assert found.equal == {}


@pytest.mark.parametrize("description", ["", "db access", ours(K2).description], ids=["none", "text", "another rule's"])
def test_an_accept_rule_without_a_marker_made_for_it_is_another_persons(description: str) -> None:
    """Also where the marker was copied from another rule."""
    found = actual(theirs(K1, description))
    assert (set(found.owned), set(found.equal)) == (set(), {K1})
    assert K1 in found


def test_a_drop_rule_is_neither_ours_nor_equal() -> None:
    """A link is not open because someone drops the same traffic."""
    found = actual(theirs(K1, act="drop"))
    assert K1 not in found


def test_a_rule_of_a_form_that_we_never_write_is_neither() -> None:
    """Such as one with a prefix list."""
    found = actual(Rule(DB, "sgr-1", None, "accept", 100))
    assert (found.owned, found.equal) == ({}, {})


def test_an_equal_rule_beside_ours_does_not_count() -> None:
    """Ours is the one that is edited."""
    found = actual(theirs(K1), ours(K1))
    assert (set(found.owned), found.equal) == ({K1}, {})


@pytest.mark.parametrize("priority", [1, 99])
def test_a_rule_with_another_priority_was_tampered_with(priority: int) -> None:
    """We write priority 100 alone."""
    found = actual(ours(K1, priority=priority), ours(K2))
    assert (found.tampered(K1), found.tampered(K2)) == (True, False)
    assert found.duplicated == frozenset()


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_copies_the_one_at_our_priority_counts(order: int) -> None:
    """In whichever order they are shown, and with the claims of both; the rule was tampered with."""
    copies = [ours(K1), msgspec.structs.replace(ours(K1, Claim("chg-1"), priority=1), id="sgr-copy")]
    found = actual(*copies[::order])
    assert found.owned[K1][0].priority == 100
    assert found.claims(K1) == {TAG, Claim("chg-1")}
    assert found.duplicated == {K1}
    assert found.tampered(K1)


def test_owned_rules_are_those_of_this_deployment_and_home() -> None:
    """A marker of another deployment, home account or region is not ours."""
    seen = view([group(DB)], rules=[ours(K1), theirs(K2)])
    elsewhere = policy(accounts={PEER: AccountPolicy("b")})
    assert [rule.key for rule, _ in owned_rules(seen, POLICY, REGION)] == [K1]
    assert owned_rules(seen, policy(deployment="test"), REGION) == []
    assert owned_rules(seen, elsewhere, REGION) == []
    assert owned_rules(seen, POLICY, "cn-beijing") == []


def test_a_rule_whose_marker_someone_changed_is_damaged_and_not_ours() -> None:
    """A note after the marker, or the marker of another rule: left alone, and reported. Rules of ours, of other deployments
    and homes, and a person's are not reported."""
    text = ours(K1).description
    noted, copied = theirs(K1, text + " (db access)"), theirs(K2, text)
    others = [ours(key(DB, APP, "tcp/3")), theirs(key(DB, APP, "tcp/4"), "db access")]
    seen = view([group(DB)], rules=[noted, copied, *others])
    assert damaged_rules(seen, POLICY, REGION) == [noted, copied]
    assert [rule for rule, _ in owned_rules(seen, POLICY, REGION)] == others[:1]
    assert damaged_rules(seen, policy(deployment="test"), REGION) == []
    assert damaged_rules(seen, policy(accounts={PEER: AccountPolicy("b")}), REGION) == []


def test_the_claims_of_a_rule_are_those_of_its_marker() -> None:
    """None for another person's rule, or for no rule."""
    found = actual(ours(K1, TAG, Claim("chg-1")), theirs(K2))
    assert found.claims(K1) == {TAG, Claim("chg-1")}
    assert found.claims(K2) == found.claims(key(DB, APP, "tcp/3")) == frozenset()


@pytest.mark.parametrize(
    ("rule_key", "ends", "link"),
    [
        (K1, None, Link(APP, DB, (Port("tcp", 1, 1),))),
        (key(DB, APP), None, Link(APP, DB)),
        (RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", ALL), (A, B), Link(A, B)),
        (RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", Port("icmp")), (A, B), Link(A, B, (Port("icmp"),))),
    ],
)
def test_a_rule_tells_its_link(rule_key: RuleKey, ends: tuple[Party, Party] | None, link: Link) -> None:
    """Of a group rule the source and its one port; of an instance rule the ends in its marker."""
    assert link_of(rule_key, Marker(HOME, "prod", "0" * 16, (TAG,), ends)) == link


def test_rules_of_a_former_name_are_told_from_copies_of_their_markers() -> None:
    """And from those of another home."""
    other = ours(K2).description.replace(f"home={HOME}", f"home={PEER}")
    seen = view([group(APP), group(DB)], rules=[ours(K1), theirs(K2, ours(K1).description), theirs(K2, other)])
    genuine, copies = renamed_rules(seen, policy(deployment="new"), REGION)
    assert [[rule.description for rule, _ in found] for found in (genuine, copies)] == [[ours(K1).description]] * 2
    assert [rule.key for rule, _ in (*genuine, *copies)] == [K1, K2]
    assert renamed_rules(seen, POLICY, REGION) == ([], [])
