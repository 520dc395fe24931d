"""Whole plans: the table in the docstring of link_peer.planning.diff, row by row, and what is built on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from link_peer.domain import reasons
from link_peer.domain.denials import Denial, Waits
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import TAG, Claim, Group, Instance, Link, Party, Rule, RuleKey
from link_peer.domain.policy import Limits, Pause
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_ports
from link_peer.planning.actual import actual_state, marked_rules, renamed_rules
from link_peer.planning.decision import Context, Decision, DesiredLink, Plan, Refusal
from link_peer.planning.diff import edit_of
from link_peer.planning.plan import make_plan
from link_peer.planning.removals import May

from tests.unit.small_world import APP, CACHE, DB, HOME, MANAGED, NOW, PEER, POLICY, REGION, A, B
from tests.unit.snapshots import group, instance, key, managed, member, ours, policy, theirs, view

OPEN = [managed(APP, "*"), managed(DB, "*"), managed(CACHE, "*")]
P1, P2 = parse_ports("tcp/1"), parse_ports("tcp/2")
REQ, REQ2 = Claim("chg-1"), Claim("chg-2")
PAST, SOON = Claim("chg-9", int(NOW)), Claim("chg-9", int(NOW) + 1)
FULL = Denial(reasons.QUOTA, "no room", outcome="failed")


def plan(
    snapshot: Snapshot,
    *claims: DesiredLink,
    may_lose: May = May.TAKE,
    with_policy: Any = POLICY,
    limit: int = 50,
    is_request: bool = False,
    withdrawn: Denial | None = None,
    **options: Any,
) -> Plan:
    """A plan in which, by default, every claim may be lost; without the removals that are over the limit."""
    context = Context(with_policy, REGION, NOW, is_request=is_request, withdrawn=withdrawn)
    options["may_lose"] = lambda *_: may_lose
    due = make_plan(snapshot, context, claims, **options).due
    held_unseens = {unseen for unseen, keys in due.items() if len(keys) > limit}
    return make_plan(snapshot, context, claims, hold=lambda _due: frozenset(held_unseens), **options)


def desired(link: Link, claim: Claim = TAG) -> DesiredLink:
    return DesiredLink(link, claim)


def edits(decisions: Sequence[Decision]) -> list[tuple[str, str, tuple[Claim, ...]]]:
    """(kind, port, the claims that the rule will carry) of every edit."""
    return sorted((e.kind, str(e.key.port), e.claims) for d in decisions for e in d.edits)


K1 = key(DB, APP, "tcp/1")
ADDRESSES = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", P1[0])
LINK = Link(APP, DB, P1)


@pytest.mark.parametrize(
    ("existing", "claims", "may_lose", "change"),
    [
        # rule exists?                   wanted?   may be lost?  → change
        ([], [TAG], May.TAKE, [("add", "tcp/1", (TAG,))]),
        ([theirs(K1)], [TAG], May.TAKE, []),
        ([theirs(K1, act="drop")], [TAG], May.TAKE, [("add", "tcp/1", (TAG,))]),
        ([ours(K1)], [TAG], May.TAKE, []),
        ([ours(K1)], [TAG], May.KEEP, []),
        ([], [TAG, REQ], May.TAKE, [("add", "tcp/1", (TAG, REQ))]),
        ([ours(K1, REQ)], [TAG], May.KEEP, [("mark", "tcp/1", (TAG, REQ))]),
        (
            [ours(K1, REQ, PAST)],
            [TAG],
            May.KEEP,
            [("mark", "tcp/1", (TAG, REQ))],
        ),  # what has ended is not written again
        ([ours(K1, TAG, PAST)], [TAG], May.KEEP, []),
        ([], [SOON], May.TAKE, [("add", "tcp/1", (SOON,))]),
        ([ours(K1)], [], May.KEEP, []),
        ([ours(K1, TAG, REQ)], [REQ], May.TAKE, [("mark", "tcp/1", (REQ,))]),
        ([ours(K1, TAG, REQ)], [REQ], May.KEEP, []),
        ([ours(K1)], [], May.TAKE, [("remove", "tcp/1", ())]),
        ([ours(K1, TAG, REQ)], [], May.TAKE, [("mark", "tcp/1", (REQ,))]),  # a request's ends by an explicit cause
        ([ours(K1, priority=1)], [TAG], May.TAKE, [("mark", "tcp/1", (TAG,))]),
        ([ours(K1, priority=1)], [], May.KEEP, [("mark", "tcp/1", (TAG,))]),
        ([ours(K1, priority=1)], [], May.TAKE, [("remove", "tcp/1", ())]),
        ([theirs(K1)], [], May.TAKE, []),
        ([theirs(K1, "link-peer/2 dep=prod home=1000000000000001 id=0123456789abcdef by=tag")], [], May.TAKE, []),
        ([ours(K1), theirs(K1, act="drop")], [], May.TAKE, [("remove", "tcp/1", ())]),
        ([ours(K1), theirs(K1)], [], May.TAKE, [("remove", "tcp/1", ())]),
    ],
)
def test_the_table(
    existing: list[Rule], claims: list[Claim], may_lose: May, change: list[tuple[str, str, tuple[Claim, ...]]]
) -> None:
    """Each case of the docstring, for the one rule on which sg-db admits sg-app on TCP 1."""
    new_plan = plan(view(OPEN, rules=existing), *(desired(LINK, claim) for claim in claims), may_lose=may_lose)
    assert edits(new_plan.decisions) == change


def test_a_request_that_finds_its_link_is_applied_again() -> None:
    new_plan = plan(view(OPEN, rules=[ours(K1, REQ)]), desired(LINK, REQ), may_lose=May.KEEP, is_request=True)
    assert [(d.outcome, d.edits) for d in new_plan.decisions] == [("applied", ())]


def test_both_rules_of_a_mutual_link_are_removed_in_one_decision() -> None:
    snapshot = view(OPEN, rules=[ours(key(DB, APP)), ours(key(APP, DB))])
    (removed,) = plan(snapshot).decisions
    assert len(removed.edits) == 2
    assert removed.link.mutual


def test_the_targets_group_is_written_first_since_it_may_refuse() -> None:
    (decision,) = plan(view(OPEN), desired(Link(APP, DB))).decisions
    assert [edit.key.group for edit in decision.edits] == [DB, APP]


def naming(count: int) -> list[Rule]:
    """Rules of sg-db that name so many groups."""
    return [theirs(key(DB, Party(HOME, f"sg-{number}"), "tcp/9")) for number in range(count)]


def test_the_last_room_in_a_group_goes_to_one_source() -> None:
    """And then to all of its links."""
    snapshot = view([managed(APP), managed(CACHE), managed(DB, "*")], rules=naming(19))
    links = [Link(APP, DB, P1), Link(CACHE, DB, P1), Link(APP, DB, P2)]
    outcome_by_link = {d.link: d.outcome for d in plan(snapshot, *map(desired, links)).decisions}
    assert outcome_by_link == dict(zip(links, ["applied", "failed", "applied"], strict=True))


def test_the_last_room_goes_to_a_link_of_which_a_rule_stands() -> None:
    """Though another comes first in the order of links."""
    rules = [ours(key(CACHE, DB)), *naming(19)]
    snapshot = view([managed(APP), managed(CACHE, "*"), managed(DB, "*")], rules=rules)
    decisions = plan(snapshot, desired(LINK), desired(Link(CACHE, DB))).decisions
    assert {d.link: d.outcome for d in decisions} == {LINK: "failed", Link(CACHE, DB): "applied"}


def test_a_removed_rule_makes_room() -> None:
    """Closing comes before opening, so the room is there when the new rule is written."""
    snapshot = view(
        [managed(APP), managed(CACHE), managed(DB, "*")], rules=[ours(key(DB, CACHE, "tcp/1")), *naming(19)]
    )
    added, removed = plan(snapshot, desired(LINK)).decisions
    assert (added.outcome, removed.outcome, removed.removals) == ("applied", "removed", 1)


def test_a_removal_that_is_held_makes_no_room() -> None:
    """It is not made."""
    snapshot = view(
        [managed(APP), managed(CACHE), managed(DB, "*")], rules=[ours(key(DB, CACHE, "tcp/1")), *naming(19)]
    )
    (failed,) = plan(snapshot, desired(LINK), limit=0).decisions
    assert (failed.outcome, failed.denial.reason.code) == ("failed", "quota")


def test_a_request_that_exists_in_part_and_has_no_room_for_the_rest_is_rolled_back() -> None:
    """Both sides or neither: sg-db is full, and sg-app holds the other half. The room that this frees is used in a new
    round."""
    link = Link(APP, DB)
    snapshot = view([managed(APP, "*"), managed(DB, "*")], rules=[ours(key(APP, DB), REQ), *naming(20)])
    (failed,) = plan(snapshot, desired(link, REQ), is_request=True).decisions
    assert (failed.outcome, failed.denial.reason.code) == ("failed", "quota")
    assert edits([failed]) == [("remove", "all", ())]


def test_a_rollback_of_several_claims_is_one_answer() -> None:
    """Whichever claims each rule loses."""
    link, k2 = Link(APP, DB, (*P1, *P2)), key(DB, APP, "tcp/2")
    refusal = Refusal(FULL, frozenset({(K1, TAG), (k2, REQ)}))
    snapshot = view(OPEN, rules=[ours(K1), ours(k2, REQ)])
    (failed,) = plan(snapshot, desired(link), desired(link, REQ), refused={link: refusal}).decisions
    assert edits([failed]) == [("remove", "tcp/1", ()), ("remove", "tcp/2", ())]


def test_a_rollback_keeps_what_another_link_wants() -> None:
    long, short = Link(APP, DB, (*P1, *P2)), LINK
    snapshot = view(OPEN, rules=[ours(K1)])
    refused = {long: Refusal(FULL, frozenset({(K1, TAG)}))}
    assert edits(plan(snapshot, desired(long), desired(short), refused=refused).decisions) == []


@pytest.mark.parametrize("elsewhere", [Denial(reasons.QUOTA, "no room there", outcome="failed"), FULL])
def test_each_refused_link_takes_back_its_own_rules(elsewhere: Denial) -> None:
    """In its own answer, also where the reason is the same. A rule that goes for another one has a decision of its
    own."""
    far, far_key = Link(APP, CACHE, P1), key(CACHE, APP, "tcp/1")
    refused = {
        LINK: Refusal(FULL, frozenset({(K1, TAG)})),
        far: Refusal(elsewhere, frozenset({(far_key, TAG)})),
    }
    ended = ours(key(DB, APP, "tcp/2"), Claim("chg-1", int(NOW)))
    snapshot = view(OPEN, rules=[ended, ours(far_key), ours(K1)])
    decisions = plan(snapshot, desired(LINK), desired(far), refused=refused).decisions
    assert {(d.link, d.outcome): [edit.key for edit in d.edits] for d in decisions} == {
        (LINK, "failed"): [K1],
        (far, "failed"): [far_key],
        (Link(APP, DB, P2), "removed"): [key(DB, APP, "tcp/2")],
    }


def test_a_group_with_a_rule_between_instances_needs_its_second_tag() -> None:
    """By it, the event of a released instance finds the rule. The decision names a rule that says so."""
    bare = msgspec.structs.replace(managed(DB, "*"), tags={MANAGED: "true", "link-accept": "*"})
    between = ours(ADDRESSES, ends=(A, B))
    for rules, missing in (([ours(K1)], []), ([between], [(DB,)]), ([between, ours(K1)], [(DB,)])):
        decisions = plan(view([managed(APP, "*"), bare], rules=rules), may_lose=May.KEEP).decisions
        assert [decision.missing_managed_tag for decision in decisions] == missing
        assert all(rule.key and rule.key.dest for decision in decisions for rule in decision.rules)


def test_the_managed_tag_is_written_again_while_opening_is_paused() -> None:
    """It opens nothing. While everything is paused, nothing is written."""
    snapshot = view([managed(APP, "*"), group(DB, "*")], rules=[ours(K1)])
    for pause, tagged in ((Pause.OPENING, ["repair"]), (Pause.ALL, [])):
        second_link = desired(Link(APP, DB, P2))
        decisions = plan(snapshot, second_link, may_lose=May.KEEP, with_policy=policy(paused=pause)).decisions
        assert [d.action for d in decisions if d.missing_managed_tag and not d.edits] == tagged


def test_a_link_that_opens_nothing_writes_its_managed_tag_while_opening_is_paused() -> None:
    """So no repair of its own is due."""
    snapshot = view([managed(APP, "*"), group(DB, "*")], rules=[ours(K1)])
    decisions = plan(snapshot, desired(LINK), may_lose=May.KEEP, with_policy=policy(paused=Pause.OPENING)).decisions
    assert [(d.action, d.missing_managed_tag) for d in decisions] == [("link", (DB,))]


def test_a_group_that_loses_its_last_rule_gets_no_managed_tag() -> None:
    """The sweep would remove it again. Nor does a request's claim that the rule does not carry keep it."""
    snapshot = view([managed(APP, "*"), group(DB, "*")], rules=[ours(K1)])
    for desired_links in ([], [DesiredLink(LINK, REQ, opens=False)]):
        decisions = plan(snapshot, *desired_links).decisions
        assert sum(decision.removals for decision in decisions) == 1
        assert {decision.missing_managed_tag for decision in decisions} == {()}


