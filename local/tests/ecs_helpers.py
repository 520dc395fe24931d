"""Official ECS clients of the local cloud, and worlds of groups for them."""

from __future__ import annotations

from typing import Any

from alibabacloud_ecs20140526.client import Client

from aliyun_local.cloud import LocalCloud
from clients import HOME, PEER, REGION, ask, config, key_of


def client(cloud: LocalCloud, account: str = HOME) -> Client:
    return Client(config(key_of(cloud, account), f"ecs.{REGION}.aliyuncs.com"))


def permission(**fields: Any) -> dict[str, Any]:
    """A permission on TCP 3306 unless other fields are given."""
    return {"ip_protocol": "tcp", "port_range": "3306/3306", **fields}


def authorize(ecs: Client, group: str, *permissions: dict[str, Any], **options: Any) -> None:
    ask(ecs, "AuthorizeSecurityGroup", security_group_id=group, permissions=list(permissions), **options)


def rules(ecs: Client, group: str) -> list[Any]:
    """The group's rules as DescribeSecurityGroupAttribute shows them."""
    return ask(ecs, "DescribeSecurityGroupAttribute", security_group_id=group).permissions.permission


def new_group(ecs: Client, vpc_id: str | None = None, **fields: Any) -> str:
    return ask(ecs, "CreateSecurityGroup", vpc_id=vpc_id, **fields).security_group_id


def run_instances(ecs: Client, group: str | None, vswitch: str, **fields: Any) -> list[str]:
    """The ids of new instances in a group, which have what they need unless other fields are given."""
    usual = {"image_id": "m-1", "instance_type": "ecs.g7.large", "security_group_id": group, "v_switch_id": vswitch}
    return ask(ecs, "RunInstances", **{**usual, **fields}).instance_id_sets.instance_id_set


def instances(ecs: Client, **filters: Any) -> list[Any]:
    return ask(ecs, "DescribeInstances", **filters).instances.instance


class RuleWorld:
    """Two groups of one account and one of the peer account, in the shared VPC."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud, self.ecs, self.peer_ecs = cloud, client(cloud), client(cloud, PEER)
        self.shared = next(vpc.id for vpc in cloud.ecs.vpcs.values() if vpc.shared_with)
        self.app, self.db = new_group(self.ecs, self.shared), new_group(self.ecs, self.shared)
        self.peer = new_group(self.peer_ecs, self.shared)

    def authorize(self, group: str, *permissions: Any, **options: Any) -> None:
        authorize(self.ecs, group, *permissions, **options)

    def egress(self, group: str, to: str) -> None:
        """Add an egress rule to another group."""
        permission_out = permission(port_range="1/1", dest_group_id=to)
        ask(self.ecs, "AuthorizeSecurityGroupEgress", security_group_id=group, permissions=[permission_out])

    def rules(self, group: str) -> list[Any]:
        return rules(self.ecs, group)

    def revoke(self, group: str, *ids: str, **options: Any) -> None:
        ask(
            self.ecs,
            "RevokeSecurityGroup",
            security_group_id=group,
            security_group_rule_id=list(ids) or None,
            **options,
        )

    def modify(self, group: str, rule: str, **fields: Any) -> None:
        ask(self.ecs, "ModifySecurityGroupRule", security_group_id=group, security_group_rule_id=rule, **fields)
