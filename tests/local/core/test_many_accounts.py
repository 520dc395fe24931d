"""Worlds of 1 to 500 accounts have the roles of a deployment, and they work."""

from __future__ import annotations

from pathlib import Path

import pytest
from alibabacloud_ecs20140526.client import Client
from alibabacloud_ecs20140526.models import DescribeSecurityGroupsRequest
from alibabacloud_sts20150401.client import Client as Sts
from alibabacloud_sts20150401.models import AssumeRoleRequest
from link_peer_local import inprocess, world
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.clock import VirtualClock
from link_peer_local.ram.params import MAX_POLICY
from pytest_mock import MockerFixture

from tests.local.clients import REGION, config
from tests.many_accounts import world_of, written


@pytest.mark.parametrize("count", [1, 2, 3, 40, 500])
def test_the_functions_enter_every_account(mocker: MockerFixture, tmp_path: Path, count: int) -> None:
    """By the policies as shipped, which are no longer than RAM takes; the first, the last and one between are tried."""
    text = world_of(count)
    cloud = LocalCloud(VirtualClock())
    world.load(cloud, written(tmp_path, text))
    inprocess.install(mocker, cloud)
    documents = [
        version.document for policy in cloud.identity.policies.values() for version in policy.versions.values()
    ]
    assert max(map(len, documents)) <= MAX_POLICY
    home = cloud.identity.roles[f"acs:ram::{text['home']}:role/link-peer-fc"]
    key = cloud.identity.issue(home, "functions", cloud.clock.now() + 3600)
    sts = Sts(config(key))
    peers = {uid: of for uid, of in text["policy"]["accounts"].items() if "role" in of}
    assert len(peers) == count - 1
    for uid in {*list(peers)[:1], *list(peers)[-1:], *list(peers)[count // 2 :][:1]}:
        asked = AssumeRoleRequest(
            role_arn=peers[uid]["role"], role_session_name="test", external_id=peers[uid]["external_id"]
        )
        got = sts.assume_role(asked).body.credentials
        cloud.ecs.create_group(uid, cloud.world.vpcs[0]["id"])
        shown = Client(config(cloud.identity.keys[got.access_key_id])).describe_security_groups(
            DescribeSecurityGroupsRequest(region_id=REGION)
        )
        assert len(shown.body.security_groups.security_group) == 1
