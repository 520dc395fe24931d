"""The alarms of CloudMonitor on dead letters and failing functions, and whom they notify."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from link_peer.alicloud.sdk import client_config
from link_peer.domain.errors import CloudError

from link_peer_cli.setup.files import read
from link_peer_cli.setup.resource import Deployment, Resource, State
from link_peer_cli.setup.sdk import unless

NOBODY = "give --notify <e-mail address or contact group>: without one it would notify nobody"
PAGE = 100  # [doc DescribeMetricRuleList]
MISSING = frozenset({"ResourceNotFound", "404"})


def resources(deployment: Deployment) -> list[Resource]:
    """The contact and the contact group that --notify asks for, and the alarms."""
    monitor = Monitor(deployment)
    values = {
        "HOME_ACCOUNT": deployment.policy.home,
        "LINK_PEER_REGION": deployment.settings.region,
        "LINK_PEER_PREFIX": deployment.names.prefix,
    }
    return [Contact(monitor), ContactGroup(monitor), *(Alarm(monitor, rule) for rule in read("alarms.yaml", values))]


class Monitor:
    """CloudMonitor through its official SDK."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    @functools.cached_property
    def client(self) -> Any:
        """One client for all resources."""
        from alibabacloud_cms20190101.client import Client

        return Client(client_config(self.deployment.settings, "cms", self.deployment.settings.credentials))

    @functools.cached_property
    def models(self) -> Any:
        """The SDK's requests."""
        from alibabacloud_cms20190101 import models

        return models

    def call(self, send: Callable[[Any], Any], request: Any) -> Any:
        """The body of an answer; None if what it is about does not exist.

        CloudMonitor also answers 200 with `Success: false`; that is raised as CloudError.
        """
        found = unless(MISSING, lambda: send(request))
        if found is None:
            return None
        if found.body.success in (False, "false"):
            if str(found.body.code) in MISSING:
                return None
            raise CloudError(str(found.body.code), str(found.body.message))
        return found.body


class Contact(Resource):
    """The contact for an e-mail address. CloudMonitor mails it a link, and sends no alarm there before it is clicked."""

    kind = "alarm contact"

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._mail = monitor.deployment.mail
        self.name = monitor.deployment.names.prefix

    @property
    def wanted(self) -> State:
        """Its address, if one is given."""
        return {"mail": self._mail} if self._mail else {}

    @property
    def lacks(self) -> str:
        """An address."""
        return "" if self._mail else "only with --notify <e-mail address>"

    def read(self) -> State | None:
        """Its address."""
        request = self._monitor.models.DescribeContactListRequest(contact_name=self.name)
        found = self._monitor.call(self._monitor.client.describe_contact_list, request)
        contacts = (found and found.contacts and found.contacts.contact) or []
        [mail] = [c.channels.mail for c in contacts if c.name == self.name] or [None]
        return None if mail is None else {"mail": mail}

    def create(self) -> None:
        """Create it."""
        channels = self._monitor.models.PutContactRequestChannels(mail=self._mail)
        request = self._monitor.models.PutContactRequest(
            contact_name=self.name, describe="link-peer", channels=channels, lang="en"
        )
        self._monitor.call(self._monitor.client.put_contact, request)

    def update(self) -> None:
        """Give it another address."""
        self.create()

    def delete(self) -> None:
        """Delete it."""
        request = self._monitor.models.DeleteContactRequest(contact_name=self.name)
        self._monitor.call(self._monitor.client.delete_contact, request)


class ContactGroup(Resource):
    """The contact group of that one contact."""

    kind = "contact group"

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self.name = monitor.deployment.names.prefix

    @property
    def wanted(self) -> State:
        """Its contacts, if an address is given."""
        return {"contacts": [self.name]} if self._monitor.deployment.mail else {}

    @property
    def lacks(self) -> str:
        """An address."""
        return "" if self._monitor.deployment.mail else "only with --notify <e-mail address>"

    def read(self) -> State | None:
        """Its contacts."""
        page = 0
        while True:
            page += 1
            request = self._monitor.models.DescribeContactGroupListRequest(page_number=page, page_size=100)
            found = self._monitor.call(self._monitor.client.describe_contact_group_list, request)
            groups = (found and found.contact_group_list and found.contact_group_list.contact_group) or []
            for group in groups:
                if group.name == self.name:
                    return {"contacts": sorted((group.contacts and group.contacts.contact) or [])}
            if len(groups) < 100:
                return None

    def create(self) -> None:
        """Create it."""
        request = self._monitor.models.PutContactGroupRequest(
            contact_group_name=self.name, contact_names=[self.name], describe="link-peer"
        )
        self._monitor.call(self._monitor.client.put_contact_group, request)

    def update(self) -> None:
        """Replace its contacts."""
        self.create()

    def delete(self) -> None:
        """Delete it."""
        request = self._monitor.models.DeleteContactGroupRequest(contact_group_name=self.name)
        self._monitor.call(self._monitor.client.delete_contact_group, request)


