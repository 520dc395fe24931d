"""Reading the audit log back, through the SLS SDK. The functions only write it; people read it here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from link_peer.domain.errors import LinkPeerError, Transient
from link_peer.runtime.clock import Clock
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Settings

PAGE = 100  # [doc GetLogs: at most 100 lines an answer]
POLL_SECONDS = 0.2
SKEW_SECONDS = 60  # a log may carry a time that is a little ahead of ours

Record = dict[str, str]


class AuditLog:
    """The audit logstore of the settings."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        from link_peer.alicloud.sls import client

        if not settings.audit_project or not settings.audit_logstore:
            raise LinkPeerError("set LINK_PEER_AUDIT_PROJECT and LINK_PEER_AUDIT_LOGSTORE")
        self._client: Any = client(settings)
        self._clock = clock
        self._place = (settings.audit_project, settings.audit_logstore)

    def read(self, query: str = "*", since: float = 0) -> list[Record]:
        """Records in their order. `since` is in epoch seconds. Raises LinkPeerError if the log cannot be read."""
        retry = Retry(self._clock, math.inf)
        return retry(lambda: self.read_once(query, since))

    def read_once(self, query: str, since: float) -> list[Record]:
        """The same, for who asks again anyway. Raises Transient where another try may succeed."""
        from aliyun.log import LogException
        from link_peer.alicloud.sls import AuditUnavailable

        until = int(max(self._clock.now(), since)) + SKEW_SECONDS
        found: list[Record] = []
        while True:
            try:
                answer = self._client.get_log(
                    *self._place, int(since), until, query=query, size=PAGE, offset=len(found), reverse=False
                )
            except (AuditUnavailable, LogException) as error:
                raise meaning(error) from error
            page = [_record(log) for log in answer.get_logs()]
            found += page
            if len(page) < PAGE:
                return found

    def wait(
        self, query: str, done: Callable[[list[Record]], bool], since: float, seconds: float, poll: float = POLL_SECONDS
    ) -> list[Record]:
        """The records of a query, once `done` says that they are all there. Raises Transient when the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            trouble = ""
            try:
                found = self.read_once(query, since)
                if done(found):
                    return found
            except Transient as error:
                trouble = f": {error}"
            if time.monotonic() > deadline:
                raise Transient(f"no outcome in the audit log after {seconds:.0f} seconds{trouble}")
            time.sleep(poll)


def meaning(error: Any) -> LinkPeerError:
    """What a failed read means: a 4xx comes again, unless it says "not so fast"; the rest passes."""
    answer = error.__cause__ or error  # the SDK's own error knows the status
    status, code = int(answer.get_resp_status() or 0), str(answer.get_error_code())
    if 400 <= status < 500 and status != 429 and not code.endswith("QuotaExceed"):
        return LinkPeerError(f"the audit log cannot be read: {error}")
    return Transient(f"the audit log cannot be read now: {'no answer' if code == 'LogRequestError' else code}")


def condition(fields: Mapping[str, str]) -> str:
    """A query for records in which every field has its value; `*` when there are none."""
    terms = [f'{name}: "{_escaped(value)}"' for name, value in fields.items() if value]
    return " and ".join(terms) or "*"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _record(log: Any) -> Record:
    return {name: value for name, value in log.get_contents().items() if not name.startswith("__")}
