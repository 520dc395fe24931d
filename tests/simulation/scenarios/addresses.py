"""Links that are written by address: instances that join and leave, their addresses, consent, and several claims on one
rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from link_peer.domain.model import Party, RuleKey
from link_peer.domain.policy import AccountPolicy, Limits

from tests.simulation.driver import deliver, deliver_queue, deliver_without_faults
from tests.simulation.explore import Act, Facts, Scenario
from tests.simulation.messages import Message, sweep_message
from tests.simulation.scenarios.common import (
    APP,
    DB,
    POLICY,
    R1,
    SYNC,
    TCP,
    UNLINK,
    had_fault,
    hold_rules,
    outcomes_of,
    redeliver_and_check,
    request,
    sweep_and_check,
)
from tests.simulation.scenarios.instances import event
from tests.simulation.world import HOME, PEER, World

BY_ADDRESS = msgspec.structs.replace(
    POLICY,
    accounts={
        HOME: AccountPolicy("a", ranges=("10.0.0.0/16",)),
        PEER: msgspec.structs.replace(POLICY.accounts[PEER], ranges=("10.1.0.0/16",)),
    },
)
ONE, TWO, THREE = Party(HOME, "i-one"), Party(HOME, "i-two"), Party(HOME, "i-three")
OTHER = Party(HOME, "sg-other")
HOME_DB = Party(HOME, "sg-db")
TAG = f"sg-db@{PEER}:tcp/3306"
LINK = request("r-1", "r-1", "tcp/3306")
HOME_LINK = request("r-1", "r-1", "tcp/3306", between=(APP, HOME_DB))
HOME_UNLINK = request("u-1", "u-1", action="unlink", between=(APP, HOME_DB))


def two_vpcs(*, joined: bool = True, **tags: str) -> World:
    """sg-app with i-one and, if it has `joined`, i-two, and sg-db in another account and VPC, which accepts it. i-one
    has `tags`."""
    world = World()
    world.add_group(HOME, "app")
    world.add_group(HOME, "other")
    world.add_group(PEER, "db", f"sg-app@{HOME}:tcp/3306", vpc="vpc-2")
    world.add_instance(HOME, "one", APP, tags=tags)
    world.add_instance(HOME, "two", *((APP, OTHER) if joined else (OTHER,)))
    world.add_instance(PEER, "db", DB, vpc="vpc-2", ip="10.1.0.1")
    return world


def advanced() -> World:
    """Two advanced groups at home: sg-app with i-one, and sg-db, which consent to each other. i-two is in neither."""
    world = World()
    world.add_group(HOME, "app", egress="sg-db:tcp/3306", advanced=True)
    world.add_group(HOME, "other", advanced=True)
    world.add_group(HOME, "db", "sg-app:tcp/3306", advanced=True)
    world.add_instance(HOME, "one", APP)
    world.add_instance(HOME, "two", OTHER)
    world.add_instance(HOME, "store", HOME_DB)
    return world


def linked(world: World, message: Message = LINK) -> World:
    """The same once r-1 has made its link."""
    deliver(world, message, BY_ADDRESS)
    return world


def change(party: Party, **fields: Any) -> Callable[[World], None]:
    """Changes an instance."""

    def do(world: World) -> None:
        world.instances[party] = msgspec.structs.replace(world.instances[party], **fields)

    return do


def accept(text: str) -> Act:
    """The owner of sg-db has it accept this."""
    return Act(f"accept {text}", lambda world: world.set_tag(DB, "link-accept", text))


JOIN = change(TWO, groups=("sg-app",))


def admits(world: World, *ips: str, claims: frozenset[str] = R1, target: Party = DB) -> None:
    """Holds if exactly these addresses are admitted, with these claims."""
    expected = {RuleKey(target, f"{ip}/32", "", TCP): claims for ip in ips}
    hold_rules("I6", world, expected, f"{ips} should be admitted, but the rules are", BY_ADDRESS)


def tags() -> Scenario:
    """Two instances get a tag across VPCs, and the first loses it."""
    lanes = (
        (
            Act("tag i-two", lambda world: world.set_tag(TWO, "link-peer", TAG)),
            Act("untag i-one", lambda world: world.set_tag(ONE, "link-peer", None)),
        ),
        (SYNC, SYNC),
        (sweep_message(),),
    )

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy(), BY_ADDRESS)
        redeliver_and_check(world, facts, (SYNC,), BY_ADDRESS)
        if not had_fault(facts, "forbidden"):
            admits(world, "10.0.0.2", claims=frozenset({"tag"}))

    return Scenario("tags by address", lambda: two_vpcs(**{"link-peer": TAG}), BY_ADDRESS, lanes, end)


def joining() -> Scenario:
    """An instance starts in the source of a request's link, beside an unlink: it joins the link, or nothing stands."""
    running = event("running", "Running", TWO)
    lanes = ((HOME_LINK,), (Act("i-two joins", JOIN), running, running), (HOME_UNLINK,))

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy(), BY_ADDRESS)
        redeliver_and_check(world, facts, (HOME_LINK, running), BY_ADDRESS)
        deliver_without_faults(world, HOME_UNLINK, BY_ADDRESS)
        deliver_without_faults(world, running, BY_ADDRESS)
        sweep_and_check(world, BY_ADDRESS)
        admits(world)

    return Scenario("joining by address", advanced, BY_ADDRESS, lanes, end)


