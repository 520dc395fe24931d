"""Draws the pictures of README and the site in a headless Chromium, for `make pictures`: the page of `link-peer map`
with the example of its tests; the evidence of the world `company`, as the command writes it; its dashboard, with the
answers of the local SLS to each chart's query; and each figure as an SVG that is named by its text, so that `make docs`
finds none for a changed one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from link_peer_cli.demo.local_cloud import LocalCloud, describe, environment, running
from link_peer_cli.ui.drawing.html import html
from link_peer_deploy import description
from link_peer_deploy.names import Names
from pages import DOCS, FIGURE, FIRST, picture
from png import compact

from tests.browser import maps

CHROMIUM = os.environ.get("LINK_PEER_CHROMIUM", "chromium")
MERMAID = Path(sys.argv[1] if len(sys.argv) > 1 else "build/pictures/package/dist/mermaid.min.js").resolve()
PAGE = """<!doctype html><meta charset="utf-8"><pre class="mermaid">{text}</pre><script src="{script}"></script><script>
mermaid.initialize({{startOnLoad: true, theme: "neutral", deterministicIds: true, htmlLabels: false,
  flowchart: {{htmlLabels: false, useMaxWidth: false, wrappingWidth: 300}}}})
</script>"""

ROWS, NARROW = 6, 6
"""How many rows of a chart's answer are drawn, and how many columns beside another chart."""
DASHBOARD = """<!doctype html><meta charset="utf-8"><style>
body{{font:13px sans-serif;margin:16px;background:#f3f4f6}}h1{{font-size:18px}}
main{{display:grid;grid-template-columns:1fr 1fr;gap:12px}}section{{background:#fff;border:1px solid #ddd;padding:8px 12px;min-width:0}}
h2{{font-size:13px;margin:0 0 6px}}table{{width:100%;border-collapse:collapse;font-size:11px}}.wide{{grid-column:span 2}}
td,th{{border-bottom:1px solid #eee;text-align:left;padding:3px 5px;max-width:9em;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}}
p{{color:#666;margin:4px 0}}</style><h1>link-peer: {title}</h1><main>{charts}</main>"""


