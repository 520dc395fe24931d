"""Closes everything between one account and the others, or what locked groups hold, and says what is left."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence

import msgspec
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.hint import Hint
from link_peer.domain.model import Group, Party, Rule
from link_peer.domain.tags import LOCK_TAG, managed_tag
from link_peer.engine.converge import converge
from link_peer.engine.reader import Reader
from link_peer.engine.scopes.everything import Sweep
from link_peer.engine.scopes.group import GroupScope
from link_peer.inbound.dispatch import run_sweep
from link_peer.planning.actual import link_of, owned_rules
from link_peer.planning.removal_guard import RemovalGuard
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Record
from link_peer.runtime.settings import Credentials

from link_peer_cli.clients.whatif.cloud import Change
from link_peer_cli.clients.whatif.delivery import closing
from link_peer_cli.io.environment import Environment
from link_peer_cli.io.progress import Count

PAGE = 50  # groups read between two steps of the progress


class Closed(msgspec.Struct, frozen=True):
    """What a closing run did: its outcomes; in a dry run, the changes that it would make; the rules that are left; and why
    an account could not be read."""

    records: list[Record]
    changes: list[Change]
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
    delivery, kept, changes = closing(env, [account], own, dry_run=dry_run)
    sweep = Sweep(delivery, f"sweep-cli-{int(env.clock.now())}", progress=progress)
    run_sweep(sweep)
    left, problems = ([], {}) if dry_run else _left(env, delivery, account)
    return Closed(kept.outcomes, changes, left, {**sweep.unreadable, **problems})


def close_locked(
    env: Environment, locks: Mapping[Party, str], caller: str, progress: Callable[[], None], *, dry_run: bool
) -> Closed:
    """Remove the rules of ours from groups that carry `link-lock`, and the other halves of mutual links, with records that
    name the `caller`; then read what stands. `locks` has the groups and, where a dry run supposes it, the lock's command;
    `progress` is called after each group."""
    delivery, kept, changes = closing(env, [], {}, dry_run=dry_run)
    event = f"close-cli-{int(env.clock.now())}"
    cloud = delivery.cloud(event)
    guard = RemovalGuard(delivery.policy.limits.removals_per_run)
    left: list[Rule] = []
    problems: dict[str, str] = {}
    for group, command in locks.items():
        try:
            if command:
                cloud.ecs(group.account).tag([group.id], [LOCK_TAG])
                changes[-1] = Change(group.account, command)
            scope = GroupScope(delivery, Hint(event, group, "look"), delivery.audit(_names(event, caller)))
            scope.read()
            report = converge(scope, guard)
            left += [] if dry_run else _standing(delivery, group)
            if report.pending:
                problems[str(group)] = str(report.pending[0])
        except LinkPeerError as error:
            problems[str(group)] = str(error)
        progress()
    return Closed(kept.outcomes, changes, left, problems)


def untagged(
    env: Environment, accounts: Sequence[str], known: Container[Party], progress: Callable[[int, int], None]
) -> tuple[list[Group], dict[str, str]]:
    """The groups of these accounts that hold rules of ours and are not `known`, having lost their managed tag: the rules of
    every group are read. Also why an account could not be read. `progress` gets how many groups were read, and of how many."""
    delivery, _, _ = closing(env, [], {}, dry_run=env.reading)
    reader = Reader(delivery.cloud("close"), env.policy, env.clock, threads=delivery.readers, tolerant=True)
    groups = {group.party: group for group in reader.all_groups(accounts) if group.party not in known}
    asked = sorted(party for party, group in groups.items() if group.rule_count)
    for start in range(0, len(asked), PAGE):
        reader.rules(asked[start : start + PAGE])
        progress(min(start + PAGE, len(asked)), len(asked))
    snapshot = reader.snapshot()
    holders = {rule.group for rule, _ in owned_rules(snapshot, env.policy, env.settings.region)}
    failed = {**snapshot.refused_accounts, **snapshot.failed_accounts}
    return [groups[party] for party in sorted(holders)], {uid: str(error) for uid, error in failed.items()}


def _names(event: str, caller: str) -> dict[str, str]:
    return {"event_id": event, "claimed_by": caller}


def _standing(delivery: Delivery, group: Party) -> list[Rule]:
    """The rules of ours on a group, read again. Raises LinkPeerError if it cannot be read."""
    reader = Reader(delivery.cloud("close"), delivery.policy, delivery.clock)
    reader.rules([group])
    if error := reader.refusal(group.account):
        raise error
    return [rule for rule, _ in owned_rules(reader.snapshot(), delivery.policy, delivery.region)]


def _left(env: Environment, delivery: Delivery, account: str) -> tuple[list[Rule], dict[str, str]]:
    """The rules of ours that the account has a part in: on all of its own groups, and on groups of others that carry the
    managed tag; and why an account could not be read."""
    policy = env.policy
    reader = Reader(delivery.cloud("account"), policy, env.clock, threads=delivery.readers, tolerant=True)
    tagged = reader.tagged_groups(sorted(policy.accounts), managed_tag(policy.deployment, policy.home))
    reader.rules({*tagged, *(group.party for group in reader.all_groups([account]))})
    snapshot = reader.snapshot()
    found = []
    for rule, marker in owned_rules(snapshot, policy, env.settings.region):
        ends = link_of(rule.key, marker) if rule.key else None
        if account in {rule.group.account, *((ends.source.account, ends.target.account) if ends else ())}:
            found.append(rule)
    failed = {**snapshot.refused_accounts, **snapshot.failed_accounts}
    return found, {uid: str(error) for uid, error in failed.items()}
