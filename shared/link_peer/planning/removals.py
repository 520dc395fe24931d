"""Which claims each rule of ours loses, and why. Pure.

A delivery may take a claim only if its scope says so (`may_lose`), and only when everything that could want the rule was
read. What is removed because something is not shown needs a live account, and counts toward the cap.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from link_peer.domain.denial import CLAIM_EXPIRED, UNWANTED, Denial, ReasonCode
from link_peer.domain.model import Claim, Link, Marker, Party, Rule, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.actual import ActualState, link_of
from link_peer.planning.decision import Context
from link_peer.planning.desired import DesiredState, Verdicts
from link_peer.planning.evaluate import consent_withdrawn
from link_peer.planning.removal_guard import doubted_accounts

MayLose = Callable[[Rule, Marker, Claim], "bool | None"]
"""Whether this delivery may take that claim. None: it may, once everything that could want the rule's link is read."""

_CANNOT_TELL = frozenset({ReasonCode.NO_ACCESS, ReasonCode.NONE})
"""Verdicts that say nothing about the link itself: an account refuses access, or could not be read."""


class Loss(msgspec.Struct, frozen=True):
    """The claims that a rule of ours loses, and why."""

    claims: frozenset[Claim]
    why: Denial
    counts_toward_cap: bool


class _Cause(msgspec.Struct, frozen=True):
    why: Denial
    counts_toward_cap: bool = False


class Removals:
    """`lost` by rule; `unread` links and `doubted_accounts` that kept further claims from being taken."""

    def __init__(
        self,
        snapshot: Snapshot,
        context: Context,
        actual: ActualState,
        desired: DesiredState,
        verdicts: Verdicts,
        may_lose: MayLose,
        withdrawn: Denial | None = None,
    ) -> None:
        """`withdrawn` is why claims are taken whatever the verdict (an unlink)."""
        self._snapshot = snapshot
        self._context = context
        self._actual = actual
        self._desired = desired
        self._verdicts = verdicts
        self._may_lose = may_lose
        self._withdrawn = withdrawn
        self.lost: dict[RuleKey, Loss] = {}
        self.unread: set[Link] = set()
        self.doubted_accounts: set[str] = set()
        for key in actual.owned:
            self._look_at(key)

    def claims(self, key: RuleKey) -> Collection[Claim]:
        """The claims that a rule loses."""
        return self.lost[key].claims if key in self.lost else ()

    def freed_groups(self) -> list[Party]:
        """The group of each rule that will be removed and names a group as its source: room in that group's quota."""
        return [
            key.group
            for key, loss in self.lost.items()
            if key.source.startswith("sg-") and set(self._actual.owned[key][1].claims) == loss.claims
        ]

    def address_moved(self, key: RuleKey) -> bool:
        """Whether the instances that an instance rule was written for have other addresses now, or do not exist. False
        where they were not read; they are then noted as unread."""
        old = link_of(key, self._actual.owned[key][1])
        if not {old.source, old.target} <= self._snapshot.requested:
            self.unread.add(old)
            return False
        return key not in self._verdicts.needs(old)

    def _look_at(self, key: RuleKey) -> None:
        rule, marker = self._actual.owned[key]
        wanted, requests = self._desired.claims(key), self._desired.requests(key)
        causes: dict[_Cause, set[Claim]] = {}
        for claim in marker.claims:
            if claim in wanted or claim.request in requests:
                continue
            may = self._may_lose(rule, marker, claim)
            if may is None:
                self.unread.add(link_of(key, marker))
            if may and (cause := self._cause(key, marker, claim)):
                causes.setdefault(cause, set()).add(claim)
        if causes:
            first = min(causes, key=lambda cause: cause.counts_toward_cap)  # an explicit cause is reported first
            claims = frozenset(claim for found in causes.values() for claim in found)
            self.lost[key] = Loss(claims, first.why, any(cause.counts_toward_cap for cause in causes))

    def _cause(self, key: RuleKey, marker: Marker, claim: Claim) -> _Cause | None:
        """Why a claim is taken; None where it is kept."""
        if self._withdrawn is not None:
            return _Cause(self._withdrawn)
        if self._context.expired(claim):
            return _Cause(CLAIM_EXPIRED)
        link = link_of(key, marker)
        denial = self._desired.denied.get((key, claim.request)) or self._verdicts.of(link).denial
        if denial is None:
            return self._unless_doubted(link, UNWANTED)
        hidden = denial.unseen or denial.code in _CANNOT_TELL
        if hidden and (closed := consent_withdrawn(self._snapshot, self._context.policy, key, link)):
            return _Cause(closed)
        return self._of_denial(key, claim, link, denial)

    def _of_denial(self, key: RuleKey, claim: Claim, link: Link, denial: Denial) -> _Cause | None:
        if denial in self._verdicts.refusals:
            # the cloud's answer to a write says nothing about what it shows
            return _Cause(denial) if self._must_roll_back(key, claim) else None
        if denial.code in _CANNOT_TELL:
            return None
        return self._unless_doubted(link, denial) if denial.unseen else _Cause(denial)

    def _unless_doubted(self, link: Link, why: Denial) -> _Cause | None:
        doubted = doubted_accounts(self._snapshot, self._context.policy, link, why)
        self.doubted_accounts |= doubted
        return None if doubted else _Cause(why, counts_toward_cap=True)

    def _must_roll_back(self, key: RuleKey, claim: Claim) -> bool:
        """Of a link that could not be written, these go: what this delivery wrote, half of a mutual link, and what an
        earlier delivery of the same request wrote. A tag's link that could not grow stays as it was."""
        for link, refusal in self._verdicts.refused.items():
            needs = self._verdicts.needs(link)
            half = link.mutual and not all(need in self._actual for need in needs)
            if key in needs and (half or self._context.is_request or (key, claim) in refusal.partial):
                return True
        return False
