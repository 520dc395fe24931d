"""The how-to pages, the first hour and the report of a month work as written, in order, on a running local cloud."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import hcl2
import pytest
from aliyun_local.api import Caller, LocalCloud
from link_peer.domain.tags import is_group_id
from link_peer.inbound import policy_file
from link_peer_cli.demo import history
from link_peer_cli.demo.local_cloud import describe, environment, running

from tests.pages import world

pytestmark = pytest.mark.http

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted((ROOT / "docs/howto").glob("*.md"))
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TAGS = re.compile(r"^\| on \| key \| value \|\n\|[-|]+\|\n((?:\|.*\n)+)", re.MULTILINE)
LIMIT_SECONDS = 600
ACCOUNTS = """
  "1000000000000001": {name: a@aliyun.com}
  "1000000000000002": {role: "acs:ram::1000000000000002:role/link-peer", external_id: example}
"""


def names(path: Path) -> str:
    return path.stem


@pytest.fixture(name="cloud")
def _cloud(request: pytest.FixtureRequest) -> Iterator[LocalCloud]:
    """The world that the page names."""
    with running(world(request.getfixturevalue("page").read_text("utf-8"))) as cloud:
        yield cloud


def steps(text: str) -> list[tuple[str, str]]:
    """The commands (`sh`) and the tag tables (`tag`) of a page, in order; a command line may be continued."""
    blocks = [(match.start(), "sh", match[1]) for match in COMMANDS.finditer(text)]
    blocks += [(match.start(), "tag", match[1]) for match in TAGS.finditer(text)]
    return [
        (kind, line)
        for _, kind, block in sorted(blocks)
        for line in re.sub(r" \\\n\s*", " ", block).splitlines()
        if line.strip()
    ]


def set_tag(cloud: LocalCloud, row: str) -> None:
    """What the console does: the tag of a table's row, set by its account."""
    on, key, value = re.findall(r"`([^`]+)`", row)
    resource, _, account = on.partition("@")
    account = account or cloud.world.home
    params = {
        "RegionId": cloud.region,
        "ResourceType": "securitygroup" if is_group_id(resource) else "instance",
        "ResourceId.1": resource,
        "Tag.1.Key": key,
        "Tag.1.Value": value,
    }
    cloud.ecs.call(Caller(account, f"acs:ram::{account}:root"), "TagResources", params)


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_the_page_works_as_written(page: Path, cloud: LocalCloud, tmp_path: Path) -> None:
    """Each command exits with 0, or with 1 where its comment says so. The folder has the policy of the local cloud."""
    shutil.copyfile(describe(cloud).policy, tmp_path / "policy.yaml")
    (tmp_path / "build").mkdir()
    settings = {**os.environ, **environment(describe(cloud)), "PATH": f"{Path(sys.executable).parent}:{os.defpath}"}
    ran = 0
    for kind, line in steps(page.read_text("utf-8")):
        if kind == "tag":
            set_tag(cloud, line)
            continue
        assert line.startswith("link-peer "), line
        waits = line.replace("--wait", f"--wait --timeout {LIMIT_SECONDS}")
        result = subprocess.run(  # noqa: S603  # what a reader of the page would run
            ["/bin/bash", "-c", waits],
            check=False,
            cwd=tmp_path,
            env=settings,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
        )
        assert result.returncode == int("# exits 1" in line), f"{line}\n{result.stdout}\n{result.stderr}"
        ran += 1
    assert ran


