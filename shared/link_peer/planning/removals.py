"""Which claims each rule of ours loses, and why. Pure.

A delivery may take a claim only as far as its scope says so (`MayLose`). Explicit causes are a claim's end, an unlink,
the policy, a lock, and consent; what is removed because nothing shown asks for it any more needs more: everything that
could want the rule must have been read, in a live account, and the removal guard must let it pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import Enum

import msgspec

from link_peer.domain import denials
from link_peer.domain.denial import Denial
from link_peer.domain.denials import CLAIM_EXPIRED, UNWANTED
from link_peer.domain.errors import BadInput
from link_peer.domain.model import ALL, Claim, Link, Marker, Party, Rule, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_instant
from link_peer.planning.actual import ActualState, link_of
from link_peer.planning.decision import Context, Unseen
from link_peer.planning.desired import DesiredState, Verdicts
from link_peer.planning.evaluate import closed_by_group
from link_peer.planning.removal_guard import RemovalGuard, exists, unseen_accounts

HALF_OPEN_SECONDS = 1800
"""How old a half-open rule of a request must be before a sweep removes it: a delivery may still be writing the other
half."""


class May(Enum):
    """How far a delivery may take a claim."""

    KEEP = "keep"  # another delivery's business
    CLOSE = "close"  # for an explicit cause only
    TAKE = "take"  # also when nothing asks for it any more
    READ = "read"  # as TAKE, once everything that could want the rule's link is read; until then as CLOSE


MayLose = Callable[[Rule, Marker, Claim], May]


class Loss(msgspec.Struct, frozen=True):
    """The claims that a rule of ours loses, and why. `unseen` where the only cause is that something is not shown;
    `by_absence` where the cause is what a read did not show: a party, or a tag."""

    claims: frozenset[Claim]
    why: Denial
    unseen: frozenset[Unseen] = frozenset()
    by_absence: bool = False


class _Cause(msgspec.Struct, frozen=True):
    why: Denial
    unseen: frozenset[Unseen] = frozenset()
    by_absence: bool = False


class Removals:
    """`lost` by rule. `due` are the rules that would be removed only because something is not shown, `held` counts those
    that the guard holds back. `unread` links and `doubted_accounts` kept further claims from being taken."""

    def __init__(
        self,
        snapshot: Snapshot,
        context: Context,
        actual: ActualState,
        desired: DesiredState,
        verdicts: Verdicts,
        may_lose: MayLose,
        guard: RemovalGuard,
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
        self.unread: set[Link] = set()
        self.doubted_accounts: set[str] = set()
        causes = {key: found for key in actual.owned if (found := self._causes(key))}
        self.due = self._due(causes)
        held = guard.held({unseen: len(keys) for unseen, keys in self.due.items()})
        self.held: Mapping[Unseen, int] = {unseen: len(self.due[unseen]) for unseen in sorted(held)}
        self.lost = {key: loss for key, found in causes.items() if (loss := _loss(found, held))}

    def claims(self, key: RuleKey) -> Collection[Claim]:
        """The claims that a rule loses."""
        return self.lost[key].claims if key in self.lost else ()

    def freed(self) -> list[RuleKey]:
        """The rules that lose every claim, and so are removed."""
        return [key for key, loss in self.lost.items() if self._actual.claims(key) == loss.claims]

    def _causes(self, key: RuleKey) -> dict[Claim, _Cause]:
        """Why each claim of a rule is taken, for those that are."""
        rule, marker = self._actual.owned[key]
        wanted, requests = self._desired.claims(key), self._desired.requests(key)
        found: dict[Claim, _Cause] = {}
        for claim in marker.claims:
            if claim in wanted or claim.request in requests:
                continue
            may = self._may_lose(rule, marker, claim)
            if may is May.READ:
                self.unread.add(link_of(key, marker))
            if may is not May.KEEP and (cause := self._cause(key, marker, claim, may)):
                found[claim] = cause
        return found

    def unconfirmed(self) -> set[Party]:
        """The parties whose absence, or whose missing tag, is why rules lose claims: the askers, and ends that are not
        shown."""
        found: set[Party] = set()
        for key, loss in self.lost.items():
            if loss.by_absence:
                link = link_of(key, self._actual.owned[key][1])
                ends = (link.source, link.target)
                found |= set(ends if link.mutual or not link.source.is_group else ends[:1])
                found |= {party for party in ends if not exists(self._snapshot, party)}
        return found

    def _due(self, causes: Mapping[RuleKey, Mapping[Claim, _Cause]]) -> dict[Unseen, frozenset[RuleKey]]:
        """The rules that would be removed, by what is not shown."""
        due: dict[Unseen, set[RuleKey]] = {}
        for key, found in causes.items():
            if found.keys() == self._actual.claims(key):
                for unseen in {unseen for cause in found.values() for unseen in cause.unseen}:
                    due.setdefault(unseen, set()).add(key)
        return {unseen: frozenset(keys) for unseen, keys in due.items()}

    def _cause(self, key: RuleKey, marker: Marker, claim: Claim, may: May) -> _Cause | None:
        """Why a claim is taken; None where it is kept."""
        if self._withdrawn is not None:
            return _Cause(self._withdrawn)
        if self._context.expired(claim):
            return _Cause(CLAIM_EXPIRED)
        link = link_of(key, marker)
        denial = self._desired.denied.get((key, claim.request)) or self._verdicts.of(link).denial
        if denial is None:
            return self._half_open(key, claim) or self._by_absence(key, link, None, may)
        hidden = denial.unseen or denial.undecided
        policy, now = self._context.policy, self._context.now
        if hidden and (closed := closed_by_group(self._snapshot, policy, key, link, now)):
            return _Cause(closed)
        return self._of_denial(key, claim, link, denial, may)

    def _of_denial(self, key: RuleKey, claim: Claim, link: Link, denial: Denial, may: May) -> _Cause | None:
        if denial in self._verdicts.refusals:
            # the cloud's answer to a write says nothing about what it shows
            return _Cause(denial) if self._must_roll_back(key, claim) else None
        if denial.undecided:
            return None
        return self._by_absence(key, link, denial, may) if denial.unseen else _Cause(denial)

    def _by_absence(self, key: RuleKey, link: Link, denial: Denial | None, may: May) -> _Cause | None:
        """Nothing asks for the link any more, or one of its parties is not shown."""
        released = bool({link.source, link.target} & self._context.deleted)
        if may is not May.TAKE and not (denial and released):
            return None
        accounts = unseen_accounts(self._snapshot, self._context, link, denial)
        doubted = accounts - self._snapshot.live_accounts
        self.doubted_accounts |= doubted
        if doubted:
            return None
        holders = {link.source.account, link.target.account} if link.mutual else {key.group.account}
        holder = "+".join(sorted(holders))
        unseen = frozenset(Unseen(account, holder) for account in accounts)
        return _Cause(denial or UNWANTED, unseen, by_absence=True)

    def _half_open(self, key: RuleKey, claim: Claim) -> _Cause | None:
        """Whether a request's rule is half of a mutual link for good. What a tag wants is completed instead."""
        if claim.is_tag or key.port != ALL or not self._context.completes_tags_only:
            return None
        rule, marker = self._actual.owned[key]
        others = self._verdicts.needs(link_of(key, marker)) - {key}
        missing = [other for other in others if other.group in self._snapshot.rules and other not in self._actual]
        if not missing or self._context.now - _created(rule) < HALF_OPEN_SECONDS:
            return None
        return _Cause(denials.half_open(missing[0].group))

    def _must_roll_back(self, key: RuleKey, claim: Claim) -> bool:
        """Of a link that could not be written, these go: what this delivery wrote, half of a mutual link, and what an
        earlier delivery of the same request wrote in part. A tag's link that could not grow stays as it was, and so does a
        link that is complete, of which only a repair was refused."""
        for link, refusal in self._verdicts.refused.items():
            needs = self._verdicts.needs(link)
            half = link.mutual and not all(need in self._actual for need in needs)
            complete = all(need in self._actual.equal or claim in self._actual.claims(need) for need in needs)
            in_part = self._context.is_request and not complete
            if key in needs and (half or in_part or (key, claim) in refusal.partial):
                return True
        return False


def _loss(causes: Mapping[Claim, _Cause], held: Collection[Unseen]) -> Loss | None:
    """What a rule loses, without what the guard holds back. An explicit cause is reported before the others."""
    taken = {claim: cause for claim, cause in causes.items() if not cause.unseen & set(held)}
    if not taken:
        return None
    first = min(taken.values(), key=lambda cause: bool(cause.unseen))
    unseen = frozenset(unseen for cause in taken.values() for unseen in cause.unseen)
    return Loss(frozenset(taken), first.why, unseen, any(cause.by_absence for cause in taken.values()))


def _created(rule: Rule) -> float:
    """When the rule was made (epoch seconds); long ago where the cloud does not say."""
    try:
        return parse_instant(rule.created)
    except BadInput:
        return 0.0
