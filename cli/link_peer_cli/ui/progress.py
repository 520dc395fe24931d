"""What a command shows while a person waits. On stderr, only on a terminal; nothing of it stays."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from link_peer_cli.ui.console import console

Count = Callable[[str, int, int], None]
"""Called with what is counted, how many of them are done, and how many there are."""


class _HiddenBar:
    """A bar that nobody sees."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_args, **_kwargs: 0


@contextlib.contextmanager
def waiting(activity: str) -> Iterator[None]:
    """Show what is under way, and for how long, until it is done."""
    with _bar(elapsed=True) as bar:
        bar.add_task(activity, total=None)
        yield


def progress_bar(*, unless: bool) -> AbstractContextManager[Any]:
    """Show how much of its tasks a command has done; the caller adds them to the bar, a `rich.progress.Progress`.
    Nothing is shown `unless` (for output that is for programs)."""
    return _bar(disable=unless)


def counter(bar: Any, *whats: str) -> Count:
    """Add a task for each of `whats`, and return what updates them."""
    tasks = {label: bar.add_task(label, total=None) for label in whats}

    def count(label: str, completed: int, all_: int) -> None:
        bar.update(tasks[label], completed=completed, total=all_)

    return count


def _bar(*, elapsed: bool = False, disable: bool = False) -> AbstractContextManager[Any]:
    err = console(stderr=True)
    if disable or not err.is_terminal:
        return contextlib.nullcontext(_HiddenBar())
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # slow to import

    spinner = "line" if err.options.ascii_only else "dots"
    spinning = (SpinnerColumn(spinner), TextColumn("{task.description}"), TimeElapsedColumn())
    # stdout may be a pipe, to which what a command prints must go
    columns = spinning if elapsed else Progress.get_default_columns()
    return Progress(*columns, console=err, transient=True, redirect_stdout=False)
