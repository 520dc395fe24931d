"""What SLS keeps and answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aliyun.log import IndexConfig, IndexKeyConfig
from aliyun.log.logitem import LogItem

from aliyun_conformance.bench import Bench
from aliyun_conformance.sdks import code_of, refusal_of

CLEANUP = "delete the log project"
INDEX_SECONDS = 120.0  # a new index takes about a minute


def _query(bench: Bench, store: tuple[str, str], query: str, least: int = 1) -> list[dict[str, str]]:
    """The rows of a query over the last minutes, as soon as there are `least`."""
    now = int(bench.clock.now())

    def read() -> list[dict[str, str]]:
        responses: list[Any] = []
        code = code_of(lambda: responses.append(bench.sdks.log.get_log(*store, now - 600, now + 600, query=query)))
        return [dict(log.get_contents()) for log in responses[0].get_logs()] if not code else []

    rows: list[dict[str, str]] = bench.until(read, lambda rows: len(rows) >= least, INDEX_SECONDS)
    return rows


def _written(bench: Bench, *logs: tuple[str, int]) -> tuple[str, str]:
    """A new logstore with logs of this second, each with its field `what` and its nanoseconds, once a search finds them."""
    store, second = bench.logstore("what"), int(bench.clock.now())
    bench.put_logs(*store, [LogItem(second, [("what", value)], part) for value, part in logs])
    _query(bench, store, "*", len(logs))
    return store


@pytest.mark.real_cloud(47, expected="the parts that were written, in ascending order", cleanup=CLEANUP)
def test_nanoseconds(bench: Bench) -> None:
    """The nanosecond part of a log's time is kept, so that records within a second stay in order."""
    rows = _query(bench, _written(bench, ("c", 300), ("a", 100), ("b", 200)), "*", 3)
    parts = [row.get("__time_ns_part__", "absent") for row in rows]
    order = "".join(row.get("what", "?") for row in rows)
    bench.saw(f"order {order or 'none'}, parts {', '.join(parts)}", {"order": order})
    assert sorted(parts) == ["100", "200", "300"]


@pytest.mark.real_cloud(
    78,
    expected="refused, accepted, accepted, refused; `Abc`, `-ab` and `ab_` refused",
    cleanup=CLEANUP,
)
def test_logstore_names(bench: Bench) -> None:
    """A logstore's name has 3 to 63 characters: lower-case letters, digits, hyphens and underscores, with a letter or digit at either end."""
    project = bench.project()
    bench.retry(lambda: bench.sdks.log.create_logstore(project, "first", ttl=1, shard_count=1))
    refused = ("ParameterInvalid", 400)
    names = {"ab": refused, "abc": ("", 0), "a" * 63: ("", 0), "a" * 64: refused}
    names |= dict.fromkeys(("Abc", "-ab", "ab_"), refused)
    assert {name: _new_store(bench, project, name) for name in names} == names


def _new_store(bench: Bench, project: str, name: str = "store", ttl: int = 1, shards: int = 1) -> tuple[str, int]:
    """How a new logstore is refused."""
    return refusal_of(lambda: bench.sdks.log.create_logstore(project, name, ttl=ttl, shard_count=shards))


@pytest.mark.real_cloud(
    79,
    expected="a text such as `2026-11-26 10:00:00.000`, an hour, 1; rows of minutes; and the text itself, twice",
    cleanup=CLEANUP,
)
def test_analysis_functions(bench: Bench) -> None:
    """`from_unixtime` gives a timestamp; `date_trunc`, `approx_distinct`, `time_series` and `max_by` exist, and `union` reads logstores by name."""
    store, now = _written(bench, ("a", 1)), int(bench.clock.now())
    statements = {
        "from_unixtime": "from_unixtime(__time__) as x",
        "date_trunc": "date_trunc('hour', __time__) as x",
        "approx_distinct": "approx_distinct(what) as x",
        "time_series": "time_series(__time__, '1m', '%H:%i', '0') as x, count(1) as n group by x",
        "max_by": "max_by(what, __time__) as x",
        "union": f'what as x from "{store[1]}" union select what as x from "{store[1]}"',  # noqa: S608
    }
    answers: dict[str, str] = {}
    for name, statement in statements.items():
        answer: list[Any] = []
        fields = {"query": f"* | select {statement}"}
        code = code_of(lambda: answer.append(bench.sdks.log.get_log(*store, now - 60, now + 60, **fields)))  # noqa: B023
        rows = answer[0].get_logs() if answer else []
        answers[name] = code or (str(rows[0].get_contents().get("x")) if rows else "no row")
    bench.saw(", ".join(f"{name}: {answer}" for name, answer in answers.items()), answers)
    assert (answers["from_unixtime"][4:5], answers["date_trunc"][4:5]) == ("-", "-")
    assert (answers["approx_distinct"], answers["time_series"][2:3]) == ("1", ":")
    assert (answers["max_by"], answers["union"]) == ("a", "a")