def chromium(page: str, *options: str) -> str:
    """What Chromium prints for this page."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page, encoding="utf-8")
        command = [CHROMIUM, "--headless", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=20000", *options]
        result = subprocess.run([*command, path.as_uri()], check=True, capture_output=True, text=True)  # noqa: S603
    return result.stdout


def screenshot(page: str, name: str, height: int = 0) -> None:
    """Draw a page as a picture of the docs: this much of it, in pixels, else all of it."""
    path = DOCS / "pictures" / name
    chromium(page, f"--screenshot={path}", f"--window-size=1280,{height or height_of(page)}")
    compact(path)


def height_of(page: str) -> int:
    """How high a page is, in pixels; it may forbid scripts."""
    page = re.sub("<meta http-equiv=[^>]*>", "", page)
    script = "<script>document.body.dataset.height = document.documentElement.scrollHeight</script>"
    match = re.search(
        r'<body[^>]* data-height="(\d+)"', chromium(page + script, "--dump-dom", "--window-size=1280,600")
    )
    if match is None:
        raise SystemExit("the height of a page is not known")
    return int(match[1])


def figure(text: str) -> str:
    """A figure as SVG, on white."""
    page = PAGE.format(text=text.replace("&", "&amp;").replace("<", "&lt;"), script=MERMAID.as_uri())
    match = re.search(r"<svg.*?</svg>", chromium(page, "--dump-dom"), re.DOTALL)
    if match is None or "Syntax error" in match[0]:
        raise SystemExit(f"cannot be drawn: {text}")
    return match[0].replace("<svg ", '<svg style="background: white" ', 1).replace("<br>", "<br/>") + "\n"


def evidence(cloud: LocalCloud, since: datetime, until: datetime) -> str:
    """The page that `link-peer audit --evidence` writes of a period."""
    with TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        period = ("--from", since.isoformat(), "--to", until.isoformat(), "--evidence", str(page))
        command = [sys.executable, "-m", "link_peer_cli", "audit", *period]
        subprocess.run(command, check=False, env={**os.environ, **environment(describe(cloud))})  # noqa: S603  # 1: an exception
        return page.read_text("utf-8")


def dashboard(cloud: LocalCloud, now: datetime) -> str:
    """The charts of the dashboard at some time, as the local SLS answers their queries."""
    world, charts = cloud.world, []
    for chart in description.describe(Names(world.home), world.deployment, "link").charts:
        since = now - timedelta(**{{"h": "hours", "d": "days"}[chart["start"][-1]]: int(chart["start"][1:-1])})
        place = (world.home, world.audit_project, world.audit_logstore, since.timestamp(), now.timestamp())
        rows = [dict(row) for row in cloud.sls.search(*place, chart["query"]).logs]
        drawing = (
            "<p>No data.</p>"
            if not rows
            else table(rows)
            if chart["type"] == "table"
            else bars(rows, chart["x"], chart["y"])
        )
        wide = ' class="wide"' * (bool(rows) and len(rows[0]) > NARROW)
        charts.append(f"<section{wide}><h2>{escape(chart['title'])}</h2>{drawing}</section>")
    title = f"the dashboard at {now:%Y-%m-%d %H:%M} UTC, of the local cloud's log (drawn by a script; the console draws its own)"
    return DASHBOARD.format(title=title, charts="".join(charts))


def table(rows: list[dict[str, str]]) -> str:
    """The first rows of an answer."""
    lines = [("th", rows[0]), *(("td", row.values()) for row in rows[:ROWS])]
    cells = (
        "".join(f"<{kind}>{escape('' if text == 'null' else text)}</{kind}>" for text in texts) for kind, texts in lines
    )
    cut_note = f"<p>… {len(rows) - ROWS} more</p>" if len(rows) > ROWS else ""
    return f"<table><tr>{'</tr><tr>'.join(cells)}</tr></table>{cut_note}"


def bars(rows: list[dict[str, str]], x: str, y: str) -> str:
    """A bar for each row, with its value."""
    most, width = max(float(row[y]) for row in rows), 540 / len(rows)
    parts = []
    for number, row in enumerate(rows):
        height, bar_x = 80 * float(row[y]) / most, number * width + 20
        parts.append(
            f'<rect x="{bar_x}" y="{100 - height}" width="{min(40, width - 6)}" height="{height}" fill="#1677ff"/>'
        )
        parts.append(
            f'<text x="{bar_x}" y="{96 - height}">{escape(row[y])}</text><text x="{bar_x}" y="114">{escape(row[x])}</text>'
        )
    return f'<svg viewBox="0 0 580 120" font-size="10">{"".join(parts)}</svg>'


def draw() -> None:
    """Draw the pages, and each figure that has no picture; remove pictures of figures that are gone."""
    folder = DOCS / "pictures"
    folder.mkdir(exist_ok=True)
    screenshot(html(maps.full_map()), "map.png", 900)
    until = datetime.now(timezone.utc).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    since = (until - timedelta(days=1)).replace(day=1)
    with running("company") as cloud:
        page, charts = evidence(cloud, since, until), dashboard(cloud, since.replace(day=28, hour=18))
    screenshot(page, "evidence.png")
    screenshot(charts, "dashboard.png")
    pages = [*FIRST, *FIRST.values(), *DOCS.rglob("*.md")]
    texts = {picture(text): text for page in pages for text in FIGURE.findall(page.read_text("utf-8"))}
    for path in set(folder.glob("*.svg")) - texts.keys():
        path.unlink()
    for path, text in texts.items():
        if not path.exists():
            path.write_text(figure(text), encoding="utf-8")


if __name__ == "__main__":
    draw()
