"""The local cloud as a whole: every service, its identities and faults, behind one function."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from aliyun_local import admin, coverage
from aliyun_local.actiontrail.backend import ActionTrail
from aliyun_local.core import places, real_api, rpc, signatures, tls
from aliyun_local.core.clock import Clock, SystemClock
from aliyun_local.core.errors import ApiError
from aliyun_local.core.faults import Call, Faults
from aliyun_local.core.http import Request, Response
from aliyun_local.core.identity import Caller, Identity
from aliyun_local.core.knobs import Knobs
from aliyun_local.core.policy import Access
from aliyun_local.core.refusals import INACTIVE
from aliyun_local.core.regions import REGIONS
from aliyun_local.ecs import EcsBackend
from aliyun_local.ecs.events import on_bus
from aliyun_local.eventbridge import wire as eventbridge_wire
from aliyun_local.eventbridge.backend import EventBridge
from aliyun_local.fc import wire as fc_wire
from aliyun_local.fc.backend import FcBackend
from aliyun_local.fc.routes import ALL as FC_VERSIONS
from aliyun_local.fc.runtime import InProcessRuntime, WorkerRuntime
from aliyun_local.fc.state import role_keys
from aliyun_local.fc.triggers import Triggers
from aliyun_local.mns import wire as mns_wire
from aliyun_local.mns.backend import MnsBackend
from aliyun_local.ram.backend import RamBackend
from aliyun_local.sls import SlsBackend
from aliyun_local.sls import wire as sls_wire
from aliyun_local.sls.documents import Documents
from aliyun_local.sts.backend import StsBackend
from aliyun_local.tag.backend import TagBackend
from aliyun_local.vpc.backend import VpcBackend

if TYPE_CHECKING:
    from aliyun_local.world import World

log = logging.getLogger(__name__)


Answering = Callable[[Caller, str, Mapping[str, str]], dict[str, Any]]
"""The `call` of an RPC service: runs one action that there is; the answer without RequestId, or ApiError."""

_PREFIXES = {"mns_open": "mns"}
"""What the actions of a service begin with in RAM, where it is not its name."""
_DENIED = {"vpc": "Forbidden.RAM", "tag": "NoPermission", "actiontrail": "NoPermission", "mns_open": "NoPermission"}
"""The services without resources in RAM, and how each refuses what it does not allow."""


class RestWire(Protocol):
    """The `wire` module of a REST-style service."""

    def action(self, request: Request, /) -> str:
        """The operation's name, for faults and counts."""

    def handle(self, backend: Any, caller: Caller, request: Request, /) -> Response:
        """Answer one request of a verified caller."""

    def error(self, refusal: ApiError, /) -> Response:
        """Render a refusal."""

    def access(self, request: Request, region: str, account: str, /) -> Access | None:
        """What a caller of the account asks RAM for; None for what is no operation."""

    def refused(self, denied: Access, /) -> ApiError:
        """The refusal of what RAM does not allow."""


class Shared:
    """What all regions of one cloud have in common: accounts and their rights, clock, faults, knobs."""

    def __init__(self, clock: Clock | None, region: str, knobs: Knobs | None) -> None:
        self.clock: Clock = clock or SystemClock()
        self.knobs = knobs or Knobs()
        self.identity = Identity()
        self.faults = Faults(self.clock, coverage.OFFERED)
        self.admin = admin.AdminBackend(self.clock, self.faults, self.identity, region, self.knobs)
        self.sts = StsBackend(self.clock, self.identity, self.knobs)
        self.ram = RamBackend(self.clock, self.identity, self.knobs)
        self.inactive: set[str] = set()  # services that the accounts have not activated
        self.account_names: dict[str, str] = {}
        self.alert_centres: dict[tuple[str, str], Documents] = {}
        self.regions: dict[str, LocalCloud] = {}
        self.fc_service = "default"  # under which FC 2.0 clients find the functions
        self.endpoint_variable = "ALIYUN_LOCAL_ENDPOINT"  # by which functions are told where the cloud is
        self.authority = ""  # the file that clients trust, while a server speaks TLS
        self.listen: Callable[[LocalCloud], object] = lambda _region: None  # a server opens a port for a new region
        self.lock = threading.Lock()

    def endpoint_of(self, region: str) -> str:
        """The host and port of a region's entrance, if a server listens there; else the real cloud's endpoint of
        ECS."""
        place = self.regions.get(region)
        return (place.endpoint if place else "").partition("://")[2] or f"ecs.{region}.aliyuncs.com"


