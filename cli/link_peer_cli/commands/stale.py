"""`link-peer stale`: list what has lost its claim or consent, before the sweep removes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import typer
from link_peer.app.dispatch import run_sweep
from link_peer.domain.model import Rule
from link_peer.engine.scopes.everything import Sweep
from link_peer.planning.actual import renamed_rules
from link_peer.planning.decision import Decision
from link_peer.planning.reach import Scene
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.answers.links import Stale
from link_peer_cli.checks.consents import dead
from link_peer_cli.inventory.reading import View
from link_peer_cli.inventory.shown import EXACT, claims_text, wording
from link_peer_cli.review.delivery import suppose
from link_peer_cli.review.edits import gaps_of
from link_peer_cli.ui.console import console
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines, Output, SortBy, form_of
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.tables import Column, Table, TableForm, by_name, by_words, print_table

STALE = Table(
    Stale,
    EXACT,
    "Nothing stale was found.",
    (
        Column("kind"),
        Column(
            "group", lambda s, w: w.party(s.group, s.account), lambda s, w: w.title(s.group, s.account), short=by_name
        ),
        Column("rule", lambda s, _: s.rule_id, wide=True),
        Column("since", lambda s, w: w.ago(s.since)),
        Column("what", brief=lambda s, w: w.said(s.what), short=by_words),
        Column("why", brief=lambda s, w: w.said(s.why), short=by_words),
    ),
)


def stale(output: Output = TableForm.TABLE, sort_by: SortBy = "", as_json: JsonLines = False) -> None:
    """List rules that the sweep would remove, half-open links, damaged markers, rules under a former name of the deployment,
    and consents that have ended or that name parties which no longer exist."""
    STALE.column(sort_by or "kind")
    form = form_of(output, as_json=as_json)
    env = load_environment(reading=True)
    delivery, _, _ = suppose(env, "stale")
    sweep = Sweep(delivery, "stale")
    with waiting("reading the groups"):
        run_sweep(sweep)
        View(sweep.fetch, env.policy).all_rules()
        found = [
            *_rules(sweep.decisions),
            *_markers(sweep.damaged),
            *_renamed(env, sweep),
            *_consents(env, sweep),
        ]
    gaps = gaps_of(sweep)
    print_table(STALE, found, wording(env.policy, env.clock.now(), Scene(sweep.store.snapshot())), form, sort_by)
    err = console(stderr=True)
    for what, why in gaps.items():
        err.print(f"[yellow]could not read {what}: {escape(why)}[/yellow]", soft_wrap=True)
    for account in sorted(sweep.doubted_accounts):
        err.print(f"[yellow]no removals are made in account {account} because it shows no instances[/yellow]")
    if gaps:
        raise typer.Exit(Exit.REFUSED)


def _rules(decisions: Iterable[Decision]) -> Iterator[Stale]:
    """Claims that a sweep would remove, and mutual links with a rule on one side only: those of tags it completes, those of
    requests it removes."""
    for decision in decisions:
        if decision.outcome == "removed":
            for edit in decision.edits:
                if edit.rule is not None:
                    lost = " ".join(sorted(claim.request or "tag" for claim in edit.lose))
                    kind = "half-open" if decision.why.half_open else "rule"
                    yield _of(kind, edit.rule, f"claimed by {lost}", decision.why.detail)
        elif decision.outcome == "applied" and decision.link.mutual and any(e.kind == "add" for e in decision.edits):
            for rule in decision.rules:
                missing = next(edit.key.group for edit in decision.edits if edit.kind == "add")
                ends = f"{decision.link.source} and {decision.link.target}"
                yield _of("half-open", rule, ends, f"{missing} has no rule")


def _markers(damaged: Iterable[Rule]) -> Iterator[Stale]:
    """Rules that no function touches, because someone changed their description, or copied it from another rule."""
    for rule in damaged:
        yield _of("marker", rule, rule.description, "not the marker of this rule: it is left alone")


def _renamed(env: Environment, sweep: Sweep) -> Iterator[Stale]:
    """Rules of this home under another deployment's name, which no function of ours touches."""
    genuine, others = renamed_rules(sweep.store.snapshot(), env.policy, env.settings.region)
    for rule, marker in genuine:
        what = claims_text([claim.request or "tag" for claim in marker.claims], marker.deployment)
        why = f"link-peer close --deployment {marker.deployment} removes it, if that is a former name of this one"
        yield _of("deployment", rule, f"claimed by {what}", why)
    for rule, marker in others:
        why = f"of deployment {marker.deployment}, but not the marker of this rule: it is left alone"
        yield _of("marker", rule, rule.description, why)


def _of(kind: str, rule: Rule, what: str, why: str) -> Stale:
    return Stale(kind, rule.group.account, rule.group.id, what, why, rule.id, rule.created)


def _consents(env: Environment, sweep: Sweep) -> Iterator[Stale]:
    """Entries of tags and of the policy's allow list that are invalid, have ended, or name a party that does not exist."""
    snapshot = sweep.store.snapshot()  # the sweep has read all groups
    readable = {account for account in env.policy.accounts if snapshot.readable(account)}
    for one in dead(env.policy, snapshot, env.clock.now(), readable):
        yield Stale("consent", one.group.account, one.group.id, one.text, one.why, "", "")
