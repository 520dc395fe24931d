"""Closes in all accounts side by side what locked groups hold, or everything of an account that leaves, and says what
stands."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec
from link_peer.app.sweeps import run_sweep
from link_peer.domain.errors import LinkPeerError, Transient
from link_peer.domain.model import Group, Instance, Link, Party
from link_peer.domain.policy import Policy
from link_peer.domain.request import Hint
from link_peer.engine.converge import converge
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.read.fetch import open_fetch
from link_peer.engine.scopes.group import GroupScope
from link_peer.engine.scopes.sweep import Run
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.planning.actual import MarkedRule, OwnedRule, link_of_rule, marked_rules
from link_peer.runtime.delivery import LANES, Delivery
from link_peer.runtime.ports import Record
from link_peer.runtime.retry import Retry
from link_peer.runtime.side_by_side import Job, run_jobs
from link_peer.views.reach import Scene

from link_peer_cli.access import instant
from link_peer_cli.access.environment import Environment
from link_peer_cli.access.identity import AccountKeys
from link_peer_cli.access.noted import of_rule, of_tags
from link_peer_cli.answers import CloudCall
from link_peer_cli.closing.locks import GroupsByAccount, by_account, change_tags, in_each
from link_peer_cli.consent.group_tags import GroupTags
from link_peer_cli.inventory.reading import rules_first
from link_peer_cli.review.delivery import as_tagged, closing
from link_peer_cli.ui.changes import CHANGES, STOPPED
from link_peer_cli.ui.progress import Count
from link_peer_cli.ui.remedies import message


class AccountStanding(msgspec.Struct, frozen=True):
    """What stands in one account: the groups that were named, or that have a lock, the managed tag or a rule of ours;
    the rules of ours; the other accept rules that name this home, of other deployments or with a marker that is not
    theirs; and why not all could be read."""

    groups: Mapping[Party, Group]
    rules: Sequence[OwnedRule]
    unowned: Sequence[MarkedRule] = ()
    problem: str = ""

    @property
    def marked(self) -> list[MarkedRule]:
        """All rules that name this home."""
        return [*(MarkedRule(rule, marker.deployment, marker) for rule, marker in self.rules), *self.unowned]


class Halves(msgspec.Struct, frozen=True):
    """The rules by which mutual links stand on their other ends, which were not named; and why an end could not be
    read."""

    rules: Sequence[MarkedRule] = ()
    problems: Mapping[str, str] = {}


class Closed(msgspec.Struct, frozen=True):
    """What a closing run did: its outcomes; in a dry run, the changes that it would make; the rules of this home that
    are left; why an account could not be read; and what was read, for the names of parties."""

    records: list[Record]
    changes: list[CloudCall]
    remaining_rules: list[MarkedRule]
    problems: dict[str, str]
    scene: Scene


def close(
    env: Environment,
    account: str,
    peer_keys: Mapping[str, AccountKeys],
    progress: Count,
    *,
    dry_run: bool,
    reader: Environment | None,
) -> Closed:
    """Run a sweep in which the account has no links and nothing is opened, with records of every change; then read what
    stands. `peer_keys` are the person's keys of other accounts, by uid; what refuses to be changed is read as `reader`
    does."""
    delivery, recorder, supposed = closing(
        env, "account-remove", peer_keys, caller=env.person_keys.arn, dry_run=dry_run, leaving=[account], reader=reader
    )
    swept = run_sweep(Run(delivery, f"sweep-cli-{int(env.now)}", progress=progress))
    standing = {} if dry_run else look(delivery, dict.fromkeys(env.policy.accounts))
    remaining = [
        rule for read_account in standing.values() for rule in read_account.marked if account in _accounts(rule)
    ]
    problems = {uid: read_account.problem for uid, read_account in standing.items() if read_account.problem}
    scene = Scene(swept.snapshot)
    return Closed(recorder.outcomes, supposed.changes, remaining, {**swept.unreadable, **problems}, scene)


def look(
    delivery: Delivery,
    accounts: GroupsByAccount,
    progress: Callable[[str, int, int], None] = lambda _uid, _read_count, _all: None,
) -> dict[str, AccountStanding]:
    """What stands in each account now. The rules of every group are read: one may have lost its managed tag.
    `progress` gets an account, how many of its groups were read, and of how many."""

    def read(uid: str) -> AccountStanding:
        fetch, named_groups = open_fetch(delivery, "close", TOLERANT), accounts[uid]
        if named_groups is None:
            parties = rules_first(fetch.all_groups([uid]))
        else:
            parties = sorted(named_groups)
            fetch.parties(parties)
        unread = fetch.rules_in_time(parties, progress=functools.partial(progress, uid))
        snapshot = fetch.store.snapshot()
        rules, unowned = _by_owner(marked_rules(snapshot, delivery.policy.home, delivery.region), delivery.policy)
        keys, holders = delivery.policy.keys, {rule.group for rule, _ in rules}
        groups = {
            party: group
            for party, group in snapshot.groups.items()
            if named_groups or party in holders or group.tags.get(keys.managed) == "true" or keys.own_locks(group.tags)
        }
        error = fetch.store.unreadable.get(uid)
        problem = message(error, uid) if error else f"the rules of {len(unread)} groups were not read" if unread else ""
        return AccountStanding(groups, rules, unowned, problem)

    return in_each(accounts, read)


def require_there(standing: Mapping[str, AccountStanding], accounts: GroupsByAccount) -> None:
    """Raise LinkPeerError for a group that was named and does not exist."""
    for uid, account in standing.items():
        for group in sorted(accounts[uid] or ()):
            if group not in account.groups and not account.problem:
                raise LinkPeerError(f"{group} does not exist; one of another account is named {group.id}@<account>")


def _by_owner(marked: Iterable[MarkedRule], policy: Policy) -> tuple[list[OwnedRule], list[MarkedRule]]:
    """The rules of ours, and the other accept rules that name this home."""
    owned: list[OwnedRule] = []
    unowned: list[MarkedRule] = []
    for rule in marked:
        if rule.marker and rule.deployment == policy.deployment:
            owned.append((rule.rule, rule.marker))
        elif rule.rule.policy == "accept":
            unowned.append(rule)
    return owned, unowned


def mutual_links(standing: Iterable[AccountStanding]) -> set[Link]:
    """The mutual links of which these have a rule, of whichever deployment."""
    marked = ((rule.rule, rule.marker) for account in standing for rule in account.marked)
    links = (link_of_rule(rule, marker) for rule, marker in marked if marker)
    return {link for link in links if link.mutual}


def look_at_halves(
    delivery: Delivery, accounts: GroupsByAccount, links: Collection[Link], standing: Mapping[str, AccountStanding]
) -> Halves:
    """What stands now of mutual links on the other side of what was closed: on groups that were not named, and in other
    accounts. `links` are those that were seen; of others, whose rule here is gone, the cloud says which groups name a
    closed one."""
    fetch, pairs = open_fetch(delivery, "close", TOLERANT), {link.pair for link in links}
    closed = {group for account in standing.values() for group in account.groups}
    ends = {end for pair in pairs for end in pair}
    fetch.parties(ends)
    sides = {group for end in ends for group in fetch.store.snapshot().groups_with(end) or [end]} - closed
    home = delivery.policy.home
    if any(
        accounts.get(uid, closed) is not None for uid in delivery.policy.accounts
    ):  # the roles elsewhere may not ask that
        sides |= {*fetch.references(group for group in closed if group.account == home)} - closed
    whole = {uid for uid, groups in accounts.items() if groups is None}
    sides = {side for side in sides if side.account in delivery.policy.accounts and side.account not in whole}
    fetch.parties(sides)
    fetch.rules_in_time(sorted(side for side in sides if side.is_group))
    snapshot = fetch.store.snapshot()
    counted = {(rule.rule.group, rule.rule.id) for account in standing.values() for rule in account.marked}
    halves = [
        rule
        for rule in marked_rules(snapshot, delivery.policy.home, delivery.region)
        if rule.marker and (rule.rule.group, rule.rule.id) not in counted
        if (link := link_of_rule(rule.rule, rule.marker)).mutual
        if link.pair in pairs or not closed.isdisjoint(link.pair)
    ]
    unread = {**snapshot.refused_accounts, **snapshot.failed_accounts}
    problems = {str(side): HALF_UNREAD.format(side, unread[side.account]) for side in sides if side.account in unread}
    return Halves(halves, problems)


HALF_UNREAD = "half of a mutual link may still stand there, and could not be read ({1}): link-peer links --party {0}"


class ClosingRun:
    """One run of `close`. `removal` has what was removed, `standing` what was seen last of each account, `halves` what
    stands elsewhere of mutual links. `locked` are the groups that have the lock now, `unlocked` those that could not be
    locked, and why: their rules were removed all the same, and may come back."""

    def __init__(
        self, env: Environment, tags: GroupTags, accounts: GroupsByAccount, value: str, count: Count, *, dry_run: bool
    ) -> None:
        """`value` is what the tags of the locks say."""
        self._keys = env.policy.keys
        self._deployment = env.policy.deployment
        self._tags = tags
        self._accounts = accounts
        self._value = value
        self.removal = Removal(env, tags, count, dry_run=dry_run)
        self._read: dict[str, tuple[int, int]] = {}
        self.standing: dict[str, AccountStanding] = {}
        self.halves = Halves()
        self._mutual: set[Link] = set()
        self.locked: set[Party] = set()
        self.unlocked: dict[Party, LinkPeerError] = {}

    @property
    def mine(self) -> list[str]:
        """The accounts of which there are keys."""
        return [uid for uid in self._accounts if uid in self._tags.accounts]

    @property
    def unowned(self) -> list[MarkedRule]:
        """The rules of this home that stand and that no run removes, as they are not of this deployment."""
        standing = [rule for account in self.standing.values() for rule in account.unowned]
        return [*standing, *(rule for rule in self.halves.rules if rule.deployment != self._deployment)]

    def due(self, uid: str) -> list[Party]:
        """The groups of an account that are not locked."""
        own_locks = self._keys.own_locks
        return sorted(party for party, group in self.standing[uid].groups.items() if not own_locks(group.tags))

    def look(self, accounts: Collection[str], *, patient: bool = False) -> None:
        """See what stands in these accounts; `patient`: wait until a throttled API takes calls again."""
        self._read = {}
        groups_by_account = {uid: self._accounts[uid] for uid in accounts}
        self.standing |= look(self.removal.delivery(patient=patient), groups_by_account, self._progress)
        self._mutual |= mutual_links(self.standing.values())

    def run(self) -> None:
        """Lock and remove, where there are keys; look again; and once more, patiently, where something stands
        or could not be read."""
        again = self.mine
        for patient in (False, True):
            if patient:
                self.look(again, patient=True)
            rules = [rule for uid in again for rule in self.standing[uid].rules]
            CHANGES.expect(of_rule("remove", rule.key) for rule, _ in rules if rule.key)
            self.lock(again, patient=patient)
            self.removal.remove(rules, self._locks(rules), patient=patient)
            self.look(again, patient=patient)
            hampered = {group.account for group, error in self.unlocked.items() if isinstance(error, Transient)}
            again = [uid for uid in again if uid in hampered or self.standing[uid].problem or self.standing[uid].rules]
            if not (again or self.removal.halves):
                break
        self.look([uid for uid in self._accounts if uid not in self.mine])
        self.halves = self._look_at_halves()

    def suppose(self) -> None:
        """Find out what `run` would remove, and what it would leave."""
        halves = self._look_at_halves()
        unowned = [rule for rule in halves.rules if rule.deployment != self._deployment]
        self.halves = msgspec.structs.replace(halves, rules=unowned)
        rules = [rule for uid in self.mine for rule in self.standing[uid].rules]
        self.removal.remove(rules, self._locks(rules), patient=True)

    def _locks(self, rules: Iterable[OwnedRule]) -> dict[Party, dict[str, str]]:
        """The groups of these rules, with the lock."""
        return {rule.group: {self._keys.lock: self._value} for rule, _ in rules}

    def lock(self, accounts: Collection[str], *, patient: bool = True) -> None:
        """Lock the groups of these accounts, and remove nothing."""
        key, retry = self._keys.lock, self.removal.delivery(patient=patient).retry

        def put(batch: list[Party]) -> None:
            retry(lambda: self._tags.put(batch, {key: self._value}))

        due = {uid: self.due(uid) for uid in accounts}
        CHANGES.expect(of_tags("put", [key], group) for groups in due.values() for group in groups)
        for uid, failed in in_each(due, lambda uid: change_tags(due[uid], put)).items():
            groups = self.standing[uid].groups.keys()
            self.unlocked = {group: error for group, error in self.unlocked.items() if group not in groups} | failed
            self.locked |= groups - failed.keys()

    def _look_at_halves(self) -> Halves:
        return look_at_halves(self.removal.delivery(patient=True), self._accounts, self._mutual, self.standing)

    def _progress(self, uid: str, read_count: int, all_: int) -> None:
        self._read[uid] = (read_count, all_)
        counts = list(self._read.values())
        self.removal.counted("groups read", sum(count for count, _ in counts), sum(all_ for _, all_ in counts))


class Removal:
    """Removes the rules of ours from groups as if these were locked, or refused their peers, and the other halves of
    mutual links, with records that name who does it. `troubles` are those of groups, for which they may be tried again.
    `halves` are groups that may hold halves which met a transient error: a group that is closed does not lead to them
    any more. `parties` are what was read to decide."""

    def __init__(self, env: Environment, tags: GroupTags, count: Count, *, dry_run: bool) -> None:
        self._clock = env.clock
        self._count = count
        self._tags: dict[Party, Mapping[str, str]] = {}
        peer_keys = {uid: keys for uid, keys in tags.accounts.items() if uid != env.policy.home}
        closing_parts = closing(env, "close", peer_keys, caller=tags.caller, dry_run=dry_run)
        self._delivery, self.recorder, self.supposed = closing_parts
        self._guard = RemovalGuard(env.policy.limits.removals_per_run)
        self.troubles: dict[Party, str] = {}
        self.halves: set[Party] = set()
        self.parties: dict[Party, Group | Instance] = {}

    def delivery(self, *, patient: bool) -> Delivery:
        """No account waits for one that throttles every call, which its owner can cause, unless `patient`."""
        retry = Retry(self._clock, self._delivery.retry.deadline)
        return self._delivery if patient else msgspec.structs.replace(self._delivery, retry=retry)

    def counted(self, label: str, completed: int, all_: int) -> None:
        """Show the progress. Raises KeyboardInterrupt once a signal has stopped the command."""
        if STOPPED.is_set():
            raise KeyboardInterrupt
        self._count(label, completed, all_)

    def remove(self, rules: Sequence[OwnedRule], tags: Mapping[Party, Mapping[str, str]], *, patient: bool) -> None:
        """Remove these rules, those of several groups side by side unless one is the other's half. `tags` are those of
        groups that forbid them."""
        self._tags |= tags
        touched: dict[Party, set[Party]] = {group: {group} for group in self.halves}
        for rule, marker in rules:
            touched.setdefault(rule.group, {rule.group})
            if (link := link_of_rule(rule, marker)).mutual:
                touched[rule.group] |= {link.source, link.target}
        self.halves, self.troubles = set(), {}  # what is tried again may go well
        delivery = as_tagged(self.delivery(patient=patient), self._tags)
        delivery = delivery if delivery.supposed else delivery.merged("close")
        event_id, finished = f"close-cli-{int(instant.now())}", itertools.count(1)

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
            snapshot = scope.fetch.store.snapshot()
            self.parties |= {**snapshot.groups, **snapshot.instances}
            trouble = message(report.pending[0]) if report.pending else scope.unread()
            self.halves |= scope.peer_groups if trouble else set()
            return trouble
        except LinkPeerError as error:
            return message(error)


def _in_turn(groups: Mapping[Party, Collection[Party]]) -> list[Party]:
    """One group of each account after the other, so that all accounts are closed side by side; first those of the most
    links."""
    ordered = [
        sorted(account_groups, key=lambda group: -len(groups[group])) for account_groups in by_account(groups).values()
    ]
    return [group for turn in itertools.zip_longest(*ordered) for group in turn if group]


def _accounts(marked: MarkedRule) -> set[str]:
    """The accounts that have a part in a rule of this home."""
    ends = link_of_rule(marked.rule, marked.marker).pair if marked.marker else ()
    return {marked.rule.group.account, *(end.account for end in ends)}
