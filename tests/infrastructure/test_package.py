"""What is deployed: our part of the package as a folder that runs by itself, and the pins for the runtime's Python."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import yaml

from deploy import package

ROOT = Path(__file__).resolve().parents[2]
LOAD = """
import json, sys
sys.path[:0] = [{folder!r}]
import auto_link, cross_account, sweep
import link_peer.alicloud.sts, link_peer.alicloud.ecs, link_peer.alicloud.sls
from link_peer.inbound import policy_file as policy
from link_peer.runtime import settings
keys = dict.fromkeys(("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"), "k")
given = settings.load(env={{"LINK_PEER_REGION": "r", **keys}})
policy.load(given.policy_path)
names = {{"auto_link", "cross_account", "sweep", "link_peer", "link_peer_local", "link_peer_cli"}}
ours = [module for name, module in sys.modules.items() if name.partition(".")[0] in names]
print(json.dumps([given.policy_path, sorted({{module.__file__ for module in ours}})]))
"""


def test_our_part_runs_from_one_flat_folder(tmp_path: Path) -> None:
    """Handlers at the top, the policy beside them, and neither the commands nor the local cloud."""
    folder = tmp_path / "code"
    folder.mkdir()
    package.own_code(folder)
    assert {path.name for path in folder.iterdir()} == {
        "auto_link.py",
        "cross_account.py",
        "sweep.py",
        "link_peer",
        "policy.yaml",
    }
    # -I: neither this folder nor PYTHONPATH, only what is installed
    command = [sys.executable, "-I", "-B", "-c", LOAD.format(folder=str(folder))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    policy, files = json.loads(done.stdout)
    assert policy == str(folder / "policy.yaml")
    assert files
    assert all(Path(file).is_relative_to(folder) for file in files)


def test_it_is_built_for_the_runtime_of_every_function() -> None:
    document = yaml.safe_load((ROOT / "s.yaml").read_text(encoding="utf-8"))
    runtimes = {resource["props"]["runtime"] for resource in document["resources"].values()}
    assert runtimes == {f"python{package.VERSION}"}


def test_pins_are_those_of_the_runtime_not_of_this_python() -> None:
    """async-timeout is needed up to 3.10 alone: a newer Python would leave it out of the package."""
    lines = 'a==1\n# note\nb==2; python_version < "3.11"  # why\nc==3; python_version >= "3.11"\nd==4; sys_platform == "win32"\n'
    assert package.pins(lines) == ["a==1", "b==2"]
    real = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert "async-timeout==5.0.1" in package.pins(real)


def test_everything_that_is_deployed_is_pinned() -> None:
    pins = package.pins((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin) for pin in pins)
    assert {pin.partition("==")[0] for pin in pins} >= package.SOURCE_ONLY
