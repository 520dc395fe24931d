"""Functions of time in the SQL of SLS [doc 63451].

A timestamp is text here, `2020-06-17 14:07:47.000`, as it is shown. The service's clock is at UTC+8: its page says that
1592374067 is 2020-06-17 14:07:47.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

ZONE = timezone(timedelta(hours=8))
_DATES = {name: f"%{name}" for name in "YymdHIjpbaST%"} | {"i": "%M", "s": "%S", "h": "%I", "M": "%B", "W": "%A"}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SERIES = re.compile(
    r"\btime_series\s*\(\s*\S+?\s*,\s*'(?P<window>[^']*)'\s*,\s*'(?P<form>[^']*)'\s*,\s*'(?P<fill>[^']*)'\s*\)"
    r"\s+as\s+(?P<quote>\"?)(?P<name>\w+)(?P=quote)",
    re.IGNORECASE,
)
_GROUPS = re.compile(r"\bgroup\s+by\s+(.*?)(?:\bhaving\b|\border\s+by\b|\blimit\b|\)|$)", re.IGNORECASE | re.DOTALL)
_MOST_WINDOWS = 100_000


def _moment(value: float | str) -> datetime:
    """An epoch time, or a timestamp as text."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=ZONE)
    return datetime.fromtimestamp(value, ZONE)


def _iso(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(" ", "milliseconds")


def from_unixtime(second: float | None) -> str | None:
    """The timestamp of an epoch time."""
    return None if second is None else _iso(_moment(float(second)))


def to_unixtime(value: float | str | None) -> float | None:
    """The epoch time of a timestamp."""
    return None if value is None else _moment(value).timestamp()


def date_format(value: float | str | None, form: str) -> str | None:
    """MySQL's formats, as in Presto: %i is the minute, %s the second."""
    if value is None:
        return None
    when = _moment(value)
    return re.sub(r"%(.)", lambda match: when.strftime(_DATES[match[1]]), form)


def date_trunc(unit: str, value: float | str | None) -> str | None:
    """The timestamp at which the second, minute, hour, day, week, month, quarter or year began."""
    if value is None:
        return None
    when = _moment(value).replace(microsecond=0)
    if unit in ("second", "minute", "hour"):
        zero = {"second": 0} if unit != "second" else {}
        return _iso(when.replace(**zero, **({"minute": 0} if unit == "hour" else {})))  # type: ignore[arg-type]
    day = when.replace(hour=0, minute=0, second=0)
    begins = {
        "day": day,
        "week": day - timedelta(days=day.weekday()),
        "month": day.replace(day=1),
        "quarter": day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1),
        "year": day.replace(month=1, day=1),
    }
    return _iso(begins[unit])


def time_series(value: float | str | None, window: str, form: str, _fill: str) -> str | None:
    """The beginning of the window that a time is in, formatted. `filled_up` adds the windows without logs."""
    return None if value is None else date_format(_window(_moment(value).timestamp(), _seconds(window)), form)


def _seconds(window: str) -> int:
    match = re.fullmatch(r"(\d{1,6})([smhd])", window)
    if not match or int(match[1]) == 0:
        raise ValueError(f"time_series: {window!r} is no window")
    return int(match[1]) * _UNITS[match[2]]


def _window(second: float, size: int) -> int:
    """Where its window begins; windows of a day begin at midnight."""
    shift = int(ZONE.utcoffset(None).total_seconds())
    return math.floor((second + shift) / size) * size - shift


FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "date_format": (2, date_format),
    "date_trunc": (2, date_trunc),
    "from_unixtime": (1, from_unixtime),
    "time_series": (4, time_series),
    "to_unixtime": (1, to_unixtime),
}
"""Name -> number of arguments and function."""


def filled_up(sql: str, rows: list[dict[str, str]], span: tuple[float, float], most: int) -> list[dict[str, str]]:
    """Add a row for each window of `time_series` within the span that has none. ValueError for what is not offered.

    That is: a series without `as`, grouping by more than the series, and another filling than 0 or null.
    """
    if not re.search(r"\btime_series\b", sql, re.IGNORECASE):
        return rows
    series, groups = _SERIES.search(sql), _GROUPS.search(sql)
    if series is None or groups is None or groups[1].strip().strip('"').lower() != series["name"].lower():
        raise ValueError("time_series is offered with `as name` and `group by name` only")
    if series["fill"] not in ("0", "null"):
        raise ValueError("time_series is offered with the fillings 0 and null only")
    size, name = _seconds(series["window"]), series["name"]
    first = _window(span[0], size)
    if (span[1] - first) / size > _MOST_WINDOWS:
        raise ValueError("time_series: too many windows")
    titles = list(rows[0]) if rows else [name]
    rows_by_window = {row[name]: row for row in rows}
    empty = dict.fromkeys(titles, series["fill"])
    windows = (date_format(begin, series["form"]) or "" for begin in range(first, math.ceil(span[1]), size))
    filled = [rows_by_window.pop(window, {**empty, name: window}) for window in dict.fromkeys(windows)]
    return [*filled, *rows_by_window.values()][:most]
