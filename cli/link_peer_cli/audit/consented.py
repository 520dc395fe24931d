"""Who wrote the tag by which a group consents, as the observed records tell; whether ActionTrail has that call of
theirs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from link_peer.domain.errors import LinkPeerError
from link_peer.domain.tags import split
from link_peer.inbound.events import principal
from link_peer.runtime.ports import Record
from link_peer.views.standing import Standing

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.log import KEPT_SECONDS, AuditReader, condition, when
from link_peer_cli.audit.trail import Trail
from link_peer_cli.audit.trail_events import event_of
from link_peer_cli.audit.trail_records import tags_in
from link_peer_cli.ui.remedies import message

POLICY, UNKNOWN = "the policy file", "unknown"
RECORDED, SAID, PROVEN = "recorded", "as the event says", "proven"
"""How something is known: by a record of its writer, by an event that anybody may have sent, or by ActionTrail."""

LATE_SECONDS = 3600.0  # an event may be delivered, and so recorded, this long after the call


def consented_by(env: Environment, links: Iterable[Standing], *, prove: bool) -> tuple[dict[str, str], str]:
    """Who wrote each entry that consents to a link, as far as the log could be read; why it could not, if so. `prove`:
    ask ActionTrail. An author who is not proven comes from the event alone, and anyone who may put events on the bus
    can write one."""
    labels = sorted({label for link in links for label in link.consent})
    authors = dict.fromkeys((label for label in labels if label.startswith("policy ")), POLICY)
    tagged = [label for label in labels if label not in authors]
    groups = {label.partition("@")[0] for label in tagged}
    try:
        log, since = AuditReader(env.settings, env.clock, env.keys), env.now - KEPT_SECONDS
        records = log.read_any(condition({"record": "observed"}), "to", groups, since)
    except LinkPeerError as error:
        return authors, f"who consented is not known: {message(error)}"
    records = sorted(records, key=lambda record: record.get("received", ""))[::-1]
    return {**authors, **{label: _author(env, label, records, prove=prove) for label in tagged}}, ""


def _author(env: Environment, label: str, records: Sequence[Record], *, prove: bool) -> str:
    """Who set the tag of an entry last, `<group> <key>=<entry>`, if that gave it the entry."""
    group, _, entry = label.partition(" ")
    key, _, text = entry.partition("=")
    for record in (record for record in records if f"{record.get('to')}@{record.get('to_account')}" == group):
        tags = tags_in(record.get("event_tags", "")) or {}
        if key in tags:
            if text not in split(tags[key] or ""):
                return UNKNOWN
            return f"{record.get('actor')} ({evidence(env, record, key, text, prove=prove)})"
    return UNKNOWN


def evidence(env: Environment, record: Record, key: str = "", text: str = "", *, prove: bool = True) -> str:
    """How a change of a group's tags is known; `prove`: ActionTrail is asked, with a key about that entry too."""
    if prove and _is_proven(env, record, key, text):
        return PROVEN
    return RECORDED if record.get("old_tags") else SAID


def _is_proven(env: Environment, record: Record, key: str = "", text: str = "") -> bool:
    """Whether ActionTrail has the call that a record names, on that group, by that principal; with a key, with that
    entry too."""
    account, call = record["to_account"], record.get("event_call", "")
    try:
        event_time = when(record)
        raw_events = Trail(env).events(
            account, call, event_time - LATE_SECONDS, min(event_time + LATE_SECONDS, env.now)
        )
        events = [(raw, event_of(account, raw, env.settings.region)) for raw in raw_events]
    except LinkPeerError:
        return False
    return any(
        event
        and (event.succeeded, event.request_id) == (True, record.get("event_request"))
        and record.get("to") in event.groups
        and (not key or text in split(dict(event.tags).get(key) or ""))
        for raw, event in events
        if principal(raw.get("userIdentity")) == record.get("actor")
    )
