"""Fault injection: what the network and an overloaded platform do to a call, before or after the change was made.

| kind      | the client sees                                                    |
|-----------|--------------------------------------------------------------------|
| throttle  | the service's own "too many requests"                              |
| error     | `code` and `status`, or the service's internal error (500)         |
| html      | 502 and an HTML page, as from a gateway                            |
| truncated | 200 and half of the JSON                                           |
| empty     | 200 and `{}`: a response without its fields (ECS and STS only)     |
| reset     | the connection is reset                                            |
| no-answer | silence until its read timeout                                     |
| kill      | nothing: the caller's process ends there (in-process only)         |
| slow      | the correct response, `seconds` later                              |

All but throttle and slow also exist as `<kind>-after`: the change is made first, then its response is replaced.

A slow call is also subject to the faults that were added later; `Fault(kind="slow", times=None, seconds=0.02)` is the
latency of a network. With `per_minute`, a fault passes so many calls of each API and account in a minute of the clock
and hits the others until the next minute; `Fault("ecs", kind="throttle", times=None, per_minute=200)` is how the
platform limits rates: by API, account and region [doc help 437902].
"""

from __future__ import annotations

import fnmatch
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase
from typing import Annotated

from msgspec import Meta, Struct, field

from aliyun_local.core.clock import Clock
from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import ConnectionDropped, NoAnswer, Response

_REPLACING = ("error", "html", "truncated", "empty", "reset", "no-answer", "kill")
KINDS = frozenset({"throttle", "slow", *_REPLACING, *(f"{kind}-after" for kind in _REPLACING)})
REMEMBERED_CALLS = 100_000
TEN_YEARS = 10 * 366 * 86_400

# Throttling and internal errors by service; both code and status differ [wire facts, SDK runs].
_THROTTLED = {
    "sls": ("WriteQuotaExceed", 403, "Write quota is exceeded."),
    "mns": ("QpsLimitExceeded", 403, "The qps limit of the queue is exceeded."),
    "fc": ("ResourceThrottled", 429, "Reserve resource exceeded limit"),
}
_THROTTLED_RPC = ("Throttling.User", 400, "Request was denied due to user flow control.")
_BROKEN = {
    "sls": ("InternalServerError", 500, "internal server error"),
    "mns": ("InternalServerError", 500, "Interal error."),
    "fc": ("InternalServerError", 500, "an internal error has occurred"),
}
_BROKEN_RPC = ("InternalError", 500, "The request processing has failed due to some unknown error.")
_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_HALF = b'{"RequestId":"473469C7-AA6F-4DC5-B3DB-A3DC0DE3C83E","Page'


class Killed(BaseException):
    """The caller's process ends here. Not an Exception, so that no client library can catch it."""


class Call(Struct):
    """One API call, as it is counted and matched against faults: `service` is ecs|sts|sls|mns|fc|eventbridge|ram.

    `ended` is None until its response is ready; both times are the clock's.
    """

    service: str
    action: str
    account: str
    params: Mapping[str, str] = field(default_factory=dict)
    started: float = 0.0
    ended: float | None = None


class Fault(Struct, forbid_unknown_fields=True):
    """What happens to the calls it matches: the first `skip` pass, the next `times` are hit (None: all of them).

    `service` and `action` are shell patterns; `account` limits it to one caller's account; `seconds` is for slow. With
    `per_minute`, only calls beyond that number of the same API and account in a minute count as matching.
    """

    service: str = "*"
    action: str = "*"
    kind: str = "error"
    times: int | None = 1
    skip: int = 0
    account: str | None = None
    code: str | None = None
    status: Annotated[int, Meta(ge=400, le=599)] | None = None
    seconds: Annotated[float, Meta(ge=0, le=TEN_YEARS)] = 0.0
    per_minute: Annotated[int, Meta(ge=0)] | None = None

    def matches(self, call: Call) -> bool:
        """Whether service, action and account are those of the call, and its service has such faults."""
        return (
            fnmatchcase(call.service, self.service)
            and fnmatchcase(call.action, self.action)
            and self.account in (None, call.account)
            # for the REST services, a 200 means that the write was accepted, whatever its body
            and (not self.kind.startswith("empty") or call.service in ("ecs", "sts", "ram"))
        )


