"""`link-peer adopt`: a person's rule becomes a link in place."""

from __future__ import annotations

import json

import pytest

from tests.functional.command import ALL, CallerActions, Cli, Typed, between, by_hand, egress, ids, person
from tests.functional.lab import HOME, MANAGED, PEER, Lab

pytestmark = pytest.mark.usefixtures("accesses", "peer_profile")

FOREVER = "2099-01-01T00:00:00Z"


# what becomes of a rule


def test_a_rule_becomes_a_link_by_request(lab: Lab, cli: Cli) -> None:
    """In place, with its id: consent, managed tag, marker, priority 100; the request is then applied without a
    change."""
    app, db, rule = by_hand(lab)
    lab.instance(app)
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 0, cli.err
    [raw_rule] = lab.raw_rules(db)
    assert (raw_rule["SecurityGroupRuleId"], str(raw_rule["Priority"])) == (rule, "100")
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
    assert cli("adopt", "--anyone-may-close", rule, "--as", "tag", "--instance", asking.id, "--yes") == 0, cli.err
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


@pytest.mark.parametrize("peer", ["instance of another account", "group that accepts no other of the instance's"])
def test_the_rule_of_an_adopted_tag_stands_after_a_sweep(lab: Lab, cli: Cli, peer: str) -> None:
    """A tag names the instance with its account; consent, which is written, chooses the rule's group."""
    common, app = lab.group(), lab.group()
    asking, options = lab.instance(common, app), ["--anyone-may-close", "--yes", "--as", "tag", "--instance"]
    if "accepts" in peer:
        db = lab.group()
        rule, wish = person(lab, db, app), db.id
    else:
        db = lab.group(account=PEER)
        far = lab.instance(db)
        rule, wish = between(lab, asking, far, db), f"{far.id}@{PEER}"
    assert cli("adopt", rule, *options, asking.id, "--profile", "peer") == 0, cli.err
    assert lab.tags(asking) == {"link-peer": f"{wish}:tcp/3306"}
    lab.sweep()
    assert (ids(lab, db), lab.reasons(db)) == ([rule], ["tag"])


def test_a_tag_and_a_consent_that_are_there_are_not_written_again(lab: Lab, cli: Cli) -> None:
    """Only what is missing is."""
    app = lab.group()
    db = lab.group("*", tags={MANAGED: "true"})
    asking = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    rule = person(lab, db, app)
    assert cli("adopt", "--anyone-may-close", rule, "--as", "tag", "--instance", asking.id, "--yes") == 0, cli.err
    assert lab.reasons(db) == ["tag"]
    assert lab.cloud.faults.count("ecs", "TagResources") == 0


def test_a_mutual_pair_is_adopted_together(lab: Lab, cli: Cli) -> None:
    """Across two accounts, each with keys of its own; both groups consent."""
    app, db = lab.group(), lab.group(account=PEER)
    lab.instance(app)
    rule_there, back = person(lab, db, app, **ALL), person(lab, app, db, **ALL)
    assert (
        cli("adopt", "--anyone-may-close", rule_there, "--group", f"{db.id}@{PEER}", "--yes", "--profile", "peer") == 0
    ), cli.err
    assert (ids(lab, app), ids(lab, db)) == ([back], [rule_there])
    assert lab.reasons(app) == lab.reasons(db) == [f"req:adopt-{rule_there}"]
    assert lab.tags(app) == {"link-accept": f"{db.id}@{PEER}", MANAGED: "true"}
    assert lab.tags(db) == {"link-accept": f"{app.id}@{HOME}", MANAGED: "true"}
    assert lab.drain(60) == {"applied": 1}
    assert cli("explain", app.id, f"{db.id}@{PEER}") == 0, cli.err


def test_the_half_that_is_ours_joins(lab: Lab, cli: Cli) -> None:
    """Of a mutual link whose other rule link-peer has already, the person's half is adopted; the request holds both."""
    app, db = lab.pair()
    lab.instance(app)
    lab.instance(db)
    rule = person(lab, db, app, **ALL)
    lab.cross_account(lab.request(app, db))
    assert lab.reasons(app) == ["req:chg-1"]
    assert cli("adopt", "--anyone-may-close", rule, "--yes", "--profile", "peer") == 0, cli.err
    assert lab.reasons(db) == [f"req:adopt-{rule}"]
    lab.drain(60)
    assert lab.reasons(app) == [f"req:adopt-{rule},req:chg-1"]


