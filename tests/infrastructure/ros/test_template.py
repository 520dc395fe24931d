"""deploy/peer-account.yaml has the types, properties, values and attributes that the official library of ROS knows.

Run by `make test-ros`, which sets LINK_PEER_ROS to the folder with the library; skipped without.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infrastructure.test_deploy import DEPLOY, ROS_PARAMETERS, rendered

LIBRARY = os.environ.get("LINK_PEER_ROS", "")
CHECK = Path(__file__).with_name("check.js")
TEMPLATE = (DEPLOY / "peer-account.yaml").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(not LIBRARY, reason="make test-ros")


def test_the_template_is_valid() -> None:
    """Every type, property and attribute exists, the required ones are there, and values are within their ranges."""
    assert list(faults(TEMPLATE)) == []


def faults(text: str) -> Iterator[str]:
    """What the library refuses, and what it does not know and therefore leaves out."""
    template = yaml.safe_load(text)
    template["Resources"] = rendered(template["Resources"], ROS_PARAMETERS)
    done = subprocess.run(  # noqa: S603 (our own file)
        ["node", CHECK],  # noqa: S607 (make test-ros needs npm)
        input=json.dumps(template),
        env={**os.environ, "NODE_PATH": LIBRARY},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    made = json.loads(done.stdout)
    for name, given in template["Parameters"].items():
        yield from unknown(given, made["Parameters"][name], name)
    for name, given in template["Resources"].items():
        yield from unknown(
            given["Properties"], made["Resources"][name].get("properties", made["Resources"][name]), name
        )
    for name, output in template["Outputs"].items():
        resource, attribute = output["Value"]["Fn::GetAtt"]
        if attribute not in made["Resources"][resource].get("attributes", ()):
            yield f"{name}: {resource} has no attribute {attribute}"


def unknown(given: Any, made: Any, where: str) -> Iterator[str]:
    """What is in a value and not in what the library made of it; or the library's error."""
    if isinstance(made, Mapping) and "error" in made:
        yield f"{where}: {made['error']}"
    elif isinstance(given, Mapping):
        yield from (f"{where}: {name} does not exist" for name in given if name not in made)
        for name in given.keys() & made.keys():
            yield from unknown(given[name], made[name], f"{where}.{name}")
    elif isinstance(given, list):
        for number, part in enumerate(given):
            yield from unknown(part, made[number], f"{where}.{number}")
    elif given != made:
        yield f"{where}: {given} became {made}"
