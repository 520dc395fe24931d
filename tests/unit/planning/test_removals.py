"""Which claims a rule of ours loses, why, and what the removal guard holds back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from link_peer.domain import reasons
from link_peer.domain.denials import CLAIM_EXPIRED, UNLINKED, UNWANTED, Denial
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import ALL, TAG, Claim, Group, Instance, Link, Party, Rule, RuleKey
from link_peer.domain.policy import Allow, Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import Grantee, parse_ports
from link_peer.planning.actual import HALF_OPEN_SECONDS, actual_state
from link_peer.planning.decision import Context, DesiredLink, Refusal, Unseen
from link_peer.planning.removals import Loss, Losses, May, hold_above, losses, unseen_accounts
from link_peer.planning.verdict.acceptance import unseen_senders
from link_peer.planning.verdict.answers import PlanView, judge, wanted_claims

from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, POLICY, REGION, A, B, C
from tests.unit.snapshots import group, instance, key, ours, policy, theirs, view

OPEN = [group(APP, "*"), group(DB, "*")]
K1, K2 = key(DB, APP, "tcp/1"), key(DB, APP, "tcp/2")
REQ = Claim("chg-1")
ENDED = Claim("chg-9", int(NOW))
FOREIGN, FAR = Party(PEER, "sg-x"), Party(PEER, "i-x")
STRANGER = Party("1000000000000003", "sg-x")
P1 = parse_ports("tcp/1")
LINK, BOTH = Link(APP, DB, P1), Link(APP, DB, parse_ports("tcp/1+tcp/2"))
ADDRESSES = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", P1[0])
FULL = Denial(reasons.QUOTA, "the group is full", outcome="failed")
AT_HOME = Unseen(HOME, HOME)
TAGGED = instance(A, APP, link_peer="sg-other")
REFUSED = {PEER: NoAccess("NoPermission", "no")}


def removals(
    snapshot: Snapshot,
    *desired_links: DesiredLink,
    may_lose: Any = May.TAKE,
    with_policy: Policy = POLICY,
    refused: dict[Link, Refusal] | None = None,
    limit: int = 50,
    **context_fields: Any,
) -> Losses:
    """What rules lose, without the removals that are over the limit."""
    context = Context(with_policy, REGION, NOW, **context_fields)
    start = PlanView(snapshot, context, actual_state(snapshot, with_policy, REGION), refused or {})
    judged = judge(start, desired_links)
    claims = wanted_claims(judged.answers, start.actual)
    may = may_lose if callable(may_lose) else lambda *_: may_lose
    return losses(start, judged, claims, may, hold_above(limit))


def world(*rules: Rule, instances: list[Instance] | None = None, **view_options: Any) -> Snapshot:
    return view(OPEN, instances or [], rules, **view_options)


def causes(losses: Losses) -> dict[RuleKey, tuple[str, bool]]:
    """(reason, whether it is counted by the guard) of every loss."""
    return {k: (loss.denial.reason.code, bool(loss.unseen)) for k, loss in losses.by_rule.items()}


@pytest.mark.parametrize(
    ("rule", "instances", "loss"),
    [
        (ours(K1), [], Loss(frozenset({TAG}), UNWANTED, frozenset({AT_HOME}), by_absence=True)),
        (ours(K1), [instance(A, APP)], Loss(frozenset({TAG}), UNWANTED, frozenset({AT_HOME}), by_absence=True)),
        (ours(K1), [TAGGED], Loss(frozenset({TAG}), UNWANTED, by_absence=True)),
        (ours(K1, ENDED), [], Loss(frozenset({ENDED}), CLAIM_EXPIRED)),
        (
            ours(K1, TAG, ENDED),
            [],
            Loss(frozenset({TAG, ENDED}), CLAIM_EXPIRED, frozenset({AT_HOME}), by_absence=True),
        ),
    ],
    ids=["nothing is shown", "no tag is shown", "other wishes are shown", "expired", "both"],
)
def test_what_nobody_asks_for_is_lost_and_counted_where_its_asker_may_be_hidden(
    rule: Rule, instances: list[Instance], loss: Loss
) -> None:
    """An account that hides its resources would look like the first, and a read that leaves tags out like the second.
    An end is on the rule itself. Of several causes the explicit one is reported, and the loss counts since one of them
    does."""
    assert removals(world(rule, instances=instances)).by_rule == {K1: loss}


# how far a delivery may go


EXPLICIT: list[tuple[str, list[Group], list[Rule], dict[str, Any]]] = [
    ("expired", OPEN, [ours(K1, ENDED)], {}),
    ("no-consent", [group(APP), group(DB)], [ours(K1)], {}),
    ("locked", [group(APP), group(DB, "*", lock=True)], [ours(K1)], {}),
    ("not-allowed", OPEN, [ours(K1)], {"with_policy": policy(deny=parse_ports("tcp/1"))}),
    ("different-vpc", [group(APP, vpc="vpc-2"), group(DB, "*")], [ours(K1)], {}),
    ("", OPEN, [ours(K1)], {"withdrawn": UNLINKED}),
]


@pytest.mark.parametrize("may", May)
@pytest.mark.parametrize(("reason", "groups", "rules", "options"), EXPLICIT)
def test_an_explicit_cause_needs_no_look_at_who_asks(
    may: May, reason: str, groups: list[Group], rules: list[Rule], options: dict[str, Any]
) -> None:
    """No account need be live, and nothing is counted. A claim that is another delivery's business is kept whatever the
    cause."""
    lost_causes = causes(removals(view(groups, rules=rules, alive=False), may_lose=may, **options))
    keeps_all = may is May.KEEP or (
        may is May.BESIDE and "withdrawn" in options
    )  # an unlink is about its own pair alone
    assert lost_causes == ({} if keeps_all else {K1: (reason, False)})


@pytest.mark.parametrize("may", [May.KEEP, May.CLOSE, May.READ])
@pytest.mark.parametrize(
    "snapshot", [world(ours(K1)), world(ours(K1), instances=[TAGGED]), view([OPEN[1]], rules=[ours(K1)])]
)
def test_what_is_unwanted_or_not_shown_is_taken_only_where_all_was_read(may: May, snapshot: Snapshot) -> None:
    """`May.TAKE` alone goes that far."""
    assert removals(snapshot, may_lose=may).by_rule == {}
    assert set(removals(snapshot, may_lose=May.TAKE).by_rule) == {K1}


def test_each_claim_is_asked_about_by_itself() -> None:
    """With its rule and its marker."""
    losses = removals(world(ours(K1, TAG, REQ)), may_lose=lambda *of: May.TAKE if of[2].is_tag else May.KEEP)
    assert set(losses.claims(K1)) == {TAG}


# accounts that show nothing, or cannot be read


@pytest.mark.parametrize(
    ("snapshot", "by_id", "is_removed"),
    [
        (view([group(DB, "*")], [], [ours(K1)], requested={APP, DB}), True, True),
        (view([group(DB, "*")], [], [ours(K1)]), True, False),  # no read of it tells
        (view([group(DB, "*")], [], [ours(K1)]), False, True),
        (view([group(DB, "*")], [], [ours(K1)], requested={APP, DB}, failed_accounts={HOME: "throttled"}), True, False),
        (world(ours(K1)), True, False),  # nobody asks, and only a list tells so
        (world(ours(K1)), False, True),
        (world(ours(K1), instances=[TAGGED]), True, True),  # this one is shown, and asks no more
    ],
)
def test_a_short_sweep_believes_only_reads_by_id_that_something_is_not_shown(
    snapshot: Snapshot, by_id: bool, is_removed: bool
) -> None:
    """It lists nothing: what a list would miss decides nothing."""
    assert set(removals(snapshot, by_id=by_id).by_rule) == ({K1} if is_removed else set())


def test_one_doubted_account_of_two_keeps_the_rule() -> None:
    """Nothing is shown on either side of a mutual link, and only home is live."""
    accepting = [group(APP, f"sg-x@{PEER}"), group(FOREIGN, f"sg-app@{HOME}")]
    rule = ours(key(APP, FOREIGN))
    losses = removals(view(accepting, rules=[rule], live_accounts={HOME}))
    assert (losses.by_rule, losses.missing.doubted_accounts) == ({}, {PEER})
    (loss,) = removals(view(accepting, rules=[rule])).by_rule.values()
    account_pair = f"{HOME}+{PEER}"  # its two rules are held or removed together
    assert loss.unseen == {Unseen(HOME, account_pair), Unseen(PEER, account_pair)}


@pytest.mark.parametrize("instances", [[], [instance(A, APP)]])
def test_a_missing_group_is_doubted_like_a_missing_tag(instances: list[Instance]) -> None:
    """`peer-not-found` says only that the cloud does not show it, whoever is shown. An instance of the group that is
    shown without a tag proves that instances are shown."""
    for alive in (True, False):
        losses = removals(view([group(DB, "*")], instances, [ours(K1)], alive=alive))
        assert losses.missing.doubted_accounts == (set() if alive else {HOME})
        assert causes(losses) == ({K1: ("peer-not-found", True)} if alive else {})
        unasked = removals(world(ours(K1), instances=instances, alive=alive))
        assert causes(unasked) == ({K1: ("", True)} if alive or instances else {})


MUTUAL = Link(APP, FOREIGN)
PAST = DesiredLink(MUTUAL, TAG, A, denial=Denial(reasons.EXPIRED, "link-until is past"))


@pytest.mark.parametrize(
    ("hidden", "desired_links", "fields", "reason"),
    [
        ({"refused_accounts": REFUSED}, [], {}, ""),
        ({"refused_accounts": REFUSED, "failed_accounts": {HOME: "timeout"}}, [], {}, None),
        ({"refused_accounts": REFUSED}, [], {"claim": REQ}, None),
        ({"refused_accounts": REFUSED}, [DesiredLink(MUTUAL, TAG, A)], {}, None),
        ({"refused_accounts": REFUSED}, [DesiredLink(MUTUAL, TAG, FAR)], {}, ""),
        ({"refused_accounts": REFUSED}, [PAST], {}, "expired"),
        ({"refused_accounts": REFUSED}, [PAST, DesiredLink(MUTUAL, TAG, B)], {}, None),
        ({"refused_accounts": REFUSED}, [], {"may_lose": May.CLOSE}, None),
        ({"refused_accounts": REFUSED}, [], {"hidden_asks": True}, None),
        ({"refused_accounts": REFUSED}, [], {"limit": 0}, None),
        ({"failed_accounts": {PEER: "timeout"}}, [], {}, None),
    ],
    ids=[
        "nobody",
        "home too",
        "a request",
        "home",
        "the peer",
        "an end",
        "another",
        "an event",
        "a person",
        "over the limit",
        "throttled",
    ],
)
def test_a_side_that_refuses_access_does_not_count_as_asking(
    hidden: dict[str, Any], desired_links: list[DesiredLink], fields: dict[str, Any], reason: str | None
) -> None:
    """Of a mutual link by tag. The removal is counted, unless home's own tag has ended; a person's keys may be refused
    where the functions' are not, and a side that met a transient error counts as asking."""
    rule, claim = key(APP, FOREIGN), fields.pop("claim", TAG)
    snapshot = view([group(APP, "*@" + PEER)], [TAGGED], [ours(rule, claim)], **hidden)
    assert causes(removals(snapshot, *desired_links, **fields)) == (
        {} if reason is None else {rule: (reason, not reason)}
    )


