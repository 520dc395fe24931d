"""What an event, or a look, says: which party to look at, and why. A hint, never a fact."""

from __future__ import annotations

from typing import Literal

import msgspec

from link_peer.domain.model import Party


class Hint(msgspec.Struct, frozen=True):
    """A party of the home account to look at.

    `kind` is `state` (an instance's new `state`), `tags`, or `look` (asked for again). `time` is the event's, `expires` the
    end of a look (epoch seconds); None where the event does not give it.
    """

    event_id: str
    party: Party
    kind: Literal["state", "tags", "look"]
    time: float | None = None
    state: str = ""
    expires: float | None = None
