"""What the events of groups' tags say is on record, and who caused what is done; neither decides anything."""

from __future__ import annotations

import json
from typing import Any

import cross_account
import pytest
from aliyun_local.api import Caller, User
from link_peer.domain.errors import Transient

from tests.functional.lab import HOME, PEER, REGION, Group, Lab

ALICE = {"type": "ram-user", "accountId": HOME, "principalId": "2001", "userName": "alice"}
ALICE_ARN = f"acs:ram::{HOME}:user/alice"


def observed_record(lab: Lab, group: Group, identity: object = None, **data: object) -> dict[str, Any]:
    """An event of a group's tags with an identity and fields of its own."""
    event = lab.group_event(group)
    event["data"] |= {"userIdentity": identity or ALICE, "requestId": "call-1", **data}
    return event


@pytest.mark.knobs(trail_resources="referencedResources")
def test_an_event_of_a_groups_tags_is_recorded_with_its_call_and_the_tags_as_they_are_now(lab: Lab) -> None:
    """Also what others set since: that is not credited to the event's actor. It costs one call, that of the record."""
    db = lab.group("*:tcp/1")
    lab.cloud.identity.users[ALICE_ARN] = User(HOME, "alice", attached={("System", "AdministratorAccess"): 0})
    events: list[dict[str, Any]] = []
    lab.cloud.ecs.on_event = lambda _account, event: events.append(event)
    params = {"RegionId": REGION, "ResourceType": "securitygroup", "ResourceId.1": db.id}
    params |= {"Tag.1.Key": "link-lock", "Tag.1.Value": "incident 7"}
    lab.cloud.ecs.call(Caller(HOME, ALICE_ARN, user="alice"), "TagResources", params)
    event = events[0]
    lab.tag(db, **{"link-accept.2": "sg-x:tcp/2", "link-accept-2": "*", "env": "prod"})
    before = lab.calls()
    assert lab.auto_link({**event, "data": {**event["data"], "eventName": "CreateTags"}}) == {}
    assert lab.calls() == before
    lab.auto_link(event)
    services = [call.service for call in lab.cloud.faults.calls][before:]
    assert services.count("sls") == 1
    (record,) = lab.records("observed")
    now = {"link-accept": "*:tcp/1", "link-accept.2": "sg-x:tcp/2", "link-lock": "incident 7"}
    assert json.loads(record.pop("tags")) == now
    assert json.loads(record.pop("event_tags")) == {"link-lock": "incident 7"}
    fields = {"record": "observed", "schema": "4", "function": "auto_link", "deployment": "prod", "region": REGION}
    fields |= {"event_id": event["id"], "action": "consent", "to_account": HOME, "to": db.id, "actor": ALICE_ARN}
    fields |= {"event_call": "TagResources", "event_request": event["data"]["requestId"], "time": lab.iso_millis()}
    assert {name: value for name, value in record.items() if name != "key"} == fields


def test_every_event_of_a_batch_is_recorded_though_the_group_is_looked_at_once(lab: Lab) -> None:
    """Equal ones once; one group's do not stand for another's. A record of a decision names the actor of its own
    event."""
    app, db = lab.group(), lab.group()
    bob = {**ALICE, "userName": "bob"}
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    started = lab.event(instance)
    events = [observed_record(lab, db), observed_record(lab, db, bob), observed_record(lab, app, bob), started]
    assert lab.auto_link(*events, events[0]) == {"denied": 1}
    event_ids = [
        (record["event_id"], record["to"], record["actor"].rpartition("/")[2]) for record in lab.records("observed")
    ]
    ids = [event["id"] for event in events]
    assert event_ids == [(ids[0], db.id, "alice"), (ids[1], db.id, "bob"), (ids[2], app.id, "bob")]
    assert (lab.outcome()["event_id"], lab.outcome()["actor"]) == (started["id"], "ecs:Instance:StateChange")
    assert len({record["key"] for record in lab.records("observed")}) == 3


def test_closing_waits_for_no_observed_record(lab: Lab) -> None:
    """The log takes the intent and the outcome of the lock, and then nothing: the rule is gone, and the event comes
    again until its record is there. A log that takes nothing at all keeps the event, too."""
    _, _, db = lab.linked()
    lab.tag(db, link_lock="x")
    event = observed_record(lab, db)
    lab.fault(service="sls", kind="error", times=None, skip=2)
    with pytest.raises(Transient):
        lab.auto_link(event)
    assert lab.rules(db) == []
    assert (lab.outcome()["outcome"], lab.outcome()["actor"]) == ("removed", ALICE_ARN)
    lab.cloud.faults.clear()
    assert lab.auto_link(event) == {}
    assert [record["event_id"] for record in lab.records("observed")] == [event["id"]]


HOSTILE: list[object] = [
    None,
    "root",
    ["x"] * 1000,
    {"type": "root-account", "accountId": HOME, "userName": "root"},
    {"type": "assumed-role", "accountId": HOME, "userName": "link-peer-fc:\u202e\n" + "x" * 100_000},
    {"type": {}, "accountId": [], "userName": 7, "principalId": "\ud800"},
    {"type": "timer", "userName": PEER},
]


@pytest.mark.parametrize("identity", HOSTILE)
def test_no_actor_changes_what_is_done(lab: Lab, identity: object) -> None:
    """An instance's tag opens a link, and a lock of the group closes it, whoever is said to have done it."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    event = lab.tag_event(instance)
    event["data"]["userIdentity"] = identity
    assert lab.auto_link(event) == {"applied": 1}
    lab.tag(db, link_lock="x")
    assert lab.auto_link(observed_record(lab, db, identity, requestId=identity)) == {"removed": 1}
    assert lab.rules(db) == []
    assert {len(record["actor"]) < 700 for record in lab.records("observed", "intent", "outcome")} == {True}


def test_messages_are_caused_by_their_queue_and_sweeps_by_the_timer(lab: Lab) -> None:
    """An account's own queue stands for the account, the shared queue for itself; without an envelope nobody is
    known."""
    lab.policy_account(PEER, queue="requests-b")
    (app, db), queue_field = lab.pair(), {"queue": "requests-b"}
    lab.cross_account(lab.request(app, db, "tcp/1"))
    lab.cross_account(lab.request(db, app, "tcp/1", request_id="chg-2"), "not a request", **queue_field)
    lab.cross_account(lab.look(app, lab.iso(60)))
    lab.run(cross_account.handler, json.dumps(lab.request(app, db, "tcp/1", type=PEER)).encode())
    lab.sweep()
    actors = [record["actor"] for record in lab.records("intent", "outcome", "summary")]
    shared, peer = ["link-peer-requests"], [PEER]
    assert list(dict.fromkeys(actors)) == [*shared, *peer, "unknown", "timer"]
    assert {record["schema"] for record in lab.records("intent", "outcome", "summary")} == {"4"}
