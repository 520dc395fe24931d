"""`link-peer failed`: list failed asynchronous invocations and dead letters, and invoke functions again with their
events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.tags import iso
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.answers.operation import FailedInvocation, Replayed
from link_peer_cli.deployed.functions import deployed_functions, error_message, failed_tasks
from link_peer_cli.deployed.queue import Backlog, Letter, backlog, letters
from link_peer_cli.inventory.shown import EXACT, wording
from link_peer_cli.ui.changes import CHANGES
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines, Output, Service, SortBy, form_of
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.remedies import message
from link_peer_cli.ui.tables import Column, Table, TableForm, by_words, print_table

FAILED = Table(
    FailedInvocation,
    EXACT,
    "No failed invocations, and no dead letters.",
    (
        Column("id"),
        Column("function"),
        Column("time", lambda f, w: w.ago(f.time)),
        Column("status"),
        Column("error or message", lambda f, _: error_message(f.error), short=by_words),
    ),
)


def failed(
    replay: Annotated[
        list[str] | None,
        typer.Option(
            help="Invoke the function again with the event of this invocation. Repeat for more.", metavar="ID"
        ),
    ] = None,
    service: Service = "",
    output: Output = TableForm.TABLE,
    sort_by: SortBy = "",
    as_json: JsonLines = False,
) -> None:
    """List failed asynchronous invocations of auto_link and sweep, newest first, and the messages of the dead-letter
    queue.

    With --replay, invoke functions again instead: that is safe at any time, since every delivery is decided from the
    current state of the cloud. Nothing is removed.
    """
    FAILED.column(sort_by or "id")
    form = form_of(output, as_json=as_json)
    if replay:
        _replay(replay, service, as_json=form is TableForm.JSON)
        return
    env = load_environment(reading=True)
    with waiting("reading the failed invocations"):
        dead_letters = _dead_letters(env)
        tasks = failed_tasks(deployed_functions(env.settings, env.policy.home, service), env.names)
    invocations = [
        FailedInvocation(task.id, task.function, iso(task.started / 1000), task.status, task.error) for task in tasks
    ]
    invocations += map(_of_letter, letters(dead_letters or Backlog([], 0)))
    table = FAILED if dead_letters else msgspec.structs.replace(FAILED, empty_message="No failed invocations.")
    print_table(table, invocations, wording(env.policy, env.now), form, sort_by)
    if dead_letters is None:
        raise typer.Exit(Exit.REFUSED)
    if dead_letters.is_partial:
        console(stderr=True).print("More dead letters may wait behind these")
    elif further := dead_letters.count - len(dead_letters.messages):
        console(stderr=True).print(f"{further} more dead letters wait behind these")


def _replay(ids: Sequence[str], service: str, *, as_json: bool) -> None:
    """Invoke functions again with the events of these invocations."""
    env = load_environment(reading=False)
    functions = deployed_functions(env.settings, env.policy.home, service)
    with waiting("reading the failed invocations"):
        tasks_by_id = {task.id: task for task in failed_tasks(functions, env.names)}
    if unknown := [task_id for task_id in ids if task_id not in tasks_by_id]:
        raise BadInput("--replay", f"{', '.join(unknown)}: no failed invocation has this id")
    CHANGES.expect(f"replay {task_id}" for task_id in ids)
    for task_id in ids:
        task = tasks_by_id[task_id]
        with CHANGES.making(f"replay {task_id}"):
            request_id = functions.invoke(task.function, task.payload.encode(), task.qualifier)
        if as_json:
            print_answer(Replayed(task_id, task.function, request_id))
        else:
            console().print(escape(f"{task_id}: sent to {task.function} again"))
    if not as_json:
        text = "What it opens or closes is recorded: link-peer audit --story prints what takes it back."
        console().print(text)


def _dead_letters(env: Environment) -> Backlog | None:
    """The dead letters; None, with a message, if the queue cannot be read."""
    name = env.names.dead_letters
    try:
        return backlog(env.settings, env.policy.home, name)
    except LinkPeerError as error:
        console(stderr=True).print(f"[yellow]queue {name}: {escape(message(error))}[/yellow]")
        return None


def _of_letter(letter: Letter) -> FailedInvocation:
    """With the function and the error of a failed call that Function Compute put there; else no function, and the
    message."""
    try:
        call = json.loads(letter.body)
        function = str(call["requestContext"]["functionArn"]).rpartition("functions/")[2]
        error = str(call["responsePayload"])
    except (ValueError, KeyError, TypeError):
        function, error = "", letter.body
    return FailedInvocation(letter.id, function, iso(letter.time), "dead-letter", error, letter.body)
