"""Wrong designs of sweeps by account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec
from link_peer.engine.read.access import Pages
from link_peer.engine.read.fetch import Fetch
from link_peer.engine.scopes.account import AccountSweep
from link_peer.engine.write.removal_guard import PartGuard
from link_peer.planning.decision import Unseen
from link_peer.planning.removals import May

from tests.simulation.mutants.designs import Patch


def a_part_is_the_whole(patch: Patch) -> None:
    """What a part of a listing does not show is gone, and nobody reads it once more."""
    keep = AccountSweep._keep

    def judging(self: AccountSweep) -> None:
        keep(self)
        self.part.judges = self.part.guard.judges = True

    patch.setattr(Pages, "whole", True)
    patch.setattr(Fetch, "confirm_absent", lambda _self, _parties: None)
    patch.setattr(AccountSweep, "may_lose", lambda *_rule: May.TAKE)
    patch.setattr(AccountSweep, "_keep", judging)


def a_cursor_skips(patch: Patch) -> None:
    """A listing that stopped is taken for complete."""
    move_on = AccountSweep._move_on

    def skipping(self: AccountSweep) -> None:
        move_on(self)
        self.part.cursor = msgspec.structs.replace(self.part.cursor, token=None)

    patch.setattr(AccountSweep, "_move_on", skipping)


def one_guard_for_all(patch: Patch) -> None:
    """What the deliveries of all accounts are due to remove counts together."""
    due_before: Counter[Unseen] = Counter()

    def held(self: PartGuard, due: Mapping[Unseen, int]) -> set[Unseen]:
        due_before.update(due)
        return set(due) if not self.judges or due_before.total() > self.limit else set()

    patch.setattr(PartGuard, "held", held)
