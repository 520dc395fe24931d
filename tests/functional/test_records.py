"""Records of decisions: every applicable field of the contract, one key for one write, and what becomes of a link's
packets, checked against packets."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from aliyun_local.api import may_reach
from link_peer.domain.model import Link
from link_peer.domain.tags import parse_port

from tests.functional.command import ALL, egress
from tests.functional.lab import HOME, PEER, REGION, Lab, party


def seen_requests(lab: Lab) -> dict[str, str]:
    """RequestId → action of every changing ECS call from now on, as ActionTrail reports it."""
    event_names: dict[str, str] = {}

    def listen(_account: str, event: dict[str, Any]) -> None:
        data = event["data"]
        if "requestId" in data:
            event_names[data["requestId"]] = data["eventName"]

    lab.cloud.ecs.on_event = listen
    return event_names


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
    (rule_fields,) = json.loads(record["rules"])
    expected_fields = {
        "group": db.id,
        "source": f"{app.id}@{HOME}",
        "dest": "",
        "protocol": "tcp",
        "ports": "3306/3306",
    }
    assert {name: rule_fields[name] for name in expected_fields} == expected_fields
    assert rule_fields["rule_id"] == rule["SecurityGroupRuleId"]
    answered = record["api_requests"].split(",")
    assert [requests[request] for request in answered] == ["TagResources", "AuthorizeSecurityGroup"]


def test_an_outcome_has_every_field_of_a_request(lab: Lab) -> None:
    """Every field of the contract that applies."""
    a, b = lab.pair()
    claims = {"reason": "orders reads the ledger", "requested_by": "team-orders"}
    lab.cross_account(lab.request(a, b, "udp/53", "tcp/3306", **claims))
    record = lab.outcome()
    link = Link(party(a), party(b), tuple(map(parse_port, ("tcp/3306", "udp/53"))))
    expected = {
        "function": "cross_account",
        "deployment": "prod",
        "region": REGION,
        "request_id": "chg-1",
        "action": "link",
        "outcome": "applied",
        "link": link.id(REGION),
        "from_account": HOME,
        "from": a.id,
        "to_account": PEER,
        "to": b.id,
        "ports": "tcp/3306+udp/53",
        "reachability": "same-vpc",
        "claimed_by": "team-orders",
    }
    assert {name: record.get(name) for name in expected} == expected
    assert f"link-accept=*@{HOME}" in record["consent"]
    for rule in lab.raw_rules(b):
        assert rule["SecurityGroupRuleId"] in record["rules"]
    assert len(record["api_requests"].split(",")) >= 1
    assert record["time"]
    assert record["key"]


def test_an_invalid_request_is_recorded_with_its_readable_fields(lab: Lab) -> None:
    """So the sender finds the record by the request's id."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b, "tcp/0"))
    record = lab.outcome()
    assert (record["request_id"], record["from"], record["to"]) == ("chg-1", a.id, b.id)
    assert (record["action"], record["claimed_by"]) == ("link", "")
    assert "ports[0]" in record["detail"]
    lab.cross_account(lab.request(a, b, "tcp/0", action="unlink", requested_by="team-orders", reason="over"))
    record = lab.outcome()
    assert (record["action"], record["claimed_by"], record["claimed_reason"]) == ("unlink", "team-orders", "over")


def test_each_delivery_of_a_message_has_records_with_a_key_of_their_own(lab: Lab) -> None:
    """The queue delivers at least once, each time as another event. A message that opens again after an unlink is not
    mistaken for a copy of the first opening."""
    a, b = lab.pair()
    request = lab.request(a, b)
    lab.cross_account(request)
    lab.cross_account(lab.request(a, b, action="unlink", request_id="chg-2"))
    for _ in range(2):
        assert lab.cross_account(request) == {"applied": 1}
    lab.tag(b, link_accept=None)
    for _ in range(2):
        lab.cross_account(lab.request(a, b, request_id="chg-3"))
    records = lab.records("intent", "outcome")
    assert [record["outcome"] for record in records if "outcome" in record] == [
        "applied", "removed", "applied", "applied", "removed", "denied", "denied",
    ]  # fmt: skip  # the first message that finds no consent closes what stands
    assert len({record["key"] for record in records}) == len(records)


# `effect`, and the rule or setting that decides


def effect(lab: Lab, outcome: str = "") -> tuple[str, str]:
    """The last outcome's effect, with what decides."""
    record = lab.records(outcome=outcome)[-1] if outcome else lab.records()[-1]
    return record["effect"], record["effect_detail"]


