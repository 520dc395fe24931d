"""`link-peer accept` and `withdraw`: the exact tag entries, with keys of the group's account."""

from __future__ import annotations

import json

import pytest

from tests.functional.command import CallerActions, Cli, Typed, use_keys
from tests.functional.lab import HOME, PEER, REGION, Lab

pytestmark = pytest.mark.usefixtures("accesses", "peer_profile")

ACCEPT = "link-accept"
FULL = f"sg-{'a' * 60},sg-{'b' * 59}"
"""A value with no room for another entry."""


def test_consent_opens_what_was_denied(lab: Lab, cli: Cli) -> None:
    """As the function reads it; the same again is nothing to do."""
    app, db = lab.group(), lab.group()
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    assert lab.auto_link(lab.event(instance)) == {"denied": 1}
    assert cli("accept", db.id, f"{app.id}:tcp/3306") == 0, cli.err
    assert "Requests that were denied for it are not tried again: post them again." in cli.out
    assert lab.tags(db) == {ACCEPT: f"{app.id}:tcp/3306"}
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    changes = lab.changes()
    assert cli("accept", db.id, f"{app.id}@{HOME}:tcp/3306") == 0
    assert "nothing to do" in cli.out
    assert lab.changes() == changes


def test_an_entry_is_a_tag_of_its_own_as_long_as_a_key_is_free(lab: Lab, cli: Cli) -> None:
    """Then it joins the first value with room; entries that nobody can read stay. One longer than a tag is divided.
    Where there is no room, the denial says what to do."""
    db = lab.group(tags={ACCEPT: "sg-one what?", f"{ACCEPT}.x": "sg-" + "a" * 60})
    assert cli("accept", db.id, "sg-two:udp/53+tcp/53") == 0
    ports = "+".join(f"tcp/{port}" for port in range(40001, 40017))
    assert cli("accept", db.id, f"sg-two:{ports}") == 0
    tags = lab.tags(db)
    assert (tags[ACCEPT], tags[f"{ACCEPT}.2"]) == ("sg-one what?", "sg-two:tcp/53+udp/53")
    entries = [tags.pop(f"{ACCEPT}.3"), tags.pop(f"{ACCEPT}.4")]
    assert set(tags) == {ACCEPT, f"{ACCEPT}.2", f"{ACCEPT}.x"}
    assert all(len(value) <= 128 for value in entries)
    entry_ports = [port for entry in entries for port in entry.removeprefix("sg-two:").split("+")]
    assert sorted(entry_ports) == sorted(ports.split("+"))
    lab.tag(db, **{f"{ACCEPT}.{number}": FULL for number in range(3, 10)})
    assert cli("accept", db.id, "sg-two:icmp") == 0
    assert lab.tags(db)[ACCEPT] == "sg-one,what?,sg-two:icmp"
    lab.tag(db, **dict.fromkeys((ACCEPT, f"{ACCEPT}.2"), FULL))
    before = lab.tags(db)
    assert cli("accept", db.id, "sg-two:icmp") == 1
    assert "no room for the entry sg-two:icmp" in cli.err
    assert "link-peer withdraw" in cli.err
    assert lab.tags(db) == before


def test_who_gave_and_withdrew_consent_is_in_the_operators_log(lab: Lab, cli: Cli) -> None:
    """One record of each call: what it set and what was there. Where the log takes no record, nothing waits for it."""
    db = lab.group("sg-one")
    calls = []
    for command in (("accept", db.id, "sg-two"), ("withdraw", db.id, "sg-two", "--yes")):
        assert cli(*command) == 0, cli.err
        calls.append(lab.cloud.trail.newest(HOME))
    consent_record, withdrawal_record = lab.records("observed")
    second, principal = f"{ACCEPT}.2", f"acs:ram::{HOME}:root"
    for record, call, command in zip((consent_record, withdrawal_record), calls, ("accept", "withdraw"), strict=True):
        assert (record["function"], record["claimed_by"], record["actor"]) == (command, principal, principal)
        assert (record["event_call"], record["event_request"]) == (call["eventName"], call["requestId"])
    assert [json.loads(consent_record[name]) for name in ("event_tags", "old_tags")] == [
        {second: "sg-two"},
        {second: None},
    ]
    assert [json.loads(withdrawal_record[name]) for name in ("event_tags", "old_tags")] == [
        {second: None},
        {second: "sg-two"},
    ]
    assert [json.loads(record["tags"]) for record in (consent_record, withdrawal_record)] == [
        {ACCEPT: "sg-one", second: "sg-two"},
        {ACCEPT: "sg-one"},
    ]
    world, end = lab.cloud.world, int(lab.cloud.clock.now()) + 9
    assert len(lab.cloud.sls.search(HOME, world.audit_project, f"{world.audit_logstore}-operators", 0, end).logs) == 2
    lab.fault(service="sls", kind="error", times=None)
    before = lab.cloud.faults.count("sls")
    assert cli("accept", db.id, "sg-two") == 0
    assert lab.cloud.faults.count("sls") - before == 1
    assert cli.err.startswith("the audit log has no record of this change: the audit log cannot be written: ")


