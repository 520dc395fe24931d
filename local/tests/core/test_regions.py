"""Several regions: accounts and rights are shared, everything else is of one region, and a request says of which."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from alibabacloud_ecs20140526.client import Client
from alibabacloud_eventbridge20200401.client import Client as EventBridge
from alibabacloud_fc20230330.client import Client as Fc
from alibabacloud_tea_openapi.models import Config
from alibabacloud_vpc20160428.client import Client as Vpc
from aliyun.log import LogClient
from mns.queue import QueueMeta
from pytest_mock import MockerFixture

from aliyun_local import inprocess, world
from aliyun_local.cloud import LocalCloud
from aliyun_local.core import places
from aliyun_local.core.clock import SystemClock, VirtualClock
from aliyun_local.core.http import Request
from aliyun_local.core.principals import Role, policy_text, trust_text
from aliyun_local.core.regions import REGIONS
from aliyun_local.fc.runtime import WorkerRuntime
from aliyun_local.fc.triggers import Triggers, install
from aliyun_local.fc.values import Function, Trigger
from aliyun_local.server import serve
from clients import (
    FUNCTION_ROLE,
    HOME,
    PEER,
    PROJECT,
    ask,
    config,
    key_of,
    logs_of,
    queues_of,
    refusal,
    refused,
    world_file,
)

HERE, THERE = "cn-qingdao", "cn-hangzhou"


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    """A world with a deployment in two regions, and a VPC in each."""
    return _file_with(tmp_path, HERE, THERE)


def _file_with(folder: Path, *regions: str) -> Path:
    text = yaml.safe_load((world.WORLDS / "two-accounts.yaml").read_text(encoding="utf-8"))
    vpcs = [*text["vpcs"], {"name": "there", "owner": HOME, "cidr": "10.0.0.0/16", "region": THERE}]
    return world_file(folder, regions=list(regions), vpcs=vpcs, knobs={"project_names": "region"})


@pytest.fixture(name="cloud")
def _cloud(mocker: MockerFixture, file: Path) -> LocalCloud:
    cloud = LocalCloud(VirtualClock())
    world.load(cloud, file)
    inprocess.install(mocker, cloud)
    return cloud


def groups(ecs: Client, region: str) -> list[str]:
    answer = ask(ecs, "DescribeSecurityGroups", region_id=region)
    return [group.security_group_id for group in answer.security_groups.security_group]


def group_in(cloud: LocalCloud, **fields: Any) -> str:
    """A new group of the home account, in the first VPC of an entrance's region."""
    return cloud.ecs.create_group(HOME, cloud.world.vpcs[0]["id"], **fields).id


def test_a_group_is_of_one_region(cloud: LocalCloud) -> None:
    """RegionId says which; the other region has never heard of it, and the VPCs are apart, too."""
    group_here, group_there = group_in(cloud), group_in(cloud.region_at(THERE))
    ecs = Client(config(key_of(cloud), "ecs.aliyuncs.com"))
    assert (groups(ecs, HERE), groups(ecs, THERE), groups(ecs, "cn-beijing")) == ([group_here], [group_there], [])
    with refused("InvalidSecurityGroupId.NotFound", 404):
        ask(ecs, "DescribeSecurityGroupAttribute", region_id=THERE, security_group_id=group_here)
    vpcs = ask(Vpc(config(key_of(cloud), "vpc.aliyuncs.com")), "DescribeVpcs", region_id=THERE).vpcs.vpc
    assert [vpc.vpc_name for vpc in vpcs] == ["there"]


def test_a_region_must_exist_and_be_that_of_the_endpoint(cloud: LocalCloud) -> None:
    with refused("InvalidRegionId.NotFound", 404):
        groups(Client(config(key_of(cloud), "ecs.aliyuncs.com")), "cn-hangzou")
    with refused("InvalidOperation.NotSupportedEndpoint", 404):
        groups(Client(config(key_of(cloud), f"ecs.{HERE}.aliyuncs.com")), THERE)
    with pytest.raises(ValueError, match="cn-hangzou is not a region"):
        cloud.region_at("cn-hangzou")


def test_a_policy_for_one_region_allows_nothing_in_another(cloud: LocalCloud) -> None:
    """The region of an ARN is that of the call."""
    allow = {
        "Effect": "Allow",
        "Action": "ecs:DescribeSecurityGroups",
        "Resource": f"acs:ecs:{HERE}:{HOME}:securitygroup/*",
    }
    role = Role(HOME, "looker", trust_text([f"acs:ram::{HOME}:root"]))
    cloud.identity.add_role(role, {"look": policy_text([allow])})
    ecs = Client(config(cloud.identity.issue(role, "test", cloud.clock.now() + 3600), "ecs.aliyuncs.com"))
    assert groups(ecs, HERE) == []
    assert refusal(groups, ecs, THERE) == ("Forbidden.RAM", 403)


