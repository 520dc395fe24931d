"""How a test runs a command: in this process, with its exit code and output."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest
import typer.main
from link_peer_cli.main import main

# Typer composes all commands anew for each run: most of the time of one that ends soon. They have no state.
typer.main.get_command = functools.cache(typer.main.get_command)


class Cli:
    """`cli("plan", "i-…")` runs `link-peer plan i-…`; `out` and `err` then hold its output."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def __call__(self, *args: str) -> int:
        """Run a command and return its exit code."""
        with pytest.raises(SystemExit) as ended:
            main(list(args))
        self.out, self.err = self._capsys.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else int(bool(code))

    def json(self, *args: str) -> tuple[int, list[Any]]:
        """Run a command with `--json`; return its exit code and each line of output, parsed."""
        code = self(*args, "--json")
        return code, [json.loads(line) for line in self.out.splitlines()]
