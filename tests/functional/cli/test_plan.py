"""`link-peer plan` previews what the functions would do and changes nothing."""

from __future__ import annotations

import io
import json
import re
import shlex
from typing import Any

import pytest
import yaml
from aliyun_local.api import Triggers
from link_peer_cli.demo.functions import deploy
from link_peer_deploy import packaging

from tests.functional.command import Cli, Written
from tests.functional.lab import HOME, PEER, POLICY, Lab


def planned(cli: Cli, subject: str) -> tuple[int, list[dict[str, str]], list[dict[str, str]]]:
    """Run `plan`; return the exit code, the decisions and the commands."""
    code, [document] = cli.json("plan", subject)
    return code, document["decisions"], document["commands"]


def run_commands(lab: Lab, commands: list[dict[str, str]]) -> None:
    """Run `aliyun ecs …` commands as each account's administrator."""
    for entry in commands:
        program, service, action, *words = shlex.split(entry["command"])
        assert (program, service) == ("aliyun", "ecs")
        params = {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
        lab.call(entry["account"], action, params)


@pytest.mark.parametrize("peer", ["group", "instance", "mutual", "mutual instances"])
def test_the_commands_add_what_the_function_would_add(lab: Lab, cli: Cli, peer: str) -> None:
    """The plan itself changes no rule or tag, and writes no record or message. After running them, auto_link finds its
    own rules and has nothing to change."""
    app, db = lab.group("*"), lab.group("*")
    target: Any = lab.instance(db) if "instance" in peer else db
    ports = "" if "mutual" in peer else ":tcp/3306+icmp"
    instance = lab.instance(app, tags={"link-peer": f"{target.id}{ports}"})
    code, decisions, commands = planned(cli, instance.id)
    assert (code, [d["outcome"] for d in decisions]) == (0, ["applied"])
    assert (lab.rules(db), lab.changes(), lab.records(), lab.queued()) == ([], 0, [], [])
    run_commands(lab, commands)
    before = lab.changes()
    assert lab.auto_link(lab.event(instance)) == {"unchanged": 1}
    assert (lab.changes(), len(lab.reasons(db))) == (before, 1 if "mutual" in peer else 2)


@pytest.mark.knobs(request_tags=True)
def test_the_commands_remove_what_the_function_would_remove(lab: Lab, cli: Cli) -> None:
    """A removed tag removes its rule, by rule id. A rule with another claim stays; its marker is rewritten."""
    app, db, cache = lab.group(), lab.group("*"), lab.group("*")
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/3306 {cache.id}:tcp/6379"})
    lab.cross_account(lab.request(app, cache, "tcp/6379"))
    lab.tag(instance, link_peer=None)
    _, decisions, commands = planned(cli, instance.id)
    assert {d["outcome"] for d in decisions} == {"removed"}
    assert sorted(c["command"].split()[2] for c in commands) == ["ModifySecurityGroupRule", "RevokeSecurityGroup"]
    run_commands(lab, commands)
    assert (lab.rules(db), lab.rules(cache)) == ([], [f"{app.id} tcp/6379"])
    assert lab.reasons(cache) == ["req:chg-1"]


def test_a_denied_link_exits_with_1_and_prints_its_advice(lab: Lab, cli: Cli) -> None:
    """The advice is the tag to set, as in the audit record that the function would write."""
    app, db = lab.group(), lab.group()
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    assert cli("plan", instance.id) == 1
    assert f"tag {db.id}@{HOME} link-accept={app.id}:tcp/3306" in cli.out
    assert cli.out.splitlines()[-1] == "Nothing would change. Links: 1 denied."
    assert cli("plan", instance.id, "--markdown") == 1
    assert cli.out.splitlines()[-1].startswith(f"| `{app.id} → {db.id} tcp/3306` | `denied` | `no-consent: ")


def test_a_request_is_read_from_standard_input(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands name the account to run them in. A cross-account rule names the owner of its source group."""
    ours = lab.group(f"*@{PEER}")
    theirs = lab.group(f"*@{HOME}", account=PEER)
    body = json.dumps(lab.request(ours, theirs)).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(body)))
    code, [decision], commands = planned(cli, "-")
    assert (code, decision["outcome"], decision["request_id"]) == (0, "applied", "chg-1")
    assert {c["account"] for c in commands} == {HOME, PEER}
    run_commands(lab, commands)
    assert (lab.rules(ours), lab.rules(theirs)) == ([f"{theirs.id} all"], [f"{ours.id} all"])


def test_each_element_of_a_file_is_planned_on_its_own(lab: Lab, cli: Cli, written: Written) -> None:
    """Events, messages and requests in one file: an invalid one does not stop the others."""
    app, db, cache = lab.group(), lab.group("*"), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    good = [lab.event(instance), lab.message(lab.request(app, cache, "tcp/6379"))]
    good.append(lab.request(app, cache, "tcp/6380", request_id="chg-2"))
    bad = [lab.event("db-1"), lab.message("hello"), lab.request(app, cache, ports=[]), {"a": 1}, 7]
    code, decisions, commands = planned(cli, written([*bad, *good]))
    assert (code, sorted(d["reason"] for d in decisions if d["outcome"] == "denied")) == (
        1,
        ["bad-event", *["bad-request"] * 4],
    )
    applied = [(d["to"], d["ports"]) for d in decisions if d["outcome"] == "applied"]
    assert applied == [(db.id, "tcp/3306"), (cache.id, "tcp/6379"), (cache.id, "tcp/6380")]
    assert len(commands) == 5


def test_an_event_that_would_be_retried_is_an_attempt(lab: Lab, cli: Cli, written: Written) -> None:
    """The API does not show the instance yet: exit code 1, and the other event of the file is planned."""
    path = written([lab.event("i-late"), lab.event(lab.instance(lab.group()))])
    code, [attempt], _ = planned(cli, path)
    assert (code, attempt["record"], "not shown yet" in attempt["detail"]) == (1, "attempt", True)
    assert cli("plan", path) == 1
    assert ("(attempt)" in cli.out, cli.out.splitlines()[-1]) == (True, "Links: 1 undecided.")


def test_new_consent_is_planned_completely(lab: Lab, cli: Cli, written: Written) -> None:
    """The function only posts a sync of the pair and a look at the instance; the plan shows what comes of them."""
    app, db = lab.group(f"*@{HOME}"), lab.group()
    peer, target = lab.instance(app), lab.instance(db)
    lab.tag(peer, link_peer=f"{db.id}:tcp/1 {target.id}:tcp/2")
    lab.tag(db, link_accept=f"{app.id}:tcp/1 {peer.id}:tcp/2")
    _, decisions, commands = planned(cli, written(lab.group_event(db)))
    applied = {(d["to"], d["ports"]) for d in decisions if d["outcome"] == "applied"}
    assert applied == {(db.id, "tcp/1"), (target.id, "tcp/2")}
    assert len([c for c in commands if "AuthorizeSecurityGroup" in c["command"]]) == 2
    assert (lab.rules(db), lab.queued()) == ([], [])


def test_a_timer_event_is_planned_as_a_sweep(living_lab: Lab, cli: Cli) -> None:
    """Of all accounts of the policy."""
    app, db = living_lab.group(account=PEER), living_lab.group("*", account=PEER)
    living_lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    code, [decision], commands = planned(cli, "events/timer.json")
    assert (code, decision["outcome"], decision["to"]) == (0, "applied", db.id)
    assert {c["account"] for c in commands} == {PEER}
    assert living_lab.changes() == 0


@pytest.mark.knobs(request_tags=True)
def test_removals_of_several_messages_are_counted_together(lab: Lab, cli: Cli, written: Written) -> None:
    """Each sync is due to remove one rule. Together they exceed the limit of 1, so the plan previews a failed summary
    and no removal, as cross_account would record it."""
    a, b = lab.pair()
    c = lab.group(f"*@{PEER}")
    askers = [lab.instance(group, tags={"link-peer": f"{b.id}@{PEER}:tcp/1"}) for group in (a, c)]
    lab.instance(b)
    syncs = [lab.request(group, b, action="sync", request_id=f"tag-{group.id}") for group in (a, c)]
    assert lab.cross_account(*syncs) == {"applied": 2}
    for asker in askers:
        lab.tag(asker, link_peer=None)
    lab.policy(limits={"removals_per_run": 1})
    code, decisions, commands = planned(cli, written(syncs))
    assert (code, commands) == (1, [])
    records = sorted((record["record"], record["outcome"], record["reason"]) for record in decisions)
    held_fields = ("failed", "removals-held")
    assert records == [("outcome", *held_fields), ("outcome", *held_fields), ("summary", *held_fields)]


def test_a_plan_is_printed_by_group(lab: Lab, cli: Cli) -> None:
    """Each rule with who asked, the instances that a change of the group affects, the counts last. It says of nothing
    that it was applied, and prints commands only if asked."""
    app, db = lab.group(), lab.group("*")
    member = lab.instance(db)
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    assert cli("plan", instance.id) == 0
    group, rule, tag, total = cli.out.splitlines()
    assert group == f"{db.id}@{HOME}  affects 1 instance: {member.id}"
    assert rule.startswith(f"  + tcp/3306 from {app.id}@{HOME}  tag of {instance.id}")
    assert tag.startswith("  + tag link-managed.")
    assert total == "Rules: 1 to add, 0 to remove. Affected: 1 instance in 1 group."
    assert "applied" not in cli.out
    assert cli("plan", f"{instance.id}@{HOME}", "--commands") == 0
    assert "aliyun ecs AuthorizeSecurityGroup" in cli.out
    assert cli.out.splitlines()[-1] == total
    _, [document] = cli.json("plan", instance.id)
    [group_changes] = document["groups"]
    assert (group_changes["add"], group_changes["instances"]) == ([f"tcp/3306 from {app.id}@{HOME}"], [member.id])
    assert {name: count for name, count in document["counts"].items() if count} == {
        "add": 1,
        "tagged": 1,
        "groups": 1,
        "instances": 1,
    }


@pytest.mark.knobs(request_tags=True)
def test_changed_and_removed_rules_have_their_own_signs(lab: Lab, cli: Cli) -> None:
    """A rule that another claim keeps is changed; one without a claim is removed; one that stays as it is is not
    shown."""
    app, db = lab.group(), lab.group("*")
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1+tcp/2"})
    lab.cross_account(lab.request(app, db, "tcp/1"))
    lab.cross_account(lab.request(app, db, "tcp/9", request_id="chg-9"))
    lab.tag(instance, link_peer=None)
    assert cli("plan", instance.id) == 0
    signs = [line.split()[:2] for line in cli.out.splitlines() if line.startswith("  ")]
    assert signs == [["-", "tcp/2"], ["~", "tcp/1"]]
    assert cli.out.splitlines()[-1] == "Rules: 0 to add, 1 to change, 1 to remove. Affected: 0 instances in 1 group."


@pytest.mark.knobs(request_tags=True)
def test_detailed_exit_codes(lab: Lab, cli: Cli) -> None:
    """As of terraform: 2 if something would change, 0 if nothing would, 1 if a link is denied."""
    app, db, cache = lab.group(), lab.group("*"), lab.group()
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert cli("plan", instance.id, "--detailed-exitcode") == 2
    assert cli("plan", instance.id) == 0
    lab.auto_link(lab.event(instance))
    assert cli("plan", instance.id, "--detailed-exitcode") == 0
    assert cli.out == "Nothing would change.\n"
    lab.tag(instance, link_peer=f"{db.id}:tcp/1+tcp/2 {cache.id}:tcp/1")
    assert cli("plan", instance.id, "--detailed-exitcode") == 1


@pytest.mark.knobs(request_tags=True)
def test_a_tag_alone_is_a_change(lab: Lab, cli: Cli) -> None:
    """A managed tag that someone removed is written again: the counts, the table and the exit code say so."""
    app, db = lab.group(), lab.group("*")
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"})
    [tag] = [name for name in lab.tags(db) if name.startswith("link-managed")]
    lab.tag(db, **{tag: None})
    assert cli("plan", instance.id, "--detailed-exitcode") == 2
    assert cli.out.splitlines()[-1] == "Rules: none. Tags: of 1 group."
    assert cli("plan", instance.id, "--markdown") == 0
    assert cli.out.splitlines()[-1] == f"| `+` | `tag {tag}` | `{db.id}@{HOME}` | | |"
    _, [document] = cli.json("plan", instance.id)
    assert (document["groups"][0]["tags"], document["counts"]["tagged"]) == ([f"+ {tag}"], 1)


def test_markdown_is_literal(lab: Lab, cli: Cli, written: Written) -> None:
    """What people wrote cannot break the table or become a link in it."""
    app, db = lab.group(), lab.group("*")
    assert cli("plan", written(lab.request(app, db, "tcp/1", reason="a|b\\|c `[x](y)`")), "--markdown") == 0
    assert cli.out.startswith("### What would change\n\n**Rules: 1 to add, 0 to remove.")
    [row] = [line for line in cli.out.splitlines() if line.startswith("| `+`")]
    assert row.endswith("| `chg-1  a\\|b\\\\\\|c '[x](y)'` |")  # an odd number of backslashes before each bar


def proposed(tmp_path: Any, **changes: Any) -> str:
    """The path of a policy file that differs from the deployed one."""
    path = tmp_path / "proposed.yaml"
    path.write_text(yaml.safe_dump({**POLICY, **changes}), encoding="utf-8")
    return str(path)


def test_another_policy_is_planned_before_it_is_deployed(living_lab: Lab, cli: Cli, tmp_path: Any) -> None:
    """What it closes by a port that it denies, what it opens by an entry of `allow`; nothing is changed or recorded."""
    lab = living_lab
    app, db, cache = lab.group(), lab.group("*"), lab.group()
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/23 {cache.id}:tcp/6379"})
    member = lab.instance(cache)
    lab.auto_link(lab.event(instance))
    before = (lab.changes(), len(lab.records()))
    allow = [{"from": f"{app.id}@{HOME}", "to": f"{cache.id}@{HOME}", "ports": ["tcp/6379"]}]
    path = proposed(tmp_path, deny={"ports": ["tcp/23"]}, allow=allow)
    assert cli("plan", "--policy", path) == 0
    lines = cli.out.splitlines()
    assert f"{cache.id}@{HOME}  affects 1 instance: {member.id}" in lines
    [opened] = [line for line in lines if line.startswith("  + ")]
    [closed] = [line for line in lines if line.startswith("  - ")]
    assert opened.startswith(f"  + tcp/6379 from {app.id}@{HOME}  tag of {instance.id}")
    assert closed.startswith(f"  - tcp/23 from {app.id}@{HOME}")
    assert "which the policy never opens" in closed
    assert lines[-1] == "Rules: 1 to open, 1 to close. Affected: 1 instance in 2 groups."
    reach = f"1 instance of {app.id}@{HOME} gains tcp/6379 to 1 instance of {cache.id}@{HOME}"
    assert f"+ {reach}" in lines  # nobody is in the other group
    assert (lab.changes(), len(lab.records())) == before
    assert cli("plan", "--policy", path, "--detailed-exitcode") == 2
    assert cli("plan", "--policy", path, "--markdown") == 0
    assert cli.out.startswith(f"### What {path} would open and close\n\n**Rules: 1 to open, 1 to close.")
    _, [document] = cli.json("plan", "--policy", path)
    assert {group["group"]: (len(group["add"]), len(group["remove"])) for group in document["groups"]} == {
        cache.id: (1, 0),
        db.id: (0, 1),
    }
    assert [(reach_line["text"], reach_line["pairs"]) for reach_line in document["reach"]] == [(reach, 1)]
    lab.authorize(cache, IpProtocol="tcp", PortRange="6379/6379", SourceCidrIp="10.0.0.0/8", Policy="accept")
    assert cli("plan", "--policy", path, "--markdown") == 0
    assert " gains " not in cli.out  # a person's rule lets it pass already
    lab.fault(service="ecs", action="DescribeInstances", code="Forbidden.RAM", status=403, times=None)
    assert cli("plan", "--policy", path) == 1
    unread = (
        f"- instances of {app.id}@{HOME} may lose tcp/23 to instances of {db.id}@{HOME} (not all of them could be read)"
    )
    assert unread in cli.out.splitlines()


def test_markdown_of_many_changes_fits_into_a_comment(living_lab: Lab, cli: Cli, tmp_path: Any) -> None:
    """The widest changes are in it, none in part; it says how many are left out, and a file has all of them."""
    names = [f"</td></table>@all](x) |{n:03}\\|" + "界*_~<b>`" * 12 for n in range(100)]
    groups = [living_lab.group() for _ in names]
    for name, source, target in zip(names, groups, [*groups[1:], groups[0]], strict=True):
        living_lab.instance(source, name=name[:128], tags={"link-peer": f"{target.id}:tcp/1+udp/1-9"})
    for _ in range(3):
        living_lab.instance(groups[60], name=names[0])
    path = proposed(tmp_path, allow=[{"from": f"*@{HOME}", "to": f"*@{HOME}"}])
    assert cli("plan", "--policy", path, "--markdown", "--rest", str(tmp_path / "rest.md")) == 0
    output, whole = cli.out, (tmp_path / "rest.md").read_text(encoding="utf-8")
    rows, all_rows = ([line for line in text.splitlines() if "`affects" in line] for text in (output, whole))
    assert (len(all_rows), rows) == (200, all_rows[: len(rows)])
    assert 55_000 < len(output) < 60_000 < len(whole)
    assert f"{200 - len(rows)} of 200 changes" in output
    assert f"all of it is in `{tmp_path / 'rest.md'}`." in output
    assert all("affects 4 instances" in row for row in rows[:2])
    for text in (output, whole):  # names stay in code, and in their cells
        assert re.search(r"<b>|</td>|@all", re.sub("`[^`\n]*`", "", text)) is None
        assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in rows} == {6}
    assert cli("plan", "--policy", path, "--markdown") == 0
    assert "`--rest FILE` writes all of it." in cli.out
    assert cli("plan", "--policy", path, "--rest", "x") == 2
    assert cli("plan", "--policy", path) == 0
    gains = [line for line in cli.out.splitlines() if line.startswith("+ ")]
    assert "gains tcp/1+udp/1-9 to 4 instances of" in gains[0] + gains[1]
    assert gains[10:] == ["+ and 90 smaller ones"]


def test_two_policies_are_compared_on_one_state(living_lab: Lab, cli: Cli, tmp_path: Any) -> None:
    """The rules of a group are read once for both sweeps, so that nothing which changes in between looks like the
    policy's doing."""
    lab = living_lab
    app, db = lab.group(), lab.group("*")
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/23"})))
    lab.cloud.faults.calls.clear()
    assert cli("plan", "--policy", proposed(tmp_path, deny={"ports": ["tcp/23"]})) == 0
    assert "Rules: 0 to open, 1 to close." in cli.out
    group_ids = [
        call.params["SecurityGroupId"] for call in lab.cloud.faults.calls if call.action.endswith("GroupAttribute")
    ]
    assert group_ids.count(db.id) == 1


def test_an_equal_policy_opens_and_closes_nothing(living_lab: Lab, cli: Cli, tmp_path: Any) -> None:
    """What is due anyway is no part of the difference; it is counted."""
    app, db = living_lab.group(), living_lab.group("*")
    living_lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert cli("plan", "--policy", proposed(tmp_path), "--detailed-exitcode") == 0
    assert cli.out.splitlines() == [
        "1 more change is due under the present policy, too: link-peer sweep --dry-run",
        f"The same links could open as under {living_lab.policy_path} (no function is deployed).",
        "Nothing would change.",
    ]


def test_a_policy_that_contradicts_its_tests_fails_the_plan(living_lab: Lab, cli: Cli, tmp_path: Any) -> None:
    """Exit code 1, with the test. So does one with an account that cannot be read, or that leaves one out, it says what
    stays behind."""
    app, db = living_lab.group(), living_lab.group()
    tests = [{"from": f"{app.id}@{HOME}", "accept": [f"{db.id}@{HOME}:tcp/23"], "deny": [f"{db.id}@{HOME}:tcp/23"]}]
    path = proposed(tmp_path, deny={"ports": ["tcp/23"]}, tests=tests)
    assert cli("plan", "--policy", path) == 1
    assert "a test of the policy fails: tests[0].accept[0]" in cli.out
    assert "tests[0].deny" not in cli.out
    accounts = {uid: account for uid, account in POLICY["accounts"].items() if uid != PEER}
    assert cli("plan", "--policy", proposed(tmp_path, accounts=accounts)) == 0
    assert f"link-peer account remove {PEER}" in cli.out


def test_members_that_cannot_be_read_are_not_counted_as_none(lab: Lab, cli: Cli) -> None:
    """The plan itself succeeds."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    for as_json in ((), ("--json",)):
        lab.cloud.faults.clear()
        lab.fault(service="ecs", action="DescribeInstances", code="Forbidden.RAM", status=403, skip=1, times=None)
        assert cli("plan", instance.id, *as_json) == 0
        assert ('"instances": null' if as_json else f"{db.id}@{HOME}  its instances could not be read") in cli.out
        if not as_json:
            total = "Rules: 1 to add, 0 to remove. Affected: 0 instances in 1 group, and more: those of 1 group could not be read."
            assert cli.out.splitlines()[-1] == total


def test_keys_that_only_look_like_ours_are_named_with_those_that_were_meant(lab: Lab, cli: Cli) -> None:
    """On what was read: by `plan` in each of its forms, and by `explain`."""
    app, db = lab.group(), lab.group("sg-one", tags={"link-accept.x": "*"})
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1", "Link-Untill": "2099-01-01T00:00:00Z"})
    no_meaning = "means nothing to link-peer on this"
    notes = [
        f"{instance.id}@{HOME}: the key 'Link-Untill' {no_meaning} instance: if you meant link-until, set that on an instance, "
        "and remove this tag",
        f"{db.id}@{HOME}: the key 'link-accept.x' {no_meaning} security group: if you meant link-accept.2, set that on a "
        "security group, and remove this tag",
    ]
    code, [document] = cli.json("plan", instance.id)
    assert (code, document["notes"]) == (1, notes)
    for form in ((), ("--markdown",)):
        assert cli("plan", instance.id, *form) == 1
        assert [cli.out.count(note) for note in notes] == [1, 1]
    _, [document] = cli.json("explain", instance.id, db.id, "tcp/1")
    assert [step["why"] for step in document["do"] if not step["command"]] == notes


def test_a_policy_is_compared_with_what_is_deployed(
    triggers: Triggers, lab: Lab, cli: Cli, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with the file in use, which may be the proposed one: what could open, even if nothing would open now."""
    path = proposed(tmp_path, limits={"max_ports": 20})
    monkeypatch.setenv("LINK_PEER_POLICY", path)
    assert cli("plan", "--policy", path, "--detailed-exitcode") == 2
    assert "wider     limits.max_ports  20 ports may be in a link" in cli.out
    assert "Changes in what could open, compared with what is deployed: 1 wider, 0 narrower, 0 neither." in cli.out
    assert cli("plan", "--policy", path, "--markdown") == 0
    assert "| `wider` | `limits.max_ports` | `20 ports may be in a link` | `16` | `20` |" in cli.out
    code, [document] = cli.json("plan", "--policy", str(lab.policy_path))
    assert (code, document["permissions"], document["against"]) == (0, [], "what is deployed")
    lab.fault(service="fc", action="GetFunctionCode", code="AccessDenied", status=403, times=None)
    assert cli("plan", "--policy", path) == 1
    assert "the deployed policy of link-peer-auto-link cannot be read" in cli.out


def test_two_files_are_compared_without_keys(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    """Nothing is asked; what is narrower is no reason for exit code 2."""
    offline, old, new = Cli(capsys), tmp_path / "old.yaml", proposed(tmp_path, deny={"ports": ["tcp/22"]})
    old.write_text(yaml.safe_dump(POLICY), encoding="utf-8")
    assert offline("plan", "--policy", new, "--against", str(old), "--detailed-exitcode") == 0
    assert f"Changes in what could open, compared with {old}: 0 wider, 1 narrower, 0 neither." in offline.out
    assert offline("plan", "--policy", str(old), "--against", new, "--detailed-exitcode", "--markdown") == 2
    assert "| `wider` | `deny.ports` | `tcp/22 may open, and mutual links` | `tcp/22` | `none` |" in offline.out
    code, [document] = offline.json("plan", "--policy", new, "--against", str(old))
    assert (code, [permission["kind"] for permission in document["permissions"]]) == (0, ["narrower"])
    assert "groups" not in document
    assert offline("plan", "i-a", "--against", str(old)) == 2


def test_package_is_compared_with_what_is_deployed(
    lab: Lab, cli: Cli, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `--first` where nothing is, and not where something is. What cannot be read is refused."""
    built = tmp_path / "package.zip"
    built.touch()
    monkeypatch.setattr(packaging, "build", lambda *_, **__: packaging.Built(tmp_path, built, "d1", 3))
    wider, same_policy = proposed(tmp_path, limits={"max_ports": 20}), str(lab.policy_path)
    assert cli("package", "--policy", wider) == 1
    assert "is deployed in cn-qingdao: give --first" in cli.err
    assert cli("package", "--policy", wider, "--first") == 0
    lab.cloud.world.policy = same_policy
    deploy(lab.cloud, in_process=True, connected=False)
    assert cli("package", "--policy", same_policy) == 0
    assert cli("package", "--policy", same_policy, "--first") == 2
    assert cli("package", "--policy", wider) == 1
    assert "limits.max_ports: 20 ports may be in a link" in cli.err
    assert cli("package", "--policy", wider, "--allow-wider") == 0
    lab.fault(service="fc", action="GetFunctionCode", code="AccessDenied", status=403, times=None)
    assert cli("package", "--policy", same_policy) == 1
    assert "--first" not in cli.err


def test_a_policy_without_an_account_names_the_links_that_stand_there(living_lab: Lab, cli: Cli, tmp_path: Any) -> None:
    """No rule there would change, since the functions would not enter it; the command closes them, and then nothing is
    left to say."""
    lab = living_lab
    app, db = lab.pair()
    lab.cross_account(lab.request(app, db, "tcp/3306"))
    lab.tag(db, **{f"link_managed.prod.{HOME}": None})  # by tools that know no such tag
    path = proposed(tmp_path, accounts={HOME: POLICY["accounts"][HOME]})
    before = lab.rules(db)
    _, [document] = cli.json("plan", "--policy", path)
    [note] = [text for text in document["notes"] if PEER in text]
    assert f"its rules of 1 link would stay: {app.id}@{HOME} to {db.id}@{PEER} tcp/3306." in note
    assert cli("plan", "--policy", path) == 0
    assert note in cli.out
    assert "No rule would change, and links would be left behind." in cli.out
    assert "Nothing would change." not in cli.out
    assert cli("plan", "--policy", path, "--detailed-exitcode") == 2
    assert lab.rules(db) == before == [f"{app.id} tcp/3306"]
    assert cli(*note.rpartition("link-peer ")[2].split()) == 0, cli.err
    _, [document] = cli.json("plan", "--policy", path)
    assert ([text for text in document["notes"] if PEER in text], lab.rules(db)) == ([], [])