def test_a_rule_between_two_addresses_becomes_a_link_of_instances(lab: Lab, cli: Cli) -> None:
    """Which has a second managed tag, and consent that names the one instance."""
    app, db = lab.group(), lab.group()
    a, b = lab.instance(app), lab.instance(db)
    rule = between(lab, a, b, db)
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 0, cli.err
    assert (ids(lab, db), lab.reasons(db)) == ([rule], [f"req:adopt-{rule}"])
    assert lab.raw_rules(db)[0]["Description"].endswith(f"from={a.id} to={b.id}")
    assert lab.tags(db) == {"link-accept": f"{a.id}:tcp/3306", MANAGED: "true", f"{MANAGED}.instances": "true"}
    assert lab.drain(60) == {"applied": 1}
    lab.sweep()
    assert ids(lab, db) == [rule]


def test_an_address_of_another_vpc_is_an_instance_only_within_its_accounts_ranges(lab: Lab, cli: Cli) -> None:
    """Else it may be one on premises, which an instance of a tenant only happens to have, too."""
    app, db = lab.group(vpc=lab.a), lab.group(account=PEER, vpc=lab.b)
    a, b = lab.instance(app), lab.instance(db)
    rule = between(lab, a, b, db)
    for ranges in ([], ["10.9.0.0/16"]):
        lab.policy_account(HOME, **({"ranges": ranges} if ranges else {}))
        assert cli("adopt", "--anyone-may-close", rule, "--yes", "--profile", "peer") == 1
        assert f"({a.id}@{HOME} in another VPC has it, but accounts.{HOME}.ranges in the policy does not" in cli.err
        assert (lab.changes(), lab.tags(db)) == (0, {})
    lab.policy_account(HOME, ranges=["10.0.0.0/16"])
    assert cli("adopt", "--anyone-may-close", rule, "--yes", "--profile", "peer") == 0, cli.err
    assert lab.reasons(db) == [f"req:adopt-{rule}"]


@pytest.mark.parametrize("bound", [(), (HOME,), (HOME, PEER)])
def test_a_rule_that_anyone_could_unlink_is_adopted_only_if_that_is_accepted(
    lab: Lab, cli: Cli, bound: tuple[str, ...]
) -> None:
    """An unlink through the shared queue needs one of the two accounts to have no queue of its own. It takes no tag's
    claim."""
    app, db = lab.group(), lab.group(account=PEER)
    asking, rule = lab.instance(app), person(lab, db, app)
    for uid in bound:
        lab.policy_account(uid, queue=f"link-peer-requests-{uid}")
    safe = len(bound) == 2
    assert cli("adopt", rule, "--dry-run") == (0 if safe else 1), cli.err
    if not safe:
        assert f"account {', '.join({HOME, PEER} - set(bound)) if bound else f'{HOME}, {PEER}'} ha" in cli.err
        assert all(way in cli.err for way in (f"accounts.{PEER}.queue", "--anyone-may-close"))
    assert cli("adopt", rule, "--anyone-may-close", "--dry-run") == 0, cli.err
    assert cli("adopt", rule, "--as", "tag", "--instance", asking.id, "--dry-run") == 0, cli.err
    assert (lab.changes(), lab.tags(db)) == (0, {})
    forged = lab.request(app, db, request_id="x", action="unlink")
    lab.forge(db, app, f"req:adopt-{rule}", "tcp/22")
    assert lab.cross_account(forged) == ({"denied": 1} if safe else {"removed": 1})


def test_the_request_has_an_end_and_so_has_the_consent(lab: Lab, cli: Cli) -> None:
    """Where the policy wants one, a request without is refused."""
    lab.policy(limits={"max_days": 30})
    app, db, rule = by_hand(lab)
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 1
    assert "at most 30 days" in cli.err
    assert lab.changes() == 0
    assert cli("adopt", "--anyone-may-close", rule, "--yes", "--until", "7d") == 0, cli.err
    [by] = lab.reasons(db)
    assert by.startswith(f"req:adopt-{rule}~20")
    assert lab.tags(db)["link-accept"].startswith(f"{app.id}:tcp/3306~20")
    assert lab.drain(60) == {"applied": 1}


