"""The audit log, read through the SLS SDK: queries, reading, and following new records. The functions only write it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from link_peer.alicloud.sdk import unanswered
from link_peer.domain.errors import BadInput, LinkPeerError, Transient
from link_peer.domain.tags import iso, iso_millis, parse_instant, parse_who, quoted
from link_peer.runtime.clock import Clock
from link_peer.runtime.ports import Record
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials, Settings

from link_peer_cli.audit.received import received_groups

RECEIVED = "__tag__:__receive_time__"
"""In epoch seconds, where the logstore records them (appendMeta) [doc Reserved fields]."""
PAGE = 100  # [doc GetLogs: at most 100 lines per response]
POLL_SECONDS = 0.2
BATCH = 20  # values in one query; it would grow too long otherwise
THREADS = 8  # queries at a time [doc Query limits: at most 100 concurrent ones in a project]
KEPT_SECONDS = 366 * 86_400.0  # how far back it is asked for what has no date of its own
PROPOSED = "tighten-"  # what the id of a request begins with that asks for a link which `tighten` proposed
SKEW_SECONDS = 60  # the time of a record may be a little ahead of our clock


def sdk() -> Any:
    """Our part of the SDK of SLS."""
    from link_peer.alicloud import sls  # an SDK: when it is asked, since help needs none

    return sls


class AuditReader:
    """The audit logstores named in the settings, of the functions and of people's commands, as one log: each record says with
    `logstore` which it is from. Raises LinkPeerError if the settings name none.

    `keys` gives the keys of each read, where those of the settings may expire before the last one.
    """

    def __init__(self, settings: Settings, clock: Clock, keys: Callable[[], Credentials] | None = None) -> None:
        if not settings.audit_project or not settings.audit_logstore:
            raise LinkPeerError("set LINK_PEER_AUDIT_PROJECT and LINK_PEER_AUDIT_LOGSTORE")
        self._settings = settings
        self._keys = keys or (lambda: settings.credentials)
        self._clock = clock
        self.project = settings.audit_project
        self._stores = (settings.audit_logstore, settings.operator_logstore)

    def ask(self, ask: Callable[[Any], Any]) -> Any:
        """Ask SLS, through its client. Raises LinkPeerError if it refuses, Transient if a later call may succeed."""
        sls = sdk()
        try:
            return ask(sls.client(msgspec.structs.replace(self._settings, credentials=self._keys())))
        except (sls.AuditUnavailable, sls.LogException) as error:
            raise read_error(error) from error

    def indexed_fields(self) -> set[str]:
        """Return the fields that the logstore's index covers. Raises LinkPeerError if it has none, or cannot be read."""
        place = (self._settings.audit_project, self._settings.audit_logstore)
        index = self.ask(lambda sls: sls.get_index_config(*place).get_index_config())
        return set(index.key_config_list or {})

    def read(self, query: str = "*", since: float = 0, until: float | None = None) -> list[Record]:
        """Return the records that match, in order, retrying failed reads.

        `since` and `until` are in epoch seconds. Raises LinkPeerError if the log cannot be read.
        """
        retry = Retry(self._clock, math.inf)
        return retry(lambda: self.read_once(query, since, until))

    def received_since(self, since: float) -> list[Record]:
        """The records that SLS received from an instant on (epoch seconds), in order of that time, which each has in `received`: the
        server's, whatever the writer sent. Retries failed reads. Raises LinkPeerError if the log cannot be read."""
        retry = Retry(self._clock, math.inf)
        self._keys()
        sdk()
        now = self._clock.now()
        shards = [_Shard(self, store, number, retry) for store in self._stores for number in self._shards(store, retry)]
        with ThreadPoolExecutor(THREADS) as pool:
            parts = list(pool.map(lambda shard: list(shard.records(since, now)), shards))
        return sorted(itertools.chain(*parts), key=lambda record: record["received"])

    def _shards(self, store: str, retry: Retry) -> list[int]:
        body = retry(lambda: self.ask(lambda sls: sls.list_shards(self.project, store)))
        return [int(shard["shardID"]) for shard in body.get_shards_info()]

    def read_any(self, query: str, field: str, values: Iterable[str], since: float) -> list[Record]:
        """As `read`, the records in which a field also has one of these values: queries for some of them each, side by side."""
        terms = [condition({field: value}) for value in sorted(values)]
        queries = [f"{query} and ({' or '.join(terms[at : at + BATCH])})" for at in range(0, len(terms), BATCH)]
        self._keys()  # so that the threads find a session, and none begins another
        sdk()  # nor imports it: see late_parts
        with ThreadPoolExecutor(THREADS) as pool:
            parts = list(pool.map(lambda query: self.read(query, since), queries))
        return sorted(itertools.chain(*parts), key=lambda record: record.get("time", ""))

    def read_once(self, query: str, since: float, until: float | None = None) -> list[Record]:
        """Like `read`, without retries, for callers that poll. Raises Transient if a later read may succeed."""
        end = int(max(self._clock.now(), since)) + SKEW_SECONDS if until is None else int(until) + 1
        records = [record for store in self._stores for record in self._whole(store, query, int(since), end)]
        if until is not None:  # SLS reads whole seconds
            records = [record for record in records if record.get("time", "") <= iso_millis(until)]
        return sorted(records, key=lambda record: record.get("time", ""))

    def begins(self) -> str:
        """The time of the first record, as RFC 3339; empty if there is none. Raises LinkPeerError if the log cannot be read."""
        span = (0, int(self._clock.now()) + SKEW_SECONDS)
        return min(
            (record.get("time", "") for store in self._stores for record in self._page(store, "*", span, 0, 1)),
            default="",
        )

    def _whole(self, store: str, query: str, since: int, until: int) -> list[Record]:
        """The records of one logstore."""
        records: list[Record] = []
        while True:
            page = self._page(store, query, (since, until), len(records))
            records += page
            if len(page) < PAGE:
                return records

    def _page(self, store: str, query: str, span: tuple[int, int], offset: int, size: int = PAGE) -> list[Record]:
        """Some records of one logstore, the oldest first."""
        place = (self._settings.audit_project, store, *span)
        body = self.ask(lambda sls: sls.get_log(*place, query=query, size=size, offset=offset, reverse=False))
        return [_record(log.get_contents(), store) for log in body.get_logs()]

    def wait(
        self,
        query: str,
        is_complete: Callable[[list[Record]], bool],
        since: float,
        seconds: float,
        poll: float = POLL_SECONDS,
    ) -> list[Record]:
        """Poll until `is_complete` accepts the records of a query, and return them.

        Raises Transient after `seconds`, with the last failed read if there was one.
        """
        deadline = self._clock.now() + seconds
        while True:
            trouble = ""
            try:
                records = self.read_once(query, since)
                if is_complete(records):
                    return records
            except Transient as error:
                trouble = f": {error}"
            if self._clock.now() > deadline:
                raise Transient(f"no outcome in the audit log after {seconds:.0f} seconds{trouble}")
            self._clock.sleep(poll)


