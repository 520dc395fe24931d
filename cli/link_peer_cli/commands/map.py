"""`link-peer map`: a picture of who may reach whom, by the rules of ours that stand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from link_peer_cli.io.console import Exit, console, show

if TYPE_CHECKING:
    from link_peer_cli.io.drawing import Arrow
    from link_peer_cli.io.inputs import Setting


def picture(
    form: Annotated[str, typer.Option("--format", help="mermaid, svg or html.")] = "mermaid",
    output: Annotated[str, typer.Option("--output", "-o", help="A file to write; none: stdout.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the arrows, one JSON object a line.")] = False,
) -> None:
    """Draw who may reach whom: every link that stands, in all accounts of the policy."""
    from link_peer.domain.errors import BadInput

    from link_peer_cli.io import drawing
    from link_peer_cli.io.inputs import opened

    forms = {"mermaid": drawing.mermaid, "svg": drawing.svg, "html": drawing.html}
    if form not in forms:
        raise BadInput("--format", f"{form} is not one of {', '.join(forms)}")
    here = opened()
    arrows, unread = _read(here)
    if as_json:
        for arrow in arrows:
            ends = {"from": str(arrow.source), "to": str(arrow.target)}
            show({**ends, "ports": arrow.label, "reasons": list(arrow.reasons)})
    else:
        text = forms[form](arrows, {uid: account.name for uid, account in here.policy.accounts.items()})
        if output:
            try:
                Path(output).write_text(text, encoding="utf-8")
            except OSError as error:
                raise BadInput("--output", f"{output}: {error.strerror}") from None
        else:
            print(text, end="")
    for problem in unread:
        console(stderr=True).print(f"[yellow]{escape(problem)}[/yellow]")
    if unread:
        raise typer.Exit(Exit.REFUSED)


def _read(here: Setting) -> tuple[list[Arrow], list[str]]:
    """From the rules of every managed group, one arrow for those of the same parties that stand for the same reasons; and
    the accounts that were not read."""
    from link_peer.domain.errors import CloudError, Transient
    from link_peer.domain.model import Party, Port
    from link_peer.engine.reader import READERS, Reader
    from link_peer.planning.decision import link_of, owned_rules

    from link_peer_cli.clients.whatif import suppose
    from link_peer_cli.io.drawing import Arrow

    policy = here.policy
    _, cloud, _ = suppose(here, "map")
    reader = Reader(cloud, policy)
    failed: dict[str, Exception] = {}
    for account in sorted(policy.accounts):
        try:
            reader.rules(reader.managed(account, policy.deployment), READERS)
        except (Transient, CloudError) as error:
            failed[account] = error
    ports: dict[tuple[Party, Party, tuple[str, ...]], set[Port]] = {}
    for rule, marker in owned_rules(reader.view, policy, here.settings.region):
        if rule.key is not None:
            link = link_of(rule.key, marker)
            reasons = tuple(reason.request or "tag" for reason in sorted(marker.reasons))
            ports.setdefault((link.source, link.target, reasons), set()).add(rule.key.port)
    arrows = [
        Arrow(source, target, tuple(sorted(found, key=str)), reasons)
        for (source, target, reasons), found in sorted(ports.items())
    ]
    unread = [
        f"account {account} was not read: {error}"
        for account, error in sorted({**reader.view.blocked, **failed}.items())
    ]
    return arrows, unread
