"""Whether the deployment does its work: dead letters, accounts that wait to be swept, and the last run of the timer."""

from __future__ import annotations

from collections.abc import Iterator

from link_peer.domain.errors import LinkPeerError
from link_peer.domain.tags import parse_instant

from link_peer_cli.access.environment import Environment
from link_peer_cli.checks.finding import MISSING, OK, WARNING, CheckFinding, unreadable
from link_peer_cli.checks.runs import ERRORS, Runs, minutes_ago, not_due
from link_peer_cli.deployed.queue import backlog

LATE_SECONDS = 30 * 60
"""Three sweeps are due in it."""


def check(env: Environment, runs: Runs) -> Iterator[CheckFinding]:
    """Dead letters that wait; and the age of the last run, with what it could not count."""
    yield from _waiting(env)
    subject = "last sweep"
    run = runs.last("timer")
    if runs.error:
        yield unreadable("", subject, runs.error)
    elif run is None:
        advice = runs.advice or "link-peer audit --all; the function's own output is in the logstore functions"
        yield not_due(env, runs, "", subject) or CheckFinding(
            MISSING, "", subject, "no sweep was recorded within a day", advice
        )
    else:
        age = env.now - parse_instant(run["time"])
        detail = f"{minutes_ago(age)}, of {run['accounts']} accounts"
        yield CheckFinding(
            *((WARNING, "", subject, detail, ERRORS) if age > LATE_SECONDS else (OK, "", subject, detail))
        )
        if "dead_letters" not in run:
            detail = f"did not count the dead letters, which link-peer-dead-letters needs: {run.get('detail', '')}"
            yield CheckFinding(WARNING, "", subject, detail, "link-peer setup, and s deploy -y after an update")


def _waiting(env: Environment) -> Iterator[CheckFinding]:
    """Messages on two queues: a dead letter; more than one for each account that is due to be swept, or one that waits
    for long: they are then posted faster than they are carried out."""
    names = env.names
    raise_tasks = f"{ERRORS}; raise maximumTasks of the trigger accounts"
    for subject, queue, most, advice in (
        ("dead letters", names.dead_letters, 0, "link-peer failed"),
        ("accounts to sweep", names.sweep_queue, len(env.policy.accounts), raise_tasks),
    ):
        try:
            messages = backlog(env.settings, env.policy.home, queue, delayed=not most)
        except LinkPeerError as error:
            yield unreadable("", subject, error)
            continue
        age = env.now - (messages.oldest or env.now)
        late = messages.count > most or age > LATE_SECONDS
        detail = f"{messages.text}, the oldest of {minutes_ago(age)}" if age > LATE_SECONDS else messages.text
        yield CheckFinding(WARNING if late else OK, "", subject, detail, advice if late else "")
