"""auto_link: an event leads to the rules that the instance's tags ask for."""

from __future__ import annotations

from tests.functional.lab import Lab


def test_a_tag_with_consent_becomes_one_rule_on_the_peers_group(lab: Lab) -> None:
    """`link-peer=sg-db:tcp/3306` and `link-accept=sg-app:tcp/3306`: sg-db admits sg-app on TCP 3306, and nothing else."""
    app, db = lab.group(), lab.group()
    lab.tag(db, link_accept=f"{app.id}:tcp/3306")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})

    assert lab.auto_link(lab.event(instance)) == {"applied": 1}

    assert lab.rules(db) == [f"{app.id} tcp/3306"]
    assert lab.rules(app) == []
    print(lab.records("intent", "outcome"))


def test_without_tags_nothing_is_done_and_nothing_is_said(lab: Lab) -> None:
    instance = lab.instance(lab.group())
    assert lab.auto_link(lab.event(instance, "Created")) == {}
    assert lab.records("intent", "outcome", "attempt", "summary") == []
