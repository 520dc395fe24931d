"""Deliver a message to production code on a World."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from link_peer.app import dispatch, sweeps
from link_peer.domain.errors import Transient
from link_peer.domain.policy import Policy
from link_peer.runtime.delivery import Connections, Delivery, Throughput, within

from tests.simulation import invariants
from tests.simulation.fingerprint import fingerprint, moment
from tests.simulation.invariants import Broken, hold
from tests.simulation.messages import Message, from_queue, messages_in, released_in
from tests.simulation.run import AT_ONCE, TIMEOUT, Killed, Run
from tests.simulation.sim_cloud import SimClock, SimCloud
from tests.simulation.world import REGION, START, World

ENOUGH = 200
"""Deliveries after which a queue that has no faults must be empty."""

HANDLERS: dict[str, Callable[[bytes, Delivery], Mapping[str, int]]] = {
    "auto_link": dispatch.handle_events,
    "cross_account": dispatch.handle_messages,
    "sweep": sweeps.handle_sweep,
}


_each_once: dict[object, tuple[World, Run, Counter[str], Policy]] | None = None


@contextlib.contextmanager
def each_once() -> Iterator[None]:
    """While it lasts, a delivery without faults to an equal world, at the same time, is run once: afterwards the world
    becomes what that one made of it, and the checks made in it count again."""
    global _each_once
    _each_once = {}
    try:
        yield
    finally:
        _each_once = None


def deliver(
    world: World,
    message: Message,
    policy: Policy,
    faults: Mapping[int, str] | None = None,
    before_call: Callable[[int], None] | None = None,
) -> Run:
    """Runs the function once for a message. Raises Broken if an invariant breaks, or on an unexpected exception."""
    if _each_once is None or faults or before_call:
        return _run(world, message, policy, faults, before_call)
    key = (fingerprint(world), *moment(world), message, id(policy))
    records, world.records = world.records, []
    if key not in _each_once:
        before = Counter(invariants.checked)
        run = _run(world, message, policy, faults, before_call)
        _each_once[key] = (
            world.copy(),
            run,
            invariants.checked - before,
            policy,
        )  # which is kept, so that its id stays its own
    else:
        after, run, checks, _ = _each_once[key]
        vars(world).update(vars(after.copy()))
        invariants.checked.update(checks)
    world.records = records + world.records
    return run


def _run(
    world: World,
    message: Message,
    policy: Policy,
    faults: Mapping[int, str] | None,
    before_call: Callable[[int], None] | None,
) -> Run:
    run = Run(message.function, world, policy, faults, before_call)
    run.watch.messages, run.watch.queue = messages_in(message), message.queue
    run.watch.released = released_in(message)
    connections = Connections(
        lambda _name, retry: SimCloud(run, retry),
        log=run,
        queue=run,
        policy_now=lambda: run.policy,
        sweep_queue=world.sweep_queue,
    )
    throughput = Throughput(readers=1)  # no parallel reads, so that the order of calls is always the same
    retry = within(SimClock(world), TIMEOUT)
    delivery = Delivery(message.function, REGION, policy, retry, connections, throughput)
    try:
        HANDLERS[message.function](message.body, delivery)
        run.end = "acked"
    except Transient:
        run.end = "raised"
    except Killed:
        run.end = "killed"
    except Exception as error:
        raise Broken("errors", f"{message.function} raised {type(error).__name__}: {error}") from error
    disturbed = bool(faults) or before_call is not None
    run.watch.ended(run.end, disturbed=disturbed, log_failed=run.log_failed)
    if before_call is None and AT_ONCE.issuperset((faults or {}).values()):
        run.watch.looked(run.end)
    return run


def deliver_without_faults(world: World, message: Message, policy: Policy) -> Run:
    """Delivers until the message is acknowledged: at the first attempt, or a minute later if an API is still
    throttled."""
    for _ in range(2):
        run = deliver(world, message, policy)
        if run.end == "acked":
            return run
        world.now += 60
    raise Broken("I10", f"{message.name} was not acknowledged, without any fault: {world.records[-1]}")


def deliver_queue(world: World, policy: Policy) -> list[Run]:
    """Delivers the messages of the queues when they are due, without faults, until none is left."""
    runs = []
    while world.queue:
        hold("I13", len(runs) < ENOUGH, f"the queue never becomes empty: {world.queue}")
        first = min(world.queue, key=lambda queued: queued.due)
        world.queue.remove(first)
        world.now = max(world.now, first.due)
        runs.append(deliver_without_faults(world, from_queue(first), policy))
    return runs


def reset(world: World, after: float = 0.0) -> None:
    """Sets the time to `after` seconds from the start, and clears throttling and records.

    Exhaustive exploration does this before each delivery, so that worlds do not differ by the time that passed.
    """
    world.now = START + after
    world.throttled = {}
    world.records = []
