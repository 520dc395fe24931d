"""What rules do to packets. Every row needs instances."""

from __future__ import annotations

import pytest

from aliyun_conformance.bench import Bench, Pair, address_of
from aliyun_conformance.question import Need, NotAnswered
from aliyun_conformance.sdks import code_of

ICMP = {"ip_protocol": "ICMP", "port_range": "-1/-1"}


def _admit(bench: Bench, pair: Pair, **fields: str) -> None:
    """Admit pings of `a` on the group of `b`, by address, and wait until the rule is shown."""
    source = address_of(bench.instance_of(pair.a))
    bench.authorize(pair.group_b, {**ICMP, "policy": None, "source_cidr_ip": f"{source}/32", **fields})
    bench.rules(pair.group_b, 1)


def _words(reached: bool) -> str:
    return "reached" if reached else "not reached"


@pytest.mark.real_cloud(16, Need.INSTANCES, expected="reached, then not reached")
def test_drop_wins(bench: Bench) -> None:
    """A drop at priority 100 wins over an accept at priority 100."""
    pair = bench.pair()
    for policy in ("accept", "drop"):
        bench.authorize(pair.group_b, {**ICMP, "source_group_id": pair.group_a, "policy": policy})
        bench.rules(pair.group_b, 1)
        assert policy == "drop" or bench.pings(pair), "not reached even with the accept alone"
    reached = bench.pings(pair, False)
    bench.saw(f"reached, then {_words(reached)}")
    assert not reached


@pytest.mark.real_cloud(17, Need.INSTANCES, expected="at most 10 seconds")
def test_tcp_rules_take_effect_soon(bench: Bench) -> None:
    """TCP rules take effect within seconds."""
    # the image must run sshd
    pair = bench.pair()
    command = f"nc -z -v -w 1 {pair.address} 22"
    if bench.shell(pair.a, command)[0]:
        raise NotAnswered("port 22 was reached before any rule")
    bench.authorize(pair.group_b, {"source_group_id": pair.group_a, "port_range": "22/22"})
    seconds = bench.seconds_until(lambda: bench.shell(pair.a, command)[0], 0.5, 120)
    bench.saw(f"after {seconds} s, Cloud Assistant's own time included", {"seconds": seconds})
    assert seconds <= 10


@pytest.mark.real_cloud(61, Need.INSTANCES, expected="not reached, and the rule is refused")
def test_advanced_members_are_isolated(bench: Bench) -> None:
    """Members of an advanced group do not reach each other by a rule from the group to itself."""
    pair = bench.pair("enterprise", together=True)
    reached = bench.pings(pair, False)
    code = code_of(lambda: bench.authorize(pair.group_b, {**ICMP, "source_group_id": pair.group_b}))
    then = bench.pings(pair) if not code else reached
    bench.saw(f"{_words(reached)}; rule {code or 'accepted'}; then {_words(then)}")
    assert not reached
    assert code


@pytest.mark.real_cloud(69, Need.INSTANCES, expected="not reached, then reached")
def test_advanced_groups_deny_egress(bench: Bench) -> None:
    """Advanced groups deny egress unless a rule allows it."""
    pair = bench.pair("enterprise")
    _admit(bench, pair)
    before = bench.pings(pair, False)
    _egress(bench, pair, None)
    after = bench.pings(pair)
    bench.saw(f"{_words(before)}, then {_words(after)}")
    assert (before, after) == (False, True)


@pytest.mark.real_cloud(70, Need.INSTANCES, expected="reached twice")
def test_egress_drop_inside_a_group(bench: Bench) -> None:
    """An egress drop does not stop traffic inside a basic group whose inner access is Accept."""
    pair = bench.pair(together=True)
    before = bench.pings(pair)
    _egress(bench, pair, "drop")
    after = bench.pings(pair, False)
    bench.saw(f"{_words(before)}, then {_words(after)}")
    assert (before, after) == (True, True)


def _egress(bench: Bench, pair: Pair, policy: str | None) -> None:
    """Add an egress rule to the peer's address. Without `policy` it accepts, on an advanced group whatever #68 says."""
    bench.authorize_egress(pair.group_a, **ICMP, dest_cidr_ip=f"{pair.address}/32", policy=policy, priority="1")
    bench.rules(pair.group_a, 1, "egress")
