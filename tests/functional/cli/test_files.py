"""Files that a person names: one that is not there is a usage error, whichever command reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.functional.cli.test_every_command import COMMANDS
from tests.functional.command import Cli
from tests.functional.lab import Lab

READ = {
    ("account add", "listed"): "account add --from {} --closer acs:ram::1000000000000001:user/ann",
    ("apply", "file"): "apply {}",
    ("check", "files"): "check {}",
    ("check", "snapshot"): "check {policy} --snapshot {}",
    ("local", "world"): "local --world {}",
    ("package", "against"): "package --policy {policy} --against {} --out build",
    ("package", "policy"): "package --policy {} --first --out build",
    ("plan", "against"): "plan --policy {policy} --against {}",
    ("plan", "policy"): "plan --policy {}",
    ("plan", "what"): "plan {}",
}
"""What reads a file, by command and parameter, and a command line that does."""
WRITTEN = {
    ("account add", "template"),
    ("account add", "write"),
    ("audit", "evidence"),
    ("check", "deny_sets"),
    ("check", "out"),
    ("init", "out"),
    ("map", "output"),
    ("package", "out"),
    ("plan", "out"),
    ("plan", "whole_plan_path"),
    ("sweep", "save_as"),
    ("tighten", "propose"),
}
NO_FILE = {("account add", "stack_group"), ("links", "unused"), ("local", "tls"), ("map", "form")}
"""Whose help mentions one all the same."""


def test_these_are_all_parameters_that_name_a_file() -> None:
    """Their help says so."""
    parameters = {
        (name, param.name)
        for name, command in COMMANDS.items()
        for param in command.params
        if re.search(r"\b(files?|folder)\b", f"{param.help} {param.metavar}", re.IGNORECASE)
    }
    assert parameters - NO_FILE == READ.keys() | WRITTEN


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize("name", ["gone.yaml", "no/folder/gone.json", "\udcff.yaml"])
@pytest.mark.parametrize("line", READ.values())
def test_a_file_that_is_not_there_is_a_usage_error(
    lab: Lab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, name: str
) -> None:
    """Exit code 2 and one line that names it; nothing is made."""
    cli = Cli(capsys)
    monkeypatch.chdir(tmp_path)
    words = [word.format(name, policy=lab.policy_path) for word in line.split()]
    before = sorted(tmp_path.iterdir())
    assert cli(*words) == 2
    text = cli.err + cli.out
    assert ("gone" if "gone" in name else "udcff") in text.splitlines()[0]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "line", ["map --out {}.svg", "tighten --all --propose {}.svg", "audit --from 30d --evidence {}.html"]
)
def test_nothing_is_read_for_a_file_that_cannot_be_written(
    lab: Lab, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    """It is said before the work, which may take minutes."""
    cli = Cli(capsys)
    assert cli(*line.format("/nowhere/file").split()) == 1
    assert re.fullmatch(r"/nowhere/file\.\w+ cannot be written: No such file or directory\n", cli.err)
    assert {call.service for call in lab.cloud.faults.calls} <= {"sts"}
