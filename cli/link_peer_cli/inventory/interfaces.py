"""The network interfaces of an account, as far as security groups concern them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from link_peer.alicloud import ecs_shapes as shapes
from link_peer.domain.model import Party
from link_peer.runtime.clock import Clock
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials, Settings

from link_peer_cli.access.ecs import PersonalEcs

PAGE = 500  # [doc DescribeNetworkInterfaces: MaxResults <= 500]


class Interface(msgspec.Struct, frozen=True):
    """A network interface as DescribeNetworkInterfaces returns it."""

    account: str
    id: str
    groups: frozenset[Party]
    instance: Party | None  # None where it belongs to no ECS instance, such as one of a container group of ECI
    primary: bool  # the one that the instance was created with
    in_use: bool
    ipv6: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()  # its private IPv4 addresses
    vpc: str = ""


def read_interfaces(
    settings: Settings, account: str, keys: Callable[[], Credentials], clock: Clock, retry: Retry, calls: Counter[str]
) -> list[Interface]:
    """Every interface of an account: one call for 500. Raises LinkPeerError if they cannot be read."""
    ecs = PersonalEcs(settings, keys(), clock)
    interfaces: list[Interface] = []
    token = ""
    while True:

        def page(token: str = token) -> Any:
            calls["DescribeNetworkInterfaces"] += 1
            body = ecs.ask("describe_network_interfaces", max_results=PAGE, next_token=token or None)
            shapes.present(body, "network_interface_sets")
            return body

        body = retry(page)
        interfaces += [
            _shaped(account, row) for row in shapes.items(body.network_interface_sets, "network_interface_set")
        ]
        token = body.next_token or ""
        if not token:
            return interfaces


def _shaped(account: str, row: Any) -> Interface:
    owner = row.instance_id or ""
    addresses = shapes.items(row.ipv_6sets, "ipv_6set")
    return Interface(
        account=account,
        id=row.network_interface_id or "",
        groups=frozenset(
            Party(account, group_id) for group_id in shapes.items(row.security_group_ids, "security_group_id")
        ),
        instance=Party(account, owner) if owner.startswith("i-") else None,
        primary=row.type == "Primary",
        in_use=row.status == "InUse",
        ipv6=tuple(str(address.ipv_6address) for address in addresses if address.ipv_6address),
        addresses=tuple(filter(None, shapes.addresses(row))),
        vpc=row.vpc_id or "",
    )
