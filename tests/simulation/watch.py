"""Check the invariants during one delivery: at every change, every record, and its end."""

from __future__ import annotations

import calendar
import json
import time
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from link_peer.domain.model import Group, Instance, Party, Rule, RuleKey
from link_peer.domain.policy import Policy

from tests.simulation import oracle
from tests.simulation.invariants import claim_end, group_rules, hold
from tests.simulation.world import World

CONSENT_SECONDS = 30  # a rule may be written on consent that is at most this old

SECRETS = ("link-peer-external-id", "acs:ram::")
"""External ids and roles of the policy, which no record may contain. Tests over HTTP look for access keys."""

RuleName = tuple[str, ...]
"""(account, group, source, dest, protocol, ports), as records name a rule."""


class Watch:
    """Observes one delivery. `Run` and `SimEcs` call it before and after each call; a broken invariant raises Broken."""

    def __init__(self, world: World, policy: Policy) -> None:
        self.world = world
        self.policy = policy
        self.refused = False  # the platform refused a call, so changes on the other side may be rolled back
        self.stale_read = False  # a read of rules was stale, so a claim added since may be lost
        self.outcomes: list[dict[str, str]] = []
        self.requests: list[dict[str, Any]] = []  # the requests of this delivery
        self._attempt_recorded = self._removals_held = False
        self._states: list[tuple[Mapping[Party, Group], Mapping[Party, Instance]]] = []  # all during this delivery
        self._state_starts: list[float] = []  # when each of these states began
        self._seen: set[RuleKey] = set()  # rules that existed, or were read, at some moment
        self._intents: set[RuleName] = set()
        self._intended_tags: set[tuple[str, ...]] = set()  # (account, group)
        self._intended_posts: set[str] = set()
        self._calls_without_effect: list[str] = []
        self._changes: Counter[str] = Counter()
        self._last_rules: dict[Party, object] = {}
        self.observe()

    def observe(self) -> None:
        """Notes the current state: people or another delivery may have changed it between two calls."""
        for group, by_id in self.world.rules.items():
            if self._last_rules.get(group) is not by_id:
                self._last_rules[group] = by_id
                self._seen |= {rule.key for rule in by_id.values() if rule.key and rule.policy == "accept"}
        groups, instances = self.world.groups, self.world.instances
        if not self._states or (groups, instances) != self._states[-1]:
            self._states.append((groups.copy(), instances.copy()))
            self._state_starts.append(self.world.now)

    # before a change

    def before_authorize(self, group: Party, rules: Sequence[tuple[RuleKey, str]]) -> None:
        """I1, I3', I5, I9 of rules that are about to be added."""
        for key, description in rules:
            self._check_may_change()
            written = Rule(group, "", key, "accept", 100, description)
            claims = oracle.claims(written, self.policy)
            self._check_may_gain(key, claims)
            hold("I5", _rule_name(key) in self._intents, f"{key} is added without an intent")
            hold("I1", self._recently_allowed(key), f"{key} is added without consent or against the policy")
            hold("I3'", bool(claims), f"{key} gets a marker that is not ours: {description}")
            two_sources = key.source.startswith("sg-") == bool(key.dest)
            hold("I3'", key.group == group and not two_sources, f"{key} does not have exactly one source")

    def before_rule_change(self, group: Party, rule_ids: Sequence[str], description: str | None = None) -> None:
        """I1, I2, I3', I5, I9 of rules that are about to get this description, or to be revoked if it is None."""
        for rule_id in rule_ids:
            rule = self.world.rules.get(group, {}).get(rule_id)
            if rule is None or rule.key is None:
                continue
            self._check_may_change()
            before = oracle.claims(rule, self.policy)
            hold("I2", bool(before), f"manual rule is about to be changed: {rule}")
            hold("I5", _rule_name(rule.key) in self._intents, f"{rule} is changed without an intent")
            after = frozenset[str]()
            if description is not None:
                after = oracle.claims(Rule(group, "", rule.key, "accept", 100, description), self.policy)
                hold("I3'", bool(after), f"{rule} gets a marker that is not ours: {description}")
                gained = after - before
                self._check_may_gain(rule.key, gained)
                hold("I1", not gained or self._recently_allowed(rule.key), f"{rule} gains {gained} without consent")
            if "tag" in before - after and not self.refused and not self.stale_read:
                kept = self._always_wanted(rule.key)
                hold("I9", not kept, f"{rule} loses its tag's claim, though the tag existed throughout")

    def before_tag(self, group: Party) -> None:
        """I1, I5 of a managed tag that is about to be added or removed."""
        hold("I1", not self.policy.paused, f"the managed tag of {group} is changed while paused")
        intended = (group.account, group.id) in self._intended_tags
        hold("I5", intended, f"the managed tag of {group} is changed without an intent")

    def _check_may_change(self) -> None:
        """No change is made while paused, nor for requests that have all expired."""
        hold("I1", not self.policy.paused, "a rule is changed while paused")
        late = bool(self.requests) and all(epoch(r["expires_at"]) + 300 < self.world.now for r in self.requests)
        hold("I1", not late, "a rule is changed for a message that is past its expires_at")

    def _check_may_gain(self, key: RuleKey, gained: frozenset[str]) -> None:
        """A rule gains no expired claim, and a tag's claim only if a tag asks for it."""
        ends = [claim.partition("~")[2] for claim in gained]
        past = [end for end in ends if end and claim_end(end) <= self.world.now]
        hold("I9", not past, f"{key} gains a claim that expired at {past}")
        hold("I9", "tag" not in gained or self._once_wanted(key), f"{key} gains a tag's claim, but no tag asks for it")

    def _worlds(self) -> Iterator[World]:
        """The current world, then the world as it was in each state of this delivery, oldest first."""
        yield self.world
        yield from self._past_worlds()

    def _past_worlds(self) -> Iterator[World]:
        for groups, instances in self._states:
            then = self.world.copy()
            then.groups, then.instances = dict(groups), dict(instances)
            yield then

    def _once_wanted(self, key: RuleKey) -> bool:
        """Whether tags asked for a rule at some moment of this delivery."""
        return any(key in oracle.wanted_by_tags(world, self.policy) for world in self._worlds())

    def _always_wanted(self, key: RuleKey) -> bool:
        """Whether tags asked for a rule throughout this delivery."""
        return all(key in oracle.wanted_by_tags(world, self.policy) for world in self._worlds())

    def _recently_allowed(self, key: RuleKey) -> bool:
        """Whether a rule is allowed now, or was within the last CONSENT_SECONDS of this delivery.

        Production code cannot notice that consent was withdrawn since it read it, but may not rely on an older read.
        """
        if oracle.allowed(self.world, self.policy, key):
            return True
        state_ends = [*self._state_starts[1:], self.world.now]
        return any(
            self.world.now - end <= CONSENT_SECONDS and oracle.allowed(then, self.policy, key)
            for then, end in zip(self._past_worlds(), state_ends, strict=True)
        )

    # after a read or a change

    def rules_read(self, rules: Sequence[Rule]) -> None:
        """A stale read counts as seen as well: production code cannot tell it from the present."""
        self._seen |= {rule.key for rule in rules if rule.key and rule.policy == "accept"}

    def authorized(self, added: Sequence[Rule]) -> None:
        """Notes which rules an Authorize call added."""
        self._note("authorize", [rule.id for rule in added])

    def modified(self, old: Rule, description: str) -> None:
        """Notes whether a Modify call changed the rule."""
        self._note("modify", [old.id] if (old.description, old.priority) != (description, 100) else [])

    def revoked(self, removed: Sequence[Rule]) -> None:
        """Notes which rules a Revoke call removed."""
        self._note("revoke", [rule.id for rule in removed])

    def tagged(self, group: Party, changed: bool) -> None:
        """Notes whether a call changed the managed tag."""
        self._note("tag", [str(group)] if changed else [])

    def _note(self, call: str, changed: list[str]) -> None:
        if not changed:
            self._calls_without_effect.append(call)
        self._changes.update(f"{call} {thing}" for thing in changed)

    # records and requests

    def record(self, record: Mapping[str, str]) -> None:
        """I8 of a record, and what an intent allows and an outcome claims."""
        kind = record.get("record")
        for name, value in record.items():
            clean = isinstance(value, str) and not any(
                unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in value
            )
            hold("I8", clean, f"a record has a control character: {name}={value!r}")
            hold("I8", not any(secret in value for secret in SECRETS), f"a record has a secret: {name}={value!r}")
        if kind == "intent":
            for rule in json.loads(record.get("rules", "[]")):
                self._intents.add(_recorded_name(rule))
                self._intended_tags.add(_recorded_name(rule)[:2])
            for party in filter(None, record.get("tagged", "").split(",")):
                self._intended_tags.add(tuple(party.split("@")[::-1]))
            # when a sweep removes a managed tag, `from` is the group
            self._intended_tags.add((record.get("from_account", ""), record.get("from", "")))
            self._intended_posts.add(record.get("request_id", ""))
        self._attempt_recorded |= kind == "attempt"
        self._removals_held |= record.get("reason") == "removals-held"
        if kind == "outcome":
            self.outcomes.append(dict(record))
            self._check_outcome(record)

    def posted(self, body: bytes) -> None:
        """I5 of a request that is put into the queue."""
        request = json.loads(body)
        hold("I5", request["request_id"] in self._intended_posts, f"a request is posted without an intent: {request}")

    def _check_outcome(self, record: Mapping[str, str]) -> None:
        """I4: what an outcome says was true at some moment of the delivery."""
        outcome = record["outcome"]
        rules = json.loads(record.get("rules", "[]"))
        if outcome == "applied" and "to" in record and record["action"] != "repair":
            seen = {_rule_name(key) for key in self._seen}
            existed = [rule for rule in rules if _recorded_name(rule) in seen]
            needed = 2 if record["ports"] == "mutual" else len(record["ports"].split("+"))
            hold("I4", len(existed) >= needed, f"applied, but only {len(existed)} of its rules existed: {dict(record)}")
        if outcome == "removed" and rules:
            present = {rule_id for by_id in self.world.rules.values() for rule_id in by_id}
            changed = any(change.startswith(("revoke", "modify")) for change in self._changes)
            absent = not any(rule["rule_id"] in present for rule in rules)
            # in a stale read they may be absent already: docs/guarantees.md, limits
            hold("I4", changed or absent or self.stale_read, f"removed, but nothing was changed: {dict(record)}")
        if "to" in record and record.get("from", "").startswith("sg-"):
            self._check_group_outcome(record, rules)

    def _check_group_outcome(self, record: Mapping[str, str], rules: Sequence[Mapping[str, str]]) -> None:
        source = Party(record["from_account"], record["from"])
        target = Party(record["to_account"], record["to"])
        if record["outcome"] == "applied":
            keys = group_rules(source, target, record["ports"])
            if record["action"] == "repair":  # may name one rule only, of a link whose other side was not read
                repaired = {(r["group"], r["source"], r["protocol"]) for r in rules}
                keys = [key for key in keys if (key.group.id, key.source, key.port.protocol) in repaired]
            missing = [key for key in keys if key not in self._seen]
            hold("I4", not missing, f"applied, but {missing} never existed: {dict(record)}")
        if record["outcome"] == "denied" and record.get("reason", "") == "no-consent":
            keys = group_rules(source, target, record["ports"])
            lacking = not all(oracle.allowed(world, self.policy, key) for world in self._worlds() for key in keys)
            hold("I4", lacking, f"no-consent, but consent existed throughout: {dict(record)}")

    # the end

    def ended(self, function: str, end: str, *, disturbed: bool, log_failed: bool) -> None:
        """I10: an acknowledged delivery has an outcome for each request, a failed one an attempt if the log accepted it.
        I12: an undisturbed delivery makes no change twice and no needless call. A marker may be changed and changed back
        if the other side refuses."""
        answered = {record.get("request_id") for record in self.outcomes}
        unanswered = [request["request_id"] for request in self.requests if request["request_id"] not in answered]
        complete = end != "acked" or self._removals_held or not unanswered
        hold("I10", complete, f"acknowledged without an outcome for {unanswered}")
        recorded = end != "raised" or self._attempt_recorded or log_failed
        hold("I10", recorded, f"{function} raised without an attempt on record")
        if disturbed:
            return
        # a marker may change again for a claim that was added meanwhile; a tag is removed again if the rule was refused
        may_repeat = ("modify", "tag") if self.refused else ("modify",)
        repeated = [change for change, times in self._changes.items() if times > 1 + change.startswith(may_repeat)]
        hold("I12", not repeated, f"changed twice in one delivery: {repeated}")
        hold("I12", not self._calls_without_effect, f"calls that changed nothing: {self._calls_without_effect}")


def epoch(instant: str) -> int:
    """An instant of a request in epoch seconds."""
    return calendar.timegm(time.strptime(instant, "%Y-%m-%dT%H:%M:%SZ"))


def _rule_name(key: RuleKey) -> RuleName:
    return (key.group.account, key.group.id, key.source, key.dest, key.port.protocol, key.port.range)


def _recorded_name(rule: Mapping[str, str]) -> RuleName:
    """A rule of a record, as `_rule_name` names a key."""
    return tuple(rule[name] for name in ("account", "group", "source", "dest", "protocol", "ports"))
