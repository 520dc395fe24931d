"""What flow logs tell of a period: each flow that an interface let in, and which instance sent it.

    a line of the target's log ─▶ address ─▶ the instance that a line of the same hour names with it: in the target's VPC; else in
    another one, if that instance's own log has packets to the target in that hour ─▶ else nobody knows who it was

Today's holder of an address never counts by itself: an address changes hands, and NAT and machines outside ECS have
some, too.
"""  # noqa: W505

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import msgspec
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Party, Port
from link_peer.planning.effect import EPHEMERAL, End

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.log import sdk
from link_peer_cli.inventory.flow_log import DAY, HOUR, ICMP, UDP, FlowRow, Flows, port_of, read_flows
from link_peer_cli.inventory.interfaces import Interface, read_interfaces

THREADS = 8
EDGE_HOURS = 2
"""Of the first and the last day, so much must lie in the period for a line to be expected."""


class Holder(msgspec.Struct, frozen=True, order=True):
    """An instance, and its interface, that had an address, as a log names them."""

    instance: Party
    interface: str


class Flow(msgspec.Struct, frozen=True):
    """Packets to a target from one address, on a port or on all that connections come from."""

    target: Interface
    reached: str  # the target's address
    address: str
    port: Port
    hours: int  # a bit for each hour of the period
    lines: int
    last: int  # epoch seconds
    answered: bool  # the log proves that somebody listens there
    holder: Holder | None = None  # who had the address
    source: Interface | None = None  # the holder's interface as it is now
    doubt: str = ""  # without a holder: why
    is_out: bool = False

    @property
    def ends(self) -> tuple[End, End]:
        """The other end, and the interface's own: its groups are those of now."""
        peer = self.source
        sender = End(tuple(sorted(peer.groups)), peer.vpc, self.address) if peer else End((), "", self.address)
        return sender, End(tuple(sorted(self.target.groups)), self.target.vpc, self.reached)

    @property
    def party(self) -> Party | None:
        """The instance that sent it."""
        return self.holder.instance if self.holder else None


