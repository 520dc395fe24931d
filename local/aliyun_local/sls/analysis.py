"""The analytic part of a query, `search | select …`: SQL over a table `log` of the matching logs.

The real service uses Presto's SQL; here SQLite runs what both have: aggregates, grouping, ordering, CASE, string
functions, and those of `sls.times`. As in the real service, only fields with `doc_value` are columns, values are cut to
2 KB, `from log` may be omitted, and a result has at most 100 rows unless `limit` says otherwise. A statement may name
logstores of the project as tables [doc "UNION clause", "JOIN clause"]. It can read these and call those functions only,
and its time and memory are limited.
"""

from __future__ import annotations

import functools
import glob
import re
import sqlite3
import time
from collections.abc import Callable, Container, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from aliyun_local.core.errors import ApiError
from aliyun_local.sls import times
from aliyun_local.sls.index import FieldIndex, Index

ROWS = 100
_MOST_ROWS = 1_000_000  # [doc "LIMIT clause"]
_STATEMENT = 64 * 1024  # characters of SQL
_RESULT = 16 * 1024 * 1024  # characters of an answer
# Limits of a statement: steps of SQLite's virtual machine, and seconds, because a step can take long.
_STEPS, _STEPS_AT_ONCE, _SECONDS = 10_000_000, 100, 10
_MEMORY = 256 * 1024 * 1024  # bytes that SQLite may use in the whole process
_PATTERN = 1024  # characters of a LIKE
_FUNCTIONS = {  # functions that Presto has too, and whose cost is linear in their arguments
    *(
        "abs",
        "approx_distinct",
        "avg",
        "coalesce",
        "count",
        "length",
        "like",
        "lower",
        "max",
        "max_by",
        "min",
        "nullif",
    ),
    *("round", "substr", "sum", "upper"),
    *times.FUNCTIONS,
}
_TEXT = r"'(?:[^']|'')*(?:'|\Z)"
_QUOTED = r'"((?:[^"]|"")*)(?:"|\Z)'
_CLAUSE = re.compile(rf"{_TEXT}|{_QUOTED}|[()]|\b(?:where|group\s+by|having|order\s+by|limit|from)\b", re.IGNORECASE)
_LIMIT = re.compile(r"\blimit\s+\d", re.IGNORECASE)
_NAME = re.compile(rf"{_TEXT}|(?:\bas\s+)?{_QUOTED}", re.IGNORECASE)
_TABLE = re.compile(rf'{_TEXT}|\b(?:from|join)\s+(?:"(?P<quoted>[^"]+)"|(?P<bare>\w+))', re.IGNORECASE)
Searched = tuple[Index, Iterable[Mapping[str, str]]]
"""A table: the index of its logstore, and logs as GetLogs shows them."""

_UNNEST = re.compile(
    r"""(?P<table>\b\w+|"[^"]+")\s*,\s*unnest\(\s*(?:try_)?cast\(\s*json_parse\((?P<field>\w+)\)\s+as\s+map\(varchar,\s*varchar\)\s*\)\s*\)"""
    r"""\s+as\s+\w+\((?P<key>\w+),\s*(?P<value>\w+)\)""",
    re.IGNORECASE,
)
_BUILT_IN = {"__time__": FieldIndex("long"), "__source__": FieldIndex(), "__topic__": FieldIndex()}


def split(query: str) -> tuple[str, str]:
    """The search and the SQL of a query; the SQL is empty when there is no `|` outside quotes."""
    for match in re.finditer(r'"(?:\\.|[^"\\])*(?:"|\\?\Z)|\|', query, re.DOTALL):
        if match[0] == "|":
            return query[: match.start()].strip(), query[match.end() :].strip()
    return query, ""


def tables(sql: str) -> set[str]:
    """The names of the tables that a statement reads, but for `log`."""
    return {match["quoted"] or match["bare"] for match in _TABLE.finditer(sql)} - {None, "log"}


def select(sql: str, logs: Mapping[str, Searched], span: tuple[float, float]) -> list[dict[str, str]]:
    """Run a statement over tables of logs, by name: rows of strings. ApiError for an invalid statement.

    `span` is the range of time that is searched, which `time_series` fills up.
    """
    if not re.match(r"select\b", sql, re.IGNORECASE):
        raise _invalid("an analytic statement begins with select")
    if len(sql) > _STATEMENT:
        raise _invalid("the analytic statement is too long")
    columns = {name: _columns(index) for name, (index, _) in logs.items()}
    _check_names(sql, {*logs, *(column for table_columns in columns.values() for column in table_columns)})
    base = sqlite3.connect(":memory:")
    try:
        base.execute(f"pragma hard_heap_limit={_MEMORY}")
        for name, (arguments, function) in times.FUNCTIONS.items():
            base.create_function(name, arguments, function)
        base.create_aggregate("approx_distinct", 1, _Distinct)
        base.create_aggregate("max_by", 2, _MaxBy)  # type: ignore[arg-type]
        for arguments in (2, 3):
            base.create_function("like", arguments, _like)
        for name, (index, rows) in logs.items():
            _fill(base, name, columns[name], index, rows)
        unnested = _UNNEST.sub(_each, sql)
        each = {"json_each"} if unnested != sql and "json_each" not in sql else ()
        base.set_authorizer(functools.partial(_only_reading, {*logs, *each, ""}))  # "": a column of a subquery
        base.set_progress_handler(_limits(), _STEPS_AT_ONCE)
        most = _MOST_ROWS if _LIMIT.search(sql) else ROWS
        return times.filled_up(sql, _rows(base.execute(_with_table(unnested)), most), span, most)
    except (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError) as problem:
        raise _invalid(str(problem) or "out of memory") from problem
    finally:
        base.close()


