"""Function Compute: the functions of each account, and their synchronous and asynchronous invocation."""

from __future__ import annotations

import contextlib
import hashlib
import io
import secrets
import threading
import zipfile
from collections.abc import Callable, Iterator
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from aliyun_local.core.clock import Clock
from aliyun_local.core.errors import ApiError
from aliyun_local.core.identity import Caller, Key
from aliyun_local.fc.definition import package_of
from aliyun_local.fc.request_log import RequestLog
from aliyun_local.fc.runtime import Result, Runtime
from aliyun_local.fc.state import AsyncConfig, FunctionState, Placed
from aliyun_local.fc.tasks import Task, Tasks, new_request_id
from aliyun_local.fc.values import TRIGGERS, Function, Trigger
from aliyun_local.fc.versions import LATEST, Published
from aliyun_local.fc.worker import Context, Credentials, FunctionMeta, ServiceMeta

MAX_SYNC_PAYLOAD = 32 * 1024 * 1024

LIVE = "live"
"""The alias that `FcBackend.deploy` moves to the version it publishes."""


class Deployed(Struct, frozen=True):
    """A deployed function, or a version of it (`LATEST`, `1`, …); `created` in epoch seconds."""

    function: Function
    created: float
    version: str = LATEST


class Package(Struct, frozen=True):
    """What a package is known by (Function Compute takes CRC-64), and what it may be downloaded with."""

    digest: str
    token: str


class Invocation(Struct, frozen=True):
    """The outcome of an invocation: its result, or the task of an asynchronous one."""

    request_id: str
    result: Result | None = None
    task: Task | None = None
    seconds: float = 0.0


class Connections(Protocol):
    """The other services: what a function needs of them, and where events, messages and timers come from."""

    def check(self, caller: Caller, function: Function) -> None:
        """ApiError if the caller may not pass the role, Function Compute cannot assume it, or the log does not
        exist."""

    def connect(self, account: str, function: str, trigger: Trigger) -> None:
        """Make the source of a trigger call the function; ValueError or ApiError for one that cannot."""

    def disconnect(self, account: str, function: str, trigger: str) -> None:
        """Take a trigger's source away."""


