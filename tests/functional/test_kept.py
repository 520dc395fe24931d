"""A denial closes nothing by itself: of a wish that is denied as a whole, each rule stays that it asks for and consent
covers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aliyun_local.api import Group, Instance

from tests.functional.lab import HOME, PEER, Lab

Look = Callable[[Lab, Instance], object]
LOOKS: dict[str, Look] = {
    "event": lambda lab, instance: lab.auto_link(lab.tag_event(instance, "TagResources")),
    "sweep": lambda lab, _instance: lab.sweep(),
}


@pytest.fixture(name="look", params=LOOKS.values(), ids=LOOKS)
def _look(request: pytest.FixtureRequest) -> Look:
    look: Look = request.param
    return look


def linked(lab: Lab, *accepted_ports: str, wish: str = "") -> tuple[Instance, Group, Group]:
    """An instance whose tag asks for the accepted ports, all of them open; then for `wish` in their place."""
    app = lab.group()
    db = lab.group(*(f"{app.id}:{port}" for port in accepted_ports))
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:{'+'.join(accepted_ports)}"})
    lab.auto_link(lab.tag_event(instance, "TagResources"))
    assert ports(lab, db) == list(accepted_ports)
    lab.forget()
    if wish:
        lab.tag(instance, link_peer=f"{db.id}{wish}")
    return instance, app, db


def ports(lab: Lab, group: Group) -> list[str]:
    """The ports of the group's rules of ours."""
    return sorted(text.split()[-1] for text in lab.rules(group))


@pytest.mark.parametrize(
    "wish",
    [":tcp/3306+tcp/3307", ":tcp/3300-3310", ""],
    ids=["a port more", "a wider range", "every port"],
)
def test_a_wish_that_asks_for_more_than_is_accepted_keeps_what_stands(lab: Lab, look: Look, wish: str) -> None:
    instance, _, db = linked(lab, "tcp/3306")
    lab.tag(instance, link_peer=f"{db.id}{wish}")
    look(lab, instance)
    assert ports(lab, db) == ["tcp/3306"]
    assert lab.records(outcome="removed") == []
    for record in lab.records(outcome="denied"):
        assert (record["reason"], record["detail"].split("; ")[-1]) == ("no-consent", "what stands stays: tcp/3306")


def test_a_denial_names_no_rule_that_stands_for_another_wish(lab: Lab) -> None:
    """Of the rules on the peer's group, those that the denied tag asks for."""
    instance, _, db = linked(lab, "tcp/3306")
    web = lab.group()
    lab.tag(db, **{"link_accept.2": f"{web.id}:tcp/80"})
    lab.auto_link(lab.event(lab.instance(web, tags={"link-peer": f"{db.id}:tcp/80"})))
    lab.tag(instance, link_peer=f"{db.id}:tcp/3306+tcp/3307")
    lab.auto_link(lab.event(instance))
    assert ports(lab, db) == ["tcp/3306", "tcp/80"]
    assert lab.outcome()["detail"].split("; ")[-1] == "what stands stays: tcp/3306"


def test_a_wish_for_every_port_takes_the_place_of_its_port_rules_once_it_is_open(lab: Lab, look: Look) -> None:
    """They are removed after it is written at both ends."""
    instance, app, db = linked(lab, "tcp/3306")
    lab.tag(app, link_accept=db.id)
    lab.tag(db, link_accept=app.id)
    lab.tag(instance, link_peer=db.id)
    first = lab.calls()
    look(lab, instance)
    assert (ports(lab, app), ports(lab, db)) == (["all"], ["all"])
    actions = [call.action for call in list(lab.cloud.faults.calls)[first:]]
    changes = [action for action in actions if action in ("AuthorizeSecurityGroup", "RevokeSecurityGroup")]
    assert changes == ["AuthorizeSecurityGroup", "AuthorizeSecurityGroup", "RevokeSecurityGroup"]
    assert {record["outcome"] for record in lab.records("outcome")} == {"applied", "removed"}


def test_a_wish_that_cannot_be_written_keeps_the_rule_whose_place_it_was_to_take(lab: Lab, look: Look) -> None:
    instance, app, db = linked(lab, "tcp/3306")
    lab.tag(app, link_accept=db.id)
    lab.tag(db, link_accept=app.id)
    lab.fill(app, 20)
    lab.tag(instance, link_peer=db.id)
    look(lab, instance)
    assert (ports(lab, db), lab.records(outcome="removed")) == (["tcp/3306"], [])


