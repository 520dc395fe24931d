"""Desired rules against actual rules: a plan that one can print. Pure: no I/O, reads no clock.

    rule there?        wanted by a claim?   may it go?     → change
    no                 yes                  -              → add       (unless an equal rule of a person's is there)
    ours, reason in    yes                  -              → nothing
    ours, reason new   yes                  -              → mark      (the reason joins the marker)
    ours               no                   no             → nothing   (another delivery's business, or not wholly seen)
    ours, others stay  no                   yes            → mark      (the reason leaves the marker)
    ours, last reason  no                   yes            → remove    (by rule id)
    ours, priority ≠ 100, kept                             → mark      (put back: an operator's drop must win)
    not ours           -                    -              → nothing, ever

A delivery *may* take a reason when everything that could want it was read. `counted` marks removals for something not seen
any more: they are believed only of living accounts, and are capped. A link that the cloud refused to write takes nothing
with it but what this delivery began for it, and the half that is left of a mutual link.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from link_peer.domain.model import PRIORITY, Link, Marker, Party, Reason, Rule, RuleKey
from link_peer.domain.tags import managed_tag
from link_peer.engine.reader import View
from link_peer.inbound.policy_file import Policy
from link_peer.planning.decision import Decision, Edit, Refusal, link_of, one_each, owned_rules
from link_peer.planning.evaluate import Claim, Denial, Need, Verdict, judge, shut
from link_peer.planning.quota import Room

MayLose = Callable[[Rule, Marker, Reason], bool | None]
"""May this delivery take that reason away? None: it may, once the rule's link is wholly read."""


PAST = Denial("expired", "its end is past", "post a new request with a later until")


class Context(msgspec.Struct, frozen=True):
    """Where and when a plan is made. `actions` name a claim's and a removal's record: (`link`, `unlink`), (`repair`, `repair`)…"""

    policy: Policy
    region: str
    now: float
    actions: tuple[str, str] = ("link", "unlink")
    request: bool = False  # a request that finds its link there already is `applied` again, not `unchanged`


class Plan(msgspec.Struct, frozen=True):
    """Decisions, and what would have to be read for more of them.

    `unread` are links whose rules seem unwanted, though not all who could want them were read; `doubts` are accounts
    whose instances nobody has seen yet, so that nothing there is believed to be gone.
    """

    decisions: list[Decision]
    unread: frozenset[Link]
    doubts: frozenset[str]

    @property
    def unseen(self) -> frozenset[Party]:
        """Those whose tags, or whose being there, are missed by a removal: the ends of links that go for what is not seen."""
        links = [decision.link for decision in self.decisions if decision.counted]
        asking = (
            (link.source, link.target) if link.mutual or not link.source.is_group else (link.source,) for link in links
        )
        return frozenset(party for ends in asking for party in ends)


def make(
    view: View,
    context: Context,
    claims: Sequence[Claim],
    *,
    focus: Callable[[Claim], bool],
    may_lose: MayLose,
    refused: Mapping[Link, Refusal] | None = None,
    taken_back: Denial | None = None,
) -> Plan:
    """Decisions for the links of the claims in `focus`, and for every standing rule that lost a reason which may go.

    `refused` holds links that could not be written a moment ago; `taken_back` is why reasons go (an unlink).
    """
    denied = dict(refused or {})
    while True:
        planner = _Planner(view, context, claims, focus, may_lose, denied, taken_back)
        decisions = planner.decisions()
        if not planner.parts:
            return Plan(decisions, frozenset(planner.unread), frozenset(planner.doubts))
        denied |= planner.parts


class _Lost(msgspec.Struct, frozen=True):
    """Reasons that a standing rule loses, and why."""

    reasons: frozenset[Reason]
    denial: Denial
    counted: bool


