"""A company of five accounts, in whose world the commands of `link-peer` are measured.

All groups are in one VPC, which the accounts share. In each account every group is reached by the two before it: from
one on a database's port, from the other on two ports. Some groups are linked with other accounts, or mutually; some
links are asked for by request. People have rules of their own, some of which drop what a link opens; some consents are
missing, and some links end soon.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from aliyun_local.api import LocalCloud, LogGroup, LogRecord, Triggers
from link_peer.domain import marker
from link_peer.domain.model import Claim, Marker, Party, Port, RuleKey
from link_peer.domain.tags import compact
from link_peer_cli.answers.operation import CloudDescribed
from link_peer_cli.demo.deployment import deployment_of
from link_peer_cli.demo.functions import deploy
from link_peer_cli.demo.local_cloud import describe

from benchmarks import worlds

ACCOUNTS = {
    "1000000000000001": "platform@example.com",
    "1000000000000002": "payments@example.com",
    "1000000000000003": "data@example.com",
    "1000000000000004": "shops@example.com",
    "1000000000000005": "lab@example.com",
}
HOME, *PEERS = ACCOUNTS
DEPLOYMENT = "prod"
TIERS = ("web", "app", "db", "cache", "queue", "batch")
DATABASE, CACHES, ACROSS, ASKED = "tcp/3306", "tcp/443+tcp/6379", "tcp/8080", Port("tcp", 5432, 5432)
DAY = 86_400
CONSENT_KEYS = ("link-accept", *(f"link-accept.{n}" for n in range(2, 10)))
DROP = {"IpProtocol": "TCP", "PortRange": "6379/6379", "SourceCidrIp": "10.0.0.0/8", "Policy": "drop", "Priority": "1"}
SSH = {"IpProtocol": "TCP", "PortRange": "22/22", "SourceCidrIp": "10.0.0.0/8"}


class Company:
    """Which groups there are, and who asks for what. `size` is the number of groups of each account."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.groups = [Party(uid, f"sg-bp1{a}{n:016}") for a, uid in enumerate(ACCOUNTS) for n in range(size)]

    def group(self, account: int, number: int) -> Party:
        """A group of an account, counted in a circle."""
        return self.groups[account % len(ACCOUNTS) * self.size + number % self.size]

    def instances(self, group: Party) -> list[str]:
        """The instances of a group: three, and of every third group four."""
        number = self.groups.index(group)
        return [f"i-bp1{number:015}{digit}" for digit in range(4 if number % 3 == 0 else 3)]

    def wishes(self, group: Party) -> Iterator[tuple[Party, str]]:
        """What the tag of the group's first instance asks for: parties, with ports or, mutual, without."""
        account, number = divmod(self.groups.index(group), self.size)
        yield self.group(account, number + 1), DATABASE
        yield self.group(account, number + 2), CACHES
        if number % 10 == 0:
            yield self.group(account + 1, number), ACROSS
        if number % 15 == 5:
            yield self.group(account, number + 3), ""

    def requested_pairs(self) -> list[tuple[Party, Party]]:
        """The pairs that are linked by request, on the port ASKED."""
        starts = [(a, n) for a in range(len(ACCOUNTS)) for n in range(0, self.size, 8)]
        return [(self.group(a, n), self.group(a, n + 4)) for a, n in starts]

    def world(self) -> dict[str, Any]:
        """The world as a file of the local cloud has it."""
        vpc = {"name": "shared", "owner": HOME, "cidr": "10.0.0.0/16", "shared_with": PEERS}
        return {
            "home": HOME,
            "deployment": DEPLOYMENT,
            "accounts": ACCOUNTS,
            "policy": self.policy(),
            "vpcs": [vpc],
            "groups": list(self._groups()),
            "instances": list(self._instances()),
        }

    def policy(self) -> dict[str, Any]:
        """The policy file, with ten tests."""
        roles = {uid: {"role": f"acs:ram::{uid}:role/link-peer", "external_id": f"bench-{uid}"} for uid in PEERS}
        accounts = {uid: {"name": name, **roles.get(uid, {})} for uid, name in ACCOUNTS.items()}
        tests = [
            {"from": str(self.group(0, n)), "deny": [f"{self.group(0, n + 1)}:tcp/23"]}
            | ({} if n == 7 else {"accept": [f"{self.group(0, n + 1)}:{DATABASE}"]})
            for n in range(min(10, self.size))
        ]
        return {"deployment": DEPLOYMENT, "accounts": accounts, "tests": tests}

    def _groups(self) -> Iterator[dict[str, Any]]:
        consents: dict[Party, list[str]] = {group: [] for group in self.groups}
        soon = compact(int(time.time()) + 3 * DAY)
        for source in self.groups:
            for number, (target, ports) in enumerate(self.wishes(source)):
                if self.groups.index(source) % 60 == 7 and not number:
                    continue  # this one is denied
                end = f"~{soon}" if self.groups.index(source) % 21 == 3 else ""
                consents[target].append(f"{source}{':' if ports else ''}{ports}{end}")
                if not ports:
                    consents[source].append(str(target))
        for source, target in self.requested_pairs():
            consents[target].append(f"{source}:{ASKED}")
        for number, group in enumerate(self.groups):
            accepts = dict(zip(CONSENT_KEYS, consents[group], strict=False))
            name = f"team-{number // len(TIERS)}-{TIERS[number % len(TIERS)]}"
            rules = [SSH, DROP] if number % 25 == 9 else [SSH]
            yield {**_party_fields(group), "name": name, "vpc": "shared", "tags": accepts, "rules": rules}

    def _instances(self) -> Iterator[dict[str, Any]]:
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3 * DAY))
        for number, group in enumerate(self.groups):
            for place, instance in enumerate(self.instances(group)):
                tags = {} if place else {f"link-peer.{n}": _wish(*wish) for n, wish in enumerate(self.wishes(group))}
                if number % 20 == 4 and not place:
                    tags["link-until"] = until
                name = f"team-{number // len(TIERS)}-{TIERS[number % len(TIERS)]}-{place}"
                yield {"id": instance, "account": group.account, "groups": [group.id], "tags": tags, "name": name}


