"""auto_link takes back what nobody wants any more, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer.domain.errors import Transient
from link_peer_local.ecs.state import Instance

from tests.functional.lab import HOME, Lab


def delete(lab: Lab, instance: Instance) -> None:
    """Released by a person."""
    lab.call(HOME, "DeleteInstance", {"InstanceId": instance.id, "Force": "true"})


def test_a_tag_taken_off_takes_the_rule_away(lab: Lab) -> None:
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    lab.tag(instance, link_peer=None)
    assert lab.auto_link(lab.tag_event(instance)) == {"removed": 1}
    assert lab.rules(db) == []
    record = lab.outcome()
    assert (record["from"], record["to"], record["ports"]) == (app.id, db.id, "tcp/3306")
    assert record["action"] == "unlink"


def test_a_mutual_links_two_rules_go_together(lab: Lab) -> None:
    """One decision, both sides; its link id is that of the link that was applied."""
    app, db = lab.group("*"), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": db.id})
    lab.auto_link(lab.event(instance))
    applied = lab.outcome()
    lab.tag(instance, link_peer=None)
    assert lab.auto_link(lab.tag_event(instance)) == {"removed": 1}
    assert lab.rules(db) == lab.rules(app) == []
    assert lab.outcome()["link"] == applied["link"]


def test_a_changed_tag_replaces_the_rules(lab: Lab) -> None:
    """Another port, then another peer."""
    app, db, cache = lab.group(), lab.group("*"), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))

    lab.tag(instance, link_peer=f"{db.id}:tcp/5432")
    assert lab.auto_link(lab.tag_event(instance)) == {"applied": 1, "removed": 1}
    assert lab.rules(db) == [f"{app.id} tcp/5432"]

    lab.tag(instance, link_peer=f"{cache.id}:tcp/6379")
    assert lab.auto_link(lab.tag_event(instance)) == {"applied": 1, "removed": 1}
    assert (lab.rules(db), lab.rules(cache)) == ([], [f"{app.id} tcp/6379"])


def test_a_port_that_stays_is_not_touched_when_others_go(lab: Lab) -> None:
    """The rule keeps its id: established work on it is not cut."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1+tcp/2"})
    lab.auto_link(lab.event(instance))
    kept = next(r["SecurityGroupRuleId"] for r in lab.raw_rules(db) if r["PortRange"] == "1/1")
    lab.tag(instance, link_peer=f"{db.id}:tcp/1")
    lab.auto_link(lab.tag_event(instance))
    assert [r["SecurityGroupRuleId"] for r in lab.raw_rules(db)] == [kept]


def test_from_mutual_to_a_port_closes_the_rest(lab: Lab) -> None:
    app, db = lab.group("*"), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": db.id})
    lab.auto_link(lab.event(instance))
    lab.tag(instance, link_peer=f"{db.id}:tcp/3306")
    assert lab.auto_link(lab.tag_event(instance)) == {"applied": 1, "removed": 1}
    assert (lab.rules(db), lab.rules(app)) == ([f"{app.id} tcp/3306"], [])


def test_a_rule_stays_while_another_instance_of_the_group_wants_it(lab: Lab) -> None:
    """The last one to go takes it along."""
    app, db = lab.group(), lab.group("*")
    one, two = (lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"}) for _ in range(2))
    lab.auto_link(lab.event(one))
    lab.tag(one, link_peer=None)
    assert lab.auto_link(lab.tag_event(one)) == {}
    assert lab.rules(db) == [f"{app.id} tcp/3306"]
    lab.tag(two, link_peer=None)
    assert lab.auto_link(lab.tag_event(two)) == {"removed": 1}
    assert lab.rules(db) == []


def test_the_ports_that_only_one_of_two_instances_wants_go_with_it(lab: Lab) -> None:
    """Instances of one group ask for overlapping ports of one peer."""
    app, db = lab.group(), lab.group("*")
    one = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1+tcp/2"})
    two = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/2+tcp/3"})
    lab.auto_link(lab.event(one), lab.event(two))
    lab.tag(one, link_peer=None)
    lab.auto_link(lab.tag_event(one))
    assert lab.rules(db) == [f"{app.id} tcp/2", f"{app.id} tcp/3"]


def test_an_instance_past_the_first_page_still_counts(lab: Lab) -> None:
    """A group of more than a hundred members is read whole before anything goes."""
    app, db = lab.group(), lab.group("*")
    oldest = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    for _ in range(105):
        lab.instance(app)
    newest = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(newest))
    lab.tag(newest, link_peer=None)
    assert lab.auto_link(lab.tag_event(newest)) == {}
    assert lab.rules(db) == [f"{app.id} tcp/3306"]
    lab.tag(oldest, link_peer=None)
    lab.auto_link(lab.tag_event(oldest))
    assert lab.rules(db) == []


