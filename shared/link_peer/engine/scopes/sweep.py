"""The sweep: every rule of ours is what tags, requests and consent say now, account by account.

    list the groups ─▶ read the rules that changed ─▶ close ─▶ look at the parties that rules name ─▶ list instances
      ─▶ read what they ask for, and its peers in other accounts ─▶ close what these show ─▶ open ─▶ settle, record
      ─▶ the cursor of the account's next message

The same steps serve the first delivery of an account's sweep, those that go on with its listing, the short sweeps
between two full ones, and a run over many accounts. Such a run does each step for all accounts before the next step, so
closing never waits for what tags ask for. A step that runs out of time leaves the remaining changes undone, which is
safe: each run starts reading at another place, and finds them by itself. The cursor only decides what is read.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Set

import msgspec

from link_peer.domain.model import Group, Instance, Link, Party, Rule
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import asks_for_links
from link_peer.engine.converge import converge, plan_only
from link_peer.engine.read.access import Pages, Reading
from link_peer.engine.scopes.account import AccountScope, Pair, pair_of
from link_peer.engine.scopes.account_reads import AccountReads
from link_peer.engine.scopes.closing import Forbidding, look
from link_peer.engine.scopes.summary import account_record, entered_fields, record_unreadable, skipped
from link_peer.engine.scopes.untag import untag_empty_groups
from link_peer.engine.write.removal_guard import HoldingGuard, LookGuard, RemovalGuard
from link_peer.engine.write.work import PlanTotals, Report, Until, Work, open_work
from link_peer.planning import cursor as cursors
from link_peer.planning.actual import damaged_rules
from link_peer.planning.cursor import MOST_SHOWING_LESS, MOST_SUSPECTS, MOST_WAITING, Cursor
from link_peer.planning.decision import Decision
from link_peer.planning.sweep import Phase
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.pace import Pace

RULES_SHARE = 0.5  # of the time left may have passed when the last rules are read that closing needs
CLOSING_SHARE = 0.65  # and when the last rule is removed that needs no look at wishes
CLOSING_EACH = 0.15  # and what one account's closing may take of it before then, where others are swept, too
PARTIES_SHARE = 0.7  # and when the last account is asked for parties that rules name
LISTING_SHARE = 0.75  # and when the last page of instances is read
LISTING_TOGETHER_SHARE = 0.8  # the same of a run over several accounts, in which no message goes on with a listing
JUDGING = (
    0.5  # of the time that is left for a step may pass while its links are judged; the rest is for what they come to
)
READING_SHARE = 0.85  # and when anything is read that need not be read right before a change

Progress = Callable[[str, int, int], None]
"""(what is being done, how many are done, of how many)."""


class Run(msgspec.Struct, frozen=True):
    """What the accounts of one run share."""

    delivery: Delivery
    event_id: str
    believe_empty: frozenset[str] = frozenset()  # accounts that a person has confirmed to have no instances
    alone: bool = True  # one account is swept, so it delays no other
    keep: Callable[[Instance], bool] | None = None  # which instances stay in memory; None: those that ask for links
    progress: Progress = lambda _kind, _count, _total: None


Step = Callable[["AccountSweep"], "AccountSweep"]


class Groups(msgspec.Struct, frozen=True):
    """An account's groups, as far as a sweep has listed and read them."""

    tagged: tuple[Group, ...] = ()  # those with the managed tag
    digests: dict[int, str] = {}  # what the listing shows of each bucket
    due: frozenset[int] = frozenset()  # buckets whose rules must be read again
    judged: frozenset[Party] = frozenset()  # groups that this delivery judges: those in due buckets, and suspects
    todo: frozenset[Party] = frozenset()  # groups whose rules this delivery reads

    def of(self, numbers: Iterable[int]) -> frozenset[Party]:
        """The tagged groups in these buckets."""
        buckets = set(numbers)
        return frozenset(group.party for group in self.tagged if cursors.bucket_of(group.party) in buckets)

    def with_due(self, numbers: Set[int]) -> Groups:
        """The same groups, of which those in these buckets are due, too."""
        due = self.due | numbers
        groups = {"judged": self.judged | self.of(numbers), "todo": self.todo | self.of(numbers)}
        return msgspec.structs.replace(self, due=due, **groups)


