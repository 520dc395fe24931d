"""Three accounts whose groups admit ranges, with a month of flow logs: the world in which `tighten` is measured.

All groups are in one VPC, each with two wide rules. Every instance connects to those of the next three groups on a
database's port, and the first of a group to another one on a port of its own: links between groups, and links between
instances. The logs have a line a day for each interface, and for each flow, where the platform writes one in ten
minutes: the answers have as many rows either way.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from aliyun_local.api import Caller, Capture, Flow, LocalCloud, PastClock, Ports, analysis, conversation, flow_logs
from link_peer_cli.demo.deployment import deployment_of
from link_peer_cli.demo.history import KEPT_DAYS
from link_peer_cli.demo.world import EXTERNAL_ID, shipped_roles
from msgspec import Struct

ACCOUNTS = ("1000000000000001", "1000000000000002", "1000000000000003")
HOME, *PEERS = ACCOUNTS
DAY, DAYS = 86_400, 30
WRITTEN = 5 * DAY  # at once: the log service takes no lines that are older than a week
USED = range(2, DAYS, 9)  # the days on which there are connections
TARGETS = (1, 2, 3)  # the groups to which each instance connects, counted from its own
SINGLE = 5  # the group to whose instance the first instance of a group connects
DATABASE, OWN = Ports(3306), Ports(8080)
WIDE = (
    {"IpProtocol": "TCP", "PortRange": "1/65535", "SourceCidrIp": "10.0.0.0/8"},
    {"IpProtocol": "TCP", "PortRange": "8000/8999", "SourceCidrIp": "10.0.0.0/16"},
)


class Estate(Struct, frozen=True):
    """How many groups there are, of all accounts, and interfaces."""

    groups: int
    interfaces: int

    def account(self, group: int) -> str:
        """The account of a group, by its number: each has a third in a row."""
        return ACCOUNTS[group * len(ACCOUNTS) // self.groups]

    def pairs(self) -> Iterator[tuple[int, int, Ports]]:
        """Which instance connects to which, by their numbers. Instance n is in group n modulo the number of groups."""
        for number in range(self.interfaces):
            yield from ((number, (number + step) % self.interfaces, DATABASE) for step in TARGETS)
            if number < self.groups:
                yield number, (number + SINGLE) % self.interfaces, OWN

    def world(self) -> dict[str, Any]:
        """The world as a file of the local cloud has it, without flow logs."""
        groups = [
            {"id": _group(n), "account": self.account(n), "name": f"team-{n}", "vpc": "shared", "rules": [*WIDE]}
            for n in range(self.groups)
        ]
        instances = [
            {"id": _instance(n), "account": self.account(n % self.groups), "groups": [_group(n % self.groups)]}
            for n in range(self.interfaces)
        ]
        return {
            "home": HOME,
            "deployment": "prod",
            "accounts": {uid: f"account-{number}@example.com" for number, uid in enumerate(ACCOUNTS)},
            "policy": _policy(),
            "vpcs": [{"name": "shared", "owner": HOME, "cidr": "10.0.0.0/16", "shared_with": PEERS}],
            "groups": groups,
            "instances": instances,
        }


def _group(number: int) -> str:
    return f"sg-bp1{number:017}"


def _instance(number: int) -> str:
    return f"i-bp1{number:017}"


def _policy(flow_log: str = "") -> dict[str, Any]:
    accounts: dict[str, dict[str, str]] = {}
    for uid in ACCOUNTS:
        entered = {"role": f"acs:ram::{uid}:role/link-peer", "external_id": EXTERNAL_ID} if uid != HOME else {}
        logged = {"flowlog": flow_log.format(uid)} if flow_log else {}
        accounts[uid] = {"name": f"account-{uid[-1]}", **entered, **logged}
    return {"deployment": "prod", "accounts": accounts}


# In the cloud's process.


def capture(cloud: LocalCloud, estate: Estate) -> int:
    """Fill the flow logs of the month until now, and name them in the policy file. Returns the number of lines. A
    statement may then take as long as it needs here: the local cloud's limits protect tests."""
    clock = cloud.clock
    assert isinstance(clock, PastClock)
    end = int(clock.now())
    policy = _policy("logs-{}/flows")
    shipped_roles(cloud, deployment_of(cloud), policy["accounts"], "link")
    Path(deployment_of(cloud).policy).write_text(yaml.safe_dump(policy, sort_keys=False), encoding="utf-8")
    rows_by_account = {uid: _interfaces(cloud, uid) for uid in ACCOUNTS}
    by_instance = {row["InstanceId"]: row for rows in rows_by_account.values() for row in rows}
    numbered = [by_instance[_instance(number)] for number in range(estate.interfaces)]
    count, since = 0, end - DAYS * DAY
    clock.begin(since)
    for start in range(since, end, WRITTEN):
        clock.advance(WRITTEN)
        noons = [since + day * DAY + DAY // 2 for day in USED if start <= since + day * DAY < start + WRITTEN]
        flows = [flow for noon in noons for flow in _flows(estate, numbered, noon)]
        for uid, rows in rows_by_account.items():
            place = policy["accounts"][uid]["flowlog"]
            lines = flow_logs.lines(rows, flows, (start, start + WRITTEN), capture=Capture(DAY))
            flow_logs.write(cloud.sls, uid, place, lines, KEPT_DAYS)
            count += len(lines)
    clock.over = True
    for limit in ("_STEPS", "_SECONDS", "_MEMORY", "_RESULT"):
        setattr(analysis, limit, 1000 * getattr(analysis, limit))
    return count


def _interfaces(cloud: LocalCloud, account: str) -> list[dict[str, Any]]:
    caller, rows, token = Caller(account, f"acs:ram::{account}:root"), [], ""
    while True:
        params = {"RegionId": cloud.region, "MaxResults": "500", **({"NextToken": token} if token else {})}
        answer = cloud.ecs.call(caller, "DescribeNetworkInterfaces", params)
        rows += answer["NetworkInterfaceSets"]["NetworkInterfaceSet"]
        token = answer.get("NextToken", "")
        if not token:
            return rows


def _flows(estate: Estate, numbered: list[dict[str, Any]], noon: int) -> Iterator[Flow]:
    for source, target, ports in estate.pairs():
        yield from conversation(noon, numbered[source], numbered[target], ports)