def test_withdrawn_consent_for_a_port_closes_that_port_alone(lab: Lab) -> None:
    """At the event of the group, at the instance's, and at the sweep."""
    for number, name in enumerate(("group", *LOOKS)):
        instance, app, db = linked(lab, "tcp/3306", "tcp/3307")
        lab.tag(db, link_accept=f"{app.id}:tcp/3307", **{"link_accept.2": None})
        if name == "group":
            lab.auto_link(lab.group_event(db))
        else:
            LOOKS[name](lab, instance)
        assert (number, ports(lab, db)) == (number, ["tcp/3307"])
        removal = lab.records("outcome", outcome="removed")[-1]
        assert (removal["reason"], removal["ports"]) == ("no-consent", "tcp/3306")


@pytest.mark.parametrize(
    ("changes", "standing"),
    [
        ({"limits": {"max_ports": 1}}, ["tcp/3300-3310", "tcp/3320"]),
        ({"limits": {"max_port_span": 2}}, ["tcp/3300-3310", "tcp/3320"]),
        ({"limits": {"max_peers": 1}}, ["tcp/3300-3310", "tcp/3320"]),
        ({"deny": {"ports": ["tcp/3305"]}}, ["tcp/3320"]),
        ({"never": [{"from": f"*@{HOME}", "to": f"*@{HOME}", "ports": ["tcp/3320"]}]}, ["tcp/3300-3310"]),
        ({"limits": {"max_days_tags": 1}}, []),
    ],
    ids=["max_ports", "max_port_span", "max_peers", "deny", "never", "max_days_tags"],
)
def test_a_lower_limit_closes_nothing_and_a_denied_port_closes_alone(
    lab: Lab, look: Look, changes: dict[str, object], standing: list[str]
) -> None:
    """The end of tags' links is the one limit that binds what stands, too."""
    instance, _, db = linked(lab, "tcp/3300-3310", "tcp/3320")
    lab.tag(instance, link_peer=f"{lab.group().id} {db.id}:tcp/3300-3310+tcp/3320")
    lab.policy(**changes)
    look(lab, instance)
    assert ports(lab, db) == standing


def test_a_lower_limit_closes_no_mutual_link(lab: Lab, look: Look) -> None:
    """Neither half of it, and the record says so."""
    app, db, cache = lab.group(), lab.group("*"), lab.group("*")
    lab.tag(app, link_accept="*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id} {cache.id}"})
    lab.sweep()
    lab.policy(limits={"max_peers": 1})
    look(lab, instance)
    assert [ports(lab, group) for group in (db, cache)] == [["all"], ["all"]]
    assert len(ports(lab, app)) == 2
    for record in lab.records("outcome", outcome="denied"):
        assert (record["reason"], record["detail"].split("; ")[-1]) == ("not-allowed", "what stands stays: all")


@pytest.mark.parametrize("way", ["lock", "refuse", "unreadable"])
def test_what_closes_a_wish_as_a_whole_closes_all_its_rules(lab: Lab, look: Look, way: str) -> None:
    """A lock, a refusal, and a peer that cannot be read: that asks for nothing, and the record of the removal says
    why."""
    instance, app, db = linked(lab, "tcp/3306", wish=":tcp/3306+tcp/3307")
    if way == "unreadable":
        lab.tag(instance, link_peer=f"{db.id}:tcp/3306+tcp")
    else:
        lab.tag(db, **{f"link_{way}": app.id})
    look(lab, instance)
    assert ports(lab, db) == []
    (removal,) = lab.records("outcome", outcome="removed")
    assert removal["reason"] == {"lock": "locked", "refuse": "refused", "unreadable": ""}[way]
    assert (f"cannot be read: {db.id}:tcp/3306+tcp" in removal["detail"]) is (way == "unreadable")


def test_a_peer_that_is_linked_counts_before_new_ones(lab: Lab, look: Look) -> None:
    """Whatever their order in the tags: with a limit of one peer, a new one before it opens nothing."""
    instance, app, db = linked(lab, "tcp/3306")
    new = lab.group(app.id)
    lab.policy(limits={"max_peers": 1})
    lab.tag(instance, link_peer=f"{new.id}:tcp/1 {db.id}:tcp/3306")
    look(lab, instance)
    assert (ports(lab, new), ports(lab, db)) == ([], ["tcp/3306"])


@pytest.mark.parametrize("account", [HOME, PEER])
@pytest.mark.parametrize("port", ["tcp/2", "tcp/1-5"])
def test_a_request_for_more_than_is_accepted_keeps_what_an_earlier_one_opened(
    lab: Lab, account: str, port: str
) -> None:
    """With the same id, or with another."""
    app = lab.group()
    db = lab.group(f"{app.id}@{HOME}:tcp/1", account=account)
    lab.cross_account(lab.request(app, db, "tcp/1", request_id="chg-1"))
    for request_id in ("chg-1", "chg-2"):
        lab.cross_account(lab.request(app, db, *(["tcp/1", port]), request_id=request_id))
        assert lab.outcome()["outcome"] == "denied"
        assert (ports(lab, db), lab.reasons(db)) == (["tcp/1"], ["req:chg-1"])
    lab.sweep()
    assert ports(lab, db) == ["tcp/1"]


