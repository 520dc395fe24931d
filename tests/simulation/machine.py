"""A random life of a small world: people, events, requests and sweeps, with faults and deliveries within deliveries.

Two accounts, seven groups, five instances. Whatever happens, every step is watched; and at any time a copy of the world in
which the faults end comes to rest after a sweep.
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
from link_peer.domain.policy import Allow
from link_peer.domain.tags import iso, parse_port, parse_who

from tests.simulation import invariants, oracle
from tests.simulation.invariants import Broken, hold
from tests.simulation.run import (
    Message,
    Run,
    deliver,
    drained,
    quiet,
    requests_in,
    stream,
    sweep_message,
)
from tests.simulation.scenarios import CHANGES, HOSTILE, POLICY
from tests.simulation.world import HOME, PEER, REGION, World

A, B, FAR, ADVANCED = (Party(HOME, f"sg-{name}") for name in ("a", "b", "far", "advanced"))
X, Y, MANAGED = (Party(PEER, f"sg-{name}") for name in ("x", "y", "managed"))
GROUPS = (A, B, FAR, ADVANCED, X, Y, MANAGED)
INSTANCES = tuple([Party(HOME, f"i-{n}") for n in (1, 2, 3)] + [Party(PEER, f"i-{n}") for n in (4, 5)])
PORTS = ("tcp/3306", "tcp/20-30", "udp/53", "icmp")
POLICIES = (
    POLICY,
    POLICY,
    POLICY,
    msgspec.structs.replace(POLICY, deny=(Port("tcp", 22, 22),)),
    msgspec.structs.replace(
        POLICY,
        accept_tags=False,
        allow=(
            Allow(parse_who(f"*@{HOME}", None), parse_who(f"sg-x@{PEER}", None), (parse_port("tcp/3306"),), "one"),
            Allow(parse_who(f"sg-a@{HOME}", None), parse_who(f"sg-b@{HOME}", None), (), "two"),
        ),
    ),
    msgspec.structs.replace(POLICY, paused=True),
)
FAULTS = (
    *("kill", "kill-after", "lost", "lost-after", "out", "down", "mute", "throttle", "forbidden"),
    *("stale", "empty", "short"),
)

groups = st.sampled_from((A, B, X) * 4 + GROUPS)  # mostly three: histories meet more often in a small world
instances = st.sampled_from(INSTANCES)
UNTILS = ("", "+600", "-600", "tomorrow")
EDITS = ("delete", "strengthen", "copy", "mine now", "", "link-peer/1 dep=prod")

ports = st.lists(st.sampled_from(PORTS), max_size=2, unique=True)
faults = st.one_of(
    st.dictionaries(st.integers(0, 16), st.sampled_from(FAULTS), max_size=2),
    st.just({-1: "empty"}),  # the cloud shows no instance all the time
)
steps: Counter[str] = Counter()
"""How many steps of each kind were taken, in this process."""


def _text(party: Party, account: str) -> str:
    return party.id if party.account == account else f"{party.id}@{party.account}"


@contextlib.contextmanager
def failing() -> Iterator[None]:
    """Hypothesis shrinks what is an Exception."""
    try:
        yield
    except Broken as broken:
        raise AssertionError(str(broken)) from broken


class Life(RuleBasedStateMachine):
    """One life."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.policy = POLICY
        self.sent: list[Message] = []
        self.pending: list[Message] = []
        self.applied: dict[str, dict[RuleKey, str]] = {}  # request id: the rules that must carry its reason
        self.number = 0

    # the world

    @initialize(wishes=st.lists(st.tuples(instances, groups, ports), min_size=1, max_size=3))
    def begin(self, wishes: list[tuple[Party, Party, list[str]]]) -> None:
        for party in GROUPS:
            self.world.add_group(
                party.account,
                party.id[3:],
                f"*@{HOME} *@{PEER}",
                vpc="vpc-2" if party == FAR else "vpc-1",
                advanced=party == ADVANCED,
                managed=party == MANAGED,
            )
        for party, group in zip(INSTANCES, (A, A, B, X, Y), strict=True):
            self.world.add_instance(party.account, party.id[2:], group)
        # the first is in a group that cannot stand for it, too; and another deployment has a rule here
        one = self.world.instances[INSTANCES[0]]
        self.world.instances[INSTANCES[0]] = msgspec.structs.replace(one, groups=(ADVANCED.id, A.id))
        other = RuleKey(B, str(A), "", Port("tcp", 3306, 3306))
        self.world.hand_rule(other, f"link-peer/1 dep=other id={oracle.rule_id(other, 'other')} by=tag")
        for party, group, wish in wishes:
            self.world.set_tag(party, "link-peer", self._peer(party, group, wish))
        with failing():
            deliver(self.world, sweep_message(), self.policy)

    def _peer(self, party: Party, peer: Party, wish: list[str]) -> str:
        return _text(peer, party.account) + (":" + "+".join(wish) if wish else "")

    def _changed(self, kind: str) -> None:
        """A person did something: what was applied may be gone by right."""
        steps[kind] += 1
        self.applied.clear()

    # people; each kind is one rule, so that deliveries are as frequent as they

    @rule(
        party=instances,
        peer=st.one_of(groups, instances),
        wish=ports,
        key=st.sampled_from(["link-peer", "link-peer.2"]),
    )
    def tag(self, party: Party, peer: Party, wish: list[str], key: str) -> None:
        if party in self.world.instances and (peer.is_group or peer.account == party.account):
            steps["tag"] += 1
            self.world.set_tag(party, key, self._peer(party, peer, wish))

    @rule(
        party=instances, key=st.sampled_from(["link-peer", "link-peer.2", "link-until"]), text=st.sampled_from(UNTILS)
    )
    def untag(self, party: Party, key: str, text: str) -> None:
        """A tag comes off, or gets an end."""
        if party in self.world.instances:
            steps["untag"] += 1
            value = iso(self.world.now + int(text)) if text[1:].isdigit() else text
            self.world.set_tag(party, key, value if key == "link-until" and value else None)

    @rule(
        group=groups, who=st.one_of(groups, instances), limits=ports, kind=st.sampled_from(["*", "*", "who", "nobody"])
    )
    def accept(self, group: Party, who: Party, limits: list[str], kind: str) -> None:
        self._changed("accept")
        name = (
            f"*@{HOME} *@{PEER}"
            if kind == "*"
            else f"{who.id}@{who.account}" + (":" + "+".join(limits) if limits else "")
        )
        self.world.set_tag(group, "link-accept", None if kind == "nobody" else name)

    @rule(party=instances, group=groups, ip=st.sampled_from(["10.0.0.2", "10.0.0.3", "10.0.0.5", ""]))
    def life(self, party: Party, group: Party, ip: str) -> None:
        """An instance is released, or starts, perhaps with another's old address or without any yet, or moves.

        One stays in each account: an account without any is believed in nothing.
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
    def later(self, policy: Any, seconds: int) -> None:
        """Time passes; the policy may be another."""
        steps["later"] += 1
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
    def hand_rule(self, ends: tuple[Party, Party], port: str, priority: int, policy: str) -> None:
        source, target = ends
        key = RuleKey(target, str(source), "", ALL if port == "all" else parse_port(port))
        standing = self.world.rules[target].values()
        if source != target and not any((r.key, r.priority) == (key, priority) for r in standing):
            self._changed(f"hand {policy}")
            self.world.hand_rule(key, "by hand", priority, policy)

    @rule(group=groups, number=st.integers(0, 9), text=st.sampled_from(EDITS))
    def hand_edit(self, group: Party, number: int, text: str) -> None:
        """A person deletes a rule, takes one of ours over by its description, strengthens it, or copies its marker."""
        ids = sorted(self.world.rules[group])
        if not ids:
            return
        rule_id = ids[number % len(ids)]
        self._changed(f"hand {text}" if text in ("delete", "strengthen", "copy") else "hand edit")
        if text == "delete":
            self.world.hand_delete(group, rule_id)
        elif text == "copy":
            old = self.world.rules[group][rule_id]
            if old.key is not None and old.key.port != Port("udp", 1, 1):
                key = msgspec.structs.replace(old.key, port=Port("udp", 1, 1))
                self.world.hand_rule(key, old.description, 99)
        else:
            self.world.hand_edit(group, rule_id, text)

    # deliveries

    def _deliver(self, message: Message, plan: dict[int, str], within: Message | None, at: int) -> Run:
        steps[message.function] += 1
        self.world.records.clear()
        inner: list[Run] = []

        def nested(number: int) -> None:
            if number == at and within is not None and not inner:
                inner.append(deliver(self.world, within, self.policy))
                steps["within"] += 1

        with failing():
            run = deliver(self.world, message, self.policy, plan, nested if within is not None else None)
        if run.end != "acked":
            self.pending.append(message)
        if inner and inner[0].end != "acked" and within is not None:
            self.pending.append(within)
        if within is not None or "stale" in plan.values():
            self.applied.clear()  # the known limit
        return run

    @rule(
        party=instances,
        state=st.sampled_from(["Created", "Running", "Deleted", "tags"]),
        plan=faults,
        within=st.booleans(),
        at=st.integers(0, 10),
    )
    def event(self, party: Party, state: str, plan: dict[int, str], within: bool, at: int) -> None:
        self.number += 1
        body: dict[str, Any] = {
            "id": f"e-{self.number}",
            "source": "acs.ecs",
            "specversion": "1.0",
            "type": "ecs:Instance:StateChange",
            "time": iso(self.world.now),
            "data": {"resourceId": party.id, "state": state},
        }
        if state == "tags":
            body["type"] = "ecs:ActionTrail:ApiCall"
            body["data"] = {"eventName": "TagResources", "referencedResources": {"ACS::ECS::Instance": party.id}}
        message = Message(f"e-{self.number}", "auto_link", json.dumps(body).encode())
        self.sent.append(message)
        self._deliver(message, plan, self._another(within), at)

    @rule(
        ends=st.one_of(st.tuples(groups, groups), st.tuples(instances, instances)),
        name=st.sampled_from(["r-1", "r-2", "r-3"]),
        action=st.sampled_from(["link", "link", "link", "unlink", "sync"]),
        wish=ports,
        until=st.sampled_from([0, 0, 600]),
        plan=faults,
        within=st.booleans(),
        at=st.integers(0, 14),
    )
    def request(
        self,
        ends: tuple[Party, Party],
        name: str,
        action: str,
        wish: list[str],
        until: int,
        plan: dict[int, str],
        within: bool,
        at: int,
    ) -> None:
        source, target = ends
        if source == target:
            return
        self.number += 1
        body: dict[str, Any] = {
            "version": 1,
            "request_id": name if action == "link" else f"{action}-{self.number}",
            "action": action,
            "region": REGION,
            "from": {"account": source.account, "party": source.id},
            "to": {"account": target.account, "party": target.id},
            "expires_at": iso(self.world.now + 3600),
            "reason": HOSTILE,
        }
        if wish and action != "sync":
            body["ports"] = wish
        if until and action == "link":
            body["until"] = iso(self.world.now + until)
        message = Message(f"m-{self.number}", "cross_account", stream(json.dumps(body).encode()))
        self.sent.append(message)
        if action == "unlink":
            self.applied.clear()
        run = self._deliver(message, plan, self._another(within), at)
        told = [r for r in run.watch.outcomes if r["outcome"] == "applied" and r.get("request_id") == name]
        # `within`, stale reads and an `until` are left out: what they may cost is in docs/guarantees.md, limits
        if (
            told
            and run.end == "acked"
            and source.is_group
            and not within
            and not until
            and "stale" not in plan.values()
        ):
            keys = invariants.group_rules(source, target, "+".join(wish) or "mutual")
            ours = oracle.owned(self.world, self.policy)
            self.applied.setdefault(name, {}).update({key: f"req:{name}" for key in keys if key in ours})

    def _another(self, within: bool) -> Message | None:
        return self.sent[self.number * 7 % len(self.sent)] if within and self.sent else None

    @rule(number=st.integers(0, 30), plan=faults)
    def again(self, number: int, plan: dict[int, str]) -> None:
        """An old message comes again: a duplicate, however late."""
        if self.sent:
            self.applied.clear()  # it may be an unlink, or a link with another end
            self._deliver(self.sent[number % len(self.sent)], plan, None, 0)

    @rule(numbers=st.tuples(st.integers(0, 30), st.integers(0, 30)), plan=faults)
    def batch(self, numbers: tuple[int, int], plan: dict[int, str]) -> None:
        """Two old messages come again, as one delivery."""
        sent = [message for message in self.sent if message.function == "cross_account"]
        if sent:
            self.applied.clear()
            self.number += 1
            bodies = [json.dumps(r).encode() for n in numbers for r in requests_in(sent[n % len(sent)])]
            self._deliver(Message(f"b-{self.number}", "cross_account", stream(*bodies)), plan, None, 0)

    @rule(number=st.integers(0, 5), plan=faults)
    def from_the_queue(self, number: int, plan: dict[int, str]) -> None:
        if self.world.queue:
            self.number += 1
            body = self.world.queue.pop(number % len(self.world.queue))
            self._deliver(Message(f"q-{self.number}", "cross_account", stream(body)), plan, None, 0)

    @rule(plan=faults, within=st.booleans(), at=st.integers(0, 20))
    def sweep(self, plan: dict[int, str], within: bool, at: int) -> None:
        self._deliver(sweep_message(), plan, self._another(within), at)

    # rest

    @rule()
    def rest(self) -> None:
        """Faults end; what was not acknowledged comes again; one sweep: the world is as it should be, and stays so."""
        steps["rest"] += 1
        with failing():
            self._rest()

    def _rest(self) -> None:
        world = self.world.copy()
        world.now += 400
        if self.policy.paused:
            return
        for message in dict.fromkeys(self.pending):
            if message.function != "sweep":
                quiet(world, message, self.policy)
        drained(world, self.policy)
        quiet(world, sweep_message(), self.policy)
        drained(world, self.policy)
        invariants.at_rest(world, self.policy)
        if not self.pending:
            self._still_applied(world)
        world.records.clear()
        again = deliver(world, sweep_message(), self.policy)
        hold("I11", not set(again.calls) & CHANGES, f"a second sweep changes: {again.calls} {world.records}")

    def _still_applied(self, world: World) -> None:
        ours = oracle.owned(world, self.policy)
        for name, keys in self.applied.items():
            for key, reason in keys.items():
                hold("I6", reason in ours.get(key, ()), f"{name} was applied; {key} stands for {ours.get(key)}")

    def teardown(self) -> None:
        self.rest()
