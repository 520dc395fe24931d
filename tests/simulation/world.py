"""A cloud in plain dicts: strict like the platform, cheap to copy, with a fault at any call of a delivery.

Production code runs on it unmodified through the seams it has anyway: cloud, clock, queue and audit are passed in. A world
holds what outlives a delivery; a `Run` (see run.py) is one delivery's way to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from link_peer.alicloud.ecs import PRIORITY, managed_tag
from link_peer.domain.errors import CloudError
from link_peer.domain.model import Group, Instance, Party, Rule, RuleKey

HOME = "1000000000000001"
PEER = "1000000000000002"
REGION = "cn-qingdao"
START = 1_800_000_030.0  # half past a minute: a throttled call can still wait for the minute's turn

Standing = dict[str, Rule]  # the rules of a group, by rule id


class World:
    """Both accounts' groups, rules and instances, the queue and the audit log. Values in it are frozen."""

    def __init__(self) -> None:
        self.now = START
        self.groups: dict[Party, Group] = {}
        self.rules: dict[Party, Standing] = {}
        self.before: dict[Party, Standing] = {}  # each group's rules before their last change: what a stale read shows
        self.instances: dict[Party, Instance] = {}
        self.hidden: dict[Party, float] = {}  # instances that reads do not show before that time
        self.human: dict[str, Rule] = {}  # rules that a person made or took over, as they left them
        self.queue: list[bytes] = []
        self.records: list[dict[str, str]] = []
        self.throttled: dict[tuple[str, str], float] = {}
        self.group_rules = 20  # [doc limits] rules of a group that name a group
        self.all_rules = 200
        self.full: set[Party] = set()  # groups that take no further rule, which no read tells beforehand
        self.one_by_one = False  # a call of several permissions is made in part, where one of them is refused
        self.made = 0

    def copy(self) -> World:
        other = World.__new__(World)
        other.__dict__ = {
            name: value.copy() if isinstance(value, dict | list | set) else value
            for name, value in self.__dict__.items()
        }
        other.rules = {group: standing.copy() for group, standing in self.rules.items()}
        return other

    # what is there

    def rule_list(self, group: Party, *, stale: bool = False) -> list[Rule]:
        if group not in self.groups:
            raise CloudError("InvalidSecurityGroupId.NotFound", "The specified SecurityGroupId does not exist.")
        standing = self.before.get(group, {}) if stale else self.rules[group]
        return sorted(standing.values(), key=lambda rule: (str(rule.key), rule.priority, rule.policy))

    def group(self, party: Party) -> Group:
        named = sum(bool(r.key and r.key.source.startswith("sg-")) for r in self.rules[party].values())
        return msgspec.structs.replace(self.groups[party], group_rules=named)

    def shown(self, account: str) -> list[Instance]:
        return [
            instance
            for party, instance in sorted(self.instances.items())
            if party.account == account and self.hidden.get(party, 0.0) <= self.now
        ]

    # changes, as the platform makes and refuses them [doc ecs.md 1.2-1.12]

    def authorize(self, group: Party, rules: Sequence[tuple[RuleKey, str]], priority: int = PRIORITY) -> list[Rule]:
        """One bad permission writes none, or those before it. A rule that stands already is success, and keeps its
        description."""
        if self.one_by_one and len(rules) > 1:
            return [rule for one in rules for rule in self.authorize(group, [one], priority)]
        holder = self._writable(group)
        if len({key for key, _ in rules}) < len(rules):
            raise CloudError("InvalidParam.DuplicatePermissions", "There are duplicate permissions.")
        for key, description in rules:
            if not 1 <= len(description) <= 512:
                raise CloudError("InvalidSecurityGroupDiscription.Malformed", "The description is not valid.")
            self._check_source(holder, key)
        identities = {(rule.key, rule.policy, rule.priority) for rule in self.rules[group].values()}
        new = [(key, text) for key, text in rules if (key, "accept", priority) not in identities]
        named = self.group(group).group_rules + sum(key.source.startswith("sg-") for key, _ in new)
        if new and named > self.group_rules:
            raise CloudError("AuthorizedGroupRule.LimitExceed", "You have reached the limit on group rules.")
        if new and (group in self.full or len(self.rules[group]) + len(new) > self.all_rules):
            raise CloudError("AuthorizationLimitExceed", "The limit of authorization records reaches.")
        added = []
        for key, text in new:
            self.made += 1
            added.append(Rule(group, f"sgr-{self.made}", key, "accept", priority, text))
        if added:
            self._put(group, {**self.rules[group], **{rule.id: rule for rule in added}})
        return added

    def modify(self, group: Party, rule_id: str, description: str, priority: int = PRIORITY) -> Rule:
        self._writable(group)
        old = self.rules[group].get(rule_id)
        if old is None:
            raise CloudError("InvalidSecurityGroupRuleId.NotFound", "The specified SecurityGroupRuleId is not exists.")
        if not 1 <= len(description) <= 512:
            raise CloudError("InvalidSecurityGroupDiscription.Malformed", "The description is not valid.")
        new = msgspec.structs.replace(old, description=description, priority=priority)
        if any((r.key, r.policy, r.priority) == (new.key, new.policy, priority) for r in self._others(group, rule_id)):
            raise CloudError("InvalidOperation.RuleDuplicate", "The rule will be duplicated with an existing rule.")
        self._put(group, {**self.rules[group], rule_id: new})
        return old

    def revoke(self, group: Party, rule_ids: Sequence[str]) -> list[Rule]:
        """By id: one that is not there is an error, and nothing goes."""
        self._writable(group)
        standing = self.rules[group]
        if len(set(rule_ids)) < len(rule_ids) or not set(rule_ids) <= standing.keys():
            raise CloudError("InvalidParam.SecurityGroupRuleId", "The SecurityGroupRuleId is not valid.")
        self._put(group, {rule_id: rule for rule_id, rule in standing.items() if rule_id not in rule_ids})
        return [standing[rule_id] for rule_id in rule_ids]

    def tag(self, group: Party, deployment: str, *, on: bool) -> bool:
        """Sets or takes off the managed tag; whether that changed anything."""
        holder = self.groups.get(group)
        if holder is None:
            raise CloudError("InvalidResourceId.NotFound", "The specified ResourceIds are not found.")
        name = managed_tag(deployment)
        tags = {key: value for key, value in holder.tags.items() if key != name}
        if on:
            tags[name] = "true"
        changed = tags != holder.tags
        self.groups[group] = msgspec.structs.replace(holder, tags=tags)
        return changed

    def _put(self, group: Party, standing: Standing) -> None:
        self.before[group] = self.rules[group]
        self.rules[group] = standing

    def _others(self, group: Party, rule_id: str) -> list[Rule]:
        return [rule for rule in self.rules[group].values() if rule.id != rule_id]

    def _writable(self, group: Party) -> Group:
        holder = self.groups.get(group)
        if holder is None:
            raise CloudError("InvalidSecurityGroupId.NotFound", "The specified SecurityGroupId does not exist.")
        if holder.managed:
            raise CloudError("InvalidOperation.ResourceManagedByCloudProduct", "The group is managed.")
        return holder

    def _check_source(self, holder: Group, key: RuleKey) -> None:
        if not key.source.startswith("sg-"):
            return
        if holder.advanced:
            raise CloudError("InvalidGroupParameter.OperationDenied", "Enterprise groups take no group source.")
        name, _, owner = key.source.partition("@")
        source = self.groups.get(Party(owner, name))
        if source is None:
            raise CloudError("InvalidSourceGroupId.NotFound", "The SourceGroupId does not exist in our records.")
        if source.party == holder.party:
            raise CloudError("InvalidParamter.Conflict", "SecurityGroupId should differ from SourceGroupId.")
        if source.managed:
            raise CloudError("InvalidOperation.ResourceManagedByCloudProduct", "The group is managed.")
        if source.advanced:
            raise CloudError("InvalidGroupAuthParameter.OperationDenied", "The source is an enterprise group.")
        if source.vpc != holder.vpc:
            raise CloudError("InvalidSourceGroupId.Mismatch", "The groups are not in the same VPC.")

    # what people do

    def add_group(self, account: str, name: str, accept: str = "", **fields: object) -> Party:
        party = Party(account, f"sg-{name}")
        tags = {"link-accept": accept} if accept else {}
        self.groups[party] = Group(party, **{"vpc": "vpc-1", "tags": tags, **fields})  # type: ignore[arg-type]
        self.rules[party] = {}
        self.before[party] = {}
        return party

    def add_instance(self, account: str, name: str, *groups: Party, peer: str = "", **fields: object) -> Party:
        party = Party(account, f"i-{name}")
        tags = {"link-peer": peer} if peer else {}
        base = {"vpc": "vpc-1", "groups": tuple(g.id for g in groups), "ip": f"10.0.0.{len(self.instances) + 1}"}
        self.instances[party] = Instance(party, **{**base, "tags": tags, **fields})  # type: ignore[arg-type]
        return party

    def set_tag(self, party: Party, name: str, value: str | None) -> None:
        """A person tags a group or an instance, or takes a tag off."""
        holders: dict[Party, Group] | dict[Party, Instance] = self.groups if party.is_group else self.instances
        thing = holders[party]
        tags = {key: text for key, text in thing.tags.items() if key != name}
        if value is not None:
            tags[name] = value
        holders[party] = msgspec.structs.replace(thing, tags=tags)  # type: ignore[index, assignment]

    def hand_rule(self, key: RuleKey, description: str = "by hand", priority: int = 1, policy: str = "accept") -> str:
        """A rule that a person makes."""
        self.made += 1
        rule = Rule(key.group, f"sgr-{self.made}", key, policy, priority, description)
        self._put(key.group, {**self.rules[key.group], rule.id: rule})
        self.human[rule.id] = rule
        return rule.id

    def hand_delete(self, group: Party, rule_id: str) -> None:
        self._put(group, {r: rule for r, rule in self.rules[group].items() if r != rule_id})
        self.human.pop(rule_id, None)

    def hand_edit(self, group: Party, rule_id: str, description: str) -> None:
        """A person writes another description, which makes the rule theirs; `strengthen` gives it another priority."""
        old = self.rules[group][rule_id]
        if description == "strengthen":
            new = msgspec.structs.replace(old, priority=1)
        else:
            new = msgspec.structs.replace(old, description=description)
        if any(
            (r.key, r.policy, r.priority) == (new.key, new.policy, new.priority) for r in self._others(group, rule_id)
        ):
            return  # the platform refuses a duplicate
        self._put(group, {**self.rules[group], rule_id: new})
        if description != "strengthen" or rule_id in self.human:
            self.human[rule_id] = new
