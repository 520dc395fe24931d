"""What an old record advises is judged again before it is printed: a command that can be typed holds now."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aliyun_local.api import Group, Instance
from link_peer.domain.tags import parse_instant
from link_peer_cli.review import recorded_advice

from tests.functional.command import Cli, Owners
from tests.functional.lab import HOME, PEER, Lab

World = tuple[Lab, Group, Group, Instance]
"""With the groups app and db, and an instance of app that asks for db on tcp/6379."""


def commands(cli: Cli) -> list[str]:
    """The lines of an output that can be pasted."""
    return [line for line in cli.out.splitlines() if line.startswith(("link-peer ", "aliyun "))]


def denied(lab: Lab, *, locked: bool = False, account: str = HOME) -> World:
    """A wish that is denied, for lack of consent, or since the group is locked."""
    app, db = lab.group(), lab.group(*(["*"] if locked else []), account=account)
    if locked:
        lab.tag(db, link_lock="audit 2026")
    name = db.id if account == HOME else f"{db.id}@{account}"
    asker = lab.started(app, tags={"link-peer": f"{name}:tcp/6379"})
    lab.drain()
    assert lab.outcome()["outcome"] == "denied"
    lab.cloud.clock.advance(7 * 86_400)
    return lab, app, db, asker


def a_week_passes(_: World) -> None:
    """And that is all."""


def accepted(world: World) -> None:
    lab, app, db, _ = world
    lab.tag(db, link_accept=app.id)


def linked(world: World) -> None:
    accepted(world)
    world[0].sweep()


def unlocked(world: World) -> None:
    world[0].tag(world[2], link_lock=None)


def unasked(world: World) -> None:
    world[0].tag(world[3], link_peer=None)


def locked(world: World) -> None:
    world[0].tag(world[2], link_lock="incident 7")


def deleted(world: World) -> None:
    lab, _, db, _ = world
    lab.call(db.account, "DeleteSecurityGroup", {"SecurityGroupId": db.id})


CONSENT, REOPEN = "link-peer accept {db}@{home} {app}:tcp/6379", "link-peer reopen {db}@{home} --force"
CASES: dict[str, tuple[bool, Callable[[World], None], str, list[str]]] = {
    "nothing happened": (False, a_week_passes, "advice: tag {db}@{home} link-accept={app}:tcp/6379", [CONSENT]),
    "consent was given": (False, accepted, "now: nothing that can be read denies it", []),
    "the link stands": (False, linked, "now: the link stands", []),
    "the tag was taken off": (False, unasked, "asks for it", []),
    "the group was locked": (False, locked, "now: {db}@{home} carries the tag link-lock", [REOPEN]),
    "the group was deleted": (False, deleted, "now: {db}@{home} does not exist", ["aliyun ecs DescribeSecurityGroups"]),
    "the lock is there": (True, a_week_passes, "advice: ask the person who locked it", [REOPEN]),
    "the lock is gone": (True, unlocked, "now: nothing that can be read denies it", []),
}


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("case", CASES)
def test_a_command_is_printed_only_where_it_holds_now(lab: Lab, cli: Cli, case: str) -> None:
    """In a story, too. For programs the record is as it was recorded."""
    is_locked, happens, text, expected = CASES[case]
    world = denied(lab, locked=is_locked)
    record = lab.outcome()
    happens(world)
    names = {"app": world[1].id, "db": world[2].id, "home": HOME}
    for view in (("--since", "30d", "outcome=denied"), ("--story", record["link"])):
        assert cli("audit", *view) == 0, cli.err
        assert text.format(**names) in cli.out
        assert ("was: " in cli.out) == ("now: " in text or "asks" in text)
        printed = commands(cli)
        assert len(printed) == len(expected)
        assert all(line.startswith(start.format(**names)) for line, start in zip(printed, expected, strict=True))
    _, [record_now] = cli.json("audit", "--since", "30d", "outcome=denied")
    assert record_now["advice"] == record["advice"]


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("account", "action"), [(PEER, "DescribeSecurityGroups"), (HOME, "DescribeInstances")])
def test_what_cannot_be_judged_is_no_command(lab: Lab, cli: Cli, account: str, action: str) -> None:
    """It is words of its time, whether the target or the instance that asks for it cannot be read."""
    denied(lab, account=PEER)
    advice = lab.outcome()["advice"]
    lab.fault(service="ecs", account=account, action=action, kind="error", times=None)
    assert cli("audit", "--since", "30d") == 0
    assert f"and not judged again, since account {account} could not be read: " in cli.out
    assert "(link-peer accept " in cli.out
    assert commands(cli) == []
    assert cli.json("audit", "--since", "30d")[1][-1]["advice"] == advice


@pytest.mark.usefixtures("terminal")
def test_a_command_that_asks_again_is_printed_until_the_link_stands(lab: Lab, cli: Cli) -> None:
    """And one that ends a link, while it stands."""
    app, db = lab.group(), lab.group("*")
    end = lab.iso(3600)
    lab.cross_account(lab.request(app, db, "tcp/1", until=end))
    lab.cloud.clock.advance(7200)
    lab.sweep()
    lab.cross_account(lab.request(app, db, "tcp/1", action="unlink", expires_at=end, request_id="chg-2"))
    ends = f"--from {app.id}@{HOME} --to {db.id}@{HOME} --port tcp/1"
    assert cli("audit") == 0
    assert commands(cli) == [f"link-peer request link {ends}"]
    assert "now: no rule of it stands" in cli.out
    lab.cross_account(lab.request(app, db, "tcp/1", request_id="chg-3"))
    assert cli("audit") == 0
    assert commands(cli) == [f"link-peer request unlink {ends}"]
    assert f"advice: {app.id} to {db.id} tcp/1 was: expired: the link has ended" in cli.out
    assert "now: the link stands" in cli.out


@pytest.mark.usefixtures("terminal")
def test_a_command_with_an_end_is_printed_until_then(lab: Lab, cli: Cli) -> None:
    """Afterwards it would ask for what has ended."""
    lab.policy(limits={"max_days": 3})
    lab.cross_account(lab.request(lab.group(), lab.group("*"), "tcp/1"))
    assert cli("audit") == 0
    [command] = commands(cli)
    end = parse_instant(command.partition(" --until ")[2])
    for seconds, is_printed in ((1, True), (0, False)):
        lab.cloud.clock.advance(end - seconds - lab.cloud.clock.now())
        assert cli("audit", "--since", "30d") == 0
        assert commands(cli) == [command] * is_printed


@pytest.mark.usefixtures("terminal")
def test_what_is_not_of_this_deployment_is_not_judged(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """One log may serve several deployments and regions; and of many pieces of advice, the newest are judged."""
    lab, app, _, _ = denied(lab)
    lab.policy(deployment="new")
    assert cli("audit", "--since", "30d") == 0
    assert "since it is of deployment prod: " in cli.out
    assert commands(cli) == []
    lab.policy(deployment="prod")
    monkeypatch.setattr(recorded_advice, "JUDGED", 1)
    newest = lab.group()
    lab.started(app, tags={"link-peer": f"{newest.id}:tcp/1"})
    assert cli("audit", "--since", "30d") == 0
    assert commands(cli) == [f"link-peer accept {newest.id}@{HOME} {app.id}:tcp/1"]
    assert "since only the advice of the newest 1 is: " in cli.out


def test_tables_in_a_pipe_have_what_holds_now(lab: Lab, cli: Cli) -> None:
    """Their column `advice`; CSV has the record."""
    world = denied(lab)
    accepted(world)
    assert cli("audit", "--since", "30d") == 0
    assert "now: nothing that can be read denies it" in cli.out
    assert "link-peer accept" not in cli.out
    assert cli("audit", "--since", "30d", "-o", "csv") == 0
    assert "link-peer accept" in cli.out


@pytest.mark.parametrize("case", CASES)
def test_accept_does_what_resolves_the_denial_now(
    lab: Lab, cli: Cli, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where consent is not what is missing, it writes nothing, and says what is so."""
    is_locked, happens, text, expected = CASES[case]
    if is_locked:
        return
    world = denied(lab)
    link = lab.outcome()["link"]
    happens(world)
    tags = lab.tags(world[2]) if case != "the group was deleted" else {}
    changes = lab.changes()
    code = cli("accept", link, "--yes")
    names = {"app": world[1].id, "db": world[2].id, "home": HOME}
    if expected == [CONSENT]:
        assert (code, lab.tags(world[2])) == (0, {**tags, "link-accept": f"{world[1].id}:tcp/6379"})
        Owners(lab, cli, monkeypatch).paste("link-peer sweep")
        assert len(lab.rules(world[2])) == 1
        return
    assert lab.changes() == changes
    assert code == (0 if happens in (accepted, linked) else 1)
    output = cli.out if code == 0 else cli.err
    assert text.removeprefix("now: ").format(**names) in output.replace("\n", " ")
