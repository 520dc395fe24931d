"""Fixtures of the tests of commands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from _pytest.capture import CaptureIO
from link_peer_local.core.identity import Caller, Identity
from link_peer_local.core.policy import Access

from tests.functional.command import Cli, write_profiles
from tests.functional.lab import PEER, Lab


@pytest.fixture(name="cli")
def _cli(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Cli:
    """`cli("links", "--json")` runs a command on the lab's cloud and returns its exit code."""
    return Cli(capsys)


@pytest.fixture(name="peer_profile")
def _peer_profile(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A profile `peer` of the `aliyun` CLI for the second account."""
    write_profiles(lab, monkeypatch, tmp_path, {"peer": PEER})


@pytest.fixture(name="asked")
def _asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Caller, str]]:
    """Who asked for which action, of the local cloud that the test makes after this."""
    found: list[tuple[Caller, str]] = []
    permitted = Identity.permitted

    def watched(self: Identity, caller: Caller, access: Access) -> bool:
        found.append((caller, access.action))
        return permitted(self, caller, access)

    monkeypatch.setattr(Identity, "permitted", watched)
    return found


@pytest.fixture(name="terminal")
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stdout is a terminal of 150 columns without colours, and there is no pager. Else a test's output is a pipe."""
    monkeypatch.setattr(CaptureIO, "isatty", lambda self: self is sys.stdout)
    for name, value in {"TERM": "dumb", "COLUMNS": "150", "LINES": "200", "LINK_PEER_PAGER": ""}.items():
        monkeypatch.setenv(name, value)
