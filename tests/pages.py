"""The English pages: on which shelf each is, in which world its commands run, and how many words it has. `python -m
tests.pages` counts the words."""

from __future__ import annotations

import re
import runpy
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
SHELVES = {"Tutorial": "教程", "How-to": "操作指南", "Reference": "参考", "Explanation": "说明"}
"""The first word of the line below a page's title, in English and in Chinese."""
LABEL = re.compile(r"^# .+\n\n\*(Tutorial|How-to|Reference|Explanation|教程|操作指南|参考|说明)[.。]")
WORLD = re.compile(r"^\*.*`link-peer local --world ([\w-]+)`[.。]\*$", re.MULTILINE)


def generator() -> dict[str, Any]:
    """What docs/generate_reference.py defines."""
    with mock.patch.object(sys, "path", [str(ROOT / "docs"), *sys.path]):
        return runpy.run_path(str(ROOT / "docs/generate_reference.py"))


def english_pages() -> list[Path]:
    """The README and the committed pages of docs."""
    pages = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "zh" not in page.parts]
    return [ROOT / "README.md", *pages]


def shelf(text: str) -> str:
    """The shelf that a page names below its title; empty if it names none."""
    label = LABEL.match(text)
    return label[1] if label else ""


def world(text: str) -> str:
    """The world of the local cloud in which a page says that its commands run; empty if it names none."""
    line = WORLD.search(text)
    return line[1] if line else ""


def words() -> dict[Path, int]:
    """The words of each page, as `wc -w` counts them."""
    return {page: len(page.read_text("utf-8").split()) for page in english_pages()}


if __name__ == "__main__":
    counts, of_shelves = words(), Counter[str]()
    for page, count in sorted(counts.items(), key=lambda item: -item[1]):
        name = shelf(page.read_text("utf-8")) or "README"
        of_shelves[name] += count
        print(f"{count:>6}  {name:<12}{page.relative_to(ROOT)}")
    built = [*generator()["command_pages"]().values(), *generator()["built"]().values()]
    totals = [*of_shelves.most_common(), ("all", sum(counts.values()))]
    totals.append(("from the code, with the site", sum(len(text.split()) for text in built)))
    print(*(f"{count:>6}  {name}" for name, count in totals), sep="\n")
