"""The sweep: closes before it reads wishes, opens for tags only, and finds groups that lost their managed tag."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from link_peer.domain.errors import NoAccess, Throttled, Transient
from link_peer.domain.model import ALL, Claim, Group, Instance, Party, Rule, RuleKey
from link_peer.domain.policy import Limits, Policy
from link_peer.engine.scopes.everything import MAX_EXTRA_READS, RUN_SECONDS, RUNS_A_DAY, Sweep
from link_peer.planning.removals import HALF_OPEN_SECONDS

from tests.unit.fakes import FakeClock, FakeEcs, FakeLog, delivery
from tests.unit.views import (
    APP,
    CACHE,
    DB,
    HOME,
    MANAGED,
    NOW,
    PEER,
    POLICY,
    A,
    B,
    group,
    instance,
    key,
    ours,
    policy,
    theirs,
)

K1, HERE, THERE = key(DB, APP, "tcp/1"), key(DB, APP), key(APP, DB)
REQ = Claim("chg-1")
FOREIGN = Party(PEER, "sg-x")
OLD = HALF_OPEN_SECONDS + 1
BYSTANDER = instance(B, CACHE, link_peer="sg-nowhere")
"""So that the account shows instances, and tags."""


class Sweeping:
    """One sweep over sg-app, sg-db and sg-cache of home; the other account is empty."""

    def __init__(
        self,
        *rules: Rule,
        groups: Sequence[Group] | None = None,
        instances: Sequence[Instance] = (BYSTANDER,),
        with_policy: Policy = POLICY,
        clock: FakeClock | None = None,
        kind: type[FakeEcs] = FakeEcs,
        **fields: Any,
    ) -> None:
        self.calls: list[str] = []
        shown = groups or [group(party, "*", managed_tag=True) for party in (APP, DB, CACHE)]
        self.ecs = kind([_counted(one, rules) for one in shown], instances, rules, calls=self.calls)
        self.peer = FakeEcs(account=PEER)
        self.log = FakeLog(self.calls)
        self.clock = clock or FakeClock()
        accounts = (self.ecs, self.peer)
        self.delivery = delivery(*accounts, log=self.log, policy=with_policy, clock=self.clock, **fields)

    def __call__(self, **options: Any) -> Sweep:
        sweep = Sweep(self.delivery, "sweep-1", **options)
        sweep.run()
        return sweep

    @property
    def summary(self) -> dict[str, str]:
        (found,) = [record for record in self.log.records if record["record"] == "summary"]
        return found

    def claims(self) -> dict[Any, str]:
        """The claims on every rule."""
        return {rule.key: rule.description.partition(" by=")[2] for rule in self.ecs.existing}


def _counted(shown: Group, rules: Sequence[Rule]) -> Group:
    count = sum(rule.group == shown.party for rule in rules)
    return Group(shown.party, shown.vpc, tags=shown.tags, rule_count=count)


# closing comes first


def test_closing_comes_before_wishes_are_read() -> None:
    """An ended claim is removed before the first instance of the account is listed."""
    sweep = Sweeping(ours(K1, Claim("chg-9", int(NOW))))
    sweep()
    assert sweep.calls.index("revoke sg-db") < sweep.calls.index("instance_page")


@pytest.mark.parametrize(
    ("db", "reason"),
    [(group(DB, "", managed_tag=True), "no-consent"), (group(DB, "*", lock=True, managed_tag=True), "locked")],
)
def test_what_a_group_no_longer_allows_is_closed_although_no_instance_is_shown(db: Group, reason: str) -> None:
    """No matter who asks for it. The guard does not count it."""
    strict = policy(limits=Limits(removals_per_run=0))
    sweep = Sweeping(ours(K1), ours(HERE, REQ), groups=[group(APP, "*"), db], instances=[], with_policy=strict)
    sweep()
    assert sweep.ecs.existing == []
    assert set(sweep.log.outcomes()) == {("removed", reason)}


def test_wishes_that_take_all_the_time_leave_the_closing_done() -> None:
    """The time is over once the first instances are listed."""

    class Slow(FakeEcs):
        def instance_page(self, token: str = "") -> tuple[list[Instance], str]:
            sweep.clock.time += 10_000
            return super().instance_page(token)

    asking = instance(A, APP, link_peer="sg-cache:tcp/1")
    sweep = Sweeping(ours(K1, Claim("chg-9", int(NOW))), instances=[asking], kind=Slow)
    sweep()
    assert sweep.ecs.existing == []


# it opens for tags only


def test_what_a_tag_asks_for_is_opened() -> None:
    sweep = Sweeping(instances=[instance(A, APP, link_peer="sg-db:tcp/1")])
    sweep()
    assert sweep.claims() == {K1: "tag"}


def test_half_of_a_tags_link_is_completed() -> None:
    """Consent stands. However old the other half is."""
    sweep = Sweeping(ours(HERE, age=OLD), instances=[instance(A, APP, link_peer="sg-db")])
    sweep()
    assert sweep.claims() == {HERE: "tag", THERE: "tag"}


@pytest.mark.parametrize("tagged", [True, False], ids=["tagged", "untagged"])
@pytest.mark.parametrize(("age", "kept"), [(60, True), (OLD, False)])
def test_half_of_a_requests_link_is_removed_once_it_is_old_and_never_completed(
    age: float, kept: bool, tagged: bool
) -> None:
    """The sweep opens nothing for a request. A crash before the other half leaves that group without the managed tag, and a
    person who deleted the other half has left a group from which a sweep takes the tag."""
    groups = [group(APP, "*", managed_tag=tagged), group(DB, "*", managed_tag=True)]
    sweep = Sweeping(ours(HERE, REQ, age=age), groups=groups)
    sweep()
    assert sweep.claims() == ({HERE: "req:chg-1"} if kept else {})
    assert sweep.log.outcomes() == ([] if kept else [("removed", "half-open")])


@pytest.mark.parametrize("tagged", [True, False], ids=["tagged", "untagged"])
def test_a_whole_link_of_a_request_is_left_alone(tagged: bool) -> None:
    """Also where one of its groups lost the managed tag: that side's rule counts, and the tag is set again."""
    groups = [group(APP, "*", managed_tag=tagged), group(DB, "*", managed_tag=True)]
    sweep = Sweeping(ours(HERE, REQ, age=OLD), ours(THERE, REQ, age=OLD), groups=groups)
    sweep()
    assert sweep.claims() == {HERE: "req:chg-1", THERE: "req:chg-1"}
    assert sweep.ecs.known["sg-app"].tags.get(MANAGED) == "true"


