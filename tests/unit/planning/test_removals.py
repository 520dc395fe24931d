"""Which claims a rule of ours loses, why, and whether the loss counts toward the cap."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain.denial import CLAIM_EXPIRED, UNLINKED, UNWANTED, Denial, ReasonCode
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import ALL, TAG, Claim, Link, Party, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_ports
from link_peer.planning.actual import ActualState
from link_peer.planning.claims import DesiredLink
from link_peer.planning.decision import Context, Refusal
from link_peer.planning.desired import DesiredState, Verdicts
from link_peer.planning.removals import Loss, Removals

from tests.unit.views import (
    APP,
    DB,
    HOME,
    NOW,
    PEER,
    POLICY,
    REGION,
    A,
    B,
    group,
    instance,
    key,
    ours,
    policy,
    theirs,
    view,
)

OPEN = [group(APP, "*"), group(DB, "*")]
K1 = key(DB, APP, "tcp/1")
LINK = Link(APP, DB, parse_ports("tcp/1"))
REQ = Claim("chg-1")
FOREIGN = Party(PEER, "sg-x")
FULL = Denial(ReasonCode.QUOTA, "the group is full")


def removals(
    seen: Snapshot,
    *wanted: DesiredLink,
    may_lose: Any = True,
    with_policy: Policy = POLICY,
    refused: dict[Link, Refusal] | None = None,
    is_request: bool = False,
    withdrawn: Denial | None = None,
) -> Removals:
    context = Context(with_policy, REGION, NOW, is_request=is_request)
    verdicts = Verdicts(seen, context, refused or {})
    may = may_lose if callable(may_lose) else lambda *_: may_lose
    actual = ActualState(seen, with_policy, REGION)
    return Removals(seen, context, actual, DesiredState(wanted, verdicts), verdicts, may, withdrawn)


def world(*rules: Rule, **view_options: Any) -> Snapshot:
    return view(OPEN, rules=rules, **view_options)


def test_a_claim_that_is_still_wanted_is_kept() -> None:
    """Also where the desired link has another end: the diff replaces that claim."""
    seen = world(ours(K1, TAG, Claim("chg-1", int(NOW) + 5)))
    assert removals(seen, DesiredLink(LINK, TAG), DesiredLink(LINK, REQ)).lost == {}


def test_an_unwanted_claim_is_lost_and_counts_toward_the_cap() -> None:
    """Nothing that was shown asks for it, which an account that hides its resources would look like."""
    assert removals(world(ours(K1))).lost == {K1: Loss(frozenset({TAG}), UNWANTED, counts_toward_cap=True)}


def test_an_expired_claim_is_lost_and_does_not_count_toward_the_cap() -> None:
    """Its end is on the rule itself."""
    ended = Claim("chg-1", int(NOW))
    assert removals(world(ours(K1, ended))).lost == {
        K1: Loss(frozenset({ended}), CLAIM_EXPIRED, counts_toward_cap=False)
    }


def test_a_claim_that_the_scope_may_not_take_is_kept() -> None:
    """`may_lose` decides for each claim."""
    found = removals(world(ours(K1, TAG, REQ)), may_lose=lambda _rule, _marker, claim: claim.is_tag)
    assert set(found.claims(K1)) == {TAG}


def test_a_claim_whose_askers_were_not_all_read_is_kept_and_its_link_is_noted() -> None:
    """`may_lose` answers None: the link must be read before it is decided."""
    found = removals(world(ours(K1)), may_lose=None)
    assert (found.lost, found.unread) == ({}, {LINK})


def test_an_account_that_shows_no_instances_is_doubted_and_loses_nothing() -> None:
    """An unwanted claim is kept there until an unfiltered read shows an instance."""
    found = removals(world(ours(K1), alive=False))
    assert (found.lost, found.doubted_accounts) == ({}, {HOME})


def test_a_missing_group_is_doubted_like_a_missing_tag() -> None:
    """`peer-not-found` says only that the cloud does not show it."""
    for alive in (True, False):
        seen = view([group(DB, "*")], rules=[ours(K1)], alive=alive)
        found = removals(seen)
        assert found.doubted_accounts == (set() if alive else {HOME})
        assert [(loss.why.code, loss.counts_toward_cap) for loss in found.lost.values()] == (
            [(ReasonCode.PEER_NOT_FOUND, True)] if alive else []
        )


def test_withdrawn_consent_takes_every_claim_although_no_instance_is_shown() -> None:
    """An explicit cause: it needs no live account, and does not count toward the cap."""
    seen = view([group(APP), group(DB)], rules=[ours(K1, TAG, REQ)], alive=False)
    (loss,) = removals(seen, DesiredLink(LINK, REQ)).lost.values()
    assert (loss.claims, loss.why.code, loss.counts_toward_cap) == ({TAG, REQ}, ReasonCode.NO_CONSENT, False)


@pytest.mark.parametrize(("accept", "lost"), [(f"sg-x@{PEER}", False), ("*", True)])
def test_consent_is_checked_although_the_peer_refuses_access(accept: str, lost: bool) -> None:
    """The group's own tags decide (fail closed); while they accept the peer, the claim is kept."""
    foreign = key(DB, FOREIGN, "tcp/1")
    seen = view([group(DB, accept)], rules=[ours(foreign, REQ)])
    seen = msgspec.structs.replace(seen, refused_accounts={PEER: NoAccess("NoPermission", "no")})
    assert bool(removals(seen).lost) == lost


