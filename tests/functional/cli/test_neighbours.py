"""`setup` refuses a second deployment that would share tags or rules with the first, and `doctor` finds it."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer_cli.demo.functions import deploy
from msgspec.structs import replace

from tests.functional.command import Cli
from tests.functional.lab import HOME, Lab

ACME = "acme"


@pytest.fixture(name="cli")
def _cli(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The deployment link-peer runs; another one may be set up."""
    deploy(lab.cloud, in_process=True)
    return Cli(capsys)


def other_deployment(lab: Lab, name: str, **env: str) -> None:
    """Deploys a function as that of another deployment is."""
    function = lab.cloud.fc.function(HOME, "link-peer-auto-link").function
    changed: dict[str, Any] = {"name": f"{name}-auto-link", "triggers": (), "env": {**function.env, **env}}
    lab.cloud.fc.deploy(HOME, replace(function, **changed))


@pytest.mark.parametrize("option", ["--dry-run", "--yes"])
def test_setup_refuses_to_share_the_tags_of_another_deployment(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """Before anything is changed. With tags of its own, it is made."""
    monkeypatch.setenv("LINK_PEER_PREFIX", ACME)
    assert cli("setup", option) == 1
    assert "the deployment link-peer in account" in cli.err
    assert "give each a LINK_PEER_TAG_PREFIX of its own" in cli.err
    assert not [role for role in lab.cloud.identity.roles if "acme" in role]
    monkeypatch.setenv("LINK_PEER_TAG_PREFIX", ACME)
    for then in ("link-peer package --first; s deploy -y\n", "link-peer package; s deploy -y\n"):
        assert (cli("setup", option), cli.out.endswith(f"; {then}")) == (0, option == "--yes"), cli.err
        other_deployment(lab, ACME)


@pytest.mark.knobs(request_tags=True)  # else nobody may write the tags
def test_setup_refuses_a_name_that_another_deployment_has(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would remove the rules of the other, which no tag of its own asks for."""
    lab.linked()
    monkeypatch.setenv("LINK_PEER_PREFIX", ACME)
    monkeypatch.setenv("LINK_PEER_TAG_PREFIX", ACME)
    assert cli("setup", "--dry-run") == 1
    assert "is called prod in its policy file, too" in cli.err
    lab.policy(deployment="other")
    assert cli("setup", "--dry-run") == 0, cli.err


@pytest.mark.parametrize(
    ("name", "env", "conflicts"),
    [
        (ACME, {"LINK_PEER_TAG_PREFIX": ACME}, []),
        (ACME, {"LINK_PEER_TAG_PREFIX": "link"}, ["other deployment"]),
        (ACME, {"LINK_PEER_TAG_PREFIX": ""}, ["other deployment"]),
        ("link-peer", {"LINK_PEER_TAG_PREFIX": ACME}, ["tag prefix"]),
        ("someone", {"handler": "x"}, []),
    ],
)
def test_doctor_finds_deployments_that_act_on_the_same_tags(
    lab: Lab, cli: Cli, name: str, env: dict[str, str], conflicts: list[str]
) -> None:
    """And functions of its own that act on others than the commands do. A version before the setting has the
    default."""
    if "handler" in env:
        function = lab.cloud.fc.function(HOME, "link-peer-auto-link").function
        other_function = replace(function, name=f"{name}-auto-link", triggers=(), handler="index.handler")
        lab.cloud.fc.deploy(HOME, other_function)
    else:
        other_deployment(lab, name, **env)
    _, findings = cli.json("doctor")
    details = [
        finding["what"]
        for finding in findings
        if finding["what"] in ("other deployment", "tag prefix", "other deployments")
    ]
    assert details == conflicts


def test_doctor_says_that_deployments_could_not_be_read(lab: Lab, cli: Cli) -> None:
    """It does not conclude that there are none."""
    lab.fault(service="fc", action="ListFunctions", code="AccessDenied", status=403, times=None)
    _, findings = cli.json("doctor")
    assert [finding["state"] for finding in findings if finding["what"] == "other deployments"] == ["unknown"]
