"""What the settings and the policy say: another queue or log than `link-peer setup` makes, a pause, or the tags of
another deployment."""

from __future__ import annotations

from collections.abc import Iterator

from link_peer.domain.errors import LinkPeerError
from link_peer.domain.policy import Pause

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.log import AuditReader
from link_peer_cli.checks.finding import DIFFERS, MISSING, OK, WARNING, CheckFinding, unreadable
from link_peer_cli.deployed.functions import DeployedFunctions, conflicts, deployments
from link_peer_cli.deployed.queue import attributes
from link_peer_cli.deployed.queue_endpoint import internal, public_endpoint

FILTERS = frozenset({"record", "outcome", "reason", "link", "request_id", "event_id", "from", "to"})
"""Fields that `link-peer audit` searches."""

_PAUSED = {Pause.OPENING: "nothing is opened; closing goes on", Pause.ALL: "nothing is changed"}


def check(env: Environment) -> Iterator[CheckFinding]:
    """The queue and the log, if the settings name others, and whether the policy pauses anything."""
    yield from _queue(env)
    yield from _log(env)
    if effect := _PAUSED.get(env.policy.paused):
        paused = f"paused: {env.policy.paused.value}"
        yield CheckFinding(WARNING, "", paused, effect, "set paused: false in the policy file")


def _queue(env: Environment) -> Iterator[CheckFinding]:
    name = env.settings.queue
    if name == env.names.queue:
        return
    try:
        attributes(env.settings, env.policy.home, name)
    except LinkPeerError as error:
        yield _refused(f"queue {name}", error, "LINK_PEER_QUEUE names another queue than `link-peer setup` makes")
    else:
        yield CheckFinding(OK, "", f"queue {name}", "exists")


def queue_endpoint(env: Environment) -> Iterator[CheckFinding]:
    """Whether the functions can reach the queues: through the public endpoint, unless they were deployed with another
    one. What may not be asked is a warning, since no page says which right it takes."""
    subject, function = "public endpoint of the queues", env.names.functions["cross_account"]
    try:
        endpoint = public_endpoint(env.settings)
        live = DeployedFunctions(env.settings, env.policy.home).live(function)
    except LinkPeerError as error:
        yield CheckFinding(
            WARNING, "", subject, f"cannot be read: {error}", "if messages do not arrive, look in the console"
        )
        return
    endpoint_in_use = live.environment.get("LINK_PEER_MNS_ENDPOINT", "") if live else env.settings.endpoint("mns")[1]
    if endpoint.is_open:
        yield CheckFinding(OK, "", subject, "answers everybody")
        return
    detail = f"answers {', '.join(endpoint.networks) or 'nobody'} only" if endpoint.is_enabled else "is closed"
    if "-internal" in endpoint_in_use:
        yield CheckFinding(OK, "", subject, f"{detail}; the functions use {endpoint_in_use}")
        return
    setting = f"export LINK_PEER_MNS_ENDPOINT={internal(env.policy.home, env.settings.region)}; s deploy -y"
    open_it = "aliyun mns-open EnableEndpoint --EndpointType public"
    yield CheckFinding(MISSING, "", subject, f"{detail}, and the functions use it", f"{setting}; or: {open_it}")


def _log(env: Environment) -> Iterator[CheckFinding]:
    settings, names = env.settings, env.names
    made_by_setup = (names.audit_project(settings.region), names.audit_logstore)
    if (settings.audit_project, settings.audit_logstore) == made_by_setup:
        return
    subject = f"log {settings.audit_project}/{settings.audit_logstore}"
    try:
        lacking = sorted(FILTERS - AuditReader(settings, env.clock).indexed_fields())
    except LinkPeerError as error:
        advice = "LINK_PEER_AUDIT_PROJECT and _LOGSTORE name another log than `link-peer setup` makes"
        yield _refused(subject, error, advice)
        return
    if lacking:
        advice = "apply the index in deploy/sls-index.json"
        yield CheckFinding(MISSING, "", subject, f"not searchable by {', '.join(lacking)}", advice)
    else:
        yield CheckFinding(OK, "", subject, "searchable")


def _refused(subject: str, error: Exception, advice: str) -> CheckFinding:
    """What does not exist is missing; what could not be read for another reason is unknown."""
    is_missing = any(code in str(error) for code in ("NotExist", "NotFound"))
    return CheckFinding(MISSING, "", subject, str(error), advice) if is_missing else unreadable("", subject, error)


def other_deployments(env: Environment) -> Iterator[CheckFinding]:
    """One finding for each deployment with the same tags or the same name, and one if the functions have other tags."""
    settings, prefix = env.settings, env.names.prefix
    try:
        clashes = list(conflicts(settings, env.policy, prefix, env.clock))
        tag_prefixes = [
            deployment.tag_prefix
            for deployment in deployments(settings, env.policy.home)
            if deployment.prefix == prefix
        ]
    except LinkPeerError as error:
        yield unreadable("", "other deployments", error)
        return
    for detail, advice in clashes:
        yield CheckFinding(DIFFERS, "", "other deployment", detail, advice)
    for tag_prefix in tag_prefixes:
        if tag_prefix != settings.tag_prefix:
            detail = f"the functions act on tags {tag_prefix}-…, and LINK_PEER_TAG_PREFIX is {settings.tag_prefix} here"
            yield CheckFinding(DIFFERS, "", "tag prefix", detail, "set it as it was when the functions were deployed")
