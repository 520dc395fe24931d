"""Function instances as processes: warm, isolated, killed at their timeout, one call at a time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from aliyun_local.core.clock import VirtualClock
from aliyun_local.fc.runtime import InProcessRuntime, Result, WorkerRuntime
from aliyun_local.fc.values import Function
from aliyun_local.fc.worker import Context, Credentials, FunctionMeta, ServiceMeta

SAMPLE = """
import logging, os, sys, time
calls = []

def handler(event, context):
    calls.append(event)
    if event.startswith(b"hang "):
        print("hanging")
        open(event[5:], "w").close()
        time.sleep(60)
    if event.startswith(b"meet "):
        folder = event[5:].decode()
        os.makedirs(f"{folder}/{os.getpid()}")
        while len(os.listdir(folder)) < 2:
            time.sleep(0.005)
    if event == b"die":
        os._exit(1)
    if event == b"log":
        logging.getLogger().info("opened %s", "tcp/3306")
        print("to stderr", file=sys.stderr)
    return {
        "pid": os.getpid(), "calls": len(calls), "key": getattr(context, "credentials", None) and context.credentials.access_key_id,
        "context": sorted(vars(context)), "function": sorted(vars(context.function)),
        "env": {key: value for key, value in os.environ.items() if key.startswith(("ALIYUN_", "QUEUE", "ALIBABA_", "SECRET_"))},
        "path": sys.path[0], "shadowed": "fc_worker" in sys.modules,
    }
"""


def function(timeout: float = 30, runtime: str = "python3.10") -> Function:
    return Function(
        name="sample",
        handler="worker_sample.handler",
        runtime=runtime,
        timeout=timeout,  # type: ignore[arg-type]
        env={"QUEUE": "q"},
    )


def context(request_id: str = "1-a", key: str = "STS.1") -> Context:
    return Context(
        request_id,
        Credentials(key, "secret", "token"),
        FunctionMeta("sample", "worker_sample.handler", 512, 30),
        ServiceMeta("", "", "LATEST", ""),
        "cn-qingdao",
        "1000000000000001",
    )


def answer_of(result: Result) -> dict[str, Any]:
    assert result.error_type == "", result
    document: dict[str, Any] = json.loads(result.body)
    return document


@pytest.fixture(name="code")
def _code(tmp_path: Path) -> Path:
    (tmp_path / "worker_sample.py").write_text(SAMPLE, encoding="utf-8")
    return tmp_path


@pytest.fixture(name="runtime")
def _runtime(code: Path) -> Iterator[WorkerRuntime]:
    runtime = WorkerRuntime(code=[code], env={"ALIYUN_LOCAL_ENDPOINT": "http://127.0.0.1:1"}, instances=2)
    yield runtime
    runtime.close()


def test_an_instance_stays_warm(runtime: WorkerRuntime) -> None:
    """The second call finds the module loaded, in the same process. Its environment keeps the keys from the start of
    the instance; the context has current ones."""
    first, second = (answer_of(runtime.run(function(), b"", context(key=key))) for key in ("STS.1", "STS.2"))
    assert (first["calls"], second["calls"]) == (1, 2)
    assert first["pid"] == second["pid"]
    assert (second["key"], second["env"]["ALIBABA_CLOUD_ACCESS_KEY_ID"]) == ("STS.2", "STS.1")


def test_an_instance_has_the_functions_environment_and_no_other(
    runtime: WorkerRuntime, monkeypatch: pytest.MonkeyPatch, code: Path
) -> None:
    """The machine's own environment (real keys, for example) does not reach a function."""
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("SECRET_THING", "mine")
    answer = answer_of(runtime.run(function(), b"", context()))
    assert answer["env"] == {
        "QUEUE": "q",
        "ALIYUN_LOCAL_ENDPOINT": "http://127.0.0.1:1",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "STS.1",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "secret",
        "ALIBABA_CLOUD_SECURITY_TOKEN": "token",
    }
    assert answer["path"] == str(code)


