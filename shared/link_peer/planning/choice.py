"""Which of an instance's groups stands for it in a link: consent chooses. Pure.

    its groups that qualify, in the API's order ─▶ the link of each ─▶ the first that is granted

| the links                                       | what stands for the instance                                                  |
|-------------------------------------------------|-------------------------------------------------------------------------------|
| one is granted                                  | the first such; the record says why those before it are passed over           |
| one cannot be judged, none before it is granted | that one; a rule that stands for those after it is kept                       |
| all are denied, one for what no owner resolves  | the first such, whose own denial says why: its address, for example           |
| all others are denied, one for lack of consent  | none: one denial names them all, and advises the group with fewest instances  |
| all are locked                                  | the first, whose own denial says why                                          |

Nothing is remembered, so that the choice follows from tags and the policy alone. Where another group is to stand for the
instance, what was written for the former is no longer asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import msgspec

from link_peer.domain import denials
from link_peer.domain.denials import Denial
from link_peer.domain.model import Link, Party
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.decision import Verdict
from link_peer.planning.evaluate import permitted

Judge = Callable[[Link], Verdict]
"""Whether a link may exist, and why not."""


class Choice(msgspec.Struct, frozen=True):
    """The `link` that stands for an instance. `passed` are the verdicts on those before it. `denied` are the verdicts on all,
    where none is granted and some lack consent. `kept` are links that may turn out to be the right one: they open nothing."""

    link: Link
    passed: tuple[Verdict, ...] = ()
    denied: tuple[Verdict, ...] = ()
    kept: tuple[Link, ...] = ()


def judge_of(snapshot: Snapshot, policy: Policy, now: float) -> Judge:
    """Judges each link once: many instances ask for the same ones."""
    return functools.cache(lambda link: permitted(snapshot, policy, link, now))


def choose(links: Sequence[Link], judge: Judge) -> Choice:
    """Chooses among the links that an instance's groups would have, in the API's order: at least one."""
    if len(links) == 1:
        return Choice(links[0])
    passed: list[Verdict] = []
    for number, link in enumerate(links, start=1):
        verdict = judge(link)
        if verdict.denial is None:
            return Choice(link, tuple(passed))
        if verdict.denial.undecided:
            return Choice(link, tuple(passed), kept=tuple(links[number:]))
        passed.append(verdict)
    final = next((verdict.link for verdict in passed if verdict.denial and not verdict.denial.owners), None)
    lacking = any(verdict.denial and verdict.denial.lacks_consent for verdict in passed)
    return Choice(final or links[0], denied=tuple(passed) if lacking and final is None else ())


def by_size(snapshot: Snapshot, denied: Sequence[Verdict]) -> list[denials.Candidate]:
    """The groups of denied links, those with fewest instances first, and last those that were not counted."""
    found = [
        denials.Candidate(one.link.source, one.denial, snapshot.member_count(one.link.source))
        for one in denied
        if one.denial
    ]
    return sorted(found, key=lambda one: (one.members is None, one.members))


def no_group_accepted(snapshot: Snapshot, instance: Party, denied: Sequence[Verdict]) -> Denial:
    """The one denial of an instance none of whose groups stands for it."""
    return denials.no_group_accepted(instance, by_size(snapshot, denied))


def notes(snapshot: Snapshot, instance: Party, link: Link, passed: Sequence[Verdict], denied: Sequence[Verdict]) -> str:
    """Which group stands for an instance and why the ones before it do not, or that none does; empty where it is the first."""
    if denied:
        return no_group_accepted(snapshot, instance, denied).detail
    why = [one.denial.detail for one in passed if one.denial]
    return f"{link.source} stands for {instance}, since {'; '.join(why)}" if why else ""
