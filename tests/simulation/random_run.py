"""A random run of a small world: people, events, requests and sweeps, with faults, and deliveries inside deliveries.

Every step is checked against the invariants. At any time, a copy of the world in which the faults stop must come to rest
after redelivery and one sweep.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from link_peer.domain.model import ALL, Party, Port, RuleKey
from link_peer.domain.tags import iso, parse_port

from tests.simulation import invariants, oracle
from tests.simulation.driver import deliver, deliver_queue, deliver_without_faults
from tests.simulation.invariants import Broken, hold
from tests.simulation.messages import Message, requests_in, stream, sweep_message
from tests.simulation.random_inputs import (
    EDITS,
    POLICIES,
    PORTS,
    UNTILS,
    event_message,
    faults,
    groups,
    instances,
    peer_tag,
    ports,
    random_world,
    request_message,
)
from tests.simulation.run import CHANGES, Run
from tests.simulation.scenarios.common import POLICY
from tests.simulation.world import HOME, PEER, World

steps: Counter[str] = Counter()
"""How many steps of each kind were taken in this process."""


@contextlib.contextmanager
def _as_assertion() -> Iterator[None]:
    """Turns Broken into an Exception: hypothesis shrinks nothing else."""
    try:
        yield
    except Broken as broken:
        raise AssertionError(str(broken)) from broken


class RandomRun(RuleBasedStateMachine):
    """One random run."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.policy = POLICY
        self.sent: list[Message] = []
        self.pending: list[Message] = []  # not acknowledged yet
        self.applied: dict[str, dict[RuleKey, str]] = {}  # by request id: rules that must have its claim
        self.number = 0

    @initialize(tags=st.lists(st.tuples(instances, groups, ports), min_size=1, max_size=3))
    def begin(self, tags: list[tuple[Party, Party, list[str]]]) -> None:
        """Starts from a world with up to three tags, after a sweep."""
        self.world = random_world()
        for party, group, wanted_ports in tags:
            self.world.set_tag(party, "link-peer", peer_tag(party, group, wanted_ports))
        with _as_assertion():
            deliver(self.world, sweep_message(), self.policy)

    def _changed(self, kind: str) -> None:
        """Notes a change after which applied rules may rightly be gone."""
        steps[kind] += 1
        self.applied.clear()

    # what people do: one rule per kind of change, so that deliveries are about as frequent

    @rule(
        party=instances,
        peer=st.one_of(groups, instances),
        wanted_ports=ports,
        key=st.sampled_from(["link-peer", "link-peer.2"]),
    )
    def tag(self, party: Party, peer: Party, wanted_ports: list[str], key: str) -> None:
        """Tags an instance."""
        if party in self.world.instances and (peer.is_group or peer.account == party.account):
            steps["tag"] += 1
            self.world.set_tag(party, key, peer_tag(party, peer, wanted_ports))

    @rule(
        party=instances, key=st.sampled_from(["link-peer", "link-peer.2", "link-until"]), text=st.sampled_from(UNTILS)
    )
    def untag(self, party: Party, key: str, text: str) -> None:
        """Removes a tag, or sets link-until."""
        if party in self.world.instances:
            steps["untag"] += 1
            value = iso(self.world.now + int(text)) if text[1:].isdigit() else text
            self.world.set_tag(party, key, value if key == "link-until" and value else None)

    @rule(
        group=groups, who=st.one_of(groups, instances), limits=ports, kind=st.sampled_from(["*", "*", "who", "nobody"])
    )
    def set_consent(self, group: Party, who: Party, limits: list[str], kind: str) -> None:
        """Sets a group's consent: to everyone, to one party, or to nobody."""
        self._changed("consent")
        name = (
            f"*@{HOME} *@{PEER}"
            if kind == "*"
            else f"{who.id}@{who.account}" + (":" + "+".join(limits) if limits else "")
        )
        self.world.set_tag(group, "link-accept", None if kind == "nobody" else name)

    @rule(party=instances, group=groups, ip=st.sampled_from(["10.0.0.2", "10.0.0.3", "10.0.0.5", ""]))
    def change_instance(self, party: Party, group: Party, ip: str) -> None:
        """Starts an instance, perhaps with an address that was used before or none yet; or releases or moves it.

        One instance per account is never released: an account that shows none is not trusted.
        """
        used = {instance.ip for instance in self.world.instances.values()}
        if party not in self.world.instances:
            if group.account == party.account and (not ip or ip not in used):
                self._changed("start")
                self.world.add_instance(party.account, party.id[2:], group, ip=ip)
        elif ip and party.id not in ("i-1", "i-4"):
            self._changed("release")
            del self.world.instances[party]
        elif group.account == party.account:
            self._changed("move")
            instance = self.world.instances[party]
            self.world.instances[party] = msgspec.structs.replace(instance, groups=(group.id,))

    @rule(policy=st.sampled_from(POLICIES), seconds=st.sampled_from([30, 301, 700]))
    def advance_time(self, policy: Any, seconds: int) -> None:
        """Advances the time; the policy may change."""
        steps["advance time"] += 1
        if policy != self.policy:
            self._changed("policy")
        self.policy = policy
        self.world.now += seconds

    @rule(
        ends=st.tuples(groups, groups),
        port=st.sampled_from([*PORTS, "all"]),
        priority=st.sampled_from([1, 50, 100]),
        policy=st.sampled_from(["accept", "accept", "drop"]),
    )
    def add_manual_rule(self, ends: tuple[Party, Party], port: str, priority: int, policy: str) -> None:
        """Adds a manual rule."""
        source, target = ends
        key = RuleKey(target, str(source), "", ALL if port == "all" else parse_port(port))
        existing = self.world.rules[target].values()
        if source != target and not any((r.key, r.priority) == (key, priority) for r in existing):
            self._changed(f"manual {policy}")
            self.world.add_manual_rule(key, "by hand", priority, policy)

    @rule(group=groups, number=st.integers(0, 9), text=st.sampled_from(EDITS))
    def edit_rule(self, group: Party, number: int, text: str) -> None:
        """Deletes a rule, changes its description or priority, or copies its marker to a manual rule."""
        ids = sorted(self.world.rules[group])
        if not ids:
            return
        rule_id = ids[number % len(ids)]
        self._changed(f"manual {text}" if text in ("delete", "strengthen", "copy") else "manual edit")
        if text == "delete":
            self.world.delete_manually(group, rule_id)
        elif text == "copy":
            old = self.world.rules[group][rule_id]
            if old.key is not None and old.key.port != Port("udp", 1, 1):
                key = msgspec.structs.replace(old.key, port=Port("udp", 1, 1))
                self.world.add_manual_rule(key, old.description, 99)
        else:
            self.world.edit_manually(group, rule_id, text)

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
        if inside is not None or "stale" in plan.values():
            self.applied.clear()  # a claim may be lost: docs/guarantees.md, limits
        return run

    def _old_message(self, wanted: bool) -> Message | None:
        return self.sent[self.number * 7 % len(self.sent)] if wanted and self.sent else None

    @rule(
        party=instances,
        state=st.sampled_from(["Created", "Running", "Deleted", "tags"]),
        plan=faults,
        inside=st.booleans(),
        at=st.integers(0, 10),
    )
    def event(self, party: Party, state: str, plan: dict[int, str], inside: bool, at: int) -> None:
        """An event, which may be false."""
        self.number += 1
        message = event_message(f"e-{self.number}", party, state, self.world.now)
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
        fields: dict[str, Any] = {"request_id": name if action == "link" else f"{action}-{self.number}"}
        if wanted_ports and action != "sync":
            fields["ports"] = wanted_ports
        if until and action == "link":
            fields["until"] = iso(self.world.now + until)
        message = request_message(f"m-{self.number}", source, target, self.world.now, action=action, **fields)
        self.sent.append(message)
        if action == "unlink" or "until" in fields:  # the same request_id with another `until` replaces its claim
            self.applied.clear()
        run = self._deliver(message, plan, self._old_message(inside), at)
        applied = any(r["outcome"] == "applied" and r.get("request_id") == name for r in run.watch.outcomes)
        # deliveries inside others, stale reads and `until` may cost a claim: docs/guarantees.md, limits
        exact = not inside and not until and "stale" not in plan.values()
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
        """Delivers a request that link-peer itself has put into the queue."""
        if self.world.queue:
            self.number += 1
            body = self.world.queue.pop(number % len(self.world.queue))
            self._deliver(Message(f"q-{self.number}", "cross_account", stream(body)), plan, None, 0)

    @rule(plan=faults, inside=st.booleans(), at=st.integers(0, 20))
    def sweep(self, plan: dict[int, str], inside: bool, at: int) -> None:
        """A sweep."""
        self._deliver(sweep_message(), plan, self._old_message(inside), at)

    # at rest

    @rule()
    def come_to_rest(self) -> None:
        """In a copy of the world, faults stop, messages are redelivered and one sweep runs: the rules are as they should
        be, and a second sweep changes nothing."""
        steps["rest"] += 1
        with _as_assertion():
            self._check_at_rest()

    def _check_at_rest(self) -> None:
        world = self.world.copy()
        world.now += 400
        if self.policy.paused:
            return
        for message in dict.fromkeys(self.pending):
            if message.function != "sweep":
                deliver_without_faults(world, message, self.policy)
        deliver_queue(world, self.policy)
        deliver_without_faults(world, sweep_message(), self.policy)
        deliver_queue(world, self.policy)
        invariants.at_rest(world, self.policy)
        if not self.pending:
            self._check_applied(world)
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
