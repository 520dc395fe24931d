"""An account that takes part: as it is to be, its resources, and home's policies that name it."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.policy import AccountPolicy, Policy
from link_peer.inbound.policy_file import parse
from link_peer.runtime.clock import Clock
from rich.markup import escape

from link_peer_cli.access.environment import Environment
from link_peer_cli.access.identity import NOBODY
from link_peer_cli.access.keys import profile_keys
from link_peer_cli.access.roles import acting
from link_peer_cli.setup import plan, prefixes, queues, roles
from link_peer_cli.setup.engine import CHANGING, carry_out
from link_peer_cli.setup.peer import TEMPLATE, PeerAccount, external_id_of
from link_peer_cli.setup.policy_text import with_entry
from link_peer_cli.setup.resource import Resource, ResourceChange, SetupTarget
from link_peer_cli.ui import files
from link_peer_cli.ui.console import console, warn
from link_peer_cli.ui.remedies import message


def peer_of(
    env: Environment,
    uid: str,
    role: str,
    external_id: str,
    account: AccountPolicy | None,
    profile: str,
    closers: Sequence[str] | None = None,
) -> PeerAccount:
    """The account as it is to be: what the policy file says of it, else what is given, else what its role says already.
    `closers` are as in `describe_peer`."""
    keys = profile_keys(env.settings, profile) if profile else NOBODY
    deployment = SetupTarget(
        msgspec.structs.replace(env.settings, credentials=keys()), env.policy, env.names, env.clock
    )
    if profile and keys.account != uid:
        raise BadInput("--profile", f"the keys of {profile} belong to account {keys.account}, not to {uid}")
    listed = (account.role or "").partition(":role/")[2] if account else ""
    if role and listed and role != listed:
        raise BadInput("--role", f"the policy file names {listed}")
    role = role or listed or env.names.peer_role
    in_use = (account.external_id or "") if account else ""
    if external_id and in_use and external_id != in_use:
        raise BadInput("--external-id", "the policy file has another: change it there and run this again without it")
    standing = external_id_of(deployment, role) if profile and not (external_id or in_use) else ""
    external_id = external_id or in_use or standing or secrets.token_hex(16)
    return PeerAccount(deployment, uid, role, external_id, closers, keys)


def denying(env: Environment, peer: PeerAccount) -> PeerAccount:
    """The account, whose roles must not consent under the tag prefixes of other deployments at home and there, as far
    as the keys show them; it says what they do not show."""
    at_home = prefixes_at_home(env)
    if peer.keys is not NOBODY:
        other_prefixes = prefixes.of_account(peer.deployment, peer.uid, peer.role, at_home, peer.keys)
    elif peer.uid in env.policy.accounts and env.person_keys is not NOBODY:
        home = SetupTarget(env.settings, env.policy, env.names, env.clock)
        reader = acting(env.person_keys, env.settings, env.policy, env.clock, env.names.reader_role)
        other_prefixes = prefixes.of_account(home, peer.uid, "", at_home, reader)
    else:
        other_prefixes = prefixes.OtherPrefixes(at_home)
    warn(map(str, other_prefixes.cautions(peer.uid)))
    return peer.denying(other_prefixes.denied)


def prefixes_at_home(env: Environment) -> tuple[str, ...]:
    """The tag prefixes of other deployments at home, where the keys are home's."""
    if env.person_keys.account != env.policy.home:
        return ()
    return prefixes.of_home(SetupTarget(env.settings, env.policy, env.names, env.clock)).denied


def template_path(copy: str) -> str:
    """The path of the ROS template: of the installed one, or of the copy of it that is written to this path."""
    if copy:
        files.write(copy, TEMPLATE.read_bytes())
    return copy or str(TEMPLATE)


