"""Worlds of the local cloud with a deployment of link-peer: what they start with, and how they describe themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from aliyun_local.api import (
    Caller,
    LocalCloud,
    Role,
    Server,
    SystemClock,
    VirtualClock,
    linked_roles,
    may_reach,
    serve,
    trust_text,
)
from link_peer_cli.demo import world
from link_peer_cli.demo.deployment import DeploymentWorld
from link_peer_cli.demo.functions import deploy

from tests.accounts import written
from tests.functional.lab import HOME, PEER

HERE, THERE = "cn-qingdao", "cn-hangzhou"


def changed(folder: Path, name: str, **parts: Any) -> Path:
    """A world that is shipped, with these parts instead of its own, as a file."""
    text = yaml.safe_load((world.WORLDS / f"{name}.yaml").read_text(encoding="utf-8"))
    return written(folder, {**text, **parts})


def test_the_description_names_everything(server: Server) -> None:
    """Ids are strings; the VPCs are the home account's, the peer's, and the shared one."""
    line = json.loads(json.dumps(world.describe(server.cloud)))
    assert line["endpoint"] == server.endpoint
    assert [(account["id"], account["name"]) for account in line["accounts"]] == [
        (HOME, "a@aliyun.com"),
        (PEER, "b@aliyun.com"),
    ]
    assert all(account["access_key_id"] and account["access_key_secret"] for account in line["accounts"])
    assert [(vpc["owner"], vpc["shared_with"]) for vpc in line["vpcs"]] == [(HOME, []), (PEER, []), (HOME, [PEER])]
    assert (line["queue"], line["dead_letter_queue"]) == ("link-peer-requests", "link-peer-dead-letters")
    assert (line["audit_project"], line["audit_logstore"]) == (f"link-peer-{HOME}-{HERE}", "decisions")
    assert line["role_arn"] == f"acs:ram::{PEER}:role/link-peer"
    assert line["external_id"] == "link-peer-local-example"
    assert (line["fc_service"], line["deployment"]) == ("link-peer", "prod")
    assert Path(line["policy"]).is_file()


@pytest.mark.parametrize("name", sorted(path.stem for path in world.WORLDS.glob("*.yaml")))
def test_every_world_loads(name: str) -> None:
    """Each shipped world loads, and its policy names its home account."""
    cloud = LocalCloud(VirtualClock())
    loaded = world.load(cloud, name)
    policy = yaml.safe_load(Path(loaded.policy).read_text(encoding="utf-8"))
    assert set(policy["accounts"]) == set(cloud.identity.accounts)
    assert "role" not in policy["accounts"][loaded.home]


def test_a_world_may_have_more_queues(tmp_path: Path) -> None:
    """`queues` of the home account, which the deployed cross_account reads too."""
    cloud = LocalCloud(VirtualClock())
    world.load(cloud, changed(tmp_path, "shop", queues=["requests-b"]))
    assert "requests-b" in [queue.name for queue in cloud.mns.queues(HOME)]
    streams = deploy(cloud, in_process=True).streams
    assert [stream.settings.queue for stream in streams] == ["link-peer-requests", "requests-b", "link-peer-sweeps"]


def test_a_world_can_be_any_file(tmp_path: Path) -> None:
    """Its `policy` part becomes a policy file."""
    policy = yaml.safe_load((world.WORLDS / "shop.yaml").read_text(encoding="utf-8"))["policy"]
    mine = changed(tmp_path, "shop", deployment="mine", policy={**policy, "deployment": "mine"})
    cloud = LocalCloud(VirtualClock())
    loaded = world.load(cloud, mine)
    assert yaml.safe_load(Path(loaded.policy).read_text(encoding="utf-8"))["deployment"] == "mine"
    assert world.describe(cloud)["role_arn"] == ""


def test_advanced_groups_of_the_world_wait_for_rules_alone() -> None:
    """In `advanced`, each wish of app has consent and a route, and several instances at its target. Rules of both
    directions let its packets through; what legacy asks for, a person's egress rule stops all the same."""
    cloud = LocalCloud(VirtualClock())
    world.load(cloud, "advanced")
    groups = {group.id: group for uid in (HOME, PEER) for group in cloud.ecs.account(uid).groups.values()}
    instances = [instance for uid in (HOME, PEER) for instance in cloud.ecs.account(uid).instances.values()]
    now = cloud.clock.now()
    packets: dict[tuple[str, str], list[tuple[str, str, str, str, str, int]]] = {}
    for source in instances:
        (sending,) = source.states.at(now).groups
        for wish in source.tags.at(now).get("link-peer", "").split():
            party, _, port = wish.partition(":tcp/")
            receiving = groups[party.partition("@")[0]]
            targets = [instance for instance in instances if instance.states.at(now).groups == (receiving.id,)]
            assert len(targets) > 1
            flows = packets.setdefault((groups[sending].name, receiving.name), [])
            flows += [(HOME, source.id, receiving.account, target.id, "tcp", int(port)) for target in targets]
    assert not any(may_reach(cloud.ecs, *flow).ok for flows in packets.values() for flow in flows)
    by_id = {instance.id: instance for instance in instances}
    for account, source_id, target_account, target_id, _, port_number in chain(*packets.values()):
        source, target = by_id[source_id], by_id[target_id]
        _write(cloud, account, source.states.at(now).groups[0], "egress", target.private_ip, port_number)
        _write(cloud, target_account, target.states.at(now).groups[0], "ingress", source.private_ip, port_number)
    passing = {names: {may_reach(cloud.ecs, *flow).ok for flow in flows} for names, flows in packets.items()}
    assert passing == {
        ("app", "db"): {True},
        ("app", "orders"): {True},
        ("app", "ledger"): {True},
        ("legacy", "db"): {False},
    }


