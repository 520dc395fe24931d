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
from link_peer.domain.model import Group, Instance, Marker, Party, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.tags import SET, Who, accepts
from link_peer.planning.actual import link_of
from link_peer.planning.consent import consents
from link_peer.planning.evaluate import as_member

from link_peer_cli.audit.trail_events import EVERY_TAG, Event
from link_peer_cli.audit.trail_records import Entry, tags_in

Tags = Mapping[str, str]
JUDGED_SECONDS = 60.0
"""A rule is written at most this long after its consent was judged; the clocks of ActionTrail and SLS count in."""


class Consents:
    """The tags of groups over time. `now` are those that are there, as of `moment` (epoch seconds)."""

    def __init__(
        self, policy: Policy, events: Iterable[Event], seen: Iterable[Entry], now: Mapping[Party, Tags], moment: float
    ) -> None:
        self._policy = _without_sets(policy)
        calls = sorted((one for one in events if one.done and one.tags), key=lambda one: one.time)
        self._changes = grouped((group, (one.time, dict(one.tags))) for one in calls for group in one.parties)
        told = [(one, tags_in(one.record.get("tags", ""))) for one in seen if one.kind == "observed"]
        known: list[tuple[Party, tuple[float, Tags]]] = [
            (one.seen, (one.time, {key: value for key, value in tags.items() if value is not None}))
            for one, tags in told
            if tags is not None
        ]
        self._seen = grouped([*known, *((group, (moment, tags)) for group, tags in now.items())])

    def lacking(self, key: RuleKey, marker: Marker, at: float, *, recorded: bool) -> str:
        """Why a group did not consent to a rule that was opened then; empty if it did. `recorded`: a record names a consent,
        which counts as far as nothing tells the tags of that time."""
        why = f"{key.group} had no consent to it"
        for tags, known in self._at(key.group, at):
            lock = self._policy.keys.lock_on(tags)
            if not lock and self._covers(key, marker, tags, at):
                return ""
            if not known and recorded:
                return ""
            why = f"{key.group} was locked" if lock else why
        return why

    def _at(self, group: Party, at: float) -> Iterator[tuple[Tags, bool]]:
        """The tags that it had when consent may have been judged, and whether all are known."""
        changes, seen = self._changes.get(group, []), self._seen.get(group, [])
        first = sum(time < at - JUDGED_SECONDS for time, _ in changes)
        for count in range(sum(time <= at for time, _ in changes), first - 1, -1):
            values = {key: _value(key, changes, seen, count) for key in _keys(changes, seen)}
            tags = {key: value for key, value in values.items() if isinstance(value, str)}
            yield tags, bool(seen) and ... not in values.values()

    def _covers(self, key: RuleKey, marker: Marker, tags: Tags, at: float) -> bool:
        """Whether a group with these tags, or the policy, consents to a rule. In which groups an instance was is not known: an
        entry that names a group of its account counts."""
        link = link_of(key, marker)
        source: Party | Instance = as_member(link) if link.member else link.source
        if not link.source.is_group:
            given = accepts(tags, key.group.account, self._policy.keys)
            source = Instance(link.source, "", tuple(one.who.id for one in given))
        return not consents(self._policy, Group(key.group, "", tags=tags), source, link.target, (key.port,), at)[1]


def _value(
    key: str, changes: list[tuple[float, dict[str, str | None]]], seen: list[tuple[float, Tags]], count: int
) -> object:
    """The value of a tag after so many changes; None where it is not there, `...` where that is not known."""
    told = [(time, tags.get(key)) for time, tags in changes if {key, EVERY_TAG} & tags.keys()]
    done = sum(bool({key, EVERY_TAG} & tags.keys()) for _, tags in changes[:count])
    if done:
        return told[done - 1][1]
    first = told[0][0] if told else math.inf
    return next((tags.get(key) for time, tags in reversed(seen) if time < first), ...)


def _keys(changes: list[tuple[float, dict[str, str | None]]], seen: list[tuple[float, Tags]]) -> set[str]:
    return {key for _, tags in [*changes, *seen] for key in tags} - {EVERY_TAG}


def _without_sets(policy: Policy) -> Policy:
    """The policy with every group of an account in place of a set of them: which groups were in it is not known."""

    def every(who: Who) -> Who:
        return Who(who.account, "*") if who.id.startswith(SET) else who

    allow = [msgspec.structs.replace(one, source=every(one.source), target=every(one.target)) for one in policy.allow]
    return msgspec.structs.replace(policy, allow=tuple(allow))
