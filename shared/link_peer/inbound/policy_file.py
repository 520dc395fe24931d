"""The schema of the policy file: the accounts, what consents besides tags, what is never opened, and the policy's tests.

Roles and external ids come from this file alone, so it is read strictly: a file that does not match the schema is a
PolicyError that gives the file, the line and what to do, and the function does not start.

The package also carries its policy compiled (`compile_for_package`), so that a cold start need not load a YAML parser. The
compiled form holds the digest of the file that it was made from, and stands for a file with that digest alone: a policy that
was edited after packaging, or that LINK_PEER_POLICY names, is read from its own text.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from link_peer.domain.errors import BadInput, PolicyError
from link_peer.domain.model import Party, Ports, ports_text
from link_peer.domain.policy import AccountPolicy, Allow, GroupSet, Limits, Never, Pause, Policy, PolicyTest
from link_peer.domain.tags import (
    DEFAULT_TAG_PREFIX,
    SET,
    SET_KEYS,
    Who,
    compact,
    is_account_uid,
    is_name,
    is_tag_prefix,
    parse_instant,
    parse_port,
    parse_ports,
    parse_who,
    quoted,
    unique_ports,
)
from link_peer.inbound.yaml_reader import YamlReader

if TYPE_CHECKING:
    from yaml.nodes import Node

MAX_BYTES = 256 * 1024
BOUNDS = {
    "removals_per_run": (0, 100_000),
    "max_ports": (1, 100),  # each is a rule, and a call adds 100 [doc AuthorizeSecurityGroup]
    "max_port_span": (1, 65_535),
    "max_peers": (1, 1_000),
    "max_members": (1, 100),  # each is a rule at least, and a call adds 100 [doc AuthorizeSecurityGroup]
    "max_days": (1, 3_650),  # beyond, consent is without an end in all but name, and an instant need not exist
    "max_days_tags": (1, 3_650),
}
"""The lowest and the highest number of each limit."""

_DEPLOYMENT = re.compile(r"[a-z0-9-]{1,32}")
_ROLE = re.compile(r"acs:ram::([0-9]{15,20}):role/[A-Za-z0-9._-]{1,64}")
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)  # [doc AssumeRole]
_QUEUE = re.compile(r"[A-Za-z0-9-]{1,120}")  # [doc SMQ limits]
_SET_KEY = re.compile(r"[A-Za-z0-9._:/=+,@-]{1,128}")  # RAM takes it as it is, without wildcards
_ONE_HOME = "exactly one account, the home account, must have no role"


def load(path: str | Path) -> Policy:
    """The policy in a file. Raises PolicyError if it does not match the schema, OSError if it cannot be read."""
    path = Path(path)
    raw = path.read_bytes()
    if (compiled := _compiled()) is not None and compiled.digest == _digest(raw):
        return compiled.policy
    try:
        return msgspec.structs.replace(parse(raw.decode("utf-8"), path.name), digest=_digest(raw)[:16])
    except UnicodeDecodeError as error:
        raise PolicyError(
            f"{path.name}:{raw[: error.start].count(10) + 1}: not UTF-8: save the file as UTF-8"
        ) from None


class _Compiled(msgspec.Struct, frozen=True):
    """A policy, and the digest of the file that it is."""

    digest: str
    policy: Policy


COMPILED = Path(__file__).with_name("policy.compiled.json")
"""Part of the package only."""


def compile_for_package(path: str | Path) -> bytes:
    """What COMPILED contains for a policy file. Raises as `load`."""
    return msgspec.json.encode(_Compiled(_digest(Path(path).read_bytes()), load(path)))


def _compiled() -> _Compiled | None:
    try:
        return msgspec.json.decode(COMPILED.read_bytes(), type=_Compiled)
    except FileNotFoundError:
        return None


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


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
        optional=("tag_prefix", "accept_tags", "allow", "deny", "limits", "paused", "tests", "never", "sets", "names"),
    )
    deployment = read.text(top["deployment"], "deployment")
    if not _DEPLOYMENT.fullmatch(deployment):
        read.fail(top["deployment"], "deployment", "must be 1 to 32 characters of a-z, 0-9 and hyphen")
    prefix = read.text(top["tag_prefix"], "tag_prefix") if "tag_prefix" in top else ""
    if "tag_prefix" in top and not is_tag_prefix(prefix):
        read.fail(top["tag_prefix"], "tag_prefix", "must be 1 to 16 characters of a-z and 0-9, beginning with a letter")
    accounts = _accounts(read, top["accounts"])
    sets = _sets(read, top["sets"], accounts, f"{prefix or DEFAULT_TAG_PREFIX}-") if "sets" in top else {}
    guarded = _Guarded(accounts, sets)
    return Policy(
        deployment,
        accounts,
        read.boolean(top["accept_tags"], "accept_tags") if "accept_tags" in top else True,
        _allow(read, top["allow"], guarded) if "allow" in top else (),
        _deny(read, top["deny"]) if "deny" in top else (),
        _limits(read, top["limits"]) if "limits" in top else Limits(),
        Pause(read.word(top["paused"], "paused", "true", "false", "opening")) if "paused" in top else Pause.NONE,
        _tests(read, top["tests"], accounts) if "tests" in top else (),
        _never(read, top["never"], guarded) if "never" in top else (),
        sets,
        _names(read, top["names"], accounts) if "names" in top else {},
        tag_prefix=prefix,
    )


class _Guarded(msgspec.Struct, frozen=True):
    """What an end of a pair may be of: an account that is listed, or a set."""

    accounts: dict[str, AccountPolicy]
    sets: dict[str, GroupSet]


def _accounts(read: YamlReader, node: Node) -> dict[str, AccountPolicy]:
    accounts: dict[str, AccountPolicy] = {}
    home = ""
    owners: dict[str, str] = {}  # accounts by the name of their queue
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
        queue = accounts[uid].queue
        if queue and owners.setdefault(queue, uid) != uid:
            read.fail(value, f"{at}.queue", f"{queue} is already the queue of {owners[queue]}: give each its own")
    if not home:
        read.fail(node, "accounts", f"{_ONE_HOME}: add the function's own account")
    _refuse_overlap(read, node, accounts)
    return accounts


def _refuse_overlap(read: YamlReader, node: Node, accounts: dict[str, AccountPolicy]) -> None:
    """An address must tell whose it is. Networks are apart or one within the other, so that it is enough to compare each with
    the widest that reaches so far."""
    ranges = [(ipaddress.IPv4Network(one), uid) for uid, account in accounts.items() for one in account.ranges]
    widest: tuple[ipaddress.IPv4Network, str] | None = None
    for network, uid in sorted(ranges):
        if widest is None or not network.overlaps(widest[0]):
            widest = network, uid
        elif uid != widest[1]:
            both = f"{network} of {uid} and {widest[0]} of {widest[1]} overlap"
            read.fail(node, "accounts", f"{both}: an address must tell its account")


def _account(read: YamlReader, node: Node, at: str, uid: str) -> AccountPolicy:
    parts = read.mapping(node, at, optional=("name", "role", "external_id", "ranges", "queue"))
    name = read.text(parts["name"], f"{at}.name") if "name" in parts else uid
    if not name.isprintable() or not 1 <= len(name) <= 128:
        read.fail(parts["name"], f"{at}.name", "must be 1 to 128 printable characters")
    ranges = _ranges(read, parts["ranges"], f"{at}.ranges") if "ranges" in parts else ()
    queue = _queue(read, parts["queue"], f"{at}.queue") if "queue" in parts else ""
    if "role" not in parts:
        if "external_id" in parts:
            read.fail(parts["external_id"], f"{at}.external_id", "is only for a role: add `role`, or remove it")
        return AccountPolicy(name, ranges=ranges, queue=queue)
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
    return AccountPolicy(name, role, external_id, ranges, queue)


def _ranges(read: YamlReader, node: Node, at: str) -> tuple[str, ...]:
    networks: list[str] = []
    for number, item in enumerate(read.sequence(node, at)):
        text = read.text(item, f"{at}[{number}]")
        try:
            network = str(ipaddress.IPv4Network(text))
        except ValueError:
            network = ""
        # IPv4Network also reads a netmask, and an address without a prefix length.
        if not network or network != text:
            problem = f"{quoted(text)} is not an IPv4 network like 10.20.0.0/16, without host bits"
            read.fail(item, f"{at}[{number}]", problem)
        networks.append(network)
    if not networks:
        read.fail(node, at, "empty: list the networks, or leave `ranges` out to accept every private address")
    return tuple(networks)


def _queue(read: YamlReader, node: Node, at: str) -> str:
    name = read.text(node, at)
    if not _QUEUE.fullmatch(name):
        read.fail(node, at, f"{quoted(name)} is not a queue name: 1 to 120 characters of A-Z a-z 0-9 and hyphen")
    return name


def _allow(read: YamlReader, node: Node, guarded: _Guarded) -> tuple[Allow, ...]:
    allow: list[Allow] = []
    for number, item in enumerate(read.sequence(node, "allow")):
        at = f"allow[{number}]"
        parts = read.mapping(item, at, required=("from", "to"), optional=("ports", "until"))
        source, target, ports, text = _pair(read, parts, at, guarded, "allow everything")
        until = _until(read, parts["until"], f"{at}.until") if "until" in parts else None
        text += f"~{compact(until)}" if until is not None else ""
        allow.append(Allow(source, target, ports, f"allow={text}", until))
    return tuple(allow)


def _never(read: YamlReader, node: Node, guarded: _Guarded) -> tuple[Never, ...]:
    never: list[Never] = []
    for number, item in enumerate(read.sequence(node, "never")):
        at = f"never[{number}]"
        parts = read.mapping(item, at, required=("from", "to"), optional=("ports",))
        source, target, ports, text = _pair(read, parts, at, guarded, "forbid everything")
        never.append(Never(source, target, ports, f"never={text}"))
    return tuple(never)


def _pair(
    read: YamlReader, parts: dict[str, Node], at: str, guarded: _Guarded, everything: str
) -> tuple[Who, Who, Ports, str]:
    """The two ends and the ports of an entry, and how records write them. `everything` is what no ports mean."""
    source, target = (_end(read, parts[end], f"{at}.{end}", guarded) for end in ("from", "to"))
    ports = _ports(read, parts["ports"], f"{at}.ports") if "ports" in parts else ()
    if "ports" in parts and not ports:
        read.fail(parts["ports"], f"{at}.ports", f"empty: list the ports, or leave `ports` out to {everything}")
    return source, target, ports, f"{source}->{target}" + (f":{ports_text(ports)}" if ports else "")


def _end(read: YamlReader, node: Node, at: str, guarded: _Guarded) -> Who:
    """`who` with its account, or `set:<name>`."""
    text = read.text(node, at)
    if not text.startswith(SET):
        return _listed(read, node, at, text, guarded.accounts)
    if (found := guarded.sets.get(text.removeprefix(SET))) is None:
        read.fail(node, at, f"{quoted(text)} is not one of the policy's sets: add it under sets")
    return Who(found.account, text)


def _sets(read: YamlReader, node: Node, accounts: dict[str, AccountPolicy], ours: str) -> dict[str, GroupSet]:
    """Sets by name. `ours` is how the keys of the deployment's own tags begin."""
    sets: dict[str, GroupSet] = {}
    keys: set[str] = set()
    for key, value in read.pairs(node, "sets"):
        name, at = _name(read, key, "sets"), f"sets.{key.value}"
        parts = read.mapping(value, at, required=("account", "tags"))
        account, tags = read.text(parts["account"], f"{at}.account"), dict[str, str]()
        if account not in accounts:
            read.fail(
                parts["account"], f"{at}.account", f"account {quoted(account)} is not listed: add it under accounts"
            )
        for tag, text in read.pairs(parts["tags"], f"{at}.tags"):
            if not _SET_KEY.fullmatch(tag.value) or tag.value.startswith(ours):
                problem = f"is not 1 to 128 characters of A-Z a-z 0-9 . _ : / = + , @ -, beginning other than {ours}"
                read.fail(tag, f"{at}.tags", f"{quoted(tag.value)} {problem}: choose another key")
            tags[tag.value] = read.text(text, f"{at}.tags.{tag.value}")
        if not tags:
            read.fail(value, f"{at}.tags", "empty: name the tags that its groups carry")
        keys.update(tags)
        if len(keys) > SET_KEYS:
            read.fail(value, f"{at}.tags", f"more than {SET_KEYS} different keys in all sets: RAM denies each by name")
        sets[name] = GroupSet(account, tags)
    return sets


