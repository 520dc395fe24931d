"""ECS on the wire: RPC calls of version 2014-05-26."""

from __future__ import annotations

from link_peer_local.core import rpc
from link_peer_local.core.http import Response
from link_peer_local.core.identity import Caller
from link_peer_local.ecs.backend import EcsBackend


def handle(backend: EcsBackend, caller: Caller, call: rpc.Call) -> Response:
    """Answer one call of a verified caller. The ActionTrail event gets the RequestId of the response."""
    return rpc.answer(call, backend.call(caller, call.action, call.params, call.request_id))
