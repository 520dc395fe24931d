"""Worlds: what a local cloud starts from, and how it describes itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from aliyun_local import world
from aliyun_local.cloud import LocalCloud
from aliyun_local.core.clock import VirtualClock
from aliyun_local.core.identity import Caller
from aliyun_local.core.policy import Access
from aliyun_local.fc.triggers import deploy
from aliyun_local.server import Server
from tests.clients import HOME, PEER, world_file


def test_the_description_names_everything(server: Server) -> None:
    """Ids are strings; the VPCs are the home account's, the peer's, and the shared one."""
    line = json.loads(json.dumps(world.describe(server.cloud)))
    assert line["endpoint"] == server.endpoint
    assert line["region"] == "cn-qingdao"
    assert [(account["id"], account["name"]) for account in line["accounts"]] == [
        (HOME, "a@aliyun.com"),
        (PEER, "b@aliyun.com"),
    ]
    assert all(account["access_key_id"] and account["access_key_secret"] for account in line["accounts"])
    assert [(vpc["owner"], vpc["shared_with"]) for vpc in line["vpcs"]] == [(HOME, []), (PEER, []), (HOME, [PEER])]
    assert all(vpc["id"].startswith("vpc-") and vpc["vswitch_id"].startswith("vsw-") for vpc in line["vpcs"])
    assert (line["queue"], line["dead_letter_queue"]) == ("link-peer-requests", "link-peer-dead-letters")
    assert (line["audit_project"], line["audit_logstore"]) == (f"link-peer-{HOME}", "decisions")
    assert line["role_arn"] == f"acs:ram::{PEER}:role/link-peer"
    assert line["external_id"] == "link-peer-local-example"
    assert (line["fc_service"], line["deployment"]) == ("link-peer", "prod")
    assert Path(line["policy"]).is_file()


@pytest.mark.parametrize("name", sorted(path.stem for path in world.WORLDS.glob("*.yaml")))
def test_every_world_loads(name: str) -> None:
    """Each bundled world loads, and its policy names its home account."""
    cloud = LocalCloud(VirtualClock())
    loaded = world.load(cloud, name)
    policy = yaml.safe_load(Path(loaded.policy).read_text(encoding="utf-8"))
    assert set(policy["accounts"]) == set(cloud.identity.accounts)
    assert "role" not in policy["accounts"][loaded.home]


def test_a_rule_of_a_world_has_the_id_that_it_is_given() -> None:
    """So that a page can name it."""
    cloud = LocalCloud(VirtualClock())
    world.load(cloud, "by-hand")
    params = {"RegionId": "cn-qingdao", "SecurityGroupId": "sg-bp1shopdb0000000000a"}
    caller = Caller(HOME, f"acs:ram::{HOME}:root")
    rules = cloud.ecs.call(caller, "DescribeSecurityGroupAttribute", params)["Permissions"]["Permission"]
    ports = {rule["SecurityGroupRuleId"]: rule["PortRange"] for rule in rules}
    assert ports == {"sgr-bp1shopdb000000000a": "3306/3306", "sgr-bp1shopssh00000000a": "22/22"}


def test_keys_are_new_each_time() -> None:
    """So no access key of a local cloud can be reused."""
    clouds = [LocalCloud(), LocalCloud()]
    for cloud in clouds:
        world.load(cloud)
    first, second = (cloud.identity.accounts[HOME].access_key_secret for cloud in clouds)
    assert first != second


def test_a_world_may_have_more_queues_and_isolated_groups(tmp_path: Path) -> None:
    """`queues` of the home account, which the deployed cross_account reads too, and `inner_access` of a group."""
    groups = yaml.safe_load((world.WORLDS / "shop.yaml").read_text(encoding="utf-8"))["groups"]
    groups[0]["inner_access"] = "Drop"
    cloud = LocalCloud(VirtualClock())
    world.load(cloud, world_file(tmp_path, "shop", queues=["requests-b"], groups=groups))
    assert "requests-b" in [queue.name for queue in cloud.mns.queues(HOME)]
    streams = deploy(cloud, in_process=True).streams
    assert [stream.settings.queue for stream in streams] == [cloud.world.queue, "requests-b", "link-peer-sweeps"]
    assert cloud.ecs.account(HOME).groups[groups[0]["id"]].inner_access == "Drop"


def test_a_world_can_be_any_file(tmp_path: Path) -> None:
    """Its `policy` part becomes a policy file."""
    policy = yaml.safe_load((world.WORLDS / "shop.yaml").read_text(encoding="utf-8"))["policy"]
    mine = world_file(tmp_path, "shop", deployment="mine", policy={**policy, "deployment": "mine"})
    cloud = LocalCloud(VirtualClock())
    loaded = world.load(cloud, mine)
    assert yaml.safe_load(Path(loaded.policy).read_text(encoding="utf-8"))["deployment"] == "mine"
    assert world.describe(cloud)["role_arn"] == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("home: '1'", "'accounts' is missing"),
        ("[", "while parsing"),
        ("- a", "indices must be integers"),
        ("{home: '1', deployment: d, accounts: {'1': a}, inactive: [oss]}", "eventbridge, fc, mns, sls"),
        *(
            (
                f"{{home: '1', deployment: d, accounts: {{}}, roles: [{{account: '1', name: r, {name}: 'ecs:*'}}]}}",
                f"{name} must be a list of strings",
            )
            for name in ("trusted", "allowed_actions")
        ),
    ],
)
def test_an_invalid_world_names_its_file(tmp_path: Path, text: str, problem: str) -> None:
    """The error says what is wrong and in which file."""
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(world.WorldError, match=f"bad.yaml: .*{problem}"):
        world.load(LocalCloud(VirtualClock()), path)


def test_an_unknown_world_is_an_error() -> None:
    """The error names those that there are."""
    with pytest.raises(
        world.WorldError, match="'atlantis' is neither a file nor one of by-hand, company, cross-account, empty, shop"
    ):
        world.load(LocalCloud(VirtualClock()), "atlantis")


def test_a_world_may_list_roles_of_its_own(tmp_path: Path) -> None:
    """Then it has those and no others but service-linked ones: `trusted` are ARNs or services, and no `allowed_actions` means all."""
    roles = [
        {"account": HOME, "name": "fn", "trusted": ["fc.aliyuncs.com"], "allowed_actions": ["ecs:Describe*"]},
        {"account": PEER, "name": "enter", "trusted": [f"acs:ram::{HOME}:root"], "external_id": "of-this-file"},
        {"account": PEER, "name": "nobody"},
    ]
    cloud = LocalCloud(VirtualClock())
    world.load(cloud, world_file(tmp_path, roles=roles))
    function, enter, nobody = (role for role in cloud.identity.roles.values() if not role.linked_to)
    assert (function.name, enter.name, nobody.name) == ("fn", "enter", "nobody")
    assert function.trusts(frozenset({"fc.aliyuncs.com"}))
    assert not function.trusts(frozenset({f"acs:ram::{HOME}:root"}))
    assert enter.trusts(frozenset({f"acs:ram::{HOME}:root"}), "of-this-file")
    assert not enter.trusts(frozenset({f"acs:ram::{HOME}:root"}), "another")
    assert not nobody.trusts(frozenset({f"acs:ram::{PEER}:root"}))
    limited, free = (cloud.identity.issue(role, "test", 1).caller for role in (function, enter))
    assert cloud.identity.permitted(limited, Access("ecs:DescribeInstances", ["acs:ecs:cn-qingdao:1:instance/*"]))
    assert not cloud.identity.permitted(limited, Access("log:PostLogStoreLogs", ["acs:log:cn-qingdao:1:project/x"]))
    assert cloud.identity.permitted(free, Access("log:PostLogStoreLogs", ["acs:log:cn-qingdao:1:project/x"]))
    described = world.describe(cloud)
    assert (described["role_arn"], described["external_id"]) == (enter.arn, "of-this-file")
