"""`link-peer apply` makes the changes of a saved plan, and no others."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from link_peer_cli.commands import apply
from link_peer_cli.review.saved import MAX_BYTES

from tests.functional.command import Cli, Typed, Written
from tests.functional.lab import HOME, PEER, Lab

# The tests count the tags among the changes.
pytestmark = [pytest.mark.knobs(request_tags=True), pytest.mark.usefixtures("living_lab")]

ARN = f"acs:ram::{HOME}:"


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> str:
    return str(tmp_path / "plan.json")


def asking(lab: Lab, ports: str = ":tcp/3306") -> tuple[Any, Any, Any]:
    """An instance whose tag asks for a link, its group, and the group that consents."""
    app, db = lab.group(), lab.group("*")
    return lab.instance(app, tags={"link-peer": f"{db.id}{ports}"}), app, db


def test_a_saved_plan_is_applied(lab: Lab, cli: Cli, file: str) -> None:
    """The rule, the intent before it and the outcome, which name the person who applied it; counts in the last line."""
    instance, app, db = asking(lab)
    assert cli("plan", instance.id, "--out", file) == 0
    assert (cli.err, lab.changes()) == (f"saved: link-peer apply {file}\n", 0)
    assert cli.out.splitlines()[-1].startswith("Rules: 1 to add, 0 to remove.")
    assert cli("apply", file, "--yes") == 0
    assert lab.rules(db) == [f"{app.id} tcp/3306"]
    assert f"+ tcp/3306 from {app.id}@{HOME}" in cli.out
    assert cli.out.splitlines()[-1] == "Rules: 1 added, 0 changed, 0 removed. Not made: 0."
    intent, outcome = lab.records("intent", "outcome")
    assert (intent["record"], outcome["record"], outcome["outcome"]) == ("intent", "outcome", "applied")
    for record in (intent, outcome):
        assert (record["function"], record["claimed_by"].startswith(ARN)) == ("apply", True)
    before = lab.changes()
    assert lab.auto_link(lab.event(instance)) == {"unchanged": 1}
    assert lab.changes() == before


def test_a_plan_of_a_sweep_is_applied(lab: Lab, cli: Cli, file: str) -> None:
    """In all accounts: what it adds, changes and removes, with the same rules left as after a sweep."""
    instance, app, db = asking(lab, ":tcp/1+tcp/2")
    theirs = lab.group(account=PEER)
    lab.instance(theirs, tags={"link-peer": f"{lab.group(f'{theirs.id}:tcp/9', account=PEER).id}:tcp/9"})
    lab.auto_link(lab.event(instance))
    lab.cross_account(lab.request(app, db, "tcp/1"))
    lab.tag(instance, link_peer=f"{db.id}:tcp/3")
    assert cli("sweep", "--dry-run", "--out", file) == 0
    code, [answer] = cli.json("apply", file, "--yes")
    assert (code, answer["left"], answer["already"], answer["reviewed"]) == (0, [], 0, 5)
    assert lab.rules(db) == [f"{app.id} tcp/1", f"{app.id} tcp/3"]
    assert lab.reasons(db) == ["req:chg-1", "tag"]
    assert cli("sweep", "--dry-run", "--detailed-exitcode") == 0


def test_rules_between_instances_and_tags_of_empty_groups_are_applied(lab: Lab, cli: Cli, file: str) -> None:
    """A rule with its two addresses; and the managed tag of a group that holds no rule any more, which alone is a
    change."""
    app, db = lab.group("*"), lab.group("*")
    instance, target = lab.instance(app), lab.instance(db)
    lab.tag(instance, link_peer=f"{target.id}:tcp/1")
    cli("sweep", "--dry-run", "--out", file)
    assert cli("apply", file, "--yes") == 0, cli.err
    assert len(lab.rules(db)) == 1
    lab.tag(instance, link_peer=None)
    lab.revoke(db)
    assert cli("sweep", "--dry-run", "--out", file) == 0
    assert cli.out.splitlines()[-1] == "Rules: none. Tags: of 1 group."
    assert cli("apply", file, "--yes") == 0
    assert [name for name in lab.tags(db) if name.startswith("link-managed")] == []


def test_a_peer_in_another_account_is_linked_at_once(lab: Lab, cli: Cli, file: str) -> None:
    """auto_link would post a sync of the pair; apply carries that out itself, and posts nothing."""
    app, theirs = lab.group(), lab.group(f"*@{HOME}:tcp/1", account=PEER)
    instance = lab.instance(app, tags={"link-peer": f"{theirs.id}@{PEER}:tcp/1"})
    assert cli("plan", instance.id, "--out", file) == 0
    assert cli("apply", file, "--yes") == 0
    assert (lab.rules(theirs), lab.queued()) == ([f"{app.id} tcp/1"], [])


@pytest.mark.parametrize(
    ("change", "sign"),
    [
        (lambda lab, _instance, db: lab.tag(db, link_accept=None), "- add tcp/3306"),
        (lambda lab, instance, db: lab.tag(instance, link_peer=f"{db.id}:tcp/3306+tcp/22"), "+ add tcp/22"),
    ],
    ids=["consent", "ports"],
)
def test_a_plan_that_would_come_out_differently_is_refused(
    lab: Lab, cli: Cli, file: str, change: Callable[[Lab, Any, Any], None], sign: str
) -> None:
    """Exit code 1, with the difference; nothing is changed or recorded."""
    instance, _, db = asking(lab)
    cli("plan", instance.id, "--out", file)
    change(lab, instance, db)
    assert cli("apply", file, "--yes") == 1
    assert sign in cli.out
    assert "nothing was changed" in cli.err
    assert (lab.rules(db), lab.changes(), lab.records()) == ([], 0, [])
    code, [answer] = cli.json("apply", file, "--yes")
    assert (code, answer["differences"][0]["sign"]) == (1, sign[0])


def test_a_rule_that_was_not_reviewed_is_not_added(
    lab: Lab, cli: Cli, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tag asks for other ports while a person reads the question. The engine, which reads again, may not open
    them."""
    instance, _, db = asking(lab)
    cli("plan", instance.id, "--out", file)
    monkeypatch.setattr(apply, "_confirm", lambda *_, **__: lab.tag(instance, link_peer=f"{db.id}:tcp/22"))
    assert cli("apply", file) == 1
    assert lab.rules(db) == []
    assert (lab.outcome()["outcome"], lab.outcome()["reason"]) == ("denied", "not-allowed")
    assert "the reviewed plan has no such change" in lab.outcome()["detail"]
    assert "not made: add tcp/3306 from" in cli.out
    assert cli.out.splitlines()[-1] == "Rules: 0 added, 0 changed, 0 removed. Not made: 1."


