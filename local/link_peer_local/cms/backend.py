"""CMS 2019-01-01: the actions that keep alarm rules, contacts and contact groups. Parameters and answers [SDK cms20190101].

Refusals are those of the gateway and of the pages of each action; `ResourceNotFound` for what does not exist is assumed
from the message of their examples ("The specified resource is not found.").
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

from link_peer_local.cms.state import Account, Alarm, Escalation
from link_peer_local.core.errors import ApiError, unknown_action
from link_peer_local.core.identity import Caller

LEVELS = ("Critical", "Warn", "Info")
OPERATORS = frozenset(
    {
        "GreaterThanOrEqualToThreshold",
        "GreaterThanThreshold",
        "LessThanOrEqualToThreshold",
        "LessThanThreshold",
        "NotEqualToThreshold",
        "EqualToThreshold",
    }
)
"""Those that compare with the threshold itself; the others compare with earlier values."""

_MOST_RULE_IDS = 20  # of one DescribeMetricRuleList, or DeleteMetricRules [doc]
_DONE = {"Code": "200", "Message": "The request processing has succeeded.", "Success": True}
Params = Mapping[str, str]
Answer = dict[str, Any]


class CmsBackend:
    """The CloudMonitor of every account; safe to use from many threads."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self._lock = threading.RLock()

    def call(self, caller: Caller, action: str, params: Params) -> Answer:
        """Run one action: the answer without RequestId, or ApiError."""
        operation = OPERATIONS.get(action)
        if operation is None:
            raise unknown_action()
        with self._lock:
            return {**_DONE, **operation(self.accounts.setdefault(caller.account, Account()), params)}


def _put_resource_metric_rule(account: Account, params: Params) -> Answer:
    """Create an alarm rule, or replace the one with this id."""
    named = ("RuleId", "RuleName", "Namespace", "MetricName", "ContactGroups", "Resources")
    rule_id, name, namespace, metric, groups, resources = (_required(params, field) for field in named)
    _check_resources(resources)
    for group in groups.split(","):
        if group not in account.groups:
            raise ApiError("ResourceNotFound", 404, "The specified resource is not found.")
    escalations = {level: found for level in LEVELS if (found := _escalation(params, f"Escalations.{level}."))}
    if not escalations:
        raise ApiError("ParameterInvalid", 400, "Escalations is mandatory.")
    period = str(_number(params, "Period", "60"))
    silence = _number(params, "SilenceTime", "86400")
    subject = params.get("EmailSubject", "")
    account.alarms[rule_id] = Alarm(
        rule_id, name, namespace, metric, resources, groups, period, silence, subject, escalations
    )
    return {}


def _describe_metric_rule_list(account: Account, params: Params) -> Answer:
    """Alarm rules by id, name (a part of it), namespace and metric; 10 a page."""
    ids = [one for one in params.get("RuleIds", "").split(",") if one]
    if len(ids) > _MOST_RULE_IDS:
        raise ApiError("ParameterInvalid", 400, f"At most {_MOST_RULE_IDS} RuleIds are allowed.")
    found = [
        alarm
        for _, alarm in sorted(account.alarms.items())
        if (not ids or alarm.rule_id in ids)
        and params.get("RuleName", "") in alarm.rule_name
        and params.get("Namespace", alarm.namespace) == alarm.namespace
        and params.get("MetricName", alarm.metric_name) == alarm.metric_name
    ]
    page = _page(found, params, "Page", 10)
    return {"Total": str(len(found)), "Alarms": {"Alarm": [_shown(alarm) for alarm in page]}, "Code": 200}


def _shown(alarm: Alarm) -> Answer:
    escalations = {
        level: {
            "ComparisonOperator": given.comparison_operator,
            "Statistics": given.statistics,
            "Threshold": given.threshold,
            "Times": given.times,
        }
        for level, given in alarm.escalations.items()
    }
    return {
        "RuleId": alarm.rule_id,
        "RuleName": alarm.rule_name,
        "Namespace": alarm.namespace,
        "MetricName": alarm.metric_name,
        "Resources": alarm.resources,
        "Dimensions": alarm.resources,
        "ContactGroups": alarm.contact_groups,
        "Period": alarm.period,
        "SilenceTime": alarm.silence_time,
        "MailSubject": alarm.mail_subject,
        "EnableState": True,
        "AlertState": "INSUFFICIENT_DATA",
        "SourceType": "METRIC",
        "NoEffectiveInterval": "",
        "EffectiveInterval": "",
        "Escalations": escalations,
    }


def _delete_metric_rules(account: Account, params: Params) -> Answer:
    """Delete alarm rules by id."""
    ids = _list(params, "Id")
    if not 1 <= len(ids) <= _MOST_RULE_IDS:
        raise ApiError("ParameterInvalid", 400, "Id is mandatory.")
    if not any(one in account.alarms for one in ids):
        raise ApiError("ResourceNotFound", 404, "The specified resource is not found.")
    for one in ids:
        account.alarms.pop(one, None)
    return {}


