"""The sweep of one account: what it reads, how it goes on from a cursor, and what it leaves to others.

What it opens, closes and keeps is in tests/functional/sweep, where the same tests are about a sweep of all accounts."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from link_peer.app.sweeps import AFTER_TROUBLE, handle_sweep
from link_peer.domain.errors import CloudError, NoAccess, Throttled, Transient
from link_peer.domain.model import ALL, Claim, Group, Instance, Party, Rule, RuleKey
from link_peer.domain.policy import AccountPolicy, Allow, GroupSet, Limits
from link_peer.domain.request import SweepAccount
from link_peer.domain.tags import Grantee
from link_peer.engine.scopes.sweep import READING_SHARE
from link_peer.inbound.requests import encode
from link_peer.planning.cursor import MOST_SUSPECTS, Cursor, as_value
from link_peer.planning.rota import LOOK_SECONDS, RUN_SECONDS, runs_between
from link_peer.runtime.ports import Record

from tests.unit.fakes import FakeClock, FakeEcs, FakeLog, FakeQueue, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, POLICY, REGION, A, B
from tests.unit.snapshots import group, instance, key, managed, ours

MANY = msgspec.structs.replace(
    POLICY, accounts={**POLICY.accounts, **{f"{n:016}": AccountPolicy("x", "r") for n in range(1_000)}}
)
"""so many accounts that each has its turn in four hours; between them it is looked at."""
LINKED = instance(A, APP, link_peer="sg-db:tcp/1")
FILLER = [instance(Party(HOME, f"i-{n:04}"), APP, name="x") for n in range(1, 900)]
RULE = ours(key(DB, APP, "tcp/1"))
FIRST = SweepAccount(REGION, HOME, NOW)


OTHER = next(account for account in MANY.accounts if account not in POLICY.accounts)
"""an account beside home and its peer"""


class Swept:
    """The sweeps of home, delivered as its queue would: each message posts the next."""

    def __init__(
        self, *rules: Rule, groups: Sequence[Group] = (), instances: Sequence[Instance] = (LINKED,), **fields: Any
    ) -> None:
        counts = [
            msgspec.structs.replace(group, rule_count=sum(r.group == group.party for r in rules)) for group in groups
        ]
        self.ecs = FakeEcs(counts or [group(APP), managed(DB, "*")], instances, rules)
        self.peer = FakeEcs(account=PEER, calls=self.ecs.calls)
        self.third = FakeEcs(account=OTHER, calls=self.ecs.calls)
        self.clock, self.fields = FakeClock(), {"policy": MANY, "seconds": 300, **fields}
        self.queue, self.log = FakeQueue(), FakeLog()

    def deliver(self, body: str = "") -> None:
        """The message that is due, or another one."""
        message, delay = self.queue.swept.pop() if self.queue.swept and not body else (FIRST, 0)
        self.began = self.clock.time = self.clock.time + delay
        accounts, world = (self.ecs, self.peer, self.third), {"log": self.log, "clock": self.clock, "queue": self.queue}
        delivered = delivery(*accounts, sweep_queue="sweeps", **world, **self.fields)
        self.deadline = delivered.retry.deadline
        self.ecs.calls.clear()
        handle_sweep(msgspec.json.encode([body or encode(message).decode()]), delivered)

    def read(self) -> list[str]:
        """The groups whose rules the last delivery read."""
        return [call.split()[1] for call in self.ecs.calls if call.startswith("rules ")]

    @property
    def summaries(self) -> list[Record]:
        return [record for record in self.log.records if record["record"] == "summary"]


def test_a_look_reads_only_groups_that_changed_or_on_which_something_ends() -> None:
    """A listing of the groups shows their tags and how many rules they have; the cursor knows when claims and consent
    end."""
    ends = ours(key(DB, APP, "tcp/1"), Claim("chg-1", int(NOW) + 5_000))
    swept = Swept(ends, groups=[managed(APP, "*"), managed(DB, f"{APP.id}~20261125T012500Z")])
    swept.deliver()
    assert set(swept.read()) == {APP.id, DB.id}
    swept.deliver()
    assert (swept.ecs.calls, len(swept.summaries)) == (["all_groups"], 1)
    swept.ecs.group_by_id[APP.id] = managed(APP, "*", lock=True)
    swept.deliver()
    assert set(swept.read()) == {APP.id}
    for _ in range(8):
        swept.deliver()
    assert (swept.ecs.existing, swept.clock.time < NOW + 5_700) == ([], True)


@pytest.fixture(name="linked")
def _linked() -> Swept:
    """Links within home, by group and by address, and with groups and an instance of its peer; some stand, of some a
    half. One group of home lost the managed tag. The peer's groups hold rules for others, too."""
    p, q, x, d = Party(PEER, "sg-p"), Party(PEER, "sg-q"), Party(PEER, "i-x"), Party(HOME, "i-d")
    halves = (DB, "10.0.0.1/32", "10.0.0.2/32", (A, B)), (APP, "10.0.0.2/32", "10.0.0.1/32", (B, A))
    between = [ours(RuleKey(*half, ALL), Claim("chg-1"), ends=ends, age=60) for *half, ends in halves]
    pairs = [(DB, CACHE), (CACHE, DB), (APP, p)]
    foreign = [ours(key(p, q)), ours(key(p, DB, "tcp/9"))]
    instances = [
        instance(A, APP, ip="10.0.0.1", link_peer=f"sg-db:tcp/1 {p} {q}:tcp/5 i-d:tcp/3 {x}:tcp/7"),
        instance(B, DB, ip="10.0.0.2", link_peer=CACHE.id),
        instance(d, DB, ip="10.0.0.4"),
    ]
    groups = [managed(APP, f"* *@{PEER}"), managed(DB, "*"), group(CACHE, "*")]
    swept = Swept(RULE, *between, *(ours(key(*pair)) for pair in pairs), groups=groups, instances=instances)
    swept.peer.group_by_id = {peer_group.id: managed(peer_group, f"*@{HOME} *@{PEER}") for peer_group in (p, q)}
    swept.peer.running = {x.id: instance(x, q, ip="10.0.1.1", link_peer=f"{p.id}:tcp/8")}
    swept.peer.existing = foreign
    return swept


