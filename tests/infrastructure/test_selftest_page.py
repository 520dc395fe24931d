"""docs/verify-on-cloud.md is in step with the rows of the selftest and with the committed reports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from link_peer_conformance import page
from link_peer_conformance.first_day import FIRST_DAY
from link_peer_conformance.model import Need, Section, Seen, sorted_rows
from link_peer_conformance.rows import ROWS, SECTIONS
from link_peer_local.core.knobs import readings

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "verify-on-cloud.md"


def report(date: str, number: int, verdict: str, seen: str = "s", cloud: str = "Alibaba Cloud") -> dict[str, Any]:
    row = {"number": number, "verdict": verdict, "seen": seen}
    return {"date": date, "cloud": cloud, "region": "cn-qingdao", "rows": [row]}


def test_the_page_is_up_to_date() -> None:
    """Else run `python -m link_peer_conformance.page`."""
    text = PAGE.read_text(encoding="utf-8")
    assert page.render(text, page.read_reports(DOCS / "selftest")) == text


def test_every_row_says_everything() -> None:
    """What is assumed, what depends on it, the command, the expected result and the cleanup; or why a person must do it."""
    for row in ROWS:
        texts = (row.assumed, row.depends, row.test, row.expected, row.cleanup)
        assert all(text and text == text.strip() and "\n" not in text for text in texts), row.number
        assert bool(row.answer) is not bool(row.by_hand), row.number
        assert "…`" not in row.expected, row.number


def test_rows_refer_to_rows_that_exist() -> None:
    """`#4` in a row's text, or elsewhere on the page, is a row's number."""
    numbers = {row.number for row in ROWS}
    assert {int(number) for number in re.findall(r"#(\d+)", PAGE.read_text(encoding="utf-8"))} <= numbers


def test_the_rows_of_the_first_day_come_first() -> None:
    """Each is a knob of the local cloud, or says why no answer matters; and each has its evidence, with a date."""
    early = [known.number for known in FIRST_DAY]
    assert early == [row.number for row in ROWS][: len(early)]
    assert [row.number for row in ROWS][len(early) :] == sorted({row.number for row in ROWS} - set(early))
    assert {known.knob for known in FIRST_DAY} - {""} <= readings().keys()
    assert all(known.either and known.evidence for known in FIRST_DAY)
    assert all(re.fullmatch(r"20\d\d-\d\d(-\d\d)?", known.dated) for known in FIRST_DAY)


def test_most_rows_are_answered_by_a_function() -> None:
    """The numbers are counted here, so that a row that loses its function is noticed."""
    needs = {need: sum(need in row.needs for row in ROWS) for need in Need}
    assert (len(ROWS), sum(row.answer is not None for row in ROWS)) == (129, 71)
    assert needs == {
        Need.INSTANCES: 13,
        Need.SECOND_VPC: 1,
        Need.PEER: 2,
        Need.ROLE: 10,
        Need.INTERFACES: 1,
    }


def test_two_rows_cannot_have_one_number() -> None:
    """Whichever modules they are in."""
    first, second = Section("a"), Section("b")
    for section in (first, second):
        section.by_hand(7, why="w", assumed="a", depends="d", test="t", expected="e")
    with pytest.raises(ValueError, match="two rows have the number 7"):
        sorted_rows((first, second))


def test_the_newest_report_of_the_real_cloud_counts() -> None:
    """A report that did not answer a row leaves the older answer; one of a local cloud proves nothing."""
    reports = [
        report("2026-12-03T00:00:00Z", 1, "not answered"),
        report("2026-12-02T00:00:00Z", 1, "different", "two rules"),
        report("2026-12-01T00:00:00Z", 1, "as expected"),
        report("2026-12-01T00:00:00Z", 2, "as expected"),
        report("2026-12-04T00:00:00Z", 3, "as expected", cloud="local cloud at 127.0.0.1:1"),
    ]
    assert page.newest(reports) == {
        1: "2026-12-02 (cn-qingdao): **different**: two rules",
        2: "2026-12-01 (cn-qingdao): as expected",
    }


def test_a_report_changes_the_page() -> None:
    """The row's last cell; nothing else."""
    text = PAGE.read_text(encoding="utf-8")
    changed = page.render(text, [report("2026-12-01T00:00:00Z", 1, "as expected")])
    differing = [(a, b) for a, b in zip(text.splitlines(), changed.splitlines(), strict=True) if a != b]
    [(_, line)] = differing
    assert line.startswith("| 1 | ")
    assert line.endswith("| 2026-12-01 (cn-qingdao): as expected |")


def test_committed_reports_are_publishable() -> None:
    """None has an account's uid."""
    for path in (DOCS / "selftest").glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert json.loads(text)["tool"] == "link-peer selftest"
        assert not re.search(r"\b\d{15,20}\b", text), path.name


def test_a_page_without_a_section_is_noticed() -> None:
    """A new module of rows needs its heading and table on the page."""
    with pytest.raises(ValueError, match="the page has tables for"):
        page.render("<!-- rows: Rules -->\n<!-- end -->", [])
    assert len({section.title for section in SECTIONS}) == len(SECTIONS)


def test_a_section_keeps_the_function() -> None:
    """The decorator returns it unchanged, so that rows can be tested one by one."""
    section = Section("a")

    def answer(_bench: Any) -> Seen:
        return Seen("x", True)

    assert section.row(1, assumed="a", depends="d", test="t", expected="e")(answer) is answer
