"""A group refuses a peer: nothing opens for it, whoever consents, and what stands is closed."""

from __future__ import annotations

import json

import pytest
from aliyun_local.api import Group

from tests.functional.lab import HOME, PEER, Lab


def allowing(lab: Lab) -> None:
    """The policy consents to everything at home."""
    lab.policy(allow=[{"from": f"*@{HOME}", "to": f"*@{HOME}"}])


@pytest.mark.parametrize("side", ["app", "db"])
@pytest.mark.parametrize("value", ["{peer}", "{peer}:tcp/1-9", "*", "", "ledger", "{peer}~20270101T000000Z"])
def test_a_request_is_denied_by_a_refusal_of_either_end(lab: Lab, side: str, value: str) -> None:
    """Though tags and the policy consent. What cannot be read refuses everybody. The advice takes the tag off."""
    allowing(lab)
    groups = {"app": lab.group("*"), "db": lab.group("*")}
    peer = groups["db" if side == "app" else "app"]
    lab.tag(groups[side], link_refuse=value.format(peer=peer.id))
    assert lab.cross_account(lab.request(groups["app"], groups["db"], "tcp/1")) == {"denied": 1}
    record = lab.outcome()
    assert (record["reason"], lab.rules(groups["db"])) == ("refused", [])
    assert record["advice"].endswith(f"--ResourceId.1 {groups[side].id} --TagKey.1 link-refuse")


def test_one_refused_port_denies_the_whole_wish(lab: Lab) -> None:
    app, db = lab.group(), lab.group("*", tags={"link-refuse": "sg-other"})
    lab.tag(db, **{"Link_Refuse.x".replace("_", "-"): f"{app.id}:tcp/22"})
    lab.started(app, tags={"link-peer": f"{db.id}:tcp/22+tcp/80"})
    assert (lab.outcome()["reason"], lab.rules(db)) == ("refused", [])
    lab.started(app, tags={"link-peer": f"{db.id}:tcp/80"})
    assert lab.rules(db) == [f"{app.id} tcp/80"]


@pytest.mark.parametrize("ports", [("tcp/22", "tcp/80"), ()])
def test_what_stands_closes_at_the_event_of_the_group_that_holds_the_rule(lab: Lab, ports: tuple[str, ...]) -> None:
    """Port by port; of a mutual link the other half, too. What the guard counts is another matter."""
    allowing(lab)
    lab.policy(limits={"removals_per_run": 0})
    app, db = lab.group("*"), lab.group("*")
    for number, port in enumerate(ports or [None]):
        lab.cross_account(lab.request(app, db, *([port] if port else []), request_id=f"chg-{number}"))
    lab.tag(db, link_refuse=f"{app.id}:tcp/22")
    assert lab.auto_link(lab.group_event(db)) == {"removed": 1}
    assert lab.outcome()["reason"] == "refused"
    assert (lab.rules(app), lab.rules(db)) == ([], [f"{app.id} tcp/80"] if ports else [])


@pytest.mark.parametrize("mutual", [False, True])
def test_a_refusal_by_the_source_closes_at_the_next_short_sweep(lab: Lab, mutual: bool) -> None:
    """The group that holds the rule shows nothing new, and has no event."""
    app, db = lab.group("*"), lab.group("*")
    lab.instance(app, tags={"link-peer": db.id if mutual else f"{db.id}:tcp/1"})
    lab.sweep_account(HOME)
    lab.drain()
    assert lab.rules(db) != []
    lab.tag(app, link_refuse=db.id)
    lab.sweep_account(HOME)
    lab.drain()
    assert (lab.rules(app), lab.rules(db)) == ([], [])
    assert {record["reason"] for record in lab.records(outcome="removed")} == {"refused"}


@pytest.mark.parametrize("side", [0, 1])
def test_a_mutual_link_of_two_accounts_closes_at_both_ends(lab: Lab, side: int) -> None:
    groups = lab.pair()
    lab.cross_account(lab.request(*groups))
    assert all(map(lab.rules, groups))
    lab.tag(groups[side], link_refuse=f"*@{groups[1 - side].account}")
    lab.sweep()
    assert [lab.rules(group) for group in groups] == [[], []]


