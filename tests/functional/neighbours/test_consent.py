"""What lost its consent is closed first and at once, whatever else there is to do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.functional.lab import HOME, Lab


@pytest.mark.parametrize("consents", ["tag", "policy"])
def test_a_lock_closes_at_its_tag_event(lab: Lab, consents: str) -> None:
    """Whatever consents, tags or the policy say."""
    _, app, db = lab.linked()
    if consents == "policy":
        lab.policy(allow=[{"from": f"{app.id}@{HOME}", "to": f"{db.id}@{HOME}"}])
    lab.tag(db, link_lock="incident-7")
    assert lab.auto_link(lab.group_event(db)) == {"removed": 1}
    assert (lab.rules(db), lab.outcome()["reason"]) == ([], "locked")


@pytest.mark.parametrize("instances", [False, True])
def test_consent_that_comes_after_the_wish_opens_at_its_tag_event(lab: Lab, instances: bool) -> None:
    """Attack 18: within the queue's delivery, not at the next sweep. To a group, or to an instance."""
    app, db = lab.group(), lab.group()
    target = lab.instance(db) if instances else db
    instance = lab.started(app, tags={"link-peer": f"{target.id}:tcp/1"})
    assert lab.rules(db) == []
    lab.tag(db, link_accept=f"{(instance if instances else app).id}:tcp/1")
    lab.auto_link(lab.group_event(db))
    lab.drain(30)
    assert [rule.split()[1] for rule in lab.rules(db)] == ["tcp/1"]


@pytest.mark.parametrize(
    ("policy", "reason"), [({"deny": {"ports": ["tcp/1"]}}, "not-allowed"), ({"paused": True}, "paused")]
)
def test_a_write_is_judged_by_the_policy_as_it_is_then(lab: Lab, policy: dict[str, Any], reason: str) -> None:
    """Attack 12: the policy denies the port, or pauses everything, while the delivery is under way."""
    a, b = lab.pair()
    lab.meanwhile("TagResources", lambda: lab.policy(**policy))
    assert lab.cross_account(lab.request(a, b, "tcp/1")) == {"denied": 1}
    assert (lab.rules(b), lab.outcome()["reason"]) == ([], reason)


def test_a_request_that_expires_while_it_is_carried_out_opens_nothing(lab: Lab) -> None:
    """Attack 12."""
    a, b = lab.pair()
    lab.meanwhile("TagResources", lambda: lab.cloud.clock.advance(400))
    context, lab.context.function.timeout = lab.context, 3600
    assert lab.cross_account(lab.request(a, b, "tcp/1", expires_at=lab.iso(10))) == {"denied": 1}
    assert (lab.rules(b), lab.outcome()["reason"], context is lab.context) == ([], "expired", True)


def test_the_recorded_consent_is_that_of_the_write(lab: Lab) -> None:
    """Attack 12: an entry that was replaced meanwhile is not the one on record."""
    a, b = lab.pair()

    def replace() -> None:
        lab.tag(b, link_accept=f"{a.id}@{HOME}:tcp/1")
        lab.cloud.clock.advance(6)

    lab.meanwhile("TagResources", replace)
    assert lab.cross_account(lab.request(a, b, "tcp/1")) == {"applied": 1}
    assert f"{a.id}@{HOME}:tcp/1" in lab.outcome()["consent"]


@pytest.mark.parametrize("opens", [True, False])
def test_paused_opening_opens_nothing_and_goes_on_closing(lab: Lab, opens: bool) -> None:
    _, _, db = lab.linked()
    lab.policy(paused="opening")
    if opens:
        other_group = lab.group("*")
        lab.instance(lab.group(), tags={"link-peer": f"{other_group.id}:tcp/1"})
        lab.sweep()
        assert lab.rules(other_group) == []
    else:
        lab.tag(db, link_accept=None)
        lab.sweep()
        assert lab.rules(db) == []


def test_a_link_accept_tag_on_an_instance_is_not_consent(lab: Lab) -> None:
    """`link-accept` counts on groups only: someone who may tag an instance need not own its group."""
    app, db = lab.group(), lab.group()
    target = lab.instance(db, tags={"link-accept": "*"})
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306 {target.id}:tcp/3306", "link-accept": "*"})
    assert lab.auto_link(lab.event(instance)) == {"denied": 2}


@pytest.mark.knobs(trail_resources="referencedResources")
def test_a_change_of_a_sets_tag_closes_at_the_groups_event(lab: Lab) -> None:
    """What the set then forbids, and what it no longer consents to. Other keys are no event of a group."""
    instance, app, db = lab.linked()
    other_group = lab.group(tags={"env": "dev"})
    sets = {name: {"account": HOME, "tags": {"env": name}} for name in ("prod", "dev")}
    allow = [{"from": f"*@{HOME}", "to": "set:dev"}]
    lab.policy(sets=sets, never=[{"from": f"*@{HOME}", "to": "set:prod"}], allow=allow)
    lab.tag(db, env="dev")
    lab.retag(instance, link_peer=f"{db.id}:tcp/1 {other_group.id}:tcp/1")
    for group in (db, other_group):
        assert lab.rules(group) == [f"{app.id} tcp/1"]
        event = lab.group_event(group)
        event["data"]["requestParameters"] |= {"Tag.1.Key": "env", "Tag.1.Value": "x"}
        lab.tag(group, env="prod" if group is db else "test")
        assert lab.auto_link(event) == {"removed": 1}
        assert lab.rules(group) == []
        event["data"]["requestParameters"]["Tag.1.Key"] = "team"
        lab.tag(group, link_lock="x")
        assert lab.auto_link(event) == {}
