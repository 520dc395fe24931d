"""What one deployment has in the cloud besides its functions, as values: the one place that says it.

`link-peer setup` makes it, `doctor` and the local worlds take it from here, and tests hold Terraform and s.yaml against
it. The documents and queries are in the files of deploy/. Another role, queue or alert of a deployment is added here.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct, yaml
from msgspec.structs import replace

from link_peer_deploy.documents import (
    READER,
    RoleFiles,
    flow_log_reading,
    home_roles,
    operator_arns,
    peer_roles,
    render,
    split,
)
from link_peer_deploy.names import Names
from link_peer_deploy.project import ROOT

Document = Mapping[str, Any]

_ROLE_FOR = "AliyunServiceRoleFor"


class LinkedRole(Struct, frozen=True):
    """A service-linked role, under each name that a document gives it: any is enough. `without` says what happens
    without it; not `is_needed`, that no source says so."""

    names: tuple[str, ...]
    without: str
    is_needed: bool = True


LINKED_ROLES = (
    LinkedRole((f"{_ROLE_FOR}EventBridgeSendToFC",), "EventBridge invokes no function"),
    LinkedRole(  # [doc EventBridge "service-linked roles", 2026-03: both; CreateServiceLinkedRoleForProduct, 2025-12: the second]
        (f"{_ROLE_FOR}EventBridgeSendToMNS", f"{_ROLE_FOR}EventBridgeSourceMNS"),
        "no message of a queue reaches a function: no request is carried out, and no account is swept",
    ),
    LinkedRole(  # events of ECS come by way of CloudMonitor
        (f"{_ROLE_FOR}EventBridgeSourceCMS",), "no event of an instance arrives: its links wait for the next full sweep"
    ),
    LinkedRole(
        (f"{_ROLE_FOR}EventBridgeSourceActionTrail",),
        "no event of a tag arrives: changes of tags and groups wait for the next full sweep",
    ),
    LinkedRole(  # by which Function Compute makes rules and streams [doc RAM, 2025-06]; who makes it is not documented
        (f"{_ROLE_FOR}FCTriggerEventBridge",),
        "Function Compute may refuse the triggers on EventBridge: then make one in its console, which may make the role",
        is_needed=False,
    ),
)
"""The service-linked roles by which EventBridge has the events and delivers them [src fc3 0.1.22, but for the last]."""

EVENT_RULES: Mapping[str, Document] = {
    "instance-state": {
        "source": ["acs.ecs"],
        "type": [
            "ecs:Instance:StateChange",
            "ecs:Instance:VSwitchChanged",
            "ecs:NetworkInterface:PrivateIPAssigned",
            "ecs:NetworkInterface:PrivateIPUnassigned",
        ],
    },
    "instance-tags": {
        "source": ["acs.ecs"],
        "type": ["ecs:ActionTrail:ApiCall", "ecs:ActionTrail:ConsoleOperation"],
        "data": {
            "eventName": [
                "TagResources",
                "UntagResources",
                "AddTags",
                "RemoveTags",
                "JoinSecurityGroup",
                "LeaveSecurityGroup",
                "ModifyInstanceAttribute",
                "ModifyInstanceVpcAttribute",
                "ModifyNetworkInterfaceAttribute",
            ]
        },
    },
}
"""The rules of the default event bus that invoke auto_link, by the name of the trigger in s.yaml, with their
patterns."""

MESSAGE_SECONDS = 7 * 24 * 3600
"""How long a queue keeps a message: the longest [doc SMQ limits]."""

HIDDEN_SECONDS = 360
"""How long a message that was received is hidden: longer than any function runs, so that none is delivered twice
meanwhile. Whether EventBridge goes by it is not documented."""


class Role(Struct, frozen=True):
    """A RAM role: its trust policy, and its policies by name. A policy that is too long for RAM is in several
    documents. A trust policy without a statement is that of an operator role for which nobody is named."""

    name: str
    trust: Document
    policies: Mapping[str, Sequence[Document]]


class Logstore(Struct, frozen=True):
    """A logstore, for how many days a new one keeps a log, and its index."""

    name: str
    days: int
    index: Document


class Description(Struct, frozen=True):
    """One deployment in one region. Searches, charts and alerts are as in the files of deploy/."""

    roles: Sequence[Role]
    linked_roles: Sequence[LinkedRole]
    queues: Sequence[str]
    logstores: Sequence[Logstore]
    searches: Sequence[Mapping[str, str]]
    charts: Sequence[Mapping[str, str]]
    alerts: Sequence[Document]
    event_rules: Mapping[str, Document]


def describe(
    names: Names,
    deployment: str,
    tag_prefix: str,
    peers: Sequence[str] = (),
    bound_queues: Iterable[str] = (),
    denied_keys: Sequence[str] = (),
    operators: Iterable[str] = (),
    flowlog: str = "",
) -> Description:
    """The description of a deployment. `peers` are the ARNs of the other accounts' roles, `bound_queues` the queues of
    single accounts, `denied_keys` those of tags that no role may write besides, `operators` the ARNs of the users and
    roles that may operate, `flowlog` home's own in the policy."""
    roles = roles_of(names, deployment, tag_prefix, peers, denied_keys, sorted(operators))
    return Description(
        roles=with_flow_log(roles, names.home, flowlog),
        linked_roles=LINKED_ROLES,
        queues=queues_of(names, bound_queues),
        logstores=logstores(names),
        searches=_file("searches.yaml"),
        charts=[{**chart, "query": _filled(chart["query"], names)} for chart in _file("dashboard.yaml")],
        alerts=_file("alerts.yaml"),
        event_rules=EVENT_RULES,
    )


