"""Check the invariants during one delivery: at every change, every record, and its end."""

from __future__ import annotations

import calendar
import json
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from link_peer.domain.model import ALL, Group, Party, Port, Rule, RuleKey
from link_peer.domain.policy import Pause, Policy

from tests.simulation import oracle
from tests.simulation.invariants import claim_end, group_rules, half_open, hold
from tests.simulation.oracle import Owned, Pair
from tests.simulation.states import States
from tests.simulation.world import SWEEPS, World

REFUSED = {"denied", "failed"}

REPAIRED = {"applied", "unchanged", "removed", *REFUSED}

ACTIONS: dict[str, dict[str, set[str]]] = {
    "event": {
        "link": {"applied", "unchanged", *REFUSED},
        "unlink": {"removed", *REFUSED},
        "repair": REPAIRED,
        "expire": {"removed", *REFUSED},
        "sync": REFUSED,
        "look": {"unchanged", *REFUSED},
    },
    "sweep": {"repair": REPAIRED, "expire": {"removed", *REFUSED}},
    "link": {
        "link": {"applied", "unchanged", "removed", *REFUSED},
        "repair": REPAIRED,
        "expire": {"removed", *REFUSED},
    },
    "unlink": {"unlink": {"unchanged", "removed", *REFUSED}, "repair": REPAIRED},
    "sync": {
        "sync": {"applied", "unchanged", "removed", *REFUSED},
        "repair": REPAIRED,
        "expire": {"removed", *REFUSED},
    },
}
"""What was delivered (an event or a look, the timer, a request) → the actions that its outcomes may say → the outcomes
of each. A managed tag that someone stripped is put back without a change of the link: `repair`, `unchanged`. A raised
rule beside a person's equal rule goes: `repair`, `removed`."""

SECRETS = ("link-peer-external-id", "acs:ram::")
"""External ids and roles of the policy, which no record may contain, but for the role as which an account was entered.
Tests over HTTP look for access keys."""

RuleName = tuple[str, ...]
"""(account, group, source, dest, protocol, ports), as records name a rule."""


