"""Writes link-peer.yaml, the ROS template of what `link-peer setup` creates, from the other files of deploy/.

Run it after a change of one of them: python deploy/ros/generate.py. A test fails while the template differs.
Types and properties: [doc ROS resource types]; names of deployments are parameters, filled in by Fn::Sub.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import yaml

DEPLOY = Path(__file__).parent.parent
TEMPLATE = Path(__file__).with_name("link-peer.yaml")
HEADER = """\
# What `link-peer setup` creates in the account of the functions, as a ROS template. Written by generate.py: change the other
# files of deploy/, not this one. deploy/README.md says when to use it, and what it lacks.
"""
WEEK = 7 * 24 * 3600

NAMES = {
    "LINK_PEER_REGION": "${ALIYUN::Region}",
    "HOME_ACCOUNT": "${ALIYUN::TenantId}",
    "LINK_PEER_PREFIX": "${Prefix}",
    "DEPLOYMENT": "${Deployment}",
}
LISTS = {
    "${PEER_ROLE_ARNS}": {"Ref": "PeerRoleArns"},
    # Each ARN with -reader after it.
    "${PEER_READER_ARNS}": {
        "Fn::Split": [
            ",",
            {"Fn::Sub": ["${Arns}-reader", {"Arns": {"Fn::Join": ["-reader,", {"Ref": "PeerRoleArns"}]}}]},
        ]
    },
}
"""Items that stand for a list, and their statement is left out where that list is empty."""

PARAMETERS = {
    "Prefix": {
        "Type": "String",
        "Description": "What every name of this deployment begins with (LINK_PEER_PREFIX)",
        "Default": "link-peer",
        "AllowedPattern": "^[a-z][a-z0-9-]{0,22}[a-z0-9]$",
    },
    "Deployment": {
        "Type": "String",
        "Description": "The deployment of the policy file",
        "AllowedPattern": "^[a-z0-9-]{1,32}$",
    },
    "PeerRoleArns": {
        "Type": "CommaDelimitedList",
        "Description": "The roles of the other accounts, as in the policy file",
        "Default": "",
    },
    "BoundQueues": {
        "Type": "CommaDelimitedList",
        "Description": "The queues of single accounts, as in the policy file",
        "Default": "",
    },
    "Mail": {
        "Type": "String",
        "Description": "E-mail address that alarms of CloudMonitor go to; a contact and a contact group are created for it",
        "Default": "",
    },
    "ContactGroup": {
        "Type": "String",
        "Description": "Contact group of CloudMonitor that exists. Where this and Mail are empty, no alarms are created",
        "Default": "",
    },
    "ActionPolicy": {
        "Type": "String",
        "Description": "Id of an action policy of SLS that exists, whom the alerts notify. Empty, no alerts are created",
        "Default": "",
    },
    "EventRules": {
        "Type": "Boolean",
        "Description": (
            "Create EventBridge rules, and event streams from the queues, instead of the triggers of s.yaml."
            " The functions must be deployed"
        ),
        "Default": False,
    },
}

CONDITIONS: dict[str, Any] = {
    "HasPeers": {"Fn::Not": {"Fn::Equals": [{"Fn::Join": ["", {"Ref": "PeerRoleArns"}]}, ""]}},
    "HasBoundQueues": {"Fn::Not": {"Fn::Equals": [{"Fn::Join": ["", {"Ref": "BoundQueues"}]}, ""]}},
    "HasMail": {"Fn::Not": {"Fn::Equals": [{"Ref": "Mail"}, ""]}},
    "HasContactGroup": {"Fn::Not": {"Fn::Equals": [{"Ref": "ContactGroup"}, ""]}},
    "HasAlarms": {"Fn::Or": ["HasMail", "HasContactGroup"]},
    "HasAlerts": {"Fn::Not": {"Fn::Equals": [{"Ref": "ActionPolicy"}, ""]}},
    "HasEventRules": {"Fn::Equals": [{"Ref": "EventRules"}, True]},
    "HasBoundStreams": {"Fn::And": ["HasEventRules", "HasBoundQueues"]},
}

PROJECT = {"Fn::GetAtt": ["Project", "Name"]}
DECISIONS = {"Fn::GetAtt": ["Decisions", "LogstoreName"]}
FUNCTIONS = {"Fn::GetAtt": ["Functions", "LogstoreName"]}
DEAD_LETTER_ARN = {"Fn::Sub": "acs:mns:${ALIYUN::Region}:${ALIYUN::TenantId}:/queues/${Prefix}-dead-letters"}
BOUND_QUEUE = {"Fn::Select": [{"Ref": "ALIYUN::Index"}, {"Ref": "BoundQueues"}]}
VARIABLES = {
    "vars.region": "${ALIYUN::Region}",
    "vars.prefix": "${Prefix}",
    "config('AccountID')": "${ALIYUN::TenantId}",
}
"""The variables of s.yaml."""


def main() -> None:
    """Write the template."""
    TEMPLATE.write_text(text(), encoding="utf-8")


def text() -> str:
    """The template."""
    template = {
        "ROSTemplateFormatVersion": "2015-09-01",
        "Description": "What a deployment of link-peer needs in the account of its functions, besides the functions",
        "Parameters": PARAMETERS,
        "Conditions": CONDITIONS,
        "Resources": {**roles(), **queues(), **logs(), **searches(), **alerts(), **alarms(), **events()},
        "Outputs": {
            "FunctionRole": {
                "Description": "The role of the functions",
                "Value": {"Fn::GetAtt": ["FunctionRole", "Arn"]},
            },
            "LogProject": {"Description": "The project of the audit log and the functions' logs", "Value": PROJECT},
        },
    }
    return HEADER + yaml.dump(template, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)


class _Plain(yaml.SafeDumper):
    """Writes a value again where it is used again: ROS templates have no anchors."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Always."""
        return True


