"""sweep finds and repairs: whatever events got lost and whoever edited by hand, the rules are what is wanted again."""

from __future__ import annotations

from typing import Any

import pytest

from local.ecs.state import Group, Instance
from tests.functional.lab import HOME, PEER, POLICY, Lab


@pytest.fixture(name="lab")
def _living(lab: Lab) -> Lab:
    """In each account an instance runs that has nothing to do with us: so that what is not seen is believed to be gone."""
    lab.instance(lab.group())
    lab.instance(lab.group(account=PEER))
    return lab


def release(lab: Lab, instance: Instance) -> None:
    lab.call(instance.account, "DeleteInstance", {"InstanceId": instance.id, "Force": "true"})


def revoke(lab: Lab, group: Group, rule: dict[str, Any] | None = None) -> None:
    """A person's hand."""
    rule_id = (rule or lab.raw_rules(group)[0])["SecurityGroupRuleId"]
    lab.call(group.account, "RevokeSecurityGroup", {"SecurityGroupId": group.id, "SecurityGroupRuleId.1": rule_id})


def linked(lab: Lab, ports: str = ":tcp/1") -> tuple[Instance, Group, Group]:
    """A tag link at home that stands."""
    app, db = lab.group("*"), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}{ports}"})
    lab.auto_link(lab.event(instance))
    return instance, app, db


# what events missed


@pytest.mark.parametrize("account", [HOME, PEER])
def test_a_tag_whose_event_was_lost_is_linked(lab: Lab, account: str) -> None:
    """In any account of the policy, not only at home."""
    app, db = lab.group(account=account), lab.group("*", account=account)
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert lab.sweep()["applied"] == 1
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    assert lab.reasons(db) == ["tag"]
    (record,) = lab.records(outcome="applied")
    assert (record["function"], record["action"]) == ("sweep", "repair")


@pytest.mark.parametrize(("source", "target"), [(HOME, PEER), (PEER, HOME)])
def test_a_tag_that_names_another_account_is_linked(lab: Lab, source: str, target: str) -> None:
    """Both ways, without the queue."""
    app, db = lab.group(f"*@{target}", account=source), lab.group(f"*@{source}", account=target)
    lab.instance(app, tags={"link-peer": f"{db.id}@{target}"})
    assert lab.sweep()["applied"] == 1
    assert (lab.rules(app), lab.rules(db)) == ([f"{db.id} all"], [f"{app.id} all"])


def test_tags_that_came_late_are_found(lab: Lab) -> None:
    """auto_link saw the instance before its tags did show."""
    app, db = lab.group(), lab.group("*")
    lab.cloud.ecs.read_lag.tags = 60
    instance = lab.instance(app)
    lab.tag(instance, link_peer=f"{db.id}:tcp/1")
    lab.auto_link(lab.event(instance))
    assert lab.rules(db) == []
    lab.cloud.clock.advance(61)
    assert lab.sweep()["applied"] == 1
    assert lab.rules(db) == [f"{app.id} tcp/1"]


def test_an_instance_link_whose_event_was_lost_is_made(lab: Lab) -> None:
    app, db = lab.group("*"), lab.group("*")
    two = lab.instance(db)
    one = lab.instance(app, tags={"link-peer": two.id})
    assert lab.sweep()["applied"] == 1
    assert lab.rules(db) == [f"{one.private_ip}/32>{two.private_ip}/32 all"]
    assert lab.rules(app) == [f"{two.private_ip}/32>{one.private_ip}/32 all"]


# what lost its reason


def test_the_links_of_a_released_instance_go(lab: Lab) -> None:
    instance, _, db = linked(lab)
    release(lab, instance)
    assert lab.sweep()["removed"] >= 1
    assert lab.rules(db) == []


def test_the_links_of_a_released_instance_stay_while_a_neighbour_wants_them(lab: Lab) -> None:
    instance, app, db = linked(lab)
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    release(lab, instance)
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/1"]


