"""What arrives, as values: what an event says, and what the queue carries: requests for links, and looks at a party.
inbound.events and inbound.requests read them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from link_peer.domain.model import Link, Party

SYNC_SECONDS = 3600  # until a sync that auto_link posts expires
LOOK_SECONDS = 3600  # until a look that is posted after a transient error expires
LATE_SECONDS = 300  # that `expires_at` may be past: clocks differ, and deliveries are repeated
_ID_LENGTH = 48


class Cause(msgspec.Struct, frozen=True):
    """What an event says of its origin. It informs, and decides nothing: anyone who may put events on the bus can write
    it."""

    actor: str = ""  # the principal who made the API call, like an ARN; else the event's type
    call: str = ""  # of a change of tags, the API call
    request_id: str = ""  # its RequestId
    # the changed keys on which links depend, with their new values; None: taken off
    tags: tuple[tuple[str, str | None], ...] = ()


class Hint(msgspec.Struct, frozen=True):
    """A party of the home account to look at, and why: a hint, never a fact."""

    event_id: str
    party: Party  # `eni-…` where the event names only a network interface
    # new state, tags changed, groups or addresses changed, or asked for again
    kind: Literal["state", "tags", "moved", "look"]
    time: float | None = None  # the event's, in epoch seconds
    state: str = ""
    expires: float | None = None  # the end of a look, in epoch seconds
    cause: Cause = Cause()


class Request(msgspec.Struct, frozen=True):
    """A request that matches the schema. Instants are epoch seconds."""

    request_id: str
    action: Literal["link", "unlink", "sync"]
    region: str
    link: Link  # mutual where the message has no ports
    expires_at: float
    until: int | None = None
    reason: str = ""  # recorded as claimed
    requested_by: str = ""  # recorded as claimed
    attempt: int = 0  # how often it was put back on its queue


class Look(msgspec.Struct, frozen=True):
    """ "Look at this party again", as an event of it would. It carries no wish, so anyone may post it and gain
    nothing."""

    request_id: str
    region: str
    party: Party
    expires_at: float
    attempt: int = 0


class SweepAccount(msgspec.Struct, frozen=True):
    """The message "sweep this account", on a queue of its own."""

    region: str
    account: str
    posted_at: float  # epoch seconds
    cursor: object = None  # how far an earlier delivery came; untrusted


Message = Request | Look


def sync_request(link: Link, region: str, now: float) -> Request:
    """The request to look at a pair again: one request id for the pair in its direction, whatever the ports."""
    pair = Link(link.source, link.target)
    return Request(
        f"tag-{pair.id(region, ordered=True)}", "sync", region, pair, now + SYNC_SECONDS, requested_by="auto_link"
    )


def look_request(party: Party, region: str, expires_at: float) -> Look:
    """The message to look at a party again until `expires_at`."""
    return Look(f"look-{party.id}"[:_ID_LENGTH], region, party, expires_at)
