"""`link-peer doctor` finds what the requested links lack."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from typing import Any

import pytest
from aliyun_local.api import Fault, Triggers, linked_roles, readings, unpack
from link_peer.inbound import policy_file
from link_peer_deploy import regions
from msgspec.structs import replace

from tests.functional.command import Cli
from tests.functional.lab import HOME, PEER, REGION, Lab

pytestmark = pytest.mark.usefixtures("living_lab")


@pytest.fixture(name="cli")
def _cli(lab: Lab, triggers: Triggers, capsys: pytest.CaptureFixture[str]) -> Cli:
    """A whole deployment, as the three commands make it, after its first sweep."""
    cli = Cli(capsys)
    assert cli("setup", "--yes", "--region", REGION, "--notify", "ops@example.com") == 0
    sweep(triggers)
    lab.cloud.faults.calls.clear()
    return cli


def sweep(triggers: Triggers) -> None:
    """Run the timer's sweep."""
    triggers.fire_timer("every-10m")
    triggers.drain()


def failing(cli: Cli, *options: str) -> list[tuple[str, str, str]]:
    """Run the doctor; return (state, what, detail) of each check of the platform that ends the command with 1."""
    code, findings = cli.json("doctor", "--platform", *options)
    assert {finding["part"] for finding in findings} == {"platform"}
    lacking = [
        (f["state"], f["what"], f["detail"]) for f in findings if f["state"] in ("missing", "differs", "unknown")
    ]
    assert code == (1 if lacking else 0)
    return lacking


def missing(cli: Cli, *options: str) -> list[tuple[str, str, str]]:
    """Run the doctor; return (account, what, detail) of each check with the state `missing`."""
    _, findings = cli.json("doctor", *options)
    return [(f["where"], f["what"], f["detail"]) for f in findings if f["state"] == "missing"]


def test_a_healthy_deployment_has_nothing_missing(lab: Lab, cli: Cli) -> None:
    """All that setup and s.yaml make, and both accounts, are ok. The doctor changes nothing and records nothing. With
    an account, what is deployed in home is left out."""
    before = lab.records()
    code, findings = cli.json("doctor")
    assert [f for f in findings if f["state"] != "ok"] == []
    assert (code, {f["where"] for f in findings}) == (0, {"", HOME, PEER})
    _, [access] = cli.json("doctor", PEER)
    assert (access["where"], access["what"], access["account_name"]) == (PEER, "access", "b@aliyun.com")
    assert (lab.changes(), lab.records()) == (0, before)


def test_the_advice_for_an_alert_that_nobody_made_makes_it(lab: Lab, cli: Cli) -> None:
    """`setup` alone would leave it out: it names the option for an address."""
    alerts = lab.cloud.sls.project(HOME, f"link-peer-{HOME}-{REGION}").alerts
    for name in list(alerts):
        alerts.delete(name)
    code, findings = cli.json("doctor", "--platform")
    assert (code, cli.err) == (0, "")
    [advice] = {finding["advice"] for finding in findings if finding["what"].startswith("alert ")}
    assert cli(*advice.replace("ADDRESS", "ops@example.com").split()[1:], "--yes") == 0
    assert [f for f in cli.json("doctor", "--platform")[1] if f["state"] != "ok"] == []


def test_a_queue_that_the_functions_may_not_send_to_is_named(lab: Lab, cli: Cli) -> None:
    """Their role covers the names that begin with that of the shared queue; so does a reader's, so it is not said that
    there is none."""
    lab.policy_account(PEER, queue="orders")
    lab.cloud.mns.create_queue(HOME, "orders")
    findings = failing(cli)
    assert ("missing", f"accounts.{PEER}.queue", "is orders") in findings
    assert [state for state, subject, _ in findings if subject == "queue orders"] == ["unknown"]


