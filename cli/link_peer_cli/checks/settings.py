"""What the settings and the policy say: another queue or log than `link-peer setup` makes, a pause, or the tags of another deployment."""

from __future__ import annotations

from collections.abc import Iterator

from link_peer.domain.errors import LinkPeerError
from link_peer.domain.policy import Pause

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.log import AuditReader
from link_peer_cli.checks.finding import DIFFERS, MISSING, OK, WARNING, CheckFinding, unreadable
from link_peer_cli.deployed.functions import conflicts, deployments
from link_peer_cli.deployed.queue import waiting_messages

FILTERS = frozenset({"record", "outcome", "reason", "link", "request_id", "event_id", "from", "to"})
"""Fields that `link-peer audit` searches."""

_PAUSED = {Pause.OPENING: "nothing is opened; closing goes on", Pause.ALL: "nothing is changed"}


def check(env: Environment) -> Iterator[CheckFinding]:
    """The queue and the log, if the settings name others, and whether the policy pauses anything."""
    yield from _queue(env)
    yield from _log(env)
    if what := _PAUSED.get(env.policy.paused):
        paused = f"paused: {env.policy.paused.value}"
        yield CheckFinding(WARNING, "", paused, what, "set paused: false in the policy file")


def _queue(env: Environment) -> Iterator[CheckFinding]:
    name = env.settings.queue
    if name == env.names.queue:
        return
    try:
        waiting_messages(env.settings, env.policy.home, name)
    except LinkPeerError as error:
        yield _refused(f"queue {name}", error, "LINK_PEER_QUEUE names another queue than `link-peer setup` makes")
    else:
        yield CheckFinding(OK, "", f"queue {name}", "exists")


def _log(env: Environment) -> Iterator[CheckFinding]:
    settings, names = env.settings, env.names
    if (settings.audit_project, settings.audit_logstore) == (names.audit_project, names.audit_logstore):
        return
    what = f"log {settings.audit_project}/{settings.audit_logstore}"
    try:
        lacking = sorted(FILTERS - AuditReader(settings, env.clock).indexed_fields())
    except LinkPeerError as error:
        advice = "LINK_PEER_AUDIT_PROJECT and _LOGSTORE name another log than `link-peer setup` makes"
        yield _refused(what, error, advice)
        return
    if lacking:
        advice = "apply the index in deploy/sls-index.json"
        yield CheckFinding(MISSING, "", what, f"not searchable by {', '.join(lacking)}", advice)
    else:
        yield CheckFinding(OK, "", what, "searchable")


def _refused(what: str, error: Exception, advice: str) -> CheckFinding:
    """What does not exist is missing; what could not be read for another reason is unknown."""
    gone = any(code in str(error) for code in ("NotExist", "NotFound"))
    return CheckFinding(MISSING, "", what, str(error), advice) if gone else unreadable("", what, error)


def other_deployments(env: Environment) -> Iterator[CheckFinding]:
    """One finding for each deployment with the same tags or the same name, and one if the functions have other tags."""
    settings, prefix = env.settings, env.names.prefix
    try:
        found = list(conflicts(settings, env.policy, prefix, env.clock))
        own = [one.tag_prefix for one in deployments(settings, env.policy.home) if one.prefix == prefix]
    except LinkPeerError as error:
        yield unreadable("", "other deployments", error)
        return
    for detail, advice in found:
        yield CheckFinding(DIFFERS, "", "other deployment", detail, advice)
    for tag_prefix in own:
        if tag_prefix != settings.tag_prefix:
            detail = f"the functions act on tags {tag_prefix}-…, and LINK_PEER_TAG_PREFIX is {settings.tag_prefix} here"
            yield CheckFinding(DIFFERS, "", "tag prefix", detail, "set it as it was when the functions were deployed")
