"""Which flows use which rule, and which only that one admits, by the rules and the groups of now. Pure.

| a rule is | if, in the period                                                                                          |
|-----------|------------------------------------------------------------------------------------------------------------|
| `used`    | it admits a flow: no drop comes before it, and members of its group do not reach each other anyway         |
| `unused`  | it admits none, and every interface of its group has lines on every day                                    |
| `unknown` | otherwise                                                                                                  |

A flow is a rule's *only* where no other rule admits it, as far as that is known.
"""  # noqa: W505

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec
from link_peer.domain import marker as markers
from link_peer.domain.model import ALL, Party, Port, Rule
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.effect import End, admissions, rules_of

from link_peer_cli.inventory.interfaces import Interface
from link_peer_cli.inventory.period import Flow, Period

_ANY_ADDRESS, _ANY_PORT = 2**32, 2 * 65_535 + 2


class Carried(msgspec.Struct, frozen=True):
    """A part of a flow, with all rules that admit it."""

    flow: Flow
    packet: Port
    rules: tuple[Rule, ...]
    inner: frozenset[Party] = frozenset()  # groups of both ends whose members reach each other
    doubted: tuple[Rule, ...] = ()  # rules of which it is not known whether they admit it
    doubt: str = ""  # why that is not known of others

    def needs(self, rule: Rule, removed: Collection[Rule] = ()) -> bool:
        """Whether nothing else is known to admit it, where the removed rules do not."""
        return not self.inner and not any(carrier != rule and carrier not in removed for carrier in self.rules)


class RuleUse(msgspec.Struct, frozen=True):
    """What is known of a rule's use. `unknown` is what cannot be told, in words."""

    rule: Rule
    carried: tuple[Carried, ...]
    unknown: tuple[str, ...]

    @property
    def word(self) -> str:
        """`used`, `unused` or `unknown`."""
        return "used" if self.carried else "unknown" if self.unknown else "unused"

    @property
    def only(self) -> list[Carried]:
        """What no other rule admits."""
        return [carried for carried in self.carried if carried.needs(self.rule)]


