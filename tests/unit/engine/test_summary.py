"""What the summary of a sweep says that it did not look at."""

from __future__ import annotations

from link_peer.domain.errors import NoAccess
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.scopes.summary import skipped

from tests.unit.small_world import HOME, PEER

EMPTY = "shows no instances, so nothing there is treated as gone"


def test_an_account_that_could_not_be_read_is_not_said_to_be_empty() -> None:
    """It shows no instances because nothing of it was read."""
    snapshot = Snapshot(failed_accounts={"3": "timeout"}, refused_accounts={PEER: NoAccess("Forbidden.RAM", "no")})
    assert skipped(snapshot, ["3", PEER, HOME], {}, 0, {}) == {
        "3": "3: timeout",
        PEER: f"{PEER}: no access (Forbidden.RAM)",
        HOME: f"{HOME}: {EMPTY}",
    }
