"""`link-peer verify` tests from inside an instance what the rules let through, and says which rule decides."""

from __future__ import annotations

import pytest
from aliyun_local.api import Role, trust_text
from link_peer.domain.tags import parse_port
from link_peer.planning.effect import Effect
from link_peer_cli.access.environment import load_own
from link_peer_cli.inventory.probe import result_of, runner_in
from link_peer_cli.inventory.tested import ProbeVerdict
from msgspec.structs import replace

from tests.functional.command import ALL, CallerActions, Cli
from tests.functional.command import linked_by_request as linked
from tests.functional.lab import HOME, PEER, Lab


def role(lab: Lab, name: str, *actions: str) -> None:
    """A role of the peer account that may do this, and that the account of the functions may assume."""
    lab.cloud.identity.add_role(Role(PEER, name, trust_text([f"acs:ram::{HOME}:root"])))
    lab.cloud.identity.allow_only(f"acs:ram::{PEER}:role/{name}", actions)


# what the test shows


@pytest.mark.usefixtures("terminal")
def test_the_exit_code_says_whether_every_port_was_reached(lab: Lab, cli: Cli) -> None:
    """Each port is tested on its own, and has its own rule."""
    _, db, a, b = linked(lab)
    ends = ["verify", "--from", a.id, "--to", b.id]
    code, [tcp] = cli.json(*ends, "--port", "tcp/3306")
    assert (code, tcp["reached"], tcp["result"], tcp["address"]) == (0, True, "answered", b.private_ip)
    (rule,) = lab.raw_rules(db)
    assert [(rule["rule_id"], rule["by"]) for rule in tcp["rules"]] == [(rule["SecurityGroupRuleId"], "link-peer")]
    assert (tcp["state"], tcp["contradiction"]) == ("open", False)
    code, tests = cli.json(*ends, "--port", "tcp/3306", "--port", "icmp")
    assert (code, [(document["port"], document["reached"]) for document in tests]) == (
        1,
        [("tcp/3306", True), ("icmp", False)],
    )
    assert "100% packet loss" in tests[1]["output"]
    assert tests[1]["state_detail"] == f"no ingress rule of {db.id}@{HOME} admits icmp"
    assert cli(*ends) == 1
    assert f"icmp: blocked: no ingress rule of {db.id}@{HOME} admits icmp\n" in cli.out
    assert f"what to do: link-peer explain {a.id}@{HOME} {b.id}@{HOME} icmp" in cli.out


def test_what_the_rules_admit_and_does_not_arrive_has_another_cause(lab: Lab, cli: Cli) -> None:
    """A link between instances of different VPCs without a route."""
    app, db = lab.group("*", vpc=lab.a), lab.group("*")
    a, b = lab.instance(app), lab.instance(db)
    lab.cross_account(lab.request(a, b, "tcp/3306"))
    code, [tcp] = cli.json("verify", "--from", a.id, "--to", b.id, "--port", "tcp/3306")
    assert (code, tcp["reached"], tcp["state"]) == (1, False, "open")
    assert tcp["why"].startswith("the rules admit it: look at routes, network ACLs")
    assert "different VPCs" in tcp["why"]


def test_a_packet_that_arrives_although_a_rule_stops_it_is_a_contradiction(lab: Lab, cli: Cli) -> None:
    """As when a rule is added while the test runs, which is before the rules are read. A rule of a person is named with
    its group, its priority and what it says of itself; once it stands, the packet is lost."""
    _, db, a, b = linked(lab)
    drop = {
        **ALL,
        "SourceCidrIp": "10.0.0.0/8",
        "Policy": "drop",
        "Priority": "1",
        "Description": "frozen for the audit",
    }
    rule_ids: list[str] = []
    lab.meanwhile("DescribeInvocationResults", lambda: rule_ids.append(lab.authorize(db, **drop)))
    command = ["verify", "--from", a.id, "--to", b.id, "--port", "tcp/3306"]
    code, [tcp] = cli.json(*command)
    assert (code, tcp["reached"], tcp["state"], tcp["contradiction"]) == (0, True, "blocked", True)
    blocked = (
        f"blocked by rule {rule_ids[0]} on {db.id}@{HOME} (drop all priority 1, by a person, 'frozen for the audit')"
    )
    assert tcp["why"].startswith(f"CONTRADICTION: the packet arrived, and the rules say that it is {blocked}")
    code, [tcp] = cli.json(*command)
    assert (code, tcp["reached"], tcp["result"], tcp["why"]) == (1, False, "no answer", blocked)
    assert [(rule["rule_id"], rule["by"], rule["policy"], rule["priority"]) for rule in tcp["rules"]] == [
        (rule_ids[0], "a person", "drop", 1)
    ]


def test_an_address_is_tested_without_a_rule(lab: Lab, cli: Cli) -> None:
    """Nobody says which instance has it."""
    _, _, a, b = linked(lab)
    code, [tcp] = cli.json("verify", "--from", a.id, "--to", str(b.private_ip), "--port", "tcp/3306")
    assert (code, tcp["reached"], tcp["state"], tcp["to_account"]) == (0, True, "unknown", "")
    assert "name the instance" in tcp["state_detail"]
    code, [test] = cli.json("verify", "--from", a.id, "--to", "10.9.9.9", "--port", "tcp/3306")
    assert (code, test["reached"], test["rules"]) == (1, False, [])


