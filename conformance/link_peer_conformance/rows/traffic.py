"""What rules do to packets. Every row needs instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from link_peer_conformance.model import Need, NotAnswered, Section, Seen
from link_peer_conformance.sdks import code_of

if TYPE_CHECKING:
    from link_peer_conformance.bench import Bench, Pair

section = Section("Traffic")

CLEANUP = "release the instances, delete the groups"
ICMP = {"ip_protocol": "ICMP", "port_range": "-1/-1"}


def _admit(bench: Bench, pair: Pair, **fields: str) -> None:
    """Admit pings of `a` on the group of `b`, by address, and wait until the rule is shown."""
    bench.authorize(pair.group_b, {**ICMP, "source_cidr_ip": f"{_address(bench, pair.a)}/32", **fields})
    bench.rules(pair.group_b, 1)


def _address(bench: Bench, instance: str) -> str:
    from link_peer_conformance.bench import address_of

    return address_of(bench.instance_of(instance))


def _words(reached: bool) -> str:
    return "reached" if reached else "not reached"


@section.row(
    16,
    Need.INSTANCES,
    assumed="A drop at priority 100 wins over an accept at priority 100",
    depends='"an operator\'s drop always wins"',
    test="*write B* for ICMP, then again with `--Permissions.1.Policy drop`; `ping` from an instance of A to one of B after each",
    expected="reached, then not reached",
    cleanup=CLEANUP,
)
def drop_wins(bench: Bench) -> Seen:
    """A ping with an accept, then with a drop of the same priority beside it."""
    pair = bench.pair()
    for policy in ("accept", "drop"):
        bench.authorize(pair.group_b, {**ICMP, "source_group_id": pair.group_a, "policy": policy})
        bench.rules(pair.group_b, 1)
        if policy == "accept" and not bench.pings(pair):
            return Seen("not reached even with the accept alone", False)
    reached = bench.pings(pair, False)
    return Seen(f"reached, then {_words(reached)}", not reached)


@section.row(
    17,
    Need.INSTANCES,
    assumed="TCP rules take effect within seconds",
    depends="only the demo and `--wait`",
    test="*write B* with `--Permissions.1.PortRange 22/22`; connect from A in a loop: `until nc -z -w 1 <address of B> 22; do date; done`",
    expected="at most 10 seconds",
    cleanup=CLEANUP,
)
def tcp_rules_take_effect_soon(bench: Bench) -> Seen:
    """Seconds from the answer of an authorize until a TCP connection succeeds. The image must run sshd."""
    pair = bench.pair()
    command = f"nc -z -v -w 1 {pair.address} 22"
    if bench.shell(pair.a, command)[0]:
        raise NotAnswered("port 22 was reached before any rule")
    bench.authorize(pair.group_b, {"source_group_id": pair.group_a, "port_range": "22/22"})
    seconds = bench.seconds_until(lambda: bench.shell(pair.a, command)[0], 0.5, 120)
    text = "not within 120 s" if seconds is None else f"after {seconds} s, Cloud Assistant's own time included"
    return Seen(text, seconds is not None and seconds <= 10, {"seconds": seconds})


@section.row(
    61,
    Need.INSTANCES,
    assumed="Members of an advanced group do not reach each other by a rule from the group to itself",
    depends="such links are denied `isolated-group`",
    test="two instances in one advanced group: `ping`; *write B* with B as its own source; `ping` again",
    expected="not reached, and the rule is refused",
    cleanup=CLEANUP,
)
def advanced_members_are_isolated(bench: Bench) -> Seen:
    """A ping between two members of an advanced group, and the answer to a rule from the group to itself."""
    pair = bench.pair("enterprise", together=True)
    reached = bench.pings(pair, False)
    code = code_of(lambda: bench.authorize(pair.group_b, {**ICMP, "source_group_id": pair.group_b}))
    then = bench.pings(pair) if not code else reached
    text = f"{_words(reached)}; rule {code or 'accepted'}; then {_words(then)}"
    return Seen(text, not reached and bool(code))


@section.row(
    69,
    Need.INSTANCES,
    assumed="Advanced groups deny egress unless a rule allows it",
    depends="`effect` of a link between advanced groups",
    test="two advanced groups; *write B* for ICMP from A's address; `ping`; allow the same as egress on A; `ping`",
    expected="not reached, then reached",
    cleanup=CLEANUP,
)
def advanced_groups_deny_egress(bench: Bench) -> Seen:
    """A ping between advanced groups with ingress alone, then with egress too."""
    pair = bench.pair("enterprise")
    _admit(bench, pair)
    before = bench.pings(pair, False)
    _egress(bench, pair, "accept")
    after = bench.pings(pair)
    return Seen(f"{_words(before)}, then {_words(after)}", (before, after) == (False, True))


@section.row(
    70,
    Need.INSTANCES,
    assumed="An egress drop does not stop traffic inside a basic group whose inner access is Accept",
    depends="`effect` within one group; two official pages disagree",
    test="two instances in one basic group: `ping`; drop ICMP to B's address as egress; `ping`",
    expected="reached twice",
    cleanup=CLEANUP,
)
def egress_drop_inside_a_group(bench: Bench) -> Seen:
    """A ping between two members of a basic group, without and with an egress drop."""
    pair = bench.pair(together=True)
    before = bench.pings(pair)
    _egress(bench, pair, "drop")
    after = bench.pings(pair, False)
    return Seen(f"{_words(before)}, then {_words(after)}", (before, after) == (True, True))


def _egress(bench: Bench, pair: Pair, policy: str) -> None:
    permission = bench.models.AuthorizeSecurityGroupEgressRequestPermissions(
        ip_protocol="ICMP",
        port_range="-1/-1",
        dest_cidr_ip=f"{pair.address}/32",
        policy=policy,
        priority="1",
        nic_type="intranet",
    )
    bench.sdks.ask("authorize_security_group_egress", security_group_id=pair.group_a, permissions=[permission])
    bench.rules(pair.group_a, 1, "egress")


section.by_hand(
    122,
    why="needs an instance in two groups",
    assumed="A drop wins over an accept of equal priority in another group of the same instance",
    depends="`effect`",
    test="an accept at priority 100 in one group and a drop at 100 in the other, for the same source; `ping`",
    expected="no answer",
    cleanup="delete the groups and instances",
)
