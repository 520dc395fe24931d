"""What the tags of instances ask for, and which group represents an instance."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer.domain.model import TAG, Link, Party
from link_peer.domain.policy import Limits
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_ports
from link_peer.planning.claims import DesiredLink, candidates, links_from_tags

from tests.unit.views import APP, CACHE, DB, HOME, NOW, PEER, A, B, group, instance, policy, view

LEDGER = Party(PEER, "sg-ledger")


def claims(seen: Snapshot, *groups: Party, max_peers: int = 50, **tags: str) -> list[DesiredLink]:
    found = links_from_tags(seen, instance(A, *groups, **tags), NOW, policy(limits=Limits(max_peers=max_peers)))
    assert all(claim.claim == TAG and claim.instance == A for claim in found)
    return found


def code(claim: DesiredLink) -> str | None:
    """The reason code of a link that is denied."""
    return claim.denial.reason.code if claim.denial else None


# which group represents an instance

ADVANCED, MANAGED, ELSEWHERE, CLASSIC = (
    Party(HOME, f"sg-{n}") for n in ("advanced", "managed", "elsewhere", "classic")
)
GROUPS = [
    group(APP),
    group(DB),
    group(CACHE),
    group(ADVANCED, advanced=True),
    group(MANAGED, managed=True),
    group(ELSEWHERE, vpc="vpc-2"),
    group(CLASSIC, vpc=""),
]


@pytest.mark.parametrize(
    ("groups", "chosen"),
    [
        ([APP], APP),
        ([DB, APP], DB),
        ([MANAGED, APP, DB], APP),
        ([ADVANCED, APP], APP),
        ([ELSEWHERE, APP], APP),  # of two that could, the one in the peer's VPC
        ([ELSEWHERE], ELSEWHERE),  # none in the peer's VPC: named in the denial
        ([ADVANCED], None),
        ([MANAGED], None),
        ([CLASSIC], None),
        ([Party(HOME, "sg-unseen")], None),
        ([], None),
    ],
)
def test_the_first_suitable_group_represents_the_instance(groups: list[Party], chosen: Party | None) -> None:
    """In the API's order: basic, not managed, and in the VPC of the peer (cache, in vpc-1)."""
    assert next(iter(candidates(view(GROUPS), instance(A, *groups), group(CACHE))), None) == chosen


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ([ADVANCED], "advanced-group"),
        ([MANAGED], "managed-group"),
        ([CLASSIC], "classic-network"),
        ([Party(HOME, "sg-unseen")], "peer-not-found"),
    ],
)
def test_without_a_suitable_group_the_link_is_denied_with_the_reason(groups: list[Party], reason: str) -> None:
    (claim,) = claims(view(GROUPS), *groups, link_peer="sg-cache")
    assert code(claim) == reason


# what tags ask for


@pytest.mark.parametrize(
    ("peer", "link"),
    [
        ("sg-db", Link(APP, DB)),
        ("sg-db:tcp/1", Link(APP, DB, parse_ports("tcp/1"))),
        (f"sg-db@{HOME}", Link(APP, DB)),
        (f"sg-ledger@{PEER}:icmp", Link(APP, LEDGER, parse_ports("icmp"))),
        ("i-b", Link(A, B)),
        (f"i-b@{HOME}", Link(A, B)),
        (f"i-b@{PEER}:tcp/1", Link(A, Party(PEER, "i-b"), parse_ports("tcp/1"))),
        ("i-b:tcp/1", Link(A, B, parse_ports("tcp/1"))),
    ],
)
def test_a_peer_becomes_a_link_of_groups_or_of_instances(peer: str, link: Link) -> None:
    """A group peer is linked with the group that represents the instance, an instance peer with the instance."""
    (claim,) = claims(view(GROUPS), APP, link_peer=peer)
    assert (claim.link, claim.denial, claim.same_group, claim.opens) == (link, None, False, True)
    assert claim.tag == f"link-peer={peer}"


@pytest.mark.parametrize("peer", ["sg-app", "sg-app:tcp/1", "i-a", f"sg-app@{HOME}", f"i-a@{HOME}"])
def test_a_peer_that_is_the_instance_or_its_own_group_needs_no_link(peer: str) -> None:
    (claim,) = claims(view(GROUPS), APP, link_peer=peer)
    assert claim.same_group


