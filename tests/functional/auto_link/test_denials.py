"""auto_link and what cannot be had: denied, recorded with the reason and what to do, acknowledged, and nothing written."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.lab import HOME, Lab


def denied(lab: Lab, reason: str) -> dict[str, str]:
    """The last outcome, which must be this denial; nothing may have been changed for it."""
    record = lab.outcome()
    assert (record["outcome"], record["reason"]) == ("denied", reason)
    assert record["detail"]
    assert lab.changes() == 0
    assert lab.records("intent") == []
    return record


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        ({"deny": {"ports": ["tcp/22"]}}, "tcp/22"),
        ({"deny": {"ports": ["tcp/22"]}}, "tcp/20-30"),
        ({"deny": {"ports": ["tcp/20-30"]}}, "tcp/3306+tcp/22"),
        ({"deny": {"ports": ["icmp"]}}, "icmp"),
        ({"deny": {"ports": ["tcp/22"]}}, ""),  # every mutual link, while the list is not empty
        ({"limits": {"max_ports": 2}}, "tcp/1+tcp/2+tcp/3"),
        ({"limits": {"max_port_span": 10}}, "tcp/1-11"),
        ({}, "tcp/1-1025"),
    ],
)
def test_what_the_policy_never_opens_is_not_allowed(lab: Lab, allowed: dict[str, Any], asked: str) -> None:
    """Whoever consents."""
    app, db = lab.group("*"), lab.group("*")
    lab.policy(**allowed)
    peer = f"{db.id}:{asked}" if asked else db.id
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": peer})))
    denied(lab, "not-allowed")


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        ({"deny": {"ports": ["tcp/22"]}}, "udp/22"),
        ({"deny": {"ports": ["tcp/22"]}}, "tcp/23-30"),
        ({"limits": {"max_ports": 2}}, "tcp/1+tcp/2"),
        ({"limits": {"max_port_span": 10}}, "tcp/1-10"),
        ({}, "tcp/1-1024"),
        ({"deny": {"ports": []}}, ""),
    ],
)
def test_what_only_touches_a_limit_is_allowed(lab: Lab, allowed: dict[str, Any], asked: str) -> None:
    app, db = lab.group("*"), lab.group("*")
    lab.policy(**allowed)
    peer = f"{db.id}:{asked}" if asked else db.id
    assert lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": peer}))) == {"applied": 1}


def test_a_port_denied_later_is_taken_back(lab: Lab) -> None:
    """A policy that no longer allows a port removes its rule at the next look."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/22 {db.id}:tcp/23"})
    lab.auto_link(lab.event(instance))
    lab.policy(deny={"ports": ["tcp/22"]})
    assert lab.auto_link(lab.event(instance)) == {"denied": 1, "removed": 1, "unchanged": 1}
    assert lab.rules(db) == [f"{app.id} tcp/23"]


