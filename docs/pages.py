"""Gathers the site's pages in build/pages, for `make docs`: README is the first page, a Chinese page lies beside the English one
as `<name>.zh.md` with its anchors, or an English copy whose title says so, and the files that a page leads to come along."""

from __future__ import annotations

import hashlib
import posixpath
import re
import shutil
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
CHINESE = DOCS / "zh"
SITE = ROOT / "build" / "pages"
FIRST = {ROOT / "README.zh-CN.md": ROOT / "README.md"}
OTHERS = (
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(ROOT / "local" / name for name in ("README.md", "conformance/README.md")),
)
SHOWN = {".md", ".json", ".png", ".svg"}
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)#\s]*)(?:#([^)\s]*))?(?=\))")
FIGURE = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$")
SWITCH = re.compile(r"^\[(?:简体中文|English)\]\(.*\)\n\n", re.MULTILINE)
"""The site has a switch of languages of its own."""
WORLD = re.compile(r"^<!-- world: (.*) -->\n(# .*\n)")
TRY = """
!!! tip "Try it without an account"
    The ids are those of `link-peer local --world {world}` ([the local cloud](../local.md#start)). Paste the `export` lines that it prints into a second terminal, and then the commands of this page. Instead of the console, `link-peer accept` writes `link-accept`, and a copy of the [world's file](../local.md#worlds) gives an instance its tags.
"""
TRY_IN_CHINESE = """
!!! tip "无需账号即可试用"
    本页的 ID 来自 `link-peer local --world {world}`（[本地云](../local.md#start)（英文））。请将它输出的 `export` 语句粘贴到第二个终端，然后在其中运行本页的命令。本地云没有控制台：`link-accept` 用 `link-peer accept` 写入；实例的标签写在[环境文件](../local.md#worlds)（英文）的副本中。
"""
"""The world in which a page's commands are tested, which a reader can start, too."""
CALLED = re.compile(r"\[([^\]]+)\]\(([^)]+)\)（英文）")
"""An English page, as the Chinese README calls it."""
NESTED = re.compile(r"^(```.*?^```$)|^ {2}- ", re.DOTALL | re.MULTILINE)
"""A list in a list: Python's Markdown wants four spaces. Code blocks stay as they are."""


def english(page: Path) -> Path:
    """The English page of a Chinese one; any other file itself."""
    return DOCS / page.relative_to(CHINESE) if page.is_relative_to(CHINESE) else FIRST.get(page, page)


def place(path: Path) -> str:
    """Where a file is on the site. A page has one place in all languages."""
    path = english(path)
    if path in FIRST.values():
        return "index.md"
    return path.relative_to(DOCS).as_posix() if path.is_relative_to(DOCS) else f"project/{path.relative_to(ROOT)}"


def picture(figure: str) -> Path:
    """The picture of a figure, which `make pictures` draws."""
    return DOCS / "pictures" / f"{hashlib.sha256(figure.encode()).hexdigest()[:16]}.svg"


def headings(page: Path) -> dict[int, str]:
    """The anchor of each heading, as GitHub makes it, by the number of its line."""
    anchors, fenced = {}, False
    for number, line in enumerate(page.read_text("utf-8").splitlines()):
        fenced ^= line.lstrip().startswith("```")
        if not fenced and (heading := HEADING.match(line)):
            anchors[number] = re.sub(r"[^\w\- ]", "", re.sub(r"\]\(.*?\)", "", heading[1]).lower()).replace(" ", "-")
    return anchors


def rendered(page: Path) -> str:
    """A page's text, with links and anchors as the site has them."""

    def moved(link: re.Match[str]) -> str:
        target = (page.parent / link[1]).resolve() if link[1] else page
        anchor = link[2]
        if anchor and english(target) != target:
            anchor = dict(zip(headings(target).values(), headings(english(target)).values(), strict=True))[anchor]
        path = posixpath.relpath(place(target), posixpath.dirname(place(page))) if link[1] else ""
        return path + (f"#{anchor}" if anchor else "")

    def drawn(figure: re.Match[str]) -> str:
        return f"![]({posixpath.relpath(place(picture(figure[1])), posixpath.dirname(place(page)))})"

    lines = page.read_text("utf-8").splitlines()
    if english(page) != page:
        for number, anchor in zip(headings(page), headings(english(page)).values(), strict=True):
            lines[number] += f" {{#{anchor}}}"
    text = LINK.sub(moved, SWITCH.sub("", "\n".join(lines) + "\n"))
    tip = TRY if english(page) == page else TRY_IN_CHINESE
    text = WORLD.sub(lambda match: match[2] + tip.format(world=match[1]), text)
    return NESTED.sub(lambda match: match[1] or "    - ", FIGURE.sub(drawn, text))


def in_english(page: Path) -> str:
    """What the site in Chinese calls a page that is in English only. The search finds the page itself, so not this copy."""
    called = {ROOT / path: name for name, path in CALLED.findall(next(iter(FIRST)).read_text("utf-8"))}
    name = called.get(page) or page.read_text("utf-8").split("\n", 1)[0].removeprefix("# ")
    return f'---\ntitle: "{name}（英文）"\nsearch: {{exclude: true}}\n---\n\n'


def gather() -> None:
    """Write all pages."""
    shutil.rmtree(SITE, ignore_errors=True)
    paths = [*FIRST, *FIRST.values(), *OTHERS, *(path for path in sorted(DOCS.rglob("*")) if path.suffix in SHOWN)]
    translated = {english(path) for path in paths if english(path) != path}
    for path in paths:
        target = SITE / place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".md":
            shutil.copyfile(path, target)
            continue
        chinese = target.with_suffix(".zh.md")
        (target if english(path) == path else chinese).write_text(rendered(path), encoding="utf-8")
        if path not in translated and english(path) == path:
            chinese.write_text(in_english(path) + rendered(path), encoding="utf-8")
        linked = {(path.parent / link[1]).resolve() for link in LINK.finditer(path.read_text("utf-8"))}
        paths += sorted(path for path in linked if path.is_file() and path not in paths)


if __name__ == "__main__":
    gather()
