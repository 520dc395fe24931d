"""Instances that start, are tagged and released, with events in every order, duplicated and late."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
from link_peer.domain.model import Party
from link_peer.domain.policy import Limits
from link_peer.domain.tags import iso

from tests.simulation import oracle
from tests.simulation.driver import deliver, deliver_queue, deliver_without_faults, reset
from tests.simulation.explore import Act, Facts, Scenario
from tests.simulation.invariants import hold
from tests.simulation.messages import Message, sweep_message
from tests.simulation.scenarios.common import POLICY, had_fault, hold_rules, hold_wanted, sweep_and_check
from tests.simulation.world import HOME, PEER, REGION, START, World

WEB, DB, EXTRA = Party(HOME, "sg-web"), Party(HOME, "sg-db"), Party(HOME, "sg-extra")
ONE, STORE, OTHER = Party(HOME, "i-one"), Party(HOME, "i-store"), Party(HOME, "i-other")


def event(name: str, state: str, instance: Party = ONE, now: float = START) -> Message:
    """A state change of an instance; with `tags` as state, a tag change of it or of a group as ActionTrail reports it,
    and with `moved` a change of its groups."""
    body: dict[str, Any] = {
        "id": f"e-{name}",
        "source": "acs.ecs",
        "specversion": "1.0",
        "type": "ecs:Instance:StateChange",
        "time": iso(now),
        "aliyunaccountid": HOME,
        "aliyunregionid": REGION,
        "data": {"resourceId": instance.id, "resourceType": "ALIYUN::ECS::Instance", "state": state},
    }
    if state in ("tags", "moved"):
        body["type"] = "ecs:ActionTrail:ApiCall"
        body["data"] = {
            "eventName": "TagResources" if state == "tags" else "ModifyInstanceAttribute",
            "acsRegion": REGION,
            "referencedResources": {f"ACS::ECS::{'SecurityGroup' if instance.is_group else 'Instance'}": [instance.id]},
        }
    return Message(name, "auto_link", json.dumps(body).encode())


def home_world(accept_web: str, accept_db: str = "", instance_name: str | None = None) -> World:
    """sg-web with i-other and sg-db with i-store in one account, sg-far with i-far in the other; i-one, where its tag
    is given.

    sg-extra is only ever an instance's second group, so that no link may use it.
    """
    world = World()
    world.add_group(HOME, "web", accept_web)
    world.add_group(HOME, "db", accept_db)
    world.add_group(HOME, "extra")
    world.add_group(PEER, "far", f"sg-web@{HOME}:tcp/3306")
    world.add_instance(HOME, "other", WEB)
    world.add_instance(HOME, "store", DB, EXTRA)
    world.add_instance(PEER, "far", Party(PEER, "sg-far"))
    if instance_name is not None:
        start_one(world, instance_name)
    return world


def start_one(world: World, peer: str = "") -> None:
    """Starts i-one in sg-web, with `peer` as its link-peer tag."""
    world.add_instance(HOME, "one", WEB, EXTRA, peer=peer, ip="10.0.0.77")


def lifecycle(name: str, world: Callable[[], World], peer: str) -> Scenario:
    """i-one starts, is tagged and is released; the events of these arrive in any order, before or after the facts."""
    created, running = event("created", "Created"), event("running", "Running")
    tagged, deleted = event("tagged", "tags"), event("deleted", "Deleted")

    def release(world: World) -> None:
        del world.instances[ONE]

    facts_in_order = (
        Act("start", start_one),
        Act("tag", lambda world: world.set_tag(ONE, "link-peer", peer)),
        Act("release", release),
    )
    lanes = (facts_in_order, (created,), (running, running), (tagged,), (deleted,))

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy())
        # One late event about the released instance is enough to remove the rules between instances. Nothing tells a
        # process that never saw the instance which groups it was in: their rules wait for the sweep.
        for message in (created, running, tagged):
            if ("acked", message.name) not in facts:
                reset(world, 400)  # by now reads show every change
                deliver_without_faults(world, message, POLICY)
        reset(world, 400)
        deliver_without_faults(world, deleted, POLICY)
        deliver_queue(world, POLICY)
        for key in list(oracle.owned(world, POLICY)):
            cross_account = key.source.endswith(PEER) or key.group.account == PEER
            hold("I9", cross_account or not key.dest, f"{key} exists though its instance was released")
        sweep_and_check(world)
        hold_rules("I9", world, {}, "rules exist after a sweep, though the instance was released")

    return Scenario(name, world, POLICY, lanes, end)


def two_instances(name: str, world: Callable[[], World], peer: str) -> Scenario:
    """i-one starts with a tag, i-other gets the same tag, i-one's is removed: the events alone lead to the right
    rules."""
    running, tagged = event("running", "Running"), event("tagged", "tags")
    other_tagged = event("other tagged", "tags", OTHER)
    facts_in_order = (
        Act("start", lambda world: start_one(world, peer)),
        Act("tag the other", lambda world: world.set_tag(OTHER, "link-peer", peer)),
        Act("untag", lambda world: world.set_tag(ONE, "link-peer", None)),
    )
    lanes = (facts_in_order, (running, running), (tagged, tagged), (other_tagged,))

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy())
        for message in (running, tagged, other_tagged):
            reset(world, 400)
            deliver_without_faults(world, message, POLICY)
        deliver_queue(world, POLICY)
        if not had_fault(facts, "forbidden"):
            hold_wanted("I13", world, needs_rules=True)
        sweep_and_check(world)

    return Scenario(name, world, POLICY, lanes, end)


def moved(name: str, peer: str, party: Party, changes: dict[str, Any]) -> Scenario:
    """An instance of a standing link gets other groups or another address, which one event tells: it closes what is of
    the old ones, and of the instance that asks also opens what is of the new ones. Of its target, a delivery that is
    killed between the two leaves no rule that would tell who asks: the next event of that instance opens it."""
    running, move = event("running", "Running", party), event("moved", "moved", party)

    def start() -> World:
        world = home_world("*", "*", peer)
        deliver(world, event("started", "Running"), POLICY)
        return world

    def change(world: World) -> None:
        world.instances[party] = msgspec.structs.replace(world.instances[party], **changes)

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy())
        reset(world, 400)
        deliver_without_faults(world, move, POLICY)
        tagged_keys = oracle.wanted_by_tags(world, POLICY).keys()
        stale = oracle.owned(world, POLICY).keys() - tagged_keys
        hold("I9", not stale, f"{stale} are left of the old groups or address")
        if party != ONE:
            deliver_without_faults(world, event("asks", "Running"), POLICY)
        if not had_fault(facts, "forbidden"):
            hold_wanted("I13", world)
        sweep_and_check(world)

    lanes = ((Act("change", change),), (move, move), (running,), (sweep_message(),))
    return Scenario(f"moved, {name}", start, POLICY, lanes, end)


def reused_address() -> Scenario:
    """i-store is released and a new instance gets its address: i-one's link to i-store must not reach the new one."""
    running = event("running", "Running")
    deleted = event("deleted", "Deleted", STORE)

    def release(world: World) -> None:
        del world.instances[STORE]

    def reuse(world: World) -> None:
        world.add_instance(HOME, "new", DB, ip="10.0.0.2")

    lanes = ((running, running), (Act("release i-store", release), Act("reuse its address", reuse)), (deleted,))

    def end(world: World, _facts: Facts) -> None:
        sweep_and_check(world.copy())
        reset(world, 400)
        deliver_without_faults(world, deleted, POLICY)
        hold_rules("I1", world, {}, "rules exist though i-store was released")
        sweep_and_check(world)

    return Scenario("reused address", lambda: home_world("i-store", "i-one", "i-store"), POLICY, lanes, end)


