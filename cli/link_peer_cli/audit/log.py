"""The audit log, read through the SLS SDK: queries, reading, and following new records. The functions only write it."""

from __future__ import annotations

import functools
import heapq
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import msgspec
from link_peer.alicloud.sdk import unanswered
from link_peer.domain.errors import BadInput, LinkPeerError, Transient
from link_peer.domain.tags import iso, iso_millis, parse_instant, parse_who, quoted
from link_peer.runtime.clock import Clock
from link_peer.runtime.ports import Record
from link_peer.runtime.retry import MINUTE, Retry
from link_peer.runtime.settings import Credentials, Settings

from link_peer_cli.audit.received import received_groups

RECEIVED = "__tag__:__receive_time__"
"""In epoch seconds, where the logstore records them (appendMeta) [doc Reserved fields]."""
T = TypeVar("T")
PAGE = 100  # [doc GetLogs: at most 100 lines per response]
POLL_SECONDS = 0.2
BATCH = 20  # values in one query; it would grow too long otherwise
THREADS = 8  # queries at a time [doc Query limits: at most 100 concurrent ones in a project]
KEPT_SECONDS = 366 * 86_400.0  # how far back it is asked for what has no date of its own
PROPOSED = "tighten-"  # what the id of a request begins with that asks for a link which `tighten` proposed
SKEW_SECONDS = 60  # the time of a record may be a little ahead of our clock


class _Retry(Protocol):
    """Makes a call, again where it fails for the moment and that is asked for."""

    def __call__(self, call: Callable[[], T], /) -> T: ...


def sdk() -> Any:
    """Our part of the SDK of SLS."""
    from link_peer.alicloud import sls  # an SDK: when it is asked, since help needs none

    return sls


