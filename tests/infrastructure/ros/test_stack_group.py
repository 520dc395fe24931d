"""What `account add --from --stack-group` prints: requests of ROS that exist, which make what `account add` makes."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from link_peer_deploy.documents import peer_roles
from link_peer_local.cloud import LocalCloud

from tests.functional.command import Cli
from tests.functional.lab import Lab
from tests.infrastructure.ros.test_template import LIBRARY, TEMPLATE
from tests.infrastructure.test_deploy import ROOT, rendered

MEMBERS = ["1000000000000003", "1000000000000004", "1000000000000005"]


@pytest.fixture(name="cli")
def _cli(
    local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Cli:
    """On a local cloud, with the policy file of two accounts."""
    Lab(local_cloud, monkeypatch, tmp_path)
    return Cli(capsys)


@pytest.fixture(name="printed", params=["link", "acme"])
def _printed(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> list[dict[str, Any]]:
    """The parameters of both commands, with the default prefix of tags and with another."""
    monkeypatch.setenv("LINK_PEER_TAG_PREFIX", request.param)
    (path := tmp_path / "members.txt").write_text("\n".join(MEMBERS))
    _, [shown] = cli.json("account", "add", "--from", str(path), "--stack-group", "fd-a1B2c3", "--write")
    return [parameters(command) for command in shown["commands"]]


def test_the_page_shows_the_commands(cli: Cli, tmp_path: Path) -> None:
    """As they are printed for the command there, but for the path of the template."""
    page = (ROOT / "docs" / "onboarding.md").read_text(encoding="utf-8")
    [asked] = re.findall(r"^link-peer account add (--from .*)$", page, re.MULTILINE)
    (path := tmp_path / "members.txt").write_text("\n".join(MEMBERS))
    _, [shown] = cli.json("account", "add", *asked.replace("members.txt", str(path)).split())
    [block] = re.findall(r"^aliyun ros CreateStackGroup .*?(?=^```)", page, re.MULTILINE | re.DOTALL)
    assert shlex.split(block.replace("deploy/", "").replace("\\\n", "")) == [
        word for c in shown["commands"] for word in shlex.split(c)
    ]


@pytest.mark.skipif(not LIBRARY, reason="make test-ros, which installs the SDK")
def test_the_requests_are_those_of_the_sdk(printed: list[dict[str, Any]]) -> None:
    """Every parameter exists, also inside those that are JSON on the wire: the SDK leaves out what it does not know."""
    models = importlib.import_module("alibabacloud_ros20190910.models")
    for action, given in zip(("CreateStackGroup", "CreateStackInstances"), printed, strict=True):
        on_the_wire = vars(getattr(models, f"{action}ShrinkRequest")())
        nested = {
            name: json.loads(value) if f"{snake(name)}_shrink" in on_the_wire else value
            for name, value in given.items()
        }
        known = getattr(models, f"{action}Request")().from_map(nested).to_map()
        assert {name: known.get(name) for name in nested} == nested


def test_each_member_gets_the_roles_of_account_add(cli: Cli, printed: list[dict[str, Any]]) -> None:
    """The same template and parameters, unchanged, for three members: names, trust and policies are equal."""
    template = yaml.safe_load(TEMPLATE)
    given = {p["ParameterKey"]: p["ParameterValue"] for p in printed[0]["Parameters"]}
    values = {name: one["Default"] for name, one in template["Parameters"].items() if name not in given}
    values |= {
        name: json.loads(value) if template["Parameters"][name]["Type"] == "Json" else value
        for name, value in given.items()
    }
    for uid in MEMBERS:
        made = rendered(template["Resources"], {**values, "ALIYUN::TenantId": uid})
        _, [shown] = cli.json("account", "add", uid)
        asked = [parameters(command) for command in shown["commands"]]
        for resource, role in zip(made.values(), peer_roles("link-peer"), strict=True):
            properties = resource["Properties"]
            assert properties["RoleName"] == role.name
            [trust] = [p["AssumeRolePolicyDocument"] for p in asked if p.get("RoleName") == role.name and len(p) == 2]
            assert properties["AssumeRolePolicyDocument"] == json.loads(trust)
            documents = {p["PolicyName"]: json.loads(p["PolicyDocument"]) for p in asked if "PolicyDocument" in p}
            for policy in properties["Policies"]:
                assert policy["PolicyDocument"] == documents[policy["PolicyName"]]


def parameters(command: str) -> dict[str, Any]:
    """The parameters of an `aliyun` command; `Parameters.1.ParameterKey` and the like as a list of objects."""
    words = shlex.split(command)[3:]
    found: dict[str, Any] = {}
    for name, value in zip(words[::2], words[1::2], strict=True):
        outer, *inner = name.removeprefix("--").split(".")
        if inner:
            items = found.setdefault(outer, [])
            if int(inner[0]) > len(items):
                items.append({})
            items[int(inner[0]) - 1][inner[1]] = value
        else:
            found[outer] = value
    return found


def snake(name: str) -> str:
    """`RegionIds` as `region_ids`."""
    return re.sub(r"(?<=.)([A-Z])", r"_\1", name).lower()
