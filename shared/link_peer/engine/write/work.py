"""What decisions are carried out with, and what came of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from link_peer.domain.errors import Transient
from link_peer.domain.model import Claim, Link, Marker, Party, RuleKey
from link_peer.engine.read.access import STRICT, Reading
from link_peer.engine.read.fetch import Fetch, open_fetch
from link_peer.engine.write.tags import ManagedTags
from link_peer.planning.actual import link_of
from link_peer.planning.decision import Decision, Refusal, Unseen
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery


class Writes:
    """What the work itself did to claims. `put` are those that it put on rules, or may have, where it got no answer;
    `taken_claims` those that it is known to have taken from rules by address that it found, each with the link of the
    rule."""

    def __init__(self) -> None:
        self.put: set[tuple[RuleKey, Claim]] = set()
        self.taken_claims: set[tuple[Link, Claim]] = set()

    def took(self, key: RuleKey, marker: Marker, claims: Iterable[Claim]) -> None:
        """Notes that a call takes these from a rule, which has this marker. Its answer may be lost: where it is not
        made, they stand."""
        link = link_of(key, marker)
        if link.member:
            self.taken_claims |= {(link.side, claim) for claim in claims if (key, claim) not in self.put}


class Work(msgspec.Struct, frozen=True):
    """What one event, request or run is carried out with."""

    delivery: Delivery
    fetch: Fetch
    tags: ManagedTags
    audit: AuditWriter
    # of a request, in epoch seconds: shortly after it, nothing is opened for it any more
    expires_at: float | None = None
    closes: bool = False  # an unlink: nothing is closed after that instant either
    writes: Writes = msgspec.field(default_factory=Writes)


def open_work(
    delivery: Delivery,
    name: str,
    audit: AuditWriter,
    how: Reading = STRICT,
    *,
    expires_at: float | None = None,
    closes: bool = False,
) -> Work:
    """Work of a delivery that has read nothing yet; `name` is as in `Delivery.cloud`."""
    fetch = open_fetch(delivery, name, how)
    return Work(delivery, fetch, ManagedTags(fetch, delivery), audit, expires_at, closes)


class Until(msgspec.Struct, frozen=True):
    """How long decisions are closed, since other work is due: nothing more from `end` on, no account that is throttled
    is waited for from `patience` on (epoch seconds), and each account's take `each` seconds at most."""

    end: float = math.inf
    patience: float = math.inf
    each: float = math.inf


UNLIMITED = Until()


class PlanTotals(msgspec.Struct, frozen=True):
    """What the plans of a sweep add up to."""

    decisions: tuple[Decision, ...] = ()  # those that were to be carried out
    denied: Mapping[tuple[Link, str], Decision] = {}  # wishes of tags that were denied, by link and as they are written
    due: frozenset[Party] = frozenset()  # groups with rules to remove because something is not shown
    doubted: frozenset[str] | None = None  # accounts that showed no instances, in the last plan; None without a plan

    def __add__(self, later: PlanTotals) -> PlanTotals:
        """Both."""
        decisions, denied = self.decisions + later.decisions, {**self.denied, **later.denied}
        doubted = self.doubted if later.doubted is None else later.doubted
        return PlanTotals(decisions, denied, self.due | later.due, doubted)


class Report(msgspec.Struct, frozen=True):
    """What carrying out a plan came to."""

    changed: int = 0
    removed: int = 0
    held_removals: Mapping[Unseen, int] = {}  # removals that the guard held back
    refused: Mapping[Link, Refusal] = {}  # links that must be rolled back
    # transient errors, already recorded as attempts, for which the work must be done again
    pending: tuple[Transient, ...] = ()
    refused_keys: frozenset[RuleKey] = frozenset()  # rules whose change the cloud refused for good
    reasons: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)  # recorded outcomes by (outcome, reason)
    undone: int = 0  # decisions for which a sweep had no time: no failure, since the next one carries them out
    written: frozenset[Party] = frozenset()  # groups that were changed, or for whose rules a change was refused
    planned: PlanTotals = PlanTotals()

    def __add__(self, later: Report) -> Report:
        """Both. What is held is planned again in every pass, so it counts once."""
        return Report(
            self.changed + later.changed,
            self.removed + later.removed,
            {**self.held_removals, **later.held_removals},
            {**self.refused, **later.refused},
            self.pending + later.pending,
            self.refused_keys | later.refused_keys,
            self.reasons + later.reasons,
            self.undone + later.undone,
            self.written | later.written,
            self.planned + later.planned,
        )