ADMITTED = "the rules admit it: look at routes, network ACLs"
NO_WAY = f"there is no route to it; {ADMITTED}"
REFUSED = "it arrived, and was refused: nothing listens on tcp/22"
UNTESTED = "sh: line 1: nc: command not found"


@pytest.mark.parametrize(
    ("port", "code", "output", "result", "reached", "explanation"),
    [
        ("tcp/22", 1, "nc: connect to 10.0.0.2 port 22 (tcp) failed: Connection refused\n", "refused", True, REFUSED),
        ("tcp/22", 1, "nc: connect to 10.0.0.2 port 22 (tcp) failed: No route to host\n", "unreachable", False, NO_WAY),
        ("tcp/22", 1, "Ncat: Connection timed out.\n", "no answer", False, ADMITTED),
        ("icmp", 1, "From 10.0.0.1 icmp_seq=1 Destination Host Unreachable\n", "unreachable", False, NO_WAY),
        (
            "icmp",
            2,
            "ping: socket: Operation not permitted\n",
            "not tested",
            None,
            "not tested: ping: socket: Operation",
        ),
        ("tcp/22", 127, f"{UNTESTED}\n", "not tested", None, f"not tested: {UNTESTED}. The rules say: open"),
    ],
)
def test_the_output_of_each_ping_and_nc_is_understood(
    port: str, code: int, output: str, result: str, reached: bool | None, explanation: str
) -> None:
    """Of iputils, Ncat and OpenBSD's nc. A packet that is refused has arrived, one for which there is no route is no
    time-out, and without the tool nothing is tested."""
    outcome = result_of(parse_port(port), code, output)
    assert (outcome.value, outcome.reached) == (result, reached)
    tested = ProbeVerdict(parse_port(port), outcome, output, Effect(True), "it is accepted")
    assert (tested.explanation.startswith(explanation), tested.contradiction) == (True, False)


# from where to where


@pytest.mark.usefixtures("terminal")
def test_a_group_is_tested_with_one_of_its_instances(lab: Lab, cli: Cli) -> None:
    """The pair is printed, and of how many it is. Two members of one group are two, a single one is none to itself."""
    app, db, _, b = linked(lab)
    other_instances = [lab.instance(app) for _ in range(2)]
    code, [tried] = cli.json("verify", "--from", app.id, "--to", f"{db.id}@{HOME}", "--port", "tcp/3306")
    assert (code, tried["members"], tried["to"]) == (0, {"from": 3, "to": 1}, b.id)
    assert tried["asked"] == {"from": f"{app.id}@{HOME}", "to": f"{db.id}@{HOME}"}
    cli("verify", "--from", app.id, "--to", db.id, "--port", "tcp/3306")
    assert f"one pair of 3 × 1 instances: {app.id}@{HOME} → {db.id}@{HOME}" in cli.out
    code, [inside] = cli.json("verify", "--from", app.id, "--to", app.id)
    assert (code, inside["from"] != inside["to"]) == (0, True)
    assert (cli("verify", "--from", b.id, "--to", db.id), "are the same instance" in cli.err) == (1, True)
    assert (
        cli("verify", "--from", other_instances[0].id, "--to", lab.group().id),
        "has no instance with" in cli.err,
    ) == (
        1,
        True,
    )


# with which keys


@pytest.mark.usefixtures("accesses", "peer_profile")
def test_from_another_account_keys_of_that_account_run_the_test(accesses: CallerActions, lab: Lab, cli: Cli) -> None:
    """Those of --profile alone: neither a role of link-peer nor the person's own keys run a command there."""
    ours, theirs = lab.pair()
    instance, peer = lab.instance(ours), lab.instance(theirs)
    lab.cross_account(lab.request(ours, theirs))
    command = ["verify", "--from", f"{peer.id}@{PEER}", "--to", instance.id]
    accesses.clear()
    assert cli(*command) == 1
    assert f"the keys of acs:ram::{HOME}:root belong to account {HOME}" in cli.err
    assert "--profile with keys of that account, or --role with a role there" in cli.err
    assert "ecs:RunCommand and ecs:DescribeInvocationResults" in cli.err
    assert "ecs:RunCommand" not in {action for _, action in accesses}
    code, [ping] = cli.json(*command, "--profile", "peer")
    assert (code, ping["reached"], ping["from_account"], ping["state"]) == (0, True, PEER, "open")
    ran = {(caller.account, caller.role) for caller, action in accesses if action == "ecs:RunCommand"}
    assert ran == {(PEER, None)}


