"""auto_link and consent: no rule exists on a group that has not consented to its source."""

from __future__ import annotations

import pytest
from link_peer.domain.denial import parts

from tests.functional.lab import HOME, PEER, Lab


@pytest.mark.parametrize(
    ("accept", "asked"),
    [
        ("{app}:tcp/3306", "tcp/3306"),
        ("{app}", "tcp/3306"),
        ("{app}", "icmp"),
        ("*", "udp/53"),
        ("*:tcp/3306", "tcp/3306"),
        ("*@{home}", "tcp/3306"),
        ("{app}@{home}:tcp/3306", "tcp/3306"),
        ("{app}:tcp/3000-4000", "tcp/3306"),
        ("{app}:tcp/3000-4000", "tcp/3000-4000"),
        ("{app}:tcp/3306+udp/53", "tcp/3306+udp/53"),
        ("{app}:tcp/3306 {app}:udp/53", "tcp/3306+udp/53"),  # each port covered by one entry
        ("nonsense {app}:tcp/3306", "tcp/3306"),  # an invalid entry consents to nothing and does not affect the others
    ],
)
def test_entries_that_consent(lab: Lab, accept: str, asked: str) -> None:
    """An entry names a source and, optionally, ports."""
    app = lab.group()
    db = lab.group(accept.format(app=app.id, home=HOME))
    assert lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:{asked}"}))) == {"applied": 1}
    assert len(lab.rules(db)) == len(asked.split("+"))


@pytest.mark.parametrize(
    ("accept", "asked"),
    [
        ("", "tcp/3306"),
        ("{app}:tcp/3307", "tcp/3306"),
        ("{app}:udp/3306", "tcp/3306"),
        ("{app}:tcp/3306", "tcp/3305-3306"),
        ("{app}:tcp/3306", "tcp/3306+tcp/3307"),  # a link is one decision: no part of it is opened
        ("{other}", "tcp/3306"),
        ("*@{peer}", "tcp/3306"),
        ("{app}@{peer}", "tcp/3306"),
        ("{app}:", "tcp/3306"),
        ("{app}:TCP/3306", "tcp/3306"),
        ("{app}:tcp/03306", "tcp/3306"),
        ("{app};tcp/3306", "tcp/3306"),
        ("{app}:tcp/3306", ""),  # mutual: consent to one port is not consent to all traffic
    ],
)
def test_entries_that_do_not_consent(lab: Lab, accept: str, asked: str) -> None:
    """The link is denied, nothing is written anywhere, and the record gives the reason."""
    app, other = lab.group("*"), lab.group()
    db = lab.group(*[accept.format(app=app.id, other=other.id, peer=PEER)] if accept else [])
    peer = f"{db.id}:{asked}" if asked else db.id
    assert lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": peer}))) == {"denied": 1}
    assert lab.outcome()["reason"] == "no-consent"
    assert lab.rules(db) == lab.rules(app) == []
    assert lab.changes() == 0


def test_the_advice_is_the_tag_to_set(lab: Lab) -> None:
    """Set exactly as written, it makes the link."""
    app, db = lab.group(), lab.group()
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306+udp/53"})
    lab.auto_link(lab.event(instance))
    record = lab.outcome()
    assert parts(record["advice"])[0] == f"tag {db.id}@{HOME} link-accept={app.id}:tcp/3306+udp/53"
    assert record["detail"] == f"{db.id}@{HOME} has not accepted {app.id}@{HOME} on tcp/3306+udp/53"

    lab.tag(db, link_accept=parts(record["advice"])[0].partition("link-accept=")[2])
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}


@pytest.mark.parametrize("accepting", ["app", "db", ""])
def test_a_mutual_link_needs_both_consents(lab: Lab, accepting: str) -> None:
    """If one group has not consented, neither side is opened, and the advice names the missing tag and its group."""
    app, db = lab.group(), lab.group()
    if accepting:
        lab.tag(app if accepting == "app" else db, link_accept="*")
    instance = lab.instance(app, tags={"link-peer": db.id})
    assert lab.auto_link(lab.event(instance)) == {"denied": 1}
    assert lab.rules(db) == lab.rules(app) == []
    advice = lab.outcome()["advice"]
    assert (f"tag {db.id}@{HOME} link-accept={app.id}" in advice) == (accepting != "db")
    assert (f"tag {app.id}@{HOME} link-accept={db.id}" in advice) == (accepting != "app")


def test_accept_tags_with_a_suffix_count(lab: Lab) -> None:
    app, db = lab.group(), lab.group(tags={"link-accept.app": "*:tcp/3306"})
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})))
    assert lab.rules(db) == [f"{app.id} tcp/3306"]


def test_a_link_accept_tag_on_an_instance_is_not_consent(lab: Lab) -> None:
    """`link-accept` counts on groups only: someone who may tag an instance need not own its group."""
    app, db = lab.group(), lab.group()
    target = lab.instance(db, tags={"link-accept": "*"})
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306 {target.id}:tcp/3306", "link-accept": "*"})
    assert lab.auto_link(lab.event(instance)) == {"denied": 2}


def test_the_record_names_the_entry_that_consented(lab: Lab) -> None:
    """Which group's tag, and its value."""
    app, db = lab.group(), lab.group("*:tcp/3306")
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})))
    assert lab.outcome()["consent"] == f"{db.id}@{HOME} link-accept=*:tcp/3306"


