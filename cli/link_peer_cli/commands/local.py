"""`link-peer local`: Alibaba Cloud on loopback, with the functions deployed, until Ctrl-C. `link-peer demo`: the main
scenarios on one, checked step by step."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import time
from typing import Annotated

import msgspec
import typer
from link_peer.app import compose
from link_peer.domain.errors import BadInput
from link_peer.runtime import settings as settings_module
from link_peer_deploy.regions import misspelt
from rich.console import Console
from rich.markup import escape

from link_peer_cli.access import keys
from link_peer_cli.access.environment import names_in_use
from link_peer_cli.answers.operation import CloudDescribed, DemoAnswer
from link_peer_cli.demo.acts import ACTS
from link_peer_cli.demo.local_cloud import VARIABLES, WorldError, deployment_of, describe, environment, running
from link_peer_cli.demo.stage import CheckFailed, Stage
from link_peer_cli.setup import alerts, logs
from link_peer_cli.setup.member import make_resources
from link_peer_cli.setup.resource import SetupTarget
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import Json
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.tables import draw_table

_SIGNAL_CHECK_SECONDS = 0.5


def local(
    port: Annotated[
        int, typer.Option(metavar="NUMBER", help="Port on 127.0.0.1; 0 picks a free one.", min=0, max=65535)
    ] = 0,
    world: Annotated[
        str,
        typer.Option(
            help="A world file, or two-accounts, shop, cross-account, two-vpcs, advanced, by-hand, company, estate or empty."
        ),
    ] = "",
    no_functions: Annotated[
        bool,
        typer.Option("--no-functions", help="Do not trigger the functions: invoke them with an SDK."),
    ] = False,
    tls: Annotated[
        bool,
        typer.Option("--tls", help="Use https, with a certificate authority made at start; print its file."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one line of JSON: the endpoint, accounts, keys and names.")
    ] = False,
) -> None:
    """Run a local Alibaba Cloud until Ctrl-C: ECS, STS, SLS, MNS, Function Compute and EventBridge.

    The three functions are deployed on it as s.yaml says. They handle tags, new instances and requests within seconds.
    """
    region = keys.CHOSEN["region"]
    if region and (problem := misspelt(region)):
        raise BadInput("--region", problem)
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    with contextlib.ExitStack() as stack:
        try:
            with waiting("starting the local cloud"):
                served = running(world, port, region=region, connected=not no_functions, tls=tls)
                cloud = stack.enter_context(served)
        except (WorldError, OSError) as problem:
            raise typer.BadParameter(str(problem)) from None
        described = describe(cloud)
        if not deployment_of(cloud).bare:
            with waiting("making searches, charts and alerts"):
                _complete(described)
        if as_json:
            print_answer(described)
        else:
            _print_description(described, connected=not no_functions)
        # The kernel may deliver the signal to any thread, but Python runs the handler in this one. It must wake up from
        # time to time to do so.
        while not stop.wait(_SIGNAL_CHECK_SECONDS):
            pass


def _complete(described: CloudDescribed) -> None:
    """Make what the world's deployment lacks in each region of what setup makes: searches, charts, alerts, and whom
    they notify. A world whose log has another name than a deployment's stays as it is."""
    for region, endpoint in described.regions.items():
        variables = environment(msgspec.structs.replace(described, region=region, endpoint=endpoint))
        os.environ.update({name: variables[name] for name in VARIABLES if name in variables})
        settings = settings_module.load(env=variables)
        policy = compose.load_policy(described.policy, settings.tag_prefix)
        names = names_in_use(policy.home)
        if described.audit_project != names.audit_project(described.region):
            return
        target = SetupTarget(settings, policy, names, compose.clock_for_functions(), notify="ops@example.com")
        lacking = [resource for module in (logs, alerts) for resource in module.resources(target)]
        make_resources(target, lacking, "local", talk=False)


def _print_description(described: CloudDescribed, *, connected: bool) -> None:
    out = console()
    out.print(f"[bold]Alibaba Cloud on loopback:[/bold] {described.endpoint} ({described.region})")
    for region, endpoint in described.regions.items():
        if endpoint != described.endpoint:
            out.print(f"  its entrance at {region}: {endpoint}")
    rows = [msgspec.structs.astuple(account) for account in described.accounts]
    draw_table(out, "accounts", ["uid", "name", "key id", "key secret"], rows)
    rows = [(v.name, v.id, v.vswitch_id, v.owner, ", ".join(v.shared_with)) for v in described.vpcs]
    draw_table(out, "VPCs", ["name", "id", "vSwitch", "owner", "shared with"], rows)
    out.print("To use it from another terminal, with link-peer or any official SDK:\n")
    for name, value in environment(described).items():
        out.print(f"  export {name}={value}")
    if connected:
        out.print(
            "\nThen set link-accept tags on groups (link-peer accept) and link-peer tags on instances (an SDK, or the\n"
            "world's file), or post requests (link-peer request): the deployed functions act within seconds.\n"
            "Watch the decisions with: link-peer audit --follow"
        )
    else:
        out.print("\nNothing triggers the functions. Invoke them with the SDK of Function Compute.")
    out.print("Ctrl-C stops it. Nothing is saved.")


def demo(as_json: Json = False) -> None:
    """Run the main scenarios on a local cloud, with the real SDKs over HTTP. Fails if a check fails."""
    out = Console(file=io.StringIO()) if as_json else console()
    started = time.monotonic()
    problem = ""
    with running() as cloud:
        described = describe(cloud)
        out.print(f"A local cloud runs at {described.endpoint}, with the functions of s.yaml deployed on it.")
        stage = Stage(settings_module.load(env=environment(described)), described, out)
        try:
            for act in ACTS:
                act(stage)
        except CheckFailed as error:
            problem = str(error)
    seconds = time.monotonic() - started
    checks = stage.narrator.checks
    if as_json:
        print_answer(DemoAnswer(checks, problem, round(seconds, 1)))
    elif problem:
        console(stderr=True).print(f"[red]The demo failed:[/red] {escape(problem)}")
    else:
        out.print(f"\n[green]{len(checks)} checks passed[/green] in {seconds:.0f} seconds. What to try next:")
        # as this command was called: .venv/bin/link-peer in a checkout, link-peer once it is installed
        called = sys.argv[0] if sys.argv[0].endswith("link-peer") else "link-peer"
        out.print(f"  {escape(called)} local      run a local cloud with the functions; prints what to export")
        out.print(f"  {escape(called)} --help     list all commands")
        out.print("Step by step, to a link of your own: docs/first-hour.md of the repository")
    if problem:
        raise typer.Exit(Exit.REFUSED)
