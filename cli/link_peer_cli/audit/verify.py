"""`link-peer audit --verify`: compare the audit log with ActionTrail, both ways."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor

import msgspec
import typer
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.model import Party
from link_peer.domain.tags import iso
from link_peer.runtime.ports import Record
from link_peer.runtime.settings import Settings

from link_peer_cli.access.environment import Environment
from link_peer_cli.access.regions import other_regions
from link_peer_cli.access.roles import closer_of, reader_of
from link_peer_cli.answers.operation import Mismatch
from link_peer_cli.audit.elsewhere import HasFunctions, other_region_findings
from link_peer_cli.audit.log import KEPT_SECONDS, AuditReader, condition
from link_peer_cli.audit.trail import NAMES, Trail, keeps, trail_start
from link_peer_cli.audit.trail_consent import NO_CONSENT, UNPROVEN
from link_peer_cli.audit.trail_events import TAG_CALLS, Event, event_of
from link_peer_cli.audit.trail_join import join, opened_groups, unknown_rules
from link_peer_cli.audit.trail_log import LONGEST_SECONDS, Question, Roles
from link_peer_cli.ui.console import console, print_answer, warn, when
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.looked import say_none
from link_peer_cli.ui.progress import progress_bar
from link_peer_cli.ui.records import print_advice
from link_peer_cli.ui.remedies import message
from link_peer_cli.ui.tables import draw_table, print_tsv

THREADS = 32  # accounts that are read side by side; the limits of ActionTrail are those of each account
OPENED, OBSERVED = condition({"record": "outcome", "outcome": "applied"}), condition({"record": "observed"})
NOT_READ = "ActionTrail was not read"
READ_ALL = "--all-regions reads every region"
COLUMNS = ("time", "account", "what", "rule", "request id", "who", "finding")


def verify(env: Environment, since: float, has_functions: HasFunctions | None, *, as_json: bool) -> None:
    """Print what does not fit since an instant (epoch seconds), and exit with 1 if there is anything, with 3 where it
    is unproven only. `has_functions`: also what roles of link-peer did in regions without its functions; without it,
    the last line names those that were not read.

    Raises BadInput for an instant from which ActionTrail has no events any more, LinkPeerError if the log cannot be
    read.
    """
    if not keeps(since, env.now):
        raise BadInput("--from", "ActionTrail keeps events for 90 days: give at most 90d")
    differences, calls, unread = in_regions(env, since, has_functions, quiet=as_json)
    _print(differences, calls, as_json=as_json)
    if not differences:
        say_none()
    if unread:
        text = f"not read: {unread}; {READ_ALL}"
        warn([text]) if as_json or not sys.stdout.isatty() else console().print(text)
    if code := exit_of(differences):
        raise typer.Exit(code)


def in_regions(
    env: Environment, since: float, has_functions: HasFunctions | None, *, quiet: bool
) -> tuple[list[Mismatch], int, str]:
    """As `mismatches`; with `has_functions`, also what does not fit in the other regions. The last text names those
    that were not read, or says why they are not known; empty if there are none."""
    differences, calls = mismatches(env, since, quiet=quiet)
    try:
        regions, problem = other_regions(env.settings, env.clock), ""
    except LinkPeerError as error:
        regions, problem = [], f"the regions of the cloud are not known: {message(error)}"
    if not has_functions:
        return differences, calls, ", ".join(settings.region for settings in regions) or problem
    unread_accounts = {difference.account for difference in differences if difference.subject == NOT_READ}
    readable_accounts = sorted(env.policy.accounts.keys() - unread_accounts)
    differences += _elsewhere(env, regions, readable_accounts, since, has_functions, quiet=quiet)
    if problem:
        advice = "allow ecs:DescribeRegions to the reader's role: docs/permissions.md"
        differences.append(_unproven(env, env.policy.home, "other regions were not read", problem, advice))
    return differences, calls, ""


def _elsewhere(
    env: Environment,
    regions: Sequence[Settings],
    accounts: Sequence[str],
    since: float,
    has_functions: HasFunctions,
    *,
    quiet: bool,
) -> list[Mismatch]:
    trail = Trail(env)
    with progress_bar(unless=quiet) as bar:
        task = bar.add_task("other regions", total=len(regions) * len(accounts) * len(NAMES))

        def read(settings: Settings) -> tuple[list[Event], dict[str, str]]:
            regional_trail = trail.elsewhere(settings)
            return read_events(regional_trail, accounts, NAMES, (since, env.now), lambda: bar.advance(task))

        return list(other_region_findings(env, regions, read, has_functions, since, changing_roles(env)))


def exit_of(differences: Iterable[Mismatch]) -> Exit:
    """How a command ends that found these."""
    kinds = {difference.finding for difference in differences if not difference.pending}
    return Exit.REFUSED if kinds - {UNPROVEN} else Exit.UNPROVEN if kinds else Exit.DONE


def mismatches(env: Environment, since: float, *, quiet: bool) -> tuple[list[Mismatch], int]:
    """What does not fit since an instant (epoch seconds), as far back as ActionTrail has events, and how many calls
    were compared.

    Raises LinkPeerError if the log cannot be read.
    """
    start, now = since - LONGEST_SECONDS, env.now
    accounts, trail, oldest = sorted(env.policy.accounts), Trail(env), trail_start(now)
    with progress_bar(unless=quiet) as bar:
        task = bar.add_task("calls read in ActionTrail", total=len(accounts) * len(NAMES))
        events, refused = read_events(trail, accounts, NAMES, (start, now), lambda: bar.advance(task))
    log = AuditReader(env.settings, env.clock, env.keys)
    ours = condition({"deployment": env.policy.deployment})
    received_records = log.received_since(start)
    records = [record for record in received_records if record.get("deployment") == env.policy.deployment]
    read = frozenset(accounts) - refused.keys()
    question = Question(
        env.policy, env.settings.region, changing_roles(env), read, since, now, {}, oldest, max(start, oldest)
    )
    groups = opened_groups(question, events)
    tags, unread = _tags(env, groups)
    question = msgspec.structs.replace(question, tags=tags)
    older = log.read_any(f"{ours} and {OPENED}", "rules", unknown_rules(question, records, events), now - KEPT_SECONDS)
    observations = functools.partial(log.read_any, f"{ours} and {OBSERVED}", "to", [group.id for group in groups])
    older += observations(question.tags_since)
    findings = join(question, records, _before(start, older, records), events)
    if question.tags_since > oldest and any(finding.finding in (UNPROVEN, NO_CONSENT) for finding in findings):
        # an older call may tell
        opened_accounts = sorted({group.account for group in groups} & read)
        tag_calls, unread_tags = read_events(trail, opened_accounts, TAG_CALLS, (oldest, start), lambda: None)
        if not unread_tags:
            question = msgspec.structs.replace(question, tags_since=oldest)
            findings = join(
                question, records, _before(start, [*older, *observations(oldest)], records), [*tag_calls, *events]
            )
    return [*_unreadable(env, {**unread, **refused}), *findings], len(events)


def read_events(
    trail: Trail,
    accounts: Sequence[str],
    names: Sequence[str],
    window: tuple[float, float],
    progress: Callable[[], None],
) -> tuple[list[Event], dict[str, str]]:
    """What changed groups in each account; and why an account could not be read."""

    def read(account: str) -> list[Event] | str:
        events = []
        try:
            for name in names:
                raw = trail.events(account, name, *window)
                events += [event_of(account, raw_event, trail.region) for raw_event in raw]
                progress()
        except LinkPeerError as error:
            return message(error, account)
        return [event for event in events if event is not None]

    with ThreadPoolExecutor(THREADS) as pool:
        answers = dict(zip(accounts, pool.map(read, accounts), strict=True))
    refused = {account: answer for account, answer in answers.items() if isinstance(answer, str)}
    return [event for answer in answers.values() if not isinstance(answer, str) for event in answer], refused


def _tags(env: Environment, groups: Sequence[Party]) -> tuple[dict[Party, Mapping[str, str]], dict[str, str]]:
    """The tags that groups have now; and why those of an account could not be read."""
    group_tags: dict[Party, Mapping[str, str]] = {}
    refused: dict[str, str] = {}
    accounts = env.accounts("audit-verify", env.patient_retry())
    for uid in sorted({group.account for group in groups}):
        try:
            described_groups = accounts.ecs(uid).groups([group.id for group in groups if group.account == uid])
            group_tags |= {group.party: group.tags for group in described_groups}
        except LinkPeerError as error:
            refused[uid] = f"the tags of its groups: {message(error, uid)}"
    return group_tags, refused


def changing_roles(env: Environment) -> Roles:
    """The roles that change security groups for link-peer: those of the functions and of operators at home, and in
    every other account the role of the policy file, which both take on, and that of people who close there."""
    names, home, settings = env.names, env.policy.home, env.settings
    functions, operators = {settings.audit_logstore}, {settings.operator_logstore}
    changing: dict[str, dict[str, Set[str]]] = {
        uid: {_role_name(account.role): functions | operators, _role_name(closer_of(account.role)): operators}
        for uid, account in env.policy.accounts.items()
        if account.role is not None
    }
    changing[home] = {names.function_role.lower(): functions, names.operator_role.lower(): operators}
    return Roles(changing, settings.operator_logstore)


def _role_name(arn: str) -> str:
    """The name of a role, as ActionTrail may write it."""
    return arn.rpartition("/")[2].lower()


def _before(start: float, older: Iterable[Record], records: Iterable[Record]) -> list[Record]:
    """The records that SLS received before an instant (epoch seconds): those that are not among the ones that it has
    received since, whatever their writer says of their time."""
    fields = {str(sorted({**record, "received": ""}.items())) for record in records}
    latest = iso(start - 1)
    return [
        {**record, "received": min(record.get("received") or record.get("time", ""), latest)}
        for record in older
        if str(sorted({**record, "received": ""}.items())) not in fields
    ]


def _unreadable(env: Environment, refused: Mapping[str, str]) -> Iterator[Mismatch]:
    """Accounts of which something was not read."""
    for account, reason in refused.items():
        role = env.policy.accounts[account].role
        reader = reader_of(role).rpartition("/")[2] if role else env.names.reader_role
        advice = f"allow actiontrail:LookupEvents to the role {reader} of account {account}: docs/permissions.md"
        yield _unproven(env, account, NOT_READ, reason, advice)


def _unproven(env: Environment, account: str, subject: str, reason: str, advice: str) -> Mismatch:
    return Mismatch(iso(env.now), account, subject, "", "", "", UNPROVEN, reason, advice, pending=False)


def _print(findings: Sequence[Mismatch], events: int, *, as_json: bool) -> None:
    if as_json:
        for finding in findings:
            print_answer(finding)
        return
    if not sys.stdout.isatty():
        rows = [(*_row(finding), finding.advice, "pending" if finding.pending else "") for finding in findings]
        print_tsv([(*COLUMNS, "advice", "pending"), *rows])
        return
    out = console()
    due, pending = (
        [finding for finding in findings if not finding.pending],
        [finding for finding in findings if finding.pending],
    )
    title = f"audit log and ActionTrail: {events} calls compared, {len(due)} finding{'' if len(due) == 1 else 's'}"
    if due:
        draw_table(out, title, COLUMNS, map(_row, due))
    else:
        out.print(f"[bold]{title}[/bold]")
    print_advice(out, (finding.advice for finding in due))
    if pending:
        draw_table(out, f"not yet visible: {len(pending)}, run it again in 15 minutes", COLUMNS, map(_row, pending))


def _row(finding: Mismatch) -> tuple[str, ...]:
    return (
        when(finding.time, seconds=True),
        finding.account,
        finding.subject,
        finding.rule,
        finding.request_id,
        finding.caller,
        f"{finding.finding}: {finding.detail}",
    )
