"""Whether a link may exist, and as which rules: tables over snapshots, without a cloud."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain import reasons
from link_peer.domain.denials import Denial, Waits, isolated_group, tag_expired
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import ALL, TAG, Claim, Group, Instance, Link, Party, Rule, RuleKey
from link_peer.domain.policy import AccountPolicy, Allow, Limits, Policy
from link_peer.domain.snapshot import Address, Listing, Snapshot
from link_peer.domain.tags import compact, parse_ports, parse_who
from link_peer.planning.actual import actual_state
from link_peer.planning.decision import NOTHING_MISSING, Context, DesiredLink, InstancesOf, Missing, Refusal, Verdict
from link_peer.planning.verdict.acceptance import closed_by_group
from link_peer.planning.verdict.answers import Judged, PlanView, WantedClaims, judge, most_members, wanted_claims
from link_peer.planning.verdict.holders import evaluate as evaluate_in
from link_peer.planning.verdict.holders import with_holders
from link_peer.planning.verdict.single_link import address_denial, permitted

from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, POLICY, REGION, A, B
from tests.unit.snapshots import group, instance, key, ours, policy, view

STRANGER, OTHER = Party("1000000000000003", "sg-x"), Party(HOME, "sg-other")


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
    if reason in ("different-vpc", "advanced-group"):
        assert verdict.reachability == ("different-vpc" if reason == "different-vpc" else "same-vpc")


def test_a_link_by_address_is_undecided_until_its_instances_are_read() -> None:
    snapshot = view([group(APP), group(DB, "*", vpc="vpc-2")], whole_accounts=frozenset())
    verdict = evaluate(snapshot, POLICY, Link(APP, DB, PORTS))
    assert verdict.denial is not None
    assert (verdict.denial.undecided, verdict.open_questions) == (True, (InstancesOf(APP),))


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
    snapshot = view(OPEN, [instance(A, APP, ip=ips["a"]), instance(B, DB, ip=ips["b"])])
    verdict = evaluate(snapshot, POLICY, Link(A, B, PORTS))
    assert (code(verdict), verdict.needs) == ("no-private-ip", ())
    assert detail(verdict).startswith(f"i-{lacking}@")


def test_of_two_instances_without_an_address_the_source_is_named() -> None:
    """In either direction, and once for both rules of a mutual link."""
    snapshot = view(OPEN, [instance(A, APP), instance(B, DB)])
    for link in (Link(A, B, PORTS), Link(B, A, PORTS), Link(A, B), Link(B, A)):
        assert detail(evaluate(snapshot, POLICY, link)).startswith(f"{link.source.id}@")


def test_an_instance_of_the_classic_network_is_on_no_side() -> None:
    """Whatever VPC it shows."""
    for fields in ({"classic": True}, {"vpc": ""}):
        for instances in (
            [msgspec.structs.replace(PAIR[0], **fields), PAIR[1]],
            [PAIR[0], msgspec.structs.replace(PAIR[1], **fields)],
        ):
            assert code(evaluate(view(OPEN, instances), POLICY, Link(A, B, PORTS))) == "classic-network"


def test_missing_consent_is_reported_before_a_missing_address() -> None:
    """A link without consent is not retried until the instance has an address."""
    snapshot = view([group(APP), group(DB)], [instance(A, APP), instance(B, DB)])
    verdict = evaluate(snapshot, POLICY, Link(A, B, PORTS))
    assert code(verdict) == "no-consent"


# addresses of instance links

FAR = [instance(A, APP, ip="10.0.0.1", vpc="vpc-2"), instance(B, DB, ip="10.0.0.2")]
A_IN_1 = Address(HOME, "vpc-1", "10.0.0.1")


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
    snapshot = view(OPEN, [instance(A, APP, ip=ips[0]), instance(B, DB, ip=ips[1])])
    verdict = evaluate(snapshot, with_policy, link)
    assert verdict.needs
    assert code(verdict) == ("address-conflict" if denied else None)
    assert denied is None or detail(verdict).startswith(f"the address of {denied}, ")


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
    """A VPC may have custom ranges, so the owner of an instance could choose anyone's public address; no range of the
    policy makes it private. What is not one IPv4 address is denied too."""
    for ranges in ((), ("0.0.0.0/0",)):
        denial = address_denial(A, ip, ranges)
        assert denial is not None
        assert denial.reason is reasons.ADDRESS_CONFLICT
        assert f"the address of {A}, {ip}, is not private" in denial.detail


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
    denial = address_denial(A, ip, ranges)
    assert (denial is None) == allowed
    if denial is not None:
        assert (denial.reason, ", ".join(ranges) in denial.detail) == (reasons.ADDRESS_CONFLICT, True)


def test_ranges_are_those_of_the_sources_own_account() -> None:
    """The other account's say nothing."""
    party = Party(PEER, "i-p")
    accounts = {HOME: AccountPolicy("a", ranges=("10.9.0.0/16",)), PEER: AccountPolicy("b", "role")}
    snapshot = view([*OPEN, group(Party(PEER, "sg-p"))], [instance(party, Party(PEER, "sg-p"), ip="10.0.0.1"), PAIR[1]])
    accepting = msgspec.structs.replace(snapshot, groups={**snapshot.groups, DB: group(DB, f"*@{PEER}")})
    assert evaluate(accepting, policy(accounts=accounts), Link(party, B, PORTS)).denial is None


