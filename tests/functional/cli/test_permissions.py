"""docs/permissions.md: every command is there, needs no more than it says, and its role allows that."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from link_peer_cli.demo.functions import deploy
from link_peer_cli.main import all_commands

from tests.functional.command import CallerActions, Cli
from tests.functional.lab import HOME, PEER, Lab

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "permissions.md").read_text(encoding="utf-8")
POLICIES = {
    "reader": ("ram-operator-read.json",),
    "operator": ("ram-operator-read.json", "ram-operator.json"),
}
PEER_POLICIES = {"reader": "ram-peer-reader.json", "operator": "ram-peer-role.json"}
ROLES = {"reader": ("link-peer-reader", "link-peer-reader"), "operator": ("link-peer-operator", "link-peer")}
"""The role in the account of the functions and in another account."""

COMMANDS = {
    "plan": ("plan", "{instance}"),
    "map": ("map", "--format", "html"),
    "check --live": ("check", "--live"),
    "explain": ("explain", "{instance}", "{group}"),
    "links": ("links",),
    "who": ("who", "{group}"),
    "sweep --dry-run": ("sweep", "--dry-run"),
    "apply": ("apply", "{plan}", "--yes"),
    "audit": ("audit",),
    "audit --verify": ("audit", "--verify"),
    "audit --evidence": ("audit", "--evidence", "{plan}.csv"),
    "doctor": ("doctor",),
    "failed": ("failed",),
    "verify": ("verify", "--from", "{instance}", "--to", "{group}"),
    "request": ("request", "link", "--from", "sg-a", "--to", f"sg-b@{PEER}", "--port", "icmp"),
    "request --dry-run": (
        "request",
        "link",
        "--from",
        "{group}",
        "--to",
        f"sg-b@{PEER}",
        "--port",
        "icmp",
        "--dry-run",
    ),
    "sweep": ("sweep",),
    "close": ("close", "--all", "--yes"),
    "adopt": ("adopt", "{rule}", "--anyone-may-close", "--yes"),
    "reopen": ("reopen", "--all"),
    "failed --replay": ("failed", "--replay", "1-0"),
}
"""A run of each command whose row names a role."""


def rows() -> dict[str, list[str]]:
    """The cells of each row of the table of commands, by command."""
    [table] = re.findall(r"^\| command \|.*\n\|---.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()]
    return {command.strip("`"): cells for command, *cells in lines}


def rights(text: str) -> set[str]:
    """The rights that a cell names. What a person's own keys or other keys need is after a semicolon or a colon."""
    groups = dict(re.findall(r"^\| \*\*(.*)\*\* \| (.*) \|$", PAGE, re.MULTILINE))
    for name, members in groups.items():
        text = text.replace(f"**{name}**", members)
    matches = set(re.findall(r"`([a-z]+:\w+)`", text))
    if "every other right of" in text:
        matches |= allowed("ram-operator-read.json")
    return matches


def allowed(file: str) -> set[str]:
    """The actions that a file of deploy/ allows."""
    statements = json.loads((ROOT / "deploy" / file).read_text(encoding="utf-8"))["Statement"]
    return {action for statement in statements if statement["Effect"] == "Allow" for action in statement["Action"]}


def test_every_command_is_there() -> None:
    """The table names every command that there is."""
    assert {name for name, _ in all_commands()} <= rows().keys()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_needs_no_more(
    accesses: CallerActions, lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    """In each account it acts as the table says, and asks for what the table names."""
    app_group, db = lab.pair()
    instance = lab.instance(app_group, tags={"link-peer": f"{db.id}@{PEER}"})
    lab.instance(db)
    lab.cross_account(lab.request(app_group, db, "tcp/1"))
    cache = lab.group()
    rule = lab.authorize(
        cache, IpProtocol="TCP", PortRange="1/1", SourceGroupId=app_group.id, NicType="intranet", Priority="1"
    )
    lab.policy(tests=[{"from": f"{app_group.id}@{HOME}", "deny": [f"{db.id}@{PEER}:tcp/22"]}])
    lab.cloud.world.policy = str(lab.policy_path)
    lab.cloud.endpoint = "http://127.0.0.1:1"
    deploy(lab.cloud, in_process=True)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(lab.event(instance)).encode())))
    plan = str(tmp_path / "plan.json")
    cli("sweep", "--dry-run", "--out", plan)
    accesses.clear()
    values = {"instance": instance.id, "group": db.id, "plan": plan, "rule": rule}
    cli(*(part.format(**values) for part in COMMANDS[command]))
    role, home, peer = rows()[command]
    used: dict[tuple[str, str], set[str]] = {}
    for caller, action in accesses:
        if caller.role != "link-peer-fc":
            used.setdefault((caller.account, caller.role or "own keys"), set()).add(action)
    reader, inside = ROLES[role]
    own_rights = {"sts:AssumeRole"} | (rights(home.split("own keys:")[1]) if "own keys:" in home else set())
    expected = {
        (HOME, "own keys"): own_rights,
        (HOME, reader): rights(home.split(";")[0]),
        (PEER, inside): rights(peer.split(";")[0]),
    }
    assert used.keys() <= expected.keys()
    assert {where: actions - expected[where] for where, actions in used.items()} == {where: set() for where in used}
    assert (HOME, reader) in used


def test_setup_needs_no_more(accesses: CallerActions, lab: Lab, cli: Cli) -> None:
    """It creates and removes with the person's own keys, and asks for what its table names."""
    accesses.clear()
    assert cli("setup", "--prefix", "other", "--notify", "operations@example.com") == 0, cli.err
    assert cli("setup", "--prefix", "other", "--remove", "--with-logs", "--yes", "--force") == 0, cli.err
    used = {action for caller, action in accesses if caller.account == HOME}
    assert {caller.role for caller, _ in accesses if caller.account == HOME} == {None}
    assert {"ram:CreateRole", "log:DeleteProject"} <= used <= rights(PAGE.split("## setup")[1])


@pytest.mark.parametrize("command", COMMANDS)
def test_its_role_allows_that(command: str) -> None:
    """The shipped policies of the role have every right that the table names, in both kinds of account."""
    role, home, peer = rows()[command]
    assert rights(home.split(";")[0]) <= set().union(*(allowed(file) for file in POLICIES[role]))
    assert rights(peer.split(";")[0]) <= allowed(PEER_POLICIES[role])


def test_no_right_is_without_a_command() -> None:
    """Every right of the operator's role is one that some command needs."""
    needed = set().union(*(rights(home) for role, home, _ in rows().values() if role == "operator"))
    assert allowed("ram-operator.json") <= needed
