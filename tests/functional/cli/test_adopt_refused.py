"""`link-peer adopt` refuses what cannot be a link, before it changes anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aliyun_local.api import Group

from tests.functional.command import ALL, Cli, between, by_hand, egress, person
from tests.functional.lab import HOME, PEER, POLICY, Lab

pytestmark = pytest.mark.usefixtures("peer_profile")


Make = Callable[[Lab, Group, Group], str]


def _of_ours(lab: Lab, app: Group, db: Group) -> str:
    """A rule of a person at priority 1 beside an equal one of ours."""
    lab.forge(db, app, "req:chg-1", "tcp/3306")
    return person(lab, db, app)


def _behind_a_drop_of_everything(lab: Lab, app: Group, db: Group) -> str:
    person(lab, db, app, **ALL, Policy="drop", Priority="100")
    return person(lab, db, app, Priority="99")


def _behind_a_drop(lab: Lab, app: Group, db: Group) -> str:
    other_group = lab.group()
    lab.instance(db, other_group)
    person(lab, other_group, SourceCidrIp="10.0.0.0/8", Policy="drop", Priority="50", PortRange="3300/3400")
    return person(lab, db, app)


def _egress(lab: Lab, app: Group, db: Group) -> str:
    egress(lab, db, IpProtocol="TCP", PortRange="1/1", DestCidrIp="10.0.0.0/8")
    params = {"SecurityGroupId": db.id, "Direction": "egress"}
    permission = lab.call(db.account, "DescribeSecurityGroupAttribute", params)["Permissions"]["Permission"]
    return str(permission[0]["SecurityGroupRuleId"])


def _twice(lab: Lab, app: Group, db: Group) -> str:
    person(lab, db, app, Priority="7")
    return person(lab, db, app)


REFUSED: dict[str, tuple[Make, str]] = {
    "egress": (_egress, "is an egress rule"),
    "drop": (lambda lab, app, db: person(lab, db, app, Policy="drop"), "drops packets"),
    "a range": (lambda lab, _app, db: person(lab, db, SourceCidrIp="10.0.0.0/16"), "admits 10.0.0.0/16"),
    "everyone": (lambda lab, _app, db: person(lab, db, SourceCidrIp="0.0.0.0/0"), "admits 0.0.0.0/0"),
    "IPv6": (lambda lab, _app, db: person(lab, db, Ipv6SourceCidrIp="2001:db8::/64"), "is for IPv6"),
    "gre": (lambda lab, app, db: person(lab, db, app, IpProtocol="GRE", PortRange="-1/-1"), "protocol gre"),
    "source ports": (
        lambda lab, _app, db: person(lab, db, SourceCidrIp="10.9.9.9/32", SourcePortRange="1/99"),
        "limits source ports",
    ),
    "a destination range": (
        lambda lab, app, db: person(lab, db, app, DestCidrIp="10.9.0.0/16"),
        "limits source ports or destination",
    ),
    "an address of nobody": (
        lambda lab, _app, db: person(lab, db, SourceCidrIp="10.9.9.9/32"),
        "no instance of the policy's accounts has",
    ),
    "an address to a whole group": (
        lambda lab, app, db: person(lab, db, SourceCidrIp=f"{lab.instance(app).private_ip}/32"),
        "--port tcp/3306 --wait; then delete the rule",
    ),
    "another group of the instance": (
        lambda lab, app, db: between(lab, lab.instance(app), lab.instance(lab.group(), db), db),
        "the first group of the instance",
    ),
    "everything one way": (lambda lab, app, db: person(lab, db, app, **ALL), "opens all traffic one way"),
    "two of a kind": (_twice, "are the same rule but for priority and description: delete one"),
    "one of ours beside it": (_of_ours, "are the same rule but for priority and description: delete one"),
    "everything one way between instances": (
        lambda lab, app, db: between(lab, lab.instance(app), lab.instance(db), db, **ALL),
        "opens all traffic one way",
    ),
    "a drop of everything in between": (_behind_a_drop_of_everything, "would then come first"),
    "a drop in between": (_behind_a_drop, "would then come first"),
    "another deployment": (
        lambda lab, app, db: person(
            lab, db, app, Description=f"link-peer/2 dep=test home={HOME} id=0123456789abcdef by=tag"
        ),
        "belongs to the deployment test",
    ),
    "too many ports": (lambda lab, app, db: person(lab, db, app, PortRange="1/65535"), "not-allowed: "),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_link_is_refused_before_a_change(lab: Lab, cli: Cli, case: str) -> None:
    """Each with the fact and what to do."""
    make, message = REFUSED[case]
    app, db = lab.group(), lab.group()
    rule = make(lab, app, db)
    tags, changes = lab.tags(db), lab.changes()
    assert cli("adopt", "--anyone-may-close", rule, "--group", db.id, "--yes") == 1, cli.out
    assert message in cli.err
    assert "Traceback" not in cli.err
    assert (lab.tags(db), lab.changes(), lab.records("intent")) == (tags, changes, [])


def test_a_locked_group_and_an_unknown_account_are_refused(lab: Lab, cli: Cli) -> None:
    """By the same verdict as any link; so is what the policy denies. Where it counts no tag, one would not help."""
    app, db = lab.group(), lab.group(tags={"link-lock": "no"})
    rule = person(lab, db, app)
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 1
    assert "locked" in cli.err
    for policy, reason in (({"paused": "opening"}, "paused"), ({"accept_tags": False}, "no-consent")):
        lab.policy(**policy)
        assert cli("adopt", "--anyone-may-close", by_hand(lab)[2], "--yes") == 1
        assert reason in cli.err
    source = lab.group(account=PEER)
    foreign = [person(lab, lab.group(), source), person(lab, lab.group(), source, **ALL)]
    lab.policy(accounts={HOME: POLICY["accounts"][HOME]})
    for rule_id in foreign:
        assert cli("adopt", "--anyone-may-close", rule_id, "--yes") == 1
        assert "unknown-account" in cli.err
    assert lab.changes() == 0


def test_an_account_that_cannot_be_read_is_named(lab: Lab, cli: Cli) -> None:
    """Nothing is guessed about its side."""
    app, db = lab.group(account=PEER), lab.group()
    rule = person(lab, db, app)
    lab.policy_account(PEER, role=f"acs:ram::{PEER}:role/none")
    assert cli("adopt", "--anyone-may-close", rule, "--group", f"{db.id}@{HOME}", "--yes") == 1
    assert f"account {PEER} could not be read" in cli.err
    assert lab.changes() == 0


def test_without_keys_of_the_account_nothing_is_changed(lab: Lab, cli: Cli) -> None:
    """A role of link-peer never changes a person's rule."""
    app, db = lab.group(), lab.group(account=PEER)
    rule = person(lab, db, app)
    assert cli("adopt", "--anyone-may-close", f"{rule}@b@aliyun.com", "--yes") == 1
    assert f"no keys of account {PEER}" in cli.err
    assert (lab.tags(db), lab.changes(), lab.records("intent")) == ({}, 0, [])