@pytest.mark.parametrize(("in_use", "reason"), [(False, None), (True, "address-conflict"), (None, "")])
def test_across_vpcs_the_targets_vpc_must_not_use_the_sources_address(in_use: bool | None, reason: str | None) -> None:
    """Where that was not read yet, it is a question, and the link is neither granted nor denied for a reason."""
    snapshot = view(OPEN, FAR, taken_addresses={} if in_use is None else {A_IN_1: in_use})
    verdict = evaluate(snapshot, POLICY, Link(A, B, PORTS))
    assert code(verdict) == reason
    assert verdict.open_questions == ((A_IN_1,) if in_use is None else ())
    assert (verdict.reachability, bool(verdict.needs), "CEN" in verdict.advice) == ("different-vpc", True, True)
    assert not in_use or ("vpc-1" in detail(verdict) and str(A) in detail(verdict).partition(", 10.0.0.1")[0])


WITH_RANGES = policy(accounts={**POLICY.accounts, PEER: AccountPolicy("b", ranges=("10.0.0.0/8",))})


def test_the_target_account_is_asked_about_its_own_vpc() -> None:
    """Its view of the VPC counts: the source's account may not see it."""
    party, app = Party(PEER, "i-p"), Party(PEER, "sg-p")
    snapshot = view([group(app), group(DB, f"*@{PEER}")], [instance(party, app, ip="10.0.0.1", vpc="vpc-2"), PAIR[1]])
    assert evaluate(snapshot, WITH_RANGES, Link(party, B, PORTS)).open_questions == (A_IN_1,)


@pytest.mark.parametrize(("with_policy", "reason"), [(POLICY, "address-conflict"), (WITH_RANGES, None)])
def test_across_accounts_and_vpcs_the_sources_account_needs_ranges(with_policy: Policy, reason: str | None) -> None:
    """Two accounts may each have an instance with the address. In a VPC that both share, no address is taken twice."""
    party, app = Party(PEER, "i-p"), Party(PEER, "sg-p")
    for vpc, expected in (("vpc-2", reason), ("vpc-1", None)):
        instances = [instance(party, app, ip="10.0.0.1", vpc=vpc), PAIR[1]]
        snapshot = view([group(app), group(DB, f"*@{PEER}")], instances, taken_addresses={A_IN_1: False})
        verdict = evaluate(snapshot, with_policy, Link(party, B, PORTS))
        assert code(verdict) == expected
        assert expected is None or f"accounts.{PEER}.ranges" in str(verdict.denial and verdict.denial.advice)


@pytest.mark.parametrize(
    ("snapshot", "with_policy", "denial"),
    [
        (view(OPEN, PAIR), POLICY, None),
        (view([group(APP), group(DB)], FAR), POLICY, "no-consent"),
        (view(OPEN, FAR), with_ranges("10.9.0.0/16"), "address-conflict"),
    ],
    ids=["within a VPC", "no consent", "outside the ranges"],
)
def test_no_address_is_asked_about_where_that_decides_nothing(
    snapshot: Snapshot, with_policy: Policy, denial: str | None
) -> None:
    """Within a VPC the VPC itself has it, of the source. No wish of a stranger costs a call."""
    verdict = evaluate(snapshot, with_policy, Link(A, B))
    assert (code(verdict), verdict.open_questions) == (denial, ())


# which group takes an instance's rule


@pytest.mark.parametrize("groups", [[], [group(DB, "*", managed=True)], [group(APP)]])
def test_an_instance_whose_groups_are_not_all_shown_is_not_denied_for_good(groups: list[Group]) -> None:
    """A Describe call may omit a group: this is something unseen, which is confirmed before anything is removed for
    it."""
    snapshot = view(groups, [PAIR[0], instance(B, DB, APP, ip="10.0.0.2")])
    verdict = evaluate(snapshot, POLICY, Link(A, B, PORTS))
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
    snapshot = view(groups, [PAIR[0], instance(B, DB, APP, ip="10.0.0.2")])
    verdict = evaluate(snapshot, POLICY, Link(A, B, PORTS))
    rules_on = [need.key.group for need in verdict.needs]
    assert (code(verdict), rules_on) == ((None, [on]) if on else ("managed-group", []))