def _put_contact(account: Account, params: Params) -> Answer:
    """Create a contact, or replace its address. The address must be confirmed from a mail, which nobody sends here."""
    name, _ = _required(params, "ContactName"), _required(params, "Describe")
    mail = params.get("Channels.Mail", "")
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", mail):
        raise ApiError("ParameterInvalid", 400, "Channels.Mail is invalid.")
    account.contacts[name] = mail
    return {}


def _describe_contact_list(account: Account, params: Params) -> Answer:
    """Contacts by name (a part of it); 10 a page."""
    found = [(name, mail) for name, mail in sorted(account.contacts.items()) if params.get("ContactName", "") in name]
    contacts = [
        {
            "Name": name,
            "Desc": "",
            "Lang": "en",
            "Channels": {"Mail": mail},
            "ChannelsState": {"Mail": "PENDING"},
            "ContactGroups": {"ContactGroup": [group for group, of in sorted(account.groups.items()) if name in of]},
        }
        for name, mail in _page(found, params, "PageNumber", 10)
    ]
    return {"Total": len(found), "Contacts": {"Contact": contacts}}


def _delete_contact(account: Account, params: Params) -> Answer:
    """Delete a contact, also from its groups."""
    name = _required(params, "ContactName")
    if account.contacts.pop(name, None) is None:
        raise ApiError("ResourceNotFound", 404, "The specified resource is not found.")
    for members in account.groups.values():
        if name in members:
            members.remove(name)
    return {}


def _put_contact_group(account: Account, params: Params) -> Answer:
    """Create a contact group, or replace its contacts."""
    name, names = _required(params, "ContactGroupName"), _list(params, "ContactNames")
    if any(contact not in account.contacts for contact in names):
        raise ApiError("ResourceNotFound", 404, "The specified resource is not found.")
    account.groups[name] = names
    return {}


def _describe_contact_group_list(account: Account, params: Params) -> Answer:
    """All contact groups; 5 a page."""
    found = sorted(account.groups.items())
    page = _page(found, params, "PageNumber", 5)
    return {
        "Total": len(found),
        "ContactGroups": {"ContactGroup": [name for name, _ in page]},
        "ContactGroupList": {
            "ContactGroup": [{"Name": name, "Describe": "", "Contacts": {"Contact": list(of)}} for name, of in page]
        },
    }


def _delete_contact_group(account: Account, params: Params) -> Answer:
    """Delete a contact group."""
    if account.groups.pop(_required(params, "ContactGroupName"), None) is None:
        raise ApiError("ResourceNotFound", 404, "The specified resource is not found.")
    return {}


OPERATIONS: dict[str, Callable[[Account, Params], Answer]] = {
    "PutResourceMetricRule": _put_resource_metric_rule,
    "DescribeMetricRuleList": _describe_metric_rule_list,
    "DeleteMetricRules": _delete_metric_rules,
    "PutContact": _put_contact,
    "DescribeContactList": _describe_contact_list,
    "DeleteContact": _delete_contact,
    "PutContactGroup": _put_contact_group,
    "DescribeContactGroupList": _describe_contact_group_list,
    "DeleteContactGroup": _delete_contact_group,
}


def _required(params: Params, name: str) -> str:
    if not params.get(name):
        raise ApiError(f"Missing{name}", 400, f"{name} is mandatory for this action.")
    return params[name]


def _list(params: Params, name: str) -> list[str]:
    """`Name.1`, `Name.2`, … in their order."""
    numbered = (re.fullmatch(rf"{name}\.([0-9]{{1,3}})", key) for key in params)
    return [params[match[0]] for match in sorted(filter(None, numbered), key=lambda match: int(match[1]))]


def _number(params: Params, name: str, default: str) -> int:
    text = params.get(name, default)
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ApiError("ParameterInvalid", 400, f"{name} is invalid.")
    return int(text)


def _escalation(params: Params, prefix: str) -> Escalation | None:
    """One level; all four of its parameters must be there, or none."""
    given = {name: params.get(prefix + name, "") for name in ("ComparisonOperator", "Statistics", "Threshold", "Times")}
    if not any(given.values()):
        return None
    if not all(given.values()) or given["ComparisonOperator"] not in OPERATORS:
        raise ApiError("ParameterInvalid", 400, f"{prefix.strip('.')} is invalid.")
    times = _number(params, f"{prefix}Times", "1")
    return Escalation(given["ComparisonOperator"], given["Statistics"], given["Threshold"], times)


def _check_resources(text: str) -> None:
    try:
        listed = json.loads(text)
    except ValueError:
        listed = None
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        raise ApiError("ParameterInvalid", 400, "Resources is invalid.")


def _page(found: list[Any], params: Params, number: str, size: int) -> list[Any]:
    page, size = _number(params, number, "1"), _number(params, "PageSize", str(size))
    if page < 1 or not 1 <= size <= 100:
        raise ApiError("ParameterInvalid", 400, f"{number} or PageSize is invalid.")
    return found[(page - 1) * size : page * size]
