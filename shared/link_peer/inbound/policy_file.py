"""The policy file: which accounts there are, what consents besides tags, and what is never opened.

It is the one place where roles and external ids come from, so it is read strictly: whatever is not the form is a
PolicyError that names the file, the line and what to do, and the function does not start.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from link_peer.domain.errors import BadInput, PolicyError
from link_peer.domain.model import Ports, ports_text
from link_peer.domain.policy import AccountPolicy, Allow, Limits, Policy
from link_peer.domain.tags import Who, is_account_uid, parse_port, parse_who, quoted, unique_ports

if TYPE_CHECKING:
    from yaml.nodes import Node

MAX_BYTES = 256 * 1024
_MAX_DEPTH = 8  # the form itself needs four
_TAG = "tag:yaml.org,2002:"  # what YAML itself takes a node for: explicit tags are refused

_DEPLOYMENT = re.compile(r"[a-z0-9-]{1,32}")
_ROLE = re.compile(r"acs:ram::([0-9]{15,20}):role/[A-Za-z0-9._-]{1,64}")
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)  # [doc AssumeRole]
_INTEGER = re.compile(r"0|[1-9][0-9]{0,8}")


def load(path: str | Path) -> Policy:
    """The policy in a file. OSError where there is none."""
    path = Path(path)
    raw = path.read_bytes()
    try:
        return parse(raw.decode("utf-8"), path.name)
    except UnicodeDecodeError as error:
        raise PolicyError(
            f"{path.name}:{raw[: error.start].count(10) + 1}: not UTF-8: save the file as UTF-8"
        ) from None


def parse(text: str, name: str = "policy.yaml") -> Policy:
    """The policy in a text; `name` is the file's name in messages."""
    read = _Reader(name)
    top = read.mapping(
        read.document(text),
        "",
        required=("deployment", "accounts"),
        optional=("accept_tags", "allow", "deny", "limits", "paused"),
    )
    deployment = read.text(top["deployment"], "deployment")
    if not _DEPLOYMENT.fullmatch(deployment):
        read.fail(top["deployment"], "deployment", "1 to 32 of a-z, 0-9 and hyphen")
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


def _accounts(read: _Reader, node: Node) -> dict[str, AccountPolicy]:
    accounts: dict[str, AccountPolicy] = {}
    home = ""
    for key, value in read.pairs(node, "accounts"):
        uid = read.text(key, "accounts")
        at = f"accounts.{uid}"
        if not is_account_uid(uid):
            read.fail(key, "accounts", f"{quoted(uid)} is not an account uid: 15 to 20 digits, in quotes")
        parts = read.mapping(value, at, required=(), optional=("name", "role", "external_id"))
        account = read.text(parts["name"], f"{at}.name") if "name" in parts else uid
        if not account.isprintable() or not 1 <= len(account) <= 128:
            read.fail(parts["name"], f"{at}.name", "1 to 128 printable characters")
        if "role" not in parts:
            if "external_id" in parts:
                read.fail(parts["external_id"], f"{at}.external_id", "goes with a role: add the role or take it off")
            if home:
                read.fail(key, at, f"no role, and neither has {home}: exactly one account, home, is without a role")
            home = uid
            accounts[uid] = AccountPolicy(account)
            continue
        role = read.text(parts["role"], f"{at}.role")
        match = _ROLE.fullmatch(role)
        if match is None or match[1] != uid:
            read.fail(parts["role"], f"{at}.role", f"{quoted(role)} is not acs:ram::{uid}:role/<name>")
        if "external_id" not in parts:
            read.fail(value, at, "a role needs an external_id: add the one that its trust policy names")
        external_id = read.text(parts["external_id"], f"{at}.external_id")
        if not _EXTERNAL_ID.fullmatch(external_id):  # not repeated in the message: it is half a secret
            read.fail(parts["external_id"], f"{at}.external_id", "2 to 1224 of A-Z a-z 0-9 _ + = , . @ : / -")
        accounts[uid] = AccountPolicy(account, role, external_id)
    if not home:
        read.fail(node, "accounts", "exactly one account, home, is without a role: add the function's own account")
    return accounts


def _allow(read: _Reader, node: Node, accounts: dict[str, AccountPolicy]) -> tuple[Allow, ...]:
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


def _who(read: _Reader, node: Node, at: str, accounts: dict[str, AccountPolicy]) -> Who:
    try:
        who = parse_who(read.text(node, at), None)
    except BadInput as error:
        read.fail(node, at, error.problem)
    if who.account not in accounts:
        read.fail(node, at, f"account {who.account} is not listed: add it under accounts")
    return who


def _deny(read: _Reader, node: Node) -> Ports:
    parts = read.mapping(node, "deny", required=("ports",))
    return _ports(read, parts["ports"], "deny.ports")


