"""Joins the audit log with ActionTrail, both ways. Pure.

| event or record | is explained by |
|---|---|
| a change by a role of ours | the record with its RequestId, and an intent before that record; else, if the delivery died or the answer was lost, an intent that names the rule, until what came of that intent |
| a change by anyone else | the record with its RequestId (a command with a person's own keys); else it may not touch a rule of ours |
| `applied` or `removed`, for each rule of its intent | an event with one of its RequestIds; else an event that made the same change meanwhile: the answer was lost, or someone else was faster |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

import msgspec
from link_peer.domain.denials import ALREADY_GONE
from link_peer.domain.model import Party, RuleKey, ports_text
from link_peer.domain.policy import Policy
from link_peer.domain.tags import iso
from link_peer.runtime.ports import Record

from link_peer_cli.answers.operation import Mismatch
from link_peer_cli.audit.trail_events import TAG_CALLS, Event
from link_peer_cli.audit.trail_records import Entry, Named, entries

LONGEST_SECONDS = 3600.0
"""A change is made at most this long after what was read for it: no function and no command runs longer."""
SKEW_SECONDS = 60.0  # between the clocks of ActionTrail and of the machine that wrote a record
TRAIL_SECONDS = 900.0  # an event can be looked up some ten minutes after the call
LOG_SECONDS = 60.0  # a record can be searched some seconds after it was written

NO_INTENT, NO_CHANGE, BY_ANOTHER, UNREADABLE = "no-intent", "no-change", "by-another", "unreadable"


class Roles(msgspec.Struct, frozen=True):
    """The roles by which link-peer changes each account, in small letters, and the operator's at home."""

    changing: Mapping[str, Set[str]]
    operator: tuple[str, str]


class Question(msgspec.Struct, frozen=True):
    """What is joined: findings from `since` on, as of `now` (epoch seconds), in the accounts whose trail was read."""

    policy: Policy
    region: str
    roles: Roles
    read: Set[str]
    since: float
    now: float


class _Log:
    """The audit records, and what they know of rules. `older` records are asked about rules only."""

    def __init__(self, records: Iterable[Record], older: Iterable[Record], region: str) -> None:
        self.entries = entries(records, region)
        self._intents: dict[Party, list[Entry]] = {}
        self._decisions: dict[tuple[str, ...], list[Entry]] = {}
        for entry in self.entries:
            if entry.kind == "intent":
                self._decisions.setdefault(entry.decision, []).append(entry)
                for group in entry.groups:
                    self._intents.setdefault(group, []).append(entry)
        self.by_call: dict[str, list[Entry]] = {}
        for entry in self.entries:
            for call in entry.calls:
                self.by_call.setdefault(call, []).append(entry)
        named = [rule for entry in (*self.entries, *entries(older, region)) for rule in entry.rules]
        self.keys = {rule.key for rule in named if rule.id}
        self.by_id = {rule.id: rule.key for rule in named if rule.id}
        self._ends: dict[tuple[str, ...], list[float]] = {}
        for entry in self.entries:
            if entry.kind != "intent":
                self._ends.setdefault(_run(entry), []).append(entry.time)

    def about(self, event: Event) -> dict[Party, list[Entry]]:
        """The intents that name each group of a call."""
        return {group: self._intents.get(group, []) for group in event.parties}

    def intent(self, outcome: Entry) -> Entry | None:
        """The last intent of a decision before its outcome."""
        return next(
            (one for one in reversed(self._decisions.get(outcome.decision, [])) if one.time <= outcome.time), None
        )

    def end(self, intent: Entry) -> float:
        """Until when a change may have been made for an intent: until what came of it was recorded."""
        later = (time for time in self._ends.get(_run(intent), ()) if time >= intent.time)
        return min(later, default=intent.time + LONGEST_SECONDS)

    def touched(self, event: Event) -> set[RuleKey]:
        """The rules of ours that a call names, by their fields or by their ids."""
        named = {self.by_id[one] for one in event.rule_ids if one in self.by_id}
        return named | (set(event.keys) & self.keys)

    def names(self, event: Event, rule: Named) -> bool:
        """Whether a call names a rule."""
        if rule.key.group not in event.parties:
            return False
        known = {self.by_id.get(one) for one in event.rule_ids}
        return rule.key in event.keys or rule.key in known or (bool(rule.id) and rule.id in event.rule_ids)


