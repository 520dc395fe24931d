"""Joins the audit log with ActionTrail, both ways, and judges each call again. Pure.

| event or record | is explained by |
|---|---|
| a change by a role of ours | the record with its RequestId, and an intent of that very change which SLS received before the call; else, if the delivery died or the answer was lost, such an intent, until what came of it. Both in the log of that role |
| a rule that was opened | also our marker of that very rule, and the group's consent at that time, as witnesses tell it: trail_consent |
| a rule that was changed or removed | also that link-peer opened it: the first record of the call that did names its id |
| a change by anyone else | the record with its RequestId in the operators' log (a command with a person's own keys), judged like ours; else it may not touch a rule of ours |
| `applied` or `removed`, for each rule of its intent | an event with one of its RequestIds; else an event that made the same change meanwhile: the answer was lost, or someone else was faster. Each of its RequestIds is one of ActionTrail's |
| any record | SLS received it when it says that it was written |
"""  # noqa: W505

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from link_peer.domain.denials import ALREADY_GONE
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Party, RuleKey, ports_text
from link_peer.domain.tags import iso
from link_peer.runtime.ports import Record

from link_peer_cli.answers.operation import Mismatch
from link_peer_cli.audit.trail_consent import TRAIL_SECONDS, UNPROVEN, Consents, Problem
from link_peer_cli.audit.trail_events import AUTHORIZING, MODIFYING, REVOKING, TAG_CALLS, Event, TrailWrite
from link_peer_cli.audit.trail_log import LONGEST_SECONDS, SKEW_SECONDS, Log, Openings, Question
from link_peer_cli.audit.trail_records import Entry, RecordedRule

LOG_SECONDS = 60.0  # a record can be searched some seconds after it was written
LATE_SECONDS = (
    960.0  # a write is retried as long as a function runs; SLS refuses a clock that is off by more [doc PutLogs]
)

NO_INTENT, NO_CHANGE, BY_ANOTHER = "no-intent", "no-change", "by-another"
NO_MARKER, WRONG_LOG, BACKDATED = "no-marker", "wrong-log", "backdated"

OWN_CALLS = AUTHORIZING | REVOKING | MODIFYING | {*TAG_CALLS[:2]}
"""The calls by which link-peer changes groups."""


def unknown_rules(question: Question, records: Iterable[Record], events: Sequence[Event]) -> list[str]:
    """The ids of rules, and of groups, of which an older record may say whether a change was one of a rule of ours."""
    log = Log(question, records, ())
    openings, unknown_ids = Openings(question, log, events), dict[str, None]()
    for event in events:
        if event.succeeded and event.time >= question.since:
            mine = _by_us(question, event)
            is_known = openings.opened if mine else lambda rule_id, _: rule_id in log.by_id
            unknown_ids |= dict.fromkeys(rule_id for rule_id in event.rule_ids if not is_known(rule_id, event))
            if event.name in REVOKING and set(event.keys) - log.keys and not mine:
                unknown_ids |= dict.fromkeys(event.groups)
    return list(unknown_ids)


def opened_groups(question: Question, events: Iterable[Event]) -> list[Party]:
    """The groups whose consent is in question."""
    calls = OWN_CALLS.difference(TAG_CALLS, REVOKING)
    return sorted(
        {
            party
            for event in events
            if event.succeeded and event.name in calls
            for party in event.parties
            if event.time >= question.since
        }
    )


def join(
    question: Question, records: Sequence[Record], older: Iterable[Record], events: Sequence[Event]
) -> list[Mismatch]:
    """Return what does not fit, oldest first. `records` and `events` begin LONGEST_SECONDS before `since`."""
    log = Log(question, records, older)
    openings = Openings(question, log, events)
    period = (question.tags_since, question.now)
    consents = Consents(question.policy, events, log.every, question.tags, period)
    findings = [finding for event in events for finding in _of_event(question, log, (openings, consents), event)]
    changes = grouped((group, event) for event in events for group in event.parties)
    findings += [finding for entry in log.entries for finding in _of_record(question, log, entry, changes)]
    return sorted(findings, key=lambda finding: finding.time)


def _by_us(question: Question, event: Event) -> bool:
    return event.role in question.roles.changing.get(event.account, {})


# what ActionTrail has

LogContext = tuple[Openings, Consents]


def _of_event(question: Question, log: Log, context: LogContext, event: Event) -> Iterator[Mismatch]:
    if not event.succeeded or event.time < question.since:
        return
    call_entries, logs = log.by_call.get(event.request_id, []) if event.request_id else [], question.logs(event)
    recorded = [entry for entry in call_entries if entry.logstore in logs]
    problems: list[Problem] = []
    if _by_us(question, event) or recorded:
        problems += _unexplained(question, log, event, recorded)
        problems += _misjudged(question, log, context, event, recorded)
    elif detail := _ours(question, log, event):
        problems.append(Problem(BY_ANOTHER, detail))
    if wrong := sorted({entry.logstore for entry in call_entries} - logs):
        detail = f"a record in {wrong[0]}, to which the caller does not write, has its RequestId"
        problems.append(Problem(WRONG_LOG, detail))
    if problems:
        problems.sort(key=lambda problem: (problem.is_pending, problem.finding == UNPROVEN))
        text = "; ".join(dict.fromkeys(problem.detail for problem in problems))
        yield _of(question, event, Problem(problems[0].finding, text, problems[0].is_pending))