class Period(msgspec.Struct, frozen=True, dict=True):  # a dict, so that what is found by may be worked out once
    """What was read of a period (epoch seconds): the flows of accounts, and their interfaces or why these are not
    known."""

    since: int
    until: int
    flows: Mapping[str, Flows]
    interfaces: Mapping[str, list[Interface] | str]

    def of(self, party: Party) -> list[Interface]:
        """The interfaces in use of an instance, or those that are in a group."""
        return self._by_party.get(party, [])

    @functools.cached_property
    def days(self) -> dict[str, int]:
        """The days of UTC, each with its hours, but for a first or last one of which hardly an hour is in the
        period."""
        first, last = self.since // HOUR, (self.until - 1) // HOUR
        by_day = grouped((hour * HOUR // DAY, 1 << (hour - first)) for hour in range(first, last + 1))
        edges = (min(by_day), max(by_day))
        return {
            datetime.fromtimestamp(day * DAY, timezone.utc).date().isoformat(): sum(bits)
            for day, bits in by_day.items()
            if day not in edges or len(bits) >= EDGE_HOURS
        }

    def day_count(self, hours: int) -> int:
        """On how many days some of these hours are; at least one."""
        return max(1, sum(bool(hours & bits) for bits in self.days.values()))

    def longest_gap(self, hours: int) -> int:
        """The most days of the period in a row without any of these hours."""
        used = [-1, *(number for number, bits in enumerate(self.days.values()) if hours & bits), len(self.days)]
        return max(end - start - 1 for start, end in itertools.pairwise(used))

    def unread_interfaces(self, account: str) -> Iterator[str]:
        """That the interfaces of an account were not read, if so, and why."""
        interfaces = self.interfaces.get(account, "")
        if isinstance(interfaces, str):
            yield f"the interfaces of {account} were not read{interfaces and ': '}{interfaces}"

    def account_doubts(self, account: str) -> Iterator[str]:
        """Why not all is known of packets to an account."""
        yield from self.unread_interfaces(account)
        flows = self.flows.get(account)
        if flows is None:
            yield f"the policy file has no accounts.{account}.flowlog"
        elif flows.problem or flows.partial:
            yield flows.problem or flows.partial

    def gaps(self, interface: Interface) -> Iterator[str]:
        """What the flow log does not tell of an interface."""
        flows = self.flows.get(interface.account, Flows())
        hours = flows.days.get(interface.id, 0) | flows.skipped.get(interface.id, 0)
        if missing := [day for day, bits in self.days.items() if not hours & bits]:
            since = f" ({missing[0]})" if len(missing) == 1 else f" ({missing[0]} to {missing[-1]})"
            yield f"the flow log has no line of {interface.id} on {len(missing)} of {len(self.days)} days{since}"
        if interface.id in flows.skipped:
            yield f"lines of {interface.id} were skipped"

    def flows_to(self, interface: Interface) -> Iterator[Flow]:
        """The flows that an interface let in, but for answers to what it opened itself."""
        answers = {(row.peer, row.port): row.proof for row in self._rows(interface, "answer")}
        for row in self._opening(interface):
            yield from self._by_holder(interface, row, answered=answers.get((row.peer, row.port), False))

    def flows_from(self, interface: Interface) -> Iterator[Flow]:
        """The flows that an interface sent, but for answers to what it let in."""
        let_in = {(row.peer, row.port) for row in self._rows(interface, "in")}
        sent = [*self._rows(interface, "out"), *self._rows(interface, "answer")]
        for row in sent:
            if row.kind == "out" or (row.peer, row.port) not in let_in:
                for flow in self._by_holder(interface, row, answered=False):
                    yield msgspec.structs.replace(flow, is_out=True)

    def _opening(self, interface: Interface) -> Iterator[FlowRow]:
        """Lines of what others may have opened. A port that connections come from is a service's where SYN alone came
        for it."""
        sent = {(row.peer, row.port) for row in self._rows(interface, "out")}
        opened = {(row.peer, row.port // UDP) for row in self._rows(interface, "in") if _is_high(row.port)}
        opening = {(peer, port // UDP) for peer, port in sent if _is_high(port)}
        for row in self._rows(interface, "in"):
            is_told_apart = (row.peer, row.port // UDP) in opened | opening
            if row.port % UDP or row.port >= ICMP or not is_told_apart:
                yield row
        for row in self._rows(interface, "back"):
            if (row.peer, row.port) not in sent:  # nothing was sent there that it could answer
                yield msgspec.structs.replace(row, port=row.port // UDP * UDP)

    def _by_holder(self, interface: Interface, row: FlowRow, *, answered: bool) -> Iterator[Flow]:
        """A line's packets by who had the other address, hour by hour."""
        flow = Flow(
            interface, row.address, row.peer, port_of(row.port), row.hours, row.lines, row.last,
            answered and not _is_range(row.port),
        )  # fmt: skip
        remaining = row.hours
        near = self._holders.get((interface.vpc, row.peer), {})
        for holders in (near, self._far(interface, row)):
            contested = _contested(holders.values()) & remaining
            for holder, hours in holders.items():
                if exclusive := hours & remaining & ~contested:
                    remaining &= ~exclusive
                    source = self._by_id.get(holder.interface)
                    still = source if source and source.instance == holder.instance else None
                    yield msgspec.structs.replace(flow, hours=exclusive, holder=holder, source=still)
            remaining &= ~contested
            if contested:
                yield msgspec.structs.replace(flow, hours=contested, doubt="two instances had it in the same hour")
        if remaining:
            yield msgspec.structs.replace(flow, hours=remaining, doubt="no line of a flow log names who had it then")

    def _far(self, interface: Interface, row: FlowRow) -> dict[Holder, int]:
        """Who had the address in another VPC, in the hours in which its own log has packets to, or from, this
        interface."""
        holders: dict[Holder, int] = {}
        for sender, talks in self._talks.get((row.peer, row.address), {}).items():
            near_hours = talks | talks << 1 | talks >> 1  # a window may begin in one hour and end in the next
            for vpc, holder, hours in self._by_sender.get((row.peer, sender), ()):
                if vpc != interface.vpc and hours & near_hours:
                    holders[holder] = holders.get(holder, 0) | (hours & near_hours)
        return holders

    def _rows(self, interface: Interface, kind: str) -> Sequence[FlowRow]:
        return self._by_interface.get((interface.id, kind), ())

    @functools.cached_property
    def _by_interface(self) -> dict[tuple[str, str], list[FlowRow]]:
        rows = (row for flows in self.flows.values() for kind_rows in flows.rows.values() for row in kind_rows)
        return grouped(((row.interface, row.kind), row) for row in rows)

    @functools.cached_property
    def _holders(self) -> dict[tuple[str, str], dict[Holder, int]]:
        holders: dict[tuple[str, str], dict[Holder, int]] = {}
        for account, flows in self.flows.items():
            for place, names in flows.holders.items():
                for (instance, interface), hours in names.items():
                    holders.setdefault(place, {})[Holder(Party(account, instance), interface)] = hours
        return holders

    @functools.cached_property
    def _by_sender(self) -> dict[tuple[str, str], list[tuple[str, Holder, int]]]:
        """The VPC, the holder and the hours of an address of an interface."""
        return grouped(
            ((address, holder.interface), (vpc, holder, hours))
            for (vpc, address), holders in self._holders.items()
            for holder, hours in holders.items()
        )

    @functools.cached_property
    def _talks(self) -> dict[tuple[str, str], dict[str, int]]:
        """The hours in which interfaces sent packets from one address to another."""
        talks: dict[tuple[str, str], dict[str, int]] = {}
        for flows in self.flows.values():
            for row in (*flows.rows.get("out", ()), *flows.rows.get("answer", ())):
                senders = talks.setdefault((row.address, row.peer), {})
                senders[row.interface] = senders.get(row.interface, 0) | row.hours
        return talks

    @functools.cached_property
    def _by_party(self) -> dict[Party, list[Interface]]:
        used = [interface for interface in self._by_id.values() if interface.in_use]
        return grouped(
            (party, interface) for interface in used for party in (*interface.groups, interface.instance) if party
        )

    @functools.cached_property
    def _by_id(self) -> dict[str, Interface]:
        read = (interfaces for interfaces in self.interfaces.values() if not isinstance(interfaces, str))
        return {interface.id: interface for interfaces in read for interface in interfaces}


def _contested(masks: Iterable[int]) -> int:
    """The hours of which several have some."""
    once = twice = 0
    for mask in masks:
        twice |= once & mask
        once |= mask
    return twice


def _is_high(number: int) -> bool:
    """Whether a number is that of one port of those that connections come from."""
    return number < ICMP and number % UDP >= EPHEMERAL[0]


def _is_range(number: int) -> bool:
    """Whether a number is that of all ports that connections come from."""
    return number < ICMP and not number % UDP


def read_period(env: Environment, accounts: Iterable[str], since: int, until: int) -> Period:
    """The flow logs and the interfaces of these accounts: a query of each log, and a call for 500 interfaces."""
    involved = sorted(accounts)
    logged = [uid for uid in involved if env.policy.accounts[uid].flowlog]
    persons_accounts = env.accounts("flow-log", env.patient_retry())

    def flows(uid: str) -> Flows:
        return read_flows(env, uid, since, until)

    def interfaces(uid: str) -> list[Interface] | str:
        keys, calls = persons_accounts.keys, persons_accounts.calls
        try:
            return read_interfaces(env.settings, uid, lambda: keys(uid), env.clock, env.patient_retry(), calls)
        except LinkPeerError as error:
            return str(error)

    sdk()  # so that no thread imports it: see late_parts
    with ThreadPoolExecutor(THREADS) as pool:
        all_flows, all_interfaces = pool.map(flows, logged), pool.map(interfaces, involved)
        return Period(
            since, until, dict(zip(logged, all_flows, strict=True)), dict(zip(involved, all_interfaces, strict=True))
        )
