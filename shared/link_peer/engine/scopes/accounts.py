"""A sweep of several accounts in one run: each step of all of them before the next one, so that closing waits for
nobody's wishes.

What only reads is done side by side. What writes is done one account after the other, each with its turn of the time;
what one has found out since, the next ones know.
"""

from __future__ import annotations

import functools
from collections import Counter, deque
from collections.abc import Iterable, Sequence

import msgspec

from link_peer.domain.errors import NoAccess
from link_peer.domain.model import Group, Party, Rule
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.read.access import Reading
from link_peer.engine.read.fetch import Fetch, open_fetch
from link_peer.engine.read.store import Store
from link_peer.engine.scopes.sweep import (
    READING,
    STEPS,
    AccountSweep,
    Progress,
    Run,
    Step,
    after,
    begin,
    list_instances,
    pace_of,
    record,
    settle,
)
from link_peer.planning.actual import damaged_rules, owned_rules
from link_peer.planning.decision import Decision
from link_peer.planning.rota import run_of
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.side_by_side import Job, run_jobs

Result = AccountSweep | Exception
"""The sweep of an account, or what it raised."""


def sweep_accounts(run: Run, accounts: Iterable[str], *, recorded: bool = True) -> list[Result]:
    """Sweeps accounts: of each its sweep, or what was raised. Unless the sweep is to be `recorded`, no summary is
    written, and no managed tag taken off."""
    throughput, names = run.delivery.throughput, deque(sorted(accounts))
    names.rotate(run_of(run.delivery.clock.now()))  # so that no account is always the last
    lanes = max(1, min(len(names), max(throughput.lanes, throughput.readers)))
    each = msgspec.structs.replace(throughput, readers=max(1, throughput.readers // lanes))
    delivery = msgspec.structs.replace(run.delivery, throughput=each)
    shared_run = msgspec.structs.replace(run, delivery=delivery, alone=len(names) == 1)
    pace, progress = pace_of(delivery), _summed(run.progress, names)
    sweeps: list[Result] = [
        begin(msgspec.structs.replace(shared_run, progress=progress[name]), name, pace) for name in names
    ]
    latest = _Latest()
    for step in STEPS:
        ways = (lanes, len(names)) if step in READING else (1, 1)
        sweeps = _stepped(sweeps, functools.partial(after, step=step), latest, *ways)
        if step is list_instances:
            for name in names:
                progress[name]("accounts read", 1, 1)
    return _stepped(sweeps, (lambda sweep: record(settle(sweep))) if recorded else settle, latest, 1, 1)


class _Latest:
    """The newest answers about groups that the accounts of a run have got: their tags, and their rules."""

    def __init__(self) -> None:
        self._groups: dict[Party, Group] = {}
        self._rules: dict[Party, tuple[Rule, ...] | None] = {}  # None: a read after a change failed

    def tell(self, store: Store) -> None:
        """Updates what an account has read, as far as it has."""
        for group in self._groups.keys() & store.groups.keys():
            store.groups[group] = self._groups[group]
        for group in self._rules.keys() & store.rules.keys():
            rules = self._rules[group]
            if rules is None:
                del store.rules[group]
            else:
                store.rules[group] = rules

    def note(self, before: Store, now: Store) -> None:
        """Notes what an account has read since it had read that much."""
        self._groups |= {party: group for party, group in now.groups.items() if before.groups.get(party) is not group}
        self._rules |= {group: rules for group, rules in now.rules.items() if before.rules.get(group) is not rules}
        self._rules |= dict.fromkeys(before.rules.keys() - now.rules.keys())


def _stepped(sweeps: Sequence[Result], step: Step, latest: _Latest, lanes: int, together: int) -> list[Result]:
    """Each of these after a step: so many together, several at a time in as many lanes, and each with its turn of the
    time."""
    results: list[Result] = []
    for start in range(0, len(sweeps), together):
        part = sweeps[start : start + together]
        stores = [_known_groups(sweep, latest) for sweep in part]
        turns = [-(-(len(sweeps) - start - number) // lanes) for number in range(len(part))]
        jobs = [
            Job(functools.partial(_turn_of, sweep, step, turn), frozenset({number}))
            for number, (sweep, turn) in enumerate(zip(part, turns, strict=True))
        ]
        finished = run_jobs(jobs, lanes)
        for result, before in zip(finished, stores, strict=True):
            if isinstance(result, AccountSweep):
                latest.note(before, result.work.fetch.store)
        results += finished
    return results


def _known_groups(sweep: Result, latest: _Latest) -> Store:
    """What an account knows of groups before a step, with what others have found out."""
    copy = Store()
    if isinstance(sweep, AccountSweep):
        store = sweep.work.fetch.store
        latest.tell(store)
        copy.groups, copy.rules = dict(store.groups), dict(store.rules)
    return copy


def _turn_of(sweep: Result, step: Step, turns: int) -> Result:
    """The sweep after a step; what was raised before stays."""
    return sweep if isinstance(sweep, Exception) else step(msgspec.structs.replace(sweep, turns=turns))


def _summed(progress: Progress, accounts: Iterable[str]) -> dict[str, Progress]:
    """The progress of each account, which is told as that of all."""
    counts = {("accounts read", account): (0, 1) for account in accounts}

    def note(account: str, kind: str, count: int, total: int) -> None:
        counts[kind, account] = count, total
        of_kind = [pair for (counted, _), pair in list(counts.items()) if counted == kind]
        progress(kind, sum(count for count, _ in of_kind), sum(total for _, total in of_kind))

    return {account: functools.partial(note, account) for account in accounts}


# what commands ask of a whole run


class SweptAccounts(msgspec.Struct, frozen=True, dict=True):
    """The sweeps of all accounts of a policy as one."""

    delivery: Delivery
    sweeps: tuple[AccountSweep, ...]

    @functools.cached_property
    def fetch(self) -> Fetch:
        """What reads on from what they have read."""
        how = Reading(tolerant=True, pace=self.sweeps[0].work.fetch.pace)
        fetch = open_fetch(self.delivery, self.sweeps[0].run.event_id, how)
        fetch.take_over({sweep.account: sweep.work.fetch for sweep in self.sweeps})
        return fetch

    @property
    def snapshot(self) -> Snapshot:
        """What was read of all accounts, by the sweeps and since."""
        return self.fetch.store.snapshot()

    @property
    def decisions(self) -> list[Decision]:
        """Those that change something."""
        return [decision for sweep in self.sweeps for decision in sweep.report.planned.decisions]

    @property
    def unread(self) -> Counter[str]:
        """How many groups of each account there was no time to read."""
        return Counter(group.account for group in frozenset[Party]().union(*(sweep.unread for sweep in self.sweeps)))

    @property
    def unreadable(self) -> dict[str, str]:
        """The accounts that could not be read, and why."""
        troubles: dict[str, str] = {}
        for sweep in self.sweeps:
            store, account = sweep.work.fetch.store, sweep.account
            trouble = store.unreadable.get(account)
            if trouble is not None:
                troubles[account] = (
                    f"{'no-access' if isinstance(trouble, NoAccess) else 'could not be read'}: {trouble}"
                )
            elif sweep.cursor.token is not None:
                troubles[account] = "could not be read: there was no time to list all of its instances"
        return troubles

    @property
    def damaged(self) -> list[Rule]:
        """Rules that name this deployment and home, but carry no valid marker of ours, as far as was read."""
        return damaged_rules(self.snapshot, self.delivery.policy, self.delivery.region)

    @property
    def managed(self) -> set[Party]:
        """The groups with the managed tag, or found to hold rules of ours without it."""
        tagged = {group.party for sweep in self.sweeps for group in sweep.groups.tagged}
        holders = {rule.group for rule, _ in owned_rules(self.snapshot, self.delivery.policy, self.delivery.region)}
        return tagged | {group for sweep in self.sweeps for group in sweep.groups.todo & holders}
