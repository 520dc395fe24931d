"""sweep puts right what hands, addresses, the policy and groups have changed under standing rules."""

from __future__ import annotations

import pytest

from tests.functional.lab import HOME, PEER, POLICY, Lab


@pytest.fixture(name="lab")
def _living(living_lab: Lab) -> Lab:
    return living_lab


# hands on rules


def test_a_rule_deleted_by_hand_comes_back(lab: Lab) -> None:
    _, app, db = lab.linked()
    lab.revoke(db)
    assert lab.sweep()["applied"] == 1
    assert lab.rules(db) == [f"{app.id} tcp/1"]


def test_a_priority_changed_by_hand_is_put_back(lab: Lab) -> None:
    """An accept of ours must never beat an operator's drop."""
    _, _, db = lab.linked()
    lab.modify(db, lab.raw_rules(db)[0], Priority="1")
    lab.sweep()
    (rule,) = lab.raw_rules(db)
    assert int(rule["Priority"]) == 100


@pytest.mark.parametrize(
    "text", ["temporary", "link-peer/2 dep=prod", "link-peer/1 dep=prod id=0000000000000000 by=tag"]
)
def test_a_rule_whose_description_a_hand_changed_is_that_hands_rule(lab: Lab, text: str) -> None:
    """Without our marker it is not ours: it counts as present, and nobody touches it any more."""
    instance, _, db = lab.linked()
    lab.modify(db, lab.raw_rules(db)[0], Description=text)
    before = lab.raw_rules(db)
    lab.sweep()
    lab.tag(instance, link_peer=None)
    lab.sweep()
    assert lab.raw_rules(db) == before


def test_a_rule_whose_ports_a_hand_changed_is_that_hands_and_ours_is_written_anew(lab: Lab) -> None:
    """The marker's id belongs to other ports."""
    _, app, db = lab.linked()
    lab.modify(db, lab.raw_rules(db)[0], PortRange="2/2")
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/1", f"{app.id} tcp/2"]
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/1", f"{app.id} tcp/2"]


def test_reasons_added_by_hand_for_requests_that_never_were_need_consent_all_the_same(lab: Lab) -> None:
    """Whoever may write rules may write a reason; without consent it closes."""
    _, _, db = lab.linked()
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
    lab.release(one)
    lab.cloud.ecs.ip_pool = [one.private_ip]
    stranger = lab.instance(a)
    assert stranger.private_ip == one.private_ip
    lab.sweep()
    assert (lab.rules(a), lab.rules(b)) == ([], [])


def test_an_instance_rule_whose_address_is_nobodys_goes(lab: Lab) -> None:
    a, b = lab.pair()
    one, two = lab.instance(a), lab.instance(b)
    lab.cross_account(lab.request(one, two, "tcp/1"))
    lab.release(two)
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
    lab.release(one)
    lab.cloud.ecs.ip_pool = [one.private_ip]
    heir = lab.instance(a)
    assert lab.cross_account(lab.request(heir, two, "tcp/1", request_id="chg-2")) == {"applied": 1}
    lab.sweep()
    (rule,) = lab.raw_rules(b)
    assert f"by=req:chg-2 from={heir.id} to={two.id}@{PEER}" in rule["Description"]


# the policy


def test_a_port_that_the_policy_now_denies_is_closed(lab: Lab) -> None:
    _, _, db = lab.linked(ports=":tcp/22")
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
    _, _, db = lab.linked()
    lab.policy(accept_tags=False)
    lab.sweep()
    assert lab.rules(db) == []


# groups


def test_the_rules_that_wait_for_a_deleted_peer_group_are_denied(lab: Lab) -> None:
    """The platform deletes no group that a rule names; once a hand took the rule, the wish stays and is denied."""
    _, app, db = lab.linked()
    lab.revoke(db)
    lab.call(HOME, "DeleteSecurityGroup", {"SecurityGroupId": db.id})
    lab.sweep()
    record = lab.records(outcome="denied")[-1]
    assert (record["reason"], record["from"], record["to"]) == ("peer-not-found", app.id, db.id)