@pytest.mark.parametrize("also", [False, True])
def test_a_half_open_link_is_taken_back(lab: Lab, cli: Cli, file: str, written: Written, also: bool) -> None:
    """The second side refuses for good: the first side is as it was before, also where another claim holds its rule."""
    ours, theirs = lab.pair()
    request = lab.request(ours, theirs, request_id="chg-2")
    if also:
        lab.cross_account(lab.request(ours, theirs))
    before = (lab.reasons(ours), lab.reasons(theirs))
    assert cli("plan", written(request), "--out", file) == 0
    action = "ModifySecurityGroupRule" if also else "AuthorizeSecurityGroup"
    lab.fault(service="ecs", action=action, account=HOME, code="InvalidSecurityGroup.Busy", status=403, times=None)
    assert cli("apply", file, "--yes") == 1
    assert (lab.reasons(ours), lab.reasons(theirs)) == before
    assert cli.out.splitlines()[-1].endswith("Not made: 2.")


@pytest.mark.parametrize("call", [1, 2])
def test_a_run_that_died_is_finished_by_the_next(
    lab: Lab, cli: Cli, file: str, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """What it has made already is no difference, and is counted; a run after that has nothing to do."""
    instance, app, db = asking(lab, "")
    lab.tag(app, link_accept="*")
    cli("plan", instance.id, "--out", file)
    carry_out, calls_to_go = lab.cloud.ecs.call, call

    def dies(caller: Any, action: str, *args: Any, **options: Any) -> Any:
        nonlocal calls_to_go
        if action in ("TagResources", "AuthorizeSecurityGroup"):
            calls_to_go -= 1
            if calls_to_go < 0:
                raise KeyboardInterrupt
        return carry_out(caller, action, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(lab.cloud.ecs, "call", dies)
        assert cli("apply", file, "--yes") != 0
    assert cli("apply", file, "--yes") == 0
    assert "Made already, of the reviewed changes:" in cli.out
    assert (lab.rules(db), lab.rules(app)) == ([f"{app.id} all"], [f"{db.id} all"])
    assert cli("apply", file, "--yes") == 0
    assert "Nothing would change." in cli.out
    code, [answer] = cli.json("apply", file)
    assert (code, answer["already"], answer["left"]) == (0, answer["reviewed"], [])


@pytest.mark.parametrize("command", ["plan", "sweep"])
def test_an_audit_log_that_takes_no_intent_stops_the_run(lab: Lab, cli: Cli, file: str, command: str) -> None:
    """Exit code 1 and the cause; no rule is changed. The tag is written beside the intent."""
    instance, _, db = asking(lab)
    cli(*(("plan", instance.id) if command == "plan" else ("sweep", "--dry-run")), "--out", file)
    lab.fault(service="sls", kind="error", times=None)
    assert cli("apply", file, "--yes") == 1
    assert (lab.rules(db), lab.cloud.faults.count("ecs", "AuthorizeSecurityGroup")) == ([], 0)
    assert "Not made: 1." in cli.out
    assert "InternalServerError" in cli.err


def test_another_deployed_policy_is_warned_of(lab: Lab, cli: Cli, file: str) -> None:
    """The functions' package has another policy file: they may undo what is applied."""
    lab.publish()
    instance, _, _ = asking(lab)
    with lab.policy_path.open("a", encoding="utf-8") as policy:
        policy.write("# a comment\n")
    cli("plan", instance.id, "--out", file)
    assert cli("apply", file, "--yes") == 0
    assert "the functions have another policy: " in cli.err
    assert "they may undo this" in cli.err


# The file


def test_a_plan_is_a_file_of_its_owner(lab: Lab, cli: Cli, file: str) -> None:
    """Mode 0600, no other file beside it; a plan is replaced by a plan, and nothing else is."""
    instance, _, _ = asking(lab)
    for _ in range(2):
        assert cli("plan", instance.id, "--out", file) == 0
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert os.listdir(Path(file).parent).count("plan.json") == 1
    assert not [name for name in os.listdir(Path(file).parent) if name.startswith(".")]
    notes = Path(file).with_name("notes.txt")
    notes.write_text("mine", encoding="utf-8")
    link = Path(file).with_name("link.json")
    link.symlink_to(file)
    for name in (str(notes), str(link), str(notes.parent), str(notes.parent / "none" / "plan.json"), "a\0b"):
        for command in (("plan", instance.id), ("sweep", "--dry-run")):
            assert cli(*command, "--out", name) == 2
            assert "--out" in cli.err
    assert (notes.read_text("utf-8"), link.is_symlink()) == ("mine", True)


def test_a_file_that_appears_meanwhile_is_not_replaced(lab: Lab, cli: Cli, file: str) -> None:
    """Someone else wrote it while the plan was made."""
    instance, _, _ = asking(lab)
    lab.meanwhile("DescribeSecurityGroups", lambda: Path(file).write_text("mine", encoding="utf-8"))
    assert cli("plan", instance.id, "--out", file) == 2
    assert Path(file).read_text("utf-8") == "mine"


def test_a_huge_file_is_not_read(cli: Cli, file: str) -> None:
    """It is refused after the length that a plan may have."""
    with open(file, "wb") as sparse:
        sparse.truncate(MAX_BYTES + 1)
    assert cli("apply", file) == 1
    assert "longer than 64 MB" in cli.err


def saved(lab: Lab, cli: Cli, file: str) -> dict[str, Any]:
    """A plan of one rule."""
    instance, _, _ = asking(lab)
    assert cli("plan", instance.id, "--out", file) == 0
    document: dict[str, Any] = json.loads(Path(file).read_text("utf-8"))
    return document


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"link_peer_plan": 2}', "\xff"])
def test_a_file_that_is_no_plan_is_refused(lab: Lab, cli: Cli, file: str, text: str) -> None:
    """Exit code 1 and a sentence, whatever it holds."""
    Path(file).write_bytes(text.encode("latin-1"))
    assert cli("apply", file, "--yes") == 1
    assert "is not a plan of link-peer" in cli.err
    assert cli("apply", file + ".none", "--yes") == 2
    assert "cannot be read (No such file" in cli.err
    assert cli("apply", str(Path(file).parent), "--yes") == 2
    assert lab.changes() == 0


def test_a_plan_that_someone_edited_is_refused(lab: Lab, cli: Cli, file: str, written: Written) -> None:
    """A change that the engine would not make is a difference, so nothing can be slipped into the file."""
    plan = saved(lab, cli, file)
    [rule] = [change for change in plan["changes"] if change["action"] == "authorize"]
    plan["changes"].append({**rule, "place": {**rule["place"], "ports": "22/22"}})
    assert cli("apply", written(plan), "--yes") == 1
    assert "- add tcp/22" in cli.out
    assert lab.changes() == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"action": "authorize"}, "a change to authorize needs a place"),
        ({"action": "revoke", "rule": "sgr-1", "tags": ["link-lock"]}, "a change to revoke needs a place"),
        ({"action": "untag"}, "a change to untag needs tags"),
        (
            {"action": "untag", "account": "1999999999999999", "tags": ["x"]},
            "account 1999999999999999 is not in the policy",
        ),
    ],
)
def test_a_change_that_no_plan_has_is_refused(
    lab: Lab, cli: Cli, file: str, written: Written, change: dict[str, object], reason: str
) -> None:
    """Who may replace the file makes no command crash."""
    db = lab.group()
    cli("sweep", "--dry-run", "--out", file)
    plan = json.loads(Path(file).read_text())
    changes = [{"account": HOME, "group": db.id, **change}]
    assert cli("apply", written({**plan, "changes": changes}), "--yes") == 1
    assert reason in cli.err