def test_a_role_in_that_account_may_run_the_test(accesses: CallerActions, lab: Lab, cli: Cli) -> None:
    """The person's own keys assume it. What it lacks is named, with the account and the action."""
    ours, theirs = lab.pair()
    instance, peer = lab.instance(ours), lab.instance(theirs)
    lab.cross_account(lab.request(ours, theirs))
    command = ["verify", "--from", f"{peer.id}@{PEER}", "--to", instance.id, "--role", "tester"]
    assert cli(*command) == 1
    assert f"acs:ram::{PEER}:role/tester could not be assumed by acs:ram::{HOME}:root" in cli.err
    role(lab, "tester", "ecs:RunCommand")
    assert cli(*command) == 1
    assert (
        f"in account {PEER}, ecs:DescribeInvocationResults on {peer.id} was refused to acs:ram::{PEER}:role/tester"
        in cli.err
    )
    role(lab, "tester", "ecs:DescribeInvocationResults")
    assert (cli(*command), f"ecs:RunCommand on {peer.id} was refused" in cli.err) == (1, True)
    role(lab, "tester", "ecs:RunCommand", "ecs:DescribeInvocationResults")
    accesses.clear()
    assert cli(*command) == 0, cli.err
    assert {caller.role for caller, action in accesses if action == "ecs:RunCommand"} == {"tester"}


def test_a_role_is_assumed_with_the_external_id_of_its_account_and_tried_again(lab: Lab, cli: Cli) -> None:
    """STS may be in trouble for a moment. A role whose trust asks for no external id ignores it."""
    lab.policy_account(PEER, external_id="x" * 16)
    lab.cloud.identity.add_role(Role(PEER, "tester", trust_text([f"acs:ram::{HOME}:root"], "x" * 16)))
    env = load_own()
    for trouble in (False, True):
        if trouble:
            lab.fault(service="sts", action="AssumeRole", kind="error")
        assert runner_in(env, PEER, "", "tester").arn == f"acs:ram::{PEER}:role/tester"


@pytest.mark.parametrize("name", ["link-peer-reader", "link-peer"])
def test_no_role_of_link_peer_may_run_a_command(lab: Lab, cli: Cli, name: str) -> None:
    """Not even if a person asks for it: a command on an instance can do everything there."""
    peer = lab.instance(lab.group(account=PEER))
    assert cli("verify", "--from", f"{peer.id}@{PEER}", "--to", "10.0.0.1", "--role", name) == 1
    assert "could not be assumed" in cli.err or "ecs:RunCommand" in cli.err


# what keeps it from being tested


@pytest.mark.parametrize(
    ("code", "info", "remedy"),
    [
        ("InstanceNotRunning", "the instance is stopped", ": start it"),
        ("ClientNotRunning", "the aliyun service is not running on the instance", "InstallCloudAssistant"),
        ("SecurityGroupRuleDenied", "the security group rule denied", "tcp/443 to 100.100.0.0/16"),
        ("SomethingNew", "nobody knows", "InstallCloudAssistant"),
    ],
)
def test_cloud_assistant_that_does_not_run_is_an_error(lab: Lab, cli: Cli, code: str, info: str, remedy: str) -> None:
    """That says why and what to do; it is not the same as a packet that does not arrive."""
    _, _, a, b = linked(lab)
    a.assistant = (code, info)
    assert cli("verify", "--from", a.id, "--to", b.id, "--port", "tcp/3306") == 1
    assert cli.err.startswith(f"{a.id}@{HOME}: Cloud Assistant did not run the test ({code}: {info}): ")
    assert (remedy in cli.err, cli.out) == (True, "")


def test_a_result_that_never_comes_is_an_error(lab: Lab, cli: Cli) -> None:
    """After the time in which Cloud Assistant stops a command."""
    _, _, a, b = linked(lab)
    runs = lab.cloud.ecs.invocations
    lab.meanwhile("DescribeInvocationResults", lambda: runs.append(replace(runs.pop(), status="Running")))
    assert cli("verify", "--from", a.id, "--to", b.id) == 1
    assert "Cloud Assistant returned no result in time" in cli.err


def test_the_output_of_an_instance_does_nothing_to_the_terminal(lab: Lab, cli: Cli) -> None:
    """It may hold control characters and markup. In JSON it is as it came."""
    _, _, a, b = linked(lab)
    runs = lab.cloud.ecs.invocations
    lab.meanwhile(
        "DescribeInvocationResults", lambda: runs.append(replace(runs.pop(), exit_code=1, output="\x1b[2J[red]gone\n"))
    )
    assert cli("verify", "--from", a.id, "--to", b.id, "--port", "tcp/3306") == 1
    assert ("\x1b" in cli.out, "\\u001b[2J[red]gone" in cli.out) == (False, True)


def test_what_cannot_be_tested_is_reported(lab: Lab, cli: Cli) -> None:
    """An unknown instance, an unknown account, an unknown name."""
    instance = lab.instance(lab.group())
    ends = ["verify", "--from", instance.id, "--to"]
    for unknown in ("i-none", "i-none@1000000000000009", "db", "sg-none", ""):
        assert (cli(*ends, unknown), cli.err.startswith("--to: ")) == (2, True)
    assert (cli("verify", "--from", "i-none", "--to", "10.0.0.1"), cli.err.startswith("--from: ")) == (2, True)
