"""The audit records of what a person's command did to the tags of groups."""

from __future__ import annotations

from collections.abc import Mapping

from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import Party
from link_peer.domain.request import Cause, Hint
from link_peer.engine.records import observed_record, tags_text
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.ports import Record
from link_peer.runtime.retry import Retry

from link_peer_cli.access.environment import Environment
from link_peer_cli.consent.group_tags import GroupTags

Tags = Mapping[Party, Mapping[str, str]]


def record_tags(env: Environment, tags: GroupTags, command: str, before: Tags, *, patient: bool = True) -> str:
    """Record each call that changed tags, after the change, for each group: what it set, and what was there `before`, as it
    was read. One attempt, unless `patient`. Returns why the log has no record of it; empty if it has."""
    event_id, now = f"{command}-cli-{int(env.clock.now())}", dict(before)
    records: list[Record] = []
    for call in tags.made:
        for group in call.groups:
            was = now.get(group, {})
            now[group] = {key: value for key, value in {**was, **call.tags}.items() if value is not None}
            cause = Cause(tags.caller, call.name, call.request_id, tuple(call.tags.items()))
            record = observed_record(Hint(event_id, group, "tags", cause=cause), now[group], env.policy.keys)
            records.append({**record, "old_tags": tags_text((key, was.get(key)) for key in call.tags)})
    common = {"function": command, "deployment": env.policy.deployment, "region": env.settings.region}
    retry = env.patient_retry() if patient else Retry(env.clock, env.clock.now())
    try:
        AuditWriter(env.log(), {**common, "claimed_by": tags.caller}, retry).write(records)
    except LinkPeerError as error:
        return str(error)
    return ""
