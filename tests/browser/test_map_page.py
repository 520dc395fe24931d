"""The page of `link-peer map`, in a real browser with real clicks, at 5, 40 and 300 groups."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser import maps

ROOT = Path(__file__).resolve().parents[2]
Show = Callable[..., Any]
Page = Any

AT = """([selector, value]) => {
  const { cy } = document.getElementById("graph")._cyreg;
  const one = cy.elements(selector).filter((some) => some.data("label").startsWith(value))[0];
  const { x, y } = one.isEdge() ? one.renderedMidpoint() : one.renderedPosition();
  const box = document.getElementById("graph").getBoundingClientRect();
  return [box.x + x, box.y + y];
}"""
"""Where the box or arrow with a label is in the window; `_cyreg` is where Cytoscape.js keeps its graph."""

LABELS = (
    """(selector) => document.getElementById("graph")._cyreg.cy.elements(selector).map((one) => one.data("label"))"""
)


APART = """() => {
      const { cy } = document.getElementById("graph")._cyreg;
      const boxes = cy.nodes(".party, .collapsed").map((one) => one.renderedBoundingBox());
      const labels = cy.edges().map((one) => {
        const { x, y } = one.renderedMidpoint(), half = one.data("label").length * 2.8 * cy.zoom(), tall = 7 * cy.zoom();
        return { x1: x - half, x2: x + half, y1: y - tall, y2: y + tall };
      });
      const meet = (a, b) => a.x1 < b.x2 && b.x1 < a.x2 && a.y1 < b.y2 && b.y1 < a.y2;
      const all = [...boxes, ...labels];
      const inside = (one) => one.x1 > 0 && one.y1 > 0 && one.x2 < cy.width() && one.y2 < cy.height();
      return all.every(inside) && !all.some((one, n) => all.slice(n + 1).some((other) => meet(one, other)));
    }"""
"""Whether all boxes and labels are in view, and none is over another."""


def click(page: Page, selector: str, label: str) -> None:
    """Click a box or an arrow of the graph."""
    page.mouse.click(*page.evaluate(AT, [selector, label]))


def labels(page: Page, selector: str) -> list[str]:
    """What is written in or at the boxes or arrows of the graph, sorted."""
    return sorted(page.evaluate(LABELS, selector))


def story(page: Page) -> str:
    """The panel's text."""
    return str(page.inner_text("#story"))


def summary(page: Page) -> str:
    """The line below the title, up to its first dot."""
    return str(page.inner_text("#summary")).partition(" · ")[0]


def filled(page: Page) -> int:
    """How many cells the matrix has."""
    return int(page.locator("#matrix .cell").count())


def soon(page: Page, fact: Callable[[], bool]) -> None:
    """Waits until a fact holds, for the page to draw. Playwright's own wait is a script that the page refuses to run."""
    for _ in range(200):
        if fact():
            return
        page.wait_for_timeout(50)
    raise AssertionError("never came true")


# five groups


def test_names_and_ports_are_written_in_the_graph(show: Show) -> None:
    """With the ids, and what ends soon."""
    page = show(maps.five())
    assert summary(page) == "5 links of 5 groups and instances"
    assert labels(page, "node.party")[0] == "cache\nsg-bp1cache00000000004"
    assert labels(page, "node.account") == ["payments@example.com", "platform@example.com"]
    assert labels(page, "edge") == ["3 ports", "everything · ends in 3 d", "tcp/3306", "tcp/3306", "tcp/443"]


def test_no_box_is_over_another_and_no_label_over_a_label(show: Show) -> None:
    """Of five groups, all boxes and labels are in view and apart."""
    page = show(maps.five())
    assert page.evaluate(APART)


def test_a_blocked_link_is_dashed_in_another_colour(show: Show) -> None:
    """Beside one that passes, and one of which nothing is known."""
    page = show(maps.five())
    style = """(kind) => {
      const edge = document.getElementById("graph")._cyreg.cy.edges(`.${kind}`)[0];
      return [edge.style("line-style"), edge.style("line-color")];
    }"""
    (one, blue), (two, red), (three, grey) = (page.evaluate(style, kind) for kind in ("passes", "blocked", "unknown"))
    assert (one, two, three) == ("solid", "dashed", "dotted")
    assert len({blue, red, grey}) == 3