def test_links_are_opened_once_all_that_is_needed_of_other_accounts_was_read(linked: Swept) -> None:
    """Each thing is read once, in few calls. What the peer's rules are for, and its instances ask, is left to its own
    sweep. A look reads what changed, and with it the other halves; and what rules on the other groups name, in case
    that has."""
    foreign = linked.peer.existing[:]
    linked.deliver()
    rules = [f"rules {party.id}" for party in (APP, CACHE, DB)]
    own_calls = ["all_groups", *rules, "instances i-a i-b", "instance_page", "instances i-d"]
    opened = [
        [f"authorize {name}", f"rules {name}", *tag_reads]
        for name, *tag_reads in (
            ("sg-db", "groups sg-app sg-db"),
            *((name, "groups sg-app", f"groups {name}") for name in ("sg-q", "sg-p", "sg-q")),
        )
    ]
    entered = ["instances i-x", "groups sg-p sg-q", "rules sg-p", "rules sg-q"]
    assert linked.ecs.calls == [*own_calls, *entered, *itertools.chain(*opened), "tag sg-cache"]
    assert linked.peer.existing[: len(foreign)] == foreign
    assert linked.summaries[0]["changed"] == "4"
    linked.ecs.group_by_id |= {DB.id: managed(DB, "* sg-x"), CACHE.id: group(CACHE, "*")}
    linked.deliver()
    own_calls = ["all_groups", "rules sg-db", "instances i-a i-b i-d", "rules sg-app", "rules sg-cache"]
    looked = ["groups sg-p", "instances i-a i-b"]  # what rules on groups name that have not changed
    assert linked.ecs.calls[:5] == own_calls
    assert sorted(linked.ecs.calls[5:7]) == looked
    assert linked.ecs.calls[7:] == [*entered, "tag sg-cache"]
    assert [summary["denied"] for summary in linked.summaries] == ["0", "0"]
    linked.deliver()
    linked.deliver()
    assert sorted(linked.ecs.calls) == ["all_groups", "groups sg-p", "instances i-a i-b i-d"]


