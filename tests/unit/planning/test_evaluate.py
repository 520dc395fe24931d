"""Whether a link may exist, and as which rules: tables over snapshots, without a cloud."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import ALL, Group, Link, Party, RuleKey
from link_peer.domain.tags import parse_ports
from link_peer.planning.evaluate import evaluate

from tests.unit.views import APP, DB, HOME, POLICY, A, B, group, instance, key, policy, view

STRANGER = Party("1000000000000003", "sg-x")


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
        # several hold: the one that no tag can resolve is reported
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


def test_a_denied_link_still_lists_the_rules_it_would_need() -> None:
    """Removals look up existing rules by them."""
    verdict = evaluate(view([group(APP), group(DB)]), POLICY, Link(APP, DB))
    assert verdict.denial is not None
    assert {need.key for need in verdict.needs} == {key(DB, APP), key(APP, DB)}


def test_a_link_with_an_account_that_refuses_access_is_denied_no_access() -> None:
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
    """Never a rule with an empty source."""
    ips = {"a": "10.0.0.1", "b": "10.0.0.2", lacking: ""}
    seen = view(OPEN, [instance(A, APP, ip=ips["a"]), instance(B, DB, ip=ips["b"])])
    verdict = evaluate(seen, POLICY, Link(A, B, PORTS))
    assert verdict.denial is not None
    assert (verdict.denial.code, verdict.needs) == ("no-private-ip", ())


def test_missing_consent_is_reported_before_a_missing_address() -> None:
    """A link without consent is not retried until the instance has an address."""
    seen = view([group(APP), group(DB)], [instance(A, APP), instance(B, DB)])
    verdict = evaluate(seen, POLICY, Link(A, B, PORTS))
    assert verdict.denial is not None
    assert verdict.denial.code == "no-consent"


@pytest.mark.parametrize(
    ("shown", "unseen"), [([A, B], False), ([A], True), ([B], True)], ids=["both", "no target", "no source"]
)
def test_a_denial_for_an_instance_that_is_not_shown_is_marked_unseen(shown: list[Party], unseen: bool) -> None:
    """Removals for such a denial need a live account."""
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