@pytest.mark.parametrize("moment", ["DescribeSecurityGroups", "TagResources"])
def test_consent_that_is_withdrawn_meanwhile_stays_withdrawn(lab: Lab, cli: Cli, moment: str) -> None:
    """By another person, after `accept` read the tags or right before it writes them: nothing but its own entry is
    written."""
    db = lab.group("sg-one", "sg-old", tags={f"{ACCEPT}.2": "sg-late"})
    withdrawn = {ACCEPT: "sg-one", f"{ACCEPT}.2": None}
    lab.meanwhile(moment, lambda: lab.tag(db, **withdrawn), after=moment == "DescribeSecurityGroups")
    assert cli("accept", db.id, "sg-two") == 0, cli.err
    assert lab.tags(db) == {ACCEPT: "sg-one", f"{ACCEPT}.3": "sg-two"}


@pytest.mark.parametrize("command", [("accept", "sg-two"), ("withdraw", "sg-one", "--yes")])
def test_a_value_that_was_changed_meanwhile_is_not_written_again(lab: Lab, cli: Cli, command: tuple[str, ...]) -> None:
    """Where no key is free, or an entry is taken from among others: it is read again right before, and refused."""
    full = dict.fromkeys((f"{ACCEPT}.{number}" for number in range(2, 10)), FULL)
    db = lab.group("sg-one", "sg-old", tags=full)
    lab.meanwhile("DescribeSecurityGroups", lambda: lab.tag(db, **{ACCEPT: "sg-one"}), after=True)
    assert cli(command[0], db.id, *command[1:]) == 1
    assert "changed meanwhile" in cli.err
    assert lab.tags(db) == {**full, ACCEPT: "sg-one"}


def test_consent_gets_an_end_and_another(lab: Lab, cli: Cli) -> None:
    """An entry for the same party and ports is replaced, so that a shorter end counts."""
    db = lab.group("sg-one:icmp")
    assert cli("accept", db.id, "sg-one:icmp", "--until", "2099-01-01T00:00:00Z") == 0
    assert lab.tags(db) == {ACCEPT: "sg-one:icmp~20990101T000000Z"}
    assert cli("accept", db.id, "sg-one:icmp", "--until", "1d") == 0
    assert lab.tags(db)[ACCEPT].startswith("sg-one:icmp~20")
    assert "2099" not in lab.tags(db)[ACCEPT]


def test_it_takes_keys_of_the_groups_account(lab: Lab, cli: Cli) -> None:
    """A role of link-peer is never used to write consent: without keys, the owner gets the command."""
    db = lab.group(account=PEER)
    assert cli("accept", f"{db.id}@{PEER}", f"sg-app@{HOME}") == 1
    assert f"aliyun ecs TagResources --RegionId {REGION}" in cli.out
    assert lab.tags(db) == {}
    assert cli("accept", db.id, f"sg-app@{HOME}", "--profile", "peer") == 0, cli.err
    assert lab.tags(db) == {ACCEPT: f"sg-app@{HOME}"}


def test_it_writes_with_the_persons_own_keys(accesses: CallerActions, lab: Lab, cli: Cli) -> None:
    """In the account of the functions, too."""
    db = lab.group()
    accesses.clear()
    assert cli("accept", db.id, "sg-app") == 0
    assert cli("withdraw", db.id, "sg-app", "--yes") == 0
    assert {(caller.role, action) for caller, action in accesses if action.startswith("ecs:")} == {
        (None, "ecs:DescribeSecurityGroups"),
        (None, "ecs:DescribeSecurityGroupAttribute"),
        (None, "ecs:TagResources"),
        (None, "ecs:UntagResources"),
    }