def log_client(cloud: LocalCloud, region: str, account: str = HOME, host: str = "") -> LogClient:
    return logs_of(key_of(cloud, account), host or f"{region}.log.aliyuncs.com")


@pytest.mark.parametrize("region", [HERE, THERE])
def test_a_log_project_is_of_one_region_and_one_account(cloud: LocalCloud, region: str) -> None:
    """The audit log has the same name in both. A name that another account holds there is taken."""
    for client in (log_client(cloud, region), log_client(cloud, region, host=f"http://{region}:1")):
        assert client.get_project(PROJECT).region == region
    log_client(cloud, HERE, PEER).create_project("taken", "")
    expected = ("ProjectAlreadyExist", 400) if region == HERE else ("", 0)
    assert refusal(log_client(cloud, region).create_project, "taken", "") == expected


def test_a_name_that_is_taken_everywhere_is_taken_in_every_region(cloud: LocalCloud) -> None:
    """By the other reading; and a world cannot have one project in two regions then."""
    cloud.knobs.change({"project_names": "global"})
    log_client(cloud, HERE).create_project("taken", "")
    expected = ("ProjectAlreadyExist", 400)
    assert refusal(log_client(cloud, THERE).create_project, "taken", "") == expected
    log_client(cloud, HERE).delete_project("taken")
    assert refusal(log_client(cloud, THERE).create_project, "taken", "") == ("", 0)


def test_a_world_has_no_project_twice(tmp_path: Path) -> None:
    file = world_file(tmp_path, regions=[HERE, THERE])
    with pytest.raises(world.WorldError, match="logs: each region would have a project of the same name"):
        world.load(LocalCloud(VirtualClock()), file)


@pytest.fixture(name="served")
def _served(file: Path) -> Iterator[LocalCloud]:
    cloud = LocalCloud(SystemClock())
    world.load(cloud, file)
    with serve(cloud):
        yield cloud


@pytest.mark.http
def test_each_region_has_an_entrance_of_its_own(served: LocalCloud) -> None:
    """For what names no region: a queue at a loopback address. A host name counts more than the entrance."""
    cloud_there = served.region_at(THERE)
    for place in (served, cloud_there):
        queues_of(key_of(served), place.endpoint).get_queue(f"at-{place.region}").create(QueueMeta())
        assert f"at-{place.region}" in [queue.name for queue in place.mns.queues(HOME)]
    assert "at-cn-qingdao" not in [queue.name for queue in cloud_there.mns.queues(HOME)]
    assert world.describe(served)["regions"] == {HERE: served.endpoint, THERE: cloud_there.endpoint}
    later = served.region_at("cn-beijing")
    for place in (cloud_there, later):
        ecs = Client(config(key_of(served), place.endpoint.removeprefix("http://")))
        assert groups(ecs, HERE) == []
        endpoint_by_region = {row.region_id: row.region_endpoint for row in ask(ecs, "DescribeRegions").regions.region}
        in_use = {region: each.endpoint.removeprefix("http://") for region, each in served.regions.items()}
        assert endpoint_by_region == {region: in_use.get(region, f"ecs.{region}.aliyuncs.com") for region in REGIONS}
    name = {"Host": f"{PROJECT}.{HERE}.log.aliyuncs.com", "x-log-apiversion": "0.6.0"}
    assert requests.get(cloud_there.endpoint, headers=name, timeout=60).status_code == 401  # SLS answered, unsigned


WATCHER = """
import os
from mns.account import Account
from mns.queue import Message

def handler(event, context):
    keys = context.credentials
    account = Account(
        os.environ["ALIYUN_LOCAL_ENDPOINT"], keys.access_key_id, keys.access_key_secret, keys.security_token
    )
    account.get_queue("requests").send_message(Message(context.region))
    return "done"
"""


def watching(place: LocalCloud, code: Path) -> Triggers:
    """A function that puts a message on the queue of its region when an instance is tagged there."""
    config = {
        "triggerEnable": True,
        "asyncInvocationType": True,
        "eventRuleFilterPattern": '{"source":["acs.ecs"],"data":{"eventName":["TagResources"]}}',
        "eventSourceConfig": {"eventSourceType": "Default", "eventSourceParameters": {}},
    }
    trigger = Trigger("tags", "eventbridge", config)
    role = f"acs:ram::{HOME}:role/{FUNCTION_ROLE}"
    function = Function("watcher", "watcher.handler", timeout=60, role=role, triggers=(trigger,))
    return install(place, [function], HOME, WorkerRuntime([code], place.variables))


