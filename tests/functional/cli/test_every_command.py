"""What holds for every command, those to come included: help, and clear errors for hostile options and without
settings."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from alibabacloud_credentials.utils import auth_constant, auth_util
from link_peer_cli.main import all_commands
from link_peer_cli.ui.panels import MANY, OPTIONS
from rich.cells import cell_len

from tests.functional.command import Cli
from tests.functional.lab import POLICY

WITHOUT_SETTINGS = {"check", "demo", "init", "local", "package"}
"""The commands that need no account, policy or keys. The first three are not run here: they take long."""
VALUES = {
    "action": "link",
    "source": "sg-1",
    "target": "sg-2",
    "uid": "1000000000000009",
    "rule": "sgr-1",
    "file": "plan.json",
}
"""What required parameters are given, by their names; others get `sg-1`."""
PLAN = {
    "link_peer_plan": 1,
    "made_at": "2026-11-25T00:00:00Z",
    "deployment": {"name": "prod", "home": "1000000000000001", "prefix": "link-peer", "region": "cn-a", "policy": "0"},
    "input": {},
    "changes": [],
}
"""What `plan --out` writes where nothing would change."""
MORE = {
    "accept": "sg-2",
    "account add": "1000000000000009",
    "close": "sg-1 --dry-run",
    "reopen": "sg-1 --dry-run",
    "plan": "i-1",
    "tighten": "sg-1",
    "verify": "--from i-1 --to i-2",
}
"""What a command needs besides."""
EXPORTED = {
    "LINK_PEER_REGION": "cn-qingdao",
    "ALIBABA_CLOUD_ACCESS_KEY_ID": "key",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
}
HOSTILE = ["", "\x00\x1b[31m\n", '\' OR "*" ~:@,%s{}[bold]', "中文" * 500, "sg-1@sg-2@", "-9999999999999999999"]


COMMANDS = dict(sorted(all_commands()))


def options_of(command: Any) -> list[Any]:
    """Those that help shows."""
    return [param for param in command.params if param.param_type_name == "option" and not param.hidden]


RUN = [name for name in COMMANDS if name not in WITHOUT_SETTINGS]


def valid(name: str) -> list[str]:
    """A command with what it needs."""
    args = name.split()
    for param in COMMANDS[name].params:
        if param.required:
            value = VALUES.get(param.name, "sg-1")
            args += [value] if param.param_type_name == "argument" else [param.opts[0], value]
    return args + shlex.split(MORE.get(name, ""))


@pytest.fixture(name="cli")
def _cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """In an empty folder that is the home folder, too, without any setting, and on no instance."""
    for name in os.environ:
        if name.startswith(("LINK_PEER_", "ALIBABA_", "FC_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(auth_constant, "HOME", str(tmp_path))
    monkeypatch.setattr(auth_util, "environment_ecs_metadata_disabled", "true")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "event.json").write_text("{}")
    (tmp_path / "plan.json").write_text(json.dumps(PLAN))
    return Cli(capsys)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_option(cli: Cli, name: str) -> None:
    """Each has a text; so has the command. `--help` is the same as `-h`."""
    assert cli(*name.split(), "--help") == 0
    long = cli.out
    assert cli(*name.split(), "-h") == 0
    assert f"link-peer {name} " in cli.out
    assert cli.out == long
    assert COMMANDS[name].help
    for param in COMMANDS[name].params:
        assert param.help, param.name
        if param in options_of(COMMANDS[name]):
            assert param.opts[0] in cli.out


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_that_does_not_exist_is_a_usage_error(cli: Cli, name: str) -> None:
    """With `--json`, on one line."""
    assert cli(*name.split(), "--no-such-option") == 2
    assert re.fullmatch(rf"No such option: --no-such-option.*\nsee `link-peer {name} --help`\n", cli.err)
    if any("--json" in param.opts for param in COMMANDS[name].params):
        assert cli(*name.split(), "--json", "--no-such-option") == 2
        assert re.fullmatch(r'\{"error": ".*"\}\n', cli.err)


@pytest.mark.parametrize("name", RUN)
def test_without_settings_everything_that_is_missing_is_said(cli: Cli, name: str) -> None:
    """With what to do about each, and exit code 1. The keys are not needed by account add."""
    assert cli(*valid(name)) == 1
    lines = cli.err.splitlines()
    assert any(line.startswith("there is no region: ") for line in lines)
    assert any(line.startswith("the policy file policy.yaml cannot be read") for line in lines)
    assert name == "account add" or any(line.startswith("there is no access key: ") for line in lines)
    assert cli.out == ""


@pytest.mark.parametrize("name", RUN)
def test_an_address_where_nothing_listens_is_named_at_once(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What was exported for a local cloud that has ended: no call is made, and none is repeated."""
    Path("policy.yaml").write_text(yaml.safe_dump(POLICY))
    with socket.socket() as bound:  # and does not listen, so that nobody else does
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        for variable, value in {**EXPORTED, "LINK_PEER_CLOUD": address}.items():
            monkeypatch.setenv(variable, value)
        assert cli(*valid(name)) == 1
        assert cli.err.startswith(f"LINK_PEER_CLOUD points to {address}, where nothing listens: unset it")
        assert (cli.err.count("\n"), cli.out) == (1, "")
        Path("policy.yaml").unlink()  # as that of the local cloud, in a temporary folder
        assert cli(*valid(name)) == 1
        assert cli.err.startswith("LINK_PEER_CLOUD points to ")


