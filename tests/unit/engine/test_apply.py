"""The applier: intents before changes, outcomes after them, and nothing recorded that did not happen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from link_peer.domain import denials, reasons
from link_peer.domain.denials import UNWANTED, Denial
from link_peer.domain.errors import CloudError, NoAccess, Throttled, Transient
from link_peer.domain.model import TAG, Claim, Link, Party, Rule, RuleKey
from link_peer.domain.policy import AccountPolicy, Pause, Policy
from link_peer.domain.request import LATE_SECONDS
from link_peer.domain.tags import compact
from link_peer.engine.read.access import Reading
from link_peer.engine.write import apply, settle
from link_peer.engine.write.apply import CONSENT_SECONDS, Applier, paused
from link_peer.engine.write.close import only_closes
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.engine.write.work import UNLIMITED, Report, Until, open_work
from link_peer.planning.decision import Decision, Edit, Need, RulesOf, Unseen, Verdict
from link_peer.runtime.pace import Pace

from tests.unit.fakes import FakeClock, FakeEcs, FakeLog, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, INSTANCES, MANAGED, NOW, PEER, POLICY, A, B
from tests.unit.snapshots import group, instance, key, ours, policy

K1, K2 = key(DB, APP, "tcp/1"), key(DB, APP, "tcp/2")
K3, KC = key(DB, APP, "tcp/3"), key(CACHE, APP, "tcp/1")
LINK = Link(APP, DB, (K1.port,))
PEER_GROUP = Party(PEER, "sg-x")
KX, KX_2 = key(PEER_GROUP, APP, "tcp/1"), key(PEER_GROUP, APP, "tcp/2")
K32 = RuleKey(DB, "10.0.0.9/32", "", K1.port)
FAR, ACROSS = Link(APP, CACHE, (K1.port,)), Link(APP, PEER_GROUP, (K1.port,))
FULL = CloudError("AuthorizedGroupRule.LimitExceed", "full", "request-refused")
BUSY = Transient("503", request_id="request-busy")


class Applying:
    """An Applier in a world of fakes: three groups of home, and one of another account. `calls` has API calls and the
    kinds of records, in their order."""

    def __init__(
        self,
        *rules: Rule,
        limit: int = 50,
        with_policy: Policy = POLICY,
        kind: type[FakeEcs] = FakeEcs,
        tagged: bool = True,
        paced: bool = False,
        **request: Any,
    ) -> None:
        """`paced` as in a sweep; `request` is what `open_work` is told of one."""
        self.calls: list[str] = []
        groups = [group(party, f"* *@{PEER}", managed_tag=tagged) for party in (APP, DB, CACHE)]
        self.ecs = kind(groups, rules=[rule for rule in rules if rule.group.account == HOME], calls=self.calls)
        far = [group(PEER_GROUP, f"*@{HOME}", managed_tag=tagged)]
        self.peer = kind(far, rules=[r for r in rules if r.group.account == PEER], account=PEER, calls=self.calls)
        self.log = FakeLog(self.calls)
        self.clock = FakeClock()
        self.policy = with_policy  # as the file says it now
        self.delivery = delivery(
            self.ecs, self.peer, log=self.log, policy=with_policy, clock=self.clock, current_policy=lambda: self.policy
        )
        how = Reading(pace=Pace(self.clock, self.delivery.retry.deadline) if paced else None)
        work = open_work(self.delivery, "test", self.delivery.audit({}), how, **request)
        self.fetch = work.fetch
        self.fetch.parties([APP, DB, CACHE, PEER_GROUP])
        self.fetch.rules([APP, DB, CACHE, PEER_GROUP])
        self.guard = RemovalGuard(limit)
        self.applier = Applier(work, self.guard)
        self.calls.clear()

    def __call__(self, *decisions: Decision, until: Until = UNLIMITED) -> Report:
        return self.applier.apply(decisions, until)

    def before(self, happens: Callable[[], object], *names: str) -> None:
        """Something happens before each of these calls."""

        def meanwhile(call: Callable[..., Any]) -> Callable[..., Any]:
            return lambda *arguments, **fields: (happens(), call(*arguments, **fields))[1]

        for ecs in (self.ecs, self.peer):
            for name in names:
                setattr(ecs, name, meanwhile(getattr(ecs, name)))

    def slow(self, seconds: float, *names: str) -> None:
        """Each of these calls takes so long."""
        self.before(lambda: self.clock.sleep(seconds), *names)

    def steps(self) -> list[str]:
        """Changes and records, without the reads between them."""
        return [call for call in self.calls if call.split()[0] not in ("rules", "groups", "instance_page")]


def link(k: RuleKey = K1, of: Link = LINK, **fields: Any) -> Decision:
    """A link that needs one new rule."""
    edit = Edit(k, frozenset({TAG}), claims=(TAG,))
    return Decision(of, "link", "applied", edits=(edit,), verdict=Verdict(of, (Need(k),)), **fields)


REPAIRED = Decision(
    Link(APP, DB, (K2.port,)), "repair", "applied", edits=(Edit(K2, rule=ours(K2, priority=1), claims=(TAG,)),)
)
"""Somebody gave the rule another priority."""


@pytest.mark.parametrize("repairs", [False, True])
def test_a_group_that_lost_its_managed_tag_meanwhile_gets_it_back_after_the_rule(repairs: bool) -> None:
    """A sweep that found the group empty a moment ago may have removed it since the plan was made. Whatever else is
    changed."""
    applying = Applying(ours(K2, priority=1))
    applying.ecs.untag("sg-db", [MANAGED])
    applying.calls.clear()
    edits = (*link().edits, *([REPAIRED.edits[0]] if repairs else []))
    applying(msgspec.structs.replace(link(), edits=edits))
    assert applying.steps() == ["intent", *["modify sg-db"] * repairs, "authorize sg-db", "tag sg-db", "outcome"]


BY_ADDRESS = Edit(K32, frozenset({TAG}), ends=(A, APP), claims=(TAG,))


@pytest.mark.parametrize(
    ("decision", "tags"),
    [
        (link(missing_managed_tag=(DB,)), {MANAGED}),
        (Decision(LINK, "link", "applied", edits=(BY_ADDRESS,), missing_managed_tag=(DB,)), {MANAGED, INSTANCES}),
        (
            Decision(LINK, "link", "applied", missing_managed_tag=(DB,), rules=(ours(K32, ends=(A, APP)),)),
            {MANAGED, INSTANCES},
        ),
    ],
)
def test_a_group_with_rules_by_address_that_stand_or_come_gets_both_tags(decision: Decision, tags: set[str]) -> None:
    applying = Applying(tagged=False)
    applying(decision)
    assert applying.ecs.group_by_id["sg-db"].tags.keys() - {"link-accept"} == tags


def test_intents_are_written_ahead_a_number_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each before the first change of its decision, and once; outcomes as they come."""
    monkeypatch.setattr(apply, "RECORDS_PER_WRITE", 2)
    applying = Applying(ours(K2))
    back = key(APP, DB, "tcp/1")
    applying(link(), link(KC, FAR), unlink(K2), link(back, Link(DB, APP, (K1.port,))))
    first = ["intent", "intent", "revoke sg-db", "authorize sg-db", "outcome", "outcome"]
    assert applying.steps() == [*first, "intent", "intent", "authorize sg-cache", "authorize sg-app", *["outcome"] * 2]


