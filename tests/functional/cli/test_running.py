"""Commands against a running local cloud with deployed functions: over HTTP, in real time.

No test measures time. Every wait ends with the awaited event; its limit only keeps a broken program from hanging.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from aliyun_local.api import Caller
from link_peer_cli.access.environment import load_environment
from link_peer_cli.demo import acts
from link_peer_cli.demo.local_cloud import CloudDescribed, describe, environment, running
from link_peer_cli.demo.world import WORLDS
from link_peer_cli.deployed.port import fc3

from tests.functional.command import Cli, check_answers

pytestmark = pytest.mark.http

ROOT = Path(__file__).resolve().parents[3]
LIMIT_SECONDS = 600
APP, DB = "sg-bp1shopapp000000000a", "sg-bp1shopdb0000000000a"


def test_without_triggers_only_an_sdk_runs_the_functions(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tag and an event are not handled, and a request stays in the queue; the SDK invokes them, over TLS too."""
    with running("shop", connected=False, tls=True) as cloud:
        for name, value in environment(describe(cloud)).items():
            monkeypatch.setenv(name, value)
        cli = Cli(capsys)
        stop = {"RegionId": "cn-qingdao", "InstanceId": "i-bp1shopapp0000000000a"}
        for action in ("StopInstance", "StartInstance"):
            cloud.ecs.call(Caller(cloud.world.home, f"acs:ram::{cloud.world.home}:root"), action, stop)
        assert cli("request", "link", "--from", APP, "--to", DB, "--port", "tcp/3306") == 0
        assert cli.json("audit", "--all") == (0, [])
        env = load_environment(reading=False)
        client, models = fc3(env.settings, env.policy.home)
        event = models.InvokeFunctionRequest(body=(ROOT / "events/timer.json").read_bytes())
        assert client.invoke_function(env.names.functions["sweep"], event).status_code == 200
        outcomes = cli.json("audit", "outcome=applied")[1]
        assert [(record["function"], record["to"]) for record in outcomes] == [("sweep", DB)]
        assert len(cloud.mns.receive(cloud.world.home, cloud.world.queue, max_n=16)) == 1


def test_local_prints_its_description_and_ends_on_a_signal() -> None:
    """The first line is one JSON object, as the schema has it; Ctrl-C exits with 0, and the authority's file is
    gone."""
    command = [sys.executable, "-m", "link_peer_cli", "local", "--port", "0", "--json", "--tls"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own module
        assert process.stdout is not None
        printed = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert (process.wait(timeout=LIMIT_SECONDS), process.stdout.read()) == (0, "")
    check_answers(("local", "--json"), printed)
    described = json.loads(printed)
    assert re.fullmatch(r"https://127\.0\.0\.1:\d+", described["endpoint"])
    assert re.search(r"/authority\.pem$", described["authority"])
    assert not Path(described["authority"]).exists()
    assert {len(account["id"]) for account in described["accounts"]} == {16}


def test_a_world_of_two_regions_has_in_each_what_setup_makes(tmp_path: Path) -> None:
    """Its searches, charts and alerts, too: the first `setup` in either has nothing to create."""
    world, shop = tmp_path / "world.yaml", (WORLDS / "shop.yaml").read_text("utf-8")
    world.write_text(f"{shop}regions: [cn-qingdao, cn-shanghai]\n", "utf-8")
    command = [sys.executable, "-m", "link_peer_cli", "local", "--json", "--no-functions", "--world", str(world)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own module
        assert process.stdout is not None
        described = msgspec.json.decode(process.stdout.readline(), type=CloudDescribed)
        try:
            for region, endpoint in described.regions.items():
                variables = environment(msgspec.structs.replace(described, region=region, endpoint=endpoint))
                planned = subprocess.run(  # our own module
                    [sys.executable, "-m", "link_peer_cli", "setup", "--dry-run"],
                    env={**os.environ, **variables},
                    cwd=ROOT,
                    capture_output=True,
                    text=True,
                    check=True,
                )
                assert "To create: 0, to update: 0," in planned.stdout, planned.stdout
        finally:
            process.send_signal(signal.SIGINT)


def test_the_option_region_chooses_where_a_world_is(capsys: pytest.CaptureFixture[str]) -> None:
    """The printed settings, the deployment and its log are there; a region that does not exist is refused."""
    command = [sys.executable, "-m", "link_peer_cli", "--region", "cn-shanghai", "local", "--json", "--no-functions"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own module
        assert process.stdout is not None
        described = msgspec.json.decode(process.stdout.readline(), type=CloudDescribed)
        process.send_signal(signal.SIGINT)
    assert (described.region, list(described.regions)) == ("cn-shanghai", ["cn-shanghai"])
    assert described.audit_project.endswith("-cn-shanghai")
    cli = Cli(capsys)
    assert cli("--region", "cn-shanghay", "local") == 2
    assert "--region: 'cn-shanghay' is not a region that this version knows: did you mean cn-shanghai?" in cli.err


# The kernel delivers SIGTERM to a second thread, because the main thread blocks it. This happens by chance while worker
# processes are spawned.
SIGNAL_TO_ANOTHER_THREAD = """
import signal, sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
from link_peer_cli.main import main
sys.argv[1:] = ["local", "--port", "0", "--json"]
main()
"""


def test_an_act_of_a_history_that_cannot_be_played_is_named(cli: Cli, tmp_path: Path) -> None:
    """By its time, with what the cloud says."""
    world, shop = tmp_path / "world.yaml", (WORLDS / "shop.yaml").read_text("utf-8")
    world.write_text(
        f"{shop}history: [{{at: 01 00:00, by: 1000000000000001/ann, tag: {{sg-none: {{a: b}}}}}}]\n", "utf-8"
    )
    assert cli("local", "--world", str(world)) == 2
    assert re.search(r"history: at 01 00:00: .*InvalidResourceId", cli.err)


def test_local_ends_if_another_thread_gets_the_signal() -> None:
    """The main thread notices a signal that the kernel delivered to another thread."""
    command = [sys.executable, "-c", SIGNAL_TO_ANOTHER_THREAD]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  # our own module
        assert process.stdout is not None
        try:
            process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=LIMIT_SECONDS) == 0
        finally:
            process.kill()


# the demo, as `make run` runs it: real functions in worker processes, real SDKs, a real server on loopback


def test_every_check_of_the_demo_passes(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 0, and the checks of every act. The record of the first link is that of the delivery which opened
    it."""
    cli = Cli(capsys)
    assert cli("demo") == 0
    text = cli.out
    passed = {line.removeprefix("  ✓ ") for line in text.splitlines() if line.startswith("  ✓ ")}
    assert {"no instance reaches another", "both groups have their rule", "the rule is back"} <= passed
    assert f"\n{text.count('  ✓ ')} checks passed" in text
    assert re.search(r"adds the rules:\n  audit: applied\n", text)


def test_a_failed_check_fails_the_demo(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """If the tag opens another port than the one probed: exit code 1, and the failed check."""
    monkeypatch.setattr(acts, "PORT", 22)
    code, [report] = Cli(capsys).json("demo")
    assert code == 1
    assert report["problem"] == "app-2 reaches db-1: expected 'ping 22', found 'ping'"
    assert [check["good"] for check in report["checks"]][-2:] == [True, False]