def test_a_forged_half_opens_nothing() -> None:
    """A person with write access to one group has written a marker with a request that no one posted. Once it is old, it is
    removed as any half is."""
    forged = ours(HERE, Claim("chg-never-posted"), age=60)
    sweep = Sweeping(forged)
    sweep()
    assert sweep.ecs.existing == [forged]
    assert not [call for call in sweep.ecs.changes() if call.startswith("authorize")]


def test_a_request_with_ports_is_kept_while_consent_stands() -> None:
    """No tag asks for it, and the source group shows no instance."""
    sweep = Sweeping(ours(K1, REQ, age=OLD))
    sweep()
    assert sweep.claims() == {K1: "req:chg-1"}


# what is not shown


def test_an_unwanted_rule_is_removed() -> None:
    """The members of the asking group are shown, and none asks any more."""
    sweep = Sweeping(ours(K1), instances=[instance(A, APP, link_peer="sg-cache:tcp/1"), BYSTANDER])
    sweep()
    assert K1 not in sweep.claims()
    assert ("removed", "") in sweep.log.outcomes()


def test_removals_in_one_account_hold_none_in_another() -> None:
    """Home shows no member of sg-app any more; the other account's rules are within the limit."""
    limited = policy(limits=Limits(removals_per_run=1))
    rules = [ours(key(DB, APP, f"tcp/{n}")) for n in (1, 2)] + [ours(key(DB, FOREIGN, "tcp/1"))]
    groups = [group(APP, "*"), group(DB, f"* *@{PEER}", managed_tag=True), group(CACHE, "*")]
    sweep = Sweeping(*rules, groups=groups, with_policy=limited)
    sweep.peer.known["sg-x"] = group(FOREIGN)
    sweep.peer.running["i-x"] = instance(Party(PEER, "i-x"), Party(PEER, "sg-y"), link_peer="sg-y")
    done = sweep()
    assert set(sweep.claims()) == {rule.key for rule in rules[:2]}
    assert (sweep.summary["outcome"], sweep.summary["reason"], sweep.summary["held"]) == (
        "failed",
        "removals-held",
        "2",
    )
    assert f"account {HOME}" in sweep.summary["detail"]
    assert done.report.removed == 1


