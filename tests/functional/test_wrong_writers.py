"""Two wrong designs that only HTTP tests reveal: the simulation of `make prove` has no Priority and no ClientToken."""

from __future__ import annotations

import uuid

import pytest
from link_peer.alicloud import ecs, ecs_shapes

from tests.functional.lab import Lab


def test_a_rule_written_with_another_priority_is_not_reported_as_applied(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the platform's default priority, 1, it would beat an operator's drop; the read-back rejects it."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    monkeypatch.setattr(ecs, "PRIORITY", 1)
    monkeypatch.setattr(ecs_shapes, "PRIORITY", 1)
    assert lab.auto_link(lab.event(instance)) == {}
    assert lab.records("outcome", outcome="applied") == []
    assert "does not show the change" in lab.records("attempt")[-1]["detail"]


def _linked_unlinked_and_linked(lab: Lab) -> bool:
    """Whether the link exists after link, unlink and link."""
    a, b = lab.pair()
    assert lab.cross_account(lab.request(a, b)) == {"applied": 1}
    lab.cross_account(lab.request(a, b, action="unlink", request_id="chg-2"))
    assert (lab.rules(a), lab.rules(b)) == ([], [])
    lab.cross_account(lab.request(a, b))
    return bool(lab.rules(a) and lab.rules(b))


def test_each_attempt_has_its_own_client_token_and_a_fixed_one_is_detected(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform answers a known token from memory: nothing is written, and the read-back shows it."""
    assert _linked_unlinked_and_linked(lab)
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=7))
    assert not _linked_unlinked_and_linked(lab)
