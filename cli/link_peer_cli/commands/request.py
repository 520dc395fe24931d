"""`link-peer request`: put a request for a link on the queue."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from link_peer_cli.io.console import console, print_json
from link_peer_cli.io.options import JsonLines

if TYPE_CHECKING:
    from link_peer.runtime.ports import Record
from link_peer_cli.clients.log import AuditLog

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
"""The option that sets each field of a request."""


def request(
    action: Annotated[str, typer.Argument(help="link, unlink or sync.", metavar="link|unlink|sync")],
    source: Annotated[
        str, typer.Option("--from", help="The party that needs access: sg-… or i-…, optionally with @<account>.")
    ],
    target: Annotated[str, typer.Option("--to", help="The party to reach.")],
    port: Annotated[
        list[str] | None,
        typer.Option(help="tcp/3306, udp/53 or icmp; repeat for more. Default: a mutual link on everything."),
    ] = None,
    until: Annotated[str, typer.Option(help="When the link ends: 2027-01-01T00:00:00Z.")] = "",
    expires_in: Annotated[
        str, typer.Option(help="How long the request itself stays valid: 30m, 2h; at most 24h.")
    ] = "1h",
    request_id: Annotated[str, typer.Option(help="Your own id, at most 48 characters. Default: a random one.")] = "",
    reason: Annotated[str, typer.Option(help="Why the link is needed; recorded, not verified.")] = "",
    requested_by: Annotated[str, typer.Option(help="Who asks for it; recorded, not verified.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome and print its record.")] = False,
    timeout: Annotated[int, typer.Option(help="How many seconds to wait.", min=1)] = WAIT_SECONDS,
    as_json: JsonLines = False,
) -> None:
    """Validate a request and put it on the queue of the account that asks, or on the shared one.

    The cross_account function then decides whether the link is allowed.
    """
    from link_peer.domain.errors import BadInput
    from link_peer.domain.model import Link
    from link_peer.domain.request import Request
    from link_peer.domain.tags import parse_instant, parse_port, unique_ports
    from link_peer.inbound.requests import decode, encode
    from link_peer.runtime import compose

    from link_peer_cli.clients.log import AuditLog
    from link_peer_cli.clients.queue import post
    from link_peer_cli.io.environment import load_environment
    from link_peer_cli.io.inputs import duration, party

    now = compose.clock_for_functions().now()
    request_id = request_id or f"cli-{secrets.token_hex(4)}"

    def checked(home: str, region: str) -> Request:
        """Encode the request and decode it as cross_account will, so that an invalid one is never posted."""
        try:
            asked = Request(
                request_id,
                action,  # type: ignore[arg-type]  # decode checks it
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
            decode(encode(asked), region=region, now=now)
            return asked
        except BadInput as error:
            raise BadInput(OPTIONS.get(error.field, error.field), error.problem) from None

    checked("0" * 16, "any")  # report invalid options before a missing environment
    env = load_environment(reading=False)
    asked = checked(env.policy.home, env.settings.region)
    log = AuditLog(env.settings, env.clock) if wait else None
    # The same id may have outcomes of earlier requests.
    known = len(log.read(_outcomes(request_id))) if log else 0
    asker = env.policy.accounts.get(asked.link.source.account)
    queue = (asker and asker.queue) or env.settings.queue  # the queue proves which account asks
    post(env.settings, env.policy.home, asked, queue)
    # Print the id before waiting, and on stderr, so that it is known even if the wait is interrupted.
    if as_json:
        print_json({"request_id": request_id, "posted": json.loads(encode(asked))}, stderr=wait)
    else:
        console(stderr=wait).print(escape(f"posted to {queue} as {request_id}"), soft_wrap=True)
    if log is not None:
        _finish(request_id, _wait_for_outcome(log, request_id, known, timeout), as_json=as_json)


def _outcomes(request_id: str) -> str:
    from link_peer_cli.clients.query import condition

    return condition({"record": "outcome", "request_id": request_id})


def _wait_for_outcome(log: AuditLog, request_id: str, known: int, seconds: int) -> list[Record]:
    """The outcomes after the `known` first ones."""
    from link_peer.domain.errors import LinkPeerError, Transient

    query = _outcomes(request_id)
    try:
        return log.wait(query, lambda records: len(records) > known, since=0, seconds=seconds)[known:]
    except Transient as error:
        hint = f"it may arrive later: link-peer audit --request {request_id}"
        raise LinkPeerError(f"{request_id}: {error}; {hint}") from None


def _finish(request_id: str, records: list[Record], *, as_json: bool) -> None:
    from link_peer_cli.io.records import exit_code, print_records

    if as_json:
        for record in records:
            print_json(record)
    else:
        print_records(console(), f"outcome of {request_id}", records)
    raise typer.Exit(exit_code(records))
