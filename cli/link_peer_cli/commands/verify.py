"""`link-peer verify`: test from inside an instance whether it reaches another."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Annotated

import typer

from link_peer_cli.io.console import console, print_json
from link_peer_cli.io.exits import Exit
from link_peer_cli.io.options import JsonLines
from link_peer_cli.io.progress import waiting
from link_peer_cli.io.tables import print_table

if TYPE_CHECKING:
    from link_peer.domain.model import Instance, Party, Port
    from link_peer.runtime.ports import Cloud

TIMEOUT_SECONDS = 3  # of one ping or one TCP connection


def verify(
    source: Annotated[
        str,
        typer.Option("--from", help="Where to test from, in the account of your keys: i-…, or sg-… for one of it."),
    ],
    target: Annotated[
        str, typer.Option("--to", help="What to reach: i-… or sg-…, optionally with @<account>, or an IPv4 address.")
    ],
    port: Annotated[list[str] | None, typer.Option(help="tcp/3306 or icmp; repeat for more. Default: icmp.")] = None,
    as_json: JsonLines = False,
) -> None:
    """Test with ping or TCP, through Cloud Assistant, whether one instance reaches another.

    For a group, its first instance with a private address is used. Your keys need ecs:RunCommand on the source.
    """
    from link_peer.domain.errors import BadInput
    from link_peer.domain.tags import parse_port

    from link_peer_cli.clients.ecs import PersonalEcs
    from link_peer_cli.clients.whatif.delivery import suppose
    from link_peer_cli.io.environment import load_environment, require_known
    from link_peer_cli.io.inputs import party

    ports = [parse_port(text) for text in port or ["icmp"]]
    commands = [_command(wanted) for wanted in ports]

    def ends(home: str) -> tuple[Party, Party | None]:
        to = None if _is_address(target) else party(target, "--to", home, ", nor an IPv4 address")
        return party(source, "--from", home), to

    ends("")  # report invalid options before a missing environment
    env = load_environment(reading=True)
    home = env.policy.home
    start, end = ends(home)
    if start.account != home:
        raise BadInput("--from", f"{source} is not in account {home}, where your keys run the command")
    require_known(env, [end.account] if end else [], "--to")
    _, cloud, _ = suppose(env, "verify")
    with waiting("testing"):
        first = _instance(cloud, start).party.id if start.is_group else start.id
        address = _instance(cloud, end).ip if end else target
        ecs = PersonalEcs(env.settings, env.own(), env.clock)
        results = [ecs.run(first, command.format(address)) for command in commands]
    tested = list(zip(ports, results, strict=True))
    if as_json:
        for wanted, (through, _) in tested:
            print_json({"from": first, "to": target, "address": address, "port": str(wanted), "through": through})
    else:
        rows = [(str(wanted), "yes" if through else "no", _last_line(output)) for wanted, (through, output) in tested]
        print_table(console(), f"{first} to {target} ({address})", ("port", "reached", "output"), rows)
    if not all(through for through, _ in results):
        raise typer.Exit(Exit.REFUSED)


def _command(port: Port) -> str:
    """A shell command that exits with 0 if `{}` can be reached. UDP sends no reply that could be checked."""
    from link_peer.domain.errors import BadInput

    if port.protocol == "icmp":
        return f"ping -c 1 -W {TIMEOUT_SECONDS} {{}}"
    if port.protocol == "tcp" and port.low == port.high:
        return f"nc -z -v -w {TIMEOUT_SECONDS} {{}} {port.low}"
    raise BadInput("--port", f"{port}: only icmp and single TCP ports can be tested")


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _last_line(output: str) -> str:
    return (output.strip().splitlines() or [""])[-1]


def _instance(cloud: Cloud, party: Party) -> Instance:
    """An instance, or the first one of a group, that has a private address; read in its own account."""
    from link_peer.domain.errors import LinkPeerError

    ecs = cloud.ecs(party.account)
    for instance in ecs.members(party.id) if party.is_group else ecs.instances([party.id]):
        if instance.ip:
            return instance
    what = "has no instance with a private address" if party.is_group else "does not exist or has no private address"
    raise LinkPeerError(f"{party} {what}")
