"""Events of ActionTrail as values: who changed which rules of which groups. Pure.

An event's `requestParameters` are the parameters of the call as on the wire: `Permissions.1.SourceGroupId`,
`SecurityGroupRuleId.1`, `Tag.1.Key` [doc-detail 28819].
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.model import PRIORITY, Party, Port, RuleKey
from link_peer.domain.tags import parse_instant

TAG_CALLS = ("TagResources", "UntagResources")
"""These also change other resources than groups."""

_HOST = re.compile(r"[0-9.]{7,15}(/32)?", re.ASCII)
_RANGE = re.compile(r"(-?[0-9]{1,5})/(-?[0-9]{1,5})", re.ASCII)
_GROUP = re.compile(r"sg-[0-9a-zA-Z]{1,60}", re.ASCII)


class Event(msgspec.Struct, frozen=True):
    """One call in an account that changed security groups, or was refused (`error` is then the code).

    `who` is the caller as ActionTrail names it: `<role>:<session>` of an assumed role, whose name in small letters is `role`.
    `rule_ids`, `keys` and `descriptions` are those that the call named. `keys` are rules of the kind that link-peer writes.
    `tags` are the keys of tags.
    """

    account: str
    time: float
    name: str
    request_id: str
    who: str
    role: str
    address: str
    error: str
    groups: tuple[str, ...]
    rule_ids: tuple[str, ...] = ()
    keys: tuple[RuleKey, ...] = ()
    descriptions: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def parties(self) -> tuple[Party, ...]:
        """The groups, with their account."""
        return tuple(Party(self.account, group) for group in self.groups)

    @property
    def done(self) -> bool:
        """Whether the call was carried out."""
        return not self.error


def event_of(account: str, raw: Mapping[str, Any], region: str) -> Event | None:
    """Return an event about security groups of a region; None for others, such as the tags of an instance.

    Raises LinkPeerError for one without a time, or that changed the rules of a group which it does not name: what cannot be
    read must not pass for nothing.
    """
    if str(raw.get("acsRegion") or region) != region:
        return None
    name = str(raw.get("eventName") or "")
    try:
        params = dict(_flat("", raw.get("requestParameters") or {}))
    except RecursionError:
        params = {}
    groups = _groups(params)
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
    who = str(identity.get("userName") or identity.get("principalId") or "unknown")
    return Event(
        account=account,
        time=time,
        name=name,
        request_id=str(raw.get("requestId") or ""),
        who=who if kind == "assumed-role" else f"{kind} {who}".strip(),
        role=who.partition(":")[0].lower() if kind == "assumed-role" else "",
        address=str(raw.get("sourceIpAddress") or ""),
        error=str(raw.get("errorCode") or ""),
        groups=groups,
        rule_ids=_values(params, r"SecurityGroupRuleId(\.[0-9]+)?"),
        keys=tuple(_keys(account, groups[0], params))
        if name in ("AuthorizeSecurityGroup", "RevokeSecurityGroup")
        else (),
        descriptions=_values(params, r"(Permissions\.[0-9]+\.)?Description"),
        tags=_values(params, r"Tag\.[0-9]+\.Key|TagKey\.[0-9]+"),
    )


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


def _groups(params: Mapping[str, str]) -> tuple[str, ...]:
    found = _values(params, r"SecurityGroupId|ResourceId(\.[0-9]+)?")
    return tuple(one for one in found if _GROUP.fullmatch(one))


def _values(params: Mapping[str, str], names: str) -> tuple[str, ...]:
    """The values of the parameters whose names match."""
    return tuple(dict.fromkeys(value for name, value in params.items() if re.fullmatch(names, name) and value))


def _keys(account: str, group: str, params: Mapping[str, str]) -> Iterator[RuleKey]:
    """The rules that a call names by their fields, if they are of the kind that link-peer writes: accepted, at our
    priority."""
    numbers = sorted({name.split(".")[1] for name in params if re.fullmatch(r"Permissions\.[0-9]+\..*", name)})
    for prefix in [f"Permissions.{number}." for number in numbers] or [""]:
        fields = {name[len(prefix) :]: value for name, value in params.items() if name.startswith(prefix)}
        source = _source(account, fields)
        ports = _RANGE.fullmatch(fields.get("PortRange", ""))
        ours = fields.get("Policy", "accept").lower() == "accept" and fields.get("Priority", "1") == str(PRIORITY)
        if source and ports and ours:
            port = Port(fields.get("IpProtocol", "").lower(), int(ports[1]), int(ports[2]))
            yield RuleKey(Party(account, group), source, _host(fields.get("DestCidrIp", "")), port)


def _source(account: str, fields: Mapping[str, str]) -> str:
    if group := fields.get("SourceGroupId"):
        return f"{group}@{fields.get('SourceGroupOwnerId') or account}"
    return _host(fields.get("SourceCidrIp", ""))


def _host(address: str) -> str:
    """A single address with its mask; empty for a wider range."""
    return f"{address.removesuffix('/32')}/32" if _HOST.fullmatch(address) else ""
