"""Which of an instance's groups stands for it in a link: consent chooses. It does so whoever looks: the event of a tag at home,
the sync of a pair with another account, or the sweep."""

from __future__ import annotations

import pytest
from link_peer_local.ecs.state import Group, Instance

from tests.functional.lab import HOME, PEER, Lab


class Chooser:
    """An instance in several groups, which asks for the peer group `db`."""

    def __init__(self, lab: Lab, way: str) -> None:
        self.lab, self.way = lab, way
        self.there = HOME if way == "event" else PEER
        self.db = lab.group(account=self.there)
        lab.instance(self.db)

    def group(self, *accepts: str, members: int = 0, **fields: object) -> Group:
        """One of the instance's groups, with so many members beside it."""
        made = self.lab.group(*accepts, **fields)  # type: ignore[arg-type]
        for _ in range(members):
            self.lab.instance(made)
        return made

    def named(self, group: Group, ports: str = ":tcp/1") -> str:
        """A group of home as an entry of the peer group's consent, or of a tag."""
        return f"{group.id}@{group.account}{ports}"

    def accept(self, *groups: Group, ports: str = ":tcp/1") -> None:
        """The peer group's consent, in place of what was there."""
        self.lab.tag(self.db, link_accept=" ".join(self.named(one, ports) for one in groups) or None)

    def asks(self, *groups: Group, ports: str = ":tcp/1") -> Instance:
        """The instance in these groups, in the API's order; its link is looked at."""
        instance = self.lab.instance(*groups, tags={"link-peer": self.named(self.db, ports)})
        self.look(instance)
        return instance

    def look(self, instance: Instance) -> dict[str, int]:
        """What a look comes to."""
        if self.way == "sweep":
            return self.lab.sweep()
        outcomes = self.lab.auto_link(self.lab.event(instance))
        return outcomes if self.way == "event" else self.lab.cross_account(*self.lab.queued())

    def stands(self) -> list[str]:
        """The groups that the peer group's rules admit."""
        return [rule.split(" ")[0] for rule in self.lab.rules(self.db)]


@pytest.fixture(name="chooser", params=["event", "sync", "sweep"])
def _chooser(lab: Lab, request: pytest.FixtureRequest) -> Chooser:
    return Chooser(lab, request.param)


@pytest.mark.parametrize(
    ("accepted", "chosen"), [("common", 0), ("app", 1), ("common app", 0), ("app common", 0), ("", None)]
)
def test_the_first_group_that_the_peer_accepts_stands_for_the_instance(
    chooser: Chooser, accepted: str, chosen: int | None
) -> None:
    """In the order of the instance's groups, not of the entries."""
    groups = {"common": chooser.group(members=2), "app": chooser.group()}
    chooser.accept(*(groups[name] for name in accepted.split()))
    instance = chooser.asks(*groups.values())
    assert chooser.stands() == ([] if chosen is None else [list(groups.values())[chosen].id])
    assert chooser.look(instance).keys() <= {"unchanged", "denied"}


def test_every_port_must_be_covered_for_one_group(chooser: Chooser) -> None:
    """Entries for two groups are not added up."""
    common, app, both = (chooser.group() for _ in range(3))
    ports = ":tcp/1+tcp/2"
    entries = [chooser.named(common), chooser.named(app, ":tcp/2"), chooser.named(both, ":tcp/1-2")]
    chooser.lab.tag(chooser.db, link_accept=" ".join(entries[:2]), link_accept_2=None)
    instance = chooser.asks(common, app, both, ports=ports)
    assert chooser.stands() == []
    chooser.lab.tag(chooser.db, **{"link_accept.2": entries[2]})
    chooser.look(instance)
    assert chooser.stands() == [both.id, both.id]