def roles() -> dict[str, Any]:
    """The policies, and the roles that they are attached to."""
    policies = {
        "FunctionPolicy": ("fc", "ram-function-role.json"),
        "ReaderPolicy": ("reader", "ram-operator-read.json"),
        "OperatorPolicy": ("operator", "ram-operator.json"),
    }
    found = {name: _policy(f"${{Prefix}}-{suffix}", file) for name, (suffix, file) in policies.items()}
    found["FunctionRole"] = _role("fc", "ram-function-role-trust.json", "FunctionPolicy")
    found["ReaderRole"] = _role("reader", "ram-operator-trust.json", "ReaderPolicy")
    found["OperatorRole"] = _role("operator", "ram-operator-trust.json", "ReaderPolicy", "OperatorPolicy")
    return found


def _policy(name: str, file: str) -> dict[str, Any]:
    document = {"Version": "1", "Statement": {"Fn::ListMerge": _statements(_read(file)["Statement"])}}
    return _resource(
        "ALIYUN::RAM::ManagedPolicy",
        {"PolicyName": {"Fn::Sub": name}, "Description": "link-peer", "PolicyDocument": document},
    )


def _statements(statements: list[dict[str, Any]]) -> list[Any]:
    """Lists to merge: those about the roles of other accounts are empty where there are none."""
    lists: list[Any] = [[]]
    for statement in statements:
        if any(item in LISTS for item in statement["Resource"]):
            [resource] = statement["Resource"]
            lists += [{"Fn::If": ["HasPeers", [{**_named(statement), "Resource": LISTS[resource]}], []]}, []]
        else:
            lists[-1].append(_named(statement))
    return [part for part in lists if part]


def _role(suffix: str, trust: str, *policies: str) -> dict[str, Any]:
    return _resource(
        "ALIYUN::RAM::Role",
        {
            "RoleName": {"Fn::Sub": f"${{Prefix}}-{suffix}"},
            "Description": "link-peer",
            "AssumeRolePolicyDocument": _named(_read(trust)),
            "PolicyAttachments": {"Custom": [{"Fn::GetAtt": [name, "PolicyName"]} for name in policies]},
        },
    )