def test_hovering_shows_one_groups_links(show: Show) -> None:
    """All others fade, until the pointer leaves."""
    page = show(maps.five())
    page.mouse.move(*page.evaluate(AT, ["node", "cache"]))
    soon(page, lambda: page.inner_text("#hint").startswith("cache (sg-bp1cache"))
    assert len(labels(page, "edge.faded")) == 4
    assert [label.split("\n")[0] for label in labels(page, "node.party.near")] == ["cache", "orders"]
    page.mouse.move(300, 60)
    page.mouse.move(*page.evaluate(AT, ["node", "web"]))
    soon(page, lambda: page.inner_text("#hint").startswith("web"))
    assert [label.split("\n")[0] for label in labels(page, "node.party.near")] == ["orders", "web"]


def test_clicking_an_arrow_tells_its_story(show: Show) -> None:
    """Claims, who asked, since, until, consent and the effect with what decides."""
    page = show(maps.five())
    click(page, "edge", "everything")
    told = story(page)
    assert "orders ↔ ledger" in told
    for words in (
        "request chg-1042",
        "chg-1042: team-orders through link-peer-requests",
        "audits",
        "2026-11-01 08:00 UTC\n24 d old",
        "2026-11-29 00:00 UTC\nends in 3 d",
        "link-accept=sg-bp1app0000000000002",
    ):
        assert words in told
    click(page, "edge.blocked", "tcp/3306")
    assert "drop of tcp/3306 by sgr-bp1drop at priority 1" in story(page)
    page.click("text=All links")
    assert "Links (5)" in story(page)


def test_clicking_a_group_lists_its_links_and_can_show_only_them(show: Show) -> None:
    """The party filter, which Clear takes off."""
    page = show(maps.five())
    click(page, "node", "ledger")
    assert "May reach (1)" in story(page)
    assert "Mutual (1)" in story(page)
    page.click("text=Show only its links")
    assert summary(page) == "2 of 5 links of 3 groups and instances"
    assert page.input_value("#party") == f"sg-bp1ledger0000000005@{list(maps.ACCOUNTS)[1]}"
    page.click("text=Clear")
    assert summary(page) == "5 links of 5 groups and instances"


def test_a_collapsed_account_is_one_box(show: Show) -> None:
    """And expands again from its panel."""
    page = show(maps.five())
    page.click("[aria-label='Collapse platform@example.com']")
    assert labels(page, "node.collapsed") == ["platform@example.com\n4 linked, 3 links inside"]
    assert labels(page, "edge") == ["2 links"]
    click(page, "edge", "2 links")
    assert "Links (2)" in story(page)
    click(page, "node", "platform@example.com")
    page.click("#story >> text=Expand")
    assert len(labels(page, "node.party")) == 5


def test_it_is_dark_when_the_system_is(show: Show) -> None:
    """Also when that changes while the page is open: text stays readable, lines keep their course."""
    page = show(maps.five(), color_scheme="dark")
    look = """() => {
      const { cy } = document.getElementById("graph")._cyreg;
      return [getComputedStyle(document.body).backgroundColor, cy.nodes(".party")[0].style("background-color"),
        cy.edges()[0].style("curve-style")];
    }"""
    dark = page.evaluate(look)
    page.emulate_media(color_scheme="light")
    soon(page, lambda: page.evaluate(look)[1] == "rgb(255,255,255)")
    light = page.evaluate(look)
    assert dark[0] == "rgb(15, 19, 25)"
    assert light[0] == "rgb(246, 247, 249)"
    assert dark[1] == "rgb(30,37,47)"
    assert dark[2] == light[2] == "unbundled-bezier"


# forty groups


