"""What is in groups with links and what link-peer does not cover: IPv6, secondary interfaces, interfaces of no ECS
instance.

A link is made of IPv4 rules between groups, or between the first addresses of instances.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from link_peer.domain.errors import LinkPeerError

from link_peer_cli.access.environment import Environment
from link_peer_cli.checks.accounts import THREADS
from link_peer_cli.checks.finding import WARNING, CheckFinding, few, unreadable
from link_peer_cli.checks.seen import CloudSeen
from link_peer_cli.inventory.interfaces import Interface, read_interfaces
from link_peer_cli.review.cloud import WhatIf

DOCS = "docs/guarantees.md"


def check(env: Environment, account: str, cloud: WhatIf, view: CloudSeen) -> Iterator[CheckFinding]:
    """Reads the network interfaces of each account that has groups with links, or of one account."""

    def read(uid: str) -> list[Interface] | LinkPeerError:
        keys = functools.partial(cloud.keys, uid)
        try:
            return read_interfaces(env.settings, uid, keys, env.clock, env.patient_retry(), cloud.calls)
        except LinkPeerError as error:
            return error

    linked = {group.account for group in view.linked_groups} & view.accounts
    uids = sorted(linked & {account} if account else linked)
    with ThreadPoolExecutor(THREADS) as pool:
        for uid, answer in zip(uids, pool.map(read, uids), strict=True):
            if isinstance(answer, LinkPeerError):
                yield unreadable(uid, "network interfaces", answer)
            else:
                yield from _of(view, uid, answer)


def _of(view: CloudSeen, account: str, interfaces: Sequence[Interface]) -> Iterator[CheckFinding]:
    """At most one finding of each kind for an account, of whose interfaces this is all."""
    linked = view.linked_groups
    concerned = [interface for interface in interfaces if interface.in_use and interface.groups & linked]
    yield from _ipv6(view, account, concerned)
    yield from _secondary(view, account, interfaces)
    if foreign := [interface for interface in concerned if interface.instance is None]:
        groups = few(group for interface in foreign for group in interface.groups & linked)
        detail = (
            f"{len(foreign)} interfaces in groups with links belong to no ECS instance, such as ECI container groups and ACK "
            f"pods: {few(interface.id for interface in foreign)} in {groups}"
        )
        advice = f"rules of groups apply to them too, but their tags are not read, and no record counts them: {DOCS}"
        yield CheckFinding(WARNING, account, "not covered: interfaces of no ECS instance", detail, advice)


def _ipv6(view: CloudSeen, account: str, concerned: Iterable[Interface]) -> Iterator[CheckFinding]:
    rules = sum(
        rule.traffic is None
        for group in view.linked_groups
        if group.account == account
        for rule in view.scene.snapshot.rules.get(group, ())
    )
    addressed = [interface for interface in concerned if interface.ipv6]
    if addressed or rules:
        owners = f" ({few(interface.instance or interface.id for interface in addressed)})" if addressed else ""
        detail = (
            f"{len(addressed)} interfaces in groups with links have IPv6 addresses{owners}; "
            f"{rules} rules of these groups are for IPv6"
        )
        advice = f"links open and close IPv4 only: what passes over IPv6 is decided by people's rules: {DOCS}"
        yield CheckFinding(WARNING, account, "not covered: IPv6", detail, advice)


def _secondary(view: CloudSeen, account: str, interfaces: Iterable[Interface]) -> Iterator[CheckFinding]:
    """Interfaces of linked instances that are not in the linked groups, so that links do not reach them."""
    linked = view.linked_groups
    primary_groups = {interface.instance: interface.groups & linked for interface in interfaces if interface.primary}
    if outliers := [
        interface
        for interface in interfaces
        if not primary_groups.get(interface.instance, frozenset()) <= interface.groups
    ]:
        interface_names = few(f"{interface.id} of {interface.instance}" for interface in outliers)
        detail = f"{len(outliers)} secondary interfaces of instances with links are in other groups: {interface_names}"
        advice = (
            f"links apply only to interfaces in the linked groups: put these into them if links should apply: {DOCS}"
        )
        yield CheckFinding(WARNING, account, "not covered: secondary interfaces", detail, advice)