def _party_fields(party: Party) -> dict[str, str]:
    return {"id": party.id, "account": party.account}


def _wish(target: Party, ports: str) -> str:
    return f"{target}:{ports}" if ports else str(target)


# In the cloud's process.

_deployed: list[Triggers] = []


def settings(cloud: LocalCloud) -> CloudDescribed:
    """Deploy the functions, which nothing triggers, and return what `link-peer local --json` prints."""
    _deployed.append(deploy(cloud, connected=False))
    return describe(cloud)


def open_requested(cloud: LocalCloud, pairs: Sequence[tuple[Party, Party]]) -> None:
    """Open links as requests did."""
    until = int(cloud.clock.now()) + 30 * DAY
    for number, (source, target) in enumerate(pairs):
        key = RuleKey(target, str(source), "", ASKED)
        mark = Marker(HOME, DEPLOYMENT, key.id(HOME, DEPLOYMENT, cloud.region), (Claim(request_id(number), until),))
        worlds.authorize(cloud, target, source, ASKED, marker.render(mark))


def record(cloud: LocalCloud, pairs: Sequence[tuple[Party, Party]], total: int) -> int:
    """Fill the audit log up to `total` records: the outcome of each request, then copies of what is there. Returns how
    many there are."""
    project, store = deployment_of(cloud).audit_project, deployment_of(cloud).audit_logstore
    log_records = [
        dict(log.contents)
        for name in (store, f"{store}-operators")  # the sweep was a person's
        for shard in cloud.sls.logstore(HOME, project, name).shards
        for write in shard
        for log in write.group.records
    ]
    applied = next(fields for fields in log_records if fields.get("outcome") == "applied")
    new = []
    for number, (source, target) in enumerate(pairs):
        ends = {"from": source.id, "from_account": source.account, "to": target.id, "to_account": target.account}
        claims_of_sender = {
            "request_id": request_id(number),
            "claimed_by": f"team-{number}",
            "claimed_reason": "a report",
        }
        new.append(
            {**applied, **ends, **claims_of_sender, "function": "cross_account", "ports": str(ASKED), "rules": "[]"}
        )
    missing = max(0, total - len(log_records) - len(new))
    new += [{**log_records[number % len(log_records)], "event_id": f"older-{number}"} for number in range(missing)]
    now = int(cloud.clock.now())
    logs = [LogRecord(now - 3 * number, 0, _at(fields, now - 3 * number)) for number, fields in enumerate(new)]
    for first in range(0, len(logs), 100):
        cloud.sls.put(HOME, project, store, LogGroup(tuple(logs[first : first + 100])))
    return len(log_records) + len(new)


def request_id(number: int) -> str:
    """The id of the request for the pair with a number."""
    return f"chg-{1000 + number}"


def _at(fields: dict[str, str], moment: int) -> dict[str, str]:
    return {**fields, "time": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))}
