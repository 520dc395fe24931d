"""The audit log: one flat record a decision, durable in SLS before anything changes.

The functions write it and never read it; what they know of the past stands on the rules.
"""

from __future__ import annotations

import contextlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from link_peer.domain.errors import Transient
from link_peer.domain.model import Link, Party, Rule, RuleKey, ports_text, short_hash
from link_peer.planning.decision import Decision
from link_peer.runtime.clock import Clock, iso
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Settings

Record = dict[str, str]

# Every record of a decision has every field of docs/audit.md, so that a reader need not ask which are there.
DECISION = {
    **dict.fromkeys(("reason", "detail", "advice", "link", "from_account", "from", "to_account", "to", "ports"), ""),
    **dict.fromkeys(("api_requests", "claimed_by", "consent"), ""),
    "rules": "[]",
    "reachability": "unknown",
}

WRITE_BYTES, WRITE_RECORDS = 3_000_000, 4_000  # of one call: 10 MB at most [doc PutLogs], most of it names and escapes

FIELD_LIMIT = 8_000  # characters; SLS indexes no more of a value than 2 KB by default, and a line is capped at 32 KB


class Audit(Protocol):
    """Where records go."""

    def write(self, records: Sequence[Record]) -> None:
        """Returns once the records are durable. Raises Transient when they may not be."""
        ...


def clean(value: object, limit: int | None = FIELD_LIMIT) -> str:
    """A value as a record carries it: a string, in which nothing can break a line, turn the text round or hide in it."""
    text = str(value)[:limit]
    return "".join(
        f"\\u{ord(c):04x}" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else c for c in text
    )


def rules_text(rules: Iterable[tuple[RuleKey, str]]) -> str:
    """Rules, each with its id where it has one, as JSON: account, group, source, dest, protocol, ports, rule_id."""
    shown = [
        {
            "account": key.group.account,
            "group": key.group.id,
            "source": key.source,
            "dest": key.dest,
            "protocol": key.port.protocol,
            "ports": key.port.range,
            "rule_id": rule_id,
        }
        for key, rule_id in rules
    ]
    return json.dumps(shown, separators=(",", ":"))


class Scribe:
    """Writes the records of one delivery: what is the same in all of them stands here."""

    def __init__(
        self, audit: Audit, common: Mapping[str, str], retry: Retry, events: Mapping[str, str] | None = None
    ) -> None:
        """`events` says which event brought which instance (`i-…@<uid>`), where one delivery has several."""
        self._audit = audit
        self._common = dict(common)
        self._retry = retry
        self._events = events or {}
        self.outcomes: Counter[str] = Counter()

    def write(self, records: Sequence[Record]) -> None:
        """Writes the records, if there are any; again if that fails, since what has been done can't be told later.
        Raises Transient."""
        if records:
            whole = [self._whole(record) for record in records]
            self._retry(lambda: self._audit.write(whole))
            self.outcomes.update(record["outcome"] for record in records if record["record"] == "outcome")

    def attempt(self, trouble: Transient, fields: Record) -> None:
        """An `attempt` record of trouble that makes the delivery come again, where the log can still be written."""
        if trouble.recorded:
            return
        with contextlib.suppress(Transient):
            self.write([{"record": "attempt", **fields, "detail": str(trouble)}])
            trouble.recorded = True

    def _whole(self, record: Record) -> Record:
        fields = {} if record["record"] == "summary" else DECISION
        given = {name: value for name, value in record.items() if value != ""}
        whole = {"time": iso(self._retry.clock.now()), **fields, **self._common, **given}
        if event := self._events.get(whole.get("instance", "")):
            whole["event_id"] = event
        body = whole.pop("body", "")
        # each delivery of a message from the queue is another event: a request is told by its id and its body
        event_id = "" if body and "request_id" in whole else whole.get("event_id", "")
        told = (event_id, whole.get("request_id", ""), body)
        same = "|".join([*told, *(whole.get(k, "") for k in ("record", "link", "outcome", "reason", "ports"))])
        # `rules` is ours alone, and JSON: cut, it would be none
        cut = {name: clean(value, None if name == "rules" else FIELD_LIMIT) for name, value in whole.items()}
        return {**cut, "key": short_hash(same)}


