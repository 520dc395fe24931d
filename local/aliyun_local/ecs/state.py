"""The resources of a region as values: VPCs, security groups with their rules, instances; and two sets of knobs."""

from __future__ import annotations

import heapq
import ipaddress
import secrets
import string
from collections import deque
from collections.abc import Iterable

from msgspec import Struct, field
from msgspec.structs import replace

from aliyun_local.ecs.history import History, Ordered

ALPHABET = string.ascii_lowercase + string.digits


def new_id(prefix: str) -> str:
    """A new id in the platform's format: `sg-bp1` and 17 lower-case alphanumerics."""
    return f"{prefix}-bp1" + "".join(ALPHABET[byte % len(ALPHABET)] for byte in secrets.token_bytes(17))


def block(address: str) -> str:
    """A bare address as a /32; anything else as it is."""
    return f"{address}/32" if address and "/" not in address else address


class Quotas(Struct):
    """Limits of the platform; settable, so that tests can reach them with few resources."""

    rules_per_group: int | None = None  # None: what the knob `rules_per_group` says
    group_source_rules: int = 20  # of rules or groups, by the knob `group_sources`
    groups_per_instance: int = 5  # [doc JoinSecurityGroup, 2026-06]; a page on limits says 10
    rules_per_instance: int = 1000  # both directions, all groups of one network interface [doc "security group limits"]
    groups: int = 100
    tags_per_resource: int = 20
    tag_filter_matches: int = 1000  # [doc DescribeInstances, Tag.N]
    references: int = 100  # entries of one answer [doc DescribeSecurityGroupReferences]


class ReadLag(Struct):
    """How many seconds Describe calls lag behind. Lagging rules were observed on the platform; by how much is
    unknown."""

    instances: float = 0.0
    tags: float = 0.0
    rules: float = 0.0


class Vpc:
    """A VPC with one vSwitch; its owner may share it with other accounts (a shared vSwitch)."""

    def __init__(
        self,
        owner: str,
        cidr: str,
        vpc_id: str,
        vswitch_id: str,
        shared_with: Iterable[str] = (),
        name: str = "",
        created: float = 0.0,
    ) -> None:
        self.owner = owner
        self.cidr = cidr
        self.id = vpc_id
        self.vswitch_id = vswitch_id
        self.shared_with = tuple(shared_with)
        self.name = name
        self.created = created
        network = ipaddress.IPv4Network(cidr)
        self.subnet = network if network.prefixlen >= 20 else next(network.subnets(new_prefix=20))
        self._used: set[str] = set()
        self._freed: list[int] = []
        self._next = int(self.subnet.network_address) + 1

    def usable_by(self, account: str) -> bool:
        """Whether the account owns the VPC or it is shared with the account."""
        return account == self.owner or account in self.shared_with

    def take(self, pool: Iterable[str] | None = None) -> str | None:
        """Claim the lowest free address, released ones included; None when none is left."""
        if pool is not None:
            free = next((address for address in pool if address not in self._used), None)
            return None if free is None or not self.claim(free) else free
        while self._freed:
            address = str(ipaddress.IPv4Address(heapq.heappop(self._freed)))
            if self.claim(address):
                return address
        last = int(self.subnet.broadcast_address) - 3  # the platform reserves the last three addresses
        while self._next <= last:
            address = str(ipaddress.IPv4Address(self._next))
            self._next += 1
            if self.claim(address):
                return address
        return None

    def claim(self, address: str) -> bool:
        """Mark an address as used; False when it is in use already or outside the vSwitch."""
        if address in self._used or ipaddress.IPv4Address(address) not in self.subnet:
            return False
        self._used.add(address)
        return True

    def release(self, address: str) -> None:
        """Make an address available again."""
        if address in self._used:
            self._used.discard(address)
            heapq.heappush(self._freed, int(ipaddress.IPv4Address(address)))


