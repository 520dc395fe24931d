"""The links that stand, with what people ask of them, and the state of each."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain.denials import UNWANTED
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import TAG, Claim, Party, Rule, RuleKey, Traffic
from link_peer.domain.policy import Allow, Limits, Pause
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import Grantee, compact, iso
from link_peer.planning.actual import owned_rules
from link_peer.planning.rota import AT_ONCE
from link_peer.planning.sweep import next_sweep
from link_peer.views.reach import Scene
from link_peer.views.standing import Going, Standing, Wishes, admitted, removal_reasons, standing, state_of, sweep_of

from tests.unit.small_world import APP, DB, HOME, NOW, PEER, POLICY, REGION, A, B
from tests.unit.snapshots import instance, key, managed, ours, policy, theirs, view

C = Party(HOME, "i-c")
REQ = Claim("chg-1")
SQL = key(DB, APP, "tcp/3306")
WEB = key(DB, APP, "tcp/80")
THERE, BACK = key(DB, APP), key(APP, DB)
OPEN = [managed(APP, "*"), managed(DB, "*")]
BOTH = [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
IN_AN_HOUR, IN_A_DAY = int(NOW) + 3600, int(NOW) + 86_400
COMPACT = {end: compact(end) for end in (IN_AN_HOUR, IN_A_DAY)}


def stand(snapshot: Snapshot, **changes: Any) -> list[Standing]:
    return standing(snapshot, policy(**changes), REGION, NOW)


def links(snapshot: Snapshot, **changes: Any) -> list[Standing]:
    """The links that stand, with what the next sweep removes by itself."""
    return standing(snapshot, policy(**changes), REGION, NOW, going=causes(snapshot, **changes))


def causes(snapshot: Snapshot, **changes: Any) -> Going:
    """Why the next sweep removes rules."""
    rules = policy(**changes)
    return removal_reasons(next_sweep(snapshot, rules, REGION, NOW), rules)


def state(snapshot: Snapshot, **changes: Any) -> tuple[str, str]:
    """The state of the one link that stands, and what decides it."""
    [link] = links(snapshot, **changes)
    return state_of(Scene(snapshot), link)


def drop(rule_key: Any) -> Rule:
    return theirs(rule_key, act="drop", priority=1)


# links


def test_rules_of_one_pair_with_the_same_claims_are_one_link() -> None:
    """Its age is that of its oldest rule; its claims are in order."""
    [link] = stand(view(OPEN, BOTH, [ours(SQL, REQ, age=60), ours(WEB, REQ, age=600)]))
    assert (link.source, link.target, [str(port) for port in link.ports]) == (APP, DB, ["tcp/3306", "tcp/80"])
    assert (link.claims, link.requests, link.ports_text) == ((REQ,), ("chg-1",), "tcp/3306+tcp/80")
    assert (link.since, link.deployment, stand(view(OPEN, BOTH, [ours(SQL)]))[0].since) == (NOW - 600, "prod", None)
    [again] = standing(
        view(OPEN, BOTH), POLICY, REGION, NOW, owned_rules(view(OPEN, BOTH, [ours(SQL)]), POLICY, REGION)
    )
    assert (again.source, again.requests) == (APP, ())
    assert len(stand(view(OPEN, BOTH, [ours(SQL, REQ), ours(WEB, TAG)]))) == 2


@pytest.mark.parametrize(("rules", "half"), [([THERE, BACK], None), ([THERE], APP), ([BACK], DB)])
def test_both_rules_of_a_mutual_link_are_one_and_the_party_without_its_rule_is_named(
    rules: list[Any], half: Party | None
) -> None:
    """Whatever their claims are: what holds one side holds the link."""
    rules_found = [ours(rule, claim) for rule, claim in zip(rules, (TAG, REQ), strict=False)]
    [link] = stand(view(OPEN, BOTH, rules_found))
    assert (link.mutual, link.half, link.ports_text) == (True, half, "mutual")


def test_a_link_is_between_two_sets_if_each_has_one_end() -> None:
    """In either direction; one end in both is not enough."""
    [link] = stand(view(OPEN, BOTH, [ours(SQL, REQ)]))
    foreign_parties = frozenset({Party(PEER, "sg-x")})
    app, db = frozenset({APP}), frozenset({DB})
    assert [link.between(ends) for ends in ((app, db), (db, app))] == [True, True]
    assert [
        link.between(ends)
        for ends in ((app, foreign_parties), (foreign_parties, db), (db, foreign_parties), (foreign_parties, app))
    ] == [False] * 4


def test_a_link_by_address_names_the_instances_that_it_admits() -> None:
    """Each rule is for one; the link is that of their group."""
    rules = [
        ours(RuleKey(DB, f"{ip}/32", "", SQL.port), REQ, ends=(member, APP))
        for ip, member in (("10.0.0.1", A), ("10.0.0.3", C))
    ]
    members = [*BOTH, instance(C, APP, ip="10.0.0.3")]
    [link] = stand(view([managed(APP, "*"), managed(DB, A.id)], members, rules))
    assert (link.source, link.target, link.members, link.written) == (APP, DB, (A, C), "by address")
    assert admitted(Scene(view(OPEN, members)), link) == 2
    assert link.consent == (f"{DB} link-accept={A.id}",)
    assert stand(view(OPEN, BOTH, [ours(SQL, REQ)]))[0].written == "by reference"


def test_each_instance_of_a_link_by_address_has_an_end_of_its_own() -> None:
    """The link's is the first. A request's link is for the whole group, a tag's for those that ask."""
    text, end = f"{DB.id}:tcp/3306", iso(IN_AN_HOUR)
    members = [
        instance(A, APP, ip="10.0.0.1", link_peer=text, link_until=end),
        instance(C, APP, ip="10.0.0.3", link_peer=text),
    ]
    keys = [RuleKey(DB, f"{member.ip}/32", "", SQL.port) for member in members]
    rules = [ours(rule, TAG, ends=(member.party, APP)) for rule, member in zip(keys, members, strict=True)]
    [link] = stand(view(OPEN, [*members, BOTH[1]], rules))
    assert (link.until, link.askers) == (IN_AN_HOUR, (A, C))
    for claim, word in ((TAG, "open"), (REQ, "partly")):
        snapshot = view(OPEN, [*members, BOTH[1]], [ours(keys[0], claim, ends=(A, APP))])
        [standing_link] = stand(snapshot)
        assert (state_of(Scene(snapshot), standing_link)[0], standing_link.members) == (word, (A,))


