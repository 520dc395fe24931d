"""Tables in a real terminal of 80, 100 and 120 columns, on every shipped world, also where all names are hostile: no
line is wrapped."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import itertools
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aliyun_local.api import Group, Instance
from link_peer_cli.demo import world
from link_peer_cli.demo.local_cloud import LocalCloud, describe, environment, running
from rich.cells import cell_len

from tests.functional.cli.test_columns import PROSE
from tests.sample import sample

WIDTHS = (80, 100, 120)
COMMANDS = (
    *("links", "who {group}", "who {instance}", "audit --from 60d", "plan {instance}", "doctor", "doctor -v"),
    *("account list", "failed", "sweep --dry-run", "tighten --all", "--help"),
    *("close {group} --dry-run", "close --all --dry-run"),
)
WORLDS = sorted(path.stem for path in world.WORLDS.glob("*.yaml"))
HOSTILE = "数据库-of-the-platform \x1b[2J\u202e[bold]\r\n\t" + "x" * 90
CASES = list(itertools.product(WORLDS, (False, True), WIDTHS, COMMANDS))
World = tuple[dict[str, str], dict[str, str]]
"""The variables that point commands at it, and the words of COMMANDS."""


@pytest.fixture(name="opened", scope="module")
def _opened() -> Iterator[Callable[[str, bool], World]]:
    """A shipped world, behind a real server; `hostile`: with names of groups and instances that nobody should have."""
    with contextlib.ExitStack() as ending:

        @functools.cache
        def cloud_of(name: str) -> tuple[LocalCloud, dict[str, str]]:
            cloud = ending.enter_context(running(name, connected=False))
            return cloud, {resource.id: resource.name for _, _, resource in _resources(cloud)}

        def opened(name: str, hostile: bool) -> World:
            cloud, names = cloud_of(name)
            return environment(describe(cloud)), _words(cloud, names, hostile=hostile)

        yield opened


def _resources(cloud: LocalCloud) -> Iterator[tuple[str, int, Group | Instance]]:
    """The kind of each, and its number in its account."""
    for uid in reversed(list(cloud.identity.accounts)):
        state = cloud.ecs.account(uid)
        for kind, resources in (("group", state.groups), ("instance", state.instances)):
            for number, resource in enumerate(resources.values()):
                yield kind, number, resource


def _words(cloud: LocalCloud, names: dict[str, str], *, hostile: bool) -> dict[str, str]:
    words = {"group": "sg-none", "instance": "i-none"}
    for kind, number, resource in _resources(cloud):
        resource.name = f"{number}{HOSTILE}" if hostile else names[resource.id]
        words[kind] = f"{resource.id}@{resource.account}"
    return words


def printed_in(width: int, words: list[str], variables: dict[str, str], home: Path) -> tuple[int, str]:
    """The exit code of a command and what a terminal of this width shows, without what was overwritten."""
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 500, width, 0, 0))
    inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    env = {**inherited, **variables, "TERM": "xterm", "LINK_PEER_PAGER": "", "HOME": str(home), "TZ": "Asia/Kolkata"}
    program = [str(Path(sys.executable).with_name("link-peer")), *words]
    printed = b""
    with (
        (home / "stderr").open("wb") as errors,  # sentences, which are as long as they are
        subprocess.Popen(program, stdout=its, stderr=errors, stdin=subprocess.DEVNULL, env=env) as process,  # noqa: S603  # our own
    ):
        os.close(its)
        with contextlib.suppress(OSError):  # the end of what a terminal has to say
            while part := os.read(ours, 65_536):
                printed += part
    os.close(ours)
    return process.returncode, re.sub(r"[^\n]*\x1b\[2K|\x1b\[[0-9;?]*[A-Za-z]", "", printed.decode())


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "hostile", "width", "command"), sample(CASES, 48))
def test_no_row_is_wrapped(
    opened: Callable[[str, bool], World], tmp_path: Path, name: str, hostile: bool, width: int, command: str
) -> None:
    """Whatever the world; commands and advice, which are copied whole, are no rows."""
    variables, words = opened(name, hostile)
    code, printed = printed_in(width, command.format(**words).split(), variables, tmp_path)
    assert "Traceback" not in printed + (tmp_path / "stderr").read_text("utf-8")
    assert code in (0, 1, 2, 3), printed
    lines = [line.rpartition("\r")[2] for line in printed.replace("\r\n", "\n").split("\n")]
    advice = (
        "Looked at",
        "To take",
        *(["account 1"] if command.startswith("close") else []),
    )  # what its owner runs, and why
    rows = [line for line in lines if not line.strip().startswith((*PROSE, *advice))]
    assert [line for line in rows if cell_len(line) > width] == [], printed


@pytest.mark.parametrize("command", ["audit --from 60d", "tighten --all"])
def test_where_no_row_has_room_each_cell_has_a_line(
    opened: Callable[[str, bool], World], tmp_path: Path, command: str
) -> None:
    """Seven columns of legible cells are wider than a narrow terminal."""
    name = "estate" if command.startswith("tighten") else "company"
    code, printed = printed_in(40, command.split(), opened(name, False)[0], tmp_path)
    assert code == 0, printed
    cells = [
        line for line in printed.replace("\r\n", "\n").split("\n") if re.match("(from|to|why|group|admits|use)  ", line)
    ]
    assert len(cells) > 9, printed
    assert [line for line in cells if cell_len(line) > 40] == []


def test_the_groups_of_wide_rules_are_named_at_80_columns(opened: Callable[[str, bool], World], tmp_path: Path) -> None:
    """The ids of rules, which are long, are left out before a name and its account are cut."""
    code, printed = printed_in(80, ["tighten", "--all"], opened("estate", False)[0], tmp_path)
    assert (code, "left out at 80 columns: " in printed) == (0, True), printed
    rows = [line for line in printed.splitlines() if "10.0.0.0/" in line]
    assert [line[:5] for line in rows] == ["ledge", "order", "cache", "old-j"]
    assert ["@p" in line for line in rows] == [True] * 4
    assert "sgr-" not in printed
