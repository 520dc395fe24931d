"""The applier: intents before changes, outcomes after them, and nothing recorded that did not happen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from link_peer.domain import denials, reasons
from link_peer.domain.denials import UNWANTED
from link_peer.domain.errors import CloudError, Throttled, Transient
from link_peer.domain.model import TAG, Claim, Link, Party, Rule, RuleKey
from link_peer.domain.policy import AccountPolicy, Pause, Policy
from link_peer.domain.request import LATE_SECONDS
from link_peer.domain.tags import parse_ports
from link_peer.engine.read.access import Reading
from link_peer.engine.read.fetch import Fetch
from link_peer.engine.records import Circumstances
from link_peer.engine.write import apply
from link_peer.engine.write.apply import CONSENT_SECONDS, RECORDS_PER_WRITE, Applier, paused
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.engine.write.work import Report, open_work
from link_peer.planning.decision import Decision, Edit, RulesOf, Unseen
from link_peer.planning.evaluate import Need, Verdict
from link_peer.runtime.pace import Pace

from tests.unit.fakes import FakeClock, FakeCloud, FakeEcs, FakeLog, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, MANAGED, NOW, PEER, POLICY, A, B
from tests.unit.views import group, instance, key, ours, policy

K1, K2 = key(DB, APP, "tcp/1"), key(DB, APP, "tcp/2")
LINK, OTHER = Link(APP, DB, parse_ports("tcp/1")), Link(APP, CACHE, parse_ports("tcp/1"))
PEER_GROUP = Party(PEER, "sg-x")
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
        expires_at: float | None = None,
    ) -> None:
        self.calls: list[str] = []
        groups = [group(party, "*", managed_tag=tagged) for party in (APP, DB, CACHE)]
        self.ecs = kind(groups, rules=rules, calls=self.calls)
        self.log = FakeLog(self.calls)
        self.clock = FakeClock()
        self.policy = with_policy  # as the file says it now
        self.delivery = delivery(
            self.ecs, log=self.log, policy=with_policy, clock=self.clock, current_policy=lambda: self.policy
        )
        work = open_work(self.delivery, "test", self.delivery.audit({}), expires_at=expires_at)
        self.fetch = work.fetch
        self.fetch.parties([APP, DB, CACHE])
        self.fetch.rules([APP, DB, CACHE])
        self.guard = RemovalGuard(limit)
        self.applier = Applier(work, self.guard)
        self.calls.clear()

    def __call__(self, *decisions: Decision) -> Report:
        return self.applier.apply(decisions)

    def late_after(self, write: Callable[..., str]) -> Callable[..., str]:
        """The same call, after which the function's time is over."""

        def last(*given: Any) -> str:
            self.clock.time = self.delivery.retry.deadline
            return write(*given)

        return last

    def steps(self) -> list[str]:
        """Changes and records, without the reads between them."""
        return [call for call in self.calls if call.split()[0] not in ("rules", "groups", "members")]


def link(k: RuleKey = K1, of: Link = LINK, **fields: Any) -> Decision:
    """A link that needs one new rule."""
    edit = Edit(k, frozenset({TAG}), claims=(TAG,))
    return Decision(of, "link", "applied", edits=(edit,), verdict=Verdict(of, (Need(k),)), **fields)


def removal(k: RuleKey = K1, *unseen: Unseen) -> Decision:
    edit = Edit(k, lose=frozenset({TAG}), rule=ours(k))
    link = Link(APP, k.group, (k.port,))
    return Decision(link, "unlink", "removed", UNWANTED, (edit,), unseen=frozenset(unseen), rules=(ours(k),))


def test_a_group_that_lost_its_managed_tag_meanwhile_gets_it_back_after_the_rule() -> None:
    """A sweep that found the group empty a moment ago may have removed it since the plan was made."""
    applying = Applying()
    applying.ecs.untag("sg-db", [MANAGED])
    applying.calls.clear()
    applying(link())
    assert applying.steps() == ["intent", "authorize sg-db", "tag sg-db", "outcome"]


def test_the_groups_of_a_plan_are_tagged_in_one_call() -> None:
    """Each request id is that of the call which tagged the decision's groups."""
    applying = Applying(tagged=False)
    far = link(key(CACHE, APP, "tcp/1"), OTHER, missing_managed_tag=(CACHE,))
    applying(link(missing_managed_tag=(DB,)), far)
    assert applying.ecs.changes() == ["tag sg-db sg-cache", "authorize sg-db", "authorize sg-cache"]
    tagged = [record["api_requests"].split(",")[0] for record in applying.log.records if record["record"] == "outcome"]
    assert len(set(tagged)) == 1


