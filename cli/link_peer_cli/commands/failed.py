"""`link-peer failed`: list failed asynchronous invocations and dead letters."""

from __future__ import annotations

import json

from link_peer.domain.errors import LinkPeerError
from link_peer.domain.tags import iso
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.deployed.functions import deployed_functions, error_message, failed_tasks
from link_peer_cli.deployed.queue import Letter, peek, waiting_messages
from link_peer_cli.inventory.shown import wording
from link_peer_cli.ui.console import console, print_json
from link_peer_cli.ui.options import JsonLines, Service
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.tables import print_table

ERROR_WIDTH = 100  # characters of an error in the table; --json prints all of it


def failed(service: Service = "", as_json: JsonLines = False) -> None:
    """List failed asynchronous invocations of auto_link and sweep, newest first, and the messages of the dead-letter queue.

    `link-peer replay` takes the ids of invocations. Nothing is removed.
    """
    env = load_environment(reading=True)
    with waiting("reading the failed invocations"):
        letters, count = _dead_letters(env)
        tasks = failed_tasks(deployed_functions(env.settings, env.policy.home, service), env.names)
    abouts = [(letter, _about(letter)) for letter in letters]
    if as_json:
        for task in tasks:
            time = iso(task.started / 1000)
            print_json(
                {"id": task.id, "function": task.function, "time": time, "status": task.status, "error": task.error}
            )
        for letter, (function, error) in abouts:
            shown = {"id": letter.id, "function": function, "time": iso(letter.time), "status": "dead-letter"}
            print_json({**shown, "error": error, "body": letter.body})
        return
    words = wording(env.policy, env.clock.now())
    rows = [(task.id, task.function, iso(task.started / 1000), task.status, task.error) for task in tasks]
    rows += [(letter.id, about[0], iso(letter.time), "dead-letter", about[1]) for letter, about in abouts]
    print_table(
        console(),
        f"failed invocations: {len(tasks)}, dead letters: {count}",
        ("id", "function", "time", "status", "error or message"),
        [(*where, words.ago(time), status, error_message(error)[:ERROR_WIDTH]) for *where, time, status, error in rows],
    )
    if count > len(letters):
        console(stderr=True).print(f"{count - len(letters)} more dead letters wait behind these")


def _dead_letters(env: Environment) -> tuple[list[Letter], int]:
    """The first dead letters, and how many there are; none, with a message, if the queue cannot be read."""
    name, home = env.names.dead_letters, env.policy.home
    try:
        return peek(env.settings, home, name), waiting_messages(env.settings, home, name)
    except LinkPeerError as error:
        console(stderr=True).print(f"[yellow]queue {name}: {escape(str(error))}[/yellow]", soft_wrap=True)
        return [], 0


def _about(letter: Letter) -> tuple[str, str]:
    """(function, error) of a failed call that Function Compute put there; else nothing, and the message."""
    try:
        call = json.loads(letter.body)
        return str(call["requestContext"]["functionArn"]).rpartition("functions/")[2], str(call["responsePayload"])
    except (ValueError, KeyError, TypeError):
        return "", letter.body
