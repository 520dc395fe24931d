"""The audit log, read through the SLS SDK. The functions only write it; the commands read it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
from link_peer.alicloud.sls import AuditUnavailable, client
from link_peer.alicloud.unanswered import unanswered
from link_peer.domain.errors import LinkPeerError, Transient
from link_peer.runtime.clock import Clock
from link_peer.runtime.ports import Record
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials, Settings

PAGE = 100  # [doc GetLogs: at most 100 lines per response]
POLL_SECONDS = 0.2
SKEW_SECONDS = 60  # the time of a record may be a little ahead of our clock


class AuditReader:
    """The audit logstore named in the settings. Raises LinkPeerError if the settings name none.

    `keys` gives the keys of each read, where those of the settings may expire before the last one.
    """

    def __init__(self, settings: Settings, clock: Clock, keys: Callable[[], Credentials] | None = None) -> None:
        if not settings.audit_project or not settings.audit_logstore:
            raise LinkPeerError("set LINK_PEER_AUDIT_PROJECT and LINK_PEER_AUDIT_LOGSTORE")
        self._settings = settings
        self._keys = keys or (lambda: settings.credentials)
        self._clock = clock
        self._place = (settings.audit_project, settings.audit_logstore)

    def _ask(self, ask: Callable[[Any], Any]) -> Any:
        """Ask SLS, through its client. Raises LinkPeerError if it refuses, Transient if a later call may succeed."""
        # where the log is read: the SDK takes longer to import than all of ours
        from aliyun.log import LogException

        try:
            return ask(client(msgspec.structs.replace(self._settings, credentials=self._keys())))
        except (AuditUnavailable, LogException) as error:
            raise read_error(error) from error

    def indexed_fields(self) -> set[str]:
        """Return the fields that the logstore's index covers. Raises LinkPeerError if it has none, or cannot be read."""
        index = self._ask(lambda sls: sls.get_index_config(*self._place).get_index_config())
        return set(index.key_config_list or {})

    def read(self, query: str = "*", since: float = 0) -> list[Record]:
        """Return the records that match, in order, retrying failed reads.

        `since` is in epoch seconds. Raises LinkPeerError if the log cannot be read.
        """
        retry = Retry(self._clock, math.inf)
        return retry(lambda: self.read_once(query, since))

    def read_once(self, query: str, since: float) -> list[Record]:
        """Like `read`, without retries, for callers that poll. Raises Transient if a later read may succeed."""
        until = int(max(self._clock.now(), since)) + SKEW_SECONDS
        found: list[Record] = []

        def next_page(sls: Any) -> Any:
            return sls.get_log(
                *self._place, int(since), until, query=query, size=PAGE, offset=len(found), reverse=False
            )

        while True:
            page = [_record(log) for log in self._ask(next_page).get_logs()]
            found += page
            if len(page) < PAGE:
                return found

    def wait(
        self, query: str, done: Callable[[list[Record]], bool], since: float, seconds: float, poll: float = POLL_SECONDS
    ) -> list[Record]:
        """Poll until `done` accepts the records of a query, and return them.

        Raises Transient after `seconds`, with the last failed read if there was one.
        """
        deadline = self._clock.now() + seconds
        while True:
            trouble = ""
            try:
                found = self.read_once(query, since)
                if done(found):
                    return found
            except Transient as error:
                trouble = f": {error}"
            if self._clock.now() > deadline:
                raise Transient(f"no outcome in the audit log after {seconds:.0f} seconds{trouble}")
            self._clock.sleep(poll)


def read_error(error: Any) -> LinkPeerError:
    """Translate an SDK error: a 4xx is permanent, unless it is a rate limit; anything else is Transient."""
    answer = error.__cause__ or error  # the SDK's own error carries the HTTP status
    status, code = int(answer.get_resp_status() or 0), str(answer.get_error_code())
    if 400 <= status < 500 and status != 429 and not code.endswith("QuotaExceed"):
        return LinkPeerError(f"the audit log cannot be read: {error}")
    silent = unanswered(answer) or ("no response" if code == "LogRequestError" else code)
    return Transient(f"the audit log cannot be read now: {silent}")


def _record(log: Any) -> Record:
    return {name: value for name, value in log.get_contents().items() if not name.startswith("__")}