def link_fields(link: Link, region: str, raw: str = "") -> Record:
    """The fields that name a link. `raw` is a peer that could not be read, as it was written."""
    fields = {
        "from_account": link.source.account,
        "from": link.source.id,
        "to_account": link.target.account,
        "to": link.target.id or raw,
        "ports": ports_text(link.ports),
    }
    if not raw:
        fields["link"] = link.id(region)
    else:
        fields["link"] = short_hash(f"{region}|{link.source.account}/{link.source.id}|{raw}")
        fields["ports"] = ""
    return fields


def decision_record(
    decision: Decision, region: str, record: str, *, rules: Iterable[Rule] = (), api_requests: Sequence[str] = ()
) -> Record:
    """An `intent`, `attempt` or `outcome` of one decision. An intent names what will change: rules, and groups that get
    the tag by which a sweep finds them."""
    verdict = decision.verdict
    named = [(rule.key, rule.id) for rule in rules if rule.key]
    tagged = ""
    if record == "intent":
        tagged = ",".join(map(str, decision.untagged))
        named = [(edit.key, edit.rule.id if edit.rule else "") for edit in decision.edits]
    fields = {
        "record": record,
        "action": decision.action,
        **link_fields(decision.link, region, decision.raw),
        "reason": decision.reason,
        "detail": decision.detail,
        "advice": decision.advice,
        "rules": rules_text(named),
        "tagged": tagged,
        "api_requests": ",".join(filter(None, api_requests)),
        "reachability": verdict.reachability if verdict else "unknown",
        "consent": "; ".join(verdict.consent) if verdict else "",
        "instance": str(decision.instance) if decision.instance else "",
    }
    if record == "outcome":
        fields["outcome"] = decision.outcome
    return fields


def party_fields(source: Party | None, target: Party | None) -> Record:
    """What is known of the parties of a request that could not be read whole."""
    fields: Record = {}
    if source:
        fields |= {"from_account": source.account, "from": source.id}
    if target:
        fields |= {"to_account": target.account, "to": target.id}
    return fields


def parts(records: Sequence[Record]) -> Iterator[list[Record]]:
    """The records, as many at a time as one call takes."""
    part: list[Record] = []
    size = 0
    for record in records:
        weight = sum(len(name) + len(value.encode()) for name, value in record.items())
        if part and (size + weight > WRITE_BYTES or len(part) == WRITE_RECORDS):
            yield part
            part, size = [], 0
        part.append(record)
        size += weight
    if part:
        yield part


class SlsAudit:
    """The audit logstore, through aliyun-log-python-sdk."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        if not settings.audit_project or not settings.audit_logstore:
            raise Transient("LINK_PEER_AUDIT_PROJECT and LINK_PEER_AUDIT_LOGSTORE are not set: nothing may be changed")
        self._project = settings.audit_project
        self._logstore = settings.audit_logstore
        self._settings = settings
        self._clock = clock
        self._client: Any = None
        self._written = 0

    def write(self, records: Sequence[Record]) -> None:
        from aliyun.log import LogItem, PutLogsRequest

        from link_peer.alicloud.sls import AuditUnavailable

        for part in parts(records):
            now = self._clock.now()
            second, fraction = int(now), int(now % 1 * 1e9)
            items = []
            for record in part:
                # the fraction keeps records of one moment in their order; 0 would make the SDK read the machine's clock
                self._written += 1
                items.append(LogItem(second, list(record.items()), fraction + self._written))
            request = PutLogsRequest(self._project, self._logstore, "link-peer", self._settings.region, items)
            try:
                self._open().put_logs(request)
            except Exception as error:
                code = error.code if isinstance(error, AuditUnavailable) else type(error).__name__
                raise Transient(f"the audit log cannot be written: {code}") from error

    def _open(self) -> Any:
        if self._client is None:
            from link_peer.alicloud.sls import client

            self._client = client(self._settings)
        return self._client