@pytest.mark.parametrize(("port", "on"), [("tcp/1", APP), ("tcp/2", DB)])
def test_an_instance_rule_is_on_the_group_that_has_it(port: str, on: Party) -> None:
    """On its port, for the same two instances; else on the first group that consents."""
    rule = ours(RuleKey(APP, "10.0.0.1/32", "10.0.0.2/32", parse_ports(port)[0]), ends=(A, B))
    snapshot = view([group(DB, "*"), group(APP, "*")], [PAIR[0], instance(B, DB, APP, ip="10.0.0.2")], [rule])
    verdict = evaluate(snapshot, POLICY, Link(A, B, parse_ports("tcp/1")))
    assert [need.key.group for need in verdict.needs] == [on]


# accounts that cannot be read

FOREIGN, FAR_I = Party(PEER, "sg-x"), Party(PEER, "i-x")
REFUSED = {PEER: NoAccess("NoPermission", "no")}


def closed(accept: str, link: Link, lock: bool = False, allow: tuple[Allow, ...] = (), **fields: Any) -> str | None:
    """Why sg-db closes its rule of a link with the other account, which is not shown."""
    between = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", PORTS[0])
    rule = key(DB, link.source, "tcp/1") if link.source.is_group else between
    snapshot = view([group(DB, accept, lock=lock)], **fields)
    denial = closed_by_group(snapshot, policy(allow=allow), rule, link, NOW)
    return denial.reason.code if denial else None


def test_a_missing_consent_is_named_with_its_group_source_and_ports() -> None:
    snapshot = view([group(APP), group(DB, "sg-app:tcp/1")])
    verdict = evaluate(snapshot, POLICY, Link(APP, DB, parse_ports("tcp/2+tcp/1+icmp")))
    assert detail(verdict) == f"{DB} has not accepted {APP} on icmp+tcp/2"
    mutual_text = f"{DB} has not accepted {APP} on all ports; {APP} has not accepted {DB} on all ports"
    assert detail(evaluate(snapshot, POLICY, Link(APP, DB))) == mutual_text


@pytest.mark.parametrize("view_fields", [{"refused_accounts": REFUSED}, {"failed_accounts": {PEER: "timeout"}}, {}])
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
    accept: str, reason: str | None, view_fields: dict[str, Any]
) -> None:
    """Fail closed: its own tags decide."""
    assert closed(accept, Link(FOREIGN, DB, PORTS), **view_fields) == reason


@pytest.mark.parametrize(
    ("link", "accept", "refused", "failed"),
    [
        (Link(FAR_I, B, PORTS), f"i-x@{PEER}", None, None),
        (Link(FAR_I, B, PORTS), f"*@{PEER}", None, None),
        (Link(FAR_I, B, PORTS), f"sg-any@{PEER}", "no-consent", None),
        (Link(FAR_I, B, PORTS), f"i-other@{PEER}", "no-consent", "no-consent"),
        (Link(FAR_I, B, PORTS), f"sg-any@{PEER}:tcp/2", "no-consent", "no-consent"),
        (Link(FAR_I, B, PORTS), "sg-any", "no-consent", "no-consent"),
        (Link(FAR_I, B, PORTS), "", "no-consent", "no-consent"),
        # one that is admitted as a member of a group may be in that one alone
        (Link(FOREIGN, DB, PORTS, "i-x"), f"i-x@{PEER}", None, None),
        (Link(FOREIGN, DB, PORTS, "i-x"), f"sg-x@{PEER}", "no-consent", None),
        (Link(FOREIGN, DB, PORTS, "i-x"), f"sg-any@{PEER}", "no-consent", "no-consent"),
    ],
)
def test_an_instance_that_is_not_shown_may_be_in_any_group_unless_its_account_refuses_access(
    link: Link, accept: str, refused: str | None, failed: str | None
) -> None:
    """An account that revokes the role must not keep a rule open through consent to another of its groups. In trouble
    of the moment, it may be in a group that is accepted."""
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
    instances = [instance(FAR_I, FOREIGN, ip="10.0.0.1")]
    assert closed(f"sg-any@{PEER}", link, instances=instances) == "no-consent"
    assert closed(f"sg-x@{PEER}", link, instances=instances) is None


