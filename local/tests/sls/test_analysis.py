"""SQL, dashboards and alert rules of the local SLS, through the official client."""

from __future__ import annotations

from typing import Any

import pytest
from aliyun.log import IndexConfig, IndexKeyConfig, IndexLineConfig, LogClient

from aliyun_local.cloud import LocalCloud
from aliyun_local.sls import analysis
from clients import refusal
from test_sls_client import HOME, TOKENS, client_of, put, search

ALERT = {
    "name": "denials",
    "displayName": "denials",
    "type": "Alert",
    "schedule": {"type": "FixedRate", "interval": "5m"},
    "configuration": {
        "version": "2.0",
        "type": "default",
        "queryList": [{"query": "* | select count(*) as c", "start": "-5m", "end": "now", "timeSpanType": "Relative"}],
        "groupConfiguration": {"type": "no_group", "fields": []},
        "severityConfigurations": [{"severity": 6, "evalCondition": {"condition": "c > 0", "countCondition": ""}}],
    },
}


@pytest.fixture(name="store")
def _store(local_cloud: LocalCloud) -> LogClient:
    """Logs of three outcomes; `outcome`, `from` and `count` have doc_value, `secret` has not."""
    client = client_of(local_cloud, HOME)
    client.create_project("proj", "a project")
    client.create_logstore("proj", "store", ttl=7, shard_count=2)
    keys = {name: IndexKeyConfig(TOKENS, doc_value=True) for name in ("outcome", "from")}
    keys["count"] = IndexKeyConfig(index_type="long", doc_value=True)
    keys["map"], keys["blank"] = IndexKeyConfig(TOKENS, doc_value=True), IndexKeyConfig(TOKENS, doc_value=True)
    keys["secret"] = IndexKeyConfig(TOKENS, doc_value=False)
    client.create_index("proj", "store", IndexConfig(line_config=IndexLineConfig(TOKENS), key_config_list=keys))
    put(
        client,
        local_cloud.clock.now(),
        {"outcome": "applied", "from": "sg-a", "count": "7", "secret": "s"},
        {"outcome": "denied", "from": "sg-a", "count": "10", "map": '{"a": "1"}'},
        {"outcome": "denied", "from": "sg-b", "count": "none", "map": '{"a": "2", "b": null}'},
    )
    return client


def rows(client: LogClient, cloud: LocalCloud, query: str) -> list[dict[str, str]]:
    result = search(client, cloud.clock.now(), query)
    return [{name: text for name, text in row.items() if name not in ("time", "source")} for row in result]


