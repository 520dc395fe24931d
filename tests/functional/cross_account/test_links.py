"""cross_account: a request, with the consent that it needs, opens rules in two accounts or in one."""

from __future__ import annotations

import json

import pytest
from link_peer.alicloud import ecs
from link_peer.domain.model import Link
from link_peer.domain.tags import parse_port
from link_peer_local.ecs.state import Group

from tests.functional.lab import HOME, PEER, REGION, Lab, party

# duplicates and further claims


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


def test_two_deliveries_of_one_message_may_both_record_the_rules_they_found(lab: Lab) -> None:
    """Each has read them back with its claim. A lock that the second finds is recorded by it, and leaves nothing."""
    a, b = lab.pair()
    request = lab.request(a, b)
    lab.meanwhile("AuthorizeSecurityGroup", lambda: lab.cross_account(request))
    assert lab.cross_account(request) == {"applied": 1}
    first, second = lab.records()
    assert first["outcome"] == second["outcome"] == "applied"
    assert first["rules"] == second["rules"]
    assert first["key"] != second["key"]
    assert len(lab.raw_rules(a)) == len(lab.raw_rules(b)) == 1
    port = lab.request(a, b, "tcp/1", request_id="chg-2")
    lab.meanwhile("AuthorizeSecurityGroup", lambda: (lab.cross_account(port), lab.tag(b, link_lock="INC-7")))
    assert lab.cross_account(port)["denied"] == 1
    assert (lab.rules(a), lab.rules(b)) == ([], [])


# rules made by people


def person(lab: Lab, group: Group, source: Group, **fields: str) -> str:
    """Adds the rule of our mutual link as a person."""
    given = {"IpProtocol": "ALL", "PortRange": "-1/-1", "SourceGroupId": source.id, "Priority": "100"}
    owner = {"SourceGroupOwnerId": source.account} if source.account != group.account else {}
    return lab.authorize(group, **{**given, **owner, **fields})


def test_a_rule_on_the_second_page_of_a_groups_rules_is_found(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of 100, all of them a person's here. The same message finds our rule, and an unlink removes it."""
    monkeypatch.setattr(ecs, "RULES_PER_PAGE", 100)
    a, b = lab.pair()
    lab.crowded(b, 100)

    def second_page() -> list[str]:
        page = {"SecurityGroupId": b.id, "MaxResults": "100"}
        token = lab.call(PEER, "DescribeSecurityGroupAttribute", page)["NextToken"]
        if not token:
            return []
        rest = lab.call(PEER, "DescribeSecurityGroupAttribute", {**page, "NextToken": token})
        return [rule["SecurityGroupRuleId"] for rule in rest["Permissions"]["Permission"]]

    request = lab.request(a, b, "tcp/1")
    lab.cross_account(request)
    ours = second_page()
    before = lab.changes()
    lab.cross_account(request)
    assert (len(ours), second_page(), lab.changes()) == (1, ours, before)
    assert lab.cross_account(lab.request(a, b, action="unlink")) == {"removed": 1}
    assert second_page() == []


@pytest.mark.parametrize("on", ["a", "b"])
def test_a_persons_half_of_a_mutual_link_stays_when_ours_is_removed(lab: Lab, on: str) -> None:
    a, b = lab.pair()
    group, other = (a, b) if on == "a" else (b, a)
    person(lab, group, other)
    before = lab.raw_rules(group)
    assert lab.cross_account(lab.request(a, b)) == {"applied": 1}
    assert len(lab.raw_rules(other)) == 1
    assert lab.cross_account(lab.request(a, b, action="unlink")) == {"removed": 1}
    assert lab.raw_rules(group) == before
    assert lab.raw_rules(other) == []


# records


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


def test_a_batch_may_be_as_large_as_one_invocation(lab: Lab) -> None:
    """Twenty messages of 64 KB, in base64."""
    a, b = lab.pair()
    wide = [json.dumps(lab.request(a, b, f"tcp/{n}", request_id=f"chg-{n}")) + " " * 60_000 for n in range(1, 21)]
    assert lab.cross_account(*wide) == {"applied": 20}
    assert len(lab.rules(b)) == 20
