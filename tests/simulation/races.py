"""Which deliveries run concurrently, and what must hold afterwards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from link_peer.domain.model import Party, RuleKey
from link_peer.domain.policy import Policy

from tests.simulation import oracle
from tests.simulation.driver import deliver
from tests.simulation.interleave import Race
from tests.simulation.invariants import hold
from tests.simulation.messages import Message, sweep_message
from tests.simulation.run import Run
from tests.simulation.scenarios import addresses, sweeps
from tests.simulation.scenarios.common import (
    APP,
    DB,
    POLICY,
    SYNC,
    TCP,
    TCP_RULE,
    UDP,
    UNLINK,
    half_an_hour_later,
    hold_rules,
    hold_wanted,
    mutual_rules,
    redeliver_and_check,
    request,
    sweep_and_check,
    two_accounts,
    two_accounts_and_a_tag,
)
from tests.simulation.scenarios.instances import OTHER, event, home_world
from tests.simulation.world import HOME, World

R1, R2, R3 = request("r-1", "r-1"), request("r-2", "r-2"), request("r-3", "r-3")
TURNED = request("r-2", "r-2", between=(DB, APP))
ONE_PORT = request("r-1", "r-1", "tcp/3306")
P1, P2, P3 = (request(f"r-{n}", f"r-{n}", "tcp/3306", "udp/53") for n in (1, 2, 3))

SWEPT, SWEPT_TOO = sweeps.swept("one"), sweeps.swept("two")

End = Callable[[World, Sequence[Run]], bool]


def both_swept(world: World, _runs: Sequence[Run]) -> bool:
    """What is left to list is, and the world is at rest after a sweep of both accounts."""
    sweep_and_check(world)
    return False


def redeliver(world: World, runs: Sequence[Run], *messages: Message, policy: Policy = POLICY) -> None:
    """Redelivers what raised, then sweeps and checks the world at rest."""
    facts = frozenset(("acked", m.name) for m, run in zip(messages, runs, strict=True) if run.end == "acked")
    redeliver_and_check(world, facts, messages, policy)


def linked() -> World:
    """r-1 has made a mutual link."""
    world = two_accounts()
    deliver(world, R1, POLICY)
    return world


def ports_linked() -> World:
    """r-1 has made a link of two ports."""
    world = two_accounts()
    deliver(world, P1, POLICY)
    return world


def half_open() -> World:
    """r-1 has made a mutual link; then a person deleted the rule on sg-db."""
    world = linked()
    for rule_id in list(world.rules[DB]):
        world.delete_manually(DB, rule_id)
    return world


def tag_removed() -> World:
    """sg-db admits sg-app on a port because of a tag that has just been removed."""
    world = two_accounts_and_a_tag()
    deliver(world, SYNC, POLICY)
    world.set_tag(Party(HOME, "i-app"), "link-peer", None)
    return world


def two_tagged_instances() -> World:
    """Two instances of sg-web with the same tag."""
    world = home_world("*", "*", "sg-db:tcp/3306+udp/53")
    world.set_tag(OTHER, "link-peer", "sg-db:tcp/3306+udp/53")
    return world


def all_applied(messages: tuple[Message, Message], rules: Collection[RuleKey], *claims: str) -> End:
    """A check that exactly these rules exist; returns whether one of them lacks a claim."""

    def end(world: World, runs: Sequence[Run]) -> bool:
        redeliver(world, runs, *messages)
        owned_claims = oracle.owned(world, POLICY)
        hold("I3", set(owned_claims) == set(rules), f"all requests were applied, but the rules are {owned_claims}")
        return any(found_claims != frozenset(claims) for found_claims in owned_claims.values())

    return end


def exactly(messages: tuple[Message, Message], rules: Collection[RuleKey], *claims: str) -> End:
    """A check that exactly these rules exist, with these claims."""

    def end(world: World, runs: Sequence[Run]) -> bool:
        redeliver(world, runs, *messages)
        hold_rules("I6", world, dict.fromkeys(rules, frozenset(claims)), "after both, the rules are")
        return False

    return end


def link_and_unlink(world: World, runs: Sequence[Run]) -> bool:
    """Either order is correct: both sides or neither. What the second request writes while the unlink removes the other
    side is half open, and removed later."""
    redeliver(world, runs, R2, UNLINK)
    owned_claims = oracle.owned(half_an_hour_later(world), POLICY)
    hold("I3", set(owned_claims) in (set(), set(mutual_rules())), f"only one side exists: {owned_claims}")
    hold(
        "I9",
        set(owned_claims.values()) <= {frozenset({"req:r-2"})},
        f"r-1 was unlinked, but the rules are {owned_claims}",
    )
    return False


def request_and_tag_removal(removal: Message, max_lost: int) -> Race:
    """A request adds its claim while `removal` removes the claim of a tag: the rule may be lost."""

    def end(world: World, runs: Sequence[Run]) -> bool:
        redeliver(world, runs, ONE_PORT, removal)
        owned_claims = oracle.owned(world, POLICY)
        expected = {TCP_RULE: frozenset({"req:r-1"})}
        hold("I9", owned_claims in ({}, expected), f"only r-1's claim may exist, but the rules are {owned_claims}")
        return owned_claims == {}

    name = f"a request, and {removal.name} removes a tag's claim"
    return Race(name, tag_removed, POLICY, (ONE_PORT, removal), end, max_lost)


def joined_and_unlinked(how: str, start: Callable[[], World], joins: Message, unlink: Message) -> Race:
    """An instance joins a request's link by address while an unlink ends it: nothing stands."""

    def world() -> World:
        linked = start()
        addresses.JOIN(linked)
        return linked

    def end(world: World, runs: Sequence[Run]) -> bool:
        redeliver(world, runs, joins, unlink, policy=addresses.BY_ADDRESS)
        addresses.admits(world, target=addresses.HOME_DB)
        return False

    return Race(f"an instance joins {how}, and an unlink", world, addresses.BY_ADDRESS, (joins, unlink), end)