@pytest.mark.parametrize(
    ("claims", "tags", "until"),
    [
        ([Claim("a", IN_AN_HOUR)], {}, IN_AN_HOUR),
        ([Claim("a", IN_AN_HOUR), Claim("b", IN_A_DAY)], {}, IN_A_DAY),
        ([Claim("a", IN_AN_HOUR), Claim("b")], {}, None),
        ([TAG], {}, None),
        ([TAG], {"link_until": iso(IN_AN_HOUR)}, IN_AN_HOUR),
        ([TAG, Claim("a", IN_A_DAY)], {"link_until": iso(IN_AN_HOUR)}, IN_A_DAY),
        ([TAG], {"link_until": "tomorrow"}, None),
    ],
)
def test_a_link_ends_with_the_last_of_its_claims(claims: list[Claim], tags: dict[str, str], until: int | None) -> None:
    """A tag's claim ends with the last instance that asks, and need not where its end cannot be read."""
    asking = instance(A, APP, link_peer=f"{DB.id}:tcp/3306", **tags)
    [link] = stand(view(OPEN, [asking], [ours(SQL, *claims)]))
    assert link.until == until


@pytest.mark.parametrize("passed", [1, 0])
def test_an_end_that_has_passed_is_still_the_end_of_the_link(passed: int) -> None:
    """Of consent, and of the instances that asked: the last one; what has not ended counts first."""
    ended = int(NOW) - passed
    over = compact(ended)
    entries = f"{APP.id}:tcp/3306~{over} {APP.id}:tcp/1-9000~{compact(ended - 60)}"
    [link] = stand(view([managed(APP), managed(DB, entries)], BOTH, [ours(SQL, REQ)]))
    assert (link.consent, link.until) == ((), ended)
    [link] = stand(view([managed(APP), managed(DB, f"{entries} {APP.id}")], BOTH, [ours(SQL, REQ)]))
    assert (len(link.consent), link.until) == (1, None)
    former = [
        instance(party, APP, link_peer=f"{DB.id}:tcp/3306", link_until=iso(ended - n * 60))
        for n, party in enumerate((A, C))
    ]
    [link] = stand(view(OPEN, [*former, BOTH[1]], [ours(SQL, TAG)]))
    assert (link.askers, link.until) == ((), ended)
    asking = instance(A, APP, link_peer=f"{DB.id}:tcp/3306")
    [link] = stand(view(OPEN, [asking, former[1], BOTH[1]], [ours(SQL, TAG)]))
    assert (link.askers, link.until) == ((A,), None)


