"""The evidence of a period, for an auditor: what was opened, closed and denied, who consented, what stood, and what
does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone

import msgspec
from link_peer.domain.denials import FORBIDDEN
from link_peer.domain.tags import TagKeys, iso, iso_millis, parse_instant, split
from link_peer.runtime.ports import Record

from link_peer_cli.access.environment import Environment
from link_peer_cli.answers.operation import Mismatch
from link_peer_cli.audit.at import read_outcomes, standing_at
from link_peer_cli.audit.elsewhere import HasFunctions
from link_peer_cli.audit.log import KEPT_SECONDS, AuditReader, condition, once
from link_peer_cli.audit.revoked import revoked_rules
from link_peer_cli.audit.trail import keeps, trail_start
from link_peer_cli.audit.trail_consent import UNPROVEN
from link_peer_cli.audit.trail_records import rules_in, tags_in
from link_peer_cli.audit.verify import exit_of, in_regions
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.records import actor, asker

Row = Record
"""A row of the evidence: the columns by their names."""
COLUMNS = (
    *(
        "section",
        "time",
        "from_account",
        "from",
        "to_account",
        "to",
        "ports",
        "actor",
        "asked_by",
        "claimed_reason",
        "reason",
        "detail",
    ),
    *("consent", "since", "until", "link", "rules", "api_requests", "function", "logstore", "received", "key"),
)
SECTIONS = {
    "opened": "Links that were opened, or given another claim",
    "closed": "Links that were closed, or lost a claim",
    "denied": "Denied or failed",
    "guardrail": "Refused by a guardrail",
    "consented": "Consent given",
    "withdrawn": "Consent withdrawn",
    "forbidden": "Groups locked, and peers refused",
    "released": "Locks and refusals taken off",
    "revoked": "Rules of people that were removed, and the links that tighten proposed in their place",
    "stood": "Links that stood at the end of a month, or of the period",
    "exception": "Exceptions: where the log and ActionTrail do not agree",
}
"""What stands under each heading, by the word in the column `section`."""
OUTCOMES = {"applied": "opened", "removed": "closed", "denied": "denied", "failed": "denied"}
UNKNOWN_BEFORE = "the whole tag: what it held before is not in the log"


class Evidence(msgspec.Struct, frozen=True):
    """The rows by section, those of a section by time. `moments` are the instants of which the links are listed;
    `exit`: how the command ends that finds these exceptions. `unread`: the regions whose ActionTrail was not read, or
    why they are not known."""

    rows: list[Row]
    moments: list[float]
    exit: Exit
    unread: str


def month_ends(since: float, until: float) -> list[float]:
    """The ends of months (UTC) in a period, and its own, in epoch seconds."""
    day, ends = (
        datetime.fromtimestamp(since, timezone.utc).replace(day=1, hour=0, minute=0, second=0, microsecond=0),
        [],
    )
    while (day := (day + timedelta(days=32)).replace(day=1)).timestamp() < until:
        ends.append(day.timestamp())
    return [*ends, until]


def gather(env: Environment, since: float, until: float, has_functions: HasFunctions | None) -> Evidence:
    """The evidence of a period (epoch seconds). Raises LinkPeerError if the log cannot be read; what ActionTrail does
    not tell is an exception. With `has_functions`, calls in other regions count, too."""
    log, ours = AuditReader(env.settings, env.clock, env.keys), condition({"deployment": env.policy.deployment})
    kinds = " or ".join(condition({"record": kind}) for kind in ("outcome", "summary", "observed"))
    records = once(log.read(f"{ours} and ({kinds})", since, until))
    moments = month_ends(since, until)
    outcomes = [
        outcome
        for outcome in read_outcomes(log, moments[0], moments[-1])
        if outcome.get("deployment") == env.policy.deployment
    ]
    observed = [record for record in records if record["record"] == "observed"]
    groups = sorted({record["to"] for record in observed if record.get("to")})
    query = f"{ours} and {condition({'record': 'observed'})}"
    group_history = [
        record
        for record in log.read_any(query, "to", groups, since - KEPT_SECONDS)
        if record["time"] <= iso_millis(until)
    ]
    unfit, unread = exceptions(env, since, until, has_functions)
    rows = [
        *decisions(records),
        *consents(once(group_history), env.policy.keys, since),
        *(row for moment in moments for row in _stood(outcomes, moment)),
        *(
            {**dict.fromkeys(COLUMNS, ""), **fields, "section": "revoked"}
            for fields in revoked_rules(env, outcomes, since, until)
        ),
        *map(_exception, unfit),
    ]
    order = list(SECTIONS)
    rows.sort(key=lambda row: (order.index(row["section"]), row["time"]))
    return Evidence(rows, moments, exit_of(unfit), unread)


def decisions(records: Iterable[Record]) -> Iterator[Row]:
    """What was opened, closed, denied, or refused by a guardrail: an entry of `never`, or the limit of removals in one
    sweep."""
    for record in records:
        section = OUTCOMES.get(record.get("outcome", "")) if record["record"] == "outcome" else None
        if section == "denied" and FORBIDDEN in record.get("detail", ""):
            section = "guardrail"
        if record["record"] == "summary" and record.get("held", "0") != "0":
            section = "guardrail"
        if section and (section != "opened" or record.get("api_requests")):
            yield _row(section, record)


def consents(records: Iterable[Record], keys: TagKeys, since: float) -> Iterator[Row]:
    """The entries that each call put on the tags of a group by which it consents, refuses or is locked, and those that
    it took off, from an instant on (epoch seconds). What a tag held before is what the call before it left, unless the
    record itself says it. The records of a command and of its event are one call."""
    calls: dict[tuple[str, ...], Record] = {}
    for record in records:
        about = (
            record.get("to_account", ""),
            record.get("to", ""),
            record.get("event_request") or record.get("key", ""),
        )
        if about not in calls or "old_tags" in record:
            calls[about] = record
    last_entries: dict[tuple[str, ...], list[str]] = {}
    for (account, group, _), record in calls.items():
        tags, old = tags_in(record.get("event_tags", "")) or {}, tags_in(record.get("old_tags", ""))
        for key in [key for key in keys.consenting if key in tags] + sorted(filter(keys.forbids, tags)):
            entries_of, sections = (_entries, ("consented", "withdrawn"))
            if keys.forbids(key):  # whatever its value
                entries_of, sections = _whole, ("forbidden", "released")
            before = last_entries.get((account, group, key)) if old is None else entries_of(old.get(key))
            after = last_entries[account, group, key] = entries_of(tags[key])
            added = [entry for entry in after if entry not in (before or ())]
            removed = (
                [entry for entry in before if entry not in after]
                if before is not None
                else [UNKNOWN_BEFORE] * (not after)
            )
            for section, entries in zip(sections, (added, removed), strict=True):
                if entries and record["time"] >= iso_millis(since):
                    extra_fields = {
                        "detail": f"{key}={' '.join(entries)}",
                        "api_requests": record.get("event_request", ""),
                    }
                    yield {**_row(section, record), **extra_fields, "asked_by": record.get("event_call", "")}


def _entries(value: str | None) -> list[str]:
    return split(value or "")


def _whole(value: str | None) -> list[str]:
    return [] if value is None else [value]


def exceptions(
    env: Environment, since: float, until: float, has_functions: HasFunctions | None
) -> tuple[list[Mismatch], str]:
    """What `audit --verify` finds in a period, and the part of it of which ActionTrail has no events any more; and the
    regions that were not read."""
    first, unread = trail_start(env.now), ""
    differences: list[Mismatch] = []
    if first < until:
        differences, _, unread = in_regions(env, max(since, first), has_functions, quiet=True)
    # what could not be read is about no call: it is so of the whole period, and has the time of this reading
    differences = [
        each
        for each in differences
        if (each.finding == UNPROVEN and not each.request_id) or parse_instant(each.time) <= until
    ]
    if not keeps(since, env.now):
        period = f"{iso(since)} to {iso(min(first, until))}"
        reason = f"{period} is not compared, so it is unproven: ActionTrail keeps events for 90 days"
        advice = "export the evidence of each month within 90 days"
        leading_fields = (iso(since), env.policy.home, "ActionTrail", "", "", "", UNPROVEN)
        differences.append(Mismatch(*leading_fields, reason, advice, pending=False))
    return differences, unread


def _row(section: str, record: Record) -> Row:
    rules = " ".join(rule.id for rule in rules_in(record.get("rules", "")))
    fields = {"section": section, "actor": actor(record), "asked_by": asker(record), "rules": rules}
    return {**{name: record.get(name, "") for name in COLUMNS}, **fields}


def _stood(outcomes: Sequence[Record], moment: float) -> Iterator[Row]:
    earlier_outcomes = [outcome for outcome in outcomes if outcome["time"] <= iso_millis(moment)]
    for link, records in standing_at(earlier_outcomes, moment):
        newest = max(records, key=lambda record: record["time"])
        yield {
            **_row("stood", newest),
            "time": iso(moment),
            "ports": link.ports,
            "since": link.since,
            "until": link.until,
            "reason": "",
            "asked_by": "; ".join(link.asked_by),
            "detail": ": ".join(filter(None, [link.state, link.state_detail])),
            "consent": "; ".join(link.consent),
            "rules": " ".join(rule.rule_id for rule in link.rules),
            "key": " ".join(dict.fromkeys(record.get("key", "") for record in records)),
        }


def _exception(mismatch: Mismatch) -> Row:
    fields = {"section": "exception", "time": mismatch.time, "from_account": mismatch.account, "actor": mismatch.caller}
    detail = f"{mismatch.subject}: {mismatch.detail}{' (pending)' if mismatch.pending else ''}"
    finding_fields = {
        "reason": mismatch.finding,
        "detail": detail,
        "rules": mismatch.rule,
        "api_requests": mismatch.request_id,
    }
    return {**dict.fromkeys(COLUMNS, ""), **fields, **finding_fields}
