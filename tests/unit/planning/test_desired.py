"""Desired state: the verdict of each link, the claims that want each rule, and why other claims get none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain import reasons
from link_peer.domain.denials import Denial, isolated_group, tag_expired
from link_peer.domain.model import TAG, Claim, Instance, Link, Party, Rule, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_ports
from link_peer.planning.actual import actual_state
from link_peer.planning.decision import NOTHING_MISSING, Context, DesiredLink, Missing, Refusal
from link_peer.planning.evaluate import Judged, Seen, Wanted, evaluate, judge, wanted_claims

from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, POLICY, REGION, A, B
from tests.unit.views import group, instance, key, ours, view

OPEN = view([group(APP, "*"), group(DB, "*"), group(CACHE)])
P1 = parse_ports("tcp/1")
LINK = Link(APP, DB, P1)
K1 = key(DB, APP, "tcp/1")
REQ = Claim("chg-1")
FULL = Denial(reasons.QUOTA, "the group is full", outcome="failed")


def world(snapshot: Snapshot = OPEN, **refused: Refusal) -> Seen:
    """`link=…` is the refusal of LINK."""
    actual = actual_state(snapshot, POLICY, REGION)
    return Seen(snapshot, Context(POLICY, REGION, NOW), actual, {LINK: refused["link"]} if refused else {})


def judged(*links: DesiredLink | Link, seen: Snapshot = OPEN, **refused: Refusal) -> Judged:
    wanted = [one if isinstance(one, DesiredLink) else DesiredLink(one, TAG) for one in links]
    return judge(world(seen, **refused), wanted)


def denial_of(found: Judged, link: Link) -> Denial | None:
    """Why the link is denied: one answer for all who want it."""
    (denial,) = {answer.denial for answer in found.answers if answer.wanted.link == link}
    return denial


def why(found: Judged, link: Link) -> tuple[reasons.Reason, str]:
    """Reason and detail of a link that is denied."""
    denial = denial_of(found, link)
    assert denial is not None
    return denial.reason, denial.detail


def wanted(*links: DesiredLink, seen: Snapshot = OPEN) -> Wanted:
    return wanted_claims(judged(*links, seen=seen).answers, actual_state(seen, POLICY, REGION))


def test_a_link_that_the_cloud_refused_to_write_is_denied_for_that() -> None:
    """The rules that it needs are still known, so that they can be rolled back."""
    for found in (judged(LINK, link=Refusal(FULL)), judged(link=Refusal(FULL))):
        assert found.judgments[LINK].verdict.denial == FULL
        assert found.judgments[LINK].needs == {K1}
    assert world(link=Refusal(FULL)).refusals == {FULL}


def test_a_denial_by_the_snapshot_comes_before_a_refusal_by_the_cloud() -> None:
    """A group that has withdrawn its consent meanwhile answers `no-consent`, not `quota`."""
    found = judged(LINK, seen=view([group(APP), group(DB)]), link=Refusal(FULL))
    assert why(found, LINK)[0] is reasons.NO_CONSENT


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        # eight pairs, since the order of a set is another one in each process
        *((Claim("chg-1", end + 4), Claim("chg-1", end), end) for end in range(int(NOW) + 1, int(NOW) + 9)),
        (REQ, Claim("chg-1", 2**31), 2**31),
    ],
)
def test_a_request_has_one_claim_and_its_earlier_end_holds(one: Claim, other: Claim, kept: int) -> None:
    """A delivery that died half-way may have left two; an end is earlier than no end."""
    for links in ((one, other), (other, one)):
        assert wanted(*(DesiredLink(LINK, claim) for claim in links)) == {K1: {Claim("chg-1", kept)}}


def test_a_denied_claim_is_kept_by_link_and_request() -> None:
    """The tag has expired, the request has not: only the tag's claim is denied."""
    links = DesiredLink(LINK, TAG, denial=tag_expired(C, "link-until")), DesiredLink(LINK, REQ)
    assert judged(*links).denied == {(LINK, ""): tag_expired(C, "link-until")}
    assert wanted(*links) == {K1: {REQ}}


