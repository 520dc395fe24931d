"""The ECS of a dry run: what was changed is shown by later reads, and listed."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from link_peer.domain.model import PRIORITY, Group, Instance, Party, Rule, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.runtime.ports import Cloud, Ecs
from link_peer.runtime.settings import Credentials

from link_peer_cli.access.roles import PersonsAccounts
from link_peer_cli.answers import CloudCall
from link_peer_cli.review.edits import GroupChange, net
from link_peer_cli.review.writes import Place, Write, place_of
from link_peer_cli.ui import aliyun

READS = frozenset(
    {"instances", "members", "instance_page", "shows_instances", "groups", "all_groups", "tagged_groups", "references"}
    | {"rules", "inner_access", "addresses_taken", "instances_of"}
)


class Reads:
    """The reading half of an `Ecs`, from a real one."""

    def __init__(self, real: Ecs) -> None:
        self.account = real.account
        self._real = real

    def __getattr__(self, name: str) -> Any:
        if name not in READS:
            raise AttributeError(name)
        return getattr(self._real, name)


NEW = "new-"
"""How the id of a rule begins that only the dry run has."""


class ShownRules:
    """What the groups of one account showed when they were first read: their tags, by group, and their rules; the
    instances that were read by their ids; and the pages of the listing, where two things are supposed."""

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self.instances: dict[str, Instance] = {}
        self.rules: dict[str, list[Rule]] = {}
        self.pages: dict[tuple[str, str], tuple[list[Instance], str]] = {}


class WhatIf:
    """A `Cloud` that reads from a real one. `changes` are the calls that would have been made, in order; `writes` are
    the same, one for each rule and each group's tags.

    A group and its rules are read once: nothing is written, so no write needs another look, and what is supposed is
    compared with one state. `caches` is what another one has read, by account, to suppose two things of the same state.
    """

    def __init__(self, cloud: PersonsAccounts, region: str, caches: dict[str, ShownRules] | None = None) -> None:
        self._cloud = cloud
        self._region = region
        self.caches: dict[str, ShownRules] = {} if caches is None else caches
        self.again = caches is not None
        self._clients: dict[str, _WhatIfEcs] = {}
        self.calls: Counter[str] = cloud.calls
        self.changes: list[CloudCall] = []
        self.writes: list[Write] = []

    def ecs(self, account: str) -> Ecs:
        """Return the ECS of an account, with the changes made so far."""
        if account not in self._clients:
            cache = self.caches.setdefault(account, ShownRules())
            self._clients[account] = _WhatIfEcs(self._cloud.ecs(account), self._region, self, cache)
        return cast(Ecs, self._clients[account])

    def changed_groups(self) -> list[GroupChange]:
        """What is different in each group from what was read of it, by group. A rule that was added and removed again
        is not."""
        changes = [change for ecs in self._clients.values() for change in ecs.changed_groups()]
        return sorted(changes, key=lambda change: change.group)

    def rules(self, *, before: bool = False) -> dict[Party, tuple[Rule, ...]]:
        """The rules of each group of which they were read, with the changes made so far, or as they were `before`.
        Reads nothing."""
        rules_by_group: dict[Party, tuple[Rule, ...]] = {}
        for account, cache in self.caches.items():
            changed = self._clients[account].changed_rules if account in self._clients and not before else {}
            rules_by_group |= {
                Party(account, group): tuple(rules) for group, rules in {**cache.rules, **changed}.items()
            }
        return rules_by_group

    def before(self, snapshot: Snapshot) -> Snapshot:
        """What was read, with the rules as they were before the changes."""
        return msgspec.structs.replace(snapshot, rules={**snapshot.rules, **self.rules(before=True)})

    def identity(self, account: str) -> tuple[str, str]:
        """Return the (account uid, ARN) of the caller that reads an account."""
        return self._cloud.identity(account)

    def keys(self, account: str) -> Credentials:
        """Return the keys that read an account. Raises NoAccess if it cannot be entered."""
        return self._cloud.keys(account)


class _WhatIfEcs(Reads):
    def __init__(self, real: Ecs, region: str, all_: WhatIf, cache: ShownRules) -> None:
        super().__init__(real)
        self._cache = cache
        self._region = region
        self._changes, self._writes = all_.changes, all_.writes
        self._again = all_.again
        self._new = itertools.count()
        self.changed_rules: dict[str, list[Rule]] = {}
        self._before: dict[str, list[Rule]] = {}
        self._tags: dict[str, dict[str, bool]] = {}  # by group: each changed tag, and whether it is set

    def changed_groups(self) -> list[GroupChange]:
        """What is different in each group."""
        changes = []
        for group in dict.fromkeys([*self.changed_rules, *self._tags]):
            edits = net(self._before.get(group, []), self.changed_rules.get(group, []))
            tags = tuple(("+" if is_set else "-", name) for name, is_set in self._tags.get(group, {}).items())
            if edits or tags:
                changes.append(GroupChange(Party(self.account, group), tuple(edits), tags))
        return changes

    def instances(self, ids: Sequence[str]) -> list[Instance]:
        instances = self._real.instances(ids)
        self._cache.instances.update((instance.party.id, instance) for instance in instances)
        return instances

    def instance_page(self, token: str = "", group: str = "") -> tuple[list[Instance], str]:
        pages, page_key = self._cache.pages if self._again else {}, (token, group)
        if page_key not in pages:
            pages[page_key] = self._real.instance_page(*page_key)
        return pages[page_key]

    def groups(self, ids: Sequence[str]) -> list[Group]:
        cached_groups = self._cache.groups
        if new := [group for group in ids if group not in cached_groups]:
            cached_groups.update((group.party.id, group) for group in self._real.groups(new))
        return [self._tagged(cached_groups[group]) for group in dict.fromkeys(ids) if group in cached_groups]

    def all_groups(self) -> list[Group]:
        groups = self._real.all_groups()
        for group in groups:
            self._cache.groups.setdefault(group.party.id, group)
        return [self._tagged(self._cache.groups[group.party.id]) for group in groups]

    def tagged_groups(self, tag: str) -> list[Group]:
        by_id = {group.party.id: self._tagged(group) for group in self._real.tagged_groups(tag)}
        by_id |= {group.party.id: group for group in self.groups([*self._tags])}
        return [group for group in by_id.values() if group.tags.get(tag) == "true"]

    def references(self, groups: Sequence[str]) -> list[Party]:
        sources = {str(Party(self.account, group)) for group in groups}
        new = [
            rule.group
            for rules in self.changed_rules.values()
            for rule in rules
            if rule.key and rule.key.source in sources
        ]
        return list(dict.fromkeys([*self._real.references(groups), *new]))

    def rules(self, group: str) -> list[Rule]:
        if group in self.changed_rules:
            return list(self.changed_rules[group])
        if group not in self._cache.rules:
            self._cache.rules[group] = self._real.rules(group)
        return list(self._cache.rules[group])

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]], *, advanced: bool = False) -> str:
        standing = self._to_change(group)
        for key, description in rules:
            new = f"{NEW}{next(self._new)}"
            standing.append(Rule(Party(self.account, group), new, key, "accept", PRIORITY, description))
            self._writes.append(Write("authorize", self.account, group, "", place_of(key), "", description))
        self.changed_rules[group] = standing
        return self._note(aliyun.authorize(self._region, self.account, group, rules, advanced=advanced))

    def modify(self, group: str, rule_id: str, description: str, *, egress: bool = False) -> str:
        standing = self._to_change(group)
        self.changed_rules[group] = [
            msgspec.structs.replace(rule, description=description, priority=PRIORITY) if rule.id == rule_id else rule
            for rule in standing
        ]
        for rule in standing:
            if rule.id == rule_id:
                self._writes.append(Write("modify", self.account, group, *_of(rule), rule.description, description))
        return self._note(aliyun.modify(self._region, group, rule_id, description, egress=egress))

    def revoke(self, group: str, rule_ids: Sequence[str], *, egress: bool = False) -> str:
        standing = self._to_change(group)
        self.changed_rules[group] = [rule for rule in standing if rule.id not in rule_ids]
        for rule in standing:
            if rule.id in rule_ids:
                self._writes.append(Write("revoke", self.account, group, *_of(rule), rule.description))
        return self._note(aliyun.revoke(self._region, group, rule_ids, egress=egress))

    def tag(self, groups: Sequence[str], keys: Sequence[str]) -> str:
        for group in groups:
            self._tags.setdefault(group, {}).update(dict.fromkeys(keys, True))
            self._writes.append(Write("tag", self.account, group, tags=tuple(keys)))
        return self._note(aliyun.tag(self._region, groups, keys))

    def untag(self, group: str, keys: Sequence[str]) -> str:
        self._tags.setdefault(group, {}).update(dict.fromkeys(keys, False))
        self._writes.append(Write("untag", self.account, group, tags=tuple(keys)))
        return self._note(aliyun.untag(self._region, [group], keys))

    def _to_change(self, group: str) -> list[Rule]:
        """The rules of a group that is about to change. The first time, they are kept to compare with."""
        standing = self.rules(group)
        self._before.setdefault(group, list(standing))
        return standing

    def _note(self, command: str) -> str:
        self._changes.append(CloudCall(self.account, command))
        return ""

    def _tagged(self, group: Group) -> Group:
        changed = self._tags.get(group.party.id, {})
        remaining_tags = {name: value for name, value in group.tags.items() if changed.get(name, True)}
        return msgspec.structs.replace(
            group, tags=remaining_tags | {name: "true" for name, is_set in changed.items() if is_set}
        )


class TaggedCloud:
    """A `Cloud` that shows further tags on some groups, such as a lock, so that their rules are due for removal however
    soon these tags are seen; and other tags on some instances, None for one that is taken off."""

    def __init__(
        self,
        cloud: Cloud,
        tags: Mapping[Party, Mapping[str, str]],
        instance_tags: Mapping[Party, Mapping[str, str | None]],
    ) -> None:
        self._cloud = cloud
        self._tags = tags
        self._instance_tags = instance_tags
        self.calls: Counter[str] = cloud.calls

    def ecs(self, account: str) -> Ecs:
        """As `Cloud.ecs`."""
        return cast(Ecs, _TaggedEcs(self._cloud.ecs(account), self._tags, self._instance_tags))


class _TaggedEcs:
    """An account whose groups and instances show these tags. Everything else is a call of its own."""

    def __init__(
        self,
        ecs: Ecs,
        tags: Mapping[Party, Mapping[str, str]],
        instance_tags: Mapping[Party, Mapping[str, str | None]],
    ) -> None:
        self._ecs = ecs
        self._tags = tags
        self._instance_tags = instance_tags

    def groups(self, ids: Sequence[str]) -> list[Group]:
        return [
            msgspec.structs.replace(group, tags={**self._tags.get(group.party, {}), **group.tags})
            for group in self._ecs.groups(ids)
        ]

    def instances(self, ids: Sequence[str]) -> list[Instance]:
        return self._retagged(self._ecs.instances(ids))

    def members(self, group: str) -> list[Instance]:
        return self._retagged(self._ecs.members(group))

    def instance_page(self, token: str = "", group: str = "") -> tuple[list[Instance], str]:
        instances, next_token = self._ecs.instance_page(token, group)
        return self._retagged(instances), next_token

    def _retagged(self, instances: Sequence[Instance]) -> list[Instance]:
        return [
            msgspec.structs.replace(
                instance, tags={key: value for key, value in {**instance.tags, **tags}.items() if value is not None}
            )
            if (tags := self._instance_tags.get(instance.party))
            else instance
            for instance in instances
        ]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ecs, name)


def _of(rule: Rule) -> tuple[str, Place | None]:
    """The id of a rule, if it exists, and where it is."""
    return "" if rule.id.startswith(NEW) else rule.id, place_of(rule.key) if rule.key else None
