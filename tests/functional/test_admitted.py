"""Records count the instances that rules admit, and name them: read once after a rule was added, never before."""

from __future__ import annotations

from link_peer.engine.records import NAMED
from link_peer_local.ecs.state import Instance

from tests.functional.lab import HOME, PEER, Lab


def ids(*instances: Instance) -> str:
    return " ".join(sorted(f"{one.id}@{one.account}" for one in instances))


def test_a_group_link_counts_and_names_the_members_of_its_source(lab: Lab) -> None:
    """All of them, not only the instance whose tag asked."""
    app, db = lab.group(), lab.group("*")
    lab.instance(db)
    members = [lab.instance(app), lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1+tcp/2"})]
    lab.auto_link(lab.event(members[1]))
    assert (lab.outcome()["instances"], lab.outcome()["instance_ids"]) == ("2", ids(*members))


def test_a_request_counts_both_sides_of_a_mutual_link(lab: Lab) -> None:
    """Each side admits the members of the other, in two accounts."""
    a, b = lab.pair()
    members = [lab.instance(a), lab.instance(b), lab.instance(b)]
    lab.cross_account(lab.request(a, b))
    assert (lab.outcome()["instances"], lab.outcome()["instance_ids"]) == ("3", ids(*members))
    lab.cross_account(lab.request(b, a, "tcp/1", request_id="chg-2"))
    assert (lab.outcome()["instances"], lab.outcome()["instance_ids"]) == ("2", ids(*members[1:]))


def test_a_rule_between_instances_names_its_source(lab: Lab) -> None:
    """Nobody else is admitted; of a mutual link, both are."""
    a, b = lab.pair()
    one, two = lab.instance(a), lab.instance(b)
    lab.instance(a)
    lab.cross_account(lab.request(one, two, "tcp/1"))
    assert (lab.outcome()["instances"], lab.outcome()["instance_ids"]) == ("1", ids(one))
    lab.cross_account(lab.request(one, two, request_id="chg-2"))
    assert (lab.outcome()["instances"], lab.outcome()["instance_ids"]) == ("2", ids(one, two))
    lab.cross_account(lab.request(one, two, "tcp/1", action="unlink", request_id="chg-3"))
    assert (lab.outcome()["outcome"], lab.outcome()["instance_ids"]) == ("removed", ids(one))


def test_the_names_are_capped_and_the_count_is_not(lab: Lab) -> None:
    """A record stays small however many instances a group has."""
    app, db = lab.group(), lab.group("*")
    members = [lab.instance(app) for _ in range(NAMED + 5)]
    lab.cross_account(lab.request(app, db, "tcp/1"))
    record = lab.outcome()
    assert (record["instances"], record["instance_ids"].split()) == (str(NAMED + 5), ids(*members).split()[:NAMED])


def test_members_that_cannot_be_read_are_not_counted(lab: Lab) -> None:
    """The link is opened all the same: the count informs, and decides nothing."""
    app, db = lab.pair()
    lab.instance(app)
    lab.fault(service="ecs", action="DescribeInstances", account=HOME, kind="error", times=None)
    lab.cross_account(lab.request(app, db, "tcp/1"))
    assert (lab.outcome()["outcome"], lab.outcome()["instances"], lab.outcome()["instance_ids"]) == ("applied", "", "")
    assert len(lab.rules(db)) == 1
    lab.cloud.faults.clear()
    lab.cross_account(lab.request(db, app, "tcp/2", request_id="chg-2"))
    assert lab.outcome()["instances"] == "0"
    assert PEER in lab.outcome()["from_account"]


def test_a_sweep_counts_from_what_it_has_read(lab: Lab) -> None:
    """It makes no call for that; the ids of instances that it set aside are not at hand."""
    app, db = lab.group(), lab.group("*")
    lab.instance(app)
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.sweep()
    assert (lab.outcome()["outcome"], lab.outcome()["instances"], lab.outcome()["instance_ids"]) == ("applied", "2", "")
