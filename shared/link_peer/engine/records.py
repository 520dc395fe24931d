"""Decisions as audit records. Every record of the library is built here, or from the fields that are built here."""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from typing import cast

import msgspec

from link_peer.domain import marker as markers
from link_peer.domain.denials import Denial, about
from link_peer.domain.model import Link, Marker, Party, Rule, RuleKey, ports_text, short_hash
from link_peer.domain.policy import Policy
from link_peer.domain.request import Hint
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import FIELD_LIMIT, TagKeys, clean, iso
from link_peer.engine.read.access import Page
from link_peer.engine.read.fetch import Fetch
from link_peer.planning import effect_text
from link_peer.planning.claims import claims_end
from link_peer.planning.covering import consent_end, covering_entries
from link_peer.planning.decision import Decision, Edit, Need
from link_peer.planning.effect import Effect, of_link
from link_peer.runtime.ports import Record

DONE_OUTCOMES = ("applied", "unchanged", "removed")
"""The outcomes of a decision whose changes were made."""

MAX_INSTANCE_NAMES = 20
"""Instances that a record names; it counts all of them."""


def decision_record(
    decision: Decision, region: str, record: str, *, rules: Iterable[Rule] = (), api_requests: Sequence[str] = ()
) -> Record:
    """An `intent`, `attempt` or `outcome` of one decision. An intent names what will change: rules, and groups that get
    the managed tag."""
    verdict = decision.verdict
    denial = about(decision.denial, decision.action, decision.link, region)
    rules = list(rules)
    keys_and_ids = [(rule.key, rule.id) for rule in rules if rule.key]
    tagged = ""
    if record == "intent":
        tagged = ",".join(map(str, decision.missing_managed_tag))
        keys_and_ids = [(edit.key, edit.rule.id if edit.rule else "") for edit in decision.edits]
    fields = {
        "record": record,
        "action": decision.action,
        **link_fields(decision.link, region, decision.raw),
        **why_fields(denial),
        "rules": rules_text(keys_and_ids),
        "tagged": tagged,
        "api_requests": ",".join(filter(None, api_requests)),
        "reachability": verdict.reachability if verdict else "unknown",
        "consent": "; ".join(verdict.consent) if verdict else "",
        "instance": str(decision.instance) if decision.instance else "",
    }
    if record == "outcome":
        fields |= {"outcome": decision.outcome, "claims": _claims_text(decision, rules)}
        fields |= {"old_claims": _old_claims_text(decision)}
    return fields


def _rules_after(decision: Decision, rules: Iterable[Rule]) -> tuple[list[tuple[Rule, Marker]], list[Rule]]:
    """What a decision leaves: the rules of ours among these, with their markers, and those that it removed. The rules
    are as they were read back; of those to remove, as they were before, if they were not changed instead, or not at
    all."""
    read = {rule.key: rule for rule in rules}
    removed = filter(None, (edit.rule for edit in decision.edits if edit.kind == "remove"))
    removed_rules = [rule for rule in removed if read.get(rule.key, rule) == rule]
    standing_rules = [
        (rule, marker)
        for rule in read.values()
        if (marker := markers.parse(rule.description)) and rule not in removed_rules
    ]
    return standing_rules, removed_rules


def _claims_text(decision: Decision, rules: Iterable[Rule]) -> str:
    """By the ids of rules the claims that they carry, null for those that the decision removed, as JSON."""
    standing_rules, removed_rules = _rules_after(decision, rules) if decision.outcome in DONE_OUTCOMES else ([], [])
    claims = [(rule.id, markers.claims_text(marker.claims)) for rule, marker in standing_rules]
    return tags_text([*claims, *((rule.id, None) for rule in removed_rules)])


def _old_claims_text(decision: Decision) -> str:
    """By the ids of the rules that the decision changed or removed the claims that they carried before, as JSON."""
    changed_rules = (edit.rule for edit in decision.edits if edit.rule and decision.outcome in DONE_OUTCOMES)
    claims = [
        (rule.id, markers.claims_text(marker.claims))
        for rule in changed_rules
        if (marker := markers.parse(rule.description))
    ]
    return tags_text(claims)


