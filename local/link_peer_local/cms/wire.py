"""CMS on the wire: RPC calls of version 2019-01-01."""

from __future__ import annotations

from link_peer_local.cms.backend import CmsBackend
from link_peer_local.core import rpc
from link_peer_local.core.http import Response
from link_peer_local.core.identity import Caller


def handle(backend: CmsBackend, caller: Caller, call: rpc.Call) -> Response:
    """Answer one call of a verified caller."""
    return rpc.answer(call, backend.call(caller, call.action, call.params))