def test_both_halves_of_a_link_with_another_account_go_together(linked: Swept) -> None:
    """Nobody asks for it any more. A rule in one direction is closed by the sweep of the account that has it."""
    p = Party(PEER, "sg-p")
    foreign = linked.peer.existing[:]
    linked.peer.existing.append(ours(key(p, APP)))
    linked.ecs.running[A.id] = instance(A, APP, ip="10.0.0.1", name="x")
    linked.deliver()
    assert {rule.key for rule in linked.ecs.existing}.isdisjoint({RULE.key, key(APP, p)})
    assert len(linked.ecs.existing) == 4
    assert linked.peer.existing == foreign


def test_other_accounts_take_turns() -> None:
    """What no time is left for is read in the run in which its account is first."""
    read = []
    for run in range(2):
        ends = [(Party(account, f"i-{account}"), B) for account in (PEER, OTHER)]
        keys = [RuleKey(DB, f"10.0.1.{n}/32", "10.0.0.2/32", ALL) for n in range(2)]
        rules = [ours(rule_key, ends=end) for rule_key, end in zip(keys, ends, strict=True)]
        groups = [group(APP), managed(DB, f"*@{PEER} *@{OTHER}")]
        swept = Swept(*rules, groups=groups, instances=[LINKED, instance(B, DB, ip="10.0.0.2")])
        swept.clock.time = NOW + run * runs_between(len(MANY.accounts)) * RUN_SECONDS
        for ecs in (swept.peer, swept.third):
            ecs.instances = functools.partial(_late, swept, READING_SHARE, ecs.instances)  # type: ignore[method-assign]
        swept.deliver()
        read.append([call for call in swept.ecs.calls if call.startswith(("instances i-0", "instances i-1"))])
    assert sorted(read) == [[f"instances i-{account}"] for account in sorted([PEER, OTHER])]


def test_a_look_sees_a_group_leave_the_set_that_is_consented_to() -> None:
    """Though it holds no rule of ours."""
    allow = Allow(Grantee(HOME, "set:prod"), Grantee(HOME, DB.id), (), "allow[0]")
    policy = msgspec.structs.replace(MANY, sets={"prod": GroupSet(HOME, {"env": "prod"})}, allow=(allow,))
    swept = Swept(RULE, groups=[group(APP, tags={"env": "prod"}), managed(DB)], policy=policy)
    swept.deliver()
    assert swept.ecs.existing == [RULE]
    swept.ecs.group_by_id[APP.id] = group(APP)
    swept.deliver()
    assert swept.ecs.existing == []


def test_a_listing_goes_on_where_it_stopped_and_opens_what_it_finds() -> None:
    """At 20 calls a minute, half of which a sweep makes. Nothing that is not shown is judged before all is listed."""
    last = instance(Party(HOME, "i-zz"), APP, link_peer="sg-db:tcp/1")
    gone_rule = ours(key(DB, Party(HOME, "sg-gone"), "tcp/2"))
    swept = Swept(gone_rule, instances=[*FILLER, last], calls_per_minute=20)
    swept.ecs.page = 10
    for read in (["sg-db"], [], ["sg-db", "sg-db", "sg-app"]):  # the last for what the record says of packets
        swept.deliver()
        assert swept.read() == read
    assert {rule.key for rule in swept.ecs.existing} == {key(DB, APP, "tcp/1"), gone_rule.key}
    assert [summary["progress"].split(":")[0] for summary in swept.summaries] == [
        "400 instances on 40 pages",
        "800 instances on 80 pages",
        "900 instances on 90 pages",
    ]
    for existing in (2, 1):  # the rules are read again, and then what one delivery suspects is judged by another
        swept.deliver()
        assert len(swept.ecs.existing) == existing
    swept.deliver()
    assert swept.ecs.calls == ["all_groups"]


