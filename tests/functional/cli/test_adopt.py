"""`link-peer adopt`: a person's rule becomes a link in place, and everything else is refused before a change."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from link_peer_local.core.faults import Killed
from link_peer_local.core.identity import Caller
from link_peer_local.ecs.state import Group

from tests.functional.command import Cli
from tests.functional.lab import HOME, MANAGED, PEER, POLICY, Lab
from tests.functional.profiles import write_profiles
from tests.functional.test_effects import egress

ALL = {"IpProtocol": "ALL", "PortRange": "-1/-1"}
FOREVER = "2099-01-01T00:00:00Z"


@pytest.fixture(name="cli")
def _cli(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """A profile `peer` of the `aliyun` CLI for the second account."""
    write_profiles(lab, monkeypatch, tmp_path, {"peer": PEER})
    return Cli(capsys)


def person(lab: Lab, target: Group, source: Group | None = None, **fields: str) -> str:
    """A rule that a person makes, on TCP 3306 unless said otherwise; returns its id."""
    given = {"IpProtocol": "TCP", "PortRange": "3306/3306", "Policy": "accept", "NicType": "intranet"}
    given |= {"Priority": "1", "Description": "orders", **fields}
    if source is not None:
        given["SourceGroupId"] = source.id
        if source.account != target.account:
            given["SourceGroupOwnerId"] = source.account
    return lab.authorize(target, **{name: value for name, value in given.items() if value})


def ids(lab: Lab, group: Group) -> list[str]:
    """The ids of the rules of a group."""
    return [rule["SecurityGroupRuleId"] for rule in lab.raw_rules(group)]


# what becomes of a rule


def test_a_rule_becomes_a_link_by_request(lab: Lab, cli: Cli) -> None:
    """In place, with its id: consent, managed tag, marker, priority 100; the request is then applied without a change."""
    app, db = lab.group(), lab.group()
    lab.instance(app)
    rule = person(lab, db, app)
    assert cli("adopt", rule, "--yes") == 0, cli.err
    [found] = lab.raw_rules(db)
    assert (found["SecurityGroupRuleId"], str(found["Priority"])) == (rule, "100")
    assert lab.reasons(db) == [f"req:adopt-{rule}"]
    assert lab.tags(db) == {"link-accept": f"{app.id}:tcp/3306", MANAGED: "true"}
    assert "link-peer request unlink" in cli.out
    changes = lab.changes()
    assert lab.drain(60) == {"applied": 1}
    assert lab.sweep() == {}
    assert lab.changes() == changes
    assert lab.cross_account(lab.request(app, db, request_id="chg-9", action="unlink")) == {"removed": 1}
    assert lab.rules(db) == []


def test_a_rule_becomes_a_link_by_tag(lab: Lab, cli: Cli) -> None:
    """The peer joins the instance's own; the sweep finds nothing to do, and takes the rule when the tag is gone."""
    app, db = lab.group(), lab.group()
    asking = lab.instance(app, tags={"link-peer": "sg-other:tcp/1 what?", "link-peer.my_x": "sg-third:tcp/1"})
    lab.instance(app)
    rule = person(lab, db, app)
    assert cli("adopt", rule, "--as", "tag", "--instance", asking.id, "--yes") == 0, cli.err
    assert lab.tags(asking) == {
        "link-peer": f"sg-other:tcp/1,what?,{db.id}:tcp/3306",
        "link-peer.my_x": "sg-third:tcp/1",
    }
    assert (ids(lab, db), lab.reasons(db), lab.queued()) == ([rule], ["tag"], [])
    changes = lab.changes()
    lab.sweep()
    assert lab.changes() == changes
    lab.tag(asking, link_peer=None)
    lab.sweep()
    assert lab.rules(db) == []


def test_a_tag_and_a_consent_that_are_there_are_not_written_again(lab: Lab, cli: Cli) -> None:
    """Only what is missing is."""
    app = lab.group()
    db = lab.group("*", tags={MANAGED: "true"})
    asking = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    rule = person(lab, db, app)
    assert cli("adopt", rule, "--as", "tag", "--instance", asking.id, "--yes") == 0, cli.err
    assert lab.reasons(db) == ["tag"]
    assert lab.cloud.faults.count("ecs", "TagResources") == 0


def test_a_mutual_pair_is_adopted_together(lab: Lab, cli: Cli) -> None:
    """Across two accounts, each with keys of its own; both groups consent."""
    app, db = lab.group(), lab.group(account=PEER)
    lab.instance(app)
    there, back = person(lab, db, app, **ALL), person(lab, app, db, **ALL)
    assert cli("adopt", there, "--group", f"{db.id}@{PEER}", "--yes", "--profile", "peer") == 0, cli.err
    assert (ids(lab, app), ids(lab, db)) == ([back], [there])
    assert lab.reasons(app) == lab.reasons(db) == [f"req:adopt-{there}"]
    assert lab.tags(app) == {"link-accept": f"{db.id}@{PEER}", MANAGED: "true"}
    assert lab.tags(db) == {"link-accept": f"{app.id}@{HOME}", MANAGED: "true"}
    assert lab.drain(60) == {"applied": 1}
    assert cli("explain", app.id, f"{db.id}@{PEER}") == 0, cli.err