@pytest.mark.parametrize(
    ("query", "expected_rows"),
    [
        ("* | select count(*) as c", [{"c": "3"}]),
        ("* | SELECT count(*) AS c FROM log", [{"c": "3"}]),
        (
            "* | select outcome, count(*) as c group by outcome order by c desc",
            [{"outcome": "denied", "c": "2"}, {"outcome": "applied", "c": "1"}],
        ),
        ("outcome: denied | select count(*) as c", [{"c": "2"}]),
        ("* | select count(*) as c where outcome = 'denied' and \"from\" = 'sg-b'", [{"c": "1"}]),
        ('* | select "from" as "who", max(count) as most group by "who" order by "who" limit 1', [{"who": "sg-a", "most": "10"}]),
        ("* | select sum(count) as total, count(count) as numbers", [{"total": "17", "numbers": "2"}]),
        ("* | select max(count) as most where outcome = 'from nowhere'", [{"most": "null"}]),
        ("* | select date_format(from_unixtime(0), '%Y-%m-%d %H:%i:%s') as t limit 1", [{"t": "1970-01-01 08:00:00"}]),
        ("* | select outcome where outcome = 'a'", []),
        ("* | select count(*) as c where outcome like 'den%' or outcome like 'APPLIED'", [{"c": "2"}]),
        ("* | select sum(c) as c from (select outcome, count(*) as c from log group by outcome)", [{"c": "3"}]),
        ("* | select from_unixtime(1592374067) as t limit 1", [{"t": "2020-06-17 14:07:47.000"}]),
        ("* | select to_unixtime(from_unixtime(1592374067)) as t limit 1", [{"t": "1592374067.0"}]),
        ("* | select date_trunc('hour', 1592374067) as t limit 1", [{"t": "2020-06-17 14:00:00.000"}]),
        ("* | select date_format(date_trunc('minute', from_unixtime(1592374067)), '%T') as t limit 1", [{"t": "14:07:00"}]),
        ("* | select date_trunc('week', 1592374067) as w, date_trunc('quarter', 1592374067) as q limit 1", [{"w": "2020-06-15 00:00:00.000", "q": "2020-04-01 00:00:00.000"}]),
        ("* | select date_trunc('second', 0) as s, date_trunc('day', 0) as d, date_trunc('month', 0) as m, date_trunc('year', 0) as y limit 1", [{"s": "1970-01-01 08:00:00.000", "d": "1970-01-01 00:00:00.000", "m": "1970-01-01 00:00:00.000", "y": "1970-01-01 00:00:00.000"}]),
        ("* | select from_unixtime(null) as a, to_unixtime(null) as b, date_trunc('day', null) as c limit 1", [{"a": "null", "b": "null", "c": "null"}]),
        ("* | select approx_distinct(outcome) as o, approx_distinct(count) as c", [{"o": "2", "c": "2"}]),
        ("* | select max_by(\"from\", count) as f, max_by(outcome, blank) as n", [{"f": "sg-a", "n": "null"}]),
        ("* | select outcome from store union select outcome from \"store\" order by outcome", [{"outcome": "applied"}, {"outcome": "denied"}]),
        ("* | select m, sum(n) as n from \"store\", unnest(cast(json_parse(map) as map(varchar, varchar))) as t(m, n) where n <> '' group by m", [{"m": "a", "n": "3"}]),
        ("* | select date_format(0, '%d %M, %T') as t limit 1", [{"t": "01 January, 08:00:00"}]),
    ],
)  # fmt: skip
def test_sql_runs_over_the_matching_logs(
    store: LogClient, local_cloud: LocalCloud, query: str, expected_rows: list[dict[str, str]]
) -> None:
    """Every value of a row is a string."""
    assert rows(store, local_cloud, query) == expected_rows


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("* | select secret", "secret"),  # searchable, but without doc_value
        ('* | select "nothing"', "Column 'nothing' cannot be resolved"),
        ("* | delete from log", "begins with select"),
        ("* | select * from sqlite_master", "prohibited"),
        ("* | select load_extension('x')", "not authorized"),
        ("* | select 1; select 2", "one statement"),
        ("outcome: denied | select outcome from store", "only * is searched"),
        ("* | select outcome from nowhere", "no such table"),
        ("* | select 1 from store, unnest(cast(json_parse(outcome) as map(varchar, varchar))) as t(m, n)", "JSON"),
        ("* | select value from store, unnest(cast(json_parse(map) as map(varchar, varchar))) as t(m, n), json_each('[1]')", "prohibited"),
        ("* | select (", "syntax error"),
        ("nowhere: x | select 1", "nowhere"),
        ("* | attach 'x' as y", "begins with select"),
        ("* | pragma user_version", "begins with select"),
        ("* | select * from pragma_database_list", "prohibited"),
        ("* | select * from json_each('[1]')", "prohibited"),
        ("* | select zeroblob(1000000000)", "not authorized"),
        ("* | select date_format(1, '%9999999Y')", "raised exception"),
        ("* | select date_trunc('century', 0)", "raised exception"),
        ("* | select time_series(__time__, '1h', '%T', '0'), count(*) group by 1", "as name"),
        ("* | select time_series(__time__, '1h', '%T', 'avg') as t, count(*) as c group by t", "fillings"),
        ("* | select time_series(__time__, '1h', '%T', '0') as t, outcome group by t, outcome", "group by name"),
        ("* | select time_series(__time__, '0h', '%T', '0') as t, count(*) as c group by t", "raised exception"),
        ("* | select cast(x'ff' as text) as b", "UTF-8"),
        ("* | select '\0'", "null character"),
        ("* | select " + "a" * 64 * 1024, "too long"),
        (f"* | select 1 as \"{'x' * 50_000}\" from log a, log b, log c, log d, log e, log f, log g limit 9999", "too large"),  # noqa: S608
        (f"* | select count(*) where outcome like '{'%a' * 600}'", "raised exception"),
        (f"* | select length(a) from {'(select a || a as a from ' * 40}(select 'x' as a){')' * 40}", "out of memory"),  # noqa: S608
        ("* | select i from (with recursive n(i) as (select 1 union select i+1 from n) select i from n)", "not authorized"),
        (f"* | select count(*) as c from {', '.join(f'log l{number}' for number in range(30))}", "interrupted"),  # noqa: S608
    ],
)  # fmt: skip
def test_what_sql_may_not_do_is_refused(store: LogClient, local_cloud: LocalCloud, query: str, problem: str) -> None:
    """A statement may only read the log table, and its time, size and memory are limited."""
    with pytest.raises(Exception, match="ParameterInvalid") as refused:
        rows(store, local_cloud, query)
    assert problem in str(refused.value)