class AccountSweep(msgspec.Struct, frozen=True):
    """The sweep of one account, after some of its steps. Each step returns the next value."""

    run: Run
    account: str
    work: Work
    guard: RemovalGuard
    started: float  # epoch seconds
    start: Cursor  # where this delivery began
    first: bool  # this delivery begins a full sweep: its message had no cursor
    cursor: Cursor  # where it is now
    pages: Pages | None  # the listing of instances; None once it is complete
    groups: Groups = Groups()
    phase: Phase = Phase()
    # all rules and instances were read that show a party, so the guard may let removals for absent ones pass
    whole: bool = False
    unread: frozenset[Party] = frozenset()  # groups for whose rules there was no time
    has_peers: bool = False  # some links are with other accounts
    report: Report = Report()
    judged: frozenset[Pair] = frozenset()  # pairs of standing links that were checked for reasons to close them
    late: frozenset[Pair] = frozenset()  # pairs whose links there was no time to judge; the next deliveries do
    turns: int = 1  # how many accounts share the time that is left for this step

    @property
    def is_short(self) -> bool:
        """Whether all was read and judged before, so that this sweep only looks for changes."""
        return self.start.listed

    @property
    def quiet(self) -> bool:
        """Whether it is a short sweep with nothing to read."""
        return self.is_short and not self.groups.due

    @property
    def stops(self) -> bool:
        """Whether there is nothing more to do: nothing changed, or the account cannot be read."""
        return self.quiet or not self.work.fetch.store.readable(self.account)

    @property
    def suspects(self) -> frozenset[Party]:
        """The groups that earlier deliveries suspect, once all rules were read. Instances that wait do not delay them:
        they may wait for another account for ever."""
        return frozenset(Party(self.account, name) for name in self.start.suspects if not self.start.unread_groups)

    @property
    def judges_unseen(self) -> bool:
        """Whether this delivery may make the removals that the guard counts."""
        return self.whole and (self.first or bool(self.suspects)) and len(self.suspects) <= MOST_SUSPECTS

    @property
    def scope(self) -> AccountScope:
        """What is decided now."""
        return self.scope_in(self.phase, self.work, share=READING_SHARE)

    def scope_in(self, phase: Phase, work: Work, until: Until | None = None, share: float = 1.0) -> AccountScope:
        """What is decided in a phase within this share of the time, and carried out with this work until `until`."""
        now, end = work.delivery.clock.now(), self.until(CLOSING_SHARE if until else share)
        return AccountScope(
            work,
            self.account,
            self.started,
            phase,
            until=until,
            judges_until=now + (end - now) * JUDGING,
            refused_keys=self.report.refused_keys,
            believe_empty=self.run.believe_empty,
        )

    @property
    def reads(self) -> AccountReads:
        """What reads for it."""
        delivery, fetch = self.work.delivery, self.work.fetch
        progress = functools.partial(self.run.progress, "groups read")
        place = (self.account, self.started, delivery.clock, progress)
        return AccountReads(fetch, delivery.policy, delivery.region, *place)

    @property
    def other_accounts(self) -> frozenset[str]:
        """The other accounts of the policy."""
        return frozenset(self.work.delivery.policy.accounts.keys() - {self.account})

    @property
    def denied(self) -> dict[tuple[Link, str], Decision]:
        """Wishes of this account's instances that are denied, and not recorded one by one, by link and by the peer as
        written."""
        planned = self.report.planned
        recorded = self.report.refused.keys() | {d.link for d in planned.decisions if d.outcome == "applied"}
        return {
            key: wish
            for key, wish in planned.denied.items()
            if wish.instance and wish.instance.account == self.account and wish.link not in recorded
        }

    @property
    def outcomes(self) -> Counter[str]:
        """How many decisions have each outcome. `postponed` counts the changes, groups and pairs for which there was no
        time."""
        postponed = self.report.undone + len(self.unread) + len(self.late)
        return self.work.audit.outcomes + Counter(postponed=postponed)

    @property
    def damaged(self) -> list[Rule]:
        """Rules that name this deployment and home, but carry no valid marker of ours. They are left alone."""
        delivery = self.work.delivery
        return damaged_rules(self.work.fetch.store.snapshot(), delivery.policy, delivery.region)

    @property
    def skipped(self) -> dict[str, str]:
        """What could not be read, or was left alone, and why: by account, and by a number of groups."""
        unread = Counter(group.account for group in self.unread)
        refused_tags = {
            place: detail
            for place, detail in self.work.tags.refused.items()
            if self.run.alone or place.endswith(self.account)  # the whole run tells once
        }
        snapshot, doubted = self.work.fetch.store.snapshot(), self.report.planned.doubted or ()
        notes = skipped(snapshot, doubted, unread, self.report.undone, refused_tags)
        if self.late:
            place = f"links of {len(self.late)} pairs"
            notes[place] = f"{place}: no time was left to judge them; the next deliveries do"
        goes_on = self.run.alone and self.work.delivery.connections.sweep_queue
        if self.cursor.token is not None and not goes_on:
            place = f"instances of {self.account}"
            notes.setdefault(self.account, f"{place}: no time was left to list all of them")
        return notes

    def until(self, share: float) -> float:
        """When this share of the run's time has passed, or the account's turn ends."""
        end = self.started + (self.work.delivery.retry.deadline - self.started) * share
        return _turn(self.work.delivery.clock.now(), end, self.turns)


