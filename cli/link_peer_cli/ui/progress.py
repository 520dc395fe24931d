"""What a command shows while a person waits. On stderr, only on a terminal; nothing of it stays."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

from link_peer_cli.ui.console import console

Count = Callable[[str, int, int], None]
"""Called with what is counted, how many of them are done, and how many there are."""


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show what is under way, and for how long, until it is done."""
    with _shown(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as bar:
        bar.add_task(what, total=None)
        yield


@contextlib.contextmanager
def progress_bar(*, unless: bool) -> Iterator[Progress]:
    """Show how much of its tasks a command has done; the caller adds them to the bar. Nothing is shown `unless` (for output
    that is for programs)."""
    with _shown(*Progress.get_default_columns(), disable=unless) as bar:
        yield bar


def counter(bar: Progress, *whats: str) -> Count:
    """Add a task for each of `whats`, and return what updates them."""
    tasks = {what: bar.add_task(what, total=None) for what in whats}

    def count(what: str, done: int, all_: int) -> None:
        bar.update(tasks[what], completed=done, total=all_)

    return count


def _shown(*columns: ProgressColumn, disable: bool = False) -> Progress:
    err = console(stderr=True)
    # stdout may be a pipe, to which what a command prints must go
    return Progress(
        *columns, console=err, transient=True, redirect_stdout=False, disable=disable or not err.is_terminal
    )
