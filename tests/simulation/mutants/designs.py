"""The wrong designs that people build first, and those that this simulation found in our own code."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import pytest
from link_peer.app import dispatch
from link_peer.domain import marker
from link_peer.domain.denials import CLAIM_EXPIRED
from link_peer.domain.errors import Transient
from link_peer.domain.model import ALL, Claim, Instance, Marker, Party, Rule
from link_peer.domain.snapshot import Snapshot
from link_peer.engine import converge
from link_peer.engine.read.fetch import Fetch
from link_peer.engine.records import decision_record
from link_peer.engine.scopes import closing
from link_peer.engine.scopes.instances import InstanceScope
from link_peer.engine.scopes.pair import PairScope
from link_peer.engine.write import apply
from link_peer.engine.write.apply import Applier
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.engine.write.settle import Settler
from link_peer.engine.write.work import Report, Work
from link_peer.inbound import requests
from link_peer.planning import guardrails, plan, removals
from link_peer.planning.decision import Decision
from link_peer.planning.removals import Losses, May
from link_peer.planning.verdict.answers import PlanView
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Record

from tests.simulation import driver
from tests.simulation.sim_cloud import SimEcs

Patch = pytest.MonkeyPatch


def guardrail_one_way(patch: Patch) -> None:
    """A mutual link is judged as a link with ports."""
    never = guardrails.never_denial
    patch.setattr(guardrails, "never_denial", lambda *args: never(*args[:4], args[4] or (ALL,)))


def compensate_by_tuple(patch: Patch) -> None:
    """A saga takes back what it sent, by its parameters, no matter who owns that rule."""

    class Saga(Applier):
        def apply(self, decisions: Sequence[Decision], *options: Any) -> Report:
            report = super().apply(decisions, *options)
            for decision in decisions:
                needs = decision.verdict.needs if decision.verdict and decision.link in report.refused else ()
                for need in needs:
                    if ecs := self.work.fetch.ecs(need.key.group.account):
                        group = need.key.group.id
                        if ids := [rule.id for rule in ecs.rules(group) if rule.key == need.key]:
                            ecs.revoke(group, ids)
            return report

    patch.setattr(converge, "Applier", Saga)


def fixed_client_token(patch: Patch) -> None:
    """The token is a hash of the rule: the platform remembers the answer, though the rule has been revoked since."""
    remembered: set[object] = set()
    authorize = SimEcs.authorize

    def with_memory(self: SimEcs, group: str, rules: Sequence[Any], *, advanced: bool = False) -> str:
        token = (self.account, group, tuple(rules))
        if token in remembered:
            self.call("authorize", lambda: None)
            return "the old answer"
        answer = authorize(self, group, rules, advanced=advanced)
        remembered.add(token)
        return answer

    patch.setattr(SimEcs, "authorize", with_memory)


def no_read_back(patch: Patch) -> None:
    """An answer without an error is trusted."""

    class Trusting(Settler):
        def settle(self, group: Any, edits: Any, before_write: Any, requests: Any, **_beside: Any) -> Any:
            self.send(group, edits, self.fetch.store.rules.get(group, ()), before_write, requests)
            return {key: existing_rule.rule for key, existing_rule in self.existing(self.read(group), edits).items()}

    patch.setattr(apply, "Settler", Trusting)


def errors_swallowed(patch: Patch) -> None:
    """Trouble is answered with a text, which acknowledges the message."""

    def swallowing(handle: Callable[..., Any]) -> Callable[..., Any]:
        def handler(event: bytes, delivery: Delivery) -> Any:
            with contextlib.suppress(Transient):
                return handle(event, delivery)
            return {}

        return handler

    for name in ("auto_link", "cross_account"):
        patch.setitem(driver.HANDLERS, name, swallowing(driver.HANDLERS[name]))


def empty_read_means_gone(patch: Patch) -> None:
    """What an account shows nothing of is gone."""
    read_everything = Fetch._read_everything

    def live(self: Fetch, ecs: Any, account: str) -> None:
        read_everything(self, ecs, account)
        self.store.live_accounts.add(account)

    patch.setattr(Fetch, "_read_everything", live)
    patch.setattr(Fetch, "probe_liveness", lambda self, accounts: self.store.live_accounts.update(accounts))
    patch.setattr(Fetch, "discard_emptied", lambda _self, _accounts: False)


def outcome_before_the_change(patch: Patch) -> None:
    class Silent:
        """An audit writer whose records were written already."""

        def write(self, records: Sequence[Record]) -> None:
            pass

    class Early(Applier):
        def __init__(self, work: Work, guard: RemovalGuard) -> None:
            super().__init__(msgspec.structs.replace(work, audit=Silent()), guard)
            self.early, self.region = work.audit, work.delivery.region

        def apply(self, decisions: Sequence[Decision], *options: Any) -> Report:
            changing = [d for d in decisions if d.edits or d.missing_managed_tag]
            self.early.write([decision_record(d, self.region, "intent") for d in changing])
            self.early.write([decision_record(d, self.region, "outcome") for d in decisions])
            return super().apply(decisions, *options)

    patch.setattr(converge, "Applier", Early)


def no_intent(patch: Patch) -> None:
    write = AuditWriter.write
    patch.setattr(
        AuditWriter, "write", lambda self, records: write(self, [r for r in records if r["record"] != "intent"])
    )


def any_marker_is_ours(patch: Patch) -> None:
    """A description that looks like a marker makes a rule ours."""

    def owned(rule: Rule, *_ours: str) -> Marker | None:
        return marker.parse(rule.description) if rule.key else None

    patch.setattr(marker, "owned", owned)


def own_every_equal_rule(patch: Patch) -> None:
    """What equals a rule of ours is taken for ours: a person's too."""
    owned = marker.owned

    def equal(rule: Rule, deployment: str, region: str, home: str) -> Marker | None:
        if rule.key is None or rule.policy != "accept":
            return None
        marker = Marker(home, deployment, rule.key.id(home, deployment, region), (Claim("r-1"),))
        return owned(rule, deployment, region, home) or marker

    patch.setattr(marker, "owned", equal)


