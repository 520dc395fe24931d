"""What a peer hides, refuses or throttles keeps no rule of ours standing on home's groups, and the records say what is
left."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import pytest
from aliyun_local.api import Group, Instance
from link_peer.alicloud.sts import CACHE
from link_peer.domain.errors import RedeliveryNeeded
from msgspec import Struct

from tests.functional.lab import HOME, OTHER, PEER, Lab
from tests.sample import sample

ROLE = f"acs:ram::{PEER}:role/link-peer"
CALLS = (
    "AssumeRole",
    "DescribeInstances",
    "DescribeSecurityGroups",
    "DescribeSecurityGroupAttribute",
    "ListTagResources",
    "RevokeSecurityGroup",
)
UNREAD = [f"{call} throttled" for call in (*CALLS[:3], "everything")]
"""What leaves unknown for the moment what the peer's instances ask for."""
HIDINGS = ["no role", *(f"{call} {how}" for how in ("denied", "throttled") for call in CALLS), "everything throttled"]


def hide(lab: Lab, hiding: str) -> None:
    """The peer hides, until the faults are cleared."""
    CACHE.clear()
    action, how = hiding.split(" ")
    refused = {"code": "NoPermission", "status": 403} if how == "denied" else {"kind": "throttle"}
    if hiding == "DescribeInstances denied":  # answered with an empty list
        lab.cloud.identity.allow_only(ROLE, ["ecs:*SecurityGroup*", "ecs:ListTagResources", "ecs:TagResources"])
    elif how == "role":
        del lab.cloud.identity.roles[ROLE]
    elif action == "AssumeRole":
        lab.fault(action=action, times=None, **refused)
    else:
        lab.fault(service="ecs", action=action.replace("everything", "*"), account=PEER, times=None, **refused)


class World(Struct):
    """A mutual link between home and the peer: its parties, the groups of its two rules, and an instance of home that
    may ask for it."""

    lab: Lab
    asks: Instance
    ends: tuple[Group | Instance, Group | Instance]
    home: Group
    far: Group

    def request(self, action: str = "link", **fields: str) -> None:
        self.lab.cross_account(self.lab.request(*self.ends, action=action, request_id=f"chg-{action}", **fields))

    def ask(self, **tags: str) -> None:
        self.lab.tag(self.asks, link_peer=f"{self.ends[1].id}@{PEER}", **tags)
        self.lab.sweep()

    def take_tag_off(self) -> None:
        """The event, its sync, and one sweep."""
        self.lab.retag(self.asks, link_peer=None)
        self.lab.cross_account(*self.lab.queued())
        self.sweep()

    def end(self) -> None:
        self.lab.cloud.clock.advance(600)
        self.sweep()

    def sweep(self) -> None:
        with contextlib.suppress(RedeliveryNeeded):  # a change was throttled: the next sweep makes it
            self.lab.sweep()

    def tag_group(self, **tags: str | None) -> None:
        self.lab.tag(self.home, **tags)
        self.lab.auto_link(self.lab.group_event(self.home))

    def deny(self) -> None:
        """No port, and so no mutual link."""
        self.lab.policy(deny={"ports": ["tcp/22"]})
        self.sweep()

    def forbid(self) -> None:
        """One direction, and so the mutual link."""
        self.lab.policy(never=[{"from": f"*@{PEER}", "to": f"*@{HOME}"}])
        self.sweep()

    def tag_unseen(self, **tags: str | None) -> None:
        """Its event is lost."""
        self.lab.tag(self.home, **tags)
        self.sweep()


