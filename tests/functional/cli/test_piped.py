"""What commands print into a pipe or a file, into a pager, and on a narrow terminal."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from link_peer_cli.commands.account_add import ACCOUNTS
from link_peer_cli.commands.doctor import DOCTOR
from link_peer_cli.commands.failed import FAILED
from link_peer_cli.demo.functions import deploy
from link_peer_cli.inventory.shown import LINKS
from link_peer_cli.ui import pager
from link_peer_cli.ui.records import RECORDS
from link_peer_cli.ui.tables import print_tsv
from rich.cells import cell_len

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab

TABLES = {
    command: [column.name for column in table.columns]
    for command, table in {
        "links": LINKS,
        "doctor": DOCTOR,
        "audit": RECORDS,
        "failed": FAILED,
        "account list": ACCOUNTS,
    }.items()
}
"""The commands that are about a table, and its columns."""
CHANGE = "chg-" + "1042" * 11
"""The longest id of a request."""


def numbered(cell: str) -> list[tuple[int, str]]:
    """Text with its numbers as numbers: tcp/443 comes before tcp/3306."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split("([0-9]+)", cell)]


def life(lab: Lab) -> set[str]:
    """A link, one that has lost its tag, a denial and a dead letter, all with long names. Returns all ids that there
    are."""
    name = "a-name-that-a-person-chose-" * 3
    app, db = lab.group(name=name), lab.group("*", name=name)
    other_groups = [lab.group(), lab.group(account=PEER)]
    lab.cross_account(lab.request(app, db, "tcp/3306", request_id=CHANGE, until="2027-01-01T00:00:00Z"))
    instance = lab.started(app, name=name, tags={"link-peer": f"{db.id}:tcp/1 {other_groups[0].id}"})
    lab.tag(instance, link_peer=None)
    far = lab.instance(other_groups[1])
    lab.cloud.mns.send(HOME, "link-peer-dead-letters", '{"a": 1}')
    lab.cloud.world.policy, lab.cloud.endpoint = str(lab.policy_path), "http://127.0.0.1:1"
    deploy(lab.cloud, in_process=True)  # for `failed`
    rules = (rule["SecurityGroupRuleId"] for rule in lab.raw_rules(db))
    return {app.id, db.id, instance.id, far.id, *(other_group.id for other_group in other_groups), *rules}


def test_piped_tables_are_tab_separated(lab: Lab, cli: Cli) -> None:
    """A line with the columns' names, then one line a row, each cell whole: no title, no box, no colour. Instants and
    accounts are exact."""
    life(lab)
    for command, columns in TABLES.items():
        cli(*command.split())
        header, *rows = [line.split("\t") for line in cli.out.splitlines()]
        assert header == columns
        assert rows != [], command
        assert {len(row) for row in rows} == {len(columns)}, command
        assert not set("\x1b│─") & set(cli.out)
        if command == "links":
            assert "\t2026-11-25T00:00:00Z\t2027-01-01T00:00:00Z\t" in cli.out
            assert f"@{HOME}" in rows[0][0]
        elif command == "audit":
            assert rows[0][0].startswith("2026-11-25T00:00:00.")


@pytest.mark.usefixtures("terminal")
def test_a_terminal_shows_ages_and_names(lab: Lab, cli: Cli) -> None:
    """An account's name stands for its uid, and commands take it."""
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/1", until="2027-01-01T00:00:00Z"))
    lab.instance(app)
    lab.cloud.clock.sleep(7200)
    cli("links", "-o", "wide")
    assert "2 h ago" in cli.out
    assert "(in 36 d)" in cli.out
    assert f"{app.id}@a@aliyun.com" in cli.out
    assert cli("explain", f"{app.id}@a@aliyun.com", f"{db.id}@a@aliyun.com") == 0
    for name in (
        "the team of orders",
        "b@aliyun.com",
        "long" * 9,
    ):  # needs quotes; is that of two accounts; has no room
        lab.policy_account(HOME, name=name)
        cli("links")
        assert f"{app.id}@{HOME}" in cli.out