def _write(cloud: LocalCloud, account: str, group: str, direction: str, address: str, port: int) -> None:
    """Add a rule of a person, of either direction."""
    suffix, end = ("Egress", "Dest") if direction == "egress" else ("", "Source")
    fields = {"IpProtocol": "TCP", "PortRange": f"{port}/{port}", f"{end}CidrIp": f"{address}/32", "Priority": "100"}
    params = {f"Permissions.1.{name}": value for name, value in fields.items()}
    root = Caller(account, f"acs:ram::{account}:root")
    target = {"RegionId": cloud.region, "SecurityGroupId": group}
    cloud.ecs.call(root, f"AuthorizeSecurityGroup{suffix}", {**target, **params})


def test_a_world_may_list_roles_of_its_own(tmp_path: Path) -> None:
    """Then it has those and no others but service-linked ones; the first of another account is the one that is
    described."""
    roles = [{"account": PEER, "name": "enter", "trusted": [f"acs:ram::{HOME}:root"], "external_id": "of-this-file"}]
    cloud = LocalCloud(VirtualClock())
    world.load(cloud, changed(tmp_path, "two-accounts", roles=roles))
    assert [role.name for role in cloud.identity.roles.values() if not role.linked_to] == ["enter"]
    described = world.describe(cloud)
    assert (described["role_arn"], described["external_id"]) == (f"acs:ram::{PEER}:role/enter", "of-this-file")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("home: '1'", "'accounts' is missing"),
        ("{accounts: {'1': a}, vpcs: []}", "is missing"),
        (
            f"{{home: '{HOME}', deployment: d, region: cn-shanghai, accounts: {{'{HOME}': a}}, vpcs: []}}",
            "unknown key 'region': the known keys are .*deployment.* home.* regions",
        ),
    ],
)
def test_an_invalid_world_names_its_file(tmp_path: Path, text: str, problem: str) -> None:
    """The error says what is wrong and in which file; an unknown name, which worlds there are."""
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(world.WorldError, match=f"bad.yaml: .*{problem}"):
        world.load(LocalCloud(VirtualClock()), path)
    with pytest.raises(
        world.WorldError,
        match="neither a file nor one of advanced, by-hand, company, cross-account, empty, estate, shop",
    ):
        world.load(LocalCloud(VirtualClock()), "atlantis")


def test_a_world_is_entered_at_its_first_region(tmp_path: Path) -> None:
    """A world that lists none leaves the choice to its caller; what is no world is an error here, too."""
    path = tmp_path / "bad.yaml"
    path.write_text("[]", encoding="utf-8")
    assert world.entrance(changed(tmp_path, "shop", regions=["cn-shanghai", "cn-qingdao"])) == "cn-shanghai"
    assert world.entrance("shop") == ""
    with pytest.raises(world.WorldError, match=r"bad.yaml: not a mapping of the keys of a world"):
        world.entrance(path)