def test_a_group_that_was_tagged_since_the_plan_is_not_tagged_with_the_others() -> None:
    """Two of three are: I12, of a random run."""
    applying = Applying(tagged=False)
    tags = applying.applier.work.tags
    tags.write(DB, [])
    for write in tags.ahead([DB, CACHE, APP]):
        write()
    assert applying.ecs.changes() == ["tag sg-db", "tag sg-cache sg-app"]


def test_groups_that_cannot_be_tagged_together_are_tagged_one_by_one() -> None:
    """One group that refuses its tag costs the others nothing. One that only lacks its tag comes last."""
    applying = Applying(tagged=False)
    applying.ecs.errors["tag"] = [CloudError("InvalidResourceId.NotFound", "gone", "request-x")]
    applying(link(missing_managed_tag=(CACHE, DB)))
    assert applying.ecs.changes()[1:] == ["tag sg-db", "authorize sg-db", "tag sg-cache"]


def untagged(*groups: Party, action: str = "repair") -> Decision:
    """What writes managed tags alone."""
    return Decision(LINK, action, "unchanged", missing_managed_tag=groups)


ALL_TAGS, REPAIRS = ["tag sg-db", "tag sg-x", "tag sg-cache sg-app"], ["outcome repair"] * 2


@pytest.mark.parametrize(
    ("error", "calls", "records"),
    [
        (None, ALL_TAGS, ["outcome repair", *REPAIRS]),
        (CloudError("Quota", "full"), ALL_TAGS, ["attempt repair", *REPAIRS]),
        (NoAccess("Forbidden.RAM", "no"), ALL_TAGS[:2], ["attempt repair", *REPAIRS[:1]]),
    ],
)
def test_tags_alone_are_tried_on_one_group_of_each_account_first(
    error: Exception | None, calls: list[str], records: list[str]
) -> None:
    """Where the account refuses it, a repair of its other groups is not recorded; a link that somebody asked for is."""
    applying = Applying(tagged=False)
    applying.ecs.errors["tag"] = [error] if error else []
    applying(untagged(DB), untagged(CACHE), untagged(PEER_GROUP), untagged(APP, action="link"))
    assert applying.ecs.changes() == calls
    texts = [
        f"{record['record']} {record['action']}" for record in applying.log.records if record["record"] != "intent"
    ]
    assert texts == [*records, "outcome link"]


