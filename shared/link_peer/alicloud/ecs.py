"""One account's ECS, through the official SDK. Reads follow every page; changes are attempted once."""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from link_peer.alicloud import ecs_shapes as shapes
from link_peer.alicloud import lazy_models, leave_out
from link_peer.alicloud.ecs_shapes import models
from link_peer.alicloud.sdk import call, client_config
from link_peer.domain.errors import CloudError, LinkPeerError, NoAccess
from link_peer.domain.model import PRIORITY, Group, Instance, Party, Rule, RuleKey
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials, Settings

PAGE = 100  # [doc DescribeInstances, DescribeSecurityGroups: MaxResults <= 100]
RULES_PER_PAGE = 1000  # [doc DescribeSecurityGroupAttribute: 10..1000]
GROUPS_PER_CALL = 10  # [doc DescribeSecurityGroupReferences]
INTERFACES = 500  # of one page [doc DescribeNetworkInterfaces]
FEW = 10  # where one item answers the question: the smallest page

_ABOUT_GROUPS = "InvalidSecurityGroupId"  # .NotFound and .Malformed [doc]


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
        """`keys(renew)` returns this account's credentials, new ones if `renew`, or raises KeysExpired where there are
        none; `calls` counts API calls by action."""
        self.account = account
        self._settings = settings
        self._region = settings.region
        self._keys = keys
        self._retry = retry
        self._calls = calls
        self._renewed = False
        self._renewing = threading.Lock()
        self._client = self._connect(renew=False)

    # reads

    def instances(self, ids: Sequence[str]) -> list[Instance]:
        """Instances by id; unknown and malformed ids are left out."""
        return read_by_id(ids, lambda part: self._instances(instance_ids=json.dumps(part)), self.all_instances)

    def members(self, group: str) -> list[Instance]:
        """Every instance of a group; none if the group does not exist, or its id is malformed."""
        try:
            return self._instances(security_group_id=group)
        except CloudError as error:
            if error.code.startswith(_ABOUT_GROUPS):
                return []
            raise

    def all_instances(self) -> list[Instance]:
        """Every instance of the account."""
        return self._instances()

    def instance_page(self, token: str = "", group: str = "") -> tuple[list[Instance], str]:
        """One page of the account's instances, or of a group's, and the token of the next one; empty after the last. A
        group that does not exist, or whose id is malformed, has none."""
        only = {"security_group_id": group} if group else {}
        try:
            rows, following = self._page("describe_instances", "instances.instance", token, max_results=PAGE, **only)
        except CloudError as error:
            if group and error.code.startswith(_ABOUT_GROUPS):
                return [], ""
            raise
        return [shapes.instance(self.account, row) for row in rows], following

    def shows_instances(self) -> bool:
        """Whether an unfiltered read returns any instance. Raises NoAccess where the role may not read instances: such
        a read is answered with an empty list, and a dry run with the refusal [doc DescribeInstances]."""
        if next(self._pages("describe_instances", "instances.instance", max_results=FEW)):
            return True
        request = models().DescribeInstancesRequest(region_id=self._region, dry_run=True)
        try:
            self._retry(lambda: self._send("describe_instances", request))
        except CloudError as error:
            if error.code != "DryRunOperation":
                raise
        return False

    def groups(self, ids: Sequence[str]) -> list[Group]:
        """Security groups by id; unknown and malformed ids are left out."""
        return read_by_id(ids, lambda part: self._groups(security_group_ids=json.dumps(part)), self.all_groups)

    def all_groups(self) -> list[Group]:
        """Every security group of the account. Where none shows a rule, RuleCount says nothing."""
        groups = self._groups()
        if any(group.rule_count > 0 for group in groups):
            return groups
        return [msgspec.structs.replace(group, rule_count=-1) for group in groups]

    def tagged_groups(self, tag: str) -> list[Group]:
        """The groups that carry a tag with this key and the value `true`.

        A tag filter of DescribeSecurityGroups fails beyond 1,000 matches; ListTagResources has no such limit.
        """
        tag_filter = models().ListTagResourcesRequestTag(key=tag, value="true")
        rows = self._all(
            "list_tag_resources", "tag_resources.tag_resource", resource_type="securitygroup", tag=[tag_filter]
        )
        groups = self.groups([row.resource_id for row in rows if row.resource_id])
        return [group for group in groups if group.tags.get(tag) == "true"]

    def rules(self, group: str) -> list[Rule]:
        """The rules of a group, of both directions. Raises CloudError if the group does not exist."""
        rows = self._all(
            "describe_security_group_attribute",
            "permissions.permission",
            security_group_id=group,
            direction="all",  # by one page the default; nobody has seen it
            nic_type="intranet",
            max_results=RULES_PER_PAGE,
        )
        return [shapes.rule(Party(self.account, group), row) for row in rows]

    def references(self, groups: Sequence[str]) -> list[Party]:
        """The groups, of any account, with a rule that names one of these groups. Each call shows the first hundred,
        and does not say whether there are more."""
        referencing: dict[Party, None] = {}
        for start in range(0, len(groups), GROUPS_PER_CALL):
            request = models().DescribeSecurityGroupReferencesRequest(
                region_id=self._region, security_group_id=list(groups[start : start + GROUPS_PER_CALL])
            )
            body = self._read("describe_security_group_references", request, "security_group_references")
            for item in shapes.items(body.security_group_references, "security_group_reference"):
                for reference in shapes.items(item.referencing_security_groups, "referencing_security_group"):
                    referencing[Party(str(reference.ali_uid or self.account), reference.security_group_id)] = None
        return list(referencing)

    def inner_access(self, group: str) -> bool:
        """Whether the members of a basic group reach each other. Raises CloudError if the group does not exist."""
        request = models().DescribeSecurityGroupAttributeRequest(
            region_id=self._region, security_group_id=group, direction="ingress", max_results=FEW
        )
        body = self._read("describe_security_group_attribute", request, "inner_access_policy")
        return str(body.inner_access_policy).lower() == "accept"

    def addresses_taken(self, vpc: str, ips: Collection[str]) -> set[str]:
        """Those of these private IPv4 addresses that a network interface of this account in a VPC has, as its first or
        another one. An instance has its address on one.

        One address is asked for in two calls: the SDK says that PrivateIpAddress.N finds secondary addresses, other
        clients rely on it for all of them [doc DescribeNetworkInterfaces; src terway]. For several, the interfaces of
        the VPC are listed, unless that takes more calls.
        """
        if len(ips) == 1:
            return {ip for ip in ips if self._has_address(vpc, ip)}
        taken_addresses: set[str] = set()
        for number, page in enumerate(self._interfaces(vpc_id=vpc, max_results=INTERFACES), start=1):
            taken_addresses |= set(ips) & {address for item in page for address in shapes.addresses(item)}
            if number == 2 * len(ips):
                return taken_addresses | {ip for ip in ips if ip not in taken_addresses and self._has_address(vpc, ip)}
        return taken_addresses

    def instances_of(self, interfaces: Sequence[str]) -> Mapping[str, str]:
        """The instances whose primary network interfaces these are, by the interface. Without the secondary ones, whose
        addresses no rule of ours has: they come and go with the containers of a cluster."""
        interface_ids = sorted(set(interfaces))
        instance_ids: dict[str, str] = {}
        for start in range(0, len(interface_ids), IDS_PER_CALL):
            part = interface_ids[start : start + IDS_PER_CALL]
            for page in self._interfaces(network_interface_id=part, type="Primary", max_results=IDS_PER_CALL):
                instance_ids.update((row.network_interface_id, row.instance_id) for row in page if row.instance_id)
        return instance_ids

    # changes

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]], *, advanced: bool = False) -> str:
        """Adds rules of one direction to a group, which may be an `advanced` one, each with its description. Returns
        the RequestId.

        Raises ValueError for a rule that link-peer must not write, before any call.
        """
        party, egress = Party(self.account, group), any(key.is_egress for key, _ in rules)
        permissions = [shapes.permission(party, key, text, egress=egress, advanced=advanced) for key, text in rules]
        return self._change_rules(
            "authorize_security_group_egress" if egress else "authorize_security_group", group, permissions=permissions
        )

    def modify(self, group: str, rule_id: str, description: str, *, egress: bool = False) -> str:
        """Sets a rule's description, and its priority to ours. Returns the RequestId."""
        return self._change_rules(
            "modify_security_group_egress_rule" if egress else "modify_security_group_rule",
            group,
            security_group_rule_id=rule_id,
            description=description,
            priority=str(PRIORITY),
        )

    def revoke(self, group: str, rule_ids: Sequence[str], *, egress: bool = False) -> str:
        """Removes rules of one direction by id. Returns the RequestId."""
        return self._change_rules(
            "revoke_security_group_egress" if egress else "revoke_security_group",
            group,
            security_group_rule_id=list(rule_ids),
        )

    def tag(self, groups: Sequence[str], keys: Sequence[str]) -> str:
        """Puts tags with the value `true` on groups, at most 50. Returns the RequestId."""
        request = models().TagResourcesRequest(
            region_id=self._region,
            resource_type="securitygroup",
            resource_id=list(groups),
            tag=[models().TagResourcesRequestTag(key=key, value="true") for key in keys],
        )
        return self._change("tag_resources", request)

    def untag(self, group: str, keys: Sequence[str]) -> str:
        """Removes tags from a group. Returns the RequestId."""
        request = models().UntagResourcesRequest(
            region_id=self._region, resource_type="securitygroup", resource_id=[group], tag_key=list(keys)
        )
        return self._change("untag_resources", request)

    # calls

    def _connect(self, *, renew: bool) -> Any:
        lazy_models.install()
        client = leave_out.imported("alibabacloud_ecs20140526.client")
        return client.Client(client_config(self._settings, "ecs", self._keys(renew)))

    def _send(self, operation: str, request: Any) -> Any:
        """Makes one call. Credentials that expire during a run are renewed once, also where several threads find them
        expired."""
        self._calls[operation.title().replace("_", "")] += 1
        client = self._client

        def send() -> Any:
            try:
                return call(lambda: getattr(self._client, operation)(request)).body
            except LinkPeerError as error:
                error.account = self.account
                raise

        try:
            return send()
        except NoAccess as error:
            if not error.code.startswith("InvalidSecurityToken"):
                raise
            with self._renewing:
                if client is self._client:
                    if self._renewed:
                        raise
                    self._renewed = True
                    self._client = self._connect(renew=True)
            return send()

    def _read(self, operation: str, request: Any, field: str) -> Any:
        """Makes a call, with retries, until its response has a field."""

        def read() -> Any:
            body = self._send(operation, request)
            shapes.present(body, field)
            return body

        return self._retry(read)

    def _change(self, operation: str, request: Any) -> str:
        """Attempts a change once. After a failure the caller reads whether it was made, before trying again."""
        return str(shapes.present(self._send(operation, request), "request_id"))

    def _change_rules(self, operation: str, group: str, **fields: Any) -> str:
        request = _request_type(operation)(
            region_id=self._region,
            security_group_id=group,
            # new for each attempt: with a used token the API may report success for a rule that was revoked since
            client_token=uuid.uuid4().hex,
            **fields,
        )
        return self._change(operation, request)

    def _page(self, operation: str, where: str, token: str, **filters: Any) -> tuple[list[Any], str]:
        """One page of a read, and the token of the next; `where` is their list, such as `instances.instance`."""
        holder, _, name = where.partition(".")
        request = _request_type(operation)(region_id=self._region, next_token=token or None, **filters)
        body = self._read(operation, request, holder)
        return shapes.items(getattr(body, holder), name), body.next_token or ""

    def _pages(self, operation: str, where: str, **filters: Any) -> Iterator[list[Any]]:
        """The pages of a read."""
        rows, token = self._page(operation, where, "", **filters)
        yield rows
        while token:
            rows, token = self._page(operation, where, token, **filters)
            yield rows

    def _all(self, operation: str, where: str, **filters: Any) -> list[Any]:
        return [item for page in self._pages(operation, where, **filters) for item in page]

    def _instances(self, **filters: Any) -> list[Instance]:
        pages = self._pages("describe_instances", "instances.instance", max_results=PAGE, **filters)
        return [
            shapes.instance(self.account, item) for page in pages for item in page
        ]  # the SDK's rows take far more room

    def _has_address(self, vpc: str, ip: str) -> bool:
        either: tuple[dict[str, Any], ...] = ({"primary_ip_address": ip}, {"private_ip_address": [ip]})
        return any(
            page
            for address_filter in either
            for page in self._interfaces(vpc_id=vpc, max_results=FEW, **address_filter)
        )

    def _interfaces(self, **filters: Any) -> Iterator[list[Any]]:
        return self._pages("describe_network_interfaces", "network_interface_sets.network_interface_set", **filters)

    def _groups(self, **filters: Any) -> list[Group]:
        items = self._all("describe_security_groups", "security_groups.security_group", max_results=PAGE, **filters)
        return [shapes.group(self.account, item) for item in items]


