"""The map as an HTML page that loads nothing and runs no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from link_peer_cli.io.drawing.arrows import Arrow, Names
from link_peer_cli.io.drawing.svg import svg

_STYLE = "body{font:14px sans-serif;margin:2em}td,th{text-align:left;padding:.2em 1em .2em 0}"


def html(arrows: Sequence[Arrow], names: Names) -> str:
    """Return a page with the SVG drawing and a table of all arrows with their claims."""
    rows = "\n".join(
        f"<tr><td>{escape(str(a.source))}<td>{escape(str(a.target))}<td>{a.label}<td>{escape(', '.join(a.reasons))}"
        for a in arrows
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>link-peer</title><style>{_STYLE}</style>\n'
        f"<h1>Who may reach whom</h1>\n{svg(arrows, names)}"
        f"<table><tr><th>from<th>to<th>ports<th>claimed by\n{rows}\n</table></html>\n"
    )
