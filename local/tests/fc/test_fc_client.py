"""Function Compute through its two official clients: fc20230330 by function name, fc-open20210406 by service."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_fc20230330 import models as fc3
from alibabacloud_fc20230330.client import Client as Fc3
from alibabacloud_fc_open20210406 import models as fc2
from alibabacloud_fc_open20210406.client import Client as Fc2
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_openapi.models import Config
from alibabacloud_tea_util.models import RuntimeOptions
from darabonba.runtime import RuntimeOptions as DaraRuntimeOptions

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Request
from aliyun_local.core.identity import Caller
from aliyun_local.core.knobs import Knobs
from aliyun_local.core.principals import Role, trust_text
from aliyun_local.fc import wire as fc_wire
from aliyun_local.fc.runtime import InProcessRuntime
from aliyun_local.fc.triggers import install
from aliyun_local.fc.values import Function
from clients import HOME, PEER, REGION, ask, config, key_of, refusal, refused

ROLE = f"acs:ram::{HOME}:role/fn"
DEAD_LETTERS = "acs:mns:cn-qingdao::/queues/dead/messages"

SAMPLE = """
import json, os

def echo(event, context):
    print("hello from", context.function.name)
    return event

def tell(event, context):
    return {
        "request_id": context.request_id, "account": context.account_id, "region": context.region,
        "function": [getattr(context.function, name) for name in ("name", "handler", "memory", "timeout")],
        "log": [context.service.log_project, context.service.log_store],
        "token": bool(context.credentials.security_token),
        "same_key": os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"] == context.credentials.access_key_id,
        "env": {key: os.environ[key] for key in ("COLOUR", "FC_FUNCTION_NAME", "FC_ACCOUNT_ID", "FC_REGION")},
        "logger": hasattr(context, "logger"),
    }

def text(event, context):
    return "grüße"

def fail(event, context):
    print("about to fail")
    raise RuntimeError("no answer from sg-db")

def half(event, context):
    print("a\\ud800b")

def leave(event, context):
    raise SystemExit(3)
