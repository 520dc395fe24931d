"""Closes everything between one account and the others, or what locked groups hold, and says what is left."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence

import msgspec
from link_peer.app.dispatch import run_sweep
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import Group, Party, Rule
from link_peer.domain.request import Hint
from link_peer.engine.converge import converge
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.read.fetch import open_fetch
from link_peer.engine.scopes.everything import Sweep
from link_peer.engine.scopes.group import GroupScope
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.planning.actual import link_of, owned_rules
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Record
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials

from link_peer_cli.access.environment import Environment
from link_peer_cli.answers import CloudCall
from link_peer_cli.review.cloud import WhatIf
from link_peer_cli.review.delivery import closing
from link_peer_cli.ui.progress import Count


class Closed(msgspec.Struct, frozen=True):
    """What a closing run did: its outcomes; in a dry run, the changes that it would make; the rules that are left; and why
    an account could not be read."""

    records: list[Record]
    changes: list[CloudCall]
    left: list[Rule]
    problems: dict[str, str]

    def __add__(self, other: Closed) -> Closed:
        """Both, as if one run had done it."""
        return Closed(
            self.records + other.records,
            self.changes + other.changes,
            self.left + other.left,
            self.problems | other.problems,
        )


def close(env: Environment, account: str, own: Mapping[str, Credentials], progress: Count, *, dry_run: bool) -> Closed:
    """Run a sweep in which the account has no links and nothing is opened, with records of every change; then read what
    stands. `own` are the person's keys of other accounts, by uid."""
    delivery, kept, supposed = closing(env, [account], own, dry_run=dry_run)
    sweep = Sweep(delivery, f"sweep-cli-{int(env.clock.now())}", progress=progress)
    run_sweep(sweep)
    left, problems = ([], {}) if dry_run else _left(env, delivery, account)
    return Closed(kept.outcomes, supposed.changes, left, {**sweep.unreadable, **problems})


def close_locked(
    env: Environment, locks: Mapping[Party, str], caller: str, progress: Callable[[], None], *, dry_run: bool
) -> Closed:
    """Remove the rules of ours from groups that are locked, and the other halves of mutual links, with records that
    name the `caller`; then read what stands. `locks` has the groups and, where a dry run supposes it, the lock's command;
    `progress` is called after each group."""
    delivery, kept, supposed = closing(env, [], {}, dry_run=dry_run, caller=caller)
    run = _Closing(supposed, f"close-cli-{int(env.clock.now())}", delivery.policy.limits.removals_per_run)
    # no group waits for an account that throttles every call, which its owner can cause
    hasty = msgspec.structs.replace(delivery, retry=Retry(delivery.clock, delivery.retry.deadline))
    later = [group for group, command in locks.items() if run.close(group, command, hasty)]
    for group in locks:
        if group not in later:
            progress()
    problems = {}
    for group in [*later, *sorted(run.halves - locks.keys())]:
        if problem := run.close(group, locks.get(group, ""), delivery):
            problems[str(group)] = problem
        if group in locks:
            progress()
    return Closed(kept.outcomes, supposed.changes, list(run.left.values()), problems)


class _Closing:
    """Closes locked groups one by one. `left` has the rules of ours that still stand, by group and id; `halves` are groups
    that may hold halves of mutual links which met a transient error: a group that is closed does not lead to them any more."""

    def __init__(self, supposed: WhatIf, event_id: str, limit: int) -> None:
        self._supposed = supposed
        self._event_id = event_id
        self._guard = RemovalGuard(limit)
        self._locked: set[Party] = set()  # as a dry run supposes
        self.halves: set[Party] = set()
        self.left: dict[tuple[Party, str], Rule] = {}

    def close(self, group: Party, command: str, delivery: Delivery) -> str:
        """Remove the rules of ours from a group. Returns the trouble, for which it may be tried again; empty if there is
        none."""
        try:
            if command and group not in self._locked:
                self._supposed.suppose_tags(group, [delivery.policy.keys.lock], command)
                self._locked.add(group)
            audit = delivery.audit({"event_id": self._event_id})
            scope = GroupScope(delivery, Hint(self._event_id, group, "look"), audit)
            scope.read()
            report = converge(scope, self._guard)
            trouble = str(report.pending[0]) if report.pending else scope.unread()
            self.halves |= scope.others if trouble else set()
            if not delivery.supposed:
                self.left = {place: rule for place, rule in self.left.items() if place[0] != group}
                self.left |= {(group, rule.id): rule for rule in _standing(delivery, group)}
            return trouble
        except LinkPeerError as error:
            return str(error)


def untagged(
    env: Environment, accounts: Sequence[str], known: Container[Party], progress: Callable[[int, int], None]
) -> tuple[list[Group], dict[str, str]]:
    """The groups of these accounts that hold rules of ours and are not `known`, having lost their managed tag: the rules of
    every group are read. Also why an account could not be read. `progress` gets how many groups were read, and of how many."""
    delivery, _, _ = closing(env, [], {}, dry_run=env.reading)
    fetch = open_fetch(delivery, "close", TOLERANT)
    groups = {group.party: group for group in fetch.all_groups(accounts) if group.party not in known}
    asked = sorted(party for party, group in groups.items() if group.rule_count)
    fetch.rules_in_time(asked, progress=progress)
    snapshot = fetch.store.snapshot()
    holders = {rule.group for rule, _ in owned_rules(snapshot, env.policy, env.settings.region)}
    failed = {**snapshot.refused_accounts, **snapshot.failed_accounts}
    return [groups[party] for party in sorted(holders)], {uid: str(error) for uid, error in failed.items()}


def _standing(delivery: Delivery, group: Party) -> list[Rule]:
    """The rules of ours on a group, read again. Raises LinkPeerError if it cannot be read."""
    fetch = open_fetch(delivery, "close")
    fetch.rules([group])
    if error := fetch.store.refusal(group.account):
        raise error
    return [rule for rule, _ in owned_rules(fetch.store.snapshot(), delivery.policy, delivery.region)]


def _left(env: Environment, delivery: Delivery, account: str) -> tuple[list[Rule], dict[str, str]]:
    """The rules of ours that the account has a part in: on all of its own groups, and on groups of others that carry the
    managed tag; and why an account could not be read."""
    policy = env.policy
    fetch = open_fetch(delivery, "account", TOLERANT)
    tagged = fetch.tagged_groups(sorted(policy.accounts), policy.keys.managed)
    fetch.rules({*tagged, *(group.party for group in fetch.all_groups([account]))})
    snapshot = fetch.store.snapshot()
    found = []
    for rule, marker in owned_rules(snapshot, policy, env.settings.region):
        ends = link_of(rule.key, marker) if rule.key else None
        if account in {rule.group.account, *((ends.source.account, ends.target.account) if ends else ())}:
            found.append(rule)
    failed = {**snapshot.refused_accounts, **snapshot.failed_accounts}
    return found, {uid: str(error) for uid, error in failed.items()}
