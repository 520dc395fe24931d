"""cross_account and sync: the pair is reconciled again; which links are wanted comes from the tags, never from the
message."""

from __future__ import annotations

import json

import pytest
from link_peer.app.compose import open_delivery
from link_peer.domain.model import ALL, Rule, RuleKey
from link_peer.domain.request import Request
from link_peer.engine.scopes.pair import reconcile_pair
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.inbound.requests import decode
from link_peer.planning.decision import Decision, Edit, Unseen
from link_peer_local.ecs.state import Group, Instance

from tests.functional.lab import HOME, PEER, REGION, Lab, party


def sync(lab: Lab, a: Group, b: Group) -> dict[str, int]:
    """A sync, which anyone may post."""
    return lab.cross_account(lab.request(a, b, action="sync"))


def wanting(lab: Lab, a: Group, b: Group, ports: str = ":tcp/1") -> Instance:
    return lab.instance(a, tags={"link-peer": f"{b.id}@{b.account}{ports}"})


def test_a_tag_opens_a_link_to_another_account_through_the_queue(lab: Lab) -> None:
    """auto_link posts the pair and cross_account finds the tag: claim `tag` in both accounts."""
    a, b = lab.pair()
    lab.auto_link(lab.event(wanting(lab, a, b, "")))
    assert lab.cross_account(*lab.queued()) == {"applied": 1}
    assert (lab.rules(a), lab.rules(b)) == ([f"{b.id} all"], [f"{a.id} all"])
    assert lab.reasons(a) == lab.reasons(b) == ["tag"]
    record = lab.outcome()
    assert record["action"] == "sync"
    assert record["request_id"].startswith("tag-")


def test_a_sync_without_a_tag_opens_nothing(lab: Lab) -> None:
    """Anyone may post one."""
    a, b = lab.pair()
    lab.instance(a)
    assert sync(lab, a, b) == {"unchanged": 1}
    assert (lab.rules(a), lab.rules(b)) == ([], [])
    assert lab.changes() == 0


def test_a_sync_in_the_opposite_direction_opens_nothing(lab: Lab) -> None:
    """Only the tags of `from`'s instances count."""
    a, b = lab.pair()
    wanting(lab, a, b)
    assert sync(lab, b, a) == {"unchanged": 1}
    assert lab.rules(b) == []


def test_a_sync_reads_tags_in_the_other_account_too(lab: Lab) -> None:
    """`from` may be the peer account's group, whose instances ask for home's."""
    a, b = lab.pair()
    wanting(lab, b, a)
    assert sync(lab, b, a) == {"applied": 1}
    assert lab.rules(a) == [f"{b.id} tcp/1"]


def test_a_second_sync_changes_nothing(lab: Lab) -> None:
    a, b = lab.pair()
    wanting(lab, a, b)
    sync(lab, a, b)
    before = lab.changes()
    assert sync(lab, a, b) == {"unchanged": 1}
    assert lab.changes() == before


def test_removing_the_tag_removes_the_rules(lab: Lab) -> None:
    a, b = lab.pair()
    instance = wanting(lab, a, b, "")
    lab.instance(b)
    lab.auto_link(lab.event(instance))
    lab.cross_account(*lab.queued())
    lab.tag(instance, link_peer=None)
    lab.auto_link(lab.tag_event(instance))
    assert lab.cross_account(*lab.queued()) == {"removed": 1}
    assert (lab.rules(a), lab.rules(b)) == ([], [])


def test_a_changed_tag_adds_the_new_and_removes_the_old(lab: Lab) -> None:
    a, b = lab.pair()
    instance = wanting(lab, a, b, ":tcp/1+tcp/2")
    lab.instance(b)
    sync(lab, a, b)
    lab.tag(instance, link_peer=f"{b.id}@{PEER}:tcp/2+tcp/3")
    assert sync(lab, a, b) == {"applied": 1, "removed": 1}
    assert lab.rules(b) == [f"{a.id} tcp/2", f"{a.id} tcp/3"]


