"""What tables have on a terminal, and how instants are worded for people and for programs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from link_peer.domain.model import ALL, TAG, Claim, Link, Party, Port
from link_peer.domain.policy import AccountPolicy
from link_peer.domain.tags import iso
from link_peer.views.reach import Scene
from link_peer.views.standing import Standing
from link_peer_cli.access.environment import Environment
from link_peer_cli.answers.links import LinkAnswer
from link_peer_cli.audit.story import RequestStories
from link_peer_cli.checks.obsolete import OBSOLETE
from link_peer_cli.inventory.reading import View
from link_peer_cli.inventory.shown import (
    EXACT,
    LINKS,
    Wording,
    instances_text,
    link_answer,
    links_about,
    own_names,
    short_names,
    span,
)
from link_peer_cli.ui.tables import Table
from link_peer_cli.usage.shown import USES
from msgspec.structs import replace

from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, POLICY, REGION, A, B, C, D
from tests.unit.snapshots import group, instance, key, ours, view

PEOPLE = Wording(NOW, {})
LAYOUTS: list[tuple[Table[Any, Any], str, str]] = [
    (
        LINKS,
        "from… to… ports… state! since(2) until claims…(1)",
        "asked by, consent, consented by, written, instances, detail, last used, narrow, rules, link",
    ),
    (
        USES,
        "group… rule(4) admits… ports… use! by(1) only(2) not known(3) becomes may go",
        "direction, priority, left, in the way, revoke, put back",
    ),
    (OBSOLETE, "kind group… since(1) what… why…", "rule"),
]


@pytest.mark.parametrize(("table", "usual", "wide"), LAYOUTS)
def test_a_terminal_has_the_usual_columns(table: Table[Any, Any], usual: str, wide: str) -> None:
    """`…` is shortened, `!` has colours, and the column with the highest number is left out first; `-o wide` has the
    others, too."""
    columns = [
        f"{column.name}{'…' if column.short else ''}{'!' if column.colours else ''}{f'({rank})' if (rank := column.dispensable) else ''}"
        for column in table.columns
        if not column.wide
    ]
    assert " ".join(columns) == usual
    assert (isinstance(table.answer, type), table.exact) == (True, EXACT)
    assert ", ".join(column.name for column in table.columns if column.wide) == wide


@pytest.mark.parametrize(
    ("words", "instant", "texts"),
    [
        (PEOPLE, NOW + 86_400, ("2026-11-26T00:00:00Z (in 1 d)", "in 1 d")),
        (PEOPLE, NOW, ("2026-11-25T00:00:00Z (over)", "over")),
        (PEOPLE, None, ("open-ended", "open-ended")),
        (EXACT, NOW, ("2026-11-25T00:00:00Z", "2026-11-25T00:00:00Z")),
        (EXACT, None, ("", "open-ended")),
    ],
)
def test_an_end_is_worded_for_people_and_exact_for_programs(
    words: Wording, instant: float | None, texts: tuple[str, str]
) -> None:
    end = "" if instant is None else iso(instant)
    assert (words.until(end), words.remaining_time(end)) == texts


SQL = Port("tcp", 3306, 3306)
LINK = Standing(
    APP,
    DB,
    (SQL,),
    (TAG, Claim("chg-1")),
    (ours(key(DB, APP, "tcp/3306")),),
    since=NOW,
    until=int(NOW) + 60,
    askers=(A,),
    consent=("sg-db link-accept=sg-app", "policy allow x"),
)
SCENE = Scene(
    view(
        [group(APP, name="orders"), group(DB)],
        [instance(A, APP, ip="10.0.0.1"), instance(B, DB), instance(C, APP)],
        LINK.rules,
    )
)
EXPECTED = {
    "from": APP.id, "from_account": HOME, "from_name": "orders", "to": DB.id, "to_account": HOME, "to_name": "",
    "ports": "tcp/3306", "state": "open", "since": "2026-11-25T00:00:00Z", "until": "2026-11-25T00:01:00Z",
    "claims": ["tag", "chg-1"], "deployment": "old", "asked_by": [str(A)], "reasons": [],
    "consent": ["sg-db link-accept=sg-app", "policy allow x"], "consented_by": ["ann", "unknown"], "instances": 2,
    "written": "by reference", "written_detail": "", "by_address": [],
    "rules": [{"account": HOME, "group": DB.id, "direction": "ingress", "rule_id": LINK.rules[0].id}],
    "link": Link(APP, DB, (SQL,)).id(REGION),
}  # fmt: skip


def test_a_link_is_told_with_all_that_explains_it() -> None:
    """What nobody knows of it is empty, or unknown."""
    history = RequestStories()
    history.consented = {LINK.consent[0]: "ann"}
    answer = msgspec.to_builtins(link_answer(SCENE, LINK, history, REGION, "old"))
    assert {name: answer[name] for name in EXPECTED} == EXPECTED
    plain = link_answer(SCENE, replace(LINK, since=None, until=None, askers=()), RequestStories(), REGION, "")
    assert (plain.since, plain.until, plain.asked_by) == ("", "", [])


def test_the_cells_of_a_link_name_its_ends_for_people_and_for_programs() -> None:
    answer = link_answer(SCENE, LINK, RequestStories(), REGION, "old")
    cells = {column.name: column.text(answer, EXACT) for column in LINKS.columns}
    assert (cells["from"], cells["to"], cells["since"]) == (f"{APP} (orders)", str(DB), "2026-11-25T00:00:00Z")
    assert (cells["claims"], cells["instances"]) == ("tag chg-1 (of deployment old)", "2")
    people = Wording(NOW + 7200, {HOME: "main"}, {APP: "orders"})
    briefs = {column.name: column.text(answer, people, brief=True) for column in LINKS.columns}
    assert (briefs["from"], briefs["to"], briefs["since"]) == ("orders@main", f"{DB.id}@main", "2 h ago")
    assert (briefs["until"], LINKS.column("until").text(answer, people)) == ("over", "2026-11-25T00:01:00Z (over)")
    assert people.worded(f"{APP} and {DB}") == f"orders@main and {DB.id}@main"
    assert people.by_ids.worded(str(APP)) == f"{APP.id}@main"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h"), (86_399, "23 h"), (172_800, "2 d")],
)
def test_a_span_is_in_its_largest_unit(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("titles", "count", "text"),
    [([], None, ""), ([], 2, "2"), (["i-1@1 (a)", "i-2@1"], 2, "2: i-1 i-2"), (["i-1@1"] * 5, 5, "5:" + " i-1" * 5), (["i-1@1"] * 6, 6, "6:" + " i-1" * 5 + " …")],
)  # fmt: skip
def test_the_instances_of_a_link_by_address_are_named(titles: list[str], count: int | None, text: str) -> None:
    """The first five."""
    assert instances_text(cast(LinkAnswer, SimpleNamespace(by_address=titles, instances=count))) == text


@pytest.mark.parametrize(
    ("end", "ports", "is_about"),
    [
        (APP, (), True),
        (DB, (SQL,), True),
        (A, (), True),  # it is in the group
        (D, (), False),
        (CACHE, (), False),
        (APP, (Port("tcp", 3000, 4000),), True),
        (APP, (Port("tcp", 1, 2), SQL), True),
        (APP, (Port("udp", 3306, 3306),), False),
    ],
)
def test_links_are_about_their_ends_and_ports(end: Party, ports: tuple[Port, ...], is_about: bool) -> None:
    """Of an instance, those of its groups; a mutual link is about every port."""
    cloud_view = cast(View, SimpleNamespace(scene=SCENE, find=lambda *_: end))
    env = cast(Environment, SimpleNamespace())
    assert links_about(env, cloud_view, [LINK], "x", "party", ports) == [LINK] * is_about
    mutual = replace(LINK, ports=(ALL,))
    assert links_about(env, cloud_view, [mutual], "", "party", (Port("udp", 1, 1),)) == [mutual]


def test_a_name_stands_for_one_party_of_an_account_alone() -> None:
    """One of two parties, one of the policy, and one that reads like an id are none."""
    names = {APP: "orders", DB: "twin", CACHE: "twin", A: "sg-9", B: "node 1", C: "node-1", D: "alias"}
    groups = {party: group(party, name=name) for party, name in names.items() if party.is_group}
    instances = {party: replace(instance(party), name=name) for party, name in names.items() if not party.is_group}
    policy = replace(POLICY, names={"alias": "sg-db"})
    assert own_names(policy, Scene(view(groups.values(), instances.values()))) == {APP: "orders", C: "node-1"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("main", {HOME: "main"}), ("a b", {}), ("x" * 32, {HOME: "x" * 32}), ("x" * 33, {}), ("twin", {})],
)
def test_a_short_name_stands_for_one_account(name: str, expected: dict[str, str]) -> None:
    accounts = {HOME: AccountPolicy(name), PEER: AccountPolicy("twin")}
    names = short_names(replace(POLICY, accounts=accounts))
    assert {uid: text for uid, text in names.items() if uid == HOME} == expected
