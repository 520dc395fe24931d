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
World = Callable[[], dict[str, Any]]

PROBES = Path(__file__).with_name("probes.js").read_text("utf-8")


def ask(page: Page, name: str, *args: Any) -> Any:
    """What a probe finds."""
    return page.evaluate(f"(given) => ({PROBES.rstrip()}).{name}(given)", args[0] if len(args) == 1 else args)


def click(page: Page, selector: str, label: str) -> None:
    """Click a box or an arrow of the graph."""
    page.mouse.click(*ask(page, "at", selector, label))


def labels(page: Page, selector: str) -> list[str]:
    """What is written in or at the boxes or arrows of the graph, sorted."""
    return sorted(ask(page, "labels", selector))


def names(page: Page, selector: str = "node.party") -> list[str]:
    """The first lines of these labels."""
    return [label.split("\n")[0] for label in labels(page, selector)]


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
    """Waits until a fact holds, for the page to draw. Playwright's own wait is a script that the page refuses to
    run."""
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
    assert labels(page, "edge") == ["3 ports", "mutual · ends in 3 d", "tcp/3306", "tcp/3306 · by address", "tcp/443"]


def test_rules_of_people_and_denied_wishes_are_drawn_apart(show: Show) -> None:
    """With other lines and heads, in lists of their own; a filter leaves those of one maker. A range is a box beside
    the accounts."""
    page = show(maps.full_map())
    assert page.inner_text("#summary").split(" · ")[:3] == [
        "5 links of 5 groups and instances",
        "3 rules of people",
        "1 denied wish",
    ]
    assert labels(page, "node.account") == ["addresses", "payments@example.com", "platform@example.com"]
    looks = [
        ask(page, "style", f"edge.{kind}", "line-color", "target-arrow-shape") for kind in ("link", "rule", "wish")
    ]
    assert [shape for _, shape in looks] == ["triangle", "vee", "triangle"]
    assert len({colour for colour, _ in looks}) == 3
    click(page, "edge.wish", "tcp/3306")
    for words in ("no-consent: orders-db has not accepted", "link-peer accept", "i-bp1cache"):
        assert words in story(page)
    page.select_option("#made_by", "person")
    assert len(labels(page, "edge")) == 3
    page.select_option("#made_by", "link-peer")
    assert len(labels(page, "edge")) == 5
    assert "requests that were denied" in str(page.text_content("#left-out"))


def test_the_panel_counts_all_rules_that_reach_a_party(show: Show) -> None:
    """Whatever the filters leave."""
    page = show(maps.full_map(), "party=sg-bp1db00000000000003@1000000000000001&made_by=link-peer")
    assert page.inner_text("#reached") == "4 rules admit somebody: 2 of link-peer, 2 of people"


@pytest.mark.parametrize(("world", "labelled"), [(maps.five, 5), (maps.forty, 0)])
def test_all_boxes_are_in_view_and_apart_on_opening(show: Show, world: World, labelled: int) -> None:
    """No letters are below 10 pixels. What is written at lines is in view and apart as well, or waits for the
    pointer."""
    page = show(world())
    boxes, inside, letters, written = ask(page, "opened")
    assert boxes == inside == len({link[end] for link in world()["links"] for end in ("from", "to")})
    assert (letters >= 10, written, ask(page, "apart")) == (True, labelled, True)


def test_a_blocked_link_is_dashed_in_another_colour(show: Show) -> None:
    """Beside one that passes, and one of which nothing is known."""
    page = show(maps.five())
    looks = [ask(page, "style", f"edge.{kind}", "line-style", "line-color") for kind in ("open", "blocked", "unknown")]
    assert [style for style, _ in looks] == ["solid", "dashed", "dashed"]
    assert len({colour for _, colour in looks}) == 3


def test_hovering_shows_one_groups_links(show: Show) -> None:
    """All others fade, until the pointer leaves."""
    page = show(maps.five())
    page.mouse.move(*ask(page, "at", "node", "cache"))
    soon(page, lambda: page.inner_text("#hint").startswith("cache (sg-bp1cache"))
    assert len(labels(page, "edge.faded")) == 4
    assert names(page, "node.party.near") == ["cache", "orders"]
    page.mouse.move(*ask(page, "at", "node", "web"))
    soon(page, lambda: page.inner_text("#hint").startswith("web"))
    assert names(page, "node.party.near") == ["orders", "web"]