def test_the_guard_holds_for_the_account_however_many_deliveries_it_takes() -> None:
    """Each delivery reads rules of some groups; one counts what all of them suspect, once none is left to read."""
    groups = [managed(Party(HOME, f"sg-{n:03}"), "*") for n in range(100)]
    rules = [ours(key(target_group.party, Party(HOME, "sg-gone"), "tcp/2")) for target_group in groups[:45]]
    policy = msgspec.structs.replace(MANY, limits=Limits(removals_per_run=40))
    swept = Swept(*rules, groups=groups, calls_per_minute=60, seconds=150, policy=policy)
    for _ in range(3):
        swept.deliver()
    assert [summary["held"] for summary in swept.summaries] == ["0", "0", "45"]
    assert len(swept.ecs.existing) == 45


OTHERS = [f"sg-{n:03}" for n in range(MOST_SUSPECTS)]


@pytest.mark.parametrize(
    ("suspects", "changed", "unread", "left_count", "held_count"),
    [
        pytest.param([CACHE.id], False, "", 1, "0", id="one"),
        pytest.param([CACHE.id, *OTHERS[1:]], False, "", 1, "0", id="as many as may be"),
        pytest.param([CACHE.id, *OTHERS], False, "", 2, "1", id="too many groups"),
        pytest.param([CACHE.id, DB.id], False, "", 2, "2", id="too many removals"),
        pytest.param([CACHE.id, DB.id], False, DB.id, 2, "1", id="one that cannot be read"),
        pytest.param([CACHE.id], True, "", 2, "2", id="another has changed"),
        pytest.param([CACHE.id], True, DB.id, 2, "1", id="another has changed and cannot be read"),
        pytest.param([], True, "", 1, "0", id="not suspected"),
        pytest.param(None, False, "", 2, "2", id="a full sweep"),
    ],
)
def test_what_is_not_shown_is_judged_once_all_that_is_suspected_or_changed_was_read(
    suspects: list[str] | None, changed: bool, unread: str, left_count: int, held_count: str
) -> None:
    """So that the limit, one removal here, counts for all of it, whatever a cursor says. What a look alone finds is
    judged by reads of the parties, and counts with what the looks since the last full sweep removed."""
    gone_group, limits = Party(HOME, "sg-gone"), Limits(removals_per_run=1)
    rules = [ours(key(target, gone_group, "tcp/2"), Claim("chg-1")) for target in (DB, CACHE)]
    groups = [group(APP), group(gone_group), managed(DB, "*"), managed(CACHE, "*")]
    swept = Swept(*rules, groups=groups, policy=msgspec.structs.replace(MANY, limits=limits))
    swept.deliver()
    ((message, _),) = swept.queue.swept
    assert len(swept.ecs.existing) == 3
    del swept.ecs.group_by_id[gone_group.id]
    swept.ecs.group_by_id[DB.id] = managed(DB, "* x" if changed else "*", rule_count=1)
    swept.ecs.rules = lambda name: _throttled() if name == unread else FakeEcs.rules(swept.ecs, name)  # type: ignore[method-assign]
    cursor_fields = {**msgspec.to_builtins(message.cursor), "suspects": suspects, "judged": False}
    cursor = None if suspects is None else cursor_fields
    for cursor_changes in (
        {},
        {},
        {"judged": True, "waiting": ["i-zz"], "buckets": []},
    ):  # what was judged is not judged again
        swept.deliver(json.dumps({**GOOD, "cursor": cursor and {**cursor, **cursor_changes}}))
        cursor = msgspec.to_builtins(swept.queue.swept[-1][0].cursor)
        assert (len(swept.ecs.existing) - 1, cursor["suspects"]) == (left_count, ())
        assert cursor["judged"] is (suspects != [] or "judged" in cursor_changes)
    assert swept.summaries[1]["held"] == held_count


