"""During a delivery that removes or adds a rule of ours, a person adds an equal one: theirs stays."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from aliyun_local.api import Group
from link_peer.alicloud import ecs, ecs_shapes

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
        rule_ids = [
            rule["rule_id"] for record in lab.records(outcome="removed") for rule in json.loads(record["rules"])
        ]
        assert not {rule["SecurityGroupRuleId"] for rule in theirs} & set(rule_ids)
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


def test_a_rule_that_a_person_adds_first_is_theirs(lab: Lab) -> None:
    """Authorizing an existing rule succeeds without adding one. The rule read back is theirs, and outlives the link."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.instance(app)
    theirs = {"IpProtocol": "TCP", "PortRange": "1/1", "Priority": "100", "SourceGroupId": app.id}
    lab.meanwhile("AuthorizeSecurityGroup", lambda: lab.authorize(db, **theirs))
    lab.auto_link(lab.event(instance))
    (rule,) = lab.raw_rules(db)
    assert rule["Description"] == ""
    lab.retag(instance, link_peer=None)
    assert lab.raw_rules(db) == [rule]