Step = Callable[[World], None]
CAUSES: dict[str, tuple[Step, Step]] = {
    "unlink": (World.request, lambda world: world.request("unlink")),
    "tag off": (World.ask, World.take_tag_off),
    "end": (lambda world: world.request(until=world.lab.iso(600)), World.end),
    "end of a tag": (lambda world: world.ask(link_until=world.lab.iso(600)), World.end),
    "lock": (World.request, lambda world: world.tag_group(link_lock="now")),
    "consent": (World.request, lambda world: world.tag_group(link_accept=None)),
    "policy": (World.request, World.deny),
    "never": (World.request, World.forbid),
    "lock, by a sweep": (World.request, lambda world: world.tag_unseen(link_lock="now")),
    "consent, by a sweep": (World.request, lambda world: world.tag_unseen(link_accept=None)),
}
"""What closes a link: how it is made, and what happens then."""
IN_TURN = [
    (hiding, cause, "groups" if "tag" in cause else ("groups", "instances")[(row + column) % 2])
    for row, hiding in enumerate(HIDINGS)
    for column, cause in enumerate(CAUSES)
]
"""Every hiding with every cause; links of groups and of instances take turns. A tag asks for groups."""


def world_of(lab: Lab, kind: str) -> World:
    home, far = lab.pair()
    asks, other_instance = lab.instance(home, tags={"team": "x"}), lab.instance(far, tags={"team": "x"})
    ends = (home, far) if kind == "groups" else (asks, other_instance)
    return World(lab, asks, ends, home, far)


def groups_of(record: dict[str, str]) -> set[str]:
    """The groups whose rules a record names."""
    return {rule["group"] for rule in json.loads(record["rules"])}


@pytest.mark.exhaustive
@pytest.mark.parametrize(("hiding", "cause", "kind"), sample(IN_TURN, 3))
def test_a_peer_that_hides_keeps_nothing_standing_at_home(lab: Lab, hiding: str, cause: str, kind: str) -> None:
    """Whatever closes the link. What is recorded as removed went; where the peer's half stands, or may, the record says
    so, and a later run closes it. Of a tag's mutual link, a peer that could not be read counts as asking until it can
    be."""
    world = world_of(lab, kind)
    before, happens = CAUSES[cause]
    before(world)
    assert (len(lab.rules(world.home)), len(lab.rules(world.far))) == (1, 1)
    hide(lab, hiding)
    happens(world)
    asks = cause == "tag off" and hiding in UNREAD
    assert (lab.rules(world.home) != []) == asks
    if not asks:
        removed = [(record["detail"], groups_of(record)) for record in lab.records(outcome="removed")]
        (detail,) = (detail for detail, groups in removed if world.home.id in groups)
        is_withdrawn = any(world.far.id in groups for _, groups in removed)
        assert is_withdrawn == (lab.rules(world.far) == [])
        assert is_withdrawn or world.far.id in detail or f"account {PEER}" in detail
    lab.cloud.faults.clear()
    if hiding in ("no role", "DescribeInstances denied"):
        return  # nothing can be said of the peer's own group
    lab.drain(60)  # what met a transient error is tried again
    if hiding.endswith("denied"):
        lab.cloud.clock.advance(1800)  # a request's half is left to the sweep, once it cannot be that of a delivery
    lab.sweep()
    assert (lab.rules(world.home), lab.rules(world.far)) == ([], [])


@pytest.mark.parametrize("hiding", [hiding for hiding in HIDINGS if not hiding.startswith("AssumeRole")])
def test_of_two_peers_one_that_hides_keeps_nothing_standing_at_the_other(three_accounts: Lab, hiding: str) -> None:
    """The one whose side comes first: what cannot be changed there does not keep the other from being closed."""
    lab = three_accounts
    b, c = lab.group(f"*@{OTHER}", account=PEER), lab.group(f"*@{PEER}", account=OTHER)
    lab.cross_account(lab.request(b, c))
    hide(lab, hiding)
    assert lab.cross_account(lab.request(c, b, action="unlink", request_id="chg-2"))["removed"] == 1
    assert lab.rules(c) == []
    assert lab.rules(b) == [] or PEER in lab.records(outcome="removed")[-1]["detail"]
