"""Wrong designs, each a small change of the production code's behaviour, and where each must be found out.

They are the designs that people build first, and those that this simulation found in our own code.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from link_peer.domain import marker
from link_peer.domain.errors import Transient
from link_peer.domain.model import TAG, Rule
from link_peer.engine import apply
from link_peer.engine import reader as view
from link_peer.engine.scopes import everything as reconcile_all
from link_peer.engine.scopes import instances as reconcile_instances
from link_peer.engine.scopes import pair as reconcile_pair
from link_peer.inbound import requests
from link_peer.planning import consent, plan
from link_peer.planning import evaluate as decide
from link_peer.runtime import audit

from functions import auto_link, cross_account
from tests.simulation import run

Patch = pytest.MonkeyPatch

KINDS = ("kill-after", "lost-after", "empty", "out")
CALLS = 8
"""Faults with which a wrong design is looked for, at so many of a delivery's first calls."""


class Mutant(msgspec.Struct, frozen=True):
    """`hunt` is the name of the scenario or race that must break; where the scenario needs faults of its own, `kinds`."""

    name: str
    change: Callable[[Patch], None]
    hunt: str
    kinds: tuple[str, ...] = KINDS


def no_consent_check(patch: Patch) -> None:
    patch.setattr(consent, "consents", lambda *_args: (["nobody was asked"], []))


def compensate_by_tuple(patch: Patch) -> None:
    """A saga takes back what it sent, by parameters: whoever's rule that is."""
    carry_out = apply.Applier._carry_out

    def saga(self: Any, decision: Any, report: Any, *more: Any) -> Any:
        records = carry_out(self, decision, report, *more)
        if decision.link in report.failed:
            for need in decision.verdict.needs:
                ecs = self._reader.ecs(need.key.group.account)
                ids = [rule.id for rule in ecs.rules(need.key.group.id) if rule.key == need.key]
                if ids:
                    ecs.revoke(need.key.group.id, ids)
        return records

    patch.setattr(apply.Applier, "_carry_out", saga)


def rule_owned_by_the_request(patch: Patch) -> None:
    """The last request's mark replaces the others'."""
    patch.setattr(apply, "_left", lambda edit, old: edit.gain or frozenset(old.reasons) - edit.lose)


def fixed_client_token(patch: Patch) -> None:
    """The token is a hash of the rule: the platform remembers the answer, though the rule has been revoked since."""
    remembered: dict[int, set[object]] = {}
    authorize = run.SimEcs.authorize

    def with_memory(self: Any, group: str, rules: Sequence[Any]) -> str:
        tokens = remembered.setdefault(0, set())
        token = (self.account, group, tuple(rules))
        if token in tokens:
            self._run.call(self.account, "authorize", lambda: None)
            return "the old answer"
        answer = authorize(self, group, rules)
        tokens.add(token)
        return answer

    patch.setattr(run.SimEcs, "authorize", with_memory)


def no_read_back(patch: Patch) -> None:
    """An answer without an error is believed."""

    def settle(self: Any, _decision: Any, group: Any, edits: Any, requests: list[str]) -> Any:
        self._change(self._ecs(group), group, edits, self._found(self._reader.view.rules[group], edits), requests)
        return {key: standing.rule for key, standing in self._found(self._read(group), edits).items()}

    patch.setattr(apply.Applier, "_settle", settle)


def errors_swallowed(patch: Patch) -> None:
    """Trouble is answered with a text, which acknowledges the message."""

    def swallow(function: Callable[..., str], event: bytes, delivery: Any) -> str:
        try:
            return function(event, delivery)
        except Transient:
            return "{}"

    functions = {
        "auto_link": functools.partial(swallow, auto_link.run),
        "cross_account": functools.partial(swallow, cross_account.run),
    }
    patch.setattr(run, "FUNCTIONS", {**run.FUNCTIONS, **functions})


def empty_read_means_gone(patch: Patch) -> None:
    patch.setattr(plan._Planner, "_believed", lambda *_args: True)


def outcome_before_the_change(patch: Patch) -> None:
    def apply_(self: Any, decisions: Sequence[Any]) -> Any:
        report = apply.Report()
        region = self._region
        self._scribe.write([audit.decision_record(d, region, "intent") for d in decisions if d.edits or d.untagged])
        self._scribe.write([audit.decision_record(d, region, "outcome") for d in decisions])
        for decision in decisions:
            self._carry_out(decision, report, {})
        return report

    patch.setattr(apply.Applier, "apply", apply_)


def no_intent(patch: Patch) -> None:
    write = audit.Scribe.write
    patch.setattr(
        audit.Scribe, "write", lambda self, records: write(self, [r for r in records if r["record"] != "intent"])
    )


