"""What happened in a world before now: the acts of a world file's `history`, on their days of the calendar month before
this one.

The functions answer each at its time, and sweep once a day until now; the flow logs have the packets of `traffic`.
While this is played, the functions run in this process, whose clock must be the cloud's, a PastClock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from aliyun_local.api import (
    ApiError,
    Caller,
    LocalCloud,
    PastClock,
    Ports,
    User,
    conversation,
    flow_logs,
    utc,
)

from link_peer_cli.demo.deployment import deployment_of
from link_peer_cli.demo.functions import deploy

DAY = 86_400
TIMER = "every-10m"
KEPT_DAYS = 90  # the flow logs, longer than a history
LATE = 300.0
"""Messages that are delayed for as many seconds are left: an account's sweep always posts another one."""


def begin(now: float) -> float:
    """When the month before this one began (UTC), in epoch seconds."""
    first = datetime.fromtimestamp(now, timezone.utc).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first - timedelta(days=1)).replace(day=1).timestamp()


def play(cloud: LocalCloud, clock: PastClock, now: float) -> None:
    """Play the world's history, from what its clock says until `now`; then the clock is the machine's. ValueError for
    an act that cannot be played."""
    start = clock.now()
    acts = [(start + _seconds(act["at"]), act) for act in deployment_of(cloud).history]
    for begins in range(int(start), int(now), DAY):
        ends = min(begins + DAY, int(now))
        triggers = deploy(cloud, in_process=True)  # no instance lives for a day, nor do its keys
        for when, act in acts:
            if begins <= when < ends:
                clock.advance(when - clock.now())
                try:
                    _act(cloud, act)
                except (ApiError, KeyError, TypeError, ValueError) as problem:
                    raise ValueError(f"at {act['at']}: {problem!r}") from problem
                triggers.drain(within=LATE)
        clock.advance(ends - 60 - clock.now())
        triggers.fire_timer(TIMER)
        triggers.drain(within=LATE)
        capture(cloud, (begins, ends))
    clock.over = True


def capture(cloud: LocalCloud, span: tuple[int, int]) -> None:
    """Write the flow logs of the world's accounts from one instant to another (epoch seconds); `traffic` flows every
    day at noon, or on its days of the month."""
    interfaces: dict[str, list[dict[str, Any]]] = {}
    for uid in deployment_of(cloud).flow_logs:
        params = {"RegionId": cloud.region, "MaxResults": "500"}
        answer = cloud.ecs.call(Caller(uid, f"acs:ram::{uid}:root"), "DescribeNetworkInterfaces", params)
        interfaces[uid] = answer["NetworkInterfaceSets"]["NetworkInterfaceSet"]
    by_instance = {row["InstanceId"]: row for rows in interfaces.values() for row in rows}
    flows = []
    for packet in deployment_of(cloud).traffic:
        source, target = (by_instance.get(packet[end], packet[end]) for end in ("from", "to"))
        for noon in range(span[0] + DAY // 2, span[1], DAY):
            if datetime.fromtimestamp(noon, timezone.utc).day in packet.get("days", range(32)):
                flows += conversation(noon, source, target, Ports(packet["port"]))
    for uid, log in deployment_of(cloud).flow_logs.items():
        flow_logs.write(cloud.sls, uid, log, flow_logs.lines(interfaces[uid], flows, span), KEPT_DAYS)


def _seconds(at: str) -> float:
    """From the month's first instant to `02 08:30`."""
    day, hours, minutes = map(int, at.replace(":", " ").split())
    return (day - 1) * DAY + hours * 3600 + minutes * 60


def _act(cloud: LocalCloud, act: Mapping[str, Any]) -> None:
    if "request" in act:
        body = json.dumps(_request(cloud, act["request"], act.get("days", 0)))
        cloud.mns.send(deployment_of(cloud).home, deployment_of(cloud).queue, body)
        return
    account, name = act["by"].split("/")
    user = User(account, name, {("System", "AdministratorAccess"): cloud.clock.now()})
    if user.arn not in cloud.identity.users:
        cloud.identity.add_key(user)
    for call in [act["call"]] if "call" in act else _tag_calls(act["tag"]):
        params = {"RegionId": cloud.region, **call}
        cloud.ecs.call(Caller(account, user.arn, user=name), params.pop("Action"), params)


def _tag_calls(tags: Mapping[str, Mapping[str, str | None]]) -> Iterator[dict[str, str]]:
    for resource, values in tags.items():
        on = {"ResourceType": "instance" if resource.startswith("i-") else "securitygroup", "ResourceId.1": resource}
        for key, value in values.items():
            if value is None:
                yield {"Action": "UntagResources", **on, "TagKey.1": key}
            else:
                yield {"Action": "TagResources", **on, "Tag.1.Key": key, "Tag.1.Value": value}


def _request(cloud: LocalCloud, params: Mapping[str, Any], days: int) -> dict[str, Any]:
    """A request as it is posted now. Its link ends after so many days, or never."""
    now = cloud.clock.now()
    whole = {"version": 1, "action": "link", "region": cloud.region, "expires_at": utc(now + 3600), **params}
    for side in ("from", "to"):
        whole[side] = dict(zip(("party", "account"), params[side].split("@"), strict=True))
    return whole | ({"until": utc(now + days * DAY)} if days else {})