# one account, step by step


def list_groups(sweep: AccountSweep) -> AccountSweep:
    """Lists the account's groups, and finds out which of them changed since their rules were read."""
    policy, reads = sweep.work.delivery.policy, sweep.reads
    groups = sweep.work.fetch.all_groups([sweep.account])
    tagged = tuple(filter(reads.has_tag, groups))
    digests = cursors.digests(tagged, groups, policy.keys)
    due = frozenset(cursors.due(sweep.cursor, digests, policy.digest, sweep.started))
    listed = Groups(tagged, digests, due)
    judged = listed.of(due) | sweep.suspects
    todo = judged | frozenset(reads.untagged_share(groups) if sweep.first else ())
    return msgspec.structs.replace(sweep, groups=msgspec.structs.replace(listed, judged=judged, todo=todo))


def read_rules(sweep: AccountSweep) -> AccountSweep:
    """Reads rules: first those of groups that are locked, refuse peers, or changed since they were read. While reads
    wait for the next minute of the quota, instances are listed. Then reads the account's own parties that these rules
    name, and the other halves of mutual links there."""
    groups, reads, until = sweep.groups, sweep.reads, sweep.until(RULES_SHARE)
    keys, buckets = sweep.work.delivery.policy.keys, {bucket.number for bucket in sweep.cursor.buckets}
    forbidding = {group.party for group in groups.tagged if any(map(keys.forbids, group.tags))}
    reads.rules(groups.todo & (forbidding | groups.of(groups.due & buckets)), until)
    unread = reads.rules(groups.todo, until, lambda minute: _list_pages(sweep, min(minute, until)))
    return _with_own_parties(sweep, unread, until)


def close(sweep: AccountSweep) -> AccountSweep:
    """Closes what has ended, lost its consent, is locked, or is against the policy. Where many accounts are swept, a
    throttled closing, or one beyond the account's share of the time, waits until wishes are read, so that it delays
    nobody's links."""
    end, delivery = sweep.until(CLOSING_SHARE), sweep.work.delivery
    each = (delivery.retry.deadline - sweep.started) * CLOSING_EACH
    return _closed(sweep, Phase(), Until(end, end) if sweep.run.alone else Until(end, 0.0, each))