def test_a_repair_of_tags_of_which_one_is_refused_is_recorded_as_made() -> None:
    applying = Applying(tagged=False)
    refused = CloudError("Quota", "full")
    applying.ecs.errors["tag"] = [refused, refused]
    applying(untagged(DB, CACHE))
    assert applying.ecs.changes() == ["tag sg-db sg-cache", "tag sg-db", "tag sg-cache"]
    assert applying.log.kinds() == ["intent", "outcome"]


SWAP = Edit(K2, frozenset({TAG}), frozenset({Claim("chg-1")}), rule=ours(K2, Claim("chg-1")), claims=(TAG,))
LOSS = Edit(K3, lose=frozenset({TAG}), rule=ours(K3, TAG, Claim("chg-1")), claims=(Claim("chg-1"),))
TAKEN = Edit(K3, lose=frozenset({TAG}), rule=ours(K3))


@pytest.mark.parametrize(
    ("outcome", "edits", "closes", "first"),
    [
        ("removed", [SWAP], False, True),
        ("denied", [SWAP], False, False),
        ("applied", [SWAP], False, False),
        ("applied", [TAKEN, *REPAIRED.edits], False, True),
        ("applied", [TAKEN, *link().edits], False, True),
        ("applied", [LOSS], False, True),
        ("denied", [LOSS], True, True),
        ("removed", [TAKEN], True, True),
        ("removed", [LOSS, SWAP], False, True),
        ("removed", [LOSS, *REPAIRED.edits], False, True),
        ("applied", [LOSS, *link().edits], False, False),
        ("applied", REPAIRED.edits, False, True),
        ("removed", [], False, False),
        ("applied", [], False, False),
    ],
)
def test_what_takes_a_rule_or_a_claim_comes_before_what_only_opens(
    outcome: str, edits: Sequence[Edit], closes: bool, first: bool
) -> None:
    """What gives nothing at all `closes`, group by group. A removal that another decision's change makes comes last."""
    mixed = Decision(Link(APP, DB, (K2.port,)), "sync", outcome, edits=tuple(edits))
    assert only_closes(mixed) == closes
    applying = Applying(ours(K2, TAG, Claim("chg-1"), priority=1), ours(K3))
    applying(link(KC, FAR), mixed)
    outcomes = [record["action"] for record in applying.log.records if record["record"] == "outcome"]
    assert outcomes == (["sync", "link"] if first else ["link", "sync"])


class Full(FakeEcs):
    """sg-db takes one more rule, and refuses those after it."""

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]], *, advanced: bool = False) -> str:
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


def test_what_stood_before_a_repair_that_is_refused_stays() -> None:
    """There is nothing to take back, nor on the other side of a mutual link."""
    applying = Applying(ours(K2, priority=1))
    applying.ecs.errors["modify"] = [CloudError("InvalidParam.Unheard", "refused")]
    report = applying(REPAIRED)
    assert [link_refusal.partial for link_refusal in report.refused.values()] == [frozenset()]


def test_what_goes_back_is_not_judged_by_the_policy_of_that_moment() -> None:
    """Its rule gains a claim that another link wants, in the same change. That link was judged for the plan."""
    applying = Applying(ours(K1, TAG))
    applying.policy = policy(paused=Pause.ALL)
    back = Edit(K1, frozenset({Claim("chg-1")}), frozenset({TAG}), rule=ours(K1, TAG), claims=(Claim("chg-1"),))
    denied = Decision(LINK, "link", "denied", UNWANTED, (back,), verdict=Verdict(LINK, (Need(K1),)))
    applying(denied)
    assert applying.ecs.descriptions() == [ours(K1, Claim("chg-1")).description]


@pytest.mark.parametrize("with_another", [False, True])
def test_a_link_that_is_refused_in_the_last_pass_is_recorded_at_the_end(with_another: bool) -> None:
    """`finish` leaves no refused link without an outcome, and records none twice; a pass without the link records it,
    too."""
    applying = Applying(kind=Full)
    applying(refused_link())
    if with_another:
        applying()
    for _ in range(2):
        applying.applier.finish()
    assert applying.log.outcomes() == [("failed", "quota")]
    assert applying.log.records[-1]["api_requests"] == "request-refused"


@pytest.mark.parametrize("pause", list(Pause))
def test_a_repaired_priority_opens_nothing(pause: Pause) -> None:
    """An operator's drop must win while opening is paused, too. Only a full pause leaves the rule as it is."""
    tampered = ours(K1, priority=1)
    edit = Edit(K1, rule=tampered, claims=(TAG,))
    applying = Applying(tampered, with_policy=policy(paused=pause))
    applying(Decision(LINK, "repair", "applied", edits=(edit,), rules=(tampered,)))
    assert [rule.priority for rule in applying.ecs.existing] == [1 if pause is Pause.ALL else 100]
    assert applying.log.outcomes() == [("denied", "paused") if pause is Pause.ALL else ("applied", "")]


