"""SLS through the official Python client: projects, logstores, indexes, writing, searching."""

from __future__ import annotations

import pytest
from aliyun.log import (
    IndexConfig,
    IndexKeyConfig,
    IndexLineConfig,
    LogClient,
    LogItem,
)
from aliyun.log.putlogsrequest import PutLogsRequest

from aliyun_local.cloud import LocalCloud
from clients import HOME, PEER, key_of, logs_of, refusal

TOKENS = [",", " ", ":", '"']


@pytest.fixture(name="client")
def _client(local_cloud: LocalCloud) -> LogClient:
    return client_of(local_cloud, HOME)


@pytest.fixture(name="store")
def _store(client: LogClient) -> LogClient:
    """A client with project `proj` and logstore `store`, whose index covers outcome (text) and count (long)."""
    client.create_project("proj", "a project")
    client.create_logstore("proj", "store", ttl=7, shard_count=2)
    keys = {"outcome": IndexKeyConfig(TOKENS), "count": IndexKeyConfig(index_type="long")}
    client.create_index("proj", "store", IndexConfig(line_config=IndexLineConfig(TOKENS), key_config_list=keys))
    return client


def client_of(cloud: LocalCloud, account: str, endpoint: str = "cn-qingdao.log.aliyuncs.com") -> LogClient:
    return logs_of(key_of(cloud, account), endpoint)


def put(client: LogClient, now: float, *logs: dict[str, str], compress: bool = True, **options: object) -> None:
    """Write logs one second apart, the first at `now`. (Without nanoseconds, LogItem takes those of the wall clock.)"""
    items = [LogItem(int(now) + step, list(log.items()), time_nano_part=1) for step, log in enumerate(logs)]
    client.put_logs(PutLogsRequest("proj", "store", "topic-a", "10.0.0.9", items, compress=compress, **options))


def search(client: LogClient, now: float, query: str = "", **options: object) -> list[dict[str, str]]:
    response = client.get_log("proj", "store", int(now) - 3600, int(now) + 3600, query=query, **options)
    assert response.is_completed()
    return [{"time": log.get_time(), "source": log.get_source(), **log.get_contents()} for log in response.get_logs()]


# Projects


def test_project_names_are_global(local_cloud: LocalCloud, client: LogClient) -> None:
    """Another account cannot use a project's name, nor see the project."""
    client.create_project("proj", "mine")
    peer_client = client_of(local_cloud, PEER)
    assert refusal(peer_client.create_project, "proj", "theirs") == ("ProjectAlreadyExist", 400)
    assert refusal(peer_client.get_project, "proj") == ("ProjectNotExist", 404)
    assert refusal(peer_client.list_logstore, "proj") == ("ProjectNotExist", 404)
    assert "proj" not in [p["projectName"] for p in peer_client.list_project().get_projects()]
    assert refusal(client.create_project, "proj", "again") == ("ProjectAlreadyExist", 400)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1", "http://127.0.0.1:8101", "http://localhost:8101"])
def test_project_is_the_first_label_of_any_host(local_cloud: LocalCloud, endpoint: str) -> None:
    """On loopback too, by address or by name."""
    client = client_of(local_cloud, HOME, endpoint)
    client.create_project("proj", "here")
    assert client.get_project("proj").description == "here"
    assert "proj" in [p["projectName"] for p in client.list_project().get_projects()]


# Logstores and indexes


def test_search_without_an_index_is_refused(local_cloud: LocalCloud, client: LogClient) -> None:
    """Logs can be written without an index but not searched; an index created later does not cover them."""
    client.create_project("proj", "")
    client.create_logstore("proj", "store")
    now = local_cloud.clock.now()
    put(client, now, {"outcome": "early"})
    assert refusal(search, client, now) == ("IndexConfigNotExist", 400)
    client.create_index("proj", "store", IndexConfig(line_config=IndexLineConfig(TOKENS)))
    put(client, now, {"outcome": "late"})
    assert [log["outcome"] for log in search(client, now)] == ["late"]


# Writing and searching


