"""Answers rows one after another, and reports what each saw. A row that fails costs no other row."""

from __future__ import annotations

import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec
from link_peer.domain.errors import LinkPeerError

from link_peer_conformance.bench import Bench
from link_peer_conformance.model import NotAnswered, Row, Seen, Verdict
from link_peer_conformance.sdks import UNAVAILABLE

PACKAGES = (
    "link-peer",
    "alibabacloud-ecs20140526",
    "alibabacloud-sts20150401",
    "alibabacloud-eventbridge20200401",
    "alibabacloud-tea-openapi",
    "aliyun-log-python-sdk",
    "aliyun-mns-sdk",
)
REAL = "Alibaba Cloud"


class Result(msgspec.Struct, frozen=True):
    """How one row ended. `why` says why it was not answered, and what of it could not be removed."""

    number: int
    assumed: str
    expected: str
    verdict: Verdict
    seen: str = ""
    why: str = ""
    facts: dict[str, Any] = {}
    seconds: float = 0.0


def run_rows(bench: Bench, rows: Iterable[Row], progress: Callable[[Result], object]) -> list[Result]:
    """Answer rows, and remove after each what it created. An interruption is raised at once; the caller closes the bench."""
    results = []
    for row in rows:
        result = _answer(bench, row)
        results.append(result)
        progress(result)
    return results


def _answer(bench: Bench, row: Row) -> Result:
    began = bench.clock.now()
    seen, why = Seen("", False), row.by_hand or bench.lacking(tuple(row.needs))
    if row.answer and not why:
        seen, why = _try(bench, row)
        if left := bench.release():
            why = "; ".join(filter(None, (why, f"left behind: {', '.join(left)}")))
    answered = bool(seen.text)
    verdict = Verdict.UNANSWERED if not answered else Verdict.EXPECTED if seen.expected else Verdict.DIFFERENT
    seconds = round(bench.clock.now() - began, 1)
    return Result(row.number, row.assumed, row.expected, verdict, seen.text, why, dict(seen.facts), seconds)


def _try(bench: Bench, row: Row) -> tuple[Seen, str]:
    """What a row saw; else nothing, and why. Also a bug in a row must not cost the other rows."""
    assert row.answer is not None  # noqa: S101
    try:
        return row.answer(bench), ""
    except NotAnswered as reason:
        return Seen("", False), str(reason)
    except (LinkPeerError, *UNAVAILABLE) as trouble:
        return Seen("", False), str(trouble)
    except Exception as bug:
        return Seen("", False), f"{type(bug).__name__}: {bug}"


def report(bench: Bench, results: Sequence[Result]) -> dict[str, Any]:
    """The report as JSON values. The accounts' uids are left out, so that it can be published."""
    endpoint = bench.sdks.settings.endpoint("ecs")[1]
    made = {
        "tool": "link-peer selftest",
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(bench.clock.now())),
        "cloud": f"local cloud at {endpoint}" if endpoint else REAL,
        "region": bench.region,
        "python": platform.python_version(),
        "system": sys.platform,
        "packages": {name: _version(name) for name in PACKAGES},
        "instances": bench.options.instances,
        "counts": dict(Counter(result.verdict.value for result in results)),
        "rows": [msgspec.to_builtins(result) for result in results],
    }
    hidden = {bench.account: "<account>", bench.options.peer: "<peer>"}
    text = msgspec.json.encode(made).decode()
    for uid, word in hidden.items():
        text = text.replace(uid, word) if uid else text
    cleaned: dict[str, Any] = msgspec.json.decode(text)
    return cleaned


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
