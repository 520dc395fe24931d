"""Imports only those of the ECS SDK's thousand model modules that are used; saves a third of a function's cold start.

`alibabacloud_ecs20140526.models` imports every model of every operation. `install()` adds an import finder that gives this
one package a `__getattr__` (PEP 562) instead. The SDK on disk is not changed. If its `__init__` has none of the expected
import lines, it is imported as usual.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

PACKAGE = "alibabacloud_ecs20140526.models"
_LINE = re.compile(r"^from \.(\w+) import (\w+)$", re.MULTILINE)


class _LazyLoader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        source = self.get_source(self.name) or ""
        homes = {name: home for home, name in _LINE.findall(source)}
        if not homes:
            super().exec_module(module)
            return

        def load(name: str) -> Any:
            if name not in homes:
                raise AttributeError(f"module {PACKAGE!r} has no attribute {name!r}")
            value = getattr(importlib.import_module(f"{PACKAGE}.{homes[name]}"), name)
            setattr(module, name, value)
            return value

        module.__getattr__ = load  # type: ignore[method-assign]


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != PACKAGE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _LazyLoader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Makes the import of the models lazy. Does nothing if that is done already or the models are imported."""
    if PACKAGE not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
