"""What a person reads where a service refuses: what it means here, and the command that mends it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from alibabacloud_credentials.utils import auth_constant, auth_util
from aliyun_local.api import User, trust_text
from link_peer_cli.ui.remedies import OURS, TABLE, Remedy

from tests.functional.command import Cli, use_keys, write_profiles
from tests.functional.lab import HOME, PEER, Lab

KEY, SECRET = "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"
TOKEN = "ALIBABA_CLOUD_SECURITY_TOKEN"
Make = Callable[[Lab, pytest.MonkeyPatch], None]


def _without_roles(lab: Lab, _: pytest.MonkeyPatch) -> None:
    for name in ("link-peer", "link-peer-reader"):
        del lab.cloud.identity.roles[f"acs:ram::{PEER}:role/{name}"]


def _other_trust(lab: Lab, _: pytest.MonkeyPatch) -> None:
    for name in ("link-peer", "link-peer-reader"):
        lab.cloud.identity.roles[f"acs:ram::{PEER}:role/{name}"].trust = trust_text([f"acs:ram::{PEER}:root"])


def _expired_session(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    role = lab.cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-reader"]
    session = lab.cloud.identity.issue(role, "alice", lab.cloud.clock.now() - 1)
    for name, value in ((KEY, session.access_key_id), (SECRET, session.secret), (TOKEN, session.token)):
        patch.setenv(name, value)


def _user_without_rights(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    key = lab.cloud.identity.add_key(User(HOME, "mallory"))
    patch.setenv(KEY, key.access_key_id)
    patch.setenv(SECRET, key.secret)


def _role_without_rights(lab: Lab, _: pytest.MonkeyPatch) -> None:
    lab.cloud.identity.allow_only(f"acs:ram::{PEER}:role/link-peer-reader", [])


def _keys_of_peer(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    use_keys(lab.cloud, patch, PEER)


def _keys_of_stranger(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    lab.cloud.identity.add_account("1000000000000009", "stranger")
    use_keys(lab.cloud, patch, "1000000000000009")


ANN = f"acs:ram::{HOME}:user/ann"
NAMES_HER = f"link-peer setup --operators {ANN}"


def _administrator(lab: Lab, patch: pytest.MonkeyPatch) -> None:
    key = lab.cloud.identity.add_key(User(HOME, "ann", {("System", "AdministratorAccess"): 0}))
    patch.setenv(KEY, key.access_key_id)
    patch.setenv(SECRET, key.secret)


def _reader_trusts_nobody(lab: Lab, _: pytest.MonkeyPatch) -> None:
    lab.cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-reader"].trust = trust_text([f"acs:ram::{PEER}:root"])


def _without_reader(lab: Lab, _: pytest.MonkeyPatch) -> None:
    del lab.cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-reader"]


def _no_key(_lab: Lab, patch: pytest.MonkeyPatch) -> None:
    for name in (KEY, SECRET):
        patch.delenv(name)
    patch.setattr(auth_constant, "HOME", os.devnull)
    patch.setattr(auth_util, "environment_ecs_metadata_disabled", "true")


def _no_change(_lab: Lab, _: pytest.MonkeyPatch) -> None:
    pass


def _env(name: str, value: str) -> Make:
    return lambda _lab, patch: patch.setenv(name, value)


def _fault(service: str, action: str, code: str = "", status: int = 400, kind: str = "error") -> Make:
    response = {"code": code, "status": status} if code else {}
    return lambda lab, _: lab.fault(service=service, action=action, kind=kind, times=None, **response)


def _inactive(service: str) -> Make:
    return lambda lab, _: lab.cloud.inactive.add(service)


def _no_queue(lab: Lab, _: pytest.MonkeyPatch) -> None:
    lab.cloud.mns.delete_queue(HOME, lab.cloud.world.queue)


def _no_project(lab: Lab, _: pytest.MonkeyPatch) -> None:
    lab.cloud.sls.delete_project(HOME, lab.cloud.world.audit_project)


def _no_logstore(lab: Lab, _: pytest.MonkeyPatch) -> None:
    lab.cloud.sls.delete_logstore(HOME, lab.cloud.world.audit_project, lab.cloud.world.audit_logstore)


def _no_index(lab: Lab, _: pytest.MonkeyPatch) -> None:
    lab.cloud.sls.delete_index(HOME, lab.cloud.world.audit_project, lab.cloud.world.audit_logstore)


def _newer_region(_: Lab, patch: pytest.MonkeyPatch) -> None:
    patch.setenv("LINK_PEER_REGION", "cn-atlantis")
    patch.setenv("LINK_PEER_NEW_REGION", "cn-atlantis")


REQUEST = "request link --from sg-a --to sg-b --port tcp/3306"
UNSET = f"unset {KEY} {SECRET} {TOKEN}; aliyun configure"
ADD = f"link-peer account add {PEER}"


class Situation(NamedTuple):
    """What went wrong; the command that meets it; the service that refuses, with its code and a part of its message;
    and the command that mends it."""

    make: Make
    command: str
    service: str
    code: str
    remedy: str
    text: str = ""
    exit_code: int = 1

    @property
    def row(self) -> Remedy:
        """The row that is about it."""
        return next(row for row in TABLE if row.fits(self.service, self.code, self.text))


SITUATIONS = {
    "an access key that does not exist": Situation(
        _env(KEY, "LTAIgone"), "links", "sts", "InvalidAccessKeyId.NotFound", UNSET
    ),
    "another key's secret": Situation(_env(SECRET, "wrong"), "links", "sts", "SignatureDoesNotMatch", UNSET),
    "a session that has ended": Situation(_expired_session, "links", "sts", "InvalidSecurityToken.Expired", UNSET),
    "another session's token": Situation(_env(TOKEN, "wrong"), "links", "sts", "InvalidSecurityToken.Malformed", UNSET),
    "a clock that is wrong": Situation(
        _fault("sts", "*", "InvalidTimeStamp.Expired"),
        "links",
        "sts",
        "InvalidTimeStamp.Expired",
        "timedatectl set-ntp true",
    ),
    "a queue that takes no more calls": Situation(
        _fault("mns", "SendMessage", kind="throttle"), REQUEST, "mns", "QpsLimitExceeded", f"link-peer {REQUEST}"
    ),
    "a role that was deleted": Situation(_without_roles, "links", OURS, "no-role-there", ADD),
    "the same, to the doctor": Situation(_without_roles, "doctor --platform --json", OURS, "no-role-there", ADD),
    "a role that trusts others": Situation(_other_trust, "links", OURS, "no-trust-there", ADD),
    "the keys of another account": Situation(
        _keys_of_peer, "links", OURS, "keys-of-another-account", "link-peer --profile NAME", exit_code=2
    ),
    "the keys of an account that the policy does not list": Situation(
        _keys_of_stranger, "links", OURS, "keys-of-an-unlisted-account", "link-peer --profile NAME", exit_code=2
    ),
    "a name in home, with keys of another account": Situation(
        _keys_of_peer, "close depot --dry-run", OURS, "keys-enter-no-account", "use keys of home"
    ),
    "who is no operator": Situation(_administrator, "sweep", OURS, "not-an-operator", NAMES_HER),
    "who is no reader": Situation(_user_without_rights, "links", OURS, "not-a-reader", "aliyun ram AttachPolicyToUser"),
    "the account itself, which is no reader": Situation(
        _reader_trusts_nobody, "links", OURS, "not-a-reader-as-account", "Sign in as a RAM user or a role"
    ),
    "no role of readers": Situation(_without_reader, "links", OURS, "no-home-role", "link-peer setup"),
    "a role about which STS does not answer": Situation(
        _fault("sts", "AssumeRole", kind="reset"), "doctor --platform --json", OURS, "role-unanswered", "run it again"
    ),
    "a region that ECS does not have": Situation(
        _newer_region, "links", "ecs", "InvalidRegionId.NotFound", "link-peer --region <region> doctor"
    ),
    "a queue that was deleted": Situation(_no_queue, REQUEST, "mns", "QueueNotExist", "link-peer setup"),
    "SMQ not activated": Situation(
        _inactive("mns"),
        REQUEST,
        "mns",
        "AccessDenied",
        "https://mns.console.aliyun.com",
        "is forbidden for this operation",
    ),
    "a log project that was deleted": Situation(_no_project, "audit", "sls", "ProjectNotExist", "link-peer setup"),
    "a logstore that was deleted": Situation(_no_logstore, "audit", "sls", "LogStoreNotExist", "link-peer setup"),
    "an index that was deleted": Situation(_no_index, "audit", "sls", "IndexConfigNotExist", "link-peer setup"),
    "SLS not activated": Situation(
        _inactive("sls"), "audit", "sls", "Unauthorized", "https://sls.console.aliyun.com", "inactive"
    ),
    "a function that is not deployed": Situation(
        _no_change, "failed", "fc", "FunctionNotFound", "link-peer package; s deploy -y"
    ),
    "Function Compute not activated": Situation(
        _inactive("fc"), "failed", "fc", "AccessDenied", "https://fcnext.console.aliyun.com", "not enabled"
    ),
    "EventBridge not activated": Situation(
        _inactive("eventbridge"),
        "doctor --platform --json",
        "eventbridge",
        "ServiceAccessDenied",
        "https://eventbridge.console.aliyun.com",
    ),
    "a role that RAM does not show": Situation(
        _fault("ram", "GetRole", "NoPermission", 403), "doctor --platform --json", "ram", "NoPermission", UNSET
    ),
    "no region": Situation(_env("LINK_PEER_REGION", ""), "links", OURS, "no-region", "aliyun configure"),
    "no access key": Situation(_no_key, "links", OURS, "no-key", "aliyun configure"),
    "no policy file": Situation(_env("LINK_PEER_POLICY", "absent.yaml"), "links", OURS, "no-policy", "link-peer init"),
    "a policy that goes while it is read": Situation(
        _fault("ram", "GetRole", "EntityNotExist.Policy", 404),
        "doctor --platform --json",
        "ram",
        "EntityNotExist.Policy",
        "link-peer setup",
    ),
    "a user without rights": Situation(
        _user_without_rights,
        "links",
        "ecs",
        "Forbidden.RAM",
        f"link-peer setup --operators acs:ram::{HOME}:user/mallory,<who may now>",
    ),
    "a role that may not read": Situation(_role_without_rights, "links", "ecs", "Forbidden.RAM", ADD),
    "a service that nobody reaches": Situation(
        _fault("mns", "SendMessage", kind="reset"), REQUEST, "mns", "", "link-peer doctor"
    ),
}


@pytest.mark.usefixtures("living_lab")
@pytest.mark.parametrize("name", SITUATIONS)
def test_each_situation_has_its_command(lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The message has the code of the service, what it means here, and the command that mends it."""
    situation = SITUATIONS[name]
    situation.make(lab, monkeypatch)
    assert cli(*situation.command.split()) == situation.exit_code
    message = cli.out + cli.err
    code = "" if situation.service == OURS else situation.code
    parts = [code, situation.remedy, *re.split(r"\{\w+\}", situation.row.meaning)]
    assert [part for part in parts if part not in message] == []