def until_field(decision: Decision, rules: Iterable[Rule], snapshot: Snapshot, policy: Policy, now: float) -> Record:
    """When the first rule that is left of a link ends, by claims or by consent, as far as it was read. Empty where none
    need end."""
    standing_rules, _ = _rules_after(decision, rules) if decision.outcome in DONE_OUTCOMES else ([], [])
    asker = snapshot.instances.get(decision.instance) if decision.instance else None
    asking = [asker] if asker else []
    ends = [claims_end(policy, marker.claims, asking) for _, marker in standing_rules]
    ends += [consent_end(covering_entries(snapshot, policy, rule, marker), now) for rule, marker in standing_rules]
    first = min((end for end in ends if end is not None), default=None)
    return {"until": "" if first is None else iso(first)}


def denied_record(denial: Denial, action: str, **fields: str) -> Record:
    """The outcome of something that is denied before there is a decision about a link."""
    return {"record": "outcome", "action": action, "outcome": denial.outcome, **why_fields(denial), **fields}


def why_fields(denial: Denial) -> Record:
    """The fields that explain an outcome."""
    return {"reason": denial.reason.code, "detail": denial.detail, "advice": denial.advice}


def link_fields(link: Link, region: str, raw: str = "") -> Record:
    """The fields that name a link. `raw` is a peer as it was written, where it cannot be parsed."""
    return {
        "from_account": link.source.account,
        "from": link.source.id,
        "to_account": link.target.account,
        "to": link.target.id or raw,
        "ports": "" if raw else ports_text(link.ports),
        "link": short_hash(f"{region}|{link.source.account}/{link.source.id}|{raw}") if raw else link.id(region),
    }


def party_fields(source: Party | None, target: Party | None) -> Record:
    """The parties of a request that could not be parsed as a whole, as far as they are known."""
    fields: Record = {}
    if source:
        fields |= {"from_account": source.account, "from": source.id}
    if target:
        fields |= {"to_account": target.account, "to": target.id}
    return fields


def observed_record(hint: Hint, tags: Mapping[str, str] | None, keys: TagKeys) -> Record:
    """What an event of a group's tags says, and the tags that decide as they are now; None where they could not be
    read. Only what the event names may be credited to its actor."""
    cause, now = hint.cause, sorted((key not in keys.consenting, key) for key in tags or () if keys.decides(key))
    return {
        "record": "observed",
        "event_id": hint.event_id,
        "action": "consent",
        "to_account": hint.party.account,
        "to": hint.party.id,
        "actor": cause.actor,
        "event_call": cause.call,
        "event_request": cause.request_id,
        "event_tags": tags_text(cause.tags),
        "tags": "" if tags is None else tags_text((key, tags[key]) for _, key in now),
        "detail": NOT_SHOWN if tags is None else "",
    }


NOT_SHOWN = "the group is not shown, or could not be read: what its tags are now is not known"


def tags_text(tags: Iterable[tuple[str, str | None]]) -> str:
    """Tags as JSON, as many as a field holds; of one that was taken off, the value is null."""
    fitting, omitted = list(tags), 0
    while True:
        suffix = {"…": f"{omitted} more"} if omitted else {}
        text = clean(json.dumps({**dict(fitting), **suffix}, ensure_ascii=False, separators=(",", ":")), None)
        if len(text.encode()) <= FIELD_LIMIT:
            return text
        fitting.pop()
        omitted += 1


def rules_text(rules: Iterable[tuple[RuleKey, str]]) -> str:
    """Rules, each with its id where it has one, as JSON: account, group, direction, source, dest, protocol, ports,
    rule_id."""
    entries = [
        {
            "account": key.group.account,
            "group": key.group.id,
            "direction": key.direction,
            "source": key.source,
            "dest": key.dest,
            "protocol": key.port.protocol,
            "ports": key.port.range,
            "rule_id": rule_id,
        }
        for key, rule_id in rules
    ]
    return json.dumps(entries, separators=(",", ":"))