def test_an_account_that_shows_no_instances_keeps_its_rules() -> None:
    """Unless a person says that it is really empty."""
    sweep = Sweeping(ours(K1), instances=[])
    done = sweep()
    assert (set(sweep.claims()), done.doubted_accounts) == ({K1}, {HOME})
    assert f"{HOME}: shows no instances" in sweep.summary["detail"]
    believed = Sweeping(ours(K1), instances=[])
    believed(believe_empty=[HOME])
    assert believed.claims() == {}


@pytest.mark.parametrize("error", [Transient("timeout"), NoAccess("Forbidden.RAM", "no")])
def test_nothing_is_removed_where_the_read_that_confirms_an_absence_fails(error: Exception) -> None:
    """One read that is short, and the next one in trouble. The account has a record of its own."""
    sweep = Sweeping(ours(K1))
    sweep.ecs.errors["members"] = [error]
    sweep()
    assert set(sweep.claims()) == {K1}
    assert [
        r["from_account"] for r in sweep.log.records if r["record"] == "attempt" or r.get("reason") == "no-access"
    ] == [HOME]


def test_an_account_in_trouble_costs_no_other() -> None:
    """One attempt for it, and one denied record where access is refused."""
    for error, kind in ((Transient("timeout"), "attempt"), (NoAccess("NoPermission", "no"), "outcome")):
        sweep = Sweeping(instances=[instance(A, APP, link_peer="sg-db:tcp/1")])
        sweep.peer.errors["all_groups"] = [error]
        sweep()
        assert sweep.claims() == {K1: "tag"}
        assert [r["record"] for r in sweep.log.records if r.get("from_account") == PEER] == [kind]


# groups without the managed tag


def test_a_group_that_lost_its_tag_is_found_again() -> None:
    """Its unwanted rule is removed; a wanted one is kept, and the tag is set again."""
    untagged = [group(APP, "*"), group(DB, "*"), group(CACHE, "*")]
    gone = Sweeping(ours(K1, Claim("chg-9", int(NOW))), groups=untagged)
    gone()
    assert gone.claims() == {}
    kept = Sweeping(ours(K1), groups=untagged, instances=[instance(A, APP, link_peer="sg-db:tcp/1")])
    done = kept()
    assert (kept.claims(), done.managed) == ({K1: "tag"}, [DB])
    assert kept.ecs.known["sg-db"].tags.get(MANAGED) == "true"


@pytest.mark.parametrize("count", [0, 1, 2, 143, 144, 145, 1000, 10_000])
def test_every_group_with_rules_is_looked_at_within_a_day(count: int) -> None:
    """At most 200 in one sweep; groups without rules cost nothing."""
    groups = [group(Party(HOME, f"sg-{n:05}"), rule_count=1) for n in range(count)]
    idle = [group(Party(HOME, f"sg-idle{n}")) for n in range(3)]
    seen: set[Party] = set()
    for run in range(RUNS_A_DAY):
        world = delivery(FakeEcs(), clock=FakeClock(NOW + run * RUN_SECONDS))
        share = Sweep(world, "sweep-1")._share([*groups, *idle], seen={HOME})
        assert len(share) <= MAX_EXTRA_READS
        seen |= set(share)
    assert seen == {shown.party for shown in groups}


@pytest.mark.parametrize(("count", "runs"), [(0, 1), (200, 1), (1000, 6)])
def test_where_no_group_has_the_tag_every_group_is_looked_at_soon(count: int, runs: int) -> None:
    """Perhaps that account does not let the tag be written: as many as one run may, whatever other accounts hold."""
    groups = [group(Party(PEER, f"sg-{n:05}"), rule_count=1) for n in range(count)]
    seen: set[Party] = set()
    for run in range(runs):
        world = delivery(FakeEcs(), clock=FakeClock(NOW + run * RUN_SECONDS))
        share = Sweep(world, "sweep-1")._share(groups, seen={HOME})
        assert len(share) == len(set(share)) <= MAX_EXTRA_READS
        seen |= set(share)
    assert seen == {shown.party for shown in groups}


# instances that are set aside


HERE_I, THERE_I = (
    RuleKey(on, f"{source}/32", f"{dest}/32", ALL)
    for on, source, dest in ((DB, "10.0.0.1", "10.0.0.2"), (APP, "10.0.0.2", "10.0.0.1"))
)


