"""Fixtures of the tests of commands."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from _pytest.capture import CaptureIO
from aliyun_local.api import Access, Caller, Identity
from link_peer_cli.review import delivery

from tests.functional.command import CallerActions, Cli, Linked, Typed, Written, use_keys, write_profiles
from tests.functional.lab import HOME, PEER, Lab


@pytest.fixture(autouse=True)
def _one_read_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the order of a command's calls is always the same."""
    monkeypatch.setattr(delivery, "READERS", 1)


@pytest.fixture(name="cli")
def _cli(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Cli:
    """`cli("links", "--json")` runs a command on the lab's cloud and returns its exit code."""
    return Cli(capsys)


@pytest.fixture(name="links")
def _links(lab: Lab) -> Linked:
    """Links of both accounts, which are open."""
    return Linked(lab)


@pytest.fixture(name="peer_profile")
def _peer_profile(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A profile `peer` of the `aliyun` CLI for the second account. The current one is of home."""
    write_profiles(lab, monkeypatch, tmp_path, {"home": HOME, "peer": PEER})


@pytest.fixture(name="peer_keys")
def _peer_keys(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The person's keys are those of the second account."""
    use_keys(lab.cloud, monkeypatch, PEER)


@pytest.fixture(name="typed")
def _typed(monkeypatch: pytest.MonkeyPatch) -> Typed:
    """`typed("y\\n")`: a person types this at the questions of the next command, on a terminal."""

    def type_(text: str) -> None:
        terminal = io.StringIO(text)
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdin", terminal)

    return type_


@pytest.fixture(name="written")
def _written(tmp_path: Path) -> Written:
    """`written(value)`: the path of a file that holds it as JSON, the same one each time."""

    def write(value: object) -> str:
        path = tmp_path / "given.json"
        path.write_text(json.dumps(value), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture(name="accesses")
def _accesses(monkeypatch: pytest.MonkeyPatch) -> CallerActions:
    """Who asked for which action, of the local cloud that the test makes after this."""
    accesses: CallerActions = []
    permitted = Identity.permitted

    def watched(self: Identity, caller: Caller, access: Access) -> bool:
        accesses.append((caller, access.action))
        return permitted(self, caller, access)

    monkeypatch.setattr(Identity, "permitted", watched)
    return accesses


@pytest.fixture(name="terminal")
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stdout is a terminal of 150 columns without colours, and there is no pager. Else a test's output is a pipe."""
    monkeypatch.setattr(CaptureIO, "isatty", lambda self: self is sys.stdout)
    for name, value in {"TERM": "dumb", "COLUMNS": "150", "LINES": "200", "LINK_PEER_PAGER": ""}.items():
        monkeypatch.setenv(name, value)