def test_a_link_whose_rules_there_was_no_time_to_read_is_opened_by_the_next_delivery() -> None:
    """The listing has passed its instance by then; the cursor names it. Rules of other groups are due before; instances
    are listed in the minutes that these take."""
    groups = [managed(Party(HOME, f"sg-{n:03}"), "*") for n in range(100)]
    world = {"groups": [group(APP), group(DB, "*"), *groups], "instances": [LINKED, *FILLER]}
    swept = Swept(RULE, **world, calls_per_minute=60, seconds=150)
    swept.ecs.existing.clear()
    swept.ecs.page = 10
    swept.deliver()
    assert swept.summaries[0]["progress"].startswith(
        "600 instances on 60 pages: the listing goes on; rules of 57 of 100"
    )
    assert [message.cursor["waiting"] for message, _ in swept.queue.swept] == [("i-a",)]  # type: ignore[index]
    for _ in range(3):
        swept.deliver()
    assert [rule.key for rule in swept.ecs.existing] == [RULE.key]


def test_what_is_locked_is_closed_first_however_many_groups_wait() -> None:
    """So is what has changed since it was read; the rest is read in turns."""
    groups = [managed(Party(HOME, f"sg-{n:03}"), "*", lock=n % 10 == 7) for n in range(100)]
    swept = Swept(
        *(ours(key(target_group.party, APP, "tcp/2")) for target_group in groups), groups=groups, calls_per_minute=4
    )
    swept.deliver()
    assert len(swept.ecs.existing) == 94
    assert f"94 groups of {HOME}: no time was left" in swept.summaries[0]["detail"]


def test_what_ended_is_closed_before_instances_are_listed() -> None:
    """Though the other halves of its group's links, on groups that lost the managed tag, take too long to read."""
    ended = ours(key(DB, APP, "tcp/2"), Claim("chg-1", int(NOW)))
    other_groups = [group(Party(HOME, f"sg-{n:03}"), "*") for n in range(60)]
    rules = [ours(key(DB, source_group.party)) for source_group in other_groups]
    swept = Swept(ended, *rules, groups=[managed(DB, "*"), *other_groups], calls_per_minute=4)
    swept.deliver()
    assert swept.ecs.calls.index("revoke sg-db") < swept.ecs.calls.index("instance_page")


def test_what_another_account_forbids_is_closed_before_what_it_is_asked_for_is_read(linked: Swept) -> None:
    """Though most of the time is over by then."""
    linked.peer.group_by_id["sg-p"] = managed(Party(PEER, "sg-p"))
    linked.ecs.instance_page = functools.partial(_late, linked, 0.7, linked.ecs.instance_page)  # type: ignore[method-assign]
    linked.deliver()
    assert linked.ecs.calls.index("revoke sg-app") < linked.ecs.calls.index("rules sg-q")


def test_what_an_instance_names_is_read_wherever_it_is_listed() -> None:
    """The page that shows it is another delivery's."""
    asks, last = (
        instance(A, APP, ip="10.0.0.1", link_peer="i-zz:tcp/1"),
        instance(Party(HOME, "i-zz"), DB, ip="10.0.0.2"),
    )
    swept = Swept(instances=[asks, *FILLER, last], calls_per_minute=20)
    swept.ecs.page = 10
    swept.deliver()
    assert [rule.key.source for rule in swept.ecs.existing if rule.key] == ["10.0.0.1/32"]


@pytest.mark.parametrize(("late", "errors", "delay"), [(True, 0, 46), (False, 9, AFTER_TROUBLE)])
def test_what_could_not_be_closed_is_closed_by_the_next_delivery(late: bool, errors: int, delay: int) -> None:
    """For lack of time, or by a transient error. Nothing else shows that it is still there."""
    ended = ours(key(DB, APP, "tcp/2"), Claim("chg-1", int(NOW)))
    swept = Swept(ended, instances=[instance(A, APP, name="x")])
    rules, swept.ecs.errors["revoke"] = swept.ecs.rules, [Transient("503")] * errors
    if late:
        swept.ecs.rules = functools.partial(_late, swept, 1, rules)  # type: ignore[method-assign]
    swept.deliver()
    assert (len(swept.ecs.existing), swept.queue.swept[0][1]) == (1, delay)
    swept.ecs.rules, swept.ecs.errors["revoke"] = rules, []  # type: ignore[method-assign]
    swept.deliver()
    assert swept.ecs.existing == []


