"""Injected faults: what the client raises, and whether the change behind the call was made."""

from __future__ import annotations

import pytest
from alibabacloud_ecs20140526.client import Client as Ecs
from alibabacloud_ecs20140526.models import CreateSecurityGroupRequest
from alibabacloud_tea_openapi.exceptions import ClientException, ServerException
from aliyun.log import LogException, LogItem, PutLogsRequest
from darabonba.exceptions import UnretryableException
from mns.mns_exception import MNSClientNetworkException, MNSServerException
from mns.queue import Message
from pytest_mock import MockerFixture

from aliyun_local import inprocess
from aliyun_local.cloud import LocalCloud
from aliyun_local.core.faults import KINDS, Fault, Killed
from aliyun_local.server import Server
from clients import HOME, ask, config, key_of, logs_of, queues_of, refusal

UNNOTICED = {"slow", "empty", "empty-after"}  # the client raises nothing
AFTER = sorted(kind for kind in KINDS - UNNOTICED if kind.endswith("-after"))


@pytest.fixture(name="ecs")
def _ecs(local_cloud: LocalCloud) -> Ecs:
    return Ecs(config(key_of(local_cloud), read_timeout=300))


def create(ecs: Ecs) -> str:
    return str(ask(ecs, "CreateSecurityGroup", security_group_name="sg-app").security_group_id)


def groups(cloud: LocalCloud) -> int:
    return len(cloud.ecs.account(HOME).groups)


@pytest.mark.parametrize("kind", AFTER)
def test_a_fault_after_the_change_hides_it(local_cloud: LocalCloud, ecs: Ecs, kind: str) -> None:
    """The call fails for the caller, although the change was made."""
    local_cloud.faults.add(Fault("ecs", "CreateSecurityGroup", kind))
    with pytest.raises((ServerException, UnretryableException, Killed)):
        create(ecs)
    assert groups(local_cloud) == 1


@pytest.mark.parametrize(
    ("kind", "error", "code"),
    [
        ("throttle", ClientException, "Throttling.User"),
        ("error", ServerException, "InternalError"),
        ("html", UnretryableException, None),
        ("truncated", UnretryableException, None),
        ("reset", UnretryableException, None),
        ("no-answer", UnretryableException, None),
        ("kill", Killed, None),
    ],
)
def test_a_fault_before_the_change_prevents_it(
    local_cloud: LocalCloud, ecs: Ecs, kind: str, error: type[Exception], code: str | None
) -> None:
    """Nothing was created, and the next call works. Throttling is a plain 400; a response without readable JSON raises
    `Unretryable` without a code [run on the wire]. No client library catches a kill, so the calling code ends there."""
    local_cloud.faults.add(Fault("ecs", kind=kind))
    with pytest.raises(error) as raised:
        create(ecs)
    assert type(raised.value) is error
    assert getattr(raised.value, "code", None) == code
    assert groups(local_cloud) == 0
    create(ecs)
    assert groups(local_cloud) == 1


def test_an_error_can_be_specified(local_cloud: LocalCloud, ecs: Ecs) -> None:
    """`code` and `status` replace the service's internal error."""
    local_cloud.faults.add(Fault("ecs", kind="error", code="ServiceUnavailable", status=503))
    assert refusal(create, ecs) == ("ServiceUnavailable", 503)


@pytest.mark.parametrize(("kind", "group_count"), [("empty", 0), ("empty-after", 1)])
def test_an_empty_object_is_a_success_without_fields(
    local_cloud: LocalCloud, ecs: Ecs, kind: str, group_count: int
) -> None:
    """The client raises nothing, and its model has no field, whether the change was made or not."""
    local_cloud.faults.add(Fault(kind=kind))
    request = CreateSecurityGroupRequest(region_id="cn-qingdao", security_group_name="sg-app")
    answer = ecs.create_security_group(request)
    assert (answer.status_code, answer.body.to_map()) == (200, {})
    assert groups(local_cloud) == group_count


def test_an_empty_object_is_no_answer_of_a_rest_service(local_cloud: LocalCloud) -> None:
    """There, 200 means that the write was accepted, whatever the body."""
    account = queues_of(key_of(local_cloud))
    local_cloud.faults.add(Fault("mns", kind="empty"))
    account.get_queue("requests").send_message(Message("hello"))
    assert len(local_cloud.mns.receive(HOME, "requests", max_n=1)) == 1


@pytest.mark.parametrize(("scheme", "pool"), [("http", "HTTPConnectionPool"), ("https", "HTTPSConnectionPool")])
def test_silence_lasts_until_the_read_timeout(local_cloud: LocalCloud, scheme: str, pool: str) -> None:
    """A client without an answer waits for its read timeout. The SLS client decides by the text whether to retry, and
    it differs between http and https."""
    ecs = Ecs(config(key_of(local_cloud), "ecs.cn-qingdao.aliyuncs.com", protocol=scheme, read_timeout=300))
    local_cloud.faults.add(Fault("ecs", kind="no-answer"))
    before = local_cloud.clock.now()
    with pytest.raises(UnretryableException, match=f"'message': \"{pool}.*Read timed out"):
        create(ecs)
    assert local_cloud.clock.now() == pytest.approx(before + 0.3)


