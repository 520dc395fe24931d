"""The shell blocks of the pages, in order and in one shell for each page, on a running local cloud."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aliyun_local.api import LocalCloud
from link_peer_cli.commands.init import DENIAL
from link_peer_cli.demo.local_cloud import describe, environment, running

from tests.functional.cli import stand_ins
from tests.snippets import ROOT, SESSIONS, blocks, how

pytestmark = pytest.mark.http

PEER = "1000000000000002"
LINKS = ("deploy", "docs", "events", "s.yaml", "local", "shared", "functions")
PLACEHOLDERS = {
    "127.0.0.1:8101": "{endpoint}",
    "sg-app…": "sg-bp1shopapp000000000a",
    "sg-db…": "sg-bp1shopdb0000000000a",
    "i-app…": "i-bp1shopapp0000000000a",
}
LIMIT_SECONDS = 900


@pytest.fixture(name="cloud")
def _cloud(request: pytest.FixtureRequest) -> Iterator[LocalCloud]:
    with running(SESSIONS[request.getfixturevalue("page")]) as cloud:
        yield cloud


@pytest.fixture(name="checkout")
def _checkout(tmp_path: Path, cloud: LocalCloud) -> Path:
    """What a reader has: a checkout with a file of `link-peer init`, the programs, and a profile `b` with keys of the
    second account."""
    for name in LINKS:
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / DENIAL).symlink_to(ROOT / "deploy" / DENIAL)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in stand_ins.PROGRAMS:
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {stand_ins.__file__} {name} "$@"\n')
        (programs / name).chmod(0o755)
    (tmp_path / ".aliyun").mkdir()
    if PEER in cloud.identity.accounts:
        keys = cloud.identity.accounts[PEER]
        keys_fields = {"access_key_id": keys.access_key_id, "access_key_secret": keys.access_key_secret}
        profile = {"name": "b", "mode": "AK", "region_id": cloud.region, **keys_fields}
        (tmp_path / ".aliyun/config.json").write_text(json.dumps({"current": "b", "profiles": [profile]}))
    return tmp_path


@pytest.mark.parametrize("page", sorted(SESSIONS))
def test_the_shell_blocks_of_a_page_work(page: str, cloud: LocalCloud, checkout: Path) -> None:
    """Each command exits with 0, or with 1 where its comment says so."""
    described = describe(cloud)
    environment_fields = environment(described)
    lines = [block.text for block in blocks() if block.page == page and how(block) == "session"]
    script = re.sub(r"(?m)^(.*?\S)( +# .*exits 1.*)$", r"! \1\2", "\n".join(lines))
    for written, placeholder in PLACEHOLDERS.items():
        script = script.replace(written, placeholder.format(endpoint=described.endpoint.removeprefix("http://")))
    script = re.sub(r"LINK_PEER_REGION=\S+", f"LINK_PEER_REGION={cloud.region}", script)  # it has one region
    if "link-peer init" in script:
        environment_fields["DEPLOYED_POLICY"] = environment_fields.pop("LINK_PEER_POLICY")
    settings = {
        **environment_fields,
        "HOME": str(checkout),
        "PATH": f"{checkout / 'programs'}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(
            str(ROOT / name) for name in (".", "shared", "local", "cli", "deploy", "local/conformance", "functions")
        ),
    }
    result = subprocess.run(  # noqa: S603  # what a reader of the page would run
        ["/bin/bash", "-euxo", "pipefail", "-c", script],
        check=False,
        cwd=checkout,
        env=settings,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
    )
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