def test_a_raised_rule_beside_a_persons_equal_rule_is_removed() -> None:
    """ECS refuses ours the priority that the person's rule has. The person's counts as present."""
    snapshot = view(OPEN, rules=[ours(K1, TAG, REQ, priority=1), theirs(K1, priority=100)])
    removed, answer = plan(snapshot, desired(LINK), may_lose=May.KEEP).decisions
    assert (removed.action, removed.outcome, removed.denial.reason) == ("repair", "removed", reasons.HUMAN_RULE)
    assert edits([removed]) == [("remove", "tcp/1", ())]
    assert removed.edits[0].lose == {TAG, REQ}
    assert (answer.outcome, answer.denial.reason, answer.edits) == ("unchanged", reasons.HUMAN_RULE, ())


def test_a_raised_rule_is_put_back_where_no_rule_is_in_the_way() -> None:
    """A person's drop, or an accept with another priority, is none."""
    for persons_rule in (theirs(K1, priority=50), theirs(K1, act="drop", priority=100)):
        snapshot = view(OPEN, rules=[ours(K1, priority=1), persons_rule])
        assert edits(plan(snapshot, may_lose=May.KEEP).decisions) == [("mark", "tcp/1", (TAG,))]


# what is read next


def test_the_askers_of_what_is_not_shown_are_confirmed() -> None:
    """Of a link the source, of a mutual one both, and any that is not shown; not where the cause is explicit. Also
    where other members of the group are shown: a read may have omitted the one that asks."""
    new_plan = plan(view(OPEN, rules=[ours(K1)]))
    assert new_plan.missing.unconfirmed == {APP}
    assert plan(view(OPEN, rules=[ours(key(DB, APP)), ours(key(APP, DB))])).missing.unconfirmed == {APP, DB}
    assert plan(view(OPEN, rules=[ours(key(DB, APP))])).missing.unconfirmed == {APP, DB}
    between = [ours(ADDRESSES, ends=(A, B))]
    assert plan(view(OPEN, rules=between)).missing.unconfirmed == {A, B}
    instances = [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
    assert plan(view(OPEN, instances, between)).missing.unconfirmed == {A}
    assert plan(view([managed(APP), managed(DB)], rules=[ours(K1)])).missing.unconfirmed == set()
    assert plan(view(OPEN, [instance(A, APP, link_peer="x")], [ours(K1)])).missing.unconfirmed == {APP}


@pytest.mark.parametrize("before", [REQ, TAG])
def test_an_address_that_moved_takes_its_rule_along(before: Claim) -> None:
    """The rule is i-c's, and i-a's request is not. It is opened for i-c although its claims may be the same."""
    c = Party(HOME, "i-c")
    addresses = {c: "10.0.0.1", A: "10.0.0.9", B: "10.0.0.2"}
    instances = [instance(party, DB if party == B else APP, ip=ip) for party, ip in addresses.items()]
    snapshot = view(OPEN, instances, [ours(ADDRESSES, before, ends=(A, B))])
    (takeover,) = plan(snapshot, desired(Link(c, B, P1)), may_lose=May.KEEP).decisions
    assert [(edit.kind, edit.ends, edit.claims) for edit in takeover.edits] == [("mark", (c, B), (TAG,))]
    assert takeover.edits[0].opens
    assert takeover.edits[0].gain == ({TAG} - {before})


def test_a_rule_stays_while_its_addresses_have_not_moved() -> None:
    """For whichever instances it is wanted; where they have, for the instances that its marker names, and for
    nobody."""
    context = Context(POLICY, REGION, NOW)
    actual = actual_state(view(OPEN, rules=[ours(ADDRESSES, REQ, ends=(A, B))]), POLICY, REGION)
    assert edit_of(context, actual, ADDRESSES, {REQ}, ends=(Party(HOME, "i-c"), B)) is None
    assert edit_of(context, actual, ADDRESSES, {REQ}, ends=(A, B), moved=True) is None
    assert edit_of(context, actual, ADDRESSES, set(), moved=True) is None
    assert edit_of(context, actual, ADDRESSES, set(), restated=True) is None
    assert edit_of(context, actual, ADDRESSES, {REQ}, ends=(A, B), restated=True) is None


def test_a_rule_that_is_restated_keeps_the_claims_of_tags_alone() -> None:
    """Of requests, those that want it now: the members of the other group would follow the others."""
    actual = actual_state(view(OPEN, rules=[ours(ADDRESSES, TAG, REQ, ends=(A, B))]), POLICY, REGION)
    for claims in ({Claim("chg-2")}, {REQ}, set[Claim]()):
        edit = edit_of(Context(POLICY, REGION, NOW), actual, ADDRESSES, claims, ends=(A, DB), restated=True)
        assert edit is not None
        assert (set(edit.claims), edit.ends) == ({TAG, *claims}, (A, DB))
        assert (edit.gain, edit.lose) == (claims - {REQ}, {REQ} - claims)


@pytest.mark.parametrize(
    ("instances", "waits"), [([], True), ([instance(A, APP)], True), ([instance(A, APP, ip="8.8.8.8")], False)]
)
def test_a_link_is_unshown_while_it_is_denied_for_what_the_cloud_does_not_show(
    instances: list[Instance], waits: bool
) -> None:
    """An instance, or its address; not a rule that is removed for that."""
    target, link = instance(B, DB, ip="10.0.0.2"), Link(A, B, P1)
    assert plan(view(OPEN, [*instances, target]), desired(link)).unshown == ({link} if waits else set())
    standing = view(OPEN, [*instances, target], [ours(ADDRESSES, ends=(A, B))])
    assert plan(standing).unshown == set()


# claims that are read from rules


def test_a_request_on_one_side_does_not_open_the_other() -> None:
    """A marker is no request: anyone who may write rules may write one."""
    snapshot = view(OPEN, rules=[ours(key(DB, APP), REQ)])
    assert edits(plan(snapshot, DesiredLink(Link(APP, DB), REQ, opens=False)).decisions) == []


def test_a_tag_completes_its_link_and_adds_no_request() -> None:
    """The new side carries the tag's claim alone."""
    snapshot = view(OPEN, rules=[ours(key(DB, APP), TAG, REQ)])
    new_plan = plan(snapshot, desired(Link(APP, DB)), DesiredLink(Link(APP, DB), REQ, opens=False))
    assert edits(new_plan.decisions) == [("add", "all", (TAG,))]


def test_a_removal_names_the_requests_whose_claims_go() -> None:
    """And says that the rule is kept, where other claims want it."""
    snapshot = view(OPEN, rules=[ours(K1, Claim("chg-1", int(NOW)), REQ2)])
    (removed,) = plan(snapshot, desired(LINK, REQ2), focus=set()).decisions
    assert removed.denial.detail == "the link has ended (of chg-1); the rule is kept, since other claims want it"
    assert (removed.outcome, removed.action, removed.removals) == ("removed", "expire", 0)


def test_a_mutual_removal_is_named_as_the_link_was_asked_for() -> None:
    """The way round in which someone asks for it now, though it is denied."""
    snapshot = view([managed(APP), managed(DB)], rules=[ours(key(DB, APP)), ours(key(APP, DB))])
    for link in (Link(APP, DB), Link(DB, APP)):
        assert {d.link for d in plan(snapshot, desired(link)).decisions} == {link}


def test_a_link_out_of_focus_keeps_its_rules_and_has_no_answer() -> None:
    """Another delivery answers for it."""
    snapshot = view(OPEN, rules=[ours(K1)])
    assert plan(snapshot, desired(LINK), focus=set()).decisions == ()
    assert [d.link for d in plan(snapshot, desired(LINK), desired(Link(APP, DB, P2)), focus={LINK}).decisions] == [LINK]
    assert plan(view(OPEN), desired(LINK), focus=set()).decisions == ()
    assert plan(view(OPEN), msgspec.structs.replace(desired(LINK), in_scope=False)).decisions == ()


def test_a_repair_says_what_was_wrong() -> None:
    """The priority that someone gave the rule, or the copy that someone made of it."""
    (changed,) = plan(view(OPEN, rules=[ours(K1, priority=1)]), may_lose=May.KEEP).decisions
    assert (changed.action, changed.outcome, changed.denial.detail) == (
        "repair",
        "applied",
        "its priority was 1, and is 100 again",
    )
    copy = msgspec.structs.replace(ours(K1, priority=1), id="sgr-copy")
    (copied,) = plan(view(OPEN, rules=[ours(K1), copy]), may_lose=May.KEEP).decisions
    assert copied.denial.detail == "a copy of it with another priority is removed"


def test_the_refused_repair_of_a_released_instances_rule_is_not_tried_again() -> None:
    """Which rules its link needs is not known any more."""
    between = ours(ADDRESSES, ends=(A, B), priority=1)
    refused = {Link(A, B, P1): Refusal(Denial(reasons.NO_ACCESS, "no"))}
    assert edits(plan(view(OPEN, rules=[between]), may_lose=May.KEEP).decisions) == [("mark", "tcp/1", (TAG,))]
    assert plan(view(OPEN, rules=[between]), refused=refused, may_lose=May.KEEP).decisions == ()


# links by address, which an instance may have as a member of either of two groups

BY = RuleKey(DB, "10.0.0.1/32", "", P1[0])
MEMBER = [instance(A, APP, CACHE, ip="10.0.0.1")]
ADVANCED = [managed(APP), managed(CACHE), managed(DB, "*", advanced=True)]


@pytest.mark.parametrize(
    ("standing", "tag", "request_", "kind", "ends"),
    [
        ([], APP, CACHE, "add", CACHE),
        ([], CACHE, APP, "add", APP),
        ([ours(BY, ends=(A, CACHE))], CACHE, APP, "mark", APP),
        ([ours(BY, REQ, ends=(A, CACHE))], APP, CACHE, "mark", CACHE),
        ([ours(BY, TAG, REQ, ends=(A, CACHE))], APP, CACHE, "", CACHE),
    ],
    ids=["new", "new, the other way", "stands for a tag", "stands for the request", "complete"],
)
def test_a_rule_that_a_request_wants_is_for_a_member_of_its_group(
    standing: list[Rule], tag: Party, request_: Party, kind: str, ends: Party
) -> None:
    """Whichever group stands for the instance by its tag: those who join that group are to follow."""
    desired_links = [desired(Link(group, DB, P1, "i-a"), claim) for group, claim in ((tag, TAG), (request_, REQ))]
    snapshot = view(ADVANCED, MEMBER, standing)
    for ordered_links in (desired_links, desired_links[::-1]):
        decisions = plan(snapshot, *ordered_links, may_lose=May.KEEP).decisions
        edits_planned = dict.fromkeys(edit for decision in decisions for edit in decision.edits)
        assert [(edit.kind, edit.ends, edit.claims) for edit in edits_planned] == (
            [(kind, (A, ends), (TAG, REQ))] if kind else []
        )


@pytest.mark.parametrize(("limit", "ip", "waits"), [(1, "10.0.0.2", Waits.FOR_A_RULE), (2, "8.8.8.8", Waits.NO)])
def test_the_answer_on_a_link_by_address_names_who_is_left_out(limit: int, ip: str, waits: Waits) -> None:
    """It waits where a rule that another has may be removed. What stands of the link is named, also a person's rule."""
    snapshot = view(ADVANCED, [*MEMBER, instance(B, APP, ip=ip)], [ours(BY, REQ, ends=(A, APP))])
    desired_links = [desired(Link(APP, DB, P1, member_id), REQ) for member_id in ("i-a", "i-b")]
    (answer,) = plan(snapshot, *desired_links, with_policy=policy(limits=Limits(max_members=limit))).decisions
    assert (answer.link, answer.outcome, answer.denial.waits) == (LINK, "unchanged", waits)
    assert ("not admitted: i-b: " in answer.denial.detail, "i-a: " in answer.denial.detail) == (True, False)
    assert [rule.key for rule in answer.rules] == [BY]
    by_hand = view(OPEN, rules=[ours(K1), theirs(key(DB, APP, "tcp/2"))])
    (decision,) = plan(by_hand, desired(Link(APP, DB, (*P1, *P2)))).decisions
    assert (decision.outcome, [rule.key for rule in decision.rules]) == ("unchanged", [K1, key(DB, APP, "tcp/2")])
    assert decision.denial.reason is reasons.NONE


def test_a_rule_is_for_the_group_of_the_tag_once_the_request_for_another_has_ended() -> None:
    snapshot = view(
        [*ADVANCED[:2], managed(DB, "sg-app", advanced=True)], MEMBER, [ours(BY, TAG, REQ, ends=(A, CACHE))]
    )
    standing_link = DesiredLink(Link(CACHE, DB, P1, "i-a"), REQ, opens=False)
    decisions = plan(snapshot, desired(Link(APP, DB, P1, "i-a")), standing_link).decisions
    assert [(edit.kind, edit.ends, edit.claims) for decision in decisions for edit in decision.edits] == [
        ("mark", (A, APP), (TAG,))
    ]


# an unlink

FAR = Party(PEER, "sg-x")
UNLINKED = Denial(reasons.NONE, "removed by an unlink request")
GONE = {"refused_accounts": {PEER: NoAccess("NoPermission", "no")}}


@pytest.mark.parametrize(
    ("rule", "groups", "fields", "withdrawn", "unread_text"),
    [
        (
            key(APP, FAR),
            [managed(APP)],
            GONE,
            UNLINKED,
            f"account {PEER} is not known: access is refused (NoPermission)",
        ),
        (key(APP, FAR), [managed(APP)], {}, UNLINKED, f"account {PEER} is not known: sg-x is not shown"),
        (
            key(APP, FAR),
            [managed(APP), group(FAR, rule_count=1)],
            {},
            None,
            f"{FAR} is not known: its rules were not read",
        ),
        # that a group shows no rules does not say that it has none; of an account that was not read, no group is named
        (key(APP, FAR), [managed(APP), group(FAR)], {}, None, f"{FAR} is not known: its rules were not read"),
        (key(APP, FAR), [managed(APP), group(FAR, rule_count=-1)], {}, None, ""),  # whose rules were read
        (
            key(APP, FAR),
            [managed(APP), group(FAR, rule_count=1)],
            {"failed_accounts": {PEER: "timeout"}},
            None,
            f"account {PEER} is not known: timeout",
        ),
        (key(APP, FAR, "tcp/1"), [managed(APP)], GONE, None, ""),
        (key(APP, DB), [managed(APP)], {}, UNLINKED, ""),
    ],
)
def test_a_removal_says_which_other_side_was_not_read(
    rule: RuleKey, groups: list[Group], fields: dict[str, Any], withdrawn: Denial | None, unread_text: str
) -> None:
    """Of a mutual link, the other group; of an unlink, whatever is in the other account."""
    snapshot = view(groups, rules=[ours(rule, PAST)], **fields)
    unread = {
        party: rules_of_party
        for party, rules_of_party in snapshot.rules.items()
        if party != FAR or groups[-1].rule_count < 0
    }
    (removed,) = plan(msgspec.structs.replace(snapshot, rules=unread), withdrawn=withdrawn).decisions
    assert removed.denial.detail.partition("; what still stands on ")[2] == unread_text


def test_an_unlink_is_one_decision_for_a_pair() -> None:
    """Whichever requests each rule carries."""
    snapshot = view(OPEN, rules=[ours(K1, REQ), ours(key(DB, APP, "tcp/2"), REQ2)])
    (removed,) = plan(snapshot, withdrawn=UNLINKED).decisions
    assert (removed.link, removed.removals) == (Link(APP, DB, (*P1, *P2)), 2)


def test_a_link_without_room_gains_no_claim_by_the_edit_of_another_decision() -> None:
    """The claim that has ended goes from tcp/1 all the same."""
    many = [Claim(f"chg-{n:044}") for n in range(8)]  # the description of tcp/2 has no room for another
    rules = [ours(K1, REQ, Claim("chg-9", int(NOW) - 5)), ours(key(DB, APP, "tcp/2"), *many)]
    new = Claim("c" * 48)
    link = Link(APP, DB, parse_ports("tcp/1+tcp/2"))
    new_plan = plan(view(OPEN, rules=rules), desired(link, new), may_lose=May.CLOSE, is_request=True)
    assert [d.outcome for d in new_plan.decisions] == ["failed", "removed"]
    assert new not in {claim for d in new_plan.decisions for edit in d.edits for claim in edit.gain}


def test_a_link_without_room_gains_no_claim_on_a_rule_that_it_shares() -> None:
    """The last rule for which sg-db has room is tcp/1, which another link needs as well."""
    numbered = [RuleKey(DB, f"10.9.{n // 250}.{n % 250}/32", "", P1[0]) for n in range(999)]
    snapshot = view(OPEN, rules=[Rule(DB, f"sgr-{n}", each, "accept", 1) for n, each in enumerate(numbered)])
    two_ports = Link(APP, DB, (*P1, *P2))
    decisions = plan(snapshot, desired(LINK), desired(two_ports, REQ)).decisions
    assert {d.link: d.outcome for d in decisions} == {LINK: "applied", two_ports: "failed"}
    assert edits(decisions) == [("add", "tcp/1", (TAG,))]


def test_a_request_between_two_instances_takes_no_claim_of_another() -> None:
    """Only rules of links by address are restated for the members of a group."""
    instances = [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
    snapshot = view(OPEN, instances, [ours(ADDRESSES, REQ2, ends=(A, B))])
    decisions = plan(snapshot, desired(Link(A, B, P1), REQ), may_lose=May.KEEP, is_request=True).decisions
    assert edits(decisions) == [("mark", "tcp/1", (REQ, REQ2))]


def test_the_repair_of_a_tag_names_the_whole_link_of_the_rule() -> None:
    """Of a rule for one member of a group, the link of the group."""
    bare = [managed(APP, "*"), group(DB, "*", vpc="vpc-2")]
    (repair,) = plan(view(bare, rules=[member(A)]), may_lose=May.KEEP).decisions
    assert (repair.missing_managed_tag, repair.link) == ((DB,), LINK)


# which rules of a snapshot are ours


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_copies_the_one_at_our_priority_counts(order: int) -> None:
    """In whichever order they are shown, and with the claims of both; the rule was tampered with."""
    copies = [ours(K1), msgspec.structs.replace(ours(K1, REQ, priority=1), id="sgr-copy")]
    actual = actual_state(view(OPEN, rules=copies[::order]), POLICY, REGION)
    assert actual.owned[K1][0].priority == 100
    assert (actual.claims(K1), actual.duplicated, actual.tampered(K1)) == ({TAG, REQ}, {K1}, True)
    between = [ours(ADDRESSES, ends=(A, B)), ours(ADDRESSES, REQ, priority=1, ends=(B, A))]
    actual = actual_state(view(OPEN, rules=between[::order]), POLICY, REGION)
    assert (actual.owned[ADDRESSES][1].ends, actual.claims(ADDRESSES)) == ((A, B), {TAG})


def test_the_strongest_accept_rule_of_a_person_counts_as_equal() -> None:
    """If none has our priority. Rules of other forms, and drops, are equal to none of ours."""
    persons_rules = [
        theirs(K1, priority=2),
        theirs(K1, act="drop"),
        theirs(K1, priority=3),
        Rule(DB, "sgr", None, "accept", 1),
    ]
    for rules in (persons_rules, persons_rules[::-1]):
        assert actual_state(view(OPEN, rules=rules), POLICY, REGION).equal == {K1: persons_rules[0]}
    first = theirs(K1, priority=100)
    assert actual_state(view(OPEN, rules=[*persons_rules, first]), POLICY, REGION).equal == {K1: first}
    assert actual_state(view(OPEN, rules=[*persons_rules, ours(K1)]), POLICY, REGION).equal == {}


def test_rules_of_a_former_name_are_told_from_copies_of_their_markers() -> None:
    """And from those of another home."""
    k2, text = key(DB, APP, "tcp/2"), ours(K1).description
    copied_marker = ours(k2).description.replace(f"home={HOME}", f"home={PEER}")
    snapshot = view(OPEN, rules=[ours(K1), theirs(k2, text), theirs(k2, copied_marker)])
    assert [rule for rule, _ in renamed_rules(snapshot, policy(deployment="new"), REGION)] == [ours(K1)]
    assert renamed_rules(snapshot, POLICY, REGION) == []


@pytest.mark.parametrize(
    ("description", "deployment"),
    [
        (ours(K1).description, "prod"),
        (ours(K1).description.replace("dep=prod ", ""), ""),
        (f"{ours(K1).description} reviewed", "prod"),
        (ours(K1).description.replace("dep=prod", "dep=é"), "é"),
        (f"see {ours(K1).description}", None),
        (ours(K1).description.replace(f"home={HOME}", f"home={PEER}"), None),
    ],
)
def test_a_rule_that_names_this_home_is_marked_whatever_else_it_says(description: str, deployment: str | None) -> None:
    """Of any deployment. Only what has the marker of that very rule is known to be link-peer's."""
    marked = marked_rules(view(OPEN, rules=[theirs(K1, description)]), HOME, REGION)
    assert [rule.deployment for rule in marked] == ([] if deployment is None else [deployment])
    assert [bool(rule.marker) for rule in marked] == [description == ours(K1).description for _ in marked]
