"""`link-peer init`: begin a deployment in a folder of your own."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from importlib.metadata import distribution, version
from pathlib import Path
from string import Template
from typing import Annotated

import typer
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.tags import is_account_uid
from link_peer.runtime.settings import tag_prefix
from link_peer_deploy import regions
from link_peer_deploy.project import ROOT
from link_peer_deploy.runtime_python import DEFAULT_RUNTIME, runtime_in_use
from rich.markup import escape

from link_peer_cli.access.environment import bare_environment, exported, names_in_use, valid_region
from link_peer_cli.access.identity import identified
from link_peer_cli.answers.deployment import FilesWritten
from link_peer_cli.ui import files
from link_peer_cli.ui.changes import CHANGES
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.options import Json, Prefix

WORKFLOW = ".github/workflows/link-peer.yml"
PINS = ".github/link-peer.txt"
DENIAL = "ram-deny-accept-tags.json"
_DEPLOYMENT = re.compile(r"[a-z0-9-]{1,32}")


def init(
    out: Annotated[str, typer.Option(help="The folder to write the files to.", metavar="FOLDER")] = ".",
    home: Annotated[
        str, typer.Option(help="The uid of the account that gets the functions. Default: that of your keys.")
    ] = "",
    deployment: Annotated[str, typer.Option(help="The name in the marker of every rule.")] = "prod",
    prefix: Prefix = "",
    workflow: Annotated[
        bool,
        typer.Option(
            "--workflow",
            help=f"Also write {WORKFLOW}, which checks the policy, and {PINS}, what it installs; only these where there is a policy.yaml.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write policy.yaml, s.yaml and what goes with them for a new deployment. Replaces no file: an existing README or
    .gitignore there stays, a policy.yaml or an s.yaml is an error. With `--workflow`, a folder with a policy.yaml gets
    the workflow and its pins alone."""
    base = Path(out)
    if workflow and (base / "policy.yaml").exists():
        values = {"home": home, "region": ""}
        texts = _workflow()
    else:
        values = _values(home or _home_of_the_keys(), deployment, prefix)
        texts = _texts(values, workflow=workflow)
    existing_files = {name for name in texts if (base / name).exists()}
    if conflicts := sorted(existing_files & {"policy.yaml", "s.yaml"}):
        verb = "exists" if len(conflicts) == 1 else "exist"
        raise LinkPeerError(f"{' and '.join(conflicts)} {verb} in {base.resolve()}: choose another folder")
    written = sorted(texts.keys() - existing_files)
    CHANGES.then = "Delete what was written, and run the same command again."
    CHANGES.expect(f"write {base / name}" for name in written)
    for name in written:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        files.write(str(base / name), texts[name].encode("utf-8"))
    if as_json:
        print_answer(
            FilesWritten(str(base.resolve()), written, sorted(existing_files), values["home"], values["region"])
        )
        return
    for name in sorted(texts):
        console().print(f"{'=' if name in existing_files else '+'} {escape(str(base / name))}")
    if WORKFLOW in written and not _source():
        console().print(f"Write into {WORKFLOW}, as SOURCE, the repository that link-peer is installed from.")
    if "policy.yaml" in written:
        console().print(f"Next: export {values['exported']}; link-peer setup --dry-run")


def _values(home: str, deployment: str, prefix: str) -> dict[str, str]:
    """What the files are filled in with. Raises BadInput that names the option at fault."""
    if not is_account_uid(home):
        raise BadInput("--home", f"{home!a} is not an account uid: 15 to 20 digits")
    if not _DEPLOYMENT.fullmatch(deployment):
        raise BadInput("--deployment", "1 to 32 of a-z, 0-9 and -")
    region = valid_region(os.environ)
    if not region:
        raise BadInput("--region", "say where the functions and the instances are: link-peer --region cn-hangzhou init")
    problem, remedy = regions.unsuitable(region, runtime_in_use())
    if problem:
        raise BadInput("--region", f"{region}: {problem}: {remedy}")
    names = names_in_use(home, prefix)
    return {
        "home": home,
        "name": "home",
        "deployment": deployment,
        "prefix": names.prefix,
        "tag_prefix": tag_prefix(os.environ),
        "region": region,
        "runtime": runtime_in_use(),
        "python": runtime_in_use().replace("python", "Python "),
        "exported": exported(region, names.prefix, tag_prefix(os.environ)),
        "version": version("link-peer"),
    }


def _source() -> str:
    """What pip installed this link-peer from, where https serves it and a hash names it: a commit of a git repository,
    or a wheel with its SHA-256; else empty. [PEP 610]"""
    origin = json.loads(distribution("link-peer").read_text("direct_url.json") or "{}")
    url = origin.get("url", "")
    commit = origin.get("vcs_info", {}).get("commit_id", "")
    digest = origin.get("archive_info", {}).get("hashes", {}).get("sha256", "")
    if not url.startswith("https://"):
        return ""
    return f"git+{url}@{commit}" if commit else f"{url}#sha256={digest}" if digest else ""


def _workflow() -> dict[str, str]:
    """The workflow that checks the policy, and what it installs by hash."""
    pins = "".join((ROOT / f"requirements-{name}.txt").read_text(encoding="utf-8") for name in ("build", "check"))
    return {WORKFLOW: _filled("workflow.yml", {"source": _source()}), PINS: pins}


def _texts(values: Mapping[str, str], *, workflow: bool) -> dict[str, str]:
    """The files by their names."""
    deploy = ROOT / "deploy"
    sources = {"policy.yaml": "policy.yaml", "README.md": "README.md", ".gitignore": "gitignore"}
    texts = {name: _filled(source, values) for name, source in sources.items()}
    texts |= _workflow() if workflow else {}
    texts[DENIAL] = (deploy / DENIAL).read_text(encoding="utf-8")
    manifest = (ROOT / "s.yaml").read_text(encoding="utf-8")
    return {**texts, "s.yaml": _manifest(manifest, values)}


def _filled(name: str, values: Mapping[str, str]) -> str:
    """A file of deploy/init with these values."""
    return Template((ROOT / "deploy" / "init" / name).read_text(encoding="utf-8")).substitute(values)


def _manifest(text: str, values: Mapping[str, str]) -> str:
    """s.yaml with the region, the prefixes and the runtime where the environment names none, so that a new terminal
    deploys the same to the same place."""
    shipped_defaults = {
        "region": "cn-qingdao",
        "prefix": "link-peer",
        "tag_prefix": "link",
        "runtime": DEFAULT_RUNTIME,
    }
    for field, shipped in shipped_defaults.items():
        name, value = field.upper(), values[field]
        old = f"${{env('LINK_PEER_{name}', '{shipped}')}}"
        if old not in text:
            raise AssertionError(f"s.yaml lacks {old}")
        text = text.replace(old, f"${{env('LINK_PEER_{name}', '{value}')}}")
    return text


def _home_of_the_keys() -> str:
    """The account of the keys in use; asked on a terminal where there are none. Raises BadInput."""
    try:
        settings, _ = bare_environment()
        return identified(settings).account
    except LinkPeerError as error:
        if sys.stdin.isatty():
            return str(typer.prompt("Uid of the account that gets the functions"))
        raise BadInput("--home", f"the keys do not tell the account ({error}): give its uid") from None
