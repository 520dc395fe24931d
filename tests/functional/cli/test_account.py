"""`link-peer account`: an account joins, is listed, and leaves without a rule or role left behind."""

from __future__ import annotations

import errno
import json
import os
import shlex
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from aliyun_local.api import Caller, Role, Version, readings, trust_text
from link_peer.inbound import policy_file
from link_peer_cli.setup.peer import TEMPLATE

from tests.functional.command import Cli, Linked, use_keys, write_profiles
from tests.functional.lab import HOME, PEER, Lab

NEW = "1000000000000003"
ALL_ROLES = {"link-peer", "link-peer-reader", "link-peer-closer"}
ANN, ON_CALL = f"acs:ram::{HOME}:user/ann", f"acs:ram::{HOME}:role/on-call"


@pytest.fixture(name="cli")
def _cli(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """A third account with an instance, and a profile of the `aliyun` CLI for it and for the second."""
    lab.cloud.identity.add_account(NEW, "c@aliyun.com")
    vpc = lab.cloud.ecs.create_vpc(NEW, "10.9.0.0/16").id
    lab.instance(lab.group(account=NEW, vpc=vpc))
    for account in (HOME, PEER):
        lab.instance(lab.group(account=account))
    write_profiles(lab, monkeypatch, tmp_path, {"peer": PEER, "new": NEW})
    return Cli(capsys)


def roles(lab: Lab, account: str) -> dict[str, Role]:
    """The roles of an account by name."""
    return {role.name: role for role in lab.cloud.identity.roles.values() if role.account == account}


def reached(cli: Cli) -> dict[str, bool]:
    """Whether the functions entered each account of the policy file at the last run."""
    code, accounts = cli.json("account", "list")
    assert code == (0 if all(row["reached"] for row in accounts) else 1)
    return {row["uid"]: row["reached"] for row in accounts}


def may_enter(lab: Lab, role: str) -> set[str]:
    """The names of the roles in other accounts that the policy of a home role names."""
    statements = json.loads(lab.cloud.identity.policies[HOME, role].document)["Statement"]
    entered = [s for s in statements if (s["Effect"], s["Action"]) == ("Allow", ["sts:AssumeRole"])]
    return {arn.removeprefix("acs:ram::*:role/") for s in entered for arn in s["Resource"]}


# add


@pytest.mark.parametrize("trusts_anyone", readings()["trusts_anyone"])
def test_an_account_joins_with_one_command(lab: Lab, cli: Cli, trusts_anyone: bool) -> None:
    """With keys of both: roles there, home's policies, the lines in the policy file. Then commands reach it. Whether
    RAM lets a trust policy name a role that does not exist does not matter: home's are there first."""
    lab.cloud.knobs.change({"trusts_anyone": trusts_anyone})
    assert cli("account", "add", NEW, "--name", "c@aliyun.com", "--role", "third", "--profile", "new", "--write") == 0
    role_texts = roles(lab, NEW)
    assert set(role_texts) == {"third", "third-reader", "third-closer"}
    entry = policy_file.load(lab.policy_path).accounts[NEW]
    assert (entry.name, entry.role) == ("c@aliyun.com", f"acs:ram::{NEW}:role/third")
    assert entry.external_id == role_texts["third"].external_id == role_texts["third-reader"].external_id
    assert may_enter(lab, "link-peer-fc") == {"link-peer", "third"}
    assert may_enter(lab, "link-peer-operator") == {"link-peer", "third", "link-peer-closer", "third-closer"}
    assert lab.sweep() == {}
    assert reached(cli) == {HOME: True, PEER: True, NEW: True}


@pytest.mark.parametrize(
    ("options", "trusted"),
    [
        ((), [f"acs:ram::{HOME}:role/link-peer-operator"]),
        (("--closer", ANN, "--closer", ON_CALL), [ANN, ON_CALL]),
        (("--no-closer",), []),
    ],
)
def test_the_owner_says_who_closes_there(lab: Lab, cli: Cli, options: tuple[str, ...], trusted: list[str]) -> None:
    """Home's operators, those who are named, or nobody; with MFA. The printed commands say the same."""
    _, [addition] = cli.json("account", "add", NEW, *options)
    assert ("link-peer-closer" in " ".join(addition["commands"])) is bool(trusted)
    words = shlex.split(addition["ros"])
    assert words[words.index("Closers") + 2] == ",".join(trusted)
    assert cli("account", "add", NEW, "--profile", "new", "--write", *options) == 0, cli.err
    trusts = [json.loads(role.trust) for name, role in roles(lab, NEW).items() if name == "link-peer-closer"]
    assert len(trusts) == bool(trusted)
    for [statement] in (trust["Statement"] for trust in trusts):
        assert (statement["Principal"]["RAM"], statement["Condition"]["Bool"]) == (trusted, {"acs:MFAPresent": "true"})


def test_each_account_has_an_external_id_of_its_own(cli: Cli) -> None:
    """A random one of 128 bits."""
    external_ids = []
    for _ in range(2):
        _, [addition] = cli.json("account", "add", NEW)
        external_ids.append(yaml.safe_load(addition["policy"])[NEW]["external_id"])
    assert len({*external_ids}) == 2
    assert all(len(value) == 32 for value in external_ids)


def test_adding_an_account_again_changes_nothing(lab: Lab, cli: Cli) -> None:
    """The external id in use stays, whether the policy file has the account already or not."""
    assert cli("account", "add", NEW, "--profile", "new") == 0
    external_id = roles(lab, NEW)["link-peer"].external_id
    _, [again] = cli.json("account", "add", NEW, "--profile", "new", "--write")
    assert (again["changes"], again["written"]) == ([], True)
    text = lab.policy_path.read_text()
    _, [third] = cli.json("account", "add", NEW, "--profile", "new", "--write")
    assert (third["changes"], third["written"], lab.policy_path.read_text()) == ([], False, text)
    assert policy_file.load(lab.policy_path).accounts[NEW].external_id == external_id


def test_a_role_that_somebody_else_made_there_is_refused(lab: Lab, cli: Cli) -> None:
    """Whoever may create roles there would choose who gets link-peer's policies. What it trusts and holds is named;
    nothing is made. A person may adopt it, and then it trusts whom link-peer's trusts."""
    trust = trust_text([f"acs:ram::{NEW}:user/mallory"])
    role = lab.cloud.identity.add_role(Role(NEW, "link-peer-closer", trust))
    before = lab.policy_path.read_text()
    assert cli("account", "add", NEW, "--profile", "new", "--write") == 1
    assert "role link-peer-closer: exists, and link-peer did not make it: it trusts" in cli.err
    assert f"run: link-peer account add {NEW} --profile new --adopt" in cli.err
    assert (role.attached, set(roles(lab, NEW)), lab.policy_path.read_text()) == ({}, {"link-peer-closer"}, before)
    assert cli("account", "add", NEW, "--profile", "new", "--write", "--adopt") == 0, cli.err
    assert "it counts as ours now" in cli.err
    assert "mallory" not in role.trust
    assert cli("account", "add", NEW, "--profile", "new", "--write") == 0


def test_a_role_that_somebody_else_made_there_is_not_deleted(lab: Lab, cli: Cli) -> None:
    """Before anything is closed, it is named; a person says that it goes, too."""
    role = roles(lab, PEER)["link-peer-reader"]
    role.attached.clear()
    role.trust = trust_text([f"acs:ram::{PEER}:user/mallory"])
    assert cli("account", "remove", PEER, "--profile", "peer", "--yes") == 1
    assert f"run: link-peer account remove {PEER} --profile peer --adopt" in cli.err
    assert set(roles(lab, PEER)) == ALL_ROLES
    assert cli("account", "remove", PEER, "--profile", "peer", "--yes", "--adopt") == 0, cli.err
    assert roles(lab, PEER) == {}


def test_without_keys_of_the_account_its_owner_is_told_what_to_run(lab: Lab, cli: Cli) -> None:
    """The commands make exactly the roles that `--profile` makes."""
    _, [addition] = cli.json("account", "add", NEW, "--external-id", "0123456789abcdef")
    assert roles(lab, NEW) == {}
    documents = {}
    for command in addition["commands"]:
        words = shlex.split(command)
        if words[2] == "CreateRole":
            documents[words[4]] = json.loads(words[6])
    assert cli("account", "add", NEW, "--external-id", "0123456789abcdef", "--profile", "new") == 0
    assert documents == {name: json.loads(role.trust) for name, role in roles(lab, NEW).items()}
    assert "ParameterKey ExternalId --Parameters.2.ParameterValue 0123456789abcdef" in addition["ros"]
    assert template_read(addition["ros"]) == TEMPLATE.read_text(encoding="utf-8")


def template_read(command: str) -> str:
    """What the shell gives `aliyun` as the template, where the command is pasted."""
    paste = f"aliyun() {{ for last; do :; done; printf '%s\\n' \"$last\"; }}; {command}"
    return subprocess.run(["/bin/sh", "-c", paste], capture_output=True, text=True, check=True).stdout  # noqa: S603


def test_a_printed_command_reads_the_template_wherever_it_is_pasted(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder without one, that of the installed link-peer; for another machine, the copy that `--template`
    writes."""
    (path := tmp_path / "members.txt").write_text(f"{NEW}\n")
    (folder := tmp_path / "an empty folder").mkdir()
    monkeypatch.chdir(folder)
    for add in ((NEW,), ("--from", str(path)), ("--from", str(path), "--stack-group", "fd-a1B2c3")):
        for copy in ("", "its copy.yaml"):
            _, [addition] = cli.json("account", "add", *add, *(("--template", copy) if copy else ()))
            command = addition["ros"] or addition["commands"][0]
            assert template_read(command) == TEMPLATE.read_text(encoding="utf-8")
            assert command.endswith(f"\"$(cat '{copy}')\"" if copy else f'"$(cat {TEMPLATE})"')
            assert [entry.name for entry in folder.iterdir()] == ([copy] if copy else [])
            for entry in folder.iterdir():
                entry.unlink()


def test_an_account_may_have_a_queue_and_ranges(lab: Lab, cli: Cli) -> None:
    """The queue has the name that cross_account's role may send to, and is made at home."""
    options = ("--queue", "--range", "10.20.0.0/16", "--range", "10.21.0.0/16", "--profile", "new", "--write")
    assert cli("account", "add", NEW, *options) == 0
    entry = policy_file.load(lab.policy_path).accounts[NEW]
    assert (entry.queue, entry.ranges) == (f"link-peer-requests-{NEW}", ("10.20.0.0/16", "10.21.0.0/16"))
    assert lab.cloud.mns.queue(HOME, entry.queue).name == entry.queue


def test_home_stays_as_it_is_without_keys_of_it(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the command says what to run there."""
    use_keys(lab.cloud, monkeypatch, NEW)
    assert cli("account", "add", NEW, "--role", "third", "--profile", "new") == 0
    assert may_enter(lab, "link-peer-fc") == {"link-peer"}
    assert f"Home was not changed: the keys belong to account {NEW}" in cli.out
    assert "link-peer setup" in cli.out


def test_a_range_that_is_none_is_refused_before_anything_is_made(lab: Lab, cli: Cli) -> None:
    """With the words of the policy file."""
    assert cli("account", "add", NEW, "--range", "somewhere", "--profile", "new") == 1
    assert "ranges" in cli.err
    assert roles(lab, NEW) == {}


def test_a_policy_file_that_cannot_be_written_stops_it_before_anything_is_made(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read-only, or the disk is full. The file is whole, and nothing lies beside it."""
    text, folder = lab.policy_path.read_text(), lab.policy_path.parent
    before, command = sorted(folder.iterdir()), ("account", "add", NEW, "--profile", "new", "--write")
    lab.policy_path.chmod(0o444)
    assert cli(*command) == 1
    assert cli.err == f"{lab.policy_path} cannot be written: it is read-only\n"
    lab.policy_path.chmod(0o640)

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert cli(*command) == 1
    assert cli.err == f"{lab.policy_path} cannot be written: No space left on device\n"
    assert (lab.policy_path.read_text(), sorted(folder.iterdir()), roles(lab, NEW)) == (text, before, {})
    assert cli(*command) == 0
    assert stat.S_IMODE(lab.policy_path.stat().st_mode) == 0o640


def test_roles_that_cannot_be_made_leave_the_policy_file_as_it_was(lab: Lab, cli: Cli) -> None:
    """And nothing beside it; what was made and what was not is named. Where it is a link, the target gets the lines."""
    text, target = lab.policy_path.read_bytes(), lab.policy_path.with_name("target.yaml")
    lab.policy_path.rename(target)
    lab.policy_path.symlink_to(target)
    lab.fault(service="ram", action="CreateRole", code="NoPermission", status=403, times=1)
    assert cli("account", "add", NEW, "--profile", "new", "--write") == 1
    lines = cli.err.splitlines()
    assert lines[0].startswith("role link-peer: NoPermission")
    assert f"done: account {NEW}: create policy link-peer" in lines
    assert f"not done: account {NEW}: create role link-peer" in lines
    assert target.read_bytes() == text
    assert not [path for path in target.parent.iterdir() if path.name.startswith(".link-peer")]
    assert cli("account", "add", NEW, "--profile", "new", "--write") == 0
    assert lab.policy_path.is_symlink()
    assert NEW in policy_file.load(target).accounts


NEW_ONES = [NEW, "1000000000000004", "1000000000000005"]
MEMBERS = f"""# from the resource directory
{HOME} home itself is skipped
{PEER} so is who takes part already
{NEW} c@aliyun.com
1000000000000004,Team Orders
1000000000000005
"""


def test_many_accounts_join_by_a_list(lab: Lab, cli: Cli, tmp_path: Path) -> None:
    """With one external id and the same role, so that one stack group can make the roles in all. A second list goes
    on."""
    path, group = tmp_path / "members.txt", ("--stack-group", "fd-a1B2c3", "--write")
    path.write_text(MEMBERS)
    before = policy_file.load(lab.policy_path).accounts
    _, [addition] = cli.json("account", "add", "--from", str(path), *group)
    accounts = policy_file.load(lab.policy_path).accounts
    added = {uid: accounts[uid] for uid in accounts.keys() - before.keys()}
    names = ["c@aliyun.com", "Team Orders", "1000000000000005"]
    assert [(uid, account.name) for uid, account in sorted(added.items())] == list(zip(NEW_ONES, names, strict=True))
    assert {account.role for account in added.values()} == {f"acs:ram::{uid}:role/link-peer" for uid in added}
    [external_id] = {account.external_id for account in added.values()}
    assert {uid: accounts[uid] for uid in before} == before
    assert [command.split()[2] for command in addition["commands"]] == ["CreateStackGroup", "CreateStackInstances"]
    assert external_id in addition["commands"][0]
    assert (addition["ros"], addition["home"], addition["changes"]) == (
        "",
        "",
        [],
    )  # home's policies name the role already
    path.write_text(f"{MEMBERS}1000000000000006 f\n")
    assert cli("account", "add", "--from", str(path), *group) == 0
    assert policy_file.load(lab.policy_path).accounts["1000000000000006"].external_id == external_id
    assert "has 1 more accounts" in cli.out
    assert cli("account", "add", "--from", str(path), *group) == 0
    assert "has them all" in cli.out


def test_a_list_without_a_stack_group_has_one_command_for_all(cli: Cli, tmp_path: Path) -> None:
    """Every owner runs the same, and the lines are printed."""
    (path := tmp_path / "members.txt").write_text(MEMBERS)
    _, [addition] = cli.json(
        "account", "add", "--from", str(path), "--role", "third", "--external-id", "0123456789abcdef"
    )
    assert "CreateStack " in addition["ros"]
    assert "0123456789abcdef" in addition["ros"]
    assert [*yaml.safe_load(addition["policy"])] == NEW_ONES
    assert [change.split()[0] for change in addition["changes"]] == ["policy"] * 3
    assert cli("account", "add", "--from", str(path)) == 0
    assert "The owner of each account runs this" in cli.out


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (f"{NEW}\nb\n", (), "line 2: 'b' is not the uid"),
        (f"{NEW}\n{NEW}\n", (), "line 2: 1000000000000003 is listed twice"),
        ("# none\n", (), "no account is listed"),
        (NEW, (PEER,), "are of one account"),
        (NEW, ("--stack-group", "all"), "--stack-group"),
        ("\n".join(map(str, range(10**15 + 100, 10**15 + 2101))), ("--stack-group", "fd-a"), "holds 2000"),
    ],
)
def test_a_bad_list_is_a_usage_error(
    lab: Lab, cli: Cli, tmp_path: Path, text: str, options: tuple[str, ...], message: str
) -> None:
    """With the number of the line; nothing is written."""
    (path := tmp_path / "members.txt").write_text(text)
    before = lab.policy_path.read_text()
    assert cli("account", "add", "--from", str(path), "--write", *options) == 2
    assert message in cli.err
    assert lab.policy_path.read_text() == before


# list


def test_an_account_that_cannot_be_entered_fails_the_list(lab: Lab, cli: Cli) -> None:
    """With the reason, in the table."""
    for name in roles(lab, PEER):
        del lab.cloud.identity.roles[f"acs:ram::{PEER}:role/{name}"]
    lab.sweep()
    assert cli("account", "list") == 1
    assert "EntityNotExist.Role" in cli.out
    assert reached(cli) == {HOME: True, PEER: False}


# the way back


Access = tuple[dict[str, tuple[Any, list[Any]]], dict[str, Any]]


def access(lab: Lab, account: str) -> Access:
    """What lets the functions and people into an account: its roles with their trust and policies, and home's own
    policies."""
    trusted = {name: (json.loads(role.trust), sorted(role.attached)) for name, role in roles(lab, account).items()}
    documents = {name: policy.document for (uid, name), policy in lab.cloud.identity.policies.items() if uid == HOME}
    return trusted, {name: json.loads(document) for name, document in documents.items()}


def take_back(lab: Lab, cli: Cli, commands: list[str]) -> None:
    """Somebody types what a command ended with; what `aliyun` is asked, RAM does."""
    for command in commands:
        name, *words = shlex.split(command)
        if name == "link-peer":
            assert cli(*words, *(["--yes"] if words[:2] == ["account", "remove"] else [])) == 0, cli.err
            continue
        values = dict(zip(words[2::2], words[3::2], strict=True))
        role = lab.cloud.identity.roles.get(f"acs:ram::{NEW}:role/{values.get('--RoleName')}")
        if words[1] == "DetachPolicyFromRole" and role:
            del role.attached["Custom", values["--PolicyName"]]
        elif words[1] == "DeletePolicy":
            del lab.cloud.identity.policies[NEW, values["--PolicyName"]]
        elif words[1] == "DeleteRole" and role:
            del lab.cloud.identity.roles[role.arn]
        assert values.get("--profile") == "new"


@pytest.mark.parametrize("options", [("--profile", "new", "--write"), ("--write",), ("--profile", "new"), ()])
def test_an_account_that_was_added_is_taken_back(lab: Lab, cli: Cli, options: tuple[str, ...]) -> None:
    """Where the policy file has its lines, a person deletes these first, as the command says."""
    assert cli("setup", "--yes") == 0, cli.err  # home's policies are as this version has them
    before, text = access(lab, NEW), lab.policy_path.read_bytes()
    code, [addition] = cli.json("account", "add", NEW, "--role", "third", *options)
    assert (code, access(lab, NEW) != before) == (0, True)
    lab.policy_path.write_bytes(text)
    take_back(lab, cli, addition["undo"])
    assert access(lab, NEW) == before
    assert cli("account", "add", NEW, "--role", "third", *options) == 0
    _, printed = cli.out.split("\nTo take it back")
    heading, *commands = printed.splitlines()
    assert commands == addition["undo"]
    assert heading == (f", delete what was added to {lab.policy_path}, then:" if "--write" in options else ":")


def test_the_roles_of_an_account_that_the_policy_file_lists_are_taken_back(lab: Lab, cli: Cli) -> None:
    """Its links are closed with them."""
    assert cli("account", "add", NEW, "--role", "third", "--write") == 0, cli.err
    before = access(lab, NEW)
    code, [addition] = cli.json("account", "add", NEW, "--profile", "new")
    assert (code, addition["undo"]) == (0, [f"link-peer account remove {NEW} --profile new"])
    take_back(lab, cli, addition["undo"])
    assert access(lab, NEW)[0] == before[0] == {}


def test_roles_that_were_only_updated_are_taken_back(lab: Lab, cli: Cli) -> None:
    """By a call for each: whom they trust and what they hold is as it was. What home's own policies hold too, where the
    policy file lists the account."""
    assert cli("setup", "--yes") == 0, cli.err
    assert cli("account", "add", PEER, "--profile", "peer") == 0, cli.err
    role = roles(lab, PEER)["link-peer-reader"]
    role.trust = role.trust.replace("link-peer-reader", "former-reader")
    del roles(lab, PEER)["link-peer"].attached["Custom", "link-peer"]
    lab.cloud.identity.policies[HOME, "link-peer-fc"].versions["v1"] = Version('{"Version": "1", "Statement": []}', 0)
    before = access(lab, PEER)
    code, [addition] = cli.json("account", "add", PEER, "--profile", "peer")
    assert (code, access(lab, PEER) != before) == (0, True)
    actions = [command.split()[2] for command in addition["undo"]]
    assert actions == ["UpdateRole", "DetachPolicyFromRole", "SetDefaultPolicyVersion"]
    for command in addition["undo"]:
        _, _, action, *options = shlex.split(command)
        fields = dict(zip(options[::2], options[1::2], strict=True))
        account = PEER if fields.pop("--profile", "") == "peer" else HOME
        caller = Caller(account, f"acs:ram::{account}:root")
        lab.cloud.ram.call(caller, action, {name.removeprefix("--"): value for name, value in fields.items()})
    assert access(lab, PEER) == before


@pytest.mark.parametrize("closers", [(), ("--closer", ANN), ("--no-closer",)])
def test_an_account_that_was_removed_comes_back(
    lab: Lab, links: Linked, cli: Cli, monkeypatch: pytest.MonkeyPatch, closers: tuple[str, ...]
) -> None:
    """With the roles, whoever may close there, and its links: those of tags by themselves, those of requests by
    theirs."""
    lab.cloud.identity.roles.pop(f"acs:ram::{PEER}:role/link-peer-closer") if closers else None
    assert cli("setup", "--yes") == 0, cli.err
    assert cli("account", "add", PEER, "--profile", "peer", *closers) == 0, cli.err
    before = access(lab, PEER)
    code, [removal] = cli.json("account", "remove", PEER, "--profile", "peer", "--yes")
    assert (code, links.counts()) == (0, [0, 0, 0, 1])
    for command in removal["undo"]:
        assert cli(*shlex.split(command)[1:]) == 0, cli.err
    assert access(lab, PEER) == before
    lab.cross_account(*lab.queued())
    lab.sweep()
    assert links.counts() == [1, 1, 1, 1]


# remove


def test_an_account_leaves_with_one_command(lab: Lab, links: Linked, cli: Cli) -> None:
    """Every link with it is closed on both sides and recorded; its roles and home's statement are gone; others stay."""
    assert cli("account", "remove", PEER, "--profile", "peer", "--yes") == 0
    assert links.counts() == [0, 0, 0, 1]
    assert roles(lab, PEER) == {}
    assert may_enter(lab, "link-peer-fc") == set()
    removed = [r for r in lab.records("outcome") if r["outcome"] == "removed"]
    assert {r["reason"] for r in removed} == {"unknown-account"}
    assert f'Now delete "{PEER}"' in cli.out


def test_a_dry_run_closes_nothing(lab: Lab, links: Linked, cli: Cli) -> None:
    """It prints the commands that the closing is worth."""
    before = lab.records()
    code, [removal] = cli.json("account", "remove", PEER, "--dry-run")
    assert (code, len(lab.rules(links.db)), lab.records()) == (0, 1, before)
    assert sum("RevokeSecurityGroup" in change["command"] for change in removal["commands"]) == 3


@pytest.mark.parametrize("options", [(), ("--profile", "peer")])
def test_a_dry_run_names_the_roles_and_home_policies_that_change(lab: Lab, cli: Cli, options: tuple[str, ...]) -> None:
    """Those that the command changes then, and none before."""
    assert cli("setup", "--yes") == 0, cli.err
    before = access(lab, PEER)
    code, [preview] = cli.json("account", "remove", PEER, "--dry-run", *options)
    assert (code, access(lab, PEER)) == (0, before)
    assert cli("account", "remove", PEER, "--dry-run", *options) == 0
    lines = [line.split(": ", 1)[1] for line in cli.out.splitlines() if line[:2] in ("- ", "~ ")]
    assert lines == preview["changes"]
    _, [removal] = cli.json("account", "remove", PEER, "--yes", *options)
    assert preview["changes"] == removal["changes"] != []


def test_no_role_goes_before_the_rules(lab: Lab, links: Linked, cli: Cli) -> None:
    """What cannot be closed, or an account that cannot be read, keeps the roles: run it again later."""
    lab.fault(service="ecs", action="RevokeSecurityGroup", account=PEER, code="Forbidden.RAM", status=403, times=None)
    assert cli("account", "remove", PEER, "--profile", "peer", "--yes") == 1
    assert "still open" in cli.err
    assert (set(roles(lab, PEER)), may_enter(lab, "link-peer-fc")) == (ALL_ROLES, {"link-peer"})
    lab.cloud.faults.clear()
    lab.fault(service="ecs", action="DescribeSecurityGroups", account=PEER, kind="error", times=None)
    assert cli("account", "remove", PEER, "--profile", "peer", "--yes") == 1
    assert "link-peer" in roles(lab, PEER)
    lab.cloud.faults.clear()
    assert cli("account", "remove", PEER, "--profile", "peer", "--yes") == 0
    assert lab.rules(links.db) == []


def test_with_its_own_keys_a_removal_can_be_repeated_without_the_roles(lab: Lab, links: Linked, cli: Cli) -> None:
    """A command that died after it deleted them, or an owner who did so too early."""
    for name in roles(lab, PEER):
        del lab.cloud.identity.roles[f"acs:ram::{PEER}:role/{name}"]
    assert cli("account", "remove", PEER, "--yes") == 1
    assert f"could not read {PEER}" in cli.err
    assert cli("account", "remove", PEER, "--profile", "peer", "--yes") == 0
    assert lab.rules(links.db) == []


def test_what_a_function_opens_meanwhile_is_closed_too(
    lab: Lab, links: Linked, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the closing and the end of the roles, a function with the old policy may reconcile once more."""
    from link_peer_cli.commands import account_remove

    remove_roles = account_remove._remove_roles

    def later(*arguments: Any, **options: Any) -> Any:
        lab.sweep()
        assert len(lab.rules(links.db)) == 1
        return remove_roles(*arguments, **options)

    monkeypatch.setattr(account_remove, "_remove_roles", later)
    assert cli("account", "remove", PEER, "--profile", "peer", "--yes") == 0
    assert (lab.rules(links.app), lab.rules(links.db)) == ([], [])


@pytest.mark.usefixtures("links")
def test_without_keys_of_the_account_its_owner_is_told_what_to_delete(lab: Lab, cli: Cli) -> None:
    """The roles stay until then; home may not enter the account any more."""
    _, [removal] = cli.json("account", "remove", PEER, "--yes")
    of_each = ["DetachPolicyFromRole", "DeletePolicy", "DeleteRole"]
    assert [shlex.split(command)[2] for command in removal["commands"]] == of_each * 3
    assert (set(roles(lab, PEER)), may_enter(lab, "link-peer-fc")) == (ALL_ROLES, set())
