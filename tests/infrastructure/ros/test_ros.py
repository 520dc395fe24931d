"""deploy/peer-account.yaml has the types, properties, values and attributes that the official library of ROS knows; and
what `account add --from --stack-group` prints are requests of ROS that exist, which make what `account add` makes.

`make test-ros` sets LINK_PEER_ROS to the folder with the library, and installs the SDK; what needs them is skipped
without.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from aliyun_local.api import LocalCloud
from link_peer_deploy.documents import peer_roles

from tests.functional.command import Cli
from tests.functional.lab import Lab
from tests.infrastructure.test_deploy import DEPLOY, ROOT, ROS_PARAMETERS, rendered

LIBRARY = os.environ.get("LINK_PEER_ROS", "")
CHECK = Path(__file__).with_name("check.js")
TEMPLATE = (DEPLOY / "peer-account.yaml").read_text(encoding="utf-8")

with_library = pytest.mark.skipif(not LIBRARY, reason="make test-ros, which installs the SDK and the library")


@with_library
def test_the_template_is_valid() -> None:
    """Every type, property and attribute exists, the required ones are there, and values are within their ranges."""
    assert list(faults(TEMPLATE)) == []


def faults(text: str) -> Iterator[str]:
    """What the library refuses, and what it does not know and therefore leaves out."""
    template = yaml.safe_load(text)
    template["Resources"] = rendered(template["Resources"], ROS_PARAMETERS)
    result = subprocess.run(  # noqa: S603 (our own file)
        ["node", CHECK],  # noqa: S607 (make test-ros needs npm)
        input=json.dumps(template),
        env={**os.environ, "NODE_PATH": LIBRARY},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    document = json.loads(result.stdout)
    for name, parameter in template["Parameters"].items():
        yield from unknown(parameter, document["Parameters"][name], name)
    for name, parameter in template["Resources"].items():
        yield from unknown(
            parameter["Properties"], document["Resources"][name].get("properties", document["Resources"][name]), name
        )
    for name, output in template["Outputs"].items():
        resource, attribute = output["Value"]["Fn::GetAtt"]
        if attribute not in document["Resources"][resource].get("attributes", ()):
            yield f"{name}: {resource} has no attribute {attribute}"


def unknown(properties: Any, schema: Any, where: str) -> Iterator[str]:
    """What is in a value and not in what the library made of it; or the library's error."""
    if isinstance(schema, Mapping) and "error" in schema:
        yield f"{where}: {schema['error']}"
    elif isinstance(properties, Mapping):
        yield from (f"{where}: {name} does not exist" for name in properties if name not in schema)
        for name in properties.keys() & schema.keys():
            yield from unknown(properties[name], schema[name], f"{where}.{name}")
    elif isinstance(properties, list):
        for number, part in enumerate(properties):
            yield from unknown(part, schema[number], f"{where}.{number}")
    elif properties != schema:
        yield f"{where}: {properties} became {schema}"


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
    _, [account] = cli.json("account", "add", "--from", str(path), "--stack-group", "fd-a1B2c3", "--write")
    return [parameters(command) for command in account["commands"]]


def test_the_page_shows_the_commands(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are printed for the command there."""
    page = (ROOT / "docs" / "onboarding.md").read_text(encoding="utf-8")
    [list_options] = re.findall(r"^link-peer account add (--from .*)$", page, re.MULTILINE)
    (tmp_path / "members.txt").write_text("\n".join(MEMBERS))
    monkeypatch.chdir(tmp_path)
    _, [account] = cli.json("account", "add", *list_options.split())
    [block] = re.findall(r"^aliyun ros CreateStackGroup .*?(?=^```)", page, re.MULTILINE | re.DOTALL)
    assert shlex.split(block.replace("\\\n", "")) == [word for c in account["commands"] for word in shlex.split(c)]


@with_library
def test_the_requests_are_those_of_the_sdk(printed: list[dict[str, Any]]) -> None:
    """Every parameter exists, also inside those that are JSON on the wire: the SDK leaves out what it does not know."""
    models = importlib.import_module("alibabacloud_ros20190910.models")
    for action, printed_params in zip(("CreateStackGroup", "CreateStackInstances"), printed, strict=True):
        on_the_wire = vars(getattr(models, f"{action}ShrinkRequest")())
        nested = {
            name: json.loads(value) if f"{snake(name)}_shrink" in on_the_wire else value
            for name, value in printed_params.items()
        }
        request_fields = getattr(models, f"{action}Request")().from_map(nested).to_map()
        assert {name: request_fields.get(name) for name in nested} == nested


def test_each_member_gets_the_roles_of_account_add(cli: Cli, printed: list[dict[str, Any]]) -> None:
    """The same template and parameters, unchanged, for three members: names, trust and policies are equal."""
    template = yaml.safe_load(TEMPLATE)
    values_by_key = {p["ParameterKey"]: p["ParameterValue"] for p in printed[0]["Parameters"]}
    values = {
        name: parameter["Default"] for name, parameter in template["Parameters"].items() if name not in values_by_key
    }
    values |= {
        name: json.loads(value) if template["Parameters"][name]["Type"] == "Json" else value
        for name, value in values_by_key.items()
    }
    for uid in MEMBERS:
        rendered_roles = rendered(template["Resources"], {**values, "ALIYUN::TenantId": uid})
        _, [account] = cli.json("account", "add", uid)
        parameters_printed = [parameters(command) for command in account["commands"]]
        for resource, role in zip(rendered_roles.values(), peer_roles("link-peer"), strict=True):
            properties = resource["Properties"]
            assert properties["RoleName"] == role.name
            [trust] = [
                p["AssumeRolePolicyDocument"]
                for p in parameters_printed
                if p.get("RoleName") == role.name and len(p) == 2
            ]
            assert properties["AssumeRolePolicyDocument"] == json.loads(trust)
            documents = {
                p["PolicyName"]: json.loads(p["PolicyDocument"]) for p in parameters_printed if "PolicyDocument" in p
            }
            for policy in properties["Policies"]:
                assert policy["PolicyDocument"] == documents[policy["PolicyName"]]


def parameters(command: str) -> dict[str, Any]:
    """The parameters of an `aliyun` command; `Parameters.1.ParameterKey` and the like as a list of objects."""
    words = shlex.split(command)[3:]
    nested: dict[str, Any] = {}
    for name, value in zip(words[::2], words[1::2], strict=True):
        outer, *inner = name.removeprefix("--").split(".")
        if inner:
            items = nested.setdefault(outer, [])
            if int(inner[0]) > len(items):
                items.append({})
            items[int(inner[0]) - 1][inner[1]] = value
        else:
            nested[outer] = value
    return nested


def snake(name: str) -> str:
    """`RegionIds` as `region_ids`."""
    return re.sub(r"(?<=.)([A-Z])", r"_\1", name).lower()