"""


class Setup:
    """A cloud with functions `echo`, `tell`, `fail`… of the home account, and clients of both accounts."""

    def __init__(self, cloud: LocalCloud, code: Path) -> None:
        self.cloud = cloud
        self.clock: Any = cloud.clock
        cloud.identity.add_role(Role(HOME, "fn", trust_text(["fc.aliyuncs.com"])))
        runtime = InProcessRuntime(cloud.clock, code=[code], env={"COLOUR": "blue"})
        install(cloud, (), HOME, runtime)
        self.fc = cloud.fc
        self.delivered: list[tuple[str, str, Any]] = []
        self.fc.tasks.deliver = self._deliver
        for name in ("echo", "tell", "text", "fail", "leave", "half"):
            self.deploy(name)
        self.fc3 = Fc3(self._config(HOME))
        self.fc2 = Fc2(self._config(HOME))

    def deploy(self, name: str, **changes: Any) -> None:
        settings: dict[str, Any] = {
            "timeout": 10, "role": ROLE, "async_task": True, "max_retries": 2, "on_failure": DEAD_LETTERS,
            "log_project": "p", "log_store": "l", "handler": f"fc_sample.{name}",
        }  # fmt: skip
        self.fc.deploy(HOME, Function(name=name, **{**settings, **changes}))

    def stranger(self) -> Fc3:
        return Fc3(self._config(PEER))

    def invoke(self, name: str, body: bytes = b"", **headers: str) -> Any:
        header_values = fc3.InvokeFunctionHeaders(**headers)
        return self.fc3.invoke_function_with_options(
            name, fc3.InvokeFunctionRequest(body=body), header_values, DaraRuntimeOptions()
        )

    def invoke2(self, name: str, body: bytes = b"", service: str = "default", **headers: str) -> Any:
        header_values = fc2.InvokeFunctionHeaders(**headers)
        return self.fc2.invoke_function_with_options(
            service, name, fc2.InvokeFunctionRequest(body=body), header_values, RuntimeOptions()
        )

    def task(self, name: str, task_id: str) -> Any:
        return ask(self.fc3, "GetAsyncTask", name, task_id)

    def _config(self, uid: str) -> Config:
        return config(key_of(self.cloud, uid), f"{uid}.{REGION}.fc.aliyuncs.com")

    def _deliver(self, account: str, arn: str, body: str) -> None:
        self.delivered.append((account, arn, json.loads(base64.b64decode(body))))


@pytest.fixture(name="setup")
def _setup(local_cloud: LocalCloud, tmp_path: Path) -> Setup:
    (tmp_path / "fc_sample.py").write_text(SAMPLE, encoding="utf-8")
    return Setup(local_cloud, tmp_path)


def test_a_synchronous_call_returns_the_raw_bytes(setup: Setup) -> None:
    """200, the handler's bytes unchanged or its text in UTF-8, a request id, no error header. In FC 2.0 the service
    `default` has the functions."""
    answer = setup.invoke("echo", b'{"a": 1}\x00\xff')
    assert (answer.status_code, answer.body.read()) == (200, b'{"a": 1}\x00\xff')
    assert answer.headers["x-fc-request-id"].startswith("1-")
    assert "x-fc-error-type" not in answer.headers
    assert setup.invoke("text").body.read() == "grüße".encode()
    older = setup.invoke2("echo", b"\x00\xff")
    assert (older.status_code, older.body) == (200, b"\x00\xff")


def test_the_context_is_that_of_python_3_10(setup: Setup) -> None:
    """Credentials of the role, function, log names, region, account; no logger; environment with keys and FC_
    variables."""
    answer = setup.invoke("tell")
    assert json.loads(answer.body.read()) == {
        "request_id": answer.headers["x-fc-request-id"],
        "account": HOME,
        "region": REGION,
        "function": ["tell", "fc_sample.tell", 512, 10],
        "log": ["p", "l"],
        "token": True,
        "same_key": True,
        "env": {"COLOUR": "blue", "FC_FUNCTION_NAME": "tell", "FC_ACCOUNT_ID": HOME, "FC_REGION": REGION},
        "logger": False,
    }


def test_a_function_error_is_200_with_a_header(setup: Setup) -> None:
    """The clients raise nothing; only X-Fc-Error-Type and the body show it."""
    answer = setup.invoke("fail")
    assert (answer.status_code, answer.headers["x-fc-error-type"]) == (200, "UnhandledInvocationError")
    body = json.loads(answer.body.read())
    assert (body["errorMessage"], body["errorType"]) == ("no answer from sg-db", "RuntimeError")
    [[file, line, where, text]] = body["stackTrace"]
    assert file.endswith('fc_sample.py"')
    assert (line[:5], where, text) == ("line ", "in fail", 'raise RuntimeError("no answer from sg-db")')


def test_a_process_that_ends_is_a_function_error(setup: Setup) -> None:
    """The document has no exception, because the process could not write one."""
    answer = setup.invoke("leave")
    assert answer.headers["x-fc-error-type"] == "UnhandledInvocationError"
    assert json.loads(answer.body.read()) == {"errorMessage": "Process exited unexpectedly before completing request"}


def test_a_handler_that_cannot_be_imported_is_a_function_error(setup: Setup) -> None:
    """Found at the first call, not at deployment."""
    setup.deploy("lost", handler="not_in_the_package.handler")
    answer = setup.invoke("lost")
    assert answer.headers["x-fc-error-type"] == "UnhandledInvocationError"
    assert json.loads(answer.body.read())["errorType"] == "ModuleNotFoundError"


def test_tail_logs_come_back_in_a_header(setup: Setup) -> None:
    """The printed output between the platform's own lines, as base64, only on request; a lone surrogate is replaced."""
    answer = setup.invoke("fail", x_fc_log_type="Tail")
    lines = base64.b64decode(answer.headers["x-fc-log-result"]).decode().splitlines()
    request_id = answer.headers["x-fc-request-id"]
    assert lines == [
        f"FC Invoke Start RequestId: {request_id}",
        "about to fail",
        f"FC Invoke End RequestId: {request_id}, Error: UnhandledInvocationError",
    ]
    assert "x-fc-log-result" not in setup.invoke("fail").headers
    half = setup.invoke("half", x_fc_log_type="Tail")
    assert "a?b" in base64.b64decode(half.headers["x-fc-log-result"]).decode()


