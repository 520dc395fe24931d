"""A pager for what is longer than the terminal."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO, cast

from rich.cells import cell_len

DEFAULT = "less"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class _PagerBuffer(io.StringIO):
    """What is printed, kept. Rich and commands take it for the terminal on which it will be shown."""

    def isatty(self) -> bool:
        return True


@contextlib.contextmanager
def paged(*, unless: bool = False) -> Iterator[None]:
    """Show what is printed on stdout meanwhile in a pager, if stdout is a terminal with fewer lines.

    The pager is LINK_PEER_PAGER, else PAGER, else less; there is none if that is empty, no command or not installed, or
    `unless` (for output that is for programs). A person who quits it early has seen enough: that is no error.
    """
    command = os.environ.get("LINK_PEER_PAGER", os.environ.get("PAGER", DEFAULT))
    program: Sequence[str] = ()
    with contextlib.suppress(ValueError):  # a quotation without an end
        program = shlex.split(command)
    if unless or not (sys.stdout.isatty() and program and shutil.which(program[0])):
        yield
        return
    buffer = _PagerBuffer()
    try:
        with contextlib.redirect_stdout(buffer):
            yield
    finally:
        _show(buffer.getvalue(), program, sys.stdout)


def _show(text: str, program: Sequence[str], screen: TextIO) -> None:
    columns, rows = shutil.get_terminal_size()
    lines = _COLOURS.sub("", text).splitlines()
    if sum(max(1, -(-cell_len(line) // columns)) for line in lines) < rows:
        screen.write(text)
        screen.flush()
        return
    screen.flush()
    environment = {**os.environ, "LESS": os.environ.get("LESS", "FRX")}  # as git: quit if it fits, colours, no clearing
    with subprocess.Popen(  # noqa: S603  # the person's own pager
        program, stdin=subprocess.PIPE, env=environment, encoding=screen.encoding, errors="backslashreplace"
    ) as pager:
        with contextlib.suppress(BrokenPipeError), cast(TextIO, pager.stdin) as pipe:
            pipe.write(text)
        while pager.poll() is None:
            with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is for the pager, which goes on
                pager.wait()
