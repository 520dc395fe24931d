"""`link-peer close` and `reopen`: locks that are respected at once, and rules that are gone when the command ends."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from aliyun_local.api import Group, readings
from link_peer.domain import marker as markers
from link_peer.domain.model import TAG, Marker, RuleKey
from link_peer.domain.tags import parse_port

from tests.functional.command import CallerActions, Cli, Linked
from tests.functional.lab import HOME, MANAGED, PEER, REGION, Lab, party

pytestmark = pytest.mark.usefixtures("accesses", "peer_profile")

LOCK = "link-lock"


def test_a_group_is_closed_at_once(lab: Lab, links: Linked, cli: Cli) -> None:
    """With the other half of its mutual link, a record of each, and who did it; no sweep opens it again."""
    assert cli("close", links.app.id) == 0, cli.err
    assert links.counts() == [0, 0, 1, 1]
    assert lab.tags(links.app)[LOCK].startswith(f"link-peer close by acs:ram::{HOME}:")
    assert len(lab.tags(links.app)[LOCK]) <= 128
    record = lab.outcome()
    assert (record["outcome"], record["reason"]) == ("removed", "locked")
    assert record["claimed_by"].startswith(f"acs:ram::{HOME}:")
    assert (record["function"], record["actor"]) == ("close", record["claimed_by"])
    assert lab.records("intent")[-1]["event_id"] == record["event_id"]
    lab.sweep()
    lab.drain()
    assert links.counts() == [0, 0, 1, 1]
    assert "groups locked: 1; links closed: 1; rules left: 0" in cli.out
    assert f"To take it back:\nlink-peer reopen {links.app.id}@{HOME}\n" in cli.out
    assert "ask the person" not in cli.out  # who is the reader
    assert (cli("close", "sg-gone", "--yes"), "is named sg-gone@<account>" in cli.err) == (1, True)


def test_the_other_groups_of_a_locked_groups_instances_are_named(lab: Lab, cli: Cli) -> None:
    """A link may stand there. Those that are locked, too, are left out."""
    db, other_group, sealed = lab.group("*"), lab.group("*"), lab.group(tags={LOCK: ""})
    lab.instance(db, other_group, sealed)
    assert cli("close", db.id, "--yes", "--json") == 0, cli.err
    assert json.loads(cli.out)["other_groups"] == {f"{db.id}@{HOME}": [f"{other_group.id}@{HOME}"]}
    assert cli("close", db.id, "--yes") == 0, cli.err
    assert (
        f"The instances of {db.id}@{HOME} are also in {other_group.id}@{HOME}, which may admit what the lock keeps off."
        in cli.out
    )
    assert cli("close", db.id, other_group.id, "--yes", "--json") == 0, cli.err
    assert json.loads(cli.out)["other_groups"] == {}


def test_reopening_lets_tags_open_again(lab: Lab, links: Linked, cli: Cli) -> None:
    """The next sweep does it."""
    assert cli("close", links.app.id, links.cache.id) == 0
    assert links.counts() == [0, 0, 1, 0]
    assert cli("reopen", "--all") == 0, cli.err
    assert "locks removed: 2" in cli.out
    assert LOCK not in lab.tags(links.app)
    [locked], [opened] = (lab.records("observed", to=links.app.id, function=name) for name in ("close", "reopen"))
    value, consent = json.loads(locked["event_tags"])[LOCK], json.loads(opened["tags"])
    assert (value[:18], json.loads(locked["old_tags"])) == ("link-peer close by", {LOCK: None})
    assert (json.loads(opened["event_tags"]), json.loads(opened["old_tags"])) == ({LOCK: None}, {LOCK: value})
    assert json.loads(locked["tags"]) == {**consent, LOCK: value}
    lab.sweep()
    lab.drain()
    assert links.counts() == [1, 1, 1, 1]


def test_a_log_that_does_not_take_what_was_reopened_is_said(lab: Lab, links: Linked, cli: Cli) -> None:
    """The locks are off, and the exit code is 1."""
    assert cli("close", links.app.id) == 0
    lab.fault(service="sls", kind="error", times=None)
    assert cli("reopen", links.app.id) == 1
    assert "the audit log: it has no record of this" in cli.err
    assert LOCK not in lab.tags(links.app)


@pytest.mark.knobs(request_tags=True)
def test_home_is_locked_as_the_operator(accesses: CallerActions, lab: Lab, links: Linked, cli: Cli) -> None:
    """Whose role may write link-lock there: a person needs no more rights of their own."""
    accesses.clear()
    assert cli("close", links.cache.id) == 0
    assert cli("reopen", links.cache.id) == 0
    roles = {caller.role for caller, action in accesses if action in ("ecs:TagResources", "ecs:UntagResources")}
    assert roles == {"link-peer-operator"}


@pytest.mark.knobs(request_tags=False)
def test_home_is_locked_with_the_persons_keys_where_the_role_is_refused(lab: Lab, links: Linked, cli: Cli) -> None:
    """RAM may not tell a policy which tag a call is about; the condition of the operator's role then never holds."""
    assert cli("close", links.app.id, links.cache.id) == 0, cli.err
    assert links.counts() == [0, 0, 1, 0]
    assert cli("reopen", "--all") == 0, cli.err
    assert LOCK not in lab.tags(links.app)


