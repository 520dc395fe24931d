"""`link-peer setup` brings an account that has nothing to what a deployment needs, and takes it away again."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from aliyun_local.api import (
    Caller,
    Fault,
    Knobs,
    LocalCloud,
    ManagedPolicy,
    QueueAttributes,
    Role,
    Version,
    VirtualClock,
    linked_roles,
    mount,
    readings,
    trust_text,
)
from link_peer.alicloud.sts import CACHE
from link_peer.app import compose
from link_peer_cli.demo import world
from link_peer_cli.setup import queues
from link_peer_cli.setup.roles import VERSIONS
from link_peer_deploy import regions
from link_peer_deploy.documents import operator_trust, peer_roles, render
from pytest_mock import MockerFixture

from tests.functional.command import Cli, Typed, use_keys
from tests.sample import sample

HOME, PEER, REGION = "1000000000000001", "1000000000000002", "cn-qingdao"
PROJECT = f"link-peer-{HOME}-{REGION}"
ADMIN = f"acs:ram::{HOME}:user/admin"
MAIL = ("--notify", "ops@example.com", "--operators", ADMIN)
VALUES = {
    "LINK_PEER_REGION": REGION,
    "LINK_PEER_PREFIX": "link-peer",
    "HOME_ACCOUNT": HOME,
    "DEPLOYMENT": "prod",
    "LINK_PEER_TAG_PREFIX": "link",
}
PEER_ROLE = f"acs:ram::{PEER}:role/link-peer"


@pytest.fixture(name="cloud")
def _cloud(mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LocalCloud:
    """Two accounts without anything; the keys are those of home's administrator."""
    cloud = LocalCloud(VirtualClock(), knobs=Knobs(trigger_role="required"))
    world.load(cloud, "empty")
    mount(mocker, cloud)
    monkeypatch.setattr(compose, "clock_for_functions", lambda: cloud.clock)
    monkeypatch.setenv("LINK_PEER_REGION", REGION)
    policy = tmp_path / "policy.yaml"
    policy.write_bytes(Path(cloud.world.policy).read_bytes())
    monkeypatch.setenv("LINK_PEER_POLICY", str(policy))
    CACHE.clear()
    use_keys(cloud, monkeypatch, HOME)
    return cloud


@pytest.fixture(name="cli")
def _cli(capsys: pytest.CaptureFixture[str], cloud: LocalCloud) -> Cli:
    return Cli(capsys)


def writes(cloud: LocalCloud) -> list[str]:
    """The calls that may have changed something."""
    return [
        call.action for call in cloud.faults.calls if not call.action.startswith(("Get", "List", "Describe", "Check"))
    ]


