"""MNS below its Python client: other clients' spellings, invalid requests, long polling in real time, and hooks."""

from __future__ import annotations

import hashlib
import threading
import time
from xml.etree import ElementTree

import pytest

from aliyun_local.core.clock import PastClock, SystemClock, VirtualClock
from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Request, Response
from aliyun_local.core.identity import Caller
from aliyun_local.mns import wire as mns_wire
from aliyun_local.mns.backend import MnsBackend, QueueAttributes
from clients import HOME, refusal

CALLER = Caller(HOME, f"acs:ram::{HOME}:root")


@pytest.fixture(name="backend")
def _backend() -> MnsBackend:
    backend = MnsBackend(VirtualClock(), "cn-qingdao")
    backend.create_queue(HOME, "jobs")
    return backend


@pytest.fixture(name="running", params=[SystemClock, PastClock], ids=["system", "after a history"])
def _running(request: pytest.FixtureRequest) -> MnsBackend:
    """A backend in real time."""
    backend = MnsBackend(request.param(), "cn-qingdao")
    backend.create_queue(HOME, "jobs")
    return backend


def call(backend: MnsBackend, method: str, target: str, body: str = "", **headers: str) -> Response:
    path, _, query = target.partition("?")
    sent = {"host": "127.0.0.1:8101", **{name.replace("_", "-"): value for name, value in headers.items()}}
    try:
        return mns_wire.handle(backend, CALLER, Request(method, path, query, sent, body.encode()))
    except ApiError as problem:
        return mns_wire.error(problem)


def fields(response: Response) -> dict[str, str]:
    """The answer's elements without their name space."""
    root = ElementTree.fromstring(response.body)  # noqa: S314 - our own answer
    assert root.tag.startswith("{http://mns.aliyuncs.com/doc/v1/}")
    return {element.tag.rpartition("}")[2]: element.text or "" for element in root.iter()}


def refused(response: Response) -> tuple[int, str]:
    answer = fields(response)
    assert answer["RequestId"] == response.headers["x-mns-request-id"]
    assert answer.keys() >= {"Code", "Message", "RequestId", "HostId"}
    return response.status, answer["Code"]


MESSAGE = "<Message xmlns='http://mns.aliyuncs.com/doc/v1/'><MessageBody>x</MessageBody></Message>"


@pytest.mark.parametrize(
    ("handle", "timeout"), [("ReceiptHandle", "VisibilityTimeout"), ("receiptHandle", "visibilityTimeout")]
)
def test_both_spellings_of_parameters(backend: MnsBackend, handle: str, timeout: str) -> None:
    """The Node client writes its parameter names in lower camel case."""
    assert call(backend, "POST", "/queues/jobs/messages", MESSAGE).status == 201
    receipt = fields(call(backend, "GET", "/queues/jobs/messages"))["ReceiptHandle"]
    changed = call(backend, "PUT", f"/queues/jobs/messages?{handle}={receipt}&{timeout}=60")
    assert changed.status == 200
    assert call(backend, "DELETE", f"/queues/jobs/messages?{handle}={fields(changed)['ReceiptHandle']}").status == 204


def test_queues_can_be_listed_with_their_attributes(backend: MnsBackend) -> None:
    """x-mns-with-meta adds every attribute; a page size outside 1-1000 is refused."""
    queue_fields = fields(call(backend, "GET", "/queues", x_mns_with_meta="true"))
    assert (queue_fields["QueueURL"], queue_fields["VisibilityTimeout"]) == ("http://127.0.0.1:8101/queues/jobs", "30")
    assert "VisibilityTimeout" not in fields(call(backend, "GET", "/queues"))
    assert refused(call(backend, "GET", "/queues", x_mns_ret_number="1001")) == (400, "InvalidArgument")


