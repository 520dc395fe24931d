"""Closes in all accounts side by side what locked groups hold, or everything of an account that leaves, and says what stands."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
from link_peer.app.sweeps import run_sweep
from link_peer.domain.errors import LinkPeerError, Transient
from link_peer.domain.model import Group, Marker, Party, Rule
from link_peer.domain.request import Hint
from link_peer.engine.converge import converge
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.read.fetch import open_fetch
from link_peer.engine.scopes.group import GroupScope
from link_peer.engine.scopes.sweep import Run
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.planning.actual import OwnedRule, link_of_rule, owned_rules
from link_peer.runtime.delivery import LANES, Delivery
from link_peer.runtime.ports import Record
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials
from link_peer.runtime.side_by_side import Job, run_jobs

from link_peer_cli.access.environment import Environment
from link_peer_cli.access.keys import caller
from link_peer_cli.access.noted import of_rule, of_tags
from link_peer_cli.answers import CloudCall
from link_peer_cli.closing.locks import Wanted, by_account, change_tags, in_each
from link_peer_cli.consent.group_tags import GroupTags
from link_peer_cli.review.delivery import as_locked, closing
from link_peer_cli.ui.changes import CHANGES, STOPPED
from link_peer_cli.ui.progress import Count


class AccountStanding(msgspec.Struct, frozen=True):
    """What stands in one account: the groups that were named, or that have a lock, the managed tag or a rule of ours; the
    rules of ours; and why not all could be read."""

    groups: Mapping[Party, Group]
    rules: Sequence[OwnedRule]
    problem: str = ""


class Closed(msgspec.Struct, frozen=True):
    """What a closing run did: its outcomes; in a dry run, the changes that it would make; the rules that are left; and why
    an account could not be read."""

    records: list[Record]
    changes: list[CloudCall]
    left: list[Rule]
    problems: dict[str, str]


def close(env: Environment, account: str, own: Mapping[str, Credentials], progress: Count, *, dry_run: bool) -> Closed:
    """Run a sweep in which the account has no links and nothing is opened, with records of every change; then read what
    stands. `own` are the person's keys of other accounts, by uid."""
    who = caller(env.settings, env.own())[1]
    delivery, kept, supposed = closing(env, "account-remove", own, caller=who, dry_run=dry_run, leaving=[account])
    swept = run_sweep(Run(delivery, f"sweep-cli-{int(env.clock.now())}", progress=progress))
    standing = {} if dry_run else look(delivery, dict.fromkeys(env.policy.accounts))
    left = [rule for one in standing.values() for rule, marker in one.rules if account in _accounts(rule, marker)]
    problems = {uid: one.problem for uid, one in standing.items() if one.problem}
    return Closed(kept.outcomes, supposed.changes, left, {**swept.unreadable, **problems})


def look(
    delivery: Delivery, accounts: Wanted, progress: Callable[[str, int, int], None] = lambda _uid, _done, _all: None
) -> dict[str, AccountStanding]:
    """What stands in each account now. The rules of every group are read that has any: one may have lost its managed tag.
    `progress` gets an account, how many of its groups were read, and of how many."""

    def read(uid: str) -> AccountStanding:
        fetch, named = open_fetch(delivery, "close", TOLERANT), accounts[uid]
        if named is None:
            asked = sorted(group.party for group in fetch.all_groups([uid]) if group.rule_count)
        else:
            asked = sorted(named)
            fetch.parties(asked)
        fetch.rules_in_time(asked, progress=functools.partial(progress, uid))
        snapshot = fetch.store.snapshot()
        rules = owned_rules(snapshot, delivery.policy, delivery.region)
        keys, holders = delivery.policy.keys, {rule.group for rule, _ in rules}
        groups = {
            party: group
            for party, group in snapshot.groups.items()
            if named or party in holders or group.tags.get(keys.managed) == "true" or keys.own_locks(group.tags)
        }
        error = snapshot.refused_accounts.get(uid) or snapshot.failed_accounts.get(uid, "")
        return AccountStanding(groups, rules, str(error))

    return in_each(accounts, read)


