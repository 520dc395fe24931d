"""The removal guard: so many removals in one delivery whose only cause is that an account does not show something."""

from __future__ import annotations

import msgspec
import pytest
from link_peer.domain import reasons
from link_peer.domain.denial import Denial
from link_peer.domain.denials import UNWANTED
from link_peer.domain.model import TAG, Claim, Instance, Link, Party
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_ports
from link_peer.planning.decision import Context, Decision, Edit, Unseen
from link_peer.planning.removal_guard import RemovalGuard, unseen_accounts

from tests.unit.views import APP, DB, HOME, NOW, PEER, POLICY, REGION, A, B, group, instance, key, ours, view

FOREIGN, FAR = Party(PEER, "sg-x"), Party(PEER, "i-x")
STRANGER = Party("1000000000000003", "sg-x")
REQ = Claim("chg-1")
P1 = parse_ports("tcp/1")
AT_HOME, AT_PEER = Unseen(HOME, HOME), Unseen(PEER, HOME)


def removal(*ports: int, unseen: tuple[Unseen, ...] = (AT_HOME,)) -> Decision:
    """The removal of a rule for each port."""
    keys = [key(DB, APP, f"tcp/{port}") for port in ports]
    edits = tuple(Edit(k, lose=frozenset({TAG}), rule=ours(k)) for k in keys)
    link = Link(APP, DB, tuple(k.port for k in keys))
    return Decision(link, "unlink", "removed", UNWANTED, edits, unseen=frozenset(unseen))


@pytest.mark.parametrize(("count", "held"), [(0, False), (1, False), (2, False), (3, True)])
def test_beyond_the_limit_all_are_held(count: int, held: bool) -> None:
    """The limit is 2."""
    assert RemovalGuard(2).held({AT_HOME: count}) == ({AT_HOME} if held else set())


@pytest.mark.parametrize("other", [AT_PEER, Unseen(HOME, PEER), Unseen(PEER, PEER)])
def test_each_pair_of_accounts_is_counted_by_itself(other: Unseen) -> None:
    """Whose resources are not shown, and on whose groups: no account holds up another's removals."""
    guard = RemovalGuard(2)
    assert guard.held({AT_HOME: 50, other: 2}) == {AT_HOME}
    guard.made(removal(1, 2))
    assert guard.held({AT_HOME: 1, other: 2}) == {AT_HOME}


def test_removals_made_earlier_in_the_delivery_count() -> None:
    """Two were made, so none is left of a limit of 2."""
    guard = RemovalGuard(3)
    guard.made(removal(1, 2))
    assert guard.held({AT_HOME: 1}) == set()
    assert guard.held({AT_HOME: 2}) == {AT_HOME}


def test_a_removal_counts_for_every_account_that_does_not_show_it() -> None:
    """Both sides of a mutual link may be missing."""
    guard = RemovalGuard(1)
    guard.made(removal(1, unseen=(AT_HOME, AT_PEER)))
    assert guard.held({AT_HOME: 1, AT_PEER: 1}) == {AT_HOME, AT_PEER}


def test_explicit_removals_and_links_do_not_count_as_made() -> None:
    """Nor does a claim that leaves a rule with other claims."""
    k = key(DB, APP, "tcp/9")
    mark = Edit(k, lose=frozenset({TAG}), rule=ours(k, TAG, REQ), claims=(REQ,))
    guard = RemovalGuard(0)
    guard.made(removal(1, unseen=()))
    guard.made(Decision(Link(APP, DB, P1), "link", "applied"))
    guard.made(msgspec.structs.replace(removal(2), edits=(mark,)))
    assert RemovalGuard(0).held({}) == guard.held({AT_HOME: 0}) == set()


@pytest.mark.parametrize(("due", "held"), [(2, False), (3, True)])
def test_a_batch_that_is_due_to_remove_too_much_removes_nothing(due: int, held: bool) -> None:
    """Also where each message by itself stays under the limit; other accounts are not affected."""
    guard = RemovalGuard(2)
    guard.expect({AT_HOME: due, AT_PEER: 1})
    assert guard.held({AT_HOME: 1, AT_PEER: 1}) == ({AT_HOME} if held else set())


def test_expecting_again_reopens_nothing() -> None:
    guard = RemovalGuard(0)
    guard.expect({AT_HOME: 1})
    guard.expect({AT_PEER: 1})
    assert guard.held({AT_HOME: 0, AT_PEER: 0}) == {AT_HOME, AT_PEER}


def test_a_new_guard_has_reported_nothing() -> None:
    assert RemovalGuard(0).reported == set()


# whose absence is the cause

TAGGED = instance(A, APP, link_peer="sg-other")
UNTAGGED = instance(A, APP)
PEER_TAGGED = instance(FAR, FOREIGN, link_peer="sg-other")