def _unexplained(question: Question, log: Log, event: Event, recorded: Sequence[Entry]) -> Iterator[Problem]:
    """What of a call no record explains."""
    keys, tags = question.policy.keys, [key for key, _ in event.tags]
    people = question.logs(event) == {question.roles.operators}
    if event.name not in OWN_CALLS:
        yield Problem(NO_INTENT, "link-peer never makes this call")
    elif tags and people and all(map(keys.forbids, tags)):
        # a lock and a refusal are tags of a person's, and nobody's leave is needed to set them
        if event.name == "UntagResources" and event.request_id not in log.reopened(question.roles.operators):
            yield Problem(
                NO_INTENT, "it removed a lock or a refusal, and no record of link-peer reopen has its RequestId"
            )
    elif _by_us(question, event) and any(key not in (keys.managed, keys.instances) for key in tags):
        yield Problem(NO_INTENT, "link-peer never writes this tag with this role")
    elif recorded and not _covered(log, event, lambda intent: any(_led_to(intent, entry, event) for entry in recorded)):
        yield Problem(NO_INTENT, "a record has its RequestId, but no intent was written before")
    elif not recorded and not _covered(log, event, lambda intent: _unfinished(question, log, intent, event)):
        yield Problem(NO_INTENT, "no record has its RequestId, and no intent names the change")


def _covered(log: Log, event: Event, explains: Callable[[Entry], bool]) -> bool:
    """Whether intents that explain a call name all that it changes: each rule, or each group of a tag."""
    intents = {group: [entry for entry in entries if explains(entry)] for group, entries in log.about(event).items()}
    rules = {rule for group_intents in intents.values() for intent in group_intents for rule in intent.rules}
    keys, ids = {rule.key for rule in rules}, {rule.id for rule in rules}
    opened = [write.key for write in event.writes] if event.name in AUTHORIZING else event.keys
    names_every_rule = keys.issuperset(opened) and all(
        rule_id in ids or log.by_id.get(rule_id) in keys for rule_id in event.rule_ids
    )
    return names_every_rule and all(intents.values())


def _led_to(intent: Entry, entry: Entry, event: Event) -> bool:
    """Whether a record tells what came of an intent of the same function and link, that SLS had before the call."""
    return (
        intent.time <= event.time + SKEW_SECONDS
        and entry.follows(intent)
        and entry.time <= intent.time + LONGEST_SECONDS + SKEW_SECONDS
        and (intent.link, intent.logstore) == (entry.link, entry.logstore)
    )


def _unfinished(question: Question, log: Log, intent: Entry, event: Event) -> bool:
    """Whether a call was made while nobody had recorded what came of an intent."""
    in_time = intent.time - SKEW_SECONDS <= event.time <= log.end(intent) + SKEW_SECONDS
    return in_time and intent.logstore in question.logs(event)


def _misjudged(
    question: Question, log: Log, context: LogContext, event: Event, recorded: Sequence[Entry]
) -> Iterator[Problem]:
    """What link-peer would not have done: a rule without our marker, without consent, or that was never ours."""
    openings, consents = context
    suspects = {entry.logstore for entry in recorded} or question.logs(event)
    adopted = any(entry.record.get("function") == "adopt" for entry in recorded)
    changed = event.name in MODIFYING
    ours = all(openings.opened(rule_id, event) for rule_id in event.rule_ids)
    if not ours and not (changed and adopted):
        yield Problem(NO_MARKER, "no record of an opening by link-peer names the rule: it may be a person's")
    # a call may change a rule without a word of its description
    for write in (event.writes or (TrailWrite(None, ""),)) if event.name in AUTHORIZING or changed else ():
        key = log.by_id.get(event.rule_ids[0]) if changed and event.rule_ids else write.key
        marker = question.marker(key, write.description)
        if not marker or not key or (changed and event.widened):
            yield Problem(NO_MARKER, "its description is not our marker of this rule")
        elif not (changed and ours) and (problem := consents.problem(key, marker, event.time, suspects)):
            yield problem


def _ours(question: Question, log: Log, event: Event) -> str:
    """What of ours someone else changed; empty if nothing."""
    policy = question.policy
    marked = {f"dep={policy.deployment}", f"home={policy.home}"}
    descriptions = [write.description for write in event.writes]
    if any(
        description.startswith("link-peer/") and marked <= set(description.split(" ")) for description in descriptions
    ):
        return "it wrote a marker of this deployment"
    if event.name not in AUTHORIZING and log.touched(event):
        return "it changed a rule of link-peer"
    managed = policy.keys.managed
    if any(tag == managed or tag.startswith(f"{managed}.") for tag, _ in event.tags):
        return "it changed the managed tag, by which a sweep finds the rules of the group"
    return ""


