"""What the functions did at the last run that was due: their own records say it, and nobody else can."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.tags import parse_instant
from link_peer.planning.rota import RUN_SECONDS, last_turn, runs_between
from link_peer.runtime.ports import Record

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.log import AuditReader, condition
from link_peer_cli.checks.finding import MISSING, OK, UNKNOWN, WARNING, CheckFinding, unreadable
from link_peer_cli.deployed.functions import DeployedFunctions

DAY = 86_400
ERRORS = "look at the errors of the function in the logstore functions"
DEPLOY = "link-peer package (the first time, with --first); s deploy -y"
GRACE_SECONDS = 2 * RUN_SECONDS
"""A run begins at some moment of its ten minutes, and what it began may take as long."""


class Runs(msgspec.Struct, frozen=True):
    """The summaries of a day, as the functions' sweeps recorded them."""

    summaries: Sequence[Record] = ()
    error: LinkPeerError | None = None  # why they could not be read
    # when the function was deployed, in epoch seconds, where no run is on record and none may have been due yet
    deployed: float | None = None
    advice: str = ""  # what to do where there are no runs

    def last(self, scope: str, account: str = "") -> Record | None:
        """The newest summary of a run (`timer`), or of the sweep of an account (`account`)."""
        summaries = (r for r in self.summaries if r.get("scope") == scope and account in ("", r.get("account")))
        return max(summaries, key=lambda record: record["time"], default=None)


def read_runs(env: Environment) -> Runs:
    """The runs of this deployment in its region."""
    try:
        summaries = sweeps_of_a_day(env, env.policy.deployment)
    except LinkPeerError as error:
        return Runs(error=error)
    region_summaries = [summary for summary in summaries if summary.get("region") == env.settings.region]
    listed = {summary.get("account") for summary in region_summaries}  # none of a run of the timer
    if env.policy.accounts.keys() <= listed:
        return Runs(region_summaries)
    try:
        live = DeployedFunctions(env.settings, env.policy.home).live(env.names.functions["sweep"])
        deployed = parse_instant(live.since) if live and live.since else None
    except (LinkPeerError, BadInput):
        return Runs(region_summaries)
    return Runs(region_summaries, deployed=deployed, advice="" if live else DEPLOY)


def sweeps_of_a_day(env: Environment, deployment: str = "") -> list[Record]:
    """The summaries of a day's sweeps of the function, of one deployment or of all that write into this log; a person's
    `link-peer sweep` has another policy. Raises LinkPeerError if the log cannot be read."""
    query = condition({"record": "summary", "function": "sweep", "deployment": deployment})
    summaries = AuditReader(env.settings, env.clock).read(query, env.now - DAY)
    return [record for record in summaries if not record.get("event_id", "").startswith("sweep-cli-")]


def account_entry(env: Environment, runs: Runs, account: str) -> CheckFinding:
    """Whether the functions' own role entered an account at the last run that was due. What another identity could do
    there says nothing of that."""
    subject = "access"
    if runs.error:
        return unreadable(account, subject, runs.error)
    summary = runs.last("account", account)
    if summary is None:
        return not_due(env, runs, account, subject) or CheckFinding(
            UNKNOWN, account, subject, "no sweep of it was recorded within a day", runs.advice or ERRORS
        )
    now, time, role = env.now, parse_instant(summary["time"]), summary.get("entered_as", "")
    ago = minutes_ago(now - time)
    if refusal := summary.get("refusal"):
        refused = f"entered as {role}, and refused" if role else "the functions could not enter it"
        return CheckFinding(MISSING, account, subject, f"{refused} {ago}: {refusal}", _repair(env, account))
    if not role:
        trouble = summary.get("trouble", "")
        return CheckFinding(UNKNOWN, account, subject, f"could not be read {ago}: {trouble}", ERRORS)
    if time < last_turn(account, len(env.policy.accounts), now - GRACE_SECONDS):
        return CheckFinding(WARNING, account, subject, f"the last sweep of it is late: entered as {role} {ago}", ERRORS)
    return CheckFinding(OK, account, subject, f"entered as {role} {ago}")


def not_due(env: Environment, runs: Runs, account: str, subject: str) -> CheckFinding | None:
    """What is ok of the timer, or of an account whose turn comes with one of many runs: the functions were deployed so
    lately that no run of it has been due."""
    turns = runs_between(len(env.policy.accounts)) if account else 1
    seconds = None if runs.deployed is None else env.now - runs.deployed
    if seconds is None or seconds >= GRACE_SECONDS + (turns - 1) * RUN_SECONDS:
        return None
    return CheckFinding(OK, account, subject, f"no run was due yet: the functions were deployed {minutes_ago(seconds)}")


def minutes_ago(seconds: float) -> str:
    """How long ago it was, in words; a record's time may be a little ahead of the clock here."""
    return f"{max(0, round(seconds / 60))} minutes ago"


def _repair(env: Environment, account: str) -> str:
    """What mends the way into an account: its role, the trust policy, the external id, the permissions."""
    if account == env.policy.home:
        return "link-peer setup"
    return f"with keys of that account: link-peer account add {account} --profile PROFILE"
