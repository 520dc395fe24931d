"""What the timer leads to: every rule of ours is what tags, requests and consent say now, in all accounts of the policy.

    read accounts side by side ─▶ claims: every instance's tags, every request's reason on a standing rule
      ─▶ one plan for everything ─▶ intents, changes, outcomes ─▶ tags of groups that hold nothing of ours any more ─▶ summary

What the function's time does not allow is left as it is, safely: each run starts to read at another place, and finds the
remaining changes by itself, since every run decides anew.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from link_peer.domain.errors import CloudError, NoAccess, Transient
from link_peer.domain.model import ALL, Link, Marker, Party, Port, Reason, Rule
from link_peer.domain.tags import managed_tag
from link_peer.engine.apply import Applier, Report, held_fields
from link_peer.engine.reader import READERS, Reader
from link_peer.planning.decision import Decision, Refusal, link_of, owned_rules
from link_peer.planning.evaluate import Claim, judge, tag_claims
from link_peer.planning.plan import Context, Plan, make
from link_peer.runtime.audit import Record
from link_peer.runtime.delivery import Delivery

PASSES = 3
READING_SHARE = 0.6  # of the time left may go into reading rules
GOLDEN = 0.6180339887498949  # steps of this part of a circle, one a minute, fall evenly: every place has its turn soon

Progress = Callable[[str, int, int], None]
"""(what is being done, how many are done, of how many)."""


class Sweep:
    """One run over everything. `believe_empty` names accounts in which a person has said that there are no instances."""

    def __init__(
        self,
        delivery: Delivery,
        event_id: str,
        *,
        believe_empty: Iterable[str] = (),
        progress: Progress = lambda _what, _done, _all: None,
    ) -> None:
        self.delivery = delivery
        self.policy = delivery.policy
        self.region = delivery.region
        self.started = delivery.clock.now()
        self.believe_empty = frozenset(believe_empty)
        self.progress = progress
        self.scribe = delivery.scribe({"event_id": event_id})
        self.reader = Reader(delivery.cloud(event_id), self.policy)
        self.view = self.reader.view
        self.failed_reads: dict[str, str] = {}
        self.managed: list[Party] = []
        self.decisions: list[Decision] = []
        self.doubted: frozenset[str] = frozenset()
        self.unread = 0

    def run(self) -> list[Decision]:
        """Reads, plans and changes. Raises Transient if any change must be tried again."""
        try:
            return self._run()
        except Transient as trouble:
            self.scribe.attempt(trouble, {"action": "repair"})
            raise

    def _run(self) -> list[Decision]:
        self._read()
        refused: dict[Link, Refusal] = {}
        applier = Applier(
            self.reader,
            self.policy,
            self.region,
            self.scribe,
            self.delivery.clock,
            self.delivery.retry,
            self.started,
            summary=False,
        )
        total = Report()
        for attempt in range(PASSES):
            decisions = self._plan(refused, first=attempt == 0)
            if attempt == 0:
                self.decisions = decisions
            report = applier.apply(decisions)
            total.changed += report.changed
            total.removed += report.removed
            total.held = max(total.held, report.held)  # what is held is planned again in every pass
            total.pending += report.pending
            if not report.failed:
                break
            refused |= report.failed
        applier.finish()
        self._untag(total)
        self._tell(total)
        if total.pending:
            raise total.pending[0]
        return self.decisions

    # reading

    def _read(self) -> None:
        """What stands is read before who wants it: a rule that an event adds meanwhile is then not seen, while one that
        is seen is wanted by tags that are read later, or by nobody."""
        accounts = sorted(self.policy.accounts)
        with ThreadPoolExecutor(min(READERS, len(accounts))) as pool:
            managed = list(pool.map(self._managed, accounts))
            self.managed = sorted(group for groups in managed for group in groups)
            self._rules(self.managed)
            list(pool.map(self._instances, accounts))
        self.view.alive |= self.believe_empty
        claims = self._tag_claims()
        wanted = {party for claim in claims for party in (claim.link.source, claim.link.target) if party.id}
        wanted |= {Party(i.party.account, group) for i in self.view.instances.values() for group in i.groups}
        self._parties(wanted)
        claims = self._tag_claims()  # again: which group stands for an instance shows only now
        needed = self._groups_needed(claims)
        self._rules(needed)
        named = {
            party
            for rule, marker in owned_rules(self.view, self.policy, self.region)
            if rule.key
            for party in _ends(link_of(rule.key, marker))
        }
        self._parties(named)
        self._rules(self._groups_needed(self._request_claims()))
        for account, error in sorted(self.view.blocked.items()):
            self._no_access(account, error)

    def _managed(self, account: str) -> list[Party]:
        """The groups of an account that hold rules of ours; a read that fails is told, and removes nothing."""
        try:
            return self.reader.managed(account, self.policy.deployment)
        except (Transient, CloudError) as error:
            self._failed(account, error)
            return []

    def _instances(self, account: str) -> None:
        """All instances of an account, unfiltered: tags named `link-peer.<any>` can't be asked for by a filter."""
        if account in self.failed_reads:
            return
        try:
            self.reader.everything(account)
        except (Transient, CloudError) as error:
            self._failed(account, error)
        self.progress("accounts read", len(self.view.whole), len(self.policy.accounts))

    def _failed(self, account: str, error: Exception) -> None:
        self.failed_reads[account] = str(error)
        self.view.whole.discard(account)
        self.view.blocked[account] = NoAccess("ReadFailed", str(error))

    def _parties(self, parties: Iterable[Party]) -> None:
        for account in sorted({party.account for party in parties}):
            if account in self.failed_reads:
                continue
            try:
                self.reader.parties(party for party in parties if party.account == account)
            except (Transient, CloudError) as error:
                self._failed(account, error)

    def _rules(self, groups: Iterable[Party]) -> None:
        """Side by side, for as long as there is time to read; from another place each minute, since nothing remembers where
        the last run stopped."""
        todo = [g for g in sorted(set(groups)) if g not in self.view.rules and g.account not in self.failed_reads]
        first = int(self.started // 60 * GOLDEN % 1 * len(todo))
        todo = todo[first:] + todo[:first]
        stop = self.started + (self.delivery.retry.deadline - self.started) * READING_SHARE
        chunk = READERS * 8
        for start in range(0, len(todo), chunk):
            if self.delivery.clock.now() >= stop and start:
                self.unread += len(todo) - start
                return
            part = todo[start : start + chunk]
            for account in sorted({group.account for group in part} - self.failed_reads.keys()):
                try:
                    self.reader.rules((group for group in part if group.account == account), READERS)
                except (Transient, CloudError) as error:
                    self._failed(account, error)
            self.progress("groups read", min(start + chunk, len(todo)), len(todo))

    def _groups_needed(self, claims: Sequence[Claim]) -> set[Party]:
        links = {claim.link for claim in claims if not claim.denial}
        needs = (need.key.group for link in links for need in judge(self.view, self.policy, link).needs)
        return {group for group in needs if group in self.view.groups}

    # deciding

    def _tag_claims(self) -> list[Claim]:
        now = self.started
        return [c for i in self.view.instances.values() if i.tags for c in tag_claims(self.view, i, now)]

    def _request_claims(self) -> list[Claim]:
        """What requests asked for, as their reasons on standing rules tell: one link for a request's rules of a pair."""
        asked: dict[tuple[Party, Party, bool, Reason], set[Port]] = {}
        for rule, marker in owned_rules(self.view, self.policy, self.region):
            if rule.key is None:
                continue
            link = link_of(rule.key, marker)
            for reason in marker.reasons:
                if not reason.is_tag:
                    asked.setdefault((link.source, link.target, link.mutual, reason), set()).add(rule.key.port)
        return [
            Claim(Link(source, target, () if mutual else tuple(sorted(p for p in ports if p != ALL))), reason)
            for (source, target, mutual, reason), ports in asked.items()
        ]

    def _plan(self, refused: dict[Link, Refusal], *, first: bool) -> list[Decision]:
        plan = self._made(refused, first=first)
        due = sum(decision.removes for decision in plan.decisions if decision.counted)
        if first and plan.unseen and due <= self.policy.limits.removals_per_run:  # more are held anyway
            self._look_twice(plan.unseen)
            plan = self._made(refused, first=first)
        self.doubted = plan.doubts
        removed = {(frozenset(_ends(d.link)), d.reason) for d in plan.decisions if d.outcome == "removed"}
        return [d for d in plan.decisions if self._worth_telling(d, removed) and not self._not_read(d)]

    def _made(self, refused: dict[Link, Refusal], *, first: bool) -> Plan:
        return make(
            self.view,
            Context(self.policy, self.region, self.started, ("repair", "repair")),
            [*self._tag_claims(), *self._request_claims()],
            focus=lambda claim: self._readable(claim.link) and (first or claim.link in refused),
            may_lose=self._may_lose,
            refused=refused,
        )

    def _look_twice(self, parties: Iterable[Party]) -> None:
        for account in sorted({party.account for party in parties}):
            try:
                self.reader.look_twice(party for party in parties if party.account == account)
            except (Transient, CloudError) as error:
                self._failed(account, error)

    def _worth_telling(self, decision: Decision, removed: set[tuple[frozenset[Party], str]]) -> bool:
        """Changes, and wishes of tags that are denied. A request's rule that goes was asked for by nobody now."""
        if decision.outcome == "denied" and decision.instance is None:
            return (frozenset(_ends(decision.link)), decision.reason) not in removed
        return decision.outcome != "unchanged" or bool(decision.untagged)

    def _readable(self, link: Link) -> bool:
        return not {link.source.account, link.target.account} & self.view.blocked.keys()

    def _not_read(self, decision: Decision) -> bool:
        """A rule can't be called missing on a group whose rules were not read this time."""
        return any(edit.kind == "add" and edit.key.group not in self.view.rules for edit in decision.edits)

    def _may_lose(self, rule: Rule, _marker: Marker, _reason: Reason) -> bool:
        """Every reason, where the rule's own account was read whole. Where the other side's could not be read, nothing is
        said of it, and the rule goes only for what needs no look there: its end, the policy, its group's own consent."""
        return rule.group.account in self.view.whole

    # afterwards

    def _untag(self, total: Report) -> None:
        """Groups on which no rule of ours is left lose the tag, after another read; the tag goes on record first.

        Another delivery may write a rule between that read and the change. It looks for the tag after writing, and here
        the rules are looked for after untagging: one of the two sees the other's change, and the tag is on again.
        """
        holding = {rule.group for rule, _ in owned_rules(self.view, self.policy, self.region)} | self._missed()
        tag = managed_tag(self.policy.deployment)
        # also those that got the tag in this run, for a rule which was then refused
        for group in sorted(party for party, shown in self.view.groups.items() if shown.tags.get(tag) == "true"):
            empty = group in self.view.rules and group not in holding
            ecs = self.reader.ecs(group.account) if empty and not self.policy.paused else None
            if ecs is None or self.delivery.clock.now() >= self.delivery.retry.deadline:
                continue
            try:
                if any(rule.group == group for rule, _ in self._again(group)):
                    continue
                record = {
                    "record": "intent",
                    "action": "repair",
                    "from_account": group.account,
                    "from": group.id,
                    "detail": "no rule of ours is left: the tag by which the sweep finds the group is taken off",
                }
                self.scribe.write([record])
                request = ecs.untag_managed(group.id, self.policy.deployment)
                if self._taken(group):
                    requests = f"{request},{ecs.tag_managed(group.id, self.policy.deployment)}"
                    detail = "another delivery has written a rule meanwhile: the tag is on again"
                    told = {"record": "outcome", "outcome": "unchanged", "detail": detail, "api_requests": requests}
                    self.scribe.write([{**record, **told}])
                    continue
                self.scribe.write([{**record, "record": "outcome", "outcome": "removed", "api_requests": request}])
                total.changed += 1
            except NoAccess as error:
                self._no_access(group.account, error)
            except (Transient, CloudError) as error:
                self.failed_reads.setdefault(group.account, str(error))

    def _missed(self) -> set[Party]:
        """Groups that should hold a rule and do not, since it is refused each time: their tag does not come and go."""
        there = {rule.key for rules in self.view.rules.values() for rule in rules if rule.policy == "accept"}
        claims = [*self._tag_claims(), *self._request_claims()]
        links = {claim.link for claim in claims if not claim.denial and not claim.same_group}
        verdicts = (judge(self.view, self.policy, link) for link in links)
        needs = (need for verdict in verdicts if verdict.denial is None for need in verdict.needs)
        return {need.key.group for need in needs if need.key not in there}

    def _taken(self, group: Party) -> bool:
        """Whether a rule of ours is there after all; a read that fails cannot say no."""
        try:
            return any(rule.group == group for rule, _ in self._again(group))
        except (Transient, CloudError):
            return True

    def _again(self, group: Party) -> list[tuple[Rule, Marker]]:
        """Raises NoAccess too: the reader itself only notes it, and shows no rules."""
        self.reader.again(group)
        if group not in self.view.rules:
            raise self.view.blocked[group.account]
        return owned_rules(self.view, self.policy, self.region)

    def _no_access(self, account: str, error: NoAccess) -> None:
        self.scribe.write(
            [
                {
                    "record": "outcome",
                    "action": "repair",
                    "outcome": "denied",
                    "reason": "no-access",
                    "from_account": account,
                    "detail": f"account {account} cannot be read: {error.code}: nothing is removed there",
                    "advice": "check that account's role, its trust policy and external id, and its permissions",
                }
            ]
        )

    def _tell(self, total: Report) -> None:
        outcomes = Counter(self.scribe.outcomes)
        skipped = [f"{account}: {why}" for account, why in sorted(self.failed_reads.items())]
        blocked = [(account, e) for account, e in sorted(self.view.blocked.items()) if account not in self.failed_reads]
        skipped += [f"{account}: no access ({error.code})" for account, error in blocked]
        skipped += [
            f"{account}: shows no instances, so nothing there is believed to be gone"
            for account in sorted(self.doubted)
        ]
        if self.unread:
            skipped.append(f"{self.unread} groups: no time was left to read them; the next runs begin elsewhere")
        told: Record = {"outcome": "applied" if total.changed else "unchanged", "detail": ""}
        if total.held:
            told = held_fields(total.held, self.policy)
        summary: Record = {
            **told,
            "record": "summary",
            "action": "repair",
            "detail": "; ".join([*filter(None, [told["detail"]]), *skipped]),
            "instances": str(len(self.view.instances)),
            "groups": str(len(self.view.rules)),
            "changed": str(total.changed),
            "removed": str(total.removed),
            "held": str(total.held),
            "denied": str(outcomes["denied"]),
            "api_calls": json.dumps(self.reader.calls, sort_keys=True),
            "seconds": f"{self.delivery.clock.now() - self.started:.1f}",
        }
        self.scribe.write([summary])


def _ends(link: Link) -> tuple[Party, Party]:
    return link.source, link.target
