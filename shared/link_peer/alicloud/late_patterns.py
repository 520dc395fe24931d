"""Compiles the regular expressions of modules that the SDKs import when they are used for the first time: a cold start
uses few.

Modules compile some sixty of them while they are imported, for cookies, dates, IPv6 and headers. `install()` replaces
`re.compile`: for the body of a module of MODULES, it gives a stand-in, which compiles the pattern when it is asked for
anything, and is a pattern to `isinstance` and to the functions of `re`. For all else, `re.compile` does what it always
did.
"""

from __future__ import annotations

import re
import sys
from typing import Any

MODULES = frozenset(
    {"Tea", "aliyun", "darabonba", "email", "encodings", "http", "locale", "requests", "tempfile", "urllib", "urllib3"}
)
"""With all below them. Their patterns are constants."""
_compile = re.compile


class _Late:
    """In place of a pattern that is not compiled yet. What is asked for is kept, so that the second time costs nothing
    more."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._arguments = args, kwargs

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return re.Pattern

    def __getattr__(self, name: str) -> Any:
        args, kwargs = self._arguments
        value = getattr(_compile(*args, **kwargs), name)
        setattr(self, name, value)
        return value


def compile_late(*args: Any, **kwargs: Any) -> Any:
    """In place of `re.compile`."""
    caller = sys._getframe(1)
    if caller.f_code.co_name == "<module>" and caller.f_globals["__name__"].partition(".")[0] in MODULES:
        return _Late(*args, **kwargs)
    return _compile(*args, **kwargs)


def install() -> None:
    """Replace it in this process, for modules that are imported from now on."""
    re.compile = compile_late
