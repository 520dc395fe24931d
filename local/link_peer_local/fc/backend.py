"""Function Compute: the functions of each account, and their synchronous and asynchronous invocation."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from link_peer_deploy.manifest import Function
from msgspec import Struct

from link_peer_local.core.clock import Clock
from link_peer_local.core.errors import ApiError
from link_peer_local.core.identity import Key
from link_peer_local.fc.runtime import Result, Runtime
from link_peer_local.fc.tasks import Task, Tasks, new_request_id
from link_peer_local.fc.versions import LATEST, Published
from link_peer_local.fc.worker import Context, Credentials, FunctionMeta, ServiceMeta

MAX_SYNC_PAYLOAD = 32 * 1024 * 1024


LIVE = "live"
"""The alias that each deployment moves to the version it publishes, as the actions of s.yaml do."""


class Deployed(Struct, frozen=True):
    """A deployed function, or a version of it (`LATEST`, `1`, …); `created` in epoch seconds."""

    function: Function
    created: float
    version: str = LATEST


class Invocation(Struct, frozen=True):
    """The outcome of an invocation: its result, or the task of an asynchronous one."""

    request_id: str
    result: Result | None = None
    task: Task | None = None
    seconds: float = 0.0


class FcBackend:
    """Functions by account and name. FC 2.0 clients find the same functions under `service`."""

    def __init__(
        self,
        clock: Clock,
        region: str,
        runtime: Runtime,
        credentials: Callable[[str, Function], Key],
        service: str = "link-peer",
    ) -> None:
        self._clock = clock
        self.region = region
        self.service = service
        self.runtime = runtime
        self._credentials = credentials
        self._lock = threading.RLock()
        self._functions: dict[tuple[str, str], Deployed] = {}
        self._published: dict[tuple[str, str], Published] = {}
        self._keys: dict[tuple[str, str], Key] = {}
        self.tasks = Tasks(clock, self._run_task, runtime.stop)

    def deploy(self, account: str, function: Function) -> None:
        """Create a function, or replace the one with its name; publish a version if it changed, and move `live` to it."""
        with self._lock:
            now = self._clock.now()
            self._functions[account, function.name] = Deployed(function, now)
            published = self._published.setdefault((account, function.name), Published(function.name))
            last = next(reversed(published.versions.values()), None)
            if last is None or last.function != function:
                published.point(LIVE, published.publish(function, "", now).id, now)

    def function(self, account: str, name: str, qualifier: str = "") -> Deployed:
        """One function, or the version that the qualifier stands for; FunctionNotFound, VersionNotFound, AliasNotFound."""
        with self._lock:
            deployed = self._functions.get((account, name))
            if deployed is None:
                raise ApiError("FunctionNotFound", 404, f"function '{name}' does not exist")
            if qualifier in ("", LATEST):
                return deployed
            version = self._published[account, name].resolve(qualifier)
            return Deployed(version.function, version.created, version.id)

    @contextlib.contextmanager
    def published(self, account: str, name: str) -> Iterator[tuple[Function, Published, float]]:
        """The function, its versions and aliases, which nobody else changes meanwhile, and the time."""
        with self._lock:
            yield self.function(account, name).function, self._published[account, name], self._clock.now()

    def functions(self, account: str) -> list[Deployed]:
        """The account's functions, sorted by name."""
        with self._lock:
            return [deployed for (owner, _), deployed in sorted(self._functions.items()) if owner == account]

    def invoke(self, account: str, name: str, payload: bytes, qualifier: str = "") -> Invocation:
        """Run a function now. Retrying is up to the caller."""
        deployed = self.function(account, name, qualifier)
        if len(payload) > MAX_SYNC_PAYLOAD:
            raise ApiError(
                "EntityTooLarge", 400, f"payload size exceeds maximum allowed size ({MAX_SYNC_PAYLOAD} bytes)"
            )
        request_id = new_request_id()
        started = self._clock.now()
        result = self._run(account, deployed.function, payload, request_id, qualifier or LATEST, deployed.version)
        return Invocation(request_id, result, seconds=self._clock.now() - started)

    def invoke_async(
        self, account: str, name: str, payload: bytes, task_id: str | None = None, qualifier: str = ""
    ) -> Invocation:
        """Accept a call that runs later, in a worker thread or in `drain`."""
        deployed = self.function(account, name, qualifier)
        request_id = new_request_id()
        task = self.tasks.submit(
            account, deployed.function, payload, request_id, task_id, qualifier or LATEST, deployed.version
        )
        return Invocation(request_id, task=task)

    def drain(self, timeout: float = 600.0) -> None:
        """Return when no asynchronous call is waiting or running."""
        self.tasks.drain(timeout)

    def close(self) -> None:
        """Stop the worker threads and the runtime."""
        self.tasks.close()
        self.runtime.close()

    def _run_task(self, task: Task) -> Result:
        return self._run(task.account, task.function, task.payload, task.request_id, task.qualifier, task.version)

    def _run(
        self, account: str, function: Function, payload: bytes, request_id: str, qualifier: str, version: str
    ) -> Result:
        key = self._key(account, function)
        context = Context(
            request_id,
            Credentials(key.access_key_id, key.secret, key.token or ""),
            FunctionMeta(function.name, function.handler, function.memory, function.timeout),
            ServiceMeta(function.log_project, function.log_store, qualifier, "" if version == LATEST else version),
            self.region,
            account,
        )
        result = self.runtime.run(function, payload, context)
        printed = result.log if result.log.endswith("\n") or not result.log else result.log + "\n"
        end = f"FC Invoke End RequestId: {request_id}" + (f", Error: {result.error_type}" if result.error_type else "")
        log = f"FC Invoke Start RequestId: {request_id}\n{printed}{end}\n"
        return Result(result.body, result.error_type, log)

    def _key(self, account: str, function: Function) -> Key:
        """The role's keys, renewed an hour before they expire; when the platform renews them is undocumented."""
        with self._lock:
            key = self._keys.get((account, function.name))
            if key is None or (key.expires or 0.0) < self._clock.now() + 3600:
                key = self._keys[account, function.name] = self._credentials(account, function)
            return key
