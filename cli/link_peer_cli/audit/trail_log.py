"""The audit log and ActionTrail as `audit --verify` asks them: which intents name a call, and which rules link-peer
opened. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set

import msgspec
from link_peer.domain import marker as markers
from link_peer.domain.grouped import grouped
from link_peer.domain.model import PRIORITY, Marker, Party, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.runtime.ports import Record

from link_peer_cli.audit.trail_events import MODIFYING, Event
from link_peer_cli.audit.trail_records import Entry, RecordedRule, entries

LONGEST_SECONDS = 3600.0
"""A change is made at most this long after what was read for it: no function and no command runs longer."""
SKEW_SECONDS = 60.0  # between the clocks of ActionTrail and of SLS, or of the machine that wrote a record


class Roles(msgspec.Struct, frozen=True):
    """The roles by which link-peer changes each account, in small letters, each with the logstores of those who may
    take it on; `operators` is the logstore of people's commands."""

    changing: Mapping[str, Mapping[str, Set[str]]]
    operators: str


class Question(msgspec.Struct, frozen=True):
    """What is joined: findings of a period, in the accounts whose trail was read."""

    policy: Policy
    region: str
    roles: Roles
    read: Set[str]
    since: float  # epoch seconds
    now: float  # epoch seconds
    tags: Mapping[Party, Mapping[str, str]] = {}  # those that groups have now
    trail_start: float = -math.inf  # ActionTrail has no older events
    tags_since: float = -math.inf  # from then on, all tag calls on groups that were opened are known

    @property
    def start(self) -> float:
        """From when on events and records are there: of an older record, the call may be one that ActionTrail
        dropped."""
        return max(self.since - LONGEST_SECONDS, self.trail_start + LONGEST_SECONDS)

    def logs(self, event: Event) -> Set[str]:
        """The logstores in which a call is to be recorded."""
        return self.roles.changing.get(event.account, {}).get(event.role, {self.roles.operators})

    def marker(self, key: RuleKey | None, description: str) -> Marker | None:
        """The marker, if a description is that of this very rule of ours."""
        group = key.group if key else Party("", "")
        rule = Rule(group, "", key, "accept", PRIORITY, description)
        return markers.owned(rule, self.policy.deployment, self.region, self.policy.home)


class Log:
    """The audit records, and what they know of calls and rules. `older` records are asked about rules and tags only."""

    def __init__(self, question: Question, records: Iterable[Record], older: Iterable[Record]) -> None:
        self.entries = entries(records, question.region)
        self.every = entries([*older, *records], question.region)
        intents = [entry for entry in self.entries if entry.kind == "intent"]
        self._intents = grouped((group, entry) for entry in intents for group in entry.groups)
        self._decisions = grouped((entry.decision, entry) for entry in intents)
        self.by_call = grouped((call, entry) for entry in self.entries for call in entry.calls)
        self.by_id: dict[str, RuleKey] = {}
        for rule in (rule for entry in self.every for rule in entry.rules if rule.id):
            self.by_id.setdefault(rule.id, rule.key)
        self.keys = set(self.by_id.values())
        self._ends = grouped((_run(entry), entry) for entry in self.entries if entry.kind != "intent")

    def reopened(self, logstore: str) -> set[str]:
        """The RequestIds of the calls by which `link-peer reopen` took locks and refusals off."""
        records = (entry.record for entry in self.entries if entry.logstore == logstore)
        return {record.get("event_request", "") for record in records if record.get("function") == "reopen"}

    def about(self, event: Event) -> dict[Party, list[Entry]]:
        """The intents that name each group of a call."""
        return {group: self._intents.get(group, []) for group in event.parties}

    def intent(self, outcome: Entry) -> Entry | None:
        """The last intent of a decision before its outcome."""
        return next(
            (intent for intent in reversed(self._decisions.get(outcome.decision, [])) if outcome.follows(intent)), None
        )

    def end(self, intent: Entry) -> float:
        """Until when a change may have been made for an intent: until what came of it was recorded."""
        later = (entry.time for entry in self._ends.get(_run(intent), ()) if entry.follows(intent))
        return min(later, default=intent.time + LONGEST_SECONDS)

    def touched(self, event: Event) -> set[RuleKey]:
        """The rules of ours that a call names, by their fields or by their ids."""
        named_keys = {self.by_id[rule_id] for rule_id in event.rule_ids if rule_id in self.by_id}
        return named_keys | (set(event.keys) & self.keys)

    def names(self, event: Event, rule: RecordedRule) -> bool:
        """Whether a call names a rule."""
        if rule.key.group not in event.parties:
            return False
        named_keys = {self.by_id.get(rule_id) for rule_id in event.rule_ids}
        return rule.key in event.keys or rule.key in named_keys or rule.id in event.rule_ids


def _run(entry: Entry) -> tuple[str, ...]:
    """What an intent and its result have in common. The result of an intent about a tag alone is the sweep's
    summary."""
    if entry.kind == "summary" or not entry.record.get("link"):
        return "", entry.record.get("event_id", "")
    return entry.decision


class Openings:
    """Which rules a marker of ours opened, as far as the log and ActionTrail tell."""

    def __init__(self, question: Question, log: Log, events: Iterable[Event]) -> None:
        self._question, self._log = question, log
        self._first: dict[tuple[str, RuleKey], str] = {}  # call and rule: its id
        self._calls: dict[
            str, list[tuple[str, RuleKey, float]]
        ] = {}  # of each rule, as the first record of a call says
        for entry in log.every:
            for call, rule in ((call, rule) for call in entry.calls for rule in entry.rules if rule.id):
                if self._first.setdefault((call, rule.key), rule.id) == rule.id:
                    self._calls.setdefault(rule.id, []).append((call, rule.key, entry.time))
        self._events = {event.request_id: event for event in events if event.succeeded}
        self._writes = grouped((group, event) for event in self._events.values() for group in event.parties)

    def opened(self, rule_id: str, event: Event) -> bool:
        """Whether the rule that a call changes or removes is one that a marker of ours opened before: the first record
        of that call names the id. An older call is ActionTrail's no more; of one whose answer was lost no record tells
        an id."""
        for call, key, time in self._calls.get(rule_id, ()):
            opening_event = self._events.get(call)
            if opening_event is event:
                continue
            if self._marks(opening_event, key, rule_id) if opening_event else time < self._question.start:
                return True
        key_ = self._log.by_id.get(rule_id)
        return key_ is not None and any(
            self._marks(writing_event, key_, rule_id)
            for writing_event in self._writes.get(key_.group, ())
            if writing_event is not event
            and writing_event.time <= event.time + SKEW_SECONDS
            and (writing_event.request_id, key_) not in self._first
        )

    def _marks(self, event: Event, key: RuleKey, rule_id: str) -> bool:
        """Whether a call wrote our marker on a rule."""
        is_named = event.name in MODIFYING and rule_id in event.rule_ids
        return key.group in event.parties and any(
            self._question.marker(key, write.description) for write in event.writes if is_named or write.key == key
        )
