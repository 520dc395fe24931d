"""A day of an organisation, worked out from the intervals and page sizes of the code: API calls, messages, seconds and
their price.

An account at rest is worked out exactly; a test compares it with the calls that the local cloud counts. Events, and
what tags ask for across accounts, need further reads and are left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from link_peer.alicloud.ecs import PAGE
from link_peer.planning.rota import LOOK_SECONDS, RUN_SECONDS, runs_between
from link_peer.runtime.delivery import READERS
from link_peer.runtime.pace import SHARE as LEFT_TO_OTHERS
from msgspec import Struct
from msgspec.structs import replace

from benchmarks.figures.cold_start import usd

DAY, MONTH = 86_400, 30
PER_MINUTE, LATENCY = 200, 0.05  # of one API in an account and region; seconds of a call
VCPU, MB = 0.35, 384  # of the sweep in s.yaml
CPU = 0.0025  # seconds of a call, measured
MINUTES = 3.0  # that a delivery reads
REQUESTS = 3  # of SMQ for a message: it is sent, received and deleted
SUMMARY, TIMER_SUMMARY, INVOCATION = 620, 330, 290
"""Bytes of a record: of an account's sweep, of a run of the timer, and what Function Compute logs of one call."""


class Organisation(Struct, frozen=True):
    """`groups` have the managed tag. `largest` is the part of instances and groups that one account holds; the others
    share the rest evenly. The rules of each account name groups and instances of so many others (`peers`), at most a
    hundred each."""

    accounts: int
    instances: int
    groups: int
    largest: float = 0.0
    peers: int = 0

    def each(self) -> list[tuple[int, int, int]]:
        """(how many accounts, instances and groups of each), the largest account first."""
        counts, other_accounts = (self.instances, self.groups), self.accounts - 1
        largest_counts = [max(math.ceil(count / self.accounts), round(count * self.largest)) for count in counts]
        remaining_counts = [
            math.ceil((count - first) / max(1, other_accounts))
            for count, first in zip(counts, largest_counts, strict=True)
        ]
        return [(1, largest_counts[0], largest_counts[1]), (other_accounts, remaining_counts[0], remaining_counts[1])]


class Day(Struct, frozen=True):
    """`calls` by API, over all accounts; `busiest` is the part of its limit that the most used API of the largest
    account takes. `seconds` are those of the sweep function, in so many `deliveries`; for `waiting` of them, it waits
    for answers and for the next minute, and uses no CPU. `logged` are the bytes that SLS is given."""

    calls: Counter[str]
    busiest: float
    deliveries: int
    seconds: float
    waiting: float
    logged: float

    @property
    def smq_requests(self) -> int:
        """The requests that SMQ counts, over all accounts."""
        sent = self.calls["mns.SendMessage"]
        return sent * REQUESTS + sum(count for api, count in self.calls.items() if api.startswith("mns.")) - sent

    @property
    def cloud_calls(self) -> int:
        """Those of ECS and STS."""
        return sum(count for api, count in self.calls.items() if api.startswith(("ecs.", "sts.")))

    @property
    def usd_a_month(self) -> float:
        """What Function Compute asks for the sweeps."""
        return MONTH * self.deliveries * usd(self.seconds / self.deliveries, VCPU, MB)

    @property
    def usd_waiting(self) -> float:
        """What of it is for waiting, which is billed as computing is."""
        return MONTH * self.deliveries * (usd(self.waiting / self.deliveries, VCPU, MB) - usd(0, VCPU, MB))