@pytest.mark.parametrize("compress", [True, False])
def test_a_written_log_is_found(local_cloud: LocalCloud, store: LogClient, compress: bool) -> None:
    """Time, source, topic, tags and values are returned exactly."""
    now, value = local_cloud.clock.now(), 'quote " newline \n ✓ <&>'
    put(store, now, {"outcome": value, "empty": ""}, compress=compress, logtags=[("zone", "b")])
    assert search(store, now) == [
        {
            "time": int(now),
            "source": "10.0.0.9",
            "outcome": value,
            "empty": "",
            "__time_ns_part__": "1",
            "__topic__": "topic-a",
            "__tag__:zone": "b",
        }
    ]


@pytest.mark.parametrize("v2", [True, False])
def test_both_forms_of_get_logs_answer_alike(local_cloud: LocalCloud, store: LogClient, v2: bool) -> None:
    """POST /logs and GET ?type=log find, count, order and page the same."""
    store._get_logs_v2_enabled = v2
    now = local_cloud.clock.now()
    put(store, now, *({"outcome": "applied", "count": str(n)} for n in range(5)))
    put(store, now, {"outcome": "denied", "count": "9"})
    assert [log["count"] for log in search(store, now, "outcome: applied and count > 1")] == ["2", "3", "4"]
    assert [log["count"] for log in search(store, now, "applied", reverse=True, size=2)] == ["4", "3"]
    assert [log["count"] for log in search(store, now, "applied", offset=3, size=2)] == ["3", "4"]
    assert search(store, now, "applied", offset=5) == []
    assert [log["count"] for log in search(store, now, "denied", topic="topic-a")] == ["9"]
    assert search(store, now, "denied", topic="other") == []
    assert refusal(search, store, now, "nokey: x") == ("ParameterInvalid", 400)
    assert refusal(search, store, now, "(applied") == ("ParameterInvalid", 400)


def test_search_range_is_half_open(local_cloud: LocalCloud, store: LogClient) -> None:
    """The start is included, the end is not; an empty range is refused."""
    now = int(local_cloud.clock.now())
    put(store, now, {"count": "0"}, {"count": "1"}, {"count": "2"})
    logs = store.get_log("proj", "store", now, now + 2).get_logs()
    assert [log.get_contents()["count"] for log in logs] == ["0", "1"]
    assert refusal(store.get_log, "proj", "store", now, now) == ("InvalidTimeRange", 400)


def test_more_than_a_page_takes_more_calls(local_cloud: LocalCloud, store: LogClient) -> None:
    """A call returns at most 100 logs; the client's own paging finds each log once."""
    now = local_cloud.clock.now()
    put(store, now, *({"count": str(n)} for n in range(230)))
    assert len(search(store, now)) == 100
    assert [log["count"] for log in search(store, now, size=-1)] == [str(n) for n in range(230)]


def test_logs_become_visible_after_the_lag(local_cloud: LocalCloud, store: LogClient) -> None:
    """With `visible_after`, a log is found only after that many seconds."""
    local_cloud.sls.visible_after = 3.0
    now = local_cloud.clock.now()
    put(store, now, {"outcome": "applied"})
    assert search(store, now) == []
    local_cloud.clock.sleep(3)
    assert len(search(store, now)) == 1


def test_logs_expire_after_their_ttl(local_cloud: LocalCloud, store: LogClient) -> None:
    """For example after 7 days."""
    now = local_cloud.clock.now()
    put(store, now, {"outcome": "applied"})
    log_counts = []
    for seconds in (7 * 86400, 1):
        local_cloud.clock.sleep(seconds)
        log_counts.append(len(local_cloud.sls.search(HOME, "proj", "store", now - 60, now + 60).logs))
    assert log_counts == [1, 0]