@pytest.mark.parametrize(("errors", "summaries"), [([], 0), ([Transient("timeout")] * 9, 1)])
def test_a_look_that_finds_nothing_to_read_is_recorded_where_it_could_not_look(
    errors: list[Exception], summaries: int
) -> None:
    """It comes again after the usual time, and finds nothing then."""
    swept = Swept(groups=[group(APP), managed(DB, "*")])
    swept.deliver()
    swept.ecs.errors["all_groups"] = errors
    swept.deliver()
    assert len(swept.summaries) == 1 + summaries
    assert swept.queue.swept[0][1] == LOOK_SECONDS
    swept.ecs.errors.clear()
    swept.deliver()
    assert swept.ecs.calls == ["all_groups"]


def test_a_token_that_the_cloud_refuses_begins_the_listing_again() -> None:
    swept = Swept(instances=FILLER, calls_per_minute=20)
    swept.ecs.page = 10
    swept.deliver()
    swept.ecs.errors["instance_page"] = [CloudError("InvalidParameter.NextToken", "expired")]
    swept.deliver()
    assert swept.summaries[-1]["progress"].startswith("390 instances on 39 pages: the listing goes on")


def test_pages_before_a_failure_are_listed_again() -> None:
    """Since nothing that they ask for was opened."""
    swept = Swept(instances=[LINKED, *FILLER])
    swept.ecs.page, page = 500, swept.ecs.instance_page
    swept.ecs.instance_page = lambda token="", **_: _fails() if token else page()  # type: ignore[method-assign]
    swept.deliver()
    assert swept.ecs.existing == []
    swept.ecs.instance_page = page  # type: ignore[method-assign]
    swept.deliver()
    assert [rule.key for rule in swept.ecs.existing] == [RULE.key]


def _late(swept: Swept, share: float, read: Callable[..., Any], *args: object) -> Any:
    """A read that is over when this share of the delivery's time has passed."""
    swept.clock.time = swept.began + (swept.deadline - swept.began) * share
    return read(*args)


def _throttled() -> list[Rule]:
    raise Throttled("Throttling")


def _fails() -> tuple[list[Instance], str]:
    raise Transient("timeout")


@pytest.mark.parametrize(
    "errors",
    [[NoAccess("Forbidden.RAM", "no")], [Transient("timeout")], [Throttled("Throttling")] * 99],
    ids=["refused", "failed", "throttled"],
)
def test_a_peer_that_cannot_be_read_costs_the_account_none_of_its_own_links(errors: list[Exception]) -> None:
    """Neither a closing nor an opening fails with it; one that only fails for the moment keeps what it asks for."""
    foreign = ours(key(DB, Party(PEER, "sg-x"), "tcp/2"))
    ended = ours(key(DB, APP, "tcp/3"), Claim("chg-1", int(NOW)))
    swept = Swept(foreign, ended, groups=[group(APP), managed(DB, f"* *@{PEER}")])
    swept.peer.errors["groups"] = errors
    swept.deliver()
    assert key(DB, APP, "tcp/1") in {rule.key for rule in swept.ecs.existing}
    assert ended not in swept.ecs.existing
    assert foreign in swept.ecs.existing
    assert [r["record"] for r in swept.log.records if r.get("from_account") == PEER] == []  # it has a sweep of its own


def test_a_slow_peer_leaves_time_for_the_links_of_the_account() -> None:
    """Its reads end when most of the time is over."""
    x = Party(PEER, "i-x")
    rule = ours(RuleKey(DB, "10.0.1.1/32", "10.0.0.2/32", ALL), ends=(x, B))
    instances = [LINKED, instance(B, DB, ip="10.0.0.2")]
    swept = Swept(rule, groups=[group(APP), managed(DB, f"* *@{PEER}")], instances=instances)
    swept.peer.instances = functools.partial(_late, swept, 0.95, swept.peer.instances)  # type: ignore[method-assign]
    swept.deliver()
    assert "instances i-x" in swept.ecs.calls
    assert RULE.key in {rule.key for rule in swept.ecs.existing}


