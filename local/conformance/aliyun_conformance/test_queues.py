"""What MNS keeps and refuses."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from mns.mns_exception import MNSServerException
from mns.mns_request import GetQueueAttributesRequest, GetQueueAttributesResponse
from mns.queue import Message, QueueMeta

from aliyun_conformance.bench import Bench
from aliyun_conformance.sdks import code_of

CLEANUP = "delete the queue"


@pytest.mark.real_cloud(161, cleanup=CLEANUP)
def test_creating_again_needs_the_same_attributes(bench: Bench) -> None:
    """A queue is created again with the same attributes, and refused with other ones."""
    queue = bench.queue_client(bench.queue(vis_timeout=60))
    assert code_of(lambda: queue.create(QueueMeta(vis_timeout=60))) == ""
    assert code_of(lambda: queue.create(QueueMeta(vis_timeout=61))) == "QueueAlreadyExist"


@pytest.mark.parametrize(
    "attributes",
    [
        {"vis_timeout": 43201},
        {"max_msg_size": 1023},
        {"max_msg_size": 65537},
        {"msg_ttl": 59},
        {"msg_ttl": 604801},
        {"delay_sec": 604801},
        {"polling_wait_sec": 31},
    ],
)
@pytest.mark.real_cloud(162, cleanup=CLEANUP)
def test_attributes_out_of_limits_are_refused(bench: Bench, attributes: dict[str, Any]) -> None:
    """Each attribute of a queue has its limits."""
    assert code_of(lambda: bench.queue(**attributes)) == "InvalidArgument"


@pytest.mark.parametrize(
    ("name", "code"), [("-dash", "InvalidQueueName"), ("a_b", "InvalidQueueName"), ("x" * 121, "QueueNameLengthError")]
)
@pytest.mark.real_cloud(163, cleanup="none")
def test_an_invalid_queue_name_is_refused(bench: Bench, name: str, code: str) -> None:
    """Names of queues have up to 120 letters, digits and dashes."""
    assert code_of(lambda: bench.queue(name)) == code


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.real_cloud(164, cleanup=CLEANUP)
def test_a_body_is_returned_exactly(bench: Bench, encoded: bool) -> None:
    """Markup, line ends and other alphabets survive in base64 or plain text; the MD5 is upper-case hex of the body as sent."""
    queue, body = bench.queue_client(bench.queue()), ' {"a": "<b>&amp;\'\r\n\t✓"} '
    queue.set_encoding(encoded)
    if not encoded:
        body = body.replace("\r", "")  # an XML parser reads a carriage return as a line feed
    sent = queue.send_message(Message(body))
    received = queue.receive_message()
    stored = base64.b64encode(body.encode()) if encoded else body.encode()
    text = received.message_body.decode() if encoded else received.message_body
    assert (text, received.message_id) == (body, sent.message_id)
    digest = hashlib.md5(stored).hexdigest().upper()  # noqa: S324 - their hash
    assert sent.message_body_md5 == received.message_body_md5 == digest


@pytest.mark.real_cloud(165, cleanup=CLEANUP)
def test_urgent_messages_go_first(bench: Bench) -> None:
    """Priority 1 is the most urgent; within a priority, first in is first out."""
    queue = bench.queue_client(bench.queue())
    for body, priority in (("a", 8), ("b", 16), ("c", 1), ("d", 8)):
        queue.send_message(Message(body, priority=priority))
    assert [queue.receive_message().message_body for _ in range(4)] == [b"c", b"a", b"d", b"b"]


@pytest.mark.real_cloud(166, cleanup=CLEANUP)
def test_peek_receives_nothing(bench: Bench) -> None:
    """A peeked message can still be received, for the first time."""
    queue = bench.queue_client(bench.queue())
    queue.send_message(Message("x"))
    assert (queue.peek_message().dequeue_count, queue.batch_peek_message(16)[0].message_body) == (0, b"x")
    assert queue.receive_message().dequeue_count == 1
    assert code_of(queue.peek_message) == "MessageNotExist"


@pytest.mark.real_cloud(200, expected="the message; 1 or 0 as `ActiveMessages`", cleanup=CLEANUP)
def test_a_look_shows_what_waits(bench: Bench) -> None:
    """A look shows a message that waits; GetQueueAttributes counts it, or answers 0, as its page announces."""
    queue, answer = bench.queue_client(bench.queue()), GetQueueAttributesResponse()
    queue.send_message(Message("x"))
    bodies = [message.message_body for message in queue.batch_peek_message(16)]
    queue.mns_client.get_queue_attributes(GetQueueAttributesRequest(queue.queue_name), answer)
    bench.saw(f"{len(bodies)} shown, {answer.active_messages} counted", {"counted": answer.active_messages})
    assert bodies == [b"x"]
    assert answer.active_messages in (0, 1)


@pytest.mark.real_cloud(167, cleanup=CLEANUP)
def test_a_too_large_body_is_refused(bench: Bench) -> None:
    """The limit of a message is in bytes of the body as sent, after base64."""
    queue = bench.queue_client(bench.queue(max_msg_size=1024))
    queue.send_message(Message("x" * 768))
    assert code_of(lambda: queue.send_message(Message("x" * 769))) == "InvalidArgument"
    queue.set_encoding(False)
    assert code_of(lambda: queue.send_message(Message("✓" * 342))) == "InvalidArgument"


@pytest.mark.real_cloud(168, cleanup=CLEANUP)
def test_more_than_a_batch_is_refused(bench: Bench) -> None:
    """17 messages, or more than 64 KB together, are refused as a whole."""
    queue = bench.queue_client(bench.queue())
    assert code_of(lambda: queue.batch_send_message([Message("x")] * 17)) == "InvalidArgument"
    assert code_of(lambda: queue.batch_receive_message(17)) == "InvalidArgument"
    assert code_of(lambda: queue.batch_send_message([Message("x" * 30_000)] * 2)) == "InvalidArgument"
    assert code_of(queue.receive_message) == "MessageNotExist"


@pytest.mark.real_cloud(169, cleanup=CLEANUP)
def test_a_batch_delete_names_the_handles_that_failed(bench: Bench) -> None:
    """A batch deletes the messages of valid handles and names the invalid ones; deleting again is refused."""
    queue = bench.queue_client(bench.queue())
    queue.send_message(Message("x"))
    good = queue.receive_message().receipt_handle
    stale = "8-" + "0" * 32
    with pytest.raises(MNSServerException) as refused:
        queue.batch_delete_message([good, stale])
    assert [(e["ErrorCode"], e["ReceiptHandle"]) for e in refused.value.sub_errors] == [("MessageNotExist", stale)]
    assert code_of(lambda: queue.delete_message(good)) == "MessageNotExist"