class Alarm(Resource):
    """An alarm of deploy/alarms.yaml: a threshold on one metric."""

    kind = "alarm"

    def __init__(self, monitor: Monitor, rule: Mapping[str, Any]) -> None:
        self._monitor = monitor
        self.name = rule["name"]
        self._rule = rule

    @property
    def _notifies(self) -> str:
        """The contact group; empty where none is given."""
        deployment = self._monitor.deployment
        return deployment.names.prefix if deployment.mail else deployment.notify

    @property
    def wanted(self) -> State:
        """Metric, resources and threshold, and the contact group if one is given."""
        rule = self._rule
        state = {
            "metric": f"{rule['namespace']}/{rule['metric']}",
            "resources": rule["resources"],
            "statistics": rule["statistics"],
            "threshold": str(rule["above"]),
            "period": str(rule["period"]),
        }
        return {**state, **({"contact group": self._notifies} if self._notifies else {})}

    @property
    def lacks(self) -> str:
        """Somebody to notify."""
        return "" if self._notifies else NOBODY

    def _found(self) -> Any:
        """The alarm of that name; None if there is none. `setup` gives it its name as id, Terraform lets the platform choose
        one. The API finds every alarm whose name has this one in it [doc DescribeMetricRuleList]."""
        page = 0
        while True:
            page += 1
            request = self._monitor.models.DescribeMetricRuleListRequest(rule_name=self.name, page=page, page_size=PAGE)
            found = self._monitor.call(self._monitor.client.describe_metric_rule_list, request)
            alarms = (found and found.alarms and found.alarms.alarm) or []
            for alarm in alarms:
                if alarm.rule_name == self.name:
                    return alarm
            if len(alarms) < PAGE:
                return None

    @property
    def _id(self) -> str:
        """Its id, if it exists; that which `setup` gives it, if not."""
        alarm = self._found()
        return str(alarm.rule_id) if alarm else self.name

    def read(self) -> State | None:
        """The alarm as it is."""
        alarm = self._found()
        if alarm is None:
            return None
        critical = alarm.escalations.critical if alarm.escalations else None
        return {
            "metric": f"{alarm.namespace}/{alarm.metric_name}",
            "resources": json.loads(alarm.resources or "[]"),
            "statistics": critical.statistics if critical else "",
            "threshold": critical.threshold
            if critical and critical.comparison_operator == "GreaterThanThreshold"
            else "",
            "period": str(alarm.period),
            "contact group": alarm.contact_groups or "",
        }

    def create(self) -> None:
        """Create it."""
        self._put(self._notifies)

    def update(self) -> None:
        """Replace it; without another contact group it keeps the one it has."""
        self._put(self._notifies or (self.read() or {}).get("contact group", ""))

    def _put(self, contact_group: str) -> None:
        models, rule = self._monitor.models, self._rule
        critical = models.PutResourceMetricRuleRequestEscalationsCritical(
            comparison_operator="GreaterThanThreshold",
            statistics=rule["statistics"],
            threshold=str(rule["above"]),
            times=1,
        )
        request = models.PutResourceMetricRuleRequest(
            rule_id=self._id,
            rule_name=self.name,
            namespace=rule["namespace"],
            metric_name=rule["metric"],
            resources=json.dumps(rule["resources"]),
            contact_groups=contact_group,
            escalations=models.PutResourceMetricRuleRequestEscalations(critical=critical),
            period=str(rule["period"]),
            interval=str(rule["period"]),
            silence_time=rule["silence"],
            email_subject=rule["says"],
        )
        self._monitor.call(self._monitor.client.put_resource_metric_rule, request)

    def delete(self) -> None:
        """Delete it."""
        request = self._monitor.models.DeleteMetricRulesRequest(id=[self._id])
        self._monitor.call(self._monitor.client.delete_metric_rules, request)
