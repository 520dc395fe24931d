"""One instance's life, whose events come in every order, twice, early and late, to a function that may die at any call."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
from link_peer.domain.model import Party
from link_peer.domain.policy import Limits
from link_peer.domain.tags import iso

from tests.simulation import oracle
from tests.simulation.explore import Act, Facts, Scenario
from tests.simulation.invariants import hold
from tests.simulation.run import Message, deliver, drained, quiet, reset, sweep_message
from tests.simulation.scenarios import POLICY, swept
from tests.simulation.world import HOME, PEER, REGION, START, World

WEB, DB, EXTRA = Party(HOME, "sg-web"), Party(HOME, "sg-db"), Party(HOME, "sg-extra")
ONE, STORE, OTHER = Party(HOME, "i-one"), Party(HOME, "i-store"), Party(HOME, "i-other")


def event(name: str, state: str, instance: Party = ONE, after: float = 0.0) -> Message:
    """A state change of an instance; `tags` as state stands for a tag change that ActionTrail tells."""
    body: dict[str, Any] = {
        "id": f"e-{name}",
        "source": "acs.ecs",
        "specversion": "1.0",
        "type": "ecs:Instance:StateChange",
        "time": iso(START),
        "aliyunaccountid": HOME,
        "aliyunregionid": REGION,
        "data": {"resourceId": instance.id, "resourceType": "ALIYUN::ECS::Instance", "state": state},
    }
    if state == "tags":
        body["type"] = "ecs:ActionTrail:ApiCall"
        body["data"] = {
            "eventName": "TagResources",
            "acsRegion": REGION,
            "referencedResources": {"ACS::ECS::Instance": [instance.id]},
        }
    return Message(name, "auto_link", json.dumps(body).encode(), after)


def home_world(accept_web: str, accept_db: str = "") -> World:
    """sg-web and sg-db at home, with an instance in each, and a group that stands for nobody, as it is never the first."""
    world = World()
    world.add_group(HOME, "web", accept_web)
    world.add_group(HOME, "db", accept_db)
    world.add_group(HOME, "extra")
    world.add_group(PEER, "far", f"sg-web@{HOME}:tcp/3306")
    world.add_instance(HOME, "other", WEB)
    world.add_instance(HOME, "store", DB, EXTRA)
    world.add_instance(PEER, "far", Party(PEER, "sg-far"))
    return world


def born(peer: str) -> Callable[[World], None]:
    return lambda world: void(world.add_instance(HOME, "one", WEB, EXTRA, peer=peer, ip="10.0.0.77"))


def dies(world: World) -> None:
    del world.instances[ONE]


def void(_value: object) -> None:
    pass


def in_every_order(name: str, start: Callable[[], World], peer: str, **options: Any) -> Scenario:
    """Created (untagged), running, tagged, deleted: what happens keeps its order, what is told of it has none."""
    created, running = event("created", "Created"), event("running", "Running")
    tagged, deleted = event("tagged", "tags"), event("deleted", "Deleted")
    happens = (
        Act("is born", born("")),
        Act("is tagged", lambda world: world.set_tag(ONE, "link-peer", peer)),
        Act("dies", dies),
    )
    lanes = (happens, (created,), (running, running), (tagged,), (deleted,))

    def end(world: World, facts: Facts) -> None:
        swept(world.copy())
        # the instance is gone: an event told late, once, is enough; no sweep is needed
        for message in (created, running, tagged):
            if ("acked", message.name) not in facts:
                reset(world, 400)  # by now the cloud would show it
                quiet(world, message, POLICY)
        reset(world, 400)
        quiet(world, deleted, POLICY)
        drained(world, POLICY)
        for queued in list(oracle.owned(world, POLICY)):
            hold("I9", queued.source.endswith(PEER) or queued.group.account == PEER, f"{queued} outlives its instance")
        swept(world)
        hold("I9", oracle.owned(world, POLICY) == {}, f"the instance is gone, and {oracle.owned(world, POLICY)} stands")

    return Scenario(name, start, POLICY, lanes, end, **options)


def tagged_in_every_order(name: str, start: Callable[[], World], peer: str, **options: Any) -> Scenario:
    """Born with its tag; the tag changes, a neighbour has it too: at the end the tags' links stand, without any sweep."""
    running, tagged = event("running", "Running"), event("tagged", "tags")
    neighbour = event("neighbour", "tags", OTHER)
    happens = (
        Act("is born", born(peer)),
        Act("neighbour asks too", lambda world: world.set_tag(OTHER, "link-peer", peer)),
        Act("asks no more", lambda world: world.set_tag(ONE, "link-peer", None)),
    )
    lanes = (happens, (running, running), (tagged, tagged), (neighbour,))

    def end(world: World, facts: Facts) -> None:
        swept(world.copy())
        for message in (running, tagged, neighbour):
            reset(world, 400)
            quiet(world, message, POLICY)
        drained(world, POLICY)
        found, wanted = oracle.owned(world, POLICY), oracle.wanted_by_tags(world, POLICY)
        if ("fault", "forbidden") not in facts:
            hold("I13", found.keys() == wanted.keys() and bool(wanted), f"{wanted} are wanted; {found.keys()} stand")
        swept(world)

    return Scenario(name, start, POLICY, lanes, end, **options)


