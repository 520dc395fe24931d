"""The world as it was at each moment of a delivery: what production code may have read when it decided."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import msgspec
from link_peer.domain.model import Group, Instance, Party, RuleKey
from link_peer.domain.policy import Pause, Policy

from tests.simulation import oracle
from tests.simulation.oracle import Owned, Pair
from tests.simulation.world import World

FRESH_SECONDS = 5  # a rule may be written on tags and a policy file that are at most this old


class State(msgspec.Struct, frozen=True):
    """What decides whether a rule may be written, as it was from `since` on (epoch seconds)."""

    since: float
    groups: Mapping[Party, Group]
    instances: Mapping[Party, Instance]
    revoked: frozenset[str]
    policy: Policy


class States:
    """The states of one delivery, oldest first. `Watch` notes one whenever something has changed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._states: list[State] = []

    def note(self, policy: Policy) -> None:
        """Notes the current state, with the policy file as it is now."""
        world = self.world
        now = (world.groups, world.instances, world.revoked, policy)
        last = self._states[-1] if self._states else None
        if last is None or now != (last.groups, last.instances, last.revoked, last.policy):
            state = (world.groups.copy(), world.instances.copy(), frozenset(world.revoked), policy)
            self._states.append(State(world.now, *state))

    def pasts(self) -> Iterator[tuple[World, State]]:
        """The world as it was in each state of this delivery, oldest first."""
        for state in self._states:
            then = self.world.copy()
            then.groups, then.instances, then.revoked = dict(state.groups), dict(state.instances), set(state.revoked)
            yield then, state

    def once_wanted(self, key: RuleKey, pair: Pair) -> bool:
        """Whether tags asked for a rule at some moment of this delivery."""
        return any(pair in oracle.wanted_by_tags(then, state.policy).get(key, ()) for then, state in self.pasts())

    def once_wanted_of_instance(self, key: RuleKey, pair: Pair) -> bool:
        """Whether tags asked for a rule for the same instance at some moment of this delivery."""
        return any(
            oracle.is_of_same_instance(pair, oracle.wanted_by_tags(then, state.policy).get(key, ()))
            for then, state in self.pasts()
        )

    def once_possible(self, key: RuleKey, pair: Pair) -> bool:
        """Whether tags asked for a rule at some moment, by whichever group of the instance, or on whichever group of
        the one that holds it, where consent changed meanwhile: that of one group may have been read before, and that of
        another one after it."""
        consents = [{g: _consents(group) for g, group in state.groups.items()} for state in self._states]
        groups = {key.group} | (self.once_groups(pair[0 if key.is_egress else 1]) if pair else set())
        keys = [msgspec.structs.replace(key, group=group) for group in groups]
        return any(first != second for first, second in itertools.pairwise(consents)) and any(
            pair in oracle.wanted_by_tags(then, state.policy, by_any_group=True).get(group_key, ())
            for then, state in self.pasts()
            for group_key in keys
        )

    def always_kept(self, key: RuleKey, pair: Pair) -> bool:
        """Whether a rule had to go on to stand for tags throughout this delivery; one that lets out, for whom the
        target may admit."""
        return all(
            pair in oracle.kept_by_tags(then, state.policy).get(key, ())
            and oracle.lets_out_who_asks(then, state.policy, key, pair)
            for then, state in self.pasts()
        )

    def always_allowed(self, owned: Owned) -> bool:
        """Whether a rule of ours was allowed at every moment of this delivery."""
        return all(oracle.allowed(then, state.policy, owned.key, owned.pair) for then, state in self.pasts())

    def once_groups(self, instance: Party) -> set[Party]:
        """The groups that an instance was in at some moment of this delivery."""
        instances = (then.instances[instance] for then, _ in self.pasts() if instance in then.instances)
        return {Party(instance.account, name) for past_instance in instances for name in past_instance.groups}

    def recently_allowed(self, written: Owned) -> bool:
        """Whether a rule may be opened now, or could be within the last FRESH_SECONDS of this delivery.

        Production code cannot notice that consent was withdrawn since it read it, but may not rely on an older read.
        """
        ends = [*(state.since for state in self._states[1:]), self.world.now]
        accounts = {written.key.group.account}
        accounts.add(written.pair[0].account if written.pair else written.key.source.partition("@")[2])
        return any(
            self.world.now - end <= FRESH_SECONDS
            and state.policy.paused is Pause.NONE
            and not accounts & state.revoked
            and oracle.allowed(then, state.policy, written.key, written.pair)
            for (then, state), end in zip(self.pasts(), ends, strict=True)
        )


def _consents(group: Group) -> dict[str, str]:
    return {name: value for name, value in group.tags.items() if not name.startswith("link-managed")}
