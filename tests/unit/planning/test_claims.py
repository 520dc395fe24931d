"""What the tags of instances ask for, and which group represents an instance."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain import reasons
from link_peer.domain.denials import Denial, unreadable
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import ALL, TAG, Claim, Instance, Link, Party, Port, RuleKey
from link_peer.domain.policy import Limits
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_port, parse_ports
from link_peer.planning.claims import (
    FOLLOWING,
    candidates,
    choice_note,
    choose,
    ended_meanwhile,
    followed,
    links_from_tags,
    sources_of,
    wanted_by_all,
)
from link_peer.planning.decision import DesiredLink, MembersOf, Verdict
from link_peer.planning.sweep import next_sweep

from tests.unit.planning.test_plan import plan
from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, REGION, A, B
from tests.unit.snapshots import group, instance, ours, policy, view

LEDGER, OTHER = Party(PEER, "sg-ledger"), Party(HOME, "sg-other")


def claims(snapshot: Snapshot, *groups: Party, max_peers: int = 50, **tags: str) -> list[DesiredLink]:
    links = links_from_tags(snapshot, instance(A, *groups, **tags), NOW, policy(limits=Limits(max_peers=max_peers)))
    assert all(claim.claim == TAG and claim.instance == A for claim in links)
    return links


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
        ([ADVANCED], ADVANCED),  # by address
        ([MANAGED], None),
        ([CLASSIC], None),
        ([Party(HOME, "sg-unseen")], None),
        ([], None),
    ],
)
def test_the_first_suitable_group_represents_the_instance(groups: list[Party], chosen: Party | None) -> None:
    """In the API's order: not managed, and where a rule can name some, these: basic, in the VPC of the peer (cache, in
    vpc-1)."""
    assert next(iter(candidates(view(GROUPS), instance(A, *groups), group(CACHE))), None) == chosen


@pytest.mark.parametrize(
    ("groups", "classic", "reason", "named_party"),
    [
        ([MANAGED], False, "managed-group", "sg-managed"),
        ([MANAGED, CLASSIC], False, "classic-network", "i-a"),
        ([Party(HOME, "sg-unseen")], True, "classic-network", "i-a"),
        ([Party(HOME, "sg-unseen")], False, "peer-not-found", "(sg-unseen)"),
        ([], False, "peer-not-found", "(none)"),
    ],
)
def test_without_a_suitable_group_the_link_is_denied(
    groups: list[Party], classic: bool, reason: str, named_party: str
) -> None:
    """Groups that the cloud does not show are named. There is no pair to look at."""
    asker = msgspec.structs.replace(instance(A, *groups, link_peer="sg-cache"), classic=classic)
    (claim,) = links_from_tags(view(GROUPS), asker, NOW, policy())
    assert claim.denial is not None
    assert (claim.denial.reason.code, named_party in claim.denial.detail, claim.has_pair) == (reason, True, False)


# consent chooses

WISHED = parse_ports("tcp/1")


@pytest.mark.parametrize(
    ("accepts", "fields", "chosen", "passed", "denied", "candidates"),
    [
        ("*", {}, APP, [], [], []),
        ("sg-app", {}, APP, [], [], []),
        ("sg-db", {}, DB, [APP], [], []),
        ("sg-other", {}, OTHER, [APP, DB], [], []),
        ("sg-other sg-db", {}, DB, [APP], [], []),
        ("sg-db:tcp/2 sg-other:tcp/1", {}, OTHER, [APP, DB], [], []),
        ("", {}, APP, [], [APP, DB, OTHER], []),
        ("*", {"refused_accounts": {HOME: NoAccess("No", "no")}}, APP, [], [], [DB, OTHER]),
        ("sg-db", {"failed_accounts": {HOME: "timeout"}}, APP, [], [], [DB, OTHER]),
    ],
)
def test_the_first_group_whose_consent_covers_the_link_stands_for_the_instance(
    accepts: str,
    fields: dict[str, Any],
    chosen: Party,
    passed: list[Party],
    denied: list[Party],
    candidates: list[Party],
) -> None:
    """Of app, db and other. Where no account says what is accepted, what stands for a later group is kept, and not
    opened."""
    snapshot = view([group(APP), group(DB), group(OTHER), group(CACHE, accepts)], **fields)
    first, *later_claims = claims(snapshot, APP, DB, OTHER, link_peer="sg-cache:tcp/1")
    assert first.link == Link(chosen, CACHE, WISHED)
    assert [[verdict.link.source for verdict in verdicts] for verdicts in (first.passed, first.denied)] == [
        passed,
        denied,
    ]
    assert [claim.link.source for claim in later_claims] == candidates
    assert not any(claim.opens or claim.in_scope or claim.has_pair for claim in later_claims)
    note = choice_note(snapshot, first)
    for party in (*passed, *denied):
        assert (
            f"{CACHE} has not accepted {party} on tcp/1" in note or str(party) in note.partition("smallest first: ")[2]
        )
    assert note.startswith(f"{chosen} stands for {A}, since ") if passed else bool(note) == bool(denied)


@pytest.mark.parametrize("in_scope", [True, False])
def test_the_instances_of_groups_are_counted_for_what_is_answered(in_scope: bool) -> None:
    """The denial names those that were not counted last."""
    asker = instance(A, APP, DB, link_peer="sg-cache:tcp/1")
    snapshot = view([group(APP), group(DB), group(CACHE)], [asker])
    wishes = [
        msgspec.structs.replace(wish, in_scope=in_scope) for wish in links_from_tags(snapshot, asker, NOW, policy())
    ]
    assert plan(snapshot, *wishes).missing.questions == ({MembersOf(APP), MembersOf(DB)} if in_scope else set())
    counts: list[dict[Party, int]] = [{APP: 100}, {DB: 1, APP: 2}]
    planned_decisions = [plan(msgspec.structs.replace(snapshot, counted=count), *wishes).decisions for count in counts]
    listed_names = [
        decision.denial.detail.partition("smallest first: ")[2]
        for decisions in planned_decisions
        for decision in decisions
    ]
    assert (
        listed_names
        == [
            f"{APP} (100 instances or more), {DB} (instances not counted)",
            f"{DB} (1 instance), {APP} (2 instances)",
        ][: 2 * in_scope]
    )


CANDIDATES = [Link(source, CACHE, WISHED) for source in (APP, DB, OTHER)]
ANSWERS = {
    "granted": None,
    "unread": unreadable(HOME, "timeout"),
    "no consent": Denial(reasons.NO_CONSENT, "", owners=True, lacks_consent=True),
    "locked": Denial(reasons.LOCKED, "", owners=True),
    "final": Denial(reasons.ADDRESS_CONFLICT, ""),
}


@pytest.mark.parametrize(
    ("answers", "chosen", "passed", "denied", "kept_count"),
    [
        (["granted", "granted", "final"], 0, 0, 0, 0),
        (["no consent", "granted", "final"], 1, 1, 0, 0),
        (["no consent", "unread", "granted"], 1, 1, 0, 1),
        (["final", "no consent", "granted"], 2, 2, 0, 0),
        (["no consent", "final", "final"], 1, 0, 0, 0),
        (["locked", "locked", "final"], 2, 0, 0, 0),
        (["locked", "no consent", "locked"], 0, 0, 3, 0),
        (["locked", "locked", "locked"], 0, 0, 0, 0),
    ],
)
def test_the_table_of_choices(answers: list[str], chosen: int, passed: int, denied: int, kept_count: int) -> None:
    """How many are passed over, denied together, and kept. The only one is not judged."""
    verdicts = {link: Verdict(link, denial=ANSWERS[answer]) for link, answer in zip(CANDIDATES, answers, strict=True)}
    choice = choose(CANDIDATES, verdicts.__getitem__)
    assert choice.link == CANDIDATES[chosen]
    assert choice.passed == tuple(verdicts.values())[:passed]
    assert choice.denied == tuple(verdicts.values())[:denied]
    assert choice.possible_links == tuple(CANDIDATES[len(CANDIDATES) - kept_count :])
    assert choose(CANDIDATES[:1], {}.__getitem__).link == CANDIDATES[0]


# what tags ask for


@pytest.mark.parametrize(
    ("peer", "link"),
    [
        ("sg-db", Link(APP, DB)),
        ("sg-db:tcp/1", Link(APP, DB, parse_ports("tcp/1"))),
        (f"sg-db@{HOME}", Link(APP, DB)),
        (f"sg-ledger@{PEER}:icmp", Link(APP, LEDGER, parse_ports("icmp"))),
        (f"sg-app@{PEER}", Link(APP, Party(PEER, "sg-app"))),  # not its own group
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


@pytest.mark.parametrize(
    ("limit", "denied"), [(4, []), (3, ["sg-cache"]), (1, ["sg-DB", "sg-db", "sg-cache"])], ids=["all", "three", "one"]
)
def test_peers_beyond_the_limit_are_denied(limit: int, denied: list[str]) -> None:
    """In order of tag key and position; a peer that cannot be parsed has a place too, and keeps its own denial."""
    links = claims(view(GROUPS), APP, max_peers=limit, **{"link-peer": "i-b sg-DB", "link-peer.2": "sg-db,sg-cache"})
    assert [claim.raw or claim.link.target.id for claim in links] == ["i-b", "sg-DB", "sg-db", "sg-cache"]
    beyond = [claim for claim in links if code(claim) == "not-allowed"]
    assert [claim.link.target.id for claim in beyond] == [name for name in denied if name != "sg-DB"]
    assert code(links[1]) == "bad-tag"
    assert all(claim.denial is not None and f"may name {limit} peers" in claim.denial.detail for claim in beyond)
    assert [claim.has_pair for claim in links] == [claim not in beyond for claim in links]


def test_the_own_group_of_an_instance_needs_no_rule_so_that_no_limit_and_no_end_denies_it() -> None:
    """Nor one that cannot be parsed."""
    links = claims(view(GROUPS), APP, max_peers=1, link_peer="i-b sg-app i-a", link_until="whenever")
    assert [(code(claim), claim.same_group) for claim in links] == [("bad-tag", False), (None, True), (None, True)]


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


def test_few_instances_are_looked_at_for_the_rules_of_one_group() -> None:
    """Whoever may write rules there can name a large group in each, and many requests: every rule is kept all the
    same."""
    members = [instance(Party(HOME, f"i-{n}"), APP, ip=f"10.0.{n // 250}.{n % 250 + 1}") for n in range(300)]
    claims = [Claim(f"r{n}") for n in range(5)]
    keys = [RuleKey(DB, "10.0.0.1/32", "", Port("tcp", n, n)) for n in range(1, 11)]
    rules = [ours(key, *claims, ends=(members[0].party, APP)) for key in keys]
    rules += [ours(RuleKey(DB, "10.0.0.2/32", "", keys[0].port), Claim("r0", 1), ends=(members[1].party, APP))]
    groups = [group(APP), group(DB, "*", advanced=True)]
    snapshot = view(groups, members, rules)
    assert FOLLOWING == len(followed(snapshot, policy(), REGION)) == 2_000
    assert not any(decision.removals for decision in next_sweep(snapshot, policy(), REGION, NOW).decisions)


@pytest.mark.parametrize("is_shown", [True, False])
@pytest.mark.parametrize("port", ["tcp/1", "all"])
def test_no_forged_rule_by_address_is_followed_where_a_rule_can_name_the_group(port: str, is_shown: bool) -> None:
    """Nor one on all ports. Where a group is not shown, what stands is kept."""
    rule_key = RuleKey(DB, "10.0.0.1/32", "", ALL if port == "all" else parse_port(port))
    rules = [ours(rule_key, Claim("r"), ends=(A, APP))]
    members = [instance(A, APP, ip="10.0.0.1"), instance(B, APP, ip="10.0.0.2")]
    wishes = followed(view([group(APP), group(DB)] if is_shown else [group(DB)], members, rules), policy(), REGION)
    assert {wish.link.member for wish in wishes} == (set() if is_shown else {"i-a", "i-b"})


def test_only_a_request_whose_claim_was_taken_still_brings_in_the_members_of_its_group() -> None:
    """A tag asks for its own instance alone."""
    link = Link(APP, DB, (parse_port("tcp/1"),))
    snapshot = view([group(APP, advanced=True), group(DB, "*", advanced=True)], [instance(A, APP, ip="10.0.0.1")])
    assert followed(snapshot, policy(), REGION, [(link, TAG)]) == []
    assert [wish.link.member for wish in followed(snapshot, policy(), REGION, [(link, Claim("r"))])] == ["i-a"]
    by_reference = msgspec.structs.replace(snapshot, groups={APP: group(APP), DB: group(DB, "*")})
    assert followed(by_reference, policy(), REGION, [(link, Claim("r"))]) == []


def test_all_wishes_are_those_of_tags_and_of_the_requests_on_rules() -> None:
    """A request's claim on a rule asks for nothing, whatever tag's claim is beside it. By address, it opens for all
    members of the group."""
    asker, member = instance(B, OTHER, MANAGED, ELSEWHERE, link_peer="sg-x"), instance(A, APP, ip="10.0.0.1")
    gone_party, peer = Party(HOME, "i-gone"), Party(HOME, "sg-x")
    mutual, ports, request = RuleKey(DB, str(CACHE), "", ALL), parse_ports("tcp/1+tcp/2"), Claim("r")
    rules = [ours(mutual, TAG, request), *(ours(RuleKey(DB, str(CACHE), "", port), request) for port in ports)]
    rules += [ours(RuleKey(DB, "10.0.0.9/32", "", ports[0]), TAG, request, ends=(gone_party, APP))]
    near = [group(party, "*", vpc="vpc-2") for party in (peer, ELSEWHERE)] + [group(OTHER, vpc="vpc-2")]
    snapshot = view([group(APP, advanced=True), group(DB, "*", advanced=True), *near], [asker, member], rules)
    wishes = {(wish.link, wish.claim, wish.opens) for wish in wanted_by_all(snapshot, policy(), REGION, NOW)}
    assert wishes == {
        (Link(ELSEWHERE, peer), TAG, True),
        (Link(APP, DB, ports[:1], "i-a"), request, True),
    }


@pytest.mark.parametrize(
    ("by", "ends", "put", "is_taken", "ended"),
    [
        ([], (A, APP), True, False, True),
        ([], (A, APP), False, False, False),
        ([], (A, APP), True, True, False),
        ([(B, APP)], (A, APP), True, False, False),  # another rule of the link stands
        ([(B, OTHER)], (A, APP), True, False, True),
        ([], (A, B), True, False, False),  # no link by address of a group
    ],
)
def test_what_joined_a_link_that_ended_meanwhile(
    by: list[tuple[Party, Party]], ends: tuple[Party, Party], put: bool, is_taken: bool, ended: bool
) -> None:
    """Of what a delivery has put on rules, the claims of requests; a tag asks for each instance by itself."""
    request, port = Claim("r"), parse_port("tcp/1")
    rule_key = RuleKey(DB, "10.0.0.1/32", "" if ends[1].is_group else "10.0.0.2/32", port)
    rules = [ours(rule_key, TAG, request, ends=ends)]
    rules += [ours(RuleKey(DB, "10.0.0.2/32", "", port), request, ends=end) for end in by]
    written = {(rule_key, TAG), (rule_key, request)} if put else set()
    gone_links = [(Link(APP, DB, (port,)), request)] if is_taken else []
    ended_claims = ended_meanwhile(view([group(DB)], rules=rules), policy(), REGION, written, gone_links)
    assert ended_claims == ({(rule_key, request)} if ended else set())


@pytest.mark.parametrize(
    ("asker", "pair", "sources"),
    [
        (instance(A, APP, CACHE, link_peer="sg-db"), Link(APP, DB), {APP, CACHE}),
        (instance(A, APP, CACHE, link_peer="sg-db"), Link(CACHE, DB), {APP, CACHE}),
        (instance(A, APP, CACHE, link_peer="sg-db"), Link(OTHER, DB), {OTHER}),
        (instance(A, APP, CACHE, link_peer="sg-db"), Link(APP, OTHER), {APP}),
        (instance(A, APP, CACHE, link_peer="i-b"), Link(A, B), {A}),
    ],
)
def test_a_look_at_a_pair_is_about_all_groups_of_who_asks(asker: Instance, pair: Link, sources: set[Party]) -> None:
    """A claim that is read from a rule, and who is not shown, say of no other group."""
    snapshot = view([group(APP), group(CACHE), group(DB)], [asker])
    wishes = [
        *links_from_tags(snapshot, asker, NOW, policy()),
        DesiredLink(pair, Claim("r")),
        DesiredLink(pair, TAG, B),
    ]
    assert sources_of(snapshot, wishes, pair) == sources