class Faults:
    """The pending faults, and `calls`: the calls made so far, oldest first. `offered`: the actions of each service."""

    def __init__(self, clock: Clock, offered: Mapping[str, Collection[str]]) -> None:
        self._offered = offered
        self.calls: deque[Call] = deque(maxlen=REMEMBERED_CALLS)
        self._clock = clock
        self._waiting: list[Fault] = []
        self._minutes: dict[tuple[int, str, str, str], tuple[int, int]] = {}
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Register a fault for coming calls. ValueError for a kind, service or action that does not exist here."""
        if fault.kind not in KINDS:
            raise ValueError(f"no such fault: {fault.kind!r}; there are {', '.join(sorted(KINDS))}")
        services = fnmatch.filter(self._offered, fault.service)
        if not services:
            raise ValueError(f"no such service: {fault.service!r}; there are {', '.join(sorted(self._offered))}")
        if not any(fnmatch.filter(self._offered[service], fault.action) for service in services):
            raise ValueError(f"{', '.join(services)} has no action {fault.action!r} here")
        with self._lock:
            self._waiting.append(fault)
        return fault

    def clear(self) -> None:
        """Remove every pending fault."""
        with self._lock:
            self._waiting.clear()
            self._minutes.clear()

    def waiting(self) -> list[Fault]:
        """The pending faults, oldest first."""
        with self._lock:
            return list(self._waiting)

    def count(self, service: str = "*", action: str = "*") -> int:
        """How many calls were made, failed ones included; both arguments are shell patterns."""
        pattern = Fault(service, action)
        return sum(pattern.matches(call) for call in list(self.calls))

    def around(self, call: Call, run: Callable[[], Response], error: Callable[[ApiError], Response]) -> Response:
        """Run a call, with the faults that match it, if any. `error` renders a refusal in the service's format."""
        seconds, fault = self._strike(call)
        if seconds:
            self._clock.sleep(seconds)
        try:
            return run() if fault is None else _hit(fault, call, run, error)
        finally:
            call.ended = self._clock.now()

    def _strike(self, call: Call) -> tuple[float, Fault | None]:
        """How much slower this call is, and the fault that hits it, if any; counts them down."""
        call.started, seconds = self._clock.now(), 0.0
        with self._lock:
            self.calls.append(call)
            for fault in list(self._waiting):
                if not self._applies(fault, call):
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._waiting.remove(fault)
                if fault.kind != "slow":
                    return seconds, fault
                seconds += fault.seconds
        return seconds, None

    def _applies(self, fault: Fault, call: Call) -> bool:
        """Whether a fault hits this call; counts the calls that it lets pass."""
        if not fault.matches(call):
            return False
        if fault.per_minute is not None:
            api, minute = (id(fault), call.service, call.action, call.account), int(call.started // 60)
            counted_minute, passed = self._minutes.get(api, (minute, 0))
            passed = passed + 1 if counted_minute == minute else 1
            self._minutes[api] = (minute, passed)
            if passed <= fault.per_minute:
                return False
        if fault.skip > 0:
            fault.skip -= 1
            return False
        return True


def _hit(fault: Fault, call: Call, run: Callable[[], Response], error: Callable[[ApiError], Response]) -> Response:
    """What the client gets for a call that a fault hits."""
    kind = fault.kind.removesuffix("-after")
    answer = run() if kind != fault.kind else None
    if kind == "reset":
        raise ConnectionDropped(call.action)
    if kind == "no-answer":
        raise NoAnswer(call.action)
    if kind == "kill":
        raise Killed(call.action)
    if kind == "html":
        return Response(502, {"Content-Type": "text/html"}, _PAGE)
    if kind == "empty":
        return Response(200, {"Content-Type": "application/json;charset=utf-8"}, b"{}")
    if kind == "truncated":
        return _truncated(answer)
    return error(_refusal(fault, kind, call))


def _truncated(answer: Response | None) -> Response:
    """The beginning of the real response; half of an invented one when the call did not run."""
    if answer is None:
        return Response(200, {"Content-Type": "application/json;charset=utf-8"}, _HALF)
    return Response(200, answer.headers, answer.body[: len(answer.body) * 9 // 10])


def _refusal(fault: Fault, kind: str, call: Call) -> ApiError:
    if kind == "throttle":
        code, status, message = _THROTTLED.get(call.service, _THROTTLED_RPC)
        if call.service == "sls" and not call.action.startswith("Put"):
            code, message = "ReadQuotaExceed", "Read quota is exceeded."
    else:
        code, status, message = _BROKEN.get(call.service, _BROKEN_RPC)
    return ApiError(fault.code or code, fault.status or status, message)