@pytest.mark.parametrize("account", [HOME, PEER])
@pytest.mark.parametrize("most", [200, 1000], ids=["refused by ECS", "seen beforehand"])
def test_a_request_for_more_than_there_is_room_for_keeps_what_it_opened(lab: Lab, account: str, most: int) -> None:
    """Posted again with a port more, for a group with one rule less than ECS allows."""
    lab.cloud.knobs.change({"rules_per_group": most})
    app = lab.group()
    db = lab.group(f"{app.id}@{HOME}:tcp/1+tcp/2", account=account)
    lab.cross_account(lab.request(app, db, "tcp/1", request_id="chg-1"))
    lab.crowded(db, most - 1)
    assert lab.cross_account(lab.request(app, db, "tcp/1", "tcp/2", request_id="chg-1")) == {"failed": 1}
    assert (lab.outcome()["reason"], lab.reasons(db)) == ("quota", ["req:chg-1"])
    lab.sweep()
    assert lab.reasons(db) == ["req:chg-1"]


def test_what_is_refused_to_one_instance_stays_for_another(lab: Lab) -> None:
    """Both of their wishes are refused as a whole: the first one's on every port, by another group of it, the second
    one's on one."""
    app, refusing, db = lab.group(), lab.group(), lab.group("*")
    lab.started(app, refusing, tags={"link-peer": f"{db.id}:tcp/1+tcp/2"})
    lab.started(app, tags={"link-peer": f"{db.id}:tcp/1+tcp/3"})
    lab.tag(refusing, link_refuse=db.id)
    lab.tag(app, link_refuse=f"{db.id}:tcp/3")
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/1"]


def test_a_denied_wish_keeps_no_egress_rule_that_lets_out_only_others(lab: Lab) -> None:
    """The wish of an instance that nothing admits, of the same group as the one that asks no more."""
    app = lab.group(type="enterprise", tags={"link-egress": "*"})
    db = lab.group("*")
    lab.instance(db)
    asking = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.started(app, tags={"link-peer": db.id})
    assert (len(lab.raw_rules(app, "egress")), len(lab.rules(db))) == (1, 1)
    lab.tag(asking, link_peer=None)
    lab.cloud.clock.advance(1801)  # what is younger may be half written, or read half
    lab.sweep()
    assert (lab.raw_rules(app, "egress"), lab.rules(db)) == ([], [])


def test_a_denied_wish_keeps_the_egress_rule_beside_a_persons_ingress_rule(lab: Lab) -> None:
    """That rule is equal to the one that link-peer would write, so there is none of ours."""
    app = lab.group(type="enterprise", tags={"link-egress": "*"})
    db = lab.group("*:tcp/1")
    lab.instance(db)
    asking = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.authorize(db, IpProtocol="TCP", PortRange="1/1", SourceCidrIp=f"{asking.private_ip}/32", Priority="100")
    lab.auto_link(lab.event(asking))
    assert (len(lab.raw_rules(app, "egress")), len(lab.raw_rules(db))) == (1, 1)
    lab.tag(asking, link_peer=f"{db.id}:tcp/1+tcp/2")
    lab.cloud.clock.advance(1801)
    lab.sweep()
    assert (len(lab.raw_rules(app, "egress")), len(lab.raw_rules(db))) == (1, 1)


def test_a_denied_wish_keeps_no_ingress_rule_that_nothing_lets_out(lab: Lab) -> None:
    """Its egress rule, which a person deleted, is not written again for it; half an hour later the record says so."""
    app, db = lab.group(type="enterprise", tags={"link-egress": "*"}), lab.group("*:tcp/1")
    lab.instance(db)
    asking = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.auto_link(lab.event(asking))
    lab.tag(asking, link_peer=f"{db.id}:tcp/1+tcp/2")
    (egress,) = lab.raw_rules(app, "egress")
    ids = {"SecurityGroupId": app.id, "SecurityGroupRuleId.1": egress["SecurityGroupRuleId"]}
    lab.call(HOME, "RevokeSecurityGroupEgress", ids)
    for seconds, count in ((0, 1), (1801, 0)):
        lab.cloud.clock.advance(seconds)
        lab.sweep()
        assert len(lab.raw_rules(db)) == count
    record = lab.outcome()
    assert (record["outcome"], record["reason"]) == ("removed", "half-open")
    assert record["detail"].startswith(f"the rule on {app.id}@{HOME} is missing, and the link is denied: ")
