"""`link-peer package`: build what `s deploy` deploys."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer


def package(
    uncompiled: Annotated[
        bool, typer.Option("--uncompiled", help="Build it although the runtime's Python is not here.")
    ] = False,
) -> None:
    """Build the functions' package into build/, with the policy file. The same as `make package`, in a checkout only."""
    from link_peer.domain.errors import LinkPeerError
    from link_peer_local.core.project import ROOT

    if not (ROOT / "deploy" / "package.py").is_file():
        raise LinkPeerError("the package is built from a checkout, which this installation is not: run it there")
    options = ["--uncompiled"] if uncompiled else []
    built = subprocess.run([sys.executable, "-m", "deploy.package", *options], cwd=ROOT, check=False)  # noqa: S603
    raise typer.Exit(min(built.returncode, 1))
