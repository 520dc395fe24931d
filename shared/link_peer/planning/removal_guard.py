"""The guard against an account that stops showing its resources: whose absence counts, and how many removals may follow.

What is removed only because an account does not show something needs a live account, and is counted per account that
does not show it and per account on whose groups the rules are. When more are due in one delivery than the policy allows,
none of those is made; everything else goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from link_peer.domain.denial import Denial
from link_peer.domain.model import Link, Party
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.decision import Context, Decision, Unseen


def unseen_accounts(snapshot: Snapshot, context: Context, link: Link, denial: Denial | None) -> set[str]:
    """The accounts whose showing nothing is the only reason to remove a link's rule: for a denial, those of the parties
    that are not shown; for a link that nothing asks for, those of the askers that are not shown, or whose instances are
    shown without any tags. An instance that the platform says was released counts as shown."""
    if denial is not None and denial.unseen:
        missing = [party for party in (link.source, link.target) if not exists(snapshot, party)]
        missing = missing or [party for party in (link.source, link.target) if not _has_address(snapshot, party)]
    else:
        askers = (link.source, link.target) if link.mutual else (link.source,)
        missing = [party for party in askers if not _shown_with_tags(snapshot, party)]
    return {party.account for party in missing if party not in context.deleted} & context.policy.accounts.keys()


def exists(snapshot: Snapshot, party: Party) -> bool:
    """Whether the cloud shows the party; an instance with all of its groups."""
    if party.is_group:
        return party in snapshot.groups
    instance = snapshot.instances.get(party)
    return instance is not None and len(snapshot.groups_of(instance)) == len(instance.groups)


def _has_address(snapshot: Snapshot, party: Party) -> bool:
    return party.is_group or (party in snapshot.instances and bool(snapshot.instances[party].ip))


def _shown_with_tags(snapshot: Snapshot, party: Party) -> bool:
    return snapshot.shows_members(party) and snapshot.shows_tags(party.account)


class RemovalGuard:
    """Counts the removals of one delivery by Unseen. `reported` are those that a record says are held already."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reported: set[Unseen] = set()
        self._made: Counter[Unseen] = Counter()
        self._closed: set[Unseen] = set()

    def expect(self, due: Mapping[Unseen, int]) -> None:
        """Announces all removals that the messages of a batch are due to make: where they are too many, none is made."""
        self._closed |= {unseen for unseen, count in due.items() if count > self.limit}

    def held(self, due: Mapping[Unseen, int]) -> set[Unseen]:
        """Of the removals that a plan would make, those that are too many, with what this delivery has made before."""
        return {
            unseen for unseen, count in due.items() if unseen in self._closed or self._made[unseen] + count > self.limit
        }

    def made(self, decision: Decision) -> None:
        """Counts a decision that was carried out."""
        for unseen in decision.unseen:
            self._made[unseen] += decision.removals
