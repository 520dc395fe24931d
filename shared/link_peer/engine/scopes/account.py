"""The scope of one account's sweep: its own groups and rules, and the wishes of its own instances.

    groups of the account ─▶ rules of those that changed, or on which something ended ─▶ close
      ─▶ pages of instances, until there is no time ─▶ own links ─▶ parties of other accounts, by their ids ─▶ their links
      ─▶ a cursor: what is left, and when the next short sweep is due

The same steps serve the first delivery of a sweep, those that go on with its listing, and the short sweeps between two full ones, which
find little to read. Nothing depends on a cursor but what is read. What other accounts hold is not waited for: an account's own
rules are closed before any other account is entered, and its own links are made before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence, Set
from typing import Any

import msgspec

from link_peer.domain.model import Claim, Group, Link, Party, Rule
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.read.access import Pages
from link_peer.engine.scopes.everything import (
    ASKING,
    CLOSING_SHARE,
    READING_SHARE,
    RULES_SHARE,
    RUNS_A_DAY,
    Sweep,
    part_of,
)
from link_peer.engine.write.removal_guard import PartGuard
from link_peer.engine.write.work import Until
from link_peer.planning import cursor as cursors
from link_peer.planning.cursor import MOST_SUSPECTS, MOST_WAITING, Cursor
from link_peer.planning.decision import Decision, DesiredLink, Missing, Plan
from link_peer.planning.removals import May
from link_peer.planning.rota import run_of, runs_between
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Record

LISTING_SHARE = 0.75  # of the time left may have passed when the last page of instances is read


class Part(msgspec.Struct):
    """What one delivery does of an account's sweep: the `first` of it, a short one once all is read (`idle`), or the last before,
    which judges what is not shown on the groups that are `suspects`; there are none in others. `tagged` are the account's groups
    with the managed tag, `shown` the digests of their buckets, `due` the buckets whose rules are read, `found` the groups with
    rules that may have to go since a party is not shown, `pages` what was listed of its instances. `judges`: whether anybody
    asks for a rule is judged. `enters`: other accounts were read."""

    account: str
    cursor: Cursor
    guard: PartGuard
    first: bool
    idle: bool
    suspects: frozenset[Party]
    tagged: tuple[Group, ...] = ()
    shown: dict[int, str] = {}
    due: set[int] = set()
    pages: Pages | None = None
    judges: bool = False
    enters: bool = False
    found: set[Party] = set()

    @property
    def quiet(self) -> bool:
        """Whether it is a short sweep that found nothing to read."""
        return self.idle and not self.due

    @property
    def judged(self) -> set[Party]:
        """The groups that this delivery judges, if any: those to be read, and those that others suspect."""
        return self.groups(self.due) | self.suspects

    def groups(self, numbers: Iterable[int]) -> set[Party]:
        """The groups with the managed tag in these buckets."""
        wanted = set(numbers)
        return {group.party for group in self.tagged if cursors.bucket_of(group.party) in wanted}


class AccountSweep(Sweep):
    """One delivery of the sweep of an account, from a cursor, or from the beginning. `cursor` is then what the next one is to
    begin with."""

    def __init__(self, delivery: Delivery, event_id: str, account: str, cursor: Cursor | None = None) -> None:
        super().__init__(delivery, event_id)
        guard = PartGuard(self.policy.limits.removals_per_run)
        begun = cursor or Cursor(int(self.started))
        # whatever waits: that may be another account's for ever
        suspects = frozenset(Party(account, name) for name in begun.suspects if not begun.left)
        self.part = Part(account, begun, guard, cursor is None, begun.listed, suspects)

    @property
    def cursor(self) -> Cursor:
        """How far the sweep is."""
        return self.part.cursor

    def run(self) -> None:
        """Closes, lists, and converges. Raises as `Sweep.run` does."""
        part, todo = self.part, self._read_groups()
        if not part.quiet:
            self._sweep(todo)
        self._move_on()
        self._finish()

    def _sweep(self, todo: set[Party]) -> None:
        part = self.part
        self._read_rules(todo)
        self._read_own_parties()
        stuck = self._close(part.guard)
        self._list(self._end(LISTING_SHARE))
        self._keep()
        if self.store.readable(part.account):
            self._read_wishes()
            self._converge(part.guard, stuck)
            if self._read_peers():
                done, self._asked.later = self.report, None
                stuck |= self._close(part.guard)
                self.report = done + self.report
                self._read_wished_rules()
                self._converge(part.guard, stuck)

    # what is read

    def _read_groups(self) -> set[Party]:
        """Lists the groups of the account. Returns those whose rules are to be read now."""
        part = self.part
        groups = self.fetch.all_groups([part.account])
        part.tagged = tuple(filter(self._has_tag, groups))
        part.shown = cursors.digests(part.tagged, groups, self.policy.keys.sets)
        part.due = cursors.due(part.cursor, part.shown, self.policy.digest, self.started)
        return part.judged | set(self._share(groups) if part.first else ())

    @property
    def accounts(self) -> list[str]:
        """The one."""
        return [self.part.account]

    @property
    def runs_a_day(self) -> int:
        """As often as it is the account's turn."""
        return RUNS_A_DAY // runs_between(len(self.policy.accounts))

    @property
    def _run(self) -> int:
        return run_of(self.started) // runs_between(len(self.policy.accounts))

    def _read_rules(self, todo: set[Party]) -> None:
        """Reads rules: first of groups that are locked, or show something else than when they were read. While some wait for the
        next minute, instances are listed in this one."""
        until = self._end(RULES_SHARE)
        keys, read = self.policy.keys, {bucket.number for bucket in self.part.cursor.buckets}
        locked = {group.party for group in self.part.tagged if keys.lock_on(group.tags)}
        self._rules(todo & (locked | self.part.groups(self.part.due & read)), until)
        self.unread.clear()
        self._rules(todo, until, lambda minute: self._list(min(minute, until)))

    def _list(self, until: float) -> None:
        part = self.part
        if part.cursor.token is not None:
            part.pages = part.pages or self.fetch.pages(part.cursor.token)
            self.fetch.read_pages(part.account, part.pages, until)

    def _keep(self) -> None:
        """Takes over what was listed, and decides what this delivery may judge: where a listing stopped half-way, nothing that is
        not shown. Once it is complete, all rules are read again, in the deliveries that follow."""
        part, pages = self.part, self.part.pages
        if not self.store.readable(part.account):
            return  # what these pages ask for is not opened, so they are listed again
        if pages:
            self.fetch.keep_pages(part.account, pages)
            before = part.cursor if pages.first else msgspec.structs.replace(part.cursor, pages=0, instances=0)
            part.cursor = msgspec.structs.replace(
                before,
                token=pages.following,
                pages=before.pages + pages.count,
                instances=before.instances + len(pages.listing.ids),
            )
        part.judges = not pages or pages.whole
        if part.first or part.suspects:
            whole = part.judges and part.judged <= self.store.rules.keys()
            part.guard.judges = whole and len(part.suspects) <= MOST_SUSPECTS

    def _read_own_parties(self) -> None:
        """The parties of the account that its rules name, as far as other accounts cannot make it read too much."""
        standing = self._standing()
        self._read_parties((self.part.account, link) for link, *_ in standing)
        self._read_halves(standing, RULES_SHARE)

    def _enters(self, account: str) -> bool:
        return self.part.enters or account == self.part.account

    def _read_wishes(self) -> None:
        """The parties in the account that its instances name, and the rules for them."""
        own = self.part.account
        self.fetch.parties(Party(own, name) for name in self.part.cursor.waiting)
        self._read_followed({own})
        self._read_parties((own, link) for link in self._wished(self.store.snapshot()))
        self._read_wished_rules()

    def _read_peers(self) -> bool:
        """Reads the parties of links with other accounts, one account after the other for as long as there is time; and the rules
        of the other halves of mutual ones. Returns whether there are any."""
        part, until = self.part, self._end(READING_SHARE)
        standing = self._standing()
        links = [*(link for link, *_ in standing), *self._wished(self.store.snapshot())]
        named, postponed = self._named((part.account, link) for link in links)
        by_account: dict[str, set[Party]] = {}
        others = self.policy.accounts.keys() - {part.account}
        for party in named:
            if party.account in others:
                by_account.setdefault(party.account, set()).add(party)
        part.enters, self.fetch.postponed = True, postponed
        names = deque(sorted(by_account))
        names.rotate(self._run)  # so that no account is always the last
        for account in names:
            if self.delivery.clock.now() < until:
                self.fetch.parties(by_account[account])
            else:
                postponed |= by_account[account]
        self._read_followed(others)
        self._read_halves(standing, READING_SHARE)
        return bool(by_account)

    def _read_followed(self, accounts: Set[str]) -> None:
        """The instances of groups in these accounts that links by address follow, in turns where they are many."""
        links = [link for link, *_ in self._standing() if link.member and link.source.account in accounts]
        groups = sorted({link.source for link in links})
        self.fetch.members_in_time(part_of(groups, ASKING, self._run), self._end(READING_SHARE))

    def _order(self, group: Party) -> Any:
        """By buckets, since one is done when all of its rules were read."""
        return group.account, cursors.bucket_of(group), group

    def _wished(self, snapshot: Snapshot) -> list[Link]:
        """The links that the account's own instances ask for."""
        own = (one for one in snapshot.instances.values() if one.party.account == self.part.account)
        return [wanted.link for wanted in self.wishes(snapshot, own)]

    # what is decided

    def _wanted(self, snapshot: Snapshot) -> list[DesiredLink]:
        """Answered are the links of the account: while no other account is entered, those within it."""
        return [
            one if self._answers(one.link) else msgspec.structs.replace(one, here=False)
            for one in super()._wanted(snapshot)
        ]

    def _answers(self, link: Link) -> bool:
        accounts = {link.source.account, link.target.account}
        return self.part.account in accounts and all(map(self._enters, accounts))

    def may_lose(self, snapshot: Snapshot, rule: Rule, link: Link, claim: Claim) -> May:
        """Every claim of the account's rules and of the other halves of its mutual links, so that both go together, where all that
        could ask for it is read: what is not is read for it. Of other rules, and while a listing is under way, those with an
        explicit cause."""
        part = self.part
        read = part.judges and not (self._closing or self._is_later(rule.group, link))
        own = self._answers(link) and (link.mutual or rule.group.account == part.account)
        judged = May.TAKE if snapshot.covers(link) else May.READ
        return judged if read and own else May.CLOSE

    def closing_until(self) -> Until:
        """The account's own closing comes first, and waits for throttled calls: no other account waits for it."""
        if not self._closing or self.part.enters:
            return self._until_opening()
        return Until(self._end(CLOSING_SHARE), self._end(CLOSING_SHARE))

    def affordable(self, missing: Missing) -> Missing:
        """While no other account is entered, what can be read in this one."""
        if self.part.enters:
            return missing
        own = self.part.account
        return Missing(
            frozenset(link for link in missing.unread if {end.account for end in link.parties} == {own}),
            frozenset(one for one in missing.questions if one.account == own),
            missing.doubted_accounts & {own},
            missing.unconfirmed,
        )

    def select(self, plan: Plan) -> list[Decision]:
        """Changes, as in every sweep."""
        if not self.part.guard.judges:
            self.part.found |= {key.group for keys in plan.due.values() for key in keys}
        return super().select(plan)

    # what is left

    def _move_on(self) -> None:
        """Notes what is left for the next delivery."""
        part, before = self.part, self.part.cursor
        if not self.store.readable(part.account):
            return
        snapshot, policy = self.store.snapshot(), self.policy
        failed = self.report.pending or self.report.undone
        done = set[int]() if failed else {n for n in part.due if part.groups({n}) <= snapshot.rules.keys()}
        ends = cursors.ends(snapshot, policy, self.delivery.region, part.groups(done), self.started)
        after = cursors.read(before, part.shown, policy.digest, {number: ends.get(number, 0) for number in done})
        if part.pages and before.token is None and not part.pages.whole:
            after = msgspec.structs.replace(after, buckets=())
        known = {bucket.number for bucket in after.buckets}
        left = sum(cursors.bucket_of(group.party) not in known for group in part.tagged)
        if part.suspects or part.guard.judges:
            if not failed:  # once in a sweep: a part of what was too many would not be
                after = msgspec.structs.replace(after, suspects=(), judged=True)
        elif not (part.idle or before.judged):
            after = cursors.suspected(after, part.found)
        part.cursor = msgspec.structs.replace(after, left=left, waiting=self._waiting(snapshot))

    def _waiting(self, snapshot: Snapshot) -> tuple[str, ...]:
        """An instance for each link that is asked for, and whose rules there was no time to read."""
        asked = {one.link: one for one in self._wanted(snapshot) if one.here}
        found = {
            one.instance.id
            for one in asked.values()
            if one.instance
            if any(self.store.readable(group.account) for group in self._groups_needed(snapshot, [one]))
        }
        return tuple(sorted(found)[:MOST_WAITING])

    def _finish(self) -> None:
        """As in every sweep; a short sweep that found nothing records nothing."""
        if not (self.part.guard.judges or self.part.suspects):
            self.report = msgspec.structs.replace(self.report, held={})
        if not self.part.quiet or not self.store.readable(self.part.account):
            super()._finish()

    def _summary(self, account: str, untagged: Sequence[str]) -> Record:
        part, cursor = self.part, self.part.cursor
        listing = "all listed" if cursor.token is None else "the listing goes on"
        progress = (
            f"{cursor.instances} instances on {cursor.pages} pages: {listing}; rules of {len(part.tagged) - cursor.left} of "
            f"{len(part.tagged)} groups read"
        )
        return {**super()._summary(account, untagged), "progress": progress}
