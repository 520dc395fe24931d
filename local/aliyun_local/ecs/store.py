"""What exists in one region: accounts with their groups and instances, VPCs, and events that are due."""

from __future__ import annotations

import heapq
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from aliyun_local.core.clock import Clock
from aliyun_local.core.knobs import Knobs
from aliyun_local.ecs import events
from aliyun_local.ecs.history import HORIZON, History
from aliyun_local.ecs.state import (
    AccountState,
    Group,
    Instance,
    InstanceState,
    Invocation,
    Quotas,
    ReadLag,
    Rule,
    Vpc,
    new_id,
)

Event = dict[str, Any]


class Store:
    """State in memory, guarded by `lock`. Events are published after the lock is released.

    Beside the `knobs`, tests set `quotas`, `read_lag`, `tag_delay` and `ip_delay` (tags and address of a new instance
    appear that many seconds later), `boot_delay` (seconds from Pending to Running, with the events spread over them),
    `ip_pool` (the only addresses handed out) and `peerings` (pairs of VPC ids with a route between them).
    """

    def __init__(self, clock: Clock, region: str = "cn-qingdao", knobs: Knobs | None = None) -> None:
        self.clock = clock
        self.knobs = knobs or Knobs()
        self.region = region
        self.zone = f"{region}-b"
        self.accounts: dict[str, AccountState] = {}
        self.vpcs: dict[str, Vpc] = {}
        self.account_names: dict[str, str] = {}  # login name -> uid, for SourceGroupOwnerAccount
        self.endpoint_of: Callable[[str], str] = "ecs.{}.aliyuncs.com".format  # where a region is asked
        self.peerings: set[frozenset[str]] = set()
        self.invocations: list[Invocation] = []
        self.quotas = Quotas()
        self.read_lag = ReadLag()
        self.tag_delay = self.ip_delay = self.boot_delay = 0.0
        self.ip_pool: Sequence[str] | None = None
        self.on_event: Callable[[str, Event], None] | None = None
        self.lock = threading.RLock()
        self._sequence = 0
        self._referring_groups: dict[
            str, set[tuple[str, str]]
        ] = {}  # group id -> groups whose rules have ever named it
        self._due: list[tuple[float, int, str, Event]] = []

    # -- events -------------------------------------------------------------------------------------------------

    def announce(self, account: str, instance_id: str, state: str, when: float) -> None:
        """Plan a state change event."""
        nested = self.knobs.state_content == "data.content"
        self.plan(account, events.state_change(account, self.region, instance_id, state, when, nested=nested), when)

    def plan(self, account: str, event: Event, when: float) -> None:
        """Plan an event for the account's bus."""
        with self.lock:
            heapq.heappush(self._due, (when, self.next_sequence(), account, event))

    def publish_due(self) -> None:
        """Publish the events that are due. Every API call does this; call it after advancing a virtual clock."""
        while True:
            with self.lock:
                if not self._due or self._due[0][0] > self.clock.now():
                    return
                _, _, account, event = heapq.heappop(self._due)
                listener = self.on_event
            if listener:
                listener(account, event)

    # -- state, under the lock ------------------------------------------------------------------------------------

    def next_sequence(self) -> int:
        """A number larger than all before, which orders resources by age."""
        self._sequence += 1
        return self._sequence

    def account(self, uid: str) -> AccountState:
        """The account's state, created on first use."""
        with self.lock:
            if uid not in self.accounts:
                self.accounts[uid] = AccountState(uid)
            return self.accounts[uid]

    def default_vpc(self, uid: str) -> Vpc | None:
        """The first VPC that the account owns."""
        return next((vpc for vpc in self.vpcs.values() if vpc.owner == uid), None)

    def referencing(self, group_id: str, when: float) -> list[Group]:
        """The groups, of any account, whose rules name this one."""
        groups = (
            self.accounts[uid].groups.get(referrer)
            for uid, referrer in sorted(self._referring_groups.get(group_id, ()))
        )
        return [
            group for group in groups if group and any(rule.peer_group == group_id for rule in group.rules.at(when))
        ]

    def names(self, group: Group, rule: Rule) -> None:
        """Note that a rule of a group names another group. Every rule that is added or changed must be noted."""
        if rule.peer_group:
            self._referring_groups.setdefault(rule.peer_group, set()).add((group.account, group.id))

    def add_instance(
        self,
        account: AccountState,
        groups: Sequence[Group],
        vpc: Vpc | None,
        *,
        tags: Mapping[str, str],
        private_ip: str,
        tag_delay: float = 0.0,
        ip_delay: float = 0.0,
        name: str = "",
        host_name: str = "",
        description: str = "",
        image_id: str = "aliyun_3_x64_20G_alibase.vhd",
        instance_type: str = "ecs.g7.large",
        instance_id: str | None = None,
        status: str = "Pending",
    ) -> Instance:
        """Add an instance; its tags and its address can be read after so many seconds."""
        new, now = instance_id or new_id("i"), self.clock.now()
        instance = Instance(
            id=new,
            account=account.uid,
            name=name or new,
            vpc_id=vpc.id if vpc else "",
            vswitch_id=vpc.vswitch_id if vpc else "",
            private_ip=private_ip,
            ip_visible_from=now + ip_delay,
            created=now,
            sequence=self.next_sequence(),
            image_id=image_id,
            instance_type=instance_type,
            host_name=host_name or new.replace("i-", "iZ"),
            description=description,
            serial_number=str(uuid.uuid4()),
            interface_id=new_id("eni"),
            states=History[InstanceState | None](None),
            tags=History[dict[str, str]]({}),
        )
        state = InstanceState(status, tuple(group.id for group in groups))
        account.join(instance, state.groups)
        instance.states.change(now, lambda _: state)
        instance.tags.change(now + tag_delay, lambda old: {**old, **tags})
        account.instances[instance.id] = instance
        return instance

    def boot(self, account: AccountState, instance_id: str, now: float) -> None:
        """Plan the boot of an instance: Starting after half of `boot_delay`, Running after all of it."""
        instance = account.instances[instance_id]
        instance.must_start = False
        for status, delay in (("Starting", self.boot_delay / 2), ("Running", self.boot_delay)):
            instance.states.change(now + delay, lambda old, status=status: old and replace(old, status=status))  # type: ignore[misc]
            self.announce(account.uid, instance_id, status, now + delay)

    def release(self, account: AccountState, instance_id: str, now: float) -> None:
        """Release an instance and its addresses, and detach its secondary interfaces.

        Instances that no lagging read can see any more are dropped.
        """
        instance = account.instances[instance_id]
        instance.states.change(now, lambda _: None)
        if instance.vpc_id:
            for address in (instance.private_ip, *instance.secondary_ips):
                self.vpcs[instance.vpc_id].release(address)
        for interface in account.interfaces.values():
            if interface.instance_id == instance_id:
                interface.instance_id = ""
        account.released.append((now, instance_id))
        while account.released[0][0] < now - HORIZON:
            old = account.instances.get(account.released.popleft()[1])
            if old and old.states.at(now) is None:
                account.drop(old.id)

    # -- filling a region -------------------------------------------------------------------------------------------

    def create_vpc(self, owner: str, cidr: str, shared_with: Iterable[str] = (), name: str = "") -> Vpc:
        """Create a VPC with one vSwitch; an account's first is its default. `shared_with` are uids that may use it."""
        with self.lock:
            now = self.clock.now()
            vpc = Vpc(owner, cidr, new_id("vpc"), new_id("vsw"), shared_with, name=name, created=now)
            self.vpcs[vpc.id] = vpc
            self.account(owner)
            return vpc

    def create_group(
        self,
        account: str,
        vpc_id: str,
        name: str = "",
        type: str = "normal",  # noqa: A002
        managed: bool = False,
        tags: Mapping[str, str] | None = None,
        group_id: str | None = None,
        inner_access: str = "",
        description: str = "",
    ) -> Group:
        """Create a group, without an event. An empty `vpc_id` means the classic network, which no API call offers.

        `inner_access` of a basic group is Accept (the default) or Drop; advanced ones always isolate their members.
        """
        with self.lock:
            group = Group(
                id=group_id or new_id("sg"),
                account=account,
                vpc_id=vpc_id,
                name=name,
                description=description,
                type=type,
                inner_access=(inner_access or "Accept") if type == "normal" else "Drop",
                managed=managed,
                created=self.clock.now(),
                tags=History(dict(tags or {})),
                rules=History[tuple[Rule, ...]](()),
            )
            self.account(account).groups[group.id] = group
            return group

    def create_instance(
        self,
        account: str,
        groups: Iterable[str | Group],
        tags: Mapping[str, str] | None = None,
        classic: bool = False,
        private_ip: str | None = None,
        instance_id: str | None = None,
        status: str = "Running",
        name: str = "",
    ) -> Instance:
        """Create an instance in the groups' VPC, without an event; a `classic` one has no VPC and private address."""
        with self.lock:
            owner = self.account(account)
            joined = [owner.groups[group] if isinstance(group, str) else group for group in groups]
            vpc = None if classic else self.vpcs[joined[0].vpc_id]
            address = private_ip or ""
            if vpc and not private_ip:
                address = vpc.take(self.ip_pool) or ""
            elif vpc and not vpc.claim(address):
                raise ValueError(f"{address} is in use, or not in the vSwitch {vpc.subnet} of {vpc.id}")
            return self.add_instance(
                owner,
                joined,
                vpc,
                tags=tags or {},
                private_ip=address,
                instance_id=instance_id,
                status=status,
                name=name,
            )