def test_dead_letter_policy_over_the_wire(backend: MnsBackend) -> None:
    """DlqPolicy is set, shown, and disabled."""
    call(backend, "PUT", "/queues/dead")
    policy = (
        "<Queue xmlns='http://mns.aliyuncs.com/doc/v1/'><DlqPolicy><Enabled>{}</Enabled>"
        "<DeadLetterTargetQueue>dead</DeadLetterTargetQueue><MaxReceiveCount>3</MaxReceiveCount></DlqPolicy></Queue>"
    )
    assert call(backend, "PUT", "/queues/jobs?metaoverride=true", policy.format("true")).status == 204
    queue_fields = fields(call(backend, "GET", "/queues/jobs"))
    assert (queue_fields["DeadLetterTargetQueue"], queue_fields["MaxReceiveCount"]) == ("dead", "3")
    assert backend.queue(HOME, "jobs").attributes.dead_letter_queue == "dead"
    call(backend, "PUT", "/queues/jobs?metaoverride=true", policy.format("false"))
    assert "DlqPolicy" not in fields(call(backend, "GET", "/queues/jobs"))


def test_setting_one_attribute_leaves_the_others(backend: MnsBackend) -> None:
    """SetQueueAttributes changes only the attributes it names."""
    backend.create_queue(HOME, "q", QueueAttributes(visibility_timeout=60, delay_seconds=5))
    body = "<Queue><DelaySeconds>7</DelaySeconds></Queue>"
    call(backend, "PUT", "/queues/q?metaoverride=true", body)
    assert backend.queue(HOME, "q").attributes == QueueAttributes(visibility_timeout=60, delay_seconds=7)


@pytest.mark.parametrize(
    "body",
    [
        "<Message><MessageBody>a & b</MessageBody></Message>",
        "",
        "<!DOCTYPE x [<!ENTITY e 'x'>]><Message>&e;</Message>",
        *(
            f"<?xml version='1.0' encoding='{encoding}'?>{MESSAGE}"
            for encoding in ("utf-7", "gbk", "utf-32", "idna", "punycode", "undefined", "hex", "no-such")
        ),
        "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>"
        "<Message><MessageBody>&b;&b;&b;&b;</MessageBody></Message>",
        "<!DOCTYPE x SYSTEM 'file:///etc/passwd'><Message/>",
    ],
)
def test_a_body_that_is_no_xml_is_refused(backend: MnsBackend, body: str) -> None:
    """Or is more than this service needs of it: entities, document types and most encodings. Nothing is sent."""
    assert refused(call(backend, "POST", "/queues/jobs/messages", body)) == (400, "MalformedXML")
    assert backend.depth(HOME, "jobs").active == 0


@pytest.mark.parametrize(
    "body",
    [
        "<a>" * 100_000 + "</a>" * 100_000,
        "<Message><MessageBody>x<b>y</b>z</MessageBody></Message>",
        "<Letter><MessageBody>x</MessageBody></Letter>",
        "<Message><Priority>1</Priority></Message>",
        "<Message><MessageBody/></Message>",
        "<Message><MessageBody>x</MessageBody><Priority>17</Priority></Message>",
        "<Message><MessageBody>x</MessageBody><DelaySeconds>-1</DelaySeconds></Message>",
    ],
)
def test_an_invalid_message_is_refused(backend: MnsBackend, body: str) -> None:
    """A body that does not match the schema; nothing is sent."""
    assert refused(call(backend, "POST", "/queues/jobs/messages", body)) == (400, "InvalidArgument")
    assert backend.depth(HOME, "jobs").active == 0


