"""Rendering the files of deploy/: names filled in, one pattern for each name of a role, nothing left over."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer_deploy.documents import MAX_POLICY, compact, render, split

VALUES = {
    "LINK_PEER_PREFIX": "link-peer",
    "HOME_ACCOUNT": "1000000000000001",
    "DEPLOYMENT": "prod",
    "LINK_PEER_TAG_PREFIX": "link",
}
PEERS = [f"acs:ram::100000000000000{n}:role/{name}" for n, name in enumerate(("link-peer", "lp", "link-peer"), 2)]


def entered(name: str, peers: list[str]) -> list[list[str]]:
    """The resources of each statement on AssumeRole."""
    statements = [s for s in render(name, VALUES, peers)["Statement"] if s["Effect"] == "Allow"]
    return [s["Resource"] for s in statements if "sts:AssumeRole" in s["Action"]]


def test_each_name_of_a_role_has_a_line() -> None:
    """The functions and operators enter through the role, readers and people who close through those beside it."""
    names = ["acs:ram::*:role/link-peer", "acs:ram::*:role/lp"]
    assert entered("ram-function-role.json", PEERS) == [names]
    assert entered("ram-operator.json", PEERS) == [[*names, *(f"{name}-closer" for name in names)]]
    assert entered("ram-operator-read.json", PEERS) == [[f"{name}-reader" for name in names]]


@pytest.mark.parametrize("name", ["ram-function-role.json", "ram-operator.json", "ram-operator-read.json"])
def test_no_role_of_home_is_entered(name: str) -> None:
    """Not even one whose name a role of another account has, too."""
    denied = [s for s in render(name, VALUES, PEERS)["Statement"] if s["Action"] == ["sts:AssumeRole"]]
    assert denied[-1] == {
        "Effect": "Deny",
        "Action": ["sts:AssumeRole"],
        "Resource": ["acs:ram:*:1000000000000001:role/*"],
    }


@pytest.mark.parametrize("count", [0, 1, 60, 500])
def test_a_document_that_is_too_long_is_split(count: int) -> None:
    """Into as few as hold its statements, each within RAM's limit; together they say the same."""
    peers = [f"acs:ram::{uid}:role/team-{uid}" for uid in range(1000000000000002, 1000000000000002 + count)]
    document = render("ram-function-role.json", VALUES, peers)
    parts = split(document)
    assert all(len(compact(part)) <= MAX_POLICY for part in parts)
    assert len(parts) == max(1, -(-len(compact(document)) // MAX_POLICY))
    assert statements_of(*parts) == statements_of(document)


def statements_of(*documents: dict[str, Any]) -> set[tuple[str, str, str, str]]:
    """The effect, action, resource and condition of every statement."""
    return {
        (s["Effect"], action, resource, str(s.get("Condition")))
        for document in documents
        for s in document["Statement"]
        for action in s["Action"]
        for resource in s["Resource"]
    }


@pytest.mark.parametrize("name", ["ram-function-role.json", "ram-operator.json", "ram-operator-read.json"])
def test_without_accounts_the_statement_is_dropped(name: str) -> None:
    """An empty list of resources is no policy."""
    assert entered(name, []) == []


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