def update_home(
    env: Environment, policy: Policy, *, talk: bool, dry_run: bool = False
) -> tuple[list[ResourceChange], str]:
    """Bring home's role policies, and the accounts' own queues, to this policy; in a `dry_run`, only find out how.
    Returns what was, or would be, changed, and why not."""
    if env.person_keys.account != policy.home:
        return (
            [],
            f"the keys belong to account {env.person_keys.account}"
            if env.person_keys.account
            else "you have no keys of this account",
        )
    deployment = SetupTarget(env.settings, policy, env.names, env.clock)
    try:
        deployment = msgspec.structs.replace(deployment, other_prefixes=prefixes.of_home(deployment).denied)
        resources: list[Resource] = [resource for resource in roles.resources(deployment) if resource.kind == "policy"]
        resources += [resource for resource in queues.resources(deployment) if resource.name in policy.bound_queues]
        return make_resources(deployment, resources, "home", talk=talk, dry_run=dry_run), ""
    except LinkPeerError as error:
        return [], message(error)


def make_resources(
    deployment: SetupTarget, resources: Sequence[Resource], where: str, *, talk: bool, dry_run: bool = False
) -> list[ResourceChange]:
    """Create and update resources, unless it is a `dry_run`, and print each change if `talk`."""
    changes = [change for change in plan(resources, deployment.clock) if change.action in CHANGING]
    return make_changes(changes, deployment.clock, where, talk=talk, dry_run=dry_run)


def make_changes(
    changes: list[ResourceChange], clock: Clock, where: str, *, talk: bool, dry_run: bool
) -> list[ResourceChange]:
    """Carry out changes, unless it is a `dry_run`, and print each if `talk`. Returns them."""

    def say(change: ResourceChange) -> None:
        print_change(change, where, talk=talk)

    if dry_run:
        for change in changes:
            say(change)
    else:
        carry_out(changes, clock, say, where=f"{where}: ")
    return changes


def print_change(change: ResourceChange, where: str, *, talk: bool) -> None:
    """Print what was, or would be, done to a resource, unless the output is for programs."""
    if talk:
        sign = {"create": "+", "update": "~", "delete": "-"}.get(change.action.value, " ")
        console().print(escape(f"{sign} {where}: {change}"))


def tell_of_lines(env: Environment, lines: str, has: str, then: str) -> None:
    """Print the lines that are to be added to the policy file, or else what it has now; and what is to be run after
    that."""
    out, path = console(), escape(str(env.settings.policy_path))
    if lines:
        out.print(f"\n[bold]Add to `accounts` of {path}[/bold] (or run this with --write):\n")
        print(lines, end="")
    elif has:
        out.print(f"\n{path} has {has}.")
    out.print(f"\nThen: link-peer package --allow-wider; s deploy -y; {then}")
    out.print("(before the first deployment, --first in place of --allow-wider)")


def tell_of_home(problem: str) -> None:
    """Print why home was not changed, and what to do; nothing if it was."""
    if problem:
        console().print(f"\n[yellow]Home was not changed:[/yellow] {escape(problem)}")
        console().print("Run `link-peer setup` with keys of home when the policy file has the lines.")


def added_to(policy: Policy, lines: str) -> Policy:
    """The policy with the accounts of these lines. Raises PolicyError if they are not valid: a range, say."""
    home = f'deployment: {policy.deployment}\naccounts:\n  "{policy.home}": {{name: home}}\n'
    added = parse(home + lines, "the new accounts").accounts
    return msgspec.structs.replace(policy, accounts={**added, **policy.accounts})


def with_lines(env: Environment, lines: str) -> contextlib.AbstractContextManager[Callable[[], None]]:
    """The policy file with these lines, as `replacing` yields it: no role is made if it cannot be written."""
    if not lines:
        return contextlib.nullcontext(lambda: None)
    path = Path(env.settings.policy_path)
    text = with_entry(path.read_bytes().decode(), lines)  # with its line ends as they are
    parse(text, path.name)  # so that an invalid file is never written
    return files.replacing(str(path), text.encode())