def test_the_half_that_a_deleted_peer_group_left_is_removed(lab: Lab) -> None:
    """The peer's rule went with it, ours names a group that is gone."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    lab.revoke(b)
    rules = a.rules.at(lab.cloud.clock.now())
    a.rules.change(lab.cloud.clock.now(), lambda _: ())
    lab.call(PEER, "DeleteSecurityGroup", {"SecurityGroupId": b.id})
    a.rules.change(lab.cloud.clock.now(), lambda _: rules)  # deleted by force, as a product's console may
    lab.sweep()
    assert lab.rules(a) == []
    assert lab.records(outcome="removed")[0]["reason"] == "peer-not-found"


def test_an_instance_that_left_its_group_takes_its_wish_along(lab: Lab) -> None:
    """Its new group is let in, the old one no longer."""
    instance, app, db = lab.linked()
    other = lab.group()
    lab.call(HOME, "JoinSecurityGroup", {"InstanceId": instance.id, "SecurityGroupId": other.id})
    lab.call(HOME, "LeaveSecurityGroup", {"InstanceId": instance.id, "SecurityGroupId": app.id})
    lab.sweep()
    assert lab.rules(db) == [f"{other.id} tcp/1"]


# the tag by which the sweep finds groups


def test_the_managed_tag_goes_with_the_last_rule(lab: Lab) -> None:
    """After another read; the intent is on record first."""
    instance, _, db = lab.linked()
    lab.tag(instance, link_peer=None)
    lab.sweep()
    assert "link-managed.prod" not in lab.tags(db)
    (intent,) = [r for r in lab.records("intent", function="sweep") if db.id == r["from"]]
    assert "tag" in intent["detail"]


def test_the_managed_tag_stays_while_any_rule_of_ours_stands(lab: Lab) -> None:
    _, _, db = lab.linked(ports=":tcp/1+tcp/2")
    lab.revoke(db)
    lab.sweep()
    assert lab.tags(db)["link-managed.prod"] == "true"


def test_a_managed_tag_that_a_hand_took_off_is_put_on_again(lab: Lab) -> None:
    """Where a wish leads to the group; a changed value counts as missing too."""
    _, _, db = lab.linked()
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
    instance, _, _ = lab.linked(ports=":tcp/1+tcp/2")
    lab.policy(limits={"removals_per_run": 1})
    lab.tag(instance, link_peer=None)
    before = len(lab.records("summary"))
    lab.sweep()
    (record,) = lab.records("summary")[before:]
    assert (record["outcome"], record["reason"], record["held"]) == ("failed", "removals-held", "2")
    assert "stale" in record["advice"]


def test_a_repair_that_is_refused_is_told(lab: Lab) -> None:
    """A person must act: an accept of ours beats an operator's drop for as long as it stands so."""
    _, _, db = lab.linked(PEER)
    lab.modify(db, lab.raw_rules(db)[0], Priority="1")
    lab.fault(service="ecs", action="ModifySecurityGroupRule", code="Forbidden.RAM", status=403, times=None)
    assert lab.sweep() == {"denied": 1}
    record = lab.outcome()
    assert (record["action"], record["reason"]) == ("repair", "no-access")
    assert record["advice"]


def test_the_managed_tag_stays_where_the_second_read_is_refused(lab: Lab) -> None:
    """A group that may not be read shows no rules, and may hold some."""
    instance, _, db = lab.linked(PEER)
    lab.tag(instance, link_peer=None)
    before = lab.cloud.faults.count("ecs", "DescribeSecurityGroupAttribute")
    lab.meanwhile(
        "RevokeSecurityGroup",
        lambda: lab.fault(
            service="ecs",
            action="DescribeSecurityGroupAttribute",
            account=PEER,
            code="Forbidden.RAM",
            status=403,
            skip=1,
            times=None,
        ),
    )
    lab.sweep()
    assert lab.cloud.faults.count("ecs", "DescribeSecurityGroupAttribute") > before
    lab.cloud.faults.clear()
    assert lab.rules(db) == []
    assert lab.tags(db)["link-managed.prod"] == "true"
