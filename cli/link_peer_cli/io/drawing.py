"""Arrows between parties as Mermaid, SVG and HTML. Pure: text in, text out; no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import msgspec
from link_peer.domain.model import ALL, Party, Port

COLUMN, ROW = 420, 60  # from one account's column to the next, from one party to the one below
LEFT, TOP = 130, 70  # of the first party
WIDTH, HEIGHT = 230, 32  # of a party's box

LABEL_CHARACTERS = 20  # so many have room between two boxes
LINE, CHARACTER = 15, 7  # what a label takes, in height and a character

STYLE = (
    "text{font:13px sans-serif;fill:#222}.a{font-weight:bold}.b{fill:#fff}"
    ".l{font-size:12px;fill:#06c;stroke:#fff;stroke-width:4;paint-order:stroke}"
    ".p{fill:#f4f6f8;stroke:#789}.e{fill:none;stroke:#06c;stroke-width:1.5}"
)


class Arrow(msgspec.Struct, frozen=True):
    """`source` may reach `target` on `ports`, for these reasons (`tag`, or ids of requests)."""

    source: Party
    target: Party
    ports: tuple[Port, ...]
    reasons: tuple[str, ...]

    @property
    def label(self) -> str:
        return "everything" if ALL in self.ports else "+".join(map(str, self.ports))


Names = Mapping[str, str]
"""What each account is called."""


def mermaid(arrows: Sequence[Arrow], names: Names) -> str:
    """A flowchart with one frame an account."""
    lines = ["flowchart LR"]
    marks: dict[Party, str] = {}
    for account, parties in _columns(arrows):
        lines.append(f'  subgraph a{account}["{_quoted(_title(account, names))}"]')
        for party in parties:
            marks[party] = f"n{len(marks)}"
            lines.append(f'    {marks[party]}["{party.id}"]')
        lines.append("  end")
    lines += [f'  {marks[a.source]} -->|"{a.label}"| {marks[a.target]}' for a in arrows]
    return "\n".join(lines) + "\n"


def svg(arrows: Sequence[Arrow], names: Names) -> str:
    """One column an account, one box a party."""
    columns = _columns(arrows)
    places = {
        party: (LEFT + COLUMN * x, TOP + ROW * y)
        for x, (_, parties) in enumerate(columns)
        for y, party in enumerate(parties)
    }
    curves, labels = [], []
    taken: list[tuple[int, int, int]] = []
    for arrow in arrows:
        curve, x, y = _curve(places[arrow.source], places[arrow.target])
        y = _free(taken, x, y, len(_label(arrow)))
        curves.append(curve)
        text = f"{escape(_label(arrow))}<title>{escape(arrow.label)}: {escape(', '.join(arrow.reasons))}</title>"
        labels.append(f'<text class="l" text-anchor="middle" x="{x}" y="{y}">{text}</text>')
    width = LEFT + COLUMN * max(len(columns), 1)
    height = TOP + ROW * max((len(parties) for _, parties in columns), default=1)
    height = max([height, *(y + LINE for _, y, _ in taken)])
    head = '<marker id="h" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto"><path d="M0,0L9,4L0,8z" fill="#06c"/></marker>'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{STYLE}</style><defs>{head}</defs>",
        f'<rect class="b" width="{width}" height="{height}"/>',
    ]
    for x, (account, _) in enumerate(columns):
        parts.append(f'<text class="a" x="{LEFT + COLUMN * x}" y="30">{escape(_title(account, names))}</text>')
    for party, (x, y) in places.items():
        parts.append(f'<rect class="p" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>')
        parts.append(f'<text x="{x + 8}" y="{y + 21}">{escape(party.id)}</text>')
    return "\n".join([*parts, *curves, *labels, "</svg>\n"])


def html(arrows: Sequence[Arrow], names: Names) -> str:
    """A page with the picture, and every arrow with its reasons in a table."""
    rows = "\n".join(
        f"<tr><td>{escape(str(a.source))}<td>{escape(str(a.target))}<td>{a.label}<td>{escape(', '.join(a.reasons))}"
        for a in arrows
    )
    style = "body{font:14px sans-serif;margin:2em}td,th{text-align:left;padding:.2em 1em .2em 0}"
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>link-peer</title><style>{style}</style>\n'
        f"<h1>Who may reach whom</h1>\n{svg(arrows, names)}"
        f"<table><tr><th>from<th>to<th>on<th>because of\n{rows}\n</table></html>\n"
    )


def _columns(arrows: Sequence[Arrow]) -> list[tuple[str, list[Party]]]:
    """The parties of each account, in their order."""
    parties = sorted({party for arrow in arrows for party in (arrow.source, arrow.target)})
    accounts = sorted({party.account for party in parties})
    return [(account, [party for party in parties if party.account == account]) for account in accounts]


def _title(account: str, names: Names) -> str:
    return f"{account} {names[account]}" if account in names else account


def _quoted(text: str) -> str:
    """Inside Mermaid's quotes a name may hold anything, written as an entity where it could end them."""
    return escape(text).replace("&quot;", "#quot;").replace("&#x27;", "#39;")


def _label(arrow: Arrow) -> str:
    """The ports, or how many: the title and the table have them all."""
    return arrow.label if len(arrow.label) <= LABEL_CHARACTERS else f"{len(arrow.ports)} ports"


def _free(taken: list[tuple[int, int, int]], x: int, y: int, length: int) -> int:
    """The next height from `y` on at which a label of this length covers none of those before it; from then on it is
    one of them (x, y, length)."""
    while any(abs(y - other) < LINE and abs(x - at) * 2 < CHARACTER * (length + long) for at, other, long in taken):
        y += 1
    taken.append((x, y, length))
    return y


def _curve(start: tuple[int, int], end: tuple[int, int]) -> tuple[str, int, int]:
    """The path, and where its label goes. From box to box; within a column by the side, and the two ways of a mutual link apart from each other."""
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