def test_an_expired_claim_is_lost_although_its_account_could_not_be_read() -> None:
    """The end needs no look at the account."""
    assert set(removals(world(ours(K1, TAG, ENDED), failed_accounts={HOME: "timeout"})).claims(K1)) == {ENDED}


def test_an_open_question_takes_nothing() -> None:
    """Whether the source's address is used in the target's VPC was not read yet."""
    addresses = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", ALL)
    instances = [instance(A, APP, ip="10.0.0.1", vpc="vpc-2"), instance(B, DB, ip="10.0.0.2")]
    assert removals(world(ours(addresses, ends=(A, B)), instances=instances), may_lose=May.CLOSE).by_rule == {}


@pytest.mark.parametrize(("deleted", "may", "counted"), [((), May.TAKE, True), ((A,), May.CLOSE, False)])
def test_a_released_instance_is_an_explicit_cause_only_by_its_event(
    deleted: tuple[Party, ...], may: May, counted: bool
) -> None:
    """A `Deleted` event names it; then no account need be live. Else it is merely not shown."""
    snapshot = world(ours(ADDRESSES, ends=(A, B)), instances=[instance(B, DB, ip="10.0.0.2")], alive=not deleted)
    losses = removals(snapshot, may_lose=may, deleted=frozenset(deleted))
    assert causes(losses) == {ADDRESSES: ("instance-gone", counted)}