def test_only_a_link_with_a_tags_claim_has_instances_that_ask() -> None:
    """Those whose tags ask for it, or for a part of it; for a mutual link, of either side."""
    asking = instance(A, APP, link_peer=f"{DB.id}:tcp/3306+tcp/1")
    back = instance(B, DB, link_peer=APP.id)
    snapshot = view(OPEN, [asking, back], [ours(SQL, TAG)])
    for claims in ((TAG,), (TAG, REQ)):
        assert [link.askers for link in stand(view(OPEN, [asking, back], [ours(SQL, *claims)]))] == [(A,)]
    assert [link.askers for link in stand(view(OPEN, [asking], [ours(SQL, REQ)]))] == [()]
    assert [link.askers for link in stand(view(OPEN, [back], [ours(THERE), ours(BACK)]))] == [(B,)]
    denied = instance(A, APP, link_peer=f"x {DB.id}:tcp/3306")
    first_only = policy(limits=Limits(max_peers=1))
    assert Wishes(view(OPEN, [denied]), POLICY, NOW).for_link(APP, DB, (SQL.port,)) == [denied]
    assert Wishes(view(OPEN, [denied]), first_only, NOW).for_link(APP, DB, (SQL.port,)) == []
    wishes = Wishes(snapshot, POLICY, NOW)
    assert wishes.for_link(APP, DB, (WEB.port,)) == []
    for ends in ((DB, APP), (APP, DB)):  # it asks for everything, both ways
        assert [instance_asking.party for instance_asking in wishes.for_link(*ends, (THERE.port,))] == [B]


def test_the_consent_of_a_link_is_what_covers_it_now_and_its_first_end() -> None:
    """Entries of tags and of the policy, with the label that records have."""
    text = f"{APP.id}:tcp/3306~{COMPACT[IN_A_DAY]}"
    groups = [managed(APP), managed(DB, text)]
    [link] = stand(view(groups, BOTH, [ours(SQL, REQ)]))
    assert (link.consent, link.until) == ((f"{DB} link-accept={text}",), IN_A_DAY)
    allow = Allow(Grantee(HOME, "*"), Grantee(HOME, DB.id), (), "all to db", until=IN_AN_HOUR)
    [link] = stand(view([managed(APP), managed(DB)], BOTH, [ours(SQL, REQ)]), allow=(allow,))
    assert (link.consent, link.until) == (("policy allow all to db",), IN_AN_HOUR)
    [link] = stand(view([managed(APP), managed(DB)], BOTH, [ours(SQL, REQ)]))
    assert (link.consent, link.until) == ((), None)
    [link] = stand(view([managed(DB, "*")], BOTH, [ours(BACK, REQ), ours(THERE, REQ)]))
    assert link.consent == (f"{DB} link-accept=*",)  # the other side was not read
    two = f"{APP.id}:tcp/3306~{COMPACT[IN_A_DAY]} {APP.id}:tcp/80~{COMPACT[IN_AN_HOUR]}"
    [link] = stand(view([managed(APP), managed(DB, two)], BOTH, [ours(SQL, REQ), ours(WEB, REQ)]))
    assert link.until == IN_AN_HOUR


# states


@pytest.mark.parametrize(
    ("rules", "word"),
    [
        ([ours(SQL, REQ), ours(WEB, REQ)], "open"),
        ([ours(SQL, REQ), ours(WEB, REQ), drop(WEB)], "partly"),
        ([ours(SQL, REQ), drop(SQL)], "blocked"),
        ([ours(THERE, REQ), ours(BACK, REQ)], "open"),
        ([ours(THERE, REQ), ours(BACK, REQ), drop(BACK)], "partly"),
        ([ours(THERE, REQ), ours(BACK, REQ), drop(THERE)], "partly"),
        ([ours(THERE, REQ), ours(BACK, REQ), drop(BACK), drop(THERE)], "blocked"),
        ([ours(THERE, REQ, age=60)], "half-open"),
        ([ours(THERE, REQ)], "closing"),
    ],
)
def test_what_passes_decides_about_a_link_that_stays(rules: list[Rule], word: str) -> None:
    """All, some or none of its packets, in both directions of a mutual link. Half of a request's goes once it is old
    enough."""
    assert state(view(OPEN, BOTH, rules))[0] == word


