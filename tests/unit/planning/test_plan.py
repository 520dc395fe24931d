"""Desired rules against actual ones: the table in the docstring of link_peer.planning.plan, row by row, and what is built on it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from link_peer.domain.denial import Denial, ReasonCode
from link_peer.domain.model import TAG, Claim, Link, Party, Port, Rule
from link_peer.domain.policy import Limits
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_ports
from link_peer.planning.claims import DesiredLink, links_from_tags
from link_peer.planning.decision import Context, Decision, Plan, Refusal
from link_peer.planning.plan import make_plan

from tests.unit.views import (
    APP,
    CACHE,
    DB,
    HOME,
    NOW,
    PEER,
    POLICY,
    REGION,
    A,
    B,
    group,
    instance,
    key,
    ours,
    policy,
    theirs,
    view,
)

OPEN = [group(APP, "*"), group(DB, "*"), group(CACHE, "*")]
P1, P2 = parse_ports("tcp/1"), parse_ports("tcp/2")
REQ = Claim("chg-1")


def plan(seen: Snapshot, *claims: DesiredLink, judged: Any = True, with_policy: Any = POLICY, **options: Any) -> Plan:
    """A plan in which every claim is in focus and every reason may be judged."""
    context = Context(with_policy, REGION, NOW)
    return make_plan(seen, context, claims, in_focus=lambda _: True, may_lose=lambda *_: judged, **options)


def wish(link: Link, reason: Claim = TAG) -> DesiredLink:
    return DesiredLink(link, reason)


def edits(decisions: Sequence[Decision]) -> list[tuple[str, str, tuple[Claim, ...]]]:
    """(kind, port, the reasons that stay) of every edit."""
    return sorted((e.kind, str(e.key.port), e.claims) for d in decisions for e in d.edits)


K1 = key(DB, APP, "tcp/1")
LINK = Link(APP, DB, P1)


@pytest.mark.parametrize(
    ("standing", "wanted", "judged", "change"),
    [
        # rule there?                    wanted?       judged?  → change
        ([], [TAG], True, [("add", "tcp/1", (TAG,))]),
        ([theirs(K1)], [TAG], True, []),
        ([theirs(K1, act="drop")], [TAG], True, [("add", "tcp/1", (TAG,))]),
        ([ours(K1)], [TAG], True, []),
        ([ours(K1)], [TAG], False, []),
        ([ours(K1, REQ)], [TAG], False, [("mark", "tcp/1", (TAG, REQ))]),
        ([ours(K1)], [], False, []),
        ([ours(K1, TAG, REQ)], [REQ], True, [("mark", "tcp/1", (REQ,))]),
        ([ours(K1, TAG, REQ)], [REQ], False, []),
        ([ours(K1)], [], True, [("remove", "tcp/1", ())]),
        ([ours(K1, TAG, REQ)], [], True, [("remove", "tcp/1", ())]),
        ([ours(K1, priority=1)], [TAG], True, [("mark", "tcp/1", (TAG,))]),
        ([ours(K1, priority=1)], [], False, [("mark", "tcp/1", (TAG,))]),
        ([ours(K1, priority=1)], [], True, [("remove", "tcp/1", ())]),
        ([theirs(K1)], [], True, []),
        ([theirs(K1, "link-peer/1 dep=prod id=0123456789abcdef by=tag")], [], True, []),
        ([ours(K1), theirs(K1, act="drop")], [], True, [("remove", "tcp/1", ())]),
        ([ours(K1), theirs(K1)], [], True, [("remove", "tcp/1", ())]),
    ],
)
def test_the_table(
    standing: list[Rule], wanted: list[Claim], judged: bool, change: list[tuple[str, str, tuple[Claim, ...]]]
) -> None:
    """Each case of the docstring, for the one rule on which sg-db admits sg-app on TCP 1."""
    found = plan(view(OPEN, rules=standing), *(wish(LINK, reason) for reason in wanted), judged=judged)
    assert edits(found.decisions) == change


@pytest.mark.parametrize(
    ("standing", "outcome", "reason"),
    [
        ([], "applied", ""),
        ([ours(K1)], "unchanged", ""),
        ([theirs(K1)], "unchanged", "human-rule"),
        ([ours(K1, REQ)], "applied", ""),
    ],
)
def test_what_a_wish_is_answered(standing: list[Rule], outcome: str, reason: str) -> None:
    (decision,) = plan(view(OPEN, rules=standing), wish(LINK), judged=False).decisions
    assert (decision.outcome, decision.why.code, decision.link) == (outcome, reason, LINK)


def test_a_request_that_finds_its_link_is_applied_again() -> None:
    context = Context(POLICY, REGION, NOW, is_request=True)
    seen = view(OPEN, rules=[ours(K1, REQ)])
    found = make_plan(seen, context, [wish(LINK, REQ)], in_focus=lambda _: True, may_lose=lambda *_: False)
    assert [(d.outcome, d.edits) for d in found.decisions] == [("applied", ())]


@pytest.mark.parametrize("before", [Claim("chg-1", int(NOW) + 60), Claim("chg-1")])
@pytest.mark.parametrize("after", [Claim("chg-1", int(NOW) + 120), Claim("chg-1")])
def test_one_request_has_one_reason(before: Claim, after: Claim) -> None:
    """A later message with another end replaces the earlier one's reason, whoever judges."""
    found = plan(view(OPEN, rules=[ours(K1, before)]), wish(LINK, after), judged=True)
    assert edits(found.decisions) == ([("mark", "tcp/1", (after,))] if before != after else [])


