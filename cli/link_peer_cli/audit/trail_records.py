"""Audit records as `audit --verify` joins them: which rules an intent or outcome names, and which calls. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

import msgspec
from link_peer.domain.errors import BadInput
from link_peer.domain.model import Party, Port, RuleKey
from link_peer.domain.tags import parse_instant
from link_peer.runtime.ports import Record

_RANGE = re.compile(r"(-?[0-9]{1,5})/(-?[0-9]{1,5})", re.ASCII)


class Named(msgspec.Struct, frozen=True):
    """A rule as a record names it; without an id if it was not made yet."""

    key: RuleKey
    id: str


class Entry(msgspec.Struct, frozen=True):
    """One record. `calls` are the RequestIds it has; `tagged` are groups whose managed tag it names."""

    record: Record
    time: float
    rules: tuple[Named, ...]
    calls: frozenset[str]
    tagged: frozenset[Party]

    @property
    def kind(self) -> str:
        """`intent`, `outcome`, `attempt` or `summary`."""
        return self.record.get("record", "")

    @property
    def link(self) -> tuple[str, str]:
        """What an intent and what comes of it have in common at least: the function and the link."""
        return self.record.get("function", ""), self.record.get("link", "")

    @property
    def decision(self) -> tuple[str, ...]:
        """The function, the link and the trigger."""
        return (*self.link, *(self.record.get(name, "") for name in ("event_id", "request_id")))

    @property
    def groups(self) -> frozenset[Party]:
        """The groups whose rules or managed tag it names."""
        return self.tagged | {rule.key.group for rule in self.rules}


def entries(records: Iterable[Record], region: str) -> list[Entry]:
    """The records of a region in order of time, copies of one write once. One without a readable time is left out: no
    function writes such."""
    whole = {(record.get("key") or str(record)): record for record in records if record.get("region") == region}
    return sorted((entry for record in whole.values() for entry in _entry(record)), key=lambda entry: entry.time)


def _entry(record: Record) -> Iterator[Entry]:
    try:
        time = parse_instant(record.get("time", ""))
    except BadInput:
        return
    calls = frozenset(filter(None, record.get("api_requests", "").split(",")))
    yield Entry(record, time, tuple(_rules(record.get("rules", ""))), calls, frozenset(_tagged(record)))


def _rules(text: str) -> Iterator[Named]:
    """The rules of a record. What is not of their form is left out, so that it proves nothing."""
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return
    for rule in found if isinstance(found, list) else ():
        fields = {str(name): str(value) for name, value in rule.items()} if isinstance(rule, dict) else {}
        if ports := _RANGE.fullmatch(fields.get("ports", "")):
            port = Port(fields.get("protocol", ""), int(ports[1]), int(ports[2]))
            group = Party(fields.get("account", ""), fields.get("group", ""))
            yield Named(
                RuleKey(group, fields.get("source", ""), fields.get("dest", ""), port), fields.get("rule_id", "")
            )


def _tagged(record: Record) -> Iterator[Party]:
    for text in filter(None, record.get("tagged", "").split(",")):
        name, _, account = text.partition("@")
        yield Party(account, name)
    if record.get("record") == "intent" and record.get("action") == "repair" and not record.get("link"):
        yield Party(record.get("from_account", ""), record.get("from", ""))  # the tag of a group without rules of ours
