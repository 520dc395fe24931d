"""What a marker, a tag or a second deployment can and cannot do."""

from __future__ import annotations

import pytest

from tests.functional.lab import HOME, MANAGED, PEER, Lab, party


def test_two_homes_with_one_deployment_name_leave_each_others_rules(lab: Lab) -> None:
    """Attack 3: the marker, its id and the managed tag name the home account."""
    _, app, db = lab.linked()
    [rule] = lab.raw_rules(db)
    assert f"home={HOME}" in rule["Description"]
    other_description = rule["Description"].replace(f"home={HOME}", f"home={PEER}")
    lab.authorize(
        db,
        IpProtocol="TCP",
        PortRange="9/9",
        SourceGroupId=app.id,
        Policy="accept",
        Priority="100",
        Description=other_description,
    )
    lab.tag(db, **{f"link-managed.prod.{PEER}": "true"})
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/1", f"{app.id} tcp/9"]
    assert f"link-managed.prod.{PEER}" in lab.tags(db)


def test_a_forged_half_opens_nothing(lab: Lab) -> None:
    """Attack 6: a marker is no request. The sweep opens nothing for it, and removes the half."""
    a, b = lab.pair()
    lab.forge(a, b, "req:chg-forged")
    lab.tag(a, **{MANAGED: "true"})
    lab.sweep()
    assert lab.rules(b) == []
    assert len(lab.rules(a)) == 1
    lab.cloud.clock.advance(1801)
    lab.sweep()
    assert (lab.rules(a), lab.rules(b)) == ([], [])
    assert lab.records(outcome="removed")[-1]["reason"] == "half-open"


def test_a_stripped_managed_tag_hides_no_rule_for_long(lab: Lab) -> None:
    """Attack 15: Terraform removes tags it does not know. Within a day the sweep finds the group again, and what ended
    is removed."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b, "tcp/1", until=lab.iso(3600)))
    lab.tag(b, **{MANAGED: None})
    lab.cloud.clock.advance(4000)
    for _ in range(144):
        lab.sweep()
        if not lab.rules(b):
            break
        lab.cloud.clock.advance(600)
    assert lab.rules(b) == []


@pytest.mark.knobs(request_tags=True)
def test_a_stripped_managed_tag_is_written_again_at_its_event(lab: Lab) -> None:
    """Attack 15."""
    _, _, db = lab.linked()
    lab.tag(db, **{MANAGED: None})
    lab.auto_link(lab.group_event(db, "UntagResources"))
    assert lab.tags(db)[MANAGED] == "true"


def test_a_note_added_to_our_description_is_reported(lab: Lab) -> None:
    """Attack 16: the rule is left alone, and every sweep says so."""
    _, _, db = lab.linked()
    [rule] = lab.raw_rules(db)
    lab.modify(db, rule, Description=rule["Description"] + " ask ops")
    lab.sweep()
    damaged = [summary.get("damaged_markers", "") for summary in lab.records("summary", account=HOME)]
    assert str(party(db)) in damaged[-1]
    assert any("ask ops" in rule["Description"] for rule in lab.raw_rules(db))


def test_unknown_names_cost_the_sweep_no_call_each(lab: Lab) -> None:
    """Attack 13: hundreds of groups that do not exist, named in tags."""
    lab.policy(limits={"max_peers": 500})
    app = lab.group()
    for n in range(12):
        names = " ".join(f"sg-no{n}x{k}" for k in range(10))
        lab.instance(app, tags={"link-peer": names})
    before = lab.calls()
    lab.sweep()
    assert lab.calls() - before < 25


def test_a_malformed_name_costs_the_rest_of_its_account_nothing(lab: Lab) -> None:
    """Attack 13: an id of 60 characters that the cloud calls malformed."""
    db = lab.group("*")
    app = lab.group()
    lab.instance(app, tags={"link-peer": f"sg-{'0' * 60} i-{'0' * 60} {db.id}:tcp/1"})
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/1"]


def test_a_tag_flood_settles_home_links_first_and_stays_bounded(lab: Lab) -> None:
    """Attack 10: many instances with many peers each. Home links are settled before messages are posted, and absent
    peers share their writes."""
    db = lab.group("*")
    groups = [lab.group() for _ in range(5)]
    events = []
    for n, group in enumerate(groups):
        far = " ".join(f"sg-f{n}x{k}@{PEER}" for k in range(5))
        near = " ".join(f"sg-n{n}x{k}" for k in range(5))
        tags = {"link-peer": f"{db.id}:tcp/1", "link-peer.far": far, "link-peer.near": near}
        events.append(lab.event(lab.instance(group, tags=tags)))
    writes = lab.cloud.faults.count("sls")
    lab.auto_link(*events)
    assert len(lab.rules(db)) == 5
    assert lab.cloud.faults.count("sls") - writes <= 8
    actions = [call.action for call in lab.cloud.faults.calls]
    assert actions.index("SendMessage") > max(
        i for i, action in enumerate(actions) if action == "AuthorizeSecurityGroup"
    )