def test_a_group_that_was_tagged_since_the_plan_is_not_tagged_with_the_others() -> None:
    """Two of three are: I12, of a random run."""
    applying = Applying(tagged=False)
    tags = applying.applier.work.tags
    tags.write(DB, [])
    for write in tags.ahead([DB, CACHE, APP]):
        write()
    assert applying.ecs.changes() == ["tag sg-db", "tag sg-cache sg-app"]


def test_groups_that_cannot_be_tagged_together_are_tagged_one_by_one() -> None:
    """One group that refuses its tag costs the others nothing."""
    applying = Applying(tagged=False)
    applying.ecs.errors["tag"] = [CloudError("InvalidResourceId.NotFound", "gone", "request-x")]
    far = link(key(CACHE, APP, "tcp/1"), OTHER, missing_managed_tag=(CACHE,))
    applying(link(missing_managed_tag=(DB,)), far)
    assert applying.ecs.changes()[1:] == ["tag sg-db", "authorize sg-db", "tag sg-cache", "authorize sg-cache"]


def test_closing_comes_before_opening() -> None:
    """In whatever order they were decided: no amount of links keeps a closing from being done in time."""
    opens = [link(), link(key(CACHE, APP, "tcp/1"), OTHER)]
    loses = Edit(K2, lose=frozenset({TAG}), rule=ours(K2, TAG, Claim("chg-1")), claims=(Claim("chg-1"),))
    lighter = Decision(Link(APP, DB, (K2.port,)), "expire", "removed", UNWANTED, (loses,))
    k3 = key(APP, DB, "tcp/3")
    applying = Applying(ours(K2, TAG, Claim("chg-1")), ours(k3))
    applying(opens[0], removal(k3), opens[1], lighter)
    assert applying.ecs.changes() == ["revoke sg-app", "modify sg-db", "authorize sg-db", "authorize sg-cache"]


class Full(FakeEcs):
    """sg-db takes one more rule, and refuses those after it."""

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]]) -> str:
        super().authorize(group, rules[:1])
        raise FULL


def refused_link() -> Decision:
    """A link of two rules, of which one is written."""
    edits = tuple(Edit(k, frozenset({TAG}), claims=(TAG,)) for k in (K1, K2))
    return Decision(LINK, "link", "applied", edits=edits, verdict=Verdict(LINK, (Need(K1), Need(K2))))


def test_a_link_that_is_refused_twice_in_a_pass_takes_back_what_either_wrote() -> None:
    """Two decisions may be about one link: two rules of it."""
    applying = Applying(kind=Full)
    report = applying(link(K1), link(K2))
    assert report.refused[LINK].partial == {(K1, TAG), (K2, TAG)}


def test_what_goes_back_is_not_judged_by_the_policy_of_that_moment() -> None:
    """Its rule gains a claim that another link wants, in the same change. That link was judged for the plan."""
    applying = Applying(ours(K1, TAG))
    applying.policy = policy(paused=Pause.ALL)
    back = Edit(K1, frozenset({Claim("chg-1")}), frozenset({TAG}), rule=ours(K1, TAG), claims=(Claim("chg-1"),))
    denied = Decision(LINK, "link", "denied", UNWANTED, (back,), verdict=Verdict(LINK, (Need(K1),)))
    applying(denied)
    assert applying.ecs.descriptions() == [ours(K1, Claim("chg-1")).description]


def test_a_link_that_is_refused_in_the_last_pass_is_recorded_at_the_end() -> None:
    """`finish` leaves no refused link without an outcome, and records none twice."""
    applying = Applying(kind=Full)
    applying(refused_link())
    for _ in range(2):
        applying.applier.finish()
    assert applying.log.outcomes() == [("failed", "quota")]


def mark(k: RuleKey = K1, *, gain: bool, lose: bool) -> Decision:
    """A rule of a tag and two requests, on which one claim comes or goes, or both."""
    left, gone, new = Claim("chg-1"), Claim("chg-2"), Claim("chg-3")
    rule = ours(k, left, gone)
    claims = tuple(sorted({left, *([new] if gain else []), *([] if lose else [gone])}))
    edit = Edit(k, frozenset({new} if gain else ()), frozenset({gone} if lose else ()), rule=rule, claims=claims)
    of = Link(APP, k.group, (k.port,))
    return Decision(of, "link", "applied" if gain else "removed", edits=(edit,), verdict=Verdict(of, (Need(k),)))