def test_a_denied_link_denies_each_rule_that_it_needs() -> None:
    """A mutual link needs one on each side."""
    link = DesiredLink(Link(APP, CACHE), REQ)
    assert set(judged(link).denied) == {(Link(APP, CACHE), "chg-1"), (Link(CACHE, APP), "chg-1")}
    assert wanted(link) == {}


# the instance's own group


@pytest.mark.parametrize(
    ("own", "access", "denial", "asks"),
    [
        (group(APP), True, None, False),
        (group(APP), False, isolated_group(APP, advanced=False), False),
        (group(APP), None, None, True),
        (group(APP, advanced=True), None, isolated_group(APP, advanced=True), False),
        (group(APP, advanced=True), True, isolated_group(APP, advanced=True), False),
    ],
    ids=["accepts", "isolated", "not read", "advanced", "advanced and read"],
)
def test_the_own_group_is_denied_where_its_members_do_not_reach_each_other(
    own: Any, access: bool | None, denial: Denial | None, asks: bool
) -> None:
    """A basic group whose inner access was not read is a question; it is not denied until that is read."""
    seen = view([own], inner_access={} if access is None else {APP: access})
    wanted = DesiredLink(Link(APP, APP), TAG, same_group=True)
    found = judged(wanted, seen=seen)
    assert denial_of(found, wanted.link) == denial
    assert found.missing.questions == ({APP} if asks else set())
    assert judged(msgspec.structs.replace(wanted, here=False), seen=seen).missing == NOTHING_MISSING


# one address, two instances

C = Party(HOME, "i-c")
P9 = parse_ports("tcp/9")
K9 = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", P9[0])
A_TO_B, C_TO_B = Link(A, B, P9), Link(C, B, P9)


