"""What tables have on a terminal, and how instants are worded for people and for programs."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer.domain.tags import iso
from link_peer_cli.checks.obsolete import OBSOLETE
from link_peer_cli.inventory.shown import EXACT, LINKS, Wording
from link_peer_cli.ui.tables import Table
from link_peer_cli.usage.shown import USES

from tests.unit.small_world import NOW

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
    """`…` is shortened, `!` has colours, and the column with the highest number is left out first; `-o wide` has the others, too."""
    columns = [
        f"{column.name}{'…' if column.short else ''}{'!' if column.colours else ''}{f'({rank})' if (rank := column.dispensable) else ''}"
        for column in table.columns
        if not column.wide
    ]
    assert " ".join(columns) == usual
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