def test_a_new_rule_is_dropped_while_opening_is_paused() -> None:
    """So is a claim that would join a rule; what goes back with it is kept."""
    gains = msgspec.structs.replace(SWAP, lose=frozenset(), claims=(TAG, *SWAP.lose))
    goes = msgspec.structs.replace(SWAP, gain=frozenset(), claims=())
    several = msgspec.structs.replace(link(), edits=(*link().edits, gains, SWAP, LOSS, *REPAIRED.edits))
    assert paused(several, Pause.OPENING).edits == (goes, LOSS, *REPAIRED.edits)


@pytest.mark.parametrize("late", [False, True])
def test_a_pause_right_before_a_write_takes_back_what_was_just_written(late: bool) -> None:
    """And nothing else: half of a link that stood before stays."""
    applying = Applying()
    pausing = policy(paused=Pause.OPENING)
    applying.before(lambda: setattr(applying, "policy", pausing), "authorize")
    if not late:
        applying.policy = pausing
    report = applying(msgspec.structs.replace(link(), edits=(*link().edits, *link(KX).edits)))
    assert report.refused.keys() == ({LINK} if late else set())
    assert applying.log.outcomes() == ([] if late else [("denied", "paused")])


def test_what_goes_back_and_is_refused_is_recorded_at_once() -> None:
    """It has no link to take back."""
    applying = Applying()
    applying.ecs.errors["authorize"] = [FULL]
    report = applying(msgspec.structs.replace(link(), outcome="denied"))
    assert (report.refused, report.refused_keys, report.written) == ({}, {K1}, {DB})
    assert applying.log.outcomes() == [("failed", "quota")]


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
    removal = msgspec.structs.replace(unlink(K1), unseen=frozenset({unseen}))
    applying = Applying(ours(K1), ours(K2), limit=1)
    applying(removal)
    assert applying.guard.excess({unseen: 1}) == {unseen}
    failing = Applying(ours(K1), limit=1)
    failing.ecs.errors["revoke"] = [Transient("503")] * 4
    failing(removal)
    assert failing.guard.excess({unseen: 1}) == set()


def test_a_removal_is_not_reported_where_the_shared_edit_failed() -> None:
    """Another decision makes the edit by which this rule loses its claim. Another pass may have no trouble."""
    applying = Applying(ours(K1))
    applying.ecs.errors["modify"] = [Transient("503")] * 4
    gains = Edit(K1, frozenset({Claim("chg-1")}), frozenset({TAG}), rule=ours(K1), claims=(Claim("chg-1"),))
    shared = Decision(LINK, "link", "applied", edits=(gains,), verdict=Verdict(LINK, (Need(K1),)))
    loses = Decision(Link(APP, DB), "unlink", "removed", UNWANTED, rules=(ours(K1),))
    applying(loses, shared, msgspec.structs.replace(loses, outcome="unchanged"), closed(K2))
    assert applying.log.kinds() == ["intent", "attempt", "outcome", "outcome"]
    assert applying.log.outcomes() == [("unchanged", ""), ("removed", "")]
    applying(loses)
    assert applying.log.outcomes()[2:] == [("removed", "")]


@pytest.mark.parametrize("seconds_left", [0, 1])
def test_a_claim_that_ended_meanwhile_is_not_written(seconds_left: int) -> None:
    """The link is refused as expired. One that ends later is made."""
    applying, claim = Applying(), Claim("chg-1", int(NOW) + seconds_left)
    report = applying(Decision(LINK, "link", "applied", edits=(Edit(K1, frozenset({claim}), claims=(claim,)),)))
    assert len(applying.ecs.changes()) == seconds_left
    assert [refusal.denial for refusal in report.refused.values()] == [denials.EXPIRED_MEANWHILE] * (not seconds_left)


@pytest.mark.parametrize(("late", "written"), [(2, True), (3, False)])
def test_consent_that_has_ended_since_it_was_read_opens_nothing(late: float, written: bool) -> None:
    """It is judged by the time of the write, not of the read."""
    applying = Applying()
    applying.ecs.group_by_id["sg-db"] = group(DB, f"*~{compact(NOW + 3)}", managed_tag=True)
    applying.fetch.store.groups[DB] = applying.ecs.group_by_id["sg-db"]
    applying.clock.time += late
    applying(link())
    assert bool(applying.ecs.existing) is written
    assert bool(applying.ecs.changes()) is written


@pytest.mark.parametrize(("late", "written"), [(0, True), (CONSENT_SECONDS, True), (CONSENT_SECONDS + 1, False)])
def test_consent_that_was_read_a_while_ago_is_read_again(late: float, written: bool) -> None:
    """It was withdrawn right after the plan was made. What was written all the same is read back with it, and
    refused."""
    applying = Applying()
    applying.ecs.group_by_id["sg-db"] = group(DB)
    applying.clock.time += late
    (refusal,) = applying(link()).refused.values()
    assert bool(applying.ecs.existing) == written
    assert refusal.denial.reason is reasons.NO_CONSENT


