"""Events of ActionTrail as values: who changed which rules of which groups. Pure.

An event's `requestParameters` are the parameters of the call as on the wire: `Permissions.1.SourceGroupId`,
`SecurityGroupRuleId.1`, `Tag.1.Key` [doc-detail 28819]; of the Tag service `ResourceARN.1`, `Tags` as JSON, `TagKey.1`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.model import PRIORITY, Party, Port, RuleKey
from link_peer.domain.tags import parse_instant

TAG_CALLS = ("TagResources", "UntagResources", "AddTags", "RemoveTags")
"""These also change other resources than groups. The first two are calls of ECS and of the Tag service."""
AUTHORIZING = frozenset({"AuthorizeSecurityGroup", "AuthorizeSecurityGroupEgress"})
REVOKING = frozenset({"RevokeSecurityGroup", "RevokeSecurityGroupEgress"})
MODIFYING = frozenset({"ModifySecurityGroupRule", "ModifySecurityGroupEgressRule"})
EVERY_TAG = "*"
"""In place of a key: all tags of the group were taken off."""

_HOST = re.compile(r"[0-9.]{7,15}(/32)?", re.ASCII)
_RANGE = re.compile(r"(-?[0-9]{1,5})/(-?[0-9]{1,5})", re.ASCII)
_GROUP = re.compile(r"sg-[0-9a-zA-Z]{1,60}", re.ASCII)
_OTHER_TRAFFIC = re.compile(r"Ipv6.*|.*PrefixListId|PortRangeListId", re.ASCII)
_OF_RULE = re.compile(r"Source.*|Dest.*|Ipv6.*|PortRange.*|IpProtocol|Policy|NicType", re.ASCII)


class TrailWrite(msgspec.Struct, frozen=True):
    """A rule that a call opened, or whose description it changed. `key` is None where it is of no kind that link-peer
    writes, and of a changed one."""

    key: RuleKey | None
    description: str


class Event(msgspec.Struct, frozen=True):
    """One call in an account that changed security groups, or was refused."""

    account: str
    time: float
    name: str
    request_id: str
    caller: str  # as ActionTrail names it: `<role>:<session>` of an assumed role
    role: str  # the name of that role, in small letters
    address: str
    error: str  # the code of a refusal
    groups: tuple[str, ...]
    rule_ids: tuple[str, ...] = ()  # the rules that the call named
    writes: tuple[TrailWrite, ...] = ()  # the rules that it wrote
    widened: bool = False  # it changed more of a rule than its description
    tags: tuple[tuple[str, str | None], ...] = ()  # those that it set, with their values; None: taken off

    @property
    def keys(self) -> tuple[RuleKey, ...]:
        """The rules that it names by their fields, of those that link-peer writes."""
        return tuple(write.key for write in self.writes if write.key)

    @property
    def parties(self) -> tuple[Party, ...]:
        """The groups, with their account."""
        return tuple(Party(self.account, group) for group in self.groups)

    @property
    def succeeded(self) -> bool:
        """Whether the call was carried out."""
        return not self.error


def event_of(account: str, raw: Mapping[str, Any], region: str) -> Event | None:
    """Return an event about security groups of a region; None for others, such as the tags of an instance.

    Raises LinkPeerError for one without a time, or that changed the rules of a group which it does not name: what
    cannot be read must not pass for nothing.
    """
    if str(raw.get("acsRegion") or region) != region:
        return None
    name = str(raw.get("eventName") or "")
    try:
        raw_params = raw.get("requestParameters") or {}
        params = dict(_flat("", json.loads(raw_params) if isinstance(raw_params, str) else raw_params))
    except (ValueError, RecursionError):
        params = {}
    groups = _groups(name, params)
    if not groups and name not in TAG_CALLS and not raw.get("errorCode"):
        raise LinkPeerError(
            f"ActionTrail of account {account} has an event of {name} that names no group: {raw.get('eventId')}"
        )
    if not groups:
        return None
    try:
        time = parse_instant(str(raw.get("eventTime")))
    except BadInput:
        raise LinkPeerError(
            f"ActionTrail of account {account} has an event without a time: {raw.get('eventId')}"
        ) from None
    identity = raw.get("userIdentity")
    identity = identity if isinstance(identity, dict) else {}
    kind = str(identity.get("type") or "")
    caller = str(identity.get("userName") or identity.get("principalId") or "unknown")
    return Event(
        account=account,
        time=time,
        name=name,
        request_id=str(raw.get("requestId") or ""),
        caller=caller if kind == "assumed-role" else f"{kind} {caller}".strip(),
        role=caller.partition(":")[0].lower() if kind == "assumed-role" else "",
        address=str(raw.get("sourceIpAddress") or ""),
        error=str(raw.get("errorCode") or ""),
        groups=groups,
        rule_ids=_values(params, r"SecurityGroupRuleId(\.[0-9]+)?"),
        writes=tuple(_writes(name, account, groups[0], params)),
        widened=any(map(_OF_RULE.fullmatch, params)) or params.get("Priority", str(PRIORITY)) != str(PRIORITY),
        tags=tuple(_tags(name, params)) if name in TAG_CALLS else (),
    )


def parsed(text: str) -> object:
    """The value of a JSON text that others wrote; None for what is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Parameters by their name on the wire, from lists and objects too."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}".lstrip("."), inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value, 1):
            yield from _flat(f"{name}.{number}", inner)
    elif value is not None:
        yield name, str(value)