def leaving() -> Scenario:
    """An instance changes its address, which another one gets that joins; then a third one leaves."""
    acts = (
        Act("i-two's address changes", change(TWO, ip="10.0.0.77")),
        Act("i-new gets its old one", lambda world: world.add_instance(HOME, "new", APP, ip="10.0.0.2") and None),
        Act("i-three leaves", change(THREE, groups=("sg-other",))),
    )
    lanes = (acts, (sweep_message(), sweep_message()), (LINK,))

    def three() -> World:
        world = two_vpcs()
        world.add_instance(HOME, "three", APP, ip="10.0.0.3")
        return linked(world)

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (LINK,), BY_ADDRESS)
        if not had_fault(facts, "forbidden"):
            admits(world, "10.0.0.1", "10.0.0.2", "10.0.0.77")

    return Scenario("leaving by address", three, BY_ADDRESS, lanes, end)


def consent() -> Scenario:
    """The owner of sg-db accepts one instance and another group, and then nothing any more."""
    lanes = ((accept(f"i-one@{HOME} sg-other@{HOME}"), accept("")), (LINK, LINK), (sweep_message(),))

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy(), BY_ADDRESS)
        redeliver_and_check(world, facts, (LINK,), BY_ADDRESS)
        admits(world)

    return Scenario("consent by address", two_vpcs, BY_ADDRESS, lanes, end)


def shared() -> Scenario:
    """A tag and a request want the rule of one address: each keeps it, whatever becomes of the other."""
    untag = Act("untag i-one", lambda world: world.set_tag(ONE, "link-peer", None))
    lanes = ((SYNC,), (LINK, UNLINK), (untag,))

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy(), BY_ADDRESS)
        redeliver_and_check(world, facts, (LINK,), BY_ADDRESS)
        deliver_without_faults(world, UNLINK, BY_ADDRESS)
        deliver_queue(world, BY_ADDRESS)
        sweep_and_check(world, BY_ADDRESS)
        admits(world)

    return Scenario("claims on one address", lambda: two_vpcs(**{"link-peer": TAG}), BY_ADDRESS, lanes, end)


def limited() -> Scenario:
    """A link may have one instance: who asks first has it, and stays."""
    policy = msgspec.structs.replace(BY_ADDRESS, limits=Limits(max_members=1))
    tag = Act("tag i-two", lambda world: world.set_tag(TWO, "link-peer", TAG))
    lanes = ((SYNC,), (LINK,), (tag,), (sweep_message(),))

    def end(world: World, facts: Facts) -> None:
        # a stale read does not show who stands: one more is admitted, and stays (docs/guarantees.md, limits)
        one_more = msgspec.structs.replace(policy, limits=Limits(max_members=2))
        redeliver_and_check(world, facts, (LINK,), one_more if had_fault(facts, "stale") else policy)

    return Scenario("a limit by address", lambda: two_vpcs(**{"link-peer": TAG}), policy, lanes, end)


def borrowed() -> Scenario:
    """The VPC of sg-db shows i-one's address, and i-two has one outside the ranges: neither is admitted any more."""
    acts = (
        Act("an interface has i-one's address", lambda world: world.interfaces.add((PEER, "vpc-2", "10.0.0.1"))),
        Act("i-two has an address of the peer's", change(TWO, ip="10.1.0.7")),
    )
    lanes = (acts, (LINK,), (sweep_message(),))

    def end(world: World, facts: Facts) -> None:
        redeliver_and_check(world, facts, (LINK,), BY_ADDRESS)
        admits(world)

    return Scenario("borrowed by address", two_vpcs, BY_ADDRESS, lanes, end)


def requests_move(name: str, messages: tuple[Message, Message], *keys: RuleKey) -> Scenario:
    """An instance of a link that two requests have opened gets another address, and one of them is delivered again:
    wherever a delivery dies, the claims of both are on the rules of the new address in the end."""
    r1_and_r2 = frozenset({"req:r-1", "req:r-2"})

    def start() -> World:
        world = advanced()
        for message in messages:
            deliver(world, message, BY_ADDRESS)
        return world

    def end(world: World, facts: Facts) -> None:
        sweep_and_check(world.copy(), BY_ADDRESS)
        facts_after = redeliver_and_check(world, facts, messages[:1], BY_ADDRESS)
        # where the new rule is denied, the old one is removed all the same (docs/guarantees.md, limits)
        is_denied = ("denied", "no-members") in outcomes_of(facts_after, messages[0].name)
        if not is_denied and not had_fault(facts, "forbidden", "stale"):
            hold_rules(
                "I16",
                world,
                dict.fromkeys(keys, r1_and_r2),
                "both requests should stand, but the rules are",
                BY_ADDRESS,
            )

    moving = (Act("i-one's address changes", change(ONE, ip="10.0.0.9")), event("changed", "Running", ONE))
    lanes = (moving, messages[:1], (sweep_message(),))
    return Scenario(f"requests move, {name}", start, BY_ADDRESS, lanes, end)


def _twice(source: Party, target: Party) -> tuple[Message, Message]:
    """Two requests for one link."""
    first, second = (request(name, name, "tcp/3306", between=(source, target)) for name in ("r-1", "r-2"))
    return first, second


ADDRESSES = [
    tags(),
    joining(),
    leaving(),
    consent(),
    shared(),
    limited(),
    borrowed(),
    requests_move(
        "instances",
        _twice(ONE, Party(HOME, "i-store")),
        RuleKey(HOME_DB, "10.0.0.9/32", "10.0.0.3/32", TCP),
        RuleKey(APP, "", "10.0.0.3/32", TCP),
    ),
    requests_move(
        "the only member",
        _twice(APP, HOME_DB),
        RuleKey(HOME_DB, "10.0.0.9/32", "", TCP),
        RuleKey(APP, "", "10.0.0.3/32", TCP),
    ),
]
