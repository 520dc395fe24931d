"""What a snapshot can answer: whether enough was read to say that nobody asks for a link."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import Link, Party
from link_peer.domain.snapshot import Listing, Snapshot
from link_peer.domain.tags import parse_ports

from tests.unit.small_world import APP, CACHE, DB, HOME, PEER, A, B
from tests.unit.snapshots import group, instance

PORT = parse_ports("tcp/1")
FAR = Party(PEER, "sg-far")
REFUSED = {"refused_accounts": {PEER: NoAccess("Forbidden.RAM", "no")}}


@pytest.mark.parametrize(
    ("link", "read", "covered"),
    [
        # one direction: the askers are the source, or the members of its group
        (Link(APP, DB, PORT), {"complete_groups": {APP}, "groups": {DB: None}}, True),
        (Link(APP, DB, PORT), {"complete_groups": {APP}, "requested": {DB}}, True),
        (Link(APP, DB, PORT), {"complete_groups": {APP}}, False),
        (Link(APP, DB, PORT), {"complete_groups": {DB}, "requested": {APP, DB}}, False),
        (Link(APP, DB, PORT), {"whole_accounts": {HOME}, "requested": {DB}}, True),
        (Link(APP, DB, PORT), {"whole_accounts": {PEER}, "requested": {DB}}, False),
        (Link(A, B, PORT), {"requested": {A, B}}, True),
        (Link(A, B, PORT), {"requested": {B}}, False),
        # both directions: both sides may ask
        (Link(APP, DB), {"complete_groups": {APP}, "requested": {DB}}, False),
        (Link(APP, DB), {"complete_groups": {APP, DB}, "requested": {DB}}, True),
        (Link(A, B), {"requested": {A, B}}, True),
        # the one instance that a part of a link by address is for
        (Link(APP, DB, PORT, A.id), {"requested": {A, DB}}, True),
        (Link(APP, DB, PORT, A.id), {"complete_groups": {APP}, "requested": {DB}}, False),
        # a side that refuses access keeps nothing standing on the other; but somebody must have been read
        (Link(APP, FAR), {"complete_groups": {APP}, "requested": {FAR}, **REFUSED}, True),
        (Link(APP, FAR), {"requested": {FAR}, **REFUSED}, False),
        (Link(FAR, FAR), {"requested": {FAR}, **REFUSED}, False),
        (Link(FAR, DB, PORT), {"requested": {DB}, **REFUSED}, False),
    ],
)
def test_a_link_is_covered_once_all_that_could_ask_for_it_were_read(
    link: Link, read: dict[str, Any], covered: bool
) -> None:
    """And its target was asked for: whether it exists is known."""
    assert Snapshot(**read).covers(link) is covered


# A and another account's instance are in a group of one name; of home, a listing showed B as well, which was not kept.
OTHERS = Party(PEER, "i-x"), Party(PEER, APP.id)
SEEN = Snapshot(
    instances={A: instance(A, APP, CACHE), OTHERS[0]: instance(OTHERS[0], OTHERS[1], owner="li")},
    groups={APP: group(APP), DB: group(DB), OTHERS[1]: group(OTHERS[1])},
    requested={Party(HOME, "i-gone"), A},
    complete_groups={APP, CACHE},
    listings={HOME: Listing({A.id, B.id, "i-gone"}, {DB.id: 3}, tagged=True)},
    counted={FAR: 7, DB: 8},
    failed_accounts={"3": "timeout"},
    **REFUSED,
)


def test_what_was_read_of_an_account() -> None:
    """Instances that a listing showed count, and so do those that it did not."""
    snapshot = msgspec.structs.replace(SEEN, listings={HOME: Listing({B.id}), PEER: Listing({"i-x", "i-y"})})
    assert [SEEN.readable(account) for account in (HOME, PEER, "3")] == [True, False, False]
    assert [SEEN.instances_in(account) for account in (HOME, PEER, "3")] == [3, 1, 0]
    assert [snapshot.instances_in(account) for account in (HOME, PEER)] == [2, 2]
    assert [SEEN.shows_tags(account) for account in (HOME, PEER, "3")] == [True, True, False]
    assert [snapshot.shows_tags(account) for account in (HOME, PEER)] == [False, True]


def test_what_was_read_of_a_party() -> None:
    """An instance that was listed and not kept exists, though nothing more is known of it. One that was asked for
    alone, and not shown, does not."""
    unread = Party(HOME, "sg-x"), Party(HOME, "i-x"), Party(PEER, B.id)
    parties = (A, B, Party(HOME, "i-gone"), APP, CACHE, DB, *OTHERS, FAR, *unread)
    assert [party for party in parties if SEEN.set_aside(party)] == [B]
    assert [party for party in parties if SEEN.shows_members(party)] == [A, B, APP, CACHE, DB, *OTHERS]
    assert {party: SEEN.groups_with(party) for party in parties if SEEN.groups_with(party)} == {
        A: [APP],  # of its two groups one was read
        APP: [APP],
        DB: [DB],
        OTHERS[0]: [OTHERS[1]],
        OTHERS[1]: [OTHERS[1]],
    }
    assert dict(SEEN.members) == {APP: (A,), CACHE: (A,), OTHERS[1]: (OTHERS[0],)}
    snapshot = Snapshot(instances={B: instance(B, APP), A: instance(A, APP)})
    assert snapshot.members[APP] == (A, B)


def test_instances_of_a_group_are_counted_where_they_were_read_listed_or_counted_alone() -> None:
    """None where they were not. A complete listing wins over a count that may have stopped."""
    groups = (APP, CACHE, DB, Party(HOME, "sg-x"), FAR, OTHERS[1])
    assert [SEEN.member_count(group) for group in groups] == [1, 1, 3, 0, 7, None]
    read = Snapshot(instances={A: instance(A, APP), B: instance(B, DB)}, complete_groups={APP, CACHE})
    assert [read.member_count(party) for party in (APP, CACHE, DB)] == [1, 0, None]
