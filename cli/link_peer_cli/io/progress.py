"""A sign of life while a command waits for the cloud."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from link_peer_cli.io.console import console


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on stderr what is under way, and for how long, until it is done. Only on a terminal; nothing of it stays."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    err = console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    # stdout may be a pipe, to which what a command prints must go
    with Progress(*columns, console=err, transient=True, redirect_stdout=False, disable=not err.is_terminal) as bar:
        bar.add_task(what, total=None)
        yield