@pytest.mark.parametrize(
    ("method", "target", "body", "expected"),
    [
        ("DELETE", "/queues/jobs/messages", "<ReceiptHandles><Handle>x</Handle></ReceiptHandles>", "InvalidArgument"),
        ("PUT", "/queues/jobs?metaoverride=true", "<Queue><Colour>red</Colour></Queue>", "InvalidArgument"),
        ("PUT", "/queues/jobs?metaoverride=true", "<Queue><DelaySeconds>x</DelaySeconds></Queue>", "InvalidArgument"),
        ("GET", "/queues/jobs/messages?waitseconds=31", "", "InvalidArgument"),
        ("GET", "/queues/jobs/messages?numOfMessages=0", "", "InvalidArgument"),
        ("DELETE", "/queues/jobs/messages?ReceiptHandle=nonsense", "", "ReceiptHandleError"),
        ("PUT", "/queues/jobs/messages?ReceiptHandle=nonsense&VisibilityTimeout=1", "", "ReceiptHandleError"),
        ("DELETE", "/queues/jobs/messages", "", "MissingReceiptHandle"),
        ("PUT", "/queues/jobs/messages?VisibilityTimeout=1", "", "MissingReceiptHandle"),
        ("PUT", "/queues/jobs/messages?ReceiptHandle=x", "", "MissingVisibilityTimeout"),
        ("PATCH", "/queues/jobs", "", "InvalidRequestURL"),
        ("GET", "/topics/t", "", "InvalidRequestURL"),
    ],
)
def test_invalid_request_is_refused(backend: MnsBackend, method: str, target: str, body: str, expected: str) -> None:
    """Each has the platform's code."""
    assert refused(call(backend, method, target, body)) == (400, expected)


@pytest.mark.parametrize(
    "body",
    [
        "a &lt;b&gt; &amp; ü &quot;q&quot;",
        '<![CDATA[a <b> & ü "q"]]>',
        'a <!-- a comment -->&lt;b> &amp; <![CDATA[ü "q"]]>',
    ],
)
def test_a_body_may_be_escaped_in_any_way_of_xml(backend: MnsBackend, body: str) -> None:
    """Entities and CDATA sections mean the same text; it is returned escaped, with the MD5 of the text."""
    text = 'a <b> & ü "q"'
    sent = fields(
        call(backend, "POST", "/queues/jobs/messages", f"<Message><MessageBody>{body}</MessageBody></Message>")
    )
    assert sent["MessageBodyMD5"] == hashlib.md5(text.encode(), usedforsecurity=False).hexdigest().upper()
    answer = call(backend, "GET", "/queues/jobs/messages")
    assert '<MessageBody>a &lt;b&gt; &amp; ü "q"</MessageBody>' in answer.body.decode()


@pytest.mark.parametrize(
    ("method", "target", "body", "name"),
    [
        ("GET", "/queues", "", "ListQueue"),
        ("PUT", "/queues/q", "", "CreateQueue"),
        ("PUT", "/queues/q?metaoverride=true", "", "SetQueueAttributes"),
        ("POST", "/queues/q/messages", "<Message/>", "SendMessage"),
        ("POST", "/queues/q/messages", "<Messages/>", "BatchSendMessage"),
        ("POST", "/queues/q/messages", "<?xml version='1.0'?>\n<Messages/>", "BatchSendMessage"),
        (
            "POST",
            "/queues/q/messages",
            "<Message><MessageBody><![CDATA[<Messages>]]></MessageBody></Message>",
            "SendMessage",
        ),
        ("GET", "/queues/q/messages?waitseconds=3", "", "ReceiveMessage"),
        ("GET", "/queues/q/messages?numOfMessages=3", "", "BatchReceiveMessage"),
        ("GET", "/queues/q/messages?peekonly=true", "", "PeekMessage"),
        ("DELETE", "/queues/q/messages?ReceiptHandle=1", "", "DeleteMessage"),
        ("DELETE", "/queues/q/messages", "<ReceiptHandles/>", "BatchDeleteMessage"),
        ("PUT", "/queues/q/messages?receiptHandle=1", "", "ChangeMessageVisibility"),
        ("POST", "/queues/q", "", "Unknown"),
    ],
)
def test_action_is_named_as_the_api_names_it(method: str, target: str, body: str, name: str) -> None:
    """Faults and counts use these names."""
    path, _, query = target.partition("?")
    assert mns_wire.action(Request(method, path, query, {}, body.encode())) == name


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (f"{HOME}.mns.cn-qingdao.aliyuncs.com", None),
        (f"{HOME}.mns.cn-qingdao-internal.aliyuncs.com:80", None),
        (f"{HOME}.mns.cn-beijing.aliyuncs.com", (404, "QueueNotExist")),
        ("1000000000000002.mns.cn-qingdao.aliyuncs.com", (403, "AccessDenied")),
    ],
)
def test_the_host_names_account_and_region(backend: MnsBackend, host: str, expected: tuple[int, str] | None) -> None:
    """Queues belong to the account and the region in the host name."""
    answer = call(backend, "GET", "/queues/jobs", host=host)
    assert (answer.status == 200) if expected is None else (refused(answer) == expected)