class Watch:
    """Observes one delivery. `Run` and `SimEcs` call it before and after each call; a broken invariant raises
    Broken."""

    def __init__(self, function: str, world: World, policy: Policy) -> None:
        self.function = function
        self.world = world
        self.policy = policy  # as the file is now
        self.refused = False  # the platform refused a call, so changes on the other side may be rolled back
        self.stale_read = False  # a read of rules was stale, so a claim added since may be lost
        self.omitted = False  # a read of instances omitted one, which no limit could count
        self.showings = set[bool]()  # whether reads of instances showed any
        self.released = ""  # the instance that the event says was released
        self.outcomes: list[dict[str, str]] = []
        self.messages: list[dict[str, Any]] = []  # the requests and looks of this delivery
        self.queue = ""  # that they came through
        self.put_back: list[str] = []  # request ids
        self._looks_again = False  # a look is posted
        self._attempted_rules: set[str] = set()  # ids of rules whose change met a transient error
        self._swept: dict[str, bytes] = {}  # by account that is to be swept, the message
        self._first_policy = policy
        self._attempt_recorded = False
        self.states = States(world)
        self._past_keys: set[RuleKey] = set()  # rules that existed, or were read, at some moment
        self._owned: set[RuleKey] = set()  # those of ours among them
        self._past_names: set[tuple[str, RuleName]] = set()  # the same, with their ids
        self._pairs: dict[
            str, set[Pair]
        ] = {}  # by id of a rule of ours with an address: the parties that its marker named
        # (group, port, claim, whether egress) of the rules by address that stood
        self._joinable: set[tuple[Party, Port, str, bool]] = set()
        # (parties, port, claim, source, dest) of the rules with addresses that stood
        self._addressed: set[tuple[Pair, Port, str, str, str]] = set()
        self._intents: set[RuleName] = set()
        self._intended_tags: set[tuple[str, ...]] = set()  # (account, group)
        self._tagged: set[tuple[str, ...]] = set()
        self._intended_posts: set[str] = set()
        self._named_parties: set[tuple[str, ...]] = set()  # (account, id) of intents and attempts
        self._calls_without_effect: list[str] = []
        self._changes: Counter[str] = Counter()
        self._changed_rules: set[RuleName] = set()
        self._opened: list[RuleKey] = []
        self._just_opened: set[Party] = set()  # groups that were not read since
        self._closed_late: list[str] = []
        self._groups: dict[Party, Group] = {}  # with their tags as they were last read
        self._claims_read: dict[str, frozenset[str]] = {}  # by rule, at any moment of this delivery
        self._first_rules = {rule.id: rule.description for by_id in world.rules.values() for rule in by_id.values()}
        self._foreign_rules = {
            rule.id
            for by_id in world.rules.values()
            for rule in by_id.values()
            if rule.id in world.manual_rules and oracle.ours(rule, policy) is None
        }
        self._last_rules: dict[Party, object] = {}
        self.observe()

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The requests of this delivery."""
        return [message for message in self.messages if message.get("action") != "look"]

    def observe(self) -> None:
        """Notes the current state: people or another delivery may have changed it between two calls."""
        for group, by_id in self.world.rules.items():
            if self._last_rules.get(group) is not by_id:
                self._last_rules[group] = by_id
                self._note_rules(by_id.values())
        self.states.note(self.policy)

    def _note_rules(self, rules: Iterable[Rule]) -> None:
        for rule in rules:
            if rule.key and rule.policy == "accept":
                self._past_keys.add(rule.key)
                self._past_names.add((rule.id, _rule_name(rule.key)))
                owned = oracle.ours(rule, self.policy)
                if owned:
                    self._owned.add(rule.key)
                if owned and owned.pair:
                    self._pairs.setdefault(rule.id, set()).add(owned.pair)
                    ends = rule.key.source, rule.key.dest
                    self._addressed |= {(owned.pair, rule.key.port, claim, *ends) for claim in owned.claims}
                    if oracle.is_part(owned.pair):
                        self._joinable |= {
                            (rule.group, rule.key.port, claim, rule.key.is_egress) for claim in owned.claims
                        }

    # before a change

    def before_authorize(self, group: Party, rules: Sequence[tuple[RuleKey, str]], *, advanced: bool) -> None:
        """I1, I3', I5, I9 of rules that are about to be added, to what production code takes for an `advanced`
        group."""
        self._hold_tags_intended()
        group_now = self.world.groups.get(group)
        hold(
            "I3'",
            group_now is None or group_now.advanced == advanced,
            f"{group} is written to as if advanced were {advanced}",
        )
        for key, description in rules:
            written = oracle.ours(Rule(group, "", key, "accept", 100, description), self.policy)
            hold("I3'", written is not None, f"{key} gets a marker that is not ours: {description}")
            assert written is not None
            hold("I5", _rule_name(key) in self._intents, f"{key} is added without an intent")
            two_sources = bool(key.dest) if key.source.startswith("sg-") else not key.source.endswith("/32")
            exact = not key.dest.endswith("/32") if key.is_egress else two_sources
            hold("I3'", key.group == group and not exact, f"{key} does not have exactly one source, or destination")
            exists = any(rule.key == key for rule in self.world.rules.get(group, {}).values())
            if not (exists and self.stale_read):  # what exists is not added again, and a stale read does not show it
                self._check_gain(written, written.claims)
        self._check_room(group, rules)

    def _check_room(self, group: Party, rules: Sequence[tuple[RuleKey, str]]) -> None:
        """I1: a link by address gets no more instances than the policy allows."""
        new = [oracle.ours(Rule(group, "", key, "accept", 100, text), self.policy) for key, text in rules]
        standing = oracle.parts(oracle.owned_rules(self.world, self.policy))
        for part, added in oracle.parts(filter(None, new)).items():
            instances_after = added.keys() | standing.get(part, {}).keys()
            few = (
                len(instances_after) <= self.policy.limits.max_members or added.keys() <= standing.get(part, {}).keys()
            )
            hold("I1", few or self.stale_read, f"{part} gets too many instances: {instances_after}")

    def before_rule_change(self, group: Party, rule_ids: Sequence[str], description: str | None = None) -> None:
        """I1, I2, I3', I5, I9, I14 of rules that are about to get this description, or to be revoked if it is None."""
        self._hold_tags_intended()
        self.observe()
        for rule_id in rule_ids:
            rule = self.world.rules.get(group, {}).get(rule_id)
            if rule is None or rule.key is None:
                continue
            hold("I1", self._first_policy.paused is not Pause.ALL, "a rule is changed while paused")
            before = oracle.ours(rule, self.policy)
            hold("I2", before is not None, f"manual rule is about to be changed: {rule}")
            assert before is not None
            hold("I5", _rule_name(rule.key) in self._intents, f"{rule} is changed without an intent")
            self._changed_rules.add(_rule_name(rule.key))
            after = frozenset[str]()
            if description is not None:
                written = oracle.ours(Rule(group, "", rule.key, "accept", 100, description), self.policy)
                hold("I3'", written is not None, f"{rule} gets a marker that is not ours: {description}")
                assert written is not None
                after = written.claims
                if written.pair != before.pair:
                    may_be_taken = not self.states.always_allowed(before)
                    is_allowed = self.states.once_wanted(rule.key, written.pair) or (
                        may_be_taken and oracle.is_part(before.pair)
                    )
                    if oracle.is_part(before.pair) and written.pair and before.pair[0] == written.pair[0]:
                        # a request has the rule stand for its group, whose members it follows
                        is_allowed |= any(claim != "tag" for claim in after - before.claims)
                    hold(
                        "I9", is_allowed, f"{rule} is taken for {written.pair}, while it is still that of {before.pair}"
                    )
                gained = after - before.claims - self._of_copies(rule)
                if self.stale_read:
                    # it shows a claim that was taken since, which comes back: docs/guarantees.md, limits
                    gained -= self._claims_read.get(rule_id, frozenset())
                if gained:
                    self._check_gain(written, gained, stands=True)
            lost_claims = before.claims - after
            replaced = any(_takes_place(opened, rule.key) for opened in self._opened)
            if (
                lost_claims
                and after <= before.claims
                and self._opened
                and rule_id in self._first_rules
                and not replaced
            ):
                self._closed_late.append(f"{rule} loses {lost_claims} after {self._opened} was opened")
            # a forged event, while the account shows no instance at all: "never counted and never held is an instance
            # that a `Deleted` event names" (docs/operations.md, the removal guard); the last instance of an account
            # looks like that, too
            is_released = self.showings == {False} and self.released in {end.id for end in before.pair or ()}
            # what it has opened itself it may take back: all of a link is opened, or nothing
            if "tag" in lost_claims & self._first_claims(rule_id) and not self.refused and not self.stale_read:
                must_stand = (
                    self.states.always_kept(rule.key, before.pair) and not self._displaced(rule) and not is_released
                )
                hold("I16", not must_stand, f"{rule} loses its tag's claim, though the tag asked for it throughout")
            lost_requests = (lost_claims - {"tag"}) & self._first_claims(rule_id)
            if lost_requests and not self.refused and not self.stale_read and not is_released:
                self._hold_requests_kept(rule, before, lost_requests)

    def _first_claims(self, rule_id: str) -> frozenset[str]:
        """The claims that a rule's marker had when this delivery began: one that another delivery adds later may be
        lost, until the message of its request is handled again."""
        _, _, text = self._first_rules.get(rule_id, "").partition(" by=")
        return frozenset(text.partition(" ")[0].split(","))

    def _hold_requests_kept(self, rule: Rule, before: Owned, lost_claims: frozenset[str]) -> None:
        """I16 of requests: a rule loses no claim of one, while it is allowed, unless the claim ended, an unlink takes
        it, the other end of its link does not exist, or it is one of two copies."""
        if any(message.get("action") == "unlink" for message in self.messages):
            return
        ended = {
            claim for claim in lost_claims if (end := claim.partition("~")[2]) and claim_end(end) <= self.world.now
        }
        doubled = len({claim.partition("~")[0] for claim in before.claims}) < len(before.claims)
        waits = before.pair and oracle.waits_for_target(self.world, self.policy, rule.key, before.pair)
        sides = [
            msgspec.structs.replace(before, key=key) for key, _ in _sides(before)
        ]  # of a mutual link, both or none
        if lost_claims <= ended or doubled or waits or self._displaced(rule) or self._is_misplaced(rule):
            return
        whole = all(map(self.states.always_allowed, sides)) and not (before.pair and rule.key.port == ALL)
        was_whole = whole and rule.id not in {half.rule.id for half in half_open(self.world, self.policy)}
        hold("I16", not was_whole, f"{rule} loses {lost_claims}, though it was allowed throughout, and nobody took it")

    def _is_misplaced(self, rule: Rule) -> bool:
        """Whether a rule names a group that no rule there can name: their links are written by address, or a product
        manages it."""
        name, _, account = rule.key.source.partition("@") if rule.key else ("", "", "")
        source = Party(account, name)
        group = self.world.groups.get(source)
        return bool(account) and (not group or group.managed or oracle.by_address(self.world, source, rule.group))

    def _of_copies(self, rule: Rule) -> frozenset[str]:
        """The claims of other rules of ours like this one, which it takes over before they go."""
        copies = [copy for copy in self.world.rules[rule.group].values() if copy.key == rule.key and copy.id != rule.id]
        return frozenset().union(*(owned.claims for copy in copies if (owned := oracle.ours(copy, self.policy))))

    def _displaced(self, rule: Rule) -> bool:
        """Whether an equal rule, a person's or one of ours with the tag's claim, has the priority that a raised rule of
        ours should have."""
        same_key_rules = [
            o for o in self.world.rules[rule.group].values() if o.key == rule.key and o.policy == "accept"
        ]
        owned = [oracle.ours(sibling, self.policy) for sibling in same_key_rules if sibling.priority == 100]
        return rule.priority != 100 and any(owned_rule is None or "tag" in owned_rule.claims for owned_rule in owned)

    def before_tag(self, group: Party, keys: Sequence[str], *, on: bool) -> None:
        """I1, I5 of managed tags that are about to be added or removed. One may be added beside the intent, which then
        is in the log before the next change of a rule."""
        ours = {oracle.managed_tag(self.policy), oracle.instances_tag(self.policy)}
        hold("I2", set(keys) <= ours, f"the tags {keys} of {group} are changed, which are not ours")
        hold("I1", self._first_policy.paused is not Pause.ALL, f"the managed tag of {group} is changed while paused")
        self._tagged.add((group.account, group.id))
        if not on:
            self._hold_tags_intended()

    def _hold_tags_intended(self) -> None:
        without = self._tagged - self._intended_tags
        hold("I5", not without, f"the managed tags of {without} are changed without an intent")

    def _check_gain(self, written: Owned, gained: frozenset[str], *, stands: bool = False) -> None:
        """I1 and I9 of a rule that is added, or gains claims: nothing is opened while paused, nor without consent or
        against the policy, nor for a message past its `expires_at`. It gains no expired claim, a tag's claim only if a
        tag asks for it, and a request's only in a delivery of that request."""
        self.observe()
        key = written.key
        self._opened.append(key)
        self._just_opened.add(key.group)
        hold(
            "I1",
            self.states.recently_allowed(written),
            f"{key} gains {gained} paused, without consent or against the policy",
        )
        ends = [claim.partition("~")[2] for claim in gained]
        past = [end for end in ends if end and claim_end(end) <= self.world.now]
        # a stale read shows what is gone, and keeps it until the next sweep: docs/guarantees.md, limits
        hold("I9", not past or self.stale_read, f"{key} gains a claim that expired at {past}")
        is_tagged = "tag" not in gained or self.states.once_wanted(key, written.pair)
        if stands and (key.is_egress or oracle.is_part(written.pair)):  # whatever its marker names, it serves all
            is_tagged |= self.states.once_wanted_of_instance(key, written.pair)
        # neither read shows all who stand, so that there seems to be room: docs/guarantees.md, limits
        if (self.omitted or self.stale_read) and written.pair and oracle.is_part(written.pair) and not key.is_egress:
            is_tagged |= written.pair in oracle.wanted_by_tags(self.world, self.policy, written.pair[0]).get(key, ())
        if self.stale_read and key.is_egress:  # it does not show that a person lets them out since
            is_tagged |= written.pair in oracle.wanted_by_tags(_without_outlets(self.world), self.policy).get(key, ())
        is_tagged = is_tagged or self.states.once_possible(key, written.pair)
        hold("I9", is_tagged, f"{key} gains a tag's claim, but no tag asks for it")
        for claim in gained - {"tag"}:
            name, _, until = claim.removeprefix("req:").partition("~")
            link_requests = [r for r in self.requests if r["request_id"] == name and r["action"] == "link"]
            link_requests = [r for r in link_requests if compact(r.get("until", "")) == until]
            if not link_requests and self.stale_read:
                continue  # it was there when the rules were as they were read: docs/guarantees.md, limits
            joins = oracle.is_part(written.pair) and (key.group, key.port, claim, key.is_egress) in self._joinable
            if not link_requests and (joins or self._moves(written, claim)):
                continue
            hold(
                "I9",
                bool(link_requests),
                f"{self.function} adds {claim} to {key}, which no message of the delivery asks for",
            )
            for link_request in link_requests:
                self._check_queue(link_request)
            in_time = any(epoch(r["expires_at"]) + 300 >= self.world.now for r in link_requests)
            hold("I1", in_time, f"{key} gains {claim}, whose message is past its expires_at")

    def _moves(self, written: Owned, claim: str) -> bool:
        """Whether a rule with another address stood for the same parties with the claim. Where the instance that asks
        has moved to a group that lets nothing out, its link needs an egress rule, too."""
        key = written.key
        follows = key.is_egress and not oracle.is_part(written.pair)
        moved_askers = {
            pair[0]
            for pair, port, standing_claim, source, _ in self._addressed
            if follows and source and (pair[1], port, standing_claim) == (written.pair[0], key.port, claim)
            if pair[0] in self.world.instances and source != f"{self.world.instances[pair[0]].ip}/32"
        }
        return bool(moved_askers) or any(
            bool(source) != key.is_egress and (source, dest) != (key.source, key.dest)
            for pair, port, standing_claim, source, dest in self._addressed
            if (pair, port, standing_claim) == (written.pair, key.port, claim)
        )

    def _check_queue(self, request: Mapping[str, Any]) -> None:
        """I1: where the policy binds queues to accounts, a link from an account comes through its own queue only."""
        accounts = self._first_policy.accounts
        source = request["from"]["account"]
        of_queue = [uid for uid, account in accounts.items() if self.queue and account.queue == self.queue]
        proven = of_queue in ([], [source]) and (not accounts[source].queue or of_queue == [source])
        hold("I1", proven, f"a link from {source} is made for a message that came through {self.queue!r}")

    # after a read or a change

    def rules_read(self, group: Party, rules: Sequence[Rule]) -> None:
        """A stale read counts as seen as well: production code cannot tell it from the present. What was opened on a
        group is read back with the group's tags."""
        self._note_rules(rules)
        for rule in rules:
            self._claims_read[rule.id] = self._claims_read.get(rule.id, frozenset()) | oracle.claims(rule, self.policy)
        if group in self._just_opened:
            self._just_opened.discard(group)
            self.groups_read([self.world.groups[group]])

    def groups_read(self, groups: Sequence[Group]) -> None:
        """Notes the tags of groups as production code has just read them."""
        self._groups |= {group.party: group for group in groups}

    def authorized(self, added: Sequence[Rule]) -> None:
        """Notes which rules an Authorize call added."""
        self._note("authorize", [rule.id for rule in added])

    def modified(self, old: Rule, description: str) -> None:
        """Notes whether a Modify call changed the rule."""
        self._note("modify", [old.id] if (old.description, old.priority) != (description, 100) else [])

    def revoked(self, removed: Sequence[Rule]) -> None:
        """Notes which rules a Revoke call removed."""
        self._note("revoke", [rule.id for rule in removed])

    def tagged(self, group: Party, keys: Sequence[str]) -> None:
        """Notes which managed tags a call changed."""
        self._note("tag", [f"{group} {key}" for key in keys])

    def _note(self, call: str, changed: list[str]) -> None:
        if not changed:
            self._calls_without_effect.append(call)
        self._changes.update(f"{call} {thing}" for thing in changed)

    # records and requests

    def record(self, record: Mapping[str, str]) -> None:
        """I8 of a record, and what an intent allows and an outcome claims."""
        kind = record.get("record")
        for name, value in record.items():
            hold("I8", isinstance(value, str) and _clean(value), f"a record has a control character: {name}={value!r}")
            secrets = SECRETS[:1] if name == "entered_as" else SECRETS  # a summary says as which role
            hold("I8", not any(secret in value for secret in secrets), f"a record has a secret: {name}={value!r}")
        if kind == "intent":
            for rule in json.loads(record.get("rules", "[]")):
                self._intents.add(_recorded_name(rule))
                self._intended_tags.add(_recorded_name(rule)[:2])
            for party in filter(None, record.get("tagged", "").split(",")):
                self._intended_tags.add(tuple(party.split("@")[::-1]))
            # when a sweep removes a managed tag, `from` is the group
            self._intended_tags.add((record.get("from_account", ""), record.get("from", "")))
            self._intended_posts.add(record.get("request_id", ""))
        if kind in ("intent", "attempt"):
            self._named_parties.add((record.get("from_account", ""), record.get("from", "")))
            self._named_parties.add(tuple(record.get("instance", "").split("@")[::-1]))
        self._attempt_recorded |= kind == "attempt"
        if kind == "attempt":
            self._attempted_rules |= {rule["rule_id"] for rule in json.loads(record.get("rules", "[]"))}
        if kind == "outcome":
            self.outcomes.append(dict(record))
            self._check_outcome(record)

    def posted(self, body: bytes, queue: str, delay: int, *, log_failed: bool) -> None:
        """I5 and I10 of a message that is put on a queue: one that is put back is as it was, but for its attempt, and
        has a delay; the posting of any other is on record."""
        message = json.loads(body)
        if message["action"] == "sweep":
            self._sweep_posted(message, body, queue, delay)
            return
        name = message["request_id"]
        before = [message for message in self.messages if message.get("request_id") == name]
        if before:
            again = [_plain({**body, "attempt": body.get("attempt", 0) + 1}) for body in before]
            hold("I10", _plain(message) in again, f"{name} is put back, but not as it was: {message}")
            hold("I10", 10 <= delay <= 600, f"{name} is put back with a delay of {delay} s")
            hold("I10", queue == self.queue, f"{name} came through {self.queue!r} and is put back on {queue!r}")
            self.put_back.append(name)
            return
        intended = name in self._intended_posts
        if message["action"] == "look":
            self._looks_again = True
            party = (message["party"]["account"], message["party"]["party"])
            intended = party in self._named_parties or self._attempt_recorded or log_failed
        hold("I5", intended, f"a message is posted, but there is no record of it: {message}")

    def _sweep_posted(self, message: Mapping[str, Any], body: bytes, queue: str, delay: int) -> None:
        """I13 of a message that has an account swept: only a sweep posts it, on the queue of sweeps, once for an
        account, and it is due before the next turn. A post whose answer was lost is made again with the same body."""
        account = message["account"]
        right = self.function == "sweep" and queue == SWEEPS and account in self.policy.accounts and delay <= 600
        hold("I13", right, f"{self.function} posts {message} on {queue!r} in {delay} s")
        is_same = self._swept.setdefault(account, body) == body
        hold("I13", is_same, f"{account} has two messages of one delivery")

    def _check_outcome(self, record: Mapping[str, str]) -> None:
        """I4: what an outcome says was true at some moment of the delivery."""
        outcome, action = record["outcome"], record["action"]
        rules = json.loads(record.get("rules", "[]"))
        self._check_action(record)
        unknown = [rule for rule in rules if (rule["rule_id"], _recorded_name(rule)) not in self._past_names]
        hold("I4", not unknown, f"{outcome}, but {unknown} never existed: {dict(record)}")
        if outcome == "applied" and record.get("to") and action != "repair":
            past_names = {_rule_name(key) for key in self._past_keys}
            existed = [rule for rule in rules if _recorded_name(rule) in past_names]
            needed = 2 if record["ports"] == "mutual" else len(record["ports"].split("+"))
            # so many for each instance, at each end
            let_out = len({rule["dest"] for rule in rules if not rule["source"]})
            admitted = len({rule["source"] for rule in rules if rule["source"]}) if self._by_address(record) else 1
            needed *= max(1, admitted + let_out)
            exact = len(existed) == needed == len(rules)
            hold("I4", exact, f"applied, but of {needed} rules {len(existed)} existed: {dict(record)}")
        if outcome == "removed":
            # another delivery may have taken the rule, or its claim, meanwhile
            now = {rule.id: rule.description for by_id in self.world.rules.values() for rule in by_id.values()}
            same_ids = {rule_id for rule_id, text in now.items() if self._first_rules.get(rule_id, text) == text}
            kept_rules = [r for r in rules if r["rule_id"] in same_ids and _recorded_name(r) not in self._changed_rules]
            # in a stale read they may be absent already: docs/guarantees.md, limits
            true = bool(rules) and (not kept_rules or self.stale_read)
            hold("I4", true, f"removed, but {kept_rules} were not changed: {dict(record)}")
            foreign = [rule["rule_id"] for rule in rules if rule["rule_id"] in self._foreign_rules]
            hold("I4", not foreign, f"removed, but the record names rules that are not ours: {dict(record)}")
        if record.get("to") and record.get("ports"):
            self._check_rules_of_link(record, rules)
            if record["from"].startswith("sg-"):
                self._check_group_outcome(record, rules)

    def _by_address(self, record: Mapping[str, str]) -> bool:
        """Whether a record is about a link between groups that is written by address."""
        source, target = (Party(record[f"{end}_account"], record[end]) for end in ("from", "to"))
        return source.is_group and record["ports"] != "mutual" and oracle.by_address(self.world, source, target)

    def _check_action(self, record: Mapping[str, str]) -> None:
        """I4: the action agrees with what was delivered and what came of it."""
        outcome, action = record["outcome"], record["action"]
        actions = {r.get("action", "link") for r in self.requests if r.get("request_id") == record.get("request_id")}
        delivered = actions or {"sweep" if self.function == "sweep" else "event"}
        agrees = any(outcome in ACTIONS[action_name].get(action, ()) for action_name in delivered)
        hold("I4", agrees, f"{self.function} records {outcome} of the action {action}: {dict(record)}")
        ended = outcome != "removed" or (action == "expire") == (record.get("reason") == "expired")
        hold("I4", ended, f"removed by {action}, but the reason is {record.get('reason')}: {dict(record)}")

    def _check_rules_of_link(self, record: Mapping[str, str], rules: Sequence[Mapping[str, str]]) -> None:
        """I4: an outcome names rules of its own link alone: of its two parties, in its direction, and on its ports."""
        source = Party(record["from_account"], record["from"])
        target = Party(record["to_account"], record["to"])
        mutual = record["ports"] == "mutual"
        ports = {ALL} if mutual else {oracle.parse_port(text) for text in record["ports"].split("+")}
        rule_ports = {(rule["protocol"], rule["ports"]) for rule in rules}
        of_link = {(port.protocol, port.range) for port in ports}
        hold("I4", rule_ports <= of_link, f"the record names rules of other ports: {dict(record)}")
        complete = (
            rule_ports == of_link or record["outcome"] not in ("applied", "removed") or record["action"] == "repair"
        )
        hold("I4", complete, f"{record['outcome']}, but the record does not name every port: {dict(record)}")
        ends = {(source, target), (target, source)} if mutual else {(source, target)}
        outlets = [rule for rule in rules if not rule["source"]]
        rules = [rule for rule in rules if rule["source"]]
        if self._by_address(record):  # one rule may stand for several groups of its instance
            pairs_by_rule = {rule["rule_id"]: self._pairs.get(rule["rule_id"], {(source, source)}) for rule in rules}
            groups = {
                name: self.states.once_groups(pair[0]) | {pair[1]}
                for name in pairs_by_rule
                for pair in pairs_by_rule[name]
                if pair
            }
            bad_rules = [rule for rule in rules if rule["dest"] or source not in groups[rule["rule_id"]]]
        elif source.is_group:
            sides = {(target.account, target.id, str(source)) for source, target in ends}
            bad_rules = [rule for rule in rules if _recorded_name(rule)[:3] not in sides or rule["dest"]]
        else:  # a person's equal rule names no instances
            pairs_by_rule = {rule["rule_id"]: self._pairs.get(rule["rule_id"], ends) for rule in rules}
            bad_rules = [rule for rule in rules if not (pairs_by_rule[rule["rule_id"]] & ends and rule["dest"])]
        hold("I4", not bad_rules, f"the record names rules of another link, {bad_rules}: {dict(record)}")
        holders = {source} if source.is_group else self.states.once_groups(source)
        reached = {rule["rule_id"]: self._pairs.get(rule["rule_id"], {(target, target)}) for rule in outlets}
        bad_rules = [
            rule
            for rule in outlets
            if Party(rule["account"], rule["group"]) not in holders
            or not any(
                pair and target in {*pair, *self.states.once_groups(pair[0])} for pair in reached[rule["rule_id"]]
            )
        ]
        hold("I4", not bad_rules, f"the record names egress rules of another link, {bad_rules}: {dict(record)}")

    def _check_group_outcome(self, record: Mapping[str, str], rules: Sequence[Mapping[str, str]]) -> None:
        source = Party(record["from_account"], record["from"])
        target = Party(record["to_account"], record["to"])
        recorded_names = {_recorded_name(rule) for rule in rules}
        if self._by_address(record):
            self._check_address_outcome(record, source, target)
            return
        if record["outcome"] == "applied":
            keys = group_rules(source, target, record["ports"])
            if record["action"] == "repair":  # may name one rule only, of a link whose other side was not read
                keys = [key for key in keys if _rule_name(key) in recorded_names]
            missing = [key for key in keys if key not in self._past_keys]
            hold("I4", not missing, f"applied, but {missing} never existed: {dict(record)}")
            exact = recorded_names == {_rule_name(key) for key in keys}
            hold("I4", exact, f"applied, but the record names other rules: {dict(record)}")
        if record["outcome"] == "unchanged" and record["action"] == "link" and record.get("reason") != "same-group":
            names = {_rule_name(key) for key in group_rules(source, target, record["ports"])}
            exact = recorded_names == names or (self.stale_read and recorded_names < names)  # what it does not show
            hold("I4", exact, f"unchanged, but the record does not name the link's rules: {dict(record)}")
        if record["outcome"] == "unchanged" and record["action"] == "repair":  # the link may lack its other side
            hold("I4", bool(recorded_names), f"unchanged, but the record names no rule: {dict(record)}")
        if record["outcome"] == "denied" and record.get("reason", "") in ("no-consent", "locked"):
            keys = group_rules(source, target, record["ports"])
            lacking = not all(
                oracle.allowed(then, state.policy, key) for then, state in self.states.pasts() for key in keys
            )
            hold("I4", lacking, f"{record['reason']}, but consent existed throughout: {dict(record)}")

    def _check_address_outcome(self, record: Mapping[str, str], source: Party, target: Party) -> None:
        if record["outcome"] in ("applied", "unchanged") and record["action"] == "link":
            has_rules = record.get("rules", "[]") != "[]"
            hold("I4", has_rules, f"{record['outcome']}, but the record names no rule: {dict(record)}")
        if record["outcome"] == "denied" and record.get("reason", "") in ("no-consent", "locked"):
            ports = [oracle.parse_port(text) for text in record["ports"].split("+")]
            lacking = not all(
                oracle.allowed(then, state.policy, RuleKey(target, f"{member.ip}/32", "", port), (member.party, source))
                for then, state in self.states.pasts()
                for member in oracle.members(then, source)
                for port in ports
            )
            # of a target without instances, the oracle says nothing of the end that lets packets out
            sources = [then.groups[source] for then, _ in self.states.pasts() if source in then.groups]
            locked = record["reason"] == "locked" and any(g.advanced and oracle.is_locked(g) for g in sources)
            asked_keys = [RuleKey(target, "0.0.0.0/32", "", port) for port in ports]
            lacking |= not all(
                oracle.may_reach(then, state.policy, key, (source, source))
                for then, state in self.states.pasts()
                for key in asked_keys
            )
            hold("I4", lacking or locked, f"{record['reason']}, but consent existed throughout: {dict(record)}")

    # the end

    def ended(self, end: str, *, disturbed: bool, log_failed: bool) -> None:
        """I10: in an acknowledged delivery each request has an outcome or is back on its queue, with an attempt if the
        log accepted it; so has a failed one. I12: an undisturbed delivery makes no change twice and no needless call. A
        marker may be changed and changed back if the other side refuses. I14: and it closes before it opens."""
        answered = {record.get("request_id") for record in self.outcomes} | set(self.put_back)
        unanswered = [request["request_id"] for request in self.requests if request["request_id"] not in answered]
        hold("I10", end != "acked" or not unanswered, f"acknowledged without an outcome for {unanswered}")
        unfinished = end == "raised" or bool(self.put_back)
        recorded = not unfinished or self._attempt_recorded or log_failed
        hold("I10", recorded, f"{self.function} met a transient error without an attempt on record")
        if end == "acked" and not self.put_back:
            self._hold_tags_intended()
        if disturbed:
            return
        self._hold_applied_links_pass()
        # a marker may change again for a claim that was added meanwhile; a tag is removed again if the rule was refused
        may_repeat = ("modify", "tag") if self.refused else ("modify",)
        repeated = [change for change, times in self._changes.items() if times > 1 + change.startswith(may_repeat)]
        hold("I12", not repeated, f"changed twice in one delivery: {repeated}")
        hold("I12", not self._calls_without_effect, f"calls that changed nothing: {self._calls_without_effect}")
        # a batch carries out one message after the other
        in_order = self.refused or len(self.messages) > 1 or not self._closed_late
        hold("I14", in_order, f"closed after opening: {self._closed_late}")

    def _hold_applied_links_pass(self) -> None:
        """I17: where the last record of a rule is `applied`, packets pass: from each instance that it names as admitted
        to some of the target, and from some of the source to each that it names as let out to; unless a person drops
        some there."""
        last = {rule["rule_id"]: (r, rule) for r in self.outcomes for rule in json.loads(r.get("rules", "[]"))}
        for record, rule in last.values() if len(self.messages) < 2 else ():
            if record["outcome"] != "applied" or record["ports"] == "mutual" or not record.get("to"):
                continue
            if record["detail"].startswith("its priority was "):  # and was put back: nothing was opened
                continue
            parties = [Party(record[f"{end}_account"], record[end]) for end in ("from", "to")]
            instances = self.world.instances
            sources, targets = (
                oracle.members(self.world, p) if p.is_group else [instances[p]] if p in instances else []
                for p in parties
            )
            ports = map(oracle.parse_port, record["ports"].split("+") if sources and targets else ())
            for port in (port for port in ports if (port.protocol, port.range) == (rule["protocol"], rule["ports"])):
                ways = [(s.ip, t.ip) for s in sources for t in targets if oracle.passes(self.world, s, t, port)]
                is_admitting = rule["source"].endswith("/32")
                reached = {f"{way[0] if is_admitting else way[1]}/32" for way in ways}
                address = rule["source"] if is_admitting else "" if rule["source"] else rule["dest"]
                hold("I17", not address or address in reached, f"applied, but {address} is cut off: {dict(record)}")

    def looked(self, end: str) -> None:
        """I15: at the end of a delivery, on no group whose rules it has changed, or answered a link for, stands a rule
        of ours against the group's word as it was last read, nor the other half of a mutual link that stood there;
        unless its account refuses access."""
        if end != "acked" or self.put_back or self.policy.paused is Pause.ALL:
            return
        groups = {key.group for key in self._opened} | {Party(*name[:2]) for name in self._changed_rules}
        for record in self.outcomes:
            stands = record["outcome"] in ("applied", "unchanged") and record.get("rules", "[]") != "[]"
            answered = stands or record.get("reason") in ("no-consent", "locked")
            decided = record["action"] == "link" or (record["action"] == "sync" and self.requests)  # else handed over
            if decided and answered:
                groups.add(Party(record["to_account"], record["to"]))
                if record["ports"] == "mutual":
                    groups.add(Party(record["from_account"], record["from"]))
        then = self.world.copy()
        then.groups = {**then.groups, **self._groups}
        # the rules of these accounts were not read in time, as the record says
        unknown = " ".join(record["detail"].partition("what still stands on ")[2] for record in self.outcomes)
        for owned_rule in oracle.owned_rules(self.world, self.policy):
            account = owned_rule.key.group.account
            if self._looks_again and owned_rule.rule.id in self._attempted_rules:
                continue  # what failed is tried again
            for key, pair in _sides(owned_rule) if account not in self.world.revoked and account not in unknown else ():
                if key.group in groups & self._groups.keys() and key in self._owned:
                    may = any(
                        oracle.accepted(world, self.policy, key, pair, owned_rule.claims)
                        for world in (self.world, then)
                    )
                    hold(
                        "I15",
                        may,
                        f"{owned_rule.rule} stands, though {key.group} was read: {then.groups[key.group].tags}",
                    )