@pytest.mark.real_cloud(80, expected="the group, with its timeout", cleanup=CLEANUP)
def test_consumer_groups(bench: Bench) -> None:
    """A consumer group of a logstore can be created and is listed with the caller's name."""
    project, logstore = bench.logstore()
    log = bench.sdks.log
    code = code_of(lambda: bench.retry(lambda: log.create_consumer_group(project, logstore, "siem", 60)))
    assert not code, code

    def listed() -> list[tuple[str, int]]:
        groups = log.list_consumer_group(project, logstore).get_consumer_groups()
        return [(str(each.get_consumer_group_name()), int(each.get_timeout())) for each in groups]

    consumer_groups = bench.until(listed, bool)
    log.delete_consumer_group(project, logstore, "siem")
    bench.saw(", ".join(f"{name}, timeout {seconds}" for name, seconds in consumer_groups) or "none")
    assert consumer_groups == [("siem", 60)]


@pytest.mark.real_cloud(124, expected="2020-06-17 14:07:47", cleanup=CLEANUP)
def test_zone_of_analysis(bench: Bench) -> None:
    """SQL of SLS counts days and hours in UTC+8."""
    store = _written(bench, ("a", 1))
    rows = _query(bench, store, "* | select from_unixtime(1592374067) as t limit 1")
    assert [row["t"][:19] for row in rows] == ["2020-06-17 14:07:47"]


@pytest.mark.real_cloud(156, cleanup=CLEANUP)
def test_the_life_of_a_project(bench: Bench) -> None:
    """A log project is described, changed, listed and deleted; then it is `ProjectNotExist`, 404."""
    log, project = bench.sdks.log, bench.project()
    bench.retry(lambda: log.update_project(project, "second"))
    project_info = bench.until(lambda: log.get_project(project), lambda info: info.description == "second")
    assert (project_info.projectName, project_info.owner, project_info.region, project_info.status) == (
        project,
        bench.account,
        bench.region,
        "Normal",
    )
    assert project_info.description == "second"
    assert [each["projectName"] for each in log.list_project(project_name_pattern=project).get_projects()] == [project]
    log.delete_project(project)
    _is_gone(bench, lambda: log.get_project(project), "ProjectNotExist", 404)


def _is_gone(bench: Bench, read: Callable[[], Any], code: str, status: int) -> None:
    """Wait until this is refused so."""
    assert bench.until(lambda: refusal_of(read), lambda refusal: refusal == (code, status)) == (code, status)


@pytest.mark.parametrize("name", ["ab", "Upper", "-dash", "dash-", "under_score", "x" * 64])
@pytest.mark.real_cloud(157, cleanup="none")
def test_an_invalid_project_name_is_refused(bench: Bench, name: str) -> None:
    """Names of log projects have 3 to 63 lower-case letters, digits and dashes, without a dash at the ends."""
    assert refusal_of(lambda: bench.project(name)) == ("ParameterInvalid", 400)


@pytest.mark.real_cloud(158, cleanup=CLEANUP)
def test_the_life_of_a_logstore(bench: Bench) -> None:
    """A logstore is described, changed, listed and deleted; its shards stay the same."""
    log, project = bench.sdks.log, bench.project()
    bench.retry(lambda: log.create_logstore(project, "store", ttl=7, shard_count=3))
    assert _new_store(bench, project) == ("LogStoreAlreadyExist", 400)
    bench.retry(lambda: log.update_logstore(project, "store", ttl=9))
    logstore_info = bench.until(lambda: log.get_logstore(project, "store"), lambda info: info.ttl == 9)
    assert (logstore_info.logstore_name, logstore_info.ttl, logstore_info.shard_count) == ("store", 9, 3)
    assert log.list_logstore(project).get_logstores() == ["store"]
    assert [shard["shardID"] for shard in log.list_shards(project, "store").get_shards_info()] == [0, 1, 2]
    log.delete_logstore(project, "store")
    _is_gone(bench, lambda: log.get_logstore(project, "store"), "LogStoreNotExist", 404)


@pytest.mark.parametrize(("ttl", "shards"), [(0, 2), (3651, 2), (7, 0), (7, 11)])
@pytest.mark.real_cloud(159, cleanup=CLEANUP)
def test_a_logstore_out_of_limits_is_refused(bench: Bench, ttl: int, shards: int) -> None:
    """A logstore keeps logs for 1 to 3650 days and has 1 to 10 shards at first."""
    project = bench.project()
    bench.retry(lambda: bench.sdks.log.create_logstore(project, "first", ttl=1, shard_count=1))
    assert _new_store(bench, project, ttl=ttl, shards=shards) == ("ParameterInvalid", 400)


@pytest.mark.real_cloud(160, cleanup=CLEANUP)
def test_the_life_of_an_index(bench: Bench) -> None:
    """An index is created once, read back, replaced and deleted."""
    log, (project, store) = bench.sdks.log, bench.logstore()
    config = IndexConfig(key_config_list={"b": IndexKeyConfig(index_type="long")})
    assert refusal_of(lambda: log.create_index(project, store, config)) == ("IndexAlreadyExist", 400)
    log.update_index(project, store, config)

    def keys() -> list[str]:
        return list(log.get_index_config(project, store).get_index_config().key_config_list)

    assert bench.until(keys, lambda names: names == ["b"]) == ["b"]
    log.delete_index(project, store)
    _is_gone(bench, lambda: log.get_index_config(project, store), "IndexConfigNotExist", 400)
    _is_gone(bench, lambda: log.delete_index(project, store), "IndexConfigNotExist", 400)
