"""The removal guard: so many removals in one delivery whose only cause is that an account does not show something."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from link_peer.domain.denials import UNWANTED
from link_peer.domain.model import TAG, Claim, Link
from link_peer.domain.tags import parse_ports
from link_peer.engine.write.removal_guard import HoldingGuard, LookGuard, RemovalGuard, SharedGuard
from link_peer.planning.cursor import MOST_SHOWING_LESS
from link_peer.planning.decision import Decision, Edit, Unseen

from tests.unit.small_world import APP, DB, HOME, PEER
from tests.unit.snapshots import key, ours

REQ = Claim("chg-1")
P1 = parse_ports("tcp/1")
AT_HOME, AT_PEER = Unseen(HOME, HOME), Unseen(PEER, HOME)


def removal(*ports: int, unseen: tuple[Unseen, ...] = (AT_HOME,)) -> Decision:
    """The removal of a rule for each port."""
    keys = [key(DB, APP, f"tcp/{port}") for port in ports]
    edits = tuple(Edit(k, lose=frozenset({TAG}), rule=ours(k)) for k in keys)
    link = Link(APP, DB, tuple(k.port for k in keys))
    return Decision(link, "unlink", "removed", UNWANTED, edits, unseen=frozenset(unseen))


@pytest.mark.parametrize(("count", "is_held"), [(0, False), (1, False), (2, False), (3, True)])
def test_beyond_the_limit_all_are_held(count: int, is_held: bool) -> None:
    """The limit is 2. What a batch is due to remove counts too, also where each message by itself stays under the
    limit; other accounts are not affected."""
    assert RemovalGuard(2).excess({AT_HOME: count}) == ({AT_HOME} if is_held else set())
    batch = RemovalGuard(2)
    batch.expect({AT_HOME: count, AT_PEER: 1})
    assert batch.excess({AT_HOME: 1, AT_PEER: 1}) == ({AT_HOME} if is_held else set())


@pytest.mark.parametrize("second_unseen", [AT_PEER, Unseen(HOME, PEER), Unseen(PEER, PEER)])
def test_each_pair_of_accounts_is_counted_by_itself(second_unseen: Unseen) -> None:
    """Whose resources are not shown, and on whose groups: no account holds up another's removals."""
    guard = RemovalGuard(2)
    assert guard.excess({AT_HOME: 50, second_unseen: 2}) == {AT_HOME}
    guard.count(removal(1, 2))
    assert guard.excess({AT_HOME: 1, second_unseen: 2}) == {AT_HOME}


def test_a_removal_counts_for_every_account_that_does_not_show_it() -> None:
    """Both sides of a mutual link may be missing."""
    guard = RemovalGuard(1)
    guard.count(removal(1, unseen=(AT_HOME, AT_PEER)))
    assert guard.excess({AT_HOME: 1, AT_PEER: 1}) == {AT_HOME, AT_PEER}


def test_explicit_removals_and_links_do_not_count_as_made() -> None:
    """Nor does a claim that leaves a rule with other claims."""
    k = key(DB, APP, "tcp/9")
    mark = Edit(k, lose=frozenset({TAG}), rule=ours(k, TAG, REQ), claims=(REQ,))
    guard = RemovalGuard(0)
    guard.count(removal(1, unseen=()))
    guard.count(Decision(Link(APP, DB, P1), "link", "applied"))
    guard.count(msgspec.structs.replace(removal(2), edits=(mark,)))
    assert RemovalGuard(0).excess({}) == guard.excess({AT_HOME: 0}) == set()


def test_who_reads_a_part_of_an_account_holds_what_is_not_shown() -> None:
    """However little it is."""
    assert HoldingGuard(1).excess({AT_HOME: 1, AT_PEER: 2}) == {AT_HOME, AT_PEER}


@pytest.mark.parametrize(
    ("absent", "earlier", "due", "held_removals"),
    [
        ({}, {}, {AT_HOME: 2}, set()),
        ({}, {}, {AT_HOME: 3, AT_PEER: 2}, {AT_HOME}),
        ({HOME: 3}, {}, {AT_HOME: 1, AT_PEER: 1}, {AT_HOME}),  # of which others are judged later
        ({HOME: 2}, {}, {AT_HOME: 1}, set()),
        ({}, {HOME: 1}, {AT_HOME: 1}, set()),
        ({}, {HOME: 1}, {AT_HOME: 2, AT_PEER: 2}, {AT_HOME}),
        ({}, {}, {AT_HOME: 2, Unseen(HOME, PEER): 1}, {AT_HOME, Unseen(HOME, PEER)}),
        ({}, {f"{n}": 1 for n in range(MOST_SHOWING_LESS)}, {AT_HOME: 1}, {AT_HOME}),
        ({}, {HOME: 1, **{f"{n}": 1 for n in range(MOST_SHOWING_LESS - 1)}}, {AT_HOME: 1, AT_PEER: 1}, {AT_PEER}),
        ({}, {f"{n}": 1 for n in range(MOST_SHOWING_LESS - 1)}, {AT_HOME: 1}, set()),
    ],
)
def test_short_sweeps_count_together_by_account(
    absent: dict[str, int], earlier: dict[str, int], due: dict[Unseen, int], held_removals: set[Unseen]
) -> None:
    """The limit is 2 since the last full sweep, on whichever groups. Once a cursor can note no further account, all of
    its is held."""
    assert LookGuard(2, absent, earlier, MOST_SHOWING_LESS).excess(due) == held_removals


def test_a_short_sweep_tells_the_next_what_it_was_let_remove() -> None:
    """By the account that shows something no more, whether it was removed or the answer was lost; once, however often
    it plans."""
    guard = LookGuard(3, {}, {PEER: 1}, MOST_SHOWING_LESS)
    assert guard.excess({AT_HOME: 2, AT_PEER: 3}) == {AT_PEER}
    assert guard.removals == {HOME: 2, PEER: 1}
    guard.count(removal(1))
    assert guard.excess({AT_HOME: 1}) == set()
    assert guard.removals == {HOME: 2, PEER: 1}
    assert (guard.excess({AT_HOME: 3}), guard.excess({AT_HOME: 2})) == ({AT_HOME}, set())
    assert guard.removals == {HOME: 3, PEER: 1}


# shared by messages side by side


@pytest.fixture(name="second_thread")
def _other_thread() -> Iterator[ThreadPoolExecutor]:
    """Another thread."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_what_another_thread_plans_counts_and_what_it_made_counts_once(second_thread: ThreadPoolExecutor) -> None:
    """For the accounts that it concerns. Two of three were made: one is left."""
    guard = SharedGuard(3)
    assert second_thread.submit(guard.excess, {AT_HOME: 2}).result() == set()
    for _ in range(2):
        assert guard.excess({AT_HOME: 1, AT_PEER: 3}) == set()
        assert guard.excess({AT_HOME: 2, AT_PEER: 3}) == {AT_HOME}
        second_thread.submit(guard.count, removal(1, 2)).result()


def test_what_is_made_in_part_counts_in_full_until_the_message_is_done(second_thread: ThreadPoolExecutor) -> None:
    guard = SharedGuard(3)
    second_thread.submit(guard.excess, {AT_HOME: 2}).result()
    second_thread.submit(guard.count, removal(1)).result()
    assert guard.excess({AT_HOME: 2}) == {AT_HOME}
    second_thread.submit(guard.finish).result()
    assert guard.excess({AT_HOME: 2}) == set()
    assert guard.excess({AT_HOME: 3}) == {AT_HOME}
