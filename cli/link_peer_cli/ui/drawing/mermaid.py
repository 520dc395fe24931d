"""The map as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from link_peer.domain.model import Party

from link_peer_cli.ui.drawing.arrows import Arrow, Names, account_title, by_account


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
