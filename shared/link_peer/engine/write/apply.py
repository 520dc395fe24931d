"""From plan to rules: intent, change, read back, outcome. Closing comes before opening.

intents durable, beside them managed tags ─▶ per link: rules of the target's group ─▶ rules of the source's group
                                           ─▶ outcomes
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

import msgspec

from link_peer.domain.denials import (
    EXPIRED_MEANWHILE,
    PAUSED,
    LinkDenied,
    removals_held,
    request_expired,
    side_left,
    still_standing,
)
from link_peer.domain.errors import Throttled, Transient
from link_peer.domain.model import TAG, Link, Party, Rule, RuleKey
from link_peer.domain.policy import Pause, Policy
from link_peer.domain.request import LATE_SECONDS
from link_peer.domain.tags import iso
from link_peer.engine.records import Circumstances, decision_record, until_field, why_fields
from link_peer.engine.write.close import Closer, Closing, ClosingJob, jobs, only_closes
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.engine.write.settle import Settler
from link_peer.engine.write.tags import Requests
from link_peer.engine.write.work import UNLIMITED, Report, Until, Work
from link_peer.planning.decision import Context, Decision, DesiredLink, Edit, Refusal, Unseen, Verdict
from link_peer.planning.verdict.answers import wish_denial
from link_peer.planning.verdict.holders import evaluate
from link_peer.planning.verdict.single_link import permitted
from link_peer.runtime.ports import Record

CONSENT_SECONDS = 5  # tags that were read longer ago are read again right before a rule is written

RECORDS_PER_WRITE = 2_000  # intents, or outcomes: as they come, so that a run which dies has recorded most of them


class _Partial(msgspec.Struct, frozen=True):
    """A decision that was refused half-way: its outcome is recorded once what it wrote is rolled back."""

    decision: Decision
    refusal: Refusal
    requests: Requests


class _Intents:
    """Writes the intent of each decision before its first change, those of many decisions in one call."""

    def __init__(self, expected: Iterable[Decision], write: Callable[[Sequence[Decision]], None]) -> None:
        """`expected` are the decisions in the order in which they are likely to be carried out."""
        self._coming = deque(expected)
        self._write = write
        self._written: set[int] = set()

    def before(self, decisions: Iterable[Decision]) -> None:
        """Returns once the intents of these are durable. Raises Transient."""
        now = [decision for decision in decisions if id(decision) not in self._written]
        if not now:
            return
        self._written |= {id(decision) for decision in now}
        while self._coming and len(now) < RECORDS_PER_WRITE:
            upcoming = self._coming.popleft()
            if id(upcoming) not in self._written:
                self._written.add(id(upcoming))
                now.append(upcoming)
        self._write(now)


class Applier:
    """Carries out decisions, and counts the removals that were made with the guard."""

    def __init__(self, work: Work, guard: RemovalGuard) -> None:
        self.work = work
        self._guard = guard
        self._settler = Settler(work.fetch, work.delivery, work.writes)
        self._closer = Closer(self._settler, work.fetch.pace, work.delivery.clock)
        self._circumstances = Circumstances(work.fetch)
        self._partial: dict[Link, _Partial] = {}
        # rules whose change is paused, was refused, met a transient error, or had no time, in this pass
        self._failed_keys: set[RuleKey] = set()
        self._added_keys: set[RuleKey] = set()
        self._has_written = False  # to write

    def apply(self, decisions: Sequence[Decision], until: Until = UNLIMITED) -> Report:
        """Intents, changes, outcomes. Raises Transient if the audit log cannot be written; other trouble is
        reported."""
        work, policy = self.work, self.work.delivery.policy
        planned_keys = {edit.key for decision in decisions for edit in decision.edits}
        decisions = [paused(decision, policy.paused) for decision in decisions]
        work.tags.between_instances = {key.group for d in decisions for key in _keys(d) if key.by_address}
        earlier, self._partial = self._partial, {}
        self._failed_keys = planned_keys - {edit.key for decision in decisions for edit in decision.edits}
        report, outcomes = Report(), list[Record]()
        for records, partial_report in self._carried_out(decisions, earlier, until):
            report += partial_report
            outcomes += records
            if len(outcomes) >= RECORDS_PER_WRITE:
                report += self._written(outcomes)
                outcomes = []
        outcomes += [self._outcome(partial.decision, partial.requests) for partial in earlier.values()]
        refused = {link: partial.refusal for link, partial in self._partial.items()}
        return report + self._written(outcomes) + Report(refused=refused)

    def _carried_out(
        self, decisions: Sequence[Decision], earlier: dict[Link, _Partial], until: Until
    ) -> Iterator[tuple[list[Record], Report]]:
        """What is recorded of each decision, and what came of it: closing before opening, accounts in turn."""

        def requests(decision: Decision) -> Requests:
            partial = earlier.pop(decision.link, None)
            return list(partial.requests) if partial else []

        main, *tagging = _parts(decisions)
        closings = [
            Closing(decision, _groups(decision), requests(decision), _existing(decision))
            for decision in main
            if only_closes(decision)
        ]
        todo, opening = jobs(closings), sorted((decision for decision in main if not only_closes(decision)), key=_order)
        intents = _Intents([*(closing.decision for job in todo for closing in job.closings), *opening], self._intend)

        def before(job: ClosingJob) -> None:
            intents.before([closing.decision for closing in job.closings])

        yield from map(self._closed, self._closer.close(todo, until, before, self._in_time))
        unfinished = [closing for closing in closings if closing.waiting]
        yield from map(self._unmade, unfinished)
        unclosed = {group for closing in unfinished for group in closing.waiting}
        for _, same_order in itertools.groupby(opening, _order):
            yield from self._open(list(same_order), unclosed, requests, intents)
        for part in tagging:
            taggable = self._taggable(part)
            self._intend(taggable)
            yield from (self._carry_out(decision, requests(decision)) for decision in taggable)

    def _open(
        self,
        todo: Sequence[Decision],
        unclosed: Set[Party],
        requests: Callable[[Decision], Requests],
        intents: _Intents,
    ) -> Iterator[tuple[list[Record], Report]]:
        """In a sweep, a decision for which there is no time, whose account is throttled, or whose group was not closed
        is left to the next sweep, unless it was begun."""
        delivery, paced = self.work.delivery, self.work.fetch.pace is not None
        throttled: dict[Link, tuple[Requests, Throttled]] = {}
        unopened: list[Decision] = []
        while todo:
            parked: list[Decision] = []
            for decision in self._closer.turns.each(todo, lambda decision: decision.link.source.account):
                groups = _groups(decision)
                if paced and (groups & unclosed or delivery.out_of_time()):
                    unopened.append(decision)
                    continue
                if paced and not self._closer.parked.isdisjoint(group.account for group in groups):
                    parked.append(decision)
                    continue
                intents.before([decision])
                ids = throttled[decision.link][0] if decision.link in throttled else requests(decision)
                records, report = self._carry_out(decision, ids)
                if report.pending and isinstance(report.pending[0], Throttled):
                    throttled[decision.link] = ids, report.pending[0]
                    self._closer.parked.add(report.pending[0].account)
                    parked.append(decision)
                    report = Report()
                yield records, report
            if not parked or not self._closer.next_minute(delivery.retry.deadline):
                unopened += parked
                break
            todo = parked
        self._failed_keys |= {edit.key for decision in unopened for edit in decision.edits}
        troubles = tuple(throttled[decision.link][1] for decision in unopened if decision.link in throttled)
        yield [], Report(pending=troubles, undone=len(unopened) - len(troubles))

    def _intend(self, decisions: Sequence[Decision]) -> None:
        changing = [d for d in decisions if d.edits or d.missing_managed_tag]
        groups = [group for d in changing for group in d.missing_managed_tag]
        intents = [self._record(d, "intent") for d in changing]
        self._settler.beside(*self.work.tags.ahead(groups), lambda: self.work.audit.write(intents))

    def _taggable(self, tagging: Iterable[Decision]) -> list[Decision]:
        """The same without the groups whose tags were refused in this delivery."""
        taggable = []
        for decision in tagging:
            groups = tuple(group for group in decision.missing_managed_tag if not self.work.tags.were_refused(group))
            taggable.append(msgspec.structs.replace(decision, missing_managed_tag=groups))
        return [decision for decision in taggable if decision.missing_managed_tag or not _only_repairs_tags(decision)]

    def finish(self) -> Report:
        """Records the links that were refused in the last pass, too."""
        partial, self._partial = self._partial, {}
        return self._written(
            [self._outcome(partial_link.decision, partial_link.requests) for partial_link in partial.values()]
        )

    def _written(self, records: Sequence[Record]) -> Report:
        """Writes records, and counts the outcomes among them."""
        self.work.audit.write(records)
        outcomes = [record for record in records if record["record"] == "outcome"]
        return Report(reasons=Counter((o["outcome"], o["reason"]) for o in outcomes))

    def _carry_out(self, decision: Decision, requests: Requests) -> tuple[list[Record], Report]:
        """What is recorded of one decision, and what came of it; of one to roll back, nothing is recorded yet."""
        rules = _existing(decision)
        if _follows(decision) and rules.keys() & self._failed_keys:
            return [], Report()  # the shared edit failed, so do not report this removal
        if not (decision.edits or decision.missing_managed_tag):
            return self._finish(decision, requests, rules)
        try:
            decision = self._write(decision, requests, rules)
        except LinkDenied as refused:
            return self._refused(decision, refused, requests, rules)
        except Transient as trouble:
            return self._troubled(decision, trouble, requests, rules)
        if _only_repairs_tags(decision) and all(map(self.work.tags.were_refused, decision.missing_managed_tag)):
            return [self._record(decision, "attempt", requests, rules.values())], Report()
        return self._finish(decision, requests, rules)

    def _closed(self, closing: Closing) -> tuple[list[Record], Report]:
        """What is recorded of a closing whose groups were settled, each by itself, or could not be."""
        decision, requests, rules = closing.decision, closing.requests, closing.rules
        refused = [problem for problem in closing.standing.values() if isinstance(problem, LinkDenied)]
        troubles = [problem for problem in closing.standing.values() if isinstance(problem, Transient)]
        if not closing.edited_rules and troubles:
            return self._troubled(decision, troubles[0], requests, rules)
        if not closing.edited_rules:
            return self._refused(decision, refused[0], requests, rules)
        standing = {edit.key for edit in decision.edits} - closing.edited_rules
        self._failed_keys |= standing
        rules = {key: rule for key, rule in rules.items() if key not in standing}
        denial = still_standing(decision.denial, [_side_left(*side) for side in closing.standing.items()])
        edits = tuple(edit for edit in decision.edits if edit.key not in standing)
        closed_decision = msgspec.structs.replace(decision, edits=edits, denial=denial)
        denied = frozenset(key for key in standing if isinstance(closing.standing[key.group], LinkDenied))
        records, report = self._finish(closed_decision, requests, rules)
        records += [self._record(_met(decision, trouble), "attempt") for trouble in troubles]
        return records, report + Report(pending=tuple(troubles), refused_keys=denied)

    def _unmade(self, closing: Closing) -> tuple[list[Record], Report]:
        """What is recorded of a closing for which there was no time, or for a part of it."""
        late = Transient("no time was left for it in this run")
        if closing.edited_rules:
            closing.standing |= dict.fromkeys(closing.unfinished_groups & closing.waiting, late)
            records, report = self._closed(closing)
            return records, msgspec.structs.replace(report, pending=(), undone=int(bool(closing.unfinished_groups)))
        records, _ = self._troubled(closing.decision, late, closing.requests, closing.rules)
        return records if closing.requests or closing.standing else [], Report(undone=1)

    def _finish(
        self, decision: Decision, requests: Requests, rules: Mapping[RuleKey, Rule]
    ) -> tuple[list[Record], Report]:
        self._guard.count(decision)
        added_keys = {edit.key for edit in decision.edits if edit.kind == "add"}
        report = Report(
            changed=len(decision.edits) - len(added_keys & self._added_keys),  # links may share a new rule
            removed=decision.removals,
            written=frozenset(_groups(decision)),
        )
        self._added_keys |= added_keys
        return [self._outcome(decision, requests, rules.values())], report

    def _refused(
        self, decision: Decision, refused: LinkDenied, requests: Requests, rules: Mapping[RuleKey, Rule]
    ) -> tuple[list[Record], Report]:
        keys = frozenset(edit.key for edit in decision.edits)
        self._failed_keys |= keys
        answer = decision.refused(refused.denial)
        report = Report(refused_keys=keys, written=frozenset(_groups(decision)))
        written = {(edit.key, claim) for edit in decision.edits for claim in edit.gain} & self.work.writes.put
        # a pause takes nothing away: half of a mutual link stays, unless it was just written
        if decision.outcome == "applied" and (written or refused.denial != PAUSED):
            self._roll_back_later(decision, answer, requests)
            return [], report
        return [self._outcome(answer, requests, rules.values())], report

    def _troubled(
        self, decision: Decision, trouble: Transient, requests: Requests, rules: Mapping[RuleKey, Rule]
    ) -> tuple[list[Record], Report]:
        self._failed_keys |= {edit.key for edit in decision.edits}
        attempt = self._record(_met(decision, trouble), "attempt", requests, rules.values())
        return [attempt], Report(pending=(trouble,))

    def _write(self, decision: Decision, requests: Requests, rules: dict[RuleKey, Rule]) -> Decision:
        """Makes the changes. Returns the decision with the consent as it was judged right before the last write."""
        judged = decision
        tags = self.work.tags
        refused: list[str] = []  # what the record says of tags

        def note(_batch: Iterable[Edit], request: str) -> None:
            requests.append(request)

        def before_write(batch: Sequence[Edit]) -> None:
            nonlocal judged
            self._in_time(batch, True)
            if batch[0].opens:  # then all of the call does
                judged = self._still_allowed(judged)

        last_group = next((edit.key.group for edit in reversed(decision.edits) if edit.opens), None)
        todo = deque(_by_group(decision))
        while todo:
            group, edits = todo.popleft()
            self._in_time(edits, False)
            if group in decision.missing_managed_tag:
                refused.append(tags.write(group, requests))
            added_keys = [edit.key for edit in edits if edit.kind == "add"]
            beside = functools.partial(self._read_beside, judged, group, added_keys)
            deciding_groups = self._deciding_groups(decision) if group == last_group else frozenset[Party]()
            try:
                settled = self._settler.settle(
                    group, edits, before_write, note, beside=beside, deciding_groups=deciding_groups
                )
            except LinkDenied as refusal:
                if refusal.denial.outcome != "failed" or not (former_rules := _former_rules(edits, todo)):
                    raise
                todo.extendleft([(group, edits), (group, former_rules)])  # these go first, and make room
                continue
            replaced = {edit.key for edit in edits if edit.kind == "remove"} if last_group else set()
            rules.update((key, rule) for key, rule in settled.items() if key not in replaced)
            known_ids = {edit.rule.id for edit in edits if edit.rule}
            if any(rule.id not in known_ids for rule in settled.values()):
                # a sweep that found the group empty a moment ago may have removed the tags since
                refused.append(tags.write(group, requests))
        self._look(judged)
        detail = "; ".join(filter(None, [judged.denial.detail, *refused]))
        return msgspec.structs.replace(judged, denial=msgspec.structs.replace(judged.denial, detail=detail))

    def _read_beside(self, decision: Decision, group: Party, added_keys: Sequence[RuleKey]) -> None:
        """Reads what the record of a change of this group will say, while the change is read back."""
        reads = [lambda: self._circumstances.read_members(added_keys)]
        if not self.work.delivery.out_of_time():
            reads.append(lambda: self._circumstances.read_rules_beside(decision, group))
        self.work.fetch.side_by_side(*reads)

    def _roll_back_later(self, decision: Decision, answer: Decision, requests: Requests) -> None:
        """The outcome is recorded once the next pass has rolled back what was written."""
        written = frozenset((edit.key, claim) for edit in decision.edits for claim in edit.gain)
        if earlier := self._partial.get(decision.link):
            written |= earlier.refusal.partial
        self._partial[decision.link] = _Partial(answer, Refusal(answer.denial, written), requests)

    def _in_time(self, edits: Sequence[Edit], written: bool) -> None:
        """Raises where it is too late for a change, which may be `written` now. A closing that has begun is
        finished."""
        now = self.work.delivery.clock.now()
        if self.work.delivery.out_of_time():
            raise Transient("the function's time is nearly over")
        gains = [claim for edit in edits for claim in edit.gain]
        if any(claim.until is not None and claim.until <= now for claim in gains):
            raise LinkDenied(EXPIRED_MEANWHILE)
        due = bool(gains) or (self.work.closes and not self._has_written and any(edit.lose for edit in edits))
        if due and self.work.expires_at is not None and now > self.work.expires_at + LATE_SECONDS:
            raise LinkDenied(request_expired("expires_at", iso(self.work.expires_at)))
        self._has_written |= written

    def _still_allowed(self, decision: Decision) -> Decision:
        """Judges a link right before a rule is written for it, by the policy as it is now, and by tags that were read a
        moment ago. Raises LinkDenied where it may no longer exist, or has no room. Whether a description has room is
        checked where the marker is changed."""
        planned = _verdict(decision)
        if planned is None:
            return decision
        groups = {need.key.group for need in planned.needs} | self._deciding_groups(decision)
        self._read_old_tags(groups)
        verdict = self._judged_now(decision)
        if verdict.open_questions:
            self.work.fetch.questions(verdict.open_questions)
            self._read_old_tags(groups)  # that may have taken a while
            verdict = self._judged_now(decision)
        if verdict.denial and verdict.open_questions:
            raise Transient(verdict.denial.detail)
        if verdict.denial:
            raise LinkDenied(verdict.denial)
        return msgspec.structs.replace(decision, verdict=verdict)

    def _read_old_tags(self, groups: Iterable[Party]) -> None:
        oldest = self.work.delivery.clock.now() - CONSENT_SECONDS
        self._settler.read_tags(group for group in groups if self.work.fetch.group_read_at(group) < oldest)

    def _deciding_groups(self, decision: Decision) -> frozenset[Party]:
        """The groups at either end of a link whose tags decide about it, also those that hold none of its rules: they
        may have a refusal, or be in `never` or in a set. So may the groups of the instance that asks."""
        snapshot, link = self.work.fetch.store.now_known(), decision.link
        ends = {link.asker, link.source, link.target, decision.instance or link.asker}
        return frozenset(group for end in ends for group in snapshot.groups_with(end))

    def _permitted_now(self, decision: Decision, policy: Policy, verdict: Verdict) -> Verdict:
        """A verdict, after judging the instance that asks with all of its groups, as the plan did. By address, each
        instance has its own part."""
        is_part = any(need.key.by_address for need in verdict.needs)
        wish = DesiredLink(decision.link, TAG, decision.instance)
        denial = None if is_part else wish_denial(self.work.fetch.store.now_known(), policy, wish)
        return msgspec.structs.replace(verdict, denial=verdict.denial or denial)

    def _judged_now(self, decision: Decision) -> Verdict:
        """The verdict by the policy file, which is read after all else: reading from the cloud may have taken a
        while."""
        policy = self.work.delivery.current_policy()
        if policy.paused is not Pause.NONE:
            raise LinkDenied(PAUSED)
        context = Context(policy, self.work.delivery.region, self.work.delivery.clock.now())
        existing = {edit.key for edit in decision.edits if edit.rule}
        verdict = evaluate(self.work.fetch.store.now_known(), context, decision.link, taken_over=existing)
        return self._permitted_now(decision, policy, verdict)

    def _look(self, decision: Decision) -> None:
        """Judges a link once more after its last write, by the policy as it is now, and by the tags that were read back
        with its rules. Raises LinkDenied where it may no longer exist, so that it is rolled back."""
        if _verdict(decision) is None or not any(edit.opens for edit in decision.edits):
            return
        policy, now = self.work.delivery.current_policy(), self.work.delivery.clock.now()
        verdict = permitted(self.work.fetch.store.now_known(), policy, decision.link, now)
        denial = self._permitted_now(decision, policy, verdict).denial
        if denial and not (denial.unseen or denial.undecided):
            raise LinkDenied(denial)

    def _outcome(self, decision: Decision, requests: Requests, rules: Iterable[Rule] = ()) -> Record:
        rules = list(rules)
        keys = [rule.key for rule in rules if rule.key]
        delivery, snapshot = self.work.delivery, self.work.fetch.store.now_known()
        changed = bool(decision.edits) and not delivery.out_of_time()
        return {
            **self._record(decision, "outcome", requests, rules),
            **self._circumstances.admitted(keys, decision),
            **self._circumstances.effect(decision, changed=changed),
            **until_field(decision, rules, snapshot, delivery.policy, delivery.clock.now()),
        }

    def _record(
        self, decision: Decision, kind: str, requests: Sequence[str] = (), rules: Iterable[Rule] = ()
    ) -> Record:
        return decision_record(decision, self.work.delivery.region, kind, rules=rules, api_requests=requests)


def held_records(held_unseen: Mapping[Unseen, int], limit: int) -> list[Record]:
    """A summary for each account whose removals are held back."""
    return [
        {
            "record": "summary",
            "scope": "account",
            "account": unseen.account,
            "outcome": "failed",
            **why_fields(removals_held(unseen.account, count, limit)),
        }
        for unseen, count in held_unseen.items()
    ]


def paused(decision: Decision, pause: Pause) -> Decision:
    """The decision as the policy's pause leaves it: nothing is changed, or nothing is opened."""
    if pause is Pause.NONE:
        return decision
    if pause is Pause.ALL:
        decision = msgspec.structs.replace(decision, missing_managed_tag=())
        return msgspec.structs.replace(decision.refused(PAUSED), edits=()) if decision.edits else decision
    if not any(edit.gain for edit in decision.edits):
        return decision
    remaining_edits = (edit for edit in decision.edits if decision.outcome != "applied" or edit.kind != "remove")
    closing = tuple(closing_edit for edit in remaining_edits if (closing_edit := _without_gain(edit)))
    return msgspec.structs.replace(decision.refused(PAUSED), edits=closing, missing_managed_tag=())


