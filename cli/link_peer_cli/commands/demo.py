"""`link-peer demo`: the main scenarios on a local cloud, checked step by step."""

from __future__ import annotations

import io
import sys
import time

import typer
from link_peer.runtime import settings as settings_module
from rich.console import Console
from rich.markup import escape

from link_peer_cli.answers.operation import DemoAnswer
from link_peer_cli.demo.acts import ACTS
from link_peer_cli.demo.local_cloud import describe, environment, running
from link_peer_cli.demo.stage import CheckFailed, Stage
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import Json


def demo(as_json: Json = False) -> None:
    """Run the main scenarios on a local cloud, with the real SDKs over HTTP. Fails if a check fails."""
    out = Console(file=io.StringIO()) if as_json else console()
    started = time.monotonic()
    problem = ""
    with running() as cloud:
        described = describe(cloud)
        out.print(f"A local cloud runs at {described.endpoint}, with the functions of s.yaml deployed on it.")
        stage = Stage(settings_module.load(env=environment(described)), described, out)
        try:
            for act in ACTS:
                act(stage)
        except CheckFailed as error:
            problem = str(error)
    seconds = time.monotonic() - started
    checks = stage.narrator.checks
    if as_json:
        print_answer(DemoAnswer(checks, problem, round(seconds, 1)))
    elif problem:
        console(stderr=True).print(f"[red]The demo failed:[/red] {escape(problem)}")
    else:
        out.print(f"\n[green]{len(checks)} checks passed[/green] in {seconds:.0f} seconds. What to try next:")
        # as this command was called: .venv/bin/link-peer in a checkout, link-peer once it is installed
        called = sys.argv[0] if sys.argv[0].endswith("link-peer") else "link-peer"
        out.print(f"  {escape(called)} local      run a local cloud with the functions; prints what to export")
        out.print(f"  {escape(called)} --help     list all commands")
    if problem:
        raise typer.Exit(Exit.REFUSED)
