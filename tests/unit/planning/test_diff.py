"""The edits of single rules: one line of the table in `planning.diff` per case."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain.model import ALL, TAG, Claim, Instance, Link, Party, Rule, RuleKey
from link_peer.domain.tags import parse_ports
from link_peer.planning.actual import ActualState
from link_peer.planning.claims import DesiredLink
from link_peer.planning.decision import Context, Edit
from link_peer.planning.desired import DesiredState, Verdicts
from link_peer.planning.diff import Diff
from link_peer.planning.evaluate import Need
from link_peer.planning.removal_guard import RemovalGuard
from link_peer.planning.removals import May, Removals

from tests.unit.views import APP, CACHE, DB, HOME, NOW, POLICY, REGION, A, B, group, instance, key, ours, theirs, view

K1 = key(DB, APP, "tcp/1")
LINK = Link(APP, DB, parse_ports("tcp/1"))
REQ = Claim("chg-1")
ADDRESSES = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", ALL)
C = Party(HOME, "i-c")


def diff(*rules: Rule, wanted: Any = (), may_lose: May = May.KEEP, instances: list[Instance] | None = None) -> Diff:
    """`wanted` are the claims for LINK, or desired links."""
    groups = [group(APP, "*"), group(DB, "*"), group(CACHE, "*")]
    seen = view(groups, instances or [], rules)
    context = Context(POLICY, REGION, NOW)
    links = [one if isinstance(one, DesiredLink) else DesiredLink(LINK, one) for one in wanted]
    actual = ActualState(seen, POLICY, REGION)
    verdicts = Verdicts(seen, context, actual, {})
    desired = DesiredState(links, verdicts, actual)
    removals = Removals(seen, context, actual, desired, verdicts, lambda *_: may_lose, RemovalGuard(50))
    return Diff(context, actual, desired, verdicts, removals)


def shown(edits: list[Edit]) -> list[tuple[str, set[Claim], set[Claim], tuple[Claim, ...]]]:
    """(kind, what it gains, what it loses, what it will carry)."""
    return [(edit.kind, set(edit.gain), set(edit.lose), edit.claims) for edit in edits]


NEED = Need(K1)


@pytest.mark.parametrize(
    ("rules", "wanted", "edit"),
    [
        ([], [TAG], [("add", {TAG}, set(), (TAG,))]),
        ([], [TAG, REQ], [("add", {TAG, REQ}, set(), (TAG, REQ))]),
        ([theirs(K1)], [TAG], []),
        ([theirs(K1, act="drop")], [TAG], [("add", {TAG}, set(), (TAG,))]),
        ([ours(K1)], [TAG], []),
        ([ours(K1, REQ)], [TAG], [("mark", {TAG}, set(), (TAG, REQ))]),
        ([ours(K1, Claim("chg-1", 2**31))], [REQ], [("mark", {REQ}, {Claim("chg-1", 2**31)}, (REQ,))]),
        ([ours(K1, priority=1)], [TAG], [("mark", set(), set(), (TAG,))]),
        ([ours(K1, REQ, Claim("chg-2", int(NOW)))], [TAG], [("mark", {TAG}, {Claim("chg-2", int(NOW))}, (TAG, REQ))]),
    ],
    ids=["no rule", "two claims", "a person's", "a drop", "has it", "gains", "new end", "priority", "expired claim"],
)
def test_the_edit_for_a_rule_that_is_needed(rules: list[Rule], wanted: list[Claim], edit: Any) -> None:
    """A rule of ours gains its claims; a person's equal rule counts as present."""
    assert shown(diff(*rules, wanted=wanted).for_need(NEED)) == edit


def test_a_rule_that_only_loses_claims_is_not_edited_for_a_need() -> None:
    """`for_rule` does that, in a decision of its own."""
    parts = diff(ours(K1, TAG, REQ), wanted=[REQ], may_lose=May.TAKE)
    assert parts.for_need(NEED) == []
    assert shown(parts.for_rule(K1)) == [("mark", set(), {TAG}, (REQ,))]


