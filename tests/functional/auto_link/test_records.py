"""auto_link on record: every decision stands in SLS, the intent before the change, with all that explains it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from link_peer_local.core.faults import Killed

from tests.functional.lab import HOME, REGION, Lab


def seen_requests(lab: Lab) -> dict[str, str]:
    """RequestId → action of every changing ECS call from now on, as ActionTrail tells them."""
    found: dict[str, str] = {}

    def listen(_account: str, event: dict[str, Any]) -> None:
        data = event["data"]
        if "requestId" in data:
            found[data["requestId"]] = data["eventName"]

    lab.cloud.ecs.on_event = listen
    return found


def test_an_applied_link_is_told_whole(lab: Lab) -> None:
    """Every field of the contract that applies, in the outcome of one link."""
    app, db = lab.group(), lab.group("*:tcp/3306")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    requests = seen_requests(lab)
    event = lab.event(instance)
    lab.auto_link(event)

    record = lab.outcome()
    (rule,) = lab.raw_rules(db)
    told = {"record": "outcome", "function": "auto_link", "deployment": "prod", "region": REGION, "action": "link"}
    told |= {"event_id": event["id"], "time": lab.iso(), "outcome": "applied", "ports": "tcp/3306"}
    told |= {"from_account": HOME, "from": app.id, "to_account": HOME, "to": db.id, "reachability": "same-vpc"}
    told |= {"consent": f"{db.id}@{HOME} link-accept=*:tcp/3306"}
    assert {name: record.get(name) for name in told} == told
    assert re.fullmatch(r"[0-9a-f]{16}", record["key"])
    (shown,) = json.loads(record["rules"])
    wanted = {"group": db.id, "source": f"{app.id}@{HOME}", "dest": "", "protocol": "tcp", "ports": "3306/3306"}
    assert {name: shown[name] for name in wanted} == wanted
    assert shown["rule_id"] == rule["SecurityGroupRuleId"]
    answered = record["api_requests"].split(",")
    assert [requests[request] for request in answered] == ["TagResources", "AuthorizeSecurityGroup"]


@pytest.mark.parametrize("ports", ["tcp/3306", "udp/53+tcp/3306", ""])
def test_the_link_id_is_the_contracts(lab: Lab, ports: str) -> None:
    """SHA-256 over region, both parties and the sorted ports; for a mutual link the smaller party first."""
    import hashlib

    app, db = lab.group("*"), lab.group("*")
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:{ports}" if ports else db.id})))
    ends = [f"{HOME}/{app.id}", f"{HOME}/{db.id}"]
    text = "|".join([REGION, *(ends if ports else sorted(ends)), "+".join(sorted(ports.split("+"))) or "mutual"])
    assert lab.outcome()["link"] == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_the_intent_stands_before_the_first_change(lab: Lab) -> None:
    """Killed as it asks for its first change: the log has the intent, with the rules to come, and no outcome."""
    app, db = lab.group("*"), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": db.id})
    lab.fault(service="ecs", action="TagResources", kind="kill")
    with pytest.raises(Killed):
        lab.auto_link(lab.event(instance))
    (intent,) = lab.records("intent")
    assert lab.records() == []
    assert (intent["action"], intent["from"], intent["to"], intent["ports"]) == ("link", app.id, db.id, "mutual")
    assert {shown["group"] for shown in json.loads(intent["rules"])} == {app.id, db.id}


def test_a_removal_is_intended_too(lab: Lab) -> None:
    """With the ids of the rules that will go."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.auto_link(lab.event(instance))
    (rule,) = lab.raw_rules(db)
    lab.tag(instance, link_peer=None)
    lab.fault(service="ecs", action="RevokeSecurityGroup", kind="kill")
    with pytest.raises(Killed):
        lab.auto_link(lab.tag_event(instance))
    intent = lab.records("intent")[-1]
    assert intent["action"] == "unlink"
    assert json.loads(intent["rules"])[0]["rule_id"] == rule["SecurityGroupRuleId"]


