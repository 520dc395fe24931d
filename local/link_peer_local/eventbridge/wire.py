"""EventBridge on the wire: RPC calls of version 2020-04-01."""

from __future__ import annotations

from link_peer_local.core import rpc
from link_peer_local.core.http import Response
from link_peer_local.core.identity import Caller
from link_peer_local.eventbridge.backend import EventBridge


def handle(backend: EventBridge, caller: Caller, call: rpc.Call) -> Response:
    """Answer one call of a verified caller."""
    return rpc.answer(call, backend.call(caller, call.action, call.params))
