"""What an event says: which instance to look at, and why. A hint, never a fact."""

from __future__ import annotations

import msgspec


class Hint(msgspec.Struct, frozen=True):
    """An instance to look at. `account` and `time` (epoch seconds) are None where the event does not give them. `kind` is
    `state` or `tags`; `state` is the instance's new state."""

    event_id: str
    source: str
    instance: str
    account: str | None
    region: str
    time: float | None
    kind: str
    state: str = ""

    @property
    def shrinks(self) -> bool:
        """Whether fewer links may be wanted than before: a tag may have been removed, or the instance released."""
        return self.kind == "tags" or self.state == "Deleted"
