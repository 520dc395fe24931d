"""What must be looked at again: something that the cloud does not show yet, or a transient error."""

from __future__ import annotations

import msgspec

from link_peer.domain.model import Party

LOOK_AGAIN_SECONDS = 3600  # until when a look after a transient error is repeated


class Later(msgspec.Struct, frozen=True):
    """A party to look at again until `expires_at` (epoch seconds), and why."""

    party: Party
    why: str
    expires_at: float
