"""The sweep of one account: what it reads, how it goes on from a cursor, and what it leaves to others.

What it opens, closes and keeps is in tests/functional/sweep, where the same tests are about a sweep of all accounts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from link_peer.app.sweeps import handle_sweep
from link_peer.domain.errors import CloudError, NoAccess, Throttled, Transient
from link_peer.domain.model import Claim, Group, Instance, Party, Rule
from link_peer.domain.policy import AccountPolicy, Allow, GroupSet, Limits
from link_peer.domain.request import SweepAccount
from link_peer.domain.tags import Who
from link_peer.inbound.requests import encode
from link_peer.planning.cursor import Cursor, as_value
from link_peer.planning.rota import LOOK_SECONDS
from link_peer.runtime.ports import Record

from tests.unit.fakes import FakeClock, FakeEcs, FakeLog, FakeQueue, delivery
from tests.unit.small_world import APP, DB, HOME, NOW, PEER, POLICY, REGION, A
from tests.unit.views import group, instance, key, managed, ours

MANY = msgspec.structs.replace(
    POLICY, accounts={**POLICY.accounts, **{f"{n:016}": AccountPolicy("x", "r") for n in range(1_000)}}
)
"""so many accounts that each has its turn in four hours; between them it is looked at."""
LINKED = instance(A, APP, link_peer="sg-db:tcp/1")
FILLER = [instance(Party(HOME, f"i-{n:04}"), APP, name="x") for n in range(1, 900)]
RULE = ours(key(DB, APP, "tcp/1"))
FIRST = SweepAccount(REGION, HOME, NOW)


class Swept:
    """The sweeps of home, delivered as its queue would: each message posts the next."""

    def __init__(
        self, *rules: Rule, groups: Sequence[Group] = (), instances: Sequence[Instance] = (LINKED,), **fields: Any
    ) -> None:
        counts = [msgspec.structs.replace(one, rule_count=sum(r.group == one.party for r in rules)) for one in groups]
        self.ecs = FakeEcs(counts or [group(APP), managed(DB, "*")], instances, rules)
        self.peer = FakeEcs(account=PEER)
        self.clock, self.fields = FakeClock(), {"policy": MANY, "seconds": 300, **fields}
        self.queue, self.log = FakeQueue(), FakeLog()

    def deliver(self, body: str = "") -> None:
        """The message that is due, or another one."""
        message, delay = self.queue.swept.pop() if self.queue.swept and not body else (FIRST, 0)
        self.clock.time += delay
        given = delivery(self.ecs, self.peer, log=self.log, clock=self.clock, queue=self.queue, **self.fields)
        connections = msgspec.structs.replace(given.connections, sweep_queue="sweeps")
        self.ecs.calls.clear()
        handle_sweep(
            msgspec.json.encode([body or encode(message).decode()]),
            msgspec.structs.replace(given, connections=connections),
        )

    def read(self) -> list[str]:
        """The groups whose rules the last delivery read."""
        return [call.split()[1] for call in self.ecs.calls if call.startswith("rules ")]

    @property
    def summaries(self) -> list[Record]:
        return [record for record in self.log.records if record["record"] == "summary"]


def test_a_look_reads_only_groups_that_changed_or_on_which_something_ends() -> None:
    """A listing of the groups shows their tags and how many rules they have; the cursor knows when claims and consent end."""
    ends = ours(key(DB, APP, "tcp/1"), Claim("chg-1", int(NOW) + 5_000))
    swept = Swept(ends, groups=[managed(APP, "*"), managed(DB, f"{APP.id}~20261125T012500Z")])
    swept.deliver()
    assert set(swept.read()) == {APP.id, DB.id}
    swept.deliver()
    assert (swept.ecs.calls, len(swept.summaries)) == (["all_groups"], 1)
    swept.ecs.known[APP.id] = managed(APP, "*", lock=True)
    swept.deliver()
    assert set(swept.read()) == {APP.id}
    for _ in range(8):
        swept.deliver()
    assert (swept.ecs.existing, swept.clock.time < NOW + 5_700) == ([], True)


def test_a_look_sees_a_group_leave_the_set_that_is_consented_to() -> None:
    """Though it holds no rule of ours."""
    allow = Allow(Who(HOME, "set:prod"), Who(HOME, DB.id), (), "allow[0]")
    policy = msgspec.structs.replace(MANY, sets={"prod": GroupSet(HOME, {"env": "prod"})}, allow=(allow,))
    swept = Swept(RULE, groups=[group(APP, tags={"env": "prod"}), managed(DB)], policy=policy)
    swept.deliver()
    assert swept.ecs.existing == [RULE]
    swept.ecs.known[APP.id] = group(APP)
    swept.deliver()
    assert swept.ecs.existing == []


def test_a_listing_goes_on_where_it_stopped_and_opens_what_it_finds() -> None:
    """At 20 calls a minute, half of which a sweep makes. Nothing that is not shown is judged before all is listed."""
    last = instance(Party(HOME, "i-zz"), APP, link_peer="sg-db:tcp/1")
    gone = ours(key(DB, Party(HOME, "sg-gone"), "tcp/2"))
    swept = Swept(gone, instances=[*FILLER, last], calls_per_minute=20)
    swept.ecs.page = 10
    for _ in range(3):
        swept.deliver()
    assert {rule.key for rule in swept.ecs.existing} == {key(DB, APP, "tcp/1"), gone.key}
    assert [one["progress"].split(":")[0] for one in swept.summaries] == [
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
    """Each delivery reads rules of some groups; one counts what all of them suspect."""
    groups = [managed(Party(HOME, f"sg-{n:03}"), "*") for n in range(100)]
    rules = [ours(key(one.party, Party(HOME, "sg-gone"), "tcp/2")) for one in groups[:80]]
    swept = Swept(*rules, groups=groups, calls_per_minute=60)
    while not swept.summaries or swept.summaries[-1]["held"] == "0":
        assert len(swept.summaries) < 9
        swept.deliver()
    assert (swept.summaries[-1]["held"], len(swept.ecs.existing)) == ("80", 80)


def test_a_link_whose_rules_there_was_no_time_to_read_is_opened_by_the_next_delivery() -> None:
    """The listing has passed its instance by then; the cursor names it. Rules of other groups are due before."""
    groups = [managed(Party(HOME, f"sg-{n:03}"), "*") for n in range(100)]
    swept = Swept(RULE, groups=[group(APP), group(DB, "*"), *groups], calls_per_minute=60, seconds=150)
    swept.ecs.existing.clear()
    swept.deliver()
    assert [message.cursor["waiting"] for message, _ in swept.queue.swept] == [("i-a",)]  # type: ignore[index]
    for _ in range(3):
        swept.deliver()
    assert [rule.key for rule in swept.ecs.existing] == [RULE.key]


def test_what_is_locked_is_closed_first_however_many_groups_wait() -> None:
    """So is what has changed since it was read; the rest is read in turns."""
    groups = [managed(Party(HOME, f"sg-{n:03}"), "*", lock=n in (7, 77)) for n in range(100)]
    swept = Swept(*(ours(key(one.party, APP, "tcp/2")) for one in groups), groups=groups, calls_per_minute=4)
    swept.deliver()
    assert len(swept.ecs.existing) == 98


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


def _fails() -> tuple[list[Instance], str]:
    raise Transient("timeout")


@pytest.mark.parametrize("refused", [True, False])
def test_a_peer_that_cannot_be_read_costs_the_account_none_of_its_own_links(refused: bool) -> None:
    """Neither a closing nor an opening waits for it; one that only fails for the moment keeps what it asks for."""
    foreign = ours(key(DB, Party(PEER, "sg-x"), "tcp/2"))
    ended = ours(key(DB, APP, "tcp/3"), Claim("chg-1", int(NOW)))
    swept = Swept(foreign, ended, groups=[group(APP), managed(DB, f"* *@{PEER}")])
    swept.peer.errors["groups"] = [NoAccess("Forbidden.RAM", "no") if refused else Transient("timeout")]
    swept.deliver()
    assert key(DB, APP, "tcp/1") in {rule.key for rule in swept.ecs.existing}
    assert ended not in swept.ecs.existing
    assert foreign in swept.ecs.existing
    assert [r["record"] for r in swept.log.records if r.get("from_account") == PEER] == []  # it has a sweep of its own


GOOD = {
    "version": 1,
    "action": "sweep",
    "region": REGION,
    "account": HOME,
    "posted_at": "2026-11-25T00:00:00Z",
    "cursor": None,
}


@pytest.mark.parametrize(
    ("changed", "reason", "said"),
    [
        ({"account": "1000000000009999"}, "unknown-account", "1000000000009999"),
        ({"account": 7}, "bad-request", "account"),
        ({"region": "cn-hangzhou"}, "different-region", "cn-hangzhou"),
        ({"region": "CN\ud800"}, "bad-request", "region"),
        ({"action": "link"}, "bad-request", "action"),
    ],
)
def test_a_message_that_is_none_is_denied_and_recorded(changed: dict[str, object], reason: str, said: str) -> None:
    swept = Swept(RULE)
    swept.deliver(json.dumps({**GOOD, **changed}))
    (record,) = swept.log.records
    assert (record["outcome"], record["reason"]) == ("denied", reason)
    assert said in record["detail"]
    assert (swept.ecs.calls, swept.queue.swept) == ([], [])


@pytest.mark.parametrize("cursor", ["", {"began": int(NOW) + 1}, {"began": int(NOW), "token": "\ud800"}])
def test_a_cursor_that_is_none_begins_the_sweep_again(cursor: object) -> None:
    swept = Swept(RULE)
    swept.deliver(json.dumps({**GOOD, "cursor": cursor}))
    assert swept.summaries[0]["progress"] == "1 instances on 1 pages: all listed; rules of 1 of 1 groups read"


def test_a_cursor_carries_no_authority() -> None:
    """One that calls every group a suspect, and one that calls everything read: what stands, stands, and is found again by the
    account's next turn."""
    bystander = ours(key(DB, Party(HOME, "sg-gone"), "tcp/2"))
    forged = {"began": int(NOW), "token": None, "suspects": [DB.id, APP.id, "sg-other"]}
    swept = Swept(
        RULE,
        bystander,
        ours(key(DB, Party(HOME, "sg-gone"), "tcp/3")),
        policy=msgspec.structs.replace(MANY, limits=Limits(removals_per_run=1)),
    )
    swept.deliver(json.dumps({**GOOD, "cursor": forged}))
    assert {RULE, bystander} <= set(swept.ecs.existing)


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
    gone, peer = ours(key(DB, Party(HOME, "sg-gone"), "tcp/2")), Party(PEER, "sg-p")
    wish = instance(Party(HOME, "i-zz"), APP, link_peer=f"{peer}:tcp/1")
    swept = Swept(gone, groups=[group(APP), managed(DB, "*")], instances=[wish, *FILLER], calls_per_minute=20)
    swept.ecs.page, swept.peer.known[peer.id] = 10, managed(peer, f"*@{HOME}")
    swept.peer.errors["rules"] = [Throttled("Throttling")] * 99
    for _ in range(6):
        swept.deliver()
    assert swept.queue.swept[-1][0].cursor["waiting"] == ("i-zz",)  # type: ignore[index]
    assert gone not in swept.ecs.existing


