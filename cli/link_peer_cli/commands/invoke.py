"""`link-peer invoke`, `failed`, `replay`: deployed functions, on FC 3.0 and FC 2.0."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from link_peer_cli.io.console import Exit, console, print_table, show

if TYPE_CHECKING:
    from link_peer_cli.clients.fc import Functions, Task

Service = Annotated[str, typer.Option(help="The service of FC 2.0 that holds the functions; none: FC 3.0.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ERROR_WIDTH = 100  # characters of an error in a table; --json has it whole


def invoke(
    function: Annotated[str, typer.Argument(help="The function's name, as deployed: link-peer-sweep.")],
    event: Annotated[str, typer.Argument(help="A file with the event; - for stdin.")],
    service: Service = "",
    no_wait: Annotated[bool, typer.Option("--async", help="Hand the event over, and do not wait.")] = False,
    as_json: Json = False,
) -> None:
    """Call a deployed function with an event, and show its answer and the end of its log."""
    from link_peer_cli.io.inputs import document

    given = document(event)
    answer = _functions(service).invoke(function, given, wait=not no_wait)
    if as_json:
        body = answer.body.decode("utf-8", "replace")
        show({"body": body, "error": answer.error, "log": answer.log, "request_id": answer.request_id})
    else:
        out = console()
        out.print(escape(answer.log.rstrip()) or f"request {answer.request_id}", soft_wrap=True)
        out.print(escape(answer.body.decode("utf-8", "replace")), soft_wrap=True)
    if answer.error:
        raise typer.Exit(Exit.REFUSED)


def failed(service: Service = "", as_json: Json = False) -> None:
    """List the asynchronous calls of auto_link and sweep that the platform has given up, newest first."""
    from link_peer.runtime.clock import iso

    found = _lost(_functions(service))
    if as_json:
        for task in found:
            time = iso(task.started / 1000)
            show({"id": task.id, "function": task.function, "time": time, "status": task.status, "error": task.error})
        return
    rows = [(t.id, t.function, iso(t.started / 1000), t.status, _cause(t.error)[:ERROR_WIDTH]) for t in found]
    print_table(console(), "failed calls", ("id", "function", "time", "status", "error"), rows)


def replay(
    ids: Annotated[list[str], typer.Argument(help="Ids that `link-peer failed` shows.")],
    service: Service = "",
    as_json: Json = False,
) -> None:
    """Hand failed calls over again, as they were. Nothing else is needed: every delivery is decided anew."""
    from link_peer.domain.errors import BadInput

    functions = _functions(service)
    known = {task.id: task for task in _lost(functions)}
    if unknown := [task_id for task_id in ids if task_id not in known]:
        raise BadInput("id", f"{', '.join(unknown)}: no failed call has that id")
    for task_id in ids:
        task = known[task_id]
        answer = functions.invoke(task.function, task.payload.encode(), wait=False)
        if as_json:
            show({"id": task_id, "function": task.function, "request_id": answer.request_id})
        else:
            console().print(escape(f"{task_id}: {task.function} has it again"), soft_wrap=True)


def _functions(service: str) -> Functions:
    from link_peer_cli.clients.fc import functions
    from link_peer_cli.io.inputs import opened

    here = opened()
    return functions(here.settings, here.policy.home, service)


def _lost(functions: Functions) -> list[Task]:
    from link_peer_cli.clients.fc import LOST, WITH_TASKS

    found = [task for name in WITH_TASKS for task in functions.tasks(name) if task.status in LOST]
    return sorted(found, key=lambda task: -task.started)


def _cause(error: str) -> str:
    """The message out of the platform's error document, where it is one."""
    try:
        return str(json.loads(error)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return error
