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
from link_peer_cli.audit.trail_records import Named, rules_in, tags_in

STATES = {"passes": "open", "blocked": "blocked"}


class _Left(msgspec.Struct, frozen=True):
    """A rule of link-peer with the claims that it was left with; when the log has it first; and the record that says most."""

    rule: Named
    claims: tuple[Claim, ...]
    since: str
    record: Record


def links_at(log: AuditReader, moment: float) -> list[LinkAnswer]:
    """The links that stood then. The log has no names. Raises LinkPeerError if it cannot be read."""
    return [link for link, _ in standing_at(read_outcomes(log, moment, moment), moment)]


def read_outcomes(log: AuditReader, first: float, last: float) -> list[Record]:
    """What tells the links that stood at any instant between these two. Raises LinkPeerError if the log cannot be read."""
    done = " or ".join(condition({"outcome": one}) for one in ("applied", "unchanged", "removed"))
    return log.read(f"{condition({'record': 'outcome'})} and ({done})", first - KEPT_SECONDS, last)


def standing_at(records: Iterable[Record], moment: float) -> list[tuple[LinkAnswer, list[Record]]]:
    """The links that stood then, as the outcomes until then tell, oldest first; each with the records that say so."""
    standing: dict[RuleKey, _Left] = {}
    for record in records:
        left = tags_in(record.get("claims", "")) or {}
        for rule in (one for one in rules_in(record.get("rules", "")) if one.id in left):
            before = standing.get(rule.key)
            known = before if before and before.rule.id == rule.id else None
            try:
                claims = claims_in(left[rule.id] or "")
            except LinkPeerError:  # none
                if known:
                    del standing[rule.key]
                continue
            says = known.record if known and record["outcome"] == "removed" else record
            standing[rule.key] = _Left(rule, claims, known.since if known else record["time"], says)
    together: dict[tuple[object, ...], list[_Left]] = {}
    for one in standing.values():
        ends = [(one.record.get(f"{side}_account", ""), one.record.get(side, "")) for side in ("from", "to")]
        mutual = one.rule.key.port == ALL
        together.setdefault(tuple(sorted(ends)) if mutual else (*ends, one.claims), []).append(one)
    return [(_link(some, moment), [one.record for one in some]) for some in together.values()]


def _link(rules: Sequence[_Left], moment: float) -> LinkAnswer:
    last = max(rules, key=lambda one: one.record["time"]).record
    named = {name: last.get(name, "") for name in ("from", "from_account", "to", "to_account", "until")}
    ports = {one.rule.key.port for one in rules}
    state, detail = STATES.get(last.get("effect", ""), "unknown"), last.get("effect_detail", "")
    if ALL in ports and len(rules) == 1:
        state, detail = "half-open", f"only {rules[0].rule.key.group} has its rule"
    if named["until"] and named["until"] <= iso(moment):
        state, detail = "closing", f"it ended at {named['until']}"
    said = [last.get(name, "") for name in ("request_id", "claimed_by", "queue")]
    unknown = dict.fromkeys(("from_name", "to_name", "deployment", "written", "written_detail"), "")
    fields: dict[str, object] = {
        **named,
        **unknown,
        "consented_by": [],
        "instances": None,
        "by_address": [],
        "ports": ports_text(ports - {ALL}),
        "state": state,
        "state_detail": detail,
        "since": min(one.since for one in rules),
        "claims": [claim.request or "tag" for claim in sorted({claim for one in rules for claim in one.claims})],
        "asked_by": [last.get("instance") or ": ".join(filter(None, said))],
        "reasons": list(filter(None, [last.get("claimed_reason")])),
        "consent": list(filter(None, last.get("consent", "").split("; "))),
        "rules": [OwnRule(one.rule.key.group.account, one.rule.key.group.id, one.rule.id) for one in rules],
    }
    return msgspec.convert(fields, LinkAnswer)
