"""One verdict: what denies a link denies it in a plan, fails an `accept` test of the policy, and is not recommended."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import msgspec
import pytest
from link_peer.domain import marker as markers
from link_peer.domain import reasons
from link_peer.domain.denials import Waits
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import ALL, Claim, Link, Marker, Party, Rule, RuleKey
from link_peer.domain.platform_limits import GROUP_SOURCES
from link_peer.domain.policy import AccountPolicy, Limits, Never, Policy, PolicyTest
from link_peer.domain.reasons import Reason
from link_peer.domain.snapshot import Address, Listing, Snapshot
from link_peer.domain.tags import Grantee, parse_ports
from link_peer.planning import authority, consent, guardrails, room, writing
from link_peer.planning.decision import Context, Decision, DesiredLink
from link_peer.planning.effect import between, end_of_party
from link_peer.planning.plan import make_plan
from link_peer.planning.removals import May
from link_peer.planning.verdict import acceptance, answers, holders, single_link
from link_peer.views import policy_tests
from link_peer.views.reach import Reach
from link_peer_cli.inventory.advice import Advice, Adviser
from link_peer_cli.inventory.reading import SavedView
from link_peer_cli.review import live_tests

from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, POLICY, REGION, A, B
from tests.unit.snapshots import group, instance, key, ours, theirs, view

C = Party(HOME, "i-c")
STRANGER = Party("1000000000000003", "sg-x")
PORTS = parse_ports("tcp/1")
GROUPS, PAIR = Link(APP, DB, PORTS), Link(A, B, PORTS)
OPEN = [group(APP, "*"), group(DB, "*")]
SHOWN = [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
APART = [group(APP, vpc="vpc-2"), OPEN[1]]
LEDGER = Party(PEER, "sg-ledger")
FOREIGN = [group(LEDGER, vpc="vpc-2"), group(DB, f"*@{PEER}")]
OF_LEDGER = instance(Party(PEER, "i-ledger"), LEDGER, ip="10.0.0.9", vpc="vpc-2")
FAR = Address(HOME, "vpc-1", "10.0.0.1")
K9 = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", PORTS[0])
REQUEST = Claim("cli-00000000")
FULL = [theirs(key(DB, Party(HOME, f"sg-{number}"), "tcp/9")) for number in range(GROUP_SOURCES.high)]


def crowded() -> Rule:
    """A rule whose description has no room for another request, with more ports to open beside it."""
    rule_key, claims = key(DB, APP, "tcp/1"), [Claim("chg-00000000")]
    while markers.fits(Marker(HOME, "prod", "0" * 16, (*claims, REQUEST))):
        claims.append(Claim(f"chg-{len(claims):08}"))
    return ours(rule_key, *claims)


def far(**fields: Any) -> Snapshot:
    """i-a is in another VPC."""
    return view(OPEN, [instance(A, APP, ip="10.0.0.1", vpc="vpc-2"), SHOWN[1]], **fields)


def unread(snapshot: Snapshot) -> Snapshot:
    groups_by_party = {
        party: msgspec.structs.replace(group_shown, rule_count=1) for party, group_shown in snapshot.groups.items()
    }
    return msgspec.structs.replace(snapshot, groups=groups_by_party, rules={})


WITHOUT_MUTUAL = msgspec.structs.replace(POLICY, denies_mutual=True)
REFUSING = {"link-refuse": DB.id}
CASES: list[tuple[str, Reason, Link, Snapshot, Policy]] = [
    ("unknown_account", reasons.UNKNOWN_ACCOUNT, Link(STRANGER, DB, PORTS), view(OPEN), POLICY),
    ("mutual_not_allowed", reasons.NOT_ALLOWED, Link(APP, DB), view(OPEN), POLICY),
    ("mutual_not_allowed", reasons.NOT_ALLOWED, Link(A, B), view(OPEN, SHOWN), WITHOUT_MUTUAL),
    ("too_many_ports", reasons.NOT_ALLOWED, Link(APP, DB, parse_ports("tcp/1+tcp/2")), view(OPEN), POLICY),
    ("port_span_too_wide", reasons.NOT_ALLOWED, Link(APP, DB, parse_ports("tcp/1-9")), view(OPEN), POLICY),
    ("never_allowed", reasons.NOT_ALLOWED, GROUPS, view(OPEN), POLICY),
    ("port_denied", reasons.NOT_ALLOWED, Link(APP, DB, parse_ports("tcp/22")), view(OPEN), POLICY),
    ("no_access", reasons.NO_ACCESS, GROUPS, view(OPEN, refused_accounts={HOME: NoAccess("No", "no")}), POLICY),
    ("unreadable", reasons.UNREAD, GROUPS, view(OPEN, failed_accounts={HOME: "timeout"}), POLICY),
    ("unreadable", reasons.UNREAD, PAIR, far(), POLICY),
    ("unreadable", reasons.UNREAD, GROUPS, unread(view(OPEN)), POLICY),
    ("unreadable", reasons.UNREAD, PAIR, view(OPEN, listings={HOME: Listing({"i-a", "i-b"})}), POLICY),
    ("peer_not_found", reasons.PEER_NOT_FOUND, GROUPS, view(OPEN[1:]), POLICY),
    ("classic_group", reasons.CLASSIC_NETWORK, GROUPS, view([group(APP, vpc=""), OPEN[1]]), POLICY),
    ("managed_group", reasons.MANAGED_GROUP, GROUPS, view([group(APP, managed=True), OPEN[1]]), POLICY),
    ("advanced_group", reasons.ADVANCED_GROUP, Link(APP, DB), view([group(APP, advanced=True), OPEN[1]]), POLICY),
    ("different_vpc", reasons.DIFFERENT_VPC, Link(APP, DB), view(APART), POLICY),
    ("no_members", reasons.NO_MEMBERS, GROUPS, view(APART, complete_groups={APP}), POLICY),
    ("ranges_missing", reasons.ADDRESS_CONFLICT, Link(LEDGER, DB, PORTS), view(FOREIGN, [OF_LEDGER]), POLICY),
    ("locked", reasons.LOCKED, GROUPS, view([OPEN[0], group(DB, "*", lock=True)]), POLICY),
    ("refused", reasons.REFUSED, GROUPS, view([group(APP, "*", tags=REFUSING), OPEN[1]]), POLICY),
    ("no_consent", reasons.NO_CONSENT, GROUPS, view([group(APP), group(DB)]), POLICY),
    ("instance_gone", reasons.INSTANCE_GONE, PAIR, view(OPEN, SHOWN[1:]), POLICY),
    ("classic_instance", reasons.CLASSIC_NETWORK, PAIR, view(OPEN, [SHOWN[0], instance(B, DB, vpc="")]), POLICY),
    ("own_groups_not_found", reasons.PEER_NOT_FOUND, PAIR, view(OPEN[:1], SHOWN), POLICY),
    ("no_group_takes_rules", reasons.MANAGED_GROUP, PAIR, view([OPEN[0], group(DB, managed=True)], SHOWN), POLICY),
    ("no_private_ip", reasons.NO_PRIVATE_IP, PAIR, view(OPEN, [instance(A, APP), SHOWN[1]]), POLICY),
    ("address_in_target_vpc", reasons.ADDRESS_CONFLICT, PAIR, far(taken_addresses={FAR: True}), POLICY),
    ("public_address", reasons.ADDRESS_CONFLICT, PAIR, view(OPEN, [instance(A, APP, ip="8.8.8.8"), SHOWN[1]]), POLICY),
    (
        "address_out_of_range",
        reasons.ADDRESS_CONFLICT,
        PAIR,
        view(OPEN, SHOWN),
        msgspec.structs.replace(POLICY, accounts={HOME: AccountPolicy("a", ranges=("10.9.0.0/16",))}),
    ),
    (
        "address_of_another",
        reasons.ADDRESS_CONFLICT,
        Link(C, B, PORTS),
        view(OPEN, [*SHOWN, instance(C, APP, ip="10.0.0.1")], [ours(K9, ends=(A, B))]),
        POLICY,
    ),
    ("group_full", reasons.QUOTA, GROUPS, view(OPEN, rules=FULL), POLICY),
    (
        "rules_full",
        reasons.QUOTA,
        GROUPS,
        view(OPEN, rules=[Rule(DB, f"sgr-{n}", None, "drop", 1) for n in range(1000)]),
        POLICY,
    ),
    (
        "description_full",
        reasons.QUOTA,
        Link(APP, DB, parse_ports("tcp/1+tcp/2")),
        view(OPEN, rules=[crowded()]),
        POLICY,
    ),
]
STRICT = {
    "never_allowed": {"never": (Never(Grantee(HOME, "sg-app"), Grantee(HOME, "*"), (), "never"),)},
    "mutual_not_allowed": {"deny": parse_ports("tcp/22")},
    "port_denied": {"deny": parse_ports("tcp/22")},
    "too_many_ports": {"limits": Limits(max_ports=1)},
    "port_span_too_wide": {"limits": Limits(max_port_span=2)},
}
ASKED_OF_WHO_ASKS = {"no_group_accepted", "PAUSED", "not_its_queue", "wrong_queue", "until_not_allowed"}
OF_LINKS_TOGETHER = {"id_of_a_shared_rule", "rule_of_another_group", "too_many_members", "isolated_group"}
each_denial = pytest.mark.parametrize(("name", "reason", "link", "snapshot", "rules"), CASES, ids=[c[0] for c in CASES])


def context(name: str, rules: Policy) -> Context:
    return Context(msgspec.structs.replace(rules, **STRICT.get(name, {})), REGION, NOW)


def plan(context: Context, link: Link, snapshot: Snapshot) -> tuple[Decision, ...]:
    desired_links = [DesiredLink(link, REQUEST)]
    return make_plan(snapshot, context, desired_links, may_lose=lambda *_: May.KEEP).decisions


@each_denial
def test_a_plan_denies_it(name: str, reason: Reason, link: Link, snapshot: Snapshot, rules: Policy) -> None:
    """For the same reason. What was not read is decided later, but for room, which the cloud then decides."""
    verdict = holders.evaluate(snapshot, context(name, rules), link, frozenset({REQUEST}))
    assert verdict.denial is not None
    assert verdict.denial.reason is reason
    answers = [d for d in plan(context(name, rules), link, snapshot) if d.link == link]
    if verdict.denial.waits is Waits.FOR_A_READ:
        assert answers == [] or not snapshot.rules
    else:
        assert [answer.denial for answer in answers] == [verdict.denial]


@each_denial
def test_it_fails_an_accept_test(name: str, reason: Reason, link: Link, snapshot: Snapshot, rules: Policy) -> None:
    """Where nothing can be said, neither that nor a deny test passes."""
    under = context(name, rules)
    source, target = (Grantee(party.account, party.id) for party in (link.source, link.target))
    tests = (PolicyTest(source, accept=((target, link.ports),), deny=((target, link.ports),)),)
    under = msgspec.structs.replace(under, policy=msgspec.structs.replace(under.policy, tests=tests))
    accepting, denying = live_tests.judge(SavedView(snapshot), under)
    verdict = policy_tests.PolicyVerdict
    undecided = reason.kind is reasons.Kind.UNDECIDED
    assert accepting.verdict is (verdict.OPEN if undecided else verdict.DENIED)
    assert (denying.verdict is verdict.OPEN) >= undecided


class Read(SavedView):
    """What `explain` has read."""

    def __init__(self, snapshot: Snapshot, policy: Policy) -> None:
        super().__init__(snapshot)
        self.policy = policy


def advice(name: str, link: Link, snapshot: Snapshot, rules: Policy) -> list[Advice]:
    """What is advised about packets that no ingress rule admits."""
    closed = view([group(APP), group(DB), group(CACHE)])
    start, end = (end_of_party(closed, party) for party in (APP, DB))
    assert start is not None
    assert end is not None
    reach = Reach(between(closed, start, end, PORTS), 1, 0, (link.source, link.target))
    read: Any = Read(snapshot, context(name, rules).policy)
    return Adviser(read, REGION, NOW).advise(link.source, link.target, link.ports or (ALL,), reach)


@each_denial
def test_explain_does_not_recommend_it(
    name: str, reason: Reason, link: Link, snapshot: Snapshot, rules: Policy
) -> None:
    """It says what denies the link; where its owners can resolve that, first what they do."""
    advice_lines = advice(name, link, snapshot, rules)
    asks = [line.command.startswith("link-peer request link") for line in advice_lines]
    assert asks == ([False, True] if name in ("locked", "no_consent") else [False])


def test_explain_recommends_what_would_be_granted() -> None:
    advice_lines = advice("", GROUPS, view(OPEN), POLICY)
    assert [line.command.partition(" --")[0] for line in advice_lines] == ["link-peer request link"]


def test_explain_recommends_no_consent_to_what_is_then_denied() -> None:
    """Consent would not help: the group is full."""
    advice_lines = advice("", GROUPS, view([group(APP), group(DB)], rules=FULL), POLICY)
    assert [line.reason.partition(":")[0] for line in advice_lines] == ["no link can open it"]


def test_explain_advises_about_the_groups_that_were_read() -> None:
    """Of two that are in common, and of those of the other end."""
    hidden = Party(HOME, "sg-aaa")
    members = [instance(A, hidden, CACHE, APP, ip="10.0.0.1"), instance(B, hidden, APP, ip="10.0.0.2")]
    read: Any = Read(view([group(APP), group(CACHE, vpc="vpc-2")], members), POLICY)
    adviser = Adviser(read, REGION, NOW)
    assert [each.reason.partition(" ")[0] for each in adviser._isolated(A, B)] == [str(APP)]
    assert adviser._groups_of(A, B) == [APP]


def test_every_denial_of_a_link_is_tried() -> None:
    """All that the modules of the verdict name, but for those that depend on who asks."""
    names = {
        node.attr
        for module in (acceptance, single_link, holders, answers, writing, consent, guardrails, room, authority)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "denials"
    }
    # of a link by address, which no person asks for; adds to a denial; of what stands for a link that is denied
    of_one_part = {"left_group", "among", "half_of_denied"}
    assert (
        names - {"NO_ROUTE", "Unaccepted", "Candidate"} - of_one_part
        == {name for name, *_ in CASES} | ASKED_OF_WHO_ASKS | OF_LINKS_TOGETHER
    )
