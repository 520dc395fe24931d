"""The applier: intents before changes, outcomes after them, and nothing recorded that did not happen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from link_peer.domain.denial import UNWANTED, ReasonCode
from link_peer.domain.errors import CloudError, Transient
from link_peer.domain.model import TAG, Claim, Link, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.tags import parse_ports
from link_peer.engine.apply import CONSENT_SECONDS, OUTCOMES_PER_WRITE, Applier, Report
from link_peer.engine.reader import Reader
from link_peer.planning.decision import Decision, Edit, Refusal
from link_peer.planning.evaluate import Need, Verdict
from link_peer.planning.removal_guard import RemovalGuard

from tests.unit.fakes import FakeClock, FakeEcs, FakeLog, delivery
from tests.unit.views import APP, CACHE, DB, NOW, POLICY, group, key, ours, policy

K1, K2 = key(DB, APP, "tcp/1"), key(DB, APP, "tcp/2")
LINK, OTHER = Link(APP, DB, parse_ports("tcp/1")), Link(APP, CACHE, parse_ports("tcp/1"))
FULL = CloudError("AuthorizedGroupRule.LimitExceed", "full", "request-refused")


class Applying:
    """An Applier in a world of fakes. `calls` has API calls and the kinds of records, in their order."""

    def __init__(
        self,
        *rules: Rule,
        limit: int = 50,
        with_policy: Policy = POLICY,
        kind: type[FakeEcs] = FakeEcs,
        tagged: bool = True,
    ) -> None:
        self.calls: list[str] = []
        self.ecs = kind([group(APP, "*"), group(DB, "*"), group(CACHE, "*")], rules=rules, calls=self.calls)
        for name in self.ecs.known if tagged else ():
            self.ecs.tag_managed(name, "prod")
        self.log = FakeLog(self.calls)
        self.clock = FakeClock()
        self.delivery = delivery(self.ecs, log=self.log, policy=with_policy, clock=self.clock)
        self.reader = Reader(self.delivery.cloud("test"), with_policy)
        self.reader.parties([APP, DB, CACHE])
        self.reader.rules([APP, DB, CACHE])
        self.guard = RemovalGuard(limit)
        self.applier = Applier(self.reader, self.delivery, self.delivery.audit({}), self.guard, NOW)
        self.calls.clear()

    def __call__(self, *decisions: Decision) -> Report:
        return self.applier.apply(decisions)

    def steps(self) -> list[str]:
        """Changes and records, without the reads between them."""
        return [call for call in self.calls if call.split()[0] not in ("rules", "groups")]


def link(k: RuleKey = K1, of: Link = LINK, **fields: Any) -> Decision:
    """A link that needs one new rule."""
    edit = Edit(k, frozenset({TAG}), claims=(TAG,))
    return Decision(of, "link", "applied", edits=(edit,), verdict=Verdict(of, (Need(k),)), **fields)


def removal(k: RuleKey = K1, *, counts: bool = False) -> Decision:
    edit = Edit(k, lose=frozenset({TAG}), rule=ours(k))
    link = Link(APP, k.group, (k.port,))
    return Decision(link, "unlink", "removed", UNWANTED, (edit,), counts_toward_cap=counts, rules=(ours(k),))


def test_an_intent_is_recorded_before_the_change_and_the_outcome_after_it() -> None:
    """The outcome names the rule and the request of the change."""
    applying = Applying()
    report = applying(link())
    assert applying.steps() == ["intent", "authorize sg-db", "outcome"]
    assert (report.changed, report.removed, applying.log.outcomes()) == (1, 0, [("applied", "")])
    outcome = applying.log.records[-1]
    assert applying.ecs.existing[0].id in outcome["rules"]
    assert outcome["api_requests"].startswith("request-")


def test_nothing_is_changed_where_the_intent_cannot_be_recorded() -> None:
    """The delivery must be redelivered."""
    applying = Applying()
    applying.log.errors = [Transient("down")] * 10
    with pytest.raises(Transient, match="down"):
        applying(link())
    assert applying.ecs.changes() == []


def test_all_intents_are_recorded_before_the_first_change() -> None:
    applying = Applying()
    applying(link(), link(key(CACHE, APP, "tcp/1"), OTHER))
    assert applying.steps()[:3] == ["intent", "intent", "authorize sg-db"]


def test_a_decision_without_a_change_has_an_outcome_and_no_intent() -> None:
    applying = Applying()
    applying(Decision(LINK, "link", "unchanged"))
    assert applying.steps() == ["outcome"]


def test_the_managed_tag_is_written_before_the_rule() -> None:
    """So that a sweep finds the group although the function dies between the two."""
    applying = Applying(tagged=False)
    applying(link(missing_managed_tag=(DB,)))
    assert applying.steps() == ["intent", "tag_managed sg-db", "authorize sg-db", "outcome"]
    assert applying.log.records[0]["tagged"] == str(DB)


def test_a_group_that_lost_its_managed_tag_meanwhile_gets_it_back_after_the_rule() -> None:
    """A sweep that found the group empty a moment ago may have removed it since the plan was made."""
    applying = Applying()
    applying.ecs.untag_managed("sg-db", "prod")
    applying.calls.clear()
    applying(link())
    assert applying.steps() == ["intent", "authorize sg-db", "tag_managed sg-db", "outcome"]


def test_additions_come_before_removals_unless_they_need_the_room() -> None:
    """A link is not interrupted while it changes its rules."""
    added = link(key(CACHE, APP, "tcp/1"), OTHER)
    for wait, steps in (
        (False, ["authorize sg-cache", "revoke sg-db"]),
        (True, ["revoke sg-db", "authorize sg-cache"]),
    ):
        applying = Applying(ours(K1))
        applying(removal(), msgspec.structs.replace(added, removes_first=wait))
        assert applying.ecs.changes()[: len(steps)] == steps


class Full(FakeEcs):
    """sg-db takes one more rule, and refuses those after it."""

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]]) -> str:
        super().authorize(group, rules[:1])
        raise FULL


def refused_link() -> Decision:
    """A link of two rules, of which one is written."""
    edits = tuple(Edit(k, frozenset({TAG}), claims=(TAG,)) for k in (K1, K2))
    return Decision(LINK, "link", "applied", edits=edits, verdict=Verdict(LINK, (Need(K1), Need(K2))))


def test_a_refused_link_is_reported_to_be_rolled_back_and_has_no_outcome_yet() -> None:
    """`partial` names the claims that this delivery may have written."""
    applying = Applying(kind=Full)
    report = applying(refused_link())
    refusal = report.refused[LINK]
    assert (refusal.denial.code, refusal.partial) == (ReasonCode.QUOTA, {(K1, TAG), (K2, TAG)})
    assert (report.changed, applying.log.outcomes()) == (0, [])


def test_the_outcome_of_a_refused_link_is_recorded_after_its_rollback() -> None:
    """Once, with the requests of both passes."""
    applying = Applying(kind=Full)
    applying(refused_link())
    written = applying.ecs.existing[0]
    back = Edit(K1, lose=frozenset({TAG}), rule=written)
    denial = Refusal(msgspec.structs.replace(UNWANTED, code=ReasonCode.QUOTA)).denial
    applying(Decision(LINK, "link", "failed", denial, (back,)))
    applying.applier.finish()
    assert applying.steps()[-3:] == ["intent", "revoke sg-db", "outcome"]
    assert applying.log.outcomes() == [("failed", "quota")]
    refused, revoked = applying.log.records[-1]["api_requests"].split(",")
    assert (refused, revoked.startswith("request-")) == ("request-refused", True)
    assert applying.ecs.existing == []


def test_a_link_that_is_refused_in_the_last_pass_is_recorded_at_the_end() -> None:
    """`finish` leaves no refused link without an outcome, and records none twice."""
    applying = Applying(kind=Full)
    applying(refused_link())
    for _ in range(2):
        applying.applier.finish()
    assert applying.log.outcomes() == [("failed", "quota")]


def test_while_paused_nothing_is_changed() -> None:
    """A change is `denied`, `paused`; no intent is recorded."""
    applying = Applying(ours(K2), with_policy=policy(paused=True))
    applying(link(missing_managed_tag=(DB,)), removal(K2), Decision(OTHER, "link", "unchanged"))
    assert applying.steps() == ["outcome"] * 3
    assert sorted(applying.log.outcomes()) == [("denied", "paused"), ("denied", "paused"), ("unchanged", "")]


def test_removals_over_the_limit_are_held_and_reported_once() -> None:
    """One failed summary in a delivery, however many passes; links are written all the same."""
    applying = Applying(ours(K1), limit=0)
    for _ in range(2):
        report = applying(removal(counts=True), link(key(CACHE, APP, "tcp/1"), OTHER))
        assert report.held == 1
    assert applying.log.kinds().count("summary") == 1
    assert applying.log.records[0]["reason"] == "removals-held"
    assert (ours(K1) in applying.ecs.existing, "revoke sg-db" in applying.calls) == (True, False)


def test_removals_of_an_earlier_pass_count_toward_the_limit() -> None:
    applying = Applying(ours(K1), ours(K2), limit=1)
    assert applying(removal(K1, counts=True)).held == 0
    assert applying(removal(K2, counts=True)).held == 1


def test_trouble_is_an_attempt_and_the_others_are_carried_out() -> None:
    """The report has the trouble; the attempt says what it was."""
    applying = Applying()
    applying.ecs.errors["authorize"] = [Transient("503")] * 4
    report = applying(link(), link(key(CACHE, APP, "tcp/1"), OTHER))
    assert (report.changed, [str(trouble) for trouble in report.pending]) == (1, ["503"])
    (attempt,) = [record for record in applying.log.records if record["record"] == "attempt"]
    assert (attempt["to"], attempt["detail"]) == ("sg-db", "503")
    assert applying.log.outcomes() == [("applied", "")]


def test_a_removal_is_not_reported_where_the_shared_edit_failed() -> None:
    """Another decision makes the edit by which this rule loses its claim."""
    applying = Applying(ours(K1))
    applying.ecs.errors["modify"] = [Transient("503")] * 4
    gains = Edit(K1, frozenset({Claim("chg-1")}), frozenset({TAG}), rule=ours(K1), claims=(Claim("chg-1"),))
    shared = Decision(LINK, "link", "applied", edits=(gains,), verdict=Verdict(LINK, (Need(K1),)))
    loses = Decision(Link(APP, DB), "unlink", "removed", UNWANTED, rules=(ours(K1),))
    applying(shared, loses)
    assert applying.log.outcomes() == []
    assert applying.log.kinds() == ["intent", "attempt"]


def test_nothing_is_written_after_the_deadline() -> None:
    """The time that is left is for the outcomes."""
    applying = Applying()
    applying.clock.time = applying.delivery.retry.deadline
    report = applying(link())
    assert (applying.ecs.changes(), len(report.pending)) == ([], 1)


def test_a_claim_that_ended_meanwhile_is_not_written() -> None:
    """The link is refused as expired."""
    applying = Applying()
    ended = Claim("chg-1", int(NOW))
    edit = Edit(K1, frozenset({ended}), claims=(ended,))
    report = applying(Decision(LINK, "link", "applied", edits=(edit,)))
    assert report.refused[LINK].denial.code is ReasonCode.EXPIRED
    assert applying.ecs.changes() == []


@pytest.mark.parametrize(("late", "written"), [(0, True), (CONSENT_SECONDS, True), (CONSENT_SECONDS + 1, False)])
def test_consent_that_was_read_a_while_ago_is_read_again(late: float, written: bool) -> None:
    """It was withdrawn right after the plan was made."""
    applying = Applying()
    applying.ecs.known["sg-db"] = group(DB)
    applying.clock.time += late
    report = applying(link())
    assert bool(applying.ecs.existing) == written
    assert [refusal.denial.code for refusal in report.refused.values()] == ([] if written else [ReasonCode.NO_CONSENT])


class Unlinking(FakeEcs):
    """An unlink removes the rule on sg-db while one is written on sg-app."""

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]]) -> str:
        self.existing = [rule for rule in self.existing if rule.group != DB]
        return super().authorize(group, rules)


@pytest.mark.parametrize(
    ("kind", "outcome", "left"), [(FakeEcs, "applied", 2), (Unlinking, "unchanged", 0)], ids=["linked", "unlinked"]
)
def test_a_sweep_does_not_complete_a_link_that_an_unlink_removes_meanwhile(
    kind: type[FakeEcs], outcome: str, left: int
) -> None:
    """The other side is read again after the write. Where the request's claim has disappeared there, it is removed here
    too, with an intent of its own."""
    here, there, request = key(APP, DB), key(DB, APP), Claim("chg-1")
    applying = Applying(ours(there, request), kind=kind)
    edit = Edit(here, frozenset({request}), claims=(request,))
    verdict = Verdict(Link(APP, DB), (Need(there), Need(here)))
    applying(Decision(Link(APP, DB), "repair", "applied", edits=(edit,), verdict=verdict))
    assert len(applying.ecs.existing) == left
    assert applying.log.outcomes() == [(outcome, "")]
    undone = ["intent", "revoke sg-app"] if kind is Unlinking else []
    assert applying.steps() == ["intent", "authorize sg-app", *undone, "outcome"]


def test_many_outcomes_are_written_as_they_come() -> None:
    """So that a run which dies has recorded most of them."""
    applying = Applying()
    writes: list[int] = []
    write = applying.log.write
    applying.log.write = lambda records: (writes.append(len(records)), write(records))[1]  # type: ignore[method-assign]
    applying(*(Decision(Link(APP, DB, parse_ports(f"tcp/{n}")), "link", "unchanged") for n in range(1, 202)))
    assert writes == [OUTCOMES_PER_WRITE, 1]


def test_reports_of_passes_add_up() -> None:
    """What is held is planned again in every pass, so it counts once."""
    total = Report()
    for _ in range(2):
        total.add(Report(changed=2, removed=1, held=3, pending=[Transient("503")]))
    assert (total.changed, total.removed, total.held, len(total.pending)) == (4, 2, 3, 2)