def test_what_cannot_be_read_right_before_a_write_is_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else that decides came up since the plan was made, and the question to the cloud brings no answer:
    nothing is written, and nothing is denied."""
    unread = Verdict(LINK, (Need(K1),), denials.unreadable(HOME, "throttled"), open_questions=(RulesOf(PEER_GROUP),))
    monkeypatch.setattr(apply, "evaluate", lambda *_, **_options: unread)
    applying = Applying()
    report = applying(link())
    assert [str(error) for error in report.pending] == [f"account {HOME} could not be read: throttled"]
    assert (report.refused, applying.ecs.existing) == ({}, [])


@pytest.mark.parametrize("denial", [None, denials.unreadable(HOME, "throttled")])
def test_what_came_up_since_the_plan_is_read_and_judged_before_a_write(
    monkeypatch: pytest.MonkeyPatch, denial: Denial | None
) -> None:
    """A question that decides nothing keeps no rule from being written. The rules that the plan found stand for this
    link."""
    verdict = Verdict(LINK, (Need(K1),), denial, open_questions=(RulesOf(Party(HOME, "sg-new")),))
    judged: list[Any] = []

    def evaluate(*_snapshot: Any, taken_over: Any) -> Verdict:
        judged.append(taken_over)
        return verdict if len(judged) == 1 or denial is None else Verdict(LINK, (Need(K1),))

    monkeypatch.setattr(apply, "evaluate", evaluate)
    applying = Applying(ours(K2, priority=1))
    report = applying(msgspec.structs.replace(link(), edits=(*link().edits, *REPAIRED.edits)))
    assert (report.pending, [rule.key for rule in applying.ecs.existing]) == ((), [K2, K1])
    assert ("rules sg-new" in applying.calls, judged) == (True, [{K2}, {K2}])


FINAL = denials.locked(DB, "link-lock", "", is_own=True)


@pytest.mark.parametrize(
    ("decision", "denial", "refused"),
    [
        (link(), FINAL, True),
        (msgspec.structs.replace(link(), edits=(*REPAIRED.edits, *link().edits)), FINAL, True),
        (msgspec.structs.replace(link(), edits=REPAIRED.edits), FINAL, False),
        (msgspec.structs.replace(link(), verdict=None), FINAL, False),
        (msgspec.structs.replace(link(), outcome="denied"), FINAL, False),
        (link(), None, False),
        (link(), denials.unreadable(HOME, "throttled"), False),
        (link(), denials.instance_gone(A), False),
    ],
)
def test_a_link_is_taken_back_if_what_is_read_after_its_write_forbids_it(
    monkeypatch: pytest.MonkeyPatch, decision: Decision, denial: Denial | None, refused: bool
) -> None:
    """Not if that decides nothing, or nothing was opened for a link."""
    monkeypatch.setattr(apply, "evaluate", lambda *_, **_options: Verdict(LINK, (Need(K1),)))
    monkeypatch.setattr(apply, "permitted", lambda *_: Verdict(LINK, (Need(K1),), denial))
    applying = Applying(ours(K2, priority=1))
    report = applying(decision)
    assert (report.refused.keys(), bool(applying.ecs.changes())) == ({LINK} if refused else set(), True)


def test_nothing_is_read_for_a_closing_nor_tagged_when_the_time_is_over() -> None:
    applying = Applying(ours(K1), tagged=False)
    applying.clock.time = applying.delivery.retry.deadline
    assert len(applying(unlink(K1), link(KC, FAR, missing_managed_tag=(CACHE,))).pending) == 2
    assert not {"rules", "tag"} & {call.split()[0] for call in applying.calls}


def test_no_call_begins_once_the_time_is_over() -> None:
    """Another rule, and another claim on one that stands, are two calls on one group."""
    applying = Applying(ours(K2, Claim("chg-1")))
    applying.slow(600, "authorize", "modify")
    second_edit = Edit(K2, frozenset({TAG}), claims=(TAG, Claim("chg-1")), rule=ours(K2, Claim("chg-1")))
    link_decision = link()
    report = applying(msgspec.structs.replace(link_decision, edits=(*link_decision.edits, second_edit)))
    assert len(report.pending) == 1
    assert len(applying.ecs.changes()) == 1


# a request's end


@pytest.mark.parametrize(
    ("closes", "edits", "late", "is_done"),
    [
        (False, link().edits, LATE_SECONDS, True),
        (False, link().edits, LATE_SECONDS + 1, False),
        (True, link().edits, LATE_SECONDS + 1, False),
        (False, [TAKEN], LATE_SECONDS + 1, True),
        (True, [TAKEN], LATE_SECONDS, True),
        (True, [TAKEN], LATE_SECONDS + 1, False),
        (True, [*REPAIRED.edits, TAKEN], LATE_SECONDS + 1, False),
        (True, REPAIRED.edits, LATE_SECONDS + 1, True),
    ],
)
def test_an_expired_request_opens_nothing_and_an_expired_unlink_closes_nothing(
    closes: bool, edits: Sequence[Edit], late: float, is_done: bool
) -> None:
    """What a request has written is taken back all the same."""
    applying = Applying(ours(K2, priority=1), ours(K3), expires_at=NOW - late, closes=closes)
    report = applying(Decision(LINK, "link", "removed" if TAKEN in edits else "applied", edits=tuple(edits)))
    assert bool(applying.ecs.changes()) == is_done
    assert report.refused_keys == (set() if is_done else {edit.key for edit in edits})


def test_a_read_or_a_repair_alone_begins_no_unlink() -> None:
    """Half of one that has begun would help nobody, so that is finished."""
    rules, repair = (ours(K1), ours(KX), ours(KX_2, priority=1)), Edit(KX_2, rule=ours(KX_2, priority=1), claims=(TAG,))
    of = msgspec.structs.replace(unlink(K1, KX), edits=(*unlink(K1, KX).edits, repair))
    for slow, standing_rules in (("revoke", []), ("rules", list(rules[:1]))):
        applying = Applying(*rules, expires_at=NOW - LATE_SECONDS, closes=True)
        applying.fetch.changed()
        applying.slow(1, slow)
        applying(of)
        assert applying.ecs.existing == standing_rules


# closings: each group by itself


RULES = tuple(ours(k) for k in (K1, K2, KC, KX))
CLOSED = f"the rule on {PEER_GROUP} "


def unlink(*keys: RuleKey, of: Link = ACROSS) -> Decision:
    """These rules go, with the one decision."""
    edits = tuple(Edit(k, lose=frozenset({TAG}), rule=ours(k)) for k in keys)
    return Decision(of, "unlink", "removed", UNWANTED, edits, rules=tuple(ours(k) for k in keys))


def closed(k: RuleKey) -> Decision:
    """A removal that another decision's edit of this rule makes."""
    return Decision(Link(APP, k.group), "sync", "removed", UNWANTED, rules=(ours(k),))