def test_what_was_not_read_leaves_it_open_unless_something_passes() -> None:
    """The rules of another group of the source, which may drop what goes out and what comes back."""
    elsewhere = instance(A, APP, Party(HOME, "sg-unread"), ip="10.0.0.1")
    link_state = state(view(OPEN, [elsewhere, BOTH[1]], [ours(SQL, REQ)]))
    assert (link_state[0], "sg-unread" in link_state[1]) == ("unknown", True)
    one_side = [ours(THERE, REQ), ours(BACK, REQ), drop(THERE)]
    assert state(view(OPEN, [elsewhere, BOTH[1]], one_side))[0] == "unknown"
    unread = Rule(DB, "sgr-list", None, "drop", 1, unmanaged_traffic=Traffic("ingress", "", "", THERE.port))
    assert state(view(OPEN, BOTH, [ours(THERE, REQ), ours(BACK, REQ), unread]))[0] == "unknown"
    instances = [elsewhere, instance(Party(HOME, "i-c"), APP, ip="10.0.0.3"), BOTH[1]]
    assert state(view(OPEN, instances, [ours(THERE, REQ), ours(BACK, REQ), drop(BACK)]))[0] == "partly"
    assert state(view(OPEN, [], [ours(THERE, REQ), ours(BACK, REQ), drop(BACK)]))[0] == "partly"
    partly = [ours(SQL, REQ), ours(WEB, REQ), drop(WEB)]
    assert state(view(OPEN, BOTH, partly))[1].endswith("tcp/3306 passes")


@pytest.mark.parametrize(
    ("groups", "claim", "changes"),
    [
        ([managed(APP), managed(DB, "*", lock=True)], REQ, {}),
        ([managed(APP), managed(DB)], REQ, {}),
        ([managed(APP), managed(DB, "*")], Claim("chg-1", int(NOW) - 1), {}),
        ([managed(APP), managed(DB, "*")], TAG, {}),
        ([managed(APP), managed(DB, "*")], REQ, {"deny": (SQL.port,)}),
    ],
    ids=["locked", "no consent", "ended", "nobody asks", "policy"],
)
def test_a_link_that_the_next_sweep_removes_is_closing(groups: Any, claim: Claim, changes: dict[str, Any]) -> None:
    """Whatever becomes of its packets until then; the detail is the cause."""
    link_state = state(view(groups, BOTH, [ours(SQL, claim)]), **changes)
    assert link_state[0] == "closing"
    assert link_state[1]


@pytest.mark.parametrize("kept_ports", ["tcp/3306", "tcp/80"])
def test_a_rule_that_goes_alone_is_a_link_of_its_own(kept_ports: str) -> None:
    """One port of a request lost its consent; the other has it."""
    snapshot = view([managed(APP), managed(DB, f"{APP.id}:{kept_ports}")], BOTH, [ours(SQL, REQ), ours(WEB, REQ)])
    state_by_ports = {link.ports_text: state_of(Scene(snapshot), link)[0] for link in links(snapshot)}
    assert state_by_ports == {kept_ports: "open", ({"tcp/3306", "tcp/80"} - {kept_ports}).pop(): "closing"}


def test_a_link_that_the_next_sweep_takes_one_of_two_claims_from_stays_open() -> None:
    assert state(view(OPEN, BOTH, [ours(SQL, TAG, REQ)]))[0] == "open"


@pytest.mark.parametrize("accounts", [AT_ONCE, AT_ONCE + 1])
@pytest.mark.parametrize("is_tagged", [True, False])
def test_what_nobody_asks_for_goes_with_a_full_sweep_of_many_accounts(accounts: int, is_tagged: bool) -> None:
    """What lost its consent goes with any. Up to 42 accounts have a full sweep at each run."""
    many = {**POLICY.accounts, **{str(10**15 + n): POLICY.accounts[PEER] for n in range(3, accounts + 1)}}
    groups = [managed(APP), managed(DB)] if is_tagged else OPEN
    asks = [instance(A, APP, ip="10.0.0.1", tags={"link-peer": "sg-db:tcp/3306"})] if is_tagged else BOTH
    word, detail = state(view(groups, asks, [ours(SQL, TAG)]), accounts=many)
    full = accounts > AT_ONCE and not is_tagged
    assert (word, sweep_of(detail)) == ("closing", "next full sweep" if full else "next sweep")
    assert ("full sweep" in detail) == full


