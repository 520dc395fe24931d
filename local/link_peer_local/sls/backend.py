"""State and rules of SLS: projects of accounts, their logstores, what was written and what a search finds."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from link_peer_local.core.clock import Clock
from link_peer_local.core.errors import ApiError
from link_peer_local.sls import analysis, documents
from link_peer_local.sls import index as indexes
from link_peer_local.sls.index import Index
from link_peer_local.sls.query import compile_query

_PROJECT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_LOGSTORE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,61}[a-z0-9]")
_FOREVER_DAYS = 3650
_OLDEST_SECONDS, _NEWEST_SECONDS = 7 * 86400, 15 * 60  # a log's time against the server's [doc PutLogs]
_HISTOGRAM_BARS = 60


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One log as written: `time` in whole seconds since the epoch."""

    time: int
    nanoseconds: int
    contents: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LogGroup:
    """One write: its records share topic, source and tags."""

    records: tuple[LogRecord, ...]
    topic: str = ""
    source: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredLog:
    """A log with what the search needs of it; `fields` includes __source__, __topic__ and __tag__:…"""

    order: tuple[int, int, int]  # time, nanoseconds, arrival
    fields: Mapping[str, str]
    index: Index | None  # the one in force when it was written
    received: float

    def rendered(self) -> dict[str, str]:
        """As GetLogs answers: every value a string."""
        shown = {"__time__": str(self.order[0]), **self.fields}
        if self.order[1]:
            shown["__time_ns_part__"] = str(self.order[1])
        return shown


@dataclass(frozen=True, slots=True)
class _Write:
    received: float
    group: LogGroup
    logs: tuple[StoredLog, ...]


@dataclass(slots=True)
class Logstore:
    name: str
    settings: dict[str, Any]
    created: int
    modified: int
    index: Index | None = None
    shards: list[list[_Write]] = field(default_factory=list)
    turn: Iterator[int] = field(default_factory=itertools.count)


@dataclass(slots=True)
class Project:
    name: str
    owner: str
    description: str
    created: float
    modified: float
    logstores: dict[str, Logstore] = field(default_factory=dict)
    dashboards: dict[str, dict[str, Any]] = field(default_factory=dict)  # as they were sent, by name
    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """What one search answers: a page of logs (with SQL: of its rows), and how many logs were looked at."""

    logs: list[dict[str, str]]
    processed: int
    sql: str = ""


