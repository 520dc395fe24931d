"""Desired state: the verdict of each link, the claims that want each rule, and why other claims get none."""

from __future__ import annotations

import pytest
from link_peer.domain.denial import Denial, ReasonCode, tag_expired
from link_peer.domain.model import TAG, Claim, Link
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_ports
from link_peer.planning.claims import DesiredLink
from link_peer.planning.decision import Context, Refusal
from link_peer.planning.desired import DesiredState, Verdicts

from tests.unit.views import APP, CACHE, DB, NOW, POLICY, REGION, group, key, view

OPEN = view([group(APP, "*"), group(DB, "*"), group(CACHE)])
P1 = parse_ports("tcp/1")
LINK, DENIED = Link(APP, DB, P1), Link(APP, CACHE, P1)
K1 = key(DB, APP, "tcp/1")
REQ = Claim("chg-1")
FULL = Denial(ReasonCode.QUOTA, "the group is full")


def verdicts(snapshot: Snapshot = OPEN, **refused: Refusal) -> Verdicts:
    """`link=…` is the refusal of LINK."""
    return Verdicts(snapshot, Context(POLICY, REGION, NOW), {LINK: refused["link"]} if refused else {})


def desired(*links: DesiredLink, **refused: Refusal) -> DesiredState:
    return DesiredState(links, verdicts(**refused))


def test_a_link_with_consent_is_not_denied() -> None:
    """Its verdict names the rules that it needs."""
    assert verdicts().denial(DesiredLink(LINK, TAG)) is None
    assert verdicts().needs(LINK) == {K1}


def test_a_link_that_the_cloud_refused_to_write_is_denied_for_that() -> None:
    """The rules that it needs are still known, so that they can be rolled back."""
    found = verdicts(link=Refusal(FULL))
    assert found.denial(DesiredLink(LINK, TAG)) == FULL
    assert found.needs(LINK) == {K1}
    assert found.refusals == {FULL}


def test_a_denial_by_the_snapshot_comes_before_a_refusal_by_the_cloud() -> None:
    """A group that has withdrawn its consent meanwhile answers `no-consent`, not `quota`."""
    found = verdicts(view([group(APP), group(DB)]), link=Refusal(FULL))
    denial = found.denial(DesiredLink(LINK, TAG))
    assert denial is not None
    assert denial.code is ReasonCode.NO_CONSENT


@pytest.mark.parametrize(
    ("until", "code"),
    [(int(NOW) + 1, None), (int(NOW), ReasonCode.EXPIRED), (int(NOW) - 1, ReasonCode.EXPIRED), (None, None)],
)
def test_a_claim_is_denied_from_its_end_on(until: int | None, code: ReasonCode | None) -> None:
    """The end itself counts as past."""
    denial = verdicts().denial(DesiredLink(LINK, Claim("chg-1", until)))
    assert (denial.code if denial else None) == code


def test_a_denial_of_the_desired_link_itself_is_reported_first() -> None:
    """Such as a `link-until` tag that is past, on a link that has no consent either."""
    assert verdicts().denial(DesiredLink(DENIED, TAG, denial=tag_expired())) == tag_expired()


def test_every_claim_for_a_rule_wants_it() -> None:
    """A tag, and each request by its id."""
    found = desired(DesiredLink(LINK, TAG), DesiredLink(LINK, REQ))
    assert found.claims(K1) == {TAG, REQ}
    assert found.requests(K1) == {"", "chg-1"}


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [(Claim("chg-1", int(NOW) + 9), Claim("chg-1", int(NOW) + 5), int(NOW) + 5), (REQ, Claim("chg-1", 2**31), 2**31)],
)
def test_a_request_has_one_claim_and_its_earlier_end_holds(one: Claim, other: Claim, kept: int) -> None:
    """A delivery that died half-way may have left two; an end is earlier than no end."""
    for links in ((one, other), (other, one)):
        assert desired(*(DesiredLink(LINK, claim) for claim in links)).claims(K1) == {Claim("chg-1", kept)}


def test_a_denied_claim_is_kept_by_rule_and_request() -> None:
    """The tag has expired, the request has not: only the tag's claim is denied."""
    found = desired(DesiredLink(LINK, TAG, denial=tag_expired()), DesiredLink(LINK, REQ))
    assert found.denied == {(K1, ""): tag_expired()}
    assert found.claims(K1) == {REQ}


def test_a_denied_link_denies_each_rule_that_it_needs() -> None:
    """A mutual link needs one on each side."""
    found = desired(DesiredLink(Link(APP, CACHE), REQ))
    assert set(found.denied) == {(key(CACHE, APP), "chg-1"), (key(APP, CACHE), "chg-1")}
    assert found.wanted == {}


def test_a_link_to_the_own_group_wants_and_denies_nothing() -> None:
    """Members of one group reach each other without a rule."""
    found = desired(DesiredLink(LINK, TAG, same_group=True))
    assert (found.wanted, found.denied) == ({}, {})


def test_an_unwanted_rule_has_no_claims() -> None:
    """Asking for it does not add it."""
    found = desired()
    assert (found.claims(K1), found.requests(K1), found.wanted) == (set(), set(), {})
