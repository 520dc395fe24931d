"""Which worlds are equal: in everything that a later delivery or check can see, and in that and the time."""

from __future__ import annotations

from link_peer.domain.model import Rule

from tests.simulation.world import START, World

PERIOD = 60  # seconds


def fingerprint(world: World) -> object:
    """Everything in a world that a later delivery or check can see. Leaves out rule ids, which are opaque, and the
    time; when a rule was made, and when a message is due, counts by periods only."""
    rules = frozenset(
        (rule.key or rule.unmanaged_traffic, rule.policy, rule.priority, rule.description, *_history(world, rule))
        for by_id in world.rules.values()
        for rule in by_id.values()
    )
    previous = frozenset(
        (rule.key or rule.unmanaged_traffic, rule.policy, rule.priority, rule.description)
        for by_id in world.previous_rules.values()
        for rule in by_id.values()
    )
    tags = frozenset((party, key, value) for party, group in world.groups.items() for key, value in group.tags.items())
    instances = frozenset((i.party, i.ip, i.groups, tuple(sorted(i.tags.items()))) for i in world.instances.values())
    queue = tuple(sorted((message.body, message.queue, (message.due - START) // PERIOD) for message in world.queue))
    barred = frozenset(world.barred.items())
    kinds = frozenset((party, group.advanced, group.managed) for party, group in world.groups.items())
    closed = (kinds, frozenset(world.full), frozenset(world.isolated))
    hidden = (frozenset(world.hidden), frozenset(world.revoked), barred, frozenset(world.interfaces))
    return rules, previous, tags, instances, queue, *hidden, *closed


def _history(world: World, rule: Rule) -> tuple[bool, str]:
    """Whether a person has added or edited a rule, and in which period it was made."""
    return rule.id in world.manual_rules, rule.created[:15]


def moment(world: World) -> tuple[object, ...]:
    """What a fingerprint leaves out: the clock, when exactly each rule was made, each message is due and an instance
    shows, and the ids of rules."""
    rules = frozenset((rule.id, rule.key, rule.created) for by_id in world.rules.values() for rule in by_id.values())
    due = tuple(world.queue), frozenset(world.throttled.items()), frozenset(world.hidden.items())
    return world.now, rules, world.rules_made, *due
