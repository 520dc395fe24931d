"""Everything that is deployed: the functions, what setup makes, and whether they do their work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from link_peer_cli.access.environment import Environment
from link_peer_cli.checks import functions, resources, running
from link_peer_cli.checks.finding import CheckFinding
from link_peer_cli.checks.settings import other_deployments

Lane = Sequence[Callable[[], "list[CheckFinding]"]]
"""Checks that one thread makes, one after the other."""


def check(env: Environment) -> Iterator[list[CheckFinding]]:
    """The findings by service, always in the same order. The services are asked side by side, each by one thread, since not
    every SDK may be used by several."""
    roles, queues, *others = resources.checks(env)
    # the queues are read by `running`, too, and the SDK of MNS needs warnings to be off, which is no matter of one thread
    lanes: Sequence[Lane] = (
        [lambda: [*functions.check(env), *other_deployments(env)]],
        [roles],
        [queues, lambda: list(running.check(env))],
        *([other] for other in others),
    )
    with ThreadPoolExecutor(len(lanes)) as pool:
        futures = [pool.submit(_run, lane) for lane in lanes]
        (found,), (of_roles,), (of_queues, last), *rest = (future.result() for future in futures)
        yield from (found, of_roles, of_queues, *(part for lane in rest for part in lane), last)


def _run(lane: Lane) -> list[list[CheckFinding]]:
    return [check() for check in lane]
