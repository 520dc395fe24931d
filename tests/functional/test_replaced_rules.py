"""During a delivery that removes a rule of ours, a person puts an equal rule of theirs in its place: theirs stays."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from link_peer.alicloud import ecs, ecs_shapes
from link_peer_local.ecs.state import Group

from tests.functional.lab import HOME, PEER, Lab

Run = Callable[[], object]


def untag(lab: Lab) -> tuple[Group, Run]:
    """The instance asks no longer, and its tag event comes."""
    instance, _, db = lab.linked()
    lab.tag(instance, link_peer=None)
    event = lab.tag_event(instance)
    return db, lambda: lab.auto_link(event)


def lock(lab: Lab) -> tuple[Group, Run]:
    """The accepting group is locked, and its tag event comes."""
    _, _, db = lab.linked()
    lab.tag(db, link_lock="")
    event = lab.group_event(db)
    return db, lambda: lab.auto_link(event)


def unlink(lab: Lab) -> tuple[Group, Run]:
    """A request ends the link of two accounts."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b, "tcp/1"))
    request = lab.request(a, b, "tcp/1", action="unlink", request_id="chg-2")
    return b, lambda: lab.cross_account(request)


def sync(lab: Lab) -> tuple[Group, Run]:
    """The instance of one account asks no longer for a group of the other."""
    a, b = lab.pair()
    instance = lab.started(a, tags={"link-peer": f"{b.id}@{PEER}:tcp/1"})
    (message,) = lab.queued()
    lab.cross_account(message)
    lab.tag(instance, link_peer=None)
    return b, lambda: lab.cross_account(message)


def sweep(lab: Lab) -> tuple[Group, Run]:
    """The instance asks no longer, and no event tells it."""
    instance, _, db = lab.linked()
    lab.tag(instance, link_peer=None)
    return db, lab.sweep


def replace(lab: Lab, group: Group) -> None:
    """Removes our rule and adds an equal one without a description, as a person."""
    (old,) = lab.raw_rules(group)
    lab.revoke(group)
    fields = {"SourceGroupId": old["SourceGroupId"], "SourceGroupOwnerId": old["SourceGroupOwnerAccount"] or HOME}
    lab.authorize(group, IpProtocol="TCP", PortRange=old["PortRange"], Priority="100", **fields)


def replaced_at(call: int, lab: Lab, removing: Callable[[Lab], tuple[Group, Run]]) -> list[dict[str, Any]]:
    """The person's rule, made right before a call of the delivery; none if the delivery has removed ours by then."""
    group, run = removing(lab)
    theirs: list[dict[str, Any]] = []

    def person() -> None:
        if lab.raw_rules(group):
            replace(lab, group)
            theirs.extend(lab.raw_rules(group))

    lab.interrupt(call, person)
    run()
    assert lab.raw_rules(group) == theirs, f"replaced before call {call}"
    return theirs


@pytest.mark.parametrize("removing", [untag, lock, unlink, sync, sweep])
def test_a_persons_equal_rule_in_the_place_of_ours_stays(
    make_lab: Callable[[], Lab], removing: Callable[[Lab], tuple[Group, Run]]
) -> None:
    """Between any two calls, so also between the plan and the read right before the change. Without the person the same
    delivery removes our rule, and no record says that theirs was removed."""
    for call in itertools.count():
        lab = make_lab()
        theirs = replaced_at(call, lab, removing)
        if not theirs:
            break
        named = [rule["rule_id"] for record in lab.records(outcome="removed") for rule in json.loads(record["rules"])]
        assert not {rule["SecurityGroupRuleId"] for rule in theirs} & set(named)
    assert call >= 3


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
