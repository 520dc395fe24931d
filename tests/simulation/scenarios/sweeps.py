"""Sweeps by account: a listing in several deliveries, with a worker killed at any call, two on one account, equal and
forged messages, and what people close meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
from link_peer.domain.model import Party, RuleKey
from link_peer.domain.policy import AccountPolicy, Limits, Policy
from link_peer.domain.tags import iso
from link_peer.planning.rota import LOOK_SECONDS, RUN_SECONDS

from tests.simulation import oracle
from tests.simulation.driver import deliver, deliver_without_faults, reset
from tests.simulation.explore import Act, Facts, NextQueued, Scenario
from tests.simulation.invariants import hold
from tests.simulation.messages import Message, from_queue, stream, sweep_message
from tests.simulation.scenarios.common import POLICY, TCP, had_fault, sweep_and_check
from tests.simulation.scenarios.instances import event
from tests.simulation.scenarios.neighbours import removals_of_two_accounts
from tests.simulation.world import HOME, PEER, REGION, START, SWEEPS, World

SOURCE, TARGET, FIRST = Party(HOME, "sg-app"), Party(HOME, "sg-store"), Party(HOME, "i-a")
TURN = 560.0  # seconds after which a newer sweep of two accounts has not begun yet
STANDS = RuleKey(TARGET, str(SOURCE), "", TCP)


def swept(name: str, cursor: object = None, account: str = HOME) -> Message:
    """The message that has an account swept."""
    body = {
        "version": 1,
        "action": "sweep",
        "region": REGION,
        "account": account,
        "cursor": cursor,
        "posted_at": iso(START),
    }
    return Message(name, "sweep", stream(json.dumps(body).encode(), queue=SWEEPS), queue=SWEEPS)


def paged(seconds: int = 20) -> World:
    """Home has three instances, of which a delivery lists two: who asks for the rule that stands comes last, and what
    the first asks for was missed. The peer has one. A page takes some `seconds`."""
    world = World()
    world.sweep_queue, world.page, world.page_seconds = SWEEPS, 1, seconds
    world.add_group(HOME, "app", f"sg-store@{HOME}")
    world.add_group(HOME, "store", f"sg-app@{HOME}")
    world.add_group(PEER, "db", f"sg-app@{HOME}")
    world.add_instance(HOME, "a", SOURCE, peer="sg-store:udp/53")
    world.add_instance(HOME, "b", TARGET)
    world.add_instance(HOME, "c", SOURCE, peer=f"sg-store:tcp/3306 sg-db@{PEER}:tcp/3306")
    world.add_instance(PEER, "db", Party(PEER, "sg-db"))
    world.forge(STANDS, oracle.marker(STANDS, POLICY, "tag"))
    world.set_tag(TARGET, oracle.managed_tag(POLICY), "true")
    return world


def lock(world: World) -> None:
    world.set_tag(TARGET, "link-lock", "incident")


def withdraw(world: World) -> None:
    world.set_tag(TARGET, "link-accept", None)


def release(world: World) -> None:
    """The instance goes that asks for the rule which stands."""
    world.instances.pop(Party(HOME, "i-c"), None)


def _end(world: World, _facts: Facts) -> None:
    sweep_and_check(world)


def parts(name: str, do: Callable[[World], None]) -> Scenario:
    """A listing in two deliveries, and something that a person does before, between or after them."""
    lanes = ((swept("begin"), NextQueued("go on"), NextQueued("end")), (Act(name, do),))
    return Scenario(f"a listing, {name}", paged, POLICY, lanes, _end)


def looked(
    name: str, do: Callable[[World], None], world: Callable[[], World] = paged, rule: RuleKey = STANDS
) -> Scenario:
    """Between two sweeps, a look closes what a person closes, or a peer shows: the cursor hides nothing. A look that
    met a fault leaves it to the next one, which it has posted."""
    start, look, many = _swept_once(world())

    def end(world: World, facts: Facts) -> None:
        if rule in oracle.owned(world, POLICY) and facts == {("acked", "look")}:
            [queued] = world.queue
            world.queue.remove(queued)
            world.now = queued.due
            deliver_without_faults(world, from_queue(queued), many)
            hold("I9", rule not in oracle.owned(world, POLICY), f"two looks do not close {rule}")
        sweep_and_check(world)

    return Scenario(f"a look, {name}", start.copy, many, ((Act(name, do), look),), end)


def _swept_once(world: World, limits: Limits = POLICY.limits) -> tuple[World, Message, Policy]:
    """The world after one whole sweep of home, its next look, and the policy: home is one of so many accounts that not
    each run is its turn."""
    added_accounts = {
        str(10**17 + number): AccountPolicy("c", f"acs:ram::{10**17 + number}:role/x") for number in range(60)
    }
    many = msgspec.structs.replace(POLICY, accounts={**POLICY.accounts, **added_accounts}, limits=limits)
    message, delay = swept("begin"), 0.0
    while delay < LOOK_SECONDS:  # what goes on with the listing comes sooner
        deliver(world, message, many)
        queued = world.queue.pop()
        delay, world.now, message = queued.due - world.now, queued.due, from_queue(queued)
    return world, msgspec.structs.replace(message, name="look", after=TURN), many


# what a peer shows

SENDERS, SENDER, FURTHER = Party(PEER, "sg-db"), Party(PEER, "i-db"), Party(PEER, "i-further")
ALONE, STORE = Party(PEER, "i-alone"), Party(HOME, "i-store")
OF_SENDER, OF_FURTHER = (RuleKey(TARGET, f"10.0.0.{number}/32", "", TCP) for number in (1, 2))
OF_ALONE = RuleKey(TARGET, "10.0.0.3/32", "10.0.0.4/32", TCP)


def watched() -> World:
    """A group of home holds rules for two instances of a group of the peer, which a request asked for by address, and
    one for a link with another instance of the peer."""
    world = World()
    world.sweep_queue = SWEEPS
    world.add_group(HOME, "store", f"*@{PEER}", advanced=True)
    world.add_group(PEER, "db")
    world.add_group(PEER, "else")
    for number, (sender, key) in enumerate(((SENDER, OF_SENDER), (FURTHER, OF_FURTHER))):
        world.add_instance(PEER, sender.id[2:], SENDERS, ip=f"10.0.0.{number + 1}")
        world.forge(key, oracle.marker(key, POLICY, "req:r-1", (sender, SENDERS)))
    world.add_instance(PEER, "alone", Party(PEER, "sg-else"), ip="10.0.0.3", tags={"name": "x"})
    world.add_instance(HOME, "store", TARGET, ip="10.0.0.4", tags={"name": "x"})
    world.forge(OF_ALONE, oracle.marker(OF_ALONE, POLICY, "req:r-2", (ALONE, STORE)))
    for tag in (oracle.managed_tag(POLICY), oracle.instances_tag(POLICY)):
        world.set_tag(TARGET, tag, "true")
    return world


def refuse(world: World) -> None:
    world.set_tag(SENDERS, "link-refuse", f"*@{HOME}")


def take_address(world: World) -> None:
    """The sender is released, and a stranger gets its address."""
    if world.instances.pop(SENDER, None):
        world.add_instance(PEER, "stranger", Party(PEER, "sg-else"), ip="10.0.0.1")


def leave(world: World) -> None:
    world.instances[SENDER] = msgspec.structs.replace(world.instances[SENDER], groups=("sg-else",))


def left_out() -> Scenario:
    """A look reads the rules again, for another reason, and one of its reads leaves out a party that is there."""
    start, look, many = _swept_once(watched())

    def end(world: World, _facts: Facts) -> None:
        stand = {OF_SENDER, OF_FURTHER, OF_ALONE} <= oracle.owned(world, POLICY).keys()
        hold("I9", stand, "a rule was removed for a party that one read left out")
        sweep_and_check(world)

    retag = Act("retag", lambda world: world.set_tag(TARGET, "owner", "x"))
    return Scenario(
        "a look, left out", start.copy, many, ((retag, look),), end, kinds=("omit-one", "omit-group", "empty")
    )


def guarded() -> Scenario:
    """Two instances are released between looks that may remove one rule: it makes no difference before which look they
    are."""
    start, look, many = _swept_once(watched(), Limits(removals_per_run=1))

    def released(world: World) -> None:
        world.instances.pop(FURTHER, None)

    def end(world: World, facts: Facts) -> None:
        standing = {OF_SENDER, OF_FURTHER} & oracle.owned(world, POLICY).keys()
        is_refused = had_fault(facts, "forbidden")  # then consent for the group alone counts no more
        hold("I9", is_refused or bool(standing), "looks have removed more rules of what is not shown than one")
        sweep_and_check(world)

    second = NextQueued("second look")
    lanes = ((look, second), (Act("address", take_address),), (Act("release", released),))
    return Scenario("a look, too many", start.copy, many, lanes, end)


def turns() -> Scenario:
    """The timer has both accounts swept, while the first of two listings of one account is under way."""
    lanes = ((swept("begin"), NextQueued("1"), NextQueued("2")), (sweep_message(), NextQueued("3"), NextQueued("4")))
    return Scenario("a listing under way, and a turn", paged, POLICY, lanes, _end, calls=4)


def forged() -> Scenario:
    """Cursors that nobody's sweep has written: they grant nothing, and what they hide the next sweep finds."""
    now = int(START)
    cursor_fields = {"began": now, "token": None, "buckets": [[number, "0" * 12, 0] for number in range(256)]}
    cursors: list[object] = [
        "all read",
        {"began": now + 10**6, "token": None},
        {"began": now, "token": f"{PEER}/i-db"},
        {"began": now, "token": None, "suspects": ["sg-store", "sg-app", "sg-none"]},
        {**cursor_fields, "instances": 10**9},
    ]
    first, *later_cursors = (swept(f"forged {number}", cursor) for number, cursor in enumerate(cursors))
    lanes = ((first, *later_cursors), (NextQueued("1"), NextQueued("2")), (Act("withdraw", withdraw),))
    return Scenario("forged cursors", paged, POLICY, lanes, _end, calls=2)


