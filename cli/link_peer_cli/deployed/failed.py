"""Failed asynchronous invocations: events whose work was never done."""

from __future__ import annotations

import json

from link_peer_deploy.names import Names

from link_peer_cli.deployed.port import WITH_TASKS, Functions, Task

FAILED = ("Failed", "Expired", "Invalid")
"""Final task states without success [doc task states]."""


def failed_tasks(functions: Functions, names: Names) -> list[Task]:
    """Return the failed invocations of all functions that have tasks, newest first."""
    deployed = [names.functions[handler] for handler in WITH_TASKS]
    found = [task for name in deployed for task in functions.tasks(name) if task.status in FAILED]
    return sorted(found, key=lambda task: -task.started)


def error_message(error: str) -> str:
    """Return the message in the platform's JSON error document, or the text itself if it is something else."""
    try:
        return str(json.loads(error)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return error
