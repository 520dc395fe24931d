"""Reads the cloud into a snapshot, asking for nothing twice."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from link_peer.domain.denials import managed_tag_refused
from link_peer.domain.errors import CloudError, NoAccess, Throttled, Transient
from link_peer.domain.model import Group, Instance, Party, Rule
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Address, Listing, Snapshot
from link_peer.engine.read.listing import Page, read_listing
from link_peer.planning.decision import Question
from link_peer.runtime.clock import Clock
from link_peer.runtime.pace import Pace
from link_peer.runtime.ports import Cloud, Ecs

T = TypeVar("T")

_READ_RULES = "DescribeSecurityGroupAttribute"


class Reader:
    """What was read so far. An account that refuses access is noted as such. Trouble of the moment is raised as Transient;
    a `tolerant` reader notes the account as failed instead, and goes on with the others."""

    def __init__(
        self,
        cloud: Cloud,
        policy: Policy,
        clock: Clock,
        *,
        threads: int = 1,
        tolerant: bool = False,
        pace: Pace | None = None,
        keep: Callable[[Instance], bool] = lambda _instance: True,
    ) -> None:
        """`threads` is how many calls may run side by side where a method reads many things. With a `pace`, reads of
        rules and of many instances keep to it, and one that is throttled is made again. `keep` says which instances of a
        whole account are kept; the others are set aside until they are asked for by id."""
        self._cloud = cloud
        self._policy = policy
        self._clock = clock
        self._threads = threads
        self._tolerant = tolerant
        self._pace = pace
        self._keep = keep
        self._listings: dict[str, Listing] = {}
        self._instances: dict[Party, Instance] = {}
        self._groups: dict[Party, Group] = {}
        self._read_at: dict[Party, float] = {}
        self._rules: dict[Party, tuple[Rule, ...]] = {}
        self._requested: set[Party] = set()
        self._inner_access: dict[Party, bool] = {}
        self._taken: dict[Address, bool] = {}
        self._listed_accounts: set[str] = set()
        self._reread: set[Party] = set()  # asked for by id although the whole account was read
        self._complete_groups: set[Party] = set()
        self._whole_accounts: set[str] = set()
        self._live_accounts: set[str] = set()
        self._refused: dict[str, NoAccess] = {}
        self._failed: dict[str, str] = {}
        self.refused_tags: dict[str, str] = {}  # by account or group: what a record says of it
        self.calls = cloud.calls

    def snapshot(self) -> Snapshot:
        """What was read so far, frozen."""
        return Snapshot(
            instances=dict(self._instances),
            groups=dict(self._groups),
            rules=dict(self._rules),
            requested=frozenset(self._requested),
            complete_groups=frozenset(self._complete_groups),
            whole_accounts=frozenset(self._whole_accounts),
            listings=dict(self._listings),
            live_accounts=frozenset(self._live_accounts),
            inner_access=dict(self._inner_access),
            taken_addresses=dict(self._taken),
            refused_accounts=dict(self._refused),
            failed_accounts=dict(self._failed),
        )

    def now_known(self) -> Snapshot:
        """What was read so far, not frozen and not copied: for one decision, right before a write."""
        return Snapshot(
            instances=self._instances,
            groups=self._groups,
            rules=self._rules,
            requested=self._requested,
            listings=self._listings,
            inner_access=self._inner_access,
            taken_addresses=self._taken,
            refused_accounts=self._refused,
            failed_accounts=self._failed,
        )

    def ecs(self, account: str) -> Ecs | None:
        """The account's ECS; None where the policy does not list it, or it refuses access."""
        if account not in self._policy.accounts or account in self._refused:
            return None
        try:
            return self._cloud.ecs(account)
        except NoAccess as error:
            self._refused[account] = error
            return None

    def readable(self, account: str) -> bool:
        """Whether the account could be read so far."""
        return account not in self._refused and account not in self._failed

    def refusal(self, account: str) -> NoAccess | None:
        """Why the account refuses access, if it does."""
        return self._refused.get(account)

    def parties(self, parties: Iterable[Party]) -> None:
        """Reads groups and instances by id, and the groups that those instances are in."""
        asked = [p for p in set(parties) if p not in self._requested]
        instances = [p for p in asked if not p.is_group]
        unknown = [p for p in instances if p in self._reread or not self._known_from_listing(p)]
        self._each_account(unknown, lambda ecs, ids: self._keep_instances(ecs.instances(ids)))
        groups = {p for p in asked if p.is_group}
        groups |= self._groups_of(self._instances[p] for p in instances if p in self._instances)
        groups = {g for g in groups if g not in self._groups and g not in self._requested}
        groups = {g for g in groups if g.account not in self._listed_accounts or g in self._reread}
        self._each_account(groups, lambda ecs, ids: self._keep_groups(ecs.groups(ids)))
        self._requested |= {*asked, *groups}

    def instances(self, instances: Iterable[Party]) -> None:
        """Reads instances by id, without their groups."""
        asked = set(instances) - self._requested
        self._each_account(asked, lambda ecs, ids: self._keep_instances(ecs.instances(ids)))
        self._requested |= asked

    def references(self, groups: Iterable[Party]) -> list[Party]:
        """The groups with a rule that names one of these groups."""
        found: set[Party] = set()
        self._each_account(groups, lambda ecs, ids: found.update(ecs.references(ids)))
        return sorted(found)

    def members(self, groups: Iterable[Party]) -> None:
        """Reads every instance of these groups, with all the groups that those instances are in."""

        def read(group: Party) -> None:
            self._read(group.account, functools.partial(self._read_members, group))

        # one after the other where a group is compared with what earlier reads showed
        self._side_by_side(read, sorted(set(groups) - self._complete_groups), self._threads if self._tolerant else 1)
        self.groups_of_instances()

    def confirm_absent(self, parties: Iterable[Party]) -> None:
        """Reads these instances, and the members of these groups, once more, and what was not shown of both by its id. A
        Describe call may omit members; this is done before any is treated as gone."""
        parties = set(parties)
        groups = {party for party in parties if party.is_group}
        known = (self._instances[party] for party in parties - groups if party in self._instances)
        again = (parties - groups) | {g for g in groups | self._groups_of(known) if g not in self._groups}
        self._reread |= again
        self._requested -= again
        self._complete_groups -= groups
        self.parties(again)
        self.members(groups)

    def groups_of_instances(self) -> None:
        """Reads the groups of all instances read so far."""
        self.parties(self._groups_of(self._instances.values()))

    def everything(self, accounts: Sequence[str], progress: Callable[[int], None] = lambda _done: None) -> None:
        """Reads every instance of these accounts, unfiltered: tags named `<prefix>-peer.<any>` cannot be filtered by. What need
        not be kept is not, so that an account of any size takes little memory."""

        def read(account: str) -> None:
            self._read(account, functools.partial(self._read_everything, account))
            progress(len(self._whole_accounts))

        self._side_by_side(read, accounts)

    def probe_liveness(self, accounts: Iterable[str]) -> None:
        """Finds out whether an unfiltered read of these accounts shows any instance. If not, nothing there is treated as
        gone."""
        for account in sorted(set(accounts) - self._live_accounts):
            self._read(account, functools.partial(self._probe, account))

    def assume_live(self, accounts: Iterable[str]) -> None:
        """Treats these accounts as live: a person has said that they are really empty."""
        self._live_accounts |= set(accounts)

    def tagged_groups(self, accounts: Sequence[str], tag: str) -> list[Party]:
        """The groups of these accounts that carry a tag."""
        found: list[Group] = []

        def read(account: str) -> None:
            self._read(account, lambda ecs: found.extend(ecs.tagged_groups(tag)))

        self._side_by_side(read, accounts)
        self._keep_groups(found)
        return sorted(group.party for group in found)

    def all_groups(self, accounts: Sequence[str]) -> list[Group]:
        """Every group of these accounts. Afterwards no group of theirs is asked for by id: a name that a tag invents costs
        no call."""
        found: list[Group] = []

        def read(account: str) -> None:
            self._read(account, functools.partial(self._read_all_groups, account, found))

        self._side_by_side(read, accounts)
        return found

    def questions(self, questions: Iterable[Question]) -> None:
        """Reads what evaluating a link needs besides its parties: used addresses, groups' inner access, and instances that
        were set aside."""
        questions = list(questions)
        self.parties(q for q in questions if isinstance(q, Party) and not q.is_group)
        for question in questions:
            if isinstance(question, Address):
                self._read(question.account, functools.partial(self._read_address, question))
            elif question.is_group:
                self._read(question.account, functools.partial(self._read_inner_access, question))

    def rules(self, groups: Iterable[Party], until: float = math.inf) -> None:
        """Reads the rules of these groups. A group that does not exist has none. What the pace does not let through
        at once is left unread, as is the rest from `until` (epoch seconds) on: see `has_rules`."""
        todo = sorted(set(groups) - self._rules.keys())

        def read(group: Party) -> None:
            self._read(group.account, functools.partial(self._read_due_rules, group, until))

        self._side_by_side(read, todo)

    def rules_of(self, group: Party) -> tuple[Rule, ...]:
        """The group's rules as they were last read."""
        return self._rules.get(group, ())

    def has_rules(self, group: Party) -> bool:
        """Whether the group's rules were read."""
        return group in self._rules

    def rules_aside(self, group: Party) -> tuple[Rule, ...] | None:
        """The group's rules, read now and not kept, so that no decision is made from them. None where they cannot be read
        at this moment."""
        ecs = self.ecs(group.account) if self.readable(group.account) else None
        if ecs is None or (self._pace is not None and not self._pace.may(group.account, _READ_RULES)):
            return None
        try:
            return tuple(ecs.rules(group.id))
        except (Transient, CloudError):
            return None

    def refresh_rules(self, group: Party) -> tuple[Rule, ...]:
        """The group's rules as they are now. Raises NoAccess or Transient, also where this reader is tolerant."""
        self._rules.pop(group, None)
        self._refresh(group.account, functools.partial(self._read_rules, group), _READ_RULES)
        return self.rules_of(group)

    def refresh_group(self, group: Party) -> Group | None:
        """The group with its tags as they are now. Raises as `refresh_rules` does."""
        self._refresh(group.account, lambda ecs: self._keep_groups(ecs.groups([group.id])), "DescribeSecurityGroups")
        return self._groups.get(group)

    def group_read_at(self, group: Party) -> float:
        """When the group's tags were last read (epoch seconds)."""
        return self._read_at.get(group, 0.0)

    def group(self, group: Party) -> Group | None:
        """The group as it was last read."""
        return self._groups.get(group)

    def member_count(self, group: Party) -> int | None:
        """How many instances a group has; None where not all of them were read."""
        if group not in self._complete_groups:
            listing = self._listings.get(group.account)
            return None if listing is None else listing.members.get(group.id, 0)
        return sum(group.id in i.groups and i.party.account == group.account for i in self._instances.values())

    def members_of(self, group: Party) -> list[Party] | None:
        """The instances of a group; None where not all of them were read one by one."""
        if group not in self._complete_groups:
            return None
        return [i.party for i in self._instances.values() if group in self._groups_of([i])]

    def members_aside(self, group: Party) -> list[Party] | None:
        """The instances of a group, read now and not kept, as `rules_aside` reads rules."""
        ecs = self.ecs(group.account) if self.readable(group.account) and self._pace is None else None
        if ecs is None:
            return None
        try:
            return [instance.party for instance in ecs.members(group.id)]
        except (Transient, CloudError):
            return None

    def note_tags(self, group: Party, keys: Iterable[str]) -> None:
        """Notes that a group now has these tags, which this delivery has just written."""
        shown = self._groups[group]
        self._groups[group] = msgspec.structs.replace(shown, tags={**shown.tags, **dict.fromkeys(keys, "true")})

    def note_tags_refused(self, group: Party, error: CloudError) -> str:
        """Notes that managed tags are refused, of this group or (NoAccess) of its whole account, and says what follows."""
        where = group.account if isinstance(error, NoAccess) else str(group)
        self.refused_tags[where] = managed_tag_refused(where, error.code)
        return self.refused_tags[where]

    def tags_refused(self, group: Party) -> bool:
        """Whether this delivery was refused managed tags of the group already."""
        return not self.refused_tags.keys().isdisjoint((group.account, str(group)))

    def side_by_side(self, *reads: Callable[[], object]) -> None:
        """Makes these reads at the same time, where threads are allowed."""
        self._side_by_side(lambda read: read(), reads)

    def note_trouble(self, account: str, error: Transient | CloudError) -> None:
        """Notes that an account refuses access, or failed: nothing more is read or changed there."""
        if isinstance(error, NoAccess):
            self._refused[account] = error
        else:
            self._failed.setdefault(account, str(error))

    # one read

    def _read_all_groups(self, account: str, found: list[Group], ecs: Ecs) -> None:
        groups = ecs.all_groups()
        self._keep_groups(groups)
        found.extend(groups)
        self._listed_accounts.add(account)

    def _read_address(self, address: Address, ecs: Ecs) -> None:
        self._taken[address] = ecs.address_taken(address.vpc, address.ip)

    def _read_inner_access(self, group: Party, ecs: Ecs) -> None:
        self._inner_access[group] = ecs.inner_access(group.id)

    def _read_members(self, group: Party, ecs: Ecs) -> None:
        members = self._in_pace(group.account, functools.partial(ecs.members, group.id))
        if not self._tolerant:
            known = {i.party for i in self._instances.values() if group in self._groups_of([i])}
            if missing := known - {instance.party for instance in members}:
                # either it was released a moment ago, or the account has stopped showing what it holds
                raise Transient(f"{group} does not show {min(missing)}, which was shown a moment ago")
        self._keep_instances(members)
        self._complete_groups.add(group)

    def _read_everything(self, account: str, ecs: Ecs) -> None:
        def page(token: str) -> Page:
            return self._in_pace(account, functools.partial(ecs.instance_page, token))

        listing, kept = read_listing(page, lambda one: self._keep(one) or one.party in self._requested)
        self._keep_instances(kept)
        self._listings[account] = listing
        self._whole_accounts.add(account)
        if listing.ids:
            self._live_accounts.add(account)
        else:  # whatever an earlier read showed
            self._live_accounts.discard(account)

    def _probe(self, account: str, ecs: Ecs) -> None:
        if ecs.shows_instances():
            self._live_accounts.add(account)

    def _read_due_rules(self, group: Party, until: float, ecs: Ecs) -> None:
        if self._pace is None:
            self._read_rules(group, ecs)
        elif self._clock.now() < until and self._pace.may(group.account, _READ_RULES):
            try:
                self._read_rules(group, ecs)
            except Throttled:
                self._pace.throttled(group.account, _READ_RULES)

    def _read_rules(self, group: Party, ecs: Ecs) -> None:
        try:
            self._rules[group] = tuple(ecs.rules(group.id))
        except NoAccess:
            raise
        except CloudError as error:
            if not error.code.startswith("InvalidSecurityGroupId"):
                raise
            self._rules[group] = ()

    def _known_from_listing(self, instance: Party) -> bool:
        """Whether a read of its whole account tells all about an instance: it was not shown, or is kept."""
        listing = self._listings.get(instance.account)
        return listing is not None and (instance in self._instances or instance.id not in listing.ids)

    def _read(self, account: str, read: Callable[[Ecs], object]) -> None:
        """One read of an account that can be entered; what goes wrong is noted or raised, as this reader does."""
        try:
            if account not in self._failed and (ecs := self.ecs(account)):
                read(ecs)
        except (Transient, CloudError) as error:
            if not self._tolerant and not isinstance(error, NoAccess):
                raise _transient(account, error) from error
            self.note_trouble(account, error)

    def _in_pace(self, account: str, read: Callable[[], T]) -> T:
        """Reads instances once the pace allows it. Raises OutOfTime."""
        return self._pace.call(account, "DescribeInstances", read) if self._pace else read()

    def _refresh(self, account: str, read: Callable[[Ecs], object], action: str) -> None:
        """One read whose failure must not go unnoticed, since a change depends on it. It is made also where an earlier
        read failed, and without a wait: what was read before may be old after it."""
        if self._pace is not None:
            self._pace.made(account, action)
        if error := self._refused.get(account):
            raise error
        try:
            read(self._cloud.ecs(account))
        except NoAccess as error:
            self._refused[account] = error
            raise
        except CloudError as error:
            raise _transient(account, error) from error

    def _each_account(self, parties: Iterable[Party], read: Callable[[Ecs, list[str]], None]) -> None:
        by_account: dict[str, list[str]] = {}
        for party in sorted(parties):
            by_account.setdefault(party.account, []).append(party.id)
        for account, ids in by_account.items():
            self._read(account, functools.partial(lambda ids, ecs: read(ecs, ids), ids))

    def _side_by_side(self, read: Callable[[T], object], items: Sequence[T], threads: int | None = None) -> None:
        threads = threads or self._threads
        if threads > 1 and len(items) > 1:
            with ThreadPoolExecutor(min(threads, len(items))) as pool:
                list(pool.map(read, items))
        else:
            for item in items:
                read(item)

    def _groups_of(self, instances: Iterable[Instance]) -> set[Party]:
        return {Party(i.party.account, group) for i in instances for group in i.groups}

    def _keep_instances(self, instances: Iterable[Instance]) -> None:
        for instance in instances:
            self._instances[instance.party] = instance
            self._requested.add(instance.party)

    def _keep_groups(self, groups: Iterable[Group]) -> None:
        now = self._clock.now()
        for group in groups:
            self._groups[group.party] = group
            self._read_at[group.party] = now


def _transient(account: str, error: Transient | CloudError) -> Transient:
    """A code that nothing here expects is treated as trouble of the moment: redelivered, and at last a dead letter."""
    return error if isinstance(error, Transient) else Transient(f"account {account}: {error}")