def test_what_the_guard_held_is_not_judged_in_parts_after_it() -> None:
    """A delivery that opens what waited reads one of the groups once more."""
    groups, peer = [managed(Party(HOME, f"sg-{n:03}"), f"* *@{PEER}") for n in range(80)], Party(PEER, "sg-p")
    rules = [ours(key(one.party, Party(HOME, "sg-gone"), "tcp/2")) for one in groups]
    wish = instance(Party(HOME, "i-zz"), APP, link_peer=f"{peer}:tcp/1 sg-001:tcp/7")
    swept = Swept(*rules, groups=[group(APP), *groups], instances=[wish], calls_per_minute=60)
    swept.peer.known[peer.id] = managed(peer, f"*@{HOME}")
    swept.peer.errors["rules"] = [Throttled("Throttling")] * 3
    for _ in range(4):
        swept.deliver()
    assert set(rules) < set(swept.ecs.existing)


def test_the_timer_posts_a_message_for_each_account_whose_turn_it_is() -> None:
    """One that could not be posted is on record."""
    queue, log = FakeQueue(), FakeLog()
    given = delivery(log=log, queue=queue)
    given = msgspec.structs.replace(given, connections=msgspec.structs.replace(given.connections, sweep_queue="sweeps"))
    handle_sweep(b'{"triggerTime": "2026-11-25T00:00:00Z"}', given)
    assert [(message.account, delay) for message, delay in queue.swept] == [(HOME, 0), (PEER, 0)]
    (summary,) = log.records
    assert summary["progress"] == "a message was posted for each of 2 of 2 accounts"
    queue.errors = [Transient("no answer")] * 5
    with pytest.raises(Transient):
        handle_sweep(b"{}", given)
    assert log.kinds() == ["summary", "summary", "attempt"]
