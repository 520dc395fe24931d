"""What a group consented to when a rule was opened: its tags at that time, as witnesses tell them. Pure.

Witnesses are the tag calls of ActionTrail, the tags of now, and the observed records of those who did not open the
rule: who opened it could write any. A record counts only where ActionTrail has its call. A tag has the value that the
last call before gave it. Without such a call it has the value that the first call after replaced (`old_tags`), or that
was seen before that call. Where no witness tells it, it is not known. Of two records of one call, the first that SLS
received counts: what comes later changes nothing.

ActionTrail shows a call ten minutes late. So where a record tells of a tag call that it does not have yet, the tags of
now may not be those that were there before: what rests on them alone is pending, or unproven where only who opened the
rule recorded such a call.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import NamedTuple

import msgspec
from link_peer.domain.grouped import grouped
from link_peer.domain.model import ALL, Group, Instance, Marker, Party, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import SET, Grantee, accepts, egress_accepts
from link_peer.planning.actual import link_of
from link_peer.planning.consent import Gate, consents
from link_peer.planning.guardrails import refused
from link_peer.planning.verdict.acceptance import as_member

from link_peer_cli.audit.trail_events import EVERY_TAG, Event
from link_peer_cli.audit.trail_records import Entry, tags_in

Tags = Mapping[str, str]
TRAIL_SECONDS = 900.0
"""An event can be looked up ten minutes after the call [doc ActionTrail limits]."""
JUDGED_SECONDS = 60.0
"""A rule is written at most this long after its consent was judged; the clocks of ActionTrail and SLS count in."""


NO_CONSENT, UNPROVEN = "no-consent", "unproven"
NOW = ""  # in place of a log: the tags that are there now
_CUT = "…"  # in the tags of a record: not all of them fitted


class Problem(NamedTuple):
    """What does not fit: the finding, its text, and whether ActionTrail may explain it yet."""

    finding: str
    detail: str
    is_pending: bool = False


class _Change(msgspec.Struct, frozen=True):
    """A tag call on a group."""

    time: float
    request_id: str
    tags: Mapping[str, str | None]

    def names(self, key: str) -> bool:
        """Whether it set or took off a tag."""
        return key in self.tags or EVERY_TAG in self.tags


class _Observation(msgspec.Struct, frozen=True):
    """The tags of a group as one saw them: in which log, after which call; and the values before that call, where it
    says so. Without a log: the tags that the cloud shows now."""

    time: float
    logstore: str
    request_id: str
    tags: Mapping[str, str | None] | None
    old_tags: Mapping[str, str | None]


class _Testimony(msgspec.Struct, frozen=True):
    """What witnesses tell of a group: the tag calls, and what was observed, each in order of time."""

    changes: list[_Change]
    observations: list[_Observation]

    def named_keys(self) -> set[str]:
        """The keys of which a record, an event or ActionTrail says anything."""
        observed_tags = [observation.tags for observation in self.observations if observation.tags]
        tag_sets = [*(change.tags for change in self.changes), *observed_tags]
        return {key for tags in tag_sets for key in tags} - {EVERY_TAG, _CUT}

    def value(self, key: str, count: int) -> object:
        """The value of a tag after so many changes; None where it is not there, `...` where that is not known."""
        changes = [change for change in self.changes if change.names(key)]
        if change_count := sum(change.names(key) for change in self.changes[:count]):
            return changes[change_count - 1].tags.get(key)
        if changes:
            for observation in self.observations:
                if observation.request_id == changes[0].request_id and key in observation.old_tags:
                    return observation.old_tags[key]
        first = changes[0].time if changes else math.inf
        for observation in self.observations:
            tags = observation.tags
            if tags is not None and observation.time < first and (key in tags or _CUT not in tags):
                return tags.get(key)
        return ...


class Consents:
    """The tags of groups over time. `now` are those that are there, as of `moment` (epoch seconds). `events` are all
    tag calls from `start` on; what was observed before is no evidence, since other calls may have come between."""

    def __init__(
        self,
        policy: Policy,
        events: Iterable[Event],
        observed: Iterable[Entry],
        now: Mapping[Party, Tags],
        period: tuple[float, float],
    ) -> None:
        start, moment = period
        self._policy = _without_sets(policy)
        calls = sorted((event for event in events if event.succeeded and event.tags), key=lambda event: event.time)
        self._changes = grouped(
            (group, _Change(event.time, event.request_id, dict(event.tags)))
            for event in calls
            for group in event.parties
        )
        known_calls = {(change.request_id, group) for group, changes in self._changes.items() for change in changes}
        records: list[tuple[Party, _Observation]] = [
            (entry.observed_group, _observation(entry))
            for entry in observed
            if entry.kind == "observed"
            and entry.time >= start
            and (entry.record.get("event_request", ""), entry.observed_group) in known_calls
        ]
        self._unseen_calls = grouped(
            (entry.observed_group, entry.logstore)
            for entry in observed
            if entry.kind == "observed"
            and entry.time > moment - TRAIL_SECONDS
            and (call := entry.record.get("event_request", ""))
            and (call, entry.observed_group) not in known_calls
        )
        current_tags = [(group, _Observation(moment, NOW, "", tags, {})) for group, tags in now.items()]
        self._observations = grouped([*records, *current_tags])

    def problem(self, key: RuleKey, marker: Marker, at: float, suspects: Set[str]) -> Problem | None:
        """Why a group did not consent to a rule that was opened then, or why that is unproven; None if it did.
        `suspects` are the logs that the opener of the rule can write."""
        group_observations = self._observations.get(key.group, [])
        observations = [observation for observation in group_observations if observation.logstore not in suspects]
        problem = self._by_witnesses(key, marker, at, observations)
        recorded_in = self._unseen_calls.get(key.group, [])
        if not problem or problem.finding == UNPROVEN or not recorded_in:
            return problem
        earlier = [observation for observation in observations if observation.logstore != NOW]
        firm_problem = self._by_witnesses(key, marker, at, earlier)
        if firm_problem and firm_problem.finding != UNPROVEN:
            return problem
        detail = f"{problem.detail}, by the tags of now alone; a record tells of a tag call that ActionTrail does not have yet"
        is_pending = not suspects >= set(recorded_in)
        return Problem(problem.finding if is_pending else UNPROVEN, detail, is_pending)

    def _by_witnesses(
        self, key: RuleKey, marker: Marker, at: float, observations: list[_Observation]
    ) -> Problem | None:
        testimony = _Testimony(self._changes.get(key.group, []), observations)
        problems = [self._judged(key, marker, at, *tags) for tags in _at(testimony, at)]
        if None in problems:
            return None
        return next((problem for problem in problems if problem and problem.finding == UNPROVEN), problems[-1])

    def _judged(
        self, key: RuleKey, marker: Marker, at: float, tags: Tags, unknown_keys: Set[str], is_complete: bool
    ) -> Problem | None:
        keys = self._policy.keys
        unknown_keys = {key for key in unknown_keys if keys.forbids(key) or key in keys.consenting}
        if keys.lock_on(tags):
            return Problem(NO_CONSENT, f"{key.group} was locked")
        if refusal := self._refusal(key, marker, tags):
            return Problem(NO_CONSENT, refusal)
        is_covered = self._covers(key, marker, tags, at)
        if is_covered and is_complete and not any(map(keys.forbids, unknown_keys)):
            return None
        if is_covered or not is_complete or not unknown_keys.isdisjoint(keys.consenting):
            subject = " and ".join(sorted(unknown_keys)) or "the tags"
            return Problem(UNPROVEN, f"no witness tells {subject} of {key.group} at that time")
        return Problem(NO_CONSENT, f"{key.group} had no consent to it")

    def _refusal(self, key: RuleKey, marker: Marker, tags: Tags) -> str:
        """By which entry a group with these tags refused the rule; empty if it did not. In which groups an instance was
        is not known, so that only what names a party of the link counts."""
        link = link_of(key, marker)
        snapshot = Snapshot(groups={key.group: Group(key.group, "", tags=tags)})
        peers = (link.target, link.reached) if key.is_egress else (link.source, link.asker)
        for peer in dict.fromkeys(peers):
            if denial := refused(snapshot, self._policy, peer, key.group, () if key.port == ALL else (key.port,)):
                return denial.detail
        return ""

    def _covers(self, key: RuleKey, marker: Marker, tags: Tags, at: float) -> bool:
        """Whether a group with these tags, or the policy, consents to a rule. In which groups an instance was is not
        known: an entry that names a group of its account counts, and for a group whose instances are let out one that
        names an instance."""
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


def _observation(entry: Entry) -> _Observation:
    tags, old_tags = (tags_in(entry.record.get(name, "")) for name in ("tags", "old_tags"))
    return _Observation(entry.time, entry.logstore, entry.record.get("event_request", ""), tags, old_tags or {})


def _at(testimony: _Testimony, at: float) -> Iterator[tuple[Tags, Set[str], bool]]:
    """The tags that a group had when consent may have been judged, those keys whose value is not known, and whether all
    keys are known that it had at any time."""
    is_complete = any(
        observation.tags is not None and _CUT not in observation.tags for observation in testimony.observations
    )
    first = sum(change.time < at - JUDGED_SECONDS for change in testimony.changes)
    for count in range(sum(change.time <= at for change in testimony.changes), first - 1, -1):
        values = {key: testimony.value(key, count) for key in testimony.named_keys()}
        tags = {key: value for key, value in values.items() if isinstance(value, str)}
        yield tags, {key for key, value in values.items() if value is ...}, is_complete


def _without_sets(policy: Policy) -> Policy:
    """The policy with every group of an account in place of a set of them: which groups were in it is not known."""

    def every(party: Grantee) -> Grantee:
        return Grantee(party.account, "*") if party.id.startswith(SET) else party

    allow = [
        msgspec.structs.replace(pair, source=every(pair.source), target=every(pair.target)) for pair in policy.allow
    ]
    return msgspec.structs.replace(policy, allow=tuple(allow))