def test_a_plan_is_for_one_deployment(lab: Lab, cli: Cli, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another policy file, prefix or region: refused, and the message names all that differ."""
    saved(lab, cli, file)
    lab.policy(paused="opening")
    monkeypatch.setenv("LINK_PEER_PREFIX", "other")
    monkeypatch.setenv("LINK_PEER_REGION", "cn-beijing")
    assert cli("apply", file, "--yes") == 1
    for part in ("the policy file is", "the prefix is other, not link-peer", "the region is cn-beijing"):
        assert part in cli.err


def test_an_old_plan_is_refused(lab: Lab, cli: Cli, file: str, written: Written) -> None:
    """After 24 hours; one of the future is, too, and one of a day that no calendar has."""
    plan = saved(lab, cli, file)
    lab.cloud.clock.sleep(86_400 + 60)
    assert cli("apply", file, "--yes") == 1
    assert "is older than 24 hours" in cli.err
    assert cli("apply", written({**plan, "made_at": "2026-11-31T00:00:00Z"}), "--yes") == 1
    assert "the plan is unreadable: made_at: " in cli.err
    assert cli("apply", written({**plan, "made_at": lab.iso(3600)}), "--yes") == 1
    assert "in the future" in cli.err


def test_it_asks_before_it_changes_anything(lab: Lab, cli: Cli, file: str, typed: Typed) -> None:
    """A program must say --yes; a person is asked, after the plan was shown, and may refuse."""
    saved(lab, cli, file)
    assert cli("apply", file) == 2
    assert "--yes" in cli.err
    for answer, code, changes in (("n", 1, 0), ("y", 0, 2)):
        typed(f"{answer}\n")
        assert cli("apply", file) == code
        assert "+ tcp/3306" in cli.out.partition("Make these 2 changes?")[0]
        assert lab.changes() == changes


# Requests


def test_a_request_is_applied_as_one_of_the_shared_queue(lab: Lab, cli: Cli, file: str, written: Written) -> None:
    """With what it says of its sender beside the person who applied it."""
    app, db = lab.group(), lab.group("*")
    assert cli("plan", written(lab.request(app, db, "tcp/1", requested_by="team")), "--out", file) == 0
    assert cli("apply", file, "--yes") == 0
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    assert lab.outcome()["claimed_by"].startswith(f"team, applied by {ARN}")
    assert lab.outcome()["queue"] == ""


def test_a_file_does_not_prove_who_asks(lab: Lab, cli: Cli, file: str, written: Written) -> None:
    """An account with a queue of its own can ask through that queue alone: its request is denied in a plan, and an
    envelope that names a queue is refused, and so is one that was written into the plan."""
    theirs, ours = lab.group(account=PEER), lab.group(f"*@{PEER}")
    lab.policy_account(PEER, queue="link-peer-requests-b")
    request = lab.request(theirs, ours, "tcp/1")
    path = written([lab.message(request, queue="link-peer-requests-b")])
    assert cli("plan", path) == 0
    assert cli("plan", path, "--out", file) == 2
    assert "came through the queue link-peer-requests-b, and a file cannot prove that" in cli.err
    assert cli("plan", written(request), "--out", file) == 1
    plan = json.loads(Path(file).read_text("utf-8"))
    assert plan["changes"] == []
    plan["input"]["requests"] = [lab.message(request, queue="link-peer-requests-b")]
    assert cli("apply", written(plan), "--yes") == 0
    assert lab.rules(ours) == []


def test_events_and_requests_of_a_file_are_saved_as_what_they_say(
    lab: Lab, cli: Cli, file: str, written: Written
) -> None:
    """Ids and wishes alone: nothing of the caller of an event. What cannot be read changes nothing, and is left out."""
    instance, app, db = asking(lab, ":tcp/1")
    event = lab.tag_event(instance)
    event["data"]["userIdentity"] = {"accessKeyId": "LTAI-not-to-be-saved"}
    moved = lab.event("x", type="ecs:NetworkInterface:PrivateIPAssigned")
    moved["data"] = {"eniId": instance.interface_id}
    elements = [event, moved, lab.request(app, db, "tcp/2"), "hello", {"source": "acs.ecs"}, json.loads(TIMER)]
    assert cli("plan", written(elements), "--out", file) == 1
    text = Path(file).read_text("utf-8")
    assert "LTAI" not in text
    plan = json.loads(text)["input"]
    looks = [look["party"] for look in plan["looks"]]
    assert (looks, len(plan["requests"])) == ([instance.id, instance.interface_id], 1)
    assert plan["sweep"] == {"believe_empty": []}
    assert cli("apply", file, "--yes") == 0
    assert lab.rules(db) == [f"{app.id} tcp/1", f"{app.id} tcp/2"]


TIMER = Path("events/timer.json").read_text("utf-8")
