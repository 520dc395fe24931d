"""Writes the tables of docs/verify-on-cloud.md from the rows and the committed reports: `python -m link_peer_conformance.page`.

The first table has what is known of the rows that decide the first day. Each table of rows stands between `<!-- rows: TITLE -->` and `<!-- end -->`; the rest of the page is written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from link_peer_conformance.first_day import FIRST_DAY
from link_peer_conformance.model import Row, Section, Verdict
from link_peer_conformance.rows import SECTIONS
from link_peer_conformance.run import REAL

HEADING = (
    "| # | assumed | what depends on it | how to test | expected | cleanup | selftest | seen |\n"
    "|---|---|---|---|---|---|---|---|"
)
FIRST_HEADING = "| # | either answer works, since | knob | public evidence | of |\n|---|---|---|---|---|"
NOT_YET = "not yet"
_FIRST = re.compile(r"(<!-- first day -->\n).*?(<!-- end -->)", re.DOTALL)
_TABLE = re.compile(r"(<!-- rows: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)

Report = Mapping[str, Any]


def render(page: str, reports: Sequence[Report]) -> str:
    """The page with its tables written anew. ValueError if the page lacks a section, or names an unknown one."""
    sections = {section.title: section for section in SECTIONS}
    named = [match[2] for match in _TABLE.finditer(page)]
    if sorted(named) != sorted(sections):
        raise ValueError(f"the page has tables for {', '.join(named)}; there are {', '.join(sections)}")
    seen = newest(reports)
    page = _FIRST.sub(lambda match: f"{match[1]}\n{first_day()}\n\n{match[2]}", page)
    return _TABLE.sub(lambda match: f"{match[1]}\n{table(sections[match[2]], seen)}\n\n{match[3]}", page)


def first_day() -> str:
    """What is known of the rows that decide the first day, as a Markdown table."""
    lines = [FIRST_HEADING]
    for known in FIRST_DAY:
        knob = f"`{known.knob}`" if known.knob else "–"
        lines.append(f"| {known.number} | {known.either} | {knob} | {known.evidence} | {known.dated} |")
    return "\n".join(lines)


def table(section: Section, seen: Mapping[int, str]) -> str:
    """The rows of one section, as a Markdown table."""
    lines = [HEADING]
    for row in sorted(section.rows, key=lambda row: row.number):
        cells = (
            str(row.number),
            row.assumed,
            row.depends,
            row.test,
            row.expected,
            row.cleanup,
            _selftest(row),
            seen.get(row.number, NOT_YET),
        )
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def newest(reports: Sequence[Report]) -> dict[int, str]:
    """What the newest report of the real cloud that answered a row says of it. Reports of a local cloud prove nothing."""
    found: dict[int, str] = {}
    for report in sorted(reports, key=lambda each: str(each["date"])):
        if report["cloud"] != REAL:
            continue
        for row in report["rows"]:
            if row["verdict"] == Verdict.UNANSWERED.value:
                continue
            when = f"{str(report['date'])[:10]} ({report['region']})"
            same = row["verdict"] == Verdict.EXPECTED.value
            found[int(row["number"])] = f"{when}: as expected" if same else f"{when}: **different**: {row['seen']}"
    return found


def _selftest(row: Row) -> str:
    """Whether `link-peer selftest` answers a row, and what it needs for that."""
    if row.by_hand:
        return f"no: {row.by_hand}"
    needs = sorted(need.value.removeprefix("needs ") for need in row.needs)
    return f"with {' and '.join(f'`{n}`' if n.startswith('--') else n for n in needs)}" if needs else "yes"


def read_reports(folder: Path) -> list[Report]:
    """The committed reports."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def main() -> None:
    """Rewrite the page of this checkout."""
    docs = Path(__file__).resolve().parents[2] / "docs"
    page = docs / "verify-on-cloud.md"
    page.write_text(render(page.read_text(encoding="utf-8"), read_reports(docs / "selftest")), encoding="utf-8")


if __name__ == "__main__":
    main()
