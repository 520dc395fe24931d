"""Random estates, tightened to the end by the commands that are printed: nothing that passed before is refused
after."""

from __future__ import annotations

import random

import pytest
from aliyun_local.api import Capture, Instance, may_reach

from tests.functional.command import Cli, Owners
from tests.functional.lab import HOME, PEER, Lab
from tests.functional.traffic import Traffic
from tests.sample import sample

PORTS = (22, 80, 3306, 50051)
RULES = (
    {"IpProtocol": "TCP", "PortRange": "1/65535", "SourceCidrIp": "10.0.0.0/8"},
    {"IpProtocol": "ALL", "PortRange": "-1/-1", "SourceCidrIp": "10.0.0.0/8"},
    {"IpProtocol": "TCP", "PortRange": "80/3306", "SourceCidrIp": "10.2.0.0/16"},
    {"IpProtocol": "TCP", "PortRange": "3306/3306", "SourceCidrIp": "10.2.0.0/30"},
)
"""All wide."""


class RandomEstate:
    """Groups of both accounts with wide rules, a few drops, and who connected to whom in a week."""

    def __init__(self, lab: Lab, seed: int) -> None:
        self.lab, chance = lab, random.Random(seed)
        groups = [
            lab.group(account=account, name=f"g{number}") for number, account in enumerate((HOME, HOME, PEER, PEER))
        ]
        self.instances = [lab.instance(group) for group in groups for _ in range(chance.randint(1, 2))]
        self.wide = [
            (group, lab.authorize(group, **rule, Priority=str(chance.choice([1, 50]))))
            for group in groups
            for rule in chance.sample(RULES, chance.choice([0, 1, 2]))
        ]
        for group in chance.sample(groups, 1):
            lab.authorize(
                group, IpProtocol="TCP", PortRange="80/80", SourceCidrIp="10.2.0.2", Policy="drop", Priority="10"
            )
        if chance.random() < 0.5:
            lab.policy(deny={"ports": ["tcp/22"]})
        self.traffic = Traffic(lab, 7, capture=Capture(optional=("tcp-flags",) if chance.random() < 0.5 else ()))
        self.connections: list[tuple[Instance, Instance, int]] = []
        for _ in range(chance.randint(4, 10)):
            source, target = chance.sample(self.instances, 2)
            port = chance.choice(PORTS)
            accepted = self.passes(source, target, port)
            answered = chance.random() < 0.8
            self.traffic.connect(source, target, port, [chance.randrange(7)], accepted=accepted, answered=answered)
            self.connections += [(source, target, port)] * accepted
        if chance.random() < 0.4:
            self.traffic.connect("10.9.9.9", chance.choice(self.instances), 80, [3])
        self.traffic.write()

    def passes(self, source: Instance, target: Instance, port: int) -> bool:
        """Whether a connection would be accepted now, as the cloud says, which sees every packet."""
        ends = (source.account, source.id, target.account, target.id)
        return may_reach(self.lab.cloud.ecs, *ends, "tcp", port).ok


REVOKED: list[str] = []


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", sample(range(30), 6))
def test_no_connection_of_the_period_is_refused_after_the_printed_commands(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The lines that consent and ask, then those that remove the rules which nothing needs any more. Put back, the
    rules are as they were. What keeps a rule was said: it is left, or unknown."""
    estate = RandomEstate(lab, seed)
    owners = Owners(lab, cli, monkeypatch)
    rules = cli.json("tighten", "--all", "--last", "7d")[1]
    assert {(rule["group"], rule["rule_id"]) for rule in rules} == {
        (group.id, rule_id) for group, rule_id in estate.wide
    }
    assert cli("tighten", "--all", "--last", "7d", "--commands") == 0, cli.err
    for line in cli.out.splitlines():
        if not line.startswith("#"):
            assert owners.paste(line) == [0], (line, cli.err)
            lab.drain()
    estate.traffic.go_on(1)
    passing = [connection for connection in estate.connections if estate.passes(*connection)]
    assert passing == estate.connections
    rules = cli.json("tighten", "--all", "--last", "8d")[1]
    going = [rule for rule in rules if rule["revoke"]]
    before = {group.id: lab.rules(group) for group, _ in estate.wide}
    for rule in going:
        owners.paste(rule["revoke"], rule["account"])
    assert [connection for connection in passing if not estate.passes(*connection)] == []
    for rule in rules:
        reasons = rule["unknown"] or rule["only"] or any("others that go" in text for text in rule["in_the_way"])
        assert bool(rule["revoke"]) != bool(reasons), rule
    for rule in going:
        owners.paste(rule["put_back"], rule["account"])
    assert {group.id: lab.rules(group) for group, _ in estate.wide} == before
    REVOKED.extend(rule["rule_id"] for rule in going)


def test_most_rules_of_such_estates_go(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the test above says something."""
    REVOKED.clear()
    test_no_connection_of_the_period_is_refused_after_the_printed_commands(lab, cli, monkeypatch, 0)
    assert REVOKED