def test_each_row_of_the_table_has_a_situation() -> None:
    """A row that nobody meets says nothing."""
    assert {situation.row for situation in SITUATIONS.values()} == {*TABLE}


@pytest.mark.usefixtures("living_lab")
@pytest.mark.parametrize(
    ("service", "action", "command"), [("fc", "ListAsyncTasks", "failed"), ("sls", "GetLogs", "audit")]
)
def test_a_code_that_the_table_lacks_is_printed_with_service_and_request_id(
    lab: Lab, cli: Cli, service: str, action: str, command: str
) -> None:
    """And with `link-peer doctor`: enough to ask the platform's support."""
    lab.fault(service=service, action=action, code="NobodyKnowsThis", status=400)
    assert cli(*command.split()) == 1
    advice = cli.err.splitlines()[-1]
    assert re.fullmatch(f"{service} answered NobodyKnowsThis, RequestId [0-9A-Za-z-]{{20,}}: link-peer doctor", advice)


@pytest.mark.usefixtures("living_lab")
@pytest.mark.parametrize(
    "command", ["links", "doctor", "map", "close --all --yes", "setup --dry-run", "accept sg-a sg-b"]
)
def test_an_unknown_key_is_named_once_and_no_secret(cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """However many accounts would have been read with it."""
    monkeypatch.setenv(KEY, "LTAIgone")
    assert cli(*command.split()) == 1
    assert cli.out == ""
    assert cli.err.count(f"the access key LTAIgone ({KEY}) does not exist, or is disabled: ") == 1
    assert cli.err.count("InvalidAccessKeyId.NotFound") == 1
    assert os.environ[SECRET] not in cli.err


def test_an_unknown_key_of_a_profile_is_named_with_it(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The command sets the keys of that profile."""
    write_profiles(lab, monkeypatch, tmp_path, {"prod": HOME})
    key = lab.cloud.identity.accounts[HOME].access_key_id
    del lab.cloud.identity.keys[key]
    assert cli("--profile", "prod", "links") == 1
    assert f"{key} (profile prod of {tmp_path}/.aliyun/config.json)" in cli.err
    assert cli.err.endswith("aliyun configure --profile prod\n")


def test_a_request_to_a_queue_that_was_deleted_is_certainly_not_posted(lab: Lab, cli: Cli) -> None:
    """Nothing is said to be perhaps done, nor that its outcome will be in the log."""
    _no_queue(lab, pytest.MonkeyPatch())
    assert cli(*REQUEST.split(), "--json") == 1
    answer = json.loads(cli.err)
    assert set(answer) == {"error"}
    assert "has not taken the message" in answer["error"]


def test_consent_without_a_log_is_given_and_said_to_have_no_record(lab: Lab, cli: Cli) -> None:
    """Nobody's consent waits for the log; but the person who may write it reads that the change is not in it, and what
    mends it."""
    group = lab.group()
    _no_project(lab, pytest.MonkeyPatch())
    assert cli("accept", group.id, "sg-app:tcp/3306") == 0
    assert lab.tags(group)["link-accept"] == "sg-app:tcp/3306"
    assert "the audit log has no record of this change: the audit log cannot be written: ProjectNotExist" in cli.err
    assert "link-peer setup" in cli.err


def test_a_close_without_a_log_says_what_stands_and_both_commands(lab: Lab, cli: Cli) -> None:
    """No rule is removed without a record. The group is locked, so that nothing more is opened on it."""
    _, _, db = lab.linked()
    _no_project(lab, pytest.MonkeyPatch())
    assert cli("close", db.id, "--yes") == 1
    assert len(lab.rules(db)) == 1
    assert lab.tags(db)["link-lock"].startswith("link-peer close by ")
    message = cli.out + cli.err
    [rule] = lab.raw_rules(db)
    assert f"still open: rule {rule['SecurityGroupRuleId']} on {db.id}@{HOME}" in message
    again = f"link-peer setup; link-peer close {db.id} --yes"
    assert f"Nothing is changed without a record. Create it first: {again}" in message
