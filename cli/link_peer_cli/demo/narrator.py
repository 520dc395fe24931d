"""What the demo prints, and the checks that it makes."""

from __future__ import annotations

from typing import Any

from link_peer.runtime.ports import Record
from rich.console import Console
from rich.markup import escape


class CheckFailed(Exception):
    """The cloud is not in the state that the demo expects."""


class Narrator:
    """Prints the demo. `names` maps ids to the names that tables and records show instead; `checks` keeps results."""

    def __init__(self, out: Console) -> None:
        self.out = out
        self.names: dict[str, str] = {}
        self.checks: list[dict[str, Any]] = []

    def heading(self, title: str) -> None:
        """Start a new act."""
        self.out.print()
        self.out.rule(f"[bold]{escape(title)}[/bold]", align="left")

    def say(self, text: str) -> None:
        """Print a line."""
        self.out.print(escape(text), soft_wrap=True)

    def short(self, text: str) -> str:
        """Return `text` with names in place of ids."""
        for key, name in self.names.items():
            text = text.replace(key, name)
        return text

    def check(self, what: str, actual: object, expected: object) -> None:
        """Record and print whether a check passes. Raises CheckFailed if it does not."""
        good = actual == expected
        self.checks.append({"check": what, "seen": repr(actual), "good": good})
        self.out.print(f"  [green]✓[/green] {escape(what)}" if good else f"  [red]✗[/red] {escape(what)}")
        if not good:
            raise CheckFailed(f"{what}: expected {expected!r}, found {actual!r}")

    def show_record(self, record: Record) -> None:
        """Print the main fields of an audit record."""
        reason = f" ({record['reason']})" if record.get("reason") else ""
        self.say(self.short(f"  audit: {record['outcome']}{reason}  {record.get('detail', '')}".rstrip()))
        if record.get("advice"):
            self.say(f"  advice: {record['advice']}")