def queues() -> dict[str, Any]:
    """The queues, which keep a message for a week."""
    names: dict[str, Any] = {
        "DeadLetters": {"Fn::Sub": "${Prefix}-dead-letters"},
        "Requests": {"Fn::Sub": "${Prefix}-requests"},
        "AccountRequests": BOUND_QUEUE,
    }
    found = {
        name: _resource("ALIYUN::MNS::Queue", {"QueueName": queue, "MessageRetentionPeriod": WEEK})
        for name, queue in names.items()
    }
    found["AccountRequests"] |= _for_each_bound_queue("HasBoundQueues")
    return found


def _for_each_bound_queue(condition: str) -> dict[str, Any]:
    return {"Condition": condition, "Count": {"Fn::Length": {"Ref": "BoundQueues"}}}


def logs() -> dict[str, Any]:
    """The log project, its logstores and indexes, and the dashboard. Deleting the stack keeps the logs."""
    project = {"Name": {"Fn::Sub": "${Prefix}-${ALIYUN::TenantId}"}, "Description": "link-peer"}
    return {
        "Project": _resource("ALIYUN::SLS::Project", project, DeletionPolicy="Retain"),
        "Decisions": _logstore("decisions", 365),
        "Functions": _logstore("functions", 30),
        "DecisionsIndex": _index(DECISIONS, "sls-index.json"),
        "FunctionsIndex": _index(FUNCTIONS, "sls-index-functions.json"),
        "Dashboard": _resource(
            "ALIYUN::SLS::Dashboard",
            {
                "ProjectName": PROJECT,
                "DashboardName": "link-peer",
                "DisplayName": "link-peer",
                "Description": "",
                "Charts": [_chart(number, chart) for number, chart in enumerate(_read("dashboard.yaml"))],
            },
        ),
    }


def _logstore(name: str, days: int) -> dict[str, Any]:
    properties = {"ProjectName": PROJECT, "LogstoreName": name, "TTL": days, "AutoSplit": True, "MaxSplitShard": 64}
    return _resource("ALIYUN::SLS::Logstore", properties, DeletionPolicy="Retain")


def _index(logstore: Mapping[str, Any], file: str) -> dict[str, Any]:
    index = _read(file)
    line = {
        "Enable": True,
        "CaseSensitive": index["line"]["caseSensitive"],
        "Delimiter": "".join(index["line"]["token"]),
    }
    return _resource(
        "ALIYUN::SLS::Index",
        {
            "ProjectName": PROJECT,
            "LogstoreName": logstore,
            "FullTextIndex": line,
            "KeyIndices": [_key(name, key) for name, key in index["keys"].items()],
        },
    )


def _key(name: str, key: Mapping[str, Any]) -> dict[str, Any]:
    found = {"Name": name, "Type": key["type"], "EnableAnalytics": key["doc_value"]}
    if key["type"] == "text":
        found |= {"CaseSensitive": key["caseSensitive"], "Delimiter": "".join(key["token"])}
    return found


