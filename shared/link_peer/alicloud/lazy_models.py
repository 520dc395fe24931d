"""Imports only those of an SDK's model modules that are used; for the thousand of ECS, saves a third of a function's
cold start.

`alibabacloud_ecs20140526.models` imports every model of every operation, in an `__init__` of 6,000 lines. `install()`
adds an import finder that gives it, and the same package of other SDKs, a `__getattr__` (PEP 562) instead. A class is
looked for in the module whose name is the longest beginning of its own: `DescribeInstancesRequestTag` in
`_describe_instances_request`. Where that is not the module, the `__init__` is read, and if it has none of the expected
import lines, it is imported as usual. The SDK on disk is not changed.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

PACKAGE = "alibabacloud_ecs20140526.models"
_PACKAGES = re.compile(r"alibabacloud_\w+\d{8}\.models")
_LINE = re.compile(r"^from \.(\w+) import (\w+)$", re.MULTILINE)
_WORD = re.compile("[A-Z][^A-Z]*")


class _LazyLoader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        files = frozenset(os.listdir(os.path.dirname(self.path)))
        module.__getattr__ = lambda name: self._load(module, name, files)  # type: ignore[method-assign]

    def _load(self, module: ModuleType, name: str, files: frozenset[str]) -> Any:
        value = getattr(self._imported(likely_home(name, files)), name, None)
        if value is None and not name.startswith("_"):
            homes = {model: home for home, model in _LINE.findall(self.get_source(self.name) or "")}
            if homes:
                value = getattr(self._imported(homes.get(name)), name, None)
            else:
                del module.__getattr__
                super().exec_module(module)
                value = vars(module).get(name)
        if value is None:
            raise AttributeError(f"module {self.name!r} has no attribute {name!r}")
        setattr(module, name, value)
        return value

    def _imported(self, home: str | None) -> ModuleType | None:
        return importlib.import_module(f"{self.name}.{home}") if home else None


def likely_home(name: str, files: frozenset[str]) -> str | None:
    """The module among `files` whose name is the longest beginning of a class's name."""
    words = _WORD.findall(name)
    for end in range(len(words), 0, -1):
        home = "_" + "_".join(words[:end]).lower()
        if f"{home}.py" in files:
            return home
    return None


class _ModelFinder:
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _PACKAGES.fullmatch(fullname):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.submodule_search_locations and type(spec.loader) is SourceFileLoader:
            spec.loader = _LazyLoader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    """Makes the import of the models lazy. Does nothing if that is done already or the models are imported."""
    if PACKAGE not in sys.modules and not any(isinstance(finder, _ModelFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _ModelFinder())
