"""Closes group by group: the removals of all decisions on one group are one read, calls of up to a hundred rule ids,
and one read back. Accounts take turns, so that one with thousands of rules, or slow answers, holds up no other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from link_peer.domain.denials import LinkDenied
from link_peer.domain.errors import Throttled, Transient
from link_peer.domain.model import Party, Rule, RuleKey
from link_peer.engine.write.settle import Settler
from link_peer.engine.write.tags import Requests
from link_peer.engine.write.work import Until
from link_peer.planning.decision import Decision, Edit
from link_peer.runtime.clock import Clock
from link_peer.runtime.pace import Pace
from link_peer.runtime.turns import Turns, in_turns

InTime = Callable[[Sequence[Edit], bool], None]
"""Raises where it is too late for edits; it is told whether they are written now."""


class Closing(msgspec.Struct):
    """A decision that only takes rules or claims away."""

    decision: Decision
    waiting: set[Party]  # its groups that were not settled yet
    requests: Requests = []
    rules: dict[RuleKey, Rule] = {}
    edited_rules: set[RuleKey] = set()  # rules whose edits were made
    standing: dict[Party, LinkDenied | Transient] = {}  # why the edits of other rules were not made, by group

    def edits(self, group: Party) -> list[Edit]:
        """Its edits on a group."""
        return [edit for edit in self.decision.edits if edit.key.group == group]

    def leave_out(self, key: RuleKey) -> None:
        """Leaves a rule out of the record, unless it is the only one: a person has taken it over, or deleted it,
        meanwhile."""
        if len(self.rules) > 1:
            self.rules.pop(key, None)

    @property
    def unfinished_groups(self) -> set[Party]:
        """The groups on which not all of its edits were made."""
        return {edit.key.group for edit in self.decision.edits if edit.key not in self.edited_rules}


class ClosingJob(msgspec.Struct, frozen=True):
    """What is settled at a time: a group, with the decisions that remove rules from it; or one that changes markers,
    each of which is a call of its own."""

    group: Party
    closings: tuple[Closing, ...]

    @property
    def account(self) -> str:
        """Whose turn it is."""
        return self.group.account


def only_closes(decision: Decision) -> bool:
    """Whether a decision takes rules or claims away, and does nothing else."""
    takes = bool(decision.edits) and all(edit.lose and not edit.opens for edit in decision.edits)
    return takes and decision.outcome != "applied"


def jobs(closings: Iterable[Closing]) -> list[ClosingJob]:
    """The jobs of these decisions, one of each account in turn."""
    together: dict[Party, list[Closing]] = {}
    alone: list[ClosingJob] = []
    for closing in closings:
        for group in sorted(closing.waiting):
            if all(edit.kind == "remove" for edit in closing.edits(group)):
                together.setdefault(group, []).append(closing)
            else:
                alone.append(ClosingJob(group, (closing,)))
    all_jobs = [*(ClosingJob(group, tuple(several)) for group, several in together.items()), *alone]
    return in_turns(all_jobs, lambda job: job.account)


class Closer:
    """Carries out jobs in `turns`. With a `pace` (a sweep), an account that is throttled has its next turn in the next
    minute: such accounts are `parked`."""

    def __init__(self, settler: Settler, pace: Pace | None, clock: Clock) -> None:
        self.parked: set[str] = set()
        self.turns = Turns(clock)
        self._settler = settler
        self._pace = pace
        self._clock = clock

    def close(
        self,
        todo: Sequence[ClosingJob],
        until: Until,
        before: Callable[[ClosingJob], None],
        in_time: InTime,
    ) -> Iterator[Closing]:
        """Yields each decision once all of its groups are settled, or could not be. `before` is called before the first
        change of a job; `in_time` before it and before each call, and may raise to stop it. A decision that runs out of
        time keeps its `waiting` groups."""

        def due(job: ClosingJob) -> bool:
            """Whether there is time for it; if not, no other account has used less of its share."""
            return self._clock.now() < until.end and self.turns.used[job.account] < until.each

        while todo:
            parked: list[ClosingJob] = []
            for job in itertools.takewhile(due, self.turns.each(todo, lambda job: job.account)):
                if job.account not in self.parked:
                    before(job)
                    self._settle(job, in_time)
                    yield from (closing for closing in job.closings if not closing.waiting)
                if job.account in self.parked:
                    parked.append(job)
            if not parked or not self.next_minute(min(until.end, until.patience)):
                return
            todo = parked

    def next_minute(self, until: float) -> bool:
        """Waits until throttled accounts may have their turns. Returns False at once if that is not before `until`."""
        if self._pace is None or not self._pace.next_minute(until):
            return False
        self.parked.clear()
        return True

    def _settle(self, job: ClosingJob, in_time: InTime) -> None:
        """Settles a group, or notes that its account is throttled, so that it has another turn."""
        group = job.group
        closings = {edit.key: closing for closing in job.closings for edit in closing.edits(group)}
        edits = [edit for closing in job.closings for edit in closing.edits(group)]

        def note(batch: Iterable[Edit], request: str) -> None:
            for closing in {id(closings[edit.key]): closings[edit.key] for edit in batch}.values():
                closing.requests.append(request)

        unsettled: set[RuleKey] = set()
        try:
            in_time(edits, False)
            settled = self._settler.settle(group, edits, lambda batch: in_time(batch, True), note)
            for key, rule in settled.items():
                closings[key].rules[key] = rule
            for key in {edit.key for edit in edits if edit.kind == "mark"} - settled.keys():
                closings[key].leave_out(key)
        except (LinkDenied, Transient) as problem:
            unsettled = {edit.key for edit in self._settler.unfinished(group, edits)}
            if isinstance(problem, Throttled) and self._pace is not None:
                self.parked.add(group.account)
            else:
                for key in unsettled:
                    closings[key].standing[group] = problem
        for unsettled_closing in job.closings:
            unsettled_closing.edited_rules |= {edit.key for edit in unsettled_closing.edits(group)} - unsettled
            if group.account not in self.parked:
                unsettled_closing.waiting.discard(group)
