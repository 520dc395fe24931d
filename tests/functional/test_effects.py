"""What the records say of a link's packets: `effect` and the rule or setting that decides, checked against packets."""

from __future__ import annotations

import json

import pytest
from link_peer_local.ecs import may_reach
from link_peer_local.ecs.state import Group

from tests.functional.lab import HOME, PEER, Lab

ANY = {"IpProtocol": "ALL", "PortRange": "-1/-1"}


def egress(lab: Lab, group: Group, **permission: str) -> None:
    """Adds an egress rule as a person."""
    given = {f"Permissions.1.{name}": value for name, value in permission.items()}
    lab.call(group.account, "AuthorizeSecurityGroupEgress", {"SecurityGroupId": group.id, **given})


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
        found = effect(self.lab)
        arrives = may_reach(self.lab.cloud.ecs, HOME, self.a.id, HOME, self.b.id, "tcp", 3306)
        assert found[0] == ("passes" if arrives.ok else "blocked")
        return found


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
    egress(pair.lab, pair.app, **ANY, DestGroupId=pair.db.id, Policy="drop")
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
    egress(lab, a, **ANY, DestGroupId=b.id, DestGroupOwnerId=PEER, Policy="drop")
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
    other = pair.lab.group("*")
    pair.lab.forge(pair.app, other, "tag", "tcp/9")
    pair.lab.auto_link(pair.lab.event(pair.a))
    assert effect(pair.lab)[0] == "passes"
    assert f"{other.id} tcp/9" in pair.lab.rules(pair.app)