def test_clicking_an_arrow_tells_its_story(show: Show) -> None:
    """Claims, who asked, since, until, consent and who gave it, and the state with what decides."""
    page = show(maps.five())
    click(page, "edge", "mutual")
    words_shown = story(page)
    assert "orders ↔ ledger" in words_shown
    for words in (
        "request chg-1042",
        "chg-1042: team-orders through link-peer-requests",
        "audits",
        "2026-11-01 08:00 UTC\n24 d old",
        "2026-11-29 00:00 UTC\nends in 3 d",
        "link-accept=sg-bp1app0000000000002, by acs:ram::1000000000000001:user/ops (proven)",
    ):
        assert words in words_shown
    click(page, "edge.blocked", "tcp/3306")
    assert "drop of tcp/3306 by sgr-bp1drop at priority 1" in story(page)
    page.click("text=All links")
    assert "Links (5)" in story(page)


def test_clicking_a_group_shows_only_its_neighbourhood(show: Show) -> None:
    """Who may reach it on its left, whom it may reach on its right. Escape and the browser's Back return."""
    page = show(maps.five())
    all_links = "5 links of 5 groups and instances"
    for back in (lambda: page.keyboard.press("Escape"), page.go_back, lambda: page.click("text=All groups")):
        click(page, "node", "ledger")
        assert summary(page) == "2 of 5 links of 3 groups and instances"
        assert names(page) == ["ledger", "orders", "orders-db"]
        assert labels(page, "node.account") == ["it may reach"]
        assert [words for words in ("May reach (1)", "Mutual (1)") if words not in story(page)] == []
        back()
        soon(page, lambda: summary(page) == all_links)
        assert labels(page, "node.account")[0] == "payments@example.com"
    click(page, "node", "ledger")
    click(page, "node", "orders-db")
    assert ask(page, "across")[-1] == "orders-db"
    click(page, "edge", "tcp/3306")
    page.keyboard.press("Escape")
    assert "May be reached by (2)" in story(page)
    page.click("text=Clear")
    assert summary(page) == all_links


def test_what_is_chosen_is_in_the_address(show: Show) -> None:
    """It is restored when that is opened; what the map does not offer is left out."""
    party = f"sg-bp1ledger0000000005@{list(maps.ACCOUNTS)[1]}"
    page = show(maps.five())
    click(page, "node", "ledger")
    assert page.url.endswith(f"#party={party}")
    page.click("#matrix-view")
    page.select_option("#state", "open")
    chosen = page.url.partition("#")[2]
    assert chosen == f"party={party}&state=open&view=matrix"
    again = show(maps.five(), chosen)
    assert (again.input_value("#party"), again.input_value("#state")) == (party, "open")
    assert again.locator("#matrix").is_visible()
    assert (summary(again), filled(again)) == (summary(page), 3)
    wrong = show(maps.five(), "state=odd&view=odd&collapsed=1&other=1")
    assert summary(wrong) == "5 links of 5 groups and instances"
    assert wrong.url.endswith("map.html")


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

    def look() -> list[str]:
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return [back, *ask(page, "style", "node.party", "background-color"), *ask(page, "style", "edge", "curve-style")]

    assert look() == ["rgb(15, 19, 25)", "rgb(30,37,47)", "unbundled-bezier"]
    page.emulate_media(color_scheme="light")
    soon(page, lambda: look() == ["rgb(246, 247, 249)", "rgb(255,255,255)", "unbundled-bezier"])


# forty groups