@pytest.mark.usefixtures("terminal")
def test_a_terminal_shows_local_times_with_their_zone(lab: Lab, cli: Cli, zone: str) -> None:
    """To the minute, in the audit log to the second. For programs an instant is the same in every zone."""
    instant = {"UTC": "00:00 +00:00", "Asia/Shanghai": "08:00 +08:00", "America/St_Johns": "20:30 -03:30"}[zone]
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/1", until="9999-12-31T23:59:59Z"))
    lab.cross_account(lab.request(app, db, "tcp/2", until="2027-01-01T00:00:00Z", request_id="chg-2"))
    lab.group("*~20200101T000000Z")
    for command in ("links -o wide", f"explain {app.id} {db.id} tcp/2", "audit", f"doctor {HOME}"):
        cli(*command.split())
        assert re.search(rf"\d {instant[:5]}(:\d\d)? {re.escape(instant[6:])}", cli.out), command
    for command in ("links", "audit"):
        cli(command, "--json")
        assert "-25T00:00:0" in cli.out, command


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("name", ["app", "twice", "sg-1", "named", "two words", "[b]", "team-of-orders-" * 6])
def test_a_terminal_calls_a_party_by_a_name_of_its_own(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Else by its id, which stands in all that programs read. A name that does not fit is shortened before an id is."""
    monkeypatch.setenv("COLUMNS", "100")
    lab.policy(names={"named": f"sg-elsewhere@{HOME}"})
    app, db, _ = lab.group(name=name), lab.group("*", name="db"), lab.group(name="twice")
    lab.cross_account(lab.request(app, db, "tcp/1", request_id=CHANGE))
    shown_name = {"app": name, "team-of-orders-" * 6: "team-of-o…"}.get(name, app.id)
    assert cli("links") == 0
    assert cli.out.splitlines()[1].split()[:2] == [f"{shown_name}@a@aliyun.com", "db@a@aliyun.com"]
    assert cli("who", db.id) == 0
    assert f"\n{shown_name[:8]}" in cli.out


def test_a_table_is_sorted_by_a_column_and_printed_in_a_form(lab: Lab, cli: Cli) -> None:
    """The same with each command that has one: `--json` is a short form of `-o json`, and `-o csv` of `-o csv`."""
    life(lab)
    for command, columns in list(TABLES.items()):
        if command in ("audit", "doctor"):
            continue
        for place, column in enumerate(columns):
            cli(*command.split(), "--sort-by", column.replace(" ", "-"))
            cells = [line.split("\t")[place] for line in cli.out.splitlines()[1:]]
            assert cells == sorted(cells, key=lambda cell: (not cell, numbered(cell))), (command, column)
        for form in (["-o", "json"], ["-ojson"], ["--output=json"], ["--output", "json"], ["--json"]):
            assert cli(*command.split(), "--sort-by", "nothing", *form) == 2
            assert cli.err.startswith(f'{{"error": "--sort-by: nothing is not one of {columns[0]}, ')
        assert cli(*command.split(), "-o", "csv", "--json") == 2
        for form in ("-o json", "--json", "-o csv"):
            cli(*command.split(), *form.split())
            assert cli.out.startswith("{" if "json" in form else ""), command
    assert cli("links", "-o", "csv") == cli("links", "-o", "csv")


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("columns", ["40", "60", "80", "120", "400"])
def test_no_table_cuts_an_id_without_a_sign(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """Of any command, however long the names beside the ids are: an id that does not fit ends with `…`, and `-o wide`
    has it."""
    ids = life(lab)
    monkeypatch.setenv("COLUMNS", columns)
    app, db, *_ = sorted(party_id for party_id in ids if party_id.startswith("sg-"))
    asking = lab.instance(lab.group(), tags={"link-peer": f"{db}:tcp/3306"})
    ids |= {asking.id, *(group.id for group in lab.cloud.ecs.accounts[HOME].groups.values())}
    for command in (*TABLES, "links -o wide", f"explain {app} {db}", f"plan {asking.id}"):
        cli(*command.split())
        assert cli.out != "", command
        assert set(re.findall(r"(?<![a-z-])(?:sgr|sg|i)-[0-9a-z]*(?![0-9a-z…])", cli.out)) <= ids | {"sg-", "i-"}, (
            command
        )
        if "wide" in command:
            assert "…" not in cli.out
    cli("links", "-o", "wide")
    assert CHANGE in cli.out


@pytest.mark.usefixtures("terminal")
def test_a_line_of_a_plan_fits_into_the_terminal(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts by their names; what is said beside a rule ends with `…`, and is whole in `-o wide`. Counts come
    last."""
    monkeypatch.setenv("COLUMNS", "120")
    lab.policy_account(HOME, name="shop")
    db, cache = lab.group("*", name="db"), lab.group()
    for number in range(9):
        lab.instance(db, name=f"db-{number}")
    asking = lab.instance(lab.group(), tags={"link-peer": f"{db.id}:tcp/1 {cache.id}:tcp/2"})
    for command in (f"plan {asking.id}", "sweep --dry-run"):
        assert cli(*command.split(), "--detailed-exitcode") in (1, 2)
        *lines, counts = [
            line for line in cli.out.splitlines() if not line.startswith(("advice: ", "link-peer accept "))
        ]
        assert lines[0].startswith("db@shop  affects 9 instances: db-")
        assert [line[:3] for line in lines] == ["db@", "  +", "  +", "out", "den"]
        assert [line.endswith("…") for line in lines] == [False, False, False, False, True], lines
        assert max(map(cell_len, lines)) <= 120
        assert counts.startswith("Rules: 1 to add, 0 to remove.")
        cli(*command.split(), "-o", "wide")
        assert ("…" in cli.out, cli.out.count(" (db-")) == (False, 9)
        assert (cli(*command.split(), "-o", "csv"), "not a table" in cli.err) == (2, True)
    assert cli("plan", asking.id, "-o", "json") == 1
    assert cli.out.startswith("{")


def test_a_narrow_window_breaks_no_line_of_a_build_log(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each line that a command prints into a pipe is one line there, also where the environment says how wide the
    window is."""
    ids, saved, new = life(lab), tmp_path / "plan.json", tmp_path / "new.yaml"
    db = lab.group("*", name="db")
    asking = lab.instance(lab.group(), tags={"link-peer": f"{db.id}:tcp/1", "link-untill": "2027-01-01"})
    assert cli("plan", asking.id, "--out", str(saved)) == 0
    saved.write_text(saved.read_text("utf-8").replace("tcp/1", "tcp/2").replace('"1/1"', '"2/2"'), "utf-8")
    new.write_text(lab.policy_path.read_text("utf-8") + "deny: {ports: [tcp/22]}\n", "utf-8")
    commands = [
        f"plan {asking.id} --commands --out {tmp_path / 'other.json'}",
        f"plan --policy {new} --against {lab.policy_path}",
        f"apply {saved}",
        f"audit --from 30d --evidence {tmp_path}",
        f"close {next(iter(ids & {group for group in ids if group.startswith('sg-')}))} --dry-run",
    ]
    for command in commands:
        texts = set()
        for columns in ("20", "400"):
            monkeypatch.setenv("COLUMNS", columns)
            cli(*command.split())
            texts.add(cli.out + cli.err)
        assert len(texts) == 1, texts


def test_tabs_ends_of_lines_and_control_characters_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """So that a row is one line, whatever somebody wrote into a name, and cannot steer a terminal."""
    print_tsv([["a\tb", "c\nd\re", "\\x", "\x1b[31m", "ä→", "\u2028"]])
    assert capsys.readouterr().out == "a\\tb\tc\\nd\\re\t\\\\x\t\\x1b[31m\tä→\t\\u2028\n"


# the pager


@pytest.fixture(name="pager_output")
def _pager_output(capsys: object, terminal: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file into which the pager writes, of a terminal with two lines."""
    program, pager_output = tmp_path / "pager", tmp_path / "shown"
    program.write_text(f'#!/bin/sh\n{{ echo "$LESS $*"; cat; }} > {pager_output}\n')
    program.chmod(0o755)
    monkeypatch.setenv("LINK_PEER_PAGER", f"{program} -x")
    monkeypatch.setenv("LINES", "2")
    monkeypatch.delenv("LESS", raising=False)
    return pager_output


def test_what_is_longer_than_the_terminal_goes_through_the_pager(lab: Lab, cli: Cli, pager_output: Path) -> None:
    """With the same exit code; never with --json or CSV, nor while it follows."""
    life(lab)
    instance = lab.instance(lab.group(), tags={"link-peer": f"{lab.group().id}:tcp/1 i-x"})
    for command in ("links", "audit", "doctor", "sweep --dry-run", f"plan {instance.id}"):
        code = cli(*command.split())
        assert cli.out == "", command
        options, *text = pager_output.read_text(encoding="utf-8").splitlines()
        assert (options, len(text) > 1) == ("FRX -x", True), command
        pager_output.unlink()
        assert cli(*command.split(), "--json") == code
        assert not pager_output.exists()
    assert cli("links", "-o", "csv") == 0
    assert not pager_output.exists()


def test_what_fits_is_printed(lab: Lab, cli: Cli, pager_output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is wider than the terminal counts as several."""
    life(lab)
    monkeypatch.setenv("LINES", "60")
    assert cli("links") == 0
    assert cli.out.startswith("from ")
    assert not pager_output.exists()
    monkeypatch.setenv("COLUMNS", "2")
    assert cli("links") == 0
    assert pager_output.exists()


@pytest.mark.parametrize("program", ["", "no-such-pager", "less 'x"])
def test_without_a_pager_everything_is_printed(
    lab: Lab, cli: Cli, pager_output: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """Turned off, not installed, or no command."""
    life(lab)
    monkeypatch.setenv("LINK_PEER_PAGER", program)
    assert cli("links") == 0
    assert cli.out.startswith("from ")
    assert not pager_output.exists()


def test_a_pager_that_is_quit_early_is_no_error(pager_output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has not read everything."""
    monkeypatch.setenv("LINK_PEER_PAGER", "true")
    with pager.paged():
        print("line\n" * 100_000)
    assert not pager_output.exists()


def test_an_error_while_it_prints_is_raised_after_the_pager(pager_output: Path) -> None:
    """What was printed before is shown."""

    @pager.paged()
    def fail() -> None:
        print("1\n2\n3\n4")
        raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        fail()
    assert pager_output.read_text().splitlines()[1:] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("json", [False, True])
@pytest.mark.parametrize("lines", [3, 100_000], ids=["flushed at the end", "flushed meanwhile"])
def test_a_reader_that_ends_early_gets_no_stack_trace(json: bool, lines: int) -> None:
    """`link-peer … | head`: nothing is printed on stderr, and the exit code is 1."""
    program = f"""
import sys
import typer
from link_peer_cli.ui.exits import run
app = typer.Typer()
@app.command()
def many(as_json: bool = typer.Option(False, "--json")):
    sys.stdin.read()
    for _ in range({lines}):
        print('x' * 70)
run(app, {["--json"] if json else []})
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe, stderr=pipe) as process:  # noqa: S603  # our own module
        for stream in (process.stdout, process.stdin):
            assert stream is not None
            stream.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 1