def _run(entry: Entry) -> tuple[str, ...]:
    """What an intent and its result have in common. The result of an intent about a tag alone is the sweep's summary."""
    if entry.kind == "summary" or not entry.record.get("link"):
        return "", entry.record.get("event_id", "")
    return entry.decision


def unknown_rules(question: Question, records: Iterable[Record], events: Iterable[Event]) -> list[str]:
    """The ids of rules, and of groups, of which an older record may say whether a change by someone else was one of ours."""
    log = _Log(records, (), question.region)
    wanted: dict[str, None] = {}
    for event in events:
        if event.done and event.time >= question.since and not _by_us(question, event):
            wanted |= dict.fromkeys(one for one in event.rule_ids if one not in log.by_id)
            if event.name == "RevokeSecurityGroup" and set(event.keys) - log.keys:
                wanted |= dict.fromkeys(event.groups)
    return list(wanted)


def join(
    question: Question, records: Sequence[Record], older: Iterable[Record], events: Sequence[Event]
) -> list[Mismatch]:
    """Return what does not fit, oldest first. `records` and `events` begin LONGEST_SECONDS before `since`."""
    log = _Log(records, older, question.region)
    found = [finding for event in events for finding in _of_event(question, log, event)]
    changes: dict[Party, list[Event]] = {}
    for event in events:
        for group in event.parties:
            changes.setdefault(group, []).append(event)
    found += [finding for entry in log.entries for finding in _of_outcome(question, log, entry, changes)]
    return sorted(found, key=lambda finding: finding.time)


def _by_us(question: Question, event: Event) -> bool:
    return event.role in question.roles.changing.get(event.account, ())


# what ActionTrail has


def _of_event(question: Question, log: _Log, event: Event) -> Iterator[Mismatch]:
    if not event.done or event.time < question.since or event.name == "DeleteSecurityGroup":
        return
    recorded = log.by_call.get(event.request_id, []) if event.request_id else []
    if _by_us(question, event):
        if recorded and not any(_had_intent(log, entry, event) for entry in recorded):
            yield _of(question, event, NO_INTENT, "a record has its RequestId, but no intent was written before")
        elif not recorded and not _own_lock(question, event) and not _intended(log, event):
            yield _of(question, event, NO_INTENT, "no record has its RequestId, and no intent names the change")
    elif not recorded and (detail := _ours(question, log, event)):
        yield _of(question, event, BY_ANOTHER, detail)


def _had_intent(log: _Log, entry: Entry, event: Event) -> bool:
    """Whether an intent of the same function and link, or of a tag alone, was written before a record, and names a group which
    the call changed."""
    return any(
        intent.time <= entry.time <= intent.time + LONGEST_SECONDS + SKEW_SECONDS and intent.link == entry.link
        for intents in log.about(event).values()
        for intent in intents
    )


def _intended(log: _Log, event: Event) -> bool:
    """Whether intents name this very change, of which no result tells: its rule, or each group of a tag."""
    tags = event.name in TAG_CALLS
    found = [
        any(
            intent.time - SKEW_SECONDS <= event.time <= log.end(intent) + SKEW_SECONDS
            and (tags or any(log.names(event, rule) for rule in intent.rules))
            for intent in intents
        )
        for intents in log.about(event).values()
    ]
    return all(found)


def _own_lock(question: Question, event: Event) -> bool:
    """Whether `link-peer close` or `reopen` wrote the lock of a group of home: a tag of a person's, not a rule's."""
    return (event.account, event.role) == question.roles.operator and set(event.tags) == {question.policy.keys.lock}