def test_a_mutual_pair_is_held_by_the_tag_of_one_instance(lab: Lab, cli: Cli) -> None:
    """Of the source's group; the sweep keeps both rules."""
    app, db = lab.group(), lab.group()
    asking = lab.instance(app)
    lab.instance(db)
    there, back = person(lab, db, app, **ALL), person(lab, app, db, **ALL)
    assert cli("adopt", there, "--as", "tag", "--instance", asking.id, "--yes") == 0, cli.err
    assert lab.tags(asking) == {"link-peer": db.id}
    lab.sweep()
    assert (ids(lab, app), ids(lab, db)) == ([back], [there])
    assert lab.reasons(app) == lab.reasons(db) == ["tag"]


def test_the_half_that_is_ours_joins(lab: Lab, cli: Cli) -> None:
    """Of a mutual link whose other rule link-peer has already, the person's half is adopted; the request holds both."""
    app, db = lab.pair()
    lab.instance(app)
    lab.instance(db)
    rule = person(lab, db, app, **ALL)
    lab.cross_account(lab.request(app, db))
    assert lab.reasons(app) == ["req:chg-1"]
    assert cli("adopt", rule, "--yes", "--profile", "peer") == 0, cli.err
    assert lab.reasons(db) == [f"req:adopt-{rule}"]
    lab.drain(60)
    assert lab.reasons(app) == [f"req:adopt-{rule},req:chg-1"]


def test_a_rule_between_two_addresses_becomes_a_link_of_instances(lab: Lab, cli: Cli) -> None:
    """Which has a second managed tag, and consent that names the one instance."""
    app, db = lab.group(), lab.group()
    a, b = lab.instance(app), lab.instance(db)
    rule = person(lab, db, SourceCidrIp=f"{a.private_ip}/32", DestCidrIp=f"{b.private_ip}/32")
    assert cli("adopt", rule, "--yes") == 0, cli.err
    assert (ids(lab, db), lab.reasons(db)) == ([rule], [f"req:adopt-{rule}"])
    assert lab.raw_rules(db)[0]["Description"].endswith(f"from={a.id} to={b.id}")
    assert lab.tags(db) == {"link-accept": f"{a.id}:tcp/3306", MANAGED: "true", f"{MANAGED}.instances": "true"}
    assert lab.drain(60) == {"applied": 1}
    lab.sweep()
    assert ids(lab, db) == [rule]


def test_a_link_of_instances_may_cross_vpcs(lab: Lab, cli: Cli) -> None:
    """The target's VPC is asked whether something else there has the source's address."""
    app, db = lab.group(vpc=lab.a), lab.group(account=PEER, vpc=lab.b)
    a, b = lab.instance(app), lab.instance(db)
    rule = person(lab, db, SourceCidrIp=f"{a.private_ip}/32", DestCidrIp=f"{b.private_ip}/32")
    assert cli("adopt", rule, "--yes", "--profile", "peer") == 0, cli.err
    assert lab.reasons(db) == [f"req:adopt-{rule}"]


def test_the_request_has_an_end_and_so_has_the_consent(lab: Lab, cli: Cli) -> None:
    """Where the policy wants one, a request without is refused."""
    lab.policy(limits={"max_days": 30})
    app, db = lab.group(), lab.group()
    rule = person(lab, db, app)
    assert cli("adopt", rule, "--yes") == 1
    assert "at most 30 days" in cli.err
    assert lab.changes() == 0
    assert cli("adopt", rule, "--yes", "--until", "7d") == 0, cli.err
    [by] = lab.reasons(db)
    assert by.startswith(f"req:adopt-{rule}~20")
    assert lab.tags(db)["link-accept"].startswith(f"{app.id}:tcp/3306~20")
    assert lab.drain(60) == {"applied": 1}


def test_a_consent_with_another_end_is_replaced(lab: Lab, cli: Cli) -> None:
    """As `accept` does; where the new entry has no room, the old one's tag is deleted."""
    app = lab.group()
    full = ",".join(["sg-" + "a" * 60, "sg-" + "b" * 55])
    db = lab.group(tags={"link-accept": full, "link-accept.2": f"{app.id}:tcp/3306~20000101T000000Z"})
    rule = person(lab, db, app)
    assert cli("adopt", rule, "--yes") == 0, cli.err
    assert lab.tags(db) == {"link-accept": full, "link-accept.2": f"{app.id}:tcp/3306", MANAGED: "true"}