def test_a_deployment_follows_its_world() -> None:
    """Queues, log, role, policy, home account and service name are the world's, not the defaults of s.yaml."""
    cloud = LocalCloud(VirtualClock())
    cloud.endpoint = "http://127.0.0.1:4"
    cloud.shared.endpoint_variable = "LINK_PEER_CLOUD"
    cloud.identity.add_account(HOME, "a@example.com")
    cloud.identity.add_role(Role(HOME, "lp-fc", trust_text(["fc.aliyuncs.com"])))
    linked_roles.create(cloud.identity, HOME, 0)
    cloud.world = DeploymentWorld(
        home=HOME, queue="lp-requests", dead_letter_queue="lp-dead-letters", audit_project="log", audit_logstore="store",
        fc_service="svc", function_role="lp-fc", policy="/p.yaml", deployment="test", queues=["lp-requests-b"],
    )  # fmt: skip
    triggers = deploy(cloud, in_process=True)
    function = cloud.fc.function(HOME, "lp-auto-link", "live").function
    assert function.role == f"acs:ram::{HOME}:role/lp-fc"
    assert function.on_failure == "acs:mns:cn-qingdao:1000000000000001:/queues/lp-dead-letters/messages"
    assert (function.env["LINK_PEER_QUEUE"], function.env["LINK_PEER_AUDIT_LOGSTORE"]) == ("lp-requests", "store")
    queues = [stream.settings.queue for stream in triggers.streams]
    assert (cloud.fc.service, queues) == ("svc", ["lp-requests", "lp-requests-b", "lp-sweeps"])
    assert [(timer.name, timer.seconds) for timer in triggers.timers] == [("every-10m", 600)]
    assert cloud.fc.runtime.env == {"LINK_PEER_POLICY": "/p.yaml", "LINK_PEER_CLOUD": "http://127.0.0.1:4"}


@pytest.fixture(name="served")
def _served(tmp_path: Path) -> Iterator[LocalCloud]:
    """A world with a deployment in two regions, and a VPC in each."""
    text = yaml.safe_load((world.WORLDS / "two-accounts.yaml").read_text(encoding="utf-8"))
    vpcs = [*text["vpcs"], {"name": "there", "owner": HOME, "cidr": "10.0.0.0/16", "region": THERE}]
    policy = {"deployment": "prod", "accounts": {HOME: {"name": "a@aliyun.com"}}, "accept_tags": True}
    cloud = LocalCloud(SystemClock())
    world.load(cloud, changed(tmp_path, "two-accounts", regions=[HERE, THERE], vpcs=vpcs, policy=policy))
    with serve(cloud):
        yield cloud


@pytest.mark.http
def test_functions_react_to_the_events_of_their_own_region(served: LocalCloud) -> None:
    """Deployed in both, under one name: a tag in one region opens there, and only that region's log tells of it."""
    places = list(served.regions.values())
    deployed = [deploy(place) for place in places]
    try:
        groups = {
            place.region: [
                place.ecs.create_group(HOME, place.world.vpcs[0]["id"], tags=tags).id
                for tags in ({"link-accept": "*"}, {})
            ]
            for place in places
        }
        for triggers in deployed:
            triggers.start()
        second_region = served.region_at(THERE)
        db, app = groups[THERE]
        instance = second_region.ecs.create_instance(HOME, [app])
        tag = {"ResourceType": "instance", "ResourceId.1": instance.id, "Tag.1.Key": "link-peer"}
        wish = {"RegionId": THERE, **tag, "Tag.1.Value": f"{db}:tcp/3306"}
        second_region.ecs.call(Caller(HOME, f"acs:ram::{HOME}:root"), "TagResources", wish)
        for triggers in deployed:
            triggers.drain(300)
    finally:
        for triggers in deployed:
            triggers.close()
    rules = second_region.ecs.account(HOME).groups[db].rules.at(served.clock.now())
    assert [(rule.peer_group, rule.port_range) for rule in rules] == [(app, "3306/3306")]
    now = int(served.clock.now())
    logs = [
        place.sls.search(HOME, f"link-peer-{HOME}-{place.region}", "decisions", now - 3600, now + 3600).logs
        for place in places
    ]
    assert logs[0] == []
    assert {row["region"] for row in logs[1]} == {THERE}
