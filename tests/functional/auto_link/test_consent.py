"""auto_link and consent: no rule exists on a group that has not consented to its source."""

from __future__ import annotations

from tests.functional.lab import HOME, Lab


def test_nine_keys_consent_and_no_others(lab: Lab) -> None:
    """RAM can deny each of them by name. A rule whose only consent has another key is removed."""
    app, db = lab.group(), lab.group(tags={"link-accept.9": "*:tcp/3306"})
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    assert lab.rules(db) == [f"{app.id} tcp/3306"]
    lab.tag(db, **{"link-accept.9": None, "link-accept.x": "*:tcp/3306", "Link-Accept": "*:tcp/3306"})
    assert lab.auto_link(lab.event(instance)) == {"removed": 1, "denied": 1}
    assert lab.rules(db) == []


def test_a_link_accept_tag_on_an_instance_is_not_consent(lab: Lab) -> None:
    """`link-accept` counts on groups only: someone who may tag an instance need not own its group."""
    app, db = lab.group(), lab.group()
    target = lab.instance(db, tags={"link-accept": "*"})
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306 {target.id}:tcp/3306", "link-accept": "*"})
    assert lab.auto_link(lab.event(instance)) == {"denied": 2}


def test_a_change_of_a_sets_tag_closes_at_the_groups_event(lab: Lab) -> None:
    """What the set then forbids, and what it no longer consents to. Other keys are no event of a group."""
    instance, app, db = lab.linked()
    other = lab.group(tags={"env": "dev"})
    sets = {name: {"account": HOME, "tags": {"env": name}} for name in ("prod", "dev")}
    allow = [{"from": f"*@{HOME}", "to": "set:dev"}]
    lab.policy(sets=sets, never=[{"from": f"*@{HOME}", "to": "set:prod"}], allow=allow)
    lab.tag(db, env="dev")
    lab.retag(instance, link_peer=f"{db.id}:tcp/1 {other.id}:tcp/1")
    for group in (db, other):
        assert lab.rules(group) == [f"{app.id} tcp/1"]
        event = lab.group_event(group)
        event["data"]["requestParameters"] |= {"Tag.1.Key": "env", "Tag.1.Value": "x"}
        lab.tag(group, env="prod" if group is db else "test")
        assert lab.auto_link(event) == {"removed": 1}
        assert lab.rules(group) == []
        event["data"]["requestParameters"]["Tag.1.Key"] = "team"
        lab.tag(group, link_lock="x")
        assert lab.auto_link(event) == {}
