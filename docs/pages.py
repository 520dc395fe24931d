"""Gathers the site's pages in build/pages, for `make docs`: README is the first page, a Chinese page lies beside the
English one as `<name>.zh.md` with its anchors, or an English copy whose title says so, and the files that a page leads
to come along. The pages of commands are written from the code, here alone. As a hook of MkDocs, it gives each language
an index and a site map of its own."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
CHINESE = DOCS / "zh"
SITE = ROOT / "build" / "pages"
FIRST = {ROOT / "README.zh-CN.md": ROOT / "README.md"}
OTHER_PAGES = (
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(ROOT / "local" / name for name in ("README.md", "conformance/README.md")),
)
PUBLISHED = {".css", ".js", ".json", ".md", ".png", ".svg"}
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)#\s]*)(?:#([^)\s]*))?(?=\))")
FIGURE = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TITLE = re.compile(r"^ *accTitle: (.+)$", re.MULTILINE)
"""What a figure says of itself to a screen reader, on GitHub and on the site."""
HEADING = re.compile(r"^#+ (.+)$")
SWITCH = re.compile(r"^\[(?:简体中文|English)\]\(.*\)\n\n", re.MULTILINE)
"""The site has a switch of languages of its own."""
GENERATED = re.compile(r"<!-- (\w+) -->\n.*?<!-- /\1 -->\n", re.DOTALL)
"""Where a reader of GitHub finds what the site has from the code."""
CALLED = re.compile(r"\[([^\]]+)\]\(([^)]+)\)（英文）")
"""An English page, as the Chinese README calls it."""
THEMES_CUT = re.compile(r"(?<=\[\.\.\.)\w+\((\w+,this\.index\.invertedIndex)\)")
"""Where the theme's search cuts a query."""
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


def headings(text: str) -> dict[int, str]:
    """The anchor of each heading, as GitHub makes it, by the number of its line."""
    anchors, fenced = {}, False
    for number, line in enumerate(text.splitlines()):
        fenced ^= line.lstrip().startswith("```")
        if not fenced and (heading := HEADING.match(line)):
            anchors[number] = re.sub(r"[^\w\- ]", "", re.sub(r"\]\(.*?\)", "", heading[1]).lower()).replace(" ", "-")
    return anchors


def rendered(page: Path, text: str, written: Mapping[Path, str]) -> str:
    """A page's text, with links and anchors as the site has them, where some pages have another text."""

    def anchors(path: Path) -> list[str]:
        return list(headings(written.get(path) or path.read_text("utf-8")).values())

    def moved(link: re.Match[str]) -> str:
        target = (page.parent / link[1]).resolve() if link[1] else page
        anchor = link[2]
        if anchor and english(target) != target:
            anchor = dict(zip(anchors(target), anchors(english(target)), strict=True))[anchor]
        path = posixpath.relpath(place(target), posixpath.dirname(place(page))) if link[1] else ""
        return path + (f"#{anchor}" if anchor else "")

    def drawn(figure: re.Match[str]) -> str:
        return f"![{TITLE.findall(figure[1])[0]}]({posixpath.relpath(place(picture(figure[1])), posixpath.dirname(place(page)))})"

    lines = text.splitlines()
    if english(page) != page:
        for number, anchor in zip(headings(text), anchors(english(page)), strict=True):
            lines[number] += f" {{#{anchor}}}"
    text = LINK.sub(moved, SWITCH.sub("", "\n".join(lines) + "\n"))
    return NESTED.sub(lambda match: match[1] or "    - ", FIGURE.sub(drawn, text))


def name_in_chinese(page: Path, text: str) -> str:
    """What the site in Chinese calls a page that is in English only."""
    called = {ROOT / path: name for name, path in CALLED.findall(next(iter(FIRST)).read_text("utf-8"))}
    return (called.get(page) or text.split("\n", 1)[0].removeprefix("# ")) + "（英文）"


def with_front_matter(page: Path, text: str, title: str = "") -> str:
    """A page's text with its title for the navigation, if it is another one. The project's own pages come last in a
    search."""
    lines = [f'title: "{title}"'] if title else []
    lines += ["search: {boost: 0.1}"] if page in OTHER_PAGES else []
    return "\n".join(["---", *lines, "---\n", text]) if lines else text


