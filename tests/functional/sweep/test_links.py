"""The sweep restores the desired state, whatever events were lost, and whatever people or the policy changed."""

from __future__ import annotations

import pytest
from aliyun_local.api import Group, Instance

from tests.functional.lab import HOME, PEER, POLICY, Lab

pytestmark = pytest.mark.usefixtures("living_lab", "by_account")


# lost events


@pytest.mark.parametrize("account", [HOME, PEER])
def test_a_tag_whose_event_was_lost_is_linked(lab: Lab, account: str) -> None:
    """In every account of the policy, not only at home."""
    app, db = lab.group(account=account), lab.group("*", account=account)
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert lab.sweep()["applied"] == 1
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    assert lab.reasons(db) == ["tag"]
    (record,) = lab.records(outcome="applied")
    assert (record["function"], record["action"]) == ("sweep", "repair")


# claims that ended


def test_a_tag_removed_in_another_account_closes_its_link(lab: Lab) -> None:
    """Events of the peer account are not delivered to home."""
    a, b = lab.pair()
    instance = lab.instance(b, tags={"link-peer": f"{a.id}@{HOME}:tcp/1"})
    lab.sweep()
    assert lab.rules(a) == [f"{b.id} tcp/1"]
    lab.tag(instance, link_peer=None)
    lab.sweep()
    assert lab.rules(a) == []


def test_a_requests_link_expires_at_its_end(lab: Lab) -> None:
    """To the second, on both sides, each of which is recorded by itself, with action `expire`."""
    a, b = lab.pair()
    end = lab.iso(3600)
    lab.cross_account(lab.request(a, b, until=end))
    start = lab.cloud.clock.now()
    lab.cloud.clock.advance(3598)
    lab.sweep()
    assert len(lab.rules(a)) == len(lab.rules(b)) == 1
    lab.cloud.clock.advance(start + 3600 - lab.cloud.clock.now())
    lab.sweep()
    assert (lab.rules(a), lab.rules(b)) == ([], [])
    records = lab.records(action="expire")
    assert [(record["outcome"], record["reason"]) for record in records] == [("removed", "expired")] * 2
    assert {end for record in records for end in (record["from"], record["to"])} == {a.id, b.id}


# half-open


@pytest.mark.parametrize("removed_side", ["a", "b"])
@pytest.mark.parametrize("kind", ["groups", "instances"])
def test_a_requests_mutual_link_with_one_side_missing_is_removed(lab: Lab, removed_side: str, kind: str) -> None:
    """Half an hour after it was made, however many sweeps run meanwhile: the sweep opens nothing for a request, since a
    marker is no request. The removal is `half-open`."""
    a, b = lab.pair()
    ends: list[Group | Instance] = [a, b] if kind == "groups" else [lab.instance(a), lab.instance(b)]
    lab.cross_account(lab.request(*ends))
    lab.revoke(a if removed_side == "a" else b)
    standing_group = b if removed_side == "a" else a
    for _ in range(2):
        lab.sweep()
        assert len(lab.rules(a)) + len(lab.rules(b)) == len(lab.rules(standing_group)) == 1
        lab.cloud.clock.advance(890)
    lab.cloud.clock.advance(30)
    lab.sweep()
    assert (lab.rules(a), lab.rules(b)) == ([], [])
    (record,) = lab.records(outcome="removed")
    assert record["reason"] == "half-open"
    assert {record["from"], record["to"]} == {end.id for end in ends}
    assert lab.records(outcome="applied", function="sweep") == []


# addresses


def test_an_instance_rule_is_removed_if_another_instance_has_its_address(lab: Lab) -> None:
    """Otherwise an instance that no one consented to would be admitted."""
    a, b = lab.pair()
    instance, two = lab.instance(a), lab.instance(b)
    lab.cross_account(lab.request(instance, two))
    lab.release(instance)
    lab.cloud.ecs.ip_pool = [instance.private_ip]
    newcomer = lab.instance(a)
    assert newcomer.private_ip == instance.private_ip
    lab.sweep()
    assert (lab.rules(a), lab.rules(b)) == ([], [])


# the policy


def test_a_pair_removed_from_the_allow_list_is_closed(lab: Lab) -> None:
    a, b = lab.group(), lab.group(account=PEER)
    lab.policy(allow=[{"from": f"{a.id}@{HOME}", "to": f"{b.id}@{PEER}"}])
    lab.cross_account(lab.request(a, b, "tcp/1"))
    lab.sweep()
    assert len(lab.rules(b)) == 1
    lab.policy()
    lab.sweep()
    assert lab.rules(b) == []


def test_an_account_removed_from_the_policy_is_no_longer_admitted(lab: Lab) -> None:
    """Its rules at home are removed. Those in the account itself stay, because link-peer may not enter it."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    lab.policy(accounts={HOME: POLICY["accounts"][HOME]})
    lab.sweep()
    assert lab.rules(a) == []
    assert len(lab.rules(b)) == 1
    assert lab.records(outcome="removed")[0]["reason"] == "unknown-account"