def test_an_entry_that_moves_leaves_no_empty_tag(lab: Lab, cli: Cli) -> None:
    """It finds room in the first tag; its old tag had nothing else."""
    app = lab.group()
    db = lab.group(tags={"link-accept": "sg-other", "link-accept.2": f"{app.id}:tcp/3306~20000101T000000Z"})
    rule = person(lab, db, app)
    assert cli("adopt", rule, "--yes") == 0, cli.err
    assert lab.tags(db) == {"link-accept": f"sg-other,{app.id}:tcp/3306", MANAGED: "true"}


def test_a_drop_that_does_not_come_between_changes_nothing(lab: Lab, cli: Cli) -> None:
    """One that came first before, one on other ports, one of egress; and any, for a rule that has our priority already."""
    app, db = lab.group(), lab.group()
    lab.instance(db)
    person(lab, db, SourceCidrIp="10.9.0.0/16", Policy="drop", Priority="1")
    person(lab, db, SourceCidrIp="10.0.0.0/8", Policy="drop", Priority="50", PortRange="22/22")
    person(lab, db, SourceCidrIp="10.0.0.0/8", Policy="drop", Priority="50", IpProtocol="UDP")
    egress(lab, db, IpProtocol="TCP", PortRange="3306/3306", DestCidrIp="10.0.0.0/8", Policy="drop", Priority="50")
    rule = person(lab, db, app, Priority="2")
    assert cli("adopt", rule, "--yes") == 0, cli.err
    other = person(lab, db, app, Priority="100", PortRange="22/22")
    assert cli("adopt", other, "--yes") == 0, cli.err


def test_a_damaged_marker_is_repaired(lab: Lab, cli: Cli) -> None:
    """A rule of ours to whose description someone added a note counts as a person's, so it can be adopted."""
    app, db = lab.group(), lab.group(f"*@{HOME}")
    lab.instance(app)
    lab.cross_account(lab.request(app, db, "tcp/3306"))
    [rule] = lab.raw_rules(db)
    lab.modify(db, rule, Description=rule["Description"] + " do not touch")
    assert cli("adopt", rule["SecurityGroupRuleId"], "--yes") == 0, cli.err
    assert lab.reasons(db) == [f"req:adopt-{rule['SecurityGroupRuleId']}"]


def test_it_goes_through_the_queue_of_the_account_that_asks(lab: Lab, cli: Cli) -> None:
    """Which proves who asks."""
    lab.policy_account(HOME, queue="link-peer-requests-a")
    lab.cloud.mns.create_queue(HOME, "link-peer-requests-a", {})
    app, db = lab.group(), lab.group()
    rule = person(lab, db, app)
    assert cli("adopt", rule, "--yes") == 0, cli.err
    [posted] = lab.queued("link-peer-requests-a")
    assert lab.cross_account(posted, queue="link-peer-requests-a") == {"applied": 1}
    assert posted["requested_by"].startswith(f"acs:ram::{HOME}:")
    assert "described as 'orders'" in posted["reason"]


# who did it


def test_links_and_explain_say_who_adopted_it(lab: Lab, cli: Cli) -> None:
    """And what the rule was before."""
    app, db = lab.group(), lab.group()
    lab.instance(app)
    lab.instance(db)
    rule = person(lab, db, app)
    assert cli("adopt", rule, "--yes") == 0, cli.err
    _, [link] = cli.json("links")
    assert link["why"] == [f"adopt-{rule}"]
    assert link["asked_by"] == [f"adopt-{rule}: acs:ram::{HOME}:root"]
    assert f"{rule}, priority 1, described as 'orders'" in link["reasons"][0]
    code, [explained] = cli.json("explain", app.id, db.id, "tcp/3306")
    assert (code, explained["rules"]) == (0, [])
    assert explained["links"][0]["asked_by"] == link["asked_by"]


def test_the_log_has_an_intent_before_the_first_change(lab: Lab, cli: Cli) -> None:
    """And an outcome with the rule's id, the consent, the RequestId of the change, and the caller."""
    app, db = lab.group(), lab.group()
    rule = person(lab, db, app)
    lab.meanwhile("TagResources", lambda: seen.extend(lab.records("intent")))
    seen: list[dict[str, str]] = []
    assert cli("adopt", rule, "--yes") == 0, cli.err
    [intent], [outcome] = seen, lab.records("outcome")
    assert intent["tagged"] == f"{db.id}@{HOME}"
    for record in (intent, outcome):
        assert (record["function"], record["action"], record["request_id"]) == ("adopt", "link", f"adopt-{rule}")
        assert record["claimed_by"] == f"acs:ram::{HOME}:root"
        assert [one["rule_id"] for one in json.loads(record["rules"])] == [rule]
    assert (outcome["outcome"], outcome["consent"]) == ("applied", f"{db.id}@{HOME} link-accept={app.id}:tcp/3306")
    assert outcome["api_requests"]