def test_a_statement_is_limited_by_time_and_steps(
    store: LogClient, local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Because a single step can take long."""
    query = "* | select count(*) as c from log a, log b, log c, log d, log e"
    assert rows(store, local_cloud, query) == [{"c": "243"}]
    monkeypatch.setattr(analysis, "_SECONDS", 0)
    with pytest.raises(Exception, match="interrupted"):
        rows(store, local_cloud, query)


def test_a_time_series_has_every_window_of_the_searched_time(store: LogClient, local_cloud: LocalCloud) -> None:
    """The clock is 08:00 at UTC+8 on 2026-11-25; an hour before and after are searched."""
    query = "outcome: {} | select time_series(__time__, '30m', '%H:%i', '{}') as t, count(*) as c group by t order by t"
    counted = {row["t"]: row["c"] for row in rows(store, local_cloud, query.format("denied", "0"))}
    assert counted == {"07:00": "0", "07:30": "0", "08:00": "2", "08:30": "0"}
    windows = [row["t"] for row in rows(store, local_cloud, query.format("other", "null"))]
    assert windows == ["07:00", "07:30", "08:00", "08:30"]


def test_a_field_may_have_any_name(store: LogClient, local_cloud: LocalCloud) -> None:
    """Quotation marks inside a name do not end it."""
    name = 'a") check (length(hex(zeroblob(999999999))) > 0'
    keys = {name: IndexKeyConfig(TOKENS, doc_value=True)}
    store.update_index("proj", "store", IndexConfig(line_config=IndexLineConfig(TOKENS), key_config_list=keys))
    put(store, local_cloud.clock.now(), {name: "here"})
    quoted = name.replace('"', '""')
    assert rows(store, local_cloud, f'here | select "{quoted}" as it') == [{"it": "here"}]


def test_sql_sees_two_kilobytes_of_a_value(store: LogClient, local_cloud: LocalCloud) -> None:
    """Unless the index sets another limit."""
    put(store, local_cloud.clock.now(), {"outcome": "é" * 2000 + " long"})
    assert rows(store, local_cloud, "long | select length(outcome) as n") == [{"n": "1024"}]


def test_a_result_has_a_hundred_rows_unless_limit_says_otherwise(store: LogClient, local_cloud: LocalCloud) -> None:
    """As in the real service."""
    put(store, local_cloud.clock.now() - 300, *[{"outcome": f"o{number}"} for number in range(200)])
    query = "* | select outcome"
    assert len(rows(store, local_cloud, query)) == 100
    assert len(rows(store, local_cloud, f"{query} limit 150")) == 150


def test_the_answer_says_whether_the_query_has_sql(store: LogClient, local_cloud: LocalCloud) -> None:
    """In `has_sql`."""
    now = int(local_cloud.clock.now())
    answer = store.get_log("proj", "store", now - 60, now + 60, query="* | select count(*) as c")
    assert answer.get_has_sql() is True
    assert store.get_log("proj", "store", now - 60, now + 60, query="*").get_has_sql() is False


def test_a_bar_outside_quotes_begins_the_sql(store: LogClient, local_cloud: LocalCloud) -> None:
    """A bar inside quotes is part of the search."""
    put(store, local_cloud.clock.now(), {"outcome": "a|b"})
    assert [row["outcome"] for row in rows(store, local_cloud, 'outcome: "a|b"')] == ["a|b"]


def test_dashboard_lifecycle(store: LogClient) -> None:
    """A dashboard can be created, listed, changed and deleted."""
    chart = {"title": "c", "type": "table", "search": {}, "display": {}, "action": {}}
    document = {"dashboardName": "d", "displayName": "D", "description": "", "charts": [chart]}
    store.create_dashboard("proj", document)
    assert refusal(store.create_dashboard, "proj", document) == ("ParameterInvalid", 400)
    assert store.list_dashboard("proj").get_entities() == ["d"]
    store.update_dashboard("proj", {**document, "displayName": "other"})
    assert store.get_dashboard("proj", "d").get_entity() == {**document, "displayName": "other"}
    store.delete_dashboard("proj", "d")
    assert refusal(store.get_dashboard, "proj", "d") == ("DashboardNotExist", 404)
    assert refusal(store.create_dashboard, "proj", {"displayName": "D"}) == ("ParameterInvalid", 400)


def test_alert_rule_lifecycle(store: LogClient) -> None:
    """An alert rule can be created, listed, changed and deleted."""
    store.create_alert("proj", ALERT)
    assert refusal(store.create_alert, "proj", ALERT) == ("JobAlreadyExist", 400)
    assert [alert["name"] for alert in store.list_alert("proj").get_entities()] == ["denials"]
    store.update_alert("proj", {**ALERT, "displayName": "other"})
    assert store.get_alert("proj", "denials").get_entity()["displayName"] == "other"
    store.delete_alert("proj", "denials")
    assert refusal(store.get_alert, "proj", "denials") == ("JobNotExist", 404)


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"type": "Ingestion"},
        {"schedule": {}},
        {"configuration": {**ALERT["configuration"], "queryList": []}},  # type: ignore[dict-item]
        {"configuration": {}},
    ],
)
def test_an_incomplete_alert_rule_is_refused(store: LogClient, change: dict[str, Any]) -> None:
    """ParameterInvalid, 400."""
    assert refusal(store.create_alert, "proj", {**ALERT, **change}) == ("ParameterInvalid", 400)
