"""`link-peer package`: build what `s deploy` deploys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.policy import Policy
from link_peer.views.permissions import DifferenceKind
from link_peer_deploy import packaging
from link_peer_deploy.names import DEFAULT_PREFIX
from link_peer_deploy.runtime_python import runtime_in_use
from rich.markup import escape

from link_peer_cli.access.environment import (
    bare_environment,
    names_in_use,
    policy_file,
    policy_path,
    require_file,
    valid_region,
)
from link_peer_cli.access.identity import identified, require_home
from link_peer_cli.answers.deployment import Caution, Fault, PackageBuilt
from link_peer_cli.deployed import limits
from link_peer_cli.deployed.policy import ServiceUnreadable, deployed_policies
from link_peer_cli.review import permitted
from link_peer_cli.ui.changes import CHANGES
from link_peer_cli.ui.console import console, print_answer, warn
from link_peer_cli.ui.options import Json
from link_peer_cli.ui.progress import waiting

MAX_WIDER = 20  # what is wider, in an error


def package(
    policy: Annotated[str, typer.Option(help="The policy file. Default: LINK_PEER_POLICY, else policy.yaml.")] = "",
    out: Annotated[
        str, typer.Option(help="The folder that s.yaml reads the package from.", metavar="FOLDER")
    ] = "build",
    uncompiled: Annotated[
        bool, typer.Option("--uncompiled", help="Build it even if the runtime's Python is not installed here.")
    ] = False,
    plain: Annotated[
        bool, typer.Option("--plain", help="Cut nothing out of the SDKs' modules, to try another release of an SDK.")
    ] = False,
    against: Annotated[
        str, typer.Option(help="A file with the deployed policy, to compare with offline.", metavar="FILE")
    ] = "",
    first: Annotated[bool, typer.Option("--first", help="Nothing is deployed yet.")] = False,
    allow_wider: Annotated[
        bool, typer.Option("--allow-wider", help="Build it even if more could open than under the deployed policy.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build the code of the functions, with the policy file. Needs no checkout; fetches the pinned SDKs.

    Refuses a policy under which more could open than under the one that is deployed, which it reads with your keys. A
    package that was there is replaced in one step: if the command fails or is stopped before, it stays.
    """
    if bool(against) + first + allow_wider > 1 and not (against and allow_wider):
        raise BadInput("package", "give --first, or --against FILE, or --allow-wider")
    target = packaging.Target(
        runtime_in_use(),
        valid_region(os.environ),
        os.environ.get("LINK_PEER_PREFIX") or ("" if against else DEFAULT_PREFIX),
        plain,
    )
    path = policy_path(policy)
    new = policy_file(str(path), "--policy")
    exceeded = list(limits.exceeded(new, os.environ))
    warn(str(caution) for caution in exceeded if isinstance(caution, Caution))
    if over := [str(fault) for fault in exceeded if isinstance(fault, Fault)]:
        raise LinkPeerError("\n".join([f"{path} cannot be deployed:", *over]))
    _require_not_wider(path, new, against, first=first, allow_wider=allow_wider)
    with waiting("building the package"):
        placing = CHANGES.making(f"put the new package into {out}")
        built = packaging.build(path, Path(out), target, compiled=not uncompiled, digest=new.digest, placing=placing)
    if as_json:
        print_answer(
            PackageBuilt(
                folder=str(built.folder),
                zip=str(built.archive),
                sha256=built.digest,
                bytes=built.archive.stat().st_size,
                unpacked_bytes=built.size,
                runtime=target.runtime,
                compiled=not uncompiled,
            )
        )
        return
    how = "compiled" if not uncompiled else "NOT COMPILED"
    show = console().print
    show(f"{built.folder}: {built.size / 1e6:.1f} MB for {target.runtime}, {how}, with {path}")
    show(f"{built.archive}: {built.archive.stat().st_size / 1e6:.1f} MB, SHA-256 {built.digest}")
    show("Next: s deploy -y")


ADVICE = "give --against FILE with the policy that is deployed, or --allow-wider"


def _require_not_wider(path: Path, new: Policy, against: str, *, first: bool, allow_wider: bool) -> None:
    """Raise LinkPeerError if more could open under a policy than under what is deployed, or if that is not known."""
    if against:
        require_file(against, "--against")
    if against and path.samefile(against):
        raise BadInput("--against", f"{against} is the policy file itself: give a file with the deployed policy")
    try:
        olds = [policy_file(against, "--against")] if against else _deployed(new, first=first)
    except LinkPeerError as error:
        if not allow_wider:
            raise
        console(stderr=True).print(f"[yellow]not compared: {escape(str(error))}[/yellow]")
        return
    wider = [difference for difference in permitted.differences(olds, new) if difference.kind is DifferenceKind.WIDER]
    if not wider:
        return
    texts = [f"{difference.path}: {difference.text}" for difference in wider[:MAX_WIDER]]
    texts += [f"and {len(wider) - MAX_WIDER} more"] if len(wider) > MAX_WIDER else []
    if not allow_wider:
        lines = [f"more could open under {path} than under {against or 'what is deployed'}:", *texts]
        review = "review it: link-peer plan --policy FILE; then give --allow-wider"
        raise LinkPeerError("\n  ".join(lines) + f"\n{review}")
    console(stderr=True).print(escape("\n  ".join(["allowed, though more could open:", *texts])))


def _deployed(new: Policy, *, first: bool) -> list[Policy]:
    """What is deployed. Raises LinkPeerError where it cannot be read, or `first` is or should be given."""
    try:
        settings, _ = bare_environment()
    except LinkPeerError as error:
        if first:
            return []
        advice = f"to build it without reading what is deployed, {ADVICE}, or --first if nothing is"
        raise LinkPeerError(f"{error}\n{advice}") from None
    require_home(identified(settings), new)
    names = names_in_use(new.home)
    try:
        policies = deployed_policies(settings, names)
    except ServiceUnreadable as error:
        if first:  # FC 3.0 has none, and few accounts have FC 2.0
            console(stderr=True).print(f"[yellow]not looked at: {escape(str(error))}[/yellow]")
            return []
        raise LinkPeerError(f"{error}: {ADVICE}") from None
    except LinkPeerError as error:
        raise LinkPeerError(f"{error}: {ADVICE}") from error
    if first and policies:
        raise BadInput("--first", f"{names.functions['auto_link']} is deployed: leave it out")
    if not first and not policies:
        raise LinkPeerError(f"no function of {names.prefix} is deployed in {settings.region}: give --first")
    return policies
