"""`link-peer failed`: list failed asynchronous invocations."""

from __future__ import annotations

from link_peer_cli.io.console import console, print_json
from link_peer_cli.io.options import JsonLines, Service
from link_peer_cli.io.tables import print_table

ERROR_WIDTH = 100  # characters of an error in the table; --json prints all of it


def failed(service: Service = "", as_json: JsonLines = False) -> None:
    """List failed asynchronous invocations of auto_link and sweep, newest first."""
    from link_peer.domain.tags import iso

    from link_peer_cli.clients.fc.deployed import deployed_functions
    from link_peer_cli.clients.fc.failed import error_message, failed_tasks
    from link_peer_cli.io.environment import load_environment

    env = load_environment(reading=True)
    tasks = failed_tasks(deployed_functions(env.settings, env.policy.home, service))
    if as_json:
        for task in tasks:
            time = iso(task.started / 1000)
            print_json(
                {"id": task.id, "function": task.function, "time": time, "status": task.status, "error": task.error}
            )
        return
    rows = [(t.id, t.function, iso(t.started / 1000), t.status, error_message(t.error)[:ERROR_WIDTH]) for t in tasks]
    print_table(console(), "failed invocations", ("id", "function", "time", "status", "error"), rows)