@pytest.mark.parametrize(
    ("home", "peer", "kinds", "says", "pending", "refused"),
    [
        (None, None, ["intent", "outcome", "outcome"], "", 0, set()),
        (None, FULL, ["intent", "outcome"], f"{CLOSED}still stands: {PEER_GROUP}: ", 0, {KX}),
        (None, BUSY, ["intent", "outcome", "attempt"], f"{CLOSED}may still stand: 503", 1, set()),
        (FULL, FULL, ["intent", "outcome"], "", 0, {K1, KX}),
        (BUSY, FULL, ["intent", "attempt"], "503", 1, set()),
        (BUSY, BUSY, ["intent", "attempt"], "503", 1, set()),
    ],
)
def test_a_closing_is_made_on_each_group_by_itself(
    home: Exception | None, peer: Exception | None, kinds: list[str], says: str, pending: int, refused: set[RuleKey]
) -> None:
    """What was made is recorded, with what still stands and why; where nothing was, so is that. A removal that rests on
    an edit which was not made is not recorded."""
    applying = Applying(*RULES)
    applying.ecs.errors["revoke"], applying.peer.errors["revoke"] = (
        [error] * 4 if error else [] for error in (home, peer)
    )
    report = applying(unlink(K1, KX), closed(KX))
    assert applying.log.kinds() == kinds
    assert (len(report.pending), report.refused_keys) == (pending, refused)
    closed_keys = [k for k, error in ((K1, home), (KX, peer)) if not error]
    record = applying.log.records[1]
    assert says in record["detail"]
    if record["record"] == "outcome":
        assert record["outcome"] == ("removed" if closed_keys else "failed")
    assert (report.changed, report.removed) == (len(closed_keys) + (not peer and 0), len(closed_keys))
    assert [k.group.id in record["rules"] for k in (K1, KX)] == [
        not home or not closed_keys,
        not peer or not closed_keys,
    ]
    assert [record["detail"] for record in applying.log.records[2:] if record["record"] == "attempt"] == ["503"] * (
        pending if closed_keys else 0
    )


def test_what_changes_a_marker_is_closed_by_itself_after_removals() -> None:
    """It is a call for each marker; the removals of all other decisions on the group are one. The record says what is
    left."""
    applying = Applying(*RULES, ours(K3, TAG, Claim("chg-1")))
    mixed = unlink(K1, of=LINK)
    applying(msgspec.structs.replace(mixed, edits=(*mixed.edits, LOSS)), unlink(K2, of=FAR))
    assert applying.ecs.changes() == ["revoke sg-db", "modify sg-db", "revoke sg-db"]
    assert f'"{ours(K3).id}":"req:chg-1"' in applying.log.records[-1]["claims"]


