"""A random run of a small world: people, events, requests and sweeps, with faults, and deliveries inside deliveries.

Every step is checked against the invariants. At any time, a copy of the world in which the faults stop must come to
rest after redelivery and one sweep.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator
from typing import Any

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test
from link_peer.domain.model import Party
from link_peer.domain.policy import Pause
from link_peer.domain.tags import iso

from tests.simulation import invariants, oracle
from tests.simulation.driver import deliver, deliver_queue, deliver_without_faults, each_once
from tests.simulation.invariants import Broken, hold
from tests.simulation.messages import Message, from_queue, requests_in, stream, sweep_message
from tests.simulation.random_inputs import (
    ADVANCED,
    advanced_groups,
    faults,
    groups,
    instances,
    peer_tag,
    ports,
    random_world,
)
from tests.simulation.random_people import People, steps
from tests.simulation.run import AT_ONCE, CHANGES, SLOW, Run
from tests.simulation.scenarios.common import (
    ROTATIONS,
    SWEEP_SECONDS,
    half_an_hour_later,
    request,
    sweep_all,
    sweep_to_rest,
)
from tests.simulation.scenarios.instances import event
from tests.simulation.scenarios.sweeps import swept
from tests.simulation.world import World


@contextlib.contextmanager
def _as_assertion() -> Iterator[None]:
    """Turns Broken into an Exception: hypothesis shrinks nothing else."""
    try:
        yield
    except Broken as broken:
        raise AssertionError(str(broken)) from broken


COSTLY = {"stale", *SLOW, *AT_ONCE}
"""Faults after which what was applied need not stand."""


class RandomRun(People):
    """One random run."""

    @initialize(tags=st.lists(st.tuples(instances, groups, ports), min_size=1, max_size=3), advanced=advanced_groups)
    def begin(self, tags: list[tuple[Party, Party, list[str]]], advanced: Collection[Party] = (ADVANCED,)) -> None:
        """Starts from a world with up to three tags, and some advanced groups, after a sweep."""
        self.world = random_world(advanced)
        for party, group, wanted_ports in tags:
            self.world.set_tag(party, "link-peer", peer_tag(party, group, wanted_ports))
        with _as_assertion():
            deliver(self.world, sweep_message(), self.policy)

    # deliveries

    def _deliver(self, message: Message, plan: dict[int, str], inside: Message | None, at: int) -> Run:
        """Delivers a message with the faults of `plan`, and the message `inside` before its call number `at`."""
        steps[message.function] += 1
        self.world.records.clear()
        inner: list[Run] = []

        def before_call(number: int) -> None:
            if number == at and inside is not None and not inner:
                inner.append(deliver(self.world, inside, self.policy))
                steps["inside"] += 1

        with _as_assertion():
            run = deliver(self.world, message, self.policy, plan, before_call if inside is not None else None)
        if run.end != "acked":
            self.pending.append(message)
        if inner and inner[0].end != "acked" and inside is not None:
            self.pending.append(inside)
        if inside is not None or COSTLY & set(plan.values()):
            self.applied.clear()  # a claim may be lost (docs/guarantees.md, limits), or be withdrawn
        return run

    def _old_message(self, is_resent: bool) -> Message | None:
        return self.sent[self.number * 7 % len(self.sent)] if is_resent and self.sent else None

    @rule(
        party=st.one_of(instances, groups),
        state=st.sampled_from(["Created", "Running", "Deleted", "tags"]),
        plan=faults,
        inside=st.booleans(),
        at=st.integers(0, 10),
    )
    def event(self, party: Party, state: str, plan: dict[int, str], inside: bool, at: int) -> None:
        """An event, which may be false."""
        self.number += 1
        state = "tags" if party.is_group else state
        message = event(f"e-{self.number}", state, party, self.world.now)
        self.sent.append(message)
        self._deliver(message, plan, self._old_message(inside), at)

    @rule(
        ends=st.one_of(st.tuples(groups, groups), st.tuples(instances, instances)),
        name=st.sampled_from(["r-1", "r-2", "r-3"]),
        action=st.sampled_from(["link", "link", "link", "unlink", "sync"]),
        wanted_ports=ports,
        until=st.sampled_from([0, 0, 600]),
        plan=faults,
        inside=st.booleans(),
        at=st.integers(0, 14),
    )
    def request(
        self,
        ends: tuple[Party, Party],
        name: str,
        action: str,
        wanted_ports: list[str],
        until: int,
        plan: dict[int, str],
        inside: bool,
        at: int,
    ) -> None:
        """A request; `name` is its request_id if it is a link, so that ids are used again."""
        source, target = ends
        if source == target:
            return
        self.number += 1
        request_id = name if action == "link" else f"{action}-{self.number}"
        ends_at = {"until": iso(self.world.now + until)} if until and action == "link" else {}
        message = request(
            f"m-{self.number}",
            request_id,
            *(wanted_ports if action != "sync" else ()),
            action=action,
            between=ends,
            expires_at=iso(self.world.now + 3600),
            **ends_at,
        )
        self.sent.append(message)
        if action == "unlink" or ends_at:
            self.applied.clear()
        run = self._deliver(message, plan, self._old_message(inside), at)
        applied = any(r["outcome"] == "applied" and r.get("request_id") == name for r in run.watch.outcomes)
        # deliveries inside others, stale reads and `until` may cost a claim: docs/guarantees.md, limits
        exact = not inside and not until and not COSTLY & set(plan.values())
        if applied and run.end == "acked" and source.is_group and exact:
            keys = invariants.group_rules(source, target, "+".join(wanted_ports) or "mutual")
            ours = oracle.owned(self.world, self.policy)
            self.applied.setdefault(name, {}).update({key: f"req:{name}" for key in keys if key in ours})

    @rule(number=st.integers(0, 30), plan=faults)
    def redeliver(self, number: int, plan: dict[int, str]) -> None:
        """Redelivers an old message, however late."""
        if self.sent:
            self.applied.clear()  # it may be an unlink, or a link with `until`
            self._deliver(self.sent[number % len(self.sent)], plan, None, 0)

    @rule(numbers=st.tuples(st.integers(0, 30), st.integers(0, 30)), plan=faults)
    def batch(self, numbers: tuple[int, int], plan: dict[int, str]) -> None:
        """Delivers two old requests again, as one batch."""
        sent = [message for message in self.sent if message.function == "cross_account"]
        if sent:
            self.applied.clear()
            self.number += 1
            bodies = [json.dumps(r).encode() for n in numbers for r in requests_in(sent[n % len(sent)])]
            self._deliver(Message(f"b-{self.number}", "cross_account", stream(*bodies)), plan, None, 0)

    @rule(number=st.integers(0, 5), plan=faults)
    def deliver_queued(self, number: int, plan: dict[int, str]) -> None:
        """Delivers a message that link-peer itself has put on a queue, when it is due."""
        if self.world.queue:
            self.applied.clear()  # it may be an unlink, or a link with `until`
            self.number += 1
            queued = self.world.queue.pop(number % len(self.world.queue))
            self.world.now = max(self.world.now, queued.due)
            self._deliver(from_queue(queued), plan, None, 0)

    @rule(plan=faults, inside=st.booleans(), at=st.integers(0, 20))
    def sweep(self, plan: dict[int, str], inside: bool, at: int) -> None:
        """A sweep."""
        self._deliver(sweep_message(), plan, self._old_message(inside), at)

    # at rest

    @rule()
    def come_to_rest(self) -> None:
        """In a copy of the world, faults stop, messages are redelivered and one sweep runs: the rules are as they
        should be, the same as after a delivery of each account, and a second sweep changes nothing."""
        steps["rest"] += 1
        with _as_assertion():
            self._check_at_rest()

    def _check_at_rest(self) -> None:
        world = self.world.copy()
        world.now += 400
        if self.policy.paused is Pause.ALL:
            return
        for message in dict.fromkeys(self.pending):
            if message.function != "sweep":
                deliver_without_faults(world, message, self.policy)
        deliver_queue(world, self.policy)
        deployed, keys_before = world.copy(), oracle.wanted_by_tags(world, self.policy)
        sweep_to_rest(world, self.policy)
        deployed.now = world.now  # a group that lost its managed tag has had its turn by then
        for number in range(2 * ROTATIONS):
            for account in self.policy.accounts:
                deliver_without_faults(deployed, swept(f"swept {number}", account=account), self.policy)
            if number and not invariants.stripped(deployed, self.policy):
                break
            deployed.now += SWEEP_SECONDS
        later = world.copy()
        later.now = deployed.now
        sweep_all(later, self.policy)
        # half of a request's link may go at once with the other, or half an hour later
        halves = {half.key for half in invariants.half_open(later, self.policy) if "tag" not in half.claims}
        ours = [
            {key: claims for key, claims in oracle.owned(each, self.policy).items() if key not in halves}
            for each in (later, deployed)
        ]
        keys_asked_for = oracle.wanted_by_tags(later, self.policy)
        if keys_before != keys_asked_for:
            # something ended between the deliveries: what stands for a wish that is denied since depends on what was
            # open before
            standing_keys = (
                oracle.kept_by_tags(later, self.policy).keys() | oracle.kept_by_tags(deployed, self.policy).keys()
            )
            ours = [
                {key: claims for key, claims in each.items() if key in keys_asked_for or key not in standing_keys}
                for each in ours
            ]
        hold("I9", ours[0] == ours[1], f"one run over all accounts ends in {ours[0]}, a delivery for each in {ours[1]}")
        invariants.at_rest(world, self.policy)
        if not self.pending and not self.world.queue:
            self._check_applied(world)
        if invariants.half_open(world, self.policy):
            invariants.at_rest(half_an_hour_later(world, self.policy), self.policy)
        world.records.clear()
        second = deliver(world, sweep_message(), self.policy)
        hold("I11", not set(second.calls) & CHANGES, f"a second sweep makes changes: {second.calls} {world.records}")

    def _check_applied(self, world: World) -> None:
        ours = oracle.owned(world, self.policy)
        for name, keys in self.applied.items():
            for key, claim in keys.items():
                hold("I6", claim in ours.get(key, ()), f"{name} was applied, but {key} has claims {ours.get(key)}")

    def teardown(self) -> None:
        """Checks the world at rest at the end of every run."""
        self.come_to_rest()


def try_runs(count: int, most_steps: int, first_seed: int | None = None, **options: Any) -> None:
    """Tries so many random runs, with more options of hypothesis; without a seed the same ones every time."""
    usual = settings(
        max_examples=count,
        stateful_step_count=most_steps,
        derandomize=first_seed is None,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        **options,
    )
    machine = RandomRun if first_seed is None else seed(first_seed)(RandomRun)
    with each_once():  # most worlds come to rest as another did
        run_state_machine_as_test(machine, settings=usual)  # type: ignore[no-untyped-call]
