"""Which of an instance's groups stands for it in a link: consent chooses. It does so whoever looks: the event of a tag
at home, the sync of a pair with another account, or the sweep."""

from __future__ import annotations

import random

import pytest
from aliyun_local.api import Group, Instance

from tests.functional.lab import HOME, PEER, Lab
from tests.sample import sample


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


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", sample(range(7), 3))
def test_in_random_worlds_rules_stand_for_exactly_the_first_accepted_groups(chooser: Chooser, seed: int) -> None:
    """Four instances in some of four groups ask for one or two ports, or for everything, while consent changes: in the
    order of the instance's groups, not of the entries; a mutual link with both rules; and what a neighbour asks for
    stays where another's link moves. Where none of an instance's groups is accepted on all ports, the rules that stand
    stay on the ports that are."""
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
        before = set(lab.rules(chooser.db))
        for name in wishes:
            chooser.look(lab.cloud.ecs.account(HOME).instances[name])
        expected = set()
        for own_groups, ports in wishes.values():
            covering = {"tcp/1": ("tcp/1", "tcp/1-2", ""), "tcp/1+tcp/2": ("tcp/1-2", ""), "": ("",)}[ports]
            if chosen := next((group for group in own_groups if accepted.get(group.id) in covering), None):
                expected |= {f"{chosen.id} {port}" for port in (ports or "all").split("+")}
            else:
                accepted_ports = {
                    f"{group.id} {port}"
                    for group in own_groups
                    for port in (ports or "tcp/1+tcp/2").split("+")
                    if accepted.get(group.id) in (port, "tcp/1-2", "")
                }
                expected |= before & accepted_ports
        assert set(lab.rules(chooser.db)) == expected
        halves = {f"{group.id} all" for group in groups if lab.rules(group)}
        assert halves == {rule for rule in expected if rule.endswith(" all")}


@pytest.mark.parametrize("way", ["event", "request", "sweep"])
@pytest.mark.parametrize("ports", ["tcp/1", ""])
@pytest.mark.parametrize("first", ["nothing accepted", "locked"])
def test_an_instance_link_is_written_on_the_first_group_of_each_instance_that_accepts_it(
    lab: Lab, way: str, ports: str, first: str
) -> None:
    """Others are passed over. When it accepts no more, another one that does is given the rule; an earlier one that
    comes to accept it changes nothing."""
    tags = {"link-lock": ""} if first == "locked" else {}
    accepts = ["*"] if first == "locked" else []
    (near, far), (near_second, far_second), (near_third, far_third) = (
        [lab.group(*entries, **options) for _ in range(2)]
        for entries, options in ((accepts, {"tags": tags}), (["*"], {}), (["*"], {}))
    )
    store = lab.instance(far, far_second, far_third)
    suffix = f":{ports}" if ports else ""
    app = lab.instance(
        near, near_second, near_third, tags={} if way == "request" else {"link-peer": f"{store.id}{suffix}"}
    )

    def look() -> None:
        if way == "request":
            lab.cross_account(lab.request(app, store, *([ports] if ports else [])))
        elif way == "event":
            lab.auto_link(lab.tag_event(app, "TagResources"))
        else:
            lab.sweep()

    def holders() -> list[str]:
        return [group.id for group in (near, near_second, near_third, far, far_second, far_third) if lab.rules(group)]

    look()
    assert holders() == [group.id for group in ([far_second] if ports else [near_second, far_second])]
    lab.tag(far, link_accept="*", link_lock=None)
    lab.tag(near, link_accept="*", link_lock=None)
    look()
    lab.sweep()
    assert holders() == [group.id for group in ([far_second] if ports else [near_second, far_second])]
    lab.tag(far, link_accept=None)
    lab.tag(far_second, link_accept=None)
    look()
    lab.sweep()
    assert holders() == [group.id for group in ([far_third] if ports else [near_second, far_third])]


# which groups of the instances hold the rules of a link between instances


@pytest.mark.parametrize("claim", ["request", "tag"])
@pytest.mark.parametrize("locked", [False, True])
def test_the_denial_of_a_link_between_instances_names_each_group_of_the_target(
    lab: Lab, claim: str, locked: bool
) -> None:
    """With its instances, the smallest first; its advice opens that one. A locked one is passed over."""
    big, small, middle = (lab.group() for _ in range(3))
    for group, count in ((big, 4), (middle, 2)):
        for _ in range(count):
            lab.instance(group)
    if locked:
        lab.tag(big, link_lock="")
    target, source = lab.instance(big, small, middle), lab.instance(lab.group())

    def ask() -> None:
        if claim == "request":
            lab.cross_account(lab.request(source, target, "tcp/1"))
        else:
            lab.tag(source, link_peer=f"{target.id}:tcp/1")
            lab.auto_link(lab.tag_event(source))

    ask()
    record = lab.outcome()
    lock = f"; {big.id}@{HOME} carries the tag link-lock" if locked else ""
    numbers = ((small, "1 instance"), (middle, "3 instances"), (big, f"5 instances{lock}"))
    assert (record["outcome"], record["reason"], lab.changes()) == ("denied", "no-consent", 0)
    assert record["detail"].startswith(f"{small.id}@{HOME} has not accepted {source.id}@{HOME} on tcp/1; ")
    assert record["detail"].endswith(", ".join(f"{group.id}@{HOME} ({number})" for group, number in numbers))
    tags, _, command = record["advice"].partition(": ")
    assert command == f"link-peer accept {small.id}@{HOME} {source.id}:tcp/1"
    key, _, value = tags.split(" ")[-1].partition("=")
    lab.tag(small, **{key: value})
    ask()
    assert lab.outcome()["outcome"] == "applied"
    assert len(lab.rules(small)) == 1


def test_the_denial_of_a_link_between_instances_names_the_groups_of_both_ends(lab: Lab) -> None:
    """Where the source's are advanced groups, of which one has to consent to reach the target."""
    ends = [[lab.group(type="enterprise") for _ in range(2)] for _ in range(2)]
    for group, *_ in ends:
        lab.instance(group)
    source, target = (lab.instance(*groups) for groups in ends)
    lab.cross_account(lab.request(source, target, "tcp/1"))
    detail = lab.outcome()["detail"]
    for instance, groups in zip((source, target), ends, strict=True):
        numbers = ", ".join(
            f"{group.id}@{HOME} ({n} instance{'s'[: n > 1]})" for group, n in zip(groups[::-1], (1, 2), strict=True)
        )
        assert f"the groups of {instance.id}@{HOME} that could stand for it, smallest first: {numbers}" in detail
    advice = lab.outcome()["advice"]
    assert f"link-peer accept {ends[1][1].id}@{HOME} {source.id}:tcp/1" in advice
    assert f"link-peer accept {ends[0][1].id}@{HOME} {target.id}:tcp/1 --egress" in advice