def test_python312_has_the_keys_in_the_environment_alone(runtime: WorkerRuntime) -> None:
    """Its context has no credentials and no service; it names the qualifier and the log itself."""
    answer = answer_of(runtime.run(function(runtime="python3.12"), b"", context()))
    assert (answer["key"], answer["env"]["ALIBABA_CLOUD_ACCESS_KEY_ID"]) == (None, "STS.1")
    assert answer["context"] == ["account_id", "function", "log_project", "log_store", "region", "request_id"]
    assert {"qualifier", "version_id"} <= set(answer["function"])


def test_output_and_log_records_are_captured(runtime: WorkerRuntime) -> None:
    """`logging` adds time, request id and level, as on the platform; the next call starts with an empty log."""
    lines = runtime.run(function(), b"log", context("1-b")).log.splitlines()
    assert lines[0].endswith("Z 1-b [INFO] opened tcp/3306")
    assert lines[1:] == ["to stderr"]
    assert runtime.run(function(), b"", context()).log == ""


def test_a_call_is_killed_at_its_timeout(
    runtime: WorkerRuntime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error names the seconds; printed output is kept; the next call gets a new instance."""
    first = answer_of(runtime.run(function(), b"", context()))

    def time_is_up(_pipe: Connection, _timeout: float) -> bool:
        """Report a timeout once the handler has printed its line."""
        while not (tmp_path / "hanging").exists():
            threading.Event().wait(0.01)
        return False

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "poll", time_is_up)
        result = runtime.run(function(), b"hang " + str(tmp_path / "hanging").encode(), context())
    assert result.error_type == "UnhandledInvocationError"
    assert json.loads(result.body) == {"errorMessage": "Function time out after 30 seconds"}
    assert result.log == "hanging\n"
    assert answer_of(runtime.run(function(), b"", context()))["pid"] != first["pid"]


def test_a_dead_process_is_a_function_error(runtime: WorkerRuntime) -> None:
    """The server keeps running."""
    result = runtime.run(function(), b"die", context())
    assert json.loads(result.body) == {"errorMessage": "Process exited unexpectedly before completing request"}
    assert answer_of(runtime.run(function(), b"", context()))["calls"] == 1


def test_a_running_call_can_be_stopped(runtime: WorkerRuntime, tmp_path: Path) -> None:
    """Its process is killed, and the call ends with an error."""
    results: list[Result] = []
    answer_of(runtime.run(function(), b"", context()))
    thread = threading.Thread(
        target=lambda: results.append(
            runtime.run(function(), b"hang " + str(tmp_path / "x").encode(), context("1-stop"))
        )
    )
    thread.start()
    while not results:
        runtime.stop("1-stop")
        thread.join(0.01)
    assert results[0].error_type == "UnhandledInvocationError"


def test_two_calls_at_once_run_in_two_instances(runtime: WorkerRuntime, tmp_path: Path) -> None:
    """An instance serves one request at a time; each call here waits for the other."""
    results: list[Result] = []

    def call(request_id: str) -> None:
        results.append(runtime.run(function(), f"meet {tmp_path / 'met'}".encode(), context(request_id)))

    threads = [threading.Thread(target=call, args=(request_id,)) for request_id in ("1-a", "1-b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer_of(result)["pid"] for result in results}) == 2


def test_in_process_a_call_beyond_its_timeout_has_timed_out(tmp_path: Path) -> None:
    """It cannot be interrupted, but the outcome is the platform's."""
    clock = VirtualClock()
    source = "clock = None\ndef handler(event, context):\n    clock.sleep(121)\n"
    (tmp_path / "slow_sample.py").write_text(source, encoding="utf-8")
    runtime = InProcessRuntime(clock, code=[tmp_path])
    slow = Function(name="slow", handler="slow_sample.handler", timeout=120)
    first = runtime.run(slow, b"", context())
    assert json.loads(first.body)["errorType"] == "AttributeError"
    import slow_sample

    slow_sample.clock = clock
    result = runtime.run(slow, b"", context())
    assert json.loads(result.body) == {"errorMessage": "Function time out after 120 seconds"}
