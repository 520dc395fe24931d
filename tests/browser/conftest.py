"""A headless Chromium for these tests. `make test-browser` says where it is; without, the tests are skipped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from link_peer_cli.ui.drawing.html import html

CHROMIUM = os.environ.get("LINK_PEER_CHROMIUM", "")
WIDTH, HEIGHT = 1280, 800


@pytest.fixture(scope="session", name="chromium")
def _chromium() -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip("make test-browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(name="show")
def _show(chromium: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens the page of a map from a file, at an address with this after its `#`. A test fails if the page logs an
    error or asks for anything else."""
    wrong: list[str] = []
    urls: list[str] = []
    opened = []

    def show(document: Mapping[str, Any], chosen: str = "", **options: Any) -> Any:
        path = tmp_path / "map.html"
        path.write_text(html(document), encoding="utf-8")
        context = chromium.new_context(viewport={"width": WIDTH, "height": HEIGHT}, **options)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("request", lambda request: urls.append(request.url))
        page.goto(path.as_uri() + (f"#{chosen}" if chosen else ""))
        opened.append((page, path))
        return page

    yield show
    for page, path in opened:
        folder = os.environ.get("LINK_PEER_SCREENSHOTS")
        if folder:
            page.screenshot(path=Path(folder) / f"{tmp_path.name}.png")
        assert wrong == []
        assert {url.partition("#")[0] for url in urls} == {path.as_uri()}
        page.context.close()
