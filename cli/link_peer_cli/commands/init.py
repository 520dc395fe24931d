"""`link-peer init`: begin a deployment in a folder of your own."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from string import Template
from typing import Annotated

import typer
from rich.markup import escape

from link_peer_cli.changes import CHANGES
from link_peer_cli.io.console import console, print_json
from link_peer_cli.io.options import Json

WORKFLOW = ".github/workflows/link-peer.yml"
_DEPLOYMENT = re.compile(r"[a-z0-9-]{1,32}")


def init(
    folder: Annotated[str, typer.Argument(help="Where to write the files.")] = ".",
    home: Annotated[
        str, typer.Option(help="The uid of the account that gets the functions. Default: that of your keys.")
    ] = "",
    deployment: Annotated[str, typer.Option(help="The name in the marker of every rule.")] = "prod",
    prefix: Annotated[
        str, typer.Option(help="What every name begins with. Default: LINK_PEER_PREFIX, else link-peer.")
    ] = "",
    workflow: Annotated[
        bool, typer.Option("--workflow", help=f"Also write {WORKFLOW}, which checks the policy.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write policy.yaml, s.yaml, README.md and .gitignore for a new deployment. Never replaces a file.

    Example: link-peer --region cn-hangzhou init --home 1000000000000001"""
    from importlib.metadata import version

    from link_peer.domain.errors import BadInput, LinkPeerError
    from link_peer.domain.tags import is_account_uid
    from link_peer.runtime.settings import tag_prefix
    from link_peer_deploy import regions
    from link_peer_deploy.packaging import runtime_in_use
    from link_peer_deploy.project import ROOT

    from link_peer_cli.access.keys import region_in_use
    from link_peer_cli.io import files
    from link_peer_cli.io.environment import names_in_use

    home = home or _home_of_the_keys()
    if not is_account_uid(home):
        raise BadInput("--home", f"{home!a} is not an account uid: 15 to 20 digits")
    if not _DEPLOYMENT.fullmatch(deployment):
        raise BadInput("--deployment", "1 to 32 of a-z, 0-9 and -")
    region = region_in_use(os.environ)
    if not region:
        raise BadInput("--region", "say where the functions and the instances are: link-peer --region cn-hangzhou init")
    problem, remedy = regions.unsuitable(region, runtime_in_use())
    if problem:
        raise BadInput("--region", f"{region}: {problem}: {remedy}")
    prefix = names_in_use(home, prefix).prefix
    tags = tag_prefix(os.environ)
    values = {
        "home": home,
        "name": "home",
        "deployment": deployment,
        "prefix": prefix,
        "tag_prefix": tags,
        "region": region,
        "version": version("link-peer"),
    }
    sources = {"policy.yaml": "policy.yaml", "README.md": "README.md", ".gitignore": "gitignore"}
    sources |= {WORKFLOW: "workflow.yml"} if workflow else {}
    texts = {
        name: Template((ROOT / "deploy" / "init" / source).read_text(encoding="utf-8")).substitute(values)
        for name, source in sources.items()
    }
    texts["s.yaml"] = _manifest((ROOT / "s.yaml").read_text(encoding="utf-8"), region, prefix, tags)
    base = Path(folder)
    if there := sorted(name for name in texts if (base / name).exists()):
        raise LinkPeerError(f"{', '.join(there)} exist in {base.resolve()}: choose an empty folder")
    CHANGES.then = "Delete what was written, and run the same command again."
    CHANGES.expect(f"write {base / name}" for name in texts)
    for name, text in texts.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        files.write(str(base / name), text.encode("utf-8"))
    if as_json:
        print_json({"folder": str(base.resolve()), "files": sorted(texts), "home": home, "region": region})
        return
    for name in sorted(texts):
        console().print(f"+ {escape(str(base / name))}", soft_wrap=True)
    console().print(
        f"Next: export LINK_PEER_REGION={region} LINK_PEER_PREFIX={prefix} LINK_PEER_TAG_PREFIX={tags}; link-peer setup --dry-run",
        soft_wrap=True,
    )


def _manifest(text: str, region: str, prefix: str, tag_prefix: str) -> str:
    """s.yaml with this region and these prefixes where the environment names none, so that a new terminal deploys to the same place."""
    given = (("REGION", "cn-qingdao", region), ("PREFIX", "link-peer", prefix), ("TAG_PREFIX", "link", tag_prefix))
    for name, shipped, wanted in given:
        old = f"${{env('LINK_PEER_{name}', '{shipped}')}}"
        if old not in text:
            raise AssertionError(f"s.yaml lacks {old}")
        text = text.replace(old, f"${{env('LINK_PEER_{name}', '{wanted}')}}")
    return text


def _home_of_the_keys() -> str:
    """The account of the keys in use; asked on a terminal where there are none. Raises BadInput."""
    from link_peer.domain.errors import BadInput, LinkPeerError

    from link_peer_cli.access.caller import caller
    from link_peer_cli.io.environment import bare_environment

    try:
        settings, _ = bare_environment()
        return caller(settings, settings.credentials)[0]
    except LinkPeerError as error:
        if sys.stdin.isatty():
            return str(typer.prompt("Uid of the account that gets the functions"))
        raise BadInput("--home", f"the keys do not tell the account ({error}): give its uid") from None
