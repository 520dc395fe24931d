"""Asks questions through pytest, and reports what each saw. A question that fails costs no other one."""

from __future__ import annotations

import functools
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aliyun_conformance.bench import Bench, Observation
from aliyun_conformance.errors import SelftestError
from aliyun_conformance.question import FIRST_DAY, MARK, NotAnswered, Question, Verdict, cleanup_of
from aliyun_conformance.sdks import UNAVAILABLE

FOLDER = Path(__file__).parent
UNUSED = ("terminal", "cacheprovider", "faulthandler", "logging", "unraisableexception", "threadexception", "tmpdir")

PACKAGES = (
    "aliyun-local",
    "alibabacloud-ecs20140526",
    "alibabacloud-sts20150401",
    "alibabacloud-eventbridge20200401",
    "alibabacloud-tea-openapi",
    "aliyun-log-python-sdk",
    "aliyun-mns-sdk",
)
REAL = "Alibaba Cloud"
PERSONAL = frozenset({"accessKeyId", "principalId", "sourceIpAddress", "userAgent", "userName"})
"""Fields of an event that say who made a call and from where [doc ActionTrail event structure]: a report hides their values."""


class Result(msgspec.Struct, frozen=True):
    """How one question ended. `reason` says why it was not answered, and what of it could not be removed."""

    number: int
    assumed: str
    expected: str
    verdict: Verdict
    observation: str = msgspec.field(default="", name="seen")
    reason: str = msgspec.field(default="", name="why")
    facts: dict[str, Any] = {}
    seconds: float = 0.0


class _Case(msgspec.Struct, frozen=True):
    """How one test of a question ended."""

    verdict: Verdict
    observation: Observation
    reason: str = ""


def question_of(items: Sequence[pytest.Item]) -> Question:
    """The question that these tests ask, one with each set of parameters."""
    mark = items[0].get_closest_marker(MARK)
    assert mark is not None
    number, *needs = mark.args
    lines = str(items[0].function.__doc__).strip().splitlines()  # type: ignore[attr-defined]
    cleanup = mark.kwargs.get("cleanup") or cleanup_of(tuple(needs))
    cases = tuple(item.nodeid for item in items)
    return Question(
        number, lines[0].rstrip("."), mark.kwargs.get("expected", "as assumed"), cleanup, tuple(needs), cases
    )


class _Collector:
    """A pytest plugin that keeps the tests that were found."""

    def __init__(self) -> None:
        self.items_by_test: dict[str, list[pytest.Item]] = {}
        self.interrupted = False

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """The tests of each function."""
        for item in items:
            self.items_by_test.setdefault(item.nodeid.partition("[")[0], []).append(item)


@functools.cache
def questions() -> tuple[Question, ...]:
    """All of them: those that decide the first day, then the others by number. ValueError if two have one number."""
    collector = _Collector()
    _pytest("--collect-only", str(FOLDER), plugin=collector)
    by_number = {question.number: question for question in map(question_of, collector.items_by_test.values())}
    if len(by_number) != len(collector.items_by_test):
        raise ValueError("two questions have one number")
    early = {number: place for place, number in enumerate(FIRST_DAY)}
    return tuple(
        by_number[number] for number in sorted(by_number, key=lambda number: (early.get(number, len(early)), number))
    )