def test_more_groups_are_locked_than_one_call_takes(lab: Lab, cli: Cli) -> None:
    """TagResources takes 50."""
    groups = [lab.group(tags={MANAGED: "true"}) for _ in range(51)]
    assert cli("close", "--all", "--yes") == 0, cli.err
    assert all(LOCK in lab.tags(group) for group in groups)
    assert cli("reopen", "--all") == 0, cli.err
    assert not any(LOCK in lab.tags(group) for group in groups)


def test_everything_is_closed(lab: Lab, links: Linked, cli: Cli) -> None:
    """In the other account with keys of it; asked first."""
    assert cli("close", "--all") == 2
    assert links.counts() == [1, 1, 1, 1]
    assert cli("close", "--all", "--yes", "--profile", "peer") == 0, cli.err
    assert links.counts() == [0, 0, 0, 0]
    assert all(LOCK in lab.tags(group) for group in links.groups)
    assert cli("close", "--all", "--yes", "--profile", "peer") == 0
    assert cli("reopen", "--account", PEER, "--profile", "peer") == 0
    assert [LOCK in lab.tags(group) for group in links.groups] == [True, False, True, True]


@pytest.mark.parametrize("scope", [("--all",), ("--account", HOME)])
def test_a_group_that_lost_its_managed_tag_is_closed_too(
    lab: Lab, links: Linked, cli: Cli, scope: tuple[str, ...]
) -> None:
    """Terraform removes tags that it does not know. A dry run changes nothing; a group without rules of link-peer is
    not locked."""
    other_group = lab.group()
    lab.tag(links.cache, **{MANAGED: None})
    records = len(lab.records())
    code, [closing] = cli.json("close", *scope, "--dry-run", "--profile", "peer")
    assert (code, closing["locked"]) == (0, [])
    calls = [change["command"] for change in closing["commands"] if links.cache.id in change["command"]]
    assert [call.split()[2] for call in calls] == ["TagResources", "RevokeSecurityGroup"]
    assert "link-peer close by" in calls[0]
    assert (links.counts(), len(lab.records()), LOCK in lab.tags(links.cache)) == ([1, 1, 1, 1], records, False)
    code, [closing] = cli.json("close", *scope, "--yes", "--profile", "peer")
    assert (code, closing["left"], links.counts()) == (0, [], [0, 0, 0, 0])
    assert f"{links.cache.id}@{HOME}" in closing["locked"]
    assert LOCK in lab.tags(links.cache)
    assert LOCK not in lab.tags(other_group)


@pytest.fixture(name="theirs")
def _theirs(lab: Lab) -> tuple[Linked, list[Group]]:
    """The links, and two groups of the other account that are linked with each other: one holds a rule."""
    groups = [lab.group("*", account=PEER), lab.group("*", account=PEER)]
    lab.instance(groups[0], tags={"link-peer": f"{groups[1].id}:tcp/6379"})
    lab.instance(groups[1])
    return Linked(lab), groups


