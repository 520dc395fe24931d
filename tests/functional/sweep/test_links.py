"""The sweep restores the desired state, whatever events were lost and whatever people edited."""

from __future__ import annotations

import pytest
from link_peer_local.ecs.state import Group, Instance

from tests.functional.lab import HOME, PEER, Lab

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


@pytest.mark.parametrize("by_account", ["one delivery"], indirect=True)  # its summary is that of all accounts
def test_a_requests_link_expires_at_its_end(lab: Lab) -> None:
    """To the second, on both sides, with action `expire`."""
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
    (record,) = lab.records(action="expire")
    assert (record["outcome"], record["reason"]) == ("removed", "expired")
    assert {record["from"], record["to"]} == {a.id, b.id}


# half-open


@pytest.mark.parametrize("gone", ["a", "b"])
@pytest.mark.parametrize("kind", ["groups", "instances"])
def test_a_requests_mutual_link_with_one_side_missing_is_removed(lab: Lab, gone: str, kind: str) -> None:
    """Half an hour after it was made, however many sweeps run meanwhile: the sweep opens nothing for a request, since a
    marker is no request. The removal is `half-open`."""
    a, b = lab.pair()
    ends: list[Group | Instance] = [a, b] if kind == "groups" else [lab.instance(a), lab.instance(b)]
    lab.cross_account(lab.request(*ends))
    lab.revoke(a if gone == "a" else b)
    left = b if gone == "a" else a
    for _ in range(2):
        lab.sweep()
        assert len(lab.rules(a)) + len(lab.rules(b)) == len(lab.rules(left)) == 1
        lab.cloud.clock.advance(890)
    lab.cloud.clock.advance(30)
    lab.sweep()
    assert (lab.rules(a), lab.rules(b)) == ([], [])
    (record,) = lab.records(outcome="removed")
    assert record["reason"] == "half-open"
    assert {record["from"], record["to"]} == {end.id for end in ends}
    assert lab.records(outcome="applied", function="sweep") == []


@pytest.mark.knobs(group_sources="rules")
@pytest.mark.parametrize("sources", [1, 20])
def test_a_half_open_link_that_cannot_be_completed_is_removed(lab: Lab, sources: int) -> None:
    """The group has no room: both sides or neither, whether that is known in advance or the API says so."""
    a, b = lab.pair()
    lab.instance(a, tags={"link-peer": f"{b.id}@{PEER}"})
    lab.sweep()
    lab.revoke(a)
    groups = [lab.group() for _ in range(sources)]
    for port in range(1, 21):
        lab.authorize(a, IpProtocol="UDP", PortRange=f"{port}/{port}", SourceGroupId=groups[port % sources].id)
    lab.sweep()
    assert lab.rules(b) == []
    assert lab.records(outcome="failed")[0]["reason"] == "quota"