@pytest.mark.parametrize("may", [May.CLOSE, May.READ])
def test_a_deleted_event_proves_nothing_of_an_instance_that_is_shown(may: May) -> None:
    """Anyone who may put events on the bus can forge one. Nothing asks for the rule, but not all was read."""
    instances = [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
    losses = removals(world(ours(ADDRESSES, ends=(A, B)), instances=instances), may_lose=may, deleted=frozenset({A, B}))
    assert losses.by_rule == {}


# the guard


def test_a_held_claim_keeps_a_rule_whose_other_claim_goes() -> None:
    """The ended claim goes, for its own reason; the held one keeps the rule."""
    losses = removals(world(ours(K1, TAG, ENDED), ours(K2, TAG, ENDED)), limit=1)
    assert losses.held_removals == {AT_HOME: 2}
    assert losses.by_rule == {k: Loss(frozenset({ENDED}), CLAIM_EXPIRED) for k in (K1, K2)}


def test_a_claim_that_leaves_its_rule_in_place_is_not_counted() -> None:
    """No rule is removed, so a limit of 0 does not hold it."""
    losses = removals(world(ours(K1, TAG, REQ)), DesiredLink(LINK, REQ), limit=0)
    assert (losses.held_removals, set(losses.claims(K1))) == ({}, {TAG})


# what was refused


@pytest.mark.parametrize(
    ("partial", "is_request", "is_lost"),
    [(frozenset(), False, False), (frozenset({(K1, TAG)}), False, True), (frozenset(), True, False)],
    ids=["stood before", "written by this delivery", "of a request, complete"],
)
def test_a_refused_link_rolls_back_what_was_written_for_it(partial: Any, is_request: bool, is_lost: bool) -> None:
    """A link keeps the rules that it had before."""
    refused = {LINK: Refusal(FULL, partial)}
    for may in (May.TAKE, May.CLOSE):
        losses = removals(world(ours(K1)), DesiredLink(LINK, TAG), refused=refused, is_request=is_request, may_lose=may)
        assert losses.by_rule == ({K1: Loss(frozenset({TAG}), FULL)} if is_lost else {})


@pytest.mark.parametrize("is_request", [False, True])
def test_a_refused_link_keeps_the_ports_that_stood(is_request: bool) -> None:
    """A request that was posted again with a port more has been opened for the first: a full group closes nothing."""
    desired_link, refused = DesiredLink(BOTH, TAG), {BOTH: Refusal(FULL)}
    losses = removals(world(ours(K1)), desired_link, refused=refused, is_request=is_request, may_lose=May.CLOSE)
    assert losses.by_rule == {}


@pytest.mark.parametrize("is_request", [False, True])
def test_a_refused_request_loses_what_an_earlier_delivery_wrote_at_one_end(is_request: bool) -> None:
    """The claims of its two rules exist together or not at all. A tag's link keeps what it had."""
    mutual, refused = Link(APP, DB), {Link(APP, DB): Refusal(FULL)}
    near_key, far_key = key(DB, APP), key(APP, DB)
    losses = removals(
        world(ours(near_key, TAG), ours(far_key, REQ)),
        DesiredLink(mutual, TAG),
        refused=refused,
        is_request=is_request,
        may_lose=lambda _rule, _link, claim: May.CLOSE if claim.is_tag else May.KEEP,
    )
    assert losses.by_rule == ({near_key: Loss(frozenset({TAG}), FULL)} if is_request else {})


def test_a_persons_rule_makes_a_refused_request_complete() -> None:
    """Nothing of it was written in part: only a repair was refused."""
    snapshot = world(ours(K1, REQ), theirs(K2))
    losses = removals(
        snapshot, DesiredLink(BOTH, REQ), refused={BOTH: Refusal(FULL)}, is_request=True, may_lose=May.CLOSE
    )
    assert losses.by_rule == {}


def test_a_refused_link_takes_back_nothing_of_another() -> None:
    """Though both were refused for the same reason: the one is half a mutual link, the other stood before."""
    half = Link(APP, CACHE)
    refused = {half: Refusal(FULL), LINK: Refusal(FULL)}
    snapshot = view([*OPEN, group(CACHE, "*")], rules=[ours(key(CACHE, APP)), ours(K1)])
    losses = removals(snapshot, DesiredLink(half, TAG), DesiredLink(LINK, TAG), refused=refused)
    assert set(losses.by_rule) == {key(CACHE, APP)}


def test_a_refusal_because_something_does_not_exist_is_not_counted() -> None:
    """The cloud's answer to a write says nothing about what it shows: it is rolled back although home shows nothing."""
    missing_group = Denial(reasons.PEER_NOT_FOUND, "the source group does not exist")
    refused = {LINK: Refusal(missing_group, frozenset({(K1, TAG)}))}
    losses = removals(world(ours(K1), alive=False), DesiredLink(LINK, TAG), refused=refused)
    assert losses.by_rule == {K1: Loss(frozenset({TAG}), missing_group)}


# half-open links of requests

HERE, THERE = key(DB, APP), key(APP, DB)


def half_open(rule: Rule, *other_rules: Rule, sweep: bool = True, may: May = May.CLOSE, **view_options: Any) -> Losses:
    return removals(world(rule, *other_rules, **view_options), may_lose=may, completes_tags_only=sweep)


@pytest.mark.parametrize(
    ("age", "is_lost"),
    [(0, False), (HALF_OPEN_SECONDS - 1, False), (HALF_OPEN_SECONDS, True), (10**6, True), (None, True)],
)
def test_half_of_a_requests_mutual_link_is_removed_once_it_is_old(age: int | None, is_lost: bool) -> None:
    """After 30 minutes: a delivery may still be writing the other half. A rule of unknown age counts as old. The cause
    is explicit, and the denial names the group that lacks its rule."""
    losses = half_open(ours(HERE, REQ, age=age), alive=False)
    assert HALF_OPEN_SECONDS == 30 * 60
    assert causes(losses) == ({HERE: ("half-open", False)} if is_lost else {})
    if is_lost:
        assert f"the rule on {APP} is missing" in losses.by_rule[HERE].denial.detail
        assert losses.by_rule[HERE].denial.half_open


OLD = ours(HERE, REQ, age=10**6)


@pytest.mark.parametrize(
    ("rules", "sweep", "lost_claims"),
    [
        ([OLD], True, {REQ}),
        ([OLD], False, set()),  # another delivery cannot know that none is writing the other half
        ([OLD, ours(THERE, Claim("chg-2"))], True, set()),
        ([OLD, theirs(THERE)], True, set()),
        ([OLD, ours(THERE, REQ)], True, set()),
        ([OLD, theirs(THERE, act="drop")], True, {REQ}),
        ([ours(HERE, TAG, age=10**6)], True, set()),
        ([ours(HERE, TAG, REQ, age=10**6)], True, {REQ}),
        ([ours(K1, REQ, age=10**6)], True, set()),
    ],
    ids=[
        *("half", "not in a sweep", "another's beside", "a person's beside", "its own beside", "a drop beside"),
        *("half of a tag's, which is completed", "of a tag's and a request's", "with a port"),
    ],
)
def test_a_half_is_a_rule_without_another_on_the_other_side(
    rules: list[Rule], sweep: bool, lost_claims: set[Claim]
) -> None:
    """No matter whose the other rule is."""
    losses = half_open(*rules, sweep=sweep)
    assert {claim for loss in losses.by_rule.values() for claim in loss.claims} == lost_claims


def test_a_side_whose_rules_were_not_read_is_not_missing() -> None:
    """There was no time to read it."""
    snapshot = world(OLD)
    snapshot = msgspec.structs.replace(snapshot, rules={DB: snapshot.rules[DB]})
    assert removals(snapshot, completes_tags_only=True, may_lose=May.CLOSE).by_rule == {}


# whose absence is the cause

UNTAGGED = instance(A, APP)
PEER_TAGGED = instance(FAR, FOREIGN, link_peer="sg-other")


def unseen(snapshot: Snapshot, link: Link, denial: Denial | None = None, deleted: tuple[Party, ...] = ()) -> set[str]:
    context = Context(POLICY, REGION, NOW, deleted=frozenset(deleted))
    return unseen_accounts(snapshot, context, link, denial)


@pytest.mark.parametrize(
    ("instances", "link", "accounts"),
    [
        ([], Link(APP, DB, P1), {HOME}),
        ([TAGGED], Link(APP, DB, P1), set()),
        ([UNTAGGED], Link(APP, DB, P1), {HOME}),  # an account that shows no tag at all may not show them
        ([UNTAGGED, instance(B, DB, link_peer="x")], Link(APP, DB, P1), set()),
        ([instance(B, DB, link_peer="x")], Link(APP, DB, P1), {HOME}),  # none of the source group is shown
        ([], Link(FOREIGN, DB, P1), {PEER}),
        ([TAGGED], Link(FOREIGN, DB, P1), {PEER}),
        ([PEER_TAGGED], Link(FOREIGN, DB, P1), set()),
        ([TAGGED], Link(APP, FOREIGN, P1), set()),  # the target asks for nothing
        ([TAGGED], Link(APP, FOREIGN), {PEER}),  # but both sides of a mutual link ask
        ([PEER_TAGGED], Link(APP, FOREIGN), {HOME}),
        ([TAGGED, PEER_TAGGED], Link(APP, FOREIGN), set()),
        ([], Link(APP, FOREIGN), {HOME, PEER}),
        ([], Link(A, B, P1), {HOME}),
        ([TAGGED], Link(A, B, P1), set()),
        ([TAGGED], Link(A, FAR), {PEER}),
        ([], Link(STRANGER, DB, P1), set()),  # not in the policy: its rules are removed for that
    ],
)
def test_an_asker_that_is_not_shown_with_tags_is_missing(
    instances: list[Instance], link: Link, accounts: set[str]
) -> None:
    """Of a rule that nothing asks for: no instance of the asking group, or not the instance itself."""
    assert unseen(view([group(APP), group(DB)], instances), link) == accounts


GROUP_LINK, ADDRESSED = Link(APP, FOREIGN, P1), [instance(A, APP, ip="10.0.0.1"), instance(FAR, FOREIGN, ip="10.0.0.2")]


@pytest.mark.parametrize(
    ("groups", "instances", "link", "accounts"),
    [
        ([DB], [TAGGED], LINK, {HOME}),
        ([APP], [TAGGED, PEER_TAGGED], GROUP_LINK, {PEER}),
        ([FOREIGN], [TAGGED, PEER_TAGGED], GROUP_LINK, {HOME}),
        ([], [TAGGED, PEER_TAGGED], GROUP_LINK, {HOME, PEER}),
        ([], [TAGGED], Link(STRANGER, APP, P1), {HOME}),
        # of instances, they themselves, then all of their groups, then their addresses
        ([APP, FOREIGN], ADDRESSED[:1], Link(A, FAR, P1), {PEER}),
        ([APP, FOREIGN], ADDRESSED[1:], Link(A, FAR, P1), {HOME}),
        ([APP, FOREIGN], [], Link(A, FAR, P1), {HOME, PEER}),
        ([FOREIGN], ADDRESSED, Link(A, FAR, P1), {HOME}),
        ([APP], ADDRESSED, Link(A, FAR, P1), {PEER}),
        ([APP, FOREIGN], [UNTAGGED, ADDRESSED[1]], Link(A, FAR, P1), {HOME}),
        ([APP, FOREIGN], [ADDRESSED[0], instance(FAR, FOREIGN)], Link(A, FAR, P1), {PEER}),
        ([APP, FOREIGN], [UNTAGGED], Link(A, FAR, P1), {PEER}),
    ],
)
def test_a_party_or_address_that_is_not_shown_is_missing(
    groups: list[Party], instances: list[Instance], link: Link, accounts: set[str]
) -> None:
    """Whatever else is shown: the verdict is `peer-not-found`, `instance-gone` or `no-private-ip`."""
    assert unseen(view(map(group, groups), instances), link, Denial(reasons.INSTANCE_GONE, "")) == accounts


def test_an_instance_that_the_platform_says_was_released_is_not_missing() -> None:
    """A `Deleted` event is an explicit cause. It speaks for that instance alone."""
    released = Denial(reasons.INSTANCE_GONE, "")
    link = Link(A, FAR, P1)
    assert unseen(view(), link, released, deleted=(A,)) == {PEER}
    assert unseen(view(), link, released, deleted=(A, FAR)) == set()
    assert unseen(view(), Link(A, B, P1), None, deleted=(A,)) == set()
    assert unseen(view(), Link(A, B, P1), None, deleted=(B,)) == {HOME}


# links by address, whose instance may be in another group that is accepted

BY = RuleKey(DB, "10.0.0.1/32", "", P1[0])
PART = Link(APP, DB, P1, "i-a")
ASKED, LATE = DesiredLink(PART, TAG, A), DesiredLink(PART, TAG, A, denial=Denial(reasons.EXPIRED, "link-until is past"))
OF_REQUEST = DesiredLink(PART, REQ, opens=False)


@pytest.mark.parametrize(
    ("groups", "ip", "accept", "claim", "desired_links", "may", "reason"),
    [
        ([APP], "10.0.0.1", "*", TAG, [], May.CLOSE, None),
        ([APP], "10.0.0.1", "*", TAG, [LATE], May.CLOSE, "expired"),
        ([APP], "10.0.0.1", "*", TAG, [], May.TAKE, ""),
        ([APP], "10.0.0.9", "*", TAG, [ASKED], May.TAKE, ""),  # its rule has another address
        ([CACHE], "10.0.0.1", "sg-app", TAG, [], May.CLOSE, "no-members"),
        ([CACHE], "10.0.0.1", "*", TAG, [], May.CLOSE, None),
        ([CACHE], "10.0.0.1", "*", TAG, [ASKED], May.CLOSE, None),
        ([CACHE], "10.0.0.1", "*", TAG, [ASKED], May.TAKE, ""),
        ([CACHE], "10.0.0.9", "*", TAG, [], May.CLOSE, "no-members"),
        ([CACHE], "10.0.0.1", "*", REQ, [OF_REQUEST], May.CLOSE, "no-members"),  # the members of its group follow
        ([APP], "10.0.0.1", "sg-cache", TAG, [], May.CLOSE, "no-consent"),
        ([APP, CACHE], "10.0.0.1", "sg-cache", TAG, [], May.CLOSE, None),
        (None, "", "*", TAG, [], May.CLOSE, None),
        (None, "", "*", TAG, [], May.TAKE, "instance-gone"),
    ],
)
def test_a_rule_by_address_stays_where_its_instance_may_be_admitted_as_a_member_of_another_group(
    groups: list[Party] | None,
    ip: str,
    accept: str,
    claim: Claim,
    desired_links: list[DesiredLink],
    may: May,
    reason: str | None,
) -> None:
    """Nothing but the wish decides then. A request's claim is followed by its own group alone."""
    instances = [] if groups is None else [instance(A, *groups, ip=ip)]
    snapshot = view(
        [group(APP), group(CACHE), group(DB, accept, advanced=True)], instances, [ours(BY, claim, ends=(A, APP))]
    )
    loss_by_rule = removals(snapshot, *desired_links, may_lose=may).by_rule
    assert [loss.denial.reason.code for loss in loss_by_rule.values()] == ([] if reason is None else [reason])


def test_a_former_address_costs_its_rule_and_excuses_no_other_one() -> None:
    """What comes after it in the order of the rules is judged as well. The denial says whose address is which now."""
    rules = [ours(BY, ends=(A, APP)), ours(K2)]
    snapshot = view([group(APP), group(DB, "*", advanced=True)], [instance(A, APP, ip="10.0.0.9")], rules)
    loss_by_rule = removals(snapshot, ASKED).by_rule
    assert list(loss_by_rule) == [BY, K2]
    assert loss_by_rule[BY].denial.detail.startswith(f"the address of {A} is 10.0.0.9 now")


INTO_B, OUT_TO_B = (RuleKey(*ends, P1[0]) for ends in ((DB, "10.0.0.1/32", "10.0.0.9/32"), (APP, "", "10.0.0.9/32")))
"""Of a link between instances, to an address that the target does not have any more."""
OUT_TO_MEMBER = msgspec.structs.replace(OUT_TO_B, port=K2.port)
"""The same of a link between groups, whose target the instance is in."""


@pytest.mark.parametrize(
    ("link", "lost_rules"),
    [
        (Link(A, B, P1), [INTO_B, OUT_TO_B]),
        (Link(B, A, P1), [INTO_B]),
        (Link(C, B, P1), [OUT_TO_B]),  # instances of a group share what lets them out to another
        (Link(C, A, P1), []),
        (Link(A, C, P1), []),
        (Link(APP, DB, P1), [OUT_TO_MEMBER]),
        (Link(CACHE, DB, P1), []),  # another group than that which lets out
    ],
)
@pytest.mark.parametrize("in_scope", [True, False])
def test_a_delivery_takes_a_rule_for_a_former_address_only_where_it_answers_for_the_link(
    in_scope: bool, link: Link, lost_rules: list[RuleKey]
) -> None:
    """It writes the new rule then, for no other link."""
    instances = [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2"), instance(C, APP, ip="10.0.0.3")]
    ends = {INTO_B: (A, B), OUT_TO_B: (B, B), OUT_TO_MEMBER: (B, DB)}
    snapshot = world(*(ours(rule, ends=parties) for rule, parties in ends.items()), instances=instances)
    desired_link = DesiredLink(link, TAG, link.source, in_scope=in_scope)
    assert list(removals(snapshot, desired_link, may_lose=May.KEEP).by_rule) == (lost_rules if in_scope else [])


class Counted(dict[Party, Instance]):
    """Instances that count how often all of them are gone through."""

    passes = 0

    def _pass(self) -> None:
        self.passes += 1

    def __iter__(self) -> Iterator[Party]:
        self._pass()
        return super().__iter__()

    def keys(self) -> Any:
        self._pass()
        return super().keys()

    def values(self) -> Any:
        self._pass()
        return super().values()


@pytest.mark.parametrize(
    "consenting_policy", [POLICY, policy(allow=(Allow(Grantee(HOME, B.id), Grantee(HOME, "*"), (), "b"),))]
)
def test_rules_that_nobody_asks_for_cost_no_pass_over_the_instances_each(consenting_policy: Policy) -> None:
    """Nor do egress rules whose group the policy lets out for an instance that is not shown."""
    passes = []
    for count in (3, 30):
        keys = [key(DB, APP, f"tcp/{port}") for port in range(1, count + 1)]
        snapshot = world(*map(ours, keys), instances=[TAGGED])
        counted = Counted(snapshot.instances)
        replaced = msgspec.structs.replace(snapshot, instances=counted)
        assert len(removals(replaced, with_policy=consenting_policy, deleted=frozenset({B})).freed) == count
        unseen_senders(replaced, consenting_policy, APP)
        passes.append(counted.passes)
    assert passes[0] == passes[1]
