"""Audit records: one flat record per decision, durable before anything changes.

The functions write the audit log and never read it; what they know of the past is on the rules.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence

from link_peer.domain.errors import Transient
from link_peer.domain.model import short_hash
from link_peer.domain.record_fields import DECISION_FIELDS, SCHEMA
from link_peer.domain.tags import FIELD_LIMIT, clean, iso_millis
from link_peer.runtime.ports import AuditLog, Record
from link_peer.runtime.retry import Retry


class AuditWriter:
    """Writes the records of one delivery, and counts its outcomes. `common` is what all of its records share."""

    def __init__(
        self, log: AuditLog, common: Mapping[str, str], retry: Retry, events: Mapping[str, Record] | None = None
    ) -> None:
        """`events` gives the fields of each instance's event (`i-…@<uid>`), where one delivery has several."""
        self._log = log
        self._common = dict(common)
        self._retry = retry
        self._events = events or {}
        self.outcomes: Counter[str] = Counter()
        self.last: Record | None = None  # the last outcome

    def write(self, records: Sequence[Record]) -> None:
        """Writes the records, if there are any, with retries: what was done cannot be recorded later. Raises
        Transient."""
        if records:
            complete = [self._complete(record) for record in records]
            self._retry(lambda: self._log.write(complete))
            for record in records:
                if record["record"] == "outcome":
                    self.outcomes[record["outcome"]] += 1
                    self.last = record

    def attempt(self, trouble: str, fields: Record) -> bool:
        """Writes an `attempt` record of trouble for which the work must be done again. Returns whether the log took
        it."""
        return self.attempts([(trouble, fields)])

    def attempts(self, troubles: Sequence[tuple[str, Record]]) -> bool:
        """Writes an `attempt` record for each trouble, in one call."""
        with contextlib.suppress(Transient):
            self.write([{"record": "attempt", **fields, "detail": trouble} for trouble, fields in troubles])
            return True
        return False

    def _complete(self, record: Record) -> Record:
        fields = {} if record["record"] in ("summary", "observed") else DECISION_FIELDS
        filled = {name: value for name, value in record.items() if value != ""}
        whole = {"time": iso_millis(self._retry.clock.now()), "schema": SCHEMA, **fields, **self._common, **filled}
        whole |= self._events.get(whole.get("instance", ""), {})
        # `rules` is ours alone, and JSON: it would not be JSON any more if it were cut.
        cut = {name: clean(value, None if name == "rules" else FIELD_LIMIT) for name, value in whole.items()}
        # Equal copies of one write, of which only the first got its answer through, are one record.
        return {**cut, "key": short_hash(json.dumps(cut, sort_keys=True))}
