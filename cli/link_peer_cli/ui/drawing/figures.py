"""What the map draws, arrows between parties, grouped by account: as a Mermaid flowchart, and as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from link_peer.domain.grouped import grouped
from link_peer.domain.model import Party

from link_peer_cli.answers.links import LinkArrow

Names = Mapping[str, str]
"""The name of each account, by uid."""

COLOURS = {"open": "#06c", "partly": "#b0560a", "blocked": "#c8321f", "half-open": "#0b7a75", "closing": "#5d6878"}
UNKNOWN = "#7a6ba8"
"""The colour of a link by its state, and of one of which that is not known. Only links that are open have solid
lines."""


def colour(arrow: LinkArrow) -> str:
    """Return the colour of a link's state."""
    return COLOURS.get(arrow.state, UNKNOWN)


def label(arrow: LinkArrow, ports: str = "") -> str:
    """Return the ports with the state if it is not open, that the rules name addresses, and whose they are if not
    ours."""
    notes = [arrow.state] if arrow.state != "open" else []
    notes += [arrow.written] if arrow.written == "by address" else []
    notes += [f"of deployment {arrow.deployment}"] if arrow.deployment else []
    return (ports or arrow.ports) + (f" ({', '.join(notes)})" if notes else "")


def ends(arrow: LinkArrow) -> tuple[Party, Party]:
    """Return its source and its target."""
    return Party(arrow.from_account, arrow.source), Party(arrow.to_account, arrow.target)


def titles(arrows: Sequence[LinkArrow]) -> dict[Party, str]:
    """Return each party, sorted, with its name, or its id where it has none."""
    names = {party: name for a in arrows for party, name in zip(ends(a), (a.from_name, a.to_name), strict=True)}
    return {party: names[party] or party.id for party in sorted(names)}


def account_title(account: str, names: Names) -> str:
    """Return an account's uid and, if known, its name."""
    return f"{account} {names[account]}" if account in names else account


def mermaid(arrows: Sequence[LinkArrow], names: Names) -> str:
    """Return a flowchart with one subgraph per account."""
    lines = ["flowchart LR"]
    called = titles(arrows)
    nodes = {party: f"n{number}" for number, party in enumerate(called)}
    for account, parties in grouped((party.account, party) for party in called).items():
        lines.append(f'  subgraph a{account}["{_quoted(account_title(account, names))}"]')
        for party in parties:
            title = _quoted(called[party]) + (f"<br/>{party.id}" if called[party] != party.id else "")
            lines.append(f'    {nodes[party]}["{title}"]')
        lines.append("  end")
    for number, arrow in enumerate(arrows):
        source, target = (nodes[party] for party in ends(arrow))
        line = ("<" if arrow.ports == "mutual" else "") + ("-->" if arrow.state == "open" else "-.->")
        lines.append(f'  {source} {line}|"{label(arrow)}"| {target}')
        if arrow.state != "open":
            lines.append(f"  linkStyle {number} stroke:{colour(arrow)}")
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


def svg(arrows: Sequence[LinkArrow], names: Names) -> str:
    """Return the drawing. It is as large as its boxes and labels need."""
    called = titles(arrows)
    columns = grouped((party.account, party) for party in called)
    places = {
        party: (LEFT + COLUMN * x, TOP + ROW * y)
        for x, parties in enumerate(columns.values())
        for y, party in enumerate(parties)
    }
    placed: Labels = []
    curves, labels = _curves(arrows, places, placed)
    width = LEFT + COLUMN * max(len(columns), 1)
    height = TOP + ROW * max(map(len, columns.values()), default=1)
    height = max([height, *(y + LINE for _, y, _ in placed)])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>{STYLE}</style><defs>{HEADS}</defs>",
        f'<rect class="b" width="{width}" height="{height}"/>',
    ]
    for x, account in enumerate(columns):
        parts.append(f'<text class="a" x="{LEFT + COLUMN * x}" y="30">{escape(account_title(account, names))}</text>')
    for party, (x, y) in places.items():
        name = called[party] if len(called[party]) <= NAME_CHARACTERS else f"{called[party][: NAME_CHARACTERS - 1]}…"
        parts.append(f'<rect class="p" x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5"/>')
        parts.append(f'<text x="{x + 8}" y="{y + 21}">{escape(name)}<title>{party}</title></text>')
    return "\n".join([*parts, *curves, *labels, "</svg>\n"])


def _curves(
    arrows: Sequence[LinkArrow], places: dict[Party, tuple[int, int]], placed: Labels
) -> tuple[list[str], list[str]]:
    """The curves, and their labels, which are added to `placed`."""
    curves, labels = [], []
    for arrow in arrows:
        source, target = ends(arrow)
        path, x, y = _curve(places[source], places[target])
        caption, hue = _label(arrow), colour(arrow)
        y = _place(placed, x, y, len(caption))
        head = f"url(#h{hue[1:]})"
        start = f' marker-start="{head}"' if arrow.ports == "mutual" else ""
        dash = "" if arrow.state == "open" else ' stroke-dasharray="6 4"'
        curves.append(f'<path class="e" d="{path}" stroke="{hue}"{dash}{start} marker-end="{head}"/>')
        text = f"{escape(caption)}<title>{escape(label(arrow))}: {escape(', '.join(arrow.claims))}</title>"
        labels.append(f'<text class="l" text-anchor="middle" x="{x}" y="{y}" style="fill:{hue}">{text}</text>')
    return curves, labels


def _label(arrow: LinkArrow) -> str:
    """The ports, or only their number if they do not fit, and on what to look twice: the tooltip says all."""
    return label(arrow, "" if len(arrow.ports) <= LABEL_CHARACTERS else f"{len(arrow.ports.split('+'))} ports")


def _place(placed: Labels, x: int, y: int, length: int) -> int:
    """Move a label down from `y` until it overlaps no other, record it in `placed` and return its y."""
    while any(
        abs(y - label_y) < LINE and abs(x - at) * 2 < CHARACTER * (length + long) for at, label_y, long in placed
    ):
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