class _Shard(msgspec.Struct, frozen=True):
    """One shard of a logstore, for `received_groups`."""

    log: AuditReader
    store: str
    number: int
    retry: Retry

    def records(self, since: float, now: float) -> Iterator[Record]:
        """Its records from an instant on."""
        for moment, group in received_groups(self, since, now):
            for log in group.Logs:
                contents = {content.Key: content.Value for content in log.Contents}
                yield _record({**contents, RECEIVED: str(moment)}, self.store)

    def cursor(self, moment: str) -> str:
        """As `Shard` says."""
        return str(self._ask("get_cursor", moment).get_cursor())

    def received_at(self, cursor: str) -> int:
        """As `Shard` says."""
        return int(self._ask("get_cursor_time", cursor).get_cursor_time())

    def groups(self, cursor: str, count: int, end: str) -> tuple[list[Any], str]:
        """As `Shard` says."""
        body = self._ask("pull_logs", cursor, count, end)
        return list(body.get_loggroup_list().LogGroups), str(body.get_next_cursor())

    def _ask(self, operation: str, *arguments: object) -> Any:
        place = (self.log.project, self.store, self.number)
        return self.retry(lambda: self.log.ask(lambda sls: getattr(sls, operation)(*place, *arguments)))


def read_error(error: Any) -> LinkPeerError:
    """Translate an SDK error: a 4xx is permanent, unless it is a rate limit; anything else is Transient."""
    answer = error.__cause__ or error  # the SDK's own error carries the HTTP status
    status, code = int(answer.get_resp_status() or 0), str(answer.get_error_code())
    if 400 <= status < 500 and status != 429 and not code.endswith("QuotaExceed"):
        refused = LinkPeerError(f"the audit log cannot be read: {error}")
        return refused.of("sls", code, answer.get_request_id() or "")
    silent = unanswered(answer) or ("no response" if code == "LogRequestError" else code)
    return Transient(f"the audit log cannot be read now: {silent}")