def test_people_s_resources_are_changed_with_their_own_keys(
    asked: list[tuple[Caller, str]], lab: Lab, cli: Cli
) -> None:
    """A role of link-peer reads, records and posts."""
    app, db = lab.group(), lab.group(account=PEER)
    rule = person(lab, db, app)
    asked.clear()
    assert cli("adopt", rule, "--yes", "--profile", "peer") == 0, cli.err
    writes = {(caller.account, caller.role, action) for caller, action in asked if ":Describe" not in action}
    assert {one for one in writes if one[2].startswith("ecs:")} == {
        (PEER, None, "ecs:TagResources"),
        (PEER, None, "ecs:ModifySecurityGroupRule"),
    }
    assert (HOME, "link-peer-operator", "log:PostLogStoreLogs") in writes
    assert (HOME, "link-peer-operator", "mns:SendMessage") in writes


# what is refused

Make = Callable[[Lab, Group, Group], str]


def _of_ours(lab: Lab, app: Group, db: Group) -> str:
    """A rule of a person at priority 1 beside an equal one of ours."""
    lab.forge(db, app, "req:chg-1", "tcp/3306")
    return person(lab, db, app)


def _behind_a_drop_of_everything(lab: Lab, app: Group, db: Group) -> str:
    person(lab, db, app, **ALL, Policy="drop", Priority="100")
    return person(lab, db, app, Priority="99")


def _one_way_between_instances(lab: Lab, app: Group, db: Group) -> str:
    a, b = lab.instance(app), lab.instance(db)
    return person(lab, db, SourceCidrIp=f"{a.private_ip}/32", DestCidrIp=f"{b.private_ip}/32", **ALL)


def _behind_a_drop(lab: Lab, app: Group, db: Group) -> str:
    other = lab.group()
    lab.instance(db, other)
    person(lab, other, SourceCidrIp="10.0.0.0/8", Policy="drop", Priority="50", PortRange="3300/3400")
    return person(lab, db, app)


def _egress(lab: Lab, app: Group, db: Group) -> str:
    egress(lab, db, IpProtocol="TCP", PortRange="1/1", DestCidrIp="10.0.0.0/8")
    params = {"SecurityGroupId": db.id, "Direction": "egress"}
    found = lab.call(db.account, "DescribeSecurityGroupAttribute", params)["Permissions"]["Permission"]
    return str(found[0]["SecurityGroupRuleId"])


def _to_all(lab: Lab, app: Group, db: Group) -> str:
    return person(lab, db, SourceCidrIp=f"{lab.instance(app).private_ip}/32")


def _to_a_second_group(lab: Lab, app: Group, db: Group) -> str:
    a, b = lab.instance(app), lab.instance(lab.group(), db)
    return person(lab, db, SourceCidrIp=f"{a.private_ip}/32", DestCidrIp=f"{b.private_ip}/32")


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
    "an address to a whole group": (_to_all, "--port tcp/3306 --wait; then delete the rule"),
    "another group of the instance": (_to_a_second_group, "the first group of the instance"),
    "everything one way": (lambda lab, app, db: person(lab, db, app, **ALL), "opens everything one way"),
    "two of a kind": (_twice, "are the same rule but for priority and description: delete one"),
    "one of ours beside it": (_of_ours, "are the same rule but for priority and description: delete one"),
    "everything one way between instances": (_one_way_between_instances, "opens everything one way"),
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
    make, said = REFUSED[case]
    app, db = lab.group(), lab.group()
    rule = make(lab, app, db)
    tags, changes = lab.tags(db), lab.changes()
    assert cli("adopt", rule, "--group", db.id, "--yes") == 1, cli.out
    assert said in cli.err
    assert "Traceback" not in cli.err
    assert (lab.tags(db), lab.changes(), lab.records("intent")) == (tags, changes, [])


POLICIES: dict[str, tuple[dict[str, object], str]] = {
    "a port that is never opened": ({"deny": {"ports": ["tcp/3306"]}}, "not-allowed"),
    "paused": ({"paused": True}, "paused"),
    "opening is paused": ({"paused": "opening"}, "paused"),
    "no consent by tag": ({"accept_tags": False}, "no-consent"),
}


@pytest.mark.parametrize("case", POLICIES)
def test_what_the_policy_denies_is_refused_before_a_change(lab: Lab, cli: Cli, case: str) -> None:
    """The tag would not help."""
    policy, reason = POLICIES[case]
    lab.policy(**policy)
    app, db = lab.group(), lab.group()
    rule = person(lab, db, app)
    assert cli("adopt", rule, "--yes") == 1
    assert reason in cli.err
    assert (lab.tags(db), lab.changes()) == ({}, 0)


def test_a_locked_group_and_an_unknown_account_are_refused(lab: Lab, cli: Cli) -> None:
    """By the same verdict as any link."""
    app, db = lab.group(), lab.group(tags={"link-lock": "no"})
    rule = person(lab, db, app)
    assert cli("adopt", rule, "--yes") == 1
    assert "locked" in cli.err
    source = lab.group(account=PEER)
    foreign = [person(lab, lab.group(), source), person(lab, lab.group(), source, **ALL)]
    lab.policy(accounts={HOME: POLICY["accounts"][HOME]})
    for one in foreign:
        assert cli("adopt", one, "--yes") == 1
        assert "unknown-account" in cli.err
    assert lab.changes() == 0


