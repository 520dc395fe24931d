"""deploy/first_evening.py on a running local cloud: what it asks, what it writes, and that it leaves nothing behind."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aliyun_conformance import page
from aliyun_local.api import Caller, Fault, LocalCloud
from link_peer_cli.demo.local_cloud import describe, environment, running

from tests.functional.cli import stand_ins
from tests.snippets import ROOT

pytestmark = pytest.mark.http

SCRIPT = ROOT / "deploy" / "first_evening.py"
TEXT = (ROOT / "docs" / "verify-on-cloud.md").read_text(encoding="utf-8")
HOME = "1000000000000001"


@pytest.fixture(name="cloud")
def _cloud() -> Iterator[LocalCloud]:
    with running() as cloud:
        yield cloud


def groups(cloud: LocalCloud) -> set[str]:
    """The groups of home; the default world has none."""
    answer = cloud.ecs.call(Caller(HOME, f"acs:ram::{HOME}:root"), "DescribeSecurityGroups", {"RegionId": cloud.region})
    return {group["SecurityGroupId"] for group in answer["SecurityGroups"]["SecurityGroup"]}


def run(cloud: LocalCloud, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The script."""
    return program(cloud, folder, sys.executable, str(SCRIPT), cloud.world.vpcs[0]["id"], *words)


def program(cloud: LocalCloud, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """What a person runs, to its end."""
    with start(cloud, folder, *command) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def start(cloud: LocalCloud, folder: Path, *command: str) -> subprocess.Popen[str]:
    """What a person runs, with the programs that they have."""
    for name in ("aliyun", "link-peer"):
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {stand_ins.__file__} {name} "$@"\n')
        (folder / name).chmod(0o755)
    folders = (".", "shared", "local", "cli", "deploy", "local/conformance", "functions")
    settings = {
        **environment(describe(cloud)),
        "HOME": str(folder),
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(str(ROOT / name) for name in folders),
    }
    return subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603


def test_without_a_yes_it_says_what_it_would_do(cloud: LocalCloud, tmp_path: Path) -> None:
    """Each row, and the cost; it makes no call."""
    finished = run(cloud, tmp_path)
    assert finished.returncode == 0
    assert [line.split()[0] for line in finished.stdout.splitlines() if line.startswith("#")] == [
        f"#{n}" for n in rows()
    ]
    assert "less than 0.01 USD" in finished.stdout
    assert groups(cloud) == set()


def test_an_evening_answers_its_rows_and_leaves_nothing(cloud: LocalCloud, tmp_path: Path) -> None:
    """After `setup`, on the deployed functions of the local cloud, all are as expected. The report has the form of
    those that the page is written from, and no account."""
    assert program(cloud, tmp_path, "link-peer", "setup", "--notify", "you@example.com").returncode == 0
    finished = run(cloud, tmp_path, "--yes", "--out", str(tmp_path / "report.json"))
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [row for row in report["rows"] if row["verdict"] != "as expected"] == []
    assert [row["number"] for row in report["rows"]] == rows()
    assert finished.returncode == 0, finished.stderr
    assert groups(cloud) == set()
    assert not re.search(r"\b\d{15,20}\b", json.dumps(report))
    assert page.newest([report]) == {}  # a local cloud proves nothing
    on_an_account = page.newest([{**report, "cloud": "Alibaba Cloud"}])
    assert on_an_account.keys() == set(rows())


def test_what_went_wrong_is_in_the_report_and_nothing_is_left(cloud: LocalCloud, tmp_path: Path) -> None:
    """A group cannot be created: the rows are not answered, the first group is deleted, and the exit code is 1."""
    quota = {"code": "QuotaExceed.SecurityGroup", "status": 400}
    cloud.faults.add(Fault(service="ecs", action="CreateSecurityGroup", kind="error", skip=1, **quota))
    finished = run(cloud, tmp_path, "--yes")
    assert finished.returncode == 1
    assert "QuotaExceed.SecurityGroup" in finished.stderr
    assert {row["verdict"] for row in json.loads(finished.stdout)["rows"]} == {"not answered"}
    assert groups(cloud) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("action", "skip"), [("CreateSecurityGroup", 0), ("CreateSecurityGroup", 1), ("TagResources", 0)]
)
def test_what_an_interruption_leaves_is_removed(
    cloud: LocalCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, skip: int, number: signal.Signals
) -> None:
    """Ctrl-C or SIGTERM after a call was carried out and before its answer arrives: also the group that the call
    made."""
    processes: list[subprocess.Popen[str]] = []
    call, actions = cloud.ecs.call, []

    def interrupting(caller: Caller, requested: str, *args: Any, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = call(caller, requested, *args, **options)
        actions.append(requested)
        if requested == action and actions.count(action) == skip + 1:
            processes[0].send_signal(number)
        return answer

    monkeypatch.setattr(cloud.ecs, "call", interrupting)
    former_handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
    processes.append(start(cloud, tmp_path, sys.executable, str(SCRIPT), cloud.world.vpcs[0]["id"], "--yes"))
    signal.signal(signal.SIGINT, former_handler)
    with processes[0] as process:
        out, err = process.communicate()
    assert (process.returncode, "interrupted" in err) == (1, True), err
    assert {row["verdict"] for row in json.loads(out)["rows"]} == {"not answered"}
    assert actions.count(action) > skip
    assert groups(cloud) == set()


def rows() -> list[int]:
    """Those that the script asks, in its order."""
    spec = importlib.util.spec_from_file_location("first_evening", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.ROWS)


def test_the_page_names_what_is_asked_and_where_to_send_it() -> None:
    """The rows in the script's order; the form exists, and asks for the report."""
    evening = TEXT.partition("2. **After `s deploy`**")[2].partition("\n## ")[0]
    assert [int(number) for number in re.findall(r"#(\d+)", evening)] == rows()
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/cloud-answer.yml").read_text(encoding="utf-8"))
    assert {"report", "region", "version"} <= {field.get("id") for field in form["body"]}
