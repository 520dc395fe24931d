"""`link-peer sweep`, in all accounts of the policy."""

from __future__ import annotations

import re
import shlex
from collections import Counter

import pytest
from link_peer.engine.scopes import account_reads

from tests.functional.command import Cli
from tests.functional.lab import HOME, MANAGED, PEER, Lab

pytestmark = pytest.mark.usefixtures("living_lab")


def test_a_dry_run_decides_the_same_and_changes_nothing(lab: Lab, cli: Cli) -> None:
    """The same decisions and counts, but no change and no record."""
    app, db, cache = lab.group(), lab.group("*"), lab.group()
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306 {cache.id}:tcp/6379"})
    code, [dry] = cli.json("sweep", "--dry-run")
    assert (code, lab.rules(db), lab.changes(), lab.records("summary", "outcome")) == (0, [], 0, [])
    actions = [shlex.split(entry["command"])[2] for entry in dry["commands"]]
    assert actions == ["TagResources", "AuthorizeSecurityGroup"]
    code, [real] = cli.json("sweep")
    assert (code, lab.rules(db)) == (0, [f"{app.id} tcp/3306"])
    for report in (dry, real):
        assert sorted((d["outcome"], d["to"]) for d in report["decisions"]) == [
            ("applied", db.id),
            ("denied", cache.id),
        ]
        assert {s["account"]: (s["changed"], s["denied"]) for s in report["summaries"]} == {
            HOME: ("1", "1"),
            PEER: ("0", "0"),
        }


def test_the_records_of_a_sweep_name_the_person_who_runs_it(lab: Lab, cli: Cli) -> None:
    """By ARN, also in the intent; those of the timer name nobody."""
    app, db = lab.group(), lab.group("*")
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert cli("sweep") == 0
    for record in lab.records("intent", "outcome", "summary"):
        assert record["claimed_by"].startswith(f"acs:ram::{HOME}:")
    lab.tag(db, link_accept=None)
    lab.sweep()
    assert [record.get("claimed_by", "") for record in lab.records("outcome") if record["outcome"] == "removed"] == [""]


def test_a_sweep_prints_a_table(lab: Lab, cli: Cli) -> None:
    """Decisions, advice and counts."""
    app, cache = lab.group(), lab.group()
    lab.instance(app, tags={"link-peer": f"{cache.id}:tcp/6379"})
    assert cli("sweep") == 0
    assert "no-consent" in cli.out
    assert f"advice: tag {cache.id}@{HOME} link-accept={app.id}:tcp/6379" in cli.out
    assert "changed 0" in cli.out
    assert cli.err == ""  # no progress bar if stderr is not a terminal


