"""Whether a packet from one instance reaches another: status, route, egress and ingress, checked in this order."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from msgspec import Struct

from aliyun_local.core.knobs import Knobs
from aliyun_local.ecs.state import Group, Instance, InstanceState, Rule
from aliyun_local.ecs.store import Store

EPHEMERAL_PORT = 40_000
"""The source port that is assumed, for rules that restrict it."""


class Verdict(Struct, frozen=True):
    """Whether the packet passes; `reason` names the rule, group or missing route that decides."""

    ok: bool
    reason: str


class _Packet(Struct, frozen=True):
    protocol: str
    port: int
    source: Instance
    source_groups: tuple[str, ...]
    dest: Instance
    dest_groups: tuple[str, ...]


def may_reach(
    store: Store,
    account_a: str,
    instance_a: str,
    account_b: str,
    instance_b: str,
    protocol: str,
    port: int = -1,
) -> Verdict:
    """Whether A can connect to B (tcp or udp on a port, or icmp) in the actual state, regardless of read lag."""
    with store.lock:
        now = store.clock.now()
        ends: list[tuple[Instance, InstanceState]] = []
        for account, instance_id in ((account_a, instance_a), (account_b, instance_b)):
            instance = store.account(account).instances.get(instance_id)
            state = instance.states.at(now) if instance else None
            if instance is None or state is None:
                return Verdict(False, f"{instance_id} does not exist")
            if state.status != "Running":
                return Verdict(False, f"{instance_id} is {state.status}, not Running")
            ends.append((instance, state))
        (source, from_state), (dest, to_state) = ends
        if source is dest:
            return Verdict(True, "same instance")
        pair = frozenset({source.vpc_id, dest.vpc_id})
        if source.classic or dest.classic or (len(pair) == 2 and pair not in store.peerings):
            return Verdict(False, f"no route from {source.vpc_id or 'classic'} to {dest.vpc_id or 'classic'}")
        packet = _Packet(protocol.upper(), port, source, from_state.groups, dest, to_state.groups)
        sending = [store.account(account_a).groups[group] for group in from_state.groups]
        receiving = [store.account(account_b).groups[group] for group in to_state.groups]
        return _through(packet, sending, receiving, now, store.knobs)


def _through(packet: _Packet, sending: list[Group], receiving: list[Group], now: float, knobs: Knobs) -> Verdict:
    """Inside a basic group with inner access no ingress rule stops a packet, nor by the knob `inner_access_first` an
    egress one [doc]; otherwise both directions must pass."""
    common = [group.id for group in sending if group.id in packet.dest_groups and group.inner_access == "Accept"]
    if common:
        outbound = _decide(packet, sending, "egress", now, default=True)
        if not outbound.ok and not knobs.inner_access_first:
            return outbound
        return Verdict(True, f"both are in {common[0]}, whose members may reach each other")
    # By default basic groups allow all outbound traffic, advanced ones none [doc "Basic and advanced security groups"].
    outbound = _decide(packet, sending, "egress", now, default=all(group.type == "normal" for group in sending))
    if not outbound.ok:
        return outbound
    return _decide(packet, receiving, "ingress", now, default=False)


def _decide(packet: _Packet, groups: Iterable[Group], direction: str, now: float, *, default: bool) -> Verdict:
    """The rules of all groups together: the smallest priority decides, and drop wins a tie [doc]."""
    matching = [
        (rule.priority, rule.policy != "Drop", rule.id, group.id)
        for group in groups
        for rule in group.rules.at(now)
        if rule.direction == direction and _matches(rule, packet)
    ]
    if not matching:
        names = ", ".join(group.id for group in groups)
        return Verdict(default, f"no {direction} rule of {names} applies")
    _, accepted, rule_id, group_id = min(matching)
    return Verdict(accepted, f"{rule_id} of {group_id} {'accepts' if accepted else 'drops'} it ({direction})")


def _matches(rule: Rule, packet: _Packet) -> bool:
    inbound = rule.direction == "ingress"
    peer, peer_groups = (packet.source, packet.source_groups) if inbound else (packet.dest, packet.dest_groups)
    member = packet.dest if inbound else packet.source
    if rule.protocol not in ("ALL", packet.protocol) or not _covers(rule.port_range, packet.port):
        return False
    if rule.source_port_range and not _covers(rule.source_port_range, EPHEMERAL_PORT):
        return False
    if rule.peer_ipv6 or rule.own_ipv6:
        return False
    if rule.own_cidr and not _inside(member.private_ip, rule.own_cidr):
        return False
    if rule.peer_group:
        return rule.peer_group in peer_groups and rule.peer_owner == peer.account
    return _inside(peer.private_ip, rule.peer_cidr)


def _covers(port_range: str, port: int) -> bool:
    low, high = (int(number) for number in port_range.split("/"))
    return low == -1 or low <= port <= high


def _inside(address: str, cidr: str) -> bool:
    return ipaddress.IPv4Address(address) in ipaddress.IPv4Network(cidr)
