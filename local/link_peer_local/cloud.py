"""The local cloud as a whole: every service, its identities and faults, behind one function."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from link_peer_local.admin import wire as admin
from link_peer_local.core import rpc, signatures
from link_peer_local.core.clock import Clock, SystemClock
from link_peer_local.core.errors import ApiError
from link_peer_local.core.faults import Call, Faults
from link_peer_local.core.http import Request, Response
from link_peer_local.core.identity import Caller, Identity
from link_peer_local.ecs import EcsBackend
from link_peer_local.eventbridge import wire as eventbridge_wire
from link_peer_local.eventbridge.backend import EventBridge
from link_peer_local.fc import wire as fc_wire
from link_peer_local.fc.backend import FcBackend
from link_peer_local.fc.runtime import InProcessRuntime
from link_peer_local.fc.triggers import role_keys
from link_peer_local.mns import wire as mns_wire
from link_peer_local.mns.backend import MnsBackend
from link_peer_local.sls import SlsBackend
from link_peer_local.sls import wire as sls_wire
from link_peer_local.sts.backend import StsBackend
from link_peer_local.sts.policy import matches

if TYPE_CHECKING:
    from link_peer_local.world import World

log = logging.getLogger(__name__)


class LocalCloud:
    """One region of Alibaba Cloud in memory, empty of accounts; `link_peer_local.world.load` fills it.

    `handle` may be called from many threads. It may block (long polling, functions) and raise ConnectionDropped,
    NoAnswer or Killed when a fault says so.
    """

    def __init__(self, clock: Clock | None = None, region: str = "cn-qingdao") -> None:
        self.clock: Clock = clock or SystemClock()
        self.region = region
        self.endpoint = ""  # set while a server listens
        self.world: World  # set by link_peer_local.world.load
        self.identity = Identity()
        self.faults = Faults(self.clock)
        self.ecs = EcsBackend(self.clock, region)
        self.sts = StsBackend(self.clock, self.identity, self.permitted)
        self.sls = SlsBackend(self.clock, region)
        self.mns = MnsBackend(self.clock, region)
        self.events = EventBridge(self.clock, region)
        self.fc = FcBackend(self.clock, region, InProcessRuntime(self.clock), role_keys(self))
        self.ecs.permitted = lambda caller, action: self.permitted(caller, f"ecs:{action}")
        self.ecs.on_event = self.events.publish

    def permitted(self, caller: Caller, action: str) -> bool:
        """Whether the caller's own policy allows `ecs:DescribeInstances` and the like. Only roles can be narrowed."""
        if caller.role is None:
            return True
        if caller.policy is not None and not caller.policy.allows(action):
            return False
        role = self.identity.roles.get(f"acs:ram::{caller.account}:role/{caller.role}")
        if role is None or role.allowed_actions is None:
            return role is not None
        return matches(action, role.allowed_actions)

    def handle(self, request: Request) -> Response:
        """Answer one request: find the service, check the signature, meet the faults, call the backend."""
        if request.path.startswith(admin.PREFIX):
            return admin.handle(self, request)
        if rpc.is_rpc(request):
            return self._rpc(request)
        service, wire, backend = self._rest(request)
        error = wire.error
        try:
            caller = signatures.verify(service, request, {}, self.identity, self.clock.now())
        except ApiError as refusal:
            return error(refusal)
        params = dict(parse_qsl(request.query, keep_blank_values=True))
        call = Call(service, wire.action(request), caller.account, {**params, "path": request.path})
        return self.faults.around(call, _safely(partial(wire.handle, backend, caller, request), error), error)

    def _rpc(self, request: Request) -> Response:
        call = rpc.parse(request)
        error = partial(rpc.error, call)
        try:
            rpc.check(call)
            caller = signatures.verify(call.service, request, call.sent, self.identity, self.clock.now())
        except ApiError as refusal:
            return error(refusal)
        enter = {
            "ecs": partial(self.ecs.call, request_id=call.request_id),
            "sts": self.sts.call,
            "eventbridge": self.events.call,
        }[call.service]
        seen = Call(call.service, call.action, caller.account, call.params)
        run = _safely(lambda: rpc.answer(call, enter(caller, call.action, call.params)), error)
        return self.faults.around(seen, run, error)

    def _rest(self, request: Request) -> tuple[str, ModuleType, Any]:
        """The REST service that a request is for, as its authorization, its version header or its path says."""
        headers = request.headers
        scheme = headers.get("authorization", "").partition(" ")[0]
        if scheme == "MNS" or "x-mns-version" in headers:
            return "mns", mns_wire, self.mns
        if scheme == "FC" or request.path.startswith(tuple(f"/{version}/" for version in fc_wire.VERSIONS)):
            return "fc", fc_wire, self.fc
        if scheme.startswith("acs:") or request.path.startswith("/openapi/"):
            return "eventbridge", eventbridge_wire, self.events
        return "sls", sls_wire, self.sls


def _safely(run: Callable[[], Response], error: Callable[[ApiError], Response]) -> Callable[[], Response]:
    """A refusal becomes the service's answer; so does a bug of ours, which is logged."""

    def answer() -> Response:
        try:
            return run()
        except ApiError as refusal:
            return error(refusal)
        except Exception:
            log.exception("the local cloud failed")
            return error(ApiError("InternalError", 500, "The request processing has failed due to some unknown error."))

    return answer
