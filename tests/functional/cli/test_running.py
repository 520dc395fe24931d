"""Commands against a running local cloud, with the deployed functions behind it: over HTTP, in real time."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from link_peer.domain.tags import parse_instant
from link_peer_cli.clients.local_cloud import environment, running
from link_peer_local.core.identity import Caller
from link_peer_local.world import describe

from tests.functional.command import Cli

pytestmark = pytest.mark.http

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
APP, DB, CACHE = "sg-bp1shopapp000000000a", "sg-bp1shopdb0000000000a", "sg-bp1shopcache0000000a"


@pytest.fixture(name="shop")
def _shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`link-peer local --world shop`, and its exports."""
    with running("shop") as cloud:
        for name, value in environment(describe(cloud)).items():
            monkeypatch.setenv(name, value)
        yield


def block(language: str) -> str:
    """The first block in this language behind the mark of the tour."""
    found = re.search(rf"```{language}\n(.*?)```", README.split("<!-- tour -->")[1], re.S)
    assert found is not None
    return found[1]


@pytest.mark.usefixtures("shop")
def test_the_tour_of_the_readme_goes_as_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Its commands, in their order, and its lines of Python, which make the next sweep open the denied link."""
    cli = Cli(capsys)
    ended, told = {}, {}
    for line in block("sh").splitlines():
        program, *args = shlex.split(line, comments=True)
        assert program == "link-peer"
        ended[" ".join(args[:2])] = cli(*args)
        told[" ".join(args[:2])] = cli.out
    denied = f"plan {'i-bp1shopapp0000000000a'}"
    assert {what: code for what, code in ended.items() if code} == {denied: 1}
    advice = f"link-accept={APP}:tcp/6379"
    assert advice in told[denied]
    assert advice in told["audit"]
    assert "applied" in told["request link"]
    assert "removed" in told["request unlink"]
    exec(block("python"), {})  # noqa: S102  # what a reader would paste
    code, [swept] = cli.json("sweep")
    applied = [decision["to"] for decision in swept["decisions"] if decision["outcome"] == "applied"]
    assert (code, applied) == (0, [CACHE])


@pytest.mark.usefixtures("shop")
def test_a_request_is_followed_to_its_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    """`--wait` prints the record that cross_account writes; a denial ends with 1. The same id again has a new outcome."""
    cli = Cli(capsys)
    ends = ["--from", APP, "--to", DB, "--request-id", "chg-1", "--wait"]
    code, [record] = cli.json("request", "link", *ends, "--port", "tcp/3306")
    assert (code, record["outcome"], record["request_id"]) == (0, "applied", "chg-1")
    code, [again] = cli.json("request", "unlink", *ends)
    assert (code, again["outcome"]) == (0, "removed")
    assert parse_instant(again["time"]) >= parse_instant(record["time"])
    code, [denied] = cli.json("request", "link", "--from", APP, "--to", CACHE, "--port", "tcp/6379", "--wait")
    assert (code, denied["reason"]) == (1, "no-consent")


def test_nothing_calls_the_functions_unless_somebody_invokes_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without functions a tag, an event and a request stay where they are; `link-peer invoke` works."""
    with running("shop", connected=False) as cloud:
        for name, value in environment(describe(cloud)).items():
            monkeypatch.setenv(name, value)
        cli = Cli(capsys)
        stop = {"RegionId": "cn-qingdao", "InstanceId": "i-bp1shopapp0000000000a"}
        for action in ("StopInstance", "StartInstance"):
            cloud.ecs.call(Caller(cloud.world.home, f"acs:ram::{cloud.world.home}:root"), action, stop)
        told = ("request", "link", "--from", APP, "--to", DB, "--port", "tcp/3306", "--wait", "--timeout", "1")
        assert cli(*told) == 1
        assert cli.json("audit", "--all") == (0, [])
        assert cli("invoke", "link-peer-sweep", "events/timer.json") == 0
        assert [record["to"] for record in cli.json("audit", "--outcome", "applied")[1]] == [DB]


def test_local_names_everything_in_its_first_line_and_ends_on_a_signal() -> None:
    """One JSON object with the keys of the contract; the port answers; Ctrl-C is a clean end."""
    command = [sys.executable, "-m", "link_peer_cli", "local", "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own module
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert (process.wait(timeout=20), process.stdout.read()) == (0, "")
    keys = {
        *("endpoint", "region", "accounts", "vpcs", "queue", "dead_letter_queue", "audit_project", "audit_logstore"),
        *("role_arn", "external_id", "fc_service"),
    }
    assert keys <= told.keys()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", told["endpoint"])
    assert {len(account["id"]) for account in told["accounts"]} == {16}


# A second thread takes SIGTERM, as happens by chance while worker processes are spawned; the main one blocks it.
ANOTHER_THREAD_TAKES_IT = """
import signal, sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
from link_peer_cli.main import main
sys.argv[1:] = ["local", "--port", "0", "--json"]
main()
"""


def test_local_ends_whichever_thread_gets_the_signal() -> None:
    """The main thread learns of a signal that woke another one."""
    command = [sys.executable, "-c", ANOTHER_THREAD_TAKES_IT]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own module
        assert process.stdout is not None
        try:
            process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def test_a_world_that_is_not_there_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the file's name."""
    cli = Cli(capsys)
    assert cli("local", "--world", "atlantis") == 2
    assert "atlantis" in cli.err
