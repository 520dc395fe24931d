"""`link-peer check`: is a policy file valid, and does it keep its own tests, on paper or on the cloud as it is now?"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer
from link_peer.app import compose
from link_peer.domain.errors import BadInput, PolicyError
from link_peer.domain.model import ports_text
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.inbound import policy_file
from link_peer.planning.decision import Context
from link_peer.runtime.settings import tag_prefix
from link_peer.views import policy_tests
from link_peer.views.policy_tests import Finding, PolicyVerdict
from link_peer_deploy.documents import owners_denial
from rich.markup import escape

from link_peer_cli.access import instant
from link_peer_cli.access.environment import Environment, load_environment, policy_in_use, policy_path
from link_peer_cli.answers.deployment import Caution, CheckedFile, Fault, JudgedTest
from link_peer_cli.deployed import limits
from link_peer_cli.inventory.reading import SavedView, view_of
from link_peer_cli.review import live_tests, snapshots
from link_peer_cli.review.delivery import suppose
from link_peer_cli.ui import files as files_ui
from link_peer_cli.ui.console import console, print_answer, warn
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines
from link_peer_cli.ui.progress import waiting
from link_peer_cli.usage import written


def check(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Policy files, or files of `link-peer tighten --propose`. Default: LINK_PEER_POLICY, else policy.yaml."
        ),
    ] = None,
    snapshot: Annotated[
        str,
        typer.Option(help="Run the tests that depend on tags, too, on this file of `link-peer check --live --out`."),
    ] = "",
    live: Annotated[bool, typer.Option("--live", help="Run the tests on the cloud as it is now.")] = False,
    out: Annotated[
        str, typer.Option(help="With --live: save what was read in this file, for --snapshot.", metavar="FILE")
    ] = "",
    deny_sets: Annotated[
        str,
        typer.Option(
            help="Write the RAM policy for owners of groups: it denies them the tags that decide what is in the policy's sets.",
            metavar="FILE",
        ),
    ] = "",
    as_json: JsonLines = False,
) -> None:
    """Check policy files: their syntax, their values, their own tests, and limits of the platform; or files of links
    that tighten proposed, by the policy file in use. Without --live, it needs no keys and no settings;
    LINK_PEER_TAG_PREFIX counts where it is set.

    With --live, what must be accepted is consented to now, and what must be denied is neither consented to nor let in
    by anybody's rules. With neither --live nor --snapshot, tests that depend on the tags of groups are counted and not
    judged."""
    paths = [Path(file) for file in files] if files else [policy_path()]
    _check_options(paths, snapshot, out, live=live)
    if deny_sets and len(paths) > 1:
        raise BadInput("--deny-sets", "only of one file")
    env = load_environment(reading=True) if live else None
    reader = _Reader(env, snapshots.load(snapshot) if snapshot else None, out)
    checked_files = [_checked(path, reader) for path in paths]
    for checked_file in checked_files:
        if as_json:
            print_answer(checked_file)
        else:
            _print(checked_file)
    if deny_sets and not checked_files[0].problems:
        _write_denial(reader.load(paths[0]), deny_sets)
    if any(path.is_dir() or not os.access(path, os.R_OK) for path in paths):
        raise typer.Exit(Exit.USAGE)
    if any(checked_file.problems for checked_file in checked_files):
        raise typer.Exit(Exit.REFUSED)


def _write_denial(policy: Policy, path: str) -> None:
    """Write the policy that keeps owners of groups from moving them in and out of the sets."""
    if not policy.keys.sets:
        raise BadInput("--deny-sets", "the policy file has no sets")
    files_ui.write(path, json.dumps(owners_denial(policy.keys.sets), indent=2).encode() + b"\n")


def _check_options(paths: Sequence[Path], snapshot: str, out: str, *, live: bool) -> None:
    """Raise BadInput for options that exclude each other."""
    if snapshot and live:
        raise BadInput("--snapshot", "not together with --live, which reads the cloud")
    if out and not (live and len(paths) == 1):
        raise BadInput("--out", "only with --live, and of one file")


class _Reader(NamedTuple):
    """What the tests are judged on: the cloud of `env`, what was read before, or the file alone. What is read is saved
    in `out`."""

    env: Environment | None
    saved: Snapshot | None
    out: str

    def load(self, path: Path) -> Policy:
        if self.env or os.environ.get("LINK_PEER_TAG_PREFIX"):
            return compose.load_policy(str(path), tag_prefix(os.environ))
        return policy_file.load(path)

    def judge(self, policy: Policy) -> list[Finding]:
        """The finding of each test of a policy."""
        if self.env:
            env = msgspec.structs.replace(self.env, policy=policy)
            view = view_of(suppose(env, "check")[0])
            with waiting("judging the tests"):
                findings = live_tests.judge(view, Context(policy, env.settings.region, env.now))
            if self.out:
                snapshots.save(view.scene.snapshot, self.out)
            return findings
        if self.saved:
            # a saved reading names no region: whose the rules are does not matter, all count as present
            return live_tests.judge(SavedView(self.saved), Context(policy, "", instant.now()))
        return policy_tests.judge(policy, instant.now())


def _checked(path: Path, reader: _Reader) -> CheckedFile:
    try:
        if proposal := written.text_in(path):
            return _checked_proposal(path, proposal, reader)
        policy = reader.load(path)
    except PolicyError as error:
        return _invalid(path, str(error))
    except OSError as error:
        return _invalid(path, f"{path.name}: cannot be read ({error.strerror})")
    findings = reader.judge(policy)
    exceeded = list(limits.exceeded(policy, os.environ))
    warn(f"{path.name}: {caution}" for caution in exceeded if isinstance(caution, Caution))
    over = [f"{path.name}: {fault}" for fault in exceeded if isinstance(fault, Fault)]
    failed = [finding for finding in findings if finding.failed]
    undecided = [finding for finding in findings if finding.verdict is PolicyVerdict.OPEN]
    judged = [*failed, *(undecided if reader.env or reader.saved else ())]
    problems = [*over, *(f"{path.name}: {finding}" for finding in judged)]
    passed = len(findings) - len(failed) - len(undecided)
    tests = list(map(_of_finding, findings)) if reader.env else msgspec.UNSET
    return CheckedFile(str(path), problems, len(policy.accounts), passed, len(undecided), tests)


def _checked_proposal(path: Path, text: str, reader: _Reader) -> CheckedFile:
    """What is known of a file of `tighten --propose`, by the policy file in use, if there is one. Raises
    PolicyError."""
    policy = reader.env.policy if reader.env else policy_in_use()
    proposal, problems = written.checked(text, path.name, policy)
    accounts = len(policy.accounts) if policy else 0
    return CheckedFile(str(path), problems, accounts, passed=0, undecided=0, links=len(proposal.links))


def _of_finding(finding: Finding) -> JudgedTest:
    """A test for programs."""
    passed = None if finding.verdict is PolicyVerdict.OPEN else not finding.failed
    ends = (str(finding.source), str(finding.target), ports_text(finding.ports))
    return JudgedTest(finding.at, *ends, finding.expected.value, finding.verdict.value, finding.reason, passed)


def _invalid(path: Path, problem: str) -> CheckedFile:
    return CheckedFile(str(path), [problem], accounts=0, passed=0, undecided=0)


def _print(checked_file: CheckedFile) -> None:
    out = console()
    for problem in checked_file.problems:
        out.print(f"[red]{escape(problem)}[/red]")
    for test in checked_file.tests or ():
        if test.passed:
            text = f"{test.test}: {test.source} -> {test.target}:{test.ports} is {test.verdict}: {test.reason}"
            out.print(f"[green]{escape(text)}[/green]")
    if checked_file.problems:
        return
    if checked_file.links is not msgspec.UNSET:
        links = "1 link" if checked_file.links == 1 else f"{checked_file.links} links"
        out.print(escape(f"{checked_file.file}: valid, {links}"))
        return
    accounts = "1 account" if checked_file.accounts == 1 else f"{checked_file.accounts} accounts"
    tests = f"{checked_file.passed} tests hold" if checked_file.passed != 1 else "1 test holds"
    depends = (
        f", {checked_file.undecided} depend on tags and are not judged: give --live or --snapshot"
        if checked_file.undecided
        else ""
    )
    out.print(escape(f"{checked_file.file}: valid, {accounts}, {tests}{depends}"))