@pytest.mark.parametrize("pause", list(Pause))
def test_a_repaired_priority_opens_nothing(pause: Pause) -> None:
    """An operator's drop must win while opening is paused, too. Only a full pause leaves the rule as it is."""
    tampered = ours(K1, priority=1)
    edit = Edit(K1, rule=tampered, claims=(TAG,))
    applying = Applying(tampered, with_policy=policy(paused=pause))
    applying(Decision(LINK, "repair", "applied", edits=(edit,), rules=(tampered,)))
    assert [rule.priority for rule in applying.ecs.existing] == [1 if pause is Pause.ALL else 100]


def test_a_new_rule_is_dropped_while_opening_is_paused() -> None:
    """So is a claim that would join a rule; what goes back with it is kept."""
    assert paused(link(), Pause.OPENING).edits == ()
    assert paused(mark(gain=True, lose=False), Pause.OPENING).edits == ()
    (edit,) = paused(mark(gain=True, lose=True), Pause.OPENING).edits
    assert (edit.gain, edit.lose, edit.claims) == (frozenset(), {Claim("chg-2")}, (Claim("chg-1"),))


# the policy, read again right before each write


@pytest.mark.parametrize(
    "changed", [policy(deployment="test"), policy(accounts={PEER: AccountPolicy("b")})], ids=["deployment", "home"]
)
def test_a_policy_of_another_deployment_is_a_transient_error(changed: Policy) -> None:
    """Markers would be written in another name: the delivery starts anew instead."""
    applying = Applying()
    applying.policy = changed
    report = applying(link())
    assert (applying.ecs.changes(), len(report.pending), report.refused) == ([], 1, {})


def test_removals_made_are_counted_by_the_guard() -> None:
    """Those whose cause is that something is not shown. What could not be made is not counted."""
    unseen = Unseen(HOME, HOME)
    applying = Applying(ours(K1), ours(K2), limit=1)
    applying(removal(K1, unseen))
    assert applying.guard.held({unseen: 1}) == {unseen}
    failing = Applying(ours(K1), limit=1)
    failing.ecs.errors["revoke"] = [Transient("503")] * 4
    failing(removal(K1, unseen))
    assert failing.guard.held({unseen: 1}) == set()


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


def test_a_claim_that_ended_meanwhile_is_not_written() -> None:
    """The link is refused as expired."""
    applying = Applying()
    ended = Claim("chg-1", int(NOW))
    edit = Edit(K1, frozenset({ended}), claims=(ended,))
    report = applying(Decision(LINK, "link", "applied", edits=(edit,)))
    denial = report.refused[LINK].denial
    assert (denial.reason, denial.detail) == (reasons.EXPIRED, "the link ended while it was being written")
    assert applying.ecs.changes() == []


@pytest.mark.parametrize(("late", "written"), [(0, True), (CONSENT_SECONDS, True), (CONSENT_SECONDS + 1, False)])
def test_consent_that_was_read_a_while_ago_is_read_again(late: float, written: bool) -> None:
    """It was withdrawn right after the plan was made. What was written all the same is read back with it, and refused."""
    applying = Applying()
    applying.ecs.known["sg-db"] = group(DB)
    applying.clock.time += late
    (refusal,) = applying(link()).refused.values()
    assert bool(applying.ecs.existing) == written
    assert refusal.denial.reason is reasons.NO_CONSENT