def test_forty_groups_are_a_graph_that_search_and_filters_narrow(show: Show) -> None:
    """Each filter, and what it leaves."""
    document = maps.forty()
    links = document["links"]
    page = show(document)
    assert page.locator("#graph canvas").first.is_visible()
    assert summary(page).startswith(f"{len(links)} links")

    def is_count(count: int) -> bool:
        return summary(page).startswith(f"{count} of {len(links)} links")

    page.fill("#text", "Orders-DB")
    named_links = [link for link in links if "orders-db" in (link["from_name"], link["to_name"])]
    assert is_count(len(named_links))
    page.fill("#text", "")
    account = links[0]["from_account"]
    page.select_option("#account", account)
    assert is_count(sum(account in (link["from_account"], link["to_account"]) for link in links))
    page.select_option("#account", "")
    page.select_option("#port", "tcp/5432")
    assert is_count(sum("tcp/5432" in link["ports"] for link in links))
    page.select_option("#port", "")
    page.select_option("#state", "blocked")
    assert is_count(sum(link["state"] == "blocked" for link in links))
    assert labels(page, "edge") == labels(page, "edge.blocked")
    page.fill("#text", "no such name")
    page.click("text=Clear the filters")
    assert summary(page).startswith(f"{len(links)} links")


def test_a_party_is_found_by_its_name(show: Show) -> None:
    """Or by a part of it, where none has it whole."""
    page = show(maps.forty())
    page.fill("#party", "ORDERS-d")
    assert "orders-db" in names(page)
    page.fill("#party", "orders-db")
    assert "of 45 links" in summary(page)
    assert "orders-db" in names(page)


# 300 groups


def test_300_groups_are_a_grid_by_account(show: Show) -> None:
    """All names can be read. Lines are drawn under the pointer only, and a click shows a neighbourhood. Nothing is
    drawn twice."""
    document = maps.three_hundred()
    page = show(document, "view=matrix")
    seconds = {"matrix to graph": ask(page, "painted", "#graph-view", None)}
    boxes, inside, letters, _ = ask(page, "opened")
    assert (boxes, letters) == (293, 10)
    assert inside > 180
    assert labels(page, "edge") == []
    page.mouse.move(*ask(page, "at", "node", "billing-app"))
    soon(page, lambda: page.inner_text("#hint").startswith("billing-app"))
    links = [link for link in document["links"] if "billing-app" in (link["from_name"], link["to_name"])]
    assert len(labels(page, "edge.near")) == len(links) > 0
    for field, value in (("#text", "orders"), ("#text", ""), ("#party", "billing-app"), ("#party", "")):
        seconds[f"{field} {value}"] = ask(page, "painted", field, value)
    assert [replaced for _, replaced in seconds.values()] == [0, 1, 1, 1, 1]
    print({name: round(took, 2) for name, (took, _) in seconds.items()})


def test_the_matrix_is_symmetric_and_ordered(show: Show) -> None:
    """A row and a column for each group, by account and then name; a cell for each pair and direction, which tells its
    story."""
    document = maps.three_hundred()
    page = show(document, "view=matrix")
    mutual = sum(link["ports"] == "mutual" for link in document["links"])
    assert filled(page) == len(document["links"]) + mutual
    rows, columns = (page.locator(f"#matrix .{kind}").all_text_contents() for kind in ("from", "to"))
    links, ends = document["links"], ("from", "to")
    parties = {(maps.ACCOUNTS[link[f"{end}_account"]], link[f"{end}_name"]) for link in links for end in ends}
    assert rows == columns == [name for _, name in sorted(parties)]
    page.click("#matrix .cell.blocked >> nth=0")
    assert "blocked" in story(page)
    assert page.locator("#story").evaluate("(one) => one.scrollWidth <= one.clientWidth")  # no id is cut off


def test_arrow_keys_move_in_the_matrix(show: Show) -> None:
    """From name to name and from link to link, always in view; Enter tells of one, Escape goes back. One stop for the
    Tab key."""
    page = show(maps.five(), "view=matrix")
    assert page.locator("#matrix [tabindex='0']").count() == 1
    page.focus("#matrix [tabindex='0']")

    def at(*keys: str) -> str:
        for key in keys:
            page.keyboard.press(key)
        focused = page.locator(":focus")
        return str(focused.get_attribute("aria-label") or focused.inner_text())

    assert at() == "ledger"
    assert at("ArrowDown", "ArrowDown") == "orders"
    assert at("ArrowRight") == "orders → ledger: mutual · ends in 3 d, open"
    assert at("End") == "orders → orders-db: tcp/3306, blocked"
    assert at("ArrowUp") == "ledger → orders-db: tcp/3306 · by address, open"
    assert at("ArrowUp", "ArrowLeft", "ArrowLeft") == "cache"
    assert at("ArrowLeft", "ArrowLeft", "ArrowUp") == "ledger"
    assert at("ArrowDown", "ArrowRight") == "orders → cache: 3 ports, unknown"
    page.keyboard.press("Enter")
    assert "tcp/6379, tcp/6380, tcp/6381" in story(page)
    page.keyboard.press("Escape")
    assert "Links (5)" in story(page)