# Waiting, and hooks


def test_a_receive_waits_as_long_as_it_may(running: MnsBackend) -> None:
    """For a message that was received before, until its visibility timeout expires; on an empty queue, until its time
    is up."""
    running.send(HOME, "jobs", "x")
    [first] = running.receive(HOME, "jobs", visibility=1)
    [again] = running.receive(HOME, "jobs", visibility=60, wait=30)
    assert (again.id, again.dequeue_count) == (first.id, 2)
    assert again.next_visible_time >= first.next_visible_time + 60_000
    started = time.monotonic()
    assert refused(call(running, "GET", "/queues/jobs/messages?waitseconds=1")) == (404, "MessageNotExist")
    assert time.monotonic() - started > 0.9


def test_a_receive_does_not_wait_on_a_clock_that_stands_still() -> None:
    """Nor on a PastClock while a history is played."""
    clock = PastClock()
    clock.begin(1_000_000.0)
    backend = MnsBackend(clock, "cn-qingdao")
    backend.create_queue(HOME, "jobs")
    assert backend.receive(HOME, "jobs", wait=30) == []
    assert clock.now() == 1_000_000.0


def test_a_waiting_receive_ends_with_a_message_or_with_its_queue(running: MnsBackend) -> None:
    """Not when its time is up."""
    started = time.monotonic()
    threading.Timer(0.05, running.send, (HOME, "jobs", "x")).start()
    assert [message.body for message in running.receive(HOME, "jobs", wait=30)] == ["x"]
    threading.Timer(0.05, running.delete_queue, (HOME, "jobs")).start()
    assert refusal(running.receive, HOME, "jobs", wait=30) == ("QueueNotExist", 404)
    assert time.monotonic() - started < 25


def test_a_waiting_receive_ends_with_a_dead_letter(running: MnsBackend) -> None:
    """Once its last visibility timeout has expired in the other queue."""
    running.create_queue(HOME, "work", QueueAttributes(dead_letter_queue="jobs", max_receive_count=1))
    running.send(HOME, "work", "poison")
    assert running.receive(HOME, "work", visibility=1)
    [entry] = running.queue(HOME, "work").entries
    entry.next_visible_time = int(time.time() * 1000) + 50
    started = time.monotonic()
    assert [message.body for message in running.receive(HOME, "jobs", wait=30)] == ["poison"]
    assert time.monotonic() - started < 25


def test_hook_is_called_outside_the_lock(backend: MnsBackend) -> None:
    """`on_send` can read the queue from any thread, and is not called for a delayed message."""
    depths: list[tuple[str, str, int]] = []

    def on_send(account: str, queue: str) -> None:
        reader = threading.Thread(target=lambda: depths.append((account, queue, backend.depth(account, queue).active)))
        reader.start()
        reader.join(60)

    backend.on_send = on_send
    backend.send(HOME, "jobs", "x")
    backend.send(HOME, "jobs", "later", delay=10)
    assert depths == [(HOME, "jobs", 1)]
