"""The RAM documents of deploy/: which roles a deployment has, and their trust policies and policies with names filled
in.

`setup`, `account add`, the local worlds and the tests all render the shipped files here, so that what is tried on the
local cloud is what the real cloud gets.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import Any

from msgspec import Struct

from link_peer_deploy.names import Names
from link_peer_deploy.project import ROOT

PRINCIPAL = r"acs:ram::[0-9]{15,20}:(role|user)/[A-Za-z0-9._@-]{1,128}"
"""A principal of a trust policy that is one user or role: a whole account, `…:root`, lets in every user of it who may
assume roles."""
READER = "-reader"
"""What follows a peer role's name in the name of the role that can only read there."""
CLOSER = "-closer"
"""What follows it in the name of the role by which people lock groups there, and remove rules."""

TAGGING = ["ecs:TagResources", "ecs:UntagResources"]
"""The calls that change tags, as the documents name them."""

MAX_POLICY = 6144
"""Characters of a policy document [doc RAM limits]."""

REQUEST_TAG = "acs:RequestTag/"
"""How the condition key begins that a call has for each key that it tags [doc RAM "condition keys"]."""

_PLAIN = re.compile(r"[A-Za-z0-9._:/=+,@-]+")
"""A value without the wildcards and variables of policies, which would widen a statement."""


class RoleFiles(Struct, frozen=True):
    """A role of a deployment: its name, the file of its trust policy, and its policies by name with their files."""

    name: str
    trust: str
    policies: Mapping[str, str]


def home_roles(prefix: str) -> tuple[RoleFiles, RoleFiles, RoleFiles]:
    """The roles in the account of the functions: theirs, the reader's and the operator's, who may do what a reader
    may."""
    function, reader, operator = f"{prefix}-fc", f"{prefix}{READER}", f"{prefix}-operator"
    read = {reader: "ram-operator-read.json"}
    return (
        RoleFiles(function, "ram-function-role-trust.json", {function: "ram-function-role.json"}),
        RoleFiles(reader, "ram-reader-trust.json", read),
        RoleFiles(operator, "ram-operator-trust.json", {**read, operator: "ram-operator.json"}),
    )


def peer_roles(name: str, *, closer: bool = True) -> tuple[RoleFiles, ...]:
    """The roles in any other account: that of the policy file, for functions and operators, the reader's, and the
    closer's, which the account's owner may leave out."""
    reader, last = f"{name}{READER}", f"{name}{CLOSER}"
    roles = (
        RoleFiles(name, "ram-peer-role-trust.json", {name: "ram-peer-role.json"}),
        RoleFiles(reader, "ram-peer-reader-trust.json", {reader: "ram-peer-reader.json"}),
        RoleFiles(last, "ram-peer-closer-trust.json", {last: "ram-peer-closer.json"}),
    )
    return roles if closer else roles[:2]


def operator_arns(names: Names) -> list[str]:
    """Whom a closer role trusts unless its owner names others: the operators of home."""
    return [f"acs:ram::{names.home}:role/{names.operator_role}"]


def operator_trust(principals: Iterable[str]) -> dict[str, Any]:
    """The trust policy of the operator role: these users, signed in with a second factor, and these roles, whose
    sessions need not carry it. Without any, it has no statement, and no such role can be made."""
    document = json.loads((ROOT / "deploy/ram-operator-trust.json").read_text(encoding="utf-8"))
    return _stated(_filled(document, {}, _operating(principals)))


def principals(trust: Mapping[str, Any]) -> list[str]:
    """The single users and roles that a trust policy names."""
    principal_values = [statement.get("Principal", {}).get("RAM", []) for statement in trust["Statement"]]
    listed = {arn for value in principal_values for arn in ([value] if isinstance(value, str) else value)}
    return sorted(arn for arn in listed if re.fullmatch(PRINCIPAL, arn))


def tag_denials(keys: Iterable[str]) -> list[dict[str, Any]]:
    """The statements that deny a role the tags with these keys."""
    tagging = {"Effect": "Deny", "Action": TAGGING, "Resource": ["*"]}
    return [{**tagging, "Condition": {"StringLike": {f"{REQUEST_TAG}{key}": ["*"]}}} for key in keys]


def owners_denial(keys: Iterable[str]) -> dict[str, Any]:
    """The policy for people who may tag their own groups: it denies them the tags with these keys, which decide what is
    in the policy's sets, and the calls whose keys RAM does not see."""
    document = json.loads((ROOT / "deploy/ram-deny-accept-tags.json").read_text(encoding="utf-8"))
    unseen = [statement for statement in document["Statement"] if "tag:TagResources" in statement["Action"]]
    return {**document, "Statement": [*unseen, *tag_denials(keys)]}