def _names(read: YamlReader, node: Node, accounts: dict[str, AccountPolicy]) -> dict[str, Party]:
    names: dict[str, Party] = {}
    for key, value in read.pairs(node, "names"):
        name, at = _name(read, key, "names"), f"names.{key.value}"
        who = _who(read, value, at, accounts)
        _one_party(read, value, at, who)
        names[name] = Party(who.account, who.id)
    return names


def _name(read: YamlReader, node: Node, at: str) -> str:
    name = read.text(node, at)
    if not is_name(name):
        problem = "must be 1 to 32 characters of a-z, 0-9 and hyphen, begin with a letter and not with sg- or i-"
        read.fail(node, at, f"{quoted(name)} {problem}, and be no protocol")
    return name


def _until(read: YamlReader, node: Node, at: str) -> int:
    try:
        return math.floor(parse_instant(read.text(node, at)))
    except BadInput as error:
        read.fail(node, at, error.problem)


def _who(read: YamlReader, node: Node, at: str, accounts: dict[str, AccountPolicy]) -> Who:
    return _listed(read, node, at, read.text(node, at), accounts)


def _listed(read: YamlReader, node: Node, at: str, text: str, accounts: dict[str, AccountPolicy]) -> Who:
    try:
        who = parse_who(text, None)
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
    parts = read.mapping(node, "limits", optional=tuple(BOUNDS))
    for days in {"max_days", "max_days_tags"} & parts.keys():
        if read.is_null(parts[days]):
            del parts[days]
    return Limits(**{key: read.integer(value, f"limits.{key}", *BOUNDS[key]) for key, value in parts.items()})