def test_a_drop_that_does_not_come_between_changes_nothing(lab: Lab, cli: Cli) -> None:
    """One that came first before, one on other ports, one of egress; and any, for a rule that has our priority
    already."""
    app, db = lab.group(), lab.group()
    lab.instance(db)
    person(lab, db, SourceCidrIp="10.9.0.0/16", Policy="drop", Priority="1")
    person(lab, db, SourceCidrIp="10.0.0.0/8", Policy="drop", Priority="50", PortRange="22/22")
    person(lab, db, SourceCidrIp="10.0.0.0/8", Policy="drop", Priority="50", IpProtocol="UDP")
    egress(lab, db, IpProtocol="TCP", PortRange="3306/3306", DestCidrIp="10.0.0.0/8", Policy="drop", Priority="50")
    rule = person(lab, db, app, Priority="2")
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 0, cli.err
    drop_rule = person(lab, db, app, Priority="100", PortRange="22/22")
    assert cli("adopt", "--anyone-may-close", drop_rule, "--yes") == 0, cli.err


def test_a_damaged_marker_is_repaired(lab: Lab, cli: Cli) -> None:
    """A rule of ours to whose description someone added a note counts as a person's, so it can be adopted."""
    app, db = lab.group(), lab.group(f"*@{HOME}")
    lab.instance(app)
    lab.cross_account(lab.request(app, db, "tcp/3306"))
    [rule] = lab.raw_rules(db)
    lab.modify(db, rule, Description=rule["Description"] + " do not touch")
    assert cli("adopt", "--anyone-may-close", rule["SecurityGroupRuleId"], "--yes") == 0, cli.err
    assert lab.reasons(db) == [f"req:adopt-{rule['SecurityGroupRuleId']}"]


def test_it_goes_through_the_queue_of_the_account_that_asks(lab: Lab, cli: Cli) -> None:
    """Which proves who asks."""
    lab.policy_account(HOME, queue="link-peer-requests-a")
    lab.cloud.mns.create_queue(HOME, "link-peer-requests-a", {})
    _, _, rule = by_hand(lab)
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 0, cli.err
    [posted] = lab.queued("link-peer-requests-a")
    assert lab.cross_account(posted, queue="link-peer-requests-a") == {"applied": 1}
    assert posted["requested_by"].startswith(f"acs:ram::{HOME}:")
    assert "described as 'orders'" in posted["reason"]


# who did it


def test_the_log_has_an_intent_before_the_first_change(lab: Lab, cli: Cli) -> None:
    """And an outcome with the rule's id, the consent, the RequestId of the change, and the caller."""
    app, db, rule = by_hand(lab)
    lab.meanwhile("TagResources", lambda: intents.extend(lab.records("intent")))
    intents: list[dict[str, str]] = []
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 0, cli.err
    [intent], [outcome] = intents, lab.records("outcome")
    assert intent["tagged"] == f"{db.id}@{HOME}"
    for record in (intent, outcome):
        assert (record["function"], record["action"], record["request_id"]) == ("adopt", "link", f"adopt-{rule}")
        assert record["claimed_by"] == f"acs:ram::{HOME}:root"
        assert [rule["rule_id"] for rule in json.loads(record["rules"])] == [rule]
    assert (outcome["outcome"], outcome["consent"]) == ("applied", f"{db.id}@{HOME} link-accept={app.id}:tcp/3306")
    assert outcome["api_requests"]


def test_people_s_resources_are_changed_with_their_own_keys(accesses: CallerActions, lab: Lab, cli: Cli) -> None:
    """A role of link-peer reads, records and posts."""
    app, db = lab.group(), lab.group(account=PEER)
    rule = person(lab, db, app)
    accesses.clear()
    assert cli("adopt", "--anyone-may-close", rule, "--yes", "--profile", "peer") == 0, cli.err
    writes = {(caller.account, caller.role, action) for caller, action in accesses if ":Describe" not in action}
    assert {write for write in writes if write[2].startswith("ecs:")} == {
        (PEER, None, "ecs:TagResources"),
        (PEER, None, "ecs:ModifySecurityGroupRule"),
    }
    assert (HOME, "link-peer-operator", "log:PostLogStoreLogs") in writes
    assert (HOME, "link-peer-operator", "mns:SendMessage") in writes


# usage


def test_a_rule_that_is_not_there_is_named(lab: Lab, cli: Cli) -> None:
    """With where it was looked for."""
    db = lab.group()
    assert cli("adopt", "--anyone-may-close", "sgr-none") == 1
    assert f"sgr-none is not a rule of a group of {HOME}, {PEER}" in cli.err
    assert cli("adopt", "--anyone-may-close", f"sgr-none@{HOME}", "--group", db.id) == 1
    assert f"sgr-none is not a rule of {db.id}@{HOME}" in cli.err