def from_code() -> dict[Path, str]:
    """The pages of commands, and the English pages that have more on the site, by their path. It needs the project's
    packages."""
    import generate_reference  # the hook runs where its packages are not

    built, pages = generate_reference.built(), generate_reference.command_pages()
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text("utf-8")
        if GENERATED.search(text):
            pages[page] = GENERATED.sub(lambda mark: built[mark[1]], text)
    return pages


def gather() -> None:
    """Write all pages."""
    shutil.rmtree(SITE, ignore_errors=True)
    written = from_code()
    paths = [
        *FIRST,
        *FIRST.values(),
        *OTHER_PAGES,
        *(path for path in sorted(DOCS.rglob("*")) if path.suffix in PUBLISHED),
    ]
    paths += [path for path in written if path not in paths]
    translated = {english(path) for path in paths if english(path) != path}
    for path in paths:
        target = SITE / place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".md":
            shutil.copyfile(path, target)
            continue
        text = written.get(path) or path.read_text("utf-8")
        body, chinese = rendered(path, text, written), target.with_suffix(".zh.md")
        (target if english(path) == path else chinese).write_text(with_front_matter(path, body), encoding="utf-8")
        if path not in translated and english(path) == path:
            titled = with_front_matter(path, body, name_in_chinese(path, text))
            chinese.write_text(titled, encoding="utf-8")
        linked = {(path.parent / link[1]).resolve() for link in LINK.finditer(text)}
        paths += sorted(path for path in linked if path.is_file() and path not in paths)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """A Chinese page, whose scripts look for the index and the site map in `zh`."""
    path = page.file.dest_uri
    if not path.startswith("zh/"):
        return output
    return re.sub(r'"base": "[./]+"', f'"base": "{posixpath.relpath("zh", posixpath.dirname(path))}"', output)


def on_post_build(config: Any) -> None:
    """The index and the site map, one for each language."""
    site = Path(config["site_dir"])
    index = json.loads((site / "search/search_index.json").read_text("utf-8"))
    (site / "zh/search").mkdir(exist_ok=True)
    english = [section for section in index["docs"] if not section["location"].startswith("zh/")]
    chinese = [
        section | {"location": section["location"].removeprefix("zh/")}
        for section in index["docs"]
        if section["location"].startswith("zh/")
    ]
    translated = {section["location"].partition("#")[0] for section in chinese}
    chinese += [section for section in english if section["location"].partition("#")[0] not in translated]
    for folder, sections in (("", english), ("zh", chinese)):
        text = json.dumps(index | {"docs": sections}, ensure_ascii=False)
        (site / folder / "search/search_index.json").write_text(text, encoding="utf-8")
    entries = re.split(r"(?=    <url>\n)|(?<=</url>\n)(?=</urlset>)", (site / "sitemap.xml").read_text("utf-8"))
    pages_in_chinese = re.compile(rf"<loc>{re.escape(config['site_url'] or '')}zh/")
    chinese_entries = [entry for entry in entries if "<loc>" not in entry or pages_in_chinese.search(entry)]
    (site / "zh/sitemap.xml").write_text("".join(chinese_entries), encoding="utf-8")
    cut_queries(site)


def cut_queries(site: Path) -> None:
    """Have the theme's search cut Chinese queries into the words of the index as `words.js` does. Raises ValueError if
    another version of the theme cuts them elsewhere."""
    [worker] = (site / "assets/javascripts/workers").glob("search.*.min.js")
    ours, theirs = (path.read_text("utf-8") for path in (DOCS / "words.js", worker))
    if theirs.startswith(ours):  # in the build of the other language
        return
    text, count = THEMES_CUT.subn(r"words(\1)", theirs)
    if count != 1:
        raise ValueError(f"{worker.name} cuts queries in {count} places")
    worker.write_text(ours + text, encoding="utf-8")


on_post_build.mkdocs_priority = -200  # type: ignore[attr-defined]  # after the plugin i18n (-100) has built the Chinese pages


if __name__ == "__main__":
    gather()
