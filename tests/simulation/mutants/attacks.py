"""Wrong designs of what neighbours do to each other, of trouble, of links by address and of sweeps by account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pytest
from link_peer.app import sweeps
from link_peer.domain import marker
from link_peer.domain.errors import CloudError, NoAccess, Transient
from link_peer.domain.model import Claim, Link, Marker, Party, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.request import Message
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.read.access import Pages
from link_peer.engine.read.fetch import Fetch
from link_peer.engine.read.store import Store
from link_peer.engine.scopes import instances
from link_peer.engine.scopes.account import AccountScope
from link_peer.engine.scopes.pair import PairScope
from link_peer.engine.scopes.sweep import AccountSweep, next_cursor
from link_peer.engine.write import apply, close, settle
from link_peer.engine.write.apply import Applier
from link_peer.engine.write.close import Closing, ClosingJob
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.planning import claims, consent, guardrails, removals
from link_peer.planning.actual import owned_links
from link_peer.planning.decision import Decision, DesiredLink, Unseen, Verdict
from link_peer.planning.removals import May
from link_peer.planning.verdict import acceptance, holders, single_link
from link_peer.runtime.delivery import Delivery

Patch = pytest.MonkeyPatch


def sweep_completes_requests(patch: Patch) -> None:
    """A marker is taken for a request."""
    followed = claims.followed

    def opening(snapshot: Snapshot, policy: Policy, region: str, *args: Any) -> list[DesiredLink]:
        owned = owned_links(snapshot, policy, region)
        marked = [DesiredLink(link, claim) for link, _, marker in owned for claim in marker.claims if claim.request]
        return [*followed(snapshot, policy, region, *args), *marked]

    patch.setattr(claims, "followed", opening)


def shared_cap(patch: Patch) -> None:
    """The removals of all accounts are counted together."""
    due_in_all: dict[Unseen, int] = {}

    def nothing_held(self: RemovalGuard, due: Mapping[Unseen, int]) -> set[Unseen]:
        due_in_all.update(due)
        return set(due) if sum(due_in_all.values()) > self.limit else set()

    patch.setattr(RemovalGuard, "excess", nothing_held)


def one_account_has_all_turns(patch: Patch) -> None:
    """The account with the most to close at first is served, and no other."""
    served: list[str] = []

    def only(closings: list[Closing]) -> list[ClosingJob]:
        jobs = close.jobs(closings)
        most = Counter(job.account for job in jobs).most_common(1)
        served.extend(account for account, _ in most if not served)
        return [job for job in jobs if job.account in served]

    patch.setattr(apply, "jobs", only)


def id_without_home(patch: Patch) -> None:
    """Every home account with our deployment's name is taken for ours."""
    owned = marker.owned

    def any_home(rule: Rule, deployment: str, region: str, home: str) -> Marker | None:
        parsed_marker = marker.parse(rule.description)
        return owned(rule, deployment, region, parsed_marker.home if parsed_marker else home)

    patch.setattr(marker, "owned", any_home)


def any_group_of_a_hidden_account(patch: Patch) -> None:
    """Where the source's account hides, its instance may be in any group that has consent."""
    closed = removals.closed_by_group

    def lenient(snapshot: Snapshot, *options: Any) -> Any:
        return closed(msgspec.structs.replace(snapshot, refused_accounts={}), *options)

    patch.setattr(removals, "closed_by_group", lenient)


def hidden_peer_bars_both(patch: Patch) -> None:
    """Nothing is decided about a pair while one of its accounts cannot be read."""
    read = PairScope.read

    def barred(self: PairScope) -> Any:
        return read(self) or acceptance.no_access(self.store.snapshot(), self.link)

    patch.setattr(PairScope, "read", barred)


def throttled_is_refused(patch: Patch) -> None:
    """A transient error is taken for a refusal."""
    note = Store.note_trouble

    def refused(self: Store, account: str, error: Transient | CloudError) -> None:
        note(self, account, NoAccess("Throttling.User", str(error)))

    patch.setattr(Store, "note_trouble", refused)


def openings_first(patch: Patch) -> None:
    order = apply._order
    patch.setattr(apply, "_order", lambda decision: tuple(not edit for edit in order(decision)))
    patch.setattr(apply, "only_closes", lambda _decision: False)


