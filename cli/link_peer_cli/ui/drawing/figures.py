"""What the map draws, arrows between parties, grouped by account: as a Mermaid flowchart, and as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import msgspec
from link_peer.domain.model import Party

Names = Mapping[str, str]
"""The name of each account, by uid."""

COLOURS = {"open": "#06c", "partly": "#b0560a", "blocked": "#c8321f", "half-open": "#0b7a75", "closing": "#5d6878"}
UNKNOWN = "#7a6ba8"
"""The colour of a link by its state, and of one of which that is not known. Only links that are open have solid lines."""


class Arrow(msgspec.Struct, frozen=True):
    """`source` may reach `target` on `ports` (`mutual`: each may reach the other), as far as `state` says. `claims` are what holds
    it: `tag`, or request ids. `written` is how its rules name the source. `deployment` is the other one of this home whose name
    the rules have, empty if they are ours. `names` are those of the two parties, empty where there is none."""

    source: Party
    target: Party
    ports: str
    state: str
    claims: tuple[str, ...]
    written: str
    deployment: str
    names: tuple[str, str]

    @property
    def mutual(self) -> bool:
        """Whether it has a head at each end."""
        return self.ports == "mutual"

    @property
    def colour(self) -> str:
        """The colour of its state."""
        return COLOURS.get(self.state, UNKNOWN)

    @property
    def notes(self) -> str:
        """What is said after the ports: the state if it is not open, that the rules name addresses, and whose they are if not
        ours."""
        notes = [
            self.state if self.state != "open" else "",
            self.written if self.written == "by address" else "",
            f"of deployment {self.deployment}" if self.deployment else "",
        ]
        return ", ".join(filter(None, notes))

    @property
    def label(self) -> str:
        """The ports and the notes."""
        return f"{self.ports} ({self.notes})" if self.notes else self.ports


def by_account(arrows: Sequence[Arrow]) -> list[tuple[str, list[Party]]]:
    """Return each account with its parties, both sorted."""
    parties = sorted({party for arrow in arrows for party in (arrow.source, arrow.target)})
    accounts = sorted({party.account for party in parties})
    return [(account, [party for party in parties if party.account == account]) for account in accounts]


def titles(arrows: Sequence[Arrow]) -> dict[Party, str]:
    """Return each party's name; its id where it has none."""
    ends = [end for arrow in arrows for end in zip((arrow.source, arrow.target), arrow.names, strict=True)]
    return {party: name or party.id for party, name in ends}


def account_title(account: str, names: Names) -> str:
    """Return an account's uid and, if known, its name."""
    return f"{account} {names[account]}" if account in names else account


def mermaid(arrows: Sequence[Arrow], names: Names) -> str:
    """Return a flowchart with one subgraph per account."""
    lines = ["flowchart LR"]
    nodes: dict[Party, str] = {}
    called = titles(arrows)
    for account, parties in by_account(arrows):
        lines.append(f'  subgraph a{account}["{_quoted(account_title(account, names))}"]')
        for party in parties:
            nodes[party] = f"n{len(nodes)}"
            title = _quoted(called[party]) + (f"<br/>{party.id}" if called[party] != party.id else "")
            lines.append(f'    {nodes[party]}["{title}"]')
        lines.append("  end")
    for number, arrow in enumerate(arrows):
        line = ("<" if arrow.mutual else "") + ("-->" if arrow.state == "open" else "-.->")
        lines.append(f'  {nodes[arrow.source]} {line}|"{arrow.label}"| {nodes[arrow.target]}')
        if arrow.state != "open":
            lines.append(f"  linkStyle {number} stroke:{arrow.colour}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Escape text for use inside double quotes. Mermaid has its own spelling of two entities."""
    return escape(text).replace("&quot;", "#quot;").replace("&#x27;", "#39;")


# All sizes are in pixels.
COLUMN, ROW = 420, 60  # distance between columns, and between rows
LEFT, TOP = 130, 70  # position of the first box
WIDTH, HEIGHT = 230, 32  # of a box

LABEL_CHARACTERS = 20  # the longest list of ports that fits between two boxes
NAME_CHARACTERS = 28  # the longest name that fits into a box
LINE, CHARACTER = 15, 7  # height of a label, and width of one of its characters

STYLE = (
    "text{font:13px sans-serif;fill:#222}.a{font-weight:bold}.b{fill:#fff}"
    ".l{font-size:12px;stroke:#fff;stroke-width:4;paint-order:stroke}"
    ".p{fill:#f4f6f8;stroke:#789}.e{fill:none;stroke-width:1.5}"
)
HEADS = "".join(
    f'<marker id="h{colour[1:]}" markerWidth="9" markerHeight="8" refX="8" refY="4" orient="auto-start-reverse">'
    f'<path d="M0,0L9,4L0,8z" fill="{colour}"/></marker>'
    for colour in (*COLOURS.values(), UNKNOWN)
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
        f"<style>{STYLE}</style><defs>{HEADS}</defs>",
        f'<rect class="b" width="{width}" height="{height}"/>',
    ]
    for x, (account, _) in enumerate(columns):
        parts.append(f'<text class="a" x="{LEFT + COLUMN * x}" y="30">{escape(account_title(account, names))}</text>')
    called = titles(arrows)
    for party, (x, y) in places.items():
        name = called[party] if len(called[party]) <= NAME_CHARACTERS else f"{called[party][: NAME_CHARACTERS - 1]}…"
        parts.append(f'<rect class="p" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>')
        parts.append(f'<text x="{x + 8}" y="{y + 21}">{escape(name)}<title>{party}</title></text>')
    return "\n".join([*parts, *curves, *labels, "</svg>\n"])


def _curves(
    arrows: Sequence[Arrow], places: dict[Party, tuple[int, int]], placed: Labels
) -> tuple[list[str], list[str]]:
    """The curves, and their labels, which are added to `placed`."""
    curves, labels = [], []
    for arrow in arrows:
        path, x, y = _curve(places[arrow.source], places[arrow.target])
        y = _place(placed, x, y, len(_label(arrow)))
        head = f"url(#h{arrow.colour[1:]})"
        start = f' marker-start="{head}"' if arrow.mutual else ""
        dash = "" if arrow.state == "open" else ' stroke-dasharray="6 4"'
        curves.append(f'<path class="e" d="{path}" stroke="{arrow.colour}"{dash}{start} marker-end="{head}"/>')
        text = f"{escape(_label(arrow))}<title>{escape(arrow.label)}: {escape(', '.join(arrow.claims))}</title>"
        labels.append(f'<text class="l" text-anchor="middle" x="{x}" y="{y}" style="fill:{arrow.colour}">{text}</text>')
    return curves, labels


def _label(arrow: Arrow) -> str:
    """The ports, or only their number if they do not fit, and on what to look twice: the tooltip says all."""
    ports = arrow.ports if len(arrow.ports) <= LABEL_CHARACTERS else f"{len(arrow.ports.split('+'))} ports"
    return f"{ports} ({arrow.notes})" if arrow.notes else ports


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
    return f"M{x1},{y1} C{control} {x2},{y2}", *place