def test_half_of_a_link_between_instances_is_named_by_its_instance() -> None:
    """The rule is on the group of the instance that it opens."""
    rule = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", THERE.port)
    [link] = stand(view(OPEN, BOTH, [ours(rule, REQ, ends=(A, B))]))
    assert (link.source, link.target, link.half, link.written) == (A, B, A, "between instances")


def test_the_instances_that_a_link_admits_are_counted_where_all_were_read() -> None:
    """Of a mutual link those of both sides."""
    scene = Scene(view(OPEN, [*BOTH, instance(Party(HOME, "i-c"), APP)], [ours(SQL)]))
    assert admitted(scene, Standing(APP, DB, (SQL.port,), (), ())) == 2
    assert admitted(scene, Standing(APP, DB, (THERE.port,), (), ())) == 3
    half = Scene(view(OPEN, BOTH, whole_accounts=frozenset(), complete_groups=frozenset({APP})))
    assert admitted(half, Standing(APP, DB, (SQL.port,), (), ())) == 1
    assert admitted(half, Standing(APP, DB, (THERE.port,), (), ())) is None
    unread = Scene(view(OPEN, BOTH, whole_accounts=frozenset()))
    assert admitted(unread, Standing(APP, DB, (SQL.port,), (), ())) is None


def test_a_link_to_an_instance_that_is_gone_counts_among_removals() -> None:
    """Whether they are too many is known once every rule was read."""
    rule = RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", SQL.port)
    snapshot = view(OPEN, BOTH[:1], [ours(rule, TAG, ends=(A, B))], requested={APP, DB, A, B})
    assert state(snapshot)[0] == "closing"
    assert next_sweep(snapshot, POLICY, REGION, NOW).due
    assert not next_sweep(view(OPEN, BOTH), POLICY, REGION, NOW).due
    assert [len(causes(snapshot, limits=Limits(removals_per_run=n))) for n in (0, 1)] == [0, 1]
    silent = next_sweep(msgspec.structs.replace(snapshot, live_accounts=frozenset()), POLICY, REGION, NOW)
    assert (silent.decisions, silent.due, silent.missing.doubted_accounts) == ((), {}, {HOME})


def test_a_rule_that_keeps_a_claim_is_not_closing() -> None:
    """Nor one that only a side asks for which refuses the person's keys: those of the functions may be let in."""
    ended, far = Claim("chg-9", int(NOW)), Party(PEER, "sg-x")
    rules = [ours(SQL, ended), ours(WEB, ended, REQ), ours(THERE), ours(BACK, ended, TAG)]
    assert causes(view(OPEN, BOTH, rules)) == {
        (DB, rules[0].id): "the link has ended (of chg-9)",
        (DB, rules[2].id): UNWANTED.detail,
        (APP, rules[3].id): "the link has ended (of chg-9)",
    }
    hidden = view([managed(APP, f"*@{PEER}")], [instance(A, APP, link_peer="i-b")], [ours(key(APP, far))])
    refused = {PEER: NoAccess("NoPermission", "no")}
    assert causes(hidden) != {}
    assert causes(msgspec.structs.replace(hidden, refused_accounts=refused)) == {}


def test_what_was_not_read_completely_is_not_closing() -> None:
    """Nobody was seen to ask, but not every instance was read. What its group no longer allows is closing all the
    same."""
    parts: dict[str, Any] = {"whole_accounts": frozenset(), "complete_groups": frozenset()}
    assert state(view(OPEN, BOTH, [ours(SQL, TAG)], **parts))[0] == "open"
    assert state(view([managed(APP), managed(DB)], BOTH, [ours(SQL, TAG)], **parts))[0] == "closing"
    parts["complete_groups"] = frozenset({APP})
    assert state(view(OPEN, BOTH, [ours(SQL, TAG)], **parts))[0] == "closing"


def test_half_of_a_link_to_what_was_not_read_is_unknown() -> None:
    """Its other rule may stand there."""
    groups = [managed(APP, "*", rule_count=-1), managed(DB, "*")]
    snapshot = msgspec.structs.replace(view(groups, BOTH), rules={DB: (ours(THERE, REQ),)})
    assert state(snapshot)[0] == "unknown"


def test_nothing_is_closing_while_the_policy_is_paused() -> None:
    """A sweep removes nothing then."""
    snapshot = view([managed(APP), managed(DB)], BOTH, [ours(SQL, REQ)])
    assert [state(snapshot)[0], state(snapshot, paused=Pause.ALL)[0], state(snapshot, paused=Pause.OPENING)[0]] == [
        "closing",
        "open",
        "closing",
    ]
