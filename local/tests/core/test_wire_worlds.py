"""Worlds: what a local cloud starts from, and how it describes itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aliyun_local import world
from aliyun_local.cloud import LocalCloud
from aliyun_local.core.clock import VirtualClock
from aliyun_local.core.identity import Caller
from aliyun_local.core.policy import Access
from aliyun_local.server import Server
from clients import HOME, PEER, world_file


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
    assert [(vpc["name"], vpc["owner"], vpc["shared_with"]) for vpc in line["vpcs"]] == [
        ("a", HOME, []),
        ("b", PEER, []),
        ("shared", HOME, [PEER]),
    ]
    assert all(vpc["id"].startswith("vpc-") and vpc["vswitch_id"].startswith("vsw-") for vpc in line["vpcs"])
    assert line["queues"] == ["dead-letters", "requests"]
    assert line["projects"] == [f"logs-{HOME}"]
    roles = {role["arn"]: role["external_id"] for role in line["roles"]}
    assert roles[f"acs:ram::{PEER}:role/partner"] == "aliyun-local-example"
    assert roles[f"acs:ram::{HOME}:role/functions"] == ""


@pytest.mark.parametrize("name", sorted(path.stem for path in world.WORLDS.glob("*.yaml")))
def test_every_world_loads(name: str) -> None:
    """Each bundled world loads, with the VPCs that it names."""
    cloud = LocalCloud(VirtualClock())
    loaded = world.load(cloud, name)
    assert cloud.world is loaded
    assert {vpc["owner"] for vpc in loaded.vpcs} <= set(cloud.identity.accounts)


def test_a_rule_of_a_world_has_the_id_that_it_is_given() -> None:
    """So that a page can name it."""
    cloud = LocalCloud(VirtualClock())
    world.load(cloud, "web-shop")
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


def test_a_world_has_queues_logs_and_isolated_groups(tmp_path: Path) -> None:
    """`queues` and `logs` of any account, and `inner_access` of a group."""
    queues = [{"account": HOME, "name": "requests-b"}]
    logs = [{"account": HOME, "project": "any", "logstores": {"rows": {"line": {"token": [" "]}}}}]
    cloud = LocalCloud(VirtualClock())
    world.load(cloud, world_file(tmp_path, "web-shop", queues=queues, logs=logs))
    assert [queue.name for queue in cloud.mns.queues(HOME)] == ["requests-b"]
    assert [project.name for project in cloud.sls.projects(HOME)] == ["any"]
    assert cloud.sls.logstore(HOME, "any", "rows")
    isolated = [group.name for group in cloud.ecs.account(HOME).groups.values() if group.inner_access == "Drop"]
    assert isolated == ["shop-cache"]


def test_a_world_has_egress_rules_and_routes_between_vpcs(tmp_path: Path) -> None:
    """`Direction: egress` of a rule, and `peerings` of VPCs."""
    group = {"account": HOME, "name": "closed", "vpc": "shared", "type": "enterprise"}
    rule = {"Direction": "egress", "IpProtocol": "tcp", "PortRange": "443/443", "DestCidrIp": "10.1.0.0/16"}
    cloud = LocalCloud(VirtualClock())
    world.load(cloud, world_file(tmp_path, peerings=[["a", "b"]], groups=[{**group, "rules": [rule]}]))
    (group_state,) = cloud.ecs.account(HOME).groups.values()
    rules = group_state.rules.at(cloud.clock.now())
    assert [(rule.direction, rule.peer_cidr) for rule in rules] == [("egress", "10.1.0.0/16")]
    names = {vpc.id: vpc.name for vpc in cloud.ecs.vpcs.values()}
    assert {frozenset(names[vpc] for vpc in pair) for pair in cloud.ecs.peerings} == {frozenset({"a", "b"})}


_REGIONS = "{accounts: {'1': a}, regions: [cn-qingdao, cn-hangzhou], vpcs: [{name: a, owner: '1', cidr: 10.0.0.0/16},"
_ELSEWHERE = "{name: b, owner: '1', cidr: 10.1.0.0/16, region: cn-hangzhou}]"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("vpcs: []", "'accounts' is missing"),
        ("[", "while parsing"),
        ("- a", "not a mapping of the keys of a world"),
        (
            "{region: cn-shanghai, accounts: {}, vpcs: []}",
            "unknown key 'region': the known keys are accounts, groups, .*regions",
        ),
        ("{accounts: {}, vpcs: [{name: a, owner: '1', cidr: 10.0.0.0/16, zone: b}]}", "vpcs: unknown key 'zone'"),
        ("{accounts: {}, vpcs: [], groups: [{account: '1', tag: {}}]}", "groups: unknown key 'tag': .*tags"),
        (
            "{accounts: {}, vpcs: [], instances: [{account: '1', group: sg-a}]}",
            "instances: unknown key 'group': .*groups",
        ),
        ("{accounts: {'1': a}, inactive: [oss]}", "eventbridge, fc, mns, sls"),
        (f"{_REGIONS} {_ELSEWHERE}, peerings: [[a, c]]}}", "is no list of two VPCs of the file"),
        (f"{_REGIONS} {_ELSEWHERE}, peerings: [[a, a]]}}", "is no list of two VPCs of the file"),
        (f"{_REGIONS} {_ELSEWHERE}, peerings: [a]}}", "a is no list of two VPCs of the file"),
        (f"{_REGIONS} {_ELSEWHERE}, peerings: [[a, b]]}}", "a and b are in two regions"),
        (
            f"{_REGIONS} {_ELSEWHERE}, groups: [{{account: '1', name: g, vpc: a, rules: [{{Direction: out}}]}}]}}",
            "group g: the Direction of a rule is ingress or egress",
        ),
        *(
            (
                f"{{accounts: {{}}, roles: [{{account: '1', name: r, {name}: 'ecs:*'}}]}}",
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
    with pytest.raises(world.WorldError, match="'atlantis' is neither a file nor one of empty, two-accounts, web-shop"):
        world.load(LocalCloud(VirtualClock()), "atlantis")


def test_a_world_may_list_roles_of_its_own(tmp_path: Path) -> None:
    """Then it has those and no others but service-linked ones: `trusted` are ARNs or services, and no `allowed_actions`
    means all."""
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
    described = {role["arn"]: role["external_id"] for role in world.describe(cloud)["roles"]}
    assert described == {function.arn: "", enter.arn: "of-this-file", nobody.arn: ""}
