"""What the map draws: arrows between parties, grouped by account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from link_peer.domain.model import ALL, Party, Port

Names = Mapping[str, str]
"""The name of each account, by uid."""


class Arrow(msgspec.Struct, frozen=True):
    """`source` may reach `target` on `ports`. `reasons` are the claims: `tag`, or request ids."""

    source: Party
    target: Party
    ports: tuple[Port, ...]
    reasons: tuple[str, ...]

    @property
    def label(self) -> str:
        """The ports, as text."""
        return "everything" if ALL in self.ports else "+".join(map(str, self.ports))


def by_account(arrows: Sequence[Arrow]) -> list[tuple[str, list[Party]]]:
    """Return each account with its parties, both sorted."""
    parties = sorted({party for arrow in arrows for party in (arrow.source, arrow.target)})
    accounts = sorted({party.account for party in parties})
    return [(account, [party for party in parties if party.account == account]) for account in accounts]


def account_title(account: str, names: Names) -> str:
    """Return an account's uid and, if known, its name."""
    return f"{account} {names[account]}" if account in names else account
