"""What decides about packets, in words. Nothing here decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from link_peer.domain.model import Party, Port, Rule
from link_peer.planning.effect import Decider, Doubt, Effect, EffectCause, EffectPart

_FEW = 3  # named in a text, of many
_WHOLE = (1, 65535)


def detail(effect: Effect) -> str:
    """What decides, in words: `no ingress rule of sg-… admits tcp/3306`; where only some packets pass, with those that
    do. Empty if an end is not known by its id."""
    if effect.word == "unknown":
        return _listed(map(_part, dict.fromkeys((*effect.doubts, *effect.parts))))
    is_one_sided = effect.word == "partly" and not any(part.passed for part in effect.parts)
    return _listed(map(_part, effect.parts)) + ("; the other way, it passes" if is_one_sided else "")


def _part(part: EffectPart) -> str:
    if part.absent:
        all_named = all(party.id for party in part.absent)
        return f"{_joined(part.absent)} was not read" if all_named else ""
    passing = f"; {_packets(part.passed)} passes" if part.passed else ""
    return _listed(_sentence(decider, _packets(packets)) for decider, packets in part.deciders) + passing


def _sentence(decider: Decider, packets: str) -> str:
    before, after = _around(decider)
    return f"{before} {packets}{after}"


def _around(decider: Decider) -> tuple[str, str]:
    """What stands before the packets and after them."""
    groups, at = _joined(decider.groups), f" ({decider.direction})"
    if decider.rule is not None:
        does = f"{decider.rule.id or 'a rule'} of {decider.rule.group} " + (
            "drops" if decider.rule.policy == "drop" else "accepts"
        )
        if decider.doubt is None:
            return does, f" ({decider.direction}, priority {decider.rule.priority})"
        return f"it is not known whether {does}", f"{at}: {_doubt(decider.doubt, decider.rule)}"
    if decider.inner is not None:
        before, after = _around(decider.inner)
        return f"it is not known whether InnerAccessPolicy Accept of {groups} comes before this: {before}", after
    return {
        EffectCause.INNER_ACCESS: (f"members of {groups} reach each other (InnerAccessPolicy Accept):", ""),
        EffectCause.NO_INGRESS: (f"no ingress rule of {groups or 'an instance without groups'} admits", ""),
        EffectCause.NO_EGRESS: (
            f"no egress rule of {groups} lets out",
            " (an advanced group lets nothing out by default)",
        ),
        EffectCause.ISOLATED: (f"members of {groups} are isolated:", ""),
        EffectCause.RULES_UNREAD: (f"the rules of {groups} were not read{at}:", ""),
        EffectCause.TYPE_UNREAD: (f"the type of {groups} was not read{at}:", ""),
        EffectCause.ACCESS_UNREAD: (f"whether members of {groups} reach each other was not read:", ""),
    }[decider.cause]


def _doubt(doubt: Doubt, rule: Rule) -> str:
    traffic = rule.traffic
    assert traffic is not None  # noqa: S101  # else the rule would not apply to IPv4 packets
    source_ports = "-".join(map(str, traffic.source_ports or ()))
    return {
        Doubt.ADDRESS: "it depends on an address that was not read",
        Doubt.PREFIX_LIST: "its prefix list is not read",
        Doubt.PORT_LIST: "its port list is not read",
        Doubt.OTHER_VPC: "nothing documents rules that name a group of another VPC",
        Doubt.SOURCE_PORTS: f"it is restricted to the source ports {source_ports}",
        Doubt.OWN_RANGE: f"{traffic.own_range} cannot be read",
        Doubt.PEER_RANGE: f"{traffic.peer} cannot be read",
    }[doubt]


def _joined(parties: Iterable[Party]) -> str:
    return " and ".join(map(str, parties))


def _listed(texts: Iterable[str]) -> str:
    """Distinct texts, of many the first few."""
    distinct = list(dict.fromkeys(filter(None, texts)))
    suffix = [f"and {len(distinct) - _FEW} more"] if len(distinct) > _FEW else []
    return "; ".join([*distinct[:_FEW], *suffix])


def _packets(packets: Sequence[Port]) -> str:
    """Packets as a text: `tcp/3306+tcp/3310-3320`; `udp` for all of its ports, `all` for every protocol."""
    merged: list[Port] = []
    for packet in packets:
        last = merged[-1] if merged else None
        if last and last.protocol == packet.protocol and last.high + 1 == packet.low:
            merged[-1] = Port(last.protocol, last.low, packet.high)
        else:
            merged.append(packet)
    texts = [port.protocol if (port.low, port.high) == _WHOLE else str(port) for port in merged]
    if {"tcp", "udp", "icmp", "gre"} <= set(texts):
        return "all"
    return "+".join(texts[:_FEW]) + (f" and {len(texts) - _FEW} more" if len(texts) > _FEW else "")
