"""What the store keeps over time and in order: lagging reads, tags and addresses that appear late, and positions in a
list."""

from __future__ import annotations

from itertools import islice

import pytest

from aliyun_local.cloud import LocalCloud
from aliyun_local.ecs.history import History, Ordered
from clients import HOME, ask
from ecs_helpers import authorize, client, instances, new_group, permission, rules, run_instances


def test_reads_of_rules_lag_behind_writes(local_cloud: LocalCloud) -> None:
    """A new rule is not shown yet and a revoked one still is; writes see the actual state."""
    ecs = client(local_cloud)
    app, db = new_group(ecs), new_group(ecs)
    local_cloud.ecs.read_lag.rules = 5
    local_cloud.clock.sleep(10)

    def counted() -> tuple[int, int]:
        """The rules of the group as the list of groups shows them, and the groups whose rules name the other."""
        (group_shown,) = ask(ecs, "DescribeSecurityGroups", security_group_id=db).security_groups.security_group
        naming = ask(ecs, "DescribeSecurityGroupReferences", security_group_id=[app]).security_group_references
        return group_shown.rule_count, len(naming.security_group_reference)

    authorize(ecs, db, permission(source_group_id=app))
    assert (rules(ecs, db), counted()) == ([], (0, 0))
    authorize(ecs, db, permission(source_group_id=app))
    local_cloud.clock.sleep(5)
    assert counted() == (1, 1)
    (rule,) = rules(ecs, db)
    ask(ecs, "RevokeSecurityGroup", security_group_id=db, security_group_rule_id=[rule.security_group_rule_id])
    assert len(rules(ecs, db)) == 1
    local_cloud.clock.sleep(5)
    assert (rules(ecs, db), counted()) == ([], (0, 0))


def test_instances_and_tags_lag_independently(local_cloud: LocalCloud) -> None:
    """An instance may be missing, present without its tags, or still listed after its release."""
    ecs = client(local_cloud)
    group = new_group(ecs)
    local_cloud.ecs.read_lag.instances, local_cloud.ecs.read_lag.tags = 3, 6
    instance_id = local_cloud.ecs.create_instance(HOME, [group], tags={"wants": "sg-db"}).id
    assert instances(ecs) == []
    local_cloud.clock.sleep(3)
    assert [instance.tags for instance in instances(ecs)] == [None]
    local_cloud.clock.sleep(3)
    assert [instance.tags.tag[0].tag_key for instance in instances(ecs)] == ["wants"]
    ask(ecs, "DeleteInstance", instance_id=instance_id, force=True)
    assert [instance.instance_id for instance in instances(ecs)] == [instance_id]
    local_cloud.clock.sleep(3)
    assert instances(ecs) == []


def test_tags_and_addresses_may_appear_after_the_instance(local_cloud: LocalCloud) -> None:
    """Tags of RunInstances after `tag_delay`, the private address after `ip_delay`; tags set meanwhile are kept."""
    ecs, backend = client(local_cloud), local_cloud.ecs
    backend.tag_delay, backend.ip_delay = 4, 8
    tags = [{"key": "a", "value": "1"}], [{"key": "b", "value": "2"}]
    (instance_id,) = run_instances(ecs, new_group(ecs), backend.default_vpc(HOME).vswitch_id, tag=tags[0])
    ask(ecs, "TagResources", resource_type="instance", resource_id=[instance_id], tag=tags[1])

    def tags_and_addresses() -> tuple[set[str], list[str]]:
        (instance,) = instances(ecs)
        return {tag.tag_key for tag in instance.tags.tag}, instance.vpc_attributes.private_ip_address.ip_address

    assert tags_and_addresses() == ({"b"}, [])
    local_cloud.clock.sleep(4)
    assert tags_and_addresses() == ({"a", "b"}, [])
    local_cloud.clock.sleep(4)
    assert tags_and_addresses() == ({"a", "b"}, ["10.0.0.1"])


@pytest.mark.parametrize(
    ("when", "value"), [(0, ""), (1, "a"), (2, "a"), (3, "ab"), (5, "abd"), (6, "abdc"), (9, "abdc")]
)
def test_a_change_made_before_a_planned_one_is_kept_by_it(when: float, value: str) -> None:
    """A change applies to the value at its time and to values planned for later."""
    history = History("")
    history.change(1, lambda old: old + "a")
    history.change(3, lambda old: old + "b")
    history.change(6, lambda old: old + "c")
    history.change(5, lambda old: old.replace("c", "") + ("dc" if "c" in old else "d"))
    assert history.at(when) == value


def test_the_past_beyond_an_hour_is_forgotten() -> None:
    """Older reads return the value just before the horizon."""
    history = History(0)
    for second in (1, 2, 3, 4000, 8000):
        history.change(second, lambda old: old + 1)
    assert [history.at(second) for second in (0, 2, 4100, 8000)] == [4, 4, 4, 5]


def test_a_page_reads_only_its_own_values() -> None:
    """Of resources in a fixed order: whatever the position, and however many there are."""
    ordered = Ordered[int](lambda value: value)
    ordered.update((f"n{value}", value) for value in range(1000))
    read: list[int] = []
    page = islice((read.append(value) or value for value in ordered.descending(500)), 10)
    assert list(page) == read == list(range(500, 490, -1))
