"""Where the files of a deployment are: s.yaml, the handlers, the pinned requirements and the files of deploy/."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_PACKED = _PACKAGE / "shipped"
"""Exists only in a wheel: setup.py copies the files of the checkout there."""

ROOT = _PACKED if _PACKED.is_dir() else _PACKAGE.parents[1]
"""The folder that holds s.yaml: inside the installed package, or the checkout."""

CODE = (ROOT / "functions",) if _PACKED.is_dir() else (ROOT / "functions", ROOT / "shared")
"""What a function finds on its path: the handlers, and in a checkout the library, which a wheel installs beside us."""
