"""Whether a link may exist, and as which rules: tables over snapshots, without a cloud."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain import reasons
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import ALL, Group, Link, Party, RuleKey
from link_peer.domain.policy import AccountPolicy, Allow, Policy
from link_peer.domain.snapshot import Address, Listing, Snapshot
from link_peer.domain.tags import compact, parse_ports, parse_who
from link_peer.planning.decision import Context, InstancesOf, Verdict
from link_peer.planning.evaluate import address_denial, closed_by_group
from link_peer.planning.evaluate import evaluate as evaluate_in

from tests.unit.small_world import APP, DB, HOME, NOW, PEER, POLICY, REGION, A, B
from tests.unit.views import group, instance, key, policy, view

STRANGER = Party("1000000000000003", "sg-x")


def evaluate(snapshot: Snapshot, with_policy: Policy, link: Link) -> Verdict:
    return evaluate_in(snapshot, Context(with_policy, REGION, NOW), link)


def code(verdict: Verdict) -> str | None:
    """The reason code of a link that is denied."""
    return verdict.denial.reason.code if verdict.denial else None


def detail(verdict: Verdict) -> str:
    """The text of its denial, empty where there is none."""
    return verdict.denial.detail if verdict.denial else ""


OPEN = [group(APP, "*"), group(DB, "*")]
PAIR = [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
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
        ([group(APP, "*", advanced=True), group(DB, "*")], Link(APP, DB), {}, "advanced-group"),
        ([group(APP, "*"), group(DB, "*", advanced=True)], Link(APP, DB), {}, "advanced-group"),
        ([group(APP, "*"), group(DB, "*", vpc="vpc-2")], Link(APP, DB), {}, "different-vpc"),
        # with ports it is written by address, and here it has none
        ([group(APP, advanced=True), group(DB, "*")], Link(APP, DB, PORTS), {}, "no-members"),
        ([group(APP), group(DB, "*", advanced=True)], Link(APP, DB, PORTS), {}, "no-members"),
        ([group(APP), group(DB, "*", vpc="vpc-2")], Link(APP, DB, PORTS), {}, "no-members"),
        ([group(APP), group(DB, "*", lock=True)], Link(APP, DB, PORTS), {}, "locked"),
        ([group(APP, lock=True), group(DB, "*")], Link(APP, DB, PORTS), {}, None),  # no rule is on sg-app
        ([group(APP, "*", lock=True), group(DB, "*")], Link(APP, DB), {}, "locked"),
        ([group(APP, "*"), group(DB, "*", lock=True)], Link(APP, DB), {}, "locked"),
        ([group(APP, "*"), group(DB, f"*~{compact(NOW)}")], Link(APP, DB, PORTS), {}, "no-consent"),
        # several hold: the one that no tag can resolve is reported
        ([group(APP), group(DB, vpc="vpc-2")], Link(APP, DB), {}, "different-vpc"),
        (OPEN, Link(APP, STRANGER), {"deny": PORTS}, "unknown-account"),
        ([group(APP), group(DB, lock=True)], Link(APP, DB, PORTS), {}, "locked"),
        ([group(APP), group(DB, vpc="vpc-2", lock=True)], Link(APP, DB), {}, "different-vpc"),
    ],
)
def test_links_of_groups(groups: list[Group], link: Link, changes: dict[str, Any], reason: str | None) -> None:
    verdict = evaluate(view(groups), policy(**changes), link)
    assert code(verdict) == reason


def test_a_link_by_address_is_undecided_until_its_instances_are_read() -> None:
    seen = view([group(APP), group(DB, "*", vpc="vpc-2")], whole_accounts=frozenset())
    verdict = evaluate(seen, POLICY, Link(APP, DB, PORTS))
    assert verdict.denial is not None
    assert (verdict.denial.undecided, verdict.open_questions) == (True, (InstancesOf(APP),))


def test_a_denied_link_still_lists_the_rules_it_would_need() -> None:
    """Removals look up existing rules by them."""
    verdict = evaluate(view([group(APP), group(DB)]), POLICY, Link(APP, DB))
    assert code(verdict) == "no-consent"
    assert {need.key for need in verdict.needs} == {key(DB, APP), key(APP, DB)}


def test_links_of_instances_are_rules_between_two_addresses() -> None:
    verdict = evaluate(view(OPEN, PAIR), POLICY, Link(A, B))
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
    assert (code(verdict), verdict.needs) == ("no-private-ip", ())
    assert detail(verdict).startswith(f"i-{lacking}@")


def test_missing_consent_is_reported_before_a_missing_address() -> None:
    """A link without consent is not retried until the instance has an address."""
    seen = view([group(APP), group(DB)], [instance(A, APP), instance(B, DB)])
    verdict = evaluate(seen, POLICY, Link(A, B, PORTS))
    assert code(verdict) == "no-consent"


# addresses of instance links

FAR = [instance(A, APP, ip="10.0.0.1", vpc="vpc-2"), instance(B, DB, ip="10.0.0.2")]
A_IN_1, B_IN_2 = Address(HOME, "vpc-1", "10.0.0.1"), Address(HOME, "vpc-2", "10.0.0.2")


def with_ranges(*ranges: str) -> Policy:
    return policy(accounts={**POLICY.accounts, HOME: AccountPolicy("a", ranges=ranges)})


@pytest.mark.parametrize(
    ("ips", "link", "with_policy", "denied"),
    [
        (("8.8.8.8", "10.0.0.2"), Link(A, B, PORTS), POLICY, A),
        (("10.0.0.1", "8.8.8.8"), Link(A, B, PORTS), POLICY, None),  # the target is no source
        (("10.0.0.1", "8.8.8.8"), Link(A, B), POLICY, B),
        (("8.8.8.8", "10.0.0.2"), Link(A, B), POLICY, A),
        (("10.0.0.1", "10.0.0.2"), Link(A, B, PORTS), with_ranges("10.9.0.0/16"), A),
        (("10.0.0.1", "10.9.0.2"), Link(A, B, PORTS), with_ranges("10.0.0.0/24"), None),
        (("10.0.0.1", "10.9.0.2"), Link(A, B), with_ranges("10.0.0.0/24"), B),
    ],
)
def test_the_address_of_a_source_must_be_private_and_in_its_accounts_ranges(
    ips: tuple[str, str], link: Link, with_policy: Policy, denied: Party | None
) -> None:
    """Its owner picks the address. Both are sources of a mutual link. The denied link's rules are still listed."""
    seen = view(OPEN, [instance(A, APP, ip=ips[0]), instance(B, DB, ip=ips[1])])
    verdict = evaluate(seen, with_policy, link)
    assert verdict.needs
    assert code(verdict) == ("address-conflict" if denied else None)
    assert denied is None or str(denied) in detail(verdict)


