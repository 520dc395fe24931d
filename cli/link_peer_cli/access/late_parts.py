"""Parts of the SDKs that commands seldom use: they are imported when they are used.

The package of the functions does without them (link_peer/alicloud/leave_out.py). Commands need some at times: a
person's keys may be those of a profile, of a role, or of the ECS instance.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from link_peer.alicloud import lazy_models, leave_out
from link_peer.alicloud.leave_out import LEFT_OUT, StandInModule

SDKS = frozenset({"Tea", "darabonba", "alibabacloud_credentials", "alibabacloud_tea_openapi", "aliyun"})
"""Packages whose modules are given a stand-in for such a part. Other packages import it as usual."""

LATE = LEFT_OUT - {"google", "idna"} | {"charset_normalizer"}
"""Modules, with all below them. None of them has errors that an SDK catches: a stand-in for an error is another
class."""


class _LateName(type):
    """The class of a stand-in for a name of a module: a call or an attribute goes to the module's own."""

    home: str

    def real(cls) -> Any:
        """What the module has."""
        _forget()
        module = importlib.import_module(cls.home)
        return vars(module).get(cls.__name__) or importlib.import_module(f"{cls.home}.{cls.__name__}")

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.real()(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # what Python itself looks for
        return getattr(cls.real(), name)


class _LateModule(StandInModule):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        setattr(self, name, stand_in := _LateName(name, (), {"home": self.__name__}))
        return stand_in


class _LatePartFinder(MetaPathFinder, Loader):
    """The first finder. While the main thread imports a module of an SDK, it has a stand-in for each late part."""

    importing = False

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        """Other threads import everything as usual."""
        parts = fullname.split(".")
        if threading.current_thread() is not threading.main_thread():
            return None
        if self.importing:
            late = any(".".join(parts[: end + 1]) in LATE for end in range(len(parts)))
            return ModuleSpec(fullname, self, is_package=True) if late and parts[-1][:2] != "__" else None
        spec = PathFinder.find_spec(fullname, path, target) if parts[0] in SDKS else None
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = functools.partial(self._execute, spec.loader.exec_module)  # type: ignore[method-assign]
        return spec

    def _execute(self, execute: Callable[[ModuleType], None], module: ModuleType) -> None:
        self.importing = True
        try:
            execute(module)
        finally:
            self.importing = False
            _forget()

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _LateModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to do: the names of the module are made when they are asked for."""


def _forget() -> None:
    """Leaves the stand-ins to the modules that have imported them."""
    for name, module in [*sys.modules.items()]:
        if isinstance(module, _LateModule):
            parent, _, child = name.rpartition(".")
            vars(sys.modules.get(parent, module)).pop(child, None)
            sys.modules.pop(name, None)


def install() -> None:
    """Adds the finder, once, and makes models lazy. SDKs that are imported already stay as they are."""
    leave_out.install()
    lazy_models.install()
    if not any(isinstance(finder, _LatePartFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LatePartFinder())