def test_another_instance_that_asks_keeps_the_rule(lab: Lab) -> None:
    a, b = lab.pair()
    first = wanting(lab, a, b)
    wanting(lab, a, b)
    sync(lab, a, b)
    lab.tag(first, link_peer=None)
    assert sync(lab, a, b) == {"unchanged": 1}
    assert lab.rules(b) == [f"{a.id} tcp/1"]


def test_the_other_sides_tag_keeps_a_mutual_link(lab: Lab) -> None:
    """a's tag is removed; b's tag asks for the same mutual link."""
    a, b = lab.pair()
    first = wanting(lab, a, b, "")
    wanting(lab, b, a, "")
    sync(lab, a, b)
    lab.tag(first, link_peer=None)
    sync(lab, a, b)
    assert (lab.rules(a), lab.rules(b)) == ([f"{b.id} all"], [f"{a.id} all"])


def test_a_sync_keeps_the_claims_of_requests(lab: Lab) -> None:
    """It adds and removes only the claim `tag`."""
    a, b = lab.pair()
    instance = wanting(lab, a, b)
    lab.instance(b)
    lab.cross_account(lab.request(a, b, "tcp/1"), lab.request(a, b, action="sync", request_id="tag-1"))
    assert lab.reasons(b) == ["tag,req:chg-1"]
    lab.tag(instance, link_peer=None)
    assert sync(lab, a, b) == {"removed": 1}
    assert lab.reasons(b) == ["req:chg-1"]


def test_a_link_request_keeps_the_tags_claim(lab: Lab) -> None:
    """Even if no tag asks any more."""
    a, b = lab.pair()
    instance = wanting(lab, a, b)
    sync(lab, a, b)
    lab.tag(instance, link_peer=None)
    lab.cross_account(lab.request(a, b, "tcp/1"))
    assert lab.reasons(b) == ["tag,req:chg-1"]


def test_a_sync_without_consent_is_denied_and_removes_the_rule(lab: Lab) -> None:
    """Withdrawn consent does not count toward the removal cap."""
    a, b = lab.pair()
    wanting(lab, a, b)
    sync(lab, a, b)
    lab.tag(b, link_accept=None)
    lab.policy(limits={"removals_per_run": 0})
    assert sync(lab, a, b) == {"denied": 1, "removed": 1}
    assert lab.rules(b) == []
    (record,) = lab.records(outcome="denied")
    assert f"tag {b.id}@{PEER} link-accept={a.id}@{HOME}:tcp/1" in record["advice"]


def test_removals_over_the_cap_are_held_across_messages(lab: Lab) -> None:
    """Counted over all messages of a delivery: none is made, and one summary says so."""
    a, b = lab.pair()
    c = lab.group(f"*@{PEER}")
    first, second = wanting(lab, a, b), wanting(lab, c, b)
    lab.instance(b)
    lab.cross_account(lab.request(a, b, action="sync"), lab.request(c, b, action="sync", request_id="tag-2"))
    lab.policy(limits={"removals_per_run": 1})
    lab.tag(first, link_peer=None)
    lab.tag(second, link_peer=None)
    lab.cross_account(lab.request(a, b, action="sync"), lab.request(c, b, action="sync", request_id="tag-2"))
    assert len(lab.rules(b)) == 2
    (summary,) = lab.records("summary")
    assert (summary["outcome"], summary["reason"]) == ("failed", "removals-held")
    assert summary["function"] == "cross_account"
    lab.policy(limits={"removals_per_run": 2})
    lab.cross_account(lab.request(a, b, action="sync"), lab.request(c, b, action="sync", request_id="tag-2"))
    assert lab.rules(b) == []


def test_a_pair_that_a_delivery_names_twice_counts_once(lab: Lab) -> None:
    """It is the same rule that is due."""
    a, b = lab.pair()
    instance = wanting(lab, a, b)
    lab.instance(a)
    lab.instance(b)
    sync(lab, a, b)
    lab.policy(limits={"removals_per_run": 1})
    lab.tag(instance, link_peer=None)
    looks = [lab.request(a, b, action="sync", request_id=f"tag-{n}") for n in range(3)]
    assert lab.cross_account(*looks) == {"removed": 1, "unchanged": 2}
    assert lab.records("summary") == []


