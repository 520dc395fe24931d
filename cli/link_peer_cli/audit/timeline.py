"""The timeline of one link: beside the decisions about it, what changed consent at its groups, and who changed its
rules by hand; each with how it is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Party
from link_peer.domain.tags import accepts, egress_accepts, iso_millis, split
from link_peer.planning.consent import names
from link_peer.runtime.ports import Record

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.consented import PROVEN, RECORDED, evidence
from link_peer_cli.audit.log import AuditReader, condition, when
from link_peer_cli.audit.story import Story, ends_of
from link_peer_cli.audit.trail import Trail, trail_start
from link_peer_cli.audit.trail_events import MODIFYING, REVOKING, Event, event_of
from link_peer_cli.audit.trail_records import rules_in, tags_in
from link_peer_cli.audit.undo import Owned, depends_on_standing, undo
from link_peer_cli.ui.remedies import message

Claims = Callable[[Iterable[Party]], list[Owned]]
"""Reads the claims on the rules that stand now at the groups of these parties."""


def timeline(env: Environment, log: AuditReader, story: Story, since: float, claims_of: Claims) -> tuple[Story, str]:
    """The story with all that is known, oldest first, each record with `evidence` and, where it can be taken back,
    `undo`; and why ActionTrail could not be read, empty if it was. `since` is in epoch seconds."""
    groups = _groups(story.records)
    observed = log.read_any(condition({"record": "observed"}), "to", {group.id for group in groups}, since)
    parties = {*groups, *(end for record in story.records for end in ends_of(record) if end.id)}
    concerning = [record for record in observed if ends_of(record)[1] in groups and _concerns(env, record, parties)]
    records = [{**record, "evidence": RECORDED} for record in story.records]
    records += [{**record, "evidence": evidence(env, record)} for record in _without_copies(concerning)]
    try:
        records += _by_hand(env, story.records, groups, since)
        problem = ""
    except LinkPeerError as error:
        problem = f"who changed its rules by hand is not known: {message(error)}"
    ordered = sorted(records, key=lambda record: record.get("time", ""))
    return msgspec.structs.replace(story, records=_with_undo(env, ordered, claims_of)), problem


def _groups(records: Iterable[Record]) -> set[Party]:
    """The groups of a link: those that it names, and those that its rules are on."""
    ends = {end for record in records for end in ends_of(record) if end.is_group}
    return ends | {rule.key.group for record in records for rule in rules_in(record.get("rules", ""))}


def _concerns(env: Environment, record: Record, parties: Iterable[Party]) -> bool:
    """Whether a change of a group's tags may have changed what is consented to between these parties: it locks,
    refuses, or is about an entry that names one of them."""
    keys, group = env.policy.keys, ends_of(record)[1]
    before, after = (tags_in(record.get(name, "")) for name in ("old_tags", "event_tags"))
    after = after or {}
    removed_keys = {key for key, value in after.items() if value is None and before is None}
    if any(keys.forbids(key) or key in keys.sets for key in after) or removed_keys & {*keys.consenting}:
        return True
    changed = {key: _changed((before or {}).get(key), value) for key, value in after.items() if key in keys.consenting}
    entries = [entry for read in (accepts, egress_accepts) for entry in read(changed, group.account, keys)]
    return any(names(entry.party, party) for entry in entries for party in parties)


def _changed(before: str | None, after: str | None) -> str:
    """The entries that one of two values of a tag has, and the other has not."""
    entries_before, entries_after = split(before or ""), split(after or "")
    return ",".join(
        text for text in (*entries_before, *entries_after) if (text in entries_before) != (text in entries_after)
    )


def _without_copies(records: Iterable[Record]) -> list[Record]:
    """One record a call and group: that of the person's command, which knows the old values, before that of the
    event."""
    calls = grouped(
        ((record.get("event_request") or record.get("key", ""), record.get("to", "")), record) for record in records
    )
    return [next((record for record in copies if record.get("old_tags")), copies[0]) for copies in calls.values()]


def _by_hand(env: Environment, records: Sequence[Record], groups: Iterable[Party], since: float) -> list[Record]:
    """A record of each call that removed or changed rules of the link, and of which no record tells. Raises
    LinkPeerError if ActionTrail cannot be read."""
    rules = [(rule, record) for record in records for rule in rules_in(record.get("rules", ""))]
    links = {name: record for rule, record in rules for name in (rule.id, rule.key) if name}  # calls have either
    calls = {call for record in records for call in record.get("api_requests", "").split(",")}
    trail = Trail(env)
    start = max(since, trail_start(env.now), min((when(record) for record in records), default=since))
    events = (
        event_of(account, raw, env.settings.region)
        for account in sorted({group.account for group in groups})
        for name in sorted(REVOKING | MODIFYING)
        for raw in trail.events(account, name, start, env.now)
    )
    changes = (event for event in events if event and event.succeeded and event.request_id not in calls)
    return [
        _trail_record(event, name if isinstance(name, str) else name.traffic_text, links[name])
        for event in changes
        for name in dict.fromkeys((*event.rule_ids, *event.keys))
        if name in links
    ]


def _trail_record(event: Event, rule: str, record: Mapping[str, str]) -> Record:
    """What ActionTrail says of one rule, in the form of a record about its link."""
    verb = "deleted" if event.name in REVOKING else "changed"
    place = f"{event.groups[0]}@{event.account}" if event.groups else event.account
    link = {
        name: record[name] for name in ("link", "from", "from_account", "to", "to_account", "ports") if name in record
    }
    return {
        "time": iso_millis(event.time),
        "record": "trail",
        **link,
        "actor": event.caller,
        "detail": f"rule {rule} on {place} was {verb} by hand ({event.name}, from {event.address})",
        "api_requests": event.request_id,
        "evidence": PROVEN,
    }


def _with_undo(env: Environment, records: Sequence[Record], claims_of: Claims) -> list[Record]:
    """Each act's commands are those of all its records, and stand at its last one."""
    acts = grouped((_act(record), number) for number, record in enumerate(records))
    ends = {end for record in records if depends_on_standing(record) for end in ends_of(record)}
    standing = claims_of(ends) if ends else []
    taken_back = {
        numbers[-1]: undo([records[number] for number in numbers], env.policy.keys, env.now, standing)
        for numbers in acts.values()
    }
    return [
        {**record, "undo": "\n".join(taken_back[number])} if taken_back.get(number) else record
        for number, record in enumerate(records)
    ]


def _act(record: Record) -> tuple[str, ...]:
    """What was done by one delivery or command."""
    return tuple(record.get(name, "") for name in ("function", "event_id", "request_id", "actor"))
