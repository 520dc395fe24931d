"""The ECS SDK's models are loaded on demand: the same classes, fewer modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

SCRIPT = """
import sys
sys.path.insert(0, {root!r})
from link_peer.alicloud import lazy_models
lazy_models.install()
lazy_models.install()
from alibabacloud_ecs20140526 import models
from alibabacloud_ecs20140526.client import Client
request = models.DescribeInstancesRequest(region_id="r", tag=[models.DescribeInstancesRequestTag(key="k")])
assert request.to_map()["Tag"] == [{{"Key": "k"}}], request.to_map()
try:
    models.NoSuchModel
except AttributeError as error:
    assert "NoSuchModel" in str(error)
else:
    raise AssertionError("an unknown model must be an AttributeError")
print(sum(name.startswith("alibabacloud_ecs20140526.models.") for name in sys.modules))
"""


def test_only_the_models_in_use_are_loaded() -> None:
    """Of more than a thousand model modules only those in use are loaded, and they behave as usual."""
    script = SCRIPT.format(root=str(ROOT / "shared"))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)  # noqa: S603
    assert run.returncode == 0, run.stderr
    assert 1 <= int(run.stdout) <= 3
