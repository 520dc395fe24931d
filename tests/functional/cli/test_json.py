"""What commands print with `--json`: `Cli` compares every answer with docs/schemas/answers.schema.json."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from link_peer_cli.answers.table import ANSWERS
from link_peer_cli.demo.functions import deploy

from tests.functional.cli.test_every_command import COMMANDS
from tests.functional.command import Cli, answer_schema
from tests.functional.lab import HOME, PEER, Lab


def test_the_table_has_every_command_with_json() -> None:
    """And no other."""
    having = {name for name, command in COMMANDS.items() if any("--json" in param.opts for param in command.params)}
    assert having | {"--version"} == ANSWERS.keys()


@pytest.fixture(name="cli")
def _cli(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def test_real_output_is_what_the_schema_says(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each of these prints something."""
    app, db, closed = lab.group(), lab.group("*"), lab.group()
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306 {closed.id}:tcp/1"})
    lab.instance(lab.group(account=PEER))
    lab.instance(db)
    lab.auto_link(lab.event(instance))
    lab.authorize(db, IpProtocol="TCP", PortRange="3306/3306", SourceGroupId=app.id, Policy="drop")
    lab.cloud.mns.send(HOME, "link-peer-dead-letters", "{}")
    lab.cloud.world.policy, lab.cloud.endpoint = str(lab.policy_path), "http://127.0.0.1:1"
    deploy(lab.cloud, in_process=True)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(lab.event(instance)).encode())))
    lab.policy(tests=[{"from": f"{app.id}@{HOME}", "accept": [f"{db.id}@{HOME}:tcp/3306"]}])
    runs = (
        f"accept {closed.id} {app.id}:tcp/2 --dry-run",
        "account add 1000000000000009",
        "account list",
        "check",
        f"close {db.id} --dry-run",
        "doctor",
        f"explain {app.id} {db.id}",
        "failed",
        f"init --out {tmp_path / 'new'}",
        "links",
        "map",
        f"plan {instance.id}",
        f"plan --policy {lab.policy_path}",
        "reopen --all --dry-run",
        f"request link --from {app.id} --to {db.id}",
        "sweep --dry-run",
        "check --live",
        f"verify --from {instance.id} --to {db.id}",
        "--version",
        f"withdraw {db.id} * --dry-run",
        f"account remove {PEER} --dry-run",
        f"account remove {PEER} --yes",
    )
    for run in runs:
        assert cli.json(*run.split())[1], (run, cli.err)


def test_an_error_is_one_object_on_stderr(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the exit code of the error: for an unknown option, an invalid value, and what the cloud refuses."""
    monkeypatch.setenv("LINK_PEER_AUDIT_LOGSTORE", "nowhere")
    for command, code in (("audit --bad", 2), ("links --account nobody", 2), ("audit", 1)):
        assert cli(*command.split(), "--json") == code
        answer_schema("CommandFailed").validate(json.loads(cli.err))
        assert cli.out == ""
