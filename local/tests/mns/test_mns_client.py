"""MNS through the official Python client: queues, messages, handles, batches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mns.account import Account
from mns.mns_exception import MNSServerException
from mns.mns_request import GetQueueAttributesRequest, GetQueueAttributesResponse
from mns.queue import Message, Queue, QueueMeta

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.knobs import Knobs
from aliyun_local.mns.backend import QueueAttributes
from aliyun_local.mns.state import Depth
from clients import HOME, PEER, key_of, queues_of


@pytest.fixture(name="account")
def _account(local_cloud: LocalCloud) -> Account:
    return account_of(local_cloud, HOME)


@pytest.fixture(name="queue")
def _queue(account: Account) -> Queue:
    """A queue with visibility timeout 30 s."""
    queue = account.get_queue("jobs")
    queue.create(QueueMeta())
    return queue


def account_of(cloud: LocalCloud, uid: str) -> Account:
    return queues_of(key_of(cloud, uid), f"http://{uid}.mns.cn-qingdao.aliyuncs.com")


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(MNSServerException) as refused:
        call()
    assert refused.value.request_id
    return str(refused.value.type)


def attributes_of(account: Account, name: str) -> GetQueueAttributesResponse:
    """What GetQueueAttributes answers. The client's `Queue` copies it into fields that it has deprecated."""
    answer = GetQueueAttributesResponse()
    account.mns_client.get_queue_attributes(GetQueueAttributesRequest(name), answer)
    return answer


def counts_of(account: Account, name: str) -> tuple[int, int, int]:
    """How many messages a queue answers that it has: active, inactive, delayed."""
    answer = attributes_of(account, name)
    return answer.active_messages, answer.inactive_messages, answer.delay_messages


# Queues


def test_an_account_has_at_most_a_thousand_queues(local_cloud: LocalCloud, account: Account) -> None:
    """In a region, unless the quota is raised."""
    queue_count = len(local_cloud.mns.queues(HOME))
    for number in range(1000 - queue_count):
        local_cloud.mns.create_queue(HOME, f"q{number}")
    assert refusal(lambda: account.get_queue("one-more").create(QueueMeta())) == "QueueNumExceededLimit"


def test_queue_lifecycle(local_cloud: LocalCloud, account: Account) -> None:
    """A queue can be created, described, changed and deleted, by its own account."""
    queue = account.get_queue("jobs")
    url = queue.create(QueueMeta(vis_timeout=60, max_msg_size=2048, msg_ttl=120, delay_sec=0, polling_wait_sec=5))
    assert url == f"http://{HOME}.mns.cn-qingdao.aliyuncs.com/queues/jobs"
    queue.set_attributes(QueueMeta(vis_timeout=90, max_msg_size=2048, msg_ttl=120, logging_enabled=True))
    attributes = attributes_of(account, "jobs")
    assert (
        attributes.queue_name,
        attributes.visibility_timeout,
        attributes.maximum_message_size,
        attributes.message_retention_period,
    ) == (
        "jobs",
        90,
        2048,
        120,
    )
    assert (attributes.logging_enabled, attributes.create_time) == (True, int(local_cloud.clock.now()))
    assert refusal(lambda: attributes_of(account_of(local_cloud, PEER), "jobs")) == "QueueNotExist"
    queue.delete()
    assert refusal(lambda: attributes_of(account, "jobs")) == "QueueNotExist"
    assert refusal(lambda: queue.send_message(Message("x"))) == "QueueNotExist"
    assert refusal(queue.delete) == "QueueNotExist"


def test_queues_are_listed_by_prefix_and_page(account: Account) -> None:
    """A listing continues from its marker until all names were returned."""
    for name in ("list-a", "list-b", "list-c", "other"):
        account.get_queue(name).create(QueueMeta())
    first, marker = account.list_queue("list-", 2)
    second_urls, end = account.list_queue("list-", 2, marker)
    assert [url.rpartition("/")[2] for url in [*first, *second_urls]] == ["list-a", "list-b", "list-c"]
    assert (len(first), marker, end) == (2, "list-b", "")


# Messages


def test_received_message_is_invisible_until_its_timeout(local_cloud: LocalCloud, queue: Queue) -> None:
    """Then it can be received again, with a higher dequeue count."""
    queue.send_message(Message("x"))
    first = queue.receive_message()
    now = int(local_cloud.clock.now() * 1000)
    assert (first.dequeue_count, first.enqueue_time, first.next_visible_time) == (1, now, now + 30_000)
    local_cloud.clock.sleep(29.9)
    assert refusal(queue.receive_message) == "MessageNotExist"
    local_cloud.clock.sleep(0.1)
    second = queue.receive_message()
    assert (second.message_id, second.dequeue_count, second.first_dequeue_time) == (first.message_id, 2, now)
    assert second.receipt_handle != first.receipt_handle


def test_receipt_handle_expires_with_visibility(local_cloud: LocalCloud, queue: Queue) -> None:
    """Once the message is visible again, its old handle neither deletes nor hides it."""
    queue.send_message(Message("x"))
    handle = queue.receive_message().receipt_handle
    local_cloud.clock.sleep(30)
    assert refusal(lambda: queue.delete_message(handle)) == "MessageNotExist"
    assert refusal(lambda: queue.change_message_visibility(handle, 60)) == "MessageNotExist"
    assert queue.receive_message().dequeue_count == 2
    assert refusal(lambda: queue.delete_message(handle)) == "MessageNotExist"