@pytest.mark.parametrize(
    "headers", [{"x_fc_invocation_type": "Later"}, {"x_fc_log_type": "All"}], ids=["invocation", "log"]
)
def test_an_unknown_invocation_or_log_type_is_refused(setup: Setup, headers: dict[str, str]) -> None:
    """InvalidArgument, 400."""
    assert refusal(setup.invoke, "echo", **headers) == ("InvalidArgument", 400)


def test_an_unknown_function_is_not_found(setup: Setup) -> None:
    """404, in both versions; another account's neither. FC 2.0 looks up the service first."""
    assert refusal(setup.invoke, "nothing") == ("FunctionNotFound", 404)
    assert refusal(setup.invoke2, "nothing") == ("FunctionNotFound", 404)
    assert refusal(ask, setup.stranger(), "InvokeFunction", "echo", body=b"") == ("FunctionNotFound", 404)
    assert refusal(setup.invoke2, "echo", service="nothing") == ("ServiceNotFound", 404)


def test_a_role_that_does_not_trust_function_compute_gives_no_credentials(setup: Setup) -> None:
    """FC assumes the role as fc.aliyuncs.com."""
    setup.cloud.identity.roles[ROLE].trust = trust_text(["ecs.aliyuncs.com"])
    assert refusal(setup.invoke, "echo") == ("AccessDenied", 403)


def test_functions_are_listed_and_described(setup: Setup) -> None:
    """By name, with a prefix, in pages; in FC 2.0 the role belongs to the service."""
    names: list[str] = []
    token: str | None = None
    while token != "":
        page = ask(setup.fc3, "ListFunctions", limit=2, next_token=token)
        names += [item.function_name for item in page.functions]
        token = page.next_token
    assert names == ["echo", "fail", "half", "leave", "tell", "text"]
    function = ask(setup.fc3, "GetFunction", "echo")
    assert (function.handler, function.timeout, function.role) == ("fc_sample.echo", 10, ROLE)
    assert function.function_arn == f"acs:fc:{REGION}:{HOME}:functions/echo"
    assert [item.function_name for item in ask(setup.fc2, "ListFunctions", "default", prefix="te").functions] == [
        "tell",
        "text",
    ]
    assert ask(setup.fc2, "GetFunction", "default", "echo").handler == "fc_sample.echo"


def test_an_asynchronous_call_is_accepted_and_runs_later(setup: Setup) -> None:
    """202 with an empty body; the record goes from Enqueued to Succeeded and keeps payload and result."""
    answer = setup.invoke("echo", b"later", x_fc_invocation_type="Async", x_fc_async_task_id="job-1")
    assert (answer.status_code, answer.body.read()) == (202, b"")
    assert answer.headers["x-fc-async-task-id"] == "job-1"
    assert setup.task("echo", "job-1").status == "Enqueued"
    setup.fc.drain()
    task = setup.task("echo", "job-1")
    assert (task.status, task.task_payload, task.return_payload) == ("Succeeded", "later", "later")
    assert [event.status for event in task.events] == ["Enqueued", "Running", "Succeeded"]
    assert task.request_id == answer.headers["x-fc-request-id"]


def test_fc_2_has_the_same_records_under_other_names(setup: Setup) -> None:
    """stateful-async-invocations: invocationId, invocationPayload, status."""
    answer = setup.invoke2("echo", b"x", x_fc_invocation_type="Async", x_fc_stateful_async_invocation_id="job-2")
    assert (answer.status_code, answer.body) == (202, b"")
    setup.fc.drain()
    record = ask(setup.fc2, "GetStatefulAsyncInvocation", "default", "echo", "job-2")
    assert (record.invocation_id, record.status, record.invocation_payload) == ("job-2", "Succeeded", "x")
    assert (record.service_name, record.function_name) == ("default", "echo")
    listed = ask(setup.fc2, "ListStatefulAsyncInvocations", "default", "echo", invocation_id_prefix="job-")
    assert [item.invocation_id for item in listed.invocations] == ["job-2"]


def test_a_task_id_is_accepted_once(setup: Setup) -> None:
    """A second submission gets 409, so a client without an answer may safely repeat it."""
    for _ in range(2):
        setup.invoke("tell", x_fc_invocation_type="Async", x_fc_async_task_id=f"job-{_}")
    with refused("StatefulAsyncInvocationAlreadyExists", 409):
        setup.invoke("tell", x_fc_invocation_type="Async", x_fc_async_task_id="job-1")
    with refused("InvalidArgument"):
        setup.invoke("tell", x_fc_invocation_type="Async", x_fc_async_task_id="1-starts-with-a-digit")