@pytest.mark.parametrize(
    ("shift", "accepted"), [(-7 * 86400, True), (-7 * 86400 - 1, False), (900, True), (901, False)]
)
def test_log_time_must_be_near_the_servers(
    local_cloud: LocalCloud, store: LogClient, shift: int, accepted: bool
) -> None:
    """A log may be up to 7 days old and 15 minutes ahead."""
    moment = int(local_cloud.clock.now()) + shift
    if accepted:
        put(store, moment, {"outcome": "applied"})
    else:
        assert refusal(put, store, moment, {"outcome": "applied"}) == ("PostBodyInvalid", 400)


def test_write_to_a_missing_logstore_is_refused(local_cloud: LocalCloud, client: LogClient) -> None:
    """It is not created implicitly."""
    now = local_cloud.clock.now()
    assert refusal(put, client, now, {"a": "b"}) == ("ProjectNotExist", 404)
    client.create_project("proj", "")
    assert refusal(put, client, now, {"a": "b"}) == ("LogStoreNotExist", 404)


# Reading shards


def test_every_log_can_be_pulled_once(local_cloud: LocalCloud, store: LogClient) -> None:
    """Pulling every shard from `begin` returns each log once, and the last cursor is `end`."""
    now = local_cloud.clock.now()
    for number in range(4):
        put(store, now, {"count": str(number)})
    pulled = []
    for shard in (0, 1):
        cursor = store.get_begin_cursor("proj", "store", shard).get_cursor()
        end = store.get_end_cursor("proj", "store", shard).get_cursor()
        while cursor != end:
            response = store.pull_logs("proj", "store", shard, cursor, count=1)
            assert response.get_loggroup_count() == 1
            pulled += [log["count"] for log in response.get_flatten_logs_json()]
            cursor = response.get_next_cursor()
        assert store.pull_logs("proj", "store", shard, cursor).get_loggroup_count() == 0
    assert sorted(pulled) == ["0", "1", "2", "3"]


def test_cursor_by_time_skips_what_was_received_before(local_cloud: LocalCloud, store: LogClient) -> None:
    """A cursor from a unix time points at the first write received then or later."""
    start = int(local_cloud.clock.now())
    for seconds, counts in ((0, "01"), (10, "23")):
        local_cloud.clock.sleep(seconds)
        for count in counts:  # one for each shard
            put(store, start, {"count": count})
    cursor = store.get_cursor("proj", "store", 0, start + 5).get_cursor()
    logs = store.pull_logs("proj", "store", 0, cursor).get_flatten_logs_json()
    assert [log["count"] for log in logs] == ["2"]
    assert int(store.get_cursor_time("proj", "store", 0, cursor).get_cursor_time()) == start + 10


def test_invalid_shard_or_cursor_is_refused(store: LogClient) -> None:
    """An unknown shard is 404, an invalid cursor is 400."""
    assert refusal(store.get_begin_cursor, "proj", "store", 2) == ("ShardNotExist", 404)
    assert refusal(store.pull_logs, "proj", "store", 0, "!!") == ("InvalidCursor", 400)
    assert refusal(store.get_cursor, "proj", "store", 0, -5) == ("ParameterInvalid", 400)


@pytest.mark.parametrize(("reading", "received"), [("server", "now"), ("writer", "1")])
def test_the_time_of_receipt_is_that_of_the_server_or_the_writers(
    local_cloud: LocalCloud, store: LogClient, reading: str, received: str
) -> None:
    """By the knob `receive_time`, where the writer sends a field of that name. A cursor's time is the server's in
    either case."""
    local_cloud.knobs.change({"receive_time": reading})
    store.update_logstore("proj", "store", ttl=7, append_meta=True)
    now, field = local_cloud.clock.now(), "__tag__:__receive_time__"
    put(store, now, {"outcome": "honest"}, {"outcome": "forged", field: "1"})
    times = {log["outcome"]: log[field] for log in search(store, now)}
    assert times == {"honest": str(int(now)), "forged": str(int(now)) if received == "now" else received}
    (shard,) = [number for number in (0, 1) if store.get_cursor("proj", "store", number, "end").get_cursor() != "MA=="]
    begin = store.get_cursor("proj", "store", shard, "begin").get_cursor()
    assert int(store.get_cursor_time("proj", "store", shard, begin).get_cursor_time()) == int(now)
