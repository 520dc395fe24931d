"""Parsing a permission: defaults, validation and normalisation of one ingress or egress rule."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from aliyun_local.core.errors import ApiError
from aliyun_local.ecs.state import Rule, block

FIELDS = frozenset(
    {
        "Policy",
        "Priority",
        "IpProtocol",
        "PortRange",
        "PortRangeListId",
        "NicType",
        "Description",
        "SourcePortRange",
        *(f"{end}{suffix}" for end in ("Source", "Dest") for suffix in ("CidrIp", "GroupId", "PrefixListId")),
        *(f"{end}GroupOwner{suffix}" for end in ("Source", "Dest") for suffix in ("Id", "Account")),
        "Ipv6SourceCidrIp",
        "Ipv6DestCidrIp",
    }
)
"""The fields of a permission; the deprecated flat form spells them without `Permissions.N.`."""

NAMES = {name.upper(): name for name in ("TCP", "UDP", "ICMP", "ICMPv6", "GRE", "ALL")}
NO_PORTS = "-1/-1"
NUMBERS = {1: "ICMP", 6: "TCP", 17: "UDP", 47: "GRE", 58: "ICMPv6"}


def ends(direction: str) -> tuple[str, str]:
    """The prefixes of the authorised object's fields and of the other end's: `Source` and `Dest`, or the reverse."""
    return ("Source", "Dest") if direction == "ingress" else ("Dest", "Source")


def parse(fields: Mapping[str, str], *, direction: str, home: str, classic: bool, names: Mapping[str, str]) -> Rule:
    """Parse a permission into a rule without id. `home` is the caller's uid, `names` maps login names to uids.

    A CIDR wins over a group, whose owner is then ignored; no owner means the caller's own account [doc SDK 7.11.8].
    """
    peer, own_end = ends(direction)
    protocol = _protocol(fields.get("IpProtocol", ""))
    cidr = _cidr4(fields, f"{peer}CidrIp")
    ipv6 = _cidr6(fields, f"Ipv6{peer}CidrIp")
    if cidr and ipv6:
        raise _both_families(peer)
    group = "" if cidr or ipv6 else fields.get(f"{peer}GroupId", "")
    if not (cidr or ipv6 or group):
        raise _no_peer(fields, peer)
    own_cidr, own_ipv6 = _cidr4(fields, f"{own_end}CidrIp"), _cidr6(fields, f"Ipv6{own_end}CidrIp")
    if own_cidr and own_ipv6:
        raise _both_families(own_end)
    if cidr and block(cidr) == block(own_cidr):
        message = "The specified SourceCidrIp should be different from the DestCidrIp."
        raise ApiError("InvalidParamter.Conflict", 400, message)
    _check_family(protocol, v4=bool(cidr or own_cidr), v6=bool(ipv6 or own_ipv6))
    return Rule(
        direction=direction,
        protocol=protocol,
        port_range=_port_range(fields, protocol),
        policy=_policy(fields.get("Policy", "accept")),
        priority=_priority(fields.get("Priority", "1")),
        nic_type=_nic_type(fields.get("NicType", ""), classic, group, peer),
        peer_group=group,
        peer_owner=_owner(fields, peer, home, names) if group else "",
        peer_cidr=cidr,
        peer_ipv6=ipv6,
        own_cidr=own_cidr,
        own_ipv6=own_ipv6,
        source_port_range=_source_ports(fields.get("SourcePortRange", ""), protocol),
        description=_description(fields),
    )


def _protocol(text: str) -> str:
    """Names in any case; numbers only in some regions, of which cn-qingdao is one [doc SDK 7.11.8]."""
    if text.upper() in NAMES:
        return NAMES[text.upper()]
    if re.fullmatch(r"\d{1,3}", text, re.ASCII) and int(text) <= 255:
        return NUMBERS.get(int(text), str(int(text)))
    raise ApiError("InvalidIpProtocol.ValueNotSupported", 400)


def _ports(text: str, name: str, protocol: str) -> str:
    match = re.fullmatch(r"(-1|\d{1,5})/(-1|\d{1,5})", text, re.ASCII)
    if not match:
        message = (
            f"The specified parameter {name} is not valid. It should be two integers less than 65535 in ?/? format."
        )
        raise ApiError("InvalidParam.PortRange", 400, message)
    low, high = int(match[1]), int(match[2])
    fits = 1 <= low <= high <= 65535 if protocol in ("TCP", "UDP") else (low, high) == (-1, -1)
    if not fits:
        message = "The specified IpProtocol does not exist or IpProtocol and PortRange do not match."
        raise ApiError("OperationDenied", 400, message)
    return f"{low}/{high}"


def _port_range(fields: Mapping[str, str], protocol: str) -> str:
    if not fields.get("PortRange"):
        if fields.get("PortRangeListId"):
            raise ApiError("InvalidPortRangeListId.NotFound", 400)
        raise ApiError("InvalidPortRange.Malformed", 400)
    return _ports(fields["PortRange"], "PortRange", protocol)


def _source_ports(text: str, protocol: str) -> str:
    """Protocols without ports read back as `-1/-1` [capture, of ALL and ICMP; inferred for GRE and ICMPv6]."""
    if not text:
        return "" if protocol in ("TCP", "UDP") else NO_PORTS
    try:
        return _ports(text, "SourcePortRange", protocol)
    except ApiError:
        raise ApiError("InvalidSourcePortRange.Malformed", 400) from None


def _cidr4(fields: Mapping[str, str], name: str) -> str:
    """A block or a bare address, which stays bare [capture]. Netmasks are refused, though Python would accept them."""
    text = fields.get(name, "")
    if not text:
        return ""
    try:
        if not re.fullmatch(r"[0-9.]+(/[0-9]{1,2})?", text):
            raise ValueError
        block = ipaddress.IPv4Network(text, strict=False)
        return str(block) if "/" in text else str(block.network_address)
    except ValueError:
        raise ApiError(f"Invalid{name}.Malformed", 400, f"The specified parameter {name} is not valid.") from None


def _cidr6(fields: Mapping[str, str], name: str) -> str:
    """`…/0` is read back as `::/0` [issue terraform-provider-alicloud 5988]."""
    text = fields.get(name, "")
    if not text:
        return ""
    try:
        if not re.fullmatch(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?", text):
            raise ValueError
        return str(ipaddress.IPv6Network(text, strict=False))
    except ValueError:
        raise ApiError(f"InvalidParam.{name}", 400, f"The specified parameter {name} is not valid.") from None


def _both_families(end: str) -> ApiError:
    message = f"The Parameters {end}CidrIp and Ipv6{end}CidrIp in Permissions cannot be set at the same time."
    return ApiError(f"InvalidParam.{end}Ip", 400, message)


def _check_family(protocol: str, *, v4: bool, v6: bool) -> None:
    if v4 and v6:
        message = "IPv6 and IPv4 addresses cannot exist at the same time."
        raise ApiError("InvalidParameter.Conflict", 400, message)
    if protocol == "ICMP" and v6:
        raise ApiError("InvalidParam.Ipv4ProtocolConflictWithIpv6Address", 400)
    if protocol == "ICMPv6" and v4:
        raise ApiError("InvalidParam.Ipv6ProtocolConflictWithIpv4Address", 400)


def _no_peer(fields: Mapping[str, str], peer: str) -> ApiError:
    if fields.get(f"{peer}PrefixListId"):  # the local cloud has no prefix lists
        return ApiError("InvalidPrefixListId.NotFound", 404)
    message = f"One of the parameters {peer}CidrIp, {peer}GroupId or {peer}PrefixListId must be specified."
    return ApiError(f"MissingParameter.{peer}", 400, message)


def _policy(text: str) -> str:
    if text.lower() not in ("accept", "drop"):
        raise ApiError("InvalidPolicy.Malformed", 400, "The specified parameter Policy is not valid.")
    return text.capitalize()


def _priority(text: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        raise ApiError("InvalidPriority.Malformed", 400)
    if not 1 <= int(text) <= 100:
        raise ApiError("InvalidPriority.ValueNotSupported", 400)
    return int(text)


def _nic_type(text: str, classic: bool, group: str, peer: str) -> str:
    """In a VPC always intranet; the default of the classic network is internet, which a group rule may not have."""
    if text not in ("", "internet", "intranet"):
        raise ApiError("InvalidNicType.ValueNotSupported", 400)
    nic_type = text or ("internet" if classic else "intranet")
    if group and nic_type != "intranet":
        message = "NicType is required or NicType expects intranet."
        raise ApiError(f"Invalid{peer}GroupId.Mismatch", 403, message)
    return nic_type if classic else "intranet"


def _owner(fields: Mapping[str, str], peer: str, home: str, names: Mapping[str, str]) -> str:
    """The owner's uid. The id parameter wins over the login name, which has been discouraged since 2016 [doc]."""
    uid = fields.get(f"{peer}GroupOwnerId", "")
    if uid:
        if not re.fullmatch(r"\d{1,20}", uid, re.ASCII):
            message = f'The specified parameter "{peer}GroupOwnerId" is not valid.'
            raise ApiError("InvalidParameter", 400, message)
        return uid
    name = fields.get(f"{peer}GroupOwnerAccount", "")
    return names.get(name, name) or home


def _description(fields: Mapping[str, str]) -> str:
    text = fields.get("Description", "")
    if len(text) > 512:
        raise ApiError("InvalidSecurityGroupDiscription.Malformed", 400)
    return text
