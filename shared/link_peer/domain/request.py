"""A request for a link, as a value. Its JSON form is read and written by inbound.requests."""

from __future__ import annotations

from typing import Literal

import msgspec

from link_peer.domain.model import Link

SYNC_LIFE = 3600  # seconds until a sync that auto_link posts expires


class Request(msgspec.Struct, frozen=True):
    """A request that matches the schema. Without ports in the message, `link` is mutual. Instants are epoch seconds.
    `justification` and `requested_by` are recorded as claimed."""

    request_id: str
    action: Literal["link", "unlink", "sync"]
    region: str
    link: Link
    expires_at: float
    until: int | None = None
    justification: str = ""
    requested_by: str = ""
    version: Literal[1] = 1


def sync_request(link: Link, region: str, now: float) -> Request:
    """The request to look at a pair again: one request id for the pair in its direction, whatever the ports."""
    pair = Link(link.source, link.target)
    return Request(
        f"tag-{pair.id(region, ordered=True)}", "sync", region, pair, now + SYNC_LIFE, requested_by="auto_link"
    )