def look_at_parties(sweep: AccountSweep) -> AccountSweep:
    """Reads the parties, in any account, that the rules name as far as an earlier delivery noted them. Where a party
    has changed since these rules were read, they are read again, and judged by what it shows now."""
    start, keys, until = sweep.start, sweep.work.delivery.policy.keys, sweep.until(PARTIES_SHARE)
    if sweep.first or not sweep.work.fetch.store.readable(sweep.account):
        return sweep
    parties = [entry.party for entry in start.parties if not sweep.groups.due.issuperset(entry.buckets)]
    snapshot = sweep.reads.parties_anew(parties, until)
    due = cursors.changed(start, snapshot, keys) | sweep.reads.crowded_share(start.crowded, len(sweep.groups.tagged))
    if sweep.is_short:
        absent = cursors.absent(start, snapshot)
        guard = LookGuard(sweep.guard.limit, absent, start.removals, MOST_SHOWING_LESS)
        sweep = msgspec.structs.replace(sweep, guard=guard)
    groups = sweep.groups.with_due(due)
    if not (todo := groups.todo - sweep.groups.todo):
        return sweep
    unread = sweep.reads.rules(todo, sweep.until(READING_SHARE))
    return _with_own_parties(msgspec.structs.replace(sweep, groups=groups), unread, sweep.until(READING_SHARE))


def list_instances(sweep: AccountSweep) -> AccountSweep:
    """Lists instances page by page while there is time. Until the listing is complete, no absent instance is judged;
    then the following deliveries read all rules again. A run over many accounts has no following delivery, so there a
    slow account must not keep the others from their first page."""
    _list_pages(sweep, sweep.until(LISTING_SHARE if sweep.run.alone else LISTING_TOGETHER_SHARE))
    pages, store = sweep.pages, sweep.work.fetch.store
    if not store.readable(sweep.account):
        return sweep  # what these pages ask for is not opened, so they are listed again
    cursor = sweep.cursor
    if pages:
        sweep.work.fetch.keep_pages(sweep.account, pages)
        before = cursor if pages.first else msgspec.structs.replace(cursor, pages=0, instances=0)
        counts = {"pages": before.pages + pages.count, "instances": before.instances + len(pages.listing.ids)}
        cursor = msgspec.structs.replace(before, token=pages.following, **counts)
    store.live_accounts.update(sweep.run.believe_empty)
    judges = not pages or pages.whole
    whole = judges and sweep.groups.judged <= store.rules.keys()
    phase = Phase(closes=False, judges=judges, by_id=sweep.is_short)
    return msgspec.structs.replace(sweep, cursor=cursor, whole=whole, phase=phase)


def read_own_wishes(sweep: AccountSweep) -> AccountSweep:
    """Reads the account's own parties that its instances' tags name, their rules, and what a plan for these links is
    missing. That may show wishes that name other accounts."""
    reads, account = sweep.reads, {sweep.account}
    sweep.work.fetch.parties(Party(sweep.account, name) for name in sweep.start.waiting)
    reads.followed(account, sweep.until(READING_SHARE))
    reads.own_parties(_own_wishes(sweep))
    with_rules = _read_wished_rules(sweep, account)
    plan_only(with_rules.scope, _guard(with_rules))
    return with_rules


def read_peers(sweep: AccountSweep) -> AccountSweep:
    """Reads, by id, the groups and instances of links with other accounts, and the rules of the other halves, also
    where this account's half was closed."""
    reads = sweep.reads
    closed = [d.link for d in sweep.report.planned.decisions if d.outcome == "removed" and d.link.mutual]
    standing = [*reads.standing(), *closed, *(Link(link.target, link.source) for link in closed)]
    has_peers = reads.peers([*standing, *_own_wishes(sweep)], sweep.until(READING_SHARE))
    if has_peers:
        reads.followed(sweep.other_accounts, sweep.until(READING_SHARE))
    everywhere, until = {sweep.account, *sweep.other_accounts}, sweep.until(READING_SHARE)
    unread = reads.halves(standing, everywhere, until) if has_peers else set[Party]()
    phase = msgspec.structs.replace(sweep.phase, crosses=True)
    return msgspec.structs.replace(sweep, phase=phase, unread=sweep.unread | unread, has_peers=has_peers)


