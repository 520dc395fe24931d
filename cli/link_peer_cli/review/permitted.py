"""What could open under a policy and not under those that it is compared with, for people and programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from link_peer.domain.policy import Policy
from link_peer.views.permissions import DifferenceKind, PermissionDifference, difference
from rich.console import Console
from rich.markup import escape

from link_peer_cli.access import instant
from link_peer_cli.answers.changes import PermissionChange
from link_peer_cli.ui.markdown import Section, row

COLOURS = {DifferenceKind.WIDER: "red", DifferenceKind.NARROWER: "green", DifferenceKind.NEITHER: "dim"}


def differences(olds: Sequence[Policy], new: Policy) -> list[PermissionDifference]:
    """How a policy differs from any of those: the widest first. Where versions of two policies run, what either does
    not open is wider."""
    changes = dict.fromkeys(change for old in olds for change in difference(old, new, instant.now()))
    return sorted(changes, key=lambda change: list(DifferenceKind).index(change.kind))


def is_wider(changes: Sequence[PermissionDifference]) -> bool:
    """Whether anything could open that could not before."""
    return any(change.kind is DifferenceKind.WIDER for change in changes)


def total(changes: Sequence[PermissionDifference], against: str) -> str:
    """The counts as a sentence."""
    if not changes:
        return f"The same links could open as under {against}."
    counts = Counter(change.kind for change in changes)
    return (
        f"Changes in what could open, compared with {against}: "
        + ", ".join(f"{counts[kind]} {kind.value}" for kind in DifferenceKind)
        + "."
    )


def print_permissions(out: Console, changes: Sequence[PermissionDifference], against: str) -> None:
    """Print each with the place in the file and both values, and the counts."""
    for change in changes:
        colour = COLOURS[change.kind]
        out.print(
            f"[{colour}]{change.kind.value:8}[/{colour}]  [bold]{escape(change.path)}[/bold]  {escape(change.text)}"
        )
        out.print(f"          [dim]{escape(f'{change.old} => {change.new}')}[/dim]")
    out.print(escape(total(changes, against)))


def section(changes: Sequence[PermissionDifference]) -> Section:
    """The same for a pull request."""
    rows = [row(change.kind.value, change.path, change.text, change.old, change.new) for change in changes]
    return Section("permissions", rows, ("", "| | in the file | what could open | was | is |", "|---|---|---|---|---|"))


def answers(changes: Sequence[PermissionDifference]) -> list[PermissionChange]:
    """The same for programs."""
    return [PermissionChange(change.kind.value, change.path, change.text, change.old, change.new) for change in changes]