@pytest.mark.parametrize(
    "ip",
    [
        *("10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255"),
        *("192.168.0.0", "192.168.255.255", "100.64.0.0", "100.127.255.255"),
    ],
)
def test_a_private_address_is_allowed(ip: str) -> None:
    """Those of RFC 1918, and 100.64.0.0/10."""
    assert address_denial(A, ip, ()) is None


@pytest.mark.parametrize(
    "ip",
    [
        *("9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0"),
        *("100.63.255.255", "100.128.0.0", "8.8.8.8", "0.0.0.1", "127.0.0.1", "169.254.1.1", "255.255.255.255"),
        *("", "10.0.0", "10.0.0.256", "10.0.0.0/8", "::ffff:10.0.0.1", "fd00::1", "host"),
    ],
)
def test_any_other_address_is_denied(ip: str) -> None:
    """A VPC may have custom ranges, so the owner of an instance could choose anyone's public address; no range of the policy
    makes it private. What is not one IPv4 address is denied too."""
    for ranges in ((), ("0.0.0.0/0",)):
        found = address_denial(A, ip, ranges)
        assert found is not None
        assert found.reason is reasons.ADDRESS_CONFLICT
        assert f"the address of {A}, {ip}, is not private" in found.detail


@pytest.mark.parametrize(
    ("ip", "ranges", "allowed"),
    [
        ("10.20.0.0", ("10.20.0.0/16",), True),
        ("10.20.255.255", ("10.20.0.0/16",), True),
        ("10.19.255.255", ("10.20.0.0/16",), False),
        ("10.21.0.0", ("10.20.0.0/16",), False),
        ("10.21.0.0", ("10.20.0.0/16", "10.21.0.0/24"), True),
        ("10.20.0.5", ("10.20.0.5/32",), True),
        ("10.20.0.6", ("10.20.0.5/32",), False),
    ],
)
def test_the_ranges_of_the_account_bound_its_addresses(ip: str, ranges: tuple[str, ...], allowed: bool) -> None:
    """Any of them may hold the address; the denial names them."""
    found = address_denial(A, ip, ranges)
    assert (found is None) == allowed
    if found is not None:
        assert (found.reason, ", ".join(ranges) in found.detail) == (reasons.ADDRESS_CONFLICT, True)