def test_no_rule_is_removed_in_an_account_that_shows_no_instances(lab: Lab) -> None:
    """An account without instances looks like one that may not be read."""
    a, b = lab.pair()
    instance = wanting(lab, a, b)
    sync(lab, a, b)
    lab.call(HOME, "DeleteInstance", {"InstanceId": instance.id, "Force": "true"})
    assert sync(lab, a, b) == {"unchanged": 1}
    assert lab.rules(b) == [f"{a.id} tcp/1"]
    assert f"{HOME} shows no instances" in lab.outcome()["detail"]


def test_a_sync_with_ports_or_an_end_is_invalid(lab: Lab) -> None:
    a, b = lab.pair()
    assert lab.cross_account(lab.request(a, b, "tcp/1", action="sync")) == {"denied": 1}
    assert lab.cross_account(lab.request(a, b, action="sync", until=lab.iso(60))) == {"denied": 1}
    assert {record["reason"] for record in lab.records()} == {"bad-request"}


def test_link_until_ends_a_tags_link_in_the_other_account(lab: Lab) -> None:
    a, b = lab.pair()
    instance = wanting(lab, a, b)
    lab.instance(b)
    lab.tag(instance, link_until=lab.iso(600))
    assert sync(lab, a, b) == {"applied": 1}
    lab.cloud.clock.advance(600)
    assert sync(lab, a, b) == {"denied": 1, "removed": 1}
    assert lab.rules(b) == []


def test_the_first_suitable_group_represents_an_instance(lab: Lab) -> None:
    """auto_link posts the same pair that cross_account finds."""
    a, b = lab.pair()
    other = lab.group(f"*@{PEER}")
    instance = lab.instance(other, a, tags={"link-peer": f"{b.id}@{PEER}:tcp/1"})
    lab.auto_link(lab.event(instance))
    (request,) = lab.queued()
    assert request["from"]["party"] == other.id
    assert lab.cross_account(request) == {"applied": 1}
    assert sync(lab, a, b) == {"unchanged": 1}
    assert lab.rules(b) == [f"{other.id} tcp/1"]


def test_an_instance_omitted_from_one_read_keeps_its_link(lab: Lab) -> None:
    """A Describe call may omit members; they are read again before they count as gone."""
    a, b = lab.pair()
    lab.instance(a)
    lab.instance(b)
    instance = wanting(lab, a, b)
    sync(lab, a, b)
    lab.leave_out(instance)
    assert sync(lab, a, b) == {"unchanged": 1}
    assert lab.rules(b) == [f"{a.id} tcp/1"]


def test_removals_of_earlier_messages_count_toward_the_cap(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if they could not be counted beforehand."""
    a, b = lab.pair()
    instance = wanting(lab, a, b)
    lab.instance(a)
    lab.instance(b)
    sync(lab, a, b)
    lab.tag(instance, link_peer=None)
    lab.policy(limits={"removals_per_run": 1})
    for name, value in lab.function_keys().items():
        monkeypatch.setenv(name, value)
    delivery = open_delivery("cross_account", lab.context)
    request = decode(json.dumps(lab.request(a, b, action="sync")), region=REGION, now=delivery.clock.now())
    assert isinstance(request, Request)
    guard = RemovalGuard(1)
    removal = Edit(RuleKey(party(b), "sg-x", "", ALL), rule=Rule(party(b), "sgr-1", None, "accept", 100))
    guard.made(Decision(request.link, "sync", "removed", edits=(removal,), unseen=frozenset({Unseen(HOME, PEER)})))
    reconcile_pair(delivery, request, "", delivery.audit({}), guard)
    assert len(lab.rules(b)) == 1
    (held,) = lab.records("summary")
    assert (held["reason"], held["from_account"]) == ("removals-held", HOME)
    assert [record["reason"] for record in lab.records(outcome="failed")] == ["removals-held"]
    reconcile_pair(delivery, request, "", delivery.audit({}), RemovalGuard(1))
    assert lab.rules(b) == []
