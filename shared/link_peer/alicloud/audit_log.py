"""Writes the audit log to SLS, through aliyun-log-python-sdk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from link_peer.alicloud import leave_out
from link_peer.alicloud.log_group import LogGroup
from link_peer.domain.errors import KeysExpired, Transient, token_expired
from link_peer.runtime.clock import Clock
from link_peer.runtime.ports import Record
from link_peer.runtime.settings import Settings

WRITE_BYTES, WRITE_RECORDS = 3_000_000, 4_000
"""Limits of one call, well below the 10 MB of the API [doc PutLogs]: field names and encoding add to the size."""


class SlsAuditLog:
    """The `AuditLog` port over SLS. The constructor raises Transient if the settings name no logstore."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        if not settings.audit_project or not settings.audit_logstore:
            raise Transient("LINK_PEER_AUDIT_PROJECT and LINK_PEER_AUDIT_LOGSTORE are not set: nothing can be changed")
        self._project = settings.audit_project
        self._logstore = settings.audit_logstore
        self._settings = settings
        self._clock = clock
        self._written = 0

    def write(self, records: Sequence[Record]) -> None:
        """Returns once SLS has accepted every record. Raises Transient when it may not have."""
        sls = leave_out.imported("link_peer.alicloud.sls")
        log = sls.client(self._settings)
        for part in in_parts(records):
            now = self._clock.now()
            second, fraction = int(now), int(now % 1 * 1e9)
            try:
                group = LogGroup("link-peer", self._settings.region)
                for record in part:
                    self._written += 1  # nanoseconds that keep simultaneous records in order
                    group.add(second, fraction + self._written, record)
                log.put_log_raw(self._project, self._logstore, group)
            except Exception as error:
                if missing := leave_out.named_in(error):
                    raise missing from error
                answer = error if isinstance(error, sls.AuditUnavailable) else None
                code, request_id = (answer.code, answer.request_id) if answer else (type(error).__name__, "")
                if token_expired(code):
                    expired = KeysExpired(f"the audit log cannot be written: {code}")
                    raise expired.of("sls", code, request_id) from error
                from link_peer.alicloud.sdk import unanswered  # only an error needs it: not at a cold start

                problem = unanswered(error.__cause__ or error) or code
                unwritten = Transient(f"the audit log cannot be written: {problem}")
                raise unwritten.of("sls", code if answer else "", request_id) from error


def in_parts(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Splits records into parts, each small enough for one call."""
    part: list[Record] = []
    size = 0
    for record in records:
        weight = sum(len(name) + len(value.encode()) for name, value in record.items())
        if part and (size + weight > WRITE_BYTES or len(part) == WRITE_RECORDS):
            yield part
            part, size = [], 0
        part.append(record)
        size += weight
    if part:
        yield part
