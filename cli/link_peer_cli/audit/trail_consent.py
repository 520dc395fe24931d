"""What a group consented to when a rule was opened: its tags at that time, as ActionTrail's tag calls, the observed records and
the tags of now tell. Pure.

A tag has the value that the last call before gave it. Without such a call it has the value that was seen last before the first
call after; where nobody saw it, it is not known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from link_peer.domain.grouped import grouped
from link_peer.domain.model import ALL, Group, Instance, Marker, Party, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import SET, Who, accepts, egress_accepts
from link_peer.planning.actual import link_of
from link_peer.planning.consent import Gate, consents
from link_peer.planning.evaluate import as_member
from link_peer.planning.guardrails import refused

from link_peer_cli.audit.trail_events import EVERY_TAG, Event
from link_peer_cli.audit.trail_records import Entry, tags_in

Tags = Mapping[str, str]
JUDGED_SECONDS = 60.0
"""A rule is written at most this long after its consent was judged; the clocks of ActionTrail and SLS count in."""


class Consents:
    """The tags of groups over time. `now` are those that are there, as of `moment` (epoch seconds)."""

    def __init__(
        self,
        policy: Policy,
        events: Iterable[Event],
        observed: Iterable[Entry],
        now: Mapping[Party, Tags],
        moment: float,
    ) -> None:
        self._policy = _without_sets(policy)
        calls = sorted((event for event in events if event.succeeded and event.tags), key=lambda event: event.time)
        self._changes = grouped((group, (event.time, dict(event.tags))) for event in calls for group in event.parties)
        observations = [
            (entry, tags_in(entry.record.get("tags", ""))) for entry in observed if entry.kind == "observed"
        ]
        known_tags: list[tuple[Party, tuple[float, Tags]]] = [
            (entry.observed_group, (entry.time, {key: value for key, value in tags.items() if value is not None}))
            for entry, tags in observations
            if tags is not None
        ]
        self._observed_tags = grouped([*known_tags, *((group, (moment, tags)) for group, tags in now.items())])

    def lacking(self, key: RuleKey, marker: Marker, at: float, *, recorded: bool) -> str:
        """Why a group did not consent to a rule that was opened then; empty if it did. `recorded`: a record names a consent,
        which counts as far as nothing tells the tags of that time."""
        reason = f"{key.group} had no consent to it"
        for tags, is_complete in self._at(key.group, at):
            lock, refusal = self._policy.keys.lock_on(tags), self._refusal(key, marker, tags)
            if not (lock or refusal) and self._covers(key, marker, tags, at):
                return ""
            if not is_complete and recorded:
                return ""
            reason = f"{key.group} was locked" if lock else refusal or reason
        return reason

    def _at(self, group: Party, at: float) -> Iterator[tuple[Tags, bool]]:
        """The tags that it had when consent may have been judged, and whether all are known."""
        changes, observed = self._changes.get(group, []), self._observed_tags.get(group, [])
        first = sum(time < at - JUDGED_SECONDS for time, _ in changes)
        for count in range(sum(time <= at for time, _ in changes), first - 1, -1):
            values = {key: _value(key, changes, observed, count) for key in _keys(changes, observed)}
            tags = {key: value for key, value in values.items() if isinstance(value, str)}
            yield tags, bool(observed) and ... not in values.values()

    def _refusal(self, key: RuleKey, marker: Marker, tags: Tags) -> str:
        """By which entry a group with these tags refused the rule; empty if it did not. In which groups an instance was is not
        known, so that only what names a party of the link counts."""
        link = link_of(key, marker)
        snapshot = Snapshot(groups={key.group: Group(key.group, "", tags=tags)})
        peers = (link.target, link.reached) if key.is_egress else (link.source, link.asker)
        for peer in dict.fromkeys(peers):
            if denial := refused(snapshot, self._policy, peer, key.group, () if key.port == ALL else (key.port,)):
                return denial.detail
        return ""

    def _covers(self, key: RuleKey, marker: Marker, tags: Tags, at: float) -> bool:
        """Whether a group with these tags, or the policy, consents to a rule. In which groups an instance was is not known: an
        entry that names a group of its account counts, and for a group whose instances are let out one that names an instance."""
        link = link_of(key, marker)
        read = egress_accepts if key.is_egress else accepts
        allowed = [end for pair in self._policy.allow for end in (pair.source, pair.target)]
        accepted = [entry.party for entry in read(tags, key.group.account, self._policy.keys)]
        named_ids = tuple(party.id for party in [*accepted, *allowed])
        party = link.reached if key.is_egress else link.source
        peer: Party | Instance = party if party.is_group else Instance(party, "", named_ids)
        if link.member and link.followed.is_group:
            peer = as_member(link)
        end = Instance(link.source, "", named_ids) if key.is_egress else link.target
        gate = Gate(Group(key.group, "", tags=tags), peer, end, key.is_egress)
        return not consents(self._policy, gate, (key.port,), at)[1]


def _value(
    key: str, changes: list[tuple[float, dict[str, str | None]]], observed: list[tuple[float, Tags]], count: int
) -> object:
    """The value of a tag after so many changes; None where it is not there, `...` where that is not known."""
    values = [(time, tags.get(key)) for time, tags in changes if {key, EVERY_TAG} & tags.keys()]
    change_count = sum(bool({key, EVERY_TAG} & tags.keys()) for _, tags in changes[:count])
    if change_count:
        return values[change_count - 1][1]
    first = values[0][0] if values else math.inf
    return next((tags.get(key) for time, tags in reversed(observed) if time < first), ...)


def _keys(changes: list[tuple[float, dict[str, str | None]]], observed: list[tuple[float, Tags]]) -> set[str]:
    return {key for _, tags in [*changes, *observed] for key in tags} - {EVERY_TAG}


def _without_sets(policy: Policy) -> Policy:
    """The policy with every group of an account in place of a set of them: which groups were in it is not known."""

    def every(party: Who) -> Who:
        return Who(party.account, "*") if party.id.startswith(SET) else party

    allow = [
        msgspec.structs.replace(pair, source=every(pair.source), target=every(pair.target)) for pair in policy.allow
    ]
    return msgspec.structs.replace(policy, allow=tuple(allow))
