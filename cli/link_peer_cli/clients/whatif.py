"""Dry runs: reads are real, changes are kept in memory, and nothing is written.

Later reads show the kept changes, so a reconcile that runs on this cloud takes every step that it would take on the
real one, and leaves a list of the calls it would have made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
from link_peer.alicloud.sts import Accounts
from link_peer.domain.model import PRIORITY, Group, Instance, Party, Rule, RuleKey
from link_peer.domain.request import Request
from link_peer.domain.tags import managed_tag
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import AuditLog, Cloud, Ecs, Record
from link_peer.runtime.retry import Retry

from link_peer_cli.clients import aliyun
from link_peer_cli.io.environment import Environment

SECONDS = 3600  # time limit of a run; a command may take longer than a function


class Change(msgspec.Struct, frozen=True):
    """One call that would be made in an account, as an `aliyun` command."""

    account: str
    command: str


class WhatIf:
    """A `Cloud` that reads from a real one. `changes` are the calls that would have been made, in order."""

    def __init__(self, cloud: Accounts, region: str) -> None:
        self._cloud = cloud
        self._region = region
        self._made: dict[str, _Ecs] = {}
        self.calls: Counter[str] = cloud.calls
        self.changes: list[Change] = []

    def ecs(self, account: str) -> Ecs:
        """Return the ECS of an account, with the changes made so far."""
        if account not in self._made:
            self._made[account] = _Ecs(self._cloud.ecs(account), self._region, self.changes)
        return self._made[account]

    def identity(self, account: str) -> tuple[str, str]:
        """Return the (account uid, ARN) of the caller that reads an account."""
        return self._cloud.identity(account)


class _Ecs:
    def __init__(self, real: Ecs, region: str, changes: list[Change]) -> None:
        self.account = real.account
        self._real = real
        self._region = region
        self._changes = changes
        self._rules: dict[str, list[Rule]] = {}
        self._tags: dict[str, tuple[str, bool]] = {}  # by group: the tag, and whether it is set

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
    """An `AuditLog` that keeps the records, and writes them to a log if it is put over one; a `Queue` that keeps the
    requests."""

    def __init__(self) -> None:
        self._log: AuditLog | None = None
        self.records: list[Record] = []
        self.posted: list[Request] = []

    def over(self, log: AuditLog) -> AuditLog:
        """Write to `log` from now on, too."""
        self._log = log
        return self

    def write(self, records: Sequence[Record]) -> None:
        """Keep records, after the log has them."""
        if self._log is not None:
            self._log.write(records)
        self.records += records

    def post(self, request: Request) -> None:
        """Keep a request."""
        self.posted.append(request)

    @property
    def outcomes(self) -> list[Record]:
        """The records that are outcomes."""
        return [record for record in self.records if record["record"] == "outcome"]


def suppose(env: Environment, function: str) -> tuple[Delivery, WhatIf, Kept]:
    """Return a delivery that changes, records and posts nothing, with its cloud and its records."""
    kept = Kept()
    retry = Retry(env.clock, env.clock.now() + SECONDS)
    cloud = WhatIf(Accounts(env.settings, env.policy, env.clock, retry, function), env.settings.region)

    def enter(_name: str, _retry: Retry) -> Cloud:
        return cloud

    made = Delivery(
        function=function,
        region=env.settings.region,
        policy=env.policy,
        clock=env.clock,
        open_cloud=enter,
        log=kept,
        queue=kept,
        seconds=SECONDS,
    )
    return made, cloud, kept
