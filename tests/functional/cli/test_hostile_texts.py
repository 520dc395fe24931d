"""What a tenant wrote cannot move the cursor of a person's terminal, set its title, or turn text around."""

from __future__ import annotations

import json

import pytest
from link_peer_cli.ui.tables import print_csv

from tests.functional.command import Cli
from tests.functional.lab import Lab

HOSTILE = "x[red]\x1b]0;pwned\x07\x1b[2J\u202egnp\u2066\x9b31m"
UNSEEN = [character for character in HOSTILE if not character.isprintable()]

COMMANDS = {
    "explain": ("explain", "APP", "DB", "tcp/3306"),
    "stale": ("stale",),
    "doctor": ("doctor",),
    "withdraw": ("withdraw", "DB", "sg-other", "--dry-run"),
}


class World:
    """A group whose owner wrote hostile texts wherever ECS takes any, and who may have asked for a link to it."""

    def __init__(self, lab: Lab) -> None:
        app, db = lab.group(), lab.group()
        lab.instance(app, name=HOSTILE)
        lab.instance(db)
        fields = {"IpProtocol": "tcp", "PortRange": "3306/3306", "Policy": "drop", "Description": HOSTILE}
        lab.authorize(db, SourceGroupId=app.id, **fields)
        lab.tag(db, link_accept=f"sg-other,sg-q{HOSTILE}")
        self.ids = {"APP": app.id, "DB": db.id}

    def __call__(self, command: str) -> list[str]:
        """The arguments of a command."""
        return [self.ids.get(word, word) for word in COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_no_control_character(lab: Lab, cli: Cli, command: str) -> None:
    """Each is shown by its number."""
    cli(*World(lab)(command))
    said = cli.out + cli.err
    assert [character for character in UNSEEN if character in said] == []
    assert "\\u001b" in said
    assert "[red]" in said  # nor does a word of it become markup


@pytest.mark.parametrize("command", ["explain", "doctor"])
def test_json_says_the_same_without_them(lab: Lab, cli: Cli, command: str) -> None:
    """A program reads the very text."""
    cli(*World(lab)(command), "--json")
    assert [character for character in UNSEEN if character in cli.out] == []
    documents = [json.loads(line) for line in cli.out.splitlines()]
    if command == "explain":
        assert documents[0]["rules"][0]["description"] == HOSTILE


def test_csv_has_none_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    """It may be printed on a terminal, too."""
    print_csv([[HOSTILE, f"={HOSTILE}"]])
    out = capsys.readouterr().out
    assert [character for character in UNSEEN if character in out] == []
    assert ",'=x" in out