def alike(*rules: Rule, a: str = "10.0.0.1", without: tuple[Party, ...] = ()) -> Snapshot:
    """i-a and i-c have one address; `without` are instances that the cloud does not show, though they were asked for."""
    shown: list[Instance] = [instance(A, APP, ip=a), instance(C, CACHE, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
    groups = [group(APP, "*"), group(DB, "*"), group(CACHE, "*")]
    seen = view(groups, [one for one in shown if one.party not in without], rules)
    return msgspec.structs.replace(seen, requested={*seen.requested, A, B, C})


@pytest.mark.parametrize("order", [(A_TO_B, C_TO_B), (C_TO_B, A_TO_B)])
@pytest.mark.parametrize("rules", [[], [ours(K9, ends=(A, B))]], ids=["new", "standing"])
def test_of_two_instances_with_one_address_one_is_linked(rules: list[Rule], order: tuple[Link, Link]) -> None:
    """A /32 cannot tell them apart: the instance whose rule exists keeps it, else the first in the order of links has it,
    whichever is asked for first. The denial of the other names it."""
    found = judged(*order, seen=alike(*rules))
    assert denial_of(found, A_TO_B) is None
    reason, detail = why(found, C_TO_B)
    assert (reason, str(A) in detail) == (reasons.ADDRESS_CONFLICT, True)


def test_a_link_of_which_a_rule_stands_has_the_address_on_other_ports_too() -> None:
    """i-c holds the address on tcp/9, so that i-a, which comes first in the order of links, does not get it on tcp/8."""
    long = Link(C, B, parse_ports("tcp/8+tcp/9"))
    short = Link(A, B, parse_ports("tcp/8"))
    found = judged(short, long, seen=alike(ours(K9, ends=(C, B))))
    assert denial_of(found, long) is None
    assert str(C) in why(found, short)[1]
    assert denial_of(judged(short, long, seen=alike()), short) is None


def test_a_link_that_is_denied_itself_holds_no_address() -> None:
    """The tag of i-a has ended, so no rule is written for it: i-c is linked, though it comes later in the order of links."""
    ended = DesiredLink(A_TO_B, TAG, denial=tag_expired(A, "link-until"))
    assert wanted(ended, DesiredLink(C_TO_B, REQ), seen=alike()) == {K9: {REQ}}


def test_a_rule_whose_instances_moved_gives_nobody_the_address() -> None:
    """The rule stands for i-a, which has another address now: of the two others, the first in the order of links has it."""
    d = Party(HOME, "i-d")
    seen = alike(ours(K9, ends=(A, B)), a="10.0.0.9")
    seen = msgspec.structs.replace(seen, instances={**seen.instances, d: instance(d, CACHE, ip="10.0.0.1")})
    first, second = Link(C, B, parse_ports("tcp/8")), Link(d, B, parse_ports("tcp/8+tcp/9"))
    found = judged(second, first, seen=seen)
    assert denial_of(found, first) is None
    assert denial_of(found, second) is not None


def test_the_address_of_an_instance_that_is_gone_belongs_to_its_new_instance() -> None:
    """Another read has to confirm it. An account that shows nothing proves nothing."""
    live = alike(ours(K9, ends=(A, B)), without=(A,))
    silent = msgspec.structs.replace(live, live_accounts=set())
    found = judged(C_TO_B, seen=live)
    assert denial_of(found, C_TO_B) is None
    assert found.missing == Missing(unconfirmed=frozenset({A}))
    found = judged(C_TO_B, seen=silent)
    assert why(found, C_TO_B)[0] is reasons.ADDRESS_CONFLICT
    assert found.missing == Missing(unconfirmed=frozenset({A}), doubted_accounts=frozenset({HOME}))


def test_the_holder_of_a_rule_that_was_not_read_is_read_first() -> None:
    """Until then the rule is its own."""
    seen = alike(ours(K9, ends=(A, B)), without=(A,))
    seen = msgspec.structs.replace(seen, requested=seen.requested - {A})
    found = judged(C_TO_B, seen=seen)
    assert (why(found, C_TO_B)[0], found.missing.unread) == (reasons.ADDRESS_CONFLICT, {Link(A, B, P9)})


def test_an_instance_without_an_address_keeps_its_rule() -> None:
    """It was shown, and may have its address again in a moment."""
    found = judged(C_TO_B, seen=alike(ours(K9, ends=(A, B)), a=""))
    assert denial_of(found, C_TO_B) is not None
    assert found.missing == NOTHING_MISSING


def test_an_instance_whose_account_cannot_be_read_keeps_its_rule() -> None:
    """Nothing is known of it."""
    far = Party(PEER, "i-far")
    seen = alike(ours(K9, ends=(far, B)))
    seen = msgspec.structs.replace(seen, requested={*seen.requested, far}, failed_accounts={PEER: "timeout"})
    found = judged(C_TO_B, seen=seen)
    assert denial_of(found, C_TO_B) is not None
    assert found.missing == NOTHING_MISSING


def test_the_rule_of_a_released_instance_belongs_to_its_new_one() -> None:
    """The platform says that it was released: no account need be live, and nothing is confirmed."""
    seen = alike(ours(K9, ends=(A, B)), without=(A,))
    silent = world(msgspec.structs.replace(seen, live_accounts=set(), requested={A, B}))
    told = msgspec.structs.replace(silent, context=Context(POLICY, REGION, NOW, deleted=frozenset({A})))
    found = judge(told, [DesiredLink(C_TO_B, TAG)])
    assert denial_of(found, C_TO_B) is None
    assert found.missing == NOTHING_MISSING


def test_the_verdict_on_one_link_asks_for_the_holder_of_its_rule() -> None:
    """By the parties that were not read; what it then depends on is nothing that stands for others."""
    held = alike(ours(K9, *(Claim(f"chg-{number:044}") for number in range(8)), ends=(A, B)), a="10.0.0.9")
    unread = msgspec.structs.replace(held, requested={B, C})
    verdict = evaluate(unread, Context(POLICY, REGION, NOW), C_TO_B)
    assert verdict.open_questions == (A, B)
    assert verdict.denial is not None
    assert verdict.denial.detail == f"account {HOME} could not be read: instance i-a, whose rule stands"
    assert evaluate(held, Context(POLICY, REGION, NOW), C_TO_B, {Claim("c" * 48)}).denial is None


def test_a_conflict_names_the_instance_that_differs() -> None:
    """Here the target."""
    d = Party(HOME, "i-d")
    seen = alike()
    seen = msgspec.structs.replace(seen, instances={**seen.instances, d: instance(d, DB, ip="10.0.0.2")})
    found = judged(A_TO_B, Link(A, d, P9), seen=seen)
    assert denial_of(found, A_TO_B) is None
    assert f"exists already for {B}" in why(found, Link(A, d, P9))[1]
