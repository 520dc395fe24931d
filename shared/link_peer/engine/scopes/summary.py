"""What a sweep records beside its decisions: the accounts that it could not read, and summaries: one of what a run of
the timer began, and one of each account that was swept. They are two kinds of records, told apart by `scope`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from link_peer.domain.denials import NO_DENIAL, removals_held, sweep_no_access
from link_peer.domain.errors import LinkPeerError, NotEntered
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.records import denied_record, why_fields
from link_peer.engine.write.work import Report
from link_peer.planning.decision import Decision
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.ports import Record

TIMER, ACCOUNT = "timer", "account"
"""What a summary is about: the `scope` of the record."""
OWN_ROLE = "own role"
"""As which role the functions enter the home account: they are its."""


def account_record(
    policy: Policy, account: str, snapshot: Snapshot, report: Report, denied: Iterable[Decision], notes: Iterable[str]
) -> Record:
    """The summary of an account's sweep: counts of what was read and changed, also of the wishes that stay `denied`,
    which were not recorded one by one; and `notes`: what was skipped and why."""
    limit = policy.limits.removals_per_run
    denials = [removals_held(unseen.account, count, limit) for unseen, count in sorted(report.held_removals.items())]
    outcome: Record = {"outcome": "applied" if report.changed else "unchanged", **why_fields(NO_DENIAL)}
    if denials:
        outcome = {"outcome": "failed", **why_fields(denials[0])}
    reasons = report.reasons + Counter((decision.outcome, decision.denial.reason.code) for decision in denied)
    counts = {" ".join(filter(None, reason)): count for reason, count in sorted(reasons.items())}
    return {
        **outcome,
        "record": "summary",
        "scope": ACCOUNT,
        "account": account,
        "action": "repair",
        "detail": "; ".join([*(denial.detail for denial in denials), *notes]),
        "policy": policy.digest,
        "instances": str(snapshot.instances_in(account)),
        "groups": str(sum(group.account == account for group in snapshot.rules)),
        "changed": str(report.changed),
        "removed": str(report.removed),
        "held": str(sum(report.held_removals.values())),
        "denied": str(sum(count for (result, _), count in reasons.items() if result == "denied")),
        "counts": json.dumps(counts),
    }


def entered_fields(policy: Policy, account: str, snapshot: Snapshot) -> Record:
    """As which role the functions entered an account; and why not, or why it was not read."""
    refusal, trouble = snapshot.refused_accounts.get(account), snapshot.failed_accounts.get(account, "")
    is_entered = not (trouble or isinstance(refusal, NotEntered))
    return {
        "entered_as": (policy.accounts[account].role or OWN_ROLE) if is_entered else "",
        "refusal": refusal.code if refusal else "",
        "trouble": trouble,
    }


def timer_record(
    started_accounts: Collection[str], policy: Policy, dead_letters: Callable[[], int] | None, seconds: float
) -> Record:
    """The summary of a run of the timer: how many accounts' sweeps it began, how many wait for another run, and how
    many dead letters there are."""
    letters, uncounted = _count_letters(dead_letters)
    return {
        "record": "summary",
        "scope": TIMER,
        "action": "repair",
        "outcome": "unchanged",
        **why_fields(NO_DENIAL),
        "detail": uncounted,
        "policy": policy.digest,
        "accounts": str(len(started_accounts)),
        "waiting": str(len(policy.accounts) - len(started_accounts)),
        "dead_letters": letters,
        "seconds": f"{seconds:.1f}",
    }


def skipped(
    snapshot: Snapshot,
    doubted_accounts: Iterable[str],
    unread: Mapping[str, int],
    undone: int,
    refused_tags: Mapping[str, str],
) -> dict[str, str]:
    """What a sweep could not look at, or left alone, and why: by account, by a number of groups or changes, and by the
    account or group whose managed tags are refused."""
    notes = {account: f"{account}: {problem}" for account, problem in sorted(snapshot.failed_accounts.items())}
    notes |= {a: f"{a}: no access ({error.code})" for a, error in sorted(snapshot.refused_accounts.items())}
    for account in sorted(doubted_accounts):
        notes.setdefault(account, f"{account}: shows no instances, so nothing there is treated as gone")
    for account, count in sorted(unread.items()):
        subject = f"{count} groups of {account}"
        notes[subject] = f"{subject}: no time was left to read them; the next runs start elsewhere"
    if undone:
        notes[f"{undone} changes"] = f"{undone} changes: no time was left to make them; the next run does"
    return {**notes, **{f"tags of {where}": problem for where, problem in sorted(refused_tags.items())}}


def record_unreadable(audit: AuditWriter, snapshot: Snapshot, account: str) -> None:
    """A record of an account that was not read: refused access is denied; an outage is a transient error, and the next
    sweep tries again."""
    if error := snapshot.refused_accounts.get(account):
        audit.write([denied_record(sweep_no_access(account, error.code), "repair", from_account=account)])
    if problem := snapshot.failed_accounts.get(account):
        audit.attempt(f"account {account} could not be read: {problem}", {"action": "repair", "from_account": account})


def _count_letters(dead_letters: Callable[[], int] | None) -> tuple[str, str]:
    """The number of dead letters, or none and why. Without a number the run is as good as with it."""
    try:
        return str(dead_letters()) if dead_letters else "", ""
    except LinkPeerError as error:
        return "", f"dead letters were not counted: {error.code or error}"