@pytest.mark.knobs(request_tags=True)  # a tag that is refused would be written at every run
def test_a_dry_run_prints_only_what_would_change(lab: Lab, cli: Cli) -> None:
    """Nothing about links that are as they should be; the exit code says whether anything would change, if asked."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert cli("sweep", "--dry-run", "--detailed-exitcode") == 2
    assert f"+ tcp/1 from {app.id}@{HOME}" in cli.out
    assert ("applied" in cli.out, "aliyun" in cli.out) == (False, False)
    assert cli("sweep", "--dry-run", "--commands") == 0
    assert "aliyun ecs AuthorizeSecurityGroup" in cli.out
    lab.auto_link(lab.event(instance))
    assert cli("sweep", "--dry-run", "--detailed-exitcode") == 0
    assert cli.out == "Nothing would change.\n"


def test_a_dry_run_reads_each_group_once(lab: Lab, cli: Cli) -> None:
    """Nothing is written, so nothing is looked at again right before or after a write: rules are asked for by group,
    tags and instances of a whole account together, however many groups would change."""
    app = lab.group()
    accepting = [lab.group(f"{app.id}:tcp/1") for _ in range(6)]
    lab.instance(app, tags={"link-peer": " ".join(f"{group.id}:tcp/1" for group in accepting)})
    lab.cloud.faults.calls.clear()
    assert cli("sweep", "--dry-run") == 0
    assert "Rules: 6 to add" in cli.out
    call_counts = Counter((call.action, call.params.get("SecurityGroupId", "")) for call in lab.cloud.faults.calls)
    assert {call_counts["DescribeSecurityGroupAttribute", group.id] for group in accepting} == {1}
    assert {count for (action, group), count in call_counts.items() if group} == {1}
    assert (
        sum(count for (action, _), count in call_counts.items() if action == "DescribeSecurityGroups") == 2
    )  # accounts
    assert sum(count for (action, _), count in call_counts.items() if action == "DescribeInstances") == 2


def test_the_counts_are_the_last_line_of_a_dry_run(lab: Lab, cli: Cli) -> None:
    """What was skipped comes before them."""
    lab.fault(service="sts", action="AssumeRole", code="NoPermission", status=403, times=None)
    assert cli("sweep", "--dry-run") == 1
    assert cli.out.startswith("skipped: ")
    assert cli.out.splitlines()[-1].startswith("Nothing would change.")


def test_held_removals_fail_the_command(lab: Lab, cli: Cli) -> None:
    """More removals than the policy allows in one run: exit code 1, also in a dry run."""
    app, db = lab.group(), lab.group("*")
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1+tcp/2"})
    lab.tag(instance, link_peer=None)
    lab.policy(limits={"removals_per_run": 1})
    for options in (["--dry-run"], []):
        code, [report] = cli.json("sweep", *options)
        held_by_account = {
            summary["account"]: (summary.get("reason"), summary["held"]) for summary in report["summaries"]
        }
        assert (code, held_by_account) == (1, {HOME: ("removals-held", "2"), PEER: (None, "0")})
    assert len(lab.rules(db)) == 2


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_a_long_wait_is_announced(lab: Lab, cli: Cli, options: list[str]) -> None:
    """A throttled call waits up to a minute: without a notice the command would seem to hang."""
    lab.fault(service="ecs", action="DescribeInstances", kind="throttle")
    assert cli("sweep", *options) == 0
    assert "throttles calls, or does not answer: retrying in" in cli.err


def test_removals_in_an_empty_account_need_believe_empty(lab: Lab, cli: Cli) -> None:
    """An account that shows no instances may be an outage: its links stay until a person passes `--believe-empty`."""
    db, theirs = lab.group(f"*@{PEER}:tcp/3306"), lab.group(account=PEER)
    lab.instance(theirs, tags={"link-peer": f"{db.id}@{HOME}:tcp/3306"})
    assert cli("sweep") == 0
    for instance in list(lab.cloud.ecs.accounts[PEER].instances):
        lab.call(PEER, "DeleteInstance", {"InstanceId": instance, "Force": "true"})
    assert cli("sweep") == 0
    assert f"{PEER}: shows no instances" in cli.out
    assert lab.rules(db) == [f"{theirs.id} tcp/3306"]
    assert cli("sweep", "--believe-empty", PEER) == 0
    assert lab.rules(db) == []


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_a_sweep_calls_parties_by_their_names(lab: Lab, cli: Cli) -> None:
    """As `links` does; also the dry run, which has the ids in `-o wide`."""
    app, db = lab.group(name="app"), lab.group("*", name="db")
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert (cli("sweep", "--dry-run"), "db" in cli.out, db.id in cli.out) == (0, True, False)
    assert (cli("sweep", "--dry-run", "-o", "wide"), db.id in cli.out) == (0, True)
    assert cli("sweep") == 0
    assert re.search(r"applied +app@\S+ +db@\S+ +tcp/1", cli.out)


@pytest.mark.usefixtures("terminal")
def test_a_dry_run_has_no_table_of_what_is_obsolete_where_nothing_is(lab: Lab, cli: Cli) -> None:
    """It says where it looked."""
    lab.instance(lab.group())
    assert (cli("sweep", "--dry-run"), cli.out) == (0, "Nothing would change.\n")
    assert cli.err.startswith("Looked at: region ")
    assert cli.json("sweep", "--dry-run")[1][0]["obsolete"] == []


def test_a_dry_run_plans_nothing_again_where_its_sweep_has_judged_all(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That plan would cost as much as all that the sweep decides. A rule that the sweep removes is not obsolete; the
    half of a link is."""
    app, db, other_group = (lab.group("*", tags={MANAGED: "true"}) for _ in range(3))
    lab.cross_account(lab.request(app, db))
    lab.cross_account(lab.request(app, other_group, "tcp/3", request_id="chg-2"))
    lab.tag(other_group, link_accept=None)
    lab.revoke(app)
    monkeypatch.setattr("link_peer_cli.checks.obsolete.next_sweep", None)
    _, [dry] = cli.json("sweep", "--dry-run")
    assert [group["group"] for group in dry["groups"] if group["remove"]] == [other_group.id]
    assert [(entry["kind"], entry["group"]) for entry in dry["obsolete"]] == [("half-open", db.id)]


