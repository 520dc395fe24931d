"""What must hold: a watch over every step of a delivery, and checks of a world that has come to rest.

The numbers are those of docs/guarantees.md.
"""

from __future__ import annotations

import calendar
import json
import time
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from link_peer.domain.model import ALL, Group, Instance, Party, Rule, RuleKey
from link_peer.domain.policy import Policy

from tests.simulation import oracle
from tests.simulation.world import World

checked: Counter[str] = Counter()
"""How often each invariant was looked at, in this process."""

FRESH_SECONDS = 30  # how old the consent may be by which a rule is written

SECRETS = ("link-peer-external-id", "acs:ram::")
"""What must never stand in a record: external ids and roles of the policy (keys are looked for over the wire)."""


class Broken(BaseException):
    """An invariant does not hold. Not an Exception: no code under test can swallow it."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant


def hold(invariant: str, holds: bool, text: str) -> None:
    checked[invariant] += 1
    if not holds:
        raise Broken(invariant, text)


class Watch:
    """Looks over the shoulder of one delivery."""

    def __init__(self, world: World, policy: Policy) -> None:
        self.world = world
        self.policy = policy
        self.refused = False  # a side said no: what was begun on the other is taken back
        self.deceived = False  # a read showed the past: a reason that came since may go with the rule
        self.outcomes: list[dict[str, str]] = []
        self.asked: list[dict[str, Any]] = []  # the requests that are delivered
        self._attempts = self._held = False
        self._moments: list[tuple[Mapping[Party, Group], Mapping[Party, Instance]]] = []
        self._since: list[float] = []  # when each of the moments began
        self._seen: set[RuleKey] = set()
        self._intents: set[tuple[str, ...]] = set()
        self._intended_tags: set[tuple[str, ...]] = set()
        self._intended_posts: set[str] = set()
        self._idle: list[str] = []
        self._changed: Counter[str] = Counter()
        self._rules: dict[Party, object] = {}
        self.look()

    def look(self) -> None:
        """Before and after every call: what is there may have been changed by somebody else."""
        for group, standing in self.world.rules.items():
            if self._rules.get(group) is not standing:
                self._rules[group] = standing
                self._seen |= {rule.key for rule in standing.values() if rule.key and rule.policy == "accept"}
        groups, instances = self.world.groups, self.world.instances
        if not self._moments or (groups, instances) != self._moments[-1]:
            self._moments.append((groups.copy(), instances.copy()))
            self._since.append(self.world.now)

    # before a change

    def will_authorize(self, group: Party, rules: Sequence[tuple[RuleKey, str]]) -> None:
        for key, description in rules:
            self._may_change()
            self._may_gain(key, oracle.reasons(Rule(group, "", key, "accept", 100, description), self.policy))
            hold("I5", _named(key) in self._intents, f"{key} is written, and no intent says so")
            hold("I1", self._was_allowed(key), f"{key} is written without consent, or against the policy")
            written = Rule(group, "", key, "accept", 100, description)
            hold(
                "I3'",
                bool(oracle.reasons(written, self.policy)),
                f"{key} gets a marker that is not ours: {description}",
            )
            both = key.source.startswith("sg-") == bool(key.dest)
            hold("I3'", key.group == group and not both, f"{key} has not exactly one source")

    def will_touch(self, group: Party, rule_ids: Sequence[str], description: str | None = None) -> None:
        for rule_id in rule_ids:
            rule = self.world.rules.get(group, {}).get(rule_id)
            if rule is None or rule.key is None:
                continue
            self._may_change()
            before = oracle.reasons(rule, self.policy)
            hold("I2", bool(before), f"{rule} is a person's, and is changed")
            hold("I5", _named(rule.key) in self._intents, f"{rule} is changed, and no intent says so")
            after = frozenset[str]()
            if description is not None:
                after = oracle.reasons(Rule(group, "", rule.key, "accept", 100, description), self.policy)
                hold("I3'", bool(after), f"{rule} gets a marker that is not ours: {description}")
                gained = after - before
                self._may_gain(rule.key, gained)
                hold("I1", not gained or self._was_allowed(rule.key), f"{rule} gets {gained} without consent")
            if "tag" in before - after and not self.refused and not self.deceived:
                hold("I9", not self._always_wanted(rule.key), f"{rule} loses its tag, which is there all the time")

    def will_tag(self, group: Party) -> None:
        hold("I1", not self.policy.paused, f"{group} is tagged or untagged, and link-peer is paused")
        hold("I5", (group.account, group.id) in self._intended_tags, f"{group} is tagged, and no intent says so")

    def _may_change(self) -> None:
        """No change while paused, nor for messages that are past their end."""
        hold("I1", not self.policy.paused, "a rule is changed, and link-peer is paused")
        late = bool(self.asked) and all(epoch(r["expires_at"]) + 300 < self.world.now for r in self.asked)
        hold("I1", not late, "a rule is changed for a message that is past its expires_at")

    def _may_gain(self, key: RuleKey, gained: frozenset[str]) -> None:
        """A reason is put on a rule only before its end, and a tag's only where a tag asks for the rule."""
        ends = [reason.partition("~")[2] for reason in gained]
        past = [end for end in ends if end and calendar.timegm(time.strptime(end, "%Y%m%dT%H%M%SZ")) <= self.world.now]
        hold("I9", not past, f"{key} gets a reason that ended at {past}")
        hold("I9", "tag" not in gained or self._once_wanted(key), f"{key} gets a tag's reason, and no tag asks for it")

    def _once_wanted(self, key: RuleKey) -> bool:
        """Whether tags have asked for a rule at some moment of this delivery."""
        then = self.world.copy()
        for groups, instances in reversed([*self._moments, (self.world.groups, self.world.instances)]):
            then.groups, then.instances = dict(groups), dict(instances)
            if key in oracle.wanted_by_tags(then, self.policy):
                return True
        return False

    def _was_allowed(self, key: RuleKey) -> bool:
        """A moment ago: it cannot know what was withdrawn behind its back, but it may not rely on what is long past."""
        if oracle.allowed(self.world, self.policy, key):
            return True
        then = self.world.copy()
        for (groups, instances), over in zip(self._moments, [*self._since[1:], self.world.now], strict=True):
            then.groups, then.instances = dict(groups), dict(instances)
            if self.world.now - over <= FRESH_SECONDS and oracle.allowed(then, self.policy, key):
                return True
        return False

    def _always_wanted(self, key: RuleKey) -> bool:
        """Whether tags have asked for a rule all through this delivery."""
        if key not in oracle.wanted_by_tags(self.world, self.policy):
            return False
        then = self.world.copy()
        for groups, instances in self._moments:
            then.groups, then.instances = dict(groups), dict(instances)
            if key not in oracle.wanted_by_tags(then, self.policy):
                return False
        return True

    # after a change

    def shown(self, rules: Sequence[Rule]) -> None:
        """What a read of rules answered: the past counts as seen, since nobody can tell it from the present."""
        self._seen |= {rule.key for rule in rules if rule.key and rule.policy == "accept"}

    def authorized(self, added: Sequence[Rule]) -> None:
        self._note("authorize", [rule.id for rule in added])

    def modified(self, old: Rule, description: str) -> None:
        self._note("modify", [old.id] if (old.description, old.priority) != (description, 100) else [])

    def revoked(self, gone: Sequence[Rule]) -> None:
        self._note("revoke", [rule.id for rule in gone])

    def tagged(self, group: Party, changed: bool) -> None:
        self._note("tag", [str(group)] if changed else [])

    def _note(self, what: str, changed: list[str]) -> None:
        if not changed:
            self._idle.append(what)
        self._changed.update(f"{what} {thing}" for thing in changed)

    # records

    def record(self, record: Mapping[str, str]) -> None:
        kind = record.get("record")
        for name, value in record.items():
            clean = isinstance(value, str) and not any(
                unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in value
            )
            hold("I8", clean, f"{name}={value!r} in a record")
            hold("I8", not any(secret in value for secret in SECRETS), f"{name}={value!r} holds a secret")
        if kind == "intent":
            for rule in json.loads(record.get("rules", "[]")):
                self._intents.add(_rule_named(rule))
                self._intended_tags.add(_rule_named(rule)[:2])
            for party in filter(None, record.get("tagged", "").split(",")):
                self._intended_tags.add(tuple(party.split("@")[::-1]))
            self._intended_tags.add((record.get("from_account", ""), record.get("from", "")))  # a sweep's untagging
            self._intended_posts.add(record.get("request_id", ""))
        self._attempts |= kind == "attempt"
        self._held |= record.get("reason") == "removals-held"
        if kind == "outcome":
            self.outcomes.append(dict(record))
            self._judge_outcome(record)

    def posted(self, body: bytes) -> None:
        request = json.loads(body)
        hold("I5", request["request_id"] in self._intended_posts, f"{request} is posted, and no intent says so")

    def _judge_outcome(self, record: Mapping[str, str]) -> None:
        """I4: what a record says was true at some moment of the delivery."""
        outcome, reason = record["outcome"], record.get("reason", "")
        rules = json.loads(record.get("rules", "[]"))
        if outcome == "applied" and "to" in record and record["action"] != "repair":
            seen = {_named(key) for key in self._seen}
            named = [rule for rule in rules if _rule_named(rule) in seen]
            many = 2 if record["ports"] == "mutual" else len(record["ports"].split("+"))
            hold("I4", len(named) >= many, f"{dict(record)} says applied, and of its rules {len(named)} were there")
        if outcome == "removed" and rules:
            there = {rule_id for standing in self.world.rules.values() for rule_id in standing}
            changed = any(what.startswith(("revoke", "modify")) for what in self._changed)
            gone = not any(rule["rule_id"] in there for rule in rules)
            # a read that shows the past may show them gone already: docs/guarantees.md, limits
            hold("I4", changed or gone or self.deceived, f"{dict(record)} says removed, and nothing was changed")
        if "to" not in record or not record.get("from", "").startswith("sg-"):
            return
        source = Party(record["from_account"], record["from"])
        target = Party(record["to_account"], record["to"])
        if outcome == "applied":
            keys = group_rules(source, target, record["ports"])
            if record["action"] == "repair":  # of one rule perhaps, whose other side nobody has looked at
                repaired = {(r["group"], r["source"], r["protocol"]) for r in rules}
                keys = [key for key in keys if (key.group.id, key.source, key.port.protocol) in repaired]
            missing = [key for key in keys if key not in self._seen]
            hold("I4", not missing, f"{dict(record)} says applied, and {missing} never stood")
        if outcome == "denied" and reason == "no-consent":
            keys = group_rules(source, target, record["ports"])
            then = self.world.copy()
            lacked = False
            for groups, instances in [*self._moments, (self.world.groups, self.world.instances)]:
                then.groups, then.instances = dict(groups), dict(instances)
                lacked |= not all(oracle.allowed(then, self.policy, key) for key in keys)
            hold("I4", lacked, f"{dict(record)} says no-consent, and all had consented all the time")

    # the end

    def ended(self, function: str, end: str, *, disturbed: bool, deaf: bool) -> None:
        """I10: what is acknowledged was answered, message by message, and what comes again left an attempt where the log
        took one. I12: a delivery that nothing disturbs makes no change twice and none for nothing; a marker may be changed
        and changed back, where the other side refuses."""
        answered = {record.get("request_id") for record in self.outcomes}
        left = [request["request_id"] for request in self.asked if request["request_id"] not in answered]
        hold("I10", end != "acked" or self._held or not left, f"acknowledged without an outcome for {left}")
        hold("I10", end != "raised" or self._attempts or deaf, f"{function} comes again, and no attempt is on record")
        if disturbed:
            return
        # a marker may be changed again for a reason that came meanwhile; the tag goes again where the rule was refused
        again = ("modify", "tag") if self.refused else ("modify",)
        twice = [what for what, times in self._changed.items() if times > 1 + what.startswith(again)]
        hold("I12", not twice, f"changed twice in one delivery: {twice}")
        hold("I12", not self._idle, f"calls that changed nothing: {self._idle}")


