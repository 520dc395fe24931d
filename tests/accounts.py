"""Worlds as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def written(folder: Path, text: dict[str, Any]) -> Path:
    """The world's file."""
    path = folder / "world.yaml"
    path.write_text(yaml.safe_dump(text, sort_keys=False), encoding="utf-8")
    return path
