"""Runtimes of functions: in this process (tests), or in warm worker processes (the server).

A function with an uploaded package runs in a process of its runtime's Python, with nothing but the package on its path.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field, json, to_builtins
from msgspec.structs import replace

from aliyun_local.core.clock import Clock
from aliyun_local.core.knobs import Knobs
from aliyun_local.fc import pythons
from aliyun_local.fc import worker as fc_worker
from aliyun_local.fc.values import Function
from aliyun_local.fc.worker import Context, Handler

Extra = Callable[[], Mapping[str, str]]
"""Variables that the local cloud adds to a function's own, as they are when an instance starts."""

UNHANDLED = "UnhandledInvocationError"
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")


class Result(Struct, frozen=True):
    """The outcome of a run: the raw body, the error type (empty for success) and the printed output."""

    body: bytes
    error_type: str = ""
    log: str = ""


class Runtime(Protocol):
    """Runs calls of functions. A failing function gives a Result, never an exception. `env` are variables that all get,
    and `code` the folders with the code of functions that have no package of their own."""

    env: dict[str, str]
    code: Sequence[Path] = ()

    def run(self, function: Function, event: bytes, context: Context) -> Result:
        """Run one call and return its outcome."""

    def stop(self, request_id: str) -> None:
        """End the call that is running under this request id, if the runtime can."""

    def close(self) -> None:
        """Release what the runtime holds."""


def environment(function: Function, context: Context, extra: Mapping[str, str], code: Sequence[Path]) -> dict[str, str]:
    """A function's environment variables [doc functioncompute/fc/environment-variables].

    The keys are those at the start of the instance, while `context.credentials` are current at each call. `code` holds
    the folders with the code of a function that has no package of its own.
    """
    paths = function.code or os.pathsep.join(map(str, code))
    return {
        **function.env,
        **extra,
        "PYTHONPATH": paths,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": context.credentials.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": context.credentials.access_key_secret,
        "ALIBABA_CLOUD_SECURITY_TOKEN": context.credentials.security_token,
        "FC_ACCOUNT_ID": context.account_id,
        "FC_FUNC_CODE_PATH": paths,
        "FC_FUNCTION_HANDLER": function.handler,
        "FC_FUNCTION_MEMORY_SIZE": str(function.memory),
        "FC_FUNCTION_NAME": function.name,
        "FC_REGION": context.region,
    }


def _timed_out(function: Function) -> bytes:
    return fc_worker.failure(f"Function time out after {function.timeout} seconds")


_EXITED = fc_worker.failure("Process exited unexpectedly before completing request")


class InProcessRuntime:
    """Calls handlers in the caller's thread, one at a time, with the function's environment while they run.

    Functions with a package of their own run in `packages`. A handler in this process cannot be interrupted: one that
    takes longer than its timeout is reported as timed out when it ends.
    """

    def __init__(
        self,
        clock: Clock,
        code: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        packages: WorkerRuntime | None = None,
    ) -> None:
        self._clock = clock
        self.code: Sequence[Path] = list(code)
        self._packages = packages or WorkerRuntime(env=env)
        self.env = dict(env or {})
        self.knobs = Knobs()
        self._first: dict[str, Context] = {}  # by function: that of the first call of its instance
        self._lock = threading.RLock()

    def run(self, function: Function, event: bytes, context: Context) -> Result:
        """Run one call in this thread; printed output is captured."""
        if function.code:
            return self._packages.run(function, event, context)
        keys = context if self.knobs.environment_keys == "call" else self._first.setdefault(function.name, context)
        with self._lock, self._environment(function, keys), _captured() as log:
            started = self._clock.now()

            def handler() -> Handler:
                return fc_worker.load(function.handler)

            try:
                failed, body = fc_worker.call(handler, event, context, function.runtime)
            except KeyboardInterrupt:
                raise
            except BaseException:  # SystemExit, or an injected fault that ends the process
                sys.modules.pop(function.handler.partition(".")[0], None)
                self._first.pop(function.name, None)
                failed, body = True, _EXITED
            if self._clock.now() - started > function.timeout:
                failed, body = True, _timed_out(function)
            return Result(body, UNHANDLED if failed else "", log.getvalue())

    def stop(self, request_id: str) -> None:
        """End a call of a package; a thread cannot be stopped."""
        self._packages.stop(request_id)

    def close(self) -> None:
        """End the processes of packages."""
        self._packages.close()

    @contextlib.contextmanager
    def _environment(self, function: Function, context: Context) -> Iterator[None]:
        variables = environment(function, context, self.env, self.code)
        before = {key: os.environ.get(key) for key in variables}
        added = [str(path) for path in self.code if str(path) not in sys.path]
        os.environ.update(variables)
        sys.path[:0] = added
        try:
            yield
        finally:
            for path in added:
                sys.path.remove(path)
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value