def event_is_a_fact(patch: Patch) -> None:
    """A Deleted event is trusted without a look."""
    read = InstanceScope.read

    def trusting(self: InstanceScope) -> None:
        read(self)
        deleted = {party for party, hint in self.hints.items() if hint.state == "Deleted"}
        self.instances = [instance for instance in self.instances if instance.party not in deleted]
        snapshot = self.store.snapshot

        def without() -> Snapshot:
            snapshot_now = snapshot()
            instances_by_party = {
                party: instance for party, instance in snapshot_now.instances.items() if party not in deleted
            }
            return msgspec.structs.replace(snapshot_now, instances=instances_by_party)

        self.store.snapshot = without  # type: ignore[method-assign]

    patch.setattr(InstanceScope, "read", trusting)
    patch.setattr(Fetch, "confirm_absent", lambda *_args: None)


def pages_are_the_group(patch: Patch) -> None:
    """What an event has read of a group counts as all of it, where it may read no more."""
    read_next_page, confirm_absent = Fetch._read_next_page, Fetch.confirm_absent

    def read(self: Fetch, ecs: Any, group: Party) -> None:
        read_next_page(self, ecs, group)
        if self._pages_of[group].count == self._how.pages:
            self.store.complete_groups.add(group)

    def confirm(self: Fetch, parties: Iterable[Party]) -> None:
        confirm_absent(self, (party for party in parties if party not in self._pages_of))

    patch.setattr(Fetch, "_read_next_page", read)
    patch.setattr(Fetch, "confirm_absent", confirm)


def sweep_forgets_requests(patch: Patch) -> None:
    """A request's claim goes where no tag asks for the link, as a tag's does."""
    cause = removals._cause
    as_tag = functools.partial(msgspec.structs.replace, request="")
    patch.setattr(removals, "_cause", lambda standing, claim, may: cause(standing, as_tag(claim), may))