def test_an_account_that_could_not_be_read_keeps_its_claims() -> None:
    """Trouble of the moment says nothing about the link."""
    seen = msgspec.structs.replace(world(ours(K1, TAG, REQ)), failed_accounts={HOME: "timeout"})
    found = removals(seen)
    assert (found.lost, found.doubted_accounts, found.unread) == ({}, set(), set())


def test_an_expired_claim_is_lost_although_its_account_could_not_be_read() -> None:
    """The end needs no look at the account."""
    ended = Claim("chg-1", int(NOW))
    seen = msgspec.structs.replace(world(ours(K1, TAG, ended)), failed_accounts={HOME: "timeout"})
    assert set(removals(seen).claims(K1)) == {ended}


def test_an_account_that_left_the_policy_loses_its_claims() -> None:
    """An explicit cause."""
    foreign = key(DB, FOREIGN, "tcp/1")
    closed = policy(accounts={HOME: POLICY.accounts[HOME]})
    (loss,) = removals(world(ours(foreign, REQ), alive=False), with_policy=closed).lost.values()
    assert (loss.why.code, loss.counts_toward_cap) == (ReasonCode.UNKNOWN_ACCOUNT, False)


def test_an_unlink_takes_claims_whatever_the_verdict() -> None:
    """`withdrawn` is the cause; no account need be live."""
    found = removals(world(ours(K1, REQ), alive=False), withdrawn=UNLINKED)
    assert found.lost == {K1: Loss(frozenset({REQ}), UNLINKED, counts_toward_cap=False)}


def test_of_several_causes_the_explicit_one_is_reported() -> None:
    """And the loss counts toward the cap, since one of them does."""
    ended = Claim("chg-1", int(NOW))
    found = removals(world(ours(K1, TAG, ended)))
    assert found.lost == {K1: Loss(frozenset({TAG, ended}), CLAIM_EXPIRED, counts_toward_cap=True)}


@pytest.mark.parametrize(
    ("partial", "is_request", "lost"),
    [(frozenset(), False, False), (frozenset({(K1, TAG)}), False, True), (frozenset(), True, True)],
    ids=["stood before", "written by this delivery", "of a request"],
)
def test_a_refused_link_rolls_back_what_was_written_for_it(partial: Any, is_request: bool, lost: bool) -> None:
    """A tag's link keeps the rules that it had before; a request's rules are all its own."""
    refused = {LINK: Refusal(FULL, partial)}
    found = removals(world(ours(K1)), DesiredLink(LINK, TAG), refused=refused, is_request=is_request)
    assert found.lost == ({K1: Loss(frozenset({TAG}), FULL, counts_toward_cap=False)} if lost else {})


def test_a_refused_mutual_link_keeps_no_half() -> None:
    """Both sides or neither."""
    link = Link(APP, DB)
    refused = {link: Refusal(FULL)}
    half = removals(world(ours(key(DB, APP))), DesiredLink(link, TAG), refused=refused)
    assert set(half.lost) == {key(DB, APP)}
    whole = removals(world(ours(key(DB, APP)), ours(key(APP, DB))), DesiredLink(link, TAG), refused=refused)
    assert whole.lost == {}


def test_a_removed_group_rule_frees_room_in_its_group() -> None:
    """Not one that keeps a claim, nor an instance rule."""
    addresses = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", ALL)
    k2, k3 = key(DB, APP, "tcp/2"), key(APP, DB, "tcp/3")
    rules = [ours(K1), ours(k2, TAG, REQ), ours(k3), ours(addresses, ends=(A, B)), theirs(key(DB, APP, "tcp/9"))]
    found = removals(world(*rules), DesiredLink(Link(APP, DB, parse_ports("tcp/2")), REQ))
    assert sorted(found.freed_groups()) == sorted([DB, APP])


@pytest.mark.parametrize(
    ("ip", "moved"), [("10.0.0.1", False), ("10.0.0.9", True)], ids=["same address", "another address"]
)
def test_an_instance_rule_whose_instance_has_another_address_has_moved(ip: str, moved: bool) -> None:
    """The address may belong to another instance now."""
    addresses = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", ALL)
    shown = [instance(A, APP, ip=ip), instance(B, DB, ip="10.0.0.2")]
    found = removals(view(OPEN, shown, [ours(addresses, ends=(A, B))]), may_lose=False)
    assert found.address_moved(addresses) == moved
    assert found.unread == set()


def test_an_instance_rule_whose_instances_were_not_read_has_not_moved() -> None:
    """Its link is noted as unread."""
    addresses = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", ALL)
    found = removals(view(OPEN, rules=[ours(addresses, ends=(A, B))]), may_lose=False)
    assert not found.address_moved(addresses)
    assert found.unread == {Link(A, B)}
