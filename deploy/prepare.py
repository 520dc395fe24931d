"""Creates what the first deploy needs: two queues; the log project with its logstores, index, dashboard and alerts.

Reads the same environment variables as s.yaml, and keys from ALIBABA_CLOUD_ACCESS_KEY_ID and _SECRET. Alert rules need
an SLS action policy, made in its console, which says whom to notify: LINK_PEER_ACTION_POLICY is its id. Safe to run
again: what exists is left as it is.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from aliyun.log import IndexConfig
from link_peer.alicloud import sls
from link_peer.domain.errors import LinkPeerError
from link_peer.inbound import policy_file as policy
from link_peer.runtime import settings
from mns.account import Account
from mns.mns_exception import MNSServerException
from mns.queue import QueueMeta

WEEK = 7 * 24 * 3600  # the longest that a queue keeps a message [doc SMQ limits]
AUDIT_DAYS = 365
FUNCTION_DAYS = 30
DASHBOARD = "link-peer"
CHART = {"width": 10, "height": 8}  # a dashboard is 20 columns wide
NAMES = ("LINK_PEER_DEAD_LETTER_QUEUE", "LINK_PEER_FUNCTION_LOGSTORE")


def main() -> int:
    """Create everything that does not exist yet. Raises LinkPeerError if a setting is missing."""
    given = settings.load()
    missing = [name for name in NAMES if not os.environ.get(name)]
    if not (given.queue and given.audit_project and given.audit_logstore) or missing:
        raise LinkPeerError("set the LINK_PEER_ names first: docs/operations.md lists them")
    dead_letters, function_logstore = (os.environ[name] for name in NAMES)
    queues(given, policy.load(given.policy_path).home, [given.queue, dead_letters])
    logs(given, function_logstore)
    dashboard(given)
    alerts(given, os.environ.get("LINK_PEER_ACTION_POLICY", ""))
    return 0


def queues(given: settings.Settings, home: str, names: list[str]) -> None:
    """Create the queues, which keep a message for a week."""
    scheme, host = given.endpoint("mns")
    endpoint = f"{scheme}://{host}" if host else f"https://{home}.mns.{given.region}.aliyuncs.com"
    keys = given.credentials
    account = Account(endpoint, keys.access_key_id, keys.access_key_secret, keys.security_token or "")
    for name in names:
        meta = QueueMeta(msg_ttl=WEEK)
        try:
            account.get_queue(name).create(meta)
        except MNSServerException as error:
            if error.type != "QueueAlreadyExist":  # exists with other attributes: someone chose them
                raise
        print(f"queue {name}")


def logs(given: settings.Settings, function_logstore: str) -> None:
    """Create the log project, the audit logstore with its index, and the logstore for the functions' own output."""
    client: Any = sls.client(given)
    project, audit = given.audit_project, given.audit_logstore
    index = IndexConfig()
    index.from_json(json.loads(Path(__file__).with_name("sls-index.json").read_text(encoding="utf-8")))
    _once("ProjectAlreadyExist", lambda: client.create_project(project, "link-peer"))
    _once("LogStoreAlreadyExist", lambda: client.create_logstore(project, audit, ttl=AUDIT_DAYS))
    _once("LogStoreAlreadyExist", lambda: client.create_logstore(project, function_logstore, ttl=FUNCTION_DAYS))
    _once("IndexAlreadyExist", lambda: client.create_index(project, audit, index))
    print(f"log project {project}: {audit} (indexed), {function_logstore}")


def dashboard(given: settings.Settings) -> None:
    """Create one dashboard with the charts of dashboard.yaml."""
    client: Any = sls.client(given)
    charts = [_chart(number, chart, given.audit_logstore) for number, chart in enumerate(_read("dashboard.yaml"))]
    if DASHBOARD not in client.list_dashboard(given.audit_project).get_entities():
        client.create_dashboard(
            given.audit_project,
            {"dashboardName": DASHBOARD, "displayName": DASHBOARD, "description": "", "charts": charts},
        )
    print(f"dashboard {DASHBOARD}")


def _chart(number: int, chart: dict[str, str], logstore: str) -> dict[str, Any]:
    """A chart in the format of CreateDashboard [doc SLS CreateDashboard]."""
    place = {"xPos": number % 2 * CHART["width"], "yPos": number // 2 * CHART["height"], **CHART}
    axes = {f"{axis}Axis": [chart[axis]] if axis in chart else [] for axis in "xy"}
    return {
        "title": f"link-peer-{number}",
        "type": chart["type"],
        "search": {"logstore": logstore, "topic": "", "query": chart["query"], "start": chart["start"], "end": "now"},
        "display": {"displayName": chart["title"], **axes, **place},
        "action": {},
    }


def alerts(given: settings.Settings, action_policy: str) -> None:
    """Create the alert rules of alerts.yaml; none without an action policy, since nobody would be notified."""
    if not action_policy:
        print("no alerts: set LINK_PEER_ACTION_POLICY to the id of the action policy that says whom to notify")
        return
    client: Any = sls.client(given)
    existing = {alert["name"] for alert in client.list_alert(given.audit_project, size=-1).get_entities()}
    for rule in _read("alerts.yaml"):
        if rule["name"] not in existing:
            client.create_alert(given.audit_project, _alert(rule, given, action_policy))
        print(f"alert {rule['name']}")


def _alert(rule: dict[str, Any], given: settings.Settings, action_policy: str) -> dict[str, Any]:
    """An alert rule in the format of CreateAlert.

    [doc SLS "Data structure of an alert rule"; older pages call the switch `state`, newer ones `status`: both are sent]
    """
    query = {
        "storeType": "log",
        "region": given.region,
        "project": given.audit_project,
        "store": given.audit_logstore,
        "query": rule["query"],
        "timeSpanType": "Relative",
        "start": f"-{rule['minutes']}m",
        "end": "now",
        "powerSqlMode": "auto",
    }
    return {
        "name": rule["name"],
        "displayName": rule["name"],
        "type": "Alert",
        "state": "Enabled",
        "status": "Enabled",
        "schedule": {"type": "FixedRate", "interval": "5m"},
        "configuration": {
            "version": "2.0",
            "type": "default",
            "dashboard": DASHBOARD,
            "queryList": [query],
            "groupConfiguration": {"type": "no_group", "fields": []},
            "joinConfigurations": [],
            "severityConfigurations": [
                {"severity": rule["severity"], "evalCondition": {"condition": rule["when"], "countCondition": ""}}
            ],
            "labels": [],
            "annotations": [{"key": "title", "value": rule["name"]}, {"key": "desc", "value": rule["says"]}],
            "autoAnnotation": True,
            "sendResolved": False,
            "threshold": 1,
            "noDataFire": False,
            "noDataSeverity": 6,
            "policyConfiguration": {
                "alertPolicyId": "sls.builtin.dynamic",
                "actionPolicyId": action_policy,
                "repeatInterval": "4h",
            },
        },
    }


def _read(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return found


def _once(exists_code: str, create: Callable[[], object]) -> None:
    """Create something; the error code that says it exists already is not a failure."""
    try:
        create()
    except sls.AuditUnavailable as error:
        if error.code != exists_code:
            raise


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LinkPeerError, sls.AuditUnavailable, MNSServerException) as problem:
        sys.exit(f"prepare: {problem}")
