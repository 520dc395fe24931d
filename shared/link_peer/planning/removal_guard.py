"""The guard against an account that stops showing its resources: whose absence counts, and how many removals may follow."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from link_peer.domain.denial import Denial
from link_peer.domain.model import Link
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.decision import Decision


def doubted_accounts(snapshot: Snapshot, policy: Policy, link: Link, denial: Denial) -> set[str]:
    """The accounts in which something of this link is not shown, and which have shown no instance at all. Nothing there
    is treated as gone. Those are the accounts of both ends, or of the one whose tag would ask for the link."""
    ends = (link.source, link.target) if link.mutual or denial.unseen else (link.source,)
    return ({end.account for end in ends} & policy.accounts.keys()) - snapshot.live_accounts


class Admitted(msgspec.Struct, frozen=True):
    """The decisions that may be carried out, how many removals are held back, and of how many that were due."""

    decisions: list[Decision]
    held: int = 0
    due: int = 0


class RemovalGuard:
    """Counts the removals of one delivery whose only cause is that something is not shown. When more are due than the
    policy allows, none of them is made. `reported`: a record says so already, or another one will."""

    def __init__(self, limit: int, *, reported: bool = False) -> None:
        self.limit = limit
        self._made = 0
        self._closed = False
        self.reported = reported

    def expect(self, due: int) -> bool:
        """Announces all removals that the messages of a batch are due to make. Returns whether they are too many: then
        none of them is made."""
        self._closed = due > self.limit
        return self._closed

    def admit(self, decisions: Sequence[Decision]) -> Admitted:
        """Drops the guarded removals where they are more than the limit, with those that this delivery has made before."""
        due = sum(decision.removals for decision in decisions if decision.counts_toward_cap)
        if not any(d.counts_toward_cap for d in decisions) or (not self._closed and self._made + due <= self.limit):
            return Admitted(list(decisions))
        return Admitted([d for d in decisions if not d.counts_toward_cap], due, self._made + due)

    def made(self, decision: Decision) -> None:
        """Counts a decision that was carried out."""
        self._made += decision.removals if decision.counts_toward_cap else 0