def test_links_of_the_account_leave_time_to_close_what_a_peer_no_longer_allows() -> None:
    """However many it asks for, and however long it takes to open them."""
    p, ports = Party(PEER, "sg-p"), [f"sg-db:tcp/{n}" for n in range(1, 101)]
    wishes = [instance(Party(HOME, f"i-{n:03}"), APP, link_peer=" ".join(ports[n * 5 : n * 5 + 5])) for n in range(20)]
    swept = Swept(ours(key(APP, p)), groups=[managed(APP, f"* *@{PEER}"), managed(DB, "*")], instances=wishes)
    swept.peer.group_by_id[p.id] = managed(p)
    authorize = swept.ecs.authorize

    def slow(*args: Any, **fields: Any) -> Any:
        swept.clock.time += 5
        return authorize(*args, **fields)

    swept.ecs.authorize = slow  # type: ignore[method-assign]
    swept.deliver()
    assert key(APP, p) not in {rule.key for rule in swept.ecs.existing}
    assert len(swept.ecs.existing) > 0  # the next delivery goes on


@pytest.mark.parametrize("owner", [HOME, PEER])
@pytest.mark.parametrize(("errors", "joined"), [(0, True), (9, False)])
def test_a_group_that_a_link_by_address_follows_costs_the_account_nothing_else(
    owner: str, errors: int, joined: bool
) -> None:
    """Where its instances cannot be read at this moment, those that join wait for a later sweep."""
    on, on_there = (RuleKey(DB, f"10.0.0.{n}/32", "", RULE.key.port) for n in (1, 2))  # type: ignore[union-attr]
    a, b, source = (Party(owner, name) for name in ("i-x", "i-y", "sg-x"))
    accounts = {**MANY.accounts, PEER: AccountPolicy("b", "r", ranges=("10.0.0.0/24",))}
    rule = ours(on, Claim("chg-1"), ends=(a, source), age=60)
    swept = Swept(
        rule, groups=[managed(DB, f"* *@{PEER}"), group(APP)], policy=msgspec.structs.replace(MANY, accounts=accounts)
    )
    ecs = swept.ecs if owner == HOME else swept.peer
    ecs.group_by_id[source.id] = group(source, vpc="vpc-2")
    ecs.running |= {
        instance_party.id: instance(instance_party, source, ip=f"10.0.0.{n}", vpc="vpc-2")
        for n, instance_party in ((1, a), (2, b))
    }
    ecs.errors["members"] = [Throttled("Throttling")] * errors
    swept.deliver()
    assert {rule.key for rule in swept.ecs.existing} == {on, RULE.key, *([on_there] if joined else [])}
    assert "attempt" not in swept.log.kinds()


GOOD = {
    "version": 1,
    "action": "sweep",
    "region": REGION,
    "account": HOME,
    "posted_at": "2026-11-25T00:00:00Z",
    "cursor": None,
}


@pytest.mark.parametrize(
    ("changed", "reason", "message_text"),
    [
        ({"account": "1000000000009999"}, "unknown-account", "1000000000009999"),
        ({"region": "CN\ud800"}, "bad-request", "region"),
    ],
)
def test_a_message_that_is_none_is_denied_and_recorded(
    changed: dict[str, object], reason: str, message_text: str
) -> None:
    swept = Swept(RULE)
    swept.deliver(json.dumps({**GOOD, **changed}))
    (record,) = swept.log.records
    assert (record["outcome"], record["reason"]) == ("denied", reason)
    assert message_text in record["detail"]
    assert (swept.ecs.calls, swept.queue.swept) == ([], [])