def close_with_others(sweep: AccountSweep) -> AccountSweep:
    """Closes what the peers in other accounts show to have ended, and what the sweeps of these accounts found out."""
    if sweep.run.alone and not sweep.has_peers:
        return sweep
    return _closed(sweep, msgspec.structs.replace(sweep.phase, closes=True))


def read_wishes_of_others(sweep: AccountSweep) -> AccountSweep:
    """Reads the rules, in all accounts, that the wishes of instances and their peers need."""
    return _read_wished_rules(sweep, {sweep.account, *sweep.other_accounts}) if sweep.has_peers else sweep


def remove_unasked(sweep: AccountSweep) -> AccountSweep:
    """Removes what nobody asks for any more, before any account of the run opens anything. An account that is swept
    alone does both in one plan."""
    if sweep.run.alone:
        return sweep
    return _closed(sweep, msgspec.structs.replace(sweep.phase, opens=False))


def open_links(sweep: AccountSweep) -> AccountSweep:
    """Opens what is asked for, once everything that is known to have ended is closed."""
    return _opened(sweep)


def next_cursor(sweep: AccountSweep) -> Cursor:
    """Where the account's next message begins: what is still to do, and when something ends on the groups that were
    read."""
    before, groups, store = sweep.cursor, sweep.groups, sweep.work.fetch.store
    if not store.readable(sweep.account):
        return before
    snapshot, policy, region = store.snapshot(), sweep.work.delivery.policy, sweep.work.delivery.region
    failed = sweep.report.pending or sweep.report.undone
    unjudged = {group for pair in sweep.late for end in pair for group in snapshot.groups_with(end)}
    decided = snapshot.rules.keys() - unjudged
    undecided = {cursors.bucket_of(group.party) for group in groups.tagged if group.party not in decided}
    read = set[int]() if failed else set(groups.due - undecided)
    ends = cursors.ends(snapshot, policy, region, groups.of(read), sweep.started)
    after = cursors.read(before, groups.digests, policy.digest, {number: ends.get(number, 0) for number in read})
    after = cursors.with_parties(after, snapshot, policy, region, groups.of(read), read)
    if isinstance(sweep.guard, LookGuard):
        after = msgspec.structs.replace(after, removals=sweep.guard.removals)
    if sweep.pages and before.token is None and not sweep.pages.whole:
        after = msgspec.structs.replace(after, buckets=())
    buckets = {bucket.number for bucket in after.buckets}
    remaining = sum(cursors.bucket_of(group.party) not in buckets for group in groups.tagged)
    if (sweep.suspects or sweep.judges_unseen) and not sweep.late:
        if not failed:  # once in a sweep: a part of what was too many would not be
            after = msgspec.structs.replace(after, suspects=(), judged=True)
    elif not (sweep.start.listed or before.judged):
        after = cursors.suspected(after, sweep.report.planned.due)
    return msgspec.structs.replace(after, unread_groups=remaining, waiting=_waiting(sweep, snapshot))


def _waiting(sweep: AccountSweep, snapshot: Snapshot) -> tuple[str, ...]:
    """Instances whose links could not be judged: their rules were not read, or there was no time. One for each link."""
    reads, store = sweep.reads, sweep.work.fetch.store
    desired = sweep.scope.remit.desired(snapshot, sweep.work.writes.taken_claims)
    wishes = {wish.link: wish for wish in desired if wish.in_scope}
    waiting = {
        wish.instance.id
        for wish in wishes.values()
        if wish.instance
        if pair_of(wish.link) in sweep.late
        or any(store.readable(group.account) for group in reads.groups_of(snapshot, wish))
    }
    return tuple(sorted(waiting)[:MOST_WAITING])


def _with_own_parties(sweep: AccountSweep, unread: Set[Party], until: float) -> AccountSweep:
    """The sweep after reading the account's own parties that its rules name, and the other halves there. The rules of
    the `unread` groups were not read."""
    standing = sweep.reads.standing()
    sweep.reads.own_parties(standing)
    unread = sweep.unread | unread | sweep.reads.halves(standing, {sweep.account}, until)
    return msgspec.structs.replace(sweep, unread=frozenset(unread))


