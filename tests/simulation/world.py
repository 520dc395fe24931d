"""A small in-memory cloud: it refuses what the platform refuses, and is cheap to copy.

Production code runs on it unmodified, because cloud, clock, queue and audit log are passed in. A `World` holds the
state that outlives a delivery. Each delivery accesses it through a `Run` (run.py), which counts calls and injects
faults.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from link_peer.domain.errors import CloudError
from link_peer.domain.model import PRIORITY, Group, Instance, Party, Port, Rule, RuleKey, Traffic
from link_peer.domain.tags import iso

HOME = "1000000000000001"
PEER = "1000000000000002"
REGION = "cn-qingdao"
START = 1_800_000_030.0  # 30 s into a minute: a call that is throttled until the next one is given up
SHARED_QUEUE = ""
"""The name that production code uses for the queue of its settings."""
SWEEPS = "sweeps"
"""The queue for sweeps of single accounts, in worlds that have one."""

RulesById = dict[str, Rule]
"""The rules of one group, by rule id."""


class Queued(msgspec.Struct, frozen=True):
    """A message on a queue of the home account, delivered from `due` on (epoch seconds)."""

    due: float
    queue: str
    body: bytes


class World:
    """The groups, rules and instances of both accounts, the queues and the audit log. All values in it are frozen."""

    def __init__(self) -> None:
        self.now = START
        self.groups: dict[Party, Group] = {}
        self.rules: dict[Party, RulesById] = {}
        self.previous_rules: dict[Party, RulesById] = {}  # before each group's last change, for stale reads
        self.instances: dict[Party, Instance] = {}
        self.hidden: dict[Party, float] = {}  # instances that reads omit until that time
        self.manual_rules: dict[str, Rule] = {}  # rules that a person added or edited, in the state they left them
        self.queue: list[Queued] = []
        self.records: list[dict[str, str]] = []
        self.throttled: dict[tuple[str, str], float] = {}
        self.revoked: set[str] = set()  # accounts whose role may not be assumed any more
        self.barred: dict[str, str] = {}  # accounts that throttle every call, or refuse every change
        self.isolated: set[Party] = set()  # groups with InnerAccessPolicy Drop
        self.interfaces: set[tuple[str, str, str]] = set()  # (account, vpc, ip) of interfaces beside those of instances
        self.group_rules = 20  # [doc limits] rules of a group that name a group
        self.all_rules = 200
        self.full: set[Party] = set()  # groups that refuse new rules, which no read shows beforehand
        self.partial_authorize = False  # if one permission of a call is refused, those before it are still made
        self.page = self.page_seconds = 0  # instances of a page, and how long one takes; 0: all of an account, at once
        self.sweep_queue = ""  # for sweeps of single accounts; empty: a sweep is of all accounts
        self.rules_made = 0  # for rule ids

    def copy(self) -> World:
        """An independent copy. The frozen values are shared."""
        clone = World.__new__(World)
        clone.__dict__ = {
            name: value.copy() if isinstance(value, dict | list | set) else value
            for name, value in self.__dict__.items()
        }
        clone.rules = {group: rules.copy() for group, rules in self.rules.items()}
        return clone

    # reads

    def rule_list(self, group: Party, *, stale: bool = False) -> list[Rule]:
        """The rules of a group; if `stale`, as they were before the last change."""
        if group not in self.groups:
            raise CloudError("InvalidSecurityGroupId.NotFound", "The specified SecurityGroupId does not exist.")
        by_id = self.previous_rules.get(group, {}) if stale else self.rules[group]
        return sorted(
            by_id.values(), key=lambda rule: (str(rule.key), str(rule.unmanaged_traffic), rule.priority, rule.policy)
        )

    def group(self, party: Party) -> Group:
        """A group with the number of its rules that name a group."""
        rules = self.rules[party].values()
        group_rules = sum(bool(r.key and r.key.source.startswith("sg-")) for r in rules)
        return msgspec.structs.replace(self.groups[party], group_rules=group_rules, rule_count=len(rules))

    def visible_instances(self, account: str) -> list[Instance]:
        """The instances that a read of the account returns now."""
        return [
            instance
            for party, instance in sorted(self.instances.items())
            if party.account == account and self.hidden.get(party, 0.0) <= self.now
        ]

    def address_taken(self, account: str, vpc: str, ip: str) -> bool:
        """Whether an instance or interface in the VPC, as the account sees it, has the address."""
        own_accounts = {(party.account, instance.vpc, instance.ip) for party, instance in self.instances.items()}
        return (account, vpc, ip) in own_accounts | self.interfaces

    # changes through the API, with the errors of the platform [doc ecs.md 1.2-1.12]

    def authorize(self, group: Party, rules: Sequence[tuple[RuleKey, str]], priority: int = PRIORITY) -> list[Rule]:
        """Adds rules; returns those that are new. An equal rule that exists is success, and keeps its description.

        If a permission is refused, none is made, or with `partial_authorize` only those before it.
        """
        if self.partial_authorize and len(rules) > 1:
            return [rule for rule_key in rules for rule in self.authorize(group, [rule_key], priority)]
        holder = self._writable(group)
        if len({key for key, _ in rules}) < len(rules):
            raise CloudError("InvalidParam.DuplicatePermissions", "There are duplicate permissions.")
        for key, description in rules:
            if not 1 <= len(description) <= 512:
                raise CloudError("InvalidSecurityGroupDiscription.Malformed", "The description is not valid.")
            self._check_source(holder, key)
        if len({key.is_egress for key, _ in rules}) > 1:
            raise CloudError("InvalidParam.Permissions", "One call is for one direction.")
        identities = {(rule.key, rule.policy, rule.priority) for rule in self.rules[group].values()}
        new = [(key, text) for key, text in rules if (key, "accept", priority) not in identities]
        group_rules = self.group(group).group_rules + sum(key.source.startswith("sg-") for key, _ in new)
        if new and group_rules > self.group_rules:
            raise CloudError("AuthorizedGroupRule.LimitExceed", "You have reached the limit on group rules.")
        if new and (group in self.full or len(self.rules[group]) + len(new) > self.all_rules):
            raise CloudError("AuthorizationLimitExceed", "The limit of authorization records reaches.")
        added = []
        for key, text in new:
            self.rules_made += 1
            rule_id, created = f"sgr-{self.rules_made}", iso(self.now)
            added.append(Rule(group, rule_id, key, "accept", priority, text, created))
        if added:
            self._put(group, {**self.rules[group], **{rule.id: rule for rule in added}})
        return added

    def modify(
        self, group: Party, rule_id: str, description: str, priority: int = PRIORITY, *, egress: bool = False
    ) -> Rule:
        """Changes the description and priority of a rule of one direction; returns the rule as it was."""
        self._writable(group)
        old = self.rules[group].get(rule_id)
        if old is None or old.is_egress is not egress:
            raise CloudError("InvalidSecurityGroupRuleId.NotFound", "The specified SecurityGroupRuleId is not exists.")
        if not 1 <= len(description) <= 512:
            raise CloudError("InvalidSecurityGroupDiscription.Malformed", "The description is not valid.")
        new = msgspec.structs.replace(old, description=description, priority=priority)
        if any(
            (r.key, r.policy, r.priority) == (new.key, new.policy, priority) for r in self._rules_beside(group, rule_id)
        ):
            raise CloudError("InvalidOperation.RuleDuplicate", "The rule will be duplicated with an existing rule.")
        self._put(group, {**self.rules[group], rule_id: new})
        return old

    def revoke(self, group: Party, rule_ids: Sequence[str], *, egress: bool = False) -> list[Rule]:
        """Removes rules of one direction by id; returns them. If one id does not exist, none is removed."""
        self._writable(group)
        by_id = {rule_id: rule for rule_id, rule in self.rules[group].items() if rule.is_egress is egress}
        if len(set(rule_ids)) < len(rule_ids) or not set(rule_ids) <= by_id.keys():
            raise CloudError("InvalidParam.SecurityGroupRuleId", "The SecurityGroupRuleId is not valid.")
        self._put(group, {name: rule for name, rule in self.rules[group].items() if name not in rule_ids})
        return [by_id[rule_id] for rule_id in rule_ids]

    def tag(self, group: Party, name: str, *, on: bool) -> bool:
        """Adds a tag with the value `true`, or removes it; returns whether that changed anything."""
        holder = self.groups.get(group)
        if holder is None:
            raise CloudError("InvalidResourceId.NotFound", "The specified ResourceIds are not found.")
        tags = {key: value for key, value in holder.tags.items() if key != name}
        if on:
            tags[name] = "true"
        changed = tags != holder.tags
        self.groups[group] = msgspec.structs.replace(holder, tags=tags)
        return changed

    def _put(self, group: Party, by_id: RulesById) -> None:
        self.previous_rules[group] = self.rules[group]
        self.rules[group] = by_id

    def _rules_beside(self, group: Party, rule_id: str) -> list[Rule]:
        return [rule for rule in self.rules[group].values() if rule.id != rule_id]

    def _writable(self, group: Party) -> Group:
        holder = self.groups.get(group)
        if holder is None:
            raise CloudError("InvalidSecurityGroupId.NotFound", "The specified SecurityGroupId does not exist.")
        if holder.managed:
            raise CloudError("InvalidOperation.ResourceManagedByCloudProduct", "The group is managed.")
        return holder

    def _check_source(self, holder: Group, key: RuleKey) -> None:
        if key.is_egress and not key.dest.endswith("/32"):
            raise CloudError("InvalidDestCidrIp.Malformed", "The specified parameter DestCidrIp is not valid.")
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

    # what people do, outside link-peer

    def add_group(self, account: str, name: str, accept: str = "", egress: str = "", **fields: object) -> Party:
        party = Party(account, f"sg-{name}")
        tags = {key: value for key, value in (("link-accept", accept), ("link-egress", egress)) if value}
        self.groups[party] = Group(party, **{"vpc": "vpc-1", "tags": tags, **fields})  # type: ignore[arg-type]
        self.rules[party] = {}
        self.previous_rules[party] = {}
        return party

    def add_instance(self, account: str, name: str, *groups: Party, peer: str = "", **fields: object) -> Party:
        party = Party(account, f"i-{name}")
        tags = {"link-peer": peer} if peer else {}
        base = {"vpc": "vpc-1", "groups": tuple(g.id for g in groups), "ip": f"10.0.0.{len(self.instances) + 1}"}
        self.instances[party] = Instance(party, **{**base, "tags": tags, **fields})  # type: ignore[arg-type]
        return party

    def set_tag(self, party: Party, name: str, value: str | None) -> None:
        """Sets a tag of a group or an instance, or removes it if `value` is None."""
        holders: dict[Party, Group] | dict[Party, Instance] = self.groups if party.is_group else self.instances
        thing = holders[party]
        tags = {key: text for key, text in thing.tags.items() if key != name}
        if value is not None:
            tags[name] = value
        holders[party] = msgspec.structs.replace(thing, tags=tags)  # type: ignore[index, assignment]

    def add_manual_rule(
        self, key: RuleKey, description: str = "by hand", priority: int = 1, policy: str = "accept"
    ) -> str:
        """Adds a rule as a person does in the console; returns its id."""
        self.rules_made += 1
        rule = Rule(key.group, f"sgr-{self.rules_made}", key, policy, priority, description, iso(self.now))
        self._put(key.group, {**self.rules[key.group], rule.id: rule})
        self.manual_rules[rule.id] = rule
        return rule.id

    def let_out(self, group: Party, port: Port) -> None:
        """Adds a rule by which a person lets the group's instances reach every address, unless it is there."""
        wide = Traffic("egress", "0.0.0.0/0", "", port)
        if not any(rule.unmanaged_traffic == wide for rule in self.rules[group].values()):
            self.rules_made += 1
            rule = Rule(group, f"sgr-{self.rules_made}", None, "accept", 1, "by hand", iso(self.now), wide)
            self._put(group, {**self.rules[group], rule.id: rule})
            self.manual_rules[rule.id] = rule

    def forge(self, key: RuleKey, marker: str) -> None:
        """Adds a rule with a valid marker of ours, as anyone may who can write rules. From then on it is a rule of
        ours."""
        equal = any((r.key, r.priority, r.policy) == (key, PRIORITY, "accept") for r in self.rules[key.group].values())
        if not equal:
            self.manual_rules.pop(self.add_manual_rule(key, marker, PRIORITY))

    def strip_tags(self, group: Party) -> None:
        """Removes every tag but consent, as Terraform does with tags that its configuration does not name."""
        accept_tags = {
            key: text for key, text in self.groups[group].tags.items() if key.startswith(("link-accept", "link-egress"))
        }
        self.groups[group] = msgspec.structs.replace(self.groups[group], tags=accept_tags)

    def send(self, body: bytes, queue: str = SHARED_QUEUE, delay: float = 0) -> None:
        """Puts a message on a queue."""
        self.queue.append(Queued(self.now + delay, queue, body))

    def delete_manually(self, group: Party, rule_id: str) -> None:
        """Deletes a rule as a person does, no matter who made it."""
        self._put(group, {r: rule for r, rule in self.rules[group].items() if r != rule_id})
        self.manual_rules.pop(rule_id, None)

    def edit_manually(self, group: Party, rule_id: str, description: str) -> None:
        """Replaces the description of a rule, which makes it a manual rule; "strengthen" sets priority 1 instead."""
        old = self.rules[group][rule_id]
        if description == "strengthen":
            new = msgspec.structs.replace(old, priority=1)
        else:
            new = msgspec.structs.replace(old, description=description)
        if any(
            (r.key, r.policy, r.priority) == (new.key, new.policy, new.priority)
            for r in self._rules_beside(group, rule_id)
        ):
            return  # the platform refuses a duplicate
        self._put(group, {**self.rules[group], rule_id: new})
        if description != "strengthen" or rule_id in self.manual_rules:
            self.manual_rules[rule_id] = new
