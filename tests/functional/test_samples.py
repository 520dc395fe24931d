"""The samples of events/, whole: what each of them comes to."""

from __future__ import annotations

import json
from pathlib import Path

import auto_link
import cross_account
import pytest
from link_peer.domain.tags import parse_instant

from tests.functional.lab import HOME, PEER, Lab

SAMPLES = Path(__file__).parents[2] / "events"


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
    assert json.loads(lab.run(auto_link.handler, body)) == {"outcomes": outcomes}
    assert lab.rules(db) == ([f"{app.id} tcp/1"] if "applied" in outcomes else [])


def test_the_sample_of_a_deletion_removes_the_link(lab: Lab) -> None:
    body = (SAMPLES / "ecs-deleted.json").read_bytes()
    app, db = lab.group(), lab.group("*")
    lab.instance(app)
    name = json.loads(body)["data"]["resourceId"]
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"}, instance_id=name)
    lab.call(instance.account, "DeleteInstance", {"InstanceId": name, "Force": "true"})
    assert json.loads(lab.run(auto_link.handler, body)) == {"outcomes": {"removed": 1}}
    assert lab.rules(db) == []


@pytest.mark.parametrize(
    ("name", "outcomes"),
    [
        ("queue-link", {"applied": 1}),
        ("queue-plain", {"applied": 1}),
        ("queue-base64", {"applied": 1}),
        ("queue-raw-data", {"applied": 3}),
        ("queue-unlink", {"unchanged": 1}),
        ("queue-sync", {"unchanged": 1}),
        ("queue-expired", {"denied": 1}),
        ("queue-bad-request", {"denied": 1}),
        ("queue-batch", {"applied": 1, "denied": 1, "removed": 1}),
    ],
)
def test_every_sample_message_has_the_expected_outcome(lab: Lab, name: str, outcomes: dict[str, int]) -> None:
    """Both groups exist and consent, at the time of the samples."""
    lab.cloud.clock.advance(parse_instant("2026-11-25T07:00:00Z") - lab.cloud.clock.now())
    lab.group(account=HOME, group_id="sg-bp1azkttqpldxgtedxxx")
    lab.group(f"*@{HOME}", account=PEER, group_id="sg-bp15ed6xe1yxeycg7xxx")
    body = (SAMPLES / f"{name}.json").read_bytes()
    assert json.loads(lab.run(cross_account.handler, body)) == {"outcomes": outcomes}
