"""The invariants of docs/guarantees.md: how one is checked, and what must hold of a world at rest."""

from __future__ import annotations

import calendar
import time
from collections import Counter

from link_peer.domain.model import ALL, Party, RuleKey
from link_peer.domain.policy import Policy

from tests.simulation import oracle
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

    Whether a request's claim must exist is not checked here: only the scenario knows.
    """
    ours = oracle.owned(world, policy)
    present = oracle.present(world)
    tags = oracle.wanted_by_tags(world, policy)
    for key, claims in ours.items():
        hold("I1", oracle.allowed(world, policy, key), f"{key} exists ({claims}) without consent or against the policy")
        hold("I9", ("tag" in claims) == (key in tags), f"{key} has claims {claims}, but is tagged by {tags.get(key)}")
        if key.port == ALL:
            other = _other_side(world, key)
            whole = other is not None and (ours.get(other) == claims or (other in present and other not in ours))
            other_claims = ours.get(other) if other else None
            hold("I3", whole, f"{key} has claims {claims}, but its other side {other} has {other_claims}")
        tagged = world.groups[key.group].tags.get("link-managed.prod") == "true"
        hold("I9", tagged, f"{key.group} has a rule of ours, but no managed tag")
    for key in tags:
        hold("I9", key in present, f"tags ask for {key}, but it does not exist")
    for party, group in world.groups.items():
        has_rule = any(key.group == party for key in ours)
        # a group that refuses a wanted rule keeps the tag
        needless = "link-managed.prod" in group.tags and not has_rule and party not in world.full
        hold("I9", not needless, f"{party} has the managed tag, but no rule of ours")
    for by_id in world.rules.values():
        for rule in by_id.values():
            if claims := oracle.claims(rule, policy):
                hold("I3'", rule.priority == 100, f"{rule} is ours and overrides an operator's drop rule")
                ends = [end for _, _, end in (claim.partition("~") for claim in claims) if end]
                expired = [end for end in ends if claim_end(end) <= world.now]
                hold("I9", not expired, f"{rule} has a claim that expired at {expired}")
    for rule_id, rule in world.manual_rules.items():
        hold("I2", world.rules[rule.group].get(rule_id) == rule, f"manual rule was changed: {rule}")


def group_rules(source: Party, target: Party, ports: str) -> list[RuleKey]:
    """The rules of a link of two groups; `ports` as in a record: `mutual`, `all`, or ports joined by `+`."""
    if ports in ("mutual", "all"):
        return [RuleKey(target, str(source), "", ALL), RuleKey(source, str(target), "", ALL)]
    return [RuleKey(target, str(source), "", oracle.parse_port(text)) for text in ports.split("+")]


def claim_end(text: str) -> int:
    """The end of a claim as written in a marker, in epoch seconds."""
    return calendar.timegm(time.strptime(text, "%Y%m%dT%H%M%SZ"))


def _other_side(world: World, key: RuleKey) -> RuleKey | None:
    """The rule of the opposite direction that belongs to the same mutual link."""
    if not key.dest:
        name, _, account = key.source.partition("@")
        return RuleKey(Party(account, name), str(key.group), "", ALL)
    for other in oracle.present(world):
        if (other.source, other.dest, other.port) == (key.dest, key.source, ALL):
            return other
    return None
