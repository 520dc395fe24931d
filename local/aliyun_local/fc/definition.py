"""What the control operations of FC 3.0 are given, checked and turned into values; InvalidArgument for what is wrong.

Fields and their limits are those of the SDK's models [src fc20230330 4.8.3 CreateFunctionInput, CreateTriggerInput,
PutAsyncInvokeConfigInput] and of fc3's schema; the wording of refusals is ours unless a source is named.

A code package is unpacked into one folder for each content, which lasts until this process ends.
"""

from __future__ import annotations

import atexit
import base64
import binascii
import hashlib
import io
import re
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import loaded
from aliyun_local.core.real_api import not_offered
from aliyun_local.eventbridge.stream import queue_of
from aliyun_local.fc.state import AsyncConfig
from aliyun_local.fc.values import Function, Trigger

RUNTIMES = frozenset({"python3.9", "python3.10", "python3.12"})
"""Those that are offered here, of all that there are."""
_OTHER_RUNTIMES = re.compile(r"(python3|nodejs|java|go|php|dotnetcore|custom).*")
_NAMES = {"functionName": 64, "triggerName": 128}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)
_HANDLER = re.compile(r"[A-Za-z0-9_]+\.[A-Za-z0-9_]+", re.ASCII)
_UNSUPPORTED = ("customContainerConfig", "customRuntimeConfig", "gpuConfig", "layers", "instanceLifecycleConfig")
_EMPTY = {"vpcConfig": "vpcId", "nasConfig": "mountPoints", "ossMountConfig": "mountPoints"}
"""Configurations that are not offered here, and the field which says that there is none [src fc3 default/config.ts]."""
_DEFAULT = AsyncConfig()
MAX_DESCRIPTION = 256  # assumed: no page names it
MAX_ENVIRONMENT = 4096  # bytes [doc FC environment variables]


def request_fields(body: bytes) -> dict[str, Any]:
    """The JSON object of a request; without the fields that are null."""
    document = loaded(body) if body else {}
    if not isinstance(document, dict):
        raise invalid("the body is not a JSON object")
    return {name: value for name, value in document.items() if value is not None}


def invalid(problem: str) -> ApiError:
    """The refusal of a value."""
    return ApiError("InvalidArgument", 400, problem)


def function(fields: Mapping[str, Any], old: Function | None = None) -> Function:
    """The function of a CreateFunctionInput; with `old`, that of an UpdateFunctionInput, which keeps what it leaves
    out."""
    for name in ("functionName", "runtime", "handler", "code") if old is None else ():
        if not fields.get(name):
            raise invalid(f"{name} is required but not provided")  # [issue: 'Handler is required but not provided']
    _offered(fields)
    log = _get(fields, "logConfig", dict, {})
    new = old or Function(_name(fields, "functionName"), "")
    candidate = Function(
        name=new.name,
        handler=_get(fields, "handler", str, new.handler),
        runtime=_get(fields, "runtime", str, new.runtime),
        description=description(fields, new.description),
        memory=_get(fields, "memorySize", int, new.memory),
        cpu=_get(fields, "cpu", (int, float), new.cpu),
        disk=_get(fields, "diskSize", int, new.disk),
        timeout=_get(fields, "timeout", int, new.timeout),
        role=_get(fields, "role", str, new.role),
        env=_environment(_get(fields, "environmentVariables", dict, new.env)),
        log_project=_get(log, "project", str, "") if "logConfig" in fields else new.log_project,
        log_store=_get(log, "logstore", str, "") if "logConfig" in fields else new.log_store,
        request_metrics=(
            _get(log, "enableRequestMetrics", bool, True) if "logConfig" in fields else new.request_metrics
        ),
    )
    _check(candidate)
    return replace(candidate, code=unpack(_get(fields, "code", dict, {})) if "code" in fields else new.code)


def trigger(fields: Mapping[str, Any], old: Trigger | None = None) -> Trigger:
    """The trigger of a CreateTriggerInput; with `old`, that of an UpdateTriggerInput, which keeps what it leaves
    out."""
    for name in ("triggerName", "triggerType") if old is None else ():
        if not fields.get(name):
            raise invalid(f"{name} is required but not provided")
    text = fields.get("triggerConfig")
    config = loaded(text) if isinstance(text, str) else old.config if old and text is None else None
    if not isinstance(config, dict):
        raise invalid("triggerConfig is not the JSON text of an object")
    if old and "eventSourceConfig" in old.config:  # an update ignores another type of source [doc EventSourceConfig]
        source_type = {"eventSourceType": old.config["eventSourceConfig"]["eventSourceType"]}
        config = {**config, "eventSourceConfig": {**_get(config, "eventSourceConfig", dict, {}), **source_type}}
    return Trigger(
        old.name if old else _name(fields, "triggerName"),
        old.kind if old else _get(fields, "triggerType", str, ""),
        config,
        _get(fields, "qualifier", str, old.qualifier if old else "LATEST") or "LATEST",
        description(fields, old.description if old else ""),
    )


