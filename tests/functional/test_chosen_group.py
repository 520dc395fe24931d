"""Which of an instance's groups stands for it in a link: consent chooses. It does so whoever looks: the event of a tag at home,
the sync of a pair with another account, or the sweep."""

from __future__ import annotations

import random

import pytest
from aliyun_local.api import Group, Instance

from tests.functional.lab import HOME, PEER, Lab


class Chooser:
    """An instance in several groups, which asks for the peer group `db`."""

    def __init__(self, lab: Lab, way: str) -> None:
        self.lab, self.way = lab, way
        self.target_account = HOME if way == "event" else PEER
        self.db = lab.group(account=self.target_account)
        lab.instance(self.db)

    def group(self, *accepts: str, members: int = 0) -> Group:
        """One of the instance's groups, with so many members beside it."""
        group = self.lab.group(*accepts)
        for _ in range(members):
            self.lab.instance(group)
        return group

    def accept(self, entries: list[str]) -> None:
        """The peer group's consent, in place of what was there; each entry in a key of its own."""
        for number in range(1, 5):
            key = f"link_accept.{number}" if number > 1 else "link_accept"
            self.lab.tag(self.db, **{key: entries[number - 1] if number <= len(entries) else None})

    def asks(self, *groups: Group, ports: str = "tcp/1") -> Instance:
        """The instance in these groups, in the API's order."""
        peer = f"{self.db.id}@{self.target_account}" + (f":{ports}" if ports else "")
        return self.lab.instance(*groups, tags={"link-peer": peer})

    def look(self, instance: Instance) -> None:
        """Looks at the links of the instance."""
        if self.way == "sweep":
            self.lab.sweep()
        else:
            self.lab.auto_link(self.lab.event(instance))
            self.lab.cross_account(*self.lab.queued())


@pytest.fixture(name="chooser", params=["event", "sync", "sweep"])
def _chooser(lab: Lab, request: pytest.FixtureRequest) -> Chooser:
    return Chooser(lab, request.param)


@pytest.mark.parametrize("chooser", ["event", "sync"], indirect=True)
def test_one_denial_names_each_group_with_its_instances_and_advises_the_smallest(chooser: Chooser) -> None:
    """A call more for each group, and nothing is written. What the advice says opens the link."""
    big, small, middle = (chooser.group(members=count) for count in (41, 0, 5))
    instance = chooser.asks(big, small, middle)
    chooser.look(instance)
    record = chooser.lab.outcome()
    assert chooser.lab.records() == [record]
    assert (record["outcome"], record["reason"], record["from"]) == ("denied", "no-consent", big.id)
    numbers = ((small, "1 instance"), (middle, "6 instances"), (big, "42 instances"))
    assert record["detail"].endswith(", ".join(f"{group.id}@{HOME} ({number})" for group, number in numbers))
    tags, _, command = record["advice"].partition(": ")
    source = small.id if chooser.target_account == HOME else f"{small.id}@{HOME}"
    assert command == f"link-peer accept {chooser.db.id}@{chooser.target_account} {source}:tcp/1"
    assert chooser.lab.changes() == 0
    key, _, value = tags.split(" ")[-1].partition("=")
    chooser.lab.tag(chooser.db, **{key: value})
    chooser.look(instance)
    assert chooser.lab.rules(chooser.db) == [f"{small.id} tcp/1"]


@pytest.mark.parametrize("seed", range(7))
def test_in_random_worlds_rules_stand_for_exactly_the_first_accepted_groups(chooser: Chooser, seed: int) -> None:
    """Four instances in some of four groups ask for one or two ports, or for everything, while consent changes: in the order of the
    instance's groups, not of the entries; a mutual link with both rules; and what a neighbour asks for stays where another's link moves."""
    rng, lab = random.Random(seed), chooser.lab
    groups = [chooser.group(f"{chooser.db.id}@{chooser.target_account}") for _ in range(4)]
    wishes = {}
    for ports in rng.choices(["tcp/1", "tcp/1+tcp/2", ""], k=4):
        own_groups = rng.sample(groups, rng.randint(1, 4))
        wishes[chooser.asks(*own_groups, ports=ports).id] = (own_groups, ports)
    for _ in range(3):
        consent = {group.id: rng.choice(["tcp/1", "tcp/1-2", "tcp/2", "", None]) for group in groups}
        accepted = {key: ports for key, ports in consent.items() if ports is not None}
        chooser.accept([f"{name}@{HOME}" + (f":{ports}" if ports else "") for name, ports in accepted.items()])
        for name in wishes:
            chooser.look(lab.cloud.ecs.account(HOME).instances[name])
        expected = set()
        for own_groups, ports in wishes.values():
            covering = {"tcp/1": ("tcp/1", "tcp/1-2", ""), "tcp/1+tcp/2": ("tcp/1-2", ""), "": ("",)}[ports]
            if chosen := next((group for group in own_groups if accepted.get(group.id) in covering), None):
                expected |= {f"{chosen.id} {port}" for port in (ports or "all").split("+")}
        assert set(lab.rules(chooser.db)) == expected
        halves = {f"{group.id} all" for group in groups if lab.rules(group)}
        assert halves == {rule for rule in expected if rule.endswith(" all")}