class SlsBackend:
    """All projects of one region. Names are global; another account's project does not exist for the caller.

    `visible_after`: seconds until a written log can be found (the real service promises 3).
    """

    def __init__(self, clock: Clock, region: str) -> None:
        self._clock = clock
        self.region = region
        self.visible_after = 0.0
        self._projects: dict[str, Project] = {}
        self._arrivals = itertools.count()
        self._lock = threading.RLock()

    def now(self) -> float:
        return self._clock.now()

    # Projects

    def create_project(self, account: str, name: str, description: str = "") -> Project:
        if not _PROJECT_NAME.fullmatch(name):
            raise ApiError("ParameterInvalid", 400, f"project name {name} is invalid")
        with self._lock:
            if name in self._projects:
                raise ApiError("ProjectAlreadyExist", 400, f"Project {name} already exist.")
            now = self._clock.now()
            self._projects[name] = Project(name, account, description, now, now)
            return self._projects[name]

    def project(self, account: str, name: str) -> Project:
        with self._lock:
            project = self._projects.get(name)
            if project is None or project.owner != account:
                raise ApiError("ProjectNotExist", 404, f"The Project does not exist : {name}")
            return project

    def projects(self, account: str) -> list[Project]:
        with self._lock:
            return sorted((p for p in self._projects.values() if p.owner == account), key=lambda p: p.name)

    def update_project(self, account: str, name: str, description: str) -> None:
        with self._lock:
            project = self.project(account, name)
            project.description, project.modified = description, self._clock.now()

    def delete_project(self, account: str, name: str) -> None:
        with self._lock:
            del self._projects[self.project(account, name).name]

    # Logstores

    def create_logstore(
        self, account: str, project: str, name: str, ttl: Any = 30, shards: Any = 2, /, **settings: Any
    ) -> Logstore:
        if not _LOGSTORE_NAME.fullmatch(name):
            raise ApiError("ParameterInvalid", 400, f"logstore name {name} is invalid")
        if type(shards) is not int or not 1 <= shards <= 10:
            raise ApiError("ParameterInvalid", 400, "shardCount must be between 1 and 10")
        _check_ttl(ttl)
        with self._lock:
            owner = self.project(account, project)
            if name in owner.logstores:
                raise ApiError("LogStoreAlreadyExist", 400, f"logstore {name} already exists")
            now = int(self._clock.now())
            store = Logstore(name, {"ttl": ttl, **settings}, now, now, shards=[[] for _ in range(shards)])
            owner.logstores[name] = store
            return store

    def logstore(self, account: str, project: str, name: str) -> Logstore:
        with self._lock:
            store = self.project(account, project).logstores.get(name)
            if store is None:
                raise ApiError("LogStoreNotExist", 404, f"logstore {name} does not exist.")
            return store

    def update_logstore(self, account: str, project: str, name: str, /, **settings: Any) -> None:
        if "ttl" in settings:
            _check_ttl(settings["ttl"])
        with self._lock:
            store = self.logstore(account, project, name)
            store.settings.update(settings)
            store.modified = int(self._clock.now())

    def delete_logstore(self, account: str, project: str, name: str) -> None:
        with self._lock:
            self.logstore(account, project, name)
            del self.project(account, project).logstores[name]

    # Indexes

    def create_index(self, account: str, project: str, name: str, document: Any) -> None:
        """An index holds for logs written from now on; earlier ones stay unsearchable [doc "Create indexes"]."""
        with self._lock:
            store = self.logstore(account, project, name)
            if store.index is not None:
                raise ApiError("IndexAlreadyExist", 400, "log store index is already created")
            store.index = indexes.parse(document)

    def update_index(self, account: str, project: str, name: str, document: Any) -> None:
        with self._lock:
            self.index(account, project, name)
            self.logstore(account, project, name).index = indexes.parse(document)

    def index(self, account: str, project: str, name: str) -> Index:
        with self._lock:
            found = self.logstore(account, project, name).index
            if found is None:
                raise ApiError("IndexConfigNotExist", 400, "logstore without index config")
            return found

    def delete_index(self, account: str, project: str, name: str) -> None:
        with self._lock:
            self.index(account, project, name)
            self.logstore(account, project, name).index = None

    # Dashboards and alert rules: kept and given back; nobody draws or evaluates them here

    def create_dashboard(self, account: str, project: str, document: dict[str, Any]) -> None:
        name = documents.dashboard(document)
        with self._lock:
            there = self.project(account, project).dashboards
            if name in there:  # the service's own words [src the Java SDK's tests]
                raise ApiError("ParameterInvalid", 400, "specified dashboard already exists")
            there[name] = document

    def dashboard(self, account: str, project: str, name: str) -> dict[str, Any]:
        with self._lock:
            there = self.project(account, project).dashboards
            if name not in there:
                raise ApiError("DashboardNotExist", 404, "specified dashboard does not exist")
            return there[name]

    def update_dashboard(self, account: str, project: str, name: str, document: dict[str, Any]) -> None:
        documents.wanted(document, "charts", list)
        with self._lock:
            self.dashboard(account, project, name)
            self.project(account, project).dashboards[name] = {**document, "dashboardName": name}

    def delete_dashboard(self, account: str, project: str, name: str) -> None:
        with self._lock:
            self.dashboard(account, project, name)
            del self.project(account, project).dashboards[name]

    def create_alert(self, account: str, project: str, document: dict[str, Any]) -> None:
        name = documents.alert(document)
        with self._lock:
            there = self.project(account, project).alerts
            if name in there:
                raise ApiError("JobAlreadyExist", 400, f"The job {name} already exists")
            there[name] = document

    def alert(self, account: str, project: str, name: str) -> dict[str, Any]:
        with self._lock:
            there = self.project(account, project).alerts
            if name not in there:
                raise ApiError("JobNotExist", 404, f"The job {name} does not exist")
            return there[name]

    def update_alert(self, account: str, project: str, name: str, document: dict[str, Any]) -> None:
        documents.alert(document)
        with self._lock:
            self.alert(account, project, name)
            self.project(account, project).alerts[name] = {**document, "name": name}

    def delete_alert(self, account: str, project: str, name: str) -> None:
        with self._lock:
            self.alert(account, project, name)
            del self.project(account, project).alerts[name]

    # Writing

    def put(self, account: str, project: str, name: str, group: LogGroup, route: str | None = None) -> None:
        """Write one group, all of it or nothing; `route` is the hash key that picks the shard."""
        with self._lock:
            store, now = self.logstore(account, project, name), self._clock.now()
            for record in group.records:
                if not now - _OLDEST_SECONDS <= record.time <= now + _NEWEST_SECONDS:
                    raise ApiError("PostBodyInvalid", 400, "The post data time is out of range")
            common = {"__source__": group.source, "__topic__": group.topic}
            common.update((f"__tag__:{key}", value) for key, value in group.tags.items())
            logs = tuple(
                StoredLog(
                    (record.time, record.nanoseconds, next(self._arrivals)),
                    {**common, **record.contents},
                    store.index,
                    now,
                )
                for record in group.records
            )
            shard = next(store.turn) % len(store.shards) if route is None else _shard_of(route, len(store.shards))
            store.shards[shard].append(_Write(now, group, logs))

    # Searching

    def search(
        self,
        account: str,
        project: str,
        name: str,
        start: float,
        end: float,
        query: str = "",
        *,
        topic: str = "",
        offset: int = 0,
        line: int = 100,
        reverse: bool = False,
    ) -> Page:
        """Logs whose time is in [start, end) and that the query matches, by time, `line` of them from `offset` on.

        With SQL: its rows; then the three do not count [doc GetLogs].
        """
        if not 0 <= line <= 100:
            raise ApiError("InvalidLine", 400, "line is invalid")
        if offset < 0:
            raise ApiError("InvalidOffset", 400, "offset is invalid")
        query, sql = analysis.split(query)
        found, processed = self._matching(account, project, name, start, end, query, topic)
        if sql:
            rows = analysis.select(sql, self.index(account, project, name), (log.rendered() for log in found))
            return Page(rows, processed, sql)
        found.sort(key=lambda log: log.order, reverse=reverse)
        return Page([log.rendered() for log in found[offset : offset + line]], processed)

    def histogram(
        self, account: str, project: str, name: str, start: int, end: int, query: str = "", topic: str = ""
    ) -> list[tuple[int, int, int]]:
        """How the matching logs spread over equal parts of [start, end): (from, to, count). SQL does not count."""
        query, _ = analysis.split(query)
        found, _ = self._matching(account, project, name, start, end, query, topic)
        width = max(1, -(-(end - start) // _HISTOGRAM_BARS))
        counts: dict[int, int] = {}
        for log in found:
            bar = (log.order[0] - start) // width
            counts[bar] = counts.get(bar, 0) + 1
        return [(left, min(left + width, end), counts.get(bar, 0)) for bar, left in enumerate(range(start, end, width))]

    def _matching(
        self, account: str, project: str, name: str, start: float, end: float, query: str, topic: str
    ) -> tuple[list[StoredLog], int]:
        if not 0 <= start < end:
            raise ApiError("InvalidTimeRange", 400, "request time range is invalid")
        with self._lock:
            store, now = self.logstore(account, project, name), self._clock.now()
            matches = compile_query(query, self.index(account, project, name))
            ttl = store.settings["ttl"]
            oldest = float("-inf") if ttl >= _FOREVER_DAYS else now - ttl * 86400
            in_range = [
                log
                for shard in store.shards
                for write in shard
                if oldest <= write.received <= now - self.visible_after
                for log in write.logs
                if start <= log.order[0] + log.order[1] / 1e9 < end
            ]
        found = [log for log in in_range if (not topic or log.fields["__topic__"] == topic) and matches(log)]
        return found, len(in_range)

    # Reading shards

    def cursor(self, account: str, project: str, name: str, shard: int, moment: str) -> str:
        """Where to pull from: `begin`, `end`, or the first write received at or after an epoch second."""
        with self._lock:
            writes = self._shard(account, project, name, shard)
            if moment == "begin":
                return _cursor(0)
            if moment == "end":
                return _cursor(len(writes))
            if not re.fullmatch(r"\d{1,18}", moment, re.ASCII):
                raise ApiError("ParameterInvalid", 400, "from must be begin, end or a unix time")
            return _cursor(sum(1 for write in writes if int(write.received) < int(moment)))

    def cursor_time(self, account: str, project: str, name: str, shard: int, cursor: str) -> int:
        """When the write at the cursor was received; at the end of the shard, the present."""
        with self._lock:
            writes, position = self._shard(account, project, name, shard), _position(cursor)
            return int(writes[position].received if position < len(writes) else self._clock.now())

    def pull(
        self, account: str, project: str, name: str, shard: int, cursor: str, count: int, end: str | None = None
    ) -> tuple[list[LogGroup], str]:
        """Up to `count` groups from the cursor on, and the next cursor. No index is needed."""
        if not 1 <= count <= 1000:
            raise ApiError("ParameterInvalid", 400, "count must be between 1 and 1000")
        with self._lock:
            writes, position = self._shard(account, project, name, shard), _position(cursor)
            stop = min(position + count, len(writes) if end is None else _position(end))
            groups = [write.group for write in writes[position:stop]]
            return groups, _cursor(position + len(groups))

    def _shard(self, account: str, project: str, name: str, shard: int) -> list[_Write]:
        shards = self.logstore(account, project, name).shards
        if not 0 <= shard < len(shards):
            raise ApiError("ShardNotExist", 404, f"shard {shard} does not exist")
        return shards[shard]


def shard_ranges(count: int) -> list[tuple[str, str]]:
    """The MD5 ranges [begin, end) of equal shards, as ListShards shows them."""
    bounds = [f"{(1 << 128) * number // count:032x}" for number in range(count)] + ["f" * 32]
    return list(itertools.pairwise(bounds))


def _shard_of(key: str, count: int) -> int:
    """A hash key is itself an MD5 in hex; anything else is hashed [doc PutLogs, KeyHash mode]."""
    digest = key.lower() if re.fullmatch(r"[0-9a-fA-F]{32}", key) else hashlib.md5(key.encode()).hexdigest()  # noqa: S324 - their hash
    return int(digest, 16) * count >> 128


def _check_ttl(ttl: Any) -> None:
    if type(ttl) is not int or not 1 <= ttl <= _FOREVER_DAYS:
        raise ApiError("ParameterInvalid", 400, f"ttl must be between 1 and {_FOREVER_DAYS}")


def _cursor(position: int) -> str:
    return base64.b64encode(str(position).encode()).decode()


def _position(cursor: str) -> int:
    try:
        text = base64.b64decode(cursor, validate=True)
    except ValueError:
        text = b""
    if not re.fullmatch(rb"\d{1,18}", text):
        raise ApiError("InvalidCursor", 400, "this cursor is invalid.")
    return int(text)
