"""How a test runs a command: in this process, with its exit code and what it printed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from link_peer_cli.main import main


class Cli:
    """`cli("plan", "i-…")` runs `link-peer plan i-…`; afterwards `out` and `err` hold what was printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def __call__(self, *args: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(list(args))
        self.out, self.err = self._capsys.readouterr()
        code = ended.value.code
        return code if isinstance(code, int) else int(bool(code))

    def json(self, *args: str) -> tuple[int, list[Any]]:
        """The exit code, and every line of output as JSON."""
        code = self(*args, "--json")
        return code, [json.loads(line) for line in self.out.splitlines()]
