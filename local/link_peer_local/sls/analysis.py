"""The analytic part of a query, `search | select …`: SQL over a table `log` of the matching logs.

The real service uses Presto's SQL; here SQLite runs what both have: aggregates, grouping, ordering, CASE, string
functions, and those of `sls.times`. As in the real service, only fields with `doc_value` are columns, values are cut to 2 KB, `from log` may be omitted, and a result has at most 100 rows unless `limit` says otherwise. A
statement can read that table and call those functions only, and its time and memory are limited.
"""

from __future__ import annotations

import glob
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase

from link_peer_local.core.errors import ApiError
from link_peer_local.sls import times
from link_peer_local.sls.index import FieldIndex, Index

ROWS = 100
_MOST_ROWS = 1_000_000  # [doc "LIMIT clause"]
_STATEMENT = 64 * 1024  # characters of SQL
_RESULT = 16 * 1024 * 1024  # characters of an answer
# Limits of a statement: steps of SQLite's virtual machine, and seconds, because a step can take long.
_STEPS, _STEPS_AT_ONCE, _SECONDS = 10_000_000, 100, 10
_MEMORY = 256 * 1024 * 1024  # bytes that SQLite may use in the whole process
_PATTERN = 1024  # characters of a LIKE
_FUNCTIONS = {  # functions that Presto has too, and whose cost is linear in their arguments
    *("abs", "approx_distinct", "avg", "coalesce", "count", "length", "like", "lower", "max", "min", "nullif"),
    *("round", "substr", "sum", "upper"),
    *times.FUNCTIONS,
}
_TEXT = r"'(?:[^']|'')*(?:'|\Z)"
_QUOTED = r'"((?:[^"]|"")*)(?:"|\Z)'
_CLAUSE = re.compile(rf"{_TEXT}|{_QUOTED}|[()]|\b(?:where|group\s+by|having|order\s+by|limit|from)\b", re.IGNORECASE)
_LIMIT = re.compile(r"\blimit\s+\d", re.IGNORECASE)
_NAME = re.compile(rf"{_TEXT}|(?:\bas\s+)?{_QUOTED}", re.IGNORECASE)
_BUILT_IN = {"__time__": FieldIndex("long"), "__source__": FieldIndex(), "__topic__": FieldIndex()}


def split(query: str) -> tuple[str, str]:
    """The search and the SQL of a query; the SQL is empty when there is no `|` outside quotes."""
    for match in re.finditer(r'"(?:\\.|[^"\\])*(?:"|\\?\Z)|\|', query, re.DOTALL):
        if match[0] == "|":
            return query[: match.start()].strip(), query[match.end() :].strip()
    return query, ""


def select(
    sql: str, index: Index, logs: Iterable[Mapping[str, str]], span: tuple[float, float]
) -> list[dict[str, str]]:
    """Run a statement over logs (fields as GetLogs shows them): rows of strings. ApiError for an invalid statement.

    `span` is the range of time that is searched, which `time_series` fills up.
    """
    if not re.match(r"select\b", sql, re.IGNORECASE):
        raise _invalid("an analytic statement begins with select")
    if len(sql) > _STATEMENT:
        raise _invalid("the analytic statement is too long")
    columns = {**_BUILT_IN, **{name: index.keys[name] for name in index.analysed if name in index.keys}}
    _check_names(sql, columns)
    table = sqlite3.connect(":memory:")
    try:
        table.execute(f"pragma hard_heap_limit={_MEMORY}")
        for name, (arguments, function) in times.FUNCTIONS.items():
            table.create_function(name, arguments, function)
        table.create_aggregate("approx_distinct", 1, _Distinct)
        for arguments in (2, 3):
            table.create_function("like", arguments, _like)
        names = ", ".join(f'"{_doubled(name)}"' for name in columns)
        table.execute(f"create table log ({names})")
        marks = ", ".join("?" * len(columns))
        rows = [[_value(field, log.get(name), index) for name, field in columns.items()] for log in logs]
        table.executemany(f"insert into log values ({marks})", rows)  # noqa: S608 - only marks
        table.set_authorizer(_only_reading)
        table.set_progress_handler(_limits(), _STEPS_AT_ONCE)
        most = _MOST_ROWS if _LIMIT.search(sql) else ROWS
        return times.filled_up(sql, _rows(table.execute(_with_table(sql)), most), span, most)
    except (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError) as problem:
        raise _invalid(str(problem) or "out of memory") from problem
    finally:
        table.close()


def _limits() -> Callable[[], bool]:
    """A progress handler that says whether the statement starting now has exceeded its limits."""
    rest, end = iter(range(_STEPS // _STEPS_AT_ONCE)), time.monotonic() + _SECONDS
    return lambda: next(rest, None) is None or time.monotonic() > end


def _rows(answer: sqlite3.Cursor, most: int) -> list[dict[str, str]]:
    titles = [column[0] for column in answer.description]
    rows: list[dict[str, str]] = []
    size = 0
    for row in answer:
        if len(rows) == most:
            break
        rows.append(dict(zip(titles, map(_shown, row), strict=True)))
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


def _check_names(sql: str, columns: Mapping[str, FieldIndex]) -> None:
    """Refuse unknown quoted names, as the real service does; SQLite would read them as text."""
    quoted = [
        (match[0][0] != '"', match[1].replace('""', '"')) for match in _NAME.finditer(sql) if match[1] is not None
    ]
    known = {*columns, *(name for given, name in quoted if given)}
    for _, name in quoted:
        if not name or name not in known:
            raise _invalid(f"Column '{name}' cannot be resolved")


def _only_reading(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    allowed = (
        action == sqlite3.SQLITE_SELECT
        or (action == sqlite3.SQLITE_READ and first in ("log", ""))  # "": a column of a subquery
        or (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS)
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _doubled(name: str) -> str:
    return name.replace('"', '""')


def _value(field: FieldIndex, text: str | None, index: Index) -> str | float | None:
    if text is None or field.numeric:
        return text if text is None else field.number(text)
    return text.encode()[: index.analysed_bytes].decode(errors="ignore")


def _shown(value: object) -> str:
    return "null" if value is None else str(value)


class _Distinct:
    """The number of distinct values. The real function is off by 2.3 % where there are many [doc]."""

    def __init__(self) -> None:
        self.seen: set[object] = set()

    def step(self, value: object) -> None:
        """Note a value; NULL is none."""
        if value is not None:
            self.seen.add(value)

    def finalize(self) -> int:
        """The count."""
        return len(self.seen)


def _like(pattern: str | None, text: str | None, escape: str | None = None) -> bool | None:
    """Presto's LIKE, which is case-sensitive; SQLite's own is not."""
    if escape is not None or len(pattern or "") > _PATTERN:
        raise ValueError("LIKE with ESCAPE, or with a long pattern, is not offered here")
    if pattern is None or text is None:
        return None
    return fnmatchcase(str(text), glob.escape(pattern).replace("%", "*").replace("_", "?"))


def _invalid(what: str) -> ApiError:
    return ApiError("ParameterInvalid", 400, what)