@pytest.mark.parametrize(
    ("source", "target", "ports"),
    [
        ("{app}", "{db}", ["tcp/3306"]),
        ("{app}", "{db}", None),
        ("*", "{db}", ["tcp/3000-4000"]),
        ("{app}", "*", ["tcp/3306"]),
    ],
)
def test_the_policys_allow_list_consents(lab: Lab, source: str, target: str, ports: list[str] | None) -> None:
    """A reviewed pair needs no tag; the record names the entry."""
    app, db = lab.group(), lab.group()
    names = {"app": app.id, "db": db.id}
    allow = {"from": f"{source.format(**names)}@{HOME}", "to": f"{target.format(**names)}@{HOME}"}
    lab.policy(allow=[{**allow, "ports": ports} if ports else allow])
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert lab.rules(db) == [f"{app.id} tcp/3306"]
    assert lab.outcome()["consent"].startswith("policy allow ")


def test_an_allow_entry_opens_one_direction(lab: Lab) -> None:
    """app → db is on the list; a mutual link and db → app are not."""
    app, db = lab.group(), lab.group()
    lab.policy(allow=[{"from": f"{app.id}@{HOME}", "to": f"{db.id}@{HOME}"}])
    forth = lab.instance(app, tags={"link-peer": db.id})
    back = lab.instance(db, tags={"link-peer": f"{app.id}:tcp/80"})
    assert lab.auto_link(lab.event(forth)) == {"denied": 1}
    assert lab.auto_link(lab.event(back)) == {"denied": 1}


def test_an_allow_entry_may_name_instances(lab: Lab) -> None:
    app, db = lab.group(), lab.group()
    target, instance = lab.instance(db), lab.instance(app)
    lab.policy(allow=[{"from": f"{instance.id}@{HOME}", "to": f"{target.id}@{HOME}", "ports": ["tcp/3306"]}])
    lab.tag(instance, link_peer=f"{target.id}:tcp/3306 {db.id}:tcp/3306")
    assert lab.auto_link(lab.event(instance)) == {"applied": 1, "denied": 1}
    assert lab.rules(db) == [f"{instance.private_ip}/32>{target.private_ip}/32 tcp/3306"]


def test_with_accept_tags_off_only_the_allow_list_consents(lab: Lab) -> None:
    """The advice names the policy file, not a tag that would not count."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.policy(accept_tags=False)
    assert lab.auto_link(lab.event(instance)) == {"denied": 1}
    record = lab.outcome()
    assert record["reason"] == "no-consent"
    assert "policy" in record["advice"]
    assert "link-accept" not in record["advice"]

    lab.policy(accept_tags=False, allow=[{"from": f"{app.id}@{HOME}", "to": f"{db.id}@{HOME}"}])
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}


def test_withdrawn_consent_removes_the_link_at_the_next_event(lab: Lab) -> None:
    """The link is denied and its rule removed: no rule exists without consent."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    lab.tag(db, link_accept=None)
    assert lab.auto_link(lab.event(instance)) == {"denied": 1, "removed": 1}
    assert lab.rules(db) == []
    assert {r["reason"] for r in lab.records() if r["outcome"] in ("denied", "removed")} == {"no-consent"}


def test_withdrawn_consent_of_one_side_closes_both_sides_of_a_mutual_link(lab: Lab) -> None:
    """A mutual link has both rules or neither."""
    app, db = lab.group("*"), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": db.id})
    lab.auto_link(lab.event(instance))
    lab.tag(app, link_accept=None)
    lab.auto_link(lab.event(instance))
    assert lab.rules(app) == lab.rules(db) == []


def test_narrowed_consent_closes_the_port_that_it_no_longer_covers(lab: Lab) -> None:
    """Two links: the one that is still covered stays."""
    app, db = lab.group(), lab.group("*:tcp/1+tcp/2")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1 {db.id}:tcp/2"})
    lab.auto_link(lab.event(instance))
    lab.tag(db, link_accept="*:tcp/1")
    lab.auto_link(lab.event(instance))
    assert lab.rules(db) == [f"{app.id} tcp/1"]


def test_a_locked_group_is_closed_although_its_peers_account_throttles_every_call(lab: Lab) -> None:
    """Its owner can use up its rate limit. The half that is there is removed when it can be, by a later look."""
    app, db = lab.pair()
    lab.instance(app, tags={"link-peer": f"{db.id}@{PEER}"})
    lab.instance(db)
    lab.sweep()
    lab.drain()
    assert (len(lab.rules(app)), len(lab.rules(db))) == (1, 1)
    lab.tag(app, link_lock="x")
    lab.fault(service="ecs", account=PEER, kind="throttle", times=None)
    assert lab.auto_link(lab.group_event(app)) == {"removed": 1}
    assert (lab.rules(app), len(lab.rules(db))) == ([], 1)
    assert lab.records("attempt")[-1]["from"] == app.id
    lab.cloud.faults.clear()
    lab.sweep()
    assert lab.rules(db) == []


def test_a_group_that_cannot_be_read_now_is_looked_at_again(lab: Lab) -> None:
    """Nothing is decided about it meanwhile."""
    app, db = lab.pair()
    lab.instance(app, tags={"link-peer": f"{db.id}@{PEER}"})
    lab.instance(db)
    lab.sweep()
    lab.drain()
    lab.tag(app, link_lock="x")
    lab.fault(service="ecs", action="DescribeSecurityGroupAttribute", account=HOME, kind="throttle", times=1)
    assert lab.auto_link(lab.group_event(app)) == {}
    assert len(lab.rules(app)) == 1
    lab.drain()
    assert (lab.rules(app), lab.rules(db)) == ([], [])
