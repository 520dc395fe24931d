"""The values that every other module works with. They are frozen and compared by value.

A *party* is a security group or an instance in an account; a *link* lets one party reach another; a *rule* is one
ingress or egress rule on one group; a *claim* is a reason for which a link is wanted; the *marker* in a rule's
Description identifies the rule as ours and lists its claims.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterable, Mapping

import msgspec


class Party(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """A security group `sg-…` or an instance `i-…` of an account (uid: 15-20 digits, always a string)."""

    account: str
    id: str

    @property
    def is_group(self) -> bool:
        """Whether the party is a security group rather than an instance."""
        return self.id.startswith("sg-")

    def __str__(self) -> str:
        return f"{self.id}@{self.account}"


class Port(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """The protocol and ports of one rule: `tcp` or `udp` with 1 ≤ low ≤ high ≤ 65535; `icmp` and `all` with -1/-1."""

    protocol: str
    low: int = -1
    high: int = -1

    @property
    def range(self) -> str:
        """The port range as the API writes it: `3306/3306`, `-1/-1`."""
        return f"{self.low}/{self.high}"

    def overlaps(self, port: Port) -> bool:
        """Whether some packets are of both."""
        return self.protocol == port.protocol and self.low <= port.high and port.low <= self.high

    def __str__(self) -> str:
        if self.low == -1:
            return self.protocol
        return f"{self.protocol}/{self.low}" if self.low == self.high else f"{self.protocol}/{self.low}-{self.high}"


ALL = Port("all")
"""Every protocol and port. Only the rules of a mutual link have it."""

PRIORITY = 100
"""The priority of every rule of ours: the lowest, so that an operator's drop rule always wins, even on a tie [doc
AuthorizeSecurityGroup: 1 to 100]."""

Ports = tuple[Port, ...]
"""The ports of a link. An empty tuple means a mutual link: everything, in both directions."""


def ports_text(ports: Iterable[Port]) -> str:
    """Ports as tags, records and link ids write them: sorted as strings, joined by `+`; `mutual` if there are none."""
    return "+".join(sorted({str(port) for port in ports})) or "mutual"


class Link(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """`source` may reach `target` on `ports`; without ports, each may reach the other on everything.

    Both parties are groups, or both are instances. A link between groups that is written by address has a part for each
    instance of the source group, which the target's group admits, and where the source's group lets nothing out by
    default (`is_egress`) one for each instance of the target group, which the source's group lets it reach: `member` is
    the id of that instance, in the account of its group. Of an egress rule for a link between instances, the source is
    the group that has the rule, and the target is that instance.
    """

    source: Party
    target: Party
    ports: Ports = ()
    member: str = ""
    is_egress: bool = False

    @property
    def mutual(self) -> bool:
        """Whether each party may reach the other on everything."""
        return not self.ports

    @property
    def whole(self) -> Link:
        """The link of the two parties, of which this may be the part for one instance."""
        return Link(self.source, self.target, self.ports) if self.member or self.is_egress else self

    @property
    def side(self) -> Link:
        """The link's parts at the end at which this one is, whichever their instances."""
        return Link(self.source, self.target, self.ports, is_egress=self.is_egress)

    @property
    def followed(self) -> Party:
        """The party for each of whose instances the link has a part at this end."""
        return self.target if self.is_egress else self.source

    @property
    def holder(self) -> Party:
        """Of a link between groups, the one that has the rules of this end."""
        return self.source if self.is_egress else self.target

    @property
    def represented(self) -> Party:
        """The instance for which this part is; the source where this is no part."""
        return Party(self.followed.account, self.member) if self.member else self.source

    @property
    def asker(self) -> Party:
        """Who is admitted: the source, or its one instance for which this is."""
        return self.source if self.is_egress else self.represented

    @property
    def reached(self) -> Party:
        """Who is reached: the target, or its one instance for which this is."""
        return self.represented if self.is_egress else self.target

    @property
    def pair(self) -> tuple[Party, Party]:
        """Source and target; of a mutual link, which is the same both ways, in order."""
        ends = (self.source, self.target)
        return (min(ends), max(ends)) if self.mutual else ends

    @property
    def askers(self) -> tuple[Party, ...]:
        """The parties whose tags may ask for it."""
        return (self.source, self.target) if self.mutual else (self.asker,)

    @property
    def parties(self) -> tuple[Party, ...]:
        """All that must be known to decide: source and target, and the one instance."""
        return tuple(dict.fromkeys((self.source, self.target, self.represented)))

    def id(self, region: str, *, ordered: bool = False) -> str:
        """The id that audit records call `link`: 16 hex digits.

        A mutual link has the same id in both directions, unless `ordered`.
        """
        ends = [f"{p.account}/{p.id}" for p in (self.source, self.target)]
        if self.mutual and not ordered:
            ends.sort()
        return short_hash("|".join([region, *ends, ports_text(self.ports)]))


