"""`link-peer map`: draw who may reach whom, according to our rules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from link_peer_cli.io.console import console, print_json
from link_peer_cli.io.exits import Exit

if TYPE_CHECKING:
    from link_peer_cli.io.drawing.arrows import Arrow
    from link_peer_cli.io.environment import Environment


def draw_map(
    form: Annotated[str, typer.Option("--format", help="mermaid, svg or html.")] = "mermaid",
    output: Annotated[str, typer.Option("--output", "-o", help="The file to write. Default: stdout.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per arrow and line.")] = False,
) -> None:
    """Draw who may reach whom: every link that is open now, in all accounts of the policy."""
    from link_peer.domain.errors import BadInput

    from link_peer_cli.io.drawing.html import html
    from link_peer_cli.io.drawing.mermaid import mermaid
    from link_peer_cli.io.drawing.svg import svg
    from link_peer_cli.io.environment import load_environment

    forms = {"mermaid": mermaid, "svg": svg, "html": html}
    if form not in forms:
        raise BadInput("--format", f"{form} is not one of {', '.join(forms)}")
    env = load_environment(reading=True)
    arrows, problems = _read(env)
    if as_json:
        for arrow in arrows:
            ends = {"from": str(arrow.source), "to": str(arrow.target)}
            print_json({**ends, "ports": arrow.label, "reasons": list(arrow.reasons)})
    else:
        names = {uid: account.name for uid, account in env.policy.accounts.items()}
        _write(forms[form](arrows, names), output)
    for problem in problems:
        console(stderr=True).print(f"[yellow]{escape(problem)}[/yellow]")
    if problems:
        raise typer.Exit(Exit.REFUSED)


def _write(text: str, output: str) -> None:
    from link_peer.domain.errors import BadInput

    if not output:
        print(text, end="")
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput("--output", f"{output}: {error.strerror}") from None


def _read(env: Environment) -> tuple[list[Arrow], list[str]]:
    """The arrows of all managed groups, and a message for each account that could not be read.

    Rules between the same parties with the same claims are one arrow.
    """
    from link_peer.domain.model import Party, Port
    from link_peer.domain.tags import managed_tag
    from link_peer.engine.reader import Reader
    from link_peer.planning.actual import link_of, owned_rules

    from link_peer_cli.clients.whatif.delivery import suppose
    from link_peer_cli.io.drawing.arrows import Arrow

    policy = env.policy
    delivery, cloud, _ = suppose(env, "map")
    reader = Reader(cloud, policy, env.clock, threads=delivery.readers, tolerant=True)
    reader.rules(reader.tagged_groups(sorted(policy.accounts), managed_tag(policy.deployment, policy.home)))
    snapshot = reader.snapshot()
    ports: dict[tuple[Party, Party, tuple[str, ...]], set[Port]] = {}
    for rule, marker in owned_rules(snapshot, policy, env.settings.region):
        if rule.key is not None:
            link = link_of(rule.key, marker)
            claims = tuple(claim.request or "tag" for claim in sorted(marker.claims))
            ports.setdefault((link.source, link.target, claims), set()).add(rule.key.port)
    arrows = [
        Arrow(source, target, tuple(sorted(found, key=str)), claims)
        for (source, target, claims), found in sorted(ports.items())
    ]
    failed = {**snapshot.refused_accounts, **snapshot.failed_accounts}
    return arrows, [f"account {account} could not be read: {error}" for account, error in sorted(failed.items())]
