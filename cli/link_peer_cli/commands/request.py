"""`link-peer request`: ask for a link between two parties, on the queue."""

from __future__ import annotations

import json
import secrets
from typing import Annotated

import typer
from rich.markup import escape

from link_peer_cli.io.console import console, show

WAIT_SECONDS = 60
OPTIONS = {
    "from": "--from",
    "to": "--to",
    "port": "--port",
    "ports": "--port",
    "instant": "--until",
    "until": "--until",
    "expires_at": "--expires-in",
    "request_id": "--request-id",
    "reason": "--reason",
    "requested_by": "--requested-by",
}
"""Where each field of a request comes from here."""


def request(
    action: Annotated[str, typer.Argument(help="link, unlink or sync.", metavar="link|unlink|sync")],
    source: Annotated[str, typer.Option("--from", help="Who shall reach the other: sg-… or i-…, or with @<uid>.")],
    target: Annotated[str, typer.Option("--to", help="Who shall be reached.")],
    port: Annotated[
        list[str] | None, typer.Option(help="tcp/3306, udp/53, icmp; again for more. None: mutual.")
    ] = None,
    until: Annotated[str, typer.Option(help="When the link ends: 2027-01-01T00:00:00Z.")] = "",
    expires_in: Annotated[
        str, typer.Option(help="How long the request itself is good for: 30m, 2h; at most 24h.")
    ] = "1h",
    request_id: Annotated[str, typer.Option(help="Your own id, at most 48 characters. Else one is drawn.")] = "",
    reason: Annotated[str, typer.Option(help="Why; recorded as a claim.")] = "",
    requested_by: Annotated[str, typer.Option(help="Who asks; recorded as a claim.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome, and print its record.")] = False,
    timeout: Annotated[int, typer.Option(help="Seconds to wait.", min=1)] = WAIT_SECONDS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Validate a request and post it to the queue. What becomes of it, cross_account decides: the queue has no authority."""
    from link_peer.alicloud.mns import MnsQueue
    from link_peer.domain.errors import BadInput, LinkPeerError, Transient
    from link_peer.domain.model import Link
    from link_peer.domain.tags import parse_instant, parse_port, unique_ports
    from link_peer.inbound.requests import Request, decode, encode
    from link_peer.runtime import delivery

    from link_peer_cli.clients.log import AuditLog, condition
    from link_peer_cli.io.inputs import duration, opened, party
    from link_peer_cli.io.records import exit_code, print_records

    now = delivery.clock_for_functions().now()
    request_id = request_id or f"cli-{secrets.token_hex(4)}"

    def form(home: str, region: str) -> bytes:
        """The message, read as cross_account will: nothing is posted that it would refuse."""
        try:
            asked = Request(
                request_id,
                action,  # type: ignore[arg-type]  # decode says whether it is one
                region,
                Link(
                    party(source, "--from", home),
                    party(target, "--to", home),
                    unique_ports([parse_port(text) for text in port or []]),
                ),
                now + duration(expires_in, "--expires-in"),
                int(parse_instant(until)) if until else None,
                reason,
                requested_by,
            )
            body = encode(asked)
            decode(body, region=region, now=now)
        except BadInput as error:
            raise BadInput(OPTIONS.get(error.field, error.field), error.problem) from None
        return body

    form("0" * 16, "any")  # what is wrong with the options is said before what the environment lacks
    here = opened()
    settings, home = here.settings, here.policy.home
    body = form(home, settings.region)
    log = AuditLog(settings, here.clock) if wait else None
    query = condition({"record": "outcome", "request_id": request_id})
    known = len(log.read(query)) if log else 0
    MnsQueue(settings, home).post(body)
    # before the outcome, and apart from it: whoever does not wait to the end has the id
    if as_json:
        show({"request_id": request_id, "posted": json.loads(body)}, stderr=wait)
    else:
        console(stderr=wait).print(escape(f"posted to {settings.queue} as {request_id}"), soft_wrap=True)
    if log is None:
        return
    try:
        found = log.wait(query, lambda records: len(records) > known, since=0, seconds=timeout)[known:]
    except Transient as error:
        more = f"it may still come: link-peer audit --request {request_id}"
        raise LinkPeerError(f"{request_id}: {error}; {more}") from None
    if as_json:
        for record in found:
            show(record)
    else:
        print_records(console(), f"outcome of {request_id}", found)
    raise typer.Exit(exit_code(found))