def test_a_link_whose_tag_went_goes(lab: Lab) -> None:
    """Both sides of a mutual one."""
    instance, app, db = linked(lab, "")
    lab.tag(instance, link_peer=None)
    lab.sweep()
    assert (lab.rules(app), lab.rules(db)) == ([], [])


def test_a_tag_of_another_account_that_no_event_names_goes_with_its_rule(lab: Lab) -> None:
    """The peer account's events do not come here."""
    a, b = lab.pair()
    instance = lab.instance(b, tags={"link-peer": f"{a.id}@{HOME}:tcp/1"})
    lab.sweep()
    assert lab.rules(a) == [f"{b.id} tcp/1"]
    lab.tag(instance, link_peer=None)
    lab.sweep()
    assert lab.rules(a) == []


def test_a_requests_link_that_is_past_its_end_expires(lab: Lab) -> None:
    """At the very second, on both sides, with action `expire`."""
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


def test_of_two_ends_each_takes_its_own_reason(lab: Lab) -> None:
    a, b = lab.pair()
    lab.cross_account(
        lab.request(a, b, "tcp/1", until=lab.iso(60)),
        lab.request(a, b, "tcp/1", request_id="chg-2"),
    )
    lab.cloud.clock.advance(60)
    lab.sweep()
    assert lab.reasons(b) == ["req:chg-2"]


def test_link_until_ends_what_the_instance_asks_for(lab: Lab) -> None:
    instance, _, db = linked(lab)
    lab.tag(instance, link_until=lab.iso(600))
    lab.sweep()
    assert len(lab.rules(db)) == 1
    lab.cloud.clock.advance(600)
    lab.sweep()
    assert lab.rules(db) == []
    (record,) = lab.records(action="expire")
    assert record["outcome"] == "removed"


def test_an_unreadable_link_until_ends_them_too(lab: Lab) -> None:
    """Nobody knows until when: `bad-tag`, and what stands is removed."""
    instance, _, db = linked(lab)
    lab.tag(instance, link_until="next week")
    lab.sweep()
    assert lab.rules(db) == []
    assert lab.records(outcome="denied")[-1]["reason"] == "bad-tag"


@pytest.mark.parametrize("kind", ["tag", "request"])
@pytest.mark.parametrize("accept", [None, "*@1000000000000003", "{a}@{home}:tcp/2", "{a}@{home}:tcp/2+tcp/1x"])
def test_consent_that_is_withdrawn_or_narrowed_closes_the_link(lab: Lab, kind: str, accept: str | None) -> None:
    a, b = lab.pair()
    if kind == "tag":
        lab.instance(a, tags={"link-peer": f"{b.id}@{PEER}:tcp/1"})
        lab.sweep()
    else:
        lab.cross_account(lab.request(a, b, "tcp/1"))
    assert len(lab.rules(b)) == 1
    lab.tag(b, link_accept=accept and accept.format(a=a.id, home=HOME))
    lab.sweep()
    assert lab.rules(b) == []
    record = lab.records(outcome="removed")[0]
    assert record["reason"] == "no-consent"
    assert f"tag {b.id}@{PEER} link-accept={a.id}@{HOME}:tcp/1" in record["advice"]


@pytest.mark.parametrize("side", ["a", "b"])
def test_consent_withdrawn_on_one_side_closes_both_sides_of_a_mutual_link(lab: Lab, side: str) -> None:
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    lab.tag(a if side == "a" else b, link_accept=None)
    lab.sweep()
    assert (lab.rules(a), lab.rules(b)) == ([], [])


# half-open


@pytest.mark.parametrize("gone", ["a", "b"])
@pytest.mark.parametrize("kind", ["tag", "request"])
def test_a_mutual_link_with_one_side_missing_is_completed(lab: Lab, gone: str, kind: str) -> None:
    """If both still consent."""
    a, b = lab.pair()
    if kind == "tag":
        lab.instance(a, tags={"link-peer": f"{b.id}@{PEER}"})
        lab.sweep()
    else:
        lab.cross_account(lab.request(a, b))
    before = (lab.reasons(a), lab.reasons(b))
    revoke(lab, a if gone == "a" else b)
    assert lab.sweep()["applied"] == 1
    assert (lab.rules(a), lab.rules(b)) == ([f"{b.id} all"], [f"{a.id} all"])
    assert (lab.reasons(a), lab.reasons(b)) == before


