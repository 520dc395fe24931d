"""Conversion between the ECS SDK's models and our values. No calls are made here."""

from __future__ import annotations

import re
from typing import Any

from link_peer.domain.errors import Ambiguous
from link_peer.domain.model import ALL, PRIORITY, Group, Instance, Party, Port, Rule, RuleKey, Traffic

_HOST_CIDR = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}/32", re.ASCII)


def models() -> Any:
    """The SDK's models, imported when first used."""
    from alibabacloud_ecs20140526 import models as found

    return found


def present(body: Any, name: str) -> Any:
    """A field that every response of the call has, such as its list. Raises Ambiguous without it.

    The SDK turns a 200 of the wrong shape into an empty model, without an error. If that counted as an empty page, an
    outage would look as if everything had been deleted.
    """
    value = getattr(body, name, None)
    if value is None:
        raise Ambiguous(f"the response has no {name}")
    return value


def items(holder: Any, name: str) -> list[Any]:
    """The list `holder.name`, such as `instances.instance`. In SDK models either level is None if it is missing."""
    return list(getattr(holder, name, None) or [])


def instance(account: str, item: Any) -> Instance:
    """An instance of DescribeInstances."""
    vpc = item.vpc_attributes
    ips = items(getattr(vpc, "private_ip_address", None), "ip_address")
    return Instance(
        party=Party(account, item.instance_id),
        vpc=getattr(vpc, "vpc_id", None) or "",
        groups=tuple(items(item.security_group_ids, "security_group_id")),
        ip=ips[0] if ips else "",
        tags=_tags(item),
        classic=item.instance_network_type == "classic",
        name=item.instance_name or "",
    )


def group(account: str, item: Any) -> Group:
    """A group of DescribeSecurityGroups."""
    return Group(
        party=Party(account, item.security_group_id),
        vpc=item.vpc_id or "",
        advanced=item.security_group_type == "enterprise",
        managed=bool(item.service_managed),
        tags=_tags(item),
        group_rules=int(item.group_to_group_rule_count or 0),
        rule_count=-1 if item.rule_count is None else int(item.rule_count),
        name=item.security_group_name or "",
    )


def rule(party: Party, item: Any) -> Rule:
    """A rule of DescribeSecurityGroupAttribute."""
    key = _key(party, item)
    traffic = None if key else _traffic(party, item)
    ipv6 = bool(item.ipv_6source_cidr_ip or item.ipv_6dest_cidr_ip)
    return Rule(
        group=party,
        id=item.security_group_rule_id or "",
        key=key,
        policy=(item.policy or "").lower(),
        priority=int(item.priority or 1),
        description=item.description or "",
        created=item.create_time or "",
        unmanaged_traffic=None if ipv6 else traffic,
        ipv6=traffic if ipv6 else None,
    )


def permission(party: Party, key: RuleKey, description: str, *, egress: bool = False, advanced: bool = False) -> Any:
    """The parameters of a rule on a group. Every rule that link-peer writes passes here: its source is one group or one
    /32; of an `egress` rule, its destination one /32. Raises ValueError for any other.

    On an `advanced` group the policy is not sent: accept is the default, and by one text of the documentation it may
    not be set there [doc AuthorizeSecurityGroupEgress, InvalidGroupParameter.OperationDenied].
    """
    fields: dict[str, Any] = {
        "priority": str(PRIORITY),
        "nic_type": "intranet",
        "ip_protocol": key.port.protocol.upper(),
        "port_range": key.port.range,
        "description": description,
    }
    if key.group != party:
        raise ValueError(f"refusing to write a rule of {key.group} on {party}")
    if not (egress or advanced):
        fields["policy"] = "accept"
    if key.is_egress != egress or (egress and (not _HOST_CIDR.fullmatch(key.dest) or key.port == ALL)):
        raise ValueError(f"refusing to write a rule of {key.direction} to {key.dest!r}: not one /32")
    if egress:
        return models().AuthorizeSecurityGroupEgressRequestPermissions(dest_cidr_ip=key.dest, **fields)
    if _HOST_CIDR.fullmatch(key.source) and _HOST_CIDR.fullmatch(key.dest):
        fields |= {"source_cidr_ip": key.source, "dest_cidr_ip": key.dest}
    elif _HOST_CIDR.fullmatch(key.source) and not key.dest and key.port != ALL:
        fields["source_cidr_ip"] = key.source
    elif key.source.startswith("sg-") and not key.dest:
        source, _, owner = key.source.partition("@")
        fields["source_group_id"] = source
        if owner != party.account:
            fields["source_group_owner_id"] = int(owner)
    else:
        raise ValueError(f"refusing to write a rule from {key.source!r} to {key.dest!r}: not one group or one /32")
    return models().AuthorizeSecurityGroupRequestPermissions(**fields)


