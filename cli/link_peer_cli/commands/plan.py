"""`link-peer plan`: preview what an event, a request or an instance would change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.policy import Policy
from link_peer.domain.tags import is_instance_id
from link_peer.inbound import events
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment, policy_file
from link_peer_cli.access.inputs import by_id, document, is_cloud_name, party
from link_peer_cli.answers.changes import PolicyPlan
from link_peer_cli.deployed.policy import deployed_policies
from link_peer_cli.inventory.shown import wording
from link_peer_cli.review import permitted
from link_peer_cli.review.comparing import compare, reach_lines, reach_section
from link_peer_cli.review.delivery import by_cloud_name
from link_peer_cli.review.input import Input, PlannedLook, understood
from link_peer_cli.review.planned import Planned, planned, planned_file, print_planned
from link_peer_cli.review.plans import COLOURS, ShownPlan, print_plan, print_saved, sections, total
from link_peer_cli.review.saved import require_replaceable, save
from link_peer_cli.ui import markdown
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import Commands, Detailed, Json, Markdown, Out, Output, Rest, plan_form
from link_peer_cli.ui.progress import counter, progress_bar, waiting
from link_peer_cli.ui.remedies import message
from link_peer_cli.ui.tables import TableForm

VERBS = ("open", "change", "close")
"""What another policy does to rules."""


def plan(
    what: Annotated[
        str,
        typer.Argument(
            help="An instance (id or name), or a file with an event or a request, or with an array of them; - for stdin."
        ),
    ] = "",
    policy: Annotated[
        str,
        typer.Option(help="Instead: a policy file, to see what it would open and close, and what could open under it."),
    ] = "",
    against: Annotated[
        str, typer.Option(help="With --policy: a policy file to compare it with, offline, instead of what is deployed.")
    ] = "",
    commands: Commands = False,
    as_markdown: Markdown = False,
    rest: Rest = "",
    detailed: Detailed = False,
    out: Out = "",
    output: Output = TableForm.TABLE,
    as_json: Json = False,
) -> None:
    """Preview what would change, group by group. Changes nothing and writes no audit record.

    A request in a file is judged as one of the queue that all accounts share: a file proves nothing about who asks.
    """
    form = plan_form(output, as_json=as_json)
    as_json = form is TableForm.JSON
    if bool(what) == bool(policy):
        raise BadInput("plan", "give an instance, a file of events or requests, or --policy FILE")
    if rest and (as_json or not as_markdown):
        raise BadInput("--rest", "only with --markdown")
    if against and not policy:
        raise BadInput("--against", "only with --policy")
    if policy:
        if commands:
            raise BadInput("--commands", "a policy is deployed, not carried out by commands")
        if out:
            raise BadInput("--out", f"a policy is deployed, not applied: link-peer package; s deploy -y, with {policy}")
        _plan_policy(policy, against, form, as_markdown=as_markdown, rest=rest, detailed=detailed)
    made = _plan_what(what, out)
    code = print_planned(
        made,
        commands=commands,
        as_markdown=as_markdown,
        rest=rest,
        detailed=detailed,
        as_json=as_json,
        wide=form is TableForm.WIDE,
    )
    if out and not as_json:
        print_saved(out)
    raise typer.Exit(code)


def _plan_what(what: str, out: str) -> Planned:
    """Plan an instance or a file, and save the plan if `out` names a file."""
    file = Path(what).suffix == ".json" or what == "-" or Path(what).exists()
    named = is_instance_id(by_id(what).partition("@")[0]) or (is_cloud_name(what) and not file)
    raw = None if named else document(what)
    if raw is not None:
        try:  # report an invalid file before a missing environment
            events.elements(raw, events.MAX_BATCH_BYTES)
        except BadInput as error:
            raise BadInput("stdin" if what == "-" else what, error.problem) from None
    if out:
        require_replaceable(out)
    env = load_environment(reading=True)
    asked = Input()
    if raw is not None:
        asked = understood(env, raw) if out else asked
        with waiting("reading the groups"):
            made = planned_file(env, raw)
    else:
        instance = party(by_cloud_name(env, what, "instance"), "instance", env.policy.home)
        if instance.is_group:
            raise BadInput("instance", f"{what} is a group: name an instance of it")
        if instance.account != env.policy.home:
            raise BadInput(
                "instance", f"{what} is not in the home account: link-peer sweep --dry-run covers all accounts"
            )
        asked = Input((PlannedLook(instance.id, "tags"),))
        with waiting("reading the groups"):
            made = planned(env, asked)
    if out:
        save(out, env, asked, made.writes)
    return made


def _plan_policy(path: str, against: str, form: TableForm, *, as_markdown: bool, rest: str, detailed: bool) -> NoReturn:
    new, problems, now = policy_file(path, "--policy"), list[str](), None
    if against:
        olds, name = [policy_file(against, "--against")], against
    else:
        env = load_environment(reading=True)
        olds, name, problems = _in_use(env)
        with progress_bar(unless=form is TableForm.JSON) as bar:
            count = counter(bar, "accounts read", "groups read")
            now = compare(msgspec.structs.replace(env, policy=olds[0]), new, count)
    found = permitted.differences(olds, new)
    shown = ShownPlan(now.groups, now.records, [], wording(new, 0)) if now else None
    problems, notes = [*problems, *(now.problems if now else ())], now.notes if now else []
    if form is TableForm.JSON:
        changes = (shown.group_plans, shown.counts, list(now.reach)) if now and shown else ()
        print_answer(PolicyPlan(permitted.answers(found), name, notes, problems, *changes))
    elif as_markdown:
        said = [reach_section(now.reach), *sections(shown)] if now and shown else []
        said = [permitted.section(found), *said, markdown.notes([*problems, *notes])]
        counts = [*([total(shown, VERBS)] if shown else ()), permitted.total(found, name)]
        print(markdown.document(f"What {path} would open and close", " ".join(counts), said, rest))
    else:
        for colour, texts in (("red", problems), ("yellow", notes)):
            for text in texts:
                console().print(f"[{colour}]{escape(text)}[/{colour}]", soft_wrap=True)
        permitted.print_permissions(console(), found, name)
        if now and shown:
            for sign, text in reach_lines(now.reach):
                line = escape(f"{sign} {shown.words.said(text)}")
                console().print(f"[{COLOURS[sign]}]{line}[/{COLOURS[sign]}]", soft_wrap=True)
            print_plan(console(), shown, verbs=VERBS, wide=form is TableForm.WIDE)
    if problems:
        raise typer.Exit(Exit.REFUSED)
    raise typer.Exit(Exit.CHANGES if detailed and (permitted.is_wider(found) or (now and now.groups)) else Exit.DONE)


def _in_use(env: Environment) -> tuple[list[Policy], str, list[str]]:
    """The policies that are deployed, else the one of the file in use; what that is, and why what is deployed is not known."""
    name = env.settings.policy_path
    try:
        deployed = deployed_policies(env.settings, env.names)
    except LinkPeerError as error:
        return [env.policy], name, [f"{message(error)}; compared with {name}"]
    return (deployed, "what is deployed", []) if deployed else ([env.policy], f"{name} (no function is deployed)", [])
