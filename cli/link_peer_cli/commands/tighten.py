"""`link-peer tighten`: who uses the wide rules of people, what they could become, and whether one can go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
import typer
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.model import Party
from link_peer.domain.policy import Policy
from link_peer.domain.tags import is_account_uid, quoted
from link_peer.planning.decision import Context, RulesOf
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.access.inputs import account_named, duration
from link_peer_cli.access.running import read_running
from link_peer_cli.answers.usage import ProposedCommand, RuleUser, TightenedRule
from link_peer_cli.inventory.flow_log import DAY
from link_peer_cli.inventory.period import Period, read_period
from link_peer_cli.inventory.reading import PARTY, View, remember_parties, view_of
from link_peer_cli.inventory.shown import Wording, wording
from link_peer_cli.review.delivery import suppose
from link_peer_cli.ui import files
from link_peer_cli.ui.console import console, number, print_answer, warn
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines, Output, SortBy, form_of
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.tables import TableForm, draw_table, print_table
from link_peer_cli.usage.answers import Tightening, answer_of, commands_of
from link_peer_cli.usage.proposal import Proposal, Proposer
from link_peer_cli.usage.rules import Rules
from link_peer_cli.usage.shown import USES
from link_peer_cli.usage.written import text_of

PERIOD = "30d"


def tighten(
    target: Annotated[
        str,
        typer.Argument(metavar="[GROUP|ACCOUNT]", help=f"Whose rules: a group ({PARTY}), or an account's uid or name."),
    ] = "",
    all_accounts: Annotated[bool, typer.Option("--all", help="The wide rules of all accounts.")] = False,
    last: Annotated[str, typer.Option(help="The period that ends now, in days: 7d, 30d.")] = PERIOD,
    propose: Annotated[
        str, typer.Option(help="Write the links that would carry what was seen into this file.", metavar="FILE")
    ] = "",
    commands: Annotated[
        bool, typer.Option("--commands", help="Print only the accept and request lines of these links, by account.")
    ] = False,
    by: Annotated[
        str,
        typer.Option(
            help="group: propose groups also where not all of their instances were seen, and name the others.",
            metavar="group",
        ),
    ] = "",
    account: Annotated[
        str, typer.Option(help="Of the proposal, only what this account (uid or name) consents to or asks for.")
    ] = "",
    output: Output = TableForm.TABLE,
    sort_by: SortBy = "",
    as_json: JsonLines = False,
) -> None:
    """Say who uses the wide rules of people, as flow logs tell, which links would carry it, and which rule nothing
    depends on.

    A wide rule admits more than one group, or one address, on one port. What cannot be told is unknown, and never
    counts as unused. link-peer removes no rule of a person: its owner does, with the command that is printed where
    nothing would be cut off.
    """
    USES.column(sort_by or "group")
    form = form_of(output, as_json=as_json)
    seconds = duration(last, "--last")
    _check(target, seconds, by, all_accounts=all_accounts)
    env = load_environment(reading=True)
    uid = account_named(env.policy, account, "--account") if account else ""
    if propose:
        files.require_writable(propose)
    view = view_of(suppose(env, "tighten")[0])
    judged = _judged(env, view, target, seconds, by_group=by == "group")
    judged = _of_account(judged, uid) if uid else judged
    answers = [answer_of(judged, use) for use in judged.uses]
    if propose:
        files.write(propose, text_of(judged.proposal, judged.period, env.policy.home).encode())
        counts = f"{number(len(judged.proposal.links), 'link')}, {len(judged.proposal.leftovers)} left"
        console(stderr=True).print(escape(f"{propose}: {counts}"))
    if commands:
        _print_commands(commands_of(judged, uid), env.policy, form)
    elif form is TableForm.TABLE and target and answers and not _is_account(env.policy, target):
        _print_rules(answers, wording(env.policy, env.now, view.scene))
    else:
        print_table(USES, answers, wording(env.policy, env.now, view.scene), form, sort_by)
    remember_parties(env, view.scene.snapshot)
    problems = [*view.problems, *_unread(judged.period)]
    warn(problems)
    if problems:
        raise typer.Exit(Exit.REFUSED)


def _check(target: str, seconds: int, by: str, *, all_accounts: bool) -> None:
    """Report invalid options before a missing environment."""
    if seconds < DAY or seconds % DAY:
        raise BadInput("--last", "give whole days, such as 30d")
    if bool(target) == all_accounts:
        raise BadInput("group", "give a group, an account, or --all")
    if by not in ("", "group"):
        raise BadInput("--by", f"{quoted(by)} is not group")


def _judged(env: Environment, view: View, target: str, seconds: int, *, by_group: bool) -> Tightening:
    """The wide rules that are asked about, their use, and what they could become."""
    accounts = sorted(env.policy.accounts)
    with waiting("reading the groups"):
        groups = _groups(env, view, target)
    with waiting("reading the flow logs"):
        until = int(env.now)
        period = read_period(env, accounts, until - seconds, until)
    with waiting("reading what decides"):
        _read_rules(view, period, groups)
        rules = Rules(view.scene.snapshot, env.policy, env.settings.region, period)
        wide = rules.wide(groups)
        _read_inner_access(view, period, {rule.group for rule in wide})
        rules = Rules(view.scene.snapshot, env.policy, env.settings.region, period)
        uses = [rules.use(rule) for rule in wide]
        running, problem = _running(env, accounts)
        users = {part.flow.party for use in uses for part in use.carried}
        view.around(filter(None, users))  # for their names, also of those that need no link
        context = Context(env.policy, env.settings.region, env.now)
        ingress = [use for use in uses if not use.rule.is_egress]
        proposal = Proposer(view, context, rules, running).propose(ingress, by_group=by_group)
    warn([problem])
    parts = (view.scene, env.policy, env.settings.region, period, tuple(uses))
    return Tightening(*parts, proposal, rules.removable(ingress))


def _is_account(policy: Policy, text: str) -> bool:
    return is_account_uid(text) or any(text == entry.name for entry in policy.accounts.values())


def _groups(env: Environment, view: View, target: str) -> list[Party]:
    """The groups that are asked about, read with their rules."""
    uid = account_named(env.policy, target, "group") if target and _is_account(env.policy, target) else ""
    if target and not uid:
        group = view.find(target, "group")
        if not group.is_group:
            raise BadInput("group", f"{target} is an instance: rules are on the groups that it is in")
        view.around([group])
        return [group]
    view.read_all()
    groups = view.scene.snapshot.groups
    return sorted(group for group in groups if uid in ("", group.account))


def _read_rules(view: View, period: Period, groups: Iterable[Party]) -> None:
    """Reads the rules of these groups, and of those that their interfaces are in besides."""
    read = view.scene.snapshot.rules
    beside = {joined for group in groups for interface in period.of(group) for joined in interface.groups}
    view.answer(RulesOf(group) for group in sorted({*groups, *beside} - read.keys()))


def _read_inner_access(view: View, period: Period, groups: Iterable[Party]) -> None:
    """Reads whether members of a group reach each other, of those groups between whose members packets went to these: a
    call each."""
    targets = {interface.id: interface for group in groups for interface in period.of(group)}
    flows = (flow for interface in targets.values() for flow in period.flows_to(interface) if flow.source)
    common = {group for flow in flows if flow.source for group in flow.source.groups & flow.target.groups}
    view.deciding((group, group) for group in sorted(common))


def _running(env: Environment, accounts: Sequence[str]) -> tuple[frozenset[Party] | None, str]:
    """The instances that run, and why they are not known, if so."""
    try:
        return read_running(env, accounts), ""
    except LinkPeerError as error:
        return None, f"which instances run was not read, so all count: {error}"


def _of_account(judged: Tightening, uid: str) -> Tightening:
    """The same, with the links of which an account is one end."""
    links = [link for link in judged.proposal.links if uid in (link.link.source.account, link.link.target.account)]
    leftovers = [
        leftover
        for leftover in judged.proposal.leftovers
        if uid == leftover.target.account or (isinstance(leftover.source, Party) and uid == leftover.source.account)
    ]
    return msgspec.structs.replace(judged, proposal=Proposal(tuple(links), tuple(leftovers)))


def _unread(period: Period) -> list[str]:
    """The flow logs and the interfaces that could not be read."""
    interfaces = [
        f"the interfaces of {uid} were not read: {rows}"
        for uid, rows in period.interfaces.items()
        if isinstance(rows, str)
    ]
    return [*(flows.problem for flows in period.flows.values() if flows.problem), *interfaces]


def _print_commands(lines: Sequence[ProposedCommand], policy: Policy, form: TableForm) -> None:
    """Print what somebody types, in order; a line before those of an account says whose keys they need."""
    account = ""
    for line in lines:
        if form is TableForm.JSON:
            print_answer(line)
            continue
        if line.account != account:
            account = line.account
            print(f"# {account} ({policy.accounts[account].name})")
        print(line.command)


def _print_rules(answers: Sequence[TightenedRule], words: Wording) -> None:
    """Print all that is known of the rules of one group."""
    out = console()
    for answer in answers:
        title = f"{answer.rule_id} on {words.title(answer.group, answer.account)}"
        does = f"admits {answer.peer} on {answer.ports}, priority {answer.priority}"
        does = does.replace("admits", "lets out to") if answer.direction == "egress" else does
        out.print(f"[bold]{escape(title)}[/bold] {escape(does)}: {answer.use}")
        if answer.used_by:
            rows = [_row(user, words) for user in answer.used_by]
            draw_table(out, "used by", ["from", "ports", "days", "last", "longest gap", "only by this rule"], rows)
        for name, texts in (("becomes", answer.becomes), ("left", answer.leftovers)):
            for text in texts:
                out.print(escape(f"{name}: {words.worded(text)}"))
        if answer.in_the_way:
            for text in answer.in_the_way:
                out.print(escape(f"in the way of removing it: {words.worded(text)}"))
        else:
            fact = "none of its flows needs it" if answer.used_by else "nobody used it"
            silence = max((user.longest_gap for user in answer.used_by), default=0)
            rare = (
                f"; a user was silent for {number(silence, 'day')}, and one that comes more rarely was not seen"
                if silence
                else ""
            )
            out.print(escape(f"nothing would be cut off: since {words.worded(answer.since)}, {fact}{rare}"))
            out.print(escape(f"its owner removes it: {answer.revoke}"))
            out.print(escape(f"and puts it back:     {answer.put_back}"))
        out.print()


def _row(user: RuleUser, words: Wording) -> list[str]:
    sender = words.title(user.party, user.account) if user.party else f"{user.address} (unknown)"
    gap = f"{user.longest_gap} d"
    return [sender, "+".join(user.ports), str(user.days), words.ago(user.last), gap, "yes" if user.only else ""]
