"""The scope of the timer: every rule of ours is what tags, requests and consent say now, in all accounts of the policy.

    read accounts side by side ─▶ desired: every instance's tags, every request's claim on a rule
      ─▶ converge ─▶ remove the tag of groups that hold nothing of ours any more ─▶ summary

What the function's time does not allow is left as it is, safely: each run starts reading at another place, and finds the
remaining changes by itself, since every run decides anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from link_peer.domain import denial as denials
from link_peer.domain.errors import Transient
from link_peer.domain.model import ALL, Claim, Link, Marker, Party, Port, Rule
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.apply import Report
from link_peer.engine.converge import Scope, converge
from link_peer.engine.reader import Reader
from link_peer.engine.records import denied_record
from link_peer.engine.scopes.summary import skipped, summary_record
from link_peer.engine.scopes.untag import untag_empty_groups
from link_peer.planning.actual import link_of, owned_rules
from link_peer.planning.claims import DesiredLink, links_from_tags
from link_peer.planning.decision import Context, Decision, Plan
from link_peer.planning.evaluate import evaluate
from link_peer.planning.removal_guard import RemovalGuard
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Record

READING_SHARE = 0.6  # of the time left may be spent reading rules
CHUNK = 32  # groups whose rules are read before the time is checked again
GOLDEN = (
    0.6180339887498949  # one step of this part of a circle per minute spreads evenly: every group has its turn soon
)

Progress = Callable[[str, int, int], None]
"""(what is being done, how many are done, of how many)."""


class Sweep(Scope):
    """One run over everything. `decisions` are those of the first plan; `report` what came of them.

    `managed` are the groups with the managed tag; `doubted_accounts` showed no instances, so that nothing there was
    treated as gone; `unread` counts groups that there was no time to read.
    """

    def __init__(
        self,
        delivery: Delivery,
        event_id: str,
        *,
        believe_empty: Iterable[str] = (),
        progress: Progress = lambda _what, _done, _all: None,
    ) -> None:
        """`believe_empty` names accounts that a person has confirmed to hold no instances."""
        reader = Reader(delivery.cloud(event_id), delivery.policy, threads=delivery.readers, tolerant=True)
        super().__init__(delivery, reader, delivery.audit({"event_id": event_id}))
        self.believe_empty = frozenset(believe_empty)
        self.progress = progress
        self.managed: list[Party] = []
        self.decisions: list[Decision] | None = None
        self.doubted_accounts: frozenset[str] = frozenset()
        self.unread = 0
        self.report = Report()

    def run(self) -> None:
        """Reads, plans and changes. Raises Transient if the audit log could not be written; trouble with single changes
        is in `report.pending`."""
        self._read()
        self.report = converge(self, RemovalGuard(self.policy.limits.removals_per_run, reported=True))
        self.report.changed += untag_empty_groups(self, self.reader)
        self._record_failed_accounts()
        self.audit.write([self._summary()])

    @property
    def context(self) -> Context:
        """Everything that a sweep does is recorded as `repair`."""
        return Context(self.policy, self.delivery.region, self.started, ("repair", "repair"))

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        """What all tags and all requests' claims ask for."""
        return [*self._from_tags(snapshot), *self._from_requests(snapshot)]

    def concerns(self, wanted: DesiredLink) -> bool:
        """Every link whose two accounts could be read."""
        return self.reader.readable(wanted.link.source.account) and self.reader.readable(wanted.link.target.account)

    def may_lose(self, snapshot: Snapshot, rule: Rule, marker: Marker, claim: Claim) -> bool:
        """Every claim, where the rule's own account was read completely. Where the other side's account could not be read,
        nothing is decided about that side: the rule is removed only for causes that need no look there, which are its
        end, the policy, and its group's own consent."""
        return rule.group.account in snapshot.whole_accounts

    def select(self, plan: Plan) -> list[Decision]:
        """Changes, and tags' links that are denied; of those only what is known about groups that were read."""
        self.doubted_accounts = plan.doubted_accounts
        snapshot = self.reader.snapshot()
        removed = {(_ends(d.link), d.why.code) for d in plan.decisions if d.outcome == "removed"}
        chosen = [d for d in plan.decisions if _worth_recording(d, removed) and self._was_read(d, snapshot)]
        if self.decisions is None:
            self.decisions = chosen
        return chosen

    # reading

    def _read(self) -> None:
        """Rules are read before the tags that want them: a rule that an event adds meanwhile is then not in the plan,
        while one that is in it is wanted by tags that are read later, or by nothing."""
        reader, accounts = self.reader, sorted(self.policy.accounts)
        self.managed = reader.managed_groups(accounts, self.policy.deployment)
        self._rules(self.managed)
        reader.everything(accounts, lambda done: self.progress("accounts read", done, len(accounts)))
        reader.assume_live(self.believe_empty)
        snapshot = reader.snapshot()
        parties = {party for wanted in self._from_tags(snapshot) for party in _ends(wanted.link) if party.id}
        parties |= {Party(i.party.account, group) for i in snapshot.instances.values() for group in i.groups}
        reader.parties(parties)
        snapshot = reader.snapshot()  # only now is it known which group represents an instance
        self._rules(self._groups_needed(snapshot, self._from_tags(snapshot)))
        snapshot = reader.snapshot()
        owned = owned_rules(snapshot, self.policy, self.delivery.region)
        reader.parties({party for rule, marker in owned if rule.key for party in _ends(link_of(rule.key, marker))})
        snapshot = reader.snapshot()
        self._rules(self._groups_needed(snapshot, self._from_requests(snapshot)))
        self._record_refused_accounts()

    def _rules(self, groups: Iterable[Party]) -> None:
        """Reads rules for as long as there is time; from another place each minute, since nothing remembers where the last
        run stopped."""
        todo = sorted(group for group in set(groups) if self.reader.readable(group.account))
        first = int(self.started // 60 * GOLDEN % 1 * len(todo))
        todo = todo[first:] + todo[:first]
        stop = self.started + (self.delivery.retry.deadline - self.started) * READING_SHARE
        for start in range(0, len(todo), CHUNK):
            if self.delivery.clock.now() >= stop and start:
                self.unread += len(todo) - start
                return
            self.reader.rules(todo[start : start + CHUNK])
            self.progress("groups read", min(start + CHUNK, len(todo)), len(todo))

    def _groups_needed(self, snapshot: Snapshot, links: Sequence[DesiredLink]) -> set[Party]:
        wanted = {one.link for one in links if not one.denial}
        needs = (need.key.group for link in wanted for need in evaluate(snapshot, self.policy, link).needs)
        return {group for group in needs if group in snapshot.groups and group not in snapshot.rules}

    # desired links

    def _from_tags(self, snapshot: Snapshot) -> list[DesiredLink]:
        instances = (instance for instance in snapshot.instances.values() if instance.tags)
        return [wanted for i in instances for wanted in links_from_tags(snapshot, i, self.started)]

    def _from_requests(self, snapshot: Snapshot) -> list[DesiredLink]:
        """What requests asked for, as their claims on rules show: one link for a request's rules of a pair."""
        asked: dict[tuple[Party, Party, bool, Claim], set[Port]] = {}
        for rule, marker in owned_rules(snapshot, self.policy, self.delivery.region):
            if rule.key is None:
                continue
            link = link_of(rule.key, marker)
            for claim in marker.claims:
                if not claim.is_tag:
                    asked.setdefault((link.source, link.target, link.mutual, claim), set()).add(rule.key.port)
        return [
            DesiredLink(Link(source, target, () if mutual else tuple(sorted(p for p in ports if p != ALL))), claim)
            for (source, target, mutual, claim), ports in asked.items()
        ]

    def _was_read(self, decision: Decision, snapshot: Snapshot) -> bool:
        """A rule cannot be called missing on a group whose rules were not read this time."""
        return all(edit.key.group in snapshot.rules for edit in decision.edits if edit.kind == "add")

    # records

    @property
    def unreadable(self) -> dict[str, str]:
        """The accounts that could not be read, and why."""
        snapshot = self.reader.snapshot()
        found = {account: f"no-access: {error}" for account, error in snapshot.refused_accounts.items()}
        return {**found, **{a: f"could not be read: {why}" for a, why in snapshot.failed_accounts.items()}}

    def skipped(self) -> dict[str, str]:
        """What could not be looked at, or was left alone, and why: by account, and by a number of groups."""
        return skipped(self.reader.snapshot(), self.doubted_accounts, self.unread)

    def _summary(self) -> Record:
        limit = self.policy.limits.removals_per_run
        counts = summary_record(
            self.reader.snapshot(), self.report, self.audit.outcomes, self.skipped().values(), limit
        )
        seconds = self.delivery.clock.now() - self.started
        return {
            **counts,
            "api_calls": json.dumps(self.reader.calls, sort_keys=True),
            "seconds": f"{seconds:.1f}",
        }

    def _record_refused_accounts(self) -> None:
        refused = sorted(self.reader.snapshot().refused_accounts.items())
        self.audit.write(
            [
                denied_record(denials.sweep_no_access(account, error.code), "repair", from_account=account)
                for account, error in refused
            ]
        )

    def _record_failed_accounts(self) -> None:
        """An outage of an account is trouble of the moment, not lost access: the next sweep tries again."""
        for account, problem in sorted(self.reader.snapshot().failed_accounts.items()):
            trouble = Transient(f"account {account} could not be read: {problem}")
            self.audit.attempt(trouble, {"action": "repair", "from_account": account})


def _worth_recording(decision: Decision, removed: set[tuple[tuple[Party, Party], denials.ReasonCode]]) -> bool:
    """Changes, and tags' links that are denied. Nobody is asking now for a request's rule that is removed."""
    if decision.outcome == "denied" and decision.instance is None:
        return (_ends(decision.link), decision.why.code) not in removed
    return decision.outcome != "unchanged" or bool(decision.missing_managed_tag)


def _ends(link: Link) -> tuple[Party, Party]:
    return min(link.source, link.target), max(link.source, link.target)