@pytest.mark.parametrize("name", RUN)
def test_hostile_values_end_in_a_message(cli: Cli, name: str) -> None:
    """For each argument and option that takes text, no stack trace, and no control character on the terminal."""
    for param in COMMANDS[name].params:
        if getattr(param, "is_flag", False) or param.name == "help":
            continue
        for value in HOSTILE:
            args = (
                [*valid(name), value] if param.param_type_name == "argument" else [*valid(name), param.opts[0], value]
            )
            code = cli(*args)
            assert code in (1, 2), args
            assert cli.err != "", args
            assert "\x1b[31m" not in cli.err, args


WITH_PORTS = {
    "audit": "audit ports=3306",
    "explain": "explain i-1 sg-1 3306",
    "links": "links --port 3306",
    "request": "request link --from sg-1 --to sg-2 --port 3306",
    "verify": "verify --from i-1 --to i-2 --port 3306",
    "who": "who sg-1 --port 3306",
}
"""Where a person may give a port, by command."""


def test_these_are_all_commands_that_take_ports() -> None:
    """By their parameters; a filter of `audit` may have ports in it, and so may an entry of consent."""
    taking_ports = {name for name, command in COMMANDS.items() if {p.name for p in command.params} & {"port", "ports"}}
    assert taking_ports - {"local"} == WITH_PORTS.keys() - {"audit"}


@pytest.mark.parametrize("line", WITH_PORTS.values())
@pytest.mark.parametrize("port", ["3306", "8000-8010"])
def test_a_port_without_a_protocol_is_suggested_with_one(cli: Cli, line: str, port: str) -> None:
    """Exit code 2, before anything is read; a number that is no port is suggested nowhere."""
    assert cli(*line.replace("3306", port).split()) == 2
    assert f"did you mean tcp/{port}?" in cli.err
    assert cli(*line.replace("3306", "70000").split()) == 2
    assert "tcp/70000" not in cli.err


@pytest.mark.parametrize("name", [name for name in COMMANDS if any(p.name == "uid" for p in COMMANDS[name].params)])
def test_an_account_that_is_not_given_is_asked_for(cli: Cli, name: str) -> None:
    """Not quoted as an empty text."""
    assert cli(*name.split(), "") == 2
    assert cli.err == "uid: give the account's uid, or its name in the policy\n"


GROUPED = [name for name, command in COMMANDS.items() if len(options_of(command)) > MANY]
MOST = {"audit": 14, "links": 12}
"""Options, with `--help`, of the two commands that had most of them."""


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_readable_at_80_columns(cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Of many options in groups, each with the same name in every command; what an option means has a third of each
    line."""
    monkeypatch.setenv("COLUMNS", "80")
    assert cli(*name.split(), "--help") == 0
    lines = cli.out.splitlines()
    assert max(map(cell_len, lines)) <= 80
    titles = [line.strip("╭─╮ ") for line in lines if line.startswith("╭─")]
    assert ("Options" in titles) is (name not in GROUPED)
    assert [title for title in OPTIONS if title in titles] == [title for title in titles if title != "Arguments"] or (
        name not in GROUPED
    )
    for option in options_of(COMMANDS[name]):
        [line] = [line for line in lines if re.match(rf"│ [* ]{{0,3}}{option.opts[0]}\b(?!-)", line)]
        text = option.help.split()[0]
        assert 78 - line.index(text, len(option.opts[0]) + 3) >= 26, line


def test_of_many_options_each_is_in_one_group() -> None:
    """And no group names one that no command has."""
    options = {opt for name in GROUPED for param in options_of(COMMANDS[name]) for opt in param.opts}
    listed = [option for group in OPTIONS.values() for option in group]
    assert len(listed) == len(set(listed))
    assert {option.rpartition(" ")[2] for option in listed} - {"--help"} <= options
    assert {name: len(options_of(COMMANDS[name])) + 1 for name in MOST} == MOST
