"""The edits of single rules: one line of the table in `planning.diff` per case."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain.model import ALL, TAG, Claim, Party, Rule, RuleKey
from link_peer.planning.decision import Context, Edit
from link_peer.planning.diff import edit_of, opens

from tests.unit.planning.test_actual import K1
from tests.unit.planning.test_actual import actual as standing
from tests.unit.views import DB, HOME, NOW, POLICY, REGION, A, B, ours, theirs

REQ = Claim("chg-1")
ADDRESSES = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", ALL)
C = Party(HOME, "i-c")


CONTEXT = Context(POLICY, REGION, NOW)
PAST = Claim("chg-2", int(NOW))


def shown(edit: Edit | None) -> tuple[str, set[Claim], set[Claim], tuple[Claim, ...]] | None:
    """(kind, what it gains, what it loses, what it will carry)."""
    return (edit.kind, set(edit.gain), set(edit.lose), edit.claims) if edit else None


@pytest.mark.parametrize(
    ("rules", "wanted", "lost", "edit", "opening"),
    [
        ([], {TAG}, set(), ("add", {TAG}, set(), (TAG,)), True),
        ([], {TAG, REQ}, set(), ("add", {TAG, REQ}, set(), (TAG, REQ)), True),
        ([], set(), set(), None, None),
        ([theirs(K1)], {TAG}, set(), None, None),
        ([theirs(K1, act="drop")], {TAG}, set(), ("add", {TAG}, set(), (TAG,)), True),
        ([ours(K1)], {TAG}, set(), None, None),
        ([ours(K1)], set(), set(), None, None),
        ([ours(K1, REQ)], {TAG}, set(), ("mark", {TAG}, set(), (TAG, REQ)), True),
        ([ours(K1, Claim("chg-1", 2**31))], {REQ}, set(), ("mark", {REQ}, {Claim("chg-1", 2**31)}, (REQ,)), True),
        ([ours(K1, priority=1)], {TAG}, set(), ("mark", set(), set(), (TAG,)), True),
        ([ours(K1, priority=1)], set(), set(), ("mark", set(), set(), (TAG,)), True),
        ([ours(K1, REQ, PAST)], {TAG}, set(), ("mark", {TAG}, {PAST}, (TAG, REQ)), True),
        ([ours(K1, TAG, PAST)], {TAG}, set(), None, None),
        ([ours(K1)], set(), {TAG}, ("remove", set(), {TAG}, ()), False),
        ([ours(K1, TAG, REQ)], {REQ}, {TAG}, ("mark", set(), {TAG}, (REQ,)), False),
        ([ours(K1, TAG, REQ)], set(), {TAG}, ("mark", set(), {TAG}, (REQ,)), False),
        ([ours(K1, TAG, REQ)], set(), {TAG, REQ}, ("remove", set(), {TAG, REQ}, ()), False),
        ([ours(K1, priority=1)], set(), {TAG}, ("remove", set(), {TAG}, ()), True),
    ],
)
def test_the_edit_of_a_rule(rules: list[Rule], wanted: set[Claim], lost: set[Claim], edit: Any, opening: Any) -> None:
    """What a rule only loses opens nothing, so that it is a decision of its own."""
    actual = standing(*rules)
    found = edit_of(CONTEXT, actual, K1, wanted, lost=lost)
    assert shown(found) == edit
    assert (opens(found, actual) if found else None) == opening


def test_a_copy_of_a_rule_is_an_edit_although_no_claim_changes() -> None:
    """So that the copy is removed."""
    copy = msgspec.structs.replace(ours(K1, priority=1), id="sgr-copy")
    edit = edit_of(CONTEXT, standing(ours(K1), copy), K1, {TAG})
    assert edit is not None
    assert (edit.kind, edit.rule) == ("mark", ours(K1))


def test_a_new_instance_rule_names_its_instances() -> None:
    """In its marker, since addresses can move to other instances."""
    edit = edit_of(CONTEXT, standing(), ADDRESSES, {TAG}, ends=(A, B))
    assert edit is not None
    assert (edit.kind, edit.ends) == ("add", (A, B))


def test_a_rule_on_addresses_that_moved_drops_the_claims_of_others() -> None:
    """i-c has the address of i-a now, and asks for the same rule: the rule is i-c's, and the request that was made for i-a
    does not pass to it. While i-a keeps its address, and for i-a itself, the rule stays."""
    actual = standing(ours(ADDRESSES, REQ, ends=(A, B)))
    edit = edit_of(CONTEXT, actual, ADDRESSES, {TAG}, ends=(C, B), moved=True)
    assert edit is not None
    assert (edit.kind, edit.ends, edit.claims, edit.lose) == ("mark", (C, B), (TAG,), {REQ})
    assert edit_of(CONTEXT, actual, ADDRESSES, {REQ}, ends=(C, B)) is None
    assert edit_of(CONTEXT, actual, ADDRESSES, {REQ}, ends=(A, B), moved=True) is None
    assert edit_of(CONTEXT, actual, ADDRESSES, set(), moved=True) is None


def test_a_rule_that_other_instances_take_over_is_opened_for_them() -> None:
    """Although its claims are the same."""
    actual = standing(ours(ADDRESSES, ends=(A, B)))
    edit = edit_of(CONTEXT, actual, ADDRESSES, {TAG}, ends=(C, B), moved=True)
    assert edit is not None
    assert (edit.gain, edit.ends, opens(edit, actual)) == (set(), (C, B), True)
