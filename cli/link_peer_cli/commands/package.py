"""`link-peer package`: build what `s deploy` deploys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from link_peer_deploy import packaging
from link_peer_deploy.runtime_python import runtime_in_use

from link_peer_cli.access.environment import policy_path
from link_peer_cli.access.keys import region_in_use
from link_peer_cli.answers.deployment import PackageBuilt
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.options import Json
from link_peer_cli.ui.progress import waiting


def package(
    policy: Annotated[str, typer.Option(help="The policy file. Default: LINK_PEER_POLICY, else policy.yaml.")] = "",
    out: Annotated[str, typer.Option(help="The folder that s.yaml reads the package from.")] = "build",
    uncompiled: Annotated[
        bool, typer.Option("--uncompiled", help="Build it although the runtime's Python is not here.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build the code of the functions, with the policy file. Needs no keys and no checkout; fetches the pinned SDKs."""
    target = packaging.Target(
        runtime_in_use(),
        region_in_use(os.environ),
        os.environ.get("LINK_PEER_PREFIX") or "",
    )
    path = policy_path(policy)
    with waiting("building the package"):
        built = packaging.build(path, Path(out), target, compiled=not uncompiled)
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
    show(f"{built.folder}: {built.size / 1e6:.1f} MB for {target.runtime}, {how}, with {path}", soft_wrap=True)
    show(f"{built.archive}: {built.archive.stat().st_size / 1e6:.1f} MB, SHA-256 {built.digest}", soft_wrap=True)
    show("Next: s deploy -y")
