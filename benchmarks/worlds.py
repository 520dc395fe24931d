"""What the benchmarks ask of the local cloud: worlds to measure in, and what was called.

Every function runs in the cloud's process; see `benchmarks.cloud`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence

from aliyun_local.api import Caller, Fault, Group, LocalCloud
from link_peer.domain import marker
from link_peer.domain.model import TAG, Marker, Party, Port, RuleKey
from link_peer.domain.tags import DEFAULT_TAG_PREFIX, tag_keys
from link_peer_cli.demo.deployment import deployment_of
from link_peer_cli.demo.world import PREFIX
from link_peer_deploy.names import Names
from msgspec import Struct

HOME, PEER = "1000000000000001", "1000000000000002"
SWEEPS = Names(HOME, PREFIX).sweep_queue
PORT = Port("tcp", 3306, 3306)
PER_VPC = 4000  # instances that the addresses of one VPC suffice for


class RecordedCall(Struct, frozen=True):
    """One call that the cloud got; times in seconds of its clock."""

    service: str
    action: str
    started: float
    ended: float


class Asker(Struct, frozen=True):
    """An instance that asks for a link with `wish`, and the group that accepts it."""

    instance: str
    wish: str
    group: str


def settings(cloud: LocalCloud) -> dict[str, str]:
    """The environment of a deployed function, with this cloud as the endpoint of every service."""
    role = cloud.identity.roles[f"acs:ram::{HOME}:role/{deployment_of(cloud).function_role}"]
    keys = cloud.identity.issue(role, "benchmark", cloud.clock.now() + 86_400)
    return {
        **cloud.variables,
        "LINK_PEER_REGION": cloud.region,
        "LINK_PEER_AUDIT_PROJECT": deployment_of(cloud).audit_project,
        "LINK_PEER_AUDIT_LOGSTORE": deployment_of(cloud).audit_logstore,
        "LINK_PEER_QUEUE": deployment_of(cloud).queue,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": keys.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": keys.secret,
        "ALIBABA_CLOUD_SECURITY_TOKEN": str(keys.token),
    }


def ring(cloud: LocalCloud, groups: int, instances: int, asking: int, account: str = HOME) -> None:
    """Managed groups of an account, each of which admits the one before it by a rule of ours that the tag of an
    instance asks for.

    Of all instances, which are spread evenly over the groups, the first `asking` carry the tag.
    """
    deployment, per_group = "prod", math.ceil(instances / groups)
    per_vpc = max(2, PER_VPC // max(1, per_group))
    tag = tag_keys(DEFAULT_TAG_PREFIX, deployment, HOME).managed
    new_groups: list[Group] = []
    rings: list[tuple[Group, Group]] = []
    for first in range(0, groups, per_vpc):
        vpc = cloud.ecs.create_vpc(account, "10.0.0.0/16")
        part = [cloud.ecs.create_group(account, vpc.id) for _ in range(min(per_vpc, groups - first))]
        rings += zip(part, part[1:] + part[:1], strict=True)
        new_groups += part
    accepted = {target.id: source for source, target in rings}
    asks_for = {source.id: target for source, target in rings}
    for group in new_groups:
        source = accepted[group.id]
        new = {tag: "true", "link-accept": f"{source.id}:{PORT}"}
        group.tags.change(0, lambda old, new=new: {**old, **new})  # type: ignore[misc]
        key = RuleKey(Party(account, group.id), f"{source.id}@{account}", "", PORT)
        mark = Marker(HOME, deployment, key.id(HOME, deployment, cloud.region), (TAG,))
        authorize(cloud, Party(account, group.id), Party(account, source.id), PORT, marker.render(mark))
    for number in range(instances):
        group = new_groups[number % groups]
        wish = {"link-peer": f"{asks_for[group.id].id}:{PORT}"} if number < asking else {}
        cloud.ecs.create_instance(account, [group.id], tags=wish)


def authorize(cloud: LocalCloud, group: Party, source: Party | str, port: Port, description: str) -> None:
    """Let a group be reached by another one, or from an address, as the owner of its account."""
    by_address = {"SourceCidrIp": source} if isinstance(source, str) else {}
    by_group = {"SourceGroupId": source.id, "SourceGroupOwnerId": source.account} if isinstance(source, Party) else {}
    fields = {
        "IpProtocol": port.protocol,
        "PortRange": port.range,
        **by_address,
        **by_group,
        "NicType": "intranet",
        "Policy": "accept",
        "Priority": "100",
        "Description": description,
    }
    params = {f"Permissions.1.{name}": value for name, value in fields.items()}
    call(cloud, "AuthorizeSecurityGroup", group.account, SecurityGroupId=group.id, **params)


def askers(cloud: LocalCloud, links: int, instances: int, *, asking: bool = True) -> list[Asker]:
    """Instances in new groups, each of which asks for one of `links` links, or will: no rule stands yet."""
    new_askers = []
    vpc = cloud.ecs.create_vpc(HOME, "10.128.0.0/16")
    pairs = []
    for _ in range(links):
        source = cloud.ecs.create_group(HOME, vpc.id)
        target = cloud.ecs.create_group(HOME, vpc.id, tags={"link-accept": f"{source.id}:{PORT}"})
        pairs.append((source, target))
    for number in range(instances):
        source, target = pairs[number % links]
        wish = f"{target.id}:{PORT}"
        instance = cloud.ecs.create_instance(HOME, [source.id], tags={"link-peer": wish} if asking else {})
        new_askers.append(Asker(instance.id, wish, target.id))
    return new_askers


def requests(cloud: LocalCloud, count: int) -> list[str]:
    """Requests for links between `count` disjoint pairs of new groups, of home and of the other account."""
    vpc = next(vpc.id for vpc in cloud.ecs.vpcs.values() if vpc.shared_with)
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400))
    bodies = []
    for _ in range(count):
        source = cloud.ecs.create_group(HOME, vpc)
        target = cloud.ecs.create_group(PEER, vpc, tags={"link-accept": f"{source.id}@{HOME}:{PORT}"})
        request = {
            "version": 1,
            "request_id": f"chg-{source.id[-12:]}",
            "action": "link",
            "region": cloud.region,
            "from": {"account": HOME, "party": source.id},
            "to": {"account": PEER, "party": target.id},
            "ports": [str(PORT)],
            "expires_at": expires,
            "until": until,
        }
        bodies.append(json.dumps(request))
    return bodies


def received(cloud: LocalCloud, queue: str = "", most: int = 16) -> list[str]:
    """The messages on the queue, or the shared one, that are due, which are taken off it."""
    queue = queue or deployment_of(cloud).queue
    messages = cloud.mns.receive(HOME, queue, most, visibility=600)
    for message in messages:
        cloud.mns.delete(HOME, queue, message.receipt_handle)
    return [message.body for message in messages]


def tag(cloud: LocalCloud, instance: str, value: str | None) -> None:
    """Set the instance's link-peer tag, or remove it."""
    resource = {"ResourceType": "instance", "ResourceId.1": instance}
    if value is None:
        call(cloud, "UntagResources", **resource, **{"TagKey.1": "link-peer"})
    else:
        call(cloud, "TagResources", **resource, **{"Tag.1.Key": "link-peer", "Tag.1.Value": value})