@pytest.mark.http
def test_functions_react_to_the_events_of_their_own_region(served: LocalCloud, tmp_path: Path) -> None:
    """Deployed in both, under one name: a tag in one region calls that region's alone, which calls back where it
    runs."""
    (tmp_path / "watcher.py").write_text(WATCHER, encoding="utf-8")
    places = list(served.regions.values())
    deployed = [watching(place, tmp_path) for place in places]
    try:
        for triggers in deployed:
            triggers.start()
        cloud_there = served.region_at(THERE)
        instance = cloud_there.ecs.create_instance(HOME, [group_in(cloud_there)])
        ecs = Client(config(key_of(served), served.endpoint.removeprefix("http://")))
        resources: dict[str, Any] = {"resource_type": "instance", "resource_id": [instance.id]}
        ask(ecs, "TagResources", region_id=THERE, tag=[{"key": "tier", "value": "app"}], **resources)
        for triggers in deployed:
            triggers.drain(300)
        later = served.region_at("cn-chengdu")
        deployed.append(later.triggers)
        assert later.triggers.started  # what is deployed there runs, too
    finally:
        for triggers in deployed:
            triggers.close()
    bodies = [[message.body for message in place.mns.receive(HOME, "requests", 16)] for place in places]
    assert [list(map(base64.b64decode, region)) for region in bodies] == [[], [THERE.encode()]]


def test_a_worlds_regions_are_checked(tmp_path: Path) -> None:
    """They exist, the cloud's own is among them, and every VPC is in one."""
    for regions, problem in {
        (THERE,): "must be among them",
        (HERE, "cn-hangzou"): "not a region",
        (HERE,): "there",
    }.items():
        with pytest.raises(world.WorldError, match=problem):
            world.load(LocalCloud(VirtualClock()), _file_with(tmp_path, *regions))


# which region a request is for


@pytest.mark.parametrize(
    ("host", "region"),
    {
        "ecs.cn-hangzhou.aliyuncs.com": "cn-hangzhou",
        "ecs-cn-hangzhou.aliyuncs.com": "cn-hangzhou",
        "ecs.aliyuncs.com": "",
        "proj.cn-hangzhou.log.aliyuncs.com": "cn-hangzhou",
        "cn-beijing.cn-hangzhou-intranet.log.aliyuncs.com": "cn-hangzhou",  # a project may have any name
        "1000000000000001.mns.cn-hangzhou-internal.aliyuncs.com": "cn-hangzhou",
        "1000000000000001.cn-shanghai-finance-1.fc.aliyuncs.com": "cn-shanghai-finance-1",
        "proj.cn-hangzou.log.aliyuncs.com": "",
        "proj.127.0.0.1": "",
        "": "",
    }.items(),
)
def test_a_host_names_a_region(host: str, region: str) -> None:
    assert places.of_host(host) == region


@pytest.mark.parametrize(
    ("service", "region_id", "host", "region"),
    [
        ("ecs", "cn-hangzhou", "127.0.0.1", "cn-hangzhou"),
        ("ecs", "cn-hangzou", "127.0.0.1", ""),
        ("ecs", "", "ecs.cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        ("ecs", "cn-beijing", "ecs-cn-hangzhou.aliyuncs.com", "cn-beijing"),
        ("eventbridge", "cn-hangzhou", "127.0.0.1", ""),
    ],
)
def test_a_call_names_a_region(service: str, region_id: str, host: str, region: str) -> None:
    """ECS, VPC and Tag by RegionId first."""
    assert places.of_call(service, region_id, host) == region


@pytest.mark.parametrize(
    ("scope", "region"),
    [("cn-hangzhou/sls/aliyun_v4_request", "cn-hangzhou"), ("cn-hangzou/sls/aliyun_v4_request", ""), ("", "")],
)
def test_a_signature_of_sls_names_a_region(scope: str, region: str) -> None:
    headers = {
        "host": "proj.127.0.0.1:8101",
        "authorization": f"SLS4-HMAC-SHA256 Credential=LTAI/20261128/{scope},Signature=00",
    }
    assert places.of_request(Request("GET", "/", "", headers)) == region


@pytest.mark.parametrize("client", [Fc, EventBridge])
def test_the_regions_of_the_sdks_are_known(client: type) -> None:
    """Those with Function Compute and EventBridge, which a deployment needs, but for two that were closed."""
    endpoint_map = client(Config(access_key_id="a", access_key_secret="b", region_id="cn-qingdao"))._endpoint_map
    assert set(endpoint_map) - REGIONS <= {"ap-south-1", "ap-southeast-2"}
