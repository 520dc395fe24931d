"""What a tenant wrote cannot move the cursor of a person's terminal, set its title, or turn text around."""

from __future__ import annotations

import csv
import io
import json

import pytest
from link_peer_cli.ui.tables import print_csv

from tests.functional.command import Cli
from tests.functional.lab import Lab

HOSTILE = "x[red]\x1b]0;pwned\x07\x1b[2J\u202egnp\u2066\x9b31m"
UNSEEN = [character for character in HOSTILE if not character.isprintable()]

COMMANDS = {
    "explain": ("explain", "APP", "DB", "tcp/3306"),
    "sweep": ("sweep", "--dry-run"),
    "doctor": ("doctor",),
    "withdraw": ("withdraw", "DB", "sg-other", "--dry-run"),
}


def arguments(lab: Lab, command: str) -> list[str]:
    """Those of a command about a group whose owner wrote hostile texts wherever ECS takes any."""
    app, db = lab.group(), lab.group()
    lab.instance(app, name=HOSTILE)
    lab.instance(db)
    fields = {"IpProtocol": "tcp", "PortRange": "3306/3306", "Policy": "drop", "Description": HOSTILE}
    lab.authorize(db, SourceGroupId=app.id, **fields)
    lab.tag(db, link_accept=f"sg-other,sg-q{HOSTILE}")
    return [{"APP": app.id, "DB": db.id}.get(word, word) for word in COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_no_control_character(lab: Lab, cli: Cli, command: str) -> None:
    """Each is shown by its number."""
    cli(*arguments(lab, command))
    output = cli.out + cli.err
    assert [character for character in UNSEEN if character in output] == []
    assert "\\u001b" in output
    assert "[red]" in output  # nor does a word of it become markup


@pytest.mark.parametrize("command", ["explain", "doctor"])
def test_json_says_the_same_without_them(lab: Lab, cli: Cli, command: str) -> None:
    """A program reads the very text."""
    cli(*arguments(lab, command), "--json")
    assert [character for character in UNSEEN if character in cli.out] == []
    documents = [json.loads(line) for line in cli.out.splitlines()]
    if command == "explain":
        assert documents[0]["rules"][0]["description"] == HOSTILE


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        *[(f"{sign}cmd", f"'{sign}cmd") for sign in "=+-@＝＋－＠﹦﹢﹣﹫\u2212"],
        ("  =1", "'  =1"),
        ("\t=1", "\\u0009=1"),
        ("\r=1", "\\u000d=1"),
        ("\u3000=1", "'\u3000=1"),
        ("\ufeff=1", "\\ufeff=1"),
        ("a;=1", "a;'=1"),
        ("a; ＝1;b", "a;' ＝1;b"),
        ('a;"=1"', """a;'"=1\""""),
        ("a\n@b\n\n-c", "a\n'@b\n\n'-c"),
        ("'=1", "'=1"),
        ("sg-app@1 a=b", "sg-app@1 a=b"),
        (HOSTILE, "x[red]\\u001b]0;pwned\\u0007\\u001b[2J\\u202egnp\\u2066\\u009b31m"),
    ],
)
def test_a_spreadsheet_takes_no_cell_for_a_formula(text: str, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In any locale: full-width signs, and cells that `;` ends although the file separates them by commas. Nor has a
    terminal, to which CSV may be printed, too, a control character of it."""
    print_csv([[text, "x"], ["y", text]])
    out = capsys.readouterr().out
    assert [*csv.reader(io.StringIO(out))] == [[printed, "x"], ["y", printed]]
    assert [character for character in UNSEEN if character in out] == []