@pytest.mark.parametrize("peer", ["group", "instance"])
def test_a_deleted_instance_takes_its_links_along(lab: Lab, peer: str) -> None:
    """The event names it, the cloud does not show it any more, and nobody else wants the rule."""
    app, db = lab.group(), lab.group("*")
    target = lab.instance(db)
    instance = lab.instance(app, tags={"link-peer": f"{db.id if peer == 'group' else target.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    delete(lab, instance)
    assert lab.auto_link(lab.event(instance, "Deleted")) == {"removed": 1}
    assert lab.rules(db) == []


def test_a_deleted_instance_leaves_what_its_neighbour_wants(lab: Lab) -> None:
    app, db = lab.group(), lab.group("*")
    one, _two = (lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"}) for _ in range(2))
    lab.auto_link(lab.event(one))
    delete(lab, one)
    assert lab.auto_link(lab.event(one, "Deleted")) == {}
    assert lab.rules(db) == [f"{app.id} tcp/3306"]


def test_a_deleted_target_takes_the_rules_to_its_address_along(lab: Lab) -> None:
    """Whoever gets the address next must not be reached by it: the target's event is enough."""
    app, db = lab.group("*"), lab.group("*")
    target = lab.instance(db)
    instance = lab.instance(app, tags={"link-peer": target.id})
    lab.auto_link(lab.event(instance))
    delete(lab, target)
    lab.auto_link(lab.event(target, "Deleted"))
    assert lab.rules(db) == lab.rules(app) == []


def test_deleted_is_believed_of_the_cloud_not_of_the_event(lab: Lab) -> None:
    """An event is a hint: an instance that the cloud still shows keeps its links, whatever the event says."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    assert lab.auto_link(lab.event(instance, "Deleted")) == {"unchanged": 1}
    assert lab.rules(db) == [f"{app.id} tcp/3306"]


def test_an_end_that_is_past_takes_the_links_of_the_instance_back(lab: Lab) -> None:
    """Denied `expired` while the tag stands, and what stood is removed."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306", "link-until": lab.iso(600)})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    lab.cloud.clock.advance(599)
    assert lab.auto_link(lab.event(instance)) == {"unchanged": 1}
    lab.cloud.clock.advance(1)
    assert lab.auto_link(lab.event(instance)) == {"denied": 1, "removed": 1}
    assert lab.rules(db) == []
    assert {r["reason"] for r in lab.records()[-2:]} == {"expired"}
    assert lab.records(outcome="removed")[0]["action"] == "expire"


def test_an_end_concerns_the_links_of_its_own_instance_alone(lab: Lab) -> None:
    """A neighbour without an end keeps the rule."""
    app, db = lab.group(), lab.group("*")
    ended = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306", "link-until": lab.iso(60)})
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(ended))
    lab.cloud.clock.advance(61)
    assert lab.auto_link(lab.event(ended)) == {"denied": 1}
    assert lab.rules(db) == [f"{app.id} tcp/3306"]


def test_an_unreadable_end_removes_what_stands(lab: Lab) -> None:
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    lab.tag(instance, link_until="soon")
    assert lab.auto_link(lab.tag_event(instance)) == {"denied": 1, "removed": 1}
    assert lab.rules(db) == []


def test_a_peer_that_became_unreadable_is_a_wish_taken_back(lab: Lab) -> None:
    """The old rule is asked for by nobody, the new value is denied."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    lab.tag(instance, link_peer=f"{db.id}:tcp/x")
    assert lab.auto_link(lab.tag_event(instance)) == {"denied": 1, "removed": 1}
    assert lab.rules(db) == []


def test_a_rule_that_a_request_holds_too_only_loses_the_tag(lab: Lab) -> None:
    """The reason goes, the rule stays, and so does its id."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    lab.cross_account(lab.request(app, db, "tcp/3306"))
    (before,) = lab.raw_rules(db)
    assert lab.reasons(db) == ["tag,req:chg-1"]

    lab.tag(instance, link_peer=None)
    lab.auto_link(lab.tag_event(instance))
    (after,) = lab.raw_rules(db)
    assert lab.reasons(db) == ["req:chg-1"]
    assert after["SecurityGroupRuleId"] == before["SecurityGroupRuleId"]


def test_auto_link_adds_the_tags_reason_to_a_rule_that_a_request_made(lab: Lab) -> None:
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/3306"))
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert lab.reasons(db) == ["tag,req:chg-1"]


def test_auto_link_leaves_a_requests_rule_alone(lab: Lab) -> None:
    """No tag asks for it, but a request does; the sweep, not an event, ends requests."""
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/3306"))
    assert lab.auto_link(lab.tag_event(lab.instance(app))) == {}
    assert lab.reasons(db) == ["req:chg-1"]


def test_more_than_a_hundred_rules_go_in_several_calls(lab: Lab) -> None:
    """One call takes at most a hundred ids."""
    db = lab.group("*")
    target = lab.instance(db)
    ports = {n: "+".join(f"tcp/{n}{p:02d}" for p in range(10)) for n in range(11, 22)}
    tags = {f"link-peer.{n}": f"{target.id}:{some}" for n, some in ports.items()}
    instance = lab.instance(lab.group(), tags=tags)
    lab.policy(limits={"removals_per_run": 500})
    lab.auto_link(lab.event(instance))
    assert len(lab.rules(db)) == 110
    for name in tags:
        lab.tag(instance, **{name: None})
    assert lab.auto_link(lab.tag_event(instance)) == {"removed": 1}
    assert lab.rules(db) == []


