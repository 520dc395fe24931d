"""The table of links, as `links` and `explain` print it."""

from __future__ import annotations

from link_peer.planning.closing import sweep_of

from link_peer_cli.answers.links import LinkAnswer
from link_peer_cli.answers.who import Reacher
from link_peer_cli.inventory.shown import EXACT, Wording, claims_text, instances_text
from link_peer_cli.ui.tables import Column, Table, by_name, by_words

STATES = {
    "open": "green",
    "blocked": "red",
    "partly": "yellow",
    "half-open": "yellow",
    "closing": "magenta",
    "unknown": "yellow",
}
"""The colour of each state of a link."""


def ends(link: LinkAnswer | Reacher, words: Wording) -> str:
    """When it ends: what is closing, at the next sweep, or at the next full one."""
    closes = link.state == "closing" and words.now is not None
    return sweep_of(link.state_detail) if closes else words.until(link.until)


def left(link: LinkAnswer | Reacher, words: Wording) -> str:
    """When it ends, in short."""
    return sweep_of(link.state_detail) if link.state == "closing" else words.left(link.until)


def last_used(link: LinkAnswer | Reacher, words: Wording) -> str:
    """When it was last used, or `unused` or `unknown`; empty where nothing is said of it."""
    return words.ago(link.last_used or "") or link.use or ""


LINKS: Table[LinkAnswer, Wording] = Table(
    LinkAnswer,
    EXACT,
    "No links.",
    (
        Column("from", lambda a, w: w.ends(a)[0], lambda a, w: w.titles(a)[0], short=by_name),
        Column("to", lambda a, w: w.ends(a)[1], lambda a, w: w.titles(a)[1], short=by_name),
        Column("ports", short=by_words),
        Column("state", colours=STATES),
        Column("since", lambda a, w: w.ago(a.since)),
        Column("until", ends, left),
        Column("claims", lambda a, _: claims_text(a.claims, a.deployment), short=by_words),
        Column("asked by", wide=True),
        Column("consent", lambda a, _: "; ".join(a.consent) or "none covers it now", wide=True),
        Column("consented by", wide=True),
        Column("written", lambda a, _: a.written_detail or a.written, wide=True),
        Column("instances", lambda a, _: instances_text(a), wide=True),
        Column("detail", lambda a, _: a.state_detail, wide=True),
        Column("last used", last_used, wide=True),
        Column("narrow", lambda a, _: a.narrow or "", wide=True),
        Column("rules", wide=True),
    ),
)
"""Names first; ids, and all that explains a link, in `-o wide`."""