class AuditReader:
    """The audit logstores named in the settings, of the functions and of people's commands, as one log: each record
    says with `logstore` which it is from. Raises LinkPeerError if the settings name none.

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
        """Return the fields that the logstore's index covers. Raises LinkPeerError if it has none, or cannot be
        read."""
        place = (self._settings.audit_project, self._settings.audit_logstore)
        index = self.ask(lambda sls: sls.get_index_config(*place).get_index_config())
        return set(index.key_config_list or {})

    def read(self, query: str = "*", since: float = 0, until: float | None = None) -> list[Record]:
        """Return the records that match, in order, retrying failed reads.

        `since` and `until` are in epoch seconds. Raises LinkPeerError if the log cannot be read.
        """
        return _in_order(itertools.chain(*self.stream(query, since, until)))

    def stream(self, query: str = "*", since: float = 0, until: float | None = None) -> Iterator[list[Record]]:
        """Yield the records that `read` returns, the oldest first, as they are read: a log of any length takes little
        memory."""
        retry = Retry(self._clock, math.inf)
        return self._stream(query, since, until, retry)

    def newest(
        self,
        query: str,
        since: float,
        until: float | None,
        count: int,
        is_enough: Callable[[list[Record]], bool] = lambda _records: True,
        is_asked_for: Callable[[Record], bool] = lambda _record: True,
    ) -> tuple[list[Record], bool]:
        """Return the newest of the records that `read` returns and that are asked for, in order, and whether these are
        all: it reads back in time until there are `count` of them and `is_enough`. Some more may be returned."""
        span, retry = self._span(since, until), Retry(self._clock, math.inf)
        pages = {store: self._pages(store, query, span, retry, reverse=True) for store in self._stores}
        read_down_to = dict.fromkeys(self._stores, math.inf)
        logs: dict[str, list[tuple[float, Record]]] = {store: [] for store in self._stores}
        while True:
            store = max(read_down_to, key=read_down_to.__getitem__)
            complete_since = read_down_to[store]
            if sum(map(len, logs.values())) >= count or complete_since == -math.inf:
                oldest_first = itertools.chain(*(reversed(logs[store]) for store in self._stores))
                records = _in_order(record for moment, record in oldest_first if moment >= complete_since)
                if complete_since == -math.inf or (len(records) >= count and is_enough(records)):
                    return records, complete_since == -math.inf
            page = next(pages[store])
            read_down_to[store] = page.bound
            logs[store] += [log for log in page.logs if _is_until(log[1], until) and is_asked_for(log[1])]

    def received_since(self, since: float) -> list[Record]:
        """The records that SLS received from an instant on (epoch seconds), in order of that time, which each has in
        `received`: the server's, whatever the writer sent. Retries failed reads. Raises LinkPeerError if the log cannot
        be read."""
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
        """As `read`, the records in which a field also has one of these values: queries for some of them each, side by
        side."""
        terms = [condition({field: value}) for value in sorted(values)]
        queries = [f"{query} and ({' or '.join(terms[at : at + BATCH])})" for at in range(0, len(terms), BATCH)]
        self._keys()  # so that the threads find a session, and none begins another
        sdk()  # nor imports it: see late_parts
        with ThreadPoolExecutor(THREADS) as pool:
            parts = list(pool.map(lambda query: self.read(query, since), queries))
        return _in_order(itertools.chain(*parts))

    def read_once(self, query: str, since: float, until: float | None = None) -> list[Record]:
        """Like `read`, without retries, for callers that poll. Raises Transient if a later read may succeed."""
        return _in_order(itertools.chain(*self._stream(query, since, until, lambda ask: ask())))

    def _span(self, since: float, until: float | None) -> tuple[int, int]:
        """Whole seconds, as SLS takes them."""
        end = int(max(self._clock.now(), since)) + SKEW_SECONDS if until is None else int(until) + 1
        return int(since), end

    def _stream(self, query: str, since: float, until: float | None, retry: _Retry) -> Iterator[list[Record]]:
        span = self._span(since, until)
        logstores = [self._records(store, query, span, retry) for store in self._stores]
        records = (record for record in heapq.merge(*logstores, key=_time) if _is_until(record, until))
        while part := list(itertools.islice(records, PAGE)):
            yield part

    def begins(self) -> str:
        """The time of the first record, as RFC 3339; empty if there is none. Raises LinkPeerError if the log cannot be
        read."""
        span = (0, int(self._clock.now()) + SKEW_SECONDS)
        return min(
            (_time(record) for store in self._stores for _, record in self._page(store, "*", span, 0, 1).logs),
            default="",
        )

    def _records(self, store: str, query: str, span: tuple[int, int], retry: _Retry) -> Iterator[Record]:
        """The records of one logstore, the oldest first."""
        for page in self._pages(store, query, span, retry):
            yield from (record for _, record in page.logs)

    def _pages(
        self, store: str, query: str, span: tuple[int, int], retry: _Retry, *, reverse: bool = False
    ) -> Iterator[_Page]:
        """All pages of one logstore, the oldest logs first or, in `reverse`, the newest: there a log that arrives
        meanwhile moves others to the next page, which are not returned twice."""
        previous: list[tuple[float, Record]] = []
        for offset in itertools.count(0, PAGE):
            page = retry(functools.partial(self._page, store, query, span, offset, PAGE, reverse=reverse))
            repeated = {str(log) for log in previous} if reverse else ()
            yield msgspec.structs.replace(page, logs=[log for log in page.logs if str(log) not in repeated])
            if page.bound == -math.inf:
                return
            previous = page.logs

    def _page(
        self, store: str, query: str, span: tuple[int, int], offset: int, size: int = PAGE, *, reverse: bool = False
    ) -> _Page:
        """Some records of one logstore. Raises Transient for an answer that SLS calls incomplete; the SDK has asked
        five times then."""
        place = (self._settings.audit_project, store, *span)
        body = self.ask(lambda sls: sls.get_log(*place, query=query, size=size, offset=offset, reverse=reverse))
        if not body.is_completed():
            raise Transient("the audit log cannot be read now: its answer is incomplete")
        logs = [(float(log.get_time()), _record(log.get_contents(), store)) for log in body.get_logs()]
        if len(logs) < size:
            return _Page(logs, -math.inf)
        last = logs[-1][0]
        return _Page(logs, last if body.get_meta().get_is_accurate() else last - last % MINUTE + MINUTE)

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


class _Page(msgspec.Struct, frozen=True):
    """Logs of a page, each with its time (epoch seconds), and the `bound`: newest first, all logs from it on were read;
    -inf after the last page. Pages are in order of time to the nanosecond where SLS says so, else to the minute [doc
    GetLogs, reverse; GetLogsV2, isAccurate]."""

    logs: list[tuple[float, Record]]
    bound: float


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
    """A record as it was written, with where, and when SLS received it, if SLS says so: a query may give what its
    writer sent for that, `received_since` does not."""
    received = str(contents.get(RECEIVED, ""))
    fields = {name: str(value) for name, value in contents.items() if not name.startswith("__") and name != "received"}
    return {**fields, "logstore": store, **({"received": iso(int(received))} if received.isdecimal() else {})}


def _time(record: Record) -> str:
    return record.get("time", "")


def _in_order(records: Iterable[Record]) -> list[Record]:
    return sorted(records, key=_time)


def once(records: Iterable[Record]) -> list[Record]:
    """The copies of one write once: only when SLS received them differs. Not by `key`, which a writer chooses."""
    return list({frozenset({**record, "received": ""}.items()): record for record in records}.values())


def _is_until(record: Record, until: float | None) -> bool:
    """Whether a record is not of later than `until`: SLS reads whole seconds."""
    return until is None or _time(record) <= iso_millis(until)


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