def attempt_not_counted(patch: Patch) -> None:
    """A message is put back as it came, so that its delay never grows."""
    post = Delivery.post

    def send_unchanged(self: Delivery, message: Message, *, queue: str = "", delay: int = 0) -> None:
        post(self, msgspec.structs.replace(message, attempt=max(0, message.attempt - 1)), queue=queue, delay=delay)

    patch.setattr(Delivery, "post", send_unchanged)


def put_back_at_once(patch: Patch) -> None:
    """A message is put back without a delay."""
    post = Delivery.post

    def hasty(self: Delivery, message: Message, *, queue: str = "", delay: int = 0) -> None:
        post(self, message, queue=queue)

    patch.setattr(Delivery, "post", hasty)


def put_back_on_the_shared_queue(patch: Patch) -> None:
    """A message of an account's own queue is put back where it proves nothing."""
    post = Delivery.post

    def shared(self: Delivery, message: Message, *, queue: str = "", delay: int = 0) -> None:
        post(self, message, delay=delay)

    patch.setattr(Delivery, "post", shared)


def rule_taken(patch: Patch) -> None:
    """A rule that the plan did not see is made that of another instance with the same address."""
    patch.setattr(settle, "_same_instances", lambda *_args: None)
    patch.setattr(
        apply,
        "evaluate",
        lambda snapshot, context, link, **_: single_link.permitted(snapshot, context.policy, link, context.now),
    )


def lock_ignored(patch: Patch) -> None:
    """A lock is read with a group's consent, and the policy's consent needs no look at tags."""
    locked = acceptance._locked
    judge = holders.permitted

    def by_policy(snapshot: Snapshot, policy: Any, link: Link, now: float) -> Any:
        patch.setattr(acceptance, "_locked", (lambda _groups, _keys: None) if policy.allow else locked)
        return judge(snapshot, policy, link, now)

    patch.setattr(holders, "permitted", by_policy)


def refusal_ignored(patch: Patch) -> None:
    """A refusal is read as less than the policy's consent."""
    refused = guardrails.refused
    patch.setattr(
        guardrails,
        "refused",
        lambda snapshot, policy, *args: None if policy.allow else refused(snapshot, policy, *args),
    )


def refusal_one_way(patch: Patch) -> None:
    """A refusal says whom a group does not admit, and nothing about whom it reaches."""

    def of_target(snapshot: Snapshot, policy: Any, source: Any, target: Any, ports: Any) -> Any:
        hidden = {party: msgspec.structs.replace(group, tags={}) for party, group in snapshot.groups.items()}
        groups = {**hidden, **({target: snapshot.groups[target]} if target in snapshot.groups else {})}
        return refused(msgspec.structs.replace(snapshot, groups=groups), policy, source, target, ports)

    refused = guardrails.refused
    patch.setattr(guardrails, "refused", of_target)


def unreadable_refusal(patch: Patch) -> None:
    """An entry that cannot be read says nothing."""
    refusals = guardrails.refusals
    patch.setattr(guardrails, "refusals", lambda *args: [entry for entry in refusals(*args) if entry.party])


def consent_without_end(patch: Patch) -> None:
    """The end of a consent entry is read and ignored."""
    consents = consent.consents
    patch.setattr(consent, "consents", lambda *arguments: consents(*arguments[:-1], 0.0))


def other_rules_in_the_record(patch: Patch) -> None:
    """An outcome names every rule of the group, not those of its link."""
    record = apply.decision_record

    def wide(decision: Decision, region: str, kind: str, *, rules: Any = (), api_requests: Any = ()) -> Any:
        rule_list = list(rules)
        if kind == "outcome" and rule_list and rule_list[0].key is not None:
            key: RuleKey = rule_list[0].key
            udp_key = msgspec.structs.replace(
                key, port=msgspec.structs.replace(key.port, protocol="udp", low=1, high=1)
            )
            rule_list.append(msgspec.structs.replace(rule_list[0], key=udp_key))
        return record(decision, region, kind, rules=rule_list, api_requests=api_requests)

    patch.setattr(apply, "decision_record", wide)


def whole_group_in_the_record(patch: Patch) -> None:
    """An outcome names every rule of the groups of its link, also rules of other links and of people."""
    outcome = Applier._outcome

    def wide(self: Applier, decision: Decision, requests: Any, rules: Iterable[Rule] = ()) -> Any:
        groups = {rule.group for rule in rules}
        every = [rule for group in sorted(groups) for rule in self.work.fetch.store.rules[group]]
        return outcome(self, decision, requests, [*rules, *(rule for rule in every if rule not in rules)])

    patch.setattr(Applier, "_outcome", wide)