def empty_reads(peer: str) -> Scenario:
    """Two instances ask for a link; reads may show no instance, and a false event reports a release: the link stays. If
    the account shows no instance from the event's first read on, which is what the release of its last one looks like,
    the rules go, and a sweep opens them again."""
    tagged, other_event, false = event("tagged", "tags"), event("other", "tags", OTHER), event("false", "Deleted")

    def start() -> World:
        world = home_world("*", "*", peer)
        world.set_tag(OTHER, "link-peer", peer)
        deliver(world, tagged, POLICY)
        return world

    def end(world: World, facts: Facts) -> None:
        tagged_pairs = list(oracle.wanted_by_tags(world, POLICY, ONE))
        ours = oracle.owned(world, POLICY)
        stand = bool(tagged_pairs) and set(tagged_pairs) <= ours.keys()
        is_released = ("false", "removed", "instance-gone") in facts and had_fault(facts, "empty")
        hold("I9", stand or is_released, f"{tagged_pairs} should still exist, the rules are {ours}")
        sweep_and_check(world)

    lanes = ((tagged, sweep_message()), (false, false), (other_event,))
    kinds = ("kill", "kill-after", "lost", "empty", "omit-one", "account-down")
    return Scenario(f"empty reads, {peer}", start, POLICY, lanes, end, kinds)