class _Planner:
    def __init__(
        self,
        view: View,
        context: Context,
        claims: Sequence[Claim],
        focus: Callable[[Claim], bool],
        may_lose: MayLose,
        refused: Mapping[Link, Refusal],
        taken_back: Denial | None,
    ) -> None:
        self.view = view
        self.context = context
        self.policy = context.policy
        self.claims = claims
        self.focus = focus
        self.may_lose = may_lose
        self.refused = refused
        self.refusals = {refusal.denial for refusal in refused.values()}
        self.taken_back = taken_back
        self.verdicts: dict[Link, Verdict] = {}
        self.wants: dict[RuleKey, set[Reason]] = {}
        self.against: dict[tuple[RuleKey, str], Denial] = {}  # by rule and request id: one's end is not another's
        self.lost: dict[RuleKey, _Lost] = {}
        self.room = Room(view, self.policy, context.region)
        self.edited: set[RuleKey] = set()
        self.asked: set[Link] = set()
        self.unread: set[Link] = set()
        self.doubts: set[str] = set()
        self.parts: dict[Link, Refusal] = {}  # links that stand in part and have no room for the rest
        self.owned: dict[RuleKey, tuple[Rule, Marker]] = {}
        self.doubled: set[RuleKey] = set()  # rules of which a hand has made a copy, of another priority
        for rule, marker in owned_rules(view, self.policy, context.region):
            if rule.key is None:
                continue
            if rule.key in self.owned:
                self.doubled.add(rule.key)
            if rule.key not in self.owned or rule.priority == PRIORITY:
                self.owned[rule.key] = (rule, marker)
        self.present = {
            rule.key: rule
            for rules in view.rules.values()
            for rule in rules
            if rule.key and rule.policy == "accept" and rule.key not in self.owned
        }

    def decisions(self) -> list[Decision]:
        for claim in self.claims:
            denial = self._denial(claim)
            for need in self._verdict(claim.link).needs if not claim.same_group else ():
                if denial is None:
                    wanted = self.wants.setdefault(need.key, set())
                    self.wants[need.key] = one_each({*wanted, claim.reason})
                else:
                    self.against[need.key, claim.reason.request] = denial
        self._lose()  # first: what goes makes room
        answers = self._answers()
        removals = self._removals(answers)
        return [*answers.values(), *removals, *self._repairs()]

    # what claims get

    def _verdict(self, link: Link) -> Verdict:
        if link not in self.verdicts:
            verdict = judge(self.view, self.policy, link)
            if verdict.denial is None and link in self.refused:
                verdict = msgspec.structs.replace(verdict, denial=self.refused[link].denial)
            self.verdicts[link] = verdict
        return self.verdicts[link]

    def _denial(self, claim: Claim) -> Denial | None:
        if claim.denial:
            return claim.denial
        if self._past(claim.reason):
            return PAST
        return self._verdict(claim.link).denial

    def _answers(self) -> dict[tuple[Link, str], Decision]:
        grouped: dict[tuple[Link, str], list[Claim]] = {}
        for claim in self.claims:
            if self.focus(claim):
                self.asked.add(claim.link)
                grouped.setdefault((claim.link, claim.raw), []).append(claim)
        return {(link, raw): self._answer(link, claims) for (link, raw), claims in grouped.items()}

    def _answer(self, link: Link, claims: list[Claim]) -> Decision:
        granted = [claim for claim in claims if self._denial(claim) is None and not claim.same_group]
        if not granted:
            return self._no(link, claims)
        verdict = self._verdict(link)
        reasons = frozenset(claim.reason for claim in granted)
        edits: list[Edit] = []
        standing: list[Rule] = []
        ours = False
        for need in verdict.needs:
            if need.key in self.owned:
                ours = True
                standing.append(self.owned[need.key][0])
                if self._gains(need):  # what it only loses is a removal's to tell
                    edits += self._edit(need.key, need.ends)
            elif need.key in self.present:
                standing.append(self.present[need.key])
            else:
                gain = frozenset(self.wants.get(need.key, reasons))
                edits.append(Edit(need.key, gain, ends=need.ends, left=tuple(sorted(gain))))
        answer = Decision(
            link,
            self.context.actions[0],
            "unchanged",
            advice=verdict.advice,
            verdict=verdict,
            instance=granted[0].instance,
            rules=tuple(standing),
            untagged=self._untagged(need.key for need in verdict.needs),
        )
        short, inverted = self.room.too_long(edits), False
        if short is None:
            short, inverted = self.room.take(edits, self._freed())
            if short is not None and ours:
                self.parts[link] = Refusal(short)
        if short is not None:
            self.edited -= {edit.key for edit in edits}
            return msgspec.structs.replace(
                answer,
                outcome="failed",
                reason=short.reason,
                detail=short.detail,
                advice=short.advice,
                untagged=(),
            )
        human = not edits and len(standing) == len(verdict.needs) and not ours
        if human:
            detail = "an equal rule that somebody else made is there already"
            return msgspec.structs.replace(answer, reason="human-rule", detail=detail)
        outcome = "applied" if edits or self.context.request else "unchanged"
        return msgspec.structs.replace(answer, outcome=outcome, edits=tuple(edits), removes_first=inverted)

    def _no(self, link: Link, claims: list[Claim]) -> Decision:
        first = claims[0]
        answer = Decision(link, self.context.actions[0], "unchanged", instance=first.instance, raw=first.raw)
        if any(claim.same_group for claim in claims):
            detail = f"{link.target.id} is the instance's own group" if link.target.is_group else "it names itself"
            return msgspec.structs.replace(answer, reason="same-group", detail=detail)
        denial = self._denial(first)
        assert denial is not None  # noqa: S101
        return msgspec.structs.replace(
            answer,
            outcome="failed" if denial.reason == "quota" else "denied",
            reason=denial.reason,
            detail=denial.detail,
            advice=denial.advice,
            verdict=self._verdict(link),
        )

    def _untagged(self, keys: Iterable[RuleKey]) -> tuple[Party, ...]:
        tag = managed_tag(self.policy.deployment)
        groups = dict.fromkeys(key.group for key in keys if key not in self.present)
        return tuple(p for p in groups if (g := self.view.groups.get(p)) and g.tags.get(tag) != "true")

    def _tampered(self, key: RuleKey) -> bool:
        """Has a hand given the rule another priority, or made a copy of it?"""
        return self.owned[key][0].priority != PRIORITY or key in self.doubled

    def _gains(self, need: Need) -> bool:
        if self._tampered(need.key):
            return True
        marker = self.owned[need.key][1]
        inherited = need.ends != marker.ends and self._left_behind(need.key, marker)
        return inherited or not self.wants.get(need.key, set()) <= set(marker.reasons)

    def _edit(self, key: RuleKey, ends: tuple[Party, Party] | None = None) -> list[Edit]:
        """The change to a rule of ours that stands: its reasons, or a priority that a hand has set. Once a plan.

        `ends` are the instances that want it. Where its addresses were others' before, their reasons go with them.
        """
        rule, marker = self.owned[key]
        inherited = ends is not None and ends != marker.ends and self._left_behind(key, marker)
        lost = self.lost[key].reasons if key in self.lost else frozenset()
        wanted = self.wants.get(key, set())
        asked = {reason.request for reason in wanted}
        replaced = {reason for reason in marker.reasons if reason.request in asked and reason not in wanted}
        left = tuple(sorted(wanted if inherited else {*wanted, *marker.reasons} - lost - replaced))
        same = set(left) == set(marker.reasons) and not inherited
        if key in self.edited or (same and not self._tampered(key)):
            return []
        self.edited.add(key)
        left = tuple(reason for reason in left if reason in wanted or not self._past(reason))
        gain = frozenset(left) - frozenset(marker.reasons)
        whose = ends if inherited else marker.ends
        return [Edit(key, gain, frozenset(marker.reasons) - frozenset(left), whose, rule, left)]

    def _past(self, reason: Reason) -> bool:
        return reason.until is not None and reason.until <= self.context.now

    def _left_behind(self, key: RuleKey, marker: Marker) -> bool:
        """Have the instances that an instance rule was written for other addresses now, or none?"""
        old = link_of(key, marker)
        if not {old.source, old.target} <= self.view.asked:
            self.unread.add(old)
            return False
        return key not in {need.key for need in self._verdict(old).needs}

    def _freed(self) -> Counter[Party]:
        """Rules that name a group and will go, by the group that holds them."""
        return Counter(
            key.group
            for key, lost in self.lost.items()
            if key.source.startswith("sg-") and set(self.owned[key][1].reasons) == lost.reasons
        )

    # what standing rules lose

    def _lose(self) -> None:
        for key, (rule, marker) in self.owned.items():
            wanted = self.wants.get(key, set())
            asked = {reason.request for reason in wanted}
            causes: dict[tuple[Denial, bool], set[Reason]] = {}
            for reason in marker.reasons:
                if reason in wanted or reason.request in asked:
                    continue
                may = self.may_lose(rule, marker, reason)
                if not may:
                    if may is None:
                        self.unread.add(link_of(key, marker))
                    continue
                denial, counted = self._cause(key, marker, reason)
                if denial in self.refusals:
                    if not self._goes_back(key, reason):
                        continue
                elif denial.reason == "no-access" or (counted and not self._believed(link_of(key, marker), denial)):
                    continue
                causes.setdefault((denial, counted), set()).add(reason)
            if causes:
                denial, _ = min(causes, key=lambda cause: cause[1])  # an explicit cause is told before "not seen"
                reasons = frozenset(reason for found in causes.values() for reason in found)
                self.lost[key] = _Lost(reasons, denial, any(counted for _, counted in causes))

    def _cause(self, key: RuleKey, marker: Marker, reason: Reason) -> tuple[Denial, bool]:
        """Why a reason goes, and whether it goes for something that is not seen any more."""
        if self.taken_back is not None:
            return self.taken_back, False
        if self._past(reason):
            return PAST, False
        link = link_of(key, marker)
        denial = self.against.get((key, reason.request)) or self._verdict(link).denial
        if denial is not None:
            hidden = denial.unseen or denial.reason == "no-access"
            if hidden and (closed := shut(self.view, self.policy, key, link)):
                return closed, False
            # what the cloud answered to a write is no matter of what it shows
            return denial, denial.unseen and denial not in self.refusals
        return Denial("", "nothing asks for it any more"), True

    def _goes_back(self, key: RuleKey, reason: Reason) -> bool:
        """Of a link that could not be written: what this delivery has begun, what is half of a mutual link, and what an
        earlier delivery of the same request has begun. A tag's link that could not grow stays as it was."""
        standing = self.owned.keys() | self.present.keys()
        for link, refusal in self.refused.items():
            needs = {need.key for need in self._verdict(link).needs}
            half = link.mutual and not needs <= standing
            if key in needs and (half or self.context.request or (key, reason) in refusal.begun):
                return True
        return False

    def _believed(self, link: Link, denial: Denial) -> bool:
        """Is the account alive where something is not seen: an end of the link, or an instance whose tag would ask for it?"""
        ends = (link.source, link.target) if link.mutual or denial.unseen else (link.source,)
        doubts = ({end.account for end in ends} & self.policy.accounts.keys()) - self.view.alive
        self.doubts |= doubts
        return not doubts

    def _removals(self, answers: dict[tuple[Link, str], Decision]) -> list[Decision]:
        """One decision for each pair, cause and set of reasons. What goes back with a refused link goes into its answer."""
        grouped: dict[tuple[Party, Party, bool, _Lost], list[RuleKey]] = {}
        for key, lost in self.lost.items():
            link = link_of(key, self.owned[key][1])
            ends = (link.source, link.target)
            if link.mutual:
                ends = (min(ends), max(ends))  # both sides of a mutual link are one decision
            if self.taken_back is not None or lost.denial in self.refusals:
                lost = msgspec.structs.replace(lost, reasons=frozenset())
            grouped.setdefault((*ends, link.mutual, lost), []).append(key)
        found = []
        for (source, target, mutual, lost), keys in grouped.items():
            edits = tuple(edit for key in keys for edit in self._edit(key))
            ports = () if mutual else tuple(sorted({key.port for key in keys}))
            link = self._as_asked(Link(source, target, ports))
            rules = tuple(self.owned[key][0] for key in keys)
            if asked := self._refused_link(lost.denial, keys, answers):
                answers[asked, ""] = msgspec.structs.replace(answers[asked, ""], edits=edits, rules=rules)
                continue
            detail = lost.denial.detail
            if requests := ", ".join(sorted(reason.request for reason in lost.reasons if reason.request)):
                detail += f" (of {requests})"
            if not any(edit.kind == "remove" for edit in edits):
                detail += "; the rule stays, since others want it"
            found.append(
                Decision(
                    link,
                    "expire" if lost.denial.reason == "expired" else self.context.actions[1],
                    "removed",
                    lost.denial.reason,
                    detail,
                    lost.denial.advice,
                    edits=edits,
                    counted=lost.counted,
                    rules=rules,
                )
            )
        return found

    def _refused_link(
        self, denial: Denial, keys: list[RuleKey], answers: Mapping[tuple[Link, str], Decision]
    ) -> Link | None:
        """The link in focus whose refusal takes these rules back."""
        for link, refusal in self.refused.items():
            needs = {need.key for need in self._verdict(link).needs}
            if refusal.denial == denial and (link, "") in answers and needs.issuperset(keys):
                return link
        return None

    def _as_asked(self, link: Link) -> Link:
        """A mutual link the way round in which somebody in focus asked for it."""
        turned = Link(link.target, link.source, link.ports)
        return turned if link.mutual and turned in self.asked else link

    def _repairs(self) -> list[Decision]:
        """Rules of ours to which a hand gave another priority: an accept of ours must never beat an operator's drop."""
        found = []
        refused = {need.key for link in self.refused for need in self._verdict(link).needs}
        for key, (rule, marker) in self.owned.items():
            if key in refused or link_of(key, marker) in self.refused:
                continue  # not twice in one delivery
            if self._tampered(key) and (edits := self._edit(key)):
                detail = f"its priority was {rule.priority}, and is {PRIORITY} again"
                if rule.priority == PRIORITY:
                    detail = "a copy of it with another priority is taken away"
                link = link_of(key, marker)
                found.append(Decision(link, "repair", "applied", detail=detail, edits=tuple(edits), rules=(rule,)))
        return found
