"""Carries out a plan: one resource after the other, patiently, and again from where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from link_peer.domain.errors import LinkPeerError, Transient
from link_peer.runtime.clock import Clock
from msgspec.structs import replace
from rich.markup import escape

from link_peer_cli.setup.resource import Action, NotOffered, Resource, ResourceChange, change_of
from link_peer_cli.ui.changes import CHANGES
from link_peer_cli.ui.console import console

T = TypeVar("T")

Wait = Callable[[float, Transient], None]
"""Told before each wait: how many seconds, and why."""

WAITS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before each further attempt: together a minute, the longest for which an API throttles, and more than it
takes until a new log project or role is known everywhere."""


CHANGING = (Action.CREATE, Action.UPDATE, Action.DELETE)
"""What changes something."""


class Stopped(LinkPeerError):
    """A change failed for good: `failed`, and what follows it in the plan, was not carried out."""

    def __init__(
        self, failed: ResourceChange, remaining_changes: Sequence[ResourceChange], problem: LinkPeerError
    ) -> None:
        super().__init__(f"{failed.resource.label}: {problem}")
        self.failed = failed
        self.remaining_changes = remaining_changes


def say_wait(seconds: float, problem: Transient) -> None:
    """Say on stderr that a wait begins, and why."""
    console(stderr=True).print(f"[dim]{escape(f'waiting {seconds:.0f} s: {problem}')}[/dim]")


def patiently(call: Callable[[], T], clock: Clock, wait: Wait = say_wait, trouble: type[Transient] = Transient) -> T:
    """The result of `call`, which is made again after each of the WAITS while it raises `trouble`. Raises the last
    one."""
    for seconds in WAITS:
        try:
            return call()
        except trouble as error:
            wait(seconds, error)
            clock.sleep(seconds)
    return call()


def plan(resources: Sequence[Resource], clock: Clock, wait: Wait = say_wait) -> list[ResourceChange]:
    """What it takes to bring the resources to their wanted state, in the order in which it must be done. Only reads."""
    return [patiently(lambda item=resource: change_of(item), clock, wait) for resource in resources]  # type: ignore[misc]


def plan_removal(
    resources: Sequence[Resource], clock: Clock, wait: Wait = say_wait, *, with_logs: bool, elsewhere: str = ""
) -> list[ResourceChange]:
    """What of the resources is to be deleted, in the order in which it must be done. Only reads.

    Without `with_logs`, the log project, its logstores and their indexes are kept; with `elsewhere`, a sentence, what
    serves all regions; and always what others in the account may need.
    """
    changes = []
    for resource in reversed(resources):
        if (current := patiently(resource.read, clock, wait)) is None:
            continue
        keep_reason = ""
        if resource.of_the_logs and not with_logs:
            keep_reason = "kept; --remove --with-logs deletes it"
        elif resource.of_the_account:
            keep_reason = "kept: others in the account may need it"
        elif resource.of_all_regions and elsewhere:
            keep_reason = f"kept: {elsewhere}"
        action = Action.KEEP if keep_reason else Action.DELETE
        changes.append(ResourceChange(resource, action, detail=keep_reason, before=current))
    return changes


def carry_out(
    changes: Sequence[ResourceChange],
    clock: Clock,
    on_change: Callable[[ResourceChange], None],
    wait: Wait = say_wait,
    where: str = "",
) -> None:
    """Carry out the changes in their order; `on_change` is called after each; what the cloud does not offer is then
    skipped. Raises Stopped at the first that fails. `where` is the account, where a command changes several.

    Each attempt after the first reads the resource again and does what is left to do, so an answer that was lost does
    no harm.
    """
    due = {
        n: f"{where}{change.action.value} {change.resource.label}"
        for n, change in enumerate(changes)
        if change.action in CHANGING
    }
    CHANGES.expect(due.values())
    for number, change in enumerate(changes):
        try:
            with CHANGES.making(*([due[number]] if number in due else ())):
                patiently(_attempts(change), clock, wait)
        except NotOffered as refusal:
            on_change(replace(change, action=Action.SKIP, detail=str(refusal)))
            continue
        except LinkPeerError as problem:
            raise Stopped(change, changes[number + 1 :], problem) from problem
        on_change(change)


def _attempts(change: ResourceChange) -> Callable[[], None]:
    """Makes a change each time that it is called. What is kept or skipped needs no call."""
    resource, action, again = change.resource, change.action, False

    def attempt() -> None:
        nonlocal action, again
        if again and action is not Action.DELETE:
            action = change_of(resource).action
        again = True
        if action in CHANGING:
            getattr(resource, action.value)()

    return attempt