def _list_pages(sweep: AccountSweep, until: float) -> None:
    if sweep.pages:
        sweep.work.fetch.read_pages(sweep.account, sweep.pages, until)


def _own_wishes(sweep: AccountSweep) -> list[Link]:
    """The links that the account's own instances ask for."""
    snapshot = sweep.work.fetch.store.snapshot()
    askers = (instance for instance in snapshot.instances.values() if instance.party.account == sweep.account)
    return [wish.link for wish in sweep.scope.wishes(snapshot, askers)]


def _closed(sweep: AccountSweep, phase: Phase, until: Until | None = None) -> AccountSweep:
    """The sweep after closing what a phase decides to close."""
    scope = _in_turn(sweep, phase, until)
    closed = converge(scope, _guard(sweep))
    judged = sweep.judged
    if not (closed.pending or closed.undone):
        judged |= {pair_of(link) for link in sweep.reads.standing()} - scope.late.keys()
    # what met a transient error while closing, or had no time, is due again when wishes are read
    report = sweep.report + msgspec.structs.replace(closed, pending=(), undone=0)
    return msgspec.structs.replace(sweep, report=report, judged=judged)


def _read_wished_rules(sweep: AccountSweep, accounts: Set[str]) -> AccountSweep:
    """The sweep after reading the rules, in these accounts, that its wishes need."""
    reads, desired = sweep.reads, sweep.scope.desired(sweep.work.fetch.store.snapshot())
    unread = reads.rules_of(desired, accounts, sweep.until(READING_SHARE))
    phase = msgspec.structs.replace(sweep.phase, later=reads.unasked(desired))
    return msgspec.structs.replace(sweep, phase=phase, unread=sweep.unread | unread)


def _opened(sweep: AccountSweep) -> AccountSweep:
    """The sweep after its rules were brought to what is wished for, and what was written was looked at again."""
    scope, guard = _in_turn(sweep, sweep.phase), _guard(sweep)
    forbidding = Forbidding(scope, lambda _: sweep.report.written, sweep.report.refused_keys)
    report = converge(scope, guard, forbidding.extended)
    total = sweep.report + report + Report(pending=forbidding.troubles)
    opened = {decision.link for decision in total.planned.decisions if decision.outcome == "applied"}
    # the rest was judged by its plans; of a group of another account that closing has changed, only its links with this
    # one
    groups = total.written | scope.needed_groups(sweep.work.fetch.store.snapshot(), opened)
    stuck = sweep.report.refused_keys | (report.refused_keys & forbidding.keys)
    looked = msgspec.structs.replace(look(scope, guard, groups, stuck), planned=PlanTotals())
    late = {pair for pair, is_missing in scope.late.items() if is_missing or pair not in sweep.judged}
    late = {pair for pair in late if sweep.account in {end.account for end in pair}}
    return msgspec.structs.replace(sweep, report=_undone_late(total + looked, scope.delivery), late=frozenset(late))


def _undone_late(report: Report, delivery: Delivery) -> Report:
    """The report; once the delivery is out of time, what failed counts as undone instead."""
    if not delivery.out_of_time():
        return report
    return msgspec.structs.replace(report, undone=report.undone + len(report.pending), pending=())


def _guard(sweep: AccountSweep) -> RemovalGuard:
    """The guard of this delivery. Unless it judges absent parties, all removals that the guard counts are held back."""
    return sweep.guard if sweep.judges_unseen or sweep.is_short else HoldingGuard(sweep.guard.limit)


def _in_turn(sweep: AccountSweep, phase: Phase, until: Until | None = None) -> AccountScope:
    """The account's scope in a phase, whose time ends with the account's turn."""
    delivery = sweep.work.delivery
    end = _turn(delivery.clock.now(), delivery.retry.deadline, sweep.turns)
    in_turn = msgspec.structs.replace(delivery, retry=delivery.retry.ending(end))
    return sweep.scope_in(phase, msgspec.structs.replace(sweep.work, delivery=in_turn), until)


def _turn(now: float, end: float, turns: int) -> float:
    """When the first of `turns` equal turns ends that share the time until `end`."""
    return end if turns < 2 else now + (end - now) / turns