class Pair:
    """An instance of sg-app that asks for sg-db on TCP 3306, and an instance of sg-db."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.app, self.db = lab.group("*"), lab.group("*")
        self.a = lab.instance(self.app, tags={"link-peer": f"{self.db.id}:tcp/3306"})
        self.b = lab.instance(self.db)

    def run(self) -> tuple[str, str]:
        """Handles an event of the instance. The effect must be what becomes of a packet."""
        self.lab.auto_link(self.lab.event(self.a))
        state = effect(self.lab)
        arrives = may_reach(self.lab.cloud.ecs, HOME, self.a.id, HOME, self.b.id, "tcp", 3306)
        assert state[0] == ("passes" if arrives.ok else "blocked")
        return state


@pytest.fixture(name="pair")
def _pair(lab: Lab) -> Pair:
    return Pair(lab)


def test_a_link_that_nothing_stops_passes_and_names_our_rule(pair: Pair) -> None:
    assert pair.run()[0] == "passes"
    record = pair.lab.outcome()
    (rule,) = json.loads(record["rules"])
    assert (
        record["effect_detail"] == f"{rule['rule_id']} of {pair.db.id}@{HOME} accepts tcp/3306 (ingress, priority 100)"
    )


def test_an_egress_rule_of_the_senders_group_blocks(pair: Pair) -> None:
    """Its rules are read because something changed; nothing is read where nothing did."""
    egress(pair.lab, pair.app, **ALL, DestGroupId=pair.db.id, Policy="drop")
    word, detail = pair.run()
    assert word == "blocked"
    assert detail.endswith(f"of {pair.app.id}@{HOME} drops tcp/3306 (egress, priority 1)")
    before = pair.lab.cloud.faults.count("ecs", "DescribeSecurityGroupAttribute")
    pair.lab.auto_link(pair.lab.event(pair.a))
    assert pair.lab.cloud.faults.count("ecs", "DescribeSecurityGroupAttribute") == before + 1
    assert effect(pair.lab) == ("unknown", f"the rules of {pair.app.id}@{HOME} were not read (egress): tcp/3306")


def test_a_removed_link_is_blocked_unless_something_else_admits_it(pair: Pair) -> None:
    pair.run()
    pair.lab.tag(pair.a, link_peer=None)
    pair.lab.auto_link(pair.lab.tag_event(pair.a))
    assert effect(pair.lab, "removed") == ("blocked", f"no ingress rule of {pair.db.id}@{HOME} admits tcp/3306")


def test_a_request_between_accounts_is_judged_with_both_sides_rules(lab: Lab) -> None:
    """Rules of both groups are read anyway."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b, "tcp/3306"))
    assert effect(lab)[0] == "passes"
    egress(lab, a, **ALL, DestGroupId=b.id, DestGroupOwnerId=PEER, Policy="drop")
    lab.cross_account(lab.request(a, b, "tcp/3306"))
    assert effect(lab)[0] == "blocked"
    lab.cross_account(lab.request(a, b, action="unlink", request_id="chg-2"))
    lab.cross_account(lab.request(a, b, action="unlink", request_id="chg-3"))
    assert lab.outcome()["outcome"] == "unchanged"
    assert effect(lab)[0] == "blocked"


def test_a_record_without_a_link_does_not_say(lab: Lab) -> None:
    lab.cross_account("{")
    assert effect(lab) == ("unknown", "")


def test_what_is_read_for_the_record_decides_nothing(pair: Pair) -> None:
    """sg-app holds a rule of ours that nobody wants. An event of its instance reads it, and leaves it to the sweep."""
    other_group = pair.lab.group("*")
    pair.lab.forge(pair.app, other_group, "tag", "tcp/9")
    pair.lab.auto_link(pair.lab.event(pair.a))
    assert effect(pair.lab)[0] == "passes"
    assert f"{other_group.id} tcp/9" in pair.lab.rules(pair.app)


def test_each_link_that_needs_a_new_rule_of_two_names_it(lab: Lab) -> None:
    """Of two links that share a new rule, each record names all rules of its link. The summary counts the rule once."""
    app, db = lab.group(), lab.group("*")
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1+tcp/2"})
    lab.sweep()
    ports = [{rule["ports"] for rule in json.loads(record["rules"])} for record in lab.records("outcome")]
    assert sorted(ports, key=len) == [{"1/1"}, {"1/1", "2/2"}]
    assert lab.records("summary", account=HOME)[-1]["changed"] == "2"
    assert [rule["PortRange"] for rule in lab.raw_rules(db)] == ["1/1", "2/2"]
