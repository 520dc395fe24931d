"""Fixtures of the functional tests: whole functions on the in-process cloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.cloud import LocalCloud
from tests.functional.lab import Lab


@pytest.fixture(name="lab")
def _lab(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    """The default world with its functions: `lab.auto_link(event)`, `lab.rules(group)`, `lab.records()`."""
    return Lab(local_cloud, monkeypatch, tmp_path)