def roles_of(
    names: Names,
    deployment: str,
    tag_prefix: str,
    peers: Sequence[str],
    denied_keys: Sequence[str] = (),
    operators: Sequence[str] = (),
) -> list[Role]:
    """The roles of a deployment in home. Arguments as for `describe`."""
    values = _values(names, deployment, tag_prefix)
    return [
        _role(files, values, peers, denied_keys=denied_keys, operators=operators) for files in home_roles(names.prefix)
    ]


def queues_of(names: Names, bound_queues: Iterable[str]) -> list[str]:
    """The queues of a deployment."""
    return [*names.queues, *sorted(bound_queues)]


def _filled(query: str, names: Names) -> str:
    """A query with the names of its logstores."""
    return query.replace("{functions}", names.audit_logstore).replace("{operators}", names.operator_logstore)


def logstores(names: Names) -> list[Logstore]:
    """Those of the audit records, of people's own, and of the functions' output."""
    return [
        Logstore(names.audit_logstore, 365, _file("sls-index.json")),
        Logstore(names.operator_logstore, 365, _file("sls-index.json")),
        Logstore(names.function_logstore, 30, _file("sls-index-functions.json")),
    ]


def describe_peer(
    names: Names,
    deployment: str,
    tag_prefix: str,
    *,
    account: str,
    role: str,
    external_id: str,
    closers: Sequence[str] | None = None,
    denied_keys: Sequence[str] = (),
) -> list[Role]:
    """The roles in another account. `role` is the name that the policy file gives the first of them. `closers` are the
    ARNs that may assume the last, by which people close there: None for home's operators, and without any there is no
    such role. `denied_keys` as for `describe`."""
    values = {**_values(names, deployment, tag_prefix), "PEER_ACCOUNT": account, "EXTERNAL_ID": external_id}
    closer_arns = operator_arns(names) if closers is None else closers
    return [
        _role(files, values, closers=closer_arns, denied_keys=denied_keys)
        for files in peer_roles(role, closer=bool(closer_arns))
    ]


def with_flow_log(roles: Sequence[Role], account: str, flowlog: str) -> list[Role]:
    """The roles of an account, of which people's reader may read its `flowlog` in the policy, if it has one."""
    reading = flow_log_reading(account, flowlog)

    def policy(name: str, documents: Sequence[Document]) -> Sequence[Document]:
        return (
            split({**documents[0], "Statement": [*(s for d in documents for s in d["Statement"]), *reading]})
            if name.endswith(READER)
            else documents
        )

    return [
        replace(role, policies={name: policy(name, documents) for name, documents in role.policies.items()})
        for role in roles
    ]


def _values(names: Names, deployment: str, tag_prefix: str) -> dict[str, str]:
    return {
        "LINK_PEER_PREFIX": names.prefix,
        "LINK_PEER_TAG_PREFIX": tag_prefix,
        "HOME_ACCOUNT": names.home,
        "DEPLOYMENT": deployment,
    }


def _role(
    files: RoleFiles,
    values: Mapping[str, str],
    peers: Sequence[str] = (),
    closers: Sequence[str] = (),
    denied_keys: Sequence[str] = (),
    operators: Sequence[str] = (),
) -> Role:
    policies = {
        name: split(render(file, values, peers, denied_keys=denied_keys)) for name, file in files.policies.items()
    }
    return Role(files.name, render(files.trust, values, closers=closers, operators=operators), policies)


@functools.cache
def _file(name: str) -> Any:
    """The contents of a file of deploy/, which nobody changes."""
    text = (ROOT / "deploy" / name).read_text(encoding="utf-8")
    return json.loads(text) if name.endswith(".json") else yaml.decode(text)