def slow_listings() -> Scenario:
    """In each account a page of instances takes as long as a run has for all listings: of two runs, each account has
    one."""
    requested = {RuleKey(Party(a, "sg-to"), f"sg-from@{a}", "", TCP) for a in (HOME, PEER)}

    def start() -> World:
        world = World()
        world.page, world.page_seconds = 100, 42
        for account in (HOME, PEER):
            world.add_group(account, "from")
            world.add_group(account, "to", "sg-from")
            world.add_instance(account, "asks", Party(account, "sg-from"), peer="sg-to:tcp/3306")
        return world

    def end(world: World, _facts: Facts) -> None:
        for run in range(2):
            reset(world, run * RUN_SECONDS)
            deliver_without_faults(world, sweep_message(), POLICY)
        missing = requested - oracle.owned(world, POLICY).keys()
        hold("I9", not missing, f"{missing} are asked for, and no run had time for them")

    return Scenario("two slow listings", start, POLICY, (), end)


def large_group() -> Scenario:
    """The first of 101 instances of a group asks no more. The last one does."""
    first = Party(HOME, "i-000")

    def start() -> World:
        world = World()
        world.add_group(HOME, "app")
        world.add_group(HOME, "store", "sg-app")
        for number in range(101):
            world.add_instance(HOME, f"{number:03}", SOURCE, peer="sg-store:tcp/3306" if number in (0, 100) else "")
        world.forge(STANDS, oracle.marker(STANDS, POLICY, "tag"))
        world.set_tag(TARGET, oracle.managed_tag(POLICY), "true")
        world.set_tag(first, "link-peer", None)
        return world

    return Scenario("a large group", start, POLICY, ((event("untagged", "tags", first),),), _end, calls=0)


SWEPT = [
    looked("lock", lock),
    looked("withdraw", withdraw),
    looked("refuse", refuse, watched, OF_SENDER),
    looked("address", take_address, watched, OF_SENDER),
    looked("leave", leave, watched, OF_SENDER),
    left_out(),
    guarded(),
    parts("lock", lock),
    parts("withdraw", withdraw),
    parts("release", release),
    turns(),
    forged(),
    slow_listings(),
    large_group(),
    removals_of_two_accounts(by_account=True),
]