@pytest.mark.parametrize("page", [ROOT / "docs/howto/replace-a-wide-rule.md"], ids=names)
def test_the_estate_is_tightened_by_what_is_printed(page: Path, cloud: LocalCloud, tmp_path: Path) -> None:
    """What the page types is what tighten prints, but for the reasons; then nothing is in the way, and the two commands
    take the rule away and put it back."""
    shutil.copyfile(describe(cloud).policy, tmp_path / "policy.yaml")
    settings = {**os.environ, **environment(describe(cloud)), "PATH": f"{Path(sys.executable).parent}:{os.defpath}"}
    now = cloud.clock.now()
    days = min(31, int(now - history.begin(now)) // history.DAY)  # with the first of a month, when a job runs

    def ran(line: str) -> str:
        command = ["/bin/bash", "-c", line]
        return subprocess.run(command, check=True, cwd=tmp_path, env=settings, capture_output=True, text=True).stdout  # noqa: S603

    def rule() -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(ran(f"link-peer tighten sg-db --last {days}d --json"))
        return answer

    def call(line: str) -> None:
        words = shlex.split(line)
        params = {name.removeprefix("--"): value for name, value in zip(words[3::2], words[4::2], strict=True)}
        cloud.ecs.call(Caller(cloud.world.home, f"acs:ram::{cloud.world.home}:root"), words[2], params)

    typed = [
        line for _, line in steps(page.read_text("utf-8")) if line.startswith(("link-peer accept", "link-peer request"))
    ]
    printed = ran(f"link-peer tighten sg-db --last {days}d --commands").splitlines()
    without_reasons = [line.partition(" --reason ")[0] for line in printed if not line.startswith("#")]
    assert [line.removesuffix(" --wait") for line in typed] == without_reasons
    assert rule()["revoke"] == ""
    for line in typed:
        ran(line.replace("--wait", f"--wait --timeout {LIMIT_SECONDS}"))
    first = rule()
    assert (first["only"], first["in_the_way"]) == (0, [])
    call(first["revoke"])
    assert ran("link-peer tighten sg-db --json") == ""
    call(first["put_back"])
    again = rule()
    assert {name: again[name] for name in ("peer", "ports", "priority", "description", "flows", "used_by")} == {
        name: first[name] for name in ("peer", "ports", "priority", "description", "flows", "used_by")
    }


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_the_other_snippets_are_valid(page: Path) -> None:
    """YAML is part of a valid policy, and HCL parses."""
    text = page.read_text("utf-8")
    for language, snippet in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if language == "yaml":
            policy_file.parse(f"deployment: prod\naccounts:{ACCOUNTS}{snippet}")
        elif language == "hcl":
            assert hcl2.loads(snippet)["resource"]
        else:
            assert language in {"sh", "console", "mermaid"}


def in_a_terminal(line: str, folder: Path, settings: dict[str, str]) -> tuple[int, str]:
    """The exit code of a command and what it prints on a terminal of 110 columns."""
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 110, 0, 0))
    printed = b""
    with subprocess.Popen(["/bin/bash", "-c", line], stdout=its, stderr=its, cwd=folder, env=settings) as running:  # noqa: S603
        os.close(its)
        with contextlib.suppress(OSError):  # the end of what a terminal has to say
            while part := os.read(ours, 4096):
                printed += part
    os.close(ours)
    return running.returncode, printed.decode()


@pytest.mark.parametrize("page", ["first-hour", "auditor"])
def test_a_page_for_two_terminals_works_word_for_word(page: str, tmp_path: Path) -> None:
    """Its file is written, its commands run in two terminals, and each prints the lines that the page shows; `…` is
    anything."""
    text = (ROOT / f"docs/{page}.md").read_text("utf-8")
    settings = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
        "TERM": "dumb",
        "LINK_PEER_PAGER": "",
    }
    printed = ""
    with contextlib.ExitStack() as ending:
        for language, block in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            if language == "yaml":
                (tmp_path / "team.yaml").write_text(block, encoding="utf-8")
            elif language == "text":
                for line in block.splitlines():
                    line_pattern = r"\s+".join(re.escape(word).replace("…", ".*") for word in line.split())
                    assert re.search(rf"^\s*{line_pattern}", printed, re.MULTILINE), f"{line}\n{printed}"
            elif block.startswith("link-peer local"):
                words = shlex.split(block)
                cloud = ending.enter_context(subprocess.Popen(words, stdout=-1, cwd=tmp_path, env=settings, text=True))  # noqa: S603
                ending.callback(cloud.terminate)
                assert cloud.stdout is not None
                printed = "".join(takewhile("Ctrl-C stops it. Nothing is saved.\n".__ne__, cloud.stdout))
                exported = dict(re.findall(r"^ *export (\w+)=(.*)$", printed, re.MULTILINE))
                assert len(exported) == 8  # as the page says
                settings |= exported
            else:
                for line in block.replace("\\\n", "").splitlines():
                    waits = line.replace("--wait", f"--wait --timeout {LIMIT_SECONDS}")
                    code, printed = in_a_terminal(waits, tmp_path, settings)
                    assert code == int("# exits 1" in line), f"{line}\n{printed}"