@pytest.mark.parametrize("gone", ["a", "b"])
def test_a_half_open_link_without_consent_is_removed(lab: Lab, gone: str) -> None:
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    group, other = (a, b) if gone == "a" else (b, a)
    revoke(lab, group)
    lab.tag(group, link_accept=None)
    lab.sweep()
    assert (lab.rules(group), lab.rules(other)) == ([], [])


def test_a_half_open_link_that_has_no_room_is_removed(lab: Lab) -> None:
    """It cannot be completed: both sides or neither."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    revoke(lab, a)
    source = lab.group()
    for port in range(1, 21):
        lab.authorize(a, IpProtocol="UDP", PortRange=f"{port}/{port}", SourceGroupId=source.id)
    lab.sweep()
    assert lab.rules(b) == []
    assert lab.records(outcome="failed")[0]["reason"] == "quota"


def test_a_half_open_link_of_instances_is_completed(lab: Lab) -> None:
    a, b = lab.pair()
    one, two = lab.instance(a), lab.instance(b)
    lab.cross_account(lab.request(one, two))
    revoke(lab, a)
    lab.sweep()
    assert lab.rules(a) == [f"{two.private_ip}/32>{one.private_ip}/32 all"]


# hands on rules


def test_a_rule_deleted_by_hand_comes_back(lab: Lab) -> None:
    _, app, db = linked(lab)
    revoke(lab, db)
    assert lab.sweep()["applied"] == 1
    assert lab.rules(db) == [f"{app.id} tcp/1"]


def test_a_priority_changed_by_hand_is_put_back(lab: Lab) -> None:
    """An accept of ours must never beat an operator's drop."""
    _, _, db = linked(lab)
    lab.modify(db, lab.raw_rules(db)[0], Priority="1")
    lab.sweep()
    (rule,) = lab.raw_rules(db)
    assert int(rule["Priority"]) == 100


@pytest.mark.parametrize(
    "text", ["temporary", "link-peer/2 dep=prod", "link-peer/1 dep=prod id=0000000000000000 by=tag"]
)
def test_a_rule_whose_description_a_hand_changed_is_that_hands_rule(lab: Lab, text: str) -> None:
    """Without our marker it is not ours: it counts as present, and nobody touches it any more."""
    instance, _, db = linked(lab)
    lab.modify(db, lab.raw_rules(db)[0], Description=text)
    before = lab.raw_rules(db)
    lab.sweep()
    lab.tag(instance, link_peer=None)
    lab.sweep()
    assert lab.raw_rules(db) == before


def test_a_rule_whose_ports_a_hand_changed_is_that_hands_and_ours_is_written_anew(lab: Lab) -> None:
    """The marker's id belongs to other ports."""
    _, app, db = linked(lab)
    lab.modify(db, lab.raw_rules(db)[0], PortRange="2/2")
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/1", f"{app.id} tcp/2"]
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/1", f"{app.id} tcp/2"]


def test_reasons_added_by_hand_for_requests_that_never_were_need_consent_all_the_same(lab: Lab) -> None:
    """Whoever may write rules may write a reason; without consent it closes."""
    _, _, db = linked(lab)
    (rule,) = lab.raw_rules(db)
    lab.modify(db, rule, Description=rule["Description"].replace("by=tag", "by=req:forged"))
    lab.tag(db, link_accept=None)
    lab.sweep()
    assert lab.rules(db) == []


# addresses