def any_marker_is_ours(patch: Patch) -> None:
    """A description that looks like a marker makes a rule ours."""

    def owned(rule: Rule, deployment: str, _region: str, home: str) -> Any:
        return marker.parse(rule.description, home) if rule.key else None

    patch.setattr(marker, "owned", owned)


def own_every_equal_rule(patch: Patch) -> None:
    """What equals a rule of ours is taken for ours: a person's too."""
    owned = marker.owned

    def equal(rule: Rule, deployment: str, region: str, home: str) -> Any:
        if rule.key is None or rule.policy != "accept":
            return None
        made = marker.Marker(deployment, rule.key.id(deployment, region), (marker.Reason("r-1"),))
        return owned(rule, deployment, region, home) or made

    patch.setattr(marker, "owned", equal)


def event_is_a_fact(patch: Patch) -> None:
    """A Deleted event is believed without a look."""
    look = reconcile_instances._Instances._look

    def believe(self: Any) -> None:
        look(self)
        for party, hint in self.hints.items():
            if hint.state == "Deleted":
                self.view.instances.pop(party, None)
                self.shown = [instance for instance in self.shown if instance.party != party]
                self.gone.add(party)

    patch.setattr(reconcile_instances._Instances, "_look", believe)
    patch.setattr(view.Reader, "look_twice", lambda *_args: None)


def sweep_forgets_requests(patch: Patch) -> None:
    """The desired rules are those of tags alone."""
    patch.setattr(reconcile_all.Sweep, "_request_claims", lambda _self: [])


def unlimited_removals(patch: Patch) -> None:
    patch.setattr(apply.Applier, "_held", lambda _self, decisions, _report: list(decisions))


def one_side_is_enough(patch: Patch) -> None:
    """A side that refuses is left as it is: nothing is taken back."""
    carry_out = apply.Applier._carry_out

    def keep(self: Any, decision: Any, report: Any, *more: Any) -> Any:
        records = carry_out(self, decision, report, *more)
        if report.failed.pop(decision.link, None):
            records = [audit.decision_record(decision, self._region, "outcome")]
        return records

    patch.setattr(apply.Applier, "_carry_out", keep)


def unlink_takes_everything(patch: Patch) -> None:
    """An unlink removes the rules, whoever else wants them."""
    judged = reconcile_pair._Pair._may_lose

    def all_of_it(self: Any, rule: Any, mark: Any, reason: Any) -> Any:
        return self.request.action == "unlink" or judged(self, rule, mark, reason)

    patch.setattr(reconcile_pair._Pair, "_may_lose", all_of_it)


def one_look_before_completing(patch: Patch) -> None:
    """A sweep completes a half-open link by what it read, and does not look again after it has written."""
    patch.setattr(apply, "witnesses", lambda *_args: {})


