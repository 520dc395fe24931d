"""In which form rules, tags and instances are read back: what the local cloud answers because captures of the real one do."""

from __future__ import annotations

import json

import pytest

from aliyun_conformance.bench import Bench
from aliyun_conformance.question import Need, NotAnswered


@pytest.mark.real_cloud(63, expected="empty, or the own uid")
def test_owner_of_an_own_group(bench: Bench) -> None:
    """`SourceGroupOwnerAccount` of a group of the same account is empty or the account's own uid."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, {"source_group_id": a})
    owner = str(bench.only_rule(b).source_group_owner_account or "")
    bench.saw("empty" if not owner else f"{owner}", {"empty": not owner})
    assert owner in ("", bench.account)


@pytest.mark.real_cloud(64, expected="`-1/-1` for ALL and ICMP")
def test_source_port_range(bench: Bench) -> None:
    """`SourcePortRange` reads back as `-1/-1` on ALL and ICMP rules."""
    a, b = bench.group(), bench.group()
    every = {"source_group_id": a, "port_range": "-1/-1"}
    bench.authorize(b, {**every, "ip_protocol": "ALL"}, {**every, "ip_protocol": "ICMP"}, {"source_group_id": a})
    ports_by_protocol = {str(rule.ip_protocol).upper(): rule.source_port_range or "" for rule in bench.rules(b, 3)}
    bench.saw(
        ", ".join(f"{protocol} {ports!r}" for protocol, ports in sorted(ports_by_protocol.items())), ports_by_protocol
    )
    assert (ports_by_protocol.get("ALL"), ports_by_protocol.get("ICMP")) == ("-1/-1", "-1/-1")


@pytest.mark.real_cloud(65, expected="`10.0.0.1`, no `/32`")
def test_bare_source_address(bench: Bench) -> None:
    """A source address without a mask reads back without one."""
    b = bench.group()
    bench.authorize(b, {"source_cidr_ip": "10.0.0.1"})
    assert bench.only_rule(b).source_cidr_ip == "10.0.0.1"


@pytest.mark.real_cloud(66, Need.INSTANCES, expected="no `Tags` key", cleanup="release the instance, delete the group")
def test_untagged_instance(bench: Bench) -> None:
    """An instance without tags has no `Tags` key at all."""
    # its tags are removed for a moment
    instance = bench.instance(bench.group())
    bench.until(lambda: bench.instance_of(instance), bool)
    tags = [tag.tag_key for tag in bench.instance_of(instance).tags.tag]
    bench.sdks.ecs.untag("instance", instance, *tags)
    bench.until(lambda: _raw(bench, instance), lambda raw: not _tags(raw))
    raw = _raw(bench, instance)
    bench.sdks.ecs.tag("instance", instance, **{"cloud-selftest.run": bench.run})
    if _tags(raw):
        raise NotAnswered("the tags are still shown")
    assert "Tags" not in raw, f"Tags is {json.dumps(raw['Tags'])}"


def _raw(bench: Bench, instance: str) -> dict[str, object]:
    answer = bench.sdks.raw(
        "ecs", "DescribeInstances", RegionId=bench.region, InstanceIds=json.dumps([instance]), MaxResults="10"
    )
    instances = answer["Instances"]["Instance"]
    if not instances:
        raise NotAnswered(f"{instance} is not shown")
    description: dict[str, object] = instances[0]
    return description


def _tags(raw: dict[str, object]) -> list[object]:
    tags = raw.get("Tags")
    return list(tags.get("Tag", [])) if isinstance(tags, dict) else []


@pytest.mark.real_cloud(
    67, Need.INSTANCES, expected="`EipAddress` comes first", cleanup="release the instance, delete the group"
)
def test_order_of_keys(bench: Bench) -> None:
    """DescribeInstances has `EipAddress` before `PublicIpAddress`."""
    instance = bench.instance(bench.group())
    bench.until(lambda: bench.instance_of(instance), bool)
    keys = list(_raw(bench, instance))
    if not {"EipAddress", "PublicIpAddress"} <= set(keys):
        raise NotAnswered("one of the two keys is absent")
    bench.saw(f"{min(('EipAddress', 'PublicIpAddress'), key=keys.index)} first", {"keys": keys})
    assert keys.index("EipAddress") < keys.index("PublicIpAddress")
