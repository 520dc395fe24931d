"""The program in Node.js of docs/api.md posts a request that link-peer reads: `make test-deploy`."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from pathlib import Path

import pytest
from link_peer.inbound.requests import decode
from link_peer_local import world
from link_peer_local.cloud import LocalCloud
from link_peer_local.server import serve

from tests.infrastructure.deploy.serverless import ROOT

pytestmark = pytest.mark.skipif("LINK_PEER_TEST_DEPLOY" not in os.environ, reason="needs npm: `make test-deploy`")


def test_the_program_posts_a_request(tmp_path: Path) -> None:
    """With the SDK of the queue for Node.js alone."""
    [program] = re.findall(r"```js\n(.*?)```", (ROOT / "docs/api.md").read_text("utf-8"), re.S)
    cloud = LocalCloud()
    world.load(cloud)
    keys = cloud.identity.accounts[cloud.world.home]
    with serve(cloud):
        env = {
            "PATH": os.environ["PATH"],
            "NODE_PATH": str(ROOT / "build/serverless-devs/node_modules"),
            "ALIBABA_CLOUD_ACCOUNT_ID": cloud.world.home,
            "ALIBABA_CLOUD_ACCESS_KEY_ID": keys.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": keys.access_key_secret,
            "MNS_ENDPOINT": cloud.endpoint,
        }
        subprocess.run(["node", "-e", program], env=env, cwd=tmp_path, check=True, timeout=120)  # noqa: S603, S607
    [message] = cloud.mns.receive(cloud.world.home, cloud.world.queue)
    asked = decode(base64.b64decode(message.body), region="cn-hangzhou", now=cloud.clock.now())
    assert asked.request_id == "chg-1044"
