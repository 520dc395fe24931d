"""Writes into the tables of a page what the questions and the committed reports say: `python -m aliyun_conformance.page PAGE REPORTS`.

A row is written by hand, and of a question only what depends on it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aliyun_conformance.question import Question, Verdict
from aliyun_conformance.run import REAL, questions

Report = Mapping[str, Any]
SEEN_ROWS = re.compile(r"(?<=<!-- seen-rows -->\n).*?(?=\n<!-- /seen-rows -->)", re.DOTALL)
"""Where a page says what was seen."""
HEADINGS = ["#", "assumed", "what depends on it"]
"""Those of a table of questions."""


def render(page: str, questions: Sequence[Question], reports: Sequence[Report]) -> str:
    """The page with what its questions assume, and what was seen of its rows, written anew. It need not have a row for each
    question. Raises KeyError for a row without a question."""
    by_number = {question.number: question for question in questions}
    lines: list[str] = []
    names: list[str] = []
    for line in page.splitlines():
        cells = cells_of(line)
        if not cells or not cells[0].isdigit():
            names = cells or names
        elif names == HEADINGS:
            number, _, consequence = (cell.replace("|", r"\|") for cell in cells)
            assumption = _assumption(by_number[int(number)]).replace("|", r"\|")
            line = f"| {number} | {assumption} | {consequence} |"
        lines.append(line)
    observations = (
        "\n".join(f"- #{number}: {outcome}" for number, outcome in sorted(newest(reports).items())) or "Nothing yet."
    )
    return SEEN_ROWS.sub(lambda _: observations, "\n".join(lines) + "\n")


def cells_of(line: str) -> list[str]:
    """The cells of a row of a table; empty for any other line, and for the dashes below a heading."""
    if not line.startswith("| "):
        return []
    return [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _assumption(question: Question) -> str:
    """What a question assumes; in parentheses, the options with which alone it is asked."""
    needs = sorted(need.value.removeprefix("needs ") for need in question.needs)
    options = " and ".join(f"`{need}`" if need.startswith("--") else need for need in needs)
    return f"{question.assumed} ({options})" if needs else question.assumed


def newest(reports: Sequence[Report]) -> dict[int, str]:
    """What the newest report of the real cloud that answered a row says of it. Reports of a local cloud prove nothing."""
    outcomes: dict[int, str] = {}
    for report in sorted(reports, key=lambda each: str(each["date"])):
        if report["cloud"] != REAL:
            continue
        for row in report["rows"]:
            if row["verdict"] == Verdict.UNANSWERED.value:
                continue
            when = f"{str(report['date'])[:10]} ({report['region']})"
            is_expected = row["verdict"] == Verdict.EXPECTED.value
            outcomes[int(row["number"])] = (
                f"{when}: as expected" if is_expected else f"{when}: **different**: {row['seen']}"
            )
    return outcomes


def read_reports(folder: Path) -> Iterator[Report]:
    """The committed reports."""
    for path in sorted(folder.glob("*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def main(page: Path, reports: Path) -> None:
    """Rewrite a page by the reports of a folder."""
    page.write_text(
        render(page.read_text(encoding="utf-8"), questions(), list(read_reports(reports))), encoding="utf-8"
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
