"""What the map draws, arrows between parties, grouped by account: as a Mermaid flowchart, and as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import msgspec
from link_peer.domain.model import ALL, Party, Port

Names = Mapping[str, str]
"""The name of each account, by uid."""


class Arrow(msgspec.Struct, frozen=True):
    """`source` may reach `target` on `ports`. `claims` are what holds it: `tag`, or request ids. `deployment` is the other one of
    this home whose name the rules have, empty if they are ours."""

    source: Party
    target: Party
    ports: tuple[Port, ...]
    claims: tuple[str, ...]
    deployment: str = ""

    @property
    def ports_text(self) -> str:
        """The ports, as text."""
        return "everything" if ALL in self.ports else "+".join(map(str, self.ports))

    @property
    def label(self) -> str:
        """The ports, and whose rules they are where they are not ours."""
        return self.ports_text + (f" of deployment {self.deployment}" if self.deployment else "")


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


# All sizes are in pixels.
COLUMN, ROW = 420, 60  # distance between columns, and between rows
LEFT, TOP = 130, 70  # position of the first box
WIDTH, HEIGHT = 230, 32  # of a box

LABEL_CHARACTERS = 20  # the longest label that fits between two boxes
LINE, CHARACTER = 15, 7  # height of a label, and width of one of its characters

STYLE = (
    "text{font:13px sans-serif;fill:#222}.a{font-weight:bold}.b{fill:#fff}"
    ".l{font-size:12px;fill:#06c;stroke:#fff;stroke-width:4;paint-order:stroke}"
    ".p{fill:#f4f6f8;stroke:#789}.e{fill:none;stroke:#06c;stroke-width:1.5}"
)
ARROW_HEAD = (
    '<marker id="h" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto">'
    '<path d="M0,0L9,4L0,8z" fill="#06c"/></marker>'
)

Labels = list[tuple[int, int, int]]
"""The labels placed so far: x of the centre, y, length in characters."""


def svg(arrows: Sequence[Arrow], names: Names) -> str:
    """Return the drawing. It is as large as its boxes and labels need."""
    columns = by_account(arrows)
    places = {
        party: (LEFT + COLUMN * x, TOP + ROW * y)
        for x, (_, parties) in enumerate(columns)
        for y, party in enumerate(parties)
    }
    placed: Labels = []
    curves, labels = _curves(arrows, places, placed)
    width = LEFT + COLUMN * max(len(columns), 1)
    height = TOP + ROW * max((len(parties) for _, parties in columns), default=1)
    height = max([height, *(y + LINE for _, y, _ in placed)])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{STYLE}</style><defs>{ARROW_HEAD}</defs>",
        f'<rect class="b" width="{width}" height="{height}"/>',
    ]
    for x, (account, _) in enumerate(columns):
        parts.append(f'<text class="a" x="{LEFT + COLUMN * x}" y="30">{escape(account_title(account, names))}</text>')
    for party, (x, y) in places.items():
        parts.append(f'<rect class="p" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>')
        parts.append(f'<text x="{x + 8}" y="{y + 21}">{escape(party.id)}</text>')
    return "\n".join([*parts, *curves, *labels, "</svg>\n"])


def _curves(
    arrows: Sequence[Arrow], places: dict[Party, tuple[int, int]], placed: Labels
) -> tuple[list[str], list[str]]:
    """The curves, and their labels, which are added to `placed`."""
    curves, labels = [], []
    for arrow in arrows:
        curve, x, y = _curve(places[arrow.source], places[arrow.target])
        y = _place(placed, x, y, len(_label(arrow)))
        curves.append(curve)
        text = f"{escape(_label(arrow))}<title>{escape(arrow.label)}: {escape(', '.join(arrow.claims))}</title>"
        labels.append(f'<text class="l" text-anchor="middle" x="{x}" y="{y}">{text}</text>')
    return curves, labels


def _label(arrow: Arrow) -> str:
    """The ports, or only their number if they do not fit: the tooltip lists all of them."""
    return arrow.ports_text if len(arrow.ports_text) <= LABEL_CHARACTERS else f"{len(arrow.ports)} ports"


def _place(placed: Labels, x: int, y: int, length: int) -> int:
    """Move a label down from `y` until it overlaps no other, record it in `placed` and return its y."""
    while any(abs(y - other) < LINE and abs(x - at) * 2 < CHARACTER * (length + long) for at, other, long in placed):
        y += 1
    placed.append((x, y, length))
    return y


def _curve(start: tuple[int, int], end: tuple[int, int]) -> tuple[str, int, int]:
    """The path from one box to another, and the position of its label.

    Within a column it leaves and enters on the same side of the boxes: right when it goes down, left when it goes up,
    so that the two directions of a mutual link do not overlap.
    """
    (x1, y1), (x2, y2) = start, end
    y1, y2 = y1 + HEIGHT // 2 - 6, y2 + HEIGHT // 2 + 6
    if x1 == x2:
        down = y2 > y1
        side = x1 + WIDTH if down else x1
        bow = side + (70 if down else -70)
        x1 = x2 = side
        control = f"{bow},{y1} {bow},{y2}"
        place = (side + (56 if down else -56), (y1 + y2) // 2)
    else:
        right = x2 > x1
        x1, x2 = (x1 + WIDTH, x2) if right else (x1, x2 + WIDTH)
        middle = (x1 + x2) // 2
        control = f"{middle},{y1} {middle},{y2}"
        place = (middle, (y1 + y2) // 2 + (-8 if right else 14))
    path = f'<path class="e" d="M{x1},{y1} C{control} {x2},{y2}" marker-end="url(#h)"/>'
    return path, *place