ENDED = {"link-until": "2001-01-01T00:00:00Z"}
NOT_ASKING: dict[str, tuple[Make, str]] = {
    "stranger": (lambda lab, _app, db: lab.instance(db).id, "is not an instance of"),
    "gone": (lambda _lab, _app, _db: "i-none", "is not an instance of"),
    "ended": (lambda lab, app, _db: lab.instance(app, tags=ENDED).id, "expired"),
}


@pytest.mark.parametrize("case", NOT_ASKING)
def test_an_instance_whose_tag_would_not_ask_is_refused(lab: Lab, cli: Cli, case: str) -> None:
    """Before a change."""
    make, message = NOT_ASKING[case]
    app, db = lab.group(), lab.group()
    instance, rule = make(lab, app, db), person(lab, db, app)
    assert cli("adopt", "--anyone-may-close", rule, "--as", "tag", "--instance", instance, "--yes") == 1
    assert message in cli.err
    assert (lab.tags(db), lab.changes()) == ({}, 0)


def test_a_group_that_does_not_stand_for_the_instance_asks_for_no_link(lab: Lab, cli: Cli) -> None:
    """The peer accepts an earlier group of it, so that the sweep would take the rule."""
    common, app = lab.group(), lab.group()
    asking, db = lab.instance(common, app), lab.group(f"{common.id}:tcp/3306")
    rule = person(lab, db, app)
    assert cli("adopt", "--anyone-may-close", rule, "--as", "tag", "--instance", asking.id, "--yes") == 1
    assert f"{app.id}@{HOME} does not stand for it" in cli.err
