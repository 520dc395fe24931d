"""Service-linked roles through the official clients: created once, checked, and what does not happen without them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alibabacloud_eventbridge20200401 import models
from alibabacloud_eventbridge20200401.client import Client
from alibabacloud_ram20150501.client import Client as Ram
from pytest_mock import MockerFixture

from aliyun_local import inprocess, world
from aliyun_local.cloud import LocalCloud
from aliyun_local.core.clock import VirtualClock
from aliyun_local.core.identity import Key
from aliyun_local.core.knobs import Knobs
from aliyun_local.core.principals import Role, policy_text, trust_text
from aliyun_local.eventbridge.linked_roles import (
    FC_TRIGGER,
    SEND_TO_FC,
    SEND_TO_MNS,
    SERVICES,
    SOURCE_ACTIONTRAIL,
    SOURCE_CMS,
    SOURCE_MNS,
)
from clients import HOME, ask, config, key_of, refusal

EVENTS = "eventbridge.cn-qingdao.aliyuncs.com"
STATE, CALL = "ecs:Instance:StateChange", "ecs:ActionTrail:ApiCall"


@pytest.fixture(name="cloud")
def _cloud(mocker: MockerFixture) -> LocalCloud:
    """An account that has nothing yet; every name of a role is taken."""
    cloud = LocalCloud(VirtualClock(), knobs=Knobs(trigger_role="required"))
    world.load(cloud, "empty")
    inprocess.install(mocker, cloud)
    return cloud


def check(key: Key, name: str) -> bool:
    request = models.CheckServiceLinkedRoleForProductRequest(name)
    return bool(Client(config(key, EVENTS)).check_service_linked_role_for_product(request).body.data.check_pass)


def create(key: Key, name: str) -> Any:
    request = models.CreateServiceLinkedRoleForProductRequest(name)
    return Client(config(key, EVENTS)).create_service_linked_role_for_product(request).body


@pytest.mark.parametrize("name", SERVICES)
def test_a_role_is_made_once(cloud: LocalCloud, name: str) -> None:
    """RAM shows it as linked to its service, which alone may assume it, and does not delete it."""
    key = key_of(cloud)
    assert not check(key, name)
    assert create(key, name).code == "Success"
    assert check(key, name)
    assert refusal(create, key, name)[0] == "EntityAlreadyExists.Role"
    ram = Ram(config(key, EVENTS))
    role = ask(ram, "GetRole", role_name=name).role
    assert role.is_service_linked_role
    assert json.loads(role.assume_role_policy_document)["Statement"][0]["Principal"] == {"Service": [SERVICES[name]]}
    assert refusal(ask, ram, "DeleteRole", role_name=name)[0] == "InvalidOperation.ServiceLinkedRole"


@pytest.mark.parametrize(
    ("knob", "reading", "refused_names"),
    [
        ("queue_roles", "both", set()),
        ("queue_roles", "SourceMNS", {SEND_TO_MNS}),
        ("queue_roles", "SendToMNS", {SOURCE_MNS}),
        ("trigger_role", "unused", {FC_TRIGGER}),
    ],
)
def test_the_names_that_are_not_certain_are_taken_by_one_reading(
    cloud: LocalCloud, knob: str, reading: str, refused_names: set[str]
) -> None:
    cloud.knobs.change({knob: reading})
    codes = {name: refusal(create, key_of(cloud), name)[0] for name in SERVICES}
    assert {name for name, code in codes.items() if code == "InvalidArgument"} == refused_names
    assert {name for name, code in codes.items() if code == ""} == SERVICES.keys() - refused_names


def test_an_unknown_role_is_refused(cloud: LocalCloud) -> None:
    assert refusal(create, key_of(cloud), "AliyunServiceRoleForNobody")[0] == "InvalidArgument"


def test_creating_one_needs_the_right_for_its_service(cloud: LocalCloud) -> None:
    """`ram:CreateServiceLinkedRole`, which a policy can narrow to a service."""
    condition = {"StringEquals": {"ram:ServiceName": SERVICES[SEND_TO_FC]}}
    allow = {"Effect": "Allow", "Action": "ram:CreateServiceLinkedRole", "Resource": "*", "Condition": condition}
    role = Role(HOME, "deployer", trust_text([f"acs:ram::{HOME}:root"]))
    cloud.identity.add_role(role, {"deploy": policy_text([allow])})
    key = cloud.identity.issue(role, "test", cloud.clock.now() + 3600)
    assert refusal(create, key, SOURCE_CMS)[0] == "NoPermission"
    assert create(key, SEND_TO_FC).code == "Success"
    assert refusal(check, key, SEND_TO_FC)[0] == "NoPermission"


def test_without_the_role_of_its_source_no_event_arrives(cloud: LocalCloud) -> None:
    """State changes come by way of CloudMonitor, calls by ActionTrail; and nothing is delivered without the
    target's."""
    key, events = key_of(cloud), []
    cloud.events.add_rule(HOME, "all", "{}", events.append)

    def publish() -> list[str]:
        before = len(events)
        for kind in (STATE, CALL):
            cloud.events.publish(HOME, {"source": "acs.ecs", "type": kind, "data": {}})
        return [event["type"] for event in events[before:]]

    create(key, SOURCE_CMS)
    assert publish() == []
    create(key, SEND_TO_FC)
    assert publish() == [STATE]
    create(key, SOURCE_ACTIONTRAIL)
    assert publish() == [STATE, CALL]