def reused_address(**options: Any) -> Scenario:
    """The store dies, and another instance gets its address: nobody may reach the newcomer for it."""
    asks = event("asks", "Running")
    gone = event("gone", "Deleted", STORE)

    def start() -> World:
        world = home_world("i-store", "i-one")
        born("i-store")(world)
        return world

    def dead(world: World) -> None:
        del world.instances[STORE]

    def reused(world: World) -> None:
        world.add_instance(HOME, "new", DB, ip="10.0.0.2")

    lanes = ((asks, asks), (Act("store dies", dead), Act("address reused", reused)), (gone,))

    def end(world: World, _facts: Facts) -> None:
        swept(world.copy())
        reset(world, 400)
        quiet(world, gone, POLICY)
        hold("I1", oracle.owned(world, POLICY) == {}, f"the store is gone, and {oracle.owned(world, POLICY)} stands")
        swept(world)

    return Scenario("reused address", start, POLICY, lanes, end, **options)


def nothing_shown(peer: str, **options: Any) -> Scenario:
    """Two instances want a link; reads come back empty at any call, and a false event says that one is gone: it stays."""
    asks, other, false = event("asks", "tags"), event("other", "tags", OTHER), event("false", "Deleted")

    def start() -> World:
        world = home_world("*", "*")
        born(peer)(world)
        world.set_tag(OTHER, "link-peer", peer)
        deliver(world, asks, POLICY)
        return world

    def end(world: World, _facts: Facts) -> None:
        stood = [key for key, why in oracle.wanted_by_tags(world, POLICY).items() if ONE.id in why]
        hold("I9", bool(stood) and set(stood) <= oracle.owned(world, POLICY).keys(), f"{stood} stood, and are wanted")
        swept(world)

    lanes = ((asks, sweep_message()), (false, false), (other,))
    kinds = ("kill", "kill-after", "lost", "empty", "short", "down")
    return Scenario(f"nothing shown, {peer}", start, POLICY, lanes, end, **{"kinds": kinds, **options})


def left_out(peer: str, **options: Any) -> Scenario:
    """One instance wants a link, its neighbour does not; any read may leave the first one out, once: its link stays."""
    asks, other = event("asks", "Running"), event("other", "tags", OTHER)

    def start() -> World:
        world = home_world("*", "*")
        born(peer)(world)
        deliver(world, asks, POLICY)
        return world

    def end(world: World, _facts: Facts) -> None:
        stood = oracle.wanted_by_tags(world, POLICY).keys()
        hold("I9", bool(stood) and stood <= oracle.owned(world, POLICY).keys(), f"{stood} stood, and are wanted")
        swept(world)

    lanes = ((asks, sweep_message()), (other, other))
    return Scenario(f"left out, {peer}", start, POLICY, lanes, end, **{"kinds": ("kill", "short", "down"), **options})


def too_many_at_once(**options: Any) -> Scenario:
    """Three rules of two links lose their tag at once, and two may go in a run: none goes, until somebody raises the limit."""
    careful = msgspec.structs.replace(POLICY, limits=Limits(removals_per_run=2))
    peer = "sg-db:tcp/1+tcp/2 sg-cache:tcp/3"
    untagged = event("untagged", "tags")

    def start() -> World:
        world = home_world("*", "*")
        world.add_group(HOME, "cache", "*")
        born(peer)(world)
        deliver(world, untagged, POLICY)
        world.set_tag(ONE, "link-peer", None)
        return world

    def end(world: World, facts: Facts) -> None:
        counted = ("fault", "stale") not in facts  # what a read of the past does not show is not counted
        hold(
            "I9",
            len(oracle.owned(world, POLICY)) == 3 or not counted,
            f"too many at once, and now {oracle.owned(world, POLICY)}",
        )
        swept(world)
        hold("I9", oracle.owned(world, POLICY) == {}, "the limit was raised, and they stand")

    lanes = ((untagged, untagged), (sweep_message(),))
    return Scenario("too many at once", start, careful, lanes, end, **options)


LIVES: list[Callable[..., Scenario]] = [
    lambda **o: in_every_order("a port of a group", lambda: home_world("", "sg-web:tcp/3306"), "sg-db:tcp/3306", **o),
    lambda **o: in_every_order("a whole group", lambda: home_world("sg-db", "*"), "sg-db", **o),
    lambda **o: in_every_order("an instance", lambda: home_world("i-store", "sg-web"), "i-store", **o),
    lambda **o: in_every_order("another account", lambda: home_world("sg-db"), f"sg-far@{PEER}:tcp/3306", **o),
    lambda **o: tagged_in_every_order("ports, twice asked", lambda: home_world("", "*"), "sg-db:tcp/3306+udp/53", **o),
    lambda **o: tagged_in_every_order("group, twice asked", lambda: home_world("*", "*"), "sg-db", **o),
    lambda **o: tagged_in_every_order("instance, twice asked", lambda: home_world("*", "*"), "i-store", **o),
    lambda **o: tagged_in_every_order(
        "another account, twice asked", lambda: home_world("sg-db"), f"sg-far@{PEER}:tcp/3306", **o
    ),
    reused_address,
    lambda **o: nothing_shown("sg-db:tcp/3306", **o),
    lambda **o: nothing_shown("i-store", **o),
    lambda **o: left_out("sg-db:tcp/3306", **o),
    lambda **o: left_out("i-store", **o),
    too_many_at_once,
]
