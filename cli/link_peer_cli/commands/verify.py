"""`link-peer verify`: does it really get through? Tried from one instance to the other, by Cloud Assistant."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Annotated

import typer

from link_peer_cli.io.console import Exit, console, print_table, show

if TYPE_CHECKING:
    from link_peer.domain.model import Instance, Party, Port
    from link_peer.runtime.ports import Cloud

TRY_SECONDS = 3


def verify(
    source: Annotated[
        str, typer.Option("--from", help="Where to try from, in the account of your keys: i-…, or sg-… for one of it.")
    ],
    target: Annotated[
        str, typer.Option("--to", help="What to reach: i-… or sg-…, alone or with @<uid>; or an IPv4 address.")
    ],
    port: Annotated[list[str] | None, typer.Option(help="tcp/3306 or icmp; again for more. None: icmp.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Try a ping, or TCP ports, from one instance to another; of a group, its first instance with an address. Your keys
    need ecs:RunCommand on the first."""
    from link_peer.domain.errors import BadInput
    from link_peer.domain.tags import parse_port

    from link_peer_cli.clients.ecs import PersonalEcs
    from link_peer_cli.clients.whatif import suppose
    from link_peer_cli.io.inputs import known, opened, party

    ports = [parse_port(text) for text in port or ["icmp"]]
    commands = [_command(wanted) for wanted in ports]

    def ends(home: str) -> tuple[Party, Party | None]:
        to = None if _is_address(target) else party(target, "--to", home, ", nor an IPv4 address")
        return party(source, "--from", home), to

    ends("")  # what is wrong with the options is said before what the environment lacks
    here = opened()
    home = here.policy.home
    start, end = ends(home)
    if start.account != home:
        raise BadInput("--from", f"{source} is not of account {home}, in which your keys run the command")
    known(here, [end.account] if end else [], "--to")
    _, cloud, _ = suppose(here, "verify")
    first = _shown(cloud, start).party.id if start.is_group else start.id
    address = _shown(cloud, end).ip if end else target
    ecs = PersonalEcs(here.settings, here.settings.credentials)
    good = True
    rows = []
    for wanted, command in zip(ports, commands, strict=True):
        through, output = ecs.run(first, command.format(address))
        good &= through
        last = (output.strip().splitlines() or [""])[-1]
        rows.append((str(wanted), "yes" if through else "no", last))
        if as_json:
            show({"from": first, "to": target, "address": address, "port": str(wanted), "through": through})
    if not as_json:
        print_table(console(), f"{first} to {target} ({address})", ("port", "through", "said"), rows)
    if not good:
        raise typer.Exit(Exit.REFUSED)


def _command(port: Port) -> str:
    """A shell command that ends with 0 when it got through; UDP does not tell."""
    from link_peer.domain.errors import BadInput

    if port.protocol == "icmp":
        return f"ping -c 1 -W {TRY_SECONDS} {{}}"
    if port.protocol == "tcp" and port.low == port.high:
        return f"nc -z -v -w {TRY_SECONDS} {{}} {port.low}"
    raise BadInput("--port", f"{port}: only icmp and single TCP ports can be tried")


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _shown(cloud: Cloud, party: Party) -> Instance:
    """The instance, or the first of the group, that has a private address; read in its own account."""
    from link_peer.domain.errors import LinkPeerError

    ecs = cloud.ecs(party.account)
    for instance in ecs.members(party.id) if party.is_group else ecs.instances([party.id]):
        if instance.ip:
            return instance
    what = "has no instance with a private address" if party.is_group else "is not shown, or has no private address"
    raise LinkPeerError(f"{party} {what}")
