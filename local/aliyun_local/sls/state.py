"""Projects, logstores and logs as values; shards of a logstore, with their MD5 ranges and cursors."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from aliyun_local.core.errors import ApiError
from aliyun_local.sls.consumers import ConsumerGroups
from aliyun_local.sls.documents import Documents, alerts, dashboards, saved_searches
from aliyun_local.sls.index import Index


class LogRecord(Struct, frozen=True):
    """One log as written: `time` in whole seconds since the epoch."""

    time: int
    nanoseconds: int
    contents: Mapping[str, str]


class LogGroup(Struct, frozen=True):
    """One write: its records share topic, source and tags."""

    records: tuple[LogRecord, ...]
    topic: str = ""
    source: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


class StoredLog(Struct, frozen=True):
    """A log as stored for searching; `fields` includes __source__, __topic__ and __tag__:…"""

    order: tuple[int, int, int]  # time, nanoseconds, arrival
    fields: Mapping[str, str]
    index: Index | None  # at the time of writing
    received: float

    def rendered(self) -> dict[str, str]:
        """The log as GetLogs returns it, every value a string."""
        fields = {"__time__": str(self.order[0]), **self.fields}
        if self.order[1]:
            fields["__time_ns_part__"] = str(self.order[1])
        return fields


class Write(Struct, frozen=True):
    """One PutLogs call: the group as received, and its logs as stored."""

    received: float
    group: LogGroup
    logs: tuple[StoredLog, ...]


class Logstore(Struct):
    """A logstore: settings as sent, times in epoch seconds, and the writes of each shard."""

    name: str
    settings: dict[str, Any]
    created: int
    modified: int
    index: Index | None = None
    shards: list[list[Write]] = field(default_factory=list)
    turn: Iterator[int] = field(default_factory=itertools.count)
    consumer_groups: ConsumerGroups = field(default_factory=ConsumerGroups)


class Project(Struct):
    """A project of one account; times in epoch seconds."""

    name: str
    owner: str
    description: str
    created: float
    modified: float
    logstores: dict[str, Logstore] = field(default_factory=dict)
    dashboards: Documents = field(default_factory=dashboards)
    alerts: Documents = field(default_factory=alerts)
    searches: Documents = field(default_factory=saved_searches)


class Page(Struct, frozen=True):
    """The answer of a search: a page of logs (or the rows of the SQL), and how many logs were examined."""

    logs: list[dict[str, str]]
    processed: int
    sql: str = ""


def shard_ranges(count: int) -> list[tuple[str, str]]:
    """The MD5 ranges [begin, end) of `count` equal shards, as ListShards shows them."""
    bounds = [f"{(1 << 128) * number // count:032x}" for number in range(count)] + ["f" * 32]
    return list(itertools.pairwise(bounds))


def cursor(position: int) -> str:
    """The cursor of a position in a shard."""
    return base64.b64encode(str(position).encode()).decode()


def position(cursor: str) -> int:
    """The position of a cursor; ApiError InvalidCursor."""
    try:
        text = base64.b64decode(cursor, validate=True)
    except ValueError:
        text = b""
    if not re.fullmatch(rb"\d{1,18}", text):
        raise ApiError("InvalidCursor", 400)
    return int(text)
