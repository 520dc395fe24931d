"""auto_link under Function Compute's retries, whose interval is undocumented: the end is the same for any."""

from __future__ import annotations

import pytest
from aliyun_local.api import Triggers
from link_peer_cli.demo.functions import deploy

from tests.functional.lab import HOME, REGION, Lab

DAY = 86400.0
MAX_AGE = 3600  # maxAsyncEventAgeInSeconds of auto_link
SHOWN_AFTER = 40.0
"""Seconds until a new instance is shown, and until a released one is not."""


@pytest.fixture(name="interval", params=[0.001, 60.0, 3600.0])
def _interval(request: pytest.FixtureRequest, lab: Lab) -> float:
    interval: float = request.param
    lab.cloud.knobs.change({"retry_seconds": interval, "retry_factor": 1.0})
    return interval


@pytest.fixture(name="triggers")
def _triggers(lab: Lab, interval: float) -> Triggers:
    """The functions of s.yaml with their triggers. The cloud shows instances late."""
    lab.cloud.world.policy = str(lab.policy_path)
    lab.cloud.endpoint = "http://127.0.0.1:1"
    lab.instance(lab.group())
    lab.cloud.ecs.read_lag.instances = SHOWN_AFTER
    lab.cloud.clock.advance(2 * SHOWN_AFTER)
    return deploy(lab.cloud, in_process=True)


def launch(lab: Lab, group: str, tag: str) -> str:
    """RunInstances as a person; its events reach auto_link long before the instance is shown."""
    params = {"ImageId": "m-1", "InstanceType": "ecs.g7.large", "SecurityGroupId": group, "RegionId": REGION}
    vswitch = {"VSwitchId": lab.cloud.ecs.vpcs[lab.shared].vswitch_id, "Tag.1.Key": "link-peer", "Tag.1.Value": tag}
    instance_ids: list[str] = lab.call(HOME, "RunInstances", {**params, **vswitch})["InstanceIdSets"]["InstanceIdSet"]
    return instance_ids[0]


def retried(lab: Lab) -> int:
    """How many invocations of auto_link were retried."""
    function = lab.cloud.fc.function(HOME, "link-peer-auto-link").function
    return sum(task.retries for task in lab.cloud.fc.tasks.of(HOME, function))


def given_up(lab: Lab) -> set[str]:
    """Why Function Compute gave invocations up, by their dead letters."""
    letters = lab.queued(lab.cloud.world.dead_letter_queue)
    return {letter["responseContext"]["functionError"] for letter in letters}


@pytest.mark.parametrize("failing", [0, 4, 12])
def test_a_late_instance_is_linked_and_its_end_is_noticed(
    lab: Lab, triggers: Triggers, interval: float, failing: int
) -> None:
    """The queue refuses so many looks, so that invocations fail and are retried: soon, or when all is long shown.

    An interval as long as the age at which s.yaml lets invocations expire leaves the link to the next sweep.
    """
    app, db = lab.group(), lab.group("*")
    lab.fault(service="mns", action="SendMessage", kind="error", times=failing)
    instance = launch(lab, app.id, f"{db.id}:tcp/3306")
    triggers.drain(DAY)
    assert (retried(lab) > 0) == (failing > 0)
    expired = {"Expired"} if failing and interval >= MAX_AGE else set()
    assert given_up(lab) == expired
    if expired:
        lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/3306"]
    lab.cloud.clock.advance(600)

    lab.fault(service="mns", action="SendMessage", kind="error", times=failing)
    lab.call(HOME, "DeleteInstance", {"InstanceId": instance, "Force": "true"})
    triggers.drain(DAY)
    assert given_up(lab) <= expired
    lab.cloud.clock.advance(600)
    lab.sweep()
    assert lab.rules(db) == []


def test_an_instance_that_is_gone_before_it_was_shown_leaves_nothing(
    lab: Lab, triggers: Triggers, interval: float
) -> None:
    """Its invocations fail and are retried; no rule is made, and an event that is retried in time is no dead letter."""
    app, db = lab.group(), lab.group("*")
    lab.fault(service="mns", action="SendMessage", kind="error", times=4)
    instance = launch(lab, app.id, f"{db.id}:tcp/3306")
    lab.call(HOME, "DeleteInstance", {"InstanceId": instance, "Force": "true"})
    triggers.drain(DAY)
    assert retried(lab) > 0
    assert given_up(lab) == ({"Expired"} if interval >= MAX_AGE else set())
    lab.cloud.clock.advance(600)
    lab.sweep()
    assert lab.rules(db) == []
