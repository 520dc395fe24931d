"""A plan in a file: what was planned, for which deployment, and every change that was shown.

The file grants nothing: `link-peer apply` changes what the engine decides anew, as far as the file lists it. A request
in it is one of the shared queue, so who may replace the file may ask for what a sender to that queue may.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.tags import clean, iso, parse_instant

from link_peer_cli.access.environment import Environment
from link_peer_cli.review.input import Input
from link_peer_cli.review.writes import Uid, Write
from link_peer_cli.ui.files import write

OLDEST_SECONDS = 86_400
CLOCKS_DIFFER = 300  # seconds
MAX_BYTES = 64 * 1024 * 1024

Name = Annotated[str, msgspec.Meta(pattern="^[0-9A-Za-z._-]{1,128}$")]
Instant = Annotated[str, msgspec.Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]


class PlannedDeployment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For which deployment a plan is. `policy` is the checksum of its policy file."""

    name: Name
    home: Uid
    prefix: Name
    region: Name
    policy: Name


class SavedPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `link-peer plan --out` writes. `made_at` is when; `changes` are in the order in which they would be made."""

    link_peer_plan: Literal[1]
    made_at: Instant
    deployment: PlannedDeployment
    input: Input
    changes: tuple[Write, ...]


def deployment_of(env: Environment) -> PlannedDeployment:
    """The deployment of a command."""
    policy = env.policy
    return PlannedDeployment(policy.deployment, policy.home, env.names.prefix, env.settings.region, policy.digest)


def require_replaceable(path: str) -> None:
    """Raise BadInput unless a plan can be saved under this name: there is nothing yet, or a plan."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        if Path(path).parent.is_dir():
            return
        raise BadInput("--out", f"there is no folder {Path(path).parent}") from None
    except (OSError, ValueError) as error:
        raise BadInput("--out", f"{path!r} cannot be a file: {error}") from None
    try:
        if stat.S_ISREG(status.st_mode):
            decode(_read(path))
            return
    except (OSError, ValueError):
        pass
    raise BadInput("--out", f"{path} exists and is not a plan: name another file, or delete this one")


def save(path: str, env: Environment, plan_input: Input, changes: Sequence[Write]) -> None:
    """Write a plan, for its owner alone, in one step.

    Raises BadInput if it would replace something else than a plan, LinkPeerError if it cannot be written.
    """
    require_replaceable(path)
    plan = SavedPlan(1, iso(env.now), deployment_of(env), plan_input, tuple(changes))
    write(path, msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n", mode=0o600)


def load(path: str) -> SavedPlan:
    """Read a plan. Raises LinkPeerError that says what is wrong with the file; BadInput if it cannot be read."""
    try:
        plan = decode(_read(path))
        if problem := next(filter(None, (change.problem for change in plan.changes)), ""):
            raise ValueError(problem)
        return plan
    except OSError as error:
        raise BadInput("file", f"{path} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise LinkPeerError(f"{path} is not a plan of link-peer: {clean(error)}") from None


def decode(raw: bytes) -> SavedPlan:
    """Parse a plan strictly. Raises ValueError."""
    try:
        return msgspec.json.decode(raw, type=SavedPlan)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"it is longer than {MAX_BYTES // 1024 // 1024} MB")
    return raw


def require_current(plan: SavedPlan, env: Environment) -> None:
    """Raise LinkPeerError that names everything in which the deployment is another one now, or that the plan is too
    old."""
    then, now = msgspec.to_builtins(plan.deployment), msgspec.to_builtins(deployment_of(env))
    words = {"name": "deployment", "home": "home account", "policy": "policy file"}
    problems = [f"the {words.get(key, key)} is {now[key]}, not {then[key]}" for key in now if now[key] != then[key]]
    unknown = {change.account for change in plan.changes} - env.policy.accounts.keys()
    problems += [f"account {uid} is not in the policy" for uid in sorted(unknown)]
    try:
        age = env.now - parse_instant(plan.made_at)
    except BadInput as error:
        raise LinkPeerError(f"the plan is unreadable: made_at: {error.problem}") from None
    if age > OLDEST_SECONDS:
        problems.append(f"the plan of {plan.made_at} is older than 24 hours")
    if age < -CLOCKS_DIFFER:
        problems.append(f"the plan is of {plan.made_at}, which is in the future")
    if problems:
        raise LinkPeerError("; ".join(problems) + ": save a new plan with --out, and review it")
