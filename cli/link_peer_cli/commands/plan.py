"""`link-peer plan`: preview what an event, a request or an instance would change."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.policy import Policy
from link_peer.domain.tags import is_instance_id, quoted
from link_peer.inbound import events
from link_peer.planning.consent import TAG_VALUE
from link_peer.views.permissions import PermissionDifference
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment, policy_file
from link_peer_cli.access.inputs import by_id, document, is_cloud_name, party
from link_peer_cli.answers.changes import PolicyPlan
from link_peer_cli.deployed.policy import deployed_policies
from link_peer_cli.inventory.shown import wording
from link_peer_cli.review import permitted
from link_peer_cli.review.comparing import Compared, compare, reach_lines, reach_section
from link_peer_cli.review.delivery import by_cloud_name
from link_peer_cli.review.input import Input, PlannedLook, understood
from link_peer_cli.review.planned import Planned, planned, planned_file, print_planned
from link_peer_cli.review.plans import COLOURS, ShownPlan, print_plan, print_saved, sections, total
from link_peer_cli.review.saved import require_replaceable, save
from link_peer_cli.ui import markdown
from link_peer_cli.ui.console import console, print_answer, warn
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import Commands, Detailed, Json, Markdown, Out, Output, Tagged, WholePlanFile, plan_form
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
    tag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="With an instance: as if it had this tag; without a value, as if it had none with this key. May be repeated.",
        ),
    ] = None,
    policy: Annotated[
        str,
        typer.Option(help="Instead: a policy file, to see what it would open and close, and what could open under it."),
    ] = "",
    against: Annotated[
        str, typer.Option(help="With --policy: a policy file to compare it with, offline, instead of what is deployed.")
    ] = "",
    tagged: Tagged = False,
    commands: Commands = False,
    as_markdown: Markdown = False,
    whole_plan_path: WholePlanFile = "",
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
    if whole_plan_path and (as_json or not as_markdown):
        raise BadInput("--rest", "only with --markdown")
    for option, value in (("--against", against), ("--tagged", tagged)):
        if value and not policy:
            raise BadInput(option, "only with --policy")
    if against and tagged:
        raise BadInput("--tagged", "with --against nothing is read")
    if policy:
        _check_policy(policy, out, tag=bool(tag), commands=commands)
        _plan_policy(
            policy,
            against,
            form,
            tagged=tagged,
            as_markdown=as_markdown,
            whole_plan_path=whole_plan_path,
            detailed=detailed,
        )
    preview = _plan_what(what, out, _tags(tag))
    code = print_planned(
        preview,
        commands=commands,
        as_markdown=as_markdown,
        whole_plan_path=whole_plan_path,
        detailed=detailed,
        as_json=as_json,
        wide=form is TableForm.WIDE,
    )
    if out and not as_json:
        print_saved(out)
    raise typer.Exit(code)


def _check_policy(policy: str, out: str, *, tag: bool, commands: bool) -> None:
    """Raise BadInput for options that do not go with --policy."""
    if tag:
        raise BadInput("--tag", "only with an instance")
    if commands:
        raise BadInput("--commands", "a policy is deployed, not carried out by commands")
    if out:
        raise BadInput("--out", f"a policy is deployed, not applied: link-peer package; s deploy -y, with {policy}")


def _tags(texts: Sequence[str] | None) -> dict[str, str | None]:
    """The tags that are supposed, None for one that is taken off."""
    tags: dict[str, str | None] = {}
    for text in texts or ():
        key, separator, value = text.partition("=")
        if not (key and separator) or len(key) > TAG_VALUE or len(value) > TAG_VALUE:
            raise BadInput("--tag", f"{quoted(text)} is not KEY=VALUE, each of at most {TAG_VALUE} characters")
        tags[key] = value or None
    return tags


def _plan_what(subject: str, out: str, tags: Mapping[str, str | None]) -> Planned:
    """Plan an instance, as if it had these tags, or a file, and save the plan if `out` names a file."""
    file = Path(subject).suffix == ".json" or subject == "-" or Path(subject).exists()
    is_instance = is_instance_id(by_id(subject).partition("@")[0]) or (is_cloud_name(subject) and not file)
    if tags and not is_instance:
        raise BadInput("--tag", "only with an instance")
    if tags and out:
        raise BadInput("--out", "what tags that are not there would change cannot be applied: set the tags")
    raw = None if is_instance else document(subject)
    if raw is not None:
        try:  # report an invalid file before a missing environment
            events.elements(raw, events.MAX_BATCH_BYTES)
        except BadInput as error:
            raise BadInput("stdin" if subject == "-" else subject, error.problem) from None
    if out:
        require_replaceable(out)
    env = load_environment(reading=True)
    plan_input = Input()
    if raw is not None:
        plan_input = understood(env, raw) if out else plan_input
        with waiting("reading the groups"):
            preview = planned_file(env, raw)
    else:
        instance = party(by_cloud_name(env, subject, "instance"), "instance", env.policy.home)
        if instance.is_group:
            raise BadInput("instance", f"{subject} is a group: name an instance of it")
        if instance.account != env.policy.home:
            raise BadInput(
                "instance", f"{subject} is not in the home account: link-peer sweep --dry-run covers all accounts"
            )
        plan_input = Input((PlannedLook(instance.id, "tags"),))
        with waiting("reading the groups"):
            preview = planned(env, plan_input, retagged={instance: tags} if tags else None)
    if out:
        save(out, env, plan_input, preview.writes)
    return preview


def _plan_policy(
    path: str, against: str, form: TableForm, *, tagged: bool, as_markdown: bool, whole_plan_path: str, detailed: bool
) -> NoReturn:
    new, problems, now = policy_file(path, "--policy"), list[str](), None
    is_text = form is not TableForm.JSON and not as_markdown
    olds, name = [policy_file(against, "--against")] if against else [], against
    env = None if against else load_environment(reading=True)
    if env:
        olds, name, problems = _in_use(env)
        env = msgspec.structs.replace(env, policy=olds[0])
    differences = permitted.differences(olds, new)
    print_permissions = functools.partial(permitted.print_permissions, changes=differences, against=name)
    is_early = is_text and (sys.stdout.isatty() or not env)
    if is_early:  # before the cloud is read: it depends on the policies alone
        print_permissions(console())
    if env:
        with progress_bar(unless=form is TableForm.JSON) as bar:
            now = compare(env, new, counter(bar, "accounts read", "groups read"), tagged=tagged)
        if is_text:
            _print_notes(now, problems)
            if not is_early:
                print_permissions(console())
            _print_compared(now, new, wide=form is TableForm.WIDE)
        with progress_bar(unless=form is TableForm.JSON) as bar:
            elsewhere = now.elsewhere(env, new, counter(bar, "groups read"))
        if is_text and elsewhere:
            console().print("[bold]on groups that have lost the tag of link-peer[/bold]")
            plan_elsewhere = ShownPlan(elsewhere, now.records, [], wording(new, 0, now.view.scene))
            print_plan(console(), plan_elsewhere, verbs=VERBS, wide=form is TableForm.WIDE)
        now = msgspec.structs.replace(now, groups=[*now.groups, *elsewhere])
        warn([now.view.gap])
    problems = [*problems, *(now.problems if now else ())]
    if not is_text:
        _print_document(path, name, differences, problems, now, new, form, whole_plan_path)
    if problems:
        raise typer.Exit(Exit.REFUSED)
    raise typer.Exit(
        Exit.CHANGES
        if detailed and (permitted.is_wider(differences) or (now and (now.groups or now.stranded)))
        else Exit.DONE
    )


def _rule_plan(now: Compared, new: Policy) -> ShownPlan:
    unchanged = {"unchanged": "No rule would change, and links would be left behind."} if now.stranded else {}
    return ShownPlan(now.groups, now.records, [], wording(new, 0, now.view.scene), **unchanged)


def _print_notes(now: Compared, problems: Sequence[str]) -> None:
    for colour, texts in (("red", [*problems, *now.problems]), ("yellow", [*now.notes, *now.stranded])):
        for text in texts:
            console().print(f"[{colour}]{escape(text)}[/{colour}]")


def _print_compared(now: Compared, new: Policy, *, wide: bool) -> None:
    """Print what another policy would change now, as far as the sweeps read that are supposed."""
    rule_plan = _rule_plan(now, new)
    for sign, text in reach_lines(now.reach):
        words = rule_plan.words.by_ids if wide else rule_plan.words
        line = escape(f"{sign} {words.worded(text)}")
        console().print(f"[{COLOURS[sign]}]{line}[/{COLOURS[sign]}]")
    print_plan(console(), rule_plan, verbs=VERBS, wide=wide)


def _print_document(
    path: str,
    name: str,
    differences: Sequence[PermissionDifference],
    problems: list[str],
    now: Compared | None,
    new: Policy,
    form: TableForm,
    whole_plan_path: str,
) -> None:
    """Print all of it as JSON or as Markdown."""
    rule_plan, notes = _rule_plan(now, new) if now else None, [*now.notes, *now.stranded] if now else []
    if form is TableForm.JSON:
        changes = (rule_plan.group_plans, rule_plan.counts, list(now.reach)) if now and rule_plan else ()
        print_answer(PolicyPlan(permitted.answers(differences), name, notes, problems, *changes))
        return
    document_sections = [reach_section(now.reach), *sections(rule_plan)] if now and rule_plan else []
    document_sections = [permitted.section(differences), *document_sections, markdown.notes([*problems, *notes])]
    counts = [*([total(rule_plan, VERBS)] if rule_plan else ()), permitted.total(differences, name)]
    print(markdown.document(f"What {path} would open and close", " ".join(counts), document_sections, whole_plan_path))


def _in_use(env: Environment) -> tuple[list[Policy], str, list[str]]:
    """The policies that are deployed, else the one of the file in use; what that is, and why what is deployed is not
    known."""
    name = env.settings.policy_path
    try:
        deployed = deployed_policies(env.settings, env.names)
    except LinkPeerError as error:
        return [env.policy], name, [f"{message(error)}; compared with {name}"]
    return (deployed, "what is deployed", []) if deployed else ([env.policy], f"{name} (no function is deployed)", [])
