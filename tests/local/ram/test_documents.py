"""Rendering the files of deploy/: names filled in, one ARN per account, nothing left over."""

from __future__ import annotations

import pytest
from link_peer_local.ram.documents import render

VALUES = {
    "LINK_PEER_REGION": "cn-qingdao",
    "LINK_PEER_PREFIX": "link-peer",
    "HOME_ACCOUNT": "1000000000000001",
    "DEPLOYMENT": "prod",
}
PEERS = ["acs:ram::1000000000000002:role/link-peer", "acs:ram::1000000000000003:role/lp"]


def entered(name: str, peers: list[str]) -> list[list[str]]:
    """The resources of each statement on AssumeRole."""
    return [s["Resource"] for s in render(name, VALUES, peers)["Statement"] if "sts:AssumeRole" in s["Action"]]


def test_each_account_has_a_line() -> None:
    """The functions and operators enter through the role, readers through the one beside it."""
    assert entered("ram-function-role.json", PEERS) == [PEERS]
    assert entered("ram-operator.json", PEERS) == [PEERS]
    assert entered("ram-operator-read.json", PEERS) == [[f"{arn}-reader" for arn in PEERS]]


@pytest.mark.parametrize("name", ["ram-function-role.json", "ram-operator.json", "ram-operator-read.json"])
def test_without_accounts_the_statement_is_dropped(name: str) -> None:
    """An empty list of resources is no policy."""
    assert entered(name, []) == []


def test_keys_of_conditions_are_filled_in_too() -> None:
    conditions = [s["Condition"] for s in render("ram-operator.json", VALUES)["Statement"] if s.get("Condition")]
    assert {"StringLike": {"acs:RequestTag/link-managed.prod.1000000000000001": ["*"]}} in conditions
    assert "${" not in str(render("ram-operator.json", VALUES, PEERS))


def test_a_placeholder_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="EXTERNAL_ID"):
        render("ram-peer-role-trust.json", VALUES)


@pytest.mark.parametrize("value", ["*", "link-peer*", "?", "", "a b", 'x", "y', "${HOME_ACCOUNT}", "a\n"])
def test_a_value_cannot_widen_a_statement(value: str) -> None:
    """Neither by a wildcard nor by leaving its string."""
    with pytest.raises(ValueError, match="no name or ARN"):
        render("ram-function-role.json", {**VALUES, "LINK_PEER_PREFIX": value})
    with pytest.raises(ValueError, match="no name or ARN"):
        render("ram-function-role.json", VALUES, [value])
