"""`link-peer invoke` and `link-peer replay`: invoke deployed functions, also again with the events of failed invocations."""

from __future__ import annotations

from typing import Annotated

import typer
from link_peer.domain.errors import BadInput
from rich.markup import escape

from link_peer_cli.access.environment import load_environment, load_own
from link_peer_cli.access.identity import require_home
from link_peer_cli.access.inputs import document
from link_peer_cli.answers.operation import Invoked, Replayed
from link_peer_cli.deployed.functions import deployed_functions, failed_tasks
from link_peer_cli.ui.changes import CHANGES
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import Json, JsonLines, Qualifier, Service
from link_peer_cli.ui.progress import waiting


def invoke(
    function: Annotated[str, typer.Argument(help="auto_link, cross_account or sweep, or a deployed name.")],
    event: Annotated[str, typer.Argument(help="A file with the event, or - for stdin.")],
    service: Service = "",
    qualifier: Qualifier = "",
    no_wait: Annotated[bool, typer.Option("--async", help="Do not wait for the result.")] = False,
    as_json: Json = False,
) -> None:
    """Invoke a deployed function with an event; print its response and the end of its log."""
    payload = document(event)
    # who invokes this one may state any queue, and so ask in any account's name
    asks = function.replace("_", "-").endswith("cross-account")
    env = load_own() if asks else load_environment(reading=False)
    require_home(env.keys, env.policy)
    functions = deployed_functions(env.settings, env.policy.home, service)
    with waiting(f"waiting for {function}"), CHANGES.making(f"invoke {function}"):
        answer = functions.invoke(env.names.function(function), payload, wait=not no_wait, qualifier=qualifier)
    body = answer.body.decode("utf-8", "replace")
    if as_json:
        print_answer(Invoked(body, answer.error, answer.log, answer.request_id))
    else:
        out = console()
        out.print(escape(answer.log.rstrip()) or f"request {answer.request_id}", soft_wrap=True)
        out.print(escape(body), soft_wrap=True)
    if answer.error:
        raise typer.Exit(Exit.REFUSED)


def replay(
    ids: Annotated[list[str], typer.Argument(help="Ids listed by `link-peer failed`.")],
    service: Service = "",
    as_json: JsonLines = False,
) -> None:
    """Invoke functions again with the events of failed invocations.

    Replaying is safe at any time: every delivery is decided from the current state of the cloud.
    """
    env = load_environment(reading=False)
    functions = deployed_functions(env.settings, env.policy.home, service)
    with waiting("reading the failed invocations"):
        tasks_by_id = {task.id: task for task in failed_tasks(functions, env.names)}
    if unknown := [task_id for task_id in ids if task_id not in tasks_by_id]:
        raise BadInput("id", f"{', '.join(unknown)}: no failed invocation has this id")
    CHANGES.expect(f"replay {task_id}" for task_id in ids)
    for task_id in ids:
        task = tasks_by_id[task_id]
        with CHANGES.making(f"replay {task_id}"):
            answer = functions.invoke(task.function, task.payload.encode(), wait=False, qualifier=task.qualifier)
        if as_json:
            print_answer(Replayed(task_id, task.function, answer.request_id))
        else:
            console().print(escape(f"{task_id}: sent to {task.function} again"), soft_wrap=True)