def omitted_once(peer: str) -> Scenario:
    """i-one asks for a link and i-other does not; any one read may omit i-one, or a group: its link stays."""
    running, other_event = event("running", "Running"), event("other", "tags", OTHER)

    def start() -> World:
        world = home_world("*", "*", peer)
        deliver(world, running, POLICY)
        return world

    def end(world: World, _facts: Facts) -> None:
        tagged_keys, ours = oracle.wanted_by_tags(world, POLICY).keys(), oracle.owned(world, POLICY).keys()
        hold("I9", bool(tagged_keys) and tagged_keys <= ours, f"{tagged_keys} should still exist, the rules are {ours}")
        sweep_and_check(world)

    lanes = ((running, sweep_message()), (other_event, other_event))
    kinds = ("kill", "omit-one", "omit-group", "account-down")
    return Scenario(f"omitted once, {peer}", start, POLICY, lanes, end, kinds)


def large_group(peer: str) -> Scenario:
    """A burst of releases and removed tags in a group of more pages than an event reads of it: i-zed, the last that is
    listed, still asks, so that the link stays. Once it asks no more, the sweep removes the link."""
    untagged, released = event("untagged", "tags"), event("released", "Deleted", OTHER)
    zed = Party(HOME, "i-zed")

    def start() -> World:
        world = home_world("*", "*", peer)
        world.page = 1
        for name in ("pa", "pb"):
            world.add_instance(HOME, name, WEB)
        world.add_instance(HOME, zed.id.removeprefix("i-"), WEB, peer=peer)
        deliver(world, event("started", "Running"), POLICY)
        return world

    def release(world: World) -> None:
        del world.instances[OTHER]

    def end(world: World, _facts: Facts) -> None:
        tagged_keys, ours = oracle.wanted_by_tags(world, POLICY).keys(), oracle.owned(world, POLICY).keys()
        hold("I9", bool(tagged_keys) and tagged_keys <= ours, f"{tagged_keys} should still exist, the rules are {ours}")
        world.set_tag(zed, "link-peer", None)
        reset(world, 400)
        deliver_without_faults(world, event("last", "tags", zed), POLICY)
        sweep_and_check(world)

    lanes = (
        (Act("untag", lambda world: world.set_tag(ONE, "link-peer", None)), untagged, untagged),
        (Act("release", release), released),
    )
    kinds = ("kill", "kill-after", "omit-one", "empty", "account-down")
    return Scenario(f"a large group, {peer}", start, POLICY, lanes, end, kinds)


def too_many_removals() -> Scenario:
    """The tags of three rules are removed at once, and the limit is two removals: all stay until the limit is
    raised."""
    limited = msgspec.structs.replace(POLICY, limits=Limits(removals_per_run=2))
    peer = "sg-db:tcp/1+tcp/2 sg-cache:tcp/3"
    untagged = event("untagged", "tags")

    def start() -> World:
        world = home_world("*", "*", peer)
        world.add_group(HOME, "cache", "*")
        deliver(world, untagged, POLICY)
        world.set_tag(ONE, "link-peer", None)
        return world

    def end(world: World, facts: Facts) -> None:
        ours = oracle.owned(world, POLICY)
        # removals of rules that a stale read does not show are not counted
        is_held = len(ours) == 3 or had_fault(facts, "stale")
        hold("I9", is_held, f"three removals exceed the limit, but the rules are {ours}")
        sweep_and_check(world)
        hold_rules("I9", world, {}, "rules exist after the limit was raised")

    lanes = ((untagged, untagged), (sweep_message(),))
    return Scenario("too many removals", start, limited, lanes, end)


FAR_PORT = f"sg-far@{PEER}:tcp/3306"
INSTANCES = [
    lifecycle("lifecycle, group port", lambda: home_world("", "sg-web:tcp/3306"), "sg-db:tcp/3306"),
    lifecycle("lifecycle, whole group", lambda: home_world("sg-db", "*"), "sg-db"),
    lifecycle("lifecycle, instance", lambda: home_world("i-store", "sg-web"), "i-store"),
    lifecycle("lifecycle, other account", lambda: home_world("sg-db"), FAR_PORT),
    two_instances("two instances, ports", lambda: home_world("", "*"), "sg-db:tcp/3306+udp/53"),
    two_instances("two instances, whole group", lambda: home_world("*", "*"), "sg-db"),
    two_instances("two instances, instance", lambda: home_world("*", "*"), "i-store"),
    two_instances("two instances, other account", lambda: home_world("sg-db"), FAR_PORT),
    moved("group port", "sg-db:tcp/3306", ONE, {"groups": (EXTRA.id,)}),
    moved("whole group", "sg-db", ONE, {"groups": (EXTRA.id,)}),
    moved("address", "i-store:tcp/3306", ONE, {"ip": "10.0.0.99"}),
    moved("target", "i-store", STORE, {"ip": "10.0.0.99", "groups": (WEB.id,)}),
    reused_address(),
    empty_reads("sg-db:tcp/3306"),
    empty_reads("i-store"),
    omitted_once("sg-db:tcp/3306"),
    omitted_once("i-store"),
    large_group("sg-db:tcp/3306"),
    large_group("sg-db"),
    too_many_removals(),
]
