"""What a sweep would leave though it does nothing any more: rules whose removal is held or comes later, half-open
links, markers that are not the rule's own, rules under a former name, and consent that matches nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from link_peer.domain.model import Rule
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import quoted
from link_peer.engine.scopes.accounts import SweptAccounts
from link_peer.planning.actual import damaged_rules, marked_rules
from link_peer.planning.removals import hold_none
from link_peer.planning.sweep import next_sweep
from link_peer.views.standing import Standing, removal_reasons, standing

from link_peer_cli.access.environment import Environment
from link_peer_cli.answers.changes import Obsolete
from link_peer_cli.checks.accounts import read_here
from link_peer_cli.checks.consents import dead
from link_peer_cli.checks.seen import is_whole, removals
from link_peer_cli.inventory.reading import View
from link_peer_cli.inventory.shown import EXACT, claims_text
from link_peer_cli.review.cloud import WhatIf
from link_peer_cli.ui.tables import Column, Table, by_name, by_words

OBSOLETE = Table(
    Obsolete,
    EXACT,
    "",
    (
        Column("kind"),
        Column(
            "group", lambda o, w: w.party(o.group, o.account), lambda o, w: w.title(o.group, o.account), short=by_name
        ),
        Column("rule", lambda o, _: o.rule_id, wide=True),
        Column("since", lambda o, w: w.ago(o.since), dispensable=1),
        Column("what", lambda o, _: o.subject, lambda o, w: w.worded(o.subject), short=by_words),
        Column("why", lambda o, _: o.reason, lambda o, w: w.worded(o.reason), short=by_words),
    ),
)


def obsolete(env: Environment, view: View, swept: SweptAccounts, cloud: WhatIf) -> list[Obsolete]:
    """All of it, of the groups whose rules a view has read, also of those that the sweep that is supposed did not
    read."""
    snapshot, readable = cloud.before(view.scene.snapshot), read_here(env, swept)
    consents = dead(env.policy, snapshot, env.now, readable)
    return [
        *_links(env, snapshot, swept, cloud),
        *(
            _of("marker", rule, rule.description, "not the marker of this rule: it is left alone")
            for rule in damaged_rules(snapshot, env.policy, env.settings.region)
        ),
        *_renamed(env, snapshot),
        *(Obsolete("consent", entry.group.account, entry.group.id, entry.text, entry.reason) for entry in consents),
    ]


def _links(env: Environment, snapshot: Snapshot, swept: SweptAccounts, cloud: WhatIf) -> Iterator[Obsolete]:
    """The rules that would go but for the limit of removals, or that a later sweep reads, and those of mutual links
    that stand on one side only."""
    where = (env.policy, env.settings.region)
    links = standing(snapshot, *where, env.now, going=removals(swept, cloud))
    if _may_leave_removals(swept, snapshot, links):
        causes = removal_reasons(next_sweep(snapshot, *where, env.now, hold_none), env.policy)
        links = standing(snapshot, *where, env.now, going=causes)
    rules_after = {(group, rule.id) for group, rules in cloud.rules().items() for rule in rules}
    for link in links:
        claims = " ".join(claim.request or "tag" for claim in link.claims)
        for rule in link.rules:
            if (rule.group, rule.id) not in rules_after:
                continue
            if link.closing:
                yield _of("held", rule, f"claimed by {claims}", link.closing)
            elif link.half:
                yield _of("half-open", rule, f"claimed by {claims}", f"{link.half} has no rule")


def _may_leave_removals(swept: SweptAccounts, snapshot: Snapshot, links: Sequence[Standing]) -> bool:
    """Whether the sweep may have left a rule that is due to be removed: since removals were held, a read failed, or it
    has not judged whether somebody asks for a link."""
    reports = [sweep.report for sweep in swept.sweeps]
    if swept.unreadable or not is_whole(swept, snapshot) or any(sweep.late for sweep in swept.sweeps):
        return True
    if any(report.planned.due or report.planned.doubted or report.pending or report.undone for report in reports):
        return True
    shown_parties = snapshot.groups.keys() | snapshot.instances.keys()
    return any(sweep.phase.later for sweep in swept.sweeps) and any(
        not link.closing
        and (
            link.written != "by reference"
            or not {link.source, link.target} <= shown_parties
            or (any(claim.is_tag for claim in link.claims) and not link.askers)
        )
        for link in links
    )


def _renamed(env: Environment, snapshot: Snapshot) -> Iterator[Obsolete]:
    """Rules of this home under another deployment's name, which no function of ours touches."""
    for marked in marked_rules(snapshot, env.policy.home, env.settings.region):
        if marked.deployment == env.policy.deployment:
            continue
        if marked.marker:
            claims = claims_text([claim.request or "tag" for claim in marked.marker.claims], marked.deployment)
            reason = (
                f"link-peer close --deployment {marked.deployment} removes it, if that is a former name of this one"
            )
            yield _of("deployment", marked.rule, f"claimed by {claims}", reason)
        else:
            reason = f"of deployment {quoted(marked.deployment)}, but not the marker of this rule: it is left alone"
            yield _of("marker", marked.rule, marked.rule.description, reason)


def _of(kind: str, rule: Rule, fact: str, reason: str) -> Obsolete:
    return Obsolete(kind, rule.group.account, rule.group.id, fact, reason, rule.id, rule.created)
