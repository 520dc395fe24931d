"""`link-peer audit --verify --all-regions`: calls by roles of link-peer in regions where it has no functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set

from link_peer.domain.errors import LinkPeerError
from link_peer.domain.tags import iso
from link_peer.runtime.settings import Settings

from link_peer_cli.access.environment import Environment
from link_peer_cli.answers.operation import Mismatch
from link_peer_cli.audit.trail_consent import UNPROVEN
from link_peer_cli.audit.trail_events import Event
from link_peer_cli.audit.trail_log import Roles
from link_peer_cli.ui.remedies import message

OTHER_REGION = "other-region"
RegionEvents = Callable[[Settings], tuple[Sequence[Event], Mapping[str, str]]]
"""What reads the events of a region, and says by account why they could not be read."""
HasFunctions = Callable[[Settings], bool]
"""What tells whether a region has functions of the deployment. Raises LinkPeerError if that cannot be read."""


def other_region_findings(
    env: Environment,
    regions: Sequence[Settings],
    read: RegionEvents,
    has_functions: HasFunctions,
    since: float,
    roles: Roles,
) -> Iterator[Mismatch]:
    """Each call by a role of link-peer since an instant (epoch seconds) in these regions, but for those that have
    functions of this deployment: there its own log judges. What could not be read is unproven."""
    for settings in regions:
        events, refused = read(settings)
        for account, reason in refused.items():
            yield _unproven(env, account, f"ActionTrail of {settings.region} was not read", reason)
        calls = [event for event in events if event.time >= since and _is_ours(event, roles.changing)]
        if not calls:
            continue
        try:
            if has_functions(settings):
                continue
        except LinkPeerError as error:
            yield _unproven(env, env.policy.home, f"the functions of {settings.region} were not read", message(error))
        yield from (_finding(event, settings.region) for event in calls)


def _is_ours(event: Event, changing: Mapping[str, Mapping[str, Set[str]]]) -> bool:
    return event.succeeded and event.role in changing.get(event.account, {})


def _finding(event: Event, region: str) -> Mismatch:
    return Mismatch(
        time=iso(event.time),
        account=event.account,
        subject=f"{event.name} {' '.join(event.groups)}",
        rule=" ".join([*event.rule_ids, *(key for key, _ in event.tags)]),
        request_id=event.request_id,
        caller=f"{event.caller} from {event.address}" if event.address else event.caller,
        finding=OTHER_REGION,
        detail=f"a role of link-peer made it in {region}, which has no functions of this deployment",
        advice=f"find out who used the role {event.role} and from where, revoke its permissions, and undo the call in {region} by "
        "hand: no sweep goes there",
        pending=False,
    )


def _unproven(env: Environment, account: str, subject: str, reason: str) -> Mismatch:
    advice = "allow actiontrail:LookupEvents, and at home fc:GetFunction and fc:GetAlias, to the reader's role: docs/permissions.md"
    return Mismatch(iso(env.now), account, subject, "", "", "", UNPROVEN, reason, advice, pending=False)
