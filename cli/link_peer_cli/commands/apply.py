"""`link-peer apply`: carry out a plan that was saved and reviewed."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, NoReturn

import msgspec
import typer
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.runtime.ports import Record
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment, require_known
from link_peer_cli.answers.changes import Applied, LeftChange, NotApplied
from link_peer_cli.deployed.policy import other_policy
from link_peer_cli.review.claims import undo_now
from link_peer_cli.review.delivery import applying, still_undone
from link_peer_cli.review.input import run
from link_peer_cli.review.planned import Planned, planned
from link_peer_cli.review.plans import difference_answer, print_differences, print_plan, write_text
from link_peer_cli.review.saved import SavedPlan, load, require_current
from link_peer_cli.review.writes import Difference, Write, differences, last_of
from link_peer_cli.ui.changes import CHANGES
from link_peer_cli.ui.console import console, print_answer, warn
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import Json, Yes
from link_peer_cli.ui.progress import progress_bar
from link_peer_cli.ui.records import print_records, print_undo


def apply(
    file: Annotated[str, typer.Argument(help="A file that `plan --out` or `sweep --dry-run --out` saved.")],
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make exactly the changes of a saved plan, with the audit records that the functions would write.

    It plans anew, and changes nothing (exit code 1) if that differs from what was saved, if the policy file or the
    deployment is another one, or if the plan is older than 24 hours. What a run that died has made already is no
    difference. A request in the plan is judged as one of the queue that all accounts share.
    """

    plan = load(file)
    env = load_environment(reading=False)
    require_current(plan, env)
    require_known(env, plan.input.sweep.believe_empty if plan.input.sweep else (), "believe_empty")
    with progress_bar(unless=as_json) as bar:
        task = bar.add_task("planning anew", total=None)
        new_plan = planned(
            env,
            plan.input,
            lambda description, completed, all_: bar.update(
                task, description=description, completed=completed, total=all_
            ),
        )
        mismatches, already = _compared(env, plan, new_plan.writes)
    if mismatches:
        _refuse(mismatches, as_json=as_json)
    if not as_json:
        print_plan(console(), new_plan.plan_view, wide=True)
        if already:
            console().print(f"Made already, of the reviewed changes: {already} of {len(plan.changes)}.")
    if not new_plan.writes:
        if as_json:
            print_answer(_answer([], plan, already, [], []))
        raise typer.Exit(Exit.DONE)
    if warning := other_policy(env):
        warn([f"{warning}: they may undo this"])
    _confirm(len(new_plan.writes), yes=yes, as_json=as_json)
    CHANGES.expect(f"{write_text(write)} on {write.party}" for write in last_of(new_plan.writes))
    records, trouble = _carry_out(env, plan, new_plan, quiet=as_json)
    if not as_json:
        print_records(console(), "outcomes", records)
    undone_writes = still_undone(env, plan.changes)
    way_back = undo_now(env, records)
    if as_json:
        print_answer(_answer(records, plan, already, undone_writes, way_back))
    else:
        _print_made(new_plan.writes, undone_writes)
        print_undo(console(), way_back)
    if trouble:
        CHANGES.clear()  # they are printed
        raise trouble
    troubled = any(record["record"] == "attempt" or record["outcome"] == "failed" for record in records)
    # a tag that is left is no failure: an account may refuse it, and the marker says what is ours
    raise typer.Exit(Exit.REFUSED if troubled or any(write.place for write in undone_writes) else Exit.DONE)


def _compared(env: Environment, plan: SavedPlan, now: Sequence[Write]) -> tuple[list[Difference], int]:
    """How what would change now differs from what was reviewed, or how much of that is made already."""
    mismatches = differences(plan.changes, now)
    if all(mismatch.sign == "-" for mismatch in mismatches) and not still_undone(
        env, [mismatch.write for mismatch in mismatches]
    ):
        return [], len(mismatches)
    return mismatches, 0


def _refuse(mismatches: Sequence[Difference], *, as_json: bool) -> NoReturn:
    if as_json:
        print_answer(NotApplied([difference_answer(mismatch) for mismatch in mismatches]))
    else:
        print_differences(console(), mismatches)
    raise LinkPeerError("nothing was changed: save a new plan with --out, and review it")


def _confirm(count: int, *, yes: bool, as_json: bool) -> None:
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        raise BadInput("--yes", "it would ask before it changes anything: give --yes if the plan was reviewed")
    typer.confirm(f"Make these {count} changes?", abort=True)


def _carry_out(
    env: Environment, plan: SavedPlan, new_plan: Planned, *, quiet: bool
) -> tuple[list[Record], LinkPeerError | None]:
    """The outcomes and attempts that were recorded, and what stopped the run, if anything did."""
    event, caller = f"apply-cli-{int(env.now)}", env.person_keys.arn
    with progress_bar(unless=quiet) as bar:
        calls, reads = bar.add_task("calls made", total=len(new_plan.changes)), bar.add_task("reading", total=None)
        delivery, recorder = applying(env, plan.changes, caller, lambda: bar.advance(calls))

        def read(description: str, completed: int, all_: int) -> None:
            bar.update(reads, description=description, completed=completed, total=all_)

        try:
            run(plan.input, delivery, recorder, event, read)
            trouble = recorder.trouble
        except LinkPeerError as error:
            trouble = error
    return [record for record in recorder.records if record["record"] in ("outcome", "attempt")], trouble


def _answer(
    records: list[Record], plan: SavedPlan, already: int, undone_writes: Sequence[Write], way_back: list[str]
) -> Applied:
    undone = msgspec.convert(msgspec.to_builtins(undone_writes), list[LeftChange])
    return Applied(records, reviewed=len(plan.changes), already=already, unmade_changes=undone, undo=way_back)


def _print_made(writes: Sequence[Write], undone_writes: Sequence[Write]) -> None:
    for undone_write in undone_writes:
        console().print(f"[red]not made: {escape(write_text(undone_write))} on {undone_write.party}[/red]")
    counts = Counter(write.sign for write in last_of(writes) if write.place and write not in undone_writes)
    totals = f"{counts['+']} added, {counts['~']} changed, {counts['-']} removed"
    console().print(f"[bold]Rules: {totals}. Not made: {len(undone_writes)}.[/bold]")
