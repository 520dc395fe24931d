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
    """How a policy differs from any of those: the widest first. Where versions of two policies run, what either does not
    open is wider."""
    found = dict.fromkeys(one for old in olds for one in difference(old, new, instant.now()))
    return sorted(found, key=lambda one: list(DifferenceKind).index(one.kind))


def is_wider(found: Sequence[PermissionDifference]) -> bool:
    """Whether anything could open that could not before."""
    return any(one.kind is DifferenceKind.WIDER for one in found)


def total(found: Sequence[PermissionDifference], against: str) -> str:
    """The counts as a sentence."""
    if not found:
        return f"The same links could open as under {against}."
    counts = Counter(one.kind for one in found)
    return (
        f"Changes in what could open, compared with {against}: "
        + ", ".join(f"{counts[kind]} {kind.value}" for kind in DifferenceKind)
        + "."
    )


def print_permissions(out: Console, found: Sequence[PermissionDifference], against: str) -> None:
    """Print each with the place in the file and both values, and the counts."""
    for one in found:
        colour = COLOURS[one.kind]
        out.print(
            f"[{colour}]{one.kind.value:8}[/{colour}]  [bold]{escape(one.path)}[/bold]  {escape(one.text)}",
            soft_wrap=True,
        )
        out.print(f"          [dim]{escape(f'{one.old} => {one.new}')}[/dim]", soft_wrap=True)
    out.print(escape(total(found, against)), soft_wrap=True)


def section(found: Sequence[PermissionDifference]) -> Section:
    """The same for a pull request."""
    rows = [row(one.kind.value, one.path, one.text, one.old, one.new) for one in found]
    return Section("permissions", rows, ("", "| | in the file | what could open | was | is |", "|---|---|---|---|---|"))


def answers(found: Sequence[PermissionDifference]) -> list[PermissionChange]:
    """The same for programs."""
    return [PermissionChange(one.kind.value, one.path, one.text, one.old, one.new) for one in found]