def _record(contents: Mapping[str, object], store: str) -> Record:
    """A record as it was written, with where, and when SLS received it, if SLS says so: a query may give what its writer sent for
    that, `received_since` does not."""
    received = str(contents.get(RECEIVED, ""))
    fields = {name: str(value) for name, value in contents.items() if not name.startswith("__") and name != "received"}
    return {**fields, "logstore": store, **({"received": iso(int(received))} if received.isdecimal() else {})}


def condition(fields: Mapping[str, str]) -> str:
    """Return a query for records in which every field has its value. Empty values are skipped; `*` if none is left."""
    terms = [f'{name}: "{_escaped(value)}"' for name, value in fields.items() if value]
    return " and ".join(terms) or "*"


def when(record: Record) -> float:
    """When SLS received a record; where SLS does not say, what the record says. Raises BadInput for no instant."""
    return parse_instant(record.get("received") or record.get("time", ""))


def party_condition(text: str, field: str) -> str:
    """Return a query for records with this party on either side.

    `text` is `sg-…` or `i-…` in any account, the same with `@<uid>`, or `*@<uid>` for a whole account. Raises BadInput
    that names `field`.
    """
    try:
        party = parse_who(text, "")
    except BadInput:
        party = None
    if party is None or text == "*":
        raise BadInput(
            field,
            f"{quoted(text)} is not sg-… or i-…, optionally with @<account uid or name>, nor *@<account uid or name>",
        )
    name = "" if party.id == "*" else party.id
    sides = [condition({side: name, f"{side}_account": party.account}) for side in ("from", "to")]
    sides += [] if name else [condition({"account": party.account})]  # what its sweep did
    return f"({' or '.join(sides)})"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


FOLLOW_SECONDS = 1.0
LATE_SECONDS = 120  # a record may become searchable this long after its time
LONGEST_WAIT = 30.0  # seconds between reads while the log cannot be read; the wait doubles up to this


def follow(
    log: AuditReader, clock: Clock, query: str, start: float, on_trouble: Callable[[Transient, float], None]
) -> Iterator[list[Record]]:
    """Yield new records after every read, forever, each record once. A yielded list may be empty.

    `start` is in epoch seconds. When a read fails, `on_trouble` gets the error and the seconds until the next read; the
    next successful read also returns the records of the outage. Raises LinkPeerError if no later read can succeed.
    """
    yielded: set[str] = set()
    wait = FOLLOW_SECONDS
    while True:
        read_at = clock.now()
        try:
            records = log.read_once(query, start)
        except Transient as error:
            wait = min(wait * 2, LONGEST_WAIT)
            on_trouble(error, wait)
        else:
            wait = FOLLOW_SECONDS
            yield [record for record in records if json.dumps(record) not in yielded]
            yielded = {json.dumps(record) for record in records}
            start = max(start, read_at - LATE_SECONDS)
        clock.sleep(wait)