@pytest.mark.parametrize(
    ("error", "pending", "refused"), [(FULL, 0, {K2}), (Throttled("rate", request_id="request-refused"), 1, set())]
)
def test_of_one_call_that_fails_half_way_only_what_was_not_made_stands(
    monkeypatch: pytest.MonkeyPatch, error: Exception, pending: int, refused: set[RuleKey]
) -> None:
    """Two decisions are closed with the calls of one group: each has the requests that were made for it."""
    monkeypatch.setattr(settle, "RULES_PER_CALL", 1)
    applying = Applying(*RULES)
    applying.before(lambda: applying.ecs.errors.update(revoke=[error] * (len(applying.ecs.existing) < 3)), "revoke")
    report = applying(unlink(K1, of=LINK), unlink(K2, of=FAR))
    assert [record.get("outcome", "attempt") for record in applying.log.records[2:]] == [
        "removed",
        "failed" if refused else "attempt",
    ]
    assert [record["api_requests"] for record in applying.log.records[2:]] == [
        "request-3,request-refused",
        "request-refused",
    ]
    assert (len(report.pending), report.refused_keys) == (pending, refused)


# closings of a sweep, which has little time


TOO_LATE = "no time was left for it in this run"
RATE = Throttled("rate", request_id="request-rate")
FORBIDDEN = NoAccess("Forbidden.RAM", "no")
BOTH, TWO = [unlink(K1, KX)], [unlink(K1), unlink(KC, of=FAR)]
NO_WAIT = Until(patience=NOW)
LOST = msgspec.structs.replace(
    unlink(KX_2, of=LINK), edits=(msgspec.structs.replace(LOSS, key=KX_2, rule=ours(KX_2, TAG, Claim("chg-1"))),)
)
"""A claim alone."""


X_LATE = f"{CLOSED}may still stand: {TOO_LATE}"
BUSY_HOME = {HOME: ("revoke", RATE)}


@pytest.mark.parametrize(
    ("decisions", "until", "errors", "changes", "kinds", "says", "undone"),
    [
        (BOTH, UNLIMITED, {}, "sg-db sg-x", "outcome", [], 0),
        (BOTH, Until(end=NOW), {}, "", "", [], 1),
        (BOTH, Until(end=NOW + 2), {}, "sg-db", "outcome attempt", [X_LATE], 1),
        (BOTH, Until(end=NOW + 1), {HOME: ("rules", FORBIDDEN)}, "", "attempt", [TOO_LATE], 1),
        (
            [unlink(K1, KC, KX)],
            NO_WAIT,
            {HOME: ("revoke", FULL), PEER: ("revoke", RATE)},
            "sg-cache sg-x sg-db",
            "outcome attempt",
            [f"the rule on {CACHE} still stands: {CACHE}: ", X_LATE],
            1,
        ),
        ([*TWO, unlink(KX)], Until(each=4), {}, "sg-db sg-x", "outcome outcome", [], 1),
        ([*TWO, unlink(KX), LOST], NO_WAIT, BUSY_HOME, "sg-db sg-x sg-x", "outcome outcome attempt", [], 2),
        (TWO, NO_WAIT, BUSY_HOME, "sg-db", "attempt", [TOO_LATE], 2),
        (TWO, Until(end=NOW + 30), BUSY_HOME, "sg-db", "attempt", [TOO_LATE], 2),
        (TWO, UNLIMITED, BUSY_HOME, "sg-db sg-db sg-cache", "outcome outcome", [], 0),
    ],
)
def test_what_a_sweep_has_no_time_to_close_is_left_to_the_next_one(
    decisions: list[Decision],
    until: Until,
    errors: dict[str, Any],
    changes: str,
    kinds: str,
    says: list[str],
    undone: int,
) -> None:
    """An account that is throttled has its turn in the next minute, and another one has it now; nothing else is waited
    for. Nothing is recorded of what was not begun; of the rest, why it is left. A removal that rests on what was not
    made is in no record."""
    applying = Applying(*RULES, ours(KX_2, TAG, Claim("chg-1")), paced=True)
    applying.slow(2, "revoke")
    applying.slow(1, "rules")
    for ecs in (applying.ecs, applying.peer):
        name, error = errors.get(ecs.account, ("", None))
        ecs.errors[name] = [error]
    unmade = [closed(edit.key) for decision in decisions for edit in decision.edits if edit.key.group.id not in changes]
    report = applying(*decisions, *unmade, until=until)
    assert [call.split()[1] for call in applying.calls if call.startswith(("revoke", "modify"))] == changes.split()
    assert (sum(applying.clock.waits) > 30) == (until is UNLIMITED and bool(errors))
    assert [kind for kind in applying.log.kinds() if kind != "intent"] == kinds.split()
    details = [record["detail"] for record in applying.log.records if record["record"] != "intent"]
    assert [text for text in says if text not in details[0]] == []
    assert (report.undone, report.pending) == (undone, ())


def test_an_event_waits_for_no_account_that_is_throttled() -> None:
    """Nor does it leave a closing to another run: it is delivered again."""
    applying = Applying(*RULES)
    applying.ecs.errors["revoke"] = [RATE]
    report = applying(unlink(K1, KX))
    assert (applying.clock.waits, report.undone, report.pending) == ([], 0, (RATE,))
    assert applying.peer.existing == []