def _tests(read: YamlReader, node: Node, accounts: dict[str, AccountPolicy]) -> tuple[PolicyTest, ...]:
    tests: list[PolicyTest] = []
    for number, item in enumerate(read.sequence(node, "tests")):
        at = f"tests[{number}]"
        parts = read.mapping(item, at, required=("from",), optional=("accept", "deny"))
        source = _who(read, parts["from"], f"{at}.from", accounts)
        _one_party(read, parts["from"], f"{at}.from", source)
        accept, deny = (
            _links(read, parts[name], f"{at}.{name}", accounts) if name in parts else () for name in ("accept", "deny")
        )
        if not accept and not deny:
            read.fail(item, at, "tests nothing: list links under `accept` or `deny`")
        tests.append(PolicyTest(source, accept, deny))
    return tuple(tests)


def _links(read: YamlReader, node: Node, at: str, accounts: dict[str, AccountPolicy]) -> tuple[tuple[Who, Ports], ...]:
    """The links of a test: `sg-db@<uid>:tcp/3306`, without ports for the mutual link."""
    links: list[tuple[Who, Ports]] = []
    for number, item in enumerate(read.sequence(node, at)):
        where = f"{at}[{number}]"
        name, colon, ports = read.text(item, where).partition(":")
        who = _listed(read, item, where, name, accounts)
        _one_party(read, item, where, who)
        try:
            links.append((who, parse_ports(ports) if colon else ()))
        except BadInput as error:
            read.fail(item, where, error.problem)
    return tuple(links)


def _one_party(read: YamlReader, node: Node, at: str, who: Who) -> None:
    if who.id == "*":
        read.fail(node, at, "name one group or instance: write sg-…@<uid> or i-…@<uid>")