def _without_gain(edit: Edit) -> Edit | None:
    """What an edit takes away; None for a rule that would be new."""
    if edit.rule is None:
        return None
    claims = tuple(claim for claim in edit.claims if claim not in edit.gain)
    return msgspec.structs.replace(edit, gain=frozenset(), claims=claims) if edit.lose or not edit.gain else None


def _met(decision: Decision, trouble: Transient) -> Decision:
    """The decision as the record of an attempt words it."""
    return msgspec.structs.replace(decision, denial=msgspec.structs.replace(decision.denial, detail=str(trouble)))


def _side_left(group: Party, problem: LinkDenied | Transient) -> str:
    if isinstance(problem, LinkDenied):
        return side_left(group, problem.denial.detail, is_known=True)
    return side_left(group, str(problem), is_known=False)


def _only_repairs_tags(decision: Decision) -> bool:
    return decision.action == "repair" and decision.outcome == "unchanged"


def _parts(decisions: Sequence[Decision]) -> tuple[list[Decision], list[Decision], list[Decision]]:
    """The decisions, in parts. Those that only write a tag come last, first one for each account: where it is refused,
    the others would be refused, too, at every run. A repair with nothing left to do is not recorded."""
    tagging = [d for d in decisions if d.missing_managed_tag and not d.edits]
    first = {d.missing_managed_tag[0].account: d for d in reversed(tagging)}
    further_decisions = [d for d in tagging if first[d.missing_managed_tag[0].account] is not d]
    return [d for d in decisions if d.edits or not d.missing_managed_tag], list(first.values()), further_decisions


