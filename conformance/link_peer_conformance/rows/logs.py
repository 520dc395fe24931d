"""What SLS keeps and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from link_peer_conformance.model import Section, Seen
from link_peer_conformance.sdks import code_of

if TYPE_CHECKING:
    from link_peer_conformance.bench import Bench

section = Section("Logs")

CLEANUP = "delete the log project"
INDEX_SECONDS = 120.0  # a new index takes about a minute


def _query(bench: Bench, project: str, logstore: str, query: str, least: int = 1) -> list[dict[str, str]]:
    """The rows of a query over the last minutes, as soon as there are `least`."""
    now = int(bench.clock.now())

    def read() -> list[dict[str, str]]:
        found: list[Any] = []
        code = code_of(
            lambda: found.append(bench.sdks.log.get_log(project, logstore, now - 600, now + 600, query=query))
        )
        return [dict(log.get_contents()) for log in found[0].get_logs()] if not code else []

    rows: list[dict[str, str]] = bench.until(read, lambda rows: len(rows) >= least, INDEX_SECONDS)
    return rows


@section.row(
    47,
    assumed="The nanosecond part of a log's time is kept, so that records within a second stay in order",
    depends="only the order in `link-peer audit`",
    test="`aliyunlog log get_log_all --project=$LINK_PEER_AUDIT_PROJECT --logstore=$LINK_PEER_AUDIT_LOGSTORE --query='*' --from_time='2026-11-26 10:00:00+8:00' --to_time='2026-11-26 11:00:00+8:00'`: `__time_ns_part__`",
    expected="the parts that were written, in ascending order",
    cleanup=CLEANUP,
)
def nanoseconds(bench: Bench) -> Seen:
    """Three logs of one second, written in the wrong order."""
    from aliyun.log.logitem import LogItem

    project, logstore = bench.logstore(text_fields=["what"])
    second = int(bench.clock.now())
    items = [LogItem(second, [("what", name)], part) for name, part in (("c", 300), ("a", 100), ("b", 200))]
    bench.put_logs(project, logstore, items)
    rows = _query(bench, project, logstore, "*", 3)
    parts = [row.get("__time_ns_part__", "absent") for row in rows]
    order = "".join(row.get("what", "?") for row in rows)
    return Seen(
        f"order {order or 'none'}, parts {', '.join(parts)}", sorted(parts) == ["100", "200", "300"], {"order": order}
    )


@section.row(
    78,
    assumed="A logstore's name has 3 to 63 characters",
    depends="nothing of ours: the names are `decisions` and `functions`",
    test="`aliyunlog log create_logstore --project_name=<project> --logstore_name=ab`, then with 3, 63 and 64 characters",
    expected="refused, accepted, accepted, refused",
    cleanup=CLEANUP,
)
def logstore_names(bench: Bench) -> Seen:
    """Logstores with names of 2, 3, 63 and 64 characters."""
    project = bench.project()
    bench.retry(lambda: bench.sdks.log.create_logstore(project, "first", ttl=1, shard_count=1))
    codes = {
        length: code_of(
            lambda length=length: bench.sdks.log.create_logstore(project, "a" * length, ttl=1, shard_count=1)  # type: ignore[misc]
        )
        for length in (2, 3, 63, 64)
    }
    text = ", ".join(f"{length}: {code or 'accepted'}" for length, code in codes.items())
    return Seen(text, [bool(code) for code in codes.values()] == [True, False, False, True])


@section.row(
    79,
    assumed="`from_unixtime` gives a timestamp; `date_trunc`, `approx_distinct` and `time_series` exist",
    depends="the dashboard's and the alerts' queries; docs/audit.md",
    test="`* | select from_unixtime(__time__) as t, date_trunc('hour', __time__) as h, approx_distinct(what) as n from log group by t, h` and `* | select time_series(__time__, '1m', '%H:%i', '0') as m, count(1) as n group by m` in the console",
    expected="a text such as `2026-11-26 10:00:00.000`, an hour, 1; and rows of minutes",
    cleanup=CLEANUP,
)
def analysis_functions(bench: Bench) -> Seen:
    """Each function on one log."""
    from aliyun.log.logitem import LogItem

    project, logstore = bench.logstore(text_fields=["what"])
    bench.put_logs(project, logstore, [LogItem(int(bench.clock.now()), [("what", "a")], 1)])
    _query(bench, project, logstore, "*")
    statements = {
        "from_unixtime": "* | select from_unixtime(__time__) as x",
        "date_trunc": "* | select date_trunc('hour', __time__) as x",
        "approx_distinct": "* | select approx_distinct(what) as x",
        "time_series": "* | select time_series(__time__, '1m', '%H:%i', '0') as x, count(1) as n group by x",
    }
    now = int(bench.clock.now())
    answers: dict[str, str] = {}
    for name, statement in statements.items():
        found: list[Any] = []
        code = code_of(
            lambda statement=statement, found=found: found.append(  # type: ignore[misc]
                bench.sdks.log.get_log(project, logstore, now - 60, now + 60, query=statement)
            )
        )
        rows = found[0].get_logs() if found else []
        answers[name] = code or (str(rows[0].get_contents().get("x")) if rows else "no row")
    text = ", ".join(f"{name}: {answer}" for name, answer in answers.items())
    fits = (
        answers["from_unixtime"][4:5] == "-"
        and answers["date_trunc"][4:5] == "-"
        and answers["approx_distinct"] == "1"
        and answers["time_series"][2:3] == ":"
    )
    return Seen(text, fits, answers)


@section.row(
    80,
    assumed="A consumer group of a logstore can be created and is listed with the caller's name",
    depends="shipping the audit log to a SIEM",
    test="`aliyunlog log create_consumer_group --project=<project> --logstore=<logstore> --consumer_group=siem --timeout=60`; `list_consumer_group`",
    expected="the group, with its timeout",
    cleanup=CLEANUP,
)
def consumer_groups(bench: Bench) -> Seen:
    """A consumer group is created, listed and deleted."""
    project, logstore = bench.logstore()
    log = bench.sdks.log
    code = code_of(lambda: bench.retry(lambda: log.create_consumer_group(project, logstore, "siem", 60)))
    if code:
        return Seen(code, False)

    def listed() -> list[tuple[str, int]]:
        groups = log.list_consumer_group(project, logstore).get_consumer_groups()
        return [(str(each.get_consumer_group_name()), int(each.get_timeout())) for each in groups]

    shown = bench.until(listed, bool)
    log.delete_consumer_group(project, logstore, "siem")
    return Seen(", ".join(f"{name}, timeout {seconds}" for name, seconds in shown) or "none", shown == [("siem", 60)])


section.by_hand(
    49,
    why="a person must look at the dashboard, and wait for an alert",
    assumed="SLS accepts the dashboard and the alert rules as `link-peer setup` sends them (chart types `table`, `bar`, `line`; `state` or `status`; time span `Relative`)",
    depends="the dashboard and the alerts; nothing else",
    test="`link-peer setup --notify <address>`; open the dashboard; break the peer role's trust policy and wait for `link-peer-no-access`",
    expected="every chart shows data; the alert fires within 15 minutes",
    cleanup="restore the trust policy; `link-peer setup --remove`",
)


@section.row(
    124,
    assumed="SQL of SLS counts days and hours in UTC+8",
    depends="the dashboard's `hour`; docs/audit.md",
    test="`* | select from_unixtime(1592374067) as t limit 1` in the console",
    expected="2020-06-17 14:07:47",
    cleanup=CLEANUP,
)
def zone_of_analysis(bench: Bench) -> Seen:
    """One instant as text."""
    from aliyun.log.logitem import LogItem

    project, logstore = bench.logstore(text_fields=["what"])
    bench.put_logs(project, logstore, [LogItem(int(bench.clock.now()), [("what", "a")], 1)])
    _query(bench, project, logstore, "*")
    now = int(bench.clock.now())
    statement = "* | select from_unixtime(1592374067) as t limit 1"
    logs = bench.sdks.log.get_log(project, logstore, now - 60, now + 60, query=statement).get_logs()
    text = str(logs[0].get_contents().get("t", "")) if logs else "no answer"
    return Seen(text, text.startswith("2020-06-17 14:07:47"))
