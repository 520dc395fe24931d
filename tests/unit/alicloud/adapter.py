"""The real adapter in front of the local cloud, in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from aliyun_local.api import Group, LocalCloud
from link_peer.alicloud.ecs import SdkEcs
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials, Settings

HOME, PEER = "1000000000000001", "1000000000000002"
REGION = "cn-qingdao"


class Adapter:
    """`ecs` is the home account's ECS, `calls` counts its API calls by action."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.calls: Counter[str] = Counter()
        self.settings = settings(cloud)
        self.ecs = SdkEcs(self.settings, HOME, lambda _renew: self.settings.credentials, retry(cloud), self.calls)
        self.vpc = cloud.world.vpcs[0]["id"]

    def groups(self, count: int, **fields: object) -> list[Group]:
        """Creates groups in the home account."""
        self.cloud.ecs.quotas.groups = max(self.cloud.ecs.quotas.groups, count + 100)
        return [self.cloud.ecs.create_group(HOME, self.vpc, **fields) for _ in range(count)]  # type: ignore[arg-type]


def settings(cloud: LocalCloud) -> Settings:
    """Settings with keys of the functions' role."""
    role = cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-fc"]
    issued = [key for key in cloud.identity.keys.values() if key.caller.role == role.name]
    keys = issued[0] if issued else cloud.identity.issue(role, "functions", cloud.clock.now() + 10 * 366 * 86_400)
    return Settings(
        policy_path="",
        region=REGION,
        audit_project=cloud.world.audit_project,
        audit_logstore=cloud.world.audit_logstore,
        queue=cloud.world.queue,
        endpoints=dict.fromkeys(("ecs", "sts", "sls", "mns"), "http://127.0.0.1:1"),
        credentials=Credentials(keys.access_key_id, keys.secret, keys.token),
    )


def retry(cloud: LocalCloud) -> Retry:
    """Retries on the cloud's clock."""
    return Retry(cloud.clock, cloud.clock.now() + 600)


def ids(groups: Iterable[Group]) -> set[str]:
    """The ids of groups of the local cloud."""
    return {group.id for group in groups}
