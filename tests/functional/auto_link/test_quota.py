"""auto_link and quotas: detected before the write where possible, otherwise rolled back."""

from __future__ import annotations

import pytest

from tests.functional.lab import HOME, Lab


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


@pytest.mark.parametrize("instances", [False, True])
@pytest.mark.parametrize(("rules", "outcome"), [(998, "applied"), (999, "failed")])
def test_a_rule_beyond_the_highest_documented_number_is_not_tried(
    lab: Lab, rules: int, outcome: str, instances: bool
) -> None:
    """1,000, for a link of two ports. The advice does not name instances, whose rules count as well."""
    lab.cloud.ecs.quotas.rules_per_group = lab.cloud.ecs.quotas.rules_per_instance = 2_000
    app, db = lab.group(), lab.group("*")
    lab.crowded(db, rules)
    target = lab.instance(db)
    instance = lab.instance(app, tags={"link-peer": f"{(target if instances else db).id}:tcp/1+tcp/2"})
    assert lab.auto_link(lab.event(instance)) == {outcome: 1}
    assert len(db.rules.at(lab.cloud.clock.now())) == (1000 if outcome == "applied" else rules)
    if outcome == "failed":
        record = lab.outcome()
        assert (record["reason"], record["detail"]) == (
            "quota",
            f"{db.id}@{HOME} has 999 rules already (the limit is 1000)",
        )
        assert "name instances" not in record["advice"]


def test_requests_leave_room_for_the_tags_claim(lab: Lab) -> None:
    """A request whose claim fits, but would leave no room for `tag`, fails; the tag's claim then fits."""
    app, db = lab.group(), lab.group("*")
    room = 512 - len(f"link-peer/2 dep=prod home={HOME} id={lab.rule_id(db, app, 'tcp/1')} by=")
    ids = [f"chg-{n}-".ljust(43, "x") for n in range(room // 48)]  # each takes 48 characters, with `req:` and a comma
    for request_id in ids:
        assert lab.cross_account(lab.request(app, db, "tcp/1", request_id=request_id)) == {"applied": 1}
    (rule,) = lab.raw_rules(db)
    left = 512 - len(rule["Description"])
    assert len(",req:a") < left < 50
    last = "z" * (left - len(",req:"))
    assert lab.cross_account(lab.request(app, db, "tcp/1", request_id=last)) == {"failed": 1}
    assert lab.outcome()["reason"] == "quota"
    assert lab.raw_rules(db) == [rule]

    assert lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))) == {"applied": 1}
    assert lab.reasons(db)[0].split(",")[0] == "tag"
