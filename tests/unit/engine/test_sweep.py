"""The sweep: closes before it reads wishes, opens for tags only, and finds groups that lost their managed tag."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from link_peer.domain.errors import NoAccess, Transient
from link_peer.domain.model import Claim, Group, Instance, Party, Rule
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
    ) -> None:
        self.calls: list[str] = []
        shown = groups or [group(party, "*", managed_tag=True) for party in (APP, DB, CACHE)]
        self.ecs = kind([_counted(one, rules) for one in shown], instances, rules, calls=self.calls)
        self.peer = FakeEcs(account=PEER)
        self.log = FakeLog(self.calls)
        self.clock = clock or FakeClock()
        accounts = (self.ecs, self.peer)
        self.delivery = delivery(*accounts, log=self.log, policy=with_policy, clock=self.clock)

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
    assert sweep.calls.index("revoke sg-db") < sweep.calls.index("all_instances")


@pytest.mark.parametrize(
    ("db", "reason"),
    [(group(DB, "", managed_tag=True), "no-consent"), (group(DB, "*", lock=True, managed_tag=True), "locked")],
)
def test_what_a_group_no_longer_allows_is_closed_although_no_instance_is_shown(db: Group, reason: str) -> None:
    """Whoever asks for it. The guard does not count it."""
    strict = policy(limits=Limits(removals_per_run=0))
    sweep = Sweeping(ours(K1), ours(HERE, REQ), groups=[group(APP, "*"), db], instances=[], with_policy=strict)
    sweep()
    assert sweep.ecs.existing == []
    assert set(sweep.log.outcomes()) == {("removed", reason)}


def test_wishes_that_take_all_the_time_leave_the_closing_done() -> None:
    """The time is over once the first instances are listed."""

    class Slow(FakeEcs):
        def all_instances(self) -> list[Instance]:
            sweep.clock.time += 10_000
            return super().all_instances()

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
        share = Sweep(world, "sweep-1")._share([*groups, *idle])
        assert len(share) <= MAX_EXTRA_READS
        seen |= set(share)
    assert seen == {shown.party for shown in groups}


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