def test_denied_links_are_listed_with_advice(lab: Lab, cli: Cli) -> None:
    """No consent; without ports an advanced group, a different VPC: each under the account that must act."""
    app, db = lab.group(), lab.group()
    advanced, elsewhere = lab.group("*", type="enterprise"), lab.group("*", vpc=lab.a)
    peers = [f"{db.id}:tcp/1", advanced.id, elsewhere.id]
    lab.instance(app, tags={f"link-peer.{n}": peer for n, peer in enumerate(peers)})
    reasons = {subject.split()[-1].partition("@")[0]: detail.split(":")[0] for _, subject, detail in missing(cli)}
    assert reasons == {db.id: "no-consent", advanced.id: "advanced-group", elsewhere.id: "different-vpc"}
    assert [cli("doctor"), cli("doctor", "--platform"), cli("doctor", "--tenants")] == [0, 0, 3]
    assert f"link-accept={app.id}:tcp/1: link-peer accept {db.id}@{HOME} {app.id}:tcp/1" in cli.out
    assert missing(cli, PEER) == []


def test_an_account_with_links_that_shows_no_instances_is_a_warning(lab: Lab, cli: Cli) -> None:
    """The sweep makes no removals there, which the advice explains."""
    lab.cross_account(lab.request(*lab.pair(), "tcp/1"))
    for instance in list(lab.cloud.ecs.accounts[PEER].instances):
        lab.call(PEER, "DeleteInstance", {"InstanceId": instance, "Force": "true"})
    code, findings = cli.json("doctor", PEER)
    [warning] = [f for f in findings if (f["where"], f["what"]) == (PEER, "access")]
    assert (code, warning["state"]) == (0, "warning")
    assert f"no removals are made in account {PEER} because it shows no instances" in warning["advice"]
    assert warning["advice"].endswith(f"link-peer sweep --believe-empty {PEER}")


FULL = (
    (20, 20, "missing", "name 20 groups already (the limit is 20)"),
    (1, 20, "warning", "20 rules with a group as source: one document allows 20, another those of 20 groups"),
    (1, 16, "warning", "16 rules with a group as source"),
    (1, 15, None, ""),
    (0, 191, "warning", "191 rules: one document allows 200 a group, another 1000 in all groups of an instance"),
    (0, 190, None, ""),
)
"""How many groups the rules of a group name, how many rules it has, and what is said."""


@pytest.mark.knobs(rules_per_group=1000, group_sources="groups")
def test_a_group_that_is_full_or_nearly_full_is_reported(lab: Lab, cli: Cli) -> None:
    """What every document refuses is missing. What one of two refuses, and shortly before it, is a warning with both
    numbers."""
    groups = [lab.group("*") for _ in FULL]
    for db, (full_id, rules, _, _) in zip(groups, FULL, strict=True):
        lab.instance(db)
        if full_id:
            lab.fill(db, rules, full_id)
        else:
            lab.crowded(db, rules)
    _, findings = cli.json("doctor")
    for db, (_, _, state, detail) in zip(groups, FULL, strict=True):
        quota = [
            (finding["state"], finding["detail"])
            for finding in findings
            if finding["what"] == f"quota of {db.id}@{HOME}"
        ]
        assert [state_word for state_word, _ in quota] == ([state] if state else [])
        assert all(detail in text for _, text in quota)