class Rule(Struct, frozen=True):
    """One rule. The *peer* is the authorised object: the source of an ingress rule, the destination of an egress
    rule. *own* is the other end, which only quintuple rules restrict."""

    direction: str  # ingress | egress
    protocol: str  # TCP UDP ICMP ICMPv6 GRE ALL, or an IANA number
    port_range: str
    policy: str  # Accept | Drop
    priority: int
    nic_type: str
    peer_group: str = ""
    peer_owner: str = ""
    peer_cidr: str = ""
    peer_ipv6: str = ""
    own_cidr: str = ""
    own_ipv6: str = ""
    source_port_range: str = ""
    description: str = ""
    id: str = ""
    sequence: int = 0
    created: float = 0.0

    @property
    def identity(self) -> Rule:
        """What makes two rules the same: the priority does [inferred, terraform-provider]; the description does not,
        nor whether an address has its mask [inferred]."""
        addresses = {"peer_cidr": block(self.peer_cidr), "own_cidr": block(self.own_cidr)}
        return replace(self, **addresses, description="", id="", sequence=0, created=0.0)


class Group(Struct):
    """A security group: `normal` (basic) or `enterprise` (advanced); `vpc_id` is empty in the classic network.

    With `inner_access` Accept, members may reach each other whatever the rules say; with Drop, the rules decide.
    """

    id: str
    account: str
    vpc_id: str
    name: str
    description: str
    type: str
    inner_access: str
    managed: bool
    created: float
    tags: History[dict[str, str]]
    rules: History[tuple[Rule, ...]]


class InstanceState(Struct, frozen=True):
    """What changes during an instance's life; `groups` are in the API's order."""

    status: str
    groups: tuple[str, ...]


class Instance(Struct):
    """An instance; `states` is None before its creation and after its release."""

    id: str
    account: str
    name: str
    vpc_id: str
    vswitch_id: str
    private_ip: str
    ip_visible_from: float
    created: float
    sequence: int
    image_id: str
    instance_type: str
    host_name: str
    description: str
    serial_number: str
    interface_id: str
    states: History[InstanceState | None]
    tags: History[dict[str, str]]
    secondary_ips: list[str] = field(default_factory=list)  # of its primary interface
    ipv6: list[str] = field(default_factory=list)  # of its primary interface
    must_start: bool = False
    """Whether its address may change only after a start: it was never started, or has had a new address since."""
    closed_ports: set[int] = field(default_factory=set)
    """The TCP ports on which nothing listens; on every other one, something does."""
    assistant: tuple[str, str] = ("", "")
    """The ErrorCode and the ErrorInfo of what keeps Cloud Assistant from running a command here; empty if nothing
    does."""

    @property
    def classic(self) -> bool:
        """Whether it is in the classic network, which has no VPC."""
        return not self.vpc_id


class Interface(Struct):
    """A network interface; `instance_id` is empty while it is not attached."""

    id: str
    account: str
    vpc_id: str
    vswitch_id: str
    private_ip: str
    groups: tuple[str, ...]
    created: float
    sequence: int
    tags: History[dict[str, str]]
    secondary_ips: list[str] = field(default_factory=list)
    ipv6: list[str] = field(default_factory=list)
    instance_id: str = ""
    name: str = ""
    description: str = ""

    @property
    def status(self) -> str:
        """InUse while attached, else Available."""
        return "InUse" if self.instance_id else "Available"


class Invocation(Struct, frozen=True):
    """One run of a command on one instance."""

    account: str
    id: str
    command_id: str
    instance_id: str
    sequence: int
    when: float
    status: str
    output: str
    exit_code: int | None
    error: tuple[str, str] = ("", "")


def _by_age() -> Ordered[Instance]:
    return Ordered(lambda instance: instance.sequence)


class AccountState(Struct):
    """What one account owns in the region."""

    uid: str
    groups: Ordered[Group] = field(default_factory=lambda: Ordered[Group](lambda group: group.id))
    instances: Ordered[Instance] = field(default_factory=_by_age)
    interfaces: Ordered[Interface] = field(  # secondary ones
        default_factory=lambda: Ordered[Interface](lambda interface: interface.sequence)
    )
    joined: dict[str, Ordered[Instance]] = field(default_factory=dict)
    """Group id -> the instances that are, were or will be in it; check their state at the time in question."""
    released: deque[tuple[float, str]] = field(default_factory=deque)

    def join(self, instance: Instance, groups: Iterable[str]) -> None:
        """Note that an instance is, or will be, in these groups."""
        for group in groups:
            self.joined.setdefault(group, _by_age())[instance.id] = instance

    def ever_in(self, group: str) -> Ordered[Instance]:
        """The instances that are, were or will be in a group."""
        return self.joined.get(group) or _by_age()

    def drop(self, instance_id: str) -> None:
        """Forget an instance."""
        for instances in (self.instances, *self.joined.values()):
            instances.pop(instance_id, None)
