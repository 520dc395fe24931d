"""The command line starts quickly, and the examples of its help can be typed."""

from __future__ import annotations

import shlex
import subprocess
import sys

import typer.main
from link_peer_cli.main import TABLE, all_commands, app

SDKS = ("alibabacloud_", "aliyun", "mns", "darabonba", "Tea")
WITH_AN_SDK = {"setup", "doctor", "account_add", "account_remove", "selftest", "local", "demo"}
"""The files of commands that are nothing without the SDK of SLS: what setup makes, what selftest asks, the local cloud."""


def test_help_of_a_command_imports_no_sdk() -> None:
    """Nor does completion. The clients import theirs when they are made."""
    files = {row.file for rows in TABLE.values() for row in rows} - WITH_AN_SDK
    program = (
        f"import importlib, sys\nfor name in {sorted(files)}: importlib.import_module(f'link_peer_cli.commands.{{name}}')\n"
        f"print(*(name for name in sys.modules if name.startswith({SDKS})))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)  # noqa: S603  # our own module
    assert done.stdout.split() == []


def test_help_imports_no_command() -> None:
    program = (
        "import sys\nfrom link_peer_cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print(*(name for name in sys.modules if name.startswith('link_peer_cli.commands.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)  # noqa: S603  # our own module
    assert done.stderr.split() == []


def test_every_example_of_help_can_be_typed() -> None:
    """The real parser takes it, and it fits into a line of a narrow terminal."""
    root = typer.main.get_command(app).make_context("link-peer", ["links"])
    for row, (name, command) in zip((row for rows in TABLE.values() for row in rows), all_commands(), strict=True):
        assert row.examples, name
        for example in row.examples:
            command.make_context(name, shlex.split(example)[1 + len(name.split()) :], parent=root)
            assert len(example) <= 76, example