def _without_outlets(world: World) -> World:
    """The world without people's egress rules."""
    copy = world.copy()
    copy.rules = {
        group: {rule.id: rule for rule in by_id.values() if rule.key or not rule.is_egress}
        for group, by_id in world.rules.items()
    }
    return copy


@lru_cache(maxsize=16_384)
def _clean(text: str) -> bool:
    """Whether a text has no control character. Most of those of records are seen thousands of times."""
    return not any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in text)


def _sides(owned_rule: Owned) -> list[tuple[RuleKey, Pair]]:
    """A rule, and of a mutual link between groups the other half."""
    sides = [(owned_rule.key, owned_rule.pair)]
    if owned_rule.key.port == ALL and owned_rule.pair is None:
        name, _, account = owned_rule.key.source.partition("@")
        sides.append((RuleKey(Party(account, name), str(owned_rule.key.group), "", ALL), None))
    return sides


def _takes_place(opened: RuleKey, key: RuleKey) -> bool:
    """Whether what was opened may be the same in another way as a rule that is closed: what takes its place is written
    before."""
    same_end = opened.group == key.group or (opened.source, opened.dest) == (key.source, key.dest)
    turned = opened.port == ALL and key.source == str(opened.group)
    return (same_end or turned) and oracle.carries(opened.port, key.port)


def compact(instant: str) -> str:
    """An instant of a request as a marker writes it."""
    return instant.replace("-", "").replace(":", "")


def _plain(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message without what its writers may order or leave out."""
    return {name: sorted(value) if name == "ports" else value for name, value in message.items() if value != ""}


def epoch(instant: str) -> int:
    """An instant of a request in epoch seconds."""
    return calendar.timegm(time.strptime(instant, "%Y-%m-%dT%H:%M:%SZ"))


def _rule_name(key: RuleKey) -> RuleName:
    return (key.group.account, key.group.id, key.source, key.dest, key.port.protocol, key.port.range)


def _recorded_name(rule: Mapping[str, str]) -> RuleName:
    """A rule of a record, as `_rule_name` names a key."""
    return tuple(rule[name] for name in ("account", "group", "source", "dest", "protocol", "ports"))
