"""One function instance: the context object of each runtime, the calling convention, and the process serving calls.

`runtime.WorkerRuntime` runs it with the arguments `<file descriptor> <runtime>`. For an uploaded package it runs in the
Python of that runtime, which has nothing but the package: this file imports the standard library alone. Sources: [doc
functioncompute/fc/context-1, event-handlers-1-1, error-handling-1-1].
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

Handler = Callable[[bytes, Any], Any]


@dataclass(frozen=True)
class Credentials:
    """Temporary keys of the function's role."""

    access_key_id: str
    access_key_secret: str
    security_token: str


@dataclass(frozen=True)
class FunctionMeta:
    """The running function: memory in MB, timeout in seconds."""

    name: str
    handler: str
    memory: int
    timeout: int


@dataclass(frozen=True)
class ServiceMeta:
    """FC 3.0 has no services, but python3.10 still puts the names of project and logstore here."""

    log_project: str
    log_store: str
    qualifier: str
    version_id: str


@dataclass(frozen=True)
class Context:
    """The context that python3.10 passes to a handler. It has no logger and no deadline."""

    request_id: str
    credentials: Credentials
    function: FunctionMeta
    service: ServiceMeta
    region: str
    account_id: str


@dataclass(frozen=True)
class FunctionMeta312:
    """The running function, as python3.12 describes it."""

    name: str
    handler: str
    memory: int
    timeout: int
    version_id: str
    qualifier: str


@dataclass(frozen=True)
class Context312:
    """The context that python3.12 passes to a handler: the keys are in the environment alone. `getLogger` is not
    offered here."""

    request_id: str
    function: FunctionMeta312
    region: str
    account_id: str
    log_project: str
    log_store: str


def received(plain: Mapping[str, Any]) -> Context:
    """The context that came over the pipe as a plain dictionary."""
    parts = {"credentials": Credentials, "function": FunctionMeta, "service": ServiceMeta}
    return Context(**{name: parts[name](**value) if name in parts else value for name, value in plain.items()})


def passed(context: Context, runtime: str) -> Context | Context312:
    """What a handler gets for this context in a runtime of Function Compute."""
    if runtime != "python3.12":
        return context
    about, service = context.function, context.service
    function = FunctionMeta312(
        about.name, about.handler, about.memory, about.timeout, service.version_id, service.qualifier
    )
    return Context312(
        context.request_id, function, context.region, context.account_id, service.log_project, service.log_store
    )


def load(handler: str) -> Handler:
    """Import a handler `file.method`; the only documented form is a file in the root of the package."""
    module, _, name = handler.partition(".")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def call(handler: Callable[[], Handler], event: bytes, context: Context, runtime: str) -> tuple[bool, bytes]:
    """Run a handler: (failed, body). The body of a failure is the platform's error document."""
    try:
        return False, _body(handler()(event, passed(context, runtime)))
    except Exception as error:
        return True, failure(str(error), type(error).__name__, _frames(error))


def failure(message: str, kind: str | None = None, frames: list[list[str]] | None = None) -> bytes:
    """The error document: `errorMessage`, and for exceptions `errorType` and `stackTrace`."""
    document: dict[str, Any] = {"errorMessage": message}
    if kind is not None:
        document |= {"errorType": kind, "stackTrace": frames or []}
    return json.dumps(document).encode()


def _body(answer: Any) -> bytes:
    if isinstance(answer, (bytes, bytearray)):
        return bytes(answer)
    if isinstance(answer, str):
        return answer.encode()
    return json.dumps(answer).encode()


def _frames(error: Exception) -> list[list[str]]:
    runner_files = [__file__, importlib.__file__]
    return [
        [f'File "{frame.filename}"', f"line {frame.lineno}", f"in {frame.name}", frame.line or ""]
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in runner_files
    ]


class _Log(logging.Handler):
    """The log format of the platform: time, request id, level and message on standard output."""

    def __init__(self) -> None:
        super().__init__()
        self.request_id = ""

    def emit(self, record: logging.LogRecord) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        print(f"{now}.{record.msecs:03.0f}Z {self.request_id} [{record.levelname}] {self.format(record)}")


def serve(pipe: Connection, runtime: str) -> None:
    """Serve calls until the other side closes the pipe. The first call loads the handler, which then stays loaded."""
    log = _Log()
    root = logging.getLogger()
    root.addHandler(log)
    root.setLevel(logging.INFO)
    loaded: list[Handler] = []
    while True:
        try:
            plain, event = pipe.recv()
        except EOFError:
            return
        context = received(plain)
        log.request_id = context.request_id

        def handler(name: str = context.function.handler) -> Handler:
            if not loaded:
                loaded.append(load(name))
            return loaded[0]

        result = call(handler, event, context, runtime)
        sys.stdout.flush()
        sys.stderr.flush()
        pipe.send(result)


def main() -> None:
    """Serve the pipe whose file descriptor is the first argument, in the runtime that is the second."""
    # `-m` puts the working directory first on the path, but the function must import its own code.
    code = os.environ["FC_FUNC_CODE_PATH"].split(os.pathsep)
    sys.path[:] = [*code, *(path for path in sys.path[1:] if path not in code)]
    serve(Connection(int(sys.argv[1])), sys.argv[2])


if __name__ == "__main__":
    main()
