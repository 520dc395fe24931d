"""The rows, one module for each heading of docs/verify-on-cloud.md.

To add one: take the next free number, and write in the module that fits either a function under `@section.row(…)` or a
call of `section.by_hand(…)`; then run `python -m link_peer_conformance.page`, which writes the tables of the page.
"""

from __future__ import annotations

from link_peer_conformance.first_day import FIRST_DAY
from link_peer_conformance.model import sorted_rows
from link_peer_conformance.rows import deploying, events, forms, functions, logs, ram, reads, rules, traffic, trail

SECTIONS = (
    rules.section,
    traffic.section,
    reads.section,
    forms.section,
    ram.section,
    events.section,
    trail.section,
    functions.section,
    logs.section,
    deploying.section,
)

_EARLY = {known.number: place for place, known in enumerate(FIRST_DAY)}

ROWS = tuple(sorted(sorted_rows(SECTIONS), key=lambda row: _EARLY.get(row.number, len(_EARLY))))
"""Those that decide the first day, then the others by number."""