@pytest.mark.parametrize("first", [A, B], ids=["asker first", "peer first"])
@pytest.mark.parametrize("standing", [True, False], ids=["standing", "new"])
def test_an_instance_without_tags_that_a_tag_names_is_found(first: Party, standing: bool) -> None:
    """Wherever it was listed: it was set aside, which does not mean that it is gone."""
    asker = instance(A, APP, ip="10.0.0.1", link_peer="i-b")
    peer = instance(B, DB, ip="10.0.0.2")
    shown = [asker, peer] if first == A else [peer, asker]
    rules = [ours(HERE_I, ends=(A, B)), ours(THERE_I, ends=(B, A))] if standing else []
    sweep = Sweeping(*rules, instances=shown)
    sweep()
    assert sweep.claims() == {HERE_I: "tag from=i-a to=i-b", THERE_I: "tag from=i-b to=i-a"}
    assert sweep.log.outcomes() == ([] if standing else [("applied", "")])


def test_a_requests_link_between_instances_without_tags_stays() -> None:
    """No tag names them; the rules do."""
    rules = [ours(HERE_I, REQ, ends=(A, B), age=OLD), ours(THERE_I, REQ, ends=(B, A), age=OLD)]
    ends = [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
    sweep = Sweeping(*rules, instances=ends)
    sweep()
    assert sweep.ecs.existing == rules
    assert sweep.log.outcomes() == []


def test_rules_of_a_group_read_late_are_kept_for_instances_set_aside() -> None:
    """The group lost its managed tag, and is read since a tag wants a link to it. Nobody asked for the ends before."""
    c, d = Party(HOME, "i-c"), Party(HOME, "i-d")
    rule = ours(key(DB, APP, "tcp/1"))
    late = RuleKey(CACHE, "10.0.0.3/32", "10.0.0.4/32", ALL)
    there = RuleKey(APP, "10.0.0.4/32", "10.0.0.3/32", ALL)
    rules = [rule, ours(late, REQ, ends=(c, d), age=60), ours(there, REQ, ends=(d, c), age=60)]
    shown = [
        instance(c, APP, ip="10.0.0.3"),
        instance(d, CACHE, ip="10.0.0.4"),
        instance(A, APP, link_peer="sg-db:tcp/1 sg-cache:tcp/2"),
    ]
    groups = [group(APP, "*"), group(DB, "*", managed_tag=True), group(CACHE, "*")]
    sweep = Sweeping(*rules, groups=groups, instances=shown)
    sweep()
    assert {rule.key for rule in rules} < set(sweep.claims())


def test_an_instance_that_a_tag_invents_costs_no_call() -> None:
    """Every instance is listed, so it is known that it does not exist. Its absence is confirmed once it closes a link."""
    peers = " ".join(f"i-no{number}" for number in range(50))
    sweep = Sweeping(instances=[instance(A, APP, ip="10.0.0.1", link_peer=peers)])
    sweep()
    assert [call for call in sweep.calls if call.startswith("instances")] == []
    assert json.loads(sweep.summary["counts"]) == {"denied instance-gone": 50}


def test_an_end_that_cannot_be_read_any_more_closes_nothing() -> None:
    """It was set aside, and its account fails before it is read by its id."""
    sweep = Sweeping(
        ours(HERE_I, ends=(A, B)),
        ours(THERE_I, ends=(B, A)),
        instances=[instance(A, APP, ip="10.0.0.1", link_peer="i-b"), instance(B, DB, ip="10.0.0.2")],
    )
    sweep.ecs.errors["instances"] = [Transient("timeout")]
    sweep()
    assert set(sweep.claims()) == {HERE_I, THERE_I}


def test_the_summary_counts_every_instance() -> None:
    """Also those set aside."""
    crowd = [instance(Party(HOME, f"i-{number}"), APP) for number in range(120)]
    sweep = Sweeping(instances=[*crowd, BYSTANDER])
    sweep.peer.running["i-x"] = instance(Party(PEER, "i-x"))
    sweep()
    assert sweep.summary["instances"] == "122"


# the share of an API's calls, and the time


class Counting(FakeEcs):
    """Counts the calls of each kind in each minute."""

    clock: FakeClock

    def _called(self, method: str, *args: str) -> None:
        self.minutes[method, int(self.clock.now() // 60)] += 1
        super()._called(method, *args)

    @functools.cached_property
    def minutes(self) -> Counter[tuple[str, int]]:
        return Counter()


def crowded(**fields: Any) -> Sweeping:
    """A sweep over 30 groups with rules that nobody wants, and 30 pages of instances."""
    groups = [group(Party(HOME, f"sg-{number:02}"), "*", managed_tag=True) for number in range(30)]
    rules = [ours(key(one.party, APP, "tcp/1"), Claim("chg-9", int(NOW))) for one in groups]
    sweep = Sweeping(*rules, groups=[group(APP, "*"), *groups], kind=Counting, **fields)
    sweep.ecs.clock = sweep.clock  # type: ignore[attr-defined]
    sweep.ecs.running |= {f"i-{n}": instance(Party(HOME, f"i-{n}"), APP) for n in range(59)}
    sweep.ecs.page = 2
    return sweep


def most(sweep: Sweeping, method: str) -> int:
    """The most calls of a kind in one minute."""
    minutes: Counter[tuple[str, int]] = sweep.ecs.minutes  # type: ignore[attr-defined]
    return max(count for (name, _), count in minutes.items() if name == method)


def test_a_sweep_reads_at_once_where_no_limit_is_known() -> None:
    sweep = crowded()
    sweep()
    assert most(sweep, "instance_page") == 30
    assert not [wait for wait in sweep.clock.waits if wait >= 1]


def test_a_sweep_leaves_half_of_each_apis_calls_to_others() -> None:
    """What it reads takes some minutes then, in waits that are short."""
    sweep = crowded(calls_per_minute=20)
    sweep()
    assert (most(sweep, "instance_page"), len([c for c in sweep.calls if c.startswith("instance_page")])) == (10, 30)
    assert sweep.ecs.existing == []
    assert max(sweep.clock.waits) <= 5


def test_a_quiet_sweep_reads_no_group_twice() -> None:
    """Neither its rules nor its tags, and each instance without wishes once."""
    rules = [ours(K1), ours(HERE_I, REQ, ends=(A, B), age=60), ours(THERE_I, REQ, ends=(B, A), age=60)]
    shown = [instance(A, APP, ip="10.0.0.1", link_peer="sg-db:tcp/1"), instance(B, DB, ip="10.0.0.2")]
    groups = [group(party, "*", managed_tag=True) for party in (APP, DB)]
    sweep = Sweeping(*rules, groups=groups, instances=[*shown, instance(Party(HOME, "i-c"), APP)])
    sweep()
    assert sweep.calls == ["all_groups", "rules sg-app", "rules sg-db", "instances i-a i-b", "instance_page", "summary"]


def test_an_account_whose_calls_are_used_up_holds_no_other_up() -> None:
    """Its rules are left; the other's are read, and closed."""
    sweep = crowded(calls_per_minute=2, seconds=60)
    foreign = group(FOREIGN, f"*@{HOME}", managed_tag=True)
    rule = ours(key(FOREIGN, APP, "tcp/1"), Claim("chg-9", int(NOW)))
    sweep.peer.known["sg-x"], sweep.peer.existing = foreign, [rule]
    done = sweep()
    assert sweep.peer.existing == []
    assert done.unread == {HOME: 29}
    assert f"29 groups of {HOME}: no time was left" in sweep.summary["detail"]


def test_rules_that_are_throttled_minute_after_minute_cost_one_minute() -> None:
    """Others use that API up completely. The wishes of the other account are still opened."""
    sweep = crowded()
    sweep.ecs.errors["rules"] = [Throttled("no")] * 99
    foreign = group(FOREIGN, "*")
    sweep.peer.known["sg-x"] = foreign
    sweep.peer.known["sg-y"] = group(Party(PEER, "sg-y"))
    sweep.peer.running["i-x"] = instance(Party(PEER, "i-x"), Party(PEER, "sg-y"), link_peer="sg-x:tcp/1")
    done = sweep()
    assert done.unread == {HOME: 30}
    assert [rule.key.source for rule in sweep.peer.existing if rule.key] == [f"sg-y@{PEER}"]
    assert 60 <= sum(sweep.clock.waits) < 125


def test_a_sweep_that_could_not_list_all_instances_removes_nothing_for_their_absence() -> None:
    """Nor opens anything in that account. It is no failure, and the summary says so."""
    asking = instance(A, APP, link_peer="sg-cache:tcp/1")
    filler = [instance(Party(HOME, f"i-{number}"), APP) for number in range(9)]
    sweep = Sweeping(ours(K1), instances=[asking, *filler], calls_per_minute=4, seconds=60)
    sweep.ecs.page = 2
    done = sweep()
    assert set(sweep.claims()) == {K1}
    assert done.report.pending == ()
    assert f"{HOME}: no time is left" in sweep.summary["detail"]


def test_changes_for_which_no_time_is_left_are_no_failure() -> None:
    """The summary counts them, and the next run makes them."""
    clock = FakeClock()

    class Late(FakeEcs):
        def instance_page(self, token: str = "") -> tuple[list[Instance], str]:
            clock.time = NOW + 600
            return super().instance_page(token)

    sweep = Sweeping(instances=[instance(A, APP, link_peer="sg-db:tcp/1")], kind=Late, clock=clock)
    done = sweep()
    assert (sweep.claims(), done.report.pending, done.report.undone) == ({}, (), 1)
    assert "1 changes: no time was left" in sweep.summary["detail"]


def test_trouble_in_a_run_with_time_left_is_a_failure() -> None:
    """The platform retries it."""
    sweep = Sweeping(instances=[instance(A, APP, link_peer="sg-db:tcp/1")])
    sweep.ecs.errors["authorize"] = [Transient("timeout")] * 9
    done = sweep()
    assert done.report.pending
    assert done.report.undone == 0


def test_another_account_is_listed_first_in_each_minute() -> None:
    """So that none is always the last when time runs out."""
    firsts = set()
    for minute in range(2):
        calls: list[str] = []

        class Named(FakeEcs):
            def instance_page(self, token: str = "") -> tuple[list[Instance], str]:
                calls.append(self.account)  # noqa: B023
                return super().instance_page(token)

        world = delivery(Named(), Named(account=PEER), clock=FakeClock(NOW + 60 * minute))
        Sweep(world, "sweep-1").run()
        firsts.add(calls[0])
    assert firsts == {HOME, PEER}


# what is recorded


def test_a_wish_that_stays_denied_is_counted_and_not_recorded() -> None:
    """In the summary, by outcome and reason."""
    sweep = Sweeping(
        groups=[group(APP), group(DB), group(CACHE)], instances=[instance(A, APP, link_peer="sg-db:tcp/1 x")]
    )
    sweep()
    assert [record["record"] for record in sweep.log.records] == ["summary"]
    assert json.loads(sweep.summary["counts"]) == {"denied bad-tag": 1, "denied no-consent": 1}
    assert sweep.summary["denied"] == "2"


def test_changes_are_recorded_and_counted() -> None:
    sweep = Sweeping(ours(K1, Claim("chg-9", int(NOW))), instances=[instance(A, APP, link_peer="sg-cache:tcp/1")])
    sweep()
    assert sorted(sweep.log.outcomes()) == [("applied", ""), ("removed", "expired")]
    assert json.loads(sweep.summary["counts"]) == {"applied": 1, "removed expired": 1}
    assert (sweep.summary["changed"], sweep.summary["removed"], sweep.summary["outcome"]) == ("2", "1", "applied")


def test_a_quiet_sweep_writes_its_summary_alone() -> None:
    """Links that are as they should be are not recorded again."""
    sweep = Sweeping(
        ours(K1),
        instances=[instance(A, APP, link_peer="sg-db:tcp/1")],
        groups=[group(APP), group(DB, "*", managed_tag=True)],
    )
    sweep()
    assert [record["record"] for record in sweep.log.records] == ["summary"]
    assert (sweep.summary["outcome"], sweep.summary["changed"]) == ("unchanged", "0")


def test_a_damaged_marker_is_named_and_left_alone() -> None:
    """Someone added a note to a rule's description."""
    damaged = theirs(K1, ours(K1).description + " (db access)")
    sweep = Sweeping(damaged)
    sweep()
    assert (sweep.ecs.existing, sweep.summary["damaged_markers"]) == ([damaged], str(DB))


def test_the_tag_of_an_empty_group_is_removed_without_an_outcome() -> None:
    """The RequestIds are in the summary."""
    sweep = Sweeping()
    sweep()
    assert sweep.ecs.changes() == ["untag sg-app", "untag sg-cache", "untag sg-db"]
    assert len(sweep.summary["api_requests"].split(",")) == 3
    assert sweep.log.outcomes() == []


def test_a_name_that_tags_invent_costs_no_call() -> None:
    """Thousands of unknown groups among the peers: every group is listed once instead."""
    peers = " ".join(f"sg-no{number}" for number in range(50))
    sweep = Sweeping(instances=[instance(A, APP, link_peer=peers), BYSTANDER])
    sweep()
    assert [call for call in sweep.calls if call.startswith(("groups", "instances"))] == []
