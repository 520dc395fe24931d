"""What Describe and List calls answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from link_peer_conformance.model import Need, Section, Seen
from link_peer_conformance.sdks import code_of

if TYPE_CHECKING:
    from link_peer_conformance.bench import Bench

section = Section("Reads")

UNKNOWN_GROUP, UNKNOWN_INSTANCE = "sg-bp1selftestgone00000", "i-bp1selftestgone000000"
INSTANCE = "release the instance, delete the groups"
LAUNCH = "`I=$(aliyun ecs RunInstances $R --ImageId <image> --InstanceType <type> --VSwitchId <vswitch> --SecurityGroupId $A --Tag.1.Key link-peer --Tag.1.Value $B | jq -r '.InstanceIdSets.InstanceIdSet[0]')`"


@section.row(
    18,
    assumed="DescribeSecurityGroups returns `GroupToGroupRuleCount`, `ServiceManaged` and tags by default",
    depends="quota and managed groups are detected before the write; consent",
    test="`aliyun ecs DescribeSecurityGroups $R --SecurityGroupIds '[\"sg-…\"]' --MaxResults 100`",
    expected="all three, and `GroupToGroupRuleCount` is 1 after *write B*",
)
def group_fields(bench: Bench) -> Seen:
    """The three fields of a group with one rule from another group."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, {"source_group_id": a})

    def read() -> tuple[Any, Any, int]:
        (group,) = bench.described(b)
        return group.group_to_group_rule_count, group.service_managed, len(group.tags.tag or []) if group.tags else 0

    count, managed, tags = bench.until(read, lambda seen: seen[0] == 1)
    text = f"GroupToGroupRuleCount {count}, ServiceManaged {managed}, {tags} tag(s)"
    return Seen(text, (count, managed) == (1, False) and tags > 0)


@section.row(
    19,
    assumed="One unknown group id among several is omitted",
    depends="both are handled",
    test='#18 with `\'["sg-…", "sg-bp1selftestgone00000"]\'`',
    expected="the known group, no error",
)
def one_unknown_group(bench: Bench) -> Seen:
    """A group that exists, and one that does not."""
    b = bench.group()
    found: list[str] = []
    code = code_of(lambda: found.extend(g.security_group_id for g in bench.described(b, UNKNOWN_GROUP)))
    return Seen(code or f"{len(found)} group(s)", found == [b])


@section.row(
    20,
    assumed="Unknown instance ids are omitted",
    depends="an instance that is still not shown 5 minutes after its event is final: `instance-gone`, or no record if it was never shown",
    test="`aliyun ecs DescribeInstances $R --InstanceIds '[\"i-bp1selftestgone000000\"]' --MaxResults 10`",
    expected="an empty list, no error",
    cleanup="none",
)
def unknown_instance(bench: Bench) -> Seen:
    """An instance id that does not exist."""
    found: list[Any] = []
    code = code_of(lambda: found.append(bench.instance_of(UNKNOWN_INSTANCE)))
    return Seen(code or ("an empty list" if found == [None] else "an instance"), found == [None])


@section.row(
    21,
    Need.ROLE,
    assumed="A caller without permission gets an empty list of instances, and no error",
    depends="an account that shows no instances is not treated as empty",
    test="#20 with keys that lack `ecs:DescribeInstances`",
    expected="an empty list, no error",
    cleanup="none",
)
def instances_without_permission(bench: Bench) -> Seen:
    """DescribeInstances in a session that may not call it. An error is handled too: the account cannot be read."""
    session = bench.session({"Effect": "Allow", "Action": ["ecs:DescribeRegions"], "Resource": ["*"]})
    found: list[Any] = []
    code = code_of(lambda: found.extend(session.ask("describe_instances", max_results=10).instances.instance or []))
    return Seen(code or f"{len(found)} instance(s), no error", not code and not found)


@section.row(
    22,
    Need.INSTANCES,
    assumed="The order of an instance's groups is stable",
    depends="the first suitable group represents it",
    test="*watch I* for an instance in three groups",
    expected="`SecurityGroupIds` is the same each time",
    cleanup=INSTANCE,
)
def order_of_groups(bench: Bench) -> Seen:
    """The groups of an instance in three groups, in ten reads."""
    instance = _newcomer(bench)["instance"]
    orders = {tuple(bench.instance_of(instance).security_group_ids.security_group_id) for _ in range(10)}
    return Seen(f"{len(orders)} order(s) in 10 reads", len(orders) == 1)