def one_side_is_enough(patch: Patch) -> None:
    """A side that refuses is left as it is: nothing is rolled back."""

    class OneSided(Applier):
        def __init__(self, work: Work, guard: RemovalGuard) -> None:
            super().__init__(work, guard)
            self.audit, self.region = work.audit, work.delivery.region

        def apply(self, decisions: Sequence[Decision], *options: Any) -> Report:
            report = super().apply(decisions, *options)
            refused = [decision for decision in decisions if decision.link in report.refused]
            self.audit.write([decision_record(decision, self.region, "outcome") for decision in refused])
            return msgspec.structs.replace(report, refused={})

        def finish(self) -> Report:
            return Report()

    patch.setattr(converge, "Applier", OneSided)


def unlink_takes_everything(patch: Patch) -> None:
    """An unlink removes the rules, although others want them."""
    may_lose = PairScope.may_lose

    def may_lose_all(self: PairScope, *arguments: Any) -> May:
        return May.TAKE if self.action == "unlink" else may_lose(self, *arguments)

    patch.setattr(PairScope, "may_lose", may_lose_all)


def one_requests_end_is_everybodys(patch: Patch) -> None:
    """When one claim of a rule has expired, the whole rule goes."""
    losses = plan.losses

    def merged(snapshot_seen: PlanView, *options: Any) -> Losses:
        found_losses = losses(snapshot_seen, *options)
        losses_by_key = {
            key: msgspec.structs.replace(loss, claims=frozenset(snapshot_seen.actual.claims(key)))
            if loss.denial == CLAIM_EXPIRED
            else loss
            for key, loss in found_losses.by_rule.items()
        }
        return msgspec.structs.replace(found_losses, by_rule=losses_by_key)

    patch.setattr(plan, "losses", merged)


def old_claims_written_back(patch: Patch) -> None:
    """Found by the races: a rule that an unlink removed meanwhile came back with the claims that had been taken."""
    send = Settler.send

    def with_all(self: Settler, group: Any, batch: Any, rules: Any, *options: Any) -> None:
        existing = self.existing(rules, batch)
        batch = [e if e.key in existing else msgspec.structs.replace(e, gain=frozenset(e.claims)) for e in batch]
        send(self, group, batch, rules, *options)

    patch.setattr(Settler, "send", with_all)


def no_look(patch: Patch) -> None:
    """What was read back after a write is not judged."""
    patch.setattr(Applier, "_look", lambda *_args: None)
    patch.setattr(closing, "look", lambda *_args: Report())


def every_deployment_is_ours(patch: Patch) -> None:
    owned = marker.owned

    def any_deployment(rule: Rule, deployment: str, region: str, home: str) -> Marker | None:
        parsed_marker = marker.parse(rule.description) if rule.key else None
        return owned(rule, parsed_marker.deployment if parsed_marker else deployment, region, home)

    patch.setattr(marker, "owned", any_deployment)


def first_of_a_batch(patch: Patch) -> None:
    handle = dispatch.handle_elements
    patch.setattr(dispatch, "handle_elements", lambda elements, delivery: handle(list(elements)[:1], delivery))


def never_too_late(patch: Patch) -> None:
    """A message's `expires_at` is not checked."""
    patch.setattr(requests, "LATE_SECONDS", 10**9)
    patch.setattr(apply, "LATE_SECONDS", 10**9)


def records_may_be_lost(patch: Patch) -> None:
    """Trouble of the log is no reason to stop."""
    write = AuditWriter.write

    def careless(self: AuditWriter, records: Sequence[Record]) -> None:
        with contextlib.suppress(Transient):
            write(self, records)

    patch.setattr(AuditWriter, "write", careless)


def removals_counted_once(patch: Patch) -> None:
    """However many rules an account no longer stands for, they count as one."""
    due = removals._due
    patch.setattr(
        removals,
        "_due",
        lambda *args: {unseen: frozenset(sorted(keys)[:1]) for unseen, keys in due(*args).items()},
    )


def first_hundred_of_a_group(patch: Patch) -> None:
    """Neither the pages of a group's instances nor all of them have more."""
    page, members = SimEcs.instance_page, SimEcs.members

    def first_page(self: SimEcs, token: str = "", group: str = "") -> tuple[list[Instance], str]:
        instances, next_token = page(self, token, group)
        return (instances[:100], "") if group else (instances, next_token)

    patch.setattr(SimEcs, "instance_page", first_page)
    patch.setattr(SimEcs, "members", lambda self, group: members(self, group)[:100])
