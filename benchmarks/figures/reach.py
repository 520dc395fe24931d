"""How long it takes to tell which instances gain and lose which ports, once the cloud is read."""

from __future__ import annotations

import statistics
import time

from link_peer.domain.marker import render
from link_peer.domain.model import TAG, Group, Instance, Marker, Party, Port, Rule, RuleKey, Traffic
from link_peer.domain.snapshot import Snapshot
from link_peer.views.reachable import reachable

from benchmarks.runner import Bench, Row
from benchmarks.worlds import HOME

GROUPS, MEMBERS = 1_000, 20
SECONDS = 5.0
SSH, ID = Port("tcp", 22, 22), "0" * 16
PEOPLE = (("accept", "10.0.0.0/8"), ("drop", "10.0.1.0/24"))


def state(port: Port) -> Snapshot:
    """Every group is reached by two others on a port, and each tenth by the members of one more, by address. People let
    all in on tcp/22, and drop some. A tenth of the instances is in a second group."""
    groups = [Party(HOME, f"sg-{number}") for number in range(GROUPS)]
    instances, rules = {}, {}
    for number in range(GROUPS * MEMBERS):
        mine = [groups[number % GROUPS].id] + [groups[(number + 9) % GROUPS].id] * (number % 10 == 0)
        ip = f"10.{number // 62_500}.{number // 250 % 250}.{number % 250}"
        instances[Party(HOME, f"i-{number}")] = Instance(Party(HOME, f"i-{number}"), "vpc-1", tuple(mine), ip)
    for number, group in enumerate(groups):
        new_instances = [
            Rule(group, "", None, act, 1, unmanaged_traffic=Traffic("ingress", cidr, "", SSH)) for act, cidr in PEOPLE
        ]
        sources: list[tuple[str, Marker]] = [
            (str(groups[number - step]), Marker(HOME, "prod", ID, (TAG,))) for step in (1, 2)
        ]
        for party in list(instances.values())[number - 3 :: GROUPS] if number % 10 == 5 else ():
            sources.append((f"{party.ip}/32", Marker(HOME, "prod", ID, (TAG,), (party.party, groups[number - 3]))))
        for source, marker in sources:
            new_instances.append(Rule(group, source, RuleKey(group, source, "", port), "accept", 100, render(marker)))
        rules[group] = tuple(new_instances)
    return Snapshot(instances, {party: Group(party, "vpc-1") for party in groups}, rules, whole_accounts={HOME})


def measure(bench: Bench) -> list[Row]:
    """Every link of the world moves to another port. CPU time: nothing waits for a cloud."""
    before, after = state(SSH), state(Port("tcp", 3306, 3306))
    samples, count = [], 0
    for _ in range(bench.rounds):
        start = time.process_time()
        count = len(reachable(before, after))
        samples.append(time.process_time() - start)
    title = f"gains and losses of {GROUPS:,} groups with {GROUPS * MEMBERS:,} instances: {count:,}"
    return [Row(title, "CPU s", samples, f"≤ {SECONDS:g}", statistics.median(samples) <= SECONDS)]
