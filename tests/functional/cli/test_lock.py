"""`link-peer close` and `reopen`: locks that are respected at once, and rules that are gone when the command ends."""

from __future__ import annotations

import pytest

from tests.functional.command import Asked, Cli, Linked
from tests.functional.lab import HOME, MANAGED, PEER, Lab

pytestmark = pytest.mark.usefixtures("asked", "peer_profile")

LOCK = "link-lock"


def test_a_group_is_closed_at_once(lab: Lab, cli: Cli) -> None:
    """With the other half of its mutual link, a record of each, and who did it; no sweep opens it again."""
    links = Linked(lab)
    assert cli("close", links.app.id) == 0, cli.err
    assert links.counts() == [0, 0, 1, 1]
    assert lab.tags(links.app)[LOCK].startswith(f"link-peer close by acs:ram::{HOME}:")
    assert len(lab.tags(links.app)[LOCK]) <= 128
    record = lab.outcome()
    assert (record["outcome"], record["reason"]) == ("removed", "locked")
    assert record["claimed_by"].startswith(f"acs:ram::{HOME}:")
    assert lab.records("intent")[-1]["event_id"] == record["event_id"]
    lab.sweep()
    lab.drain()
    assert links.counts() == [0, 0, 1, 1]
    assert "groups locked: 1; links closed: 1; rules left: 0" in cli.out


def test_reopening_lets_tags_open_again(lab: Lab, cli: Cli) -> None:
    """The next sweep does it."""
    links = Linked(lab)
    assert cli("close", links.app.id, links.cache.id) == 0
    assert links.counts() == [0, 0, 1, 0]
    assert cli("reopen", "--all") == 0, cli.err
    assert "locks taken off: 2" in cli.out
    assert LOCK not in lab.tags(links.app)
    lab.sweep()
    lab.drain()
    assert links.counts() == [1, 1, 1, 1]


@pytest.mark.knobs(request_tags=True)
def test_home_is_locked_as_the_operator(asked: Asked, lab: Lab, cli: Cli) -> None:
    """Whose role may write link-lock there: a person needs no more rights of their own."""
    links = Linked(lab)
    asked.clear()
    assert cli("close", links.cache.id) == 0
    assert cli("reopen", links.cache.id) == 0
    roles = {caller.role for caller, action in asked if action in ("ecs:TagResources", "ecs:UntagResources")}
    assert roles == {"link-peer-operator"}


@pytest.mark.knobs(request_tags=False)
def test_home_is_locked_with_the_persons_keys_where_the_role_is_refused(lab: Lab, cli: Cli) -> None:
    """RAM may not tell a policy which tag a call is about; the condition of the operator's role then never holds."""
    links = Linked(lab)
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


def test_everything_is_closed(lab: Lab, cli: Cli) -> None:
    """In the other account with keys of it; asked first."""
    links = Linked(lab)
    assert cli("close", "--all") == 2
    assert links.counts() == [1, 1, 1, 1]
    assert cli("close", "--all", "--yes", "--profile", "peer") == 0, cli.err
    assert links.counts() == [0, 0, 0, 0]
    assert all(LOCK in lab.tags(group) for group in links.groups)
    assert cli("close", "--all", "--yes", "--profile", "peer") == 0
    assert cli("reopen", "--account", PEER, "--profile", "peer") == 0
    assert [LOCK in lab.tags(group) for group in links.groups] == [True, False, True, True]


@pytest.mark.parametrize("scope", [("--all",), ("--account", HOME)])
def test_a_group_that_lost_its_managed_tag_is_closed_too(lab: Lab, cli: Cli, scope: tuple[str, ...]) -> None:
    """Terraform removes tags that it does not know. A group without rules of link-peer is not locked."""
    links = Linked(lab)
    other = lab.group()
    lab.tag(links.cache, **{MANAGED: None})
    code, [shown] = cli.json("close", *scope, "--dry-run", "--profile", "peer")
    assert code == 0
    assert [links.cache.id in change["command"] for change in shown["commands"]].count(True) == 2
    assert links.counts() == [1, 1, 1, 1]
    code, [shown] = cli.json("close", *scope, "--yes", "--profile", "peer")
    assert (code, shown["left"], links.counts()) == (0, [], [0, 0, 0, 0])
    assert f"{links.cache.id}@{HOME}" in shown["locked"]
    assert LOCK in lab.tags(links.cache)
    assert LOCK not in lab.tags(other)


def test_without_keys_of_an_account_its_owner_gets_the_command(lab: Lab, cli: Cli) -> None:
    """Link-peer's own role may not lock there; home's half of the link goes, and so does theirs."""
    links = Linked(lab)
    code, [shown] = cli.json("close", "--all", "--yes")
    assert (code, links.counts()) == (1, [0, 0, 0, 0])
    assert list(shown["foreign"]) == [f"{links.db.id}@{PEER}"]
    assert f"--ResourceId.1 {links.db.id} --Tag.1.Key {LOCK}" in shown["foreign"][f"{links.db.id}@{PEER}"]
    assert (LOCK in lab.tags(links.db), shown["left"]) == (False, [])


