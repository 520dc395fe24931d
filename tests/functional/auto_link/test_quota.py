"""auto_link and quotas: detected before the write where possible, otherwise rolled back."""

from __future__ import annotations

import pytest

from tests.functional.lab import Lab


@pytest.mark.knobs(group_sources="rules")
def test_a_link_that_does_not_fit_is_not_opened_in_part(lab: Lab) -> None:
    """A link is one decision: all of its rules or none."""
    app, db = lab.group(), lab.group("*")
    lab.fill(db, 18)
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1+tcp/2+tcp/3"})
    assert lab.auto_link(lab.event(instance)) == {"failed": 1}
    assert len(lab.rules(db)) == 18
    assert lab.retag(instance, link_peer=f"{db.id}:tcp/1+tcp/2") == {"applied": 1}
    assert len(lab.rules(db)) == 20


@pytest.mark.knobs(group_sources="rules")
def test_a_link_that_outgrows_its_group_keeps_its_rules(lab: Lab) -> None:
    """tcp/1 is open, the tag now says tcp/1+tcp/2, and the group is full: tcp/1 stays open, and the record says why."""
    app, db = lab.group(), lab.group("*")
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.fill(db, 19)
    assert lab.retag(instance, link_peer=f"{db.id}:tcp/1+tcp/2") == {"failed": 1}
    assert [r["ports"] for r in lab.records(outcome="failed", reason="quota")] == ["tcp/1+tcp/2"]
    before = lab.changes()
    assert lab.sweep() == {"failed": 1}
    assert lab.changes() == before + 1  # it is tried again, since the API decides; and the managed tag stays as it is
    assert [rule for rule in lab.rules(db) if rule.startswith(app.id)] == [f"{app.id} tcp/1"]