def ids_mixed_up_in_the_record(patch: Patch) -> None:
    """An outcome gives each rule the id of another."""
    record = apply.decision_record

    def mixed(decision: Decision, region: str, kind: str, *, rules: Any = (), api_requests: Any = ()) -> Any:
        rule_list = list(rules)
        ids = [rule.id for rule in rule_list]
        mixed_up = [msgspec.structs.replace(r, id=i) for r, i in zip(rule_list, ids[1:] + ids[:1], strict=True)]
        return record(decision, region, kind, rules=mixed_up, api_requests=api_requests)

    patch.setattr(apply, "decision_record", mixed)


def an_end_is_a_repair(patch: Patch) -> None:
    """The record of a claim that ended says that something was repaired."""
    record = apply.decision_record

    def repaired(decision: Decision, *arguments: Any, **options: Any) -> Any:
        if decision.action == "expire":
            decision = msgspec.structs.replace(decision, action="repair")
        return record(decision, *arguments, **options)

    patch.setattr(apply, "decision_record", repaired)


# by address


def ended_links_are_joined(patch: Patch) -> None:
    """A link that stood once is joined, whatever has become of it."""
    followed = claims.followed
    remembered: dict[tuple[Link, Claim], None] = {}

    def with_memory(snapshot: Snapshot, policy: Policy, region: str, *_cursor: object) -> list[DesiredLink]:
        links = followed(snapshot, policy, region)
        remembered.update({(desired.link, desired.claim): None for desired in links})
        return [*links, *(DesiredLink(link, claim) for link, claim in remembered)]

    patch.setattr(claims, "followed", with_memory)
    patch.setattr(instances, "followed", with_memory)


def once_a_member(patch: Patch) -> None:
    """An instance that has left the source of a link stays admitted."""
    judge = single_link._evaluate_part

    def part(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
        instance = snapshot.instances.get(link.asker)
        if instance:
            stays = msgspec.structs.replace(instance, groups=(*instance.groups, link.source.id))
            snapshot = msgspec.structs.replace(snapshot, instances={**snapshot.instances, link.asker: stays})
        return judge(snapshot, policy, link, now)

    patch.setattr(single_link, "_evaluate_part", part)


def any_group_of_the_instance(patch: Patch) -> None:
    """Consent to any group of an instance is consent to its link, whatever group the link is of."""
    judge = single_link._evaluate_part

    def part(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
        instance = snapshot.instances.get(link.asker)
        for name in instance.groups if instance else ():
            source = Party(link.source.account, name)
            groups = {**snapshot.groups, source: snapshot.groups[link.source]}
            changed = msgspec.structs.replace(snapshot, groups=groups)
            verdict = judge(changed, policy, msgspec.structs.replace(link, source=source), now)
            if verdict.denial is None or verdict.open_questions:
                needs = tuple(msgspec.structs.replace(need, ends=(link.asker, link.source)) for need in verdict.needs)
                return msgspec.structs.replace(verdict, link=link, needs=needs)
        return judge(snapshot, policy, link, now)

    patch.setattr(single_link, "_evaluate_part", part)


# sweeps by account


def a_part_is_the_whole(patch: Patch) -> None:
    """What a part of a listing does not show is gone, and nobody reads it once more."""
    patch.setattr(Pages, "whole", True)
    patch.setattr(Fetch, "confirm_absent", lambda _self, _parties: None)
    patch.setattr(AccountScope, "may_lose", lambda *_rule: May.TAKE)
    patch.setattr(AccountSweep, "judges_unseen", True)


def absent_from_a_list(patch: Patch) -> None:
    """A short sweep judges by the first answer that leaves something out, whichever read that is."""
    patch.setattr(Fetch, "confirm_absent", lambda _self, _parties: None)
    patch.setattr(removals, "_read_by_id", lambda *_args: True)


def a_cursor_skips(patch: Patch) -> None:
    """A listing that stopped is taken for complete."""
    patch.setattr(sweeps, "next_cursor", lambda swept: msgspec.structs.replace(next_cursor(swept), token=None))


def one_guard_for_all(patch: Patch) -> None:
    """What the deliveries of all accounts are due to remove counts together."""
    due_before: Counter[Unseen] = Counter()

    def nothing_held(self: RemovalGuard, due: Mapping[Unseen, int]) -> set[Unseen]:
        due_before.update(due)
        return set(due) if due_before.total() > self.limit else set()

    patch.setattr(RemovalGuard, "excess", nothing_held)