def test_a_denied_wish_writes_nothing_and_takes_back_what_stands() -> None:
    """Consent is gone: an explicit cause, not a thing unseen."""
    seen = view([group(APP), group(DB)], rules=[ours(K1)])
    denied, removed = plan(seen, wish(LINK)).decisions
    assert (denied.outcome, denied.why.code, denied.edits) == ("denied", "no-consent", ())
    assert (removed.outcome, removed.why.code, removed.counts_toward_cap) == ("removed", "no-consent", False)
    assert edits([removed]) == [("remove", "tcp/1", ())]


def test_a_reason_past_its_end_goes_as_expired() -> None:
    ended = Claim("chg-1", int(NOW))
    (removed,) = plan(view(OPEN, rules=[ours(K1, ended)])).decisions
    assert (removed.action, removed.why.code, removed.counts_toward_cap) == ("expire", "expired", False)


def test_what_nobody_asks_for_any_more_is_counted() -> None:
    (removed,) = plan(view(OPEN, rules=[ours(K1)])).decisions
    assert (removed.counts_toward_cap, removed.removals) == (True, 1)


def test_a_dead_account_is_doubted_and_keeps_its_rules() -> None:
    """Its name is handed back, so that somebody looks."""
    found = plan(view(OPEN, rules=[ours(K1)], alive=False))
    assert (found.decisions, found.doubted_accounts) == ([], {HOME})


def test_an_explicit_cause_needs_no_living_account() -> None:
    seen = view([group(APP), group(DB)], rules=[ours(K1)], alive=False)
    assert edits(plan(seen).decisions) == [("remove", "tcp/1", ())]


def test_what_was_not_wholly_read_is_handed_back_unread() -> None:
    found = plan(view(OPEN, rules=[ours(K1)]), judged=None)
    assert (found.decisions, found.unread) == ([], {LINK})


def test_both_rules_of_a_mutual_link_go_in_one_decision() -> None:
    seen = view(OPEN, rules=[ours(key(DB, APP)), ours(key(APP, DB))])
    (removed,) = plan(seen).decisions
    assert len(removed.edits) == 2
    assert removed.link.mutual


def test_the_target_may_refuse_so_it_is_asked_first() -> None:
    (decision,) = plan(view(OPEN), wish(Link(APP, DB))).decisions
    assert [edit.key.group for edit in decision.edits] == [DB, APP]


def test_a_half_open_link_is_completed() -> None:
    """Only the missing side is written."""
    (decision,) = plan(view(OPEN, rules=[ours(key(DB, APP))]), wish(Link(APP, DB))).decisions
    assert [(edit.kind, edit.key.group) for edit in decision.edits] == [("add", APP)]


@pytest.mark.parametrize(("count", "outcome"), [(19, "applied"), (20, "failed"), (25, "failed")])
def test_room_for_rules_that_name_a_group(count: int, outcome: str) -> None:
    seen = view([group(APP), group(DB, "*", group_rules=count)])
    (decision,) = plan(seen, wish(LINK)).decisions
    assert (decision.outcome, bool(decision.edits)) == (outcome, outcome == "applied")
    assert decision.why.code == ("quota" if outcome == "failed" else "")


def test_room_is_given_out_once() -> None:
    seen = view([group(APP), group(DB, "*", group_rules=18)])
    outcomes = [
        d.outcome for d in plan(seen, *(wish(Link(APP, DB, p)) for p in (P1, P2, parse_ports("icmp")))).decisions
    ]
    assert sorted(outcomes) == ["applied", "applied", "failed"]