@pytest.mark.parametrize(
    ("until", "reason"),
    [
        ("2026-11-25T00:00:01Z", None),
        ("2026-11-25T00:00:00Z", "expired"),
        ("2026-11-25T08:00:00+08:00", "expired"),
        ("2026-11-24T23:59:59Z", "expired"),
        ("whenever", "bad-tag"),
        ("", "bad-tag"),
    ],
)
def test_link_until_applies_to_every_link_of_the_instance(until: str, reason: str | None) -> None:
    """The time is 2026-11-25T00:00:00Z."""
    found = claims(view(GROUPS), APP, link_peer="sg-db i-b", link_until=until)
    assert [code(claim) for claim in found] == [reason, reason]


def test_a_peer_with_invalid_syntax_is_denied_on_its_own() -> None:
    good, bad = sorted(claims(view(GROUPS), APP, link_peer="sg-db,sg-DB"), key=lambda claim: claim.raw)
    assert (good.denial, good.link) == (None, Link(APP, DB))
    assert (bad.raw, code(bad)) == ("sg-DB", "bad-tag")


@pytest.mark.parametrize(
    ("limit", "denied"), [(4, []), (3, ["sg-cache"]), (1, ["sg-DB", "sg-db", "sg-cache"])], ids=["all", "three", "one"]
)
def test_peers_beyond_the_limit_are_denied(limit: int, denied: list[str]) -> None:
    """In order of tag key and position; a peer that cannot be parsed has a place too, and keeps its own denial."""
    found = claims(view(GROUPS), APP, max_peers=limit, **{"link-peer": "i-b sg-DB", "link-peer.2": "sg-db,sg-cache"})
    assert [claim.raw or claim.link.target.id for claim in found] == ["i-b", "sg-DB", "sg-db", "sg-cache"]
    beyond = [claim for claim in found if code(claim) == "not-allowed"]
    assert [claim.link.target.id for claim in beyond] == [name for name in denied if name != "sg-DB"]
    assert code(found[1]) == "bad-tag"
    assert all(claim.denial is not None and f"may name {limit} peers" in claim.denial.detail for claim in beyond)


def test_a_peer_beyond_the_limit_is_denied_for_that_although_link_until_is_past() -> None:
    """Setting a later end would not help it."""
    found = claims(view(GROUPS), APP, max_peers=1, link_peer="sg-db i-b", link_until="2026-11-24T00:00:00Z")
    assert [code(claim) for claim in found] == ["expired", "not-allowed"]


@pytest.mark.parametrize(
    ("until", "denied"),
    [
        ("", "not-allowed"),
        ("2026-11-25T00:00:00Z", "expired"),
        ("whenever", "bad-tag"),
        ("2026-12-25T00:00:00Z", None),
        ("2026-12-25T00:00:01Z", "not-allowed"),
    ],
)
def test_a_tag_may_ask_for_as_many_days_as_the_policy_allows(until: str, denied: str | None) -> None:
    """Thirty, from 2026-11-25. The advice sets the latest end."""
    limited = policy(limits=Limits(max_days_tags=30))
    asking = instance(A, APP, link_peer="sg-db", **({"link_until": until} if until else {}))
    (claim,) = links_from_tags(view(GROUPS), asking, NOW, limited)
    assert code(claim) == denied
    if denied == "not-allowed":
        assert claim.denial is not None
        assert "--ResourceId.1 i-a --Tag.1.Key link-until --Tag.1.Value 2026-12-25T00:00:00Z" in claim.denial.advice


@pytest.mark.parametrize("tags", [{"link_until": "whenever"}, {"link_until": "2026-11-24T00:00:00Z"}, {"max_peers": 0}])
def test_the_own_group_is_not_denied_for_an_end_or_a_limit(tags: Any) -> None:
    """No rule is needed, so none can have ended."""
    (claim,) = claims(view(GROUPS), APP, link_peer="sg-app", **tags)
    assert (claim.same_group, claim.denial) == (True, None)


def test_a_denied_peer_names_the_group_that_represents_the_instance() -> None:
    """Or the instance, where no group does."""
    (bad,) = claims(view(GROUPS), APP, link_peer="sg-DB")
    (alone,) = claims(view(GROUPS), MANAGED, link_peer="sg-DB")
    assert (bad.link.source, alone.link.source) == (APP, A)


@pytest.mark.parametrize(("groups", "named"), [([Party(HOME, "sg-unseen")], "(sg-unseen)"), ([], "(none)")])
def test_a_denial_names_the_instances_own_groups(groups: list[Party], named: str) -> None:
    """Those that the cloud does not show."""
    (claim,) = claims(view(GROUPS), *groups, link_peer="sg-cache")
    assert claim.denial is not None
    assert named in claim.denial.detail
