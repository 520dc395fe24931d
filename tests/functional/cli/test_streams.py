"""What every command does where its output cannot be written, or only in ASCII, and what it shows while it waits."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from _pytest.capture import CaptureIO
from link_peer_cli.demo.functions import deploy
from link_peer_cli.ui.progress import waiting

from tests.functional.cli.test_every_command import PLAN, RUN, valid
from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab
from tests.sample import part

FULL = "stdout cannot be written: No space left on device"
SILENT = {"adopt", "apply", "failed", "reopen", "tighten", "withdraw"}
"""The commands that may print nothing on stdout here, but on stderr, or nothing with --json."""


@pytest.fixture(name="cli")
def _cli(lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """In a folder with the files that commands are given. Names are such that ASCII does not suffice."""
    lab.policy_account(HOME, name="möbel")
    lab.cloud.world.policy, lab.cloud.endpoint = str(lab.policy_path), "http://127.0.0.1:1"
    deploy(lab.cloud, in_process=True)
    monkeypatch.chdir(tmp_path)
    Path("event.json").write_text("{}")
    Path("plan.json").write_text(json.dumps(PLAN))
    return Cli(capsys)


def prepared(lab: Lab, name: str) -> list[str]:
    """A command about a link that exists."""
    app, db = lab.group(name="möbel→"), lab.group("*", name="möbel→")
    instance = lab.started(app, name="möbel→", tags={"link-peer": f"{db.id}:tcp/3306"})
    ids = {"sg-1": app.id, "sg-2": db.id, "i-1": instance.id, "i-2": lab.instance(db).id}
    if name == "account remove":
        return [*name.split(), PEER, "--dry-run"]
    return [ids.get(word, word) for word in valid(name)]


@pytest.mark.parametrize("name", RUN)
def test_a_full_disk_is_named(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """With exit code 1, by every command that prints something, as text or as JSON."""
    command = prepared(lab, name)
    for args in (command, [*command, "--json"]):
        with monkeypatch.context() as patched, open("/dev/full", "w", encoding="utf-8") as full:
            patched.setattr(sys, "stdout", full)
            code = cli(*args)
        error_text = cli.err
        cli(*args)
        printed = cli.out != ""
        assert printed or name in SILENT
        assert (code, FULL in error_text) == (1, True) if printed else code in (0, 1, 2)


LOCALES = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0"},
    {"LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]
IN_ASCII = [["explain", "--help"], ["explain", "--möbel"], ["account", "add", "möbel"]]
LOCALES_AND_COMMANDS = [(LOCALES[row % 4], IN_ASCII[row % 3]) for row in range(12)]
"""They take turns: the first four have each locale, and each command."""


class _Terminal(io.TextIOWrapper):
    """A stream on which commands print their tables for people."""

    def isatty(self) -> bool:
        return True


STREAMS = [(kind, errors) for kind in (io.TextIOWrapper, _Terminal) for errors in ("strict", "surrogateescape")]
STREAMS_AND_COMMANDS = [(*STREAMS[(row + turn) % 4], name) for turn in range(4) for row, name in enumerate(RUN)]
"""They take turns: the first quarter has each command."""


@pytest.mark.exhaustive
@pytest.mark.parametrize(("kind", "errors", "name"), STREAMS_AND_COMMANDS[: part(4 * len(RUN), 4)])
def test_ascii_suffices(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str, errors: str, kind: type[io.TextIOWrapper]
) -> None:
    """What it lacks is escaped, on stdout and stderr, and JSON stays JSON. A map is UTF-8, as its formats say. In the
    locale C, the error handler of stdout is not `strict`."""
    monkeypatch.setenv("LINK_PEER_PAGER", "")
    command = prepared(lab, name)
    for args in (command, [*command, "--json"]):
        out, err = io.BytesIO(), io.BytesIO()
        with monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", kind(out, encoding="ascii", errors=errors))
            patched.setattr(sys, "stderr", kind(err, encoding="ascii", errors=errors))
            cli(*args)
            sys.stdout.flush()
            sys.stderr.flush()
        text = out.getvalue().decode("utf-8" if name == "map" else "ascii")
        assert text or name in SILENT
        assert "Traceback" not in err.getvalue().decode("ascii")
        for line in text.splitlines() if "--json" in args else ():
            json.loads(line)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("settings", "command"), LOCALES_AND_COMMANDS[: part(12, 3)])
def test_a_process_in_an_ascii_locale_prints_ascii(
    settings: dict[str, str], command: list[str], tmp_path: Path
) -> None:
    """Help with its `…`, and what a person typed: escaped, without a stack trace."""
    ended = subprocess.run(  # noqa: S603  # our own module
        [sys.executable, "-m", "link_peer_cli", *command],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", **settings},
        capture_output=True,
        check=False,
    )
    text = (ended.stdout + ended.stderr).decode("ascii")
    assert ended.returncode == (0 if "--help" in command else 2)
    assert "\\u2026" in text or "m\\udcc3\\udcb6bel" in text
    assert "Traceback" not in text


@pytest.mark.parametrize("command", ["--version", "--help", "local"])
def test_a_process_on_a_full_disk_ends_with_one_line(command: str) -> None:
    """Also where Python itself would write what is left, when it ends."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        ended = subprocess.run(  # noqa: S603  # our own module
            [sys.executable, "-m", "link_peer_cli", command], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (ended.returncode, ended.stderr.decode()) == (1, f"{FULL}\n")


def test_a_closed_stdout_is_no_error() -> None:
    """Who closes it wants the exit code alone."""
    program = f"exec {sys.executable} -m link_peer_cli --version >&-"
    ended = subprocess.run(["/bin/sh", "-c", program], stderr=subprocess.PIPE, check=False)  # noqa: S603  # as above
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_closed_stdin_is_an_empty_one() -> None:
    """As where a service without one starts the command."""
    program = f"exec {sys.executable} -m link_peer_cli --region cn-hangzhou plan - <&-"
    ended = subprocess.run(["/bin/sh", "-c", program], capture_output=True, check=False)  # noqa: S603  # as above
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, b"", b"stdin: not JSON\n")


# what is shown on a terminal while a command waits: a line that goes away again


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