def flow_log_reading(account: str, place: str) -> list[dict[str, Any]]:
    """The statement that lets a reader role of an account read its flow log, `project/logstore`; none without one."""
    project, _, logstore = place.partition("/")
    resource = f"acs:log:*:{account}:project/{project}/logstore/{logstore}"
    return [{"Effect": "Allow", "Action": ["log:GetLogStoreLogs"], "Resource": [resource]}] if place else []


def render(
    name: str,
    values: Mapping[str, str],
    peers: Sequence[str] = (),
    closers: Sequence[str] = (),
    denied_keys: Sequence[str] = (),
    operators: Sequence[str] = (),
) -> dict[str, Any]:
    """A file of deploy/ with its placeholders filled in. `peers` are the ARNs of the peer accounts' roles, `closers`
    those of whom a closer role trusts; without any, home's operators. `operators` are as in `operator_trust`. What
    denies a role the tags that consent denies those with `denied_keys`, too.

    A list item that is `${PEER_ROLE_ARNS}` becomes one pattern for each of their names, in whatever account: a role of
    that name lets in whom its own trust policy names, and the functions ask for those of the policy file only. One that
    is `${PEER_READER_ARNS}` or `${PEER_CLOSER_ARNS}` becomes those of the reader or closer roles beside them; a
    statement that is left without resources or principals is dropped. Raises KeyError for a placeholder without a
    value, and ValueError for a value that has more than the characters of names and ARNs.
    """
    for value in (*values.values(), *peers, *closers, *denied_keys, *operators):
        if not _PLAIN.fullmatch(value):
            raise ValueError(f"{value!a} has characters that no name or ARN has")
    roles = sorted({f"acs:ram::*:role/{arn.partition(':role/')[2]}" for arn in peers})
    lists = {
        "${PEER_ROLE_ARNS}": roles,
        "${PEER_READER_ARNS}": [f"{role}{READER}" for role in roles],
        "${PEER_CLOSER_ARNS}": [f"{role}{CLOSER}" for role in roles],
        "${CLOSER_ARNS}": list(closers) or operator_arns(Names(values["HOME_ACCOUNT"], values["LINK_PEER_PREFIX"])),
        **_operating(operators),
    }
    document = _stated(_filled(json.loads((ROOT / "deploy" / name).read_text(encoding="utf-8")), values, lists))
    if any(
        statement["Effect"] == "Deny" and statement["Action"] == TAGGING and "Condition" in statement
        for statement in document["Statement"]
    ):
        document["Statement"] += tag_denials(denied_keys)
    return document


def compact(document: Mapping[str, Any]) -> str:
    """A document without whitespace, as it is sent."""
    return json.dumps(document, separators=(",", ":"))


def split(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statements in as few documents as hold them, in their order. One that does not fit names the rest of its
    resources in the next document; attached to one role, both allow the same."""
    parts: list[list[Any]] = [[]]
    for statement in document["Statement"]:
        resources = statement["Resource"]
        while resources:
            used = len(compact({**document, "Statement": parts[-1]})) + bool(parts[-1])  # a comma

            def size(count: int, used: int = used, statement: Any = statement, resources: Any = resources) -> int:
                return used + len(compact({**statement, "Resource": resources[:count]}))

            fitting = bisect_right(range(1, len(resources) + 1), MAX_POLICY, key=size)
            if not fitting and parts[-1]:
                parts.append([])
                continue
            part_size = fitting or 1
            parts[-1].append({**statement, "Resource": resources[:part_size]})
            resources = resources[part_size:]
    return [{**document, "Statement": part} for part in parts]


def _operating(principals: Iterable[str]) -> dict[str, list[str]]:
    arns = sorted(set(principals))
    users = [arn for arn in arns if ":user/" in arn]
    return {"${OPERATOR_USERS}": users, "${OPERATOR_ROLES}": [arn for arn in arns if arn not in users]}


def _stated(document: dict[str, Any]) -> dict[str, Any]:
    """A document without the statements that name no resource or no principal."""
    stated = [
        statement
        for statement in document["Statement"]
        if [] not in (statement.get("Resource"), statement.get("Principal", {}).get("RAM"))
    ]
    return {**document, "Statement": stated}


def _filled(part: Any, values: Mapping[str, str], lists: Mapping[str, list[str]]) -> Any:
    if isinstance(part, dict):
        return {_filled(key, values, lists): _filled(value, values, lists) for key, value in part.items()}
    if isinstance(part, list):
        items: list[Any] = []
        for item in part:
            items += lists[item] if isinstance(item, str) and item in lists else [_filled(item, values, lists)]
        return items
    return Template(part).substitute(values) if isinstance(part, str) and "$" in part else part