def async_config(fields: Mapping[str, Any], now: float, *, with_account: bool = False) -> AsyncConfig:
    """The configuration of a PutAsyncInvokeConfigInput; `with_account` refuses a destination without the account's
    uid."""
    retries = _get(fields, "maxAsyncRetryAttempts", int, _DEFAULT.max_retries)
    age = _get(fields, "maxAsyncEventAgeInSeconds", int, _DEFAULT.max_age)
    if not 0 <= retries <= 8 or not 1 <= age <= 604_800:
        raise invalid("maxAsyncRetryAttempts must be 0 to 8, and maxAsyncEventAgeInSeconds 1 to 604800")
    destinations = _get(fields, "destinationConfig", dict, {})
    if destinations.get("onSuccess"):
        raise not_offered("fc", "onSuccess")
    failed = _get(destinations, "onFailure", dict, {}).get("destination") or None
    try:
        queue_of(failed or "acs:mns:::/queues/none")
        if failed and with_account and not failed.split(":")[3]:
            raise ValueError(f"{failed} names no account")
    except (AttributeError, ValueError) as problem:
        raise invalid(f"destinationConfig: {problem}") from None
    return AsyncConfig(_get(fields, "asyncTask", bool, False), retries, age, failed, now)


def description(fields: Mapping[str, Any], old: str = "") -> str:
    """The description, of at most 256 characters."""
    text: str = _get(fields, "description", str, old)
    if len(text) > MAX_DESCRIPTION:
        raise invalid(f"the description is longer than {MAX_DESCRIPTION} characters")
    return text


def _get(fields: Mapping[str, Any], name: str, kind: type | tuple[type, ...], default: Any) -> Any:
    value = fields.get(name)
    value = default if value is None else value
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise invalid(f"{name} {value!r} is invalid")
    return value


def _name(fields: Mapping[str, Any], field: str) -> str:
    name: str = _get(fields, field, str, "")
    if not _NAME.fullmatch(name) or len(name) > _NAMES[field]:
        raise invalid(f"{field} '{name}' is invalid")
    return name


def _environment(variables: Mapping[str, Any]) -> dict[str, str]:
    if not all(isinstance(value, str) for value in variables.values()):
        raise invalid("environmentVariables: values must be strings")
    if any(name.startswith("FC_") for name in variables):
        raise invalid("environmentVariables: the prefix FC_ is reserved")
    if sum(len(f"{name}{value}".encode()) for name, value in variables.items()) > MAX_ENVIRONMENT:
        raise invalid(f"environmentVariables: more than {MAX_ENVIRONMENT} bytes")
    return dict(variables)


def _offered(fields: Mapping[str, Any]) -> None:
    """Refuse what the real service offers and this one does not."""
    runtime = fields.get("runtime")
    if isinstance(runtime, str) and runtime not in RUNTIMES and _OTHER_RUNTIMES.fullmatch(runtime):
        raise not_offered("fc", f"runtime {runtime}")
    for name in _UNSUPPORTED:
        if fields.get(name):
            raise not_offered("fc", name)
    for name, field in _EMPTY.items():
        if _get(fields, name, dict, {}).get(field):
            raise not_offered("fc", name)


def _check(function: Function) -> None:
    """Refuse values outside the limits of the service."""
    if function.runtime not in RUNTIMES:
        raise invalid(f"runtime '{function.runtime}' is invalid")
    if not _HANDLER.fullmatch(function.handler):
        raise invalid(f"handler '{function.handler}' is invalid")
    if function.memory % 64 or not 128 <= function.memory <= 32_768:
        raise invalid(f"memorySize {function.memory} is not a multiple of 64 from 128 to 32768")
    steps = function.cpu / 0.05
    if abs(steps - round(steps)) > 1e-6 or not 1 <= round(steps) <= 320:
        raise invalid(f"cpu {function.cpu} is not a multiple of 0.05 from 0.05 to 16")
    if not 1 <= function.memory / 1024 / function.cpu <= 4:
        raise invalid(f"the ratio of cpu {function.cpu} to memorySize {function.memory} is not between 1:1 and 1:4")
    if function.disk not in (512, 10_240):
        raise invalid(f"diskSize {function.disk} is invalid (allowed values: 512, 10240)")
    if not 1 <= function.timeout <= 86_400:
        raise invalid(f"timeout {function.timeout} is invalid (allowed values: 1 to 86400)")


_lock = threading.Lock()
MAX_ZIP = 100 * 1024 * 1024
"""Of a package that is sent with the call [doc limits of usage]."""


def unpack(code: Mapping[str, Any]) -> str:
    """The folder with the files of a package. `code` is an InputCodeLocation; ApiError for one that holds no ZIP
    archive."""
    if "ossBucketName" in code or "ossObjectName" in code:
        raise not_offered("fc", "code in OSS")
    try:
        packed = base64.b64decode(code.get("zipFile") or "", validate=True)
        archive = zipfile.ZipFile(io.BytesIO(packed))
        folder = _root() / hashlib.sha256(packed).hexdigest()
        if len(packed) > MAX_ZIP:
            raise ApiError("InvalidArgument", 400, f"the package is larger than {MAX_ZIP} bytes")
        with _lock:
            if not folder.exists():
                half = tempfile.mkdtemp(dir=_root())
                archive.extractall(half)
                package_of(str(folder)).write_bytes(packed)
                Path(half).rename(folder)
    except (TypeError, binascii.Error, zipfile.BadZipFile) as problem:
        raise ApiError("InvalidArgument", 400, f"code.zipFile is no ZIP archive in base64: {problem}") from None
    return str(folder)


def package_of(folder: str) -> Path:
    """The ZIP archive that `unpack` made a folder of."""
    return Path(f"{folder}.zip")


@cache
def _root() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="aliyun-local-fc-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