def test_an_account_that_cannot_be_read_is_named(lab: Lab, cli: Cli) -> None:
    """Nothing is guessed about its side."""
    app, db = lab.group(account=PEER), lab.group()
    rule = person(lab, db, app)
    lab.policy_account(PEER, role=f"acs:ram::{PEER}:role/none")
    assert cli("adopt", rule, "--group", f"{db.id}@{HOME}", "--yes") == 1
    assert f"account {PEER} could not be read" in cli.err
    assert lab.changes() == 0


def test_without_keys_of_the_account_nothing_is_changed(lab: Lab, cli: Cli) -> None:
    """A role of link-peer never changes a person's rule."""
    app, db = lab.group(), lab.group(account=PEER)
    rule = person(lab, db, app)
    assert cli("adopt", f"{rule}@b@aliyun.com", "--yes") == 1
    assert f"no keys of account {PEER}" in cli.err
    assert (lab.tags(db), lab.changes(), lab.records("intent")) == ({}, 0, [])


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("stranger", "is not an instance of"),
        ("gone", "is not an instance of"),
        ("both", "would ask for another link"),
        ("ended", "expired"),
    ],
)
def test_an_instance_whose_tag_would_not_ask_is_refused(lab: Lab, cli: Cli, case: str, said: str) -> None:
    """Before a change."""
    app, db = lab.group(), lab.group()
    ended = {"link-until": "2001-01-01T00:00:00Z"}
    made = {
        "stranger": lambda: lab.instance(db).id,
        "gone": lambda: "i-none",
        "both": lambda: lab.instance(lab.group(), app).id,
        "ended": lambda: lab.instance(app, tags=ended).id,
    }[case]()
    rule = person(lab, db, app)
    assert cli("adopt", rule, "--as", "tag", "--instance", made, "--yes") == 1
    assert said in cli.err
    assert (lab.tags(db), lab.changes()) == ({}, 0)


