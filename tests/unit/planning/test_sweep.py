"""What a sweep decides, of which accounts, and in which phase; and that one plan says what its phases come to."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from link_peer.domain.model import Claim, Link, Party, RuleKey
from link_peer.domain.policy import Pause
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.decision import Plan
from link_peer.planning.plan import make_plan
from link_peer.planning.removals import May
from link_peer.planning.sweep import WHOLE, Phase, SweepRemit, next_sweep

from tests.unit.planning.test_random_worlds import carried_out, some_world
from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, POLICY, REGION, A, B
from tests.unit.snapshots import instance, key, managed, ours, policy, view

FAR, FARTHER = Party(PEER, "sg-far"), Party(PEER, "sg-farther")
HERE = Phase(closes=False, judges=True)
UNREAD: dict[str, Any] = {"whole_accounts": frozenset(), "complete_groups": frozenset()}
GROUPS = [managed(party, "*") for party in (APP, DB, CACHE, FAR, FARTHER)]


def remit(phase: Phase = WHOLE, account: str = HOME, **fields: Any) -> SweepRemit:
    return SweepRemit(frozenset({account}), POLICY, REGION, NOW, phase, **fields)


def may(rule: RuleKey, phase: Phase, view_fields: dict[str, Any] | None = None, **fields: Any) -> May:
    """How far a sweep of home may take a claim from a rule of a group."""
    source, _, account = rule.source.partition("@")
    link = Link(Party(account, source), rule.group, () if rule.port.protocol == "all" else (rule.port,))
    whole = {"whole_accounts": frozenset({HOME, PEER}), **(view_fields or {})}
    return remit(phase, **fields).may_lose(view(GROUPS, **whole), ours(rule), link)


INTO_HOME, OUT = key(DB, FAR, "tcp/1"), key(FAR, DB, "tcp/1")


@pytest.mark.parametrize(
    ("rule", "phase", "how"),
    [
        (key(FAR, FARTHER, "tcp/1"), WHOLE, May.KEEP),  # between other accounts
        (key(FAR, FARTHER), Phase(), May.KEEP),
        (key(DB, APP, "tcp/1"), WHOLE, May.TAKE),
        (key(DB, APP, "tcp/1"), HERE, May.TAKE),
        (key(DB, APP, "tcp/1"), Phase(), May.CLOSE),  # wishes are not read yet
        (key(DB, APP, "tcp/1"), Phase(closes=False), May.CLOSE),  # a listing is under way
        (INTO_HOME, WHOLE, May.TAKE),
        (INTO_HOME, HERE, May.CLOSE),  # no other account is entered
        (OUT, WHOLE, May.CLOSE),  # the other account's own sweep judges who asks for it
        (key(FAR, DB), WHOLE, May.TAKE),  # both halves go together
        (key(DB, FAR), WHOLE, May.TAKE),
    ],
)
def test_which_claims_a_sweep_of_home_may_take(rule: RuleKey, phase: Phase, how: May) -> None:
    assert may(rule, phase) is how


def test_what_was_not_read_is_read_before_anything_is_taken_for_unwanted() -> None:
    rule = key(DB, APP, "tcp/1")
    assert may(rule, WHOLE, UNREAD) is May.READ
    assert may(rule, WHOLE, {**UNREAD, "complete_groups": frozenset({APP})}) is May.TAKE


def test_what_a_run_does_not_read_is_no_cause_in_it() -> None:
    """Groups whose instances it leaves to later runs, each for the rules on groups of one account, and instances."""
    later = msgspec.structs.replace(WHOLE, later=frozenset({(HOME, APP)}))
    assert may(key(DB, APP, "tcp/1"), later) is May.CLOSE
    assert may(key(APP, DB, "tcp/1"), later) is May.TAKE
    assert may(key(DB, APP, "tcp/1"), msgspec.structs.replace(WHOLE, later=frozenset({(PEER, APP)}))) is May.TAKE
    assert may(key(DB, APP, "tcp/1"), WHOLE, postponed=frozenset({APP})) is May.CLOSE
    assert may(key(DB, APP, "tcp/1"), WHOLE, postponed=frozenset({DB})) is May.TAKE


@pytest.mark.parametrize(
    ("link", "crosses", "answers", "decides"),
    [
        (Link(APP, DB), False, True, True),
        (Link(APP, FAR), False, False, False),
        (Link(APP, FAR), True, True, True),
        (Link(FAR, DB), True, True, True),
        (Link(FAR, FARTHER), True, False, True),
        (Link(FAR, FARTHER), False, False, True),
    ],
)
def test_which_links_a_sweep_of_home_answers(link: Link, crosses: bool, answers: bool, decides: bool) -> None:
    """Whether a link of others stays is as their own sweeps find it: their groups' tags may be mended. Nothing is
    decided while wishes are not read."""
    now = remit(Phase(crosses=crosses, closes=False))
    assert (now.answers(link), now.decides(link)) == (answers, decides)
    assert not remit(Phase(crosses=crosses)).decides(link)


def test_a_sweep_answers_no_wish_whose_ends_could_not_be_read() -> None:
    asking = [instance(A, APP, link_peer=f"sg-db {FAR}"), instance(Party(PEER, "i-far"), FAR, link_peer=str(FARTHER))]
    snapshot = view(GROUPS, asking)
    answered = {wish.link.target for wish in remit().desired(snapshot) if wish.in_scope}
    assert answered == {DB, FAR}
    failed = msgspec.structs.replace(snapshot, failed_accounts={PEER: "no answer"})
    assert {wish.link.target for wish in remit().desired(failed) if wish.in_scope} == {DB}
    assert remit(Phase()).desired(snapshot) == []


@pytest.mark.parametrize("hidden_asks", [True, False])
def test_a_side_that_refuses_a_persons_keys_counts_as_asking(hidden_asks: bool) -> None:
    """Those of the functions may be let in."""
    assert remit(hidden_asks=hidden_asks).context.hidden_asks is hidden_asks


@pytest.mark.parametrize("by_id", [True, False])
def test_a_short_sweep_judges_what_is_not_shown_by_reads_by_id(by_id: bool) -> None:
    """The phase says so."""
    assert remit(Phase(by_id=by_id)).context.by_id is by_id


# one plan


def in_phases(snapshot: Snapshot) -> Snapshot:
    """The rules after a sweep, which closes before it reads wishes."""
    for phase in (Phase(), WHOLE):
        carried = carried_out(snapshot, planned(snapshot, phase).decisions)
        snapshot = msgspec.structs.replace(snapshot, rules=carried.rules)
    return snapshot


def planned(snapshot: Snapshot, phase: Phase) -> Plan:
    now = SweepRemit(POLICY.accounts.keys(), POLICY, REGION, NOW, phase, hidden_asks=True)
    links = now.desired(snapshot)
    return make_plan(
        snapshot, now.context, links, may_lose=lambda rule, link, _claim: now.may_lose(snapshot, rule, link)
    )


def owned(snapshot: Snapshot) -> set[tuple[RuleKey | None, str]]:
    return {(rule.key, rule.description) for rules in snapshot.rules.values() for rule in rules}


@pytest.mark.parametrize("seed", range(150))
def test_one_plan_comes_to_the_rules_that_a_sweep_in_phases_leaves(seed: int) -> None:
    """In any world: what a view shows is what the sweep does."""
    snapshot = some_world(random.Random(seed))
    at_once = msgspec.structs.replace(
        snapshot, rules=carried_out(snapshot, next_sweep(snapshot, POLICY, REGION, NOW).decisions).rules
    )
    assert owned(at_once) == owned(in_phases(snapshot))


def test_half_of_a_requests_link_is_closed_by_the_plan_that_reads_wishes() -> None:
    """Its own claim is no wish for it. A claim on a complete link stays, whoever else asks."""
    half = ours(key(DB, APP), Claim("chg-1"), age=3_600)
    whole = [ours(key(DB, CACHE), Claim("chg-2"), age=3_600), ours(key(CACHE, DB), Claim("chg-2"), age=3_600)]
    snapshot = view(GROUPS, [instance(A, APP), instance(B, DB)], [half, *whole])
    removals = [decision for decision in next_sweep(snapshot, POLICY, REGION, NOW).decisions if decision.removals]
    assert [(decision.link, decision.rules) for decision in removals] == [(Link(APP, DB), (half,))]


def test_a_paused_policy_lets_no_sweep_decide() -> None:
    snapshot = view([managed(APP), managed(DB)], rules=[ours(key(DB, APP, "tcp/1"))])
    assert next_sweep(snapshot, policy(paused=Pause.ALL), REGION, NOW) == Plan(())
    assert next_sweep(snapshot, POLICY, REGION, NOW).decisions


@pytest.mark.parametrize(("rule_count", "removed"), [(0, 1), (1, 0)])
def test_the_rules_of_a_group_without_rules_need_not_be_read(rule_count: int, removed: int) -> None:
    """Half of a request's link goes where its listing says that the other group holds none."""
    half = ours(key(DB, APP), Claim("chg-1"), age=3_600)
    snapshot = view(
        [managed(APP, "*", rule_count=rule_count), managed(DB, "*")], [instance(A, APP), instance(B, DB)], [half]
    )
    unread = msgspec.structs.replace(snapshot, rules={DB: snapshot.rules[DB]})
    decisions = next_sweep(unread, POLICY, REGION, NOW).decisions
    assert sum(decision.removals for decision in decisions) == removed