def test_what_needs_a_look_comes_first(show: Show) -> None:
    """In the list: what is not open, then what ends soon; and their numbers below the title."""
    links = maps.three_hundred()["links"]
    words = ["blocked", "partly", "half-open", "closing", "unknown"]
    counts = [sum(link["state"] == word for link in links) for word in words]
    page = show(maps.three_hundred())
    summary_texts = [f"{count} {word}" for count, word in zip(counts, words, strict=True)]
    summary_texts.append(f"{sum(link['until'] != '' for link in links)} ending within 7 days")
    assert f" · {' · '.join(summary_texts)} · " in page.inner_text("#summary")
    rows = [row.split(" · ")[1] for row in page.locator("#story .row").all_inner_texts()[: sum(counts) + 1]]
    assert rows == [word for word, n in zip(words, counts, strict=True) for _ in range(n)] + ["ends in 2 d"]
    page.select_option("#state", "open")
    assert " blocked" not in page.inner_text("#summary")


def test_the_matrix_names_the_account_of_its_rows(show: Show) -> None:
    """And of its columns, in bands; both stay in view while they scroll by. The legend is that of cells."""
    page = show(maps.three_hundred(), "view=matrix")
    assert page.locator("#matrix .account-name:not(.turned)").all_inner_texts() == sorted(maps.ACCOUNTS.values())
    assert page.locator("#matrix .account-name.turned").count() == page.locator("#matrix .band.down").count() == 5
    row, column = (page.locator(f"#matrix .account-name{kind} >> nth=0") for kind in (":not(.turned)", ".turned"))
    before = column.bounding_box()
    page.locator("#matrix").evaluate("(one) => one.scrollTo(400, 400)")
    assert column.bounding_box() == pytest.approx(before, abs=2)
    assert row.bounding_box()["y"] == pytest.approx(before["y"] + before["height"], abs=2)
    assert "several links, which differ" in page.inner_text("#legend")
    assert "mutual" not in page.inner_text("#legend")
    page.click("#graph-view")
    words = ("open", "partly", "blocked", "half-open", "closing", "not known", "mutual")
    assert [word for word in words if word not in page.inner_text("#legend")] == []


def test_a_link_of_the_list_is_pointed_out_on_the_map(show: Show) -> None:
    """In the matrix and in the graph, wherever it is."""
    page = show(maps.three_hundred(), "view=matrix")
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
    assert ask(page, "pointed") == title.split(" ")[0]


# what others wrote


def test_what_is_inlined_is_what_npm_publishes() -> None:
    """At the versions that package.json pins, byte for byte, each with its licence."""
    modules = os.environ.get("LINK_PEER_NODE_MODULES")
    if not modules:
        pytest.skip("make test-browser")
    vendor = ROOT / "cli/link_peer_cli/ui/drawing/page/vendor"
    licences = " ".join((vendor / "LICENSES.txt").read_text("utf-8").split())
    [(package, version)] = json.loads((ROOT / "tests/browser/package.json").read_text("utf-8"))["dependencies"].items()
    folder, script = Path(modules) / package, vendor / f"{package}.min.js"
    assert " ".join((folder / "LICENSE").read_text("utf-8").split()) in licences
    assert script.read_bytes() == (folder / "dist" / script.name).read_bytes()
    assert f"{version} ({script.name})" in licences


@pytest.mark.parametrize(
    "name", ["</script><script>document.title='x'</script>", "<img src=x onerror=\"document.title='x'\">"]
)
def test_names_and_tags_are_text(show: Show, name: str) -> None:
    """Wherever they are shown."""
    document = maps.five()
    for link in document["links"]:
        link |= {"to_name": name, "from_name": name, "asked_by": [name], "reasons": [name], "claims": [name]}
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