def test_an_asynchronous_payload_has_at_most_128_kilobytes(setup: Setup) -> None:
    """EntityTooLarge beyond."""
    setup.invoke("echo", b"x" * 128 * 1024, x_fc_invocation_type="Async")
    with refused("EntityTooLarge"):
        setup.invoke("echo", b"x" * (128 * 1024 + 1), x_fc_invocation_type="Async")


def test_a_failing_call_is_retried_and_then_sent_to_its_destination(setup: Setup) -> None:
    """maxAsyncRetryAttempts retries, then Failed and one message in the documented form."""
    setup.invoke("fail", b'{"failure":true}', x_fc_invocation_type="Async", x_fc_async_task_id="job")
    setup.fc.drain()
    task = setup.task("fail", "job")
    assert (task.status, task.already_retried_times, task.destination_status) == ("Failed", 2, "Succeeded")
    assert json.loads(task.task_error_message)["errorMessage"] == "no answer from sg-db"
    [(account, arn, message)] = setup.delivered
    assert (account, arn) == (HOME, DEAD_LETTERS)
    assert message["requestContext"] == {
        "requestId": task.request_id,
        "functionArn": "acs:fc:::functions/fail",
        "condition": "UnhandledInvocationError",
        "approximateInvokeCount": 3,
    }
    assert message["requestPayload"] == '{"failure":true}'
    assert message["responseContext"] == {"statusCode": 200, "functionError": "UnhandledInvocationError"}
    assert json.loads(message["responsePayload"])["errorType"] == "RuntimeError"


@pytest.mark.parametrize(
    ("knobs", "waits"),
    [(Knobs(), (0.5, 0.5, 1.5, 0.5)), (Knobs(retry_seconds=60, retry_factor=1), (59, 1, 59, 1))],
    ids=["default", "set"],
)
def test_retries_wait_longer_each_time(setup: Setup, knobs: Knobs, waits: tuple[float, ...]) -> None:
    """No retry runs early. The interval is undocumented: it is `retry_seconds`, multiplied by `retry_factor` each
    time."""
    setup.fc.tasks.knobs = knobs
    setup.invoke("fail", x_fc_invocation_type="Async", x_fc_async_task_id="job")
    ran = [setup.fc.tasks.step()]
    for seconds in waits:
        setup.clock.advance(seconds)
        ran.append(setup.fc.tasks.step())
    assert ran == [True, False, True, False, True]
    assert setup.task("fail", "job").status == "Failed"


def test_a_call_that_waited_too_long_is_never_run(setup: Setup) -> None:
    """After maxAsyncEventAgeInSeconds it is Expired and sent to the destination."""
    setup.deploy("echo", max_age=60)
    setup.invoke("echo", x_fc_invocation_type="Async", x_fc_async_task_id="job")
    setup.clock.advance(61)
    setup.fc.drain()
    assert setup.task("echo", "job").status == "Expired"
    assert [event.status for event in setup.task("echo", "job").events] == ["Enqueued", "Expired"]
    assert setup.delivered[0][2]["requestContext"]["condition"] == "Expired"


def test_a_destination_that_refuses_is_recorded(setup: Setup) -> None:
    """The record says that the message was not delivered."""

    def refuse(*_: str) -> None:
        raise ApiError("QueueNotExist", 404, "The queue name you provided is not exist.")

    setup.fc.tasks.deliver = refuse
    setup.invoke("fail", x_fc_invocation_type="Async", x_fc_async_task_id="job")
    setup.fc.drain()
    assert setup.task("fail", "job").destination_status == "Failed"


def test_a_waiting_task_can_be_stopped(setup: Setup) -> None:
    """It never runs; a finished task cannot be stopped."""
    for name in ("a", "b"):
        setup.invoke("echo", x_fc_invocation_type="Async", x_fc_async_task_id=name)
    assert setup.fc3.stop_async_task("echo", "a", fc3.StopAsyncTaskRequest()).status_code == 204
    ask(setup.fc2, "StopStatefulAsyncInvocation", "default", "echo", "b")
    setup.fc.drain()
    assert [setup.task("echo", name).status for name in ("a", "b")] == ["Stopped", "Stopped"]
    with refused("InvalidArgument"):
        ask(setup.fc3, "StopAsyncTask", "echo", "a")