READING: tuple[Step, ...] = (
    list_groups,
    read_rules,
    list_instances,
    read_own_wishes,
    read_peers,
    read_wishes_of_others,
)
STEPS: tuple[Step, ...] = (
    list_groups,
    read_rules,
    close,
    look_at_parties,
    list_instances,
    read_own_wishes,
    read_peers,
    close_with_others,
    read_wishes_of_others,
    remove_unasked,
    open_links,
)


# from the beginning to the summary


def begin(run: Run, account: str, pace: Pace | None = None, cursor: Cursor | None = None) -> AccountSweep:
    """The sweep of an account, which continues from a cursor, or begins. `pace` is that of the run, where it has
    several accounts."""
    delivery, now = run.delivery, run.delivery.clock.now()
    keep = run.keep or (lambda instance: asks_for_links(instance.tags, delivery.policy.keys))
    how = Reading(tolerant=True, pace=pace or pace_of(delivery), keep=keep)
    work = open_work(delivery, run.event_id, delivery.audit({"event_id": run.event_id}), how)
    start = cursor or Cursor(int(now))
    pages = None if start.token is None else work.fetch.pages(start.token)
    guard = RemovalGuard(delivery.policy.limits.removals_per_run)
    return AccountSweep(run, account, work, guard, now, start, cursor is None, start, pages)


def pace_of(delivery: Delivery) -> Pace:
    """How many calls a sweep leaves to others, and until when it reads."""
    now = delivery.clock.now()
    end = now + (delivery.retry.deadline - now) * READING_SHARE
    return Pace(delivery.clock, end, delivery.throughput.calls_per_minute)


def sweep_account(sweep: AccountSweep) -> AccountSweep:
    """The sweep of an account after all of its steps, recorded. Raises Transient if the audit log could not be written;
    trouble with single changes is in `report.pending`."""
    return record(settle(functools.reduce(after, STEPS, sweep)))


def after(sweep: AccountSweep, step: Step) -> AccountSweep:
    """The sweep after a step, unless its groups say that there is nothing more to do."""
    return step(sweep) if step in (list_groups, look_at_parties) or not sweep.stops else sweep


def settle(sweep: AccountSweep) -> AccountSweep:
    """The sweep with its final report: once the delivery is out of time, failures count as undone. Removals that
    another delivery judges do not count as held."""
    report = sweep.report
    if sweep.late or not (sweep.judges_unseen or sweep.is_short or sweep.suspects):
        report = msgspec.structs.replace(report, held_removals={})
    return msgspec.structs.replace(sweep, report=_undone_late(report, sweep.work.delivery))


def record(sweep: AccountSweep) -> AccountSweep:
    """Takes managed tags off groups that need none, and writes the summary. A short sweep that had nothing to do writes
    none."""
    fetch, account, delivery = sweep.work.fetch, sweep.account, sweep.work.delivery
    if sweep.quiet and fetch.store.readable(account):
        return sweep
    untagged = [] if sweep.late else untag_empty_groups(sweep.scope, account)
    snapshot, policy = fetch.store.snapshot(), delivery.policy
    record_unreadable(sweep.work.audit, snapshot, account)
    cursor, tagged = next_cursor(sweep), len(sweep.groups.tagged)
    listing = "all listed" if cursor.token is None else "the listing goes on"
    listed = f"{cursor.instances} instances on {cursor.pages} pages: {listing}"
    summary = {
        **({} if delivery.caller or delivery.supposed else entered_fields(policy, account, snapshot)),
        **account_record(policy, account, snapshot, sweep.report, sweep.denied.values(), sweep.skipped.values()),
        "damaged_markers": ",".join(sorted({str(rule.group) for rule in sweep.damaged})),
        "api_requests": ",".join(untagged),
        "api_calls": json.dumps(fetch.calls, sort_keys=True),
        "seconds": f"{delivery.clock.now() - sweep.started:.1f}",
        "progress": f"{listed}; rules of {tagged - cursor.unread_groups} of {tagged} groups read",
    }
    sweep.work.audit.write([summary])
    return sweep