def test_a_group_that_was_not_locked_is_counted(lab: Lab, cli: Cli) -> None:
    """Nobody may take the rules that stay for closed ones. The command for its owner is a line of its own."""
    links = Linked(lab)
    assert cli("close", f"{links.db.id}@{PEER}") == 1
    lines = cli.out.splitlines()
    assert lines[1].startswith("aliyun ecs TagResources ")
    assert "groups locked: 0; links closed: 0; rules left: 0" in lines
    assert "groups not locked: 1. Their rules may stay until their owners lock them." in lines
    assert links.counts() == [1, 1, 1, 1]


def test_a_dry_run_closes_nothing(lab: Lab, cli: Cli) -> None:
    """It prints the lock, and what that removes."""
    links = Linked(lab)
    before = (links.counts(), len(lab.records()), lab.tags(links.cache))
    code, [shown] = cli.json("close", links.cache.id, "--dry-run")
    assert (code, shown["locked"]) == (0, [])
    assert [change["command"].split()[2] for change in shown["commands"]] == ["TagResources", "RevokeSecurityGroup"]
    assert "link-peer close by" in shown["commands"][0]["command"]
    assert (links.counts(), len(lab.records()), lab.tags(links.cache)) == before


def test_what_could_not_be_removed_is_said(lab: Lab, cli: Cli) -> None:
    """The lock stands, so that the next sweep removes it; the exit code says that it is not done."""
    links = Linked(lab)
    lab.fault(service="ecs", action="RevokeSecurityGroup", code="Forbidden.RAM", status=403, times=None)
    assert cli("close", links.cache.id) == 1
    assert "still open: rule" in cli.err
    lab.cloud.faults.clear()
    lab.sweep()
    assert links.counts() == [1, 1, 1, 0]


def test_a_transient_error_is_said(lab: Lab, cli: Cli) -> None:
    """When it outlasts the command's patience."""
    links = Linked(lab)
    lab.fault(service="ecs", action="RevokeSecurityGroup", kind="error", times=None)
    assert cli("close", links.cache.id) == 1
    assert f"{links.cache.id}@{HOME}: " in cli.err


@pytest.mark.knobs(request_tags=True)
def test_one_group_that_cannot_be_locked_keeps_no_other_open(lab: Lab, cli: Cli) -> None:
    """Its tags are full, which its owner can do, or it is deleted meanwhile: TagResources then refuses all of its call."""
    links = Linked(lab)
    full = lab.group(tags={MANAGED: "true"} | {f"team-{number}": "x" for number in range(19)})
    gone = lab.group(tags={MANAGED: "true"})
    lab.meanwhile("TagResources", lambda: lab.call(HOME, "DeleteSecurityGroup", {"SecurityGroupId": gone.id}))
    assert cli("close", "--account", HOME, "--yes") == 1
    assert links.counts()[0] == links.counts()[3] == 0
    assert LOCK in lab.tags(links.app)
    assert f"{full.id}@{HOME}: OperationDenied.QuotaExceed" in cli.err
    assert f"{gone.id}@{HOME}: InvalidResourceId" in cli.err


@pytest.mark.knobs(request_tags=True)
def test_an_account_that_throttles_every_call_delays_no_closing(lab: Lab, cli: Cli) -> None:
    """Its owner can use up its rate limit. All groups of home are closed before the command waits for it, also the half of a
    mutual link with it; what is open there is said."""
    links = Linked(lab)
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


def test_the_lock_of_another_stays(lab: Lab, cli: Cli) -> None:
    """Unless it is forced; closing keeps its value."""
    links = Linked(lab)
    lab.tag(links.cache, link_lock="audit 2026")
    assert cli("close", links.cache.id) == 0
    assert (lab.tags(links.cache)[LOCK], links.counts()) == ("audit 2026", [1, 1, 1, 0])
    assert cli("reopen", links.cache.id) == 1
    assert "stays locked (audit 2026)" in cli.out
    assert cli("reopen", "--all") == 0
    assert LOCK in lab.tags(links.cache)
    code, [shown] = cli.json("reopen", links.cache.id, "--force", "--dry-run")
    assert (code, shown["reopened"], LOCK in lab.tags(links.cache)) == (0, [], True)
    assert "UntagResources" in shown["commands"][0]["command"]
    assert cli("reopen", links.cache.id, "--force") == 0
    assert LOCK not in lab.tags(links.cache)


def test_a_pause_does_not_stop_a_closing(lab: Lab, cli: Cli) -> None:
    """A close is carried out all the same. That the functions have another policy is said."""
    links = Linked(lab)
    lab.policy(paused=True)
    assert cli("close", links.cache.id) == 0
    assert links.counts() == [1, 1, 1, 0]
    assert "the functions have another policy" in cli.err


def test_an_owner_locks_with_keys_of_another_account(lab: Lab, cli: Cli, request: pytest.FixtureRequest) -> None:
    """The rules are removed by the next sweep, since these keys cannot enter home."""
    links = Linked(lab)
    request.getfixturevalue("peer_keys")
    assert cli("close", links.db.id) == 0, cli.err
    assert f"groups locked: 1. The keys are not of account {HOME}: the next sweep removes the rules." in cli.out
    assert "rules left" not in cli.out  # they are: nobody looked
    assert LOCK in lab.tags(links.db)
    code, [shown] = cli.json("close", links.db.id)
    assert (code, shown["left"]) == (0, None)