@pytest.mark.parametrize(
    "peer",
    [
        "sg-UPPER:tcp/1",
        "sg-:tcp/1",
        "sg_x",
        "i-x@1000000000000002",
        "sg-x@123",
        "sg-x@1000000000000002@1",
        "sg-x:",
        "sg-x:tcp",
        "sg-x:tcp/0",
        "sg-x:tcp/65536",
        "sg-x:tcp/10-9",
        "sg-x:tcp/01",
        "sg-x:TCP/1",
        "sg-x:all",
        "sg-x:tcp/1+",
        "sg-x:icmp/1",
        "sg-x;sg-y",
        "10.0.0.1/32",
        "*",
        "sg-x\tsg-y",
        "sg-ä",
        "sg-x:tcp/１",
    ],
)
def test_a_bad_peer_is_denied_alone(lab: Lab, peer: str) -> None:
    """`bad-tag` for that one, as it was written; the good one beside it still links."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{peer} {db.id}:tcp/3306"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1, "denied": 1}
    (bad,) = lab.records(outcome="denied")
    assert bad["reason"] == "bad-tag"
    assert "link-peer" in bad["detail"]
    assert bad["advice"]
    assert bad["link"]
    assert lab.rules(db) == [f"{app.id} tcp/3306"]


def test_bad_peers_are_told_apart(lab: Lab) -> None:
    """Two bad peers are two records, with different keys."""
    lab.auto_link(lab.event(lab.instance(lab.group(), tags={"link-peer": "one two"})))
    records = lab.records(reason="bad-tag")
    assert {r["to"] for r in records} == {"one", "two"}
    assert len({r["key"] for r in records}) == 2


@pytest.mark.parametrize("end", ["", "tomorrow", "2027-01-01", "2027-01-01T00:00:00", "2027-13-01T00:00:00Z", " "])
def test_an_unreadable_end_denies_every_link_of_the_instance(lab: Lab, end: str) -> None:
    """`bad-tag`: whether the links should have ended cannot be known."""
    db, cache = lab.group("*"), lab.group("*")
    tags = {"link-peer": f"{db.id}:tcp/1 {cache.id}:tcp/2", "link-until": end}
    assert lab.auto_link(lab.event(lab.instance(lab.group(), tags=tags))) == {"denied": 2}
    assert "link-until" in denied(lab, "bad-tag")["detail"]


@pytest.mark.parametrize("kind", ["sg-bp1gone", "i-bp1gone"])
def test_a_peer_that_does_not_exist_is_denied_once_it_had_time_to_appear(lab: Lab, kind: str) -> None:
    instance = lab.instance(lab.group(), tags={"link-peer": f"{kind}:tcp/1"})
    assert lab.auto_link(lab.event(instance, time=lab.iso(-301))) == {"denied": 1}
    denied(lab, "peer-not-found" if kind.startswith("sg") else "instance-gone")


def test_a_group_peer_in_another_vpc_is_denied_with_the_way_out(lab: Lab) -> None:
    """Group sources work in one VPC only; instances can be linked across, and need a route."""
    app, db = lab.group(), lab.group("*", vpc=lab.a)
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})))
    record = denied(lab, "different-vpc")
    assert record["reachability"] == "different-vpc"
    for word in ("i-", "CEN", "VPC peering", "VPN Gateway", "Express Connect"):
        assert word in record["advice"]


def test_advanced_peers_are_denied(lab: Lab) -> None:
    """They take no rule that names a group; the advice says what does work."""
    db = lab.group("*", type="enterprise")
    lab.auto_link(lab.event(lab.instance(lab.group(), tags={"link-peer": f"{db.id}:tcp/1"})))
    assert "i-" in denied(lab, "advanced-group")["advice"]


def test_an_instance_in_advanced_groups_only_has_no_group_to_stand_for_it(lab: Lab) -> None:
    db = lab.group("*")
    lab.auto_link(lab.event(lab.instance(lab.group(type="enterprise"), tags={"link-peer": f"{db.id}:tcp/1"})))
    assert "i-" in denied(lab, "advanced-group")["advice"]


@pytest.mark.parametrize("end", ["source", "target"])
def test_managed_groups_are_denied(lab: Lab, end: str) -> None:
    """Neither to hold a rule nor to be named in one."""
    app, db = lab.group(managed=end == "source"), lab.group("*", managed=end == "target")
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})))
    denied(lab, "managed-group")


@pytest.mark.parametrize("end", ["source", "target"])
def test_classic_groups_are_denied(lab: Lab, end: str) -> None:
    classic = lab.cloud.ecs.create_group(HOME, "", tags={"link-accept": "*"})
    if end == "source":
        instance = lab.cloud.ecs.create_instance(HOME, [classic.id], classic=True)
        lab.tag(instance, link_peer=f"{lab.group('*').id}:tcp/1")
    else:
        instance = lab.instance(lab.group(), tags={"link-peer": f"{classic.id}:tcp/1"})
    lab.auto_link(lab.event(instance))
    denied(lab, "classic-network")


def test_an_account_that_the_policy_does_not_list_is_unknown(lab: Lab) -> None:
    """The world is closed: nothing is posted for it either."""
    stranger = "1000000000000003"
    lab.auto_link(lab.event(lab.instance(lab.group(), tags={"link-peer": f"sg-bp1x@{stranger}:tcp/1"})))
    assert stranger in denied(lab, "unknown-account")["detail"]
    assert lab.queued() == []


def test_one_denied_link_does_not_hold_up_the_others(lab: Lab) -> None:
    app, db, cache = lab.group(), lab.group(), lab.group("*")
    tags = {"link-peer": f"{db.id}:tcp/1 {cache.id}:tcp/2"}
    assert lab.auto_link(lab.event(lab.instance(app, tags=tags))) == {"denied": 1, "applied": 1}
    assert lab.rules(cache) == [f"{app.id} tcp/2"]


def test_a_paused_policy_reads_and_audits_only(lab: Lab) -> None:
    """What would have changed is `denied`, `paused`; what stands stays."""
    app, db, cache = lab.group(), lab.group("*"), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.auto_link(lab.event(instance))
    calls = lab.changes()
    lab.policy(paused=True)
    lab.tag(instance, link_peer=f"{cache.id}:tcp/2")
    made = lab.changes()

    assert lab.auto_link(lab.event(instance)) == {"denied": 2}
    assert {r["reason"] for r in lab.records(outcome="denied")} == {"paused"}
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    assert lab.rules(cache) == []
    assert (lab.changes(), made) == (calls, calls)

    lab.policy()
    assert lab.auto_link(lab.event(instance)) == {"applied": 1, "removed": 1}


def test_a_paused_policy_hands_nothing_to_the_queue(lab: Lab) -> None:
    """A sync is the beginning of a change in another account."""
    peer = lab.group("*", account="1000000000000002")
    lab.policy(paused=True)
    instance = lab.instance(lab.group(), tags={"link-peer": f"{peer.id}@{peer.account}:tcp/1"})
    assert lab.auto_link(lab.event(instance)) == {"denied": 1}
    assert lab.queued() == []
    denied(lab, "paused")


@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeSecurityGroups", "DescribeSecurityGroupAttribute"])
def test_a_home_account_that_may_not_be_read_is_denied_and_left_alone(lab: Lab, action: str) -> None:
    """`no-access`: no redelivery gives the function its rights; what stands stays."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.auto_link(lab.event(instance))
    lab.tag(instance, link_peer=f"{db.id}:tcp/2")
    lab.fault(service="ecs", action=action, kind="error", code="Forbidden.RAM", status=403, times=None)
    assert lab.auto_link(lab.tag_event(instance))["denied"] >= 1
    assert {record["reason"] for record in lab.records(outcome="denied")} == {"no-access"}
    assert lab.rules(db) == [f"{app.id} tcp/1"]