def a_day(of: Organisation) -> Day:
    """Works out a day."""
    calls: Counter[str] = Counter()
    busiest, deliveries, seconds, waiting, logged = 0.0, 0, 0.0, 0.0, 0.0
    for number, (accounts, instances, groups) in enumerate(of.each()):
        account_day = an_account(of.accounts, instances, groups, of.peers)
        calls += Counter({api: accounts * count for api, count in account_day.calls.items()})
        deliveries += accounts * account_day.deliveries
        seconds += accounts * account_day.seconds
        waiting += accounts * account_day.waiting
        logged += accounts * account_day.logged
        if number == 0:
            busiest = account_day.busiest
    timer = DAY // RUN_SECONDS
    calls += Counter({"mns.BatchPeekMessage": timer, "mns.GetQueueAttributes": timer, "sls.PutLogs": timer})
    # home is entered with own keys, also by those whose rules name parties of it
    calls["sts.AssumeRole"] -= (1 + of.peers) * an_account(of.accounts, *of.each()[0][1:]).deliveries
    return Day(calls, busiest, deliveries, seconds, waiting, logged + timer * (TIMER_SUMMARY + INVOCATION))


def an_account(accounts: int, instances: int, groups: int, peers: int = 0) -> Day:
    """A day of one account of so many, which nothing happens in, and whose rules name parties of so many others."""
    between = RUN_SECONDS * runs_between(accounts)
    turns, looks = DAY // between, math.ceil(between / LOOK_SECONDS) - 1
    pages, group_pages = (max(1, math.ceil(count / PAGE)) for count in (instances, groups))
    minute = PER_MINUTE // LEFT_TO_OTHERS  # calls of an API that a delivery makes in a minute
    minutes = max(pages, groups) / minute  # of a listing, and of the rules beside it
    parts = 1 if minutes <= 1 else 1 + math.ceil(minutes / MINUTES)
    rules = groups * (1 if pages <= minute else 2)  # once a listing of several parts is complete, rules are read again
    deliveries = turns * (parts + looks)
    calls = Counter(
        {
            "ecs.DescribeSecurityGroups": deliveries * (group_pages + peers),
            "ecs.DescribeSecurityGroupAttribute": turns * rules,
            # by id each time, and in a full sweep the instances of the groups whose members rules by address follow
            "ecs.DescribeInstances": turns * (pages + parts * peers) + deliveries * peers,
            "sts.AssumeRole": deliveries * (1 + peers),  # each in a process that has no session of the account
            "mns.SendMessage": deliveries,
            "sls.PutLogs": turns * parts,
        }
    )
    in_a_row = calls.total() - calls["ecs.DescribeSecurityGroupAttribute"] * (1 - 1 / READERS)
    waiting = max(in_a_row * LATENCY, turns * 60 * minutes if parts > 1 else 0)
    ecs = max(count for api, count in calls.items() if api.startswith("ecs"))
    logged = turns * parts * SUMMARY + deliveries * INVOCATION
    seconds = waiting + calls.total() * CPU / VCPU
    return Day(calls, ecs / (PER_MINUTE * DAY / 60), deliveries, seconds, waiting, logged)


PUBLISHED = (
    Organisation(10, 20_000, 500),
    Organisation(100, 50_000, 2_000),
    Organisation(1_000, 100_000, 10_000),
    Organisation(1_000, 1_000_000, 50_000),
    Organisation(1_000, 1_000_000, 50_000, largest=0.1),
)


def table(organisations: Iterable[Organisation] = PUBLISHED) -> str:
    """Days of these organisations, in Markdown: docs/performance.md has it."""
    rows = [
        "| accounts / instances / groups | ECS and STS calls a day | … where the rules of each account name groups and instances of "
        "another | the largest account's busiest API, of its limit | SMQ requests a month | records a day | SLS, MB a month | "
        "seconds of Function Compute a day, of which it waits | USD a month, of which for waiting |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for of in organisations:
        day = a_day(of)
        size = f"{of.accounts:,} / {of.instances:,} / {of.groups:,}" + (
            f", {of.largest:.0%} in one" if of.largest else ""
        )
        cells = (
            size,
            f"{day.cloud_calls:,}",
            f"{a_day(replace(of, peers=1)).cloud_calls:,}",
            f"{day.busiest:.1%}",
            f"{MONTH * day.smq_requests:,}",
            f"{day.calls['sls.PutLogs']:,}",
            f"{MONTH * day.logged / 1e6:,.0f}",
            f"{day.seconds:,.0f}, {day.waiting / day.seconds:.0%}",
            f"{day.usd_a_month:.2f}, {day.usd_waiting:.2f}",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