def unseen(seen: Snapshot, link: Link, denial: Denial | None = None, deleted: tuple[Party, ...] = ()) -> set[str]:
    context = Context(POLICY, REGION, NOW, deleted=frozenset(deleted))
    return unseen_accounts(seen, context, link, denial)


@pytest.mark.parametrize(
    ("shown", "link", "accounts"),
    [
        ([], Link(APP, DB, P1), {HOME}),
        ([TAGGED], Link(APP, DB, P1), set()),
        ([UNTAGGED], Link(APP, DB, P1), {HOME}),  # an account that shows no tag at all may not show them
        ([UNTAGGED, instance(B, DB, link_peer="x")], Link(APP, DB, P1), set()),
        ([instance(B, DB, link_peer="x")], Link(APP, DB, P1), {HOME}),  # none of the source group is shown
        ([], Link(FOREIGN, DB, P1), {PEER}),
        ([TAGGED], Link(FOREIGN, DB, P1), {PEER}),
        ([PEER_TAGGED], Link(FOREIGN, DB, P1), set()),
        ([TAGGED], Link(APP, FOREIGN, P1), set()),  # the target asks for nothing
        ([TAGGED], Link(APP, FOREIGN), {PEER}),  # but both sides of a mutual link ask
        ([PEER_TAGGED], Link(APP, FOREIGN), {HOME}),
        ([TAGGED, PEER_TAGGED], Link(APP, FOREIGN), set()),
        ([], Link(APP, FOREIGN), {HOME, PEER}),
        ([], Link(A, B, P1), {HOME}),
        ([TAGGED], Link(A, B, P1), set()),
        ([TAGGED], Link(A, FAR), {PEER}),
        ([], Link(STRANGER, DB, P1), set()),  # not in the policy: its rules are removed for that
    ],
)
def test_an_asker_that_is_not_shown_with_tags_is_missing(shown: list[Instance], link: Link, accounts: set[str]) -> None:
    """Of a rule that nothing asks for: no instance of the asking group, or not the instance itself."""
    assert unseen(view([group(APP), group(DB)], shown), link) == accounts


@pytest.mark.parametrize(
    ("groups", "link", "accounts"),
    [
        ([DB], Link(APP, DB, P1), {HOME}),
        ([APP], Link(APP, FOREIGN, P1), {PEER}),
        ([FOREIGN], Link(APP, FOREIGN, P1), {HOME}),
        ([], Link(APP, FOREIGN, P1), {HOME, PEER}),
        ([], Link(STRANGER, APP, P1), {HOME}),
    ],
)
def test_a_group_that_is_not_shown_is_missing(groups: list[Party], link: Link, accounts: set[str]) -> None:
    """Whatever instances are shown: the verdict is `peer-not-found`."""
    seen = view(map(group, groups), [TAGGED, PEER_TAGGED])
    assert unseen(seen, link, Denial(reasons.PEER_NOT_FOUND, "")) == accounts


@pytest.mark.parametrize(
    ("shown", "accounts"),
    [
        ([instance(A, APP, ip="10.0.0.1")], {PEER}),
        ([instance(FAR, FOREIGN, ip="10.0.0.2")], {HOME}),
        ([], {HOME, PEER}),
        ([instance(A, APP), instance(FAR, FOREIGN, ip="10.0.0.2")], {HOME}),
        ([instance(A, APP, ip="10.0.0.1"), instance(FAR, FOREIGN)], {PEER}),
        ([instance(A, APP)], {PEER}),  # one that is missing comes before one without an address
    ],
)
def test_an_instance_or_address_that_is_not_shown_is_missing(shown: list[Instance], accounts: set[str]) -> None:
    """The verdict is `instance-gone` or `no-private-ip`."""
    assert (
        unseen(view([group(APP), group(FOREIGN)], shown), Link(A, FAR, P1), Denial(reasons.INSTANCE_GONE, ""))
        == accounts
    )


def test_an_instance_that_the_platform_says_was_released_is_not_missing() -> None:
    """A `Deleted` event is an explicit cause. It speaks for that instance alone."""
    gone = Denial(reasons.INSTANCE_GONE, "")
    link = Link(A, FAR, P1)
    assert unseen(view(), link, gone, deleted=(A,)) == {PEER}
    assert unseen(view(), link, gone, deleted=(A, FAR)) == set()
    assert unseen(view(), Link(A, B, P1), None, deleted=(A,)) == set()
    assert unseen(view(), Link(A, B, P1), None, deleted=(B,)) == {HOME}


def test_a_denial_that_says_nothing_of_absence_leaves_the_askers() -> None:
    """Such as one that the cloud gave to a write."""
    assert unseen(view([], [TAGGED]), Link(APP, DB, P1), Denial(reasons.QUOTA, "", outcome="failed")) == set()
    assert unseen(view(), Link(APP, DB, P1), Denial(reasons.QUOTA, "", outcome="failed")) == {HOME}
