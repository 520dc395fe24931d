"""Messages that auto_link posts: syncs of pairs that it does not decide about itself, and looks at parties, also at
those that must be looked at again: something is not shown yet, or met a transient error."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from link_peer.domain.denials import PAUSED
from link_peer.domain.errors import Transient
from link_peer.domain.model import Party
from link_peer.domain.policy import Pause
from link_peer.domain.request import Message, look_request, sync_request
from link_peer.engine.converge import Scope
from link_peer.engine.records import link_fields, why_fields
from link_peer.engine.scopes.differing import Pairs
from link_peer.runtime.ports import Record

LOOK_AGAIN_SECONDS = 3600  # until when a look after a transient error is repeated


class Later(msgspec.Struct, frozen=True):
    """A party to look at again until `expires_at` (epoch seconds), and why. `attempt` is the first look's, from which
    its delay follows."""

    party: Party
    reason: str
    expires_at: float
    attempt: int = 0


AT_ONCE = 3
"""Pairs whose syncs an event posts itself: with the event, they cost fewer calls than one message may. Of more pairs, a
look finds out first which of them differ."""


def post_syncs(scope: Scope, pairs: Pairs, detail: str, omitted: int = 0) -> None:
    """Posts a sync of each pair, given with the instance whose tag names it, in their order, as many as the delivery
    may post. `detail` says why; `omitted` pairs are the sweep's already. Stops with Transient when the function's time
    is nearly over, so that the rest is posted by a later look."""
    paused = scope.policy.paused is Pause.ALL
    region = scope.delivery.region
    fields = {"record": "intent", "detail": detail}
    if paused:
        fields = {"record": "outcome", "outcome": PAUSED.outcome, **why_fields(PAUSED)}
    requests = [sync_request(pair, region, scope.started) for pair in pairs]
    if not paused:
        requests, over_limit = scope.delivery.output.take(requests, scope.policy.limits.max_peers)
        omitted += over_limit
    records: list[Record] = [
        {
            **fields,
            "action": "sync",
            "request_id": request.request_id,
            **link_fields(request.link, region),
            "instance": str(pairs[request.link] or ""),
        }
        for request in requests
    ]
    _post(scope, "sync", [] if paused else requests, records, omitted)


def post_looks(scope: Scope, parties: Sequence[Party], expires_at: float, detail: str) -> None:
    """Posts a look at each party, as many as the delivery may post. Stops as `post_syncs` does."""
    candidates = [look_request(party, scope.delivery.region, expires_at) for party in parties]
    looks, omitted = scope.delivery.output.take(candidates, scope.policy.limits.max_peers)
    records: list[Record] = [
        {
            "record": "intent",
            "action": "look",
            "from_account": look.party.account,
            "from": look.party.id,
            "detail": detail,
        }
        for look in looks
    ]
    _post(scope, "look", looks, records, omitted)


def _post(scope: Scope, action: str, messages: Sequence[Message], records: list[Record], omitted: int) -> None:
    if omitted:
        limit = scope.policy.limits.max_peers
        reason = f"one delivery posts at most {limit} messages, and reads no more than one message may cost"
        records.append(
            {"record": "intent", "action": action, "detail": f"{omitted} more are left to the sweep: {reason}"}
        )
    scope.audit.write(records)
    for message in messages:
        if scope.delivery.out_of_time():
            raise Transient("the function's time is nearly over, and not everything is on the queue yet")
        scope.delivery.post(message)
