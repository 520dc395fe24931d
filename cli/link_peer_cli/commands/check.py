"""`link-peer check`: is a policy file valid, and does it keep its own tests?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from link_peer.domain.errors import PolicyError
from link_peer.domain.policy import Policy
from link_peer.inbound import policy_file
from link_peer.planning.decision import Context
from link_peer.views import policy_tests
from link_peer.views.policy_tests import Finding, PolicyVerdict
from rich.markup import escape

from link_peer_cli.access import instant
from link_peer_cli.access.environment import policy_path
from link_peer_cli.answers.deployment import Caution, CheckedFile, Fault
from link_peer_cli.deployed import limits
from link_peer_cli.inventory.reading import SavedView
from link_peer_cli.review import live_tests, snapshots
from link_peer_cli.ui.console import console, print_answer, warn
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines


def check(
    files: Annotated[
        list[str] | None, typer.Argument(help="Policy files. Default: LINK_PEER_POLICY, else policy.yaml.")
    ] = None,
    snapshot: Annotated[
        str, typer.Option(help="Run the tests that depend on tags, too, on this file of `link-peer test --out`.")
    ] = "",
    as_json: JsonLines = False,
) -> None:
    """Check policy files offline: their syntax, their values, their own tests, and limits of the platform. Needs no keys and no
    settings.

    Without --snapshot, tests that depend on the tags of groups are counted and not judged."""
    read = snapshots.load(snapshot) if snapshot else None
    paths = [Path(file) for file in files] if files else [policy_path()]
    checked_files = [_checked(path, SavedView(read) if read else None) for path in paths]
    for checked_file in checked_files:
        if as_json:
            print_answer(checked_file)
        else:
            _print(checked_file)
    if any(checked_file.problems for checked_file in checked_files):
        raise typer.Exit(Exit.REFUSED)


def _checked(path: Path, view: SavedView | None) -> CheckedFile:
    try:
        policy = policy_file.load(path)
    except PolicyError as error:
        return _invalid(path, str(error))
    except OSError as error:
        return _invalid(path, f"{path.name}: cannot be read ({error.strerror})")
    findings = _judged(policy, view)
    exceeded = list(limits.exceeded(policy, os.environ))
    warn(f"{path.name}: {caution}" for caution in exceeded if isinstance(caution, Caution))
    over = [f"{path.name}: {fault}" for fault in exceeded if isinstance(fault, Fault)]
    failed = [finding for finding in findings if finding.failed]
    undecided = [finding for finding in findings if finding.verdict is PolicyVerdict.OPEN]
    problems = [*over, *(f"{path.name}: {finding}" for finding in (*failed, *(undecided if view else ())))]
    passed = len(findings) - len(failed) - len(undecided)
    return CheckedFile(str(path), problems, len(policy.accounts), passed, len(undecided))


def _invalid(path: Path, problem: str) -> CheckedFile:
    return CheckedFile(str(path), [problem], accounts=0, passed=0, undecided=0)


def _judged(policy: Policy, view: SavedView | None) -> list[Finding]:
    # a saved reading names no region: whose the rules are does not matter, all count as present
    now = instant.now()
    return live_tests.judge(view, Context(policy, "", now)) if view else policy_tests.judge(policy, now)


def _print(checked_file: CheckedFile) -> None:
    out = console()
    for problem in checked_file.problems:
        out.print(f"[red]{escape(problem)}[/red]", soft_wrap=True)
    if checked_file.problems:
        return
    accounts = "1 account" if checked_file.accounts == 1 else f"{checked_file.accounts} accounts"
    tests = f"{checked_file.passed} tests hold" if checked_file.passed != 1 else "1 test holds"
    depends = (
        f", {checked_file.undecided} depend on tags and are not judged: give --snapshot"
        if checked_file.undecided
        else ""
    )
    out.print(escape(f"{checked_file.file}: valid, {accounts}, {tests}{depends}"), soft_wrap=True)
