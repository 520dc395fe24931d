"""Audit records on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from link_peer_cli.clients.log import Record
from link_peer_cli.io.console import Exit, print_table

if TYPE_CHECKING:
    from link_peer.engine.scopes.everything import Sweep

    from link_peer_cli.clients.whatif import Change

COLUMNS = ("time", "function", "action", "outcome", "reason", "from", "to", "ports", "detail")


def print_records(out: Console, title: str, records: Sequence[Record]) -> None:
    """A table of records, and below it what to do about those that were denied."""
    print_table(out, title, COLUMNS, [[_cell(record, column) for column in COLUMNS] for record in records])
    print_advice(out, (record.get("advice", "") for record in records))


def print_advice(out: Console, advice: Iterable[str]) -> None:
    """Each piece once, on a line of its own, so that it can be copied."""
    for text in dict.fromkeys(filter(None, advice)):
        out.print(f"advice: {escape(text)}", soft_wrap=True)


def print_changes(out: Console, changes: Sequence[Change]) -> None:
    """The commands that make the changes, each with the account to run it in."""
    for change in changes:
        out.print(escape(f"# account {change.account}\n{change.command}"), soft_wrap=True)
    if not changes:
        out.print("Nothing would change.")


def unread(sweep: Sweep) -> dict[str, str]:
    """What a run could not look at, and why: accounts by their uid, and groups for which there was no time."""
    found = {account: f"no-access: {error}" for account, error in sweep.view.blocked.items()}
    found |= {account: f"cannot be read: {why}" for account, why in sweep.failed_reads.items()}
    if sweep.unread:
        found[f"{sweep.unread} groups"] = "no time was left to read them"
    return dict(sorted(found.items()))


def exit_code(records: Sequence[Record]) -> Exit:
    """1 as soon as something was denied or failed, or could not be decided yet."""
    bad = any(record.get("outcome") in ("denied", "failed") or record["record"] == "attempt" for record in records)
    return Exit.REFUSED if bad else Exit.DONE


def _cell(record: Record, column: str) -> str:
    """Parties with their account, records that are no outcome by their kind."""
    if column in ("from", "to"):
        name, account = record.get(column, ""), record.get(f"{column}_account", "")
        return f"{name}@{account}" if name and account else name
    if column == "outcome":
        return record.get("outcome") or f"({record.get('record', '')})"
    return record.get(column, "")
