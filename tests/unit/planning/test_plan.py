"""Whole plans: the table in the docstring of link_peer.planning.diff, row by row, and what is built on it."""

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


def plan(seen: Snapshot, *claims: DesiredLink, may_lose: Any = True, with_policy: Any = POLICY, **options: Any) -> Plan:
    """A plan in which every desired link is in focus and, by default, every claim may be lost."""
    context = Context(with_policy, REGION, NOW)
    return make_plan(seen, context, claims, in_focus=lambda _: True, may_lose=lambda *_: may_lose, **options)


def desired(link: Link, claim: Claim = TAG) -> DesiredLink:
    return DesiredLink(link, claim)


def edits(decisions: Sequence[Decision]) -> list[tuple[str, str, tuple[Claim, ...]]]:
    """(kind, port, the claims that the rule will carry) of every edit."""
    return sorted((e.kind, str(e.key.port), e.claims) for d in decisions for e in d.edits)


K1 = key(DB, APP, "tcp/1")
LINK = Link(APP, DB, P1)


@pytest.mark.parametrize(
    ("existing", "wanted", "may_lose", "change"),
    [
        # rule exists?                   wanted?   may be lost?  → change
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
    existing: list[Rule], wanted: list[Claim], may_lose: bool, change: list[tuple[str, str, tuple[Claim, ...]]]
) -> None:
    """Each case of the docstring, for the one rule on which sg-db admits sg-app on TCP 1."""
    found = plan(view(OPEN, rules=existing), *(desired(LINK, claim) for claim in wanted), may_lose=may_lose)
    assert edits(found.decisions) == change


@pytest.mark.parametrize(
    ("existing", "outcome", "reason"),
    [
        ([], "applied", ""),
        ([ours(K1)], "unchanged", ""),
        ([theirs(K1)], "unchanged", "human-rule"),
        ([ours(K1, REQ)], "applied", ""),
    ],
)
def test_the_outcome_of_a_desired_link(existing: list[Rule], outcome: str, reason: str) -> None:
    (decision,) = plan(view(OPEN, rules=existing), desired(LINK), may_lose=False).decisions
    assert (decision.outcome, decision.why.code, decision.link) == (outcome, reason, LINK)


def test_a_request_that_finds_its_link_is_applied_again() -> None:
    context = Context(POLICY, REGION, NOW, is_request=True)
    seen = view(OPEN, rules=[ours(K1, REQ)])
    found = make_plan(seen, context, [desired(LINK, REQ)], in_focus=lambda _: True, may_lose=lambda *_: False)
    assert [(d.outcome, d.edits) for d in found.decisions] == [("applied", ())]


@pytest.mark.parametrize("before", [Claim("chg-1", int(NOW) + 60), Claim("chg-1")])
@pytest.mark.parametrize("after", [Claim("chg-1", int(NOW) + 120), Claim("chg-1")])
def test_one_request_has_one_claim_on_a_rule(before: Claim, after: Claim) -> None:
    """A later message with another end replaces the earlier claim."""
    found = plan(view(OPEN, rules=[ours(K1, before)]), desired(LINK, after), may_lose=True)
    assert edits(found.decisions) == ([("mark", "tcp/1", (after,))] if before != after else [])


def test_a_denied_link_writes_nothing_and_its_rules_are_removed() -> None:
    """Withdrawn consent is an explicit cause, so the removal does not count toward the cap."""
    seen = view([group(APP), group(DB)], rules=[ours(K1)])
    denied, removed = plan(seen, desired(LINK)).decisions
    assert (denied.outcome, denied.why.code, denied.edits) == ("denied", "no-consent", ())
    assert (removed.outcome, removed.why.code, removed.counts_toward_cap) == ("removed", "no-consent", False)
    assert edits([removed]) == [("remove", "tcp/1", ())]


def test_a_claim_past_its_end_is_removed_as_expired() -> None:
    ended = Claim("chg-1", int(NOW))
    (removed,) = plan(view(OPEN, rules=[ours(K1, ended)])).decisions
    assert (removed.action, removed.why.code, removed.counts_toward_cap) == ("expire", "expired", False)


def test_an_unwanted_rule_counts_toward_the_cap() -> None:
    (removed,) = plan(view(OPEN, rules=[ours(K1)])).decisions
    assert (removed.counts_toward_cap, removed.removals) == (True, 1)


def test_an_account_without_instances_is_doubted_and_keeps_its_rules() -> None:
    """The plan names the account, so that its liveness is probed."""
    found = plan(view(OPEN, rules=[ours(K1)], alive=False))
    assert (found.decisions, found.doubted_accounts) == ([], {HOME})


def test_an_explicit_cause_needs_no_live_account() -> None:
    seen = view([group(APP), group(DB)], rules=[ours(K1)], alive=False)
    assert edits(plan(seen).decisions) == [("remove", "tcp/1", ())]


def test_a_link_whose_askers_were_not_all_read_is_returned_as_unread() -> None:
    found = plan(view(OPEN, rules=[ours(K1)]), may_lose=None)
    assert (found.decisions, found.unread) == ([], {LINK})


def test_both_rules_of_a_mutual_link_are_removed_in_one_decision() -> None:
    seen = view(OPEN, rules=[ours(key(DB, APP)), ours(key(APP, DB))])
    (removed,) = plan(seen).decisions
    assert len(removed.edits) == 2
    assert removed.link.mutual


def test_the_targets_group_is_written_first_since_it_may_refuse() -> None:
    (decision,) = plan(view(OPEN), desired(Link(APP, DB))).decisions
    assert [edit.key.group for edit in decision.edits] == [DB, APP]


def test_a_half_open_link_is_completed() -> None:
    """Only the missing side is written."""
    (decision,) = plan(view(OPEN, rules=[ours(key(DB, APP))]), desired(Link(APP, DB))).decisions
    assert [(edit.kind, edit.key.group) for edit in decision.edits] == [("add", APP)]


@pytest.mark.parametrize(("count", "outcome"), [(19, "applied"), (20, "failed"), (25, "failed")])
def test_a_full_group_fails_the_link_without_a_write(count: int, outcome: str) -> None:
    seen = view([group(APP), group(DB, "*", group_rules=count)])
    (decision,) = plan(seen, desired(LINK)).decisions
    assert (decision.outcome, bool(decision.edits)) == (outcome, outcome == "applied")
    assert decision.why.code == ("quota" if outcome == "failed" else "")


def test_the_last_room_in_a_group_goes_to_one_link() -> None:
    seen = view([group(APP), group(DB, "*", group_rules=18)])
    outcomes = [
        d.outcome for d in plan(seen, *(desired(Link(APP, DB, p)) for p in (P1, P2, parse_ports("icmp")))).decisions
    ]
    assert sorted(outcomes) == ["applied", "applied", "failed"]


def test_a_removed_rule_makes_room_and_is_removed_first() -> None:
    seen = view([group(APP), group(DB, "*", group_rules=20)], rules=[ours(K1)])
    added, removed = plan(seen, desired(Link(APP, DB, P2))).decisions
    assert (added.outcome, added.removes_first, removed.removals) == ("applied", True, 1)


def test_a_refused_mutual_link_is_rolled_back() -> None:
    """Both sides or neither: the first side was written, and the second was refused for good."""
    link = Link(APP, DB)
    seen = view(OPEN, rules=[ours(key(DB, APP))])
    (failed,) = plan(seen, desired(link), refused={link: Refusal(Denial(ReasonCode.QUOTA, "no room"))}).decisions
    assert (failed.outcome, failed.why.code, failed.counts_toward_cap) == ("failed", "quota", False)
    assert edits([failed]) == [("remove", "all", ())]


def test_a_refused_link_rolls_back_only_what_this_delivery_wrote() -> None:
    """The rules that it had before are kept: when a link cannot grow, none of it is closed."""
    link = Link(APP, DB, (*P1, *P2))
    k2 = key(DB, APP, "tcp/2")
    seen = view(OPEN, rules=[ours(K1), ours(k2)])
    refusal = Refusal(Denial(ReasonCode.QUOTA, "no room"), frozenset({(k2, TAG)}))
    (failed,) = plan(seen, desired(link), refused={link: refusal}).decisions
    assert (failed.outcome, failed.why.code) == ("failed", "quota")
    assert edits([failed]) == [("remove", "tcp/2", ())]
    (failed,) = plan(seen, desired(link), refused={link: Refusal(Denial(ReasonCode.QUOTA, "no room"))}).decisions
    assert edits([failed]) == []


def test_a_rollback_keeps_what_another_link_wants() -> None:
    long, short = Link(APP, DB, (*P1, *P2)), LINK
    seen = view(OPEN, rules=[ours(K1)])
    partial = frozenset({(K1, TAG)})
    found = plan(
        seen, desired(long), desired(short), refused={long: Refusal(Denial(ReasonCode.QUOTA, "no room"), partial)}
    )
    assert edits(found.decisions) == []


def test_an_expired_claim_is_dropped_when_its_rule_is_changed_anyway() -> None:
    """The next sweep would remove it; until then it would take room in the description."""
    seen = view(OPEN, rules=[ours(K1, Claim("chg-2", until=NOW - 1), REQ)])
    (decision,) = plan(seen, desired(LINK), may_lose=False).decisions
    assert edits([decision]) == [("mark", "tcp/1", (TAG, REQ))]


def test_a_decision_names_groups_that_lack_the_managed_tag() -> None:
    """Also where the rule exists already; not where only a person's rule does."""
    tagged = msgspec.structs.replace(OPEN[1], tags={**OPEN[1].tags, "link-managed.prod": "true"})
    assert plan(view(OPEN, rules=[ours(K1)]), desired(LINK)).decisions[0].missing_managed_tag == (DB,)
    assert plan(view([OPEN[0], tagged], rules=[ours(K1)]), desired(LINK)).decisions[0].missing_managed_tag == ()
    assert plan(view(OPEN, rules=[theirs(K1)]), desired(LINK)).decisions[0].missing_managed_tag == ()


def test_two_links_of_one_rule_edit_it_once() -> None:
    """The platform refuses a call that names one permission twice."""
    found = plan(view(OPEN, rules=[ours(K1, REQ)]), desired(LINK), desired(Link(APP, DB, (*P1, *P2))), may_lose=False)
    assert edits(found.decisions) == [("add", "tcp/2", (TAG,)), ("mark", "tcp/1", (TAG, REQ))]


def test_an_account_removed_from_the_policy_loses_its_rules() -> None:
    """An explicit cause: the account need not be read, nor be live."""
    foreign = key(DB, Party(PEER, "sg-x"), "tcp/1")
    closed = policy(accounts={HOME: POLICY.accounts[HOME]})
    (removed,) = plan(view(OPEN, rules=[ours(foreign, REQ)], alive=False), with_policy=closed).decisions
    assert (removed.why.code, removed.counts_toward_cap, removed.removals) == ("unknown-account", False, 1)


@pytest.mark.parametrize(
    ("accept", "removes"), [(f"*@{PEER}", 0), (f"sg-x@{PEER}:tcp/1", 0), ("*", 1), (f"sg-x@{PEER}:tcp/2", 1)]
)
def test_rules_for_an_account_that_cannot_be_read_are_kept_while_the_group_accepts_it(
    accept: str, removes: int
) -> None:
    """The group's own consent is checked without reading the other account."""
    from link_peer.domain.errors import NoAccess

    foreign = key(DB, Party(PEER, "sg-x"), "tcp/1")
    seen = view([group(APP), group(DB, accept)], rules=[ours(foreign, REQ)])
    seen = msgspec.structs.replace(seen, refused_accounts={PEER: NoAccess("NoPermission", "no")})
    decisions = plan(seen).decisions
    assert sum(decision.removals for decision in decisions) == removes
    assert {(decision.why.code, decision.counts_toward_cap) for decision in decisions} <= {("no-consent", False)}


# properties of random worlds


def carried_out(seen: Snapshot, decisions: Sequence[Decision]) -> Snapshot:
    """The snapshot after the edits."""
    rules = [rule for group_rules in seen.rules.values() for rule in group_rules]
    for edit in (edit for decision in decisions for edit in decision.edits):
        rules = [rule for rule in rules if edit.rule is None or rule.id != edit.rule.id]
        if edit.claims:
            rules.append(ours(edit.key, *edit.claims, ends=edit.ends))
    return view(seen.groups.values(), seen.instances.values(), rules)


def some_world(dice: random.Random) -> Snapshot:
    """Three groups that accept some of each other, two instances that ask for links, and rules of every kind."""
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


def desired_links(seen: Snapshot) -> list[DesiredLink]:
    return [claim for i in seen.instances.values() for claim in links_from_tags(seen, i, NOW)]


@pytest.mark.parametrize("seed", range(300))
def test_a_plan_carried_out_leaves_nothing_to_plan(seed: int) -> None:
    """In any world: no rule of a person's is edited, no rule is edited twice, and a second plan has no edits."""
    seen = some_world(random.Random(seed))
    found = plan(seen, *desired_links(seen)).decisions
    changed = [edit for decision in found for edit in decision.edits]
    assert len({edit.key for edit in changed}) == len(changed)
    assert all(edit.rule is None or edit.rule.description.startswith("link-peer/1 dep=prod ") for edit in changed)
    again = plan(carried_out(seen, found), *desired_links(seen)).decisions
    assert edits(again) == []


@pytest.mark.parametrize("seed", range(300))
def test_after_a_plan_every_rule_of_ours_has_consent(seed: int) -> None:
    """Each rule of ours is on a group that accepts its source."""
    from link_peer.planning import consent
    from link_peer.planning.actual import owned_rules

    seen = some_world(random.Random(seed))
    after = carried_out(seen, plan(seen, *desired_links(seen)).decisions)
    for rule, marker in owned_rules(after, POLICY, REGION):
        assert rule.key is not None
        assert rule.priority == 100
        source: Any = Party(HOME, rule.key.source.partition("@")[0])
        if marker.ends:
            source = after.instances[marker.ends[0]]
        _, missing = consent.consents(POLICY, after.groups[rule.group], source, rule.group, (rule.key.port,))
        assert missing == [], rule.key


def test_the_limits_are_those_of_the_policy() -> None:
    strict = policy(limits=Limits(max_ports=1))
    (decision,) = plan(view(OPEN), desired(Link(APP, DB, (*P1, *P2))), with_policy=strict).decisions
    assert (decision.outcome, decision.why.code) == ("denied", "not-allowed")


def test_a_link_with_a_port_is_not_written_as_all() -> None:
    """Only a mutual link is written as ALL."""
    found = plan(view(OPEN), desired(Link(APP, DB, (Port("icmp"),)))).decisions
    assert edits(found) == [("add", "icmp", (TAG,))]
