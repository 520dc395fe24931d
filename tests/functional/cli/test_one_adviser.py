"""The record of a denied link, `link-peer explain` and `link-peer doctor` give the same advice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from link_peer.domain import denials
from link_peer.domain.denials import Denial, parts
from link_peer.domain.reasons import REASONS
from link_peer_local.ecs.state import Group, Instance

from tests.functional.command import Cli
from tests.functional.lab import Lab

pytestmark = pytest.mark.usefixtures("living_lab")

CLOSED = "link-peer close by arn 2026-11-26T00:00:00Z"
Ends = tuple[Group | Instance, Group | Instance]


def asked(lab: Lab, app: Group, db: Group, ports: str = "tcp/1") -> Ends:
    """A tag asks for a link of two groups, and both have instances."""
    lab.instance(db)
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:{ports}"})))
    return app, db


DENIED: dict[str, tuple[dict[str, Any], Callable[[Lab], Group], str]] = {
    "without consent": ({}, lambda lab: lab.group(), "link-accept="),
    "where the policy consents": (
        {"accept_tags": False},
        lambda lab: lab.group("*"),
        "added to allow in the policy file",
    ),
    "closed": ({}, lambda lab: lab.group("*", tags={"link-lock": CLOSED}), ""),
    "locked by hand": ({}, lambda lab: lab.group("*", tags={"link-lock": "keep out"}), "ask the person who locked it"),
    "on a denied port": ({"deny": {"ports": ["tcp/1"]}}, lambda lab: lab.group("*"), ""),
    "in two VPCs": ({}, lambda lab: lab.group(vpc=lab.a), "link-accept="),
    "to an advanced group": ({}, lambda lab: lab.group(type="enterprise"), "link-accept="),
}
"""The policy, the group for which a tag asks in vain, and what is advised."""


def said(lab: Lab, cli: Cli, ends: Ends) -> list[tuple[str, str]]:
    """(words, command) of the record, of `explain`, and of `doctor`."""
    record = lab.records(outcome="denied")[-1]
    words, command = parts(record["advice"])
    _, (explained,) = cli.json("explain", *(one.id for one in ends), "tcp/1")
    first = explained["do"][0]
    assert first["why"].endswith(words)
    assert record["detail"] in first["why"]
    _, findings = cli.json("doctor", ends[0].account)
    advice = [one["advice"] for one in findings if one.get("advice") and record["to"] in str(one)]
    return [(words, command), (words, first["command"]), *map(parts, advice)]


@pytest.mark.parametrize("case", DENIED)
def test_all_give_the_remedy_of_the_denial(lab: Lab, cli: Cli, case: str) -> None:
    """The same words, and the same command."""
    policy, target, words = DENIED[case]
    lab.policy(**policy)
    first, *others = said(lab, cli, asked(lab, lab.group(), target(lab)))
    assert words in first[0]
    assert len(others) >= 2
    assert others == [first] * len(others)


def test_all_give_the_remedy_inside_an_isolated_group(lab: Lab, cli: Cli) -> None:
    """For two of its members."""
    group = lab.group(inner_access="Drop")
    one = lab.instance(group)
    first, *others = said(lab, cli, (lab.started(group, tags={"link-peer": f"{group.id}:tcp/1"}), one))
    assert len(others) >= 2
    assert others == [first] * len(others)


def test_none_has_an_advice_of_its_own_for_a_reason(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the reason, they repeat what the denial advises."""
    app, db = lab.group(), lab.group()
    given: list[Denial] = []
    monkeypatch.setattr(denials, "no_consent", lambda *_, **__: given[-1])
    for row in REASONS.values():
        given.append(Denial(row, f"the fact of {row.code}", f"do it for {row.code}: link-peer links --party {db.id}"))
        ends = asked(lab, app, db)
        assert lab.outcome()["reason"] == row.code
        first, *others = said(lab, cli, ends)
        assert others
        assert set(others) == {first}
