"""Draws the pictures of README and the site in a headless Chromium, for `make pictures`: the page of `link-peer map` with the
example of its tests, and each figure as an SVG that is named by its text, so that `make docs` finds none for a changed one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from link_peer_cli.ui.drawing.html import html
from pages import DOCS, FIGURE, FIRST, picture

from tests.browser import maps

CHROMIUM = os.environ.get("LINK_PEER_CHROMIUM", "chromium")
MERMAID = Path(sys.argv[1] if len(sys.argv) > 1 else "build/pictures/package/dist/mermaid.min.js").resolve()
PAGE = """<!doctype html><meta charset="utf-8"><pre class="mermaid">{text}</pre><script src="{script}"></script><script>
mermaid.initialize({{startOnLoad: true, theme: "neutral", htmlLabels: false, flowchart: {{
  htmlLabels: false, useMaxWidth: false, wrappingWidth: 300}}}})
</script>"""


def chromium(page: str, *options: str) -> str:
    """What Chromium prints for this page."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page, encoding="utf-8")
        command = [CHROMIUM, "--headless", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=20000", *options]
        done = subprocess.run([*command, path.as_uri()], check=True, capture_output=True, text=True)  # noqa: S603
    return done.stdout


def figure(text: str) -> str:
    """A figure as SVG, on white."""
    page = PAGE.format(text=text.replace("&", "&amp;").replace("<", "&lt;"), script=MERMAID.as_uri())
    found = re.search(r"<svg.*?</svg>", chromium(page, "--dump-dom"), re.DOTALL)
    if found is None or "Syntax error" in found[0]:
        raise SystemExit(f"cannot be drawn: {text}")
    return found[0].replace("<svg ", '<svg style="background: white" ', 1).replace("<br>", "<br/>") + "\n"


def draw() -> None:
    """Draw the map, and each figure that has no picture; remove pictures of figures that are gone."""
    folder = DOCS / "pictures"
    folder.mkdir(exist_ok=True)
    chromium(html(maps.five()), f"--screenshot={folder / 'map.png'}", "--window-size=1280,720")
    pages = [*FIRST, *FIRST.values(), *DOCS.rglob("*.md")]
    texts = {picture(text): text for page in pages for text in FIGURE.findall(page.read_text("utf-8"))}
    for path in set(folder.glob("*.svg")) - texts.keys():
        path.unlink()
    for path, text in texts.items():
        if not path.exists():
            path.write_text(figure(text), encoding="utf-8")


if __name__ == "__main__":
    draw()
