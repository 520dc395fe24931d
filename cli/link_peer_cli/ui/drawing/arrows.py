"""What the map draws: arrows between parties, grouped by account; and the map as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

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


def mermaid(arrows: Sequence[Arrow], names: Names) -> str:
    """Return a flowchart with one subgraph per account."""
    lines = ["flowchart LR"]
    nodes: dict[Party, str] = {}
    for account, parties in by_account(arrows):
        lines.append(f'  subgraph a{account}["{_quoted(account_title(account, names))}"]')
        for party in parties:
            nodes[party] = f"n{len(nodes)}"
            lines.append(f'    {nodes[party]}["{party.id}"]')
        lines.append("  end")
    lines += [f'  {nodes[a.source]} -->|"{a.label}"| {nodes[a.target]}' for a in arrows]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Escape text for use inside double quotes. Mermaid has its own spelling of two entities."""
    return escape(text).replace("&quot;", "#quot;").replace("&#x27;", "#39;")
