"""The schema of the policy file: the accounts, what consents besides tags, and what is never opened.

Roles and external ids come from this file alone, so it is read strictly: a file that does not match the schema is a
PolicyError that gives the file, the line and what to do, and the function does not start.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from link_peer.domain.errors import BadInput, PolicyError
from link_peer.domain.model import Ports, ports_text
from link_peer.domain.policy import AccountPolicy, Allow, Limits, Policy
from link_peer.domain.tags import Who, is_account_uid, parse_port, parse_who, quoted, unique_ports
from link_peer.inbound.yaml_reader import YamlReader

if TYPE_CHECKING:
    from yaml.nodes import Node

MAX_BYTES = 256 * 1024

_DEPLOYMENT = re.compile(r"[a-z0-9-]{1,32}")
_ROLE = re.compile(r"acs:ram::([0-9]{15,20}):role/[A-Za-z0-9._-]{1,64}")
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)  # [doc AssumeRole]
_ONE_HOME = "exactly one account, the home account, must have no role"


def load(path: str | Path) -> Policy:
    """The policy in a file. Raises PolicyError if it does not match the schema, OSError if it cannot be read."""
    path = Path(path)
    raw = path.read_bytes()
    try:
        return parse(raw.decode("utf-8"), path.name)
    except UnicodeDecodeError as error:
        raise PolicyError(
            f"{path.name}:{raw[: error.start].count(10) + 1}: not UTF-8: save the file as UTF-8"
        ) from None


def parse(text: str, name: str = "policy.yaml") -> Policy:
    """The policy in a text; `name` is the file's name in errors. Raises PolicyError."""
    read = YamlReader(name)
    if len(text) > MAX_BYTES:
        read.fail_line(0, f"longer than {MAX_BYTES // 1024} KB: split the deployment")
    document = read.document(text)
    if document is None:
        read.fail_line(0, "the file is empty: add `deployment` and `accounts`")
    top = read.mapping(
        document,
        "",
        required=("deployment", "accounts"),
        optional=("accept_tags", "allow", "deny", "limits", "paused"),
    )
    deployment = read.text(top["deployment"], "deployment")
    if not _DEPLOYMENT.fullmatch(deployment):
        read.fail(top["deployment"], "deployment", "must be 1 to 32 characters of a-z, 0-9 and hyphen")
    accounts = _accounts(read, top["accounts"])
    return Policy(
        deployment,
        accounts,
        read.boolean(top["accept_tags"], "accept_tags") if "accept_tags" in top else True,
        _allow(read, top["allow"], accounts) if "allow" in top else (),
        _deny(read, top["deny"]) if "deny" in top else (),
        _limits(read, top["limits"]) if "limits" in top else Limits(),
        read.boolean(top["paused"], "paused") if "paused" in top else False,
    )


def _accounts(read: YamlReader, node: Node) -> dict[str, AccountPolicy]:
    accounts: dict[str, AccountPolicy] = {}
    home = ""
    for key, value in read.pairs(node, "accounts"):
        uid = read.text(key, f"accounts[{quoted(key.value)}]")
        if not is_account_uid(uid):
            read.fail(key, "accounts", f"{quoted(uid)} is not an account uid: 15 to 20 digits, in quotes")
        at = f"accounts.{uid}"
        accounts[uid] = _account(read, value, at, uid)
        if accounts[uid].role is None:
            if home:
                read.fail(key, at, f"has no role, and neither has {home}: {_ONE_HOME}")
            home = uid
    if not home:
        read.fail(node, "accounts", f"{_ONE_HOME}: add the function's own account")
    return accounts


def _account(read: YamlReader, node: Node, at: str, uid: str) -> AccountPolicy:
    parts = read.mapping(node, at, optional=("name", "role", "external_id"))
    name = read.text(parts["name"], f"{at}.name") if "name" in parts else uid
    if not name.isprintable() or not 1 <= len(name) <= 128:
        read.fail(parts["name"], f"{at}.name", "must be 1 to 128 printable characters")
    if "role" not in parts:
        if "external_id" in parts:
            read.fail(parts["external_id"], f"{at}.external_id", "is only for a role: add `role`, or remove it")
        return AccountPolicy(name)
    role = read.text(parts["role"], f"{at}.role")
    match = _ROLE.fullmatch(role)
    if match is None or match[1] != uid:
        read.fail(parts["role"], f"{at}.role", f"{quoted(role)} is not acs:ram::{uid}:role/<name>")
    if "external_id" not in parts:
        read.fail(node, at, "a role needs an external_id: add the one in the role's trust policy")
    external_id = read.text(parts["external_id"], f"{at}.external_id")
    if not _EXTERNAL_ID.fullmatch(external_id):  # not repeated in the message, which may be logged: it is a secret
        read.fail(
            parts["external_id"], f"{at}.external_id", "must be 2 to 1224 characters of A-Z a-z 0-9 _ + = , . @ : / -"
        )
    return AccountPolicy(name, role, external_id)


def _allow(read: YamlReader, node: Node, accounts: dict[str, AccountPolicy]) -> tuple[Allow, ...]:
    allow: list[Allow] = []
    for number, item in enumerate(read.sequence(node, "allow")):
        at = f"allow[{number}]"
        parts = read.mapping(item, at, required=("from", "to"), optional=("ports",))
        source, target = (_who(read, parts[end], f"{at}.{end}", accounts) for end in ("from", "to"))
        ports = _ports(read, parts["ports"], f"{at}.ports") if "ports" in parts else ()
        if "ports" in parts and not ports:
            read.fail(parts["ports"], f"{at}.ports", "empty: list the ports, or leave `ports` out to allow everything")
        text = f"allow={source.id}@{source.account}->{target.id}@{target.account}"
        allow.append(Allow(source, target, ports, f"{text}:{ports_text(ports)}" if ports else text))
    return tuple(allow)


def _who(read: YamlReader, node: Node, at: str, accounts: dict[str, AccountPolicy]) -> Who:
    try:
        who = parse_who(read.text(node, at), None)
    except BadInput as error:
        read.fail(node, at, error.problem)
    if who.account not in accounts:
        read.fail(node, at, f"account {who.account} is not listed: add it under accounts")
    return who


def _deny(read: YamlReader, node: Node) -> Ports:
    parts = read.mapping(node, "deny", required=("ports",))
    return _ports(read, parts["ports"], "deny.ports")


def _ports(read: YamlReader, node: Node, at: str) -> Ports:
    ports = []
    for number, item in enumerate(read.sequence(node, at)):
        try:
            ports.append(parse_port(read.text(item, f"{at}[{number}]")))
        except BadInput as error:
            read.fail(item, f"{at}[{number}]", error.problem)
    return unique_ports(ports)


def _limits(read: YamlReader, node: Node) -> Limits:
    lowest = {"removals_per_run": 0, "max_ports": 1, "max_port_span": 1}
    parts = read.mapping(node, "limits", optional=tuple(lowest))
    return Limits(**{key: read.integer(value, f"limits.{key}", lowest[key]) for key, value in parts.items()})
