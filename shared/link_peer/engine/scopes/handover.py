"""Messages that auto_link posts: syncs of pairs that it does not decide about itself, and looks at parties, also at those
that must be looked at again: something is not shown yet, or met a transient error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from link_peer.domain.denials import PAUSED
from link_peer.domain.errors import Transient
from link_peer.domain.model import Link, Party
from link_peer.domain.policy import Pause
from link_peer.domain.request import look_request, sync_request
from link_peer.engine.converge import Scope
from link_peer.engine.records import link_fields, why_fields
from link_peer.runtime.ports import Record

LOOK_AGAIN_SECONDS = 3600  # until when a look after a transient error is repeated


class Later(msgspec.Struct, frozen=True):
    """A party to look at again until `expires_at` (epoch seconds), and why."""

    party: Party
    why: str
    expires_at: float


def post_syncs(scope: Scope, pairs: Mapping[Link, Party | None], detail: str) -> None:
    """Posts a sync of each pair, given with the instance whose tag names it. `detail` says why. Stops with Transient when
    the function's time is nearly over, so that the rest is posted by a later look."""
    paused = scope.policy.paused is Pause.ALL
    fields = {"record": "intent", "detail": detail}
    if paused:
        fields = {"record": "outcome", "outcome": PAUSED.outcome, **why_fields(PAUSED)}
    requests = [sync_request(pair, scope.delivery.region, scope.started) for pair in sorted(pairs)]
    scope.audit.write(
        [
            {
                **fields,
                "action": "sync",
                "request_id": request.request_id,
                **link_fields(request.link, scope.delivery.region),
                "instance": str(pairs[request.link] or ""),
            }
            for request in requests
        ]
    )
    for request in () if paused else requests:
        if scope.delivery.out_of_time():
            raise Transient("the function's time is nearly over, and not every pair is on the queue yet")
        scope.delivery.post(request)


def post_looks(scope: Scope, parties: Sequence[Party], expires_at: float, detail: str) -> None:
    """Posts a look at each party."""
    records: list[Record] = [
        {
            "record": "intent",
            "action": "look",
            "from_account": party.account,
            "from": party.id,
            "detail": detail,
        }
        for party in parties
    ]
    scope.audit.write(records)
    for party in parties:
        scope.delivery.post(look_request(party, scope.delivery.region, expires_at))
