"""docs/json.md lists the fields that commands print with `--json`: the real output is compared with it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from link_peer_local.fc.triggers import deploy

from tests.functional.cli.test_every_command import COMMANDS
from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, Lab

PAGE = (Path(__file__).resolve().parents[3] / "docs/json.md").read_text(encoding="utf-8")
SECTIONS = {text.split("\n")[0]: text for text in PAGE.split("\n### link-peer ")[1:]}
SAME = {"withdraw": "accept"}
"""A command that prints what another prints."""


def documented(command: str) -> set[str]:
    """The names in the first cells of a command's table."""
    rows = re.findall(r"^\| (`.*?) \|", SECTIONS[command], re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_the_page_has_every_command_with_json() -> None:
    """And no other."""
    having = {name for name, one in COMMANDS.items() if any("--json" in param.opts for param in one.params)}
    assert having == SECTIONS.keys() | SAME.keys()


def fields(cli: Cli, *args: str) -> set[str]:
    """The fields of everything that a command prints."""
    _, documents = cli.json(*args)
    assert documents, (args, cli.err)
    return {name for document in documents for name in document}


def nested(command: str, field: str) -> set[str]:
    """The names in the meaning of a field."""
    row = next(line for line in SECTIONS[command].splitlines() if line.startswith(f"| `{field}`"))
    return set(re.findall(r"`(\w+)`", row.partition(" | ")[2]))


def test_the_fields_are_those_of_the_page(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each field is printed by one of these, and nothing else is."""
    app, db, closed = lab.group(), lab.group("*"), lab.group()
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306 {closed.id}:tcp/1"})
    lab.instance(lab.group(account=PEER))
    lab.auto_link(lab.event(instance))
    lab.authorize(db, IpProtocol="TCP", PortRange="3306/3306", SourceGroupId=app.id, Policy="drop")
    lab.cloud.mns.send(HOME, "link-peer-dead-letters", "{}")
    lab.cloud.world.policy, lab.cloud.endpoint = str(lab.policy_path), "http://127.0.0.1:1"
    deploy(lab.cloud, in_process=True)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(lab.event(instance)).encode())))
    runs: dict[str, list[list[str]]] = {
        "accept": [[closed.id, f"{app.id}:tcp/2", "--dry-run"]],
        "account add": [["1000000000000009"]],
        "account list": [[]],
        "check": [[]],
        "close": [[db.id, "--dry-run"]],
        "doctor": [[]],
        "explain": [[app.id, db.id]],
        "failed": [[]],
        "invoke": [["auto_link", "-"]],
        "init": [[str(tmp_path / "new")]],
        "links": [[]],
        "map": [[]],
        "plan": [[instance.id], ["--policy", str(lab.policy_path)]],
        "reopen": [["--all", "--dry-run"]],
        "request": [["link", "--from", app.id, "--to", db.id]],
        "sweep": [["--dry-run"]],
        "verify": [["--from", instance.id, "--to", db.id]],
    }
    for command, argumentss in runs.items():
        if command == "verify":
            lab.instance(db)
        printed = set().union(*(fields(cli, *command.split(), *arguments) for arguments in argumentss))
        assert printed == documented(command), command
    lab.policy(tests=[{"from": f"{app.id}@{HOME}", "accept": [f"{db.id}@{HOME}:tcp/3306"]}])
    assert fields(cli, "test") == documented("test")
    lab.tag(instance, link_peer=None)
    assert fields(cli, "stale") == documented("stale")
    removed = fields(cli, "account", "remove", PEER, "--dry-run") | fields(cli, "account", "remove", PEER, "--yes")
    assert removed == documented("account remove")


def test_the_fields_within_fields_are_those_of_the_page(lab: Lab, cli: Cli) -> None:
    """Of those that are objects."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    [planned] = cli.json("plan", instance.id)[1]
    assert planned["groups"][0].keys() == nested("plan", "groups")
    assert planned["counts"].keys() == nested("plan", "counts")
    assert planned["commands"][0].keys() <= nested("plan", "decisions")
    lab.auto_link(lab.event(instance))
    lab.authorize(db, IpProtocol="TCP", PortRange="3306/3306", SourceGroupId=app.id, Policy="drop")
    [link] = cli.json("links")[1]
    assert link["rules"][0].keys() == nested("links", "rules")
    [said] = cli.json("explain", app.id, db.id)[1]
    assert said["rules"][0].keys() == nested("explain", "rules")
    assert said["do"][0].keys() == nested("explain", "do")
    assert said["links"][0].keys() == link.keys()
    [accepted] = cli.json("accept", app.id, f"{db.id}:tcp/2", "--dry-run")[1]
    assert accepted["groups"][0].keys() == nested("accept", "groups")


def test_an_error_is_one_object_on_stderr(cli: Cli) -> None:
    """With the exit code of the error."""
    assert cli("links", "--account", "nobody", "--json") == 2
    assert json.loads(cli.err).keys() == {"error"}
    assert cli.out == ""
