"""`link-peer links`: the inventory of existing links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from link_peer.planning.standing import Standing, standing
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.access.inputs import account_named, duration
from link_peer_cli.inventory.reading import View, view_of
from link_peer_cli.inventory.shown import Wording, documents_of, wording
from link_peer_cli.review.delivery import suppose
from link_peer_cli.ui.console import console, print_json
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines
from link_peer_cli.ui.pager import paged
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.tables import print_csv, print_table

COLUMNS = ("from", "to", "ports", "since", "until", "why", "asked by", "consent", "instances", "effect")
CSV_FIELDS = [
    "from",
    "from_account",
    "from_name",
    "to",
    "to_account",
    "to_name",
    "ports",
    "since",
    "until",
    "why",
    "asked_by",
    "reasons",
    "consent",
    "consent_until",
    "instances",
    "state",
    "state_detail",
    "effect",
    "effect_detail",
    "half_open",
    "rules",
]


def links(
    expiring: Annotated[str, typer.Option(help="Only what ends within this time: 7d. Its consent counts too.")] = "",
    party: Annotated[
        str, typer.Option(help="Only links of this group or instance: an id or a name, optionally with @<account>.")
    ] = "",
    account: Annotated[str, typer.Option(help="Only links of this account: its uid, or its name in the policy.")] = "",
    blocked: Annotated[
        bool, typer.Option("--blocked", help="Only links whose packets do not pass, or may not.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with a line of names.")] = False,
    as_json: JsonLines = False,
) -> None:
    """List all existing links: who, since when, until when, why, who asked, which consent, and whether packets pass."""

    seconds = duration(expiring, "--expiring") if expiring else None
    env = load_environment(reading=True)
    uid = account_named(env.policy, account, "--account") if account else ""
    delivery, _, _ = suppose(env, "links")
    view = view_of(delivery)
    with waiting("reading the groups"):
        view.everything()
    found = _standing(env, view)
    if party:
        wanted = view.find(party, "--party")
        near = {wanted, *view.scene.groups(wanted)} if not wanted.is_group else {wanted}
        found = [link for link in found if near & {link.source, link.target}]
    if uid:
        found = [link for link in found if uid in (link.source.account, link.target.account)]
    if seconds is not None:
        found = [link for link in found if _ends_by(link, env.clock.now() + seconds)]
    with waiting("reading what decides about packets"):
        documents, problem = documents_of(env, view, found)
    if blocked:
        documents = [one for one in documents if one["effect"] != "passes"]
    _print(documents, wording(env.policy, env.clock.now()), as_csv=as_csv, as_json=as_json)
    problems = view.problems
    for text in [*problems, *filter(None, [problem])]:
        console(stderr=True).print(f"[yellow]{escape(text)}[/yellow]", soft_wrap=True)
    if problems:
        raise typer.Exit(Exit.REFUSED)


def _standing(env: Environment, view: View) -> list[Standing]:
    return standing(view.scene.snapshot, env.policy, env.settings.region, env.clock.now())


def _ends_by(link: Standing, moment: float) -> bool:
    return any(end is not None and end <= moment for end in (link.until, link.consent_until))


def _print(documents: Sequence[dict[str, Any]], words: Wording, *, as_csv: bool, as_json: bool) -> None:
    if as_json:
        for document in documents:
            print_json(document)
    elif as_csv:
        print_csv([CSV_FIELDS, *([_cell(document[name]) for name in CSV_FIELDS] for document in documents)])
    else:
        rows = [_row(document, words) for document in documents]
        with paged():
            print_table(console(), f"{len(rows)} {'link' if len(rows) == 1 else 'links'}", COLUMNS, rows)


def _cell(value: Any) -> str:
    """A value in one cell of a spreadsheet."""
    if isinstance(value, list):
        value = "; ".join(one["rule_id"] if isinstance(one, dict) else str(one) for one in value)
    return "" if value is None else str(value)


def _row(document: dict[str, Any], words: Wording) -> list[str]:
    consent = "; ".join(document["consent"]) or "none covers it now"
    return [
        words.end(document, "from"),
        words.end(document, "to"),
        document["ports"],
        words.ago(document["since"]),
        words.until(document["until"]),
        " ".join(document["why"]),
        "; ".join(document["asked_by"]),
        f"{consent}, until {words.until(document['consent_until'])}" if document["consent_until"] else consent,
        "" if document["instances"] is None else str(document["instances"]),
        document["effect"] + (" (half-open)" if document["half_open"] else ""),
    ]
