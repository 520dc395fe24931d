"""`link-peer verify`: does it really get through? Tried from one instance to the other, by Cloud Assistant."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import Exit, console, print_table, show

if TYPE_CHECKING:
    from cli.inputs import Setting
    from shared.model import Port

TRY_SECONDS = 3


def verify(
    source: Annotated[str, typer.Option("--from", help="The instance to try from: i-…, of the account of your keys.")],
    target: Annotated[str, typer.Option("--to", help="The instance to reach: i-… or i-…@<uid>; or an address.")],
    port: Annotated[list[str] | None, typer.Option(help="tcp/3306 or icmp; again for more. None: icmp.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Try a ping, or TCP ports, from one instance to the other. Your keys need ecs:RunCommand on the first."""
    from cli.ecs import PersonalEcs
    from cli.inputs import opened, party
    from shared.notation import parse_port

    here = opened()
    ports = [parse_port(text) for text in port or ["icmp"]]
    commands = [_command(wanted) for wanted in ports]
    start = party(source, "--from", here.policy.home).id
    address = _address(here, target)
    ecs = PersonalEcs(here.settings, here.settings.credentials)
    good = True
    rows = []
    for wanted, command in zip(ports, commands, strict=True):
        through, output = ecs.run(start, command.format(address))
        good &= through
        last = (output.strip().splitlines() or [""])[-1]
        rows.append((str(wanted), "yes" if through else "no", last))
        if as_json:
            show({"from": start, "to": target, "address": address, "port": str(wanted), "through": through})
    if not as_json:
        print_table(console(), f"{start} to {target} ({address})", ("port", "through", "said"), rows)
    if not good:
        raise typer.Exit(Exit.REFUSED)


def _command(port: Port) -> str:
    """A shell command that ends with 0 when it got through; UDP does not tell."""
    from shared.errors import BadInput

    if port.protocol == "icmp":
        return f"ping -c 1 -W {TRY_SECONDS} {{}}"
    if port.protocol == "tcp" and port.low == port.high:
        return f"nc -z -v -w {TRY_SECONDS} {{}} {port.low}"
    raise BadInput("--port", f"{port}: only icmp and single TCP ports can be tried")


def _address(here: Setting, target: str) -> str:
    """The address as given, or the instance's private one, read in its own account."""
    from cli.inputs import party
    from cli.whatif import suppose
    from shared.errors import LinkPeerError

    try:
        return str(ipaddress.IPv4Address(target))
    except ValueError:
        wanted = party(target, "--to", here.policy.home)
    if wanted.account not in here.policy.accounts:
        raise LinkPeerError(f"account {wanted.account} is not in the policy")
    _, cloud, _ = suppose(here, "verify")
    for instance in cloud.ecs(wanted.account).instances([wanted.id]):
        if instance.ip:
            return instance.ip
    raise LinkPeerError(f"{wanted} is not shown, or has no private address")
