"""`link-peer sweep`: run the sweep from a terminal, or preview it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from link_peer.app.sweeps import run_sweep
from link_peer.domain.errors import BadInput
from link_peer.domain.reasons import REASONS, Kind
from link_peer.engine.scopes.accounts import SweptAccounts
from link_peer.engine.scopes.sweep import Run
from link_peer.runtime.ports import Record
from link_peer.views.reach import Scene
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment, require_known
from link_peer_cli.access.inputs import account_uid
from link_peer_cli.answers import CloudCall
from link_peer_cli.answers.changes import Obsolete, Swept
from link_peer_cli.checks.obsolete import OBSOLETE, obsolete
from link_peer_cli.inventory.reading import View, remember_parties
from link_peer_cli.inventory.shown import Wording, wording
from link_peer_cli.review.claims import undo_now
from link_peer_cli.review.cloud import WhatIf
from link_peer_cli.review.delivery import recording, suppose
from link_peer_cli.review.edits import denied_records, members_of
from link_peer_cli.review.input import Input, SweepInput
from link_peer_cli.review.plans import ShownPlan, notable, print_plan, print_saved
from link_peer_cli.review.saved import require_replaceable, save
from link_peer_cli.ui.console import console, print_answer, warn
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import Commands, Detailed, DryRun, Json, Out, Output, Tagged, plan_form
from link_peer_cli.ui.pager import paged
from link_peer_cli.ui.progress import counter, progress_bar
from link_peer_cli.ui.records import print_records, print_undo
from link_peer_cli.ui.tables import TableForm, draw


def sweep(
    dry_run: DryRun = False,
    believe_empty: Annotated[
        list[str] | None,
        typer.Option(help="An account (uid or name) that is really empty: remove rules there. Repeat for more."),
    ] = None,
    tagged: Tagged = False,
    commands: Commands = False,
    detailed: Detailed = False,
    save_as: Out = "",
    output: Output = TableForm.TABLE,
    as_json: Json = False,
) -> None:
    """Reconcile all rules with tags, requests and consent, in all accounts of the policy.

    With --dry-run, also list what no sweep would change though it is obsolete: removals that are held, half-open links,
    damaged markers, rules under a former name of the deployment, and consents that have ended or name parties which no
    longer exist."""
    form = plan_form(output, as_json=as_json)
    as_json = form is TableForm.JSON
    _check(
        dry_run,
        save_as,
        {"--tagged": tagged, "--commands": commands, "--detailed-exitcode": detailed, "--out": save_as},
    )
    believed = [account_uid(uid, "--believe-empty") for uid in believe_empty or []]
    env = load_environment(reading=dry_run)
    require_known(env, believed, "--believe-empty")
    cloud: WhatIf | None = None
    if dry_run:
        delivery, cloud, recorder = suppose(env, "sweep")
    else:
        delivery, recorder = recording(env, "sweep-cli", env.person_keys.arn)
    changes = cloud.changes if cloud else []
    with progress_bar(unless=as_json) as bar:
        count = counter(bar, "accounts read", "groups read")
        keep = (lambda _instance: True) if dry_run else None
        swept = run_sweep(Run(delivery, f"sweep-cli-{int(env.now)}", frozenset(believed), keep=keep, progress=count))
    decisions = [*recorder.outcomes, *denied_records(swept, recorder.outcomes)]
    summaries = [record for record in recorder.records if record["record"] == "summary"]
    groups = members_of(swept.snapshot, cloud.changed_groups()) if cloud else []
    words = wording(env.policy, env.now, Scene(swept.snapshot) if form is TableForm.TABLE else None)
    plan = ShownPlan(groups, recorder.records, notable(decisions), words)
    remember_parties(env, swept.snapshot)
    code = _exit_code(recorder.records, swept)
    way_back = [] if dry_run else undo_now(env, recorder.outcomes)
    if save_as and cloud:
        save(save_as, env, Input(sweep=SweepInput(tuple(believed))), cloud.writes)
    if cloud:
        leftovers = _ObsoleteReport(env, View(swept.fetch, env.policy, tagged=tagged), swept, cloud)
        if as_json:
            print_answer(Swept(decisions, summaries, way_back, changes, plan.group_plans, plan.counts, leftovers.all()))
        else:
            leftovers.print(summaries, plan, changes if commands else None, wide=form is TableForm.WIDE)
        warn([leftovers.view.gap])
    elif as_json:
        print_answer(Swept(decisions, summaries, way_back))
    else:
        print_records(console(), "decisions", decisions, names=words.called, wide=form is TableForm.WIDE)
        _print_counts(summaries)
        _print_skipped(summaries)
        print_undo(console(), way_back)
    if save_as and not as_json:
        print_saved(save_as)
    raise typer.Exit(Exit.CHANGES if detailed and code is Exit.DONE and groups else code)


class _ObsoleteReport(msgspec.Struct, frozen=True):
    """What no sweep would change though it is obsolete."""

    env: Environment
    view: View
    swept: SweptAccounts
    cloud: WhatIf

    def entries(self) -> list[Obsolete]:
        """As far as rules were read."""
        return obsolete(self.env, self.view, self.swept, self.cloud)

    def all(self) -> list[Obsolete]:
        """Of all groups: tools take the managed tag off."""
        self.view.read_others()
        return self.entries()

    def print(
        self, summaries: Sequence[Record], plan: ShownPlan, changes: Sequence[CloudCall] | None, *, wide: bool
    ) -> None:
        """Print it, and the plan. Where a person watches, before the rules of other groups are read than the sweep
        reads, and then what these add."""
        other_groups = [] if self.view.tagged or not sys.stdout.isatty() else self.view.unread_groups
        entries = self.entries() if other_groups else self.all()
        with paged():
            _print_skipped(summaries)
            _print_obsolete("obsolete", entries, plan.words, wide=wide)
            print_plan(console(), plan, changes, wide=wide)
        if other_groups:
            with progress_bar(unless=False) as bar:
                self.view.read_others(counter(bar, "groups read"))
            if self.view.has_rules_of_ours(other_groups):
                further_entries = [entry for entry in self.entries() if entry not in entries]
                _print_obsolete("obsolete, on groups without the tag", further_entries, plan.words, wide=wide)


def _print_obsolete(title: str, entries: Sequence[Obsolete], words: Wording, *, wide: bool) -> None:
    if entries:
        console().print(f"[bold]{title}[/bold]")
        draw(console(), OBSOLETE, entries, words, wide=wide)


def _check(dry_run: bool, save_as: str, options: dict[str, object]) -> None:
    """Raise BadInput for an option that only a dry run has, or a file that is no plan and would be replaced."""
    for option in [name for name, value in options.items() if value and not dry_run]:
        raise BadInput(option, "only with --dry-run")
    if save_as:
        require_replaceable(save_as)


def _print_counts(summaries: Sequence[Record]) -> None:
    names = ("instances", "groups", "changed", "removed", "held", "denied")
    counts = [f"{name} {sum(int(summary[name]) for summary in summaries)}" for name in names]
    console().print("   ".join([*counts, f"seconds {summaries[0]['seconds']}"]))


def _print_skipped(summaries: Sequence[Record]) -> None:
    """Print what was not looked at, or left alone, and why."""
    details = dict.fromkeys(summary["detail"] for summary in summaries if summary.get("detail"))
    if details:
        console().print(f"[yellow]skipped:[/yellow] {escape('; '.join(details))}")


def _exit_code(records: list[Record], swept: SweptAccounts) -> Exit:
    """Return 1 if the sweep could not do its work. A denied link is not a failure of the sweep."""
    hampered = any(record.get("outcome") == "failed" for record in records)
    hampered |= any(REASONS[code].kind is Kind.UNDECIDED for s in swept.sweeps for *_, code in s.report.reasons if code)
    return Exit.REFUSED if hampered or swept.unread or swept.unreadable else Exit.DONE