FROM_PEER = link(key(DB, PEER_GROUP, "tcp/1"), Link(PEER_GROUP, DB, (K1.port,)))
ACROSS_2 = link(KX_2, Link(APP, PEER_GROUP, (K2.port,)))
LATE, THROTTLED = {"seconds": 510}, {"error": RATE}


@pytest.mark.parametrize(
    ("settings", "changes", "kinds", "undone", "pending"),
    [
        ({}, ["sg-x", "sg-db", "sg-x", "sg-db"], ["outcome"] * 4, 0, 0),
        (LATE, [], [], 4, 0),
        (THROTTLED, ["sg-x", "sg-db", "sg-db", "sg-x", "sg-x"], ["attempt", *["outcome"] * 4], 0, 0),
        ({**THROTTLED, "seconds": 489}, ["sg-x", "sg-db", "sg-db"], ["attempt", "outcome", "outcome"], 1, 1),
        ({**THROTTLED, "paced": False}, ["sg-x", "sg-db", "sg-x", "sg-db"], ["attempt", *["outcome"] * 3], 0, 1),
        ({"closing": True}, ["sg-db", "sg-db"], ["outcome", "outcome"], 3, 0),
        ({**LATE, "paced": False}, [], ["attempt"] * 4, 0, 4),
    ],
)
def test_a_sweep_leaves_what_it_has_no_time_to_open_to_the_next_one(
    settings: dict[str, Any], changes: list[str], kinds: list[str], undone: int, pending: int
) -> None:
    """Accounts that ask take turns. Nothing is opened on a group that was not closed, nor in an account that is
    throttled before the next minute; what was begun there is tried again, and is pending where no time is left for
    that."""
    applying = Applying(ours(KX), paced=settings.get("paced", True))
    applying.clock.time += settings.get("seconds", 0)
    RATE.account = PEER
    applying.peer.errors["authorize"] = [settings["error"]] if "error" in settings else []
    closing = [unlink(KX)] if "closing" in settings else []
    opening = [link(key(PEER_GROUP, APP, "tcp/3"), Link(APP, PEER_GROUP, (K3.port,))), ACROSS_2, FROM_PEER, link()]
    report = applying(*opening, *closing, until=Until(end=NOW))
    assert [call.split()[1] for call in applying.calls if call.startswith("authorize")] == changes
    assert [kind for kind in applying.log.kinds() if kind != "intent"] == kinds
    assert (report.undone, len(report.pending)) == (undone, pending)
    assert bool(applying.clock.waits) == (settings == THROTTLED)
    if settings == THROTTLED:
        assert "request-rate," in next(
            r["api_requests"] for r in applying.log.records if "tcp/3" in r["ports"] and r["record"] == "outcome"
        )


# how many instances the rules admit


@pytest.mark.parametrize("read", [False, True])
def test_an_outcome_counts_the_members_that_a_new_rule_admits(read: bool) -> None:
    """They are not read again, if they were for the plan, say; nor for a rule that stands."""
    applying = Applying(ours(K2, priority=1))
    applying.ecs.running = {"i-a": instance(A, APP), "i-b": instance(B, DB)}
    if read:
        applying.fetch.members([APP])
    applying.calls.clear()
    applying(REPAIRED)
    assert "instance_page sg-app" not in applying.calls
    applying(link())
    assert (applying.log.records[-1]["instances"], applying.log.records[-1]["instance_ids"]) == ("1", str(A))
    assert applying.calls.count("instance_page sg-app") == (not read)


@pytest.mark.parametrize(
    ("decision", "slow", "read"),
    [(link(), 0, True), (link(), 600, False), (Decision(FAR, "link", "unchanged"), 0, False)],
)
def test_what_decides_about_packets_is_read_where_something_changed_and_time_is_left(
    decision: Decision, slow: float, read: bool
) -> None:
    applying = Applying(ours(KC))
    applying.ecs.group_by_id["sg-app"] = group(APP, "*", rule_count=2)
    applying.fetch.refresh_groups(HOME, [APP])
    del applying.fetch.store.rules[APP]
    applying.slow(slow, "authorize")
    applying.calls.clear()
    applying(decision)
    assert ("rules sg-app" in applying.calls) == read


def test_reports_of_passes_add_up() -> None:
    """What is held is planned again in every pass, so it counts once."""
    held_counts, reasons = {Unseen(HOME, HOME): 3}, Counter({("denied", "locked"): 1})
    report = Report(2, 1, held_counts, {}, (BUSY,), frozenset({K1}), reasons, 1, frozenset({DB}))
    second_report = msgspec.structs.replace(report, refused_keys=frozenset({K2}), written=frozenset({APP}))
    assert report + second_report == Report(
        4, 2, held_counts, {}, (BUSY, BUSY), frozenset({K1, K2}), reasons + reasons, 2, frozenset({DB, APP})
    )
