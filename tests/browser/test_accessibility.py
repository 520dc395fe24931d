"""The map and the page of evidence, as people with a keyboard, a small screen or a screen reader have them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from link_peer_cli.ui.printed import printed

from tests.browser import maps

Show = Callable[..., Any]
MODULES = os.environ.get("LINK_PEER_NODE_MODULES", "")
PHONE = {"width": 390, "height": 844}
SITE = Path(__file__).parents[2] / "build" / "site"
PAGES = ("index", "first-hour", "deploy", "tags", "howto/link-two-groups", "threat-model", "zh/index", "zh/tags")
"""Of each kind that the site has: a picture, a figure, wide tables, code in several languages."""
FOCUSABLE = "a[href], button, input, select, summary, [tabindex]"
REACHABLE = f"""() => [...document.querySelectorAll('{FOCUSABLE}')].filter(
    (each) => each.tabIndex >= 0 && !each.disabled && each.checkVisibility()).length"""


def violations(page: Any) -> list[tuple[str, list[str]]]:
    """What axe objects to: its rule, and the elements."""
    page.evaluate((Path(MODULES) / "axe-core/axe.min.js").read_text("utf-8"))
    answer = page.evaluate("() => axe.run()")
    return [(rule["id"], [node["html"][:160] for node in rule["nodes"]]) for rule in answer["violations"]]


def is_wider_than_the_window(page: Any) -> bool:
    """Whether the page as a whole scrolls sideways."""
    return bool(page.evaluate("() => document.documentElement.scrollWidth > innerWidth"))


def tab_stops(page: Any) -> int:
    """How many elements the Tab key reaches, until it comes to the first again or leaves the page."""
    page.evaluate("() => { window.stops = new Set(); document.activeElement.blur(); }")
    for _ in range(page.evaluate(REACHABLE) + 5):
        page.keyboard.press("Tab")
        page.evaluate("() => document.activeElement !== document.body && window.stops.add(document.activeElement)")
    return int(page.evaluate("() => window.stops.size"))


def evidence() -> str:
    """A page of evidence, with a section that is empty."""
    row = ["2026-11-26T00:00:00Z", "sg-bp1app0000000000002@1000000000000001", "opened for a reason" * 9]
    facts = [["period", "a month"], ["SHA-256 of the CSV", "0123456789abcdef" * 4]]
    return printed(
        "evidence", facts, ["time", "from", "key"], [("Opened", "Each change.", [row, row]), ("Closed", "", [])]
    )


@pytest.fixture(name="load")
def _load(chromium: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page, given as its text."""
    contexts = []

    def load(text: str, **options: Any) -> Any:
        path = tmp_path / "page.html"
        path.write_text(text, encoding="utf-8")
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.goto(path.as_uri())
        return page

    yield load
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("world", [maps.full_map, maps.forty])
@pytest.mark.parametrize("view", ["graph", "matrix"])
def test_axe_finds_nothing_in_the_map(show: Show, world: Callable[[], dict[str, Any]], view: str, scheme: str) -> None:
    """With the list in its panel, and with the story of a link."""
    page = show(world(), f"view={view}", color_scheme=scheme)
    assert violations(page) == []
    page.click("#story .row")
    assert violations(page) == []


def test_axe_finds_nothing_in_the_evidence(load: Show) -> None:
    """Which fits a phone: its tables scroll by themselves, also by keyboard."""
    page = load(evidence(), viewport=PHONE)
    assert violations(page) == []
    assert not is_wider_than_the_window(page)
    assert tab_stops(page) == page.evaluate(REACHABLE) == 2


@pytest.mark.parametrize("view", ["graph", "matrix"])
def test_the_keyboard_reaches_every_control_and_link_of_the_map(show: Show, view: str) -> None:
    """Each link, rule and wish is in the list of the panel; Enter tells its story, Escape goes back."""
    document = maps.full_map()
    page = show(document, f"view={view}")
    rows = page.locator("#story .row")
    people = [rule for rule in document["rules"] if rule["made_by"] == "person"]
    assert rows.count() == len(document["links"]) + len(people) + len(document["denied"])
    assert tab_stops(page) == page.evaluate(REACHABLE)
    rows.last.focus()
    page.keyboard.press("Enter")
    assert "no-consent" in page.inner_text("#story")
    page.keyboard.press("Escape")
    assert rows.count() > 1


def test_nothing_in_the_map_moves(show: Show) -> None:
    """Whoever asks for reduced motion has it, and so has everybody else."""
    page = show(maps.full_map(), reduced_motion="reduce")
    page.click("#matrix-view")
    page.click("#story .row")
    assert page.evaluate("() => document.getAnimations().length") == 0


def test_the_map_fits_a_phone(show: Show) -> None:
    """In both views, and with what it leaves out unfolded."""
    page = show(maps.full_map())
    page.set_viewport_size(PHONE)
    page.click("summary")
    for view in ("graph", "matrix"):
        page.click(f"#{view}-view")
        assert not is_wider_than_the_window(page)


@pytest.mark.skipif(not SITE.exists(), reason="make docs has not built the site")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_in_the_site(chromium: Any, name: str, scheme: str) -> None:
    """On a phone, which its pages fit; what is wider scrolls by itself."""
    context = chromium.new_context(viewport=PHONE, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto((SITE / f"{name}.html").as_uri(), wait_until="load")
    try:
        assert violations(page) == []
        assert not is_wider_than_the_window(page)
    finally:
        context.close()
