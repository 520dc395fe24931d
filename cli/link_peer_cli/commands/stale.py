"""`link-peer stale`: list what has lost its claim or consent, before the sweep removes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import typer
from link_peer.domain.model import Rule
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import quoted
from link_peer.planning.actual import damaged_rules, marked_rules
from link_peer.views.standing import Standing, removal_reasons, standing

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.answers.links import Stale
from link_peer_cli.checks.consents import dead
from link_peer_cli.inventory.reading import view_of
from link_peer_cli.inventory.shown import EXACT, claims_text, wording
from link_peer_cli.review.delivery import suppose
from link_peer_cli.ui.console import warn
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
        Column("what", lambda s, _: s.subject, lambda s, w: w.worded(s.subject), short=by_words),
        Column("why", lambda s, _: s.reason, lambda s, w: w.worded(s.reason), short=by_words),
    ),
)


def stale(output: Output = TableForm.TABLE, sort_by: SortBy = "", as_json: JsonLines = False) -> None:
    """List rules that the sweep would remove, half-open links, damaged markers, rules under a former name of the deployment,
    and consents that have ended or that name parties which no longer exist."""
    STALE.column(sort_by or "kind")
    form = form_of(output, as_json=as_json)
    env = load_environment(reading=True)
    view = view_of(suppose(env, "stale")[0])
    with waiting("reading the groups"):
        view.read_all()
        now, region = env.now, env.settings.region
        plan = view.next_sweep(region, now)
        scene = view.scene
        entries = [
            *_links(standing(scene.snapshot, env.policy, region, now, going=removal_reasons(plan, env.policy))),
            *_markers(damaged_rules(scene.snapshot, env.policy, region)),
            *_renamed(env, scene.snapshot),
            *_consents(env, scene.snapshot),
        ]
    print_table(STALE, entries, wording(env.policy, now, scene), form, sort_by)
    doubted = [
        f"no removals are made in account {uid} because it shows no instances"
        for uid in sorted(plan.missing.doubted_accounts)
    ]
    warn([*view.problems, *doubted])
    if view.problems:
        raise typer.Exit(Exit.REFUSED)


def _links(links: Iterable[Standing]) -> Iterator[Stale]:
    """The rules of what is closing, and those of mutual links that stand on one side only."""
    for link in links:
        claims = " ".join(claim.request or "tag" for claim in link.claims)
        for rule in link.rules:
            if link.closing:
                yield _of("rule", rule, f"claimed by {claims}", link.closing)
            elif link.half:
                yield _of("half-open", rule, f"claimed by {claims}", f"{link.half} has no rule")


def _markers(damaged: Iterable[Rule]) -> Iterator[Stale]:
    """Rules that no function touches, because someone changed their description, or copied it from another rule."""
    for rule in damaged:
        yield _of("marker", rule, rule.description, "not the marker of this rule: it is left alone")


def _renamed(env: Environment, snapshot: Snapshot) -> Iterator[Stale]:
    """Rules of this home under another deployment's name, which no function of ours touches."""
    for marked in marked_rules(snapshot, env.policy.home, env.settings.region):
        name = quoted(marked.deployment)
        if marked.marker and marked.deployment != env.policy.deployment:
            claims = claims_text([claim.request or "tag" for claim in marked.marker.claims], marked.deployment)
            reason = (
                f"link-peer close --deployment {marked.deployment} removes it, if that is a former name of this marked"
            )
            yield _of("deployment", marked.rule, f"claimed by {claims}", reason)
        elif marked.deployment != env.policy.deployment:
            reason = f"of deployment {name}, but not the marker of this rule: it is left alone"
            yield _of("marker", marked.rule, marked.rule.description, reason)


def _of(kind: str, rule: Rule, fact: str, reason: str) -> Stale:
    return Stale(kind, rule.group.account, rule.group.id, fact, reason, rule.id, rule.created)


def _consents(env: Environment, snapshot: Snapshot) -> Iterator[Stale]:
    """Entries of tags and of the policy's allow list that are invalid, have ended, or name a party that does not exist."""
    readable = {account for account in env.policy.accounts if snapshot.readable(account)}
    for dead_entry in dead(env.policy, snapshot, env.now, readable):
        yield Stale(
            "consent", dead_entry.group.account, dead_entry.group.id, dead_entry.text, dead_entry.reason, "", ""
        )