def test_a_group_that_was_not_read_closes_nothing() -> None:
    assert closed_by_group(view([]), POLICY, key(DB, FOREIGN, "tcp/1"), Link(FOREIGN, DB, PORTS), NOW) is None


def test_the_source_side_of_a_mutual_link_is_closed_by_its_own_group() -> None:
    """The rule on sg-app, for what sg-db accepts, is sg-app's to accept."""
    snapshot = view([group(APP, f"sg-x@{PEER}"), group(DB, "")], refused_accounts=REFUSED)
    rule = key(APP, FOREIGN)
    assert closed_by_group(snapshot, POLICY, rule, Link(FOREIGN, APP), NOW) is None
    bare = msgspec.structs.replace(snapshot, groups={APP: group(APP, "")})
    assert closed_by_group(bare, POLICY, rule, Link(FOREIGN, APP), NOW) is not None


@pytest.mark.parametrize("aside", [A, B])
def test_nothing_is_decided_about_an_instance_that_was_set_aside(aside: Party) -> None:
    """It exists, so it is not gone; it must be read by its id first."""
    snapshot = view(OPEN, [host for host in PAIR if host.party != aside], listings={HOME: Listing({"i-a", "i-b"})})
    verdict = evaluate(snapshot, POLICY, Link(A, B))
    assert verdict.denial is not None
    assert (verdict.denial.reason, verdict.denial.unseen, verdict.open_questions) == (reasons.UNREAD, False, (aside,))
    read = msgspec.structs.replace(snapshot, requested=snapshot.requested | {aside})
    verdict_read = evaluate(read, POLICY, Link(A, B))
    assert (code(verdict_read), verdict_read.open_questions) == ("instance-gone", ())


# what several links come to

SEEN = view([group(APP, "*"), group(DB, "*"), group(CACHE)])
LINK, CACHE_LINK = Link(APP, DB, PORTS), Link(APP, CACHE, PORTS)
K1 = key(DB, APP, "tcp/1")
REQ, REQ2 = Claim("chg-1"), Claim("chg-2")
FULL = Denial(reasons.QUOTA, "the group is full", outcome="failed")


def world(snapshot: Snapshot = SEEN, **refused: Refusal) -> PlanView:
    """`link=…` is the refusal of LINK."""
    actual = actual_state(snapshot, POLICY, REGION)
    return PlanView(snapshot, Context(POLICY, REGION, NOW), actual, {LINK: refused["link"]} if refused else {})


def judged(*links: DesiredLink | Link, snapshot: Snapshot = SEEN, **refused: Refusal) -> Judged:
    desired_links = [link if isinstance(link, DesiredLink) else DesiredLink(link, TAG) for link in links]
    return judge(world(snapshot, **refused), desired_links)


def denial_of(judgment: Judged, link: Link) -> Denial | None:
    """Why the link is denied: one answer for all who want it."""
    (denial,) = {answer.denial for answer in judgment.answers if answer.desired_link.link == link}
    return denial


def reason_and_detail(judgment: Judged, link: Link) -> tuple[reasons.Reason, str]:
    """Reason and detail of a link that is denied."""
    denial = denial_of(judgment, link)
    assert denial is not None
    return denial.reason, denial.detail


def claims_wanted(*links: DesiredLink, snapshot: Snapshot = SEEN) -> WantedClaims:
    return wanted_claims(judged(*links, snapshot=snapshot).answers, actual_state(snapshot, POLICY, REGION))


def test_a_link_that_was_refused_is_judged_though_nobody_asks_for_it_now() -> None:
    """By its judgment, what was written for it is found."""
    assert judged(link=Refusal(FULL)).needs(LINK) == {K1}
    assert judged(CACHE_LINK, link=Refusal(FULL)).judgments.keys() == {CACHE_LINK, LINK}


def test_a_denial_by_the_snapshot_comes_before_a_refusal_by_the_cloud() -> None:
    """A group that has withdrawn its consent meanwhile answers `no-consent`, not `quota`."""
    judgment = judged(LINK, snapshot=view([group(APP), group(DB)]), link=Refusal(FULL))
    assert reason_and_detail(judgment, LINK)[0] is reasons.NO_CONSENT


def test_a_denied_claim_is_kept_by_link_and_request() -> None:
    """The tag has expired, the request has not: only the tag's claim is denied."""
    links = DesiredLink(LINK, TAG, denial=tag_expired(C, "link-until")), DesiredLink(LINK, REQ)
    assert judged(*links).denied == {(LINK, ""): tag_expired(C, "link-until")}
    assert claims_wanted(*links) == {K1: {REQ}}


# the instance's own group


