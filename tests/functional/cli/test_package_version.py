"""`package` and `version`: what needs no cloud."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from link_peer_local.core import project

from tests.functional.command import Cli


@pytest.fixture(name="cli")
def _cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture(name="checkout")
def _checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose `deploy.package` notes its options, and fails if it was given any."""
    (tmp_path / "deploy").mkdir()
    script = 'import pathlib, sys\npathlib.Path("built").write_text(" ".join(sys.argv[1:]))\nsys.exit(7 * len(sys.argv[1:]))\n'
    (tmp_path / "deploy" / "package.py").write_text(script, encoding="utf-8")
    monkeypatch.setattr(project, "ROOT", tmp_path)
    return tmp_path


def test_package_builds_in_the_checkout(cli: Cli, checkout: Path) -> None:
    """A failed build ends with 1, whatever the builder's own code."""
    assert cli("package") == 0
    assert (checkout / "built").read_text(encoding="utf-8") == ""
    assert cli("package", "--uncompiled") == 1
    assert (checkout / "built").read_text(encoding="utf-8") == "--uncompiled"


def test_package_needs_a_checkout(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed wheel has no sources to build from."""
    monkeypatch.setattr(project, "ROOT", tmp_path)
    assert cli("package") == 1
    assert "checkout" in cli.err


def test_version_names_what_is_installed(cli: Cli) -> None:
    """link-peer, Python and the SDKs."""
    assert cli("version") == 0
    assert f"link-peer {version('link-peer')}" in cli.out.splitlines()
    code, [found] = cli.json("version")
    assert (code, found["alibabacloud-ecs20140526"]) == (0, version("alibabacloud-ecs20140526"))
