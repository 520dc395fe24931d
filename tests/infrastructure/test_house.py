"""The project's files for people: what they name exists."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = r"\.ci|\.github|benchmarks|cli|conformance|deploy|docs|events|functions|local|shared|tests"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def anchors(page: Path) -> set[str]:
    """The anchors that GitHub generates for a page's headings."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_actions_are_named_by_their_commits() -> None:
    """Who can move a tag of an action's repository cannot change what runs here, nor what `link-peer init` lets others run."""
    files = [ROOT / "action.yml", ROOT / "deploy" / "init" / "workflow.yml", *(ROOT / ".github").rglob("*.yml")]
    used = [one for path in files for one in re.findall(r"\buses: *(.+)", path.read_text(encoding="utf-8"))]
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)] == []


each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


@each_page
def test_links_lead_to_a_page_and_a_heading(path: Path) -> None:
    """Every relative link of a page, with its anchor. Others are https."""
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        other = path.parent / name if name else path
        assert other.exists(), target
        assert not anchor or anchor in anchors(other.resolve()), target


@each_page
def test_named_files_exist(path: Path) -> None:
    """Every path in code marks that starts with a folder of the project, and every file of one anywhere."""
    text = path.read_text(encoding="utf-8")
    named = re.findall(rf"`((?:{FOLDERS})/(?!test_)[\w./-]*)`", text)
    named += re.findall(r"(?<![\w/])(?:deploy|local|functions|shared)/[\w./-]+\.(?:json|yaml|py)\b", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


@each_page
def test_named_make_targets_exist(path: Path) -> None:
    """`make test` and the like, in code marks and in blocks."""
    targets = set(re.findall(r"^([a-z-]+):.*##", read("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", path.read_text(encoding="utf-8"), re.MULTILINE)) <= targets


def test_what_must_be_executed_whole_is_there() -> None:
    """A module that is renamed would no longer be measured, and nothing would say so."""
    [patterns] = re.findall(r"^WHOLE := (.+)$", read("Makefile"), re.MULTILINE)
    assert [one for one in patterns.split(",") if len(list((ROOT / "shared").glob(one))) != 1] == []