# what the log has


def _of_record(
    question: Question, log: Log, entry: Entry, changes: Mapping[Party, Sequence[Event]]
) -> Iterator[Mismatch]:
    """What a record says and SLS or ActionTrail does not: when it was written; the rules that an outcome says were
    changed. Without an intent and without RequestIds, it says that nothing had to be changed."""
    if entry.time < question.since:
        return
    if abs(entry.time - entry.stated_time) > LATE_SECONDS:
        detail = f"SLS received it at {iso(entry.time)}, not when it says it was written"
        yield _of_entry(question, entry, BACKDATED, detail, ())
    if (
        entry.kind != "outcome"
        or entry.record.get("outcome") not in ("applied", "removed")
        or entry.time < question.start
    ):
        return
    intent = log.intent(entry)
    expected = intent.rules if intent else entry.rules if entry.calls else ()
    read = [rule for rule in expected if rule.key.group.account in question.read]
    missing = [
        rule
        for rule in read
        if not any(_shows(log, event, entry, rule, intent) for event in changes.get(rule.key.group, ()))
    ]
    if missing or (read and _names_no_call(question, entry, intent, changes)):
        detail = "the log reports a change that ActionTrail does not have"
        yield _of_entry(question, entry, NO_CHANGE, detail, missing or read)


def _names_no_call(
    question: Question, entry: Entry, intent: Entry | None, changes: Mapping[Party, Sequence[Event]]
) -> bool:
    """Whether none of an outcome's RequestIds is that of a call on its groups since its intent. Not each need be: a
    throttled call has a RequestId, too, and ActionTrail may not have it."""
    start = intent.time - SKEW_SECONDS if intent else 0.0
    groups = entry.groups | (intent.groups if intent else frozenset())
    events = (event for group in groups for event in changes.get(group, ()))
    is_read = all(group.account in question.read for group in groups)
    return (
        is_read
        and bool(entry.calls)
        and not any(event.request_id in entry.calls and event.time >= start for event in events)
    )


def _shows(log: Log, event: Event, entry: Entry, rule: RecordedRule, intent: Entry | None) -> bool:
    """Whether an event of a rule's group is evidence of the change that an outcome reports."""
    is_named = event.request_id in entry.calls
    if not event.succeeded:  # what was gone already needed no change
        return is_named and event.error in ALREADY_GONE
    if not is_named and not (intent and intent.time - LONGEST_SECONDS <= event.time <= entry.time + SKEW_SECONDS):
        return False
    return event.name == "DeleteSecurityGroup" or log.names(event, rule)


# words


def _of(question: Question, event: Event, problem: Problem) -> Mismatch:
    finding = problem.finding
    rules = [*event.rule_ids, *map(_rule_text, event.keys), *(key for key, _ in event.tags)]
    by = f"{event.caller} from {event.address}" if event.address else event.caller
    advice = (
        f"ask {event.caller}; link-peer sweep --dry-run shows what the next sweep restores or closes, and what it does not touch"
        if finding == BY_ANOTHER
        else f"ask the owner of {' '.join(event.groups)} whom it admitted at that time, or look it up in the evidence of that month"
        if finding == UNPROVEN
        else f"find out who used the role {event.role or event.caller} and from where; if it was none of your people, revoke its "
        "permissions and undo the call by hand: a sweep leaves rules without a marker alone"
    )
    return Mismatch(
        time=iso(event.time),
        account=event.account,
        subject=f"{event.name} {' '.join(event.groups)}",
        rule=" ".join(rules),
        request_id=event.request_id,
        caller=by,
        finding=finding,
        detail=problem.detail,
        advice=advice,
        pending=problem.is_pending or event.time > question.now - LOG_SECONDS,
    )


def _of_entry(question: Question, entry: Entry, finding: str, detail: str, rules: Sequence[RecordedRule]) -> Mismatch:
    record = entry.record
    sides = " → ".join(f"{record.get(side, '')}@{record.get(f'{side}_account', '')}" for side in ("from", "to"))
    trigger = record.get("request_id") or record.get("event_id") or ""
    return Mismatch(
        time=iso(entry.time),
        account=" ".join(sorted({rule.key.group.account for rule in rules})),
        subject=f"{record.get('outcome') or entry.kind} {sides} {record.get('ports', '')}".strip(),
        rule=" ".join(rule.id or _rule_text(rule.key) for rule in rules),
        request_id=" ".join(sorted(entry.calls)),
        caller=" ".join(filter(None, [record.get("function", ""), trigger])),
        finding=finding,
        detail=detail,
        advice="see who may write to the log (log:PostLogStoreLogs): the record may be forged; link-peer links shows the rules that exist",
        pending=finding == NO_CHANGE and entry.time > question.now - TRAIL_SECONDS,
    )


def _rule_text(key: RuleKey) -> str:
    ends = " ".join(filter(None, [key.source, key.dest and f"> {key.dest}"]))  # of an egress rule: `> 10.0.0.1/32`
    return f"{ends} {ports_text((key.port,))}"