def _groups(name: str, params: Mapping[str, str]) -> tuple[str, ...]:
    """The groups that a call names where it takes them: a caller may add a parameter that nothing reads."""
    resources = _values(params, r"Resource(Id|ARN)(\.[0-9]+)?" if name in TAG_CALLS else "SecurityGroupId")
    return tuple(group_id for group_id in (name.rpartition("/")[2] for name in resources) if _GROUP.fullmatch(group_id))


def _tags(name: str, params: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    keys = {field: key for field, key in params.items() if re.fullmatch(r"Tag\.[0-9]+\.Key|TagKey\.[0-9]+", field)}
    if params.get("All", "").lower() == "true":
        yield EVERY_TAG, None
    for field, key in keys.items():
        yield key, None if name in ("UntagResources", "RemoveTags") else params.get(f"{field[:-3]}Value", "")
    yield from ((field[5:], value) for field, value in params.items() if field.startswith("Tags."))
    try:
        yield from _flat("", json.loads(params.get("Tags") or "{}"))
    except (ValueError, RecursionError):
        yield EVERY_TAG, None  # what cannot be read consents to nothing


def _values(params: Mapping[str, str], names: str) -> tuple[str, ...]:
    """The values of the parameters whose names match; of the JSON text of a list, its values."""
    texts = (text for name, value in params.items() if re.fullmatch(names, name) for text in (value, *_listed(value)))
    return tuple(dict.fromkeys(filter(None, texts)))


def _listed(text: str) -> list[str]:
    """The texts in the JSON text of a list. They come beside other parameters and never in place of one: the caller
    chooses the names, too."""
    items = parsed(text) if text.startswith("[") else None
    return [item for item in items if isinstance(item, str)] if isinstance(items, list) else []


def _writes(name: str, account: str, group: str, params: Mapping[str, str]) -> Iterator[TrailWrite]:
    """The rules that a call names by their fields, or describes anew."""
    egress = "Egress" in name
    prefixes = sorted({f[: f.index(".", 12) + 1] for f in params if re.match(r"Permissions\.[0-9]+\.", f)})
    for prefix in [*prefixes, *([""] if {"PortRange", "Description"} & params.keys() else [])]:
        fields = {field[len(prefix) :]: value for field, value in params.items() if field.startswith(prefix)}
        yield TrailWrite(_key(account, group, fields, egress=egress), fields.get("Description", ""))


def _key(account: str, group: str, fields: Mapping[str, str], *, egress: bool) -> RuleKey | None:
    """A rule of the kind that link-peer writes: accepted, at our priority, from one source, or out to one address."""
    sources = [""] if egress else []
    sources += (
        [f"{source}@{fields.get('SourceGroupOwnerId') or account}"] if (source := fields.get("SourceGroupId")) else []
    )
    sources += [_host(source)] if (source := fields.get("SourceCidrIp")) else []
    ports, dest = _RANGE.fullmatch(fields.get("PortRange", "")), fields.get("DestCidrIp", "")
    ours = fields.get("Policy", "accept").lower() == "accept" and fields.get("Priority", "1") == str(PRIORITY)
    wide = (dest and not _host(dest)) or any(map(_OTHER_TRAFFIC.fullmatch, fields))
    if not (ports and ours and not wide and len(sources) == 1 and (dest if egress else sources[0])):
        return None
    port = Port(fields.get("IpProtocol", "").lower(), int(ports[1]), int(ports[2]))
    return RuleKey(Party(account, group), sources[0], _host(dest), port)


def _host(address: str) -> str:
    """A single address with its mask; empty for a wider range."""
    return f"{address.removesuffix('/32')}/32" if _HOST.fullmatch(address) else ""