# showing first


def test_a_dry_run_changes_nothing(lab: Lab, cli: Cli) -> None:
    """It prints what would change, and the commands."""
    app, db = lab.group(), lab.group()
    asking = lab.instance(app)
    rule = person(lab, db, app, Description="")
    assert cli("adopt", "--anyone-may-close", rule, "--as", "tag", "--instance", asking.id, "--dry-run") == 0, cli.err
    assert f"+ {db.id}@{HOME} accepts {app.id}:tcp/3306" in cli.out
    assert f"+ {asking.id}@{HOME} is tagged link-peer={db.id}:tcp/3306" in cli.out
    assert "It loses no description and its priority 1" in cli.out
    assert f"aliyun ecs ModifySecurityGroupRule --RegionId cn-qingdao --SecurityGroupId {db.id}" in cli.out
    assert f"--ResourceType instance --ResourceId.1 {asking.id}" in cli.out
    code, [adoption] = cli.json("adopt", "--anyone-may-close", rule, "--until", FOREVER, "--dry-run")
    assert (code, adoption["record"], adoption["ports"]) == (0, None, "tcp/3306")
    assert [rule["rule_id"] for rule in adoption["rules"]] == [rule]
    assert len(adoption["commands"]) == 2
    assert (lab.tags(db), lab.tags(asking), lab.changes(), lab.records("intent")) == ({}, {}, 0, [])


def test_json_has_the_plan_and_the_outcome(lab: Lab, cli: Cli) -> None:
    """One document."""
    _, _, rule = by_hand(lab)
    assert cli("adopt", "--anyone-may-close", rule, "--json") == 2
    assert "--yes" in cli.err
    code, [adoption] = cli.json("adopt", "--anyone-may-close", rule, "--yes")
    assert (code, adoption["record"]["outcome"], adoption["asked_by"]) == (0, "applied", f"adopt-{rule}")
    code, [again] = cli.json("adopt", "--anyone-may-close", rule, "--yes")
    assert (code, again["rule"]) == (0, rule)
    assert "nothing to do" in again["unchanged"]


@pytest.mark.parametrize("answer", ["y", "n"])
def test_it_asks_first(lab: Lab, cli: Cli, typed: Typed, answer: str) -> None:
    """After showing what changes."""
    _, db, rule = by_hand(lab)
    typed(f"{answer}\n")
    assert cli("adopt", "--anyone-may-close", rule) == (0 if answer == "y" else 1)
    assert f"~ {rule} on {db.id}@{HOME} becomes a rule of link-peer" in cli.out
    assert lab.reasons(db) == ([f"req:adopt-{rule}"] if answer == "y" else [])


@pytest.mark.parametrize("change", ["ports", "tags"])
def test_what_changed_while_it_asked_is_shown_again(
    lab: Lab, cli: Cli, typed: Typed, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """What is done is what was shown."""
    _, db, rule = by_hand(lab)
    typed("y\n")
    changes = {
        "ports": lambda: lab.modify(db, lab.raw_rules(db)[0], PortRange="22/22"),
        "tags": lambda: lab.tag(db, link_accept="sg-other"),
    }
    monkeypatch.setattr("typer.confirm", lambda *_args, **_options: changes[change]())
    assert cli("adopt", "--anyone-may-close", rule) == 1
    assert "changed or deleted since" in cli.err
    assert (len(lab.rules(db)), lab.reasons(db), lab.records("intent")) == (1, [], [])


def test_a_rule_of_ours_is_left_as_it_is(lab: Lab, cli: Cli) -> None:
    """Nothing to do, also for one that was never a person's, and as often as it is run."""
    _, _, db = lab.linked()
    [rule] = ids(lab, db)
    changes = lab.changes()
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 0
    assert "is a rule of link-peer already, held by tag: nothing to do" in cli.out
    assert lab.changes() == changes
    app, other_group = lab.group(), lab.group()
    adopted = person(lab, other_group, app)
    assert cli("adopt", "--anyone-may-close", adopted, "--yes") == 0
    changes = lab.changes()
    assert cli("adopt", "--anyone-may-close", adopted, "--yes") == 0
    assert f"by acs:ram::{HOME}:root: nothing to do" in cli.out
    assert lab.changes() == changes
