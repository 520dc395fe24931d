"""What is denied because of what a group or an instance is."""

from __future__ import annotations

from collections.abc import Sequence

from link_peer.domain.denial import Denial, ReasonCode
from link_peer.domain.model import Party

BASIC_GROUP = "use a basic group, or name instances (i-…) instead of groups"
OWN_GROUP = "use a group that no cloud product manages"
USE_VPC = (
    "move it into a VPC: the classic network is retired, and so is ClassicLink, which connected its instances with VPCs"
)
CLOSED_BY = "link-peer close by "
"""How the value of a lock begins that `link-peer close` set."""
_SHOW_GROUP = "aliyun ecs DescribeSecurityGroups --RegionId {region} --SecurityGroupIds"
_SHOW_INSTANCE = "aliyun ecs DescribeInstances --RegionId {region} --InstanceIds"


def instance_gone(party: object) -> Denial:
    """An instance that the cloud does not show."""
    return Denial(ReasonCode.INSTANCE_GONE, f"{party} does not exist", _check_id(party))


def instance_not_shown() -> Denial:
    """The instance of an old event, which the cloud does not show."""
    detail = "the cloud does not show the instance, and its event is more than five minutes old"
    advice = "check that it exists in this region, and that the function's role may read it: link-peer doctor"
    return Denial(ReasonCode.INSTANCE_GONE, detail, advice)


def peer_not_found(party: object) -> Denial:
    """A group that the cloud does not show."""
    return Denial(ReasonCode.PEER_NOT_FOUND, f"{party} does not exist", _check_id(party))


def _check_id(party: object) -> str:
    """How to look whether a party exists, with keys of its account."""
    name, _, account = str(party).partition("@")
    show = _SHOW_GROUP if name.startswith("sg-") else _SHOW_INSTANCE
    where = f" in account {account}" if account else ""
    return f"check the id, the account and the region; keys{where} show it: {show} '[\"{name}\"]'"


def own_groups_not_found(instance: str, groups: str) -> Denial:
    """Not all of an instance's own groups are shown."""
    return Denial(
        ReasonCode.PEER_NOT_FOUND,
        f"the cloud does not show all groups of {instance} ({groups})",
        "check that the account's role may read them: link-peer doctor",
    )


def no_private_ip(party: object) -> Denial:
    """An instance without a private address."""
    return Denial(ReasonCode.NO_PRIVATE_IP, f"{party} has no private address", "wait until it runs, then post it again")


def same_group(target: str, *, is_group: bool) -> Denial:
    """A tag that names the instance itself, or one of its own groups."""
    return Denial(ReasonCode.SAME_GROUP, f"{target} is the instance's own group" if is_group else "it names itself")


def same_party() -> Denial:
    """A request whose two sides are one."""
    return Denial(ReasonCode.SAME_GROUP, "both sides are the same")


def locked(group: Party, value: str) -> Denial:
    """A group with a `link-lock` tag of this value. `reopen` takes off locks of others only if it is forced to."""
    force = "" if value.startswith(CLOSED_BY) else " --force"
    advice = f"ask the person who locked it, then remove the tag link-lock from {group}"
    return Denial(ReasonCode.LOCKED, f"{group} carries the tag link-lock", f"{advice}: link-peer reopen {group}{force}")


def isolated_group(group: Party, *, advanced: bool) -> Denial:
    """An instance's own group whose members do not reach each other."""
    detail = f"{group} is the instance's own group, and its members do not reach each other"
    advice = "name instances (i-…) instead of the group"
    if not advanced:
        advice += (
            "; or let all of its members reach each other on everything: aliyun ecs ModifySecurityGroupPolicy "
            f"--RegionId {{region}} --SecurityGroupId {group.id} --InnerAccessPolicy Accept"
        )
    return Denial(ReasonCode.ISOLATED_GROUP, detail, advice)


def classic_instance(party: object) -> Denial:
    """An instance in the classic network."""
    return Denial(ReasonCode.CLASSIC_NETWORK, f"{party} is in the classic network", USE_VPC)


def classic_group(party: object) -> Denial:
    """A group of the classic network."""
    return Denial(
        ReasonCode.CLASSIC_NETWORK, f"{party} is a classic group", f"use a VPC group; {USE_VPC.partition(': ')[2]}"
    )


def managed_group(party: object) -> Denial:
    """A group that a cloud product manages."""
    detail = f"{party} is managed by a cloud product, which refuses every change"
    return Denial(ReasonCode.MANAGED_GROUP, detail, OWN_GROUP)


def only_managed_groups(groups: str) -> Denial:
    """An instance all of whose groups are managed by cloud products."""
    return Denial(
        ReasonCode.MANAGED_GROUP, f"the instance's groups ({groups}) are managed by a cloud product", OWN_GROUP
    )


def no_group_takes_rules(party: object) -> Denial:
    """An instance none of whose groups may be given a rule."""
    return Denial(ReasonCode.MANAGED_GROUP, f"{party} has no group that takes rules", "put it into a group of your own")


def advanced_group(party: object) -> Denial:
    """An advanced group in a link between groups."""
    detail = f"{party} is an advanced group, which takes no group as a source and cannot be one"
    return Denial(ReasonCode.ADVANCED_GROUP, detail, BASIC_GROUP)


def no_basic_group(groups: str) -> Denial:
    """An instance without a basic group, where a group must represent it."""
    advice = "put the instance into a basic group too, or name instances (i-…) instead of groups"
    return Denial(ReasonCode.ADVANCED_GROUP, f"no basic group among the instance's groups ({groups})", advice)


def public_address(party: object, address: str) -> Denial:
    """An instance link whose source has no private address."""
    detail = f"the address of {party}, {address}, is not private (RFC 1918 or 100.64.0.0/10)"
    return Denial(ReasonCode.ADDRESS_CONFLICT, detail, "use an instance with a private address, or link groups")


def address_out_of_range(party: object, address: str, ranges: Sequence[str]) -> Denial:
    """An instance link whose source lies outside its account's ranges in the policy."""
    detail = f"the address of {party}, {address}, is outside the account's ranges in the policy ({', '.join(ranges)})"
    return Denial(
        ReasonCode.ADDRESS_CONFLICT, detail, "use an address in those ranges, or have the policy file changed"
    )
