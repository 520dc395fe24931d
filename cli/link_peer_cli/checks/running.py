"""Whether the deployment does its work: dead letters, accounts that wait to be swept, the last sweep, and the policy that it had."""

from __future__ import annotations

from collections.abc import Iterator

from link_peer.domain.errors import LinkPeerError
from link_peer.domain.tags import parse_instant
from link_peer.runtime.ports import Record

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.log import AuditReader, condition
from link_peer_cli.checks.finding import DIFFERS, MISSING, OK, WARNING, CheckFinding, unreadable
from link_peer_cli.deployed.queue import waiting_messages

DAY = 86_400
LATE_SECONDS = 30 * 60
"""Three sweeps are due in it."""
ERRORS = "look at the errors of the function in the logstore functions"


def check(env: Environment) -> Iterator[CheckFinding]:
    """Dead letters that wait; the age of the last sweep; and whether its policy is the local file."""
    yield from _waiting(env)
    what = "last sweep"
    try:
        summary = _last_summary(env)
    except LinkPeerError as error:
        yield unreadable("", what, error)
        return
    if summary is None:
        advice = "link-peer audit --all; the function's own output is in the logstore functions"
        yield CheckFinding(MISSING, "", what, "no sweep was recorded within a day", advice)
        return
    yield _age(env, what, summary)
    if "dead_letters" not in summary:
        blind = f"did not count the dead letters, which link-peer-dead-letters needs: {summary.get('detail', '')}"
        yield CheckFinding(WARNING, "", what, blind, "link-peer setup, and s deploy -y after an update")
    yield _policy(env, summary)


def other_policy(env: Environment) -> str:
    """Why a command that goes by the local policy file may do what the functions would not; empty if the deployed policy is
    that file, or cannot be told."""
    try:
        summary = _last_summary(env)
    except LinkPeerError:
        return ""
    finding = _policy(env, summary) if summary else None
    return finding.detail if finding and finding.state == DIFFERS else ""


def _waiting(env: Environment) -> Iterator[CheckFinding]:
    """Messages on two queues: a dead letter; more than one for each account that is due to be swept, which are then posted
    faster than they are carried out."""
    names = env.names
    raise_tasks = f"{ERRORS}; raise maximumTasks of the trigger accounts"
    for what, queue, most, advice in (
        ("dead letters", names.dead_letters, 0, "link-peer failed"),
        ("accounts to sweep", names.sweep_queue, len(env.policy.accounts), raise_tasks),
    ):
        try:
            count = waiting_messages(env.settings, env.policy.home, queue, delayed=not most)
        except LinkPeerError as error:
            yield unreadable("", what, error)
            continue
        late = count > most
        yield CheckFinding(WARNING if late else OK, "", what, str(count), advice if late else "")


def _last_summary(env: Environment) -> Record | None:
    """The summary of the last sweep that the function made."""
    found = sweeps_of_a_day(env, env.policy.deployment)
    return max(found, key=lambda record: record["time"], default=None)


def sweeps_of_a_day(env: Environment, deployment: str = "") -> list[Record]:
    """The summaries of a day's sweeps of the function, of one deployment or of all that write into this log; a person's
    `link-peer sweep` has another policy. Raises LinkPeerError if the log cannot be read."""
    query = condition({"record": "summary", "function": "sweep", "deployment": deployment})
    found = AuditReader(env.settings, env.clock).read(query, env.now - DAY)
    return [record for record in found if not record.get("event_id", "").startswith("sweep-cli-")]


def _age(env: Environment, what: str, summary: Record) -> CheckFinding:
    age = env.now - parse_instant(summary["time"])
    detail = f"{age / 60:.0f} minutes ago, {summary.get('seconds', '?')} s: {summary['outcome']}"
    if summary["outcome"] == "failed":
        return CheckFinding(WARNING, "", what, f"{detail}: {summary.get('detail', '')}", summary.get("advice", ""))
    if age > LATE_SECONDS:
        return CheckFinding(WARNING, "", what, detail, ERRORS)
    return CheckFinding(OK, "", what, detail)


def _policy(env: Environment, summary: Record) -> CheckFinding:
    what, local = "policy", env.policy.digest
    deployed = summary.get("policy", "")
    if deployed == local:
        return CheckFinding(OK, "", what, f"{local}: deployed as in {env.settings.policy_path}")
    advice = "link-peer package; s deploy -y; or, if the deployed one is right, take that file. The next sweep shows it"
    detail = f"{env.settings.policy_path} is {local}, deployed is {deployed or 'an older package'}"
    return CheckFinding(DIFFERS, "", what, detail, advice)
