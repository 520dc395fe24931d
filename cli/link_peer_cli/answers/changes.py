"""What changes, or would: `plan`, `sweep`, `apply`, `request`, `accept`, `withdraw`, `adopt`, `close`, `reopen`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from link_peer.runtime.ports import Record
from msgspec import UNSET, UnsetType

from link_peer_cli.answers import CloudCall, CommandAnswer, PlannedCalls, PlannedRecords, Records, Undo, means


class GroupPlan(msgspec.Struct, frozen=True):
    """What would change in one group."""

    group: Annotated[str, means("the group")]
    account: Annotated[str, means("its account")]
    add: Annotated[list[str], means("the rules to add")]
    change: Annotated[list[str], means("the rules to change")]
    remove: Annotated[list[str], means("the rules to remove")]
    tags: Annotated[list[str], means("the tags that change, each with `+` or `-`")]
    instances: Annotated[list[str] | None, means("its instances; null if they could not be read")]


class PlanCounts(msgspec.Struct, frozen=True):
    """How much would change."""

    add: Annotated[int, means("rules to add")]
    change: Annotated[int, means("rules to change")]
    remove: Annotated[int, means("rules to remove")]
    tagged: Annotated[int, means("groups whose tags change")]
    groups: Annotated[int, means("groups whose rules change")]
    instances: Annotated[int, means("the instances of these")]
    unread: Annotated[int, means("groups whose instances could not be read")]
    denied: Annotated[int, means("records of links that are denied")]
    failed: Annotated[int, means("records of what fails")]
    attempt: Annotated[int, means("records of what cannot be decided yet")]


GroupPlans = Annotated[list[GroupPlan], means("the groups that would change")]
Counts = Annotated[PlanCounts, means("how much would change")]


class PlanAnswer(CommandAnswer, frozen=True):
    """What the functions would do."""

    decisions: PlannedRecords
    commands: PlannedCalls
    groups: GroupPlans
    counts: Counts
    notes: Annotated[
        list[str],
        means("tags that only look like those of link-peer, and rules that one of two documents does not allow"),
    ]
    warning: Annotated[
        str | UnsetType, means("of a request: how the policy of the functions differs from the local one, if it does")
    ] = UNSET


class ReachChange(msgspec.Struct, frozen=True):
    """Instances that gain or lose ports to others, between the rules of the policy in use and those of another."""

    sign: Annotated[str, means("`+` gained, `-` lost")]
    sure: Annotated[bool, means("false where not all that decides is known: they may gain or lose it")]
    source: Annotated[str, means("whose instances: a group, or one instance")] = msgspec.field(name="from")
    target: Annotated[str, means("to whose instances")] = msgspec.field(name="to")
    ports: Annotated[str, means("the ports; `all` for all traffic")]
    sources: Annotated[int | None, means("how many instances; null if they could not all be read")]
    targets: Annotated[int | None, means("to how many; null if they could not all be read")]
    pairs: Annotated[int | None, means("how many pairs of instances; null if they could not all be read")]
    text: Annotated[str, means("the same in words")]


class PermissionChange(msgspec.Struct, frozen=True):
    """How what could open differs between two policies."""

    kind: Annotated[str, means("`wider`, `narrower` or `neither`")]
    path: Annotated[str, means("where in the policy file")]
    text: Annotated[str, means("what could open, or no longer could")]
    old: Annotated[str, means("what the old file says")]
    new: Annotated[str, means("what the new file says")]


class PolicyPlan(CommandAnswer, frozen=True):
    """With `--policy`, what another policy would open and close now, and what could open under it. `groups`, `counts`
    and `reach` are there without `--against`."""

    permissions: Annotated[list[PermissionChange], means("what could open and could not before, and the reverse")]
    against: Annotated[str, means("what it was compared with")]
    notes: Annotated[list[str], means("what to know")]
    problems: Annotated[list[str], means("what failed")]
    groups: Annotated[list[GroupPlan] | UnsetType, means("the groups that would change")] = UNSET
    counts: Annotated[PlanCounts | UnsetType, means("how much would change")] = UNSET
    reach: Annotated[
        list[ReachChange] | UnsetType,
        means("which instances gain and lose what, the most pairs first, gains before losses"),
    ] = UNSET


class Obsolete(msgspec.Struct, frozen=True):
    """A rule, or an entry of consent, that does nothing any more, or only a part of what it is for."""

    kind: Annotated[str, means("`held`, `half-open`, `marker`, `deployment` or `consent`")]
    account: Annotated[str, means("where it is")]
    group: Annotated[str, means("on which group")]
    subject: Annotated[str, means("what it is about")] = msgspec.field(name="what")
    reason: Annotated[str, means("why")] = msgspec.field(name="why")
    rule_id: Annotated[str, means("the rule; empty for an entry of consent")] = ""
    since: Annotated[str, means("when the rule was made; empty for an entry of consent")] = ""


class Swept(CommandAnswer, frozen=True):
    """What a sweep did. `commands`, `groups`, `counts` and `obsolete` are there with `--dry-run`."""

    decisions: Records
    summaries: Annotated[list[Record], means("the record of each account's sweep")]
    undo: Undo
    commands: Annotated[list[CloudCall] | UnsetType, means("the calls that would be made")] = UNSET
    groups: Annotated[list[GroupPlan] | UnsetType, means("the groups that would change")] = UNSET
    counts: Annotated[PlanCounts | UnsetType, means("how much would change")] = UNSET
    obsolete: Annotated[list[Obsolete] | UnsetType, means("what no longer does anything, and would stay")] = UNSET


class RulePlace(msgspec.Struct, frozen=True):
    """Where a rule admits what."""

    source: Annotated[str, means("whom it admits: `sg-…@<uid>`, or an address")]
    dest: Annotated[str, means("to which address; empty for all of the group")]
    protocol: Annotated[str, means("`tcp`, `udp`, `icmp` or `all`")]
    ports: Annotated[str, means("the range of ports, as ECS writes it: `3306/3306`")]


Action = Annotated[str, means("`authorize`, `modify`, `revoke`, `tag` or `untag`")]
GroupAccount = Annotated[str, means("the account of the group")]
ChangedGroup = Annotated[str, means("the group")]
KnownRule = Annotated[str | UnsetType, means("the id of a rule that exists")]
Place = Annotated[RulePlace | UnsetType, means("of a rule: what it admits, and where")]
Before = Annotated[str | UnsetType, means("the description that it has")]
After = Annotated[str | UnsetType, means("the description that it gets")]
Tags = Annotated[list[str] | UnsetType, means("of a change of tags: their keys")]


class LeftChange(msgspec.Struct, frozen=True):
    """One change of one rule, or of the tags of one group."""

    action: Action
    account: GroupAccount
    group: ChangedGroup
    rule: KnownRule = UNSET
    place: Place = UNSET
    before: Before = UNSET
    description: After = UNSET
    tags: Tags = UNSET


class OtherChange(msgspec.Struct, frozen=True):
    """A change that was not reviewed, or that would not happen now."""

    sign: Annotated[str, means("`+` was not reviewed, `-` would not happen now, `~` would happen differently")]
    difference: Annotated[str, means("the same in words")] = msgspec.field(name="why")
    change: Annotated[str, means("the change in words")] = msgspec.field(name="what")
    action: Action
    account: GroupAccount
    group: ChangedGroup
    rule: KnownRule = UNSET
    place: Place = UNSET
    before: Before = UNSET
    description: After = UNSET
    tags: Tags = UNSET


class Applied(CommandAnswer, frozen=True):
    """Which changes of a saved plan were made."""

    decisions: Records
    reviewed: Annotated[int, means("how many changes the plan has")]
    already: Annotated[int, means("how many of them were made before")]
    unmade_changes: Annotated[list[LeftChange], means("those that are not made")] = msgspec.field(name="left")
    undo: Undo


class NotApplied(CommandAnswer, frozen=True):
    """Where what would change now is not what was reviewed."""

    differences: Annotated[list[OtherChange], means("the changes that differ")]


class Posted(CommandAnswer, frozen=True):
    """A request that was posted."""

    request_id: Annotated[str, means("its id")]
    posted: Annotated[dict[str, Any], means("the message, as schemas/request.schema.json has it")]
    undo: Undo


class NotPosted(CommandAnswer, frozen=True):
    """A request that is refused without being posted."""

    request_id: Annotated[str, means("its id")]
    posted: Annotated[None, means("null")]
    outcome: Annotated[str, means("`denied`, or `failed`")]
    reason: Annotated[str, means("the code of the reason")]
    detail: Annotated[str, means("the fact that decided")]
    advice: Annotated[str, means("what to do")]
    policy: Annotated[str, means("the policy file that decided; empty if none did")]
    warning: Annotated[str, means("how the policy of the functions differs from the local one")]


class ConsentOfGroup(msgspec.Struct, frozen=True):
    """The accept tags of one group."""

    group: Annotated[str, means("the group")]
    account: Annotated[str, means("its account")]
    added: Annotated[list[str], means("the entries that are added")]
    removed: Annotated[list[str], means("the entries that are removed")]
    closes: Annotated[list[str], means("of `withdraw`: the links that end, each with its rule")]
    commands: Annotated[list[str], means("the commands that do it")]
    written: Annotated[bool, means("whether it is written")]


class ConsentChange(CommandAnswer, frozen=True):
    """What changes on the accept tags of groups."""

    groups: Annotated[list[ConsentOfGroup], means("the groups")]
    denial: Annotated[Record | None, means("with the id of a request or link: the record of its denial; else null")]
    undo: Undo


class AdoptedRule(msgspec.Struct, frozen=True):
    """A rule that becomes one of link-peer."""

    rule_id: Annotated[str, means("its id")]
    account: Annotated[str, means("the account of its group")]
    group: Annotated[str, means("its group")]
    priority: Annotated[int, means("as it is")]
    description: Annotated[str, means("as it is")]
    becomes: Annotated[str, means("the description that it gets")]


class AddedConsent(msgspec.Struct, frozen=True):
    """Entries for one group."""

    group: Annotated[str, means("`sg-…@<uid>`")]
    added: Annotated[list[str], means("the entries that are added")]


class AdoptionAnswer(CommandAnswer, frozen=True):
    """The link that a person's rule becomes."""

    rules: Annotated[list[AdoptedRule], means("the rules that become rules of link-peer")]
    source: Annotated[str, means("the link's source")] = msgspec.field(name="from")
    target: Annotated[str, means("its target")] = msgspec.field(name="to")
    ports: Annotated[str, means("its ports")]
    asked_by: Annotated[str, means("the instance, or the id of the request, that asks for it")]
    queue: Annotated[str, means("the queue that the request is posted to")]
    consent: Annotated[list[AddedConsent], means("consent that is given")]
    tags: Annotated[dict[str, str], means("the other tags that are written")]
    commands: Annotated[list[CloudCall], means("the calls")]
    record: Annotated[Record | None, means("the record of the outcome; null with `--dry-run`")]
    undo: Undo