class RuleKey(msgspec.Struct, frozen=True, order=True, cache_hash=True):
    """The identity of a rule. Priority, policy and description are not part of it.

    `source` is `sg-…@<uid>` or `10.0.0.1/32`; `dest` is empty or a /32 (links between instances). An egress rule has no
    source, and a /32 as `dest`.
    """

    group: Party
    source: str
    dest: str
    port: Port

    @property
    def by_address(self) -> bool:
        """Whether the rule names an address rather than a group."""
        return not self.source.startswith("sg-")

    @property
    def is_egress(self) -> bool:
        """Whether the rule lets its group's instances send, rather than receive."""
        return not self.source

    @property
    def direction(self) -> str:
        """`ingress` or `egress`."""
        return "egress" if self.is_egress else "ingress"

    @property
    def traffic_text(self) -> str:
        """What the rule admits, as people read it: `tcp/3306 from sg-app@<uid>`, `tcp/3306 out to 10.0.0.1/32`."""
        if self.is_egress:
            return f"{self.port} out to {self.dest}"
        return f"{self.port} from {self.source}" + (f" to {self.dest}" if self.dest else "")

    @functools.lru_cache(maxsize=32_768)  # noqa: B019  # a rule holds nothing; each plan asks about each one
    def id(self, home: str, deployment: str, region: str) -> str:
        """The marker's `id`: 16 hex digits that only this rule of this deployment, run from this home account, has."""
        group = f"{self.group.account}/{self.group.id}"
        return short_hash(
            f"link-peer/2|{home}|{deployment}|{region}|{group}|{self.source}|{self.dest}"
            f"|{self.port.protocol}|{self.port.range}"
        )


class Claim(msgspec.Struct, frozen=True, cache_hash=True):
    """A reason for which a link is wanted. A rule is kept while its marker has any claim."""

    request: str = ""  # the id of a request; empty: an instance's tag
    until: int | None = None  # when the claim ends, in epoch seconds; None: never

    @property
    def is_tag(self) -> bool:
        """Whether the claim is an instance's tag rather than a request."""
        return not self.request

    def __lt__(self, claim: Claim) -> bool:
        """By request; of two ends of one, which someone may have written, the one without an end last."""
        mine, theirs = ((side.request, math.inf if side.until is None else side.until) for side in (self, claim))
        return mine < theirs


TAG = Claim()
"""The claim of an instance's tag. It does not name the instance."""


class Marker(msgspec.Struct, frozen=True):
    """The Description of a rule of ours."""

    home: str  # the account of the functions that wrote it
    deployment: str
    id: str
    claims: tuple[Claim, ...]
    # of a rule that names an address: the instances of source and destination, or the source's and the group that it
    # stands for; of an egress rule, the destination's, and the group that it stands for, or the instance again where
    # the link names it
    ends: tuple[Party, Party] | None = None
    is_egress: bool = False

    @property
    def is_followed(self) -> bool:
        """Whether a request claims it, so that the members of the group it stands for follow."""
        return any(not claim.is_tag for claim in self.claims)


class Traffic(msgspec.Struct, frozen=True):
    """The packets that a rule applies to."""

    direction: str  # ingress | egress
    peer: str  # the other end: `sg-…@<uid>`, or a CIDR; empty for a prefix list, whose entries are not read
    own_range: str = msgspec.field(name="own")  # the part of the rule's own group that is meant, as a CIDR; empty: all
    port: Port | None  # None for a port list, and for what cannot be read
    source_ports: tuple[int, int] | None = None  # low, high; None: any
    prefix_list: str = ""  # its id


class Rule(msgspec.Struct, frozen=True):
    """One rule as DescribeSecurityGroupAttribute returns it."""

    group: Party
    id: str
    # None where we never write its kind: IPv6, a prefix list, source ports, a range wider than /32, egress but to one
    # address from any
    key: RuleKey | None
    policy: str  # accept | drop
    priority: int
    description: str = ""
    created: str = ""  # CreateTime, as the API writes it
    # what a rule without a key applies to
    unmanaged_traffic: Traffic | None = msgspec.field(default=None, name="other")
    ipv6: Traffic | None = None  # the same, of an IPv6 rule

    @property
    def is_egress(self) -> bool:
        """Whether it is a rule for what its group's instances send."""
        traffic = self.traffic or self.ipv6
        return traffic is not None and traffic.direction == "egress"

    @property
    def traffic(self) -> Traffic | None:
        """The IPv4 packets that the rule applies to; None if there are none."""
        key = self.key
        if key is None:
            return self.unmanaged_traffic
        return (
            Traffic("egress", key.dest, "", key.port)
            if key.is_egress
            else Traffic("ingress", key.source, key.dest, key.port)
        )


class Group(msgspec.Struct, frozen=True):
    """A security group as DescribeSecurityGroups returns it."""

    party: Party
    vpc: str
    advanced: bool = False
    managed: bool = False
    tags: Mapping[str, str] = {}
    group_rules: int = 0  # rules that name a group: GroupToGroupRuleCount
    rule_count: int = 0  # all rules, of both directions: RuleCount; -1 where the answer has none
    name: str = ""

    @property
    def may_have_rules(self) -> bool:
        """Whether it may have rules. Nothing documents that RuleCount counts egress rules, which an advanced group may
        have alone."""
        return self.rule_count != 0 or self.advanced


class Instance(msgspec.Struct, frozen=True):
    """An instance as DescribeInstances returns it. `groups` are ids in the instance's account, in the API's order."""

    party: Party
    vpc: str
    groups: tuple[str, ...]
    ip: str = ""  # private address of the primary interface; empty if it has none yet
    tags: Mapping[str, str] = {}
    classic: bool = False
    name: str = ""

    @property
    def own_groups(self) -> tuple[Party, ...]:
        """The groups that it is in."""
        return tuple(Party(self.party.account, group) for group in self.groups)


def short_hash(text: str) -> str:
    """The first 16 hex digits of SHA-256. A lone surrogate, which JSON can escape, is hashed as its escape sequence."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]
