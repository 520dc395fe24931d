"""How the command line is built: it starts quickly, and decides by one instant."""

from __future__ import annotations

import ast
import shlex
import subprocess
import sys

import typer.main
from link_peer_cli.main import TABLE, all_commands, app

from tests.infrastructure.test_sources import ROOT, modules

MOST = 30  # imports in functions
SDKS = ("alibabacloud_", "aliyun", "mns", "darabonba", "Tea")
WITH_AN_SDK = {"setup", "doctor", "account_add", "account_remove", "local", "demo"}
"""The files of commands that are nothing without the SDK of SLS: what setup makes, and the local cloud."""


READ_THE_CLOCK = {
    "api.py": "once a question of a program, as once a command",
    "access/instant.py": "once a command",
    "access/environment.py": "how long retries may go on, and a clock that says that it waits",
    "access/roles.py": "whether a session is over",
    "access/ecs.py": "until when it polls",
    "audit/log.py": "until when it polls, and up to when there are records by then",
    "demo/acts.py": "as long as it runs",
    "demo/stage.py": "as long as it runs",
    "demo/local_cloud.py": "when the history of a world begins",
    "demo/history.py": "the days that it plays",
    "demo/world.py": "when the flow log of a world ends",
}
"""The modules that read a clock, and what for. What a command decides goes by the instant at which it started:
`Environment.now`."""


def test_modules_import_at_their_top() -> None:
    """A file of a command is imported when it is called. An SDK is imported when it is asked, and a comment says so."""
    inner = {
        node: path
        for path, module in modules("cli/link_peer_cli").items()
        for function in ast.walk(module)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert len(inner) <= MOST, [f"{path}:{node.lineno}" for node, path in inner.items()]
    for node, path in inner.items():
        lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
        first = node.lineno - 1
        while lines[first - 1].lstrip().startswith(("import ", "from ")):
            first -= 1
        assert "#" in lines[first], f"{path}:{node.lineno}: a comment says why it is not at the top"


def test_a_command_decides_by_one_instant() -> None:
    """Its clock is read once. After that, only what waits, or gives retries a limit, reads a clock."""
    readings: dict[str, list[int]] = {}
    for path, module in modules("cli/link_peer_cli").items():
        limits = [call for call in ast.walk(module) if isinstance(call, ast.Call) and ast.unparse(call.func) == "Retry"]
        calls = {node for node in ast.walk(module) if isinstance(node, ast.Call)}
        for call in calls.difference(*map(ast.walk, limits)):
            function = ast.unparse(call.func)
            if function != "instant.now" and function.rpartition(".")[2] in ("now", "time", "today", "utcnow"):
                readings.setdefault(path.removeprefix("cli/link_peer_cli/"), []).append(call.lineno)
    assert readings.keys() == READ_THE_CLOCK.keys(), readings


def test_help_of_a_command_imports_no_sdk() -> None:
    """Nor does completion. The clients import theirs when they are made."""
    files = {row.file for rows in TABLE.values() for row in rows} - WITH_AN_SDK
    program = (
        f"import importlib, sys\nfor name in {sorted(files)}: importlib.import_module(f'link_peer_cli.commands.{{name}}')\n"
        f"print(*(name for name in sys.modules if name.startswith({SDKS})))"
    )
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)  # noqa: S603  # our own module
    assert result.stdout.split() == []


def test_help_imports_no_command() -> None:
    program = (
        "import sys\nfrom link_peer_cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print(*(name for name in sys.modules if name.startswith('link_peer_cli.commands.')), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)  # noqa: S603  # our own module
    assert result.stderr.split() == []


def test_every_example_of_help_can_be_typed() -> None:
    """The real parser takes it, and it fits into a line of a narrow terminal."""
    root = typer.main.get_command(app).make_context("link-peer", ["links"])
    for row, (name, command) in zip((row for rows in TABLE.values() for row in rows), all_commands(), strict=True):
        assert row.examples, name
        for example in row.examples:
            command.make_context(name, shlex.split(example)[1 + len(name.split()) :], parent=root)
            assert len(example) <= 76, example