class AdoptedBefore(CommandAnswer, frozen=True):
    """Where the rule is one of link-peer already."""

    rule: Annotated[str, means("its id")]
    account: Annotated[str, means("the account of its group")]
    group: Annotated[str, means("its group")]
    unchanged: Annotated[str, means("what holds it")]


class ClosedAccount(msgspec.Struct, frozen=True):
    """What stands in one account after a closing."""

    account: Annotated[str, means("its uid")]
    entered: Annotated[str, means("with which keys: `keys` of it, its `closer` role, or none")]
    locked: Annotated[int, means("how many of its groups have the lock")]
    remaining_rules: Annotated[int | None, means("how many rules of this home are left there; null: unknown")] = (
        msgspec.field(name="left")
    )
    problem: Annotated[str, means("why it was not entered, or not read whole; else empty")]
    advice: Annotated[list[str], means("the commands for what is left there, for its owner if it was not entered")]


class CloseAnswer(CommandAnswer, frozen=True):
    """What was or would be locked and closed."""

    locked: Annotated[list[str], means("the groups that have the lock now")]
    decisions: Annotated[list[Record], means("the records of what was closed")]
    commands: Annotated[list[CloudCall], means("with `--dry-run`, the calls that would be made")]
    accounts: Annotated[list[ClosedAccount], means("what is left in each account")]
    unlocked: Annotated[dict[str, str], means("by group, why it could not be locked: a sweep may open it again")]
    remaining_rules: Annotated[
        list[str] | None,
        means(
            "the rules of this home that are left, of whichever deployment, with the other halves of mutual links, as far as known; "
            "null if the keys cannot read that"
        ),
    ] = msgspec.field(name="left")
    problems: Annotated[dict[str, str], means("by group, account or other deployment, what went wrong or is not known")]
    warning: Annotated[str, means("how the policy of the functions differs from the local one")]
    other_groups: Annotated[
        dict[str, list[str]],
        means("by group that was named and is locked, the further groups of its instances that are not locked"),
    ]
    undo: Undo


