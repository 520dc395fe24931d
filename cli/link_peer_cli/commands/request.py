"""`link-peer request`: judge a request by the policy, and put it on the queue."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Mapping
from typing import Annotated, NoReturn

import typer
from link_peer.domain.denials import Denial, LinkDenied, about
from link_peer.domain.errors import BadInput, LinkPeerError, Transient
from link_peer.domain.model import Link, Party
from link_peer.domain.request import Request
from link_peer.domain.tags import unique_ports
from link_peer.inbound.requests import decode, encode
from link_peer.planning.authority import policy_denial
from link_peer.runtime.ports import Record
from rich.markup import escape

from link_peer_cli.access import instant
from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.access.inputs import BY_ID, duration, ending, is_cloud_name, matching, party, ports_of
from link_peer_cli.answers.changes import NotPosted, Posted
from link_peer_cli.audit.log import AuditReader, condition
from link_peer_cli.audit.story import ends_of
from link_peer_cli.audit.undo import unlinking
from link_peer_cli.deployed.policy import other_policy
from link_peer_cli.deployed.queue import post
from link_peer_cli.inventory.advice import verify_command
from link_peer_cli.review.claims import names_now, undo_now
from link_peer_cli.review.delivery import by_cloud_name
from link_peer_cli.review.planned import planned_file, print_planned
from link_peer_cli.ui.changes import CHANGES
from link_peer_cli.ui.console import console, print_answer, warn
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines, Ports, Until
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.records import exit_code, print_advice, print_records, print_undo

WAIT_SECONDS = 60
UNKNOWN = "0" * 16
"""The home account while the policy file was not read."""
OPTIONS = {
    "from": "--from",
    "to": "--to",
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
    action: Annotated[str, typer.Argument(help="What to ask for.", metavar="link|unlink|sync")],
    source: Annotated[
        str, typer.Option("--from", help="The party that needs access: sg-… or i-…, optionally with @<account>.")
    ],
    target: Annotated[str, typer.Option("--to", help="The party to reach.")],
    port: Ports = None,
    until: Until = "",
    expires_in: Annotated[
        str, typer.Option(help="How long the request itself stays valid: 30m, 2h; at most 24h.")
    ] = "1h",
    request_id: Annotated[str, typer.Option(help="Your own id, at most 48 characters. Default: a random one.")] = "",
    reason: Annotated[str, typer.Option(help="Why the link is needed; recorded, not verified.")] = "",
    requested_by: Annotated[str, typer.Option(help="Who asks for it; recorded, not verified.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Post nothing; print what the functions would decide now.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome and print its record.")] = False,
    timeout: Annotated[int, typer.Option(metavar="SECONDS", help="How many seconds to wait.", min=1)] = WAIT_SECONDS,
    as_json: JsonLines = False,
) -> None:
    """Judge a request by the policy file, and put it on the queue of the account that asks, or on the shared one.

    Without --port, the link is mutual: on every port, both ways. What the policy alone denies is not posted. The
    cross_account function decides about the rest.
    """
    if dry_run and wait:
        raise BadInput("--wait", "nothing is posted with --dry-run, so there is no outcome to wait for")
    now = instant.now()
    matching(action, "action", "link|unlink|sync")
    request_id = request_id or f"cli-{secrets.token_hex(4)}"

    def checked(home: str, region: str) -> Request:
        """Encode the request and decode it as cross_account will, so that an invalid one is never posted."""
        try:
            draft = Request(
                request_id,
                action,  # type: ignore[arg-type]  # decode checks it
                region,
                Link(
                    party(source, "--from", home, BY_ID),
                    party(target, "--to", home, BY_ID),
                    unique_ports(ports_of(port, "--port")),
                ),
                now + duration(expires_in, "--expires-in"),
                ending(until, "--until", now, past=True) if until else None,
                reason=reason,
                requested_by=requested_by,
            )
            decode(encode(draft), region=region, now=now)
            return draft
        except BadInput as error:
            raise BadInput(OPTIONS.get(error.field, error.field), error.problem) from None
        except LinkDenied as denied:
            if home == UNKNOWN:
                return draft
            _refuse(draft, denied.denial, as_json=as_json)

    source, target = _by_id(action, source, target)
    checked(UNKNOWN, "any")  # report invalid options before a missing environment
    env = load_environment(reading=dry_run)
    new_request = checked(env.policy.home, env.settings.region)
    asker = env.policy.accounts.get(new_request.link.source.account)
    queue = (asker and asker.queue) or env.settings.queue  # the queue proves which account asks
    if dry_run:
        _judge(env, new_request, queue, as_json=as_json)
    if denial := policy_denial(env.policy, new_request, queue, now):
        _refuse(new_request, denial, env, as_json=as_json)
    log = AuditReader(env.settings, env.clock) if wait else None
    # The same id may have outcomes of earlier requests.
    earlier_count = len(_own_outcomes(new_request, queue, log.read(_outcomes(new_request)))) if log else 0
    CHANGES.then = f"If it was posted, do not post another: link-peer audit request={request_id} shows its outcome."
    post(env.asking(queue), env.policy.home, new_request, queue)
    _say_posted(new_request, queue, wait=wait, as_json=as_json)
    if log is not None:
        records = _wait_for_outcome(log, new_request, queue, earlier_count, timeout)
        then = "" if as_json else _next(new_request, records)
        way_back = [] if as_json else undo_now(env, records)
        names = {} if as_json else names_now(env, {end for record in records for end in ends_of(record)})
        _finish(request_id, records, names, then, way_back, as_json=as_json)


def _say_posted(request: Request, queue: str, *, wait: bool, as_json: bool) -> None:
    """Print the id before waiting, and on stderr, so that it is known even if the wait is interrupted; without waiting,
    what takes it back."""
    way_back = [unlinking(request.link)] if request.action == "link" and not wait else []
    if as_json:
        print_answer(Posted(request.request_id, json.loads(encode(request)), way_back), stderr=wait)
        return
    console(stderr=wait).print(escape(f"posted to {queue} as {request.request_id}"))
    if not wait:
        print_undo(console(), way_back)
        text = "This closes it for every request. " if way_back else ""
        text += (
            f"Once it is carried out, link-peer audit --story {request.request_id} prints what takes exactly this back."
        )
        console().print(text)


def _by_id(action: str, source: str, target: str) -> tuple[str, str]:
    """The two ends, of which `unlink` takes the names in the cloud: it opens nothing."""
    if action != "unlink" or not any(map(is_cloud_name, (source, target))):
        return source, target
    env = load_environment(reading=True)
    return by_cloud_name(env, source, "--from"), by_cloud_name(env, target, "--to")


def _judge(env: Environment, request: Request, queue: str, *, as_json: bool) -> NoReturn:
    """Print what the functions would decide about a request that came through a queue, and exit by the outcome."""
    envelope = {
        "specversion": "1.0",
        "id": request.request_id,
        "subject": f"acs:mns:{env.settings.region}:{env.policy.home}:queues/{queue}",
        "data": {"messageBody": encode(request).decode()},
    }
    preview, warning = planned_file(env, json.dumps([envelope]).encode()), other_policy(env)
    code = print_planned(preview, as_json=as_json, warning=warning)
    if warning and not as_json:
        warn([warning])
    raise typer.Exit(code)


def _refuse(request: Request, denial: Denial, env: Environment | None = None, *, as_json: bool) -> NoReturn:
    """Say why a request is not posted, and exit. With `env`, its policy file is what decided."""
    denial = about(denial, request.action, request.link, request.region)
    path = env.settings.policy_path if env else ""
    warning = other_policy(env) if env else ""
    if as_json:
        print_answer(
            NotPosted(
                request.request_id,
                posted=None,
                outcome=denial.outcome,
                reason=denial.reason.code,
                detail=denial.detail,
                advice=denial.advice,
                policy=path,
                warning=warning,
            )
        )
        raise typer.Exit(Exit.REFUSED)
    err = console(stderr=True)
    err.print(f"[red]not posted: {escape(str(denial))}[/red]")
    print_advice(err, [denial.advice])
    if path:
        err.print(escape(f"The policy file {path} decides this. LINK_PEER_POLICY names another."))
    if warning:
        warn([f"{warning}. Take the deployed file, and run this again"])
    raise typer.Exit(Exit.REFUSED)


def _outcomes(request: Request) -> str:
    link = request.link.id(request.region) if request.action == "link" else ""
    return condition({"record": "outcome", "request_id": request.request_id, "action": request.action, "link": link})


def _own_outcomes(request: Request, queue: str, records: list[Record]) -> list[Record]:
    """The outcomes of this very request, not of a namesake's: through its queue, where one is proven, between its
    accounts; and between its parties, but for a sync, which asks for the link that tags name."""

    def ends(source: Party, target: Party) -> set[Party | str]:
        return {source.account, target.account} if request.action == "sync" else {source, target}

    expected_ends = ends(request.link.source, request.link.target)
    return [
        record
        for record in records
        if record.get("queue", "") in ("", queue) and ends(*ends_of(record)) == expected_ends
    ]


def _wait_for_outcome(log: AuditReader, request: Request, queue: str, earlier_count: int, seconds: int) -> list[Record]:
    """The outcomes after the `earlier_count` first ones."""
    query, request_id = _outcomes(request), request.request_id
    try:
        with waiting(f"waiting for the outcome of {request_id}"):
            outcomes = log.wait(
                query,
                lambda records: len(_own_outcomes(request, queue, records)) > earlier_count,
                since=0,
                seconds=seconds,
            )
            return _own_outcomes(request, queue, outcomes)[earlier_count:]
    except Transient as error:
        hint = f"it may arrive later: link-peer audit request={request_id}"
        CHANGES.clear()  # that it was posted is said
        raise LinkPeerError(f"{request_id}: {error}; {hint}") from error


def _next(request: Request, records: list[Record]) -> str:
    """The command that tests a link which was opened; for one whose packets do not pass, the one that says why."""
    effects = [record.get("effect") for record in records if record["outcome"] == "applied"]
    if not effects:
        return ""
    link = request.link
    if "blocked" in effects:
        ports = ["+".join(map(str, link.ports))] if link.ports else []
        return f"see what stops its packets: {shlex.join(['link-peer', 'explain', str(link.source), str(link.target), *ports])}"
    return f"test it with a packet: {verify_command(link.source, link.target, link.ports)}"


def _finish(
    request_id: str, records: list[Record], names: Mapping[str, str], then: str, way_back: list[str], *, as_json: bool
) -> NoReturn:
    if as_json:
        for record in records:
            print_answer(record)
    else:
        print_records(console(), f"outcome of {request_id}", records, names=names)
        if then:
            console().print(escape(then))
        print_undo(console(), way_back)
    raise typer.Exit(exit_code(records))
