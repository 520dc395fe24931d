"""What a person sees while a command waits: a line on the terminal that goes away again."""

from __future__ import annotations

import sys

import pytest
from _pytest.capture import CaptureIO
from link_peer_cli.ui.progress import waiting

from tests.functional.command import Cli
from tests.functional.lab import Lab


@pytest.fixture(name="watched")
def _watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stderr is a terminal; stdout is a pipe. Rich puts a proxy before either."""
    monkeypatch.setattr(
        CaptureIO, "isatty", lambda self: self is not getattr(sys.stdout, "rich_proxied_file", sys.stdout)
    )
    monkeypatch.setenv("TERM", "xterm")


def test_what_is_under_way_is_shown_on_a_terminal(watched: None, capsys: pytest.CaptureFixture[str]) -> None:
    """With the time so far, on stderr."""
    with waiting("reading the groups"):
        pass
    out, err = capsys.readouterr()
    assert out == ""
    assert "reading the groups" in err
    assert "0:00:00" in err
    assert err.endswith("\x1b[2K")  # the line is erased


def test_it_is_nowhere_else(capsys: pytest.CaptureFixture[str]) -> None:
    """In a build log, say."""
    with waiting("reading the groups"):
        pass
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "command",
    [
        "links",
        "stale",
        "doctor",
        "audit",
        "map",
        "test",
        "failed",
        "sweep",
        "sweep --dry-run",
        "plan i-1",
        "account list",
        "close --all --dry-run",
        "explain sg-1 sg-2",
        "accept chg-1",
    ],
)
def test_each_command_that_reads_the_cloud_shows_it(
    lab: Lab, capsys: pytest.CaptureFixture[str], watched: None, command: str
) -> None:
    """Its output on stdout is the same as without."""
    lab.linked()
    cli = Cli(capsys)
    cli(*command.split())
    assert "\x1b[2K" in cli.err
    assert "\x1b" not in cli.out