def test_tasks_are_listed_with_filters_and_pages(setup: Setup) -> None:
    """By prefix, by status, 20 per page; payloads only on request."""
    for number in range(3):
        setup.invoke("echo", b"in", x_fc_invocation_type="Async", x_fc_async_task_id=f"a-{number}")
    setup.fc.drain()
    setup.invoke("echo", b"in", x_fc_invocation_type="Async", x_fc_async_task_id="b")

    def listed(**query: Any) -> tuple[list[str], str]:
        page = ask(setup.fc3, "ListAsyncTasks", "echo", **query)
        return [task.task_id for task in page.tasks], page.next_token

    assert listed() == (["a-0", "a-1", "a-2", "b"], "")
    assert listed(prefix="a-", sort_order_by_time="desc")[0] == ["a-2", "a-1", "a-0"]
    assert listed(status="Enqueued")[0] == ["b"]
    for wrong in ({"status": "Failure"}, {"sort_order_by_time": "up"}, {"next_token": "9" * 5000}):
        assert refusal(listed, **wrong) == ("InvalidArgument", 400)
    first, token = listed(limit=3)
    assert (first, listed(limit=3, next_token=token)[0]) == (["a-0", "a-1", "a-2"], ["b"])
    for include in (True, False):
        [task] = ask(setup.fc3, "ListAsyncTasks", "echo", include_payload=include, limit=1).tasks
        assert task.task_payload == ("in" if include else None)


def test_the_host_names_account_and_region(setup: Setup) -> None:
    """A host that names another account or region is refused; other endpoints name neither."""

    def call(host: str) -> str:
        client = Fc3(setup._config(HOME))
        client._endpoint = host
        try:
            return ask(client, "GetFunction", "echo").function_name
        except ClientException as refusal:
            return refusal.code

    hosts = [f"{HOME}.{REGION}-internal.fc.aliyuncs.com", f"fcv3.{REGION}.aliyuncs.com", "127.0.0.1:8101"]
    assert [call(host) for host in hosts] == ["echo"] * 3
    assert call(f"{PEER}.{REGION}.fc.aliyuncs.com") == "AccessDenied"
    assert call(f"{HOME}.cn-beijing.fc.aliyuncs.com") == "FunctionNotFound"


def test_content_md5_must_match_the_body(setup: Setup) -> None:
    """Where a client sends it: in hex, or base64 of either form."""
    digest, caller = hashlib.md5(b"x", usedforsecurity=False), Caller(HOME, f"acs:ram::{HOME}:root")
    forms = (digest.hexdigest().encode(), digest.digest())
    right = [digest.hexdigest(), *(base64.b64encode(digest_form).decode() for digest_form in forms)]
    for sent in (*right, "9DD4", ""):
        headers = {"host": "x", "content-md5": sent}
        request = Request("POST", "/2023-03-30/functions/echo/invocations", "", headers, b"x")
        expected = ("", 0) if sent in right else ("InvalidArgument", 400)
        assert refusal(fc_wire.handle, setup.fc, caller, request) == expected


def test_without_async_task_there_are_no_records(setup: Setup) -> None:
    """The call still runs, but nothing can be listed afterwards."""
    setup.deploy("echo", async_task=False)
    setup.invoke("echo", x_fc_invocation_type="Async", x_fc_async_task_id="job")
    setup.fc.drain()
    assert ask(setup.fc3, "ListAsyncTasks", "echo").tasks == []
    assert refusal(setup.task, "echo", "job") == ("StatefulAsyncInvocationNotFound", 404)


def test_credentials_are_renewed_before_they_expire(setup: Setup) -> None:
    """Calls close together share a key; near the end of its 36 hours there is a new one."""

    def key() -> str:
        setup.invoke("echo")
        issued = [item for item in setup.cloud.identity.keys.values() if item.token]
        return issued[-1].access_key_id

    first = key()
    assert key() == first
    setup.clock.advance(35.5 * 3600)
    assert key() != first