def results(cli: Cli, *options: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Run setup with `--json`: its exit code, and (action, result) by `<kind> <name>`."""
    code, resources = cli.json("setup", *options)
    return code, {
        f"{resource['kind']} {resource['name']}": (resource["action"], resource["result"])
        for resource in resources
        if resource["kind"] != "undo"
    }


# Creating


def test_one_run_creates_everything(cloud: LocalCloud, cli: Cli) -> None:
    """Roles, queues, logs, searches, dashboard and alerts; with the shipped documents and the address to notify."""
    code, results_by_name = results(cli, *MAIL)
    assert (code, set(results_by_name.values())) == (0, {("create", "done")})
    identity, project = cloud.identity, cloud.sls.project(HOME, PROJECT)
    assert set(home_roles(cloud)) == {"link-peer-fc", "link-peer-reader", "link-peer-operator"}
    for name in home_roles(cloud):
        assert ("Custom", name) in identity.roles[f"acs:ram::{HOME}:role/{name}"].attached
    assert linked_roles.exists(identity, HOME, *linked_roles.SERVICES)
    document = identity.policies[HOME, "link-peer-fc"].document
    assert json.loads(document) == render("ram-function-role.json", VALUES, [PEER_ROLE])
    for name in (f"project/link-peer-{HOME}-*/logstore/decisions", "queues/link-peer-requests/messages"):
        assert name in document  # as they were created
    for queue in ("link-peer-requests", "link-peer-dead-letters"):
        assert cloud.mns.queue(HOME, queue).attributes.message_retention_period == 7 * 86400
    assert {name: store.settings["ttl"] for name, store in project.logstores.items()} == {
        "decisions": 365,
        "decisions-operators": 365,
        "functions": 30,
    }
    assert all(store.index is not None for store in project.logstores.values())
    assert len(project.searches) > 8
    assert list(project.dashboards) == ["link-peer"]
    assert notified(cloud) == {"link-peer"}
    user = json.loads(cloud.sls.records(HOME, "sls.common.user")["link-peer"]["value"])
    assert user["email"] == ["ops@example.com"]
    mailing = json.loads(cloud.sls.records(HOME, "sls.alert.action_policy")["link-peer"]["value"])
    assert 'type="email", users=["link-peer"]' in mailing["primary_policy_script"]


@pytest.mark.parametrize("queue_roles", readings()["queue_roles"])
@pytest.mark.parametrize("trigger_role", readings()["trigger_role"])
def test_a_role_whose_name_is_refused_is_named_with_what_does_not_work(
    cloud: LocalCloud, cli: Cli, queue_roles: str, trigger_role: str
) -> None:
    """Two documents disagree on its names, of which any is enough: what is refused under all of them is left out."""
    cloud.knobs.change({"queue_roles": queue_roles, "trigger_role": trigger_role})
    assert cli("setup", *MAIL) == 0
    refused = f"! service-linked role {linked_roles.FC_TRIGGER}: EventBridge does not take the name"
    assert (refused in cli.out, "Without it, Function Compute may refuse the triggers" in cli.out) == (
        (trigger_role == "unused",) * 2
    )
    assert f"Created: {43 + (trigger_role == 'required')}, updated: 0" in cli.out
    names = {"both": {"SendToMNS", "SourceMNS"}}.get(queue_roles, {queue_roles})
    roles = {name.removeprefix("AliyunServiceRoleForEventBridge") for name in all_roles(cloud)}
    assert roles & {"SendToMNS", "SourceMNS"} == names
    assert cli("setup", *MAIL) == 0
    assert "Nothing to change" in cli.out


def test_without_any_name_setup_goes_on(cloud: LocalCloud, cli: Cli) -> None:
    """Also where EventBridge takes none of the names; a lack of rights stops it."""
    refusal = Fault("eventbridge", "CreateServiceLinkedRoleForProduct", code="InvalidArgument", status=400, times=None)
    cloud.faults.add(refusal)
    assert cli("setup", *MAIL) == 0
    assert cli.out.count("! service-linked role ") == 5
    assert "Without it, no message of a queue reaches a function" in cli.out
    cloud.faults.clear()
    refused = Fault("eventbridge", "CreateServiceLinkedRoleForProduct", code="NoPermission", status=403, times=None)
    cloud.faults.add(refused)
    assert cli("setup", *MAIL) == 1
    assert "create failed: service-linked role" in cli.err


def test_a_second_run_changes_nothing_and_says_so(cloud: LocalCloud, cli: Cli) -> None:
    """Also without the options, which alerts then keep."""
    cli("setup", *MAIL)
    assert cli.out.endswith("; link-peer package --first; s deploy -y\n")
    before = writes(cloud)
    for options in (MAIL, ()):
        assert cli("setup", *options) == 0
        kept_count = 0 if options else 1  # whom the operator role trusts
        assert (
            f"Nothing to change; as wanted: {44 - kept_count}, kept as they are: {kept_count}, left out: 0.\n"
            in cli.out
        )
    assert writes(cloud) == before


def test_queues_of_many_accounts_are_read_with_one_call(
    cloud: LocalCloud, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are; one by one where the listing shows no attributes, and then the same is said."""
    path = tmp_path / "policy.yaml"
    policy = yaml.safe_load(path.read_text(encoding="utf-8"))
    names = [f"link-peer-requests-{uid}" for uid in range(1000000000000100, 1000000000000160)]
    added_accounts = {
        name[-16:]: {"role": f"acs:ram::{name[-16:]}:role/link-peer", "external_id": "x1", "queue": name}
        for name in names
    }
    path.write_text(yaml.safe_dump({**policy, "accounts": {**policy["accounts"], **added_accounts}}), encoding="utf-8")
    assert cli("setup", *MAIL) == 0
    cloud.mns.set_attributes(HOME, names[7], QueueAttributes())
    for states, calls in ((None, 3), ({name: {} for name in names}, 63)):
        if states:
            monkeypatch.setattr(queues.Listed, "states", states)
        cloud.faults.calls.clear()
        assert cli("setup", "--dry-run", *MAIL) == 0
        assert f"= queue {names[7]}: seconds, hidden: kept as it is" in cli.out
        assert sum(call.action == "GetQueueAttributes" for call in cloud.faults.calls) == calls


def test_a_dry_run_changes_nothing(cloud: LocalCloud, cli: Cli) -> None:
    """It prints the plan with its counts."""
    assert cli("setup", "--dry-run", *MAIL) == 0
    assert "+ role link-peer-fc\n" in cli.out
    assert "To create: 44, to update: 0, as wanted: 0, kept as they are: 0, left out: 0." in cli.out
    assert writes(cloud) == []


def test_a_queue_of_a_single_account_is_one_that_the_functions_can_send_to(
    cloud: LocalCloud, cli: Cli, tmp_path: Path
) -> None:
    """It has the name that the policy file gives it, and is refused under others than their role covers, which begin
    with the deployment's: messages are put back on the queue they came from."""
    path, name = tmp_path / "policy.yaml", f"link-peer-requests-{PEER}"
    policy = yaml.safe_load(path.read_text(encoding="utf-8"))
    policy["accounts"][PEER]["queue"] = name
    path.write_text(yaml.safe_dump(policy), encoding="utf-8")
    assert cli("setup", "--prefix", "other") == 1
    assert f"accounts.{PEER}.queue: is {name}: its name must begin with other-requests-" in cli.err
    assert writes(cloud) == []
    assert cli("setup") == 0
    assert cloud.mns.queue(HOME, name)


# Two regions

THERE = "cn-hangzhou"


def rights(cloud: LocalCloud) -> dict[str, object]:
    """All that RAM knows: roles with their trust and policies, and the policies' documents."""
    identity = cloud.identity
    roles: dict[str, object] = {arn: (role.trust, sorted(role.attached)) for arn, role in identity.roles.items()}
    return roles | {f"{uid} {name}": policy.document for (uid, name), policy in identity.policies.items()}


@pytest.mark.parametrize("scope", readings()["project_names"])
def test_setup_in_a_second_region_changes_no_right_of_the_first(cloud: LocalCloud, cli: Cli, scope: str) -> None:
    """Queues and logs are of one region; roles and policies of all. Its log project has a name of its own, wherever a
    name is taken."""
    cloud.knobs.change({"project_names": scope})
    assert cli("setup", *MAIL) == 0
    before = rights(cloud)
    code, results_by_name = results(cli, "--region", THERE, *MAIL)
    assert (code, rights(cloud)) == (0, before)
    of_one = ("queue ", "log project ", "logstore ", "index ", "saved search ", "dashboard ", "alert ")
    assert {result for name, result in results_by_name.items() if name.startswith(of_one)} == {("create", "done")}
    of_all = ("role ", "policy ", "service-linked role ", "user ", "action policy ")
    assert {result for name, result in results_by_name.items() if name.startswith(of_all)} == {("keep", "done")}


@pytest.mark.parametrize("endpoints", [{}, {"FC": "fc", "MNS": "mns"}])
@pytest.mark.usefixtures("joined")
def test_removing_in_one_region_keeps_the_roles_for_the_other(
    cloud: LocalCloud, cli: Cli, monkeypatch: pytest.MonkeyPatch, endpoints: dict[str, str]
) -> None:
    """It says why. The last region takes them away. An endpoint in the settings is that of one region, and no other is
    asked there."""
    for region in (REGION, THERE):
        cli("setup", "--region", region)
    before = rights(cloud)
    for name, service in endpoints.items():
        monkeypatch.setenv(f"LINK_PEER_{name}_ENDPOINT", f"https://{HOME}.{service}.{REGION}-internal.aliyuncs.com")
    assert cli("setup", "--remove", "--yes", "--force") == 0
    assert f"= role link-peer-fc: kept: {THERE} has the queue link-peer-requests" in cli.out
    assert (rights(cloud), cloud.mns.queues(HOME)) == (before, [])
    assert cloud.region_at(THERE).mns.queues(HOME) != []
    for name in endpoints:
        monkeypatch.delenv(f"LINK_PEER_{name}_ENDPOINT")
    assert cli("setup", "--remove", "--yes", "--region", THERE) == 0, cli.err
    assert home_roles(cloud) == []


@pytest.mark.parametrize("options", [(), ("--force",)])
@pytest.mark.usefixtures("joined")
def test_a_region_that_gives_no_answer_keeps_the_roles_unless_forced(
    cloud: LocalCloud, cli: Cli, options: tuple[str, ...]
) -> None:
    """It may have functions that need them."""
    cli("setup")
    cloud.faults.add(Fault("fc", "GetFunction", code="AccessDenied", status=403, times=1))
    assert cli("setup", "--remove", "--yes", *options) == 0
    assert ("has no answer" in cli.out, home_roles(cloud) == []) == (not options, bool(options))


# Many accounts


def with_accounts(path: Path, roles: Sequence[str]) -> None:
    """A policy file with home and one account for each of these roles, with uids drawn at random."""
    draw = random.Random(len(roles))
    accounts: dict[str, Any] = {HOME: {"name": "home"}}
    for number, role in enumerate(roles):
        uid = str(draw.randrange(10**15, 10**16))
        external_id = f"{draw.getrandbits(128):032x}"
        accounts[uid] = {"name": f"n{number}", "role": f"acs:ram::{uid}:role/{role}", "external_id": external_id}
    path.write_text(yaml.safe_dump({"deployment": "prod", "accounts": accounts}), encoding="utf-8")


def attached(cloud: LocalCloud, role: str) -> set[str]:
    return {name for _, name in cloud.identity.roles[f"acs:ram::{HOME}:role/{role}"].attached}


def test_names_that_one_policy_cannot_hold_are_in_several(cloud: LocalCloud, cli: Cli, tmp_path: Path) -> None:
    """All are attached; with fewer names, what is needed no more is detached and deleted. So it is by --remove. However
    many accounts have roles of one name, the policies are those of two."""
    cli("setup", *MAIL)
    before, path = dict(cloud.identity.policies), tmp_path / "policy.yaml"
    with_accounts(path, ["link-peer"] * 500)
    assert cli("setup") == 0
    assert dict(cloud.identity.policies) == before
    with_accounts(path, [f"team-{number:03}" for number in range(150)])
    assert cli("setup") == 0, cli.err
    assert attached(cloud, "link-peer-fc") == {"link-peer-fc", "link-peer-fc-2"}
    assert attached(cloud, "link-peer-operator") >= {"link-peer-operator-2", "link-peer-reader-2"}
    assert cli("setup") == 0
    assert "Nothing to change" in cli.out
    with_accounts(path, ["link-peer"])
    assert cli("setup") == 0
    assert attached(cloud, "link-peer-fc") == {"link-peer-fc"}
    assert {name for _, name in cloud.identity.policies} == {"link-peer-fc", "link-peer-reader", "link-peer-operator"}
    with_accounts(path, [f"team-{number:03}" for number in range(150)])
    assert cli("setup") == 0
    assert cli("setup", "--remove", "--yes", "--force") == 0, cli.err
    assert dict(cloud.identity.policies) == {}


# Whom to notify


def test_without_anybody_to_notify_there_are_no_alerts(cloud: LocalCloud, cli: Cli) -> None:
    """The output says what to give; everything else is created."""
    assert cli("setup") == 0
    assert "! alert link-peer-no-sweep: give --notify <e-mail address> or --action-policy <id>" in cli.out
    project = cloud.sls.project(HOME, PROJECT)
    assert (len(project.alerts), len(project.dashboards)) == (0, 1)
    assert results(cli, *MAIL)[1]["alert link-peer-no-sweep"] == ("create", "done")


def notified(cloud: LocalCloud) -> set[str]:
    """The action policies of all alerts."""
    rules = cloud.sls.project(HOME, PROJECT).alerts.values()
    return {rule["configuration"]["policyConfiguration"]["actionPolicyId"] for rule in rules}


def test_whom_the_alerts_notify_is_changed_alone(cloud: LocalCloud, cli: Cli) -> None:
    """Another address replaces the first; an action policy that exists takes its place, also for an alert that a person
    changed and that stays so. Without the options they keep whom they notify, even if they are replaced."""
    cli("setup", *MAIL)
    results_by_name = results(cli, "--notify", "new@example.com")[1]
    assert {name for name, result in results_by_name.items() if result == ("update", "done")} == {"user link-peer"}
    CHOICES["alert link-peer-quota: rule"](cloud)
    assert cli("setup", "--action-policy", "sls-ops") == 0
    assert notified(cloud) == {"sls-ops"}
    alerts = cloud.sls.project(HOME, PROJECT).alerts
    assert alerts["link-peer-quota"]["schedule"] == {"type": "Daily"}
    assert cli("setup", "--replace") == 0
    assert "updated: 1" in cli.out
    assert (alerts["link-peer-quota"]["schedule"]["type"], notified(cloud)) == ("FixedRate", {"sls-ops"})


def test_with_an_action_policy_setup_creates_no_user(cloud: LocalCloud, cli: Cli) -> None:
    """That one says whom it notifies."""
    assert cli("setup", "--action-policy", "sls-ops") == 0
    assert (notified(cloud), len(cloud.sls.records(HOME, "sls.common.user"))) == ({"sls-ops"}, 0)


# Who may operate


def operates(cloud: LocalCloud, arn: str, *, mfa: bool = False) -> bool:
    """Whether a user or role of home that may assume every role becomes operator."""
    kind, name = arn.rpartition(":")[2].split("/")
    caller = Caller(HOME, arn, **{kind: name}, mfa=mfa)
    role = cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-operator"]
    return role.trusts(caller.principals, mfa=mfa)


def test_only_who_is_named_becomes_operator(cloud: LocalCloud, cli: Cli) -> None:
    """Users with a second factor, roles without; nobody by the stock policy AliyunSTSAssumeRoleAccess alone. Whom setup
    is not told again, it keeps; others replace them. Where nobody is named, there is no such role."""
    alice, bob, sso = (f"acs:ram::{HOME}:{principal}" for principal in ("user/alice", "user/bob", "role/sso-admins"))
    assert cli("setup") == 0
    assert "! role link-peer-operator: name who may operate: --operators" in cli.out
    assert "link-peer-operator" not in home_roles(cloud)
    for options in (("--operators", f"{alice},{sso}"), ()):
        assert cli("setup", *options) == 0
        assert [operates(cloud, principal, mfa=mfa) for principal in (alice, bob, sso) for mfa in (True, False)] == [
            *(True, False),
            *(False, False),
            *(True, True),
        ]
    assert f"= role link-peer-operator: trusts {sso}, {alice}" in cli.out
    assert cli("setup", "--operators", bob) == 0
    assert (operates(cloud, alice, mfa=True), operates(cloud, bob, mfa=True)) == (False, True)


def squatted(cloud: LocalCloud, name: str = "link-peer-operator") -> Role:
    """A role of home that somebody made who may create roles, for mallory, with a second factor as the shipped one has
    it."""
    trust = operator_trust([f"acs:ram::{HOME}:user/mallory"])
    return cloud.identity.add_role(Role(HOME, name, json.dumps(trust), "link-peer"))


@pytest.mark.parametrize("name", ["link-peer-fc", "link-peer-reader", "link-peer-operator"])
def test_a_role_that_setup_did_not_make_is_refused(cloud: LocalCloud, cli: Cli, name: str) -> None:
    """Whoever may create roles would choose who operates. Its Description proves nothing, and nothing is changed."""
    role = squatted(cloud, name)
    for options in ((), MAIL):
        before = len(writes(cloud))
        assert cli("setup", *options) == 1
        assert f"role {name}: exists, and link-peer did not make it: it trusts" in cli.err
        assert "user/mallory" in cli.err
        assert "holds no policy: look at it, then delete it yourself, or run: link-peer setup --adopt" in cli.err
        assert (role.attached, len(writes(cloud))) == ({}, before)


def test_a_role_is_taken_over_where_a_person_says_so(cloud: LocalCloud, cli: Cli) -> None:
    """After what it trusts and holds is shown; whom it trusts stays only where nobody else is named."""
    role = squatted(cloud)
    assert cli("setup", "--adopt", "--operators", ADMIN) == 0
    assert "it counts as ours now" in cli.err
    assert (ADMIN in role.trust, "mallory" in role.trust) == (True, False)
    assert cli("setup") == 0


def test_a_trust_that_somebody_changed_is_named(cloud: LocalCloud, cli: Cli) -> None:
    """Whoever may change the operator role's trust chooses who operates. With the operators given, setup names the
    difference and mends it; without, it says whom the role trusts."""
    assert cli("setup", "--operators", ADMIN) == 0
    mallory = f"acs:ram::{HOME}:user/mallory"
    role = cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-operator"]
    role.trust = json.dumps(operator_trust([ADMIN, mallory]))
    assert cli("setup", "--dry-run") == 0
    assert f"= role link-peer-operator: trusts {ADMIN}, {mallory}" in cli.out
    assert cli("setup", "--dry-run", "--operators", ADMIN) == 0
    assert "~ role link-peer-operator: trust" in cli.out
    assert cli("setup", "--operators", ADMIN) == 0
    assert "mallory" not in role.trust


def test_a_role_that_lost_its_policies_needs_the_trust_that_is_named(cloud: LocalCloud, cli: Cli) -> None:
    """As after a run that stopped between a role and its policies: the same command continues."""
    assert cli("setup", "--operators", ADMIN) == 0
    cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-operator"].attached.clear()
    assert cli("setup") == 1
    assert cli("setup", "--operators", ADMIN) == 0
    assert cli("setup") == 0


@pytest.mark.parametrize("arn", [f"acs:ram::{HOME}:root", f"acs:ram::{HOME}:user/*", "acs:ram::*:role/x", "alice"])
def test_operators_are_single_users_and_roles(cloud: LocalCloud, cli: Cli, arn: str) -> None:
    """Never a whole account. A role that trusts one, or somebody without MFA, stops setup before it changes
    anything."""
    assert cli("setup", "--operators", arn) == 2
    assert writes(cloud) == []
    cli("setup", *MAIL)
    cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-operator"].trust = trust_text([arn, ADMIN])
    before = writes(cloud)
    assert cli("setup") == 1
    assert "role link-peer-operator: trusts a whole account, or a user without MFA: name who may" in cli.err
    assert writes(cloud) == before
    assert cli("setup", *MAIL) == 0
    assert (operates(cloud, ADMIN, mfa=True), operates(cloud, ADMIN)) == (True, False)


# Drift

Drift = Callable[[LocalCloud], object]


def _policy_edited(cloud: LocalCloud) -> None:
    policy = cloud.identity.policies[HOME, "link-peer-fc"]
    for number in range(2, VERSIONS + 1):
        policy.versions[f"v{number}"] = Version('{"Version": "1", "Statement": []}', 0)
    policy.default, policy.version_count = f"v{VERSIONS}", VERSIONS


def _trust_edited(cloud: LocalCloud) -> None:
    role = cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-fc"]
    role.trust = role.trust.replace("fc.aliyuncs.com", "ecs.aliyuncs.com")


def _index_edited(cloud: LocalCloud) -> None:
    index = {"line": {"token": [" "]}, "keys": {"record": {"type": "text", "token": []}}}
    cloud.sls.update_index(HOME, PROJECT, "decisions", index)


def _edited(kind: str, name: str, field: str, value: object) -> Drift:
    return lambda cloud: getattr(cloud.sls.project(HOME, PROJECT), kind)[name].update({field: value})


def _record_edited(cloud: LocalCloud) -> None:
    record = cloud.sls.records(HOME, "sls.alert.action_policy")["link-peer"]
    record["value"] = json.dumps({**json.loads(record["value"]), "primary_policy_script": 'fire(type="sms")'})


DRIFTS: dict[str, tuple[str, Drift]] = {
    "policy link-peer-fc: document": ("~", _policy_edited),
    "role link-peer-fc: trust": ("~", _trust_edited),
    "role link-peer-operator: policies": (
        "~",
        lambda cloud: cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-operator"].attached.clear(),
    ),
    "queue link-peer-dead-letters": ("+", lambda cloud: cloud.mns.delete_queue(HOME, "link-peer-dead-letters")),
    "index decisions: line, keys, max_text_len": ("~", _index_edited),
    "index functions": ("+", lambda cloud: cloud.sls.delete_index(HOME, PROJECT, "functions")),
}


def test_what_differs_is_named_and_mended(cloud: LocalCloud, cli: Cli) -> None:
    """And nothing else is touched; the next run finds it as wanted."""
    cli("setup", *MAIL)
    for _, drift in DRIFTS.values():
        drift(cloud)
    assert cli("setup", *MAIL) == 0
    lines = [f"{sign} {line}" for line, (sign, _) in DRIFTS.items()]
    assert sorted(line for line in cli.out.splitlines() if line[0] in "~+-") == sorted(lines)
    assert cli("setup") == 0
    assert "Nothing to change" in cli.out


CHOICES: dict[str, Drift] = {
    "saved search link-peer-opened: searchQuery": _edited("searches", "link-peer-opened", "searchQuery", "*"),
    "dashboard link-peer: charts": _edited("dashboards", "link-peer", "charts", []),
    "alert link-peer-quota: rule": _edited("alerts", "link-peer-quota", "schedule", {"type": "Daily"}),
    "action policy link-peer: value": _record_edited,
    "queue link-peer-requests: seconds, hidden": lambda cloud: cloud.mns.set_attributes(
        HOME, "link-peer-requests", QueueAttributes()
    ),
}


def test_what_a_person_changed_is_kept_until_told_otherwise(cloud: LocalCloud, cli: Cli) -> None:
    """It is named, at each run; --replace brings it to the wanted state, and nothing else."""
    cli("setup", *MAIL)
    for change in CHOICES.values():
        change(cloud)
    before = writes(cloud)
    assert cli("setup", *MAIL) == 0
    kept_lines = [f"= {line}: kept as it is; `link-peer setup --replace` would replace it" for line in CHOICES]
    assert (sorted(cli.out.splitlines()[: len(kept_lines)]), writes(cloud)) == (sorted(kept_lines), before)
    assert f"kept as they are: {len(kept_lines)}" in cli.out
    assert cli("setup", "--replace", *MAIL) == 0
    assert sorted(line for line in cli.out.splitlines() if line[0] in "~+-=") == sorted(f"~ {line}" for line in CHOICES)
    assert cli("setup", *MAIL) == 0
    assert "Nothing to change" in cli.out


def test_a_retention_is_made_longer_only_when_told_and_never_shortened(cloud: LocalCloud, cli: Cli) -> None:
    """A shorter one is named; with --retention it is as long as that. A new logstore keeps a year, or as long as told.
    Neither --replace nor a shorter --retention makes it shorter."""
    cli("setup", "--retention", "30")
    decisions = cloud.sls.project(HOME, PROJECT).logstores["decisions"]
    assert decisions.settings["ttl"] == 30
    for options in ((), ("--replace",)):
        assert cli("setup", *options) == 0
        assert "= logstore decisions: days: kept at 30 days; longer with `link-peer setup --retention 365`" in cli.out
    assert cli("setup", "--retention", "3650") == 0
    assert "~ logstore decisions: days" in cli.out
    for options in ((), ("--replace",), ("--retention", "30")):
        assert cli("setup", *options) == 0
        assert "= logstore decisions: kept at 3650 days, not shortened to" in cli.out
        assert decisions.settings["ttl"] == 3650


def test_what_a_person_added_is_kept(cloud: LocalCloud, cli: Cli) -> None:
    """Another policy of a role; a field of an index that ours does not have is no difference."""
    cli("setup")
    role = cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-reader"]
    role.attached["System", "AdministratorAccess"] = 0
    document = dict(cloud.sls.index(HOME, PROJECT, "decisions").document)
    document["keys"] = {**document["keys"], "extra": {"type": "long"}}
    cloud.sls.update_index(HOME, PROJECT, "decisions", document)
    assert cli("setup") == 0
    assert not [line for line in cli.out.splitlines() if line[0] in "~+-"]
    assert ("System", "AdministratorAccess") in role.attached
    del document["keys"]["outcome"]
    cloud.sls.update_index(HOME, PROJECT, "decisions", document)
    assert cli("setup") == 0
    assert {"extra", "outcome"} <= cloud.sls.index(HOME, PROJECT, "decisions").document["keys"].keys()


# Trouble


def test_a_run_that_fails_says_what_is_missing_and_the_next_continues(cloud: LocalCloud, cli: Cli) -> None:
    """Exit code 1; what was done stays done. In JSON, what failed has its problem, and what is missing because of it
    the result `missing`."""
    for _ in range(2):
        cloud.faults.add(Fault("sls", "CreateIndex", code="ParameterInvalid", status=400, times=1))
    assert cli("setup", *MAIL) == 1
    assert "+ logstore functions" in cli.out
    assert "create failed: index decisions: ParameterInvalid" in cli.err
    assert "not done: create alert link-peer-dead-letters" in cli.err
    code, resources = cli.json("setup", *MAIL)
    by_result = {resource["result"]: resource for resource in reversed(resources)}
    assert (code, by_result["failed"]["name"]) == (1, "decisions")
    assert "ParameterInvalid" in by_result["failed"]["problem"]
    assert by_result["missing"]["kind"] == "index"
    code, results_by_name = results(cli, *MAIL)
    assert (code, results_by_name["logstore functions"], results_by_name["index decisions"]) == (
        0,
        ("keep", "done"),
        ("create", "done"),
    )


CREATED = {
    "ram": ("CreatePolicy", "CreateRole", "AttachPolicyToRole"),
    "mns": ("CreateQueue",),
    "sls": (
        "CreateProject",
        "CreateLogStore",
        "CreateIndex",
        "CreateSavedSearch",
        "CreateResourceRecord",
        "CreateAlert",
    ),
}


def test_an_answer_that_is_lost_does_no_harm(cloud: LocalCloud, cli: Cli) -> None:
    """The change was made; the next attempt finds it."""
    for service, actions in CREATED.items():
        for action in actions:
            cloud.faults.add(Fault(service, action, kind="reset-after"))
    code, results_by_name = results(cli, *MAIL)
    assert (code, set(results_by_name.values()), cloud.faults.waiting()) == (0, {("create", "done")}, [])
    assert cli("setup") == 0
    assert "Nothing to change" in cli.out


def test_throttling_is_waited_out(cloud: LocalCloud, cli: Cli) -> None:
    """For up to a minute for each call, in the clock that is passed in."""
    before, services = cloud.clock.now(), ("ram", "mns", "sls", "sts", "fc", "eventbridge")
    for service in services:
        cloud.faults.add(Fault(service, kind="throttle", times=4))
    assert cli("setup", *MAIL) == 0
    assert 15 * len(services) <= cloud.clock.now() - before < 60 * len(services)


def test_a_first_call_without_an_answer_is_not_repeated(cloud: LocalCloud, cli: Cli) -> None:
    """Nothing was changed, and a person sees at once that the network or the address is wrong. Later ones are: with a
    line before each wait."""
    before = cloud.clock.now()
    cloud.faults.add(Fault("sts", kind="reset", times=1))
    assert cli("setup", *MAIL) == 1
    assert (cli.err.count("no readable answer"), cloud.clock.now()) == (1, before)
    cloud.faults.add(Fault("ram", "CreateRole", kind="reset", times=2))
    assert cli("setup", *MAIL) == 0
    waits = [line.partition(": ")[0] for line in cli.err.splitlines()]
    assert waits == ["waiting 1 s", "waiting 2 s"]


def test_a_new_log_project_may_take_a_while_to_appear(cloud: LocalCloud, cli: Cli) -> None:
    """Its logstores are created as soon as it does."""
    cloud.sls.project_visible_after = 40
    code, results_by_name = results(cli, *MAIL)
    assert (code, set(results_by_name.values())) == (0, {("create", "done")})


def test_keys_of_another_account_are_refused(cloud: LocalCloud, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is read or changed."""
    use_keys(cloud, monkeypatch, PEER)
    assert cli("setup") == 2
    assert f"belongs to account {PEER}" in cli.err
    assert f"the home account, {HOME}" in cli.err
    assert {call.action for call in cloud.faults.calls} == {"GetCallerIdentity"}


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ("fc", "Function Compute: not activated: activate it at https://fcnext.console.aliyun.com"),
        ("eventbridge", "EventBridge: not activated: activate it at https://eventbridge.console.aliyun.com"),
        ("sls", "SLS: not activated: activate it at https://sls.console.aliyun.com"),
        ("mns", "activate it at https://mns.console.aliyun.com"),  # its refusal does not tell
    ],
)
def test_a_service_that_is_not_activated_is_named(cloud: LocalCloud, cli: Cli, service: str, message: str) -> None:
    """With the page that activates it; nothing is created."""
    cloud.inactive.add(service)
    assert cli("setup", *MAIL) == 1
    assert message in cli.err
    assert writes(cloud) == []


# Faults that are named before anything is created


def _rules_of_others(cloud: LocalCloud, count: int) -> None:
    cloud.knobs.change({"rules_per_bus": 50 if count > 10 else 10})
    for number in range(count):
        cloud.events.add_rule(HOME, f"theirs-{number}", '{"source":["acs.oss"]}', lambda _: None)


def _policies_of_others(cloud: LocalCloud, count: int) -> None:
    role = Role(
        HOME,
        "link-peer-operator",
        trust_text([ADMIN]),
        attached={("Custom", f"theirs-{number}"): 0 for number in range(count)},
    )
    for _, name in role.attached:
        cloud.identity.policies[HOME, name] = ManagedPolicy(
            name, {"v1": Version('{"Version": "1", "Statement": []}', 0)}
        )
    cloud.identity.add_role(role)


FAULTS: dict[str, Drift] = {
    "default event bus: it has 49 rules, the functions need 2 more, and EventBridge allows 50: raise the quota": (
        lambda cloud: _rules_of_others(cloud, 49)
    ),
    "role link-peer-operator: it would have 11 custom policies, and RAM attaches 10: detach theirs-0, theirs-1": (
        lambda cloud: _policies_of_others(cloud, 9)
    ),
    f"log project {PROJECT}: ProjectAlreadyExist: another customer holds the name: set another LINK_": (
        lambda cloud: cloud.sls.create_project(PEER, PROJECT)
    ),
    f"log project {PROJECT}: Unauthorized: internal server error: give the keys log:GetProject, or if another": (
        lambda cloud: cloud.faults.add(Fault("sls", "GetProject", code="Unauthorized", status=401, times=None))
    ),
}


@pytest.mark.parametrize("most", readings()["rules_per_bus"])
def test_a_bus_that_one_document_calls_full_is_named_and_setup_goes_on(cloud: LocalCloud, cli: Cli, most: int) -> None:
    """Function Compute's page has 10 rules, EventBridge's own 50; nothing is said of other people's rules but their
    names."""
    cloud.knobs.change({"rules_per_bus": 50})
    for number in range(9):
        cloud.events.add_rule(HOME, f"theirs-{number}", '{"source":["acs.oss"]}', lambda _: None)
    cloud.knobs.change({"rules_per_bus": most})
    assert cli("setup", *MAIL) == 0
    message = "default event bus: it has 9 rules, the functions need 2 more, and EventBridge allows 10 by one document, 50 by "
    assert f"{message}another: if it is refused: raise the quota in Quota Center" in cli.err
    code, resources = cli.json("setup", *MAIL)
    assert (code, [resource["kind"] for resource in resources][:1]) == (0, ["caution"])


@pytest.mark.parametrize("most", readings()["policies_per_role"])
def test_policies_that_one_document_refuses_are_named_and_tried(cloud: LocalCloud, cli: Cli, most: int) -> None:
    """RAM's error code has five of a role, its page of limits ten."""
    _policies_of_others(cloud, 4)
    cloud.knobs.change({"policies_per_role": most})
    assert cli("setup", "--adopt", *MAIL) == (0 if most == 10 else 1)
    caution = (
        "role link-peer-operator: it would have 6 custom policies, and RAM attaches 5 by one document, 10 by another"
    )
    assert f"{caution}: if it is refused: detach theirs-0" in cli.err
    assert ("LimitExceeded.Role.Policy" in cli.err) is (most == 5)


@pytest.mark.parametrize("message", FAULTS)
def test_a_fault_is_named_before_anything_is_created(cloud: LocalCloud, cli: Cli, message: str) -> None:
    """With its remedy, also by a dry run. The name of a log project is known to be taken only when it is created, so it
    is the first that is."""
    FAULTS[message](cloud)
    if "ProjectAlreadyExist" not in message:
        assert cli("setup", "--dry-run", *MAIL) == 1
        assert message in cli.err
    assert cli("setup", *MAIL) == 1
    assert message in cli.err
    assert {*writes(cloud)} <= {"CreateProject"}


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("cn-nanjing", "Function Compute 3.0 is not offered there: set another LINK_PEER_REGION"),
        ("ap-southeast-1", "Function Compute does not offer python3.12 there: set LINK_PEER_RUNTIME=python3.10"),
    ],
)
def test_so_is_a_region_where_the_functions_cannot_be(cloud: LocalCloud, cli: Cli, region: str, message: str) -> None:
    """With the setting that changes it."""
    assert cli("setup", "--region", region, *MAIL) == 1
    assert f"region {region}: {message}" in cli.err
    assert writes(cloud) == []


