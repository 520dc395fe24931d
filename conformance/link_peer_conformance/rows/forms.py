"""In which form rules, tags and instances are read back: what the local cloud answers because captures of the real one do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from link_peer_conformance.model import Need, NotAnswered, Section, Seen

if TYPE_CHECKING:
    from link_peer_conformance.bench import Bench

section = Section("Forms of answers")


@section.row(
    63,
    assumed="`SourceGroupOwnerAccount` of a group of the same account is empty or the account's own uid",
    depends="the marker's id is recomputed from it; both are read as home",
    test="*write B*; *read B*",
    expected="empty, or the own uid",
)
def owner_of_an_own_group(bench: Bench) -> Seen:
    """The owner of a source group of the same account."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, {"source_group_id": a})
    owner = str(bench.only_rule(b).source_group_owner_account or "")
    return Seen("empty" if not owner else f"{owner}", owner in ("", bench.account), {"empty": not owner})


@section.row(
    64,
    assumed="`SourcePortRange` reads back as `-1/-1` on ALL and ICMP rules",
    depends="such a rule still counts as ours, and as equal to the one that was asked for",
    test="*write B* with `--Permissions.1.IpProtocol ALL --Permissions.1.PortRange -1/-1`, with ICMP, and with TCP; *read B*",
    expected="`-1/-1` for ALL and ICMP",
)
def source_port_range(bench: Bench) -> Seen:
    """SourcePortRange of three rules that did not give any."""
    a, b = bench.group(), bench.group()
    every = {"source_group_id": a, "port_range": "-1/-1"}
    bench.authorize(b, {**every, "ip_protocol": "ALL"}, {**every, "ip_protocol": "ICMP"}, {"source_group_id": a})
    shown = {str(rule.ip_protocol).upper(): rule.source_port_range or "" for rule in bench.rules(b, 3)}
    text = ", ".join(f"{protocol} {ports!r}" for protocol, ports in sorted(shown.items()))
    return Seen(text, (shown.get("ALL"), shown.get("ICMP")) == ("-1/-1", "-1/-1"), shown)


@section.row(
    65,
    assumed="A source address without a mask reads back without one",
    depends="a person's rule with a bare address counts as equal to ours with `/32`",
    test="*write B* with `--Permissions.1.SourceCidrIp 10.0.0.1`; *read B*",
    expected="`10.0.0.1`, no `/32`",
)
def bare_source_address(bench: Bench) -> Seen:
    """SourceCidrIp of a rule that was written with a bare address."""
    b = bench.group()
    bench.authorize(b, {"source_cidr_ip": "10.0.0.1"})
    shown = str(bench.only_rule(b).source_cidr_ip)
    return Seen(shown, shown == "10.0.0.1")


@section.row(
    66,
    Need.INSTANCES,
    assumed="An instance without tags has no `Tags` key at all",
    depends="an absent key means no tags, not an unread resource",
    test="untag an instance: `aliyun ecs UntagResources $R --ResourceType instance --ResourceId.1 $I --All true`; `DescribeInstances`",
    expected="no `Tags` key",
    cleanup="release the instance, delete the group",
)
def untagged_instance(bench: Bench) -> Seen:
    """The raw answer for an instance whose tags were removed for a moment."""
    instance = bench.instance(bench.group())
    bench.until(lambda: bench.instance_of(instance), bool)
    tags = [tag.tag_key for tag in bench.instance_of(instance).tags.tag]
    bench.sdks.ecs.untag("instance", instance, *tags)
    bench.until(lambda: _raw(bench, instance), lambda raw: not _tags(raw))
    raw = _raw(bench, instance)
    bench.sdks.ecs.tag("instance", instance, **{"link-peer-selftest.run": bench.run})
    if _tags(raw):
        raise NotAnswered("the tags are still shown")
    text = "no Tags key" if "Tags" not in raw else f"Tags is {json.dumps(raw['Tags'])}"
    return Seen(text, "Tags" not in raw)


def _raw(bench: Bench, instance: str) -> dict[str, object]:
    answer = bench.sdks.raw(
        "ecs", "DescribeInstances", RegionId=bench.region, InstanceIds=json.dumps([instance]), MaxResults="10"
    )
    found = answer["Instances"]["Instance"]
    if not found:
        raise NotAnswered(f"{instance} is not shown")
    shown: dict[str, object] = found[0]
    return shown


def _tags(raw: dict[str, object]) -> list[object]:
    tags = raw.get("Tags")
    return list(tags.get("Tag", [])) if isinstance(tags, dict) else []


@section.row(
    67,
    Need.INSTANCES,
    assumed="DescribeInstances has `EipAddress` before `PublicIpAddress`",
    depends="nothing of ours: Alibaba's older SDKs recurse without end otherwise, so the local cloud keeps the order",
    test="`aliyun ecs DescribeInstances $R --InstanceIds '[\"i-…\"]'`",
    expected="`EipAddress` comes first",
    cleanup="release the instance, delete the group",
)
def order_of_keys(bench: Bench) -> Seen:
    """The order of two keys in the raw answer."""
    instance = bench.instance(bench.group())
    bench.until(lambda: bench.instance_of(instance), bool)
    keys = list(_raw(bench, instance))
    if not {"EipAddress", "PublicIpAddress"} <= set(keys):
        raise NotAnswered("one of the two keys is absent")
    first = min(("EipAddress", "PublicIpAddress"), key=keys.index)
    return Seen(f"{first} first", first == "EipAddress", {"keys": keys})
