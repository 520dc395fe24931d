"""What a dry run would change, by group, and what a sweep found out besides."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from link_peer.domain import marker as markers
from link_peer.domain.model import Instance, Party, Rule, RuleKey
from link_peer.domain.record_fields import DECISION_FIELDS
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.read.fetch import open_fetch
from link_peer.engine.records import Circumstances, decision_record
from link_peer.engine.scopes.accounts import SweptAccounts
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Record
from link_peer.views.reach import Scene

from link_peer_cli.ui.looked import note_unread


class RuleEdit(msgspec.Struct, frozen=True):
    """A rule that would be added `+`, changed `~` (its claims or priority) or removed `-`. `of` is the instance for
    whose address it is, as part of a link between groups."""

    sign: str
    key: RuleKey
    of: Party | None = None


class GroupChange(msgspec.Struct, frozen=True):
    """What would change in one group."""

    group: Party
    edits: tuple[RuleEdit, ...]
    tags: tuple[tuple[str, str], ...] = ()  # signs and keys of managed tags
    # its members, all of whom a change concerns; None if they could not be read
    instances: tuple[Instance, ...] | None = ()


def net(before: Iterable[Rule], after: Iterable[Rule]) -> list[RuleEdit]:
    """Compare a group's rules by their ids: what was removed first, then changed, then added."""
    old, new = {rule.id: rule for rule in before}, {rule.id: rule for rule in after}
    removed = [("-", rule) for id_, rule in old.items() if id_ not in new]
    changed = [("~", new[id_]) for id_, rule in old.items() if id_ in new and new[id_] != rule]
    added = [("+", rule) for id_, rule in new.items() if id_ not in old]
    return [RuleEdit(sign, rule.key, _member(rule)) for sign, rule in (*removed, *changed, *added) if rule.key]


def _member(rule: Rule) -> Party | None:
    marker = markers.parse(rule.description)
    return marker.ends[0] if marker and marker.ends and marker.ends[1].is_group else None


def with_instances(delivery: Delivery, changes: Sequence[GroupChange]) -> list[GroupChange]:
    """Read the members of each group whose rules would change."""
    fetch = open_fetch(delivery, "plan", TOLERANT)
    fetch.members({change.group for change in changes if change.edits})
    return members_of(fetch.store.snapshot(), changes)


def members_of(snapshot: Snapshot, changes: Sequence[GroupChange]) -> list[GroupChange]:
    """The changes, with the members of each group whose rules would change, as far as they were read."""
    scene = Scene(snapshot)

    def members(group: Party) -> tuple[Instance, ...] | None:
        instances = sorted(scene.members(group), key=lambda instance: instance.party)
        return tuple(instances) if scene.complete(group) else None

    return [
        msgspec.structs.replace(change, instances=members(change.group)) if change.edits else change
        for change in changes
    ]


def reasons(records: Iterable[Record]) -> Mapping[RuleFields, Record]:
    """The newest record that names each rule."""
    records_by_rule: dict[RuleFields, Record] = {}
    for record in records:
        for rule in json.loads(record.get("rules") or "[]"):
            records_by_rule[
                tuple(rule[name] for name in ("account", "group", "source", "dest", "protocol", "ports"))
            ] = record
    return records_by_rule


RuleFields = tuple[str, ...]
"""account, group, source, dest, protocol, ports: as records name a rule."""


def fields_of(key: RuleKey) -> RuleFields:
    """The fields by which records name a rule."""
    return (key.group.account, key.group.id, key.source, key.dest, key.port.protocol, key.port.range)


def gaps_of(swept: SweptAccounts) -> dict[str, str]:
    """Return why each account (by uid) could not be read, and how many groups the sweep had no time to read."""
    note_unread(swept.unreadable)
    groups = {
        f"{count} groups of {account}": "there was no time to read them" for account, count in swept.unread.items()
    }
    return dict(sorted({**swept.unreadable, **groups}.items()))


def denied_records(swept: SweptAccounts, recorded: Iterable[Record]) -> list[Record]:
    """Return the wishes that stay denied, as records: the sweep itself only counts them. Those that are among the
    records already are left out."""
    region = swept.delivery.region
    recorded_links = {record.get("link") for record in recorded if record.get("outcome") in ("denied", "failed")}
    records = [
        {**decision_record(decision, region, "outcome"), **circumstances.effect(decision)}
        for sweep in swept.sweeps
        for circumstances in [Circumstances(sweep.work.fetch)]
        for decision in sweep.denied.values()
    ]
    return [
        {**DECISION_FIELDS, **{name: value for name, value in record.items() if value}}
        for record in records
        if record["link"] not in recorded_links
    ]