@section.row(
    23,
    Need.INSTANCES,
    assumed="A new instance has its private address within 5 minutes of its first event",
    depends="instance links wait 5 minutes",
    test=f"{LAUNCH}; *watch I*: `Status` and `PrivateIpAddress`",
    expected="within 5 minutes; the report says in which state",
    cleanup=INSTANCE,
)
def address_of_a_new_instance(bench: Bench) -> Seen:
    """When, and in which state, a new instance first shows its address."""
    seconds, status = _newcomer(bench)["address"]
    text = "no address within 5 minutes" if seconds is None else f"after {seconds} s, in state {status}"
    return Seen(text, seconds is not None, {"seconds": seconds, "status": status})


@section.row(
    24,
    Need.INSTANCES,
    assumed="The tags given to RunInstances are readable as soon as the instance is",
    depends="missing tags are no error; the Running event and the sweep read again",
    test="#23: `Status` and `Tags`",
    expected="the first read that shows the instance shows its tags",
    cleanup=INSTANCE,
)
def tags_of_a_new_instance(bench: Bench) -> Seen:
    """When a new instance first shows, and when it first shows its tags."""
    seen = _newcomer(bench)
    shown, tagged = seen["shown"], seen["tags"]
    return Seen(f"instance after {shown[0]} s, tags after {tagged[0]} s", shown == tagged, seen)


def _newcomer(bench: Bench) -> dict[str, Any]:
    """A new instance in three groups, watched from its launch: for each fact (seconds, status) of the first read with it."""

    def watch() -> dict[str, Any]:
        groups = [bench.keep(bench.group()) for _ in range(3)]
        instance = bench.keep(bench.instance(*groups, tags={"link-peer-selftest.watch": "x"}))
        began = bench.clock.now()
        seen: dict[str, Any] = {"instance": instance, "shown": None, "tags": None, "address": None}

        def look() -> bool:
            from link_peer_conformance.bench import address_of

            found = bench.instance_of(instance)
            now = round(bench.clock.now() - began, 1)
            if found is None:
                return False
            facts = {"shown": True, "tags": bool(found.tags and found.tags.tag), "address": bool(address_of(found))}
            for fact, true in facts.items():
                if true and seen[fact] is None:
                    seen[fact] = (now, str(found.status))
            return all(facts.values())

        bench.until(look, bool, 300)
        for fact in ("shown", "tags", "address"):
            seen[fact] = seen[fact] or (None, "")
        return seen

    found: dict[str, Any] = bench.shared("newcomer", watch)
    return found


@section.row(
    25,
    assumed="ListTagResources shows a tag of a group within 10 seconds, and pages over more than 1,000 groups",
    depends="sweeps, and events of instances, find the groups with rules by it",
    test="`aliyun ecs ListTagResources $R --ResourceType securitygroup --Tag.1.Key link-managed.prod.<home uid> --Tag.1.Value true`, and with `--NextToken` as returned; with 1,001 groups, all of them",
    expected="the group within 10 seconds (1,001 groups are left to a person)",
)
def tagged_groups_are_listed(bench: Bench) -> Seen:
    """How soon a new tag of a group is listed, and how soon it is no longer listed."""
    b = bench.group()
    tag = bench.models.ListTagResourcesRequestTag(key="link-peer-selftest.list", value=bench.run)

    def listed() -> bool:
        body = bench.sdks.ask("list_tag_resources", resource_type="securitygroup", tag=[tag])
        return any(each.resource_id == b for each in body.tag_resources.tag_resource or [])

    bench.sdks.ecs.tag("securitygroup", b, **{"link-peer-selftest.list": bench.run})
    added = bench.seconds_until(listed)
    bench.sdks.ecs.untag("securitygroup", b, "link-peer-selftest.list")
    removed = bench.seconds_until(lambda: not listed())
    text = f"listed after {added} s, gone after {removed} s"
    return Seen(text, None not in (added, removed) and max(added or 0, removed or 0) <= 10)


