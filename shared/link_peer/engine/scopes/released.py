"""The scope of instances of home that events say were released: in another account, what stands for their addresses is removed, as
it is at home by the event itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from link_peer.domain.errors import Transient
from link_peer.domain.model import Party
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.converge import converge
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.scopes.closing import ClosingScope, look
from link_peer.engine.scopes.instances import FEW_HOLDERS
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.engine.write.work import open_work
from link_peer.planning.actual import OwnedLink
from link_peer.planning.decision import Context
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery


def close_released(
    delivery: Delivery, account: str, released: Sequence[Party], audit: AuditWriter, event_id: str
) -> None:
    """Removes an account's rules for instances that events say were released, and that are not shown. Raises Transient where it must
    be done again. What the account refuses, or more groups hold than one delivery looks at, is its sweep's."""
    scope = ReleasedScope(delivery, account, released, audit, event_id)
    guard = RemovalGuard(delivery.policy.limits.removals_per_run)
    scope.read()
    report = converge(scope, guard)
    report += look(scope, guard, report.written, report.refused_keys)
    for trouble in (*report.pending, *map(Transient, scope.store.snapshot().failed_accounts.values())):
        raise trouble


class ReleasedScope(ClosingScope):
    """The groups of one account that hold rules between addresses: of these, the rules for released instances."""

    def __init__(
        self, delivery: Delivery, account: str, released: Sequence[Party], audit: AuditWriter, event_id: str
    ) -> None:
        super().__init__(open_work(delivery, event_id, audit, TOLERANT), frozenset())
        self.account = account
        self.released = frozenset(released)

    @property
    def context(self) -> Context:
        """That of the event: removals are recorded as `unlink`."""
        actions = ("repair", "unlink")
        return Context(self.policy, self.delivery.region, self.started, actions, deleted=self.released)

    def read(self) -> None:
        """The instances by their ids, the groups, and what ClosingScope reads of their links; nothing more where home cannot be read,
        which then shows none of its instances."""
        self.fetch.instances(self.released)
        if not self.store.readable(self.policy.home):
            return
        self.groups = frozenset(self.fetch.tagged_groups([self.account], self.policy.keys.instances)[:FEW_HOLDERS])
        super().read()

    def standing(self, snapshot: Snapshot) -> list[OwnedLink]:
        """The rules of ours on these groups for the released instances."""
        return [owned for owned in super().standing(snapshot) if self.released & {*owned[0].parties}]
