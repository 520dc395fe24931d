"""Desired state against actual state: a plan that can be printed. Pure: no I/O, reads no clock.

    snapshot ─┬─▶ actual state ─┐
    desired ──┼─▶ desired state ┼─▶ removals ─▶ quota ─▶ answers to desired links, removals, repairs
    links     └─▶ verdicts ─────┘

Each part stands in a file of its own; the cases of a single rule are the table in `planning.diff`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from link_peer.domain import denials
from link_peer.domain.denial import NOTHING, Denial, Waits
from link_peer.domain.denials import HUMAN_RULE
from link_peer.domain.model import PRIORITY, Link, Party, Rule, RuleKey
from link_peer.domain.policy import Pause
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.actual import ActualState, link_of
from link_peer.planning.claims import DesiredLink
from link_peer.planning.decision import Context, Decision, Edit, Plan, Refusal
from link_peer.planning.desired import DesiredState, Verdicts
from link_peer.planning.diff import Diff
from link_peer.planning.evaluate import Need
from link_peer.planning.quota import QuotaLedger
from link_peer.planning.removal_guard import RemovalGuard
from link_peer.planning.removals import Loss, MayLose, Removals

Asked = tuple[Link, str]
"""A link as someone asked for it: with the peer as written, where that cannot be parsed."""


def make_plan(
    snapshot: Snapshot,
    context: Context,
    links: Sequence[DesiredLink],
    *,
    in_focus: Callable[[DesiredLink], bool],
    may_lose: MayLose,
    guard: RemovalGuard,
    refused: Mapping[Link, Refusal] | None = None,
    withdrawn: Denial | None = None,
) -> Plan:
    """Decisions for the desired links in focus, and for every rule of ours with a claim that may be taken.

    `refused` are links that the cloud has just refused to write. A link that exists in part and has no room for the rest
    is refused too, which takes a new round. `withdrawn` is why claims are taken whatever the verdict (an unlink).
    """
    denied = dict(refused or {})
    while True:
        planning = _Planning(snapshot, context, links, in_focus, may_lose, guard, denied, withdrawn)
        decisions = planning.decisions()
        if not planning.without_room:
            return planning.plan(decisions)
        denied |= planning.without_room


class _Planning:
    """One round: puts the parts together, and words their results as decisions."""

    def __init__(
        self,
        snapshot: Snapshot,
        context: Context,
        links: Sequence[DesiredLink],
        in_focus: Callable[[DesiredLink], bool],
        may_lose: MayLose,
        guard: RemovalGuard,
        refused: Mapping[Link, Refusal],
        withdrawn: Denial | None,
    ) -> None:
        self._snapshot = snapshot
        self._context = context
        self._withdrawn = withdrawn
        self._refused = refused
        self._asked = _by_link(wanted for wanted in links if in_focus(wanted))
        self._asked_links = {link for link, _ in self._asked}
        self._actual = ActualState(snapshot, context.policy, context.region)
        self._verdicts = Verdicts(snapshot, context, self._actual, refused)
        self._desired = DesiredState(links, self._verdicts, self._actual)
        self._removals = Removals(
            snapshot, context, self._actual, self._desired, self._verdicts, may_lose, guard, withdrawn
        )
        self._quota = QuotaLedger(snapshot, context, self._removals.freed())
        self._diff = Diff(context, self._actual, self._desired, self._verdicts, self._removals)
        self.without_room: dict[Link, Refusal] = {}

    def plan(self, decisions: list[Decision]) -> Plan:
        """The decisions, with what would have to be read to make more of them."""
        return Plan(
            decisions,
            frozenset(self._removals.unread | self._verdicts.unread),
            frozenset(self._verdicts.questions),
            frozenset(self._removals.doubted_accounts | self._verdicts.doubted_accounts),
            frozenset(self._removals.unconfirmed() | self._verdicts.absent),
            self._removals.due,
            self._removals.held,
        )

    def decisions(self) -> list[Decision]:
        answers = {asked: self._answer(asked[0], wanted) for asked, wanted in self._asked.items()}
        removed = self._removed(answers)
        decided = [answer for answer in answers.values() if not _undecided(answer)]
        return [*self._displaced(), *decided, *removed, *self._repairs(), *self._untagged(decided)]

    # desired links

    def _answer(self, link: Link, wanted: list[DesiredLink]) -> Decision:
        granted = [one for one in wanted if not one.same_group and self._verdicts.denial(one) is None]
        if not granted:
            return self._denied(link, wanted)
        verdict = self._verdicts.of(link)
        edits = [edit for need in verdict.needs for edit in self._diff.for_need(need)]
        answer = Decision(
            link,
            self._context.actions[0],
            "unchanged",
            msgspec.structs.replace(NOTHING, advice=verdict.advice),
            verdict=verdict,
            instance=granted[0].instance,
            rules=self._existing(need.key for need in verdict.needs),
        )
        if denial := self._quota.reserve(edits):
            if any(need.key in self._actual.owned for need in verdict.needs):
                self.without_room[link] = Refusal(denial)
            self._diff.drop(edits)
            return answer.refused(denial)
        if not edits and self._only_other_peoples(verdict.needs):
            return msgspec.structs.replace(answer, why=HUMAN_RULE)
        return msgspec.structs.replace(
            answer,
            outcome="applied" if edits or self._context.is_request else "unchanged",
            edits=tuple(edits),
            missing_managed_tag=self._missing_managed_tag(verdict.needs, edits),
        )

    def _denied(self, link: Link, wanted: list[DesiredLink]) -> Decision:
        first = wanted[0]
        answer = Decision(link, self._context.actions[0], "unchanged", instance=first.instance, raw=first.raw)
        if first.same_group and self._verdicts.denial(first) is None:
            why = denials.same_group(link.target.id, is_group=link.target.is_group)
            return msgspec.structs.replace(answer, why=why)
        denial = self._verdicts.denial(first)
        assert denial is not None  # noqa: S101  # else the link would have been granted
        verdict = None if first.same_group else self._verdicts.of(link)
        return msgspec.structs.replace(answer, verdict=verdict).refused(denial)

    def _existing(self, keys: Iterable[RuleKey]) -> tuple[Rule, ...]:
        owned, equal = self._actual.owned, self._actual.equal
        return tuple(owned[key][0] if key in owned else equal[key] for key in keys if key in self._actual)

    def _only_other_peoples(self, needs: Sequence[Need]) -> bool:
        return all(need.key in self._actual.equal for need in needs)

    # the managed tag

    def _missing_managed_tag(self, needs: Iterable[Need], edits: Iterable[Edit]) -> tuple[Party, ...]:
        """The groups of rules of ours, and of new ones, that lack their tags."""
        kept = self._actual.owned.keys() - set(self._removals.freed())
        keys = [*(need.key for need in needs if need.key in kept), *(edit.key for edit in edits)]
        return tuple(dict.fromkeys(key.group for key in keys if self._lacks_tag(key)))

    def _untagged(self, decided: Iterable[Decision]) -> list[Decision]:
        """The other groups that keep rules of ours and lack their tags, whatever the verdict on their links: by these the
        next sweep finds them. Nothing is opened, so they are written also while opening is paused."""
        pause = self._context.policy.paused
        if pause is Pause.ALL:
            return []
        written = [d for d in decided if pause is Pause.NONE or not any(edit.gain for edit in d.edits)]
        done = {group for decision in written for group in decision.missing_managed_tag}
        kept = sorted(self._actual.owned.keys() - set(self._removals.freed()), key=lambda key: (bool(key.dest), key))
        first = {key.group: self._actual.owned[key] for key in kept if key.group not in done and self._lacks_tag(key)}
        return [
            Decision(
                link_of(key, marker),
                "repair",
                "unchanged",
                denials.tag_was_missing(group),
                missing_managed_tag=(group,),
                rules=(rule,),
            )
            for group, (rule, marker) in first.items()
            if (key := rule.key)
        ]

    def _lacks_tag(self, key: RuleKey) -> bool:
        """Whether a rule's group lacks a tag by which the rule is found."""
        shown = self._snapshot.groups.get(key.group)
        tags = self._context.policy.keys.of_group(instances=bool(key.dest))
        return shown is not None and any(shown.tags.get(tag) != "true" for tag in tags)

    # claims that rules lose

    def _removed(self, answers: dict[Asked, Decision]) -> list[Decision]:
        """One decision for each pair, cause and set of claims. What goes back with a refused link joins its answer."""
        found = []
        for (ends, mutual, loss), keys in self._by_pair().items():
            edits = tuple(edit for key in keys for edit in self._diff.for_rule(key))
            rules = tuple(self._actual.owned[key][0] for key in keys)
            if asked := self._refused_link(loss.why, keys, answers):
                answers[asked, ""] = msgspec.structs.replace(answers[asked, ""], edits=edits, rules=rules)
                continue
            ports = () if mutual else tuple(sorted({key.port for key in keys}))
            found.append(
                Decision(
                    self._as_asked(Link(*ends, ports)),
                    "expire" if loss.why.ended else self._context.actions[1],
                    "removed",
                    denials.in_detail(
                        loss.why,
                        [claim.request for claim in loss.claims if claim.request],
                        kept=not any(edit.kind == "remove" for edit in edits),
                    ),
                    edits=edits,
                    unseen=loss.unseen,
                    rules=rules,
                )
            )
        return found

    def _by_pair(self) -> dict[tuple[tuple[Party, Party], bool, Loss], list[RuleKey]]:
        grouped: dict[tuple[tuple[Party, Party], bool, Loss], list[RuleKey]] = {}
        for key, loss in self._removals.lost.items():
            link = link_of(key, self._actual.owned[key][1])
            ends = (link.source, link.target)
            if link.mutual:
                ends = (min(ends), max(ends))  # both sides of a mutual link are one decision
            if self._withdrawn is not None or loss.why in self._verdicts.refusals:
                loss = msgspec.structs.replace(loss, claims=frozenset())
            grouped.setdefault((ends, link.mutual, loss), []).append(key)
        return grouped

    def _refused_link(self, why: Denial, keys: list[RuleKey], answers: Mapping[Asked, Decision]) -> Link | None:
        """The link in focus whose refusal takes these rules back."""
        for link, refusal in self._refused.items():
            if refusal.denial == why and (link, "") in answers and self._verdicts.needs(link).issuperset(keys):
                return link
        return None

    def _as_asked(self, link: Link) -> Link:
        """A mutual link the way round in which someone in focus asked for it."""
        turned = Link(link.target, link.source, link.ports)
        return turned if link.mutual and turned in self._asked_links else link

    # rules that someone changed

    def _displaced(self) -> list[Decision]:
        """Rules of ours with another priority, beside a person's equal rule that has ours. The person's counts from now on."""
        return [
            Decision(
                link_of(key, marker),
                "repair",
                "removed",
                denials.displaced(rule.priority),
                edits=(Edit(key, lose=frozenset(marker.claims), ends=marker.ends, rule=rule),),
                rules=(rule,),
            )
            for key, (rule, marker) in self._actual.displaced.items()
        ]

    def _repairs(self) -> list[Decision]:
        """Rules of ours to which someone gave another priority."""
        refused = {key for link in self._refused for key in self._verdicts.needs(link)}
        found = []
        for key, (rule, marker) in self._actual.owned.items():
            link = link_of(key, marker)
            if key in refused or link in self._refused or not self._actual.tampered(key):
                continue  # a refused repair is not tried twice in one delivery
            if edits := self._diff.for_rule(key):
                why = denials.repaired(rule.priority, PRIORITY)
                found.append(Decision(link, "repair", "applied", why, edits=tuple(edits), rules=(rule,)))
        return found


def _by_link(links: Iterable[DesiredLink]) -> dict[Asked, list[DesiredLink]]:
    grouped: dict[Asked, list[DesiredLink]] = {}
    for wanted in links:
        grouped.setdefault((wanted.link, wanted.raw), []).append(wanted)
    return grouped


def _undecided(answer: Decision) -> bool:
    """Whether an account could not be read, or a question is open: then there is nothing to record."""
    return answer.outcome == "denied" and answer.why.waits is Waits.FOR_A_READ