def one_requests_end_is_everybodys(patch: Patch) -> None:
    """Found by the random lives: one reason's refusal counted for every reason on that rule."""

    class ByRule(dict[Any, Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            return next((denial for (rule, _), denial in self.items() if rule == key[0]), default)

    decisions = plan._Planner.decisions

    def merged(self: Any) -> Any:
        self.against = ByRule()
        return decisions(self)

    patch.setattr(plan._Planner, "decisions", merged)


def tag_checked_once(patch: Patch) -> None:
    """Found by the races: the managed tag was looked at before the rule was written, and never after."""
    patch.setattr(view.Reader, "group_again", lambda *_args: None)


def consent_read_once(patch: Patch) -> None:
    """What was read when the delivery began holds however long a throttled call waits."""
    patch.setattr(apply, "LOOK_SECONDS", float("inf"))


def old_reasons_written_back(patch: Patch) -> None:
    """Found by the races: a rule that an unlink took in the middle came back with the reasons that had been taken."""
    change = apply.Applier._change

    def with_all(self: Any, ecs: Any, group: Any, edits: Any, found: Any, requests: Any) -> None:
        edits = [msgspec.structs.replace(e, gain=frozenset(e.left)) if e.key not in found else e for e in edits]
        change(self, ecs, group, edits, found, requests)

    patch.setattr(apply.Applier, "_change", with_all)


def paused_all_the_same(patch: Patch) -> None:
    patch.setattr(apply, "_paused", lambda decision: decision)


def every_deployment_is_ours(patch: Patch) -> None:
    owned = marker.owned

    def any_deployment(rule: Rule, deployment: str, region: str, home: str) -> Any:
        found = marker.parse(rule.description, home) if rule.key else None
        return owned(rule, found.deployment if found else deployment, region, home)

    patch.setattr(marker, "owned", any_deployment)


def one_look_is_believed(patch: Patch) -> None:
    """What one read leaves out is gone."""
    patch.setattr(view.Reader, "look_twice", lambda *_args: None)


def refused_is_not_made(patch: Patch) -> None:
    """A call that was refused is taken to have made nothing: the group is not read again."""
    change, read = apply.Applier._change, apply.Applier._read
    refused: list[Any] = []

    def remember(self: Any, ecs: Any, group: Any, *more: Any) -> None:
        try:
            change(self, ecs, group, *more)
        except apply.Refused:
            refused.append(self)
            raise

    def read_unless_refused(self: Any, group: Any) -> Any:
        if self in refused:
            refused.remove(self)
            return self._reader.view.rules[group]
        return read(self, group)

    patch.setattr(apply.Applier, "_change", remember)
    patch.setattr(apply.Applier, "_read", read_unless_refused)


def first_of_a_batch(patch: Patch) -> None:
    elements = cross_account._elements
    patch.setattr(cross_account, "_elements", lambda event: elements(event)[:1])


def never_too_late(patch: Patch) -> None:
    """A message's `expires_at` is not looked at."""
    patch.setattr(requests, "LATE", 10**9)


def records_may_be_lost(patch: Patch) -> None:
    """Trouble of the log is no reason to stop."""
    write = audit.Scribe.write

    def careless(self: Any, records: Any) -> None:
        with contextlib.suppress(Transient):
            write(self, records)

    patch.setattr(audit.Scribe, "write", careless)


def removals_counted_by_link(patch: Patch) -> None:
    def held(self: Any, decisions: Sequence[Any], report: Any) -> list[Any]:
        limit = self._policy.limits.removals_per_run
        return [decision for decision in decisions if not decision.counted or decision.removes <= limit]

    patch.setattr(apply.Applier, "_held", held)


def no_end(patch: Patch) -> None:
    """A reason's end is not looked at."""
    patch.setattr(plan._Planner, "_past", lambda *_args: False)


def the_message_is_the_wish(patch: Patch) -> None:
    """A sync is believed, and no tag is read."""
    patch.setattr(reconcile_pair._Pair, "_claims", lambda self: [decide.Claim(self.link, TAG)])


def attempts_untold(patch: Patch) -> None:
    patch.setattr(audit.Scribe, "attempt", lambda *_args: None)


MUTANTS = [
    Mutant("no consent check", no_consent_check, "consent withdrawn meanwhile", ("withdrawn",)),
    Mutant("consent is read once", consent_read_once, "consent withdrawn meanwhile", ("withdrawn",)),
    Mutant("compensate by tuple", compensate_by_tuple, "a person's rule, and a refusal"),
    Mutant("a rule is owned by the request", rule_owned_by_the_request, "two requests, one link"),
    Mutant("fixed ClientToken", fixed_client_token, "half deleted"),
    Mutant("no read-back", no_read_back, "two requests for one new link"),
    Mutant("errors are swallowed", errors_swallowed, "two requests, one link"),
    Mutant("an empty read means gone", empty_read_means_gone, "nothing shown, sg-db:tcp/3306"),
    Mutant("the outcome before the change", outcome_before_the_change, "two requests, one link"),
    Mutant("no intent", no_intent, "two requests, one link"),
    Mutant("any marker is ours", any_marker_is_ours, "a copied marker"),
    Mutant("every equal rule is ours", own_every_equal_rule, "a person's rule"),
    Mutant("an event is a fact", event_is_a_fact, "nothing shown, i-store"),
    Mutant("a sweep forgets requests", sweep_forgets_requests, "half deleted"),
    Mutant("unlimited removals", unlimited_removals, "too many at once"),
    Mutant("one side is enough", one_side_is_enough, "sg-app refuses"),
    Mutant("an unlink takes everything", unlink_takes_everything, "tag and unlink"),
    Mutant("a sweep looks once", one_look_before_completing, "a half-open link, an unlink and a sweep"),
    Mutant("one reason's end is all reasons'", one_requests_end_is_everybodys, "an end beside a tag, unseen"),
    Mutant("the tag is checked once", tag_checked_once, "a request, and sweep takes the tag's reason"),
    Mutant("old reasons are written back", old_reasons_written_back, "a second request, and an unlink"),
    Mutant("paused is not looked at", paused_all_the_same, "paused"),
    Mutant("every deployment is ours", every_deployment_is_ours, "a copied marker"),
    Mutant("one look is believed", one_look_is_believed, "left out, sg-db:tcp/3306", ("short",)),
    Mutant("refused is not made", refused_is_not_made, "made in part"),
    Mutant("a batch is its first message", first_of_a_batch, "a batch"),
    Mutant("never too late", never_too_late, "a late duplicate"),
    Mutant("records may be lost", records_may_be_lost, "a batch", ("mute",)),
    Mutant("removals are counted by link", removals_counted_by_link, "too many at once"),
    Mutant("no end", no_end, "an end", ()),
    Mutant("the message is the wish", the_message_is_the_wish, "tag and unlink"),
    Mutant("attempts are untold", attempts_untold, "a batch"),
]