def test_ranges_are_those_of_the_sources_own_account() -> None:
    """The other account's say nothing."""
    party = Party(PEER, "i-p")
    accounts = {HOME: AccountPolicy("a", ranges=("10.9.0.0/16",)), PEER: AccountPolicy("b", "role")}
    seen = view([*OPEN, group(Party(PEER, "sg-p"))], [instance(party, Party(PEER, "sg-p"), ip="10.0.0.1"), PAIR[1]])
    accepting = msgspec.structs.replace(seen, groups={**seen.groups, DB: group(DB, f"*@{PEER}")})
    assert evaluate(accepting, policy(accounts=accounts), Link(party, B, PORTS)).denial is None


@pytest.mark.parametrize(("taken", "reason"), [(False, None), (True, "address-conflict"), (None, "")])
def test_across_vpcs_the_targets_vpc_must_not_use_the_sources_address(taken: bool | None, reason: str | None) -> None:
    """Where that was not read yet, it is a question, and the link is neither granted nor denied for a reason."""
    seen = view(OPEN, FAR, taken_addresses={} if taken is None else {A_IN_1: taken})
    verdict = evaluate(seen, POLICY, Link(A, B, PORTS))
    assert code(verdict) == reason
    assert verdict.open_questions == ((A_IN_1,) if taken is None else ())
    assert (verdict.reachability, bool(verdict.needs)) == ("different-vpc", True)
    assert not taken or "vpc-1" in detail(verdict)


@pytest.mark.parametrize("first", [False, True])
def test_both_addresses_of_a_mutual_link_are_asked_about(first: bool) -> None:
    """Each in the other's VPC. One that is used denies the link although the other was not read."""
    seen = view(OPEN, FAR)
    assert evaluate(seen, POLICY, Link(A, B)).open_questions == (A_IN_1, B_IN_2)
    used, unknown = (A_IN_1, B_IN_2) if first else (B_IN_2, A_IN_1)
    verdict = evaluate(msgspec.structs.replace(seen, taken_addresses={used: True}), POLICY, Link(A, B))
    said = used.ip in detail(verdict), unknown.ip in detail(verdict)
    assert (code(verdict), said) == ("address-conflict", (True, False))


@pytest.mark.parametrize(
    ("seen", "with_policy", "denial"),
    [
        (view(OPEN, PAIR), POLICY, None),
        (view([group(APP), group(DB)], FAR), POLICY, "no-consent"),
        (view(OPEN, FAR), with_ranges("10.9.0.0/16"), "address-conflict"),
    ],
    ids=["within a VPC", "no consent", "outside the ranges"],
)
def test_no_address_is_asked_about_where_that_decides_nothing(
    seen: Snapshot, with_policy: Policy, denial: str | None
) -> None:
    """Within a VPC the VPC itself has it, of the source. No wish of a stranger costs a call."""
    verdict = evaluate(seen, with_policy, Link(A, B))
    assert (code(verdict), verdict.open_questions) == (denial, ())


# which group takes an instance's rule


@pytest.mark.parametrize("groups", [[], [group(DB, "*", managed=True)], [group(APP)]])
def test_an_instance_whose_groups_are_not_all_shown_is_not_denied_for_good(groups: list[Group]) -> None:
    """A Describe call may omit a group: this is something unseen, which is confirmed before anything is removed for it."""
    seen = view(groups, [PAIR[0], instance(B, DB, APP, ip="10.0.0.2")])
    verdict = evaluate(seen, POLICY, Link(A, B, PORTS))
    assert (code(verdict), verdict.denial and verdict.denial.unseen) == ("peer-not-found", True)


@pytest.mark.parametrize(
    ("groups", "on"),
    [
        ([group(DB, "*", advanced=True), group(APP)], DB),
        ([group(DB, "*", managed=True), group(APP, "*")], APP),
        ([group(DB, "*", managed=True), group(APP, managed=True)], None),
    ],
    ids=["advanced", "managed and another", "managed"],
)
def test_an_instance_rule_is_on_the_first_group_that_no_product_manages(groups: list[Group], on: Party | None) -> None:
    """Advanced ones too. Where there is none, the link is denied."""
    seen = view(groups, [PAIR[0], instance(B, DB, APP, ip="10.0.0.2")])
    verdict = evaluate(seen, POLICY, Link(A, B, PORTS))
    rules_on = [need.key.group for need in verdict.needs]
    assert (code(verdict), rules_on) == ((None, [on]) if on else ("managed-group", []))


# accounts that cannot be read

FOREIGN, FAR_I = Party(PEER, "sg-x"), Party(PEER, "i-x")
REFUSED = {PEER: NoAccess("NoPermission", "no")}


def closed(accept: str, link: Link, lock: bool = False, allow: tuple[Allow, ...] = (), **seen: Any) -> str | None:
    """Why sg-db closes its rule of a link with the other account, which is not shown."""
    between = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", PORTS[0])
    rule = key(DB, link.source, "tcp/1") if link.source.is_group else between
    found = view([group(DB, accept, lock=lock)], **seen)
    denial = closed_by_group(found, policy(allow=allow), rule, link, NOW)
    return denial.reason.code if denial else None


