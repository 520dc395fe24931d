"""`link-peer selftest`: ask the open questions about the real cloud on an account that is marked for it."""

from __future__ import annotations

import json
import os
import secrets
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from link_peer.app import compose
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.runtime.settings import tag_prefix
from link_peer_conformance import leftovers
from link_peer_conformance.bench import MARK, Bench, Options
from link_peer_conformance.journal import Journal
from link_peer_conformance.question import Question, Verdict
from link_peer_conformance.run import Result, ask, questions, report
from link_peer_conformance.sdks import Sdks
from rich.markup import escape

from link_peer_cli.access.environment import bare_environment
from link_peer_cli.access.inputs import account_named
from link_peer_cli.answers.operation import CleanedUp, Leftover, PlannedRow, SelftestPlan, SelftestReport
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.files import require_writable, write
from link_peer_cli.ui.options import Json
from link_peer_cli.ui.progress import progress_bar
from link_peer_cli.ui.tables import draw_table


def selftest(
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Start. Without it, only what would happen is shown.")
    ] = False,
    row: Annotated[list[int] | None, typer.Option(help="A row's number; repeat for more. Default: all.")] = None,
    vpc: Annotated[
        str, typer.Option(help="The VPC for throw-away groups. Default: the first with a marked group.")
    ] = "",
    instances: Annotated[
        bool, typer.Option("--instances", help="Also launch up to ten small instances, for some minutes.")
    ] = False,
    image: Annotated[str, typer.Option(help="Their image; one with Cloud Assistant, sshd, ping and nc.")] = "",
    instance_type: Annotated[str, typer.Option(help="Their type.")] = "",
    vswitch: Annotated[str, typer.Option(help="A vSwitch of the VPC, for instances and network interfaces.")] = "",
    role: Annotated[str, typer.Option(help="ARN of a role that your keys may assume, for the rows about RAM.")] = "",
    peer: Annotated[
        str, typer.Option(help="A second account of the policy file, by uid or name, entered through its role.")
    ] = "",
    prefix: Annotated[
        str, typer.Option(envvar="LINK_PEER_PREFIX", help="Names begin with <prefix>-selftest-.")
    ] = "link-peer",
    journal: Annotated[
        Path, typer.Option(help="The file that names everything that was created and is not removed yet.")
    ] = Path("selftest.journal"),
    out: Annotated[Path | None, typer.Option(help="Write the report to this file, as JSON.", metavar="FILE")] = None,
    clean_up: Annotated[
        bool, typer.Option("--clean-up", help="Only list what an earlier run left; with --yes, remove it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Answer the rows of docs/verify-on-cloud.md on this account, with throw-away resources that are removed again.

    The account's owner permits it by a security group with the tag link-peer-selftest=yes in the VPC to be used.
    """
    if instances and not (image and instance_type and vswitch):
        raise BadInput("--instances", "needs --image, --instance-type and --vswitch")
    chosen = _chosen(row or [])
    settings, clock = bare_environment()
    options = Options(prefix, vpc, instances, image, instance_type, vswitch, role)
    if peer:
        options = _with_peer(options, settings.policy_path, peer)
    sdks, book = Sdks(settings, clock), Journal(journal)
    account, arn = sdks.identity()
    if clean_up:
        raise typer.Exit(_clean_up(sdks, options, book, account, yes, as_json))
    bench = Bench(sdks, options, book, account, _run_id())
    _require_mark(bench)
    if book.left():
        raise LinkPeerError(f"{journal} names what an earlier run left: link-peer selftest --clean-up")
    if not yes:
        _show_plan(bench, chosen, arn, as_json)
        return
    for path in filter(None, (journal, out)):
        require_writable(str(path))
    results, left, interrupted = _run(bench, chosen, as_json)
    raise typer.Exit(_finish(bench, results, left, interrupted, out, as_json))


def _chosen(numbers: Sequence[int]) -> list[Question]:
    if unknown := set(numbers) - {question.number for question in questions()}:
        raise BadInput("--row", f"there is no row {min(unknown)}, or a person must answer it")
    return [question for question in questions() if not numbers or question.number in numbers]


def _with_peer(options: Options, policy_path: str, account: str) -> Options:
    """With the second account, whose role and external id are in the policy file."""
    try:
        policy = compose.load_policy(policy_path, tag_prefix(os.environ))
    except OSError as error:
        raise BadInput("--peer", f"the policy file cannot be read: {error}") from None
    account = account_named(policy, account, "--peer")
    entry = policy.accounts[account]
    if not entry.role:
        raise BadInput("--peer", f"account {account} has no role in {policy_path}")
    return msgspec.structs.replace(options, peer=account, peer_role=entry.role, external_id=entry.external_id or "")


def _run_id() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))


def _require_mark(bench: Bench) -> None:
    """Raise LinkPeerError unless the VPC has a marked group.

    The mark is in the account, not on the command line: an option would be repeated from the shell's history with the keys
    of another account. It is on a security group because ECS alone can then read it, for just one region and VPC.
    """
    if bench.vpc not in bench.vpcs:
        where = f"VPC {bench.vpc} of account" if bench.vpc else "account"
        key, value = MARK
        raise LinkPeerError(
            f"{where} {bench.account} is not marked for the selftest in {bench.region}. Its owner permits it by tagging a "
            f"security group, which may be empty, in a VPC that may be used: aliyun ecs TagResources --RegionId {bench.region}"
            f" --ResourceType securitygroup --ResourceId.1 sg-… --Tag.1.Key {key} --Tag.1.Value {value}"
        )


def _show_plan(bench: Bench, chosen: Sequence[Question], arn: str, as_json: bool) -> None:
    """What would be done, row by row."""
    planned = [(row, bench.lacking(row.needs)) for row in chosen]
    if as_json:
        rows = [PlannedRow(row.number, row.assumed, row.cleanup, why) for row, why in planned]
        print_answer(SelftestPlan(bench.account, bench.vpc, rows))
        return
    out = console()
    title = f"selftest in VPC {bench.vpc} of account {bench.account} ({bench.region}), as {arn}"
    lines = [(r.number, r.assumed, f"no: {why}" if why else "yes", "" if why else r.cleanup) for r, why in planned]
    draw_table(out, title, ("row", "assumed", "answered", "cleanup"), lines)
    count, names = sum(not why for _, why in planned), f"{bench.options.prefix}-selftest-…"
    out.print(f"{count} of {len(chosen)} rows would be answered, with resources named {names}")
    out.print("Nothing was created. Add --yes to start.")


def _run(bench: Bench, chosen: Sequence[Question], as_json: bool) -> tuple[list[Result], list[str], bool]:
    """Answer the rows; (results, what could not be removed, whether it was interrupted). Removes everything in any case."""
    results: list[Result] = []
    interrupted = False
    with progress_bar(unless=as_json) as bar:
        task = bar.add_task("rows", total=len(chosen))

        def progress(result: Result) -> None:
            results.append(result)
            bar.update(task, advance=1, description=f"row {result.number}")

        try:
            ask(bench, chosen, progress)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            left, interrupted = _close(bench, interrupted)
    return results, left, interrupted


def _close(bench: Bench, interrupted: bool) -> tuple[list[str], bool]:
    """Remove everything; a second Ctrl-C ends that too, and leaves the rest to --clean-up."""
    try:
        return bench.close(), interrupted
    except KeyboardInterrupt:
        return [f"{each.kind} {each.name}" for each in bench.journal.left()], True


def _finish(
    bench: Bench, results: Sequence[Result], left: Sequence[str], interrupted: bool, path: Path | None, as_json: bool
) -> Exit:
    """Write and print the report."""
    made = report(bench, results)
    if path:
        write(str(path), (json.dumps(made, indent=1, ensure_ascii=False) + "\n").encode())
    if as_json:
        print_answer(msgspec.convert({**made, "left": list(left), "interrupted": interrupted}, SelftestReport))
    else:
        out = console()
        lines = [(r.number, r.verdict.value, r.seen or r.why, r.expected) for r in results]
        draw_table(out, "selftest", ("row", "verdict", "seen", "expected"), lines)
        out.print("   ".join(f"{name} {count}" for name, count in made["counts"].items()))
        if interrupted:
            out.print("[yellow]interrupted[/yellow]: the rows above are all that were answered")
        for what in left:
            out.print(f"[red]not removed:[/red] {escape(what)}; link-peer selftest --clean-up", soft_wrap=True)
    different = any(result.verdict is Verdict.DIFFERENT for result in results)
    return Exit.REFUSED if different or left or interrupted else Exit.DONE


def _clean_up(sdks: Sdks, options: Options, book: Journal, account: str, yes: bool, as_json: bool) -> Exit:
    """Remove what the journal names in this account and region, and what has the name and the tag of a run."""
    noted = [each for each in book.left() if (each.account, each.region) == (account, sdks.settings.region)]
    names = {each.name for each in noted}
    found = [each for each in leftovers.search(sdks, options.prefix, account) if each.name not in names]
    everything = [*noted, *found]
    problems = leftovers.remove(sdks, book, everything) if yes else []
    if as_json:
        print_answer(CleanedUp([Leftover(*msgspec.structs.astuple(each)) for each in everything], yes, problems))
    else:
        out = console()
        draw_table(out, "leftovers", ("kind", "name", "id"), [(each.kind, each.name, each.id) for each in everything])
        for what in problems:
            out.print(f"[red]not removed:[/red] {escape(what)}", soft_wrap=True)
        if everything and not yes:
            out.print("Nothing was removed. Add --yes to remove them.")
    return Exit.REFUSED if problems else Exit.DONE
