"""Which deliveries are run at once, and what must be left."""

from __future__ import annotations

from collections.abc import Sequence

from link_peer.domain.model import Party, RuleKey

from tests.simulation import oracle
from tests.simulation.interleave import Race
from tests.simulation.invariants import hold
from tests.simulation.lifecycle import OTHER, born, event, home_world
from tests.simulation.run import Message, Run, deliver, sweep_message
from tests.simulation.scenarios import APP, DB, POLICY, TCP, mutual_rules, redelivered, request, two_accounts
from tests.simulation.world import HOME, PEER, World

R1, R2, R3 = request("r-1", "r-1"), request("r-2", "r-2"), request("r-3", "r-3")
UNLINK = request("u-1", "u-1", action="unlink")
SYNC = request("s-1", "tag-0000000000000000", action="sync")
PORT = request("r-1", "r-1", "tcp/3306")
P1, P2, P3 = (request(f"r-{n}", f"r-{n}", "tcp/3306", "udp/53") for n in (1, 2, 3))


def settled(world: World, runs: Sequence[Run], *messages: Message) -> None:
    """What raised comes again, and a sweep follows: the world is at rest, whatever was lost."""
    facts = frozenset(("acked", m.name) for m, run in zip(messages, runs, strict=True) if run.end == "acked")
    redelivered(world, facts, messages)


def two_links(world: World, runs: Sequence[Run]) -> bool:
    settled(world, runs, R1, R2)
    found = oracle.owned(world, POLICY)
    hold("I3", set(found) == set(mutual_rules()), f"both were applied, and {found} stands")
    return any(why != frozenset({"req:r-1", "req:r-2"}) for why in found.values())


def two_markers(world: World, runs: Sequence[Run]) -> bool:
    settled(world, runs, R2, R3)
    found = oracle.owned(world, POLICY)
    hold("I3", set(found) == set(mutual_rules()), f"all were applied, and {found} stands")
    return any(why != frozenset({"req:r-1", "req:r-2", "req:r-3"}) for why in found.values())


def two_ports(world: World, runs: Sequence[Run]) -> bool:
    settled(world, runs, P2, P3)
    found = oracle.owned(world, POLICY)
    hold("I3", len(found) == 2, f"all were applied, and {found} stands")
    return any(why != frozenset({"req:r-1", "req:r-2", "req:r-3"}) for why in found.values())


def same_twice(world: World, runs: Sequence[Run]) -> bool:
    settled(world, runs, R1, R1)
    found = oracle.owned(world, POLICY)
    hold("I6", found == dict.fromkeys(mutual_rules(), frozenset({"req:r-1"})), f"applied twice at once; now {found}")
    return False


def link_against_unlink(world: World, runs: Sequence[Run]) -> bool:
    """Either order is right: both sides or none."""
    settled(world, runs, R2, UNLINK)
    found = oracle.owned(world, POLICY)
    hold("I3", set(found) in (set(), set(mutual_rules())), f"half of it: {found}")
    hold("I9", set(found.values()) <= {frozenset({"req:r-2"})}, f"r-1 was unlinked, and {found} stands")
    return False


def linked() -> World:
    world = two_accounts()
    deliver(world, R1, POLICY)
    return world


def ports_linked() -> World:
    world = two_accounts()
    deliver(world, P1, POLICY)
    return world


def half_open() -> World:
    """Linked by a request; then a person takes away the rule on sg-db."""
    world = linked()
    for rule_id in list(world.rules[DB]):
        world.hand_delete(DB, rule_id)
    return world


def all_closed(world: World, runs: Sequence[Run]) -> bool:
    settled(world, runs, UNLINK, sweep_message())
    hold("I6", oracle.owned(world, POLICY) == {}, f"unlinked, and {oracle.owned(world, POLICY)} stands")
    return False


def tag_gone() -> World:
    """sg-db admits sg-app on a port for a tag that has just been taken off."""
    world = two_accounts(**{"link-peer": f"sg-db@{PEER}:tcp/3306"})
    deliver(world, SYNC, POLICY)
    world.set_tag(Party(HOME, "i-app"), "link-peer", None)
    return world


def request_against_tag(removal: Message, may_lose: int) -> Race:
    def end(world: World, runs: Sequence[Run]) -> bool:
        settled(world, runs, PORT, removal)
        found = oracle.owned(world, POLICY)
        key = RuleKey(DB, str(APP), "", TCP)
        hold("I9", found in ({}, {key: frozenset({"req:r-1"})}), f"now {found}")
        return found == {}

    return Race(
        f"a request, and {removal.name} takes the tag's reason", tag_gone, POLICY, (PORT, removal), end, may_lose
    )


def neighbours() -> World:
    """Two instances of sg-web with one wish."""
    world = home_world("*", "*")
    born("sg-db:tcp/3306+udp/53")(world)
    world.set_tag(OTHER, "link-peer", "sg-db:tcp/3306+udp/53")
    return world


def by_tags(*messages: Message) -> Race:
    def end(world: World, runs: Sequence[Run]) -> bool:
        settled(world, runs, *messages)
        found, wanted = oracle.owned(world, POLICY), oracle.wanted_by_tags(world, POLICY)
        hold("I9", found.keys() == wanted.keys() and bool(found), f"{wanted} are wanted, {found} stand")
        return False

    first, second = messages
    return Race(f"{first.name} and {second.name}", neighbours, POLICY, (first, second), end)


def with_sweep(world: World, runs: Sequence[Run]) -> bool:
    settled(world, runs, R2, sweep_message())
    found = oracle.owned(world, POLICY)
    hold("I6", found == dict.fromkeys(mutual_rules(), frozenset({"req:r-1", "req:r-2"})), f"now {found}")
    return False


RACES = [
    Race("two requests for one new link", two_accounts, POLICY, (R1, R2), two_links),
    Race("two requests for a link that stands", linked, POLICY, (R2, R3), two_markers, may_lose=4),
    Race("two requests for two ports that stand", ports_linked, POLICY, (P2, P3), two_ports, may_lose=300),
    Race("one request twice", two_accounts, POLICY, (R1, R1), same_twice),
    Race("a second request, and an unlink", linked, POLICY, (R2, UNLINK), link_against_unlink),
    Race("a half-open link, an unlink and a sweep", half_open, POLICY, (UNLINK, sweep_message()), all_closed),
    Race("a request and a sweep", linked, POLICY, (R2, sweep_message()), with_sweep),
    request_against_tag(SYNC, 81),
    request_against_tag(sweep_message(), 87),
    by_tags(event("one", "Running"), event("other", "tags", OTHER)),
    by_tags(event("one", "Running"), sweep_message()),
    by_tags(event("one", "Running"), event("one", "Running")),
]
