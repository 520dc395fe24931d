"""An account of the local cloud that a selftest may use, as its owner marks it."""

from __future__ import annotations

from aliyun_conformance.bench import MARK, Options
from aliyun_local.api import LocalCloud, Role, trust_text

HOME, PEER = "1000000000000001", "1000000000000002"
ROLE = f"acs:ram::{HOME}:role/selftest"


def mark(cloud: LocalCloud) -> Options:
    """Mark two VPCs of the account, and a group of the peer in one of them; a role may be narrowed. Returns the options for it."""
    own_vpc, _, shared = cloud.world.vpcs
    for account, vpc in ((HOME, shared), (HOME, own_vpc), (PEER, shared)):
        cloud.ecs.create_group(account, vpc["id"], tags=dict([MARK]))
    cloud.identity.add_role(Role(HOME, "selftest", trust_text([f"acs:ram::{HOME}:root"])))
    cloud.identity.allow_only(ROLE, ["*"])
    return Options(
        vpc=shared["id"],
        instances=True,
        image="aliyun_3",
        instance_type="ecs.t6-c1m1.large",
        vswitch=shared["vswitch_id"],
        role=ROLE,
        peer=PEER,
        peer_role=f"acs:ram::{PEER}:role/partner",
        external_id="aliyun-local-example",
        peer_through=f"acs:ram::{HOME}:role/operator",
    )


def existing(cloud: LocalCloud) -> list[set[str]]:
    """The resources of the account, of every kind that a question creates."""
    account = cloud.ecs.accounts[HOME]
    running = {key for key, instance in account.instances.items() if instance.states.at(cloud.clock.now())}
    queues = {queue.name for queue in cloud.mns.queues(HOME)}
    projects = {project.name for project in cloud.sls.projects(HOME)}
    return [set(account.groups), running, set(account.interfaces), queues, projects]
