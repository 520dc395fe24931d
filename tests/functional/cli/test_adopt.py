"""`link-peer adopt`: a person's rule becomes a link in place, and everything else is refused before a change."""

from __future__ import annotations

from pathlib import Path

import pytest
from link_peer_local.ecs.state import Group

from tests.functional.command import Cli
from tests.functional.lab import MANAGED, PEER, Lab
from tests.functional.profiles import write_profiles


@pytest.fixture(name="cli")
def _cli(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """A profile `peer` of the `aliyun` CLI for the second account."""
    write_profiles(lab, monkeypatch, tmp_path, {"peer": PEER})
    return Cli(capsys)


def person(lab: Lab, target: Group, source: Group | None = None, **fields: str) -> str:
    """A rule that a person makes; returns its id."""
    given = {"IpProtocol": "TCP", "PortRange": "3306/3306", "Policy": "accept", "NicType": "intranet", **fields}
    given = {"Priority": "1", "Description": "orders", **given}
    if source is not None:
        given["SourceGroupId"] = source.id
        if source.account != target.account:
            given["SourceGroupOwnerId"] = source.account
    return lab.authorize(target, **{name: value for name, value in given.items() if value})


def test_a_rule_becomes_a_link_by_request(lab: Lab, cli: Cli) -> None:
    """In place, with its id: consent, managed tag, marker, priority 100, and the request on the queue, which is applied."""
    app, db = lab.group(), lab.group()
    lab.instance(app)
    rule = person(lab, db, app)
    assert cli("adopt", rule, "--yes") == 0, cli.err
    print(cli.out)
    [found] = lab.raw_rules(db)
    assert (found["SecurityGroupRuleId"], str(found["Priority"])) == (rule, "100")
    assert lab.reasons(db) == [f"req:adopt-{rule}"]
    assert lab.tags(db) == {"link-accept": f"{app.id}:tcp/3306", MANAGED: "true"}
    assert lab.drain(60) == {"applied": 1}
    assert lab.sweep() == {}
    assert lab.reasons(db) == [f"req:adopt-{rule}"]