@contextlib.contextmanager
def _captured() -> Iterator[io.StringIO]:
    log = io.StringIO()
    with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        yield log


class _Instance:
    """One warm process of a function; it serves one call at a time."""

    def __init__(self, env: Mapping[str, str], function: Function) -> None:
        self._pipe, theirs = Pipe()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the instance
        # -S: without the packages that are installed for that Python.
        module = (
            [_python(function.runtime), "-S", fc_worker.__file__]
            if function.code
            else [sys.executable, "-m", fc_worker.__name__]
        )
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [*module, str(theirs.fileno()), function.runtime],
            cwd=env["FC_FUNC_CODE_PATH"].partition(os.pathsep)[0] or None,
            env={key: os.environ[key] for key in _INHERITED if key in os.environ} | {"PYTHONUNBUFFERED": "1", **env},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self.killed = False

    def call(self, plain: Mapping[str, object], event: bytes, timeout: float) -> tuple[bool, bytes] | None:
        """(failed, body), or None after the timeout. EOFError or OSError when the process has ended."""
        pipe: Connection = self._pipe
        pipe.send((plain, event))
        if not pipe.poll(timeout):
            return None
        failed, body = pipe.recv()
        return failed, body

    def printed(self) -> str:
        """The output printed since the last call."""
        self._log.seek(0)
        text = self._log.read().decode(errors="replace")
        self._log.seek(0)
        self._log.truncate()
        return text

    def kill(self) -> None:
        self.killed = True
        self._process.kill()

    def close(self) -> None:
        self._pipe.close()
        self.kill()
        self._process.wait()
        self._log.close()


@cache
def _python(runtime: str) -> str:
    """A command that runs a runtime's Python; without one here, this Python, in which compiled modules of a package
    fail."""
    try:
        return pythons.find(runtime)
    except pythons.NotFound:
        return sys.executable


class _Pool(Struct):
    slots: threading.Semaphore
    idle: list[_Instance] = field(default_factory=list)


class WorkerRuntime:
    """Warm worker processes, up to `instances` per function; further calls wait until one is free."""

    def __init__(
        self,
        code: Sequence[Path] = (),
        env: Mapping[str, str] | None = None,
        instances: int = 4,
        extra: Extra = dict,
    ) -> None:
        self.code: Sequence[Path] = list(code)
        self.env = dict(env or {})
        self._extra = extra
        self._instances = instances
        self._lock = threading.Lock()
        self._pools: dict[bytes, _Pool] = {}
        self._running: dict[str, _Instance] = {}

    def run(self, function: Function, event: bytes, context: Context) -> Result:
        """Run one call in a free instance, or start one: each version of a function of an account has its own."""
        kind = json.encode([context.account_id, replace(function, triggers=())])
        with self._lock:
            pool = self._pools.setdefault(kind, _Pool(threading.Semaphore(self._instances)))
        with pool.slots:
            with self._lock:
                instance = pool.idle.pop() if pool.idle else None
            if instance is None:
                extra = {**self.env, **self._extra()}
                instance = _Instance(environment(function, context, extra, self.code), function)
            with self._lock:
                self._running[context.request_id] = instance
            try:
                outcome = instance.call(to_builtins(context), event, function.timeout)
            except (EOFError, OSError):
                return self._discard(instance, context, _EXITED)
            if outcome is None:
                return self._discard(instance, context, _timed_out(function))
            log = instance.printed()
            with self._lock:
                del self._running[context.request_id]
                if not instance.killed:
                    pool.idle.append(instance)
            if instance.killed:
                instance.close()
            failed, body = outcome
            return Result(body, UNHANDLED if failed else "", log)

    def stop(self, request_id: str) -> None:
        """Kill the process that runs this call."""
        with self._lock:
            instance = self._running.get(request_id)
            if instance is not None:
                instance.kill()

    def close(self) -> None:
        """End every process; calls in progress end with an error."""
        with self._lock:
            idle = [instance for pool in self._pools.values() for instance in pool.idle]
            for pool in self._pools.values():
                pool.idle = []
            running = list(self._running.values())
        for instance in running:  # the caller that waits for it notices, and closes it
            instance.kill()
        for instance in idle:
            instance.close()

    def _discard(self, instance: _Instance, context: Context, body: bytes) -> Result:
        """Drop an instance that timed out or died, as the platform does; the next call gets a new one."""
        with self._lock:
            del self._running[context.request_id]
        instance.kill()
        log = instance.printed()
        instance.close()
        return Result(body, UNHANDLED, log)