def epoch(instant: str) -> int:
    return calendar.timegm(time.strptime(instant, "%Y-%m-%dT%H:%M:%SZ"))


def _rule_named(rule: Mapping[str, str]) -> tuple[str, ...]:
    """A rule of a record, as `_named` names a key."""
    return tuple(rule[name] for name in ("account", "group", "source", "dest", "protocol", "ports"))


def group_rules(source: Party, target: Party, ports: str) -> list[RuleKey]:
    """The rules of a link of two groups, from the words of a record."""
    if ports in ("mutual", "all"):
        return [RuleKey(target, str(source), "", ALL), RuleKey(source, str(target), "", ALL)]
    return [RuleKey(target, str(source), "", oracle._port(text)) for text in ports.split("+")]


def at_rest(world: World, policy: Policy) -> None:
    """A world after a sweep that nothing disturbed: I1, I3, I9 and the managed tags. Without the requests' own reasons,
    which only the scenario knows."""
    ours = oracle.owned(world, policy)
    there = oracle.present(world)
    tags = oracle.wanted_by_tags(world, policy)
    for key, why in ours.items():
        hold("I1", oracle.allowed(world, policy, key), f"{key} stands for {why}, without consent or against the policy")
        hold("I9", ("tag" in why) == (key in tags), f"{key} stands for {why}, and the tags say {tags.get(key)}")
        if key.port == ALL:
            other = _other_side(world, key)
            whole = other is not None and (ours.get(other) == why or (other in there and other not in ours))
            hold("I3", whole, f"{key} stands for {why}, and {other} for {ours.get(other) if other else None}")
        group = world.groups[key.group]
        hold(
            "I9", group.tags.get("link-managed.prod") == "true", f"{key.group} holds a rule of ours, and is not tagged"
        )
    for key in tags:
        hold("I9", key in there, f"tags want {key}, and it is not there")
    for party, group in world.groups.items():
        holds = any(key.group == party for key in ours)
        # a group that refuses a rule which is still wished keeps the tag
        bare = "link-managed.prod" in group.tags and not holds and party not in world.full
        hold("I9", not bare, f"{party} is tagged, and holds nothing of ours")
    for standing in world.rules.values():
        for rule in standing.values():
            if why := oracle.reasons(rule, policy):
                hold("I3'", rule.priority == 100, f"{rule} is ours, and beats an operator's drop")
                ends = [end for _, _, end in (reason.partition("~") for reason in why) if end]
                over = [end for end in ends if calendar.timegm(time.strptime(end, "%Y%m%dT%H%M%SZ")) <= world.now]
                hold("I9", not over, f"{rule} stands for a reason that ended at {over}")
    for rule_id, rule in world.human.items():
        hold("I2", world.rules[rule.group].get(rule_id) == rule, f"{rule} of a person was changed")


def _other_side(world: World, key: RuleKey) -> RuleKey | None:
    """The rule that makes a mutual link's one side whole."""
    if not key.dest:
        name, _, account = key.source.partition("@")
        return RuleKey(Party(account, name), str(key.group), "", ALL)
    for other in oracle.present(world):
        if (other.source, other.dest, other.port) == (key.dest, key.source, ALL):
            return other
    return None


def _named(key: RuleKey) -> tuple[str, ...]:
    return (key.group.account, key.group.id, key.source, key.dest, key.port.protocol, key.port.range)
