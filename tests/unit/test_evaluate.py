"""What tags ask for, and whether a link may stand: tables over views, without a cloud."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import ALL, TAG, Group, Link, Party, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_ports
from link_peer.planning.claims import DesiredLink, links_from_tags, representative
from link_peer.planning.evaluate import evaluate

from tests.unit.views import APP, CACHE, DB, HOME, NOW, PEER, POLICY, A, B, group, instance, key, policy, view

STRANGER = Party("1000000000000003", "sg-x")
LEDGER = Party(PEER, "sg-ledger")


def claims(seen: Snapshot, *groups: Party, **tags: str) -> list[DesiredLink]:
    found = links_from_tags(seen, instance(A, *groups, **tags), NOW)
    assert all(claim.claim == TAG and claim.instance == A for claim in found)
    return found


# which group stands for an instance

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
def test_the_first_group_that_can_stands_for_the_instance(groups: list[Party], chosen: Party | None) -> None:
    """In the API's order: basic, not managed, and in the VPC of the peer (cache, in vpc-1)."""
    assert representative(view(GROUPS), instance(A, *groups), group(CACHE)) == chosen


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ([ADVANCED], "advanced-group"),
        ([MANAGED], "managed-group"),
        ([CLASSIC], "classic-network"),
        ([Party(HOME, "sg-unseen")], "peer-not-found"),
    ],
)
def test_where_no_group_can_the_claim_says_why(groups: list[Party], reason: str) -> None:
    (claim,) = claims(view(GROUPS), *groups, link_peer="sg-cache")
    assert claim.denial is not None
    assert claim.denial.code == reason


# what tags ask for


@pytest.mark.parametrize(
    ("peer", "link"),
    [
        ("sg-db", Link(APP, DB)),
        ("sg-db:tcp/1", Link(APP, DB, parse_ports("tcp/1"))),
        (f"sg-db@{HOME}", Link(APP, DB)),
        (f"sg-ledger@{PEER}:icmp", Link(APP, LEDGER, parse_ports("icmp"))),
        ("i-b", Link(A, B)),
        ("i-b:tcp/1", Link(A, B, parse_ports("tcp/1"))),
    ],
)
def test_a_peer_becomes_a_link_of_groups_or_of_instances(peer: str, link: Link) -> None:
    """A group peer is reached by the group that stands for the instance, an instance peer by the instance."""
    (claim,) = claims(view(GROUPS), APP, link_peer=peer)
    assert (claim.link, claim.denial, claim.same_group) == (link, None, False)


@pytest.mark.parametrize("peer", ["sg-app", "sg-app:tcp/1", "i-a", f"sg-app@{HOME}"])
def test_the_own_group_and_oneself_need_no_link(peer: str) -> None:
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
def test_an_end_concerns_all_links_of_the_instance(until: str, reason: str | None) -> None:
    """It is 2026-11-25T00:00:00Z."""
    found = claims(view(GROUPS), APP, link_peer="sg-db i-b", link_until=until)
    assert [claim.denial.code if claim.denial else None for claim in found] == [reason, reason]


def test_an_unreadable_peer_is_a_claim_of_its_own_with_its_denial() -> None:
    good, bad = sorted(claims(view(GROUPS), APP, link_peer="sg-db,sg-DB"), key=lambda claim: claim.raw)
    assert (good.denial, good.link) == (None, Link(APP, DB))
    assert bad.raw == "sg-DB"
    assert bad.denial is not None
    assert bad.denial.code == "bad-tag"


# may the link stand

OPEN = [group(APP, "*"), group(DB, "*")]
PORTS = parse_ports("tcp/1")


@pytest.mark.parametrize(
    ("groups", "link", "changes", "reason"),
    [
        (OPEN, Link(APP, DB, PORTS), {}, None),
        (OPEN, Link(APP, DB), {}, None),
        ([group(APP), group(DB, "*")], Link(APP, DB, PORTS), {}, None),
        ([group(APP), group(DB, "*")], Link(APP, DB), {}, "no-consent"),
        ([group(APP, "*"), group(DB)], Link(APP, DB), {}, "no-consent"),
        ([group(APP), group(DB)], Link(APP, DB, PORTS), {}, "no-consent"),
        (OPEN, Link(APP, DB, PORTS), {"accept_tags": False}, "no-consent"),
        (OPEN, Link(APP, STRANGER, PORTS), {}, "unknown-account"),
        (OPEN, Link(STRANGER, DB, PORTS), {}, "unknown-account"),
        (OPEN, Link(APP, DB, PORTS), {"deny": PORTS}, "not-allowed"),
        (OPEN, Link(APP, DB), {"deny": PORTS}, "not-allowed"),
        ([group(DB, "*")], Link(APP, DB, PORTS), {}, "peer-not-found"),
        ([group(APP, "*")], Link(APP, DB, PORTS), {}, "peer-not-found"),
        ([group(APP, vpc=""), group(DB, "*")], Link(APP, DB, PORTS), {}, "classic-network"),
        ([group(APP), group(DB, "*", vpc="")], Link(APP, DB, PORTS), {}, "classic-network"),
        ([group(APP, managed=True), group(DB, "*")], Link(APP, DB, PORTS), {}, "managed-group"),
        ([group(APP), group(DB, "*", managed=True)], Link(APP, DB, PORTS), {}, "managed-group"),
        ([group(APP, advanced=True), group(DB, "*")], Link(APP, DB, PORTS), {}, "advanced-group"),
        ([group(APP), group(DB, "*", advanced=True)], Link(APP, DB, PORTS), {}, "advanced-group"),
        ([group(APP), group(DB, "*", vpc="vpc-2")], Link(APP, DB, PORTS), {}, "different-vpc"),
        # several hold: the one that cannot be helped by a tag is told
        ([group(APP), group(DB, vpc="vpc-2")], Link(APP, DB, PORTS), {}, "different-vpc"),
        (OPEN, Link(APP, STRANGER), {"deny": PORTS}, "unknown-account"),
    ],
)
def test_links_of_groups(groups: list[Group], link: Link, changes: dict[str, Any], reason: str | None) -> None:
    verdict = evaluate(view(groups), policy(**changes), link)
    assert (verdict.denial.code if verdict.denial else None) == reason