class FcBackend:
    """Functions by account and name. FC 2.0 clients find the same functions under `service`."""

    def __init__(
        self,
        clock: Clock,
        region: str,
        runtime: Runtime,
        credentials: Callable[[str, Function], Key],
        service: str = "default",
    ) -> None:
        self._clock = clock
        self.region = region
        self.service = service
        self.runtime = runtime
        self._credentials = credentials
        self._lock = threading.RLock()
        self._functions: dict[tuple[str, str], FunctionState] = {}
        self._keys: dict[tuple[str, str, str], Key] = {}
        self.connections: Connections  # set by aliyun_local.fc.triggers.Triggers
        self.request_log: RequestLog | None = None
        self.packages: dict[str, bytes] = {}
        self.package_files: dict[str, Callable[[], bytes]] = {}
        """Beside the handler of a function without `code`: what gives a file's contents, by its name."""
        self.endpoint: Callable[[], str] = str  # where packages are downloaded; empty without a server
        self.tasks = Tasks(clock, self._run_task, runtime.stop)

    def deploy(self, account: str, function: Function) -> None:
        """Make a function and its triggers what is given; publish a version if it changed, and move `live` to it."""
        bare_function = replace(AsyncConfig().of(function), triggers=(), async_qualifier=LATEST)
        self.put(account, bare_function)
        with self.locked(account, function.name) as entry:
            now = self._clock.now()
            if entry.published.changed(bare_function):
                entry.published.point(LIVE, entry.published.publish(bare_function, "", now).id, now)
            settings = AsyncConfig(
                function.async_task, function.max_retries, function.max_age, function.on_failure, now
            )
            entry.async_configs = {LATEST: settings, function.async_qualifier: settings}  # FC 2.0 clients name no alias
        for name in entry.triggers.keys() - {trigger.name for trigger in function.triggers}:
            self.delete_trigger(account, function.name, name)
        for trigger in function.triggers:
            self.put_trigger(account, function.name, trigger)

    def put(self, account: str, function: Function) -> None:
        """Create a function, or update the one with its name."""
        with self._lock:
            now = self._clock.now()
            entry = self._functions.get((account, function.name))
            if entry is None:
                self._functions[account, function.name] = FunctionState(function, now, now, Published(function.name))
            else:
                entry.function, entry.modified = function, now

    def exists(self, account: str, name: str) -> bool:
        """Whether there is a function of this name."""
        return (account, name) in self._functions

    def now(self) -> float:
        """The time, in epoch seconds."""
        return self._clock.now()

    def delete(self, account: str, name: str) -> None:
        """Delete a function. FunctionNotEmpty while it has triggers, aliases or versions, which fc3 deletes before
        it."""
        with self.locked(account, name) as entry:
            if entry.triggers or entry.published.aliases or entry.published.versions:
                message = f"function '{name}' has triggers, aliases or versions: delete them first"
                raise ApiError("FunctionNotEmpty", 409, message)
            del self._functions[account, name]

    def put_trigger(self, account: str, name: str, trigger: Trigger) -> Placed:
        """Create a trigger, or update the one with its name; its version or alias must exist."""
        with self.locked(account, name) as entry:
            self.function(account, name, trigger.qualifier)
            old = entry.triggers.get(trigger.name)
            if old is None and len(entry.triggers) >= TRIGGERS:
                message = f"function '{name}' has {TRIGGERS} triggers"  # assumed: no page shows this refusal
                raise ApiError("ResourceExhausted", 400, message)
            self.connections.connect(account, name, trigger)
            now = self._clock.now()
            placed = entry.triggers[trigger.name] = Placed(trigger, old.created if old else now, now)
            return placed

    def delete_trigger(self, account: str, name: str, trigger: str) -> None:
        """Delete a trigger and what called it."""
        with self.locked(account, name) as entry:
            self.connections.disconnect(account, name, trigger)
            del entry.triggers[trigger]

    @contextlib.contextmanager
    def locked(self, account: str, name: str) -> Iterator[FunctionState]:
        """All that there is of a function, which nobody else changes meanwhile; FunctionNotFound."""
        with self._lock:
            entry = self._functions.get((account, name))
            if entry is None:
                raise ApiError("FunctionNotFound", 404, f"function '{name}' does not exist")
            yield entry

    def function(self, account: str, name: str, qualifier: str = "") -> Deployed:
        """One function with the asynchronous settings of the qualifier, or the version that it stands for.

        FunctionNotFound, VersionNotFound, AliasNotFound.
        """
        with self.locked(account, name) as entry:
            deployed = Deployed(entry.function, entry.modified)
            if qualifier not in ("", LATEST):
                version = entry.published.resolve(qualifier)
                deployed = Deployed(version.function, version.created, version.id)
            settings = entry.async_configs.get(qualifier or LATEST)
            return replace(deployed, function=settings.of(deployed.function)) if settings else deployed

    def package(self, function: Function) -> Package:
        """The package of a function, and a new token to download it with. That of a function without
        `code` is its handler, from the folders of the runtime, and the `package_files`."""
        if function.code:
            packed = package_of(function.code).read_bytes()
        else:
            buffer, handler = io.BytesIO(), f"{function.handler.partition('.')[0]}.py"
            with zipfile.ZipFile(buffer, "w") as archive:
                for path in (folder / handler for folder in self.runtime.code):
                    if path.is_file():
                        archive.writestr(zipfile.ZipInfo(handler), path.read_bytes())
                for name, contents in self.package_files.items():
                    archive.writestr(zipfile.ZipInfo(name), contents())
            packed = buffer.getvalue()
        package = Package(hashlib.sha256(packed).hexdigest()[:16], secrets.token_hex())
        self.packages[package.token] = packed
        return package

    def functions(self, account: str) -> list[Deployed]:
        """The account's functions, sorted by name."""
        with self._lock:
            return [self.function(*key) for key in sorted(self._functions) if key[0] == account]

    def invoke(self, account: str, name: str, payload: bytes, qualifier: str = "") -> Invocation:
        """Run a function now. Retrying is up to the caller."""
        deployed = self.function(account, name, qualifier)
        if len(payload) > MAX_SYNC_PAYLOAD:
            raise ApiError(
                "EntityTooLarge", 400, f"payload size exceeds maximum allowed size ({MAX_SYNC_PAYLOAD} bytes)"
            )
        request_id = new_request_id()
        started = self._clock.now()
        result = self._run(
            account, deployed.function, payload, request_id, qualifier or LATEST, deployed.version, "Sync"
        )
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
        return self._run(
            task.account, task.function, task.payload, task.request_id, task.qualifier, task.version, "Async"
        )

    def _run(
        self,
        account: str,
        function: Function,
        payload: bytes,
        request_id: str,
        qualifier: str,
        version: str,
        kind: str,
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
        started = self._clock.now()
        result = self.runtime.run(function, payload, context)
        if self.request_log:
            seconds = self._clock.now() - started
            self.request_log.write(key, function, context, result, kind=kind, seconds=seconds)
        printed = result.log if result.log.endswith("\n") or not result.log else result.log + "\n"
        end = f"FC Invoke End RequestId: {request_id}" + (f", Error: {result.error_type}" if result.error_type else "")
        log = f"FC Invoke Start RequestId: {request_id}\n{printed}{end}\n"
        return Result(result.body, result.error_type, log)

    def _key(self, account: str, function: Function) -> Key:
        """The role's keys, renewed an hour before they expire; when the platform renews them is undocumented."""
        with self._lock:
            place = (account, function.name, function.role)
            key = self._keys.get(place)
            if key is None or (key.expires or 0.0) < self._clock.now() + 3600:
                key = self._keys[place] = self._credentials(account, function)
            return key
