"""What a snapshot can answer: whether enough was read to say that nobody asks for a link."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer.domain.model import Link
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_ports

from tests.unit.small_world import APP, DB, HOME, PEER, A, B

PORT = parse_ports("tcp/1")


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
    ],
)
def test_a_link_is_covered_once_all_that_could_ask_for_it_were_read(
    link: Link, read: dict[str, Any], covered: bool
) -> None:
    """And its target was asked for: whether it exists is known."""
    assert Snapshot(**read).covers(link) is covered