def test_a_denied_request_is_accepted_by_its_id(lab: Lab, cli: Cli) -> None:
    """Both groups of a mutual link; then the same request is applied."""
    app, db = lab.group(), lab.group(account=PEER)
    for group in (app, db):
        lab.instance(group)
    assert lab.cross_account(lab.request(app, db, requested_by="team-orders")) == {"denied": 1}
    code, [change] = cli.json("accept", "chg-1", "--dry-run")
    assert (code, change["denial"]["claimed_by"]) == (0, "team-orders")
    assert [(group["written"], "TagResources" in group["commands"][0]) for group in change["groups"]] == [
        (False, True)
    ] * 2
    assert cli("accept", "chg-1") == 2  # it asks, and there is no terminal
    assert (lab.tags(app), lab.tags(db)) == ({}, {})
    assert cli("accept", "chg-1", "--yes", "--profile", "peer", "--until", "30d") == 0, cli.err
    assert lab.tags(app)[ACCEPT].startswith(f"{db.id}@{PEER}~")
    assert lab.cross_account(lab.request(app, db, request_id="chg-2")) == {"applied": 1}
    entry = lab.tags(app)[ACCEPT]
    assert cli("accept", "chg-1", "--yes", "--profile", "peer") == 0
    assert "now: the link stands, so there is nothing to do" in cli.out
    assert lab.tags(app)[ACCEPT] == entry  # its end, too


def test_another_tenants_request_with_the_same_id_is_not_accepted(lab: Lab, cli: Cli) -> None:
    """An id of a request is its sender's choice: where two links were denied under one, nothing is written until the
    link itself is named, whose id no sender chooses."""
    app, other_group, db = lab.group(), lab.group(account=PEER), lab.group()
    for group in (app, other_group, db):
        lab.instance(group)
    lab.cross_account(lab.request(app, db, "icmp"))
    denied_link = lab.outcome()["link"]
    lab.cross_account(lab.request(other_group, db, "icmp"))
    assert cli("accept", "chg-1", "--yes") == 1
    assert f"{denied_link} ({app.id} -> {db.id}, through link-peer-requests)" in cli.err
    assert lab.tags(db) == {}
    lab.cross_account(lab.request(other_group, db, "icmp", request_id=denied_link))
    assert cli("accept", denied_link, "--yes") == 0, cli.err
    assert lab.tags(db) == {ACCEPT: f"{app.id}:icmp"}


@pytest.mark.parametrize("answer", ["y", "n"])
def test_it_asks_before_it_does_what_a_denial_advised(lab: Lab, cli: Cli, typed: Typed, answer: str) -> None:
    """After showing who asked for what."""
    app, db = lab.group(), lab.group()
    for group in (app, db):
        lab.instance(group)
    lab.cross_account(lab.request(app, db, "icmp", requested_by="team-orders"))
    typed(f"{answer}\n")
    assert cli("accept", "chg-1") == (0 if answer == "y" else 1)
    assert "claimed_by: team-orders" in cli.out
    assert cli.out.count(f"+ {db.id}@{HOME} accepts {app.id}:icmp") == 1
    assert lab.tags(db) == ({ACCEPT: f"{app.id}:icmp"} if answer == "y" else {})


