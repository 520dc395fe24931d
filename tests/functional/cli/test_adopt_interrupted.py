"""`link-peer adopt` when it is stopped, or something else changes meanwhile: a rule is there at every moment."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from aliyun_local.api import Call, Killed
from link_peer.domain.denials import parts

from tests.functional.command import ALL, Cli, by_hand, ids, person
from tests.functional.lab import HOME, MANAGED, Lab, deaths
from tests.sample import sample

DEATHS = 4
"""`make test` tries one of so many calls; `make prove` all."""


@pytest.mark.parametrize("skip", [0, 1])
@pytest.mark.parametrize("change", ["ports", "deleted"])
def test_a_rule_that_changes_meanwhile_is_left_alone(lab: Lab, cli: Cli, change: str, skip: int) -> None:
    """Between showing and writing: no rule is adopted that was not shown. The log says so."""
    app, db, rule = by_hand(lab)

    def happens() -> None:
        if change == "ports":
            lab.modify(db, lab.raw_rules(db)[0], PortRange="22/22")
        else:
            lab.revoke(db)

    calls = lab.cloud.faults.count("ecs", "DescribeSecurityGroupAttribute")
    assert cli("adopt", "--anyone-may-close", rule, "--dry-run") == 0
    reads = lab.cloud.faults.count("ecs", "DescribeSecurityGroupAttribute") - calls
    lab.meanwhile("DescribeSecurityGroupAttribute", happens, skip=reads + 2 * skip)
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 1
    assert lab.records("outcome") == []
    [attempt] = lab.records("attempt")
    assert "was changed or deleted since" in attempt["detail"]
    assert (lab.rules(db), lab.reasons(db)) == ([f"{app.id} tcp/22"] if change == "ports" else [], [])


def test_a_rule_that_changes_during_the_call_is_no_rule_of_ours(lab: Lab, cli: Cli) -> None:
    """The marker does not fit it, so link-peer leaves it alone; running it again adopts what it is now."""
    app, db, rule = by_hand(lab)
    lab.meanwhile("ModifySecurityGroupRule", lambda: lab.modify(db, lab.raw_rules(db)[0], PortRange="22/22"))
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 1
    assert "its marker does not match" in lab.records("attempt")[0]["detail"]
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/22"]
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 0, cli.err
    assert lab.drain(60) == {"applied": 1}


def test_consent_that_was_given_for_nothing_is_said(lab: Lab, cli: Cli) -> None:
    """Who deletes the rule in the moment after it would else keep a consent without a link, of which nobody knows."""
    _, db, rule = by_hand(lab)
    lab.meanwhile("TagResources", lambda: lab.revoke(db), after=True)
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 1
    _, command = parts(lab.records("attempt")[0]["advice"])
    assert command in cli.out
    assert cli(*command.split()[1:], "--yes") == 0, cli.err
    assert "link-accept" not in lab.tags(db)


def test_consent_that_is_withdrawn_meanwhile_stays_withdrawn(lab: Lab, cli: Cli) -> None:
    """Where no key is free, a value is written again; not one that changed since it was read."""
    _, db, rule = by_hand(lab)
    keys = [f"link-accept.{number}" for number in range(2, 10)]
    lab.tag(db, link_accept="sg-one,sg-old", **dict.fromkeys(keys, f"sg-{'a' * 60},sg-{'b' * 59}"))
    calls = lab.cloud.faults.count("ecs", "DescribeSecurityGroups")
    assert cli("adopt", "--anyone-may-close", rule, "--dry-run") == 0
    reads = lab.cloud.faults.count("ecs", "DescribeSecurityGroups") - calls
    lab.meanwhile("DescribeSecurityGroups", lambda: lab.tag(db, link_accept="sg-one"), skip=reads)
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 1
    assert (lab.tags(db)["link-accept"], lab.reasons(db)) == ("sg-one", [])


def test_a_lock_that_comes_meanwhile_wins(lab: Lab, cli: Cli) -> None:
    """It is judged again right before the rule is changed."""
    _, db, rule = by_hand(lab)
    lab.meanwhile("TagResources", lambda: lab.tag(db, link_lock="yes"))
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 1
    assert (lab.outcome()["outcome"], lab.outcome()["reason"]) == ("denied", "locked")
    assert lab.reasons(db) == []


def test_a_mutual_rule_that_changes_meanwhile_stops_both(lab: Lab, cli: Cli) -> None:
    """The other half is not what was shown."""
    app, db = lab.group(), lab.group()
    rule_there, _ = person(lab, db, app, **ALL), person(lab, app, db, **ALL)
    lab.meanwhile("TagResources", lambda: lab.modify(app, lab.raw_rules(app)[0], Description="other"))
    assert cli("adopt", "--anyone-may-close", rule_there, "--yes") == 1
    assert "was changed or deleted since" in lab.records("attempt")[0]["detail"]
    assert lab.reasons(app) == lab.reasons(db) == []


def test_a_managed_tag_that_a_sweep_takes_meanwhile_is_written_again(lab: Lab, cli: Cli) -> None:
    """Else the sweep would not find the rule."""
    app, db = lab.group(), lab.group(f"*@{HOME}")
    rule = person(lab, db, app)
    lab.meanwhile("ModifySecurityGroupRule", lambda: lab.tag(db, **{MANAGED.replace("-", "_"): None}))
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 0, cli.err
    assert lab.tags(db)[MANAGED] == "true"


@pytest.mark.parametrize("read", ["tags", "rules"])
def test_a_change_that_does_not_show_yet_is_reported(lab: Lab, cli: Cli, read: str) -> None:
    """Reads lag behind changes. The next run goes on: it finds what was written, posts the request and records the
    outcome."""
    _, db, rule = by_hand(lab)
    lab.cloud.clock.sleep(100)
    setattr(lab.cloud.ecs.read_lag, read, 30.0)
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 1
    assert "does not show the change yet" in lab.records("attempt")[0]["detail"]
    assert lab.queued() == []
    lab.cloud.clock.sleep(100)
    setattr(lab.cloud.ecs.read_lag, read, 0.0)
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 0, cli.err
    assert lab.reasons(db) == [f"req:adopt-{rule}"]
    assert (lab.outcome()["outcome"], len(lab.queued())) == ("applied", 1)


def test_keys_that_may_not_modify_are_reported(lab: Lab, cli: Cli) -> None:
    """The outcome is denied; the rule is as it was."""
    _, db, rule = by_hand(lab)
    lab.fault(service="ecs", action="ModifySecurityGroupRule", kind="error", code="Forbidden.RAM", status=403)
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 1
    assert (lab.outcome()["outcome"], lab.outcome()["reason"]) == ("denied", "no-access")
    lab.fault(service="ecs", action="ModifySecurityGroupRule", kind="error", code="InvalidStatus", status=400)
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 1
    assert "InvalidStatus" in lab.outcome()["detail"]
    assert lab.reasons(db) == []


# stopped


@pytest.mark.parametrize("kind", ["reset", "reset-after", "error-after", "html-after"])
@pytest.mark.parametrize("action", ["TagResources", "ModifySecurityGroupRule", "SendMessage", "PutLogs"])
def test_a_lost_answer_leaves_nothing_undone(lab: Lab, cli: Cli, action: str, kind: str) -> None:
    """Each change is looked for before it is made again."""
    app, db, rule = by_hand(lab)
    asking = lab.instance(app)
    service = {"SendMessage": "mns", "PutLogs": "sls"}.get(action, "ecs")
    lab.fault(service=service, action=action, kind=kind)
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 0, cli.err
    assert (ids(lab, db), lab.reasons(db)) == ([rule], [f"req:adopt-{rule}"])
    assert asking.id


@pytest.mark.exhaustive
@pytest.mark.parametrize("form", ["request", "tag", "mutual"])
def test_running_it_again_finishes_whatever_stopped_it(
    make_lab: Callable[[], Lab], capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """Killed before its first call, or after any that changes something: the rules are there at every moment, a sweep
    in between removes nothing, and in the end they are ours, with an outcome."""
    cli, every = Cli(capsys), ALL if form == "mutual" else {}

    def adopted(death: dict[str, Any] | None) -> list[Call]:
        """Adopts once more after the first run ended; returns the calls of that."""
        lab = make_lab()
        app, db = lab.group(), lab.group()
        asking = lab.instance(app)
        rules = {(db.id, rule := person(lab, db, app, **every))}
        if form == "mutual":
            rules.add((app.id, person(lab, app, db, **every)))
        options = ["adopt", "--anyone-may-close", rule, "--yes"]
        options += ["--as", "tag", "--instance", asking.id] if form == "tag" else []

        def standing() -> set[tuple[str, str]]:
            return {(group.id, rule_id) for group in (app, db) for rule_id in ids(lab, group)}

        before = lab.calls()
        if death:
            lab.fault(**death)
            with contextlib.suppress(Killed):
                cli(*options)
            assert not lab.cloud.faults.waiting()
            capsys.readouterr()
        else:
            assert cli(*options) == 0
        calls = list(lab.cloud.faults.calls)[before:]
        assert standing() == rules, death
        lab.cloud.clock.sleep(3600)
        lab.sweep()
        assert standing() == rules, death
        assert cli(*options) == 0, (death, cli.err, cli.out)
        claim = "tag" if form == "tag" else f"req:adopt-{rule}"
        assert (lab.reasons(db), lab.reasons(app)) == ([claim], [claim] if form == "mutual" else []), death
        assert lab.records("outcome", function="adopt", outcome="applied"), death
        assert form == "tag" or "described as 'orders'" in lab.queued()[0]["reason"], death
        lab.sweep()
        assert standing() == rules, death
        return calls

    calls = adopted(None)
    assert len(calls) > 15
    for death in sample(deaths(calls), DEATHS):
        adopted(death)


@pytest.mark.exhaustive
@pytest.mark.parametrize("form", ["request", "tag"])
def test_a_sweep_at_any_moment_takes_nothing(
    make_lab: Callable[[], Lab], capsys: pytest.CaptureFixture[str], form: str
) -> None:
    """Nor does what the queue delivers: before each call of the command, both run. Then it is adopted, at once or by
    the next run."""

    def adopted(call: int) -> int:
        """How many calls the command makes where both run before that one."""
        lab = make_lab()
        cli = Cli(capsys)
        app, db, rule = by_hand(lab)
        asking = lab.instance(app)
        options = ["adopt", "--anyone-may-close", rule, "--yes"] + (
            ["--as", "tag", "--instance", asking.id] if form == "tag" else []
        )
        between = lab.interrupt(call, lambda lab=lab, asking=asking: (lab.sweep(), lab.auto_link(lab.event(asking))))
        before = lab.calls()
        code = cli(*options)
        calls = lab.calls() - before
        assert between() == (call < calls), call
        assert ids(lab, db) == [rule], call
        if code:
            assert cli(*options) == 0, (call, cli.err)
        lab.sweep()
        assert (ids(lab, db), lab.reasons(db)) == ([rule], ["tag" if form == "tag" else f"req:adopt-{rule}"]), call
        assert lab.tags(db)[MANAGED] == "true", call
        return calls

    calls = adopted(10_000)
    assert calls > 15
    for call in sample(range(calls), DEATHS):
        adopted(call)


def test_what_the_log_does_not_show_yet_is_known_by_the_claim(lab: Lab, cli: Cli) -> None:
    """A record is found some seconds after it was written: the rule itself says that its adoption was begun."""
    app, db = lab.group(), lab.group("*")
    rule = person(lab, db, app)
    marker = (
        f"link-peer/2 dep=prod home={HOME} id={lab.rule_id(db, app, 'tcp/3306')} by=req:adopt-{rule}~20990101T000000Z"
    )
    lab.modify(db, lab.raw_rules(db)[0], Description=marker, Priority="100")
    assert cli("adopt", "--anyone-may-close", rule, "--yes") == 0, cli.err
    [posted] = lab.queued()
    assert (posted["request_id"], posted["until"]) == (f"adopt-{rule}", "2099-01-01T00:00:00Z")
    assert lab.reasons(db) == [f"req:adopt-{rule}~20990101T000000Z"]