def test_a_tag_cannot_name_an_instance_of_another_account(lab: Lab, cli: Cli) -> None:
    """A request can."""
    a, b = lab.instance(lab.group()), lab.instance(db := lab.group(account=PEER))
    rule = person(lab, db, SourceCidrIp=f"{a.private_ip}/32", DestCidrIp=f"{b.private_ip}/32")
    assert cli("adopt", rule, "--as", "tag", "--instance", a.id, "--yes", "--profile", "peer") == 1
    assert "adopt the rule as a request" in cli.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("sg-1",), "'sg-1' is not sgr-"),
        (("sgr-1", "--group", "i-1"), "'i-1' is not sg-"),
        (("sgr-1", "--group", "sg-none"), "'sg-none' does not exist"),
        (("sgr-1", "--as", "wish"), "'wish' is not request or tag"),
        (("sgr-1", "--as", "tag"), "--as tag, which needs it"),
        (("sgr-1", "--instance", "i-1"), "--as tag, which needs it"),
        (("sgr-1", "--as", "tag", "--instance", "i-1", "--until", "7d"), "link-until"),
        (("sgr-1@1000000000000009",), "no account of the policy"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(cli: Cli, options: tuple[str, ...], said: str) -> None:
    """Before anything is changed."""
    assert cli("adopt", *options) == 2
    assert said in cli.err


def test_a_rule_that_is_not_there_is_named(lab: Lab, cli: Cli) -> None:
    """With where it was looked for."""
    db = lab.group()
    assert cli("adopt", "sgr-none") == 1
    assert f"sgr-none is not a rule of a group of {HOME}, {PEER}" in cli.err
    assert cli("adopt", f"sgr-none@{HOME}", "--group", db.id) == 1
    assert f"sgr-none is not a rule of {db.id}@{HOME}" in cli.err


# showing first


def test_a_dry_run_changes_nothing(lab: Lab, cli: Cli) -> None:
    """It prints what would change, and the commands."""
    app, db = lab.group(), lab.group()
    asking = lab.instance(app)
    rule = person(lab, db, app, Description="")
    assert cli("adopt", rule, "--as", "tag", "--instance", asking.id, "--dry-run") == 0, cli.err
    assert f"+ {db.id}@{HOME} accepts {app.id}:tcp/3306" in cli.out
    assert f"+ {asking.id}@{HOME} is tagged link-peer={db.id}:tcp/3306" in cli.out
    assert "It loses no description and its priority 1" in cli.out
    assert f"aliyun ecs ModifySecurityGroupRule --RegionId cn-qingdao --SecurityGroupId {db.id}" in cli.out
    assert f"--ResourceType instance --ResourceId.1 {asking.id}" in cli.out
    code, [shown] = cli.json("adopt", rule, "--until", FOREVER, "--dry-run")
    assert (code, shown["record"], shown["ports"]) == (0, None, "tcp/3306")
    assert [one["rule_id"] for one in shown["rules"]] == [rule]
    assert len(shown["commands"]) == 2
    assert (lab.tags(db), lab.tags(asking), lab.changes(), lab.records("intent")) == ({}, {}, 0, [])


def test_json_has_the_plan_and_the_outcome(lab: Lab, cli: Cli) -> None:
    """One document."""
    app, db = lab.group(), lab.group()
    rule = person(lab, db, app)
    assert cli("adopt", rule, "--json") == 2
    assert "--yes" in cli.err
    code, [shown] = cli.json("adopt", rule, "--yes")
    assert (code, shown["record"]["outcome"], shown["asked_by"]) == (0, "applied", f"adopt-{rule}")
    code, [again] = cli.json("adopt", rule, "--yes")
    assert (code, again["rule"]) == (0, rule)
    assert "nothing to do" in again["unchanged"]


@pytest.mark.parametrize("answer", ["y", "n"])
def test_it_asks_first(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """After showing what changes."""
    app, db = lab.group(), lab.group()
    rule = person(lab, db, app)
    typed = io.StringIO(f"{answer}\n")
    monkeypatch.setattr(typed, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin", typed)
    assert cli("adopt", rule) == (0 if answer == "y" else 1)
    assert f"~ {rule} on {db.id}@{HOME} becomes a rule of link-peer" in cli.out
    assert lab.reasons(db) == ([f"req:adopt-{rule}"] if answer == "y" else [])


@pytest.mark.parametrize("what", ["ports", "tags"])
def test_what_changed_while_it_asked_is_shown_again(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """What is done is what was shown."""
    app, db = lab.group(), lab.group()
    rule = person(lab, db, app)
    typed = io.StringIO("y\n")
    monkeypatch.setattr(typed, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin", typed)
    changes = {
        "ports": lambda: lab.modify(db, lab.raw_rules(db)[0], PortRange="22/22"),
        "tags": lambda: lab.tag(db, link_accept="sg-other"),
    }
    monkeypatch.setattr("typer.confirm", lambda *_args, **_more: changes[what]())
    assert cli("adopt", rule) == 1
    assert "changed or deleted since" in cli.err
    assert (len(lab.rules(db)), lab.reasons(db), lab.records("intent")) == (1, [], [])


# what happens meanwhile


@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("what", ["ports", "deleted"])
def test_a_rule_that_changes_meanwhile_is_left_alone(lab: Lab, cli: Cli, what: str, skip: int) -> None:
    """Between showing and writing: no rule is adopted that was not shown. The log says so."""
    app, db = lab.group(), lab.group()
    rule = person(lab, db, app)

    def happens() -> None:
        if what == "ports":
            lab.modify(db, lab.raw_rules(db)[0], PortRange="22/22")
        else:
            lab.revoke(db)

    calls = lab.cloud.faults.count("ecs", "DescribeSecurityGroupAttribute")
    assert cli("adopt", rule, "--dry-run") == 0
    reads = lab.cloud.faults.count("ecs", "DescribeSecurityGroupAttribute") - calls
    lab.meanwhile("DescribeSecurityGroupAttribute", happens, skip=reads + 2 * skip)
    assert cli("adopt", rule, "--yes") == 1
    assert lab.records("outcome") == []
    [attempt] = lab.records("attempt")
    assert "was changed or deleted since" in attempt["detail"]
    assert (lab.rules(db), lab.reasons(db)) == ([f"{app.id} tcp/22"] if what == "ports" else [], [])


def test_a_rule_that_changes_during_the_call_is_no_rule_of_ours(lab: Lab, cli: Cli) -> None:
    """The marker does not fit it, so link-peer leaves it alone; running it again adopts what it is now."""
    app, db = lab.group(), lab.group()
    rule = person(lab, db, app)
    lab.meanwhile("ModifySecurityGroupRule", lambda: lab.modify(db, lab.raw_rules(db)[0], PortRange="22/22"))
    assert cli("adopt", rule, "--yes") == 1
    assert "its marker does not fit" in lab.records("attempt")[0]["detail"]
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/22"]
    assert cli("adopt", rule, "--yes") == 0, cli.err
    assert lab.drain(60) == {"applied": 1}


def test_a_lock_that_comes_meanwhile_wins(lab: Lab, cli: Cli) -> None:
    """It is judged again right before the rule is changed."""
    app, db = lab.group(), lab.group()
    rule = person(lab, db, app)
    lab.meanwhile("TagResources", lambda: lab.tag(db, link_lock="yes"))
    assert cli("adopt", rule, "--yes") == 1
    assert (lab.outcome()["outcome"], lab.outcome()["reason"]) == ("denied", "locked")
    assert lab.reasons(db) == []


def test_a_second_rule_that_comes_meanwhile_is_reported(lab: Lab, cli: Cli) -> None:
    """Of two equal rules, neither is adopted."""
    app, db = lab.group(), lab.group()
    rule = person(lab, db, app)
    lab.meanwhile("TagResources", lambda: person(lab, db, app, Priority="9") and None)
    assert cli("adopt", rule, "--yes") == 1
    assert "are the same rule" in lab.records("attempt")[0]["detail"]


def test_a_mutual_rule_that_changes_meanwhile_stops_both(lab: Lab, cli: Cli) -> None:
    """The other half is not what was shown."""
    app, db = lab.group(), lab.group()
    there, _ = person(lab, db, app, **ALL), person(lab, app, db, **ALL)
    lab.meanwhile("TagResources", lambda: lab.modify(app, lab.raw_rules(app)[0], Description="other"))
    assert cli("adopt", there, "--yes") == 1
    assert "was changed or deleted since" in lab.records("attempt")[0]["detail"]
    assert lab.reasons(app) == lab.reasons(db) == []


def test_a_managed_tag_that_a_sweep_takes_meanwhile_is_written_again(lab: Lab, cli: Cli) -> None:
    """Else the sweep would not find the rule."""
    app, db = lab.group(), lab.group(f"*@{HOME}")
    rule = person(lab, db, app)
    lab.meanwhile("ModifySecurityGroupRule", lambda: lab.tag(db, **{MANAGED.replace("-", "_"): None}))
    assert cli("adopt", rule, "--yes") == 0, cli.err
    assert lab.tags(db)[MANAGED] == "true"


def test_a_tag_that_does_not_show_yet_is_reported(lab: Lab, cli: Cli) -> None:
    """Reads lag behind changes; a moment later it goes on."""
    app, db = lab.group(), lab.group()
    rule = person(lab, db, app)
    lab.cloud.clock.sleep(100)
    lab.cloud.ecs.read_lag.tags = 30.0
    assert cli("adopt", rule, "--yes") == 1
    assert "does not show the change yet" in lab.records("attempt")[0]["detail"]
    lab.cloud.clock.sleep(100)
    lab.cloud.ecs.read_lag.tags = 0.0
    assert cli("adopt", rule, "--yes") == 0, cli.err
    assert lab.reasons(db) == [f"req:adopt-{rule}"]


def test_a_marker_that_does_not_show_yet_is_reported(lab: Lab, cli: Cli) -> None:
    """The next run finds it, posts the request and records the outcome."""
    app, db = lab.group(), lab.group()
    rule = person(lab, db, app)
    lab.cloud.clock.sleep(100)
    lab.cloud.ecs.read_lag.rules = 30.0
    assert cli("adopt", rule, "--yes") == 1
    assert "does not show the change yet" in lab.records("attempt")[0]["detail"]
    assert lab.queued() == []
    lab.cloud.clock.sleep(100)
    assert cli("adopt", rule, "--yes") == 0, cli.err
    assert (lab.outcome()["outcome"], len(lab.queued())) == ("applied", 1)


def test_keys_that_may_not_modify_are_reported(lab: Lab, cli: Cli) -> None:
    """The outcome is denied; the rule is as it was."""
    app, db = lab.group(), lab.group()
    rule = person(lab, db, app)
    lab.fault(service="ecs", action="ModifySecurityGroupRule", kind="error", code="Forbidden.RAM", status=403)
    assert cli("adopt", rule, "--yes") == 1
    assert (lab.outcome()["outcome"], lab.outcome()["reason"]) == ("denied", "no-access")
    lab.fault(service="ecs", action="ModifySecurityGroupRule", kind="error", code="InvalidStatus", status=400)
    assert cli("adopt", rule, "--yes") == 1
    assert "InvalidStatus" in lab.outcome()["detail"]
    assert lab.reasons(db) == []


# whatever stops it


@pytest.mark.parametrize("kind", ["reset", "reset-after", "error-after", "html-after"])
@pytest.mark.parametrize("action", ["TagResources", "ModifySecurityGroupRule", "SendMessage", "PutLogs"])
def test_a_lost_answer_leaves_nothing_undone(lab: Lab, cli: Cli, action: str, kind: str) -> None:
    """Each change is looked for before it is made again."""
    app, db = lab.group(), lab.group()
    asking = lab.instance(app)
    rule = person(lab, db, app)
    service = {"SendMessage": "mns", "PutLogs": "sls"}.get(action, "ecs")
    lab.fault(service=service, action=action, kind=kind)
    assert cli("adopt", rule, "--yes") == 0, cli.err
    assert (ids(lab, db), lab.reasons(db)) == ([rule], [f"req:adopt-{rule}"])
    assert asking.id


@pytest.mark.parametrize("form", ["request", "tag", "mutual"])
@pytest.mark.parametrize("kind", ["kill", "kill-after"])
def test_running_it_again_finishes_whatever_stopped_it(
    make_lab: Callable[[], Lab],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    form: str,
    kind: str,
) -> None:
    """Killed at each of its calls: the rules are there at every moment, a sweep in between removes nothing, and in the end
    they are ours, with an outcome."""
    call, reached = 0, True
    while reached:
        lab = make_lab()
        cli = Cli(capsys)
        app, db = lab.group(), lab.group()
        asking = lab.instance(app)
        every = ALL if form == "mutual" else {}
        rules = {(db.id, rule := person(lab, db, app, **every))}
        if form == "mutual":
            rules.add((app.id, person(lab, app, db, **every)))
        options = ["adopt", rule, "--yes"] + (["--as", "tag", "--instance", asking.id] if form == "tag" else [])
        lab.fault(kind=kind, skip=call)
        try:
            cli(*options)
        except Killed:
            capsys.readouterr()
        reached = not lab.cloud.faults.waiting()
        lab.cloud.faults.clear()
        standing = {(group.id, one) for group in (app, db) for one in ids(lab, group)}
        assert standing == rules, call
        lab.cloud.clock.sleep(3600)
        lab.sweep()
        assert {(group.id, one) for group in (app, db) for one in ids(lab, group)} == rules, call
        assert cli(*options) == 0, (call, cli.err, cli.out)
        claim = "tag" if form == "tag" else f"req:adopt-{rule}"
        assert lab.reasons(db) == [claim], call
        assert lab.reasons(app) == ([claim] if form == "mutual" else []), call
        assert lab.records("outcome", function="adopt", outcome="applied"), call
        assert form == "tag" or lab.queued(), call
        lab.sweep()
        assert {(group.id, one) for group in (app, db) for one in ids(lab, group)} == rules, call
        call += 1
    assert call > 15


@pytest.mark.parametrize("form", ["request", "tag"])
def test_a_sweep_at_any_moment_takes_nothing(
    make_lab: Callable[[], Lab], capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """Nor does what the queue delivers: before each call of the command, both run. Then it is adopted, at once or by the next
    run."""
    call, reached = 0, True
    while reached:
        lab = make_lab()
        cli = Cli(capsys)
        app, db = lab.group(), lab.group()
        asking = lab.instance(app)
        rule = person(lab, db, app)
        options = ["adopt", rule, "--yes"] + (["--as", "tag", "--instance", asking.id] if form == "tag" else [])
        between = lab.interrupt(call, lambda lab=lab, asking=asking: (lab.sweep(), lab.auto_link(lab.event(asking))))
        code = cli(*options)
        reached = between()
        assert ids(lab, db) == [rule], call
        if code:
            assert cli(*options) == 0, (call, cli.err)
        lab.sweep()
        assert (ids(lab, db), lab.reasons(db)) == ([rule], ["tag" if form == "tag" else f"req:adopt-{rule}"]), call
        assert lab.tags(db)[MANAGED] == "true", call
        call += 1
    assert call > 15


def test_a_request_that_cannot_be_posted_is_posted_by_the_next_run(lab: Lab, cli: Cli) -> None:
    """The rule is ours by then; the second run posts what is missing, with the words of the first."""
    app, db = lab.group(), lab.group()
    rule = person(lab, db, app)
    lab.fault(service="mns", action="SendMessage", kind="error", times=None)
    assert cli("adopt", rule, "--yes") == 1
    assert lab.reasons(db) == [f"req:adopt-{rule}"]
    lab.cloud.faults.clear()
    assert cli("adopt", rule, "--yes") == 0, cli.err
    [posted] = lab.queued()
    assert "described as 'orders'" in posted["reason"]


def test_what_the_log_does_not_show_yet_is_known_by_the_claim(lab: Lab, cli: Cli) -> None:
    """A record is found some seconds after it was written: the rule itself says that its adoption was begun."""
    app, db = lab.group(), lab.group("*")
    rule = person(lab, db, app)
    marker = (
        f"link-peer/2 dep=prod home={HOME} id={lab.rule_id(db, app, 'tcp/3306')} by=req:adopt-{rule}~20990101T000000Z"
    )
    lab.modify(db, lab.raw_rules(db)[0], Description=marker, Priority="100")
    assert cli("adopt", rule, "--yes") == 0, cli.err
    [posted] = lab.queued()
    assert (posted["request_id"], posted["until"]) == (f"adopt-{rule}", FOREVER)
    assert lab.reasons(db) == [f"req:adopt-{rule}~20990101T000000Z"]


def test_a_rule_of_ours_is_left_as_it_is(lab: Lab, cli: Cli) -> None:
    """Nothing to do, also for one that was never a person's, and as often as it is run."""
    _, _, db = lab.linked()
    [rule] = ids(lab, db)
    changes = lab.changes()
    assert cli("adopt", rule, "--yes") == 0
    assert "is a rule of link-peer already, held by tag: nothing to do" in cli.out
    assert lab.changes() == changes
    app, other = lab.group(), lab.group()
    adopted = person(lab, other, app)
    assert cli("adopt", adopted, "--yes") == 0
    changes = lab.changes()
    assert cli("adopt", adopted, "--yes") == 0
    assert f"by acs:ram::{HOME}:root: nothing to do" in cli.out
    assert lab.changes() == changes