class Rules:
    """The rules of a snapshot, judged by the flows of a period."""

    def __init__(self, snapshot: Snapshot, policy: Policy, region: str, period: Period) -> None:
        self._snapshot = snapshot
        self._policy = policy
        self._region = region
        self.period = period
        self.carried = functools.cache(self._carried)

    def wide(self, groups: Iterable[Party]) -> list[Rule]:
        """The wide rules of people on these groups, the widest first."""
        rules = [
            rule for group in sorted(groups) for rule in rules_of(self._snapshot, group) or () if self.is_wide(rule)
        ]
        return sorted(rules, key=lambda rule: (-self._width(rule), rule.group, rule.id))

    def is_wide(self, rule: Rule) -> bool:
        """Whether a person made it, it accepts, and more than one group, or one address, on one port."""
        traffic = rule.traffic or rule.ipv6
        if traffic is None or rule.policy == "drop" or not self._is_persons(rule):
            return False
        group = self._snapshot.groups.get(rule.group)
        if rule.is_egress and not (group and group.advanced):
            return False  # a basic group lets everything out
        port = traffic.port
        has_one_port = port is not None and port != ALL and (port.low == port.high != -1 or port.protocol == "icmp")
        return not (has_one_port and ("@" in traffic.peer or traffic.peer.endswith(("/32", "/128"))))

    def use(self, rule: Rule) -> RuleUse:
        """What is known of its use."""
        interfaces = self.period.of(rule.group)
        parts = [part for interface in interfaces for part in self.carried(interface, rule.is_egress)]
        used = tuple(part for part in parts if rule in part.rules and rule.group not in part.inner)
        unknown = [*self._unread(rule, interfaces), *(doubt for part in parts for doubt in self._doubts(part, rule))]
        return RuleUse(rule, used, tuple(dict.fromkeys(unknown)))

    def removable(self, uses: Sequence[RuleUse]) -> dict[Rule, list[Carried]]:
        """Of each of these rules, in this order, what would be cut off if it were removed after those before it that
        cut off nothing."""
        cut: dict[Rule, list[Carried]] = {}
        removed: set[Rule] = set()
        for use in uses:
            cut[use.rule] = [part for part in use.carried if part.needs(use.rule, removed)]
            if not cut[use.rule] and not use.unknown:
                removed.add(use.rule)
        return cut

    def _is_persons(self, rule: Rule) -> bool:
        """One with a damaged marker of ours counts as a person's."""
        marker = markers.parse(rule.description)
        return marker is None or markers.damaged(rule, self._policy.deployment, self._region, self._policy.home)

    def _width(self, rule: Rule) -> int:
        traffic = rule.traffic or rule.ipv6
        assert traffic is not None  # noqa: S101  # a wide rule has some
        port = traffic.port
        ports = _ANY_PORT if port is None or port == ALL else port.high - port.low + 1
        if "@" in traffic.peer:
            name, _, account = traffic.peer.partition("@")
            return ports * max(1, len(self.period.of(Party(account, name))))
        try:
            return ports * ipaddress.ip_network(traffic.peer, strict=False).num_addresses
        except ValueError:  # a prefix list, whose entries are not read
            return ports * _ANY_ADDRESS

    def _carried(self, interface: Interface, is_egress: bool) -> list[Carried]:
        """The parts of an interface's flows, each with what admits it."""
        flows = self.period.flows_from(interface) if is_egress else self.period.flows_to(interface)
        return [part for flow in flows for part in self._parts(flow)]

    def _parts(self, flow: Flow) -> Iterator[Carried]:
        peer, holder = flow.ends
        common = [group for group in peer.groups if group in holder.groups]
        access = {group: self._access(group) for group in common} if not flow.is_out else {}
        inner = frozenset(group for group, is_open in access.items() if is_open)
        doubt = "" if None not in access.values() else "whether members of a group reach each other was not read"
        for part in admissions(self._snapshot, "egress" if flow.is_out else "ingress", holder, peer, flow.port):
            unread = f"the rules of {part.unread[0]} were not read" if part.unread else ""
            yield Carried(flow, part.packet, part.rules, inner, part.doubted, unread or doubt)

    def _access(self, group: Party) -> bool | None:
        read = self._snapshot.groups.get(group)
        return False if read and read.advanced else self._snapshot.inner_access.get(group)

    def _unread(self, rule: Rule, interfaces: Sequence[Interface]) -> Iterator[str]:
        """Why a rule may have been used although no flow says so."""
        yield from self.period.account_doubts(rule.group.account)
        if rule.ipv6:
            yield "it is for IPv6, which flow logs do not have"
        if not interfaces:
            yield f"no network interface of {rule.group} is in use"
        for interface in interfaces:
            yield from self.period.gaps(interface)

    def _doubts(self, part: Carried, rule: Rule) -> Iterator[str]:
        """Why it is not known whether a rule admits, or alone admits, a part of a flow."""
        if rule in part.doubted:
            yield f"whether it admits {part.packet} from {part.flow.address} is not known: a prefix list, a port list or a drop decides"
        elif rule in part.rules and part.needs(rule) and (part.doubt or part.doubted):
            yield part.doubt or f"whether another rule admits {part.packet} from {part.flow.address} is not known"
        is_needed = rule in part.rules and part.needs(rule)
        if not part.flow.party and (is_needed or self._may_admit(rule, part)):
            yield f"who had {part.flow.address} is not known: {part.flow.doubt}"

    def _may_admit(self, rule: Rule, part: Carried) -> bool:
        """Whether a rule that names a group admits these packets, if a member sent them."""
        traffic, flow = rule.traffic, part.flow
        if traffic is None or "@" not in traffic.peer:
            return False
        name, _, account = traffic.peer.partition("@")
        member = End((Party(account, name),), flow.target.vpc, flow.address)
        direction = "egress" if flow.is_out else "ingress"
        steps = admissions(self._snapshot, direction, flow.ends[1], member, part.packet)
        return any(rule in (*step.rules, *step.doubted) for step in steps)
