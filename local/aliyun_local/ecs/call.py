"""One API call inside the backend: caller, action, parameters, and what it created."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from aliyun_local.core.errors import ApiError
from aliyun_local.ecs.params import Params
from aliyun_local.ecs.state import AccountState, Group, Instance, InstanceState, Interface, Vpc
from aliyun_local.ecs.store import Store


class Call(Struct):
    """What an operation works with. `now` is read once, so that the whole call happens at one instant."""

    store: Store
    account: AccountState
    action: str
    params: Params
    now: float
    created: list[str] = field(default_factory=list)  # ids that the ActionTrail event adds to those in the parameters

    def dry_run(self) -> None:
        """End a dry run. Call it once everything is checked and before anything is changed."""
        if self.params.flag("DryRun"):
            raise ApiError("DryRunOperation", 400)

    def group(self, group_id: str) -> Group:
        """A group of the caller's own account; other accounts' groups do not exist for the caller."""
        if not group_id.startswith("sg-"):
            raise ApiError("InvalidSecurityGroupId.Malformed", 400)
        group = self.account.groups.get(group_id)
        if group is None:
            raise ApiError("InvalidSecurityGroupId.NotFound", 404)
        return group

    def rules_of(self, groups: Iterable[str]) -> int:
        """How many rules apply to an instance in these groups of the caller."""
        return sum(len(self.account.groups[group].rules.at(self.now)) for group in groups)

    def writable_group(self, group_id: str) -> Group:
        """The same, unless a cloud product manages the group."""
        group = self.group(group_id)
        if group.managed:
            raise managed_by_product(group.id)
        return group

    def interface(self, interface_id: str) -> Interface:
        """A secondary interface of the caller's own account."""
        interface = self.account.interfaces.get(interface_id)
        if interface is None:
            raise ApiError("InvalidEniId.NotFound", 404)
        return interface

    def shown_ip(self, instance: Instance) -> str:
        """The private address; empty while it cannot be read yet (`ip_delay`).

        Whether an instance has an address as soon as it is Created is unknown.
        """
        snapshot_time = self.now - self.store.read_lag.instances
        return instance.private_ip if snapshot_time >= instance.ip_visible_from else ""

    def instance(self, instance_id: str) -> tuple[Instance, InstanceState]:
        """An instance of the caller's own account that still exists, and its present state."""
        instance = self.account.instances.get(instance_id)
        state = instance.states.at(self.now) if instance else None
        if instance is None or state is None:
            raise ApiError("InvalidInstanceId.NotFound", 404)
        return instance, state

    def settled_instance(self, instance_id: str) -> tuple[Instance, InstanceState]:
        """The same, unless it is on its way between Running and Stopped."""
        instance, state = self.instance(instance_id)
        if state.status not in ("Running", "Stopped"):
            raise ApiError("IncorrectInstanceStatus", 403)
        return instance, state

    def vpc_of(self, vswitch_id: str) -> Vpc:
        """The VPC of a vSwitch that the caller may use."""
        vpc = next((vpc for vpc in self.store.vpcs.values() if vpc.vswitch_id == vswitch_id), None)
        if vpc is None or not vpc.usable_by(self.account.uid):
            raise ApiError("InvalidVSwitchId.NotFound", 404)
        return vpc


def managed_by_product(group_id: str) -> ApiError:
    """The refusal to change a group that a cloud product manages."""
    message = f"The security group {group_id} is managed by a cloud product and cannot be operated."
    return ApiError("InvalidOperation.ResourceManagedByCloudProduct", 403, message)