@pytest.mark.knobs(request_tags=True, mfa_in_sessions=True)
@pytest.mark.parametrize("scope", [("--all",), ("--account", PEER), (PEER,), (HOME, PEER)])
def test_another_account_is_closed_by_its_closer_role(
    lab: Lab, cli: Cli, accesses: CallerActions, theirs: tuple[Linked, list[Group]], scope: tuple[str, ...]
) -> None:
    """Without keys of it: locked and emptied at once, for good, and reopened. Home's own role changes nothing there."""
    links, (_, other_group) = theirs
    accesses.clear()
    code, [closing] = cli.json("close", *scope, "--yes")
    assert (code, closing["left"], closing["unlocked"]) == (0, [], {}), cli.err
    account = next(account_row for account_row in closing["accounts"] if account_row["account"] == PEER)
    assert account == {"account": PEER, "entered": "closer", "locked": 2, "left": 0, "problem": "", "advice": []}
    for group in (links.db, other_group):
        assert (lab.rules(group), lab.tags(group)[LOCK].startswith("link-peer close by ")) == ([], True)
    writes = {"ecs:RevokeSecurityGroup", "ecs:TagResources", "ecs:UntagResources", "ecs:AuthorizeSecurityGroup"}
    assert {c.role for c, action in accesses if c.account == PEER and action in writes} == {"link-peer-closer"}
    for _ in range(2):
        lab.sweep()
        lab.drain()
    assert (lab.rules(links.db), lab.rules(other_group)) == ([], [])
    assert cli("reopen", *scope) == 0, cli.err
    assert LOCK not in lab.tags(links.db) | lab.tags(other_group)


@pytest.mark.knobs(request_tags=False, mfa_in_sessions=True)
def test_where_ram_does_not_know_the_tag_the_rules_go_and_that_is_said(
    lab: Lab, cli: Cli, theirs: tuple[Linked, list[Group]]
) -> None:
    """The closer's condition never holds then: its owner locks, with one command, else the sweep may open again."""
    links, (_, other_group) = theirs
    assert cli("close", PEER, "--yes") == 1
    assert (lab.rules(links.db), lab.rules(other_group)) == ([], [])
    assert "may open them again" in cli.out
    [command] = [line for line in cli.out.splitlines() if line.startswith("aliyun ")]
    assert all(group.id in command for group in (links.db, other_group))
    assert f"{other_group.id}@{PEER}: Forbidden.RAM" in cli.err
    assert "groups locked: 0; links closed: 2; rules left: 0" in cli.out


WITHOUT: dict[str, Callable[[Lab], object]] = {
    "left out": lambda lab: lab.cloud.identity.roles.pop(f"acs:ram::{PEER}:role/link-peer-closer"),
    "no MFA": lambda lab: lab.cloud.knobs.change({"mfa_in_sessions": False}),
}


@pytest.mark.knobs(mfa_in_sessions=True)
@pytest.mark.parametrize("cause", WITHOUT)
def test_an_account_without_a_closer_is_its_owners_and_its_rules_are_counted(
    lab: Lab, cli: Cli, theirs: tuple[Linked, list[Group]], cause: str
) -> None:
    """Nothing is done there but to the halves of home's links. One command for the account; its rules are left, and
    exit code 1 says so."""
    WITHOUT[cause](lab)
    links, (_, other_group) = theirs
    code, [closing] = cli.json("close", "--all", "--yes")
    assert (code, links.counts(), len(lab.rules(other_group))) == (1, [0, 0, 0, 0], 1)
    account = closing["accounts"][1]
    assert (account["entered"], account["locked"], account["left"]) == ("", 0, 1)
    assert ("EntityNotExist.Role" if cause == "left out" else "NoPermission") in account["problem"]
    [command] = account["advice"]
    assert f"--ResourceId.1 {other_group.id} --Tag.1.Key {LOCK}" in command
    assert LOCK not in lab.tags(other_group)
    assert [rule.endswith(f"on {other_group.id}@{PEER}") for rule in closing["left"]] == [True]
    assert cli("close", PEER, "--yes") == 1
    lines = cli.out.splitlines()
    assert lines[0].startswith(f"account {PEER}: not closed, because it could not be entered (")
    assert lines[1].startswith("aliyun ecs TagResources ")
    assert "groups locked: 0; links closed: 0; rules left: 1" in lines


@pytest.mark.parametrize("passed_on", readings()["mfa_in_sessions"])
def test_a_person_who_is_named_enters_without_the_operators_role(
    lab: Lab, links: Linked, cli: Cli, accesses: CallerActions, passed_on: bool
) -> None:
    """Their own session has MFA, whether or not one that they assumed has."""
    lab.cloud.knobs.change({"mfa_in_sessions": passed_on})
    role = lab.cloud.identity.roles[f"acs:ram::{PEER}:role/link-peer-closer"]
    role.trust = role.trust.replace("role/link-peer-operator", "root")
    accesses.clear()
    cli("close", PEER, "--yes")
    assert lab.rules(links.db) == []
    assert "link-peer-closer" in {caller.role for caller, _ in accesses}