@pytest.mark.parametrize("seen", [{"refused_accounts": REFUSED}, {"failed_accounts": {PEER: "timeout"}}, {}])
@pytest.mark.parametrize(
    ("accept", "reason"),
    [
        (f"sg-x@{PEER}", None),
        (f"*@{PEER}", None),
        (f"sg-x@{PEER}:tcp/1", None),
        (f"sg-x@{PEER}:tcp/2", "no-consent"),
        (f"sg-other@{PEER}", "no-consent"),
        ("sg-x", "no-consent"),
        ("*", "no-consent"),
        ("", "no-consent"),
        (f"sg-x@{PEER}~20200101T000000Z", "no-consent"),
    ],
)
def test_a_group_closes_what_it_does_not_accept_although_the_peer_cannot_be_read(
    accept: str, reason: str | None, seen: dict[str, Any]
) -> None:
    """Fail closed: its own tags decide."""
    assert closed(accept, Link(FOREIGN, DB, PORTS), **seen) == reason


@pytest.mark.parametrize(
    ("accept", "refused", "failed"),
    [
        (f"i-x@{PEER}", None, None),
        (f"*@{PEER}", None, None),
        (f"sg-any@{PEER}", "no-consent", None),
        (f"i-other@{PEER}", "no-consent", "no-consent"),
        (f"sg-any@{PEER}:tcp/2", "no-consent", "no-consent"),
        ("sg-any", "no-consent", "no-consent"),
        ("", "no-consent", "no-consent"),
    ],
)
def test_an_instance_that_is_not_shown_may_be_in_any_group_unless_its_account_refuses_access(
    accept: str, refused: str | None, failed: str | None
) -> None:
    """An account that revokes the role must not keep a rule open through consent to another of its groups. In trouble of the
    moment, it may be in a group that is accepted."""
    link = Link(FAR_I, B, PORTS)
    assert closed(accept, link, refused_accounts=REFUSED) == refused
    assert closed(accept, link, failed_accounts={PEER: "timeout"}) == failed
    assert closed(accept, link) == failed


def test_the_policys_groups_count_for_an_instance_that_is_not_shown() -> None:
    """As the tags' do."""
    allow = (Allow(parse_who(f"sg-any@{PEER}", None), parse_who(str(DB), None), (), "text"),)
    assert closed("", Link(FAR_I, B, PORTS), allow=allow) is None
    assert closed("", Link(FAR_I, B, PORTS), allow=allow, refused_accounts=REFUSED) == "no-consent"


def test_an_instance_that_is_shown_is_in_its_own_groups_only() -> None:
    link = Link(FAR_I, B, PORTS)
    shown = [instance(FAR_I, FOREIGN, ip="10.0.0.1")]
    assert closed(f"sg-any@{PEER}", link, instances=shown) == "no-consent"
    assert closed(f"sg-x@{PEER}", link, instances=shown) is None


def test_a_group_that_was_not_read_closes_nothing() -> None:
    assert closed_by_group(view([]), POLICY, key(DB, FOREIGN, "tcp/1"), Link(FOREIGN, DB, PORTS), NOW) is None


def test_the_source_side_of_a_mutual_link_is_closed_by_its_own_group() -> None:
    """The rule on sg-app, for what sg-db accepts, is sg-app's to accept."""
    seen = view([group(APP, f"sg-x@{PEER}"), group(DB, "")], refused_accounts=REFUSED)
    rule = key(APP, FOREIGN)
    assert closed_by_group(seen, POLICY, rule, Link(FOREIGN, APP), NOW) is None
    bare = msgspec.structs.replace(seen, groups={APP: group(APP, "")})
    assert closed_by_group(bare, POLICY, rule, Link(FOREIGN, APP), NOW) is not None


@pytest.mark.parametrize("aside", [A, B])
def test_nothing_is_decided_about_an_instance_that_was_set_aside(aside: Party) -> None:
    """It exists, so it is not gone; it must be read by its id first."""
    seen = view(OPEN, [one for one in PAIR if one.party != aside], listings={HOME: Listing({"i-a", "i-b"})})
    verdict = evaluate(seen, POLICY, Link(A, B))
    assert verdict.denial is not None
    assert (verdict.denial.reason, verdict.denial.unseen, verdict.open_questions) == (reasons.UNREAD, False, (aside,))
    read = msgspec.structs.replace(seen, requested=seen.requested | {aside})
    gone = evaluate(read, POLICY, Link(A, B))
    assert (code(gone), gone.open_questions) == ("instance-gone", ())
