"""The commands that take back what `setup` and `account` did to resources, from what these were before. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from link_peer_deploy.documents import principals

from link_peer_cli.setup.engine import MADE
from link_peer_cli.setup.peer import PeerAccount
from link_peer_cli.setup.resource import Action, ResourceChange, SetupTarget

LONGEST_DEFAULT = 365  # days for which setup makes a log keep its records
SETUP = "link-peer setup"
CHOSEN_FIELDS = {"role": ("trust",), "user": ("value",), "alert": ("action policy",)}
"""By kind, what an option of `setup` chooses, and changes back."""


def of_setup(changes: Sequence[ResourceChange], deployment: SetupTarget) -> tuple[list[str], int]:
    """The commands that take back what `setup` changed, and how many of its changes they do not: of a deployment that existed before,
    what it created or brought to what is shipped."""
    command = ["link-peer", "setup", "--region", deployment.settings.region, "--prefix", deployment.names.prefix]
    ours = [change for change in changes if not change.resource.of_the_account]
    changed = [change for change in ours if change.action in MADE]
    if not changed:
        return [], 0
    if any(change.action is Action.DELETE for change in changed):
        return [shlex.join([*command, *_options(changed, deployment.names.prefix)])], 0
    if all(change.action in (Action.CREATE, Action.SKIP) for change in ours):
        return [shlex.join([*command, "--remove", "--with-logs"])], 0
    prefix = deployment.names.prefix
    optional = [c for c in changed if c.fields == CHOSEN_FIELDS.get(c.resource.kind) and _options([c], prefix)]
    commands = [shlex.join([*command, *_options(optional, prefix)])] if optional else []
    return commands, len(changed) - len(optional)


def of_addition(peer: PeerAccount, profile: str, changes: Sequence[ResourceChange], *, at_home: bool) -> list[str]:
    """The commands that take back what `account add` did: `changes` are those in the account, with the keys of `profile`, and
    `at_home` is whether home's policies or the policy file were changed for an account that the file did not list.

    `account remove` needs roles by which the account can be read. Where there are none, `setup` brings home's policies to the
    policy file, from which a person has deleted the lines; and an account that the file does not list is none of the deployment's.
    """
    is_new = any(change.action is Action.CREATE and change.resource.kind == "role" for change in changes)
    if is_new and peer.uid in peer.deployment.policy.accounts:
        return [shlex.join(["link-peer", "account", "remove", peer.uid, "--profile", profile])]
    removals = [f"{command} {shlex.join(['--profile', profile])}" for command in peer.removal_commands()]
    return [*(removals if is_new else []), *([SETUP] if at_home else [])]


def of_removal(peer: PeerAccount, profile: str, changes: Sequence[ResourceChange]) -> str:
    """The command that adds an account again, which the policy file still lists: `changes` are its roles that were deleted, with the
    keys of `profile`."""
    trusts = {
        change.resource.name: change.before["trust"] for change in changes if change.before and "trust" in change.before
    }
    closers = principals(trusts.get(f"{peer.role}-closer", {"Statement": []}))
    words = ["link-peer", "account", "add", peer.uid]
    if profile:
        words += ["--profile", profile]
        words += [word for arn in closers for word in ("--closer", arn)] or ["--no-closer"]
    return shlex.join(words)


def _options(changes: Iterable[ResourceChange], prefix: str) -> list[str]:
    """The options of `setup` that say what these resources were: who may operate, whom alerts notify, how long logs are kept."""
    options: dict[str, str] = {}
    for change in changes:
        before, kind = change.before or {}, change.resource.kind
        if kind == "role" and change.resource.name == f"{prefix}-operator":
            options["--operators"] = ",".join(principals(before["trust"])) if before else ""
        elif kind == "user" and before:
            options["--notify"] = ",".join(before["value"].get("email", ()))
        elif kind == "alert" and before and before["action policy"] != prefix:
            options["--action-policy"] = before["action policy"]
        elif kind == "logstore" and change.action is Action.DELETE and before["days"] > LONGEST_DEFAULT:
            options["--retention"] = str(before["days"])
    return [word for option, text in options.items() if text for word in (option, text)]