@pytest.mark.parametrize(
    ("rule", "wanted", "may_lose", "edit"),
    [
        (ours(K1), [TAG], May.TAKE, []),
        (ours(K1), [], May.KEEP, []),
        (ours(K1), [], May.TAKE, [("remove", set(), {TAG}, ())]),
        (ours(K1, TAG, REQ), [REQ], May.KEEP, []),
        (ours(K1, TAG, REQ), [REQ], May.TAKE, [("mark", set(), {TAG}, (REQ,))]),
        (ours(K1, TAG, REQ), [], May.TAKE, [("remove", set(), {TAG, REQ}, ())]),
        (ours(K1, priority=1), [], May.KEEP, [("mark", set(), set(), (TAG,))]),
        (ours(K1, priority=1), [], May.TAKE, [("remove", set(), {TAG}, ())]),
    ],
)
def test_the_edit_of_a_rule_of_ours(rule: Rule, wanted: list[Claim], may_lose: May, edit: Any) -> None:
    """It loses what it may lose, and gets back the priority that someone changed."""
    assert shown(diff(rule, wanted=wanted, may_lose=may_lose).for_rule(K1)) == edit


def test_a_copy_of_a_rule_is_an_edit_although_no_claim_changes() -> None:
    """So that the copy is removed."""
    copy = msgspec.structs.replace(ours(K1, priority=1), id="sgr-copy")
    (edit,) = diff(ours(K1), copy, wanted=[TAG]).for_rule(K1)
    assert (edit.kind, edit.rule) == ("mark", ours(K1))


def test_a_rule_is_edited_once() -> None:
    """The platform refuses a call that names one permission twice."""
    parts = diff(ours(K1, REQ), wanted=[TAG])
    assert len(parts.for_need(NEED)) == 1
    assert parts.for_need(NEED) == []
    assert parts.for_rule(K1) == []


def test_an_edit_that_is_dropped_may_be_made_by_another_decision() -> None:
    """A link without room gives its edits back."""
    parts = diff(ours(K1, REQ), wanted=[TAG])
    edits = parts.for_need(NEED)
    parts.drop(edits)
    assert parts.for_rule(K1) == edits


def test_a_new_instance_rule_names_its_instances() -> None:
    """In its marker, since addresses can move to other instances."""
    shown_instances = [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
    parts = diff(wanted=[DesiredLink(Link(A, B), TAG)], instances=shown_instances)
    (edit,) = parts.for_need(Need(ADDRESSES, (A, B)))
    assert (edit.kind, edit.ends) == ("add", (A, B))


def test_a_rule_on_addresses_that_moved_drops_the_claims_of_others() -> None:
    """i-c has the address of i-a now, and asks for the same rule: the rule is i-c's, and the request that was made for i-a
    does not pass to it."""
    moved = [instance(C, APP, ip="10.0.0.1"), instance(A, APP, ip="10.0.0.9"), instance(B, DB, ip="10.0.0.2")]
    rule = ours(ADDRESSES, REQ, ends=(A, B))
    parts = diff(rule, wanted=[DesiredLink(Link(C, B), TAG)], instances=moved)
    (edit,) = parts.for_need(Need(ADDRESSES, (C, B)))
    assert (edit.kind, edit.ends, edit.claims, edit.lose) == ("mark", (C, B), (TAG,), {REQ})


def test_a_rule_that_no_claim_wants_is_not_written_for_a_need() -> None:
    """A claim that is only read from the other side of a mutual link opens nothing."""
    parts = diff(ours(key(DB, APP), REQ), wanted=[DesiredLink(Link(APP, DB), REQ, opens=False)])
    assert parts.for_need(Need(key(APP, DB))) == []
    assert parts.for_need(Need(key(DB, APP))) == []


@pytest.mark.parametrize(
    ("claims", "edit"),
    [
        ((TAG,), []),
        ((TAG, Claim("chg-1", int(NOW))), [("mark", set(), {Claim("chg-1", int(NOW))}, (TAG,))]),
        ((Claim("chg-1", int(NOW)),), [("remove", set(), {Claim("chg-1", int(NOW))}, ())]),
    ],
    ids=["unwanted", "one has ended", "the last has ended"],
)
def test_a_claim_that_may_only_be_closed_goes_for_an_explicit_cause(claims: tuple[Claim, ...], edit: Any) -> None:
    """An end is on the rule itself; that nothing asks for it any more is no such cause."""
    assert shown(diff(ours(K1, *claims), may_lose=May.CLOSE).for_rule(K1)) == edit


def test_the_rule_of_an_instance_that_keeps_its_address_keeps_its_ends() -> None:
    """Another instance with the same address gains nothing."""
    shown_instances = [instance(C, APP, ip="10.0.0.1"), instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
    rule = ours(ADDRESSES, REQ, ends=(A, B))
    wanted = [DesiredLink(Link(A, B), REQ), DesiredLink(Link(C, B), TAG)]
    parts = diff(rule, wanted=wanted, instances=shown_instances)
    assert parts.for_need(Need(ADDRESSES, (C, B))) == []
    assert parts.for_rule(ADDRESSES, (C, B)) == []
