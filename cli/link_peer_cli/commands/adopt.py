"""`link-peer adopt`: a rule that a person made becomes a link, and the packets pass throughout."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.model import TAG, Claim, Marker, Rule, ports_text
from link_peer.domain.tags import is_group_id, iso, quoted
from link_peer.runtime.ports import Record
from link_peer.runtime.settings import tag_prefix
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.access.inputs import account_named, by_id, ending, party
from link_peer_cli.adoption.carry_out import Adopting
from link_peer_cli.adoption.judge import CHANGED, is_ours
from link_peer_cli.adoption.planner import AdoptionPlan, AdoptionPlanner, Wish
from link_peer_cli.answers.changes import AddedConsent, AdoptedBefore, AdoptedRule, AdoptionAnswer
from link_peer_cli.consent.group_tags import GroupTags
from link_peer_cli.inventory.shown import Wording, wording
from link_peer_cli.review.delivery import recording
from link_peer_cli.review.plans import print_changes
from link_peer_cli.ui.aliyun import modify, untag
from link_peer_cli.ui.console import console, may_ask, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import DryRun, Json, Profiles, Until, Yes
from link_peer_cli.ui.progress import progress_bar
from link_peer_cli.ui.records import print_records, print_undo

RULE = re.compile(r"sgr-[0-9a-z]{1,42}")
"""An id of a rule; with `adopt-` before it, it is the id of a request."""

COLOURS = {"+": "green", "~": "yellow", "-": "red"}


def adopt(
    rule: Annotated[
        str, typer.Argument(metavar="RULE", help="The rule: sgr-…, optionally with @<account uid or name>.")
    ],
    group: Annotated[
        str, typer.Option(help="The group that has the rule; without, all groups are searched.", metavar="GROUP")
    ] = "",
    form: Annotated[str, typer.Option("--as", help="How the link is asked for.", metavar="request|tag")] = "request",
    instance: Annotated[
        str, typer.Option(help="With --as tag: the instance of the source group that is tagged.", metavar="INSTANCE")
    ] = "",
    until: Until = "",
    anyone_may_close: Annotated[
        bool,
        typer.Option(
            "--anyone-may-close",
            help="Adopt although an account has no queue of its own: any sender on the shared one may then unlink it.",
        ),
    ] = False,
    profile: Profiles = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Turn one rule that a person made into a link, with your own keys. Shows what changes, and asks.

    The rule stays in place, so no packet is lost: consent and what asks for the link are written first, then the rule's
    description becomes the marker of link-peer, and its priority 100. Run it again if it was stopped.
    """
    rule_id, _, account = rule.partition("@")
    _check(rule_id, group, form, instance, until)
    env = load_environment(reading=dry_run)
    tags = GroupTags(env, profile or [])
    delivery, _ = recording(env, "adopt", tags.caller)
    accounts = env.accounts("adopt", delivery.retry, tags.accounts)
    cloud = delivery.cloud("adopt")
    planner = AdoptionPlanner(env, cloud, tags)
    adopted_rule = _find(env, planner, rule_id, account, group, quiet=as_json)
    wish = msgspec.structs.replace(_wish(env, adopted_rule, instance, until), anyone_may_close=anyone_may_close)
    if marker := is_ours(adopted_rule, env.policy, env.settings.region):
        wish = _resumed_wish(planner, adopted_rule, marker, wish, as_json=as_json)
    plan = planner.plan(adopted_rule, wish)
    foreign = sorted({change.account for change in planner.changes(plan)} - tags.accounts.keys())
    if not as_json:
        _show(env, plan)
    if dry_run:
        if as_json:
            print_answer(_answer(planner, plan, None, []))
        else:
            print_changes(console(), planner.changes(plan))
        raise typer.Exit(Exit.DONE)
    if foreign:
        raise LinkPeerError(
            f"nothing was changed: there are no keys of account {', '.join(foreign)}: give --profile with some"
        )
    if not yes:
        may_ask("changes anything", as_json=as_json)
        typer.confirm("Adopt it?", abort=True)
        latest_plan = planner.plan(adopted_rule, wish)
        if (latest_plan.adoption, latest_plan.tags) != (plan.adoption, plan.tags):
            raise LinkPeerError(CHANGED)
    record = Adopting(delivery, planner, cloud, accounts, tags, env.asking).carry_out(plan)
    way_back = _undo(env, plan) if record.get("outcome") == "applied" else []
    if as_json:
        print_answer(_answer(planner, plan, record, way_back))
    else:
        _report(plan, record, wording(env.policy, env.now, plan.scene))
        print_undo(console(), way_back)
    raise typer.Exit(Exit.DONE if record.get("outcome") == "applied" else Exit.REFUSED)


