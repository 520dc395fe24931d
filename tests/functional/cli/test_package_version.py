"""`package` and `version`: what needs no cloud."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from link_peer_deploy import packaging

from tests.functional.command import Cli


@pytest.fixture(name="cli")
def _cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.mark.parametrize("source", ["option", "setting", "folder"])
def test_package_builds_with_the_policy_in_use(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """`--policy`, else LINK_PEER_POLICY, else policy.yaml of the current folder; into `--out`, for the region and prefix in use."""
    asked: list[object] = []

    def build(policy: Path, out: Path, target: packaging.Target, *, compiled: bool) -> packaging.Built:
        asked.extend((policy.resolve(), out, target, compiled))
        archive = tmp_path / "package.zip"
        archive.write_bytes(b"zip")
        return packaging.Built(out / "package", archive, "d1", 3)

    policy = tmp_path / "policy.yaml"
    policy.touch()
    monkeypatch.setattr(packaging, "build", build)
    monkeypatch.chdir(tmp_path if source == "folder" else "/")
    monkeypatch.setenv("LINK_PEER_POLICY", str(policy) if source == "setting" else "")
    monkeypatch.setenv("LINK_PEER_REGION", "cn-hangzhou")
    monkeypatch.setenv("LINK_PEER_PREFIX", "acme")
    monkeypatch.delenv("LINK_PEER_RUNTIME", raising=False)
    given = ("package", "--out", "made", *(["--policy", str(policy)] if source == "option" else []))
    assert cli(*given) == 0
    assert asked == [policy, Path("made"), packaging.Target("python3.12", "cn-hangzhou", "acme"), True]
    assert "SHA-256 d1" in cli.out
    code, [built] = cli.json(*given)
    assert (code, built["sha256"], built["bytes"], built["unpacked_bytes"]) == (0, "d1", 3, 3)


def test_package_without_a_policy_says_how_to_make_one(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LINK_PEER_POLICY", raising=False)
    assert cli("package") == 1
    assert "there is no policy file policy.yaml" in cli.err
    assert "link-peer init" in cli.err


def test_version_names_what_is_installed(cli: Cli) -> None:
    """link-peer, Python and the SDKs."""
    assert cli("version") == 0
    assert f"link-peer {version('link-peer')}" in cli.out.splitlines()
    code, [found] = cli.json("version")
    assert (code, found["alibabacloud-ecs20140526"]) == (0, version("alibabacloud-ecs20140526"))