def test_what_goes_makes_room_and_then_goes_first() -> None:
    seen = view([group(APP), group(DB, "*", group_rules=20)], rules=[ours(K1)])
    added, removed = plan(seen, wish(Link(APP, DB, P2))).decisions
    assert (added.outcome, added.removes_first, removed.removals) == ("applied", True, 1)


def test_a_link_that_was_refused_a_moment_ago_is_taken_back() -> None:
    """Both sides or neither: the first side stands, the second refused it for good."""
    link = Link(APP, DB)
    seen = view(OPEN, rules=[ours(key(DB, APP))])
    (failed,) = plan(seen, wish(link), refused={link: Refusal(Denial(ReasonCode.QUOTA, "no room"))}).decisions
    assert (failed.outcome, failed.why.code, failed.counts_toward_cap) == ("failed", "quota", False)
    assert edits([failed]) == [("remove", "all", ())]


def test_of_a_link_that_was_refused_only_what_was_begun_goes() -> None:
    """What stood before still stands, whole: a refusal to let a link grow closes nothing."""
    link = Link(APP, DB, (*P1, *P2))
    k2 = key(DB, APP, "tcp/2")
    seen = view(OPEN, rules=[ours(K1), ours(k2)])
    refusal = Refusal(Denial(ReasonCode.QUOTA, "no room"), frozenset({(k2, TAG)}))
    (failed,) = plan(seen, wish(link), refused={link: refusal}).decisions
    assert (failed.outcome, failed.why.code) == ("failed", "quota")
    assert edits([failed]) == [("remove", "tcp/2", ())]
    (failed,) = plan(seen, wish(link), refused={link: Refusal(Denial(ReasonCode.QUOTA, "no room"))}).decisions
    assert edits([failed]) == []


def test_taking_back_leaves_what_another_link_wants() -> None:
    long, short = Link(APP, DB, (*P1, *P2)), LINK
    seen = view(OPEN, rules=[ours(K1)])
    begun = frozenset({(K1, TAG)})
    found = plan(seen, wish(long), wish(short), refused={long: Refusal(Denial(ReasonCode.QUOTA, "no room"), begun)})
    assert edits(found.decisions) == []


def test_a_reason_whose_end_is_past_goes_when_its_rule_is_changed_anyway() -> None:
    """It would go at the next sweep; a marker has only so much room."""
    seen = view(OPEN, rules=[ours(K1, Claim("chg-2", until=NOW - 1), REQ)])
    (decision,) = plan(seen, wish(LINK), judged=False).decisions
    assert edits([decision]) == [("mark", "tcp/1", (TAG, REQ))]


def test_a_group_that_lacks_its_managed_tag_is_told_with_the_link() -> None:
    """Also where the rule stands; not where only a person's rule does."""
    tagged = msgspec.structs.replace(OPEN[1], tags={**OPEN[1].tags, "link-managed.prod": "true"})
    assert plan(view(OPEN, rules=[ours(K1)]), wish(LINK)).decisions[0].missing_managed_tag == (DB,)
    assert plan(view([OPEN[0], tagged], rules=[ours(K1)]), wish(LINK)).decisions[0].missing_managed_tag == ()
    assert plan(view(OPEN, rules=[theirs(K1)]), wish(LINK)).decisions[0].missing_managed_tag == ()


def test_two_links_of_one_rule_edit_it_once() -> None:
    """The platform refuses a call that names one permission twice."""
    found = plan(view(OPEN, rules=[ours(K1, REQ)]), wish(LINK), wish(Link(APP, DB, (*P1, *P2))), judged=False)
    assert edits(found.decisions) == [("add", "tcp/2", (TAG,)), ("mark", "tcp/1", (TAG, REQ))]


def test_a_closed_account_loses_its_rules_although_it_is_not_read() -> None:
    """The policy does not list it any more: explicit, whoever is alive there."""
    foreign = key(DB, Party(PEER, "sg-x"), "tcp/1")
    closed = policy(accounts={HOME: POLICY.accounts[HOME]})
    (removed,) = plan(view(OPEN, rules=[ours(foreign, REQ)], alive=False), with_policy=closed).decisions
    assert (removed.why.code, removed.counts_toward_cap, removed.removals) == ("unknown-account", False, 1)