def _chart(number: int, chart: Mapping[str, Any]) -> dict[str, Any]:
    """A chart in the format of CreateDashboard, which ROS passes on. Two stand side by side."""
    axes = {f"{axis}Axis": [chart[axis]] if axis in chart else [] for axis in "xy"}
    place = {"xPos": number % 2 * 10, "yPos": number // 2 * 8, "width": 10, "height": 8}
    search = {"logstore": DECISIONS, "topic": "", "query": chart["query"], "start": chart["start"], "end": "now"}
    return {
        "title": f"link-peer-{number}",
        "type": chart["type"],
        "search": search,
        "display": {"displayName": chart["title"], **axes, **place},
        "action": {},
    }


def searches() -> dict[str, Any]:
    """The saved searches."""
    return {
        _logical("Search", search["name"]): _resource(
            "ALIYUN::SLS::Savedsearch",
            {
                "Project": PROJECT,
                "Detail": {
                    "SavedsearchName": search["name"],
                    "DisplayName": search["title"],
                    "SearchQuery": search["query"],
                    "Logstore": DECISIONS,
                    "Topic": "",
                },
            },
        )
        for search in _read("searches.yaml")
    }


def alerts() -> dict[str, Any]:
    """The alert rules."""
    return {
        _logical("Alert", rule["name"]): _resource(
            "ALIYUN::SLS::Alert",
            {"Project": PROJECT, "Detail": _alert(rule)},
            Condition="HasAlerts",
            DependsOn=["DecisionsIndex"],
        )
        for rule in _read("alerts.yaml")
    }


def _alert(rule: Mapping[str, Any]) -> dict[str, Any]:
    query = {
        "StoreType": "log",
        "Region": {"Ref": "ALIYUN::Region"},
        "Project": PROJECT,
        "Store": DECISIONS,
        "Query": rule["query"],
        "TimeSpanType": "Relative",
        "Start": f"-{rule['minutes']}m",
        "End": "now",
        "PowerSqlMode": "auto",
    }
    condition = {"Condition": rule["when"], "CountCondition": ""}
    return {
        "Name": rule["name"],
        "DisplayName": rule["name"],
        "Type": "Alert",
        "State": "Enabled",
        "Schedule": {"Type": "FixedRate", "Interval": "5m"},
        "Configuration": {
            "Version": "2.0",
            "Type": "default",
            "Dashboard": {"Fn::GetAtt": ["Dashboard", "DashboardName"]},
            "QueryList": [query],
            "GroupConfiguration": {"Type": "no_group", "Fields": []},
            "JoinConfigurations": [],
            "SeverityConfigurations": [{"Severity": rule["severity"], "EvalCondition": condition}],
            "Labels": [],
            "Annotations": [{"Key": "title", "Value": rule["name"]}, {"Key": "desc", "Value": rule["says"]}],
            "AutoAnnotation": True,
            "SendResolved": False,
            "Threshold": 1,
            "NoDataFire": False,
            "NoDataSeverity": 6,
            "PolicyConfiguration": {
                "AlertPolicyId": "sls.builtin.dynamic",
                "ActionPolicyId": {"Ref": "ActionPolicy"},
                "RepeatInterval": "4h",
            },
        },
    }


def alarms() -> dict[str, Any]:
    """The contact and the contact group for an e-mail address, and the alarms."""
    prefix = {"Ref": "Prefix"}
    contact = {"ContactName": prefix, "Describe": "link-peer", "Channels": {"Mail": {"Ref": "Mail"}}}
    group = {
        "ContactGroupName": prefix,
        "Describe": "link-peer",
        "ContactNames": [{"Fn::GetAtt": ["AlarmContact", "ContactName"]}],
    }
    return {
        "AlarmContact": _resource("ALIYUN::CMS::Contact", contact, Condition="HasMail"),
        "AlarmContactGroup": _resource("ALIYUN::CMS::ContactGroup", group, Condition="HasMail"),
        **{
            _logical("Alarm", rule["name"].removeprefix("${LINK_PEER_PREFIX}-")): _resource(
                "ALIYUN::CMS::ResourceMetricRule", _alarm(rule), Condition="HasAlarms"
            )
            for rule in _read("alarms.yaml")
        },
    }


def _alarm(rule: Mapping[str, Any]) -> dict[str, Any]:
    group = {"Fn::GetAtt": ["AlarmContactGroup", "ContactGroupName"]}
    critical = {
        "ComparisonOperator": "GreaterThanThreshold",
        "Statistics": rule["statistics"],
        "Threshold": str(rule["above"]),
        "Times": 1,
    }
    return {
        "RuleId": _named(rule["name"]),
        "RuleName": _named(rule["name"]),
        "Namespace": rule["namespace"],
        "MetricName": rule["metric"],
        "Resources": _named(rule["resources"]),
        "ContactGroups": [{"Fn::If": ["HasMail", group, {"Ref": "ContactGroup"}]}],
        "Escalations": {"Critical": critical},
        "Period": rule["period"],
        "Interval": rule["period"],
        "SilenceTime": rule["silence"],
        "EmailSubject": _named(rule["says"]),
    }


def events() -> dict[str, Any]:
    """What invokes auto_link and cross_account, instead of the triggers of s.yaml."""
    found = {
        _logical("Rule", trigger["triggerName"]): _resource(
            "ALIYUN::EventBridge::Rule", _rule(trigger), Condition="HasEventRules"
        )
        for trigger in _read("../s.yaml")["resources"]["auto_link"]["props"]["triggers"]
    }
    requests = _stream("", {"Fn::GetAtt": ["Requests", "QueueName"]})
    found["Stream"] = _resource("ALIYUN::FC3::Trigger", requests, Condition="HasEventRules")
    bound = _stream("-${Queue}", BOUND_QUEUE)
    found["AccountStreams"] = _resource("ALIYUN::FC3::Trigger", bound, DependsOn=["AccountRequests"])
    found["AccountStreams"] |= _for_each_bound_queue("HasBoundStreams")
    return found


def _rule(trigger: Mapping[str, Any]) -> dict[str, Any]:
    """The rule that Function Compute would make of a trigger of auto_link."""
    function = {"Fn::Sub": "${Prefix}-auto-link"}
    constants = {
        "functionName": function,
        "Qualifier": trigger["qualifier"],
        "InvocationType": "Async",
        "DataFormat": "Object",
    }
    target = {
        "Id": function,
        "Type": "acs.fc.function",
        "Endpoint": {"Fn::Sub": "acs:fc:${ALIYUN::Region}:${ALIYUN::TenantId}:functions/${Prefix}-auto-link"},
        "PushRetryStrategy": "EXPONENTIAL_DECAY_RETRY",
        "DeadLetterQueue": {"Arn": DEAD_LETTER_ARN},
        "ParamList": [
            *({"ResourceKey": key, "Form": "CONSTANT", "Value": value} for key, value in constants.items()),
            {"ResourceKey": "Body", "Form": "ORIGINAL", "Value": ""},
        ],
    }
    return {
        "EventBusName": "default",
        "RuleName": {"Fn::Sub": f"${{Prefix}}-auto-link-{trigger['triggerName']}"},
        "Description": "link-peer",
        "FilterPattern": json.loads(trigger["triggerConfig"]["eventRuleFilterPattern"]),
        "Status": "ENABLE",
        "Targets": [target],
    }


def _stream(suffix: str, queue: Any) -> dict[str, Any]:
    """A trigger that streams a queue to cross_account. `${Queue}` in the suffix of its name is the queue's name."""
    trigger = _variables(_read("request-trigger.yaml"))
    trigger["triggerConfig"]["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"]["QueueName"] = queue
    return {
        "FunctionName": {"Fn::Sub": "${Prefix}-cross-account"},
        "Qualifier": trigger["qualifier"],
        "TriggerName": {"Fn::Sub": [trigger["triggerName"] + suffix, {"Queue": queue}]}
        if suffix
        else trigger["triggerName"],
        "TriggerType": trigger["triggerType"],
        "TriggerConfig": trigger["triggerConfig"],
    }


def _variables(part: Any) -> Any:
    """A part of s.yaml with its variables as functions of ROS."""
    if isinstance(part, dict):
        return {key: _variables(value) for key, value in part.items()}
    if isinstance(part, str) and "${" in part:
        return {"Fn::Sub": re.sub(r"\$\{([^}]+)\}", lambda match: VARIABLES[match[1]], part)}
    return part


def _resource(kind: str, properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Type": kind, **more, "Properties": properties}


def _logical(kind: str, name: str) -> str:
    """An id for a resource: letters and digits."""
    return kind + "".join(part.capitalize() for part in re.split("[^a-z0-9]+", name.removeprefix("link-peer-")))


def _named(part: Any) -> Any:
    """A part of a file with its placeholders as functions of ROS."""
    if isinstance(part, dict):
        if any("${" in key for key in part):
            # No function may stand in a key. jq parses the text that Fn::Sub returns.
            return {"Fn::Jq": ["First", ".", {"Fn::Sub": Template(json.dumps(part)).substitute(NAMES)}]}
        return {key: _named(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_named(item) for item in part]
    if isinstance(part, str) and "${" in part and part not in LISTS:
        return {"Fn::Sub": Template(part).substitute(NAMES)}
    return part


def _read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