def call(cloud: LocalCloud, action: str, account: str = HOME, **params: str) -> None:
    """Make a call as the owner of an account; it is not counted."""
    caller = Caller(account, f"acs:ram::{account}:root")
    cloud.ecs.call(caller, action, {"RegionId": cloud.region, **params})


def slow(cloud: LocalCloud, seconds: float, per_minute: int | None = None) -> None:
    """Add latency to every call, and a limit to the calls of each API of ECS; these replace what was set before."""
    cloud.faults.clear()
    if seconds:
        cloud.faults.add(Fault(kind="slow", times=None, seconds=seconds))
    if per_minute is not None:
        cloud.faults.add(Fault("ecs", kind="throttle", times=None, per_minute=per_minute))


def calls(cloud: LocalCloud) -> list[RecordedCall]:
    """The calls since this was last asked, oldest first."""
    recorded_calls = []
    while cloud.faults.calls:
        call = cloud.faults.calls.popleft()
        recorded_calls.append(RecordedCall(call.service, call.action, call.started, call.ended or math.inf))
    return recorded_calls


def cpu(_cloud: LocalCloud) -> float:
    """The CPU time that the cloud's process has used so far, in seconds."""
    return time.process_time()


def standing(cloud: LocalCloud, groups: Sequence[str]) -> int:
    """How many rules stand on groups of either account."""
    now = cloud.clock.now()
    owners = [cloud.ecs.account(HOME), cloud.ecs.account(PEER)]
    existing_groups = [owner.groups[group] for group in groups for owner in owners if group in owner.groups]
    return sum(len(group.rules.at(now)) for group in existing_groups)