class PairClosed(CommandAnswer, frozen=True):
    """What was or would be closed between two ends, which refuse each other from now on."""

    refusing: Annotated[dict[str, str], means("by group, the tag (`key=value`) by which it refuses the other end now")]
    beside: Annotated[list[str], means("what these tags refuse, or close, besides the two ends")]
    decisions: Annotated[list[Record], means("the records of what was closed")]
    commands: Annotated[
        list[CloudCall], means("with `--dry-run`, the calls that would set the tags and remove the rules")
    ]
    remaining_rules: Annotated[list[str], means("the rules of link-peer that are left between the two")] = (
        msgspec.field(name="left")
    )
    passing: Annotated[
        list[str],
        means(
            "the rules, of link-peer or of people, and the InnerAccessPolicy by which packets may still pass; not for accounts"
        ),
    ]
    problems: Annotated[dict[str, str], means("by account or group, what went wrong")]
    never: Annotated[str, means("of accounts, the entries of `never` that cover all their other groups, too")]
    undo: Undo


class Reopening(CommandAnswer, frozen=True):
    """The locks that were or would be taken off."""

    reopened: Annotated[list[str], means("the groups whose lock was taken off")]
    commands: Annotated[list[CloudCall], means("the calls for that")]
    foreign: Annotated[list[CloudCall], means("the calls for the owners of accounts that were not entered")]
    foreign_locks: Annotated[dict[str, str], means("by group, the locks that `close` did not set")] = msgspec.field(
        name="kept"
    )
    problems: Annotated[dict[str, str], means("by account or group, what went wrong")]
    undo: Undo