def test_an_instance_rule_whose_address_now_is_another_instances_goes(lab: Lab) -> None:
    """A stranger got the address: neither he nor anybody else keeps the way in."""
    a, b = lab.pair()
    one, two = lab.instance(a), lab.instance(b)
    lab.cross_account(lab.request(one, two))
    release(lab, one)
    lab.cloud.ecs.ip_pool = [one.private_ip]
    stranger = lab.instance(a)
    assert stranger.private_ip == one.private_ip
    lab.sweep()
    assert (lab.rules(a), lab.rules(b)) == ([], [])


def test_an_instance_rule_whose_address_is_nobodys_goes(lab: Lab) -> None:
    a, b = lab.pair()
    one, two = lab.instance(a), lab.instance(b)
    lab.cross_account(lab.request(one, two, "tcp/1"))
    release(lab, two)
    lab.sweep()
    assert lab.rules(b) == []
    assert lab.records(outcome="removed")[0]["reason"] == "instance-gone"


@pytest.mark.parametrize("kind", ["tag", "request"])
def test_an_instance_that_got_another_address_has_its_rule_there(lab: Lab, kind: str) -> None:
    """The old address goes, the new one comes: both ends are the same instances."""
    a, b = lab.group("*"), lab.group("*")
    two = lab.instance(b)
    one = lab.instance(a, tags={"link-peer": f"{two.id}:tcp/1"} if kind == "tag" else {})
    if kind == "tag":
        lab.auto_link(lab.event(one))
    else:
        lab.cross_account(lab.request(one, two, "tcp/1"))
    old, one.private_ip = one.private_ip, "10.2.9.9"
    lab.sweep()
    assert lab.rules(b) == [f"10.2.9.9/32>{two.private_ip}/32 tcp/1"]
    assert old not in str(lab.rules(b))


def test_an_address_that_moved_to_an_instance_that_wants_the_same_is_its_rule_now(lab: Lab) -> None:
    """The marker names the new instance; the reason of the one that is gone is not handed down."""
    a, b = lab.pair()
    one, two = lab.instance(a), lab.instance(b)
    lab.cross_account(lab.request(one, two, "tcp/1"))
    release(lab, one)
    lab.cloud.ecs.ip_pool = [one.private_ip]
    heir = lab.instance(a)
    assert lab.cross_account(lab.request(heir, two, "tcp/1", request_id="chg-2")) == {"applied": 1}
    lab.sweep()
    (rule,) = lab.raw_rules(b)
    assert f"by=req:chg-2 from={heir.id} to={two.id}@{PEER}" in rule["Description"]


# the policy


def test_a_port_that_the_policy_now_denies_is_closed(lab: Lab) -> None:
    _, _, db = linked(lab, ":tcp/22")
    lab.policy(deny={"ports": ["tcp/22"]})
    lab.sweep()
    assert lab.rules(db) == []
    assert lab.records(outcome="removed")[0]["reason"] == "not-allowed"


def test_a_denied_port_closes_every_mutual_link(lab: Lab) -> None:
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    lab.policy(deny={"ports": ["tcp/22"]})
    lab.sweep()
    assert (lab.rules(a), lab.rules(b)) == ([], [])


def test_a_pair_taken_off_the_allow_list_is_closed(lab: Lab) -> None:
    a, b = lab.group(), lab.group(account=PEER)
    lab.policy(allow=[{"from": f"{a.id}@{HOME}", "to": f"{b.id}@{PEER}"}])
    lab.cross_account(lab.request(a, b, "tcp/1"))
    lab.sweep()
    assert len(lab.rules(b)) == 1
    lab.policy()
    lab.sweep()
    assert lab.rules(b) == []


