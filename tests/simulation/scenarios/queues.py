"""Transient errors: a message that met one is put on a queue again; request ids used twice; queues that prove who
asked."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from link_peer.domain.model import Party

from tests.simulation import oracle
from tests.simulation.driver import deliver_queue, deliver_without_faults, reset
from tests.simulation.explore import Act, Facts, NextQueued, Scenario
from tests.simulation.invariants import hold
from tests.simulation.messages import Message, requests_in, stream
from tests.simulation.scenarios.common import (
    APP,
    DB,
    POLICY,
    PORT_LINK,
    R1,
    TCP_RULE,
    had_fault,
    hold_rules,
    hold_wanted,
    mutual_rules,
    outcomes_of,
    redeliver_and_check,
    request,
    sweep_and_check,
    two_accounts,
)
from tests.simulation.scenarios.instances import OTHER, event, home_world, start_one
from tests.simulation.world import HOME, PEER, World

TROUBLE = ("throttle", "lost", "lost-after", "outage", "account-down", "log-down")


def put_back() -> Scenario:
    """A batch of two requests meets transient errors: each is applied, at once or from the queue, and holds up no
    other."""
    r1, r2 = request("r-1", "r-1"), request("r-2", "r-2", "tcp/3306")
    bodies = [json.dumps(body).encode() for message in (r1, r2) for body in requests_in(message)]
    batch_message = Message("both", "cross_account", stream(*bodies))

    def end(world: World, facts: Facts) -> None:
        all_facts = redeliver_and_check(world, facts, (batch_message,))
        if not had_fault(facts, "forbidden"):  # a request that finds no access is denied, and has to be posted again
            expected = {**dict.fromkeys(mutual_rules(), R1), TCP_RULE: frozenset({"req:r-2"})}
            hold_rules("I13", world, expected, f"both requests should be applied: {all_facts}")

    return Scenario(
        "put back", two_accounts, POLICY, ((batch_message,), (NextQueued(), NextQueued())), end, kinds=TROUBLE
    )


def trouble_during_events() -> Scenario:
    """Events of two instances meet a transient error, each once: what is put on the queue leads to the right rules,
    without a sweep."""
    running, tagged = event("running", "Running"), event("tagged", "tags", OTHER)

    def start() -> World:
        world = home_world("*", "*", "i-store")
        world.set_tag(OTHER, "link-peer", f"sg-db:tcp/3306 sg-far@{PEER}:tcp/3306")
        return world

    def end(world: World, facts: Facts) -> None:
        for message in (running, tagged):
            if ("acked", message.name) not in facts:
                reset(world)
                deliver_without_faults(world, message, POLICY)
        deliver_queue(world, POLICY)
        # a sync that finds no access, or no wishes, is acknowledged, and the sweep does its work
        if not had_fault(facts, "forbidden", "empty", "omit-one"):
            hold_wanted("I13", world)
        sweep_and_check(world)

    lanes = ((running,), (tagged,), (NextQueued(),))
    return Scenario("trouble during events", start, POLICY, lanes, end, kinds=TROUBLE)


def late_instance() -> Scenario:
    """An event arrives before the cloud shows the instance, which may be released before it is ever seen: it ends
    quietly, or linked, without a sweep."""
    created = event("created", "Created")

    def release(world: World) -> None:
        world.instances.pop(Party(HOME, "i-one"), None)

    lanes = (
        (created,),
        (Act("start", lambda world: start_one(world, "sg-db:tcp/3306")), Act("release", release)),
        (NextQueued(), NextQueued()),
    )

    def end(world: World, facts: Facts) -> None:
        deliver_queue(world, POLICY)
        sweep_and_check(world)

    return Scenario("a late instance", lambda: home_world("", "*"), POLICY, lanes, end)


def id_used_twice() -> Scenario:
    """A request id is used again for other ports, for the other direction and with an end: what it stands for stays as
    it was."""
    ports = request("other ports", "r-1", "udp/53")
    direction = request("other direction", "r-1", "tcp/3306", between=(DB, APP))
    ended = request("with an end", "r-1", "tcp/3306", until="2027-01-15T09:00:00Z")
    messages = (PORT_LINK, ports, direction, ended)

    def end(world: World, facts: Facts) -> None:
        all_facts = redeliver_and_check(world, facts, messages)
        for message in messages:
            outcomes = outcomes_of(all_facts, message.name)
            possible = {("applied", ""), ("denied", "id-in-use")}
            hold("I4", outcomes <= possible or had_fault(facts, "forbidden"), f"{message.name} came to {outcomes}")
        ours = oracle.owned(world, POLICY)
        if had_fault(facts, "stale"):  # a read that does not show the first rule: docs/guarantees.md, limits
            return
        hold("I6", len(ours) == 1, f"one request's id is on {len(ours)} rules: {ours}")
        hold("I6", len(ours[next(iter(ours))]) == 1, f"one request's id is there twice: {ours}")

    lanes = ((PORT_LINK, PORT_LINK), (ports,), (direction,), (ended,))
    return Scenario("a request id used twice", two_accounts, POLICY, lanes, end)


def bound_queue() -> Scenario:
    """Account b has a queue of its own: through the shared queue nobody links from b, and through b's queue only b
    does."""
    peer = msgspec.structs.replace(POLICY.accounts[PEER], queue="requests-b")
    policy = msgspec.structs.replace(POLICY, accounts={**POLICY.accounts, PEER: peer})
    turned = {"between": (DB, APP)}

    def through(name: str, queue: str, **fields: Any) -> Message:
        bodies = [json.dumps(body).encode() for body in requests_in(request(name, name, **fields))]
        return Message(name, "cross_account", stream(*bodies, queue=queue), queue=queue)

    good = (through("b-own", "requests-b", **turned), through("a-shared", "", action="unlink"))
    bad = (
        through("b-shared", "", **turned),
        through("a-through-b", "requests-b"),
        through("nobody", "other", **turned),
    )

    def end(world: World, facts: Facts) -> None:
        all_facts = redeliver_and_check(world, facts, (*good, *bad), policy)
        for message in bad:
            outcomes = outcomes_of(all_facts, message.name)
            hold("I1", outcomes == {("denied", "not-allowed")}, f"{message.name} came to {outcomes}")
        deliver_without_faults(world, good[0], policy)
        hold("I13", set(mutual_rules()) == oracle.owned(world, policy).keys(), "b's own request should be applied")

    lanes = ((good[0],), (bad[0], bad[1], bad[2]), (good[1],))
    return Scenario("a bound queue", two_accounts, policy, lanes, end)


QUEUES = [
    put_back(),
    trouble_during_events(),
    late_instance(),
    id_used_twice(),
    bound_queue(),
]