def _groups(decision: Decision) -> set[Party]:
    """The groups on which the decision changes rules."""
    return {edit.key.group for edit in decision.edits}


def _existing(decision: Decision) -> dict[RuleKey, Rule]:
    return {rule.key: rule for rule in decision.rules if rule.key}


def _keys(decision: Decision) -> list[RuleKey]:
    """The rules that the decision changes, and those of its link that exist."""
    return [*(edit.key for edit in decision.edits), *(rule.key for rule in decision.rules if rule.key)]


def _by_group(decision: Decision) -> list[tuple[Party, list[Edit]]]:
    """The edits by group: the target's first, since it may refuse. Groups that only lack their tag follow; last, where
    something is opened, the rules that it replaces."""
    groups: dict[Party, list[Edit]] = {}
    replaced: dict[Party, list[Edit]] = {}
    opens = any(edit.opens for edit in decision.edits)
    for edit in decision.edits:
        (replaced if opens and edit.kind == "remove" else groups).setdefault(edit.key.group, []).append(edit)
    for group in decision.missing_managed_tag:
        groups.setdefault(group, [])
    return [*groups.items(), *replaced.items()]


def _former_rules(edits: Iterable[Edit], later: Iterable[tuple[Party, list[Edit]]]) -> list[Edit]:
    """The removals among later edits of a group's rules with former addresses of the instances for which these edits
    open it. They are taken out there."""
    successors = {(edit.key.group, edit.ends, edit.key.port) for edit in edits if edit.opens and edit.ends}
    former_rules = []
    for _, later_edits in later:
        moved = [edit for edit in later_edits if (edit.key.group, edit.ends, edit.key.port) in successors]
        former_rules += moved
        later_edits[:] = [edit for edit in later_edits if edit not in moved]
    return former_rules


def _verdict(decision: Decision) -> Verdict | None:
    """The verdict by which a link is opened; None for a rollback, or a repair, which may add a claim that was judged
    elsewhere."""
    return decision.verdict if decision.outcome == "applied" else None


def _follows(decision: Decision) -> bool:
    """Whether a removal is what another decision's change makes."""
    return decision.outcome == "removed" and not decision.edits


def _order(decision: Decision) -> tuple[bool, bool]:
    """Closing before opening; last what another decision's change makes."""
    closes = bool(decision.edits) and not any(edit.opens for edit in decision.edits)  # a repair may take a claim, too
    return _follows(decision), not (decision.outcome == "removed" or decision.removals or closes)
