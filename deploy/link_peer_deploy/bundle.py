"""A package's byte code in one file, which a cold start reads instead of finding, checking and reading a file for each
module.

`write` makes the file of a package that is compiled. This module is then the package's `link_peer/__init__.py`: the
import of `link_peer` adds a finder that takes the code of its modules, and of the SDKs', from there. It also turns the
garbage collector off, until link_peer.app.compose has set it up. The sources stay beside it, for tracebacks and
readers. A Python of another version than the one that compiled imports the sources.

The file: the size of the index in four bytes; the index, which `marshal` reads (the magic number of the byte code [doc
importlib.util.MAGIC_NUMBER], the names of the packages, and of each module where its code begins and how long it is);
and the codes. They are read one by one when a module is imported: all at once would raise the function's peak memory.
"""

from __future__ import annotations

import gc
import marshal
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import CodeType, ModuleType

NAME = "bundle"
SIZE = 4  # bytes
HEADER = 16  # bytes of a .pyc before its code, the magic number first [PEP 552]
MARSHAL = 2  # the format without references, whose bytes depend on the value alone


def write(package: Path) -> None:
    """Replace the byte code in the folders of a package, as compileall left it, by the file: all but what installs the
    finder."""
    library = package / "link_peer"
    packages: list[str] = []
    places: dict[str, tuple[int, int]] = {}
    magic = codes = b""
    for source in sorted({*package.glob("*/**/*.py")} - {library / "__init__.py"}):
        [compiled] = (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")
        module = source.relative_to(package).with_suffix("")
        if module.name == "__init__":
            module = module.parent
            packages.append(".".join(module.parts))
        content = compiled.read_bytes()
        magic, code = content[: len(MAGIC_NUMBER)], content[HEADER:]
        places[".".join(module.parts)] = len(codes), len(code)
        codes += code
        compiled.unlink()
    for folder in {*package.glob("*/**/__pycache__")} - {library / "__pycache__"}:
        folder.rmdir()
    index = marshal.dumps((magic, packages, places), MARSHAL)
    (library / NAME).write_bytes(len(index).to_bytes(SIZE, "big") + index + codes)


class _Loader(SourceFileLoader):
    """All but the code is as if the module had been found in its folder: `__file__`, its source, the data beside it."""

    def __init__(self, fullname: str, path: str, file: int, place: tuple[int, int]) -> None:
        super().__init__(fullname, path)
        self._file, self._place = file, place

    def get_code(self, _fullname: str) -> CodeType:
        start, size = self._place
        code: CodeType = marshal.loads(os.pread(self._file, size, start))  # noqa: S302  # the file is ours
        return code


class _BundleFinder:  # not of importlib.abc, whose import is a tenth of a cold start
    def __init__(self, library: str) -> None:
        self._package = os.path.dirname(library)
        self._path = f"{library}/{NAME}"
        self._file = os.open(self._path, os.O_RDONLY)  # for as long as the process
        size = int.from_bytes(os.read(self._file, SIZE), "big")
        self.magic, self._packages, self._places = marshal.loads(os.read(self._file, size))  # noqa: S302
        self._codes = SIZE + size

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._places:
            return None
        start, size = self._places[fullname]
        folder = f"{self._package}/{fullname.replace('.', '/')}"
        is_package = fullname in self._packages
        path = f"{folder}/__init__.py" if is_package else f"{folder}.py"
        loader = _Loader(fullname, path, self._file, (self._codes + start, size))
        spec = ModuleSpec(fullname, loader, origin=path, is_package=is_package)
        spec.has_location = True
        spec.cached = self._path
        if is_package:
            spec.submodule_search_locations = [folder]
        return spec


def install(library: str) -> None:
    """Import the modules of a package from the file in a folder, if this version of Python has compiled them."""
    finder = _BundleFinder(library)
    if finder.magic == MAGIC_NUMBER:
        sys.meta_path.insert(0, finder)


if __name__ == "link_peer":
    gc.disable()
    install(__path__[0])  # type: ignore[name-defined]  # noqa: F821
