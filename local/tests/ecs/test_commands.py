"""Cloud Assistant through the official SDK: ping and nc show what the security groups allow, and what stops packets
besides."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from aliyun_local.cloud import LocalCloud
from aliyun_local.ecs import may_reach
from clients import HOME, ask, refusal
from ecs_helpers import authorize, client, new_group, permission


class World:
    """Two instances in two groups of one VPC; the second admits ICMP and TCP 3306 from the first's group."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud, self.ecs = cloud, client(cloud)
        app, db = new_group(self.ecs), new_group(self.ecs)
        self.a, self.b = (cloud.ecs.create_instance(HOME, [group]) for group in (app, db))
        ping = permission(ip_protocol="icmp", port_range="-1/-1", source_group_id=app)
        authorize(self.ecs, db, ping, permission(source_group_id=app))

    def run(self, command: str, *instances: str, **fields: Any) -> str:
        usual = {"type": "RunShellScript", "command_content": command, "instance_id": list(instances)}
        return ask(self.ecs, "RunCommand", **{**usual, **fields}).invoke_id

    def results(self, **query: Any) -> list[Any]:
        invocation = ask(self.ecs, "DescribeInvocationResults", **query).invocation
        return invocation.invocation_results.invocation_result

    def outcome(self, command: str, source: Any = None) -> tuple[str, int, str]:
        invoke_id = self.run(command, (source or self.a).id)
        (result,) = self.results(invoke_id=invoke_id)
        return result.invocation_status, result.exit_code, base64.b64decode(result.output).decode()

    def stopped_by(self, source: str, to: str) -> str:
        """What keeps a packet on TCP 3306 from arriving; empty if nothing does."""
        verdict = may_reach(self.cloud.ecs, HOME, source, HOME, to, "tcp", 3306)
        return "" if verdict.ok else verdict.reason


@pytest.fixture(name="w")
def _world(local_cloud: LocalCloud) -> World:
    return World(local_cloud)


def test_ping_succeeds_where_icmp_is_allowed(w: World) -> None:
    """Exit code 0, with the output of ping."""
    status, code, output = w.outcome(f"ping -c 2 -W 1 {w.b.private_ip}")
    assert (status, code) == ("Success", 0)
    assert output.startswith(f"PING {w.b.private_ip} ({w.b.private_ip}) 56(84) bytes of data.\n64 bytes from ")
    assert "2 packets transmitted, 2 received, 0% packet loss" in output


def test_ping_fails_where_icmp_is_not_allowed(w: World) -> None:
    """Exit code 1, which makes the invocation Failed."""
    status, code, output = w.outcome(f"ping -c 3 {w.a.private_ip}", source=w.b)
    assert (status, code) == ("Failed", 1)
    assert "3 packets transmitted, 0 received, 100% packet loss" in output
    (result,) = w.results(instance_id=w.b.id)
    assert (result.error_code, result.invoke_record_status) == ("ExitCodeNonzero", "Failed")


def test_nc_connects_on_an_open_port_only(w: World) -> None:
    """TCP 3306 is open, TCP 22 and UDP 3306 are not."""
    ip = w.b.private_ip
    assert w.outcome(f"nc -z -v -w 1 {ip} 3306")[:2] == ("Success", 0)
    assert w.outcome(f"nc -zv {ip} 22")[:2] == ("Failed", 1)
    assert w.outcome(f"nc -zu {ip} 3306")[:2] == ("Failed", 1)


def test_other_commands_are_not_found(w: World) -> None:
    """Exit code 127, as in a shell; an unused address does not reply; names are not resolved."""
    assert w.outcome("rm -rf /")[:2] == ("Failed", 127)
    assert w.outcome("ping -c 1 10.0.15.15")[:2] == ("Failed", 1)
    assert w.outcome("ping -c 1 db.internal")[:2] == ("Failed", 2)
    assert w.outcome("nc somewhere")[:2] == ("Failed", 2)
    assert w.outcome('ping "')[:2] == ("Failed", 127)


def test_base64_in_and_plain_text_out(w: World) -> None:
    """By default the content is plain text and the output base64."""
    content = base64.b64encode(f"ping -c 1 {w.b.private_ip}".encode()).decode()
    invoke_id = w.run(content, w.a.id, content_encoding="Base64")
    (result,) = w.results(invoke_id=invoke_id, content_encoding="PlainText")
    assert "1 received" in result.output
    assert refusal(w.run, "not base64!", w.a.id, content_encoding="Base64") == ("InvalidParameter", 400)
    assert refusal(w.run, content, w.a.id, content_encoding="Rot13") == ("InvalidParameter", 400)


