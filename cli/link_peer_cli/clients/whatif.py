"""The cloud as it would be: reads are real, changes are kept here and shown by later reads, and nothing is written.

So a reconcile that runs on it does all that it would do, takes what it did for done, and leaves a list of its changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
from link_peer.alicloud.sts import Accounts
from link_peer.domain.model import PRIORITY, Group, Instance, Party, Rule, RuleKey
from link_peer.domain.tags import managed_tag
from link_peer.runtime.audit import Audit, Record
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Cloud, Ecs
from link_peer.runtime.retry import Retry

from link_peer_cli.clients import aliyun
from link_peer_cli.io.inputs import Setting

SECONDS = 3600  # a person waits longer than a function may run


class Change(msgspec.Struct, frozen=True):
    """One call that would be made, in one account, as the command that makes it."""

    account: str
    command: str


class WhatIf:
    """The `Cloud` protocol over a real one. `changes` are the calls that would have been made, in their order."""

    def __init__(self, cloud: Cloud, region: str) -> None:
        self._cloud = cloud
        self._region = region
        self._made: dict[str, _Ecs] = {}
        self.calls: Counter[str] = cloud.calls
        self.changes: list[Change] = []

    def ecs(self, account: str) -> Ecs:
        if account not in self._made:
            self._made[account] = _Ecs(self._cloud.ecs(account), self._region, self.changes)
        return self._made[account]


class _Ecs:
    def __init__(self, real: Ecs, region: str, changes: list[Change]) -> None:
        self.account = real.account
        self._real = real
        self._region = region
        self._changes = changes
        self._rules: dict[str, list[Rule]] = {}
        self._tags: dict[str, tuple[str, bool]] = {}  # group: the tag, and whether it is there

    def instances(self, ids: Sequence[str]) -> list[Instance]:
        return self._real.instances(ids)

    def members(self, group: str) -> list[Instance]:
        return self._real.members(group)

    def all_instances(self) -> list[Instance]:
        return self._real.all_instances()

    def shows_instances(self) -> bool:
        return self._real.shows_instances()

    def groups(self, ids: Sequence[str]) -> list[Group]:
        return [self._tagged(group) for group in self._real.groups(ids)]

    def all_groups(self) -> list[Group]:
        return [self._tagged(group) for group in self._real.all_groups()]

    def managed_groups(self, deployment: str) -> list[Group]:
        found = {group.party.id: self._tagged(group) for group in self._real.managed_groups(deployment)}
        new = [group for group in self._tags if group not in found]
        found |= {group.party.id: group for group in self.groups(new)} if new else {}
        return [group for group in found.values() if managed_tag(deployment) in group.tags]

    def rules(self, group: str) -> list[Rule]:
        return list(self._rules[group]) if group in self._rules else self._real.rules(group)

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]]) -> str:
        standing = self.rules(group)
        for number, (key, description) in enumerate(rules, len(self._changes)):
            standing.append(Rule(Party(self.account, group), f"new-{number}", key, "accept", PRIORITY, description))
        self._rules[group] = standing
        return self._note(aliyun.authorize(self._region, self.account, group, rules))

    def modify(self, group: str, rule_id: str, description: str) -> str:
        self._rules[group] = [
            msgspec.structs.replace(rule, description=description, priority=PRIORITY) if rule.id == rule_id else rule
            for rule in self.rules(group)
        ]
        return self._note(aliyun.modify(self._region, group, rule_id, description))

    def revoke(self, group: str, rule_ids: Sequence[str]) -> str:
        self._rules[group] = [rule for rule in self.rules(group) if rule.id not in rule_ids]
        return self._note(aliyun.revoke(self._region, group, rule_ids))

    def tag_managed(self, group: str, deployment: str) -> str:
        self._tags[group] = (managed_tag(deployment), True)
        return self._note(aliyun.tag(self._region, group, managed_tag(deployment)))

    def untag_managed(self, group: str, deployment: str) -> str:
        self._tags[group] = (managed_tag(deployment), False)
        return self._note(aliyun.untag(self._region, group, managed_tag(deployment)))

    def _note(self, command: str) -> str:
        self._changes.append(Change(self.account, command))
        return ""

    def _tagged(self, group: Group) -> Group:
        tag, there = self._tags.get(group.party.id, ("", False))
        others = {name: value for name, value in group.tags.items() if name != tag}
        return msgspec.structs.replace(group, tags={**others, tag: "true"} if there else others)


class Kept:
    """An `Audit` that keeps the records (and hands them on, where there is a log), and a `Queue` that keeps the messages."""

    def __init__(self, log: Audit | None = None) -> None:
        self._log = log
        self.records: list[Record] = []
        self.messages: list[bytes] = []

    def write(self, records: Sequence[Record]) -> None:
        if self._log is not None:
            self._log.write(records)
        self.records += records

    def post(self, body: bytes) -> None:
        self.messages.append(body)

    @property
    def outcomes(self) -> list[Record]:
        return [record for record in self.records if record["record"] == "outcome"]


def suppose(here: Setting, function: str) -> tuple[Delivery, WhatIf, Kept]:
    """A delivery that changes nothing, writes nothing and posts nothing, with what it would have."""
    kept = Kept()
    retry = Retry(here.clock, here.clock.now() + SECONDS)
    cloud = WhatIf(Accounts(here.settings, here.policy, here.clock, retry, function), here.settings.region)

    def enter(_name: str, _retry: Retry) -> Cloud:
        return cloud

    made = Delivery(
        function=function,
        region=here.settings.region,
        policy=here.policy,
        clock=here.clock,
        cloud=enter,
        audit=kept,
        queue=kept,
        seconds=SECONDS,
    )
    return made, cloud, kept
