"""deploy/: the index, dashboard, alerts and saved searches of the log have what their queries need."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aliyun_local.api import Fault, LocalCloud, LogGroup, LogRecord, readings
from link_peer.domain.denials import managed_tag_refused
from link_peer.domain.record_fields import ACCOUNT, DECISION, OBSERVED, TIMER
from link_peer_cli.demo.functions import deploy

from tests.functional.lab import HOME, PEER, Lab

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def described(name: str) -> list[dict[str, Any]]:
    document: list[dict[str, Any]] = yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))
    return document


COUNTS = [chart for chart in described("dashboard.yaml") if "question" not in chart]
"""The charts that are no question of an auditor, whose answers tests/functional/cli/test_audit.py knows."""
ALERTS, SEARCHES = (described(f"{name}.yaml") for name in ("alerts", "searches"))


@pytest.fixture(name="lab")
def _lab(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lab]:
    """A world whose functions are deployed, so that Function Compute writes its records too."""
    lab = Lab(local_cloud, monkeypatch, tmp_path)
    triggers = deploy(local_cloud, in_process=True, connected=False)
    yield lab
    triggers.close()


def test_every_field_of_a_record_is_in_the_table(lab: Lab) -> None:
    """Whatever the record is about. A field is indexed in one way."""
    run_once(lab)
    invoke_sweep(lab)
    events: list[dict[str, Any]] = []
    lab.cloud.ecs.on_event = lambda _, event: events.append(event)
    lab.tag(lab.group(), link_accept="*")
    lab.auto_link(*events)
    summaries = {"timer": TIMER, "account": ACCOUNT}
    kinds = ("intent", "outcome", "attempt", "observed", "summary")
    records = lab.records(*kinds)
    assert {record["record"] for record in records} >= {"intent", "outcome", "observed", "summary"}
    for record in records:
        special = {"observed": OBSERVED, "summary": summaries.get(record.get("scope", ""), ())}.get(
            record["record"], ()
        )
        assert record.keys() <= {field.name for field in (*DECISION, *special)}, record
    ways = {(field.name, field.index) for field in (*DECISION, *OBSERVED, *TIMER, *ACCOUNT)}
    assert len(ways) == len(dict(ways))


def test_each_chart_has_data(lab: Lab) -> None:
    """Its query runs on the log of a link that is opened, one that is denied, and a sweep."""
    run_once(lab)
    for chart in COUNTS:
        rows = query_rows(lab, chart["query"], 7 * 86400)
        assert rows, chart["title"]
        assert {chart[axis] for axis in "xy" if axis in chart} <= set(rows[0]), chart["title"]


def test_duplicate_records_count_once(lab: Lab) -> None:
    """Each sweep records a lasting denial again, and SLS may store a record twice."""
    run_once(lab)
    lab.sweep()
    counts = {row["outcome"]: row["links"] for row in query_rows(lab, COUNTS[0]["query"], 86400)}
    assert counts == {"applied": "1", "denied": "1"}
    [quota] = [rule for rule in ALERTS if rule["name"] == "link-peer-quota"]
    for _ in range(2):
        write(lab, 3, record="outcome", outcome="failed", reason="quota")
    assert query_rows(lab, quota["query"], 3600) == [{"count": "3"}]


def test_each_saved_search_runs_and_is_explained(lab: Lab) -> None:
    """SLS accepts its query and name, and docs/audit.md has it among its questions."""
    run_once(lab)
    for search in SEARCHES:
        query_rows(lab, search["query"], 86400)
        assert 3 <= len(search["name"]) <= 63
        assert search["query"] in (DEPLOY.parent / "docs" / "audit.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("counts", readings()["queue_counts"])
@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["name"])
def test_an_alert_fires_only_on_its_condition(lab: Lab, rule: dict[str, Any], counts: str) -> None:
    """It is silent in normal operation and fires in the situation that it is for, also where the platform counts no
    messages."""
    lab.cloud.knobs.change({"queue_counts": counts})
    run_once(lab)
    invoke_sweep(lab)
    assert not fires(lab, rule)
    situations: dict[str, Callable[[], Any]] = {
        "link-peer-removals-held": lambda: write(lab, 1, record="summary", outcome="failed", reason="removals-held"),
        "link-peer-no-access": lambda: write(lab, 1, record="outcome", outcome="denied", reason="no-access"),
        "link-peer-no-sweep": lambda: lab.cloud.clock.sleep(1900),
        "link-peer-late-accounts": lambda: late_account(lab),
        "link-peer-trouble": lambda: write(lab, 21, record="attempt", detail="throttled"),
        "link-peer-quota": lambda: write(lab, 1, record="outcome", outcome="failed", reason="quota"),
        "link-peer-dead-letters": lambda: dead_letter(lab),
        "link-peer-function-errors": lambda: fail(lab),
        "link-peer-knocking": lambda: write(lab, 51, record="outcome", outcome="denied", reason="bad-request", link=""),
    }
    situations[rule["name"]]()
    assert fires(lab, rule)


@pytest.mark.parametrize("seconds", [1_000, 7_200])
def test_no_account_is_late_between_two_full_sweeps(lab: Lab, seconds: int) -> None:
    """They are four hours apart with a thousand accounts."""
    [rule] = [rule for rule in ALERTS if rule["name"] == "link-peer-late-accounts"]
    sweep_accounts(lab, seconds)
    assert not fires(lab, rule)


def test_a_managed_tag_that_is_refused_is_no_trouble(lab: Lab) -> None:
    """Every sweep records it once for each account, for as long as RAM refuses it."""
    [rule] = [rule for rule in ALERTS if rule["name"] == "link-peer-trouble"]
    write(lab, 30, record="attempt", detail=managed_tag_refused(HOME, "Forbidden.RAM"))
    assert not fires(lab, rule)
    write(lab, 21, record="attempt", detail="throttled")
    assert fires(lab, rule)


def test_a_function_error_is_seen_in_either_field(lab: Lab) -> None:
    """Each request counts once, however often it was tried; one that succeeded does not."""
    [rule] = [rule for rule in ALERTS if rule["name"] == "link-peer-function-errors"]
    for request, fields in (
        ("r-1", {"hasFunctionError": "true"}),
        ("r-1", {"hasFunctionError": "true"}),
        ("r-2", {"errorType": "FunctionTimeoutError"}),
        ("r-3", {"hasFunctionError": "false"}),
    ):
        write(lab, 1, rule["logstore"], requestId=request, **fields)
    assert query_rows(lab, rule["query"], 1800, rule["logstore"]) == [{"count": "2"}]


def run_once(lab: Lab) -> None:
    """Opens one link, denies another for lack of consent, and runs a sweep."""
    app, db, cache = lab.group(), lab.group("*"), lab.group()
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306 {cache.id}:tcp/6379"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1, "denied": 1}
    lab.sweep()


def invoke_sweep(lab: Lab) -> str:
    """Lets Function Compute run the sweep; returns the type of its error."""
    result = lab.cloud.fc.invoke(HOME, "link-peer-sweep", b'{"triggerName": "every-10m"}', "live").result
    assert result
    return result.error_type


def late_account(lab: Lab) -> None:
    """Sweeps two accounts, and more than four hours later one of them."""
    sweep_accounts(lab, 8_200)


def sweep_accounts(lab: Lab, seconds: int) -> None:
    """Sweeps an account, another one after so many seconds, and that one again."""
    for account in (PEER, HOME, HOME):
        write(lab, 1, record="summary", function="sweep", scope="account", account=account)
        lab.cloud.clock.sleep(seconds)


def fail(lab: Lab) -> None:
    """Runs a sweep whose records the audit log does not take: it raises."""
    lab.cloud.faults.add(Fault("sls", "PutLogs", kind="throttle", times=None))
    assert invoke_sweep(lab)


def dead_letter(lab: Lab) -> None:
    """Puts a message where Function Compute puts what it cannot deliver; then the sweep runs."""
    lab.cloud.mns.send(HOME, lab.cloud.world.dead_letter_queue, "undeliverable")
    assert not invoke_sweep(lab)


def write(lab: Lab, count: int, logstore: str = "", **fields: str) -> None:
    """Writes records as a function does, each with its own key."""
    world = lab.cloud.world
    now = int(lab.cloud.clock.now())
    records = tuple(LogRecord(now, number + 1, {**fields, "key": f"{number:016x}"}) for number in range(count))
    lab.cloud.sls.put(HOME, world.audit_project, logstore or world.audit_logstore, LogGroup(records))


def query_rows(lab: Lab, query: str, seconds: int, logstore: str = "") -> list[dict[str, str]]:
    now, world = lab.cloud.clock.now() + 1, lab.cloud.world
    logstore = logstore or world.audit_logstore
    return lab.cloud.sls.search(HOME, world.audit_project, logstore, now - seconds, now, query).logs


def fires(lab: Lab, rule: dict[str, Any]) -> bool:
    """Evaluates a condition as SLS does: the names in it are the columns of the row."""
    [row] = query_rows(lab, rule["query"], rule["minutes"] * 60, rule.get("logstore", ""))
    name, compare, number = rule["when"].split()
    return {">": operator.gt, "==": operator.eq}[compare](int(row[name]), int(number))