@pytest.mark.knobs(mfa_in_sessions=True)
def test_what_cannot_be_read_is_unknown_and_never_none(lab: Lab, links: Linked, cli: Cli) -> None:
    """Its rules stand, or do not: nobody can tell. What could be closed is closed; the command to run again is
    given."""
    lab.fault(service="ecs", account=PEER, action="DescribeSecurityGroups", kind="error", times=None)
    code, [closing] = cli.json("close", "--all", "--yes")
    assert (code, links.counts()[0], links.counts()[2:]) == (1, 0, [0, 0])
    account = closing["accounts"][1]
    assert (account["left"], account["advice"]) == (None, [f"link-peer close {PEER} --yes"])
    assert cli("close", PEER, "--yes") == 1
    assert f"rules left: at least 0, unknown in {PEER}" in cli.out


@pytest.mark.knobs(request_tags=True, mfa_in_sessions=True)
def test_a_rule_that_lands_after_the_lock_goes_too(lab: Lab, links: Linked, cli: Cli) -> None:
    """A delivery may have judged the group before it was locked. What is seen after the closing is closed once more."""
    key = RuleKey(party(links.cache), str(party(links.app)), "", parse_port("tcp/1"))

    def lands() -> None:
        marker = Marker(HOME, "prod", key.id(HOME, "prod", REGION), (TAG,))
        permission = {"IpProtocol": "TCP", "PortRange": "1/1", "SourceGroupId": links.app.id, "Priority": "100"}
        lab.authorize(links.cache, **permission, Description=markers.render(marker))

    lab.meanwhile("RevokeSecurityGroup", lands, after=True)
    assert cli("close", links.cache.id) == 0, cli.err
    assert links.counts()[3] == 0


def test_what_could_not_be_removed_is_said(lab: Lab, links: Linked, cli: Cli) -> None:
    """The lock stands, so that the next sweep removes it. The exit code says that it is not done, and the command that
    removes what is left is given."""
    lab.fault(service="ecs", action="RevokeSecurityGroup", code="Forbidden.RAM", status=403, times=None)
    assert cli("close", links.cache.id) == 1
    rule = lab.raw_rules(links.cache)[0]["SecurityGroupRuleId"]
    assert f"still open: rule {rule}" in cli.err
    assert f"--SecurityGroupId {links.cache.id} --SecurityGroupRuleId.1 {rule}" in cli.out
    lab.cloud.faults.clear()
    lab.sweep()
    assert links.counts() == [1, 1, 1, 0]


@pytest.mark.knobs(request_tags=True)
def test_a_lock_that_meets_a_transient_error_is_tried_again(lab: Lab, links: Linked, cli: Cli) -> None:
    """Once everything else is closed: a rule that is gone without a lock may come back."""
    lab.fault(service="ecs", action="TagResources", kind="throttle")
    assert cli("close", links.cache.id) == 0, cli.err
    assert (LOCK in lab.tags(links.cache), links.counts()) == (True, [1, 1, 1, 0])


@pytest.mark.knobs(request_tags=True)
def test_one_group_that_cannot_be_locked_keeps_no_other_open(lab: Lab, links: Linked, cli: Cli) -> None:
    """Its tags are full, which its owner can do, or it is deleted meanwhile: TagResources then refuses all of its
    call."""
    full = lab.group(tags={MANAGED: "true"} | {f"team-{number}": "x" for number in range(19)})
    deleted_group = lab.group(tags={MANAGED: "true"})
    lab.meanwhile("TagResources", lambda: lab.call(HOME, "DeleteSecurityGroup", {"SecurityGroupId": deleted_group.id}))
    assert cli("close", "--account", HOME, "--yes") == 1
    assert links.counts()[0] == links.counts()[3] == 0
    assert LOCK in lab.tags(links.app)
    assert f"{full.id}@{HOME}: OperationDenied.QuotaExceed" in cli.err
    assert f"{deleted_group.id}@{HOME}: InvalidResourceId" in cli.err


@pytest.mark.knobs(request_tags=True)
def test_an_account_that_throttles_every_call_delays_no_closing(lab: Lab, links: Linked, cli: Cli) -> None:
    """Its owner can use up its rate limit. All groups of home are closed before the command waits for it, also the half
    of a mutual link with it; what is open there is said."""
    lab.fault(service="ecs", account=PEER, kind="throttle", times=None)
    began, closed = lab.cloud.clock.now(), []
    lab.meanwhile("RevokeSecurityGroup", lambda: closed.append(lab.cloud.clock.now()), skip=1, after=True)
    assert cli("close", "--all", "--yes") == 1
    assert links.counts() == [0, 1, 0, 0]
    assert closed[0] - began < 60
    assert f"{links.db.id}@{PEER}: " in cli.err
    lab.cloud.faults.clear()
    lab.sweep()
    assert links.counts() == [0, 0, 0, 0]