def _ports(read: _Reader, node: Node, at: str) -> Ports:
    ports = []
    for number, item in enumerate(read.sequence(node, at)):
        try:
            ports.append(parse_port(read.text(item, f"{at}[{number}]")))
        except BadInput as error:
            read.fail(item, f"{at}[{number}]", error.problem)
    return unique_ports(ports)


def _limits(read: _Reader, node: Node) -> Limits:
    lowest = {"removals_per_run": 0, "max_ports": 1, "max_port_span": 1}
    parts = read.mapping(node, "limits", optional=tuple(lowest))
    return Limits(**{key: read.integer(value, f"limits.{key}", lowest[key]) for key, value in parts.items()})


class _Reader:
    """YAML nodes, read strictly. Nodes, not values: only they know their lines."""

    def __init__(self, name: str) -> None:
        self._name = name

    def fail(self, node: Node, at: str, problem: str) -> NoReturn:
        line = node.start_mark.line if node.start_mark else 0
        self._fail_line(line, f"{at}: {problem}" if at else problem)

    def _fail_line(self, line: int, problem: str) -> NoReturn:
        raise PolicyError(f"{self._name}:{line + 1}: {problem}") from None

    def document(self, text: str) -> Node:
        """The one document in a text. Anchors, aliases and tags are refused: a reviewer reads what stands there."""
        # Imported here: only the start of a function needs it, and nothing else that imports this module does.
        import yaml

        if len(text) > MAX_BYTES:
            self._fail_line(0, f"longer than {MAX_BYTES // 1024} KB: split the deployment")
        depth = documents = 0
        try:
            for event in yaml.parse(text, Loader=yaml.SafeLoader):
                line = event.start_mark.line if event.start_mark else 0
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        self._fail_line(line, "a second document: keep one")
                if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
                    self._fail_line(line, "anchors and aliases are not read: write the value out")
                if getattr(event, "tag", None) is not None:
                    self._fail_line(line, "YAML tags are not read: take the `!…` off")
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                if depth > _MAX_DEPTH:
                    self._fail_line(line, "nested too deeply")
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._fail_line(mark.line if mark else 0, f"not YAML: {error.problem or error.context}")
        except yaml.reader.ReaderError as error:
            self._fail_line(text.count("\n", 0, error.position), "a character that YAML does not permit: take it out")
        if node is None:
            self._fail_line(0, "empty: it needs `deployment` and `accounts`")
        return node

    def pairs(self, node: Node, at: str) -> list[tuple[Node, Node]]:
        """The entries of a mapping; no key twice."""
        if node.tag != _TAG + "map":
            self.fail(node, at, "must be a mapping (`key: value`)")
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key.value, str):
                self.fail(key, at, "a key must be plain text")
            if key.value in seen:
                self.fail(key, at, f"{quoted(key.value)} stands here twice: keep one")
            seen.add(key.value)
        return list(node.value)

    def mapping(
        self, node: Node, at: str, *, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()
    ) -> dict[str, Node]:
        """The values of a mapping whose keys are known."""
        parts: dict[str, Node] = {}
        for key, value in self.pairs(node, at):
            if key.value not in required + optional:
                self.fail(key, at, f"{quoted(key.value)} is not known here: {', '.join(required + optional)} are")
            parts[key.value] = value
        for name in required:
            if name not in parts:
                self.fail(node, at, f"`{name}` is missing: add it")
        return parts

    def sequence(self, node: Node, at: str) -> list[Node]:
        if node.tag != _TAG + "seq":
            self.fail(node, at, "must be a list (`[…]`)")
        return list(node.value)

    def text(self, node: Node, at: str) -> str:
        value = self._scalar(node, "str")
        if value is None:
            shown = quoted(node.value) if isinstance(node.value, str) and node.value else "this"
            self.fail(node, at, f"{shown} is not text: write text, in quotes")
        return value

    def boolean(self, node: Node, at: str) -> bool:
        value = self._scalar(node, "bool")
        if value not in ("true", "false"):  # YAML 1.1 would also read yes, on, OFF…
            self.fail(node, at, "must be true or false")
        return value == "true"

    def integer(self, node: Node, at: str, lowest: int) -> int:
        value = self._scalar(node, "int")
        # YAML 1.1 would read 010 as eight and 1:30 as ninety.
        if value is None or not _INTEGER.fullmatch(value) or int(value) < lowest:
            self.fail(node, at, f"must be a whole number, {lowest} or more, of at most nine digits")
        return int(value)

    def _scalar(self, node: Node, kind: str) -> str | None:
        """A scalar's text if YAML takes it for that kind, else None."""
        return str(node.value) if node.tag == _TAG + kind else None
