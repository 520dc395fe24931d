"""What the functions would do with an event, a request or an instance, decided by their own code."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from link_peer.app import dispatch, sweeps
from link_peer.domain.model import Group, Instance, Party
from link_peer.domain.request import Message
from link_peer.planning.room import in_doubt
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Record
from rich.markup import escape

from link_peer_cli.access.environment import Environment
from link_peer_cli.answers import CloudCall
from link_peer_cli.answers.changes import PlanAnswer
from link_peer_cli.consent.entries import notes
from link_peer_cli.inventory.shown import scene_of, wording
from link_peer_cli.review.cloud import WhatIf
from link_peer_cli.review.delivery import Recorder, as_tagged, suppose
from link_peer_cli.review.edits import with_instances
from link_peer_cli.review.input import Input, elements_of, look, run, run_messages, unless_recorded
from link_peer_cli.review.plans import ShownPlan, notable, print_plan, sections, total
from link_peer_cli.review.writes import Write
from link_peer_cli.ui import markdown
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.progress import Count
from link_peer_cli.ui.records import exit_code


class Planned(msgspec.Struct, frozen=True):
    """The records and calls that the functions would make, for programs and for people."""

    records: list[Record]
    changes: list[CloudCall]
    writes: list[Write]  # the calls one by one
    plan_view: ShownPlan
    notes: list[str]  # tags that only look like those of link-peer, on what was read, and groups that may be too full

    def answer(self, warning: str = "") -> PlanAnswer:
        """The same for programs."""
        fields = (self.records, self.changes, self.plan_view.group_plans, self.plan_view.counts, self.notes)
        return PlanAnswer(*fields, warning or msgspec.UNSET)


def planned(
    env: Environment,
    plan_input: Input,
    progress: Count = lambda *_: None,
    retagged: Mapping[Party, Mapping[str, str | None]] | None = None,
) -> Planned:
    """Return the records and the changes that the functions would make; if instances were `retagged`, those that they
    would make then, the next full sweep included.

    The records are outcomes, attempts (the delivery would be retried) and failed summaries (removals would be held).
    The functions' own code runs, also for the messages that they would post for delivery at once.
    """
    delivery, cloud, recorder = suppose(env, "plan")
    if retagged:
        delivery = as_tagged(delivery, {}, retagged)
        recorder.posted += _messages_of_now(env, plan_input)
    run(plan_input, delivery, recorder, "plan", progress)
    return _planned(delivery, cloud, recorder)


def _messages_of_now(env: Environment, plan_input: Input) -> list[Message]:
    """What is posted about the tags as they are: of the pairs that other tags no longer ask for, no event tells another
    account, whose rules the next full sweep removes."""
    delivery, _, recorder = suppose(env, "plan")
    look(plan_input, delivery, "plan")
    return recorder.posted


def planned_file(env: Environment, raw: bytes) -> Planned:
    """Return the same for the elements of a file, with denials of those that cannot be read."""
    delivery, cloud, recorder = suppose(env, "plan")
    elements = elements_of(raw)
    with unless_recorded():
        dispatch.handle_event_elements(elements.events, delivery)
    run_messages(elements.messages, delivery, recorder)
    with unless_recorded():
        if elements.timers:
            sweeps.handle_timer(b"", delivery)
    return _planned(delivery, cloud, recorder)


def _planned(delivery: Delivery, cloud: WhatIf, recorder: Recorder) -> Planned:
    records = [r for r in recorder.records if r["record"] in ("outcome", "attempt") or r.get("outcome") == "failed"]
    groups = with_instances(delivery, cloud.changed_groups())
    read: list[Group | Instance] = []
    for cache in cloud.caches.values():
        read += [*cache.groups.values(), *cache.instances.values()]
    all_notes = [*notes(read, delivery.policy.keys), *_doubts(cloud), *_left_out(records)]
    members = [instance for change in groups for instance in change.instances or ()]
    words = wording(delivery.policy, 0, scene_of([*read, *members]))
    return Planned(
        records, cloud.changes, cloud.writes, ShownPlan(groups, recorder.records, notable(records), words), all_notes
    )


def _left_out(records: list[Record]) -> list[str]:
    """The links by address that would not change and do not admit every instance that asks for them."""
    unchanged_records = [
        record for record in records if record.get("outcome") == "unchanged" and LEFT_OUT in record["detail"]
    ]
    return list(
        dict.fromkeys(
            f"{record['from']} → {record['to']} {record['ports']}: {record['detail']}" for record in unchanged_records
        )
    )


LEFT_OUT = "not admitted: "
"""How the detail of a record names the instances that a link by address leaves out."""


def _doubts(cloud: WhatIf) -> list[str]:
    """The groups that gain rules, and would have more than one of the documents allows."""
    doubts = []
    for change in cloud.changed_groups():
        if any(edit.sign == "+" for edit in change.edits):
            rules = cloud.ecs(change.group.account).rules(change.group.id)
            naming = sum(rule.key is not None and rule.key.source.startswith("sg-") for rule in rules)
            doubts += [f"{change.group} would have {doubt}" for doubt in in_doubt(len(rules), naming)]
    return doubts


def print_planned(
    result: Planned,
    *,
    commands: bool = False,
    as_markdown: bool = False,
    whole_plan_path: str = "",
    detailed: bool = False,
    as_json: bool = False,
    warning: str = "",
    wide: bool = False,
) -> Exit:
    """Print what the functions would do, and return the exit code. A `warning` is part of the JSON document only."""
    plan, code = result.plan_view, exit_code(result.records)
    if as_json:
        print_answer(result.answer(warning))
    elif as_markdown:
        all_sections = [*sections(plan), markdown.notes(result.notes)]
        print(markdown.document("What would change", total(plan), all_sections, whole_plan_path))
    else:
        for note in result.notes:
            console().print(f"[yellow]{escape(note)}[/yellow]")
        print_plan(console(), plan, result.changes if commands else None, wide=wide)
    return Exit.CHANGES if detailed and code is Exit.DONE and plan.groups else code
