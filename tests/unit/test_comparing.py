"""What another policy opens and closes, in words and in numbers."""

from __future__ import annotations

import pytest
from link_peer.domain.model import ALL, Group, Party, Port, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.views.reach import Scene
from link_peer.views.reachable import Reached
from link_peer_cli.answers.changes import ReachChange
from link_peer_cli.review.comparing import MOST, _answer, _difference, reach_lines
from link_peer_cli.review.edits import GroupChange, RuleEdit

from tests.unit.small_world import APP, CACHE, DB, A
from tests.unit.snapshots import key

ONE, TWO = key(DB, APP, "tcp/1"), key(CACHE, APP, "tcp/2")


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ([], [("+", ONE)], {DB: [("+", ONE)]}),
        ([("+", ONE)], [], {DB: [("-", ONE)]}),  # the policy in use opens it, and the other does not
        ([("-", ONE)], [], {DB: [("+", ONE)]}),  # the policy in use removes it, and the other keeps it
        ([], [("-", ONE)], {DB: [("-", ONE)]}),
        ([("-", ONE)], [("-", ONE), ("+", TWO)], {CACHE: [("+", TWO)]}),
        ([("~", ONE)], [("~", TWO)], {}),
    ],
)
def test_what_one_policy_alone_does_is_what_the_other_opens_or_closes(
    before: list[tuple[str, RuleKey]], after: list[tuple[str, RuleKey]], changes: dict[Party, list[tuple[str, RuleKey]]]
) -> None:
    """By group; what both do, and another description, is no difference."""
    assert _difference(frozenset(before), frozenset(after)) == [
        GroupChange(group, tuple(RuleEdit(*edit) for edit in edits)) for group, edits in changes.items()
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (Reached("+", True, APP, DB, (ALL,), 1, 3, 3), "1 instance of {app} (orders) gains all ports to 3 instances of {db}"),
        (Reached("-", True, APP, DB, (Port("tcp", 1, 1),), 2, 1, 2), "2 instances of {app} (orders) lose tcp/1 to 1 instance of {db}"),
        (Reached("+", False, A, DB, (ALL,), 1, 1, 1), "{a} may gain all ports to 1 instance of {db}"),
        (Reached("-", True, A, DB, (ALL,), 2, 1, 2), "2 instances with the address of {a} lose all ports to 1 instance of {db}"),
        (
            Reached("-", False, A, DB, (Port("icmp"),)),
            "{a} may lose icmp to instances of {db} (not all of them could be read)",
        ),
    ],
)  # fmt: skip
def test_a_gain_or_loss_says_how_many_of_whom_reach_what(change: Reached, text: str) -> None:
    scene = Scene(Snapshot(groups={APP: Group(APP, "vpc-1", name="orders")}))
    answer = _answer(scene, change)
    assert answer.text == text.format(app=APP, db=DB, a=A)
    assert (answer.sign, answer.sure, answer.pairs) == (change.sign, change.sure, change.pairs)


def test_the_largest_gains_and_losses_are_lines_and_others_are_counted() -> None:
    """Ten of each."""
    changes = [
        ReachChange(sign, True, "", "", "", 1, 1, 1, f"{number}")
        for sign, count in (("+", MOST + 2), ("-", MOST))
        for number in range(count)
    ]
    lines = reach_lines(changes)
    assert lines[:MOST] == [("+", f"{number}") for number in range(10)]
    assert lines[MOST:] == [("+", "and 2 smaller ones"), *(("-", f"{number}") for number in range(10))]
