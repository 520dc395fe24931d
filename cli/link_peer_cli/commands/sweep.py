"""`link-peer sweep`: from a laptop, what the timer does; or what it would do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.markup import escape

from link_peer_cli.io.console import Exit, console, show

if TYPE_CHECKING:
    from link_peer.engine.scopes.everything import Sweep

    from link_peer_cli.clients.log import Record


def sweep(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; show what would change.")] = False,
    believe_empty: Annotated[
        list[str] | None, typer.Option(help="An account in which there really are no instances; again for more.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make every rule what tags, requests and consent say now, in all accounts of the policy."""
    from link_peer.engine.scopes.everything import Sweep
    from link_peer.runtime.delivery import opened as opened_delivery
    from rich.progress import Progress

    from link_peer_cli.clients.whatif import SECONDS, Kept, suppose
    from link_peer_cli.io.inputs import account, known, opened
    from link_peer_cli.io.records import print_changes, print_records

    believed = [account(uid, "--believe-empty") for uid in believe_empty or []]
    here = opened()
    known(here, believed, "--believe-empty")
    if dry_run:
        delivery, cloud, kept = suppose(here, "sweep")
        changes = cloud.changes
    else:
        delivery = opened_delivery("sweep", SimpleNamespace(function=SimpleNamespace(timeout=SECONDS)))
        delivery.audit = kept = Kept(delivery.audit)
        delivery.retry.clock = here.clock
        changes = []
    err = console(stderr=True)
    with Progress(console=err, transient=True, disable=as_json or not err.is_terminal) as bar:
        tasks = {what: bar.add_task(what, total=None) for what in ("accounts read", "groups read")}
        run = Sweep(
            delivery,
            f"sweep-cli-{int(here.clock.now())}",
            believe_empty=believed,
            progress=lambda what, done, all_: bar.update(tasks[what], completed=done, total=all_),
        )
        run.run()
    summary = next(record for record in reversed(kept.records) if record["record"] == "summary")
    if as_json:
        commands = [msgspec.to_builtins(change) for change in changes]
        show({"decisions": kept.outcomes, "summary": summary, **({"commands": commands} if dry_run else {})})
    else:
        out = console()
        print_records(out, "what would be done" if dry_run else "what was done", kept.outcomes)
        told = ("instances", "groups", "changed", "removed", "held", "denied", "seconds")
        out.print("   ".join(f"{name} {summary[name]}" for name in told))
        if summary.get("detail"):
            out.print(f"[yellow]skipped:[/yellow] {escape(summary['detail'])}", soft_wrap=True)
        if dry_run:
            print_changes(out, changes)
    raise typer.Exit(_exit_code(kept.records, run))


def _exit_code(records: list[Record], run: Sweep) -> Exit:
    """1 where the sweep could not do its work. A link that someone wants and may not have is no failure of it."""
    from link_peer_cli.io.records import unread

    hampered = any(r.get("outcome") == "failed" or r.get("reason") in ("no-access", "paused") for r in records)
    return Exit.REFUSED if hampered or unread(run) else Exit.DONE
