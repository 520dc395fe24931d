"""`link-peer doctor`: whether what runs link-peer is whole, and what teams must do for their links."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import msgspec
import typer
from link_peer.app.sweeps import run_sweep
from link_peer.domain.grouped import grouped
from link_peer.domain.tags import clean
from link_peer.engine.scopes.accounts import SweptAccounts
from link_peer.engine.scopes.sweep import Run
from link_peer.planning.sweep import next_sweep
from link_peer.views.reach import Scene
from link_peer.views.standing import removal_reasons, standing
from msgspec.structs import replace
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment, require_known
from link_peer_cli.access.inputs import account_uid
from link_peer_cli.answers.deployment import DoctorFinding
from link_peer_cli.checks import accounts, blocked, consents, deployed, person, quotas, settings, uncovered
from link_peer_cli.checks.finding import COLOURS, FAILING, OK, PLATFORM, TENANTS, UNKNOWN, CheckFinding, counts, report
from link_peer_cli.checks.runs import Runs, read_runs
from link_peer_cli.checks.seen import CloudSeen, damaged_markers, denied, is_whole, removals, renamed_deployments
from link_peer_cli.inventory.reading import View, remember_parties
from link_peer_cli.inventory.shown import EXACT, Wording, wording
from link_peer_cli.review.cloud import WhatIf
from link_peer_cli.review.delivery import Recorder, suppose
from link_peer_cli.review.edits import denied_records
from link_peer_cli.ui.console import console, warn
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines, Output, SortBy, Tagged, form_of
from link_peer_cli.ui.pager import paged
from link_peer_cli.ui.progress import counter, progress_bar
from link_peer_cli.ui.tables import Column, Table, TableForm, by_words, print_table

WIDTH = 9  # of the longest state, and two
DOCTOR = Table(
    DoctorFinding,
    EXACT,
    "Nothing was found.",
    (
        Column("part"),
        Column("state", colours=COLOURS),
        Column("account", lambda f, w: w.account(f.where)),
        Column("what", lambda f, _: f.subject, lambda f, w: w.worded(f.subject), short=by_words),
        Column("detail", brief=lambda f, w: w.worded(f.detail), short=by_words),
        Column("advice", wide=True),
    ),
)


def doctor(
    account: Annotated[str, typer.Argument(help="An account's uid or name. Default: all accounts of the policy.")] = "",
    platform: Annotated[bool, typer.Option("--platform", help="Only what runs link-peer.")] = False,
    tenants: Annotated[bool, typer.Option("--tenants", help="Only what teams must do. May exit with 3.")] = False,
    tagged: Tagged = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also show what is ok.")] = False,
    output: Output = TableForm.TABLE,
    sort_by: SortBy = "",
    as_json: JsonLines = False,
) -> None:
    """Check the platform (every deployed piece, the access to each account) and the tenants (every requested link,
    consent, quotas). Changes nothing. Exits with 1 if something of the platform is missing, differs from what is
    shipped, or could not be read; with --tenants, else with 3 if something of the tenants is missing.

    Shows what is not ok, and counts the rest; in a pipe, and for programs, all of it.

    States: ok; warning; differs from what is shipped; missing; unknown: it could not be read.
    """
    DOCTOR.column(sort_by or "part")
    form = form_of(output, as_json=as_json)
    account = account_uid(account, "account") if account else ""
    covers_both = platform == tenants
    env = load_environment(reading=True)
    require_known(env, [account] if account else [], "account")
    question = _Question(env, account, platform or covers_both, tenants or covers_both)
    delivery, cloud, recorder = suppose(env, "doctor")
    with progress_bar(unless=form is TableForm.JSON) as bar:
        count, runs = counter(bar, "accounts read", "groups read"), read_runs(env)
        with ThreadPoolExecutor(1) as beside:
            pieces = beside.submit(_pieces, question, runs)
            # whose packets pass depends on the addresses of all
            run = Run(delivery, "doctor", keep=lambda _instance: True, progress=count)
            swept = run_sweep(run, recorded=False)
        view = View(swept.fetch, env.policy, tagged=tagged)
        cloud_view = _cloud_seen(env, view, cloud, swept)
        platform_findings = [*pieces.result(), *_platform(question, runs, swept, cloud, cloud_view)]
    words = wording(env.policy, env.now, Scene(swept.snapshot))
    is_watched = sys.stdout.isatty() and form in (TableForm.TABLE, TableForm.WIDE) and not sort_by
    other_groups = [] if tagged else view.unread_groups
    printed_findings = platform_findings if is_watched and other_groups else []
    with paged(unless=not printed_findings):
        _show(_visible(printed_findings, verbose=verbose), words, wide=form is TableForm.WIDE)
    with progress_bar(unless=form is TableForm.JSON) as bar:
        view.read_others(counter(bar, "groups read"))
        if view.has_rules_of_ours(other_groups):
            cloud_view = _cloud_seen(env, view, cloud, swept)
            platform_findings = [*pieces.result(), *_platform(question, runs, swept, cloud, cloud_view)]
        tenants_findings = _tenants(question, view, swept, cloud, cloud_view, recorder)
    findings = [*platform_findings, *tenants_findings]
    if is_watched:
        with paged():
            remaining_findings = [finding for finding in findings if finding not in printed_findings]
            _show(_visible(remaining_findings, verbose=verbose), words, wide=form is TableForm.WIDE)
            _show_counts(findings)
    else:
        names = {uid: account.name for uid, account in env.policy.accounts.items()}
        rows = [
            (finding.part, finding.state, finding.where, finding.subject, finding.detail, finding.advice)
            for finding in findings
        ]
        print_table(DOCTOR, [DoctorFinding(*row, names.get(row[2], "")) for row in rows], words, form, sort_by)
    warn([view.gap])
    remember_parties(env, view.scene.snapshot)
    failing = {finding.part for finding in findings if finding.state in FAILING}
    if PLATFORM in failing:
        raise typer.Exit(Exit.REFUSED)
    if tenants and failing:
        raise typer.Exit(Exit.TENANTS)


class _Question(msgspec.Struct, frozen=True):
    """What is asked: of one account (uid), or of all; about the platform, and about the tenants."""

    env: Environment
    account: str
    platform: bool
    tenants: bool

    def chosen(self, findings: Iterable[CheckFinding]) -> list[CheckFinding]:
        """Those that are about what is asked."""
        return [finding for finding in findings if not self.account or finding.where in ("", self.account)]


def _pieces(question: _Question, runs: Runs) -> list[CheckFinding]:
    """What is deployed, if that is asked."""
    is_asked = question.platform and not question.account
    return [finding for findings in deployed.check(question.env, runs) for finding in findings] if is_asked else []


def _platform(
    question: _Question, runs: Runs, swept: SweptAccounts, cloud: WhatIf, cloud_view: CloudSeen
) -> list[CheckFinding]:
    """The settings, the person and the accounts. What could not be read of these concerns the platform, and belongs to
    the answer about the tenants, too, which is incomplete without it."""
    env, account = question.env, question.account
    access = accounts.check(env, runs, swept, cloud, cloud_view.links)
    if not question.platform:
        return question.chosen(finding for finding in access if finding.state in FAILING)
    roles = (role for role in person.check(env) if not account or role.state != OK)
    damaged = damaged_markers(swept.damaged)
    prefixes = accounts.check_prefixes(env, cloud_view.scene.snapshot)
    renamed = renamed_deployments(cloud_view)
    return question.chosen(
        [*settings.check(env), *roles, *access, *accounts.check_sets(env.policy), *prefixes, *damaged, *renamed]
    )


def _tenants(
    question: _Question, view: View, swept: SweptAccounts, cloud: WhatIf, cloud_view: CloudSeen, recorder: Recorder
) -> list[CheckFinding]:
    """What the accounts hold, if that is asked."""
    if not question.tenants:
        return []
    env, scene = question.env, Scene(cloud.before(view.scene.snapshot))  # what was read since decides about no rules
    cloud_view = replace(cloud_view, scene=scene, accounts=accounts.read_here(env, swept))
    findings = _of_tenants(env, question.account, swept, cloud, cloud_view, recorder)
    return question.chosen(
        finding if finding.state == UNKNOWN else replace(finding, part=TENANTS) for finding in findings
    )


def _cloud_seen(env: Environment, view: View, cloud: WhatIf, swept: SweptAccounts) -> CloudSeen:
    """The links that stand, of which the next sweep removes some: those that this one would, if it has judged all."""
    scene, where, now = Scene(cloud.before(view.scene.snapshot)), (env.policy, env.settings.region), env.now
    if is_whole(swept, scene.snapshot):
        going = removals(swept, cloud)
    else:
        going = removal_reasons(next_sweep(scene.snapshot, *where, now), env.policy)
    links = standing(scene.snapshot, *where, now, going=going)
    view.deciding((link.source, link.target) for link in links)
    return CloudSeen(env.policy, scene, env.settings.region, now, links)


def _of_tenants(
    env: Environment, account: str, swept: SweptAccounts, cloud: WhatIf, cloud_view: CloudSeen, recorder: Recorder
) -> Iterator[CheckFinding]:
    """What the accounts hold."""
    refused = [*recorder.outcomes, *denied_records(swept, recorder.outcomes)]
    yield from quotas.check(cloud_view, account)
    yield from uncovered.check(env, account, cloud, cloud_view)
    yield from consents.check(cloud_view)
    yield from consents.check_groups(cloud_view)
    yield from consents.check_keys(cloud_view)
    yield from blocked.beside_locks(cloud_view)
    yield from blocked.barred(cloud_view)
    yield from blocked.isolated(cloud_view, refused)
    yield from blocked.check(cloud_view)
    yield from denied(refused)


def _visible(findings: Sequence[CheckFinding], *, verbose: bool) -> list[CheckFinding]:
    """The findings that a person is shown."""
    return [finding for finding in findings if verbose or finding.state != OK]


def _show(findings: Sequence[CheckFinding], words: Wording, *, wide: bool) -> None:
    """One line a finding, cut after a word unless it is `wide`, and what to do below it."""
    out = console()
    for part in (PLATFORM, TENANTS):
        if part_findings := [candidate for candidate in findings if candidate.part == part]:
            out.print(f"[bold]{part}[/bold]")
        for finding in report(part_findings):
            text = clean(": ".join(filter(None, [words.worded(finding.subject), words.worded(finding.detail)])), None)
            text = "  ".join(filter(None, [words.account(finding.where), text]))
            line = text if wide else by_words(text, out.width - WIDTH)
            out.print(f"[{COLOURS.get(finding.state, 'red')}]{finding.state:{WIDTH}}[/]{escape(line)}")
            if finding.advice:
                out.print(f"{'':{WIDTH}}→ {escape(clean(finding.advice, None))}")


def _show_counts(findings: Sequence[CheckFinding]) -> None:
    """How many findings there are of each part, by state."""
    by_part = grouped((finding.part, finding) for finding in findings)
    ends = [f"{part}: {counts(by_part[part])}" for part in (PLATFORM, TENANTS) if part in by_part]
    console().print(escape("; ".join(ends)))