def test_a_missing_queue_or_log_is_reported(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a setting, the name is made of the prefix. Another name is one that the reader's role may not read."""
    for name, value, subject in (
        ("LINK_PEER_QUEUE", "nowhere", "queue nowhere"),
        ("LINK_PEER_PREFIX", "staging", "queue staging-requests"),
        ("LINK_PEER_AUDIT_LOGSTORE", "nowhere", f"log link-peer-{HOME}-{REGION}/nowhere"),
        ("LINK_PEER_AUDIT_PROJECT", "nowhere", "log nowhere/decisions"),
    ):
        with monkeypatch.context() as patch:
            if name == "LINK_PEER_PREFIX":
                patch.delenv("LINK_PEER_QUEUE")
            patch.setenv(name, value)
            assert subject in [subject_now for _, subject_now, _ in failing(cli)]


# what is deployed


def redeploy(lab: Lab, name: str, **changes: Any) -> None:
    """Deploy a function of the home account again, with some of its fields changed."""
    with lab.cloud.fc.locked(HOME, name) as locked:
        settings = {"triggers": tuple(placed.trigger for placed in locked.triggers.values()), "async_qualifier": "live"}
    lab.cloud.fc.deploy(HOME, replace(lab.cloud.fc.function(HOME, name).function, **{**settings, **changes}))


def test_functions_that_are_not_as_deployed_are_reported(lab: Lab, cli: Cli) -> None:
    """One without the alias, so that its triggers could invoke nothing; one that is missing, with its triggers, of
    which nothing more is said; one whose variables name another deployment."""
    with lab.cloud.fc.locked(HOME, "link-peer-auto-link") as locked:
        locked.published.aliases.clear()
    lab.cloud.fc._functions.pop((HOME, "link-peer-cross-account"))
    env = lab.cloud.fc.function(HOME, "link-peer-sweep").function.env
    redeploy(lab, "link-peer-sweep", env={**env, "LINK_PEER_AUDIT_PROJECT": f"link-peer-{PEER}-{REGION}"})
    message = "was deployed with other settings than those here: LINK_PEER_AUDIT_PROJECT"
    assert failing(cli) == [
        ("missing", "function link-peer-auto-link", "python3.12, but there is no alias live"),
        ("missing", "function link-peer-cross-account", "is not deployed"),
        ("differs", "function link-peer-sweep", message),
    ]


def test_before_the_first_deployment_the_advice_is_that_of_the_first(lab: Lab, cli: Cli) -> None:
    """Without `--first`, `package` refuses where nothing is deployed."""
    for name in ("auto-link", "cross-account", "sweep"):
        lab.cloud.fc._functions.pop((HOME, f"link-peer-{name}"))
    _, findings = cli.json("doctor", "--platform")
    advice = {finding["advice"] for finding in findings if finding["what"].startswith("function ")}
    assert advice == {"link-peer package --first; s deploy -y"}


def test_the_version_and_the_package_behind_live_are_shown(lab: Lab, cli: Cli) -> None:
    """Time and package are in the description; functions of different packages are a finding."""
    for name, package in (("auto-link", "abc123"), ("cross-account", "abc123"), ("sweep", "def456")):
        text = f"Does its work (deployed 2026-11-26T10:00:00Z, package {package})"
        redeploy(lab, f"link-peer-{name}", description=text)
    _, findings = cli.json("doctor")
    details = {f["what"]: f["detail"] for f in findings}
    assert details["function link-peer-sweep"] == (
        "version 2 is live, python3.12, deployed 2026-11-26T10:00:00Z, package def456"
    )
    assert [subject for state, subject, _ in failing(cli)] == ["package"]


def test_a_compiled_policy_that_is_not_what_its_text_gives_is_reported(lab: Lab, cli: Cli) -> None:
    """With the digest of the text, as only the function that starts compares it. The text is compiled anew."""
    text = lab.policy_path.read_bytes()
    form = json.loads(policy_file.compiled_form(text))
    for name, paused in (("auto-link", form["policy"]["paused"]), ("sweep", "opening")):
        form["policy"]["paused"] = paused
        with zipfile.ZipFile(packed := io.BytesIO(), "w") as package:
            package.writestr(policy_file.NAME, text)
            package.writestr(policy_file.COMPILED, json.dumps(form))
        zipped = base64.b64encode(packed.getvalue()).decode()
        redeploy(lab, f"link-peer-{name}", code=unpack({"zipFile": zipped}))
    message = "link-peer-sweep cannot be trusted: policy.compiled.json, which the function acts on, is not what"
    assert failing(cli) == [
        ("differs", "deployed policy", f"the deployed policy of {message} policy.yaml gives"),
    ]


def test_a_canary_release_and_requests_that_are_not_recorded_are_warnings(lab: Lab, cli: Cli) -> None:
    """It says which share of the calls goes where. The alert on function errors reads the records of requests."""
    redeploy(lab, "link-peer-sweep", memory=512)
    with lab.cloud.fc.locked(HOME, "link-peer-sweep") as locked:
        locked.published.update_alias("live", "1", None, {"2": 0.1}, lab.cloud.fc.now())
    redeploy(lab, "link-peer-auto-link", request_metrics=False)
    code, findings = cli.json("doctor")
    warned = {f["what"]: f["detail"] for f in findings if f["state"] == "warning"}
    assert (code, set(warned)) == (0, {"function link-peer-sweep", "function link-peer-auto-link"})
    assert warned["function link-peer-sweep"] == "version 1 is live, python3.12; 10% of the calls go to version 2"
    unseen = "; no record of its requests is kept: the alert link-peer-function-errors does not see it"
    assert warned["function link-peer-auto-link"].endswith(unseen)


def test_a_trigger_that_is_missing_or_another_is_reported(lab: Lab, cli: Cli) -> None:
    """A deploy that died halfway creates no more triggers. The rule on the bus is not as it should be, either."""
    with lab.cloud.fc.locked(HOME, "link-peer-auto-link") as locked:
        first, *other_triggers = (placed.trigger for placed in locked.triggers.values())
    changes: tuple[tuple[dict[str, Any], str, str], ...] = (
        ({"qualifier": "LATEST"}, "differs", "differs from s.yaml in: qualifier"),
        ({"config": {"triggerEnable": False}}, "missing", "is disabled"),
        ({"config": {"eventRuleFilterPattern": "{}"}}, "differs", "differs from s.yaml in: filter pattern"),
        ({}, "missing", "does not exist"),
    )
    for change, state, detail in changes:
        config = {**first.config, **change.get("config", {})}
        changed = [replace(first, **{**change, "config": config})] if change else []
        redeploy(lab, "link-peer-auto-link", triggers=(*changed, *other_triggers))
        assert failing(cli)[0] == (state, "trigger instance-state of link-peer-auto-link", detail)


@pytest.mark.parametrize(
    ("pattern", "enabled", "detail"),
    [
        ('{"source":["acs.oss"]}', True, "none invokes link-peer-auto-link with the pattern of s.yaml"),
        ("", False, "link-peer-auto-link-instance-tags is disabled"),
    ],
)
def test_a_rule_that_is_missing_or_disabled_is_reported(
    lab: Lab, cli: Cli, pattern: str, enabled: bool, detail: str
) -> None:
    """The rules of EventBridge carry the events: without them nothing happens until the next sweep."""
    rules = lab.cloud.events._rules[HOME]
    [rule] = [rule for rule in rules if rule.name.endswith("instance-tags")]
    rules[rules.index(rule)] = replace(rule, text=pattern or rule.text, enabled=enabled)
    [(state, subject, message)] = failing(cli)
    assert (state, subject) == ("missing", "rule for instance-tags on the bus default")
    assert message.startswith(detail)


def test_what_setup_makes_is_checked(lab: Lab, cli: Cli) -> None:
    """What does not exist is missing; a policy that someone changed differs, and so does the index that `audit`
    needs."""
    lab.cloud.mns.delete_queue(HOME, "link-peer-requests")
    log = (lab.cloud.world.audit_project, lab.cloud.world.audit_logstore)
    lab.cloud.sls.update_index(HOME, *log, {"line": {"token": [" "]}, "keys": {}})
    role = lab.cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-fc"]
    role.trust = role.trust.replace("fc.aliyuncs.com", "ecs.aliyuncs.com")
    role.attached["System", "AdministratorAccess"] = 0
    *setup, (_, unread, _), (_, home, _), (_, peer, _) = failing(cli)
    assert setup == [
        ("differs", "role link-peer-fc", "differs from what is shipped in: trust"),
        ("differs", "role link-peer-fc", "has policies that are not shipped: AdministratorAccess (System)"),
        ("missing", "queue link-peer-requests", "does not exist"),
        ("differs", "index decisions", "differs from what is shipped in: line, keys, max_text_len"),
    ]
    assert (unread, home, peer) == ("last sweep", "access", "access")  # which cannot be searched without it


def test_a_role_that_setup_did_not_make_is_named(lab: Lab, cli: Cli) -> None:
    """No policy of ours is attached to it, so that its trust policy is whoever's made it."""
    role = lab.cloud.identity.roles[f"acs:ram::{HOME}:role/link-peer-operator"]
    role.attached.clear()
    role.trust = role.trust.replace("user/", "user/mallory-")
    details = [detail for _, resource, detail in failing(cli) if resource == "role link-peer-operator"]
    assert details[0] == "differs from what is shipped in: policies"
    assert details[1].startswith("exists, and link-peer did not make it: it trusts")
    assert details[1].endswith("holds no policy")


def test_what_a_person_changed_is_a_warning(lab: Lab, cli: Cli) -> None:
    """It is kept; a log that is kept for longer is as good as shipped."""
    project = lab.cloud.sls.project(HOME, f"link-peer-{HOME}-{REGION}")
    project.alerts["link-peer-quota"]["schedule"] = {"type": "Daily"}
    lab.cloud.sls.update_logstore(HOME, project.name, "decisions", ttl=2555)
    lab.cloud.sls.update_logstore(HOME, project.name, "functions", ttl=7)
    code, findings = cli.json("doctor")
    states = {finding["what"]: (finding["state"], finding["detail"]) for finding in findings}
    assert code == 0
    assert states["alert link-peer-quota"] == ("warning", "differs from what is shipped in: rule")
    assert states["logstore decisions"] == ("ok", "kept at 2555 days, not shortened to 365")
    assert states["logstore functions"] == ("warning", "differs from what is shipped in: days")


@pytest.mark.parametrize(
    ("count", "state", "allowed"), [(49, "missing", "50"), (9, "warning", "10 by one document, 50 by another")]
)
def test_what_deploying_lacks_is_reported(
    lab: Lab, cli: Cli, monkeypatch: pytest.MonkeyPatch, count: int, state: str, allowed: str
) -> None:
    """A service-linked role, without which no event arrives; room on the bus; a runtime that the region does not
    offer."""
    del lab.cloud.identity.roles[f"acs:ram::{HOME}:role/{linked_roles.SOURCE_CMS}"]
    rules = lab.cloud.events._rules[HOME]
    rules[:] = [replace(rules[0], name=f"theirs-{n}", endpoint="") for n in range(count)]
    monkeypatch.setattr(regions, "PYTHON_312", frozenset())
    _, findings = cli.json("doctor")
    states = {finding["what"]: (finding["state"], finding["detail"]) for finding in findings}
    without = "without it, no event of an instance arrives: its links wait for the next full sweep"
    assert states[f"service-linked role {linked_roles.SOURCE_CMS}"] == ("missing", f"does not exist: {without}")
    message = f"it has {count} rules, the functions need 2 more, and EventBridge allows {allowed}"
    assert states["default event bus"] == (state, message)
    assert states[f"region {REGION}"] == ("missing", "Function Compute does not offer python3.12 there")


INTERNAL = f"https://{HOME}.mns.{REGION}-internal.aliyuncs.com"


@pytest.mark.parametrize(
    ("is_enabled", "networks", "endpoint", "state", "detail"),
    [
        (True, ("0.0.0.0/0",), "", "ok", "answers everybody"),
        (False, ("0.0.0.0/0",), "", "missing", "is closed, and the functions use it"),
        (True, ("198.51.100.0/24",), "", "missing", "answers 198.51.100.0/24 only, and the functions use it"),
        (False, (), INTERNAL, "ok", f"is closed; the functions use {INTERNAL}"),
    ],
)
def test_a_public_endpoint_of_the_queues_that_is_closed_is_reported(
    lab: Lab, cli: Cli, is_enabled: bool, networks: tuple[str, ...], endpoint: str, state: str, detail: str
) -> None:
    """With the setting by which the functions use another one, or the call that opens it."""
    public = lab.cloud.mns.endpoints.public(HOME)
    function = lab.cloud.fc.function(HOME, "link-peer-cross-account").function
    redeploy(lab, function.name, env={**function.env, "LINK_PEER_MNS_ENDPOINT": endpoint})
    public.is_enabled, public.networks = is_enabled, networks
    _, findings = cli.json("doctor")
    [finding] = [row for row in findings if row["what"] == "public endpoint of the queues"]
    assert (finding["state"], finding["detail"]) == (state, detail)
    if state == "missing":
        assert finding["advice"].startswith(f"export LINK_PEER_MNS_ENDPOINT={INTERNAL}; s deploy -y; or: ")


def test_a_public_endpoint_that_may_not_be_asked_is_a_warning(lab: Lab, cli: Cli) -> None:
    """The right that it takes is not documented: the rest of the check stands."""
    lab.fault(service="mns_open", action="GetEndpointAttribute", code="NoPermission", status=403, times=None)
    code, findings = cli.json("doctor")
    [finding] = [row for row in findings if row["what"] == "public endpoint of the queues"]
    assert (code, finding["state"]) == (0, "warning")
    assert finding["detail"].startswith("cannot be read: NoPermission")


def test_any_of_a_roles_names_is_enough(lab: Lab, cli: Cli) -> None:
    """One of two, whichever. The one that no source asks for is missed only where no rule invokes the functions; else
    there is nothing to make, either."""
    roles, arn = lab.cloud.identity.roles, f"acs:ram::{HOME}:role/"
    either_role, only = (
        (linked_roles.SEND_TO_MNS, linked_roles.SOURCE_MNS),
        f"service-linked role {linked_roles.FC_TRIGGER}",
    )
    del roles[arn + linked_roles.FC_TRIGGER]
    for name in either_role:
        role = roles.pop(arn + name)
        _, findings = cli.json("doctor")
        states = {finding["what"]: finding["state"] for finding in findings}
        assert (states[f"service-linked role {' or '.join(either_role)}"], states[only]) == ("ok", "ok")
        roles[arn + name] = role
    assert cli("setup", "--dry-run") == 0
    assert linked_roles.FC_TRIGGER not in cli.out
    for rule in list(lab.cloud.events._rules[HOME]):
        lab.cloud.events.remove_rule(HOME, rule.name)
    assert cli("setup", "--dry-run") == 0
    assert f"+ {only}" in cli.out
    _, findings = cli.json("doctor")
    assert {finding["what"]: finding["state"] for finding in findings}[only] == "warning"
    for name in either_role:
        del roles[arn + name]
    assert f"service-linked role {' or '.join(either_role)}" in {subject for _, subject, _ in missing(cli)}


def test_what_may_not_be_read_is_unknown(lab: Lab, cli: Cli) -> None:
    """Not missing: the keys lack a right, not the deployment a piece."""
    for service, action in (("fc", "GetAlias"), ("eventbridge", "ListRules"), ("ram", "GetPolicy")):
        lab.fault(service=service, action=action, code="NoPermission", status=403, times=None)
    findings = failing(cli)
    assert {state for state, _, _ in findings} == {"unknown"}
    assert {subject.split()[0] for _, subject, _ in findings} == {"function", "rules", "policy", "deployed"}


def test_a_service_that_gives_no_answer_is_not_asked_for_each_resource(lab: Lab, cli: Cli) -> None:
    """RAM fails for every policy and role: what its policies deny is asked again, then the first of them, the second
    once more, the others not; other services are read."""
    for action in ("GetPolicy", "GetRole"):
        lab.cloud.faults.add(Fault("ram", action, times=None))
    _, findings = cli.json("doctor")
    ours = [finding for finding in findings if finding["what"].startswith(("policy link", "role link"))]
    assert len(ours) > 4
    assert {finding["state"] for finding in ours} == {"unknown"}
    assert all("InternalError" in finding["detail"] for finding in ours)
    assert sum(call.action in ("GetPolicy", "GetRole") for call in lab.cloud.faults.calls) == 9
    assert all(finding["state"] == "ok" for finding in findings if finding["what"].startswith("queue "))


@pytest.mark.parametrize(
    ("queue", "messages", "subject", "advice"),
    [
        ("link-peer-dead-letters", 1, "dead letters", "link-peer failed"),
        ("link-peer-sweeps", 3, "accounts to sweep", "look at the errors of the function in the logstore functions"),
    ],
)
@pytest.mark.parametrize("counts", readings()["queue_counts"])
def test_messages_that_wait_are_counted(
    lab: Lab, cli: Cli, queue: str, messages: int, subject: str, advice: str, counts: str
) -> None:
    """Dead letters, which `link-peer failed` shows; and more accounts to sweep than there are. Whatever the platform
    counts."""
    lab.cloud.knobs.change({"queue_counts": counts})
    for _ in range(messages):
        lab.cloud.mns.send(HOME, queue, "{}")
    code, findings = cli.json("doctor")
    [warning] = [f for f in findings if f["state"] == "warning"]
    assert (code, warning["what"], warning["detail"]) == (0, subject, str(messages))
    assert warning["advice"].startswith(advice)


@pytest.mark.parametrize(("counts", "detail"), [("real", "20"), ("zero", "16 or more")])
def test_more_than_a_look_shows_is_no_exact_number(lab: Lab, cli: Cli, counts: str, detail: str) -> None:
    """Where the platform does not count them."""
    lab.cloud.knobs.change({"queue_counts": counts})
    for _ in range(20):
        lab.cloud.mns.send(HOME, "link-peer-dead-letters", "{}")
    _, findings = cli.json("doctor")
    [finding] = [finding for finding in findings if finding["what"] == "dead letters"]
    assert (finding["state"], finding["detail"]) == ("warning", detail)


@pytest.mark.parametrize("counts", readings()["queue_counts"])
def test_an_account_that_waits_long_to_be_swept_is_a_warning(lab: Lab, cli: Cli, counts: str) -> None:
    """However few wait: of more accounts than a look shows, nothing else would tell that their sweeps are late."""
    lab.cloud.knobs.change({"queue_counts": counts})
    lab.cloud.mns.send(HOME, "link-peer-sweeps", "{}")
    states = []
    for seconds in (0, 1700, 160):
        lab.cloud.clock.sleep(seconds)
        _, findings = cli.json("doctor")
        states += [
            (finding["state"], finding["detail"]) for finding in findings if finding["what"] == "accounts to sweep"
        ]
    assert states == [("ok", "1"), ("ok", "1"), ("warning", "1, the oldest of 31 minutes ago")]


def test_the_deployed_policy_is_that_of_the_package_that_runs(lab: Lab, cli: Cli) -> None:
    """Whatever a sweep recorded: after a deploy, before any sweep of it, it is the new one; after a rollback, the old
    one. The file in use may have been edited since."""
    former = lab.publish()
    lab.policy(deny={"ports": ["tcp/22"]})
    [(state, subject, edited)] = failing(cli)
    assert (state, subject) == ("differs", "deployed policy")
    lab.publish()
    assert failing(cli) == []
    lab.roll_back(former)
    assert failing(cli) == [("differs", "deployed policy", edited)]
    local, deployed = (policy_file.load(lab.policy_path).digest, edited.rpartition(" ")[2])
    assert edited == f"{lab.policy_path} is {local}, deployed is {deployed}"
    _, plan = cli.json("plan", "--policy", str(lab.policy_path))
    assert [change["kind"] for change in plan[0]["permissions"]] == ["narrower"]


def test_a_sweep_that_did_not_count_the_dead_letters_is_a_warning(lab: Lab, cli: Cli, triggers: Triggers) -> None:
    """As with the roles that an older version made. The alert on dead letters reads the number."""
    lab.fault(service="mns", action="BatchPeekMessage", code="AccessDenied", status=403)
    lab.cloud.clock.sleep(600)
    sweep(triggers)
    _, findings = cli.json("doctor")
    [detail] = [f["detail"] for f in findings if (f["state"], f["what"]) == ("warning", "last sweep")]
    assert detail.endswith("dead letters were not counted: AccessDenied")


def test_a_sweep_that_is_overdue_is_reported(lab: Lab, cli: Cli) -> None:
    """After half an hour a warning, for each account too; after a day it is missing, and how accounts are entered is
    unknown."""
    lab.cloud.clock.sleep(1810)
    code, findings = cli.json("doctor")
    warned = [f["what"] for f in findings if f["state"] == "warning"]
    assert (code, warned) == (0, ["last sweep", "access", "access"])
    lab.cloud.clock.sleep(86_400)
    missing, *unknown = failing(cli)
    assert missing == ("missing", "last sweep", "no sweep was recorded within a day")
    assert [(state, subject) for state, subject, _ in unknown] == [("unknown", "access")] * 2