def test_a_link_with_ports_needs_a_rule_for_each_on_the_targets_group() -> None:
    verdict = evaluate(view(OPEN), POLICY, Link(APP, DB, parse_ports("tcp/1+icmp")))
    assert {need.key for need in verdict.needs} == {key(DB, APP, "tcp/1"), key(DB, APP, "icmp")}
    assert all(need.ends is None for need in verdict.needs)


def test_a_mutual_link_needs_one_rule_on_each_side() -> None:
    verdict = evaluate(view(OPEN), POLICY, Link(APP, DB))
    assert {need.key for need in verdict.needs} == {key(DB, APP), key(APP, DB)}


def test_what_a_denied_link_would_need_is_known_all_the_same() -> None:
    """Else nobody could tell which standing rules have to go."""
    verdict = evaluate(view([group(APP), group(DB)]), POLICY, Link(APP, DB))
    assert verdict.denial is not None
    assert {need.key for need in verdict.needs} == {key(DB, APP), key(APP, DB)}


def test_an_account_that_cannot_be_read_is_not_judged() -> None:
    seen = msgspec.structs.replace(view(OPEN), refused_accounts={HOME: NoAccess("Forbidden.RAM", "no")})
    verdict = evaluate(seen, POLICY, Link(APP, DB, PORTS))
    assert verdict.denial is not None
    assert verdict.denial.code == "no-access"
    assert "Forbidden.RAM" in verdict.denial.detail


def test_links_of_instances_are_rules_between_two_addresses() -> None:
    seen = view(OPEN, [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")])
    verdict = evaluate(seen, POLICY, Link(A, B))
    assert verdict.denial is None
    assert {(need.key, need.ends) for need in verdict.needs} == {
        (RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", ALL), (A, B)),
        (RuleKey(APP, "10.0.0.2/32", "10.0.0.1/32", ALL), (B, A)),
    }


@pytest.mark.parametrize("lacking", ["a", "b"])
def test_without_both_addresses_there_is_no_rule(lacking: str) -> None:
    """Never one with an empty source."""
    ips = {"a": "10.0.0.1", "b": "10.0.0.2", lacking: ""}
    seen = view(OPEN, [instance(A, APP, ip=ips["a"]), instance(B, DB, ip=ips["b"])])
    verdict = evaluate(seen, POLICY, Link(A, B, PORTS))
    assert verdict.denial is not None
    assert (verdict.denial.code, verdict.needs) == ("no-private-ip", ())


def test_consent_comes_before_the_address() -> None:
    """A link that nobody has accepted is not waited for."""
    seen = view([group(APP), group(DB)], [instance(A, APP), instance(B, DB)])
    verdict = evaluate(seen, POLICY, Link(A, B, PORTS))
    assert verdict.denial is not None
    assert verdict.denial.code == "no-consent"


@pytest.mark.parametrize(
    ("shown", "unseen"), [([A, B], False), ([A], True), ([B], True)], ids=["both", "no target", "no source"]
)
def test_an_instance_that_is_not_shown_is_gone(shown: list[Party], unseen: bool) -> None:
    """And such a denial is one of "not seen", which is believed of living accounts only."""
    seen = view(OPEN, [instance(party, APP if party == A else DB, ip="10.0.0.9") for party in shown])
    denial = evaluate(seen, POLICY, Link(A, B, PORTS)).denial
    assert (denial is not None and denial.unseen) == unseen


@pytest.mark.parametrize(
    ("denial", "advice"),
    [
        (Link(APP, DB, PORTS), f"tag {DB} link-accept=sg-app:tcp/1"),
        (Link(APP, DB), f"tag {DB} link-accept=sg-app; tag {APP} link-accept=sg-db"),
    ],
)
def test_the_advice_names_each_missing_tag(denial: Link, advice: str) -> None:
    found = evaluate(view([group(APP), group(DB)]), POLICY, denial).denial
    assert found is not None
    assert found.advice == advice