@pytest.mark.knobs(request_tags=True, mfa_in_sessions=True)
def test_what_goes_well_the_second_time_is_done(lab: Lab, links: Linked, cli: Cli) -> None:
    """A peer whose account throttles for a minute: its half is closed when that is over, and nothing is left to say."""
    lab.fault(service="ecs", account=PEER, action="DescribeSecurityGroupAttribute", kind="throttle", times=8)
    assert cli("close", "--all", "--yes") == 0, cli.err
    assert links.counts() == [0, 0, 0, 0]
    assert "rules left: 0" in cli.out


def test_the_lock_of_another_stays(lab: Lab, links: Linked, cli: Cli) -> None:
    """Unless it is forced; closing keeps its value."""
    lab.tag(links.cache, link_lock="audit 2026")
    assert cli("close", links.cache.id) == 0
    assert (lab.tags(links.cache)[LOCK], links.counts()) == ("audit 2026", [1, 1, 1, 0])
    assert cli("reopen", links.cache.id) == 1
    assert "stays locked (audit 2026)" in cli.out
    assert cli("reopen", "--all") == 0
    assert LOCK in lab.tags(links.cache)
    code, [reopening] = cli.json("reopen", links.cache.id, "--force", "--dry-run")
    assert (code, reopening["reopened"], LOCK in lab.tags(links.cache)) == (0, [], True)
    assert "UntagResources" in reopening["commands"][0]["command"]
    assert cli("reopen", links.cache.id, "--force") == 0
    assert LOCK not in lab.tags(links.cache)


@pytest.mark.knobs(request_tags=True, mfa_in_sessions=True)
@pytest.mark.parametrize("by", ["link-peer close by acs:ram::{account}:root", "audit 2026"])
def test_a_closer_role_takes_off_no_lock_of_the_accounts_owner(lab: Lab, cli: Cli, by: str) -> None:
    """It is given to close. The owner's own keys take it off."""
    links = Linked(lab)
    value = by.format(account=PEER)
    lab.tag(links.db, link_lock=value)
    assert cli("close", "--all", "--yes") == 0, cli.err
    assert cli("reopen", "--all", "--force") == 0, cli.err
    assert (lab.tags(links.db)[LOCK], [LOCK in lab.tags(group) for group in links.groups].count(True)) == (value, 1)
    assert f"{links.db.id}@{PEER} stays locked ({value})" in cli.out
    assert cli("reopen", links.db.id + f"@{PEER}", "--force", "--profile", "peer") == 0, cli.err
    assert LOCK not in lab.tags(links.db)


def test_a_pause_does_not_stop_a_closing(lab: Lab, links: Linked, cli: Cli) -> None:
    """A close is carried out all the same. That the functions have another policy is said."""
    lab.publish()
    lab.policy(paused=True)
    assert cli("close", links.cache.id) == 0
    assert links.counts() == [1, 1, 1, 0]
    assert "the functions have another policy" in cli.err


@pytest.mark.parametrize("option", ["--yes", "--dry-run"])
def test_an_account_without_rules_is_named(lab: Lab, cli: Cli, option: str) -> None:
    """A group may have the name of an account, and be what a person meant."""
    lab.group(account=PEER, name="b@aliyun.com")
    assert cli("close", "b@aliyun.com", option) == 0, cli.err
    assert f"No group of account {PEER} (b@aliyun.com) has a rule of link-peer." in cli.out
    assert cli("close", lab.group().id, option) == 0, cli.err
    assert "No group" not in cli.out


def test_an_owner_locks_with_keys_of_another_account(
    lab: Lab, links: Linked, cli: Cli, request: pytest.FixtureRequest
) -> None:
    """The rules are removed by the next sweep, since these keys cannot enter home."""
    request.getfixturevalue("peer_keys")
    assert cli("close", links.db.id) == 0, cli.err
    assert "groups locked: 1. The keys are not those of home: the next sweep removes the rules." in cli.out
    assert "rules left" not in cli.out  # they are: nobody looked
    assert LOCK in lab.tags(links.db)
    code, [closing] = cli.json("close", links.db.id)
    assert (code, closing["left"]) == (0, None)
