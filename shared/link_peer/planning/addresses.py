"""Which addresses may stand for an instance in a /32 rule. Pure."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence

from link_peer.domain import denials
from link_peer.domain.denial import Denial

# [RFC 1918, RFC 6598] A VPC may have other ranges too, by custom range (help page 65398).
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")


def denied(party: object, ip: str, ranges: Sequence[str]) -> Denial | None:
    """Why the address cannot be a rule's source: it is not private, or lies outside the `ranges` (IPv4 CIDRs) that the
    policy gives its account, where it gives any."""
    if not _inside(ip, _PRIVATE):
        return denials.public_address(party, ip)
    if ranges and not _inside(ip, tuple(ranges)):
        return denials.address_out_of_range(party, ip, ranges)
    return None


def _inside(ip: str, ranges: tuple[str, ...]) -> bool:
    try:
        address = ipaddress.IPv4Address(ip)
    except ValueError:
        return False
    return any(address in _network(cidr) for cidr in ranges)


@functools.lru_cache(maxsize=256)
def _network(cidr: str) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(cidr)