def _check(rule_id: str, group: str, form: str, instance: str, until: str) -> None:
    """Report invalid options before a missing environment."""
    if not RULE.fullmatch(rule_id):
        raise BadInput("rule", f"{quoted(rule_id)} is not sgr-…")
    if group and not is_group_id(by_id(group).partition("@")[0]):
        raise BadInput("--group", f"{quoted(group)} is not sg-…, optionally with @<account uid or name>")
    if form not in ("request", "tag"):
        raise BadInput("--as", f"{quoted(form)} is not request or tag")
    if (form == "tag") != bool(instance):
        raise BadInput("--instance", "it goes with --as tag, which needs it: the instance that asks")
    if instance and until:
        raise BadInput("--until", f"a tag's links end with the instance's tag {tag_prefix(os.environ)}-until")


def _find(env: Environment, planner: AdoptionPlanner, rule_id: str, account: str, group: str, *, quiet: bool) -> Rule:
    """The rule, with the progress of the search."""

    accounts = [account_named(env.policy, account, "rule")] if account else sorted(env.policy.accounts)
    with progress_bar(unless=quiet) as bar:
        task = bar.add_task("groups read", total=None)
        where = f"{group}@{account}" if group and account and "@" not in group else group
        return planner.find(
            rule_id, where, accounts, lambda read_count, all_: bar.update(task, completed=read_count, total=all_)
        )


def _wish(env: Environment, rule: Rule, instance: str, until: str) -> Wish:
    """How the link is asked for."""
    name = f"adopt-{rule.id}"
    if instance:
        source = rule.key.source.partition("@")[2] if rule.key else ""
        return Wish(name, TAG, party(instance, "--instance", source or env.policy.home))
    return Wish(name, Claim(name, ending(until, "--until", env.now) if until else None))


def _resumed_wish(planner: AdoptionPlanner, rule: Rule, marker: Marker, wish: Wish, *, as_json: bool) -> Wish:
    """The wish of an adoption that was stopped after the rule became ours. Exits if there is nothing left to do."""
    history = planner.history(wish.name)
    applied_records = [record for record in history if record.get("outcome") == "applied"]
    claims = [claim for claim in marker.claims if claim.request == wish.claim.request]
    intents = [record for record in history if record["record"] == "intent"]
    if applied_records or not claims or (wish.asker and not intents):  # the claim of a request names the adoption
        by = ", ".join(claim.request or "tag" for claim in marker.claims)
        when = (
            f", adopted {applied_records[-1]['time']} by {applied_records[-1].get('claimed_by', '')}"
            if applied_records
            else ""
        )
        text = f"{rule.id} on {rule.group} is a rule of link-peer already, held by {by}{when}: nothing to do"
        if as_json:
            print_answer(AdoptedBefore(rule.id, rule.group.account, rule.group.id, text))
        else:
            console().print(escape(text))
        raise typer.Exit(Exit.DONE)
    return msgspec.structs.replace(wish, claim=claims[0], loss=intents[0].get("detail", "") if intents else "")


