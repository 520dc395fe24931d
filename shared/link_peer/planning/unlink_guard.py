"""Does what a request asked for still stand where a sweep has read it? Pure.

A sweep completes a half-open link because a request's reason stands on the other side. An unlink may take that side away
between the sweep's read and its write; the rule that the sweep writes would then bring back what was closed. So the
sweep writes and then looks at the other side, and an unlink removes and then looks at both sides again: whichever comes
first, one of the two sees the other's change.
"""

from __future__ import annotations

from link_peer.domain.model import Party, Reason, RuleKey
from link_peer.engine.reader import View
from link_peer.inbound.policy_file import Policy
from link_peer.planning.decision import Decision, link_of, owned_rules

Witnesses = dict[Reason, set[RuleKey]]
"""The rules of ours on which each reason stood already."""


def witnesses(view: View, policy: Policy, region: str, decision: Decision) -> Witnesses:
    """Where the requests' reasons that a sweep's decision writes were read."""
    if decision.action != "repair" or decision.outcome != "applied":
        return {}
    found: Witnesses = {r: set() for edit in decision.edits for r in edit.gain if not r.is_tag}
    written = {edit.key for edit in decision.edits if edit.gain}
    ends = {decision.link.source, decision.link.target}
    for rule, marker in owned_rules(view, policy, region) if found else ():
        if rule.key is None or rule.key in written:
            continue
        link = link_of(rule.key, marker)
        if {link.source, link.target} == ends:
            for reason in found.keys() & set(marker.reasons):
                found[reason].add(rule.key)
    return found


def groups(before: Witnesses) -> set[Party]:
    """The groups to read again."""
    return {key.group for keys in before.values() for key in keys}


def vanished(view: View, policy: Policy, region: str, before: Witnesses) -> frozenset[Reason]:
    """Reasons that stand on none of those rules any more."""
    now = {(rule.key, reason) for rule, marker in owned_rules(view, policy, region) for reason in marker.reasons}
    return frozenset(
        reason for reason, keys in before.items() if keys and not any((key, reason) in now for key in keys)
    )