def test_a_dry_run_lists_a_rule_that_a_later_sweep_judges(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks for it any more, and this sweep does not read all instances that might."""
    asker, _, db = lab.linked()
    lab.tag(asker, link_peer=None)
    monkeypatch.setattr(account_reads, "ASKING", 0)
    _, [dry] = cli.json("sweep", "--dry-run")
    assert [group["group"] for group in dry["groups"] if group["remove"]] == []
    assert [(entry["kind"], entry["group"]) for entry in dry["obsolete"]] == [("held", db.id)]


@pytest.mark.usefixtures("terminal")
def test_a_dry_run_lists_the_rules_whose_removal_is_held(lab: Lab, cli: Cli) -> None:
    """With id, claim, cause and age, beside what it would remove, which is not listed twice; it changes nothing."""
    app, db, other_group = lab.group(), lab.group("*"), lab.group("*")
    lab.cross_account(lab.request(app, other_group, "tcp/3"))
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1+tcp/2"})
    lab.tag(other_group, link_accept=None)
    lab.tag(instance, link_peer=None)
    lab.policy(limits={"removals_per_run": 1})
    lab.cloud.clock.sleep(7200)
    _, [dry] = cli.json("sweep", "--dry-run")
    held_rules = [(entry["kind"], entry["group"], entry["what"]) for entry in dry["obsolete"]]
    assert held_rules == [("held", db.id, "claimed by tag")] * 2
    assert {entry["rule_id"] for entry in dry["obsolete"]} == {
        rule["SecurityGroupRuleId"] for rule in lab.raw_rules(db)
    }
    assert [group["group"] for group in dry["groups"] if group["remove"]] == [other_group.id]
    assert cli("sweep", "--dry-run") == 1
    assert cli.out.count("2 h ago") == 2
    assert len(lab.rules(db)) == 2


def test_a_dry_run_and_doctor_list_a_damaged_marker(lab: Lab, cli: Cli) -> None:
    """Someone added a note to the description of a rule of ours: no function touches the rule any more."""
    app, db = lab.group(), lab.group("*")
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})))
    [rule] = lab.raw_rules(db)
    lab.modify(db, rule, Description=rule["Description"] + " see ticket 7")
    _, [dry] = cli.json("sweep", "--dry-run")
    [marker] = [entry for entry in dry["obsolete"] if entry["kind"] == "marker"]
    assert (marker["group"], marker["rule_id"]) == (db.id, rule["SecurityGroupRuleId"])
    assert marker["what"].endswith("see ticket 7")
    _, checks = cli.json("doctor")
    assert any(rule["SecurityGroupRuleId"] in check["what"] for check in checks if check["state"] == "warning")
