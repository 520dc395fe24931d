"""The Chinese pages say what the English ones say: the same structure, snippets, tables and links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.pages import generator

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TRANSLATED = [DOCS / page.name for page in sorted((DOCS / "zh").glob("*.md"))]
PAIRS = [(ROOT / "README.md", ROOT / "README.zh-CN.md")] + [
    (page, DOCS / "zh" / page.relative_to(DOCS)) for page in [*TRANSLATED, *sorted((DOCS / "howto").glob("*.md"))]
]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FIGURE = "mermaid"  # its labels are prose
BUILT = re.compile(r"<!-- (\w+) -->\n.*?<!-- /\1 -->\n", re.DOTALL)  # in English, from the code, with the site
HAN = re.compile(r"[\u4e00-\u9fff]")

each_pair = pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=[english.stem for english, _ in PAIRS])


def snippets(text: str) -> list[tuple[str, str]]:
    """Each code block with its language, without comments; of a figure only the number of lines."""
    return [
        (language, str(code.count("\n")) if language == FIGURE else re.sub(r"(?m)\s*(?:^|\s)# .*$", "", code))
        for language, code in FENCED.findall(text)
    ]


def levels(text: str) -> list[str]:
    """The level of each heading."""
    return re.findall(r"^(#+) ", FENCED.sub("", text), re.MULTILINE)


def prose(text: str) -> list[str]:
    """The paragraphs and list items."""
    return [line for line in FENCED.sub("", text).split("\n") if line and not line.startswith(("|", "<!--"))]


def tables(text: str) -> list[tuple[int, int]]:
    """The rows and columns of each table."""
    matches = re.findall(r"(?:^\|.*\n)+", FENCED.sub("", text), re.MULTILINE)
    return [(table.count("\n"), table.splitlines()[1].count("|")) for table in matches]


def code_in_tables(text: str) -> list[str]:
    """What is in backticks in tables: names and values that nobody translates."""
    return re.findall(r"`[^`]+`", "".join(re.findall(r"^\|.*\n", text, re.MULTILINE)))


def links(page: Path) -> list[Path]:
    """The files that a page leads to, a Chinese page counted as its English one."""
    english = {chinese: of for of, chinese in PAIRS}
    paths = [
        (page.parent / target).resolve()
        for target in re.findall(r"\]\((?!https:)([^)#\s:]+)[^)]*\)", BUILT.sub("", page.read_text("utf-8")))
    ]
    return sorted(english.get(path, path) for path in paths if path not in {*PAIRS[0]})


def test_every_chinese_page_has_an_english_one() -> None:
    assert {chinese for _, chinese in PAIRS} == {ROOT / "README.zh-CN.md", *(ROOT / "docs/zh").rglob("*.md")}


@each_pair
def test_a_page_has_the_same_parts(english: Path, chinese: Path) -> None:
    """Levels of headings, snippets except their comments, rows, columns and names of tables, as many paragraphs and
    list items."""
    texts = [BUILT.sub("", page.read_text("utf-8")) for page in (english, chinese)]
    for parts in (levels, snippets, tables, code_in_tables, lambda text: len(prose(text))):
        assert parts(texts[0]) == parts(texts[1])
    assert 2 * len(snippets(texts[0])) == texts[0].count("\n```")


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("operations.md", "remedies"),
        ("auditor.md", "questions"),
        ("requests.md", "fields"),
        ("requests.md", "reasons"),
        *(("audit.md", mark) for mark in ("decision", "observed", "timer", "account", "ocsf")),
    ],
)
def test_what_is_built_in_english_is_translated(name: str, mark: str) -> None:
    """The Chinese page has the same headings, snippets and rows, with the same names, in the same order."""
    [chinese] = re.findall(
        rf"<!-- {mark} -->\n(.*?)<!-- /{mark} -->", (DOCS / "zh" / name).read_text("utf-8"), re.DOTALL
    )
    built = generator()["built"]()[mark]
    for parts in (levels, snippets, tables, code_in_tables):
        assert parts(chinese) == parts(built)


@each_pair
def test_links_lead_to_the_same_pages(english: Path, chinese: Path) -> None:
    """In Chinese where there is a Chinese page."""
    assert links(chinese) == links(english)
    translated = {of for of, _ in PAIRS[1:]}
    targets = {
        (chinese.parent / target).resolve() for target in re.findall(r"\]\(([^)#\s:]+)", chinese.read_text("utf-8"))
    }
    assert not targets & translated


@each_pair
def test_links_say_where_a_page_is_in_english(english: Path, chinese: Path) -> None:
    """Behind each link of a Chinese page to one that has no translation."""
    translated = {*PAIRS[0], *(page for _, page in PAIRS)}
    for target, after in re.findall(r"\]\(([^)#\s:]+\.md)[^)]*\)(（英文）)?", chinese.read_text("utf-8")):
        assert ((chinese.parent / target).resolve() in translated) is not bool(after), target


@each_pair
def test_paragraphs_are_translated(english: Path, chinese: Path) -> None:
    """None of more than a few words was left in English."""
    assert [line for line in prose(chinese.read_text("utf-8")) if not HAN.search(line) and len(line.split()) > 3] == []