@pytest.mark.parametrize("cursor", ["", {"began": int(NOW) + 1}, {"began": int(NOW), "token": "\ud800"}])
def test_a_cursor_that_is_none_begins_the_sweep_again(cursor: object) -> None:
    swept = Swept(RULE)
    swept.deliver(json.dumps({**GOOD, "cursor": cursor}))
    assert swept.summaries[0]["progress"] == "1 instances on 1 pages: all listed; rules of 1 of 1 groups read"


def test_messages_of_an_older_sweep_end_once_a_newer_one_has_begun() -> None:
    swept = Swept(RULE)
    swept.deliver()
    swept.clock.time += 5 * 3600
    swept.deliver()
    assert (swept.ecs.calls, swept.queue.swept) == ([], [])


def test_under_another_policy_messages_go_on_whatever_turns_it_gives() -> None:
    """Where the number of accounts has changed, their turns are in other runs; none of these may have been."""
    swept = Swept(RULE, policy=msgspec.structs.replace(MANY, digest="a" * 64))
    swept.deliver()
    swept.clock.time += 5 * 3600
    swept.fields["policy"] = msgspec.structs.replace(MANY, digest="b" * 64)
    swept.deliver()
    ((message, delay),) = swept.queue.swept
    assert (message.cursor["began"], delay) == (int(swept.clock.time), LOOK_SECONDS)  # type: ignore[index]


@pytest.mark.parametrize("failures", [4, 8])
def test_an_account_is_looked_at_again_where_no_record_can_be_written(failures: int) -> None:
    """Also where not even the trouble can be recorded: the platform would give up within a minute."""
    swept = Swept()
    swept.log.errors = [Transient("no answer")] * failures
    swept.deliver()
    assert [(delay, message.cursor) for message, delay in swept.queue.swept] == [
        (LOOK_SECONDS, as_value(Cursor(int(NOW))))
    ]
    swept.queue.errors, swept.log.errors = [Transient("no answer")] * 5, [Transient("no answer")] * 8
    with pytest.raises(Transient):
        swept.deliver()


def test_a_sweep_whose_next_message_is_not_posted_says_so_and_comes_again() -> None:
    """The platform delivers its own message once more."""
    swept = Swept()
    swept.queue.errors = [Transient("the queue is down")] * 9
    with pytest.raises(Transient):
        swept.deliver()
    attempts = [record["detail"] for record in swept.log.records if record["record"] == "attempt"]
    assert attempts == ["the queue is down"]
    assert swept.queue.swept == []


def test_a_peer_whose_rules_cannot_be_read_keeps_nothing_standing_in_the_account() -> None:
    """What is not shown is judged, once, though links with the peer wait for ever."""
    gone_rule, peer = ours(key(DB, Party(HOME, "sg-gone"), "tcp/2")), Party(PEER, "sg-p")
    peer_instance = instance(
        Party(PEER, "i-p"), Party(PEER, "sg-q"), link_peer=f"{peer}:tcp/1"
    )  # waits in its own sweep
    wish = instance(Party(HOME, "i-zz"), APP, link_peer=f"{peer}:tcp/1 {peer_instance.party}:tcp/1")
    swept = Swept(gone_rule, groups=[group(APP), managed(DB, "*")], instances=[wish, *FILLER], calls_per_minute=20)
    swept.ecs.page, swept.peer.group_by_id[peer.id], swept.peer.running["i-p"] = (
        10,
        managed(peer, f"* *@{HOME}"),
        peer_instance,
    )
    swept.peer.group_by_id["sg-q"] = group(Party(PEER, "sg-q"))
    swept.peer.errors["rules"] = [Throttled("Throttling")] * 99
    for _ in range(6):
        swept.deliver()
    assert swept.queue.swept[-1][0].cursor["waiting"] == ("i-zz",)  # type: ignore[index]
    assert gone_rule not in swept.ecs.existing


def test_a_message_that_the_timer_could_not_post_is_on_record() -> None:
    queue, log = FakeQueue(), FakeLog()
    queue.errors = [Transient("no answer")] * 5
    with pytest.raises(Transient):
        handle_sweep(b"{}", delivery(log=log, queue=queue, sweep_queue="sweeps"))
    assert log.kinds() == ["summary", "attempt"]
