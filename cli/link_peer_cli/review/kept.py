"""Where the records and messages of a dry run go."""

from __future__ import annotations

from collections.abc import Sequence

from link_peer.domain.errors import LinkPeerError
from link_peer.domain.request import Message
from link_peer.runtime.ports import AuditLog, Record


class Kept:
    """An `AuditLog` that keeps the records, and writes them to a log if it is put over one; a `Queue` that keeps the
    messages. `posted` are those that would be delivered at once; one with a delay waits for something that a dry run cannot
    wait for, so it is dropped."""

    def __init__(self) -> None:
        self._log: AuditLog | None = None
        self.records: list[Record] = []
        self.posted: list[Message] = []
        self.trouble: LinkPeerError | None = None  # why the log did not take the last records

    def over(self, log: AuditLog) -> AuditLog:
        """Write to `log` from now on, too."""
        self._log = log
        return self

    def write(self, records: Sequence[Record]) -> None:
        """Keep records, after the log has them."""
        if self._log is not None:
            try:
                self._log.write(records)
            except LinkPeerError as error:
                self.trouble = error
                raise
            self.trouble = None
        self.records += records

    def post(self, message: Message, *, queue: str = "", delay: int = 0) -> None:  # noqa: ARG002  # the Queue port
        """Keep a message."""
        if not delay:
            self.posted.append(message)

    @property
    def outcomes(self) -> list[Record]:
        """The records that are outcomes."""
        return [record for record in self.records if record["record"] == "outcome"]
