"""The removal guard: at most so many removals in one delivery whose only cause is that something is not shown."""

from __future__ import annotations

import msgspec
import pytest
from link_peer.domain.denial import UNWANTED, Denial, ReasonCode
from link_peer.domain.model import TAG, Claim, Link, Party
from link_peer.domain.tags import parse_ports
from link_peer.planning.decision import Decision, Edit
from link_peer.planning.removal_guard import RemovalGuard, doubted_accounts

from tests.unit.views import APP, DB, HOME, PEER, POLICY, group, key, ours, view

FOREIGN = Party(PEER, "sg-x")
REQ = Claim("chg-1")
P1 = parse_ports("tcp/1")[0]


def removal(port: int, *, counts: bool = True) -> Decision:
    """The removal of one rule; `counts` toward the cap."""
    k = key(DB, APP, f"tcp/{port}")
    edit = Edit(k, lose=frozenset({TAG}), rule=ours(k))
    return Decision(Link(APP, DB, (k.port,)), "unlink", "removed", UNWANTED, (edit,), counts_toward_cap=counts)


def change(port: int) -> Decision:
    return Decision(Link(APP, DB, (key(DB, APP, f"tcp/{port}").port,)), "link", "applied")


@pytest.mark.parametrize(("count", "kept", "held"), [(0, 0, 0), (1, 1, 0), (2, 2, 0), (3, 0, 3)])
def test_up_to_the_limit_all_removals_are_admitted_and_beyond_it_none(count: int, kept: int, held: int) -> None:
    """The limit is 2."""
    admitted = RemovalGuard(2).admit([removal(port) for port in range(1, count + 1)])
    assert (len(admitted.decisions), admitted.held) == (kept, held)


def test_other_decisions_are_admitted_although_removals_are_held() -> None:
    """Links, and removals with an explicit cause, in their order."""
    explicit = [removal(port, counts=False) for port in range(10, 15)]
    decisions = [change(1), removal(2), *explicit, removal(3)]
    admitted = RemovalGuard(1).admit(decisions)
    assert admitted.decisions == [change(1), *explicit]
    assert (admitted.held, admitted.due) == (2, 2)


def test_removals_made_earlier_in_the_delivery_count() -> None:
    """One was made and two are due, with a limit of 2: three in all."""
    guard = RemovalGuard(2)
    guard.made(removal(1))
    admitted = guard.admit([removal(2), removal(3)])
    assert (admitted.decisions, admitted.held, admitted.due) == ([], 2, 3)
    assert guard.admit([removal(2)]).held == 0


def test_explicit_removals_and_links_do_not_count_as_made() -> None:
    guard = RemovalGuard(1)
    guard.made(removal(1, counts=False))
    guard.made(change(2))
    assert guard.admit([removal(3)]).held == 0


@pytest.mark.parametrize(("due", "held"), [(0, False), (2, False), (3, True)])
def test_a_batch_that_is_due_to_remove_too_much_removes_nothing(due: int, held: bool) -> None:
    """Also where each message by itself stays under the limit."""
    guard = RemovalGuard(2)
    assert guard.expect(due) == held
    assert bool(guard.admit([removal(1)]).held) == held


def test_a_closed_guard_admits_what_does_not_count() -> None:
    guard = RemovalGuard(0)
    guard.expect(1)
    decisions = [change(1), removal(2, counts=False)]
    assert guard.admit(decisions).decisions == decisions


def test_a_claim_that_leaves_a_rule_with_other_claims_removes_no_rule() -> None:
    """Such a decision has no removals, so it is within a limit of 0."""
    k = key(DB, APP, "tcp/1")
    edit = Edit(k, lose=frozenset({TAG}), rule=ours(k, TAG, REQ), claims=(REQ,))
    decision = Decision(Link(APP, DB, (k.port,)), "unlink", "removed", UNWANTED, (edit,), counts_toward_cap=True)
    assert RemovalGuard(0).admit([decision]).decisions == [decision]


@pytest.mark.parametrize(
    ("link", "code", "live", "doubted"),
    [
        (Link(APP, DB, (P1,)), ReasonCode.NONE, {HOME}, set()),
        (Link(APP, DB, (P1,)), ReasonCode.NONE, set(), {HOME}),
        (Link(FOREIGN, DB, (P1,)), ReasonCode.NONE, {HOME}, {PEER}),
        (Link(APP, FOREIGN, (P1,)), ReasonCode.NONE, {HOME}, set()),
        (Link(APP, FOREIGN), ReasonCode.NONE, {HOME}, {PEER}),
        (Link(APP, FOREIGN, (P1,)), ReasonCode.PEER_NOT_FOUND, {HOME}, {PEER}),
        (Link(Party("1000000000000003", "sg-x"), DB), ReasonCode.NONE, {HOME}, set()),
    ],
    ids=[
        "live",
        "not live",
        "the asker's",
        "the target's",
        "both of a mutual link",
        "missing at the target",
        "unlisted",
    ],
)
def test_an_account_is_doubted_where_something_is_missing_and_no_instance_is_shown(
    link: Link, code: ReasonCode, live: set[str], doubted: set[str]
) -> None:
    """The asker's account for a missing tag; both accounts for a missing party or a mutual link."""
    seen = msgspec.structs.replace(view([group(APP), group(DB)]), live_accounts=live)
    assert doubted_accounts(seen, POLICY, link, Denial(code, "")) == doubted