def test_removals_over_the_cap_are_all_held(lab: Lab) -> None:
    """Two rules lost their reason, one may go a run: none goes, and a summary says so. Adds are done all the same."""
    lab.policy(limits={"removals_per_run": 1})
    app, db, cache = lab.group(), lab.group("*"), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1+tcp/2"})
    lab.auto_link(lab.event(instance))
    lab.tag(instance, link_peer=f"{cache.id}:tcp/3")
    lab.auto_link(lab.tag_event(instance))
    assert lab.rules(db) == [f"{app.id} tcp/1", f"{app.id} tcp/2"]
    assert lab.rules(cache) == [f"{app.id} tcp/3"]
    (summary,) = lab.records("summary")
    assert (summary["outcome"], summary["reason"]) == ("failed", "removals-held")


@pytest.mark.parametrize("cause", ["consent", "policy", "expiry"])
def test_explicit_causes_are_not_counted(lab: Lab, cause: str) -> None:
    """Withdrawn consent, policy and expiry were decided by somebody: the cap does not hold them."""
    lab.policy(limits={"removals_per_run": 1})
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1+tcp/2"})
    lab.auto_link(lab.event(instance))
    if cause == "consent":
        lab.tag(db, link_accept=None)
    elif cause == "policy":
        lab.policy(limits={"removals_per_run": 1}, deny={"ports": ["tcp/1-9"]})
    else:
        lab.tag(instance, link_until=lab.iso(-1))
    assert lab.auto_link(lab.event(instance))["removed"] == 1
    assert lab.rules(db) == []
    assert lab.records("summary") == []


def test_a_cap_of_nought_removes_nothing_that_is_not_seen(lab: Lab) -> None:
    lab.policy(limits={"removals_per_run": 0})
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.auto_link(lab.event(instance))
    lab.tag(instance, link_peer=None)
    lab.auto_link(lab.tag_event(instance))
    assert lab.rules(db) == [f"{app.id} tcp/1"]


def test_an_account_that_shows_no_instance_at_all_is_not_believed(lab: Lab) -> None:
    """A caller without the right to list instances is answered with an empty list: nothing is removed for it."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.auto_link(lab.event(instance))
    hide_instances(lab)
    lab.auto_link(lab.event(instance, "Deleted"))
    assert lab.rules(db) == [f"{app.id} tcp/1"]


def hide_instances(lab: Lab) -> None:
    """As for a caller who may not call DescribeInstances: an empty list, no error."""
    before = lab.cloud.ecs.permitted
    lab.cloud.ecs.permitted = lambda caller, action: action != "DescribeInstances" and before(caller, action)


def test_the_last_instance_of_an_account_is_left_to_a_person(lab: Lab) -> None:
    """Nobody can tell an account without instances from one that cannot be seen."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.auto_link(lab.event(instance))
    delete(lab, instance)
    lab.auto_link(lab.event(instance, "Deleted"))
    assert lab.rules(db) == [f"{app.id} tcp/1"]


@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeSecurityGroups", "DescribeSecurityGroupAttribute"])
@pytest.mark.parametrize("fault", [{"kind": "error"}, {"kind": "html"}, {"kind": "truncated-after"}])
def test_a_failed_read_removes_nothing(lab: Lab, action: str, fault: dict[str, Any]) -> None:
    """And the delivery comes again."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.instance(app)
    lab.auto_link(lab.event(instance))
    lab.tag(instance, link_peer=None)
    lab.fault(service="ecs", action=action, times=None, **fault)
    with pytest.raises(Transient):
        lab.auto_link(lab.tag_event(instance))
    assert lab.rules(db) == [f"{app.id} tcp/1"]


def test_among_many_managed_groups_the_lost_rule_is_found(lab: Lab) -> None:
    """A state change looks at the groups concerned only; a tag change, which may have lost something, at all of them."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.auto_link(lab.event(instance))
    for _ in range(25):
        lab.group(tags={"link-managed.prod": "true"})
    assert lab.auto_link(lab.event(instance)) == {"unchanged": 1}
    lab.tag(instance, link_peer=None)
    assert lab.auto_link(lab.tag_event(instance)) == {"removed": 1}
    assert lab.rules(db) == []


def test_a_neighbour_that_one_read_leaves_out_keeps_the_link(lab: Lab) -> None:
    """What is not seen is looked for a second time."""
    app, db = lab.group(), lab.group("*")
    tags = {"link-peer": f"{db.id}:tcp/1"}
    instance, neighbour = lab.instance(app, tags=tags), lab.instance(app, tags=tags)
    lab.auto_link(lab.event(instance))
    lab.tag(instance, link_peer=None)
    lab.leave_out(neighbour)
    lab.auto_link(lab.tag_event(instance))
    assert lab.rules(db) == [f"{app.id} tcp/1"]
