"""The floor: an interpreter and the standard library's HTTPS client, which makes the five calls that a first link
needs."""

from __future__ import annotations

import http.client
import json
import os

CALLS = 5


def handler(event: bytes, _context: object) -> str:
    """Read the event, make five calls over one connection, read their JSON."""
    json.loads(event)
    connection = http.client.HTTPSConnection(os.environ["LINK_PEER_CLOUD"].partition("://")[2])
    for _ in range(CALLS):
        connection.request("GET", "/_local/health")
        json.loads(connection.getresponse().read())
    return "done"
