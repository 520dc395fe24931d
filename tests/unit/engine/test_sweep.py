"""The sweep: what it does not read, what it reads only once, and how it shares the calls of an API with others.

What it opens, closes, keeps and records is in tests/functional/sweep."""

from __future__ import annotations

import functools
import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from link_peer.domain.errors import NoAccess, Throttled, Transient
from link_peer.domain.model import ALL, TAG, Claim, Group, Instance, Link, Party, Rule, RuleKey
from link_peer.domain.policy import Limits
from link_peer.engine.read.store import Store
from link_peer.engine.scopes import account_reads
from link_peer.engine.scopes.account import AccountScope
from link_peer.engine.scopes.account_reads import AccountReads
from link_peer.engine.scopes.accounts import SweptAccounts, _Latest, sweep_accounts
from link_peer.engine.scopes.sweep import LISTING_TOGETHER_SHARE, AccountSweep, Run, begin, sweep_account
from link_peer.engine.write.work import Until
from link_peer.planning.rota import LOOK_SECONDS, RUN_SECONDS
from link_peer.runtime.delivery import Delivery, Throughput

from tests.unit.fakes import FakeClock, FakeEcs, FakeLog, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, A, B, C
from tests.unit.snapshots import APART, group, instance, key, managed, member, one_instance, ours, policy, text, theirs

K1 = key(DB, APP, "tcp/1")
REQ = Claim("chg-1")
FOREIGN = Party(PEER, "sg-x")
BYSTANDER = instance(B, CACHE, link_peer="sg-nowhere")
"""So that the account shows instances, and tags."""


def of_all(delivery: Delivery) -> AccountSweep:
    """A sweep of all accounts: what became of home."""
    results = sweep_accounts(Run(delivery, "sweep-1"), delivery.policy.accounts)
    (home,) = (result for result in results if isinstance(result, AccountSweep) and result.account == HOME)
    return home


def of_account(delivery: Delivery) -> AccountSweep:
    """A sweep of home alone."""
    return sweep_account(begin(Run(delivery, "sweep-1"), HOME))


Kind = Callable[[Delivery], AccountSweep]
KINDS = pytest.mark.parametrize("kind", [of_all, of_account], ids=["all", "account"])
"""a sweep of all accounts, and one of home, which does the same there"""


class Sweeping:
    """One sweep over sg-app, sg-db and sg-cache of home; the other account is empty."""

    def __init__(
        self,
        *rules: Rule,
        groups: Sequence[Group] | None = None,
        instances: Sequence[Instance] = (BYSTANDER,),
        ecs: type[FakeEcs] = FakeEcs,
        run: int = 0,
        **fields: Any,
    ) -> None:
        self.calls: list[str] = []
        groups_shown = groups or [group(party, "*", managed_tag=True) for party in (APP, DB, CACHE)]
        self.ecs = ecs(
            [_counted(group_shown, rules) for group_shown in groups_shown], instances, rules, calls=self.calls
        )
        self.peer = FakeEcs(account=PEER)
        self.log = FakeLog(self.calls)
        self.clock = FakeClock(NOW + run * RUN_SECONDS)
        accounts = (self.ecs, self.peer)
        self.delivery = delivery(*accounts, log=self.log, clock=self.clock, **fields)

    def __call__(self, kind: Kind = of_all) -> AccountSweep:
        return kind(self.delivery)

    @property
    def summary(self) -> dict[str, str]:
        """That of the home account."""
        (summary,) = [r for r in self.log.records if r["record"] == "summary" and r["account"] == HOME]
        return summary

    def claims(self) -> dict[Any, str]:
        """The claims on every rule."""
        return {rule.key: rule.description.partition(" by=")[2] for rule in self.ecs.existing}


def reads_of(delivery: Delivery, account: str = HOME) -> AccountReads:
    """What a sweep of the account would read with."""
    return begin(Run(delivery, "sweep-1"), account).reads


def _counted(group_shown: Group, rules: Sequence[Rule]) -> Group:
    count = sum(rule.group == group_shown.party for rule in rules)
    return Group(group_shown.party, group_shown.vpc, tags=group_shown.tags, rule_count=count)


# groups without the managed tag


