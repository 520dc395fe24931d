"""The analytic half of a query, `search | select …`: the matching logs as a table `log`, and SQL over it.

The real service speaks Presto's SQL; here SQLite runs what both understand: aggregates, grouping, ordering, CASE, string
functions, and `from_unixtime` with `date_format`. As there, only fields that the index keeps for SQL (`doc_value`) are
columns, `from log` may be left out, and a result has at most 100 rows unless `limit` says otherwise.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone

from local.errors import ApiError
from local.sls.index import FieldIndex, Index

ROWS = 100
_STEPS = 10_000_000  # of SQLite's machine: a statement that never ends is refused
_TEXT = r"'(?:[^']|'')*'"
_CLAUSE = re.compile(rf"{_TEXT}|\"[^\"]*\"|[()]|\b(?:where|group\s+by|having|order\s+by|limit|from)\b", re.IGNORECASE)
_NAME = re.compile(rf'{_TEXT}|(?:\bas\s+)?"([^"]*)"', re.IGNORECASE)
_BUILT_IN = {"__time__": FieldIndex("long"), "__source__": FieldIndex(), "__topic__": FieldIndex()}


def split(query: str) -> tuple[str, str]:
    """The search and the SQL of a query; no SQL where there is no `|` outside quotes."""
    for match in re.finditer(r'"(?:\\.|[^"\\])*"|\|', query):
        if match[0] == "|":
            return query[: match.start()].strip(), query[match.end() :].strip()
    return query, ""


def select(sql: str, index: Index, logs: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """The rows of a statement over logs (fields as GetLogs shows them), every value a string. Raises ApiError."""
    if not re.match(r"select\b", sql, re.IGNORECASE):
        raise _invalid("an analytic statement begins with select")
    columns = {**_BUILT_IN, **{name: index.keys[name] for name in index.analysed if name in index.keys}}
    _check_names(sql, columns)
    table = sqlite3.connect(":memory:")
    try:
        table.create_function("from_unixtime", 1, lambda second: second)
        table.create_function("date_format", 2, _date_format)
        names = ", ".join(f'"{name}"' for name in columns)
        table.execute(f"create table log ({names})")
        marks = ", ".join("?" * len(columns))
        rows = [[_value(field, log.get(name)) for name, field in columns.items()] for log in logs]
        table.executemany(f"insert into log values ({marks})", rows)  # noqa: S608 - only marks
        table.set_authorizer(_only_reading)
        table.set_progress_handler(lambda: 1, _STEPS)
        answer = table.execute(_with_table(sql))
        titles = [column[0] for column in answer.description]
        most = -1 if re.search(r"\blimit\s+\d", sql, re.IGNORECASE) else ROWS
        return [dict(zip(titles, map(_shown, row), strict=True)) for row in answer.fetchmany(most)]
    except (sqlite3.Error, sqlite3.Warning, OverflowError) as problem:
        raise _invalid(str(problem)) from problem
    finally:
        table.close()


def _with_table(sql: str) -> str:
    """`select a where b` is `select a from log where b`."""
    depth = 0
    for match in _CLAUSE.finditer(sql):
        word = match[0].lower()
        if word in "()":
            depth += 1 if word == "(" else -1
        elif depth == 0 and word[0] not in "'\"":
            return sql if word == "from" else f"{sql[: match.start()]} from log {sql[match.start() :]}"
    return f"{sql} from log"


def _check_names(sql: str, columns: Mapping[str, FieldIndex]) -> None:
    """SQLite takes a quoted name that it does not know for a text; the real service refuses it."""
    given = {match[1] for match in _NAME.finditer(sql) if match[1] and match[0][0] != '"'}
    for match in _NAME.finditer(sql):
        if match[1] is not None and match[1] not in columns and match[1] not in given:
            raise _invalid(f"Column '{match[1]}' cannot be resolved")


def _only_reading(action: int, first: str | None, *_: str | None) -> int:
    reading = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION)
    return sqlite3.SQLITE_OK if reading and first != "sqlite_master" else sqlite3.SQLITE_DENY


def _value(field: FieldIndex, text: str | None) -> str | float | None:
    return text if text is None or not field.numeric else field.number(text)


def _shown(value: object) -> str:
    return "null" if value is None else str(value)


def _date_format(second: float | None, form: str) -> str | None:
    """MySQL's formats, as Presto has them: %i is the minute, %s the second."""
    if second is None:
        return None
    form = re.sub(r"%([is])", lambda match: {"i": "%M", "s": "%S"}[match[1]], form)
    return datetime.fromtimestamp(second, timezone.utc).strftime(form)


def _invalid(what: str) -> ApiError:
    return ApiError("ParameterInvalid", 400, what)
