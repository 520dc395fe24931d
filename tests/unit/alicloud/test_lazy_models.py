"""The ECS SDK's models are loaded on demand: the same classes, fewer modules."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from link_peer.alicloud.lazy_models import PACKAGE, likely_home

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
assert models.DescribeVSwitchesRequest(region_id="r").region_id == "r"  # not where its name says
print(sum(name.startswith("alibabacloud_ecs20140526.models.") for name in sys.modules))
"""


def test_only_the_models_in_use_are_loaded() -> None:
    """Of more than a thousand model modules only those in use are loaded, and they behave as usual."""
    script = SCRIPT.format(root=str(ROOT / "shared"))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)  # noqa: S603
    assert run.returncode == 0, run.stderr
    assert 1 <= int(run.stdout) <= 3


def test_nearly_every_class_is_where_its_name_says() -> None:
    """For the others the `__init__` is read, which takes a few milliseconds; none of those is one that we use."""
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin)
    files = frozenset(file.name for file in path.parent.iterdir())
    homes = {name: home for home, name in re.findall(r"^from \.(\w+) import (\w+)$", path.read_text(), re.MULTILINE)}
    elsewhere = {name for name, home in homes.items() if likely_home(name, files) != home}
    assert len(homes) > 2_000
    assert len(elsewhere) < 100
    assert not any("Group" in name or "DescribeInstances" in name for name in elsewhere)


def test_an_sdk_of_another_form_is_imported_as_usual(tmp_path: Path) -> None:
    """A release may name its modules in another way: that costs time, and no model."""
    models = tmp_path / "alibabacloud_ecs20140526" / "models"
    models.mkdir(parents=True)
    (tmp_path / "alibabacloud_ecs20140526" / "__init__.py").touch()
    (models / "__init__.py").write_text("from .everything import *\n")
    (models / "everything.py").write_text("class TagResourcesRequest:\n    pass\n")
    script = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT / "shared")!r}]
from link_peer.alicloud import lazy_models
lazy_models.install()
from alibabacloud_ecs20140526 import models
print(models.TagResourcesRequest.__module__, hasattr(models, "NoSuchModel"))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, text=True)  # noqa: S603
    assert run.stdout == "alibabacloud_ecs20140526.models.everything False\n", run.stderr
