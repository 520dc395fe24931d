"""`link-peer failed`, also with `--replay`, through the official SDKs of FC 2.0 and FC 3.0."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from aliyun_local.api import Triggers
from link_peer_cli.access.environment import load_environment
from link_peer_cli.deployed.functions import deployed_functions
from link_peer_cli.deployed.port import WITH_TASKS
from link_peer_deploy.manifest import load
from link_peer_deploy.names import Names

from tests.functional.command import Cli
from tests.functional.lab import HOME, Lab

NAMES = Names(HOME)
AUTO_LINK = NAMES.functions["auto_link"]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(name="cli")
def _cli(triggers: Triggers, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


class Served(Cli):
    """Commands about functions of either version of Function Compute."""

    def __init__(self, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]) -> None:
        super().__init__(capsys)
        self.options = options

    def __call__(self, *args: str) -> int:
        return super().__call__(*args, *self.options)


@pytest.fixture(name="fc", params=[(), ("--service", "link-peer")], ids=["FC 3.0", "FC 2.0"])
def _fc(request: pytest.FixtureRequest, triggers: Triggers, capsys: pytest.CaptureFixture[str]) -> Served:
    return Served(capsys, request.param)


def test_the_functions_with_tasks_are_those_of_s_yaml() -> None:
    """`failed` lists the tasks of every function for which the platform keeps tasks."""
    deployed = load(ROOT / "s.yaml", env={}, account=HOME).functions
    assert {function.name for function in deployed if function.async_task} == {NAMES.functions[n] for n in WITH_TASKS}


def test_a_failed_invocation_is_listed_and_replayed(lab: Lab, fc: Served, triggers: Triggers) -> None:
    """When the outage is over, the replayed event is handled."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.cloud.faults.clear()
    lab.fault(service="sls", action="PutLogs", kind="html", times=None)
    lab.fault(service="mns", action="SendMessage", kind="error", times=None)  # else it would look again later
    start = lab.iso()
    functions = deployed_functions(load_environment(reading=False).settings, HOME, *fc.options[1:])
    functions.invoke(AUTO_LINK, json.dumps(lab.event(instance)).encode())
    triggers.drain()
    lab.cloud.faults.clear()
    assert lab.rules(db) == []
    code, [task, letter] = fc.json("failed")
    assert (code, task["function"], task["status"], task["time"]) == (0, AUTO_LINK, "Failed", start)
    assert (letter["function"], letter["status"]) == (AUTO_LINK, "dead-letter")
    assert json.loads(letter["body"])["requestContext"]["requestId"] == task["id"]
    assert fc("failed") == 0
    assert fc.out.count("the audit log cannot be written") == 2
    code, [replayed] = fc.json("failed", "--replay", task["id"])
    assert (code, replayed["id"], replayed["function"]) == (0, task["id"], AUTO_LINK)
    triggers.drain()
    assert lab.rules(db) == [f"{app.id} tcp/3306"]
    assert fc("failed", "--replay", task["id"]) == 0
    assert fc.out.splitlines()[-1].endswith("link-peer audit --story prints what takes it back.")


def test_replay_accepts_only_failed_invocations(fc: Served) -> None:
    """Any other id is a usage error, and the message names it."""
    assert fc("failed", "--replay", "no-such-id") == 2
    assert "no-such-id" in fc.err


@pytest.mark.parametrize(
    ("counts", "further"), [("real", "2 more dead letters wait"), ("zero", "More dead letters may wait")]
)
@pytest.mark.parametrize("body", ['{"a": 1}', base64.b64encode(b'{"a": 1}').decode()], ids=["plain", "base64"])
def test_dead_letters_are_listed_and_stay(lab: Lab, cli: Cli, body: str, counts: str, further: str) -> None:
    """Plain or in base64, at most 16, with how many more there are, or that there may be more where nobody counts
    them."""
    lab.cloud.knobs.change({"queue_counts": counts})
    queue = NAMES.dead_letters
    for _ in range(18):
        lab.cloud.mns.send(HOME, queue, body)
    for _ in range(2):
        code, failures = cli.json("failed")
        assert (code, [letter["body"] for letter in failures]) == (0, ['{"a": 1}'] * 16)
    assert cli("failed") == 0
    assert cli.out.splitlines()[1].split("\t")[1:] == ["", "2026-11-25T00:00:00Z", "dead-letter", '{"a": 1}']
    assert further in cli.err


def test_dead_letters_that_could_not_be_read_are_not_none(lab: Lab, cli: Cli) -> None:
    """The failed invocations are listed all the same."""
    lab.cloud.mns.delete_queue(HOME, NAMES.dead_letters)
    assert cli("failed") == 1
    assert f"queue {NAMES.dead_letters}: QueueNotExist" in cli.err
    assert "No failed invocations. Looked at:" in cli.err