def test_an_account_taken_out_of_the_policy_is_let_in_no_longer(lab: Lab) -> None:
    """At home; in the account itself we may not work any more."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    lab.policy(accounts={HOME: POLICY["accounts"][HOME]})
    lab.sweep()
    assert lab.rules(a) == []
    assert len(lab.rules(b)) == 1
    assert lab.records(outcome="removed")[0]["reason"] == "unknown-account"


def test_tags_that_count_no_longer_close_what_they_opened(lab: Lab) -> None:
    """`accept_tags: false`."""
    _, _, db = linked(lab)
    lab.policy(accept_tags=False)
    lab.sweep()
    assert lab.rules(db) == []


# groups


def test_the_rules_that_wait_for_a_deleted_peer_group_are_denied(lab: Lab) -> None:
    """The platform deletes no group that a rule names; once a hand took the rule, the wish stays and is denied."""
    _, app, db = linked(lab)
    revoke(lab, db)
    lab.call(HOME, "DeleteSecurityGroup", {"SecurityGroupId": db.id})
    lab.sweep()
    record = lab.records(outcome="denied")[-1]
    assert (record["reason"], record["from"], record["to"]) == ("peer-not-found", app.id, db.id)


def test_the_half_that_a_deleted_peer_group_left_is_removed(lab: Lab) -> None:
    """The peer's rule went with it, ours names a group that is gone."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    revoke(lab, b)
    rules = a.rules.at(lab.cloud.clock.now())
    a.rules.change(lab.cloud.clock.now(), lambda _: ())
    lab.call(PEER, "DeleteSecurityGroup", {"SecurityGroupId": b.id})
    a.rules.change(lab.cloud.clock.now(), lambda _: rules)  # deleted by force, as a product's console may
    lab.sweep()
    assert lab.rules(a) == []
    assert lab.records(outcome="removed")[0]["reason"] == "peer-not-found"


def test_an_instance_that_left_its_group_takes_its_wish_along(lab: Lab) -> None:
    """Its new group is let in, the old one no longer."""
    instance, app, db = linked(lab)
    other = lab.group()
    lab.call(HOME, "JoinSecurityGroup", {"InstanceId": instance.id, "SecurityGroupId": other.id})
    lab.call(HOME, "LeaveSecurityGroup", {"InstanceId": instance.id, "SecurityGroupId": app.id})
    lab.sweep()
    assert lab.rules(db) == [f"{other.id} tcp/1"]


# the tag by which the sweep finds groups


def test_the_managed_tag_goes_with_the_last_rule(lab: Lab) -> None:
    """After another read; the intent is on record first."""
    instance, _, db = linked(lab)
    lab.tag(instance, link_peer=None)
    lab.sweep()
    assert "link-managed.prod" not in lab.tags(db)
    (intent,) = [r for r in lab.records("intent", function="sweep") if db.id == r["from"]]
    assert "tag" in intent["detail"]


def test_the_managed_tag_stays_while_any_rule_of_ours_stands(lab: Lab) -> None:
    _, _, db = linked(lab, ":tcp/1+tcp/2")
    revoke(lab, db)
    lab.sweep()
    assert lab.tags(db)["link-managed.prod"] == "true"


def test_a_managed_tag_that_a_hand_took_off_is_put_on_again(lab: Lab) -> None:
    """Where a wish leads to the group; a changed value counts as missing too."""
    _, _, db = linked(lab)
    for value in (None, "false"):
        lab.tag(db, **{"link-managed.prod": value})
        lab.sweep()
        assert lab.tags(db)["link-managed.prod"] == "true"


def test_the_managed_tag_of_another_deployment_is_not_ours_to_take_off(lab: Lab) -> None:
    group = lab.group(tags={"link-managed.test": "true"})
    lab.sweep()
    assert lab.tags(group) == {"link-managed.test": "true"}


def test_a_sweep_that_holds_removals_says_so_in_its_one_summary(lab: Lab) -> None:
    """With its counts; two records of one sweep would have one key, and a reader who counts keys would lose one."""
    instance, _, _ = linked(lab, ":tcp/1+tcp/2")
    lab.policy(limits={"removals_per_run": 1})
    lab.tag(instance, link_peer=None)
    before = len(lab.records("summary"))
    lab.sweep()
    (record,) = lab.records("summary")[before:]
    assert (record["outcome"], record["reason"], record["held"]) == ("failed", "removals-held", "2")
    assert "stale" in record["advice"]