def _request_type(operation: str) -> Any:
    return getattr(models(), operation.title().replace("_", "") + "Request")


T = TypeVar("T", Group, Instance)

IDS_PER_CALL = 100  # [doc DescribeInstances, DescribeSecurityGroups, DescribeNetworkInterfaces: at most 100 ids]
MAX_SPLITS = 12
"""Refused calls that are split, before everything is read instead. Enough to find one wrong id in a call of 100, or
two."""

_ABOUT_IDS = (_ABOUT_GROUPS, "InvalidInstanceId")  # .NotFound and .Malformed, one id or a list [doc]


def read_by_id(
    ids: Iterable[str], read: Callable[[Sequence[str]], list[T]], read_all: Callable[[], list[T]]
) -> list[T]:
    """The resources with these ids; ids that are unknown or malformed are left out.

    A call that is refused for its ids is split in two until the wrong id is alone. After MAX_SPLITS of them, or for a
    code that does not say that an id is wrong, `read_all` answers for the rest: 5,950 unknown names cost tens of calls.
    """
    sorted_ids = sorted(set(ids))
    chunks: list[list[str]] = [
        sorted_ids[start : start + IDS_PER_CALL] for start in range(0, len(sorted_ids), IDS_PER_CALL)
    ]
    resources: list[T] = []
    splits = 0
    while chunks:
        chunk = chunks.pop()
        try:
            resources += read(chunk)
        except NoAccess:
            raise
        except CloudError as error:
            if not error.code.startswith("Invalid"):
                raise
            certain = error.code.startswith(_ABOUT_IDS)
            if certain and len(chunk) == 1:
                continue
            splits += 1
            if not certain or splits > MAX_SPLITS:
                unread_ids = {resource_id for part in (chunk, *chunks) for resource_id in part}
                return resources + [resource for resource in read_all() if resource.party.id in unread_ids]
            middle = len(chunk) // 2
            chunks += [chunk[:middle], chunk[middle:]]
    return resources
