"""Rows: what link-peer assumes of the real cloud, the command that settles it, and a function that does so where one can."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from link_peer_conformance.bench import Bench


class Need(Enum):
    """What a row needs besides throw-away groups; the value is what to do about its absence."""

    INSTANCES = "needs --instances"
    SECOND_VPC = "needs a second VPC with a marked group"
    PEER = "needs --peer"
    ROLE = "needs --role"
    INTERFACES = "needs --vswitch"


class Verdict(str, Enum):
    """How a row ended."""

    EXPECTED = "as expected"
    DIFFERENT = "different"
    UNANSWERED = "not answered"


class NotAnswered(Exception):
    """A row cannot be answered here; the message says why."""


class Seen(msgspec.Struct, frozen=True):
    """What a row saw: in words, whether that is what the code assumes, and figures for the report."""

    text: str
    expected: bool
    facts: dict[str, Any] = {}


Answer = Callable[["Bench"], Seen]


class Row(msgspec.Struct, frozen=True):
    """One assumption. All texts are Markdown on one line; `by_hand` says why no function answers it."""

    number: int
    section: str
    assumed: str
    depends: str
    test: str
    expected: str
    cleanup: str
    needs: frozenset[Need] = frozenset()
    answer: Answer | None = None
    by_hand: str = ""


GROUPS = "delete the groups"


class Section:
    """The rows of one module, under one heading of the page. A row is a decorated function, or a call of `by_hand`."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.rows: list[Row] = []

    def row(
        self,
        number: int,
        *needs: Need,
        assumed: str,
        depends: str,
        test: str,
        expected: str,
        cleanup: str = GROUPS,
    ) -> Callable[[Answer], Answer]:
        """Add a row that the decorated function answers."""

        def add(answer: Answer) -> Answer:
            self.rows.append(
                Row(number, self.title, assumed, depends, test, expected, cleanup, frozenset(needs), answer)
            )
            return answer

        return add

    def by_hand(
        self,
        number: int,
        *,
        why: str,
        assumed: str,
        depends: str,
        test: str,
        expected: str,
        cleanup: str = "none",
    ) -> None:
        """Add a row that a person must answer, and say why."""
        self.rows.append(Row(number, self.title, assumed, depends, test, expected, cleanup, by_hand=why))


def sorted_rows(sections: Iterable[Section]) -> tuple[Row, ...]:
    """All rows by number. ValueError if two have one number."""
    rows = sorted((row for section in sections for row in section.rows), key=lambda row: row.number)
    numbers = [row.number for row in rows]
    if twice := {number for number in numbers if numbers.count(number) > 1}:
        raise ValueError(f"two rows have the number {min(twice)}")
    return tuple(rows)
