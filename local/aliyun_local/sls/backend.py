"""State and rules of SLS: the projects of accounts, their logstores, writing logs and searching them."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aliyun_local.core.clock import Clock
from aliyun_local.core.errors import ApiError
from aliyun_local.core.knobs import Knobs
from aliyun_local.sls import analysis, state
from aliyun_local.sls import index as indexes
from aliyun_local.sls.consumers import ConsumerGroups
from aliyun_local.sls.documents import Documents, records
from aliyun_local.sls.index import Index
from aliyun_local.sls.query import compile_query
from aliyun_local.sls.state import LogGroup, Logstore, Page, Project, StoredLog, Write

_PROJECT_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
TABLES = frozenset({"sls.common.user", "sls.common.user_group", "sls.alert.action_policy"})
"""The tables of the alert centre that are offered here."""

_LOGSTORE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]")
_FOREVER_DAYS = 3650
_RECEIVED = "__tag__:__receive_time__"  # [doc Reserved fields]
_OLDEST_SECONDS, _NEWEST_SECONDS = (
    7 * 86400,
    15 * 60,
)  # accepted age of a log and lead over the server's clock [doc PutLogs]


class SlsBackend:
    """All projects of one region, by names that no two accounts share, nor two regions where `taken_elsewhere` says so;
    another's project does not exist for the caller.

    `records` are those of the accounts' alert centres, which all regions have in common. `visible_after`: seconds until
    a written log can be found (the real service promises 3). `project_visible_after`: seconds until anything but
    CreateProject sees a new project.
    """

    def __init__(
        self,
        clock: Clock,
        region: str,
        records: dict[tuple[str, str], Documents] | None = None,
        knobs: Knobs | None = None,
    ) -> None:
        self._clock = clock
        self._knobs = knobs or Knobs()
        self.region = region
        self.visible_after = 0.0
        self.project_visible_after = 0.0
        self.taken_elsewhere: Callable[[str], bool] = lambda _name: False  # in another region
        self._projects: dict[str, Project] = {}
        self._records = {} if records is None else records
        self._arrivals = itertools.count()
        self._lock = threading.RLock()

    def now(self) -> float:
        """The cloud's time."""
        return self._clock.now()

    # Projects

    def create_project(self, account: str, name: str, description: str = "") -> Project:
        """Create a project; its name must be new among all accounts."""
        if not _PROJECT_NAME.fullmatch(name):
            raise ApiError("ParameterInvalid", 400, f"project name {name} is invalid")
        with self._lock:
            if name in self._projects or self.taken_elsewhere(name):
                raise ApiError("ProjectAlreadyExist", 400, f"Project {name} already exist.")
            now = self._clock.now()
            self._projects[name] = Project(name, account, description, now, now)
            return self._projects[name]

    def has_project(self, name: str) -> bool:
        """Whether any account has a project of this name."""
        return name in self._projects

    def project(self, account: str, name: str) -> Project:
        """One project; ApiError ProjectNotExist."""
        with self._lock:
            project = self._projects.get(name)
            hidden = project is not None and self._clock.now() < project.created + self.project_visible_after
            if project is None or project.owner != account or hidden:
                raise ApiError("ProjectNotExist", 404, f"The Project does not exist : {name}")
            return project

    def projects(self, account: str) -> list[Project]:
        """The account's projects, sorted by name."""
        with self._lock:
            return sorted((p for p in self._projects.values() if p.owner == account), key=lambda p: p.name)

    def update_project(self, account: str, name: str, description: str) -> None:
        """Change a project's description."""
        with self._lock:
            project = self.project(account, name)
            project.description, project.modified = description, self._clock.now()

    def delete_project(self, account: str, name: str) -> None:
        """Delete a project and its logs."""
        with self._lock:
            del self._projects[self.project(account, name).name]

    # The alert centre

    def records(self, account: str, table: str) -> Documents:
        """The records of one of the account's tables, which are of no project and no region."""
        if table not in TABLES:
            raise ApiError("ResourceNotExist", 404, f"resource {table} does not exist")
        with self._lock:
            return self._records.setdefault((account, table), records())

    # Logstores

    def create_logstore(
        self, account: str, project: str, name: str, ttl: Any = 30, shards: Any = 2, /, **settings: Any
    ) -> Logstore:
        """Create a logstore: ttl in days, 1 to 10 shards; other settings are kept as sent."""
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
        """One logstore; ApiError LogStoreNotExist."""
        with self._lock:
            store = self.project(account, project).logstores.get(name)
            if store is None:
                raise ApiError("LogStoreNotExist", 404, f"logstore {name} does not exist.")
            return store

    def update_logstore(self, account: str, project: str, name: str, /, **settings: Any) -> None:
        """Change settings of a logstore; the others stay."""
        if "ttl" in settings:
            _check_ttl(settings["ttl"])
        with self._lock:
            store = self.logstore(account, project, name)
            store.settings.update(settings)
            store.modified = int(self._clock.now())

    def delete_logstore(self, account: str, project: str, name: str) -> None:
        """Delete a logstore and its logs."""
        with self._lock:
            self.logstore(account, project, name)
            del self.project(account, project).logstores[name]

    # Indexes

    def create_index(self, account: str, project: str, name: str, document: Any) -> None:
        """Create an index. It covers logs written from now on; earlier ones stay unsearchable [doc "Create
        indexes"]."""
        with self._lock:
            store = self.logstore(account, project, name)
            if store.index is not None:
                raise ApiError("IndexAlreadyExist", 400)
            store.index = indexes.parse(document)

    def update_index(self, account: str, project: str, name: str, document: Any) -> None:
        """Replace an index, for logs written from now on."""
        with self._lock:
            self.index(account, project, name)
            self.logstore(account, project, name).index = indexes.parse(document)

    def index(self, account: str, project: str, name: str) -> Index:
        """The current index; ApiError IndexConfigNotExist."""
        with self._lock:
            index = self.logstore(account, project, name).index
            if index is None:
                raise ApiError("IndexConfigNotExist", 400)
            return index

    def delete_index(self, account: str, project: str, name: str) -> None:
        """Delete the index."""
        with self._lock:
            self.index(account, project, name)
            self.logstore(account, project, name).index = None

    # Writing

    def put(self, account: str, project: str, name: str, group: LogGroup) -> None:
        """Write one group, all of it or nothing, to the shards in turn."""
        with self._lock:
            store, now = self.logstore(account, project, name), self._clock.now()
            for record in group.records:
                if not now - _OLDEST_SECONDS <= record.time <= now + _NEWEST_SECONDS:
                    raise ApiError("PostBodyInvalid", 400, "The post data time is out of range")
            common = {"__source__": group.source, "__topic__": group.topic}
            common.update((f"__tag__:{key}", value) for key, value in group.tags.items())
            received = {_RECEIVED: str(int(now))} if store.settings.get("appendMeta") else {}
            of_server = received if self._knobs.receive_time == "server" else {}
            logs = tuple(
                StoredLog(
                    (record.time, record.nanoseconds, next(self._arrivals)),
                    {**received, **common, **record.contents, **of_server},
                    store.index,
                    now,
                )
                for record in group.records
            )
            store.shards[next(store.turn) % len(store.shards)].append(Write(now, group, logs))

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
        """Logs with a time in [start, end) that match the query, sorted by time: `line` of them from `offset` on.

        With SQL the answer is its rows, and `offset`, `line` and `reverse` have no effect [doc GetLogs].
        """
        if not 0 <= line <= 100:
            raise ApiError("InvalidLine", 400)
        if offset < 0:
            raise ApiError("InvalidOffset", 400)
        query, sql = analysis.split(query)
        matching_logs, processed = self._matching(account, project, name, start, end, query, topic)
        if sql:
            table_names = analysis.tables(sql) & self.project(account, project).logstores.keys()
            if table_names and query not in ("", "*"):  # no page says which of another logstore's logs a search selects
                raise ApiError("ParameterInvalid", 400, "of logstores that SQL names, only * is searched here")
            logs = {
                table_name: (table_name, self._matching(account, project, table_name, start, end, "", "")[0])
                for table_name in table_names
            }
            table = {
                table_name: (self.index(account, project, store), [log.rendered() for log in table_logs])
                for table_name, (store, table_logs) in {"log": (name, matching_logs), **logs}.items()
            }
            return Page(analysis.select(sql, table, (start, end)), processed, sql)
        matching_logs.sort(key=lambda log: log.order, reverse=reverse)
        return Page([log.rendered() for log in matching_logs[offset : offset + line]], processed)

    def _matching(
        self, account: str, project: str, name: str, start: float, end: float, query: str, topic: str
    ) -> tuple[list[StoredLog], int]:
        if not 0 <= start < end:
            raise ApiError("InvalidTimeRange", 400)
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
        matching_logs = [log for log in in_range if (not topic or log.fields["__topic__"] == topic) and matches(log)]
        return matching_logs, len(in_range)

    # Reading shards

    def cursor(self, account: str, project: str, name: str, shard: int, moment: str) -> str:
        """A cursor at `begin`, at `end`, or at the first write received at or after an epoch second."""
        with self._lock:
            writes = self._shard(account, project, name, shard)
            if moment == "begin":
                return state.cursor(0)
            if moment == "end":
                return state.cursor(len(writes))
            if not re.fullmatch(r"\d{1,18}", moment, re.ASCII):
                raise ApiError("ParameterInvalid", 400, "from must be begin, end or a unix time")
            return state.cursor(sum(1 for write in writes if int(write.received) < int(moment)))

    def cursor_time(self, account: str, project: str, name: str, shard: int, cursor: str) -> int:
        """When the write at the cursor was received; at the end of the shard, the current time."""
        with self._lock:
            writes, position = self._shard(account, project, name, shard), state.position(cursor)
            return int(writes[position].received if position < len(writes) else self._clock.now())

    def pull(
        self, account: str, project: str, name: str, shard: int, cursor: str, count: int, end: str | None = None
    ) -> tuple[list[LogGroup], str]:
        """Up to `count` groups from the cursor on, and the next cursor. This needs no index."""
        if not 1 <= count <= 1000:
            raise ApiError("ParameterInvalid", 400, "count must be between 1 and 1000")
        with self._lock:
            writes, position = self._shard(account, project, name, shard), state.position(cursor)
            stop = min(position + count, len(writes) if end is None else state.position(end))
            groups = [write.group for write in writes[position:stop]]
            return groups, state.cursor(position + len(groups))

    @contextmanager
    def consumer_groups(self, account: str, project: str, name: str) -> Iterator[ConsumerGroups]:
        """The consumer groups of a logstore, for one operation that nothing else interrupts."""
        with self._lock:
            yield self.logstore(account, project, name).consumer_groups

    def _shard(self, account: str, project: str, name: str, shard: int) -> list[Write]:
        shards = self.logstore(account, project, name).shards
        if not 0 <= shard < len(shards):
            raise ApiError("ShardNotExist", 404, f"shard {shard} does not exist")
        return shards[shard]


def _check_ttl(ttl: Any) -> None:
    if type(ttl) is not int or not 1 <= ttl <= _FOREVER_DAYS:
        raise ApiError("ParameterInvalid", 400, f"ttl must be between 1 and {_FOREVER_DAYS}")