@section.row(
    62,
    assumed="DescribeSecurityGroupReferences shows a rule as soon as DescribeSecurityGroupAttribute does",
    depends="events find the rules that name an instance's group by it; a rule that it does not show stays until the sweep",
    test="*write B*; `aliyun ecs DescribeSecurityGroupReferences $R --SecurityGroupId.1 $A` names B; the same with B in another account",
    expected="B within 3 seconds (the other account is left to a person)",
)
def references(bench: Bench) -> Seen:
    """How soon the group that a new rule is on is listed among the references of its source."""
    a, b = bench.group(), bench.group()

    def named() -> list[tuple[str, str]]:
        body = bench.sdks.ask("describe_security_group_references", security_group_id=[a])
        return [
            (str(each.security_group_id), str(each.ali_uid))
            for entry in body.security_group_references.security_group_reference or []
            for each in entry.referencing_security_groups.referencing_security_group or []
        ]

    bench.authorize(b, {"source_group_id": a})
    seconds = bench.seconds_until(lambda: bool(named()))
    return Seen(
        f"after {seconds} s: {', '.join(f'{group} of {uid}' for group, uid in named()) or 'none'}",
        seconds is not None and seconds <= 3 and named() == [(b, bench.account)],
        {"seconds": seconds},
    )


@section.row(
    53,
    Need.INTERFACES,
    assumed="DescribeNetworkInterfaces finds an interface by its first address with `PrimaryIpAddress` or `PrivateIpAddress.1`, and by another one with `PrivateIpAddress.1`, within a VPC; the VPC's owner sees the interfaces of other accounts in it",
    depends="`address-conflict` across VPCs",
    test="`aliyun ecs DescribeNetworkInterfaces $R --VpcId <vpc> --PrivateIpAddress.1 <address> --MaxResults 10`, and with `--PrimaryIpAddress <address>`, for a primary and a secondary address; in a shared VPC as its owner and as the other account, for an address of each",
    expected="each address finds the interface in one way at least (a shared VPC is left to a person)",
    cleanup="delete the interface and the group",
)
def interfaces_by_address(bench: Bench) -> Seen:
    """An interface with two addresses, found by each of them in one way or the other."""
    made = bench.interface(bench.group(), secondary=1)
    sets = made.private_ip_sets.private_ip_set
    addresses = [(str(each.private_ip_address), bool(each.primary)) for each in sets]

    def finds(**address: Any) -> bool:
        body = bench.sdks.ask("describe_network_interfaces", vpc_id=made.vpc_id, max_results=10, **address)
        shown = body.network_interface_sets.network_interface_set or []
        return [each.network_interface_id for each in shown] == [made.network_interface_id]

    ways: dict[str, list[str]] = {}
    for address, first in addresses:
        by: dict[str, dict[str, Any]] = {
            "PrimaryIpAddress": {"primary_ip_address": address},
            "PrivateIpAddress.1": {"private_ip_address": [address]},
        }
        ways["primary" if first else "secondary"] = [name for name, asked in by.items() if finds(**asked)]
    text = ", ".join(f"{kind} by {' and '.join(found) or 'neither'}" for kind, found in sorted(ways.items()))
    return Seen(text, all(ways.values()), {"ways": ways})