def _show(env: Environment, plan: AdoptionPlan) -> None:
    """Print the link that the rule becomes, and what changes, in order."""
    out, link, words = console(), plan.adoption.link, wording(env.policy, env.now, plan.scene)
    ends = f"{link.source} {'<->' if link.mutual else '->'} {link.target}"
    out.print(f"[bold]{escape(f'{words.worded(ends)}, {ports_text(link.ports)}')}[/bold]")
    if words.worded(ends) != ends:  # anybody may have chosen the names
        out.print(f"  [dim]{escape(ends)}[/dim]")
    by = f"the tag of {plan.wish.asker}" if plan.wish.asker else f"the request {plan.wish.name}"
    until = plan.wish.claim.until
    end = Wording(env.now, {}).until(iso(until) if until else "") if plan.request else "with the tag"
    out.print(escape(f"  asked for by {words.worded(by)}; ends: {end}\nin this order:"))
    for sign, text in _steps(plan):
        out.print(f"  [{COLOURS[sign]}]{sign} {escape(words.worded(text))}[/{COLOURS[sign]}]")
    for mark in plan.adoption.due:
        description = f"the description {mark.rule.description!r}" if mark.rule.description else "no description"
        text = f"{mark.rule.id} stays in place. It loses {description} and its priority {mark.rule.priority}: link-peer's rules have 100"
        out.print(escape(text))


def _steps(plan: AdoptionPlan) -> Iterator[tuple[str, str]]:
    """What changes, each with its sign."""
    for group, edit in plan.adoption.consent:
        yield from (("-", f"{group} accepts {text}") for text in edit.removed)
        yield from (("+", f"{group} accepts {text}") for text in edit.added)
    for group, keys in plan.adoption.managed:
        yield "+", f"{group} is tagged {', '.join(keys)}"
    for key, value in plan.tags.items():
        yield "+", f"{plan.wish.asker} is tagged {key}={value}"
    for mark in plan.adoption.due:
        yield "~", f"{mark.rule.id} on {mark.rule.group} becomes a rule of link-peer"
    if plan.request is not None:
        yield "+", f"the request {plan.request.request_id} is posted to {plan.queue}"


def _undo(env: Environment, plan: AdoptionPlan) -> list[str]:
    """The commands by which the rules are a person's again, as they were, and then what was written for the link
    goes."""
    region, tag = env.settings.region, plan.wish.asker
    rules = (mark.rule for mark in plan.adoption.due)
    commands = [
        modify(region, rule.group.id, rule.id, rule.description, priority=rule.priority, egress=rule.is_egress)
        for rule in rules
    ]
    commands += [untag(region, [tag.id], list(plan.tags))] if tag and plan.tags else []
    return [
        *commands,
        *(
            shlex.join(["link-peer", command, str(group), text, *(["--egress"] if edit.is_egress else [])])
            for group, edit in plan.adoption.consent
            for command, texts in (("withdraw", edit.added), ("accept", edit.removed))
            for text in texts
        ),
    ]


def _answer(planner: AdoptionPlanner, plan: AdoptionPlan, record: Record | None, way_back: list[str]) -> AdoptionAnswer:
    """The plan and its outcome for programs."""
    link = plan.adoption.link
    return AdoptionAnswer(
        rules=[
            AdoptedRule(
                mark.rule.id,
                mark.rule.group.account,
                mark.rule.group.id,
                priority=mark.rule.priority,
                description=mark.rule.description,
                becomes=mark.description,
            )
            for mark in plan.adoption.marks
        ],
        source=str(link.source),
        target=str(link.target),
        ports=ports_text(link.ports),
        asked_by=str(plan.wish.asker or plan.wish.name),
        queue=plan.queue,
        consent=[AddedConsent(str(group), edit.added) for group, edit in plan.adoption.consent],
        tags=plan.tags,
        commands=planner.changes(plan),
        record=record,
        undo=way_back,
    )


def _report(plan: AdoptionPlan, record: Record, words: Wording) -> None:
    """Say what came of it, and what removes the link."""
    print_records(console(), "outcome", [record], names=words.called)
    if record.get("outcome") != "applied":
        return
    link = plan.adoption.link
    how = (
        words.worded(f"take the peer off the tag of {plan.wish.asker}")
        if plan.wish.asker
        else f"link-peer request unlink --from {link.source} --to {link.target}"
    )
    console().print(escape(f"It is link-peer's now. To close it: {how}"))
