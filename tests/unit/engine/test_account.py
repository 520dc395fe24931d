"""The sweep of one account: what it reads, how it goes on from a cursor, and what it leaves to others.

What it opens, closes and keeps is in tests/functional/sweep, where the same tests are about a sweep of all accounts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from link_peer.app.sweeps import handle_sweep
from link_peer.domain.errors import CloudError, NoAccess, Transient
from link_peer.domain.model import Claim, Group, Instance, Party, Rule
from link_peer.domain.policy import AccountPolicy
from link_peer.domain.request import SweepAccount
from link_peer.inbound.requests import encode
from link_peer.runtime.ports import Record

from tests.unit.fakes import FakeClock, FakeEcs, FakeLog, FakeQueue, delivery
from tests.unit.views import APP, DB, HOME, NOW, PEER, POLICY, REGION, A, group, instance, key, managed, ours

MANY = msgspec.structs.replace(
    POLICY, accounts={**POLICY.accounts, **{f"{n:016}": AccountPolicy("x", "r") for n in range(1_000)}}
)
"""so many accounts that each has its turn in four hours; between them it is looked at."""
LINKED = instance(A, APP, link_peer="sg-db:tcp/1")
FILLER = [instance(Party(HOME, f"i-{n:04}"), APP, name="x") for n in range(1, 900)]
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
    for _ in range(7):
        swept.deliver()
    assert (swept.ecs.existing, swept.clock.time < NOW + 5_700) == ([], True)


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


def test_a_token_that_the_cloud_refuses_begins_the_listing_again() -> None:
    swept = Swept(instances=FILLER, calls_per_minute=20)
    swept.ecs.page = 10
    swept.deliver()
    swept.ecs.errors["instance_page"] = [CloudError("InvalidParameter.NextToken", "expired")]
    swept.deliver()
    assert swept.summaries[-1]["progress"].startswith("390 instances on 39 pages: the listing goes on")


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
