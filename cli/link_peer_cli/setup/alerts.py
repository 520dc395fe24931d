"""The dashboard of the audit log, the alert rules, and whom they notify."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from aliyun.log.resource_params import ResourceRecord
from link_peer.alicloud import sls
from msgspec.structs import replace

from link_peer_cli.setup.logs import ConsoleObject, Logs, without_times
from link_peer_cli.setup.resource import Changeable, Resource, SetupTarget, State
from link_peer_cli.setup.sdk import log_call, merged, reduced

MAIN_REGION = "cn-heyuan"
"""Users and action policies are kept there, for the projects of all regions [doc terraform
alicloud_log_resource_record]."""

NO_RECORD = "ResourceRecordNotExist"
DASHBOARD = "link-peer"
CHART = {"width": 10, "height": 8}
"""A dashboard is 20 columns wide."""

OPTION = "--notify ADDRESS"
NOBODY = "give --notify <e-mail address> or --action-policy <id>: without one it would notify nobody"


def resources(deployment: SetupTarget) -> list[Resource]:
    """The dashboard; the user and the action policy that --notify asks for; the alert rules."""
    logs = Logs(deployment)
    return [
        Dashboard(logs),
        User(deployment, "sls.common.user", "user", _user(deployment)),
        Record(deployment, "sls.alert.action_policy", "action policy", _action_policy(deployment.names.prefix)),
        *(Alert(logs, rule) for rule in deployment.description.alerts),
    ]


class Dashboard(ConsoleObject):
    """One dashboard with the charts of deploy/dashboard.yaml."""

    kind = noun = "dashboard"
    name = DASHBOARD
    missing = "DashboardNotExist"

    @property
    def target_state(self) -> State:
        """Its name and charts."""
        return {
            "displayName": DASHBOARD,
            "charts": [self._chart(number, chart) for number, chart in enumerate(self.deployment.description.charts)],
        }

    def detail(self) -> dict[str, Any]:
        """The same, under the name by which it is found."""
        return {"dashboardName": DASHBOARD, "description": "", **self.target_state}

    def _chart(self, number: int, chart: Mapping[str, str]) -> dict[str, Any]:
        """A chart in the format of CreateDashboard [doc SLS CreateDashboard]. Two stand side by side."""
        place = {"xPos": number % 2 * CHART["width"], "yPos": number // 2 * CHART["height"], **CHART}
        axes = {f"{axis}Axis": [chart[axis]] if axis in chart else [] for axis in "xy"}
        logstore = self.logs.deployment.names.audit_logstore
        return {
            "title": f"link-peer-{number}",
            "type": chart["type"],
            "search": {
                "logstore": logstore,
                "topic": "",
                "query": chart["query"],
                "start": chart["start"],
                "end": "now",
            },
            "display": {"displayName": chart["title"], **axes, **place},
            "action": {},
        }


class Record(Changeable):
    """A user or an action policy of the alert centre, for an e-mail address; both have the deployment's prefix as id.
    The alerts of all its regions notify them."""

    of_all_regions = True
    option = OPTION

    def __init__(self, deployment: SetupTarget, table: str, kind: str, value: Mapping[str, Any]) -> None:
        """Where no e-mail address is given, what exists is left as it is."""
        self.deployment = deployment
        self._table = table
        self.kind = kind
        self.name = deployment.names.prefix
        self._value = value if deployment.notify else None

    @functools.cached_property
    def _client(self) -> Any:
        return sls.client(replace(self.deployment.settings, region=MAIN_REGION))

    @property
    def target_state(self) -> State:
        """The whole record, or nothing in particular."""
        return {} if self._value is None else {"value": self._value}

    @property
    def lacks(self) -> str:
        """An address."""
        return "" if self._value else "only with --notify <e-mail address>"

    def _record(self, value: Any) -> Any:
        return ResourceRecord(record_id=self.name, tag=self.name, value=value)

    def _body(self) -> Any:
        response = log_call(lambda: self._client.get_resource_record(self._table, self.name), {NO_RECORD})
        value = response and response.get_record().get_value()
        return json.loads(value) if isinstance(value, str) else value

    def read(self) -> State | None:
        """The record as it is."""
        value = self._body()
        return None if value is None else {"value": reduced(value, self._value)}

    def create(self) -> None:
        """Create it."""
        log_call(lambda: self._client.create_resource_record(self._table, self._record(self._value)))

    def update(self) -> None:
        """Bring what is ours to the wanted state; what people added stays."""
        record = self._record(merged(self._body(), self._value))
        log_call(lambda: self._client.update_resource_record(self._table, record))

    def delete(self) -> None:
        """Delete it."""
        log_call(lambda: self._client.delete_resource_record(self._table, [self.name]), {NO_RECORD})


class User(Record):
    """The user whose address --notify gives; the address that is given counts."""

    def exemption(self, current: State) -> str:
        """Nothing."""
        del current
        return ""


def _user(deployment: SetupTarget) -> dict[str, Any]:
    """[doc SLS "Data structure of alert resource data"]"""
    name = deployment.names.prefix
    return {"user_id": name, "user_name": name, "email": [deployment.notify], "enabled": True}


def _action_policy(name: str) -> dict[str, Any]:
    """Mails every alert to that user. The second script only serves escalation, which is off [doc as above]."""
    script = (
        f'fire(type="email", users=["{name}"], groups=[], oncall_groups=[], receiver_type="static", external_url="", '
        'external_headers={}, template_id="sls.builtin.en", period="any")'
    )
    return {
        "action_policy_id": name,
        "action_policy_name": name,
        "labels": {},
        "is_default": False,
        "primary_policy_script": script,
        "secondary_policy_script": script,
        "escalation_start_enabled": False,
        "escalation_start_timeout": "10m",
        "escalation_inprogress_enabled": False,
        "escalation_inprogress_timeout": "30m",
        "escalation_enabled": False,
        "escalation_timeout": "1h",
    }


class Alert(ConsoleObject):
    """An alert rule of deploy/alerts.yaml."""

    kind = noun = "alert"
    missing = "JobNotExist"
    option = OPTION

    def __init__(self, logs: Logs, rule: Mapping[str, Any]) -> None:
        super().__init__(logs)
        self.name = rule["name"]
        self._rule = rule

    @property
    def _notifies(self) -> str:
        """The id of the action policy; empty where none is given."""
        deployment = self.logs.deployment
        return deployment.action_policy or (deployment.names.prefix if deployment.notify else "")

    @property
    def target_state(self) -> State:
        """The rule, and which action policy it uses if one is given."""
        return {"rule": self._rule_with(), **({"action policy": self._notifies} if self._notifies else {})}

    @property
    def lacks(self) -> str:
        """Somebody to notify."""
        return "" if self._notifies else NOBODY

    def read(self) -> State | None:
        """The rule as it is, and its action policy."""
        alert = self.body()
        if alert is None:
            return None
        policy = alert.get("configuration", {}).get("policyConfiguration", {})
        rule = reduced(alert, self._rule_with())
        return {"rule": rule, "action policy": policy.get("actionPolicyId", ""), "whole": without_times(alert)}

    def differing(self, current: State) -> tuple[str, ...]:
        """The action policy alone, where another one is given and the rule would be kept."""
        fields = super().differing(current)
        return ("action policy",) if "action policy" in fields and not self.deployment.replace else fields

    def exemption(self, current: State) -> str:
        """A rule that a person changed, unless another action policy is given for it."""
        return "" if "action policy" in self.differing(current) else super().exemption(current)

    def detail(self) -> dict[str, Any]:
        """The rule with the action policy that is given."""
        return self._rule_with(self._notifies)

    def update(self) -> None:
        """Replace it, with the action policy that is given, else the one it has; or put in the action policy alone."""
        alert = self.body() or {}
        policy = alert.get("configuration", {}).get("policyConfiguration", {})
        detail = self._rule_with(self._notifies or policy.get("actionPolicyId", ""))
        if not self.deployment.replace:
            changed = {"configuration": {"policyConfiguration": {"actionPolicyId": self._notifies}}}
            detail = merged({name: alert[name] for name in detail if name in alert}, changed)
        self.ask("update", detail)

    def _rule_with(self, action_policy: str = "") -> dict[str, Any]:
        """The rule in the format of CreateAlert; without an action policy, only what must be the same for all.

        [doc SLS "Data structure of an alert rule"; older pages call the switch `state`, newer ones `status`: both are
        sent]
        """
        deployment, rule = self.logs.deployment, self._rule
        notified = {"actionPolicyId": action_policy} if action_policy else {}
        query = {
            "storeType": "log",
            "region": deployment.settings.region,
            "project": self.project,
            "store": rule.get("logstore", deployment.names.audit_logstore),
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
                "policyConfiguration": {"alertPolicyId": "sls.builtin.dynamic", **notified, "repeatInterval": "4h"},
            },
        }