def instance_events(first: Message, second: Message) -> Race:
    """Two deliveries for instances with the same tag."""

    def end(world: World, runs: Sequence[Run]) -> bool:
        redeliver(world, runs, first, second)
        hold_wanted("I9", world, needs_rules=True)
        return False

    name = f"instances: {first.name} and {second.name}"
    return Race(name, two_tagged_instances, POLICY, (first, second), end)


PORT_RULES = [RuleKey(DB, str(APP), "", port) for port in (TCP, UDP)]
TWO, THREE = ("req:r-1", "req:r-2"), ("req:r-1", "req:r-2", "req:r-3")
CLOSING, SECOND = (UNLINK, sweep_message()), (R2, sweep_message())

_ALL = [
    Race(
        "two requests for one new link",
        two_accounts,
        POLICY,
        (R1, R2),
        all_applied((R1, R2), mutual_rules(), *TWO),
    ),
    Race(
        "two requests for one new link, from both ends",
        two_accounts,
        POLICY,
        (R1, TURNED),
        all_applied((R1, TURNED), mutual_rules(), *TWO),
    ),
    Race(
        "two requests for an existing link",
        linked,
        POLICY,
        (R2, R3),
        all_applied((R2, R3), mutual_rules(), *THREE),
        max_lost=632,
    ),
    Race(
        "two requests for an existing link of two ports",
        ports_linked,
        POLICY,
        (P2, P3),
        all_applied((P2, P3), PORT_RULES, *THREE),
        max_lost=1162,
    ),
    Race("one request twice", two_accounts, POLICY, (R1, R1), exactly((R1, R1), mutual_rules(), "req:r-1")),
    Race("a request and an unlink", two_accounts, POLICY, (R2, UNLINK), link_and_unlink),
    Race("a second request and an unlink", linked, POLICY, (R2, UNLINK), link_and_unlink),
    Race("a link, an unlink and a sweep", linked, POLICY, CLOSING, exactly(CLOSING, ())),
    Race("a half-open link, an unlink and a sweep", half_open, POLICY, CLOSING, exactly(CLOSING, ())),
    Race("a request and a sweep", linked, POLICY, SECOND, exactly(SECOND, mutual_rules(), *TWO)),
    request_and_tag_removal(SYNC, 95),
    request_and_tag_removal(sweep_message(), 131),
    instance_events(event("one", "Running"), event("other", "tags", OTHER)),
    instance_events(event("one", "Running"), sweep_message()),
    instance_events(event("one", "Running"), event("one", "Running")),
    Race("two workers on one account", lambda: sweeps.paged(0), POLICY, (SWEPT, SWEPT_TOO), both_swept),
    Race(
        "a worker and an event",
        lambda: sweeps.paged(0),
        POLICY,
        (SWEPT, event("a", "Running", sweeps.FIRST)),
        both_swept,
    ),
    joined_and_unlinked(
        "by a sweep", lambda: addresses.linked(addresses.two_vpcs(joined=False)), sweep_message(), addresses.UNLINK
    ),
    joined_and_unlinked(
        "at its event",
        lambda: addresses.linked(addresses.advanced(), addresses.HOME_LINK),
        event("two", "Running", addresses.TWO),
        addresses.HOME_UNLINK,
    ),
]
RACES = {race.name: race for race in _ALL}
"""Each race by its name."""