def _pytest(*args: str, plugin: _Collector | _Asker) -> None:
    """Run pytest in this process, on its own: without the settings and plugins of where a person is, and without output."""
    alone = [
        "-c",
        os.devnull,
        f"--rootdir={FOLDER}",
        f"--confcutdir={FOLDER}",
        "--noconftest",
        "-s",
        *(f"-pno:{plugin}" for plugin in UNUSED),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        patch.delenv("PYTEST_ADDOPTS", raising=False)
        ended = pytest.main([*alone, *args], plugins=[_Settings(), plugin])
    if ended not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not plugin.interrupted:
        raise SelftestError(f"pytest could not ask the questions: {pytest.ExitCode(ended).name}")


class _Settings:
    """A pytest plugin that registers the mark `real_cloud`. What the terminal's plugin would set: an assertion is told in full, and a
    traceback in the quickest way, since nobody sees it."""

    def pytest_configure(self, config: pytest.Config) -> None:
        """Set them."""
        config.addinivalue_line("markers", f"{MARK}: asks a cloud a question")
        config.option.verbose, config.option.tbstyle = 2, "native"


def ask(bench: Bench, chosen: Sequence[Question], progress: Callable[[Result], object]) -> None:
    """Ask questions, and remove after each what it created. Raises KeyboardInterrupt; the caller closes the bench."""
    files = sorted({case.partition("::")[0] for question in chosen for case in question.cases})
    asker = _Asker(bench, chosen, progress)
    _pytest(*(str(FOLDER / name) for name in files), plugin=asker)
    if asker.interrupted:
        raise KeyboardInterrupt


class _Asker:
    """A pytest plugin: gives tests the bench, and makes a result of what the tests of each question saw."""

    def __init__(self, bench: Bench, chosen: Sequence[Question], progress: Callable[[Result], object]) -> None:
        self.bench = bench
        self.progress = progress
        self.question_by_case = {case: question for question in chosen for case in question.cases}
        self.began = 0.0
        self.cases: list[_Case] = []
        self.leftovers: list[str] = []
        self.interrupted = False

    def pytest_keyboard_interrupt(self) -> None:
        """Note it: pytest goes on to its end."""
        self.interrupted = True

    @pytest.fixture(name="bench")
    def _bench(self) -> Iterator[Bench]:
        yield self.bench
        self.leftovers += self.bench.release()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave the chosen ones, in their order."""
        by_case = {item.nodeid: item for item in items}
        items[:] = [by_case[case] for case in self.question_by_case]

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Raise NotAnswered unless there is what the question needs."""
        self.bench.observation = Observation()
        if not self.cases:
            self.began = self.bench.clock.now()
        if reason := self.bench.lacking(self.question_by_case[item.nodeid].needs):
            raise NotAnswered(reason)

    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        """Note how a test ended: with its body, or with an error of any part."""
        if call.excinfo is not None or call.when == "call":
            error = call.excinfo.value if call.excinfo else None
            self.cases.append(_ended(error, self.bench.observation))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """After the last test of a question, its result."""
        question = self.question_by_case[nodeid]
        if nodeid != question.cases[-1]:
            return
        seconds = round(self.bench.clock.now() - self.began, 1)
        self.progress(_result(question, self.cases, self.leftovers, seconds))
        self.cases, self.leftovers = [], []


def _ended(error: BaseException | None, observation: Observation) -> _Case:
    """Also a bug in a question must not cost the others."""
    if error is None:
        return _Case(Verdict.EXPECTED, observation)
    if isinstance(error, AssertionError):
        return _Case(Verdict.DIFFERENT, observation if observation.text else Observation(str(error).partition("\n")[0]))
    is_expected_error = isinstance(error, (NotAnswered, SelftestError, *UNAVAILABLE))
    return _Case(
        Verdict.UNANSWERED, Observation(), str(error) if is_expected_error else f"{type(error).__name__}: {error}"
    )


def _result(question: Question, cases: Sequence[_Case], problems: Sequence[str], seconds: float) -> Result:
    """The result of a question: different if one of its tests was, answered if all were."""
    verdicts = {case.verdict for case in cases}
    verdict = next(each for each in (Verdict.DIFFERENT, Verdict.UNANSWERED, Verdict.EXPECTED) if each in verdicts)
    decisive_cases = [case for case in cases if case.verdict is verdict]
    observations = "; ".join(dict.fromkeys(case.observation.text for case in decisive_cases if case.observation.text))
    whys = dict.fromkeys(case.reason for case in decisive_cases if case.reason)
    reason = "; ".join([*whys, *([f"left behind: {', '.join(problems)}"] if problems else [])])
    facts = {key: value for case in decisive_cases for key, value in case.observation.facts.items()}
    return Result(question.number, question.assumed, question.expected, verdict, observations, reason, facts, seconds)


def report(bench: Bench, results: Sequence[Result]) -> dict[str, Any]:
    """The report as JSON values. The accounts' uids and who made the calls are left out, so that it can be published."""
    endpoint = bench.sdks.settings.host
    document = {
        "tool": "aliyun-selftest",
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(bench.clock.now())),
        "cloud": f"local cloud at {endpoint}" if endpoint else REAL,
        "region": bench.region,
        "python": platform.python_version(),
        "system": sys.platform,
        "packages": {name: _version(name) for name in PACKAGES},
        "instances": bench.options.instances,
        "counts": dict(Counter(result.verdict.value for result in results)),
        "rows": [_without_persons(msgspec.to_builtins(result)) for result in results],
    }
    hidden = {bench.account: "<account>", bench.options.peer: "<peer>"}
    text = msgspec.json.encode(document).decode()
    for uid, word in hidden.items():
        text = text.replace(uid, word) if uid else text
    cleaned: dict[str, Any] = msgspec.json.decode(text)
    return cleaned


def _without_persons(value: Any) -> Any:
    """A JSON value with the texts of PERSONAL fields hidden, at any depth."""
    if isinstance(value, dict):
        return {
            name: "<hidden>" if name in PERSONAL and isinstance(item, str) else _without_persons(item)
            for name, item in value.items()
        }
    return [_without_persons(item) for item in value] if isinstance(value, list) else value


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