def _each(match: re.Match[str]) -> str:
    """A table beside an unnested map, in SQLite's words: a row for each of its keys [doc "UNNEST clause"]."""
    columns = f"one.*, each.key as {match['key']}, each.value as {match['value']}"
    return f"(select {columns} from {match['table']} one cross join json_each(one.{match['field']}) each)"  # noqa: S608


def _columns(index: Index) -> dict[str, FieldIndex]:
    return {**_BUILT_IN, **{name: index.keys[name] for name in index.analysed if name in index.keys}}


def _fill(
    base: sqlite3.Connection,
    table: str,
    columns: Mapping[str, FieldIndex],
    index: Index,
    logs: Iterable[Mapping[str, str]],
) -> None:
    names = ", ".join(f'"{_doubled(name)}"' for name in columns)
    base.execute(f'create table "{_doubled(table)}" ({names})')
    marks = ", ".join("?" * len(columns))
    rows = [[_value(field, log.get(name), index) for name, field in columns.items()] for log in logs]
    base.executemany(f'insert into "{_doubled(table)}" values ({marks})', rows)  # noqa: S608 - only marks


def _limits() -> Callable[[], bool]:
    """A progress handler that says whether the statement starting now has exceeded its limits."""
    steps, end = iter(range(_STEPS // _STEPS_AT_ONCE)), time.monotonic() + _SECONDS
    return lambda: next(steps, None) is None or time.monotonic() > end


def _rows(answer: sqlite3.Cursor, most: int) -> list[dict[str, str]]:
    titles = [column[0] for column in answer.description]
    rows: list[dict[str, str]] = []
    size = 0
    for row in answer:
        if len(rows) == most:
            break
        rows.append(dict(zip(titles, map(_text, row), strict=True)))
        size += sum(len(name) + len(text) for name, text in rows[-1].items())
        if size > _RESULT:
            raise _invalid("the result is too large")
    return rows


def _with_table(sql: str) -> str:
    """Add the omitted table: `select a where b` means `select a from log where b`."""
    depth = 0
    for match in _CLAUSE.finditer(sql):
        word = match[0].lower()
        if word in "()":
            depth += 1 if word == "(" else -1
        elif depth == 0 and word[0] not in "'\"":
            return sql if word == "from" else f"{sql[: match.start()]} from log {sql[match.start() :]}"
    return f"{sql} from log"


def _check_names(sql: str, names: Iterable[str]) -> None:
    """Refuse unknown quoted names, as the real service does; SQLite would read them as text."""
    quoted = [
        (match[0][0] != '"', match[1].replace('""', '"')) for match in _NAME.finditer(sql) if match[1] is not None
    ]
    known_names = {*names, *(name for is_alias, name in quoted if is_alias)}
    for _, name in quoted:
        if not name or name not in known_names:
            raise _invalid(f"Column '{name}' cannot be resolved")


def _only_reading(names: Container[str], action: int, first: str | None, second: str | None, *_: str | None) -> int:
    allowed = (
        action == sqlite3.SQLITE_SELECT
        or (action == sqlite3.SQLITE_READ and first in names)
        or (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS)
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _doubled(name: str) -> str:
    return name.replace('"', '""')


def _value(field: FieldIndex, text: str | None, index: Index) -> str | float | None:
    if text is None or field.numeric:
        return text if text is None else field.number(text)
    return text.encode()[: index.analysed_bytes].decode(errors="ignore")


def _text(value: object) -> str:
    return "null" if value is None else str(value)


class _Distinct:
    """The number of distinct values. The real function is off by 2.3 % where there are many [doc]."""

    def __init__(self) -> None:
        self.values: set[object] = set()

    def step(self, value: object) -> None:
        """Note a value; NULL is none."""
        if value is not None:
            self.values.add(value)

    def finalize(self) -> int:
        """The count."""
        return len(self.values)


class _MaxBy:
    """The x of the greatest y; rows without y do not count [doc "max_by function"]."""

    def __init__(self) -> None:
        self.greatest: tuple[Any, Any] | None = None

    def step(self, x: Any, y: Any) -> None:
        """See one row."""
        if y is not None and (self.greatest is None or y > self.greatest[0]):
            self.greatest = (y, x)

    def finalize(self) -> Any:
        """The x."""
        return self.greatest[1] if self.greatest else None


def _like(pattern: str | None, text: str | None, escape: str | None = None) -> bool | None:
    """Presto's LIKE, which is case-sensitive; SQLite's own is not."""
    if escape is not None or len(pattern or "") > _PATTERN:
        raise ValueError("LIKE with ESCAPE, or with a long pattern, is not offered here")
    if pattern is None or text is None:
        return None
    return fnmatchcase(str(text), glob.escape(pattern).replace("%", "*").replace("_", "?"))


def _invalid(reason: str) -> ApiError:
    return ApiError("ParameterInvalid", 400, reason)
