"""`link-peer plan`: preview what an event, a request or an instance would change."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, NoReturn

import msgspec
import typer

from link_peer_cli.io.console import console, print_json
from link_peer_cli.io.exits import Exit
from link_peer_cli.io.options import Commands, Detailed, Json, Markdown
from link_peer_cli.io.progress import waiting

if TYPE_CHECKING:
    from link_peer.domain.hint import Hint
    from link_peer.runtime.ports import Record

    from link_peer_cli.clients.whatif.cloud import Change
    from link_peer_cli.io.environment import Environment
    from link_peer_cli.review.plans import Shown


def plan(
    what: Annotated[
        str, typer.Argument(help="An instance's id, or a file with one or an array of events or requests; - for stdin.")
    ] = "",
    policy: Annotated[
        str, typer.Option(help="Instead: a policy file, to see what it would open and close in all accounts.")
    ] = "",
    commands: Commands = False,
    as_markdown: Markdown = False,
    detailed: Detailed = False,
    as_json: Json = False,
) -> None:
    """Preview what would change, group by group. Changes nothing and writes no audit record."""
    from link_peer.domain.errors import BadInput
    from link_peer.domain.hint import Hint
    from link_peer.domain.tags import is_instance_id
    from link_peer.inbound import events

    from link_peer_cli.io.environment import load_environment
    from link_peer_cli.io.inputs import document, party

    if bool(what) == bool(policy):
        raise BadInput("plan", "give an instance, a file of events or requests, or --policy FILE")
    if policy:
        if commands:
            raise BadInput("--commands", "a policy is deployed, not carried out by commands")
        _plan_policy(policy, as_markdown=as_markdown, detailed=detailed, as_json=as_json)
    raw = None if is_instance_id(what.partition("@")[0]) else document(what)
    if raw is not None:
        events.elements(raw, events.MAX_BATCH_BYTES)  # report an invalid file before a missing environment
    env = load_environment(reading=True)
    if raw is not None:
        hints = []
    else:
        instance = party(what, "instance", env.policy.home)
        if instance.account != env.policy.home:
            raise BadInput(
                "instance", f"{what} is not in the home account: link-peer sweep --dry-run covers all accounts"
            )
        hints = [Hint("plan", instance, "tags")]
    with waiting("reading the groups"):
        made = planned(env, raw or b"", hints)
    raise typer.Exit(
        print_planned(made, commands=commands, as_markdown=as_markdown, detailed=detailed, as_json=as_json)
    )


def print_planned(
    made: Planned,
    *,
    commands: bool = False,
    as_markdown: bool = False,
    detailed: bool = False,
    as_json: bool = False,
    warning: str = "",
) -> Exit:
    """Print what the functions would do, and return the exit code. A `warning` is part of the JSON document only."""
    from link_peer_cli.io.records import exit_code
    from link_peer_cli.review.plans import documents, markdown, print_plan

    shown, code = made.shown, exit_code(made.records)
    if as_json:
        calls = [msgspec.to_builtins(change) for change in made.changes]
        said = {"warning": warning} if warning else {}
        print_json({"decisions": made.records, "commands": calls, **documents(shown), **said})
    elif as_markdown:
        print(markdown(shown, "What would change", ("add", "change", "remove")))
    else:
        print_plan(console(), shown, made.changes if commands else None)
    return Exit.CHANGES if detailed and code is Exit.DONE and shown.groups else code


def _plan_policy(path: str, *, as_markdown: bool, detailed: bool, as_json: bool) -> NoReturn:
    from rich.markup import escape
    from rich.progress import Progress

    from link_peer_cli.io.environment import load_environment, policy_file
    from link_peer_cli.review.comparing import compare
    from link_peer_cli.review.plans import Shown, documents, markdown, print_plan

    new = policy_file(path, "--policy")
    env = load_environment(reading=True)
    err = console(stderr=True)
    with Progress(console=err, transient=True, disable=as_json or not err.is_terminal) as bar:
        tasks = {what: bar.add_task(what, total=None) for what in ("accounts read", "groups read")}
        found = compare(env, new, lambda what, done, all_: bar.update(tasks[what], completed=done, total=all_))
    shown = Shown(found.groups, found.records, [])
    failed = [f"a test of the policy fails: {text}" for text in found.failing]
    failed += [f"{what} could not be read: {why}" for what, why in found.gaps.items()]
    notes = list(found.cautions)
    if found.due:
        notes.append(f"{found.due} more changes are due under the present policy, too: link-peer sweep --dry-run")
    if as_json:
        print_json({**documents(shown), "notes": notes, "problems": failed})
    elif as_markdown:
        text = markdown(shown, f"What {path} would open and close", VERBS)
        print("\n".join([text, *(f"\n> `{note.replace('`', chr(39))}`" for note in [*failed, *notes])]))
    else:
        for colour, texts in (("red", failed), ("yellow", notes)):
            for text in texts:
                console().print(f"[{colour}]{escape(text)}[/{colour}]", soft_wrap=True)
        print_plan(console(), shown, verbs=VERBS)
    if failed:
        raise typer.Exit(Exit.REFUSED)
    raise typer.Exit(Exit.CHANGES if detailed and shown.groups else Exit.DONE)


VERBS = ("open", "change", "close")
"""What another policy does to rules."""


class Planned(msgspec.Struct, frozen=True):
    """The records and calls that the functions would make, and the same for people."""

    records: list[Record]
    changes: list[Change]
    shown: Shown


def planned(env: Environment, raw: bytes, hints: Sequence[Hint] = ()) -> Planned:
    """Return the records and the changes that the functions would make of a file's elements, or of hints.

    The records are outcomes, attempts (the delivery would be retried) and failed summaries (removals would be held).
    The functions' own code runs, also for the messages that they would post for delivery at once.
    """
    from link_peer.inbound import dispatch, events
    from link_peer.inbound.requests import encode

    from link_peer_cli.clients.whatif.delivery import suppose
    from link_peer_cli.clients.whatif.edits import with_instances
    from link_peer_cli.review.plans import Shown, notable

    delivery, cloud, kept = suppose(env, "plan")
    elements: dict[str, list[object]] = {"auto_link": [], "cross_account": [], "sweep": []}
    for element in events.elements(raw, events.MAX_BATCH_BYTES) if raw else ():
        elements[dispatch.function_of(element)].append(element)
    bare = raw and len(elements["cross_account"]) == 1 and "request_id" in elements["cross_account"][0]  # type: ignore[operator]
    messages = [raw.decode("utf-8", "replace")] if bare else elements["cross_account"]
    with _unless_recorded():
        dispatch.handle_event_elements(elements["auto_link"], delivery)
    with _unless_recorded():
        if hints:
            dispatch.handle_hints(hints, delivery)
    done: set[str] = set()
    while True:
        posted = {one.request_id: one for one in kept.posted if one.request_id not in done}
        if not messages and not posted:
            break
        done |= posted.keys()
        with _unless_recorded():
            dispatch.handle_elements([*messages, *(encode(one).decode() for one in posted.values())], delivery)
        messages = []
    with _unless_recorded():
        if elements["sweep"]:
            dispatch.handle_timer(b"", delivery)
    shown = [r for r in kept.records if r["record"] in ("outcome", "attempt") or r.get("outcome") == "failed"]
    groups = with_instances(delivery, cloud.changed_groups())
    return Planned(shown, cloud.changes, Shown(groups, kept.records, notable(shown)))


@contextlib.contextmanager
def _unless_recorded() -> Iterator[None]:
    """Ignore trouble that an `attempt` record shows, so that it stops only its own element."""
    from link_peer.domain.errors import RedeliveryNeeded

    with contextlib.suppress(RedeliveryNeeded):
        yield