def test_every_fault_is_named_at_once(cloud: LocalCloud, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the output for programs, too."""
    _policies_of_others(cloud, 9)
    _rules_of_others(cloud, 50)
    cloud.inactive.update(("fc", "sls"))
    monkeypatch.setattr(regions, "PYTHON_312", frozenset())
    code, resources = cli.json("setup", *MAIL)
    assert (code, [resource["kind"] for resource in resources]) == (1, ["fault"] * 6)
    whats = [f"region {REGION}", *["role link-peer-operator"] * 2, "Function Compute", "default event bus", "SLS"]
    assert [resource["what"] for resource in resources] == whats


def test_rules_of_the_deployment_count_as_there(cloud: LocalCloud, cli: Cli) -> None:
    """A full bus is no fault where the functions have their rules."""
    assert cli("setup") == 0
    _rules_of_others(cloud, 8)
    for name in ("a", "b"):
        ours = f"acs:fc:{REGION}:{HOME}:functions/link-peer-auto-link"
        cloud.events.add_rule(HOME, name, '{"source":["acs.ecs"]}', lambda _: None, endpoint=ours)
    assert cli("setup") == 0, cli.err


# Options


def test_setup_asks_nothing_on_a_terminal(cloud: LocalCloud, cli: Cli, typed: Typed) -> None:
    """Options and the environment say all of it, as in a pipe; what nobody named is left out, with the option that
    names it."""
    typed("")
    assert cli("setup", "--dry-run") == 0
    assert "! role link-peer-operator: name who may operate: --operators" in cli.out


# Removing


@pytest.fixture(name="joined")
def _joined(cloud: LocalCloud) -> None:
    """The second account has the roles of the policy file, so that its groups can be read."""
    values = {**VALUES, "PEER_ACCOUNT": PEER, "EXTERNAL_ID": "link-peer-local-example"}
    for role in peer_roles("link-peer"):
        documents = {name: json.dumps(render(file, values)) for name, file in role.policies.items()}
        cloud.identity.add_role(Role(PEER, role.name, json.dumps(render(role.trust, values))), documents)


def all_roles(cloud: LocalCloud) -> list[str]:
    return [role.name for role in cloud.identity.roles.values() if role.account == HOME]


def home_roles(cloud: LocalCloud) -> list[str]:
    """Without EventBridge's, which are never deleted."""
    roles = [role.name for role in cloud.identity.roles.values() if role.account == HOME]
    return [name for name in roles if name not in linked_roles.SERVICES]


@pytest.mark.usefixtures("joined")
def test_removing_takes_away_what_setup_created_but_the_logs(cloud: LocalCloud, cli: Cli) -> None:
    """Also where a person attached another policy to a role; a second time there is nothing left."""
    cli("setup", *MAIL)
    cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-reader"].attached["System", "AdministratorAccess"] = 0
    assert cli("setup", "--remove", "--yes") == 0
    assert "= logstore decisions: kept; --remove --with-logs deletes it" in cli.out
    assert home_roles(cloud) == []
    assert [name for uid, name in cloud.identity.policies if uid == HOME] == []
    assert cloud.mns.queues(HOME) == []
    project = cloud.sls.project(HOME, PROJECT)
    assert (dict(project.alerts), dict(project.dashboards), dict(project.searches)) == ({}, {}, {})
    assert set(project.logstores) == {"decisions", "decisions-operators", "functions"}
    assert project.logstores["decisions"].index is not None
    before = writes(cloud)
    assert cli("setup", "--remove", "--yes") == 0
    assert "Nothing is left to delete." in cli.out
    assert writes(cloud) == before


@pytest.mark.usefixtures("joined")
def test_a_policy_that_a_person_attached_elsewhere_stays(cloud: LocalCloud, cli: Cli) -> None:
    """It is named at once; what else was to be deleted after it is named too."""
    cli("setup")
    cloud.identity.roles["other"] = Role(HOME, "other", "", attached={("Custom", "link-peer-operator"): 0})
    before = cloud.clock.now()
    assert cli("setup", "--remove", "--yes") == 1
    assert "delete failed: policy link-peer-operator: DeleteConflict" in cli.err
    assert "not done: delete policy link-peer-fc" in cli.err
    assert cloud.clock.now() < before + 1  # it waited for nothing


@pytest.mark.parametrize("name", ["link-peer-reader", "link-peer-operator"])
def test_a_role_that_somebody_else_made_is_not_removed(cloud: LocalCloud, cli: Cli, name: str) -> None:
    """Whoever needs it would lose it with its policies: a person says that it goes, too, or deletes it."""
    role = squatted(cloud, name)
    role.attached["System", "AdministratorAccess"] = 0.0
    assert cli("setup", "--remove", "--dry-run") == 0
    assert f"in the way: role {name}: exists, and link-peer did not make it: it trusts" in cli.out
    assert cli("setup", "--remove", "--yes", "--force") == 1
    assert "AdministratorAccess (System): look at it, then delete it yourself" in cli.err
    assert "run: link-peer setup --remove --adopt" in cli.err
    assert cloud.identity.roles[role.arn].attached == {("System", "AdministratorAccess"): 0.0}
    assert cli("setup", "--remove", "--yes", "--force", "--adopt") == 0, cli.err
    assert role.arn not in cloud.identity.roles


@pytest.mark.usefixtures("joined")
def test_what_would_be_removed_is_shown_first(cloud: LocalCloud, cli: Cli, typed: Typed) -> None:
    """With --dry-run, and before the question; another answer than y leaves everything. Where nobody can be asked,
    --yes must be given."""
    cli("setup")
    before = writes(cloud)
    assert cli("setup", "--remove") == 2
    assert "give --yes" in cli.err
    assert cli("setup", "--remove", "--dry-run") == 0
    assert "- role link-peer-fc" in cli.out
    typed("n\n")
    assert cli("setup", "--remove") == 1
    assert "- role link-peer-fc" in cli.out
    assert set(writes(cloud)[len(before) :]) <= {"AssumeRole"}


def test_removing_goes_on_after_an_answer_that_is_lost(cloud: LocalCloud, cli: Cli) -> None:
    """What is gone already is no error. With --with-logs, the project goes, too; and everything can be created
    again."""
    cli("setup", *MAIL)
    for service in ("ram", "mns", "sls"):
        cloud.faults.add(Fault(service, "Delete*", kind="reset-after"))
    assert cli("setup", "--remove", "--with-logs", "--yes", "--force") == 0
    assert (home_roles(cloud), cloud.sls.projects(HOME)) == ([], [])
    assert cli("setup", *MAIL) == 0


# The way back


def standing(cloud: LocalCloud) -> list[Any]:
    """What setup makes: roles with whom they trust, policies, queues, what the log project holds, and whom alerts
    notify."""
    identity, users = cloud.identity, cloud.sls.records(HOME, "sls.common.user").values()
    parts = (project for project in cloud.sls.projects(HOME))
    return [
        {role.name: json.loads(role.trust) for role in identity.roles.values() if role.name in home_roles(cloud)},
        {name: policy.document for (uid, name), policy in identity.policies.items() if uid == HOME},
        [queue.name for queue in cloud.mns.queues(HOME)],
        [(p.name, set(p.logstores), set(p.searches), set(p.dashboards), set(p.alerts)) for p in parts],
        [json.loads(record["value"])["email"] for record in users],
    ]


def take_back(cli: Cli, commands: list[str]) -> None:
    """Somebody types what setup ended with, and says yes."""
    for command in commands:
        assert cli(*shlex.split(command)[1:], "--yes") == 0, cli.err


@pytest.mark.usefixtures("joined")
def test_a_new_deployment_is_taken_back(cloud: LocalCloud, cli: Cli) -> None:
    """With its logs, which hold nothing yet; a run that changes nothing has no way back."""
    before = standing(cloud)
    _, [*_, way_back] = cli.json("setup", *MAIL)
    removal = f"link-peer setup --region {REGION} --prefix link-peer --remove --with-logs"
    assert (way_back["undo"], way_back["remaining"]) == ([removal], 0)
    assert cli("setup", *MAIL) == 0
    assert "To take it back" not in cli.out
    take_back(cli, way_back["undo"])
    assert standing(cloud) == before


OTHERS = f"acs:ram::{HOME}:user/ann,acs:ram::{HOME}:role/on-call"


@pytest.mark.usefixtures("joined")
@pytest.mark.parametrize(
    "options",
    [
        ("--operators", OTHERS),
        ("--notify", "night@example.com"),
        ("--operators", OTHERS, "--notify", "night@example.com"),
        ("--remove", "--yes"),
        ("--remove", "--yes", "--with-logs"),
    ],
)
def test_what_a_later_run_changed_is_taken_back(cloud: LocalCloud, cli: Cli, options: tuple[str, ...]) -> None:
    """Who operates and whom alerts notify are as before, also after all was removed; of logs, the names."""
    cli("setup", *MAIL)
    before = standing(cloud)
    code, [*_, way_back] = cli.json("setup", *options)
    assert (code, standing(cloud) != before, way_back["remaining"]) == (0, True, 0)
    take_back(cli, way_back["undo"])
    assert standing(cloud) == before


@pytest.mark.usefixtures("joined")
def test_a_log_that_was_deleted_comes_back_with_its_days(cloud: LocalCloud, cli: Cli) -> None:
    """The records do not."""
    cli("setup", *MAIL, "--retention", "2555")
    _, [*_, way_back] = cli.json("setup", "--remove", "--with-logs", "--yes")
    take_back(cli, way_back["undo"])
    assert cloud.sls.project(HOME, PROJECT).logstores["decisions"].settings["ttl"] == 2555


def cloud_state(cloud: LocalCloud) -> dict[str, Any]:
    """All that setup makes, as it is: whom roles trust and what they hold, documents, attributes, settings and
    indexes."""
    identity, project = cloud.identity, cloud.sls.project(HOME, PROJECT)
    roles = {role.name: role for role in identity.roles.values() if role.name in home_roles(cloud)}
    tables = {table: cloud.sls.records(HOME, table) for table in ("sls.common.user", "sls.alert.action_policy")}
    return {
        **{f"role {name}": (json.loads(role.trust), sorted(role.attached)) for name, role in roles.items()},
        **{f"policy {name}": json.loads(p.document) for (uid, name), p in identity.policies.items() if uid == HOME},
        **{f"queue {queue.name}": queue.attributes for queue in cloud.mns.queues(HOME)},
        **{f"logstore {name}": dict(store.settings) for name, store in project.logstores.items()},
        **{
            f"index {name}": store.index and (store.index.line, store.index.keys)
            for name, store in project.logstores.items()
        },
        **{f"search {name}": dict(body) for name, body in project.searches.items()},
        **{f"dashboard {name}": dict(body) for name, body in project.dashboards.items()},
        **{f"alert {name}": dict(body) for name, body in project.alerts.items()},
        **{f"{table} {name}": dict(record) for table, records in tables.items() for name, record in records.items()},
    }


class Owner:
    """A person who pastes the commands of `aliyun` with which setup ends, one after the other."""

    def __init__(self, cloud: LocalCloud, cli: Cli) -> None:
        self.cloud = cloud
        self.cli = cli
        self.project = cloud.sls.project(HOME, PROJECT)

    def paste(self, command: str) -> None:
        """Runs it."""
        program, *words = shlex.split(command)
        if program == "link-peer":
            assert self.cli(*words, "--yes") == 0, self.cli.err
            return
        service, action, *options = words
        fields = {name.removeprefix("--"): value for name, value in zip(options[::2], options[1::2], strict=True)}
        {"ram": self._ram, "mns-open": self._mns, "sls": self._sls}[service](action, fields)

    def _ram(self, action: str, fields: dict[str, str]) -> None:
        self.cloud.ram.call(Caller(HOME, f"acs:ram::{HOME}:root"), action, fields)

    def _mns(self, action: str, fields: dict[str, str]) -> None:
        assert fields.pop("RegionId") == REGION
        name = fields.pop("QueueName")
        if action == "DeleteQueue":
            self.cloud.mns.delete_queue(HOME, name)
            return
        seconds = {"message_retention_period": "MessageRetentionPeriod", "visibility_timeout": "VisibilityTimeout"}
        values = {attribute: int(fields.pop(field)) for attribute, field in seconds.items()}
        assert (action, fields) == ("SetQueueAttributes", {})
        attributes = self.cloud.mns.queue(HOME, name).attributes
        self.cloud.mns.set_attributes(HOME, name, msgspec.structs.replace(attributes, **values))

    def _sls(self, action: str, fields: dict[str, str]) -> None:
        assert (fields.pop("region"), fields.pop("project")) == (REGION, PROJECT)
        body = json.loads(fields.pop("body", "null"))
        [(_, name)] = fields.items()
        documents = {"SavedSearch": "searches", "Dashboard": "dashboards", "Alert": "alerts"}
        verb, noun = action[:6], action[6:]
        assert verb in ("Update", "Delete")
        if noun in documents:
            stored = getattr(self.project, documents[noun])
            stored.update(name, body) if body else stored.delete(name)
        elif noun == "Index":
            arguments = (HOME, PROJECT, name)
            self.cloud.sls.update_index(*arguments, body) if body else self.cloud.sls.delete_index(*arguments)
        else:
            shard_count = len(self.project.logstores[name].shards)
            assert (noun, body.pop("logstoreName"), body.pop("shardCount")) == ("LogStore", name, shard_count)
            self.cloud.sls.update_logstore(HOME, PROJECT, name, **body)


def _search_deleted(cloud: LocalCloud) -> None:
    cloud.sls.project(HOME, PROJECT).searches.delete("link-peer-opened")


EDITS: dict[str, Drift] = {
    **{name: drift for name, (_, drift) in DRIFTS.items()},
    **{name: drift for name, drift in CHOICES.items() if not name.startswith("action policy")},
    "a shorter retention": lambda cloud: cloud.sls.update_logstore(HOME, PROJECT, "decisions", ttl=90),
    "a saved search that is missing": _search_deleted,
}


@pytest.mark.exhaustive
@pytest.mark.usefixtures("joined")
@pytest.mark.parametrize("edits", sample([*([name] for name in EDITS), list(EDITS)], 3), ids=" and ".join)
def test_all_that_setup_replaced_is_taken_back(cloud: LocalCloud, cli: Cli, edits: list[str]) -> None:
    """Of a deployment that people have changed: documents, trust, attributes, searches, charts, alerts, indexes and
    retention are as they were, to the letter."""
    cli("setup", *MAIL)
    for name in edits:
        EDITS[name](cloud)
    before = cloud_state(cloud)
    code, [*_, way_back] = cli.json("setup", *MAIL, "--replace", "--retention", "365")
    assert (code, cloud_state(cloud) != before, way_back["remaining"]) == (0, True, 0)
    owner = Owner(cloud, cli)
    for command in way_back["undo"]:
        owner.paste(command)
    assert cloud_state(cloud) == before


@pytest.mark.usefixtures("joined")
def test_what_no_command_takes_back_is_said_with_what_it_was(cloud: LocalCloud, cli: Cli) -> None:
    """The record of the alert centre, which `aliyun` cannot set; and that a shorter retention deletes records."""
    cli("setup", *MAIL)
    CHOICES["action policy link-peer: value"](cloud)
    cloud.sls.update_logstore(HOME, PROJECT, "decisions", ttl=90)
    assert cli("setup", *MAIL, "--replace", "--retention", "365") == 0
    assert "\nTo take it back:\naliyun sls UpdateLogStore " in cli.out
    assert "UpdateLogStore deletes the records that are older than the days that it sets." in cli.out
    assert "No command takes back: action policy link-peer, which was {" in cli.out
    assert "fire(type=" in cli.out
