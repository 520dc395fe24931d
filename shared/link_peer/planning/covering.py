"""Which entries of consent cover a rule, and until when. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from link_peer.domain.model import Group, Instance, Link, Marker, Party, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import covers
from link_peer.planning.actual import link_of
from link_peer.planning.claims import last_end
from link_peer.planning.consent import Gate, entries_at
from link_peer.planning.guardrails import with_sets
from link_peer.planning.verdict.acceptance import any_member, as_member


def covering_entries(snapshot: Snapshot, policy: Policy, rule: Rule, marker: Marker) -> dict[str, int | None]:
    """The entries that cover a rule, each with its end, which may be past."""
    group = snapshot.groups.get(rule.group)
    if group is None or rule.key is None:
        return {}
    link = link_of(rule.key, marker)
    gate = standing_gate(snapshot, group, rule.key, link)
    entries = entries_at(with_sets(snapshot, policy, link), gate)
    return {label: entry.until for label, entry in entries if covers(entry.ports, rule.key.port)}


def standing_gate(snapshot: Snapshot, group: Group, key: RuleKey, link: Link) -> Gate:
    """The end at which a group holds a rule of a link."""
    peer: Party | Instance = snapshot.instances.get(link.reached if key.is_egress else link.source, link.represented)
    peer = as_member(link) if link.member and link.followed.is_group else peer
    if key.is_egress:
        return Gate(group, peer, any_member(snapshot, link.source), is_egress=True)
    return Gate(group, peer, link.target)


def current_entries(entries: Mapping[str, int | None], now: float) -> dict[str, int | None]:
    """Those of such entries, each with its end, that have not ended."""
    return {label: until for label, until in entries.items() if until is None or now < until}


def consent_end(entries: Mapping[str, int | None], now: float) -> int | None:
    """When the last of these entries ends; when it ended, if none is left. None where one need not end, or there is
    none."""
    return last_end((current_entries(entries, now) or entries).values())