def test_tags_that_changed_meanwhile_are_shown_again(
    lab: Lab, cli: Cli, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written is what was shown."""
    app, db = lab.group(), lab.group()
    for group in (app, db):
        lab.instance(group)
    lab.cross_account(lab.request(app, db, "icmp"))
    typed("y\n")
    monkeypatch.setattr("typer.confirm", lambda *_args, **_options: lab.tag(db, link_accept="sg-other"))
    assert cli("accept", "chg-1") == 1
    assert "changed meanwhile" in cli.err
    assert lab.tags(db) == {ACCEPT: "sg-other"}


def test_an_id_is_exact_and_of_this_region(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search of SLS finds parts of words, and one log may serve several regions."""
    app, db = lab.group(), lab.group()
    lab.cross_account(lab.request(app, db, "icmp"))
    assert cli("accept", "chg", "--yes") == 1
    assert "no denial of chg" in cli.err
    monkeypatch.setenv("LINK_PEER_REGION", "cn-beijing")
    assert cli("accept", "chg-1", "--yes") == 1
    assert "of region cn-qingdao" in cli.err


def test_a_denied_tag_is_accepted_by_the_id_of_its_link(lab: Lab, cli: Cli) -> None:
    """The field `link` of its record. `audit` prints the command that does the same without the log."""
    app, db = lab.group(), lab.group()
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:icmp"})))
    link = lab.outcome()["link"]
    assert cli("audit") == 0
    assert f"link-peer accept {db.id}@{HOME} {app.id}:icmp" in cli.out
    assert cli("accept", link, "--yes") == 0, cli.err
    assert lab.tags(db) == {ACCEPT: f"{app.id}:icmp"}
    assert cli("accept", "0123456789abcdef", "--yes") == 1
    assert "no denial" in cli.err


def test_a_name_of_the_policy_is_written_as_an_id(lab: Lab, cli: Cli) -> None:
    """A name that is changed later consents to nobody else. An entry that a person wrote by name is known as the
    same."""
    app, db = lab.group(), lab.group()
    lab.policy(names={"ledger": f"{db.id}@{HOME}", "app": f"{app.id}@{HOME}"})
    assert cli("accept", "ledger", "app:tcp/1") == 0, cli.err
    assert lab.tags(db) == {ACCEPT: f"{app.id}:tcp/1"}
    lab.tag(db, link_accept="app:tcp/2")
    assert cli("accept", "ledger", "app:tcp/2") == 0
    assert lab.tags(db) == {ACCEPT: "app:tcp/2"}
    assert cli("withdraw", "ledger", "app:tcp/2", "--yes") == 0, cli.err
    assert lab.tags(db) == {}
    assert cli("accept", "ledgers", "app") == 2


@pytest.mark.parametrize("command", ["accept", "withdraw"])
def test_an_entry_whose_port_has_no_protocol_is_refused_with_the_likely_one(lab: Lab, cli: Cli, command: str) -> None:
    """And nothing is written."""
    app, db = lab.group(), lab.group("*")
    assert cli(command, db.id, f"{app.id}:3306") == 2
    assert cli.err.endswith("'3306' names no protocol: did you mean tcp/3306?\n")
    assert lab.tags(db)["link-accept"] == "*"


def test_withdrawing_takes_the_exact_entry(lab: Lab, cli: Cli) -> None:
    """The others stay, unless all that name the party are meant; an empty tag is deleted."""
    db = lab.group("sg-one:tcp/1", "sg-one:tcp/1+tcp/2", "sg-two", "*", "what?")
    assert cli("withdraw", db.id, "sg-one:tcp/2", "--yes") == 2
    assert "it has link-accept=sg-one:tcp/1, link-accept=sg-one:tcp/1+tcp/2, link-accept=*" in cli.err
    assert cli("withdraw", db.id, "sg-one:tcp/2+tcp/1", "--yes") == 0, cli.err
    assert lab.tags(db) == {ACCEPT: "sg-one:tcp/1,sg-two,*,what?"}
    assert "still accepts that party: link-accept=sg-one:tcp/1, link-accept=*" in cli.out
    assert cli("withdraw", db.id, "sg-one", "--all", "--yes") == 0
    assert lab.tags(db) == {ACCEPT: "sg-two,*,what?"}
    alone = lab.group("sg-two~20990101T000000Z")
    assert cli("withdraw", alone.id, "sg-two~20990101T000001Z") == 2
    assert cli("withdraw", alone.id, "sg-two", "--yes") == 0
    assert lab.tags(alone) == {}


@pytest.mark.parametrize(
    ("account", "next_step"),
    [
        (HOME, "To close it now: link-peer sweep"),
        (PEER, f"With keys of account {HOME}, this closes it now: link-peer sweep"),
    ],
)
def test_withdrawing_advises_a_sweep_to_whoever_can_run_it(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, account: str, next_step: str
) -> None:
    """Keys of another account cannot run one."""
    db = lab.group("sg-one", account=account)
    use_keys(lab.cloud, monkeypatch, account)
    assert cli("withdraw", db.id, "sg-one", "--yes") == 0, cli.err
    assert f"by the next sweep. {next_step}\n" in cli.out


@pytest.mark.parametrize("answer", ["y", "n"])
def test_withdrawing_says_what_it_closes_and_asks(lab: Lab, cli: Cli, typed: Typed, answer: str) -> None:
    """The links that stand by that entry alone, each with its rule and who wants it. Without a terminal it is
    refused."""
    app, other_group, db = lab.group(), lab.group(), lab.group()
    lab.tag(db, link_accept=f"{app.id},{app.id}:tcp/1,{other_group.id}")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1 {db.id}:tcp/2"})
    lab.auto_link(lab.event(instance))
    target = lab.instance(db)
    lab.cross_account(lab.request(instance, target, "tcp/3"))
    lab.cross_account(lab.request(other_group, db, "tcp/4", request_id="chg-2"))
    rules = {rule["PortRange"].split("/")[0]: rule["SecurityGroupRuleId"] for rule in lab.raw_rules(db)}
    assert cli("withdraw", db.id, app.id) == 2
    assert "--yes" in cli.err
    code, [change] = cli.json("withdraw", db.id, app.id, "--dry-run")
    assert (code, lab.tags(db)[ACCEPT]) == (0, f"{app.id},{app.id}:tcp/1,{other_group.id}")
    assert change["groups"][0]["closes"] == [
        f"tcp/2 from {app.id}@{HOME} to {db.id}@{HOME}: rule {rules['2']} (tag)",
        f"tcp/3 from {instance.id}@{HOME} to {target.id}@{HOME}: rule {rules['3']} (req:chg-1)",
    ]
    typed(f"{answer}\n")
    assert cli("withdraw", db.id, app.id) == (0 if answer == "y" else 1)
    assert cli.out.count("closes tcp/") == 2
    entry_prefix = "" if answer == "y" else f"{app.id},"
    assert lab.tags(db)[ACCEPT] == f"{entry_prefix}{app.id}:tcp/1,{other_group.id}"
    lab.sweep()
    assert len(lab.rules(db)) == (2 if answer == "y" else 4)


def test_consent_is_withdrawn_though_its_rules_cannot_be_read(lab: Lab, cli: Cli) -> None:
    """Closing needs nobody's leave."""
    db = lab.group("sg-app")
    lab.fault(service="ecs", action="DescribeSecurityGroupAttribute", code="Forbidden.RAM", status=403, times=None)
    assert cli("withdraw", db.id, "sg-app", "--yes") == 0, cli.err
    assert "cannot be determined now" in cli.out
    assert lab.tags(db) == {}


def test_a_group_that_is_not_there_is_named(cli: Cli) -> None:
    """With its account."""
    assert cli("accept", "sg-none", "sg-app") == 1
    assert f"sg-none does not exist in account {HOME}" in cli.err


def test_consent_to_reach_others_says_where_it_means_nothing(lab: Lab, cli: Cli) -> None:
    """On a basic group."""
    for kind, warnings in (("normal", 1), ("enterprise", 0)):
        group = lab.group(type=kind)
        assert cli("accept", group.id, "sg-db", "--egress") == 0
        assert cli.err.count(f"link-egress means nothing on {group.id}@{HOME}") == warnings


def test_whom_a_group_may_reach_has_keys_of_its_own(lab: Lab, cli: Cli) -> None:
    """With `--egress`; `withdraw --egress` takes exactly that entry off, and consent of the other end stays."""
    app = lab.group("sg-db", type="enterprise")
    for ports in ("tcp/1", "tcp/2", "tcp/3"):
        assert cli("accept", app.id, f"sg-db:{ports}", "--egress", "--until", "30d") == 0, cli.err
    end = "~20261225T000000Z"
    egress = {key: value for key, value in lab.tags(app).items() if "egress" in key}
    assert egress == {
        "link-egress": f"sg-db:tcp/1{end}",
        "link-egress.2": f"sg-db:tcp/2{end}",
        "link-egress.3": f"sg-db:tcp/3{end}",
    }
    assert f"+ {app.id}@{HOME} may reach sg-db:tcp/3{end}" in cli.out
    assert cli("accept", app.id, "sg-db:tcp/4", "--egress") == 0, cli.err
    assert lab.tags(app)["link-egress"] == f"sg-db:tcp/1{end},sg-db:tcp/4"
    assert cli("withdraw", app.id, "sg-db:tcp/2", "--egress", "--yes") == 0, cli.err
    assert f"The group may still reach that party: link-egress=sg-db:tcp/1{end}" in cli.out
    assert lab.tags(app).keys() == {"link-accept", "link-egress", "link-egress.3"}
    assert cli("withdraw", app.id, "sg-db", "--egress", "--yes") == 2
    assert f"{app.id} has no entry sg-db; it has link-egress=" in cli.err
    assert cli("withdraw", app.id, "sg-db", "--egress", "--all", "--yes") == 0, cli.err
    assert lab.tags(app) == {"link-accept": "sg-db"}
    [record] = lab.records("observed", to=app.id, function="withdraw")[-1:]
    assert json.loads(record["event_tags"]).keys() <= {"link-egress", "link-egress.3"}


def test_a_denial_says_itself_at_which_end_consent_is_missing(lab: Lab, cli: Cli) -> None:
    assert cli("accept", "chg-1", "--egress") == 2
    assert "--egress: a denial says itself at which end" in cli.err