class LocalCloud:
    """Alibaba Cloud in memory, entered at one region. It has no accounts until `aliyun_local.world.load` fills it.

    Every region that exists can be asked for: by RegionId, by host name, or at the entrance that `region_at` gives.
    What names no region is for the region of the entrance.

    `handle` may be called from many threads. It may block (long polling, functions), and raises ConnectionDropped,
    NoAnswer or Killed when an injected fault says so.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        region: str = "cn-qingdao",
        knobs: Knobs | None = None,
        shared: Shared | None = None,
    ) -> None:
        self.region = region
        self.endpoint = ""  # set while a server listens
        self.world: World  # set by aliyun_local.world.load
        self.shared = shared = shared or Shared(clock, region, knobs)
        shared.regions[region] = self
        self.clock, self.knobs, self.identity, self.faults = shared.clock, shared.knobs, shared.identity, shared.faults
        self.admin, self.sts, self.ram = shared.admin, shared.sts, shared.ram
        self.inactive = shared.inactive
        self.ecs = EcsBackend(self.clock, region, self.knobs)
        self.ecs.account_names = shared.account_names
        self.ecs.endpoint_of = shared.endpoint_of
        self.sls = SlsBackend(self.clock, region, shared.alert_centres, self.knobs)
        self.sls.taken_elsewhere = self._is_project_elsewhere
        self.mns = MnsBackend(self.clock, region, self.knobs)
        self.events = EventBridge(self.clock, region, self.identity, self.knobs)
        packages = WorkerRuntime(extra=lambda: self.variables)
        runtime = InProcessRuntime(self.clock, packages=packages)
        self.fc = FcBackend(self.clock, region, runtime, role_keys(self.identity, self.clock), shared.fc_service)
        self.fc.endpoint = lambda: self.endpoint
        self.triggers = Triggers(self)
        self.ecs.permitted = self.identity.permitted
        self.vpc = VpcBackend(self.ecs)
        self.trail = ActionTrail(self.clock, region)
        self.tag = TagBackend(self.ecs, self.trail.record)
        self.ecs.on_event = self._publish

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of a process that uses this entrance; none without a server."""
        trusted = dict.fromkeys(tls.VARIABLES, self.shared.authority) if self.shared.authority else {}
        return {self.shared.endpoint_variable: self.endpoint, **trusted} if self.endpoint else {}

    @property
    def regions(self) -> dict[str, LocalCloud]:
        """The entrances that exist so far, by region; the one that a world was loaded at is the first."""
        return dict(self.shared.regions)

    def region_at(self, region: str) -> LocalCloud:
        """The entrance of a region. A region that nobody has asked for yet is empty. ValueError for one that does not
        exist."""
        if region not in REGIONS:
            raise ValueError(f"{region} is not a region of Alibaba Cloud")
        with self.shared.lock:
            if region not in self.shared.regions:
                cloud = LocalCloud(region=region, shared=self.shared)
                self.shared.listen(cloud)
                if self.triggers.started:
                    cloud.triggers.start()
            return self.shared.regions[region]

    def _is_project_elsewhere(self, name: str) -> bool:
        places = self.shared.regions.values() if self.knobs.project_names == "global" else ()
        return any(place.sls.has_project(name) for place in list(places) if place is not self)

    def _publish(self, account: str, event: dict[str, Any]) -> None:
        self.trail.record(account, event)
        self.events.publish(account, on_bus(event, self.knobs.trail_resources))

    def handle(self, request: Request) -> Response:
        """Answer one request: find region and service, verify the signature, apply faults, call the backend."""
        if request.path.startswith(admin.PREFIX):
            return admin.handle(self.admin, request)
        if request.path.startswith(fc_wire.PACKAGES):
            return fc_wire.download(self.fc, request)
        if rpc.is_rpc(request):
            call = rpc.parse(request)
            return self._in(places.of_call(call.service, call.sent.get("RegionId", ""), request.host))._rpc(
                request, call
            )
        return self._in(places.of_request(request))._rest_answer(request)

    def _in(self, region: str) -> LocalCloud:
        return self if region in ("", self.region) else self.region_at(region)

    def _rpc(self, request: Request, call: rpc.Call) -> Response:
        error = partial(rpc.error, call)
        try:
            rpc.check(call)
            caller = signatures.verify(call.service, request, call.sent, self.identity, self.clock.now())
        except ApiError as refusal:
            return error(refusal)
        services: dict[str, Answering] = {
            "ecs": partial(self.ecs.call, request_id=call.request_id),
            "sts": self.sts.call,
            "ram": self.ram.call,
            "eventbridge": self.events.call,
            "vpc": self.vpc.call,
            "tag": self.tag.call,
            "actiontrail": self.trail.call,
            "mns_open": self.mns.endpoints.call,
        }
        counted = Call(call.service, call.action, caller.account, call.params)
        return self.faults.around(
            counted, _safely(partial(self._call, services[call.service], caller, call), error), error
        )

    def _call(self, answering: Answering, caller: Caller, call: rpc.Call) -> Response:
        """Run an RPC call that RAM allows. ECS, STS and RAM ask RAM themselves: their refusals depend on the call."""
        self._require_active(call.service)
        if call.action not in coverage.OFFERED[call.service]:
            if call.action in real_api.names(call.service):
                raise real_api.not_offered(call.service, call.action)
            raise ApiError("InvalidAction.NotFound", 404)
        if call.service == "ecs" and places.elsewhere(call.host, call.sent.get("RegionId", "")):
            raise ApiError("InvalidOperation.NotSupportedEndpoint", 404)
        if call.service == "eventbridge":
            access = eventbridge_wire.called(call.action, call.params, self.region, caller.account)
            if not self.identity.permitted(caller, access):
                raise eventbridge_wire.refused(access)
        denied = _DENIED.get(call.service, "")
        if denied and not self.identity.permitted(
            caller, Access(f"{_PREFIXES.get(call.service, call.service)}:{call.action}")
        ):
            raise ApiError(denied, 403)
        return rpc.answer(call, answering(caller, call.action, call.params))

    def _rest_answer(self, request: Request) -> Response:
        service, wire, backend = self._service(request)
        try:
            caller = signatures.verify(service, request, {}, self.identity, self.clock.now())
        except ApiError as refusal:
            return wire.error(refusal)
        counted = Call(service, wire.action(request), caller.account, {**request.params, "path": request.path})

        def run() -> Response:
            self._require_active(service)
            real = real_api.operation_name(service, request.method, request.path) if counted.action == "Unknown" else ""
            if real and real not in coverage.OFFERED[service]:
                raise real_api.not_offered(service, real)
            access = wire.access(request, self.region, caller.account)
            if access is not None and not self.identity.permitted(caller, access):
                raise wire.refused(access)
            return wire.handle(backend, caller, request)

        return self.faults.around(counted, _safely(run, wire.error), wire.error)

    def _require_active(self, service: str) -> None:
        """Raise the refusal of a service that the accounts have not activated."""
        if service in self.inactive:
            raise ApiError(*INACTIVE[service])

    def _service(self, request: Request) -> tuple[str, RestWire, object]:
        """The REST-style service that a request is for, by its authorization, version header or path."""
        headers = request.headers
        scheme = headers.get("authorization", "").partition(" ")[0]
        if scheme == "MNS" or "x-mns-version" in headers:
            return "mns", mns_wire, self.mns
        if scheme == "FC" or request.path.startswith(tuple(f"/{version}/" for version in FC_VERSIONS)):
            return "fc", fc_wire, self.fc
        if scheme.startswith("acs:") or request.path.startswith("/openapi/"):
            return "eventbridge", eventbridge_wire, self.events
        return "sls", sls_wire, self.sls


def _safely(run: Callable[[], Response], error: Callable[[ApiError], Response]) -> Callable[[], Response]:
    """Render a refusal in the service's format; answer 500 for a bug of ours, and log it."""

    def answer() -> Response:
        try:
            return run()
        except ApiError as refusal:
            return error(refusal)
        except Exception:
            log.exception("the local cloud failed")
            return error(ApiError("InternalError", 500))

    return answer