def addresses(interface: Any) -> list[str]:
    """The private IPv4 addresses of a network interface: the first, and the others."""
    secondary = interface.private_ip_sets.private_ip_set if interface.private_ip_sets else None
    return [interface.private_ip_address or "", *(address.private_ip_address or "" for address in secondary or ())]


def _key(party: Party, item: Any) -> RuleKey | None:
    """The rule's identity, or None for a rule of a kind that we never write."""
    foreign = (
        item.ipv_6source_cidr_ip,
        item.ipv_6dest_cidr_ip,
        item.source_prefix_list_id,
        item.dest_prefix_list_id,
        item.dest_group_id,
        item.port_range_list_id,
    )
    if any(foreign) or (item.source_port_range or "-1/-1") != "-1/-1":
        return None
    port = _port(item)
    source = _source_group(party, item) or _host(item.source_cidr_ip)
    dest = _host(item.dest_cidr_ip)
    if port is None or (item.dest_cidr_ip and not dest):
        return None
    if _is_egress(item):
        return RuleKey(party, "", dest, port) if dest and not (source or item.source_cidr_ip) else None
    return RuleKey(party, source, dest, port) if source else None


def _traffic(party: Party, item: Any) -> Traffic:
    """What a rule applies to that has no identity as ours."""
    source, dest = item.ipv_6source_cidr_ip, item.ipv_6dest_cidr_ip
    if _is_egress(item):
        direction, own_range, prefix_list = "egress", _cidr(item.source_cidr_ip) or source, item.dest_prefix_list_id
        group, peer = _group(item.dest_group_id, item.dest_group_owner_account, party), _cidr(item.dest_cidr_ip) or dest
    else:
        direction, own_range, prefix_list = "ingress", _cidr(item.dest_cidr_ip) or dest, item.source_prefix_list_id
        group, peer = _source_group(party, item), _cidr(item.source_cidr_ip) or source
    source_ports = (
        None if (any_port := (item.source_port_range or "-1/-1") == "-1/-1") else _range(item.source_port_range)
    )
    port = _port(item) if any_port or source_ports else None
    return Traffic(direction, group or peer or "", own_range or "", port, source_ports, prefix_list or "")


def _is_egress(item: Any) -> bool:
    return (item.direction or "").lower() == "egress"


def _source_group(party: Party, item: Any) -> str:
    return _group(item.source_group_id, item.source_group_owner_account, party)


def _group(group: str | None, owner: str | None, party: Party) -> str:
    """`sg-…@<uid>`: the API returns the owner as a uid, and nothing for a group of the same account [doc 2016-09-23
    notice]."""
    return f"{group}@{owner or party.account}" if group else ""


def _port(item: Any) -> Port | None:
    """The rule's protocol and ports; None for a port list."""
    ports = _range(item.port_range)
    return Port((item.ip_protocol or "").lower(), *ports) if ports else None


def _range(ports: str | None) -> tuple[int, int] | None:
    """`low/high` as numbers; None for any other text."""
    try:
        low, high = (int(end) for end in (ports or "").split("/"))
    except ValueError:
        return None
    return low, high


def _cidr(addresses: str | None) -> str:
    """Addresses as a CIDR; the API returns a single one with or without the mask."""
    return f"{addresses}/32" if addresses and "/" not in addresses else addresses or ""


def _host(cidr: str | None) -> str:
    """A single address as a /32, which the API returns with or without the mask; empty for a wider range."""
    address, _, length = (cidr or "").partition("/")
    return f"{address}/32" if address and length in ("", "32") else ""


def _tags(item: Any) -> dict[str, str]:
    return {tag.tag_key: tag.tag_value or "" for tag in items(item.tags, "tag") if tag.tag_key}