@pytest.mark.parametrize(
    ("accept", "removes"), [(f"*@{PEER}", 0), (f"sg-x@{PEER}:tcp/1", 0), ("*", 1), (f"sg-x@{PEER}:tcp/2", 1)]
)
def test_rules_of_an_account_that_cannot_be_read_are_left_while_they_are_accepted(accept: str, removes: int) -> None:
    """Nothing is said of the side that hides; the group's own consent needs no look there."""
    from link_peer.domain.errors import NoAccess

    foreign = key(DB, Party(PEER, "sg-x"), "tcp/1")
    seen = view([group(APP), group(DB, accept)], rules=[ours(foreign, REQ)])
    seen = msgspec.structs.replace(seen, refused_accounts={PEER: NoAccess("NoPermission", "no")})
    decisions = plan(seen).decisions
    assert sum(decision.removals for decision in decisions) == removes
    assert {(decision.why.code, decision.counts_toward_cap) for decision in decisions} <= {("no-consent", False)}


# what holds for every world


def carried_out(seen: Snapshot, decisions: Sequence[Decision]) -> Snapshot:
    """The view after the edits, as if the cloud had done just that."""
    rules = [rule for group_rules in seen.rules.values() for rule in group_rules]
    for edit in (edit for decision in decisions for edit in decision.edits):
        rules = [rule for rule in rules if edit.rule is None or rule.id != edit.rule.id]
        if edit.claims:
            rules.append(ours(edit.key, *edit.claims, ends=edit.ends))
    return view(seen.groups.values(), seen.instances.values(), rules)


def some_world(dice: random.Random) -> Snapshot:
    """Three groups that accept some, two instances that ask for some, and rules of every kind."""
    parties = (APP, DB, CACHE)
    accepts = ["", "*", "sg-app", "sg-db:tcp/1", "sg-app:tcp/1 sg-cache"]
    peers = ["", "sg-db", "sg-db:tcp/1", "sg-cache:tcp/1+tcp/2", "sg-app", "i-b", "i-a:tcp/2", "sg-db:tcp/1 sg-db", "x"]
    groups = [group(p, dice.choice(accepts), group_rules=dice.choice([0, 0, 19, 20])) for p in parties]
    instances = [
        instance(i, *dice.sample(parties, dice.choice([1, 2])), ip=f"10.0.0.{n}", link_peer=dice.choice(peers))
        for n, i in enumerate((A, B), start=1)
    ]
    kinds = (ours, lambda k: ours(k, TAG, REQ), lambda k: ours(k, priority=1), theirs, lambda k: theirs(k, act="drop"))
    keys = [key(t, s, port) for t in parties for s in parties if s != t for port in ("all", "tcp/1", "tcp/2")]
    return view(groups, instances, [dice.choice(kinds)(k) for k in dice.sample(keys, dice.choice([0, 2, 5]))])


def wishes(seen: Snapshot) -> list[DesiredLink]:
    return [claim for i in seen.instances.values() for claim in links_from_tags(seen, i, NOW)]


@pytest.mark.parametrize("seed", range(300))
def test_a_plan_carried_out_leaves_nothing_to_plan(seed: int) -> None:
    """Whatever the world: no rule of a person's is edited, no rule twice, and a second look changes nothing but quota."""
    seen = some_world(random.Random(seed))
    found = plan(seen, *wishes(seen)).decisions
    changed = [edit for decision in found for edit in decision.edits]
    assert len({edit.key for edit in changed}) == len(changed)
    assert all(edit.rule is None or edit.rule.description.startswith("link-peer/1 dep=prod ") for edit in changed)
    again = plan(carried_out(seen, found), *wishes(seen)).decisions
    assert edits(again) == []


@pytest.mark.parametrize("seed", range(300))
def test_after_a_plan_every_rule_of_ours_has_consent(seed: int) -> None:
    """No rule stands on a group without that group's consent to that source: on each rule by itself."""
    from link_peer.planning import consent
    from link_peer.planning.actual import owned_rules

    seen = some_world(random.Random(seed))
    after = carried_out(seen, plan(seen, *wishes(seen)).decisions)
    for rule, marker in owned_rules(after, POLICY, REGION):
        assert rule.key is not None
        assert rule.priority == 100
        source: Any = Party(HOME, rule.key.source.partition("@")[0])
        if marker.ends:
            source = after.instances[marker.ends[0]]
        _, missing = consent.consents(POLICY, after.groups[rule.group], source, rule.group, (rule.key.port,))
        assert missing == [], rule.key


def test_limits_are_the_policys() -> None:
    strict = policy(limits=Limits(max_ports=1))
    (decision,) = plan(view(OPEN), wish(Link(APP, DB, (*P1, *P2))), with_policy=strict).decisions
    assert (decision.outcome, decision.why.code) == ("denied", "not-allowed")


def test_a_port_is_not_mutual() -> None:
    """Only a mutual link is written as ALL."""
    found = plan(view(OPEN), wish(Link(APP, DB, (Port("icmp"),)))).decisions
    assert edits(found) == [("add", "icmp", (TAG,))]
