"""Audit records as `audit --verify` joins them: which rules an intent or outcome names, and which calls. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec
from link_peer.domain.errors import BadInput
from link_peer.domain.model import Party, Port, RuleKey
from link_peer.domain.tags import parse_instant
from link_peer.runtime.ports import Record

from link_peer_cli.audit.log import when
from link_peer_cli.audit.received import EXACT_SECONDS
from link_peer_cli.audit.trail_events import parsed

_RANGE = re.compile(r"(-?[0-9]{1,5})/(-?[0-9]{1,5})", re.ASCII)


class RecordedRule(msgspec.Struct, frozen=True):
    """A rule as a record names it; without an id if it was not made yet."""

    key: RuleKey
    id: str


class Entry(msgspec.Struct, frozen=True):
    """One record of the log."""

    record: Record
    time: float  # when SLS received it, which its writer does not choose; where SLS does not say, `stated_time`
    stated_time: float  # what the record says
    rules: tuple[RecordedRule, ...]
    calls: frozenset[str]  # the RequestIds in it
    tagged: frozenset[Party]  # groups whose managed tag it names

    @property
    def kind(self) -> str:
        """`intent`, `outcome`, `attempt` or `summary`."""
        return self.record.get("record", "")

    @property
    def logstore(self) -> str:
        """Where it was written: who may write there is the witness."""
        return self.record.get("logstore", "")

    @property
    def link(self) -> tuple[str, str]:
        """What an intent and what comes of it have in common at least: the function and the link."""
        return self.record.get("function", ""), self.record.get("link", "")

    @property
    def decision(self) -> tuple[str, ...]:
        """The function, the link and the trigger."""
        return (*self.link, *(self.record.get(name, "") for name in ("event_id", "request_id")))

    def follows(self, entry: Entry) -> bool:
        """Whether SLS may have received it after another one. Within EXACT_SECONDS, in which their times may be out of
        order, what they say themselves decides."""
        return self.time >= entry.time or (
            self.time >= entry.time - EXACT_SECONDS and self.stated_time >= entry.stated_time
        )

    @property
    def observed_group(self) -> Party:
        """The group whose tags it tells, where it was observed."""
        return Party(self.record.get("to_account", ""), self.record.get("to", ""))

    @property
    def groups(self) -> frozenset[Party]:
        """The groups whose rules or managed tag it names."""
        return self.tagged | {rule.key.group for rule in self.rules}


def entries(records: Iterable[Record], region: str) -> list[Entry]:
    """The records of a region in order of time, equal ones once, as they came first. One without a readable time is
    left out: no function writes such."""
    region_entries = (entry for record in records if record.get("region") == region for entry in _entry(record))
    whole: dict[str, Entry] = {}
    for entry in sorted(region_entries, key=lambda entry: (entry.time, entry.stated_time)):
        whole.setdefault(str({**entry.record, "received": ""}), entry)
    return list(whole.values())


def _entry(record: Record) -> Iterator[Entry]:
    try:
        claimed_time = parse_instant(record.get("time", ""))
        time = when(record)
    except BadInput:
        return
    calls = frozenset(filter(None, record.get("api_requests", "").split(",")))
    yield Entry(record, time, claimed_time, tuple(rules_in(record.get("rules", ""))), calls, frozenset(_tagged(record)))


def rules_in(text: str) -> Iterator[RecordedRule]:
    """The rules of a record. What is not of their form is left out, so that it proves nothing."""
    document = parsed(text)
    for rule in document if isinstance(document, list) else ():
        fields = {str(name): str(value) for name, value in rule.items()} if isinstance(rule, dict) else {}
        if ports := _RANGE.fullmatch(fields.get("ports", "")):
            port = Port(fields.get("protocol", ""), int(ports[1]), int(ports[2]))
            group = Party(fields.get("account", ""), fields.get("group", ""))
            yield RecordedRule(
                RuleKey(group, fields.get("source", ""), fields.get("dest", ""), port), fields.get("rule_id", "")
            )


def tags_in(text: str) -> dict[str, str | None] | None:
    """Tags as a record has them: null for one that was taken off. None for what is no object."""
    document = parsed(text)
    if not isinstance(document, dict):
        return None
    return {key: value if value is None else str(value) for key, value in document.items()}


def _tagged(record: Record) -> Iterator[Party]:
    for text in filter(None, record.get("tagged", "").split(",")):
        name, _, account = text.partition("@")
        yield Party(account, name)
    if record.get("record") == "intent" and record.get("action") == "repair" and not record.get("link"):
        yield Party(record.get("from_account", ""), record.get("from", ""))  # the tag of a group without rules of ours
