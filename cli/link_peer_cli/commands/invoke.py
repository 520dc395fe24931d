"""`link-peer invoke`: invoke a deployed function."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from link_peer_cli.io.console import console, print_json
from link_peer_cli.io.exits import Exit
from link_peer_cli.io.options import Json, Service


def invoke(
    function: Annotated[str, typer.Argument(help="The function's deployed name, such as link-peer-sweep.")],
    event: Annotated[str, typer.Argument(help="A file with the event, or - for stdin.")],
    service: Service = "",
    no_wait: Annotated[bool, typer.Option("--async", help="Do not wait for the result.")] = False,
    as_json: Json = False,
) -> None:
    """Invoke a deployed function with an event; print its response and the end of its log."""
    from link_peer_cli.clients.fc.deployed import deployed_functions
    from link_peer_cli.io.environment import load_environment
    from link_peer_cli.io.inputs import document

    payload = document(event)
    env = load_environment(reading=False)
    answer = deployed_functions(env.settings, env.policy.home, service).invoke(function, payload, wait=not no_wait)
    body = answer.body.decode("utf-8", "replace")
    if as_json:
        print_json({"body": body, "error": answer.error, "log": answer.log, "request_id": answer.request_id})
    else:
        out = console()
        out.print(escape(answer.log.rstrip()) or f"request {answer.request_id}", soft_wrap=True)
        out.print(escape(body), soft_wrap=True)
    if answer.error:
        raise typer.Exit(Exit.REFUSED)