class ClosingRun:
    """One run of `close`. `removal` has what was removed, `standing` what was seen last of each account. `locked` are the groups that have the lock now,
    `unlocked` those that could not be locked, and why: their rules were removed all the same, and may come back."""

    def __init__(
        self, env: Environment, tags: GroupTags, accounts: Wanted, value: str, count: Count, *, dry_run: bool
    ) -> None:
        """`value` is what the tags of the locks say."""
        self._keys = env.policy.keys
        self._tags = tags
        self._accounts = accounts
        self._value = value
        self.removal = _Removal(env, tags, value, count, dry_run=dry_run)
        self._read: dict[str, tuple[int, int]] = {}
        self.standing: dict[str, AccountStanding] = {}
        self.locked: set[Party] = set()
        self.unlocked: dict[Party, LinkPeerError] = {}

    @property
    def mine(self) -> list[str]:
        """The accounts of which there are keys."""
        return [uid for uid in self._accounts if uid in self._tags.accounts]

    def due(self, uid: str) -> list[Party]:
        """The groups of an account that are not locked."""
        own_locks = self._keys.own_locks
        return sorted(party for party, group in self.standing[uid].groups.items() if not own_locks(group.tags))

    def look(self, accounts: Collection[str], *, patient: bool = False) -> None:
        """See what stands in these accounts; `patient`: wait until a throttled API takes calls again."""
        self._read = {}
        asked = {uid: self._accounts[uid] for uid in accounts}
        self.standing |= look(self.removal.delivery(patient=patient), asked, self._progress)

    def run(self) -> None:
        """Lock and remove, where there are keys; look again; and once more, patiently, where something stands
        or could not be read."""
        again = self.mine
        for patient in (False, True):
            if patient:
                self.look(again, patient=True)
            rules = [one for uid in again for one in self.standing[uid].rules]
            CHANGES.expect(of_rule("remove", rule.key) for rule, _ in rules if rule.key)
            self.lock(again, patient=patient)
            self.removal.remove(rules, patient=patient)
            self.look(again, patient=patient)
            hampered = {group.account for group, why in self.unlocked.items() if isinstance(why, Transient)}
            again = [uid for uid in again if uid in hampered or self.standing[uid].problem or self.standing[uid].rules]
            if not (again or self.removal.halves):
                break
        self.look([uid for uid in self._accounts if uid not in self.mine])

    def suppose(self) -> None:
        """Find out what `run` would remove."""
        self.removal.remove([one for uid in self.mine for one in self.standing[uid].rules], patient=True)

    def lock(self, accounts: Collection[str], *, patient: bool = True) -> None:
        """Lock the groups of these accounts, and remove nothing."""
        key, retry = self._keys.lock, self.removal.delivery(patient=patient).retry

        def put(some: list[Party]) -> None:
            retry(lambda: self._tags.put(some, {key: self._value}))

        due = {uid: self.due(uid) for uid in accounts}
        CHANGES.expect(of_tags("put", [key], group) for groups in due.values() for group in groups)
        for uid, failed in in_each(due, lambda uid: change_tags(due[uid], put)).items():
            groups = self.standing[uid].groups.keys()
            self.unlocked = {group: why for group, why in self.unlocked.items() if group not in groups} | failed
            self.locked |= groups - failed.keys()

    def _progress(self, uid: str, done: int, all_: int) -> None:
        self._read[uid] = (done, all_)
        known = list(self._read.values())
        self.removal.counted("groups read", sum(done for done, _ in known), sum(all_ for _, all_ in known))


class _Removal:
    """Removes the rules of ours from groups as if these were locked, and the other halves of mutual links, with records that
    name who does it. `troubles` are those of groups, for which they may be tried again. `halves` are groups that may hold
    halves which met a transient error: a group that is closed does not lead to them any more."""

    def __init__(self, env: Environment, tags: GroupTags, value: str, count: Count, *, dry_run: bool) -> None:
        self._clock = env.clock
        self._count = count
        self._value = value
        self._shown: dict[Party, str] = {}  # with the lock
        own = {uid: keys for uid, keys in tags.accounts.items() if uid != env.policy.home}
        made = closing(env, "close", own, caller=tags.caller, dry_run=dry_run)
        self._delivery, self.kept, self.supposed = made
        self._guard = RemovalGuard(env.policy.limits.removals_per_run)
        self.troubles: dict[Party, str] = {}
        self.halves: set[Party] = set()

    def delivery(self, *, patient: bool) -> Delivery:
        """No account waits for one that throttles every call, which its owner can cause, unless `patient`."""
        retry = Retry(self._clock, self._delivery.retry.deadline)
        return self._delivery if patient else msgspec.structs.replace(self._delivery, retry=retry)

    def counted(self, what: str, done: int, all_: int) -> None:
        """Show the progress. Raises KeyboardInterrupt once a signal has stopped the command."""
        if STOPPED.is_set():
            raise KeyboardInterrupt
        self._count(what, done, all_)

    def remove(self, rules: Sequence[OwnedRule], *, patient: bool) -> None:
        """Remove these rules, those of several groups side by side unless one is the other's half."""
        self._shown |= {rule.group: self._value for rule, _ in rules}
        touched: dict[Party, set[Party]] = {group: {group} for group in self.halves}
        for rule, marker in rules:
            touched.setdefault(rule.group, {rule.group})
            if (link := link_of_rule(rule, marker)).mutual:
                touched[rule.group] |= {link.source, link.target}
        self.halves, self.troubles = set(), {}  # what is tried again may go well
        delivery = as_locked(self.delivery(patient=patient), self._shown)
        delivery = delivery if delivery.supposed else delivery.merged("close")
        event_id, finished = f"close-cli-{int(self._clock.now())}", itertools.count(1)

        def closed(group: Party) -> str:
            try:
                trouble = self._close(group, delivery, event_id)
                self.counted("groups closed", next(finished), len(touched))
            except KeyboardInterrupt:
                STOPPED.set()
                raise
            return trouble

        groups = _in_turn(touched)
        jobs = [Job(functools.partial(closed, group), frozenset(touched[group])) for group in groups]
        troubles = run_jobs(jobs, 1 if delivery.supposed else LANES)
        for group, trouble in zip(groups, troubles, strict=True):
            if isinstance(trouble, Exception):
                raise trouble
            self.troubles[group] = trouble

    def _close(self, group: Party, delivery: Delivery, event_id: str) -> str:
        """Returns the trouble; empty if there is none."""
        try:
            scope = GroupScope(delivery, Hint(event_id, group, "look"), delivery.audit({"event_id": event_id}))
            scope.read()
            report = converge(scope, self._guard)
            trouble = str(report.pending[0]) if report.pending else scope.unread()
            self.halves |= scope.others if trouble else set()
            return trouble
        except LinkPeerError as error:
            return str(error)


def _in_turn(groups: Mapping[Party, Collection[Party]]) -> list[Party]:
    """One group of each account after the other, so that all accounts are closed side by side; first those of the most
    links."""
    ordered = [sorted(some, key=lambda one: -len(groups[one])) for some in by_account(groups).values()]
    return [group for turn in itertools.zip_longest(*ordered) for group in turn if group]


def _accounts(rule: Rule, marker: Marker) -> set[str]:
    """The accounts that have a part in a rule of ours."""
    link = link_of_rule(rule, marker)
    return {rule.group.account, link.source.account, link.target.account}
