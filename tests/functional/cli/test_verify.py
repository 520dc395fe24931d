"""`link-peer verify` tests from inside an instance what the rules let through."""

from __future__ import annotations

import pytest

from tests.functional.command import Cli
from tests.functional.lab import PEER, Lab


@pytest.fixture(name="cli")
def _cli(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


def test_the_exit_code_says_whether_every_port_was_reached(lab: Lab, cli: Cli) -> None:
    """Each port is tested on its own."""
    app, db = lab.group(), lab.group("*")
    instance, peer = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"}), lab.instance(db)
    ends = ["verify", "--from", instance.id, "--to", peer.id]
    assert cli(*ends) == 1
    lab.auto_link(lab.event(instance))
    code, [tcp] = cli.json(*ends, "--port", "tcp/3306")
    assert (code, tcp["through"], tcp["address"]) == (0, True, peer.private_ip)
    code, both = cli.json(*ends, "--port", "tcp/3306", "--port", "icmp")
    assert (code, [(tried["port"], tried["through"]) for tried in both]) == (1, [("tcp/3306", True), ("icmp", False)])
    assert cli(*ends) == 1
    assert "100% packet loss" in cli.out


def test_the_other_end_may_be_in_another_account(lab: Lab, cli: Cli) -> None:
    """Its address is read in that account. An IP address works as well."""
    ours, theirs = lab.group(f"*@{PEER}"), lab.group("*@1000000000000001", account=PEER)
    instance, peer = lab.instance(ours), lab.instance(theirs)
    lab.cross_account(lab.request(ours, theirs))
    assert cli("verify", "--from", instance.id, "--to", f"{peer.id}@{PEER}") == 0
    assert cli("verify", "--from", instance.id, "--to", str(peer.private_ip)) == 0


def test_a_group_is_tested_with_one_of_its_instances(lab: Lab, cli: Cli) -> None:
    """On either side, so that the parties of a link can be given. A group without instances is an error."""
    ours, theirs = lab.pair()
    instance, peer = lab.instance(ours), lab.instance(theirs)
    lab.cross_account(lab.request(ours, theirs))
    code, [tried] = cli.json("verify", "--from", ours.id, "--to", f"{theirs.id}@{PEER}")
    assert (code, tried["from"], tried["address"]) == (0, instance.id, peer.private_ip)
    assert cli("verify", "--from", ours.id, "--to", lab.group().id) == 1
    assert "has no instance with a private address" in cli.err


def test_what_cannot_be_tested_is_reported(lab: Lab, cli: Cli) -> None:
    """An unknown instance, an unknown account, an invalid party, a protocol without replies."""
    instance = lab.instance(lab.group())
    ends = ["verify", "--from", instance.id, "--to"]
    assert (cli(*ends, "i-none"), "does not exist" in cli.err) == (1, True)
    assert (cli(*ends, "i-none@1000000000000009"), "not in the policy" in cli.err) == (2, True)
    assert (cli(*ends, "db"), cli.err.startswith("--to: ")) == (2, True)
    assert "i-…, optionally with @<account uid or name>, nor an IPv4 address" in cli.err
    elsewhere = ("verify", "--from", f"i-none@{PEER}", "--to", "10.0.0.1")
    assert (cli(*elsewhere), cli.err.startswith("--from: ")) == (2, True)
    assert (cli(*ends, "10.0.0.1", "--port", "udp/53"), cli.err.startswith("--port: ")) == (2, True)
    assert (cli("verify", "--from", "i-none", "--to", "10.0.0.1"), "InvalidInstance.NotFound" in cli.err) == (1, True)
