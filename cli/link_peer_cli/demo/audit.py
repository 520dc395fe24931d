"""Last act: the audit log of the whole demo."""

from __future__ import annotations

from link_peer_cli.demo.stage import Stage
from link_peer_cli.ui.tables import draw_table

FIELDS = ("time", "function", "action", "outcome", "reason", "from", "to", "ports", "detail")


def play(stage: Stage) -> None:
    """Print every outcome since the demo started."""
    narrator = stage.narrator
    narrator.heading("4  The audit log recorded every decision")
    records = stage.log.read("record: outcome", stage.started)
    rows = [[narrator.short(record.get(name, "")) for name in FIELDS] for record in records]
    draw_table(narrator.out, "audit log (outcomes)", FIELDS, rows)
    outcomes = {record["outcome"] for record in records}
    narrator.check("it has applied, denied and removed links", outcomes >= {"applied", "denied", "removed"}, True)
