"""One account's ECS, through the official SDK. Reads follow every page; changes are attempted once."""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from link_peer.alicloud import lazy_models
from link_peer.alicloud.sdk import call, client_config
from link_peer.domain.errors import Ambiguous, CloudError, NoAccess
from link_peer.domain.model import PRIORITY, Group, Instance, Party, Port, Rule, RuleKey
from link_peer.domain.tags import managed_tag
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials, Settings

IDS_PER_CALL = 100  # [doc DescribeInstances, DescribeSecurityGroups: at most 100 ids]
PAGE = 100  # [doc: MaxResults <= 100]
RULES_PER_PAGE = 1000  # [doc DescribeSecurityGroupAttribute: 10..1000]

_HOST_CIDR = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}/32", re.ASCII)
_GROUP_NOT_FOUND = "InvalidSecurityGroupId.NotFound"


class SdkEcs:
    """The `Ecs` port over alibabacloud_ecs20140526; which errors it raises is described there."""

    def __init__(
        self,
        settings: Settings,
        account: str,
        keys: Callable[[bool], Credentials],
        retry: Retry,
        calls: Counter[str],
    ) -> None:
        """`keys(renew)` returns this account's credentials, new ones if `renew`; `calls` counts API calls by action."""
        self.account = account
        self._settings = settings
        self._region = settings.region
        self._keys = keys
        self._retry = retry
        self._calls = calls
        self._renewed = False
        self._client = self._connect(renew=False)

    # reads

    def instances(self, ids: Sequence[str]) -> list[Instance]:
        """Instances by id; ids that do not exist are left out."""
        wanted = sorted(set(ids))
        found: list[Instance] = []
        for start in range(0, len(wanted), IDS_PER_CALL):
            found += self._instances(instance_ids=json.dumps(wanted[start : start + IDS_PER_CALL]))
        return found

    def members(self, group: str) -> list[Instance]:
        """Every instance of a group; none if the group does not exist."""
        try:
            return list(self._instances(security_group_id=group))
        except CloudError as error:
            if error.code == _GROUP_NOT_FOUND:
                return []
            raise

    def all_instances(self) -> list[Instance]:
        """Every instance of the account."""
        return list(self._instances())

    def shows_instances(self) -> bool:
        """Whether an unfiltered read returns any instance."""
        models = _models()
        request = models.DescribeInstancesRequest(region_id=self._region, max_results=10)
        body = self._read("describe_instances", request)
        return bool(_page(body, "instances", "instance"))

    def groups(self, ids: Sequence[str]) -> list[Group]:
        """Security groups by id; ids that do not exist are left out."""
        wanted = sorted(set(ids))
        found: list[Group] = []
        for start in range(0, len(wanted), IDS_PER_CALL):
            chunk = wanted[start : start + IDS_PER_CALL]
            try:
                found += self._groups(security_group_ids=json.dumps(chunk))
            except CloudError as error:
                if error.code != _GROUP_NOT_FOUND:
                    raise
                if len(chunk) > 1:  # one unknown id fails the whole call, so ask for each id alone
                    for one in chunk:
                        found += self.groups([one])
        return found

    def all_groups(self) -> list[Group]:
        """Every security group of the account."""
        return list(self._groups())

    def managed_groups(self, deployment: str) -> list[Group]:
        """The groups that have the managed tag of a deployment."""
        tag = _models().DescribeSecurityGroupsRequestTag(key=managed_tag(deployment), value="true")
        return list(self._groups(tag=[tag]))

    def rules(self, group: str) -> list[Rule]:
        """The ingress rules of a group. Raises CloudError if the group does not exist."""
        models = _models()
        found: list[Rule] = []
        token: str | None = None
        while True:
            request = models.DescribeSecurityGroupAttributeRequest(
                region_id=self._region,
                security_group_id=group,
                direction="ingress",
                nic_type="intranet",
                max_results=RULES_PER_PAGE,
                next_token=token,
            )
            body = self._read("describe_security_group_attribute", request)
            found += [self._rule(group, item) for item in _page(body, "permissions", "permission")]
            token = body.next_token
            if not token:
                return found

    # changes

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]]) -> str:
        """Adds ingress rules, each with its description. Returns the RequestId.

        Raises ValueError for a rule that link-peer must not write, before any call.
        """
        models = _models()
        request = models.AuthorizeSecurityGroupRequest(
            region_id=self._region,
            security_group_id=group,
            # new for each attempt: with a used token the API may report success for a rule that was revoked since
            client_token=uuid.uuid4().hex,
            permissions=[self._permission(group, key, description) for key, description in rules],
        )
        return self._change("authorize_security_group", request)

    def modify(self, group: str, rule_id: str, description: str) -> str:
        """Sets a rule's description, and its priority to ours. Returns the RequestId."""
        request = _models().ModifySecurityGroupRuleRequest(
            region_id=self._region,
            security_group_id=group,
            security_group_rule_id=rule_id,
            description=description,
            priority=str(PRIORITY),
            client_token=uuid.uuid4().hex,
        )
        return self._change("modify_security_group_rule", request)

    def revoke(self, group: str, rule_ids: Sequence[str]) -> str:
        """Removes ingress rules by id. Returns the RequestId."""
        request = _models().RevokeSecurityGroupRequest(
            region_id=self._region,
            security_group_id=group,
            security_group_rule_id=list(rule_ids),
            client_token=uuid.uuid4().hex,
        )
        return self._change("revoke_security_group", request)

    def tag_managed(self, group: str, deployment: str) -> str:
        """Adds the managed tag of a deployment to a group. Returns the RequestId."""
        models = _models()
        request = models.TagResourcesRequest(
            region_id=self._region,
            resource_type="securitygroup",
            resource_id=[group],
            tag=[models.TagResourcesRequestTag(key=managed_tag(deployment), value="true")],
        )
        return self._change("tag_resources", request)

    def untag_managed(self, group: str, deployment: str) -> str:
        """Removes the managed tag of a deployment from a group. Returns the RequestId."""
        request = _models().UntagResourcesRequest(
            region_id=self._region,
            resource_type="securitygroup",
            resource_id=[group],
            tag_key=[managed_tag(deployment)],
        )
        return self._change("untag_resources", request)

    # calls, and conversion between SDK models and our values

    def _connect(self, *, renew: bool) -> Any:
        lazy_models.install()
        from alibabacloud_ecs20140526.client import Client

        return Client(client_config(self._settings, "ecs", self._keys(renew)))

    def _send(self, operation: str, request: Any) -> Any:
        """Makes one call. Credentials that expire during a run are renewed once."""
        self._calls[operation.title().replace("_", "")] += 1
        try:
            return call(lambda: getattr(self._client, operation)(request)).body
        except NoAccess as error:
            if self._renewed or not error.code.startswith("InvalidSecurityToken"):
                raise
            self._renewed = True
            self._client = self._connect(renew=True)
            return call(lambda: getattr(self._client, operation)(request)).body

    def _read(self, operation: str, request: Any) -> Any:
        return self._retry(lambda: self._send(operation, request))

    def _change(self, operation: str, request: Any) -> str:
        """Attempts a change once. After a failure the caller reads whether it was made, before trying again."""
        return str(self._send(operation, request).request_id or "")

    def _instances(self, **filters: Any) -> Iterator[Instance]:
        models = _models()
        token: str | None = None
        while True:
            request = models.DescribeInstancesRequest(
                region_id=self._region, max_results=PAGE, next_token=token, **filters
            )
            body = self._read("describe_instances", request)
            yield from (self._instance(item) for item in _page(body, "instances", "instance"))
            token = body.next_token
            if not token:
                return

    def _groups(self, **filters: Any) -> Iterator[Group]:
        models = _models()
        token: str | None = None
        while True:
            request = models.DescribeSecurityGroupsRequest(
                region_id=self._region, max_results=PAGE, next_token=token, **filters
            )
            body = self._read("describe_security_groups", request)
            yield from (self._group(item) for item in _page(body, "security_groups", "security_group"))
            token = body.next_token
            if not token:
                return

    def _instance(self, item: Any) -> Instance:
        vpc = item.vpc_attributes
        ips = _items(getattr(vpc, "private_ip_address", None), "ip_address")
        return Instance(
            party=Party(self.account, item.instance_id),
            vpc=getattr(vpc, "vpc_id", None) or "",
            groups=tuple(_items(item.security_group_ids, "security_group_id")),
            ip=ips[0] if ips else "",
            tags=_tags(item),
            classic=item.instance_network_type == "classic",
        )

    def _group(self, item: Any) -> Group:
        return Group(
            party=Party(self.account, item.security_group_id),
            vpc=item.vpc_id or "",
            advanced=item.security_group_type == "enterprise",
            managed=bool(item.service_managed),
            tags=_tags(item),
            group_rules=int(item.group_to_group_rule_count or 0),
        )

    def _permission(self, group: str, key: RuleKey, description: str) -> Any:
        """The parameters of a rule. Every rule that link-peer writes passes here: its source is one group or one /32."""
        fields: dict[str, Any] = {
            "policy": "accept",
            "priority": str(PRIORITY),
            "nic_type": "intranet",
            "ip_protocol": key.port.protocol.upper(),
            "port_range": key.port.range,
            "description": description,
        }
        if key.group != Party(self.account, group):
            raise ValueError(f"refusing to write a rule of {key.group} on {group}@{self.account}")
        if _HOST_CIDR.fullmatch(key.source) and _HOST_CIDR.fullmatch(key.dest):
            fields |= {"source_cidr_ip": key.source, "dest_cidr_ip": key.dest}
        elif key.source.startswith("sg-") and not key.dest:
            source, _, owner = key.source.partition("@")
            fields["source_group_id"] = source
            if owner != self.account:
                fields["source_group_owner_id"] = int(owner)
        else:
            raise ValueError(f"refusing to write a rule from {key.source!r} to {key.dest!r}: not one group or one /32")
        return _models().AuthorizeSecurityGroupRequestPermissions(**fields)

    def _rule(self, group: str, item: Any) -> Rule:
        party = Party(self.account, group)
        return Rule(
            group=party,
            id=item.security_group_rule_id or "",
            key=self._key(party, item),
            policy=(item.policy or "").lower(),
            priority=int(item.priority or 1),
            description=item.description or "",
            created=item.create_time or "",
        )

    def _key(self, group: Party, item: Any) -> RuleKey | None:
        """The rule's identity, or None for a rule of a kind that we never write."""
        foreign = (
            item.ipv_6source_cidr_ip,
            item.ipv_6dest_cidr_ip,
            item.source_prefix_list_id,
            item.port_range_list_id,
        )
        source_ports = item.source_port_range or ""
        if any(foreign) or source_ports not in ("", "-1/-1"):
            return None
        try:
            low, high = (int(end) for end in (item.port_range or "").split("/"))
        except ValueError:
            return None
        if item.source_group_id:
            # the API returns the owner as a uid, and nothing for a group of the same account [doc 2016-09-23 notice]
            source = f"{item.source_group_id}@{item.source_group_owner_account or self.account}"
        else:
            source = _host(item.source_cidr_ip)
        dest = _host(item.dest_cidr_ip)
        if not source or (item.dest_cidr_ip and not dest):
            return None
        return RuleKey(group, source, dest, Port((item.ip_protocol or "").lower(), low, high))


def _host(cidr: str | None) -> str:
    """A single address as a /32, which the API returns with or without the mask; empty for a wider range."""
    address, _, length = (cidr or "").partition("/")
    return f"{address}/32" if address and length in ("", "32") else ""


def _items(holder: Any, name: str) -> list[Any]:
    """The list `holder.name`, such as `instances.instance`. In SDK models either level is None if it is missing."""
    return list(getattr(holder, name, None) or [])


def _page(body: Any, holder: str, name: str) -> list[Any]:
    """The items of one page of a Describe call. Raises Ambiguous if the response has no list.

    The SDK turns a 200 of the wrong shape into an empty model, without an error. If that counted as an empty page, an
    outage would look as if everything had been deleted.
    """
    if getattr(body, holder, None) is None:
        raise Ambiguous(f"the response has no {holder}")
    return _items(getattr(body, holder), name)


def _tags(item: Any) -> dict[str, str]:
    return {tag.tag_key: tag.tag_value or "" for tag in _items(item.tags, "tag") if tag.tag_key}


def _models() -> Any:
    from alibabacloud_ecs20140526 import models

    return models
