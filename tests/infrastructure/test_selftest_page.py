"""docs/verify-on-cloud.md is in step with the questions of the selftest and with the committed reports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from aliyun_conformance import page
from aliyun_conformance.question import FIRST_DAY, FIRST_EVENING
from aliyun_conformance.run import questions
from aliyun_local.api import readings

DOCS = Path(__file__).resolve().parents[2] / "docs"
REPORTS = DOCS.parent / "local/conformance/reports"
TEXT = (DOCS / "verify-on-cloud.md").read_text(encoding="utf-8")
SECTIONS = {
    title: [cells for cells in map(page.cells_of, text.splitlines()) if cells and cells[0].isdigit()]
    for title, _, text in (section.partition("\n") for section in TEXT.split("\n## "))
}
EITHER, PUBLIC = SECTIONS["Works with either answer"], SECTIONS["What public sources answer"]
ROWS = [cells for rows in SECTIONS.values() for cells in rows]
BY_HAND = [cells for cells in ROWS if cells not in EITHER + PUBLIC and len(cells) == 5]
OF_THE_LOCAL_CLOUD = [8, 10, 12, 67, 75, 76, 78, *range(133, 170), 193, 194]
"""The rows of the selftest that are not on the page."""
NUMBERS = [*(int(cells[0]) for cells in ROWS if cells not in EITHER + PUBLIC), *OF_THE_LOCAL_CLOUD]
LAST = "Nothing depends on it, or public sources answer it"
ASKED = {question.number: question for question in questions()}


def report(
    date: str, number: int, verdict: str, observation: str = "s", cloud: str = "Alibaba Cloud"
) -> dict[str, Any]:
    row = {"number": number, "verdict": verdict, "seen": observation}
    return {"date": date, "cloud": cloud, "region": "cn-qingdao", "rows": [row]}


def test_the_page_is_up_to_date() -> None:
    """Else run `.venv/bin/python -m aliyun_conformance.page docs/verify-on-cloud.md local/conformance/reports`."""
    assert page.render(TEXT, questions(), list(page.read_reports(REPORTS))) == TEXT


def test_the_questions_say_what_a_row_assumes() -> None:
    """And the options that it needs. Whatever the page had there is replaced; no other row changes."""
    changed = [f"| {cells[0]} | By hand | {cells[2]} |" for cells in ROWS if len(cells) == 3]
    rendered = page.render("\n".join(["| # | assumed | what depends on it |", *changed]), questions(), [])
    rows = [cells for cells in map(page.cells_of, rendered.splitlines()[1:]) if cells]
    assert [int(cells[0]) for cells in rows] == [
        int(cells[0]) for cells in ROWS if int(cells[0]) in ASKED and len(cells) == 3
    ]
    for number, assumption, _ in rows:
        question = ASKED[int(number)]
        assert assumption.startswith(question.assumed)
        options = assumption.removeprefix(question.assumed)
        assert bool(options) == bool(question.needs)
        assert all(need.value.removeprefix("needs ") in options for need in question.needs)
    by_hand = "| # | assumed | what depends on it | how to test | expected |\n| 1 | By hand | c | t | e |\n"
    assert page.render(by_hand, questions(), []) == by_hand


def test_every_row_says_everything() -> None:
    """What is assumed and what depends on it; of a row that no question asks, also the command and the expected result.
    The page says which questions it leaves out."""
    assert all(all(cells) for cells in ROWS)
    assert "(#8, #10, #12, #67, #75, #76, #78, #133 to #169, #193, #194)" in TEXT
    assert {int(cells[0]) for cells in BY_HAND} | ASKED.keys() == set(NUMBERS)
    assert len(NUMBERS) == len(set(NUMBERS)) == len(BY_HAND) + len(ASKED)


def test_rows_refer_to_rows_that_exist() -> None:
    """`#4` in a row's text, or elsewhere on the page, is a row's number."""
    assert {int(number) for number in re.findall(r"#(\d+)", TEXT)} <= set(NUMBERS)


def test_the_rows_that_a_first_deployment_meets_are_asked_first() -> None:
    """In their order on the page, which is that of the tables by harm; each has its public evidence, with a date,
    once."""
    numbers = [int(cells[0]) for cells in EITHER]
    assert numbers == [number for number in NUMBERS if number in numbers]
    assert list(FIRST_DAY) == [number for number in numbers if number in ASKED] == list(ASKED)[: len(FIRST_DAY)]
    assert all(re.fullmatch(r"20\d\d(-\d\d(-\d\d)?)?", cells[4]) for cells in EITHER + PUBLIC)
    evidence = [cells[0] for cells in EITHER + PUBLIC]
    assert len(evidence) == len(set(evidence))


def test_the_page_names_the_rows_of_a_first_evening() -> None:
    """In the order in which they are asked; none of them is one on which nothing depends."""
    before_a_deployment = TEXT.partition("1. **Before a deployment**")[2].partition("\n")[0]
    assert tuple(map(int, re.findall(r"#(\d+)", before_a_deployment))) == FIRST_EVENING
    assert not {int(cells[0]) for cells in SECTIONS[LAST]} & set(FIRST_EVENING)


EACH_READING = re.compile(
    r"^@(?:with_either_answer\(|pytest\.mark\.parametrize\(\s*\"\w+\", readings\(\)\[)\"(\w+)\"", re.MULTILINE
)
"""A test whose parameters are all readings of a knob, whatever these are."""


def test_what_works_with_either_answer_is_tested_under_each() -> None:
    """Its knobs are those of the local cloud under each of whose readings a test of link-peer runs, all of them."""
    tests = (DOCS.parent / "tests").rglob("test_*.py")
    tested = {knob for path in tests for knob in EACH_READING.findall(path.read_text(encoding="utf-8"))}
    assert {knob for cells in EITHER for knob in re.findall(r"`(\w+)`", cells[2])} == tested
    assert tested <= readings().keys()


def test_what_public_sources_settle_is_asked_last() -> None:
    """Each row that is settled is in the last tables, those on which nothing depends."""
    settled = {int(cells[0]) for cells in PUBLIC if cells[1] == "settled"}
    assert settled <= {int(cells[0]) for cells in SECTIONS[LAST]}
    assert {cells[1] for cells in PUBLIC} == {"settled", "half", "open"}


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


def test_the_page_has_what_a_report_saw() -> None:
    """In the order of the rows."""
    reports = [
        report("2026-12-02T00:00:00Z", 5, "different", "two rules"),
        report("2026-12-01T00:00:00Z", 4, "as expected"),
    ]
    rendered = page.render(TEXT, questions(), reports)
    assert (
        "- #4: 2026-12-01 (cn-qingdao): as expected\n- #5: 2026-12-02 (cn-qingdao): **different**: two rules\n"
        in rendered
    )


def test_committed_reports_are_publishable() -> None:
    """None has an account's uid."""
    for path in REPORTS.glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert json.loads(text)["tool"] in ("aliyun-selftest", "first_evening")
        assert not re.search(r"\b\d{15,20}\b", text), path.name