@section.row(
    56,
    assumed="`RuleCount` is returned by DescribeSecurityGroups without being asked for",
    depends="groups that lost their managed tag are looked for among those with rules",
    test="#18 after *write B*",
    expected="`RuleCount` is 1",
)
def rule_count(bench: Bench) -> Seen:
    """RuleCount of a group with one rule."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, {"source_group_id": a})
    count = bench.until(lambda: bench.described(b)[0].rule_count, lambda seen: seen == 1)
    return Seen(f"RuleCount {count}", count == 1)


@section.row(
    60,
    assumed="A Describe call with one malformed id is refused as a whole with a code that names the id's field, or the id is omitted",
    depends="both are handled: the call is split, then everything is read once",
    test="#19 with `sg-` and 60 digits as the second id",
    expected="the known group, or `InvalidSecurityGroupId.Malformed`",
)
def one_malformed_id(bench: Bench) -> Seen:
    """A group that exists, and an id that is too long."""
    b = bench.group()
    ids = json.dumps([b, f"sg-{'1' * 60}"])
    found: list[str] = []

    def read() -> None:
        body = bench.sdks.ask("describe_security_groups", security_group_ids=ids, max_results=100)
        found.extend(group.security_group_id for group in body.security_groups.security_group or [])

    code = code_of(read)
    return Seen(code or f"{len(found)} group(s)", found == [b] or code == "InvalidSecurityGroupId.Malformed")


@section.row(
    75,
    assumed="DescribeSecurityGroups with PageNumber answers, or refuses with `NotSupported.PageNumberAndPageSize`",
    depends="nothing: every list is read with MaxResults and NextToken",
    test="`aliyun ecs DescribeSecurityGroups $R --PageNumber 1 --PageSize 10`",
    expected="a page with TotalCount, or that code",
    cleanup="none",
)
def page_numbers(bench: Bench) -> Seen:
    """The older way of paging."""
    totals: list[Any] = []
    code = code_of(
        lambda: totals.append(bench.sdks.ask("describe_security_groups", page_number=1, page_size=10).total_count)
    )
    answered = bool(totals) and totals[0] is not None
    return Seen(code or f"TotalCount {totals[0]}", answered or code == "NotSupported.PageNumberAndPageSize")


@section.row(
    76,
    assumed="A missing RegionId is refused with `MissingParameter.RegionId`",
    depends="nothing; the spelling is the local cloud's",
    test="`aliyun ecs DescribeSecurityGroups --region <region> --method POST --force` without RegionId",
    expected="`MissingParameter.RegionId`",
    cleanup="none",
)
def missing_region(bench: Bench) -> Seen:
    """A call without RegionId."""
    code = code_of(lambda: bench.sdks.raw("ecs", "DescribeSecurityGroups"))
    return Seen(code or "answered", code == "MissingParameter.RegionId")


@section.row(
    77,
    assumed="An unreadable NextToken is refused with `InvalidParameter.NextToken`, in some spelling",
    depends="a list whose token is refused is read again from its start",
    test="`aliyun ecs DescribeSecurityGroups $R --MaxResults 10 --NextToken nonsense`",
    expected="`InvalidParameter.NextToken` or `InValidParameter.NextToken`",
    cleanup="none",
)
def unreadable_token(bench: Bench) -> Seen:
    """A token that no list returned."""
    code = code_of(lambda: bench.sdks.ask("describe_security_groups", max_results=10, next_token="nonsense"))  # noqa: S106
    return Seen(code or "answered", code.lower() == "invalidparameter.nexttoken")


@section.row(
    74,
    assumed="AddTags, RemoveTags and DescribeTags still work for security groups, beside TagResources",
    depends="tag events may carry either name; a RAM policy on tags must deny both",
    test="`aliyun ecs AddTags $R --ResourceType securitygroup --ResourceId $B --Tag.1.Key x --Tag.1.Value y`; `DescribeTags`; `RemoveTags`",
    expected="the tag is there, then gone",
)
def older_tag_actions(bench: Bench) -> Seen:
    """A tag is added, found and removed with the older actions."""
    b, key = bench.group(), "link-peer-selftest.older"
    tag = bench.models.AddTagsRequestTag(key=key, value=bench.run)
    wanted = bench.models.DescribeTagsRequestTag(key=key, value=bench.run)
    gone = bench.models.RemoveTagsRequestTag(key=key)

    def shown() -> bool:
        body = bench.sdks.ask("describe_tags", resource_type="securitygroup", resource_id=b, tag=[wanted])
        return any(each.tag_key == key for each in body.tags.tag or [])

    steps = (
        lambda: bench.sdks.ask("add_tags", resource_type="securitygroup", resource_id=b, tag=[tag]),
        lambda: bench.sdks.ask("remove_tags", resource_type="securitygroup", resource_id=b, tag=[gone]),
    )
    seen = []
    for step, there in zip(steps, (True, False), strict=True):
        if code := code_of(step):
            return Seen(code, False)
        seen.append(bench.until(shown, lambda now, there=there: now is there))  # type: ignore[misc]
    return Seen(f"shown: {seen[0]}, then {seen[1]}", seen == [True, False])


section.by_hand(
    120,
    why="needs rules in both directions on one group",
    assumed="DescribeSecurityGroupAttribute without `Direction` gives both directions; an egress rule has its destination in `DestGroupId` or `DestCidrIp`, and the owner in `DestGroupOwnerAccount`",
    depends="`effect`",
    test="`aliyun ecs DescribeSecurityGroupAttribute $R --SecurityGroupId $B --NicType intranet` on a group with an ingress and an egress rule",
    expected="both rules, with `Direction` and these fields",
    cleanup="delete the groups",
)
section.by_hand(
    121,
    why="needs an egress rule",
    assumed="`RuleCount` counts egress rules",
    depends="`effect`: the rules of a group without any are not read",
    test="`aliyun ecs DescribeSecurityGroups $R --SecurityGroupIds '[\"$B\"]'` on a group with one egress rule only",
    expected="`RuleCount` is 1",
    cleanup="delete the groups",
)
section.by_hand(
    125,
    why="needs a shared VPC",
    assumed="DescribeVpcs shows a shared VPC to the account it is shared with, with the owner's uid",
    depends="nothing yet",
    test="`aliyun vpc DescribeVpcs --RegionId cn-qingdao` as the other account",
    expected="the VPC, with `OwnerId` of its owner",
)