@pytest.mark.parametrize(
    ("account", "count", "runs", "most"),
    [
        *((HOME, count, 86_400 // RUN_SECONDS, count // 144 + 2) for count in (0, 1, 2, 143, 144, 145, 1000)),
        *((PEER, count, runs, 200) for count, runs in ((0, 1), (200, 1), (1000, 6))),
    ],
)
def test_every_group_with_rules_is_looked_at_within_a_day(account: str, count: int, runs: int, most: int) -> None:
    """At most 200 in one sweep, and little more than has to be; groups without rules cost nothing. Where no group of an
    account has the tag, perhaps it may not be written there: as many as one run may, whatever other accounts hold."""
    groups = [group(Party(account, f"sg-{n:05}"), rule_count=1) for n in range(count)]
    quiet_groups = [group(Party(HOME, "sg-idle")), managed(DB, rule_count=1)]
    groups_read: set[Party] = set()
    for run in range(runs):
        world = delivery(FakeEcs(), clock=FakeClock(NOW + run * RUN_SECONDS))
        share = reads_of(world, account).untagged_share(
            [candidate for candidate in (*groups, *quiet_groups) if candidate.party.account == account]
        )
        assert len(share) == len(set(share)) <= most
        groups_read |= set(share)
    assert groups_read == {group_shown.party for group_shown in groups}


def test_a_run_reads_no_more_groups_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the daily share alone is as many."""
    monkeypatch.setattr(account_reads, "MAX_EXTRA_READS", 1)
    groups = [group(Party(HOME, f"sg-{n}"), rule_count=1) for n in range(3)]
    assert len(reads_of(delivery(FakeEcs())).untagged_share(groups)) == 1


@pytest.mark.parametrize(("groups", "looks"), [(0, 1), (200, 1), (400, 2), (10_000, 52)])
def test_the_rules_of_crowded_buckets_are_read_in_turn(groups: int, looks: int) -> None:
    """Some 200 groups of them in each short sweep, of an account with so many groups."""
    shares = [
        reads_of(delivery(FakeEcs(), clock=FakeClock(NOW + look * LOOK_SECONDS))).crowded_share(range(256), groups)
        for look in range(looks)
    ]
    assert set().union(*shares) == set(range(256))
    assert max(map(len, shares)) * groups / 256 <= 205
    assert reads_of(delivery(FakeEcs())).crowded_share((), groups) == set()


def test_parties_are_read_anew_as_long_as_there_is_time() -> None:
    """Apart from what was read before, but for groups of an account all of whose groups were. Trouble is that reading's
    alone."""
    peer = FakeEcs([group(FOREIGN)], account=PEER)
    reads = reads_of(delivery(FakeEcs([group(APP), group(DB)], [instance(A, APP)]), peer))
    reads.fetch.all_groups([HOME])
    late = reads.parties_anew([A, FOREIGN], NOW)
    assert (late.instances.keys(), late.groups.keys(), late.requested) == (set(), {APP, DB}, set())
    peer.groups = _no_answer  # type: ignore[method-assign]
    snapshot = reads.parties_anew([A, FOREIGN], math.inf)
    assert (snapshot.instances.keys(), snapshot.groups.keys()) == ({A}, {APP, DB})
    assert (snapshot.readable(PEER), reads.snapshot.readable(PEER), reads.snapshot.instances) == (False, True, {})


def _no_answer(_ids: Sequence[str]) -> list[Group]:
    raise Transient("no answer")


# instances that are set aside


HERE_I, THERE_I = (
    RuleKey(on, f"{source}/32", f"{dest}/32", ALL)
    for on, source, dest in ((DB, "10.0.0.1", "10.0.0.2"), (APP, "10.0.0.2", "10.0.0.1"))
)


@KINDS
def test_rules_of_a_group_read_late_are_kept_for_instances_set_aside(kind: Kind) -> None:
    """The group lost its managed tag, and is read since a tag wants a link to it. Nobody asked for the ends before."""
    c, d = Party(HOME, "i-c"), Party(HOME, "i-d")
    rule = ours(key(DB, APP, "tcp/1"))
    late = RuleKey(CACHE, "10.0.0.3/32", "10.0.0.4/32", ALL)
    address_rule = RuleKey(APP, "10.0.0.4/32", "10.0.0.3/32", ALL)
    rules = [rule, ours(late, REQ, ends=(c, d), age=60), ours(address_rule, REQ, ends=(d, c), age=60)]
    instances = [
        instance(c, APP, ip="10.0.0.3"),
        instance(d, CACHE, ip="10.0.0.4"),
        instance(A, APP, link_peer="sg-db:tcp/1 sg-cache:tcp/2"),
    ]
    groups = [group(APP, "*"), group(DB, "*", managed_tag=True), group(CACHE, "*")]
    sweep = Sweeping(*rules, groups=groups, instances=instances)
    sweep(kind)
    assert {rule.key for rule in rules} < set(sweep.claims())


# what one account names, however much it is


def test_so_many_instances_that_one_account_names_are_read_in_a_run() -> None:
    """Of each other account 2,000, by their ids."""
    links = [Link(Party(account, f"i-{n}"), DB) for n in range(2_001) for account in (HOME, PEER)]
    parties, postponed = reads_of(delivery(FakeEcs())).parties_of(links)
    assert [sum(party.account == account for party in postponed) for account in (HOME, PEER)] == [1, 1]
    assert len(parties) == 2 * 2_000 + 1


@KINDS
@pytest.mark.parametrize(("limit", "removed"), [(2_000, [3]), (2, [0, 1, 1, 1])])
def test_instances_that_rules_name_are_looked_at_in_turns(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, limit: int, removed: list[int]
) -> None:
    """Until both ends of a rule are read in one run, it stands: any two of them have their turn together soon."""
    monkeypatch.setattr(account_reads, "MAX_NAMED_BY_RULES", limit)
    keys = [RuleKey(DB, f"10.0.1.{n}/32", "10.0.0.2/32", ALL) for n in range(3)]
    rules = [ours(rule_key, REQ, ends=(Party(HOME, f"i-gone{n}"), B), age=60) for n, rule_key in enumerate(keys)]
    assert _in_runs(kind, rules, [BYSTANDER], len(removed)) == removed


@KINDS
@pytest.mark.parametrize(("limit", "opened"), [(2_000, [3]), (2, [2, 1])])
def test_instances_that_tags_name_are_looked_at_in_turns(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, limit: int, opened: list[int]
) -> None:
    monkeypatch.setattr(account_reads, "MAX_NAMED_BY_RULES", limit)
    peers = [instance(Party(HOME, f"i-{n}"), DB, ip=f"10.0.1.{n}") for n in range(3)]
    asker = instance(A, APP, ip="10.0.0.1", link_peer=" ".join(f"{peer.party.id}:tcp/1" for peer in peers))
    assert _in_runs(kind, [], [asker, *peers], len(opened)) == [-count for count in opened]


@KINDS
@pytest.mark.parametrize(("limit", "removed"), [(None, [102, 1]), (1, [3, 1])])
def test_groups_whose_links_nobody_asks_for_are_looked_at_in_turns(
    monkeypatch: pytest.MonkeyPatch, kind: Kind, limit: int | None, removed: list[int]
) -> None:
    """Each costs a read of its instances, a hundred in a run. Instances are read together."""
    sources = [APP, CACHE]
    if limit:
        monkeypatch.setattr(account_reads, "ASKING", limit)
    else:
        sources = [Party(HOME, f"sg-{n}") for n in range(101)]
    between = [RuleKey(DB, f"10.0.1.{n}/32", "10.0.0.2/32", ALL) for n in range(2)]
    ends = [Party(HOME, f"i-{n}") for n in range(2)]
    rules = [ours(rule_key, ends=(end, B), age=60) for rule_key, end in zip(between, ends, strict=True)]
    asking = Party(HOME, "sg-1st")
    rules += [ours(key(DB, source, "tcp/1")) for source in [asking, *sources]]
    instances = [instance(end, *sources, ip=f"10.0.1.{n}", name="x") for n, end in enumerate(ends)]
    instances += [instance(B, DB, ip="10.0.0.2"), BYSTANDER, instance(A, asking, link_peer="sg-db:tcp/1")]
    groups = [managed(party, "*") for party in {*sources, DB, APP, CACHE, asking}]
    assert _in_runs(kind, rules, instances, len(removed), groups=groups) == removed


def _in_runs(kind: Kind, rules: Sequence[Rule], instances: Sequence[Instance], runs: int, **fields: Any) -> list[int]:
    """How many rules each run removes."""
    removed = []
    for run in range(runs):
        sweep = Sweeping(
            *rules, instances=instances, run=run, policy=policy(limits=Limits(removals_per_run=200)), **fields
        )
        sweep(kind)
        removed.append(len(rules) - len(sweep.ecs.existing))
        rules = sweep.ecs.existing
    return removed


# what changes while rules are written


class Meanwhile(FakeEcs):
    """A group is locked while instances are read, which takes 10 seconds."""

    clock: FakeClock
    locked: Party

    def instance_page(self, token: str = "", group: str = "") -> tuple[list[Instance], str]:
        self.clock.time += 10
        self.group_by_id[self.locked.id] = managed(self.locked, "*", lock=True)
        return super().instance_page(token, group)


@KINDS
@pytest.mark.parametrize(
    ("locked", "half", "rules_left"),
    [(APP, ours(key(APP, DB)), 0), (DB, ours(key(APP, DB)), 1), (APP, theirs(key(APP, DB)), 1)],
)
def test_a_lock_that_comes_before_half_of_a_link_is_written_closes_all_of_its_group(
    kind: Kind, locked: Party, half: Rule, rules_left: int
) -> None:
    """Whichever half it is, and in the same run: the tags are read again then."""
    rules = [half, ours(key(APP, CACHE, "tcp/9"), REQ)]
    sweep = Sweeping(*rules, instances=[instance(A, APP, link_peer="sg-db"), BYSTANDER], ecs=Meanwhile)
    sweep.ecs.clock, sweep.ecs.locked = sweep.clock, locked  # type: ignore[attr-defined]
    run = sweep(kind)
    assert (len(sweep.ecs.existing), run.report.removed) == (rules_left, 2 - rules_left)


@KINDS
@pytest.mark.parametrize("lock", [True, False])
def test_the_other_half_goes_too_though_its_group_lost_the_managed_tag(kind: Kind, lock: bool) -> None:
    """Whether the first one is forbidden or nobody asks for the link."""
    other_parties = [Party(HOME, f"sg-{n:03}") for n in range(20)]
    last = other_parties[7]
    rules = [
        *(ours(key(DB, last)), ours(key(last, DB))),
        *(theirs(key(other_party, APP)) for other_party in other_parties),
    ]
    groups = [group(APP), managed(DB, "*", lock=lock), *(group(other_party, "*") for other_party in other_parties)]
    instances = [instance(A, APP, name="x"), instance(B, DB), instance(Party(HOME, "i-c"), last)]
    sweep = Sweeping(*rules, groups=groups, instances=instances)
    sweep(kind)
    assert sweep.ecs.existing == rules[2:]
    assert [call for call in sweep.calls if call.startswith("rules")].count("rules sg-001") == 0


# what is recorded and counted once


@KINDS
def test_a_removal_that_is_refused_is_tried_and_recorded_once(kind: Kind) -> None:
    """Though the group is looked at again, after another link was opened on it."""
    groups = [managed(DB, "sg-app"), managed(APP), managed(CACHE)]
    rule = ours(key(DB, CACHE, "tcp/1"), REQ)
    sweep = Sweeping(rule, groups=groups, instances=[instance(A, APP, link_peer="sg-db:tcp/1"), BYSTANDER])
    sweep.ecs.errors["revoke"] = [NoAccess("Forbidden.RAM", "no")] * 9
    sweep(kind)
    assert sweep.log.outcomes() == [("denied", "no-access"), ("applied", "")]
    assert sweep.ecs.changes().count("revoke sg-db") == 1


@KINDS
def test_a_link_that_is_refused_is_counted_once(kind: Kind) -> None:
    sweep = Sweeping(instances=[instance(A, APP, link_peer="sg-db:tcp/1"), BYSTANDER])
    sweep.ecs.errors["authorize"] = [NoAccess("Forbidden.RAM", "no")]
    sweep(kind)
    assert sweep.summary["denied"] == "2"  # with the bystander's wish


@KINDS
def test_a_link_that_waits_for_a_rule_of_the_same_run_is_not_counted_as_denied(kind: Kind) -> None:
    """There is room for one instance, and another one had it, which asks no more."""
    limited = policy(limits=Limits(max_members=1))
    instances = [one_instance(A, APP, peer="sg-db:tcp/1"), one_instance(C, APP)]
    sweep = Sweeping(member(C), groups=APART, instances=instances, policy=limited)
    sweep(kind)
    assert [text(rule) for rule in sweep.claims()] == ["10.0.0.1/32>sg-db tcp/1"]
    assert sweep.summary["denied"] == "0"


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
    rules = [ours(key(group_shown.party, APP, "tcp/1"), Claim("chg-9", int(NOW))) for group_shown in groups]
    sweep = Sweeping(*rules, groups=[group(APP, "*"), *groups], ecs=Counting, **fields)
    sweep.ecs.clock = sweep.clock  # type: ignore[attr-defined]
    sweep.ecs.running |= {f"i-{n}": instance(Party(HOME, f"i-{n}"), APP) for n in range(59)}
    sweep.ecs.page = 2
    return sweep


def most(sweep: Sweeping, method: str) -> int:
    """The most calls of a kind in one minute."""
    minutes: Counter[tuple[str, int]] = sweep.ecs.minutes  # type: ignore[attr-defined]
    return max(count for (name, _), count in minutes.items() if name == method)


@KINDS
def test_a_sweep_leaves_half_of_each_apis_calls_to_others(kind: Kind) -> None:
    """What it reads takes some minutes then, in waits that are short."""
    sweep = crowded(calls_per_minute=20)
    run = sweep(kind)
    assert (most(sweep, "instance_page"), len([c for c in sweep.calls if c.startswith("instance_page")])) == (10, 30)
    assert (sweep.ecs.existing, run.report.removed) == ([], 30)
    assert max(sweep.clock.waits) <= 5


def test_a_quiet_sweep_reads_no_group_twice() -> None:
    """Neither its rules nor its tags, and each instance without wishes once."""
    rules = [ours(K1), ours(HERE_I, REQ, ends=(A, B), age=60), ours(THERE_I, REQ, ends=(B, A), age=60)]
    instances = [instance(A, APP, ip="10.0.0.1", link_peer="sg-db:tcp/1"), instance(B, DB, ip="10.0.0.2")]
    groups = [group(party, "*", managed_tag=True) for party in (APP, DB)]
    sweep = Sweeping(*rules, groups=groups, instances=[*instances, instance(Party(HOME, "i-c"), APP)])
    sweep()
    assert sweep.calls == [
        "all_groups",
        "rules sg-app",
        "rules sg-db",
        "instances i-a i-b",
        "instance_page",
        "summary",
        "summary",
    ]


def test_an_account_whose_calls_are_used_up_holds_no_other_up() -> None:
    """Its rules are left; the other's are read, and closed."""
    sweep = crowded(calls_per_minute=2, seconds=60)
    foreign = group(FOREIGN, f"*@{HOME}", managed_tag=True)
    rule = ours(key(FOREIGN, APP, "tcp/1"), Claim("chg-9", int(NOW)))
    sweep.peer.group_by_id["sg-x"], sweep.peer.existing = foreign, [rule]
    run = sweep()
    assert sweep.peer.existing == []
    assert Counter(unread.account for unread in run.unread) == {HOME: 29}
    assert f"29 groups of {HOME}: no time was left" in sweep.summary["detail"]


def test_rules_that_are_throttled_minute_after_minute_cost_one_minute() -> None:
    """Others use that API up completely. The wishes of the other account are still opened."""
    sweep = crowded()
    sweep.ecs.errors["rules"] = [Throttled("no")] * 99
    foreign = group(FOREIGN, "*")
    sweep.peer.group_by_id["sg-x"] = foreign
    sweep.peer.group_by_id["sg-y"] = group(Party(PEER, "sg-y"))
    sweep.peer.running["i-x"] = instance(Party(PEER, "i-x"), Party(PEER, "sg-y"), link_peer="sg-x:tcp/1")
    run = sweep()
    assert Counter(unread.account for unread in run.unread) == {HOME: 30}
    assert [rule.key.source for rule in sweep.peer.existing if rule.key] == [f"sg-y@{PEER}"]
    assert 60 <= sum(sweep.clock.waits) < 125


@KINDS
def test_what_a_throttled_account_asks_for_is_opened_in_the_next_minute(kind: Kind) -> None:
    """All of it waits, and the run has not failed."""
    sweep = Sweeping(instances=[instance(A, APP, link_peer="sg-db:tcp/1 sg-cache:tcp/1"), BYSTANDER])
    throttled = Throttled("no")
    throttled.account = HOME
    sweep.ecs.errors["authorize"] = [throttled]
    run = sweep(kind)
    assert {rule.group for rule in sweep.ecs.existing} == {DB, CACHE}
    assert (run.report.pending, run.report.undone) == ((), 0)
    assert sum(sweep.clock.waits) >= 60 - NOW % 60


def test_what_fails_when_the_time_is_over_is_left_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run has not failed; the next one goes on."""
    sweep = Sweeping(instances=[instance(A, APP, link_peer="sg-db:tcp/1"), BYSTANDER])

    def late(*_args: object, **_fields: object) -> str:
        sweep.clock.time = sweep.delivery.retry.deadline
        raise Transient("503")

    monkeypatch.setattr(sweep.ecs, "authorize", late)
    run = sweep()
    assert (sweep.ecs.existing, run.report.pending, run.report.undone) == ([], (), 1)


@KINDS
def test_closing_waits_for_no_throttled_account_until_wishes_are_read(
    monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    """Nor for one that has much to close, where others are swept, too. Then it waits, and keeps half of the time for
    opening."""
    untils: list[Until] = []
    closing_until = AccountScope.closing_until

    def noted(scope: AccountScope) -> Until:
        untils.append(closing_until(scope))
        return untils[-1]

    monkeypatch.setattr(AccountScope, "closing_until", noted)
    sweeping = Sweeping()
    seconds_left = sweeping.delivery.retry.deadline - NOW
    sweeping(kind)

    def at(share: float) -> Any:
        return pytest.approx(NOW + share * seconds_left)

    closing = [(at(0.65), at(0.65), math.inf)]
    opening = [(at(0.5), at(0.5), math.inf)]
    if kind is of_all:  # two accounts share the time, and what the first does not use, the second has
        closing = [(at(share), 0.0, pytest.approx(0.15 * seconds_left)) for share in (0.65 / 2, 0.65)]
        turns = [(at(share), at(share), math.inf) for share in (0.5 / 2, 0.5)]
        opening = turns * 3  # with what peers show, and what nobody asks for
    assert [(until.end, until.patience, until.each) for until in untils] == [*closing, *opening]


# several accounts in one run


class Several(Sweeping):
    """One sweep of two accounts: each asks for a link within itself, and holds a rule that has ended and one that
    nobody asks for."""

    def __init__(self, run: int = 0) -> None:
        ended = Claim("chg-9", int(NOW))
        super().__init__(
            ours(key(DB, CACHE, "tcp/9"), ended),
            ours(key(DB, CACHE, "tcp/8"), TAG),
            instances=[instance(A, APP, link_peer="sg-db:tcp/1"), instance(B, CACHE, name="x")],
            run=run,
        )
        p, q, r = (Party(PEER, f"sg-{name}") for name in "pqr")
        rules = [ours(key(q, r, "tcp/9"), ended), ours(key(q, r, "tcp/8"), TAG)]
        self.peer.group_by_id = {party.id: _counted(group(party, "*", managed_tag=True), rules) for party in (p, q, r)}
        self.peer.existing, self.peer.calls = rules, self.calls
        instances = [instance(Party(PEER, "i-p"), p, link_peer="sg-q:tcp/1"), instance(Party(PEER, "i-r"), r, name="x")]
        self.peer.running = {instance.party.id: instance for instance in instances}

    def changes(self) -> list[str]:
        """The changes of rules in both accounts, in their order."""
        return [call for call in self.calls if call.split()[0] in ("revoke", "authorize")]


def test_no_account_is_always_the_first() -> None:
    """Runs begin with another one in turn."""
    firsts = []
    for run in range(2):
        several = Several(run)
        several()
        firsts.append(several.changes()[0])
    assert sorted(firsts) == ["revoke sg-db", "revoke sg-q"]


@pytest.mark.parametrize("run", range(2))
def test_all_accounts_close_before_any_of_them_opens(run: int) -> None:
    """First what has ended, then what nobody asks for."""
    several = Several(run)
    several()
    revoked, opened = several.changes()[:4], several.changes()[4:]
    assert sorted(revoked) == ["revoke sg-db"] * 2 + ["revoke sg-q"] * 2
    assert revoked[0] != revoked[1]
    assert sorted(opened) == ["authorize sg-db", "authorize sg-q"]


def test_an_account_that_raises_keeps_no_other_from_its_sweep() -> None:
    """What it raised takes the place of its sweep."""
    several = Several()
    several.ecs.all_groups = _broken  # type: ignore[method-assign]
    results = sweep_accounts(Run(several.delivery, "sweep-1"), [HOME, PEER])
    assert sorted(type(result).__name__ for result in results) == ["AccountSweep", "ZeroDivisionError"]
    assert len(several.peer.existing) == 1


def _broken() -> list[Group]:
    raise ZeroDivisionError


def test_progress_is_that_of_all_accounts() -> None:
    """Accounts and groups, each counted in the whole run."""
    counts: list[tuple[str, int, int]] = []
    run = Run(Several().delivery, "sweep-1", progress=lambda *count: counts.append(count))
    sweep_accounts(run, [HOME, PEER])
    assert [count for count in counts if count[0] == "accounts read"] == [("accounts read", n, 2) for n in (1, 2)]
    assert max(count[1] for count in counts if count[0] == "groups read") == 6


def test_instances_that_could_not_all_be_listed_are_told_of_the_account() -> None:
    """What was listed is opened, and nothing that is not shown is removed."""
    several = Several()
    several.peer.page = 1
    several.peer.instance_page = functools.partial(_slow, several, several.peer.instance_page)  # type: ignore[method-assign]
    sweeps = sweep_accounts(Run(several.delivery, "sweep-1"), [HOME, PEER])
    swept = SweptAccounts(several.delivery, tuple(sweep for sweep in sweeps if isinstance(sweep, AccountSweep)))
    assert swept.unreadable == {PEER: "could not be read: there was no time to list all of its instances"}
    details = {
        record["account"]: record.get("detail", "") for record in several.log.records if record["record"] == "summary"
    }
    assert f"instances of {PEER}: no time was left to list all of them" in details[PEER]
    assert "no time" not in details[HOME]
    assert {rule.key for rule in several.peer.existing if rule.key} == {
        key(Party(PEER, "sg-q"), Party(PEER, name), port) for name, port in (("sg-p", "tcp/1"), ("sg-r", "tcp/8"))
    }


def _slow(several: Several, page: Callable[..., Any], *token: str) -> Any:
    several.clock.time = NOW + LISTING_TOGETHER_SHARE * (several.delivery.retry.deadline - NOW)
    return page(*token)


@pytest.mark.parametrize(("errors", "standing", "troubles"), [(7, 0, 0), (8, 1, 1)])
def test_what_fails_while_closing_and_succeeds_later_is_no_trouble_of_the_run(
    errors: int, standing: int, troubles: int
) -> None:
    """Each step has four attempts."""
    sweep = Sweeping(ours(K1, Claim("chg-1", int(NOW))))
    sweep.ecs.errors["revoke"] = [Transient("503")] * errors
    report = sweep(of_account).report
    assert (len(sweep.ecs.existing), len(report.pending), report.undone) == (standing, troubles, 0)


@pytest.mark.parametrize(("believe_empty", "standing"), [(frozenset[str](), 1), (frozenset({HOME}), 0)])
def test_an_account_without_instances_loses_rules_only_if_a_person_says_that_it_is_empty(
    believe_empty: frozenset[str], standing: int
) -> None:
    sweep = Sweeping(ours(HERE_I, REQ, ends=(A, B), age=60), instances=[])
    sweep_account(begin(Run(sweep.delivery, "sweep-1", believe_empty), HOME))
    assert len(sweep.ecs.existing) == standing


@pytest.mark.parametrize(("supposed", "role"), [(False, "own role"), (True, None)])
def test_a_sweep_that_is_only_supposed_does_not_say_as_which_role_an_account_was_entered(
    supposed: bool, role: str | None
) -> None:
    """The caller's keys read it, not those of the functions."""
    sweep = Sweeping()
    sweep.delivery = msgspec.structs.replace(sweep.delivery, supposed=supposed)
    sweep(of_account)
    assert sweep.summary.get("entered_as") == role


# what decides whether something stays


class Vanishing(FakeEcs):
    """Its instances were listed, and it shows none when it is asked for any once more."""

    def shows_instances(self) -> bool:
        self._called("shows_instances")
        return False


@pytest.mark.parametrize(("ecs", "standing"), [(FakeEcs, 0), (Vanishing, 1)])
@KINDS
def test_what_an_account_stopped_showing_while_it_was_read_keeps_its_rules(
    kind: Kind, ecs: type[FakeEcs], standing: int
) -> None:
    """It is asked once more before anything goes that it does not show."""
    sweep = Sweeping(ours(HERE_I, REQ, ends=(A, B), age=60), ecs=ecs)
    sweep(kind)
    assert len(sweep.ecs.existing) == standing


@pytest.mark.parametrize(("caller", "standing"), [("", 0), ("acs:ram::1:user/x", 1)])
@KINDS
def test_a_persons_sweep_takes_no_refusal_for_an_end_of_wishes(kind: Kind, caller: str, standing: int) -> None:
    """The functions' keys may be let in where a person's are refused."""
    sweep = Sweeping(ours(key(DB, FOREIGN)), groups=[managed(APP), managed(DB, f"*@{PEER}"), managed(CACHE)])
    sweep.delivery = msgspec.structs.replace(delivery(sweep.ecs, log=sweep.log, clock=sweep.clock), caller=caller)
    sweep(kind)
    assert len(sweep.ecs.existing) == standing


@KINDS
def test_a_group_gets_no_tag_back_for_a_rule_that_goes_in_the_same_run(kind: Kind) -> None:
    """Whether nobody asks for the rule is known once wishes are read."""
    sweep = Sweeping(ours(K1), groups=[managed(APP), group(DB, "*"), managed(CACHE)])
    sweep(kind)
    assert [call for call in sweep.ecs.changes() if call.startswith(("tag", "revoke"))] == ["revoke sg-db"]


def test_an_account_reads_what_its_own_rules_name() -> None:
    """Those of another account that it read as other halves are the other's."""
    foreign = Party(PEER, "sg-y")
    peer = FakeEcs([group(FOREIGN)], rules=[ours(key(FOREIGN, foreign))], account=PEER)
    reads = reads_of(delivery(FakeEcs([group(DB)], rules=[ours(K1)]), peer))
    reads.fetch.rules([DB, FOREIGN])
    assert reads.standing() == [Link(APP, DB, (K1.port,))]


# side by side


class Meeting(FakeEcs):
    """Lists its groups once another account lists its own at the same time."""

    meeting: threading.Barrier

    def all_groups(self) -> list[Group]:
        self.meeting.wait(60)
        return super().all_groups()


@pytest.mark.parametrize(("throughput", "readers"), [(Throughput(2), 1), (Throughput(1, 2), 1), (Throughput(4), 2)])
def test_accounts_are_read_side_by_side_and_share_the_readers(throughput: Throughput, readers: int) -> None:
    accounts = [Meeting(account=account) for account in (HOME, PEER)]
    meeting = threading.Barrier(2)
    for account in accounts:
        account.meeting = meeting
    together = msgspec.structs.replace(delivery(*accounts), throughput=throughput)
    sweeps = sweep_accounts(Run(together, "sweep-1"), [HOME, PEER])
    assert [sweep.work.delivery.throughput.readers for sweep in sweeps if isinstance(sweep, AccountSweep)] == [
        readers
    ] * 2


def test_an_account_is_live_where_its_own_reads_show_an_instance() -> None:
    """Whatever the reads of another account say of it."""
    together, own_store, other_store = Store(), Store(), Store()
    own_store.live_accounts = {HOME}
    other_store.live_accounts = {"1" * 16}
    together.take_over({HOME: own_store, PEER: other_store})
    assert together.snapshot().live_accounts == {HOME}


def test_an_account_learns_what_others_found_out_about_what_it_has_read() -> None:
    """Tags and rules that changed, and rules that cannot be read any more; nothing that it did not ask for, and nothing
    that the others had read before it."""
    latest, before, now, other_store = _Latest(), Store(), Store(), Store()
    for store in (before, now, other_store):
        store.groups = {party: group(party) for party in (APP, DB)}
        store.rules = {party: (ours(key(party, CACHE)),) for party in (APP, DB, CACHE)}
    now.groups[DB], now.rules[DB] = before.groups[DB], before.rules[DB]
    now.groups[APP], now.rules[APP] = managed(APP), ()
    now.groups[FOREIGN], now.rules[FOREIGN] = group(FOREIGN), ()
    del now.rules[CACHE]
    untouched = other_store.groups[DB], other_store.rules[DB]
    latest.note(before, now)
    latest.tell(other_store)
    assert other_store.groups == {APP: managed(APP), DB: group(DB)}
    assert other_store.rules == {APP: (), DB: untouched[1]}
    assert other_store.groups[DB] is untouched[0]
    assert other_store.rules[DB] is untouched[1]
