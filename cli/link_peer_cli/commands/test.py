"""`link-peer test`: judge the tests of a policy on what the cloud says now."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from link_peer.domain.model import ports_text
from link_peer.planning.decision import Context
from link_peer.views.policy_tests import PolicyVerdict
from rich.markup import escape

from link_peer_cli.access.environment import load_environment, policy_file
from link_peer_cli.answers.links import JudgedTest
from link_peer_cli.inventory.reading import view_of
from link_peer_cli.review import snapshots
from link_peer_cli.review.delivery import suppose
from link_peer_cli.review.live_tests import judge
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines
from link_peer_cli.ui.progress import waiting


def run_tests(
    policy: Annotated[str, typer.Option(help="Judge this policy file instead of the one in use.")] = "",
    out: Annotated[
        str, typer.Option(help="Save what was read in this file, for `link-peer check --snapshot`.", metavar="FILE")
    ] = "",
    as_json: JsonLines = False,
) -> None:
    """Run the policy's tests: what must be accepted is consented to now, and what must be denied is neither consented to nor
    let in by anybody's rules. Changes nothing."""
    env = load_environment(reading=True)
    if policy:
        env = msgspec.structs.replace(env, policy=policy_file(policy, "--policy"))
    view = view_of(suppose(env, "test")[0])
    with waiting("judging the tests"):
        findings = judge(view, Context(env.policy, env.settings.region, env.now))
    if out:
        snapshots.save(view.scene.snapshot, out)
    show = console()
    words = {True: "[green]pass[/green]   ", False: "[red]FAIL[/red]   ", None: "[yellow]unknown[/yellow]"}
    results = [None if test.verdict is PolicyVerdict.OPEN else test.verdict is test.expected for test in findings]
    for finding, passed in zip(findings, results, strict=True):
        if as_json:
            ends = (str(finding.source), str(finding.target), ports_text(finding.ports))
            print_answer(
                JudgedTest(finding.at, *ends, finding.expected.value, finding.verdict.value, finding.reason, passed)
            )
        else:
            show.print(f"{words[passed]}  {escape(str(finding))}", soft_wrap=True)
    if not as_json:
        counts = f"{results.count(True)} passed, {results.count(False)} failed"
        show.print(f"[bold]{counts}, {results.count(None)} unknown[/bold]" if findings else "The policy has no tests.")
    if not all(results):
        raise typer.Exit(Exit.REFUSED)
