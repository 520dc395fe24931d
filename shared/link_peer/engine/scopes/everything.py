"""The scope of the timer: every rule of ours is what tags, requests and consent say now, in all accounts of the policy.

    groups of every account, rules of managed groups, and a share of the others
      ─▶ close: what has ended, lost its consent, is locked, or is against the policy
      ─▶ read instances: wishes of every tag ─▶ converge
      ─▶ remove the tag of groups that hold nothing of ours any more ─▶ summary

Closing needs no wishes, so no amount of them keeps it from being done in time. What the function's time does not allow is
left as it is, safely: each run starts reading at another place, and finds the remaining changes by itself.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any

import msgspec

from link_peer.domain.model import TAG, Claim, Group, Instance, Link, Party, Rule, RuleKey, short_hash
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import asks_for_links
from link_peer.engine.converge import Scope, converge
from link_peer.engine.read.access import Reading
from link_peer.engine.read.fetch import Meanwhile, nothing
from link_peer.engine.read.store import groups_of
from link_peer.engine.scopes.closing import look
from link_peer.engine.scopes.summary import account_record, entered_fields, record_unreadable, skipped
from link_peer.engine.scopes.untag import untag_empty_groups
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.engine.write.work import Report, Until, open_work
from link_peer.planning.actual import OwnedLink, damaged_rules, owned_links
from link_peer.planning.claims import wanted_by_all
from link_peer.planning.decision import Context, Decision, DesiredLink, Plan
from link_peer.planning.evaluate import permitted, wish_denial
from link_peer.planning.removals import May
from link_peer.planning.rota import run_of
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.pace import Pace
from link_peer.runtime.ports import Record

RULES_SHARE = 0.5  # of the time left may have passed when the last rules are read that closing needs
CLOSING_SHARE = 0.65  # and when the last rule is removed that needs no look at wishes
CLOSING_EACH = 0.15  # and what one account's closing may take of it before then
READING_SHARE = 0.85  # and when anything is read that need not be read right before a change
LAST_CLOSING_SHARE = 0.5  # of the time that is left then; the rest is for opening
GOLDEN = (
    0.6180339887498949  # one step of this part of a circle per minute spreads evenly: every group has its turn soon
)
RUNS_A_DAY = 144
MAX_EXTRA_READS = 200  # of groups without the managed tag, in one run
NAMED = 2_000  # instances of one account that the rules, or the tags, of one account make a run read by id: 20 calls
ASKING = (
    100  # groups of which one account makes a run read all instances: nobody asks for their rules, or these follow them
)

Progress = Callable[[str, int, int], None]
"""(what is being done, how many are done, of how many)."""


class _Asked(msgspec.Struct):
    """What the caller of a sweep asks for; and of the groups, the `sources` of links by address that requests asked for, which
    follow the instances of their groups, and those to look at `later` (see `_unasked`; None while closing)."""

    believe_empty: frozenset[str]
    progress: Progress
    sources: set[Party]
    later: set[tuple[str, Party]] | None = None


class Sweep(Scope):
    """One run over everything. `decisions` are those that change something, `denied` the wishes that stay denied; `report`
    what came of them.

    `managed` are the groups with the managed tag, or found to hold rules of ours without it; `doubted_accounts` showed no
    instances, so that nothing there was treated as gone. There was no time to read `unread` groups of an account:
    that is no failure, since the next runs do.
    """

    def __init__(
        self,
        delivery: Delivery,
        event_id: str,
        *,
        believe_empty: Iterable[str] = (),
        progress: Progress = lambda _what, _done, _all: None,
        keep: Callable[[Instance], bool] | None = None,
    ) -> None:
        """`believe_empty` names accounts that a person has confirmed to hold no instances. `keep` says which instances stay in
        memory: those that ask for links, and for a person's question perhaps all."""
        end = _after(delivery, delivery.clock.now(), READING_SHARE)
        pace = Pace(delivery.clock, end, delivery.throughput.calls_per_minute)
        sources = set[Party]()
        keep = keep or (
            lambda one: asks_for_links(one.tags, delivery.policy.keys) or not sources.isdisjoint(groups_of([one]))
        )
        how = Reading(tolerant=True, pace=pace, keep=keep)
        super().__init__(open_work(delivery, event_id, delivery.audit({"event_id": event_id}), how))
        self._asked = _Asked(frozenset(believe_empty), progress, sources)
        self.managed: list[Party] = []
        self.decisions: list[Decision] = []
        self.denied: dict[tuple[Link, str], Decision] = {}
        self.doubted_accounts: frozenset[str] = frozenset()
        self.unread: Counter[str] = Counter()
        self.report = Report()

    def run(self) -> None:
        """Closes, then reads wishes and converges. Raises Transient if the audit log could not be written; trouble with
        single changes is in `report.pending`."""
        guard = RemovalGuard(self.policy.limits.removals_per_run)
        self._read_standing()
        stuck = self._close(guard)
        self._read_wishes()
        self._converge(guard, stuck)
        self._finish()

    def _close(self, guard: RemovalGuard) -> frozenset[RuleKey]:
        """Closes what needs no look at wishes. Returns the rules whose removal was refused for good."""
        closed = converge(self, guard)
        # what met a transient error while closing, or had no time, is due again when wishes are read
        self.report = msgspec.structs.replace(closed, pending=(), undone=0)
        return closed.refused_keys

    def _converge(self, guard: RemovalGuard, stuck: frozenset[RuleKey]) -> None:
        """Brings rules to what is wished for, and looks at what was written."""
        report = converge(self, guard)
        opened = {one.link for one in self.decisions if one.outcome == "applied"}
        groups = report.written | self.needed_groups(self.store.snapshot(), opened)  # the rest was judged by its plans
        self.report += report + look(self, guard, groups, stuck | report.refused_keys)

    def _finish(self) -> None:
        """Counts what is left undone, takes tags off groups that need none, and records the run."""
        self._count()
        untagged = {account: untag_empty_groups(self, [account]) for account in self.accounts}
        record_unreadable(self.audit, self.store.snapshot(), self.accounts)
        self.audit.write([self._summary(account, untagged[account]) for account in self.accounts])

    def _count(self) -> None:
        """Counts what is left undone, and keeps of the denials those that stayed."""
        recorded = self.report.refused.keys() | {d.link for d in self.decisions if d.outcome == "applied"}
        if self.delivery.out_of_time():
            undone = self.report.undone + len(self.report.pending)
            self.report = msgspec.structs.replace(self.report, undone=undone, pending=())
        self.denied = {key: decision for key, decision in self.denied.items() if decision.link not in recorded}

    @property
    def accounts(self) -> list[str]:
        """The accounts that are swept: their groups and instances are listed."""
        return sorted(self.policy.accounts)

    @property
    def context(self) -> Context:
        """Everything that a sweep does is recorded as `repair`."""
        actions = ("repair", "repair")
        hidden = bool(self.delivery.caller)
        return Context(
            self.policy, self.delivery.region, self.started, actions, completes_tags_only=True, hidden_asks=hidden
        )

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        """What all tags ask for, and the claims of requests that keep their rules; answered where both accounts could be read.
        While closing: nothing is read yet."""
        return [] if self._closing else self._wanted(snapshot)

    def _wanted(self, snapshot: Snapshot) -> list[DesiredLink]:
        taken = self.work.writes.taken
        found = wanted_by_all(snapshot, self.policy, self.delivery.region, self.started, taken)
        unread = {*snapshot.refused_accounts, *snapshot.failed_accounts}
        return [
            msgspec.structs.replace(one, here=False) if {end.account for end in _ends(one.link)} & unread else one
            for one in found
        ]

    def may_lose(self, snapshot: Snapshot, rule: Rule, link: Link, claim: Claim) -> May:
        """Every claim, where the rule's own account was read completely; else those with an explicit cause, which need no
        look at instances. What the other end's account did not show decides nothing: see `permitted.no_access`."""
        read = rule.group.account in snapshot.whole_accounts
        return May.TAKE if read and not self._is_later(rule.group, link) else May.CLOSE

    def _is_later(self, group: Party, link: Link) -> bool:
        """Whether this run does not read all that tells whether anybody asks for a link's rule on a group."""
        later, postponed = self._asked.later or set(), self.fetch.postponed
        ends = {*link.parties} - {group}
        return bool(ends & postponed or {(group.account, end) for end in ends} & later)

    @property
    def _closing(self) -> bool:
        """Whether wishes are not read yet."""
        return self._asked.later is None

    def doubtful(self, plan: Plan) -> Set[str]:
        """Those that do not show something which is due for that alone; a person may have said that one is empty."""
        return {unseen.account for unseen in plan.due} - self._asked.believe_empty

    def closing_until(self) -> Until:
        """When other work is due: before wishes are read; then half of the time that is left is kept for opening. What is
        throttled, or more than one account's share, is closed then: nobody's wishes wait for it."""
        if self._closing:
            return Until(self._end(CLOSING_SHARE), 0.0, self._end(CLOSING_EACH) - self.started)
        return self._until_opening()

    def _until_opening(self) -> Until:
        """Half of the time that is left."""
        end = _after(self.delivery, self.delivery.clock.now(), LAST_CLOSING_SHARE)
        return Until(end, end)

    def select(self, plan: Plan) -> list[Decision]:
        """Changes. Wishes that stay denied are counted in the summary, not recorded at every run."""
        self.doubted_accounts = plan.missing.doubted_accounts
        snapshot = self.store.snapshot()
        chosen = []
        for decision in plan.decisions:
            if self._refused_before(decision):
                continue  # while closing, and recorded then
            if self._closing and decision.missing_managed_tag and not decision.edits:
                continue  # whether the group keeps a rule is known once wishes are read
            if decision.edits or decision.missing_managed_tag or decision.outcome == "removed":
                if self._was_read(decision, snapshot):
                    chosen.append(decision)
            elif decision.outcome in ("denied", "failed") and decision.instance is not None:
                self.denied[decision.link, decision.raw] = decision
        self.decisions += chosen
        return chosen

    @property
    def unreadable(self) -> dict[str, str]:
        """The accounts that could not be read, and why."""
        snapshot = self.store.snapshot()
        found = {account: f"no-access: {error}" for account, error in snapshot.refused_accounts.items()}
        return {**found, **{a: f"could not be read: {why}" for a, why in snapshot.failed_accounts.items()}}

    @property
    def damaged(self) -> list[Rule]:
        """Rules that name this deployment and home, but carry no valid marker of ours. They are left alone."""
        return damaged_rules(self.store.snapshot(), self.policy, self.delivery.region)

    # reading

    def _read_standing(self) -> None:
        """Every group, and the rules of those that hold rules of ours. Rules are read before the tags that want them: a
        rule that an event adds meanwhile is then not in the plan, while one that is in it is wanted by tags that are read
        later, or by nothing."""
        groups = self.fetch.all_groups(self.accounts)
        tagged = [group.party for group in groups if self._has_tag(group)]
        self._rules(tagged, self._end(RULES_SHARE))
        extra = self._share(groups)
        self._rules(extra, self._end(RULES_SHARE))
        standing = self._standing()
        stripped = {rule.group for _, rule, _ in standing} & set(extra)
        self.managed = sorted({*tagged, *stripped})
        self._asked.sources.update(link.source for link, *_ in standing if link.member)
        self._read_parties((rule.group.account, link) for link, rule, _ in standing)
        self._read_halves(standing, RULES_SHARE)

    def _standing(self) -> list[OwnedLink]:
        """The rules of ours in the accounts that are swept."""
        owned = owned_links(self.store.snapshot(), self.policy, self.delivery.region)
        return [one for one in owned if one[1].group.account in self.accounts]

    def _enters(self, _account: str) -> bool:
        """Whether an account may be read now."""
        return True

    def _has_tag(self, group: Group) -> bool:
        return group.tags.get(self.policy.keys.managed) == "true"

    def _share(self, shown: Sequence[Group]) -> list[Party]:
        """The groups without the managed tag that this run looks at. Tools that rewrite tags remove it (Terraform does), so
        every group with rules is looked at within a day.

        An account in which no group has the tag perhaps does not let it be written: RAM may not know the condition key of tag
        calls. There as many are looked at as a run may.
        """
        groups = sorted(group.party for group in shown if group.rule_count and not self._has_tag(group))
        seen = {group.party.account for group in shown if self._has_tag(group)}
        share = part_of(groups, min(MAX_EXTRA_READS, math.ceil(len(groups) / self.runs_a_day) + 1), self._run)
        unseen = [group for group in groups if group.account not in seen and group not in share]
        return share + part_of(unseen, MAX_EXTRA_READS - len(share), self._run)

    def _read_wishes(self) -> None:
        accounts = deque(self.accounts)
        accounts.rotate(self._run)  # so that no account is always the last
        self.fetch.everything(accounts, lambda done: self._asked.progress("accounts read", done, len(accounts)))
        self.store.live_accounts.update(self._asked.believe_empty)
        snapshot = self.store.snapshot()
        wishes = self.wishes(snapshot, snapshot.instances.values())
        self._read_parties((wanted.instance.account, wanted.link) for wanted in wishes if wanted.instance)
        self._read_wished_rules()

    def _read_wished_rules(self) -> None:
        desired = self._wanted(self.store.snapshot())
        self._rules_of(desired, READING_SHARE)
        self._asked.later = self._unasked(desired)

    def _read_halves(self, standing: Iterable[OwnedLink], share: float) -> None:
        """Reads the rules of the groups that hold the other halves of mutual links."""
        self._rules_of([DesiredLink(link, TAG) for link, *_ in standing if link.mutual], share)

    def _rules_of(self, links: Iterable[DesiredLink], share: float) -> None:
        """Reads the rules that verdicts on these links need."""
        needed = self._groups_needed(self.store.snapshot(), links)
        self._rules((group for group in needed if self._enters(group.account)), self._end(share))

    def _read_parties(self, links: Iterable[tuple[str, Link]]) -> None:
        """Reads the parties of links. With each link comes the account in whose rules or tags it was found."""
        named, postponed = self._named(links)
        self.fetch.postponed = (self.fetch.postponed | postponed) - named
        self.fetch.parties(party for party in named if self._enters(party.account))

    def _named(self, links: Iterable[tuple[str, Link]]) -> tuple[set[Party], set[Party]]:
        """The parties of links that rules or tags of an account name, and those that this run does not read: what one account
        writes costs another a bounded number of calls. The others have their turn in the next runs."""
        found: dict[tuple[str, str], set[Party]] = {}
        named: set[Party] = set()
        for account, link in links:
            for end in link.parties:
                if end.is_group and end.account in self.accounts:
                    named.add(end)  # every group is listed
                elif end.id:
                    found.setdefault((account, end.account), set()).add(end)
        for ends in found.values():
            turn = self._run // math.ceil(len(ends) / NAMED)  # each has one; who is read together changes with it
            named |= set(part_of(sorted(ends, key=functools.partial(_place, turn)), NAMED, self._run))
        return named, set().union(*found.values()) - named

    def _unasked(self, desired: Iterable[DesiredLink]) -> set[tuple[str, Party]]:
        """The groups, each with the account of rules for it, that nobody asks for and this run does not read once more."""
        snapshot = self.store.snapshot()
        pairs = {_ends(wanted.link) for wanted in desired if not wish_denial(snapshot, self.policy, wanted)}
        found: dict[str, set[Party]] = {}
        for link, rule, _ in owned_links(snapshot, self.policy, self.delivery.region):
            ends = _ends(link)
            if ends not in pairs:
                others = (end for end in ends if end.is_group and end != rule.group)
                found.setdefault(rule.group.account, set()).update(others)
        return {
            (account, group)
            for account, groups in found.items()
            for group in groups.difference(part_of(sorted(groups), ASKING, self._run))
        }

    @property
    def runs_a_day(self) -> int:
        """How often an account is swept in a day."""
        return RUNS_A_DAY

    @property
    def _run(self) -> int:
        """The number of this run: parts of what is too much for one run go round by it."""
        return run_of(self.started)

    def _rules(self, groups: Iterable[Party], until: float, meanwhile: Meanwhile = nothing) -> None:
        """Reads rules for as long as there is time, for all accounts in turn; each from another place each minute, since
        nothing remembers where the last run stopped. `meanwhile` is as in Fetch."""
        readable = (group for group in set(groups) if self.store.readable(group.account))
        todo: list[Party] = []
        for _, of_account in itertools.groupby(sorted(readable, key=self._order), key=lambda group: group.account):
            part = list(of_account)
            first = int(self.started // 60 * GOLDEN % 1 * len(part))
            todo += part[first:] + part[:first]
        progress = functools.partial(self._asked.progress, "groups read")
        left = self.fetch.rules_in_time(todo, until, progress, meanwhile)
        self.unread += Counter(group.account for group in left)

    def _order(self, group: Party) -> Any:
        """In which order groups are read."""
        return group

    def _end(self, share: float) -> float:
        """When this share of the run's time has passed."""
        return _after(self.delivery, self.started, share)

    def _groups_needed(self, snapshot: Snapshot, links: Iterable[DesiredLink]) -> set[Party]:
        """The groups whose rules a verdict on these links needs. What is denied costs no account but the one that asks."""
        wanted = {one.link for one in links if one.here and not one.denial}
        verdicts = [permitted(snapshot, self.policy, link, self.started) for link in wanted]
        needed = {
            need.key.group
            for one in verdicts
            for need in one.needs
            if one.denial is None or one.denial.undecided or need.key.group.account == one.link.source.account
        }
        return {group for group in needed if group in snapshot.groups and group not in snapshot.rules}

    def _refused_before(self, decision: Decision) -> bool:
        """Whether a change that the decision needs was refused for good in this run."""
        keys = {edit.key for edit in decision.edits}
        if decision.outcome == "removed":
            keys |= {rule.key for rule in decision.rules if rule.key}
        return bool(keys & self.report.refused_keys)

    def _was_read(self, decision: Decision, snapshot: Snapshot) -> bool:
        """A rule cannot be called missing on a group whose rules were not read this time."""
        return all(edit.key.group in snapshot.rules for edit in decision.edits if edit.kind == "add")

    # records

    def skipped(self) -> dict[str, str]:
        """What could not be looked at, or was left alone, and why: by account, and by a number of groups."""
        return skipped(
            self.store.snapshot(), self.doubted_accounts, self.unread, self.report.undone, self.work.tags.refused
        )

    def _summary(self, account: str, untagged: Sequence[str]) -> Record:
        """The summary of one account: of the changes of its groups, and of what it asked for."""
        is_only, person = self.accounts == [account], self.delivery.caller or self.delivery.supposed

        def concerns(uid: str) -> bool:
            return is_only or (uid if uid in self.accounts else self.policy.home) == account

        denied = Counter((d.link.source.account, f"{d.outcome} {d.why.reason.code}") for d in self.denied.values())
        counts = Counter[str]()
        for (uid, what), count in (self.report.by_account + denied).items():
            counts[what] += count if concerns(uid) else 0
        held = {unseen: count for unseen, count in self.report.held.items() if concerns(unseen.account)}
        elsewhere = [uid for uid in self.accounts if uid != account]
        notes = [text for what, text in self.skipped().items() if not any(uid in what for uid in elsewhere)]
        damaged = sorted({str(rule.group) for rule in self.damaged if concerns(rule.group.account)})
        return {
            **({} if person else entered_fields(self.policy, account, self.store.snapshot())),
            **account_record(self.policy, account, self.store.snapshot(), held, +counts, notes),
            "damaged_markers": ",".join(damaged),
            "api_requests": ",".join(untagged),
            "api_calls": json.dumps(self.fetch.calls, sort_keys=True),
            "seconds": f"{self.delivery.clock.now() - self.started:.1f}",
        }


def _after(delivery: Delivery, now: float, share: float) -> float:
    """When this share of the time that is left has passed (epoch seconds)."""
    return now + (delivery.retry.deadline - now) * share


def part_of(groups: list[Party], size: int, number: int) -> list[Party]:
    """The part with a number, of as many parts of a size as there are; the numbers go round."""
    start = number % math.ceil(len(groups) / size) * size if groups and size else 0
    return groups[start : start + size]


def _place(turn: int, party: Party) -> str:
    return short_hash(f"{turn} {party}")


def _ends(link: Link) -> tuple[Party, Party]:
    return min(link.source, link.target), max(link.source, link.target)
