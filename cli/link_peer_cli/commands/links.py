"""`link-peer links`: the inventory of existing links."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any

import msgspec
import typer
from link_peer.domain.model import Party
from link_peer.planning.standing import Standing
from rich.markup import escape

from link_peer_cli.access.environment import load_environment
from link_peer_cli.access.inputs import account_named, duration
from link_peer_cli.answers.links import LinkAnswer, OwnRule
from link_peer_cli.inventory.reading import view_of
from link_peer_cli.inventory.shown import Wording, answers_of, claims_text, instances_text, links_of, wording
from link_peer_cli.review.delivery import suppose
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines
from link_peer_cli.ui.pager import paged
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.tables import print_csv, print_table

COLUMNS = ("from", "to", "ports", "since", "until", "why", "asked by", "consent", "written", "instances", "effect")


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
    found = links_of(env, view.scene)
    if party:
        wanted = view.find(party, "--party")
        near = view.scene.groups(wanted)
        found = [link for link in found if _is_of(link, wanted, near)]
    if uid:
        found = [link for link in found if uid in (link.source.account, link.target.account)]
    if seconds is not None:
        found = [link for link in found if _ends_by(link, env.clock.now() + seconds)]
    with waiting("reading what decides about packets"):
        answers, problem = answers_of(env, view, found)
    if blocked:
        answers = [one for one in answers if one.effect != "passes"]
    _print(answers, wording(env.policy, env.clock.now()), as_csv=as_csv, as_json=as_json)
    problems = view.problems
    for text in [*problems, *filter(None, [problem])]:
        console(stderr=True).print(f"[yellow]{escape(text)}[/yellow]", soft_wrap=True)
    if problems:
        raise typer.Exit(Exit.REFUSED)


def _is_of(link: Standing, wanted: Party, groups: Collection[Party]) -> bool:
    """Whether the link has this end, or admits this instance, or leads to it. `groups` are those of an instance."""
    by_group = {link.target} if link.members else {link.source, link.target}
    return wanted in {link.source, link.target, *link.members} or not by_group.isdisjoint(groups)


def _ends_by(link: Standing, moment: float) -> bool:
    return any(end is not None and end <= moment for end in (link.until, link.consent_until))


def _print(answers: Sequence[LinkAnswer], words: Wording, *, as_csv: bool, as_json: bool) -> None:
    if as_json:
        for answer in answers:
            print_answer(answer)
    elif as_csv:
        names = LinkAnswer.__struct_encode_fields__
        print_csv([names, *(list(map(_cell, msgspec.structs.astuple(answer))) for answer in answers)])
    else:
        rows = [_row(answer, words) for answer in answers]
        with paged():
            print_table(console(), f"{len(rows)} {'link' if len(rows) == 1 else 'links'}", COLUMNS, rows)


def _cell(value: Any) -> str:
    """A value in one cell of a spreadsheet."""
    if isinstance(value, list):
        value = "; ".join(one.rule_id if isinstance(one, OwnRule) else one for one in value)
    return "" if value is None else str(value)


def _row(link: LinkAnswer, words: Wording) -> list[str]:
    consent = "; ".join(link.consent) or "none covers it now"
    return [
        *words.ends(link),
        link.ports,
        words.ago(link.since),
        words.until(link.until),
        claims_text(link.why, link.deployment),
        "; ".join(link.asked_by),
        f"{consent}, until {words.until(link.consent_until)}" if link.consent_until else consent,
        link.written,
        instances_text(link),
        link.effect + (" (half-open)" if link.half_open else ""),
    ]
