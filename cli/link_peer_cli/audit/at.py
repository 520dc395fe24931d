"""The links that stood at an instant, as the log tells: each rule as the last record that names it has left it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.marker import claims_in
from link_peer.domain.model import ALL, Claim, RuleKey, ports_text
from link_peer.domain.tags import iso
from link_peer.runtime.ports import Record

from link_peer_cli.answers.links import LinkAnswer, OwnRule
from link_peer_cli.audit.log import KEPT_SECONDS, AuditReader, condition
from link_peer_cli.audit.trail_records import RecordedRule, rules_in, tags_in

STATES = {"passes": "open", "blocked": "blocked"}


class _RecordedRule(msgspec.Struct, frozen=True):
    """A rule of link-peer with the claims that it was left with; when the log has it first; and the record that says
    most."""

    rule: RecordedRule
    claims: tuple[Claim, ...]
    since: str
    record: Record


def links_at(log: AuditReader, moment: float) -> list[LinkAnswer]:
    """The links that stood then. The log has no names. Raises LinkPeerError if it cannot be read."""
    return [link for link, _ in standing_at(read_outcomes(log, moment, moment), moment)]


def read_outcomes(log: AuditReader, first: float, last: float) -> list[Record]:
    """What tells the links that stood at any instant between these two. Raises LinkPeerError if the log cannot be
    read."""
    outcomes = " or ".join(condition({"outcome": outcome}) for outcome in ("applied", "unchanged", "removed"))
    return log.read(f"{condition({'record': 'outcome'})} and ({outcomes})", first - KEPT_SECONDS, last)


def standing_at(records: Iterable[Record], moment: float) -> list[tuple[LinkAnswer, list[Record]]]:
    """The links that stood then, as the outcomes until then tell, oldest first; each with the records that say so."""
    standing: dict[RuleKey, _RecordedRule] = {}
    for record in records:
        claim_texts = tags_in(record.get("claims", "")) or {}
        for rule in (rule for rule in rules_in(record.get("rules", "")) if rule.id in claim_texts):
            before = standing.get(rule.key)
            previous = before if before and before.rule.id == rule.id else None
            try:
                claims = claims_in(claim_texts[rule.id] or "")
            except LinkPeerError:  # none
                if previous:
                    del standing[rule.key]
                continue
            says = previous.record if previous and record["outcome"] == "removed" else record
            standing[rule.key] = _RecordedRule(rule, claims, previous.since if previous else record["time"], says)
    together: dict[tuple[object, ...], list[_RecordedRule]] = {}
    for entry in standing.values():
        ends = [(entry.record.get(f"{side}_account", ""), entry.record.get(side, "")) for side in ("from", "to")]
        mutual = entry.rule.key.port == ALL
        together.setdefault(tuple(sorted(ends)) if mutual else (*ends, entry.claims), []).append(entry)
    return [(_link(entries, moment), [entry.record for entry in entries]) for entries in together.values()]


def _link(rules: Sequence[_RecordedRule], moment: float) -> LinkAnswer:
    last = max(rules, key=lambda entry: entry.record["time"]).record
    names = ("from", "from_account", "to", "to_account", "until", "link")
    link_fields = {name: last.get(name, "") for name in names}
    ports = {entry.rule.key.port for entry in rules}
    state, detail = STATES.get(last.get("effect", ""), "unknown"), last.get("effect_detail", "")
    if ALL in ports and len(rules) == 1:
        state, detail = "half-open", f"only {rules[0].rule.key.group} has its rule"
    if link_fields["until"] and link_fields["until"] <= iso(moment):
        state, detail = "closing", f"it ended at {link_fields['until']}"
    asker_parts = [last.get(name, "") for name in ("request_id", "claimed_by", "queue")]
    unknown = dict.fromkeys(("from_name", "to_name", "deployment", "written", "written_detail"), "")
    fields: dict[str, object] = {
        **link_fields,
        **unknown,
        "consented_by": [],
        "instances": None,
        "by_address": [],
        "ports": ports_text(ports - {ALL}),
        "state": state,
        "state_detail": detail,
        "since": min(entry.since for entry in rules),
        "claims": [claim.request or "tag" for claim in sorted({claim for entry in rules for claim in entry.claims})],
        "asked_by": [last.get("instance") or ": ".join(filter(None, asker_parts))],
        "reasons": list(filter(None, [last.get("claimed_reason")])),
        "consent": list(filter(None, last.get("consent", "").split("; "))),
        "rules": [
            OwnRule(key.group.account, key.group.id, key.direction, rule_id)
            for key, rule_id in ((entry.rule.key, entry.rule.id) for entry in rules)
        ],
    }
    return msgspec.convert(fields, LinkAnswer)
