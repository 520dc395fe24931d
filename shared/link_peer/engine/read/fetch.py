"""Reads the cloud into a store, asking for nothing twice."""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from typing import TypeVar

import msgspec

from link_peer.domain.errors import CloudError, NoAccess, OutOfTime, Throttled, Transient
from link_peer.domain.model import Group, Party, Rule
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Address, Listing, Snapshot
from link_peer.engine.read.access import STRICT, Access, Page, Pages, Reading
from link_peer.engine.read.store import Store, groups_of
from link_peer.planning.decision import InstancesOf, MembersOf, Missing, Question, RulesOf
from link_peer.runtime.clock import Clock
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.pace import Pace
from link_peer.runtime.ports import Cloud, Ecs
from link_peer.runtime.retry import MINUTE
from link_peer.runtime.turns import in_turns

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""(how many are done, of how many)."""

Meanwhile = Callable[[float], None]
"""What is done while others wait, until the minute ends (epoch seconds)."""


def no_action(_minute: float) -> None:
    """The default: nothing is done."""


SPARE = 200  # reads of an account in one run that may be left out
ACCOUNTS = 64  # that are listed at the same time
CHUNK = 32  # groups whose rules are read between two reports of progress
NEW_SECONDS = 1  # rules that were read longer ago are read again before any is removed
NEW_CALLS = 3  # so are those since which more calls were made

_READ_RULES = "DescribeSecurityGroupAttribute"
_READ_INSTANCES = "DescribeInstances"


def open_fetch(delivery: Delivery, name: str, how: Reading = STRICT) -> Fetch:
    """Reads for one delivery, with its policy, its clock and its readers; `name` is as in `Delivery.cloud`."""
    return Fetch(delivery.cloud(name), delivery.policy, delivery.clock, how, threads=delivery.throughput.readers)


class Fetch:
    """Makes the calls whose answers are in `store`. `postponed` are instances that are not read by their id: what only
    a read of their whole account does not decide stays undecided."""

    def __init__(self, cloud: Cloud, policy: Policy, clock: Clock, how: Reading = STRICT, *, threads: int = 1) -> None:
        """`threads` is how many calls may run side by side where a method reads many things."""
        self.store = Store()
        self._access = Access(cloud, policy, self.store, how, threads)
        self._clock = clock
        self._how = how
        self._listed_accounts: set[str] = set()  # all of whose groups were read
        self._read_at: dict[Party, float] = {}
        # since something was changed: when, and after how many calls
        self._rules_read_at: dict[Party, tuple[float, int]] = {}
        self._aside: Counter[str] = Counter()  # reads that this reading may leave out, by account
        self._pages_of: dict[Party, Pages] = {}  # of groups whose instances are read page by page
        self.postponed: set[Party] = set()

    def tolerant(self) -> Fetch:
        """The same reads and the same store, from now on with trouble noted instead of raised."""
        clone = copy.copy(self)
        clone._how = msgspec.structs.replace(self._how, tolerant=True)
        clone._access = self._access.reading(clone._how)
        return clone

    def anew(self) -> Fetch:
        """Reads that make their calls as these do, and know nothing yet but the groups of accounts all of whose groups
        were read."""
        fetch = Fetch(self._access.cloud, self._access.policy, self._clock, self._how, threads=self._access.threads)
        fetch._listed_accounts |= self._listed_accounts
        groups = self.store.groups.items()
        fetch.store.groups |= {party: group for party, group in groups if party.account in self._listed_accounts}
        return fetch

    def take_over(self, fetches: Mapping[str, Fetch]) -> None:
        """Goes on from what was read for several accounts (by uid)."""
        self.store.take_over({account: fetch.store for account, fetch in fetches.items()})
        for fetch in fetches.values():
            self._listed_accounts |= fetch._listed_accounts
            self.postponed |= fetch.postponed
            self._access.first_pages |= fetch._access.first_pages

    @property
    def calls(self) -> Counter[str]:
        """API calls made so far, by action."""
        return self._access.cloud.calls

    @property
    def pace(self) -> Pace | None:
        """How many calls this reading leaves to others, where it leaves any."""
        return self._how.pace

    def ecs(self, account: str) -> Ecs | None:
        """The account's ECS; None where the policy does not list it, or it refuses access."""
        return self._access.ecs(account)

    # instances and groups

    def parties(self, parties: Iterable[Party], by_id: Collection[Party] = ()) -> None:
        """Reads groups and instances by id, and the groups that those instances are in; those of `by_id` also where a
        read of their whole account has told about them."""
        store = self.store
        unrequested = {party for party in parties if party not in store.requested}
        unknown = [p for p in unrequested if not p.is_group and (p in by_id or not self._missing_from_listing(p))]
        unrequested -= self.postponed.intersection(unknown).difference(by_id)
        unknown = [party for party in unknown if party in unrequested]
        self._access.by_account(unknown, lambda ecs, ids: store.keep_instances(ecs.instances(ids)))
        groups = {party for party in unrequested if party.is_group}
        groups |= groups_of(store.instances[party] for party in unrequested if party in store.instances)
        groups = {g for g in groups if g not in store.groups and g not in store.requested}
        groups = {g for g in groups if g.account not in self._listed_accounts or g in by_id}
        self._access.by_account(groups, lambda ecs, ids: self._keep_groups(ecs.groups(ids)))
        store.requested |= unrequested | groups

    def parties_and_rules(self, parties: Collection[Party]) -> None:
        """Reads groups and instances as `parties` does, and beside them the rules of the groups, also of one that does
        not exist: an account is entered, and then asked for both."""

        def read(_ecs: Ecs, account: str) -> None:
            account_parties = [party for party in parties if party.account == account]
            self.side_by_side(
                lambda: self.rules(party for party in account_parties if party.is_group),
                lambda: self.parties(account_parties),
            )

        self._access.each(sorted({party.account for party in parties}), read)
        self.parties(parties)

    def instances(self, instances: Iterable[Party]) -> None:
        """Reads instances by id, without their groups."""
        unrequested = set(instances) - self.store.requested
        self._access.by_account(unrequested, lambda ecs, ids: self.store.keep_instances(ecs.instances(ids)))
        self.store.requested |= unrequested

    def groups_of_instances(self) -> None:
        """Reads the groups of all instances read so far."""
        self.parties(groups_of(self.store.instances.values()))

    def members(self, groups: Iterable[Party], *, alone: bool = False) -> None:
        """Reads every instance of these groups, with all the groups that those instances are in unless `alone`."""
        # one after the other where a group is compared with what earlier reads showed
        threads = 1 if self._how.compares else None
        self._access.each(sorted(set(groups) - self.store.complete_groups), self._read_members, threads=threads)
        if not alone:
            self.groups_of_instances()

    def members_by_page(self, groups: Iterable[Party], pages: int | None = None, *, alone: bool = False) -> None:
        """Reads instances of these groups as `members` does, until `pages` of each are read, by default one more than
        so far; never more than this reading has for a group, and all of them where it sets no limit. Until the last
        page is read, who is not shown may be on a later one: such a group is not complete."""
        most = self._how.pages
        if most is None:
            self.members(groups, alone=alone)
            return
        counts = {group: self._pages_of[group].count if group in self._pages_of else 0 for group in groups}
        due = [group for group, count in counts.items() if count < min(most, pages or most)]
        self._access.each(sorted({*due} - self.store.complete_groups), self._read_next_page, threads=1)
        if not alone:
            self.groups_of_instances()

    def is_read_in_part(self, group: Party) -> bool:
        """Whether pages of a group's instances were read, and the last one was not."""
        pages = self._pages_of.get(group)
        return pages is not None and bool(pages.count and pages.following)

    def members_in_time(self, groups: Iterable[Party], until: float) -> None:
        """Reads every instance of these groups as `members` does, as far as the pace allows it before `until` (epoch
        seconds)."""

        def read(ecs: Ecs, group: Party) -> None:
            if self._in_time(group.account, until):
                with contextlib.suppress(OutOfTime, Throttled):
                    self._read_members(ecs, group)

        self._access.each(sorted(set(groups) - self.store.complete_groups), read)
        self.groups_of_instances()

    def confirm_absent(self, parties: Iterable[Party]) -> None:
        """Reads these instances, and the members of these groups, once more, and what was not shown of both by its id.
        A Describe call may omit members; this is done before any is treated as gone."""
        store, parties = self.store, set(parties)
        groups = {party for party in parties if party.is_group}
        shown_instances = (store.instances[party] for party in parties - groups if party in store.instances)
        again = (parties - groups) | {g for g in groups | groups_of(shown_instances) if g not in store.groups}
        if self._how.pages is not None:  # nothing is absent from a group that was not read whole
            groups &= store.complete_groups
        store.requested -= again
        store.complete_groups -= groups
        self.parties(again, by_id=again)
        self.members(groups)

    def references(self, groups: Iterable[Party]) -> list[Party]:
        """The groups with a rule that names one of these groups."""
        referencing: set[Party] = set()
        self._access.by_account(groups, lambda ecs, ids: referencing.update(ecs.references(ids)))
        return sorted(referencing)

    def tagged_groups(self, accounts: Sequence[str], tag: str) -> list[Party]:
        """The groups of these accounts that carry a tag."""
        groups: list[Group] = []
        self._access.each(accounts, lambda ecs, _account: groups.extend(ecs.tagged_groups(tag)))
        self._keep_groups(groups)
        return sorted(group.party for group in groups)

    def all_groups(self, accounts: Sequence[str]) -> list[Group]:
        """Every group of these accounts. Afterwards no group of theirs is asked for by id: a name that a tag invents
        costs no call."""
        account_groups: list[Group] = []

        def read(ecs: Ecs, account: str) -> None:
            groups = ecs.all_groups()
            self._keep_groups(groups)
            account_groups.extend(groups)
            self._listed_accounts.add(account)

        self._access.each(accounts, read)
        return account_groups

    def refresh_groups(self, account: str, groups: Iterable[Party]) -> None:
        """Reads the tags of an account's groups as they are now, in one call. Raises as `refresh_rules` does."""
        ids = [group.id for group in groups]
        self._access.refresh(account, lambda ecs: self._keep_groups(ecs.groups(ids)), "DescribeSecurityGroups")

    def is_advanced(self, group: Party) -> bool:
        """Whether the group was read, and is an advanced one."""
        stored_group = self.store.groups.get(group)
        return stored_group is not None and stored_group.advanced

    def group_read_at(self, group: Party) -> float:
        """When the group's tags were last read (epoch seconds)."""
        return self._read_at.get(group, 0.0)

    # whole accounts

    def all_instances(self, accounts: Sequence[str]) -> None:
        """Reads every instance of these accounts, unfiltered: tags named `<prefix>-peer.<any>` cannot be filtered by.
        What need not be kept is not, so that an account of any size takes little memory."""

        def read(account: str) -> None:
            self._access.read(account, lambda ecs: self._read_everything(ecs, account))

        # all at once: an account in which each call waits for the next minute holds up no other
        threads = ACCOUNTS if self._access.threads > 1 else 1
        self._access.side_by_side([functools.partial(read, account) for account in accounts], threads)

    def pages(self, first: str = "") -> Pages:
        """Pages of instances to read, from the one with a token on."""
        keep, store = self._how.keep, self.store
        return Pages(lambda instance: keep(instance) or instance.party in store.requested, first)

    def read_pages(self, account: str, pages: Pages, until: float) -> None:
        """Reads on until `until` (epoch seconds), as the pace allows it; from the first page again, where the cloud
        refuses the token. Nothing of it is in the store yet: see `keep_pages`."""

        def page(ecs: Ecs, token: str) -> Page | None:
            if not self._in_time(account, until):
                return None
            try:
                return self._in_pace(account, functools.partial(ecs.instance_page, token))
            except (OutOfTime, Throttled):
                return None

        def read(ecs: Ecs) -> None:
            try:
                pages.take(functools.partial(page, ecs))
            except CloudError as error:
                if "NextToken" not in error.code or not pages.following:
                    raise
                pages.begin_again()
                pages.take(functools.partial(page, ecs))

        self._access.read(account, read)

    def keep_pages(self, account: str, pages: Pages) -> None:
        """Takes what was read into the store."""
        store = self.store
        store.keep_instances(instance for instance in pages.kept_instances if instance.party not in store.instances)
        if pages.whole:
            self._note_listing(account, pages.listing)
        elif pages.listing.ids:
            store.live_accounts.add(account)

    def probe_liveness(self, accounts: Iterable[str]) -> None:
        """Finds out whether an unfiltered read of these accounts shows any instance. If not, nothing there is treated
        as gone, unless the account refuses to show them."""

        def probe(ecs: Ecs, account: str) -> None:
            if ecs.shows_instances() and account not in self.store.listings:
                self.store.live_accounts.add(account)

        self._access.each(sorted(set(accounts) - self.store.live_accounts), probe)

    def discard_emptied(self, accounts: Iterable[str]) -> bool:
        """Asks each of these accounts once more for any instance. One that shows none, or cannot be asked, is not live:
        returns whether there is one."""
        live = self.store.live_accounts
        emptied = {
            account
            for account in sorted(live & set(accounts))
            if not self._access.aside(account, lambda ecs: ecs.shows_instances())
        }
        live -= emptied
        return bool(emptied)

    # rules, and what a verdict depends on

    def questions(self, questions: Iterable[Question]) -> None:
        """Reads what evaluating a link needs besides its parties: used addresses, groups' inner access, rules and
        instances, instances that were set aside, and numbers of members."""
        questions = list(questions)
        self.rules(question.group for question in questions if isinstance(question, RulesOf))
        self.members(question.group for question in questions if isinstance(question, InstancesOf))
        self.parties(q for q in questions if isinstance(q, Party) and not q.is_group)
        ips_by_vpc: dict[tuple[str, str], list[str]] = {}
        for question in questions:
            if isinstance(question, Address):
                ips_by_vpc.setdefault((question.account, question.vpc), []).append(question.ip)
            elif isinstance(question, Party) and question.is_group:
                self._ask(question.account, functools.partial(self._read_inner_access, question))
            elif isinstance(question, MembersOf):
                self._count_members(question)
        for (account, vpc), ips in ips_by_vpc.items():
            if self._spared(account):
                self._ask(account, functools.partial(self._read_addresses, vpc, sorted(set(ips))))

    def rules(self, groups: Iterable[Party], until: float = math.inf) -> None:
        """Reads the rules of these groups. A group that does not exist has none. What the pace does not let through
        at once is left unread, as is the rest from `until` (epoch seconds) on."""
        todo = sorted({group for group in groups if group not in self.store.rules})
        self._access.each(todo, lambda ecs, group: self._read_due_rules(ecs, group, until))

    def rules_in_time(
        self,
        groups: Collection[Party],
        until: float = math.inf,
        progress: Progress = lambda _count, _all: None,
        meanwhile: Meanwhile = no_action,
    ) -> list[Party]:
        """Reads the rules of these groups, one of each account in turn and those of one account in their order, over as
        many minutes as the pace makes of it. Returns those that are left at `until`, or after a minute that let none
        through. `progress` gets how many were read, and of how many; `meanwhile` is called before each wait for the
        next minute."""
        todo, pace, before = in_turns(groups, lambda group: group.account), self._how.pace, math.inf
        while True:
            read_counts = itertools.count(len(groups) - len(todo) + 1)

            def read(ecs: Ecs, group: Party, counts: Iterator[int] = read_counts) -> None:
                self._read_due_rules(ecs, group, until)
                if (count := next(counts)) % CHUNK == 0:
                    progress(count, len(groups))

            parts = (sorted(todo[start : start + CHUNK]) for start in range(0, len(todo), CHUNK))
            self._access.each([group for part in parts for group in part if group not in self.store.rules], read)
            if todo:
                progress(len(groups), len(groups))
            todo = [group for group in todo if group not in self.store.rules and self.store.readable(group.account)]
            if not todo or len(todo) >= before or pace is None:
                return todo
            meanwhile((self._clock.now() // MINUTE + 1) * MINUTE)
            if not pace.next_minute(until):
                return todo
            before = len(todo)

    def refresh_rules(self, group: Party) -> tuple[Rule, ...]:
        """The group's rules as they are now. Raises NoAccess or Transient, also where this reading is tolerant."""
        self.store.rules.pop(group, None)
        self._access.refresh(group.account, lambda ecs: self._read_rules(ecs, group), _READ_RULES)
        return self.store.rules[group]

    def rules_are_new(self, group: Party) -> bool:
        """Whether the group's rules were read a moment ago, and nothing was `changed` since. Never where reading is
        paced: a sweep reads much between the rules and their removal."""
        if group not in self._rules_read_at or self._how.pace is not None:
            return False
        at, calls = self._rules_read_at[group]
        return self._clock.now() - at <= NEW_SECONDS and self.calls.total() - calls <= NEW_CALLS

    def changed(self) -> None:
        """Notes that something is about to be changed: from now on, rules that were read before are old."""
        self._rules_read_at.clear()

    def rules_aside(self, group: Party) -> tuple[Rule, ...] | None:
        """The group's rules, read now and not kept, so that no decision is made from them. None where they cannot be
        read at this moment."""
        pace = self._how.pace

        def read(ecs: Ecs) -> tuple[Rule, ...] | None:
            may = pace is None or (self._spared(group.account) and pace.may(group.account, _READ_RULES))
            return tuple(ecs.rules(group.id)) if may else None

        return self._access.aside(group.account, read)

    def first_page(self, group: Party) -> Page | None:
        """The instances of a group as one page shows them, or as many as were read by now, for no decision; None where
        that is not possible at this moment."""
        if member_pages := self._pages_of.get(group):
            return member_pages.kept_instances, member_pages.following or ""
        pages = self._access.first_pages
        if group not in pages and (
            page := self._access.aside(group.account, lambda ecs: ecs.instance_page(group=group.id))
        ):
            pages[group] = page
        return pages.get(group)

    def members_aside(self, group: Party) -> Page | None:
        """The instances of a group as `first_page` reads them; None where reading is paced."""
        return None if self._how.pace is not None else self.first_page(group)

    def side_by_side(self, *reads: Callable[[], object]) -> None:
        """Makes these reads at the same time, where threads are allowed."""
        self._access.side_by_side(reads)

    def _spared(self, account: str) -> bool:
        """Whether an account may be asked once more what a paced reading may leave out: for records, and of addresses.
        What others write costs it no more than SPARE such reads."""
        self._aside[account] += 1
        return self._how.pace is None or self._aside[account] <= SPARE

    # one read

    def _ask(self, account: str, read: Callable[[Ecs], object]) -> None:
        """One question. In a tolerant reading, a party that the cloud does not know or finds malformed costs its
        account nothing else: the question stays open."""

        def ask(ecs: Ecs) -> None:
            try:
                read(ecs)
            except CloudError as error:
                if isinstance(error, NoAccess) or not (self._how.tolerant and error.code.startswith("Invalid")):
                    raise

        self._access.read(account, ask)

    def _read_addresses(self, vpc: str, ips: Sequence[str], ecs: Ecs) -> None:
        taken_ips = ecs.addresses_taken(vpc, ips)
        self.store.answers.update({Address(ecs.account, vpc, ip): ip in taken_ips for ip in ips})

    def _read_inner_access(self, group: Party, ecs: Ecs) -> None:
        self.store.answers[group] = ecs.inner_access(group.id)

    def _count_members(self, question: MembersOf) -> None:
        """As far as one page shows them. No decision waits for the number, so that trouble with it is not noted."""
        if page := self.first_page(question.group):
            self.store.answers[question] = len(page[0])

    def _read_members(self, ecs: Ecs, group: Party) -> None:
        members = self._in_pace(group.account, functools.partial(ecs.members, group.id))
        self._note_all_members(group, {instance.party for instance in members})
        self.store.keep_instances(members)

    def _read_next_page(self, ecs: Ecs, group: Party) -> None:
        pages = self._pages_of.setdefault(group, self.pages())
        before, count = len(pages.kept_instances), pages.count

        def page(token: str) -> Page | None:
            return ecs.instance_page(token, group.id) if pages.count == count else None

        pages.take(page)
        if pages.whole:
            self._note_all_members(group, {Party(group.account, name) for name in pages.listing.ids})
        self.store.keep_instances(pages.kept_instances[before:])

    def _note_all_members(self, group: Party, members: Set[Party]) -> None:
        """Notes that these are all instances of a group. Raises Transient where one is not among them that was
        shown."""
        if (self._how.compares or not members) and (missing := set(self.store.members_shown(group)) - members):
            # either it was released a moment ago, or the account has stopped showing what it holds
            raise Transient(f"{group} does not show {min(missing)}, which was shown a moment ago")
        self.store.complete_groups.add(group)

    def _read_everything(self, ecs: Ecs, account: str) -> None:
        def page(token: str) -> Page:
            return self._in_pace(account, functools.partial(ecs.instance_page, token))

        pages = self.pages()
        pages.take(page)
        self.store.keep_instances(pages.kept_instances)
        self._note_listing(account, pages.listing)

    def _note_listing(self, account: str, listing: Listing) -> None:
        """Notes what a read of a whole account showed."""
        self.store.listings[account] = listing
        if listing.ids:
            self.store.live_accounts.add(account)
        else:  # whatever an earlier read showed
            self.store.live_accounts.discard(account)

    def _read_due_rules(self, ecs: Ecs, group: Party, until: float) -> None:
        pace = self._how.pace
        if self._clock.now() >= until or (pace and not pace.may(group.account, _READ_RULES)):
            return
        try:
            self._read_rules(ecs, group)
        except Throttled:
            if pace is None:
                raise
            pace.throttled(group.account, _READ_RULES)

    def _read_rules(self, ecs: Ecs, group: Party) -> None:
        at = self._clock.now()
        try:
            self.store.rules[group] = tuple(ecs.rules(group.id))
            self._rules_read_at[group] = at, self.calls.total()
        except CloudError as error:
            if not error.code.startswith("InvalidSecurityGroupId"):
                raise
            self.store.rules[group] = ()

    def _missing_from_listing(self, instance: Party) -> bool:
        """Whether a read of its whole account did not show an instance."""
        listing = self.store.listings.get(instance.account)
        return listing is not None and instance.id not in listing.ids

    def _keep_groups(self, groups: Iterable[Group]) -> None:
        now = self._clock.now()
        for group in groups:
            self.store.groups[group.party] = group
            self._read_at[group.party] = now

    def _in_time(self, account: str, until: float) -> bool:
        """Whether instances may be read before `until`."""
        pace = self._how.pace
        return self._clock.now() < until and (pace is None or pace.in_time(account, _READ_INSTANCES, until))

    def _in_pace(self, account: str, read: Callable[[], T]) -> T:
        """Reads instances once the pace allows it. Raises OutOfTime."""
        pace = self._how.pace
        return pace.call(account, _READ_INSTANCES, read) if pace else read()


class MissingReader:
    """Reads what plans say is missing, each thing once: for one plan after the other."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._probed: set[str] = set()
        self._confirmed: set[Party] = set()
        self._questions: set[Question] = set()
        self._checked_accounts: set[str] = set()

    def read(self, missing: Missing, snapshot: Snapshot) -> bool:
        """Reads what a plan for the snapshot misses; False when it misses nothing that was not read already."""
        read = self._read(missing, snapshot)
        if read:
            self._checked_accounts.clear()
        return read

    def emptied(self, accounts: Set[str]) -> bool:
        """Whether one of these accounts shows no instance any more, now that all is read: reads may have begun to be
        empty after the first ones. Nothing that it does not show is treated as gone then."""
        unshown = accounts - self._checked_accounts
        self._checked_accounts |= unshown
        return self._fetch.discard_emptied(unshown)

    def _read(self, missing: Missing, snapshot: Snapshot) -> bool:
        fetch = self._fetch
        if missing.unread:
            fetch.parties({party for link in missing.unread for party in link.parties})
            askers = {link.asker for link in missing.unread} | {link.target for link in missing.unread if link.mutual}
            fetch.members_by_page(party for party in askers if party.is_group)
            if fetch.store.snapshot() is not snapshot:
                return True
        if questions := missing.questions - self._questions:
            self._questions |= questions
            fetch.questions(questions)
            return True
        if unprobed := missing.doubted_accounts - self._probed:
            self._probed |= unprobed
            fetch.probe_liveness(unprobed)
            return True
        if unconfirmed := missing.unconfirmed - self._confirmed:
            self._confirmed |= unconfirmed
            fetch.confirm_absent(unconfirmed)
            return True
        return False
