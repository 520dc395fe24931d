"""The invariants of docs/guarantees.md: how one is checked, and what must hold of a world at rest."""

from __future__ import annotations

import calendar
import time
from collections import Counter
from collections.abc import Collection

import msgspec
from link_peer.domain.model import ALL, Party, RuleKey
from link_peer.domain.policy import Pause, Policy

from tests.simulation import oracle
from tests.simulation.oracle import Owned, Pair
from tests.simulation.world import World

checked: Counter[str] = Counter()
"""How often each invariant was checked in this process."""


class Broken(BaseException):
    """An invariant does not hold. Not an Exception, so that no code under test can catch it."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant


def hold(invariant: str, holds: bool, text: str) -> None:
    """Counts a check of an invariant; raises Broken with `text` if it does not hold."""
    checked[invariant] += 1
    if not holds:
        raise Broken(invariant, text)


def at_rest(world: World, policy: Policy) -> None:
    """Checks a world after a sweep without faults: I1, I2, I3, I3' and I9.

    Whether a request's claim must exist is not checked here: only the scenario knows. Groups of an account that refuses
    access can be neither read nor changed, so nothing is checked there.
    """
    ours = [
        owned_rule
        for owned_rule in oracle.owned_rules(world, policy)
        if owned_rule.key.group.account not in world.revoked
    ]
    tags, kept_pairs = oracle.wanted_by_tags(world, policy), oracle.kept_by_tags(world, policy)
    opening = policy.paused is Pause.NONE
    for our_rule in ours:
        may = oracle.allowed(world, policy, our_rule.key, our_rule.pair) or (
            # its marker is not rewritten for another of its instance's groups until openings go on
            not opening
            and oracle.is_part(our_rule.pair)
            and oracle.is_of_same_instance(our_rule.pair, kept_pairs.get(our_rule.key, ()))
        )
        hold("I1", may, f"{our_rule.rule} exists without consent, locked, or against the policy")
        if not _accounts(our_rule) & world.revoked:
            has_tag = "tag" in our_rule.claims
            pairs = (kept_pairs if has_tag else tags).get(our_rule.key, set())
            is_tagged = our_rule.pair in pairs
            # the marker names one of the groups that the instance may stand for, or itself where a link to it was the
            # first
            if oracle.is_part(our_rule.pair) or our_rule.key.is_egress:
                is_tagged = oracle.is_of_same_instance(our_rule.pair, pairs)
            right = has_tag == is_tagged or (is_tagged and not opening)
            hold("I9", right, f"{our_rule.rule} is {'' if is_tagged else 'not '}what tags ask for")
        ends = [end for _, _, end in (claim.partition("~") for claim in our_rule.claims) if end]
        expired = [end for end in ends if claim_end(end) <= world.now]
        hold("I9", not expired, f"{our_rule.rule} has a claim that expired at {expired}")
        hold("I3'", our_rule.rule.priority == 100, f"{our_rule.rule} is ours and overrides an operator's drop rule")
        tagged = world.groups[our_rule.key.group].tags.get(oracle.managed_tag(policy)) == "true"
        hold("I9", tagged, f"{our_rule.key.group} has a rule of ours, but no managed tag")
        has_instances_tag = (
            our_rule.pair is None or oracle.instances_tag(policy) in world.groups[our_rule.key.group].tags
        )
        hold("I9", has_instances_tag, f"{our_rule.key.group} has a rule between instances, but no tag that says so")
    for link, instances in oracle.parts(ours).items():
        few = len(instances) <= policy.limits.max_members
        hold("I1", few, f"{link} has more instances than the policy allows: {instances.keys()}")
    for key, claim in oracle.waiting_to_join(world, policy) if opening and not world.revoked else ():
        refused = key.group in world.full or key in oracle.present(world) - {owned_rule.key for owned_rule in ours}
        hold("I9", refused, f"an instance has joined a link by address, but {key} lacks {claim}")
    for our_rule in half_open(world, policy):
        # one that lets out only others of the group, or whom nothing lets out, is kept for a denied wish as long as one
        # of a request
        is_kept = our_rule.pair in kept_pairs.get(our_rule.key, ())
        is_young = world.now - oracle.created(our_rule.rule) < oracle.HALF_OPEN_SECONDS
        young = not opening or (is_young and ("tag" not in our_rule.claims or is_kept))
        hold("I3", young, f"{our_rule.rule} is half of a link, and its other side does not exist")
    present = oracle.present(world)
    for key in tags if opening else ():
        hold("I9", key in present, f"tags ask for {key}, but it does not exist")
    waiting = set() if opening else {key.group for key in tags}
    _managed_tags(world, policy, {owned_rule.key.group for owned_rule in ours} | waiting)
    for rule_id, rule in world.manual_rules.items():
        hold("I2", world.rules[rule.group].get(rule_id) == rule, f"manual rule was changed: {rule}")


def half_open(world: World, policy: Policy) -> list[Owned]:
    """The rules of ours whose link lacks the other side, as far as both accounts can be read: of a mutual link, and of
    one from an advanced group."""
    readable = [rule for rule in oracle.owned_rules(world, policy) if not _accounts(rule) & world.revoked]
    halves = [rule for rule in readable if not _other_side_exists(world, policy, rule)]
    outlets = [rule for rule in readable if rule.key.is_egress and rule not in halves]
    uncarried = [msgspec.structs.replace(rule, claims=_uncarried(world, policy, rule, readable)) for rule in outlets]
    return [*halves, *(rule for rule in uncarried if rule.claims)]


def stripped(world: World, policy: Policy) -> set[Party]:
    """The groups with a rule of ours that lack the managed tag."""
    managed, instances = oracle.managed_tag(policy), oracle.instances_tag(policy)
    groups = set()
    for owned_rule in oracle.owned_rules(world, policy):
        group = owned_rule.key.group
        managed_tags = {managed, instances} if owned_rule.pair else {managed}
        if group.account not in world.revoked and not managed_tags <= world.groups[group].tags.keys():
            groups.add(group)
    return groups


def group_rules(source: Party, target: Party, ports: str) -> list[RuleKey]:
    """The rules of a link of two groups; `ports` as in a record: `mutual`, `all`, or ports joined by `+`."""
    if ports in ("mutual", "all"):
        return [RuleKey(target, str(source), "", ALL), RuleKey(source, str(target), "", ALL)]
    return [RuleKey(target, str(source), "", oracle.parse_port(text)) for text in ports.split("+")]


def claim_end(text: str) -> int:
    """The end of a claim as written in a marker, in epoch seconds."""
    return calendar.timegm(time.strptime(text, "%Y%m%dT%H%M%SZ"))


def _managed_tags(world: World, policy: Policy, holding: set[Party]) -> None:
    """A group without a rule of ours, or one that waits to be written, has no managed tag, unless a wanted rule is
    refused there, or a marker is damaged."""
    damaged = {
        group for group, by_id in world.rules.items() if any(oracle.damaged(rule, policy) for rule in by_id.values())
    }
    for party, group in world.groups.items():
        tagged = oracle.managed_tag(policy) in group.tags and party.account not in world.revoked
        needless = tagged and party not in holding | damaged | world.full
        hold("I9", not needless, f"{party} has the managed tag, but no rule of ours")


def _admits(world: World, policy: Policy, outlet: RuleKey, pair: Pair) -> bool:
    """Whether an ingress rule of ours, or a person's equal one, admits someone to whom an egress rule lets its group
    out."""
    assert pair is not None
    target = world.instances.get(pair[0])
    # whatever its marker names, the rule serves every link to the instance, of groups and of instances
    groups = {pair[1], *(Party(pair[0].account, name) for name in (target.groups if target else ()))}
    sources = {f"{member.ip}/32" for member in oracle.members(world, outlet.group)}
    admitting = {(source, dest, outlet.port) for source in sources for dest in ("", outlet.dest)}
    return any(key.group in groups and (key.source, key.dest, key.port) in admitting for key in oracle.present(world))


def _uncarried(world: World, policy: Policy, outlet: Owned, rules: Collection[Owned]) -> frozenset[str]:
    """The claims of requests on an egress rule that no ingress rule to the same target carries, of whichever link."""
    assert outlet.pair is not None
    target = world.instances.get(outlet.pair[0])
    groups = (
        {outlet.pair[1], *(Party(target.party.account, name) for name in target.groups)} if target else {outlet.pair[1]}
    )
    carried = {
        claim
        for owned_rule in rules
        if owned_rule.pair and owned_rule.key.port == outlet.key.port and not owned_rule.key.is_egress
        if (
            owned_rule.key.group in groups and owned_rule.pair[1] == outlet.key.group
            if oracle.is_part(owned_rule.pair)
            else owned_rule.pair[1] == outlet.pair[0]
        )
        for claim in owned_rule.claims
    }
    sources = {f"{member.ip}/32" for member in oracle.members(world, outlet.key.group)}
    by_people = {
        rule.key
        for rule in world.rules.get(outlet.pair[1], {}).values()
        if rule.key and rule.policy == "accept" and oracle.ours(rule, policy) is None
    }
    admitted = {RuleKey(outlet.pair[1], source, "", outlet.key.port) for source in sources}
    return frozenset() if admitted & by_people else outlet.claims - carried - {"tag"}


def _is_shut_in(world: World, policy: Policy, key: RuleKey, pair: Pair) -> bool:
    """Whether nothing lets out whom an ingress rule of ours admits."""
    assert pair is not None
    if oracle.is_part(pair):
        return oracle.missing_outlets(world, policy, pair[1], key.group, key.port, pair[0])
    source, target = world.instances.get(pair[0]), world.instances.get(pair[1])
    if source is None or target is None:
        return False
    groups = [Party(pair[0].account, name) for name in source.groups]
    outlets = {RuleKey(group, "", key.dest, key.port) for group in groups}
    return oracle.needs_outlet(world, policy, groups, target, [key.port]) and not outlets & oracle.present(world)


def _accounts(owned_rule: Owned) -> set[str]:
    source = owned_rule.pair[0].account if owned_rule.pair else owned_rule.key.source.partition("@")[2]
    return {source, owned_rule.key.group.account}


def _other_side_exists(world: World, policy: Policy, owned_rule: Owned) -> bool:
    """Whether the rule of the opposite direction exists, ours or a person's; where the source's group lets nothing out
    by default, one that lets it out; of such a one, a rule of ours that admits who is let out."""
    key, pair = owned_rule.key, owned_rule.pair
    if key.is_egress:
        return pair is None or _admits(world, policy, key, pair)
    if key.port != ALL:
        return pair is None or not _is_shut_in(world, policy, key, pair)
    if not key.dest:
        name, _, account = key.source.partition("@")
        return RuleKey(Party(account, name), str(key.group), "", ALL) in oracle.present(world)
    turned = (key.dest, key.source, ALL)
    return any(
        (standing_key.source, standing_key.dest, standing_key.port) == turned for standing_key in oracle.present(world)
    )
