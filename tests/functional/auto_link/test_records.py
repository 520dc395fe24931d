"""auto_link's audit records: every decision is in SLS, the intent before the change, with everything that explains
it."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.functional.lab import HOME, REGION, Lab


def seen_requests(lab: Lab) -> dict[str, str]:
    """RequestId → action of every changing ECS call from now on, as ActionTrail reports it."""
    found: dict[str, str] = {}

    def listen(_account: str, event: dict[str, Any]) -> None:
        data = event["data"]
        if "requestId" in data:
            found[data["requestId"]] = data["eventName"]

    lab.cloud.ecs.on_event = listen
    return found


def test_an_applied_link_has_a_complete_record(lab: Lab) -> None:
    """Every applicable field of the contract."""
    app, db = lab.group(), lab.group("*:tcp/3306")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    requests = seen_requests(lab)
    event = lab.event(instance)
    lab.auto_link(event)

    record = lab.outcome()
    (rule,) = lab.raw_rules(db)
    expected = {"record": "outcome", "function": "auto_link", "deployment": "prod", "region": REGION, "action": "link"}
    expected |= {"event_id": event["id"], "time": lab.iso_millis(), "outcome": "applied", "ports": "tcp/3306"}
    expected |= {"from_account": HOME, "from": app.id, "to_account": HOME, "to": db.id, "reachability": "same-vpc"}
    expected |= {"consent": f"{db.id}@{HOME} link-accept=*:tcp/3306", "queue": ""}
    assert {name: record.get(name) for name in expected} == expected
    assert re.fullmatch(r"[0-9a-f]{16}", record["key"])
    (shown,) = json.loads(record["rules"])
    wanted = {"group": db.id, "source": f"{app.id}@{HOME}", "dest": "", "protocol": "tcp", "ports": "3306/3306"}
    assert {name: shown[name] for name in wanted} == wanted
    assert shown["rule_id"] == rule["SecurityGroupRuleId"]
    answered = record["api_requests"].split(",")
    assert [requests[request] for request in answered] == ["TagResources", "AuthorizeSecurityGroup"]


def test_copies_of_one_write_have_the_same_key(lab: Lab) -> None:
    """The log took the records, but its answer was lost, so they are written again: each pair is one record."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.fault(service="sls", kind="reset-after", times=1)
    lab.fault(service="sls", kind="reset-after", times=1, skip=1)
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    for kind in ("intent", "outcome"):
        first, again = lab.records(kind)
        assert first == again
    assert len({record["key"] for record in lab.records("intent", "outcome")}) == 2
