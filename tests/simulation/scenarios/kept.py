"""What stands while a wish as a whole is denied: a denial closes nothing by itself."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from link_peer.domain.model import Party
from link_peer.domain.policy import Limits

from tests.simulation import oracle
from tests.simulation.driver import deliver
from tests.simulation.explore import Act, Facts, Scenario
from tests.simulation.invariants import hold
from tests.simulation.messages import Message, sweep_message
from tests.simulation.scenarios.addresses import BY_ADDRESS, HOME_DB, ONE
from tests.simulation.scenarios.both_ends import STORE, TAGGED, advanced
from tests.simulation.scenarios.common import (
    APP,
    had_fault,
    half_an_hour_later,
    hold_rules,
    redeliver_and_check,
    request,
)
from tests.simulation.scenarios.instances import event
from tests.simulation.world import World

WIDER = "tcp/3306+tcp/3307"
AT_ONE, AT_DB = event("one", "tags", ONE), event("db", "tags", HOME_DB)


def basic() -> World:
    """Basic groups at home: i-one of sg-app is linked to sg-db on tcp/3306."""
    return _opened(_basic(advanced(**TAGGED)))


def groups() -> World:
    """The same with advanced groups."""
    return _opened(advanced(**TAGGED))


def instances() -> World:
    """The same where it is linked to an instance of the advanced sg-db."""
    return _opened(advanced(**{"link-peer": "i-store:tcp/3306"}))


def _basic(world: World) -> World:
    world.groups = {p: msgspec.structs.replace(group, advanced=False) for p, group in world.groups.items()}
    return world


def _opened(world: World) -> World:
    deliver(world, AT_ONE, BY_ADDRESS)
    return world


def _asks_for(ports: str) -> Act:
    def do(world: World) -> None:
        peer = world.instances[ONE].tags["link-peer"].partition(":")[0]
        world.set_tag(ONE, "link-peer", f"{peer}:{ports}")

    return Act(f"i-one asks for {ports}", do)


def port_more(name: str, start: Callable[[], World]) -> Scenario:
    """The tag asks for a port more than is accepted: what stands stays, at both ends, throughout."""
    standing = oracle.owned(start(), BY_ADDRESS)

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (AT_ONE,), BY_ADDRESS)
        hold_rules("I16", world, standing, "the rules that stood should stand, but there are", BY_ADDRESS)

    lanes = ((_asks_for(WIDER), AT_ONE, AT_ONE), (sweep_message(),), (AT_DB,))
    return Scenario(f"a port more, {name}", start, BY_ADDRESS, lanes, end)


def kept_and_closed(name: str, start: Callable[[], World], group: Party, key: str, value: str | None) -> Scenario:
    """What stands for such a wish goes when a group of the link no longer allows that very rule."""
    at_group = event("group", "tags", group)
    act = Act(f"{group.id} gets {key}={value}", lambda world: world.set_tag(group, key, value))

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (AT_ONE, at_group), BY_ADDRESS)
        hold_rules("I1", world, {}, f"rules stand, though {act.name}", BY_ADDRESS)

    lanes = ((_asks_for(WIDER), AT_ONE), (act, at_group), (sweep_message(),))
    return Scenario(f"kept, {name}", start, BY_ADDRESS, lanes, end)


def lower_limit() -> Scenario:
    """The policy allows fewer ports than a link has, and fewer peers: it opens nothing more, and nothing goes."""
    policy = msgspec.structs.replace(BY_ADDRESS, limits=Limits(max_ports=1, max_peers=1))

    def start() -> World:
        world = advanced(**{"link-peer": f"sg-db:{WIDER}"})
        world.set_tag(APP, "link-egress", f"sg-db:{WIDER}")
        world.set_tag(HOME_DB, "link-accept", f"sg-app:{WIDER}")
        return _opened(world)

    standing = oracle.owned(start(), BY_ADDRESS)
    new = Act("another peer before it", lambda world: world.set_tag(ONE, "link-peer", f"sg-other:udp/53 sg-db:{WIDER}"))

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (AT_ONE,), policy)
        hold("I16", oracle.owned(world, policy) == standing, f"the limits closed, or opened: {world.rules}")

    return Scenario("a lower limit", start, policy, ((new, AT_ONE), (sweep_message(),)), end)


def request_for_more(name: str, start: Callable[[], World], ends: tuple[Party, Party]) -> Scenario:
    """A request with a port more than is accepted, with the same id and with another, keeps what an earlier one
    opened."""
    first, *wider = (
        request(f"r-{number}", request_id, *ports.split("+"), between=ends)
        for number, (request_id, ports) in enumerate([("r-1", "tcp/3306"), ("r-1", WIDER), ("r-2", WIDER)])
    )

    def opened() -> World:
        world = start()
        deliver(world, first, BY_ADDRESS)
        return world

    standing = oracle.owned(opened(), BY_ADDRESS)

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, wider, BY_ADDRESS)
        hold_rules("I16", world, standing, "the rules that stood should stand, but there are", BY_ADDRESS)

    lanes: tuple[tuple[Message, ...], ...] = ((wider[0],), (wider[1],), (sweep_message(),))
    return Scenario(f"a request for more, {name}", opened, BY_ADDRESS, lanes, end)


def full_for_more(name: str, start: Callable[[], World], ends: tuple[Party, Party], full: Party) -> Scenario:
    """A request is posted again with a port more, and a group of it refuses new rules, which only the change itself
    shows: what the request opened stays, at both ends."""
    first, again = (
        request(f"r-{number}", "r-1", *ports.split("+"), between=ends)
        for number, ports in enumerate(["tcp/3306", WIDER])
    )

    def opened() -> World:
        world = start()
        for group, key, peer in ((APP, "link-egress", "sg-db"), (HOME_DB, "link-accept", "sg-app")):
            world.set_tag(group, key, f"{peer}:{WIDER}")
        deliver(world, first, BY_ADDRESS)
        world.full.add(full)
        return world

    standing = oracle.owned(opened(), BY_ADDRESS)

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (again,), BY_ADDRESS)
        later = half_an_hour_later(world, BY_ADDRESS)
        if not had_fault(facts, "stale"):  # what a stale read does not show is written again, and taken back
            hold_rules("I16", later, standing, "the rules that stood should stand, but there are", BY_ADDRESS)

    return Scenario(f"full for more, {name}", opened, BY_ADDRESS, ((again, again), (sweep_message(),)), end)


KEPT = [
    port_more("basic groups", basic),
    port_more("advanced groups", groups),
    port_more("instances", instances),
    kept_and_closed("consent ends", basic, HOME_DB, "link-accept", "sg-app:tcp/3307"),
    kept_and_closed("locked", basic, HOME_DB, "link-lock", ""),
    kept_and_closed("egress consent ends", groups, APP, "link-egress", None),
    kept_and_closed("refused", instances, APP, "link-refuse", "sg-db"),
    lower_limit(),
    request_for_more("basic groups", lambda: _basic(advanced()), (APP, HOME_DB)),
    request_for_more("advanced groups", advanced, (APP, HOME_DB)),
    request_for_more("instances", advanced, (ONE, STORE)),
    full_for_more("basic groups", lambda: _basic(advanced()), (APP, HOME_DB), HOME_DB),
    full_for_more("advanced groups", advanced, (APP, HOME_DB), APP),
    full_for_more("instances", advanced, (ONE, STORE), APP),
]
