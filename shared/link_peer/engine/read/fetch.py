"""Reads the cloud into a store, asking for nothing twice."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from link_peer.domain.errors import CloudError, NoAccess, Throttled, Transient
from link_peer.domain.model import Group, Instance, Party, Rule
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Address, Listing
from link_peer.engine.read.store import Store, groups_of
from link_peer.planning.decision import Question, RulesOf
from link_peer.runtime.clock import Clock
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.pace import Pace
from link_peer.runtime.ports import Cloud, Ecs

T = TypeVar("T")

Page = tuple[list[Instance], str]
"""Instances, and the token of the next page; empty after the last."""

Progress = Callable[[int, int], None]
"""(how many are done, of how many)."""

CHUNK = 32  # groups whose rules are read between two reports of progress

_READ_RULES = "DescribeSecurityGroupAttribute"


class Reading(msgspec.Struct, frozen=True):
    """How to read. A transient error is raised; a `tolerant` reading notes the account as failed instead, and goes on with
    the others. With a `pace`, reads of rules and of many instances keep to it, and one that is throttled is made again.
    `keep` says which instances of a whole account are kept; the others are set aside until they are asked for by id."""

    tolerant: bool = False
    pace: Pace | None = None
    keep: Callable[[Instance], bool] = lambda _instance: True


STRICT, TOLERANT = Reading(), Reading(tolerant=True)


def open_fetch(delivery: Delivery, name: str, how: Reading = STRICT) -> Fetch:
    """Reads for one delivery, with its policy, its clock and its readers; `name` is as in `Delivery.cloud`."""
    return Fetch(delivery.cloud(name), delivery.policy, delivery.clock, how, threads=delivery.throughput.readers)


class Fetch:
    """Makes the calls whose answers are in `store`. An account that refuses access is noted there."""

    def __init__(self, cloud: Cloud, policy: Policy, clock: Clock, how: Reading = STRICT, *, threads: int = 1) -> None:
        """`threads` is how many calls may run side by side where a method reads many things."""
        self.store = Store()
        self._cloud = cloud
        self._policy = policy
        self._clock = clock
        self._how = how
        self._threads = threads
        self._listed_accounts: set[str] = set()  # all of whose groups were read
        self._read_at: dict[Party, float] = {}

    @property
    def calls(self) -> Counter[str]:
        """API calls made so far, by action."""
        return self._cloud.calls

    def ecs(self, account: str) -> Ecs | None:
        """The account's ECS; None where the policy does not list it, or it refuses access."""
        if account not in self._policy.accounts or self.store.refusal(account):
            return None
        try:
            return self._cloud.ecs(account)
        except NoAccess as error:
            self.store.note_trouble(account, error)
            return None

    # instances and groups

    def parties(self, parties: Iterable[Party]) -> None:
        """Reads groups and instances by id, and the groups that those instances are in."""
        self._parties(parties)

    def instances(self, instances: Iterable[Party]) -> None:
        """Reads instances by id, without their groups."""
        asked = set(instances) - self.store.requested
        self._each_account(asked, lambda ecs, ids: self.store.keep_instances(ecs.instances(ids)))
        self.store.requested |= asked

    def groups_of_instances(self) -> None:
        """Reads the groups of all instances read so far."""
        self.parties(groups_of(self.store.instances.values()))

    def members(self, groups: Iterable[Party]) -> None:
        """Reads every instance of these groups, with all the groups that those instances are in."""

        def read(group: Party) -> None:
            self._read(group.account, functools.partial(self._read_members, group))

        # one after the other where a group is compared with what earlier reads showed
        threads = self._threads if self._how.tolerant else 1
        self._side_by_side(read, sorted(set(groups) - self.store.complete_groups), threads)
        self.groups_of_instances()

    def confirm_absent(self, parties: Iterable[Party]) -> None:
        """Reads these instances, and the members of these groups, once more, and what was not shown of both by its id. A
        Describe call may omit members; this is done before any is treated as gone."""
        store, parties = self.store, set(parties)
        groups = {party for party in parties if party.is_group}
        known = (store.instances[party] for party in parties - groups if party in store.instances)
        again = (parties - groups) | {g for g in groups | groups_of(known) if g not in store.groups}
        store.requested -= again
        store.complete_groups -= groups
        self._parties(again, by_id=again)
        self.members(groups)

    def references(self, groups: Iterable[Party]) -> list[Party]:
        """The groups with a rule that names one of these groups."""
        found: set[Party] = set()
        self._each_account(groups, lambda ecs, ids: found.update(ecs.references(ids)))
        return sorted(found)

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

    def refresh_group(self, group: Party) -> None:
        """Reads the group's tags as they are now. Raises as `refresh_rules` does."""
        self._refresh(group.account, lambda ecs: self._keep_groups(ecs.groups([group.id])), "DescribeSecurityGroups")

    def group_read_at(self, group: Party) -> float:
        """When the group's tags were last read (epoch seconds)."""
        return self._read_at.get(group, 0.0)

    # whole accounts

    def everything(self, accounts: Sequence[str], progress: Callable[[int], None] = lambda _done: None) -> None:
        """Reads every instance of these accounts, unfiltered: tags named `<prefix>-peer.<any>` cannot be filtered by. What need
        not be kept is not, so that an account of any size takes little memory."""

        def read(account: str) -> None:
            self._read(account, functools.partial(self._read_everything, account))
            progress(len(self.store.listings))

        self._side_by_side(read, accounts)

    def probe_liveness(self, accounts: Iterable[str]) -> None:
        """Finds out whether an unfiltered read of these accounts shows any instance. If not, nothing there is treated as
        gone."""
        for account in sorted(set(accounts) - self.store.live_accounts):
            self._read(account, functools.partial(self._probe, account))

    # rules, and what a verdict depends on

    def questions(self, questions: Iterable[Question]) -> None:
        """Reads what evaluating a link needs besides its parties: used addresses, groups' inner access and rules, and
        instances that were set aside."""
        questions = list(questions)
        self.rules(question.group for question in questions if isinstance(question, RulesOf))
        self.parties(q for q in questions if isinstance(q, Party) and not q.is_group)
        for question in questions:
            if isinstance(question, Address):
                self._read(question.account, functools.partial(self._read_address, question))
            elif isinstance(question, Party) and question.is_group:
                self._read(question.account, functools.partial(self._read_inner_access, question))

    def rules(self, groups: Iterable[Party], until: float = math.inf) -> None:
        """Reads the rules of these groups. A group that does not exist has none. What the pace does not let through
        at once is left unread, as is the rest from `until` (epoch seconds) on."""
        todo = sorted(set(groups) - self.store.rules.keys())

        def read(group: Party) -> None:
            self._read(group.account, functools.partial(self._read_due_rules, group, until))

        self._side_by_side(read, todo)

    def rules_in_time(
        self, groups: Collection[Party], until: float = math.inf, progress: Progress = lambda _done, _all: None
    ) -> list[Party]:
        """Reads the rules of these groups in their order, over as many minutes as the pace makes of it. Returns those that
        are left at `until`, or after a minute that let none through. `progress` gets how many were read, and of how many."""
        todo, pace, before = list(groups), self._how.pace, math.inf
        while True:
            done = len(groups) - len(todo)
            for start in range(0, len(todo), CHUNK):
                self.rules(todo[start : start + CHUNK], until)
                progress(done + min(start + CHUNK, len(todo)), len(groups))
            todo = [one for one in todo if one not in self.store.rules and self.store.readable(one.account)]
            if not todo or len(todo) >= before or pace is None or not pace.next_minute(until):
                return todo
            before = len(todo)

    def refresh_rules(self, group: Party) -> tuple[Rule, ...]:
        """The group's rules as they are now. Raises NoAccess or Transient, also where this reading is tolerant."""
        self.store.rules.pop(group, None)
        self._refresh(group.account, functools.partial(self._read_rules, group), _READ_RULES)
        return self.store.rules[group]

    def rules_aside(self, group: Party) -> tuple[Rule, ...] | None:
        """The group's rules, read now and not kept, so that no decision is made from them. None where they cannot be read
        at this moment."""
        ecs, pace = self._ecs_aside(group.account), self._how.pace
        if ecs is None or (pace is not None and not pace.may(group.account, _READ_RULES)):
            return None
        try:
            return tuple(ecs.rules(group.id))
        except (Transient, CloudError):
            return None

    def members_aside(self, group: Party) -> list[Party] | None:
        """The instances of a group, read now and not kept, as `rules_aside` reads rules."""
        ecs = self._ecs_aside(group.account)
        if ecs is None or self._how.pace is not None:
            return None
        try:
            return [instance.party for instance in ecs.members(group.id)]
        except (Transient, CloudError):
            return None

    def side_by_side(self, *reads: Callable[[], object]) -> None:
        """Makes these reads at the same time, where threads are allowed."""
        self._side_by_side(lambda read: read(), reads)

    # one read

    def _parties(self, parties: Iterable[Party], by_id: Collection[Party] = ()) -> None:
        """As `parties`; those of `by_id` also where a read of their whole account has told about them."""
        store = self.store
        asked = {party for party in parties if party not in store.requested}
        unknown = [p for p in asked if not p.is_group and (p in by_id or not self._known_from_listing(p))]
        self._each_account(unknown, lambda ecs, ids: store.keep_instances(ecs.instances(ids)))
        groups = {party for party in asked if party.is_group}
        groups |= groups_of(store.instances[party] for party in asked if party in store.instances)
        groups = {g for g in groups if g not in store.groups and g not in store.requested}
        groups = {g for g in groups if g.account not in self._listed_accounts or g in by_id}
        self._each_account(groups, lambda ecs, ids: self._keep_groups(ecs.groups(ids)))
        store.requested |= asked | groups

    def _read_all_groups(self, account: str, found: list[Group], ecs: Ecs) -> None:
        groups = ecs.all_groups()
        self._keep_groups(groups)
        found.extend(groups)
        self._listed_accounts.add(account)

    def _read_address(self, address: Address, ecs: Ecs) -> None:
        self.store.taken_addresses[address] = ecs.address_taken(address.vpc, address.ip)

    def _read_inner_access(self, group: Party, ecs: Ecs) -> None:
        self.store.inner_access[group] = ecs.inner_access(group.id)

    def _read_members(self, group: Party, ecs: Ecs) -> None:
        members = self._in_pace(group.account, functools.partial(ecs.members, group.id))
        if not self._how.tolerant:
            known = set(self.store.members_shown(group))
            if missing := known - {instance.party for instance in members}:
                # either it was released a moment ago, or the account has stopped showing what it holds
                raise Transient(f"{group} does not show {min(missing)}, which was shown a moment ago")
        self.store.keep_instances(members)
        self.store.complete_groups.add(group)

    def _read_everything(self, account: str, ecs: Ecs) -> None:
        def page(token: str) -> Page:
            return self._in_pace(account, functools.partial(ecs.instance_page, token))

        store, keep = self.store, self._how.keep
        listing, kept = read_listing(page, lambda one: keep(one) or one.party in store.requested)
        store.keep_instances(kept)
        store.listings[account] = listing
        if listing.ids:
            store.live_accounts.add(account)
        else:  # whatever an earlier read showed
            store.live_accounts.discard(account)

    def _probe(self, account: str, ecs: Ecs) -> None:
        if ecs.shows_instances():
            self.store.live_accounts.add(account)

    def _read_due_rules(self, group: Party, until: float, ecs: Ecs) -> None:
        pace = self._how.pace
        if pace is None:
            self._read_rules(group, ecs)
        elif self._clock.now() < until and pace.may(group.account, _READ_RULES):
            try:
                self._read_rules(group, ecs)
            except Throttled:
                pace.throttled(group.account, _READ_RULES)

    def _read_rules(self, group: Party, ecs: Ecs) -> None:
        try:
            self.store.rules[group] = tuple(ecs.rules(group.id))
        except NoAccess:
            raise
        except CloudError as error:
            if not error.code.startswith("InvalidSecurityGroupId"):
                raise
            self.store.rules[group] = ()

    def _known_from_listing(self, instance: Party) -> bool:
        """Whether a read of its whole account tells all about an instance: it was not shown, or is kept."""
        listing = self.store.listings.get(instance.account)
        return listing is not None and (instance in self.store.instances or instance.id not in listing.ids)

    def _keep_groups(self, groups: Iterable[Group]) -> None:
        now = self._clock.now()
        for group in groups:
            self.store.groups[group.party] = group
            self._read_at[group.party] = now

    # how a read is made

    def _read(self, account: str, read: Callable[[Ecs], object]) -> None:
        """One read of an account that can be entered; what goes wrong is noted or raised, as this reading does."""
        try:
            if self.store.readable(account) and (ecs := self.ecs(account)):
                read(ecs)
        except (Transient, CloudError) as error:
            if not self._how.tolerant and not isinstance(error, NoAccess):
                raise _transient(account, error) from error
            self.store.note_trouble(account, error)

    def _in_pace(self, account: str, read: Callable[[], T]) -> T:
        """Reads instances once the pace allows it. Raises OutOfTime."""
        pace = self._how.pace
        return pace.call(account, "DescribeInstances", read) if pace else read()

    def _refresh(self, account: str, read: Callable[[Ecs], object], action: str) -> None:
        """One read whose failure must not go unnoticed, since a change depends on it. It is made also where an earlier
        read failed, and without a wait: what was read before may be old after it."""
        if self._how.pace is not None:
            self._how.pace.made(account, action)
        if error := self.store.refusal(account):
            raise error
        try:
            read(self._cloud.ecs(account))
        except NoAccess as error:
            self.store.note_trouble(account, error)
            raise
        except CloudError as error:
            raise _transient(account, error) from error

    def _ecs_aside(self, account: str) -> Ecs | None:
        return self.ecs(account) if self.store.readable(account) else None

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


def read_listing(read: Callable[[str], Page], keep: Callable[[Instance], bool]) -> tuple[Listing, list[Instance]]:
    """What the whole account shows, and the instances to `keep`. `read` reads the page with a token, the first one's being
    empty. An account of any size takes little memory: of the other instances, only the ids are noted."""
    kept: list[Instance] = []
    ids: set[str] = set()
    members: Counter[str] = Counter()
    tagged = False
    token, more = "", True
    while more:
        page, token = read(token)
        more = bool(token)
        for instance in page:
            if instance.party.id not in ids:  # an instance may move to the next page meanwhile, and be shown twice
                ids.add(instance.party.id)
                members.update(instance.groups)
            tagged = tagged or bool(instance.tags)
            if keep(instance):
                kept.append(instance)
    return Listing(ids, members, tagged), kept


def _transient(account: str, error: Transient | CloudError) -> Transient:
    """A code that nothing here expects is treated as a transient error: redelivered, and at last a dead letter."""
    return error if isinstance(error, Transient) else Transient(f"account {account}: {error}")