def test_an_instance_is_refused_by_any_of_its_groups(lab: Lab) -> None:
    """At the source and at the target of a link between instances."""
    app, db = lab.group("*"), lab.group("*")
    target = lab.instance(db, lab.group(tags={"link-refuse": app.id}))
    refused = lab.instance(app)
    assert lab.cross_account(lab.request(refused, target, "tcp/1")) == {"denied": 1}
    assert lab.outcome()["reason"] == "refused"
    refusing = lab.instance(app, lab.group(tags={"link-refuse": db.id}))
    assert lab.cross_account(lab.request(refusing, lab.instance(db), "tcp/1", request_id="chg-2")) == {"denied": 1}
    assert (lab.outcome()["reason"], lab.rules(db)) == ("refused", [])


def advanced(lab: Lab) -> tuple[Group, Group]:
    """Two advanced groups, of which the one may reach others and the other accepts them, and has an instance."""
    app, db = lab.group(type="enterprise", tags={"link-egress": "*"}), lab.group("*", type="enterprise")
    lab.instance(db)
    return app, db


def test_by_address_a_refused_instance_is_left_out_alone(lab: Lab) -> None:
    """Through another of its groups, which the target refuses, or which refuses the target."""
    app, db = advanced(lab)
    dev, own_group = lab.group(type="enterprise"), lab.group(type="enterprise", tags={"link-refuse": f"{db.id}:tcp/1"})
    lab.tag(db, link_refuse=dev.id)
    admitted, *left_out = lab.instance(app), lab.instance(app, dev), lab.instance(app, own_group)
    assert lab.cross_account(lab.request(app, db, "tcp/1")) == {"applied": 1}
    assert lab.rules(db) == [f"{admitted.private_ip}/32> tcp/1"]
    assert all(instance.id in lab.outcome()["detail"] for instance in left_out)


def test_a_standing_rule_of_a_refused_instance_goes_alone(lab: Lab) -> None:
    (app, db), dev = advanced(lab), lab.group(type="enterprise")
    admitted, _refused = lab.instance(app), lab.instance(app, dev)
    lab.cross_account(lab.request(app, db, "tcp/1"))
    assert len(lab.rules(db)) == 2
    lab.tag(db, link_refuse=dev.id)
    lab.auto_link(lab.group_event(db))
    assert lab.rules(db) == [f"{admitted.private_ip}/32> tcp/1"]


def test_what_was_refused_opens_again_once_the_tag_is_off(lab: Lab) -> None:
    """What tags ask for, at the next full sweep; a request has to be posted again."""
    _, app, db = lab.linked()
    lab.tag(db, link_refuse="*")
    lab.auto_link(lab.group_event(db))
    assert lab.rules(db) == []
    lab.sweep()
    assert lab.rules(db) == []
    lab.tag(db, link_refuse=None)
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/1"]


@pytest.mark.knobs(trail_resources="referencedResources")
def test_the_observation_of_a_group_has_what_it_refuses(lab: Lab) -> None:
    """With the keys that the event names, credited to its actor."""
    db = lab.group("*")
    lab.tag(db, link_refuse=f"*@{PEER}")
    event = lab.group_event(db)
    event["data"]["requestParameters"] |= {"Tag.1.Key": "link-refuse", "Tag.1.Value": f"*@{PEER}"}
    lab.auto_link(event)
    (record,) = lab.records("observed")
    assert json.loads(record["tags"]) == {"link-accept": "*", "link-refuse": f"*@{PEER}"}
    assert json.loads(record["event_tags"]) == {"link-refuse": f"*@{PEER}"}


@pytest.mark.parametrize("after", [False, True])
def test_a_refusal_by_the_accepting_group_takes_back_a_write_that_is_under_way(lab: Lab, after: bool) -> None:
    """It comes right before the write, or right after it."""
    a, b = lab.pair()
    lab.meanwhile("AuthorizeSecurityGroup", lambda: lab.tag(b, link_refuse=f"{a.id}@{HOME}"), after=after)
    assert lab.cross_account(lab.request(a, b, "tcp/1")) == {"denied": 1}
    assert (lab.rules(b), lab.outcome()["reason"]) == ([], "refused")
