"""Decisions as audit records. Every record of the library is built here, or from the fields that are built here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from link_peer.domain.denial import Denial, about
from link_peer.domain.model import Link, Party, Rule, RuleKey, ports_text, short_hash
from link_peer.planning.decision import Decision
from link_peer.runtime.ports import Record


def decision_record(
    decision: Decision, region: str, record: str, *, rules: Iterable[Rule] = (), api_requests: Sequence[str] = ()
) -> Record:
    """An `intent`, `attempt` or `outcome` of one decision. An intent names what will change: rules, and groups that get
    the managed tag."""
    verdict = decision.verdict
    why = about(decision.why, decision.action, decision.link, region)
    named = [(rule.key, rule.id) for rule in rules if rule.key]
    tagged = ""
    if record == "intent":
        tagged = ",".join(map(str, decision.missing_managed_tag))
        named = [(edit.key, edit.rule.id if edit.rule else "") for edit in decision.edits]
    fields = {
        "record": record,
        "action": decision.action,
        **link_fields(decision.link, region, decision.raw),
        **why_fields(why),
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


def denied_record(denial: Denial, action: str, **fields: str) -> Record:
    """The outcome of something that is denied before there is a decision about a link."""
    return {"record": "outcome", "action": action, "outcome": denial.outcome, **why_fields(denial), **fields}


def why_fields(why: Denial) -> Record:
    """The fields that explain an outcome."""
    return {"reason": why.code.value, "detail": why.detail, "advice": why.advice}


def link_fields(link: Link, region: str, raw: str = "") -> Record:
    """The fields that name a link. `raw` is a peer as it was written, where it cannot be parsed."""
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


def party_fields(source: Party | None, target: Party | None) -> Record:
    """The parties of a request that could not be parsed as a whole, as far as they are known."""
    fields: Record = {}
    if source:
        fields |= {"from_account": source.account, "from": source.id}
    if target:
        fields |= {"to_account": target.account, "to": target.id}
    return fields


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