def test_forty_groups_are_a_graph_that_search_and_filters_narrow(show: Show) -> None:
    """Each filter, and what it leaves."""
    document = maps.forty()
    links = document["links"]
    page = show(document)
    assert page.locator("#graph canvas").first.is_visible()
    assert summary(page).startswith(f"{len(links)} links")

    def left(count: int) -> bool:
        return summary(page).startswith(f"{count} of {len(links)} links")

    page.fill("#text", "Orders-DB")
    named = [one for one in links if "orders-db" in (one["from_name"], one["to_name"])]
    assert left(len(named))
    page.fill("#text", "")
    account = links[0]["from_account"]
    page.select_option("#account", account)
    assert left(sum(account in (one["from_account"], one["to_account"]) for one in links))
    page.select_option("#account", "")
    page.select_option("#port", "tcp/5432")
    assert left(sum("tcp/5432" in one["ports"] for one in links))
    page.select_option("#port", "")
    page.select_option("#effect", "blocked")
    assert left(sum(one["state"] == "blocked" for one in links))
    assert set(
        page.evaluate("document.getElementById('graph')._cyreg.cy.edges().map((one) => one.hasClass('blocked'))")
    ) == {True}
    page.fill("#text", "no such name")
    page.click("text=Clear the filters")
    assert summary(page).startswith(f"{len(links)} links")


def test_a_party_is_found_by_its_name(show: Show) -> None:
    """Or by a part of it, where none has it whole."""
    page = show(maps.forty())
    page.fill("#party", "ORDERS-d")
    assert "orders-db" in {label.split("\n")[0] for label in labels(page, "node.party")}
    page.fill("#party", "orders-db")
    assert "of 45 links" in summary(page)
    assert "orders-db" in {label.split("\n")[0] for label in labels(page, "node.party")}


# 300 groups


def test_above_60_links_the_map_is_a_matrix(show: Show) -> None:
    """With a cell for each pair and direction; clicked, it tells its story."""
    document = maps.three_hundred()
    page = show(document)
    mutual = sum(one["ports"] == "mutual" for one in document["links"])
    assert page.locator("#matrix").is_visible()
    assert not page.locator("#graph").is_visible()
    assert filled(page) == len(document["links"]) + mutual
    page.click("#matrix .cell.blocked >> nth=0")
    assert "blocked" in story(page)
    assert page.locator("#story").evaluate("(one) => one.scrollWidth <= one.clientWidth")  # no id is cut off


def test_what_needs_a_look_comes_first(show: Show) -> None:
    """In the list: what is blocked, then what ends soon; and their numbers below the title."""
    links = maps.three_hundred()["links"]
    blocked = sum(one["state"] == "blocked" for one in links)
    ending = sum(one["until"] != "" for one in links)
    page = show(maps.three_hundred())
    assert f" · {blocked} blocked · {ending} ending within 7 days · " in page.inner_text("#summary")
    rows = page.locator("#story .row").all_inner_texts()
    assert ["blocked" in row for row in rows] == [n < blocked for n in range(len(rows))]
    assert "ends in 2 d" in rows[blocked]
    page.select_option("#effect", "passes")
    assert " blocked" not in page.inner_text("#summary")


def test_the_matrix_names_the_account_of_its_rows(show: Show) -> None:
    """Above the rows of each account, and at the top while they scroll by; the legend is that of cells."""
    page = show(maps.three_hundred())
    assert page.locator("#matrix .account-name").all_inner_texts() == sorted(maps.ACCOUNTS.values())
    page.locator("#matrix .from >> nth=30").scroll_into_view_if_needed()
    page.locator("#matrix").evaluate("(one) => { one.scrollTop = 600; }")
    name = page.locator("#matrix .account-name >> nth=0").bounding_box()
    assert name["y"] == pytest.approx(page.locator("#matrix").bounding_box()["y"] + 131, abs=2)
    assert page.inner_text("#legend").split("\n")[3:] == ["several links, which differ", "ends within 7 days"]
    page.click("#graph-view")
    assert "mutual" in page.inner_text("#legend")


def test_a_link_of_the_list_is_pointed_out_on_the_map(show: Show) -> None:
    """In the matrix and in the graph, wherever it is."""
    page = show(maps.three_hundred())
    inside = """(one) => { const box = one.getBoundingClientRect(), all = document.getElementById("matrix").getBoundingClientRect();
      return box.x > all.x && box.right < all.right && box.y > all.y && box.bottom < all.bottom; }"""
    title = page.locator("#story .row >> nth=37").inner_text().split("\n")[0]
    page.click("#story .row >> nth=37")
    cell = page.locator("#matrix .cell.near")
    assert cell.get_attribute("aria-label").split(": ")[0] == title.replace("↔", "→")
    assert cell.evaluate(inside)
    page.click("text=All links")
    page.click("#graph-view")
    page.click("#story .row >> nth=37")
    placed = """() => { const { cy } = document.getElementById("graph")._cyreg, [edge, ...more] = cy.edges(".near");
      const { x, y } = edge.renderedMidpoint();
      return !more.length && x > 0 && y > 0 && x < cy.width() && y < cy.height() && edge.data("arrow").source.party.name; }"""
    assert page.evaluate(placed) == title.split(" ")[0]