def outcomes(local_cloud: LocalCloud, ecs: Ecs, calls: int) -> str:
    """One letter per call: `.` for an answer, `x` for a fault."""

    def outcome() -> str:
        try:
            ask(ecs, "DescribeSecurityGroups")
        except ServerException:
            return "x"
        return "."

    return "".join(outcome() for _ in range(calls))


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("ecs"), "x..."),
        (Fault("ecs", times=2), "xx.."),
        (Fault("ecs", skip=2), "..x."),
        (Fault("ecs", skip=1, times=2), ".xx."),
        (Fault("ecs", times=None), "xxxx"),
        (Fault("*", "Describe*"), "x..."),
        (Fault("ecs", "CreateSecurityGroup"), "...."),
        (Fault("sls"), "...."),
        (Fault("ecs", account=HOME), "x..."),
        (Fault("ecs", account="1000000000000002"), "...."),
    ],
)
def test_which_calls_a_fault_hits(local_cloud: LocalCloud, ecs: Ecs, fault: Fault, expected: str) -> None:
    """A fault matches service, action and account; it skips `skip` calls and hits the next `times`."""
    local_cloud.faults.add(fault)
    assert outcomes(local_cloud, ecs, 4) == expected


@pytest.mark.parametrize(
    ("service", "action", "problem"),
    [
        ("ec2", "*", "no such service: 'ec2'; there are "),
        ("ecs", "AuthoriseSecurityGroup", "ecs has no action 'AuthoriseSecurityGroup' here"),
        ("ecs", "PutLogs", "ecs has no action 'PutLogs' here"),
        ("*", "NoSuch*", "has no action 'NoSuch*' here"),
        ("ecs", "DescribeImages", "ecs has no action 'DescribeImages' here"),  # the real service has it
    ],
)
def test_a_fault_that_could_hit_nothing_is_refused(
    local_cloud: LocalCloud, service: str, action: str, problem: str
) -> None:
    """A test with a misspelt action would pass without its fault."""
    with pytest.raises(ValueError) as refused:
        local_cloud.faults.add(Fault(service, action))
    assert problem in str(refused.value)
    assert local_cloud.faults.waiting() == []


def test_a_rate_limit_counts_each_api_and_starts_anew_with_the_next_minute(local_cloud: LocalCloud, ecs: Ecs) -> None:
    """Refused until the minute of the clock ends, whenever it began; other APIs and accounts have their own count."""
    clock = local_cloud.clock
    clock.sleep(45 - clock.now() % 60)
    local_cloud.faults.add(Fault("ecs", kind="throttle", times=None, per_minute=2))
    for _ in range(2):
        create(ecs)
    for _ in range(2):
        assert refusal(create, ecs) == ("Throttling.User", 400)
    ask(ecs, "DescribeSecurityGroups")
    clock.sleep(14)
    with pytest.raises(ClientException):
        create(ecs)
    clock.sleep(1)
    create(ecs)
    assert groups(local_cloud) == 3


def test_latency_is_added_to_every_call_and_hides_no_other_fault(local_cloud: LocalCloud, ecs: Ecs) -> None:
    """`slow` without an end; a fault that was added later still hits."""
    local_cloud.faults.add(Fault(kind="slow", times=None, seconds=0.02))
    local_cloud.faults.add(Fault("ecs", kind="error"))
    before = local_cloud.clock.now()
    with pytest.raises(ServerException):
        create(ecs)
    create(ecs)
    assert local_cloud.clock.now() - before == pytest.approx(0.04)
    call = local_cloud.faults.calls[-1]
    assert call.ended is not None
    assert call.ended - call.started == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault("sls", "PutLogs", "throttle"), "WriteQuotaExceed"),
        (Fault("sls", "PutLogs", "reset"), "LogRequestError"),
    ],
)
def test_what_the_sls_client_raises(local_cloud: LocalCloud, fault: Fault, code: str) -> None:
    """Throttling and reset reach the caller at once: this client retries neither [run on the wire]."""
    client = logs_of(key_of(local_cloud))
    local_cloud.faults.add(fault)
    rows = PutLogsRequest(f"logs-{HOME}", "events", "", "10.0.0.9", [LogItem(contents=[("outcome", "applied")])])
    with pytest.raises(LogException) as raised:
        client.put_logs(rows)
    assert raised.value.get_error_code() == code
    assert local_cloud.faults.count("sls", "PutLogs") == 1


@pytest.mark.parametrize(
    ("kind", "error", "error_type", "text"),
    [
        ("throttle", MNSServerException, "QpsLimitExceeded", None),
        ("error", MNSServerException, "InternalServerError", None),
        ("reset", MNSClientNetworkException, "NetWorkException", r"\[Errno 104\]"),
        ("no-answer", MNSClientNetworkException, "NetWorkException", "timed out"),
        ("html", MNSClientNetworkException, "RespDataDamaged", None),
    ],
)
def test_what_the_mns_client_raises(
    local_cloud: LocalCloud, kind: str, error: type[Exception], error_type: str, text: str | None
) -> None:
    """Refusals of the server and network problems have different classes [run on the wire]."""
    account = queues_of(key_of(local_cloud))
    local_cloud.faults.add(Fault("mns", "SendMessage", kind))
    with pytest.raises(error, match=text) as raised:
        account.get_queue("requests").send_message(Message("hello"))
    assert getattr(raised.value, "type", None) == error_type


# in process as over sockets


@pytest.mark.http
@pytest.mark.parametrize("kind", ["reset", "no-answer", "html", "truncated"])
def test_failures_read_the_same_over_http(server: Server, mocker: MockerFixture, kind: str) -> None:
    """The client raises exactly the message that it raises over a socket."""
    endpoint = server.endpoint.removeprefix("http://")
    patience = 150 if kind == "no-answer" else 60_000  # milliseconds
    client = Ecs(config(key_of(server.cloud), endpoint, read_timeout=patience))

    def failure() -> str:
        server.cloud.faults.add(Fault("ecs", kind=kind))
        with pytest.raises(UnretryableException) as raised:
            ask(client, "DescribeRegions")
        return str(raised.value)

    over_http = failure()
    inprocess.install(mocker, server.cloud)
    assert failure() == over_http
