"""The values that every other module works with. Frozen, compared by value, free of I/O and clocks.

A *party* is a security group or an instance in an account; a *link* lets one party reach another; a *rule* is one ingress
rule on one group; a *claim* is why a link is wanted; the *marker* in a rule's Description makes the rule ours, and lists
its claims.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec


class Party(msgspec.Struct, frozen=True, order=True):
    """A security group `sg-…` or an instance `i-…` of an account (uid: 15-20 digits, always a string)."""

    account: str
    id: str

    @property
    def is_group(self) -> bool:
        """Whether the party is a security group; else it is an instance."""
        return self.id.startswith("sg-")

    def __str__(self) -> str:
        return f"{self.id}@{self.account}"


class Port(msgspec.Struct, frozen=True, order=True):
    """What one rule admits: `tcp` or `udp` with 1 ≤ low ≤ high ≤ 65535; `icmp` and `all` with -1/-1."""

    protocol: str
    low: int = -1
    high: int = -1

    @property
    def range(self) -> str:
        """As the API writes it: `3306/3306`, `-1/-1`."""
        return f"{self.low}/{self.high}"

    def __str__(self) -> str:
        if self.protocol in ("icmp", "all"):
            return self.protocol
        return f"{self.protocol}/{self.low}" if self.low == self.high else f"{self.protocol}/{self.low}-{self.high}"


ALL = Port("all")
"""Every protocol and port: a mutual link, and nothing else, is written with it."""

PRIORITY = 100
"""Of every rule of ours: the weakest, so that an operator's drop always wins, also on a tie."""

Ports = tuple[Port, ...]
"""The ports of a link. Empty means mutual: everything, both ways."""


def ports_text(ports: Iterable[Port]) -> str:
    """Ports as tags, records and link ids spell them: sorted as strings, joined by `+`; `mutual` when there are none."""
    return "+".join(sorted({str(port) for port in ports})) or "mutual"


class Link(msgspec.Struct, frozen=True, order=True):
    """`source` may reach `target` on `ports`; without ports both may reach each other. Both groups or both instances."""

    source: Party
    target: Party
    ports: Ports = ()

    @property
    def mutual(self) -> bool:
        """Whether both sides may reach each other on everything."""
        return not self.ports

    def id(self, region: str, *, ordered: bool = False) -> str:
        """The audit's `link`. For a mutual link the smaller `account/party` comes first, unless `ordered`."""
        ends = [f"{p.account}/{p.id}" for p in (self.source, self.target)]
        if self.mutual and not ordered:
            ends.sort()
        return short_hash("|".join([region, *ends, ports_text(self.ports)]))


class RuleKey(msgspec.Struct, frozen=True, order=True):
    """What makes two rules the same rule. Priority, policy and description are not part of it.

    `source` is `sg-…@<uid>` or `10.0.0.1/32`; `dest` is empty or a /32 (instance rules).
    """

    group: Party
    source: str
    dest: str
    port: Port

    def id(self, deployment: str, region: str) -> str:
        """The marker's `id`: 16 hex digits that only this rule of this deployment has."""
        group = f"{self.group.account}/{self.group.id}"
        return short_hash(
            f"link-peer/1|{deployment}|{region}|{group}|{self.source}|{self.dest}|{self.port.protocol}|{self.port.range}"
        )


class Claim(msgspec.Struct, frozen=True, order=True):
    """Why a link is wanted: an instance's tag (`request` empty), or a request; for ever, or until an instant (epoch
    seconds). A rule is kept as long as its marker carries one claim."""

    request: str = ""
    until: int | None = None

    @property
    def is_tag(self) -> bool:
        """Whether an instance's tag is the claim."""
        return not self.request


TAG = Claim()
"""The claim of an instance's tag, whichever instance it is."""


class Marker(msgspec.Struct, frozen=True):
    """The Description of a rule of ours. `ends` are the source's and the destination's instance, on instance rules only."""

    deployment: str
    id: str
    claims: tuple[Claim, ...]
    ends: tuple[Party, Party] | None = None


class Rule(msgspec.Struct, frozen=True):
    """One ingress rule as the cloud shows it. `key` is None where the rule has a form that we never write
    (IPv6, prefix list, source ports, a range wider than /32, several sources)."""

    group: Party
    id: str
    key: RuleKey | None
    policy: str  # accept | drop
    priority: int
    description: str = ""
    created: str = ""  # an instant, as the API writes it


class Group(msgspec.Struct, frozen=True):
    """A security group as DescribeSecurityGroups shows it."""

    party: Party
    vpc: str
    advanced: bool = False
    managed: bool = False
    tags: Mapping[str, str] = {}
    group_rules: int = 0  # rules that name a group: GroupToGroupRuleCount


class Instance(msgspec.Struct, frozen=True):
    """An instance as DescribeInstances shows it. `groups` are ids of its own account, in the API's order."""

    party: Party
    vpc: str
    groups: tuple[str, ...]
    ip: str = ""  # private address of the primary interface; empty while there is none
    tags: Mapping[str, str] = {}
    classic: bool = False


def short_hash(text: str) -> str:
    """First 16 hex digits of SHA-256. Half a character, which JSON escapes can spell, counts as its escape."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]
