"""auto_link's input: one event or an array of events, valid or not."""

from __future__ import annotations

import json
from pathlib import Path

import auto_link
import pytest
from link_peer.domain.errors import Transient

from tests.functional.lab import Lab

SAMPLES = Path(__file__).parents[3] / "events"


def handle(lab: Lab, body: bytes) -> dict[str, int]:
    outcomes: dict[str, int] = json.loads(lab.run(auto_link.handler, body))["outcomes"]
    return outcomes


def test_every_event_of_an_array_is_handled(lab: Lab) -> None:
    """Three instances in one delivery: each record names its own event."""
    db = lab.group("*")
    groups = [lab.group() for _ in range(3)]
    events = [lab.event(lab.instance(g, tags={"link-peer": f"{db.id}:tcp/1"})) for g in groups]
    assert lab.auto_link(*events) == {"applied": 3}
    assert lab.rules(db) == sorted(f"{g.id} tcp/1" for g in groups)
    event_ids = {record["from"]: record["event_id"] for record in lab.records()}
    assert event_ids == {g.id: e["id"] for g, e in zip(groups, events, strict=True)}


def test_an_invalid_element_that_cannot_be_recorded_is_redelivered(lab: Lab) -> None:
    """If it were acknowledged, it would be lost without a record."""
    lab.fault(service="sls", kind="error", times=None)
    with pytest.raises(Transient):
        lab.auto_link({**lab.event("i-bp1x"), "source": "acs.oss"})


def test_an_instance_that_is_not_shown_yet_does_not_block_the_others(lab: Lab) -> None:
    """The other event is handled; the instance alone is looked at again, and the attempt names its event."""
    app, db = lab.group(), lab.group("*")
    good = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    late = lab.event("i-bp1late", "Created")
    assert lab.auto_link(good, late) == {"applied": 1}
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    assert [record["event_id"] for record in lab.records("attempt")] == [late["id"]]
    assert [message["request_id"] for message in lab.queued(after=10)] == ["look-i-bp1late"]


@pytest.mark.knobs(trail_resources="referencedResources")
def test_a_tag_change_of_several_instances_reconciles_each(lab: Lab) -> None:
    """One TagResources call accepts up to fifty resources."""
    db, one, two = lab.group("*"), lab.group(), lab.group()
    instances = [lab.instance(g, tags={"link-peer": f"{db.id}:tcp/1"}) for g in (one, two)]
    event = lab.tag_event(instances[0], "TagResources")
    event["data"]["referencedResources"]["ACS::ECS::Instance"] = [i.id for i in instances]
    assert lab.auto_link(event) == {"applied": 2}


@pytest.mark.parametrize(
    ("sample", "outcomes"),
    [
        ("ecs-created", {"applied": 1}),
        ("ecs-pending", {"applied": 1}),
        ("ecs-running", {"applied": 1}),
        ("ecs-legacy-running", {"applied": 1}),
        ("tags-added", {"applied": 1}),
        ("tags-console", {"applied": 1}),
        ("tags-removed", {"applied": 1}),
        *((sample, {"applied": 1}) for sample in ("moved-modify", "moved-join", "moved-leave", "moved-vpc")),
        ("moved-interface", {}),
        ("address-vswitch", {"applied": 1}),
        ("address-assigned", {}),
        ("address-unassigned", {}),
        ("tags-failed", {}),
        ("ignored-stopping", {}),
        ("other-account", {"denied": 1}),
        ("malformed", {"denied": 1}),
        ("batch", {"applied": 1, "denied": 1}),
    ],
)
def test_every_sample_event_has_the_expected_outcome(lab: Lab, sample: str, outcomes: dict[str, int]) -> None:
    """The instances that a sample names exist and are tagged; its network interfaces do not exist."""
    body = (SAMPLES / f"{sample}.json").read_bytes()
    app, db = lab.group(), lab.group("*")
    for name in {word for word in body.decode().replace('"', " ").split() if word.startswith("i-")}:
        lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}, instance_id=name)
    assert handle(lab, body) == outcomes
    assert lab.rules(db) == ([f"{app.id} tcp/1"] if "applied" in outcomes else [])


def test_the_sample_of_a_deletion_removes_the_link(lab: Lab) -> None:
    body = (SAMPLES / "ecs-deleted.json").read_bytes()
    app, db = lab.group(), lab.group("*")
    lab.instance(app)
    name = json.loads(body)["data"]["resourceId"]
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"}, instance_id=name)
    lab.call(instance.account, "DeleteInstance", {"InstanceId": name, "Force": "true"})
    assert handle(lab, body) == {"removed": 1}
    assert lab.rules(db) == []