def _ours(question: Question, log: _Log, event: Event) -> str:
    """What of ours someone else changed; empty if nothing."""
    policy = question.policy
    marked = {f"dep={policy.deployment}", f"home={policy.home}"}
    if any(one.startswith("link-peer/") and marked <= set(one.split(" ")) for one in event.descriptions):
        return "it wrote a marker of this deployment"
    if event.name != "AuthorizeSecurityGroup" and log.touched(event):
        return "it changed a rule of link-peer"
    managed = policy.keys.managed
    if any(tag == managed or tag.startswith(f"{managed}.") for tag in event.tags):
        return "it changed the managed tag, by which a sweep finds the rules of the group"
    return ""


# what the log has


def _of_outcome(
    question: Question, log: _Log, entry: Entry, changes: Mapping[Party, Sequence[Event]]
) -> Iterator[Mismatch]:
    """The rules that an outcome says were changed, and ActionTrail does not. Without an intent and without RequestIds, it says
    that nothing had to be changed."""
    changed = entry.kind == "outcome" and entry.record.get("outcome") in ("applied", "removed")
    if not changed or entry.time < question.since:
        return
    intent = log.intent(entry)
    expected = intent.rules if intent else entry.rules if entry.calls else ()
    missing = [
        rule
        for rule in expected
        if rule.key.group.account in question.read
        and not any(_shows(log, event, entry, rule, intent) for event in changes.get(rule.key.group, ()))
    ]
    if missing:
        yield _no_change(question, entry, missing)


def _shows(log: _Log, event: Event, entry: Entry, rule: Named, intent: Entry | None) -> bool:
    """Whether an event of a rule's group is evidence of the change that an outcome reports."""
    named = event.request_id in entry.calls
    if not event.done:  # what was gone already needed no change
        return named and event.error in ALREADY_GONE
    if not named and not (intent and intent.time - LONGEST_SECONDS <= event.time <= entry.time + SKEW_SECONDS):
        return False
    return event.name == "DeleteSecurityGroup" or log.names(event, rule)


# words


def _of(question: Question, event: Event, finding: str, detail: str) -> Mismatch:
    rules = [*event.rule_ids, *map(_rule_text, event.keys), *event.tags]
    by = f"{event.who} from {event.address}" if event.address else event.who
    advice = (
        f"find out who used the role {event.role} and from where; if nobody of yours did, take its permissions away and undo "
        "the call by hand: a sweep leaves rules without a marker alone"
        if finding == NO_INTENT
        else f"ask {event.who}; link-peer sweep --dry-run shows what a sweep puts back or closes, link-peer stale what it leaves alone"
    )
    return Mismatch(
        time=iso(event.time),
        account=event.account,
        what=f"{event.name} {' '.join(event.groups)}",
        rule=" ".join(rules),
        request_id=event.request_id,
        who=by,
        finding=finding,
        detail=detail,
        advice=advice,
        pending=event.time > question.now - LOG_SECONDS,
    )


def _no_change(question: Question, entry: Entry, missing: Sequence[Named]) -> Mismatch:
    record = entry.record
    sides = " → ".join(f"{record.get(side, '')}@{record.get(f'{side}_account', '')}" for side in ("from", "to"))
    trigger = record.get("request_id") or record.get("event_id") or ""
    return Mismatch(
        time=iso(entry.time),
        account=" ".join(sorted({rule.key.group.account for rule in missing})),
        what=f"{record.get('outcome')} {sides} {record.get('ports', '')}".strip(),
        rule=" ".join(rule.id or _rule_text(rule.key) for rule in missing),
        request_id=" ".join(sorted(entry.calls)),
        who=" ".join(filter(None, [record.get("function", ""), trigger])),
        finding=NO_CHANGE,
        detail="the log reports a change that ActionTrail does not have",
        advice="see who may write to the log (log:PostLogStoreLogs): the record may be forged; link-peer links shows the rules that exist",
        pending=entry.time > question.now - TRAIL_SECONDS,
    )


def _rule_text(key: RuleKey) -> str:
    ends = " ".join(filter(None, [key.source, key.dest and f"> {key.dest}"]))
    return f"{ends} {ports_text((key.port,))}"
