"""How long it takes to tell which instances gain and lose which ports, once the cloud is read."""

from __future__ import annotations

import statistics
import time

from link_peer.domain.model import Group, Instance, Party, Port, Rule, RuleKey, Traffic
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.reachable import reachable

from benchmarks.runner import Bench, Row
from benchmarks.worlds import HOME

GROUPS, MEMBERS = 1_000, 20
SECONDS = 5.0


def state(port: Port) -> Snapshot:
    """Every group is reached by two others on a port, and each tenth by the members of one more, by address. People let all
    in on tcp/22, and drop some. A tenth of the instances is in a second group."""
    ips = [f"10.{n // 62_500}.{n // 250 % 250}.{n % 250}" for n in range(GROUPS * MEMBERS)]
    ssh = [Traffic("ingress", cidr, "", Port("tcp", 22, 22)) for cidr in ("10.0.0.0/8", "10.0.1.0/24")]
    rules: dict[Party, tuple[Rule, ...]] = {}
    for number in range(GROUPS):
        group = Party(HOME, f"sg-{number}")
        sources = [f"sg-{(number - step) % GROUPS}@{HOME}" for step in (1, 2)]
        sources += [f"{ip}/32" for ip in ips[(number - 3) % GROUPS :: GROUPS]] if number % 10 == 0 else []
        people = [Rule(group, act, None, act, 1, other=one) for act, one in zip(("accept", "drop"), ssh, strict=True)]
        rules[group] = (*people, *(Rule(group, one, RuleKey(group, one, "", port), "accept", 100) for one in sources))
    instances = {}
    for number, ip in enumerate(ips):
        party, mine = Party(HOME, f"i-{number}"), [number % GROUPS] + [(number + 9) % GROUPS] * (number % 10 == 0)
        instances[party] = Instance(party, "vpc-1", tuple(f"sg-{one}" for one in mine), ip)
    return Snapshot(instances, {one: Group(one, "vpc-1") for one in rules}, rules, whole_accounts={HOME})


def measure(bench: Bench) -> list[Row]:
    """Every link of the world moves to another port. CPU time: nothing waits for a cloud."""
    before, after = state(Port("tcp", 22, 22)), state(Port("tcp", 3306, 3306))
    samples, found = [], 0
    for _ in range(bench.rounds):
        start = time.process_time()
        found = len(reachable(before, after))
        samples.append(time.process_time() - start)
    title = f"gains and losses of {GROUPS:,} groups with {GROUPS * MEMBERS:,} instances: {found:,}"
    return [Row(title, "CPU s", samples, f"≤ {SECONDS:g}", statistics.median(samples) <= SECONDS)]
