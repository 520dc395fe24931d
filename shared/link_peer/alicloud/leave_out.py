"""What the SDKs import and our calls never use: it is not in the deployed package, and this module stands in for it.

The SDKs are deployed as their makers ship them, but a part that none of our calls reaches is left out as a whole: a
distribution, or a module of an SDK. `install()` adds import finders.

- A module of LEFT_OUT that cannot be found is imported as a stand-in. Its names can be imported, named as base classes, in
  annotations and in `except`; calling one raises NotInPackage, which says what was used. Where the module is installed,
  as in the environment of the commands and tests, it is found first and there is no such stand-in. Commands have others,
  which import what they stand for when it is used: link_peer_cli/access/late_parts.py.
- A standard module of DEFERRED is loaded when one of its names is used for the first time.

`deploy/link_peer_deploy/packaging.py` removes from the package what LEFT_OUT lists; `tests/infrastructure/package` runs
the handlers without it.
"""  # noqa: W505

from __future__ import annotations

import gc
import importlib
import sys
import threading
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, NoReturn

from link_peer.alicloud import late_patterns

LEFT_OUT = frozenset(
    {
        # asynchronous calls of the SDKs; ours are synchronous
        "aiohttp",
        # signatures with an RSA key pair; ours are HMAC
        "cryptography",
        # calls over WebSocket
        "alibabacloud_tea_openapi.websocket_utils",
        "darabonba.websocket",
        # credentials from elsewhere than the settings: files, the instance's metadata, another role, a command, …
        "aiofiles",
        "apscheduler",
        "alibabacloud_credentials.provider.cli_profile",
        "alibabacloud_credentials.provider.cloud_sso",
        "alibabacloud_credentials.provider.default",
        "alibabacloud_credentials.provider.ecs_ram_role",
        "alibabacloud_credentials.provider.env",
        "alibabacloud_credentials.provider.external",
        "alibabacloud_credentials.provider.oauth",
        "alibabacloud_credentials.provider.oidc",
        "alibabacloud_credentials.provider.profile",
        "alibabacloud_credentials.provider.ram_role_arn",
        "alibabacloud_credentials.provider.rsa_key_pair",
        "alibabacloud_credentials.provider.uri",
        # responses in XML; ours are JSON, and MNS has a reader of its own
        "darabonba.utils.xml",
        # SLS: copying, transforming and migrating logs; times as text
        "aliyun.log.consumer",
        "aliyun.log.es_migration",
        "aliyun.log.etl_core",
        "aliyun.log.ext",
        "aliyun.log.logclient_operator",
        "dateparser",
        "dateutil",
        # SLS: the compression that our calls do not ask for
        "lz4.frame",
        # SLS: protocol buffers; link_peer.alicloud.log_group writes the one message that we send
        "aliyun.log.async_sql_pb2",
        "aliyun.log.proto",
        "google",
        # host names beyond ASCII
        "idna",
    }
)
"""Modules, with all below them."""

DEFERRED = frozenset({"ast", "asyncio", "zipfile"})


class NotInPackage(RuntimeError):
    """Something was used that the package leaves out."""


def named_in(error: BaseException) -> NotInPackage | None:
    """The NotInPackage among an error and its causes: SDKs wrap what is raised in the middle of a call."""
    pending: list[object] = [error]
    visited: set[int] = set()  # causes may lead back to the error
    while pending:
        error_or_cause = pending.pop()
        if isinstance(error_or_cause, NotInPackage):
            return error_or_cause
        if isinstance(error_or_cause, BaseException) and id(error_or_cause) not in visited:
            visited.add(id(error_or_cause))
            # the last is [src Tea.exceptions.UnretryableException], which is raised outside of any `except`
            pending += [
                error_or_cause.__cause__,
                error_or_cause.__context__,
                getattr(error_or_cause, "inner_exception", None),
            ]
    return None


class _StandIn(type):
    """The class of a stand-in for a class or function. It may be named anywhere, and raises when it is used."""

    where: str

    def __call__(cls, *_args: object, **_kwargs: object) -> NoReturn:
        raise NotInPackage(f"{cls.where} is not part of the package: see link_peer/alicloud/leave_out.py")

    def __getattr__(cls, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)  # what Python itself looks for, in annotations or in `issubclass`
        raise NotInPackage(f"{cls.where}.{name} is not part of the package: see link_peer/alicloud/leave_out.py")


class StandInModule(ModuleType):
    """The stand-in for a module."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        # An exception, so that `except aiohttp.ClientError` does not match instead of failing.
        stand_in = _StandIn(name, (Exception,), {"where": f"{self.__name__}.{name}"})
        setattr(self, name, stand_in)
        return stand_in


# These are not of importlib.abc, whose import is a tenth of a cold start.
class _StandInFinder:
    """The last finder: it is asked for what no other has found."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        parts = fullname.split(".")
        if any(".".join(parts[: end + 1]) in LEFT_OUT for end in range(len(parts))):
            return ModuleSpec(fullname, self, is_package=True)  # type: ignore[arg-type]  # it has what a loader has
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return StandInModule(spec.name)

    def exec_module(self, _module: ModuleType) -> None:
        """Nothing to do: the names of the module are made when they are asked for."""


class _Deferred(ModuleType):
    """A module that is loaded when one of its names is used. importlib.util.LazyLoader does the same, but on Python
    3.10 and 3.11 it loads at the second import of the module."""

    _lock = threading.RLock()

    def __getattribute__(self, name: str) -> Any:
        if name == "__all__" or not name.startswith("__"):  # the others are those that importing it again looks at
            with _Deferred._lock:
                loader = self.__loader__
                if isinstance(loader, _Deferring):
                    self.__loader__ = loader.real  # it is not loaded again where it looks at itself meanwhile
                    loader.real.exec_module(self)
                    self.__class__ = ModuleType  # last: other threads wait until then
        return ModuleType.__getattribute__(self, name)


class _Deferring:
    def __init__(self, real: Any) -> None:
        self.real = real

    def create_module(self, _spec: ModuleSpec) -> None:
        """An ordinary module."""

    def exec_module(self, module: ModuleType) -> None:
        module.__class__ = _Deferred


class _DeferringFinder:
    """The first finder."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in DEFERRED:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Deferring(spec.loader)  # type: ignore[assignment]
        return spec


def imported(name: str) -> Any:
    """A module of an SDK. The garbage collector does not look at the tens of thousands of objects that its first import
    makes: they stay."""
    if name in sys.modules:
        return importlib.import_module(name)  # which waits where another thread imports it
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


def install() -> None:
    """Adds the finders, once. Modules that are imported already stay as they are."""
    if any(isinstance(finder, _StandInFinder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _DeferringFinder())
    sys.meta_path.append(_StandInFinder())
    late_patterns.install()
    # requests works without a library that guesses the encoding of a text, and says so each time it is imported
    warnings.filterwarnings("ignore", message="Unable to find acceptable character detection dependency")
