"""Is a request's claim still there where a sweep has read it? Pure.

A sweep completes a half-open link because a request's claim stands on the other side. An unlink may remove that side
between the sweep's read and its write; the rule that the sweep writes would then bring back what was closed. So the sweep
writes and then reads the other side, and an unlink removes and then reads both sides again: whichever comes first, one of
the two sees the other's change.
"""

from __future__ import annotations

from link_peer.domain.model import Claim, Party, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.actual import link_of, owned_rules
from link_peer.planning.decision import Decision

Seen = dict[Claim, set[RuleKey]]
"""The rules of ours on which each claim stood already."""


def seen_elsewhere(snapshot: Snapshot, policy: Policy, region: str, decision: Decision) -> Seen:
    """Where the requests' claims that a sweep's decision writes were read."""
    if decision.action != "repair" or decision.outcome != "applied":
        return {}
    found: Seen = {claim: set() for edit in decision.edits for claim in edit.gain if not claim.is_tag}
    written = {edit.key for edit in decision.edits if edit.gain}
    ends = {decision.link.source, decision.link.target}
    for rule, marker in owned_rules(snapshot, policy, region) if found else ():
        if rule.key is None or rule.key in written:
            continue
        link = link_of(rule.key, marker)
        if {link.source, link.target} == ends:
            for claim in found.keys() & set(marker.claims):
                found[claim].add(rule.key)
    return found


def groups(before: Seen) -> set[Party]:
    """The groups to read again."""
    return {key.group for keys in before.values() for key in keys}


def vanished(snapshot: Snapshot, policy: Policy, region: str, before: Seen) -> frozenset[Claim]:
    """Claims that stand on none of those rules any more."""
    now = {(rule.key, claim) for rule, marker in owned_rules(snapshot, policy, region) for claim in marker.claims}
    return frozenset(claim for claim, keys in before.items() if keys and not any((key, claim) in now for key in keys))
