"""`link-peer demo`: the whole story on a local cloud, checked step by step."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from link_peer_cli.clients.local_cloud import environment, running
from link_peer_cli.io.console import Exit, console, print_table, show

if TYPE_CHECKING:
    from link_peer_cli.demo.stage import Stage


def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON instead of telling.")] = False,
) -> None:
    """Tell the whole story on a local cloud, with the real SDKs over HTTP; fails if anything is not as it should be."""
    from link_peer.runtime import settings as settings_module
    from link_peer_local.world import describe

    from link_peer_cli.demo import accounts as story_accounts
    from link_peer_cli.demo import sweep as story_sweep
    from link_peer_cli.demo import tags as story_tags
    from link_peer_cli.demo.stage import NotAsExpected, Stage

    out = Console(file=io.StringIO()) if as_json else console()
    started = time.monotonic()
    problem = ""
    with running() as cloud:
        described = describe(cloud)
        out.print(f"A local cloud serves at {described['endpoint']}, with the functions of s.yaml deployed on it.")
        stage = Stage(settings_module.load(env=environment(described)), described, out)
        try:
            for act in (story_tags, story_accounts, story_sweep):
                act.play(stage)
            _audit(stage)
        except NotAsExpected as error:
            problem = str(error)
    seconds = time.monotonic() - started
    if as_json:
        show({"checks": stage.checks, "problem": problem, "seconds": round(seconds, 1)})
    elif problem:
        console(stderr=True).print(f"[red]Not as it should be:[/red] {escape(problem)}")
    else:
        out.print(f"\n[green]{len(stage.checks)} checks passed[/green] in {seconds:.0f} seconds. To explore on:")
        out.print(
            "  .venv/bin/link-peer local      a cloud that stays, with the functions on it; prints what to export"
        )
        out.print("  .venv/bin/link-peer --help     what else there is")
    if problem:
        raise typer.Exit(Exit.REFUSED)


def _audit(stage: Stage) -> None:
    """Every decision of the story, read back from the log."""
    stage.act("What the audit log says of all this")
    records = stage.log.read("record: outcome", stage.started)
    fields = ("time", "function", "action", "outcome", "reason", "from", "to", "ports", "detail")
    rows = [[stage.short(record.get(name, "")) for name in fields] for record in records]
    print_table(stage.out, "audit log (outcomes)", fields, rows)
    words = {record["outcome"] for record in records}
    stage.check("it holds what was applied, denied and removed", words >= {"applied", "denied", "removed"}, True)
