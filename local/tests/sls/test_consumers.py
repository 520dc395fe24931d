"""Consumer groups through the official client."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from aliyun.log import LogClient

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.http import Request
from aliyun_local.sls import routes
from clients import HOME, key_of, logs_of, refusal

ENDPOINT = "cn-qingdao.log.aliyuncs.com"
WHERE = ("proj", "store")
GROUP = ("proj", "store", "siem")
CURSOR = base64.b64encode(b"7").decode()
TIMEOUT = 40


@pytest.fixture(name="client")
def _client(local_cloud: LocalCloud) -> LogClient:
    """A client with a logstore of four shards."""
    client = logs_of(key_of(local_cloud))
    client.create_project("proj", "")
    client.create_logstore(*WHERE, shard_count=4)
    return client


@pytest.fixture(name="group")
def _group(client: LogClient) -> LogClient:
    """The same, with a consumer group."""
    client.create_consumer_group(*GROUP, TIMEOUT)
    return client


def listed(client: LogClient) -> list[tuple[str, int, bool]]:
    groups = client.list_consumer_group(*WHERE).get_consumer_groups()
    return [(group.get_consumer_group_name(), group.get_timeout(), group.is_in_order()) for group in groups]


def beat(client: LogClient, consumer: str, *shards: int) -> list[int]:
    shards_held: list[int] = client.heart_beat(*GROUP, consumer, list(shards)).get_shards()
    return shards_held


def checkpoints(client: LogClient, shard: int = -1) -> list[dict[str, Any]]:
    checkpoints: list[dict[str, Any]] = client.get_check_point(*GROUP, shard).get_consumer_group_check_points()
    return checkpoints


# groups


def test_a_groups_life(client: LogClient) -> None:
    """It is created, listed, changed and deleted."""
    assert listed(client) == []
    client.create_consumer_group(*GROUP, TIMEOUT, in_order=True)
    assert listed(client) == [("siem", TIMEOUT, True)]
    assert refusal(client.create_consumer_group, *GROUP, 1) == ("ConsumerGroupAlreadyExist", 400)
    client.update_consumer_group(*GROUP, timeout=60)
    client.update_consumer_group(*GROUP, in_order=False)
    assert listed(client) == [("siem", 60, False)]
    client.delete_consumer_group(*GROUP)
    assert listed(client) == []


@pytest.mark.parametrize(("name", "timeout"), [("x", 1), ("-a", 1), ("a b", 1), ("siem", 0), ("siem", "1")])
def test_an_invalid_group_is_refused(client: LogClient, name: str, timeout: Any) -> None:
    """By its name or its timeout."""
    assert refusal(client.create_consumer_group, *WHERE, name, timeout) == ("JsonInfoInvalid", 400)
    assert listed(client) == []


def test_every_operation_needs_its_group(client: LogClient) -> None:
    for call in (
        lambda: client.update_consumer_group(*GROUP, timeout=1),
        lambda: client.delete_consumer_group(*GROUP),
        lambda: client.heart_beat(*GROUP, "one"),
        lambda: client.get_check_point(*GROUP),
        lambda: client.update_check_point(*GROUP, 0, CURSOR),
    ):
        assert refusal(call) == ("ConsumerGroupNotExist", 404)
    missing = ("proj", "none", "siem")
    assert refusal(client.create_consumer_group, *missing, 1) == ("LogStoreNotExist", 404)


# shards


def test_a_shard_changes_hands_when_its_reader_has_stopped(group: LogClient) -> None:
    """The first consumer has to give up two shards; the second gets each when the first no longer reports it."""
    assert beat(group, "one") == beat(group, "one", 0, 1, 2, 3) == [0, 1, 2, 3]
    assert beat(group, "two") == []
    assert beat(group, "one", 0, 1, 2, 3) == [0, 1]
    assert beat(group, "two") == []
    assert beat(group, "one", 0, 1, 2) == [0, 1]
    assert beat(group, "two") == [3]
    assert beat(group, "one", 0, 1) == [0, 1]
    assert beat(group, "two", 3) == [2, 3]


def test_the_shards_of_a_silent_consumer_go_to_the_others(group: LogClient, local_cloud: LocalCloud) -> None:
    """After `timeout` seconds without a heartbeat."""
    beat(group, "one")
    local_cloud.clock.sleep(TIMEOUT)
    assert beat(group, "two") == []
    local_cloud.clock.sleep(1)
    assert beat(group, "two") == [0, 1, 2, 3]


def test_more_consumers_than_shards_leave_some_idle(group: LogClient) -> None:
    names = [f"c{number}" for number in range(6)]
    for _ in range(2):
        shards_by_name = {name: beat(group, name) for name in names}
    for _ in range(3):
        shards_by_name = {name: beat(group, name, *shards_by_name[name]) for name in names}
    assert sorted(shard for shards in shards_by_name.values() for shard in shards) == [0, 1, 2, 3]
    assert max(map(len, shards_by_name.values())) == 1


# checkpoints


def test_a_checkpoint_says_how_far_a_shard_was_read(group: LogClient, local_cloud: LocalCloud) -> None:
    """A shard that nobody has read has an empty one. The time is in microseconds."""
    assert [(checkpoint["shard"], checkpoint["checkpoint"]) for checkpoint in checkpoints(group)] == [
        (n, "") for n in range(4)
    ]
    group.update_check_point(*GROUP, 2, CURSOR, "one")
    now = int(local_cloud.clock.now() * 1_000_000)
    assert checkpoints(group, 2) == [{"shard": 2, "checkpoint": CURSOR, "updateTime": now, "consumer": "one"}]


def test_without_force_only_the_shards_reader_may_save(group: LogClient) -> None:
    """So that a consumer that lost a shard does not set another one back."""

    def save(consumer: str, shard: int = 0) -> None:
        group.update_check_point(*GROUP, shard, CURSOR, consumer, force_success=False)

    for consumer in ("", "one"):
        assert refusal(lambda name=consumer: save(name)) == ("ConsumerNotExist", 404)
    beat(group, "one")
    beat(group, "two")
    save("one")
    assert refusal(save, "two") == ("ConsumerNotMatch", 400)
    group.update_check_point(*GROUP, 1, CURSOR, "two")
    assert [checkpoint["consumer"] for checkpoint in checkpoints(group)] == ["one", "two", "", ""]


def test_an_invalid_checkpoint_is_refused(group: LogClient) -> None:
    assert refusal(group.update_check_point, *GROUP, 0, "not base64!") == ("InvalidShardCheckPoint", 400)
    assert refusal(group.update_check_point, *GROUP, 9, CURSOR) == ("ShardNotExist", 404)
    assert refusal(group.get_check_point, *GROUP, 9) == ("ShardNotExist", 404)


def test_a_consumer_group_is_a_resource_of_its_own() -> None:
    """RAM sees the group's name, and `*` where none is in the path; the checkpoint's action has another name."""
    where = f"acs:log:cn-qingdao:{HOME}:project/proj/logstore/store/consumergroup"
    resources_by_action = {}
    for method, suffix in (("GET", ""), ("GET", "/siem"), ("POST", "/siem?type=heartbeat")):
        path, _, query = f"/logstores/store/consumergroups{suffix}".partition("?")
        request = Request(method, path, query, {"host": f"proj.{ENDPOINT}"})
        access = routes.access(request, "cn-qingdao", HOME)
        resources_by_action[access.action] = access.resources
    assert resources_by_action == {
        "log:ListConsumerGroup": [f"{where}/*"],
        "log:GetConsumerGroupCheckPoint": [f"{where}/siem"],
        "log:ConsumerGroupHeartBeat": [f"{where}/siem"],
    }