class Circumstances:
    """What the records of one delivery say beside its decisions: whom rules admit, and what becomes of packets. It
    knows what was read for decisions, and reads little more, which is kept apart from that."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._store = fetch.store
        self._members: dict[Party, Page | None] = {}
        self._rules: dict[Party, tuple[Rule, ...]] = {}
        self._read_groups: set[Party] = set()  # groups whose rules were read here, or could not be

    def read_members(self, keys: Iterable[RuleKey]) -> None:
        """Reads a page of the members of the groups that these rules admit, unless their number is known: each group
        once."""
        for group in _admitted_groups(keys):
            if group not in self._members and self._store.member_count(group) is None:
                self._members[group] = self._fetch.members_aside(group)

    def admitted(self, keys: Iterable[RuleKey], decision: Decision) -> Record:
        """The fields `instances` and `instance_ids`: how many instances the rules of a link admit, or how many at least
        (`100 or more`), and the first of all of them by id. Empty as far as it is not known."""
        keys, link = list(keys), decision.link
        groups, instances = _admitted_groups(keys), _members(decision, keys, egress=False)
        if not link.source.is_group:
            instances = {link.source, link.target} if link.mutual else {link.source}
        pages = {group: self._page(group) for group in groups}
        counts = [self._store.member_count(group) if page is None else len(page[0]) for group, page in pages.items()]
        known_counts = [count for count in counts if count is not None]
        if not keys or len(known_counts) < len(counts):
            return {"instances": "", "instance_ids": ""}
        in_part = any(page and page[1] for page in pages.values())
        instances |= {instance.party for page in pages.values() if page for instance in page[0]}
        alone = len({key.source for key in keys if not key.is_egress}) - len(groups)
        ids = "" if in_part or None in pages.values() else " ".join(sorted(map(str, instances))[:MAX_INSTANCE_NAMES])
        return {"instances": f"{sum(known_counts) + alone}{' or more' if in_part else ''}", "instance_ids": ids}

    def effect(self, decision: Decision, *, changed: bool = False) -> Record:
        """The fields `effect` and `effect_detail`. Where the decision has changed something, groups whose rules the
        answer depends on are read, each at most once; nothing is read for a decision that changed nothing."""
        effect = self._effect_of(decision)
        if changed:
            self._read_rules(effect.unread)
            effect = self._effect_of(decision)
        word = {"open": "passes", "partly": "blocked"}.get(effect.word) or effect.word
        return {"effect": word, "effect_detail": effect_text.detail(effect)}

    def read_rules_beside(self, decision: Decision, group: Party) -> None:
        """Reads the rules of other groups than this one on which the packets of a link depend."""
        self._read_rules(self._effect_of(decision).unread - {group})

    def _read_rules(self, groups: Set[Party]) -> None:
        """Reads rules, of each group at most once."""
        for group in sorted(groups - self._read_groups):
            rules = self._fetch.rules_aside(group)
            if rules is not None:
                self._rules[group] = rules
        self._read_groups |= groups

    def _page(self, group: Party) -> Page | None:
        """The instances of a group, as far as they were read, with the token of what was not; None where they are not
        known."""
        if (page := self._members.get(group)) is not None:
            return page
        members = self._store.members_shown(group) if group in self._store.complete_groups else None
        return None if members is None else ([self._store.instances[member] for member in members], "")

    def _effect_of(self, decision: Decision) -> Effect:
        snapshot = self._store.now_known()
        if self._rules:
            rules = ChainMap(cast("dict[Party, tuple[Rule, ...]]", snapshot.rules), self._rules)
            snapshot = msgspec.structs.replace(snapshot, rules=rules)
        keys = {rule.key for rule in decision.rules if rule.key} | {edit.key for edit in decision.edits}
        asker, reached = (min(_members(decision, keys, egress=egress), default=None) for egress in (False, True))
        return of_link(snapshot, decision.link, decision.instance or asker, reached)


def _members(decision: Decision, keys: Collection[RuleKey], *, egress: bool) -> set[Party]:
    """The instances that these rules of a link by address admit, or did; those of `egress`, that they let out to."""
    needs_and_edits: list[Need | Edit] = [*(decision.verdict.needs if decision.verdict else ()), *decision.edits]
    return {
        need.ends[0]
        for need in needs_and_edits
        if need.key in keys and need.key.is_egress == egress and need.ends and need.ends[1].is_group
    }


def _admitted_groups(keys: Iterable[RuleKey]) -> list[Party]:
    """The groups that rules admit."""
    sources = sorted({key.source for key in keys})
    return [Party(account, name) for name, _, account in (source.partition("@") for source in sources) if account]
