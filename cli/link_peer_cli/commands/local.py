"""`link-peer local`: Alibaba Cloud on loopback, with the functions deployed, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from typing import Annotated, Any

import typer

from link_peer_cli.clients.local_cloud import environment, running
from link_peer_cli.io.console import console, print_table, show

_LOOK_SECONDS = 0.5


def local(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 0,
    world: Annotated[str, typer.Option(help="A world file, or the name of one in local/worlds.")] = "",
    no_functions: Annotated[
        bool,
        typer.Option("--no-functions", help="Let nothing call the functions by itself; link-peer invoke still does."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON that names everything.")] = False,
) -> None:
    """Run the local cloud until Ctrl-C: ECS, STS, SLS, MNS, Function Compute and EventBridge.

    The three functions are deployed on it as s.yaml says, so whatever is tagged, launched or posted is dealt with by them
    within seconds.
    """
    from link_peer_local import world as worlds

    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    try:
        with running(world, port, connected=not no_functions) as cloud:
            described = worlds.describe(cloud)
            if as_json:
                show(described)
            else:
                _tell(described, connected=not no_functions)
            # The kernel may hand the signal to any thread, and Python runs its handler in this one once it wakes.
            while not stop.wait(_LOOK_SECONDS):
                pass
    except (worlds.WorldError, OSError) as problem:
        raise typer.BadParameter(str(problem)) from None


def _tell(described: dict[str, Any], *, connected: bool) -> None:
    out = console()
    out.print(f"[bold]Alibaba Cloud on loopback:[/bold] {described['endpoint']} ({described['region']})")
    accounts = described["accounts"]
    rows = [(a["id"], a["name"], a["access_key_id"], a["access_key_secret"]) for a in accounts]
    print_table(out, "accounts", ["uid", "name", "key id", "key secret"], rows)
    rows = [(v["id"], v["vswitch_id"], v["owner"], ", ".join(v["shared_with"])) for v in described["vpcs"]]
    print_table(out, "VPCs", ["id", "vSwitch", "owner", "shared with"], rows)
    out.print("In another terminal, for the commands (link-peer --help) and for any official SDK:\n")
    for name, value in environment(described).items():
        out.print(f"  export {name}={value}", soft_wrap=True)
    if connected:
        out.print(
            "\nThen tag instances with link-peer and groups with link-accept: the deployed functions deal with it within"
        )
        out.print("seconds (--no-functions: nothing calls them). Read on with: link-peer audit --follow")
    else:
        out.print("\nNothing calls the functions by itself: link-peer invoke link-peer-sweep events/timer.json")
    out.print("Ctrl-C ends it; nothing is kept.")