def test_what_cannot_be_read_right_before_a_write_is_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else that decides came up since the plan was made, and the question to the cloud brings no answer: nothing is
    written, and nothing is denied."""
    unread = Verdict(LINK, (Need(K1),), denials.unreadable(HOME, "throttled"), open_questions=(RulesOf(PEER_GROUP),))
    monkeypatch.setattr(apply, "evaluate", lambda *_, **_more: unread)
    applying = Applying()
    report = applying(link())
    assert [str(one) for one in report.pending] == [f"account {HOME} could not be read: throttled"]
    assert (report.refused, applying.ecs.existing) == ({}, [])


def test_what_came_up_since_the_plan_is_read_and_judged_before_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    unread = Verdict(LINK, (Need(K1),), denials.unreadable(HOME, "throttled"), open_questions=(RulesOf(CACHE),))
    verdicts = iter([unread])
    monkeypatch.setattr(apply, "evaluate", lambda *_, **_more: next(verdicts, Verdict(LINK, (Need(K1),))))
    applying = Applying()
    report = applying(link())
    assert (report.pending, [rule.key for rule in applying.ecs.existing]) == ((), [K1])


def test_nothing_is_read_for_a_closing_when_the_time_is_over() -> None:
    applying = Applying(ours(K1))
    applying.clock.time = applying.delivery.retry.deadline
    assert len(applying(removal()).pending) == 1
    assert not any(call.startswith("rules") for call in applying.calls)


def test_no_call_begins_once_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another rule, and another claim on one that stands, are two calls on one group."""
    applying = Applying(ours(K2, Claim("chg-1")))
    for name in ("authorize", "modify"):
        monkeypatch.setattr(applying.ecs, name, applying.late_after(getattr(applying.ecs, name)))
    more = Edit(K2, frozenset({TAG}), claims=(TAG, Claim("chg-1")), rule=ours(K2, Claim("chg-1")))
    both = link()
    report = applying(msgspec.structs.replace(both, edits=(*both.edits, more)))
    assert len(report.pending) == 1
    assert len(applying.ecs.changes()) == 1


# a request's end


def test_an_expired_request_still_closes() -> None:
    """What it has written is taken back."""
    applying = Applying(ours(K1), expires_at=NOW - LATE_SECONDS - 1)
    applying(removal())
    assert applying.ecs.existing == []


# how many instances the rules admit


def test_an_outcome_counts_the_members_that_were_read_already() -> None:
    """For the plan, say: they are not read again."""
    applying = Applying()
    applying.ecs.running = {"i-a": instance(A, APP), "i-b": instance(B, DB)}
    applying.fetch.members([APP])
    applying.calls.clear()
    applying(link())
    assert (applying.log.records[-1]["instances"], applying.log.records[-1]["instance_ids"]) == ("1", str(A))
    assert "members sg-app" not in applying.calls


# what is read for a record


def recording(*, rules: int = 2, pace: Pace | None = None) -> tuple[FakeEcs, Fetch]:
    """sg-app, which has this many rules by the cloud's count, may reach sg-db; the rules of sg-db were read."""
    ecs = FakeEcs([group(APP, rule_count=rules), group(DB)], rules=[ours(K1)])
    fetch = Fetch(FakeCloud(ecs), POLICY, FakeClock(), Reading(pace=pace))
    fetch.parties([APP, DB])
    fetch.rules([DB])
    ecs.calls.clear()
    return ecs, fetch


@pytest.mark.parametrize(
    ("error", "effect"), [(None, "passes"), *((one, "unknown") for one in (Transient("503"), Throttled("rate")))]
)
def test_a_change_reads_the_rules_that_could_decide_once(error: Exception | None, effect: str) -> None:
    """Nor is a read made again that failed, which says nothing about the account. A later decision needs no change for that."""
    ecs, fetch = recording()
    ecs.errors["rules"] = [error] if error else []
    circumstances = Circumstances(fetch)
    for changed in (True, True, False):
        assert circumstances.effect(link(), changed=changed)["effect"] == effect
    assert ecs.calls == ["rules sg-app"]
    assert fetch.store.readable(HOME)


def test_many_outcomes_are_written_as_they_come() -> None:
    """So that a run which dies has recorded most of them."""
    applying = Applying()
    writes: list[int] = []
    write = applying.log.write
    applying.log.write = lambda records: (writes.append(len(records)), write(records))[1]  # type: ignore[method-assign]
    applying(
        *(
            Decision(Link(APP, DB, parse_ports(f"tcp/{n}")), "link", "unchanged")
            for n in range(1, RECORDS_PER_WRITE + 2)
        )
    )
    assert writes == [RECORDS_PER_WRITE, 1]


def test_reports_of_passes_add_up() -> None:
    """What is held is planned again in every pass, so it counts once."""
    one = Report(2, 1, {Unseen(HOME, HOME): 3}, pending=(Transient("503"),), refused_keys=frozenset({K1}), undone=1)
    total = one + msgspec.structs.replace(one, refused_keys=frozenset({K2}))
    assert (total.changed, total.removed, total.held, len(total.pending)) == (4, 2, {Unseen(HOME, HOME): 3}, 2)
    assert (total.refused_keys, total.undone) == ({K1, K2}, 2)