def test_an_instance_that_does_not_run_aborts_the_command(w: World) -> None:
    """There is no exit code."""
    ask(w.ecs, "StopInstance", instance_id=w.a.id)
    (result,) = w.results(invoke_id=w.run("ping 10.0.0.1", w.a.id))
    assert (result.invocation_status, result.error_code, result.exit_code) == ("Aborted", "InstanceNotRunning", None)


def test_a_port_on_which_nothing_listens_refuses(w: World) -> None:
    """The packet arrives, so it is not a time-out; a port that the rules drop stays one."""
    w.cloud.ecs.accounts[HOME].instances[w.b.id].closed_ports |= {3306, 9999}
    assert w.outcome(f"nc -z -v -w 3 {w.b.private_ip} 3306") == ("Failed", 1, "Ncat: Connection refused.\n")
    assert w.outcome(f"nc -z -v -w 3 {w.b.private_ip} 9999") == ("Failed", 1, "Ncat: TIMEOUT.\n")
    assert w.outcome(f"ping -c 1 -W 1 {w.b.private_ip}")[0] == "Success"


def test_an_agent_that_does_not_run_aborts_the_command(w: World) -> None:
    """With the ErrorCode that says so."""
    w.cloud.ecs.accounts[HOME].instances[w.a.id].assistant = ("ClientNotRunning", "the agent is not running")
    (result,) = w.results(invoke_id=w.run("ping 10.0.0.1", w.a.id))
    assert (result.invocation_status, result.error_code, result.exit_code) == ("Aborted", "ClientNotRunning", None)


def test_a_command_needs_a_type_and_existing_instances(w: World) -> None:
    """Each refusal has its own code."""
    assert refusal(w.run, "ping 10.0.0.1", w.a.id, "i-none") == ("InvalidInstance.NotFound", 404)
    assert refusal(w.run, "ping 10.0.0.1") == ("MissingParameter", 400)
    assert refusal(w.run, "ping 10.0.0.1", w.a.id, type=None) == ("MissingParameter", 400)
    assert refusal(w.run, "ping 10.0.0.1", w.a.id, type="RunPython") == ("InvalidParam.Type", 403)
    assert w.results() == []


def test_results_come_newest_first_and_paged(w: World) -> None:
    """One row per instance, ten per page."""
    for _ in range(6):
        last = w.run(f"ping -c 1 {w.b.private_ip}", w.a.id, w.b.id)
    assert [row.instance_id for row in w.results(invoke_id=last)] == [w.b.id, w.a.id]
    assert len(w.results()) == 10
    assert len(w.results(page_number=2)) == 2
    assert len(w.results(page_size=50, instance_id=w.a.id)) == 6


def test_a_rule_gives_no_route(w: World) -> None:
    """Instances in different VPCs need a peering, whatever the rules say. The classic network is retired, and so is
    ClassicLink."""
    store = w.cloud.ecs
    group = store.create_group(HOME, store.create_vpc(HOME, "10.9.0.0/16").id)
    far, classic = store.create_instance(HOME, [group]), store.create_instance(HOME, [group], classic=True)
    authorize(w.ecs, group.id, permission(source_cidr_ip=w.a.private_ip))
    assert w.stopped_by(w.a.id, far.id) == f"no route from {w.a.vpc_id} to {far.vpc_id}"
    store.peerings.add(frozenset({w.a.vpc_id, far.vpc_id}))
    assert w.stopped_by(w.a.id, far.id) == ""
    assert w.stopped_by(w.a.id, classic.id).startswith("no route")


def test_both_instances_must_be_running(w: World) -> None:
    """A stopped or missing instance neither sends nor receives. To an instance's packets to itself, groups do not
    apply."""
    assert (w.stopped_by(w.a.id, w.b.id), w.stopped_by(w.b.id, w.b.id)) == ("", "")
    ask(w.ecs, "StopInstance", instance_id=w.b.id)
    assert w.stopped_by(w.a.id, w.b.id) == w.stopped_by(w.b.id, w.a.id) == f"{w.b.id} is Stopped, not Running"
    assert w.stopped_by(w.a.id, "i-none") == "i-none does not exist"
