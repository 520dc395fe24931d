"""deploy/terraform, read without Terraform. tests/infrastructure/terraform has what Terraform itself says; here are, too, the values
that it compares with: what `link-peer setup` creates, and what s.yaml triggers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml
from link_peer.domain.policy import Policy
from link_peer.inbound import policy_file
from link_peer.runtime.clock import SystemClock
from link_peer.runtime.settings import Settings
from link_peer.runtime.settings import load as load_settings
from link_peer_cli import setup
from link_peer_deploy.names import Names

from tests.functional.lab import HOME, PEER, REGION

ROOT = Path(__file__).parents[2]
MODULES = [ROOT / "deploy/terraform", ROOT / "deploy/terraform/peer-account"]
PREFIX = "tenant-b"
ACTION_POLICY = "on-call"
BOUND = f"{PREFIX}-requests-{PEER}"
ALONE = f"""
deployment: prod
accounts:
  "{HOME}": {{name: a@aliyun.com}}
"""
TOGETHER = f"""{ALONE}
  "{PEER}":
    name: b@aliyun.com
    role: "acs:ram::{PEER}:role/{PREFIX}"
    external_id: "a-random-value-of-1"
    queue: {BOUND}
  "1000000000000003":
    name: c@aliyun.com
    role: "acs:ram::1000000000000003:role/other"
    external_id: "a-random-value-of-2"
sets:
  prod: {{account: "{HOME}", tags: {{tier: db, env: prod}}}}
  dev: {{account: "{PEER}", tags: {{env: dev}}}}
"""
"""Policies of a deployment without other accounts, and with two, one of which has a queue of its own."""

NOT_IN_TEMPLATES = {"user", "action policy", "service-linked role"}
"""What is of the account. The provider has no resource for records of the alert centre; `s deploy` makes the roles, too."""

States = dict[tuple[str, str], Any]
"""Kind and name of a resource to its state, in the words of `setup`."""


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_everything_is_used(module: Path) -> None:
    """Every variable and every local is; that what is named is there, Terraform says."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(module.glob("*.tf")))
    declared = {f"var.{name}" for name, _ in labelled(module, "variable")}
    declared |= {f"local.{name}" for block in blocks(module, "locals") for name in block}
    assert set(re.findall(r"\b(?:var|local)\.\w+", text)) == declared


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_everything_is_described(module: Path) -> None:
    """Variables and outputs have a description, and the README names each variable."""
    readme = (ROOT / "deploy/terraform/README.md").read_text(encoding="utf-8")
    for label, body in [*labelled(module, "variable"), *labelled(module, "output")]:
        assert body["description"].strip('"'), label
    for name, _ in labelled(module, "variable"):
        assert f"`{name}`" in readme


def test_versions_are_the_same() -> None:
    """Both modules ask for the same versions of Terraform and of the provider."""
    assert len({(module / "versions.tf").read_text(encoding="utf-8") for module in MODULES}) == 1


def test_files_exist() -> None:
    """Every file of deploy/ that the modules read is there."""
    for module, files in zip(MODULES, ("..", "../.."), strict=True):
        text = (module / "main.tf").read_text(encoding="utf-8")
        names = re.findall(r"[\w-]+\.(?:json|yaml)", text)
        assert names
        assert all((module / files / name).is_file() for name in names)


TARGET = {
    "functionName": ("CONSTANT", f"{PREFIX}-auto-link"),
    "Qualifier": ("CONSTANT", "live"),
    "InvocationType": ("CONSTANT", "Async"),
    "DataFormat": ("CONSTANT", "Object"),
    "Body": ("ORIGINAL", ""),
}


def parameters(items: list[dict[str, Any]], key: str, form: str, value: str) -> dict[str, tuple[str, str]]:
    """The parameters of an event target by key."""
    return {item[key]: (item[form], item.get(value) or "") for item in items}


def stream(queue: str) -> Any:
    """The configuration of the trigger on a queue, in the region and account of the tests."""
    names = {"vars.region": REGION, "vars.prefix": PREFIX, "config('AccountID')": HOME}
    text = json.dumps(
        yaml.safe_load((ROOT / "deploy/request-trigger.yaml").read_text(encoding="utf-8"))["triggerConfig"]
    )
    for name, value in names.items():
        text = text.replace(f"${{{name}}}", value)
    config = json.loads(text)
    config["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"]["QueueName"] = queue
    return config


def alert_state(detail: dict[str, Any]) -> Any:
    """An alert in the format of CreateAlert, and its action policy by itself."""
    return {"rule": detail, "action policy": detail["configuration"]["policyConfiguration"].pop("actionPolicyId")}


def blocks(module: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The blocks of a kind in a module."""
    for path in sorted(module.glob("*.tf")):
        yield from parsed(path).get(kind, [])


@cache
def parsed(path: Path) -> dict[str, Any]:
    """A file, without what the parser adds."""
    found: dict[str, Any] = plain(hcl2.loads(path.read_text(encoding="utf-8")))
    return found


def labelled(module: Path, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Label and body of each block of a kind."""
    return [(label, body) for block in blocks(module, kind) for label, body in block.items()]


def plain(value: Any) -> Any:
    """What python-hcl2 parsed, without quotes around names and without its own fields."""
    if isinstance(value, dict):
        return {key.strip('"'): plain(part) for key, part in value.items() if not key.startswith("__")}
    return [plain(part) for part in value] if isinstance(value, list) else value


def states(policy: str, action_policy: str, operators: Sequence[str] = ()) -> States:
    """What `setup` creates; what needs somebody to notify only where that is given."""
    env = {
        "LINK_PEER_REGION": REGION,
        "LINK_PEER_PREFIX": PREFIX,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "unused",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "unused",
    }
    settings: Settings = load_settings(env=env)
    found: Policy = policy_file.parse(policy)
    deployment = setup.SetupTarget(
        settings, found, Names(HOME, PREFIX), SystemClock(), action_policy=action_policy, operators=tuple(operators)
    )
    return {
        (resource.kind, resource.name): resource.wanted
        for resource in setup.resources(deployment)
        if not resource.lacks and resource.kind not in NOT_IN_TEMPLATES
    }


def bare(value: Any) -> Any:
    """A value without what means the same as nothing: null, empty texts, lists and objects."""
    if isinstance(value, dict):
        parts = {key: bare(part) for key, part in value.items()}
        return {key: part for key, part in parts.items() if part not in (None, "", [], {})}
    return [bare(part) for part in value] if isinstance(value, list) else value