def test_changed_visibility_has_a_new_handle(local_cloud: LocalCloud, queue: Queue) -> None:
    """The new timeout counts from now, and the old handle is invalid."""
    queue.send_message(Message("x"))
    old = queue.receive_message().receipt_handle
    local_cloud.clock.sleep(20)
    changed = queue.change_message_visibility(old, 60)
    assert int(changed.next_visible_time) == int(local_cloud.clock.now() * 1000) + 60_000
    assert refusal(lambda: queue.delete_message(old)) == "MessageNotExist"
    local_cloud.clock.sleep(59)
    assert refusal(queue.receive_message) == "MessageNotExist"
    queue.delete_message(changed.receipt_handle)
    assert refusal(lambda: queue.change_message_visibility(changed.receipt_handle, 0)) == "InvalidArgument"


@pytest.mark.parametrize("knobs", [Knobs(), Knobs(queue_counts="zero")], ids=["real", "zero"])
def test_delayed_message_becomes_visible_later(local_cloud: LocalCloud, account: Account, knobs: Knobs) -> None:
    """A message's own DelaySeconds overrides the queue's. The queue counts what is received and what is delayed, or
    nothing any more."""
    queue = account.get_queue("late")
    queue.create(QueueMeta(delay_sec=10))
    queue.send_message(Message("queue's"))
    queue.send_message(Message("own", 0))
    assert queue.receive_message().message_body == b"own"
    assert refusal(queue.receive_message) == "MessageNotExist"
    assert counts_of(account, "late") == ((0, 0, 0) if knobs.queue_counts == "zero" else (0, 1, 1))
    assert local_cloud.mns.depth(HOME, "late") == Depth(0, 1, 1)
    local_cloud.clock.sleep(10)
    assert queue.receive_message().message_body == b"queue's"


def test_message_is_deleted_after_its_retention_period(local_cloud: LocalCloud, account: Account) -> None:
    """Whether it was received or not."""
    queue = account.get_queue("short")
    queue.create(QueueMeta(msg_ttl=60, vis_timeout=30))
    queue.send_message(Message("x"))
    local_cloud.clock.sleep(59)
    assert queue.peek_message().message_body == b"x"
    local_cloud.clock.sleep(1)
    assert refusal(queue.receive_message) == "MessageNotExist"
    assert counts_of(account, "short") == (0, 0, 0)


# Batches


def test_batches_have_up_to_sixteen_messages(local_cloud: LocalCloud, queue: Queue) -> None:
    """For sending, receiving and deleting."""
    sent = queue.batch_send_message([Message(str(n)) for n in range(16)])
    messages = queue.batch_receive_message(16)
    assert [m.message_id for m in messages] == [m.message_id for m in sent]
    assert [m.message_body for m in messages] == [str(n).encode() for n in range(16)]
    queue.batch_delete_message([m.receipt_handle for m in messages])
    local_cloud.clock.sleep(31)
    assert refusal(lambda: queue.batch_receive_message(16)) == "MessageNotExist"


# Dead letters


def test_message_received_too_often_goes_to_the_dead_letter_queue(local_cloud: LocalCloud, account: Account) -> None:
    """As soon as its last visibility timeout has expired, whichever queue is read first."""
    mns = local_cloud.mns
    mns.create_queue(HOME, "dead")
    mns.create_queue(HOME, "work", QueueAttributes(dead_letter_queue="dead", max_receive_count=2))
    work, dead = account.get_queue("work"), account.get_queue("dead")
    sent = work.send_message(Message("poison"))
    for count in (1, 2):
        assert work.receive_message().dequeue_count == count
        assert refusal(dead.receive_message) == "MessageNotExist"
        local_cloud.clock.sleep(30)
    message = dead.receive_message()
    assert refusal(work.receive_message) == "MessageNotExist"
    assert (message.message_id, message.message_body) == (sent.message_id, b"poison")
    assert mns.depth(HOME, "work").active == 0


def test_retention_continues_in_the_dead_letter_queue(local_cloud: LocalCloud) -> None:
    """Moving a message does not reset its age."""
    mns = local_cloud.mns
    mns.create_queue(HOME, "dead", QueueAttributes(message_retention_period=60))
    mns.create_queue(HOME, "work", QueueAttributes(dead_letter_queue="dead", max_receive_count=1))
    mns.send(HOME, "work", "poison")
    assert len(mns.receive(HOME, "work", visibility=30)) == 1
    local_cloud.clock.sleep(30)
    assert mns.receive(HOME, "work") == []
    assert mns.depth(HOME, "dead").active == 1
    local_cloud.clock.sleep(30)
    assert mns.depth(HOME, "dead").active == 0


def test_queue_is_not_its_own_dead_letter_queue(local_cloud: LocalCloud) -> None:
    """The target must be another, existing queue."""
    mns = local_cloud.mns
    with pytest.raises(Exception, match="InvalidArgument"):
        mns.create_queue(HOME, "work", QueueAttributes(dead_letter_queue="work"))
    with pytest.raises(Exception, match="QueueNotExist"):
        mns.create_queue(HOME, "work", QueueAttributes(dead_letter_queue="absent"))