def test_records_come_in_the_order_of_things(lab: Lab) -> None:
    """The intents of a delivery, then its outcomes; each outcome has its intent."""
    app, one, two = lab.group(), lab.group("*"), lab.group("*")
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{one.id}:tcp/1 {two.id}:tcp/2"})))
    records = lab.records("intent", "outcome")
    assert [r["record"] for r in records] == ["intent", "intent", "outcome", "outcome"]
    assert {r["link"] for r in records[:2]} == {r["link"] for r in records[2:]}


def test_unchanged_needs_no_intent(lab: Lab) -> None:
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.auto_link(lab.event(instance))
    lab.auto_link(lab.event(instance))
    assert len(lab.records("intent")) == 1
    assert [r["outcome"] for r in lab.records()] == ["applied", "unchanged"]


def test_equal_copies_have_equal_keys(lab: Lab) -> None:
    """The same event twice, denied twice: one record by its key. Another event has another key."""
    app, db = lab.group(), lab.group()
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    event = lab.event(instance)
    for delivered in (event, event, lab.event(instance)):
        lab.auto_link(delivered)
    first, again, other = (record["key"] for record in lab.records())
    assert first == again != other


def test_two_removals_of_one_pair_have_different_keys(lab: Lab) -> None:
    """A link of ports and a mutual one, both of the same two parties, in one delivery."""
    app, db = lab.group("*"), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1 {db.id}"})
    lab.auto_link(lab.event(instance))
    lab.tag(instance, link_peer=None)
    lab.auto_link(lab.tag_event(instance))
    keys = [record["key"] for record in lab.records()]
    assert len(keys) == len(set(keys)) == 4


def test_every_value_is_text_that_cannot_hide_anything(lab: Lab) -> None:
    """Tags are written by many hands: control characters and text direction marks arrive escaped."""
    tags = {"link-peer": "sg-x\u202e;\x1b[31m", "link-peer.\u200bx": "sg-y\u2028z"}
    lab.auto_link(lab.event(lab.instance(lab.group(), tags=tags)))
    records = lab.records()
    assert len(records) == 2
    for record in records:
        assert all(isinstance(value, str) and value.isprintable() for value in record.values())


def test_no_record_holds_a_secret(lab: Lab) -> None:
    """Not even where the cloud's own error text quotes what it was sent."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="error", code="SignatureDoesNotMatch", status=400)
    lab.auto_link(lab.event(instance))
    keys = lab.cloud.identity.accounts[HOME]
    text = json.dumps(lab.records("intent", "attempt", "outcome"))
    assert keys.access_key_secret not in text
    assert keys.access_key_id not in text


def test_an_instances_links_name_it(lab: Lab) -> None:
    """`from` is the group that stands for it; which instance asked is told beside it."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.auto_link(lab.event(instance))
    assert lab.outcome()["instance"] == f"{instance.id}@{HOME}"


def test_an_attempt_says_what_stood_in_the_way(lab: Lab) -> None:
    """Trouble of the moment: an attempt, with the cloud's code, and no outcome."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="error", times=None)
    with pytest.raises(Exception, match="InternalError"):
        lab.auto_link(lab.event(instance))
    assert lab.records() == []
    attempt = lab.records("attempt")[-1]
    assert "InternalError" in attempt["detail"]
    assert (attempt["from"], attempt["to"], attempt["ports"]) == (app.id, db.id, "tcp/1")


FIELDS = """record time function deployment region event_id action outcome reason detail advice link from_account from
    to_account to ports rules api_requests reachability claimed_by consent key"""


@pytest.mark.parametrize("peer", ["{db}:tcp/3306", "{db}", "{db}:", "sg-nowhere", "{app}"])
def test_every_outcome_has_every_field(lab: Lab, peer: str) -> None:
    """Applied, denied or unchanged: what does not apply is empty, `rules` is JSON all the same."""
    app, db = lab.group(), lab.group("*:tcp/3306")
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": peer.format(app=app.id, db=db.id)})))
    record = lab.outcome()
    assert set(FIELDS.split()) <= record.keys()
    assert isinstance(json.loads(record["rules"]), list)
