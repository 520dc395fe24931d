"""The table of wide rules."""

from __future__ import annotations

from link_peer_cli.answers.usage import TightenedRule
from link_peer_cli.inventory.shown import EXACT, Wording
from link_peer_cli.ui.console import number
from link_peer_cli.ui.tables import Column, Table, by_name, by_words

COLOURS = {"used": "yellow", "unused": "green", "unknown": "yellow"}

USES: Table[TightenedRule, Wording] = Table(
    TightenedRule,
    EXACT,
    "No wide rules of people.",
    (
        Column(
            "group", lambda a, w: w.party(a.group, a.account), lambda a, w: w.title(a.group, a.account), short=by_name
        ),
        Column("rule", lambda a, _: a.rule_id, dispensable=4),
        Column("direction", wide=True),
        Column("admits", lambda a, _: a.peer, short=by_name),
        Column("ports", short=by_words),
        Column("priority", wide=True),
        Column("use", colours=COLOURS),
        Column("by", lambda a, _: str(len(a.used_by)), dispensable=1),
        Column("only", lambda a, _: str(a.only), dispensable=2),
        Column("not known", lambda a, _: "; ".join(a.unknown), lambda a, _: str(len(a.unknown)), dispensable=3),
        Column("becomes", lambda a, _: "; ".join(a.becomes), lambda a, _: number(len(a.becomes), "link")),
        Column("left", lambda a, _: "; ".join(a.leftovers), wide=True),
        Column("may go", lambda a, _: "yes" if a.revoke else "no"),
        Column("in the way", wide=True),
        Column("revoke", wide=True),
        Column("put back", wide=True),
    ),
)
"""The widest first; all that is known in `-o wide`."""
