"""Usage: errors of the command line, and help."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from link_peer_cli.main import TABLE

from tests.functional.command import Cli


@pytest.mark.parametrize(
    "command",
    [
        "request link --from sg-a --to db",
        "request open --from sg-a --to sg-b",
        "request link --from sg-a --to sg-b --until tomorrow",
        "request link --from sg-a --to sg-b --expires-in 25h",
        "audit --since yesterday",
        "audit --party db",
        "plan no-such-file.json",
        "plan README.md",
        "sweep --believe-empty b",
        "doctor b",
        "account add b",
        "account remove b",
        "verify --from i-a --to i-b --port udp/53",
        "verify --from i-a --to i-b --role a/b",
        "map --format png",
        "invoke link-peer-sweep no-such-file.json",
    ],
)
def test_usage_errors_come_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Invalid options are reported (exit code 2) before missing settings and keys."""
    for name in ("LINK_PEER_REGION", "ALIBABA_CLOUD_ACCESS_KEY_ID", "FC_REGION"):
        monkeypatch.delenv(name, raising=False)
    cli = Cli(capsys)
    assert cli(*command.split()) == 2
    assert "LINK_PEER" not in cli.err


def test_the_shell_completes_commands_and_options() -> None:
    """Asked as bash asks, which sets three variables."""
    for words, wanted in (("link-peer st", ["stale"]), ("link-peer audit --out", ["--outcome"])):
        asked = {"_LINK_PEER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        program = [sys.executable, "-c", "from link_peer_cli.main import main; main()"]
        done = subprocess.run(program, env={**os.environ, **asked}, capture_output=True, text=True, check=True)  # noqa: S603  # our own module
        assert done.stdout.split() == wanted


def test_the_search_for_keys_prints_nothing_by_itself() -> None:
    """The SDK logs each source that has no keys, with a stack trace; a person reads our one line instead."""
    program = (
        "import logging; from link_peer_cli.access.keys import _provider; _provider(''); "
        "logging.getLogger('credentials').warning('there is no metadata service')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603  # our own module
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], option: str) -> None:
    """`-h` and `--help` both work, for link-peer and for each command."""
    cli = Cli(capsys)
    assert cli(option) == 0
    listed = cli.out
    for row in (row for rows in TABLE.values() for row in rows):
        assert f" {row.name.split()[0]} " in listed
        assert " " in row.name or row.help in listed  # on one line
        assert cli(*row.name.split(), option) == 0
        assert f"link-peer {row.name} " in cli.out