@pytest.mark.parametrize(
    ("own_group", "access", "denial", "asks"),
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
    own_group: Any, access: bool | None, denial: Denial | None, asks: bool
) -> None:
    """A basic group whose inner access was not read is a question; it is not denied until that is read."""
    snapshot = view([own_group], inner_access={} if access is None else {APP: access})
    own_link = DesiredLink(Link(APP, APP), TAG, same_group=True)
    judgment = judged(own_link, snapshot=snapshot)
    assert denial_of(judgment, own_link.link) == denial
    assert judgment.missing.questions == ({APP} if asks else set())
    assert judged(msgspec.structs.replace(own_link, in_scope=False), snapshot=snapshot).missing == NOTHING_MISSING


# one address, two instances

C = Party(HOME, "i-c")
P9 = parse_ports("tcp/9")
K9 = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", P9[0])
A_TO_B, C_TO_B = Link(A, B, P9), Link(C, B, P9)


def alike(*rules: Rule, a: str = "10.0.0.1", without: tuple[Party, ...] = ()) -> Snapshot:
    """i-a and i-c have one address; `without` are instances that the cloud does not show, though they were asked
    for."""
    hosts: list[Instance] = [instance(A, APP, ip=a), instance(C, CACHE, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
    groups = [group(APP, "*"), group(DB, "*"), group(CACHE, "*")]
    snapshot = view(groups, [host for host in hosts if host.party not in without], rules)
    return msgspec.structs.replace(snapshot, requested={*snapshot.requested, A, B, C})


@pytest.mark.parametrize("order", [(A_TO_B, C_TO_B), (C_TO_B, A_TO_B)])
@pytest.mark.parametrize("rules", [[], [ours(K9, ends=(A, B))]], ids=["new", "standing"])
def test_of_two_instances_with_one_address_one_is_linked(rules: list[Rule], order: tuple[Link, Link]) -> None:
    """A /32 cannot tell them apart: the instance whose rule exists keeps it, else the first in the order of links has
    it, whichever is asked for first. The denial of the other names it."""
    judgment = judged(*order, snapshot=alike(*rules))
    assert denial_of(judgment, A_TO_B) is None
    reason, detail = reason_and_detail(judgment, C_TO_B)
    assert (reason, str(A) in detail) == (reasons.ADDRESS_CONFLICT, True)
    denial = denial_of(judgment, C_TO_B)
    assert denial is not None
    assert denial.waits is Waits.FOR_A_RULE  # once that rule is gone, it is judged again


def test_the_verdict_on_one_link_asks_for_the_holder_of_its_rule() -> None:
    """By the parties that were not read; what it then depends on is nothing that stands for others."""
    snapshot = alike(ours(K9, *(Claim(f"chg-{number:044}") for number in range(8)), ends=(A, B)), a="10.0.0.9")
    unread = msgspec.structs.replace(snapshot, requested={B, C})
    verdict = evaluate_in(unread, Context(POLICY, REGION, NOW), C_TO_B)
    assert verdict.open_questions == (A, B)
    assert verdict.denial is not None
    assert verdict.denial.detail == f"account {HOME} could not be read: instance i-a, whose rule stands"
    assert evaluate_in(snapshot, Context(POLICY, REGION, NOW), C_TO_B, {Claim("c" * 48)}).denial is None
    far = msgspec.structs.replace(alike(ours(K9, ends=(Party(PEER, "i-far"), B))), requested={C})
    denial = evaluate_in(far, Context(POLICY, REGION, NOW), C_TO_B).denial
    assert denial is not None
    assert denial.detail.startswith(f"account {HOME} could not be read: instance i-b,")


def test_a_link_of_which_a_rule_stands_has_the_address_on_other_ports_too() -> None:
    """i-c holds the address on tcp/9, so that i-a, which comes first in the order of links, does not get it on
    tcp/8."""
    long = Link(C, B, parse_ports("tcp/8+tcp/9"))
    short = Link(A, B, parse_ports("tcp/8"))
    judgment = judged(short, long, snapshot=alike(ours(K9, ends=(C, B))))
    assert denial_of(judgment, long) is None
    assert str(C) in reason_and_detail(judgment, short)[1]
    assert denial_of(judged(short, long, snapshot=alike()), short) is None


def test_a_link_that_is_denied_itself_holds_no_address() -> None:
    """The tag of i-a has ended, so no rule is written for it: i-c is linked, though it comes later in the order of
    links."""
    ended = DesiredLink(A_TO_B, TAG, denial=tag_expired(A, "link-until"))
    assert claims_wanted(ended, DesiredLink(C_TO_B, REQ), snapshot=alike()) == {K9: {REQ}}


def test_the_address_of_an_instance_that_is_gone_belongs_to_its_new_instance() -> None:
    """Another read has to confirm it, unless the platform says so. An account that shows nothing proves nothing."""
    live = alike(ours(K9, ends=(A, B)), without=(A,))
    silent = msgspec.structs.replace(live, live_accounts=set())
    judgment = judged(C_TO_B, snapshot=live)
    assert denial_of(judgment, C_TO_B) is None
    assert judgment.missing == Missing(unconfirmed=frozenset({A}))
    judgment = judged(C_TO_B, snapshot=silent)
    assert reason_and_detail(judgment, C_TO_B)[0] is reasons.ADDRESS_CONFLICT
    assert judgment.missing == Missing(unconfirmed=frozenset({A}), doubted_accounts=frozenset({HOME}))
    released = world(msgspec.structs.replace(live, requested={A, B}))
    released = msgspec.structs.replace(released, context=Context(POLICY, REGION, NOW, deleted=frozenset({A})))
    assert judge(released, [DesiredLink(C_TO_B, TAG)]).missing == NOTHING_MISSING


def test_the_holder_of_a_rule_that_was_not_read_is_read_first() -> None:
    """Until then the rule is its own."""
    snapshot = alike(ours(K9, ends=(A, B)), without=(A,))
    snapshot = msgspec.structs.replace(snapshot, requested=snapshot.requested - {A})
    judgment = judged(C_TO_B, snapshot=snapshot)
    assert (reason_and_detail(judgment, C_TO_B)[0], judgment.missing.unread) == (
        reasons.ADDRESS_CONFLICT,
        {Link(A, B, P9)},
    )


def test_an_instance_without_an_address_keeps_its_rule() -> None:
    """It was shown, and may have its address again in a moment."""
    judgment = judged(C_TO_B, snapshot=alike(ours(K9, ends=(A, B)), a=""))
    assert denial_of(judgment, C_TO_B) is not None
    assert judgment.missing == NOTHING_MISSING


def test_an_instance_whose_account_cannot_be_read_keeps_its_rule() -> None:
    """Nothing is known of it."""
    far = Party(PEER, "i-far")
    snapshot = alike(ours(K9, ends=(far, B)))
    snapshot = msgspec.structs.replace(
        snapshot, requested={*snapshot.requested, far}, failed_accounts={PEER: "timeout"}
    )
    judgment = judged(C_TO_B, snapshot=snapshot)
    assert denial_of(judgment, C_TO_B) is not None
    assert judgment.missing == NOTHING_MISSING


# links by address

FAR_DB = group(DB, "*", vpc="vpc-2")
MEMBERS = [instance(Party(HOME, f"i-{n}"), APP, ip=f"10.0.0.{n}") for n in range(1, 6)]
FREE = {Address(HOME, "vpc-2", member.ip): False for member in MEMBERS}


def by_ip(number: int, *claims: Claim, of: Party = APP) -> Rule:
    """The rule by address of the instance with this number, as a member of a group."""
    return ours(RuleKey(DB, f"10.0.0.{number}/32", "", PORTS[0]), *claims, ends=(Party(HOME, f"i-{number}"), of))


def members(*numbers: int, of: Party = APP, claim: Claim = TAG) -> list[DesiredLink]:
    return [DesiredLink(Link(of, DB, PORTS, f"i-{number}"), claim) for number in numbers]


def by_address(*rules: Rule, instances: list[Instance] = MEMBERS, **fields: Any) -> Snapshot:
    return view([group(APP), group(CACHE), FAR_DB], instances, rules, **{"taken_addresses": FREE, **fields})


@pytest.mark.parametrize(
    ("standing", "asking", "limit", "denied"),
    [
        ([], [1, 2, 3], 3, []),
        ([], [1, 2, 3], 2, ["i-1", "i-2", "i-3"]),  # of a new link, all or none
        ([4], [1, 2, 4], 3, []),
        ([4], [1, 2, 4], 2, ["i-2"]),  # those that join, in order
        ([4, 5], [1, 4, 5], 1, ["i-1"]),  # what stands stays
        ([4, 5], [4, 5], 1, []),
        ([3, 4], [1, 2], 3, ["i-2"]),  # an instance that does not ask may keep its rule
    ],
)
def test_a_link_by_address_has_so_many_instances(
    standing: list[int], asking: list[int], limit: int, denied: list[str]
) -> None:
    """Each counts once, whichever ports it has. A link of another group, or to another, has room of its own."""
    snapshot, limits = by_address(*map(by_ip, standing)), policy(limits=Limits(max_members=limit))
    reading = PlanView(snapshot, Context(limits, REGION, NOW), actual_state(snapshot, limits, REGION))
    judgment = judge(reading, members(*asking))
    refused = {answer.desired_link.link.member: answer.denial for answer in judgment.answers if answer.denial}
    assert list(refused) == denied
    count = len({*standing, *asking})
    assert all(
        f"at most {limit} instances here, and this one would have {count}" in denial.detail
        for denial in refused.values()
    )
    on_other_ports = judge(reading, [DesiredLink(Link(APP, DB, P9, "i-1"), TAG)])
    assert [answer.denial for answer in on_other_ports.answers] == [None]


def test_a_link_by_address_has_at_most_a_hundred_rules() -> None:
    """As many as one call writes: its instances by its ports."""
    wide = policy(limits=Limits(max_members=200))
    assert [most_members(wide, ports) for ports in (1, 2, 30, 0)] == [100, 50, 3, 100]
    assert most_members(policy(limits=Limits(max_members=7)), 1) == 7


def test_two_requests_share_the_rules_of_a_mutual_link_whichever_way_round() -> None:
    desired_links = DesiredLink(Link(APP, DB), REQ), DesiredLink(Link(DB, APP), REQ2)
    assert claims_wanted(*desired_links) == {key(DB, APP): {REQ, REQ2}, key(APP, DB): {REQ, REQ2}}


def test_of_two_ends_of_one_request_the_earlier_holds() -> None:
    """A delivery that died half-way may leave both."""
    ends = [Claim("chg-1"), *(Claim("chg-1", int(NOW) + later) for later in range(1, 9))]
    assert claims_wanted(*(DesiredLink(LINK, claim) for claim in ends)) == {K1: {ends[1]}}


@pytest.mark.parametrize(
    ("rules", "desired_links", "denied"),
    [
        ([], [*members(1, claim=REQ), *members(1, of=CACHE, claim=REQ2)], [(CACHE, APP)]),
        ([], [*members(1), *members(1, of=CACHE, claim=REQ2)], []),  # a tag's claim is followed by nobody
        ([], [*members(1), *members(1, claim=REQ), *members(1, of=CACHE, claim=REQ2)], [(CACHE, APP)]),
        ([], [*members(1, claim=REQ), *members(1, of=CACHE)], []),
        ([], [*members(1, claim=REQ), *members(1, claim=REQ2)], []),
        ([], [*members(1, claim=REQ), *members(2, of=CACHE, claim=REQ2)], []),
        ([by_ip(1, REQ2, of=CACHE)], members(1, claim=REQ), [(APP, CACHE)]),
        ([by_ip(1, TAG, of=CACHE)], members(1, claim=REQ), []),
        ([by_ip(1, REQ, of=APP)], members(1, claim=REQ), []),
        # it left that group, so that the rule is restated
        ([by_ip(1, REQ2, of=OTHER)], members(1, claim=REQ), []),
        ([by_ip(2, REQ2, of=OTHER)], members(1, claim=REQ), []),
    ],
)
def test_a_rule_by_address_is_followed_by_the_members_of_one_group(
    rules: list[Rule], desired_links: list[DesiredLink], denied: list[tuple[Party, Party]]
) -> None:
    """So requests of two groups of one instance cannot share it: the one whose rule stands has it, else the first. The
    denial names the group that has it."""
    instances = [msgspec.structs.replace(member, groups=(APP.id, CACHE.id)) for member in MEMBERS]
    snapshot = by_address(*rules, instances=instances)
    for ordered_links in (desired_links, desired_links[::-1]):
        judgment = judged(*ordered_links, snapshot=snapshot)
        keys = {rule.key for rule in rules if " of=sg-other" in rule.description}
        assert all(verdict.restated == keys & verdict.needs for verdict in judgment.judgments.values())
        refused = [(answer.desired_link.link.source, answer.denial) for answer in judgment.answers if answer.denial]
        assert [source for source, _ in refused] == [source for source, _ in denied]
        assert all(
            f"for a request of {party}, " in denial.detail
            for (_, denial), (_, party) in zip(refused, denied, strict=True)
        )


@pytest.mark.parametrize("failed", [{}, {HOME: "500"}])
def test_a_rule_is_not_restated_where_its_account_could_not_be_read(failed: dict[str, str]) -> None:
    """The instance has left the group of the rule; a read that fails says nothing of that."""
    rule, link = by_ip(1, REQ2, of=OTHER), Link(APP, DB, PORTS, "i-1")
    snapshot = by_address(rule)
    verdict = permitted(snapshot, POLICY, link, NOW)
    snapshot = msgspec.structs.replace(snapshot, failed_accounts=failed)
    context, actual = Context(POLICY, REGION, NOW), actual_state(snapshot, POLICY, REGION)
    assert with_holders(snapshot, context, actual, verdict).restated == (frozenset() if failed else {rule.key})


@pytest.mark.parametrize(
    ("instances", "code_of"),
    [
        (MEMBERS[:1], None),
        ([msgspec.structs.replace(MEMBERS[0], groups=(CACHE.id,))], "no-members"),
        ([], "instance-gone"),
        ([msgspec.structs.replace(MEMBERS[0], ip="")], "no-private-ip"),
        ([msgspec.structs.replace(MEMBERS[0], ip="8.8.8.8")], "address-conflict"),
    ],
)
def test_a_part_of_a_link_by_address_is_for_a_member_with_a_private_address(
    instances: list[Instance], code_of: str | None
) -> None:
    """The whole link is granted where some part is, and is for these parts alone."""
    snapshot = by_address(instances=instances)
    part = evaluate(snapshot, POLICY, Link(APP, DB, PORTS, "i-1"))
    assert (code(part), part.reachability) == (code_of, "different-vpc")
    assert part.denial is None or str(MEMBERS[0].party) in part.denial.detail.partition(" is ")[0]
    assert evaluate(snapshot, policy(deny=PORTS), Link(APP, DB, PORTS, "i-1")).needs == ()
    assert ("CEN" in part.advice) == (code_of not in ("no-members", "instance-gone"))
    with_second = by_address(instances=[*instances, MEMBERS[1]])
    whole = evaluate(with_second, POLICY, Link(APP, DB, PORTS))
    ends_of_needs = [need.ends for need in whole.needs]
    ends = [(member.party, APP) for member in (*(MEMBERS[:1] if code_of is None else ()), MEMBERS[1])]
    assert (whole.link, whole.denial, ends_of_needs) == (Link(APP, DB, PORTS), None, ends)
    assert whole.consent == (f"{DB} link-accept=*",)


def test_a_link_by_address_of_which_no_part_is_granted_has_the_denial_of_the_first() -> None:
    snapshot = by_address(instances=[msgspec.structs.replace(member, ip="8.8.8.8") for member in MEMBERS])
    verdict = evaluate(snapshot, POLICY, Link(APP, DB, PORTS))
    assert (code(verdict), verdict.link, str(MEMBERS[0].party) in detail(verdict)) == (
        "address-conflict",
        Link(APP, DB, PORTS),
        True,
    )
    unread = evaluate(by_address(taken_addresses={}), POLICY, Link(APP, DB, PORTS))
    assert (code(unread), len(unread.open_questions)) == ("", len(MEMBERS))
    whole, no_accounts = Link(APP, DB, PORTS), frozenset[str]()
    assert code(evaluate(by_address(instances=[]), POLICY, whole)) == "no-members"
    read = by_address(instances=[], whole_accounts=no_accounts, complete_groups=frozenset({APP}))
    assert code(evaluate(read, POLICY, whole)) == "no-members"
    assert evaluate(by_address(whole_accounts=no_accounts), POLICY, whole).denial is None
    aside = by_address(instances=[], listings={HOME: Listing({"i-1"})})
    assert evaluate(aside, POLICY, Link(APP, DB, PORTS, "i-1")).open_questions == (MEMBERS[0].party,)


@pytest.mark.parametrize(("ranges", "reason"), [((), "address-conflict"), (("10.0.0.0/24",), None)])
def test_a_link_by_address_across_accounts_and_vpcs_needs_the_ranges_of_its_source(
    ranges: tuple[str, ...], reason: str | None
) -> None:
    """The denial says where to put them. In one VPC it needs none."""
    far, source = Party(PEER, "i-far"), Party(PEER, "sg-far")
    accounts = {**POLICY.accounts, PEER: AccountPolicy("b", "role", ranges=ranges)}
    hosts = [instance(far, source, ip="10.0.0.1")]
    snapshot = view([group(source), group(DB, f"*@{PEER}", vpc="vpc-2")], hosts, taken_addresses=FREE)
    verdict = evaluate(snapshot, policy(accounts=accounts), Link(source, DB, PORTS, "i-far"))
    assert (code(verdict), "accounts" in (verdict.denial.advice if verdict.denial else "")) == (
        reason,
        reason is not None,
    )
    near = msgspec.structs.replace(snapshot, groups={source: group(source), DB: group(DB, f"*@{PEER}", advanced=True)})
    assert evaluate(near, policy(accounts=accounts), Link(source, DB, PORTS, "i-far")).denial is None
