"""The built site: what a reader searches for is the first result in their language, and each language has a map and a
navigation of its own.

Run by `make docs`, which sets LINK_PEER_SITE to the folder of the site; skipped without.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

SITE = Path(os.environ.get("LINK_PEER_SITE", ""))
pytestmark = pytest.mark.skipif("LINK_PEER_SITE" not in os.environ, reason="make docs builds the site")

QUERIES = {
    "expire": "howto/give-a-link-an-end.html",
    "IPv6": "tags.html",
    "why blocked": "operations.html",
    "who can reach": "howto/who-opened-this.html",
    "health check": "operations.html",
    "upgrade": "deploy.html",
    "timeline": "howto/who-opened-this.html",
    "uninstall": "deploy.html",
    "hijacked": "threat-model.html",
    "emergency": "howto/close-everything.html",
}
CHINESE_QUERIES = {
    "健康检查": "operations.html",
    "IPv6": "tags.html",
    "到期": "howto/give-a-link-an-end.html",
    "卸载": "deploy.html",
    "升级": "deploy.html",
    "谁放通的": "howto/who-opened-this.html",
    "密钥泄露": "operations.html",
    "配额已满": "operations.html",
    "季度报告": "auditor.html",
}
"""Phrases, too: each of the last four has a word that no page has, or ends with the word that tells."""


@cache
def first_results(folder: str) -> dict[str, str]:
    """The page that the theme's search gives first, by the query."""
    queries = CHINESE_QUERIES if folder else QUERIES
    script = Path(__file__).with_name("search.js")
    finished = subprocess.run(  # noqa: S603  # our own script
        [str(shutil.which("node")), str(script), str(SITE), folder, *queries],
        check=True,
        capture_output=True,
        text=True,
    )
    return {query: (pages or [""])[0] for query, pages in json.loads(finished.stdout).items()}


needs_node = pytest.mark.skipif(not shutil.which("node"), reason="the search of the site is JavaScript")


@needs_node
@pytest.mark.parametrize("query", QUERIES)
def test_a_search_finds_the_page_first(query: str) -> None:
    assert first_results("")[query] == QUERIES[query]


@needs_node
@pytest.mark.parametrize("query", CHINESE_QUERIES)
def test_a_search_in_chinese_finds_the_page_first(query: str) -> None:
    assert first_results("zh")[query] == CHINESE_QUERIES[query]


def test_each_language_has_an_index_of_its_own() -> None:
    """The English one has no Chinese page; the Chinese one has each page once, in English where it is not
    translated."""
    indexes = [json.loads((SITE / folder / "search/search_index.json").read_text("utf-8")) for folder in ("", "zh")]
    english, chinese = ({section["location"].split("#")[0] for section in index["docs"]} for index in indexes)
    assert [location for location in english if location.startswith("zh/")] == []
    assert {"index.html", "tags.html", "guarantees.html", "commands/see.html"} <= english & chinese


@pytest.mark.parametrize("folder", ["", "zh/"])
def test_each_language_has_a_site_map_and_a_navigation(folder: str) -> None:
    """The scripts of a page look for the site map in the folder of its language; that of the site has all. Only the
    notes of the deployment's folders, to which pages lead, are not in the navigation."""
    paths = {path.relative_to(SITE).as_posix() for path in (SITE / folder).rglob("*.html")} - {"404.html"}
    locations = re.findall(r"<loc>(.*?)</loc>", (SITE / folder / "sitemap.xml").read_text("utf-8"))
    assert sorted(locations) == sorted(paths)
    pages = {path for path in paths if path.startswith("zh/") is bool(folder)}
    front = (SITE / folder / "index.html").read_text("utf-8")
    assert '"base": "."' in front
    navigation = {folder + page for page in re.findall(r'<a href="([^"#]+)" class="md-nav__link', front)}
    assert [page for page in pages - navigation if not page.startswith(f"{folder}project/deploy/")] == []
