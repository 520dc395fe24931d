"""A page that prints: headings, facts and tables as HTML that loads nothing and runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from link_peer_cli.ui.console import visible

_STYLE = """body{font:12px/1.4 sans-serif;margin:2em}table{border-collapse:collapse;width:100%}h2{margin-top:2em}
th,td{border:1px solid #999;padding:2px 5px;text-align:left;vertical-align:top;overflow-wrap:anywhere}th{background:#eee;overflow-wrap:normal}
td{min-width:4.5em}td:first-child{min-width:14em}td:last-child{min-width:10em}thead{display:table-header-group}tr{break-inside:avoid}@page{size:A4 landscape;margin:12mm}.rows{overflow-x:auto}@media(max-width:600px){body{margin:1em}}@media print{body{margin:0}.rows{overflow:visible}}"""


Rows = Sequence[Sequence[str]]


def printed(title: str, facts: Rows, columns: Sequence[str], tables: Iterable[tuple[str, str, Rows]]) -> str:
    """The page: the facts as a table of two columns, then the other tables, each with its heading, a sentence below
    that, and its rows. Other people's texts are shown as they are written, with control characters escaped."""
    parts = [f"<h1>{_text(title)}</h1>", _table("facts", (), facts)]
    for heading, note, rows in tables:
        parts.append(f"<h2>{_text(heading)} ({len(rows)})</h2>")
        parts += [f"<p>{_text(note)}</p>"] * bool(note)
        parts += [_table(heading, columns, rows)] if rows else ["<p>None.</p>"]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}<title>{_text(title)}</title><style>{_STYLE}</style></head>\n<body><main>{body}</main></body></html>\n'


def _table(name: str, columns: Sequence[str], rows: Rows) -> str:
    """A table that scrolls by itself, also by keyboard, where the window is narrower."""
    head = f"<thead>{_line('th', columns)}</thead>" if columns else ""
    table = f"<table>{head}<tbody>\n{''.join(_line('td', row) for row in rows)}</tbody></table>"
    return f'<div class="rows" role="region" aria-label="{_text(name)}" tabindex="0">{table}</div>'


def _line(cell: str, texts: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{cell}>{_text(text)}</{cell}>' for text in texts)}</tr>\n"


def _text(text: str) -> str:
    return escape(visible(text))
