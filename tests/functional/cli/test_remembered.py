"""What commands read is remembered for completion: names and ids alone, in a file of the person's own that harms no
command."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from link_peer_cli.access.remembered import MAX_BYTES, MOST, candidates, parties, path_of, remember

from tests.functional.command import Cli, person
from tests.functional.lab import HOME, PEER, REGION, Lab

pytestmark = pytest.mark.usefixtures("terminal", "capsys")
ACCOUNTS = (HOME, PEER)
HOSTILE = (
    "a b",
    "$(reboot)",
    "`id`",
    "--all",
    "-y",
    "sg-db",
    "i-1",
    "\x1b[2J",
    "a\u202eb",
    "x;y",
    "'",
    "*",
    "a\nb",
    "@",
    "x" * 129,
    "",
)


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def completed(cli: Cli, monkeypatch: pytest.MonkeyPatch, typed: str) -> list[str]:
    """What bash offers after these words."""
    words = f"link-peer {typed}"
    with monkeypatch.context() as patch:
        for name, value in {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}.items():
            patch.setenv(name, value)
        patch.setenv("_LINK_PEER_COMPLETE", "complete_bash")
        assert (cli(), cli.err) == (0, "")
    return cli.out.split()


def test_what_a_command_read_is_completed_in_the_next(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and ids of groups and instances; with the account where that is not home; for what opens, ids alone. No
    service is asked."""
    db, node = lab.group(name="orders-db"), lab.instance(lab.group(), name="orders-node")
    person(lab, db, lab.group(account=PEER, name="orders-ledger"))
    assert completed(cli, monkeypatch, "who orders") == []
    assert cli("links") == 0
    before = len(lab.cloud.faults.calls)
    names = ["orders-db", "orders-ledger", "orders-node"]
    for command in ("who", "explain", "plan", "tighten", "links --party", "verify --from"):
        assert sorted(completed(cli, monkeypatch, f"{command} orders")) == names, command
    assert completed(cli, monkeypatch, "accept orders") == []
    for command in ("who", "accept", "request link --to", "close"):
        assert completed(cli, monkeypatch, f"{command} {db.id}") == [db.id]
    assert completed(cli, monkeypatch, f"explain {node.id}") == [node.id]
    assert {text.partition("@")[2] for text in completed(cli, monkeypatch, "who sg-")} == {"", PEER}
    assert len(lab.cloud.faults.calls) == before
    for name in names:
        assert cli("who", name) == 0, cli.err


@pytest.mark.parametrize(
    "command", ["who {db}", "explain {node} {db}", "doctor --tenants", "sweep --dry-run", "tighten {db}"]
)
def test_every_command_that_reads_remembers(lab: Lab, cli: Cli, command: str) -> None:
    """At least what it was asked about."""
    db = lab.group(name="db")
    node = lab.instance(lab.group(), name="node")
    assert cli(*command.format(db=db.id, node=node.id).split()) in (0, 1, 3), cli.err
    assert parties(HOME, REGION)[f"{db.id}@{HOME}"] == "db"


def test_the_file_is_the_persons_own_and_holds_names_and_ids_alone(lab: Lab, cli: Cli) -> None:
    """No keys, tags, addresses or rules; nobody else may read it."""
    db = lab.group("sg-secret:tcp/22", name="db")
    lab.instance(db, name="node", tags={"link-peer": "sg-foreign_file:tcp/1"})
    assert cli("links") == 0
    path = path_of(HOME, REGION)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    content = json.loads(path.read_text())
    assert {len(text.split("@")) for text in content} == {2}
    assert set(content.values()) <= {"db", "node", ""}


def test_in_a_pipe_nothing_is_remembered(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs complete nothing."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    lab.group(name="db")
    assert cli("links", "--json") == 0
    assert not path_of(HOME, REGION).exists()


def test_hostile_names_are_not_offered() -> None:
    """Their ids are."""
    names_by_party = {f"sg-{number}@{HOME}": name for number, name in enumerate(HOSTILE)}
    remember(HOME, REGION, {**names_by_party, f"sg-good@{HOME}": "数据库.db-1"}, ())
    ids = [f"sg-{number}" for number in range(len(HOSTILE))]
    assert candidates(HOME, REGION, ACCOUNTS, names=True) == ["数据库.db-1", *ids, "sg-good"]


def test_a_name_of_two_is_not_offered() -> None:
    """Commands refuse it."""
    remember(HOME, REGION, {f"sg-1@{HOME}": "db", f"sg-2@{PEER}": "db", "sg-3@1000000000000009": "far"}, ())
    assert candidates(HOME, REGION, ACCOUNTS, names=True) == ["sg-1", f"sg-2@{PEER}"]


def test_what_was_read_whole_replaces_what_was_remembered_of_it() -> None:
    """Of foreign_file accounts it stays; there is a bound."""
    remember(HOME, REGION, {f"sg-1@{HOME}": "old", f"sg-1@{PEER}": "theirs"}, ())
    remember(HOME, REGION, {f"sg-2@{HOME}": "new"}, [HOME])
    assert parties(HOME, REGION) == {f"sg-2@{HOME}": "new", f"sg-1@{PEER}": "theirs"}
    remember(HOME, REGION, {f"sg-{number}@{HOME}": "n" * 128 for number in range(MOST + 5)}, [HOME])
    assert len(parties(HOME, REGION)) == MOST
    assert path_of(HOME, REGION).stat().st_size <= MAX_BYTES
    assert parties(PEER, REGION) == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1]",
        b"{",
        b"[" * 100_000,
        b'{"sg-1": "db"}',
        b'{"sg-1@1": ["db"]}',
        b"\xff\xfe",
        b"0" * (MAX_BYTES + 1),
        b"9" * 5_000,
    ],
)
def test_a_broken_file_completes_nothing_and_stops_no_command(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """The next command writes it anew."""
    db = lab.group(name="db")
    path = path_of(HOME, REGION)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert "db" not in completed(cli, monkeypatch, "who d")
    assert cli("links") == 0
    assert completed(cli, monkeypatch, "who d") == ["db"]
    assert parties(HOME, REGION)[f"{db.id}@{HOME}"] == "db"


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "file for a folder"])
def test_what_is_no_file_of_its_own_is_neither_read_nor_written_through(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    """Somebody else may have put it there; a command goes on without."""
    lab.group(name="db")
    path, foreign_file = path_of(HOME, REGION), tmp_path / "foreign_file.json"
    foreign_file.write_text(json.dumps({f"sg-1@{HOME}": "dread"}))
    if kind == "file for a folder":
        path.parent.parent.mkdir()
        path.parent.write_text("")
    else:
        path.parent.mkdir(parents=True)
        {"link": lambda: path.symlink_to(foreign_file), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}[kind]()
    assert completed(cli, monkeypatch, "who d") == []
    assert (cli("links"), cli.err.partition(".")[0]) == (0, "No links")
    assert foreign_file.read_text() == json.dumps({f"sg-1@{HOME}": "dread"})