def test_hovering_a_row_of_the_matrix_shows_its_links(show: Show) -> None:
    """Its cells and their columns stand out."""
    page = show(maps.three_hundred())
    page.hover("#matrix .from >> text=billing-app-2")
    near = page.locator("#matrix .cell.near").count()
    assert 0 < near < 5
    assert page.locator("#matrix .to.near").count() >= 1
    page.click("#matrix .from >> text=billing-app-2")
    assert "billing-app-2" in story(page)


def test_a_search_that_leaves_few_links_is_a_graph_again(show: Show) -> None:
    """The view follows the number of links until a person chooses."""
    page = show(maps.three_hundred())
    page.fill("#text", "orders-db-2")
    assert page.locator("#graph").is_visible()
    assert "orders-db-2" in {label.split("\n")[0] for label in labels(page, "node.party")}
    page.click("#matrix-view")
    assert 0 < filled(page) < 20
    page.fill("#text", "")
    page.click("#graph-view")
    assert len(labels(page, "edge")) == 420


def test_300_groups_collapse_to_their_accounts(show: Show) -> None:
    """At most one arrow for each pair of accounts; the counts add up to all links."""
    document = maps.three_hundred()
    page = show(document)
    page.click("#collapse")
    assert len(labels(page, "node.collapsed")) == 5
    arrows = labels(page, "edge")
    inside = [label.split(", ")[1] for label in labels(page, "node.collapsed") if "inside" in label]
    assert len(arrows) <= 10
    assert page.evaluate(APART)
    assert sum(int(label.split()[0]) for label in [*arrows, *inside]) == len(document["links"])
    page.click("#collapse")
    assert page.locator("#matrix").is_visible()


# what others wrote


def test_what_is_inlined_is_what_npm_publishes() -> None:
    """At the versions that package.json pins, byte for byte, each with its licence."""
    modules = os.environ.get("LINK_PEER_NODE_MODULES")
    if not modules:
        pytest.skip("make test-browser")
    vendor = ROOT / "cli/link_peer_cli/ui/drawing/page/vendor"
    licences = " ".join((vendor / "LICENSES.txt").read_text("utf-8").split())
    for package, version in json.loads((ROOT / "tests/browser/package.json").read_text("utf-8"))[
        "dependencies"
    ].items():
        folder = Path(modules) / package
        licence = " ".join((folder / "LICENSE").read_text("utf-8").split())
        assert licence in licences
        script = vendor / f"{package}.min.js"
        if package in ("cytoscape", "cytoscape-dagre"):
            assert script.read_bytes() == (folder / "dist" / script.name).read_bytes()
            assert f"{version} ({script.name})" in licences


@pytest.mark.parametrize(
    "name", ["</script><script>document.title='x'</script>", "<img src=x onerror=\"document.title='x'\">"]
)
def test_names_and_tags_are_text(show: Show, name: str) -> None:
    """Wherever they are shown."""
    document = maps.five()
    for one in document["links"]:
        one |= {"to_name": name, "from_name": name, "asked_by": [name], "reasons": [name], "claims": [name]}
    document["problems"] = [name]
    page = show(document)
    page.click("#story .row >> nth=0")
    assert name in story(page)
    page.click("#matrix-view")
    page.click("#matrix .cell >> nth=0")
    assert name in page.inner_text("#problems")
    assert page.title() == "Who may reach whom · link-peer"
    assert page.locator("#story img, #story script").count() == 0


def test_without_links_the_page_says_so(show: Show) -> None:
    """And nothing breaks."""
    page = show(maps.document([]))
    assert page.locator("#empty").is_visible()


def test_on_a_narrow_screen_nothing_is_wider_than_the_window(show: Show) -> None:
    """The panel is below the map."""
    page = show(maps.five())
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
